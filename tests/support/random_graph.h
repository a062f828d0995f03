/* random_graph.h - well-formed random graphs that cover every op, dtype, representation and axis
 * set, for tests that compare two ways of computing the same.
 *
 * Values stay near 1 in size, and ops that jump (floor, sign, comparisons, argmax, a where on a
 * comparison) are given whole numbers only, so that two evaluations which round differently take
 * the same side. Everything is a function of the seed and the options. */
#ifndef CELL_TESTS_RANDOM_GRAPH_H
#define CELL_TESTS_RANDOM_GRAPH_H

#include "ir/ir.h"

typedef struct {
  int size;            /* nodes to make, about; 0: 40 */
  bool scan;           /* may hold scans, over {time} */
  bool params;         /* may hold rank-2 inputs "params/..." without axes and products with them */
  bool differentiable; /* only ops with a derivative, smooth where the data lies */
  bool large;          /* some extents are 17 or 33 */
  bool loss;           /* one more output "loss", rank 0 and no axes, that most values reach */
} CellRandomOptions;

CellGraph *cell_random_graph(CellArena *arena, uint64_t seed, const CellRandomOptions *options);

/* Data for every input of g and of its scan bodies, a function of the seed and the input's name:
 * floats in steps of 1/1024 between -1 and 1, bits, indices that fit every reader of the input. */
CellTensor *cell_random_inputs(CellArena *arena, const CellGraph *g, uint64_t seed, int *count);

/* A number of the counter-based stream of tests: uniform in 0 .. 2^64 - 1. */
uint64_t cell_random_bits(uint64_t *state);

#endif
