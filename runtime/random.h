/* random.h - random numbers that are functions: Philox4x32-10 (Salmon et al. 2011).
 *
 * A draw is a function of (seed, stream, step, index) and of nothing else: there is no generator
 * that advances, so results do not depend on threads, on batching, or on who else draws. Each
 * purpose has its own stream; two purposes never share a draw. */
#ifndef CELL_RANDOM_H
#define CELL_RANDOM_H

#include <stdint.h>

/* What draws are for. The numbers are part of what a seed means: append, never renumber. */
typedef enum {
  CELL_STREAM_INIT,        /* parameters: step = hash of the name, index = block of 4 entries */
  CELL_STREAM_EXPLORATION, /* step = environment step, index = environment */
  CELL_STREAM_REPLAY,      /* step = update, index = sample */
  CELL_STREAM_ENV,         /* environment seeds: step = environment */
  CELL_STREAM_EVAL_ENV,    /* environment seeds of an evaluation: step = episode */
  CELL_STREAM_EVAL,        /* its exploration: step = episode, index = step of the episode */
  CELL_STREAM_SYNTHETIC,   /* stand-in data of `bench` and tests */
  CELL_STREAM_CLASSIC      /* start states of classic control: step = episode */
} CellStream;

/* The bijection itself: out = 10 rounds of `counter` under `key`. */
void cell_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Four words for (seed, stream, step, index). `stream` may carry a sub-stream above bit 8. */
static inline void cell_random(uint64_t seed, uint32_t stream, uint64_t step, uint32_t index,
                               uint32_t out[4]) {
  // the analyser takes a step that it cannot follow for one that nobody set
  // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
  const uint32_t counter[4] = {index, (uint32_t)step, (uint32_t)(step >> 32), stream};
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  cell_philox(counter, key, out);
}

/* [0, 1) from one word. */
static inline double cell_random_unit(uint32_t word) {
  return (double)word * 0x1p-32;
}

/* 0 <= result < n from two words; the bias is below n / 2^64. */
static inline int64_t cell_random_below(uint32_t high, uint32_t low, int64_t n) {
  uint64_t size = (uint64_t)n, carry = (uint64_t)low * (size & 0xffffffff) >> 32;
  uint64_t middle = (uint64_t)high * (size & 0xffffffff) + carry;
  uint64_t cross = (uint64_t)low * (size >> 32) + (middle & 0xffffffff);
  return (int64_t)((uint64_t)high * (size >> 32) + (middle >> 32) + (cross >> 32));
}

/* FNV-1a, for draws that belong to a name. */
uint64_t cell_random_hash(const char *text);

#endif
