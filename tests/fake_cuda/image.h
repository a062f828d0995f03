/* image.h - what stands for a cubin: the texts of the prelude and of a kernel, each with its 0, follow. */
#ifndef CELL_FAKE_CUDA_IMAGE_H
#define CELL_FAKE_CUDA_IMAGE_H

#include <stddef.h>

typedef struct {
  char magic[16];
  size_t header, source;
  char room[64];
} Image;

#endif
