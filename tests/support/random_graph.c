/* random_graph.c - well-formed random graphs: a pool of values with what is known of each, and one
 * function a kind of op that picks operands from the pool and puts its result there. */
#include "tests/support/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
uint64_t cell_random_bits(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

typedef struct {
  CellValue v;
  double bound;  /* |entries| are at most this, about */
  bool whole;    /* entries are whole numbers, exact in a 32-bit float */
  int32_t limit; /* of an index: entries are below this */
} Known;

typedef struct {
  CellGraph *g;
  uint64_t state;
  CellRandomOptions options;
  int32_t sizes[3]; /* of dimensions, few so that shapes meet */
  Known *pool;
  int count, capacity;
  int names;     /* numbers inputs */
  uint32_t axes; /* that values may vary over */
  bool body;
} Maker;

enum { MAX_ENTRIES = 20000 };

static int below(Maker *m, int n) {
  return (int)(cell_random_bits(&m->state) % (uint64_t)n);
}

static bool chance(Maker *m, int one_in) {
  return below(m, one_in) == 0;
}

static int32_t a_size(Maker *m) {
  return m->sizes[below(m, 3)];
}

/* ---- pool ---- */

static CellValue number(Maker *m, double x) {
  return cell_const(m->g, x);
}

static CellValue scaled(Maker *m, CellValue v, double factor) {
  return cell_op2(m->g, CELL_OP_MUL, v, number(m, factor));
}

/* takes a value into the pool, made smaller where it may be large */
static void keep(Maker *m, CellValue v, double bound, bool whole, int32_t limit) {
  const CellNode *n = cell_node(m->g, v);
  if (cell_count(m->g, v) * cell_extent(m->g, n->axes) > MAX_ENTRIES) return;
  if (n->dtype == CELL_F && bound > (whole ? 1000 : 4)) {
    if (whole || chance(m, 2))
      v = cell_op1(m->g, CELL_OP_TANH, scaled(m, v, 4 / bound)), bound = 1;
    else
      v = scaled(m, v, 1 / bound), bound = 1;
    whole = false;
  }
  for (int i = 0; i < m->count; i++)
    if (m->pool[i].v == v) return;
  Known known = {v, bound, whole, limit};
  CELL_PUSH(m->g->arena, m->pool, m->count, m->capacity, known);
}

typedef bool (*Filter)(const Maker *m, const Known *k, const void *context);

/* a random pool value that passes; later ones are more likely. NULL if there is none */
static const Known *pick(Maker *m, Filter filter, const void *context) {
  const Known *found = NULL;
  int seen = 0;
  for (int i = 0; i < m->count; i++) {
    if (!filter(m, &m->pool[i], context)) continue;
    int weight = 1 + 3 * i / m->count;
    seen += weight;
    if (below(m, seen) < weight) found = &m->pool[i];
  }
  return found;
}

static bool is_number(const Maker *m, const Known *k, const void *context) {
  (void)context;
  return cell_node(m->g, k->v)->dtype != CELL_I;
}

static bool is_whole(const Maker *m, const Known *k, const void *context) {
  return is_number(m, k, context) && k->whole;
}

static bool is_index(const Maker *m, const Known *k, const void *context) {
  (void)context;
  return cell_node(m->g, k->v)->dtype == CELL_I;
}

/* an index of rank 0 whose entries fit an extent */
static bool indexes(const Maker *m, const Known *k, const void *context) {
  const CellNode *n = cell_node(m->g, k->v);
  return n->dtype == CELL_I && n->rank == 0 && k->limit <= *(const int32_t *)context;
}

/* a number whose shape goes with another's in an elementwise op */
static bool goes_with(const Maker *m, const Known *k, const void *context) {
  const CellNode *a = cell_node(m->g, k->v), *b = context;
  return a->dtype != CELL_I &&
         (a->rank == 0 || b->rank == 0 ||
          (a->rank == b->rank && memcmp(a->shape, b->shape, sizeof a->shape) == 0));
}

static bool whole_with(const Maker *m, const Known *k, const void *context) {
  return k->whole && goes_with(m, k, context);
}

static bool shaped(const Maker *m, const Known *k, const void *context) {
  return is_number(m, k, context) && cell_node(m->g, k->v)->rank > 0;
}

static bool over_time(const Maker *m, const Known *k, const void *context) {
  return is_number(m, k, context) && (cell_node(m->g, k->v)->axes & CELL_AXIS(CELL_AXIS_TIME));
}

static bool without_time(const Maker *m, const Known *k, const void *context) {
  return is_number(m, k, context) && !(cell_node(m->g, k->v)->axes & CELL_AXIS(CELL_AXIS_TIME));
}

/* ---- leaves ---- */

static CellValue new_input(Maker *m, const char *kind, CellDtype dtype, int rank, uint32_t axes) {
  int32_t shape[CELL_MAX_RANK];
  for (int i = 0; i < rank; i++) shape[i] = a_size(m);
  char name[64];
  snprintf(name, sizeof name, "%s%d%s", kind, m->names++, m->body ? "_body" : "");
  return cell_input(m->g, name, dtype, rank, shape, axes);
}

static uint32_t some_axes(Maker *m) {
  static const uint32_t usual[] = {CELL_AXIS(CELL_AXIS_BATCH), CELL_AXIS(CELL_AXIS_BATCH),
                                   CELL_AXIS(CELL_AXIS_CANDIDATE), 0};
  return (chance(m, 3) ? (uint32_t)below(m, 1 << m->g->axis_count) : usual[below(m, 4)]) & m->axes;
}

static void make_leaf(Maker *m) {
  char kind[32];
  switch (below(m, 8)) {
  case 0:
    keep(m, new_input(m, "bits", CELL_BITS, 1 + below(m, 3), some_axes(m)), 1, true, 0);
    break;
  case 1: {
    int32_t limit = a_size(m);
    snprintf(kind, sizeof kind, "index%d_", (int)limit);
    keep(m, new_input(m, kind, CELL_I, chance(m, 6), some_axes(m)), limit, false, limit);
    break;
  }
  case 2: keep(m, new_input(m, "whole", CELL_F, below(m, 3), some_axes(m)), 3, true, 0); break;
  case 3: {
    int axis = below(m, m->g->axis_count);
    if (m->axes & CELL_AXIS(axis))
      keep(m, cell_axis_index(m->g, axis), 1, false, m->g->axes[axis].extent);
    break;
  }
  case 4: keep(m, cell_range(m->g, a_size(m)), 33, true, 0); break;
  case 5: keep(m, number(m, below(m, 9) / 4.0 - 1), 1, false, 0); break;
  default: keep(m, new_input(m, "x", CELL_F, below(m, 4), some_axes(m)), 1, false, 0); break;
  }
}

/* ---- elementwise ---- */

/* far from 0 and from every other value of its kind: an odd whole number + 0.25 tanh(x) */
static CellValue separated(Maker *m, const Known *x, const Known *whole) {
  CellValue odd = cell_op2(m->g, CELL_OP_ADD, scaled(m, whole->v, 2), number(m, 1));
  return cell_op2(m->g, CELL_OP_ADD, odd, scaled(m, cell_op1(m->g, CELL_OP_TANH, x->v), 0.25));
}

/* between 1 and 3 */
static CellValue positive(Maker *m, CellValue v) {
  return cell_op2(m->g, CELL_OP_ADD, cell_op1(m->g, CELL_OP_TANH, v), number(m, 2));
}

static void make_binary(Maker *m) {
  const Known *a = pick(m, is_number, NULL);
  const Known *b = a ? pick(m, goes_with, cell_node(m->g, a->v)) : NULL;
  if (!b) return;
  Known x = *a, y = *b;
  bool whole = x.whole && y.whole;
  double sum = x.bound + y.bound;
  switch (below(m, 6)) {
  case 0: keep(m, cell_op2(m->g, CELL_OP_ADD, x.v, y.v), sum, whole, 0); break;
  case 1: keep(m, cell_op2(m->g, CELL_OP_SUB, x.v, y.v), sum, whole, 0); break;
  case 2:
  case 3: keep(m, cell_op2(m->g, CELL_OP_MUL, x.v, y.v), x.bound * y.bound, whole, 0); break;
  case 4: keep(m, cell_op2(m->g, CELL_OP_DIV, x.v, positive(m, y.v)), x.bound, false, 0); break;
  default: {
    static const double powers[] = {0.5, 2, 3, -1, 1.5};
    CellValue power = chance(m, 2) && y.bound <= 2 ? y.v : number(m, powers[below(m, 5)]);
    keep(m, cell_op2(m->g, CELL_OP_POW, positive(m, x.v), power), 27, false, 0);
    break;
  }
  }
}

static void make_unary(Maker *m) {
  const Known *picked = pick(m, is_number, NULL);
  if (!picked) return;
  Known x = *picked;
  switch (below(m, 9)) {
  case 0: keep(m, cell_op1(m->g, CELL_OP_NEG, x.v), x.bound, x.whole, 0); break;
  case 1: keep(m, cell_op1(m->g, CELL_OP_TANH, x.v), 1, false, 0); break;
  case 2: keep(m, cell_op1(m->g, CELL_OP_SIGMOID, x.v), 1, false, 0); break;
  case 3: keep(m, cell_op1(m->g, CELL_OP_SIN, x.v), 1, false, 0); break;
  case 4: keep(m, cell_op1(m->g, CELL_OP_COS, x.v), 1, false, 0); break;
  case 5:
    if (x.bound <= 2) keep(m, cell_op1(m->g, CELL_OP_EXP, x.v), exp(x.bound), false, 0);
    break;
  case 6: keep(m, cell_op1(m->g, CELL_OP_LOG, positive(m, x.v)), 1.1, false, 0); break;
  case 7: keep(m, cell_op1(m->g, CELL_OP_SQRT, positive(m, x.v)), 1.8, false, 0); break;
  default:
    if (!m->options.differentiable) keep(m, cell_stop_gradient(m->g, x.v), x.bound, x.whole, 0);
    break;
  }
}

/* ops with a kink, away from it */
static void make_kink(Maker *m) {
  const Known *a = pick(m, is_number, NULL);
  const Known *w = a ? pick(m, whole_with, cell_node(m->g, a->v)) : NULL;
  if (!w) return;
  double bound = 2 * w->bound + 1.25;
  CellValue x = separated(m, a, w);
  const Known *b = pick(m, goes_with, cell_node(m->g, x));
  if (!b) return;
  CellValue y = scaled(m, cell_op1(m->g, CELL_OP_TANH, b->v), 0.25);
  switch (below(m, 4)) {
  case 0: keep(m, cell_op2(m->g, CELL_OP_MIN, x, y), bound, false, 0); break;
  case 1: keep(m, cell_op2(m->g, CELL_OP_MAX, y, x), bound, false, 0); break;
  case 2: keep(m, cell_op1(m->g, CELL_OP_ABS, x), bound, false, 0); break;
  default: keep(m, cell_op1(m->g, CELL_OP_RELU, x), bound, false, 0); break;
  }
}

/* ops that jump, on whole numbers */
static void make_jump(Maker *m) {
  const Known *a = pick(m, is_whole, NULL);
  const Known *b = a ? pick(m, whole_with, cell_node(m->g, a->v)) : NULL;
  if (!b || m->options.differentiable) return;
  static const CellOp compare[] = {CELL_OP_LT, CELL_OP_LE, CELL_OP_EQ, CELL_OP_NE};
  double bound = a->bound;
  CellValue half = cell_op2(m->g, CELL_OP_ADD, scaled(m, a->v, 0.5), number(m, 0.25));
  switch (below(m, 6)) {
  case 0: keep(m, cell_op1(m->g, CELL_OP_SIGN, a->v), 1, true, 0); break;
  case 1: keep(m, cell_op1(m->g, CELL_OP_FLOOR, half), bound, true, 0); break;
  default: keep(m, cell_op2(m->g, compare[below(m, 4)], a->v, b->v), 1, true, 0); break;
  }
}

static bool is_condition(const Maker *m, const Known *k, const void *context) {
  if (!is_whole(m, k, context)) return false;
  /* gradient tests move every float, so there only bits decide */
  return !m->options.differentiable || cell_node(m->g, k->v)->dtype == CELL_BITS;
}

static void make_where(Maker *m) {
  const Known *c = pick(m, is_condition, NULL);
  const Known *a = c ? pick(m, goes_with, cell_node(m->g, c->v)) : NULL;
  if (!a) return;
  const CellNode *wide =
      cell_node(m->g, c->v)->rank ? cell_node(m->g, c->v) : cell_node(m->g, a->v);
  const Known *b = pick(m, goes_with, wide);
  if (!b) return;
  keep(m, cell_op3(m->g, CELL_OP_WHERE, c->v, a->v, b->v), fmax(a->bound, b->bound),
       a->whole && b->whole, 0);
}

/* ---- indices ---- */

static void make_from_index(Maker *m) {
  const Known *picked = pick(m, is_index, NULL);
  if (!picked) return;
  Known i = *picked;
  bool vector = cell_node(m->g, i.v)->rank < CELL_MAX_RANK;
  switch (vector ? below(m, 3) : 0) {
  case 0: keep(m, cell_op1(m->g, CELL_OP_FLOAT, i.v), i.limit, true, 0); break;
  case 1: keep(m, cell_one_hot(m->g, i.v, chance(m, 4) ? a_size(m) : i.limit), 1, true, 0); break;
  default: keep(m, cell_sign_bits(m->g, i.v, 1 + below(m, 4)), 1, true, 0); break;
  }
}

static void make_take(Maker *m) {
  const Known *picked = pick(m, is_number, NULL);
  if (!picked) return;
  Known a = *picked;
  const CellNode *n = cell_node(m->g, a.v);
  int dim = n->rank ? below(m, n->rank) : -1, axis = below(m, m->g->axis_count);
  if (dim < 0 || chance(m, 2)) {
    // no cell can state what mixes the samples of a step
    if (!(n->axes & CELL_AXIS(axis)) || (m->body && axis == CELL_AXIS_BATCH)) return;
    dim = -1;
  }
  int32_t extent = dim >= 0 ? n->shape[dim] : m->g->axes[axis].extent;
  const Known *index = pick(m, indexes, &extent);
  if (!index || (dim < 0 && (cell_node(m->g, index->v)->axes & CELL_AXIS(axis)))) return;
  CellValue v = dim >= 0 ? cell_take_dim(m->g, a.v, dim, index->v)
                         : cell_take_axis(m->g, a.v, axis, index->v);
  keep(m, v, a.bound, a.whole, 0);
}

/* ---- sums and products ---- */

static void make_sum(Maker *m) {
  const Known *picked = pick(m, is_number, NULL);
  if (!picked) return;
  Known a = *picked;
  const CellNode *n = cell_node(m->g, a.v);
  uint8_t dims = (uint8_t)below(m, 1 << n->rank);
  uint32_t over = chance(m, 2) ? n->axes & (uint32_t)below(m, 1 << m->g->axis_count) : 0;
  if (m->body) over = 0;
  if (!dims && !over) return;
  double terms = (double)cell_extent(m->g, over);
  for (int i = 0; i < n->rank; i++)
    if (dims & (1u << i)) terms *= n->shape[i];
  CellValue sum = cell_reduce(m->g, CELL_SUM, a.v, dims, over);
  if (!a.whole && chance(m, 2))
    keep(m, scaled(m, sum, 1 / terms), a.bound, false, 0);
  else
    keep(m, sum, a.bound * terms, a.whole, 0);
}

/* max and argmax: of whole numbers (ties and all), or of values that 2 i keeps apart */
static void make_max(Maker *m) {
  const Known *picked = pick(m, m->options.differentiable ? shaped : is_number, NULL);
  if (!picked) return;
  Known a = *picked;
  const CellNode *n = cell_node(m->g, a.v);
  int dim = n->rank ? below(m, n->rank) : -1, axis = below(m, m->g->axis_count);
  if (!m->options.differentiable && (dim < 0 || chance(m, 2))) dim = -1;
  if (dim < 0 && (!(n->axes & CELL_AXIS(axis)) || m->body)) return;
  int32_t extent = dim >= 0 ? n->shape[dim] : m->g->axes[axis].extent;
  CellValue v = a.v;
  if (!a.whole || m->options.differentiable) {
    CellValue apart = cell_op1(m->g, CELL_OP_FLOAT, cell_axis_index(m->g, axis));
    if (dim >= 0) {
      int8_t map[1] = {(int8_t)dim};
      int32_t shape[CELL_MAX_RANK];
      memcpy(shape, n->shape, sizeof shape);
      apart = cell_broadcast(m->g, cell_range(m->g, extent), n->rank, shape, map);
    }
    /* up or down */
    apart = scaled(m, apart, chance(m, 2) ? 2 : -2);
    v = cell_op2(m->g, CELL_OP_ADD, apart, scaled(m, cell_op1(m->g, CELL_OP_TANH, a.v), 0.25));
    a.bound = 2 * extent;
    a.whole = false;
  }
  CellReduce kind = m->options.differentiable || chance(m, 2) ? CELL_REDUCE_MAX : CELL_ARGMAX;
  v = cell_reduce(m->g, kind, v, dim >= 0 ? (uint8_t)(1u << dim) : 0,
                  dim >= 0 ? 0 : CELL_AXIS(axis));
  if (kind == CELL_ARGMAX)
    keep(m, v, extent, false, extent);
  else
    keep(m, v, a.bound, a.whole, 0);
}

static void make_contract(Maker *m) {
  const Known *pa = pick(m, is_number, NULL), *pb = pick(m, is_number, NULL);
  if (!pa || !pb) return;
  Known a = *pa, b = *pb;
  const CellNode *na = cell_node(m->g, a.v), *nb = cell_node(m->g, b.v);
  char la[5] = {0}, lb[5] = {0}, lr[9] = {0}, labels[24];
  int result = 0;
  double terms = 1;
  for (int i = 0; i < na->rank; i++) la[i] = (char)('a' + i);
  /* b's dimensions: matched with one of a of the same size, or its own */
  for (int i = 0; i < nb->rank; i++) {
    lb[i] = (char)('p' + i);
    for (int k = 0; k < na->rank; k++)
      if (na->shape[k] == nb->shape[i] && !strchr(lb, la[k]) && !chance(m, 4)) {
        lb[i] = la[k];
        break;
      }
  }
  for (int i = 0; i < na->rank; i++) {
    bool matched = strchr(lb, la[i]) != NULL;
    if (matched && !chance(m, 3))
      terms *= na->shape[i];
    else
      lr[result++] = la[i];
  }
  for (int i = 0; i < nb->rank; i++)
    if (!strchr(la, lb[i])) lr[result++] = lb[i];
  if (result > CELL_MAX_RANK) return;
  for (int i = result - 1; i > 0; i--) { /* any order */
    int k = chance(m, 2) ? i : below(m, i + 1);
    char swap = lr[i];
    lr[i] = lr[k];
    lr[k] = swap;
  }
  uint32_t both = na->axes | nb->axes;
  uint32_t over = m->body || chance(m, 2) ? 0 : both & (uint32_t)below(m, 1 << m->g->axis_count);
  terms *= (double)cell_extent(m->g, over);
  snprintf(labels, sizeof labels, "%s,%s->%s", la, lb, lr);
  CellValue v = cell_contract(m->g, a.v, b.v, labels, over);
  double bound = a.bound * b.bound * terms;
  if (a.whole && b.whole)
    keep(m, v, bound, true, 0);
  else
    keep(m, scaled(m, v, 1 / sqrt(terms)), bound / sqrt(terms), false, 0);
}

/* W concat(flattened pieces) + b: what networks are made of */
static void make_linear(Maker *m) {
  if (!m->options.params) return;
  CellValue pieces[3];
  int count = 1 + below(m, 3);
  int32_t total = 0;
  for (int i = 0; i < count; i++) {
    const Known *x = pick(m, is_number, NULL);
    if (!x) return;
    CellValue v = x->v;
    if (x->bound > 2) v = cell_op1(m->g, CELL_OP_TANH, v);
    int32_t size = (int32_t)cell_count(m->g, v);
    pieces[i] = cell_reshape(m->g, v, 1, &size);
    total += size;
  }
  if (total > 200) return;
  int32_t rows = a_size(m);
  char name[48];
  snprintf(name, sizeof name, "params/%s%d", m->body ? "body_w" : "w", m->names++);
  CellValue x = cell_concat(m->g, count, pieces, 0);
  CellValue w = cell_input(m->g, name, CELL_F, 2, (int32_t[]){rows, total}, 0);
  snprintf(name, sizeof name, "params/%s%d", m->body ? "body_b" : "b", m->names++);
  CellValue bias = cell_input(m->g, name, CELL_F, 1, &rows, 0);
  CellValue product = scaled(m, cell_contract(m->g, w, x, "ij,j->i", 0), 1 / sqrt(total));
  CellValue y = chance(m, 2) ? cell_op2(m->g, CELL_OP_ADD, product, bias) : product;
  keep(m, y, 2 * sqrt(total) + 1, false, 0);
}

/* ---- views ---- */

static void make_view(Maker *m) {
  const Known *picked = pick(m, chance(m, 8) ? is_index : shaped, NULL);
  if (!picked) return;
  Known a = *picked;
  const CellNode *n = cell_node(m->g, a.v);
  int dim = n->rank ? below(m, n->rank) : 0;
  int32_t size = n->rank ? n->shape[dim] : 1, shape[CELL_MAX_RANK];
  memcpy(shape, n->shape, sizeof shape);
  CellValue v = a.v;
  switch (below(m, 6)) {
  case 0: { /* reshape: flat, or with a dimension split off */
    int32_t total = (int32_t)cell_count(m->g, a.v), part = a_size(m);
    if (total % part == 0 && chance(m, 2))
      v = cell_reshape(m->g, v, 2, (int32_t[]){part, total / part});
    else
      v = cell_reshape(m->g, v, 1, &total);
    break;
  }
  case 1: {
    int8_t map[CELL_MAX_RANK] = {0, 1, 2, 3};
    for (int i = n->rank - 1; i > 0; i--) {
      int k = below(m, i + 1);
      int8_t swap = map[i];
      map[i] = map[k];
      map[k] = swap;
    }
    v = cell_transpose(m->g, v, map);
    break;
  }
  case 2: {
    if (!n->rank) return;
    int32_t begin = below(m, size);
    v = cell_slice(m->g, v, dim, begin, begin + 1 + below(m, size - begin));
    break;
  }
  case 3:
    if (!n->rank) return;
    v = cell_pad(m->g, v, dim, below(m, 3), below(m, 3));
    break;
  case 4: { /* broadcast: a new dimension somewhere */
    if (n->rank == CELL_MAX_RANK) return;
    int at = below(m, n->rank + 1);
    int8_t map[CELL_MAX_RANK] = {0};
    for (int i = 0; i < n->rank; i++) map[i] = (int8_t)(i + (i >= at));
    for (int i = 0; i < n->rank; i++) shape[map[i]] = n->shape[i];
    shape[at] = a_size(m);
    v = cell_broadcast(m->g, v, n->rank + 1, shape, map);
    break;
  }
  default: {
    if (!n->rank || n->dtype == CELL_I) return;
    const Known *b = pick(m, goes_with, n);
    if (!b || cell_node(m->g, b->v)->rank != n->rank) return;
    v = cell_concat(m->g, 2, (CellValue[]){a.v, b->v}, dim);
    a.bound = fmax(a.bound, b->bound);
    a.whole = a.whole && b->whole;
    break;
  }
  }
  keep(m, v, a.bound, a.whole, a.limit);
}

/* ---- scan ---- */

static void make_ops(Maker *m, int count);

static void make_scan(Maker *m) {
  if (!m->options.scan || m->body || m->options.differentiable) return;
  const Known *carry[2], *step[2];
  int carries = 1 + below(m, 2), steps = below(m, 3);
  CellValue carry_values[2], step_values[2];
  uint32_t axes = 0;
  const uint32_t time = CELL_AXIS(CELL_AXIS_TIME);
  for (int i = 0; i < carries; i++) {
    carry[i] = pick(m, without_time, NULL);
    if (!carry[i]) return;
    carry_values[i] = carry[i]->v;
    axes |= cell_node(m->g, carry_values[i])->axes;
  }
  for (int i = 0; i < steps; i++) {
    step[i] = pick(m, over_time, NULL);
    if (!step[i]) return;
    step_values[i] = step[i]->v;
    axes |= cell_node(m->g, step_values[i])->axes & ~time;
  }
  if (cell_extent(m->g, axes) > 200) return;

  /* the body: a small random graph over the ports, then each carry made of its own old value and
   * something of the pool, so that its type stays */
  Maker b = {.g = cell_graph_like(m->g, "body"), .state = m->state, .options = m->options};
  memcpy(b.sizes, m->sizes, sizeof b.sizes);
  b.body = true;
  b.axes = axes;
  b.names = 1000 * ++m->names;
  CellValue port[2];
  char name[16];
  for (int i = 0; i < carries + steps; i++) {
    bool is_carry = i < carries;
    const CellNode *n = cell_node(m->g, is_carry ? carry_values[i] : step_values[i - carries]);
    snprintf(name, sizeof name, "%s%d", is_carry ? "carry" : "step", is_carry ? i : i - carries);
    CellValue v = cell_input(b.g, name, is_carry ? CELL_F : n->dtype, n->rank, n->shape,
                             is_carry ? axes : n->axes & ~time);
    if (is_carry) port[i] = v;
    const Known *from = is_carry ? carry[i] : step[i - carries];
    keep(&b, v, fmax(from->bound, 1), !is_carry && from->whole, 0);
  }
  make_ops(&b, 6 + below(&b, 8));
  for (int i = 0; i < carries; i++) {
    const Known *x = pick(&b, goes_with, cell_node(b.g, port[i]));
    CellValue other = x ? x->v : port[i];
    const CellNode *n = cell_node(b.g, other);
    if (n->rank > cell_node(b.g, port[i])->rank)
      other = cell_reduce(b.g, CELL_SUM, other, (uint8_t)((1u << n->rank) - 1), 0);
    CellValue mixed = cell_op2(b.g, CELL_OP_ADD, scaled(&b, port[i], 0.5), other);
    snprintf(name, sizeof name, "carry%d", i);
    cell_output(b.g, name, cell_op1(b.g, CELL_OP_TANH, mixed));
  }
  m->state = b.state;
  CellValue scan = cell_scan(m->g, CELL_AXIS_TIME, cell_rewrite(b.g, NULL, NULL), carries,
                             carry_values, steps, step_values);
  for (int i = 0; i < carries; i++) keep(m, cell_result(m->g, scan, i), 1, false, 0);
}

/* ---- graphs ---- */

static void make_ops(Maker *m, int count) {
  static void (*const makers[])(Maker *) = {
      make_leaf,  make_binary,     make_binary, make_unary,  make_kink,     make_jump,
      make_where, make_from_index, make_take,   make_sum,    make_max,      make_contract,
      make_view,  make_view,       make_scan,   make_linear, make_contract, make_sum};
  for (int tries = 0; m->count < count && tries < 20 * count; tries++)
    makers[below(m, sizeof makers / sizeof *makers)](m);
}

/* mean over everything, to rank 0 and no axes */
static CellValue overall_mean(Maker *m, CellValue v) {
  const CellNode *n = cell_node(m->g, v);
  double terms = (double)(cell_count(m->g, v) * cell_extent(m->g, n->axes));
  CellValue sum = cell_reduce(m->g, CELL_SUM, v, (uint8_t)((1u << n->rank) - 1), n->axes);
  return scaled(m, sum, 1 / terms);
}

static void make_outputs(Maker *m) {
  bool *read = calloc((size_t)m->g->node_count, 1);
  CellValue loss = CELL_NONE;
  int made = 0;
  /* every value of the pool is reached from some output; later ones take earlier ones with them */
  for (int i = m->count - 1; i >= 0; i--) {
    CellValue v = m->pool[i].v;
    if (read[v]) continue;
    read[v] = true;
    for (CellValue w = v; w >= 0; w--)
      for (int k = 0; read[w] && k < m->g->nodes[w].arg_count; k++)
        read[m->g->nodes[w].args[k]] = true;
    const CellNode *n = cell_node(m->g, v);
    if (n->op == CELL_OP_INPUT || n->op == CELL_OP_CONST) continue;
    char name[24];
    snprintf(name, sizeof name, "out%d", made++);
    if (n->dtype == CELL_BITS) v = scaled(m, v, 0.5);
    cell_output(m->g, name, v);
    if (!m->options.loss || cell_node(m->g, v)->dtype == CELL_I) continue;
    CellValue term = overall_mean(m, v);
    loss = loss == CELL_NONE ? term : cell_op2(m->g, CELL_OP_ADD, loss, term);
  }
  free(read);
  if (m->options.loss) cell_output(m->g, "loss", loss != CELL_NONE ? loss : number(m, 0));
}

CellGraph *cell_random_graph(CellArena *arena, uint64_t seed, const CellRandomOptions *options) {
  Maker m = {.state = seed * 0x2545f4914f6cdd1du + 1};
  if (options) m.options = *options;
  char name[32];
  snprintf(name, sizeof name, "random_%llu", (unsigned long long)seed);
  m.g = cell_graph_create(arena, name);
  for (int i = 0; i < 3; i++) {
    m.g->axes[i].extent = 1 + below(&m, i == CELL_AXIS_BATCH ? 5 : 4);
    m.sizes[i] = 1 + below(&m, 5);
  }
  static const int32_t tiled[] = {17, 32, 33, 64}; // several tiles, the last one full or not
  if (m.options.large && chance(&m, 2)) m.g->axes[CELL_AXIS_BATCH].extent = tiled[below(&m, 4)];
  if (m.options.large) m.sizes[below(&m, 3)] = chance(&m, 2) ? 17 : 33;
  if (chance(&m, 6)) cell_graph_add_axis(m.g, "draw", 1 + below(&m, 3));
  m.axes = (1u << m.g->axis_count) - 1;

  for (int i = 0; i < 8; i++) make_leaf(&m);
  keep(&m, new_input(&m, "x", CELL_F, 1, CELL_AXIS(CELL_AXIS_BATCH)), 1, false, 0);
  if (m.options.scan)
    keep(&m, new_input(&m, "x", CELL_F, 1, CELL_AXIS(CELL_AXIS_BATCH) | CELL_AXIS(CELL_AXIS_TIME)),
         1, false, 0);
  make_ops(&m, m.options.size ? m.options.size : 40);
  make_outputs(&m);
  return cell_rewrite(m.g, NULL, NULL);
}

/* ---- data ---- */

typedef struct {
  CellArena *arena;
  CellTensor *items;
  int count, capacity;
  uint64_t seed;
} Data;

static void fill(const CellNode *n, CellTensor *t, uint64_t seed) {
  uint64_t state = seed;
  for (const char *c = n->name; *c; c++) state = (state ^ (unsigned char)*c) * 0x100000001b3u;
  int limit = strncmp(n->name, "index", 5) == 0 ? atoi(n->name + 5) : 1;
  bool whole = strncmp(n->name, "whole", 5) == 0;
  for (int64_t i = 0; i < t->count; i++) {
    uint64_t r = cell_random_bits(&state) >> 20;
    if (n->dtype == CELL_BITS)
      t->data[i] = r % 4 == 0;
    else if (n->dtype == CELL_I)
      t->data[i] = (double)(r % (uint64_t)(limit > 0 ? limit : 1));
    else if (whole)
      t->data[i] = (double)(r % 7) - 3;
    else
      t->data[i] = ((double)(r % 2049) - 1024) / 1024;
  }
}

static bool is_port(const char *name) {
  size_t skip = strncmp(name, "carry", 5) == 0 ? 5 : strncmp(name, "step", 4) == 0 ? 4 : 0;
  return skip && name[skip] && strspn(name + skip, "0123456789") == strlen(name + skip);
}

static void gather(Data *d, const CellGraph *g, bool body) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN) gather(d, n->body, true);
    if (n->op != CELL_OP_INPUT || (body && is_port(n->name))) continue;
    bool known = false;
    for (int i = 0; i < d->count; i++) known = known || strcmp(d->items[i].name, n->name) == 0;
    if (known) continue;
    CellTensor t = {n->name, NULL, cell_count(g, v) * cell_extent(g, n->axes)};
    t.data = CELL_NEW_ARRAY(d->arena, double, t.count);
    fill(n, &t, d->seed);
    CELL_PUSH(d->arena, d->items, d->count, d->capacity, t);
  }
}

CellTensor *cell_random_inputs(CellArena *arena, const CellGraph *g, uint64_t seed, int *count) {
  Data d = {.arena = arena, .seed = seed * 0x9e3779b97f4a7c15u + 7};
  gather(&d, g, false);
  *count = d.count;
  return d.items;
}
