/* test_plan.c - generated programs: the plan's kernels against the graph's evaluator, and compiled
 * kernels against both. CELLC_PROGRAMS sets how many graphs (300); a failure prints its seed, and
 * CELLC_SEED runs that one alone and prints its graph and kernels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/codegen.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_chain.h"
#include "tests/support/random_graph.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static CellModule *module_of(CellArena *arena, CellGraph *g) {
  CellModule *m = CELL_NEW(arena, CellModule);
  m->arena = arena, m->name = "random", m->sparse = true;
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

static int64_t entries(const CellGraph *g, const CellTensor *expected) {
  int64_t total = 0;
  for (int o = 0; o < g->output_count; o++) total += expected[o].count;
  return total;
}

/* one run of the program on an engine; its outputs one after the other in *bytes (heap) if that is not NULL */
static int run_on(const CellModule *m, const CellPlan *plan, CellBackend backend, int threads,
                  const CellTensor *inputs, int input_count, const CellTensor *expected,
                  uint64_t seed, bool loud, double **bytes, CellDiag *diag) {
  const CellGraph *g = m->programs[0];
  bool cpu = backend == CELL_BACKEND_CPU;
  CellEngineOptions options = {
      .threads = threads, .cache_dir = "", .check_guards = plan->guard_bytes > 0};
  CellEngine *engine = cell_engine_create(m, plan, backend, &options, diag);
  if (!engine) {
    cell_diag_print(diag, stdout, false);
    return 1;
  }
  set_inputs(engine, g, inputs, input_count);
  int bad = 0;
  if (!cell_engine_run(engine, g->name, diag)) {
    cell_diag_print(diag, stdout, false);
    printf("seed %llu: run failed\n", (unsigned long long)seed);
    bad = 1;
  } else {
    bad = compare(engine, g, expected, cpu ? 2e-3 : 1e-9, cpu ? "cpu" : "kernels", seed, loud);
  }
  if (bytes && !bad) {
    int64_t at = 0;
    *bytes = cell_malloc((size_t)(entries(g, expected) + 1) * sizeof **bytes);
    for (int o = 0; o < g->output_count; o++) {
      if (!cell_engine_get(engine, g->name, g->outputs[o].name, *bytes + at, expected[o].count))
        cell_engine_get(engine, NULL, g->outputs[o].name, *bytes + at, expected[o].count);
      at += expected[o].count;
    }
  }
  cell_engine_destroy(engine);
  return bad;
}

static CellPlan *plan_of(CellArena *arena, const CellModule *m, int64_t guard, uint64_t seed,
                         bool loud, CellDiag *diag) {
  CellTarget target =
      seed % 4 == 3 ? cell_cuda_target(cell_cuda_arch("sm_90")) : cell_target(CELL_ISA_HOST);
  if (seed % 4 == 1) target.split_bytes = 1; // of every product of a single sample
  if (seed % 4 == 2) target.sparse = CELL_SPARSE_ALWAYS;
  if (seed % 4 == 0) target.range_work = 1;
  CellPlanOptions options = {.guard_bytes = guard};
  CellPlan *plan = cell_plan_create(arena, m, &target, &options, diag);
  if (!plan) {
    cell_diag_print(diag, stdout, false);
    return NULL;
  }
  CellText text = {0};
  if (loud) {
    cell_plan_print(plan, &text);
    printf("%s\n", text.data);
  }
  text.length = 0;
  for (int k = 0; k < plan->kernel_count; k++) {
    if (cell_kernel_verify(plan->kernels[k], &text)) continue;
    printf("seed %llu: kernel %s:\n%s\n", (unsigned long long)seed, plan->kernels[k]->name,
           text.data);
    plan = NULL;
    break;
  }
  cell_text_free(&text);
  return plan;
}

/* the graph's plans (seed: for which target, and what its inputs hold) against the evaluator */
static int check_graph(CellArena *arena, CellGraph *g, uint64_t seed, bool loud) {
  CellDiag *diag = cell_diag_create();
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
  // kernels with a zone around every buffer, and with temporaries that share room
  CellPlan *guarded = plan_of(arena, m, 64, seed, loud, diag),
           *shared = plan_of(arena, m, 0, seed, false, diag);
  bad = !guarded || !shared;
  if (!bad)
    bad = run_on(m, guarded, CELL_BACKEND_INTERP_KERNELS, 1, inputs, input_count, expected, seed,
                 loud, NULL, diag);
  if (!bad)
    bad = run_on(m, shared, CELL_BACKEND_INTERP_KERNELS, 1, inputs, input_count, expected, seed,
                 loud, NULL, diag);
  if (!bad && !getenv("CELLC_NO_LLVM")) {
    // compiled code: the same bytes from one thread and from three, and wherever ranges of rows begin, which is
    // elsewhere when guards are checked
    double *one = NULL, *three = NULL, *apart = NULL;
    bool both = seed % 8 == 0;
    bad = run_on(m, seed % 2 ? guarded : shared, CELL_BACKEND_CPU, 1, inputs, input_count, expected,
                 seed, loud, both ? &one : NULL, diag);
    if (!bad && both)
      bad = run_on(m, seed % 2 ? guarded : shared, CELL_BACKEND_CPU, 3, inputs, input_count,
                   expected, seed, loud, &three, diag);
    if (!bad && both && memcmp(one, three, (size_t)entries(g, expected) * sizeof *one) != 0) {
      printf("seed %llu: three threads give other bytes than one\n", (unsigned long long)seed);
      bad = 1;
    }
    if (!bad && both)
      bad = run_on(m, guarded, CELL_BACKEND_CPU, 1, inputs, input_count, expected, seed, loud,
                   &apart, diag);
    if (!bad && both && memcmp(one, apart, (size_t)entries(g, expected) * sizeof *one) != 0) {
      printf("seed %llu: other ranges give other bytes\n", (unsigned long long)seed);
      bad = 1;
    }
    free(one);
    free(three);
    free(apart);
  }
  cell_diag_destroy(diag);
  return bad;
}

// a graph's plan, whose numbers were checked
static CellPlan *checked_plan(CellArena *arena, const char *text, CellDiag *diag) {
  CellGraph *g = cell_test_parse(arena, text);
  assert_non_null(g);
  for (uint64_t seed = 0; seed < 2; seed++) assert_int_equal(check_graph(arena, g, seed, false), 0);
  CellPlan *plan = plan_of(arena, module_of(arena, g), 0, 0, false, diag);
  assert_non_null(plan);
  return plan;
}

static int one_program(uint64_t seed, bool loud) {
  CellArena *arena = cell_arena_create();
  CellRandomOptions options = {.size = 10 + (int)(seed % 60),
                               .scan = seed % 2,
                               .params = seed % 3 != 0,
                               .large = seed % 5 == 0};
  int bad = check_graph(arena, cell_random_graph(arena, seed, &options), seed, loud);
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

// Zeros of relus that come to light wherever they can: terms beside products, carries that go apart.
static void zeros_of_relus(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    CellArena *arena = cell_arena_create();
    CellGraph *g = cell_random_chain(arena, seed, seed % 2 ? 1 : 8);
    assert_int_equal(check_graph(arena, g, 4 * seed + 2, false), 0);
    cell_arena_destroy(arena);
  }
}

// plans for single numbers have nothing to gain from what some tests look for
static bool has_vectors(void) {
  return cell_target(CELL_ISA_HOST).lanes > 1;
}

static int whole_of_ranges(const CellStmt *s) {
  int count = 0;
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOOP)
      count +=
          (s->loop == CELL_LOOP_LANES && s->end_var >= 0 && s->whole) + whole_of_ranges(s->body);
  return count;
}

/* Short rows of ranges of samples: lanes go over the entries of several, or across them, in whole vectors where there
 * are whole vectors of samples. */
static void short_rows_of_ranges(void **state) {
  (void)state;
  static const int rows[] = {3, 5, 6}, batches[] = {256, 192, 250};
  for (int i = 0; i < 9; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i / 3], batch = batches[i % 3];
    char text[1024];
    snprintf(text, sizeof text,
             "graph ranges\naxis time 2\naxis batch %d\naxis candidate 2\n"
             "%%0 = input \"x\" : f[40] {batch}\n%%1 = input \"w\" : f[40,%d] {}\n"
             "%%2 = contract %%0, %%1 \"i,ij->j\" : f[%d] {batch}\n%%3 = input \"b\" : f[%d] {}\n"
             "%%4 = add %%2, %%3 : f[%d] {batch}\n%%5 = tanh %%4 : f[%d] {batch}\n"
             "%%6 = reduce sum %%5 dims [0] : f {batch}\n%%7 = sub %%5, %%6 : f[%d] {batch}\n"
             "%%8 = reduce argmax %%7 dims [0] : i {batch}\n%%9 = mul %%7, %%7 : f[%d] {batch}\n"
             "%%10 = reduce sum %%9 dims [0] : f {batch}\n%%11 = sqrt %%10 : f {batch}\n"
             "output \"y\" %%5\noutput \"z\" %%7\noutput \"at\" %%8\noutput \"norm\" %%11\n",
             batch, n, n, n, n, n, n, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int whole = 0;
    for (int k = 0; k < plan->kernel_count; k++) whole += whole_of_ranges(plan->kernels[k]->body);
    if (has_vectors() && (whole > 0) != (batch % 16 == 0))
      fail_msg("%d samples of %d: %d loops of whole vectors", batch, n, whole);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

/* Rows of fewer entries than a vector has: products of few columns, sweeps over all rows at once with what they
 * share, sums over the batch. */
static void short_rows(void **state) {
  (void)state;
  static const int inner[] = {1, 3, 9, 40}, batches[] = {256, 5, 17};
  for (int n = 1; n <= 9; n++)
    for (int i = 0; i < 12; i++) {
      CellArena *arena = cell_arena_create();
      char text[1024];
      snprintf(text, sizeof text,
               "graph short\naxis time 2\naxis batch %d\naxis candidate 2\n"
               "%%0 = input \"x\" : f[%d] {batch}\n%%1 = input \"w\" : f[%d,%d] {}\n"
               "%%2 = contract %%0, %%1 \"i,ij->j\" : f[%d] {batch}\n%%3 = input \"b\" : f[%d] {}\n"
               "%%4 = add %%2, %%3 : f[%d] {batch}\n%%5 = tanh %%4 : f[%d] {batch}\n"
               "%%6 = input \"s\" : f {batch}\n%%7 = mul %%5, %%6 : f[%d] {batch}\n"
               "%%8 = reduce sum %%7 over {batch} : f[%d] {}\n"
               "%%9 = contract %%0, %%7 \"i,j->ij\" over {batch} : f[%d,%d] {}\n"
               "%%10 = input \"x2\" : f[%d] {batch}\n%%11 = input \"b2\" : f[%d] {}\n"
               "%%12 = add %%10, %%11 : f[%d] {batch}\n%%13 = sigmoid %%12 : f[%d] {batch}\n"
               "output \"z\" %%13\noutput \"y\" %%5\noutput \"sum\" %%8\noutput \"dw\" %%9\n",
               batches[i % 3], inner[i / 3], inner[i / 3], n, n, n, n, n, n, n, inner[i / 3], n,
               n + 1, n + 1, n + 1, n + 1);
      CellGraph *g = cell_test_parse(arena, text);
      assert_non_null(g);
      for (uint64_t seed = 0; seed < 2; seed++)
        assert_int_equal(check_graph(arena, g, seed, false), 0);
      cell_arena_destroy(arena);
    }
}

// Candidates of a single sample are tasks: what they share, what is theirs and what chooses among them. Products and
// what has no candidate stay whole; with a second sample the batch is cut.
static void candidates_are_tasks(void **state) {
  (void)state;
  for (int batch = 1; batch <= 2; batch++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    char text[1024];
    snprintf(text, sizeof text,
             "graph act\naxis time 2\naxis batch %d\naxis candidate 3\n"
             "%%0 = input \"x\" : f[40] {batch}\n%%1 = input \"a\" : f[40] {candidate}\n"
             "%%2 = input \"w\" : f[40,40] {}\n"
             "%%3 = contract %%0, %%2 \"i,ij->j\" : f[40] {batch}\n"
             "%%4 = tanh %%3 : f[40] {batch}\n%%5 = tanh %%1 : f[40] {candidate}\n"
             "%%6 = add %%4, %%5 : f[40] {batch,candidate}\n"
             "%%7 = contract %%6, %%6 \"i,j->ij\" : f[40,40] {batch,candidate}\n"
             "%%8 = tanh %%7 : f[40,40] {batch,candidate}\n"
             "%%9 = reduce sum %%8 dims [0] : f[40] {batch,candidate}\n"
             "%%10 = reduce sum %%9 dims [0] : f {batch,candidate}\n"
             "%%11 = reduce max %%10 over {candidate} : f {batch}\n"
             "output \"values\" %%10\noutput \"best\" %%11\n",
             batch);
    CellPlan *plan = checked_plan(arena, text, diag);
    int cut = 0;
    for (int k = 0; k < plan->kernel_count; k++) cut += plan->kernels[k]->tasks == 3;
    assert_int_equal(cut, batch == 1);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

static bool has_row(const CellStmt *s, int64_t row) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOOP && (s->extent == row || has_row(s->body, row))) return true;
  return false;
}

// loops of lanes that go across rows, of candidates or of samples: what is left of a row is a loop inside
static int across_rows(const CellStmt *s, int64_t row) {
  int n = 0;
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    n += s->loop == CELL_LOOP_LANES && has_row(s->body, row);
    n += across_rows(s->body, row);
  }
  return n;
}

// loads that lanes gather from arguments for every sample, though they are the same for all
static int gathered(const CellStmt *s, int lane, int sample) {
  int n = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP)
      n += gathered(s->body, s->loop == CELL_LOOP_LANES ? s->var : lane,
                    s->extent >= 8 && s->loop == CELL_LOOP_SERIAL ? s->var : sample);
    n += s->kind == CELL_K_LOAD && !s->buffer.scratch && lane >= 0 && sample >= 0 &&
         cell_affine_coef(&s->index, lane) > 1 && cell_affine_coef(&s->index, sample) == 0;
  }
  return n;
}

// A mean, a variance and a tanh of each candidate's short row, and the best candidate: lanes go across the rows where there
// are enough of them, so that nothing is worked out number by number; along them where rows are long.
static void lanes_across_short_rows(void **state) {
  (void)state;
  static const int rows[] = {3, 5, 80}, candidates[] = {2, 7, 32, 100};
  for (int i = 0; i < 12; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i / 4], many = candidates[i % 4];
    char text[1024];
    snprintf(text, sizeof text,
             "graph rows\naxis time 2\naxis batch 37\naxis candidate %d\n"
             "%%0 = input \"x\" : f[%d] {batch}\n%%1 = input \"a\" : f[%d] {candidate}\n"
             "%%2 = add %%0, %%1 : f[%d] {batch,candidate}\n"
             "%%3 = reduce sum %%2 dims [0] : f {batch,candidate}\n"
             "%%4 = tanh %%3 : f {batch,candidate}\n"
             "%%5 = sub %%2, %%4 : f[%d] {batch,candidate}\n"
             "%%6 = mul %%5, %%5 : f[%d] {batch,candidate}\n"
             "%%7 = reduce sum %%6 dims [0] : f {batch,candidate}\n"
             "%%8 = sqrt %%7 : f {batch,candidate}\n"
             "%%9 = reduce argmax %%8 over {candidate} : i {batch}\n"
             "%%10 = reduce max %%8 over {candidate} : f {batch}\n"
             "output \"values\" %%8\noutput \"best\" %%9\noutput \"most\" %%10\n",
             many, n, n, n, n, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int across = 0, gathers = 0;
    for (int k = 0; k < plan->kernel_count; k++) {
      across += across_rows(plan->kernels[k]->body, n);
      gathers += gathered(plan->kernels[k]->body, -1, -1);
    }
    if (has_vectors() && gathers > 0)
      fail_msg("rows of %d, %d candidates: %d loads are gathered again for every sample", n, many,
               gathers);
    if (many > 2 && has_vectors() && (across > 0) != (n < 80))
      fail_msg("rows of %d, %d candidates: %d loops across rows", n, many, across);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

static bool updates(const CellStmt *s, const CellStmt *end, int value) {
  for (; s != end; s = s->next)
    if (s->kind == CELL_K_UPDATE && s->value == value) return true;
  return false;
}

// what one iteration of a loop within lanes adds to sums: how often, or to how many
static int sums_inside(const CellStmt *s, bool in_lanes, bool how_often) {
  int most = 0;
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    int n = 0, inside = sums_inside(s->body, in_lanes || s->loop == CELL_LOOP_LANES, how_often);
    for (const CellStmt *i = s->body; i && in_lanes; i = i->next)
      n += i->kind == CELL_K_UPDATE && (how_often || !updates(s->body, i, i->value));
    n = n > inside ? n : inside;
    most = n > most ? n : most;
  }
  return most;
}

// Sums over samples of rows: in four parts where the rows are short and the samples can be parted.
static void sums_of_few_lanes(void **state) {
  (void)state;
  static const int rows[] = {1, 5, 16, 2000}, samples[] = {12, 64, 66, 512};
  for (int i = 0; i < 16; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i / 4], many = samples[i % 4];
    char text[512];
    snprintf(text, sizeof text,
             "graph sums\naxis time 2\naxis batch %d\naxis candidate 2\n"
             "%%0 = input \"x\" : f[%d] {batch}\n%%1 = input \"y\" : f[%d] {batch}\n"
             "%%2 = mul %%0, %%1 : f[%d] {batch}\n%%3 = tanh %%2 : f[%d] {batch}\n"
             "%%4 = reduce sum %%3 over {batch} : f[%d] {}\n%%5 = exp %%4 : f[%d] {}\n"
             "output \"sums\" %%4\noutput \"more\" %%5\n",
             many, n, n, n, n, n, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int most = 0;
    for (int k = 0; k < plan->kernel_count; k++) {
      int sums = sums_inside(plan->kernels[k]->body, false, false);
      most = sums > most ? sums : most;
    }
    bool parts = many % 4 == 0 && many >= 32 && n < 2000;
    if (has_vectors() && n > 1 && (most == 4) != parts)
      fail_msg("%d samples' rows of %d: %d sums", many, n, most);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

/* Sums of a function of products of two rows, each entry with each: lanes go across where vectors are wide, and several
 * entries are taken at once as far as their number allows. */
static void functions_of_pairs(void **state) {
  (void)state;
  static const int rows[] = {48, 50, 51, 200};
  for (int i = 0; i < 4; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i], expected = n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
    char text[1024];
    snprintf(text, sizeof text,
             "graph pairs\naxis time 2\naxis batch 64\naxis candidate 2\n"
             "%%0 = input \"q\" : f[6,%d] {batch}\n%%1 = input \"k\" : f[6,%d] {batch}\n"
             "%%2 = contract %%0, %%1 \"hi,hj->ij\" : f[%d,%d] {batch}\n"
             "%%3 = tanh %%2 : f[%d,%d] {batch}\n%%4 = input \"v\" : f[%d] {batch}\n"
             "%%5 = contract %%3, %%4 \"ij,j->i\" : f[%d] {batch}\noutput \"y\" %%5\n",
             n, n, n, n, n, n, n, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int most = 0;
    for (int k = 0; k < plan->kernel_count; k++) {
      int at_once = sums_inside(plan->kernels[k]->body, false, true);
      most = most > at_once ? most : at_once;
    }
    if (cell_target(CELL_ISA_HOST).lanes >= 16 && most != expected)
      fail_msg("%d entries: %d at once", n, most);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

// sums of one lane loop
static int most_sums(const CellStmt *s) {
  int most = 0;
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    int n = 0;
    for (const CellStmt *i = s->body; i; i = i->next)
      n += s->loop == CELL_LOOP_LANES && i->kind == CELL_K_UPDATE;
    int inside = most_sums(s->body);
    n = n > inside ? n : inside;
    most = n > most ? n : most;
  }
  return most;
}

// A matrix of each sample summed row by row: four rows at once where their number allows it and they are short.
static void rows_together(void **state) {
  (void)state;
  static const int rows[] = {12, 10, 200}, lengths[] = {16, 33, 112, 704};
  for (int i = 0; i < 12; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i / 4], m = lengths[i % 4];
    char text[1024];
    snprintf(text, sizeof text,
             "graph rows\naxis time 2\naxis batch 3\naxis candidate 2\n"
             "%%0 = input \"x\" : f[%d] {batch}\n%%1 = input \"y\" : f[%d] {batch}\n"
             "%%2 = contract %%0, %%1 \"i,j->ij\" : f[%d,%d] {batch}\n"
             "%%3 = tanh %%2 : f[%d,%d] {batch}\n%%4 = input \"z\" : f[%d] {batch}\n"
             "%%5 = contract %%3, %%4 \"ij,j->i\" : f[%d] {batch}\n"
             "%%6 = reduce sum %%3 dims [1] : f[%d] {batch}\n"
             "output \"a\" %%5\noutput \"b\" %%6\n",
             n, m, n, m, n, m, m, n, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int most = 0;
    for (int k = 0; k < plan->kernel_count; k++) {
      int sums = most_sums(plan->kernels[k]->body);
      most = sums > most ? sums : most;
    }
    // shorter ones may have lanes across them
    if (m >= 100 && has_vectors() && (most >= 4) != (n % 4 == 0 && m < 700))
      fail_msg("%d rows of %d: %d sums in one loop", n, m, most);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

// lane loops of sums over a block of rows: an inner loop that begins where the block does
static int block_sums(const CellStmt *s) {
  int n = 0;
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    for (const CellStmt *i = s->body; i; i = i->next)
      n += s->loop == CELL_LOOP_LANES && i->kind == CELL_K_LOOP && i->loop == CELL_LOOP_UNROLL &&
           i->begin.term_count > 0;
    n += block_sums(s->body);
  }
  return n;
}

/* What a matrix of each sample, whose entries are made on the way, gives to several rows, some by a factor of the
 * matrix's row, is added up for a block of its rows at once; the last may be short. */
static void rows_in_blocks(void **state) {
  (void)state;
  static const int rows[] = {32, 31, 98}, lengths[] = {33, 96, 200, 500};
  for (int i = 0; i < 12; i++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    int n = rows[i / 4], m = lengths[i % 4];
    char text[1024];
    snprintf(text, sizeof text,
             "graph rows\naxis time 2\naxis batch 3\naxis candidate 2\n"
             "%%0 = input \"x\" : f[4,%d] {batch}\n%%1 = input \"y\" : f[4,%d] {batch}\n"
             "%%2 = contract %%0, %%1 \"hi,hj->ij\" : f[%d,%d] {batch}\n"
             "%%3 = tanh %%2 : f[%d,%d] {batch}\n"
             "%%4 = contract %%3, %%0 \"ij,hi->hj\" : f[4,%d] {batch}\n"
             "%%5 = reduce sum %%3 dims [0] : f[%d] {batch}\n"
             "%%6 = contract %%3, %%1 \"ij,hj->hi\" : f[4,%d] {batch}\n"
             "output \"a\" %%4\noutput \"b\" %%5\noutput \"c\" %%6\n",
             n, m, n, m, n, m, m, m, n);
    CellPlan *plan = checked_plan(arena, text, diag);
    int blocks = 0;
    for (int k = 0; k < plan->kernel_count; k++) blocks += block_sums(plan->kernels[k]->body);
    if (has_vectors() && blocks == 0) fail_msg("%d rows of %d: %d loops over blocks", n, m, blocks);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_of_few_lanes),       cmocka_unit_test(functions_of_pairs),
      cmocka_unit_test(rows_together),           cmocka_unit_test(rows_in_blocks),
      cmocka_unit_test(lanes_across_short_rows), cmocka_unit_test(generated_programs),
      cmocka_unit_test(zeros_of_relus),          cmocka_unit_test(candidates_are_tasks),
      cmocka_unit_test(short_rows_of_ranges),    cmocka_unit_test(short_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
