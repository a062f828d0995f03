/* evaluate.h - how good a frozen policy is: the episodes of play.h, counted.
 *
 * Episodes are numbered from 0, so results do not depend on how many are played at once. */
#ifndef CELL_EVALUATE_H
#define CELL_EVALUATE_H

#include "runtime/play.h"

typedef struct {
  double *returns; /* of each episode, in order; the caller frees both */
  int64_t *lengths;
  int episodes;
  int cut;                                     /* how many were cut at max_steps */
  double mean, deviation, median, best, worst; /* of the returns; sample standard deviation */
  double mean_length;
} CellEvaluationResult;

/* Plays episodes 0 to `episodes` - 1, `episodes` > 0. false on errors, reported to diag; result then
 * holds nothing. */
bool cell_evaluate_policy(const CellPlayOptions *options, int episodes,
                          CellEvaluationResult *result, CellDiag *diag);
void cell_evaluation_free(CellEvaluationResult *result);

#endif
