/* fuse.c - the kernels pass: from a module's tensor graphs to a plan. */
#include <string.h>

#include "ir/fuse.h"

static bool any_program_reads(const CellModule *m, const char *name) {
  for (int i = 0; i < m->program_count; i++)
    if (cell_find_input(m->programs[i], name) != CELL_NONE) return true;
  return false;
}

/* state: what keeps its content between programs, by the rule of plan_buffer */
static bool is_state(const CellModule *m, const char *name) {
  return (strchr(name, '/') || strcmp(name, "step") == 0) && any_program_reads(m, name);
}

/* the value behind an output that may be stored directly as it: reshapes do not change the bytes */
static FuseVal *direct_value(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  while (n->op == CELL_OP_RESHAPE && !r->vals[v]) v = n->args[0], n = cell_node(r->g, v);
  switch (n->op) {
  case CELL_OP_INPUT:
  case CELL_OP_CONST:
  case CELL_OP_RANGE:
  case CELL_OP_AXIS_INDEX:
  case CELL_OP_RESHAPE:
  case CELL_OP_TRANSPOSE:
  case CELL_OP_SLICE:
  case CELL_OP_BROADCAST:
  case CELL_OP_STOP_GRADIENT: return NULL;
  default: break;
  }
  FuseVal *val = fuse_val(f, r, v);
  return val->pinned ? NULL : val;
}

static FuseVal *copied_value(Fuse *f, FuseRegion *r, CellValue v, const char *name) {
  const CellNode *n = cell_node(r->g, v);
  FuseVal *val =
      fuse_new_val(f, n->dtype == CELL_I ? CELL_I : CELL_F, n->rank, n->shape, n->axes, r->g, name);
  fuse_copy_op(f, r, v, val);
  return val;
}

static int add_buffer(CellPlan *plan, CellBufferKind kind, const FuseVal *val, const char *name,
                      int program) {
  CellBuffer b = {
      .name = name, .kind = kind, .dtype = val->dtype, .program = program, .first = -1, .last = -1};
  b.count = fuse_val_count(val);
  CELL_PUSH(plan->arena, plan->buffers, plan->buffer_count, plan->buffer_capacity, b);
  return plan->buffer_count - 1;
}

static int state_buffer(CellPlan *plan, const FuseVal *val, const char *name) {
  for (int i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind == CELL_BUFFER_STATE && strcmp(plan->buffers[i].name, name) == 0)
      return i;
  return add_buffer(plan, CELL_BUFFER_STATE, val, name, -1);
}

/* ---- may a state's next value be written over it? ---- */

static FuseOp *top_op(FuseOp *op) {
  while (op->region->scan) op = op->region->scan;
  return op;
}

/* Every access of a value that comes from outside. */
typedef struct {
  FuseOp *op;
  FuseAccess *access;
} InputRead;

typedef struct {
  Fuse *f;
  int op_count; /* of f->all: those that are looked through */
  InputRead *list;
  int count, capacity;
} InputReads;

static void note_input(FuseOp *op, FuseAccess *x, void *context) {
  InputReads *reads = context;
  if (x->kind != FUSE_VALUE || x->val->producer_count) return;
  InputRead read = {op, x};
  CELL_PUSH(reads->f->arena, reads->list, reads->count, reads->capacity, read);
}

static bool reaches(FuseOp *from, const FuseOp *to) {
  if (from == to) return true;
  for (int i = 0; i < from->out->consumer_count; i++) {
    FuseOp *c = from->out->consumers[i];
    if (c == to) return true;
    if (c->kernel == to->kernel && c->kind == FUSE_SCALAR && c->order < to->order && reaches(c, to))
      return true;
  }
  return false;
}

/* the reader visits the state's entries in the order in which the writer stores them */
static bool same_walk(const FuseOp *reader, const FuseAccess *x, const FuseOp *writer) {
  if (reader->loop_count != writer->loop_count) return false;
  int64_t stride = 1, at[FUSE_MAX_LOOPS] = {0}, to[FUSE_MAX_LOOPS] = {0};
  for (int d = x->val->rank - 1; d >= 0; d--) {
    if (x->dim[d].loaded >= 0 || x->dim[d].base || x->dim[d].scan) return false;
    for (int t = 0; t < x->dim[d].count; t++) at[x->dim[d].loop[t]] += stride * x->dim[d].coef[t];
    stride *= x->val->shape[d];
  }
  if (x->val->axes) {
    for (int a = CELL_MAX_AXES - 1; a >= 0; a--) {
      if (!(x->val->axes & CELL_AXIS(a))) continue;
      const FuseIndex *i = &x->axis[a];
      if (i->loaded >= 0 || i->base || i->scan) return false;
      for (int t = 0; t < i->count; t++) at[i->loop[t]] += stride * i->coef[t];
      stride *= x->val->extent[a];
    }
  }
  stride = 1;
  for (int d = writer->out->rank - 1; d >= 0; d--) {
    if (writer->out_offset[d]) return false;
    if (writer->out_dim[d] >= 0) to[writer->out_dim[d]] = stride;
    stride *= writer->out->shape[d];
  }
  for (int a = CELL_MAX_AXES - 1; a >= 0; a--) {
    if (!(writer->out->axes & CELL_AXIS(a))) continue;
    if (writer->out_axis[a] >= 0) to[writer->out_axis[a]] = stride;
    stride *= writer->out->extent[a];
  }
  for (int l = 0; l < reader->loop_count; l++)
    if (at[l] != to[l] || reader->loops[l].extent != writer->loops[l].extent ||
        reader->loops[l].reduced)
      return false;
  return true;
}

static bool may_overwrite(InputReads *reads, FuseVal *val, const char *name) {
  const Fuse *f = reads->f;
  FuseOp *writer = val->producer_count == 1 ? val->producers[0] : NULL;
  if (!writer || writer->kind != FUSE_SCALAR || writer->region->scan) return false;
  while (reads->op_count < f->all_count)
    fuse_each_access(f->all[reads->op_count++], note_input, reads);
  for (int i = 0; i < reads->count; i++) {
    FuseOp *op = reads->list[i].op;
    const FuseAccess *x = reads->list[i].access;
    if (strcmp(x->val->name, name) != 0) continue;
    const FuseKernel *k = top_op(op)->kernel;
    if (k->level < writer->kernel->level) continue;
    if (k != writer->kernel || op->kind != FUSE_SCALAR || op->region->scan ||
        !reaches(op, writer) || !same_walk(op, x, writer))
      return false;
  }
  return true;
}

/* ---- a program ---- */

static void mark_global(FuseOp *op, FuseAccess *x, void *context) {
  (void)context;
  if (x->kind != FUSE_VALUE || x->val->pinned) return;
  for (int i = 0; i < x->val->producer_count; i++)
    if (top_op(x->val->producers[i])->kernel != top_op(op)->kernel) x->val->global = true;
}

typedef struct {
  const char *name;
  FuseVal *val;
} StateOutput;

static void emit_kernels(Fuse *f, FuseKernel **kernels, int count, CellPlanProgram *program) {
  for (int i = 0; i < count; i++) {
    int before = program->launch_count;
    fuse_emit(f, kernels[i], cell_arena_printf(f->plan->arena, "%s%d", program->name, before),
              program);
  }
}

static bool plan_program(Fuse *f, const CellGraph *program_graph, CellPlanProgram *program) {
  CellPlan *plan = f->plan;
  bool always = f->target->sparse == CELL_SPARSE_ALWAYS, sparse = f->m->sparse && always;
  if (f->target->sparse == CELL_SPARSE_WORTH)
    sparse = f->m->sparse && fuse_sparse_pays(program_graph);
  if (sparse) program_graph = fuse_sparse_terms(program_graph, always);
  const CellGraph *g = fuse_prepare(program_graph);
  FuseRegion *r = fuse_region(f, g, NULL, NULL);
  if (sparse) r->sparse = fuse_sparse_values(f->arena, g, NULL);
  StateOutput *states = CELL_NEW_ARRAY(f->arena, StateOutput, g->output_count + 1);
  int state_count = 0;
  for (int i = 0; i < g->output_count; i++) {
    const char *name = g->outputs[i].name;
    CellValue v = g->outputs[i].value;
    const CellNode *n = cell_node(g, v);
    bool state = is_state(f->m, name);
    if (state && n->op == CELL_OP_INPUT && strcmp(n->name, name) == 0) continue;
    FuseVal *val = direct_value(f, r, v);
    if (val && val->buffer >= 0) val = NULL;
    for (int s = 0; val && s < state_count; s++)
      if (states[s].val == val) val = NULL;
    if (!val) val = copied_value(f, r, v, name);
    val->global = true;
    if (state)
      states[state_count++] = (StateOutput){name, val};
    else
      val->buffer = add_buffer(plan, CELL_BUFFER_OUTPUT, val, name, f->program);
  }
  FuseKernel **kernels;
  int count = fuse_group(f, r, &kernels);
  for (int i = 0; i < f->all_count; i++) fuse_each_access(f->all[i], mark_global, NULL);

  // next states: over the old ones where nobody can notice, else by a copy at the end
  FuseRegion *last = fuse_region(f, g, NULL, NULL);
  InputReads reads = {.f = f};
  for (int i = 0; i < state_count; i++) {
    FuseVal *val = states[i].val;
    if (may_overwrite(&reads, val, states[i].name)) {
      val->buffer = state_buffer(plan, val, states[i].name);
      continue;
    }
    FuseVal *to = fuse_new_val(f, val->dtype, val->rank, val->shape, val->axes, g, states[i].name);
    to->buffer = state_buffer(plan, val, states[i].name);
    to->global = true;
    // the copy reads the value through a node of its own shape
    CellValue v = cell_find_output(g, states[i].name);
    while (cell_node(g, v)->op == CELL_OP_RESHAPE && r->vals[v] != val)
      v = cell_node(g, v)->args[0];
    last->vals[v] = val;
    fuse_copy_op(f, last, v, to);
  }
  emit_kernels(f, kernels, count, program);
  if (last->op_count) {
    // values of the first part are inputs here: their kernels have run
    count = fuse_group(f, last, &kernels);
    emit_kernels(f, kernels, count, program);
  }
  cell_plan_stages(plan, program, f->target->stages);
  return true;
}

CellPlan *cell_plan_create(CellArena *arena, const CellModule *m, const CellTarget *target,
                           const CellPlanOptions *options, CellDiag *diag) {
  CellPlan *plan = CELL_NEW(arena, CellPlan);
  plan->arena = arena;
  plan->guard_bytes = options ? options->guard_bytes : 0;
  plan->program_count = m->program_count;
  plan->programs = CELL_NEW_ARRAY(arena, CellPlanProgram, m->program_count);
  for (int i = 0; i < m->program_count; i++) {
    CellArena *scratch = cell_arena_create_for((size_t)m->programs[i]->node_count * 4096);
    Fuse f = {.arena = scratch, .m = m, .target = target, .plan = plan, .program = i, .diag = diag};
    plan->programs[i].name = m->programs[i]->name;
    bool fine = plan_program(&f, m->programs[i], &plan->programs[i]);
    // names of temporaries were made in the scratch arena
    for (int b = 0; b < plan->buffer_count; b++)
      plan->buffers[b].name =
          cell_arena_strdup(arena, plan->buffers[b].name ? plan->buffers[b].name : "");
    for (int k = 0; k < plan->kernel_count; k++)
      for (int s = 0; s < plan->kernels[k]->scratch_count; s++) {
        const char *name = plan->kernels[k]->scratch[s].name;
        plan->kernels[k]->scratch[s].name = cell_arena_strdup(arena, name ? name : "");
      }
    cell_arena_destroy(scratch);
    if (!fine) return NULL;
  }
  for (int k = 0; k < plan->kernel_count; k++)
    if (plan->kernels[k]->scratch_bytes > plan->scratch_bytes)
      plan->scratch_bytes = plan->kernels[k]->scratch_bytes;
  return cell_plan_layout(plan, options, diag) ? plan : NULL;
}
