/* internal.h - what the files of codegen/ share. */
#ifndef CELL_CODEGEN_INTERNAL_H
#define CELL_CODEGEN_INTERNAL_H

#include "codegen/codegen.h"

/* ---- interp.c ---- */

/* An argument of a kernel, one double per entry. */
typedef struct {
  double *data;
  int64_t count;   /* entries */
  int64_t bit_row; /* BITS: entries a sample; an index counts bits of words, (bit_row + 31) / 32 a
                      sample */
} CellInterpBuffer;

/* Runs all tasks of a kernel in float64, with the factors of products rounded as a GPU rounds them for that
 * precision. false: an index was out of range; the message says which. */
bool cell_interp_kernel(const CellKernel *k, const CellInterpBuffer *args, CellPrecision precision,
                        char *message, size_t size);

static inline int64_t cell_bit_words(int64_t bit_row) {
  return (bit_row + 31) / 32;
}

/* ---- loader.c ---- */

/* The provider's functions, or NULL with a message. The module stays open until the program ends.
 */
const CellProvider *cell_load_provider(char *message, size_t size);

/* ---- cache.c ---- */

/* The cache folder that options ask for, or NULL for none; heap. It is made when first written. */
char *cell_cache_folder(const char *cache_dir);

/* An object stored under the key: heap, or NULL if there is none or it is not intact. */
void *cell_cache_read(const char *folder, CellKey key, size_t *length);
/* Stores one; false if it could not, which is no error (the next run compiles again). */
bool cell_cache_write(const char *folder, CellKey key, const void *data, size_t length);

#endif
