/* Control steps a second of the control suite's tasks beside a bare loop of the same calls of
 * MuJoCo's library on the same actions. Each task is measured by turns, ours and the bare loop, and
 * the median of the turns is printed: nanoseconds a control step of each, the difference, and how two
 * threads (an environment each) compare with one, over the same ratio of the bare loop.
 *
 *   ninja -C build bench_dmc && build/tests/bench_dmc [turns [milliseconds a turn [task ...]]]
 *
 * `ours` steps, checks and observes as a trainer does, and resets at an episode's end; the bare loop
 * sets the controls and calls the library, and begins an episode as ours does. */
#include "runtime/dmc_state.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_TURNS = 101, MOST_THREADS = 2 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t next(uint32_t *generator) {
  *generator = (UINT32_C(1103515245) * *generator + 12345) & 0x7FFFFFFF;
  return *generator >> 16;
}

// plays `steps` control steps from the current episode; what they were is returned, to be used
static double ours(const CellEnvKind *kind, CellDmc *s, int steps) {
  float observation[CELL_DMC_MAX_OBSERVATION];
  uint32_t generator = 12345;
  double sum = 0;
  for (int i = 0; i < steps; i++) {
    int action = (int)(next(&generator) % (uint32_t)kind->actions.count);
    CellEnvStep step = cell_env_act(kind, s, action);
    if (!cell_env_check(kind, s, NULL)) exit(1);
    kind->observe(kind, s, observation);
    sum += step.reward + observation[0];
    if (step.truncated) kind->reset(kind, s);
  }
  return sum;
}

static double bare(const CellEnvKind *kind, CellDmc *s, int steps) {
  const CellMujoco *m = s->mujoco;
  uint32_t generator = 12345;
  int n = kind->actions.dimension, at = s->step;
  double sum = 0;
  for (int i = 0; i < steps; i++) {
    int action = (int)(next(&generator) % (uint32_t)kind->actions.count);
    for (int j = 0; j < n; j++) s->data->ctrl[j] = action >> (n - 1 - j) & 1 ? 1 : -1;
    int substeps = s->substeps;
    if (!s->runge_kutta) {
      m->mj_step2(s->model, s->data);
      substeps--;
    }
    for (int k = 0; k < substeps; k++) m->mj_step(s->model, s->data);
    m->mj_step1(s->model, s->data);
    sum += s->data->qpos[0];
    if (++at < CELL_DMC_STEPS) continue;
    kind->reset(kind, s);
    at = s->step;
  }
  s->step = at;
  return sum;
}

typedef double Loop(const CellEnvKind *kind, CellDmc *s, int steps);
static volatile double used;

// seconds of `steps` control steps on each of so many threads
static double measure(Loop *loop, const CellEnvKind *kind, CellDmc **states, int threads,
                      int steps) {
  for (int t = 0; t < threads; t++) cell_env_start(kind, states[t], NULL, 1);
  double began = 0, ended = 0;
#pragma omp parallel num_threads(threads)
  {
    CellDmc *s = states[omp_get_thread_num()];
#pragma omp barrier
#pragma omp master
    began = now();
    used = loop(kind, s, steps);
#pragma omp barrier
#pragma omp master
    ended = now();
  }
  return ended - began;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[count / 2];
}

static void bench(const CellEnvKind *kind, int turns, double seconds) {
  CellDiag *diag = cell_diag_create();
  CellDmc *states[MOST_THREADS];
  for (int t = 0; t < MOST_THREADS; t++) {
    states[t] = cell_env_create(kind, diag);
    if (states[t]) continue;
    cell_diag_print(diag, stderr, false);
    exit(3);
  }
  // whole episodes, so that both see the same states
  double once = measure(bare, kind, states, 1, CELL_DMC_STEPS);
  int episodes = (int)(seconds / once), steps = CELL_DMC_STEPS * (episodes > 1 ? episodes : 1);
  double times[4][MOST_TURNS];
  for (int turn = 0; turn < turns; turn++) {
    times[0][turn] = measure(bare, kind, states, 1, steps);
    times[1][turn] = measure(ours, kind, states, 1, steps);
    times[2][turn] = measure(bare, kind, states, 2, steps);
    times[3][turn] = measure(ours, kind, states, 2, steps);
  }
  double t[4];
  for (int i = 0; i < 4; i++) t[i] = median(times[i], turns) / steps;
  double more = t[1] - t[0], allowed = 0.03 * t[0] > 150e-9 ? 0.03 * t[0] : 150e-9;
  // two threads do twice the steps
  double scaling = (2 * t[1] / t[3]) / (2 * t[0] / t[2]);
  printf("%-22s %10.0f %10.0f %8.1f %7.2f %% %8s %10.2f %10.2f %10.3f\n", kind->name, 1e9 * t[0],
         1e9 * t[1], 1e9 * more, 100 * more / t[0], more <= allowed ? "ok" : "MORE",
         2 * t[0] / t[2], 2 * t[1] / t[3], scaling);
  fflush(stdout);
  for (int i = 0; i < MOST_THREADS; i++) cell_env_destroy(kind, states[i]);
  cell_diag_destroy(diag);
}

int main(int argc, char **argv) {
  int turns = argc > 1 ? atoi(argv[1]) : 5;
  double seconds = argc > 2 ? atof(argv[2]) / 1000 : 0.5;
  if (turns < 1 || turns > MOST_TURNS || seconds <= 0) {
    fprintf(stderr, "usage: bench_dmc [turns [milliseconds a turn [task ...]]]\n");
    return 2;
  }
  printf("%-22s %10s %10s %8s %9s %8s %10s %10s %10s\n", "task", "bare, ns", "ours, ns", "more, ns",
         "more", "bound", "bare x2", "ours x2", "ratio");
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    bool wanted = argc < 4;
    for (int k = 3; k < argc; k++) wanted |= cell_env_find(argv[k], NULL) == &cell_dmc_kinds[i];
    if (wanted) bench(&cell_dmc_kinds[i], turns, seconds);
  }
  return 0;
}
