/* fuse_body.c - the statements of a kernel being written: bodies, buffers, indices, loads and stores. What is
 * loaded once in a body is not loaded again; what all lanes share is loaded before them. */
#include "ir/fuse_emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- plumbing ---- */

CellStmt *fuse_stmt(FuseEmit *e, CellStmtKind kind) {
  CellStmt **tail = e->body->tail;
  CellStmt *s = cell_stmt(e->out, &tail, kind);
  e->body->tail = tail;
  if (kind != CELL_K_LOOP) s->span = e->span;
  return s;
}

static void open_body(FuseEmit *e, FuseBody *b, CellStmt *loop, CellStmt **ahead) {
  *b = (FuseBody){
      .up = e->body, .tail = &loop->body, .ahead = ahead, .var = loop->var, .kind = loop->loop};
  e->body = b;
}
void fuse_close(FuseEmit *e) {
  FuseBody *b = e->body;
  for (int i = 0; i < b->defined_count; i++)
    for (int j = 0; j < FUSE_UNROLL; j++) b->defined[i]->reg[j] = -1;
  e->body = b->up;
}

void fuse_define(FuseEmit *e, FuseVal *val, int which, int value) {
  val->reg[which] = value;
  FuseBody *b = e->body;
  CELL_PUSH(e->f->arena, b->defined, b->defined_count, b->defined_capacity, val);
}

/* opens a loop and returns its variable */
int fuse_open_loop(FuseEmit *e, FuseBody *b, CellLoopKind kind, CellAffine begin, int64_t extent,
                   int64_t limit) {
  CellStmt **ahead = e->body->tail;
  CellStmt *s = fuse_stmt(e, CELL_K_LOOP);
  s->loop = kind, s->begin = begin, s->extent = extent, s->limit = limit;
  open_body(e, b, s, ahead);
  return s->var;
}

/* the same over the task's part of a class, or the whole extent of another */
int fuse_open_class(FuseEmit *e, FuseBody *b, CellLoopKind kind, bool task, int64_t extent) {
  if (!task) return fuse_open_loop(e, b, kind, cell_affine(0), extent, 0);
  bool ragged = e->k->ranges || e->k->tasks * e->k->tile != e->k->extent;
  return fuse_open_loop(e, b, kind, cell_affine_var(0, e->k->tile), e->k->tile,
                        ragged ? e->k->extent : 0);
}

/* ---- storage ---- */

void fuse_global_strides(FuseVal *val) {
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
      if (plan->buffers[i].program == program && plan->buffers[i].kind < CELL_BUFFER_TEMP &&
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

static CellBufferRef argument(FuseEmit *e, FuseVal *val, bool write) {
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

CellBufferRef fuse_place_of(FuseEmit *e, FuseVal *val, bool write) {
  if (val->place == FUSE_SCRATCH) return (CellBufferRef){true, val->scratch};
  if (val->place == FUSE_NOWHERE) val->place = FUSE_GLOBAL, fuse_global_strides(val);
  return argument(e, val, write);
}

bool fuse_in_task(FuseEmit *e, const FuseOp *op, int loop) {
  return e->task_class >= 0 && fuse_class(e->f, op->loops[loop].cls) == e->task_class;
}

/* ---- indices ---- */

CellAffine fuse_loop_affine(FuseEmit *e, const FuseOp *op, int loop) {
  if (e->fixed[loop] >= 0) return cell_affine(e->fixed[loop]);
  if (e->loop_var[loop] >= 0) return cell_affine_var(e->loop_var[loop], 1);
  int var = e->class_var[fuse_class(e->f, op->loops[loop].cls)];
  CELL_ASSERT(var >= 0);
  return cell_affine_var(var, 1);
}

static CellAffine index_affine(FuseEmit *e, FuseOp *op, const FuseIndex *x) {
  CellAffine a = cell_affine(x->base);
  for (int i = 0; i < x->count; i++)
    a = cell_affine_add(a, cell_affine_scale(fuse_loop_affine(e, op, x->loop[i]), x->coef[i]));
  if (x->scan) a = cell_affine_add(a, cell_affine_var(x->scan->time_var, 1));
  if (x->loaded >= 0) {
    CellAffine l = cell_affine(0);
    l.loaded = fuse_operand(e, op, &op->args[x->loaded]), l.loaded_coef = 1;
    a = cell_affine_add(a, l);
  }
  return a;
}

/* start of the task's tile, where scratch is local to it */
static CellAffine tile_begin(FuseEmit *e, int64_t stride) {
  return cell_affine_var(0, -stride * e->k->tile);
}

static CellAffine access_affine(FuseEmit *e, FuseOp *op, const FuseAccess *x) {
  FuseVal *val = x->val;
  fuse_place_of(e, val, false); // knows its strides from here on
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

CellAffine fuse_out_affine(FuseEmit *e, FuseOp *op) {
  FuseVal *val = op->out;
  if (op->partial) return cell_affine_var(0, 1);
  CellAffine a = cell_affine(0);
  for (int i = 0; i < CELL_MAX_AXES; i++) {
    int l = op->out_axis[i];
    if (l < 0 || !(val->axes & CELL_AXIS(i)) || val->axis_stride[i] == 0) continue;
    a = cell_affine_add(a, cell_affine_scale(fuse_loop_affine(e, op, l), val->axis_stride[i]));
    if (val->place == FUSE_SCRATCH && val->tile_axes >> i & 1)
      a = cell_affine_add(a, tile_begin(e, val->axis_stride[i]));
  }
  for (int d = 0; d < val->rank; d++) {
    a.base += op->out_offset[d] * val->dim_stride[d];
    int l = op->out_dim[d];
    if (l < 0 || val->dim_stride[d] == 0) continue;
    a = cell_affine_add(a, cell_affine_scale(fuse_loop_affine(e, op, l), val->dim_stride[d]));
    if (val->place == FUSE_SCRATCH && val->tile_dims >> d & 1)
      a = cell_affine_add(a, tile_begin(e, val->dim_stride[d]));
  }
  return a;
}

/* ---- values ---- */

static int typed_constant(FuseEmit *e, CellDtype dtype, double number) {
  CellStmt *s = fuse_stmt(e, CELL_K_CONST);
  s->dtype = dtype, s->number = number;
  return s->value;
}

int fuse_constant(FuseEmit *e, double number) {
  return typed_constant(e, CELL_F, number);
}

int fuse_let(FuseEmit *e, CellOp op, int a, int b, int c) {
  CellStmt *s = fuse_stmt(e, CELL_K_LET);
  s->dtype = CELL_F, s->op = op;
  int args[3] = {a, b, c};
  for (int i = 0; i < 3; i++) s->args[i] = i < cell_op_info[op].arity ? args[i] : -1;
  return s->value;
}

int fuse_position(FuseEmit *e, CellAffine index) {
  CellStmt *s = fuse_stmt(e, CELL_K_VAR);
  s->dtype = CELL_I, s->index = index;
  return s->value;
}

bool fuse_is_ancestor(const FuseNode *a, const FuseNode *n) {
  while (n && n != a) n = n->parent;
  return n == a;
}

/* a load in the lanes that is the same for all of them, from what the loop does not write, belongs before
 * the loop: a register then holds it through a whole row */
static bool before_lanes(const FuseEmit *e, const FuseVal *val, const CellAffine *index) {
  const FuseBody *b = e->body;
  if (!b->ahead || !b->node || b->kind != CELL_LOOP_LANES || index->loaded >= 0 ||
      cell_affine_coef(index, b->var) != 0)
    return false;
  if (val->pinned) return false;
  for (int i = 0; i < val->producer_count; i++) {
    const FuseNode *leaf = val->producers[i]->leaf;
    if (val->producers[i]->kernel != e->k) continue;
    if (!leaf || fuse_is_ancestor(b->node, leaf)) return false;
  }
  return true;
}

static int load(FuseEmit *e, FuseVal *val, CellAffine index) {
  CellBufferRef ref = fuse_place_of(e, val, false);
  if (before_lanes(e, val, &index)) {
    FuseBody *lanes = e->body, *around = lanes->up;
    for (int i = around->load_count - 1; i >= 0; i--)
      if (around->loads[i].ref.scratch == ref.scratch && around->loads[i].ref.index == ref.index &&
          cell_affine_equal(&around->loads[i].index, &index))
        return around->loads[i].value;
    CellStmt *loop = *lanes->ahead, **tail = lanes->ahead;
    CellStmt *s = cell_stmt(e->out, &tail, CELL_K_LOAD);
    s->next = loop, lanes->ahead = &s->next, s->span = e->span;
    s->buffer = ref, s->index = index, s->dtype = val->dtype == CELL_I ? CELL_I : CELL_F;
    FuseLoaded l = {ref, index, s->value};
    CELL_PUSH(e->f->arena, around->loads, around->load_count, around->load_capacity, l);
    return s->value;
  }
  // once a body, as long as nothing is stored there
  FuseBody *b = e->body;
  for (int i = b->load_count - 1; i >= 0; i--)
    if (b->loads[i].ref.scratch == ref.scratch && b->loads[i].ref.index == ref.index &&
        cell_affine_equal(&b->loads[i].index, &index))
      return b->loads[i].value;
  CellStmt *s = fuse_stmt(e, CELL_K_LOAD);
  s->buffer = ref, s->index = index;
  s->dtype = val->dtype == CELL_I ? CELL_I : CELL_F;
  FuseLoaded l = {ref, index, s->value};
  CELL_PUSH(e->f->arena, b->loads, b->load_count, b->load_capacity, l);
  return s->value;
}

void fuse_store(FuseEmit *e, CellBufferRef ref, CellAffine index, int value, bool add) {
  CellStmt *s = fuse_stmt(e, CELL_K_STORE);
  s->buffer = ref, s->index = index, s->args[0] = value, s->add = add;
  // what was loaded from there is stale, here and in the bodies around
  for (FuseBody *b = e->body; b; b = b->up) {
    int kept = 0;
    for (int i = 0; i < b->load_count; i++)
      if (b->loads[i].ref.scratch != ref.scratch || b->loads[i].ref.index != ref.index)
        b->loads[kept++] = b->loads[i];
    b->load_count = kept;
  }
}

/* which unrolled entry of val the access means while it is in registers, or -1 */
static int register_entry(FuseEmit *e, const FuseOp *op, const FuseAccess *x) {
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
    if (index->count != 1 || !fuse_is_loop(index, index->loop[0])) return -1;
    int mine = index->loop[0];
    if (fuse_class(e->f, op->loops[mine].cls) != fuse_class(e->f, p->loops[l].cls)) return -1;
    if (unrolled != (bool)(op->inner >> mine & 1)) return -1;
    if (unrolled) {
      if (e->fixed[mine] < 0) return -1;
      entry = entry * p->loops[l].extent + e->fixed[mine];
    }
  }
  return entry;
}

int fuse_operand(FuseEmit *e, FuseOp *op, FuseAccess *x) {
  switch (x->kind) {
  case FUSE_CONSTANT:
    return typed_constant(e, op->out && op->out->dtype == CELL_I ? CELL_I : CELL_F, x->number);
  case FUSE_RANGE:
    return fuse_let(e, CELL_OP_FLOAT, fuse_position(e, index_affine(e, op, &x->dim[0])), 0, 0);
  case FUSE_POSITION: return fuse_position(e, index_affine(e, op, &x->axis[0]));
  case FUSE_VALUE: break;
  }
  int entry = register_entry(e, op, x);
  if (entry >= 0 && x->val->reg[entry] >= 0) return x->val->reg[entry];
  return load(e, x->val, access_affine(e, op, x));
}

void fuse_begin_op(FuseEmit *e) {
  for (int l = 0; l < FUSE_MAX_LOOPS; l++) e->fixed[l] = e->loop_var[l] = -1;
}
