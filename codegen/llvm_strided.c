/* llvm_strided.c - lanes that lie apart in memory, without taking them one by one.
 *
 * What lies `step` apart is found in as many contiguous vectors. They overlap by one float, as L lanes span
 * step (L - 1) + 1: vector v begins at (L - 1) v, and lane i is at place step i mod (L - 1) of its vector. Where step and L - 1
 * have no common divisor these places are all different (but for lane 0 and the last one, at the two ends), so that one blend a vector
 * brings all lanes together, and one permutation puts them into order. Of step 3, 8 lanes:
 *
 *     memory     0 . . 3 . . 6 . . 9 . . 12 . . 15 . . 18 . . 21
 *     at 0       0 . . 3 . . 6 .
 *     at 7                     . . 9 . . 12 . .                      0 15 9 3 18 12 6 21
 *     at 14                                    . 15 . . 18 . . 21
 *
 * Where a vector would have one lane of use it is loaded from where that lane is in its place already. Nothing is
 * read before the first lane or behind the last one.
 *
 * Stores go the other way, where all is there that lies between: an odd number of vectors is permuted so that lane i of
 * vector j comes to place (count i + j) mod L, and a blend of all makes each result. An even number is taken in pairs
 * first, which are half as many vectors of elements twice as wide. */
#include "codegen/llvm_build.h"

enum { MOST_LANES = 16 };

static int common_divisor(int a, int b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

static LLVMValueRef index_of(CellBuild *g, int i) {
  return LLVMConstInt(g->i32, (unsigned)i, false);
}

bool cell_ll_can_stride(const CellBuild *g, int64_t step) {
  return g->lanes > 1 && step > 1 && step <= CELL_MAX_STEP;
}

// lane i is at place[i] of vector[i], which begins at at[vector[i]]; returns how many vectors there are
static int choose_vectors(int lanes, int step, int *at, int *vector, int *place) {
  bool shared = step < lanes - 1;
  int count = shared ? step : lanes, apart = shared ? lanes - 1 : step - 1;
  for (int v = 0; v < count; v++) at[v] = v * apart;
  for (int i = 0; i < lanes; i++) {
    vector[i] = shared ? step * i / apart : i;
    if (vector[i] == count) vector[i]--; // the last lane ends the last vector
    place[i] = step * i - at[vector[i]];
  }
  return count;
}

static LLVMValueRef load(CellBuild *g, LLVMTypeRef element, LLVMValueRef from, int lanes,
                         int step) {
  int at[MOST_LANES] = {0}, vector[MOST_LANES] = {0}, place[MOST_LANES] = {0};
  LLVMTypeRef type = cell_ll_vector(g, element, lanes);
  LLVMValueRef all = NULL, mask[MOST_LANES] = {NULL};
  if (step < lanes - 1 && common_divisor(lanes - 1, step) > 1) {
    // 16 lanes, as two halves
    LLVMValueRef low = load(g, element, from, lanes / 2, step);
    LLVMValueRef half = cell_ll_at(g, from, cell_ll_i64(g, (int64_t)step * lanes / 2));
    LLVMValueRef high = load(g, element, half, lanes / 2, step);
    for (int i = 0; i < lanes; i++) mask[i] = index_of(g, i);
    return LLVMBuildShuffleVector(g->b, low, high, LLVMConstVector(mask, (unsigned)lanes), "");
  }
  int count = choose_vectors(lanes, step, at, vector, place);
  for (int v = 0; v < count; v++) {
    LLVMValueRef x = cell_ll_load(g, type, cell_ll_at(g, from, cell_ll_i64(g, at[v])));
    for (int i = 0; i < lanes; i++) mask[i] = index_of(g, i);
    for (int i = 0; i < lanes; i++)
      if (vector[i] == v) mask[place[i]] = index_of(g, lanes + place[i]);
    LLVMValueRef blend = LLVMConstVector(mask, (unsigned)lanes);
    all = all ? LLVMBuildShuffleVector(g->b, all, x, blend, "") : x;
  }
  if (count == lanes) return all;
  for (int i = 0; i < lanes; i++) mask[i] = index_of(g, place[i]);
  return LLVMBuildShuffleVector(g->b, all, LLVMGetPoison(type),
                                LLVMConstVector(mask, (unsigned)lanes), "");
}

LLVMValueRef cell_ll_strided_load(CellBuild *g, LLVMTypeRef element, LLVMValueRef from,
                                  int64_t step) {
  return load(g, element, from, g->lanes, (int)step);
}

/* ---- stores ---- */

// of a and b, element by element: those of the lower or the upper half of their lanes; elements of `unit` lanes
static LLVMValueRef zip(CellBuild *g, LLVMValueRef a, LLVMValueRef b, int unit, bool upper) {
  LLVMValueRef mask[MOST_LANES];
  for (int i = 0; i < g->lanes; i++) {
    int element = i / unit, from = element / 2 * unit + i % unit + (upper ? g->lanes / 2 : 0);
    mask[i] = index_of(g, (element % 2 ? g->lanes : 0) + from);
  }
  return LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(mask, (unsigned)g->lanes), "");
}

// an odd number of vectors -> as many, of element 0 of each, element 1 of each, ...
static void interleave_odd(CellBuild *g, int count, int unit, LLVMValueRef *x, LLVMValueRef *out) {
  LLVMValueRef mask[MOST_LANES], none = LLVMGetPoison(LLVMTypeOf(x[0]));
  int elements = g->lanes / unit;
  for (int j = 0; j < count; j++) {
    for (int i = 0; i < elements; i++)
      for (int c = 0; c < unit; c++)
        mask[(count * i + j) % elements * unit + c] = index_of(g, i * unit + c);
    x[j] = LLVMBuildShuffleVector(g->b, x[j], none, LLVMConstVector(mask, (unsigned)g->lanes), "");
  }
  for (int v = 0; v < count; v++) {
    LLVMValueRef all = x[0];
    for (int j = 1; j < count; j++) {
      for (int i = 0; i < g->lanes; i++)
        mask[i] = index_of(g, (v * elements + i / unit) % count == j ? g->lanes + i : i);
      all = LLVMBuildShuffleVector(g->b, all, x[j], LLVMConstVector(mask, (unsigned)g->lanes), "");
    }
    out[v] = all;
  }
}

static void interleave(CellBuild *g, int count, int unit, LLVMValueRef *x, LLVMValueRef *out) {
  if (count == 1) {
    out[0] = x[0];
  } else if (count % 2) {
    interleave_odd(g, count, unit, x, out);
  } else {
    LLVMValueRef half[CELL_MAX_STEP] = {NULL};
    for (int upper = 0; upper < 2; upper++) {
      for (int j = 0; j < count / 2; j++) half[j] = zip(g, x[2 * j], x[2 * j + 1], unit, upper);
      interleave(g, count / 2, 2 * unit, half, out + upper * (count / 2));
    }
  }
}

void cell_ll_interleaved_store(CellBuild *g, int count, LLVMValueRef *x, LLVMValueRef to) {
  LLVMValueRef out[CELL_MAX_STEP] = {NULL};
  interleave(g, count, 1, x, out);
  for (int v = 0; v < count; v++)
    cell_ll_store(g, out[v], cell_ll_at(g, to, cell_ll_i64(g, (int64_t)v * g->lanes)));
}
