/* dmc_trace.h - trajectories of the control suite in the format of the recorded data:
 *
 *   # walker walk mujoco 2.2.2 nq 9 nv 9 nu 6 nobs 24
 *   reset 0                          an episode, counted from 0
 *   qpos ... / qvel ... / obs 0 ...  after the reset
 *   step 1 action 28 reward 0.164    steps 1 to 20, then every 100th
 *   obs 1 ...                        after steps 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000
 *   end 1000 return 50.02 discount 1.0
 *
 * Numbers have 17 significant digits. */
#ifndef CELL_DMC_TRACE_H
#define CELL_DMC_TRACE_H

#include "runtime/dmc.h"

#include <stdio.h>

typedef struct {
  const CellEnvKind *kind;
  uint32_t seed;
  int64_t first, episodes; /* number of the first episode that is shown; how many are shown */
  uint32_t generator;      /* of actions: s = (1103515245 s + 12345) mod 2^31, then s >> 16 */
  const uint16_t *actions; /* or these, for one episode, which may end early; NULL: generated */
  int action_count;
} CellDmcTrace;

/* Prints the trace. False on errors of the physics, reported to diag; what does not reach `out` is
 * for the caller to see there. */
bool cell_dmc_trace_print(const CellDmcTrace *trace, FILE *out, CellDiag *diag);

/* Reads actions as a failure reports them: hexadecimal, each of as many digits as the largest needs.
 * The number of actions, or -1 if the text is none or they are more than an episode takes. */
int cell_dmc_trace_actions(const CellEnvKind *kind, const char *text,
                           uint16_t actions[CELL_DMC_STEPS]);

#endif
