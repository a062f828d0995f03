/* ir_text.h - graphs from and to text, and their evaluation, for tests. All of it fails the test
 * (cmocka's fail_msg) with the diagnostics printed where the input is wrong. */
#ifndef CELL_TESTS_IR_TEXT_H
#define CELL_TESTS_IR_TEXT_H

#include "ir/ir.h"

/* A graph from its text form. */
CellGraph *cell_test_parse(CellArena *arena, const char *text);
/* The text form, in the arena. */
char *cell_test_print(CellArena *arena, const CellGraph *g);
/* Values of all outputs, in the arena. */
CellTensor *cell_test_eval(CellArena *arena, const CellGraph *g, const CellTensor *inputs,
                           int input_count);
/* Fails unless the graph verifies. */
void cell_test_verify(const CellGraph *g);

#endif
