/* from a .cell file to an agent that learns, with the interpreter */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/evaluate.h"
#include "runtime/files.h"
#include "runtime/init.h"
#include "runtime/network.h"
#include "runtime/trainer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const sets[] = {"l1.n=5",           "l2.n=4",          "l3.n=3",
                                   "l1.heads=2",       "l2.heads=2",      "l3.heads=2",
                                   "train.batch=4",    "train.steps=120", "train.warmup=40",
                                   "train.replay=100", "train.context=3", "train.target_every=50"};
enum { SETS = sizeof sets / sizeof *sets };

typedef struct {
  CellDiag *diag;
  char *text;
  CellNetwork *network;
  const CellEnvKind *env;
} Case;

static Case open_case(const char *file, CellBackend backend, int sets_used, int envs, bool learn) {
  Case c = {.diag = cell_diag_create(), .env = cell_env_find("minatar/breakout", NULL)};
  char path[512];
  snprintf(path, sizeof path, "%s/examples/%s", CELLC_SOURCE_DIR, file);
  size_t length;
  c.text = cell_read_file(path, 1 << 20, &length, c.diag);
  assert_non_null(c.text);
  CellNetworkOptions options = {.name = file,
                                .text = c.text,
                                .length = length,
                                .spec = {.sets = sets, .set_count = sets_used},
                                .shapes = cell_env_shapes(c.env),
                                .backend = backend,
                                .engine = {.threads = 1},
                                .envs = envs,
                                .learn = learn,
                                .cell_values = !learn};
  c.network = cell_network_open(&options, c.diag);
  if (!c.network) cell_diag_print(c.diag, stderr, false);
  assert_non_null(c.network);
  return c;
}

static void close_case(Case *c) {
  cell_network_close(c->network);
  cell_diag_destroy(c->diag);
  free(c->text);
}

static double *get(Case *c, const char *prefix, int param) {
  const CellParam *p = &c->network->module->params[param];
  int64_t count = cell_param_count(p);
  double *values = calloc((size_t)count, sizeof *values);
  assert_true(cell_engine_param_get(c->network->engine, NULL, prefix, p, values, count));
  return values;
}

static double distance(Case *a, const char *prefix_a, Case *b, const char *prefix_b) {
  double sum = 0;
  for (int i = 0; i < a->network->module->param_count; i++) {
    double *x = get(a, prefix_a, i), *y = get(b, prefix_b, i);
    for (int64_t k = 0; k < cell_param_count(&a->network->module->params[i]); k++) {
      sum += (x[k] - y[k]) * (x[k] - y[k]);
    }
    free(x);
    free(y);
  }
  return sum;
}

// trains the case; checks on the way that the target is copied when it should be
static void train(Case *c, uint64_t seed) {
  const CellTrain *settings = cell_spec_train(c->network->spec);
  cell_network_init(c->network, seed, settings->init_shared);
  assert_true(distance(c, "params/", c, "target/") == 0);
  CellTrainerOptions options = {
      .train = *settings, .seed = seed, .env = c->env, .agent = &c->network->agent};
  CellTrainer *trainer = cell_trainer_create(&options, c->diag);
  assert_non_null(trainer);
  while (trainer->step < settings->steps) {
    assert_int_equal(cell_trainer_step(trainer, c->diag), CELL_TRAIN_OK);
    int64_t index = trainer->step - 1;
    // copies at 50 and 100, updates at 44, 48, ...
    if (index == 50 || index == 100) assert_true(distance(c, "params/", c, "target/") == 0);
    if (index == 48 || index == 52) assert_true(distance(c, "params/", c, "target/") > 0);
  }
  assert_int_equal(trainer->updates, 19);
  assert_int_equal(trainer->copies, 2);
  cell_trainer_destroy(trainer);
}

static void test_a_run_is_a_function_of_its_seed(void **state) {
  (void)state;
  Case a = open_case("arq.cell", CELL_BACKEND_INTERP, SETS, 1, true);
  Case b = open_case("arq.cell", CELL_BACKEND_INTERP, SETS, 1, true);
  train(&a, 0);
  train(&b, 0);
  assert_true(distance(&a, "params/", &b, "params/") == 0);
  // the second run of an engine begins afresh
  train(&b, 1);
  assert_true(distance(&a, "params/", &b, "params/") > 0);
  train(&b, 0);
  assert_true(distance(&a, "params/", &b, "params/") == 0);
  assert_true(distance(&a, "moment2/", &b, "moment2/") == 0);
  close_case(&a);
  close_case(&b);
}

static void test_saving_and_loading(void **state) {
  (void)state;
  char path[] = "/tmp/cellc-test-network-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  close(file);
  Case a = open_case("arq.cell", CELL_BACKEND_INTERP, SETS, 1, true);
  train(&a, 3);
  bool finite;
  const char *const metadata[] = {"step", "120", NULL};
  assert_true(cell_network_save(a.network, path, metadata, &finite, a.diag));
  // the acting network alone, six environments at once
  Case b = open_case("arq.cell", CELL_BACKEND_INTERP, SETS, 6, false);
  assert_true(cell_network_load(b.network, path, b.diag));
  double *x = get(&a, "params/", 0), *y = get(&b, "params/", 0);
  for (int64_t i = 0; i < cell_param_count(&a.network->module->params[0]); i++) {
    assert_true((float)x[i] == (float)y[i]);
  }
  free(x);
  free(y);
  CellPlayOptions options = {.agent = &b.network->agent, .env = b.env, .cell = -1};
  CellEvaluationResult policy, cell;
  assert_true(cell_evaluate_policy(&options, 8, &policy, b.diag));
  options.cell = 2;
  assert_true(cell_evaluate_policy(&options, 8, &cell, b.diag));
  assert_string_equal(b.network->agent.cells[2], "l3");
  cell_evaluation_free(&policy);
  cell_evaluation_free(&cell);
  // other widths: refused, with a name
  Case c = open_case("arq.cell", CELL_BACKEND_INTERP, SETS - 12 + 1, 1, false);
  assert_false(cell_network_load(c.network, path, c.diag));
  assert_non_null(strstr(c.diag->records[0].message, "params/"));
  close_case(&a);
  close_case(&b);
  close_case(&c);
  unlink(path);
}

// what is not finite is not saved
static void test_a_parameter_that_is_not_finite(void **state) {
  (void)state;
  Case a = open_case("arq.cell", CELL_BACKEND_INTERP, SETS, 1, true);
  cell_network_init(a.network, 0, true);
  double *values = get(&a, "params/", 0);
  values[1] = 1.0 / 0.0;
  const CellParam *p = &a.network->module->params[0];
  assert_true(cell_engine_param_set(a.network->engine, "params/", p, values, cell_param_count(p)));
  bool finite;
  assert_false(cell_network_save(a.network, "/nowhere/params", NULL, &finite, a.diag));
  assert_false(finite);
  assert_int_equal(a.diag->error_count, 0);
  free(values);
  close_case(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_run_is_a_function_of_its_seed),
      cmocka_unit_test(test_saving_and_loading),
      cmocka_unit_test(test_a_parameter_that_is_not_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
