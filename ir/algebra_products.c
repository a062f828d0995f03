/* algebra_products.c - rules of the algebra pass about one product, and what rules are written
 * with: products stated by labels, and scales (values that are repeated over some dimensions). */
#include "ir/algebra.h"

#include <string.h>

/* ---- labels ---- */

bool cell_all_among(const char *letters, const char *set) {
  for (; *letters; letters++)
    if (!strchr(set, *letters)) return false;
  return true;
}

/* sums v over the letters that neither the other operand nor the result has, and over the axes of
 * `over` that the other operand does not vary over; takes them out of labels and over */
static CellValue presum(CellGraph *g, CellValue v, char *labels, const char *other,
                        const char *result, uint32_t other_axes, uint32_t *over) {
  uint8_t dims = 0;
  char kept[CELL_MAX_RANK + 1] = "";
  int made = 0;
  for (int i = 0; labels[i]; i++) {
    if (strchr(other, labels[i]) || strchr(result, labels[i]))
      kept[made++] = labels[i];
    else
      dims |= (uint8_t)(1u << i);
  }
  uint32_t own = *over & cell_node(g, v)->axes & ~other_axes;
  strcpy(labels, kept);
  *over &= ~own;
  return dims || own ? cell_sum(g, v, dims, own) : v;
}

CellValue cell_einsum(CellGraph *g, CellValue a, CellValue b, const char *la, const char *lb,
                      const char *lr, uint32_t over) {
  char xa[CELL_MAX_RANK + 1], xb[CELL_MAX_RANK + 1], labels[3 * CELL_MAX_RANK + 4];
  snprintf(xa, sizeof xa, "%s", la);
  snprintf(xb, sizeof xb, "%s", lb);
  uint32_t axes_a = cell_node(g, a)->axes, axes_b = cell_node(g, b)->axes;
  uint32_t nobody = over & ~(axes_a | axes_b);
  over &= ~nobody;
  a = presum(g, a, xa, xb, lr, axes_b, &over);
  b = presum(g, b, xb, xa, lr, axes_a, &over);
  snprintf(labels, sizeof labels, "%s,%s->%s", xa, xb, lr);
  CellValue v = cell_contract(g, a, b, labels, over);
  if (!nobody) return v;
  return cell_op2(g, CELL_OP_MUL, v, cell_const(g, (double)cell_extent(g, nobody)));
}

CellValue cell_lay(CellGraph *g, CellValue v, const char *letters, const char *to_letters,
                   const int32_t *shape) {
  int rank = (int)strlen(letters), made = 0;
  int8_t order[CELL_MAX_RANK] = {0}, map[CELL_MAX_RANK] = {0};
  if (rank == 0) return v;
  for (int i = 0; to_letters[i]; i++) {
    const char *at = strchr(letters, to_letters[i]);
    if (!at) continue;
    order[made] = (int8_t)(at - letters);
    map[made++] = (int8_t)i;
  }
  CELL_ASSERT(made == rank);
  return cell_broadcast(g, cell_transpose(g, v, order), (int)strlen(to_letters), shape, map);
}

bool cell_as_spread(const CellMatch *m, CellValue v, CellSpread *s) {
  const CellNode *n = cell_match_node(m, v);
  *s = (CellSpread){.v = v};
  if (n->rank == 0) return n->dtype != CELL_I;
  if (n->op != CELL_OP_BROADCAST) return false;
  s->v = n->args[0];
  s->rank = cell_match_node(m, s->v)->rank;
  memcpy(s->map, n->map, sizeof s->map);
  return true;
}

void cell_spread_letters(const CellSpread *s, const char *letters, char *out) {
  for (int i = 0; i < s->rank; i++) out[i] = letters[s->map[i]];
  out[s->rank] = '\0';
}

bool cell_as_scaled(const CellMatch *m, CellValue v, CellValue *u, CellSpread *s) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_MUL && n->op != CELL_OP_DIV) return false;
  for (int k = 1; k >= (n->op == CELL_OP_MUL ? 0 : 1); k--) {
    *u = n->args[1 - k];
    if (cell_match_node(m, *u)->rank == n->rank && cell_as_spread(m, n->args[k], s)) return true;
  }
  return false;
}

static const CellNode *contract_node(const CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  return n->op == CELL_OP_CONTRACT ? n : NULL;
}

/* the contract n with operands and their labels put in place of its own */
static CellValue product(CellMatch *m, const CellNode *n, int k, CellValue mine, CellValue other) {
  CellValue a = k ? other : mine, b = k ? mine : other;
  return cell_einsum(m->to, a, b, n->labels[0], n->labels[1], n->labels[2], n->over);
}

/* ---- turned ---- */

CellValue cell_rule_turned_factor(CellMatch *m, CellValue v) {
  const CellNode *n = contract_node(m, v);
  for (int k = 0; n && k < 2; k++) {
    const CellNode *t = cell_match_node(m, n->args[k]);
    if (t->op != CELL_OP_TRANSPOSE) continue;
    char labels[2][CELL_MAX_RANK + 1];
    strcpy(labels[1 - k], n->labels[1 - k]);
    memset(labels[k], 0, sizeof labels[k]);
    for (int i = 0; i < t->rank; i++) labels[k][t->map[i]] = n->labels[k][i];
    CellValue args[2] = {m->map[n->args[0]], m->map[n->args[1]]};
    args[k] = m->map[t->args[0]];
    return cell_einsum(m->to, args[0], args[1], labels[0], labels[1], n->labels[2], n->over);
  }
  return CELL_NONE;
}

CellValue cell_rule_turned_product(CellMatch *m, CellValue v) {
  const CellNode *t = cell_match_node(m, v);
  if (t->op != CELL_OP_TRANSPOSE || m->uses[t->args[0]] != 1) return CELL_NONE;
  const CellNode *n = contract_node(m, t->args[0]);
  if (!n) return CELL_NONE;
  char result[CELL_MAX_RANK + 1] = "";
  for (int i = 0; i < t->rank; i++) result[i] = n->labels[2][t->map[i]];
  return cell_einsum(m->to, m->map[n->args[0]], m->map[n->args[1]], n->labels[0], n->labels[1],
                     result, n->over);
}

/* ---- repeated ---- */

/* a letter that one factor repeats: the other is summed over it, or the result repeats it too */
CellValue cell_rule_repeated_factor(CellMatch *m, CellValue v) {
  const CellNode *n = contract_node(m, v);
  for (int k = 0; n && k < 2; k++) {
    CellSpread s;
    if (cell_match_node(m, n->args[k])->rank == 0 || !cell_as_spread(m, n->args[k], &s)) continue;
    char mine[CELL_MAX_RANK + 1], made[CELL_MAX_RANK + 1] = "";
    cell_spread_letters(&s, n->labels[k], mine);
    int count = 0;
    for (const char *l = n->labels[2]; *l; l++)
      if (strchr(mine, *l) || strchr(n->labels[1 - k], *l)) made[count++] = *l;
    CellValue a = m->map[s.v], b = m->map[n->args[1 - k]];
    CellValue small = cell_einsum(m->to, k ? b : a, k ? a : b, k ? n->labels[0] : mine,
                                  k ? mine : n->labels[1], made, n->over);
    if (count < n->rank) small = cell_lay(m->to, small, made, n->labels[2], n->shape);
    return cell_full(m->to, small, n->rank, n->shape);
  }
  return CELL_NONE;
}

/* ---- scales ---- */

/* contract(s u, y) = s contract(u, y), s over letters of the result alone */
CellValue cell_rule_scale_leaves_product(CellMatch *m, CellValue v) {
  const CellNode *n = contract_node(m, v);
  for (int k = 0; n && k < 2; k++) {
    CellValue u, x = n->args[k];
    CellSpread s;
    char letters[CELL_MAX_RANK + 1];
    CellOp op = cell_match_node(m, x)->op;
    if (op == CELL_OP_NEG) {
      cell_match_inside(m, x, true, false);
      u = cell_match_node(m, x)->args[0];
      CellValue p = product(m, n, k, m->map[u], m->map[n->args[1 - k]]);
      return cell_op1(m->to, CELL_OP_NEG, p);
    }
    if (!cell_as_scaled(m, x, &u, &s)) continue;
    cell_spread_letters(&s, n->labels[k], letters);
    if (!cell_all_among(letters, n->labels[2]) || cell_match_node(m, s.v)->axes & n->over) continue;
    cell_match_inside(m, x, true, false);
    CellValue p = product(m, n, k, m->map[u], m->map[n->args[1 - k]]);
    return cell_op2(m->to, op, p, cell_lay(m->to, m->map[s.v], letters, n->labels[2], n->shape));
  }
  return CELL_NONE;
}

/* contract(s u, y) = contract(u, s y), s over letters that y has too */
CellValue cell_rule_scale_changes_factor(CellMatch *m, CellValue v) {
  const CellNode *n = contract_node(m, v);
  for (int k = 0; n && k < 2; k++) {
    CellValue u, x = n->args[k], y = n->args[1 - k];
    CellSpread s;
    char letters[CELL_MAX_RANK + 1];
    if (!cell_as_scaled(m, x, &u, &s)) continue;
    cell_spread_letters(&s, n->labels[k], letters);
    if (!cell_all_among(letters, n->labels[1 - k])) continue;
    cell_match_inside(m, x, true, false);
    const CellNode *other = cell_match_node(m, y);
    CellValue scale = cell_lay(m->to, m->map[s.v], letters, n->labels[1 - k], other->shape);
    CellValue scaled = cell_op2(m->to, cell_match_node(m, x)->op, m->map[y], scale);
    return product(m, n, k, m->map[u], scaled);
  }
  return CELL_NONE;
}

static double entries(const CellMatch *m, CellValue v, uint32_t more) {
  uint32_t axes = cell_match_node(m, v)->axes | more;
  return (double)cell_count(m->from, v) * (double)cell_extent(m->from, axes);
}

/* s contract(a, b) = contract(s a, b), into the smaller factor that has the letters of s */
CellValue cell_rule_scale_enters_factor(CellMatch *m, CellValue v) {
  CellValue x;
  CellSpread s;
  if (!cell_as_scaled(m, v, &x, &s)) return CELL_NONE;
  const CellNode *c = contract_node(m, x), *n = cell_match_node(m, v);
  uint32_t axes = cell_match_node(m, s.v)->axes;
  if (!c || axes & c->over) return CELL_NONE;
  char letters[CELL_MAX_RANK + 1];
  cell_spread_letters(&s, c->labels[2], letters);
  int best = -1;
  for (int k = 0; k < 2; k++) {
    if (!cell_all_among(letters, c->labels[k])) continue;
    if (best < 0 || entries(m, c->args[k], axes) < entries(m, c->args[best], axes)) best = k;
  }
  if (best < 0 || !cell_match_inside(m, x, true, false)) return CELL_NONE;
  CellValue a = c->args[best], scale = m->map[s.v];
  if (n->op == CELL_OP_DIV) scale = cell_op2(m->to, CELL_OP_DIV, cell_const(m->to, 1), scale);
  scale = cell_lay(m->to, scale, letters, c->labels[best], cell_match_node(m, a)->shape);
  CellValue scaled = cell_op2(m->to, CELL_OP_MUL, m->map[a], scale);
  return product(m, c, best, scaled, m->map[c->args[1 - best]]);
}

/* ---- terms ---- */

CellValue cell_rule_product_of_terms(CellMatch *m, CellValue v) {
  const CellNode *n = contract_node(m, v);
  for (int k = 0; n && k < 2; k++) {
    const CellNode *x = cell_match_node(m, n->args[k]);
    if (x->op != CELL_OP_ADD && x->op != CELL_OP_SUB) continue;
    if (cell_match_node(m, x->args[0])->axes == cell_match_node(m, x->args[1])->axes) continue;
    cell_match_inside(m, n->args[k], true, false);
    CellValue terms[2];
    for (int i = 0; i < 2; i++) {
      CellValue term = cell_full(m->to, m->map[x->args[i]], x->rank, x->shape);
      terms[i] = product(m, n, k, term, m->map[n->args[1 - k]]);
    }
    return cell_op2(m->to, x->op, terms[0], terms[1]);
  }
  return CELL_NONE;
}

/* f * contract, repeated: one side of a sum of two */
typedef struct {
  const CellNode *c;
  double factor;
  char result[CELL_MAX_RANK + 1]; /* the sum's letter of each dimension of c's result */
} Term;

static bool as_term(CellMatch *m, CellValue v, const char *letters, Term *t) {
  CellSpread s;
  bool goes = true;
  t->factor = 1;
  snprintf(t->result, sizeof t->result, "%s", letters);
  if (cell_match_node(m, v)->op == CELL_OP_BROADCAST && cell_as_spread(m, v, &s)) {
    cell_spread_letters(&s, letters, t->result);
    goes = cell_match_inside(m, v, goes, false);
    v = s.v;
  }
  CellValue u;
  if (cell_as_scaled(m, v, &u, &s) && cell_match_node(m, s.v)->op == CELL_OP_CONST) {
    double f = cell_match_node(m, s.v)->number;
    if (f == 0) return false;
    t->factor = cell_match_node(m, v)->op == CELL_OP_DIV ? 1 / f : f;
    goes = cell_match_inside(m, v, goes, false);
    v = u;
  }
  t->c = contract_node(m, v);
  if (t->c) cell_match_inside(m, v, goes, false);
  return t->c != NULL;
}

/* c's label string of operand k in the letters of the sum; `inner` renames what c sums */
static void rename_labels(const Term *t, int k, const char *inner_from, const char *inner_to,
                          char *out) {
  int i = 0;
  for (const char *l = t->c->labels[k]; *l; l++, i++) {
    const char *in_result = strchr(t->c->labels[2], *l), *in_inner = strchr(inner_from, *l);
    out[i] = in_result  ? t->result[in_result - t->c->labels[2]]
             : in_inner ? inner_to[in_inner - inner_from]
                        : '?';
  }
  out[i] = '\0';
}

/* whether operand kx of x and ky of y are one value in one place; then the letters that y sums have
 * names of x's in inner_from -> inner_to */
static bool common(const Term *x, int kx, const Term *y, int ky, char *inner_from, char *inner_to) {
  if (x->c->args[kx] != y->c->args[ky]) return false;
  int made = 0;
  const char *lx = x->c->labels[kx], *ly = y->c->labels[ky];
  for (int i = 0; lx[i]; i++) {
    const char *rx = strchr(x->c->labels[2], lx[i]), *ry = strchr(y->c->labels[2], ly[i]);
    if (!rx != !ry) return false;
    if (rx && x->result[rx - x->c->labels[2]] != y->result[ry - y->c->labels[2]]) return false;
    if (rx) continue;
    inner_from[made] = ly[i];
    inner_to[made++] = lx[i];
  }
  inner_from[made] = inner_to[made] = '\0';
  return true;
}

/* a b + f repeat(a c) = a (b + f repeat c), b of all letters that c has */
CellValue cell_rule_common_factor(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_ADD && n->op != CELL_OP_SUB) return CELL_NONE;
  static const char names[] = "qrst"; /* contracts use the letters from i on */
  char letters[CELL_MAX_RANK + 1] = "";
  memcpy(letters, names, (size_t)n->rank);
  Term t[2];
  for (int k = 0; k < 2; k++)
    if (cell_match_node(m, n->args[k])->rank != n->rank || !as_term(m, n->args[k], letters, &t[k]))
      return CELL_NONE;
  if (t[0].c->over != t[1].c->over) return CELL_NONE;
  for (int whole = 0; whole < 2; whole++) {
    const Term *x = &t[whole], *y = &t[1 - whole];
    if (x->factor != 1 || (int)strlen(x->result) != n->rank) continue;
    for (int which = 0; which < 4; which++) {
      int kx = which >> 1, ky = which & 1;
      char from[CELL_MAX_RANK + 1], to[CELL_MAX_RANK + 1], la[CELL_MAX_RANK + 1];
      char lb[CELL_MAX_RANK + 1], lc[CELL_MAX_RANK + 1];
      if (!common(x, kx, y, ky, from, to)) continue;
      rename_labels(x, kx, to, to, la);
      rename_labels(x, 1 - kx, to, to, lb);
      rename_labels(y, 1 - ky, from, to, lc);
      if (!cell_all_among(lc, lb) || strchr(lb, '?') || strchr(lc, '?')) continue;
      CellValue b = m->map[x->c->args[1 - kx]], c = m->map[y->c->args[1 - ky]];
      const CellNode *shape = cell_match_node(m, x->c->args[1 - kx]);
      c = cell_lay(m->to, c, lc, lb, shape->shape);
      c = cell_op2(m->to, CELL_OP_MUL, c, cell_const(m->to, y->factor));
      CellValue sum = cell_op2(m->to, n->op, whole ? c : b, whole ? b : c);
      /* operands in their old places */
      CellValue a = m->map[x->c->args[kx]];
      return cell_einsum(m->to, kx ? sum : a, kx ? a : sum, kx ? lb : la, kx ? la : lb, letters,
                         x->c->over);
    }
  }
  return CELL_NONE;
}
