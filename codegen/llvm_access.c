/* llvm_access.c - indices, loads and stores of loop trees: contiguous lanes, lanes that lie apart, scalars.
 *
 * Stores of lanes that lie apart wait until those to what lies between are there, as the entries of a short row are if lanes
 * go across rows: then they are written from end to end. */
#include "codegen/llvm_lower.h"

// ---- indices ----

LLVMValueRef cell_lower_get(CellLower *l, int value, int u, bool wide) {
  CellBuild *g = l->g;
  const CellLowerValue *v = &l->values[value];
  LLVMValueRef x;
  if (v->def->kind == CELL_K_ACC) {
    LLVMValueRef slot;
    if (v->partial)
      slot = v->folded;
    else if (v->def->reduce == CELL_ARGMAX)
      slot = v->where[v->lanes ? u : 0];
    else
      slot = v->slot[v->lanes ? u : 0];
    x = LLVMBuildLoad2(g->b, LLVMGetAllocatedType(slot), slot, "");
  } else {
    x = v->v[v->lanes ? u : 0];
  }
  return wide && !v->lanes ? cell_ll_splat(g, x, g->lanes) : x;
}

bool cell_lower_varies(const CellLower *l, const CellAffine *a) {
  return (l->lane >= 0 && cell_affine_coef(a, l->lane) != 0) ||
         (a->loaded >= 0 && l->values[a->loaded].lanes);
}

LLVMValueRef cell_lower_affine(CellLower *l, const CellAffine *a, int u) {
  CellBuild *g = l->g;
  int64_t base = a->base;
  if (l->lane >= 0 && u > 0) base += cell_affine_coef(a, l->lane) * u * g->lanes;
  LLVMValueRef sum = NULL;
  for (int i = 0; i < a->term_count; i++) {
    LLVMValueRef term = cell_ll_mul(g, l->vars[a->terms[i].var], a->terms[i].coef);
    sum = sum ? cell_ll_add(g, sum, term) : term;
  }
  if (a->loaded >= 0 && !l->values[a->loaded].lanes) {
    LLVMValueRef loaded = LLVMBuildSExt(g->b, cell_lower_get(l, a->loaded, 0, false), g->i64, "");
    loaded = cell_ll_mul(g, loaded, a->loaded_coef);
    sum = sum ? cell_ll_add(g, sum, loaded) : loaded;
  }
  if (!sum) return cell_ll_i64(g, base);
  return base != 0 ? cell_ll_add(g, sum, cell_ll_i64(g, base)) : sum;
}

// the index of one lane; lanes beyond the mask take lane 0's, which is there
static LLVMValueRef lane_index(CellLower *l, const CellAffine *a, LLVMValueRef base, int u,
                               int lane) {
  CellBuild *g = l->g;
  int64_t stride = l->lane >= 0 ? cell_affine_coef(a, l->lane) : 0;
  LLVMValueRef index = base;
  if (stride != 0 && lane > 0) index = cell_ll_add(g, index, cell_ll_i64(g, stride * lane));
  if (a->loaded >= 0 && l->values[a->loaded].lanes) {
    LLVMValueRef loaded = cell_lower_get(l, a->loaded, u, true);
    if (g->lanes > 1)
      loaded =
          LLVMBuildExtractElement(g->b, loaded, LLVMConstInt(g->i32, (unsigned)lane, false), "");
    loaded = LLVMBuildSExt(g->b, loaded, g->i64, "");
    index = cell_ll_add(g, index, cell_ll_mul(g, loaded, a->loaded_coef));
  }
  return index;
}

static LLVMValueRef in_range(CellLower *l, int lane) {
  return LLVMBuildICmp(l->g->b, LLVMIntSGT, l->left, cell_ll_i64(l->g, lane), "");
}

LLVMValueRef cell_lower_pointer(const CellLower *l, CellBufferRef b) {
  return b.scratch ? l->scratch[b.index] : l->args[b.index];
}

CellDtype cell_lower_dtype(const CellLower *l, CellBufferRef b) {
  return b.scratch ? l->k->scratch[b.index].dtype : l->k->args[b.index];
}

// ---- loads and stores ----

// an index apart from what is constant here, which is added to *base; false: there is no cursor for such
static bool moving_part(const CellLower *l, const CellAffine *a, CellAffine *rest, int64_t *base) {
  if (!l->lanes_loop || a->loaded >= 0) return false;
  *rest = cell_affine(0);
  *base = a->base;
  for (int i = 0; i < a->term_count; i++) {
    int var = a->terms[i].var;
    if (LLVMIsAConstantInt(l->vars[var]))
      *base += a->terms[i].coef * LLVMConstIntGetSExtValue(l->vars[var]);
    else if (l->inside[var])
      return false;
    else
      *rest = cell_affine_add(*rest, cell_affine_var(var, a->terms[i].coef));
  }
  return true;
}

// where the cursor of such accesses is, made at the first of them; NULL: there are too many
static LLVMValueRef cursor(CellLower *l, CellBufferRef buffer, const CellAffine *at) {
  CellBuild *g = l->g;
  for (int i = 0; i < l->cursor_count; i++) {
    const CellLowerCursor *c = &l->cursors[i];
    if (cell_same_buffer(c->buffer, buffer) && cell_affine_equal(&c->at, at)) return c->pointer;
  }
  if (l->cursor_count == CELL_MAX_CURSORS) return NULL;
  LLVMValueRef now = l->vars[l->lane];
  LLVMBasicBlockRef here = cell_ll_before(g, l->lanes_loop);
  l->vars[l->lane] = l->lanes_loop->begin;
  LLVMValueRef from = cell_ll_at(g, cell_lower_pointer(l, buffer), cell_lower_affine(l, at, 0));
  l->vars[l->lane] = now;
  CellLowerCursor made = {buffer, *at, cell_ll_cursor_begin(g, l->lanes_loop, from, here)};
  l->cursors[l->cursor_count++] = made;
  return made.pointer;
}

// the pointer to the lanes of a contiguous access
static LLVMValueRef address(CellLower *l, CellBufferRef buffer, const CellAffine *a, int u) {
  CellAffine rest;
  int64_t base;
  LLVMValueRef p = moving_part(l, a, &rest, &base) ? cursor(l, buffer, &rest) : NULL;
  if (p) return cell_ll_at(l->g, p, cell_ll_i64(l->g, base + (int64_t)u * l->g->lanes));
  return cell_ll_at(l->g, cell_lower_pointer(l, buffer), cell_lower_affine(l, a, u));
}

LLVMValueRef cell_lower_load(CellLower *l, CellBufferRef buffer, const CellAffine *a, int u) {
  CellBuild *g = l->g;
  cell_lower_flush(l, &buffer);
  CellDtype dtype = cell_lower_dtype(l, buffer);
  LLVMTypeRef element = dtype == CELL_I ? g->i32 : g->f32;
  bool scattered = a->loaded >= 0 && l->values[a->loaded].lanes;
  if (!scattered && dtype != CELL_BITS && cell_affine_coef(a, l->lane) == 1)
    return cell_ll_masked_load(g, cell_ll_vector(g, element, g->lanes), address(l, buffer, a, u),
                               l->mask);
  LLVMValueRef pointer = cell_lower_pointer(l, buffer), base = cell_lower_affine(l, a, u);
  if (!scattered && cell_affine_coef(a, l->lane) == 1)
    return cell_ll_bits(g, g->lanes, pointer, base, l->mask ? l->left : NULL);
  if (!scattered && !l->mask && dtype != CELL_BITS &&
      cell_ll_can_stride(g, cell_affine_coef(a, l->lane)))
    return cell_ll_strided_load(g, element, cell_ll_at(g, pointer, base),
                                cell_affine_coef(a, l->lane));

  // one by one
  LLVMValueRef first = lane_index(l, a, base, u, 0);
  LLVMValueRef all = LLVMGetPoison(cell_ll_vector(g, element, g->lanes));
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef index = i == 0 ? first : lane_index(l, a, base, u, i);
    if (l->mask && i > 0) index = LLVMBuildSelect(g->b, in_range(l, i), index, first, "");
    LLVMValueRef x = dtype == CELL_BITS ? cell_ll_bits(g, 1, pointer, index, NULL)
                                        : cell_ll_load(g, element, cell_ll_at(g, pointer, index));
    if (g->lanes == 1) return x;
    all = LLVMBuildInsertElement(g->b, all, x, LLVMConstInt(g->i32, (unsigned)i, false), "");
  }
  return all;
}

LLVMValueRef cell_lower_load_scalar(CellLower *l, CellBufferRef buffer, const CellAffine *a) {
  CellBuild *g = l->g;
  cell_lower_flush(l, &buffer);
  CellDtype dtype = cell_lower_dtype(l, buffer);
  LLVMValueRef pointer = cell_lower_pointer(l, buffer), index = cell_lower_affine(l, a, 0);
  if (dtype == CELL_BITS) return cell_ll_bits(g, 1, pointer, index, NULL);
  return cell_ll_load(g, dtype == CELL_I ? g->i32 : g->f32, cell_ll_at(g, pointer, index));
}

// value + old, one rounding if a multiplication was left to the store
static LLVMValueRef added(CellLower *l, const CellStmt *s, int u, bool wide, LLVMValueRef old) {
  const CellLowerValue *v = &l->values[s->args[0]];
  if (v->fused)
    return cell_ll_fma(l->g, cell_lower_get(l, v->def->args[0], u, wide),
                       cell_lower_get(l, v->def->args[1], u, wide), old);
  return LLVMBuildFAdd(l->g->b, old, cell_lower_get(l, s->args[0], u, wide), "");
}

static void store_lanes(CellLower *l, const CellStmt *s, int u) {
  CellBuild *g = l->g;
  bool scattered = s->index.loaded >= 0 && l->values[s->index.loaded].lanes;
  if (!scattered && cell_affine_coef(&s->index, l->lane) == 1) {
    LLVMValueRef at = address(l, s->buffer, &s->index, u);
    LLVMValueRef x = s->add ? added(l, s, u, true, cell_ll_masked_load(g, g->vf, at, l->mask))
                            : cell_lower_get(l, s->args[0], u, true);
    cell_ll_masked_store(g, x, at, l->mask);
    return;
  }

  // one by one, in order
  LLVMValueRef pointer = cell_lower_pointer(l, s->buffer),
               base = cell_lower_affine(l, &s->index, u);
  for (int i = 0; i < g->lanes; i++) {
    CellIf condition;
    if (l->mask) cell_ll_if_begin(g, &condition, in_range(l, i));
    LLVMValueRef at = cell_ll_at(g, pointer, lane_index(l, &s->index, base, u, i));
    LLVMValueRef lane = LLVMConstInt(g->i32, (unsigned)i, false);
    if (g->lanes == 1) {
      cell_ll_store(g,
                    s->add ? added(l, s, u, true, cell_ll_load(g, g->f32, at))
                           : cell_lower_get(l, s->args[0], u, true),
                    at);
    } else if (s->add) {
      // the whole vector with the old value in every lane: the same rounding as above
      LLVMValueRef old = cell_ll_splat(g, cell_ll_load(g, g->f32, at), g->lanes);
      cell_ll_store(g, LLVMBuildExtractElement(g->b, added(l, s, u, true, old), lane, ""), at);
    } else {
      cell_ll_store(
          g, LLVMBuildExtractElement(g->b, cell_lower_get(l, s->args[0], u, true), lane, ""), at);
    }
    if (l->mask) cell_ll_if_end(g, &condition);
  }
}

// ---- stores that wait ----

// pointer to lane 0 of a waiting store's copy u
static LLVMValueRef waiting_at(CellLower *l, const CellLowerWaiting *w, int u) {
  CellBuild *g = l->g;
  LLVMValueRef index = cell_lower_affine(l, &w->at, u);
  return cell_ll_at(g, cell_lower_pointer(l, w->buffer),
                    cell_ll_add(g, index, cell_ll_i64(g, w->base)));
}

static void store_apart(CellLower *l, const CellLowerWaiting *w) {
  CellBuild *g = l->g;
  for (int u = 0; u < l->unroll; u++) {
    LLVMValueRef to = waiting_at(l, w, u);
    for (int i = 0; i < g->lanes; i++) {
      LLVMValueRef lane = LLVMConstInt(g->i32, (unsigned)i, false);
      cell_ll_store(g, LLVMBuildExtractElement(g->b, w->x[u], lane, ""),
                    cell_ll_at(g, to, cell_ll_i64(g, w->step * i)));
    }
  }
}

static void drop_waiting(CellLower *l, int i) {
  l->waiting_count--;
  for (; i < l->waiting_count; i++) l->waiting[i] = l->waiting[i + 1];
}

void cell_lower_flush(CellLower *l, const CellBufferRef *buffer) {
  for (int i = 0; i < l->waiting_count;) {
    if (buffer && !cell_same_buffer(l->waiting[i].buffer, *buffer)) {
      i++;
      continue;
    }
    store_apart(l, &l->waiting[i]);
    drop_waiting(l, i);
  }
}

// stores every float of so many rows, if each is there; all that wait for the buffer are of these rows
static void store_together(CellLower *l, CellBufferRef buffer) {
  CellBuild *g = l->g;
  const CellLowerWaiting *first = NULL, *of[CELL_MAX_STEP] = {NULL};
  int count = 0;
  for (int i = 0; i < l->waiting_count; i++) {
    const CellLowerWaiting *w = &l->waiting[i];
    if (!cell_same_buffer(w->buffer, buffer)) continue;
    if (!first || w->base < first->base) first = w;
    count++;
  }
  if (!first || count != first->step) return;
  for (int i = 0; i < l->waiting_count; i++) {
    const CellLowerWaiting *w = &l->waiting[i];
    if (!cell_same_buffer(w->buffer, buffer)) continue;
    if (w->base - first->base >= count) return;
    of[w->base - first->base] = w;
  }
  for (int u = 0; u < l->unroll; u++) {
    LLVMValueRef x[CELL_MAX_STEP];
    for (int i = 0; i < count; i++) x[i] = of[i]->x[u];
    cell_ll_interleaved_store(g, count, x, waiting_at(l, first, u));
  }
  for (int i = l->waiting_count - 1; i >= 0; i--)
    if (cell_same_buffer(l->waiting[i].buffer, buffer)) drop_waiting(l, i);
}

// whether the store waits
static bool wait_for_others(CellLower *l, const CellStmt *s) {
  CellLowerWaiting made = {.buffer = s->buffer, .step = cell_affine_coef(&s->index, l->lane)};
  if (s->add || l->mask || s->index.loaded >= 0 || made.step > l->g->lanes ||
      !cell_ll_can_stride(l->g, made.step) || !moving_part(l, &s->index, &made.at, &made.base))
    return false;
  for (int i = 0; i < l->waiting_count; i++) {
    const CellLowerWaiting *w = &l->waiting[i];
    if (!cell_same_buffer(w->buffer, made.buffer)) continue;
    if (w->step == made.step && w->base != made.base && cell_affine_equal(&w->at, &made.at))
      continue;
    cell_lower_flush(l, &made.buffer);
    break;
  }
  if (l->waiting_count == CELL_MAX_WAITING) cell_lower_flush(l, NULL);
  for (int u = 0; u < l->unroll; u++) made.x[u] = cell_lower_get(l, s->args[0], u, true);
  l->waiting[l->waiting_count++] = made;
  store_together(l, made.buffer);
  return true;
}

void cell_lower_store(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  if (l->lane >= 0) {
    if (wait_for_others(l, s)) return;
    cell_lower_flush(l, &s->buffer);
    for (int u = 0; u < l->unroll; u++) store_lanes(l, s, u);
    return;
  }
  LLVMValueRef at =
      cell_ll_at(g, cell_lower_pointer(l, s->buffer), cell_lower_affine(l, &s->index, 0));
  LLVMValueRef x = s->add ? added(l, s, 0, false, cell_ll_load(g, g->f32, at))
                          : cell_lower_get(l, s->args[0], 0, false);
  cell_ll_store(g, x, at);
}
