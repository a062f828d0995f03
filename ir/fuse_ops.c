/* fuse_ops.c - from graph nodes to ops with named loops, in topological order. Loops of extent 1 do not exist.
 *
 * A product is a CONTRACT statement (an anchor) where a parameter meets values of the batch, or where the batch
 * is summed into a matrix; every other product is an ordinary nest. */
#include <string.h>

#include "ir/fuse.h"

enum {
  SHORT_CONCAT = 8, /* entries of a concat that products read as a whole */
  LARGE_MATRIX =
      1 << 18 /* entries of a matrix that is read from memory: once, for all rows of the other */
};

FuseVal *fuse_new_val(Fuse *f, CellDtype dtype, int rank, const int32_t *shape, uint32_t axes,
                      const CellGraph *g, const char *name) {
  FuseVal *val = CELL_NEW(f->arena, FuseVal);
  val->dtype = dtype, val->rank = rank, val->axes = axes, val->name = name;
  for (int i = 0; i < rank; i++) val->shape[i] = shape[i];
  for (int a = 0; g && a < g->axis_count; a++) val->extent[a] = g->axes[a].extent;
  val->buffer = val->scratch = -1;
  for (int i = 0; i < FUSE_UNROLL; i++) val->reg[i] = -1;
  return val;
}

FuseVal *fuse_node_val(Fuse *f, FuseRegion *r, CellValue v, const char *name) {
  const CellNode *n = cell_node(r->g, v);
  FuseVal *val = fuse_new_val(f, n->dtype, n->rank, n->shape, n->axes, r->g, name);
  val->sparse = r->sparse && r->sparse[v];
  return val;
}

int64_t fuse_val_count(const FuseVal *val) {
  int64_t count = 1;
  for (int d = 0; d < val->rank; d++) count *= val->shape[d];
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (val->axes & CELL_AXIS(a)) count *= val->extent[a];
  return count;
}

static FuseOp *new_op(Fuse *f, FuseRegion *r, FuseKind kind, const CellNode *node, FuseVal *out) {
  FuseOp *op = CELL_NEW(f->arena, FuseOp);
  op->kind = kind, op->node = node, op->region = r->into ? r->into : r, op->out = out;
  op->scalar = CELL_OP_COUNT;
  op->lane = op->task = -1;
  op->loop_m = op->loop_n = op->loop_k = -1;
  for (int i = 0; i < CELL_MAX_AXES; i++) op->out_axis[i] = -1;
  for (int i = 0; i < CELL_MAX_RANK; i++) op->out_dim[i] = -1;
  return op;
}

static int add_loop(FuseOp *op, int32_t extent, int axis, bool reduced) {
  if (extent == 1) return -1;
  CELL_ASSERT(op->loop_count < FUSE_MAX_LOOPS);
  op->loops[op->loop_count] = (FuseLoop){.extent = extent, .axis = axis, .reduced = reduced};
  return op->loop_count++;
}

/* loops over the axes of `mask`; where[a] is the loop of axis a */
static void add_axes(FuseOp *op, const CellGraph *g, uint32_t mask, bool reduced, int *where) {
  for (int a = 0; a < g->axis_count; a++)
    if (mask & CELL_AXIS(a)) where[a] = add_loop(op, g->axes[a].extent, a, reduced);
}

static void visit_accesses(FuseOp *op, FuseVisit visit, void *context) {
  for (int i = 0; i < op->arg_count; i++) visit(op, &op->args[i], context);
  for (int i = 0; i < op->segment_count; i++) {
    visit(op, &op->segments[i].a, context);
    visit(op, &op->segments[i].b, context);
  }
}
void fuse_each_access(FuseOp *op, FuseVisit visit, void *context) {
  visit_accesses(op, visit, context);
}

static void consume(FuseOp *op, FuseAccess *access, void *context) {
  Fuse *f = context;
  if (access->kind != FUSE_VALUE) return;
  FuseVal *val = access->val;
  for (int i = 0; i < val->consumer_count; i++)
    if (val->consumers[i] == op) return;
  CELL_PUSH(f->arena, val->consumers, val->consumer_count, val->consumer_capacity, op);
}

static void finish_op(Fuse *f, FuseOp *op) {
  FuseRegion *r = op->region;
  op->order = f->order++;
  for (int i = 0; i < op->loop_count; i++) op->loops[i].cls = fuse_new_class(f, op);
  if (op->out)
    CELL_PUSH(f->arena, op->out->producers, op->out->producer_count, op->out->producer_capacity,
              op);
  visit_accesses(op, consume, f);
  CELL_PUSH(f->arena, r->ops, r->op_count, r->op_capacity, op);
  CELL_PUSH(f->arena, f->all, f->all_count, f->all_capacity, op);
}

/* ---- one op a node ---- */

static void out_loops(FuseOp *op, const CellGraph *g, const CellNode *n) {
  for (int a = 0; a < CELL_MAX_AXES; a++) op->out_axis[a] = -1;
  add_axes(op, g, n->axes, false, op->out_axis);
  for (int d = 0; d < n->rank; d++) op->out_dim[d] = add_loop(op, n->shape[d], -1, false);
}

static void make_elementwise(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  FuseOp *op = new_op(f, r, FUSE_SCALAR, n, r->vals[v]);
  op->scalar = n->op;
  out_loops(op, r->g, n);
  op->arg_count = n->arg_count;
  op->args = CELL_NEW_ARRAY(f->arena, FuseAccess, n->arg_count);
  for (int i = 0; i < n->arg_count; i++)
    op->args[i] = fuse_read(f, r, n->args[i], op->out_axis, op->out_dim);
  finish_op(f, op);
}

FuseOp *fuse_copy_op(Fuse *f, FuseRegion *r, CellValue v, FuseVal *out) {
  const CellNode *n = cell_node(r->g, v);
  FuseOp *op = new_op(f, r, FUSE_SCALAR, n, out);
  if (out->dtype == CELL_BITS) out->dtype = CELL_F;
  // a carry may vary over more axes than what it starts from
  int loops[CELL_MAX_AXES];
  for (int a = 0; a < CELL_MAX_AXES; a++) loops[a] = -1;
  add_axes(op, r->g, out->axes, false, op->out_axis);
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (n->axes & CELL_AXIS(a)) loops[a] = op->out_axis[a];
  for (int d = 0; d < n->rank; d++) op->out_dim[d] = add_loop(op, n->shape[d], -1, false);
  op->arg_count = 1;
  op->args = CELL_NEW(f->arena, FuseAccess);
  // the view itself may be what is copied: follow it, not a value that stands for it
  FuseVal *own = r->vals[v];
  if (own == out) r->vals[v] = NULL;
  op->args[0] = fuse_read(f, r, v, loops, op->out_dim);
  if (own == out) r->vals[v] = own;
  finish_op(f, op);
  return op;
}

static void make_take(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v), *a = cell_node(r->g, n->args[0]);
  FuseOp *op = new_op(f, r, FUSE_SCALAR, n, r->vals[v]);
  out_loops(op, r->g, n);
  op->arg_count = 2;
  op->args = CELL_NEW_ARRAY(f->arena, FuseAccess, 2);
  // args[0] is what is read, args[1] the index
  FuseIndex axis[CELL_MAX_AXES], dim[CELL_MAX_RANK];
  for (int i = 0; i < CELL_MAX_AXES; i++) axis[i] = fuse_index_loop(op->out_axis[i]);
  for (int i = 0; i < CELL_MAX_RANK; i++) dim[i] = fuse_index_const(0);
  int at = 0;
  for (int d = 0; d < a->rank; d++)
    if (n->dim != d) dim[d] = fuse_index_loop(op->out_dim[at++]);
  FuseIndex loaded = fuse_index_const(0);
  loaded.loaded = 1;
  if (n->dim >= 0)
    dim[n->dim] = loaded;
  else
    axis[n->axis] = loaded;
  int none[CELL_MAX_RANK] = {-1, -1, -1, -1};
  op->args[1] = fuse_read(f, r, n->args[1], op->out_axis, none);
  if (op->args[1].kind == FUSE_POSITION && op->args[1].axis[0].loaded < 0) {
    // an index that is a loop is no load
    if (n->dim >= 0)
      dim[n->dim] = op->args[1].axis[0];
    else
      axis[n->axis] = op->args[1].axis[0];
    op->arg_count = 1;
  }
  op->args[0] = fuse_follow(f, r, n->args[0], axis, dim);
  finish_op(f, op);
}

static void make_one_hot(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  FuseOp *op = new_op(f, r, FUSE_ONE_HOT, n, r->vals[v]);
  out_loops(op, r->g, n);
  op->arg_count = 1;
  op->args = CELL_NEW(f->arena, FuseAccess);
  op->args[0] = fuse_read(f, r, n->args[0], op->out_axis, op->out_dim);
  finish_op(f, op);
}

/* one op an entry: bit i is an exact expression of constants */
static void make_sign_bits(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  for (int i = 0; i < n->shape[n->rank - 1]; i++) {
    FuseOp *op = new_op(f, r, FUSE_BIT, n, r->vals[v]);
    op->bit = i;
    add_axes(op, r->g, n->axes, false, op->out_axis);
    for (int d = 0; d < n->rank - 1; d++) op->out_dim[d] = add_loop(op, n->shape[d], -1, false);
    op->out_offset[n->rank - 1] = i;
    op->arg_count = 1;
    op->args = CELL_NEW(f->arena, FuseAccess);
    op->args[0] = fuse_read(f, r, n->args[0], op->out_axis, op->out_dim);
    finish_op(f, op);
  }
}

static void make_reduce(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v), *a = cell_node(r->g, n->args[0]);
  FuseOp *op = new_op(f, r, FUSE_REDUCE, n, r->vals[v]);
  op->reduce = n->reduce;
  out_loops(op, r->g, n);
  int axis[CELL_MAX_AXES], dim[CELL_MAX_RANK], at = 0;
  memcpy(axis, op->out_axis, sizeof axis);
  add_axes(op, r->g, n->over, true, axis);
  for (int d = 0; d < a->rank; d++)
    dim[d] = n->dims >> d & 1 ? add_loop(op, a->shape[d], -1, true) : op->out_dim[at++];
  op->arg_count = 1;
  op->args = CELL_NEW(f->arena, FuseAccess);
  op->args[0] = fuse_read(f, r, n->args[0], axis, dim);
  finish_op(f, op);
}

/* the loop of each axis and dimension of a contract's operands; what is summed gets loops of its own, or the
 * loop `inner` that an earlier product of the same sum has */
static void contract_loops(FuseOp *op, FuseRegion *r, const CellNode *n, int inner, int *axis,
                           int dims[2][CELL_MAX_RANK]) {
  int loops[128];
  for (int i = 0; i < 128; i++) loops[i] = -2;
  for (int d = 0; d < n->rank; d++) loops[(unsigned char)n->labels[2][d] & 127] = op->out_dim[d];
  memcpy(axis, op->out_axis, CELL_MAX_AXES * sizeof *axis);
  add_axes(op, r->g, n->over, true, axis);
  for (int i = 0; i < 2; i++) {
    const CellNode *a = cell_node(r->g, n->args[i]);
    for (int d = 0; d < a->rank; d++) {
      int *slot = &loops[(unsigned char)n->labels[i][d] & 127];
      if (*slot == -2) *slot = inner >= 0 ? inner : add_loop(op, a->shape[d], -1, true);
      dims[i][d] = *slot;
    }
  }
}

/* an operand's axes beyond its own are not read */
static FuseAccess contract_operand(Fuse *f, FuseRegion *r, CellValue v, const int *axis,
                                   const int *dims) {
  int own[CELL_MAX_AXES];
  for (int a = 0; a < CELL_MAX_AXES; a++)
    own[a] = cell_node(r->g, v)->axes & CELL_AXIS(a) ? axis[a] : -1;
  return fuse_read(f, r, v, own, dims);
}

static FuseAccess read_number(FuseVal *val) {
  FuseAccess x = {.kind = FUSE_VALUE, .val = val};
  for (int a = 0; a < CELL_MAX_AXES; a++) x.axis[a] = fuse_index_const(0);
  for (int d = 0; d < CELL_MAX_RANK; d++) x.dim[d] = fuse_index_const(0);
  return x;
}

/* A sum over all of a matrix that several products make, each a piece of it: a sum of each piece, then of those,
 * so that every product can sum up its own (fuse_sums.c). */
static bool make_sum_of_pieces(Fuse *f, FuseRegion *r, FuseOp *op) {
  FuseVal *val = op->args[0].kind == FUSE_VALUE ? op->args[0].val : NULL;
  if (!fuse_in_steps(f) || op->out->rank || op->out->axes || op->loop_count != 2 || !val ||
      val->producer_count < 2 || val->rank != 2 || val->axes)
    return false;
  for (int i = 0; i < op->arg_count; i++)
    for (int d = 0; d < 2; d++)
      if (op->args[i].kind != FUSE_VALUE || op->args[i].val != val ||
          !fuse_is_loop(&op->args[i].dim[d], d))
        return false;
  for (int i = 0; i < val->producer_count; i++)
    if (val->producers[i]->kind != FUSE_CONTRACT) return false;
  FuseVal *sum = NULL;
  for (int i = 0; i < val->producer_count; i++) {
    const FuseOp *p = val->producers[i];
    FuseOp *piece = new_op(f, r, FUSE_REDUCE, op->node, NULL);
    *piece = *op;
    piece->out = fuse_new_val(f, CELL_F, 0, NULL, 0, NULL, op->out->name);
    piece->args = CELL_NEW_ARRAY(f->arena, FuseAccess, op->arg_count);
    for (int a = 0; a < op->arg_count; a++) {
      piece->args[a] = op->args[a];
      for (int d = 0; d < 2; d++) piece->args[a].dim[d].base = p->out_offset[d];
    }
    for (int d = 0; d < 2; d++) piece->loops[d].extent = p->loops[p->out_dim[d]].extent;
    finish_op(f, piece);
    if (!sum) {
      sum = piece->out;
      continue;
    }
    bool last = i + 1 == val->producer_count;
    FuseVal *out = last ? op->out : fuse_new_val(f, CELL_F, 0, NULL, 0, NULL, op->out->name);
    FuseOp *add = new_op(f, r, FUSE_SCALAR, op->node, out);
    add->scalar = CELL_OP_ADD;
    add->arg_count = 2;
    add->args = CELL_NEW_ARRAY(f->arena, FuseAccess, 2);
    add->args[0] = read_number(sum), add->args[1] = read_number(piece->out);
    finish_op(f, add);
    sum = out;
  }
  return true;
}

static void make_nest_contract(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  FuseOp *op = new_op(f, r, FUSE_REDUCE, n, r->vals[v]);
  op->reduce = CELL_SUM;
  int axis[CELL_MAX_AXES], dims[2][CELL_MAX_RANK];
  out_loops(op, r->g, n);
  contract_loops(op, r, n, -1, axis, dims);
  op->arg_count = 2;
  op->args = CELL_NEW_ARRAY(f->arena, FuseAccess, 2);
  for (int i = 0; i < 2; i++) op->args[i] = contract_operand(f, r, n->args[i], axis, dims[i]);
  if (!make_sum_of_pieces(f, r, op)) finish_op(f, op);
}

/* a product of two matrices that no sample has, worth the micro-kernel */
static bool is_matrix_product(const CellGraph *g, const CellNode *n) {
  const CellNode *a = cell_node(g, n->args[0]), *b = cell_node(g, n->args[1]);
  if (n->axes || n->over || n->rank != 2 || a->rank != 2 || b->rank != 2 || a->axes || b->axes)
    return false;
  int summed = 0;
  for (int i = 0; i < 2; i++) {
    if (a->shape[i] < 2 || b->shape[i] < 2) return false;
    summed += strchr(n->labels[2], n->labels[0][i]) == NULL;
  }
  return summed == 1 &&
         (cell_count(g, n->args[0]) >= LARGE_MATRIX || cell_count(g, n->args[1]) >= LARGE_MATRIX);
}

/* Whether a contract is done by the micro-kernel over a whole tile (an anchor), and which of its loops are
 * rows, columns and inner: either a parameter against values of the batch, a sum over the batch with a
 * matrix as its result, or two matrices that do not vary. Everything else is an ordinary nest. */
static bool anchor(const Fuse *f, const FuseRegion *r, const CellNode *n, bool *weight,
                   int *param) {
  const CellGraph *g = r->g;
  const CellNode *a = cell_node(g, n->args[0]), *b = cell_node(g, n->args[1]);
  *weight = false;
  if (n->over & CELL_AXIS(CELL_AXIS_BATCH)) {
    // dW[i, j] = sum over the batch of a[i] b[j]
    if (n->axes || n->rank != 2 || a->rank != 1 || b->rank != 1) return false;
    if (a->axes != b->axes || n->over != a->axes) return false;
    *weight = true;
    return n->shape[0] > 1 && n->shape[1] > 1;
  }
  if (n->over) return false;
  if (f->target->anchor_rows == 0 && is_matrix_product(r->g, n)) {
    // the rows of the result that tasks are cut from are those of the larger operand
    *param = cell_count(g, n->args[0]) < cell_count(g, n->args[1]);
    return true;
  }
  for (int i = 0; i < 2; i++) {
    const CellNode *p = i ? b : a, *x = i ? a : b;
    if (p->axes || p->rank != 2 || !(x->axes & CELL_AXIS(CELL_AXIS_BATCH)) || x->rank < 1) continue;
    // one label of the parameter is summed, the other is the result's
    int in0 = strchr(n->labels[2], n->labels[i][0]) != NULL,
        in1 = strchr(n->labels[2], n->labels[i][1]) != NULL;
    if (in0 == in1) continue;
    char row = n->labels[i][in0 ? 0 : 1];
    if (strchr(n->labels[1 - i], row)) continue;
    if ((int64_t)p->shape[0] * p->shape[1] < 64 || p->shape[0] == 1 || p->shape[1] == 1) continue;
    *param = i;
    return true;
  }
  return false;
}

/* the plan's buffer of a value whose entries are all this number */
static int constant_buffer(CellPlan *plan, const FuseVal *val, double number) {
  CellBuffer b = {.name = val->name,
                  .kind = CELL_BUFFER_CONSTANT,
                  .dtype = CELL_F,
                  .count = fuse_val_count(val),
                  .program = -1,
                  .first = -1,
                  .last = -1,
                  .number = number};
  for (int i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind == b.kind && plan->buffers[i].count == b.count &&
        plan->buffers[i].number == number)
      return i;
  CELL_PUSH(plan->arena, plan->buffers, plan->buffer_count, plan->buffer_capacity, b);
  return plan->buffer_count - 1;
}

/* An operand of a product. Bits select rows of the other operand where `select` says that they lie along the
 * result's last dimension; else they are expanded once, by a copy that all products share. */
static FuseAccess product_operand(Fuse *f, FuseRegion *r, CellValue v, const int *axis,
                                  const int *dims, bool select) {
  FuseAccess x = contract_operand(f, r, v, axis, dims);
  // a scan that is written out starts from a constant: products read it like any other carry, from a buffer that
  // holds it from the start
  bool constant = x.kind == FUSE_CONSTANT && fuse_in_steps(f) && !r->vals[v] && r->step_of;
  if (!constant && (x.kind != FUSE_VALUE || x.val->dtype != CELL_BITS || select)) return x;
  if (!r->floats[v] && constant) {
    r->floats[v] = fuse_node_val(f, r, v, "constant");
    r->floats[v]->global = true;
    r->floats[v]->buffer = constant_buffer(f->plan, r->floats[v], x.number);
  } else if (!r->floats[v]) {
    r->floats[v] = fuse_node_val(f, r, v, cell_arena_printf(f->arena, "%%%d as floats", v));
    fuse_copy_op(f, r, v, r->floats[v]);
  }
  FuseVal *own = r->vals[v];
  r->vals[v] = r->floats[v];
  x = contract_operand(f, r, v, axis, dims);
  r->vals[v] = own;
  return x;
}

/* operand pieces along the loop `loop`: the operands of a concat, or the whole */
typedef struct {
  FuseAccess access;
  int32_t begin, extent;
} Piece;

static int pieces(Fuse *f, FuseRegion *r, CellValue v, const int *axis, const int *dims, int loop,
                  bool select, Piece *out, int room) {
  const CellNode *n = cell_node(r->g, v);
  // a product each would cost more than to copy a few entries
  bool along = n->op == CELL_OP_CONCAT && !r->vals[v] && n->arg_count <= room &&
               dims[n->dim] == loop && loop >= 0 && n->shape[n->dim] > SHORT_CONCAT;
  if (!along) {
    out[0].access = product_operand(f, r, v, axis, dims, select);
    out[0].begin = 0, out[0].extent = -1;
    return 1;
  }
  int count = 0;
  int32_t at = 0;
  for (int i = 0; i < n->arg_count; i++) {
    const CellNode *a = cell_node(r->g, n->args[i]);
    out[count].access = product_operand(f, r, n->args[i], axis, dims, select);
    out[count].begin = at, out[count].extent = a->shape[n->dim];
    at += a->shape[n->dim];
    count++;
  }
  return count;
}

/* every read index of a view must be plain: strides only, no loaded values, no merged loops */
static bool plain(const FuseAccess *x) {
  if (x->kind != FUSE_VALUE || x->val->dtype == CELL_I) return false;
  for (int d = 0; d < x->val->rank; d++)
    if (x->dim[d].loaded >= 0) return false;
  for (int a = 0; a < CELL_MAX_AXES; a++)
    if (x->axis[a].loaded >= 0) return false;
  return true;
}

static bool is_bits(const FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  while (fuse_is_view(n->op)) n = cell_node(r->g, n->args[0]);
  return n->dtype == CELL_BITS;
}

/* x from entry `begin` of a loop on */
static void begin_at(FuseAccess *x, int loop, int64_t begin) {
  FuseIndex by = fuse_index_const(begin);
  for (int d = 0; d < x->val->rank; d++)
    if (x->dim[d].count == 1 && x->dim[d].loop[0] == loop)
      fuse_index_add(&x->dim[d], &by, x->dim[d].coef[0]);
}

/* The segments of one product, appended to the op's. False if an operand is not plain; the op is then
 * not usable. */
static bool add_product(Fuse *f, FuseRegion *r, FuseOp *op, const CellNode *n, bool weight,
                        int param) {
  int axis[CELL_MAX_AXES], dims[2][CELL_MAX_RANK];
  contract_loops(op, r, n, op->loop_k, axis, dims);
  enum { ROOM = 32 };
  Piece a[ROOM], b[ROOM];
  int na, nb;
  int32_t k;
  if (weight) {
    // rows, which tasks are cut from: the entries of an operand that is bits, else of one that is no
    // concat; columns: the other's; inner: the batch
    int row = is_bits(r, n->args[1]) || cell_node(r->g, n->args[0])->op == CELL_OP_CONCAT;
    if (is_bits(r, n->args[0])) row = 0;
    int column = 1 - row;
    op->loop_m = dims[row][0], op->loop_n = dims[column][0], op->loop_k = axis[CELL_AXIS_BATCH];
    k = op->loop_k < 0 ? 1 : op->loops[op->loop_k].extent;
    bool select = op->out_dim[1] == op->loop_n;
    na = pieces(f, r, n->args[row], axis, dims[row], -1, select, a, ROOM);
    nb = pieces(f, r, n->args[column], axis, dims[column], op->loop_n, false, b, ROOM);
  } else if (!cell_node(r->g, n->args[1 - param])->axes) {
    // rows, which tasks are cut from: those of the larger matrix; columns: the other's
    int free[2];
    for (int i = 0; i < 2; i++) free[i] = strchr(n->labels[2], n->labels[i][0]) ? 0 : 1;
    op->loop_m = dims[param][free[param]], op->loop_n = dims[1 - param][free[1 - param]];
    op->loop_k = dims[param][1 - free[param]];
    k = cell_node(r->g, n->args[param])->shape[1 - free[param]];
    na = nb = 1;
    a[0] = (Piece){contract_operand(f, r, n->args[param], axis, dims[param]), 0, -1};
    b[0] = (Piece){contract_operand(f, r, n->args[1 - param], axis, dims[1 - param]), 0, -1};
  } else {
    // rows: the batch; columns: the parameter's free dimension; inner: the other
    int free_dim = strchr(n->labels[2], n->labels[param][0]) ? 0 : 1;
    op->loop_m = axis[CELL_AXIS_BATCH], op->loop_n = dims[param][free_dim];
    op->loop_k = dims[param][1 - free_dim];
    k = cell_node(r->g, n->args[param])->shape[1 - free_dim];
    bool select = free_dim == 1;
    na = pieces(f, r, n->args[1 - param], axis, dims[1 - param], op->loop_k, select, a, ROOM);
    nb = 1;
    b[0].access = contract_operand(f, r, n->args[param], axis, dims[param]);
    b[0].begin = 0, b[0].extent = -1;
  }
  for (int i = 0; i < na; i++)
    if (!plain(&a[i].access)) return false;
  for (int i = 0; i < nb; i++)
    if (!plain(&b[i].access)) return false;
  int32_t m = op->loop_m < 0 ? 1 : op->loops[op->loop_m].extent,
          cols = op->loops[op->loop_n].extent;
  FuseSegment *before = op->segments;
  int first = op->segment_count;
  op->segments = CELL_NEW_ARRAY(f->arena, FuseSegment, first + na * nb);
  if (first) memcpy(op->segments, before, (size_t)first * sizeof *before);
  for (int i = 0; i < na; i++) {
    for (int j = 0; j < nb; j++) {
      FuseSegment *s = &op->segments[op->segment_count++];
      s->a = a[i].access, s->b = b[j].access;
      s->m_extent = m, s->n_extent = cols, s->k_extent = k;
      s->add = first > 0;
      if (weight) {
        if (a[i].extent >= 0) s->m_extent = a[i].extent, s->m_offset = a[i].begin;
        if (b[j].extent >= 0) s->n_extent = b[j].extent, s->n_offset = b[j].begin;
      } else if (a[i].extent >= 0) {
        // the parameter is read from the piece's first column on
        s->k_extent = a[i].extent;
        begin_at(&s->b, op->loop_k, a[i].begin);
        s->add |= i > 0;
      }
    }
  }
  return true;
}

/* Where a product is a launch, the pieces of a weight's gradient are one each, side by side. */
static bool make_pieces_of_weight(Fuse *f, FuseRegion *r, const FuseOp *whole) {
  if (!fuse_in_steps(f) || whole->segment_count < 2 || whole->out_dim[0] < 0 ||
      whole->out_dim[1] < 0)
    return false;
  for (int i = 0; i < whole->segment_count; i++)
    if (whole->segments[i].m_extent < 2 || whole->segments[i].n_extent < 2) return false;
  for (int i = 0; i < whole->segment_count; i++) {
    FuseOp *op = new_op(f, r, FUSE_CONTRACT, whole->node, whole->out);
    *op = *whole;
    FuseSegment *s = op->segments = &whole->segments[i];
    op->segment_count = 1;
    op->loops[op->loop_m].extent = s->m_extent, op->loops[op->loop_n].extent = s->n_extent;
    for (int d = 0; d < 2; d++)
      op->out_offset[d] = op->out_dim[d] == op->loop_m ? s->m_offset : s->n_offset;
    finish_op(f, op);
  }
  return true;
}

static bool make_anchor(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  bool weight;
  int param = 0;
  if (!anchor(f, r, n, &weight, &param)) return false;
  FuseOp *op = new_op(f, r, FUSE_CONTRACT, n, r->vals[v]);
  out_loops(op, r->g, n);
  if (!add_product(f, r, op, n, weight, param)) return false;
  if (!weight || !make_pieces_of_weight(f, r, op)) finish_op(f, op);
  return true;
}

/* the products that v adds up, if they may be accumulated in one place: nobody else reads them */
static int summands(const Fuse *f, const FuseRegion *r, CellValue v, const CellNode **out,
                    int count, int room) {
  const CellNode *n = cell_node(r->g, v);
  bool weight;
  int param;
  if (n->op == CELL_OP_ADD) {
    for (int i = 0; i < 2 && count >= 0; i++) {
      if (r->uses[n->args[i]] > 1 || r->vals[n->args[i]]) return -1;
      count = summands(f, r, n->args[i], out, count, room);
    }
    return count;
  }
  if (count == room || !anchor(f, r, n, &weight, &param) || weight || strlen(n->labels[2]) != 1)
    return -1;
  out[count] = n;
  return count + 1;
}

/* a product of two matrices, added to each segment of a gradient */
static bool add_gradient_terms(Fuse *f, FuseRegion *r, FuseOp *op, const CellNode *n) {
  int axis[CELL_MAX_AXES], dims[2][CELL_MAX_RANK], row = 0;
  contract_loops(op, r, n, op->loop_k, axis, dims);
  if (dims[1][0] == op->loop_m || dims[1][1] == op->loop_m) row = 1;
  FuseAccess a = contract_operand(f, r, n->args[row], axis, dims[row]),
             b = contract_operand(f, r, n->args[1 - row], axis, dims[1 - row]);
  if (!plain(&a) || !plain(&b)) return false;
  int inner = dims[row][0] == op->loop_m ? 1 : 0, count = op->segment_count;
  FuseSegment *segments = CELL_NEW_ARRAY(f->arena, FuseSegment, 2 * count);
  for (int i = 0; i < count; i++) {
    FuseSegment *s = &segments[i], *t = &segments[count + i];
    *s = *t = op->segments[i];
    t->a = a, t->b = b, t->add = true;
    t->k_extent = cell_node(r->g, n->args[row])->shape[inner];
    begin_at(&t->a, op->loop_m, s->m_offset), begin_at(&t->b, op->loop_n, s->n_offset);
  }
  op->segments = segments, op->segment_count = 2 * count;
  return true;
}

static bool make_gradient_sum(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  // where a product is a launch there are no zeros to leave out
  if (!fuse_is_gradient_sum(r->g, v) || f->target->anchor_rows > 0) return false;
  for (int i = 0; i < 2; i++)
    if (r->uses[n->args[i]] > 1 || r->vals[n->args[i]]) return false;
  const CellNode *product = cell_node(r->g, n->args[0]);
  bool weight;
  int param = 0;
  if (!anchor(f, r, product, &weight, &param)) return false;
  FuseOp *op = new_op(f, r, FUSE_CONTRACT, n, r->vals[v]);
  out_loops(op, r->g, n);
  if (!add_product(f, r, op, product, true, 0)) return false;
  if (op->loop_k < 0 || !add_gradient_terms(f, r, op, cell_node(r->g, n->args[1]))) return false;
  finish_op(f, op);
  return true;
}

/* a sum of products: one op, the first product stored, the others added to it */
static bool make_sum_of_products(Fuse *f, FuseRegion *r, CellValue v) {
  enum { ROOM = 16 };
  const CellNode *products[ROOM];
  if (!fuse_is_product_sum(r->g, v)) return false;
  int count = summands(f, r, v, products, 0, ROOM);
  if (count < 2) return false;
  FuseOp *op = new_op(f, r, FUSE_CONTRACT, cell_node(r->g, v), r->vals[v]);
  out_loops(op, r->g, cell_node(r->g, v));
  for (int i = 0; i < count; i++) {
    bool weight;
    int param = 0;
    anchor(f, r, products[i], &weight, &param);
    if (!add_product(f, r, op, products[i], false, param)) return false;
  }
  finish_op(f, op);
  return true;
}

/* a concat or pad: one copy a piece */
static void make_pieces(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  int32_t at = 0;
  int count = n->op == CELL_OP_PAD ? 3 : n->arg_count;
  for (int i = 0; i < count; i++) {
    CellValue a = n->op == CELL_OP_PAD ? n->args[0] : n->args[i];
    const CellNode *an = cell_node(r->g, a);
    int32_t extent = an->shape[n->dim];
    bool zeros = n->op == CELL_OP_PAD && i != 1;
    if (zeros) extent = i == 0 ? n->begin : n->end;
    if (extent == 0) continue;
    FuseOp *op = new_op(f, r, FUSE_SCALAR, n, r->vals[v]);
    add_axes(op, r->g, n->axes, false, op->out_axis);
    for (int d = 0; d < n->rank; d++)
      op->out_dim[d] = add_loop(op, d == n->dim ? extent : n->shape[d], -1, false);
    op->out_offset[n->dim] = at;
    op->arg_count = 1;
    op->args = CELL_NEW(f->arena, FuseAccess);
    if (zeros)
      op->args[0] = (FuseAccess){.kind = FUSE_CONSTANT, .number = 0};
    else
      op->args[0] = contract_operand(f, r, a, op->out_axis, op->out_dim);
    finish_op(f, op);
    at += extent;
  }
}

static void make_scan(Fuse *f, FuseRegion *r, CellValue v) {
  const CellNode *n = cell_node(r->g, v);
  FuseOp *op = new_op(f, r, FUSE_SCAN, n, NULL);
  while (n->over != CELL_AXIS(op->axis)) op->axis++;
  op->carry_count = n->carry_count;
  op->carries = CELL_NEW_ARRAY(f->arena, FuseVal *, n->carry_count);
  bool *sparse = r->sparse ? fuse_sparse_carries(f->arena, r->g, n) : NULL;
  for (int i = 0; i < n->carry_count; i++) {
    char name[32];
    snprintf(name, sizeof name, "carry%d", i);
    CellValue in = cell_find_input(n->body, name), out = cell_find_output(n->body, name);
    const CellNode *o = cell_node(n->body, out);
    uint32_t axes = o->axes | cell_node(r->g, n->args[i])->axes;
    if (in != CELL_NONE) axes |= cell_node(n->body, in)->axes;
    axes &= ~CELL_AXIS(op->axis);
    op->carries[i] = fuse_new_val(f, o->dtype == CELL_I ? CELL_I : CELL_F, o->rank, o->shape, axes,
                                  r->g, cell_arena_printf(f->arena, "carry %d", i));
    op->carries[i]->pinned = true;
    op->carries[i]->sparse = sparse && sparse[i];
    op->carries[i]->from_zero = fuse_is_zero(r->g, n->args[i]);
    fuse_copy_op(f, r, n->args[i], op->carries[i]);
  }
  op->body = fuse_region(f, n->body, r, op);
  if (sparse) op->body->sparse = fuse_sparse_values(f->arena, n->body, sparse);
  FuseRegion *body = op->body;
  // results first, all of them, then the copies: a carry may read another's old value
  FuseVal **next = CELL_NEW_ARRAY(f->arena, FuseVal *, n->carry_count);
  for (int i = 0; i < n->carry_count; i++) {
    CellValue out = cell_find_output(
        n->body, op->carries[i]->name ? cell_arena_printf(f->arena, "carry%d", i) : "");
    const CellNode *o = cell_node(n->body, out);
    if (fuse_is_view(o->op) || o->op == CELL_OP_INPUT || o->op == CELL_OP_CONST ||
        o->op == CELL_OP_RANGE || o->op == CELL_OP_AXIS_INDEX) {
      next[i] = fuse_node_val(f, body, out, NULL);
      fuse_copy_op(f, body, out, next[i]);
    } else {
      next[i] = fuse_val(f, body, out);
    }
  }
  int ops = body->op_count;
  for (int i = 0; i < n->carry_count; i++) {
    CellValue out = cell_find_output(n->body, cell_arena_printf(f->arena, "carry%d", i));
    FuseVal *own = body->vals[out];
    body->vals[out] = next[i];
    FuseOp *copy = fuse_copy_op(f, body, out, op->carries[i]);
    body->vals[out] = own;
    CELL_PUSH(f->arena, body->after, body->after_count, body->after_capacity, copy);
  }
  body->op_count = ops;
  finish_op(f, op);
  // the scan writes every carry again and reads what it starts from
  for (int i = 0; i < op->carry_count; i++) {
    FuseVal *c = op->carries[i];
    CELL_PUSH(f->arena, c->producers, c->producer_count, c->producer_capacity, op);
    CELL_PUSH(f->arena, c->consumers, c->consumer_count, c->consumer_capacity, op);
  }
}

void fuse_make_fold(Fuse *f, FuseOp *op, FuseVal *partials) {
  op->kind = FUSE_REDUCE, op->reduce = CELL_SUM, op->scalar = CELL_OP_COUNT;
  op->fold = true;
  op->loop_count = 0;
  int loop = add_loop(op, partials->shape[0], -1, true);
  if (loop >= 0) op->loops[loop].cls = fuse_new_class(f, op);
  op->arg_count = 1;
  op->args = CELL_NEW(f->arena, FuseAccess);
  op->args[0].kind = FUSE_VALUE, op->args[0].val = partials;
  for (int a = 0; a < CELL_MAX_AXES; a++) op->args[0].axis[a] = fuse_index_const(0);
  for (int d = 0; d < CELL_MAX_RANK; d++) op->args[0].dim[d] = fuse_index_const(0);
  op->args[0].dim[0] = fuse_index_loop(loop);
}

FuseOp *fuse_fold_op(Fuse *f, FuseRegion *r, FuseVal *partials, FuseVal *out) {
  FuseOp *op = new_op(f, r, FUSE_REDUCE, NULL, out);
  fuse_make_fold(f, op, partials);
  finish_op(f, op);
  return op;
}

FuseVal *fuse_val(Fuse *f, FuseRegion *r, CellValue v) {
  if (r->vals[v]) return r->vals[v];
  const CellNode *n = cell_node(r->g, v);
  if (n->op == CELL_OP_INPUT) {
    // the same tensor wherever it is read: a program has one value a name
    if (r->parent) {
      FuseRegion *top = r;
      while (top->parent) top = top->parent;
      CellValue outer = cell_find_input(top->g, n->name);
      if (outer != CELL_NONE) return r->vals[v] = fuse_val(f, top, outer);
      // read by a body alone: the program's table of buffers joins it by name
    }
    FuseVal *val = fuse_node_val(f, r, v, n->name);
    val->global = true;
    return r->vals[v] = val;
  }
  if (n->op == CELL_OP_RESULT && fuse_in_steps(f)) {
    FuseVal *val = fuse_node_val(f, r, v, cell_arena_printf(f->arena, "%%%d", v));
    fuse_copy_op(f, r, v, val);
    return r->vals[v] = val;
  }
  if (n->op == CELL_OP_RESULT) {
    CellValue scan = n->args[0];
    FuseOp *op = NULL;
    for (int i = 0; i < r->op_count && !op; i++)
      if (r->ops[i]->kind == FUSE_SCAN && r->ops[i]->node == cell_node(r->g, scan)) op = r->ops[i];
    if (!op) {
      make_scan(f, r, scan);
      op = r->ops[r->op_count - 1];
    }
    // a copy, so that a carry never outlives its kernel
    FuseVal *val = fuse_node_val(f, r, v, cell_arena_printf(f->arena, "%%%d", v));
    r->vals[v] = op->carries[n->begin];
    fuse_copy_op(f, r, v, val);
    return r->vals[v] = val;
  }
  FuseVal *val = r->vals[v] = fuse_node_val(f, r, v, NULL);
  val->name = cell_arena_printf(f->arena, "%%%d", v);
  if (n->dtype == CELL_BITS) val->dtype = CELL_F;
  if (cell_op_info[n->op].scalar) {
    if (!make_sum_of_products(f, r, v) && !make_gradient_sum(f, r, v)) make_elementwise(f, r, v);
  } else if (n->op == CELL_OP_TAKE)
    make_take(f, r, v);
  else if (n->op == CELL_OP_ONE_HOT)
    make_one_hot(f, r, v);
  else if (n->op == CELL_OP_SIGN_BITS)
    make_sign_bits(f, r, v);
  else if (n->op == CELL_OP_REDUCE)
    make_reduce(f, r, v);
  else if (n->op == CELL_OP_CONTRACT) {
    if (!make_anchor(f, r, v)) make_nest_contract(f, r, v);
  } else if (n->op == CELL_OP_CONCAT || n->op == CELL_OP_PAD)
    make_pieces(f, r, v);
  else
    cell_internal_error(__FILE__, __LINE__, "the kernels pass does not know %s",
                        cell_op_info[n->op].name);
  return val;
}

FuseRegion *fuse_region(Fuse *f, const CellGraph *g, FuseRegion *parent, FuseOp *scan) {
  FuseRegion *r = CELL_NEW(f->arena, FuseRegion);
  r->g = g, r->parent = parent, r->scan = scan;
  r->vals = CELL_NEW_ARRAY(f->arena, FuseVal *, g->node_count);
  r->floats = CELL_NEW_ARRAY(f->arena, FuseVal *, g->node_count);
  r->uses = CELL_NEW_ARRAY(f->arena, int, g->node_count);
  for (CellValue v = 0; v < g->node_count; v++)
    for (int i = 0; i < g->nodes[v].arg_count; i++) r->uses[g->nodes[v].args[i]]++;
  for (int i = 0; i < g->output_count; i++) r->uses[g->outputs[i].value]++;
  return r;
}
