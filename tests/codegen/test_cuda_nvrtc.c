/* test_cuda_nvrtc.c - generated CUDA through the real NVRTC, where there is one: every architecture and precision
 * compiles, nothing spills, the cache gives the same code back. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codegen/cuda.h"
#include "tests/support/ir_text.h"
#include "tests/support/program.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// products of bits and of floats, rows over warps, sums over lanes and over the batch, functions, a state
static const char program[] = "graph step\n"
                              "axis time 2\n"
                              "axis batch 70\n"
                              "axis candidate 2\n"
                              "%0 = input \"x\" : bits[80] {batch}\n"
                              "%1 = input \"params/w\" : f[48,80] {}\n"
                              "%2 = contract %1, %0 \"ij,j->i\" : f[48] {batch}\n"
                              "%3 = tanh %2 : f[48] {batch}\n"
                              "%4 = reduce sum %3 dims [0] : f {batch}\n"
                              "%5 = mul %3, %4 : f[48] {batch}\n"
                              "%6 = contract %3, %5 \"i,j->ij\" : f[48,48] {batch}\n"
                              "%7 = exp %6 : f[48,48] {batch}\n"
                              "%8 = reduce sum %7 dims [1] : f[48] {batch}\n"
                              "%9 = input \"params/v\" : f[48,48] {}\n"
                              "%10 = contract %9, %8 \"ij,j->i\" : f[48] {batch}\n"
                              "%11 = contract %10, %8 \"i,j->ij\" over {batch} : f[48,48] {}\n"
                              "%12 = sub %9, %11 : f[48,48] {}\n"
                              "output \"y\" %5\n"
                              "output \"z\" %10\n"
                              "output \"params/v\" %12\n";

static bool emit(const char *arch_name, CellPrecision precision, const char *stage, CellText *out) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellGraph *g = cell_test_parse(arena, program);
  CellModule *m = CELL_NEW(arena, CellModule);
  m->arena = arena, m->name = "step";
  CELL_PUSH(arena, m->programs, m->program_count, m->program_capacity, g);
  const CellCudaArch *arch = cell_cuda_arch(arch_name);
  CellTarget target = cell_cuda_target(arch);
  CellPlan *plan = cell_plan_create(arena, m, &target, NULL, diag);
  CellEngineOptions options = {.cache_dir = folder(), .gpu = arch, .precision = precision};
  bool good = plan && cell_emit(plan, stage, &options, out, diag);
  if (!good) cell_diag_print(diag, stdout, false);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return good;
}

static bool has_nvrtc(void) {
  CellCheck list[CELL_MOST_CHECKS];
  int count = cell_doctor(list);
  for (int i = 0; i < count; i++)
    if (strcmp(list[i].name, "nvrtc") == 0) return list[i].good;
  return false;
}

// every kernel's columns: name, blocks, registers, stack, spills, ...
static int kernels_without_spills(const char *text) {
  int count = 0;
  for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
    char name[64];
    long long blocks;
    int registers, stack, spills;
    if (strncmp(line, "step_", 5) != 0) continue;
    assert_int_equal(sscanf(line, "%63s %lld %d %d %d", name, &blocks, &registers, &stack, &spills),
                     5);
    assert_in_range(registers, 8, 255);
    assert_int_equal(stack, 0);
    assert_int_equal(spills, 0);
    count++;
  }
  return count;
}

static void compiles(void **state) {
  (void)state;
  if (!has_nvrtc()) {
    print_message("no NVRTC here: nothing is compiled\n");
    return;
  }
  static const char *const archs[] = {"sm_80", "sm_90", "sm_100"};
  for (int a = 0; a < 3; a++) {
    CellText text = {0};
    assert_true(emit(archs[a], (CellPrecision)a, "resources", &text));
    assert_true(kernels_without_spills(text.data) >= 3);
    cell_text_free(&text);
  }
  CellText cold = {0}, warm = {0}, ptx = {0};
  assert_true(emit("sm_90", CELL_FP32, "cubin", &cold));
  assert_true(emit("sm_90", CELL_FP32, "cubin", &warm));
  assert_int_equal(cold.length, warm.length);
  assert_memory_equal(cold.data, warm.data, cold.length);
  assert_memory_equal(cold.data, "\177ELF", 4);
  assert_true(emit("sm_90", CELL_TF32, "ptx", &ptx));
  assert_non_null(strstr(ptx.data, ".target sm_90"));
  assert_non_null(strstr(ptx.data, "mma.sync.aligned.m16n8k8"));
  assert_non_null(strstr(ptx.data, "cp.async"));
  cell_text_free(&cold);
  cell_text_free(&warm);
  cell_text_free(&ptx);
}

// the kernels that are kept by hand
static void replay_compiles(void **state) {
  (void)state;
  if (!has_nvrtc()) return;
  CellCudaUnit unit = {
      .symbol = "replay", .source = cell_cuda_replay, .length = strlen(cell_cuda_replay)};
  const CellCudaCode code = {.units = &unit, .unit_count = 1};
  static const char *const archs[] = {"sm_80", "sm_90", "sm_100"};
  for (int a = 0; a < 3; a++) {
    CellCubin cubin = {0};
    char message[1024] = "";
    if (!cell_nvrtc_compile(&code, cell_cuda_arch(archs[a]), NULL, NULL, &cubin, message,
                            sizeof message))
      fail_msg("%s: %s", archs[a], message);
    assert_int_equal(cubin.stack, 0);
    assert_int_equal(cubin.spills, 0);
    assert_in_range(cubin.registers, 8, 255);
    print_message("replay, %s: %d registers\n", archs[a], cubin.registers);
    cell_cubin_free(&cubin);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(compiles), cmocka_unit_test(replay_compiles)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
