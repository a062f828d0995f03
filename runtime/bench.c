/* bench.c - how long programs take on this machine. */
#include "runtime/bench.h"

#include "runtime/random.h"
#include "runtime/training.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

// ---- stand-in data ----

// a stream of uniform numbers
typedef struct {
  uint64_t seed, step;
  uint32_t index, words[4];
} Uniform;

static double uniform(Uniform *u) {
  if (u->index % 4 == 0)
    cell_random(u->seed, CELL_STREAM_SYNTHETIC, u->step, u->index / 4, u->words);
  return cell_random_unit(u->words[u->index++ % 4]);
}

static void fill_observations(CellNetwork *n, const char *program, const char *name, double density,
                              uint64_t seed) {
  CellTensorData t;
  if (!cell_engine_tensor(n->engine, program, name, &t)) return;
  Uniform u = {.seed = seed, .step = cell_random_hash(name)};
  int32_t count = 1;
  for (int i = 0; i < n->shapes.obs_rank; i++) count *= n->shapes.obs_shape[i];
  bool bits = n->shapes.obs_bits;
  int64_t words = bits ? (count + 31) / 32 : count;
  int64_t rows = t.count / (t.dtype == CELL_BITS && !t.wide ? words : count);
  uint32_t *row = cell_malloc((size_t)words * 4);
  for (int64_t r = 0; r < rows; r++) {
    memset(row, 0, (size_t)words * 4);
    for (int32_t i = 0; i < count; i++) {
      double value = uniform(&u);
      float number = (float)(2 * value - 1);
      if (!bits)
        memcpy(&row[i], &number, 4);
      else if (value < density)
        row[i / 32] |= (uint32_t)1 << (i % 32);
    }
    cell_put_observation(&t, r, row, count, bits);
  }
  free(row);
}

static void fill_numbers(CellNetwork *n, const char *name, double below, double scale,
                         uint64_t seed) {
  CellTensorData t;
  if (!cell_engine_tensor(n->engine, "update", name, &t)) return;
  Uniform u = {.seed = seed, .step = cell_random_hash(name)};
  for (int64_t i = 0; i < t.count; i++) {
    double value = uniform(&u);
    cell_put_number(&t, i, scale > 0 ? (double)(int64_t)(value * scale) : value < below);
  }
}

void cell_bench_fill(CellNetwork *n, double density, uint64_t seed) {
  fill_observations(n, "act", "obs", density, seed);
  fill_observations(n, "update", "context", density, seed);
  fill_observations(n, "update", "obs", density, seed);
  fill_observations(n, "update", "next_obs", density, seed);
  fill_numbers(n, "action", 0, n->shapes.actions, seed);
  fill_numbers(n, "reward", 0.5, 0, seed);
  fill_numbers(n, "terminated", 0.1, 0, seed);
}

// ---- times ----

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

bool cell_bench_program(CellNetwork *n, const char *program, const CellTimingOptions *o,
                        CellTiming *timing, CellDiag *diag) {
  int most = o->most > 0 ? o->most : 1;
  double *times = cell_malloc((size_t)most * sizeof *times);
  const double *launches;
  *timing = (CellTiming){0};
  bool ok = true;
  double began = cell_now();
  while (ok && cell_now() - began <= o->warmup_seconds) {
    ok = cell_engine_run(n->engine, program, diag);
  }
  began = cell_now();
  while (ok && timing->repeats < most) {
    double before = cell_now();
    if (timing->repeats >= o->least && before - began > o->seconds) break;
    ok = cell_engine_run(n->engine, program, diag);
    times[timing->repeats++] = cell_now() - before;
    int count = cell_engine_times(n->engine, &launches);
    if (!timing->launches && count > 0) {
      timing->launches = cell_malloc((size_t)count * sizeof(double));
      timing->launch_count = count;
    }
    for (int i = 0; i < timing->launch_count; i++) timing->launches[i] += launches[i];
  }
  if (ok) {
    int r = timing->repeats;
    qsort(times, (size_t)r, sizeof *times, by_value);
    timing->least = times[0], timing->quarter = times[r / 4], timing->median = times[r / 2];
    timing->three_quarters = times[3 * r / 4];
    for (int i = 0; i < timing->launch_count; i++) timing->launches[i] /= r;
  } else {
    free(timing->launches);
    *timing = (CellTiming){0};
  }
  free(times);
  return ok;
}

bool cell_bench_expect(CellNetwork *n, const CellEnvKind *env, double *update, double *act,
                       CellDiag *diag) {
  const CellTimingOptions timing = {.warmup_seconds = -1, .seconds = 0.3, .least = 2, .most = 20};
  CellTiming updates = {0}, acts = {0};
  cell_network_init(n, 0, cell_spec_train(n->spec)->init_shared);
  cell_bench_fill(n, env ? env->observation.density : 0.1, 0);
  if (env) cell_bench_fill_play(n, env, 0);
  bool ok = cell_bench_program(n, "update", &timing, &updates, diag) &&
            cell_bench_program(n, "act", &timing, &acts, diag);
  *update = updates.least, *act = acts.least;
  free(updates.launches);
  free(acts.launches);
  return ok;
}

int64_t cell_bench_peak_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

// ---- OpenBLAS ----

typedef void (*Sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                      const float *a, int lda, const float *b, int ldb, float beta, float *c,
                      int ldc);
typedef void (*SetThreads)(int threads);
typedef char *(*CoreName)(void);

static void *open_openblas(void) {
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  return library ? library : dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
}

/* A build of OpenBLAS older than the CPU does not know its model and takes kernels for SSE, a fifth
 * of what its best ones reach. It is then opened again with the newest kernels this CPU can run,
 * unless the user has said which. */
static void *open_for_this_cpu(void) {
  static const char VARIABLE[] = "OPENBLAS_CORETYPE";
  void *library = open_openblas();
  if (!library || getenv(VARIABLE)) return library;
  CoreName core_name;
  *(void **)&core_name = dlsym(library, "openblas_get_corename");
  const char *better = NULL;
#if defined __x86_64__
  better = __builtin_cpu_supports("avx512vl") ? "SkylakeX"
           : __builtin_cpu_supports("avx2")   ? "Haswell"
                                              : NULL;
#endif
  if (!better || !core_name || strcmp(core_name(), "Prescott") != 0) return library;
  dlclose(library);
  setenv(VARIABLE, better, 1);
  library = open_openblas();
  unsetenv(VARIABLE);
  return library;
}

static double time_sgemm(Sgemm sgemm) {
  enum { N = 1024, REPEATS = 5 };
  size_t bytes = (size_t)N * N * sizeof(float);
  float *a = cell_malloc(bytes), *b = cell_malloc(bytes), *c = cell_malloc(bytes);
  for (int i = 0; i < N * N; i++) a[i] = (float)(i % 17) / 17, b[i] = (float)(i % 13) / 13;
  double times[REPEATS];
  for (int r = -2; r < REPEATS; r++) {
    double before = cell_now();
    // row-major, not transposed
    sgemm(101, 111, 111, N, N, N, 1, a, N, b, N, 0, c, N);
    if (r >= 0) times[r] = cell_now() - before;
  }
  free(a);
  free(b);
  free(c);
  qsort(times, REPEATS, sizeof *times, by_value);
  return 2.0 * N * N * N / times[REPEATS / 2];
}

double cell_bench_sgemm(int threads) {
  void *library = open_for_this_cpu();
  if (!library) return 0;
  Sgemm sgemm;
  SetThreads set_threads;
  // the way POSIX blesses to make a function pointer of an object pointer
  *(void **)&sgemm = dlsym(library, "cblas_sgemm");
  *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
  if (set_threads) set_threads(threads);
  double rate = sgemm ? time_sgemm(sgemm) : 0;
  dlclose(library);
  return rate;
}
