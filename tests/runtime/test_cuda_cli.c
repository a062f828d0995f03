/* test_cuda_cli.c - GPUs from outside: doctor, --backend cuda and auto, what is said where one is missing; a
 * short training run on a GPU of fibers (tests/fake_cuda). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// small enough for fibers
#define TINY                                                                                       \
  "'" CELLC_SOURCE_DIR "/examples/arq.cell' --set l1.n=4 --set l2.n=3 --set l3.n=3 "               \
  "--set l1.heads=2 --set l2.heads=2 --set l3.heads=2 --set train.batch=2 --set train.context=2 "  \
  "--set train.warmup=20 --set train.replay=100 "
#define HERE                                                                                       \
  "CELLC_CUDA_DRIVER='" CELLC_BINARY_DIR "/tests/fake_cuda.so' CELLC_NVRTC='" CELLC_BINARY_DIR     \
  "/tests/fake_cuda.so' XDG_CACHE_HOME=cache "
#define NOWHERE "CELLC_CUDA_DRIVER=/nowhere/libcuda.so "

static char root[] = "/tmp/cellc-test-cuda-XXXXXX";

// `ENVIRONMENT cellc ARGUMENTS` in a shell in the root; its exit code, with the output of both streams
static int run(const char *environment, const char *arguments, CellText *output) {
  CellText command = {0};
  cell_text_printf(&command, "cd %s && { %s '%s/cellc' %s; } 2>&1", root, environment,
                   CELLC_BINARY_DIR, arguments);
  FILE *pipe = popen(command.data, "r"); // NOLINT(bugprone-command-processor,cert-env33-c)
  assert_non_null(pipe);
  char part[4096];
  size_t length;
  while ((length = fread(part, 1, sizeof part, pipe)) > 0) cell_text_append(output, part, length);
  cell_text_append(output, "", 0);
  int status = pclose(pipe);
  cell_text_free(&command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// the output holds `part` exactly `times` times
static void expect(const char *environment, const char *arguments, int code, const char *part,
                   int times) {
  CellText output = {0};
  int got = run(environment, arguments, &output), count = 0;
  const char *text = output.data ? output.data : "";
  for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) count++;
  if (got != code || count != times)
    fail_msg("%s cellc %s: code %d, want %d and %d of `%s`, got:\n%.2000s", environment, arguments,
             got, code, times, part, text);
  cell_text_free(&output);
}

static void doctor(void **state) {
  (void)state;
  expect(HERE, "doctor", 0, "fibers, sm_90, 132 multiprocessors, 80 GiB", 1);
  expect(HERE, "doctor --json", 0, "\"cuda\": true", 1);
  expect(HERE "CELLC_FAKE_CUDA=none", "doctor", 0, "the driver sees no GPU", 1);
  expect(HERE "CELLC_FAKE_CUDA=old", "doctor", 0, "There are kernels for sm_80", 1);
  expect(HERE "CELLC_NVRTC=/nowhere/libnvrtc.so", "doctor", 0, "could not open NVRTC at /nowhere",
         1);
  expect(NOWHERE, "doctor", 0, "could not open the driver of the GPU at /nowhere", 1);
}

static void without_a_gpu(void **state) {
  (void)state;
  expect(NOWHERE, "bench update " TINY "--env minatar/breakout --backend cuda", 3, "`cellc doctor`",
         1);
  expect(HERE "CELLC_FAKE_CUDA=none", "bench update " TINY "--env minatar/breakout --backend cuda",
         3, "the driver sees no GPU", 1);
  expect(NOWHERE, "bench act " TINY "--env minatar/breakout --backend auto --seconds 0 --warm-up 0",
         0, "runs on the CPU", 1);
  expect(NOWHERE, "bench update " TINY "--env minatar/breakout --precision tf32", 2,
         "needs --backend cuda", 1);
  expect(HERE, "bench update " TINY "--env minatar/breakout --backend cuda --precision fp8", 2,
         "none of fp32, tf32, bf16", 1);
}

static void training(void **state) {
  (void)state;
  expect(HERE, "train " TINY "--env minatar/breakout --backend auto --steps 24 --runs runs", 0,
         "runs/", 2);
  CellText output = {0};
  int code = run("", "version; grep -c '\"backend\": \"cuda\"' runs/*/run.json", &output);
  if (code != 0) fail_msg("run.json does not name the GPU:\n%s", output.data);
  cell_text_free(&output);
}

static int make_root(void **state) {
  (void)state;
  return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", root);
  return system(command); // NOLINT(cert-env33-c)
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(doctor), cmocka_unit_test(without_a_gpu),
                                     cmocka_unit_test(training)};
  return cmocka_run_group_tests(tests, make_root, remove_root);
}
