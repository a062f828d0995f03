/* ast_print.c - the tree as text: `cellc emit --stage ast`, and golden files of the tests.
 *
 * One node a line, two spaces for each level. Expressions stay on one line; every operator stands
 * in parentheses, so that the reader sees what binds to what. Numbers are printed as written. */
#include "frontend/ast.h"

/* ---- expressions ---- */

static void args_print(const CellArgList *args, FILE *out) {
  for (int i = 0; i < args->count; i++) {
    const CellArg *arg = &args->items[i];

    if (i > 0) fputs(", ", out);
    if (arg->name.text) fprintf(out, "%s = ", arg->name.text);
    cell_expr_print(arg->value, out);
  }
}

static void index_print(const CellIndex *at, FILE *out) {
  if (at->first) cell_expr_print(at->first, out);
  if (at->slice) fputc(':', out);
  if (at->last) cell_expr_print(at->last, out);
}

void cell_expr_print(const CellExpr *expr, FILE *out) {
  switch (expr->kind) {
  case CELL_EXPR_NUMBER: fputs(expr->number.text, out); break;
  case CELL_EXPR_NAME: fputs(expr->name, out); break;
  case CELL_EXPR_BOOL: fputs(expr->truth ? "true" : "false", out); break;
  case CELL_EXPR_NONE: fputs("none", out); break;
  case CELL_EXPR_NEGATE:
    fputs("(-", out);
    cell_expr_print(expr->operand, out);
    fputc(')', out);
    break;
  case CELL_EXPR_BINARY:
    fputc('(', out);
    cell_expr_print(expr->binary.left, out);
    fprintf(out, " %s ", cell_binary_text(expr->binary.op));
    cell_expr_print(expr->binary.right, out);
    fputc(')', out);
    break;
  case CELL_EXPR_IF:
    fputs("(if ", out);
    cell_expr_print(expr->branch.condition, out);
    fputs(" then ", out);
    cell_expr_print(expr->branch.then, out);
    fputs(" else ", out);
    cell_expr_print(expr->branch.otherwise, out);
    fputc(')', out);
    break;
  case CELL_EXPR_CALL:
    cell_expr_print(expr->call.callee, out);
    fputc('(', out);
    args_print(&expr->call.args, out);
    fputc(')', out);
    break;
  case CELL_EXPR_MEMBER:
    cell_expr_print(expr->member.object, out);
    fprintf(out, ".%s", expr->member.name.text);
    break;
  case CELL_EXPR_TRANSPOSE:
    cell_expr_print(expr->operand, out);
    fputs(".T", out);
    break;
  case CELL_EXPR_INDEX:
    cell_expr_print(expr->index.object, out);
    fputc('[', out);
    for (int i = 0; i < expr->index.at.count; i++) {
      if (i > 0) fputs(", ", out);
      index_print(&expr->index.at.items[i], out);
    }
    fputc(']', out);
    break;
  case CELL_EXPR_LIST:
    fputc('[', out);
    for (int i = 0; i < expr->list.count; i++) {
      if (i > 0) fputs(", ", out);
      cell_expr_print(expr->list.items[i], out);
    }
    fputc(']', out);
    break;
  case CELL_EXPR_COMPREHENSION:
    fputc('[', out);
    cell_expr_print(expr->comprehension.element, out);
    fprintf(out, " for %s in ", expr->comprehension.variable.text);
    cell_expr_print(expr->comprehension.over, out);
    fputc(']', out);
    break;
  case CELL_EXPR_KINDS: break;
  }
}

/* ---- statements ---- */

static void indent(FILE *out, int level) {
  fprintf(out, "%*s", 2 * level, "");
}

static void value_print(const char *label, const CellExpr *value, FILE *out) {
  if (!value) return;
  fprintf(out, " %s ", label);
  cell_expr_print(value, out);
}

static void stmts_print(const CellStmtList *list, int level, FILE *out) {
  for (int i = 0; i < list->count; i++) {
    const CellStmt *stmt = list->items[i];

    indent(out, level);
    fputs(stmt->kind == CELL_STMT_BIND ? "bind" : cell_stmt_word(stmt->kind), out);
    if (stmt->kind == CELL_STMT_FOR) {
      fprintf(out, " %s", stmt->name.text);
      value_print("in", stmt->value, out);
      value_print(":", stmt->last, out);
    } else if (stmt->name.text) {
      fprintf(out, " %s", stmt->name.text);
      value_print("=", stmt->value, out);
    } else {
      fputc(' ', out);
      cell_expr_print(stmt->value, out);
    }
    value_print("over", stmt->over, out);
    value_print("with", stmt->with, out);
    fputc('\n', out);
    stmts_print(&stmt->body, level + 1, out);
    if (stmt->otherwise.count > 0) {
      indent(out, level);
      fputs("else\n", out);
      stmts_print(&stmt->otherwise, level + 1, out);
    }
  }
}

/* ---- items ---- */

static void decls_print(const char *label, const CellDeclList *list, FILE *out) {
  for (int i = 0; i < list->count; i++) {
    const CellDecl *decl = &list->items[i];

    fprintf(out, "  %s %s%s", label, decl->name.text, decl->optional ? "?" : "");
    value_print("=", decl->value, out);
    fputc('\n', out);
  }
}

static void places_print(const CellPlaceList *list, FILE *out) {
  for (int i = 0; i < list->count; i++) {
    const CellPlace *place = &list->items[i];

    if (place->kind == CELL_PLACE_BLOCK) {
      fputs("  block", out);
      if (place->name.text) fprintf(out, " %s", place->name.text);
      fputs(" end_to_end", out);
      for (int k = 0; k < place->members.count; k++)
        fprintf(out, "%s %s", k > 0 ? "," : "", place->members.items[k].text);
      fputc('\n', out);
      continue;
    }
    fprintf(out, "  %s %s", place->kind == CELL_PLACE_CELL ? "place" : "value", place->name.text);
    value_print("=", place->value, out);
    fputc('\n', out);
    for (int k = 0; k < place->links.count; k++) {
      fprintf(out, "    link %s:", place->links.items[k].port.text);
      fputc(' ', out);
      cell_expr_print(place->links.items[k].value, out);
      fputc('\n', out);
    }
  }
}

static void settings_print(const CellSettingList *list, int level, FILE *out) {
  for (int i = 0; i < list->count; i++) {
    const CellSetting *setting = &list->items[i];

    indent(out, level);
    fputs("set ", out);
    for (int k = 0; k < setting->path.count; k++)
      fprintf(out, "%s%s", k > 0 ? "." : "", setting->path.items[k].text);
    value_print("=", setting->value, out);
    fputc('\n', out);
  }
}

static void item_print(const CellItem *item, FILE *out) {
  fputs(cell_item_word(item->kind), out);
  if (item->kind == CELL_ITEM_IMPORT)
    fprintf(out, " \"%s\"", item->name.text);
  else if (item->name.text)
    fprintf(out, " %s", item->name.text);
  if (item->kind == CELL_ITEM_STACK && item->name.text) {
    fputs(" [", out);
    for (int i = 0; i < item->sizes.count; i++) {
      if (i > 0) fputs(", ", out);
      cell_expr_print(item->sizes.items[i], out);
    }
    fputc(']', out);
  }
  if (item->args.count > 0) {
    fputc('(', out);
    args_print(&item->args, out);
    fputc(')', out);
  }
  if (item->defined) fputs(" defined", out);
  value_print("=", item->value, out);
  fputc('\n', out);

  decls_print(item->kind == CELL_ITEM_CELL ? "argument" : "parameter", &item->params, out);
  decls_print("port", &item->ports, out);
  for (int i = 0; i < item->with.count; i++) {
    const CellWith *with = &item->with.items[i];

    fprintf(out, "  with %s", with->name.text);
    if (with->args.count > 0) {
      fputc('(', out);
      args_print(&with->args, out);
      fputc(')', out);
    }
    fputc('\n', out);
  }
  places_print(&item->places, out);
  stmts_print(&item->body, 1, out);
  settings_print(&item->settings, 1, out);
}

void cell_ast_print(const CellAst *ast, FILE *out) {
  for (int i = 0; i < ast->count; i++) item_print(ast->items[i], out);
}

void cell_ast_print_settings(const CellSettingList *settings, FILE *out) {
  settings_print(settings, 0, out);
}
