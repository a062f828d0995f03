/* cuda_prelude.h - all that generated CUDA calls, twice.
 *
 * On the device (NVRTC) each function is an instruction or a few. On the host (tests) the same text runs on
 * fibers: a function that threads meet at hands over to the next thread, every element read or written is
 * looked up (bounds; two threads at one word between barriers, one of them writing), and an asynchronous
 * copy lands at its wait and not before. The host's side of each is in the table CellHost, which whoever runs
 * the code fills (tests/support/cuda_host.c).
 *
 *   threads    cell_block cell_thread cell_warp cell_lane
 *   meeting    cell_barrier cell_warp_barrier cell_shuffle cell_shuffle_xor cell_ballot
 *   copies     cell_copy cell_copy_commit cell_copy_wait
 *   matrices   cell_mma_tf32 cell_mma_bf16
 *   memory     CellIn CellOut CellShared cell_bits_at cell_bit cell_load4 cell_store4
 *   folds      cell_warp_sum, _max, _argmax   cell_block_sum, _max, _argmax
 *   arithmetic cell_fma and the elementary functions, from the same polynomials as on the CPU */
#ifndef CELL_CUDA_PRELUDE_H
#define CELL_CUDA_PRELUDE_H

enum { CELL_THREADS = 128, CELL_WARPS = CELL_THREADS / 32 };

typedef unsigned int CellWord;
typedef long long CellWide;

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)

/* ---- the device ---- */

#define CELL_DEVICE static __device__ __forceinline__
#define CELL_FUNCTION static __device__ __forceinline__
#define CELL_METHOD __device__ __forceinline__
#define CELL_UNROLL _Pragma("unroll")
#define CELL_ONCE _Pragma("unroll 1")
#define CELL_KERNEL(name, Arguments)                                                               \
  extern "C" __global__ void __launch_bounds__(CELL_THREADS, 1)                                    \
      name(const __grid_constant__ Arguments p)

template <class T> using CellIn = const T *__restrict__;
template <class T> using CellOut = T *__restrict__;
template <class T> using CellShared = T *;
typedef const CellWord *__restrict__ CellBits;

extern __shared__ __align__(16) unsigned char cell_shared_bytes[];

template <class T> CELL_DEVICE const T *cell_in(const T *p, CellWide) {
  return p;
}
template <class T> CELL_DEVICE T *cell_out(T *p, CellWide) {
  return p;
}
template <class T> CELL_DEVICE T *cell_shared(int offset, int) {
  return reinterpret_cast<T *>(cell_shared_bytes + offset);
}
template <class T> CELL_DEVICE T *cell_workspace(float *w, CellWide offset, CellWide) {
  return reinterpret_cast<T *>(w + offset);
}

CELL_DEVICE int cell_block() {
  return (int)blockIdx.x;
}
CELL_DEVICE int cell_thread() {
  return (int)threadIdx.x;
}
CELL_DEVICE int cell_lane() {
  return (int)threadIdx.x & 31;
}
CELL_DEVICE int cell_warp() {
  return (int)threadIdx.x >> 5;
}
CELL_DEVICE void cell_barrier() {
  __syncthreads();
}
CELL_DEVICE void cell_warp_barrier() {
  __syncwarp();
}
CELL_DEVICE float cell_shuffle(float x, int lane) {
  return __shfl_sync(~0u, x, lane);
}
CELL_DEVICE float cell_shuffle_xor(float x, int mask) {
  return __shfl_xor_sync(~0u, x, mask);
}
CELL_DEVICE int cell_shuffle_xor(int x, int mask) {
  return __shfl_xor_sync(~0u, x, mask);
}
CELL_DEVICE CellWord cell_ballot(bool x) {
  return __ballot_sync(~0u, x);
}
CELL_DEVICE int cell_popcount(CellWord x) {
  return __popc(x);
}

/* N floats (1 or 4) from memory to shared memory, 0 where `there` is false; landed after the wait. */
template <int N>
CELL_DEVICE void cell_copy(CellShared<float> to, int at, CellIn<float> from, CellWide index,
                           bool there) {
  unsigned int address = (unsigned int)__cvta_generic_to_shared(to + at);
  const float *source = there ? from + index : from;
  if (N == 4)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(source),
                 "r"(there ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(source),
                 "r"(there ? 4 : 0)
                 : "memory");
}
CELL_DEVICE void cell_copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/* until at most N of this thread's groups are on their way */
template <int N> CELL_DEVICE void cell_copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

CELL_DEVICE void cell_load4(CellShared<float> from, int at, float (&x)[4]) {
  float4 v = *reinterpret_cast<const float4 *>(from + at);
  x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}

CELL_DEVICE void cell_store4(CellShared<float> to, int at, const float (&x)[4]) {
  *reinterpret_cast<float4 *>(to + at) = make_float4(x[0], x[1], x[2], x[3]);
}

/* operands of the matrix instruction, rounded as it asks */
CELL_DEVICE CellWord cell_to_tf32(float x) {
  CellWord y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
/* two, the first in the low half */
CELL_DEVICE CellWord cell_to_bf16(float x, float y) {
  CellWord z;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(z) : "f"(y), "f"(x));
  return z;
}
/* d (16 x 8) += a (16 x 8 or 16 x 16) b (8 x 8 or 16 x 8), spread over a warp */
CELL_DEVICE void cell_mma_tf32(float (&d)[4], const CellWord (&a)[4], const CellWord (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
CELL_DEVICE void cell_mma_bf16(float (&d)[4], const CellWord (&a)[4], const CellWord (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

CELL_DEVICE float cell_fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
CELL_DEVICE double cell_fma(double a, double b, double c) {
  return __fma_rn(a, b, c);
}
CELL_DEVICE float cell_div(float a, float b) {
  return __fdiv_rn(a, b);
}
CELL_DEVICE float cell_sqrt(float a) {
  return __fsqrt_rn(a);
}
CELL_DEVICE float cell_floor(float a) {
  return floorf(a);
}
CELL_DEVICE CellWord cell_bits_of(float x) {
  return __float_as_uint(x);
}
CELL_DEVICE float cell_float_of(CellWord x) {
  return __uint_as_float(x);
}
CELL_DEVICE CellWide cell_bits_of(double x) {
  return __double_as_longlong(x);
}
CELL_DEVICE double cell_double_of(CellWide x) {
  return __longlong_as_double(x);
}

#else

/* ---- the host ---- */

#include <math.h>
#include <string.h>

#define CELL_DEVICE static inline
#define CELL_FUNCTION static
#define CELL_METHOD inline
#define CELL_UNROLL
#define CELL_ONCE
#ifndef CELL_PREFIX /* of a kernel's symbol, where several texts are one */
#define CELL_PREFIX
#endif
#define CELL_JOIN_TEXT(a, b) a##b
#define CELL_JOIN(a, b) CELL_JOIN_TEXT(a, b)
#define CELL_KERNEL(name, Arguments)                                                               \
  static void name##_run(const Arguments &p);                                                      \
  extern "C" __attribute__((visibility("default")))                                                \
  const int CELL_JOIN(CELL_PREFIX, name##_bytes) = (int)sizeof(Arguments);                         \
  extern "C" __attribute__((visibility("default"))) void CELL_JOIN(CELL_PREFIX,                    \
                                                                   name)(const void *p) {          \
    name##_run(*(const Arguments *)p);                                                             \
  }                                                                                                \
  static void name##_run(const Arguments &p)

/* What whoever runs the code provides; all are called on the fiber of a thread. */
struct CellHost {
  int block, thread;     /* of the fiber that runs */
  unsigned char *shared; /* of the block */
  int shared_bytes;
  void (*barrier)(void);
  void (*warp_barrier)(void);
  /* gives x to the warp and returns what lane `lane` gave; all 32 lanes take part */
  CellWord (*exchange)(CellWord x, int lane);
  /* the words that all lanes gave, valid until the next exchange */
  const CellWord *(*gather)(const CellWord *mine, int count);
  /* an element is read or written; faults end the run */
  void (*touch)(const void *address, int bytes, int write);
  void (*outside)(CellWide index, CellWide count);
  /* bytes from memory (NULL: zeros) that land in shared memory at the wait */
  void (*copy)(void *to, const void *from, int bytes);
  void (*commit)(void);
  void (*wait)(int groups);
};
extern "C" __attribute__((visibility("default"))) struct CellHost *cell_host;
struct CellHost *cell_host;

#ifdef CELL_HOST_UNCHECKED
#define CELL_TOUCH(address, write) ((void)0)
#define CELL_INSIDE(i, n) ((void)0)
#else
#define CELL_TOUCH(address, write) cell_host->touch(address, (int)sizeof *(address), write)
#define CELL_INSIDE(i, n)                                                                          \
  if ((i) < 0 || (i) >= (n)) cell_host->outside(i, n)
#endif

template <class T> struct CellElement {
  T *p;
  operator T() const {
    CELL_TOUCH(p, 0);
    return *p;
  }
  void operator=(T x) {
    CELL_TOUCH(p, 1);
    *p = x;
  }
  void operator=(const CellElement &other) {
    *this = (T)other;
  }
};
template <class T> struct CellIn {
  const T *p;
  CellWide n;
  T operator[](CellWide i) const {
    CELL_INSIDE(i, n);
    CELL_TOUCH(p + i, 0);
    return p[i];
  }
};
template <class T> struct CellOut {
  T *p;
  CellWide n;
  CellElement<T> operator[](CellWide i) const {
    CELL_INSIDE(i, n);
    return CellElement<T>{p + i};
  }
  operator CellIn<T>() const {
    return CellIn<T>{p, n};
  }
};
template <class T> using CellShared = CellOut<T>;
typedef CellIn<CellWord> CellBits;

template <class T> CellIn<T> cell_in(const T *p, CellWide n) {
  return CellIn<T>{p, n};
}
template <class T> CellOut<T> cell_out(T *p, CellWide n) {
  return CellOut<T>{p, n};
}
template <class T> CellShared<T> cell_shared(int offset, int count) {
  if (offset + count * (int)sizeof(T) > cell_host->shared_bytes)
    cell_host->outside(offset + count * (int)sizeof(T), cell_host->shared_bytes);
  return CellShared<T>{(T *)(cell_host->shared + offset), count};
}
template <class T> CellOut<T> cell_workspace(float *w, CellWide offset, CellWide count) {
  return CellOut<T>{(T *)(w + offset), count};
}

CELL_DEVICE int cell_block() {
  return cell_host->block;
}
CELL_DEVICE int cell_thread() {
  return cell_host->thread;
}
CELL_DEVICE int cell_lane() {
  return cell_host->thread & 31;
}
CELL_DEVICE int cell_warp() {
  return cell_host->thread >> 5;
}
CELL_DEVICE void cell_barrier() {
  cell_host->barrier();
}
CELL_DEVICE void cell_warp_barrier() {
  cell_host->warp_barrier();
}
CELL_DEVICE float cell_shuffle(float x, int lane) {
  CellWord w;
  memcpy(&w, &x, 4);
  w = cell_host->exchange(w, lane);
  memcpy(&x, &w, 4);
  return x;
}
CELL_DEVICE float cell_shuffle_xor(float x, int mask) {
  return cell_shuffle(x, cell_lane() ^ mask);
}
CELL_DEVICE int cell_shuffle_xor(int x, int mask) {
  return (int)cell_host->exchange((CellWord)x, cell_lane() ^ mask);
}
CELL_DEVICE CellWord cell_ballot(bool x) {
  CellWord mine = x, all = 0;
  const CellWord *votes = cell_host->gather(&mine, 1);
  for (int i = 0; i < 32; i++) all |= votes[i] << i;
  return all;
}
CELL_DEVICE int cell_popcount(CellWord x) {
  return __builtin_popcount(x);
}

template <int N>
void cell_copy(CellShared<float> to, int at, CellIn<float> from, CellWide index, bool there) {
  for (int i = 0; i < N; i++) {
    CELL_INSIDE(at + i, to.n);
    if (!there) continue;
    CELL_INSIDE(index + i, from.n);
    CELL_TOUCH(from.p + index + i, 0);
  }
  // both ends of a copy of 16 bytes lie on 16 bytes
  if (N == 4 && (((CellWide)(to.p + at) | (there ? (CellWide)(from.p + index) : 0)) & 15))
    cell_host->outside(at, -1);
  cell_host->copy(to.p + at, there ? from.p + index : 0, 4 * N);
}
CELL_DEVICE void cell_copy_commit() {
  cell_host->commit();
}
template <int N> void cell_copy_wait() {
  cell_host->wait(N);
}

CELL_DEVICE void cell_load4(CellShared<float> from, int at, float (&x)[4]) {
  if (((CellWide)(from.p + at) & 15)) cell_host->outside(at, -1);
  for (int i = 0; i < 4; i++) x[i] = from[at + i];
}

CELL_DEVICE void cell_store4(CellShared<float> to, int at, const float (&x)[4]) {
  if (((CellWide)(to.p + at) & 15)) cell_host->outside(at, -1);
  for (int i = 0; i < 4; i++) to[at + i] = x[i];
}

CELL_DEVICE CellWord cell_bits_of(float x) {
  CellWord w;
  memcpy(&w, &x, 4);
  return w;
}
CELL_DEVICE float cell_float_of(CellWord w) {
  float x;
  memcpy(&x, &w, 4);
  return x;
}
CELL_DEVICE CellWide cell_bits_of(double x) {
  CellWide w;
  memcpy(&w, &x, 8);
  return w;
}
CELL_DEVICE double cell_double_of(CellWide w) {
  double x;
  memcpy(&x, &w, 8);
  return x;
}

/* to the nearest, ties away from zero; 13 bits of the fraction go */
CELL_DEVICE CellWord cell_to_tf32(float x) {
  CellWord w = cell_bits_of(x);
  if ((w & 0x7f800000u) == 0x7f800000u) return w;
  return (w + 0x1000u) & ~0x1fffu;
}
CELL_DEVICE CellWord cell_half_bf16(float x) {
  CellWord w = cell_bits_of(x);
  if ((w & 0x7f800000u) == 0x7f800000u) return w >> 16;
  return (w + 0x7fffu + (w >> 16 & 1u)) >> 16; /* to the nearest, ties to even */
}
CELL_DEVICE CellWord cell_to_bf16(float x, float y) {
  return cell_half_bf16(x) | cell_half_bf16(y) << 16;
}
/* Products are exact in double; sums are rounded to float one after the other, k ascending, onto d. */
CELL_DEVICE void cell_mma_tf32(float (&d)[4], const CellWord (&a)[4], const CellWord (&b)[2]) {
  CellWord mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const CellWord *all = cell_host->gather(mine, 6);
  for (int i = 0; i < 4; i++) {
    int row = cell_lane() / 4 + (i & 2) * 4, column = cell_lane() % 4 * 2 + (i & 1);
    for (int k = 0; k < 8; k++) {
      float x = cell_float_of(all[6 * (row % 8 * 4 + k % 4) + (row >= 8) + 2 * (k >= 4)]);
      float y = cell_float_of(all[6 * (column * 4 + k % 4) + 4 + (k >= 4)]);
      d[i] = (float)((double)d[i] + (double)x * (double)y);
    }
  }
}
CELL_DEVICE void cell_mma_bf16(float (&d)[4], const CellWord (&a)[4], const CellWord (&b)[2]) {
  CellWord mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const CellWord *all = cell_host->gather(mine, 6);
  for (int i = 0; i < 4; i++) {
    int row = cell_lane() / 4 + (i & 2) * 4, column = cell_lane() % 4 * 2 + (i & 1);
    for (int k = 0; k < 16; k++) {
      CellWord x = all[6 * (row % 8 * 4 + k % 8 / 2) + (row >= 8) + 2 * (k >= 8)];
      CellWord y = all[6 * (column * 4 + k % 8 / 2) + 4 + (k >= 8)];
      d[i] = (float)((double)d[i] + (double)cell_float_of(k % 2 ? x & 0xffff0000u : x << 16) *
                                        (double)cell_float_of(k % 2 ? y & 0xffff0000u : y << 16));
    }
  }
}

CELL_DEVICE float cell_fma(float a, float b, float c) {
  return fmaf(a, b, c);
}
CELL_DEVICE double cell_fma(double a, double b, double c) {
  return fma(a, b, c);
}
CELL_DEVICE float cell_div(float a, float b) {
  return a / b;
}
CELL_DEVICE float cell_sqrt(float a) {
  return sqrtf(a);
}
CELL_DEVICE float cell_floor(float a) {
  return floorf(a);
}

#endif

/* ---- bits, low bit of a word first ---- */

/* the rest of a word from bit `index` on */
CELL_DEVICE CellWord cell_bits_at(CellBits words, CellWide index) {
  return words[index >> 5] >> (index & 31);
}
CELL_DEVICE float cell_bit(CellBits words, CellWide index) {
  return (float)(cell_bits_at(words, index) & 1u);
}

/* ---- folds over a warp and a block: every thread gets the result; the order is that of the masks ---- */

#define CELL_INFINITY cell_float_of(0x7f800000u)
#define CELL_NAN cell_float_of(0x7fc00000u)

CELL_DEVICE float cell_max(float a, float b) {
  return b > a ? b : a;
}
CELL_DEVICE float cell_min(float a, float b) {
  return b < a ? b : a;
}

struct CellAdded {
  static CELL_METHOD float of(float a, float b) {
    return a + b;
  }
};
struct CellLarger {
  static CELL_METHOD float of(float a, float b) {
    return cell_max(b, a);
  }
};

/* N numbers of every lane, over the warp. While more than one is left, a lane keeps half of them and gives its
 * partner the others: 2^L numbers take 2^L - 1 + 5 - L exchanges, and one each for all to know the result, where
 * they take 5 each by themselves. Every number is folded in the order of the masks either way. */
template <class Fold, int N> CELL_DEVICE void cell_warp_fold(float (&x)[N]) {
  enum { PLACES = N > 8 ? 16 : N > 4 ? 8 : N > 2 ? 4 : N };
  static_assert(N <= 16, "more numbers than a fold takes");
  float left[PLACES];
  CELL_UNROLL
  for (int i = 0; i < PLACES; i++) left[i] = i < N ? x[i] : 0.0f;
  CELL_UNROLL
  for (int mask = 16, count = PLACES; mask > 0; mask >>= 1) {
    if (count == 1) {
      left[0] = Fold::of(left[0], cell_shuffle_xor(left[0], mask));
      continue;
    }
    count /= 2;
    bool upper = cell_lane() & mask;
    CELL_UNROLL
    for (int i = 0; i < PLACES / 2; i++) {
      if (i >= count) continue;
      float other = cell_shuffle_xor(upper ? left[i] : left[i + count], mask);
      left[i] = Fold::of(upper ? left[i + count] : left[i], other);
    }
  }
  CELL_UNROLL
  for (int i = 0; i < N; i++)
    x[i] = PLACES == 1 ? left[0] : cell_shuffle(left[0], i * (32 / PLACES));
}
template <int N> CELL_DEVICE void cell_warp_sum(float (&x)[N]) {
  cell_warp_fold<CellAdded>(x);
}
template <int N> CELL_DEVICE void cell_warp_max(float (&x)[N]) {
  cell_warp_fold<CellLarger>(x);
}
/* the larger, or of equals the earlier */
CELL_DEVICE void cell_better(float x, int at, float &best, int &where) {
  if (x > best || (x == best && at < where)) best = x, where = at;
}
CELL_DEVICE void cell_warp_argmax(float &best, int &where) {
  CELL_UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    float x = cell_shuffle_xor(best, mask);
    int at = cell_shuffle_xor(where, mask);
    cell_better(x, at, best, where);
  }
}

/* The exchange between warps goes through the first bytes of shared memory: two areas, used in turn, of
 * CELL_FOLD words a warp. A fold holds one barrier, between its writes and its reads. */
enum { CELL_FOLD = 16, CELL_FOLD_BYTES = 2 * CELL_WARPS * CELL_FOLD * 4 };

template <class Fold, int N> CELL_DEVICE void cell_block_fold(float (&x)[N], int area) {
  CellShared<float> fold =
      cell_shared<float>(area * CELL_WARPS * CELL_FOLD * 4, CELL_WARPS * CELL_FOLD);
  cell_warp_fold<Fold>(x);
  CELL_UNROLL
  for (int i = 0; i < N; i++)
    if (cell_lane() == 0) fold[cell_warp() * CELL_FOLD + i] = x[i];
  cell_barrier();
  CELL_UNROLL
  for (int i = 0; i < N; i++) {
    x[i] = fold[i];
    CELL_UNROLL
    for (int w = 1; w < CELL_WARPS; w++) x[i] = Fold::of(x[i], fold[w * CELL_FOLD + i]);
  }
}
template <int N> CELL_DEVICE void cell_block_sum(float (&x)[N], int area) {
  cell_block_fold<CellAdded>(x, area);
}
template <int N> CELL_DEVICE void cell_block_max(float (&x)[N], int area) {
  cell_block_fold<CellLarger>(x, area);
}
CELL_DEVICE void cell_block_argmax(float &best, int &where, int area) {
  CellShared<float> fold =
      cell_shared<float>(area * CELL_WARPS * CELL_FOLD * 4, CELL_WARPS * CELL_FOLD);
  cell_warp_argmax(best, where);
  if (cell_lane() == 0) {
    fold[cell_warp() * CELL_FOLD] = best;
    fold[cell_warp() * CELL_FOLD + 1] = cell_float_of((CellWord)where);
  }
  cell_barrier();
  best = fold[0], where = (int)cell_bits_of((float)fold[1]);
  CELL_UNROLL
  for (int w = 1; w < CELL_WARPS; w++)
    cell_better(fold[w * CELL_FOLD], (int)cell_bits_of((float)fold[w * CELL_FOLD + 1]), best,
                where);
}

/* ---- elementary functions: see codegen/llvm_math.c for where the numbers come from ---- */

template <class T, int N> CELL_DEVICE T cell_poly(T x, const T (&c)[N]) {
  T sum = c[N - 1];
  CELL_UNROLL
  for (int i = N - 2; i >= 0; i--) sum = cell_fma(sum, x, c[i]);
  return sum;
}

CELL_DEVICE float cell_sign_of(float size, float sign) {
  return cell_float_of(cell_bits_of(size) | (cell_bits_of(sign) & 0x80000000u));
}
CELL_DEVICE float cell_abs(float x) {
  return cell_float_of(cell_bits_of(x) & 0x7fffffffu);
}
CELL_DEVICE float cell_sign(float x) {
  return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
}
CELL_DEVICE float cell_relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

/* e^x = 2^n e^r, |r| <= ln 2 / 2 */
CELL_DEVICE float cell_exp(float x) {
  const float c[] = {0.49999988079071045f, 0.166665181517601f, 0.04166954383254051f,
                     0.00836898759007454f, 0.0013751150108873844f};
  const float low = -87.3365447505531f, high = 88.72283905206835f;
  float clamped = x > low ? x : low;
  clamped = clamped < high ? clamped : high;
  float shifted = cell_fma(clamped, 1.4426950408889634f, 12582912.0f), n = shifted - 12582912.0f;
  float r = cell_fma(n, -0.693145751953125f, clamped);
  r = cell_fma(n, -1.42860682030941723212e-6f, r);
  float p = cell_fma(r * r, cell_poly(r, c), r + 1.0f);
  float y = cell_float_of(cell_bits_of(p) + (cell_bits_of(shifted) << 23));
  y = x < low ? 0.0f : y;
  return x <= high ? y : x + CELL_INFINITY;
}

/* x = 2^e m, m in [sqrt 1/2, sqrt 2) */
CELL_DEVICE int cell_split(float x, float &m) {
  int bits = (int)cell_bits_of(x), e = (bits - 0x3f3504f3) >> 23;
  m = cell_float_of((CellWord)bits - ((CellWord)e << 23));
  return e;
}

CELL_DEVICE float cell_log(float x) {
  const float c[] = {0.3333331048488617f,   -0.25000014901161194f, 0.20002204179763794f,
                     -0.16667643189430237f, 0.14217890799045563f,  -0.12411268800497055f,
                     0.1190471202135086f,   -0.11646434664726257f, 0.06675271689891815f};
  float m, e = (float)cell_split(x, m);
  float f = m - 1.0f, square = f * f;
  float tail = square * f * cell_poly(f, c);
  tail = cell_fma(e, -2.12194440054690583e-4f, tail);
  tail = cell_fma(square, -0.5f, tail);
  float y = cell_fma(e, 0.693359375f, f + tail);
  y = x < CELL_INFINITY ? y : x;
  y = x < 0.0f ? CELL_NAN : y;
  return x == 0.0f ? -CELL_INFINITY : y;
}

CELL_DEVICE float cell_tanh(float x) {
  const float p[] = {1.0f, 0.13382674753665924f, 0.003497442929074168f, 2.063557258225046e-05f,
                     1.3383929520216498e-08f};
  const float q[] = {1.0f, 0.4671599566936493f, 0.02588430419564247f, 0.00032884927350096405f,
                     7.790104632476869e-07f};
  float c = 9.02f < x ? 9.02f : x;
  c = -9.02f > c ? -9.02f : c;
  float square = c * c;
  return cell_div(c * cell_poly(square, p), cell_poly(square, q));
}

CELL_DEVICE float cell_sigmoid(float x) {
  float e = cell_exp(-cell_abs(x));
  return cell_div(x < 0.0f ? e : 1.0f, 1.0f + e);
}

/* x = n pi/2 + r, in double */
CELL_DEVICE float cell_circular(float x, int quarter) {
  const double s[] = {1, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800};
  const double c[] = {1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800};
  double wide = x, shifted = cell_fma(wide, 0.63661977236758134308, 6755399441055744.0);
  double n = shifted - 6755399441055744.0;
  double r = cell_fma(n, -1.5707963267341256142, wide);
  r = cell_fma(n, -6.0771005065061922e-11, r);
  double square = r * r;
  int k = (int)cell_bits_of(shifted) + quarter;
  double y = k & 1 ? cell_poly(square, c) : r * cell_poly(square, s);
  return (float)(k & 2 ? -y : y);
}
CELL_DEVICE float cell_sin(float x) {
  return cell_circular(x, 0);
}
CELL_DEVICE float cell_cos(float x) {
  return cell_circular(x, 1);
}

/* |x|^y = 2^(y log2 |x|), in double */
CELL_DEVICE float cell_pow(float x, float y) {
  const double at[] = {1, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15};
  const double ex[] = {1,         1,          1.0 / 2,     1.0 / 6,      1.0 / 24,     1.0 / 120,
                       1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800};
  float size = cell_abs(x), m;
  double e = cell_split(size, m), wide = m;
  double t = (wide - 1.0) / (wide + 1.0);
  double log = cell_fma(t * cell_poly(t * t, at), 2.8853900817779268147, e);
  log = size == 0.0f ? -(double)CELL_INFINITY : log;
  log = size < CELL_INFINITY ? log : (double)size;
  double z = log * (double)y, c = z;
  c = c > -160.0 ? c : -160.0;
  c = c < 160.0 ? c : 160.0;
  double shifted = cell_fma(c, 1.0, 6755399441055744.0), n = shifted - 6755399441055744.0;
  double p = cell_poly((c - n) * 0.69314718055994530942, ex);
  double power = cell_double_of((CellWide)((unsigned long long)cell_bits_of(p) +
                                           ((unsigned long long)cell_bits_of(shifted) << 52)));
  float r = (float)(z != z ? z : power);
  float half = y * 0.5f;
  bool whole = cell_floor(y) == y, odd = whole && cell_floor(half) != half;
  float of_negative = whole ? (odd ? cell_sign_of(r, x) : r) : CELL_NAN;
  r = x < 0.0f ? of_negative : r;
  return y == 0.0f || x == 1.0f ? 1.0f : r;
}

#endif
