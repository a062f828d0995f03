/* emit_ast.h - the one stage of `emit` that sees the syntax tree. */
#ifndef CELL_CLI_EMIT_AST_H
#define CELL_CLI_EMIT_AST_H

#include "runtime/cli/cli_network.h"

/* Prints the syntax tree of the command's file to stdout; errors go to diag. */
void cell_cli_emit_ast(const CellCli *cli, CellDiag *diag);

#endif
