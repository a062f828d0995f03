/* eval_tensor.c - shapes: elementwise operations with their stretching, products, reductions,
 * indexing. In a rule a value that varies over the candidates has the actions as its first axis (its
 * view); the functions here hide that from everybody else. */
#include <math.h>
#include <string.h>

#include "frontend/value.h"

bool cell_over_actions(const CellContext *c, CellValue v) {
  return c->where == CELL_IN_RULE && c->stage &&
         (cell_node(c->stage->g, v)->axes & CELL_AXIS(CELL_AXIS_CANDIDATE));
}

int cell_view_shape(const CellContext *c, CellValue v, int32_t *shape) {
  const CellNode *n = cell_node(c->stage->g, v);
  int rank = 0;
  if (cell_over_actions(c, v)) shape[rank++] = c->elab->shapes->actions;
  for (int i = 0; i < n->rank; i++) shape[rank++] = n->shape[i];
  return rank;
}

/* ---- elementwise ---- */

/* A tensor [A, ...] beside one that varies over the candidates: its first axis becomes that of the
 * candidates. A first axis of 1 is dropped. */
static bool to_candidates(const CellContext *c, CellValue *v) {
  CellGraph *g = cell_graph_of(c);
  const CellNode *n = cell_node(g, *v);
  if (n->shape[0] == 1) {
    *v = cell_reshape(g, *v, n->rank - 1, n->shape + 1);
    return true;
  }
  if (n->shape[0] != c->elab->shapes->actions) return false;
  *v = cell_take_dim(g, *v, 0, cell_axis_index(g, CELL_AXIS_CANDIDATE));
  return true;
}

/* Gives all operands one shape (or rank 0); false: shapes of operands *a and *b do not fit. */
static bool align(const CellContext *c, int count, CellValue *args, int *a, int *b) {
  CellGraph *g = cell_graph_of(c);
  int rank = 0, over = -1, first = -1;
  for (int i = 0; i < count; i++)
    if (cell_over_actions(c, args[i])) over = i;
  for (int i = 0; i < count; i++) {
    int32_t shape[CELL_MAX_RANK + 1];
    int seen = cell_view_shape(c, args[i], shape);
    if (seen == 0) continue;
    if (rank > 0 && seen != rank) return *a = first, *b = i, false;
    rank = seen;
    if (first < 0) first = i;
  }
  if (over >= 0) {
    for (int i = 0; i < count; i++) {
      if (cell_over_actions(c, args[i]) || cell_node(g, args[i])->rank == 0) continue;
      if (!to_candidates(c, &args[i])) return *a = over, *b = i, false;
    }
    rank--;
  }

  int32_t shape[CELL_MAX_RANK] = {0};
  int from[CELL_MAX_RANK] = {0};
  for (int i = 0; i < count; i++) {
    const CellNode *n = cell_node(g, args[i]);
    for (int d = 0; d < rank && n->rank > 0; d++) {
      if (shape[d] > 1 && n->shape[d] > 1 && shape[d] != n->shape[d])
        return *a = from[d], *b = i, false;
      if (n->shape[d] > shape[d]) {
        shape[d] = n->shape[d];
        from[d] = i;
      }
    }
  }
  static const int8_t straight[CELL_MAX_RANK] = {0, 1, 2, 3};
  for (int i = 0; i < count; i++)
    if (cell_node(g, args[i])->rank > 0)
      args[i] = cell_broadcast(g, args[i], rank, shape, straight);
  return true;
}

static CellValue apply_op(CellGraph *g, CellOp op, const CellValue *args) {
  switch (cell_op_info[op].arity) {
  case 1: return cell_op1(g, op, args[0]);
  case 2: return cell_op2(g, op, args[0], args[1]);
  default: return cell_op3(g, op, args[0], args[1], args[2]);
  }
}

/* While shapes are looked for: an unknown operand has the shape of the others where that is sure. */
static CellDatum guess(const CellContext *c, int count, const CellDatum *args) {
  for (int i = 0; i < count; i++) {
    if (args[i].kind != CELL_IS_TENSOR) continue;
    const CellNode *n = cell_node(cell_graph_of(c), args[i].tensor);
    bool sure = n->rank > 0;
    for (int d = 0; d < n->rank; d++) sure = sure && n->shape[d] > 1;
    if (sure) return args[i];
  }
  return cell_datum(CELL_IS_UNKNOWN);
}

/* result of the op, or kind ERROR with the two operands that do not fit in *a and *b (else -1) */
static CellDatum elementwise(const CellContext *c, CellOp op, int count, const CellDatum *given,
                             const CellSpan *spans, int *a, int *b) {
  CellDatum args[3];
  CellValue values[3] = {0};
  *a = *b = -1;
  bool unknown = false;
  for (int i = 0; i < count; i++) {
    if (!cell_want_tensor(c, given[i], spans[i], &args[i])) return CELL_FAILED;
    unknown = unknown || args[i].kind == CELL_IS_UNKNOWN;
    values[i] = args[i].tensor;
  }
  if (unknown) return guess(c, count, args);
  if (!align(c, count, values, a, b)) return CELL_FAILED;
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < count; i++) {
    const CellNode *n = cell_node(cell_graph_of(c), values[i]);
    if (n->rank > 0) memcpy(shape, n->shape, sizeof shape), rank = n->rank;
  }
  if (!cell_size_ok(c, spans[0], rank, shape)) return CELL_FAILED;
  return cell_tensor(apply_op(cell_graph_of(c), op, values));
}

static bool is_constant(CellDatum d) {
  return d.kind == CELL_IS_NUMBER || d.kind == CELL_IS_BOOL;
}

static double constant(CellDatum d) {
  return d.kind == CELL_IS_BOOL ? d.truth : d.number;
}

CellDatum cell_unary(const CellContext *c, CellOp op, CellDatum d, CellSpan span) {
  if (d.kind == CELL_IS_ERROR) return d;
  if (is_constant(d)) return cell_number(cell_scalar_eval(op, constant(d), 0, 0));
  int a, b;
  return elementwise(c, op, 1, &d, &span, &a, &b);
}

CellDatum cell_elementwise(const CellContext *c, const CellExpr *expr, CellOp op, int count,
                           const CellDatum *args, const CellExpr *const *exprs) {
  bool constants = true;
  CellSpan spans[3];
  for (int i = 0; i < count; i++) {
    if (args[i].kind == CELL_IS_ERROR) return CELL_FAILED;
    constants = constants && is_constant(args[i]);
    spans[i] = exprs[i]->span;
  }
  if (constants)
    return cell_number(cell_scalar_eval(op, constant(args[0]), constant(args[1]),
                                        count > 2 ? constant(args[2]) : 0));
  int a, b;
  CellDatum d = elementwise(c, op, count, args, spans, &a, &b);
  if (a < 0) return d;
  CellRecord *r = cell_complain(c, "E0301", expr->span, "shapes %s and %s do not fit together",
                                cell_describe(c, args[a]), cell_describe(c, args[b]));
  cell_point(c, r, exprs[a]->span, NULL);
  cell_point(c, r, exprs[b]->span, NULL);
  cell_explain_operand(c, r, exprs[a], args[a]);
  cell_explain_operand(c, r, exprs[b], args[b]);
  return CELL_FAILED;
}

/* ---- operators ---- */

static const CellOp binary_ops[CELL_BINARY_COUNT] = {
    [CELL_BINARY_ADD] = CELL_OP_ADD, [CELL_BINARY_SUB] = CELL_OP_SUB,
    [CELL_BINARY_MUL] = CELL_OP_MUL, [CELL_BINARY_DIV] = CELL_OP_DIV,
    [CELL_BINARY_POW] = CELL_OP_POW, [CELL_BINARY_EQ] = CELL_OP_EQ,
    [CELL_BINARY_NE] = CELL_OP_NE,   [CELL_BINARY_LT] = CELL_OP_LT,
    [CELL_BINARY_LE] = CELL_OP_LE,   [CELL_BINARY_GT] = CELL_OP_LT,
    [CELL_BINARY_GE] = CELL_OP_LE};

/* "cannot subtract [4] from [3]" with the operands marked and where they come from */
static CellRecord *misfit(const CellContext *c, const char *code, const CellExpr *expr, CellDatum a,
                          CellDatum b) {
  CellBinary op = expr->binary.op;
  const char *left = cell_describe(c, a), *right = cell_describe(c, b), *word = "by";
  if (op == CELL_BINARY_ADD)
    word = "and";
  else if (op == CELL_BINARY_POW)
    word = "to";
  else if (op >= CELL_BINARY_EQ)
    word = "with";
  else if (op == CELL_BINARY_SUB) {
    word = "from";
    const char *swap = left;
    left = right;
    right = swap;
  }
  CellRecord *r = cell_complain(c, code, expr->op, "cannot %s %s %s %s", cell_binary_verb(op), left,
                                word, right);
  cell_point(c, r, expr->binary.left->span, NULL);
  cell_point(c, r, expr->binary.right->span, NULL);
  cell_explain_operand(c, r, expr->binary.left, a);
  cell_explain_operand(c, r, expr->binary.right, b);
  return r;
}

static bool is_comparison(CellBinary op) {
  return op >= CELL_BINARY_EQ;
}

static CellDatum constant_binary(CellBinary op, double a, double b) {
  if (op == CELL_BINARY_MOD) return cell_number(a - floor(a / b) * b);
  if (op == CELL_BINARY_GT || op == CELL_BINARY_GE) {
    double swap = a;
    a = b;
    b = swap;
  }
  double result = cell_scalar_eval(binary_ops[op], a, b, 0);
  return is_comparison(op) ? cell_truth(result != 0) : cell_number(result);
}

/* functions, none, initialisations: only whether they are the same */
static bool same_thing(CellDatum a, CellDatum b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
  case CELL_IS_FUNCTION:
    return a.function.def == b.function.def && a.function.builtin == b.function.builtin;
  case CELL_IS_INIT: return a.init.kind == b.init.kind && a.init.arg == b.init.arg;
  case CELL_IS_CELL:
  case CELL_IS_BLOCK: return a.index == b.index;
  default: return true;
  }
}

static bool is_word(CellDatum d) {
  return d.kind == CELL_IS_FUNCTION || d.kind == CELL_IS_NONE || d.kind == CELL_IS_INIT ||
         d.kind == CELL_IS_CELL || d.kind == CELL_IS_BLOCK;
}

static CellDatum product(const CellContext *c, const CellExpr *expr, CellDatum a, CellDatum b) {
  static const struct {
    int a, b;
    const char *labels;
  } forms[] = {{1, 1, "i,i->"},     {2, 1, "ij,j->i"},      {1, 2, "i,ij->j"},
               {2, 2, "ij,jk->ik"}, {3, 3, "aij,ajk->aik"}, {4, 4, "abij,abjk->abik"}};
  CellDatum x, y;
  if (!cell_want_tensor(c, a, expr->binary.left->span, &x)) return CELL_FAILED;
  if (!cell_want_tensor(c, b, expr->binary.right->span, &y)) return CELL_FAILED;
  if (x.kind == CELL_IS_UNKNOWN || y.kind == CELL_IS_UNKNOWN) return cell_datum(CELL_IS_UNKNOWN);
  CellGraph *g = cell_graph_of(c);
  const CellNode *m = cell_node(g, x.tensor), *n = cell_node(g, y.tensor);
  const char *labels = NULL;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (forms[i].a == m->rank && forms[i].b == n->rank) labels = forms[i].labels;
  if (!labels) {
    CellRecord *r = misfit(c, "E0302", expr, x, y);
    if (m->rank == 0 || n->rank == 0)
      cell_help(c->elab->diag, r, "`*` multiplies by a scalar");
    else
      cell_help(c->elab->diag, r, "`@` takes vectors, matrices, and tensors of equal rank");
    return CELL_FAILED;
  }
  /* the inner sizes, and the leading ones of rank 3 and 4 */
  int32_t inner_a = m->shape[m->rank - 1], inner_b = n->shape[n->rank > 1 ? n->rank - 2 : 0];
  bool fits = inner_a == inner_b;
  for (int i = 0; i < m->rank - 2 && n->rank == m->rank; i++)
    fits = fits && m->shape[i] == n->shape[i];
  if (!fits) {
    CellRecord *r = misfit(c, "E0302", expr, x, y);
    const CellExpr *left = expr->binary.left;
    bool named = left->kind == CELL_EXPR_NAME && m->rank == 2;
    if (inner_a == inner_b)
      cell_help(c->elab->diag, r, "the leading sizes must agree");
    else if (named && m->shape[0] == inner_b)
      cell_help(c->elab->diag, r, "the inner sizes must agree (%d and %d); did you mean %s.T?",
                (int)inner_a, (int)inner_b, left->name);
    else if (left->kind == CELL_EXPR_TRANSPOSE && left->operand->kind == CELL_EXPR_NAME &&
             m->rank == 2 && m->shape[0] == inner_b)
      cell_help(c->elab->diag, r, "the inner sizes must agree (%d and %d); did you mean %s?",
                (int)inner_a, (int)inner_b, left->operand->name);
    else
      cell_help(c->elab->diag, r, "the inner sizes must agree (%d and %d)", (int)inner_a,
                (int)inner_b);
    return CELL_FAILED;
  }
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < m->rank - 1; i++) shape[rank++] = m->shape[i];
  if (n->rank > 1) shape[rank++] = n->shape[n->rank - 1];
  if (!cell_size_ok(c, expr->span, rank, shape)) return CELL_FAILED;
  return cell_tensor(cell_contract(g, x.tensor, y.tensor, labels, 0));
}

CellDatum cell_binary(const CellContext *c, const CellExpr *expr, CellDatum a, CellDatum b) {
  CellBinary op = expr->binary.op;
  const CellExpr *exprs[2] = {expr->binary.left, expr->binary.right};
  if (a.kind == CELL_IS_ERROR || b.kind == CELL_IS_ERROR) return CELL_FAILED;
  if (op == CELL_BINARY_MATMUL) return product(c, expr, a, b);
  if (is_constant(a) && is_constant(b)) return constant_binary(op, constant(a), constant(b));
  if ((op == CELL_BINARY_EQ || op == CELL_BINARY_NE) && (is_word(a) || is_word(b)))
    return cell_truth(same_thing(a, b) == (op == CELL_BINARY_EQ));

  CellDatum args[2] = {a, b};
  CellSpan spans[2] = {exprs[0]->span, exprs[1]->span};
  int x, y;
  if (op == CELL_BINARY_MOD) {
    /* a - floor(a / b) b */
    CellDatum d = elementwise(c, CELL_OP_DIV, 2, args, spans, &x, &y);
    if (x >= 0) misfit(c, "E0301", expr, a, b);
    if (d.kind != CELL_IS_TENSOR) return d;
    CellDatum whole[2] = {cell_unary(c, CELL_OP_FLOOR, d, spans[0]), b};
    CellDatum rest[2] = {a, elementwise(c, CELL_OP_MUL, 2, whole, spans, &x, &y)};
    return elementwise(c, CELL_OP_SUB, 2, rest, spans, &x, &y);
  }
  bool swap = op == CELL_BINARY_GT || op == CELL_BINARY_GE;
  if (swap) {
    args[0] = b;
    args[1] = a;
    spans[0] = exprs[1]->span;
    spans[1] = exprs[0]->span;
  }
  CellDatum d = elementwise(c, binary_ops[op], 2, args, spans, &x, &y);
  if (x >= 0) {
    CellRecord *r = misfit(c, "E0301", expr, a, b);
    int32_t shape[CELL_MAX_RANK + 1];
    bool tensors = a.kind == CELL_IS_TENSOR && b.kind == CELL_IS_TENSOR;
    if (tensors && cell_view_shape(c, a.tensor, shape) != cell_view_shape(c, b.tensor, shape))
      cell_help(c->elab->diag, r,
                "a vector never stretches over a matrix: `reshape` it to the "
                "same rank, with 1 where it stretches");
  }
  return d;
}

CellDatum cell_transposed(const CellContext *c, const CellExpr *expr, CellDatum a) {
  CellDatum d;
  if (!cell_want_tensor(c, a, expr->operand->span, &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  CellGraph *g = cell_graph_of(c);
  int rank = cell_node(g, d.tensor)->rank;
  if (rank < 2) {
    CellRecord *r = cell_complain(c, "E0302", expr->op, "cannot transpose %s", cell_describe(c, d));
    cell_explain_operand(c, r, expr->operand, d);
    cell_help(c->elab->diag, r, "`@` takes a vector from either side as it is");
    return CELL_FAILED;
  }
  int8_t map[CELL_MAX_RANK] = {0, 1, 2, 3};
  map[rank - 2] = (int8_t)(rank - 1);
  map[rank - 1] = (int8_t)(rank - 2);
  return cell_tensor(cell_transpose(g, d.tensor, map));
}

CellDatum cell_flat(const CellContext *c, CellDatum a, CellSpan span) {
  CellDatum d;
  if (!cell_want_tensor(c, a, span, &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  CellGraph *g = cell_graph_of(c);
  int32_t size = (int32_t)cell_count(g, d.tensor);
  return cell_tensor(cell_reshape(g, d.tensor, 1, &size));
}

/* ---- axes, reductions ---- */

/* rank of what an axis is counted in; -1: it has none */
static int rank_of(const CellContext *c, CellDatum of) {
  int32_t shape[CELL_MAX_RANK + 1];
  if (of.kind == CELL_IS_TENSOR) return cell_view_shape(c, of.tensor, shape);
  if (of.kind == CELL_IS_NUMBER || of.kind == CELL_IS_BOOL) return 0;
  if (of.kind != CELL_IS_LIST) return -1;
  if (of.list.count == 0) return 1;
  int inner = rank_of(c, of.list.items[0]);
  return inner < 0 ? 1 : inner + 1;
}

bool cell_want_axis(const CellContext *c, CellDatum d, CellSpan span, CellDatum of, int *axis) {
  int32_t number = -1;
  if (d.kind != CELL_IS_ERROR && !cell_want_whole(c, d, span, "an axis", &number)) return false;
  int rank = rank_of(c, of);
  *axis = number < 0 ? number + rank : number;
  if (*axis >= 0 && *axis < rank) return true;
  if (rank == 0)
    cell_complain(c, "E0303", span, "a scalar has no axes");
  else {
    CellRecord *r = cell_complain(c, "E0303", span, "there is no axis %d: this is %s", (int)number,
                                  cell_describe(c, of));
    cell_help(c->elab->diag, r, "axes count from 0 to %d, or from the end: -1 to -%d", rank - 1,
              rank);
  }
  return false;
}

typedef enum { R_SUM, R_MAX, R_MIN, R_ARGMAX } Reduction;

/* items of a list, one by one: l0 + l1 + ... */
static CellDatum fold(const CellContext *c, const CellExpr *expr, Reduction kind, CellDatum list) {
  static const CellOp ops[] = {CELL_OP_ADD, CELL_OP_MAX, CELL_OP_MIN};
  CellDatum sum = list.list.items[0];
  if (kind == R_ARGMAX) {
    /* scalars side by side */
    CellGraph *g = cell_graph_of(c);
    CellValue *parts = CELL_NEW_ARRAY(c->elab->arena, CellValue, list.list.count);
    for (int i = 0; i < list.list.count; i++) {
      CellDatum d;
      if (!cell_want_tensor(c, list.list.items[i], expr->span, &d)) return CELL_FAILED;
      if (d.kind == CELL_IS_UNKNOWN || cell_node(g, d.tensor)->rank != 0 ||
          cell_over_actions(c, d.tensor)) {
        cell_not_supported(c, "E0911", expr->span, "argmax over a list of other than scalars");
        return CELL_FAILED;
      }
      parts[i] = cell_reshape(g, d.tensor, 1, (int32_t[]){1});
    }
    CellValue row = cell_concat(g, list.list.count, parts, 0);
    return cell_tensor(cell_reduce(g, CELL_ARGMAX, row, 1, 0));
  }
  for (int i = 1; i < list.list.count; i++) {
    CellDatum pair[2] = {sum, list.list.items[i]};
    const CellExpr *exprs[2] = {expr, expr};
    sum = cell_elementwise(c, expr, ops[kind], 2, pair, exprs);
  }
  return sum;
}

static CellDatum reduce_list(const CellContext *c, const CellExpr *expr, const char *name,
                             Reduction kind, CellDatum list, int axis, bool keep) {
  if (list.list.count == 0) {
    cell_complain(c, "E0306", expr->span, "`%s` of an empty list", name);
    return CELL_FAILED;
  }
  CellDatum d = {.kind = CELL_IS_LIST};
  if (axis == 0) {
    CellDatum sum = fold(c, expr, kind, list);
    if (!keep || sum.kind == CELL_IS_ERROR) return sum;
    d.list.items = CELL_NEW(c->elab->arena, CellDatum);
    d.list.items[0] = sum;
    d.list.count = 1;
    return d;
  }
  d.list.count = list.list.count;
  d.list.items = CELL_NEW_ARRAY(c->elab->arena, CellDatum, list.list.count);
  for (int i = 0; i < list.list.count; i++) {
    d.list.items[i] = cell_reduced(c, expr, name, list.list.items[i], cell_number(axis - 1), keep);
    if (d.list.items[i].kind == CELL_IS_ERROR) return CELL_FAILED;
  }
  return d;
}

static CellValue reduce_value(const CellContext *c, Reduction kind, CellValue v, int axis,
                              bool keep) {
  CellGraph *g = cell_graph_of(c);
  static const CellReduce kinds[] = {CELL_SUM, CELL_REDUCE_MAX, CELL_REDUCE_MAX, CELL_ARGMAX};
  int32_t shape[CELL_MAX_RANK + 1];
  int rank = cell_view_shape(c, v, shape);
  bool over = cell_over_actions(c, v);
  uint8_t dims = 0;
  uint32_t axes = 0;
  if (over && axis == 0)
    axes = CELL_AXIS(CELL_AXIS_CANDIDATE);
  else
    dims = (uint8_t)(1u << (axis - over));
  if (kind == R_MIN) v = cell_op1(g, CELL_OP_NEG, v);
  CellValue r = cell_reduce(g, kinds[kind], v, dims, axes);
  if (kind == R_MIN) r = cell_op1(g, CELL_OP_NEG, r);
  if (!keep) return r;
  shape[axis] = 1;
  int first = over && axis != 0; /* the axis of the actions stays one */
  return cell_reshape(g, r, rank - first, shape + first);
}

CellDatum cell_reduced(const CellContext *c, const CellExpr *expr, const char *name, CellDatum a,
                       CellDatum axis, bool keep) {
  Reduction kind = name[0] == 's'   ? R_SUM
                   : name[0] == 'a' ? R_ARGMAX
                   : name[1] == 'a' ? R_MAX
                                    : R_MIN;
  int at;
  if (a.kind == CELL_IS_LIST) {
    if (!cell_want_axis(c, axis, expr->span, a, &at)) return CELL_FAILED;
    return reduce_list(c, expr, name, kind, a, at, keep);
  }
  CellDatum d;
  if (!cell_want_tensor(c, a, expr->span, &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  if (!cell_want_axis(c, axis, expr->span, d, &at)) return CELL_FAILED;
  if (keep && cell_over_actions(c, d.tensor) && at == 0 &&
      cell_node(cell_graph_of(c), d.tensor)->rank == CELL_MAX_RANK) {
    cell_complain(c, "E0307", expr->span, "a value has at most %d axes", CELL_MAX_RANK);
    return CELL_FAILED;
  }
  return cell_tensor(reduce_value(c, kind, d.tensor, at, keep));
}

/* ---- indexing ---- */

/* an index that the compiler knows, as a value: the IR has no constant indices */
static CellValue constant_index(CellGraph *g, int32_t number, int32_t size) {
  CellValue hit = cell_op2(g, CELL_OP_EQ, cell_range(g, size), cell_const(g, number));
  return cell_reduce(g, CELL_ARGMAX, hit, 1, 0);
}

static bool bound_of(const CellContext *c, const CellExpr *expr, int32_t size, const char *what,
                     int32_t *number) {
  if (!expr) return true;
  if (!cell_want_whole(c, cell_evaluate(c, expr), expr->span, what, number)) return false;
  if (*number >= 0 && *number <= size) return true;
  cell_complain(c, "E0310", expr->span, "%s %d is outside of 0 to %d", what, (int)*number,
                (int)size);
  return false;
}

static bool slice_bounds(const CellContext *c, const CellIndex *at, int32_t size, int32_t *first,
                         int32_t *last) {
  *first = 0;
  *last = size;
  if (!bound_of(c, at->first, size, "the first index", first)) return false;
  if (!bound_of(c, at->last, size, "the end", last)) return false;
  if (*first < *last) return true;
  cell_complain(c, "E0310", at->span, "%d:%d is empty", (int)*first, (int)*last);
  return false;
}

static CellDatum index_list(const CellContext *c, const CellExpr *expr, CellDatum list) {
  const CellIndexList *at = &expr->index.at;
  if (at->count != 1) {
    cell_complain(c, "E0310", expr->op, "a list has one index, and there are %d", at->count);
    return CELL_FAILED;
  }
  int32_t first, last;
  if (at->items[0].slice) {
    if (!slice_bounds(c, &at->items[0], list.list.count, &first, &last)) return CELL_FAILED;
    CellDatum d = {.kind = CELL_IS_LIST};
    d.list.items = list.list.items + first;
    d.list.count = last - first;
    return d;
  }
  CellDatum index = cell_evaluate(c, at->items[0].first);
  if (!cell_want_whole(c, index, at->items[0].span, "an index", &first)) return CELL_FAILED;
  if (first < 0 || first >= list.list.count) {
    cell_complain(c, "E0310", at->items[0].span, "there is no item %d in a list of %d", (int)first,
                  list.list.count);
    return CELL_FAILED;
  }
  return list.list.items[first];
}

/* one entry of dimension `dim`, or of the actions with dim -1 */
static bool pick(const CellContext *c, const CellIndex *at, CellValue *v, int dim, int32_t size) {
  CellGraph *g = cell_graph_of(c);
  CellDatum index = cell_evaluate(c, at->first);
  if (index.kind == CELL_IS_ERROR) return false;
  if (index.kind == CELL_IS_TENSOR && cell_node(g, index.tensor)->dtype == CELL_I &&
      cell_node(g, index.tensor)->rank == 0) {
    if (dim < 0)
      *v = cell_take_axis(g, *v, CELL_AXIS_CANDIDATE, index.tensor);
    else
      *v = cell_take_dim(g, *v, dim, index.tensor);
    return true;
  }
  if (index.kind == CELL_IS_TENSOR) {
    CellRecord *r = cell_complain(c, "E0310", at->span,
                                  "an index is a whole number, and this is a "
                                  "tensor (%s)",
                                  cell_describe(c, index));
    cell_help(c->elab->diag, r, "`argmax` gives an index, and so does `taken` in a rule");
    return false;
  }
  int32_t number;
  if (!cell_want_whole(c, index, at->span, "an index", &number)) return false;
  if (number < 0 || number >= size) {
    cell_complain(c, "E0310", at->span, "there is no entry %d: this axis has %d", (int)number,
                  (int)size);
    return false;
  }
  if (dim < 0) {
    *v = cell_take_axis(g, *v, CELL_AXIS_CANDIDATE, constant_index(g, number, size));
    return true;
  }
  CellValue one = cell_slice(g, *v, dim, number, number + 1);
  const CellNode *n = cell_node(g, one);
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < n->rank; i++)
    if (i != dim) shape[rank++] = n->shape[i];
  *v = cell_reshape(g, one, rank, shape);
  return true;
}

CellDatum cell_indexed(const CellContext *c, const CellExpr *expr, CellDatum a) {
  if (a.kind == CELL_IS_LIST) return index_list(c, expr, a);
  CellDatum d = a;
  bool index = a.kind == CELL_IS_TENSOR && cell_node(cell_graph_of(c), a.tensor)->dtype == CELL_I;
  if (!index && !cell_want_tensor(c, a, expr->index.object->span, &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  CellGraph *g = cell_graph_of(c);
  const CellIndexList *at = &expr->index.at;
  int32_t shape[CELL_MAX_RANK + 1];
  int rank = cell_view_shape(c, d.tensor, shape);
  if (at->count > rank) {
    CellRecord *r = cell_complain(c, "E0310", expr->op, "%s has no axis to index with %d place%s",
                                  cell_describe(c, d), at->count, at->count == 1 ? "" : "s");
    cell_explain_operand(c, r, expr->index.object, d);
    return CELL_FAILED;
  }
  CellValue v = d.tensor;
  int dim = cell_over_actions(c, v) ? -1 : 0; /* the dimension that the place is for */
  for (int i = 0; i < at->count; i++) {
    const CellIndex *place = &at->items[i];
    int32_t size = shape[i], first, last;
    if (!place->slice) {
      if (!pick(c, place, &v, dim, size)) return CELL_FAILED;
      if (dim < 0) dim = 0;
      continue;
    }
    if (!slice_bounds(c, place, size, &first, &last)) return CELL_FAILED;
    if (dim < 0 && (first > 0 || last < size)) {
      cell_not_supported(c, "E0911", place->span, "a range of the actions");
      return CELL_FAILED;
    }
    if (dim >= 0) v = cell_slice(g, v, dim, first, last);
    dim++;
  }
  return cell_tensor(v);
}
