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

// four standard normals of a block, by Box and Muller; `attempt` numbers repeated draws
static void normal_block(Draws draws, uint32_t block, uint32_t attempt, double out[4]) {
  uint32_t words[4];
  cell_random(draws.seed, CELL_STREAM_INIT | attempt << 8, draws.name, block, words);
  for (int i = 0; i < 4; i += 2) {
    // the middle of each of 2^32 steps: never log(0)
    double radius = sqrt(-2 * log(cell_random_unit(words[i]) + 0x1p-33));
    double angle = 6.283185307179586 * cell_random_unit(words[i + 1]);
    out[i] = radius * cos(angle), out[i + 1] = radius * sin(angle);
  }
}

// normals beyond `limit` are drawn again, each from its own place in the next attempt's block
static void fill_normal(Draws draws, int64_t count, double scale, double limit, double *out) {
#pragma omp parallel for schedule(static) if (count > 1 << 14)
  for (int64_t block = 0; block < (count + 3) / 4; block++) {
    double values[4], again[4];
    normal_block(draws, (uint32_t)block, 0, values);
    for (int i = 0; i < 4 && 4 * block + i < count; i++) {
      for (uint32_t attempt = 1; fabs(values[i]) > limit; attempt++) {
        normal_block(draws, (uint32_t)block, attempt, again);
        values[i] = again[i];
      }
      out[4 * block + i] = scale * values[i];
    }
  }
}

static void fill_uniform(Draws draws, int64_t count, double scale, double *out) {
#pragma omp parallel for schedule(static) if (count > 1 << 14)
  for (int64_t block = 0; block < (count + 3) / 4; block++) {
    uint32_t words[4];
    cell_random(draws.seed, CELL_STREAM_INIT, draws.name, (uint32_t)block, words);
    for (int i = 0; i < 4 && 4 * block + i < count; i++) {
      out[4 * block + i] = scale * (2 * (cell_random_unit(words[i]) + 0x1p-33) - 1);
    }
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
  fill_normal(draws, first * rest, 1, INFINITY, rows);
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
    fill_normal(draws, count, sqrt(1.0 / (double)fan_in) / cut_deviation, 2, out);
    break;
  case CELL_INIT_TORCH: fill_uniform(draws, count, 1 / sqrt((double)fan_in), out); break;
  case CELL_INIT_ORTHOGONAL: fill_orthogonal(draws, first, fan_in, param->init_arg, out); break;
  case CELL_INIT_NORMAL: fill_normal(draws, count, param->init_arg, INFINITY, out); break;
  case CELL_INIT_UNIFORM: fill_uniform(draws, count, param->init_arg, out); break;
  }
}
