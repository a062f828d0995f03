/* test_plan.c - generated programs: the plan's kernels against the graph's evaluator, and compiled
 * kernels against both. CELLC_PROGRAMS sets how many graphs (300); a failure prints its seed, and
 * CELLC_SEED runs that one alone and prints its graph and kernels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/codegen.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static CellModule *module_of(CellArena *arena, CellGraph *g) {
  CellModule *m = CELL_NEW(arena, CellModule);
  m->arena = arena, m->name = "random";
  CELL_PUSH(arena, m->programs, m->program_count, m->program_capacity, g);
  return m;
}

static bool close_enough(double a, double b, double tolerance) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (isinf(a) || isinf(b)) return a == b;
  return fabs(a - b) <= tolerance * (1 + fabs(b));
}

static bool set_inputs(CellEngine *engine, const CellGraph *g, const CellTensor *inputs,
                       int count) {
  for (int i = 0; i < count; i++)
    if (!cell_engine_set(engine, NULL, inputs[i].name, inputs[i].data, inputs[i].count))
      cell_engine_set(engine, g->name, inputs[i].name, inputs[i].data, inputs[i].count);
  return true;
}

/* 0, or 1 after printing what differs */
static int compare(CellEngine *engine, const CellGraph *g, const CellTensor *expected,
                   double tolerance, const char *what, uint64_t seed, bool loud) {
  int bad = 0;
  for (int o = 0; o < g->output_count; o++) {
    double *data = cell_malloc((size_t)(expected[o].count + 1) * sizeof *data);
    const char *name = g->outputs[o].name;
    if (!cell_engine_get(engine, g->name, name, data, expected[o].count) &&
        !cell_engine_get(engine, NULL, name, data, expected[o].count)) {
      printf("seed %llu: %s has no output %s of %lld entries\n", (unsigned long long)seed, what,
             name, (long long)expected[o].count);
      free(data);
      return 1;
    }
    for (int64_t i = 0; i < expected[o].count; i++) {
      if (close_enough(data[i], expected[o].data[i], tolerance)) continue;
      printf("seed %llu: %s: output %s[%lld] is %.17g, not %.17g\n", (unsigned long long)seed, what,
             name, (long long)i, data[i], expected[o].data[i]);
      bad = 1;
      if (!loud) break;
    }
    free(data);
    if (bad && !loud) return 1;
  }
  return bad;
}

static int one_program(uint64_t seed, bool loud) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellRandomOptions options = {.size = 10 + (int)(seed % 60),
                               .scan = seed % 2,
                               .params = seed % 3 != 0,
                               .large = seed % 5 == 0};
  CellGraph *g = cell_random_graph(arena, seed, &options);
  CellModule *m = module_of(arena, g);
  int input_count = 0, bad = 0;
  CellTensor *inputs = cell_random_inputs(arena, g, seed, &input_count);
  CellTensor *expected = CELL_NEW_ARRAY(arena, CellTensor, g->output_count + 1);
  if (!cell_eval(g, inputs, input_count, expected, arena, diag)) {
    cell_diag_print(diag, stdout, false);
    return 1;
  }
  if (loud) {
    CellText text = {0};
    cell_print(g, NULL, &text);
    printf("%s\n", text.data);
    cell_text_free(&text);
  }
  CellTarget target = cell_target(CELL_ISA_HOST);
  CellPlanOptions plan_options = {.guard_bytes = 64};
  CellPlan *plan = cell_plan_create(arena, m, &target, &plan_options, diag);
  if (!plan) {
    cell_diag_print(diag, stdout, false);
    return 1;
  }
  if (loud) {
    CellText text = {0};
    cell_plan_print(plan, &text);
    printf("%s\n", text.data);
    cell_text_free(&text);
  }
  CellText problems = {0};
  for (int k = 0; k < plan->kernel_count; k++)
    if (!cell_kernel_verify(plan->kernels[k], &problems)) {
      printf("seed %llu: kernel %s:\n%s\n", (unsigned long long)seed, plan->kernels[k]->name,
             problems.data);
      bad = 1;
    }
  cell_text_free(&problems);
  CellBackend backends[] = {CELL_BACKEND_INTERP_KERNELS, CELL_BACKEND_CPU};
  CellEngineOptions engine_options = {.threads = 2, .cache_dir = "", .check_guards = true};
  for (int b = 0; b < 2 && !bad; b++) {
    if (b == 1 && getenv("CELLC_NO_LLVM")) break;
    CellEngine *engine = cell_engine_create(m, plan, backends[b], &engine_options, diag);
    if (!engine) {
      cell_diag_print(diag, stdout, false);
      bad = 1;
      break;
    }
    set_inputs(engine, g, inputs, input_count);
    if (!cell_engine_run(engine, g->name, diag)) {
      cell_diag_print(diag, stdout, false);
      printf("seed %llu: run failed\n", (unsigned long long)seed);
      bad = 1;
    } else {
      bad = compare(engine, g, expected, b ? 2e-3 : 1e-9, b ? "cpu" : "kernels", seed, loud);
    }
    cell_engine_destroy(engine);
  }
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return bad;
}

static void generated_programs(void **state) {
  (void)state;
  const char *alone = getenv("CELLC_SEED"), *number = getenv("CELLC_PROGRAMS");
  if (alone) {
    assert_int_equal(one_program(strtoull(alone, NULL, 10), true), 0);
    return;
  }
  uint64_t count = number ? strtoull(number, NULL, 10) : 300;
  int failed = 0;
  for (uint64_t seed = 1; seed <= count; seed++) failed += one_program(seed, false);
  if (failed) printf("%d of %llu programs differ\n", failed, (unsigned long long)count);
  assert_int_equal(failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(generated_programs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
