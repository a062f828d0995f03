/* test_cuda_examples.c - every example, its sizes cut down, on a GPU of fibers (tests/fake_cuda) against the
 * graph's evaluator: acting, an update, the target copy. CELLC_FILE runs one alone; under sanitizers that is
 * one with attention. CELLC_LONG goes on with a second update.
 *
 * All networks are opened before the first runs, so that the C++ compiler is called once. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/bench.h"
#include "runtime/files.h"
#include "runtime/init.h"
#include "runtime/network.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MOST = 32 };

typedef struct {
  const char *name;
  CellNetwork *exact, *gpu;
} Pair;

static CellNetwork *open_network(const char *path, CellBackend backend, const char *text,
                                 size_t length, CellDiag *diag) {
  static const char *const sets[] = {"train.batch=3", "train.context=2", NULL};
  CellNetworkOptions o = {
      .name = path,
      .text = text,
      .length = length,
      .spec = {.variant = "small", .sets = (const char **)(uintptr_t)sets, .set_count = 2},
      .shapes = {.obs_rank = 3, .obs_shape = {5, 5, 2}, .obs_bits = true, .actions = 3},
      .backend = backend,
      .engine = {.cache_dir = "", .gpu = cell_cuda_arch("sm_90")},
      .envs = 2,
      .learn = true};
  CellNetwork *n = cell_network_open(&o, diag);
  if (!n) {
    cell_diag_print(diag, stdout, false);
    fail_msg("%s does not open", path);
  }
  cell_network_init(n, 3, false);
  cell_bench_fill(n, 0.3, 5);
  return n;
}

// a tensor of both, within a bound of its largest entry
static void same(const Pair *p, const char *program, const char *name, int64_t count,
                 double bound) {
  double *a = cell_malloc((size_t)count * 2 * sizeof *a), *b = a + count, largest = 1e-6;
  bool there = cell_engine_get(p->exact->engine, program, name, a, count);
  assert_int_equal(there, cell_engine_get(p->gpu->engine, program, name, b, count));
  for (int64_t i = 0; i < count && there; i++) largest = fmax(largest, fabs(a[i]));
  for (int64_t i = 0; i < count && there; i++)
    if (!(fabs(a[i] - b[i]) <= bound * largest) && !(isinf(a[i]) && a[i] == b[i]))
      fail_msg("%s: %s[%lld] is %.9g, not %.9g", p->name, name, (long long)i, b[i], a[i]);
  free(a);
}

static void compare(const Pair *p, const char *program) {
  const CellModule *m = p->exact->module;
  const CellGraph *g = cell_program(m, program);
  for (int i = 0; i < g->output_count; i++) {
    const char *name = g->outputs[i].name;
    if (strncmp(name, "params/", 7) == 0 || strncmp(name, "target/", 7) == 0 ||
        strncmp(name, "moment", 6) == 0)
      continue;
    int64_t count = cell_count(g, g->outputs[i].value) *
                    cell_extent(g, cell_node(g, g->outputs[i].value)->axes);
    same(p, program, name, count, 1e-4);
  }
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *param = &m->params[i];
    int64_t count = cell_param_count(param);
    double *a = cell_malloc((size_t)count * 2 * sizeof *a), *b = a + count;
    static const char *const kinds[] = {"params/", "target/", "moment1/"};
    for (int k = 0; k < 3; k++) {
      bool there = cell_engine_param_get(p->exact->engine, NULL, kinds[k], param, a, count);
      assert_int_equal(there,
                       cell_engine_param_get(p->gpu->engine, NULL, kinds[k], param, b, count));
      double largest = 1e-7;
      for (int64_t j = 0; j < count && there; j++) largest = fmax(largest, fabs(a[j]));
      // Adam's steps have the size of the learning rate, whatever the gradient's
      double bound = (k < 2 ? 5e-3 : 1e-3) * largest;
      for (int64_t j = 0; j < count && there; j++)
        if (!(fabs(a[j] - b[j]) <= bound))
          fail_msg("%s: %s%s[%lld] is %.9g, not %.9g behind %s", p->name, kinds[k], param->name,
                   (long long)j, b[j], a[j], program);
    }
    free(a);
  }
}

static void check(const Pair *p) {
  static const char *const order[] = {"act", "update", "sync", "update", "act"};
  int count = getenv("CELLC_LONG") ? 5 : 3;
  CellDiag *diag = cell_diag_create();
  for (int i = 0; i < count; i++) {
    if (!cell_program(p->exact->module, order[i])) continue;
    bool good = cell_engine_run(p->exact->engine, order[i], diag) &&
                cell_engine_run(p->gpu->engine, order[i], diag);
    if (!good) cell_diag_print(diag, stdout, false);
    if (!good) fail_msg("%s: %s does not run", p->name, order[i]);
    compare(p, order[i]);
  }
  cell_diag_destroy(diag);
  print_message("%s\n", p->name);
}

static void examples(void **state) {
  (void)state;
  struct dirent **entries;
  const char *only = getenv("CELLC_FILE");
  if (!only && getenv("CELLC_SANITIZED")) only = "arq.cell";
  int count = scandir(CELLC_SOURCE_DIR "/examples", &entries, NULL, alphasort), pairs = 0;
  static Pair pair[MOST];
  static char paths[MOST][512];
  assert_true(count > 0);
  CellDiag *diag = cell_diag_create();
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name, *end = strrchr(name, '.');
    if (end && strcmp(end, ".cell") == 0 && pairs < MOST && (!only || strstr(name, only))) {
      snprintf(paths[pairs], sizeof paths[pairs], "%s/examples/%.200s", CELLC_SOURCE_DIR, name);
      size_t length;
      char *text = cell_read_file(paths[pairs], 1 << 20, &length, diag);
      assert_non_null(text);
      Pair *p = &pair[pairs];
      p->name = paths[pairs++];
      p->exact = open_network(p->name, CELL_BACKEND_INTERP, text, length, diag);
      p->gpu = open_network(p->name, CELL_BACKEND_CUDA, text, length, diag);
      free(text);
    }
    free(entries[i]);
  }
  free(entries);
  cell_diag_destroy(diag);
  assert_true(pairs > 0);
  for (int i = 0; i < pairs; i++) check(&pair[i]);
  for (int i = 0; i < pairs; i++) {
    cell_network_close(pair[i].exact);
    cell_network_close(pair[i].gpu);
  }
}

int main(void) {
  setenv("CELLC_CUDA_DRIVER", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  setenv("CELLC_NVRTC", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(examples)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
