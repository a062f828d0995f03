/* train, eval, plot, bench and info from outside: exit codes, signals, what bad input gets */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/run_folder.h"
#include "tests/support/program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// a network that the interpreter trains in a second
#define TINY SMALL_NETWORK "--set train.warmup=50 "
#define FAST TINY "--backend interp --env minatar/breakout "

static void test_usage(void **state) {
  (void)state;
  expect("train", 2, "something is missing");
  expect("train " TINY, 2, "an environment is missing");
  expect("train nofile.cell --env minatar/breakout", 1, "nofile.cell");
  expect("train " TINY "--env minatar/breakot", 1, "did you mean `minatar/breakout`?");
  expect("train " FAST "--seed -1", 2, "`--seed -1` is no whole number");
  expect("train " FAST "--steps 0", 2, "`--steps 0`");
  expect("train " FAST "--threads x", 2, "`--threads x`");
  expect("train " TINY "--env minatar/breakout --backend gpu", 2, "`--backend gpu`");
  expect("train " FAST "--set train.bacth=3", 1, "train.bacth");
  expect("train " FAST "--set train.replay=1e18", 1, "replay");
  expect("eval nowhere", 1, "`nowhere` is no run's folder");
  expect("eval nowhere --epsilon 2", 2, "`--epsilon 2`");
  expect("plot bars x", 2, "there is no plot `bars`");
  expect("plot curve nowhere", 1, "`nowhere` is no run's folder");
  expect("bench nothing", 2, "there is no bench `nothing`");
  expect("bench update", 2, "a network is missing");
  expect("train " FAST "--runs /proc/runs", 1, "/proc/runs");
}

// each thread gets samples by how fast it has been: another share in every run and every update
static void test_threads(void **state) {
  (void)state;
#define LARGE                                                                                      \
  "train " TINY "--env minatar/breakout --set l1.n=64 --set l2.n=48 --set l3.n=48 --set "          \
  "train.batch=70 --set train.every=4 --steps 1500 --quiet --threads "
  if (getenv("CELLC_NO_LLVM")) return;
  expect("version; rm -rf shares", 0, "");
  for (int threads = 1; threads <= 3; threads++) {
    char line[512];
    snprintf(line, sizeof line, LARGE "%d --runs shares/%d > folder", threads, threads);
    expect(line, 0, "");
    expect("version; cp $(cat folder)/params.safetensors now; cp -n now shares/one; "
           "cmp now shares/one && echo equal",
           0, "equal");
  }
}

static void test_a_run_and_what_can_be_done_with_it(void **state) {
  (void)state;
  expect("train " FAST "--steps 300 --seed 0 --runs a --quiet > folder", 0, "");
  expect("eval $(cat folder) --episodes 3 --per-cell --backend interp --max-steps 50", 0, "\nl3 ");
  expect("eval $(cat folder) --episodes 3 --backend interp --json", 0, "\"cellc.evaluation.1\"");
  expect("train " FAST "--steps 120 --runs a --json --no-progress 2> log | tail -n 1", 0,
         "\"status\":\"finished\"");
  // the same seed gives the same bytes
  expect("version; cp $(cat folder)/params.safetensors first", 0, "");
  expect("train " FAST "--steps 300 --runs a --quiet > folder", 0, "");
  expect("version; cmp first $(cat folder)/params.safetensors && echo equal", 0, "equal");
  expect("train " FAST "--steps 300 --seed 1 --runs a --quiet > folder", 0, "");
  expect("version; cmp first $(cat folder)/params.safetensors || echo other", 0, "other");
  // parameters that are not the network's
  expect("version; echo x > $(cat folder)/params.safetensors", 0, "");
  expect("eval $(cat folder) --episodes 3 --backend interp", 1, "params.safetensors");
}

static void test_info(void **state) {
  (void)state;
  expect("info " FAST, 0, "l1/h/linear/weight");
  expect("info " FAST, 0, "its own cell only");
  expect("info " FAST "--json", 0, "\"cellc.info.1\"");
  expect("info " TINY "--obs 24 --actions 64:bits --no-measure", 0, "64 actions");
}

static void test_divergence(void **state) {
  (void)state;
  expect(
      "train '" CELLC_SOURCE_DIR
      "/examples/dqn_dense.cell' --env minatar/breakout --backend interp --steps 500 --quiet "
      "--set train.batch=2 --set train.warmup=20 --set 'train.optimizer=sgd(lr = 1e6, clip = 0)'",
      4, "the last good parameters, of step 0, are in runs/dqn");
}

// ---- signals ----

static void sleep_a_little(void) {
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

// starts a run that would take hours, waits until it writes, sends the signals
static int stop(int first, int second) {
  char place[128], command[2048];
  static int count;
  snprintf(place, sizeof place, "%s/stop%d", folder(), ++count);
  snprintf(command, sizeof command,
           "exec '%s/cellc' train " FAST "--steps 1e9 --quiet --runs %s > /dev/null",
           CELLC_BINARY_DIR, place);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  // its folder has episodes once the loop runs, which is after the signals are caught
  char find[512];
  snprintf(find, sizeof find, "test $(cat %s/*/episodes.csv 2>/dev/null | wc -l) -gt 3", place);
  for (int i = 0; system(find) != 0; i++) { // NOLINT(bugprone-command-processor,cert-env33-c)
    assert_true(i < 1000);
    sleep_a_little();
  }
  // two signals at once: the second finds the first one there before the step is done
  if (second) kill(child, SIGSTOP);
  kill(child, first);
  if (second) {
    kill(child, second);
    kill(child, SIGCONT);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (!second) {
    snprintf(find, sizeof find,
             "grep -q '\"status\": \"stopped\"' %s/*/run.json && test -s %s/*/params.safetensors",
             place, place);
    assert_int_equal(system(find), 0); // NOLINT(bugprone-command-processor,cert-env33-c)
  }
  return WEXITSTATUS(status);
}

static void test_signals(void **state) {
  (void)state;
  assert_int_equal(stop(SIGINT, 0), 75);
  assert_int_equal(stop(SIGTERM, 0), 75);
  assert_int_equal(stop(SIGUSR1, 0), 75);
  // which of two pending signals is handled first is the system's choice
  int code = stop(SIGTERM, SIGINT);
  assert_true(code == 130 || code == 143);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_usage),   cmocka_unit_test(test_a_run_and_what_can_be_done_with_it),
      cmocka_unit_test(test_info),    cmocka_unit_test(test_divergence),
      cmocka_unit_test(test_signals), cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
