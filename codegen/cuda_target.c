/* cuda_target.c - what is known about GPUs: one row an architecture, from the vendor's data sheets and
 * programming guides, for plans, resources and predicted times. */
#include "codegen/cuda.h"
#include "codegen/cuda_driver.h"

#include <string.h>

static const CellCudaArch archs[] = {
    // A100 SXM 80 GB
    {.name = "sm_80",
     .device = "A100",
     .number = 80,
     .multiprocessors = 108,
     .shared_bytes = 164 << 10,
     .shared_block_bytes = 163 << 10,
     .blocks = 32,
     .threads = 2048,
     .registers = 65536,
     .clock = 1.41e9,
     .fp32 = 19.5e12,
     .tf32 = 156e12,
     .bf16 = 312e12,
     .memory = 2.04e12,
     .l2 = 5.1e12},
    // H100 SXM: the older matrix instructions reach about two thirds of the peak
    {.name = "sm_90",
     .device = "H100",
     .number = 90,
     .multiprocessors = 132,
     .shared_bytes = 228 << 10,
     .shared_block_bytes = 227 << 10,
     .blocks = 32,
     .threads = 2048,
     .registers = 65536,
     .clock = 1.83e9,
     .fp32 = 66.9e12,
     .tf32 = 330e12,
     .bf16 = 660e12,
     .memory = 3.35e12,
     .l2 = 5.5e12},
    // B200
    {.name = "sm_100",
     .device = "B200",
     .number = 100,
     .multiprocessors = 148,
     .shared_bytes = 228 << 10,
     .shared_block_bytes = 227 << 10,
     .blocks = 32,
     .threads = 2048,
     .registers = 65536,
     .clock = 1.85e9,
     .fp32 = 75e12,
     .tf32 = 550e12,
     .bf16 = 1100e12,
     .memory = 7.7e12,
     .l2 = 10e12},
};

const CellCudaArch *cell_cuda_arch(const char *name) {
  for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
    if (strcmp(archs[i].name, name) == 0) return &archs[i];
  return NULL;
}

const CellCudaArch *cell_cuda_arch_of(int major, int minor) {
  const CellCudaArch *best = NULL;
  for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
    if (archs[i].number <= 10 * major + minor) best = &archs[i];
  // code runs on later devices with the same first number only
  return best && best->number / 10 == major ? best : NULL;
}

const CellCudaArch *cell_cuda_here(char *message, size_t size) {
  CellGpuInfo info;
  char path[4200];
  int major, minor;
  if (cell_gpu_info(0, &info, message, size) <= 0) return NULL;
  const CellCudaArch *arch = cell_cuda_arch_of(info.major, info.minor);
  if (!arch) {
    snprintf(
        message, size,
        "the GPU here, %s, is of sm_%d%d: there are kernels for sm_80, sm_90 and sm_100, and what "
        "runs their code",
        info.name, info.major, info.minor);
    return NULL;
  }
  return cell_nvrtc_find(path, sizeof path, &major, &minor, message, size) ? arch : NULL;
}

bool cell_precision_parse(const char *name, CellPrecision *precision) {
  static const char *const names[] = {
      [CELL_FP32] = "fp32", [CELL_TF32] = "tf32", [CELL_BF16] = "bf16"};
  for (int i = 0; i < 3; i++)
    if (strcmp(names[i], name) == 0) {
      *precision = (CellPrecision)i;
      return true;
    }
  return false;
}

CellTarget cell_engine_target(CellBackend backend, const CellEngineOptions *options) {
  if (backend == CELL_BACKEND_CUDA && options->gpu) return cell_cuda_target(options->gpu);
  return cell_target(options->isa);
}

CellTarget cell_cuda_target(const CellCudaArch *arch) {
  CellTarget t = {0};
  t.lanes = 32;
  t.l1_bytes = arch->shared_block_bytes;
  t.l2_bytes = t.l3_bytes = 40 << 20;
  t.flops_per_cycle = arch->fp32 / arch->clock / arch->multiprocessors;
  t.l2_bytes_per_cycle = arch->l2 / arch->clock / arch->multiprocessors;
  t.memory_bytes_per_cycle = arch->memory / arch->clock / arch->multiprocessors;
  t.special_cost = 20;
  t.tasks_wanted = 4 * arch->multiprocessors;
  t.anchor_rows = CELL_CUDA_ROWS, t.anchor_columns = CELL_CUDA_COLUMNS;
  t.batch_tile = 1;
  t.stages = true;
  return t;
}
