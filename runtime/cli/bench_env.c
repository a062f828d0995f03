/* bench_env.c - `cellc bench env NAME`: steps a second of one environment on one core, each with its
 * observation, random actions, and a reset where an episode ends. */
#include "runtime/cli/cmd_bench.h"
#include "runtime/progress.h"
#include "runtime/training.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 1000, MOST = 100000 };

typedef struct {
  const CellEnvKind *kind;
  void *state;
  void *observation;
  uint64_t random;
  uint32_t seen; /* so that no observation is for nothing */
} Player;

// xorshift: cheap beside a step, and uniform enough for a choice of action
static uint32_t draw(Player *p) {
  uint64_t x = p->random;
  x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  p->random = x;
  return (uint32_t)(x >> 32);
}

static void play(Player *p, int steps) {
  const CellEnvKind *kind = p->kind;
  uint32_t actions = (uint32_t)kind->actions.count;
  for (int i = 0; i < steps; i++) {
    int action = (int)((uint64_t)draw(p) * actions >> 32);
    CellEnvStep step = cell_env_act(kind, p->state, action);
    kind->observe(kind, p->state, p->observation);
    p->seen ^= *(const uint32_t *)p->observation;
    if (step.terminated || step.truncated) kind->reset(kind, p->state);
  }
}

static void print_rate(const CellCli *cli, const CellEnvKind *kind, double *times, int count) {
  json_t *seconds = cell_bench_spread(times, count);
  double median = json_number_value(json_object_get(seconds, "median"));
  if (cli->json) {
    cell_json_print(json_pack("{s:s, s:s, s:s, s:o, s:f}", "schema", CELL_BENCH_SCHEMA, "program",
                              "env", "env", kind->name, "seconds", seconds, "steps_per_second",
                              1 / median),
                    stdout);
  } else {
    // the slowest turns have the lowest rate
    static const char *const names[] = {"median", "three_quarters", "quarter"};
    char rates[3][16];
    for (int i = 0; i < 3; i++)
      cell_format_count(1 / json_number_value(json_object_get(seconds, names[i])), rates[i]);
    printf("%s: %s steps a second on one core, the middle half of %d turns of %d from %s to %s\n",
           kind->name, rates[0], count, STEPS, rates[1], rates[2]);
    json_decref(seconds);
  }
}

bool cell_bench_env(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag) {
  const CellEnvKind *kind = o->env;
  if (kind->actions.count < 1) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` has no list of actions to draw from", kind->name);
    return false;
  }
  Player p = {.kind = kind, .random = 0x9e3779b97f4a7c15u};
  p.state = cell_env_create(kind, diag);
  if (!p.state) return false;
  p.observation = cell_malloc((size_t)cell_env_words(kind) * 4);
  cell_env_start(kind, p.state, NULL, 1);
  double *times = cell_malloc(MOST * sizeof *times);
  int count = 0;
  for (double began = cell_now(); cell_now() - began < o->warmup;) play(&p, STEPS);
  for (double began = cell_now(); count < MOST && (count < 3 || cell_now() - began < o->seconds);) {
    double before = cell_now();
    play(&p, STEPS);
    times[count++] = (cell_now() - before) / STEPS;
  }
  // one that fails stands still, which is no speed
  bool ok = cell_env_check(kind, p.state, diag);
  if (ok) print_rate(cli, kind, times, count);
  free(times);
  free(p.observation);
  cell_env_destroy(kind, p.state);
  return ok;
}
