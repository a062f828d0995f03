/* test_contract.c - contractions of many shapes and strides: LLVM against the kernel interpreter.
 */
#include "kernels.h"

enum { SKIP = 7 };

typedef struct {
  int64_t m, n, k;
  int a, b, out; /* 0: row-major; 1: the other way round; 2: neither stride is 1; 3: bits, 4: bits
                    turned, 5: bits behind SKIP others */
  bool add;
  int64_t tasks; /* tiles of m rows; the last may be ragged */
  int64_t rows;  /* in all; 0: m * tasks */
} Case;

/* a product of m rows whose tasks are n columns each, of `columns` in all */
typedef struct {
  Case product;
  int64_t columns;
} Cut;

/* a matrix of rows x columns: strides and size */
static int64_t strides(int layout, int64_t rows, int64_t columns, int64_t *rs, int64_t *cs) {
  switch (layout) {
  case 0: *rs = columns + 3, *cs = 1; return rows * (columns + 3);
  case 1: *rs = 1, *cs = rows + 1; return columns * (rows + 1);
  case 2: *rs = 2 * columns + 1, *cs = 2; return rows * (2 * columns + 1);
  case 3: *rs = (columns + 31) / 32 * 32, *cs = 1; return rows * columns;
  case 5: *rs = (columns + SKIP + 31) / 32 * 32, *cs = 1; return rows * (columns + SKIP);
  default: *rs = 1, *cs = (rows + 31) / 32 * 32; return rows * columns;
  }
}

static void run_cut(const Case *x, int64_t all_columns, CellIsa isa) {
  CellArena *arena = cell_arena_create();
  int64_t columns = all_columns ? all_columns : x->n;
  int64_t rows = all_columns ? x->m : x->rows ? x->rows : x->m * x->tasks;
  int64_t ars, acs, brs, bcs, ors, ocs;
  Arg args[3] = {
      {x->a >= 3 ? CELL_BITS : CELL_F, strides(x->a, rows, x->k, &ars, &acs), 0, false},
      {x->b >= 3 ? CELL_BITS : CELL_F, strides(x->b, columns, x->k, &brs, &bcs), 0, false},
      {CELL_F, strides(x->out, rows, columns, &ors, &ocs), 0, true}};
  int64_t skip = x->a == 5 ? SKIP : 0;
  args[0].bit_row = x->a == 3 || x->a == 5 ? skip + x->k : rows;
  args[1].bit_row = x->b == 3 ? x->k : columns;
  CellKernel *k = new_kernel(arena, "product", x->tasks, 3, args);
  CellStmt **tail = &k->body;
  CellStmt *c = cell_stmt(k, &tail, CELL_K_CONTRACT);
  c->a = (CellView){arg(0), cell_affine_var(0, x->m * ars), ars, acs};
  c->a.base.base = skip;
  c->b = (CellView){arg(1), cell_affine(0), brs, bcs};
  c->out = (CellView){arg(2), cell_affine_var(0, x->m * ors), ors, ocs};
  c->m = x->m, c->n = x->n, c->k = x->k, c->add = x->add;
  if (all_columns) {
    c->a.base = cell_affine(skip);
    c->b.base = cell_affine_var(0, x->n * brs), c->out.base = cell_affine_var(0, x->n * ocs);
    c->n_begin = cell_affine_var(0, x->n), c->n_limit = columns;
  } else if (x->rows) {
    c->m_begin = cell_affine_var(0, x->m), c->m_limit = rows;
  }
  assert_valid(k);
  compare(plan_of(arena, k, args, 256), args, isa, 1e-5 + 3e-7 * (double)x->k, 7, NULL);
  cell_arena_destroy(arena);
}

static void run_case(const Case *x, CellIsa isa) {
  run_cut(x, 0, isa);
}

static void shapes(void **state) {
  (void)state;
  static const Case cases[] = {
      {1, 1, 1, 0, 0, 0, false, 1, 0},       {1, 1, 1, 0, 0, 0, true, 3, 0},
      {64, 48, 100, 0, 0, 0, false, 2, 0},   {64, 48, 100, 0, 0, 0, true, 2, 100},
      {7, 11, 13, 0, 0, 0, false, 1, 0},     {7, 11, 13, 1, 0, 0, true, 2, 9},
      {7, 11, 13, 0, 1, 0, false, 1, 0},     {7, 11, 13, 1, 1, 1, true, 1, 0},
      {31, 37, 41, 2, 2, 2, true, 2, 45},    {31, 37, 41, 2, 0, 1, false, 1, 0},
      {17, 200, 700, 0, 0, 0, false, 1, 0},  {17, 200, 700, 0, 1, 0, false, 1, 0},
      {100, 72, 512, 1, 1, 0, true, 3, 290}, {5, 1, 300, 0, 0, 0, false, 2, 0},
      {1, 300, 65, 0, 0, 0, false, 1, 0},    {1, 300, 65, 0, 1, 0, false, 1, 0},
      {300, 1, 65, 1, 0, 0, false, 1, 0},    {2, 130, 9, 0, 1, 0, false, 1, 0},
      {20, 30, 400, 3, 1, 0, false, 2, 33},  {20, 130, 75, 4, 1, 0, true, 2, 33},
      {64, 200, 45, 3, 1, 0, true, 1, 0},    {1, 97, 100, 3, 1, 0, false, 3, 0},
      {45, 1, 33, 4, 1, 0, false, 1, 0},     {7, 96, 3, 3, 1, 0, false, 2, 9},
      {20, 30, 400, 3, 0, 0, false, 2, 33},  {20, 30, 401, 0, 3, 0, true, 1, 0},
      {20, 45, 50, 4, 4, 0, false, 1, 0},    {20, 45, 50, 1, 4, 0, true, 1, 0},
      {260, 33, 70, 1, 1, 0, false, 1, 0},   {33, 1100, 330, 1, 1, 0, false, 1, 0},
      {8, 8, 3, 0, 0, 0, false, 1, 0},       {48, 16, 8, 1, 0, 1, true, 1, 0},
      {48, 16, 8, 0, 0, 2, false, 1, 0},     {16, 40, 33, 3, 3, 1, false, 1, 0},
      {16, 36, 17, 0, 0, 0, true, 1, 7},     {40, 70, 400, 3, 1, 0, false, 2, 0},
      {33, 300, 100, 5, 1, 0, true, 3, 0},   {70, 9, 31, 5, 1, 0, false, 1, 0},
      {32, 41, 25, 5, 1, 0, true, 2, 0},     {40, 30, 57, 5, 1, 0, false, 2, 75},
  };
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) run_case(&cases[j], isas[i]);
}

static void columns(void **state) {
  (void)state;
  static const Cut cases[] = {
      {{1, 104, 65, 0, 1, 0, true, 4, 0}, 400},  {{1, 56, 70, 3, 1, 0, false, 3, 0}, 131},
      {{1, 200, 400, 3, 1, 0, true, 2, 0}, 301}, {{3, 20, 30, 1, 0, 2, false, 3, 0}, 41},
      {{5, 24, 33, 4, 1, 0, true, 2, 0}, 47},    {{1, 8, 9, 0, 0, 0, false, 5, 0}, 33},
  };
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
      run_cut(&cases[j].product, cases[j].columns, isas[i]);
}

static void random_shapes(void **state) {
  (void)state;
  uint64_t random = 11;
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  int count = getenv("CELLC_SANITIZED") ? 10 : 60;
  for (int i = 0; i < count; i++) {
    Case x = {.m = 1 + next_below(&random, 40), .n = 1 + next_below(&random, 60)};
    x.k = 1 + next_below(&random, next_below(&random, 4) == 0 ? 800 : 60);
    x.a = (int)next_below(&random, 5), x.b = (int)next_below(&random, 5);
    x.out = (int)next_below(&random, 3), x.add = next_below(&random, 2);
    x.tasks = 1 + next_below(&random, 3);
    if (x.a == 4) x.tasks = 1;
    if (next_below(&random, 2)) x.rows = (x.tasks - 1) * x.m + 1 + next_below(&random, x.m);
    int64_t all = 0;
    if (x.b != 4 && next_below(&random, 4) == 0)
      all = (x.tasks - 1) * x.n + 1 + next_below(&random, x.n);
    run_cut(&x, all, isas[n > 0 ? i % n : 0]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shapes),
      cmocka_unit_test(columns),
      cmocka_unit_test(random_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
