/* cellc bench and what info and emit say of rewrites, from outside: the form of --json, and what bad
 * input gets. What is measured is of no matter here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/program.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TINY SMALL_NETWORK "--env minatar/breakout "
#define SHORT "--seconds 0.01 --warm-up 0 --threads 1 "

static json_t *document(const char *arguments) {
  CellText line = {0}, output = {0};
  cell_text_printf(&line, "cellc %s 2>/dev/null", arguments);
  int code = shell(line.data, &output);
  json_t *root = json_loads(output.data, 0, NULL);
  if (code != 0 || !root)
    fail_msg("cellc %s: code %d, and no JSON:\n%.2000s", arguments, code, output.data);
  cell_text_free(&line);
  cell_text_free(&output);
  return root;
}

// a number at "a/b/0/c", which must be there
static double number(json_t *root, const char *path) {
  char copy[128];
  snprintf(copy, sizeof copy, "%s", path);
  json_t *at = root;
  for (char *name = strtok(copy, "/"); name && at; name = strtok(NULL, "/"))
    at = json_is_array(at) ? json_array_get(at, (size_t)strtol(name, NULL, 10))
                           : json_object_get(at, name);
  if (!json_is_number(at)) fail_msg("no number at %s", path);
  return json_number_value(at);
}

static void check_kind(json_t *root, const char *program) {
  assert_string_equal(json_string_value(json_object_get(root, "schema")), "cellc.bench.1");
  assert_string_equal(json_string_value(json_object_get(root, "program")), program);
}

static void check_spread(json_t *root, const char *at) {
  char path[64];
  double last = 0;
  static const char *const names[] = {"least", "quarter", "median", "three_quarters"};
  for (int i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "%s/%s", at, names[i]);
    double value = number(root, path);
    assert_true(value > 0 && value >= last);
    last = value;
  }
  snprintf(path, sizeof path, "%s/repeats", at);
  assert_true(number(root, path) >= 1);
}

static void test_errors(void **state) {
  (void)state;
  expect("bench", 2, "something is missing");
  expect("bench nothing", 2, "there is no bench `nothing`");
  expect("bench update", 2, "a network is missing");
  expect("bench compile", 2, "a network is missing");
  expect("bench env", 2, "an environment is missing");
  expect("bench env minatar/breakot", 2, "did you mean `minatar/breakout`?");
  expect("bench sgemm " TINY, 2, "`sgemm` takes no");
  expect("bench run '" CELLC_SOURCE_DIR "/examples/arq.cell'", 2, "an environment is missing");
  expect("bench update " TINY "--density 2", 2, "`--density 2`");
  expect("bench act " TINY "--envs 0", 2, "`--envs 0` is no number from 1 to 4096");
  expect("bench compile " TINY "--repeat 0", 2, "`--repeat 0`");
  expect("bench run " TINY "--steps none", 2, "`--steps none`");
  expect("bench run " TINY "--warm-up-steps 0", 2, "`--warm-up-steps 0`");
  expect("bench update nofile.cell --env minatar/breakout", 1, "nofile.cell");
  expect("bench compile " TINY "--set train.batch=0 --repeat 1", 1, "batch");
  expect("emit " TINY "--stage grad --disable nothing", 1, "there is no optional pass or rule");
  // also where no pass runs
  expect("emit " TINY "--stage ir --disable unit-reshape,nothing", 1, "rule `nothing`");
  expect("emit " TINY "--stage ast --disable nothing", 1, "there is no optional pass or rule");
  expect("emit " TINY "--stage ir --stop-after nothing", 1, "there is no pass `nothing`");
  expect("emit " TINY "--stage grad --disable gradient", 1, "there is no optional pass or rule");
}

static void test_env(void **state) {
  (void)state;
  json_t *root = document("bench env minatar/breakout --seconds 0.05 --warm-up 0 --json");
  check_kind(root, "env");
  check_spread(root, "seconds");
  double rate = number(root, "steps_per_second");
  assert_true(rate * number(root, "seconds/median") > 0.999);
  json_decref(root);
  expect("bench env minatar/asterix --seconds 0.05 --warm-up 0", 0, "steps a second on one core");
  expect("bench env classic/acrobot --seconds 0.02 --warm-up 0", 0, "steps a second on one core");
  // a simulation has to be opened, where there is one
  CellText output = {0};
  int code = run("bench env dmc/walker-walk --seconds 0.02 --warm-up 0", &output);
  assert_true(code == 0 || code == 3);
  cell_text_free(&output);
}

static void test_interpreted(void **state) {
  (void)state;
  json_t *root = document("bench update " TINY SHORT "--backend interp-kernels --json");
  check_kind(root, "update");
  check_spread(root, "seconds");
  assert_true(json_is_null(json_object_get(root, "roofline")));
  assert_true(json_array_size(json_object_get(root, "launches")) > 0);
  json_decref(root);
}

static void test_roofline(void **state) {
  (void)state;
  json_t *root = document("bench update " TINY SHORT "--json");
  check_kind(root, "update");
  check_spread(root, "seconds");
  double sum = 0, share = number(root, "roofline/share");
  json_t *launches = json_object_get(root, "launches");
  for (size_t i = 0; i < json_array_size(launches); i++) {
    json_t *launch = json_array_get(launches, i);
    double arithmetic = number(launch, "roofline/arithmetic_seconds"),
           traffic = number(launch, "roofline/traffic_seconds"),
           seconds = number(launch, "seconds"), limit = arithmetic > traffic ? arithmetic : traffic;
    assert_true(number(launch, "roofline/instructions") >= 0);
    assert_true(number(launch, "roofline/bytes") >= 0);
    sum += limit < seconds ? limit : seconds;
  }
  // the update's share is the sum of the launches' limits over its time
  assert_true(share > 0);
  assert_float_equal(sum, number(root, "roofline/seconds"), 1e-9);
  assert_float_equal(sum / number(root, "seconds/median"), share, 1e-6);
  json_decref(root);
  expect("bench act " TINY SHORT "--envs 3", 0, "roofline: ");
}

static void test_compile(void **state) {
  (void)state;
  json_t *root = document("bench compile " TINY "--repeat 1 --threads 1 --json");
  check_kind(root, "compile");
  static const char *const sides[] = {"cold", "warm"};
  static const char *const phases[] = {"text",       "passes", "plan", "engine",
                                       "parameters", "update", "total"};
  for (int s = 0; s < 2; s++) {
    double sum = 0;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
      char path[64];
      snprintf(path, sizeof path, "%s/%s", sides[s], phases[i]);
      double value = number(root, path);
      assert_true(value > 0);
      if (i + 1 < sizeof phases / sizeof *phases)
        sum += value;
      else // what lies between the phases is little
        assert_true(value >= 0.9 * sum && value <= 1.5 * sum + 0.05);
    }
  }
  // the second finds what the first left
  assert_true(number(root, "warm/engine") < number(root, "cold/engine"));
  json_decref(root);
}

static void test_run(void **state) {
  (void)state;
  json_t *root = document("bench run " TINY "--steps 40 --warm-up-steps 30 --set train.steps=1000 "
                          "--set train.warmup=100 --backend interp --json");
  check_kind(root, "run");
  double seconds =
      number(root, "warmup_seconds") / 30 * 100 + number(root, "train_seconds") / 40 * 900;
  assert_float_equal(number(root, "hours") * 3600, seconds, 1e-6 * seconds);
  assert_true(number(root, "updates") == 9); // multiples of 4 in 101 to 139
  // the oldest ones' contexts must be whole too
  assert_true(number(root, "replay_filled") == 100);
  json_decref(root);
}

static void test_rewrites(void **state) {
  (void)state;
  json_t *root = document("info " TINY "--no-measure --rewrites --json");
  json_t *kernels = json_object_get(root, "kernels"), *rewrites = json_object_get(root, "rewrites");
  assert_true(json_array_size(kernels) > 1);
  // some kernel waits for another one, which is in the list
  bool found = false;
  for (size_t i = 0; i < json_array_size(kernels); i++) {
    json_t *after = json_object_get(json_array_get(kernels, i), "after");
    for (size_t k = 0; k < json_array_size(after); k++) {
      const char *maker = json_string_value(json_object_get(json_array_get(after, k), "kernel"));
      for (size_t j = 0; j < json_array_size(kernels); j++)
        found |=
            strcmp(maker,
                   json_string_value(json_object_get(json_array_get(kernels, j), "kernel"))) == 0;
    }
  }
  assert_true(found);
  // the cut of parameters saves products here
  bool parts = false;
  for (size_t i = 0; i < json_array_size(rewrites); i++) {
    json_t *r = json_array_get(rewrites, i);
    if (strcmp(json_string_value(json_object_get(r, "rewrite")), "parts") == 0)
      parts = number(r, "contract_flops") > 0;
  }
  assert_true(parts);
  json_decref(root);

  // leaving out a rule changes the graph, leaving out none of them does not
  CellText with = {0}, without = {0};
  assert_int_equal(run("emit " TINY "--stage grad --program update", &with), 0);
  assert_int_equal(
      run("emit " TINY "--stage grad --program update --disable unit-reshape", &without), 0);
  assert_string_not_equal(with.data, without.data);
  cell_text_free(&with);
  cell_text_free(&without);
}

int main(void) {
  setenv("XDG_CACHE_HOME", "/tmp/cellc-test-bench", 1);
  const struct CMUnitTest compiled[] = {cmocka_unit_test(test_roofline),
                                        cmocka_unit_test(test_compile)};
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_env),
                                     cmocka_unit_test(test_interpreted), cmocka_unit_test(test_run),
                                     cmocka_unit_test(test_rewrites)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  // compiling takes long under sanitizers, and times mean nothing there
  if (!getenv("CELLC_SANITIZED")) failed += cmocka_run_group_tests(compiled, NULL, NULL);
  return failed;
}
