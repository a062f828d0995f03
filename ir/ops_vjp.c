/* ops_vjp.c - the derivative of each op, as graph building: one function a row of ops.def.
 *
 * A rule is given y = op(args) and dy, and makes the derivatives in the operands that need one. dy
 * may be uniform (rewrite.h). Where an operand lacks axes of y, or has rank 0 against a shape, its
 * derivative is the sum over those: cell_sum_product makes this one contract, never a product that
 * is summed next. Rules follow the sentences of ops.def where there is no derivative: it is 0
 * there, and the branch that is not taken stays finite. */
#include "ir/rewrite.h"

#include <string.h>

typedef struct {
  CellGraph *g;
  CellValue y, dy;
  CellNode n; /* a copy of y's node: the array moves while the graph grows */
  const bool *needs;
  CellValue *out;
} Vjp;

/* ---- sums ---- */

static uint8_t all_dims(int rank) {
  return (uint8_t)((1u << rank) - 1);
}

CellValue cell_full(CellGraph *g, CellValue v, int rank, const int32_t *shape) {
  static const int8_t none[CELL_MAX_RANK] = {0};
  if (cell_node(g, v)->rank == rank) return v;
  CELL_ASSERT(cell_node(g, v)->rank == 0);
  return cell_broadcast(g, v, rank, shape, none);
}

static CellValue scaled(CellGraph *g, CellValue v, double factor) {
  return factor == 1 ? v : cell_op2(g, CELL_OP_MUL, v, cell_const(g, factor));
}

CellValue cell_sum(CellGraph *g, CellValue x, uint8_t dims, uint32_t over) {
  CellNode n = *cell_node(g, x);
  uint32_t missing = over & ~n.axes;
  double factor = (double)cell_extent(g, missing);
  over &= ~missing;
  if (!dims && !over) return scaled(g, x, factor);
  if (n.op == CELL_OP_MUL) {
    CellValue v = cell_sum_product(g, n.args[0], n.args[1], n.rank, n.shape, dims, over);
    int rank = 0;
    int32_t shape[CELL_MAX_RANK] = {0};
    for (int i = 0; i < n.rank; i++)
      if (!(dims >> i & 1)) shape[rank++] = n.shape[i];
    return cell_full(g, scaled(g, v, factor), rank, shape);
  }
  return scaled(g, cell_reduce(g, CELL_SUM, x, dims, over), factor);
}

CellValue cell_sum_product(CellGraph *g, CellValue a, CellValue b, int rank, const int32_t *shape,
                           uint8_t dims, uint32_t over) {
  CellNode na = *cell_node(g, a), nb = *cell_node(g, b);
  uint32_t missing = over & ~(na.axes | nb.axes);
  double factor = (double)cell_extent(g, missing);
  over &= ~missing;
  /* dimensions over which both are uniform only count */
  if (na.rank == 0 && nb.rank == 0) {
    for (int i = 0; i < rank; i++)
      if (dims >> i & 1) factor *= shape[i];
    dims = 0;
  }
  if (!dims && !over) return scaled(g, cell_op2(g, CELL_OP_MUL, a, b), factor);

  /* a factor that the sum does not touch leaves it */
  for (int side = 0; side < 2; side++) {
    CellValue rest = side ? b : a, factor_value = side ? a : b;
    const CellNode *nf = side ? &na : &nb, *nr = side ? &nb : &na;
    if (nf->rank == 0 && !(nf->axes & over) && (nr->rank == rank || !dims))
      return scaled(g, cell_op2(g, CELL_OP_MUL, factor_value, cell_sum(g, rest, dims, over)),
                    factor);
  }

  /* a contract sums dimensions that both have: those of one alone are summed before */
  bool both = na.rank && nb.rank;
  if (!both && na.rank) a = cell_sum(g, a, dims, 0);
  if (!both && nb.rank) b = cell_sum(g, b, dims, 0);
  char all[CELL_MAX_RANK + 1] = "", kept[CELL_MAX_RANK + 1] = "";
  for (int i = 0; i < rank; i++) {
    char letter[2] = {(char)('i' + i), '\0'};
    strcat(all, letter);
    if (!(dims >> i & 1)) strcat(kept, letter);
  }
  const char *summed = both ? all : kept;
  char labels[3 * CELL_MAX_RANK + 4];
  snprintf(labels, sizeof labels, "%s,%s->%s", na.rank ? summed : "", nb.rank ? summed : "",
           na.rank || nb.rank ? kept : "");
  return scaled(g, cell_contract(g, a, b, labels, over), factor);
}

/* ---- helpers of the rules ---- */

static CellValue op1(Vjp *s, CellOp op, CellValue a) {
  return cell_op1(s->g, op, a);
}

static CellValue op2(Vjp *s, CellOp op, CellValue a, CellValue b) {
  return cell_op2(s->g, op, a, b);
}

static CellValue number(Vjp *s, double x) {
  return cell_const(s->g, x);
}

static const CellNode *arg_node(Vjp *s, int k) {
  return cell_node(s->g, s->n.args[k]);
}

/* dy with y's shape */
static CellValue full_dy(Vjp *s) {
  return cell_full(s->g, s->dy, s->n.rank, s->n.shape);
}

/* the derivative in operand k of an elementwise op is dy * factor (CELL_NONE: 1), summed over what
 * the operand lacks */
static void give(Vjp *s, int k, CellValue factor) {
  const CellNode *a = arg_node(s, k);
  uint32_t over = s->n.axes & ~a->axes;
  uint8_t dims = a->rank < s->n.rank ? all_dims(s->n.rank) : 0;
  if (factor == CELL_NONE) factor = number(s, 1);
  s->out[k] = cell_sum_product(s->g, s->dy, factor, s->n.rank, s->n.shape, dims, over);
}

static void give_negative(Vjp *s, int k) {
  give(s, k, CELL_NONE);
  s->out[k] = op1(s, CELL_OP_NEG, s->out[k]);
}

/* ---- leaves, and what has no derivative ---- */

static void vjp_nothing(Vjp *s) {
  (void)s;
}
#define vjp_INPUT vjp_nothing
#define vjp_CONST vjp_nothing
#define vjp_RANGE vjp_nothing
#define vjp_AXIS_INDEX vjp_nothing
#define vjp_LT vjp_nothing
#define vjp_LE vjp_nothing
#define vjp_EQ vjp_nothing
#define vjp_NE vjp_nothing
#define vjp_SIGN vjp_nothing
#define vjp_FLOOR vjp_nothing
#define vjp_FLOAT vjp_nothing
#define vjp_ONE_HOT vjp_nothing
#define vjp_SIGN_BITS vjp_nothing
#define vjp_STOP_GRADIENT vjp_nothing
#define vjp_SCAN vjp_nothing
#define vjp_RESULT vjp_nothing

/* ---- elementwise ---- */

static void vjp_ADD(Vjp *s) {
  for (int k = 0; k < 2; k++)
    if (s->needs[k]) give(s, k, CELL_NONE);
}

static void vjp_SUB(Vjp *s) {
  if (s->needs[0]) give(s, 0, CELL_NONE);
  if (s->needs[1]) give_negative(s, 1);
}

static void vjp_MUL(Vjp *s) {
  if (s->needs[0]) give(s, 0, s->n.args[1]);
  if (s->needs[1]) give(s, 1, s->n.args[0]);
}

/* da = dy / b, db = -dy y / b */
static void vjp_DIV(Vjp *s) {
  CellValue inverse = op2(s, CELL_OP_DIV, number(s, 1), s->n.args[1]);
  if (s->needs[0]) give(s, 0, inverse);
  if (s->needs[1]) {
    give(s, 1, op2(s, CELL_OP_MUL, s->y, inverse));
    s->out[1] = op1(s, CELL_OP_NEG, s->out[1]);
  }
}

/* da = dy b a^(b-1), 0 where a = 0 and b < 1; db = dy y log a, 0 where a <= 0 */
static void vjp_POW(Vjp *s) {
  CellGraph *g = s->g;
  CellValue a = s->n.args[0], b = s->n.args[1], one = number(s, 1), zero = number(s, 0);
  if (s->needs[0]) {
    const CellNode *nb = cell_node(g, b);
    bool constant = nb->op == CELL_OP_CONST, safe = constant && nb->number >= 1;
    CellValue less = op2(s, CELL_OP_SUB, b, one), base = a, guard = CELL_NONE;
    if (!safe) {
      guard = op2(s, CELL_OP_EQ, a, zero);
      if (!constant) guard = op2(s, CELL_OP_MUL, guard, op2(s, CELL_OP_LT, b, one));
      base = cell_op3(g, CELL_OP_WHERE, guard, one, a);
    }
    CellValue power = cell_is_const(g, less, 1) ? base : op2(s, CELL_OP_POW, base, less);
    CellValue slope = op2(s, CELL_OP_MUL, b, power);
    if (!safe) slope = cell_op3(g, CELL_OP_WHERE, guard, zero, slope);
    give(s, 0, slope);
  }
  if (s->needs[1]) {
    CellValue positive = op2(s, CELL_OP_LT, zero, a);
    CellValue safe = cell_op3(g, CELL_OP_WHERE, positive, a, one);
    give(s, 1, op2(s, CELL_OP_MUL, s->y, op1(s, CELL_OP_LOG, safe)));
  }
}

/* to the first of equals */
static void choose(Vjp *s, CellValue first, CellValue second) {
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_LE, second, first));
  if (s->needs[1]) give(s, 1, op2(s, CELL_OP_LT, first, second));
}

static void vjp_MAX(Vjp *s) {
  choose(s, s->n.args[0], s->n.args[1]);
}

static void vjp_MIN(Vjp *s) {
  CellValue a = s->n.args[0], b = s->n.args[1];
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_LE, a, b));
  if (s->needs[1]) give(s, 1, op2(s, CELL_OP_LT, b, a));
}

static void vjp_WHERE(Vjp *s) {
  if (s->needs[1]) give(s, 1, op2(s, CELL_OP_NE, s->n.args[0], number(s, 0)));
  if (s->needs[2]) give(s, 2, op2(s, CELL_OP_EQ, s->n.args[0], number(s, 0)));
}

static void vjp_NEG(Vjp *s) {
  if (s->needs[0]) give_negative(s, 0);
}

static void vjp_ABS(Vjp *s) {
  if (s->needs[0]) give(s, 0, op1(s, CELL_OP_SIGN, s->n.args[0]));
}

/* 1 / (2 y), 0 at 0 */
static void vjp_SQRT(Vjp *s) {
  if (!s->needs[0]) return;
  CellValue safe = cell_op3(s->g, CELL_OP_WHERE, s->y, s->y, number(s, 1));
  CellValue slope = op2(s, CELL_OP_DIV, number(s, 0.5), safe);
  give(s, 0, cell_op3(s->g, CELL_OP_WHERE, s->y, slope, number(s, 0)));
}

static void vjp_EXP(Vjp *s) {
  if (s->needs[0]) give(s, 0, s->y);
}

static void vjp_LOG(Vjp *s) {
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_DIV, number(s, 1), s->n.args[0]));
}

static void vjp_TANH(Vjp *s) {
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_SUB, number(s, 1), op2(s, CELL_OP_MUL, s->y, s->y)));
}

static void vjp_SIGMOID(Vjp *s) {
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_MUL, s->y, op2(s, CELL_OP_SUB, number(s, 1), s->y)));
}

static void vjp_SIN(Vjp *s) {
  if (s->needs[0]) give(s, 0, op1(s, CELL_OP_COS, s->n.args[0]));
}

static void vjp_COS(Vjp *s) {
  if (s->needs[0]) give(s, 0, op1(s, CELL_OP_NEG, op1(s, CELL_OP_SIN, s->n.args[0])));
}

static void vjp_RELU(Vjp *s) {
  if (s->needs[0]) give(s, 0, op2(s, CELL_OP_LT, number(s, 0), s->n.args[0]));
}

/* ---- what removes dimensions and axes ---- */

/* v, of the shape of a reduction's result, repeated along the dimensions that went */
static CellValue spread(Vjp *s, CellValue v) {
  const CellNode *a = arg_node(s, 0);
  int8_t map[CELL_MAX_RANK] = {0};
  int kept = 0, rank = a->rank;
  int32_t shape[CELL_MAX_RANK];
  memcpy(shape, a->shape, sizeof shape);
  for (int i = 0; i < rank; i++)
    if (!(s->n.dims >> i & 1)) map[kept++] = (int8_t)i;
  if (cell_node(s->g, v)->rank == 0) return v; /* uniform, whatever goes */
  return kept == rank ? v : cell_broadcast(s->g, v, rank, shape, map);
}

static void vjp_REDUCE(Vjp *s) {
  CellGraph *g = s->g;
  if (!s->needs[0] || s->n.reduce == CELL_ARGMAX) return;
  if (s->n.reduce == CELL_SUM) {
    s->out[0] = spread(s, s->dy);
    return;
  }
  /* max: to the first of equals, the entry that argmax names */
  CellNode a = *arg_node(s, 0);
  CellValue best = cell_reduce(g, CELL_ARGMAX, s->n.args[0], s->n.dims, s->n.over);
  CellValue mask;
  if (s->n.over) {
    int axis = 0;
    while (!(s->n.over >> axis & 1)) axis++;
    CellValue position = cell_op1(g, CELL_OP_FLOAT, cell_axis_index(g, axis));
    mask = op2(s, CELL_OP_EQ, op1(s, CELL_OP_FLOAT, best), position);
  } else if (a.rank == 1) {
    mask = cell_one_hot(g, best, a.shape[0]);
  } else {
    int8_t dim = 0;
    while (!(s->n.dims >> dim & 1)) dim++;
    CellValue position = cell_broadcast(g, cell_range(g, a.shape[dim]), a.rank, a.shape, &dim);
    mask = op2(s, CELL_OP_EQ, spread(s, op1(s, CELL_OP_FLOAT, best)), position);
  }
  s->out[0] = op2(s, CELL_OP_MUL, spread(s, s->dy), mask);
}

/* y = sum a b: da = sum dy b, over what is not a's */
static void vjp_CONTRACT(Vjp *s) {
  for (int k = 0; k < 2; k++) {
    if (!s->needs[k]) continue;
    char labels[3 * CELL_MAX_RANK + 4];
    snprintf(labels, sizeof labels, "%s,%s->%s", s->n.labels[2], s->n.labels[1 - k],
             s->n.labels[k]);
    CellValue dy = full_dy(s), other = s->n.args[1 - k];
    uint32_t over = cell_node(s->g, other)->axes | cell_node(s->g, dy)->axes;
    over &= ~arg_node(s, k)->axes;
    s->out[k] = cell_contract(s->g, dy, other, labels, over);
  }
}

/* the derivative lies at the entry that was taken: dy times a one-hot, summed over the axes that
 * only the index has */
static void vjp_TAKE(Vjp *s) {
  if (!s->needs[0]) return;
  CellGraph *g = s->g;
  CellNode a = *arg_node(s, 0);
  CellValue index = s->n.args[1];
  uint32_t over = cell_node(g, index)->axes & ~a.axes;
  if (s->n.dim < 0) {
    CELL_ASSERT(!(cell_node(g, index)->axes & CELL_AXIS(s->n.axis)));
    CellValue position = op1(s, CELL_OP_FLOAT, cell_axis_index(g, s->n.axis));
    CellValue mask = op2(s, CELL_OP_EQ, position, op1(s, CELL_OP_FLOAT, index));
    s->out[0] = cell_sum_product(g, s->dy, mask, s->n.rank, s->n.shape, 0, over);
    return;
  }
  char labels[3 * CELL_MAX_RANK + 4], *p = labels;
  for (int i = 0; i < a.rank; i++)
    if (i != s->n.dim) *p++ = (char)('i' + i);
  *p++ = ',';
  *p++ = (char)('i' + s->n.dim);
  *p++ = '-', *p++ = '>';
  for (int i = 0; i < a.rank; i++) *p++ = (char)('i' + i);
  *p = '\0';
  CellValue dy = full_dy(s), hot = cell_one_hot(g, index, a.shape[s->n.dim]);
  s->out[0] = cell_contract(g, dy, hot, labels, over);
}

/* ---- views ---- */

static void vjp_RESHAPE(Vjp *s) {
  if (!s->needs[0]) return;
  CellNode a = *arg_node(s, 0);
  bool uniform = cell_node(s->g, s->dy)->rank == 0;
  s->out[0] = uniform ? s->dy : cell_reshape(s->g, s->dy, a.rank, a.shape);
}

static void vjp_TRANSPOSE(Vjp *s) {
  if (!s->needs[0]) return;
  int8_t inverse[CELL_MAX_RANK] = {0};
  for (int8_t i = 0; i < s->n.rank; i++) inverse[s->n.map[i]] = i;
  bool uniform = cell_node(s->g, s->dy)->rank == 0;
  s->out[0] = uniform ? s->dy : cell_transpose(s->g, s->dy, inverse);
}

static void vjp_SLICE(Vjp *s) {
  if (!s->needs[0]) return;
  int32_t n = arg_node(s, 0)->shape[s->n.dim];
  s->out[0] = cell_pad(s->g, full_dy(s), s->n.dim, s->n.begin, n - s->n.end);
}

/* dy along dimension `dim`, begin to end */
static CellValue cut(Vjp *s, int dim, int32_t begin, int32_t end) {
  if (cell_node(s->g, s->dy)->rank == 0) return s->dy;
  return cell_slice(s->g, s->dy, dim, begin, end);
}

static void vjp_PAD(Vjp *s) {
  if (!s->needs[0]) return;
  int32_t n = arg_node(s, 0)->shape[s->n.dim];
  s->out[0] = cut(s, s->n.dim, s->n.begin, s->n.begin + n);
}

static void vjp_CONCAT(Vjp *s) {
  int32_t begin = 0;
  for (int k = 0; k < s->n.arg_count; k++) {
    const CellNode *a = arg_node(s, k);
    int32_t end = begin + a->shape[s->n.dim];
    uint32_t over = s->n.axes & ~a->axes;
    if (s->needs[k]) s->out[k] = cell_sum(s->g, cut(s, s->n.dim, begin, end), 0, over);
    begin = end;
  }
}

static void vjp_BROADCAST(Vjp *s) {
  if (!s->needs[0]) return;
  CellNode a = *arg_node(s, 0);
  uint8_t kept = 0, repeated;
  double count = 1;
  for (int i = 0; i < a.rank; i++)
    if (a.shape[i] == s->n.shape[s->n.map[i]]) kept |= (uint8_t)(1u << s->n.map[i]);
  repeated = all_dims(s->n.rank) & (uint8_t)~kept;
  if (cell_node(s->g, s->dy)->rank == 0) {
    for (int i = 0; i < s->n.rank; i++)
      if (repeated >> i & 1) count *= s->n.shape[i];
    s->out[0] = scaled(s->g, s->dy, count);
    return;
  }
  CellValue sum = cell_sum(s->g, s->dy, repeated, 0);
  s->out[0] = cell_reshape(s->g, sum, a.rank, a.shape); /* dimensions of 1 come back */
}

/* ---- the table ---- */

typedef void (*VjpRule)(Vjp *s);
static const VjpRule rules[CELL_OP_COUNT] = {
#define SCALAR(ENUM, text, arity, flops, sentence) [CELL_OP_##ENUM] = vjp_##ENUM,
#define OP(ENUM, text, arity, sentence) [CELL_OP_##ENUM] = vjp_##ENUM,
#include "ir/ops.def"
};

void cell_vjp(CellGraph *g, CellValue y, CellValue dy, const bool *needs, CellValue *out) {
  Vjp s = {.g = g, .y = y, .dy = dy, .n = *cell_node(g, y), .needs = needs, .out = out};
  for (int k = 0; k < s.n.arg_count; k++) out[k] = CELL_NONE;
  g->span = s.n.span;
  rules[s.n.op](&s);
}
