/* bench_kernels.c - the rate of contractions on one core beside OpenBLAS sgemm, and of a few sweeps.
 *
 *     ninja -C build bench_kernels && build/tests/bench_kernels [avx512|avx2|scalar]
 */
#include "kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
  const char *what;
  int64_t m, n, k;
  bool a_turned, b_turned; /* contiguous along rows instead of along k */
  bool add;
  bool bits; /* of a, one in twelve set; OpenBLAS multiplies floats of the same shape */
} Shape;

/* a without zeros; half of them, which the product does not know, and leaves out. Zeros are others in each task: a core
 * that sees the same again and again learns what is where. */
typedef enum { FULL, ZEROS, ZEROS_LEFT_OUT } Zeros;

static double seconds_of(CellEngine *e, CellDiag *diag) {
  double best = 1e9, start = now();
  for (int i = 0; i < 1000 && (i < 5 || now() - start < 0.4); i++) {
    double before = now();
    if (!cell_engine_run(e, "run", diag)) cell_diag_print(diag, stderr, false);
    double after = now();
    if (after - before < best) best = after - before;
  }
  return best;
}

static void product(const Shape *s, Zeros zeros, CellIsa isa) {
  CellArena *arena = cell_arena_create();
  // enough tasks that the time can be read
  int64_t repeat = 1 + (int64_t)(2e7 / (2.0 * (double)s->m * (double)s->n * (double)s->k));
  int64_t line = s->a_turned ? s->m : s->k, lines = s->a_turned ? s->k : s->m;
  int64_t pitch = s->bits ? (line + 31) / 32 * 32 : line;
  int64_t matrices = zeros ? repeat : 1;
  Arg args[3] = {{s->bits ? CELL_BITS : CELL_F, line * lines * matrices, s->bits ? line : 0, false},
                 {CELL_F, s->n * s->k, 0, false},
                 {CELL_F, s->m * s->n, 0, true}};
  // a task each: one makes lists of the same bits once
  CellKernel *k = new_kernel(arena, s->what, repeat, 3, args);
  CellStmt **tail = &k->body;
  CellStmt *c = cell_stmt(k, &tail, CELL_K_CONTRACT);
  c->a = (CellView){arg(0), cell_affine_var(0, zeros ? line * lines : 0), s->a_turned ? 1 : pitch,
                    s->a_turned ? pitch : 1};
  c->b = (CellView){arg(1), cell_affine(0), s->b_turned ? 1 : s->k, s->b_turned ? s->n : 1};
  c->out = (CellView){arg(2), cell_affine(0), s->n, 1};
  c->m = s->m, c->n = s->n, c->k = s->k, c->add = s->add;
  c->sparse = zeros == ZEROS_LEFT_OUT;
  CellDiag *diag = cell_diag_create();
  CellEngineOptions options = {.isa = isa, .threads = 1, .cache_dir = ""};
  double before = now();
  CellEngine *e =
      cell_engine_create(NULL, plan_of(arena, k, args, 0), CELL_BACKEND_CPU, &options, diag);
  double compile = now() - before;
  if (!e) {
    cell_diag_print(diag, stderr, false);
    exit(1);
  }
  uint64_t random = 1;
  CellTensorData data[3];
  static const char *const names[3] = {"a0", "a1", "a2"};
  for (int i = 0; i < 3; i++) {
    cell_engine_tensor(e, "run", names[i], &data[i]);
    if (data[i].dtype == CELL_BITS) {
      memset(data[i].data, 0, (size_t)data[i].count * 4);
      for (int64_t j = 0; j < line * lines; j++) {
        int64_t bit = j / line * pitch + j % line;
        if (next_uniform(&random) > 5.0 / 6) ((uint32_t *)data[i].data)[bit / 32] |= 1U << bit % 32;
      }
      continue;
    }
    for (int64_t j = 0; j < data[i].count; j++)
      ((float *)data[i].data)[j] =
          i == 0 && zeros && next_below(&random, 2) ? 0 : (float)next_uniform(&random);
  }
  float *floats = s->bits ? cell_malloc((size_t)(line * lines) * sizeof(float)) : data[0].data;
  double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
  double ours = seconds_of(e, diag) / (double)repeat;
  double theirs = 1e9;
  for (double start = now(); now() - start < 0.4;) {
    double t = now();
    for (int64_t i = 0; i < repeat; i++)
      cblas_sgemm(CblasRowMajor, s->a_turned ? CblasTrans : CblasNoTrans,
                  s->b_turned ? CblasNoTrans : CblasTrans, (int)s->m, (int)s->n, (int)s->k, 1,
                  floats, (int)(s->a_turned ? s->m : s->k), data[1].data,
                  (int)(s->b_turned ? s->n : s->k), s->add ? 1 : 0, data[2].data, (int)s->n);
    t = (now() - t) / (double)repeat;
    if (t < theirs) theirs = t;
  }
  static const char *const more[] = {"", ", half zeros", ", half zeros, left out"};
  char what[64];
  snprintf(what, sizeof what, "%s%s", s->what, more[zeros]);
  printf("%-30s %5lld %5lld %5lld   %7.1f GFLOPS   OpenBLAS %7.1f   ratio %.2f   compiled in %.0f "
         "ms\n",
         what, (long long)s->m, (long long)s->n, (long long)s->k, 1e-9 * flops / ours,
         1e-9 * flops / theirs, theirs / ours, 1e3 * compile);
  if (s->bits) free(floats);
  cell_engine_destroy(e);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

/* T = op(sum_k z[k, i] c[k, j]), y_i = sum_j T h_j: elements a second */
static void sweep(CellOp op, int64_t d, CellIsa isa) {
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{CELL_F, 8 * d, 0, false},
                 {CELL_F, 8 * d, 0, false},
                 {CELL_F, d, 0, false},
                 {CELL_F, d, 0, true}};
  CellKernel *k = new_kernel(arena, "sweep", 1, 4, args);
  CellStmt **tail = &k->body, **row, **lane, **inner;
  int i = loop(k, &tail, CELL_LOOP_SERIAL, cell_affine(0), d, 0, &row)->var;
  int y = acc(k, &row, CELL_SUM);
  int j = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), d, 0, &lane)->var;
  int m = acc(k, &lane, CELL_SUM);
  int n = loop(k, &lane, CELL_LOOP_UNROLL, cell_affine(0), 8, 0, &inner)->var;
  int z = load(k, &inner, arg(0), index2(0, d, n, 1, i));
  int c = load(k, &inner, arg(1), index2(0, d, n, 1, j));
  update(k, &inner, CELL_SUM, m, let(k, &inner, CELL_OP_MUL, z, c, -1), cell_affine(0));
  int t = op == CELL_OP_ADD ? m : let(k, &lane, op, m, -1, -1);
  int h = load(k, &lane, arg(2), cell_affine_var(j, 1));
  update(k, &lane, CELL_SUM, y, let(k, &lane, CELL_OP_MUL, t, h, -1), cell_affine(0));
  store(k, &row, arg(3), cell_affine_var(i, 1), y, false);
  CellDiag *diag = cell_diag_create();
  CellEngineOptions options = {.isa = isa, .threads = 1, .cache_dir = ""};
  CellEngine *e =
      cell_engine_create(NULL, plan_of(arena, k, args, 0), CELL_BACKEND_CPU, &options, diag);
  double t1 = seconds_of(e, diag);
  printf("rank-8 sweep, d %lld, %-8s %.2f G elements/s\n", (long long)d,
         op == CELL_OP_ADD ? "none" : cell_op_info[op].name, 1e-9 * (double)(d * d) / t1);
  cell_engine_destroy(e);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

int main(int argc, char **argv) {
  static const Shape shapes[] = {
      {"square", 1024, 1024, 1024, false, true, false, false},
      {"forward, wide", 64, 3200, 600, false, true, false, false},
      {"forward", 64, 400, 400, false, true, false, false},
      {"forward", 64, 200, 600, false, true, true, false},
      {"forward, bits", 64, 3200, 400, false, true, true, true},
      {"forward, bits", 64, 400, 400, false, true, true, true},
      {"backward, data", 64, 600, 3200, false, false, false, false},
      {"backward, weights", 600, 104, 512, true, true, false, false},
      {"backward, weights, add", 600, 3200, 512, true, true, true, false},
      {"backward, weights, bits", 24, 3200, 512, true, true, false, true},
      {"small", 32, 48, 200, false, true, false, false},
      {"small", 32, 512, 48, false, true, false, false},
      {"small", 16, 768, 64, false, true, false, false},
      {"small", 16, 48, 112, false, true, true, false},
      {"small, bits", 16, 768, 400, false, true, true, true},
      {"small, bits", 16, 48, 400, false, true, true, true},
      {"small, data", 32, 48, 200, false, false, false, false},
      {"small, weights", 96, 48, 64, true, true, false, false},
      {"small, weights", 160, 768, 64, true, true, false, false},
      {"one row", 1, 3200, 600, false, true, false, false},
      {"one row, bits", 1, 3200, 400, false, true, true, true},
  };
  static const Shape with_zeros[] = {
      {"forward", 128, 3200, 400, false, true, false, false},
      {"forward", 128, 400, 400, false, true, false, false},
      {"forward", 128, 200, 200, false, true, false, false},
      {"small", 32, 512, 112, false, true, false, false},
      {"small", 32, 48, 48, false, true, false, false},
      {"small", 32, 64, 64, false, true, false, false},
      {"backward, weights", 400, 400, 512, true, true, false, false},
      {"backward, weights", 200, 200, 512, true, true, false, false},
      {"small, weights", 64, 64, 64, true, true, false, false},
      {"small, weights", 48, 48, 64, true, true, false, false},
  };
  CellIsa isa = CELL_ISA_HOST;
  if (argc > 1)
    isa = argv[1][0] == 's'              ? CELL_ISA_SCALAR
          : strcmp(argv[1], "avx2") == 0 ? CELL_ISA_AVX2
                                         : CELL_ISA_AVX512;
  openblas_set_num_threads(1);
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) product(&shapes[i], FULL, isa);
  for (size_t i = 0; i < sizeof with_zeros / sizeof *with_zeros; i++)
    for (Zeros zeros = ZEROS; zeros <= ZEROS_LEFT_OUT; zeros++) product(&with_zeros[i], zeros, isa);
  static const CellOp ops[] = {CELL_OP_ADD, CELL_OP_TANH, CELL_OP_EXP, CELL_OP_SIGMOID};
  for (int i = 0; i < 4; i++) sweep(ops[i], 416, isa);
  return 0;
}
