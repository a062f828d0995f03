/* parse.h - from text to syntax tree.
 *
 * A source is text that was added to the diagnostics with cell_diag_source. The parser reports
 * every syntax error that it finds: after one it goes on at a line that starts with `name =`, a
 * reserved word or `}`. Trees lie in the arena given. */
#ifndef CELL_PARSE_H
#define CELL_PARSE_H

#include "frontend/ast.h"

/* Parses a file. NULL only if the text cannot be read at all (too large, not UTF-8 text); otherwise
 * a tree, with `broken` set if there were errors. */
CellAst *cell_parse(CellArena *arena, CellDiag *diag, int source);

/* Parses `path = value` settings, any number of them (a `--set` argument is one, a `--set @FILE`
 * file several lines, `#` comments allowed). Returns false after errors; *settings then holds those
 * that could be read. For `--set`, add the argument as a source named "<--set>". */
bool cell_parse_settings(CellArena *arena, CellDiag *diag, int source, CellSettingList *settings);

/* Parses one expression. NULL after an error. */
CellExpr *cell_parse_expression(CellArena *arena, CellDiag *diag, int source);

/* The text of the prelude, terminated; its length goes to *length if that is not NULL. Add it as a
 * source named "<prelude>" and parse it like any file. */
const char *cell_prelude_text(size_t *length);

#endif
