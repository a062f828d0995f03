/* kernels.h - what the tests of codegen share: kernels written by hand, and plans of one kernel. */
#ifndef CELL_TESTS_KERNELS_H
#define CELL_TESTS_KERNELS_H

#include "codegen/codegen.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
  CellDtype dtype;
  int64_t count;   /* entries; BITS: bit_row times samples */
  int64_t bit_row; /* BITS: entries a sample */
  bool written;
} Arg;

static inline CellKernel *new_kernel(CellArena *arena, const char *name, int64_t tasks,
                                     int arg_count, const Arg *args) {
  CellKernel *k = CELL_NEW(arena, CellKernel);
  k->arena = arena, k->name = name, k->tasks = tasks, k->arg_count = arg_count;
  k->args = CELL_NEW_ARRAY(arena, CellDtype, (size_t)arg_count + 1);
  k->written = CELL_NEW_ARRAY(arena, bool, (size_t)arg_count + 1);
  for (int i = 0; i < arg_count; i++) k->args[i] = args[i].dtype, k->written[i] = args[i].written;
  k->var_count = 1;
  return k;
}

static inline CellBufferRef new_scratch(CellKernel *k, int64_t count) {
  CellScratch s = {.dtype = CELL_F, .count = count, .offset = k->scratch_bytes, .name = "test"};
  k->scratch_bytes += (4 * count + 63) / 64 * 64;
  CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
  return (CellBufferRef){true, k->scratch_count - 1};
}

static inline CellBufferRef arg(int i) {
  return (CellBufferRef){false, i};
}

/* c + x vi + y vj; a negative variable is left out */
static inline CellAffine index2(int64_t c, int64_t x, int i, int64_t y, int j) {
  CellAffine a = cell_affine(c);
  if (i >= 0) a = cell_affine_add(a, cell_affine_var(i, x));
  if (j >= 0) a = cell_affine_add(a, cell_affine_var(j, y));
  return a;
}

/* A loop; its body's tail is left in *body. */
static inline CellStmt *loop(CellKernel *k, CellStmt ***tail, CellLoopKind kind, CellAffine begin,
                             int64_t extent, int64_t limit, CellStmt ***body) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LOOP);
  s->loop = kind, s->begin = begin, s->extent = extent, s->limit = limit;
  *body = &s->body;
  return s;
}

static inline int load(CellKernel *k, CellStmt ***tail, CellBufferRef buffer, CellAffine index) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LOAD);
  s->buffer = buffer, s->index = index;
  CellDtype dtype = buffer.scratch ? k->scratch[buffer.index].dtype : k->args[buffer.index];
  s->dtype = dtype == CELL_I ? CELL_I : CELL_F;
  return s->value;
}

static inline int let(CellKernel *k, CellStmt ***tail, CellOp op, int a, int b, int c) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LET);
  s->op = op, s->args[0] = a, s->args[1] = b, s->args[2] = c;
  return s->value;
}

static inline int number(CellKernel *k, CellStmt ***tail, double x) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_CONST);
  s->number = x;
  return s->value;
}

static inline int acc(CellKernel *k, CellStmt ***tail, CellReduce reduce) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_ACC);
  s->reduce = reduce, s->dtype = reduce == CELL_ARGMAX ? CELL_I : CELL_F;
  return s->value;
}

static inline void update(CellKernel *k, CellStmt ***tail, CellReduce reduce, int accumulator,
                          int value, CellAffine index) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_UPDATE);
  s->reduce = reduce, s->value = accumulator, s->args[0] = value, s->index = index;
}

static inline void store(CellKernel *k, CellStmt ***tail, CellBufferRef buffer, CellAffine index,
                         int value, bool add) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_STORE);
  s->buffer = buffer, s->index = index, s->args[0] = value, s->add = add;
}

/* A plan whose one program "run" launches the kernel on tensors "a0", "a1", ... */
static inline CellPlan *plan_of(CellArena *arena, CellKernel *k, const Arg *args, int64_t guard) {
  CellPlan *p = CELL_NEW(arena, CellPlan);
  p->arena = arena, p->guard_bytes = guard;
  int *bound = CELL_NEW_ARRAY(arena, int, (size_t)k->arg_count + 1);
  int64_t at = (guard + 63) / 64 * 64;
  for (int i = 0; i < k->arg_count; i++) {
    CellBuffer b = {
        .name = cell_arena_printf(arena, "a%d", i),
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch): as many as the kernel's
        .kind = args[i].written ? CELL_BUFFER_OUTPUT : CELL_BUFFER_INPUT,
        .dtype = args[i].dtype,
        .count = args[i].count,
        .bit_row = args[i].bit_row,
        .offset = at};
    if (b.dtype == CELL_BITS) b.count = args[i].count / b.bit_row * ((b.bit_row + 31) / 32);
    at += (4 * b.count + 2 * guard + 63) / 64 * 64;
    bound[i] = i;
    CELL_PUSH(arena, p->buffers, p->buffer_count, p->buffer_capacity, b);
  }
  p->arena_bytes = at;
  p->scratch_bytes = k->scratch_bytes;
  CELL_PUSH(arena, p->kernels, p->kernel_count, p->kernel_capacity, k);
  p->programs = CELL_NEW(arena, CellPlanProgram);
  p->program_count = 1;
  p->programs->name = "run";
  CellLaunch launch = {.kernel = 0, .buffers = bound};
  CELL_PUSH(arena, p->programs->launches, p->programs->launch_count, p->programs->launch_capacity,
            launch);
  return p;
}

static inline void assert_valid(const CellKernel *k) {
  CellText text = {0};
  if (!cell_kernel_verify(k, &text)) {
    cell_kernel_print(k, &text);
    fail_msg("%s", text.data);
  }
  cell_text_free(&text);
}

/* numbers that are the same everywhere: splitmix64 */
static inline uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static inline double next_uniform(uint64_t *state) { /* [-1, 1), exact as a float */
  return (double)(int64_t)(next_random(state) >> 41) / (1 << 22) - 1;
}

static inline int64_t next_below(uint64_t *state, int64_t n) {
  return (int64_t)(next_random(state) % (uint64_t)n);
}

/* A folder of files. */
static inline void remove_folder(const char *path) {
  DIR *folder = opendir(path);
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    char file[512];
    snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
    if (entry->d_name[0] != '.') remove(file);
  }
  if (folder) closedir(folder);
  remove(path);
}

/* Runs a plan of one kernel on the kernel interpreter and the CPU with equal arguments, random
 * unless given, and compares what is written: |difference| <= tolerance (1 + |value|). Threads 1, 2
 * and 3 must give the same bytes. Guard zones are checked if the plan has them. */
static inline void compare(CellPlan *plan, const Arg *args, CellIsa isa, double tolerance,
                           uint64_t seed, const double *const *given) {
  CellDiag *diag = cell_diag_create();
  CellKernel *k = plan->kernels[0];
  double **in = cell_malloc(sizeof *in * (size_t)(k->arg_count + 1));
  for (int i = 0; i < k->arg_count; i++) {
    in[i] = cell_malloc(sizeof **in * (size_t)(args[i].count + 1));
    for (int64_t j = 0; j < args[i].count; j++)
      in[i][j] = given && given[i]            ? given[i][j]
                 : args[i].dtype == CELL_BITS ? (double)(next_random(&seed) % 3 == 0)
                 : args[i].dtype == CELL_I    ? (double)next_below(&seed, 7)
                                              : next_uniform(&seed);
  }
  double **want = cell_malloc(sizeof *want * (size_t)(k->arg_count + 1));
  double **first = cell_malloc(sizeof *want * (size_t)(k->arg_count + 1));
  char cache[] = "/tmp/cellc-test-XXXXXX";
  assert_non_null(mkdtemp(cache));
  for (int run = 0; run <= 3; run++) {
    CellEngineOptions options = {
        .isa = isa, .threads = run, .cache_dir = cache, .check_guards = true};
    CellEngine *e = cell_engine_create(
        NULL, plan, run == 0 ? CELL_BACKEND_INTERP_KERNELS : CELL_BACKEND_CPU, &options, diag);
    if (!e) {
      cell_diag_print(diag, stderr, false);
      fail_msg("no engine");
    }
    for (int i = 0; i < k->arg_count; i++)
      assert_true(cell_engine_set(e, "run", plan->buffers[i].name, in[i], args[i].count));
    if (!cell_engine_run(e, "run", diag)) {
      cell_diag_print(diag, stderr, false);
      CellText text = {0};
      cell_kernel_print(k, &text);
      fail_msg("%s", text.data);
    }
    for (int i = 0; i < k->arg_count; i++) {
      double *got = cell_malloc(sizeof *got * (size_t)(args[i].count + 1));
      assert_true(cell_engine_get(e, "run", plan->buffers[i].name, got, args[i].count));
      for (int64_t j = 0; j < args[i].count && run > 0; j++) {
        double w = want[i][j], size = w < 0 ? -w : w, d = got[j] - w;
        bool same = run == 1 ? d * d <= tolerance * tolerance * (1 + size) * (1 + size) ||
                                   got[j] == w || (w != w && got[j] != got[j])
                             : memcmp(&got[j], &first[i][j], sizeof *got) == 0;
        if (!same) {
          CellText text = {0};
          cell_kernel_print(k, &text);
          fail_msg("isa %d threads %d arg%d[%lld]: %.9g, not %.9g, in\n%s", (int)isa, run, i,
                   (long long)j, got[j], run == 1 ? w : first[i][j], text.data);
        }
      }
      if (run == 0)
        want[i] = got;
      else if (run == 1)
        first[i] = got;
      else
        free(got);
    }
    cell_engine_destroy(e);
  }
  for (int i = 0; i < k->arg_count; i++) free(in[i]), free(want[i]), free(first[i]);
  free(in);
  free(want);
  free(first);
  cell_diag_destroy(diag);
  remove_folder(cache);
}

/* The vectors that this machine can run, wide ones on half as wide ones if need be. */
static inline int all_isas(CellIsa isas[3]) {
  int n = 0;
  setenv("CELLC_EMULATE", "1", 1);
  for (CellIsa isa = CELL_ISA_AVX512; isa <= CELL_ISA_SCALAR; isa++)
    if (cell_isa_runs(isa)) isas[n++] = isa;
  return n;
}

#endif
