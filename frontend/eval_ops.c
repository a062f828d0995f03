/* eval_ops.c - the operations that the compiler knows (language.md section 4): one row each. */
#include <math.h>
#include <string.h>

#include "frontend/value.h"

static CellSpan span_of(const CellArguments *args, int which) {
  return args->exprs[which] ? args->exprs[which]->span : args->call->span;
}

/* an option that may be left out */
static bool option_truth(const CellContext *c, const CellArguments *args, int which, bool otherwise,
                         bool *truth) {
  *truth = otherwise;
  return !args->exprs[which] ||
         cell_want_truth(c, args->values[which], span_of(args, which), truth);
}

/* ---- elementwise ---- */

#define UNARY(name, op)                                                                            \
  static CellDatum apply_##name(const CellContext *c, const CellArguments *args) {                 \
    return cell_unary(c, op, args->values[0], span_of(args, 0));                                   \
  }
UNARY(exp, CELL_OP_EXP)
UNARY(log, CELL_OP_LOG)
UNARY(sqrt, CELL_OP_SQRT)
UNARY(tanh, CELL_OP_TANH)
UNARY(sigmoid, CELL_OP_SIGMOID)
UNARY(relu, CELL_OP_RELU)
UNARY(abs, CELL_OP_ABS)
UNARY(sign, CELL_OP_SIGN)
UNARY(sin, CELL_OP_SIN)
UNARY(cos, CELL_OP_COS)
UNARY(floor, CELL_OP_FLOOR)
#undef UNARY

static CellDatum apply_where(const CellContext *c, const CellArguments *args) {
  return cell_elementwise(c, args->call, CELL_OP_WHERE, 3, args->values, args->exprs);
}

/* max(a, b, ...) entry by entry; max(x, axis = 0) reduces */
static CellDatum extreme(const CellContext *c, const CellArguments *args, const char *name,
                         CellOp op) {
  if (args->rest_count == 1) {
    bool keep;
    if (!option_truth(c, args, 1, false, &keep)) return CELL_FAILED;
    CellDatum axis = args->exprs[0] ? args->values[0] : CELL_FAILED;
    return cell_reduced(c, args->call, name, args->rest[0], axis, keep);
  }
  if (args->exprs[0] || args->exprs[1]) {
    CellRecord *r =
        cell_complain(c, "E0205", args->call->span,
                      "`%s` of several values goes entry by entry and has no axis", name);
    cell_help(c->elab->diag, r, "`%s(x, axis = 0)` reduces one value", name);
    return CELL_FAILED;
  }
  CellDatum d = args->rest[0];
  for (int i = 1; i < args->rest_count; i++) {
    CellDatum pair[2] = {d, args->rest[i]};
    const CellExpr *exprs[2] = {args->rest_exprs[i - 1], args->rest_exprs[i]};
    d = cell_elementwise(c, args->call, op, 2, pair, exprs);
  }
  return d;
}

static CellDatum apply_max(const CellContext *c, const CellArguments *args) {
  return extreme(c, args, "max", CELL_OP_MAX);
}

static CellDatum apply_min(const CellContext *c, const CellArguments *args) {
  return extreme(c, args, "min", CELL_OP_MIN);
}

/* ---- reductions ---- */

static CellDatum reduction(const CellContext *c, const CellArguments *args, const char *name) {
  bool keep;
  if (!option_truth(c, args, 2, false, &keep)) return CELL_FAILED;
  CellDatum axis = args->exprs[1] ? args->values[1] : CELL_FAILED;
  return cell_reduced(c, args->call, name, args->values[0], axis, keep);
}

static CellDatum apply_sum(const CellContext *c, const CellArguments *args) {
  return reduction(c, args, "sum");
}

static CellDatum apply_argmax(const CellContext *c, const CellArguments *args) {
  return reduction(c, args, "argmax");
}

static CellDatum apply_size(const CellContext *c, const CellArguments *args) {
  CellDatum d = args->values[0];
  int axis;
  CellDatum number = args->exprs[1] ? args->values[1] : CELL_FAILED;
  if (d.kind == CELL_IS_LIST) {
    if (!cell_want_axis(c, number, span_of(args, 1), d, &axis)) return CELL_FAILED;
    if (axis == 0) return cell_number(d.list.count);
    d = d.list.items[0];
    number = cell_number(axis - 1);
  }
  if (!cell_want_tensor(c, d, span_of(args, 0), &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  if (!cell_want_axis(c, number, span_of(args, 1), d, &axis)) return CELL_FAILED;
  int32_t shape[CELL_MAX_RANK + 1];
  cell_view_shape(c, d.tensor, shape);
  return cell_number(shape[axis]);
}

/* the number of axes, known to the compiler */
static CellDatum apply_rank(const CellContext *c, const CellArguments *args) {
  CellDatum d = args->values[0];
  if (!cell_want_tensor(c, d, span_of(args, 0), &d)) return CELL_FAILED;
  int32_t shape[CELL_MAX_RANK + 1];
  return d.kind == CELL_IS_UNKNOWN ? d : cell_number(cell_view_shape(c, d.tensor, shape));
}

/* ---- views ---- */

/* how many items there are in lists of lists, up to `most` */
static int count_items(CellDatum d, int most) {
  if (d.kind != CELL_IS_LIST) return 1;
  int count = 0;
  for (int i = 0; i < d.list.count && count < most; i++)
    count += count_items(d.list.items[i], most - count);
  return count;
}

/* lists count as their items; unconnected ports vanish */
static bool collect(const CellContext *c, CellDatum d, const CellExpr *expr, CellDatum *items,
                    const CellExpr **exprs, int *count, int room) {
  if (d.kind == CELL_IS_ABSENT || d.kind == CELL_IS_NONE) return true;
  if (d.kind == CELL_IS_LIST) {
    for (int i = 0; i < d.list.count; i++)
      if (!collect(c, d.list.items[i], expr, items, exprs, count, room)) return false;
    return true;
  }
  if (*count == room) {
    cell_complain(c, "E0308", expr->span, "too many parts");
    return false;
  }
  items[*count] = d;
  exprs[(*count)++] = expr;
  return true;
}

/* the action's axis of a rule is no dimension that could be joined */
static bool no_candidates(const CellContext *c, CellValue v, CellSpan span, const char *name) {
  if (!cell_over_actions(c, v)) return true;
  cell_not_supported(c, "E0911", span,
                     cell_arena_printf(c->elab->arena, "%s over the actions in a rule", name));
  return false;
}

static CellDatum apply_concat(const CellContext *c, const CellArguments *args) {
  enum { MOST = 4096 };
  CellArena *arena = c->elab->arena;
  int room = 0, count = 0;
  for (int i = 0; i < args->rest_count && room < MOST; i++)
    room += count_items(args->rest[i], MOST - room);
  CellDatum *items = CELL_NEW_ARRAY(arena, CellDatum, room);
  const CellExpr **exprs = CELL_NEW_ARRAY(arena, const CellExpr *, room);
  for (int i = 0; i < args->rest_count; i++)
    if (!collect(c, args->rest[i], args->rest_exprs[i], items, exprs, &count, room))
      return CELL_FAILED;
  if (count == 0) {
    cell_complain(c, "E0305", args->call->span, "nothing is left to join: no port is connected");
    return CELL_FAILED;
  }
  bool flat = !args->exprs[0], unknown = false;
  CellGraph *g = c->stage ? cell_graph_of(c) : NULL;
  CellValue *values = CELL_NEW_ARRAY(arena, CellValue, count);
  for (int i = 0; i < count; i++) {
    CellDatum d;
    if (flat)
      d = cell_flat(c, items[i], exprs[i]->span);
    else if (!cell_want_tensor(c, items[i], exprs[i]->span, &d))
      return CELL_FAILED;
    if (d.kind == CELL_IS_ERROR) return CELL_FAILED;
    unknown = unknown || d.kind == CELL_IS_UNKNOWN;
    if (d.kind == CELL_IS_TENSOR && !no_candidates(c, d.tensor, exprs[i]->span, "concat"))
      return CELL_FAILED;
    values[i] = d.tensor;
    items[i] = d;
  }
  if (unknown) return cell_datum(CELL_IS_UNKNOWN);
  int axis = 0;
  if (!flat && !cell_want_axis(c, args->values[0], span_of(args, 0), items[0], &axis))
    return CELL_FAILED;

  /* all sizes but the joined one agree */
  const CellNode *first = cell_node(g, values[0]);
  int64_t size = first->shape[axis];
  for (int i = 1; i < count; i++) {
    const CellNode *n = cell_node(g, values[i]);
    bool fits = n->rank == first->rank;
    for (int d = 0; d < first->rank && fits; d++)
      fits = d == axis || n->shape[d] == first->shape[d];
    if (!fits) {
      CellRecord *r =
          cell_complain(c, "E0305", args->call->span, "cannot join %s and %s along axis %d",
                        cell_describe(c, items[0]), cell_describe(c, items[i]), axis);
      cell_explain_operand(c, r, exprs[0], items[0]);
      cell_explain_operand(c, r, exprs[i], items[i]);
      return CELL_FAILED;
    }
    size += n->shape[axis];
  }
  int32_t shape[CELL_MAX_RANK];
  memcpy(shape, first->shape, sizeof shape);
  shape[axis] = size > INT32_MAX ? INT32_MAX : (int32_t)size;
  if (!cell_size_ok(c, args->call->span, first->rank, shape)) return CELL_FAILED;
  return cell_tensor(cell_concat(g, count, values, axis));
}

static CellDatum apply_reshape(const CellContext *c, const CellArguments *args) {
  CellDatum d;
  int rank;
  int32_t shape[CELL_MAX_RANK];
  if (!cell_want_tensor(c, args->values[0], span_of(args, 0), &d)) return CELL_FAILED;
  if (!cell_want_shape(c, args->values[1], span_of(args, 1), &rank, shape)) return CELL_FAILED;
  if (!cell_size_ok(c, span_of(args, 1), rank, shape)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) {
    /* the shape is known all the same: any value of it will do */
    CellValue zero = cell_const(cell_graph_of(c), 0);
    return cell_tensor(cell_broadcast(cell_graph_of(c), zero, rank, shape, NULL));
  }
  if (!no_candidates(c, d.tensor, span_of(args, 0), "reshape")) return CELL_FAILED;
  int64_t entries = 1, has = cell_count(cell_graph_of(c), d.tensor);
  for (int i = 0; i < rank; i++) entries *= shape[i];
  if (entries != has) {
    CellRecord *r =
        cell_complain(c, "E0304", args->call->span, "cannot reshape %s into %s",
                      cell_describe(c, d), cell_shape_text(c->elab->arena, rank, shape));
    cell_explain_operand(c, r, args->exprs[0], d);
    cell_help(c->elab->diag, r, "%lld entries into %lld", (long long)has, (long long)entries);
    return CELL_FAILED;
  }
  return cell_tensor(cell_reshape(cell_graph_of(c), d.tensor, rank, shape));
}

static CellDatum apply_flatten(const CellContext *c, const CellArguments *args) {
  if (args->values[0].kind == CELL_IS_TENSOR &&
      !no_candidates(c, args->values[0].tensor, span_of(args, 0), "flatten"))
    return CELL_FAILED;
  return cell_flat(c, args->values[0], span_of(args, 0));
}

/* ---- constants ---- */

static CellDatum apply_constant(const CellContext *c, const CellArguments *args) {
  int rank;
  int32_t shape[CELL_MAX_RANK];
  double value;
  if (!cell_want_shape(c, args->values[0], span_of(args, 0), &rank, shape)) return CELL_FAILED;
  if (!cell_want_number(c, args->values[1], span_of(args, 1), "the value", &value))
    return CELL_FAILED;
  if (!cell_size_ok(c, span_of(args, 0), rank, shape)) return CELL_FAILED;
  CellDatum d;
  if (!cell_want_tensor(c, cell_number(value), args->call->span, &d)) return CELL_FAILED;
  return cell_tensor(cell_broadcast(cell_graph_of(c), d.tensor, rank, shape, NULL));
}

static CellDatum apply_range(const CellContext *c, const CellArguments *args) {
  int32_t size;
  CellDatum d;
  if (!cell_want_whole(c, args->values[0], span_of(args, 0), "a size", &size)) return CELL_FAILED;
  if (size < 1) {
    cell_complain(c, "E0307", span_of(args, 0), "a size must be at least 1, and this is %d",
                  (int)size);
    return CELL_FAILED;
  }
  if (!cell_size_ok(c, span_of(args, 0), 1, &size)) return CELL_FAILED;
  if (!cell_want_tensor(c, cell_number(0), args->call->span, &d)) return CELL_FAILED;
  return cell_tensor(cell_range(cell_graph_of(c), size));
}

static CellDatum apply_one_hot(const CellContext *c, const CellArguments *args) {
  int32_t size;
  if (!cell_want_whole(c, args->values[1], span_of(args, 1), "a size", &size)) return CELL_FAILED;
  if (size < 1 || !cell_size_ok(c, span_of(args, 1), 1, &size)) {
    if (size < 1) cell_complain(c, "E0307", span_of(args, 1), "a size must be at least 1");
    return CELL_FAILED;
  }
  CellDatum d = args->values[0];
  CellGraph *g = c->stage ? cell_graph_of(c) : NULL;
  if (d.kind == CELL_IS_TENSOR && cell_node(g, d.tensor)->dtype == CELL_I)
    return cell_tensor(cell_one_hot(g, d.tensor, size));
  /* any other scalar: 1 where it is equal */
  if (!cell_want_tensor(c, d, span_of(args, 0), &d)) return CELL_FAILED;
  if (d.kind == CELL_IS_UNKNOWN) return d;
  g = cell_graph_of(c);
  if (cell_node(g, d.tensor)->rank != 0) {
    cell_complain(c, "E0306", span_of(args, 0), "an index is a scalar, and this is %s",
                  cell_describe(c, d));
    return CELL_FAILED;
  }
  return cell_tensor(cell_op2(g, CELL_OP_EQ, cell_range(g, size), d.tensor));
}

static CellDatum apply_stop_gradient(const CellContext *c, const CellArguments *args) {
  CellDatum d = args->values[0];
  if (d.kind == CELL_IS_NUMBER || d.kind == CELL_IS_BOOL || d.kind == CELL_IS_LIST)
    return cell_stop(c, d);
  if (!cell_want_tensor(c, d, span_of(args, 0), &d)) return CELL_FAILED;
  return cell_stop(c, d);
}

/* ---- parameters ---- */

/* how a parameter starts: a value that was made by a call, or the bare name with its default */
static bool want_init(const CellContext *c, CellDatum d, CellSpan span, CellDatum *init) {
  static const struct {
    const char *name;
    CellInitKind kind;
    double arg;
  } kinds[] = {{"zeros", CELL_INIT_ZEROS, 0},    {"ones", CELL_INIT_ONES, 0},
               {"lecun", CELL_INIT_LECUN, 0},    {"torch", CELL_INIT_TORCH, 0},
               {"normal", CELL_INIT_NORMAL, 1},  {"orthogonal", CELL_INIT_ORTHOGONAL, 1},
               {"uniform", CELL_INIT_UNIFORM, 1}};
  if (d.kind == CELL_IS_INIT) {
    *init = d;
    return true;
  }
  if (d.kind == CELL_IS_FUNCTION && d.function.builtin)
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
      if (strcmp(kinds[i].name, d.function.name) == 0) {
        *init = (CellDatum){.kind = CELL_IS_INIT};
        init->init.kind = kinds[i].kind;
        init->init.arg = kinds[i].arg;
        return true;
      }
  if (d.kind == CELL_IS_ERROR) return false;
  CellRecord *r = cell_complain(
      c, "E0306", span, "an initialisation is wanted here, and this is %s", cell_describe(c, d));
  cell_help(c->elab->diag, r,
            "one of zeros, ones, lecun, torch, orthogonal(gain), normal(std), "
            "uniform(a)");
  return false;
}

static CellDatum init_of(CellInitKind kind) {
  CellDatum d = {.kind = CELL_IS_INIT};
  d.init.kind = kind;
  return d;
}

/* normal(0.1): in cells an initialisation, in rules a draw */
static CellDatum init_call(const CellContext *c, const CellArguments *args, CellInitKind kind,
                           double otherwise) {
  if (c->where == CELL_IN_RULE) {
    cell_not_supported(c, "E0905", args->call->span, "random draws in rules");
    return CELL_FAILED;
  }
  CellDatum d = init_of(kind);
  d.init.arg = otherwise;
  if (args->exprs[0] &&
      !cell_want_number(c, args->values[0], span_of(args, 0), "its size", &d.init.arg))
    return CELL_FAILED;
  return d;
}

static CellDatum apply_normal(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_NORMAL, 1);
}

static CellDatum apply_uniform(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_UNIFORM, 1);
}

static CellDatum apply_orthogonal(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_ORTHOGONAL, 1);
}

static CellDatum apply_zeros(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_ZEROS, 0);
}

static CellDatum apply_ones(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_ONES, 0);
}

static CellDatum apply_lecun(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_LECUN, 0);
}

static CellDatum apply_torch(const CellContext *c, const CellArguments *args) {
  return init_call(c, args, CELL_INIT_TORCH, 0);
}

static const CellParam *find_parameter(const CellModule *m, const char *name) {
  for (int i = 0; i < m->param_count; i++)
    if (strcmp(m->params[i].name, name) == 0) return &m->params[i];
  return NULL;
}

/* The input of the parameter at this stage; the parameter is made when it is met first. Instances of
 * the cell at other times find it by its name. */
CellDatum cell_make_parameter(const CellContext *c, CellSpan span, const char *name, int rank,
                              const int32_t *shape, CellDatum init) {
  CellElab *elab = c->elab;
  int64_t entries = 1;
  for (int i = 0; i < rank; i++) {
    entries *= shape[i];
    if (entries <= CELL_MAX_PARAMETER) continue;
    CellRecord *r = cell_complain(c, "E0308", span, "a parameter of shape %s is too large",
                                  cell_shape_text(elab->arena, rank, shape));
    cell_help(elab->diag, r, "a parameter may have %lld entries", (long long)CELL_MAX_PARAMETER);
    return CELL_FAILED;
  }
  if (!elab->loose) {
    CellModule *m = elab->module;
    const CellParam *old = find_parameter(m, name);
    bool same =
        old && old->rank == rank && memcmp(old->shape, shape, (size_t)rank * sizeof *shape) == 0;
    if (old && (!same || old->span.begin != span.begin || old->span.file != span.file)) {
      CellRecord *r =
          cell_complain(c, "E0409", span, "a second parameter would be called `%s`", name);
      cell_point(c, r, old->span, "the first one");
      return CELL_FAILED;
    }
    if (!old) {
      elab->parameters += entries;
      if (elab->parameters > CELL_MAX_PARAMETERS) {
        cell_complain(c, "E0308", span, "the network has more than %lld parameters",
                      (long long)CELL_MAX_PARAMETERS);
        return CELL_FAILED;
      }
      CellParam p = {.name = name, .group = cell_group(elab, c->cell), .rank = (int8_t)rank};
      memcpy(p.shape, shape, (size_t)rank * sizeof *shape);
      p.init = init.init.kind;
      p.init_arg = init.init.arg;
      p.span = span;
      CELL_PUSH(elab->arena, m->params, m->param_count, m->param_capacity, p);
    }
  }
  const char *input = cell_arena_printf(elab->arena, "%s/%s", c->stage->parameters, name);
  return cell_tensor(cell_input(cell_graph_of(c), input, CELL_F, rank, shape, 0));
}

/* whether parameters may be made here */
static bool may_learn(const CellContext *c, const CellArguments *args, const char *name) {
  if (c->scope && c->stage) return true;
  if (c->where == CELL_IN_PORT)
    cell_complain(c, "E0409", args->call->span, "`%s` makes parameters, and a port may not", name);
  else if (c->where == CELL_IN_RULE)
    cell_complain(c, "E0409", args->call->span, "`%s` makes parameters, and a rule may not", name);
  else
    cell_complain(c, "E0409", args->call->span, "`%s` makes parameters, which belong into cells",
                  name);
  return false;
}

static CellDatum apply_parameter(const CellContext *c, const CellArguments *args) {
  int rank;
  int32_t shape[CELL_MAX_RANK];
  CellDatum init = init_of(CELL_INIT_ZEROS);
  if (!may_learn(c, args, "parameter")) return CELL_FAILED;
  if (!cell_want_shape(c, args->values[0], span_of(args, 0), &rank, shape)) return CELL_FAILED;
  if (args->exprs[1] && !want_init(c, args->values[1], span_of(args, 1), &init)) return CELL_FAILED;
  return cell_make_parameter(c, args->call->span, cell_scope_next(c->elab, c->scope, ""), rank,
                             shape, init);
}

/* one weight row for each of n results: y_i = sum_j W_ij x_j, along the last axis */
static CellDatum linear_rows(const CellContext *c, CellValue weight, CellValue x) {
  static const char *const labels[] = {"", "ij,j->i", "ij,aj->ai", "ij,abj->abi", "ij,abcj->abci"};
  CellGraph *g = cell_graph_of(c);
  return cell_tensor(cell_contract(g, weight, x, labels[cell_node(g, x)->rank], 0));
}

static CellDatum apply_linear(const CellContext *c, const CellArguments *args) {
  enum { X, N, BIAS, INIT, BIAS_INIT, AXIS };
  int32_t n;
  bool bias;
  CellDatum init = init_of(CELL_INIT_LECUN), bias_init = init_of(CELL_INIT_ZEROS), x;
  if (!may_learn(c, args, "linear")) return CELL_FAILED;
  if (!cell_want_whole(c, args->values[N], span_of(args, N), "a width", &n)) return CELL_FAILED;
  if (n < 1) {
    cell_complain(c, "E0307", span_of(args, N), "a width must be at least 1, and this is %d",
                  (int)n);
    return CELL_FAILED;
  }
  if (!cell_size_ok(c, span_of(args, N), 1, &n)) return CELL_FAILED;
  if (!option_truth(c, args, BIAS, true, &bias)) return CELL_FAILED;
  if (args->exprs[INIT] && !want_init(c, args->values[INIT], span_of(args, INIT), &init))
    return CELL_FAILED;
  if (args->exprs[BIAS_INIT] &&
      !want_init(c, args->values[BIAS_INIT], span_of(args, BIAS_INIT), &bias_init))
    return CELL_FAILED;
  if (args->exprs[AXIS]) {
    int axis;
    if (!cell_want_tensor(c, args->values[X], span_of(args, X), &x)) return CELL_FAILED;
    if (x.kind == CELL_IS_TENSOR &&
        !cell_want_axis(c, args->values[AXIS], span_of(args, AXIS), x, &axis))
      return CELL_FAILED;
    if (x.kind == CELL_IS_TENSOR && axis != cell_node(cell_graph_of(c), x.tensor)->rank - 1) {
      cell_not_supported(c, "E0913", span_of(args, AXIS), "linear along an axis but the last");
      return CELL_FAILED;
    }
    if (x.kind == CELL_IS_UNKNOWN) return x;
  } else {
    x = cell_flat(c, args->values[X], span_of(args, X));
    if (x.kind == CELL_IS_ERROR) return CELL_FAILED;
  }
  CellGraph *g = cell_graph_of(c);
  const char *name = cell_scope_next(c->elab, c->scope, "linear");
  CellDatum y;
  if (x.kind == CELL_IS_UNKNOWN) {
    /* the result's shape does not depend on what is being looked for; its columns come later */
    y = cell_tensor(cell_broadcast(g, cell_const(g, 0), 1, &n, NULL));
  } else {
    const CellNode *node = cell_node(g, x.tensor);
    int32_t result[CELL_MAX_RANK], shape[2] = {n, node->shape[node->rank - 1]};
    memcpy(result, node->shape, sizeof result);
    result[node->rank - 1] = n;
    int rank = node->rank;
    if (!cell_size_ok(c, args->call->span, rank, result)) return CELL_FAILED;
    CellDatum weight = cell_make_parameter(
        c, args->call->span, cell_arena_printf(c->elab->arena, "%s/weight", name), 2, shape, init);
    if (weight.kind == CELL_IS_ERROR) return CELL_FAILED;
    y = linear_rows(c, weight.tensor, x.tensor);
  }
  if (!bias) return y;
  CellDatum b = cell_make_parameter(
      c, args->call->span, cell_arena_printf(c->elab->arena, "%s/bias", name), 1, &n, bias_init);
  if (b.kind == CELL_IS_ERROR) return CELL_FAILED;
  const CellNode *node = cell_node(g, y.tensor);
  int8_t last = (int8_t)(node->rank - 1);
  CellValue wide = cell_broadcast(g, b.tensor, node->rank, node->shape, &last);
  return cell_tensor(cell_op2(g, CELL_OP_ADD, y.tensor, wide));
}

static CellDatum apply_conv2d(const CellContext *c, const CellArguments *args) {
  cell_not_supported(c, "E0902", args->call->span, "conv2d");
  return CELL_FAILED;
}

/* ---- rules ---- */

static bool in_update(const CellContext *c, const CellArguments *args, const char *name) {
  if (c->where == CELL_IN_RULE && c->trace && c->trace->taken != CELL_NONE) return true;
  cell_complain(c, "E0504", args->call->span, "`%s` belongs into learning rules", name);
  return false;
}

/* with n_step = 1 the reward of the one step */
static CellDatum apply_returns(const CellContext *c, const CellArguments *args) {
  double gamma;
  if (!in_update(c, args, "returns")) return CELL_FAILED;
  if (!cell_want_number(c, args->values[0], span_of(args, 0), "gamma", &gamma)) return CELL_FAILED;
  return cell_tensor(c->trace->reward);
}

/* gamma, or 0 where the episode terminated */
static CellDatum apply_discount(const CellContext *c, const CellArguments *args) {
  double gamma;
  if (!in_update(c, args, "discount")) return CELL_FAILED;
  if (!cell_want_number(c, args->values[0], span_of(args, 0), "gamma", &gamma)) return CELL_FAILED;
  CellGraph *g = c->trace->g;
  CellValue alive = cell_op2(g, CELL_OP_SUB, cell_const(g, 1), c->trace->terminated);
  return cell_tensor(cell_op2(g, CELL_OP_MUL, alive, cell_const(g, gamma)));
}

/* ---- the table ---- */

static const CellBuiltin builtins[] = {
    {"abs", "x", 1, 1, apply_abs, "|x|"},
    {"argmax", "x; axis keep", 1, 1, apply_argmax, "index of the largest entry, the lower on ties"},
    {"concat", "; axis", 1, -1, apply_concat, "side by side: flattened, or along an axis"},
    {"constant", "shape value", 2, 2, apply_constant, "one number everywhere"},
    {"conv2d", "x channels kernel; stride padding bias init", 3, 3, apply_conv2d,
     "two-dimensional convolution"},
    {"cos", "x", 1, 1, apply_cos, "cosine"},
    {"discount", "gamma", 1, 1, apply_discount, "gamma, or 0 where the episode terminated"},
    {"exp", "x", 1, 1, apply_exp, "e^x"},
    {"flatten", "x", 1, 1, apply_flatten, "a vector of all entries, row-major"},
    {"floor", "x", 1, 1, apply_floor, "largest whole number not above x"},
    {"lecun", "", 0, 0, apply_lecun, "truncated normal, variance 1 / fan-in"},
    {"linear", "x n; bias init bias_init axis", 2, 2, apply_linear,
     "W x + b: all entries of x, or its last axis with axis = -1"},
    {"log", "x", 1, 1, apply_log, "natural logarithm"},
    {"max", "; axis keep", 1, -1, apply_max, "max(a, b) entry by entry; max(x, axis = 0) reduces"},
    {"min", "; axis keep", 1, -1, apply_min, "min(a, b) entry by entry; min(x, axis = 0) reduces"},
    {"normal", "std", 0, 1, apply_normal, "normal with this standard deviation"},
    {"one_hot", "i n", 2, 2, apply_one_hot, "[n], 1 at the index"},
    {"ones", "", 0, 0, apply_ones, "1 everywhere"},
    {"orthogonal", "gain", 0, 1, apply_orthogonal, "orthogonal rows or columns, times gain"},
    {"parameter", "shape init", 1, 2, apply_parameter, "a tensor that is learned"},
    {"range", "n", 1, 1, apply_range, "0, 1, ... n-1"},
    {"rank", "x", 1, 1, apply_rank, "number of axes: 0 for a scalar"},
    {"relu", "x", 1, 1, apply_relu, "max(x, 0)"},
    {"reshape", "x shape", 2, 2, apply_reshape, "the same entries, row-major, in another shape"},
    {"returns", "gamma", 1, 1, apply_returns, "the discounted reward up to next"},
    {"sigmoid", "x", 1, 1, apply_sigmoid, "1 / (1 + e^-x)"},
    {"sign", "x", 1, 1, apply_sign, "-1, 0 or 1"},
    {"sin", "x", 1, 1, apply_sin, "sine"},
    {"size", "x; axis", 1, 1, apply_size, "the last axis, or the one given"},
    {"sqrt", "x", 1, 1, apply_sqrt, "square root"},
    {"stop_gradient", "x", 1, 1, apply_stop_gradient, "x as a constant"},
    {"sum", "x; axis keep", 1, 1, apply_sum, "sum over an axis"},
    {"tanh", "x", 1, 1, apply_tanh, "hyperbolic tangent"},
    {"torch", "", 0, 0, apply_torch, "uniform in +-1 / sqrt(fan-in)"},
    {"uniform", "a", 0, 1, apply_uniform, "uniform in +-a"},
    {"where", "condition a b", 3, 3, apply_where, "a where the condition is not 0, else b"},
    {"zeros", "", 0, 0, apply_zeros, "0 everywhere"},
};
enum { BUILTINS = sizeof builtins / sizeof builtins[0] };

const CellBuiltin *cell_find_builtin(const char *name) {
  for (int i = 0; i < BUILTINS; i++)
    if (strcmp(builtins[i].name, name) == 0) return &builtins[i];
  return NULL;
}

const char *cell_builtin_name(int which) {
  return which < BUILTINS ? builtins[which].name : NULL;
}
