/* kernel_counts.c - arithmetic and traffic of a kernel, counted on its statements.
 *
 * Iterations are counted as they run, limits included: a body is counted once and multiplied unless
 * a range inside it depends on the variable. Traffic counts an element once for each statement that
 * names it, however often it is read again, and leaves scratch out: what it takes if the caches do
 * their work. */
#include "ir/kernel.h"

#include <stdlib.h>

typedef struct {
  const CellKernel *k;
  int64_t *vars;  /* current values, for ranges with limits */
  double *trips;  /* iterations of each variable's loop in all, over those of its parent */
  double *parent; /* scratch: iterations around each loop */
} Count;

static int64_t affine_value(const Count *c, const CellAffine *a) {
  int64_t value = a->base;
  for (int i = 0; i < a->term_count; i++) value += a->terms[i].coef * c->vars[a->terms[i].var];
  return value;
}

static bool mentions(const CellAffine *a, int var) {
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var == var) return true;
  return false;
}

// whether a range inside depends on a variable
static bool depends(const CellStmt *s, int var) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      if (s->limit > 0 && mentions(&s->begin, var)) return true;
      // a loop that starts at the variable hands it on
      if (mentions(&s->begin, var) && depends(s->body, s->var)) return true;
      if (depends(s->body, var)) return true;
    }
    if (s->kind == CELL_K_CONTRACT && ((s->m_limit > 0 && mentions(&s->m_begin, var)) ||
                                       (s->n_limit > 0 && mentions(&s->n_begin, var))))
      return true;
  }
  return false;
}

static int64_t trips(const Count *c, const CellAffine *begin, int64_t extent, int64_t limit) {
  if (limit <= 0) return extent;
  int64_t left = limit - affine_value(c, begin);
  return left < 0 ? 0 : left < extent ? left : extent;
}

static void count_body(Count *c, const CellStmt *s, double times, CellKernelCounts *sum);

static void count_stmt(Count *c, const CellStmt *s, double times, CellKernelCounts *sum) {
  switch (s->kind) {
  case CELL_K_LOOP: {
    int64_t n = trips(c, &s->begin, s->extent, s->limit), begin = affine_value(c, &s->begin);
    c->trips[s->var] += times * (double)n;
    c->parent[s->var] += times;
    c->vars[s->var] = begin;
    if (n > 0 && !depends(s->body, s->var)) {
      count_body(c, s->body, times * (double)n, sum);
    } else {
      for (int64_t i = 0; i < n; i++) {
        c->vars[s->var] = begin + i;
        count_body(c, s->body, times, sum);
      }
    }
    break;
  }
  case CELL_K_LET: sum->vector_ops += times * cell_op_info[s->op].flops; break;
  case CELL_K_UPDATE: sum->vector_ops += times; break;
  case CELL_K_CONTRACT:
    sum->contract_flops += times * 2 * (double)trips(c, &s->m_begin, s->m, s->m_limit) *
                           (double)trips(c, &s->n_begin, s->n, s->n_limit) * (double)s->k;
    break;
  default: break;
  }
}

static void count_body(Count *c, const CellStmt *s, double times, CellKernelCounts *sum) {
  for (; s; s = s->next) count_stmt(c, s, times, sum);
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

static double traffic(const Count *c, const CellStmt *s, const CellStmt **loops) {
  double bytes = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      loops[s->var] = s;
      bytes += traffic(c, s->body, loops);
    } else if (s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) {
      bytes += (s->add ? 2 : 1) * element_bytes(c, s->buffer) * elements(c, &s->index, loops);
    } else if (s->kind == CELL_K_CONTRACT) {
      double m = (double)s->m, n = (double)s->n, k = (double)s->k;
      bytes += element_bytes(c, s->a.buffer) * m * k * elements(c, &s->a.base, loops);
      bytes += element_bytes(c, s->b.buffer) * n * k * elements(c, &s->b.base, loops);
      bytes += (s->add ? 2 : 1) * element_bytes(c, s->out.buffer) * m * n *
               elements(c, &s->out.base, loops);
    }
  }
  return bytes;
}

CellKernelCounts cell_kernel_counts(const CellKernel *k) {
  size_t n = (size_t)k->var_count + 1;
  Count c = {k, cell_malloc(n * sizeof(int64_t)), cell_malloc(n * sizeof(double)),
             cell_malloc(n * sizeof(double))};
  CellKernelCounts sum = {0};
  if (depends(k->body, 0)) {
    for (int64_t task = 0; task < k->tasks; task++) {
      c.vars[0] = task;
      count_body(&c, k->body, 1, &sum);
    }
  } else {
    count_body(&c, k->body, (double)k->tasks, &sum);
  }

  const CellStmt **loops = cell_malloc(n * sizeof(CellStmt *));
  sum.bytes = traffic(&c, k->body, loops);
  free(loops);
  free(c.vars);
  free(c.trips);
  free(c.parent);
  return sum;
}
