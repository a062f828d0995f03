/* views.c - builds reshape, transpose, slice, pad, concat, broadcast and stop_gradient, each in one
 * form only, so that equal views are one value:
 *
 *     a view that changes nothing      -> its operand
 *     reshape of reshape, transpose of transpose, slice of slice, broadcast of broadcast -> one
 *     slice inside one piece of a concat, or inside the operand of a pad -> a slice of that
 *     concat of concat along one dimension; of neighbouring slices of one value -> one
 *     a broadcast's operand has no dimension of size 1 that stretches (a reshape drops it)
 *     reshape, transpose, slice of a repeated scalar -> the scalar, repeated */
#include <string.h>

#include "ir/internal.h"

static bool same_dims(const CellNode *a, int rank, const int32_t *shape) {
  return a->rank == rank && memcmp(a->shape, shape, (size_t)rank * sizeof *shape) == 0;
}

/* `v` where it is a repeated scalar of rank > 0: the scalar */
static CellValue repeated(const CellGraph *g, CellValue v) {
  return cell_node(g, v)->rank > 0 ? cell_uniform(g, v) : CELL_NONE;
}

CellValue cell_reshape(CellGraph *g, CellValue a, int rank, const int32_t *shape) {
  CELL_ASSERT(rank >= 0 && rank <= CELL_MAX_RANK);
  CellNode n = {.op = CELL_OP_RESHAPE, .arg_count = 1, .args = &a, .rank = (int8_t)rank};
  for (int i = 0; i < rank; i++) n.shape[i] = shape[i];
  if (same_dims(cell_node(g, a), rank, n.shape)) return a;
  CellValue u = repeated(g, a);
  if (u != CELL_NONE) return cell_broadcast(g, u, rank, n.shape, NULL);
  if (cell_node(g, a)->op == CELL_OP_RESHAPE)
    return cell_reshape(g, cell_node(g, a)->args[0], rank, n.shape);
  return cell_make(g, &n);
}

CellValue cell_transpose(CellGraph *g, CellValue a, const int8_t *map) {
  const CellNode *operand = cell_node(g, a);
  int rank = operand->rank;
  CellNode n = {.op = CELL_OP_TRANSPOSE, .arg_count = 1, .args = &a};
  bool identity = true;
  int32_t shape[CELL_MAX_RANK] = {0};
  for (int i = 0; i < rank; i++) {
    CELL_ASSERT(map[i] >= 0 && map[i] < rank);
    n.map[i] = map[i];
    shape[i] = operand->shape[map[i]];
    identity = identity && map[i] == i;
  }
  if (identity) return a;
  CellValue u = repeated(g, a);
  if (u != CELL_NONE) return cell_broadcast(g, u, rank, shape, NULL);
  if (operand->op == CELL_OP_TRANSPOSE) {
    int8_t both[CELL_MAX_RANK] = {0};
    for (int i = 0; i < rank; i++) both[i] = operand->map[map[i]];
    return cell_transpose(g, operand->args[0], both);
  }
  return cell_make(g, &n);
}

CellValue cell_slice(CellGraph *g, CellValue a, int dim, int32_t begin, int32_t end) {
  const CellNode *operand = cell_node(g, a);
  CELL_ASSERT(dim >= 0 && dim < operand->rank);
  CELL_ASSERT(begin >= 0 && begin < end && end <= operand->shape[dim]);
  if (begin == 0 && end == operand->shape[dim]) return a;
  CellValue u = repeated(g, a);
  if (u != CELL_NONE) {
    int32_t shape[CELL_MAX_RANK];
    memcpy(shape, operand->shape, sizeof shape);
    shape[dim] = end - begin;
    return cell_broadcast(g, u, operand->rank, shape, NULL);
  }
  if (operand->op == CELL_OP_SLICE && operand->dim == dim)
    return cell_slice(g, operand->args[0], dim, operand->begin + begin, operand->begin + end);
  if (operand->op == CELL_OP_PAD && operand->dim == dim) {
    int32_t size = cell_node(g, operand->args[0])->shape[dim];
    if (begin >= operand->begin && end <= operand->begin + size)
      return cell_slice(g, operand->args[0], dim, begin - operand->begin, end - operand->begin);
  }
  if (operand->op == CELL_OP_CONCAT && operand->dim == dim) {
    int32_t at = 0;
    for (int i = 0; i < operand->arg_count; i++) {
      int32_t size = cell_node(g, operand->args[i])->shape[dim];
      if (begin >= at && end <= at + size)
        return cell_slice(g, operand->args[i], dim, begin - at, end - at);
      at += size;
    }
  }
  CellNode n = {.op = CELL_OP_SLICE, .arg_count = 1, .args = &a, .dim = (int8_t)dim};
  n.begin = begin;
  n.end = end;
  return cell_make(g, &n);
}

CellValue cell_pad(CellGraph *g, CellValue a, int dim, int32_t before, int32_t after) {
  if (before == 0 && after == 0) return a;
  const CellNode *operand = cell_node(g, a);
  if (operand->op == CELL_OP_PAD && operand->dim == dim)
    return cell_pad(g, operand->args[0], dim, operand->begin + before, operand->end + after);
  CellNode n = {.op = CELL_OP_PAD, .arg_count = 1, .args = &a, .dim = (int8_t)dim};
  n.begin = before;
  n.end = after;
  return cell_make(g, &n);
}

/* appends `v` to a list of pieces; joins it with the last where both are slices that touch */
static int add_piece(CellGraph *g, CellValue *pieces, int count, CellValue v, int dim) {
  const CellNode *n = cell_node(g, v);
  if (n->op == CELL_OP_CONCAT && n->dim == dim) {
    for (int i = 0; i < n->arg_count; i++) count = add_piece(g, pieces, count, n->args[i], dim);
    return count;
  }
  if (count > 0 && n->op == CELL_OP_SLICE && n->dim == dim) {
    const CellNode *last = cell_node(g, pieces[count - 1]);
    if (last->op == CELL_OP_SLICE && last->dim == dim && last->args[0] == n->args[0] &&
        last->end == n->begin) {
      pieces[count - 1] = cell_slice(g, n->args[0], dim, last->begin, n->end);
      return count;
    }
  }
  pieces[count] = v;
  return count + 1;
}

CellValue cell_concat(CellGraph *g, int count, const CellValue *args, int dim) {
  CELL_ASSERT(count >= 1);
  int room = 0;
  for (int i = 0; i < count; i++) {
    const CellNode *n = cell_node(g, args[i]);
    room += n->op == CELL_OP_CONCAT ? n->arg_count : 1;
  }
  CellValue *pieces = CELL_NEW_ARRAY(g->arena, CellValue, room);
  int made = 0;
  for (int i = 0; i < count; i++) made = add_piece(g, pieces, made, args[i], dim);
  if (made == 1) return pieces[0];
  CellNode n = {.op = CELL_OP_CONCAT, .arg_count = made, .args = pieces, .dim = (int8_t)dim};
  return cell_make(g, &n);
}

CellValue cell_broadcast(CellGraph *g, CellValue a, int rank, const int32_t *shape,
                         const int8_t *map) {
  const CellNode *operand = cell_node(g, a);
  CELL_ASSERT(rank >= operand->rank && rank <= CELL_MAX_RANK);
  CellNode n = {.op = CELL_OP_BROADCAST, .arg_count = 1, .args = &a, .rank = (int8_t)rank};
  for (int i = 0; i < rank; i++) n.shape[i] = shape[i];
  for (int i = 0; i < operand->rank; i++) n.map[i] = map[i];
  if (same_dims(operand, rank, n.shape)) return a; /* an ascending map is the identity then */

  /* dimensions of 1 that stretch go */
  int32_t kept[CELL_MAX_RANK] = {0};
  int8_t kept_map[CELL_MAX_RANK] = {0};
  int kept_rank = 0;
  for (int i = 0; i < operand->rank; i++) {
    CELL_ASSERT(map[i] >= 0 && map[i] < rank);
    if (operand->shape[i] == 1 && shape[map[i]] != 1) continue;
    kept_map[kept_rank] = map[i];
    kept[kept_rank++] = operand->shape[i];
  }
  if (kept_rank < operand->rank)
    return cell_broadcast(g, cell_reshape(g, a, kept_rank, kept), rank, n.shape, kept_map);
  if (operand->op == CELL_OP_BROADCAST) {
    int8_t both[CELL_MAX_RANK] = {0};
    const CellNode *inner = cell_node(g, operand->args[0]);
    for (int i = 0; i < inner->rank; i++) both[i] = map[operand->map[i]];
    return cell_broadcast(g, operand->args[0], rank, n.shape, both);
  }
  return cell_make(g, &n);
}

CellValue cell_stop_gradient(CellGraph *g, CellValue a) {
  const CellNode *operand = cell_node(g, a);
  if (operand->op == CELL_OP_STOP_GRADIENT || operand->op == CELL_OP_CONST ||
      operand->op == CELL_OP_RANGE || operand->dtype == CELL_I)
    return a;
  CellNode n = {.op = CELL_OP_STOP_GRADIENT, .arg_count = 1, .args = &a};
  return cell_make(g, &n);
}
