/* policy.c - the policy that a run saved last. */
#include "runtime/policy.h"

#include "runtime/dmc.h"
#include "runtime/files.h"

#include <stdlib.h>

bool cell_policy_open(const char *path, const CellPolicyOptions *options, CellPolicy *policy,
                      CellDiag *diag) {
  *policy = (CellPolicy){0};
  CellRun *run = &policy->run;
  if (!cell_run_open(path, run, diag)) return false;
  policy->env = cell_env_find(run->env, NULL);
  if (!policy->env) {
    cell_error(diag, NULL, CELL_NOWHERE, "there is no environment `%s`", run->env);
    return false;
  }
  // the models that it was trained on, unless the user names others
  if (run->suite_dir && !cell_dmc_suite_in_use()) cell_dmc_suite_folder(run->suite_dir);
  CellNetworkOptions n = {
      .name = cell_run_file(run, "spec.cell"),
      .spec = {.variant = run->variant, .sets = run->sets, .set_count = run->set_count},
      .shapes = cell_env_shapes(policy->env),
      .backend = options->backend,
      .engine = options->engine,
      .envs = options->envs,
      .cell_values = options->cell_values};
  char *text = cell_read_file(n.name, CELL_SOURCE_LIMIT, &n.length, diag);
  if (!text) return false;
  n.text = text;
  policy->network = cell_network_open(&n, diag);
  free(text);
  return policy->network &&
         cell_network_load(policy->network, cell_run_file(run, "params.safetensors"), diag);
}

void cell_policy_close(CellPolicy *policy) {
  cell_network_close(policy->network);
  cell_run_close(&policy->run);
  *policy = (CellPolicy){0};
}

CellPlayOptions cell_policy_play(const CellPolicy *policy) {
  return (CellPlayOptions){.agent = &policy->network->agent,
                           .env = policy->env,
                           .cell = -1,
                           .advance_on_random =
                               cell_spec_train(policy->network->spec)->advance_on_random};
}
