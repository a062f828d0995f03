/* fuse_contract.c - products of a tile as CONTRACT statements over strided views. Further loops fold into rows or
 * into the inner loop where strides allow it, else they run around the statement. */
#include "ir/fuse_emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- contract statements ---- */

static int64_t loop_coef(const FuseAccess *x, int loop) {
  int64_t coef = 0;
  if (loop < 0) return 0;
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (x->val->axes & CELL_AXIS(a))
      for (int t = 0; t < x->axis[a].count; t++)
        if (x->axis[a].loop[t] == loop) coef += x->axis[a].coef[t] * x->val->axis_stride[a];
  for (int d = 0; d < x->val->rank; d++)
    for (int t = 0; t < x->dim[d].count; t++)
      if (x->dim[d].loop[t] == loop) coef += x->dim[d].coef[t] * x->val->dim_stride[d];
  return coef;
}

static int64_t out_coef(const FuseOp *op, int loop) {
  if (loop < 0) return 0;
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (op->out_axis[a] == loop) return op->out->axis_stride[a];
  for (int d = 0; d < op->out->rank; d++)
    if (op->out_dim[d] == loop) return op->out->dim_stride[d];
  return 0;
}

/* base of a view: constants, scan positions, the loops around, and the tile's start if it is not local */
static CellAffine view_base(FuseEmit *e, FuseOp *op, const FuseAccess *x, uint32_t around) {
  CellAffine base = cell_affine(0);
  for (int i = 0; i < CELL_MAX_AXES + x->val->rank; i++) {
    bool axis = i < CELL_MAX_AXES;
    if (axis && !(x->val->axes & CELL_AXIS(i))) continue;
    const FuseIndex *index = axis ? &x->axis[i] : &x->dim[i - CELL_MAX_AXES];
    int64_t stride = axis ? x->val->axis_stride[i] : x->val->dim_stride[i - CELL_MAX_AXES];
    base.base += index->base * stride;
    if (index->scan) base = cell_affine_add(base, cell_affine_var(index->scan->time_var, stride));
  }
  for (int l = 0; l < op->loop_count; l++)
    if (around >> l & 1)
      base = cell_affine_add(base, cell_affine_scale(fuse_loop_affine(e, op, l), loop_coef(x, l)));
  for (int l = 0; l < op->loop_count; l++)
    if (fuse_in_task(e, op, l) && x->val->place != FUSE_SCRATCH && !(around >> l & 1))
      base = cell_affine_add(base, cell_affine_var(0, e->k->tile * loop_coef(x, l)));
  return base;
}

/* rows, or columns, of a task */
static bool is_cut(FuseEmit *e, const FuseOp *op, int loop) {
  return loop >= 0 && fuse_in_task(e, op, loop);
}

static bool is_ragged(const FuseEmit *e) {
  return e->k->ranges || e->k->tasks * e->k->tile != e->k->extent;
}

/* where the segment's part of the result begins, but for loops around */
static CellAffine out_base(FuseEmit *e, FuseOp *op, const FuseSegment *s) {
  int64_t om = out_coef(op, op->loop_m), on = out_coef(op, op->loop_n);
  CellAffine base = cell_affine(s->m_offset * om + s->n_offset * on);
  if (op->out->place == FUSE_SCRATCH) return base;
  if (is_cut(e, op, op->loop_m)) base = cell_affine_add(base, cell_affine_var(0, e->k->tile * om));
  if (is_cut(e, op, op->loop_n)) base = cell_affine_add(base, cell_affine_var(0, e->k->tile * on));
  return base;
}

/* a loop over rows or columns of the result, counted from the task's first; a ragged tile has fewer */
static CellAffine open_extent(FuseEmit *e, FuseBody *b, CellLoopKind kind, bool cut,
                              int64_t extent) {
  bool ragged = cut && is_ragged(e);
  CellAffine start = ragged ? cell_affine_var(0, e->k->tile) : cell_affine(0);
  int var = fuse_open_loop(e, b, kind, start, extent, ragged ? e->k->extent : 0);
  CellAffine at = cell_affine_var(var, 1);
  return ragged ? cell_affine_add(at, cell_affine_var(0, -e->k->tile)) : at;
}

static void zero_view(FuseEmit *e, FuseOp *op, CellBufferRef out, const FuseSegment *s, int64_t m,
                      int64_t n, int64_t om, int64_t on) {
  FuseBody rows, columns;
  CellAffine row = open_extent(e, &rows, CELL_LOOP_SERIAL, is_cut(e, op, op->loop_m), m);
  CellAffine column = open_extent(e, &columns, CELL_LOOP_LANES, is_cut(e, op, op->loop_n), n);
  CellAffine at = cell_affine_add(out_base(e, op, s), cell_affine_scale(row, om));
  fuse_store(e, out, cell_affine_add(at, cell_affine_scale(column, on)), fuse_constant(e, 0),
             false);
  fuse_close(e);
  fuse_close(e);
}

/* ---- first steps ---- */

/* a copy of a value into a place beside others */
static bool is_piece(const FuseOp *scan, const FuseOp *p) {
  return p->kind == FUSE_SCALAR && p->scalar == CELL_OP_COUNT && p->region->scan == scan &&
         p->arg_count == 1 && p->args[0].kind == FUSE_VALUE;
}

/* whether a value that a step reads is zero in the first one: a carry that starts so, or something times it */
static bool is_zero_first(const FuseOp *scan, const FuseVal *val, int depth) {
  for (int i = 0; i < scan->carry_count; i++)
    if (scan->carries[i] == val) return val->from_zero;
  if (depth == 0 || val->producer_count < 1) return false;
  const FuseOp *p = val->producers[0];
  if (is_piece(scan, p)) {
    bool all = true;
    for (int i = 0; i < val->producer_count; i++)
      all &= is_piece(scan, val->producers[i]) &&
             is_zero_first(scan, val->producers[i]->args[0].val, depth - 1);
    return all;
  }
  if (val->producer_count != 1) return false;
  if (p->kind != FUSE_SCALAR || p->scalar != CELL_OP_MUL || p->region->scan != scan) return false;
  for (int i = 0; i < p->arg_count; i++)
    if (p->args[i].kind == FUSE_VALUE && is_zero_first(scan, p->args[i].val, depth - 1))
      return true;
  return false;
}

/* A product of a state that starts as zeros adds nothing in a scan's first step. Such segments of a sum that has
 * others come last, and run once in every later step: in a loop that is empty in step 0. Sets the order of the
 * segments and returns how many always run. */
static int order_segments(const FuseEmit *e, const FuseOp *op, int *order) {
  const FuseOp *scan = op->region->scan;
  int always = 0, count = 0;
  bool alike = scan && e->f->target->anchor_rows == 0;
  for (int i = 0; i < op->segment_count && alike; i++) {
    const FuseSegment *s = &op->segments[i], *first = &op->segments[0];
    alike = s->m_offset == first->m_offset && s->n_offset == first->n_offset &&
            s->m_extent == first->m_extent && s->n_extent == first->n_extent && s->add == (i > 0);
  }
  for (int later = 0; later < 2; later++) {
    for (int i = 0; i < op->segment_count; i++)
      if ((alike && is_zero_first(scan, op->segments[i].a.val, 2)) == later) order[count++] = i;
    if (!later) always = count;
  }
  // the first one begins the sum, whatever it is
  return always > 0 ? always : 1;
}

/* ---- zeros ---- */

/* Products leave out zeros of the operand of rows, where a row of the result is contiguous. So columns take the part
 * of rows where it is they that have the zeros, and the result is contiguous along the rows. */
static bool is_turned(const FuseOp *op, const FuseSegment *s) {
  return s->b.val->sparse && s->a.val->dtype == CELL_F && out_coef(op, op->loop_m) == 1;
}

static bool leaves_out_zeros(const FuseOp *op, const FuseSegment *s) {
  return (s->a.val->sparse && out_coef(op, op->loop_n) == 1) || is_turned(op, s);
}

static void swap_views(CellView *a, CellView *b) {
  CellView was = *a;
  *a = *b, *b = was;
}

static void turn(CellStmt *c) {
  CellAffine begin = c->m_begin;
  int64_t m = c->m, limit = c->m_limit, stride = c->out.row_stride;
  c->m = c->n, c->m_begin = c->n_begin, c->m_limit = c->n_limit;
  c->n = m, c->n_begin = begin, c->n_limit = limit;
  c->out.row_stride = c->out.k_stride, c->out.k_stride = stride;
  swap_views(&c->a, &c->b);
  swap_views(&c->u, &c->v);
}

/* ---- short products beside sparse ones ---- */

enum { MOST_TERMS = 8 };

static bool has_only_plain_loops(const FuseOp *op) {
  for (int l = 0; l < op->loop_count; l++)
    if (l != op->loop_m && l != op->loop_n && l != op->loop_k) return false;
  return true;
}

/* A short product of the same rows and columns goes along with a sparse one, whose sums it then shares: both always
 * run, or both in later steps. Takes such segments out of the order; with[i]: the one that goes along with segment i,
 * or -1. Returns how many segments are left. */
static int join_terms(const FuseOp *op, int *order, int *always, int *with) {
  int count = op->segment_count, left = 0, kept_always = *always;
  bool *gone = cell_malloc((size_t)count + 1);
  for (int i = 0; i < count; i++) with[i] = -1;
  for (int i = 0; i < count && has_only_plain_loops(op); i++) {
    const FuseSegment *t = &op->segments[order[i]];
    if (t->k_extent > MOST_TERMS || t->a.val->dtype != CELL_F || leaves_out_zeros(op, t)) continue;
    for (int j = 0; j < count && !gone[i]; j++) {
      const FuseSegment *s = &op->segments[order[j]];
      if (!leaves_out_zeros(op, s) || gone[j] || with[order[j]] >= 0 || s->k_extent <= MOST_TERMS ||
          (i < *always) != (j < *always) || s->m_offset != t->m_offset ||
          s->n_offset != t->n_offset || s->m_extent != t->m_extent || s->n_extent != t->n_extent)
        continue;
      with[order[j]] = order[i], gone[i] = true;
      if (i < *always) kept_always--;
    }
  }
  for (int i = 0; i < count; i++)
    if (!gone[i]) order[left++] = order[i];
  *always = kept_always;
  free(gone);
  return left;
}

void fuse_emit_contract(FuseEmit *e, FuseOp *op) {
  CellBufferRef out = fuse_place_of(e, op->out, true);
  int *order = CELL_NEW_ARRAY(e->f->arena, int, op->segment_count + 1);
  int *with = CELL_NEW_ARRAY(e->f->arena, int, op->segment_count + 1);
  int always = order_segments(e, op, order), count = join_terms(op, order, &always, with);
  bool cut = is_cut(e, op, op->loop_m), cut_n = is_cut(e, op, op->loop_n);
  for (int i = 0; i < count; i++) {
    FuseSegment *s = &op->segments[order[i]];
    CellBufferRef a = fuse_place_of(e, s->a.val, false), b = fuse_place_of(e, s->b.val, false);
    int64_t m = cut ? e->k->tile : s->m_extent, limit = cut ? e->k->extent : 0, repeat = 1,
            n_tile = cut_n ? e->k->tile : s->n_extent, k = s->k_extent;
    int64_t am = loop_coef(&s->a, op->loop_m), ak = loop_coef(&s->a, op->loop_k),
            bn = loop_coef(&s->b, op->loop_n), bk = loop_coef(&s->b, op->loop_k),
            om = out_coef(op, op->loop_m), on = out_coef(op, op->loop_n);
    // further loops fold into rows or the inner loop where strides allow; the rest run around
    uint32_t around = 0, summed = 0;
    for (int l = op->loop_count - 1; l >= 0; l--) {
      if (l == op->loop_m || l == op->loop_n || l == op->loop_k) continue;
      int32_t n = op->loops[l].extent;
      int64_t la = loop_coef(&s->a, l), lb = loop_coef(&s->b, l), lo = out_coef(op, l);
      if (!op->loops[l].reduced && op->loop_m >= 0 && lb == 0 && am == la * n && om == lo * n &&
          la > 0) {
        am = la, om = lo, m *= n, limit *= n, repeat *= n;
      } else if (op->loops[l].reduced && op->loop_k >= 0 && ak == la * n && bk == lb * n &&
                 la > 0 && lb > 0) {
        ak = la, bk = lb, k *= n;
      } else {
        around |= 1u << l;
        if (op->loops[l].reduced) summed |= 1u << l;
      }
    }
    FuseBody bodies[FUSE_MAX_LOOPS + 1];
    int opened = 0;
    fuse_begin_op(e);
    bool add = op->segments[i].add; // of the place in the sum
    if (i >= always) {
      const FuseOp *scan = op->region->scan;
      int64_t steps = op->region->parent->g->axes[scan->axis].extent;
      CellAffine begin = cell_affine_add(cell_affine(steps), cell_affine_var(scan->time_var, -1));
      fuse_open_loop(e, &bodies[opened++], CELL_LOOP_SERIAL, begin, 1, steps);
    }
    if (summed) {
      // axes whose strides do not fold: from zeros, one product an entry
      if (!add) zero_view(e, op, out, s, m, n_tile, om, on);
      add = true;
    }
    for (int l = 0; l < op->loop_count; l++) {
      if (!(around >> l & 1)) continue;
      e->loop_var[l] = fuse_open_loop(e, &bodies[opened++], CELL_LOOP_SERIAL, cell_affine(0),
                                      op->loops[l].extent, 0);
    }
    CellStmt *c = fuse_stmt(e, CELL_K_CONTRACT);
    c->m = m, c->n = n_tile, c->k = k, c->add = add;
    c->sparse = leaves_out_zeros(op, s);
    c->m_begin = c->n_begin = cell_affine(0);
    if (cut && is_ragged(e))
      c->m_begin = cell_affine_var(0, e->k->tile * repeat), c->m_limit = limit;
    if (cut_n && is_ragged(e))
      c->n_begin = cell_affine_var(0, e->k->tile), c->n_limit = e->k->extent;
    c->a = (CellView){a, view_base(e, op, &s->a, around), am, ak};
    c->b = (CellView){b, view_base(e, op, &s->b, around), bn, bk};
    CellAffine base = out_base(e, op, s);
    for (int l = 0; l < op->loop_count; l++)
      if (around >> l & 1)
        base =
            cell_affine_add(base, cell_affine_scale(fuse_loop_affine(e, op, l), out_coef(op, l)));
    c->out = (CellView){out, base, om, on};
    if (with[order[i]] >= 0) {
      FuseSegment *t = &op->segments[with[order[i]]];
      c->terms = t->k_extent;
      c->u = (CellView){fuse_place_of(e, t->a.val, false), view_base(e, op, &t->a, around),
                        loop_coef(&t->a, op->loop_m), loop_coef(&t->a, op->loop_k)};
      c->v = (CellView){fuse_place_of(e, t->b.val, false), view_base(e, op, &t->b, around),
                        loop_coef(&t->b, op->loop_n), loop_coef(&t->b, op->loop_k)};
    }
    if (is_turned(op, s)) turn(c);
    while (opened-- > 0) fuse_close(e);
  }
  fuse_begin_op(e);
}
