/* test_interp.c - the text form, the verifier and the counts of kernels, and their meaning. */
#include "kernels.h"

/* the example of kernel.h, made whole: row sums of 100 rows in tasks of 64, halved, then a product
 */
static CellKernel *example(CellArena *arena, Arg *args) {
  args[0] = (Arg){CELL_F, 100 * 40, 0, false};
  args[1] = (Arg){CELL_BITS, 33 * 40, 40, false};
  args[2] = (Arg){CELL_F, 100 * 33, 0, true};
  args[3] = (Arg){CELL_F, 100, 0, true};
  CellKernel *k = new_kernel(arena, "k3", 2, 4, args);
  CellBufferRef s0 = new_scratch(k, 64 * 40);
  CellStmt **tail = &k->body, **row, **lane;
  CellStmt *rows = loop(k, &tail, CELL_LOOP_SERIAL, cell_affine_var(0, 64), 64, 100, &row);
  int sum = acc(k, &row, CELL_SUM);
  CellStmt *lanes = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), 40, 0, &lane);
  int x = load(k, &lane, arg(0), index2(0, 40, rows->var, 1, lanes->var));
  update(k, &lane, CELL_SUM, sum, x, cell_affine(0));
  CellAffine local = index2(0, 40, rows->var, -2560, 0);
  store(k, &lane, s0, cell_affine_add(local, cell_affine_var(lanes->var, 1)), x, false);
  int half = number(k, &row, 0.5);
  store(k, &row, arg(3), cell_affine_var(rows->var, 1), let(k, &row, CELL_OP_MUL, sum, half, -1),
        false);
  CellStmt *c = cell_stmt(k, &tail, CELL_K_CONTRACT);
  c->a = (CellView){s0, cell_affine(0), 40, 1};
  c->b = (CellView){arg(1), cell_affine(0), 64, 1};
  c->out = (CellView){arg(2), cell_affine_var(0, 64 * 33), 33, 1};
  c->m = 64, c->n = 33, c->k = 40, c->add = true;
  c->m_begin = cell_affine_var(0, 64), c->m_limit = 100;
  return k;
}

static void prints(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{0}};
  CellKernel *k = example(arena, args);
  assert_valid(k);
  CellText text = {0};
  cell_kernel_print(k, &text);
  assert_string_equal(
      text.data,
      "kernel k3 (arg0: f, arg1: bits, arg2: f written, arg3: f written) tasks 2 scratch (s0: f "
      "2560 at 0) of 10240\n"
      "  loop v1 = 64 v0 + [0, 64) below 100\n"
      "    %0 = acc sum\n"
      "    lanes v2 = [0, 40)\n"
      "      %1 = load arg0[40 v1 + v2]\n"
      "      update %0 %1\n"
      "      store s0[-2560 v0 + 40 v1 + v2] %1\n"
      "    %2 = const 0.5\n"
      "    %3 = mul %0 %2\n"
      "    store arg3[v1] %3\n"
      "  contract s0[40 m + k] arg1[64 n + k] -> arg2[2112 v0 + 33 m + n] m 64 v0 + [0, 64) below "
      "100 n 33 k 40 add\n");
  cell_text_free(&text);
  cell_arena_destroy(arena);
}

static void counts(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{0}};
  CellKernelCounts c = cell_kernel_counts(example(arena, args));
  assert_float_equal(c.contract_flops, 2.0 * 100 * 33 * 40, 0);
  assert_float_equal(c.vector_ops, 100 * 40 + 100, 0);
  cell_arena_destroy(arena);
}

static void interprets(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{0}};
  CellKernel *k = example(arena, args);
  CellPlan *plan = plan_of(arena, k, args, 0);
  CellDiag *diag = cell_diag_create();
  CellEngine *e = cell_engine_create(NULL, plan, CELL_BACKEND_INTERP_KERNELS, NULL, diag);
  assert_non_null(e);
  double *x = CELL_NEW_ARRAY(arena, double, 4000), *bits = CELL_NEW_ARRAY(arena, double, 1320);
  double *out = CELL_NEW_ARRAY(arena, double, 3300), *half = CELL_NEW_ARRAY(arena, double, 100);
  for (int i = 0; i < 4000; i++) x[i] = i % 17 - 8;
  for (int i = 0; i < 1320; i++) bits[i] = i % 3 == 0;
  assert_true(cell_engine_set(e, "run", "a0", x, 4000));
  assert_true(cell_engine_set(e, "run", "a1", bits, 1320));
  assert_false(cell_engine_set(e, "run", "a1", bits, 1319));
  assert_true(cell_engine_run(e, "run", diag));
  assert_false(cell_engine_run(e, "walk", diag));
  assert_true(cell_engine_get(e, "run", "a2", out, 3300));
  assert_true(cell_engine_get(e, "run", "a3", half, 100));
  for (int i = 0; i < 100; i++) {
    double sum = 0;
    for (int j = 0; j < 40; j++) sum += x[40 * i + j];
    assert_float_equal(half[i], sum / 2, 0);
    for (int n = 0; n < 33; n++) {
      double dot = 0;
      for (int j = 0; j < 40; j++) dot += x[40 * i + j] * bits[40 * n + j];
      assert_float_equal(out[33 * i + n], dot, 0);
    }
  }
  cell_engine_destroy(e);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

/* each fault that the verifier knows, put into the example */
static void refuses(void **state) {
  (void)state;
  static const char *const expected[] = {
      "stores to arg3, which is not marked",
      "s0, which has 2559",
      "is not visible there",
      "lanes loop inside the lanes loop",
      "always to the same element",
      "a contract reads a buffer of i32",
      "extent below 1",
      "there are 0 tasks",
      "read inside the lanes loop that updates it",
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    CellArena *arena = cell_arena_create();
    Arg args[4] = {{0}};
    CellKernel *k = example(arena, args);
    CellStmt *rows = k->body, *lanes = rows->body->next, *contract = rows->next;
    CellStmt **tail = &lanes->body->next->next->next;
    switch (i) {
    case 0: k->written[3] = false; break;
    case 1: k->scratch[0].count--; break;
    case 2: lanes->body->next->args[0] = 3; break;
    case 3: rows->loop = CELL_LOOP_LANES; break;
    case 4: store(k, &tail, arg(3), cell_affine_var(rows->var, 1), 1, false); break;
    case 5: k->args[1] = CELL_I; break;
    case 6: contract->k = 0; break;
    case 7: k->tasks = 0; break;
    case 8: let(k, &tail, CELL_OP_NEG, 0, -1, -1); break;
    }
    CellText text = {0};
    assert_false(cell_kernel_verify(k, &text));
    if (!strstr(text.data, expected[i])) fail_msg("%s: %s", expected[i], text.data);
    cell_text_free(&text);
    cell_arena_destroy(arena);
  }
}

/* an index out of range is an error, not a crash */
static void checks_indices(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{0}};
  CellKernel *k = example(arena, args);
  args[3].count = 99;
  CellPlan *plan = plan_of(arena, k, args, 0);
  CellDiag *diag = cell_diag_create();
  CellEngine *e = cell_engine_create(NULL, plan, CELL_BACKEND_INTERP_KERNELS, NULL, diag);
  assert_false(cell_engine_run(e, "run", diag));
  assert_string_equal(diag->records[0].message,
                      "kernel k3: index 99 of arg3, which has 99 entries");
  cell_engine_destroy(e);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prints),  cmocka_unit_test(counts),         cmocka_unit_test(interprets),
      cmocka_unit_test(refuses), cmocka_unit_test(checks_indices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
