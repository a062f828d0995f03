/* plan.c - which tensors keep their content, and finding them in a plan. */
#include "ir/kernel.h"

#include <string.h>

bool cell_is_state(const CellModule *m, const char *name) {
  static const char *const prefixes[] = {"params/", "target/", "moment1/", "moment2/"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
  for (int i = 0; i < m->program_count; i++)
    if (cell_find_input(m->programs[i], name) != CELL_NONE &&
        cell_find_output(m->programs[i], name) != CELL_NONE)
      return true;
  return false;
}

int cell_plan_buffer(const CellPlan *plan, const char *program, const char *name) {
  for (int i = 0; i < plan->buffer_count; i++) {
    const CellBuffer *b = &plan->buffers[i];
    if (b->kind >= CELL_BUFFER_TEMP || strcmp(b->name, name) != 0) continue;
    if (b->program < 0 ? program == NULL
                       : program != NULL && strcmp(plan->programs[b->program].name, program) == 0)
      return i;
  }
  // an output that is a state's next value is that state
  return program != NULL ? cell_plan_buffer(plan, NULL, name) : -1;
}
