/* whole_vectors.c - lane loops with a limit that have whole vectors all the same: both where they begin and where they
 * may end are multiples of a vector, as for tasks of 40 of 512 samples. The code for a part of a vector is then left
 * out, which for lanes that lie apart is the larger part of all. */
#include "ir/fuse.h"

static bool is_whole(const CellStmt *s, int64_t lanes) {
  bool whole = s->begin.loaded < 0 && s->begin.base % lanes == 0 && s->extent % lanes == 0 &&
               s->limit % lanes == 0;
  for (int i = 0; i < s->begin.term_count; i++) whole &= s->begin.terms[i].coef % lanes == 0;
  return whole;
}

static void walk(CellStmt *s, int64_t lanes) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    if (s->loop == CELL_LOOP_LANES && s->limit > 0) s->whole = is_whole(s, lanes);
    walk(s->body, lanes);
  }
}

void fuse_whole_vectors(CellKernel *k, const CellTarget *target) {
  if (target->tune_lanes) walk(k->body, target->lanes);
}
