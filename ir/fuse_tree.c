/* fuse_tree.c - the ops of a kernel as a loop tree.
 *
 * Loops that run together form a class: the task's loop, the loops of one axis, and the dimensions of
 * producer and reader along edges whose index map is the identity. Each op then has outer loops, one lane
 * loop (unit stride for most of what it touches) and short inner loops that are unrolled.
 *
 * The tree is built from outside in and from the back: the last op with a loop to open is the seed; ops
 * before it join its loop if they have it too and everybody in the loop who needs them needs only the
 * current iteration. What such a loop needs complete goes before it, the rest after. So a value is made in
 * the last sweep that can hold it, and two ops share a sweep unless one needs the other's result reduced
 * over it. */
#include <string.h>

#include "ir/fuse.h"

int fuse_class(Fuse *f, int cls) {
  FuseClass *c = f->class_of;
  while (c[cls].parent != cls) cls = c[cls].parent = c[c[cls].parent].parent;
  return cls;
}

int fuse_new_class(Fuse *f, FuseOp *op) {
  int cls = f->classes;
  FuseClass c = {.parent = cls, .next = cls, .size = 1, .op = op};
  CELL_PUSH(f->arena, f->class_of, f->classes, f->class_capacity, c);
  return cls;
}

/* joins two classes unless an op would then have two loops of one class */
static void join(Fuse *f, int a, int b) {
  a = fuse_class(f, a), b = fuse_class(f, b);
  if (a == b) return;
  FuseClass *c = f->class_of;
  int few = c[a].size < c[b].size ? a : b, many = few == a ? b : a, member = few;
  do {
    const FuseOp *op = c[member].op;
    for (int l = 0; l < op->loop_count; l++)
      if (fuse_class(f, op->loops[l].cls) == many) return;
    member = c[member].next;
  } while (member != few);
  c[b].parent = a, c[a].size += c[b].size;
  int next = c[a].next;
  c[a].next = c[b].next, c[b].next = next;
}

static void unify_access(FuseOp *op, FuseAccess *x, void *context) {
  Fuse *f = context;
  if (op->kind == FUSE_CONTRACT || x->kind != FUSE_VALUE) return;
  FuseVal *val = x->val;
  if (val->pinned || val->producer_count != 1) return;
  FuseOp *p = val->producers[0];
  if (p->kernel != op->kernel || p->region != op->region || p->kind == FUSE_CONTRACT ||
      p->kind == FUSE_SCAN)
    return;
  for (int d = 0; d < val->rank; d++) {
    int l = p->out_dim[d];
    if (l < 0 || x->dim[d].count != 1) continue;
    int mine = x->dim[d].loop[0];
    if (!fuse_is_loop(&x->dim[d], mine) || op->loops[mine].extent != p->loops[l].extent) continue;
    join(f, p->loops[l].cls, op->loops[mine].cls);
  }
}

void fuse_unify(Fuse *f, FuseOp **ops, int count) {
  // tasks, then axes, then dimensions along edges
  int task = -1, axis[CELL_MAX_AXES];
  for (int a = 0; a < CELL_MAX_AXES; a++) axis[a] = -1;
  for (int i = 0; i < count; i++) {
    FuseOp *op = ops[i];
    if (op->task >= 0) {
      if (task < 0)
        task = op->loops[op->task].cls;
      else
        join(f, task, op->loops[op->task].cls);
    }
    for (int l = 0; l < op->loop_count; l++) {
      int a = op->loops[l].axis;
      if (a < 0) continue;
      if (axis[a] < 0)
        axis[a] = op->loops[l].cls;
      else
        join(f, axis[a], op->loops[l].cls);
    }
  }
  for (int i = 0; i < count; i++) fuse_each_access(ops[i], unify_access, f);
}

/* ---- the schedule of one op ---- */

static int unit_score(const FuseOp *op, int loop) {
  int score = 0;
  for (int i = 0; i < op->arg_count; i++) {
    const FuseAccess *x = &op->args[i];
    if (x->kind != FUSE_VALUE || x->val->rank == 0) continue;
    // the last dimension that is not of size 1
    int d = x->val->rank - 1;
    while (d > 0 && x->val->shape[d] == 1) d--;
    const FuseIndex *index = &x->dim[d];
    for (int t = 0; t < index->count; t++)
      if (index->loop[t] == loop && index->coef[t] == 1) score += 2;
  }
  int d = op->out->rank - 1;
  while (d > 0 && op->out_dim[d] < 0) d--;
  // a sum reads more than it writes
  if (d >= 0 && op->out_dim[d] == loop) score += op->kind == FUSE_REDUCE ? 1 : 2;
  return score;
}

static void schedule_op(FuseOp *op) {
  op->outer = op->inner = 0, op->lane = -1;
  if (op->kind == FUSE_SCAN || op->kind == FUSE_CONTRACT || op->tiles) return;
  bool plain_sum = op->kind != FUSE_REDUCE || op->reduce == CELL_SUM;
  int dims = 0, best = -1;
  for (int l = 0; l < op->loop_count; l++) {
    op->outer |= 1u << l;
    if (op->loops[l].axis >= 0) continue;
    dims++;
    int score = unit_score(op, l);
    if (!plain_sum && op->loops[l].reduced) score++;
    if (score > best || (score == best && op->loops[l].extent > op->loops[op->lane].extent)) {
      op->lane = l;
      best = score;
    }
  }
  if (op->lane >= 0) op->outer &= ~(1u << op->lane);
  // what is not a plain sum keeps what it reduces innermost
  if (!plain_sum)
    for (int l = 0; l < op->loop_count; l++)
      if (op->loops[l].reduced && l != op->lane) op->outer &= ~(1u << l), op->inner |= 1u << l;
  if (!plain_sum || op->lane < 0) return;
  // short loops are unrolled inside the lanes, reduced ones first, while another loop stays outside
  int left = dims - 1;
  int64_t unrolled = 1;
  for (int pass = 0; pass < 2; pass++) {
    for (int l = op->loop_count - 1; l >= 0; l--) {
      if (l == op->lane || l == op->task || op->loops[l].axis >= 0) continue;
      if (op->loops[l].reduced != (pass == 0)) continue;
      if (!(op->outer >> l & 1) || unrolled * op->loops[l].extent > FUSE_UNROLL) continue;
      if (left < 2 && !(pass == 0 && left == 1 && !op->loops[op->lane].reduced)) continue;
      op->outer &= ~(1u << l), op->inner |= 1u << l;
      unrolled *= op->loops[l].extent;
      left--;
    }
  }
}

/* ---- dependencies ---- */

typedef struct {
  Fuse *f;
  const FuseVal *val;
  const FuseOp *producer;
  int cls;
  bool seen, aligned;
} Align;

static void check_aligned(FuseOp *op, FuseAccess *x, void *context) {
  Align *a = context;
  if (x->kind != FUSE_VALUE || x->val != a->val) return;
  a->seen = true;
  bool found = false;
  for (int d = 0; d < a->val->rank; d++) {
    int l = a->producer->out_dim[d];
    if (l < 0 || fuse_class(a->f, a->producer->loops[l].cls) != a->cls) continue;
    const FuseIndex *index = &x->dim[d];
    found = index->count == 1 && fuse_is_loop(index, index->loop[0]) &&
            fuse_class(a->f, op->loops[index->loop[0]].cls) == a->cls &&
            a->producer->out_offset[d] == 0 && a->val->shape[d] == a->producer->loops[l].extent;
  }
  for (int i = 0; i < CELL_MAX_AXES; i++) {
    int l = a->producer->out_axis[i];
    if (l < 0 || fuse_class(a->f, a->producer->loops[l].cls) != a->cls) continue;
    const FuseIndex *index = &x->axis[i];
    found = index->count == 1 && fuse_is_loop(index, index->loop[0]) &&
            fuse_class(a->f, op->loops[index->loop[0]].cls) == a->cls;
  }
  a->aligned &= found;
}

/* whether `consumer`, in an iteration of class cls, reads only what `producer` made in that iteration */
bool fuse_aligned(Fuse *f, const FuseOp *producer, const FuseOp *consumer, int cls) {
  if (producer->kind == FUSE_SCAN || producer->kind == FUSE_CONTRACT ||
      consumer->kind == FUSE_CONTRACT)
    return false;
  Align a = {f, producer->out, producer, cls, false, true};
  fuse_each_access((FuseOp *)consumer, check_aligned, &a);
  return a.seen && a.aligned;
}

static FuseOp *lift(FuseOp *op, const FuseRegion *r) {
  while (op && op->region != r) op = op->region->scan;
  return op;
}

static bool has_class(Fuse *f, const FuseOp *op, int cls, uint32_t mask, int *loop) {
  for (int l = 0; l < op->loop_count; l++) {
    if (!(mask >> l & 1) || fuse_class(f, op->loops[l].cls) != cls) continue;
    *loop = l;
    return true;
  }
  return false;
}

typedef enum { BEFORE, INSIDE, AFTER } Side;

typedef struct {
  Fuse *f;
  FuseRegion *region;
  FuseOp **ops;
  int count;
  Side *side; /* by position in the tree's list; -1: not in this list */
  int *where; /* position of an op of the list, by its order; -1 */
  int last;   /* the largest order there is room for */
} Build;

/* an op's position in the list that is being built, or -1: a reader may belong to a later list */
static int position(const Build *b, const FuseOp *op) {
  return op->order <= b->last ? b->where[op->order] : -1;
}

/* whether op sums over a loop of `producer` that both could share, reading from it values too large to store */
static bool sums_large(Fuse *f, const FuseOp *producer, const FuseOp *op) {
  enum { LARGE = 64 };
  for (int l = 0; l < op->loop_count; l++) {
    if (!(op->outer >> l & 1) || !op->loops[l].reduced) continue;
    int cls = fuse_class(f, op->loops[l].cls), theirs;
    if (!has_class(f, producer, cls, producer->outer, &theirs) || producer->loops[theirs].reduced)
      continue;
    int64_t rest = 1;
    for (int i = 0; i < producer->loop_count; i++)
      if (i != theirs && !producer->loops[i].reduced && producer->loops[i].axis < 0)
        rest *= producer->loops[i].extent;
    if (rest >= LARGE && fuse_aligned(f, producer, op, cls)) return true;
  }
  return false;
}

/* whether somebody who stays reads the value entry by entry: then it is stored in any case */
static bool read_later(const Build *b, FuseOp **ops, int count, const Side *side,
                       const FuseVal *val) {
  for (int c = 0; c < val->consumer_count; c++) {
    FuseOp *reader = lift(val->consumers[c], b->region);
    if (!reader) continue;
    int j = position(b, reader);
    if (j >= 0 && j < count && ops[j] == reader && side[j] != BEFORE && reader->kind == FUSE_SCALAR)
      return true;
  }
  return false;
}

/* A sum that reads large values made before the chosen loop belongs beside their making, instead of having
 * them stored: a gradient's sums over rows and over columns then share a sweep. Somebody stays, so that
 * every list of ops gets shorter; false if that is one who should go. */
static bool pull_sums(Build *b, FuseOp **ops, int count, Side *side) {
  int staying = 0;
  for (int i = 0; i < count; i++) staying += side[i] != BEFORE;
  for (int i = 0; i < count; i++) {
    FuseOp *op = ops[i];
    if (side[i] == BEFORE || op->kind != FUSE_REDUCE) continue;
    bool large = false, ready = true;
    for (int a = 0; a < op->arg_count && ready; a++) {
      if (op->args[a].kind != FUSE_VALUE) continue;
      FuseVal *val = op->args[a].val;
      for (int p = 0; p < val->producer_count; p++) {
        FuseOp *producer = val->producers[p];
        if (producer->region != b->region || producer->kernel != op->kernel) continue;
        int j = position(b, producer);
        if (j < 0 || j >= count || ops[j] != producer) continue;
        if (side[j] != BEFORE) ready = false;
        large |= sums_large(b->f, producer, op) && !read_later(b, ops, count, side, val);
      }
    }
    if (!large || !ready) continue;
    if (staying == 1) return false;
    side[i] = BEFORE, staying--;
  }
  return true;
}

static FuseNode *new_node(Build *b, FuseNode *parent, FuseNode ***tail) {
  FuseNode *node = CELL_NEW(b->f->arena, FuseNode);
  node->parent = parent, node->depth = parent->depth + 1, node->var = -1;
  **tail = node;
  *tail = &node->next;
  return node;
}

static int outer_loop(const FuseOp *op) {
  // axes first, in table order, then dimensions
  int best = -1;
  for (int l = 0; l < op->loop_count; l++) {
    if (!(op->outer >> l & 1)) continue;
    if (l == op->task) return l;
    if (best < 0)
      best = l;
    else if (op->loops[l].axis >= 0 &&
             (op->loops[best].axis < 0 || op->loops[l].axis < op->loops[best].axis))
      best = l;
  }
  return best;
}

/* On which side of a loop of class cls each op goes, from the last to the first. False if the seed itself
 * cannot be inside. */
static bool assign_sides(Build *b, FuseOp **ops, int count, int seed, int cls, bool lanes,
                         Side *side) {
  Fuse *f = b->f;
  int32_t extent = -1;
  for (int l = 0; l < ops[seed]->loop_count; l++)
    if (fuse_class(f, ops[seed]->loops[l].cls) == cls) extent = ops[seed]->loops[l].extent;
  for (int i = count - 1; i >= 0; i--) {
    FuseOp *op = ops[i];
    int mine = -1;
    bool member =
        lanes ? (!op->outer && op->lane >= 0 && fuse_class(f, op->loops[op->lane].cls) == cls)
              : has_class(f, op, cls, op->outer, &mine);
    if (lanes && member) mine = op->lane;
    if (member && op->loops[mine].extent != extent) member = false;
    bool inside_reader = false, early = false;
    int outs = op->kind == FUSE_SCAN ? op->carry_count : 1;
    for (int o = 0; o < outs; o++) {
      FuseVal *out = op->kind == FUSE_SCAN ? op->carries[o] : op->out;
      for (int c = 0; c < out->consumer_count; c++) {
        FuseOp *inner = out->consumers[c], *reader = lift(inner, b->region);
        if (!reader || reader == op || reader->kernel != op->kernel) continue;
        int j = position(b, reader);
        if (j < 0 || j >= count || ops[j] != reader || j < i) continue;
        if (side[j] == BEFORE) early = true;
        if (side[j] != INSIDE) continue;
        inside_reader = true;
        if (!member || op->loops[mine].reduced || reader != inner ||
            !fuse_aligned(f, op, reader, cls))
          early = true;
      }
      // a carry's first value, its scan, the copies of its last value: in that order
      if (!out->pinned) continue;
      for (int p = 0; p < out->producer_count; p++) {
        FuseOp *writer = out->producers[p];
        if (writer == op || writer->region != b->region || writer->order < op->order) continue;
        int j = position(b, writer);
        if (j < 0 || j >= count || ops[j] != writer) continue;
        if (side[j] != AFTER) early = true;
      }
    }
    if (early)
      side[i] = BEFORE;
    else if (member)
      side[i] = INSIDE;
    else
      side[i] = inside_reader ? BEFORE : AFTER;
  }
  return side[seed] == INSIDE;
}

/* The loop to open for a list of ops, as its class, and the side of each op: seeded by the last op with an
 * outer loop, or an earlier one if that lets the last join its operands; else by the last with lanes.
 * -1: no op has a loop left. */
static int choose_loop(Build *b, FuseOp **ops, int count, bool *lanes, Side *side) {
  Side *other = CELL_NEW_ARRAY(b->f->arena, Side, count);
  int chosen = -1;
  *lanes = false;
  for (int seed = count - 1; seed >= 0; seed--) {
    if (!ops[seed]->outer) continue;
    int cls = fuse_class(b->f, ops[seed]->loops[outer_loop(ops[seed])].cls);
    if (!assign_sides(b, ops, count, seed, cls, false, other)) continue;
    bool settled = pull_sums(b, ops, count, other);
    if (chosen < 0 || settled) memcpy(side, other, (size_t)count * sizeof *side), chosen = cls;
    if (settled) return chosen;
  }
  if (chosen >= 0) return chosen;
  *lanes = true;
  for (int seed = count - 1; seed >= 0; seed--) {
    if (ops[seed]->lane < 0) continue;
    int cls = fuse_class(b->f, ops[seed]->loops[ops[seed]->lane].cls);
    if (assign_sides(b, ops, count, seed, cls, true, side)) return cls;
  }
  return -1;
}

static void build(Build *b, FuseOp **ops, int count, FuseNode *parent, FuseNode ***tail);

/* a loop of class cls with these ops inside */
static void open_loop(Build *b, FuseOp **ops, int count, int cls, bool lanes, FuseNode *parent,
                      FuseNode ***tail) {
  FuseNode *node = new_node(b, parent, tail);
  node->cls = cls, node->kind = lanes ? CELL_LOOP_LANES : CELL_LOOP_SERIAL;
  for (int i = 0; i < count; i++) {
    FuseOp *op = ops[i];
    int mine = op->lane;
    if (lanes)
      op->lane = -1;
    else if (has_class(b->f, op, cls, op->outer, &mine))
      op->outer &= ~(1u << mine);
    node->extent = op->loops[mine].extent;
  }
  FuseNode **body = &node->child;
  FuseOp **own = CELL_NEW_ARRAY(b->f->arena, FuseOp *, count);
  memcpy(own, ops, (size_t)count * sizeof *own);
  build(b, own, count, node, &body);
}

static bool is_task_loop(Fuse *f, FuseOp *const *ops, int count, int cls) {
  for (int i = 0; i < count; i++)
    if (ops[i]->task >= 0 && fuse_class(f, ops[i]->loops[ops[i]->task].cls) == cls) return true;
  return false;
}

static void build(Build *b, FuseOp **ops, int count, FuseNode *parent, FuseNode ***tail) {
  if (count == 0) return;
  Fuse *f = b->f;
  Side *side = CELL_NEW_ARRAY(f->arena, Side, count);
  bool lanes;
  for (int i = 0; i < count; i++) b->where[ops[i]->order] = i;
  int cls = choose_loop(b, ops, count, &lanes, side);
  for (int i = 0; i < count; i++) b->where[ops[i]->order] = -1;
  if (cls < 0) {
    for (int i = 0; i < count; i++) {
      FuseNode *leaf = new_node(b, parent, tail);
      leaf->op = ops[i];
      ops[i]->leaf = leaf;
    }
    return;
  }
  FuseOp **part[3];
  int counts[3] = {0, 0, 0};
  for (int p = 0; p < 3; p++) part[p] = CELL_NEW_ARRAY(f->arena, FuseOp *, count);
  for (int i = 0; i < count; i++) part[side[i]][counts[side[i]]++] = ops[i];

  build(b, part[BEFORE], counts[BEFORE], parent, tail);
  // the loop over a task's samples is cut where groups of ops share little
  int groups = counts[INSIDE] > 0, *group = CELL_NEW_ARRAY(f->arena, int, count);
  if (groups && !lanes && is_task_loop(f, part[INSIDE], counts[INSIDE], cls))
    groups = fuse_components(f, part[INSIDE], counts[INSIDE], cls, group);
  FuseOp **members = CELL_NEW_ARRAY(f->arena, FuseOp *, count);
  for (int g = 0; g < groups; g++) {
    int member_count = 0;
    for (int i = 0; i < counts[INSIDE]; i++)
      if (group[i] == g) members[member_count++] = part[INSIDE][i];
    open_loop(b, members, member_count, cls, lanes, parent, tail);
  }
  build(b, part[AFTER], counts[AFTER], parent, tail);
}

static int number(FuseNode *node, int place) {
  for (FuseNode *n = node->child; n; n = n->next) {
    n->place = place++;
    place = number(n, place);
  }
  return place;
}

FuseNode *fuse_tree(Fuse *f, FuseOp **ops, int count) {
  FuseNode *root = CELL_NEW(f->arena, FuseNode);
  if (count == 0) return root;
  int last = 0;
  for (int i = 0; i < count; i++) {
    schedule_op(ops[i]);
    if (ops[i]->order > last) last = ops[i]->order;
  }
  Build b = {.f = f, .region = ops[0]->region, .last = last};
  b.where = CELL_NEW_ARRAY(f->arena, int, last + 1);
  for (int i = 0; i <= last; i++) b.where[i] = -1;
  FuseNode **tail = &root->child;
  build(&b, ops, count, root, &tail);
  fuse_reorder(f, ops, count, root);
  number(root, 1);
  return root;
}
