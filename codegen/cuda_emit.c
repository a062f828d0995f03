/* cuda_emit.c - a plan's CUDA code for people: `cellc emit --stage cuda|ptx|cubin|resources`. */
#include "codegen/cuda.h"

#include <stdlib.h>
#include <string.h>

static void emit_source(const CellCudaCode *code, CellText *out) {
  for (int p = 0; p < code->program_count; p++) {
    const CellCudaProgram *program = &code->programs[p];
    cell_text_printf(out, "// program %s: %d launches\n", program->name, program->launch_count);
    for (int l = 0; l < program->launch_count; l++) {
      const CellCudaUnit *u = &code->units[program->launches[l].unit];
      cell_text_printf(out, "//   %s: %lld blocks, %lld bytes of shared memory", u->symbol,
                       (long long)u->grid, (long long)u->shared_bytes);
      if (u->workspace_bytes)
        cell_text_printf(out, ", %lld of workspace", (long long)u->workspace_bytes);
      cell_text_printf(out, "\n");
    }
  }
  for (int u = 0; u < code->unit_count; u++)
    cell_text_printf(out, "\n// ---- %s ----\n\n%s", code->units[u].symbol, code->units[u].source);
}

int cell_cuda_resident(const CellCudaArch *arch, int registers, int64_t shared_bytes) {
  // registers are given to warps in eighths of 2048; shared memory in 128 bytes, 1 KiB a block is the system's
  int per_warp = (registers * 32 + 255) / 256 * 256;
  int by_registers =
      per_warp > 0 ? arch->registers / per_warp / (CELL_CUDA_THREADS / 32) : arch->blocks;
  int64_t shared = (shared_bytes + 1024 + 127) / 128 * 128;
  int by_shared = (int)(arch->shared_bytes / shared),
      by_threads = arch->threads / CELL_CUDA_THREADS;
  int blocks = arch->blocks;
  if (by_registers < blocks) blocks = by_registers;
  if (by_shared < blocks) blocks = by_shared;
  return by_threads < blocks ? by_threads : blocks;
}

static void emit_resources(const CellPlan *plan, const CellCudaCode *code,
                           const CellEngineOptions *options, const CellCubin *cubins,
                           const CellDiag *sources, CellText *out) {
  const CellCudaArch *arch = options->gpu;
  cell_text_printf(out, "%-16s %8s %9s %6s %6s %9s %9s %10s %11s\n", "kernel", "blocks",
                   "registers", "stack", "spills", "shared", "occupancy", "code", "predicted");
  for (int u = 0; u < code->unit_count; u++) {
    const CellCudaUnit *unit = &code->units[u];
    int resident = cell_cuda_resident(arch, cubins[u].registers, unit->shared_bytes);
    double seconds = cell_cuda_predict(plan, unit, options, cubins[u].registers);
    cell_text_printf(out, "%-16s %8lld %9d %6d %6d %9lld %8.0f%% %10zu %8.1f us\n", unit->symbol,
                     (long long)unit->grid, cubins[u].registers, cubins[u].stack, cubins[u].spills,
                     (long long)unit->shared_bytes,
                     100.0 * resident * CELL_CUDA_THREADS / arch->threads, cubins[u].size,
                     1e6 * seconds);
  }
  cell_text_printf(out, "\n%-16s %8s %11s\n", "program", "nodes", "predicted");
  for (int p = 0; p < code->program_count; p++) {
    const CellCudaProgram *program = &code->programs[p];
    double sum = 0;
    for (int l = 0; l < program->launch_count; l++) {
      int u = program->launches[l].unit;
      sum += cell_cuda_predict(plan, &code->units[u], options, cubins[u].registers);
    }
    cell_text_printf(out, "%-16s %8d %8.1f us  %s, %s\n", program->name, program->launch_count,
                     1e6 * sum, arch->name, arch->device);
  }
  for (int p = 0; p < code->program_count; p++) cell_cuda_nodes(plan, code, p, sources, out);
}

bool cell_cuda_emit(const CellPlan *plan, const char *stage, const CellEngineOptions *options,
                    CellText *out, CellDiag *diag) {
  CellArena *arena = cell_arena_create();
  CellCudaCode *code = cell_cuda_code(arena, plan, (CellPrecision)options->precision, diag);
  bool good = true;
  if (strcmp(stage, "cuda") == 0) {
    emit_source(code, out);
  } else {
    bool ptx = strcmp(stage, "ptx") == 0;
    CellCubin *cubins = CELL_NEW_ARRAY(arena, CellCubin, (size_t)code->unit_count + 1);
    char message[1024] = "", *folder = cell_cache_folder(options->cache_dir);
    good = cell_nvrtc_compile(code, options->gpu, folder, ptx ? out : NULL, cubins, message,
                              sizeof message);
    free(folder);
    if (!good) cell_error(diag, CELL_E_NVRTC, CELL_NOWHERE, "%s", message);
    if (good && strcmp(stage, "resources") == 0)
      emit_resources(plan, code, options, cubins, diag, out);
    if (good && strcmp(stage, "cubin") == 0)
      for (int u = 0; u < code->unit_count; u++)
        cell_text_append(out, cubins[u].bytes, cubins[u].size);
    for (int u = 0; u < code->unit_count; u++) cell_cubin_free(&cubins[u]);
  }
  cell_arena_destroy(arena);
  return good;
}
