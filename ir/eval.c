/* eval.c - the float64 evaluator of graphs, op by op: the definition of what each op computes. Slow
 * and obvious; every other back end is compared with it.
 *
 * A value lies in memory as its axes in table order, then its shape, row-major, and only over the
 * axes that it varies over. Every op is a nest of loops over coordinates (an axis or a dimension)
 * with a stride per tensor; a tensor that does not vary along a coordinate has stride 0 there.
 *
 * max and argmax start at -infinity and compare with >: the lower index wins on ties, NaN never
 * wins, and the maximum of nothing but NaN is -infinity, at index 0. An index outside its range is
 * an error in take; in one_hot it gives zeros. Only what an output needs is evaluated. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/internal.h"

/* ---- loops ---- */

enum { MAX_ENTRIES = 1 << 30 }; /* of one value: 8 GB */

enum { TENSORS = 4, MAX_LOOPS = CELL_MAX_AXES + 2 * CELL_MAX_RANK };

typedef struct {
  int count;
  int64_t extent[MAX_LOOPS], stride[MAX_LOOPS][TENSORS];
} Loops;

/* adds a loop inside the others; one that continues the last in every tensor is joined to it */
static void add_loop(Loops *l, int64_t extent, const int64_t stride[TENSORS]) {
  if (extent == 1) return;
  bool joins = l->count > 0;
  for (int t = 0; t < TENSORS && joins; t++)
    joins = l->stride[l->count - 1][t] == stride[t] * extent;
  if (joins)
    l->extent[--l->count] *= extent;
  else
    l->extent[l->count] = extent;
  memcpy(l->stride[l->count++], stride, TENSORS * sizeof *stride);
}

/* makes loop i the innermost */
static void move_inside(Loops *l, int i) {
  int64_t extent = l->extent[i], stride[TENSORS];
  memcpy(stride, l->stride[i], sizeof stride);
  for (; i + 1 < l->count; i++) {
    l->extent[i] = l->extent[i + 1];
    memcpy(l->stride[i], l->stride[i + 1], sizeof stride);
  }
  l->extent[i] = extent;
  memcpy(l->stride[i], stride, sizeof stride);
}

/* Where a run through the loops stands. The innermost loop is the caller's: `n` steps from
 * `offset` by `step`, once for each call of next that returns true. */
typedef struct {
  const Loops *loops;
  int64_t at[MAX_LOOPS], offset[TENSORS], n, step[TENSORS];
  bool started;
} Run;

static Run run_start(const Loops *l) {
  Run run = {.loops = l, .n = 1};
  if (l->count > 0) {
    run.n = l->extent[l->count - 1];
    memcpy(run.step, l->stride[l->count - 1], sizeof run.step);
  }
  return run;
}

static bool run_next(Run *run) {
  const Loops *l = run->loops;
  if (!run->started) return run->started = true;
  for (int i = l->count - 2; i >= 0; i--) {
    for (int t = 0; t < TENSORS; t++) run->offset[t] += l->stride[i][t];
    if (++run->at[i] < l->extent[i]) return true;
    for (int t = 0; t < TENSORS; t++) run->offset[t] -= l->extent[i] * l->stride[i][t];
    run->at[i] = 0;
  }
  return false;
}

/* ---- layout ---- */

typedef struct {
  int64_t axis[CELL_MAX_AXES], dim[CELL_MAX_RANK], count;
} Strides;

static Strides strides_of(const CellGraph *g, const CellNode *n) {
  Strides s = {.count = 1};
  for (int i = n->rank - 1; i >= 0; i--) {
    s.dim[i] = s.count;
    s.count *= n->shape[i];
  }
  for (int i = g->axis_count - 1; i >= 0; i--) {
    if (!(n->axes & CELL_AXIS(i))) continue;
    s.axis[i] = s.count;
    s.count *= g->axes[i].extent;
  }
  return s;
}

/* loops over the axes in `axes`, strides from up to four tensors */
static void add_axes(Loops *l, const CellGraph *g, uint32_t axes, int count, const Strides *s) {
  for (int a = 0; a < g->axis_count; a++) {
    if (!(axes & CELL_AXIS(a))) continue;
    int64_t stride[TENSORS] = {0};
    for (int t = 0; t < count; t++) stride[t] = s[t].axis[a];
    add_loop(l, g->axes[a].extent, stride);
  }
}

/* ---- one evaluation ---- */

typedef struct {
  const CellTensor *inputs;
  int input_count;
  CellDiag *diag;
} Given;

typedef struct {
  const CellGraph *g;
  const Given *given;
  const CellTensor *ports; /* of a scan's body: carries and steps; they hide inputs */
  int port_count;
  double **data;     /* per value; NULL: not yet or no longer */
  double ***carries; /* per scan: the last carries */
} Eval;

static bool run_graph(const CellGraph *g, const Given *given, const CellTensor *ports,
                      int port_count, double **results);

static double *room(int64_t count) {
  return cell_malloc((size_t)count * sizeof(double));
}

/* out[...] = in[...] over the loops, tensors 0 and 1 */
static void copy_over(const Loops *l, double *out, const double *in) {
  Run run = run_start(l);
  while (run_next(&run)) {
    double *o = out + run.offset[0];
    const double *x = in + run.offset[1];
    for (int64_t i = 0; i < run.n; i++) o[i * run.step[0]] = x[i * run.step[1]];
  }
}

/* `from`'s entries where `to` lies: same shape, `to` may vary over more axes */
static void expand(const CellGraph *g, const CellNode *to, double *out, const CellNode *from,
                   const double *in) {
  Strides s[2] = {strides_of(g, to), strides_of(g, from)};
  Loops l = {0};
  add_axes(&l, g, to->axes, 2, s);
  for (int i = 0; i < to->rank; i++)
    add_loop(&l, to->shape[i], (int64_t[TENSORS]){s[0].dim[i], s[1].dim[i]});
  copy_over(&l, out, in);
}

static bool eval_input(const Eval *e, const CellNode *n, double *out) {
  int64_t count = strides_of(e->g, n).count;
  const CellTensor *found = NULL;
  for (int i = 0; i < e->port_count && !found; i++)
    if (strcmp(e->ports[i].name, n->name) == 0) found = &e->ports[i];
  for (int i = 0; i < e->given->input_count && !found; i++)
    if (strcmp(e->given->inputs[i].name, n->name) == 0) found = &e->given->inputs[i];
  if (!found) {
    cell_error(e->given->diag, NULL, n->span, "input \"%s\" is not given", n->name);
    return false;
  }
  if (found->count != count) {
    cell_error(e->given->diag, NULL, n->span, "input \"%s\" has %lld entries, not %lld", n->name,
               (long long)found->count, (long long)count);
    return false;
  }
  memcpy(out, found->data, (size_t)count * sizeof *out);
  for (int64_t i = 0; i < count && n->dtype != CELL_F; i++) {
    bool good = n->dtype == CELL_BITS ? out[i] == 0 || out[i] == 1
                                      : fabs(out[i]) <= INT32_MAX && out[i] == floor(out[i]);
    if (good) continue;
    cell_error(e->given->diag, NULL, n->span, "input \"%s\" holds %g, which is no %s", n->name,
               out[i], n->dtype == CELL_BITS ? "bit" : "index");
    return false;
  }
  return true;
}

static void eval_scalar(const Eval *e, const CellNode *n, double *const *args, double *out) {
  Strides s[TENSORS] = {strides_of(e->g, n)};
  for (int i = 0; i < n->arg_count; i++) s[1 + i] = strides_of(e->g, cell_node(e->g, n->args[i]));
  Loops l = {0};
  add_axes(&l, e->g, n->axes, 1 + n->arg_count, s);
  for (int i = 0; i < n->rank; i++)
    add_loop(&l, n->shape[i], (int64_t[]){s[0].dim[i], s[1].dim[i], s[2].dim[i], s[3].dim[i]});
  Run run = run_start(&l);
  while (run_next(&run)) {
    double *o = out + run.offset[0];
    const double *x[3] = {0};
    for (int t = 0; t < n->arg_count; t++) x[t] = args[t] + run.offset[1 + t];
    cell_scalar_run(n->op, run.n, o, run.step[0], x, run.step + 1);
  }
}

static void eval_index(const CellNode *n, int64_t count, const double *index, double *out) {
  int64_t size = n->shape[n->rank - 1];
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < size; j++) {
      if (n->op == CELL_OP_ONE_HOT)
        out[i * size + j] = index[i] == (double)j;
      else
        out[i * size + j] = ((int64_t)index[i] >> j) & 1 ? 1 : -1;
    }
}

static void eval_reduce(const Eval *e, const CellNode *n, const double *in, double *out) {
  const CellNode *a = cell_node(e->g, n->args[0]);
  Strides s[2] = {strides_of(e->g, n), strides_of(e->g, a)};
  Loops kept = {0}, gone = {0};
  add_axes(&kept, e->g, n->axes, 2, s);
  add_axes(&gone, e->g, n->over, 2, s);
  for (int i = 0, r = 0; i < a->rank; i++) {
    bool goes = n->dims & (1u << i);
    int64_t stride[TENSORS] = {goes ? 0 : s[0].dim[r], s[1].dim[i]};
    add_loop(goes ? &gone : &kept, a->shape[i], stride);
    r += !goes;
  }
  Run outer = run_start(&kept);
  while (run_next(&outer))
    for (int64_t i = 0; i < outer.n; i++) {
      const double *x = in + outer.offset[1] + i * outer.step[1];
      double sum = 0, best = -INFINITY;
      int64_t where = 0;
      Run inner = run_start(&gone); /* one loop where it is max or argmax */
      while (run_next(&inner))
        for (int64_t j = 0; j < inner.n; j++) {
          double value = x[inner.offset[1] + j * inner.step[1]];
          sum += value;
          if (value > best) best = value, where = j;
        }
      double *o = out + outer.offset[0] + i * outer.step[0];
      *o = n->reduce == CELL_SUM ? sum : n->reduce == CELL_REDUCE_MAX ? best : (double)where;
    }
}

static int64_t letter_stride(const char *labels, const Strides *s, char letter) {
  const char *found = strchr(labels, letter);
  return found ? s->dim[found - labels] : 0;
}

/* The two innermost loops of products, with their usual strides written out for the compiler: at
 * published widths one sample of an update takes 10^8 of them. */
static double dot(int64_t n, const double *a, int64_t sa, const double *b, int64_t sb) {
  double sum[4] = {0};
  int64_t i = 0;
  if (sa == 1 && sb == 1)
    for (; i + 4 <= n; i += 4)
      for (int k = 0; k < 4; k++) sum[k] += a[i + k] * b[i + k];
  for (; i < n; i++) sum[0] += a[i * sa] * b[i * sb];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void add_products(int64_t n, double *o, int64_t so, const double *a, int64_t sa,
                         const double *b, int64_t sb) {
  if (so == 1 && sa == 0 && sb == 1) {
    double factor = *a;
    for (int64_t i = 0; i < n; i++) o[i] += factor * b[i];
  } else if (so == 1 && sa == 1 && sb == 0) {
    double factor = *b;
    for (int64_t i = 0; i < n; i++) o[i] += a[i] * factor;
  } else {
    for (int64_t i = 0; i < n; i++) o[i * so] += a[i * sa] * b[i * sb];
  }
}

static void eval_contract(const Eval *e, const CellNode *n, double *const *args, double *out) {
  const CellNode *operand[2] = {cell_node(e->g, n->args[0]), cell_node(e->g, n->args[1])};
  Strides s[3] = {strides_of(e->g, n), strides_of(e->g, operand[0]), strides_of(e->g, operand[1])};
  Loops l = {0};
  add_axes(&l, e->g, n->axes, 3, s);
  for (int i = 0; i < n->rank; i++) {
    char c = n->labels[2][i];
    add_loop(&l, n->shape[i],
             (int64_t[TENSORS]){s[0].dim[i], letter_stride(n->labels[0], &s[1], c),
                                letter_stride(n->labels[1], &s[2], c)});
  }
  add_axes(&l, e->g, n->over, 3, s);
  for (int i = 0; i < operand[0]->rank; i++) {
    char c = n->labels[0][i];
    if (strchr(n->labels[2], c)) continue;
    add_loop(&l, operand[0]->shape[i],
             (int64_t[TENSORS]){0, s[1].dim[i], letter_stride(n->labels[1], &s[2], c)});
  }
  /* the loop with the shortest strides goes inside: the same sums, in fewer cache lines */
  int best = l.count - 1;
  int64_t least = INT64_MAX;
  for (int i = l.count - 1; i >= 0; i--) {
    int64_t cost = 0;
    for (int t = 0; t < 3; t++) cost += l.stride[i][t] > 8 ? 8 : l.stride[i][t];
    if (l.extent[i] < 4) cost += 16;
    if (cost < least) least = cost, best = i;
  }
  if (l.count > 0) move_inside(&l, best);
  Run run = run_start(&l);
  while (run_next(&run)) {
    double *o = out + run.offset[0];
    const double *a = args[0] + run.offset[1], *b = args[1] + run.offset[2];
    if (run.step[0] == 0)
      *o += dot(run.n, a, run.step[1], b, run.step[2]);
    else
      add_products(run.n, o, run.step[0], a, run.step[1], b, run.step[2]);
  }
}

static bool eval_take(const Eval *e, const CellNode *n, double *const *args, double *out) {
  const CellNode *a = cell_node(e->g, n->args[0]);
  Strides s[3] = {strides_of(e->g, n), strides_of(e->g, a),
                  strides_of(e->g, cell_node(e->g, n->args[1]))};
  int64_t picked = n->dim >= 0 ? s[1].dim[n->dim] : s[1].axis[n->axis];
  int32_t extent = n->dim >= 0 ? a->shape[n->dim] : e->g->axes[n->axis].extent;
  Loops l = {0};
  add_axes(&l, e->g, n->axes, 3, s);
  for (int i = 0, r = 0; i < a->rank; i++) {
    if (i == n->dim) continue;
    add_loop(&l, a->shape[i], (int64_t[TENSORS]){s[0].dim[r++], s[1].dim[i], 0});
  }
  Run run = run_start(&l);
  while (run_next(&run))
    for (int64_t i = 0; i < run.n; i++) {
      double index = args[1][run.offset[2] + i * run.step[2]];
      if (!(index >= 0 && index < extent)) {
        cell_error(e->given->diag, NULL, n->span, "take of entry %g of %d", index, (int)extent);
        return false;
      }
      out[run.offset[0] + i * run.step[0]] =
          args[0][run.offset[1] + i * run.step[1] + (int64_t)index * picked];
    }
  return true;
}

/* views: the operand's entries, `skip` entries into the result or the operand, dimension by
 * dimension of the smaller side */
static void eval_view(const Eval *e, const CellNode *n, double *const *args, double *out) {
  Strides s[2] = {strides_of(e->g, n)};
  int64_t at = 0;
  for (int k = 0; k < n->arg_count; k++) {
    const CellNode *a = cell_node(e->g, n->args[k]);
    s[1] = strides_of(e->g, a);
    Loops l = {0};
    add_axes(&l, e->g, n->axes, 2, s);
    int64_t skip_out = 0, skip_in = 0;
    if (n->op == CELL_OP_SLICE) skip_in = n->begin * s[1].dim[n->dim];
    if (n->op == CELL_OP_PAD) skip_out = n->begin * s[0].dim[n->dim];
    if (n->op == CELL_OP_CONCAT) {
      skip_out = at * s[0].dim[n->dim];
      at += a->shape[n->dim];
    }
    if (n->op == CELL_OP_RESHAPE) {
      int64_t count = cell_count(e->g, n->args[k]);
      add_loop(&l, count, (int64_t[TENSORS]){1, 1});
    } else if (n->op == CELL_OP_BROADCAST) {
      int64_t from[CELL_MAX_RANK] = {0};
      for (int i = 0; i < a->rank; i++) from[n->map[i]] = a->shape[i] == 1 ? 0 : s[1].dim[i];
      for (int i = 0; i < n->rank; i++)
        add_loop(&l, n->shape[i], (int64_t[TENSORS]){s[0].dim[i], from[i]});
    } else {
      /* over the entries of the operand, or of the result of a slice */
      const CellNode *over = n->op == CELL_OP_SLICE || n->op == CELL_OP_TRANSPOSE ? n : a;
      for (int i = 0; i < n->rank; i++) {
        int from = n->op == CELL_OP_TRANSPOSE ? n->map[i] : i;
        add_loop(&l, over->shape[i], (int64_t[TENSORS]){s[0].dim[i], s[1].dim[from]});
      }
    }
    copy_over(&l, out + skip_out, args[k] + skip_in);
  }
}

/* ---- scan ---- */

/* the type of carry i: the body's input, else its output */
static const CellNode *carry_type(const CellGraph *body, int i) {
  CellPortName name = cell_port_name("carry", i);
  CellValue in = cell_find_input(body, name.text);
  return cell_node(body, in != CELL_NONE ? in : cell_find_output(body, name.text));
}

/* entry `at` of the scanned axis, the other axes as they are */
static void step_input(const CellGraph *g, const CellNode *n, int axis, int64_t at,
                       const double *in, double *out) {
  CellNode inner = *n;
  inner.axes &= ~CELL_AXIS(axis);
  Strides outer = strides_of(g, n);
  Strides s[2] = {strides_of(g, &inner), outer};
  Loops l = {0};
  add_axes(&l, g, inner.axes, 2, s);
  add_loop(&l, cell_count(g, (CellValue)(n - g->nodes)), (int64_t[TENSORS]){1, 1});
  copy_over(&l, out, in + at * outer.axis[axis]);
}

static bool eval_scan(const Eval *e, CellValue v, double *const *args) {
  const CellNode *n = cell_node(e->g, v);
  const CellGraph *body = n->body;
  int axis = 0, outputs = body->output_count;
  while (!(n->over & CELL_AXIS(axis))) axis++;

  CellTensor *ports = cell_malloc((size_t)n->arg_count * sizeof *ports);
  CellPortName *names = cell_malloc((size_t)n->arg_count * sizeof *names);
  double **results = cell_malloc((size_t)outputs * sizeof *results);
  for (int i = 0; i < n->arg_count; i++) {
    const CellNode *a = cell_node(e->g, n->args[i]);
    bool carry = i < n->carry_count;
    CellNode type = carry ? *carry_type(body, i) : *a;
    if (carry)
      type.axes |= a->axes; /* one that the body does not read may start with more */
    else
      type.axes &= ~n->over;
    names[i] = cell_port_name(carry ? "carry" : "step", carry ? i : i - n->carry_count);
    ports[i] = (CellTensor){names[i].text, NULL, strides_of(e->g, &type).count};
    ports[i].data = room(ports[i].count);
    if (carry) expand(e->g, &type, ports[i].data, a, args[i]);
  }

  bool ok = true;
  for (int64_t at = 0; at < e->g->axes[axis].extent && ok; at++) {
    for (int i = n->carry_count; i < n->arg_count; i++)
      step_input(e->g, cell_node(e->g, n->args[i]), axis, at, args[i], ports[i].data);
    ok = run_graph(body, e->given, ports, n->arg_count, results);
    for (int i = 0; i < n->carry_count && ok; i++) {
      int which = 0;
      while (strcmp(body->outputs[which].name, names[i].text) != 0) which++;
      const CellNode *out = cell_node(body, body->outputs[which].value),
                     *type = carry_type(body, i);
      ports[i].count = strides_of(body, type).count;
      expand(body, type, ports[i].data, out, results[which]);
    }
    for (int i = 0; i < outputs; i++) {
      free(results[i]);
      results[i] = NULL;
    }
  }

  /* the last carries stay for `result` */
  e->carries[v] = cell_malloc((size_t)n->carry_count * sizeof *e->carries[v]);
  for (int i = 0; i < n->arg_count; i++) {
    if (i < n->carry_count)
      e->carries[v][i] = ports[i].data;
    else
      free(ports[i].data);
  }
  free(ports);
  free(names);
  free(results);
  return ok;
}

/* ---- graphs ---- */

static bool eval_node(const Eval *e, CellValue v, double *const *args, double *out) {
  const CellNode *n = cell_node(e->g, v);
  int64_t count = strides_of(e->g, n).count;
  switch ((int)n->op) {
  case CELL_OP_INPUT: return eval_input(e, n, out);
  case CELL_OP_CONST: out[0] = n->number; return true;
  case CELL_OP_RANGE:
  case CELL_OP_AXIS_INDEX:
    for (int64_t i = 0; i < count; i++) out[i] = (double)i;
    return true;
  case CELL_OP_ONE_HOT:
  case CELL_OP_SIGN_BITS: eval_index(n, count / n->shape[n->rank - 1], args[0], out); return true;
  case CELL_OP_REDUCE: eval_reduce(e, n, args[0], out); return true;
  case CELL_OP_CONTRACT: eval_contract(e, n, args, out); return true;
  case CELL_OP_TAKE: return eval_take(e, n, args, out);
  case CELL_OP_RESHAPE:
  case CELL_OP_TRANSPOSE:
  case CELL_OP_SLICE:
  case CELL_OP_PAD:
  case CELL_OP_CONCAT:
  case CELL_OP_BROADCAST:
  case CELL_OP_STOP_GRADIENT: eval_view(e, n, args, out); return true;
  case CELL_OP_SCAN: return eval_scan(e, v, args);
  case CELL_OP_RESULT:
    memcpy(out, e->carries[n->args[0]][n->begin], (size_t)count * sizeof *out);
    return true;
  default: eval_scalar(e, n, args, out); return true;
  }
}

static void drop(const Eval *e, CellValue v) {
  free(e->data[v]);
  e->data[v] = NULL;
  if (!e->carries[v]) return;
  for (int i = 0; i < e->g->nodes[v].carry_count; i++) free(e->carries[v][i]);
  free(e->carries[v]);
  e->carries[v] = NULL;
}

/* Heap blocks with the outputs to results; on failure none. A value is freed behind its last
 * reader, so a large graph needs no more than its widest place. */
static bool run_graph(const CellGraph *g, const Given *given, const CellTensor *ports,
                      int port_count, double **results) {
  size_t nodes = (size_t)g->node_count;
  Eval e = {g, given, ports, port_count, NULL, NULL};
  e.data = cell_malloc(nodes * sizeof *e.data);
  e.carries = cell_malloc(nodes * sizeof *e.carries);
  CellValue *last = cell_malloc(nodes * sizeof *last); /* last reader; 0: nobody */
  for (int i = 0; i < g->output_count; i++) last[g->outputs[i].value] = g->node_count;
  for (CellValue v = g->node_count - 1; v >= 0; v--)
    for (int i = 0; last[v] && i < g->nodes[v].arg_count; i++)
      if (last[g->nodes[v].args[i]] < v) last[g->nodes[v].args[i]] = v;

  bool ok = true;
  for (CellValue v = 0; v < g->node_count && ok; v++) {
    if (!last[v]) continue;
    const CellNode *n = cell_node(g, v);
    int64_t count = strides_of(g, n).count;
    if (count > MAX_ENTRIES) {
      cell_error(given->diag, NULL, n->span, "value %%%d has %lld entries, too many to evaluate",
                 (int)v, (long long)count);
      ok = false;
      break;
    }
    double **args = cell_malloc((size_t)n->arg_count * sizeof *args);
    for (int i = 0; i < n->arg_count; i++) args[i] = e.data[n->args[i]];
    e.data[v] = room(count);
    ok = eval_node(&e, v, args, e.data[v]);
    for (int i = 0; i < n->arg_count; i++)
      if (last[n->args[i]] == v) drop(&e, n->args[i]);
    free(args);
  }
  for (int i = 0; i < g->output_count && ok; i++) {
    CellValue v = g->outputs[i].value;
    int64_t count = strides_of(g, cell_node(g, v)).count;
    results[i] = room(count);
    memcpy(results[i], e.data[v], (size_t)count * sizeof **results);
  }
  for (CellValue v = 0; v < g->node_count; v++) drop(&e, v);
  free(e.data);
  free(e.carries);
  free(last);
  return ok;
}

bool cell_eval(const CellGraph *g, const CellTensor *inputs, int input_count, CellTensor *outputs,
               CellArena *arena, CellDiag *diag) {
  Given given = {inputs, input_count, diag};
  double **results = cell_malloc((size_t)g->output_count * sizeof *results);
  bool ok = run_graph(g, &given, NULL, 0, results);
  for (int i = 0; i < g->output_count && ok; i++) {
    const CellNode *n = cell_node(g, g->outputs[i].value);
    int64_t count = strides_of(g, n).count;
    outputs[i] = (CellTensor){cell_arena_strdup(arena, g->outputs[i].name),
                              CELL_NEW_ARRAY(arena, double, count), count};
    memcpy(outputs[i].data, results[i], (size_t)count * sizeof(double));
    free(results[i]);
  }
  free(results);
  return ok;
}
