/* algebra_sums.c - rules of the algebra pass whose node is a sum. */
#include "ir/algebra.h"

#include <string.h>

static const CellNode *sum_node(const CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  return n->op == CELL_OP_REDUCE && n->reduce == CELL_SUM ? n : NULL;
}

/* dimension d of a sum's operand, among those that stay; -1: it goes */
static int kept_dim(uint8_t dims, int d) {
  int kept = 0;
  for (int i = 0; i < d; i++) kept += !(dims >> i & 1);
  return dims >> d & 1 ? -1 : kept;
}

/* sum_j s_i x_ij = s_i sum_j x_ij */
CellValue cell_rule_scale_leaves_sum(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  CellValue u;
  CellSpread s;
  if (!n) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  if (x->op == CELL_OP_NEG) {
    cell_match_inside(m, n->args[0], true, false);
    CellValue sum = cell_rebuild(m->to, n, &m->map[x->args[0]]);
    return cell_op1(m->to, CELL_OP_NEG, sum);
  }
  if (!cell_as_scaled(m, n->args[0], &u, &s)) return CELL_NONE;
  if (cell_match_node(m, s.v)->axes & n->over) return CELL_NONE;
  int8_t map[CELL_MAX_RANK] = {0};
  for (int i = 0; i < s.rank; i++) {
    if (n->dims >> s.map[i] & 1) return CELL_NONE;
    map[i] = (int8_t)kept_dim(n->dims, s.map[i]);
  }
  cell_match_inside(m, n->args[0], true, false);
  CellValue sum = cell_rebuild(m->to, n, &m->map[u]), scale = m->map[s.v];
  if (s.rank) scale = cell_broadcast(m->to, scale, n->rank, n->shape, map);
  return cell_op2(m->to, x->op, sum, scale);
}

/* sum_j x_ij y_ij, where the product is read by nothing else */
CellValue cell_rule_sum_of_product(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  if (!n) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  if (x->op != CELL_OP_MUL || m->uses[n->args[0]] != 1) return CELL_NONE;
  CellValue sum = cell_sum_product(m->to, m->map[x->args[0]], m->map[x->args[1]], x->rank, x->shape,
                                   n->dims, n->over);
  return cell_full(m->to, sum, n->rank, n->shape);
}

/* the sum goes into the operand that alone has the dimension, or becomes the contract's */
CellValue cell_rule_sum_of_contract(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  if (!n) return CELL_NONE;
  const CellNode *c = cell_match_node(m, n->args[0]);
  if (c->op != CELL_OP_CONTRACT) return CELL_NONE;
  char kept[CELL_MAX_RANK + 1] = "";
  for (int i = 0, made = 0; i < c->rank; i++)
    if (!(n->dims >> i & 1)) kept[made++] = c->labels[2][i];
  cell_match_inside(m, n->args[0], true, true);
  return cell_einsum(m->to, m->map[c->args[0]], m->map[c->args[1]], c->labels[0], c->labels[1],
                     kept, c->over | n->over);
}

/* a sum over repeated entries counts them */
CellValue cell_rule_sum_of_repeated(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  if (!n) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  if (x->op != CELL_OP_BROADCAST) return CELL_NONE;
  uint8_t own = 0, inner = 0;
  int8_t map[CELL_MAX_RANK] = {0};
  int rank = cell_match_node(m, x->args[0])->rank, made = 0;
  for (int i = 0; i < rank; i++) {
    own |= (uint8_t)(1u << x->map[i]);
    if (n->dims >> x->map[i] & 1)
      inner |= (uint8_t)(1u << i);
    else
      map[made++] = (int8_t)kept_dim(n->dims, x->map[i]);
  }
  double count = 1;
  if (!(n->dims & ~own)) return CELL_NONE;
  for (int i = 0; i < x->rank; i++)
    if ((n->dims & ~own) >> i & 1) count *= x->shape[i];
  CellValue sum = cell_sum(m->to, m->map[x->args[0]], inner, n->over);
  sum = cell_op2(m->to, CELL_OP_MUL, sum, cell_const(m->to, count));
  return cell_broadcast(m->to, sum, n->rank, n->shape, map);
}

CellValue cell_rule_sum_of_sum(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  if (!n || m->uses[n->args[0]] != 1) return CELL_NONE;
  const CellNode *x = sum_node(m, n->args[0]);
  if (!x) return CELL_NONE;
  uint8_t dims = x->dims;
  int rank = cell_match_node(m, x->args[0])->rank;
  for (int i = 0; i < rank; i++) {
    int kept = kept_dim(x->dims, i);
    if (kept >= 0 && n->dims >> kept & 1) dims |= (uint8_t)(1u << i);
  }
  return cell_sum(m->to, m->map[x->args[0]], dims, n->over | x->over);
}

/* sum (x + y) where one varies over fewer axes: what both were added for stays */
CellValue cell_rule_sum_of_terms(CellMatch *m, CellValue v) {
  const CellNode *n = sum_node(m, v);
  if (!n) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  if (x->op != CELL_OP_ADD && x->op != CELL_OP_SUB) return CELL_NONE;
  CellValue sums[2];
  cell_match_inside(m, n->args[0], true, false);
  for (int k = 0; k < 2; k++) {
    CellValue term = cell_full(m->to, m->map[x->args[k]], x->rank, x->shape);
    sums[k] = cell_sum(m->to, term, n->dims, n->over);
  }
  return cell_op2(m->to, x->op, sums[0], sums[1]);
}
