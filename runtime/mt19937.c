/* mt19937.c - Matsumoto and Nishimura's generator (1998), with the draws of NumPy's RandomState. */
#include "runtime/mt19937.h"

enum { WORDS = CELL_MT19937_WORDS, SHIFT = 397 };

void cell_mt19937_seed(CellMt19937 *random, uint32_t seed) {
  uint32_t word = seed;
  random->word[0] = word;
  for (uint32_t i = 1; i < WORDS; i++) {
    word = 1812433253U * (word ^ (word >> 30)) + i;
    random->word[i] = word;
  }
  random->position = WORDS;
}

/* high bit of one word joined with the low bits of the next, one step of the twist */
static uint32_t twist(uint32_t high, uint32_t low) {
  uint32_t joined = (high & 0x80000000U) | (low & 0x7FFFFFFFU);
  return (joined >> 1) ^ ((0U - (low & 1U)) & 0x9908B0DFU);
}

static void regenerate(CellMt19937 *random) {
  uint32_t *word = random->word;
  int i = 0;
  for (; i < WORDS - SHIFT; i++) word[i] = word[i + SHIFT] ^ twist(word[i], word[i + 1]);
  for (; i < WORDS - 1; i++) word[i] = word[i + SHIFT - WORDS] ^ twist(word[i], word[i + 1]);
  word[WORDS - 1] = word[SHIFT - 1] ^ twist(word[WORDS - 1], word[0]);
  random->position = 0;
}

uint32_t cell_mt19937_word(CellMt19937 *random) {
  if (random->position == WORDS) regenerate(random);
  uint32_t word = random->word[random->position++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9D2C5680U;
  word ^= (word << 15) & 0xEFC60000U;
  word ^= word >> 18;
  return word;
}

double cell_mt19937_double(CellMt19937 *random) {
  uint32_t high = cell_mt19937_word(random) >> 5;
  uint32_t low = cell_mt19937_word(random) >> 6;
  return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

int32_t cell_mt19937_between(CellMt19937 *random, int32_t low, int32_t high) {
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
