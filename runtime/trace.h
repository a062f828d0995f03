/* trace.h - an environment's trajectory, for exact comparison: of MinAtar in the format of the
 * recorded data, of others as a table.
 *
 * A trace of MinAtar: comment lines, then `action,reward,terminal,hash,executed[,reset_hash]` for
 * each step and the whole observation (`O,step,hex`) after the first reset and every 500 steps.
 * Hashes are 64-bit FNV-1a over the observation, one byte 0 or 1 an element. The environment is
 * started with the seed; when an episode ends it is reset at once and the actions go on.
 *
 * A digest is one FNV-1a over the whole run: the first observation; then for each step action,
 * reward, terminal, observation and, when terminal, the observation after the reset. */
#ifndef CELL_TRACE_H
#define CELL_TRACE_H

#include "ir/support.h"
#include "runtime/env.h"

#include <stdio.h>

typedef struct {
  const CellEnvKind *kind;
  uint32_t seed;
  const double *settings; /* as in CellEnvKind.init */
  bool minimal;           /* the generated actions come from the minimal set, else from the full */
  int64_t steps;
  const uint8_t *actions; /* `steps` action indices, of MinAtar full ones; NULL: the generator's */
} CellTrace;

typedef struct {
  int64_t steps, episodes; /* episodes: those that ended */
  int64_t reward;          /* the sum over all steps */
  uint64_t digest;
} CellTraceSum;

/* Prints the trace of a game of MinAtar. False when writing failed; errno then says why. */
bool cell_trace_print(const CellTrace *trace, FILE *out);

/* Prints a table, for any environment with a list of actions; settings, `minimal` and so on as above.
 * Columns: step,action,reward,terminated,truncated and the observation, by the names of its channels
 * where it has one row of them. Numbers read back exactly. The row of an episode's start has no
 * action, reward and end, and the step of the row before. False when writing failed. */
bool cell_trace_print_table(const CellTrace *trace, FILE *out);

/* Runs the trace for its sums and digest. */
CellTraceSum cell_trace_sum(const CellTrace *trace);

/* Prints the digest's line: game,seed,sticky,ramping,action_set,steps,episodes,reward,digest. */
bool cell_trace_print_digest(const CellTrace *trace, FILE *out);

/* Reads the actions of a recorded trace: the first column of its steps' lines, each below `most`. On
 * success *actions (free with free()) holds *count indices, at least one; else one error is added. */
bool cell_trace_read_actions(const char *path, int most, uint8_t **actions, int64_t *count,
                             CellDiag *diag);

#endif
