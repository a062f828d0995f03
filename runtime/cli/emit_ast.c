/* emit_ast.c - `cellc emit --stage ast`. */
#include "runtime/cli/emit_ast.h"

#include "frontend/parse.h"

void cell_cli_emit_ast(const CellCli *cli, CellDiag *diag) {
  int source = cell_cli_source(cli->words[0], diag);
  if (source < 0) return;
  CellAst *ast = cell_parse(cli->arena, diag, source);
  if (ast && !ast->broken) cell_ast_print(ast, stdout);
}
