/* bench_zeros.c - how many zeros the products of a program may leave out: some samples of its inputs, evaluated. */
#include "runtime/bench.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 4 };

/* an input of the program as the graph of fewer samples has it, from where the engine keeps it */
static bool read_input(CellNetwork *n, const CellGraph *program, const CellGraph *g,
                       const CellNode *in, CellTensor *out) {
  int64_t entries = 1, samples = 1, before = 1, given = 1;
  for (int d = 0; d < in->rank; d++) entries *= in->shape[d];
  for (int a = 0; a < g->axis_count; a++) {
    if (!(in->axes & CELL_AXIS(a))) continue;
    if (a == CELL_AXIS_BATCH)
      samples = g->axes[a].extent, given = program->axes[a].extent;
    else if (a < CELL_AXIS_BATCH)
      before *= g->axes[a].extent;
    else
      entries *= g->axes[a].extent;
  }
  int64_t count = before * given * entries;
  double *all = cell_malloc((size_t)count * sizeof *all);
  bool found = cell_engine_get(n->engine, NULL, in->name, all, count) ||
               cell_engine_get(n->engine, program->name, in->name, all, count);
  *out = (CellTensor){in->name, cell_malloc((size_t)(before * samples * entries) * sizeof *all),
                      before * samples * entries};
  for (int64_t i = 0; i < before; i++)
    memcpy(out->data + i * samples * entries, all + i * given * entries,
           (size_t)(samples * entries) * sizeof *all);
  free(all);
  return found;
}

typedef struct {
  CellTensor *list;
  int count, capacity;
} Inputs;

/* of the graph and the bodies of its scans, less what a body gets from its scan */
static bool read_inputs(CellNetwork *n, const CellGraph *program, const CellGraph *g, bool body,
                        CellArena *arena, Inputs *all) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *in = cell_node(g, v);
    int which;
    if (in->op == CELL_OP_SCAN && !read_inputs(n, program, in->body, true, arena, all))
      return false;
    if (in->op != CELL_OP_INPUT) continue;
    if (body &&
        (sscanf(in->name, "carry%d", &which) == 1 || sscanf(in->name, "step%d", &which) == 1))
      continue;
    bool known = false;
    for (int i = 0; i < all->count; i++) known |= strcmp(all->list[i].name, in->name) == 0;
    if (known) continue;
    CellTensor t;
    bool found = read_input(n, program, g, in, &t);
    CELL_PUSH(arena, all->list, all->count, all->capacity, t);
    if (!found) return false;
  }
  return true;
}

double cell_bench_zeros_left(CellNetwork *n, const char *program, CellDiag *diag) {
  const CellGraph *from = cell_program(n->module, program);
  if (!from || !n->module->sparse) return 1;
  CellGraph *g = cell_zeros_graph(from, SAMPLES);
  CellArena *arena = cell_arena_create();
  Inputs inputs = {0};
  CellTensor left = {0};
  // without an output there is nothing to read
  bool ok = g->output_count == 1 && read_inputs(n, from, g, false, arena, &inputs) &&
            cell_eval(g, inputs.list, inputs.count, &left, arena, diag);
  double share = ok ? left.data[0] : 1;
  for (int i = 0; i < inputs.count; i++) free(inputs.list[i].data);
  cell_arena_destroy(arena);
  return share;
}
