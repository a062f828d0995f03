/* algebra_order.c - rules of the algebra pass that choose the order of a chain of products.
 *
 * A contract one or both of whose operands are contracts is one sum of products of three or four
 * factors. All orders of taking them two at a time are tried, on extents alone, and the cheapest is
 * built. So w (z h) is found for (w z) h, and a row mean square of a product with a short inner
 * dimension, sum_j (sum_k a_ki b_kj)^2, becomes the quadratic form of b's own small product. */
#include "ir/algebra.h"

#include <string.h>

enum { MAX_FACTORS = 4 };

typedef struct {
  CellValue v; /* in `to` */
  uint32_t axes;
  char letters[2 * CELL_MAX_RANK + 1];
} Factor;

typedef struct {
  const CellGraph *g;
  int32_t extent[CELL_LETTERS];
  char result[CELL_MAX_RANK + 1];
} Chain;

/* factors that are left, and the axes that are still to be summed */
typedef struct {
  Factor factors[MAX_FACTORS];
  int count;
  uint32_t over;
} State;

/* which two factors are taken at each step, among those that are left (the product comes last) */
typedef struct {
  int8_t first[MAX_FACTORS], second[MAX_FACTORS];
} Order;

/* takes factors p < q out of the list and puts their product last; false: it has too many
 * dimensions. A letter stays if the result or another factor has it, an axis goes if it is summed
 * and no other factor varies over it. */
static bool take_two(const Chain *c, State *s, int p, int q, double *cost, uint32_t *summed) {
  Factor made = {.v = CELL_NONE, .axes = s->factors[p].axes | s->factors[q].axes};
  uint32_t others = 0;
  double entries = (double)cell_extent(c->g, made.axes);
  bool seen[CELL_LETTERS] = {false};
  int rank = 0;
  for (int i = 0; i < s->count; i++)
    if (i != p && i != q) others |= s->factors[i].axes;
  *summed = s->over & made.axes & ~others;
  s->over &= ~*summed;
  made.axes &= ~*summed;
  for (int side = 0; side < 2; side++)
    for (const char *l = s->factors[side ? q : p].letters; *l; l++) {
      if (seen[*l - 'a']) continue;
      seen[*l - 'a'] = true;
      entries *= c->extent[*l - 'a'];
      bool stays = strchr(c->result, *l) != NULL;
      for (int i = 0; i < s->count; i++)
        stays |= i != p && i != q && strchr(s->factors[i].letters, *l) != NULL;
      if (!stays) continue;
      if (rank == CELL_MAX_RANK) return false;
      int at = rank++; /* the longest dimension last: that is the one to read in order */
      for (; at > 0 && c->extent[made.letters[at - 1] - 'a'] > c->extent[*l - 'a']; at--)
        made.letters[at] = made.letters[at - 1];
      made.letters[at] = *l;
    }
  *cost += 2 * entries;
  if (s->count == 2) strcpy(made.letters, c->result);
  int left = 0;
  for (int i = 0; i < s->count; i++)
    if (i != p && i != q) s->factors[left++] = s->factors[i];
  s->factors[left++] = made;
  s->count = left;
  return true;
}

static void search(const Chain *c, const State *s, double cost, Order *now, double *best_cost,
                   Order *best) {
  if (cost >= *best_cost) return;
  if (s->count == 1) {
    *best_cost = cost;
    *best = *now;
    return;
  }
  for (int p = 0; p < s->count; p++)
    for (int q = p + 1; q < s->count; q++) {
      State left = *s;
      double left_cost = cost;
      uint32_t summed;
      if (!take_two(c, &left, p, q, &left_cost, &summed)) continue;
      int step = MAX_FACTORS - s->count;
      now->first[step] = (int8_t)p;
      now->second[step] = (int8_t)q;
      search(c, &left, left_cost, now, best_cost, best);
    }
}

static CellValue build(CellGraph *g, const Chain *c, State *s, const Order *order) {
  while (s->count > 1) {
    int step = MAX_FACTORS - s->count;
    Factor a = s->factors[order->first[step]], b = s->factors[order->second[step]];
    double cost = 0;
    uint32_t summed;
    take_two(c, s, order->first[step], order->second[step], &cost, &summed);
    Factor *made = &s->factors[s->count - 1];
    made->v = cell_einsum(g, a.v, b.v, a.letters, b.letters, made->letters, summed);
  }
  return s->factors[0].v;
}

/* adds operand k of contract n to the factors: itself, or the two that it is a product of, with the
 * letters that it sums renamed to fresh ones */
static void add_factors(CellMatch *m, const CellNode *n, int k, bool expand, Chain *c, State *s,
                        char *fresh) {
  const CellNode *x = cell_match_node(m, n->args[k]);
  if (!expand) {
    Factor *f = &s->factors[s->count++];
    *f = (Factor){.v = m->map[n->args[k]], .axes = x->axes};
    strcpy(f->letters, n->labels[k]);
    for (int i = 0; i < x->rank; i++) c->extent[n->labels[k][i] - 'a'] = x->shape[i];
    return;
  }
  char renamed[CELL_LETTERS] = {0};
  for (int i = 0; i < x->rank; i++) renamed[x->labels[2][i] - 'a'] = n->labels[k][i];
  for (int side = 0; side < 2; side++) {
    const CellNode *y = cell_match_node(m, x->args[side]);
    Factor *f = &s->factors[s->count++];
    *f = (Factor){.v = m->map[x->args[side]], .axes = y->axes};
    for (int i = 0; i < y->rank; i++) {
      char *name = &renamed[x->labels[side][i] - 'a'];
      if (!*name) *name = (*fresh)++;
      f->letters[i] = *name;
      c->extent[*name - 'a'] = y->shape[i];
    }
  }
}

static CellValue reorder(CellMatch *m, CellValue v, bool left, bool right) {
  const CellNode *n = cell_match_node(m, v);
  bool expand[2] = {left, right};
  if (n->op != CELL_OP_CONTRACT) return CELL_NONE;
  for (int k = 0; k < 2; k++) {
    const CellNode *x = cell_match_node(m, n->args[k]);
    if (expand[k] && (x->op != CELL_OP_CONTRACT || x->over)) return CELL_NONE;
  }
  Chain chain = {.g = m->from};
  State s = {.over = n->over};
  char fresh = 'a'; /* contracts use the letters from i on */
  strcpy(chain.result, n->labels[2]);
  for (int k = 0; k < 2; k++) add_factors(m, n, k, expand[k], &chain, &s, &fresh);

  Order now = {{0}, {0}}, best = {{0}, {0}};
  double best_cost = 1e300;
  search(&chain, &s, 0, &now, &best_cost, &best);
  if (best_cost >= 1e300) return CELL_NONE;
  CellValue made = build(m->to, &chain, &s, &best);

  bool same = n->args[0] == n->args[1];
  for (int k = 0; k < 2; k++)
    if (expand[k] && !(k && same)) cell_match_inside(m, n->args[k], true, same);
  /* a sum of squares is not negative, whatever the rounding */
  if (same && strcmp(n->labels[0], n->labels[1]) == 0)
    made = cell_op2(m->to, CELL_OP_MAX, made, cell_const(m->to, 0));
  return made;
}

CellValue cell_rule_order_left(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op == CELL_OP_CONTRACT && n->args[0] == n->args[1]) return CELL_NONE;
  return reorder(m, v, true, false);
}

CellValue cell_rule_order_right(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op == CELL_OP_CONTRACT && n->args[0] == n->args[1]) return CELL_NONE;
  return reorder(m, v, false, true);
}

CellValue cell_rule_order_both(CellMatch *m, CellValue v) {
  return reorder(m, v, true, true);
}
