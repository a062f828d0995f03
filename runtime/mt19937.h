/* mt19937.h - the generator that MinAtar's reference draws from: NumPy's legacy RandomState, that
 * is MT19937 seeded with one word, 53-bit doubles and masked rejection for bounded integers.
 *
 * The state is plain data: copying the struct copies the stream. */
#ifndef CELL_MT19937_H
#define CELL_MT19937_H

#include <stdbool.h>
#include <stdint.h>

enum { CELL_MT19937_WORDS = 624 };

typedef struct {
  uint32_t word[CELL_MT19937_WORDS];
  uint32_t
      output[CELL_MT19937_WORDS]; /* what is drawn from them; made with them, a block at once */
  uint32_t position;              /* of the next output; CELL_MT19937_WORDS: regenerate first */
} CellMt19937;

/* Starts the stream of an integer seed. */
void cell_mt19937_seed(CellMt19937 *random, uint32_t seed);

/* Makes the next block of words and outputs; the draws below do it when they need to. */
void cell_mt19937_regenerate(CellMt19937 *random);

/* The next 32 bits. */
static inline uint32_t cell_mt19937_word(CellMt19937 *random) {
  if (random->position == CELL_MT19937_WORDS) cell_mt19937_regenerate(random);
  return random->output[random->position++];
}

/* The next integer in [0, 2^53); takes two words, of which the first is the high part. */
static inline uint64_t cell_mt19937_bits53(CellMt19937 *random) {
  uint32_t high, low;
  if (random->position + 2 <= CELL_MT19937_WORDS) {
    // one test for both
    high = random->output[random->position];
    low = random->output[random->position + 1];
    random->position += 2;
  } else {
    high = cell_mt19937_word(random);
    low = cell_mt19937_word(random);
  }
  return (uint64_t)(high >> 5) << 26 | low >> 6;
}

/* The next double in [0, 1), a multiple of 2^-53; takes two words. */
double cell_mt19937_double(CellMt19937 *random);

/* The smallest multiple of 2^-53 that is not below p, 0 <= p <= 1, as an integer. A constant expression. */
#define CELL_MT19937_LIMIT(p)                                                                      \
  ((uint64_t)((p)*0x1p53) + ((double)(uint64_t)((p)*0x1p53) < (p)*0x1p53))

/* Whether the next double is less than p, for limit = CELL_MT19937_LIMIT(p): the same to the bit, as
 * doubles and their product with 2^53 are exact. */
static inline bool cell_mt19937_below(CellMt19937 *random, uint64_t limit) {
  return cell_mt19937_bits53(random) < limit;
}

/* The next integer in [low, high), low < high. Takes as many words as its rejection needs, and none
 * when there is only one candidate. */
static inline int32_t cell_mt19937_between(CellMt19937 *random, int32_t low, int32_t high) {
  uint32_t range = (uint32_t)high - 1U - (uint32_t)low;
  if (range == 0) return low;

  // smallest 2^k - 1 that covers the range
  uint32_t mask = range;
  for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;

  uint32_t drawn;
  do drawn = cell_mt19937_word(random) & mask;
  while (drawn > range);
  return (int32_t)((uint32_t)low + drawn);
}

#endif
