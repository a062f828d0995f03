/* shape.c - the shape rule of every op: dtype, shape and axes of a node from its operands and
 * attributes. One place for the builder (a violation is a bug), the parser (an error at the line)
 * and the verifier.
 *
 * Dtypes: elementwise ops, reduce and contract read bits as floats and give floats; indices (i32)
 * go only into float, one_hot, sign_bits, take and views. Views and take keep the dtype; a concat
 * of bits and floats is of floats. Extents are at least 1. */
#include <stdarg.h>
#include <string.h>

#include "ir/internal.h"

static bool fail(CellText *why, const char *format, ...) CELL_PRINTF(2, 3);

static bool fail(CellText *why, const char *format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  cell_text_printf(why, "%s", line);
  return false;
}

static bool same_shape(const CellNode *a, const CellNode *b) {
  return a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

static void set_shape(CellNode *n, int rank, const int32_t *shape) {
  int32_t copy[CELL_MAX_RANK] = {0};
  for (int i = 0; i < rank; i++) copy[i] = shape[i];
  memcpy(n->shape, copy, sizeof copy);
  n->rank = (int8_t)rank;
}

/* true where extents are positive and their product, axes included, is within the limit */
static bool small_enough(const CellGraph *g, const CellNode *n, CellText *why) {
  int64_t entries = 1;
  if (n->rank < 0 || n->rank > CELL_MAX_RANK) return fail(why, "rank %d", n->rank);
  if (n->axes >> g->axis_count) return fail(why, "an axis that the graph does not have");
  for (int i = 0; i < n->rank + g->axis_count; i++) {
    int a = i - n->rank;
    if (a >= 0 && !(n->axes & CELL_AXIS(a))) continue;
    int32_t extent = a < 0 ? n->shape[i] : g->axes[a].extent;
    if (extent < 1) return fail(why, "extent %d", (int)extent);
    if (entries > CELL_MAX_ENTRIES / extent) return fail(why, "too many entries");
    entries *= extent;
  }
  return true;
}

static int64_t entries(const CellNode *n) {
  int64_t count = 1;
  for (int i = 0; i < n->rank; i++) count *= n->shape[i];
  return count;
}

static bool dim_ok(const CellNode *a, int dim, CellText *why) {
  return (dim >= 0 && dim < a->rank) || fail(why, "no dimension %d in rank %d", dim, a->rank);
}

/* ---- rules ---- */

static bool scalar_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *widest = cell_node(g, n->args[0]);
  for (int i = 0; i < n->arg_count; i++) {
    const CellNode *a = cell_node(g, n->args[i]);
    if (a->dtype == CELL_I && n->op != CELL_OP_FLOAT)
      return fail(why, "operand %d is an index; only float takes one", i);
    if (a->rank == 0) continue;
    if (widest->rank > 0 && !same_shape(widest, a)) return fail(why, "operands differ in shape");
    widest = a;
  }
  n->dtype = CELL_F;
  set_shape(n, widest->rank, widest->shape);
  return true;
}

static bool index_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *a = cell_node(g, n->args[0]);
  if (a->dtype != CELL_I) return fail(why, "the operand is not an index");
  if (a->rank >= CELL_MAX_RANK) return fail(why, "rank above %d", CELL_MAX_RANK);
  if (n->rank != a->rank + 1) return fail(why, "the result has one dimension more");
  if (n->op == CELL_OP_SIGN_BITS && n->shape[a->rank] > 31)
    return fail(why, "an index has 31 bits");
  int32_t last = n->shape[a->rank];
  set_shape(n, a->rank, a->shape);
  n->rank++;
  n->shape[a->rank] = last;
  n->dtype = CELL_F;
  return true;
}

static bool reduce_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *a = cell_node(g, n->args[0]);
  if (a->dtype == CELL_I) return fail(why, "the operand is an index");
  if (n->dims >> a->rank) return fail(why, "no such dimension in rank %d", a->rank);
  if (n->over & ~a->axes) return fail(why, "the operand does not vary over every axis that goes");
  if (!n->dims && !n->over) return fail(why, "nothing to reduce");
  uint32_t gone = n->dims | (n->over << CELL_MAX_RANK);
  if (n->reduce != CELL_SUM && (gone & (gone - 1)))
    return fail(why, "max and argmax go over one dimension or one axis");
  n->dtype = n->reduce == CELL_ARGMAX ? CELL_I : CELL_F;
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < a->rank; i++)
    if (!(n->dims & (1u << i))) shape[rank++] = a->shape[i];
  set_shape(n, rank, shape);
  n->axes = a->axes & ~n->over;
  return true;
}

static bool contract_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *operand[2] = {cell_node(g, n->args[0]), cell_node(g, n->args[1])};
  int32_t extent[26] = {0};
  unsigned seen[3] = {0};
  for (int side = 0; side < 3; side++) {
    const char *labels = n->labels[side];
    size_t length = strnlen(labels, CELL_MAX_RANK + 1);
    if (length > CELL_MAX_RANK) return fail(why, "more than %d letters", CELL_MAX_RANK);
    if (side < 2 && operand[side]->dtype == CELL_I)
      return fail(why, "operand %d is an index", side);
    if (side < 2 && length != (size_t)operand[side]->rank)
      return fail(why, "operand %d has rank %d and %zu letters", side, operand[side]->rank, length);
    for (size_t i = 0; i < length; i++) {
      if (labels[i] < 'a' || labels[i] > 'z') return fail(why, "a label is not a letter");
      int letter = labels[i] - 'a';
      if (seen[side] & (1u << letter)) return fail(why, "letter %c twice", labels[i]);
      seen[side] |= 1u << letter;
      if (side == 2) continue;
      int32_t size = operand[side]->shape[i];
      if (extent[letter] && extent[letter] != size)
        return fail(why, "letter %c is %d and %d", labels[i], (int)extent[letter], (int)size);
      extent[letter] = size;
    }
  }
  if (seen[2] & ~(seen[0] | seen[1])) return fail(why, "a letter only in the result");
  if ((seen[0] ^ seen[1]) & ~seen[2]) return fail(why, "a summed letter must be in both operands");
  if (n->over & ~(operand[0]->axes | operand[1]->axes))
    return fail(why, "no operand varies over an axis that is summed");
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (const char *l = n->labels[2]; *l; l++) shape[rank++] = extent[*l - 'a'];
  set_shape(n, rank, shape);
  n->dtype = CELL_F;
  n->axes &= ~n->over;
  return true;
}

static bool take_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *a = cell_node(g, n->args[0]), *index = cell_node(g, n->args[1]);
  if (index->dtype != CELL_I || index->rank != 0)
    return fail(why, "operand 1 is not an index of rank 0");
  n->dtype = a->dtype;
  int32_t shape[CELL_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < a->rank; i++)
    if (i != n->dim) shape[rank++] = a->shape[i];
  if (n->dim != -1) {
    if (!dim_ok(a, n->dim, why)) return false;
  } else {
    if (n->axis < 0 || n->axis >= g->axis_count || !(a->axes & CELL_AXIS(n->axis)))
      return fail(why, "the operand does not vary over the axis");
    if (index->axes & CELL_AXIS(n->axis))
      return fail(why, "the index varies over the axis that it picks from");
    n->axes &= ~CELL_AXIS(n->axis);
  }
  set_shape(n, rank, shape);
  return true;
}

static bool view_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *a = cell_node(g, n->args[0]);
  n->dtype = a->dtype;
  switch ((int)n->op) {
  case CELL_OP_RESHAPE:
    if (!small_enough(g, n, why)) return false;
    if (entries(n) != entries(a))
      return fail(why, "%lld entries into %lld", (long long)entries(a), (long long)entries(n));
    set_shape(n, n->rank, n->shape);
    return true;
  case CELL_OP_TRANSPOSE: {
    int32_t shape[CELL_MAX_RANK];
    unsigned seen = 0;
    for (int i = 0; i < a->rank; i++) {
      if (!dim_ok(a, n->map[i], why)) return false;
      seen |= 1u << n->map[i];
      shape[i] = a->shape[n->map[i]];
    }
    if (seen != (1u << a->rank) - 1) return fail(why, "the map is not a permutation");
    set_shape(n, a->rank, shape);
    return true;
  }
  case CELL_OP_SLICE:
    if (!dim_ok(a, n->dim, why)) return false;
    if (n->begin < 0 || n->end <= n->begin || n->end > a->shape[n->dim])
      return fail(why, "%d:%d of %d", (int)n->begin, (int)n->end, (int)a->shape[n->dim]);
    set_shape(n, a->rank, a->shape);
    n->shape[n->dim] = n->end - n->begin;
    return true;
  case CELL_OP_PAD: {
    if (!dim_ok(a, n->dim, why)) return false;
    int64_t size = (int64_t)a->shape[n->dim] + n->begin + n->end;
    if (n->begin < 0 || n->end < 0 || size > INT32_MAX) return fail(why, "a wrong amount");
    set_shape(n, a->rank, a->shape);
    n->shape[n->dim] = (int32_t)size;
    return true;
  }
  case CELL_OP_BROADCAST: {
    if (n->rank < 0 || n->rank > CELL_MAX_RANK) return fail(why, "rank %d", n->rank);
    for (int i = 0; i < a->rank; i++) {
      if (n->map[i] < 0 || n->map[i] >= n->rank || (i > 0 && n->map[i] <= n->map[i - 1]))
        return fail(why, "the map does not ascend within rank %d", n->rank);
      if (a->shape[i] != 1 && a->shape[i] != n->shape[n->map[i]])
        return fail(why, "%d does not stretch to %d", (int)a->shape[i], (int)n->shape[n->map[i]]);
    }
    set_shape(n, n->rank, n->shape);
    return true;
  }
  default: /* stop_gradient */ set_shape(n, a->rank, a->shape); return true;
  }
}

static bool concat_rule(const CellGraph *g, CellNode *n, CellText *why) {
  if (n->arg_count < 1) return fail(why, "no operands");
  const CellNode *a = cell_node(g, n->args[0]);
  if (!dim_ok(a, n->dim, why)) return false;
  int64_t size = 0;
  n->dtype = a->dtype;
  for (int i = 0; i < n->arg_count; i++) {
    const CellNode *b = cell_node(g, n->args[i]);
    if ((b->dtype == CELL_I) != (a->dtype == CELL_I)) return fail(why, "indices beside floats");
    if (b->dtype != n->dtype) n->dtype = CELL_F;
    if (b->rank != a->rank) return fail(why, "operands differ in rank");
    for (int d = 0; d < a->rank; d++)
      if (d != n->dim && a->shape[d] != b->shape[d])
        return fail(why, "operands differ in dimension %d", d);
    size += b->shape[n->dim];
  }
  if (size > INT32_MAX) return fail(why, "too many entries");
  set_shape(n, a->rank, a->shape);
  n->shape[n->dim] = (int32_t)size;
  return true;
}

/* ---- scan ---- */

CellPortName cell_port_name(const char *kind, int which) {
  // of a scan's many ports, each time that it is copied: faster than printf
  CellPortName name;
  char digits[12];
  size_t at = strlen(kind);
  int count = 0;
  CELL_ASSERT(at + sizeof digits < sizeof name.text && which >= 0);
  memcpy(name.text, kind, at);
  do digits[count++] = (char)('0' + which % 10);
  while ((which /= 10) > 0);
  while (count > 0) name.text[at++] = digits[--count];
  name.text[at] = 0;
  return name;
}

static bool fits(const CellNode *port, const CellNode *value) {
  return same_shape(port, value) &&
         (port->dtype == value->dtype || (port->dtype == CELL_F && value->dtype == CELL_BITS));
}

/* A carry has the type of the body's input of that name, which the first value and the body's
 * output must fit (same shape, no axis more; bits fit floats); one that the body does not read has
 * the output's type. A step input has exactly the outer axes less the one that is run over. */
static bool scan_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellGraph *body = n->body;
  if (!body) return fail(why, "no body");
  if (!n->over || (n->over & (n->over - 1)) || n->over >> g->axis_count)
    return fail(why, "a scan runs over one axis");
  if (body->axis_count != g->axis_count) return fail(why, "the body has other axes");
  for (int i = 0; i < g->axis_count; i++)
    if (body->axes[i].extent != g->axes[i].extent ||
        strcmp(body->axes[i].name, g->axes[i].name) != 0)
      return fail(why, "the body has other axes");
  for (CellValue v = 0; v < body->node_count; v++)
    if (body->nodes[v].axes & n->over)
      return fail(why, "%%%d of the body varies over the scanned axis", (int)v);
  if (n->carry_count < 1 || n->carry_count > n->arg_count)
    return fail(why, "%d carries of %d operands", n->carry_count, n->arg_count);
  for (int i = 0; i < n->arg_count; i++) {
    const CellNode *value = cell_node(g, n->args[i]);
    bool carry = i < n->carry_count;
    int which = carry ? i : i - n->carry_count;
    CellPortName name = cell_port_name(carry ? "carry" : "step", which);
    CellValue in = cell_find_input(body, name.text);
    const CellNode *port = in == CELL_NONE ? NULL : cell_node(body, in);
    if (port && !fits(port, value)) return fail(why, "%s has another type in the body", name.text);
    if (!carry) {
      if (port && port->axes != (value->axes & ~n->over))
        return fail(why, "%s has other axes in the body", name.text);
      continue;
    }
    CellValue out = cell_find_output(body, name.text);
    if (out == CELL_NONE) return fail(why, "the body has no output %s", name.text);
    const CellNode *next = cell_node(body, out);
    if (!port && !same_shape(next, value)) return fail(why, "%s changes shape", name.text);
    if (port && !fits(port, next)) return fail(why, "%s leaves with another type", name.text);
    if (port && ((next->axes | value->axes) & ~port->axes))
      return fail(why, "%s gains an axis", name.text);
  }
  n->dtype = CELL_F;
  set_shape(n, 0, NULL);
  n->axes = 0;
  return true;
}

static bool result_rule(const CellGraph *g, CellNode *n, CellText *why) {
  const CellNode *scan = cell_node(g, n->args[0]);
  if (scan->op != CELL_OP_SCAN || !scan->body) return fail(why, "the operand is not a scan");
  if (n->begin < 0 || n->begin >= scan->carry_count) return fail(why, "no carry %d", (int)n->begin);
  CellPortName name = cell_port_name("carry", n->begin);
  CellValue in = cell_find_input(scan->body, name.text);
  CellValue out = cell_find_output(scan->body, name.text);
  if (in == CELL_NONE && out == CELL_NONE) return fail(why, "the body has no %s", name.text);
  const CellNode *type = cell_node(scan->body, in != CELL_NONE ? in : out);
  n->dtype = type->dtype;
  set_shape(n, type->rank, type->shape);
  n->axes = type->axes;
  return true;
}

/* ---- all ops ---- */

bool cell_infer(const CellGraph *g, CellNode *n, CellText *why) {
  if ((unsigned)n->op >= CELL_OP_COUNT) return fail(why, "no such op");
  const CellOpInfo *info = &cell_op_info[n->op];
  if (n->arg_count < 0 || (info->arity >= 0 && n->arg_count != info->arity))
    return fail(why, "%d operands, %s takes %d", n->arg_count, info->name, info->arity);
  uint32_t axes = 0;
  for (int i = 0; i < n->arg_count; i++) {
    if (n->args[i] < 0 || n->args[i] >= g->node_count) return fail(why, "operand %d is missing", i);
    const CellNode *a = cell_node(g, n->args[i]);
    if (a->op == CELL_OP_SCAN && n->op != CELL_OP_RESULT)
      return fail(why, "a scan is read by result only");
    if (a->rank < 0 || a->rank > CELL_MAX_RANK || a->axes >> g->axis_count)
      return fail(why, "operand %d has no type", i);
    axes |= a->axes;
  }
  if (n->op != CELL_OP_INPUT) n->axes = axes;

  bool ok = true;
  switch ((int)n->op) {
  case CELL_OP_INPUT:
    if (!n->name || !*n->name) return fail(why, "no name");
    if ((unsigned)n->dtype > CELL_BITS) return fail(why, "no such dtype");
    break;
  case CELL_OP_CONST:
    n->dtype = CELL_F;
    set_shape(n, 0, NULL);
    break;
  case CELL_OP_RANGE:
    if (n->rank != 1) return fail(why, "a range has rank 1");
    n->dtype = CELL_F;
    break;
  case CELL_OP_AXIS_INDEX:
    if (n->axis < 0 || n->axis >= g->axis_count) return fail(why, "no such axis");
    n->dtype = CELL_I;
    set_shape(n, 0, NULL);
    n->axes = CELL_AXIS(n->axis);
    break;
  case CELL_OP_ONE_HOT:
  case CELL_OP_SIGN_BITS: ok = index_rule(g, n, why); break;
  case CELL_OP_REDUCE: ok = reduce_rule(g, n, why); break;
  case CELL_OP_CONTRACT: ok = contract_rule(g, n, why); break;
  case CELL_OP_TAKE: ok = take_rule(g, n, why); break;
  case CELL_OP_CONCAT: ok = concat_rule(g, n, why); break;
  case CELL_OP_SCAN: ok = scan_rule(g, n, why); break;
  case CELL_OP_RESULT: ok = result_rule(g, n, why); break;
  default: ok = info->scalar ? scalar_rule(g, n, why) : view_rule(g, n, why); break;
  }
  return ok && small_enough(g, n, why);
}
