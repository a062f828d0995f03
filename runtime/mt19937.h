/* mt19937.h - the generator that MinAtar's reference draws from: NumPy's legacy RandomState, that
 * is MT19937 seeded with one word, 53-bit doubles and masked rejection for bounded integers.
 *
 * The state is plain data: copying the struct copies the stream. */
#ifndef CELL_MT19937_H
#define CELL_MT19937_H

#include <stdint.h>

enum { CELL_MT19937_WORDS = 624 };

typedef struct {
  uint32_t word[CELL_MT19937_WORDS];
  uint32_t position; /* of the next word; CELL_MT19937_WORDS: regenerate first */
} CellMt19937;

/* Starts the stream of an integer seed. */
void cell_mt19937_seed(CellMt19937 *random, uint32_t seed);

/* The next 32 bits. */
uint32_t cell_mt19937_word(CellMt19937 *random);

/* The next double in [0, 1), a multiple of 2^-53; takes two words. */
double cell_mt19937_double(CellMt19937 *random);

/* The next integer in [low, high), low < high. Takes as many words as its rejection needs, and none
 * when there is only one candidate. */
int32_t cell_mt19937_between(CellMt19937 *random, int32_t low, int32_t high);

#endif
