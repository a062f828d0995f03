/* cuda.h - the CUDA back end: a plan for a GPU as CUDA C, compiled by NVRTC, run by the driver.
 *
 * Which plan. The same fusion makes it, for another target (cell_cuda_target): contracts stand in kernels of
 * their own whose tasks are tiles of 64 rows; every other kernel's task is one sample, or one run of rows;
 * scans are written out step by step; launches that do not depend on each other share a stage.
 *
 * What a stage becomes (cuda_emit.c): one CUDA kernel. Its blocks are handed out in order to its *parts*:
 *   - a sweep part is a kernel's loop tree; a block runs one task. LANES loops go over the block's threads;
 *     what is outside them every thread computes, and thread 0 stores. A serial loop whose iterations do not
 *     depend on each other goes over the block's warps, LANES loops inside it over a warp's threads.
 *     An accumulator that lanes update is a partial a thread, folded by shuffles and one exchange between
 *     warps, in a fixed order, before the first statement that reads it; several at once.
 *     Scratch lies in shared memory while it fits, the largest pieces else in a workspace, a slice a block.
 *     Barriers stand where a statement touches what other threads touched before (cuda_hazard.c).
 *   - a product part is a chain of contracts into one output; a block makes one tile of it, sums in registers
 *     (cuda_product.h), reading through shared memory by asynchronous copies.
 *
 * What a kernel's text is made of: C++ with the functions of cuda_prelude.h and no others. That header has two
 * sides. On the device its functions are the instructions. On the host, tests run the same text: blocks one
 * after another, threads as fibers, every access checked (tests/support/cuda_host.h).
 *
 * Determinism: no floating-point atomics; the order of every sum follows from the text alone. */
#ifndef CELL_CUDA_H
#define CELL_CUDA_H

#include "codegen/internal.h"

enum {
  CELL_CUDA_THREADS = 128, /* of every block */
  CELL_CUDA_ROWS = 64,     /* of a product's tile */
  CELL_CUDA_COLUMNS = 64,
  CELL_CUDA_SHARED = 48 << 10, /* bytes of scratch that a sweep keeps in shared memory */
  CELL_CUDA_PARAMETERS = 4000  /* bytes of a launch's arguments */
};

#endif
