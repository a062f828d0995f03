/* module.c - all programs of one network. */
#include <string.h>

#include "ir/ir.h"

CellGraph *cell_program(const CellModule *m, const char *name) {
  for (int i = 0; i < m->program_count; i++)
    if (strcmp(m->programs[i]->name, name) == 0) return m->programs[i];
  return NULL;
}
