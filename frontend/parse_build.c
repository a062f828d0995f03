/* parse_build.c - nodes of the syntax tree, and the few checks that need no names and no shapes. */
#include "frontend/parse_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* arguments of one call; more is an error, so that looking for repeated names stays cheap */
#define MAX_ARGS 256

/* ---- expressions ---- */

static int depth_of(const CellExpr *expr) {
  return expr ? expr->depth : 0;
}

static CellExpr *expr_new(CellParser *parser, CellExprKind kind, CellSpan op, CellSpan span,
                          int below) {
  CellExpr *expr = CELL_NEW(parser->arena, CellExpr);

  expr->kind = kind;
  expr->op = op;
  expr->span = span;
  expr->depth = below + 1;
  if (expr->depth > CELL_MAX_DEPTH) {
    CellRecord *record = cell_parse_stop(parser, "E0112", op,
                                         "this expression has more than %d levels", CELL_MAX_DEPTH);
    cell_help(parser->diag, record, "bind parts of it to names");
  }
  return expr;
}

static int deeper(int a, int b) {
  return a > b ? a : b;
}

CellExpr *cell_build_leaf(CellParser *parser, CellExprKind kind, CellSpan span) {
  return expr_new(parser, kind, span, span, 0);
}

CellExpr *cell_build_number(CellParser *parser, CellSpan span) {
  CellExpr *expr = cell_build_leaf(parser, CELL_EXPR_NUMBER, span);
  const char *text =
      cell_arena_strndup(parser->arena, parser->text + span.begin, (size_t)(span.end - span.begin));

  expr->number.text = text;
  expr->number.value = strtod(text, NULL);
  if (isinf(expr->number.value)) {
    CellRecord *record = cell_parse_fail(parser, "E0108", span, "the number `%s` is too large",
                                         cell_parse_excerpt(parser, span));
    cell_help(parser->diag, record, "infinity is written inf");
  }
  return expr;
}

CellExpr *cell_build_name(CellParser *parser, CellName name) {
  CellExpr *expr = cell_build_leaf(parser, CELL_EXPR_NAME, name.span);

  expr->name = name.text;
  return expr;
}

CellExpr *cell_build_bool(CellParser *parser, bool truth, CellSpan span) {
  CellExpr *expr = cell_build_leaf(parser, CELL_EXPR_BOOL, span);

  expr->truth = truth;
  return expr;
}

CellExpr *cell_build_negate(CellParser *parser, CellExpr *operand, CellSpan op, CellSpan span) {
  CellExpr *expr = expr_new(parser, CELL_EXPR_NEGATE, op, span, depth_of(operand));

  expr->operand = operand;
  return expr;
}

CellExpr *cell_build_binary(CellParser *parser, CellBinary op, CellExpr *left, CellExpr *right,
                            CellSpan at, CellSpan span) {
  CellExpr *expr =
      expr_new(parser, CELL_EXPR_BINARY, at, span, deeper(depth_of(left), depth_of(right)));

  expr->binary.op = op;
  expr->binary.left = left;
  expr->binary.right = right;
  return expr;
}

CellExpr *cell_build_if(CellParser *parser, CellExpr *condition, CellExpr *then,
                        CellExpr *otherwise, CellSpan at, CellSpan span) {
  int below = deeper(depth_of(condition), deeper(depth_of(then), depth_of(otherwise)));
  CellExpr *expr = expr_new(parser, CELL_EXPR_IF, at, span, below);

  expr->branch.condition = condition;
  expr->branch.then = then;
  expr->branch.otherwise = otherwise;
  return expr;
}

CellExpr *cell_build_call(CellParser *parser, CellExpr *callee, CellArgList args, CellSpan at,
                          CellSpan span) {
  int below = depth_of(callee);
  CellExpr *expr;

  for (int i = 0; i < args.count; i++) below = deeper(below, depth_of(args.items[i].value));
  expr = expr_new(parser, CELL_EXPR_CALL, at, span, below);
  expr->call.callee = callee;
  expr->call.args = args;
  return expr;
}

CellExpr *cell_build_member(CellParser *parser, CellExpr *object, CellName name, CellSpan span) {
  CellExpr *expr;

  if (strcmp(name.text, "T") == 0) {
    expr = expr_new(parser, CELL_EXPR_TRANSPOSE, name.span, span, depth_of(object));
    expr->operand = object;
    return expr;
  }
  expr = expr_new(parser, CELL_EXPR_MEMBER, name.span, span, depth_of(object));
  expr->member.object = object;
  expr->member.name = name;
  return expr;
}

CellExpr *cell_build_index(CellParser *parser, CellExpr *object, CellIndexList at, CellSpan op,
                           CellSpan span) {
  int below = depth_of(object);
  CellExpr *expr;

  for (int i = 0; i < at.count; i++)
    below = deeper(below, deeper(depth_of(at.items[i].first), depth_of(at.items[i].last)));
  expr = expr_new(parser, CELL_EXPR_INDEX, op, span, below);
  expr->index.object = object;
  expr->index.at = at;
  return expr;
}

CellExpr *cell_build_list(CellParser *parser, CellExprList list, CellSpan at, CellSpan span) {
  int below = 0;
  CellExpr *expr;

  for (int i = 0; i < list.count; i++) below = deeper(below, depth_of(list.items[i]));
  expr = expr_new(parser, CELL_EXPR_LIST, at, span, below);
  expr->list = list;
  return expr;
}

CellExpr *cell_build_comprehension(CellParser *parser, CellExpr *element, CellName variable,
                                   CellExpr *over, CellSpan at, CellSpan span) {
  CellExpr *expr = expr_new(parser, CELL_EXPR_COMPREHENSION, at, span,
                            deeper(depth_of(element), depth_of(over)));

  expr->comprehension.element = element;
  expr->comprehension.variable = variable;
  expr->comprehension.over = over;
  return expr;
}

/* ---- arguments ---- */

CellArgList cell_build_arg(CellParser *parser, CellArgList list, CellArg arg) {
  CellDiag *diag = parser->diag;
  CellRecord *record;

  if (list.count == MAX_ARGS) {
    cell_parse_stop(parser, "E0112", arg.span, "a call has more than %d arguments", MAX_ARGS);
    return list;
  }
  for (int i = 0; i < list.count; i++) {
    const CellName *name = &list.items[i].name;

    if (name->text && !arg.name.text) {
      record = cell_parse_fail(parser, "E0115", arg.span,
                               "an argument without a name stands after a named one");
      cell_relate(diag, record, list.items[i].span, "`%s` is named", name->text);
      cell_help(diag, record, "named arguments come last");
      return list;
    }
    if (name->text && strcmp(name->text, arg.name.text) == 0) {
      record = cell_parse_fail(parser, "E0115", arg.name.span, "the argument `%s` is given twice",
                               arg.name.text);
      cell_relate(diag, record, list.items[i].span, "first here");
      return list;
    }
  }
  CELL_PUSH(parser->arena, list.items, list.count, list.capacity, arg);
  return list;
}

/* ---- statements and items ---- */

CellStmt *cell_build_stmt(CellParser *parser, CellStmtKind kind, CellExpr *value, CellSpan word,
                          CellSpan span) {
  CellStmt *stmt = CELL_NEW(parser->arena, CellStmt);

  stmt->kind = kind;
  stmt->value = value;
  stmt->word = word;
  stmt->span = span;
  return stmt;
}

/* the words of the statements that a block may hold: "`name =`, `output`" */
static const char *words_of(CellParser *parser, unsigned holds) {
  const char *list = NULL;

  for (int kind = 0; kind < CELL_STMT_KINDS; kind++) {
    if (!(holds >> kind & 1u)) continue;
    list = list ? cell_arena_printf(parser->arena, "%s, `%s`", list, cell_stmt_word(kind))
                : cell_arena_printf(parser->arena, "`%s`", cell_stmt_word(kind));
  }
  return list;
}

static const unsigned block_holds[] = {
#define CELL_ROW(id, name, holds) holds,
    CELL_BLOCKS(CELL_ROW)
#undef CELL_ROW
};

/* removes the statements that this block may not hold, with a message each */
CellStmtList cell_build_block(CellParser *parser, CellBlockKind kind, CellStmtList list) {
  unsigned holds = block_holds[kind];
  int kept = 0;

  for (int i = 0; i < list.count; i++) {
    CellStmt *stmt = list.items[i];

    if (holds >> stmt->kind & 1u) {
      stmt->body = cell_build_block(parser, kind, stmt->body);
      stmt->otherwise = cell_build_block(parser, kind, stmt->otherwise);
      list.items[kept++] = stmt;
    } else {
      CellRecord *record =
          cell_parse_fail(parser, "E0113", stmt->word, "`%s` does not belong in %s",
                          cell_stmt_word(stmt->kind), cell_block_name(kind));
      cell_help(parser->diag, record, "%s holds %s", cell_block_name(kind),
                words_of(parser, holds));
    }
  }
  list.count = kept;
  return list;
}

CellItem *cell_build_item(CellParser *parser, CellItemKind kind, CellSpan word, CellSpan span) {
  CellItem *item = CELL_NEW(parser->arena, CellItem);

  item->kind = kind;
  item->word = word;
  item->span = span;
  return item;
}

/* arguments are always given: only ports may be left open */
CellDeclList cell_build_params(CellParser *parser, CellDeclList list) {
  for (int i = 0; i < list.count; i++) {
    CellDecl *decl = &list.items[i];

    if (!decl->optional) continue;
    CellRecord *record = cell_parse_fail(parser, "E0114", decl->span,
                                         "the argument `%s` cannot be marked `?`", decl->name.text);
    cell_help(parser->diag, record,
              "only a port may be left open; give an argument a default: "
              "%s = value",
              decl->name.text);
    decl->optional = false;
  }
  return list;
}

CellItem *cell_build_cell(CellParser *parser, CellName name, CellDeclList first,
                          CellDeclList *second, CellStmtList body, CellSpan word, CellSpan span) {
  CellItem *item = cell_build_item(parser, CELL_ITEM_CELL, word, span);

  item->name = name;
  item->body = cell_build_block(parser, CELL_BLOCK_CELL, body);
  item->ports = second ? *second : first;
  if (second) item->params = cell_build_params(parser, first);
  for (int i = 0; i < item->ports.count; i++) {
    CellDecl *port = &item->ports.items[i];

    if (!port->value) continue;
    CellRecord *record = cell_parse_fail(parser, "E0114", port->span,
                                         "the port `%s` cannot have a default", port->name.text);
    if (second)
      cell_help(parser->diag, record, "mark it `%s?` if it may be left open", port->name.text);
    else
      cell_help(parser->diag, record,
                "arguments stand in parentheses of their own before the ports: cell %s(%s = ...)"
                "(below)",
                name.text, port->name.text);
    port->value = NULL;
  }
  return item;
}

/* `policy p(a, b)` uses, `policy p(who = cells) { ... }` defines: there the arguments are
 * parameters */
CellItem *cell_build_policy(CellParser *parser, CellName name, CellArgList args, CellStmtList *body,
                            CellSpan word, CellSpan span) {
  CellItem *item = cell_build_item(parser, CELL_ITEM_POLICY, word, span);

  item->name = name;
  if (!body) {
    item->args = args;
    return item;
  }
  item->defined = true;
  item->body = cell_build_block(parser, CELL_BLOCK_POLICY, *body);
  for (int i = 0; i < args.count; i++) {
    const CellArg *arg = &args.items[i];
    CellDecl decl = {.name = arg->name, .value = arg->value, .span = arg->span};

    if (!arg->name.text) {
      if (arg->value->kind != CELL_EXPR_NAME) {
        cell_parse_fail(parser, "E0114", arg->span, "a parameter of a policy must be a name");
        continue;
      }
      decl.name = (CellName){arg->value->name, arg->value->span};
      decl.value = NULL;
    }
    CELL_PUSH(parser->arena, item->params.items, item->params.count, item->params.capacity, decl);
  }
  return item;
}
