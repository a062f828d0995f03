/* test_functions.c - elementary functions of generated code against the op table's float64 evaluators, in
 * units in the last place, at special values and over whole ranges. */
#include "kernels.h"

#include <float.h>
#include <math.h>

typedef struct {
  CellOp op;
  double low, high; /* arguments are spread over this range, and over its logarithm */
  double bound;     /* largest error, units in the last place */
  double loose;     /* the same without multiply-adds in one rounding */
} Row;

static const Row rows[] = {
    {CELL_OP_EXP, -100, 100, 1.5, 2},    {CELL_OP_LOG, 1e-37, 1e38, 2, 3},
    {CELL_OP_TANH, -12, 12, 5, 6},       {CELL_OP_SIGMOID, -90, 90, 3, 4},
    {CELL_OP_SIN, -1000, 1000, 1, 1},    {CELL_OP_COS, -1000, 1000, 1, 1},
    {CELL_OP_SQRT, 0, 1e30, 0.51, 0.51}, {CELL_OP_FLOOR, -1e9, 1e9, 0, 0},
    {CELL_OP_ABS, -5, 5, 0, 0},          {CELL_OP_SIGN, -5, 5, 0, 0},
    {CELL_OP_RELU, -5, 5, 0, 0},         {CELL_OP_NEG, -5, 5, 0, 0},
    {CELL_OP_POW, 1e-3, 1e3, 1, 1},      {CELL_OP_DIV, -1e6, 1e6, 0.51, 0.51},
    {CELL_OP_MIN, -2, 2, 0, 0},          {CELL_OP_MAX, -2, 2, 0, 0},
    {CELL_OP_LT, -2, 2, 0, 0},           {CELL_OP_LE, -2, 2, 0, 0},
    {CELL_OP_EQ, -2, 2, 0, 0},           {CELL_OP_NE, -2, 2, 0, 0},
    {CELL_OP_WHERE, -2, 2, 0, 0},        {CELL_OP_ADD, -2, 2, 0.51, 0.51},
    {CELL_OP_SUB, -2, 2, 0.51, 0.51},    {CELL_OP_MUL, -2, 2, 0.51, 0.51},
};

static const float specials[] = {
    0.0F,     -0.0F,   1.0F,     -1.0F,      2.0F,     -2.0F,     0.5F,    -0.5F,
    3.0F,     -3.0F,   88.7228F, 88.73F,     -87.3F,   -87.4F,    -104.0F, 1e-30F,
    -1e-30F,  1e-6F,   -1e-6F,   9.01F,      -9.03F,   1e30F,     -1e30F,  FLT_MAX,
    -FLT_MAX, FLT_MIN, 1e-40F,   -1e-40F,    INFINITY, -INFINITY, NAN,     0.99999F,
    1.00001F, 1.5F,    -1.5F,    8388609.0F, 2.5F,     4.0F,      -7.0F};

enum { SPECIALS = sizeof specials / sizeof *specials, COUNT = SPECIALS * SPECIALS + 20003 };

static double flushed(double x) {
  return fabs(x) < FLT_MIN ? 0 : x;
}

/* |got - want| in units of the last place of want as a float; 0 for what cannot be told apart */
static double error_of(double got, double want) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
  float rounded = (float)want;
  if (isinf(rounded) || isinf(got))
    return (double)rounded == got ? 0 : fabs(want) > 3.4e38 ? 0 : INFINITY;
  // below the normal range a result may be 0
  if (fabs(want) < 2 * FLT_MIN) return fabs(got) <= 2 * (double)FLT_MIN ? 0 : INFINITY;
  int exponent;
  (void)frexp(want, &exponent);
  return fabs(got - want) / ldexp(1, exponent - FLT_MANT_DIG);
}

/* a sine of what is far beyond the reduction's range is not asked for */
static bool outside(const Row *row, double a, double b) {
  if (row->op == CELL_OP_SIN || row->op == CELL_OP_COS) return fabs(a) > 1e5;
  // pow of special pairs: where C and IEEE have long tables only the plain cases count
  if (row->op == CELL_OP_POW)
    return isnan(a) || isnan(b) || isinf(b) || (isinf(a) && a < 0) || (a == 0 && b < 0) ||
           (a == 0 && signbit(a));
  return false;
}

static void test_row(const Row *row, CellIsa isa) {
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{CELL_F, COUNT, 0, false},
                 {CELL_F, COUNT, 0, false},
                 {CELL_F, COUNT, 0, false},
                 {CELL_F, COUNT, 0, true}};
  CellKernel *k = new_kernel(arena, cell_op_info[row->op].name, 1, 4, args);
  CellStmt **tail = &k->body, **lane;
  int v = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), COUNT, 0, &lane)->var;
  int x[3];
  for (int i = 0; i < 3; i++) x[i] = load(k, &lane, arg(i), cell_affine_var(v, 1));
  int n = cell_op_info[row->op].arity;
  int y = let(k, &lane, row->op, x[0], n > 1 ? x[1] : -1, n > 2 ? x[2] : -1);
  store(k, &lane, arg(3), cell_affine_var(v, 1), y, false);
  CellPlan *plan = plan_of(arena, k, args, 64);
  CellDiag *diag = cell_diag_create();
  CellEngineOptions options = {.isa = isa, .threads = 1, .cache_dir = "", .check_guards = true};
  CellEngine *e = cell_engine_create(NULL, plan, CELL_BACKEND_CPU, &options, diag);
  assert_non_null(e);

  CellTensorData data[4];
  static const char *const names[4] = {"a0", "a1", "a2", "a3"};
  for (int i = 0; i < 4; i++) assert_true(cell_engine_tensor(e, "run", names[i], &data[i]));
  float *a = data[0].data, *b = data[1].data, *c = data[2].data, *out = data[3].data;
  uint64_t random = 5;
  for (int i = 0; i < COUNT; i++) {
    if (i < SPECIALS * SPECIALS) {
      a[i] = specials[i / SPECIALS], b[i] = specials[i % SPECIALS];
    } else if (i % 2 == 0) {
      a[i] = (float)(row->low + (row->high - row->low) * (0.5 + 0.5 * next_uniform(&random)));
      b[i] = (float)(row->op == CELL_OP_POW ? 5 * next_uniform(&random)
                                            : row->high * next_uniform(&random));
    } else if (i % 4 == 1) {
      a[i] = (float)exp(3 * next_uniform(&random)); // around 1
      if (row->low < 0 && next_below(&random, 2)) a[i] = -a[i];
      b[i] = (float)(20 * next_uniform(&random));
    } else {
      // small sizes as often as large ones
      double size = exp(log(row->high) + (0.5 * next_uniform(&random) - 0.5) * 30);
      a[i] = (float)(row->low < 0 && next_below(&random, 2) ? -size : size);
      b[i] = (float)(3 * next_uniform(&random));
    }
    c[i] = (float)next_uniform(&random);
  }
  assert_true(cell_engine_run(e, "run", diag));
  volatile float subnormal = 1e-40F; // flushed while the engine runs, and only then
  assert_true(subnormal * 0.5F > 0);
  double worst = 0, bound = isa == CELL_ISA_SCALAR ? row->loose : row->bound;
  for (int i = 0; i < COUNT; i++) {
    double p = flushed(a[i]), q = flushed(b[i]);
    if (outside(row, p, q)) continue;
    double want = cell_scalar_eval(row->op, p, q, flushed(c[i]));
    double error = error_of(out[i], want);
    if (error > bound)
      fail_msg("isa %d: %s(%.9g, %.9g) gives %.9g, not %.9g: %.2f units", (int)isa,
               cell_op_info[row->op].name, (double)a[i], (double)b[i], (double)out[i], want, error);
    if (error > worst) worst = error;
  }
  if (getenv("CELLC_VERBOSE"))
    print_message("isa %d %-8s %.2f\n", (int)isa, cell_op_info[row->op].name, worst);
  cell_engine_destroy(e);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

static void functions(void **state) {
  (void)state;
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) test_row(&rows[j], isas[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(functions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
