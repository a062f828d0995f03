/* target.c - what the machine is, from cpuid and the system's tables: no LLVM here. */
#include "codegen/codegen.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cell_backend_parse(const char *name, CellBackend *backend) {
  static const struct {
    const char *name;
    CellBackend backend;
  } rows[] = {{"interp", CELL_BACKEND_INTERP},
              {"interp-kernels", CELL_BACKEND_INTERP_KERNELS},
              {"cpu", CELL_BACKEND_CPU},
              {"cuda", CELL_BACKEND_CUDA}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].name, name) == 0) {
      *backend = rows[i].backend;
      return true;
    }
  return false;
}

CellIsa cell_isa_host(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return CELL_ISA_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CELL_ISA_AVX2;
#endif
  return CELL_ISA_SCALAR;
}

bool cell_isa_runs(CellIsa isa) {
  CellIsa host = cell_isa_host();
  return isa >= host || (host == CELL_ISA_AVX2 && getenv("CELLC_EMULATE"));
}

// the system's answer, or a common size where it has none
static int64_t cache_bytes(int name, int64_t otherwise) {
  long bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

CellTarget cell_target(CellIsa isa) {
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  CellTarget t = {0};
  t.lanes = isa == CELL_ISA_AVX512 ? 16 : isa == CELL_ISA_AVX2 ? 8 : 1;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  t.l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
  t.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
  t.l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8 << 20);
#else
  t.l1_bytes = 32 << 10, t.l2_bytes = 512 << 10, t.l3_bytes = 8 << 20;
#endif
  t.stages = true;
  t.range_work = 1 << 15;
  t.tune_lanes = t.lanes > 1;
  t.sparse = t.lanes > 1 ? CELL_SPARSE_WORTH : CELL_SPARSE_NEVER;
  t.flops_per_cycle = 2.0 * 2 * t.lanes; // two units for multiply-adds
  t.l2_bytes_per_cycle = 32;
  t.memory_bytes_per_cycle = 4;
  t.special_cost = 20;
  t.split_bytes = 128 << 10;
  // two a core, so that one slow core does not hold up the rest; of the machine's cores, not of the
  // threads that a run may use, which must not change its bytes
  long cores = sysconf(_SC_NPROCESSORS_CONF);
  t.tasks_wanted = cores < 2 ? 4 : cores > 64 ? 128 : 2 * (int)cores;
  return t;
}
