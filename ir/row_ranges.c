/* row_ranges.c - tasks of a kernel become ranges of rows, which need not be equal: what is the row of task number v0,
 * 32 v0, is from here on v0 itself, and what ends with the last of all rows ends with the last of the range:
 *
 *     kernel k tasks 2 scratch (s0: f 2048)       kernel k tasks 2 of 60 rows, v0 to v9, 32 at most
 *       loop v1 = 32 v0 + [0, 32) below 60          loop v1 = v0 + [0, 32) below v9
 *         lanes v2 = [0, 64)                          lanes v2 = [0, 64)
 *           %0 = load arg0[64 v1 + v2]      ->          %0 = load arg0[64 v1 + v2]
 *           store s0[-2048 v0 + 64 v1 + v2] %0          store s0[-64 v0 + 64 v1 + v2] %0
 *
 * So cores of unequal speed, or cores that something else disturbs, can be given unequal shares. Nothing that is
 * computed may depend on where ranges begin: a sum over rows is left to another kernel, row by row. */
#include "ir/fuse.h"

enum { GRAIN = 4 /* rows of a product's tiles are cut into such */ };

typedef struct {
  CellKernel *k;
  int64_t tile;
  int lanes;
} Ranges;

static void turn(const Ranges *r, CellAffine *a) {
  int64_t coef = cell_affine_coef(a, 0);
  if (coef == 0) return;
  CELL_ASSERT(coef % r->tile == 0);
  CellAffine rest = cell_affine_put(*a, 0, cell_affine(0));
  *a = cell_affine_add(rest, cell_affine_var(0, coef / r->tile));
}

static void walk(const Ranges *r, CellStmt *s) {
  for (; s; s = s->next) {
    turn(r, &s->index);
    turn(r, &s->begin);
    if (s->kind == CELL_K_LOOP) {
      int64_t coef = cell_affine_coef(&s->begin, 0);
      if (coef != 0) s->end_var = r->k->end_var, s->end_scale = coef;
      // of whole vectors of rows, wherever a range begins
      if (s->whole && coef % r->lanes != 0 && r->k->grain < r->lanes) r->k->grain = r->lanes;
      walk(r, s->body);
    } else if (s->kind == CELL_K_CONTRACT) {
      CellAffine *all[] = {&s->a.base, &s->b.base, &s->out.base,
                           &s->u.base, &s->v.base, &s->m_begin};
      for (size_t i = 0; i < sizeof all / sizeof *all; i++) turn(r, all[i]);
      s->end_scale = cell_affine_coef(&s->m_begin, 0);
      if (s->m_limit > 0 && s->end_scale > 0) s->end_var = r->k->end_var;
      s->a_all = cell_affine_put(s->a.base, 0, cell_affine(0));
    }
  }
}

void fuse_row_ranges(CellKernel *k, const CellTarget *target, int64_t rows, int64_t tile) {
  k->rows = rows, k->tile = tile, k->grain = GRAIN, k->end_var = k->var_count++;
  Ranges r = {k, tile, target->lanes};
  walk(&r, k->body);
}
