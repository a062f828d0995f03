/* kernels.h - what the tests of codegen share: kernels written by hand, and plans of one kernel. */
#ifndef CELL_TESTS_KERNELS_H
#define CELL_TESTS_KERNELS_H

#include "codegen/codegen.h"

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
    CellBuffer b = {.name = cell_arena_printf(arena, "a%d", i),
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
  CellLaunch launch = {0, bound};
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

#endif
