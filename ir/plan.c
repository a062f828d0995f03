/* plan.c - finding things in a plan. */
#include "ir/kernel.h"

#include <string.h>

int cell_plan_buffer(const CellPlan *plan, const char *program, const char *name) {
  for (int i = 0; i < plan->buffer_count; i++) {
    const CellBuffer *b = &plan->buffers[i];
    if (b->kind == CELL_BUFFER_TEMP || strcmp(b->name, name) != 0) continue;
    if (b->program < 0 ? program == NULL
                       : program != NULL && strcmp(plan->programs[b->program].name, program) == 0)
      return i;
  }
  // an output that is a state's next value is that state
  return program != NULL ? cell_plan_buffer(plan, NULL, name) : -1;
}
