/* ir_text.c - graphs from and to text in tests. */
#include "tests/support/ir_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

CellGraph *cell_test_parse(CellArena *arena, const char *text) {
  CellDiag *diag = cell_diag_create();
  int source = cell_diag_source(diag, "test.ir", text, strlen(text));
  CellGraph *g = cell_parse_ir(arena, diag, source);
  if (!g) cell_diag_print(diag, stderr, false);
  cell_diag_destroy(diag);
  if (!g) fail_msg("the text of a graph does not parse");
  return g;
}

char *cell_test_print(CellArena *arena, const CellGraph *g) {
  CellText text = {0};
  cell_print(g, NULL, &text);
  char *copy = cell_arena_strdup(arena, text.data);
  cell_text_free(&text);
  return copy;
}

CellTensor *cell_test_eval(CellArena *arena, const CellGraph *g, const CellTensor *inputs,
                           int input_count) {
  CellDiag *diag = cell_diag_create();
  CellTensor *outputs = CELL_NEW_ARRAY(arena, CellTensor, g->output_count + 1);
  bool ok = cell_eval(g, inputs, input_count, outputs, arena, diag);
  if (!ok) cell_diag_print(diag, stderr, false);
  cell_diag_destroy(diag);
  if (!ok) fail_msg("a graph does not evaluate");
  return outputs;
}

void cell_test_verify(const CellGraph *g) {
  CellText text = {0};
  bool good = cell_verify(g, &text);
  if (!good) fprintf(stderr, "%s", text.data);
  cell_text_free(&text);
  if (!good) fail_msg("a graph does not verify");
}
