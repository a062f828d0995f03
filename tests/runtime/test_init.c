/* initial values: moments, limits, orthogonality, what the draws depend on */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *draw(const char *name, CellInitKind init, double arg, int rows, int columns,
                    uint64_t seed, bool shared) {
  CellParam param = {
      .name = name, .rank = 2, .shape = {rows, columns}, .init = init, .init_arg = arg};
  double *out = calloc((size_t)rows * (size_t)columns, sizeof *out);
  cell_init_param(&param, seed, shared, out);
  return out;
}

static void moments(const double *values, int count, double *mean, double *variance, double *most) {
  double sum = 0, squares = 0;
  *most = 0;
  for (int i = 0; i < count; i++) {
    sum += values[i], squares += values[i] * values[i], *most = fmax(*most, fabs(values[i]));
  }
  *mean = sum / count, *variance = squares / count - *mean * *mean;
}

static void test_lecun_is_cut_and_has_the_right_variance(void **state) {
  (void)state;
  int rows = 1000, columns = 250;
  double *values = draw("l1/h/linear/weight", CELL_INIT_LECUN, 0, rows, columns, 3, false);
  double mean, variance, most;
  moments(values, rows * columns, &mean, &variance, &most);
  double limit = 2 * sqrt(1.0 / columns) / 0.87962566103423978;
  assert_true(most <= limit * (1 + 1e-8) && most > 0.999 * limit);
  assert_true(fabs(mean) < 6 * sqrt(1.0 / columns / (rows * columns)));
  // the relative deviation of a variance from n draws is near sqrt(1.2 / n) for this density
  assert_true(fabs(variance * columns - 1) < 6 * sqrt(1.2 / (rows * columns)));
  free(values);
}

static void test_other_kinds(void **state) {
  (void)state;
  const struct {
    CellInitKind init;
    double arg, mean, variance, most;
  } cases[] = {
      {CELL_INIT_ZEROS, 0, 0, 0, 0},
      {CELL_INIT_ONES, 0, 1, 0, 1},
      {CELL_INIT_TORCH, 0, 0, 1.0 / 64 / 3, 1.0 / 8},
      {CELL_INIT_NORMAL, 0.3, 0, 0.09, 2},
      {CELL_INIT_UNIFORM, 0.3, 0, 0.03, 0.3},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double *values = draw("x", cases[i].init, cases[i].arg, 1000, 64, 0, false);
    double mean, variance, most;
    moments(values, 64000, &mean, &variance, &most);
    assert_true(fabs(mean - cases[i].mean) <= 0.03 * sqrt(cases[i].variance));
    assert_true(fabs(variance - cases[i].variance) <= 0.05 * cases[i].variance);
    assert_true(most <= cases[i].most);
    free(values);
  }
}

static void expect_orthonormal_rows(const double *m, int rows, int columns, int row_stride,
                                    int column_stride, double gain) {
  for (int a = 0; a < rows; a++) {
    for (int b = 0; b <= a; b++) {
      double sum = 0;
      for (int i = 0; i < columns; i++) {
        sum += m[a * row_stride + i * column_stride] * m[b * row_stride + i * column_stride];
      }
      assert_true(fabs(sum - (a == b ? gain * gain : 0)) < 1e-12);
    }
  }
}

static void test_orthogonal(void **state) {
  (void)state;
  double *wide = draw("x", CELL_INIT_ORTHOGONAL, 1.5, 20, 50, 1, false);
  expect_orthonormal_rows(wide, 20, 50, 50, 1, 1.5);
  double *tall = draw("x", CELL_INIT_ORTHOGONAL, 0.5, 50, 20, 1, false);
  expect_orthonormal_rows(tall, 20, 50, 1, 20, 0.5);
  free(wide);
  free(tall);
}

static void test_what_draws_depend_on(void **state) {
  (void)state;
  double *base = draw("l1/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, false);
  double *same = draw("l1/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, false);
  double *cell = draw("l2/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, false);
  double *part = draw("l1/z1/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, false);
  double *seed = draw("l1/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 1, false);
  assert_memory_equal(base, same, 64 * sizeof(double));
  assert_true(memcmp(base, cell, 64 * sizeof(double)) != 0);
  assert_true(memcmp(base, part, 64 * sizeof(double)) != 0);
  assert_true(memcmp(base, seed, 64 * sizeof(double)) != 0);
  // shared: the cell's name does not count, all else does
  double *shared1 = draw("l1/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, true);
  double *shared2 = draw("l2/h/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, true);
  double *shared3 = draw("l2/z1/linear/weight", CELL_INIT_LECUN, 0, 8, 8, 0, true);
  assert_memory_equal(shared1, shared2, 64 * sizeof(double));
  assert_true(memcmp(shared1, shared3, 64 * sizeof(double)) != 0);
  double *all[] = {base, same, cell, part, seed, shared1, shared2, shared3};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lecun_is_cut_and_has_the_right_variance),
      cmocka_unit_test(test_other_kinds),
      cmocka_unit_test(test_orthogonal),
      cmocka_unit_test(test_what_draws_depend_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
