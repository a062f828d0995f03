/* random_chain.c - see random_chain.h. */
#include "tests/support/random_chain.h"

#include <stdio.h>

#include "ir/internal.h"
#include "ir/rewrite.h"
#include "tests/support/random_graph.h"

enum { STEPS = 4 };

typedef struct {
  CellGraph *g;
  uint64_t random;
  int params, scale;
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
  int32_t in = 3 * m->scale, n[2];
  for (int i = 0; i < 2; i++) n[i] = (2 + below(m, 5)) * m->scale;
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

/* what a gradient is: a sum over the samples of two vectors' products */
static CellValue summed(Maker *m, CellValue x, CellValue y) {
  bool first = below(m, 2);
  return cell_contract(m->g, first ? x : y, first ? y : x, below(m, 2) ? "i,j->ij" : "i,j->ji",
                       CELL_AXIS(1));
}

CellGraph *cell_random_chain(CellArena *arena, uint64_t seed, int scale) {
  CellGraph *g = cell_graph_create(arena, "chain");
  g->axes[0].extent = STEPS, g->axes[1].extent = scale > 1 ? 37 : 3;
  Maker m = {.g = g, .random = seed, .scale = scale};
  int32_t k = 4 * scale;
  CellValue x = cell_input(g, "x", CELL_F, 1, &k, CELL_AXIS(1)), a, b;
  scan(&m, &a, &b);
  CellValue h = layer(&m, pair(&m, x, pair(&m, a, b)), 5 * scale);
  CellValue both = pair(&m, h, below(&m, 2) ? a : x);
  CellValue y = linear(&m, both, 3 * scale);
  cell_output(g, "y", y);
  cell_output(g, "h", h);
  if (below(&m, 2)) cell_output(g, "b", b);
  // of a size where what cancels out is seen in floats too
  CellValue t = cell_op1(g, CELL_OP_TANH, y), factors[4] = {t, t, h, cell_op1(g, CELL_OP_RELU, t)};
  CellValue dw = summed(&m, below(&m, 2) ? h : both, factors[below(&m, 4)]);
  cell_output(g, "dw", dw);
  if (below(&m, 2)) cell_output(g, "norm", cell_sum(g, cell_op2(g, CELL_OP_MUL, dw, dw), 3, 0));
  return g;
}
