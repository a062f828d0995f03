/* sparse.c - which values have many entries that are exactly 0: what relu and comparisons make, and products with
 * it. Products of matrices may leave out what such entries multiply (CONTRACT, `sparse`). Nothing depends on how
 * many there are: where there are none, nothing is left out. */
#include "ir/fuse.h"

#include <stdio.h>

#include "ir/internal.h"
#include "ir/rewrite.h"

bool fuse_makes_zeros(CellOp op) {
  return op == CELL_OP_RELU || op == CELL_OP_LT || op == CELL_OP_LE || op == CELL_OP_EQ ||
         op == CELL_OP_NE;
}

bool fuse_is_zero(const CellGraph *g, CellValue v) {
  while (fuse_is_view(cell_node(g, v)->op)) v = cell_node(g, v)->args[0];
  return cell_is_const(g, v, 0);
}

static bool is_sparse(CellArena *arena, const CellGraph *g, const CellNode *n, const bool *carries,
                      const bool *sparse) {
  if (n->dtype != CELL_F) return false;
  if (fuse_makes_zeros(n->op)) return n->rank > 0;
  switch ((int)n->op) {
  case CELL_OP_MUL: return n->rank > 0 && (sparse[n->args[0]] || sparse[n->args[1]]);
  case CELL_OP_DIV:
  case CELL_OP_NEG:
  case CELL_OP_STOP_GRADIENT:
  case CELL_OP_RESHAPE:
  case CELL_OP_TRANSPOSE:
  case CELL_OP_SLICE: return sparse[n->args[0]];
  case CELL_OP_CONCAT: {
    bool all = true;
    for (int i = 0; i < n->arg_count; i++) all &= sparse[n->args[i]];
    return all;
  }
  case CELL_OP_INPUT: {
    int which;
    return carries && sscanf(n->name, "carry%d", &which) == 1 && carries[which];
  }
  case CELL_OP_RESULT: {
    const CellNode *scan = cell_node(g, n->args[0]);
    return fuse_sparse_carries(arena, g, scan)[n->begin];
  }
  default: return false;
  }
}

bool *fuse_sparse_values(CellArena *arena, const CellGraph *g, const bool *carries) {
  bool *sparse = CELL_NEW_ARRAY(arena, bool, g->node_count + 1);
  for (CellValue v = 0; v < g->node_count; v++)
    sparse[v] = is_sparse(arena, g, cell_node(g, v), carries, sparse);
  return sparse;
}

// a carry is if it starts as zeros and every step leaves it so, given that all of them were
bool *fuse_sparse_carries(CellArena *arena, const CellGraph *g, const CellNode *scan) {
  bool *carries = CELL_NEW_ARRAY(arena, bool, scan->carry_count + 1);
  for (int i = 0; i < scan->carry_count; i++) carries[i] = fuse_is_zero(g, scan->args[i]);
  for (bool changed = true; changed;) {
    changed = false;
    bool *inside = fuse_sparse_values(arena, scan->body, carries);
    for (int i = 0; i < scan->carry_count; i++) {
      CellValue next = cell_find_output(scan->body, cell_port_name("carry", i).text);
      if (carries[i] && !inside[next]) carries[i] = false, changed = true;
    }
  }
  return carries;
}

// ---- how many there are ----

static void fewer_samples(CellGraph *g, int32_t samples) {
  if (g->axes[CELL_AXIS_BATCH].extent > samples) g->axes[CELL_AXIS_BATCH].extent = samples;
  for (CellValue v = 0; v < g->node_count; v++)
    if (g->nodes[v].op == CELL_OP_SCAN) fewer_samples(g->nodes[v].body, samples);
}

CellGraph *cell_zeros_graph(const CellGraph *program, int32_t samples) {
  if (!fuse_sparse_pays(program)) return cell_graph_like(program, program->name);
  CellGraph *g = cell_graph_clone(program->arena, fuse_sparse_terms(program, false));
  fewer_samples(g, samples);
  bool *sparse = fuse_sparse_values(g->arena, g, NULL);
  CellValue left = cell_const(g, 0), zero = left;
  double all = 0;
  for (CellValue v = 0, count = g->node_count; v < count; v++) {
    const CellNode n = *cell_node(g, v);
    if (n.op != CELL_OP_CONTRACT || n.over || n.rank != 1) continue;
    for (int i = 0; i < 2; i++) {
      const CellNode x = *cell_node(g, n.args[i]);
      bool concat = x.op == CELL_OP_CONCAT;
      for (int p = 0; x.rank == 1 && p < (concat ? x.arg_count : 1); p++) {
        CellValue piece = concat ? x.args[p] : n.args[i];
        if (piece >= count || !sparse[piece]) continue;
        uint32_t axes = cell_node(g, piece)->axes;
        CellValue there = cell_sum(g, cell_op2(g, CELL_OP_NE, piece, zero), 1, axes);
        CellValue columns = cell_const(g, n.shape[0]);
        left = cell_op2(g, CELL_OP_ADD, left, cell_op2(g, CELL_OP_MUL, there, columns));
        all += (double)cell_count(g, piece) * (double)cell_extent(g, axes) * n.shape[0];
      }
    }
  }
  g->output_count = 0;
  if (all > 0) cell_output(g, "left", cell_op2(g, CELL_OP_DIV, left, cell_const(g, all)));
  return g;
}
