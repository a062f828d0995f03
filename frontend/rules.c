/* rules.c - learning rules and policies: their statements, run once for every program; loops are
 * unrolled here. Values are made in the program's graph by the same evaluator as cells' bodies. */
#include <math.h>
#include <string.h>

#include "frontend/value.h"

CellDatum cell_stop(const CellContext *c, CellDatum d) {
  if (d.kind == CELL_IS_LIST) {
    CellDatum *items = CELL_NEW_ARRAY(c->elab->arena, CellDatum, d.list.count + 1);
    for (int i = 0; i < d.list.count; i++) items[i] = cell_stop(c, d.list.items[i]);
    d.list.items = items;
    return d;
  }
  if (d.kind != CELL_IS_TENSOR || !c->stage->stops) return d;
  return cell_tensor(cell_stop_gradient(c->stage->g, d.tensor));
}

static CellDatum all_cells(const CellContext *c) {
  CellElab *elab = c->elab;
  CellDatum list = {.kind = CELL_IS_LIST};
  list.list.items = CELL_NEW_ARRAY(elab->arena, CellDatum, elab->cell_count + 1);
  list.list.count = 0;
  for (int i = 0; i < elab->cell_count; i++)
    if (elab->cells[i].kind != CELL_NO_GOODNESS)
      list.list.items[list.list.count++] = (CellDatum){.kind = CELL_IS_CELL, .index = i};
  return list;
}

bool cell_rule_word(const CellContext *c, const char *name, CellSpan span, CellDatum *value) {
  if (strcmp(name, "cells") == 0) {
    *value = all_cells(c);
    return true;
  }
  CellValue v = CELL_NONE;
  if (strcmp(name, "taken") == 0)
    v = c->trace->taken;
  else if (strcmp(name, "reward") == 0)
    v = c->trace->reward;
  else if (strcmp(name, "terminated") == 0)
    v = c->trace->terminated;
  else
    return false;
  *value = CELL_FAILED;
  if (v == CELL_NONE)
    cell_complain(c, "E0504", span, "`%s` belongs to a transition, and a policy has none", name);
  else if (c->time > 0)
    cell_not_supported(c, "E0910", span, cell_arena_printf(c->elab->arena, "next(%s)", name));
  else
    *value = cell_tensor(v);
  return true;
}

/* ---- statements ---- */

static bool run_statements(CellContext *c, const CellStmtList *list);

/* The binding that an assignment changes: in a for, one from outside of it. */
static CellBinding *outer_binding(CellFrame *frame, const char *name) {
  for (CellFrame *f = frame->up; f; f = f->up)
    for (CellBinding *b = f->bindings; b; b = b->older)
      if (strcmp(b->name, name) == 0) return b;
  return NULL;
}

static bool run_bind(CellContext *c, const CellStmt *stmt) {
  CellDatum d = cell_evaluate(c, stmt->value);
  if (d.kind == CELL_IS_ERROR) return false;
  for (const CellBinding *b = c->frame->bindings; b; b = b->older)
    if (strcmp(b->name, stmt->name.text) == 0) {
      CellRecord *r = cell_complain(c, "E0202", stmt->word, "`%s` is bound twice", stmt->name.text);
      cell_point(c, r, b->span, "first here");
      cell_help(c->elab->diag, r, "a `for` may rebind a name from outside of it, nothing else may");
      return false;
    }
  CellBinding *outer = outer_binding(c->frame, stmt->name.text);
  if (outer) {
    outer->value = d;
    outer->span = stmt->value->span;
  } else {
    cell_bind(c->elab, c->frame, stmt->name.text, d, stmt->value->span);
  }
  return true;
}

static bool run_record(CellContext *c, const CellStmt *stmt) {
  CellTrace *t = c->trace;
  CellDatum d;
  if (!cell_want_tensor(c, cell_evaluate(c, stmt->value), stmt->value->span, &d)) return false;
  const char *name = stmt->name.text;
  if (t->loop_cell >= 0)
    name = cell_arena_printf(c->elab->arena, "%s/%s", c->elab->cells[t->loop_cell].name, name);
  for (int i = 0; i < t->record_count; i++)
    if (strcmp(t->records[i].name, name) == 0) {
      cell_complain(c, "E0202", stmt->span, "`%s` is recorded twice", name);
      return false;
    }
  CellOutput record = {.name = name, .value = d.tensor};
  CELL_PUSH(c->elab->arena, t->records, t->record_count, t->record_capacity, record);
  return true;
}

/* what a loss is for: a number of the table of losses, or -1 after an error */
static int loss_of(CellContext *c, const CellStmt *stmt) {
  CellElab *elab = c->elab;
  CellDatum over = {.kind = CELL_IS_CELL, .index = c->trace->loop_cell};
  CellSpan span = stmt->over ? stmt->over->span : stmt->word;
  if (stmt->over) over = cell_evaluate(c, stmt->over);
  if (over.kind == CELL_IS_ERROR) return -1;
  if (over.kind == CELL_IS_LIST && over.list.count == 1) over = over.list.items[0];
  if (over.kind == CELL_IS_CELL && over.index >= 0) return over.index;
  if (over.kind == CELL_IS_BLOCK) return elab->cell_count + over.index;
  if (over.kind == CELL_IS_LIST) {
    cell_not_supported(c, "E0915", span, "minimize over a list");
    return -1;
  }
  CellRecord *r = cell_complain(c, "E0503", span, "minimize is over a cell or a block");
  cell_help(elab->diag, r, "`minimize e over c`");
  return -1;
}

static bool run_minimize(CellContext *c, const CellStmt *stmt) {
  CellElab *elab = c->elab;
  CellTrace *t = c->trace;
  if (t->taken == CELL_NONE) {
    cell_complain(c, "E0504", stmt->word, "a policy minimises nothing");
    return false;
  }
  CellDatum d;
  if (!cell_want_tensor(c, cell_evaluate(c, stmt->value), stmt->value->span, &d)) return false;
  int which = loss_of(c, stmt);
  if (which < 0) return false;
  const CellNode *n = cell_node(t->g, d.tensor);
  if (cell_over_actions(c, d.tensor) || cell_count(t->g, d.tensor) != 1) {
    CellRecord *r =
        cell_complain(c, "E0503", stmt->value->span,
                      "what is minimised is a scalar, and this is %s", cell_describe(c, d));
    if (cell_over_actions(c, d.tensor))
      cell_help(elab->diag, r, "choose an action: `c.goodness[taken]`");
    return false;
  }
  CellValue loss = cell_reshape(t->g, d.tensor, 0, NULL);
  if (n->axes & CELL_AXIS(CELL_AXIS_BATCH)) {
    CellValue sum = cell_reduce(t->g, CELL_SUM, loss, 0, CELL_AXIS(CELL_AXIS_BATCH));
    double batch = (double)cell_extent(t->g, CELL_AXIS(CELL_AXIS_BATCH));
    loss = cell_op2(t->g, CELL_OP_MUL, sum, cell_const(t->g, 1 / batch));
  }
  if (t->losses[which].loss != CELL_NONE) {
    const char *name = which < elab->cell_count ? elab->cells[which].name
                                                : elab->blocks[which - elab->cell_count].name;
    CellRecord *r =
        cell_complain(c, "E0502", stmt->span, "%s has two losses, and a group has one", name);
    cell_point(c, r, t->losses[which].span, "the first one");
    cell_help(elab->diag, r, "minimise their sum");
    return false;
  }
  t->losses[which].loss = loss;
  t->losses[which].span = stmt->span;
  if (stmt->with) {
    t->losses[which].optimizer = elab->spec->train.optimizer;
    t->losses[which].has_optimizer = true;
    return cell_read_optimizer(elab->spec, stmt->with, &t->losses[which].optimizer);
  }
  return true;
}

static bool run_act(CellContext *c, const CellStmt *stmt) {
  CellTrace *t = c->trace;
  const CellExpr *e = stmt->value;
  if (t->action != CELL_NONE) {
    cell_complain(c, "E0505", stmt->word, "a policy acts once");
    return false;
  }
  CellDatum d = cell_evaluate(c, e);
  if (d.kind == CELL_IS_ERROR) return false;
  bool index = d.kind == CELL_IS_TENSOR && cell_node(t->g, d.tensor)->dtype == CELL_I &&
               cell_node(t->g, d.tensor)->rank == 0 && !cell_over_actions(c, d.tensor);
  if (!index) {
    CellRecord *r = cell_complain(c, "E0505", e->span,
                                  "`act` takes the index of an action, and "
                                  "this is %s",
                                  cell_describe(c, d));
    cell_help(c->elab->diag, r, "`act argmax(values)`");
    return false;
  }
  t->action = d.tensor;
  /* what the best was taken of is worth seeing */
  bool argmax = e->kind == CELL_EXPR_CALL && e->call.callee->kind == CELL_EXPR_NAME &&
                strcmp(e->call.callee->name, "argmax") == 0 && e->call.args.count == 1;
  if (!argmax) return true;
  CellDatum q = cell_evaluate(c, e->call.args.items[0].value);
  if (q.kind == CELL_IS_TENSOR) t->q = q.tensor;
  return true;
}

static bool run_round(CellContext *c, const CellStmt *stmt, CellDatum item) {
  CellFrame frame = {.up = c->frame, .home = c->frame->home};
  CellContext inner = *c;
  int outer = c->trace->loop_cell;
  inner.frame = &frame;
  cell_bind(c->elab, &frame, stmt->name.text, item, stmt->word);
  if (item.kind == CELL_IS_CELL) c->trace->loop_cell = item.index;
  bool ok = run_statements(&inner, &stmt->body);
  c->trace->loop_cell = outer;
  return ok;
}

static bool run_for(CellContext *c, const CellStmt *stmt) {
  CellDatum over = cell_evaluate(c, stmt->value);
  bool ok = true;
  if (stmt->last) {
    int32_t first, last;
    CellDatum end = cell_evaluate(c, stmt->last);
    if (!cell_want_whole(c, over, stmt->value->span, "the first round", &first)) return false;
    if (!cell_want_whole(c, end, stmt->last->span, "the end", &last)) return false;
    if ((int64_t)last - first > CELL_MAX_UNROLL) {
      cell_complain(c, "E0308", stmt->span, "a loop has at most %d rounds", CELL_MAX_UNROLL);
      return false;
    }
    for (int32_t i = first; i < last; i++) ok = run_round(c, stmt, cell_number(i)) && ok;
    return ok;
  }
  if (over.kind == CELL_IS_ERROR) return false;
  if (over.kind != CELL_IS_LIST) {
    cell_complain(c, "E0306", stmt->value->span, "a `for` goes over a list, and this is %s",
                  cell_describe(c, over));
    return false;
  }
  for (int i = 0; i < over.list.count; i++) ok = run_round(c, stmt, over.list.items[i]) && ok;
  return ok;
}

static bool run_if(CellContext *c, const CellStmt *stmt) {
  bool truth;
  if (!cell_want_truth(c, cell_evaluate(c, stmt->value), stmt->value->span, &truth)) return false;
  return run_statements(c, truth ? &stmt->body : &stmt->otherwise);
}

static bool run_statements(CellContext *c, const CellStmtList *list) {
  bool ok = true;
  for (int i = 0; i < list->count && ok; i++) {
    const CellStmt *stmt = list->items[i];
    switch (stmt->kind) {
    case CELL_STMT_BIND: ok = run_bind(c, stmt); break;
    case CELL_STMT_RECORD: ok = run_record(c, stmt); break;
    case CELL_STMT_MINIMIZE: ok = run_minimize(c, stmt); break;
    case CELL_STMT_FOR: ok = run_for(c, stmt); break;
    case CELL_STMT_IF: ok = run_if(c, stmt); break;
    case CELL_STMT_ACT: ok = run_act(c, stmt); break;
    default: ok = false;
    }
  }
  return ok;
}

/* ---- rules ---- */

/* The default policy and rule of a file that names none. */
static const CellItem *named_item(CellContext *c, const CellItem *use, CellItemKind kind,
                                  const char *otherwise, CellHome *home) {
  CellSpec *spec = c->elab->spec;
  const char *name = use ? use->name.text : otherwise;
  CellItemKind defined = kind == CELL_ITEM_LEARN ? CELL_ITEM_RULE : CELL_ITEM_POLICY;
  *home = CELL_HOME_FILE;
  const CellItem *item = cell_find_item(spec, CELL_HOME_FILE, defined, name);
  if (item) return item;
  *home = CELL_HOME_PRELUDE;
  item = cell_find_item(spec, CELL_HOME_PRELUDE, defined, name);
  if (item) return item;
  const char *what = kind == CELL_ITEM_LEARN ? "learning rule" : "policy";
  CellRecord *r = cell_complain(c, "E0501", use ? use->name.span : CELL_NOWHERE,
                                "there is no %s `%s`", what, name);
  const CellAst *asts[2] = {spec->file, spec->prelude};
  const char **names = NULL;
  int count = 0, capacity = 0;
  for (int a = 0; a < 2; a++)
    for (int i = 0; asts[a] && i < asts[a]->count; i++) {
      const CellItem *other = asts[a]->items[i];
      bool is_one = other->kind == defined && (defined == CELL_ITEM_RULE || other->defined);
      if (is_one) CELL_PUSH(c->elab->arena, names, count, capacity, other->name.text);
    }
  cell_help_nearest(c->elab->diag, r, name, names, count);
  return NULL;
}

/* arguments by position, by name, by override ("learn.gamma"), by default */
static bool bind_rule(CellContext *c, const CellItem *item, const CellItem *use, CellFrame *frame,
                      bool learn) {
  CellElab *elab = c->elab;
  const CellDeclList *decls = &item->params;
  const CellExpr **exprs = CELL_NEW_ARRAY(elab->arena, const CellExpr *, decls->count + 1);
  CellDatum *values = CELL_NEW_ARRAY(elab->arena, CellDatum, decls->count + 1);
  const char **names = CELL_NEW_ARRAY(elab->arena, const char *, decls->count + 1);
  for (int i = 0; i < decls->count; i++) names[i] = decls->items[i].name.text;
  CellContext outside = *c; /* the file: its names, its cells */
  outside.frame = NULL;

  /* `policy mean(l2, l3)`: the cells fill the one parameter together */
  CellDatum chosen = {.kind = CELL_IS_LIST};
  chosen.list.count = 0;
  int given = use ? use->args.count : 0;
  chosen.list.items = CELL_NEW_ARRAY(elab->arena, CellDatum, given + 1);
  for (int i = 0; i < given; i++) {
    const CellArg *arg = &use->args.items[i];
    int at = i;
    if (arg->name.text) {
      at = 0;
      while (at < decls->count && strcmp(names[at], arg->name.text) != 0) at++;
    }
    CellDatum d = cell_evaluate(&outside, arg->value);
    if (d.kind == CELL_IS_ERROR) return false;
    if (!arg->name.text && d.kind == CELL_IS_CELL && decls->count >= 1) {
      if (elab->cells[d.index].kind == CELL_NO_GOODNESS) {
        cell_complain(c, "E0506", arg->span, "%s has no goodness", elab->cells[d.index].name);
        return false;
      }
      chosen.list.items[chosen.list.count++] = d;
      at = 0;
      d = chosen;
      exprs[at] = NULL;
    }
    if (at >= decls->count) {
      CellRecord *r;
      if (arg->name.text) {
        r = cell_complain(c, "E0205", arg->name.span, "`%s` has no argument `%s`", item->name.text,
                          arg->name.text);
        cell_help_nearest(elab->diag, r, arg->name.text, names, decls->count);
      } else {
        cell_complain(c, "E0205", arg->span, "`%s` takes %d argument%s", item->name.text,
                      decls->count, decls->count == 1 ? "" : "s");
      }
      return false;
    }
    if (exprs[at]) {
      cell_complain(c, "E0205", arg->span, "`%s` is given twice", names[at]);
      return false;
    }
    exprs[at] = arg->value;
    values[at] = d;
  }
  for (int i = 0; i < decls->count; i++) {
    CellSpan span = exprs[i] ? exprs[i]->span : decls->items[i].span;
    CellOverride *set = NULL;
    if (learn)
      set = cell_override(elab->spec, cell_arena_printf(elab->arena, "learn.%s", names[i]));
    if (set) {
      values[i] = cell_evaluate(&outside, set->value);
      span = set->value->span;
    } else if (!exprs[i]) {
      if (!decls->items[i].value) {
        cell_complain(c, "E0205", use ? use->span : CELL_NOWHERE, "`%s` wants its argument `%s`",
                      item->name.text, names[i]);
        return false;
      }
      CellContext inner = *c;
      inner.frame = frame;
      values[i] = cell_evaluate(&inner, decls->items[i].value);
    }
    if (values[i].kind == CELL_IS_ERROR) return false;
    cell_bind(elab, frame, names[i], values[i], span);
    if (learn) {
      const CellExpr *e = set ? set->value : exprs[i] ? exprs[i] : decls->items[i].value;
      cell_note_setting(elab->spec, cell_arena_printf(elab->arena, "learn.%s", names[i]),
                        cell_expr_text(elab->arena, e),
                        set        ? set->origin
                        : exprs[i] ? "file"
                                   : "default");
    }
  }
  return true;
}

static bool run_item(CellTrace *trace, const CellItem *use, CellItemKind kind,
                     const char *otherwise) {
  CellElab *elab = trace->elab;
  bool learn = kind == CELL_ITEM_LEARN;
  CellFrame frame = {0};
  CellContext c = cell_home_context(elab, CELL_IN_RULE);
  c.trace = trace;
  c.stage = cell_trace_stage(trace, 0, false);
  CellHome home;
  const CellItem *item = named_item(&c, use, kind, otherwise, &home);
  if (!item) return false;
  /* in the prelude's text no user finds anything: say it where the file uses it */
  CellCallSite site = {.span = use ? use->span : elab->spec->stack->word, .name = item->name.text};
  frame.home = home;
  if (!bind_rule(&c, item, use, &frame, learn)) return false;
  c.frame = &frame;
  if (home == CELL_HOME_PRELUDE) c.calls = &site;
  bool any = all_cells(&c).list.count > 0;
  if (!any) {
    CellRecord *r =
        cell_complain(&c, "E0506", elab->spec->stack->word, "no cell of this stack has a goodness");
    cell_help(elab->diag, r, "`goodness e` in a cell is its estimate of the action's value");
    return false;
  }
  return run_statements(&c, &item->body);
}

bool cell_check_rules(CellElab *elab) {
  CellContext c = cell_home_context(elab, CELL_IN_RULE);
  CellHome home;
  bool learn = named_item(&c, elab->spec->learn, CELL_ITEM_LEARN, "td", &home) != NULL;
  return named_item(&c, elab->spec->policy, CELL_ITEM_POLICY, "mean", &home) != NULL && learn;
}

bool cell_run_rule(CellTrace *trace) {
  trace->loop_cell = -1;
  return run_item(trace, trace->elab->spec->learn, CELL_ITEM_LEARN, "td");
}

bool cell_run_policy(CellTrace *trace) {
  trace->loop_cell = -1;
  const CellItem *use = trace->elab->spec->policy;
  if (!run_item(trace, use, CELL_ITEM_POLICY, "mean")) return false;
  if (trace->action != CELL_NONE) return true;
  CellContext c = cell_home_context(trace->elab, CELL_IN_RULE);
  cell_complain(&c, "E0505", use ? use->span : CELL_NOWHERE, "the policy has no `act`");
  return false;
}
