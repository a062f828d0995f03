/* fuse_sums.c - sums to one number, where launches count and stand in stages: fewer of them wait for each other.
 *
 *   tiles     a sum over all entries of a product (a gradient's square) is made by the product's kernel, one partial
 *             a tile, from the sums in registers; fuse_tails.c puts it there
 *   merging   numbers that are summed up once more, a norm of many gradients, lie side by side as one list of
 *             partials: ((a + b) + c) of three sums becomes one fold over the partials of all
 *   repeating what is made of a fold alone, a clip factor, is made by every kernel that reads it, from the partials,
 *             instead of by one task of a launch in between
 *
 * The order of every sum follows from the graph and the shapes. */
#include "ir/fuse.h"

enum { MOST_REPEATED = 1 << 12 }; /* partials that a task may fold for itself */

static bool is_number(const FuseVal *val) {
  return val->rank == 0 && !val->axes && val->dtype == CELL_F;
}

/* ---- tiles ---- */

static bool reads_entry(const FuseAccess *x, const FuseOp *product, const int *loops) {
  if (x->kind != FUSE_VALUE || x->val != product->out) return false;
  for (int d = 0; d < 2; d++) {
    const FuseIndex *index = &x->dim[d];
    if (index->count != 1 || index->loop[0] != loops[d] || index->coef[0] != 1 ||
        index->base != product->out_offset[d] || index->loaded >= 0 || index->scan)
      return false;
  }
  return true;
}

/* whether a sum reads exactly the entries that the product makes, entry by entry; *row: its loop over rows */
static bool takes_tiles(const FuseOp *op, const FuseOp *p, int *row) {
  if (p->kind != FUSE_CONTRACT || p->region != op->region || p->segment_count != 1 ||
      p->loop_count != 3 || p->loop_m < 0 || p->loop_n < 0 || p->loop_k < 0 ||
      op->args[0].dim[0].count != 1)
    return false;
  const FuseSegment *s = &p->segments[0];
  if (s->m_extent != p->loops[p->loop_m].extent || s->n_extent != p->loops[p->loop_n].extent)
    return false;
  int loops[2] = {op->args[0].dim[0].loop[0], 1 - op->args[0].dim[0].loop[0]};
  for (int d = 0; d < 2; d++)
    if (p->out_dim[d] < 0 || op->loops[loops[d]].extent != p->loops[p->out_dim[d]].extent)
      return false;
  *row = loops[p->out_dim[0] == p->loop_m ? 0 : 1];
  for (int i = 0; i < op->arg_count; i++)
    if (!reads_entry(&op->args[i], p, loops)) return false;
  return true;
}

FuseOp *fuse_sums_tiles(const Fuse *f, const FuseOp *op, int *row) {
  if (f->target->anchor_rows <= 0 || op->kind != FUSE_REDUCE || op->reduce != CELL_SUM ||
      !is_number(op->out) || op->loop_count != 2 || op->region->scan)
    return NULL;
  const FuseVal *val = op->args[0].kind == FUSE_VALUE ? op->args[0].val : NULL;
  if (!val || val->rank != 2 || val->axes) return NULL;
  for (int i = 0; i < val->producer_count; i++)
    if (takes_tiles(op, val->producers[i], row)) return val->producers[i];
  return NULL;
}

int32_t fuse_tile_partials(const Fuse *f, const FuseOp *op) {
  int32_t rows = f->target->anchor_rows, columns = f->target->anchor_columns;
  return (op->loops[op->task].extent + rows - 1) / rows *
         ((op->loops[1 - op->task].extent + columns - 1) / columns);
}

/* ---- lists of ops that change ---- */

static void drop_consumer(FuseVal *val, const FuseOp *op) {
  int kept = 0;
  for (int i = 0; i < val->consumer_count; i++)
    if (val->consumers[i] != op) val->consumers[kept++] = val->consumers[i];
  val->consumer_count = kept;
}

static void add_consumer(Fuse *f, FuseVal *val, FuseOp *op) {
  for (int i = 0; i < val->consumer_count; i++)
    if (val->consumers[i] == op) return;
  CELL_PUSH(f->arena, val->consumers, val->consumer_count, val->consumer_capacity, op);
}

/* a fold reads a list of partials; each piece of it has a value of its own */
static void each_partial(FuseOp *fold, void (*visit)(Fuse *f, FuseVal *val, FuseOp *op), Fuse *f) {
  FuseVal *all = fold->args[0].val;
  visit(f, all, fold);
  for (int i = 0; i < all->producer_count; i++)
    if (all->producers[i]->out != all) visit(f, all->producers[i]->out, fold);
}

static void drop(Fuse *f, FuseVal *val, FuseOp *op) {
  (void)f;
  drop_consumer(val, op);
}

static void forget(FuseOp *op) {
  op->dead = true;
  if (op->fold) {
    each_partial(op, drop, NULL);
    return;
  }
  for (int i = 0; i < op->arg_count; i++)
    if (op->args[i].kind == FUSE_VALUE) drop_consumer(op->args[i].val, op);
}

static void remove_dead(FuseSums *s) {
  int kept = 0;
  for (int i = 0; i < s->count; i++) {
    if (s->ops[i]->dead) continue;
    s->ops[kept] = s->ops[i], s->cuts[kept++] = s->cuts[i];
  }
  s->count = kept;
}

static void number(FuseSums *s) {
  for (int i = 0; i < s->count; i++) s->ops[i]->order = i;
}

/* ---- merging ---- */

typedef struct {
  FuseOp **parts, **adds; /* folds and small sums; the additions between them and the last one */
  int part_count, part_capacity, add_count, add_capacity;
} Summands;

static bool is_addition(const FuseOp *op) {
  return op->kind == FUSE_SCALAR && op->scalar == CELL_OP_ADD && is_number(op->out) &&
         !op->region->scan && op->args[0].kind == FUSE_VALUE && op->args[1].kind == FUSE_VALUE &&
         op->args[0].val != op->args[1].val;
}

static bool gather(Fuse *f, FuseSums *s, FuseOp *add, Summands *to) {
  for (int i = 0; i < 2; i++) {
    const FuseVal *val = add->args[i].val;
    if (!is_number(val) || val->producer_count != 1 || val->consumer_count != 1 || val->global)
      return false;
    FuseOp *p = val->producers[0];
    if (p->region != add->region) return false;
    if (is_addition(p)) {
      if (!gather(f, s, p, to)) return false;
      CELL_PUSH(f->arena, to->adds, to->add_count, to->add_capacity, p);
    } else if (p->fold || (p->kind == FUSE_REDUCE && p->reduce == CELL_SUM && !p->partial &&
                           s->cuts[p->order].task == FUSE_TASK_NONE)) {
      CELL_PUSH(f->arena, to->parts, to->part_count, to->part_capacity, p);
    } else {
      return false;
    }
  }
  return true;
}

static int add_buffer(Fuse *f, CellBuffer b) {
  CellPlan *plan = f->plan;
  b.dtype = CELL_F, b.program = f->program, b.first = b.last = -1;
  CELL_PUSH(plan->arena, plan->buffers, plan->buffer_count, plan->buffer_capacity, b);
  return plan->buffer_count - 1;
}

/* the partials of a part; of a sum that had none: the sum itself */
static FuseVal *partials_of(Fuse *f, FuseOp *part) {
  if (part->fold) return part->args[0].val;
  int32_t one = 1;
  FuseVal *val = fuse_new_val(f, CELL_F, 1, &one, 0, NULL, part->out->name);
  val->global = true;
  CELL_PUSH(f->arena, val->producers, val->producer_count, val->producer_capacity, part);
  part->out = val, part->partial = true;
  return val;
}

static void merge(Fuse *f, FuseOp *root, const Summands *from) {
  FuseVal **pieces = CELL_NEW_ARRAY(f->arena, FuseVal *, from->part_count);
  int32_t count = 0;
  for (int i = 0; i < from->part_count; i++) {
    pieces[i] = partials_of(f, from->parts[i]);
    count += pieces[i]->shape[0];
  }
  const char *name =
      cell_arena_printf(f->arena, "%s partials", root->out->name ? root->out->name : "");
  FuseVal *all = fuse_new_val(f, CELL_F, 1, &count, 0, NULL, name);
  all->global = true;
  all->buffer = add_buffer(f, (CellBuffer){.name = name, .kind = CELL_BUFFER_TEMP, .count = count});
  int32_t begin = 0;
  for (int i = 0; i < from->part_count; i++) {
    FuseOp *part = from->parts[i], *producer = pieces[i]->producers[0];
    pieces[i]->buffer = add_buffer(f, (CellBuffer){.name = pieces[i]->name,
                                                   .kind = CELL_BUFFER_PIECE,
                                                   .count = pieces[i]->shape[0],
                                                   .whole = all->buffer,
                                                   .begin = begin});
    begin += pieces[i]->shape[0];
    CELL_PUSH(f->arena, all->producers, all->producer_count, all->producer_capacity, producer);
    pieces[i]->consumer_count = 0;
    add_consumer(f, pieces[i], root);
    part->dead = part->fold;
  }
  for (int i = 0; i < from->add_count; i++) from->adds[i]->dead = true;
  add_consumer(f, all, root);
  fuse_make_fold(f, root, all);
}

void fuse_merge_sums(Fuse *f, FuseSums *s) {
  number(s);
  for (int i = s->count - 1; i >= 0; i--) {
    Summands from = {0};
    if (s->ops[i]->dead || !is_addition(s->ops[i]) || !gather(f, s, s->ops[i], &from)) continue;
    merge(f, s->ops[i], &from);
  }
  remove_dead(s);
  number(s);
}

/* ---- repeating ---- */

static FuseOp *maker(const FuseAccess *x) {
  bool one = x->kind == FUSE_VALUE && is_number(x->val) && x->val->producer_count == 1;
  return one ? x->val->producers[0] : NULL;
}

/* whether an op is made of folds and numbers alone */
static bool repeatable(const FuseSums *s, const FuseOp *op) {
  if (op->region->scan || op->repeated || op->order >= s->count || s->ops[op->order] != op ||
      s->cuts[op->order].task != FUSE_TASK_NONE)
    return false;
  if (op->fold) return op->args[0].val->shape[0] <= MOST_REPEATED;
  if (op->kind != FUSE_SCALAR || op->scalar == CELL_OP_COUNT) return false;
  bool any = false;
  for (int i = 0; i < op->arg_count; i++) {
    if (op->args[i].kind == FUSE_CONSTANT) continue;
    const FuseOp *p = maker(&op->args[i]);
    if (!p || !repeatable(s, p)) return false;
    any = true;
  }
  return any;
}

static void watch(Fuse *f, FuseVal *val, FuseOp *op) {
  add_consumer(f, val, op);
}

typedef struct {
  FuseOp **from, **to;
  int count, from_capacity, to_capacity;
} Copies;

/* a copy of op, and of what it is made of, for one reader; copies are shared within a reader */
static FuseOp *repeat(Fuse *f, FuseSums *out, Copies *copies, FuseOp *op, FuseCut cut) {
  for (int i = 0; i < copies->count; i++)
    if (copies->from[i] == op) return copies->to[i];
  FuseOp *copy = CELL_NEW(f->arena, FuseOp);
  *copy = *op;
  copy->repeated = true;
  copy->args = CELL_NEW_ARRAY(f->arena, FuseAccess, op->arg_count);
  copy->out = fuse_new_val(f, CELL_F, 0, NULL, 0, NULL, op->out->name);
  CELL_PUSH(f->arena, copy->out->producers, copy->out->producer_count, copy->out->producer_capacity,
            copy);
  for (int i = 0; i < op->loop_count; i++) copy->loops[i].cls = fuse_new_class(f, copy);
  for (int i = 0; i < op->arg_count; i++) {
    copy->args[i] = op->args[i];
    if (op->fold || op->args[i].kind != FUSE_VALUE) continue;
    FuseOp *made = repeat(f, out, copies, op->args[i].val->producers[0], cut);
    copy->args[i].val = made->out;
    add_consumer(f, made->out, copy);
  }
  if (op->fold) each_partial(copy, watch, f);
  int count = copies->count;
  CELL_PUSH(f->arena, copies->from, count, copies->from_capacity, op);
  CELL_PUSH(f->arena, copies->to, copies->count, copies->to_capacity, copy);
  CELL_PUSH(f->arena, f->all, f->all_count, f->all_capacity, copy);
  int at = out->count;
  CELL_PUSH(f->arena, out->ops, at, out->op_capacity, copy);
  CELL_PUSH(f->arena, out->cuts, out->count, out->cut_capacity, cut);
  return copy;
}

void fuse_repeat_sums(Fuse *f, FuseSums *s) {
  FuseSums out = {0};
  for (int i = 0; i < s->count; i++) {
    FuseOp *op = s->ops[i];
    Copies copies = {0};
    bool reads = s->cuts[i].task != FUSE_TASK_NONE && op->kind != FUSE_SCAN &&
                 op->kind != FUSE_CONTRACT && !op->fold;
    for (int a = 0; a < op->arg_count && reads; a++) {
      FuseOp *p = maker(&op->args[a]);
      if (!p || !repeatable(s, p)) continue;
      FuseVal *old = op->args[a].val;
      op->args[a].val = repeat(f, &out, &copies, p, s->cuts[i])->out;
      add_consumer(f, op->args[a].val, op);
      bool again = false;
      for (int b = 0; b < op->arg_count; b++)
        again |= op->args[b].kind == FUSE_VALUE && op->args[b].val == old;
      if (!again) drop_consumer(old, op);
    }
    int at = out.count;
    CELL_PUSH(f->arena, out.ops, at, out.op_capacity, op);
    CELL_PUSH(f->arena, out.cuts, out.count, out.cut_capacity, s->cuts[i]);
  }
  // what is read by nobody any more
  for (int i = s->count - 1; i >= 0; i--)
    if (repeatable(s, s->ops[i]) && s->ops[i]->out->consumer_count == 0 && !s->ops[i]->out->global)
      forget(s->ops[i]);
  *s = out;
  remove_dead(s);
  number(s);
}
