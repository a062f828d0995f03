/* internal.h - what the files of ir/ share with each other and with nobody else. */
#ifndef CELL_IR_INTERNAL_H
#define CELL_IR_INTERNAL_H

#include "ir/ir.h"

/* No value may have more entries than this, all axes included: a short text cannot ask for more
 * memory than there is, and products of extents never overflow. */
#define CELL_MAX_ENTRIES ((int64_t)1 << 40)

/* The shape rule of every op (shape.c): sets dtype, rank, shape and axes of `n` from its operands
 * and attributes. INPUT, RANGE, ONE_HOT, RESHAPE and BROADCAST have their shape as an attribute
 * (INPUT also dtype and axes) and leave it. Returns false and says why in `why` where the node is
 * not well-formed. The builder, the parser and the verifier all ask this one function. */
bool cell_infer(const CellGraph *g, CellNode *n, CellText *why);

/* Gives `n` (whose type is known) a number: an equal node's, else a new one at the end. The node's
 * operands and name are copied into the graph's arena. No simplification. */
CellValue cell_number(CellGraph *g, const CellNode *n);

/* The input of a name among the nodes that were numbered, or CELL_NONE; by hash. */
CellValue cell_known_input(CellGraph *g, const char *name);

/* Whether two graphs compute the same from the same inputs, node for node; names do not count. */
bool cell_graph_equal(const CellGraph *a, const CellGraph *b);

/* A copy of a scan's body in another arena, node for node. */
CellGraph *cell_graph_clone(CellArena *arena, const CellGraph *g);

/* The rank-0 value that `v` repeats everywhere, or CELL_NONE. */
CellValue cell_uniform(const CellGraph *g, CellValue v);

/* Sets the type of `n` by its rule and numbers it; a node that breaks its rule is a bug. */
CellValue cell_make(CellGraph *g, CellNode *n);

/* out[i so] = op(x[0][i sx[0]], x[1][i sx[1]], x[2][i sx[2]]) for i < n; operands that the op does
 * not have are NULL. */
void cell_scalar_run(CellOp op, int64_t n, double *out, int64_t so, const double *const x[3],
                     const int64_t *sx);

/* The name of a scan body's input or output: "carry3", "step0". */
typedef struct {
  char text[24];
} CellPortName;
CellPortName cell_port_name(const char *kind, int which);

/* One node or type as text, without the line end (print.c). */
void cell_print_type(const CellGraph *g, const CellNode *n, CellText *out);
void cell_print_name(const char *name, CellText *out);
/* Called by the printer behind each node's line and, with v = CELL_NONE, behind the last line of a
 * graph; may be NULL. The verifier writes its errors there. */
typedef void (*CellPrintHook)(const CellGraph *g, CellValue v, CellText *out, void *context);
void cell_print_with(const CellGraph *g, const CellDiag *sources, CellText *out, CellPrintHook hook,
                     void *context);

#endif
