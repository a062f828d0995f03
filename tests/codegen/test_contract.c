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

/* what bits are set: one in three; none; all; nine in ten; of each sample nearly the same third */
typedef enum { SOME, NONE, ALL, MOST, ALIKE, FILLS } Fill;

/* products that may leave out zeros, of numbers of which some are 0, of either sign: none; all; half; nine in ten;
 * one in ten */
typedef enum { DENSE, NO_ZEROS, ALL_ZEROS, HALF_ZEROS, MOSTLY_ZEROS, FEW_ZEROS, ZEROS } Zeros;

static double *fill_zeros(CellArena *arena, const Arg *a, Zeros zeros) {
  static const int tenths[ZEROS] = {0, 0, 10, 5, 9, 1};
  double *x = CELL_NEW_ARRAY(arena, double, (size_t)a->count);
  uint64_t random = 4;
  for (int64_t i = 0; i < a->count; i++) {
    x[i] = next_uniform(&random);
    if (next_below(&random, 10) < tenths[zeros]) x[i] = next_below(&random, 2) ? 0 : -0.0;
  }
  return x;
}

/* NULL: as `compare` would */
static double *fill_bits(CellArena *arena, const Arg *a, Fill fill) {
  if (a->dtype != CELL_BITS || fill == SOME) return NULL;
  double *bits = CELL_NEW_ARRAY(arena, double, (size_t)a->count);
  uint64_t random = 3;
  for (int64_t i = 0; i < a->count; i++) {
    bool rare = next_below(&random, 10) == 0, third = i % a->bit_row % 3 == 0;
    bits[i] = fill == ALL || (fill == MOST && !rare) || (fill == ALIKE && third != rare);
  }
  return bits;
}

// terms: of a short product beside a sparse one
static void run_zeros(const Case *x, int64_t all_columns, Fill fill, Zeros zeros, int64_t terms,
                      CellIsa isa) {
  CellArena *arena = cell_arena_create();
  int64_t columns = all_columns ? all_columns : x->n;
  int64_t rows = all_columns ? x->m : x->rows ? x->rows : x->m * x->tasks;
  int64_t ars, acs, brs, bcs, ors, ocs;
  Arg args[5] = {
      {x->a >= 3 ? CELL_BITS : CELL_F, strides(x->a, rows, x->k, &ars, &acs), 0, false},
      {x->b >= 3 ? CELL_BITS : CELL_F, strides(x->b, columns, x->k, &brs, &bcs), 0, false},
      {CELL_F, strides(x->out, rows, columns, &ors, &ocs), 0, true},
      {CELL_F, rows * terms, 0, false},
      {CELL_F, columns * terms, 0, false}};
  int64_t skip = x->a == 5 ? SKIP : 0;
  args[0].bit_row = x->a == 3 || x->a == 5 ? skip + x->k : rows;
  args[1].bit_row = x->b == 3 ? x->k : columns;
  CellKernel *k = new_kernel(arena, "product", x->tasks, terms > 0 ? 5 : 3, args);
  CellStmt **tail = &k->body;
  CellStmt *c = cell_stmt(k, &tail, CELL_K_CONTRACT);
  c->terms = terms;
  c->u = (CellView){arg(3), cell_affine_var(0, x->m * terms), terms, 1};
  c->v = (CellView){arg(4), cell_affine(0), 1, columns};
  c->a = (CellView){arg(0), cell_affine_var(0, x->m * ars), ars, acs};
  c->a.base.base = skip;
  c->b = (CellView){arg(1), cell_affine(0), brs, bcs};
  c->out = (CellView){arg(2), cell_affine_var(0, x->m * ors), ors, ocs};
  c->m = x->m, c->n = x->n, c->k = x->k, c->add = x->add;
  c->sparse = zeros != DENSE;
  if (all_columns) {
    c->a.base = cell_affine(skip);
    c->u.base = cell_affine(0), c->v.base = cell_affine_var(0, x->n);
    c->b.base = cell_affine_var(0, x->n * brs), c->out.base = cell_affine_var(0, x->n * ocs);
    c->n_begin = cell_affine_var(0, x->n), c->n_limit = columns;
  } else if (x->rows) {
    c->m_begin = cell_affine_var(0, x->m), c->m_limit = rows;
  }
  assert_valid(k);
  const double *given[5] = {zeros == DENSE || args[0].dtype == CELL_BITS
                                ? fill_bits(arena, &args[0], fill)
                                : fill_zeros(arena, &args[0], zeros),
                            fill_bits(arena, &args[1], fill)};
  compare(plan_of(arena, k, args, 256), args, isa, 1e-5 + 3e-7 * (double)x->k, 7, given);
  cell_arena_destroy(arena);
}

static void run_filled(const Case *x, int64_t all_columns, Fill fill, CellIsa isa) {
  run_zeros(x, all_columns, fill, DENSE, 0, isa);
}

static void run_cut(const Case *x, int64_t all_columns, CellIsa isa) {
  run_filled(x, all_columns, SOME, isa);
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
      {36, 520, 350, 1, 1, 0, true, 3, 95},  {40, 300, 700, 0, 0, 0, false, 2, 70},
      {64, 256, 40, 0, 1, 0, true, 1, 0},    {37, 260, 50, 1, 1, 0, false, 2, 65},
      {128, 1, 36, 0, 1, 0, false, 1, 0},    {37, 2, 33, 0, 1, 0, true, 2, 70},
      {37, 3, 40, 0, 0, 0, false, 2, 51},    {41, 3, 700, 0, 1, 0, true, 1, 0},
      {9, 5, 36, 0, 1, 1, false, 2, 14},     {50, 6, 300, 0, 1, 0, true, 1, 0},
      {23, 7, 17, 0, 1, 0, false, 3, 60},    {2, 2, 64, 0, 1, 2, true, 1, 0},
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
    run_filled(&x, all, (Fill)next_below(&random, FILLS), isas[n > 0 ? i % n : 0]);
  }
}

static void fills(void **state) {
  (void)state;
  static const Cut cases[] = {
      {{40, 70, 75, 3, 1, 0, false, 2, 0}, 0},  {{33, 9, 100, 5, 1, 0, true, 2, 0}, 0},
      {{45, 300, 70, 4, 1, 0, false, 1, 0}, 0}, {{20, 41, 33, 4, 1, 0, true, 3, 50}, 0},
      {{45, 24, 130, 4, 1, 0, true, 2, 0}, 47}, {{35, 1000, 100, 4, 1, 0, true, 1, 0}, 0},
  };
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
      for (Fill fill = NONE; fill < FILLS; fill++)
        if (((int)fill + (int)j) % n == i) // each with some vectors
          run_filled(&cases[j].product, cases[j].columns, fill, isas[i]);
}

// few columns of which a few bits choose sums: words that are whole or not, behind others, turned, of ragged tasks
static void subsets(void **state) {
  (void)state;
  static const Case cases[] = {
      {128, 5, 90, 3, 1, 0, false, 2, 200}, {33, 8, 32, 3, 1, 0, true, 2, 50},
      {20, 1, 2, 3, 1, 0, false, 3, 0},     {64, 17, 39, 5, 1, 0, true, 2, 0},
      {40, 32, 25, 5, 1, 0, false, 2, 75},  {40, 9, 57, 5, 1, 0, true, 1, 0},
      {16, 3, 58, 5, 0, 0, false, 2, 31},   {12, 5, 512, 4, 1, 0, false, 8, 90},
      {12, 16, 128, 4, 1, 0, true, 3, 33},  {70, 30, 64, 4, 1, 0, false, 1, 0},
      {5, 8, 1120, 4, 1, 0, true, 2, 7},    {33, 24, 32, 4, 1, 0, true, 1, 0},
      {40, 4, 96, 4, 0, 0, false, 2, 0},    {1, 7, 256, 4, 1, 0, false, 1, 0},
  };
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
      for (Fill fill = SOME; fill < FILLS; fill++) run_filled(&cases[j], 0, fill, isas[i]);
}

static void zeros(void **state) {
  (void)state;
  static const Cut cases[] = {
      {{128, 400, 400, 0, 1, 0, false, 1, 0}, 0}, {{128, 200, 200, 0, 1, 0, true, 1, 0}, 0},
      {{37, 416, 112, 0, 1, 0, true, 2, 60}, 0},  {{37, 64, 48, 0, 1, 0, false, 2, 38}, 0},
      {{8, 48, 16, 0, 1, 0, true, 3, 20}, 0},     {{37, 48, 48, 0, 1, 0, true, 2, 0}, 0},
      {{37, 13, 400, 0, 1, 0, false, 2, 50}, 0},  {{8, 8, 400, 0, 1, 0, true, 2, 0}, 0},
      {{37, 8, 48, 0, 1, 0, false, 1, 0}, 0},     {{8, 400, 200, 0, 1, 0, false, 1, 0}, 0},
      {{33, 121, 77, 0, 1, 0, true, 1, 0}, 0},    {{40, 35, 17, 0, 1, 0, false, 1, 0}, 0},
      {{37, 109, 1003, 0, 1, 0, true, 2, 70}, 0}, {{64, 24, 4100, 0, 1, 0, false, 1, 0}, 0},
      {{20, 200, 48, 0, 0, 0, true, 1, 0}, 0},    {{20, 200, 48, 1, 1, 0, true, 1, 0}, 0},
      {{75, 49, 61, 1, 1, 0, false, 2, 130}, 0},  {{400, 64, 515, 1, 1, 0, true, 1, 0}, 0},
      {{8, 48, 4096, 1, 1, 0, false, 2, 0}, 0},   {{64, 100, 64, 1, 1, 0, true, 2, 0}, 0},
      {{20, 200, 48, 0, 1, 1, false, 1, 0}, 0},   {{7, 48, 48, 0, 1, 0, true, 1, 0}, 0},
      {{16, 1100, 250, 0, 1, 0, true, 1, 0}, 0},  {{32, 48, 48, 0, 1, 0, true, 3, 0}, 130},
      {{32, 48, 48, 3, 1, 0, true, 1, 0}, 0},
  };
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++)
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
      for (Zeros share = NO_ZEROS; share < ZEROS; share++) {
        const Case *x = &cases[j].product;
        bool large = x->m * x->n * x->k > 1 << 20;
        if (large && ((int)share + (int)j) % n != i) continue; // each with some vectors
        // alone, or with two or three terms, of which a dense form makes a second product
        int64_t terms = ((int64_t)share + (int64_t)j) % 3;
        run_zeros(x, cases[j].columns, SOME, share, terms > 0 ? terms + 1 : 0, isas[i]);
      }
}

static CellStmt *add_product(CellKernel *k, CellStmt ***tail, CellView a, int b, CellView out,
                             int64_t m, int64_t n, int64_t kk) {
  CellStmt *c = cell_stmt(k, tail, CELL_K_CONTRACT);
  c->a = a, c->b = (CellView){arg(b), cell_affine(0), 1, n}, c->out = out;
  c->m = m, c->n = n, c->k = kk, c->add = true;
  return c;
}

/* Several products of the same bits in a task, some of fewer of them, in two loops over more steps than lists
 * are kept of. turned: a step's bits are k samples of m entries, else m samples of k. */
static void run_steps(int64_t m, int64_t k_all, bool turned, bool ragged, Fill fill, CellIsa isa) {
  enum { STEPS = 40, N = 19, TASKS = 2 };
  CellArena *arena = cell_arena_create();
  int64_t row = turned ? m : k_all, line = (row + 31) / 32 * 32, samples = turned ? k_all : m;
  Arg args[4] = {{CELL_BITS, TASKS * STEPS * samples * row, row, false},
                 {CELL_F, k_all * N, 0, false},
                 {CELL_F, k_all * N, 0, false},
                 {CELL_F, (int64_t)TASKS * 4 * m * N, 0, true}};
  CellKernel *k = new_kernel(arena, "steps", TASKS, 4, args);
  CellStmt **tail = &k->body;
  for (int pass = 0; pass < 2; pass++) {
    CellStmt **body;
    int step = loop(k, &tail, CELL_LOOP_SERIAL, cell_affine(0), STEPS, 0, &body)->var;
    CellView a = {arg(0), index2(0, STEPS * samples * line, 0, samples * line, step),
                  turned ? 1 : line, turned ? line : 1};
    for (int i = 0; i < 2; i++) {
      CellView out = {arg(3), cell_affine_var(0, 4 * m * N), N, 1};
      out.base.base = (2 * pass + i) * m * N;
      CellStmt *c = add_product(k, &body, a, 1 + i, out, m, N, k_all);
      if (ragged) c->m_begin = cell_affine_var(0, 1), c->m_limit = m - 2;
      c = add_product(k, &body, a, 1 + i, out, m - 1, N, k_all);
      add_product(k, &body, a, 1 + i, out, m, N, k_all - 1);
      a.base.base++; // from the second bit on
      add_product(k, &body, a, 1 + i, out, m - 1, N, k_all - 1);
      a.base.base--;
    }
  }
  assert_valid(k);
  const double *given[4] = {fill_bits(arena, &args[0], fill)};
  compare(plan_of(arena, k, args, 256), args, isa, 1e-3, 5, given);
  cell_arena_destroy(arena);
}

static void steps(void **state) {
  (void)state;
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++) {
    run_steps(35, 41, false, false, i % 2 ? SOME : ALIKE, isas[i]);
    run_steps(39, 50, true, i % 2, i % 2 ? MOST : ALL, isas[i]);
  }
  run_steps(6, 20, false, true, NONE, isas[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shapes), cmocka_unit_test(columns), cmocka_unit_test(random_shapes),
      cmocka_unit_test(fills),  cmocka_unit_test(subsets), cmocka_unit_test(steps),
      cmocka_unit_test(zeros),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
