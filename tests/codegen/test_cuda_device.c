/* test_cuda_device.c - the engine on a GPU, over the device of fibers: what a run does to the device, faults
 * of the generated code that the host's side finds, and what is said where something is missing. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "tests/support/ir_text.h"
#include "tests/support/program.h"
#include "tests/support/random_graph.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// a product over 5 slices of its inner side, tiles that are not full, sums over lanes, a state
static const char program[] = "graph step\n"
                              "axis time 2\n"
                              "axis batch 70\n"
                              "axis candidate 2\n"
                              "%0 = input \"x\" : f[80] {batch}\n"
                              "%1 = input \"params/w\" : f[48,80] {}\n"
                              "%2 = contract %1, %0 \"ij,j->i\" : f[48] {batch}\n"
                              "%3 = tanh %2 : f[48] {batch}\n"
                              "%4 = reduce sum %3 dims [0] : f {batch}\n"
                              "%5 = mul %3, %4 : f[48] {batch}\n"
                              "%6 = contract %3, %5 \"i,j->ij\" : f[48,48] {batch}\n"
                              "%7 = tanh %6 : f[48,48] {batch}\n"
                              "%8 = reduce sum %7 dims [0] : f[48] {batch}\n"
                              "%9 = contract %5, %0 \"i,j->ij\" over {batch} : f[48,80] {}\n"
                              "%10 = const 0.001 : f {}\n"
                              "%11 = mul %9, %10 : f[48,80] {}\n"
                              "%12 = sub %1, %11 : f[48,80] {}\n"
                              "%13 = mul %8, %8 : f[48] {batch}\n"
                              "%14 = reduce sum %13 dims [0] : f {batch}\n"
                              "%15 = div %8, %14 : f[48] {batch}\n"
                              "%16 = contract %15, %3 \"i,j->ij\" : f[48,48] {batch}\n"
                              "%17 = tanh %16 : f[48,48] {batch}\n"
                              "%18 = reduce sum %17 dims [1] : f[48] {batch}\n"
                              "%19 = reduce sum %18 dims [0] : f {batch}\n"
                              "%20 = sub %18, %19 : f[48] {batch}\n"
                              "output \"p\" %2\n"
                              "output \"n\" %20\n"
                              "output \"y\" %5\n"
                              "output \"z\" %8\n"
                              "output \"params/w\" %12\n";

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  CellGraph *g;
  CellModule *m;
  CellPlan *plan;
  CellTensor *inputs;
  int input_count;
  CellEngine *engine;
} Step;

static Step open_text(const char *text, CellPrecision precision, const char *cache) {
  Step s = {.arena = cell_arena_create(), .diag = cell_diag_create()};
  s.g = cell_test_parse(s.arena, text);
  s.m = CELL_NEW(s.arena, CellModule);
  s.m->arena = s.arena, s.m->name = "step";
  CELL_PUSH(s.arena, s.m->programs, s.m->program_count, s.m->program_capacity, s.g);
  s.inputs = cell_random_inputs(s.arena, s.g, 7, &s.input_count);
  // numbers that need all of a float's bits
  for (int i = 0; i < s.input_count; i++)
    for (int64_t k = 0; k < s.inputs[i].count; k++)
      s.inputs[i].data[k] = (double)(float)(0.7 * s.inputs[i].data[k]);
  const CellCudaArch *arch = cell_cuda_arch("sm_90");
  CellTarget target = cell_cuda_target(arch);
  s.plan = cell_plan_create(s.arena, s.m, &target, NULL, s.diag);
  assert_non_null(s.plan);
  CellEngineOptions options = {.cache_dir = cache, .gpu = arch, .precision = precision};
  s.engine = cell_engine_create(s.m, s.plan, CELL_BACKEND_CUDA, &options, s.diag);
  if (!s.engine) return s;
  for (int i = 0; i < s.input_count; i++) {
    bool state = strchr(s.inputs[i].name, '/') != NULL;
    assert_true(cell_engine_set(s.engine, state ? NULL : "step", s.inputs[i].name, s.inputs[i].data,
                                s.inputs[i].count));
  }
  return s;
}

static Step open_step(CellPrecision precision, const char *cache) {
  return open_text(program, precision, cache);
}

static void close_step(Step *s) {
  cell_engine_destroy(s->engine);
  cell_diag_destroy(s->diag);
  cell_arena_destroy(s->arena);
}

// the largest difference to the evaluator, over the largest entry of each output
static double distance(Step *s, CellTensor *inputs, CellTensor *after, const char *only) {
  CellTensor *expected = cell_test_eval(s->arena, s->g, inputs, s->input_count);
  double worst = 0;
  for (int o = 0; o < s->g->output_count; o++) {
    const CellTensor *e = &expected[o];
    double *data = CELL_NEW_ARRAY(s->arena, double, (size_t)e->count), largest = 0;
    const char *name = s->g->outputs[o].name;
    if (only && strcmp(name, only) != 0) continue;
    assert_true(
        cell_engine_get(s->engine, strchr(name, '/') ? NULL : "step", name, data, e->count));
    for (int64_t i = 0; i < e->count; i++) largest = fmax(largest, fabs(e->data[i]));
    for (int64_t i = 0; i < e->count; i++)
      worst = fmax(worst, fabs(data[i] - e->data[i]) / largest);
    if (after && strchr(name, '/')) *after = *e;
  }
  return worst;
}

// gradients, one of them of two values side by side, in tiles that are not full; their norm; what it scales
static const char clipped[] = "graph step\n"
                              "axis time 2\n"
                              "axis batch 70\n"
                              "axis candidate 2\n"
                              "%0 = input \"x\" : f[80] {batch}\n"
                              "%1 = input \"h\" : f[70] {batch}\n"
                              "%2 = input \"y\" : f[90] {batch}\n"
                              "%3 = input \"params/a\" : f[90,80] {}\n"
                              "%4 = input \"params/b\" : f[90,150] {}\n"
                              "%5 = input \"params/c\" : f[90] {}\n"
                              "%6 = contract %2, %0 \"i,j->ij\" over {batch} : f[90,80] {}\n"
                              "%7 = concat %0, %1 dim 0 : f[150] {batch}\n"
                              "%8 = contract %2, %7 \"i,j->ij\" over {batch} : f[90,150] {}\n"
                              "%9 = reduce sum %2 over {batch} : f[90] {}\n"
                              "%10 = contract %6, %6 \"ij,ij->\" : f {}\n"
                              "%11 = contract %8, %8 \"ij,ij->\" : f {}\n"
                              "%12 = contract %9, %9 \"i,i->\" : f {}\n"
                              "%13 = add %10, %11 : f {}\n"
                              "%14 = add %12, %13 : f {}\n"
                              "%15 = sqrt %14 : f {}\n"
                              "%16 = const 1 : f {}\n"
                              "%17 = max %15, %16 : f {}\n"
                              "%18 = div %16, %17 : f {}\n"
                              "%19 = mul %6, %18 : f[90,80] {}\n"
                              "%20 = sub %3, %19 : f[90,80] {}\n"
                              "%21 = mul %8, %18 : f[90,150] {}\n"
                              "%22 = sub %4, %21 : f[90,150] {}\n"
                              "%23 = mul %9, %18 : f[90] {}\n"
                              "%24 = sub %5, %23 : f[90] {}\n"
                              "output \"norm\" %15\n"
                              "output \"params/a\" %20\n"
                              "output \"params/b\" %22\n"
                              "output \"params/c\" %24\n";

static void run_good(Step *s) {
  bool good = s->engine && cell_engine_run(s->engine, "step", s->diag);
  if (!good) cell_diag_print(s->diag, stdout, false);
  assert_true(good);
}

// the products leave the squares of their tiles, and every block of the last launch folds them: two launches
static void norms(void **state) {
  (void)state;
  for (int precision = CELL_FP32; precision <= CELL_BF16; precision++) {
    Step s = open_text(clipped, (CellPrecision)precision, "");
    const CellPlanProgram *p = &s.plan->programs[0];
    assert_int_equal(p->launches[p->launch_count - 1].stage, 1);
    run_good(&s);
    assert_true(distance(&s, s.inputs, NULL, NULL) < (precision == CELL_FP32 ? 1e-5 : 2e-2));
    close_step(&s);
  }
}

static void states_stay(void **state) {
  (void)state;
  Step s = open_step(CELL_FP32, "");
  CellTensor inputs[4], after = {0};
  assert_int_equal(s.input_count, 2);
  for (int i = 0; i < s.input_count; i++) inputs[i] = s.inputs[i];
  // three runs on what the one before left, without the host in between
  for (int r = 0; r < 3; r++) {
    run_good(&s);
    assert_true(distance(&s, inputs, &after, NULL) < 1e-4);
    for (int i = 0; i < s.input_count; i++)
      if (strchr(inputs[i].name, '/')) inputs[i].data = after.data;
  }
  // and from what the host sets
  double *w = CELL_NEW_ARRAY(s.arena, double, (size_t)after.count);
  for (int64_t i = 0; i < after.count; i++) w[i] = (double)(float)after.data[i];
  assert_true(cell_engine_set(s.engine, NULL, "params/w", w, after.count));
  for (int i = 0; i < s.input_count; i++)
    if (strchr(inputs[i].name, '/')) inputs[i].data = w;
  run_good(&s);
  assert_true(distance(&s, inputs, NULL, NULL) < 1e-4);
  close_step(&s);
}

static void precisions(void **state) {
  (void)state;
  static const double least[] = {0, 1e-5, 1e-4}, most[] = {1e-6, 1e-3, 1e-2};
  for (int p = CELL_FP32; p <= CELL_BF16; p++) {
    Step s = open_step((CellPrecision)p, "");
    run_good(&s);
    double off = distance(&s, s.inputs, NULL, "p");
    print_message("precision %d: off by %.1e of the largest entry\n", p, off);
    assert_true(off >= least[p] && off <= most[p]);
    close_step(&s);
  }
}

// Bits that select: more steps than are listed at once, with a last word that is not full (p, and g the other
// way round), in tiles that are not full.
static const char selecting[] = "graph step\n"
                                "axis batch 70\n"
                                "%0 = input \"x\" : bits[600] {batch}\n"
                                "%1 = input \"params/w\" : f[600,72] {}\n"
                                "%2 = contract %1, %0 \"ji,j->i\" : f[72] {batch}\n"
                                "%3 = tanh %2 : f[72] {batch}\n"
                                "%4 = contract %0, %3 \"j,i->ji\" over {batch} : f[600,72] {}\n"
                                "output \"p\" %2\n"
                                "output \"g\" %4\n";

static void set_bits(Step *s, double density) {
  uint64_t stream = 11;
  for (int i = 0; i < s->input_count; i++) {
    CellTensor *t = &s->inputs[i];
    if (strchr(t->name, '/')) continue;
    for (int64_t e = 0; e < t->count; e++)
      t->data[e] = (double)(cell_random_bits(&stream) >> 11) * 0x1p-53 < density;
    assert_true(cell_engine_set(s->engine, "step", t->name, t->data, t->count));
  }
}

static void bits_select(void **state) {
  (void)state;
  static const double densities[] = {0, 0.02, 0.3, 1}, most[] = {1e-5, 5e-3, 5e-2};
  double words[4];
  for (int p = CELL_FP32; p <= CELL_BF16 + 1; p++) {
    // once more with bits that are taken one by one, as where rows begin inside of words
    bool single = p > CELL_BF16;
    CellPrecision precision = single ? CELL_FP32 : (CellPrecision)p;
    if (single)
      setenv("CELLC_FAKE_CUDA_EDIT", "s/CellBitOperand<(true|false), 32/CellBitOperand<\\1, 1/", 1);
    Step s = open_text(selecting, precision, "");
    unsetenv("CELLC_FAKE_CUDA_EDIT");
    CellEngineOptions options = {
        .cache_dir = "", .gpu = cell_cuda_arch("sm_90"), .precision = precision};
    CellText text = {0};
    assert_true(cell_emit(s.plan, "cuda", &options, &text, s.diag));
    bool selects = strstr(text.data, "sum.select(CellBitOperand<true, 32") != NULL &&
                   strstr(text.data, "sum.select(CellBitOperand<false, 32") != NULL;
    assert_true(selects == (precision == CELL_FP32));
    cell_text_free(&text);
    for (size_t d = 0; d < sizeof densities / sizeof *densities; d++) {
      set_bits(&s, densities[d]);
      run_good(&s);
      double off = distance(&s, s.inputs, NULL, NULL);
      print_message("precision %d, density %g: off by %.1e of the largest entry\n", (int)precision,
                    densities[d], off);
      assert_true(off <= most[precision]);
      if (p == CELL_FP32) words[d] = off;
      if (single) assert_true(off == words[d]);
    }
    close_step(&s);
  }
}

static int count_lines(const char *path, const char *first, char *all, size_t size) {
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  char text[256];
  int count = 0;
  all[0] = 0;
  while (fgets(text, sizeof text, f)) {
    if (strncmp(text, first, strlen(first)) != 0) continue;
    count++;
    strncat(all, text, size - strlen(all) - 1);
  }
  fclose(f);
  return count;
}

static void one_graph(void **state) {
  (void)state;
  char path[256], first[4096], all[16384];
  snprintf(path, sizeof path, "%s/log", folder());
  setenv("CELLC_FAKE_CUDA_LOG", path, 1);
  Step s = open_step(CELL_FP32, "");
  run_good(&s);
  int launches = count_lines(path, "run", first, sizeof first);
  assert_true(launches >= 3 && launches <= 6);
  run_good(&s);
  run_good(&s);
  // captured once, launched as a whole, always in the same order
  assert_int_equal(count_lines(path, "instantiate", all, sizeof all), 1);
  assert_int_equal(count_lines(path, "graph", all, sizeof all), 3);
  assert_int_equal(count_lines(path, "run", all, sizeof all), 3 * launches);
  for (int r = 0; r < 3; r++)
    assert_memory_equal(all + (size_t)r * strlen(first), first, strlen(first));
  close_step(&s);
  unsetenv("CELLC_FAKE_CUDA_LOG");
}

// ---- faults on purpose ----

// `otherwise`: what is as good, where the host's compiler decides which fault shows first; NULL: nothing
static void fault_is_found(const char *edit, const char *says, const char *otherwise) {
  void *fake = dlopen(getenv("CELLC_CUDA_DRIVER"), RTLD_NOW);
  assert_non_null(fake);
  const char *(*message)(void);
  void *symbol = dlsym(fake, "fake_cuda_message");
  memcpy(&message, &symbol, sizeof message);
  setenv("CELLC_FAKE_CUDA_EDIT", edit, 1);
  Step s = open_step(CELL_FP32, "");
  assert_non_null(s.engine);
  bool good = cell_engine_run(s.engine, "step", s.diag);
  unsetenv("CELLC_FAKE_CUDA_EDIT");
  if (good) fail_msg("nobody noticed: %s", edit);
  bool found = strstr(message(), says) || (otherwise && strstr(message(), otherwise));
  if (!found) fail_msg("%s: says \"%s\"", edit, message());
  close_step(&s);
}

static void faults(void **state) {
  (void)state;
  // a barrier left out: between sweeps, and between a product's slices
  fault_is_found("s/^( *)cell_barrier\\(\\);$/\\1/", "between barriers", NULL);
  fault_is_found("s/cell_barrier\\(\\); .. the slice is there.*/;/", "memory", NULL);
  // a wait left out
  fault_is_found("s/cell_copy_wait<CELL_STAGES - 2>\\(\\);/;/", "a copy is under way", NULL);
  // an index off by one: a store, a load, a copy
  fault_is_found("s/Index at = base \\+ m/Index at = 1 + base + m/", "entries", NULL);
  fault_is_found("s/base \\+ row \\* rs \\+ \\(k0 \\+ kk\\)/1 + base + row * rs + (k0 + kk)/", "16",
                 NULL);
  fault_is_found("s/ = s([0-9]+)\\[v([0-9]+)\\]/ = s\\1[v\\2 + 1]/", "word", "entries");
  // a race: every thread stores what one should
  fault_is_found("s/if \\(cell_(thread|lane)\\(\\) == 0\\) //", "touch one word", NULL);
  // a thread that does not come, or leaves too early
  fault_is_found("s/^( +)cell_barrier\\(\\);$/if (cell_thread() == 77) return; cell_barrier();/",
                 "waits", NULL);
  fault_is_found("s/^ +cell_copy_commit\\(\\);/if (cell_thread() == 77) return;/",
                 "leaves with copies", NULL);
}

// ---- what is missing ----

static void says(const char *is, const char *text, bool at_run) {
  setenv("CELLC_FAKE_CUDA", is, 1);
  Step s = open_step(CELL_FP32, "");
  bool good = s.engine != NULL;
  assert_int_equal(good, at_run);
  if (good) assert_false(cell_engine_run(s.engine, "step", s.diag));
  unsetenv("CELLC_FAKE_CUDA");
  assert_true(s.diag->error_count > 0);
  const char *message = s.diag->records[0].message;
  if (!strstr(message, text)) fail_msg("%s: says \"%s\"", is, message);
  close_step(&s);
}

static void clear_errors(void **state) {
  (void)state;
  says("none", "the driver sees no GPU", false);
  says("old", "is of sm_70: code for sm_90 does not run on it", false);
  says("small", "out of memory", false);
  says("narrow", "bytes of shared memory", false);
  says("broken", "broken on purpose", false);
  says("lost", "launch failure", true);
  says("dated", "driver version is insufficient", false);

  const char *nvrtc = getenv("CELLC_NVRTC");
  setenv("CELLC_NVRTC", "/nowhere/libnvrtc.so", 1);
  Step s = open_step(CELL_FP32, "");
  assert_null(s.engine);
  assert_non_null(
      strstr(s.diag->records[0].message, "could not open NVRTC at /nowhere/libnvrtc.so"));
  assert_string_equal(s.diag->records[0].code, CELL_E_NVRTC);
  setenv("CELLC_NVRTC", getenv("CELLC_CUDA_DRIVER"), 1);
  close_step(&s);
  (void)nvrtc;
}

// what was on a device that is lost cannot be read, also not as the host had it before
static void lost_states(void **state) {
  (void)state;
  Step s = open_step(CELL_FP32, "");
  double *w = CELL_NEW_ARRAY(s.arena, double, 48 * 80);
  run_good(&s);
  assert_true(cell_engine_get(s.engine, NULL, "params/w", w, 48 * 80));
  run_good(&s);
  assert_false(cell_engine_lost(s.engine));
  setenv("CELLC_FAKE_CUDA_LOST", "0", 1);
  assert_false(cell_engine_run(s.engine, "step", s.diag));
  assert_true(cell_engine_lost(s.engine));
  assert_string_equal(s.diag->records[0].code, CELL_E_DRIVER);
  assert_non_null(strstr(s.diag->records[0].help, "lost to this process"));
  assert_false(cell_engine_get(s.engine, NULL, "params/w", w, 48 * 80));
  assert_false(cell_engine_set(s.engine, NULL, "params/w", w, 48 * 80));
  unsetenv("CELLC_FAKE_CUDA_LOST");
  close_step(&s);
}

// each launch by itself: as many as in the graph, the same results
static void launch_times(void **state) {
  (void)state;
  char path[256], all[16384];
  snprintf(path, sizeof path, "%s/times", folder());
  setenv("CELLC_FAKE_CUDA_LOG", path, 1);
  Step s = open_step(CELL_FP32, "");
  CellGpuTime *times;
  int count = cell_engine_gpu_times(s.engine, "step", 1, &times, s.diag);
  unsetenv("CELLC_FAKE_CUDA_LOG");
  assert_int_equal(count, count_lines(path, "run", all, sizeof all));
  assert_int_equal(count_lines(path, "graph", all, sizeof all), 0);
  for (int i = 0; i < count; i++) {
    assert_true(times[i].seconds > 0 && times[i].seconds < 60);
    assert_true(times[i].predicted > 0 && times[i].predicted < 1e-3);
    assert_true(times[i].blocks > 0);
    assert_non_null(strstr(times[i].kernel, "step_"));
  }
  free(times);
  // the run was one like any other
  assert_true(distance(&s, s.inputs, NULL, NULL) < 1e-4);
  assert_int_equal(cell_engine_gpu_times(s.engine, "nothing", 1, &times, s.diag), 0);
  close_step(&s);
}

// ---- the cache ----

static int entries(void) {
  char command[256];
  snprintf(command, sizeof command, "ls %s/cache 2>/dev/null | wc -l", folder());
  FILE *f = popen(command, "r");
  int count = 0;
  assert_int_equal(fscanf(f, "%d", &count), 1);
  pclose(f);
  return count;
}

static void cached(void **state) {
  (void)state;
  char cache[256], command[1024];
  snprintf(cache, sizeof cache, "%s/cache", folder());
  Step s = open_step(CELL_FP32, cache);
  run_good(&s);
  double off = distance(&s, s.inputs, NULL, NULL);
  close_step(&s);
  int count = entries();
  assert_true(count > 0);
  // whole, cut short, empty, changed, another kernel's: the same result
  static const char *const spoil[] = {"true", "truncate -s -5 $f", "truncate -s 0 $f",
                                      "printf x | dd of=$f bs=1 seek=80 conv=notrunc 2>/dev/null",
                                      "cp \"$(ls -d %s/* | head -1)\" $f 2>/dev/null; true"};
  for (size_t i = 0; i < sizeof spoil / sizeof *spoil; i++) {
    char each[400];
    snprintf(each, sizeof each,
             i == 4 ? "cp \"$(ls -d %s/* | head -1)\" $f 2>/dev/null; true" : "%s",
             i == 4 ? cache : spoil[i]);
    snprintf(command, sizeof command, "for f in %s/*; do %s; done", cache, each);
    assert_int_equal(system(command), 0);
    s = open_step(CELL_FP32, cache);
    run_good(&s);
    assert_true(distance(&s, s.inputs, NULL, NULL) == off);
    close_step(&s);
    assert_int_equal(entries(), count);
  }
  // a folder that cannot be written is no error, and is said once
  s = open_step(CELL_FP32, "/proc/nothing");
  run_good(&s);
  assert_int_equal(s.diag->warning_count, 1);
  assert_non_null(strstr(s.diag->records[0].message, "cannot be kept in `/proc/nothing`"));
  close_step(&s);
}

int main(void) {
  setenv("CELLC_CUDA_DRIVER", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  setenv("CELLC_NVRTC", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(norms),        cmocka_unit_test(states_stay),
                                     cmocka_unit_test(precisions),   cmocka_unit_test(bits_select),
                                     cmocka_unit_test(one_graph),    cmocka_unit_test(faults),
                                     cmocka_unit_test(clear_errors), cmocka_unit_test(lost_states),
                                     cmocka_unit_test(launch_times), cmocka_unit_test(cached)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
