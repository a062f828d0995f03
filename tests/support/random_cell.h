/* random_cell.h - the text of a random network, for tests that compare back ends.
 *
 * One to four cells, each of its own type: bodies of random statements over values whose shapes the
 * generator knows, ports linked to observations, cells below, states and blends of them; a policy, a
 * rule and settings. The text is well formed: a message of the compiler about it is a fault of one
 * of the two. Values stay of moderate size. Everything is a function of the seed. */
#ifndef CELL_TESTS_RANDOM_CELL_H
#define CELL_TESTS_RANDOM_CELL_H

#include "frontend/frontend.h"

/* Appends the text and fills the shapes that it is made for. Returns whether the loss of every group
 * has the gradient for its derivative (but for what is carried): no stop_gradient is in the text. */
bool cell_random_cell(uint64_t seed, CellText *out, CellShapes *shapes);

#endif
