/* sparse_terms.c - takes the zeros of relu out of what follows it, so that products can leave them out.
 *
 * A layer norm behind a relu has no zeros: h_j = g_j (r_j - mean) / std + b_j. But it is
 *
 *     h = s + u_1 w_1 + u_2 w_2,   s_j = g_j r_j / std,   u_1 = -mean / std, w_1 = g,   u_2 = 1, w_2 = b
 *
 * where s is 0 wherever r is, the u are numbers of a sample and the w are the same for all samples. So
 *
 *     W h = W s + u_1 (W w_1) + u_2 (W w_2):
 *
 * a product that may leave out zeros, and a short one with a matrix that all samples share. Any chain of relu,
 * scales, shifts and concat has such terms. A scan whose carry has them carries s and each u instead, from zero; what
 * all steps share comes in as an input of the scan that does not vary along it:
 *
 *     scan carries (0) { carry0 = h }   ->   scan carries (0, 0, 0) inputs (W w) { carry0 = s, carry1 = u_1, carry2 = 1 }
 *
 * The gradient of W sums over the samples. There the u are summed, and the w are multiplied once:
 *
 *     sum dy h^T = sum dy s^T + (sum u_1 dy) w_1^T + (sum u_2 dy) w_2^T
 *
 * Exact in real arithmetic. In floats, where a row's mean is many times its spread, the sum loses digits that
 * subtracting first would keep; then hardly anything is 0 either. Done where a count says that what is left out is more than what is added. */
#include "ir/fuse.h"

#include <stdlib.h>
#include <string.h>

#include "ir/internal.h"
#include "ir/rewrite.h"

enum {
  MOST_TERMS = 6,
  DEEPEST = 40,
  FIXED_NODES = 64,
  /* multiply-adds of a program's products, about: with less it gains no fifth of a millisecond, and its code takes
   * some hundredths of a second more to compile */
  LEAST_WORK = 60000000
};

typedef struct {
  CellValue u; /* rank 0 */
  CellValue w; /* no axes; rank 0: all its entries are that */
} Term;

/* v = s + sum of u w */
typedef struct {
  bool known, exists;
  CellValue s;
  int count;
  Term terms[MOST_TERMS];
} Split;

/* a scan that was made anew: the terms of its results */
typedef struct {
  CellValue scan;
  Split *results; /* one a carry of the old scan */
} Scan;

/* the number of the carry that holds each u */
typedef struct {
  int at[MOST_TERMS];
} Places;

typedef struct Work {
  CellGraph *to;
  bool always;   /* whether or not it is worth it */
  bool *changed; /* of the whole program: whether a product was taken apart */
  Split *splits; /* of values of `to`, where known */
  int capacity;
  Scan *scans;
  int scan_count, scan_capacity;
  /* of a scan's body */
  struct Work *outer;
  double steps;
  CellValue *inputs; /* of `outer->to`: what goes into the body beside what went there before */
  int input_count, input_capacity, first_input;
  const struct Work *probe; /* a copy of the body as it was, */
  const Split *carries;     /* the terms of its carries, if they have any, */
  const Places *places;     /* and the carries that hold their u */
} Work;

static Split *slot(Work *w, CellValue v) {
  if (v >= w->capacity) {
    int capacity = 2 * v + 64;
    Split *grown = CELL_NEW_ARRAY(w->to->arena, Split, (size_t)capacity);
    if (w->capacity > 0) memcpy(grown, w->splits, (size_t)w->capacity * sizeof *grown);
    w->splits = grown, w->capacity = capacity;
  }
  return &w->splits[v];
}

// ---- terms of a value ----

static bool is_port(const CellNode *n) {
  int which;
  return n->op == CELL_OP_INPUT &&
         (sscanf(n->name, "carry%d", &which) == 1 || sscanf(n->name, "step%d", &which) == 1);
}

/* whether v is the same in every step of the scan around it, and little is needed to make it */
static bool is_fixed(const CellGraph *g, CellValue v, int *left) {
  const CellNode *n = cell_node(g, v);
  if (--*left < 0 || is_port(n) || n->op == CELL_OP_SCAN) return false;
  for (int i = 0; i < n->arg_count; i++)
    if (!is_fixed(g, n->args[i], left)) return false;
  return true;
}

/* the same for all samples: may stand beside a u */
static bool is_shared(const Work *w, CellValue v) {
  int left = FIXED_NODES;
  return cell_node(w->to, v)->axes == 0 && (!w->outer || is_fixed(w->to, v, &left));
}

static Split split_of(Work *w, CellValue v, int depth);

static void add_term(Work *w, Split *x, CellValue u, CellValue by) {
  for (int i = 0; i < x->count; i++)
    if (x->terms[i].u == u) {
      x->terms[i].w = cell_op2(w->to, CELL_OP_ADD, x->terms[i].w, by);
      return;
    }
  if (x->count == MOST_TERMS)
    x->exists = false;
  else
    x->terms[x->count++] = (Term){u, by};
}

static CellValue negated(Work *w, CellValue v) {
  return cell_op1(w->to, CELL_OP_NEG, v);
}

// op is MUL or DIV by a value without zeros to look at
static Split scaled(Work *w, CellOp op, Split x, CellValue v, CellValue by) {
  const CellNode *n = cell_node(w->to, by);
  bool number = n->rank == 0;
  if (!number && !is_shared(w, by)) {
    if (x.count > 0) x.exists = false;
    x.s = v;
    return x;
  }
  x.s = cell_op2(w->to, op, x.s, by);
  for (int i = 0; i < x.count; i++) {
    CellValue *which = number ? &x.terms[i].u : &x.terms[i].w;
    *which = cell_op2(w->to, op, *which, by);
  }
  return x;
}

// v = x + by, or x - by
static Split shifted(Work *w, CellOp op, Split x, CellValue by) {
  CellValue one = cell_const(w->to, 1);
  if (cell_node(w->to, by)->rank == 0)
    add_term(w, &x, op == CELL_OP_SUB ? negated(w, by) : by, one);
  else if (is_shared(w, by))
    add_term(w, &x, op == CELL_OP_SUB ? cell_const(w->to, -1) : one, by);
  else
    x.exists = false;
  return x;
}

static Split opposite(Work *w, Split x) {
  x.s = negated(w, x.s);
  for (int i = 0; i < x.count; i++) x.terms[i].u = negated(w, x.terms[i].u);
  return x;
}

// pieces that have no terms are what they are; terms of the same u are one
static Split concatenated(Work *w, CellValue v, int depth) {
  Split all = {.known = true};
  const CellNode n = *cell_node(w->to, v);
  Split *pieces = CELL_NEW_ARRAY(w->to->arena, Split, n.arg_count);
  CellValue *parts = CELL_NEW_ARRAY(w->to->arena, CellValue, n.arg_count);
  for (int i = 0; i < n.arg_count; i++) {
    pieces[i] = split_of(w, n.args[i], depth);
    all.exists |= pieces[i].exists;
    parts[i] = pieces[i].exists ? pieces[i].s : n.args[i];
  }
  if (!all.exists) return all;
  all.s = cell_concat(w->to, n.arg_count, parts, 0);
  for (int i = 0; i < n.arg_count; i++)
    for (int t = 0; pieces[i].exists && t < pieces[i].count; t++) {
      CellValue u = pieces[i].terms[t].u;
      bool have = false;
      for (int k = 0; k < all.count; k++) have |= all.terms[k].u == u;
      if (have) continue;
      for (int p = 0; p < n.arg_count; p++) {
        CellValue by = cell_const(w->to, 0);
        for (int k = 0; pieces[p].exists && k < pieces[p].count; k++)
          if (pieces[p].terms[k].u == u) by = pieces[p].terms[k].w;
        parts[p] = cell_full(w->to, by, 1, cell_node(w->to, n.args[p])->shape);
      }
      add_term(w, &all, u, cell_concat(w->to, n.arg_count, parts, 0));
    }
  return all;
}

static Split find_split(Work *w, CellValue v, int depth) {
  Split none = {.known = true};
  const CellNode n = *cell_node(w->to, v);
  if (n.rank != 1 || n.dtype != CELL_F || n.axes == 0 || depth > DEEPEST) return none;
  if (fuse_makes_zeros(n.op)) return (Split){.known = true, .exists = true, .s = v};
  Split a, b;
  switch ((int)n.op) {
  case CELL_OP_STOP_GRADIENT: return split_of(w, n.args[0], depth);
  case CELL_OP_NEG: a = split_of(w, n.args[0], depth); return a.exists ? opposite(w, a) : none;
  case CELL_OP_DIV:
    a = split_of(w, n.args[0], depth);
    return a.exists ? scaled(w, n.op, a, v, n.args[1]) : none;
  case CELL_OP_MUL:
    a = split_of(w, n.args[0], depth);
    if (a.exists) return scaled(w, n.op, a, v, n.args[1]);
    b = split_of(w, n.args[1], depth);
    return b.exists ? scaled(w, n.op, b, v, n.args[0]) : none;
  case CELL_OP_ADD:
  case CELL_OP_SUB:
    a = split_of(w, n.args[0], depth), b = split_of(w, n.args[1], depth);
    if (a.exists == b.exists) return none;
    if (a.exists) return shifted(w, n.op, a, n.args[1]);
    return shifted(w, CELL_OP_ADD, n.op == CELL_OP_SUB ? opposite(w, b) : b, n.args[0]);
  case CELL_OP_CONCAT: return concatenated(w, v, depth);
  default: return none;
  }
}

static Split split_of(Work *w, CellValue v, int depth) {
  if (!slot(w, v)->known) {
    Split found = find_split(w, v, depth + 1); // makes values, so that slots may move
    *slot(w, v) = found;
  }
  return *slot(w, v);
}

static void note_split(Work *w, CellValue v, const Split *x) {
  *slot(w, v) = *x;
  *slot(w, x->s) = (Split){.known = true, .exists = true, .s = x->s};
}

/* s + sum of u w, whose terms are known */
static CellValue sum_of(Work *w, const Split *x) {
  CellValue sum = x->s;
  for (int i = 0; i < x->count; i++)
    sum = cell_op2(w->to, CELL_OP_ADD, sum,
                   cell_op2(w->to, CELL_OP_MUL, x->terms[i].u, x->terms[i].w));
  note_split(w, sum, x);
  return sum;
}

// ---- products ----

/* a product of a vector of a sample with a matrix that all share: the matrix's place, or -1 */
static int matrix_of(const CellGraph *g, const CellValue *args, const CellNode *n) {
  if (n->op != CELL_OP_CONTRACT || n->over || n->rank != 1) return -1;
  for (int i = 0; i < 2; i++) {
    const CellNode *p = cell_node(g, args[i]), *x = cell_node(g, args[1 - i]);
    if (p->axes == 0 && p->rank == 2 && p->dtype == CELL_F && x->rank == 1 && x->dtype == CELL_F &&
        x->axes & CELL_AXIS(CELL_AXIS_BATCH))
      return i;
  }
  return -1;
}

/* Whether leaving out half of a product of m rows is worth its terms, in multiply-adds: the lists of what is left,
 * the matrix times each w, which is read from memory for it, once for `steps` products, and what is added. */
static bool is_worth(double m, double k, double n, int terms, double steps) {
  return 0.4 * m * k * n > 8 * m * k + 4 * terms * k * n / steps + m * n * (terms + 4);
}

static bool is_product_worth(const Work *w, const CellGraph *g, CellValue x, CellValue matrix,
                             int terms) {
  const CellNode *p = cell_node(g, matrix), *n = cell_node(g, x);
  double k = n->shape[0];
  return w->always || is_worth((double)cell_extent(g, n->axes), k,
                               (double)p->shape[0] * p->shape[1] / k, terms, w->steps);
}

static CellValue copy_to(CellGraph *to, const CellGraph *from, CellValue v) {
  CellValue *map = cell_malloc(((size_t)from->node_count + 1) * sizeof *map);
  for (CellValue i = 0; i < from->node_count; i++) map[i] = CELL_NONE;
  CellValue made = cell_copy(to, from, v, map, NULL, NULL);
  free(map);
  return made;
}

/* a value of the graph around a body as an input of the body */
static CellValue from_outside(Work *w, CellValue outside) {
  int at = 0;
  while (at < w->input_count && w->inputs[at] != outside) at++;
  if (at == w->input_count)
    CELL_PUSH(w->to->arena, w->inputs, w->input_count, w->input_capacity, outside);
  const CellNode *n = cell_node(w->outer->to, outside);
  return cell_input(w->to, cell_port_name("step", w->first_input + at).text, n->dtype, n->rank,
                    n->shape, n->axes);
}

/* the terms as a matrix of a row each; a matrix of one row is none */
static CellValue rows_of(CellGraph *g, CellValue *vectors, int count) {
  int32_t row[2] = {1, cell_node(g, vectors[0])->shape[0]};
  if (count == 1) vectors[count++] = cell_full(g, cell_const(g, 0), 1, &row[1]);
  for (int i = 0; i < count; i++) vectors[i] = cell_reshape(g, vectors[i], 2, row);
  return cell_concat(g, count, vectors, 0);
}

/* the u of the terms, as a vector */
static CellValue numbers_of(CellGraph *g, const Split *x) {
  CellValue numbers[MOST_TERMS + 1];
  int32_t one = 1;
  int count = x->count;
  for (int i = 0; i < count; i++) numbers[i] = cell_full(g, x->terms[i].u, 1, &one);
  if (count == 1) numbers[count++] = cell_full(g, cell_const(g, 0), 1, &one);
  return cell_concat(g, count, numbers, 0);
}

/* The matrix times each w, one row each; in a body they come from outside. */
static CellValue shared_rows(Work *w, const CellNode *n, int place, CellValue matrix,
                             const Split *x) {
  CellGraph *g = w->outer ? w->outer->to : w->to;
  CellValue vectors[MOST_TERMS + 1] = {0};
  if (w->outer) matrix = copy_to(g, w->to, matrix);
  int32_t k = cell_node(w->to, x->s)->shape[0];
  for (int i = 0; i < x->count; i++) {
    CellValue by = w->outer ? copy_to(g, w->to, x->terms[i].w) : x->terms[i].w;
    vectors[i] = cell_full(g, by, 1, &k);
  }
  CellValue by = rows_of(g, vectors, x->count), all;
  bool turned =
      n->labels[place][0] != n->labels[1 - place][0]; // the summed dimension is the second
  all = cell_contract(g, by, matrix, turned ? "tk,jk->tj" : "tk,kj->tj", 0);
  return w->outer ? from_outside(w, all) : all;
}

static CellValue split_product(Work *w, const CellNode *n, const CellValue *args) {
  int place = matrix_of(w->to, args, n);
  if (place < 0) return CELL_NONE;
  CellValue matrix = args[place], vector = args[1 - place];
  if (!is_product_worth(w, w->to, vector, matrix, 1) || !is_shared(w, matrix)) return CELL_NONE;
  Split x = split_of(w, vector, 0);
  if (!x.exists || x.count == 0 || !is_product_worth(w, w->to, vector, matrix, x.count))
    return CELL_NONE;
  CellValue product[2] = {args[0], args[1]};
  product[1 - place] = x.s;
  CellValue without = cell_rebuild(w->to, n, product);
  CellValue rows = shared_rows(w, n, place, matrix, &x), u = numbers_of(w->to, &x);
  *w->changed = true;
  return cell_op2(w->to, CELL_OP_ADD, without, cell_contract(w->to, rows, u, "ij,i->j", 0));
}

// ---- gradients of matrices ----

/* Whether leaving out half of the entries of x is worth its terms where samples are summed: x has k entries, the other
 * factor n. Every task, of which there are some, turns x and makes its lists. */
static bool is_gradient_worth(double samples, double k, double n, int terms) {
  return 0.4 * samples * k * n > 160 * samples * k + 2 * terms * n * (samples + k);
}

/* sum over the samples of u times y, a row for each u, some of which are the same for all samples */
static CellValue summed_terms(Work *w, const Split *x, CellValue y, uint32_t over) {
  CellValue sums[MOST_TERMS + 1] = {0};
  for (int i = 0; i < x->count; i++)
    if (cell_node(w->to, x->terms[i].u)->axes == over)
      return cell_contract(w->to, y, numbers_of(w->to, x), "i,t->ti", over);
  CellValue sum = cell_sum(w->to, y, 0, over);
  for (int i = 0; i < x->count; i++) sums[i] = cell_op2(w->to, CELL_OP_MUL, sum, x->terms[i].u);
  return rows_of(w->to, sums, x->count);
}

static CellValue split_gradient(Work *w, const CellNode *n, const CellValue *args) {
  if (w->outer || n->over != CELL_AXIS(CELL_AXIS_BATCH) || n->axes || n->rank != 2)
    return CELL_NONE;
  const CellNode *factor[2] = {cell_node(w->to, args[0]), cell_node(w->to, args[1])};
  for (int i = 0; i < 2; i++)
    if (factor[i]->rank != 1 || factor[i]->dtype != CELL_F || factor[i]->axes != n->over)
      return CELL_NONE;
  double samples = (double)cell_extent(w->to, n->over);
  for (int i = 0; i < 2; i++) {
    int32_t k = cell_node(w->to, args[i])->shape[0],
            others = cell_node(w->to, args[1 - i])->shape[0];
    if (!w->always && !is_gradient_worth(samples, k, others, 1)) continue;
    Split x = split_of(w, args[i], 0);
    if (!x.exists || x.count == 0) continue;
    if (!w->always && !is_gradient_worth(samples, k, others, x.count)) continue;
    CellValue product[2] = {args[0], args[1]}, vectors[MOST_TERMS + 1] = {0};
    product[i] = x.s;
    CellValue without = cell_rebuild(w->to, n, product);
    CellValue sums = summed_terms(w, &x, args[1 - i], n->over);
    for (int t = 0; t < x.count; t++) vectors[t] = cell_full(w->to, x.terms[t].w, 1, &k);
    CellValue shared = rows_of(w->to, vectors, x.count);
    // of the result: the label of x first, or second
    bool first = n->labels[2][0] == n->labels[i][0];
    *w->changed = true;
    return cell_op2(w->to, CELL_OP_ADD, without,
                    cell_contract(w->to, sums, shared, first ? "ti,tj->ji" : "ti,tj->ij", 0));
  }
  return CELL_NONE;
}

// ---- scans ----

static CellValue replace(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                         void *context);

/* a carry that goes apart, as the new body sees it; n: its input in the old one */
static CellValue carry_of(Work *w, const CellNode *n, int number) {
  Split x = w->carries[number];
  x.s = cell_input(w->to, n->name, CELL_F, n->rank, n->shape, n->axes);
  for (int t = 0; t < x.count; t++) {
    // of every sample, also where it is the same number: tasks are cut by the batch
    CellPortName name = cell_port_name("carry", w->places[number].at[t]);
    x.terms[t].u = cell_input(w->to, name.text, CELL_F, 0, NULL, n->axes);
    x.terms[t].w = copy_to(w->to, w->probe->to, x.terms[t].w);
  }
  return sum_of(w, &x);
}

/* whether some product of the body reads a carry, alone or in a concat, and is worth its terms */
static bool is_read(const Work *w, CellValue carry, int terms) {
  const CellGraph *body = w->to;
  for (CellValue v = 0; v < body->node_count; v++) {
    const CellNode *n = cell_node(body, v);
    int place = matrix_of(body, n->args, n);
    if (place < 0) continue;
    const CellValue vector = n->args[1 - place];
    const CellNode *x = cell_node(body, vector);
    bool reads = vector == carry;
    for (int i = 0; x->op == CELL_OP_CONCAT && i < x->arg_count; i++) reads |= x->args[i] == carry;
    if (reads && is_product_worth(w, body, vector, n->args[place], terms)) return true;
  }
  return false;
}

/* The terms that the carries of a scan have behind a step, as values of a copy of its body. Those that are to be
 * left alone have none. */
static void find_carries(Work *w, const CellNode *n, const CellValue *args, Work *probe,
                         const bool *left_alone, Split *carries) {
  for (int i = 0; i < n->carry_count; i++) {
    if (left_alone[i]) continue;
    CellPortName name = cell_port_name("carry", i);
    CellValue in = cell_find_input(probe->to, name.text);
    if (in == CELL_NONE || !fuse_is_zero(w->to, args[i])) continue;
    Split x = split_of(probe, cell_find_output(probe->to, name.text), 0);
    if (!x.exists || x.count == 0 || !is_read(probe, in, x.count)) continue;
    bool shared = true;
    for (int t = 0; t < x.count; t++) {
      int left = FIXED_NODES;
      shared &= is_fixed(probe->to, x.terms[t].w, &left);
    }
    if (shared) carries[i] = x;
  }
}

/* what stands for a carry: s under its old name, and a new carry for each u; one for those that are the same number */
static void new_carries(const Work *probe, Split *carries, int count, Places *which, int *made) {
  *made = count;
  for (int i = 0; i < count; i++)
    for (int t = 0; carries[i].exists && t < carries[i].count; t++) {
      CellValue u = carries[i].terms[t].u;
      which[i].at[t] = -1;
      for (int j = 0; j <= i && cell_node(probe->to, u)->op == CELL_OP_CONST; j++)
        for (int k = 0; carries[j].exists && k < (j < i ? carries[j].count : t); k++)
          if (carries[j].terms[k].u == u) which[i].at[t] = which[j].at[k];
      if (which[i].at[t] < 0) which[i].at[t] = (*made)++;
    }
}

/* Whether a carry has the same terms where the body sees the others apart: it may hold one of them as it was. */
static bool same_terms(Work *body, const Split *x, const Work *probe, const Split *carry) {
  if (!x->exists || x->count != carry->count) return false;
  for (int t = 0; t < x->count; t++) {
    const CellNode *u = cell_node(body->to, x->terms[t].u),
                   *was = cell_node(probe->to, carry->terms[t].u);
    if (x->terms[t].w != copy_to(body->to, probe->to, carry->terms[t].w)) return false;
    if ((u->op == CELL_OP_CONST) != (was->op == CELL_OP_CONST) || u->number != was->number)
      return false;
  }
  return true;
}

/* CELL_NONE: one more carry is to be left alone */
static CellValue try_scan(Work *w, const CellNode *n, const CellValue *args, bool *left_alone) {
  int axis = 0, old = n->carry_count, made = 0;
  while (!(n->over >> axis & 1)) axis++;
  CellArena *arena = w->to->arena;
  double steps = (double)cell_extent(w->to, n->over);
  Work probe = {.to = cell_rewrite(n->body, NULL, NULL),
                .always = w->always,
                .changed = w->changed,
                .outer = w,
                .steps = steps};
  Work body = {.always = w->always,
               .changed = w->changed,
               .outer = w,
               .steps = steps,
               .first_input = n->arg_count - old};
  Split *carries = CELL_NEW_ARRAY(arena, Split, old + 1),
        *results = CELL_NEW_ARRAY(arena, Split, old + 1);
  Places *which = CELL_NEW_ARRAY(arena, Places, old + 1);
  find_carries(w, n, args, &probe, left_alone, carries);
  new_carries(&probe, carries, old, which, &made);

  body.probe = &probe, body.carries = carries, body.places = which;
  body.to = cell_rewrite(n->body, replace, &body);

  // its outputs
  bool *there = CELL_NEW_ARRAY(arena, bool, made + 1);
  for (int i = 0, count = body.to->output_count; i < count; i++) {
    CellOutput *o = &body.to->outputs[i];
    int number;
    if (sscanf(o->name, "carry%d", &number) != 1 || !carries[number].exists) continue;
    Split x = split_of(&body, o->value, 0);
    if (!same_terms(&body, &x, &probe, &carries[number])) {
      left_alone[number] = true;
      return CELL_NONE;
    }
    o->value = x.s;
    for (int t = 0; t < x.count; t++) {
      int at = which[number].at[t];
      if (!there[at]) cell_output(body.to, cell_port_name("carry", at).text, x.terms[t].u);
      there[at] = true;
    }
  }

  // the scan, and what its results are
  int inputs = n->arg_count - old;
  CellValue *first = CELL_NEW_ARRAY(arena, CellValue, made + 1),
            *in = CELL_NEW_ARRAY(arena, CellValue, inputs + body.input_count + 1);
  for (int i = 0; i < made; i++) first[i] = i < old ? args[i] : cell_const(w->to, 0);
  for (int i = 0; i < inputs; i++) in[i] = args[old + i];
  for (int i = 0; i < body.input_count; i++) in[inputs + i] = body.inputs[i];
  CellValue scan = cell_scan(w->to, axis, body.to, made, first, inputs + body.input_count, in);
  for (int i = 0; i < old; i++) {
    results[i] = carries[i];
    if (!carries[i].exists) continue;
    results[i].s = cell_result(w->to, scan, i);
    for (int t = 0; t < carries[i].count; t++) {
      const CellNode *u = cell_node(probe.to, carries[i].terms[t].u);
      results[i].terms[t].u = u->op == CELL_OP_CONST ? cell_const(w->to, u->number)
                                                     : cell_result(w->to, scan, which[i].at[t]);
      results[i].terms[t].w = copy_to(w->to, probe.to, carries[i].terms[t].w);
    }
  }
  CELL_PUSH(arena, w->scans, w->scan_count, w->scan_capacity, ((Scan){scan, results}));
  return scan;
}

static CellValue split_scan(Work *w, const CellNode *n, const CellValue *args) {
  bool *left_alone = CELL_NEW_ARRAY(w->to->arena, bool, n->carry_count + 1);
  CellValue made = CELL_NONE;
  while (made == CELL_NONE) made = try_scan(w, n, args, left_alone);
  return made;
}

// ---- all nodes ----

static CellValue replace(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                         void *context) {
  Work *w = context;
  const CellNode *n = cell_node(from, v);
  w->to = to;
  int which;
  switch ((int)n->op) {
  case CELL_OP_CONTRACT: return n->over ? split_gradient(w, n, args) : split_product(w, n, args);
  case CELL_OP_SCAN: return split_scan(w, n, args);
  case CELL_OP_RESULT:
    for (int i = 0; i < w->scan_count; i++)
      if (w->scans[i].scan == args[0] && w->scans[i].results[n->begin].exists)
        return sum_of(w, &w->scans[i].results[n->begin]);
    return CELL_NONE;
  case CELL_OP_INPUT:
    if (w->outer && sscanf(n->name, "carry%d", &which) == 1 && w->carries[which].exists)
      return carry_of(w, n, which);
    return CELL_NONE;
  default: return CELL_NONE;
  }
}

static double multiply_adds(const CellGraph *g) {
  double sum = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN) sum += (double)cell_extent(g, n->over) * multiply_adds(n->body);
    int place = matrix_of(g, n->args, n);
    if (place < 0) continue;
    const CellNode *p = cell_node(g, n->args[place]), *x = cell_node(g, n->args[1 - place]);
    sum += (double)cell_extent(g, x->axes) * p->shape[0] * p->shape[1];
  }
  return sum;
}

bool fuse_sparse_pays(const CellGraph *g) {
  return multiply_adds(g) >= LEAST_WORK;
}

const CellGraph *fuse_sparse_terms(const CellGraph *g, bool always) {
  bool changed = false;
  Work w = {.always = always, .changed = &changed, .steps = 1};
  CellGraph *made = cell_rewrite(g, replace, &w);
  return changed ? made : g;
}
