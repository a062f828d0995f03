/* module.c - all programs of one network, and how its parameters are stored. */
#include <string.h>

#include "ir/ir.h"

CellGraph *cell_program(const CellModule *m, const char *name) {
  for (int i = 0; i < m->program_count; i++)
    if (strcmp(m->programs[i]->name, name) == 0) return m->programs[i];
  return NULL;
}

void cell_part_shape(const CellParam *p, int part, int32_t shape[CELL_MAX_RANK]) {
  memcpy(shape, p->shape, CELL_MAX_RANK * sizeof *shape);
  shape[p->rank - 1] = p->parts[part].end - p->parts[part].begin;
  if (!p->turned) return;
  int32_t rows = shape[0];
  shape[0] = shape[1], shape[1] = rows;
}

int64_t cell_part_entry(const CellParam *p, int part, int64_t i) {
  int64_t columns = p->shape[p->rank - 1], begin = p->parts[part].begin;
  int64_t width = p->parts[part].end - begin, rows = p->shape[0];
  if (p->turned) return i % rows * columns + begin + i / rows;
  return i / width * columns + begin + i % width;
}
