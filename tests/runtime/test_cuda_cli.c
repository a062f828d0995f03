/* test_cuda_cli.c - GPUs from outside: doctor, --backend cuda and auto, what is said where one is missing; a
 * short training run on a GPU of fibers (tests/fake_cuda). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/program.h"

#include <string.h>

// small enough for fibers
#define TINY SMALL_NETWORK "--set train.warmup=20 "
#define HERE                                                                                       \
  "CELLC_CUDA_DRIVER='" CELLC_BINARY_DIR "/tests/fake_cuda.so' CELLC_NVRTC='" CELLC_BINARY_DIR     \
  "/tests/fake_cuda.so' XDG_CACHE_HOME=$PWD/cache "
#define NOWHERE "CELLC_CUDA_DRIVER=/nowhere/libcuda.so "

// `ENVIRONMENT cellc ARGUMENTS`: what it prints holds `part` exactly `times` times
static void expect_in(const char *environment, const char *arguments, int code, const char *part,
                      int times) {
  CellText line = {0};
  cell_text_printf(&line, "%s cellc %s", environment, arguments);
  expect_count(line.data, code, part, times, times);
  cell_text_free(&line);
}

static void doctor(void **state) {
  (void)state;
  expect_in(HERE, "doctor", 0, "fibers, sm_90, 132 multiprocessors, 80 GiB", 1);
  expect_in(HERE, "doctor --json", 0, "\"cuda\": true", 1);
  expect_in(HERE "CELLC_FAKE_CUDA=none", "doctor", 0, "the driver sees no GPU", 1);
  expect_in(HERE "CELLC_FAKE_CUDA=old", "doctor", 0, "There are kernels for sm_80", 1);
  expect_in(HERE "CELLC_NVRTC=/nowhere/libnvrtc.so", "doctor", 0,
            "could not open NVRTC at /nowhere", 1);
  expect_in(HERE "CELLC_FAKE_CUDA=dated", "doctor", 0, "for CUDA 12 or later", 1);
  expect_in(HERE "CELLC_CUDA_DRIVER=libm.so.6", "doctor", 0, "it is too old", 1);
  expect_in(HERE "XDG_CACHE_HOME=/proc/nothing", "doctor", 0, "cannot write /proc/nothing/cellc",
            1);
  expect_in(NOWHERE, "doctor", 0, "could not open the driver of the GPU at /nowhere", 1);
}

static void without_a_gpu(void **state) {
  (void)state;
  expect_in(NOWHERE, "bench update " TINY "--env minatar/breakout --backend cuda", 3,
            "`cellc doctor`", 1);
  expect_in(HERE "CELLC_FAKE_CUDA=none",
            "bench update " TINY "--env minatar/breakout --backend cuda", 3,
            "the driver sees no GPU", 1);
  expect_in(NOWHERE,
            "bench act " TINY "--env minatar/breakout --backend auto --seconds 0 --warm-up 0", 0,
            "runs on the CPU", 1);
  expect_in(NOWHERE, "bench update " TINY "--env minatar/breakout --precision tf32", 2,
            "needs --backend cuda", 1);
  expect_in(HERE, "bench update " TINY "--env minatar/breakout --backend cuda --precision fp8", 2,
            "none of fp32, tf32, bf16", 1);
}

#define ACT "bench act " TINY "--env minatar/breakout --seconds 0 --warm-up 0 --backend "

// what the GPU here cannot do ends with 3 where it was asked for, and on the CPU where that will do
static void unusable(void **state) {
  (void)state;
  static const char *const rows[][2] = {
      {HERE "CELLC_FAKE_CUDA=dated", "driver version is insufficient"},
      {HERE "CELLC_FAKE_CUDA=old", "is of sm_70"},
      {HERE "CELLC_FAKE_CUDA=narrow", "bytes of shared memory; a block on fibers may have 1024"},
      {HERE "CELLC_FAKE_CUDA=small", "could not give memory to tensors: out of memory"},
      {HERE "CELLC_FAKE_CUDA=broken XDG_CACHE_HOME=$PWD/empty", "NVRTC could not compile"},
      {HERE "CELLC_NVRTC=/nowhere/libnvrtc.so", "could not open NVRTC at /nowhere"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    expect_in(rows[i][0], ACT "cuda", 3, rows[i][1], 1);
    expect_in(rows[i][0], ACT "auto", 0, rows[i][1], 1);
    expect_in(rows[i][0], ACT "auto", 0, "runs on the CPU", 1);
  }
}

#define RUN "run " TINY "--obs 1 --actions 3 --program act --in obs --out out --backend "

// the same of a single program
static void unusable_run(void **state) {
  (void)state;
  // a header's length, the header, zeros
  expect_line("printf '\\074\\0\\0\\0\\0\\0\\0\\0%s\\0\\0\\0\\0\\0\\0\\0\\0' "
              "'{\"obs\":{\"dtype\":\"F32\",\"shape\":[1,2,1],\"data_offsets\":[0,8]}}' > obs",
              0, "");
  static const char *const rows[][2] = {
      {HERE "CELLC_FAKE_CUDA=narrow", "bytes of shared memory; a block on fibers may have 1024"},
      {HERE "CELLC_FAKE_CUDA=small", "could not give memory to tensors: out of memory"},
      {HERE "CELLC_FAKE_CUDA=broken XDG_CACHE_HOME=$PWD/empty", "NVRTC could not compile"},
      {NOWHERE, "could not open the driver"}};
  expect(RUN "cpu", 0, "");
  expect_line("mv out cpu.out", 0, "");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    expect_in(rows[i][0], RUN "cuda", 3, rows[i][1], 1);
    expect_in(rows[i][0], RUN "auto", 0, rows[i][1], 1);
    expect_in(rows[i][0], RUN "auto", 0, "runs on the CPU", 1);
    expect_line("cmp out cpu.out", 0, "");
  }
  // a GPU that fails while it runs is an error
  expect_in(HERE "CELLC_FAKE_CUDA=lost", RUN "auto", 3, "is lost to this process", 1);
}

static void bench(void **state) {
  (void)state;
  expect_in(HERE, ACT "cuda", 0, "launches one by one", 1);
  expect_in(HERE, ACT "cuda --json", 0, "\"predicted_for\": \"H100\"", 1);
}

// several environments at once: the same episodes as on the CPU; the replay wherever it is: the same bytes
static void environments(void **state) {
  (void)state;
#define THREE                                                                                      \
  "train " TINY "--env minatar/breakout --envs 3 --steps 60 --no-progress "                        \
  "--set 'train.epsilon=ramp(0.5,0.1,over=0.5)' --set train.every=8 "
  expect_in(HERE, THREE "--backend cuda --runs gpu", 0, "the replay is on the GPU", 1);
  expect_in(HERE "CELLC_FAKE_CUDA_MEMORY=30000000", THREE "--backend cuda --runs host", 0,
            "the replay stays in the host's memory: the GPU could not give memory", 1);
  expect_in("", THREE "--backend cpu --runs cpu", 0, "cpu/", 2);
  expect_line("cmp gpu/*/params.safetensors host/*/params.safetensors", 0, "");
  expect_line("for r in gpu cpu; do cut -d, -f1-3 $r/*/episodes.csv > $r.csv; done; "
              "cmp gpu.csv cpu.csv && test $(wc -l < gpu.csv) -gt 4",
              0, "");
}

// a device that is lost on the way: what was saved stays, and is whole
static void lost(void **state) {
  (void)state;
  expect_in(HERE "CELLC_FAKE_CUDA_LOST=70",
            "train " TINY
            "--env minatar/breakout --backend cuda --steps 5000 --no-progress --runs lost",
            3, "The device is lost to this process", 1);
  expect_in("", "eval lost/* --episodes 1", 0, "policy", 1);
  expect_line("grep '\"status\"' lost/*/run.json", 0, "failed");
  expect_line("grep '\"params_step\"' lost/*/run.json", 0, ": 0,");
  expect_line("test -z \"$(tail -c 1 lost/*/episodes.csv)\"", 0, "");
}

static void training(void **state) {
  (void)state;
  expect_in(HERE, "train " TINY "--env minatar/breakout --backend auto --steps 24 --runs runs", 0,
            "runs/", 2);
  expect_line("grep -c '\"backend\": \"cuda\"' runs/*/run.json", 0, "1");
}

// nodes of an update at published sizes, and those that the data flow does not force
static void nodes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int most, spare;
  } examples[] = {{"arq", 52, 25}, {"softmax_attention", 52, 25}, {"gated", 54, 0}};
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    CellText command = {0}, output = {0};
    cell_text_printf(&command,
                     HERE
                     "cellc emit '%s/examples/%s.cell' --env minatar/breakout --program update "
                     "--stage resources",
                     CELLC_SOURCE_DIR, examples[i].name);
    assert_int_equal(shell(command.data, &output), 0);
    const char *line = strstr(output.data, "\nupdate: why each node is there\n");
    assert_non_null(line);
    int all, forced, listed = 0;
    for (line = strchr(line + 1, '\n'); strncmp(line + 1, "update:", 7) != 0; listed++)
      line = strchr(line + 1, '\n');
    assert_int_equal(sscanf(line + 1, "update: %d nodes, %d of them forced", &all, &forced), 2);
    print_message("%s: %d nodes, %d forced\n", examples[i].name, all, forced);
    assert_int_equal(listed, all);
    assert_true(all <= examples[i].most && all - forced <= examples[i].spare);
    cell_text_free(&command);
    cell_text_free(&output);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(doctor),   cmocka_unit_test(without_a_gpu),
                                     cmocka_unit_test(unusable), cmocka_unit_test(unusable_run),
                                     cmocka_unit_test(bench),    cmocka_unit_test(environments),
                                     cmocka_unit_test(lost),     cmocka_unit_test(nodes),
                                     cmocka_unit_test(training)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
