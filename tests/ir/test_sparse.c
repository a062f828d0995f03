/* test_sparse.c - zeros that come to light where sums are taken apart: random chains behind a relu, alone, side by
 * side and round a scan, against the same graph as it was written. */
#include "ir/fuse.h"
#include "ir/internal.h"
#include "ir/rewrite.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PROGRAMS = 400, STEPS = 4, BATCH = 3 };

typedef struct {
  CellGraph *g;
  uint64_t random;
  int params;
} Maker;

static int below(Maker *m, int n) {
  return (int)(cell_random_bits(&m->random) % (uint64_t)n);
}

static CellValue param(Maker *m, int rank, int32_t a, int32_t b) {
  char name[32];
  int32_t shape[2] = {a, b};
  snprintf(name, sizeof name, "params/p%d", m->params++);
  return cell_input(m->g, name, CELL_F, rank, shape, 0);
}

static CellValue linear(Maker *m, CellValue x, int32_t n) {
  int32_t k = cell_node(m->g, x)->shape[0];
  bool turned = below(m, 2);
  CellValue w = turned ? param(m, 2, n, k) : param(m, 2, k, n);
  if (below(m, 2)) return cell_contract(m->g, x, w, turned ? "j,ij->i" : "i,ij->j", 0);
  return cell_contract(m->g, w, x, turned ? "ij,j->i" : "ij,i->j", 0);
}

static CellValue mean(Maker *m, CellValue x) {
  CellValue n = cell_const(m->g, cell_node(m->g, x)->shape[0]);
  return cell_op2(m->g, CELL_OP_DIV, cell_reduce(m->g, CELL_SUM, x, 1, 0), n);
}

/* one step of a chain of what has terms */
static CellValue link(Maker *m, CellValue x) {
  CellGraph *g = m->g;
  int32_t n = cell_node(g, x)->shape[0];
  switch (below(m, 10)) {
  case 0: return cell_op2(g, CELL_OP_MUL, x, cell_const(g, 1.5));
  case 1: return cell_op2(g, CELL_OP_MUL, param(m, 1, n, 0), x);
  case 2: return cell_op2(g, CELL_OP_SUB, x, mean(m, x));
  case 3: {
    CellValue size = mean(m, cell_op1(g, CELL_OP_ABS, x));
    return cell_op2(g, CELL_OP_DIV, x, cell_op2(g, CELL_OP_ADD, size, cell_const(g, 1)));
  }
  case 4: return cell_op2(g, CELL_OP_ADD, param(m, 1, n, 0), x);
  case 5: return cell_op2(g, CELL_OP_SUB, param(m, 1, n, 0), x);
  case 6: return cell_op1(g, CELL_OP_NEG, x);
  case 7: return cell_op2(g, CELL_OP_SUB, cell_const(g, 0.25), x);
  case 8: return cell_stop_gradient(g, x);
  default: {
    // a divisor that all samples share
    CellValue p = cell_op1(g, CELL_OP_ABS, param(m, 1, n, 0));
    return cell_op2(g, CELL_OP_DIV, x, cell_op2(g, CELL_OP_ADD, p, cell_const(g, 1)));
  }
  }
}

static CellValue layer(Maker *m, CellValue x, int32_t n) {
  CellValue v = cell_op1(m->g, CELL_OP_RELU, linear(m, x, n));
  for (int links = below(m, 6); links > 0; links--) v = link(m, v);
  return v;
}

static CellValue pair(Maker *m, CellValue a, CellValue b) {
  return cell_concat(m->g, 2, (CellValue[2]){a, b}, 0);
}

/* two layers that go round: each sees an input, itself and the other */
static void scan(Maker *m, CellValue *first, CellValue *second) {
  CellGraph *outer = m->g;
  int32_t in = 3, n[2] = {2 + below(m, 5), 2 + below(m, 5)};
  CellValue seen = cell_input(outer, "seen", CELL_F, 1, &in, CELL_AXIS(0) | CELL_AXIS(1)), start[2];
  for (int i = 0; i < 2; i++)
    start[i] = cell_full(outer, cell_const(outer, below(m, 8) == 0 ? 0.5 : 0), 1, &n[i]);
  CellGraph *body = m->g = cell_graph_like(outer, "body");
  CellValue step = cell_input(body, "step0", CELL_F, 1, &in, CELL_AXIS(1)), carry[2];
  for (int i = 0; i < 2; i++)
    carry[i] = cell_input(body, cell_port_name("carry", i).text, CELL_F, 1, &n[i], CELL_AXIS(1));
  CellValue a = layer(m, pair(m, step, pair(m, carry[0], carry[1])), n[0]);
  CellValue b = layer(m, below(m, 2) ? pair(m, a, carry[1]) : pair(m, carry[1], carry[0]), n[1]);
  if (below(m, 4) == 0) b = cell_op2(body, CELL_OP_ADD, b, carry[1]); // what was there is kept
  // the second may hold the first one's last value beside its own
  if (n[1] > n[0] && below(m, 2)) b = pair(m, layer(m, carry[1], n[1] - n[0]), carry[0]);
  cell_output(body, "carry0", a);
  cell_output(body, "carry1", b);
  m->g = outer;
  CellValue v = cell_scan(outer, 0, body, 2, start, 1, &seen);
  *first = cell_result(outer, v, 0), *second = cell_result(outer, v, 1);
}

static CellGraph *make(CellArena *arena, uint64_t seed) {
  CellGraph *g = cell_graph_create(arena, "chain");
  g->axes[0].extent = STEPS, g->axes[1].extent = BATCH;
  Maker m = {.g = g, .random = seed};
  int32_t k = 4;
  CellValue x = cell_input(g, "x", CELL_F, 1, &k, CELL_AXIS(1)), a, b;
  scan(&m, &a, &b);
  CellValue h = layer(&m, pair(&m, x, pair(&m, a, b)), 5);
  CellValue both = pair(&m, h, below(&m, 2) ? a : x);
  cell_output(g, "y", linear(&m, both, 3));
  cell_output(g, "h", h);
  if (below(&m, 2)) cell_output(g, "b", b);
  return g;
}

static int sparse_products(CellArena *arena, const CellGraph *g, const bool *carries) {
  bool *sparse = fuse_sparse_values(arena, g, carries);
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN)
      count += sparse_products(arena, n->body, fuse_sparse_carries(arena, g, n));
    for (int i = 0; n->op == CELL_OP_CONTRACT && i < 2; i++) {
      // alone, or a piece beside others
      const CellNode *x = cell_node(g, n->args[i]);
      bool is = sparse[n->args[i]];
      for (int p = 0; x->op == CELL_OP_CONCAT && p < x->arg_count; p++) is |= sparse[x->args[p]];
      count += is;
    }
  }
  return count;
}

static void chains(void **state) {
  (void)state;
  int before = 0, after = 0, scans = 0;
  for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    CellGraph *g = make(arena, seed), *apart = fuse_sparse_terms(g, true);
    CellText text = {0};
    if (!cell_verify(apart, &text)) fail_msg("seed %llu\n%s", (unsigned long long)seed, text.data);
    cell_text_free(&text);
    int count = 0;
    CellTensor *inputs = cell_random_inputs(arena, g, seed, &count);
    CellTensor *want = CELL_NEW_ARRAY(arena, CellTensor, g->output_count),
               *got = CELL_NEW_ARRAY(arena, CellTensor, g->output_count);
    assert_true(cell_eval(g, inputs, count, want, arena, diag));
    assert_true(cell_eval(apart, inputs, count, got, arena, diag));
    for (int o = 0; o < g->output_count; o++)
      for (int64_t i = 0; i < want[o].count; i++)
        if (fabs(got[o].data[i] - want[o].data[i]) > 1e-9 * (1 + fabs(want[o].data[i])))
          fail_msg("seed %llu: %s[%lld] is %.17g, not %.17g", (unsigned long long)seed,
                   g->outputs[o].name, (long long)i, got[o].data[i], want[o].data[i]);
    before += sparse_products(arena, g, NULL), after += sparse_products(arena, apart, NULL);
    for (CellValue v = 0; v < apart->node_count; v++) {
      const CellNode *n = cell_node(apart, v);
      scans += n->op == CELL_OP_SCAN && n->carry_count > 2;
    }
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
  // most chains have terms, and carries go apart
  assert_true(2 * after > 3 * before);
  assert_true(scans > PROGRAMS / 2);
}

/* a layer norm behind a relu, as text: what becomes of it */
static void layer_norm(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_test_parse(arena, "graph norm\n"
                                        "axis time 1\n"
                                        "axis batch 64\n"
                                        "axis candidate 1\n"
                                        "%0 = input \"x\" : f[128] {batch}\n"
                                        "%1 = relu %0 : f[128] {batch}\n"
                                        "%2 = reduce sum %1 dims [0] : f {batch}\n"
                                        "%3 = const 128 : f {}\n"
                                        "%4 = div %2, %3 : f {batch}\n"
                                        "%5 = sub %1, %4 : f[128] {batch}\n"
                                        "%6 = input \"params/g\" : f[128] {}\n"
                                        "%7 = mul %5, %6 : f[128] {batch}\n"
                                        "%8 = input \"params/w\" : f[128,256] {}\n"
                                        "%9 = contract %8, %7 \"ij,i->j\" : f[256] {batch}\n"
                                        "output \"y\" %9\n");
  assert_int_equal(sparse_products(arena, g, NULL), 0);
  assert_int_equal(sparse_products(arena, fuse_sparse_terms(g, false), NULL), 1);
  // a single sample would read the matrix twice
  g->axes[CELL_AXIS_BATCH].extent = 1;
  assert_int_equal(sparse_products(arena, fuse_sparse_terms(g, false), NULL), 0);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(chains), cmocka_unit_test(layer_norm)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
