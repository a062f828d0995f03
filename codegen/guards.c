/* guards.c - zones before and after every buffer of the arena and every scratch, filled with a
 * pattern that must stay: sanitizers do not see generated code. */
#include "codegen/engine.h"

#include <string.h>

// bytes [begin, end) of the arena after a buffer and before it, cut off at the arena's ends
static void zone(const CellEngine *e, const CellBuffer *b, int which, int64_t *begin,
                 int64_t *end) {
  int64_t guard = e->plan->guard_bytes;
  if (b->kind == CELL_BUFFER_PIECE) guard = 0;
  *begin = which == 0 ? b->offset - guard : b->offset + 4 * b->count;
  *end = *begin + guard;
  if (*begin < 0) *begin = 0;
  if (*end > (int64_t)e->block_bytes) *end = (int64_t)e->block_bytes;
}

void cell_guards_fill(CellEngine *e) {
  if (e->plan->guard_bytes <= 0) return;
  for (int i = 0; i < e->plan->buffer_count; i++)
    for (int which = 0; which < 2; which++) {
      int64_t begin, end;
      zone(e, &e->plan->buffers[i], which, &begin, &end);
      if (begin < end)
        memset((unsigned char *)e->block + begin, CELL_GUARD_BYTE, (size_t)(end - begin));
    }
  for (int t = 0; t < e->options.threads; t++) {
    memset(e->scratch[t], CELL_GUARD_BYTE, (size_t)e->plan->guard_bytes);
    memset(e->scratch[t] + e->plan->guard_bytes + e->scratch_bytes, CELL_GUARD_BYTE,
           (size_t)e->plan->guard_bytes);
  }
}

static bool intact(const unsigned char *data, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (data[i] != CELL_GUARD_BYTE) return false;
  return true;
}

bool cell_guards_check(const CellEngine *e, const char *kernel, CellDiag *diag) {
  if (!e->options.check_guards || e->plan->guard_bytes <= 0) return true;
  bool good = true;
  for (int i = 0; i < e->plan->buffer_count; i++)
    for (int which = 0; which < 2; which++) {
      int64_t begin, end;
      zone(e, &e->plan->buffers[i], which, &begin, &end);
      if (begin < end && !intact((const unsigned char *)e->block + begin, end - begin)) {
        cell_error(diag, CELL_E_GUARD, CELL_NOWHERE, "kernel \"%s\" wrote %s buffer \"%s\"", kernel,
                   which == 0 ? "before" : "after", e->plan->buffers[i].name);
        good = false;
      }
    }
  int64_t guard = e->plan->guard_bytes;
  for (int t = 0; t < e->options.threads; t++)
    if (!intact(e->scratch[t], guard) || !intact(e->scratch[t] + guard + e->scratch_bytes, guard)) {
      cell_error(diag, CELL_E_GUARD, CELL_NOWHERE, "kernel \"%s\" wrote outside its scratch",
                 kernel);
      good = false;
    }
  return good;
}
