/* the algebra pass: each rule, and all together, keep the values of random graphs and of cases made
 * for them; and the row statistics of a short product never need the product */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/algebra.h"
#include "tests/support/golden.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* every output of `before` is in `after`, with the same values to 1e-9; one that has lost an axis
 * is equal along it */
static void check_same(const CellGraph *before, const CellGraph *after, uint64_t seed) {
  CellArena *arena = before->arena;
  int count;
  CellTensor *inputs = cell_random_inputs(arena, before, seed, &count);
  CellTensor *a = cell_test_eval(arena, before, inputs, count);
  CellTensor *b = cell_test_eval(arena, after, inputs, count);
  assert_int_equal(before->output_count, after->output_count);
  for (int i = 0; i < before->output_count; i++) {
    uint32_t axes = cell_node(before, before->outputs[i].value)->axes;
    if (axes != cell_node(after, after->outputs[i].value)->axes) continue;
    assert_string_equal(before->outputs[i].name, after->outputs[i].name);
    assert_int_equal(a[i].count, b[i].count);
    double largest = 1;
    for (int64_t e = 0; e < a[i].count; e++) largest = fmax(largest, fabs(a[i].data[e]));
    for (int64_t e = 0; e < a[i].count; e++) {
      double x = a[i].data[e], y = b[i].data[e];
      if (fabs(x - y) <= 1e-9 * largest || (isnan(x) && isnan(y))) continue;
      fail_msg("seed %d: %s[%d] was %.17g and is %.17g\n%s\n%s", (int)seed, before->outputs[i].name,
               (int)e, x, y, cell_test_print(arena, before), cell_test_print(arena, after));
    }
  }
}

static void test_random_graphs(void **state) {
  (void)state;
  int *applied = calloc((size_t)cell_rule_count, sizeof *applied);
  for (uint64_t seed = 0; seed < 400; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = seed % 3 == 0, .params = true, .large = seed % 4 == 0};
    CellGraph *g = cell_random_graph(arena, seed, &options);
    CellGraph *after = cell_apply_rules(g, NULL, NULL);
    cell_test_verify(after);
    check_same(g, after, seed);
    int again = 0;
    cell_apply_rules(after, NULL, &again);
    assert_int_equal(again, 0);
    for (int i = 0; i < cell_rule_count && seed < 200; i++) {
      int before = applied[i];
      after = cell_apply_rules(g, &cell_rules[i], &applied[i]);
      cell_test_verify(after);
      if (applied[i] > before) check_same(g, after, seed);
    }
    cell_arena_destroy(arena);
  }

  free(applied);
}

/* ---- a case a rule ---- */

/* passes/algebra_RULE.ir through that rule alone is passes/algebra_RULE.out */
static void test_each_rule(void **state) {
  (void)state;
  const char *folder = CELLC_SOURCE_DIR "/tests/ir/passes/algebra_";
  for (int i = 0; i < cell_rule_count; i++) {
    CellArena *arena = cell_arena_create();
    const char *name = cell_rules[i].name;
    char *text = cell_test_read(cell_arena_printf(arena, "%s%s.ir", folder, name), NULL);
    if (!text) fail_msg("rule %s has no case", name);
    CellGraph *g = cell_test_parse(arena, text);
    int applied = 0;
    CellGraph *after = cell_apply_rules(g, &cell_rules[i], &applied);
    cell_test_verify(after);
    if (!applied) fail_msg("rule %s does not fit its case", name);
    check_same(g, after, 1);
    char *got = cell_test_print(arena, after);
    const char *path = cell_arena_printf(arena, "%s%s.out", folder, name);
    cell_test_golden(path, got);
    free(text);
    cell_arena_destroy(arena);
  }
}

/* ---- the gradient of what the rules made ---- */

static void test_gradients_stay(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 200; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.params = true, .differentiable = true, .loss = true};
    options.large = seed % 4 == 0;
    CellGraph *graphs[2];
    graphs[0] = cell_random_graph(arena, seed, &options);
    graphs[1] = cell_apply_rules(graphs[0], NULL, NULL);
    for (int k = 0; k < 2; k++) {
      CellGraph *g = graphs[k];
      CellValue loss = cell_find_output(g, "loss"), wrt[64], grads[64];
      int count = 0;
      for (CellValue v = 0; v < graphs[0]->node_count && count < 64; v++) {
        const CellNode *n = cell_node(graphs[0], v);
        if (n->op != CELL_OP_INPUT || n->dtype != CELL_F) continue;
        wrt[count++] = cell_input(g, n->name, n->dtype, n->rank, n->shape, n->axes);
      }
      cell_gradient(g, loss, count, wrt, grads);
      g->output_count = 0;
      for (int i = 0; i < count; i++) {
        CellValue d = cell_op2(g, CELL_OP_MUL, wrt[i], cell_const(g, 0));
        if (grads[i] != CELL_NONE) d = cell_op2(g, CELL_OP_ADD, d, grads[i]);
        cell_output(g, cell_node(g, wrt[i])->name, d);
      }
    }
    check_same(graphs[0], graphs[1], seed);
    check_same(graphs[0], cell_apply_rules(graphs[1], NULL, NULL), seed);
    cell_arena_destroy(arena);
  }
}

/* ---- statistics of a short product ---- */

static CellValue column_mean(CellGraph *g, CellValue x) {
  CellValue sum = cell_reduce(g, CELL_SUM, x, 2, 0);
  CellNode n = *cell_node(g, x);
  sum = cell_reshape(g, sum, 2, (int32_t[]){n.shape[0], 1});
  return cell_op2(g, CELL_OP_DIV, sum, cell_const(g, n.shape[1]));
}

/* rows of a product of rank 4 are centred and scaled, then squashed and multiplied: no sum over a
 * row of the product is left, before or after the gradient but for what the squashing makes */
static void test_row_statistics_come_from_factors(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_graph_create(arena, "test");
  g->axes[CELL_AXIS_BATCH].extent = 6;
  const uint32_t batch = CELL_AXIS(CELL_AXIS_BATCH);
  const int8_t map[] = {0, 1}, turn[] = {1, 0};
  const int32_t rows = 40, columns = 50, shape[] = {rows, columns};
  CellValue a = cell_input(g, "a", CELL_F, 2, (int32_t[]){4, rows}, batch);
  CellValue b = cell_input(g, "b", CELL_F, 2, (int32_t[]){4, columns}, batch);
  CellValue h = cell_input(g, "h", CELL_F, 1, (int32_t[]){columns}, batch);
  CellValue x = cell_contract(g, cell_transpose(g, a, turn), b, "ij,jk->ik", 0);
  x = cell_op2(g, CELL_OP_SUB, x, cell_broadcast(g, column_mean(g, x), 2, shape, map));
  CellValue std = cell_op1(g, CELL_OP_SQRT, column_mean(g, cell_op2(g, CELL_OP_MUL, x, x)));
  CellValue divisor = cell_op2(g, CELL_OP_ADD, std, cell_const(g, 1e-6));
  x = cell_op2(g, CELL_OP_DIV, x, cell_broadcast(g, divisor, 2, shape, map));
  x = cell_op1(g, CELL_OP_TANH, x);
  CellValue y = cell_contract(g, x, h, "ij,j->i", 0);
  cell_output(g, "y", y);
  cell_output(g, "loss", cell_contract(g, y, y, "i,i->", batch));

  CellGraph *after = cell_apply_rules(g, NULL, NULL);
  check_same(g, after, 1);
  CellValue wrt[3], grads[3];
  static const char *const names[] = {"a", "b", "h"};
  for (int i = 0; i < 3; i++) wrt[i] = cell_find_input(after, names[i]);
  cell_gradient(after, cell_find_output(after, "loss"), 3, wrt, grads);
  for (int i = 0; i < 3; i++) cell_output(after, cell_arena_printf(arena, "d%d", i), grads[i]);
  after = cell_apply_rules(after, NULL, NULL);
  int products = 0, readers = 0;
  for (CellValue v = 0; v < after->node_count; v++) {
    const CellNode *n = cell_node(after, v);
    products += n->op == CELL_OP_CONTRACT && cell_count(after, v) == rows * columns;
    bool reads = false;
    for (int k = 0; k < n->arg_count; k++)
      reads |= cell_count(after, n->args[k]) == rows * columns && cell_count(after, v) < rows;
    readers += reads;
    /* no view or elementwise op repeats a row statistic over the product */
    assert_false(n->op == CELL_OP_BROADCAST && cell_count(after, v) == rows * columns);
    assert_false(n->op == CELL_OP_REDUCE && cell_count(after, n->args[0]) == rows * columns);
  }
  assert_int_equal(products, 2); /* the scaled product, and dy h' */
  assert_int_equal(readers, 0);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_graphs),
      cmocka_unit_test(test_each_rule),
      cmocka_unit_test(test_gradients_stay),
      cmocka_unit_test(test_row_statistics_come_from_factors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
