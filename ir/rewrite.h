/* rewrite.h - what the passes over tensor graphs share. Internal to ir/.
 *
 * A value is *uniform* where it has rank 0 but stands for a shape: all entries are equal. In the
 * same way a value that does not vary over an axis stands for equal ones along it. */
#ifndef CELL_REWRITE_H
#define CELL_REWRITE_H

#include "ir/ir.h"

/* Sum of x over dimensions and axes; a product that would be summed becomes a contract. Axes that x
 * does not vary over count with their extent. `dims` refers to x's own dimensions. */
CellValue cell_sum(CellGraph *g, CellValue x, uint8_t dims, uint32_t over);

/* Sum over dimensions and axes of a * b, elementwise operands of a result of `rank` and `shape`
 * (each has this shape or rank 0). The result may be uniform over the dimensions that stay. */
CellValue cell_sum_product(CellGraph *g, CellValue a, CellValue b, int rank, const int32_t *shape,
                           uint8_t dims, uint32_t over);

/* v with the given shape: itself, or repeated if it has rank 0. */
CellValue cell_full(CellGraph *g, CellValue v, int rank, const int32_t *shape);

/* The derivative of one node (ops_vjp.c): given dy, the derivative in y (y's shape or uniform, axes
 * a subset of y's), gives that in each operand k with needs[k], in the same form, into out[k]
 * (CELL_NONE: it is zero). */
void cell_vjp(CellGraph *g, CellValue y, CellValue dy, const bool *needs, CellValue *out);

/* Fills the module's certificates from a program with a minimize list (certificate.c). */
void cell_certify(CellModule *m, const CellGraph *g);

/* Builds every graph of the module, scan bodies too, again through `replace`. */
void cell_rewrite_module(CellModule *m, CellReplace replace, void *context);
/* One graph with its bodies. */
CellGraph *cell_rewrite_deep(const CellGraph *g, CellReplace replace, void *context);

#endif
