/* algebra_views.c - rules of the algebra pass that move views and takes below other ops. */
#include "ir/algebra.h"

#include <string.h>

static bool scalar_op(const CellNode *n) {
  return cell_op_info[n->op].scalar;
}

/* reshape(op(x, y)) = op(reshape x, reshape y) where only dimensions of 1 come or go: statistics
 * that were kept as columns meet the sums that made them */
CellValue cell_rule_unit_reshape(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_RESHAPE || m->uses[n->args[0]] != 1) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  if (!scalar_op(x)) return CELL_NONE;
  int i = 0, k = 0;
  for (;;) {
    while (i < n->rank && n->shape[i] == 1) i++;
    while (k < x->rank && x->shape[k] == 1) k++;
    if (i == n->rank || k == x->rank) break;
    if (n->shape[i++] != x->shape[k++]) return CELL_NONE;
  }
  if (i < n->rank || k < x->rank) return CELL_NONE;
  CellValue args[3] = {0};
  for (int a = 0; a < x->arg_count; a++) {
    args[a] = m->map[x->args[a]];
    if (cell_node(m->to, args[a])->rank > 0 || n->rank == 0)
      args[a] = cell_reshape(m->to, args[a], n->rank, n->shape);
  }
  CellValue made = cell_rebuild(m->to, x, args);
  return cell_full(m->to, made, n->rank, n->shape);
}

/* op(repeat x, repeat y) = repeat op(x, y), repeated alike */
CellValue cell_rule_repeated_operands(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v), *like = NULL;
  if (!scalar_op(n) || n->rank == 0) return CELL_NONE;
  CellValue args[3] = {0};
  for (int k = 0; k < n->arg_count; k++) {
    const CellNode *x = cell_match_node(m, n->args[k]);
    args[k] = m->map[n->args[k]];
    if (x->rank == 0) continue;
    if (x->op != CELL_OP_BROADCAST) return CELL_NONE;
    int rank = cell_match_node(m, x->args[0])->rank;
    if (like && (rank != cell_match_node(m, like->args[0])->rank ||
                 memcmp(like->map, x->map, sizeof x->map) != 0))
      return CELL_NONE;
    like = x;
    args[k] = m->map[x->args[0]];
  }
  CellValue made = cell_rebuild(m->to, n, args);
  const CellNode *small = cell_match_node(m, like->args[0]);
  made = cell_full(m->to, made, small->rank, small->shape);
  return cell_broadcast(m->to, made, n->rank, n->shape, like->map);
}

/* pad x + pad y = concat(x, y), padded, where one begins as the other ends: derivatives of slices
 * are put side by side, not added */
CellValue cell_rule_pads_side_by_side(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_ADD) return CELL_NONE;
  const CellNode *p[2];
  for (int k = 0; k < 2; k++) {
    p[k] = cell_match_node(m, n->args[k]);
    if (p[k]->op != CELL_OP_PAD || p[k]->dim != p[0]->dim) return CELL_NONE;
  }
  for (int first = 0; first < 2; first++) {
    const CellNode *a = p[first], *b = p[1 - first];
    const CellNode *x = cell_match_node(m, a->args[0]);
    if (a->begin + x->shape[a->dim] != b->begin) continue;
    for (int k = 0; k < 2; k++) cell_match_inside(m, n->args[k], true, false);
    CellValue pieces[2] = {m->map[a->args[0]], m->map[b->args[0]]};
    CellValue joined = cell_concat(m->to, 2, pieces, a->dim);
    return cell_pad(m->to, joined, a->dim, a->begin, b->end);
  }
  return CELL_NONE;
}

/* ---- takes ---- */

/* take(op(x, y)) = op(take x, take y), of those that vary over the axis */
CellValue cell_rule_take_of_axis(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_TAKE || n->dim >= 0) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]), *index = cell_match_node(m, n->args[1]);
  if (x->op == CELL_OP_AXIS_INDEX) return m->map[n->args[1]];
  switch ((int)x->op) {
  case CELL_OP_INPUT:
  case CELL_OP_SCAN:
  case CELL_OP_RESULT:
  case CELL_OP_STOP_GRADIENT: return CELL_NONE;
  case CELL_OP_REDUCE:
  case CELL_OP_CONTRACT:
    /* what is summed over an axis does not meet an index that varies over it */
    if (x->over & index->axes) return CELL_NONE;
    break;
  case CELL_OP_TAKE:
    if (x->dim < 0 && index->axes & CELL_AXIS(x->axis)) return CELL_NONE;
    break;
  default: break;
  }
  if (!cell_match_inside(m, n->args[0], true, false)) return CELL_NONE;
  CellValue *args = CELL_NEW_ARRAY(m->to->arena, CellValue, x->arg_count + 1);
  for (int k = 0; k < x->arg_count; k++) {
    args[k] = m->map[x->args[k]];
    if (cell_node(m->to, args[k])->axes & CELL_AXIS(n->axis))
      args[k] = cell_take_axis(m->to, args[k], n->axis, m->map[n->args[1]]);
  }
  CellValue made = cell_rebuild(m->to, x, args);
  return cell_full(m->to, made, n->rank, n->shape);
}

/* takes entry `index` of dimension d of the operand, if it has rank */
static CellValue taken(CellMatch *m, CellValue arg, int d, CellValue index) {
  CellValue v = m->map[arg];
  return cell_node(m->to, v)->rank == 0 ? v : cell_take_dim(m->to, v, d, index);
}

static CellValue take_of_contract(CellMatch *m, const CellNode *n, const CellNode *x,
                                  CellValue index) {
  char letter = x->labels[2][n->dim], labels[3][CELL_MAX_RANK + 1];
  uint32_t index_axes = cell_match_node(m, n->args[1])->axes;
  CellValue args[2];
  if (x->over & index_axes) return CELL_NONE;
  for (int k = 0; k < 3; k++) {
    int made = 0;
    for (const char *l = x->labels[k]; *l; l++)
      if (*l != letter) labels[k][made++] = *l;
    labels[k][made] = '\0';
    if (k == 2) break;
    args[k] = m->map[x->args[k]];
    const char *at = strchr(x->labels[k], letter);
    if (!at) continue;
    /* rows of a parameter, one for each sample, are more than the parameter */
    if (index_axes & ~cell_match_node(m, x->args[k])->axes) return CELL_NONE;
    args[k] = cell_take_dim(m->to, args[k], (int)(at - x->labels[k]), index);
  }
  return cell_einsum(m->to, args[0], args[1], labels[0], labels[1], labels[2], x->over);
}

/* the same along a dimension */
CellValue cell_rule_take_of_dim(CellMatch *m, CellValue v) {
  const CellNode *n = cell_match_node(m, v);
  if (n->op != CELL_OP_TAKE || n->dim < 0) return CELL_NONE;
  const CellNode *x = cell_match_node(m, n->args[0]);
  CellValue index = m->map[n->args[1]], args[3] = {0};
  int d = n->dim;
  if (!cell_match_inside(m, n->args[0], true, false)) return CELL_NONE;
  if (scalar_op(x)) {
    for (int k = 0; k < x->arg_count; k++) args[k] = taken(m, x->args[k], d, index);
    return cell_full(m->to, cell_rebuild(m->to, x, args), n->rank, n->shape);
  }
  switch ((int)x->op) {
  case CELL_OP_CONTRACT: return take_of_contract(m, n, x, index);
  case CELL_OP_REDUCE: {
    if (x->over & cell_match_node(m, n->args[1])->axes) return CELL_NONE;
    int from = 0; /* the operand's dimension that is the result's d */
    for (int kept = 0;; from++)
      if (!(x->dims >> from & 1) && kept++ == d) break;
    CellNode less = *x;
    uint8_t below = (uint8_t)((1u << from) - 1);
    less.dims = (uint8_t)((x->dims & below) | ((x->dims >> 1) & ~below));
    args[0] = taken(m, x->args[0], from, index);
    return cell_rebuild(m->to, &less, args);
  }
  case CELL_OP_BROADCAST: {
    int8_t map[CELL_MAX_RANK] = {0};
    int rank = cell_match_node(m, x->args[0])->rank, made = 0, own = -1;
    for (int i = 0; i < rank; i++) {
      if (x->map[i] == d)
        own = i;
      else
        map[made++] = (int8_t)(x->map[i] - (x->map[i] > d));
    }
    args[0] = own < 0 ? m->map[x->args[0]] : taken(m, x->args[0], own, index);
    return cell_broadcast(m->to, args[0], n->rank, n->shape, map);
  }
  case CELL_OP_TRANSPOSE: {
    int8_t map[CELL_MAX_RANK] = {0};
    for (int i = 0, made = 0; i < x->rank; i++)
      if (i != d) map[made++] = (int8_t)(x->map[i] - (x->map[i] > x->map[d]));
    return cell_transpose(m->to, taken(m, x->args[0], x->map[d], index), map);
  }
  default: return CELL_NONE;
  }
}
