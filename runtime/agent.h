/* agent.h - what acts and learns, as the trainer sees it: tensors by name, programs to run.
 *
 * network.h makes one of a .cell file; tests make one of a few lines. The programs and their
 * tensors are those of frontend.h: "act" (obs, state/..., action, q), "update" (a batch,
 * metric/...), "sync". */
#ifndef CELL_AGENT_H
#define CELL_AGENT_H

#include "codegen/codegen.h"

typedef struct {
  const char *name; /* "state/l1" */
  int64_t count;    /* entries for one environment */
} CellAgentCarry;

typedef struct CellAgent {
  void *context;
  /* Runs a program; false after an error, reported to diag. */
  bool (*run)(void *context, const char *program, CellDiag *diag);
  /* The storage of a tensor of a program, or of a state that the program changes in place; false if
   * there is none. */
  bool (*tensor)(void *context, const char *program, const char *name, CellTensorData *out);
  CellEngine *engine; /* what runs them, on whose GPU the replay may lie; NULL: something else */
  int32_t envs;       /* environments of act */
  int32_t batch;      /* samples of update */
  bool syncs;         /* there is a program "sync" */
  const CellAgentCarry *carries;
  int carry_count;
  const char *const *cells; /* those with a goodness, bottom to top */
  int cell_count;
  const char *const *metrics; /* "l1/loss": outputs "metric/l1/loss" of update */
  int metric_count;
} CellAgent;

#endif
