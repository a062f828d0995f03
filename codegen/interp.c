/* interp.c - kernels in float64, statement by statement: obvious and slow. It defines what a kernel
 * means; every back end is compared with it. Every index is checked. Scratch starts as NaN in every
 * task, so what is read before it is written shows. */
#include "codegen/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const CellKernel *k;
  const CellInterpBuffer *args;
  CellInterpBuffer *scratch;
  int64_t *vars;
  double *values;
  double *best; /* ARGMAX: the largest so far */
  CellPrecision precision;
  bool failed;
  char *message;
  size_t size;
} Interp;

static int64_t affine_value(const Interp *in, const CellAffine *a) {
  int64_t value = a->base;
  for (int i = 0; i < a->term_count; i++) value += a->terms[i].coef * in->vars[a->terms[i].var];
  if (a->loaded >= 0) value += a->loaded_coef * (int64_t)in->values[a->loaded];
  return value;
}

// where an element is, or NULL; *zero: it is the padding of a row of bits
static double *element(Interp *in, CellBufferRef ref, int64_t index) {
  static const double padding = 0;
  const CellInterpBuffer *b = ref.scratch ? &in->scratch[ref.index] : &in->args[ref.index];
  int64_t entry = index;
  if (!ref.scratch && in->k->args[ref.index] == CELL_BITS) {
    int64_t row = 32 * cell_bit_words(b->bit_row);
    if (index >= 0 && index / row * b->bit_row < b->count && index % row >= b->bit_row)
      return (double *)&padding; // only ever read
    entry = index < 0 ? -1 : index / row * b->bit_row + index % row;
  }
  if (entry >= 0 && entry < b->count) return &b->data[entry];
  if (!in->failed)
    snprintf(in->message, in->size, "kernel %s: index %lld of %s%d, which has %lld entries",
             in->k->name, (long long)index, ref.scratch ? "s" : "arg", ref.index,
             (long long)b->count);
  in->failed = true;
  return NULL;
}

static double read_element(Interp *in, CellBufferRef ref, int64_t index) {
  const double *p = element(in, ref, index);
  return p ? *p : 0;
}

// ends: the statement, if its range may end before the limit
static int64_t clipped(const Interp *in, int64_t extent, const CellAffine *begin, int64_t limit,
                       const CellStmt *ends) {
  if (limit <= 0) return extent;
  if (ends && ends->end_var >= 0) limit = in->vars[ends->end_var] * ends->end_scale;
  int64_t left = limit - affine_value(in, begin);
  return left < 0 ? 0 : left < extent ? left : extent;
}

/* A factor of a product. TF32 keeps 10 bits of a float's fraction and rounds ties away from zero, BF16 keeps 7
 * and rounds them to even. */
static double factor(Interp *in, CellBufferRef ref, int64_t index) {
  double x = read_element(in, ref, index);
  if (in->precision == CELL_FP32 || !isfinite(x)) return x;
  float f = (float)x;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  bits = in->precision == CELL_TF32 ? (bits + 0x1000) & ~UINT32_C(0x1fff)
                                    : (bits + 0x7fff + (bits >> 16 & 1)) & ~UINT32_C(0xffff);
  memcpy(&f, &bits, sizeof f);
  return f;
}

static void run_contract(Interp *in, const CellStmt *s) {
  int64_t m = clipped(in, s->m, &s->m_begin, s->m_limit, s);
  int64_t n = clipped(in, s->n, &s->n_begin, s->n_limit, NULL);
  int64_t a = affine_value(in, &s->a.base), b = affine_value(in, &s->b.base);
  int64_t out = affine_value(in, &s->out.base);
  int64_t u = s->terms > 0 ? affine_value(in, &s->u.base) : 0,
          v = s->terms > 0 ? affine_value(in, &s->v.base) : 0;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n && !in->failed; j++) {
      double sum = 0;
      for (int64_t k = 0; k < s->k; k++)
        sum += factor(in, s->a.buffer, a + i * s->a.row_stride + k * s->a.k_stride) *
               factor(in, s->b.buffer, b + j * s->b.row_stride + k * s->b.k_stride);
      for (int64_t t = 0; t < s->terms; t++)
        sum += factor(in, s->u.buffer, u + i * s->u.row_stride + t * s->u.k_stride) *
               factor(in, s->v.buffer, v + j * s->v.row_stride + t * s->v.k_stride);
      double *p = element(in, s->out.buffer, out + i * s->out.row_stride + j * s->out.k_stride);
      if (p) *p = s->add ? *p + sum : sum;
    }
}

static void run_update(Interp *in, const CellStmt *s) {
  double value = in->values[s->args[0]], *acc = &in->values[s->value];
  switch (s->reduce) {
  case CELL_SUM: *acc += value; break;
  case CELL_REDUCE_MAX:
    if (value > *acc) *acc = value;
    break;
  case CELL_ARGMAX: {
    double at = (double)affine_value(in, &s->index), *best = &in->best[s->value];
    if (value > *best || (value == *best && at < *acc)) *best = value, *acc = at;
    break;
  }
  }
}

static void run_body(Interp *in, const CellStmt *s) {
  for (; s && !in->failed; s = s->next) {
    switch (s->kind) {
    case CELL_K_LOOP: {
      int64_t begin = affine_value(in, &s->begin);
      int64_t end = begin + clipped(in, s->extent, &s->begin, s->limit, s);
      for (int64_t i = begin; i < end && !in->failed; i++) {
        in->vars[s->var] = i;
        run_body(in, s->body);
      }
      break;
    }
    case CELL_K_CONST: in->values[s->value] = s->number; break;
    case CELL_K_VAR: in->values[s->value] = (double)affine_value(in, &s->index); break;
    case CELL_K_LOAD:
      in->values[s->value] = read_element(in, s->buffer, affine_value(in, &s->index));
      break;
    case CELL_K_LET: {
      double args[3] = {0};
      for (int i = 0; i < cell_op_info[s->op].arity; i++) args[i] = in->values[s->args[i]];
      in->values[s->value] = cell_scalar_eval(s->op, args[0], args[1], args[2]);
      break;
    }
    case CELL_K_ACC:
      in->values[s->value] = s->reduce == CELL_REDUCE_MAX ? -INFINITY : 0;
      in->best[s->value] = -INFINITY;
      break;
    case CELL_K_UPDATE: run_update(in, s); break;
    case CELL_K_STORE: {
      double *p = element(in, s->buffer, affine_value(in, &s->index));
      if (p) *p = s->add ? *p + in->values[s->args[0]] : in->values[s->args[0]];
      break;
    }
    case CELL_K_CONTRACT: run_contract(in, s); break;
    }
  }
}

bool cell_interp_kernel(const CellKernel *k, const CellInterpBuffer *args, CellPrecision precision,
                        char *message, size_t size) {
  Interp in = {.k = k, .args = args, .precision = precision, .message = message, .size = size};
  in.vars = cell_malloc(((size_t)k->var_count + 1) * sizeof(int64_t));
  in.values = cell_malloc(((size_t)k->value_count + 1) * sizeof(double));
  in.best = cell_malloc(((size_t)k->value_count + 1) * sizeof(double));
  in.scratch = cell_malloc(((size_t)k->scratch_count + 1) * sizeof(CellInterpBuffer));
  for (int i = 0; i < k->scratch_count; i++) {
    in.scratch[i].count = k->scratch[i].count;
    in.scratch[i].data = cell_malloc((size_t)k->scratch[i].count * sizeof(double) + 8);
  }

  for (int64_t task = 0; task < k->tasks && !in.failed; task++) {
    for (int i = 0; i < k->scratch_count; i++)
      for (int64_t j = 0; j < in.scratch[i].count; j++) in.scratch[i].data[j] = NAN;
    in.vars[0] = task;
    if (k->rows > 0) {
      in.vars[0] = k->rows * task / k->tasks;
      in.vars[k->end_var] = k->rows * (task + 1) / k->tasks;
    }
    run_body(&in, k->body);
  }

  for (int i = 0; i < k->scratch_count; i++) free(in.scratch[i].data);
  free(in.scratch);
  free(in.vars);
  free(in.values);
  free(in.best);
  return !in.failed;
}
