/* the least that a launch has to do, counted by hand on small kernels */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/kernel.h"

typedef struct {
  CellArena *arena;
  CellKernel k;
  CellStmt **tail;
  CellBuffer buffers[4];
  CellCosts costs;
} Case;

static const int all[4] = {0, 1, 2, 3};

static Case begin(int64_t tasks, int64_t count) {
  Case c = {.arena = cell_arena_create()};
  c.k = (CellKernel){.arena = c.arena, .arg_count = 4, .tasks = tasks, .var_count = 1};
  c.k.args = CELL_NEW_ARRAY(c.arena, CellDtype, 4);
  c.k.written = CELL_NEW_ARRAY(c.arena, bool, 4);
  c.k.written[3] = true;
  for (int i = 0; i < 4; i++) c.buffers[i].count = count;
  c.costs.lanes = 8, c.costs.density = 0.25, c.costs.apart = 1;
  c.costs.op[CELL_OP_ADD] = c.costs.op[CELL_OP_MUL] = 1;
  c.costs.op[CELL_OP_TANH] = 13;
  return c;
}

static CellStmt *loop(Case *c, CellStmt ***tail, CellLoopKind kind, int64_t extent) {
  CellStmt *s = cell_stmt(&c->k, tail, CELL_K_LOOP);
  s->loop = kind, s->extent = extent;
  return s;
}

static int load(Case *c, CellStmt ***tail, int arg, CellAffine index) {
  CellStmt *s = cell_stmt(&c->k, tail, CELL_K_LOAD);
  s->buffer.index = arg, s->index = index;
  return s->value;
}

static int let(Case *c, CellStmt ***tail, CellOp op, int a, int b) {
  CellStmt *s = cell_stmt(&c->k, tail, CELL_K_LET);
  s->op = op, s->args[0] = a, s->args[1] = b;
  return s->value;
}

static void store(Case *c, CellStmt ***tail, CellAffine index, int value) {
  CellStmt *s = cell_stmt(&c->k, tail, CELL_K_STORE);
  s->buffer.index = 3, s->index = index, s->args[0] = value;
}

static void expect(Case *c, double instructions, double bytes) {
  CellKernelWork work = cell_kernel_work(&c->k, c->buffers, all, &c->costs);
  assert_float_equal(work.instructions, instructions, 1e-9);
  assert_float_equal(work.bytes, bytes, 1e-9);
  cell_arena_destroy(c->arena);
}

// 3 tasks of 20 elements: three vectors each, the last one short
static void test_lanes(void **state) {
  (void)state;
  Case c = begin(3, 60);
  CellStmt **tail = &c.k.body, *lanes = loop(&c, &tail, CELL_LOOP_LANES, 20);
  CellStmt **body = &lanes->body;
  CellAffine at = cell_affine_add(cell_affine_var(0, 20), cell_affine_var(lanes->var, 1));
  int x = load(&c, &body, 0, at), t = let(&c, &body, CELL_OP_TANH, x, -1);
  store(&c, &body, at, let(&c, &body, CELL_OP_MUL, t, x));
  expect(&c, 3 * 3 * (13 + 1), 4 * (60 + 60));
}

// a multiplication with one reader is part of the addition; with two it is not
static void test_products(void **state) {
  (void)state;
  for (int readers = 1; readers <= 2; readers++) {
    Case c = begin(1, 16);
    CellStmt **tail = &c.k.body, *lanes = loop(&c, &tail, CELL_LOOP_LANES, 16);
    CellStmt **body = &lanes->body;
    CellAffine at = cell_affine_var(lanes->var, 1);
    int x = load(&c, &body, 0, at), y = load(&c, &body, 1, at);
    int product = let(&c, &body, CELL_OP_MUL, x, y), sum = let(&c, &body, CELL_OP_ADD, product, x);
    if (readers == 2) sum = let(&c, &body, CELL_OP_TANH, product, -1);
    store(&c, &body, at, sum);
    expect(&c, 2 * (readers == 1 ? 1 : 1 + 1 + 13), 4 * 3 * 16);
  }
}

// lanes that lie apart: short steps by as many vectors, longer ones and loaded places lane by lane; a loaded place that all
// lanes share is one place
static void test_apart(void **state) {
  (void)state;
  Case c = begin(1, 1000);
  CellStmt **tail = &c.k.body;
  int shared = load(&c, &tail, 0, cell_affine(1));
  CellStmt *lanes = loop(&c, &tail, CELL_LOOP_LANES, 16), **body = &lanes->body;
  CellAffine at = cell_affine_var(lanes->var, 1), by_lane = cell_affine(0), by_all = at;
  int place = load(&c, &body, 1, at);
  by_lane.loaded = place, by_lane.loaded_coef = 3;
  by_all.loaded = shared, by_all.loaded_coef = 3;
  load(&c, &body, 0, cell_affine_var(lanes->var, 5));
  load(&c, &body, 0, cell_affine_var(lanes->var, 40));
  load(&c, &body, 2, by_lane);
  load(&c, &body, 2, by_all);
  store(&c, &body, cell_affine_var(lanes->var, 3), place);
  CellKernelWork work = cell_kernel_work(&c.k, c.buffers, all, &c.costs);
  assert_float_equal(work.instructions, 2 * (5 + 7 + 7 + 3), 1e-9);
  cell_arena_destroy(c.arena);
}

// sums: one instruction a vector, none of its own with a product; loops around count
static void test_sums(void **state) {
  (void)state;
  Case c = begin(1, 64);
  CellStmt **tail = &c.k.body, *rows = loop(&c, &tail, CELL_LOOP_SERIAL, 4);
  CellStmt **row = &rows->body;
  CellStmt *acc = cell_stmt(&c.k, &row, CELL_K_ACC);
  CellStmt *lanes = loop(&c, &row, CELL_LOOP_LANES, 16);
  CellStmt **body = &lanes->body;
  CellAffine at = cell_affine_add(cell_affine_var(rows->var, 16), cell_affine_var(lanes->var, 1));
  int x = load(&c, &body, 0, at);
  int square = let(&c, &body, CELL_OP_MUL, x, x);
  CellStmt *update = cell_stmt(&c.k, &body, CELL_K_UPDATE);
  update->value = acc->value, update->args[0] = square;
  store(&c, &row, cell_affine_var(rows->var, 1), acc->value);
  expect(&c, 4 * 2 * (1 + 0), 4 * (64 + 4));
}

static void contract(Case *c, int64_t m, int64_t n, int64_t k) {
  CellStmt **tail = &c->k.body;
  CellStmt *s = cell_stmt(&c->k, &tail, CELL_K_CONTRACT);
  s->m = m, s->n = n, s->k = k;
  s->a.buffer.index = 0, s->b.buffer.index = 1, s->out.buffer.index = 3;
  s->a.row_stride = k, s->b.row_stride = k, s->out.row_stride = n;
  s->a.k_stride = s->b.k_stride = s->out.k_stride = 1;
}

// the layout with the fewest vectors: along n here, then along k
static void test_contracts(void **state) {
  (void)state;
  Case c = begin(1, 1000);
  contract(&c, 3, 17, 10);
  expect(&c, 3 * 10 * 3, 4 * (30 + 170 + 51));
  c = begin(1, 1000);
  contract(&c, 1, 1, 100);
  expect(&c, 13, 4 * (100 + 100 + 1));
  // a bit in four selects its row; a buffer has no more bytes than it has
  c = begin(1, 20);
  c.k.args[0] = CELL_BITS;
  contract(&c, 4, 8, 32);
  expect(&c, 4 * 32 * 0.25, 16 + 80 + 4 * 32);
  // what rows have in common once, and a tenth of the bits that are left
  c = begin(1, 20);
  c.k.args[0] = CELL_BITS;
  c.costs.apart = 0.1;
  contract(&c, 4, 8, 32);
  expect(&c, 32 * 0.25 + 4 * 32 * 0.1, 16 + 80 + 4 * 32);
  // the other way round: a row has its bit in a tenth of all k, or lacks it there
  c = begin(1, 20);
  c.k.args[0] = CELL_BITS;
  c.costs.apart = 0.1;
  contract(&c, 4, 8, 32);
  c.k.body->a.row_stride = 1, c.k.body->a.k_stride = 32;
  expect(&c, 4 * 32 * 0.1, 16 + 80 + 4 * 32);
  // what is left without zeros, each brought to all lanes, and looked for; the dense product where that is less
  c = begin(1, 10000);
  c.costs.left = 0.5;
  contract(&c, 4, 64, 32);
  expect(&c, 4 * 32 * 8, 4 * (128 + 2048 + 256));
  c = begin(1, 10000);
  c.costs.left = 0.5;
  contract(&c, 4, 64, 32);
  c.k.body->sparse = true;
  expect(&c, 4 * 32 * 0.5 * (8 + 1) + 3 * 4 * 4, 4 * (128 + 2048 + 256));
  c = begin(1, 10000);
  c.costs.left = 0.5;
  contract(&c, 4, 8, 32);
  c.k.body->sparse = true;
  expect(&c, 4 * 32, 4 * (128 + 256 + 32));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lanes), cmocka_unit_test(test_products),
                                     cmocka_unit_test(test_apart), cmocka_unit_test(test_sums),
                                     cmocka_unit_test(test_contracts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
