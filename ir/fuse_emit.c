/* fuse_emit.c - from the loop tree of a kernel to kernel IR: ops, loops, scans, the kernel.
 *
 * A sum whose result has loops inside the summed one is accumulated in storage; others in registers. */
#include "ir/fuse_emit.h"

#include <stdlib.h>
#include <string.h>

static void begin_op(FuseEmit *e, const FuseOp *op) {
  fuse_begin_op(e);
  e->span = op->node ? op->node->span : CELL_NOWHERE;
}

static void finish_value(FuseEmit *e, FuseOp *op, int entry, int value) {
  if (!op->partial) fuse_define(e, op->out, entry, value);
  if (fuse_stored(op->out))
    fuse_store(e, fuse_place_of(e, op->out, true), fuse_out_affine(e, op), value, false);
}

static int unrolled_entries(const FuseOp *op, bool reduced) {
  int n = 1;
  for (int l = 0; l < op->loop_count; l++)
    if (op->inner >> l & 1 && op->loops[l].reduced == reduced) n *= op->loops[l].extent;
  return n;
}

/* sets the constants of the op's unrolled loops from a mixed-radix number, last loop fastest */
static void fix(FuseEmit *e, const FuseOp *op, bool reduced, int entry) {
  for (int l = op->loop_count - 1; l >= 0; l--) {
    if (!(op->inner >> l & 1) || op->loops[l].reduced != reduced) continue;
    e->fixed[l] = entry % op->loops[l].extent;
    entry /= op->loops[l].extent;
  }
}

static int term_value(FuseEmit *e, FuseOp *op) {
  int a = fuse_operand(e, op, &op->args[0]);
  return op->arg_count == 2 ? fuse_let(e, CELL_OP_MUL, a, fuse_operand(e, op, &op->args[1]), 0) : a;
}

static int scalar_value(FuseEmit *e, FuseOp *op) {
  if (op->kind == FUSE_ONE_HOT) {
    int last = op->out->rank - 1;
    CellAffine at =
        op->out_dim[last] < 0 ? cell_affine(0) : fuse_loop_affine(e, op, op->out_dim[last]);
    int i = fuse_let(e, CELL_OP_FLOAT, fuse_operand(e, op, &op->args[0]), 0, 0);
    return fuse_let(e, CELL_OP_EQ, fuse_let(e, CELL_OP_FLOAT, fuse_position(e, at), 0, 0), i, 0);
  }
  if (op->kind == FUSE_BIT) {
    // 2 ((i >> b) mod 2) - 1, exactly: floor(i 2^-b) - 2 floor(i 2^-(b+1))
    int i = fuse_let(e, CELL_OP_FLOAT, fuse_operand(e, op, &op->args[0]), 0, 0);
    double scale = 1;
    for (int b = 0; b < op->bit; b++) scale /= 2;
    int high =
        fuse_let(e, CELL_OP_FLOOR, fuse_let(e, CELL_OP_MUL, i, fuse_constant(e, scale), 0), 0, 0);
    int twice = fuse_let(e, CELL_OP_FLOOR,
                         fuse_let(e, CELL_OP_MUL, i, fuse_constant(e, scale / 2), 0), 0, 0);
    int bit =
        fuse_let(e, CELL_OP_SUB, high, fuse_let(e, CELL_OP_MUL, twice, fuse_constant(e, 2), 0), 0);
    return fuse_let(e, CELL_OP_SUB, fuse_let(e, CELL_OP_MUL, bit, fuse_constant(e, 2), 0),
                    fuse_constant(e, 1), 0);
  }
  if (op->scalar == CELL_OP_COUNT || cell_op_info[op->scalar].scalar == false)
    return fuse_operand(e, op, &op->args[0]);
  if (op->scalar == CELL_OP_FLOAT) {
    // of bits it is the load itself
    int a = fuse_operand(e, op, &op->args[0]);
    bool index = op->args[0].kind == FUSE_POSITION ||
                 (op->args[0].kind == FUSE_VALUE && op->args[0].val->dtype == CELL_I);
    return index ? fuse_let(e, CELL_OP_FLOAT, a, 0, 0) : a;
  }
  int v[3] = {0, 0, 0};
  for (int i = 0; i < op->arg_count; i++) v[i] = fuse_operand(e, op, &op->args[i]);
  return fuse_let(e, op->scalar, v[0], v[1], v[2]);
}

static int new_acc(FuseEmit *e, FuseOp *op) {
  CellStmt *s = fuse_stmt(e, CELL_K_ACC);
  s->reduce = op->reduce;
  s->dtype = op->reduce == CELL_ARGMAX ? CELL_I : CELL_F;
  return s->value;
}

static void update(FuseEmit *e, FuseOp *op, int acc, int value, CellAffine index) {
  CellStmt *s = fuse_stmt(e, CELL_K_UPDATE);
  s->value = acc, s->args[0] = value, s->reduce = op->reduce, s->index = index;
}

/* where an argmax stands: the loop that it reduces */
static CellAffine reduced_affine(FuseEmit *e, FuseOp *op) {
  for (int l = 0; l < op->loop_count; l++)
    if (op->loops[l].reduced) return fuse_loop_affine(e, op, l);
  return cell_affine(0);
}

static void emit_reduce(FuseEmit *e, FuseOp *op) {
  FuseNode *r = fuse_reduce_node(e, op), *low = fuse_register_node(e, op);
  int outs = unrolled_entries(op, false), terms = unrolled_entries(op, true);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    int value = -1;
    if (op->reduce == CELL_SUM && terms <= FUSE_UNROLL) {
      for (int t = 0; t < terms; t++) {
        fix(e, op, true, t);
        int term = term_value(e, op);
        value = value < 0 ? term : fuse_let(e, CELL_OP_ADD, term, value, 0);
      }
    } else if (terms > 1 || (op->reduce != CELL_SUM && !r)) {
      // a loop of its own
      value = new_acc(e, op);
      FuseBody bodies[FUSE_MAX_LOOPS];
      int opened = 0;
      for (int l = 0; l < op->loop_count; l++) {
        if (!(op->inner >> l & 1) || !op->loops[l].reduced) continue;
        e->fixed[l] = -1;
        e->loop_var[l] = fuse_open_loop(e, &bodies[opened++], CELL_LOOP_SERIAL, cell_affine(0),
                                        op->loops[l].extent, 0);
      }
      int term = term_value(e, op);
      update(e, op, value, term, reduced_affine(e, op));
      while (opened-- > 0) fuse_close(e);
      for (int l = 0; l < FUSE_MAX_LOOPS; l++) e->loop_var[l] = -1;
    } else {
      value = term_value(e, op);
    }
    if (!r)
      finish_value(e, op, o, value);
    else if (low)
      update(e, op, op->out->reg[o], value, reduced_affine(e, op));
    else
      fuse_store(e, fuse_place_of(e, op->out, true), fuse_out_affine(e, op), value, true);
  }
}

/* one number a tile of a product: tiles of a task one after the other, rows and columns inside */
static void emit_tiles(FuseEmit *e, FuseOp *op) {
  FuseBody tiles, rows, columns;
  int row = op->task, column = 1 - row;
  int32_t n = op->loops[column].extent, wide = e->f->target->anchor_columns;
  int32_t count = (n + wide - 1) / wide;
  int tile = fuse_open_loop(e, &tiles, CELL_LOOP_SERIAL, cell_affine(0), count, 0);
  int acc = new_acc(e, op);
  e->loop_var[row] = fuse_open_class(e, &rows, CELL_LOOP_SERIAL, true, e->k->tile);
  e->loop_var[column] = fuse_open_loop(e, &columns, CELL_LOOP_LANES, cell_affine_var(tile, wide),
                                       wide, n % wide ? n : 0);
  update(e, op, acc, term_value(e, op), cell_affine(0));
  fuse_close(e);
  fuse_close(e);
  CellAffine at = cell_affine_add(cell_affine_var(0, count), cell_affine_var(tile, 1));
  fuse_store(e, fuse_place_of(e, op->out, true), at, acc, false);
  fuse_close(e);
  fuse_begin_op(e);
}

static void emit_scalar(FuseEmit *e, FuseOp *op) {
  int outs = unrolled_entries(op, false);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    finish_value(e, op, o, scalar_value(e, op));
  }
}

/* ---- loops ---- */

static void emit_children(FuseEmit *e, FuseNode *node);

typedef void (*OpVisit)(FuseEmit *e, FuseOp *op, FuseNode *node);
static void each_op(FuseEmit *e, FuseNode *node, FuseNode *root, OpVisit visit) {
  if (node->op) visit(e, node->op, root);
  for (FuseNode *c = node->child; c; c = c->next) each_op(e, c, root, visit);
}

/* before a loop: the sums that it will feed */
static void start_sums(FuseEmit *e, FuseOp *op, FuseNode *node) {
  if (op->kind != FUSE_REDUCE) return;
  begin_op(e, op);
  if (fuse_register_node(e, op) == node) {
    int outs = unrolled_entries(op, false);
    for (int o = 0; o < outs; o++) fuse_define(e, op->out, o, new_acc(e, op));
  }
  if (fuse_reduce_node(e, op) != node || !op->out->array_sum) return;
  // zeros, over the loops that open inside
  FuseBody bodies[FUSE_MAX_LOOPS];
  int opened = 0;
  int lane = -1;
  for (int l = 0; l < op->loop_count; l++) {
    int cls = fuse_class(e->f, op->loops[l].cls);
    if (op->loops[l].reduced || (e->class_var[cls] >= 0)) continue;
    if (op->out->rank && op->out_dim[op->out->rank - 1] == l) lane = l;
  }
  for (int l = 0; l < op->loop_count; l++) {
    int cls = fuse_class(e->f, op->loops[l].cls);
    if (op->loops[l].reduced || e->class_var[cls] >= 0 || l == lane) continue;
    e->loop_var[l] = fuse_open_class(e, &bodies[opened++], CELL_LOOP_SERIAL, cls == e->task_class,
                                     op->loops[l].extent);
  }
  if (lane >= 0)
    e->loop_var[lane] = fuse_open_class(e, &bodies[opened++], CELL_LOOP_LANES,
                                        fuse_in_task(e, op, lane), op->loops[lane].extent);
  fuse_store(e, fuse_place_of(e, op->out, true), fuse_out_affine(e, op), fuse_constant(e, 0),
             false);
  while (opened-- > 0) fuse_close(e);
  fuse_begin_op(e);
}

/* after it: their results */
static void end_sums(FuseEmit *e, FuseOp *op, FuseNode *node) {
  if (op->kind != FUSE_REDUCE || fuse_register_node(e, op) != node || !fuse_stored(op->out)) return;
  begin_op(e, op);
  int outs = unrolled_entries(op, false);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    fuse_store(e, fuse_place_of(e, op->out, true), fuse_out_affine(e, op), op->out->reg[o],
               op->out->array_sum);
  }
}

static void emit_region(FuseEmit *e, FuseOp **ops, int count);

static void emit_scan(FuseEmit *e, FuseOp *op) {
  FuseBody body;
  op->time_var = fuse_open_loop(e, &body, CELL_LOOP_SERIAL, cell_affine(0),
                                op->region->g->axes[op->axis].extent, 0);
  emit_region(e, op->body->ops, op->body->op_count);
  emit_region(e, op->body->after, op->body->after_count);
  fuse_close(e);
}

static void emit_node(FuseEmit *e, FuseNode *node) {
  if (node->op) {
    begin_op(e, node->op);
    switch (node->op->kind) {
    case FUSE_SCAN: emit_scan(e, node->op); break;
    case FUSE_CONTRACT: fuse_emit_contract(e, node->op); break;
    case FUSE_REDUCE:
      if (node->op->tiles)
        emit_tiles(e, node->op);
      else
        emit_reduce(e, node->op);
      break;
    default: emit_scalar(e, node->op);
    }
    return;
  }
  each_op(e, node, node, start_sums);
  FuseBody body;
  node->var = fuse_open_class(e, &body, node->kind, node->cls == e->task_class, node->extent);
  body.node = node;
  e->class_var[node->cls] = node->var;
  emit_children(e, node);
  e->class_var[node->cls] = -1;
  fuse_close(e);
  each_op(e, node, node, end_sums);
}

static void emit_children(FuseEmit *e, FuseNode *node) {
  for (FuseNode *c = node->child; c; c = c->next) emit_node(e, c);
}

static void emit_region(FuseEmit *e, FuseOp **ops, int count) {
  FuseNode *root = fuse_tree(e->f, ops, count);
  root->var = -1;
  FuseRegion *region = count ? ops[0]->region : NULL;
  for (int i = 0; i < count; i++) {
    if (ops[i]->kind == FUSE_SCAN || ops[i]->out->pinned) continue;
    fuse_place_value(e, ops[i]->out, region);
  }
  if (region && region->scan) {
    // scratch of a body is not shared by lifetime with what lives around the scan
    for (int i = 0; i < count; i++)
      if (ops[i]->kind != FUSE_SCAN && ops[i]->out->place == FUSE_SCRATCH && !ops[i]->out->pinned)
        e->scratch_first[ops[i]->out->scratch] = 0,
        e->scratch_last[ops[i]->out->scratch] = INT32_MAX;
  }
  emit_children(e, root);
}

/* ---- the kernel ---- */

static void collect(Fuse *f, FuseOp **ops, int count, FuseKernel *k, FuseOp ***all, int *n,
                    int *capacity) {
  for (int i = 0; i < count; i++) {
    ops[i]->kernel = k;
    ops[i]->leaf = NULL;
    CELL_PUSH(f->arena, *all, *n, *capacity, ops[i]);
    if (ops[i]->kind != FUSE_SCAN) continue;
    FuseOp *scan = ops[i];
    for (int j = 0; j < scan->body->op_count; j++)
      if (scan->body->ops[j]->kind != FUSE_SCAN && k->task == FUSE_TASK_BATCH)
        scan->body->ops[j]->task = scan->body->ops[j]->out_axis[CELL_AXIS_BATCH];
    for (int j = 0; j < scan->body->after_count; j++)
      if (k->task == FUSE_TASK_BATCH)
        scan->body->after[j]->task = scan->body->after[j]->out_axis[CELL_AXIS_BATCH];
    collect(f, scan->body->ops, scan->body->op_count, k, all, n, capacity);
    collect(f, scan->body->after, scan->body->after_count, k, all, n, capacity);
    for (int c = 0; c < scan->carry_count; c++) {
      FuseVal *val = scan->carries[c];
      val->place = FUSE_NOWHERE;
    }
  }
}

typedef struct {
  const FuseEmit *e;
  bool *reads;
} Reads;

/* marks the arguments from which an op reads what other kernels made; a sum of tiles reads its product alone */
static void mark_reads(FuseOp *op, FuseAccess *x, void *context) {
  Reads *r = context;
  if (x->kind != FUSE_VALUE || x->val->buffer < 0 || op->tiles) return;
  bool foreign = x->val->producer_count == 0;
  for (int i = 0; i < x->val->producer_count; i++)
    foreign |= x->val->producers[i]->kernel != op->kernel;
  for (int a = 0; a < r->e->out->arg_count && foreign; a++)
    if (r->e->buffers[a] == x->val->buffer) r->reads[a] = true;
}

void fuse_emit(Fuse *f, FuseKernel *fk, const char *name, CellPlanProgram *program) {
  FuseEmit *e = CELL_NEW(f->arena, FuseEmit);
  e->f = f, e->k = fk, e->program = program, e->task_class = -1, e->span = CELL_NOWHERE;
  CellKernel *k = e->out = CELL_NEW(f->plan->arena, CellKernel);
  k->arena = f->plan->arena, k->name = name, k->tasks = fk->tasks, k->var_count = 1;
  k->span = fk->ops[0]->node ? fk->ops[0]->node->span : CELL_NOWHERE;

  FuseOp **all = NULL;
  int count = 0, capacity = 0;
  collect(f, fk->ops, fk->op_count, fk, &all, &count, &capacity);
  if (fk->task == FUSE_TASK_NONE)
    for (int i = 0; i < count; i++) all[i]->task = -1;
  fuse_unify(f, all, count);
  for (int i = 0; i < count; i++)
    if (all[i]->task >= 0) e->task_class = fuse_class(f, all[i]->loops[all[i]->task].cls);
  e->classes = f->classes;
  e->class_var = CELL_NEW_ARRAY(f->arena, int, f->classes);
  for (int i = 0; i < f->classes; i++) e->class_var[i] = -1;
  for (int i = 0; i < count; i++)
    if (all[i]->kind == FUSE_SCAN) fuse_place_carries(e, all[i]);

  FuseBody top = {.tail = &k->body};
  e->body = &top;
  fuse_begin_op(e);
  emit_region(e, fk->ops, fk->op_count);
  fuse_layout_scratch(e);
  fuse_turn_sums(k, f->target);
  fuse_flatten_lanes(k, f->target);
  fuse_turn_lanes(k, f->target);
  fuse_gather_once(k, f->target);
  fuse_block_sums(k, f->target);
  fuse_cut_lanes(k, f->target);
  fuse_split_sums(k, f->target);
  fuse_jam_rows(k, f->target);
  fuse_whole_vectors(k, f->target);
  if (fk->ranges) fuse_row_ranges(k, f->target, fk->extent, fk->tile);

  // kernels that are equal up to buffers exist once
  k->key = cell_kernel_key(k, (CellKey){{0, 0}});
  int number = -1;
  CellPlan *plan = f->plan;
  for (int i = 0; i < plan->kernel_count && number < 0; i++)
    if (cell_key_equal(plan->kernels[i]->key, k->key)) number = i;
  if (number < 0) {
    CELL_PUSH(plan->arena, plan->kernels, plan->kernel_count, plan->kernel_capacity, k);
    number = plan->kernel_count - 1;
  }
  int *buffers = CELL_NEW_ARRAY(plan->arena, int, k->arg_count + 1);
  if (k->arg_count) memcpy(buffers, e->buffers, (size_t)k->arg_count * sizeof *buffers);
  Reads reads = {e, CELL_NEW_ARRAY(plan->arena, bool, k->arg_count + 1)};
  for (int i = 0; i < count; i++) fuse_each_access(all[i], mark_reads, &reads);
  CellLaunch launch = {.kernel = number, .buffers = buffers, .reads = reads.reads};
  CELL_PUSH(plan->arena, program->launches, program->launch_count, program->launch_capacity,
            launch);
}
