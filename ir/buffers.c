/* buffers.c - one block for all buffers of a plan. States, inputs and outputs have room of their own; the
 * temporaries of a program share by lifetime (launches between first and last use), largest first, first
 * fit; those of different programs lie over each other. */
#include <stdlib.h>

#include "ir/fuse.h"

static int64_t bytes_of(const CellBuffer *b) {
  return (b->count * 4 + 63) / 64 * 64;
}

typedef struct {
  int index;
  int64_t bytes;
} Entry;

static int larger_first(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return (x->index > y->index) - (x->index < y->index);
}

bool cell_plan_layout(CellPlan *plan, const CellPlanOptions *options, CellDiag *diag) {
  int64_t guard = options ? (options->guard_bytes + 63) / 64 * 64 : 0, at = guard;
  enum { LIMIT_GIB = 256 };
  double total = 0;
  for (int i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind != CELL_BUFFER_PIECE) total += 4.0 * (double)plan->buffers[i].count;
  if (total > LIMIT_GIB * 1073741824.0) {
    cell_error(diag, "E0801", CELL_NOWHERE,
               "the programs' buffers would take %.0f GiB, more than the limit of %d GiB",
               total / 1073741824.0, LIMIT_GIB);
    return false;
  }
  for (int i = 0; i < plan->buffer_count; i++) {
    CellBuffer *b = &plan->buffers[i];
    if (b->kind == CELL_BUFFER_PIECE || (b->kind == CELL_BUFFER_TEMP && !guard)) continue;
    b->offset = at;
    at += bytes_of(b) + guard;
  }
  int64_t end = at;
  Entry *entries = cell_malloc((size_t)(plan->buffer_count + 1) * sizeof *entries);
  for (int p = 0; p < plan->program_count && !guard; p++) {
    int count = 0;
    for (int i = 0; i < plan->buffer_count; i++)
      if (plan->buffers[i].kind == CELL_BUFFER_TEMP && plan->buffers[i].program == p)
        entries[count++] = (Entry){i, bytes_of(&plan->buffers[i])};
    qsort(entries, (size_t)count, sizeof *entries, larger_first);
    for (int i = 0; i < count; i++) {
      CellBuffer *b = &plan->buffers[entries[i].index];
      int64_t offset = at;
      for (bool moved = true; moved;) {
        moved = false;
        for (int j = 0; j < i; j++) {
          const CellBuffer *o = &plan->buffers[entries[j].index];
          bool together = b->first <= o->last && o->first <= b->last;
          if (!together || offset + entries[i].bytes <= o->offset ||
              offset >= o->offset + entries[j].bytes)
            continue;
          offset = o->offset + entries[j].bytes, moved = true;
        }
      }
      b->offset = offset;
      if (offset + entries[i].bytes > end) end = offset + entries[i].bytes;
    }
  }
  free(entries);
  for (int i = 0; i < plan->buffer_count; i++) {
    CellBuffer *b = &plan->buffers[i];
    if (b->kind == CELL_BUFFER_PIECE) b->offset = plan->buffers[b->whole].offset + 4 * b->begin;
  }
  plan->arena_bytes = end;
  return true;
}
