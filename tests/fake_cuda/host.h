/* host.h - runs the host side of generated CUDA: a grid of blocks, each block's threads as fibers.
 *
 * Everything that cuda_prelude.h promises is checked unless the code was compiled without checks: an index
 * outside of its buffer, two threads at one word between barriers (or two blocks at one word of a launch), one
 * of them writing, a word touched while a copy to it is under way, threads that wait for ones that never come,
 * a block that ends with copies under way. The first fault ends the launch. */
#ifndef CELL_FAKE_CUDA_HOST_H
#define CELL_FAKE_CUDA_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* As the prelude has it. */
struct CellHost {
  int block, thread;
  unsigned char *shared;
  int shared_bytes;
  void (*barrier)(void);
  void (*warp_barrier)(void);
  unsigned (*exchange)(unsigned x, int lane);
  const unsigned *(*gather)(const unsigned *mine, int count);
  void (*touch)(const void *address, int bytes, int write);
  void (*outside)(long long index, long long count);
  void (*copy)(void *to, const void *from, int bytes);
  void (*commit)(void);
  void (*wait)(int groups);
};
extern struct CellHost host_table;

/* Nothing is checked and nothing remembered for it: for long runs. Set before memory is taken; code that is
 * launched must have been compiled so (CELL_HOST_UNCHECKED). */
extern bool host_unchecked;

typedef void (*HostKernel)(const void *arguments);

/* Memory of the device, so that what touches none is a fault. NULL: none is left. */
void *host_alloc(size_t bytes);
void host_free(void *memory);
/* Bytes that are taken. */
size_t host_allocated(void);

/* false after a fault; host_message() says which, where. */
bool host_launch(const char *name, HostKernel kernel, const void *arguments, int blocks,
                 int threads, int shared_bytes);
const char *host_message(void);

#endif
