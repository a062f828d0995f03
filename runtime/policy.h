/* policy.h - the policy that a run saved last: its folder, opened to act. */
#ifndef CELL_POLICY_H
#define CELL_POLICY_H

#include "runtime/network.h"
#include "runtime/play.h"
#include "runtime/run_folder.h"

typedef struct {
  int32_t envs;     /* how many environments act at once */
  bool cell_values; /* act gives "<cell>/q" too */
  CellBackend backend;
  CellEngineOptions engine;
} CellPolicyOptions;

typedef struct {
  CellRun run;
  const CellEnvKind *env;
  CellNetwork *network;
} CellPolicy;

/* Reads the folder, compiles its network for its environment and loads its parameters. false after
 * an error. Release with cell_policy_close also after an error. */
bool cell_policy_open(const char *path, const CellPolicyOptions *options, CellPolicy *policy,
                      CellDiag *diag);
void cell_policy_close(CellPolicy *policy);

/* What plays the policy greedily: the agent, its environment, and what its file says of exploring
 * steps. */
CellPlayOptions cell_policy_play(const CellPolicy *policy);

#endif
