/* prepare.c - the form of a graph that the kernels pass expects.
 *
 *   sink     a reshape, slice or transpose of an elementwise op becomes the op of the views, until views
 *            stand only on values that are stored:   reshape(add(a, b)) -> add(reshape a, reshape b);
 *            a sum of products is stored as one
 *   flat     elementwise work on whole parameters runs over one long loop, whatever their shape:
 *            mul(a[3,4], b[3,4]) -> reshape(mul(reshape a [12], reshape b [12]) [3,4])
 *
 * Broadcasts do not sink: they would repeat the work below them. Keeps values; requires a graph without
 * minimize entries. Idempotent but for `flat`, which comes last. */
#include "ir/fuse.h"

static bool is_elementwise(const CellNode *n) {
  return cell_op_info[n->op].scalar;
}

bool fuse_is_gradient_sum(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  if (n->op != CELL_OP_ADD || n->axes || n->rank != 2) return false;
  const CellNode *a = cell_node(g, n->args[0]), *b = cell_node(g, n->args[1]);
  return a->op == CELL_OP_CONTRACT && b->op == CELL_OP_CONTRACT && a->rank == 2 && b->rank == 2 &&
         a->over == CELL_AXIS(CELL_AXIS_BATCH) && !b->over && cell_node(g, b->args[0])->rank == 2 &&
         cell_node(g, b->args[1])->rank == 2;
}

bool fuse_is_product_sum(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  if (fuse_is_gradient_sum(g, v)) return true;
  if (n->op != CELL_OP_ADD) return false;
  for (int i = 0; i < 2; i++) {
    const CellNode *a = cell_node(g, n->args[i]);
    if (a->axes != n->axes || a->rank != n->rank) return false;
    if (a->op != CELL_OP_CONTRACT && !fuse_is_product_sum(g, n->args[i])) return false;
  }
  return (n->axes & CELL_AXIS(CELL_AXIS_BATCH)) != 0;
}

/* the view `like` of another value; rank-0 values stretch and need none */
static CellValue view_like(CellGraph *to, const CellNode *like, CellValue a) {
  if (cell_node(to, a)->rank == 0) return a;
  return cell_rebuild(to, like, &a);
}

static CellValue sink(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                      void *context) {
  bool *progress = context;
  const CellNode *n = cell_node(from, v);
  if (n->op == CELL_OP_STOP_GRADIENT) return args[0];
  if (n->op != CELL_OP_RESHAPE && n->op != CELL_OP_SLICE && n->op != CELL_OP_TRANSPOSE)
    return CELL_NONE;
  const CellNode *a = cell_node(to, args[0]);
  if (!is_elementwise(a) || a->rank == 0 || fuse_is_product_sum(to, args[0])) return CELL_NONE;
  CellValue moved[3] = {CELL_NONE, CELL_NONE, CELL_NONE},
            old[3] = {CELL_NONE, CELL_NONE, CELL_NONE};
  CellOp op = a->op;
  int count = a->arg_count;
  for (int i = 0; i < count; i++) old[i] = a->args[i];
  for (int i = 0; i < count; i++) moved[i] = view_like(to, n, old[i]);
  CellValue sunk = count == 1   ? cell_op1(to, op, moved[0])
                   : count == 2 ? cell_op2(to, op, moved[0], moved[1])
                                : cell_op3(to, op, moved[0], moved[1], moved[2]);
  // a slice of a concat may be of the one piece that does not vary over an axis: an output must
  if (cell_node(to, sunk)->axes != n->axes) return CELL_NONE;
  *progress = true;
  return sunk;
}

static CellValue flat(CellGraph *g, CellValue v) {
  int32_t count = (int32_t)cell_count(g, v);
  return cell_node(g, v)->rank == 0 ? v : cell_reshape(g, v, 1, &count);
}

static CellValue flatten(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                         void *context) {
  (void)context;
  const CellNode *n = cell_node(from, v);
  if (n->axes || fuse_is_gradient_sum(from, v)) return CELL_NONE;
  if (n->op == CELL_OP_REDUCE && n->reduce == CELL_SUM && n->rank == 0 && !n->over &&
      cell_node(to, args[0])->rank > 1)
    return cell_reduce(to, CELL_SUM, flat(to, args[0]), 1, 0);
  if (!is_elementwise(n) || n->rank < 2) return CELL_NONE;
  // operands that are views of something smaller keep their shape
  for (int i = 0; i < n->arg_count; i++) {
    CellOp op = cell_node(to, args[i])->op;
    if (op == CELL_OP_BROADCAST || op == CELL_OP_TRANSPOSE || op == CELL_OP_SLICE ||
        cell_node(to, args[i])->dtype == CELL_BITS)
      return CELL_NONE;
  }
  CellValue a[3] = {CELL_NONE, CELL_NONE, CELL_NONE}, result;
  for (int i = 0; i < n->arg_count; i++) a[i] = flat(to, args[i]);
  if (n->arg_count == 1)
    result = cell_op1(to, n->op, a[0]);
  else if (n->arg_count == 2)
    result = cell_op2(to, n->op, a[0], a[1]);
  else
    result = cell_op3(to, n->op, a[0], a[1], a[2]);
  return cell_reshape(to, result, n->rank, n->shape);
}

static CellValue bodies(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                        void *context) {
  (void)context;
  const CellNode *n = cell_node(from, v);
  if (n->op != CELL_OP_SCAN) return CELL_NONE;
  int axis = 0;
  while (n->over != CELL_AXIS(axis)) axis++;
  return cell_scan(to, axis, fuse_prepare(n->body), n->carry_count, args,
                   n->arg_count - n->carry_count, args + n->carry_count);
}

CellGraph *fuse_prepare(const CellGraph *g) {
  CellGraph *now = cell_rewrite(g, bodies, NULL);
  bool progress = true;
  while (progress) {
    progress = false;
    now = cell_rewrite(now, sink, &progress);
  }
  return cell_rewrite(now, flatten, NULL);
}
