/* `cellc run`: results that are the next run's input, what may be left out, every example on the
 * graph and on the kernels, and every way the input can be wrong */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static CellDiag *diag;

static const char network[] = "network small\n"
                              "cell Attention(n, heads = 2)(below, self?, top?) {\n"
                              "  x  = concat(below, self, top)\n"
                              "  h  = layer_norm(relu(linear(x, n)))\n"
                              "  xa = concat(x, action)\n"
                              "  z1 = reshape(linear(xa, heads * n, bias = false), [heads, n])\n"
                              "  z2 = reshape(linear(xa, heads * n, bias = false), [heads, n])\n"
                              "  output   h\n"
                              "  goodness std(tanh(standardize(z2.T @ z1)) @ h)\n"
                              "}\n"
                              "stack {\n"
                              "  l1 = Attention(5) { below: obs, self: prev(l1), top: prev(l2) }\n"
                              "  l2 = Attention(4) { below: l1,  self: prev(l2) }\n"
                              "}\n"
                              "policy mean\n"
                              "learn td(gamma = 0.9)\n"
                              "train { context = 2  optimizer = adam(lr = 1e-2, clip = 0.5) }\n";

enum { BATCH = 3, CONTEXT = 2, SIZE = 6, ACTIONS = 3 };
#define SHAPES " --obs 6:bits --actions 3 "
#define RUN "run small.cell --backend interp" SHAPES

// ---- files ----

static double noise(int64_t i) {
  double x = sin((double)i * 12.9898) * 43758.5453;
  return x - floor(x);
}

// a batch for update; `bits`: observations of 0 and 1
static CellTensorWriter *batch(int batches, int64_t context, int64_t size, bool bits) {
  CellTensorWriter *w = cell_tensor_writer_create();
  int64_t shape[3] = {context + 1, batches, size};
  double values[4096];
  assert_true((context + 2) * batches * size <= 4096);
  for (int64_t i = 0; i < 4096; i++) values[i] = bits ? noise(i) < 0.4 : 2 * noise(i) - 1;
  cell_tensor_writer_add_doubles(w, "obs", bits ? CELL_TENSOR_U8 : CELL_TENSOR_F32, 3, shape,
                                 values);
  cell_tensor_writer_add_doubles(w, "next_obs", CELL_TENSOR_F32, 2, shape + 1,
                                 values + (context + 1) * batches * size);
  for (int64_t i = 0; i < batches; i++) values[i] = (double)(i % ACTIONS);
  cell_tensor_writer_add_doubles(w, "action", CELL_TENSOR_I64, 1, shape + 1, values);
  for (int64_t i = 0; i < batches; i++) values[i] = noise(i + 77);
  cell_tensor_writer_add_doubles(w, "reward", CELL_TENSOR_F64, 1, shape + 1, values);
  for (int64_t i = 0; i < batches; i++) values[i] = i == 1;
  cell_tensor_writer_add_doubles(w, "terminated", CELL_TENSOR_BOOL, 1, shape + 1, values);
  return w;
}

static void save(CellTensorWriter *w, const char *path) {
  assert_true(cell_tensor_writer_write(w, path, diag));
  cell_tensor_writer_destroy(w);
}

static CellTensors *load(const char *path) {
  CellTensors *tensors = cell_tensors_read(path, diag);
  if (!tensors) cell_diag_print(diag, stderr, false);
  assert_non_null(tensors);
  return tensors;
}

static const CellFileTensor *need(const CellTensors *file, const char *name) {
  const CellFileTensor *t = cell_tensors_find(file, name);
  if (!t) fail_msg("no tensor %s", name);
  return t;
}

static bool same_bytes(const CellFileTensor *a, const CellFileTensor *b) {
  return a->type == b->type && cell_tensor_has_shape(a, b->rank, b->shape) &&
         memcmp(a->data, b->data, (size_t)a->count * cell_tensor_type_bytes(a->type)) == 0;
}

// every tensor of a is in b, with the same bytes; prefix "": all
static void expect_same(const char *a, const char *b, const char *prefix) {
  CellTensors *first = load(a), *second = load(b);
  int compared = 0;
  for (int i = 0; i < cell_tensors_count(first); i++) {
    const CellFileTensor *t = cell_tensors_at(first, i);
    if (strncmp(t->name, prefix, strlen(prefix)) != 0) continue;
    if (!same_bytes(t, need(second, t->name))) fail_msg("%s: %s and %s differ", t->name, a, b);
    compared++;
  }
  assert_true(compared > 0);
  cell_tensors_destroy(first);
  cell_tensors_destroy(second);
}

// ---- the program ----

// runs without a word
static void fine(const char *format, ...) CELL_PRINTF(1, 2);
static void fine(const char *format, ...) {
  va_list arguments;
  char line[1024];
  CellText text = {0};
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (run(line, &text) != 0 || text.data[0]) fail_msg("cellc %s:\n%s", line, text.data);
  cell_text_free(&text);
}

// ---- what comes out ----

static void test_names_and_shapes(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  fine(RUN "--program update --in in --out out");
  CellTensors *out = load("out");
  static const struct {
    const char *name;
    int rank;
    int64_t shape[3];
  } wanted[] = {{"l1/q", 2, {3, 3}},
                {"l2/next_q", 2, {3, 3}},
                {"l1/target_next_q", 2, {3, 3}},
                {"l1/td_target", 1, {3}},
                {"l2/loss", 1, {1}},
                {"l2/grad_norm", 1, {1}},
                {"l1/hidden", 2, {3, 5}},
                {"l2/state_before", 2, {3, 4}},
                {"l1/state_now", 2, {3, 5}},
                {"l2/target_state_now", 2, {3, 4}},
                {"grad/l1/h/linear/weight", 2, {5, 15}},
                {"grad/l2/z2/linear/weight", 2, {8, 12}},
                {"params/l1/z1/linear/weight", 2, {10, 18}},
                {"moment1/l1/h/linear/bias", 1, {5}},
                {"moment2/l2/h/layer_norm/scale", 1, {4}},
                {"target/l2/h/layer_norm/offset", 1, {4}},
                {"step", 1, {1}},
                {"obs", 3, {3, 3, 6}}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    const CellFileTensor *t = need(out, wanted[i].name);
    if (!cell_tensor_has_shape(t, wanted[i].rank, wanted[i].shape))
      fail_msg("%s has rank %d, [%d, %d, ...]", t->name, t->rank, (int)t->shape[0],
               (int)t->shape[1]);
  }
  assert_int_equal(need(out, "l1/q")->type, CELL_TENSOR_F64);
  assert_int_equal(*(const int64_t *)need(out, "step")->data, 1);
  cell_tensors_destroy(out);
}

// a result is the next input, and --repeat is nothing else
static void test_chain(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  fine(RUN "--program update --in in --out one --seed 5");
  fine(RUN "--program update --in one --out two");
  fine(RUN "--program update --in two --out three");
  fine(RUN "--program update --in in --out thrice --seed 5 --repeat 3");
  expect_same("three", "thrice", "");
  CellTensors *out = load("three");
  assert_int_equal(*(const int64_t *)need(out, "step")->data, 3);
  cell_tensors_destroy(out);

  // the target copy: halfway, then all the way
  fine(RUN "--program sync --in three --out half --set train.target_tau=0.5");
  fine(RUN "--program sync --in half --out whole");
  expect_same("three", "whole", "params/");
  expect_same("three", "whole", "moment");
  CellTensors *a = load("three"), *b = load("half"), *c = load("whole");
  const char *online = "params/l1/h/linear/weight", *target = "target/l1/h/linear/weight";
  const double *p = need(a, online)->data, *before = need(a, target)->data,
               *half = need(b, target)->data, *whole = need(c, target)->data;
  for (int64_t i = 0; i < need(a, target)->count; i++) {
    assert_true(fabs(half[i] - (p[i] + before[i]) / 2) < 1e-15);
    assert_true(whole[i] == p[i]);
  }
  cell_tensors_destroy(a);
  cell_tensors_destroy(b);
  cell_tensors_destroy(c);
}

static void test_outputs(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  fine(RUN "--program update --in in --out all");
  fine(RUN "--program update --in in --out some --outputs params/,step,l2/q");
  expect_same("some", "all", "");
  CellTensors *some = load("some");
  assert_int_equal(cell_tensors_count(some), 12 + 2);
  cell_tensors_destroy(some);
  fine(RUN "--program update --in in --out some --outputs l1/state_before");
  expect_same("some", "all", "");
  fine(RUN "--program update --in in --out some --outputs grad/,l1/");
  expect_same("some", "all", "");
  // a target of its own, only read in the context
  fine(RUN "--program update --in in --out some --outputs l2/target_state_now");
  expect_same("some", "all", "");
}

static void test_defaults(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  fine(RUN "--program update --in in --out a --seed 0");
  fine(RUN "--program update --in in --out b");
  expect_same("a", "b", "");
  fine(RUN "--program sync --in in --out c --seed 1");
  CellTensors *a = load("a"), *c = load("c");
  const char *name = "target/l1/h/linear/weight";
  assert_false(same_bytes(need(a, name), need(c, name)));
  cell_tensors_destroy(a);

  // what was drawn is what was used: given back, it makes no difference
  CellTensorWriter *w = batch(BATCH, CONTEXT, SIZE, true);
  for (int i = 0; i < cell_tensors_count(c); i++) {
    const CellFileTensor *t = cell_tensors_at(c, i);
    if (strncmp(t->name, "params/", 7) == 0)
      cell_tensor_writer_add(w, t->name, t->type, t->rank, t->shape, t->data);
  }
  save(w, "given");
  fine(RUN "--program update --in given --out a");
  fine(RUN "--program update --in in --out b --seed 1");
  expect_same("a", "b", "");
  cell_tensors_destroy(c);
}

// four steps are two and two more, from the states behind the first two
static void test_act(void **state) {
  (void)state;
  double values[4 * 2 * SIZE];
  for (int i = 0; i < 4 * 2 * SIZE; i++) values[i] = noise(i) < 0.5;
  int64_t shape[3] = {4, 2, SIZE};
  CellTensorWriter *w = cell_tensor_writer_create();
  cell_tensor_writer_add_doubles(w, "obs", CELL_TENSOR_F32, 3, shape, values);
  save(w, "in");
  fine(RUN "--program act --in in --out four");
  CellTensors *four = load("four");
  assert_true(cell_tensor_has_shape(need(four, "q"), 3, (int64_t[]){4, 2, ACTIONS}));
  assert_true(cell_tensor_has_shape(need(four, "action"), 2, (int64_t[]){4, 2}));
  assert_true(cell_tensor_has_shape(need(four, "l1/state"), 2, (int64_t[]){2, 5}));
  const double *q = need(four, "q")->data;
  const int32_t *action = need(four, "action")->data;
  for (int i = 0; i < 8; i++)
    for (int a = 0; a < ACTIONS; a++) assert_true(q[i * ACTIONS + a] <= q[i * ACTIONS + action[i]]);

  shape[0] = 2;
  w = cell_tensor_writer_create();
  cell_tensor_writer_add_doubles(w, "obs", CELL_TENSOR_F32, 3, shape, values);
  save(w, "in");
  fine(RUN "--program act --in in --out first");
  CellTensors *first = load("first");
  w = cell_tensor_writer_create();
  cell_tensor_writer_add_doubles(w, "obs", CELL_TENSOR_F32, 3, shape, values + 2 * 2 * SIZE);
  for (int i = 1; i <= 2; i++) {
    const CellFileTensor *t = need(first, i == 1 ? "l1/state" : "l2/state");
    cell_tensor_writer_add(w, t->name, t->type, t->rank, t->shape, t->data);
  }
  save(w, "in");
  fine(RUN "--program act --in in --out second");
  CellTensors *second = load("second");
  assert_memory_equal(need(second, "q")->data, q + 2 * 2 * ACTIONS,
                      2 * 2 * ACTIONS * sizeof(double));
  assert_true(same_bytes(need(second, "l2/state"), need(four, "l2/state")));
  cell_tensors_destroy(four);
  cell_tensors_destroy(first);
  cell_tensors_destroy(second);

  fine(RUN "--program act --in in --out second --outputs l1/q,action");
  second = load("second");
  assert_int_equal(cell_tensors_count(second), 2);
  assert_true(cell_tensor_has_shape(need(second, "l1/q"), 3, (int64_t[]){2, 2, ACTIONS}));
  cell_tensors_destroy(second);
}

// ---- every example ----

static void expect_near(const char *a, const char *b) {
  CellTensors *first = load(a), *second = load(b);
  assert_int_equal(cell_tensors_count(first), cell_tensors_count(second));
  for (int i = 0; i < cell_tensors_count(first); i++) {
    const CellFileTensor *x = cell_tensors_at(first, i), *y = need(second, x->name);
    assert_true(cell_tensor_has_shape(y, x->rank, x->shape));
    double *p = cell_malloc((size_t)x->count * sizeof *p),
           *q = cell_malloc((size_t)x->count * sizeof *q), largest = 0;
    cell_tensor_doubles(x, p);
    cell_tensor_doubles(y, q);
    for (int64_t k = 0; k < x->count; k++) largest = fmax(largest, fabs(p[k]));
    for (int64_t k = 0; k < x->count; k++)
      if (!(fabs(p[k] - q[k]) <= 1e-9 * largest + 1e-12))
        fail_msg("%s[%d]: %.12g and %.12g", x->name, (int)k, p[k], q[k]);
    free(p);
    free(q);
  }
  cell_tensors_destroy(first);
  cell_tensors_destroy(second);
}

static void test_examples(void **state) {
  (void)state;
  static const char *const three = "--set l1.n=5 --set l2.n=4 --set l3.n=3 --set l1.heads=2 "
                                   "--set l2.heads=2 --set l3.heads=2 --set train.context=2";
  static const struct {
    const char *file, *sets;
    int64_t context;
  } examples[] = {{"arq", NULL, 2},
                  {"ad", NULL, 2},
                  {"ad_action_input", NULL, 2},
                  {"arq_action_output", NULL, 2},
                  {"arq_end_to_end", NULL, 2},
                  {"softmax_attention", NULL, 2},
                  {"dqn_dense", "--set net.n1=5 --set net.n2=4 --set net.n3=3", 0},
                  {"gated", "--set l1.n=5 --set l2.n=4 --set train.context=2", 2}};
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    const char *sets = examples[i].sets ? examples[i].sets : three;
    for (int bits = 0; bits < 2; bits++) {
      save(batch(BATCH, examples[i].context, SIZE, bits), "in");
      static const char *const backends[] = {"interp", "interp-kernels"};
      for (int k = 0; k < 2; k++) {
        fine("run " CELLC_SOURCE_DIR "/examples/%s.cell %s --obs 6%s --actions 3 --backend %s "
             "--program update --in in --out %s",
             examples[i].file, sets, bits ? ":bits" : "", backends[k], backends[k]);
        fine("run " CELLC_SOURCE_DIR "/examples/%s.cell %s --obs 6%s --actions 3 --backend %s "
             "--program act --in interp --out act-%s",
             examples[i].file, sets, bits ? ":bits" : "", backends[k], backends[k]);
      }
      expect_near("interp", "interp-kernels");
      expect_near("act-interp", "act-interp-kernels");
    }
  }
}

// states, values and actions that are the same for every sample still come one a sample
static void test_constants(void **state) {
  (void)state;
  static const char *const texts[] = {
      "network constant_state\n"
      "cell C(n)(below, self?) {\n"
      "  output constant([n], 0.5)\n"
      "  goodness linear(concat(below, self), actions)\n"
      "}\n"
      "stack { l1 = C(3) { below: obs, self: prev(l1) } }\n"
      "policy sum learn td(gamma = 0.9) train { context = 2 }\n",
      "network constant_values\n"
      "cell C()(below) { p = parameter([actions], normal(1))  output below  goodness p }\n"
      "stack { l1 = C() { below: obs } }\n"
      "policy mean learn td(gamma = 0.9) train { context = 2 }\n"};
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  for (int i = 0; i < 2; i++) {
    assert_true(cell_write_file("constant.cell", texts[i], strlen(texts[i]), diag));
    static const char *const backends[] = {"interp", "interp-kernels"};
    for (int k = 0; k < 2; k++) {
      fine("run constant.cell --backend %s" SHAPES "--program update --in in --out %s", backends[k],
           backends[k]);
      fine("run constant.cell --backend %s" SHAPES "--program act --in interp --out act-%s",
           backends[k], backends[k]);
    }
    expect_near("interp", "interp-kernels");
    expect_near("act-interp", "act-interp-kernels");
    CellTensors *out = load("interp"), *acted = load("act-interp");
    assert_true(cell_tensor_has_shape(need(out, "l1/q"), 2, (int64_t[]){BATCH, ACTIONS}));
    assert_true(cell_tensor_has_shape(need(acted, "action"), 2, (int64_t[]){3, BATCH}));
    cell_tensors_destroy(out);
    cell_tensors_destroy(acted);
  }
}

// ---- what can be wrong ----

static void test_usage(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  expect("run", 2, "something is missing: cellc run FILE");
  expect("run small.cell --in in --out out" SHAPES, 2, "--program is missing");
  expect("run small.cell --program udpate --in in --out out" SHAPES, 2,
         "`--program udpate` is none of act, update, sync");
  expect("run small.cell --program update --out out" SHAPES, 2, "--in is missing");
  expect("run small.cell --program update --in in" SHAPES, 2, "--out is missing");
  expect("run small.cell --program update --in in --out out", 2, "the shapes are missing");
  expect(RUN "--program update --in in --out out --seed -1", 2, "`--seed -1` is no whole number");
  expect(RUN "--program update --in in --out out --repeat 0", 2, "`--repeat 0` is no whole number");
  expect(RUN "--program update --in in --out out --outputs ,", 2, "names nothing");
  expect("run small.cell --program update --in in --out out --backend gpu" SHAPES, 2,
         "is none of cpu");
}

// the batch without one tensor, or with another in its place
static void with(const char *name, CellTensorType type, int rank, const int64_t *shape,
                 double value) {
  save(batch(BATCH, CONTEXT, SIZE, true), "whole");
  CellTensors *whole = load("whole");
  CellTensorWriter *w = cell_tensor_writer_create();
  for (int i = 0; i < cell_tensors_count(whole); i++) {
    const CellFileTensor *t = cell_tensors_at(whole, i);
    if (strcmp(t->name, name) != 0)
      cell_tensor_writer_add(w, t->name, t->type, t->rank, t->shape, t->data);
  }
  double values[256];
  for (int i = 0; i < 256; i++) values[i] = value;
  if (rank >= 0) cell_tensor_writer_add_doubles(w, name, type, rank, shape, values);
  save(w, "in");
  cell_tensors_destroy(whole);
}

#define SHAPE(...)                                                                                 \
  (int64_t[]) {                                                                                    \
    __VA_ARGS__                                                                                    \
  }
#define UPDATE RUN "--program update --in in --out out"

static void test_wrong_tensors(void **state) {
  (void)state;
  unlink("out");
  with("reward", CELL_TENSOR_F32, -1, NULL, 0);
  expect(UPDATE, 1, "`in`: it holds no tensor `reward`");
  with("obs", CELL_TENSOR_F32, -1, NULL, 0);
  expect(UPDATE, 1, "`in`: it holds no tensor `obs`");
  with("reward", CELL_TENSOR_F32, 1, SHAPE(4), 0);
  expect(UPDATE, 1, "`reward` of `in` has the shape [4], and [3] is wanted");
  with("next_obs", CELL_TENSOR_F32, 2, SHAPE(3, 7), 0);
  expect(UPDATE, 1, "`next_obs` of `in` has the shape [3, 7], and [3, 6] is wanted");
  with("obs", CELL_TENSOR_F32, 3, SHAPE(4, 3, 6), 0);
  expect(UPDATE, 1, "`obs` of `in` has the shape [4, 3, 6], and [3, 3, 6] is wanted");
  expect(UPDATE, 1, "--set train.context=3");
  with("obs", CELL_TENSOR_F32, 2, SHAPE(3, 6), 0);
  expect(UPDATE, 1, "has the shape [3, 6], and [context + 1, batch, 6] is wanted");
  with("obs", CELL_TENSOR_F32, 3, SHAPE(3, 0, 6), 0);
  expect(UPDATE, 1, "and at least one of each is wanted");
  with("obs", CELL_TENSOR_F32, 3, SHAPE(3, 3, 6), 0.5);
  expect(UPDATE, 1, "`obs` of `in` holds 0.5, and observations are bits: 0 or 1");
  with("action", CELL_TENSOR_I32, 1, SHAPE(3), 3);
  expect(UPDATE, 1, "`action` of `in` holds 3, and the actions are 0 to 2");
  with("action", CELL_TENSOR_I32, 1, SHAPE(3), -1);
  expect(UPDATE, 1, "`action` of `in` holds -1, and the actions are 0 to 2");
  with("action", CELL_TENSOR_F32, 1, SHAPE(3), 1);
  expect(UPDATE, 1, "`action` of `in` is of type F32, and I32 or I64 is wanted");
  with("params/l1/h/linear/weight", CELL_TENSOR_F32, 2, SHAPE(5, 14), 1);
  expect(UPDATE, 1, "has the shape [5, 14], and [5, 15] is wanted");
  with("params/l1/h/linear/weight", CELL_TENSOR_I32, 2, SHAPE(5, 15), 1);
  expect(UPDATE, 1, "is of type I32, and F32 or F64 is wanted");
  with("moment1/l1/h/linear/bias", CELL_TENSOR_F32, 0, NULL, 1);
  expect(UPDATE, 1, "has the shape [], and [5] is wanted");
  with("step", CELL_TENSOR_F32, 1, SHAPE(2), 1);
  expect(UPDATE, 1, "`step` of `in` has the shape [2], and [1] is wanted");
  with("params/l1/h/linear/wieght", CELL_TENSOR_F32, 2, SHAPE(5, 15), 1);
  expect(UPDATE, 1, "unknown tensor `params/l1/h/linear/wieght` in `in`");
  expect(UPDATE, 1, "did you mean `params/l1/h/linear/weight`?");
  with("rewrad", CELL_TENSOR_F32, 1, SHAPE(3), 1);
  expect(UPDATE, 1, "did you mean `reward`?");
  with("l1/state", CELL_TENSOR_F32, 2, SHAPE(3, 6), 0);
  expect(RUN "--program act --in in --out out", 1, "has the shape [3, 6], and [3, 5] is wanted");
  assert_int_not_equal(access("out", F_OK), 0);
}

static void test_wrong_outputs(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  unlink("out");
  expect(UPDATE " --outputs l1/nextq", 1, "update has no result `l1/nextq`");
  expect(UPDATE " --outputs l1/nextq", 1, "did you mean `l1/next_q`?");
  expect(UPDATE " --outputs l3/q", 1, "update has no result `l3/q`");
  expect(UPDATE " --outputs params/l1/h", 1, "update has no result `params/l1/h`");
  expect(UPDATE " --outputs l3/", 1, "update has no result `l3/`");
  expect(RUN "--program act --in in --out out --outputs l1/loss", 1, "act has no result `l1/loss`");
  assert_int_not_equal(access("out", F_OK), 0);
}

static void test_wrong_files(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  size_t length;
  char *bytes = cell_read_file("in", 1 << 20, &length, diag);
  assert_non_null(bytes);
  expect(RUN "--program update --in none --out out", 1, "cannot read `none`: No such file");
  expect(RUN "--program update --in . --out out", 1, "`.`");
  expect("run none.cell" SHAPES "--program update --in in --out out", 1, "none.cell");
  // cut anywhere, or with a header that lies
  for (size_t cut = 0; cut < length; cut += length / 7) {
    assert_true(cell_write_file("cut", bytes, cut, diag));
    expect(RUN "--program update --in cut --out out", 1, "error: `cut`");
  }
  char *shape = strstr(bytes + 8, "[3, 3, 6]");
  if (!shape) shape = strstr(bytes + 8, "[3,3,6]");
  assert_non_null(shape);
  shape[1] = '9';
  unlink("out");
  assert_true(cell_write_file("lie", bytes, length, diag));
  expect(RUN "--program update --in lie --out out", 1, "error: `lie`: tensor `obs`");
  free(bytes);
  assert_int_not_equal(access("out", F_OK), 0);
}

// nothing half-written, and an old result stays
static void test_unwritable(void **state) {
  (void)state;
  save(batch(BATCH, CONTEXT, SIZE, true), "in");
  expect(RUN "--program update --in in --out none/out", 1, "none/out");
  expect(RUN "--program update --in in --out .", 1, "`.`");
  assert_true(cell_write_file("out", "old", 3, diag));
  expect_line("ulimit -f 1 && cellc " UPDATE, 1, "/out`: an earlier write failed");
  size_t length;
  char *bytes = cell_read_file("out", 100, &length, diag);
  assert_non_null(bytes);
  assert_string_equal(bytes, "old");
  free(bytes);
  assert_int_not_equal(access("out.tmp", F_OK), 0);
}

// ---- ----

// the test's folder is the working folder too
static int prepare(void **state) {
  if (make_folder(state) || chdir(folder())) return -1;
  diag = cell_diag_create();
  return cell_write_file("small.cell", network, strlen(network), diag) ? 0 : -1;
}

static int clean_up(void **state) {
  cell_diag_destroy(diag);
  return remove_folder(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_and_shapes),
      cmocka_unit_test(test_chain),
      cmocka_unit_test(test_outputs),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_act),
      cmocka_unit_test(test_examples),
      cmocka_unit_test(test_constants),
      cmocka_unit_test(test_usage),
      cmocka_unit_test(test_wrong_tensors),
      cmocka_unit_test(test_wrong_outputs),
      cmocka_unit_test(test_wrong_files),
      cmocka_unit_test(test_unwritable),
  };
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
