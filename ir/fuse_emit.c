/* fuse_emit.c - from the loop tree of a kernel to kernel IR.
 *
 * A value is a register (a value number) for readers in the body where it is made or below it; else it is
 * stored: in scratch, with the extent of the loops that its definition and its readers do not share, or
 * in a buffer of the plan if it leaves the kernel. A sum whose result has loops inside the summed one is
 * accumulated in storage. */
#include <stdlib.h>
#include <string.h>

#include "ir/fuse.h"

typedef struct {
  CellBufferRef ref;
  CellAffine index;
  int value;
} Loaded;

typedef struct Body Body; /* the statements of a loop that is being written */
struct Body {
  Body *up;
  CellStmt **tail;
  CellStmt **ahead; /* the link to the loop whose body this is: what is put here runs before it */
  FuseNode *node;   /* the loop of the tree, or NULL */
  int var;
  CellLoopKind kind;
  FuseVal **defined;
  int defined_count, defined_capacity;
  Loaded *loads;
  int load_count, load_capacity;
};

typedef struct {
  Fuse *f;
  FuseKernel *k;
  CellKernel *out;
  CellPlanProgram *program;
  Body *body;
  int *class_var; /* variable of an open class, or -1 */
  int classes;
  int fixed[FUSE_MAX_LOOPS]; /* of the op being written: constants of its unrolled loops, or -1 */
  int loop_var[FUSE_MAX_LOOPS]; /* ... variables of loops that it opens itself, or -1 */
  int *buffers;                 /* plan buffer of each argument */
  int buffer_capacity;
  int *written_buffers;
  int task_class;
  int scratch_first[4096], scratch_last[4096];
} Emit;

/* ---- plumbing ---- */

static CellStmt *stmt(Emit *e, CellStmtKind kind) {
  CellStmt **tail = e->body->tail;
  CellStmt *s = cell_stmt(e->out, &tail, kind);
  e->body->tail = tail;
  return s;
}

static void open_body(Emit *e, Body *b, CellStmt *loop, CellStmt **ahead) {
  *b = (Body){
      .up = e->body, .tail = &loop->body, .ahead = ahead, .var = loop->var, .kind = loop->loop};
  e->body = b;
}
static void close_body(Emit *e) {
  Body *b = e->body;
  for (int i = 0; i < b->defined_count; i++)
    for (int j = 0; j < FUSE_UNROLL; j++) b->defined[i]->reg[j] = -1;
  e->body = b->up;
}

static void define(Emit *e, FuseVal *val, int which, int value) {
  val->reg[which] = value;
  Body *b = e->body;
  CELL_PUSH(e->f->arena, b->defined, b->defined_count, b->defined_capacity, val);
}

/* opens a loop and returns its variable */
static int open_loop(Emit *e, Body *b, CellLoopKind kind, CellAffine begin, int64_t extent,
                     int64_t limit) {
  CellStmt **ahead = e->body->tail;
  CellStmt *s = stmt(e, CELL_K_LOOP);
  s->loop = kind, s->begin = begin, s->extent = extent, s->limit = limit;
  open_body(e, b, s, ahead);
  return s->var;
}

/* the same over the task's part of a class, or the whole extent of another */
static int open_class(Emit *e, Body *b, CellLoopKind kind, bool task, int64_t extent) {
  if (!task) return open_loop(e, b, kind, cell_affine(0), extent, 0);
  bool ragged = e->k->tasks * e->k->tile != e->k->extent;
  return open_loop(e, b, kind, cell_affine_var(0, e->k->tile), e->k->tile,
                   ragged ? e->k->extent : 0);
}

/* ---- storage ---- */

static void global_strides(FuseVal *val) {
  int64_t stride = 1;
  for (int d = val->rank - 1; d >= 0; d--) val->dim_stride[d] = stride, stride *= val->shape[d];
  if (val->dtype == CELL_BITS) stride = (stride + 31) / 32 * 32;
  for (int a = CELL_MAX_AXES - 1; a >= 0; a--)
    if (val->axes & CELL_AXIS(a)) val->axis_stride[a] = stride, stride *= val->extent[a];
}

static int64_t global_count(const FuseVal *val, int64_t *bit_row) {
  int64_t row = 1;
  for (int d = 0; d < val->rank; d++) row *= val->shape[d];
  *bit_row = val->dtype == CELL_BITS ? row : 0;
  if (val->dtype == CELL_BITS) row = (row + 31) / 32;
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (val->axes & CELL_AXIS(a)) row *= val->extent[a];
  return row;
}

static int plan_buffer(Fuse *f, FuseVal *val) {
  if (val->buffer >= 0) return val->buffer;
  CellPlan *plan = f->plan;
  bool input = val->producer_count == 0;
  bool state = input && strchr(val->name, '/') != NULL;
  if (input) state |= strcmp(val->name, "step") == 0;
  int program = state ? -1 : f->program;
  if (input)
    for (int i = 0; i < plan->buffer_count; i++)
      if (plan->buffers[i].program == program && plan->buffers[i].kind != CELL_BUFFER_TEMP &&
          plan->buffers[i].kind != CELL_BUFFER_OUTPUT &&
          strcmp(plan->buffers[i].name, val->name) == 0)
        return val->buffer = i;
  CellBuffer b = {
      .name = val->name, .dtype = val->dtype, .program = program, .first = -1, .last = -1};
  b.kind = state ? CELL_BUFFER_STATE : input ? CELL_BUFFER_INPUT : CELL_BUFFER_TEMP;
  b.count = global_count(val, &b.bit_row);
  CELL_PUSH(plan->arena, plan->buffers, plan->buffer_count, plan->buffer_capacity, b);
  return val->buffer = plan->buffer_count - 1;
}

static CellBufferRef argument(Emit *e, FuseVal *val, bool write) {
  int buffer = plan_buffer(e->f, val);
  CellKernel *k = e->out;
  int i = 0;
  while (i < k->arg_count && e->buffers[i] != buffer) i++;
  if (i == k->arg_count) {
    if (k->arg_count == e->buffer_capacity) {
      int n = e->buffer_capacity ? 2 * e->buffer_capacity : 16;
      int *buffers = CELL_NEW_ARRAY(e->f->arena, int, n);
      CellDtype *args = CELL_NEW_ARRAY(k->arena, CellDtype, n);
      bool *written = CELL_NEW_ARRAY(k->arena, bool, n);
      if (k->arg_count) {
        memcpy(buffers, e->buffers, (size_t)k->arg_count * sizeof *buffers);
        memcpy(args, k->args, (size_t)k->arg_count * sizeof *args);
        memcpy(written, k->written, (size_t)k->arg_count * sizeof *written);
      }
      e->buffers = buffers, k->args = args, k->written = written, e->buffer_capacity = n;
    }
    e->buffers[i] = buffer;
    k->args[i] = e->f->plan->buffers[buffer].dtype;
    k->arg_count++;
  }
  if (write) k->written[i] = true;
  return (CellBufferRef){false, i};
}

static CellBufferRef place_of(Emit *e, FuseVal *val, bool write) {
  if (val->place == FUSE_SCRATCH) return (CellBufferRef){true, val->scratch};
  if (val->place == FUSE_NOWHERE) val->place = FUSE_GLOBAL, global_strides(val);
  return argument(e, val, write);
}

static bool in_task_class(Emit *e, const FuseOp *op, int loop) {
  return e->task_class >= 0 && fuse_class(e->f, op->loops[loop].cls) == e->task_class;
}

/* ---- indices ---- */

static CellAffine loop_affine(Emit *e, const FuseOp *op, int loop) {
  if (e->fixed[loop] >= 0) return cell_affine(e->fixed[loop]);
  if (e->loop_var[loop] >= 0) return cell_affine_var(e->loop_var[loop], 1);
  int var = e->class_var[fuse_class(e->f, op->loops[loop].cls)];
  CELL_ASSERT(var >= 0);
  return cell_affine_var(var, 1);
}

static int operand_value(Emit *e, FuseOp *op, FuseAccess *x);

static CellAffine index_affine(Emit *e, FuseOp *op, const FuseIndex *x) {
  CellAffine a = cell_affine(x->base);
  for (int i = 0; i < x->count; i++)
    a = cell_affine_add(a, cell_affine_scale(loop_affine(e, op, x->term[i].loop), x->term[i].coef));
  if (x->scan) a = cell_affine_add(a, cell_affine_var(x->scan->time_var, 1));
  if (x->loaded >= 0) {
    CellAffine l = cell_affine(0);
    l.loaded = operand_value(e, op, &op->args[x->loaded]), l.loaded_coef = 1;
    a = cell_affine_add(a, l);
  }
  return a;
}

/* start of the task's tile, where scratch is local to it */
static CellAffine tile_begin(Emit *e, int64_t stride) {
  return cell_affine_var(0, -stride * e->k->tile);
}

static CellAffine access_affine(Emit *e, FuseOp *op, const FuseAccess *x) {
  FuseVal *val = x->val;
  place_of(e, val, false); // knows its strides from here on
  CellAffine a = cell_affine(0);
  for (int i = 0; i < CELL_MAX_AXES; i++) {
    if (!(val->axes & CELL_AXIS(i)) || val->axis_stride[i] == 0) continue;
    a = cell_affine_add(a,
                        cell_affine_scale(index_affine(e, op, &x->axis[i]), val->axis_stride[i]));
    if (val->place == FUSE_SCRATCH && val->tile_axes >> i & 1)
      a = cell_affine_add(a, tile_begin(e, val->axis_stride[i]));
  }
  for (int d = 0; d < val->rank; d++) {
    if (val->dim_stride[d] == 0) continue;
    a = cell_affine_add(a, cell_affine_scale(index_affine(e, op, &x->dim[d]), val->dim_stride[d]));
    if (val->place == FUSE_SCRATCH && val->tile_dims >> d & 1)
      a = cell_affine_add(a, tile_begin(e, val->dim_stride[d]));
  }
  return a;
}

static CellAffine out_affine(Emit *e, FuseOp *op) {
  FuseVal *val = op->out;
  if (op->partial) return cell_affine_var(0, 1);
  CellAffine a = cell_affine(0);
  for (int i = 0; i < CELL_MAX_AXES; i++) {
    int l = op->out_axis[i];
    if (l < 0 || !(val->axes & CELL_AXIS(i)) || val->axis_stride[i] == 0) continue;
    a = cell_affine_add(a, cell_affine_scale(loop_affine(e, op, l), val->axis_stride[i]));
    if (val->place == FUSE_SCRATCH && val->tile_axes >> i & 1)
      a = cell_affine_add(a, tile_begin(e, val->axis_stride[i]));
  }
  for (int d = 0; d < val->rank; d++) {
    a.base += op->out_offset[d] * val->dim_stride[d];
    int l = op->out_dim[d];
    if (l < 0 || val->dim_stride[d] == 0) continue;
    a = cell_affine_add(a, cell_affine_scale(loop_affine(e, op, l), val->dim_stride[d]));
    if (val->place == FUSE_SCRATCH && val->tile_dims >> d & 1)
      a = cell_affine_add(a, tile_begin(e, val->dim_stride[d]));
  }
  return a;
}

/* ---- values ---- */

static int typed_constant(Emit *e, CellDtype dtype, double number) {
  CellStmt *s = stmt(e, CELL_K_CONST);
  s->dtype = dtype, s->number = number;
  return s->value;
}

static int constant(Emit *e, double number) {
  return typed_constant(e, CELL_F, number);
}

static int let(Emit *e, CellOp op, int a, int b, int c) {
  CellStmt *s = stmt(e, CELL_K_LET);
  s->dtype = CELL_F, s->op = op;
  int args[3] = {a, b, c};
  for (int i = 0; i < 3; i++) s->args[i] = i < cell_op_info[op].arity ? args[i] : -1;
  return s->value;
}

static int position(Emit *e, CellAffine index) {
  CellStmt *s = stmt(e, CELL_K_VAR);
  s->dtype = CELL_I, s->index = index;
  return s->value;
}

static bool same_affine(const CellAffine *a, const CellAffine *b) {
  if (a->base != b->base || a->term_count != b->term_count || a->loaded != b->loaded) return false;
  if (a->loaded >= 0 && a->loaded_coef != b->loaded_coef) return false;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var != b->terms[i].var || a->terms[i].coef != b->terms[i].coef) return false;
  return true;
}

static bool is_ancestor(const FuseNode *a, const FuseNode *n) {
  while (n && n != a) n = n->parent;
  return n == a;
}

static bool mentions(const CellAffine *a, int var) {
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var == var && a->terms[i].coef != 0) return true;
  return false;
}

/* a load in the lanes that is the same for all of them, from what the loop does not write, belongs before
 * the loop: a register then holds it through a whole row */
static bool before_lanes(const Emit *e, const FuseVal *val, const CellAffine *index) {
  const Body *b = e->body;
  if (!b->ahead || !b->node || b->kind != CELL_LOOP_LANES || index->loaded >= 0 ||
      mentions(index, b->var))
    return false;
  if (val->pinned) return false;
  for (int i = 0; i < val->producer_count; i++) {
    const FuseNode *leaf = val->producers[i]->leaf;
    if (val->producers[i]->kernel != e->k) continue;
    if (!leaf || is_ancestor(b->node, leaf)) return false;
  }
  return true;
}

static int load(Emit *e, FuseVal *val, CellAffine index) {
  CellBufferRef ref = place_of(e, val, false);
  if (before_lanes(e, val, &index)) {
    Body *lanes = e->body, *around = lanes->up;
    for (int i = around->load_count - 1; i >= 0; i--)
      if (around->loads[i].ref.scratch == ref.scratch && around->loads[i].ref.index == ref.index &&
          same_affine(&around->loads[i].index, &index))
        return around->loads[i].value;
    CellStmt *loop = *lanes->ahead, **tail = lanes->ahead;
    CellStmt *s = cell_stmt(e->out, &tail, CELL_K_LOAD);
    s->next = loop, lanes->ahead = &s->next;
    s->buffer = ref, s->index = index, s->dtype = val->dtype == CELL_I ? CELL_I : CELL_F;
    Loaded l = {ref, index, s->value};
    CELL_PUSH(e->f->arena, around->loads, around->load_count, around->load_capacity, l);
    return s->value;
  }
  // once a body, as long as nothing is stored there
  Body *b = e->body;
  for (int i = b->load_count - 1; i >= 0; i--)
    if (b->loads[i].ref.scratch == ref.scratch && b->loads[i].ref.index == ref.index &&
        same_affine(&b->loads[i].index, &index))
      return b->loads[i].value;
  CellStmt *s = stmt(e, CELL_K_LOAD);
  s->buffer = ref, s->index = index;
  s->dtype = val->dtype == CELL_I ? CELL_I : CELL_F;
  Loaded l = {ref, index, s->value};
  CELL_PUSH(e->f->arena, b->loads, b->load_count, b->load_capacity, l);
  return s->value;
}

static void store(Emit *e, CellBufferRef ref, CellAffine index, int value, bool add) {
  CellStmt *s = stmt(e, CELL_K_STORE);
  s->buffer = ref, s->index = index, s->args[0] = value, s->add = add;
  // what was loaded from there is stale, here and in the bodies around
  for (Body *b = e->body; b; b = b->up) {
    int kept = 0;
    for (int i = 0; i < b->load_count; i++)
      if (b->loads[i].ref.scratch != ref.scratch || b->loads[i].ref.index != ref.index)
        b->loads[kept++] = b->loads[i];
    b->load_count = kept;
  }
}

/* which unrolled entry of val the access means while it is in registers, or -1 */
static int register_entry(Emit *e, const FuseOp *op, const FuseAccess *x) {
  FuseVal *val = x->val;
  if (val->producer_count != 1 || val->pinned || val->array_sum) return -1;
  const FuseOp *p = val->producers[0];
  if (p->kind == FUSE_CONTRACT || p->kind == FUSE_SCAN || p->region != op->region ||
      p->kernel != op->kernel || p->partial)
    return -1;
  int entry = 0;
  for (int l = 0; l < p->loop_count; l++) {
    if (p->loops[l].reduced) continue;
    const FuseIndex *index = NULL;
    for (int d = 0; d < val->rank; d++)
      if (p->out_dim[d] == l) {
        index = &x->dim[d];
        if (p->out_offset[d] || val->shape[d] != p->loops[l].extent) return -1;
      }
    for (int a = 0; a < CELL_MAX_AXES; a++)
      if (p->out_axis[a] == l) index = &x->axis[a];
    if (!index) return -1;
    bool unrolled = p->inner >> l & 1;
    if (index->count == 0 && unrolled && index->loaded < 0 && !index->scan) {
      entry = entry * p->loops[l].extent + (int)index->base;
      continue;
    }
    if (index->count != 1 || !fuse_is_loop(index, index->term[0].loop)) return -1;
    int mine = index->term[0].loop;
    if (fuse_class(e->f, op->loops[mine].cls) != fuse_class(e->f, p->loops[l].cls)) return -1;
    if (unrolled != (bool)(op->inner >> mine & 1)) return -1;
    if (unrolled) {
      if (e->fixed[mine] < 0) return -1;
      entry = entry * p->loops[l].extent + e->fixed[mine];
    }
  }
  return entry;
}

static int operand_value(Emit *e, FuseOp *op, FuseAccess *x) {
  switch (x->kind) {
  case FUSE_CONSTANT:
    return typed_constant(e, op->out && op->out->dtype == CELL_I ? CELL_I : CELL_F, x->number);
  case FUSE_RANGE: return let(e, CELL_OP_FLOAT, position(e, index_affine(e, op, &x->dim[0])), 0, 0);
  case FUSE_POSITION: return position(e, index_affine(e, op, &x->axis[0]));
  case FUSE_VALUE: break;
  }
  int entry = register_entry(e, op, x);
  if (entry >= 0 && x->val->reg[entry] >= 0) return x->val->reg[entry];
  return load(e, x->val, access_affine(e, op, x));
}

/* ---- ops ---- */

static FuseNode *reduce_node(Emit *e, const FuseOp *op) {
  FuseNode *top = NULL;
  for (FuseNode *n = op->leaf->parent; n && n->parent; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls)
        top = n;
  return top;
}

static bool opened_below(Emit *e, const FuseOp *op, const FuseNode *r) {
  for (FuseNode *n = op->leaf->parent; n != r; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (!op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls)
        return true;
  return false;
}

/* the outermost summed loop with no loop of the result inside: a register sums up to its end, and then
 * is the result, or is added to storage where the result has loops inside further summed ones */
static FuseNode *register_node(Emit *e, const FuseOp *op) {
  FuseNode *low = NULL;
  for (FuseNode *n = op->leaf->parent; n && n->parent; n = n->parent)
    for (int l = 0; l < op->loop_count; l++)
      if (op->loops[l].reduced && !(op->inner >> l & 1) &&
          fuse_class(e->f, op->loops[l].cls) == n->cls && !opened_below(e, op, n))
        low = n;
  return low;
}

/* node whose body first holds the op's finished result */
static FuseNode *definition(Emit *e, const FuseOp *op) {
  FuseNode *r = op->kind == FUSE_REDUCE ? reduce_node(e, op) : NULL;
  return r ? r->parent : op->leaf->parent;
}

static bool stored(const FuseVal *val) {
  return val->place != FUSE_NOWHERE;
}

static void finish_value(Emit *e, FuseOp *op, int entry, int value) {
  if (!op->partial) define(e, op->out, entry, value);
  if (stored(op->out)) store(e, place_of(e, op->out, true), out_affine(e, op), value, false);
}

static int unrolled_entries(const FuseOp *op, bool reduced) {
  int n = 1;
  for (int l = 0; l < op->loop_count; l++)
    if (op->inner >> l & 1 && op->loops[l].reduced == reduced) n *= op->loops[l].extent;
  return n;
}

/* sets the constants of the op's unrolled loops from a mixed-radix number, last loop fastest */
static void fix(Emit *e, const FuseOp *op, bool reduced, int entry) {
  for (int l = op->loop_count - 1; l >= 0; l--) {
    if (!(op->inner >> l & 1) || op->loops[l].reduced != reduced) continue;
    e->fixed[l] = entry % op->loops[l].extent;
    entry /= op->loops[l].extent;
  }
}

static void begin_op(Emit *e) {
  for (int l = 0; l < FUSE_MAX_LOOPS; l++) e->fixed[l] = e->loop_var[l] = -1;
}

static int term_value(Emit *e, FuseOp *op) {
  int a = operand_value(e, op, &op->args[0]);
  return op->arg_count == 2 ? let(e, CELL_OP_MUL, a, operand_value(e, op, &op->args[1]), 0) : a;
}

static int scalar_value(Emit *e, FuseOp *op) {
  if (op->kind == FUSE_ONE_HOT) {
    int last = op->out->rank - 1;
    CellAffine at = op->out_dim[last] < 0 ? cell_affine(0) : loop_affine(e, op, op->out_dim[last]);
    int i = let(e, CELL_OP_FLOAT, operand_value(e, op, &op->args[0]), 0, 0);
    return let(e, CELL_OP_EQ, let(e, CELL_OP_FLOAT, position(e, at), 0, 0), i, 0);
  }
  if (op->kind == FUSE_BIT) {
    // 2 ((i >> b) mod 2) - 1, exactly: floor(i 2^-b) - 2 floor(i 2^-(b+1))
    int i = let(e, CELL_OP_FLOAT, operand_value(e, op, &op->args[0]), 0, 0);
    double scale = 1;
    for (int b = 0; b < op->bit; b++) scale /= 2;
    int high = let(e, CELL_OP_FLOOR, let(e, CELL_OP_MUL, i, constant(e, scale), 0), 0, 0);
    int twice = let(e, CELL_OP_FLOOR, let(e, CELL_OP_MUL, i, constant(e, scale / 2), 0), 0, 0);
    int bit = let(e, CELL_OP_SUB, high, let(e, CELL_OP_MUL, twice, constant(e, 2), 0), 0);
    return let(e, CELL_OP_SUB, let(e, CELL_OP_MUL, bit, constant(e, 2), 0), constant(e, 1), 0);
  }
  if (op->scalar == CELL_OP_COUNT || cell_op_info[op->scalar].scalar == false)
    return operand_value(e, op, &op->args[0]);
  if (op->scalar == CELL_OP_FLOAT) {
    // of bits it is the load itself
    int a = operand_value(e, op, &op->args[0]);
    bool index = op->args[0].kind == FUSE_POSITION ||
                 (op->args[0].kind == FUSE_VALUE && op->args[0].val->dtype == CELL_I);
    return index ? let(e, CELL_OP_FLOAT, a, 0, 0) : a;
  }
  int v[3] = {0, 0, 0};
  for (int i = 0; i < op->arg_count; i++) v[i] = operand_value(e, op, &op->args[i]);
  return let(e, op->scalar, v[0], v[1], v[2]);
}

static int new_acc(Emit *e, FuseOp *op) {
  CellStmt *s = stmt(e, CELL_K_ACC);
  s->reduce = op->reduce;
  s->dtype = op->reduce == CELL_ARGMAX ? CELL_I : CELL_F;
  return s->value;
}

static void update(Emit *e, FuseOp *op, int acc, int value, CellAffine index) {
  CellStmt *s = stmt(e, CELL_K_UPDATE);
  s->value = acc, s->args[0] = value, s->reduce = op->reduce, s->index = index;
}

/* where an argmax stands: the loop that it reduces */
static CellAffine reduced_affine(Emit *e, FuseOp *op) {
  for (int l = 0; l < op->loop_count; l++)
    if (op->loops[l].reduced) return loop_affine(e, op, l);
  return cell_affine(0);
}

static void emit_reduce(Emit *e, FuseOp *op) {
  FuseNode *r = reduce_node(e, op), *low = register_node(e, op);
  int outs = unrolled_entries(op, false), terms = unrolled_entries(op, true);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    int value = -1;
    if (op->reduce == CELL_SUM && terms <= FUSE_UNROLL) {
      for (int t = 0; t < terms; t++) {
        fix(e, op, true, t);
        int term = term_value(e, op);
        value = value < 0 ? term : let(e, CELL_OP_ADD, term, value, 0);
      }
    } else if (terms > 1 || (op->reduce != CELL_SUM && !r)) {
      // a loop of its own
      value = new_acc(e, op);
      Body bodies[FUSE_MAX_LOOPS];
      int opened = 0;
      for (int l = 0; l < op->loop_count; l++) {
        if (!(op->inner >> l & 1) || !op->loops[l].reduced) continue;
        e->fixed[l] = -1;
        e->loop_var[l] = open_loop(e, &bodies[opened++], CELL_LOOP_SERIAL, cell_affine(0),
                                   op->loops[l].extent, 0);
      }
      int term = term_value(e, op);
      update(e, op, value, term, reduced_affine(e, op));
      while (opened-- > 0) close_body(e);
      for (int l = 0; l < FUSE_MAX_LOOPS; l++) e->loop_var[l] = -1;
    } else {
      value = term_value(e, op);
    }
    if (!r)
      finish_value(e, op, o, value);
    else if (low)
      update(e, op, op->out->reg[o], value, reduced_affine(e, op));
    else
      store(e, place_of(e, op->out, true), out_affine(e, op), value, true);
  }
}

static void emit_scalar(Emit *e, FuseOp *op) {
  int outs = unrolled_entries(op, false);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    finish_value(e, op, o, scalar_value(e, op));
  }
}

/* ---- contract statements ---- */

static int64_t loop_coef(const FuseAccess *x, int loop) {
  int64_t coef = 0;
  if (loop < 0) return 0;
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (x->val->axes & CELL_AXIS(a))
      for (int t = 0; t < x->axis[a].count; t++)
        if (x->axis[a].term[t].loop == loop)
          coef += x->axis[a].term[t].coef * x->val->axis_stride[a];
  for (int d = 0; d < x->val->rank; d++)
    for (int t = 0; t < x->dim[d].count; t++)
      if (x->dim[d].term[t].loop == loop) coef += x->dim[d].term[t].coef * x->val->dim_stride[d];
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
static CellAffine view_base(Emit *e, FuseOp *op, const FuseAccess *x, uint32_t around) {
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
      base = cell_affine_add(base, cell_affine_scale(loop_affine(e, op, l), loop_coef(x, l)));
  for (int l = 0; l < op->loop_count; l++)
    if (in_task_class(e, op, l) && x->val->place != FUSE_SCRATCH && !(around >> l & 1))
      base = cell_affine_add(base, cell_affine_var(0, e->k->tile * loop_coef(x, l)));
  return base;
}

/* where the segment's part of the result begins, but for loops around */
static CellAffine out_base(Emit *e, FuseOp *op, const FuseSegment *s) {
  int64_t om = out_coef(op, op->loop_m), on = out_coef(op, op->loop_n);
  CellAffine base = cell_affine(s->m_offset * om + s->n_offset * on);
  bool cut = op->loop_m >= 0 && in_task_class(e, op, op->loop_m);
  if (cut && op->out->place != FUSE_SCRATCH)
    base = cell_affine_add(base, cell_affine_var(0, e->k->tile * om));
  return base;
}

static void zero_view(Emit *e, FuseOp *op, CellBufferRef out, const FuseSegment *s, int64_t m,
                      int64_t om, int64_t on) {
  Body rows, columns;
  bool cut = op->loop_m >= 0 && in_task_class(e, op, op->loop_m);
  // a ragged tile has fewer rows: count them from the tile's start
  bool ragged = cut && e->k->tasks * e->k->tile != e->k->extent;
  CellAffine start = ragged ? cell_affine_var(0, e->k->tile) : cell_affine(0);
  int row = open_loop(e, &rows, CELL_LOOP_SERIAL, start, m, ragged ? e->k->extent : 0);
  int column = open_loop(e, &columns, CELL_LOOP_LANES, cell_affine(0), s->n_extent, 0);
  CellAffine at = cell_affine_add(out_base(e, op, s), cell_affine_var(row, om));
  if (ragged) at = cell_affine_add(at, cell_affine_var(0, -e->k->tile * om));
  store(e, out, cell_affine_add(at, cell_affine_var(column, on)), constant(e, 0), false);
  close_body(e);
  close_body(e);
}

static void emit_contract(Emit *e, FuseOp *op) {
  CellBufferRef out = place_of(e, op->out, true);
  bool cut = op->loop_m >= 0 && in_task_class(e, op, op->loop_m);
  for (int i = 0; i < op->segment_count; i++) {
    FuseSegment *s = &op->segments[i];
    CellBufferRef a = place_of(e, s->a.val, false), b = place_of(e, s->b.val, false);
    int64_t m = cut ? e->k->tile : s->m_extent, limit = cut ? e->k->extent : 0, repeat = 1,
            k = s->k_extent;
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
    Body bodies[FUSE_MAX_LOOPS];
    int opened = 0;
    begin_op(e);
    bool add = s->add;
    if (summed) {
      // axes whose strides do not fold: from zeros, one product an entry
      if (!add) zero_view(e, op, out, s, m, om, on);
      add = true;
    }
    for (int l = 0; l < op->loop_count; l++) {
      if (!(around >> l & 1)) continue;
      e->loop_var[l] =
          open_loop(e, &bodies[opened++], CELL_LOOP_SERIAL, cell_affine(0), op->loops[l].extent, 0);
    }
    CellStmt *c = stmt(e, CELL_K_CONTRACT);
    c->m = m, c->n = s->n_extent, c->k = k, c->add = add;
    c->m_begin = c->n_begin = cell_affine(0);
    if (cut && e->k->tasks * e->k->tile != e->k->extent)
      c->m_begin = cell_affine_var(0, e->k->tile * repeat), c->m_limit = limit;
    c->a = (CellView){a, view_base(e, op, &s->a, around), am, ak};
    c->b = (CellView){b, view_base(e, op, &s->b, around), bn, bk};
    CellAffine base = out_base(e, op, s);
    for (int l = 0; l < op->loop_count; l++)
      if (around >> l & 1)
        base = cell_affine_add(base, cell_affine_scale(loop_affine(e, op, l), out_coef(op, l)));
    c->out = (CellView){out, base, om, on};
    while (opened-- > 0) close_body(e);
  }
  begin_op(e);
}

/* ---- loops ---- */

static void emit_children(Emit *e, FuseNode *node);

typedef void (*OpVisit)(Emit *e, FuseOp *op, FuseNode *node);
static void each_op(Emit *e, FuseNode *node, FuseNode *root, OpVisit visit) {
  if (node->op) visit(e, node->op, root);
  for (FuseNode *c = node->child; c; c = c->next) each_op(e, c, root, visit);
}

/* before a loop: the sums that it will feed */
static void start_sums(Emit *e, FuseOp *op, FuseNode *node) {
  if (op->kind != FUSE_REDUCE) return;
  begin_op(e);
  if (register_node(e, op) == node) {
    int outs = unrolled_entries(op, false);
    for (int o = 0; o < outs; o++) define(e, op->out, o, new_acc(e, op));
  }
  if (reduce_node(e, op) != node || !op->out->array_sum) return;
  // zeros, over the loops that open inside
  Body bodies[FUSE_MAX_LOOPS];
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
    e->loop_var[l] = open_class(e, &bodies[opened++], CELL_LOOP_SERIAL, cls == e->task_class,
                                op->loops[l].extent);
  }
  if (lane >= 0)
    e->loop_var[lane] = open_class(e, &bodies[opened++], CELL_LOOP_LANES,
                                   in_task_class(e, op, lane), op->loops[lane].extent);
  store(e, place_of(e, op->out, true), out_affine(e, op), constant(e, 0), false);
  while (opened-- > 0) close_body(e);
  begin_op(e);
}

/* after it: their results */
static void end_sums(Emit *e, FuseOp *op, FuseNode *node) {
  if (op->kind != FUSE_REDUCE || register_node(e, op) != node || !stored(op->out)) return;
  begin_op(e);
  int outs = unrolled_entries(op, false);
  for (int o = 0; o < outs; o++) {
    fix(e, op, false, o);
    store(e, place_of(e, op->out, true), out_affine(e, op), op->out->reg[o], op->out->array_sum);
  }
}

static void emit_region(Emit *e, FuseOp **ops, int count);

static void emit_scan(Emit *e, FuseOp *op) {
  Body body;
  op->time_var = open_loop(e, &body, CELL_LOOP_SERIAL, cell_affine(0),
                           op->region->g->axes[op->axis].extent, 0);
  emit_region(e, op->body->ops, op->body->op_count);
  emit_region(e, op->body->after, op->body->after_count);
  close_body(e);
}

static void emit_node(Emit *e, FuseNode *node) {
  if (node->op) {
    begin_op(e);
    switch (node->op->kind) {
    case FUSE_SCAN: emit_scan(e, node->op); break;
    case FUSE_CONTRACT: emit_contract(e, node->op); break;
    case FUSE_REDUCE: emit_reduce(e, node->op); break;
    default: emit_scalar(e, node->op);
    }
    return;
  }
  each_op(e, node, node, start_sums);
  Body body;
  node->var = open_class(e, &body, node->kind, node->cls == e->task_class, node->extent);
  body.node = node;
  e->class_var[node->cls] = node->var;
  emit_children(e, node);
  e->class_var[node->cls] = -1;
  close_body(e);
  each_op(e, node, node, end_sums);
}

static void emit_children(Emit *e, FuseNode *node) {
  for (FuseNode *c = node->child; c; c = c->next) emit_node(e, c);
}

/* ---- where values live ---- */

typedef struct {
  Emit *e;
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
    if (index->count != 1 || !fuse_is_loop(index, index->term[0].loop)) {
      r->registers = false;
      return;
    }
    int mine = index->term[0].loop;
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

static void new_scratch(Emit *e, FuseVal *val, int64_t count, int first, int last) {
  CellKernel *k = e->out;
  CellScratch s = {
      .dtype = val->dtype == CELL_I ? CELL_I : CELL_F, .count = count, .name = val->name};
  CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
  val->place = FUSE_SCRATCH, val->scratch = k->scratch_count - 1;
  CELL_ASSERT(k->scratch_count <= 4096);
  e->scratch_first[val->scratch] = first, e->scratch_last[val->scratch] = last;
}

/* scratch with the extents of all loops but those open at `at` */
static void scratch_layout(Emit *e, FuseVal *val, FuseOp *p, FuseNode *at, int first, int last) {
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

static void place_value(Emit *e, FuseVal *val, FuseRegion *region) {
  if (val->place == FUSE_SCRATCH) return;
  FuseOp *p = val->producers[0];
  for (int i = 0; i < val->producer_count; i++)
    if (val->producers[i]->kind != FUSE_SCAN && val->producers[i]->region == region)
      p = val->producers[i];
  val->array_sum = false;
  FuseNode *r = p->kind == FUSE_REDUCE ? reduce_node(e, p) : NULL;
  if (r && opened_below(e, p, r)) val->array_sum = true;
  if (val->global) {
    val->place = FUSE_GLOBAL;
    global_strides(val);
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
    if (reader != inner || reader->kind == FUSE_CONTRACT || !is_ancestor(body, n))
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

static void emit_region(Emit *e, FuseOp **ops, int count) {
  FuseNode *root = fuse_tree(e->f, ops, count);
  root->var = -1;
  FuseRegion *region = count ? ops[0]->region : NULL;
  for (int i = 0; i < count; i++) {
    if (ops[i]->kind == FUSE_SCAN || ops[i]->out->pinned) continue;
    place_value(e, ops[i]->out, region);
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

/* carries live in scratch at the top of the kernel */
static void place_carries(Emit *e, FuseOp *scan) {
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
static void layout_scratch(Emit *e) {
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

static bool same_kernel(const CellKernel *a, const CellText *text, CellText *scratch) {
  scratch->length = 0;
  CellKernel nameless = *a;
  nameless.name = "";
  cell_kernel_print(&nameless, scratch);
  return scratch->length == text->length && memcmp(scratch->data, text->data, text->length) == 0;
}

void fuse_emit(Fuse *f, FuseKernel *fk, const char *name, CellPlanProgram *program) {
  Emit *e = CELL_NEW(f->arena, Emit);
  e->f = f, e->k = fk, e->program = program, e->task_class = -1;
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
    if (all[i]->kind == FUSE_SCAN) place_carries(e, all[i]);

  Body top = {.tail = &k->body};
  e->body = &top;
  begin_op(e);
  emit_region(e, fk->ops, fk->op_count);
  layout_scratch(e);

  // kernels that are equal up to buffers exist once
  CellText text = {0}, other = {0};
  CellKernel nameless = *k;
  nameless.name = "";
  cell_kernel_print(&nameless, &text);
  int number = -1;
  CellPlan *plan = f->plan;
  for (int i = 0; i < plan->kernel_count && number < 0; i++)
    if (same_kernel(plan->kernels[i], &text, &other)) number = i;
  cell_text_free(&text);
  cell_text_free(&other);
  if (number < 0) {
    CELL_PUSH(plan->arena, plan->kernels, plan->kernel_count, plan->kernel_capacity, k);
    number = plan->kernel_count - 1;
  }
  int *buffers = CELL_NEW_ARRAY(plan->arena, int, k->arg_count + 1);
  if (k->arg_count) memcpy(buffers, e->buffers, (size_t)k->arg_count * sizeof *buffers);
  CellLaunch launch = {number, buffers};
  CELL_PUSH(plan->arena, program->launches, program->launch_count, program->launch_capacity,
            launch);
}
