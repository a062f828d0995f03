/* fuse_place.c - where values live: in registers for readers in the body that makes them or below it, else in
 * scratch with the extents of the loops that definition and readers do not share, or in a buffer of the plan. */
#include "ir/fuse_emit.h"

#include <stdlib.h>
#include <string.h>

FuseNode *fuse_reduce_node(FuseEmit *e, const FuseOp *op) {
  FuseNode *top = NULL;
  for (FuseNode *n = op->leaf->parent; n && n->parent; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls)
        top = n;
  return top;
}

bool fuse_opened_below(FuseEmit *e, const FuseOp *op, const FuseNode *r) {
  for (FuseNode *n = op->leaf->parent; n != r; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (!op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls)
        return true;
  return false;
}

/* the outermost summed loop with no loop of the result inside: a register sums up to its end, and then
 * is the result, or is added to storage where the result has loops inside further summed ones */
FuseNode *fuse_register_node(FuseEmit *e, const FuseOp *op) {
  FuseNode *low = NULL;
  for (FuseNode *n = op->leaf->parent; n && n->parent; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls && !fuse_opened_below(e, op, n))
        low = n;
  return low;
}

/* node whose body first holds the op's finished result */
static FuseNode *definition(FuseEmit *e, const FuseOp *op) {
  FuseNode *r = op->kind == FUSE_REDUCE ? fuse_reduce_node(e, op) : NULL;
  return r ? r->parent : op->leaf->parent;
}

bool fuse_stored(const FuseVal *val) {
  return val->place != FUSE_NOWHERE;
}

/* ---- where values live ---- */

typedef struct {
  FuseEmit *e;
  FuseVal *val;
  FuseOp *producer;
  bool registers;
} Reads;

/* the static half of register_entry */
static void check_register(FuseOp *op, FuseAccess *x, void *context) {
  Reads *r = context;
  if (x->kind != FUSE_VALUE || x->val != r->val) return;
  const FuseOp *p = r->producer;
  for (int l = 0; l < p->loop_count; l++) {
    if (p->loops[l].reduced) continue;
    const FuseIndex *index = NULL;
    for (int d = 0; d < x->val->rank; d++)
      if (p->out_dim[d] == l) {
        index = &x->dim[d];
        if (p->out_offset[d] || x->val->shape[d] != p->loops[l].extent) r->registers = false;
      }
    for (int a = 0; a < CELL_MAX_AXES; a++)
      if (p->out_axis[a] == l) index = &x->axis[a];
    if (!index) {
      r->registers = false;
      return;
    }
    bool unrolled = p->inner >> l & 1;
    if (index->count == 0 && unrolled && index->loaded < 0 && !index->scan) continue;
    if (index->count != 1 || !fuse_is_loop(index, index->loop[0])) {
      r->registers = false;
      return;
    }
    int mine = index->loop[0];
    // a loop that the reader opens itself has no constant positions
    bool fixed = (op->inner >> mine & 1) && !(op->loops[mine].reduced && op->reduce != CELL_SUM);
    if (unrolled != fixed || (op->inner >> mine & 1) != fixed) r->registers = false;
    if (fuse_class(r->e->f, op->loops[mine].cls) != fuse_class(r->e->f, p->loops[l].cls))
      r->registers = false;
  }
}

static FuseOp *lift_to(FuseOp *op, const FuseRegion *r) {
  while (op && op->region != r) op = op->region->scan;
  return op;
}

static FuseNode *common(FuseNode *a, FuseNode *b) {
  while (a != b) {
    if (a->depth >= b->depth)
      a = a->parent;
    else
      b = b->parent;
  }
  return a;
}

static FuseNode *top_child(FuseNode *n) {
  while (n->parent && n->parent->parent) n = n->parent;
  return n;
}

static void new_scratch(FuseEmit *e, FuseVal *val, int64_t count, int first, int last) {
  CellKernel *k = e->out;
  CellScratch s = {
      .dtype = val->dtype == CELL_I ? CELL_I : CELL_F, .count = count, .name = val->name};
  int at = k->scratch_count, length = at;
  CELL_PUSH(e->f->arena, e->scratch_first, length, e->first_capacity, first);
  length = at;
  CELL_PUSH(e->f->arena, e->scratch_last, length, e->last_capacity, last);
  CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
  val->place = FUSE_SCRATCH, val->scratch = at;
}

/* scratch with the extents of all loops but those open at `at` */
static void scratch_layout(FuseEmit *e, FuseVal *val, FuseOp *p, FuseNode *at, int first,
                           int last) {
  int64_t stride = 1;
  for (int d = val->rank - 1; d >= 0; d--) {
    int l = p->out_dim[d];
    bool shared = false, task = false;
    if (l >= 0) {
      int cls = fuse_class(e->f, p->loops[l].cls);
      for (FuseNode *n = at; n && n->parent; n = n->parent)
        shared |= n->cls == cls && n->kind != CELL_LOOP_LANES;
      task = cls == e->task_class;
    }
    if (val->producer_count > 1) shared = false;
    val->dim_stride[d] = shared ? 0 : stride;
    if (task && !shared) val->tile_dims |= 1u << d;
    if (!shared) stride *= task ? e->k->tile : val->shape[d];
  }
  for (int a = CELL_MAX_AXES - 1; a >= 0; a--) {
    if (!(val->axes & CELL_AXIS(a))) continue;
    int l = p->out_axis[a];
    bool shared = false, task = false;
    if (l >= 0) {
      int cls = fuse_class(e->f, p->loops[l].cls);
      for (FuseNode *n = at; n && n->parent; n = n->parent)
        shared |= n->cls == cls && n->kind != CELL_LOOP_LANES;
      task = cls == e->task_class;
    }
    val->axis_stride[a] = shared ? 0 : stride;
    if (task && !shared) val->tile_axes |= 1u << a;
    if (!shared) stride *= task ? e->k->tile : val->extent[a];
  }
  new_scratch(e, val, stride, first, last);
}

void fuse_place_value(FuseEmit *e, FuseVal *val, FuseRegion *region) {
  if (val->place == FUSE_SCRATCH) return;
  FuseOp *p = val->producers[0];
  for (int i = 0; i < val->producer_count; i++)
    if (val->producers[i]->kind != FUSE_SCAN && val->producers[i]->region == region)
      p = val->producers[i];
  val->array_sum = false;
  FuseNode *r = p->kind == FUSE_REDUCE ? fuse_reduce_node(e, p) : NULL;
  if (r && fuse_opened_below(e, p, r)) val->array_sum = true;
  if (val->global) {
    val->place = FUSE_GLOBAL;
    fuse_global_strides(val);
    return;
  }
  FuseNode *at = definition(e, p);
  bool registers = !val->array_sum && val->producer_count == 1 && p->kind != FUSE_CONTRACT &&
                   p->kind != FUSE_SCAN;
  int first = top_child(p->leaf)->place, last = first;
  FuseNode *body = at;
  for (int i = 0; i < val->producer_count; i++)
    if (val->producers[i]->region == region && val->producers[i]->leaf && val->producers[i] != p) {
      at = common(at, val->producers[i]->leaf->parent);
      int place = top_child(val->producers[i]->leaf)->place;
      if (place < first) first = place;
      if (place > last) last = place;
    }
  for (int i = 0; i < val->consumer_count; i++) {
    FuseOp *inner = val->consumers[i], *reader = lift_to(inner, region);
    // a body's copies into its carries come after everything
    if (!reader || !reader->leaf) {
      registers = false;
      while (at->parent) at = at->parent;
      last = INT32_MAX;
      continue;
    }
    FuseNode *n = reader->leaf->parent;
    if (reader != inner || reader->kind == FUSE_CONTRACT || !fuse_is_ancestor(body, n))
      registers = false;
    if (registers) {
      Reads reads = {e, val, p, true};
      fuse_each_access(reader, check_register, &reads);
      registers = reads.registers;
    }
    at = common(at, n);
    int place = top_child(reader->leaf)->place;
    if (place > last) last = place;
  }
  if (registers || val->consumer_count == 0) {
    if (!val->array_sum) {
      val->place = FUSE_NOWHERE;
      return;
    }
  }
  scratch_layout(e, val, p, at, first, last);
}

/* carries live in scratch at the top of the kernel */
void fuse_place_carries(FuseEmit *e, FuseOp *scan) {
  for (int c = 0; c < scan->carry_count; c++) {
    FuseVal *val = scan->carries[c];
    int64_t stride = 1;
    for (int d = val->rank - 1; d >= 0; d--) val->dim_stride[d] = stride, stride *= val->shape[d];
    for (int a = CELL_MAX_AXES - 1; a >= 0; a--) {
      if (!(val->axes & CELL_AXIS(a))) continue;
      val->axis_stride[a] = stride;
      bool task = a == CELL_AXIS_BATCH && e->k->task == FUSE_TASK_BATCH;
      if (task) val->tile_axes |= CELL_AXIS(a);
      stride *= task ? e->k->tile : val->extent[a];
    }
    new_scratch(e, val, stride, 0, INT32_MAX);
  }
}

/* scratch buffers that do not live at once share room; first fit, in order of creation */
void fuse_layout_scratch(FuseEmit *e) {
  CellKernel *k = e->out;
  int n = k->scratch_count;
  for (int i = 0; i < n; i++) {
    int64_t size = (k->scratch[i].count * 4 + 63) / 64 * 64, at = 0;
    bool moved = true;
    while (moved) {
      moved = false;
      for (int j = 0; j < i; j++) {
        int64_t begin = k->scratch[j].offset,
                end = begin + (k->scratch[j].count * 4 + 63) / 64 * 64;
        bool together =
            e->scratch_first[i] <= e->scratch_last[j] && e->scratch_first[j] <= e->scratch_last[i];
        if (!together || at + size <= begin || at >= end) continue;
        at = end, moved = true;
      }
    }
    k->scratch[i].offset = at;
    if (at + size > k->scratch_bytes) k->scratch_bytes = at + size;
  }
}
