/* dce.c - drops outputs that nobody wants (CellGraph.wanted) and nodes that nobody reads.
 *
 * An entry of `wanted` that ends in '/' keeps every output that begins with it; one that names a
 * parameter's tensor keeps its parts ("NAME#p"). Optional: no. */
#include "ir/rewrite.h"

#include <string.h>

static bool wanted(const CellGraph *g, const char *name) {
  if (!g->wanted) return true;
  for (int i = 0; i < g->wanted_count; i++) {
    size_t length = strlen(g->wanted[i]);
    if (strncmp(name, g->wanted[i], length) != 0) continue;
    bool prefix = length > 0 && g->wanted[i][length - 1] == '/';
    if (prefix || name[length] == '\0' || name[length] == '#') return true;
  }
  return false;
}

bool cell_pass_dce(CellModule *m, CellDiag *diag) {
  (void)diag;
  for (int i = 0; i < m->program_count; i++) {
    CellGraph *g = m->programs[i];
    int kept = 0;
    for (int k = 0; k < g->output_count; k++)
      if (wanted(g, g->outputs[k].name)) g->outputs[kept++] = g->outputs[k];
    g->output_count = kept;
  }
  cell_rewrite_module(m, NULL, NULL);
  return true;
}
