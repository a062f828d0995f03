/* fuse_group.c - which ops share a launch.
 *
 * Every op has a loop that its tasks may be cut from: the batch; else the first dimension of its result
 * (rows), when there is enough work; else none. A sum that removes that loop leaves one partial number a
 * task, added in order by a fold in a later kernel, so the bytes do not depend on threads.
 *
 * Producer and reader may share a kernel if they are cut from the same loop and the reader reads only its
 * own task's part; else the reader comes at least one level later. Ops sit as late as their readers allow
 * (what is small stays, what is large is made where it is used), or beside a producer where that costs no
 * launch. One kernel a level and kind of task: the kernel graph is acyclic by construction. */
#include <stdlib.h>

#include "ir/fuse.h"

enum {
  SMALL_WORK = 8192,
  FAR_WORK = 1 << 22 /* of a sample: parameters of as many products do not stay near */
};

static int64_t loop_product(const FuseOp *op) {
  int64_t p = 1;
  for (int i = 0; i < op->loop_count; i++) p *= op->loops[i].extent;
  return p;
}

static FuseOp *top_op(FuseOp *op) {
  while (op->region->scan) op = op->region->scan;
  return op;
}

/* what an op makes: its result, or a scan's carries */
static FuseVal **results(FuseOp *op, int *count) {
  *count = op->kind == FUSE_SCAN ? op->carry_count : 1;
  return op->kind == FUSE_SCAN ? op->carries : &op->out;
}

static bool touches_carry(const FuseOp *op) {
  if (op->out && op->out->pinned) return true;
  for (int i = 0; i < op->arg_count; i++)
    if (op->args[i].kind == FUSE_VALUE && op->args[i].val->pinned) return true;
  return false;
}

static bool carries_batch(const FuseOp *scan) {
  for (int i = 0; i < scan->carry_count; i++) {
    const FuseVal *c = scan->carries[i];
    if (!(c->axes & CELL_AXIS(CELL_AXIS_BATCH)) || c->extent[CELL_AXIS_BATCH] == 1) return false;
  }
  return scan->carry_count > 0;
}

/* the loop of a sum that runs over what the tasks of the product it reads are cut from, or -1 */
static int loop_of_producer(const FuseOp *op) {
  for (int i = 0; i < op->arg_count; i++) {
    const FuseAccess *x = &op->args[i];
    if (x->kind != FUSE_VALUE || x->val->producer_count != 1) continue;
    const FuseOp *p = x->val->producers[0];
    if (p->kind != FUSE_CONTRACT || p->task < 0) continue;
    for (int d = 0; d < x->val->rank; d++)
      if (p->out_dim[d] == p->task && x->dim[d].count == 1 &&
          fuse_is_loop(&x->dim[d], x->dim[d].loop[0]))
        return x->dim[d].loop[0];
  }
  return -1;
}

/* The same where sums that wait for a launch cost more than ones that are short: beside any op that is cut by rows;
 * a product takes only sums of its tiles. */
static int loop_in_stages(const Fuse *f, FuseOp *op) {
  int row;
  op->tiles = fuse_sums_tiles(f, op, &row);
  if (op->tiles) return row;
  for (int i = 0; i < op->arg_count; i++) {
    const FuseAccess *x = &op->args[i];
    if (x->kind != FUSE_VALUE || x->val->producer_count != 1) continue;
    const FuseOp *p = x->val->producers[0];
    if (p->kind == FUSE_CONTRACT || p->kind == FUSE_SCAN || p->partial || p->task < 0) continue;
    for (int d = 0; d < x->val->rank; d++) {
      if (p->out_dim[d] != p->task || x->dim[d].count != 1) continue;
      int loop = x->dim[d].loop[0];
      if (fuse_is_loop(&x->dim[d], loop) && op->loops[loop].extent == p->loops[p->task].extent)
        return loop;
    }
  }
  return -1;
}

/* parameters that a product of one sample reads; of rows selected by bits, about one in eight */
static int64_t bytes_read(const FuseOp *op) {
  int64_t bytes = 0;
  for (int i = 0; i < op->segment_count; i++) {
    const FuseSegment *s = &op->segments[i];
    bytes += 4 * (int64_t)s->n_extent * s->k_extent / (s->a.val->dtype == CELL_BITS ? 8 : 1);
  }
  return bytes;
}

/* single: of a program for one sample */
static FuseCut cut_of(const Fuse *f, FuseOp *op, bool single) {
  if (op->kind == FUSE_SCAN) {
    if (!carries_batch(op)) return (FuseCut){FUSE_TASK_NONE, 1};
    return (FuseCut){FUSE_TASK_BATCH, op->carries[0]->extent[CELL_AXIS_BATCH]};
  }
  int batch = op->out_axis[CELL_AXIS_BATCH];
  if (touches_carry(op)) {
    // in the scan's kernel: the scan is a producer or reader of that carry
    const FuseVal *c = op->out->pinned ? op->out : op->args[0].val;
    FuseOp *scan = NULL;
    for (int i = 0; i < c->producer_count; i++)
      if (c->producers[i]->kind == FUSE_SCAN) scan = c->producers[i];
    if (scan && !carries_batch(scan)) return (FuseCut){FUSE_TASK_NONE, 1};
  }
  if (batch >= 0) {
    op->task = batch;
    return (FuseCut){FUSE_TASK_BATCH, op->loops[batch].extent};
  }
  // candidates of one sample are apart until one is chosen; a product reads its parameters once for all of them
  int candidate = op->out_axis[CELL_AXIS_CANDIDATE];
  if (single && candidate >= 0 && op->kind != FUSE_CONTRACT && !touches_carry(op)) {
    op->task = candidate;
    return (FuseCut){FUSE_TASK_CANDIDATES, op->loops[candidate].extent};
  }
  if (op->out->axes & CELL_AXIS(CELL_AXIS_BATCH)) {
    int64_t least = f->target->split_bytes;
    if (op->kind != FUSE_CONTRACT || least <= 0 || touches_carry(op) || bytes_read(op) < least)
      return (FuseCut){FUSE_TASK_NONE, 1};
    op->task = op->loop_n;
    return (FuseCut){FUSE_TASK_COLUMNS, op->loops[op->loop_n].extent};
  }
  if (op->kind == FUSE_CONTRACT) {
    op->task = op->loop_m;
    return (FuseCut){FUSE_TASK_ROWS, op->loops[op->loop_m].extent};
  }
  if (op->kind == FUSE_REDUCE && op->reduce == CELL_SUM && op->out->rank == 0 && !op->out->axes) {
    int largest = -1;
    for (int i = 0; i < op->loop_count; i++) {
      if (op->loops[i].axis == CELL_AXIS_BATCH) {
        op->task = i, op->partial = true;
        return (FuseCut){FUSE_TASK_BATCH, op->loops[i].extent};
      }
      if (largest < 0 || op->loops[i].extent > op->loops[largest].extent) largest = i;
    }
    // with the product that it sums up, tile by tile; else on its own, if there is enough to share
    int beside = f->target->stages ? loop_in_stages(f, op) : -1;
    if (beside < 0 && f->target->anchor_rows == 0) beside = loop_of_producer(op);
    if (f->target->stages && beside >= 0) {
      op->task = beside, op->partial = true;
      return (FuseCut){FUSE_TASK_ROWS, op->loops[beside].extent};
    }
    if (beside >= 0) largest = beside;
    if (largest >= 0 && loop_product(op) >= SMALL_WORK && op->loops[largest].extent >= 16) {
      op->task = largest, op->partial = true;
      return (FuseCut){FUSE_TASK_ROWS, op->loops[largest].extent};
    }
    return (FuseCut){FUSE_TASK_NONE, 1};
  }
  if (op->out->rank >= 1 && op->out_dim[0] >= 0 && op->out_offset[0] == 0 &&
      op->loops[op->out_dim[0]].extent == op->out->shape[0] && loop_product(op) >= SMALL_WORK) {
    op->task = op->out_dim[0];
    return (FuseCut){FUSE_TASK_ROWS, op->loops[op->task].extent};
  }
  return (FuseCut){FUSE_TASK_NONE, 1};
}

static int32_t round_up(int32_t n, int32_t to) {
  return (n + to - 1) / to * to;
}

static int32_t tasks_wanted(const Fuse *f) {
  return f->target->tasks_wanted > 0 ? f->target->tasks_wanted : 8;
}

/* samples of a tile if each core has one */
static int32_t core_share(const Fuse *f, int32_t samples) {
  int32_t cores = (tasks_wanted(f) + 1) / 2;
  return round_up((samples + cores - 1) / cores, 4);
}

/* tile of a task, from the shape and target alone; it may be more than there is */
static int32_t wanted_tile(const Fuse *f, FuseCut cut) {
  if (cut.task == FUSE_TASK_NONE || cut.task == FUSE_TASK_CANDIDATES) return 1;
  if (cut.task == FUSE_TASK_BATCH && f->target->batch_tile > 0) return f->target->batch_tile;
  int32_t wanted = tasks_wanted(f);
  if (cut.task == FUSE_TASK_BATCH) {
    // parameters are read once a tile, so tiles are large, one a core if the batch is small; a tile's values
    // should stay near, so not too large
    int32_t tile = core_share(f, cut.extent);
    return tile < 16 ? 16 : tile > 128 ? 128 : tile;
  }
  if (cut.task == FUSE_TASK_COLUMNS)
    return round_up((cut.extent + wanted - 1) / wanted,
                    f->target->lanes > 0 ? f->target->lanes : 8);
  int32_t share = (cut.extent + 2 * wanted - 1) / (2 * wanted);
  // a block's threads with several entries each
  if (f->target->stages && cut.extent >= SMALL_WORK) return round_up(share, 512);
  if (cut.extent >= SMALL_WORK) return round_up(share, 64);
  // what is stored along a tile is then of whole vectors, or ends with half of one, and no tile is shorter
  if (f->target->tune_lanes && cut.extent % (2 * wanted) == 0 && share % 8 == 0) return share;
  return round_up(share, 12);
}

static int32_t tile_of(const Fuse *f, FuseCut cut) {
  int32_t tile = wanted_tile(f, cut);
  return tile < cut.extent ? tile : cut.extent;
}

typedef struct {
  const FuseVal *val;
  bool own; /* reads only its own task's part */
} Reading;

static void check_reading(FuseOp *op, FuseAccess *x, void *context) {
  Reading *r = context;
  if (x->kind != FUSE_VALUE || x->val != r->val || x->val->producer_count == 0) return;
  const FuseOp *producer = x->val->producers[0];
  if (producer->kind == FUSE_SCAN && x->val->producer_count > 1) producer = x->val->producers[1];
  if (producer->task < 0) return;
  int axis = producer->loops[producer->task].axis;
  if (axis >= 0) {
    const FuseIndex *index = &x->axis[axis];
    if (index->count != 1 || index->loaded >= 0 || op->loops[index->loop[0]].axis != axis)
      r->own = false;
    return;
  }
  for (int d = 0; d < x->val->rank; d++)
    if (producer->out_dim[d] == producer->task && !fuse_is_loop(&x->dim[d], op->task))
      r->own = false;
}

bool fuse_may_join(const FuseItem *producer, const FuseItem *reader, FuseOp *inner,
                   const FuseVal *val) {
  if (producer->tail >= 0 || reader->tail >= 0) return producer->tail == reader->tail;
  if (producer->cut.task != reader->cut.task || producer->cut.extent != reader->cut.extent)
    return false;
  if (producer->op->partial) return false;
  if (producer->cut.task == FUSE_TASK_NONE) return true;
  Reading r = {val, true};
  fuse_each_access(inner, check_reading, &r);
  return r.own;
}

static int by_order(const void *a, const void *b) {
  const FuseOp *x = *(FuseOp *const *)a, *y = *(FuseOp *const *)b;
  return (x->order > y->order) - (x->order < y->order);
}

/* folds stand right after the ops whose partial sums they add */
static void split_partials(Fuse *f, FuseRegion *r, FuseCut **cuts) {
  int count = r->op_count;
  FuseOp **before = r->ops;
  // where products are cut by columns
  bool single = f->target->split_bytes > 0;
  for (int i = 0; i < count; i++)
    single = single && before[i]->kind != FUSE_SCAN && before[i]->out_axis[CELL_AXIS_BATCH] < 0;
  FuseCut *cut = CELL_NEW_ARRAY(f->arena, FuseCut, 2 * count + 1);
  r->ops = NULL, r->op_count = r->op_capacity = 0;
  for (int i = 0; i < count; i++) {
    FuseOp *op = before[i];
    FuseCut c = cut_of(f, op, single);
    CELL_PUSH(f->arena, r->ops, r->op_count, r->op_capacity, op);
    cut[r->op_count - 1] = c;
    if (!op->partial) continue;
    int32_t tile = tile_of(f, c), tasks = (c.extent + tile - 1) / tile;
    if (op->tiles) tasks = fuse_tile_partials(f, op);
    // ranges of samples may begin anywhere: a number a sample
    bool rows = f->target->range_work > 0 && c.task == FUSE_TASK_BATCH;
    if (rows) tasks = c.extent;
    FuseVal *whole = op->out;
    FuseVal *partials =
        fuse_new_val(f, CELL_F, 1, &tasks, 0, NULL,
                     cell_arena_printf(f->arena, "%s partials", whole->name ? whole->name : ""));
    partials->global = true;
    op->out = partials;
    if (rows) op->partial = false, op->loops[op->task].reduced = false, op->out_dim[0] = op->task;
    whole->producers = NULL, whole->producer_count = whole->producer_capacity = 0;
    CELL_PUSH(f->arena, partials->producers, partials->producer_count, partials->producer_capacity,
              op);
    fuse_fold_op(f, r, partials, whole);
    cut[r->op_count - 1] = (FuseCut){FUSE_TASK_NONE, 1};
  }
  FuseSums all = {.ops = r->ops, .cuts = cut, .count = r->op_count};
  if (f->target->stages) {
    fuse_merge_sums(f, &all);
    fuse_repeat_sums(f, &all);
  }
  r->ops = all.ops, r->op_count = r->op_capacity = all.count;
  for (int i = 0; i < r->op_count; i++) r->ops[i]->order = i;
  *cuts = all.cuts;
}

static bool one_kernel(const FuseItem *a, const FuseItem *b) {
  return a->op->level == b->op->level && a->cut.task == b->cut.task &&
         a->cut.extent == b->cut.extent && a->tail == b->tail;
}

/* a sum of tiles reads its own product's piece of a value */
static bool reads_other_piece(const FuseOp *maker, const FuseOp *reader) {
  return reader->tiles && maker->kind == FUSE_CONTRACT && reader->tiles != maker;
}

static int find(int *parent, int i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

/* Where launches of a stage stand side by side, ops that do not hand each other values gain nothing from one
 * kernel: part[i] is the first op of those that op i hangs together with. Else every part is 0. */
static int *parts_of(Fuse *f, const FuseItem *items, int n) {
  int *part = CELL_NEW_ARRAY(f->arena, int, n + 1);
  if (!f->target->stages) return part;
  for (int i = 0; i < n; i++) part[i] = i;
  for (int i = 0; i < n; i++) {
    int count;
    FuseVal **outs = results(items[i].op, &count);
    for (int o = 0; o < count; o++) {
      for (int c = 0; c < outs[o]->consumer_count + outs[o]->producer_count; c++) {
        int at = c - outs[o]->consumer_count;
        FuseOp *other = top_op(at < 0 ? outs[o]->consumers[c] : outs[o]->producers[at]);
        // ops of a later list of the program are not among the items
        if (other->order >= n || items[other->order].op != other) continue;
        int j = other->order;
        if (one_kernel(&items[i], &items[j])) part[find(part, j)] = find(part, i);
      }
    }
  }
  for (int i = 0; i < n; i++) part[i] = find(part, i);
  return part;
}

/* what carries an op's level */
static FuseItem *unit_of(FuseItem *items, int i) {
  return &items[items[i].tail >= 0 ? items[i].tail : i];
}

/* As late as readers allow; levels count down from 0. Once is enough but for what the rest of a product's kernel
 * reads; returns whether that may be so. */
static bool latest(FuseItem *items, int n) {
  bool again = false;
  for (int i = n - 1; i >= 0; i--) {
    int count;
    FuseVal **outs = results(items[i].op, &count);
    FuseItem *unit = unit_of(items, i);
    for (int o = 0; o < count; o++) {
      for (int c = 0; c < outs[o]->consumer_count; c++) {
        FuseOp *inner = outs[o]->consumers[c], *reader = top_op(inner);
        if (reader == items[i].op || reads_other_piece(items[i].op, reader)) continue;
        // a carry's first value is written before its scan runs
        if (reader->order < i) continue;
        int alap = unit_of(items, reader->order)->alap;
        int level =
            fuse_may_join(&items[i], &items[reader->order], inner, outs[o]) ? alap : alap - 1;
        if (level >= unit->alap) continue;
        unit->alap = level;
        again |= items[i].tail >= 0;
      }
    }
    items[i].op->level = unit->alap;
  }
  return again;
}

/* entries and products of one sample */
static double sample_work(const FuseOp *op) {
  double work = 1;
  for (int l = 0; l < op->loop_count; l++)
    if (op->loops[l].axis != CELL_AXIS_BATCH) work *= op->loops[l].extent;
  if (op->kind != FUSE_SCAN) return work;
  double step = 0;
  for (int i = 0; i < op->body->op_count; i++) step += sample_work(op->body->ops[i]);
  return step * op->region->g->axes[op->axis].extent;
}

static bool cuts_columns(const FuseOp *op) {
  if (op->kind == FUSE_SCAN)
    for (int i = 0; i < op->body->op_count; i++)
      if (cuts_columns(op->body->ops[i])) return true;
  return op->kind == FUSE_CONTRACT && op->loop_n >= 0 &&
         op->loops[op->loop_n].axis == CELL_AXIS_BATCH;
}

/* Kernels with much to do for each sample: their tiles may be larger by a quarter than an equal share, so that a range
 * of more samples need not be two. Where a tile reads so many parameters that they come from far each time, it has
 * twice the samples. */
static void choose_ranges(const Fuse *f, FuseKernel *k) {
  if (f->target->range_work <= 0 || k->task != FUSE_TASK_BATCH || k->apart || k->tasks < 2) return;
  double work = 0;
  for (int i = 0; i < k->op_count; i++) {
    if (cuts_columns(k->ops[i])) return;
    work += sample_work(k->ops[i]);
  }
  if (work < (double)f->target->range_work) return;
  // lanes may go over samples
  int32_t vector = f->target->lanes > 4 ? f->target->lanes : 4;
  if (work >= FAR_WORK && f->target->batch_tile <= 0) {
    int32_t share = core_share(f, k->extent);
    if (share > k->tile) k->tile = share > 2 * k->tile ? 2 * k->tile : share;
  }
  k->ranges = true, k->tile = round_up(k->tile + k->tile / 4, vector);
  if (k->tile > k->extent) k->tile = k->extent;
  k->tasks = (k->extent + k->tile - 1) / k->tile;
}

int fuse_group(Fuse *f, FuseRegion *r, FuseKernel ***kernels) {
  FuseCut *cuts;
  split_partials(f, r, &cuts);
  int n = r->op_count;
  FuseItem *items = CELL_NEW_ARRAY(f->arena, FuseItem, n);
  for (int i = 0; i < n; i++) items[i] = (FuseItem){r->ops[i], cuts[i], 0, -1};
  fuse_tails(f, items, n);
  while (latest(items, n)) continue;

  // beside a producer, where that is legal and earlier
  int *low = CELL_NEW_ARRAY(f->arena, int, n), *beside = CELL_NEW_ARRAY(f->arena, int, n);
  for (int i = 0; i < n; i++) low[i] = INT32_MIN, beside[i] = INT32_MIN;
  for (int i = 0; i < n; i++) {
    FuseOp *op = items[i].op;
    bool starts_scan = op->kind != FUSE_SCAN && op->out->pinned;
    if (items[i].tail < 0 && !starts_scan && beside[i] >= low[i] && beside[i] > INT32_MIN &&
        beside[i] < op->level)
      op->level = beside[i];
    int count;
    FuseVal **outs = results(op, &count);
    for (int o = 0; o < count; o++) {
      for (int c = 0; c < outs[o]->consumer_count; c++) {
        FuseOp *inner = outs[o]->consumers[c], *reader = top_op(inner);
        int j = reader->order;
        if (j <= i || reads_other_piece(op, reader)) continue;
        bool join = fuse_may_join(&items[i], &items[j], inner, outs[o]);
        int level = join ? op->level : op->level + 1;
        if (level > low[j]) low[j] = level;
        if (join && op->level > beside[j]) beside[j] = op->level;
      }
    }
  }

  // one kernel a level and cut, or several where they stand side by side
  int *part = parts_of(f, items, n);
  FuseKernel **list = NULL;
  int count = 0, capacity = 0;
  for (int i = 0; i < n; i++) {
    FuseOp *op = items[i].op;
    FuseKernel *k = NULL;
    for (int j = 0; j < count && !k; j++)
      if (list[j]->level == op->level && list[j]->task == items[i].cut.task &&
          list[j]->extent == items[i].cut.extent && list[j]->apart == (items[i].tail >= 0) &&
          list[j]->part == part[i])
        k = list[j];
    if (!k) {
      k = CELL_NEW(f->arena, FuseKernel);
      k->level = op->level, k->task = items[i].cut.task, k->extent = items[i].cut.extent;
      k->apart = items[i].tail >= 0, k->part = part[i];
      k->tile =
          k->apart && k->task != FUSE_TASK_NONE ? f->target->anchor_rows : tile_of(f, items[i].cut);
      k->tasks = (k->extent + k->tile - 1) / k->tile;
      CELL_PUSH(f->arena, list, count, capacity, k);
    }
    CELL_PUSH(f->arena, k->ops, k->op_count, k->op_capacity, op);
    op->kernel = k;
  }
  for (int i = 0; i < count; i++) choose_ranges(f, list[i]);
  for (int i = 0; i < count; i++)
    qsort(list[i]->ops, (size_t)list[i]->op_count, sizeof(FuseOp *), by_order);
  // launch order: by level, then as they were first needed (insertion sort keeps that)
  for (int i = 1; i < count; i++) {
    FuseKernel *k = list[i];
    int j = i;
    while (j > 0 && list[j - 1]->level > k->level) list[j] = list[j - 1], j--;
    list[j] = k;
  }
  *kernels = list;
  return count;
}
