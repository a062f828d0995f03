/* ops_scalar.c - float64 values of the elementwise ops: the definition that every back end is
 * compared with.
 *
 * Where NaN could go either way: a comparison with NaN is false, so min and max give `a` unless b
 * is strictly smaller or larger, relu hands NaN on, sign of NaN is 0, and NaN counts as true in
 * where. */
#include <math.h>

#include "ir/internal.h"

/* the form whose exponential cannot overflow */
static double sigmoid(double a) {
  double e = exp(-fabs(a));
  return a >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static inline double value(CellOp op, double a, double b, double c) {
  switch ((int)op) {
  case CELL_OP_ADD: return a + b;
  case CELL_OP_SUB: return a - b;
  case CELL_OP_MUL: return a * b;
  case CELL_OP_DIV: return a / b;
  case CELL_OP_POW: return pow(a, b);
  case CELL_OP_MIN: return b < a ? b : a;
  case CELL_OP_MAX: return b > a ? b : a;
  case CELL_OP_LT: return a < b;
  case CELL_OP_LE: return a <= b;
  case CELL_OP_EQ: return a == b;
  case CELL_OP_NE: return a != b;
  case CELL_OP_NEG: return -a;
  case CELL_OP_ABS: return fabs(a);
  case CELL_OP_SIGN: return (a > 0) - (a < 0);
  case CELL_OP_FLOOR: return floor(a);
  case CELL_OP_SQRT: return sqrt(a);
  case CELL_OP_EXP: return exp(a);
  case CELL_OP_LOG: return log(a);
  case CELL_OP_TANH: return tanh(a);
  case CELL_OP_SIGMOID: return sigmoid(a);
  case CELL_OP_SIN: return sin(a);
  case CELL_OP_COS: return cos(a);
  case CELL_OP_RELU: return a < 0 ? 0 : a;
  case CELL_OP_WHERE: return a != 0 ? b : c;
  case CELL_OP_FLOAT: return a;
  default: cell_internal_error(__FILE__, __LINE__, "op %d is not elementwise", (int)op);
  }
}

double cell_scalar_eval(CellOp op, double a, double b, double c) {
  return value(op, a, b, c);
}

/* the op is chosen once, not once an entry: each row of the table gets its own loop */
void cell_scalar_run(CellOp op, int64_t n, double *out, int64_t so, const double *const x[3],
                     const int64_t *sx) {
  static const double nothing = 0;
  const double *a = x[0], *b = x[1] ? x[1] : &nothing, *c = x[2] ? x[2] : &nothing;
  const int64_t sa = sx[0], sb = x[1] ? sx[1] : 0, sc = x[2] ? sx[2] : 0;
  switch ((int)op) {
#define SCALAR(ENUM, text, arity, flops, sentence)                                                 \
  case CELL_OP_##ENUM:                                                                             \
    for (int64_t i = 0; i < n; i++)                                                                \
      out[i * so] = value(CELL_OP_##ENUM, a[i * sa], b[i * sb], c[i * sc]);                        \
    break;
#include "ir/ops.def"
  default: cell_internal_error(__FILE__, __LINE__, "op %d is not elementwise", (int)op);
  }
}
