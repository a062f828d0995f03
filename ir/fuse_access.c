/* fuse_access.c - how an op reads an operand: a value that is stored, and an affine index for each of its axes
 * and dimensions.
 *
 * Views vanish: an operand is followed through reshape, transpose, slice and broadcast, and into the graph
 * around a scan, to what is stored. A view whose map would not be affine (a split of a dimension that is not
 * stored as one) is copied into a value of its own. */
#include <stdio.h>
#include <string.h>

#include "ir/fuse.h"

FuseIndex fuse_index_const(int64_t base) {
  return (FuseIndex){.base = base, .loaded = -1};
}
FuseIndex fuse_index_loop(int loop) {
  FuseIndex x = fuse_index_const(0);
  if (loop >= 0) x.count = 1, x.loop[0] = loop, x.coef[0] = 1;
  return x;
}

/* a + by * b; false if there is no room, or both hold an operand's value */
bool fuse_index_add(FuseIndex *a, const FuseIndex *b, int64_t by) {
  a->base += by * b->base;
  if (b->loaded >= 0) {
    if (a->loaded >= 0 || by != 1) return false;
    a->loaded = b->loaded;
  }
  if (b->scan) {
    if (a->scan || by != 1) return false;
    a->scan = b->scan;
  }
  for (int i = 0; i < b->count; i++) {
    int j = 0;
    while (j < a->count && a->loop[j] != b->loop[i]) j++;
    if (j == CELL_MAX_RANK) return false;
    if (j == a->count) a->count++, a->loop[j] = b->loop[i], a->coef[j] = 0;
    a->coef[j] += by * b->coef[i];
  }
  return true;
}

bool fuse_is_loop(const FuseIndex *x, int loop) {
  return loop >= 0 && x->base == 0 && x->loaded < 0 && !x->scan && x->count == 1 &&
         x->loop[0] == loop && x->coef[0] == 1;
}

/* dimensions i0..i of one shape and j0..j of another, equal but for 1s, keep their indices */
static bool same_dimensions(const CellNode *from, int i0, int i, const CellNode *to, int j0, int j,
                            const FuseIndex *out, FuseIndex *in) {
  while (i0 < i || j0 < j) {
    if (i0 < i && from->shape[i0] == 1)
      in[i0++] = fuse_index_const(0);
    else if (j0 < j && to->shape[j0] == 1)
      j0++;
    else if (i0 < i && j0 < j && from->shape[i0] == to->shape[j0])
      in[i0++] = out[j0++];
    else
      return false;
  }
  return true;
}

/* The index of each dimension of a reshape's operand, from those of its result: the dimensions of both fall
 * into groups of equal products. A group of the operand with one dimension takes the merged index; one with
 * several takes it as an offset on its last dimension, if it is stored. False if that is not affine. */
static bool unreshape(const CellNode *from, const CellNode *to, const FuseIndex *out, FuseIndex *in,
                      bool stored) {
  int i = 0, j = 0;
  while (i < from->rank || j < to->rank) {
    int i0 = i, j0 = j;
    int64_t p = i < from->rank ? from->shape[i++] : 1, q = j < to->rank ? to->shape[j++] : 1;
    while (p != q) {
      if (p < q)
        p *= from->shape[i++];
      else
        q *= to->shape[j++];
    }
    if (same_dimensions(from, i0, i, to, j0, j, out, in)) continue;
    FuseIndex whole = fuse_index_const(0);
    int64_t stride = q;
    for (int d = j0; d < j; d++) {
      stride /= to->shape[d];
      if (to->shape[d] > 1 && !fuse_index_add(&whole, &out[d], stride)) return false;
    }
    int real = 0, last = -1;
    for (int d = i0; d < i; d++) {
      in[d] = fuse_index_const(0);
      if (from->shape[d] > 1) real++, last = d;
    }
    if (real > 1 && !stored) return false;
    if (last >= 0) in[last] = whole;
  }
  return true;
}

bool fuse_is_view(CellOp op) {
  return op == CELL_OP_RESHAPE || op == CELL_OP_TRANSPOSE || op == CELL_OP_SLICE ||
         op == CELL_OP_BROADCAST || op == CELL_OP_STOP_GRADIENT;
}

static FuseRegion *outer_region(FuseRegion *r, CellValue *v, bool *carry, int *which) {
  const CellNode *n = cell_node(r->g, *v);
  int number;
  *carry = false;
  if (!r->scan) return NULL;
  if (sscanf(n->name, "carry%d", &number) == 1) {
    *carry = true, *which = number;
    return r;
  }
  if (sscanf(n->name, "step%d", &number) == 1) {
    *v = r->scan->node->args[r->scan->node->carry_count + number];
    return r->parent;
  }
  return NULL;
}

/* whether a node's entries lie in memory as its shape says: no view, nor a scan's input that is a view outside */
static bool is_stored(FuseRegion *r, CellValue v) {
  for (;;) {
    const CellNode *n = cell_node(r->g, v);
    if (r->vals[v]) return true;
    if (n->op == CELL_OP_RESULT) return false;
    if (n->op != CELL_OP_INPUT) return !fuse_is_view(n->op);
    int axis, which;
    int32_t at;
    bool carry;
    FuseRegion *outside = fuse_step_input(r, &v, &axis, &at);
    if (!outside) outside = outer_region(r, &v, &carry, &which);
    if (!outside || outside == r) return true;
    r = outside;
  }
}

/* Follows node v of region r, read at axis[] and dim[], to what is stored. */
FuseAccess fuse_follow(Fuse *f, FuseRegion *r, CellValue v, const FuseIndex *axis,
                       const FuseIndex *dim) {
  FuseAccess x = {.kind = FUSE_VALUE};
  for (int a = 0; a < CELL_MAX_AXES; a++) x.axis[a] = axis[a];
  for (int d = 0; d < CELL_MAX_RANK; d++) x.dim[d] = dim[d];
  for (;;) {
    const CellNode *n = cell_node(r->g, v);
    if (r->vals[v]) {
      x.val = r->vals[v];
      return x;
    }
    if (n->op == CELL_OP_INPUT) {
      int step_axis;
      int32_t at;
      FuseRegion *outside = fuse_step_input(r, &v, &step_axis, &at);
      if (outside) {
        if (step_axis >= 0) x.axis[step_axis] = fuse_index_const(at);
        r = outside;
        continue;
      }
      bool carry;
      int which;
      FuseRegion *up = outer_region(r, &v, &carry, &which);
      if (carry) {
        x.val = r->scan->carries[which];
        return x;
      }
      if (up) {
        x.axis[r->scan->axis] = (FuseIndex){.loaded = -1, .scan = r->scan};
        r = up;
        continue;
      }
    }
    if (n->op == CELL_OP_RESULT && fuse_in_steps(f)) {
      r = fuse_last_step(f, r, &v);
      continue;
    }
    if (n->op == CELL_OP_CONST) {
      x.kind = FUSE_CONSTANT, x.number = n->number;
      return x;
    }
    if (n->op == CELL_OP_RANGE) {
      x.kind = FUSE_RANGE;
      return x;
    }
    if (n->op == CELL_OP_AXIS_INDEX) {
      x.kind = FUSE_POSITION, x.axis[0] = x.axis[n->axis];
      return x;
    }
    if (!fuse_is_view(n->op)) {
      x.val = fuse_val(f, r, v);
      return x;
    }
    CellValue a = n->args[0];
    const CellNode *an = cell_node(r->g, a);
    FuseIndex in[CELL_MAX_RANK];
    for (int d = 0; d < CELL_MAX_RANK; d++) in[d] = fuse_index_const(0);
    switch (n->op) {
    case CELL_OP_RESHAPE:
      if (!unreshape(an, n, x.dim, in, is_stored(r, a))) {
        // not affine: the operand becomes a value of its own, row-major
        FuseVal *copy = fuse_node_val(f, r, a, NULL);
        if (!is_stored(r, a)) fuse_copy_op(f, r, a, copy), r->vals[a] = copy;
        if (!unreshape(an, n, x.dim, in, true)) {
          // an index that cannot be merged (a loaded one): the result is copied as well
          FuseVal *whole = fuse_node_val(f, r, v, NULL);
          fuse_copy_op(f, r, v, whole);
          r->vals[v] = whole;
          continue;
        }
      }
      break;
    case CELL_OP_TRANSPOSE:
      for (int d = 0; d < n->rank; d++) in[n->map[d]] = x.dim[d];
      break;
    case CELL_OP_SLICE:
      for (int d = 0; d < n->rank; d++) in[d] = x.dim[d];
      in[n->dim].base += n->begin;
      break;
    case CELL_OP_BROADCAST:
      for (int d = 0; d < an->rank; d++)
        in[d] = an->shape[d] == 1 ? fuse_index_const(0) : x.dim[n->map[d]];
      break;
    default:
      for (int d = 0; d < n->rank; d++) in[d] = x.dim[d];
    }
    memcpy(x.dim, in, sizeof in);
    v = a;
  }
}

/* operand i of an op, read at the loops given for its axes and dimensions */
FuseAccess fuse_read(Fuse *f, FuseRegion *r, CellValue v, const int *axis_loop,
                     const int *dim_loop) {
  FuseIndex axis[CELL_MAX_AXES], dim[CELL_MAX_RANK];
  const CellNode *n = cell_node(r->g, v);
  for (int a = 0; a < CELL_MAX_AXES; a++) axis[a] = fuse_index_loop(axis_loop[a]);
  for (int d = 0; d < CELL_MAX_RANK; d++) dim[d] = fuse_index_loop(d < n->rank ? dim_loop[d] : -1);
  return fuse_follow(f, r, v, axis, dim);
}
