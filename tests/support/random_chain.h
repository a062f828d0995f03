/* random_chain.h - random graphs of what has zeros: layers of relu with scales and shifts behind it, side by side, one
 * after the other and round a scan. */
#ifndef CELL_TESTS_RANDOM_CHAIN_H
#define CELL_TESTS_RANDOM_CHAIN_H

#include "ir/ir.h"

/* Widths go with `scale`: some entries and three samples for 1, else 37 samples. Outputs "y", "h", a sum over the
 * samples "dw", sometimes "b" and what "dw" squared adds up to, "norm". */
CellGraph *cell_random_chain(CellArena *arena, uint64_t seed, int scale);

#endif
