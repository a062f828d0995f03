/* dmc_trace.c - runs a task of the control suite on generated or given actions and prints it. */
#include "runtime/dmc_trace.h"

#include <stdlib.h>
#include <string.h>

static void print_numbers(FILE *out, const double *values, int count) {
  for (int i = 0; i < count; i++) fprintf(out, " %.17g", values[i]);
  fputc('\n', out);
}

static void print_observation(const CellDmcTrace *trace, const void *state, int step, FILE *out) {
  double values[CELL_DMC_MAX_OBSERVATION];
  cell_dmc_observe(trace->kind, state, values);
  fprintf(out, "obs %d", step);
  print_numbers(out, values, trace->kind->observation.count);
}

static void print_start(const CellDmcTrace *trace, const void *state, int64_t episode, FILE *out) {
  CellDmcPhysics physics = cell_dmc_physics(state);
  fprintf(out, "reset %lld\nqpos", (long long)episode);
  print_numbers(out, physics.qpos, physics.nq);
  fprintf(out, "qvel");
  print_numbers(out, physics.qvel, physics.nv);
  print_observation(trace, state, 0, out);
}

static bool shows_observation(int step) {
  static const int steps[] = {1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    if (steps[i] == step) return true;
  }
  return false;
}

static int next_action(const CellDmcTrace *trace, uint32_t *generator, int step) {
  if (trace->actions) return trace->actions[step];
  *generator = (UINT32_C(1103515245) * *generator + 12345) & 0x7FFFFFFF;
  return (int)(*generator >> 16) % trace->kind->actions.count;
}

static bool run_episode(const CellDmcTrace *trace, void *state, uint32_t *generator, FILE *out,
                        CellDiag *diag) {
  double sum = 0;
  for (int n = 1;; n++) {
    if (trace->actions && n > trace->action_count) return true;
    int action = next_action(trace, generator, n - 1);
    CellEnvStep step = cell_env_act(trace->kind, state, action);
    if (!cell_env_check(trace->kind, state, diag)) return false;
    sum += step.reward;
    if (n <= 20 || n % 100 == 0) {
      fprintf(out, "step %d action %d reward %.17g\n", n, action, step.reward);
    }
    if (shows_observation(n)) print_observation(trace, state, n, out);
    if (!step.truncated) continue;
    fprintf(out, "end %d return %.17g discount 1.0\n", n, sum);
    return true;
  }
}

bool cell_dmc_trace_print(const CellDmcTrace *trace, FILE *out, CellDiag *diag) {
  const CellEnvKind *kind = trace->kind;
  void *state = cell_env_create(kind, diag);
  if (!state) return false;
  CellDmcPhysics physics = cell_dmc_physics(state);
  fprintf(out, "# %s %s mujoco %s nq %d nv %d nu %d nobs %d\n", cell_dmc_domain(kind),
          cell_dmc_task(kind), cell_dmc_version(), physics.nq, physics.nv, kind->actions.dimension,
          kind->observation.count);
  uint32_t generator = trace->generator;
  bool ok = true;
  cell_env_start(kind, state, NULL, trace->seed);
  for (int64_t e = 0; ok && e < trace->first + trace->episodes; e++) {
    if (e > 0) kind->reset(kind, state);
    ok = cell_env_check(kind, state, e < trace->first ? NULL : diag);
    if (e < trace->first) {
      ok = true; // one that failed before is not what was asked for
      continue;
    }
    if (!ok) break;
    print_start(trace, state, e, out);
    ok = run_episode(trace, state, &generator, out, diag);
    if (ferror(out)) break;
  }
  cell_env_destroy(kind, state);
  return ok;
}

int cell_dmc_trace_actions(const CellEnvKind *kind, const char *text,
                           uint16_t actions[CELL_DMC_STEPS]) {
  size_t digits = (size_t)(kind->actions.dimension + 3) / 4, length = strlen(text);
  if (length == 0 || length % digits != 0 || length / digits > CELL_DMC_STEPS) return -1;
  int count = 0;
  for (; *text; text += digits, count++) {
    char number[8] = "", *end;
    memcpy(number, text, digits);
    if (strspn(number, "0123456789abcdefABCDEF") != digits) return -1;
    long action = strtol(number, &end, 16);
    if (action >= kind->actions.count) return -1;
    actions[count] = (uint16_t)action;
  }
  return count;
}
