/* init.h - initial values of parameters.
 *
 * The draws of a parameter depend on the run's seed and on its name; with `shared` the name of the
 * cell in front ("l1/") does not count, so that equal cells begin equal. Entry i of a parameter is
 * the same whatever the number of threads. */
#ifndef CELL_INIT_H
#define CELL_INIT_H

#include "ir/ir.h"

/* Fills out[0 .. product of param->shape), row-major. Fan-in is the product of all dimensions but
 * the first:
 *   zeros, ones
 *   lecun          normal cut at two sigma, of variance 1 / fan-in after the cut
 *   torch          uniform within +-1 / sqrt(fan-in)
 *   orthogonal(g)  g times a matrix [first, rest] with orthonormal rows (or columns, if fewer)
 *   normal(s), uniform(a)  of deviation s; within +-a */
void cell_init_param(const CellParam *param, uint64_t seed, bool shared, double *out);

/* Product of the shape. */
int64_t cell_param_count(const CellParam *param);

#endif
