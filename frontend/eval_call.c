/* eval_call.c - calls: operations, functions of the file and the prelude (inlined), the words that
 * change how their argument is evaluated (prev, connected, next, target), and the names that
 * parameters get on the way. */
#include <string.h>

#include "frontend/value.h"

const char *cell_scope_next(CellElab *elab, CellScope *scope, const char *operation) {
  int at = 0;
  while (at < scope->count && strcmp(scope->names[at], operation) != 0) at++;
  if (at == scope->count) {
    int capacity = scope->capacity;
    CELL_PUSH(elab->arena, scope->names, scope->count, capacity, operation);
    scope->count--;
    CELL_PUSH(elab->arena, scope->counts, scope->count, scope->capacity, 0);
  }
  int number = ++scope->counts[at];
  const char *slash = *operation ? "/" : "";
  if (number == 1) return cell_arena_printf(elab->arena, "%s%s%s", scope->prefix, slash, operation);
  return cell_arena_printf(elab->arena, "%s%s%s_%d", scope->prefix, slash, operation, number);
}

/* ---- operations ---- */

/* the names in "x n; bias init", and how many stand before the `;` */
static int split(const CellContext *c, const char *params, const char ***names, int *positional) {
  int count = 0, capacity = 0;
  *names = NULL;
  *positional = -1;
  for (const char *p = params; *p;) {
    size_t length = strcspn(p, " ;");
    if (length > 0)
      CELL_PUSH(c->elab->arena, *names, count, capacity,
                cell_arena_strndup(c->elab->arena, p, length));
    p += length;
    if (*p == ';') *positional = count;
    if (*p) p++;
  }
  if (*positional < 0) *positional = count;
  return count;
}

static const char *arguments_text(const CellContext *c, int least, int most) {
  CellArena *arena = c->elab->arena;
  if (most < 0)
    return cell_arena_printf(arena, "at least %d argument%s", least, least == 1 ? "" : "s");
  if (least == most) return cell_arena_printf(arena, "%d argument%s", least, least == 1 ? "" : "s");
  return cell_arena_printf(arena, "%d to %d arguments", least, most);
}

static CellDatum call_builtin(const CellContext *c, const CellExpr *call,
                              const CellBuiltin *builtin) {
  CellArena *arena = c->elab->arena;
  const char **names;
  int positional, count = split(c, builtin->params, &names, &positional);
  const CellArgList *given = &call->call.args;
  CellArguments args = {.call = call};
  args.values = CELL_NEW_ARRAY(arena, CellDatum, count + 1);
  args.exprs = CELL_NEW_ARRAY(arena, const CellExpr *, count + 1);
  args.rest = CELL_NEW_ARRAY(arena, CellDatum, given->count + 1);
  args.rest_exprs = CELL_NEW_ARRAY(arena, const CellExpr *, given->count + 1);

  bool failed = false;
  for (int i = 0; i < given->count; i++) {
    const CellArg *arg = &given->items[i];
    int at = args.rest_count;
    if (arg->name.text) {
      at = 0;
      while (at < count && strcmp(names[at], arg->name.text) != 0) at++;
      if (at == count) {
        CellRecord *r = cell_complain(c, "E0205", arg->name.span, "`%s` has no argument `%s`",
                                      builtin->name, arg->name.text);
        cell_help_nearest(c->elab->diag, r, arg->name.text, names, count);
        failed = true;
        continue;
      }
      if (args.exprs[at]) {
        cell_complain(c, "E0205", arg->span, "`%s` is given twice", names[at]);
        failed = true;
        continue;
      }
    }
    CellDatum d = cell_evaluate(c, arg->value);
    failed = failed || d.kind == CELL_IS_ERROR;
    if (!arg->name.text || at < positional) {
      if (builtin->most >= 0 && at >= builtin->most) {
        CellRecord *r = cell_complain(c, "E0205", arg->span, "`%s` takes %s", builtin->name,
                                      arguments_text(c, builtin->least, builtin->most));
        if (positional < count)
          cell_help(c->elab->diag, r, "options are passed by name: `%s = ...`", names[positional]);
        failed = true;
        break;
      }
      args.rest[args.rest_count] = d;
      args.rest_exprs[args.rest_count++] = arg->value;
    }
    if (at < count && (arg->name.text || at < positional)) {
      args.values[at] = d;
      args.exprs[at] = arg->value;
    }
  }
  if (failed) return CELL_FAILED;
  if (args.rest_count < builtin->least) {
    cell_complain(c, "E0205", call->span, "`%s` takes %s, and there %s %d", builtin->name,
                  arguments_text(c, builtin->least, builtin->most),
                  args.rest_count == 1 ? "is" : "are", args.rest_count);
    return CELL_FAILED;
  }
  return builtin->apply(c, &args);
}

/* ---- functions written in the language ---- */

/* fills the frame with the parameters of `decls`; false after errors */
static bool bind_arguments(const CellContext *c, const CellExpr *call, const char *name,
                           const CellDeclList *decls, CellFrame *frame) {
  const CellArgList *given = &call->call.args;
  CellArena *arena = c->elab->arena;
  CellDatum *values = CELL_NEW_ARRAY(arena, CellDatum, decls->count + 1);
  const CellExpr **exprs = CELL_NEW_ARRAY(arena, const CellExpr *, decls->count + 1);
  bool ok = true;
  for (int i = 0; i < given->count; i++) {
    const CellArg *arg = &given->items[i];
    int at = i;
    if (arg->name.text) {
      at = 0;
      while (at < decls->count && strcmp(decls->items[at].name.text, arg->name.text) != 0) at++;
      if (at == decls->count) {
        const char **names = CELL_NEW_ARRAY(arena, const char *, decls->count + 1);
        for (int k = 0; k < decls->count; k++) names[k] = decls->items[k].name.text;
        CellRecord *r = cell_complain(c, "E0205", arg->name.span, "`%s` has no argument `%s`", name,
                                      arg->name.text);
        cell_help_nearest(c->elab->diag, r, arg->name.text, names, decls->count);
        ok = false;
        continue;
      }
    }
    if (at >= decls->count) {
      cell_complain(c, "E0205", arg->span, "`%s` takes %s", name,
                    arguments_text(c, decls->count, decls->count));
      return false;
    }
    if (exprs[at]) {
      cell_complain(c, "E0205", arg->span, "`%s` is given twice", decls->items[at].name.text);
      ok = false;
      continue;
    }
    values[at] = cell_evaluate(c, arg->value);
    exprs[at] = arg->value;
    if (values[at].kind == CELL_IS_ERROR) ok = false;
  }
  if (!ok) return false;
  for (int i = 0; i < decls->count; i++) {
    const CellDecl *decl = &decls->items[i];
    if (!exprs[i]) {
      if (!decl->value) {
        cell_complain(c, "E0205", call->span, "`%s` wants its argument `%s`", name,
                      decl->name.text);
        return false;
      }
      /* defaults see the arguments before them */
      CellContext inner = *c;
      inner.frame = frame;
      inner.scope = NULL;
      values[i] = cell_evaluate(&inner, decl->value);
      if (values[i].kind == CELL_IS_ERROR) return false;
    }
    cell_bind(c->elab, frame, decl->name.text, values[i],
              exprs[i] ? exprs[i]->span : decl->name.span);
  }
  return true;
}

/* a name that is bound a second time in a function's or rule's block */
static bool bound_again(const CellContext *c, const CellStmt *stmt) {
  for (const CellBinding *b = c->frame->bindings; b; b = b->older)
    if (strcmp(b->name, stmt->name.text) == 0) {
      CellRecord *r = cell_complain(c, "E0202", stmt->word, "`%s` is bound twice", stmt->name.text);
      cell_point(c, r, b->span, "first here");
      return true;
    }
  return false;
}

static CellDatum run_body(const CellContext *c, const CellItem *def) {
  CellDatum result = CELL_FAILED;
  bool shown = false;
  for (int i = 0; i < def->body.count; i++) {
    const CellStmt *stmt = def->body.items[i];
    const char *name = stmt->kind == CELL_STMT_OUTPUT ? "output" : stmt->name.text;
    if (stmt->kind == CELL_STMT_BIND && bound_again(c, stmt)) return CELL_FAILED;
    if (stmt->kind == CELL_STMT_OUTPUT && shown) {
      cell_complain(c, "E0202", stmt->word, "a function has one output");
      return CELL_FAILED;
    }
    CellScope scope = {0};
    CellContext inner = *c;
    if (c->scope) {
      scope.prefix = cell_arena_printf(c->elab->arena, "%s/%s", c->scope->prefix, name);
      inner.scope = &scope;
    }
    CellDatum d = cell_evaluate(&inner, stmt->value);
    if (d.kind == CELL_IS_ERROR) return CELL_FAILED;
    if (stmt->kind == CELL_STMT_OUTPUT) {
      result = d;
      shown = true;
    } else {
      cell_bind(c->elab, c->frame, name, d, stmt->value->span);
    }
  }
  if (!shown) cell_complain(c, "E0210", def->name.span, "`%s` has no output", def->name.text);
  return result;
}

static CellDatum call_def(const CellContext *c, const CellExpr *call, const CellFunction *f) {
  int depth = c->calls ? c->calls->depth + 1 : 1;
  if (depth > CELL_MAX_CALLS) {
    CellRecord *r =
        cell_complain(c, "E0206", call->span, "functions are nested too deeply in `%s`", f->name);
    cell_help(c->elab->diag, r,
              "functions are written out where they are called: one may not call itself");
    /* no more of this build: with two calls a function there are 2^64 such places */
    c->elab->work = 2 * (int64_t)CELL_MAX_WORK;
    return CELL_FAILED;
  }
  CellFrame frame = {.home = f->home};
  CellCallSite site = {.up = c->calls, .span = call->span, .name = f->name, .depth = depth};
  /* arguments belong to the caller; the caller is named first where they are wrong */
  if (!bind_arguments(c, call, f->name, &f->def->params, &frame)) return CELL_FAILED;
  CellContext inner = *c;
  CellScope scope = {0};
  inner.frame = &frame;
  inner.calls = &site;
  if (c->scope) {
    scope.prefix = cell_scope_next(c->elab, c->scope, f->name);
    inner.scope = &scope;
  }
  return f->def->value ? cell_evaluate(&inner, f->def->value) : run_body(&inner, f->def);
}

/* ---- words that decide how their argument is evaluated ---- */

static bool one_argument(const CellContext *c, const CellExpr *call, const char *name, int most) {
  const CellArgList *args = &call->call.args;
  if (args->count >= 1 && args->count <= most && !args->items[0].name.text) return true;
  cell_complain(c, "E0205", call->span, "`%s` takes %s", name, arguments_text(c, 1, most));
  return false;
}

static CellDatum connected(const CellContext *c, const CellExpr *call) {
  if (!one_argument(c, call, "connected", 1)) return CELL_FAILED;
  CellDatum d = cell_evaluate(c, call->call.args.items[0].value);
  return d.kind == CELL_IS_ERROR ? d : cell_truth(d.kind != CELL_IS_ABSENT);
}

/* next(e), next(e, h), target(e) */
static CellDatum elsewhere(const CellContext *c, const CellExpr *call, const char *name) {
  if (c->where != CELL_IN_RULE) {
    cell_complain(c, "E0504", call->span, "`%s` belongs into rules", name);
    return CELL_FAILED;
  }
  if (!c->trace || c->trace->taken == CELL_NONE) {
    cell_complain(c, "E0504", call->span, "`%s` makes no sense in a policy: there is no transition",
                  name);
    return CELL_FAILED;
  }
  bool next = strcmp(name, "next") == 0;
  if (!one_argument(c, call, name, next ? 2 : 1)) return CELL_FAILED;
  CellContext inner = *c;
  const CellArgList *args = &call->call.args;
  if (next) {
    int32_t steps = 1;
    if (args->count == 2) {
      CellDatum d = cell_evaluate(c, args->items[1].value);
      if (!cell_want_whole(c, d, args->items[1].span, "a number of steps", &steps))
        return CELL_FAILED;
    }
    if (steps < 0 || c->time + steps > 1)
      return cell_not_supported(c, "E0910", call->span, "values more than one step on"),
             CELL_FAILED;
    inner.time = c->time + steps;
  } else {
    inner.target = true;
  }
  CellDatum d = cell_evaluate(&inner, args->items[0].value);
  return cell_stop(c, d);
}

static bool is_bound(const CellContext *c, const char *name) {
  CellDatum value;
  CellSpan span;
  return cell_find_binding(c, name, &value, &span);
}

/* calls of these words; false: `name` is none of them */
static bool word_call(const CellContext *c, const CellExpr *call, const char *name, CellDatum *d) {
  static const char *const words[] = {"prev", "connected", "next", "target", "through", "other"};
  int at = 0;
  while (at < 6 && strcmp(words[at], name) != 0) at++;
  CellHome home;
  if (at == 6 || is_bound(c, name) || cell_find_value(c->elab->spec, CELL_HOME_FILE, name, &home))
    return false;
  switch (at) {
  case 0: *d = cell_prev(c, call); break;
  case 1: *d = connected(c, call); break;
  case 2:
  case 3: *d = elsewhere(c, call, name); break;
  case 4:
    cell_not_supported(c, "E0912", call->span, "gradients through `next`");
    *d = CELL_FAILED;
    break;
  default: cell_not_supported(c, "E0905", call->span, "random draws in rules"); *d = CELL_FAILED;
  }
  return true;
}

/* `mean = ...` and then `mean(x)`: both places */
static CellDatum not_a_function(const CellContext *c, const CellExpr *call, CellDatum callee) {
  const CellExpr *expr = call->call.callee;
  const char *what =
      expr->kind == CELL_EXPR_NAME ? cell_arena_printf(c->elab->arena, "`%s`", expr->name) : "this";
  const char *is =
      callee.kind == CELL_IS_TENSOR
          ? cell_arena_printf(c->elab->arena, "a tensor (%s)", cell_describe(c, callee))
          : cell_describe(c, callee);
  CellRecord *r = cell_complain(c, "E0204", expr->span, "%s is no function but %s", what, is);
  if (expr->kind != CELL_EXPR_NAME) return CELL_FAILED;
  CellDatum value;
  CellSpan span;
  if (cell_find_binding(c, expr->name, &value, &span)) cell_point(c, r, span, "bound here");
  CellHome home;
  const CellItem *hidden = cell_find_value(c->elab->spec, CELL_HOME_PRELUDE, expr->name, &home);
  if (hidden)
    cell_relate(c->elab->diag, r, CELL_NOWHERE, "it hides `%s` of the prelude, line %d there",
                expr->name, cell_line(c->elab->diag, hidden->name.span));
  if (hidden || cell_find_builtin(expr->name))
    cell_help(c->elab->diag, r, "give the value another name to use the function `%s`", expr->name);
  return CELL_FAILED;
}

CellDatum cell_call(const CellContext *c, const CellExpr *call) {
  const CellExpr *callee = call->call.callee;
  CellDatum d;
  if (callee->kind == CELL_EXPR_NAME && word_call(c, call, callee->name, &d)) return d;
  if (callee->kind == CELL_EXPR_MEMBER && c->where == CELL_IN_RULE) {
    cell_not_supported(c, "E0906", call->span, "a cell's value evaluated on given inputs");
    return CELL_FAILED;
  }
  d = cell_evaluate(c, callee);
  if (d.kind == CELL_IS_ERROR) return CELL_FAILED;
  if (d.kind != CELL_IS_FUNCTION) return not_a_function(c, call, d);
  if (d.function.builtin) return call_builtin(c, call, d.function.builtin);
  return call_def(c, call, &d.function);
}
