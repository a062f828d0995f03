/* counts.c - arithmetic of a program as its ops state it: every value computed once, over its own
 * axes; the body of a scan once a step. Views, leaves and takes count nothing; a sum or a maximum
 * counts one a value read. Bits count as floats: what a dense product would do. */
#include <string.h>

#include "ir/internal.h"

static double size_of(const CellGraph *g, CellValue v) {
  return (double)cell_count(g, v) * (double)cell_extent(g, cell_node(g, v)->axes);
}

/* 2 a multiply-add: result entries times what is summed */
static double contract_flops(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v), *a = cell_node(g, n->args[0]);
  double summed = (double)cell_extent(g, n->over);
  for (int i = 0; i < a->rank; i++)
    if (!strchr(n->labels[2], n->labels[0][i])) summed *= a->shape[i];
  return 2 * size_of(g, v) * summed;
}

/* weights against samples, or their gradient: not a product of two values of the same sample */
static bool is_shared(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  uint32_t differ = cell_node(g, n->args[0])->axes ^ cell_node(g, n->args[1])->axes;
  return ((differ | n->over) & CELL_AXIS(CELL_AXIS_BATCH)) != 0;
}

CellCounts cell_counts(const CellGraph *g) {
  CellCounts total = {0, 0, 0};
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_CONTRACT) {
      total.contract_flops += contract_flops(g, v);
      if (is_shared(g, v)) total.shared_flops += contract_flops(g, v);
    }
    if (n->op == CELL_OP_REDUCE) total.other_flops += size_of(g, n->args[0]);
    if (cell_op_info[n->op].scalar) total.other_flops += size_of(g, v) * cell_op_info[n->op].flops;
    if (n->op == CELL_OP_SCAN) {
      CellCounts body = cell_counts(n->body);
      double steps = (double)cell_extent(g, n->over);
      total.contract_flops += steps * body.contract_flops;
      total.other_flops += steps * body.other_flops;
      total.shared_flops += steps * body.shared_flops;
    }
  }
  return total;
}
