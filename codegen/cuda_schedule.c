/* cuda_schedule.c - how a kernel's loop tree is spread over the threads of a block: which serial loops go over
 * warps or threads or change places with the LANES loop inside them, where accumulators are folded, which
 * multiplications join an addition, where scratch lies. All of it follows from the kernel's text. */
#include "codegen/cuda.h"

#include <stdlib.h>
#include <string.h>

// ---- notes ----

static size_t slot_of(const CellCudaSchedule *c, const CellStmt *s) {
  size_t at = ((size_t)s >> 4) * 0x9e3779b97f4a7c15u >> 20;
  while (c->notes[at & (size_t)(c->note_room - 1)].stmt &&
         c->notes[at & (size_t)(c->note_room - 1)].stmt != s)
    at++;
  return at & (size_t)(c->note_room - 1);
}

CellCudaNote *cell_cuda_note(CellCudaSchedule *c, const CellStmt *s) {
  CellCudaNote *note = &c->notes[slot_of(c, s)];
  if (!note->stmt) note->stmt = s, c->note_count++;
  return note;
}

static int count_statements(const CellStmt *s) {
  int n = 0;
  for (; s; s = s->next) n += 1 + (s->kind == CELL_K_LOOP ? count_statements(s->body) : 0);
  return n;
}

// ---- what the text says ----

static int arity(const CellStmt *s) {
  return s->kind == CELL_K_LET                                 ? cell_op_info[s->op].arity
         : s->kind == CELL_K_UPDATE || s->kind == CELL_K_STORE ? 1
                                                               : 0;
}

static bool reads(const CellStmt *s, int value) {
  if (s->index.loaded == value || s->begin.loaded == value) return true;
  if (s->kind == CELL_K_CONTRACT &&
      (s->a.base.loaded == value || s->b.base.loaded == value || s->out.base.loaded == value ||
       s->m_begin.loaded == value || s->n_begin.loaded == value))
    return true;
  for (int i = 0; i < arity(s); i++)
    if (s->args[i] == value) return true;
  if (s->kind == CELL_K_LOOP)
    for (const CellStmt *t = s->body; t; t = t->next)
      if (reads(t, value)) return true;
  return false;
}

static bool updates(const CellStmt *s, int value) {
  if (s->kind == CELL_K_UPDATE) return s->value == value;
  if (s->kind == CELL_K_LOOP)
    for (const CellStmt *t = s->body; t; t = t->next)
      if (updates(t, value)) return true;
  return false;
}

static bool holds(const CellStmt *s, CellStmtKind kind) {
  for (; s; s = s->next)
    if (s->kind == kind || (s->kind == CELL_K_LOOP && holds(s->body, kind))) return true;
  return false;
}

// accumulators that a body updates are declared in it
static bool updates_own_only(const CellStmt *body, const CellStmt *within) {
  for (const CellStmt *s = body; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && !updates_own_only(s->body, within)) return false;
    if (s->kind != CELL_K_UPDATE) continue;
    bool own = false;
    // anywhere inside: SSA makes the number unique
    const CellStmt *stack[64];
    int top = 0;
    stack[top++] = within;
    while (top > 0 && !own) {
      const CellStmt *t = stack[--top];
      for (; t && !own; t = t->next) {
        own = t->kind == CELL_K_ACC && t->value == s->value;
        if (t->kind == CELL_K_LOOP && top < 64) stack[top++] = t->body;
      }
    }
    if (!own) return false;
  }
  return true;
}

static int64_t widest_lanes(const CellStmt *s) {
  int64_t most = 0;
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    int64_t n = s->loop == CELL_LOOP_LANES ? s->extent : widest_lanes(s->body);
    if (n > most) most = n;
  }
  return most;
}

static void survey(CellCudaSchedule *c, const CellStmt *s) {
  for (; s; s = s->next) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) c->values[s->value].def = s;
    if (s->index.loaded >= 0) c->values[s->index.loaded].uses += 2;
    if (s->begin.loaded >= 0) c->values[s->begin.loaded].uses += 2;
    for (int i = 0; i < arity(s); i++) c->values[s->args[i]].uses++;
    if (s->kind == CELL_K_LOOP) c->loops[s->var] = s, survey(c, s->body);
  }
}

// ---- loops over warps and threads, turned loops ----

// whether no two iterations touch one word, one of them writing
static bool independent(CellCudaSchedule *c, const CellStmt *loop) {
  if (!updates_own_only(loop->body, loop->body) || holds(loop->body, CELL_K_CONTRACT)) return false;
  CellTouches all = {0};
  for (const CellStmt *s = loop->body; s; s = s->next) cell_cuda_touches(c, s, &all);
  for (int i = 0; i < all.count; i++)
    for (int j = i; j < all.count; j++) {
      CellTouch a = all.list[i], b = all.list[j];
      a.by = b.by = CELL_BY_ANY; // wherever the threads are
      if (cell_cuda_conflict(c, &a, &b) && !cell_cuda_apart(c, loop, &a, &b)) return false;
    }
  return true;
}

bool cell_cuda_is_plain(const CellStmt *s) {
  return s->kind == CELL_K_CONST || s->kind == CELL_K_VAR || s->kind == CELL_K_LOAD ||
         s->kind == CELL_K_LET;
}

const CellStmt *cell_cuda_turned(const CellStmt *loop) {
  const CellStmt *s = loop->body;
  while (s && cell_cuda_is_plain(s)) s = s->next;
  bool last = s && !s->next && s->kind == CELL_K_LOOP && s->loop == CELL_LOOP_LANES;
  return last ? s : NULL;
}

// whether the loop and the LANES loop in it may change places
static bool may_turn(CellCudaSchedule *c, const CellStmt *loop) {
  const CellStmt *lanes = cell_cuda_turned(loop);
  if (!lanes) return false;
  if (lanes->begin.loaded >= 0 || cell_affine_coef(&lanes->begin, loop->var) != 0) return false;
  CellTouches all = {0};
  cell_cuda_note(c, loop)->spread = CELL_SPREAD_TURNED;
  cell_cuda_touches(c, loop, &all);
  cell_cuda_note(c, loop)->spread = CELL_SPREAD_NONE;
  for (int i = 0; i < all.count; i++)
    for (int j = i; j < all.count; j++)
      if (cell_cuda_conflict(c, &all.list[i], &all.list[j])) return false;
  return true;
}

// adds of a turned loop that go to the same word in every iteration, which nothing else there touches
static void keep_adds(CellCudaSchedule *c, const CellStmt *loop) {
  CellTouches all = {0};
  cell_cuda_touches(c, loop, &all);
  const CellStmt *lanes = cell_cuda_turned(loop);
  for (const CellStmt *s = lanes->body; s; s = s->next) {
    if (s->kind != CELL_K_STORE || !s->add || s->index.loaded >= 0) continue;
    bool fixed = true;
    for (int i = 0; i < s->index.term_count; i++) {
      int var = s->index.terms[i].var;
      for (const CellStmt *t = loop; t; t = t == loop ? lanes->body : t->next)
        if (t->kind == CELL_K_LOOP && t->var == var) fixed = false;
    }
    int touched = 0;
    for (int i = 0; i < all.count; i++)
      touched += all.list[i].buffer.scratch == s->buffer.scratch &&
                 (all.list[i].buffer.index == s->buffer.index || s->buffer.scratch);
    if (fixed && touched == 1) cell_cuda_note(c, s)->kept = ++c->kept_count;
  }
}

static void spread(CellCudaSchedule *c, const CellStmt *body) {
  for (const CellStmt *s = body; s; s = s->next) {
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    CellCudaNote *note = cell_cuda_note(c, s);
    if (s->extent > 1 && independent(c, s)) {
      int64_t lanes = widest_lanes(s->body);
      if (lanes < 16)
        note->spread = CELL_SPREAD_THREADS;
      else if (s->extent >= CELL_CUDA_THREADS / 32)
        note->spread = CELL_SPREAD_WARPS;
    }
    if (note->spread == CELL_SPREAD_NONE && s->extent > 1 && may_turn(c, s)) {
      note->spread = CELL_SPREAD_TURNED;
      keep_adds(c, s);
    }
    if (note->spread == CELL_SPREAD_NONE) spread(c, s->body);
  }
}

// ---- accumulators ----

// unit: the statement around whose iterations a single thread runs
static void place_values(CellCudaSchedule *c, const CellStmt *s, const CellStmt *unit) {
  for (; s; s = s->next) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) c->values[s->value].unit = unit;
    if (s->kind == CELL_K_UPDATE) {
      CellCudaValue *acc = &c->values[s->value];
      if (unit && !acc->unit)
        acc->partial = true;
      else
        acc->scalar = true;
    }
    if (s->kind != CELL_K_LOOP) continue;
    CellSpread how = cell_cuda_note(c, s)->spread;
    bool own =
        s->loop == CELL_LOOP_LANES || how == CELL_SPREAD_THREADS || how == CELL_SPREAD_TURNED;
    place_values(c, s->body, unit || !own ? unit : s);
  }
}

static void mark_due(const CellCudaSchedule *c, const CellStmt *s, bool *due) {
  for (int i = 0; i < c->k->value_count; i++)
    if (c->values[i].partial && updates(s, i)) due[i] = true;
}

// whether an accumulator of this body has its last value before s
static bool complete(const CellStmt *body, const CellStmt *s, int value) {
  bool own = false;
  for (const CellStmt *t = body; t != s; t = t->next)
    own |= t->kind == CELL_K_ACC && t->value == value;
  for (const CellStmt *t = s; t && own; t = t->next) own = !updates(t, value);
  return own;
}

// Before the first statement that reads one; with it those of the body that are complete, for one exchange folds
// several.
static void place_folds(CellCudaSchedule *c, const CellStmt *body, bool *due) {
  for (const CellStmt *s = body; s; s = s->next) {
    bool any = false;
    for (int i = 0; i < c->k->value_count; i++) any |= due[i] && reads(s, i) && !updates(s, i);
    for (int i = 0; i < c->k->value_count && any; i++) {
      if (!due[i] || ((!reads(s, i) || updates(s, i)) && !complete(body, s, i))) continue;
      CellCudaNote *note = cell_cuda_note(c, s);
      CELL_PUSH(c->arena, note->folds, note->fold_count, note->fold_capacity, i);
      due[i] = false;
    }
    if (s->kind == CELL_K_ACC && c->values[s->value].partial) due[s->value] = true;
    if (s->kind != CELL_K_LOOP) continue;
    mark_due(c, s, due);
    CellSpread how = cell_cuda_note(c, s)->spread;
    if (s->loop != CELL_LOOP_LANES && how != CELL_SPREAD_THREADS && how != CELL_SPREAD_TURNED)
      place_folds(c, s->body, due);
    mark_due(c, s, due);
  }
}

// ---- one rounding for a product and a sum ----

static void choose_fused(CellCudaSchedule *c, const CellStmt *body) {
  for (const CellStmt *s = body; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) choose_fused(c, s->body);
    int count = 0;
    if (s->kind == CELL_K_LET && s->dtype == CELL_F &&
        (s->op == CELL_OP_ADD || s->op == CELL_OP_SUB))
      count = 2;
    if (s->kind == CELL_K_UPDATE && s->reduce == CELL_SUM) count = 1;
    if (s->kind == CELL_K_STORE && s->add) count = 1;
    for (int i = 0; i < count; i++) {
      CellCudaValue *v = &c->values[s->args[i]];
      if (!v->def || v->uses != 1 || v->def->kind != CELL_K_LET || v->def->op != CELL_OP_MUL ||
          v->def->dtype != CELL_F)
        continue;
      // in this body, and no accumulator that it reads changes in between
      const CellStmt *d = body;
      while (d != s && d != v->def) d = d->next;
      bool safe = d == v->def;
      for (; safe && d != s; d = d->next)
        for (int j = 0; j < 2; j++) safe = safe && !updates(d, v->def->args[j]);
      if (!safe) continue;
      v->fused = true;
      break;
    }
  }
}

// ---- scratch ----

static bool contracted(const CellStmt *s, int scratch) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && contracted(s->body, scratch)) return true;
    if (s->kind != CELL_K_CONTRACT) continue;
    const CellBufferRef all[] = {s->a.buffer, s->b.buffer, s->out.buffer};
    for (int i = 0; i < 3; i++)
      if (all[i].scratch && all[i].index == scratch) return true;
  }
  return false;
}

/* Small pieces first, each at the first place where none lies that lives at the same time: two whose places in
 * the plan's own layout overlap never do. What does not fit goes to the workspace. */
static void place_scratch(CellCudaSchedule *c) {
  const CellKernel *k = c->k;
  int n = k->scratch_count;
  int *order = CELL_NEW_ARRAY(c->arena, int, (size_t)n + 1);
  for (int i = 0; i < n; i++) {
    int j = i;
    while (j > 0 && k->scratch[order[j - 1]].count > k->scratch[i].count)
      order[j] = order[j - 1], j--;
    order[j] = i;
  }
  c->shared_bytes = CELL_CUDA_FOLD_BYTES;
  for (int o = 0; o < n; o++) {
    int i = order[o];
    int64_t bytes = (4 * k->scratch[i].count + 15) / 16 * 16, at = CELL_CUDA_FOLD_BYTES;
    for (bool moved = true; moved;) {
      moved = false;
      for (int p = 0; p < o; p++) {
        int j = order[p];
        if (c->shared[j] < 0) continue;
        const CellScratch *x = &k->scratch[i], *y = &k->scratch[j];
        bool together =
            x->offset >= y->offset + 4 * y->count || y->offset >= x->offset + 4 * x->count;
        int64_t begin = c->shared[j], end = begin + (4 * y->count + 15) / 16 * 16;
        if (together && at < end && begin < at + bytes) at = end, moved = true;
      }
    }
    c->shared[i] = -1;
    if (at + bytes <= CELL_CUDA_FOLD_BYTES + CELL_CUDA_SHARED && !contracted(k->body, i)) {
      c->shared[i] = at;
      if (at + bytes > c->shared_bytes) c->shared_bytes = at + bytes;
    } else {
      c->workspace[i] = c->workspace_words;
      c->workspace_words += bytes / 4;
    }
  }
  c->workspace_words = (c->workspace_words + 63) / 64 * 64;
}

CellCudaSchedule *cell_cuda_schedule(CellArena *arena, const CellKernel *k) {
  CellCudaSchedule *c = CELL_NEW(arena, CellCudaSchedule);
  c->arena = arena, c->k = k;
  c->note_room = 64;
  while (c->note_room < 2 * count_statements(k->body)) c->note_room *= 2;
  c->notes = CELL_NEW_ARRAY(arena, CellCudaNote, (size_t)c->note_room);
  c->loops = CELL_NEW_ARRAY(arena, const CellStmt *, (size_t)k->var_count + 1);
  c->values = CELL_NEW_ARRAY(arena, CellCudaValue, (size_t)k->value_count + 1);
  c->shared = CELL_NEW_ARRAY(arena, int64_t, (size_t)k->scratch_count + 1);
  c->workspace = CELL_NEW_ARRAY(arena, int64_t, (size_t)k->scratch_count + 1);
  survey(c, k->body);
  place_scratch(c);
  spread(c, k->body);
  place_values(c, k->body, NULL);
  bool *due = CELL_NEW_ARRAY(arena, bool, (size_t)k->value_count + 1);
  place_folds(c, k->body, due);
  choose_fused(c, k->body);
  cell_cuda_barriers(c);
  return c;
}
