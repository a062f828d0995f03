/* eval_expr.c - the meaning of expressions: names, constants, lists, members, coercions. */
#include <math.h>
#include <string.h>

#include "frontend/value.h"

/* ---- names ---- */

void cell_bind(CellElab *elab, CellFrame *frame, const char *name, CellDatum value, CellSpan span) {
  CellBinding *b = CELL_NEW(elab->arena, CellBinding);
  *b = (CellBinding){.name = name, .value = value, .span = span, .older = frame->bindings};
  frame->bindings = b;
}

static CellSpan value_span(const CellStmt *stmt) {
  return stmt->value ? stmt->value->span : stmt->span;
}

/* a name of a cell's body: a statement that stands before, a port, an argument */
static bool find_in_body(const CellFrame *frame, const char *name, CellSpan use, CellDatum *value,
                         CellSpan *span) {
  CellInstance *in = frame->instance;
  CellElab *elab = in->stage->elab;
  const CellPlaced *placed = &elab->cells[in->cell];
  const CellItem *cell = placed->cell;
  for (int i = frame->visible - 1; i >= 0; i--) {
    const CellStmt *stmt = cell->body.items[i];
    if (stmt->kind != CELL_STMT_BIND || strcmp(stmt->name.text, name) != 0) continue;
    *value = cell_statement_value(in, i);
    *span = value_span(stmt);
    return true;
  }
  for (int i = 0; i < cell->ports.count; i++) {
    if (strcmp(cell->ports.items[i].name.text, name) != 0) continue;
    *value = cell_port_value(in, i, use);
    *span = placed->links[i] ? placed->links[i]->span : cell->ports.items[i].span;
    return true;
  }
  for (int i = 0; i < cell->params.count; i++) {
    if (strcmp(cell->params.items[i].name.text, name) != 0) continue;
    *value = placed->args[i];
    *span = cell->params.items[i].span;
    return true;
  }
  return false;
}

static bool find_in_frames(const CellContext *c, const char *name, CellSpan use, CellDatum *value,
                           CellSpan *span) {
  for (const CellFrame *frame = c->frame; frame; frame = frame->up) {
    for (const CellBinding *b = frame->bindings; b; b = b->older) {
      if (strcmp(b->name, name) != 0) continue;
      *value = b->value;
      *span = b->span;
      return true;
    }
    if (frame->instance && find_in_body(frame, name, use, value, span)) return true;
  }
  return false;
}

bool cell_find_binding(const CellContext *c, const char *name, CellDatum *value, CellSpan *span) {
  return find_in_frames(c, name, CELL_NOWHERE, value, span);
}

CellContext cell_home_context(CellElab *elab, CellPlaceOf where) {
  return (CellContext){.elab = elab, .where = where, .cell = -1};
}

static CellHome home_of(const CellContext *c) {
  const CellFrame *frame = c->frame;
  if (!frame) return CELL_HOME_FILE;
  while (frame->up) frame = frame->up;
  return frame->home;
}

/* params are constants of the file: evaluated where they are read, loops reported */
CellDatum cell_param(const CellContext *c, const CellItem *param, CellHome home) {
  CellElab *elab = c->elab;
  const CellExpr *value = param->value;
  if (home == CELL_HOME_FILE) {
    CellOverride *set = cell_override(elab->spec, param->name.text);
    if (set) value = set->value;
  }
  if (!value) return CELL_FAILED;
  for (int i = 0; i < elab->params_open_count; i++)
    if (elab->params_open[i] == param) {
      cell_complain(c, "E0207", value->span, "`%s` is defined by itself", param->name.text);
      return CELL_FAILED;
    }
  CELL_PUSH(elab->arena, elab->params_open, elab->params_open_count, elab->params_open_capacity,
            param);
  CellFrame frame = {.home = home};
  CellContext at = {.elab = elab, .where = CELL_IN_SETTING, .cell = -1, .frame = &frame};
  CellDatum d = cell_evaluate(&at, value);
  elab->params_open_count--;
  return d;
}

static void add_names(CellElab *elab, const char ***names, int *count, int *capacity,
                      const char *name) {
  CELL_PUSH(elab->arena, *names, *count, *capacity, name);
}

/* every name that could have been meant */
static void help_names(const CellContext *c, CellRecord *record, const char *name) {
  CellElab *elab = c->elab;
  if (record == &elab->scratch) return;
  const char **names = NULL;
  int count = 0, capacity = 0;
  for (const CellFrame *frame = c->frame; frame; frame = frame->up) {
    for (const CellBinding *b = frame->bindings; b; b = b->older)
      add_names(elab, &names, &count, &capacity, b->name);
    if (!frame->instance) continue;
    const CellItem *cell = elab->cells[frame->instance->cell].cell;
    for (int i = 0; i < frame->visible; i++)
      if (cell->body.items[i]->kind == CELL_STMT_BIND)
        add_names(elab, &names, &count, &capacity, cell->body.items[i]->name.text);
    for (int i = 0; i < cell->ports.count; i++)
      add_names(elab, &names, &count, &capacity, cell->ports.items[i].name.text);
    for (int i = 0; i < cell->params.count; i++)
      add_names(elab, &names, &count, &capacity, cell->params.items[i].name.text);
  }
  if (c->where == CELL_IN_PORT || c->where == CELL_IN_RULE)
    for (int i = 0; i < elab->cell_count; i++)
      add_names(elab, &names, &count, &capacity, elab->cells[i].name);
  const CellAst *asts[] = {elab->spec->file, elab->spec->prelude};
  for (int a = 0; a < 2; a++)
    for (int i = 0; asts[a] && i < asts[a]->count; i++) {
      const CellItem *item = asts[a]->items[i];
      if (item->kind == CELL_ITEM_PARAM || item->kind == CELL_ITEM_DEF)
        add_names(elab, &names, &count, &capacity, item->name.text);
    }
  for (int i = 0; cell_builtin_name(i); i++)
    add_names(elab, &names, &count, &capacity, cell_builtin_name(i));
  static const char *const words[] = {"obs",
                                      "action",
                                      "actions",
                                      "pi",
                                      "inf",
                                      "connected",
                                      "prev",
                                      /* in rules: */ "cells",
                                      "taken",
                                      "reward",
                                      "terminated",
                                      "next",
                                      "target"};
  int word_count = c->where == CELL_IN_RULE ? 13 : 7;
  for (int i = 0; i < word_count; i++) add_names(elab, &names, &count, &capacity, words[i]);
  cell_help_nearest(elab->diag, record, name, names, count);
}

/* the candidate's code: it varies over the actions */
static CellDatum action_code(const CellContext *c, CellSpan span) {
  CellElab *elab = c->elab;
  const CellShapes *shapes = elab->shapes;
  if (!c->stage || c->where == CELL_IN_RULE) {
    CellRecord *r = cell_complain(c, "E0201", span, "`action` is known in cells only");
    cell_help(elab->diag, r, "in a rule `taken` is the action's index, and `actions` their number");
    return CELL_FAILED;
  }
  CellGraph *g = c->stage->g;
  CellValue index = cell_axis_index(g, CELL_AXIS_CANDIDATE);
  if (shapes->code == CELL_ACTION_BITS) {
    int bits = 0;
    while ((1 << bits) < shapes->actions) bits++;
    return cell_tensor(cell_sign_bits(g, index, bits > 0 ? bits : 1));
  }
  return cell_tensor(cell_one_hot(g, index, shapes->actions));
}

/* the words that the compiler knows; false: none of them */
static bool known_word(const CellContext *c, const char *name, CellSpan span, CellDatum *value) {
  const CellShapes *shapes = c->elab->shapes;
  if (strcmp(name, "pi") == 0)
    *value = cell_number(3.14159265358979323846);
  else if (strcmp(name, "inf") == 0)
    *value = cell_number((double)INFINITY);
  else if (strcmp(name, "actions") == 0) {
    *value = shapes ? cell_number(shapes->actions) : CELL_FAILED;
    if (!shapes)
      cell_complain(c, "E0605", span,
                    "`actions` depends on the environment: no setting may use it");
  } else if (strcmp(name, "obs") == 0) {
    if (!c->stage) {
      cell_complain(c, "E0306", span, "`obs` is a value of the network, not a constant");
      *value = CELL_FAILED;
    } else if (c->where == CELL_IN_BODY) {
      CellRecord *r =
          cell_complain(c, "E0408", span, "a cell reads the observation through a port");
      cell_help(c->elab->diag, r, "add a port and connect it in the stack: `below: obs`");
      *value = CELL_FAILED;
    } else if (c->where == CELL_IN_RULE) {
      *value = cell_tensor(cell_trace_stage(c->trace, c->time, c->target)->obs);
    } else {
      *value = cell_tensor(c->stage->obs);
    }
  } else if (strcmp(name, "action") == 0) {
    *value = action_code(c, span);
  } else {
    return false;
  }
  return true;
}

/* a cell of the stack in a port is its output, in a rule itself */
static bool stack_name(const CellContext *c, const char *name, CellSpan span, CellDatum *value) {
  if (c->where != CELL_IN_PORT && c->where != CELL_IN_RULE) return false;
  CellElab *elab = c->elab;
  int cell = cell_find_placed(elab, name);
  if (cell >= 0) {
    *value = c->where == CELL_IN_RULE ? (CellDatum){.kind = CELL_IS_CELL, .index = cell}
                                      : cell_value_of(c, c->stage, cell, NULL, span);
    return true;
  }
  for (int i = 0; i < elab->block_count && c->where == CELL_IN_RULE; i++)
    if (strcmp(elab->blocks[i].name, name) == 0) {
      *value = (CellDatum){.kind = CELL_IS_BLOCK, .index = i};
      return true;
    }
  return false;
}

static CellDatum unknown_name(const CellContext *c, const char *name, CellSpan span) {
  CellElab *elab = c->elab;
  /* a name that the body binds further down */
  for (const CellFrame *frame = c->frame; frame; frame = frame->up) {
    if (!frame->instance) continue;
    const CellItem *cell = elab->cells[frame->instance->cell].cell;
    for (int i = frame->visible; i < cell->body.count; i++) {
      const CellStmt *stmt = cell->body.items[i];
      if (stmt->kind != CELL_STMT_BIND || strcmp(stmt->name.text, name) != 0) continue;
      CellRecord *r = cell_complain(c, "E0203", span, "`%s` is read before it is bound", name);
      cell_point(c, r, stmt->word, "bound here");
      return CELL_FAILED;
    }
  }
  if (c->where == CELL_IN_BODY && cell_find_placed(elab, name) >= 0) {
    CellRecord *r = cell_complain(c, "E0408", span, "a cell reads other cells through ports only");
    cell_help(elab->diag, r, "add a port and connect it in the stack: `below: %s`", name);
    return CELL_FAILED;
  }
  CellRecord *r = cell_complain(c, "E0201", span, "unknown name `%s`", name);
  help_names(c, r, name);
  return CELL_FAILED;
}

CellDatum cell_lookup(const CellContext *c, const char *name, CellSpan span) {
  CellDatum value;
  CellSpan from;
  if (find_in_frames(c, name, span, &value, &from)) return value;
  if (home_of(c) == CELL_HOME_FILE && stack_name(c, name, span, &value)) return value;
  CellHome where;
  const CellItem *item = cell_find_value(c->elab->spec, home_of(c), name, &where);
  if (item && item->kind == CELL_ITEM_PARAM) return cell_param(c, item, where);
  if (item) {
    CellFunction f = {.name = name, .def = item, .home = where};
    return (CellDatum){.kind = CELL_IS_FUNCTION, .function = f};
  }
  if (c->where == CELL_IN_RULE && cell_rule_word(c, name, span, &value)) return value;
  if (known_word(c, name, span, &value)) return value;
  const CellBuiltin *builtin = cell_find_builtin(name);
  if (builtin) {
    CellFunction f = {.name = name, .builtin = builtin};
    return (CellDatum){.kind = CELL_IS_FUNCTION, .function = f};
  }
  return unknown_name(c, name, span);
}

/* ---- coercions ---- */

/* the message for a datum of a kind that does not fit; none where one was given before */
static bool wrong_kind(const CellContext *c, CellDatum d, CellSpan span, const char *wanted) {
  if (d.kind == CELL_IS_ERROR) return false;
  if (d.kind == CELL_IS_UNKNOWN) {
    /* the loop of shapes is reported for itself (cells.c) */
    c->elab->failed = true;
    return false;
  }
  if (d.kind == CELL_IS_ABSENT) {
    CellRecord *r = cell_complain(c, "E0407", span, "this port is not connected here");
    cell_help(c->elab->diag, r,
              "an optional port may only stand in concat, or behind `if connected(port) then`");
    return false;
  }
  const char *is = d.kind == CELL_IS_TENSOR || d.kind == CELL_IS_UNKNOWN
                       ? cell_arena_printf(c->elab->arena, "a tensor (%s)", cell_describe(c, d))
                       : cell_describe(c, d);
  CellRecord *r = cell_complain(c, "E0306", span, "%s is wanted here, and this is %s", wanted, is);
  if (d.kind == CELL_IS_CELL)
    cell_help(c->elab->diag, r, "say which value of the cell: `%s.output`, `%s.goodness`",
              c->elab->cells[d.index].name, c->elab->cells[d.index].name);
  return false;
}

bool cell_want_number(const CellContext *c, CellDatum d, CellSpan span, const char *what,
                      double *number) {
  if (d.kind == CELL_IS_NUMBER)
    *number = d.number;
  else if (d.kind == CELL_IS_BOOL)
    *number = d.truth;
  else {
    return wrong_kind(
        c, d, span, cell_arena_printf(c->elab->arena, "a number known to the compiler (%s)", what));
  }
  return true;
}

bool cell_want_whole(const CellContext *c, CellDatum d, CellSpan span, const char *what,
                     int32_t *number) {
  double value = 0;
  if (!cell_want_number(c, d, span, what, &value)) return false;
  if (value != floor(value)) {
    cell_complain(c, "E0307", span, "%s must be a whole number, and this is %.10g", what, value);
    return false;
  }
  if (fabs(value) > INT32_MAX) {
    cell_complain(c, "E0308", span, "%s is too large: %.10g", what, value);
    return false;
  }
  *number = (int32_t)value;
  return true;
}

bool cell_want_truth(const CellContext *c, CellDatum d, CellSpan span, bool *truth) {
  if (d.kind == CELL_IS_BOOL)
    *truth = d.truth;
  else if (d.kind == CELL_IS_NUMBER && (d.number == 0 || d.number == 1))
    *truth = d.number != 0;
  else if (d.kind == CELL_IS_TENSOR || d.kind == CELL_IS_UNKNOWN) {
    CellRecord *r = cell_complain(c, "E0309", span,
                                  "a condition is decided by the compiler, and this is a tensor");
    cell_help(c->elab->diag, r, "`where(condition, a, b)` chooses entry by entry");
    return false;
  } else {
    return wrong_kind(c, d, span, "true or false");
  }
  return true;
}

bool cell_want_shape(const CellContext *c, CellDatum d, CellSpan span, int *rank, int32_t *shape) {
  CellDatum one = d;
  const CellDatum *items = &one;
  int count = 1;
  if (d.kind == CELL_IS_LIST) {
    items = d.list.items;
    count = d.list.count;
  }
  if (count > CELL_MAX_RANK) {
    cell_complain(c, "E0307", span, "a shape has at most %d sizes, and this has %d", CELL_MAX_RANK,
                  count);
    return false;
  }
  for (int i = 0; i < count; i++) {
    if (!cell_want_whole(c, items[i], span, "a size", &shape[i])) return false;
    if (shape[i] < 1) {
      cell_complain(c, "E0307", span, "a size must be at least 1, and this is %d", (int)shape[i]);
      return false;
    }
  }
  *rank = count;
  return true;
}

bool cell_want_tensor(const CellContext *c, CellDatum d, CellSpan span, CellDatum *tensor) {
  *tensor = d;
  if (d.kind == CELL_IS_UNKNOWN) return true;
  if (d.kind != CELL_IS_TENSOR && d.kind != CELL_IS_NUMBER && d.kind != CELL_IS_BOOL)
    return wrong_kind(c, d, span, "a tensor");
  if (!c->stage) {
    cell_complain(c, "E0306", span, "a constant is wanted here, and this makes a tensor");
    return false;
  }
  CellGraph *g = cell_graph_of(c);
  if (d.kind == CELL_IS_TENSOR) {
    if (cell_node(g, d.tensor)->dtype == CELL_I)
      tensor->tensor = cell_op1(g, CELL_OP_FLOAT, d.tensor);
    return true;
  }
  *tensor = cell_tensor(cell_const(g, d.kind == CELL_IS_BOOL ? d.truth : d.number));
  return true;
}

/* ---- expressions ---- */

static CellDatum list_of(const CellContext *c, const CellExpr *expr) {
  int count = expr->list.count;
  CellDatum *items = CELL_NEW_ARRAY(c->elab->arena, CellDatum, count + 1);
  bool failed = false;
  for (int i = 0; i < count; i++) {
    items[i] = cell_evaluate(c, expr->list.items[i]);
    failed = failed || items[i].kind == CELL_IS_ERROR;
  }
  if (failed) return CELL_FAILED;
  CellDatum d = {.kind = CELL_IS_LIST};
  d.list.items = items;
  d.list.count = count;
  return d;
}

/* [e for c in who] */
static CellDatum comprehension(const CellContext *c, const CellExpr *expr) {
  CellDatum over = cell_evaluate(c, expr->comprehension.over);
  if (over.kind == CELL_IS_CELL || over.kind == CELL_IS_NUMBER) {
    CellDatum *one = CELL_NEW(c->elab->arena, CellDatum);
    *one = over;
    over = (CellDatum){.kind = CELL_IS_LIST};
    over.list.items = one;
    over.list.count = 1;
  }
  if (over.kind != CELL_IS_LIST) {
    wrong_kind(c, over, expr->comprehension.over->span, "a list");
    return CELL_FAILED;
  }
  CellDatum *items = CELL_NEW_ARRAY(c->elab->arena, CellDatum, over.list.count + 1);
  for (int i = 0; i < over.list.count; i++) {
    CellFrame frame = {.up = c->frame, .home = home_of(c)};
    cell_bind(c->elab, &frame, expr->comprehension.variable.text, over.list.items[i],
              expr->comprehension.variable.span);
    CellContext inner = *c;
    inner.frame = &frame;
    items[i] = cell_evaluate(&inner, expr->comprehension.element);
    if (items[i].kind == CELL_IS_ERROR) return CELL_FAILED;
  }
  CellDatum d = {.kind = CELL_IS_LIST};
  d.list.items = items;
  d.list.count = over.list.count;
  return d;
}

/* c.goodness in a rule, l1.c in a port */
static CellDatum member(const CellContext *c, const CellExpr *expr) {
  const CellExpr *object = expr->member.object;
  const char *name = expr->member.name.text;
  if (c->where == CELL_IN_PORT && object->kind == CELL_EXPR_NAME) {
    int cell = cell_find_placed(c->elab, object->name);
    if (cell >= 0) return cell_value_of(c, c->stage, cell, name, expr->span);
  }
  CellDatum d = cell_evaluate(c, object);
  if (d.kind == CELL_IS_ERROR) return CELL_FAILED;
  if (d.kind == CELL_IS_CELL)
    return cell_value_of(c, cell_trace_stage(c->trace, c->time, c->target), d.index, name,
                         expr->span);
  CellRecord *r = cell_complain(c, "E0208", expr->op, "only a cell has parts, and this is %s",
                                cell_describe(c, d));
  if (strcmp(name, "t") == 0) cell_help(c->elab->diag, r, "`.T` transposes");
  return CELL_FAILED;
}

static CellDatum branch(const CellContext *c, const CellExpr *expr) {
  bool truth = false;
  CellDatum d = cell_evaluate(c, expr->branch.condition);
  if (!cell_want_truth(c, d, expr->branch.condition->span, &truth)) return CELL_FAILED;
  return cell_evaluate(c, truth ? expr->branch.then : expr->branch.otherwise);
}

static CellDatum negate(const CellContext *c, const CellExpr *expr) {
  CellDatum d = cell_evaluate(c, expr->operand);
  if (d.kind == CELL_IS_NUMBER) return cell_number(-d.number);
  return cell_unary(c, CELL_OP_NEG, d, expr->operand->span);
}

static CellDatum evaluate(const CellContext *c, const CellExpr *expr) {
  switch (expr->kind) {
  case CELL_EXPR_NUMBER: return cell_number(expr->number.value);
  case CELL_EXPR_NAME: return cell_lookup(c, expr->name, expr->span);
  case CELL_EXPR_BOOL: return cell_truth(expr->truth);
  case CELL_EXPR_NONE: return cell_datum(CELL_IS_NONE);
  case CELL_EXPR_NEGATE: return negate(c, expr);
  case CELL_EXPR_BINARY: {
    CellDatum a = cell_evaluate(c, expr->binary.left);
    CellDatum b = cell_evaluate(c, expr->binary.right);
    return cell_binary(c, expr, a, b);
  }
  case CELL_EXPR_IF: return branch(c, expr);
  case CELL_EXPR_CALL: return cell_call(c, expr);
  case CELL_EXPR_MEMBER: return member(c, expr);
  case CELL_EXPR_TRANSPOSE: return cell_transposed(c, expr, cell_evaluate(c, expr->operand));
  case CELL_EXPR_INDEX: return cell_indexed(c, expr, cell_evaluate(c, expr->index.object));
  case CELL_EXPR_LIST: return list_of(c, expr);
  case CELL_EXPR_COMPREHENSION: return comprehension(c, expr);
  case CELL_EXPR_KINDS: break;
  }
  return CELL_FAILED;
}

/* values are marked with the place in the file, not in the prelude */
static CellDatum evaluate_marked(const CellContext *c, const CellExpr *expr) {
  if (!c->stage) return evaluate(c, expr);
  CellGraph *g = c->stage->g;
  CellSpan before = g->span, at = expr->op;
  const CellAst *prelude = c->elab->spec->prelude;
  for (const CellCallSite *call = c->calls; call && prelude && at.file == prelude->source;
       call = call->up)
    at = call->span;
  g->span = at;
  CellDatum d = evaluate(c, expr);
  g->span = before;
  return d;
}

CellDatum cell_evaluate(const CellContext *c, const CellExpr *expr) {
  CellElab *elab = c->elab;
  if (!expr || !cell_work_ok(c, expr->span)) return CELL_FAILED;
  if (elab->depth >= CELL_MAX_NESTED) {
    CellRecord *r = cell_complain(c, "E0206", expr->span, "this is nested too deeply");
    cell_help(elab->diag, r, "functions count as written out where they are called");
    return CELL_FAILED;
  }
  elab->depth++;
  CellDatum d = evaluate_marked(c, expr);
  elab->depth--;
  return d;
}
