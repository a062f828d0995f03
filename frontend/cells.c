/* cells.c - the stack: which cells there are, how they are connected, what they are at a stage, and
 * the check of the whole network. */
#include <string.h>

#include "frontend/value.h"

static CellContext stack_context(CellElab *elab) {
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  return c;
}

int cell_find_placed(const CellElab *elab, const char *name) {
  for (int i = 0; i < elab->cell_count; i++)
    if (strcmp(elab->cells[i].name, name) == 0) return i;
  return -1;
}

const char *cell_group(const CellElab *elab, int cell) {
  const CellPlaced *p = &elab->cells[cell];
  return p->block >= 0 ? elab->blocks[p->block].name : p->name;
}

/* ---- one cell of the stack ---- */

/* a name of a cell is bound once: by an argument, a port or a statement */
static bool check_definition(CellElab *elab, const CellItem *cell) {
  CellContext c = stack_context(elab);
  int room = cell->params.count + cell->ports.count + cell->body.count;
  CellName *names = CELL_NEW_ARRAY(elab->arena, CellName, room + 1);
  int count = 0, outputs = 0, goodnesses = 0;
  bool ok = room <= CELL_MAX_STATEMENTS;
  if (!ok) {
    cell_complain(&c, "E0308", cell->name.span,
                  "a cell has at most %d arguments, ports and statements", CELL_MAX_STATEMENTS);
    return false;
  }
  for (int i = 0; i < cell->params.count; i++) names[count++] = cell->params.items[i].name;
  for (int i = 0; i < cell->ports.count; i++) names[count++] = cell->ports.items[i].name;
  for (int i = 0; i < cell->body.count; i++) {
    const CellStmt *stmt = cell->body.items[i];
    if (stmt->kind == CELL_STMT_BIND) names[count++] = stmt->name;
    int *seen = stmt->kind == CELL_STMT_OUTPUT     ? &outputs
                : stmt->kind == CELL_STMT_GOODNESS ? &goodnesses
                                                   : NULL;
    if (seen && ++*seen > 1) {
      cell_complain(&c, "E0202", stmt->word, "a cell has one %s", cell_stmt_word(stmt->kind));
      ok = false;
    }
    if (stmt->kind == CELL_STMT_LOSS) {
      cell_not_supported(&c, "E0903", stmt->span, "`loss` in a cell");
      ok = false;
    }
  }
  for (int i = 0; i < count; i++)
    for (int k = 0; k < i; k++)
      if (strcmp(names[i].text, names[k].text) == 0) {
        CellRecord *r =
            cell_complain(&c, "E0202", names[i].span, "`%s` is bound twice", names[i].text);
        cell_relate(elab->diag, r, names[k].span, "first here");
        ok = false;
        break;
      }
  return ok;
}

static const CellItem *cell_named(CellElab *elab, CellName name, CellHome *home) {
  *home = CELL_HOME_FILE;
  const CellItem *cell = cell_find_item(elab->spec, CELL_HOME_FILE, CELL_ITEM_CELL, name.text);
  if (cell) return cell;
  *home = CELL_HOME_PRELUDE;
  return cell_find_item(elab->spec, CELL_HOME_PRELUDE, CELL_ITEM_CELL, name.text);
}

static void unknown_cell(CellElab *elab, CellName name) {
  CellContext c = stack_context(elab);
  CellRecord *r = cell_complain(&c, "E0401", name.span, "there is no cell `%s`", name.text);
  const CellAst *asts[2] = {elab->spec->file, elab->spec->prelude};
  const char **names = NULL;
  int count = 0, capacity = 0;
  for (int a = 0; a < 2; a++)
    for (int i = 0; asts[a] && i < asts[a]->count; i++)
      if (asts[a]->items[i]->kind == CELL_ITEM_CELL)
        CELL_PUSH(elab->arena, names, count, capacity, asts[a]->items[i]->name.text);
  cell_help_nearest(elab->diag, r, name.text, names, count);
}

/* arguments from the call, from overrides ("l1.n") and from defaults */
static bool fill_arguments(CellElab *elab, CellPlaced *p, const CellArgList *given) {
  const CellDeclList *decls = &p->cell->params;
  CellContext c = stack_context(elab);
  p->args = CELL_NEW_ARRAY(elab->arena, CellDatum, decls->count + 1);
  const CellExpr **exprs = CELL_NEW_ARRAY(elab->arena, const CellExpr *, decls->count + 1);
  const char **names = CELL_NEW_ARRAY(elab->arena, const char *, decls->count + 1);
  for (int i = 0; i < decls->count; i++) names[i] = decls->items[i].name.text;
  bool ok = true;
  for (int i = 0; given && i < given->count; i++) {
    const CellArg *arg = &given->items[i];
    int at = i;
    if (arg->name.text) {
      at = 0;
      while (at < decls->count && strcmp(names[at], arg->name.text) != 0) at++;
    }
    if (at >= decls->count) {
      CellRecord *r;
      if (arg->name.text) {
        r = cell_complain(&c, "E0205", arg->name.span, "the cell %s has no argument `%s`",
                          p->cell->name.text, arg->name.text);
        cell_help_nearest(elab->diag, r, arg->name.text, names, decls->count);
      } else {
        cell_complain(&c, "E0205", arg->span, "the cell %s takes %d argument%s", p->cell->name.text,
                      decls->count, decls->count == 1 ? "" : "s");
      }
      ok = false;
      continue;
    }
    if (exprs[at]) {
      cell_complain(&c, "E0205", arg->span, "`%s` is given twice", names[at]);
      ok = false;
    }
    exprs[at] = arg->value;
  }
  CellFrame frame = {.home = p->home};
  for (int i = 0; i < decls->count; i++) {
    const char *path = cell_arena_printf(elab->arena, "%s.%s", p->name, names[i]);
    CellOverride *set = cell_override(elab->spec, path);
    const char *origin = "file";
    CellContext at = c;
    if (set) {
      exprs[i] = set->value;
      origin = set->origin;
    } else if (!exprs[i]) {
      exprs[i] = decls->items[i].value;
      at.frame = &frame;
      origin = "default";
    }
    if (!exprs[i]) {
      cell_complain(&c, "E0205", p->span, "%s wants the argument `%s` of %s", p->name, names[i],
                    p->cell->name.text);
      ok = false;
      continue;
    }
    p->args[i] = cell_evaluate(&at, exprs[i]);
    if (p->args[i].kind == CELL_IS_ERROR) ok = false;
    cell_bind(elab, &frame, names[i], p->args[i], exprs[i]->span);
    cell_note_setting(elab->spec, path, cell_expr_text(elab->arena, exprs[i]), origin);
  }
  return ok;
}

static bool connect(CellElab *elab, CellPlaced *p, const CellLinkList *links) {
  const CellDeclList *ports = &p->cell->ports;
  CellContext c = stack_context(elab);
  p->links = CELL_NEW_ARRAY(elab->arena, const CellExpr *, ports->count + 1);
  const char **names = CELL_NEW_ARRAY(elab->arena, const char *, ports->count + 1);
  bool *given = CELL_NEW_ARRAY(elab->arena, bool, ports->count + 1);
  for (int i = 0; i < ports->count; i++) names[i] = ports->items[i].name.text;
  bool ok = true;
  for (int i = 0; links && i < links->count; i++) {
    const CellLink *link = &links->items[i];
    int at = 0;
    while (at < ports->count && strcmp(names[at], link->port.text) != 0) at++;
    if (at == ports->count) {
      CellRecord *r = cell_complain(&c, "E0403", link->port.span, "the cell %s has no port `%s`",
                                    p->cell->name.text, link->port.text);
      cell_help_nearest(elab->diag, r, link->port.text, names, ports->count);
      ok = false;
      continue;
    }
    if (given[at]) {
      cell_complain(&c, "E0403", link->span, "the port `%s` is connected twice", names[at]);
      ok = false;
    }
    given[at] = true;
    p->links[at] = link->value;
  }
  for (int i = 0; i < ports->count; i++) {
    CellOverride *set =
        cell_override(elab->spec, cell_arena_printf(elab->arena, "%s.%s", p->name, names[i]));
    if (set) p->links[i] = set->value;
    if (p->links[i] && p->links[i]->kind == CELL_EXPR_NONE) p->links[i] = NULL;
    if (p->links[i] || ports->items[i].optional || !ok) continue;
    CellRecord *r = cell_complain(&c, "E0402", p->span, "the port `%s` of %s is not connected",
                                  names[i], p->name);
    cell_relate(elab->diag, r, ports->items[i].span, "the port");
    cell_help(elab->diag, r, "connect it (`%s: ...`), or make it optional in the cell: `%s?`",
              names[i], names[i]);
    ok = false;
  }
  return ok;
}

static CellPlaced *add_cell(CellElab *elab, CellName name, CellSpan span) {
  CellContext c = stack_context(elab);
  if (elab->cell_count == CELL_MAX_CELLS) {
    cell_complain(&c, "E0308", span, "a stack has at most %d cells", CELL_MAX_CELLS);
    return NULL;
  }
  int old = cell_find_placed(elab, name.text);
  if (old >= 0) {
    CellRecord *r = cell_complain(&c, "E0202", name.span, "there are two cells `%s`", name.text);
    cell_relate(elab->diag, r, elab->cells[old].span, "first here");
    return NULL;
  }
  if (strcmp(name.text, "train") == 0 || strcmp(name.text, "learn") == 0) {
    cell_complain(&c, "E0414", name.span, "a cell may not be called `%s`: settings begin so",
                  name.text);
    return NULL;
  }
  CellHome home;
  const CellItem *param = cell_find_value(elab->spec, CELL_HOME_FILE, name.text, &home);
  if (param && home == CELL_HOME_FILE) {
    CellRecord *r = cell_complain(&c, "E0202", name.span, "`%s` is bound twice", name.text);
    cell_relate(elab->diag, r, param->name.span, "first here");
    return NULL;
  }
  CellPlaced *p = &elab->cells[elab->cell_count++];
  *p = (CellPlaced){.name = name.text, .span = span, .block = -1, .output = -1, .goodness = -1};
  p->reads = CELL_NEW_ARRAY(elab->arena, bool, CELL_MAX_CELLS);
  return p;
}

static bool fill_cell(CellElab *elab, CellPlaced *p, CellName kind, const CellArgList *args,
                      const CellLinkList *links) {
  p->cell = cell_named(elab, kind, &p->home);
  p->broken = true;
  if (!p->cell) {
    unknown_cell(elab, kind);
    return false;
  }
  for (int i = 0; i < p->cell->body.count; i++) {
    if (p->cell->body.items[i]->kind == CELL_STMT_OUTPUT) p->output = i;
    if (p->cell->body.items[i]->kind == CELL_STMT_GOODNESS) p->goodness = i;
  }
  bool ok = check_definition(elab, p->cell);
  ok = fill_arguments(elab, p, args) && ok;
  ok = connect(elab, p, links) && ok;
  p->broken = !ok;
  return ok;
}

/* ---- the long form ---- */

static bool place_long(CellElab *elab, const CellPlace *place) {
  CellContext c = stack_context(elab);
  const CellExpr *value = place->value;
  const CellArgList *args = NULL;
  const CellExpr *kind = value;
  if (value->kind == CELL_EXPR_CALL) {
    kind = value->call.callee;
    args = &value->call.args;
  }
  CellName name = {.span = kind->span};
  if (kind->kind == CELL_EXPR_NAME) name.text = kind->name;
  CellHome home;
  bool is_cell = name.text && cell_named(elab, name, &home);
  if (place->kind == CELL_PLACE_VALUE && !is_cell) {
    bool parameter = name.text && strcmp(name.text, "parameter") == 0;
    if (parameter || !name.text) {
      cell_not_supported(&c, "E0907", place->span, "parameters of the stack");
      return false;
    }
  }
  if (!name.text) {
    cell_complain(&c, "E0401", kind->span, "the name of a cell is wanted here");
    return false;
  }
  CellPlaced *p = add_cell(elab, place->name, place->span);
  return p && fill_cell(elab, p, name, args, &place->links);
}

/* ---- the short form: exactly the long form, written out ---- */

static CellExpr *new_expr(CellElab *elab, CellExprKind kind, CellSpan span) {
  CellExpr *e = CELL_NEW(elab->arena, CellExpr);
  e->kind = kind;
  e->depth = 8;
  e->span = e->op = span;
  return e;
}

static CellExpr *name_expr(CellElab *elab, const char *name, CellSpan span) {
  CellExpr *e = new_expr(elab, CELL_EXPR_NAME, span);
  e->name = name;
  return e;
}

static void push_arg(CellElab *elab, CellArgList *list, CellExpr *value) {
  CellArg arg = {.value = value, .span = value->span};
  CELL_PUSH(elab->arena, list->items, list->count, list->capacity, arg);
}

/* prev(l1), or scale * prev(l1) */
static CellExpr *prev_expr(CellElab *elab, const char *cell, CellExpr *scale, CellSpan span) {
  CellExpr *call = new_expr(elab, CELL_EXPR_CALL, span);
  call->call.callee = name_expr(elab, "prev", span);
  push_arg(elab, &call->call.args, name_expr(elab, cell, span));
  if (!scale) return call;
  CellExpr *product = new_expr(elab, CELL_EXPR_BINARY, span);
  product->binary.op = CELL_BINARY_MUL;
  product->binary.left = scale;
  product->binary.right = call;
  return product;
}

static void push_link(CellElab *elab, CellLinkList *links, const char *port, CellExpr *value,
                      CellSpan span) {
  CellLink link = {.port = {.text = port, .span = span}, .value = value, .span = span};
  CELL_PUSH(elab->arena, links->items, links->count, links->capacity, link);
}

static bool place_short(CellElab *elab, const CellItem *stack) {
  CellContext c = stack_context(elab);
  int count = stack->sizes.count;
  bool ok = true;
  for (int i = 0; i < count; i++) {
    const CellExpr *size = stack->sizes.items[i];
    CellName name = {.text = cell_arena_printf(elab->arena, "l%d", i + 1), .span = size->span};
    const char *below = i ? cell_arena_printf(elab->arena, "l%d", i) : "obs";
    CellLinkList links = {0};
    push_link(elab, &links, "below", name_expr(elab, below, size->span), size->span);
    for (int w = 0; w < stack->with.count; w++) {
      const CellWith *with = &stack->with.items[w];
      CellExpr *arg = with->args.count ? with->args.items[0].value : NULL;
      if (strcmp(with->name.text, "skip") == 0) {
        CellExpr *what = arg ? arg : name_expr(elab, "obs", with->span);
        if (i > 0) push_link(elab, &links, "skip", what, with->span);
      } else if (strcmp(with->name.text, "self") == 0) {
        push_link(elab, &links, "self", prev_expr(elab, name.text, arg, with->span), with->span);
      } else if (strcmp(with->name.text, "top_down") == 0) {
        const char *above = cell_arena_printf(elab->arena, "l%d", i + 2);
        if (i + 1 < count)
          push_link(elab, &links, "top", prev_expr(elab, above, arg, with->span), with->span);
      } else if (i == 0) {
        static const char *const words[] = {"skip", "self", "top_down"};
        CellRecord *r =
            cell_complain(&c, "E0403", with->name.span, "unknown link `%s`", with->name.text);
        cell_help(elab->diag, r, "one of skip, self, top_down");
        cell_help_nearest(elab->diag, r, with->name.text, words, 3);
        ok = false;
      }
      if (with->args.count > 1 && i == 0) {
        cell_complain(&c, "E0205", with->span, "`%s` takes one argument", with->name.text);
        ok = false;
      }
    }
    CellArgList args = {0};
    push_arg(elab, &args, stack->sizes.items[i]);
    for (int a = 0; a < stack->args.count; a++)
      CELL_PUSH(elab->arena, args.items, args.count, args.capacity, stack->args.items[a]);
    CellPlaced *p = add_cell(elab, name, size->span);
    ok = p && fill_cell(elab, p, stack->name, &args, &links) && ok;
  }
  return ok;
}

/* ---- blocks ---- */

static bool add_member(CellElab *elab, int block, CellName member) {
  CellContext c = stack_context(elab);
  int cell = cell_find_placed(elab, member.text);
  if (cell < 0) {
    const char **names = CELL_NEW_ARRAY(elab->arena, const char *, elab->cell_count + 1);
    for (int i = 0; i < elab->cell_count; i++) names[i] = elab->cells[i].name;
    CellRecord *r =
        cell_complain(&c, "E0411", member.span, "there is no cell `%s` in the stack", member.text);
    cell_help_nearest(elab->diag, r, member.text, names, elab->cell_count);
    return false;
  }
  if (elab->cells[cell].block >= 0) {
    cell_complain(&c, "E0411", member.span, "%s is in an end_to_end block already", member.text);
    return false;
  }
  elab->cells[cell].block = block;
  return true;
}

static bool place_blocks(CellElab *elab, const CellPlaceList *places) {
  CellContext c = stack_context(elab);
  elab->blocks = CELL_NEW_ARRAY(elab->arena, CellBlock, places->count + 1);
  CellOverride *set = cell_override(elab->spec, "end_to_end");
  bool none = false, ok = true;
  if (set) {
    bool all = set->value->kind == CELL_EXPR_NAME && strcmp(set->value->name, "all") == 0;
    none = set->value->kind == CELL_EXPR_NONE;
    if (!all && !none) {
      cell_complain(&c, "E0602", set->value->span, "end_to_end is `all` or `none`");
      return false;
    }
    if (all) {
      elab->blocks[elab->block_count++] = (CellBlock){.name = "end_to_end", .span = set->span};
      for (int i = 0; i < elab->cell_count; i++) elab->cells[i].block = 0;
      return true;
    }
  }
  for (int i = 0; i < places->count && !none; i++) {
    const CellPlace *place = &places->items[i];
    if (place->kind != CELL_PLACE_BLOCK) continue;
    int number = elab->block_count;
    const char *name = place->name.text;
    if (!name)
      name = number ? cell_arena_printf(elab->arena, "end_to_end_%d", number + 1) : "end_to_end";
    if (cell_find_placed(elab, name) >= 0) {
      cell_complain(&c, "E0202", place->name.span, "`%s` is bound twice", name);
      ok = false;
    }
    elab->blocks[elab->block_count++] = (CellBlock){.name = name, .span = place->span};
    for (int k = 0; k < place->members.count; k++)
      ok = add_member(elab, number, place->members.items[k]) && ok;
  }
  return ok;
}

bool cell_place_stack(CellElab *elab) {
  const CellItem *stack = elab->spec->stack;
  elab->cells = CELL_NEW_ARRAY(elab->arena, CellPlaced, CELL_MAX_CELLS);
  bool ok = true;
  if (stack->name.text) ok = place_short(elab, stack);
  for (int i = 0; i < stack->places.count; i++)
    if (stack->places.items[i].kind != CELL_PLACE_BLOCK)
      ok = place_long(elab, &stack->places.items[i]) && ok;
  ok = place_blocks(elab, &stack->places) && ok;
  if (ok && elab->cell_count == 0) {
    CellContext c = stack_context(elab);
    cell_complain(&c, "E0209", stack->word, "the stack has no cells");
    return false;
  }
  return ok;
}
