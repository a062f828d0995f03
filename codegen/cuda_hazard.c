/* cuda_hazard.c - where the threads of a block must wait for each other.
 *
 * A walk over the statements keeps what was touched since the last barrier. A statement that touches a word
 * which another thread may have touched, one of the two writing, gets a barrier before it. A word belongs to
 * one thread if both touch it in LANES loops that start alike, at the same multiple of the lane's variable:
 * then no barrier is needed between two sweeps over one row. A loop's body is walked twice, the second time
 * with what its end leaves for its next iteration. Inside a loop over warps the same is done for the lanes of
 * a warp; the loop as a whole is one statement for the block.
 *
 * Example: a barrier stands before the second loop only, whose lanes read what lane 0 stored.
 *     lanes v1 = [0, 400) { store s0[v1] .. }
 *     lanes v2 = [0, 400) { load s0[v2] .. }      store s1[0] ..
 *     lanes v3 = [0, 400) { load s1[0] .. } */
#include "codegen/cuda.h"

#include <stdlib.h>
#include <string.h>

// ---- indices as a sum over variables around, and a range for what runs inside ----

typedef struct {
  bool known;
  int64_t *around; /* coefficient by variable; the pivot's too */
  int64_t low, high;
} Span;

static void add_term(const CellCudaSchedule *c, Span *s, const bool *inside, int pivot, int var,
                     int64_t coef);

static void add_affine(const CellCudaSchedule *c, Span *s, const bool *inside, int pivot,
                       const CellAffine *a, int64_t by) {
  if (a->loaded >= 0) s->known = false;
  s->low += by * a->base, s->high += by * a->base;
  for (int i = 0; i < a->term_count; i++)
    add_term(c, s, inside, pivot, a->terms[i].var, by * a->terms[i].coef);
}

static void add_term(const CellCudaSchedule *c, Span *s, const bool *inside, int pivot, int var,
                     int64_t coef) {
  const CellStmt *loop = c->loops[var];
  if (!inside[var] || var == pivot || !loop) {
    s->around[var] += coef;
    return;
  }
  int64_t reach = coef * (loop->extent - 1);
  s->low += reach < 0 ? reach : 0, s->high += reach > 0 ? reach : 0;
  add_affine(c, s, inside, pivot, &loop->begin, coef);
}

static void mark_inside(const CellStmt *s, bool *inside) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOOP) inside[s->var] = true, mark_inside(s->body, inside);
}

static Span span_of(const CellCudaSchedule *c, const CellAffine *a, const bool *inside, int pivot) {
  Span s = {.known = true};
  s.around = cell_malloc((size_t)(c->k->var_count + 1) * sizeof *s.around);
  for (int i = 0; i < c->k->var_count; i++) s.around[i] = 0;
  add_affine(c, &s, inside, pivot, a, 1);
  return s;
}

// whether a and b are equal only where their pivots are: the rest stays below the pivots' step
static bool decided_by(const CellCudaSchedule *c, const Span *a, int pivot_a, const Span *b,
                       int pivot_b) {
  if (!a->known || !b->known) return false;
  int64_t step = a->around[pivot_a];
  if (step == 0 || step != b->around[pivot_b]) return false;
  for (int i = 0; i < c->k->var_count; i++) {
    int64_t x = i == pivot_a ? 0 : a->around[i], y = i == pivot_b ? 0 : b->around[i];
    if (x != y) return false;
  }
  int64_t low = a->low < b->low ? a->low : b->low, high = a->high > b->high ? a->high : b->high;
  return high - low < (step < 0 ? -step : step);
}

static bool *no_variables(const CellCudaSchedule *c) {
  bool *inside = cell_malloc((size_t)c->k->var_count + 1);
  memset(inside, 0, (size_t)c->k->var_count + 1);
  return inside;
}

bool cell_cuda_apart(const CellCudaSchedule *c, const CellStmt *loop, const CellTouch *a,
                     const CellTouch *b) {
  if (!a->index || !b->index) return false;
  bool *inside = no_variables(c);
  mark_inside(loop->body, inside);
  Span x = span_of(c, a->index, inside, loop->var), y = span_of(c, b->index, inside, loop->var);
  bool apart = decided_by(c, &x, loop->var, &y, loop->var);
  free(x.around);
  free(y.around);
  free(inside);
  return apart;
}

bool cell_cuda_same_thread(const CellCudaSchedule *c, const CellTouch *a, const CellTouch *b) {
  if (!a->index || !b->index || a->by != CELL_BY_LANES || b->by != CELL_BY_LANES) return false;
  if (a->lanes->begin.loaded >= 0 || !cell_affine_equal(&a->lanes->begin, &b->lanes->begin))
    return false;
  bool *inside = no_variables(c);
  if (a->loop) inside[a->loop->var] = true, mark_inside(a->loop->body, inside);
  bool fixed = true;
  for (int i = 0; i < a->lanes->begin.term_count; i++)
    fixed = fixed && !inside[a->lanes->begin.terms[i].var];
  const CellStmt *units[2] = {a->unit, b->unit};
  for (int i = 0; i < 2; i++) inside[units[i]->var] = true, mark_inside(units[i]->body, inside);
  Span x = span_of(c, a->index, inside, a->lanes->var),
       y = span_of(c, b->index, inside, b->lanes->var);
  bool same = fixed && decided_by(c, &x, a->lanes->var, &y, b->lanes->var);
  free(x.around);
  free(y.around);
  free(inside);
  return same;
}

static bool overlap(const CellCudaSchedule *c, int i, int j) {
  if (i == j) return true;
  const CellScratch *a = &c->k->scratch[i], *b = &c->k->scratch[j];
  int64_t x = c->shared[i], y = c->shared[j];
  if ((x < 0) != (y < 0)) return false;
  if (x < 0) return false; // pieces of the workspace have room of their own
  return x < y + 4 * b->count && y < x + 4 * a->count;
}

bool cell_cuda_conflict(const CellCudaSchedule *c, const CellTouch *a, const CellTouch *b) {
  if (!a->write && !b->write) return false;
  if (a->buffer.scratch != b->buffer.scratch) return false;
  if (!a->buffer.scratch && a->buffer.index != b->buffer.index) return false;
  if (a->buffer.scratch && !overlap(c, a->buffer.index, b->buffer.index)) return false;
  if (a->buffer.index != b->buffer.index) return true;
  if (a->loop && cell_cuda_apart(c, a->loop, a, b)) return false;
  if (a->by == CELL_BY_ONE && b->by == CELL_BY_ONE) return false;
  return !cell_cuda_same_thread(c, a, b);
}

// ---- what a statement touches ----

static void push(CellCudaSchedule *c, CellTouches *out, CellTouch t) {
  // what nobody writes cannot be in conflict
  if (!t.buffer.scratch && !c->k->written[t.buffer.index]) return;
  CELL_PUSH(c->arena, out->list, out->count, out->capacity, t);
}

static void collect(CellCudaSchedule *c, const CellStmt *s, CellBy by, const CellStmt *lanes,
                    const CellStmt *unit, CellTouches *out) {
  switch (s->kind) {
  case CELL_K_LOOP: {
    CellSpread spread = cell_cuda_note(c, s)->spread;
    if (by != CELL_BY_LANES && (spread == CELL_SPREAD_WARPS || spread == CELL_SPREAD_THREADS))
      by = CELL_BY_ANY;
    if (spread == CELL_SPREAD_TURNED && by != CELL_BY_LANES) unit = s;
    if (s->loop == CELL_LOOP_LANES && by != CELL_BY_ANY && by != CELL_BY_LANES) {
      by = CELL_BY_LANES, lanes = s;
      if (!unit) unit = s;
    }
    for (const CellStmt *t = s->body; t; t = t->next) collect(c, t, by, lanes, unit, out);
    break;
  }
  case CELL_K_LOAD:
    push(c, out, (CellTouch){s->buffer, &s->index, false, by, lanes, unit, NULL});
    break;
  case CELL_K_STORE:
    push(c, out,
         (CellTouch){s->buffer, &s->index, true, by == CELL_BY_ALL ? CELL_BY_ONE : by, lanes, unit,
                     NULL});
    break;
  case CELL_K_CONTRACT:
    push(c, out, (CellTouch){s->a.buffer, NULL, false, CELL_BY_ANY, NULL, NULL, NULL});
    push(c, out, (CellTouch){s->b.buffer, NULL, false, CELL_BY_ANY, NULL, NULL, NULL});
    push(c, out, (CellTouch){s->out.buffer, NULL, true, CELL_BY_ANY, NULL, NULL, NULL});
    break;
  default: break;
  }
}

void cell_cuda_touches(CellCudaSchedule *c, const CellStmt *s, CellTouches *out) {
  collect(c, s, CELL_BY_ALL, NULL, NULL, out);
}

// ---- the walk ----

typedef struct {
  CellTouches since; /* since the last barrier */
  bool read_area[2]; /* a fold's results were read from this half since then */
  int area;          /* the half that the next fold uses */
} State;

static void clear(State *s) {
  s->since.count = 0;
  s->read_area[0] = s->read_area[1] = false;
}

static State copy_state(CellCudaSchedule *c, const State *from) {
  State to = *from;
  to.since = (CellTouches){0};
  for (int i = 0; i < from->since.count; i++)
    CELL_PUSH(c->arena, to.since.list, to.since.count, to.since.capacity, from->since.list[i]);
  return to;
}

static void walk(CellCudaSchedule *c, const CellStmt *s, State *state, bool warp);

// body of a loop whose iterations follow one another
static void walk_loop(CellCudaSchedule *c, const CellStmt *loop, State *state, bool warp) {
  State before = copy_state(c, state);
  walk(c, loop->body, state, warp);
  // what the end of an iteration leaves to the next, with what came before the loop
  State again = copy_state(c, &before);
  for (int i = 0; i < state->since.count; i++) {
    CellTouch t = state->since.list[i];
    t.loop = loop;
    CELL_PUSH(c->arena, again.since.list, again.since.count, again.since.capacity, t);
  }
  for (int h = 0; h < 2; h++) again.read_area[h] |= state->read_area[h];
  again.area = before.area;
  walk(c, loop->body, &again, warp);
  *state = again;
  // it may run no iteration
  if (loop->limit > 0)
    for (int i = 0; i < before.since.count; i++)
      CELL_PUSH(c->arena, state->since.list, state->since.count, state->since.capacity,
                before.since.list[i]);
}

static bool meets(CellCudaSchedule *c, const State *state, const CellTouches *touches) {
  for (int i = 0; i < state->since.count; i++)
    for (int j = 0; j < touches->count; j++)
      if (cell_cuda_conflict(c, &state->since.list[i], &touches->list[j])) return true;
  return false;
}

static void walk(CellCudaSchedule *c, const CellStmt *s, State *state, bool warp) {
  for (; s; s = s->next) {
    CellCudaNote *note = cell_cuda_note(c, s);
    bool serial =
        s->kind == CELL_K_LOOP && s->loop != CELL_LOOP_LANES && note->spread == CELL_SPREAD_NONE;
    note->barrier = false;
    if (note->fold_count > 0 && !warp) {
      // the fold's own barrier stands between its writes and its reads
      note->area = state->area;
      if (state->read_area[note->area]) note->barrier = true;
      clear(state);
      state->read_area[note->area] = true;
      state->area = 1 - note->area;
    }
    if (serial) {
      walk_loop(c, s, state, warp);
      continue;
    }
    CellTouches touches = {0};
    cell_cuda_touches(c, s, &touches);
    if (meets(c, state, &touches)) {
      note->barrier = true;
      clear(state);
    }
    if (note->spread == CELL_SPREAD_WARPS) {
      State own = {0};
      walk_loop(c, s, &own, true);
    }
    for (int j = 0; j < touches.count; j++)
      CELL_PUSH(c->arena, state->since.list, state->since.count, state->since.capacity,
                touches.list[j]);
  }
}

void cell_cuda_barriers(CellCudaSchedule *c) {
  State state = {0};
  walk(c, c->k->body, &state, false);
}
