/* init.c - initial values of parameters. */
#include "runtime/init.h"

#include "runtime/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t cell_param_count(const CellParam *param) {
  int64_t count = 1;
  for (int i = 0; i < param->rank; i++) count *= param->shape[i];
  return count;
}

// which draws: a seed and the hash of a name
typedef struct {
  uint64_t seed, name;
} Draws;

// four numbers in (0, 1), each the middle of one of 2^32 equal steps
static void uniform_block(Draws draws, int64_t block, double out[4]) {
  uint32_t words[4];
  cell_random(draws.seed, CELL_STREAM_INIT, draws.name, (uint32_t)block, words);
  for (int i = 0; i < 4; i++) out[i] = cell_random_unit(words[i]) + 0x1p-33;
}

// the normal number that is greater than a share p of all: Acklam's rational approximations, of a
// relative error below 1.2e-9
static double normal_quantile(double p) {
  static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                             1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                             6.680131188771972e+01, -1.328068155288572e+01};
  static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                             -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                             3.754408661907416e+00};
  if (p < 0.02425 || p > 1 - 0.02425) {
    double q = sqrt(-2 * log(p < 0.5 ? p : 1 - p));
    double x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
               ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    return p < 0.5 ? x : -x;
  }
  double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

// the quantile of a uniform number; `cut` is the share of all normal numbers below what is cut off
static void fill_normal(Draws draws, int64_t count, double scale, double cut, double *out) {
#pragma omp parallel for schedule(static) if (count > 1 << 14)
  for (int64_t block = 0; block < (count + 3) / 4; block++) {
    double u[4];
    uniform_block(draws, block, u);
    for (int i = 0; i < 4 && 4 * block + i < count; i++) {
      out[4 * block + i] = scale * normal_quantile(cut + (1 - 2 * cut) * u[i]);
    }
  }
}

static void fill_uniform(Draws draws, int64_t count, double scale, double *out) {
#pragma omp parallel for schedule(static) if (count > 1 << 14)
  for (int64_t block = 0; block < (count + 3) / 4; block++) {
    double u[4];
    uniform_block(draws, block, u);
    for (int i = 0; i < 4 && 4 * block + i < count; i++)
      out[4 * block + i] = scale * (2 * u[i] - 1);
  }
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

// rows made orthonormal in place; every projection is done twice, which is enough for rounding
static void orthonormalise(double *rows, int64_t count, int64_t width) {
  for (int64_t r = 0; r < count; r++) {
    double *row = rows + r * width;
    for (int pass = 0; pass < 2; pass++) {
      for (int64_t s = 0; s < r; s++) {
        const double *other = rows + s * width;
        double share = dot(row, other, width);
        for (int64_t i = 0; i < width; i++) row[i] -= share * other[i];
      }
    }
    double norm = sqrt(dot(row, row, width));
    for (int64_t i = 0; i < width; i++) row[i] /= norm;
  }
}

static void fill_orthogonal(Draws draws, int64_t first, int64_t rest, double gain, double *out) {
  // the shorter side becomes the rows
  bool tall = first > rest;
  int64_t count = tall ? rest : first, width = tall ? first : rest;
  double *rows = cell_malloc((size_t)(first * rest) * sizeof(double));
  fill_normal(draws, first * rest, 1, 0, rows);
  orthonormalise(rows, count, width);
  for (int64_t r = 0; r < count; r++) {
    for (int64_t i = 0; i < width; i++) {
      out[tall ? i * rest + r : r * rest + i] = gain * rows[r * width + i];
    }
  }
  free(rows);
}

void cell_init_param(const CellParam *param, uint64_t seed, bool shared, double *out) {
  const char *name = param->name, *inner = strchr(name, '/');
  if (shared && inner) name = inner + 1;
  Draws draws = {seed, cell_random_hash(name)};
  int64_t count = cell_param_count(param), first = param->rank > 0 ? param->shape[0] : 1;
  int64_t fan_in = first > 0 ? count / first : 1;
  // the deviation of a standard normal that was cut at two sigma
  const double cut_deviation = 0.87962566103423978;
  switch (param->init) {
  case CELL_INIT_ZEROS:
  case CELL_INIT_ONES:
    for (int64_t i = 0; i < count; i++) out[i] = param->init == CELL_INIT_ONES;
    break;
  case CELL_INIT_LECUN:
    // the share of normal numbers below -2
    fill_normal(draws, count, sqrt(1.0 / (double)fan_in) / cut_deviation, erfc(sqrt(2)) / 2, out);
    break;
  case CELL_INIT_TORCH: fill_uniform(draws, count, 1 / sqrt((double)fan_in), out); break;
  case CELL_INIT_ORTHOGONAL: fill_orthogonal(draws, first, fan_in, param->init_arg, out); break;
  case CELL_INIT_NORMAL: fill_normal(draws, count, param->init_arg, 0, out); break;
  case CELL_INIT_UNIFORM: fill_uniform(draws, count, param->init_arg, out); break;
  }
}
