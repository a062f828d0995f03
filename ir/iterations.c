/* iterations.c - see iterations.h. */
#include "ir/iterations.h"

static bool touched(const CellStmt *s, const CellStmt *without, CellBufferRef buffer) {
  for (; s; s = s->next) {
    if (s == without) continue;
    if ((s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) && cell_same_buffer(s->buffer, buffer))
      return true;
    if (s->kind == CELL_K_CONTRACT &&
        (cell_same_buffer(s->a.buffer, buffer) || cell_same_buffer(s->b.buffer, buffer) ||
         cell_same_buffer(s->out.buffer, buffer) ||
         (s->terms > 0 &&
          (cell_same_buffer(s->u.buffer, buffer) || cell_same_buffer(s->v.buffer, buffer)))))
      return true;
    if (s->kind == CELL_K_LOOP && touched(s->body, without, buffer)) return true;
  }
  return false;
}

FuseWritten *fuse_iterations_written(FuseIterations *it, CellBufferRef buffer) {
  for (int i = 0; i < it->written_count; i++)
    if (cell_same_buffer(it->written[i].buffer, buffer)) return &it->written[i];
  return NULL;
}

// the buffers that are stored to; false: too many
static bool list_written(FuseIterations *it, const CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && !list_written(it, s->body)) return false;
    if (s->kind != CELL_K_STORE || fuse_iterations_written(it, s->buffer)) continue;
    if (it->written_count == FUSE_MOST_WRITTEN) return false;
    bool own = s->buffer.scratch && !touched(it->k->body, it->loop, s->buffer);
    it->written[it->written_count++] = (FuseWritten){.buffer = s->buffer, .own = own};
  }
  return true;
}

static void widen(int64_t coef, int64_t least, int64_t most, int64_t *low, int64_t *high) {
  *low += coef * (coef > 0 ? least : most);
  *high += coef * (coef > 0 ? most : least);
}

// what an index is beside the loop's variable: from `low` to `high`, and what is the same within the loop; loaded terms apart
static void range_of(const FuseIterations *it, const CellAffine *index, int64_t *low, int64_t *high,
                     CellAffine *around) {
  *low = *high = index->base;
  *around = cell_affine(0);
  for (int i = 0; i < index->term_count; i++) {
    int var = index->terms[i].var;
    int64_t coef = index->terms[i].coef;
    if (var == it->loop->var) continue;
    if (it->inside[var])
      widen(coef, it->least[var], it->most[var], low, high);
    else
      *around = cell_affine_add(*around, cell_affine_var(var, coef));
  }
}

// whether an access to what is written stays among its iteration's elements
static bool stays(FuseIterations *it, const CellStmt *s) {
  FuseWritten *w = fuse_iterations_written(it, s->buffer);
  if (!w) return true;
  int64_t step = cell_affine_coef(&s->index, it->loop->var), low, high;
  CellAffine around;
  range_of(it, &s->index, &low, &high, &around);
  const FusePlaces *places = s->index.loaded >= 0 ? &it->places[s->index.loaded] : NULL;
  if (places && places->some) {
    widen(s->index.loaded_coef, places->least, places->most, &low, &high);
  } else if (places) {
    // anywhere in what is each iteration's own
    if (!w->own || step != 0 || around.term_count > 0) return false;
    low = 0, high = it->k->scratch[s->buffer.index].count - 1;
  }
  if (!w->seen) w->seen = true, w->step = step, w->low = low, w->high = high, w->around = around;
  if (low < w->low) w->low = low;
  if (high > w->high) w->high = high;
  if (step != w->step || !cell_affine_equal(&around, &w->around)) return false;
  return step == 0 ? w->own : w->high - w->low < (step > 0 ? step : -step);
}

// where the largest may be that a loop inside looks for
static void note_place(FuseIterations *it, const CellStmt *s) {
  FusePlaces *places = &it->places[s->value];
  int64_t low, high;
  CellAffine around;
  range_of(it, &s->index, &low, &high, &around);
  if (s->index.loaded >= 0 || around.term_count > 0 ||
      cell_affine_coef(&s->index, it->loop->var) != 0) {
    *places = (FusePlaces){.unknown = true};
  } else if (!places->unknown) {
    if (low < places->least) places->least = low;
    if (high > places->most) places->most = high;
    places->some = true;
  }
}

static bool fits(FuseIterations *it, const CellStmt *s) {
  for (; s; s = s->next) {
    switch (s->kind) {
    case CELL_K_CONST:
    case CELL_K_VAR:
    case CELL_K_LET: break;
    case CELL_K_ACC:
      it->declared[s->value] = true;
      it->places[s->value] = (FusePlaces){0};
      break;
    case CELL_K_UPDATE:
      if (!it->declared[s->value] && !it->may_sum) return false;
      if (s->reduce == CELL_ARGMAX && it->declared[s->value]) note_place(it, s);
      break;
    case CELL_K_LOAD:
    case CELL_K_STORE:
      if (!stays(it, s)) return false;
      break;
    case CELL_K_LOOP:
      if (s->limit > 0 || s->begin.term_count > 0 || s->begin.loaded >= 0) return false;
      it->inside[s->var] = true;
      it->least[s->var] = s->begin.base, it->most[s->var] = s->begin.base + s->extent - 1;
      if (!fits(it, s->body)) return false;
      break;
    default: return false;
    }
  }
  return true;
}

void fuse_iterations_begin(FuseIterations *it, CellKernel *k) {
  *it = (FuseIterations){.k = k};
  size_t vars = 2 * (size_t)k->var_count + 2, values = 4 * (size_t)k->value_count + 4;
  it->inside = CELL_NEW_ARRAY(k->arena, bool, vars);
  it->declared = CELL_NEW_ARRAY(k->arena, bool, values);
  it->places = CELL_NEW_ARRAY(k->arena, FusePlaces, values);
  it->least = CELL_NEW_ARRAY(k->arena, int64_t, vars);
  it->most = CELL_NEW_ARRAY(k->arena, int64_t, vars);
}

bool fuse_iterations_independent(FuseIterations *it, CellStmt *loop) {
  it->loop = loop, it->written_count = 0;
  if (loop->begin.loaded >= 0) return false;
  for (int i = 0; i < it->k->var_count; i++) it->inside[i] = false;
  for (int i = 0; i < it->k->value_count; i++) {
    it->declared[i] = false;
    it->places[i] = (FusePlaces){0};
  }
  return list_written(it, loop->body) && fits(it, loop->body);
}
