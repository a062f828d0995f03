/* kernel_counts.c - arithmetic and traffic of a kernel, counted on its statements.
 *
 * Iterations are counted as they run, limits included: a body is counted once and multiplied unless
 * a range inside it depends on the variable. Traffic counts an element once for each statement that
 * names it, however often it is read again, and leaves scratch out: what it takes if the caches do
 * their work. */
#include "ir/kernel.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  const CellKernel *k;
  int64_t *vars;          /* current values, for ranges with limits */
  double *trips;          /* iterations of each variable's loop in all, over those of its parent */
  double *parent;         /* scratch: iterations around each loop */
  const CellCosts *costs; /* NULL: instructions are not counted */
  const CellStmt **defs;  /* by value number, with costs */
  int *uses;
  int *lanes_of; /* by value number: the variable of the lane loop that it is made in, or -1 */
  int lane;      /* that of the lane loop at hand, or -1 */
  double instructions;
} Count;

static int64_t affine_value(const Count *c, const CellAffine *a) {
  int64_t value = a->base;
  for (int i = 0; i < a->term_count; i++) value += a->terms[i].coef * c->vars[a->terms[i].var];
  return value;
}

// whether a range inside depends on a variable
static bool depends(const CellStmt *s, int var) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      if (s->limit > 0 && cell_affine_coef(&s->begin, var) != 0) return true;
      // a loop that starts at the variable hands it on
      if (cell_affine_coef(&s->begin, var) != 0 && depends(s->body, s->var)) return true;
      if (depends(s->body, var)) return true;
    }
    if (s->kind == CELL_K_CONTRACT &&
        ((s->m_limit > 0 && cell_affine_coef(&s->m_begin, var) != 0) ||
         (s->n_limit > 0 && cell_affine_coef(&s->n_begin, var) != 0)))
      return true;
  }
  return false;
}

static int64_t trips(const Count *c, const CellAffine *begin, int64_t extent, int64_t limit) {
  if (limit <= 0) return extent;
  int64_t left = limit - affine_value(c, begin);
  return left < 0 ? 0 : left < extent ? left : extent;
}

// ---- instructions ----

static void note_defs(Count *c, const CellStmt *s, int lane) {
  for (; s; s = s->next) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE)
      c->defs[s->value] = s, c->lanes_of[s->value] = lane;
    for (int i = 0; i < cell_stmt_arg_count(s); i++) c->uses[s->args[i]]++;
    if (s->kind == CELL_K_LOOP) note_defs(c, s->body, s->loop == CELL_LOOP_LANES ? s->var : lane);
  }
}

// whether a multiplication that nobody else reads becomes one instruction with this addition
static bool takes_product(const Count *c, const CellStmt *s) {
  int args = s->kind == CELL_K_LET ? 2 : 1;
  for (int i = 0; i < args; i++) {
    const CellStmt *def = c->defs[s->args[i]];
    if (def && def->kind == CELL_K_LET && def->op == CELL_OP_MUL && def->dtype == CELL_F &&
        c->uses[s->args[i]] == 1)
      return true;
  }
  return false;
}

static double let_instructions(const Count *c, const CellStmt *s) {
  if (s->dtype == CELL_F && (s->op == CELL_OP_ADD || s->op == CELL_OP_SUB) && takes_product(c, s))
    return 0;
  return c->costs->op[s->op];
}

/* The least number of permutes and selections that bring together the lanes of a load that lie apart, or take those of a
 * store apart: of a short step, that many vectors are loaded, or whole rows stored; else one for each lane but the first. */
static double access_instructions(const Count *c, const CellStmt *s) {
  int64_t lanes = c->costs->lanes, one_by_one = lanes - 1;
  if (c->lane < 0 || lanes < 4) return 0;
  if (s->index.loaded >= 0 && c->lanes_of[s->index.loaded] == c->lane) return (double)one_by_one;
  int64_t step = cell_affine_coef(&s->index, c->lane);
  if (step == 0 || step == 1) return 0;
  if (step < 0 || step > CELL_MAX_STEP) return (double)one_by_one;
  return (double)(step < one_by_one ? step : one_by_one);
}

// The part of a product with bits that is left of a dense one with m rows. Where bits lie along k, rows are
// observations: what they have in common is summed once, then come the bits in which each differs. Where bits lie
// along the rows, a row is one bit of all observations: those that have it are summed, or taken from the sum of all,
// which is made once for all rows and not counted.
static double bits_share(const Count *c, const CellStmt *s, double m) {
  double share = c->costs->density;
  if (cell_is_bits(c->k, s->a.buffer) && s->a.k_stride == 1 && m > 0)
    share = fmin(share, c->costs->apart + share / m);
  else if (cell_is_bits(c->k, s->a.buffer) && s->a.row_stride == 1)
    share = fmin(share, c->costs->apart);
  return share;
}

// Of a product without zeros: what is left is brought to all lanes and multiplied along n; for that every vector of a
// is compared, and two permutations bring numbers and places together.
static double sparse_instructions(const Count *c, const CellStmt *s, double m, double n) {
  double k = (double)s->k, lanes = c->costs->lanes;
  return c->costs->left * m * k * (ceil(n / lanes) + 1) + 3 * m * ceil(k / lanes);
}

// the cheapest of the ways to lay lanes over a product; a bit selects its row or leaves it out
static double contract_instructions(const Count *c, const CellStmt *s, double m, double n) {
  double k = (double)s->k, lanes = c->costs->lanes;
  double along_n = m * k * ceil(n / lanes), along_m = n * k * ceil(m / lanes),
         along_k = m * n * ceil(k / lanes);
  double least = fmin(along_n, fmin(along_m, along_k));
  if (cell_is_bits(c->k, s->a.buffer) || cell_is_bits(c->k, s->b.buffer))
    return least * bits_share(c, s, m);
  return s->sparse ? fmin(least, sparse_instructions(c, s, m, n)) : least;
}

// ---- all at once ----

static void count_body(Count *c, const CellStmt *s, double times, double issues,
                       CellKernelCounts *sum);

// times: how often a statement runs; issues: how often its instructions do, for all lanes at once
static void count_stmt(Count *c, const CellStmt *s, double times, double issues,
                       CellKernelCounts *sum) {
  switch (s->kind) {
  case CELL_K_LOOP: {
    int64_t n = trips(c, &s->begin, s->extent, s->limit), begin = affine_value(c, &s->begin);
    double vectors = (double)n;
    if (c->costs && s->loop == CELL_LOOP_LANES) vectors = ceil((double)n / c->costs->lanes);
    c->trips[s->var] += times * (double)n;
    c->parent[s->var] += times;
    c->vars[s->var] = begin;
    int lane = c->lane;
    if (s->loop == CELL_LOOP_LANES) c->lane = s->var;
    if (n > 0 && !depends(s->body, s->var)) {
      count_body(c, s->body, times * (double)n, issues * vectors, sum);
    } else {
      for (int64_t i = 0; i < n; i++) {
        c->vars[s->var] = begin + i;
        count_body(c, s->body, times, issues * vectors / (double)n, sum);
      }
    }
    c->lane = lane;
    break;
  }
  case CELL_K_LET:
    sum->vector_ops += times * cell_op_info[s->op].flops;
    if (c->costs) c->instructions += issues * let_instructions(c, s);
    break;
  case CELL_K_UPDATE:
    sum->vector_ops += times;
    if (c->costs && (s->reduce != CELL_SUM || !takes_product(c, s)))
      c->instructions += issues * (s->reduce == CELL_ARGMAX ? 3 : 1);
    break;
  case CELL_K_LOAD:
    if (c->costs) c->instructions += issues * access_instructions(c, s);
    break;
  case CELL_K_STORE:
    if (c->costs) c->instructions += issues * access_instructions(c, s);
    if (c->costs && s->add && !takes_product(c, s)) c->instructions += issues;
    break;
  case CELL_K_CONTRACT: {
    double m = (double)trips(c, &s->m_begin, s->m, s->m_limit),
           n = (double)trips(c, &s->n_begin, s->n, s->n_limit);
    sum->contract_flops += times * 2 * m * n * (double)(s->k + s->terms);
    if (cell_is_bits(c->k, s->a.buffer)) sum->bit_flops += times * 2 * m * n * (double)s->k;
    if (s->sparse) sum->sparse_flops += times * 2 * m * n * (double)s->k;
    if (c->costs) {
      c->instructions += issues * contract_instructions(c, s, m, n);
      c->instructions += issues * m * (double)s->terms * ceil(n / c->costs->lanes);
    }
    break;
  }
  default: break;
  }
}

static void count_body(Count *c, const CellStmt *s, double times, double issues,
                       CellKernelCounts *sum) {
  for (; s; s = s->next) count_stmt(c, s, times, issues, sum);
}

static double element_bytes(const Count *c, CellBufferRef b) {
  if (b.scratch) return 0;
  return c->k->args[b.index] == CELL_BITS ? 1.0 / 8 : 4;
}

// elements that an index names: the product of the trips of its variables, through their begins
static void mark(const Count *c, const CellAffine *a, bool *used, const CellStmt *const *loops) {
  for (int i = 0; i < a->term_count; i++) {
    int var = a->terms[i].var;
    used[var] = true;
    if (var > 0 && loops[var]) mark(c, &loops[var]->begin, used, loops);
  }
}

static double elements(const Count *c, const CellAffine *a, const CellStmt *const *loops) {
  bool *used = cell_malloc((size_t)c->k->var_count + 1);
  mark(c, a, used, loops);
  double product = 1;
  for (int i = 0; i < c->k->var_count; i++) {
    if (!used[i]) continue;
    if (i == 0)
      product *= (double)c->k->tasks;
    else if (c->parent[i] > 0)
      product *= c->trips[i] / c->parent[i];
  }
  free(used);
  return product;
}

// of one argument, or of all (-1)
static double traffic(const Count *c, const CellStmt *s, const CellStmt **loops, int arg) {
  double bytes = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      loops[s->var] = s;
      bytes += traffic(c, s->body, loops, arg);
    } else if (s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) {
      if (arg < 0 || s->buffer.index == arg)
        bytes += (s->add ? 2 : 1) * element_bytes(c, s->buffer) * elements(c, &s->index, loops);
    } else if (s->kind == CELL_K_CONTRACT) {
      double m = (double)s->m, n = (double)s->n, k = (double)s->k;
      if (arg < 0 || s->a.buffer.index == arg)
        bytes += element_bytes(c, s->a.buffer) * m * k * elements(c, &s->a.base, loops);
      if (arg < 0 || s->b.buffer.index == arg)
        bytes += element_bytes(c, s->b.buffer) * n * k * elements(c, &s->b.base, loops);
      if (s->terms > 0 && (arg < 0 || s->u.buffer.index == arg))
        bytes +=
            element_bytes(c, s->u.buffer) * m * (double)s->terms * elements(c, &s->u.base, loops);
      if (s->terms > 0 && (arg < 0 || s->v.buffer.index == arg))
        bytes +=
            element_bytes(c, s->v.buffer) * n * (double)s->terms * elements(c, &s->v.base, loops);
      if (arg < 0 || s->out.buffer.index == arg)
        bytes += (s->add ? 2 : 1) * element_bytes(c, s->out.buffer) * m * n *
                 elements(c, &s->out.base, loops);
    }
  }
  return bytes;
}

// counts everything; the caller frees what `c` holds with end()
static CellKernelCounts begin(Count *c, const CellKernel *k, const CellCosts *costs) {
  size_t n = (size_t)k->var_count + 1, values = (size_t)k->value_count + 1;
  *c = (Count){.k = k, .costs = costs, .lane = -1};
  c->vars = cell_malloc(n * sizeof(int64_t));
  c->trips = cell_malloc(n * sizeof(double));
  c->parent = cell_malloc(n * sizeof(double));
  if (costs) {
    c->defs = cell_malloc(values * sizeof(CellStmt *));
    c->uses = cell_malloc(values * sizeof(int));
    c->lanes_of = cell_malloc(values * sizeof(int));
    note_defs(c, k->body, -1);
  }
  CellKernelCounts sum = {0};
  if (depends(k->body, 0)) {
    for (int64_t task = 0; task < k->tasks; task++) {
      c->vars[0] = k->rows > 0 ? task * k->tile : task;
      count_body(c, k->body, 1, 1, &sum);
    }
  } else {
    count_body(c, k->body, (double)k->tasks, (double)k->tasks, &sum);
  }
  return sum;
}

static void end(Count *c) {
  free(c->vars);
  free(c->trips);
  free(c->parent);
  free(c->defs);
  free(c->uses);
  free(c->lanes_of);
}

CellKernelCounts cell_kernel_counts(const CellKernel *k) {
  Count c;
  CellKernelCounts sum = begin(&c, k, NULL);
  const CellStmt **loops = cell_malloc(((size_t)k->var_count + 1) * sizeof(CellStmt *));
  sum.bytes = traffic(&c, k->body, loops, -1);
  free(loops);
  end(&c);
  return sum;
}

CellKernelWork cell_kernel_work(const CellKernel *k, const CellBuffer *buffers,
                                const int *launch_buffers, const CellCosts *costs) {
  Count c;
  begin(&c, k, costs);
  CellKernelWork work = {.instructions = c.instructions};
  const CellStmt **loops = cell_malloc(((size_t)k->var_count + 1) * sizeof(CellStmt *));
  for (int i = 0; i < k->arg_count; i++) {
    // what is read and written again moves twice
    double whole = 4.0 * (double)buffers[launch_buffers[i]].count * (k->written[i] ? 2 : 1);
    work.bytes += fmin(whole, traffic(&c, k->body, loops, i));
  }
  free(loops);
  end(&c);
  return work;
}
