/* kernel_verify.c - checks a kernel against every rule that kernel.h states.
 *
 * Indices of scratch buffers are bounded too. Three bounds are taken and the smallest counts: one
 * on the variables with their limits, one with each variable written as its begin plus a step, in
 * which `v1 - 64 v0` of `v1 = 64 v0 + [0, 64)` is a number below 64, and one with as much of one
 * variable written so as the task's variable takes away: `34 v1 - 528 v0` is 33 steps and v1. */
#include "ir/kernel.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  bool known;
  int64_t low, high; /* both included */
} Range;

typedef struct {
  const CellKernel *k;
  CellText *out;
  bool good;
  const CellStmt **values; /* statement that gives each visible value; NULL: none */
  bool *varies;            /* whether the value depends on the lane variable */
  bool *vars;              /* visible variables */
  Range *ranges;           /* of a variable, limits counted */
  Range *steps;            /* of a variable's step: [0, extent) */
  int64_t *steps_of;       /* [var][var]: a variable as base + sum of coef * step */
  int64_t *base_of;
  bool *expanded;
  int lane; /* the lane variable, or -1 */
} Verify;

static void fault(Verify *v, const char *format, ...) CELL_PRINTF(2, 3);

static void fault(Verify *v, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  cell_text_printf(v->out, "%s: %s\n", v->k->name, text);
  v->good = false;
}

static Range range_add(Range a, Range b, int64_t coef) {
  if (!a.known || !b.known) return (Range){0};
  int64_t x = coef * b.low, y = coef * b.high;
  return (Range){true, a.low + (x < y ? x : y), a.high + (x < y ? y : x)};
}

static void narrow(Range *range, Range by) {
  if (by.known && by.low > range->low) range->low = by.low;
  if (by.known && by.high < range->high) range->high = by.high;
}

// with enough of term `split`, whose variable starts at a multiple of the task's, as steps to cancel
// the task's own term
static Range mixed_range(const Verify *v, const CellAffine *a, int split) {
  int n = v->k->var_count, var = a->terms[split].var;
  int64_t task = 0, begin = v->steps_of[var * n];
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var == 0) task += a->terms[i].coef;
  if (var == 0 || !v->expanded[var] || begin == 0 || task == 0 || task % begin != 0)
    return (Range){0};
  for (int j = 1; j < n; j++)
    if (v->steps_of[var * n + j] != (j == var)) return (Range){0};
  // part * var + task * v0 = part * (base_of + step)
  int64_t part = -task / begin, base = a->base + part * v->base_of[var];
  Range sum = range_add((Range){true, base, base}, v->steps[var], part);
  for (int i = 0; i < a->term_count; i++) {
    if (a->terms[i].var == 0) continue;
    int64_t coef = a->terms[i].coef - (i == split ? part : 0);
    sum = range_add(sum, v->ranges[a->terms[i].var], coef);
  }
  return sum;
}

static Range affine_range(const Verify *v, const CellAffine *a) {
  if (a->loaded >= 0) return (Range){0};
  // on the variables themselves
  Range direct = {true, a->base, a->base};
  for (int i = 0; i < a->term_count; i++)
    direct = range_add(direct, v->ranges[a->terms[i].var], a->terms[i].coef);

  // on the steps
  int n = v->k->var_count;
  Range fine = {true, a->base, a->base};
  for (int i = 0; i < a->term_count && fine.known; i++) {
    fine.known = v->expanded[a->terms[i].var];
    fine.low += a->terms[i].coef * v->base_of[a->terms[i].var];
  }
  fine.high = fine.low;
  for (int j = 0; j < n && fine.known; j++) {
    int64_t coef = 0;
    for (int i = 0; i < a->term_count; i++)
      coef += a->terms[i].coef * v->steps_of[a->terms[i].var * n + j];
    if (coef != 0) fine = range_add(fine, v->steps[j], coef);
  }

  if (!direct.known) return fine;
  narrow(&direct, fine);
  for (int i = 0; i < a->term_count; i++) narrow(&direct, mixed_range(v, a, i));
  return direct;
}

static const CellStmt *read_value(Verify *v, int value, const char *what) {
  if (value < 0 || value >= v->k->value_count || !v->values[value]) {
    fault(v, "%s reads %%%d, which is not visible there", what, value);
    return NULL;
  }
  return v->values[value];
}

static bool affine_varies(const Verify *v, const CellAffine *a) {
  if (v->lane < 0) return false;
  if (a->loaded >= 0 && a->loaded < v->k->value_count && v->varies[a->loaded]) return true;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var == v->lane) return true;
  return false;
}

static bool check_affine(Verify *v, const CellAffine *a, const char *what) {
  bool good = true;
  if (a->term_count < 0 || a->term_count > CELL_MAX_TERMS) {
    fault(v, "%s has %d terms", what, a->term_count);
    return false;
  }
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var < 0 || a->terms[i].var >= v->k->var_count || !v->vars[a->terms[i].var]) {
      fault(v, "%s reads v%d, which is not visible there", what, a->terms[i].var);
      good = false;
    }
  if (a->loaded >= 0) {
    const CellStmt *s = read_value(v, a->loaded, what);
    if (!s) return false;
    if (s->dtype != CELL_I) fault(v, "%s adds %%%d, which is not an i32", what, a->loaded);
  }
  return good;
}

// the buffer's dtype; bounds of scratch: elements low..high
static CellDtype check_buffer(Verify *v, CellBufferRef b, Range index, bool stored,
                              const char *what) {
  const CellKernel *k = v->k;
  if (b.index < 0 || b.index >= (b.scratch ? k->scratch_count : k->arg_count)) {
    fault(v, "%s names a buffer that the kernel does not have: %s%d", what, b.scratch ? "s" : "arg",
          b.index);
    return CELL_F;
  }
  if (!b.scratch) {
    if (stored && !(k->written && k->written[b.index]))
      fault(v, "%s stores to arg%d, which is not marked as written", what, b.index);
    return k->args[b.index];
  }
  const CellScratch *s = &k->scratch[b.index];
  if (index.known && index.low <= index.high && (index.low < 0 || index.high >= s->count))
    fault(v, "%s reaches elements %lld to %lld of s%d, which has %lld", what, (long long)index.low,
          (long long)index.high, b.index, (long long)s->count);
  return s->dtype;
}

static CellDtype check_view(Verify *v, const CellView *view, Range rows, Range columns, bool stored,
                            const char *what) {
  Range index = {0};
  if (check_affine(v, &view->base, what)) {
    index = affine_range(v, &view->base);
    index = range_add(index, rows, view->row_stride);
    index = range_add(index, columns, view->k_stride);
  }
  return check_buffer(v, view->buffer, index, stored, what);
}

static Range count_range(const Verify *v, int64_t count, const CellAffine *begin, int64_t limit) {
  Range r = {true, 0, count - 1};
  if (limit > 0) {
    Range b = affine_range(v, begin);
    if (b.known && limit - 1 - b.low < r.high) r.high = limit - 1 - b.low;
  }
  return r;
}

static void check_end(Verify *v, const CellStmt *s) {
  if (s->end_var < 0) return;
  CellAffine end = cell_affine_var(s->end_var, s->end_scale);
  check_affine(v, &end, "the end of a range");
  int64_t limit = s->kind == CELL_K_CONTRACT ? s->m_limit : s->limit;
  if (v->k->rows <= 0 || s->end_var != v->k->end_var || limit != v->k->rows * s->end_scale)
    fault(v, "a range ends elsewhere than the kernel's");
}

static void check_contract(Verify *v, const CellStmt *s) {
  if (v->lane >= 0) fault(v, "a contract inside a lanes loop");
  if (s->m < 1 || s->n < 1 || s->k < 1) fault(v, "a contract with an extent below 1");
  Range m = {0}, n = {0}, k = {true, 0, s->k - 1};
  check_end(v, s);
  if (s->end_var >= 0) check_affine(v, &s->a_all, "a of a contract");
  if (check_affine(v, &s->m_begin, "m of a contract"))
    m = count_range(v, s->m, &s->m_begin, s->m_limit);
  if (check_affine(v, &s->n_begin, "n of a contract"))
    n = count_range(v, s->n, &s->n_begin, s->n_limit);
  check_view(v, &s->a, m, k, false, "a of a contract");
  check_view(v, &s->b, n, k, false, "b of a contract");
  if (s->terms > 0) {
    Range t = {true, 0, s->terms - 1};
    if (check_view(v, &s->u, m, t, false, "u of a contract") != CELL_F ||
        check_view(v, &s->v, n, t, false, "v of a contract") != CELL_F)
      fault(v, "a contract's terms are not floats");
  }
  if (check_view(v, &s->out, m, n, true, "out of a contract") != CELL_F)
    fault(v, "a contract stores to a buffer that does not hold floats");
  if (check_view(v, &s->a, m, k, false, "a of a contract") == CELL_I ||
      check_view(v, &s->b, n, k, false, "b of a contract") == CELL_I)
    fault(v, "a contract reads a buffer of i32");
  const CellView *in[2] = {&s->a, &s->b};
  for (int i = 0; i < 2; i++)
    if (in[i]->buffer.scratch == s->out.buffer.scratch &&
        in[i]->buffer.index == s->out.buffer.index &&
        memcmp(&in[i]->base, &s->out.base, sizeof s->out.base) == 0)
      fault(v, "a contract reads the elements that it stores");
}

static void check_body(Verify *v, const CellStmt *s);

static void check_loop(Verify *v, const CellStmt *s) {
  int n = v->k->var_count;
  if (s->extent < 1) fault(v, "v%d has extent %lld", s->var, (long long)s->extent);
  if (s->var < 1 || s->var >= n || v->vars[s->var]) {
    fault(v, "v%d is not a new variable", s->var);
    return;
  }
  bool lanes = s->loop == CELL_LOOP_LANES;
  if (lanes && v->lane >= 0) fault(v, "a lanes loop inside the lanes loop of v%d", v->lane);
  if (s->whole && !(lanes && s->limit > 0))
    fault(v, "v%d has whole vectors, but no lanes or no limit", s->var);
  if (check_affine(v, &s->begin, "the begin of a loop")) {
    if (affine_varies(v, &s->begin)) fault(v, "the begin of v%d varies over the lanes", s->var);

    // ranges of the variable and its form in steps
    v->steps[s->var] = (Range){true, 0, s->extent - 1};
    check_end(v, s);
    v->ranges[s->var] = range_add(affine_range(v, &s->begin), v->steps[s->var], 1);
    if (v->ranges[s->var].known && s->limit > 0 && v->ranges[s->var].high > s->limit - 1)
      v->ranges[s->var].high = s->limit - 1;
    int64_t *steps = &v->steps_of[s->var * n];
    memset(steps, 0, (size_t)n * sizeof *steps);
    v->base_of[s->var] = s->begin.base;
    v->expanded[s->var] = s->begin.loaded < 0;
    steps[s->var] = 1;
    for (int i = 0; i < s->begin.term_count; i++) {
      int var = s->begin.terms[i].var;
      v->expanded[s->var] = v->expanded[s->var] && v->expanded[var];
      v->base_of[s->var] += s->begin.terms[i].coef * v->base_of[var];
      for (int j = 0; j < n; j++) steps[j] += s->begin.terms[i].coef * v->steps_of[var * n + j];
    }
  }

  v->vars[s->var] = true;
  if (lanes) v->lane = s->var;
  check_body(v, s->body);
  if (lanes) v->lane = -1;
  v->vars[s->var] = false;
}

// does a list of statements update an accumulator?
static bool updates(const CellStmt *s, int acc) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_UPDATE && s->value == acc) return true;
    if (s->kind == CELL_K_LOOP && updates(s->body, acc)) return true;
  }
  return false;
}

static bool reads_affine(const CellAffine *a, int value) {
  return a->loaded == value;
}

static bool reads(const CellStmt *s, int value) {
  for (; s; s = s->next) {
    if (reads_affine(&s->index, value) || reads_affine(&s->begin, value)) return true;
    if (s->kind == CELL_K_LET || s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE)
      for (int i = 0; i < 3; i++)
        if (s->args[i] == value) return true;
    if (s->kind == CELL_K_LOOP && reads(s->body, value)) return true;
  }
  return false;
}

static void check_let(Verify *v, const CellStmt *s) {
  if (s->op < 0 || s->op >= CELL_OP_COUNT || !cell_op_info[s->op].scalar) {
    fault(v, "%%%d is not an elementwise op", s->value);
    return;
  }
  const char *name = cell_op_info[s->op].name;
  CellDtype dtypes[3] = {s->dtype, s->dtype, s->dtype};
  for (int i = 0; i < cell_op_info[s->op].arity; i++) {
    const CellStmt *arg = read_value(v, s->args[i], name);
    if (!arg) return;
    dtypes[i] = arg->dtype;
    v->varies[s->value] = v->varies[s->value] || v->varies[s->args[i]];
  }
  bool good;
  switch ((int)s->op) {
  case CELL_OP_FLOAT: good = dtypes[0] == CELL_I && s->dtype == CELL_F; break;
  case CELL_OP_LT:
  case CELL_OP_LE:
  case CELL_OP_EQ:
  case CELL_OP_NE: good = dtypes[0] == dtypes[1] && s->dtype == CELL_F; break;
  case CELL_OP_WHERE: good = dtypes[1] == s->dtype && dtypes[2] == s->dtype; break;
  case CELL_OP_ADD:
  case CELL_OP_SUB:
  case CELL_OP_MUL:
  case CELL_OP_MIN:
  case CELL_OP_MAX: good = dtypes[0] == s->dtype && dtypes[1] == s->dtype; break;
  default:
    good = s->dtype == CELL_F && dtypes[0] == CELL_F && dtypes[1] == CELL_F && dtypes[2] == CELL_F;
    break;
  }
  if (!good) fault(v, "%s of %%%d mixes floats and i32", name, s->value);
}

static void check_stmt(Verify *v, const CellStmt *s) {
  switch (s->kind) {
  case CELL_K_LOOP: check_loop(v, s); break;
  case CELL_K_CONST: break;
  case CELL_K_VAR:
    if (s->dtype != CELL_I) fault(v, "%%%d, a variable, is not an i32", s->value);
    check_affine(v, &s->index, "a variable's value");
    v->varies[s->value] = affine_varies(v, &s->index);
    break;
  case CELL_K_LOAD: {
    Range index = {0};
    if (check_affine(v, &s->index, "a load")) index = affine_range(v, &s->index);
    CellDtype dtype = check_buffer(v, s->buffer, index, false, "a load");
    if ((dtype == CELL_I) != (s->dtype == CELL_I))
      fault(v, "%%%d has not the dtype of its buffer", s->value);
    v->varies[s->value] = affine_varies(v, &s->index);
    break;
  }
  case CELL_K_LET: check_let(v, s); break;
  case CELL_K_ACC:
    if ((s->dtype == CELL_I) != (s->reduce == CELL_ARGMAX))
      fault(v, "%%%d: an accumulator gives a float, argmax an i32", s->value);
    // inside a lanes loop each lane has its own
    v->varies[s->value] = v->lane >= 0;
    break;
  case CELL_K_UPDATE: {
    const CellStmt *acc = read_value(v, s->value, "an update");
    const CellStmt *arg = read_value(v, s->args[0], "an update");
    if (!acc || !arg) break;
    if (acc->kind != CELL_K_ACC || acc->reduce != s->reduce)
      fault(v, "an update of %%%d, which is not that kind of accumulator", s->value);
    if (arg->dtype != CELL_F) fault(v, "an update of %%%d by an i32", s->value);
    check_affine(v, &s->index, "an update's index");
    break;
  }
  case CELL_K_STORE: {
    const CellStmt *arg = read_value(v, s->args[0], "a store");
    Range index = {0};
    if (check_affine(v, &s->index, "a store")) index = affine_range(v, &s->index);
    CellDtype dtype = check_buffer(v, s->buffer, index, true, "a store");
    if (dtype == CELL_BITS || (arg && arg->dtype != dtype))
      fault(v, "a store of %%%d to a buffer of another dtype", s->args[0]);
    if (s->add && dtype != CELL_F) fault(v, "a store adds to a buffer of i32");
    if (v->lane >= 0 && !affine_varies(v, &s->index))
      fault(v, "a store inside the lanes loop of v%d always to the same element", v->lane);
    break;
  }
  case CELL_K_CONTRACT: check_contract(v, s); break;
  }
}

static void check_body(Verify *v, const CellStmt *first) {
  for (const CellStmt *s = first; s; s = s->next) {
    check_stmt(v, s);
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) {
      if (s->value >= v->k->value_count || v->values[s->value])
        fault(v, "%%%d is not a new value", s->value);
      else
        v->values[s->value] = s;
    }
    // lanes have no order, so what one adds no other may see
    if (s->kind == CELL_K_LOOP && s->loop == CELL_LOOP_LANES)
      for (int i = 0; i < v->k->value_count; i++)
        if (v->values[i] && v->values[i]->kind == CELL_K_ACC && updates(s->body, i) &&
            reads(s->body, i))
          fault(v, "%%%d is read inside the lanes loop that updates it", i);
  }
  for (const CellStmt *s = first; s; s = s->next)
    if (s->value >= 0 && s->kind != CELL_K_UPDATE && s->value < v->k->value_count &&
        v->values[s->value] == s)
      v->values[s->value] = NULL;
}

bool cell_kernel_verify(const CellKernel *k, CellText *out) {
  size_t values = (size_t)k->value_count + 1, vars = (size_t)k->var_count + 1;
  Verify v = {k, out, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, -1};
  v.values = cell_malloc(values * sizeof(CellStmt *));
  v.varies = cell_malloc(values);
  v.vars = cell_malloc(vars);
  v.ranges = cell_malloc(vars * sizeof(Range));
  v.steps = cell_malloc(vars * sizeof(Range));
  v.steps_of = cell_malloc(vars * vars * sizeof(int64_t));
  v.base_of = cell_malloc(vars * sizeof(int64_t));
  v.expanded = cell_malloc(vars);

  if (k->tasks < 1) fault(&v, "there are %lld tasks", (long long)k->tasks);
  for (int i = 0; i < k->scratch_count; i++) {
    const CellScratch *s = &k->scratch[i];
    if (s->dtype == CELL_BITS) fault(&v, "s%d holds bits", i);
    if (s->offset % 64 != 0 || s->offset < 0 || s->offset + 4 * s->count > k->scratch_bytes)
      fault(&v, "s%d lies at %lld of %lld bytes", i, (long long)s->offset,
            (long long)k->scratch_bytes);
  }

  // variable 0: the task's number
  if (k->var_count > 0) {
    v.vars[0] = v.expanded[0] = true;
    v.steps_of[0] = 1;
    v.steps[0] = v.ranges[0] = (Range){true, 0, (k->rows > 0 ? k->rows : k->tasks) - 1};
    if (k->rows > 0) {
      if (k->tile < 1 || k->end_var < 1 || k->end_var >= k->var_count)
        fault(&v, "a kernel of rows has ranges of %lld, and v%d for their end", (long long)k->tile,
              k->end_var);
      else
        v.vars[k->end_var] = true, v.ranges[k->end_var] = (Range){true, 1, k->rows};
    }
    check_body(&v, k->body);
  } else if (k->body) {
    fault(&v, "variable 0 is missing");
  }

  free(v.values);
  free(v.varies);
  free(v.vars);
  free(v.ranges);
  free(v.steps);
  free(v.steps_of);
  free(v.base_of);
  free(v.expanded);
  return v.good;
}
