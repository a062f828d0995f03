/* derivatives: each op against central finite differences, its values where there is none, and the
 * update that the gradient pass makes of a minimize entry */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/rewrite.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, CANDIDATES = 2 };
#define B CELL_AXIS(CELL_AXIS_BATCH)
#define C CELL_AXIS(CELL_AXIS_CANDIDATE)

static uint64_t random_state = 1;

static void assert_near(double a, double b, double tolerance) {
  if (!(fabs(a - b) <= tolerance)) fail_msg("%.17g is not %.17g", a, b);
}

/* in [low, high) */
static double random_between(double low, double high) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return low + (high - low) * (double)(random_state >> 11) / 9007199254740992.0;
}

static CellGraph *new_graph(CellArena *arena) {
  CellGraph *g = cell_graph_create(arena, "test");
  g->axes[CELL_AXIS_BATCH].extent = BATCH;
  g->axes[CELL_AXIS_CANDIDATE].extent = CANDIDATES;
  return g;
}

static CellValue in(CellGraph *g, const char *name, uint32_t axes, int rank, ...) {
  int32_t shape[CELL_MAX_RANK] = {0};
  va_list list;
  va_start(list, rank);
  for (int i = 0; i < rank; i++) shape[i] = va_arg(list, int);
  va_end(list);
  return cell_input(g, name, CELL_F, rank, shape, axes);
}

static CellValue index_in(CellGraph *g, const char *name, uint32_t axes) {
  return cell_input(g, name, CELL_I, 0, NULL, axes);
}

/* sum of all entries, each with a weight of its own */
static CellValue weighted_sum(CellGraph *g, CellValue v) {
  CellNode n = *cell_node(g, v);
  CellValue w = cell_input(g, "weights", CELL_F, n.rank, n.shape, n.axes);
  CellValue product = cell_op2(g, CELL_OP_MUL, v, w);
  n = *cell_node(g, product);
  return cell_sum(g, product, (uint8_t)((1u << n.rank) - 1), n.axes);
}

/* random values for every input of g; indices below `limit` */
static int fill_inputs(CellGraph *g, CellTensor *tensors, double low, double high) {
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op != CELL_OP_INPUT) continue;
    CellTensor *t = &tensors[count++];
    *t = (CellTensor){.name = n->name, .count = cell_count(g, v) * cell_extent(g, n->axes)};
    t->data = CELL_NEW_ARRAY(g->arena, double, t->count);
    for (int64_t i = 0; i < t->count; i++)
      t->data[i] = n->dtype == CELL_I ? floor(random_between(0, 2)) : random_between(low, high);
  }
  return count;
}

static CellTensor *evaluate(const CellGraph *g, const CellTensor *inputs, int count) {
  CellDiag *diag = cell_diag_create();
  CellTensor *outputs = CELL_NEW_ARRAY(g->arena, CellTensor, g->output_count);
  if (!cell_eval(g, inputs, count, outputs, g->arena, diag)) cell_diag_print(diag, stderr, false);
  assert_int_equal(diag->error_count, 0);
  cell_diag_destroy(diag);
  return outputs;
}

/* compares the gradient of a weighted sum of v's entries in every float input with differences */
static void check_values(CellGraph *g, CellValue v, double low, double high) {
  CellText text = {0};
  CellValue loss = weighted_sum(g, v), wrt[16], grads[16];
  int count = 0;
  for (CellValue i = 0; i < g->node_count; i++)
    if (cell_node(g, i)->op == CELL_OP_INPUT && cell_node(g, i)->dtype == CELL_F) wrt[count++] = i;
  cell_gradient(g, loss, count, wrt, grads);
  cell_output(g, "loss", loss);
  for (int i = 0; i < count; i++) {
    if (grads[i] == CELL_NONE) grads[i] = cell_const(g, 0);
    /* where it is equal along an axis or everywhere, it is shown in full */
    CellValue nothing = cell_op2(g, CELL_OP_MUL, wrt[i], cell_const(g, 0));
    cell_output(g, cell_node(g, wrt[i])->name, cell_op2(g, CELL_OP_ADD, grads[i], nothing));
  }
  if (!cell_verify(g, &text)) fail_msg("%s", text.data);
  cell_text_free(&text);

  CellTensor inputs[32];
  int input_count = fill_inputs(g, inputs, low, high);
  CellTensor *outputs = evaluate(g, inputs, input_count);
  CellGraph *forward = cell_rewrite(g, NULL, NULL);
  forward->output_count = 1;
  for (int i = 0; i < input_count; i++)
    for (int o = 1; o < g->output_count; o++) {
      if (strcmp(g->outputs[o].name, inputs[i].name) != 0) continue;
      assert_int_equal(outputs[o].count, inputs[i].count);
      for (int64_t k = 0; k < inputs[i].count; k++) {
        double x = inputs[i].data[k], h = 1e-5;
        inputs[i].data[k] = x + h;
        double above = evaluate(forward, inputs, input_count)[0].data[0];
        inputs[i].data[k] = x - h;
        double below = evaluate(forward, inputs, input_count)[0].data[0];
        inputs[i].data[k] = x;
        double expected = (above - below) / (2 * h), got = outputs[o].data[k];
        if (fabs(got - expected) <= 1e-7 * (1 + fabs(expected))) continue;
        cell_print(g, NULL, &text);
        fail_msg("%s[%d]: %.12g, differences say %.12g\n%s", inputs[i].name, (int)k, got, expected,
                 text.data);
      }
    }
}

static void check(CellGraph *g, CellValue v) {
  check_values(g, v, 0.2, 1.7);
}

/* ---- one case or more an op ---- */

/* operands of every kind: full, without the batch, without the candidates, rank 0 */
static void check_elementwise(CellOp op) {
  static const struct {
    uint32_t axes;
    int rank;
  } kinds[] = {{B, 2}, {0, 2}, {C, 2}, {B, 0}, {0, 0}, {B | C, 0}};
  int arity = cell_op_info[op].arity, n = sizeof kinds / sizeof *kinds;
  int combinations = arity == 1 ? n : arity == 2 ? n * n : n * n * n;
  for (int which = 0; which < combinations; which++) {
    CellArena *arena = cell_arena_create();
    CellGraph *g = new_graph(arena);
    CellValue args[3] = {0};
    static const char *const names[] = {"a", "b", "c"};
    for (int k = 0, rest = which; k < 3 && k < arity; k++, rest /= n)
      args[k] = in(g, names[k], kinds[rest % n].axes, kinds[rest % n].rank, 2, 3);
    CellValue v = arity == 1   ? cell_op1(g, op, args[0])
                  : arity == 2 ? cell_op2(g, op, args[0], args[1])
                               : cell_op3(g, op, args[0], args[1], args[2]);
    bool negative = op != CELL_OP_POW && op != CELL_OP_LOG && op != CELL_OP_SQRT;
    if (negative && which % 2)
      check_values(g, v, -1.9, -0.3);
    else
      check(g, v);
    cell_arena_destroy(arena);
  }
}

typedef CellValue (*Build)(CellGraph *g, int variant); /* CELL_NONE: no more variants */

static CellValue build_reduce(CellGraph *g, int variant) {
  CellValue x = in(g, "x", B | C, 3, 2, 3, 2);
  switch (variant) {
  case 0: return cell_reduce(g, CELL_SUM, x, 1, 0);
  case 1: return cell_reduce(g, CELL_SUM, x, 6, B);
  case 2: return cell_reduce(g, CELL_SUM, x, 7, B | C);
  case 3: return cell_reduce(g, CELL_REDUCE_MAX, x, 1, 0);
  case 4: return cell_reduce(g, CELL_REDUCE_MAX, x, 2, 0);
  case 5: return cell_reduce(g, CELL_REDUCE_MAX, x, 4, 0);
  case 6: return cell_reduce(g, CELL_REDUCE_MAX, x, 0, C);
  case 7: return cell_reduce(g, CELL_REDUCE_MAX, in(g, "y", B, 1, 4), 1, 0);
  case 8: return cell_reduce(g, CELL_SUM, cell_op1(g, CELL_OP_EXP, x), 2, C);
  default: return CELL_NONE;
  }
}

static CellValue build_contract(CellGraph *g, int variant) {
  CellValue w = in(g, "w", 0, 2, 4, 3), x = in(g, "x", B, 1, 3), y = in(g, "y", B | C, 2, 3, 2);
  switch (variant) {
  case 0: return cell_contract(g, w, x, "ij,j->i", 0);
  case 1: return cell_contract(g, w, y, "ij,jk->ki", 0);
  case 2: return cell_contract(g, x, y, "j,jk->kj", B);
  case 3: return cell_contract(g, y, in(g, "v", C, 2, 3, 2), "jk,jk->", B | C);
  case 4: return cell_contract(g, x, in(g, "z", B, 1, 5), "i,j->ij", B);
  case 5: return cell_contract(g, x, in(g, "s", B, 0), "i,->i", B);
  case 6: return cell_contract(g, y, y, "ij,kj->ik", 0);
  case 7: return cell_contract(g, w, y, "ij,jk->ik", C);
  case 8: return cell_contract(g, in(g, "u", C, 3, 2, 3, 2), y, "ajk,jk->ak", 0);
  case 9:
    return cell_contract(g, w, cell_broadcast(g, in(g, "s", B, 0), 1, (int32_t[]){3}, NULL),
                         "ij,j->i", 0);
  default: return CELL_NONE;
  }
}

static CellValue build_take(CellGraph *g, int variant) {
  CellValue x = in(g, "x", C, 2, 2, 3), y = in(g, "y", B | C, 1, 3), z = in(g, "z", B, 1, 2);
  CellValue i = index_in(g, "i", B), fixed = index_in(g, "fixed", 0);
  switch (variant) {
  case 0: return cell_take_dim(g, x, 0, i);
  case 1: return cell_take_dim(g, x, 1, fixed);
  case 2: return cell_take_dim(g, z, 0, cell_axis_index(g, CELL_AXIS_CANDIDATE));
  case 3: return cell_take_dim(g, z, 0, i);
  case 4: return cell_take_axis(g, x, CELL_AXIS_CANDIDATE, i);
  case 5: return cell_take_axis(g, y, CELL_AXIS_CANDIDATE, i);
  case 6: return cell_take_axis(g, y, CELL_AXIS_CANDIDATE, fixed);
  default: return CELL_NONE;
  }
}

static CellValue build_views(CellGraph *g, int variant) {
  CellValue x = in(g, "x", B, 3, 2, 3, 4), y = in(g, "y", C, 1, 3), z = in(g, "z", 0, 2, 1, 3);
  switch (variant) {
  case 0: return cell_reshape(g, x, 2, (int32_t[]){6, 4});
  case 1: return cell_transpose(g, x, (int8_t[]){1, 2, 0});
  case 2: return cell_slice(g, x, 2, 1, 3);
  case 3: return cell_pad(g, x, 1, 2, 1);
  case 4: return cell_pad(g, y, 0, 0, 2);
  case 5: return cell_broadcast(g, y, 2, (int32_t[]){4, 3}, (int8_t[]){1});
  case 6: return cell_broadcast(g, z, 3, (int32_t[]){2, 5, 3}, (int8_t[]){0, 2});
  case 7: return cell_broadcast(g, z, 2, (int32_t[]){5, 3}, (int8_t[]){0, 1});
  case 8: return cell_concat(g, 3, (CellValue[]){y, in(g, "u", B, 1, 2), y}, 0);
  case 9: return cell_concat(g, 2, (CellValue[]){x, in(g, "u", C, 3, 2, 1, 4)}, 1);
  case 10: return cell_broadcast(g, in(g, "s", C, 0), 2, (int32_t[]){2, 3}, NULL);
  default: return CELL_NONE;
  }
}

/* results that are uniform on the way back: sums straight after a view */
static CellValue build_uniform(CellGraph *g, int variant) {
  static const int8_t turn[] = {1, 0};
  CellValue x = in(g, "x", B, 2, 2, 3), v = x;
  switch (variant) {
  case 0: v = cell_transpose(g, x, turn); break;
  case 1: v = cell_reshape(g, x, 1, (int32_t[]){6}); break;
  case 2: v = cell_slice(g, x, 1, 1, 3); break;
  case 3: v = cell_pad(g, x, 1, 1, 3); break;
  case 4: v = cell_concat(g, 2, (CellValue[]){x, in(g, "y", 0, 2, 2, 1)}, 1); break;
  case 5: v = cell_broadcast(g, x, 3, (int32_t[]){2, 4, 3}, (int8_t[]){0, 2}); break;
  case 6: v = cell_contract(g, x, in(g, "y", C, 2, 3, 4), "ij,jk->ik", 0); break;
  case 7: v = cell_op2(g, CELL_OP_DIV, x, in(g, "y", C, 0)); break;
  case 8: v = cell_op2(g, CELL_OP_SUB, in(g, "y", C, 0), x); break;
  case 9: v = cell_take_dim(g, x, 1, index_in(g, "i", C)); break;
  case 10:
    v = cell_take_axis(g, in(g, "y", C, 1, 2), CELL_AXIS_CANDIDATE, index_in(g, "i", B));
    break;
  case 11: v = cell_reduce(g, CELL_REDUCE_MAX, x, 2, 0); break;
  default: return CELL_NONE;
  }
  return cell_sum(g, v, (uint8_t)((1u << cell_node(g, v)->rank) - 1), cell_node(g, v)->axes);
}

static void check_all(Build build) {
  for (int variant = 0;; variant++) {
    CellArena *arena = cell_arena_create();
    CellGraph *g = new_graph(arena);
    CellValue v = build(g, variant);
    if (v != CELL_NONE) check(g, v);
    cell_arena_destroy(arena);
    if (v == CELL_NONE) break;
  }
}

static void test_elementwise(void **state) {
  (void)state;
  for (int op = 0; op < CELL_OP_COUNT; op++)
    if (cell_op_info[op].scalar && op != CELL_OP_FLOAT) check_elementwise((CellOp)op);
}

static void test_reduce(void **state) {
  (void)state;
  check_all(build_reduce);
}

static void test_contract(void **state) {
  (void)state;
  check_all(build_contract);
}

static void test_take(void **state) {
  (void)state;
  check_all(build_take);
}

static void test_views(void **state) {
  (void)state;
  check_all(build_views);
}

static void test_uniform(void **state) {
  (void)state;
  check_all(build_uniform);
}

/* ---- random graphs ---- */

/* the gradient of "loss" in some entries of every float input, against differences */
static void check_random(uint64_t seed) {
  CellArena *arena = cell_arena_create();
  CellRandomOptions options = {.params = true, .differentiable = true, .loss = true};
  CellGraph *forward = cell_random_graph(arena, seed, &options);
  CellGraph *g = cell_rewrite(forward, NULL, NULL);
  CellValue loss = cell_find_output(g, "loss"), wrt[64], grads[64];
  forward->outputs[0] = (CellOutput){"loss", cell_find_output(forward, "loss")};
  forward->output_count = 1;
  int count = 0, input_count;
  for (CellValue v = 0; v < g->node_count && count < 64; v++)
    if (cell_node(g, v)->op == CELL_OP_INPUT && cell_node(g, v)->dtype == CELL_F) wrt[count++] = v;
  cell_gradient(g, loss, count, wrt, grads);
  g->output_count = 0;
  for (int i = 0; i < count; i++) {
    if (grads[i] == CELL_NONE) grads[i] = cell_const(g, 0);
    CellValue nothing = cell_op2(g, CELL_OP_MUL, wrt[i], cell_const(g, 0));
    cell_output(g, cell_node(g, wrt[i])->name, cell_op2(g, CELL_OP_ADD, grads[i], nothing));
  }
  cell_test_verify(g);
  CellTensor *inputs = cell_random_inputs(arena, g, seed, &input_count);
  CellTensor *outputs = evaluate(g, inputs, input_count);
  for (int o = 0; o < g->output_count; o++)
    for (int i = 0; i < input_count; i++) {
      if (strcmp(g->outputs[o].name, inputs[i].name) != 0) continue;
      for (int64_t k = 0; k < inputs[i].count; k += 1 + inputs[i].count / 3) {
        double x = inputs[i].data[k], h = 1e-5;
        inputs[i].data[k] = x + h;
        double above = evaluate(forward, inputs, input_count)[0].data[0];
        inputs[i].data[k] = x - h;
        double below = evaluate(forward, inputs, input_count)[0].data[0];
        inputs[i].data[k] = x;
        double expected = (above - below) / (2 * h), got = outputs[o].data[k];
        if (fabs(got - expected) > 1e-6 * (1 + fabs(expected)))
          fail_msg("seed %d, %s[%d]: %.12g, differences say %.12g\n%s", (int)seed, inputs[i].name,
                   (int)k, got, expected, cell_test_print(arena, g));
      }
    }
  cell_arena_destroy(arena);
}

static void test_random_graphs(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 300; seed++) check_random(seed);
}

/* ---- where there is no derivative ---- */

/* derivatives at given points: f(x) and its slope, both to be finite */
static void test_slopes_at_kinks(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  static const struct {
    CellOp op;
    double second, at, slope; /* second operand of a binary op */
  } cases[] = {
      {CELL_OP_SQRT, 0, 0, 0},  {CELL_OP_ABS, 0, 0, 0},  {CELL_OP_RELU, 0, 0, 0},
      {CELL_OP_POW, 0.5, 0, 0}, {CELL_OP_POW, -1, 0, 0}, {CELL_OP_POW, 1, 0, 1},
      {CELL_OP_POW, 3, 0, 0},   {CELL_OP_POW, 0, 0, 0},  {CELL_OP_POW, 3, -2, 12},
      {CELL_OP_MAX, 1, 1, 1},   {CELL_OP_MIN, 1, 1, 1},  {CELL_OP_FLOOR, 0, 0.5, 0},
      {CELL_OP_SIGN, 0, 0, 0},  {CELL_OP_LT, 1, 1, 0},   {CELL_OP_EQ, 1, 1, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int varying = 0; varying < 2; varying++) {
      CellGraph *g = new_graph(arena);
      CellValue x = in(g, "x", 0, 0), grad, second = cell_const(g, cases[i].second);
      if (varying) second = in(g, "second", 0, 0);
      bool unary = cell_op_info[cases[i].op].arity == 1;
      CellValue y = unary ? cell_op1(g, cases[i].op, x) : cell_op2(g, cases[i].op, x, second);
      cell_gradient(g, y, 1, &x, &grad);
      cell_output(g, "grad", grad == CELL_NONE ? cell_const(g, 0) : grad);
      double at = cases[i].at, other = cases[i].second;
      CellTensor inputs[] = {{"x", &at, 1}, {"second", &other, 1}};
      double got = evaluate(g, inputs, 2)[0].data[0];
      if (!(fabs(got - cases[i].slope) < 1e-12))
        fail_msg("%s at %g: slope %g, not %g", cell_op_info[cases[i].op].name, at, got,
                 cases[i].slope);
    }
  cell_arena_destroy(arena);
}

/* the largest of equals: only the first gets a derivative */
static void test_first_of_equals(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = new_graph(arena);
  CellValue x = in(g, "x", 0, 1, 3), grad;
  cell_gradient(g, cell_reduce(g, CELL_REDUCE_MAX, x, 1, 0), 1, &x, &grad);
  cell_output(g, "grad", grad);
  double data[] = {1, 2, 2};
  CellTensor input = {"x", data, 3};
  double *d = evaluate(g, &input, 1)[0].data;
  assert_true(d[0] == 0 && d[1] == 1 && d[2] == 0);
  cell_arena_destroy(arena);
}

/* a mark stops it; nothing is built that it alone would need */
static void test_stop_gradient(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = new_graph(arena);
  CellValue x = in(g, "x", 0, 0), y = in(g, "y", 0, 0), wrt[] = {x, y}, grads[2];
  CellValue z = cell_stop_gradient(g, cell_op1(g, CELL_OP_TANH, x));
  cell_gradient(g, cell_op2(g, CELL_OP_MUL, y, z), 2, wrt, grads);
  assert_int_equal(grads[0], CELL_NONE);
  assert_int_equal(grads[1], z);
  cell_arena_destroy(arena);
}

/* ---- the pass ---- */

static void add_param(CellModule *m, const char *name, const char *group, int32_t n) {
  CellParam p = {.name = name, .group = group, .rank = 1, .shape = {n}};
  CELL_PUSH(m->arena, m->params, m->param_count, m->param_capacity, p);
}

static void add_minimize(CellGraph *g, CellValue loss, const char *group, CellOptimizer optimizer) {
  CellMinimize e = {loss, group, optimizer, CELL_NOWHERE};
  CELL_PUSH(g->arena, g->minimize, g->minimize_count, g->minimize_capacity, e);
}

/* loss = sum of (w - x)^2 over [2], w in group "a" */
static CellModule *square_module(CellArena *arena, CellOptimizer optimizer) {
  CellModule *m = CELL_NEW(arena, CellModule);
  m->arena = arena;
  add_param(m, "a/w", "a", 2);
  CellGraph *g = new_graph(arena);
  CELL_PUSH(arena, m->programs, m->program_count, m->program_capacity, g);
  CellValue e = cell_op2(g, CELL_OP_SUB, in(g, "params/a/w", 0, 1, 2), in(g, "x", 0, 1, 2));
  add_minimize(g, cell_contract(g, e, e, "i,i->", 0), "a", optimizer);
  return m;
}

static double *output(const CellGraph *g, CellTensor *outputs, const char *name) {
  for (int i = 0; i < g->output_count; i++)
    if (strcmp(g->outputs[i].name, name) == 0) return outputs[i].data;
  fail_msg("no output %s", name);
  return NULL;
}

/* three updates, each against the formulas in gradient.c */
static void check_optimizer(CellOptimizer o) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellModule *m = square_module(arena, o);
  assert_true(cell_pass_gradient(m, diag));
  CellGraph *g = m->programs[0];
  assert_int_equal(g->minimize_count, 0);
  double x[2] = {1, -2}, w[2] = {0.5, 3}, m1[2] = {0}, m2[2] = {0}, step = 0;
  for (int t = 1; t <= 3; t++) {
    CellTensor inputs[] = {{"params/a/w", w, 2},
                           {"x", x, 2},
                           {"moment1/a/w", m1, 2},
                           {"moment2/a/w", m2, 2},
                           {"step", &step, 1}};
    CellTensor *outputs = evaluate(g, inputs, 5);
    double d[2] = {2 * (w[0] - x[0]), 2 * (w[1] - x[1])}, norm = hypot(d[0], d[1]);
    assert_near(output(g, outputs, "a/grad_norm")[0], norm, 1e-12);
    for (int i = 0; i < 2; i++) {
      assert_near(output(g, outputs, "grad/a/w")[i], d[i], 1e-12);
      double c = o.clip > 0 && norm >= o.clip ? d[i] / norm * o.clip : d[i], change = 0;
      if (o.kind == CELL_ADAM) {
        m1[i] = o.b1 * m1[i] + (1 - o.b1) * c;
        m2[i] = o.b2 * m2[i] + (1 - o.b2) * c * c;
        change = m1[i] / (1 - pow(o.b1, t)) / (sqrt(m2[i] / (1 - pow(o.b2, t))) + o.eps);
      } else if (o.kind == CELL_RMSPROP) {
        m2[i] = o.decay * m2[i] + (1 - o.decay) * c * c;
        change = c / (sqrt(m2[i]) + o.eps);
      } else {
        m1[i] = o.b1 * m1[i] + c;
        change = m1[i];
      }
      w[i] -= o.lr * change;
      assert_near(output(g, outputs, "params/a/w")[i], w[i], 1e-12);
      if (o.kind == CELL_ADAM || (o.kind == CELL_SGD && o.b1 != 0))
        assert_near(output(g, outputs, "moment1/a/w")[i], m1[i], 1e-12);
      if (o.kind != CELL_SGD) assert_near(output(g, outputs, "moment2/a/w")[i], m2[i], 1e-12);
    }
    step = output(g, outputs, "step")[0];
    assert_near(step, t, 0);
  }
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

static void test_optimizers(void **state) {
  (void)state;
  check_optimizer((CellOptimizer){CELL_ADAM, .lr = 0.1, .b1 = 0.9, .b2 = 0.99, .eps = 1e-3});
  check_optimizer(
      (CellOptimizer){CELL_ADAM, .lr = 0.1, .b1 = 0.9, .b2 = 0.99, .eps = 1e-3, .clip = 1});
  check_optimizer((CellOptimizer){CELL_RMSPROP, .lr = 0.1, .decay = 0.95, .eps = 1e-2, .clip = 2});
  check_optimizer((CellOptimizer){CELL_SGD, .lr = 0.1});
  check_optimizer((CellOptimizer){CELL_SGD, .lr = 0.1, .b1 = 0.9, .clip = 100});
}

static void test_two_over_one_group(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellModule *m = square_module(arena, (CellOptimizer){CELL_SGD, .lr = 0.1});
  CellGraph *g = m->programs[0];
  add_minimize(g, g->minimize[0].loss, "a", (CellOptimizer){CELL_SGD, .lr = 0.1});
  assert_false(cell_pass_gradient(m, diag));
  assert_string_equal(diag->records[0].code, "E0701");
  assert_string_equal(diag->records[0].message, "a second `minimize` over `a`");
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

static void test_group_that_never_learns(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellModule *m = square_module(arena, (CellOptimizer){CELL_SGD, .lr = 0.1});
  add_param(m, "b/w", "b", 2);
  CellGraph *g = m->programs[0];
  add_minimize(g, g->minimize[0].loss, "b", (CellOptimizer){CELL_SGD, .lr = 0.1});
  assert_false(cell_pass_gradient(m, diag));
  assert_string_equal(diag->records[0].code, "E0702");
  assert_string_equal(diag->records[0].message,
                      "`b` would never learn: the loss reaches none of its parameters");
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

/* one parameter of a group that is not reached: its derivative is zero, the group learns */
static void test_unreached_parameter(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellModule *m = square_module(arena, (CellOptimizer){CELL_SGD, .lr = 0.1});
  add_param(m, "a/v", "a", 3);
  assert_true(cell_pass_gradient(m, diag));
  CellGraph *g = m->programs[0];
  double w[2] = {0}, v[3] = {1, 2, 3}, x[2] = {1, 1}, step = 0;
  CellTensor inputs[] = {
      {"params/a/w", w, 2}, {"params/a/v", v, 3}, {"x", x, 2}, {"step", &step, 1}};
  CellTensor *outputs = evaluate(g, inputs, 4);
  for (int i = 0; i < 3; i++) {
    assert_near(output(g, outputs, "grad/a/v")[i], 0, 0);
    assert_near(output(g, outputs, "params/a/v")[i], v[i], 0);
  }
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

/* two cells, the second reads the first; with a mark at the port each has its own loss alone */
static CellModule *two_cells(CellArena *arena, bool stop, const char *group) {
  CellModule *m = CELL_NEW(arena, CellModule);
  m->arena = arena;
  add_param(m, "l1/w", group ? group : "l1", 2);
  add_param(m, "l2/w", group ? group : "l2", 2);
  CellGraph *g = new_graph(arena);
  CELL_PUSH(arena, m->programs, m->program_count, m->program_capacity, g);
  CellValue h =
      cell_op1(g, CELL_OP_TANH,
               cell_op2(g, CELL_OP_MUL, in(g, "params/l1/w", 0, 1, 2), in(g, "x", 0, 1, 2)));
  CellValue below = stop ? cell_stop_gradient(g, h) : h;
  CellValue q = cell_op2(g, CELL_OP_MUL, in(g, "params/l2/w", 0, 1, 2), below);
  CellValue loss1 = cell_contract(g, h, h, "i,i->", 0), loss2 = cell_contract(g, q, q, "i,i->", 0);
  CellOptimizer o = {CELL_SGD, .lr = 0.1};
  if (group) {
    add_minimize(g, cell_op2(g, CELL_OP_ADD, loss1, loss2), group, o);
  } else {
    add_minimize(g, loss1, "l1", o);
    add_minimize(g, loss2, "l2", o);
  }
  return m;
}

static void test_certificates(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();

  CellModule *m = two_cells(arena, true, NULL);
  assert_true(cell_pass_gradient(m, diag));
  assert_int_equal(m->certificate_count, 2);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(m->certificates[i].loss_count, 1);
    assert_string_equal(m->certificates[i].losses[0], m->certificates[i].group);
    assert_int_equal(m->certificates[i].crossed_count, 0);
  }

  /* without the mark the second loss reaches the first cell too */
  m = two_cells(arena, false, NULL);
  assert_true(cell_pass_gradient(m, diag));
  assert_int_equal(m->certificates[0].loss_count, 2);
  assert_int_equal(m->certificates[1].loss_count, 1);

  /* as one block: the gradient of l1 passes through l2, that of l2 stays */
  m = two_cells(arena, false, "block");
  assert_true(cell_pass_gradient(m, diag));
  assert_int_equal(m->certificate_count, 1);
  assert_string_equal(m->certificates[0].group, "block");
  assert_int_equal(m->certificates[0].crossed_count, 1);
  assert_string_equal(m->certificates[0].crossed[0], "l2");

  /* losses that are only added do not cross */
  m = two_cells(arena, true, "block");
  assert_true(cell_pass_gradient(m, diag));
  assert_int_equal(m->certificates[0].crossed_count, 0);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_elementwise),
      cmocka_unit_test(test_reduce),
      cmocka_unit_test(test_contract),
      cmocka_unit_test(test_take),
      cmocka_unit_test(test_views),
      cmocka_unit_test(test_uniform),
      cmocka_unit_test(test_random_graphs),
      cmocka_unit_test(test_slopes_at_kinks),
      cmocka_unit_test(test_first_of_equals),
      cmocka_unit_test(test_stop_gradient),
      cmocka_unit_test(test_optimizers),
      cmocka_unit_test(test_two_over_one_group),
      cmocka_unit_test(test_group_that_never_learns),
      cmocka_unit_test(test_unreached_parameter),
      cmocka_unit_test(test_certificates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
