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
static inline uint32_t twist(uint32_t high, uint32_t low) {
  uint32_t joined = (high & 0x80000000U) | (low & 0x7FFFFFFFU);
  return (joined >> 1) ^ ((0U - (low & 1U)) & 0x9908B0DFU);
}

static inline uint32_t temper(uint32_t word) {
  word ^= word >> 11;
  word ^= (word << 7) & 0x9D2C5680U;
  word ^= (word << 15) & 0xEFC60000U;
  return word ^ word >> 18;
}

// loops without branches, and the tempering apart from the twist: all of them become vector code
void cell_mt19937_regenerate(CellMt19937 *random) {
  uint32_t *word = random->word;
  int i = 0;
  for (; i < WORDS - SHIFT; i++) word[i] = word[i + SHIFT] ^ twist(word[i], word[i + 1]);
  for (; i < WORDS - 1; i++) word[i] = word[i + SHIFT - WORDS] ^ twist(word[i], word[i + 1]);
  word[WORDS - 1] = word[SHIFT - 1] ^ twist(word[WORDS - 1], word[0]);
  for (i = 0; i < WORDS; i++) random->output[i] = temper(word[i]);
  random->position = 0;
}

double cell_mt19937_double(CellMt19937 *random) {
  return (double)cell_mt19937_bits53(random) / 9007199254740992.0;
}
