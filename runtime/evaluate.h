/* evaluate.h - how good a frozen policy is.
 *
 * Episode k is a function of (seed, k, who decides): its environment has a seed of its own and its
 * exploration a stream of its own, so results do not depend on how many environments play at once,
 * and nothing here touches the random numbers of training. */
#ifndef CELL_EVALUATE_H
#define CELL_EVALUATE_H

#include "runtime/agent.h"
#include "runtime/env.h"

typedef struct {
  CellAgent *agent; /* with "act"; for a cell's own decisions with "<cell>/q" */
  const CellEnvKind *env;
  uint64_t seed;
  int episodes;
  double epsilon;    /* share of random actions; 0: greedy */
  int64_t max_steps; /* an episode is cut after so many; 0: never */
  int cell;          /* -1: the policy decides; else the cell of this number, by its own values */
  bool advance_on_random;
} CellEvaluation;

typedef struct {
  double *returns; /* of each episode, in order; the caller frees both */
  int64_t *lengths;
  int episodes;
  int cut;                                     /* how many were cut at max_steps */
  double mean, deviation, median, best, worst; /* of the returns; sample standard deviation */
  double mean_length;
} CellEvaluationResult;

/* false on errors, reported to diag; result then holds nothing. */
bool cell_evaluate_policy(const CellEvaluation *evaluation, CellEvaluationResult *result,
                          CellDiag *diag);
void cell_evaluation_free(CellEvaluationResult *result);

#endif
