/* flatten_lanes.c - short rows one after the other become long ones. A loop over rows around a lane loop that
 * works entry by entry, on rows that lie end to end, is one lane loop:
 *
 *     loop v1 = 128 v0 + [0, 128) below 500       loop v1 = [0, 16)
 *       lanes v2 = [0, 4)                           lanes v2 = 512 v0 + 32 v1 + [0, 32) below 2000
 *         %0 = load s0[-512 v0 + 4 v1 + v2]   ->      %0 = load s0[-512 v0 + v2]
 *         %1 = load arg1[v2]                          %1 = load s9[-512 v0 - 32 v1 + v2]
 *         %2 = add %0 %1                              %2 = add %0 %1
 *         store s1[-512 v0 + 4 v1 + v2] %2            store s1[-512 v0 + v2] %2
 *
 * A row of 4 uses half of a vector of 8 and pays for the loop around it each time. What all rows read alike (a
 * bias) is first written out for as many rows as one lane loop now takes (s9). Iterations keep their order, and
 * every number is what it was but for the order of sums over all rows. */
#include "ir/fuse.h"

enum {
  LONGEST = 1024, /* entries of a lane loop: rows between cut loops stay in the first-level cache */
  SHARED = 4      /* row-invariant values that are worth writing out */
};

typedef struct {
  CellKernel *k;
  const CellTarget *target;
  CellStmt *rows, *lanes;   /* the two loops at hand */
  CellStmt *shared[SHARED]; /* loads of what all rows read alike */
  int shared_count;
} Flatten;

// one row after the other: a row further is as far as its entries
static bool end_to_end(const Flatten *f, const CellAffine *a) {
  return cell_affine_coef(a, f->rows->var) == f->lanes->extent * cell_affine_coef(a, f->lanes->var);
}

static bool stored_otherwise(const Flatten *f, CellBufferRef buffer, const CellAffine *index) {
  for (const CellStmt *s = f->lanes->body; s; s = s->next)
    if (s->kind == CELL_K_STORE && cell_same_buffer(s->buffer, buffer) &&
        !(index && cell_affine_equal(&s->index, index)))
      return true;
  return false;
}

static bool load_fits(Flatten *f, CellStmt *s) {
  if (end_to_end(f, &s->index)) return !stored_otherwise(f, s->buffer, &s->index);
  bool alike = cell_affine_coef(&s->index, f->rows->var) == 0 && s->index.loaded < 0;
  CellDtype dtype =
      s->buffer.scratch ? f->k->scratch[s->buffer.index].dtype : f->k->args[s->buffer.index];
  if (!alike || dtype != CELL_F || stored_otherwise(f, s->buffer, NULL)) return false;
  if (f->shared_count == SHARED) return false;
  f->shared[f->shared_count++] = s;
  return true;
}

static bool fits(Flatten *f) {
  const CellStmt *rows = f->rows, *lanes = f->lanes;
  if (rows->loop == CELL_LOOP_LANES || rows->begin.loaded >= 0) return false;
  if (lanes->loop != CELL_LOOP_LANES || lanes->limit > 0) return false;
  if (lanes->begin.base || lanes->begin.term_count || lanes->begin.loaded >= 0) return false;
  if (lanes->extent % f->target->lanes == 0 && lanes->extent >= 4 * f->target->lanes) return false;
  f->shared_count = 0;
  for (CellStmt *s = lanes->body; s; s = s->next) {
    switch (s->kind) {
    case CELL_K_CONST:
    case CELL_K_LET: break;
    case CELL_K_VAR:
    case CELL_K_UPDATE:
      if (!end_to_end(f, &s->index)) return false;
      break;
    case CELL_K_LOAD:
      if (!load_fits(f, s)) return false;
      break;
    case CELL_K_STORE:
      if (!end_to_end(f, &s->index) || cell_affine_coef(&s->index, lanes->var) == 0 ||
          s->index.loaded >= 0 || stored_otherwise(f, s->buffer, &s->index))
        return false;
      break;
    default: return false;
    }
  }
  return true;
}

// rows that one lane loop takes: what is written out should be short, rows without that may be long
static int64_t rows_at_once(const Flatten *f) {
  int64_t count = f->rows->extent, n = f->lanes->extent, lanes = f->target->lanes, best = 1;
  for (int64_t r = 2; r <= count && r * n <= LONGEST; r++) {
    if (count % r != 0) continue;
    best = r;
    if (f->shared_count > 0 && r * n % lanes == 0 && r * n >= 4 * lanes) break;
  }
  // writing out should be little beside the work
  return f->shared_count > 0 && count < 4 * best ? 1 : best;
}

// loop rows { lanes { load, store } }: a shared row `times` over, into scratch
static CellStmt *write_out(Flatten *f, CellStmt *load, int64_t times) {
  CellKernel *k = f->k;
  CellStmt *list = NULL, **tail = &list;
  CellStmt *rows = cell_stmt(k, &tail, CELL_K_LOOP);
  rows->loop = CELL_LOOP_SERIAL, rows->extent = times;
  CellStmt **inside = &rows->body;
  CellStmt *lanes = cell_stmt(k, &inside, CELL_K_LOOP);
  lanes->loop = CELL_LOOP_LANES, lanes->extent = f->lanes->extent;
  inside = &lanes->body;

  CellBufferRef to = {true,
                      cell_scratch_add(k, CELL_F, times * lanes->extent, "a row several times")};

  CellStmt *copy = cell_stmt(k, &inside, CELL_K_LOAD);
  copy->buffer = load->buffer;
  copy->index = cell_affine_put(load->index, f->lanes->var, cell_affine_var(lanes->var, 1));
  CellStmt *store = cell_stmt(k, &inside, CELL_K_STORE);
  store->buffer = to, store->args[0] = copy->value;
  store->index =
      cell_affine_add(cell_affine_var(rows->var, lanes->extent), cell_affine_var(lanes->var, 1));

  load->buffer = to, load->index = cell_loop_place(f->lanes);
  return rows;
}

static void flatten(Flatten *f, CellStmt **link) {
  int64_t at_once = rows_at_once(f);
  if (at_once == 1) return;
  CellStmt *rows = f->rows, *lanes = f->lanes;
  // entries of all rows, those of row `begin + at_once * (the new row)` first
  bool all = at_once == rows->extent;
  CellAffine begin = cell_affine_add(rows->begin, cell_affine_var(rows->var, all ? 0 : at_once));
  lanes->begin = cell_affine_scale(begin, lanes->extent);
  for (CellStmt *s = lanes->body; s; s = s->next)
    s->index = cell_affine_put(s->index, rows->var, cell_affine(0));
  for (int i = 0; i < f->shared_count; i++) {
    *link = write_out(f, f->shared[i], at_once);
    link = &(*link)->next;
  }
  *link = rows;
  lanes->limit = rows->limit * lanes->extent;
  lanes->extent *= at_once;
  rows->begin = cell_affine(0), rows->limit = 0;
  rows->extent /= at_once;
  if (!all) return;
  lanes->next = rows->next;
  *link = lanes;
}

static void walk(Flatten *f, CellStmt **link) {
  for (; *link; link = &(*link)->next) {
    CellStmt *s = *link;
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    walk(f, &s->body);
    if (!s->body || s->body->next || s->body->kind != CELL_K_LOOP) continue;
    f->rows = s, f->lanes = s->body;
    if (fits(f)) flatten(f, link);
  }
}

void fuse_flatten_lanes(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Flatten f = {.k = k, .target = target};
  walk(&f, &k->body);
}
