/* test_cuda.c - generated CUDA on a device of fibers (tests/fake_cuda): generated programs against the graph's
 * evaluator. CELLC_PROGRAMS sets how many (40, few under sanitizers); a failure prints its seed, and CELLC_SEED
 * runs that one alone and prints its kernels and its code.
 *
 * All programs of a test are loaded before the first is run, so that the C++ compiler is called once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/cuda.h"
#include "tests/support/random_graph.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct {
  uint64_t seed;
  CellArena *arena;
  CellDiag *diag;
  CellGraph *g;
  CellTensor *inputs, *expected;
  int input_count;
  CellEngine *engine;
} Program;

static bool close_enough(double a, double b, double tolerance) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (isinf(a) || isinf(b)) return a == b;
  return fabs(a - b) <= tolerance * (1 + fabs(b));
}

static int products, tails; // seen so far

// what a product's kernel does behind it must work on the entries of a tile
static bool is_mixed(const CellKernel *k) {
  bool loops = false;
  // sums of products over several axes are loops of products
  for (const CellStmt *s = k->body; s; s = s->next)
    loops |= s->kind == CELL_K_LOOP && s->body->kind != CELL_K_CONTRACT;
  if (!k->body || k->body->kind != CELL_K_CONTRACT) return false;
  CellCudaProduct product = cell_cuda_product(k);
  products += product.product, tails += product.tail != NULL;
  return loops && !product.product;
}

static bool load(Program *p, uint64_t seed, bool loud) {
  p->seed = seed;
  p->arena = cell_arena_create();
  p->diag = cell_diag_create();
  CellRandomOptions options = {.size = 10 + (int)(seed % 60),
                               .scan = seed % 2,
                               .params = seed % 3 != 0,
                               .large = seed % 5 == 0};
  p->g = cell_random_graph(p->arena, seed, &options);
  CellModule *m = CELL_NEW(p->arena, CellModule);
  m->arena = p->arena, m->name = "random";
  CELL_PUSH(p->arena, m->programs, m->program_count, m->program_capacity, p->g);
  p->inputs = cell_random_inputs(p->arena, p->g, seed, &p->input_count);
  p->expected = CELL_NEW_ARRAY(p->arena, CellTensor, p->g->output_count + 1);
  if (!cell_eval(p->g, p->inputs, p->input_count, p->expected, p->arena, p->diag)) return false;
  const CellCudaArch *arch = cell_cuda_arch("sm_90");
  CellTarget target = cell_cuda_target(arch);
  CellPlan *plan = cell_plan_create(p->arena, m, &target, NULL, p->diag);
  if (!plan) return false;
  CellEngineOptions engine = {.cache_dir = "", .gpu = arch};
  if (loud) {
    CellText text = {0};
    cell_print(p->g, NULL, &text);
    cell_plan_print(plan, &text);
    cell_emit(plan, "cuda", &engine, &text, p->diag);
    printf("%s\n", text.data);
    cell_text_free(&text);
  }
  for (int i = 0; i < plan->kernel_count; i++) {
    if (!is_mixed(plan->kernels[i])) continue;
    printf("seed %llu: kernel %s is a product and more\n", (unsigned long long)seed,
           plan->kernels[i]->name);
    return false;
  }
  p->engine = cell_engine_create(m, plan, CELL_BACKEND_CUDA, &engine, p->diag);
  return p->engine != NULL;
}

static bool run(Program *p) {
  for (int i = 0; i < p->input_count; i++)
    if (!cell_engine_set(p->engine, NULL, p->inputs[i].name, p->inputs[i].data, p->inputs[i].count))
      cell_engine_set(p->engine, p->g->name, p->inputs[i].name, p->inputs[i].data,
                      p->inputs[i].count);
  if (!cell_engine_run(p->engine, p->g->name, p->diag)) return false;
  for (int o = 0; o < p->g->output_count; o++) {
    const CellTensor *expected = &p->expected[o];
    double *data = cell_malloc((size_t)(expected->count + 1) * sizeof *data);
    const char *name = p->g->outputs[o].name;
    bool good = cell_engine_get(p->engine, p->g->name, name, data, expected->count) ||
                cell_engine_get(p->engine, NULL, name, data, expected->count);
    for (int64_t i = 0; i < expected->count && good; i++) {
      good = close_enough(data[i], expected->data[i], 2e-3);
      if (!good)
        printf("seed %llu: output %s[%lld] is %.9g, not %.9g\n", (unsigned long long)p->seed, name,
               (long long)i, data[i], expected->data[i]);
    }
    free(data);
    if (!good) return false;
  }
  return true;
}

static int failures(uint64_t first, uint64_t count, bool loud) {
  Program *programs = cell_malloc((size_t)count * sizeof *programs);
  memset(programs, 0, (size_t)count * sizeof *programs);
  int failed = 0;
  for (uint64_t i = 0; i < count; i++) {
    bool good = load(&programs[i], first + i, loud);
    if (!good) programs[i].seed = 0, failed++;
    if (!good) cell_diag_print(programs[i].diag, stdout, false);
  }
  for (uint64_t i = 0; i < count; i++) {
    Program *p = &programs[i];
    if (p->seed && !run(p)) {
      cell_diag_print(p->diag, stdout, false);
      printf("seed %llu: failed\n", (unsigned long long)p->seed);
      failed++;
    }
    cell_engine_destroy(p->engine);
    cell_diag_destroy(p->diag);
    cell_arena_destroy(p->arena);
  }
  free(programs);
  return failed;
}

static void generated_programs(void **state) {
  (void)state;
  const char *alone = getenv("CELLC_SEED"), *number = getenv("CELLC_PROGRAMS");
  if (alone) {
    assert_int_equal(failures(strtoull(alone, NULL, 10), 1, true), 0);
    return;
  }
  // under sanitizers the last twelve alone: products are among them
  uint64_t last = number ? strtoull(number, NULL, 10) : 40;
  uint64_t first = !number && getenv("CELLC_SANITIZED") ? last - 11 : 1;
  int failed = 0;
  for (uint64_t at = first; at <= last; at += 100)
    failed += failures(at, last - at + 1 < 100 ? last - at + 1 : 100, false);
  print_message("%d products, %d with a tail\n", products, tails);
  assert_true(tails > 0);
  assert_int_equal(failed, 0);
}

int main(void) {
  setenv("CELLC_CUDA_DRIVER", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  setenv("CELLC_NVRTC", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(generated_programs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
