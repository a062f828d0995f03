/* builder.c - makes leaves, elementwise ops, reductions, products, takes and scans, with the
 * simplifications that are always right. Views are in views.c.
 *
 * Each is exact for every input, NaN and infinities included, but for two: x + 0 keeps the sign
 * of -0, and what a `where` with a constant condition does not choose is not evaluated. 0 * x
 * stays.
 *
 *     op(consts)           -> const                 x + 0, 0 + x, x - 0, x * 1, x / 1, x ^ 1 -> x
 *     neg neg x            -> x                     x ^ 2                 -> x * x
 *     float of a float     -> the float             where(const, b, c)    -> b or c
 *     op(x, broadcast u)   -> op(x, u)              op(broadcast u)       -> broadcast op(u)
 *     sum over dims of 1   -> reshape               contract "i,i->i"     -> mul
 *
 * with u of rank 0. Operands of add, mul, eq and ne are ordered (lower number first, constants
 * last), labels of contract are renamed i, j, k, ... in order of appearance. */
#include <math.h>
#include <string.h>

#include "ir/internal.h"

/* ---- leaves ---- */

CellValue cell_input(CellGraph *g, const char *name, CellDtype dtype, int rank,
                     const int32_t *shape, uint32_t axes) {
  CELL_ASSERT(rank >= 0 && rank <= CELL_MAX_RANK);
  CellNode n = {.op = CELL_OP_INPUT, .dtype = dtype, .rank = (int8_t)rank, .axes = axes};
  n.name = name;
  for (int i = 0; i < rank; i++) n.shape[i] = shape[i];
  return cell_make(g, &n);
}

CellValue cell_const(CellGraph *g, double number) {
  /* one NaN for all */
  CellNode n = {.op = CELL_OP_CONST, .number = isnan(number) ? (double)NAN : number};
  return cell_make(g, &n);
}

CellValue cell_range(CellGraph *g, int32_t size) {
  CellNode n = {.op = CELL_OP_RANGE, .rank = 1, .shape = {size}};
  return cell_make(g, &n);
}

CellValue cell_axis_index(CellGraph *g, int axis) {
  CellNode n = {.op = CELL_OP_AXIS_INDEX, .axis = (int8_t)axis};
  return cell_make(g, &n);
}

/* ---- elementwise ---- */

static CellOp op_of(const CellGraph *g, CellValue v) {
  return cell_node(g, v)->op;
}

static bool commutes(CellOp op) {
  return op == CELL_OP_ADD || op == CELL_OP_MUL || op == CELL_OP_EQ || op == CELL_OP_NE;
}

/* the operand that the whole is equal to, or CELL_NONE */
static CellValue identity(const CellGraph *g, CellOp op, const CellValue *args) {
  switch ((int)op) {
  case CELL_OP_ADD:
  case CELL_OP_SUB: return cell_is_const(g, args[1], 0) ? args[0] : CELL_NONE;
  case CELL_OP_MUL:
  case CELL_OP_DIV:
  case CELL_OP_POW: return cell_is_const(g, args[1], 1) ? args[0] : CELL_NONE;
  case CELL_OP_NEG:
    return op_of(g, args[0]) == CELL_OP_NEG ? cell_node(g, args[0])->args[0] : CELL_NONE;
  case CELL_OP_FLOAT: return cell_node(g, args[0])->dtype != CELL_I ? args[0] : CELL_NONE;
  case CELL_OP_WHERE:
    if (op_of(g, args[0]) != CELL_OP_CONST) return CELL_NONE;
    return cell_node(g, args[0])->number != 0 ? args[1] : args[2];
  default: return CELL_NONE;
  }
}

static CellValue elementwise(CellGraph *g, CellOp op, int count, const CellValue *given) {
  CELL_ASSERT(cell_op_info[op].scalar && cell_op_info[op].arity == count);
  CellValue args[3] = {0};
  const CellNode *shaped = NULL; /* an operand with the result's shape, where that is not rank 0 */
  int varying = 0;
  for (int i = 0; i < count; i++) {
    args[i] = given[i];
    CELL_ASSERT(args[i] >= 0 && args[i] < g->node_count);
    if (cell_node(g, args[i])->rank > 0) shaped = cell_node(g, args[i]);
    if (cell_uniform(g, args[i]) == CELL_NONE) varying++;
  }

  /* the rule is checked on what was given, before anything is simplified away */
  CellText why = {0};
  CellNode n = {.op = op, .arg_count = count, .args = args};
  if (!cell_infer(g, &n, &why))
    cell_internal_error(__FILE__, __LINE__, "%s: %s", cell_op_info[op].name, why.data);

  /* repeated scalars are read as scalars; nothing but such: the result is one */
  if (shaped) {
    for (int i = 0; i < count; i++) {
      CellValue u = cell_uniform(g, args[i]);
      if (u != CELL_NONE) args[i] = u;
    }
    if (varying == 0) {
      int32_t shape[CELL_MAX_RANK];
      memcpy(shape, n.shape, sizeof shape);
      return cell_broadcast(g, elementwise(g, op, count, args), n.rank, shape, NULL);
    }
  }

  bool constant = true;
  for (int i = 0; i < count; i++) constant = constant && op_of(g, args[i]) == CELL_OP_CONST;
  if (constant) {
    double x[3] = {0};
    for (int i = 0; i < count; i++) x[i] = cell_node(g, args[i])->number;
    return cell_const(g, cell_scalar_eval(op, x[0], x[1], x[2]));
  }

  if (commutes(op)) {
    bool a = op_of(g, args[0]) == CELL_OP_CONST, b = op_of(g, args[1]) == CELL_OP_CONST;
    if (a != b ? a : args[0] > args[1]) {
      CellValue swap = args[0];
      args[0] = args[1];
      args[1] = swap;
    }
  }
  CellValue same = identity(g, op, args);
  if (same != CELL_NONE) {
    if (cell_node(g, same)->rank == n.rank) return same;
    return cell_broadcast(g, same, n.rank, n.shape, NULL);
  }
  if (op == CELL_OP_POW && cell_is_const(g, args[1], 2))
    return cell_op2(g, CELL_OP_MUL, args[0], args[0]);
  return cell_make(g, &n);
}

CellValue cell_op1(CellGraph *g, CellOp op, CellValue a) {
  return elementwise(g, op, 1, &a);
}

CellValue cell_op2(CellGraph *g, CellOp op, CellValue a, CellValue b) {
  return elementwise(g, op, 2, (CellValue[]){a, b});
}

CellValue cell_op3(CellGraph *g, CellOp op, CellValue a, CellValue b, CellValue c) {
  return elementwise(g, op, 3, (CellValue[]){a, b, c});
}

/* ---- index to vector ---- */

static CellValue expand_index(CellGraph *g, CellOp op, CellValue index, int32_t size) {
  const CellNode *a = cell_node(g, index);
  CELL_ASSERT(a->rank < CELL_MAX_RANK);
  CellNode n = {.op = op, .arg_count = 1, .args = &index, .rank = (int8_t)(a->rank + 1)};
  n.shape[a->rank] = size;
  return cell_make(g, &n);
}

CellValue cell_one_hot(CellGraph *g, CellValue index, int32_t n) {
  return expand_index(g, CELL_OP_ONE_HOT, index, n);
}

CellValue cell_sign_bits(CellGraph *g, CellValue index, int32_t n) {
  return expand_index(g, CELL_OP_SIGN_BITS, index, n);
}

/* ---- what removes axes and dimensions ---- */

CellValue cell_reduce(CellGraph *g, CellReduce kind, CellValue a, uint8_t dims, uint32_t over) {
  if (!dims && !over) {
    CELL_ASSERT(kind != CELL_ARGMAX);
    return a;
  }
  CellNode n = {.op = CELL_OP_REDUCE, .arg_count = 1, .args = &a};
  n.reduce = kind;
  n.dims = dims;
  n.over = over;

  /* a sum of one entry, or its maximum, is that entry */
  const CellNode *operand = cell_node(g, a);
  int64_t gone = 1;
  for (int i = 0; i < operand->rank; i++)
    if (dims & (1u << i)) gone *= operand->shape[i];
  if (kind != CELL_ARGMAX && !over && gone == 1 && !(dims >> operand->rank)) {
    int32_t shape[CELL_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < operand->rank; i++)
      if (!(dims & (1u << i))) shape[rank++] = operand->shape[i];
    return cell_reshape(g, a, rank, shape);
  }
  return cell_make(g, &n);
}

CellValue cell_contract(CellGraph *g, CellValue a, CellValue b, const char *labels, uint32_t over) {
  CellNode n = {.op = CELL_OP_CONTRACT, .arg_count = 2, .args = (CellValue[]){a, b}, .over = over};
  /* letters in order of appearance; ones that stand only in the result are caught by the rule */
  char renamed[26] = {0}, next = 'i';
  int side = 0, at = 0;
  for (const char *l = labels; *l; l++) {
    if (*l == ',' || (*l == '-' && l[1] == '>')) {
      l += *l == '-';
      side++, at = 0;
      CELL_ASSERT(side < 3);
      continue;
    }
    CELL_ASSERT(*l >= 'a' && *l <= 'z' && at < CELL_MAX_RANK);
    char *letter = &renamed[*l - 'a'];
    if (!*letter) *letter = next++;
    n.labels[side][at++] = *letter;
  }
  CELL_ASSERT(side == 2);
  CellText why = {0};
  if (!cell_infer(g, &n, &why))
    cell_internal_error(__FILE__, __LINE__, "contract \"%s\": %s", labels, why.data);

  /* nothing is summed and the letters agree: a product of entries */
  const char *la = n.labels[0], *lb = n.labels[1], *lr = n.labels[2];
  if (!over && (!*la || strcmp(la, lr) == 0) && (!*lb || strcmp(lb, lr) == 0))
    return cell_op2(g, CELL_OP_MUL, a, b);
  return cell_make(g, &n);
}

CellValue cell_take_dim(CellGraph *g, CellValue a, int dim, CellValue index) {
  CellNode n = {.op = CELL_OP_TAKE, .arg_count = 2, .args = (CellValue[]){a, index}};
  n.dim = (int8_t)dim;
  return cell_make(g, &n);
}

CellValue cell_take_axis(CellGraph *g, CellValue a, int axis, CellValue index) {
  CellNode n = {.op = CELL_OP_TAKE, .arg_count = 2, .args = (CellValue[]){a, index}};
  n.dim = -1;
  n.axis = (int8_t)axis;
  return cell_make(g, &n);
}

/* ---- scan ---- */

CellValue cell_scan(CellGraph *g, int axis, CellGraph *body, int carry_count,
                    const CellValue *carries, int input_count, const CellValue *inputs) {
  int count = carry_count + input_count;
  CellValue *args = CELL_NEW_ARRAY(g->arena, CellValue, count + 1);
  for (int i = 0; i < count; i++) args[i] = i < carry_count ? carries[i] : inputs[i - carry_count];
  CellNode n = {.op = CELL_OP_SCAN, .arg_count = count, .args = args, .over = CELL_AXIS(axis)};
  n.carry_count = carry_count;
  n.body = body->arena == g->arena ? body : cell_graph_clone(g->arena, body);
  return cell_make(g, &n);
}

CellValue cell_result(CellGraph *g, CellValue scan, int which) {
  CellNode n = {.op = CELL_OP_RESULT, .arg_count = 1, .args = &scan, .begin = which};
  return cell_make(g, &n);
}

/* ---- any node again ---- */

/* An operand may have lost an axis on the way (a constant took its place): the sum of what is equal
 * along an axis is a multiple, its maximum and its entries are itself. */
static CellValue times(CellGraph *g, CellValue a, int64_t extent) {
  return cell_op2(g, CELL_OP_MUL, a, cell_const(g, (double)extent));
}

static CellValue reduce_again(CellGraph *g, const CellNode *n, CellValue a) {
  uint32_t lost = n->over & ~cell_node(g, a)->axes;
  CELL_ASSERT(!lost || n->reduce != CELL_ARGMAX);
  CellValue sum = cell_reduce(g, n->reduce, a, n->dims, n->over & ~lost);
  return lost && n->reduce == CELL_SUM ? times(g, sum, cell_extent(g, lost)) : sum;
}

static CellValue contract_again(CellGraph *g, const CellNode *n, CellValue a, CellValue b) {
  uint32_t lost = n->over & ~(cell_node(g, a)->axes | cell_node(g, b)->axes);
  char labels[3 * CELL_MAX_RANK + 4];
  snprintf(labels, sizeof labels, "%s,%s->%s", n->labels[0], n->labels[1], n->labels[2]);
  CellValue sum = cell_contract(g, a, b, labels, n->over & ~lost);
  return lost ? times(g, sum, cell_extent(g, lost)) : sum;
}

CellValue cell_rebuild(CellGraph *g, const CellNode *n, const CellValue *args) {
  switch ((int)n->op) {
  case CELL_OP_INPUT: return cell_input(g, n->name, n->dtype, n->rank, n->shape, n->axes);
  case CELL_OP_CONST: return cell_const(g, n->number);
  case CELL_OP_RANGE: return cell_range(g, n->shape[0]);
  case CELL_OP_AXIS_INDEX: return cell_axis_index(g, n->axis);
  case CELL_OP_ONE_HOT: return cell_one_hot(g, args[0], n->shape[n->rank - 1]);
  case CELL_OP_SIGN_BITS: return cell_sign_bits(g, args[0], n->shape[n->rank - 1]);
  case CELL_OP_REDUCE: return reduce_again(g, n, args[0]);
  case CELL_OP_CONTRACT: return contract_again(g, n, args[0], args[1]);
  case CELL_OP_TAKE:
    if (n->dim >= 0) return cell_take_dim(g, args[0], n->dim, args[1]);
    if (!(cell_node(g, args[0])->axes & CELL_AXIS(n->axis))) return args[0];
    return cell_take_axis(g, args[0], n->axis, args[1]);
  case CELL_OP_RESHAPE: return cell_reshape(g, args[0], n->rank, n->shape);
  case CELL_OP_TRANSPOSE: return cell_transpose(g, args[0], n->map);
  case CELL_OP_SLICE: return cell_slice(g, args[0], n->dim, n->begin, n->end);
  case CELL_OP_PAD: return cell_pad(g, args[0], n->dim, n->begin, n->end);
  case CELL_OP_CONCAT: return cell_concat(g, n->arg_count, args, n->dim);
  case CELL_OP_BROADCAST: return cell_broadcast(g, args[0], n->rank, n->shape, n->map);
  case CELL_OP_STOP_GRADIENT: return cell_stop_gradient(g, args[0]);
  case CELL_OP_SCAN: {
    int axis = 0;
    while (!(n->over & CELL_AXIS(axis))) axis++;
    return cell_scan(g, axis, n->body, n->carry_count, args, n->arg_count - n->carry_count,
                     args + n->carry_count);
  }
  case CELL_OP_RESULT: return cell_result(g, args[0], n->begin);
  default: return elementwise(g, n->op, n->arg_count, args);
  }
}
