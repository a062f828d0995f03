/* cuda_predict.c - how long a kernel should take on a GPU, from the figures of its architecture: the longest of
 * arithmetic, traffic and what the blocks that run last leave idle, and what a node of a graph costs. It knows
 * nothing of latencies and caches: a bound from below that a kernel may miss by as much as it is badly made. */
#include "codegen/cuda.h"

#include <math.h>

enum { NODE_NANOSECONDS = 1500 }; /* between the kernels of a graph */

double cell_cuda_predict(const CellPlan *plan, const CellCudaUnit *unit,
                         const CellEngineOptions *options, int registers) {
  const CellCudaArch *arch = options->gpu;
  CellPrecision precision = (CellPrecision)options->precision;
  // what bits select is read from shared memory, a word in the time of four multiply-adds
  double selected = options->density > 0 ? fmin(1, 4 * options->density) : 1;
  CellKernelCounts sum = {0};
  for (int i = 0; i < unit->kernel_count; i++) {
    CellKernelCounts c = cell_kernel_counts(plan->kernels[unit->kernels[i]]);
    sum.contract_flops += c.contract_flops;
    if (precision == CELL_FP32) sum.contract_flops -= (1 - selected) * c.bit_flops;
    sum.vector_ops += c.vector_ops;
    sum.bytes += c.bytes;
  }
  double products = precision == CELL_FP32   ? arch->fp32
                    : precision == CELL_TF32 ? arch->tf32
                                             : arch->bf16;
  // other arithmetic is one operation where a product's is two
  double arithmetic = sum.contract_flops / products + sum.vector_ops / (arch->fp32 / 2);
  double traffic = sum.bytes / arch->memory + (double)unit->workspace_bytes * 2 / arch->memory;
  double seconds = arithmetic > traffic ? arithmetic : traffic;
  // whole rounds of blocks
  double at_once = (double)arch->multiprocessors *
                   (double)cell_cuda_resident(arch, registers, unit->shared_bytes);
  double rounds = (double)unit->grid / at_once;
  double whole = (double)(int64_t)rounds < rounds ? (double)((int64_t)rounds + 1) : rounds;
  // fewer blocks than multiprocessors leave some without work
  double busy =
      (double)unit->grid < arch->multiprocessors ? (double)unit->grid / arch->multiprocessors : 1;
  if (rounds >= 1) busy = rounds / whole;
  return seconds / busy + 1e-9 * NODE_NANOSECONDS;
}
