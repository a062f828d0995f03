/* passes over tensor graphs: values after are those before, on random graphs; and what they do to
 * small ones, as golden texts. CELLC_UPDATE_GOLDEN=1 writes those again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/rewrite.h"
#include "tests/support/golden.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- modules of one graph ---- */

/* the parameters are the inputs "params/NAME"; a group is the first component of NAME */
static void gather_params(CellModule *m, const CellGraph *g) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN) gather_params(m, n->body);
    if (n->op != CELL_OP_INPUT || strncmp(n->name, "params/", 7) != 0) continue;
    bool known = false;
    for (int i = 0; i < m->param_count; i++) known |= strcmp(m->params[i].name, n->name + 7) == 0;
    if (known) continue;
    CellParam p = {.name = n->name + 7, .rank = n->rank};
    p.group = cell_arena_strndup(m->arena, p.name, strcspn(p.name, "/"));
    memcpy(p.shape, n->shape, sizeof p.shape);
    CELL_PUSH(m->arena, m->params, m->param_count, m->param_capacity, p);
  }
}

static CellModule *module_of(CellGraph *g) {
  CellModule *m = CELL_NEW(g->arena, CellModule);
  m->arena = g->arena;
  CELL_PUSH(m->arena, m->programs, m->program_count, m->program_capacity, g);
  gather_params(m, g);
  return m;
}

static void run(CellModule *m, bool (*pass)(CellModule *, CellDiag *)) {
  CellDiag *diag = cell_diag_create();
  if (!pass(m, diag)) cell_diag_print(diag, stderr, false);
  assert_int_equal(diag->error_count, 0);
  cell_diag_destroy(diag);
  for (int i = 0; i < m->program_count; i++) cell_test_verify(m->programs[i]);
}

/* adds the parts of "params/..." and "target/..." to the inputs, cut from the whole */
static CellTensor *with_parts(const CellModule *m, const CellTensor *inputs, int *count) {
  CellTensor *all = NULL;
  int made = 0, capacity = 0;
  for (int i = 0; i < *count; i++) {
    const CellParam *p = NULL;
    for (int k = 0; k < m->param_count; k++)
      if (strlen(inputs[i].name) > 7 && strcmp(m->params[k].name, inputs[i].name + 7) == 0)
        p = &m->params[k];
    CELL_PUSH(m->arena, all, made, capacity, inputs[i]);
    for (int k = 0; p && k < p->part_count; k++) {
      int32_t shape[CELL_MAX_RANK];
      cell_part_shape(p, k, shape);
      CellTensor t = {cell_arena_printf(m->arena, "%s#%d", inputs[i].name, k), NULL, 1};
      for (int d = 0; d < p->rank; d++) t.count *= shape[d];
      t.data = CELL_NEW_ARRAY(m->arena, double, t.count);
      for (int64_t e = 0; e < t.count; e++) t.data[e] = inputs[i].data[cell_part_entry(p, k, e)];
      CELL_PUSH(m->arena, all, made, capacity, t);
    }
  }
  *count = made;
  return all;
}

/* the shortest one-hot code of a graph: a pass may take an index from outside to fit each */
static int32_t shortest_code(const CellGraph *g, int32_t n) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *node = cell_node(g, v);
    if (node->op == CELL_OP_SCAN) n = shortest_code(node->body, n);
    if (node->op == CELL_OP_ONE_HOT && node->shape[node->rank - 1] < n)
      n = node->shape[node->rank - 1];
  }
  return n;
}

static CellTensor *inputs_of(const CellGraph *g, uint64_t seed, int *count) {
  CellTensor *inputs = cell_random_inputs(g->arena, g, seed, count);
  int32_t limit = shortest_code(g, 1 << 30);
  for (int i = 0; i < *count; i++)
    for (int64_t e = 0; strncmp(inputs[i].name, "index", 5) == 0 && e < inputs[i].count; e++)
      inputs[i].data[e] = fmod(inputs[i].data[e], limit);
  return inputs;
}

/* every output of `before` is in `after` with the same values */
static void check_same(const CellGraph *before, const CellTensor *inputs, int count,
                       const CellGraph *after, const CellTensor *inputs_after, int count_after,
                       double tolerance) {
  CellArena *arena = before->arena;
  CellTensor *a = cell_test_eval(arena, before, inputs, count);
  CellTensor *b = cell_test_eval(arena, after, inputs_after, count_after);
  for (int i = 0; i < before->output_count; i++) {
    const CellTensor *found = NULL;
    for (int k = 0; k < after->output_count; k++)
      if (strcmp(before->outputs[i].name, after->outputs[k].name) == 0) found = &b[k];
    if (!found) fail_msg("output %s is gone", before->outputs[i].name);
    uint32_t axes = cell_node(before, before->outputs[i].value)->axes;
    if (axes == cell_node(after, cell_find_output(after, before->outputs[i].name))->axes)
      assert_int_equal(found->count, a[i].count);
    else
      continue; /* fewer axes: equal along them */
    for (int64_t e = 0; e < a[i].count; e++) {
      double x = a[i].data[e], y = found->data[e];
      if (fabs(x - y) <= tolerance * (1 + fabs(x)) || x == y || (isnan(x) && isnan(y))) continue;
      fail_msg("%s[%d] was %.17g and is %.17g\n%s\n%s", before->outputs[i].name, (int)e, x, y,
               cell_test_print(arena, before), cell_test_print(arena, after));
    }
  }
}

/* ---- parts ---- */

static void test_parts_keep_values(void **state) {
  (void)state;
  int split = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = seed % 3 == 0, .params = true, .large = seed % 7 == 0};
    CellGraph *g = cell_random_graph(arena, seed, &options);
    int count, count_after;
    CellTensor *inputs = inputs_of(g, seed, &count);
    CellModule *m = module_of(g);
    run(m, cell_pass_parts);
    for (int i = 0; i < m->param_count; i++) split += m->params[i].part_count > 0;
    count_after = count;
    CellTensor *after = with_parts(m, inputs, &count_after);
    check_same(g, inputs, count, m->programs[0], after, count_after, 1e-12);
    cell_arena_destroy(arena);
  }
  assert_true(split > 50);
}

/* ---- goldens ---- */

/* NAME.ir through one pass is NAME.out */
static void check_golden(const char *name, bool (*pass)(CellModule *, CellDiag *)) {
  CellArena *arena = cell_arena_create();
  const char *folder = CELLC_SOURCE_DIR "/tests/ir/passes";
  const char *out = cell_arena_printf(arena, "%s/%s.out", folder, name);
  char *text = cell_test_read(cell_arena_printf(arena, "%s/%s.ir", folder, name), NULL);
  if (!text) fail_msg("no %s/%s.ir", folder, name);
  CellModule *m = module_of(cell_test_parse(arena, text));
  run(m, pass);
  char *got = cell_test_print(arena, m->programs[0]);
  cell_test_golden(out, got);
  free(text);
  cell_arena_destroy(arena);
}

static void test_parts_golden(void **state) {
  (void)state;
  check_golden("parts_bits_dense_index", cell_pass_parts);
  check_golden("parts_scan", cell_pass_parts);
  check_golden("parts_whole", cell_pass_parts);
  check_golden("parts_target", cell_pass_parts);
}

static void test_gradient_golden(void **state) {
  (void)state;
  check_golden("gradient_linear", cell_pass_gradient);
}

/* ---- dce and the runner ---- */

static void test_dce_keeps_wanted(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_graph_create(arena, "test");
  CellValue x = cell_input(g, "x", CELL_F, 0, NULL, 0);
  static const CellOp ops[] = {CELL_OP_EXP, CELL_OP_TANH, CELL_OP_SIN, CELL_OP_COS};
  static const char *const names[] = {"a/one", "a/two", "target/w#1", "target/v"};
  static const char *const wanted[] = {"a/", "target/w"};
  for (int i = 0; i < 4; i++) cell_output(g, names[i], cell_op1(g, ops[i], x));
  g->wanted = wanted;
  g->wanted_count = 2;
  CellModule *m = module_of(g);
  run(m, cell_pass_dce);
  assert_int_equal(m->programs[0]->output_count, 3);
  assert_int_equal(m->programs[0]->node_count, 4);
  assert_int_equal(cell_find_output(m->programs[0], "target/v"), CELL_NONE);
  cell_arena_destroy(arena);
}

static void count_pass(const CellPass *pass, const CellModule *m, void *context) {
  (void)m;
  cell_text_printf(context, "%s ", pass->name);
}

static void test_runner(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellText seen = {0};
  CellRandomOptions random = {.params = true, .scan = true};
  CellPassOptions options = {.after = count_pass, .context = &seen, .verify = true};
  CellModule *m = module_of(cell_random_graph(arena, 1, &random));
  assert_true(cell_run_passes(m, &options, diag));
  assert_string_equal(seen.data, "parts algebra gradient algebra2 sparse dce ");
  cell_text_free(&seen);

  /* a pass that may not be switched off runs all the same */
  static const char *const disabled[] = {"parts", "gradient"};
  options.disabled = disabled;
  options.disabled_count = 2;
  options.stop_after = "gradient";
  m = module_of(cell_random_graph(arena, 1, &random));
  assert_true(cell_run_passes(m, &options, diag));
  assert_string_equal(seen.data, "parts algebra gradient ");
  for (int i = 0; i < m->param_count; i++) assert_int_equal(m->params[i].part_count, 0);
  for (CellValue v = 0; v < m->programs[0]->node_count; v++)
    assert_int_not_equal(cell_node(m->programs[0], v)->op, CELL_OP_STOP_GRADIENT);
  cell_text_free(&seen);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parts_keep_values),
      cmocka_unit_test(test_parts_golden),
      cmocka_unit_test(test_gradient_golden),
      cmocka_unit_test(test_dce_keeps_wanted),
      cmocka_unit_test(test_runner),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
