/* From text to programs: messages against golden files, and what the programs hold.
 *
 * check/NAME.cell is an input, NAME.err the messages expected for it, for observations [10, 10, 4]
 * and 6 actions. Its first line may say how it is loaded: `#: variant=v set=l1.n=3`. Run with
 * CELLC_UPDATE_GOLDEN=1 to write the messages anew, then review the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/frontend.h"
#include "tests/support/golden.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN CELLC_SOURCE_DIR "/tests/frontend/check/"

/* ---- helpers ---- */

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  CellSpec *spec;
  CellModule *module;
} Build;

static const CellShapes usual = {.obs_rank = 3, .obs_shape = {10, 10, 4}, .actions = 6};

static Build build_with(const char *name, const char *text, const CellSpecOptions *load,
                        const CellShapes *shapes, const CellBuildOptions *options) {
  Build b = {.arena = cell_arena_create(), .diag = cell_diag_create()};
  int source = cell_diag_source(b.diag, name, text, strlen(text));
  b.spec = cell_spec_load(b.arena, b.diag, source, load);
  if (b.spec) b.module = cell_spec_build(b.spec, shapes, options, b.diag);
  for (int i = 0; b.module && i < b.module->program_count; i++) {
    CellText why = {0};
    if (!cell_verify(b.module->programs[i], &why)) fail_msg("%s", why.data);
    cell_text_free(&why);
  }
  return b;
}

static void done(Build *b) {
  cell_diag_destroy(b->diag);
  cell_arena_destroy(b->arena);
}

static Build build(const char *text) {
  CellBuildOptions options = {.act_batch = 2, .update = true, .sync = true};
  Build b = build_with("test.cell", text, NULL, &usual, &options);
  if (b.module) return b;
  cell_diag_print(b.diag, stderr, false);
  fail_msg("does not build:\n%s", text);
  return b;
}

static int count_ops(const CellGraph *g, CellOp op) {
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) count += cell_node(g, v)->op == op;
  return count;
}

/* contracts that read a parameter of this name, in the graph but not in scans' bodies */
static int readers(const CellGraph *g, const char *input) {
  CellValue p = cell_find_input(g, input);
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++)
    for (int i = 0; i < cell_node(g, v)->arg_count; i++)
      count += cell_node(g, v)->op == CELL_OP_CONTRACT && cell_node(g, v)->args[i] == p;
  return count;
}

static char *printed(const CellModule *m) {
  CellText text = {0};
  for (int i = 0; i < m->program_count; i++) cell_print(m->programs[i], NULL, &text);
  return text.data;
}

/* two texts that mean the same */
static void same_programs(const char *a, const char *b) {
  Build x = build(a), y = build(b);
  char *p = printed(x.module), *q = printed(y.module);
  assert_string_equal(p, q);
  free(p);
  free(q);
  done(&x);
  done(&y);
}

/* ---- messages ---- */

/* `#: variant=v set=l1.n=3` in the first line */
static void read_options(CellArena *arena, const char *text, CellSpecOptions *options,
                         const char **sets) {
  *options = (CellSpecOptions){.sets = sets, .go_on = true};
  if (strncmp(text, "#:", 2) != 0) return;
  char *line = cell_arena_strndup(arena, text + 2, strcspn(text + 2, "\n")), *save;
  for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
    if (strncmp(w, "variant=", 8) == 0) options->variant = w + 8;
    if (strncmp(w, "set=", 4) == 0) sets[options->set_count++] = w + 4;
  }
}

static void check_messages(const char *name) {
  char path[4096];
  snprintf(path, sizeof path, GOLDEN "%s", name);
  char *text = cell_test_read(path, NULL);
  const char *sets[8];
  CellArena *arena = cell_arena_create();
  CellSpecOptions load;
  read_options(arena, text, &load, sets);
  CellBuildOptions options = {.act_batch = 1, .update = true, .sync = true};
  Build b = build_with(name, text, &load, &usual, &options);
  char *messages = NULL;
  size_t length;
  FILE *out = open_memstream(&messages, &length);
  cell_diag_print(b.diag, out, false);
  fclose(out);
  assert_true(b.diag->error_count > 0);

  snprintf(path + strlen(path) - 5, 6, ".err");
  cell_test_golden(path, messages);
  cell_arena_destroy(arena);
  free(messages);
  free(text);
  done(&b);
}

static void test_messages(void **state) {
  (void)state;
  DIR *dir = opendir(GOLDEN);
  assert_non_null(dir);
  int count = 0;
  for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    const char *dot = strrchr(e->d_name, '.');
    if (!dot || strcmp(dot, ".cell") != 0) continue;
    check_messages(e->d_name);
    count++;
  }
  closedir(dir);
  assert_true(count > 50);
}

/* ---- parameters ---- */

static void has_parameter(const CellModule *m, const char *name, const char *group, int rank,
                          int32_t a, int32_t b) {
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    if (strcmp(p->name, name) != 0) continue;
    assert_string_equal(p->group, group);
    assert_int_equal(p->rank, rank);
    assert_int_equal(p->shape[0], a);
    if (rank > 1) assert_int_equal(p->shape[1], b);
    return;
  }
  fail_msg("no parameter %s", name);
}

static void test_parameters(void **state) {
  (void)state;
  Build b =
      build("def block(x, n) { a = linear(linear(x, n), n)  output a + linear(x, n) }\n"
            "def bias(n) = parameter([n], normal(0.1))\n"
            "cell A(n, f = std)(below, self?) {\n"
            "  x = concat(below, self)\n"
            "  h = layer_norm(relu(linear(x, n)))\n"
            "  y = linear(relu(linear(h, 7)), 8) + linear(h, 8, bias = false)\n"
            "  z = block(y, 5) + block(y, 5)\n"
            "  v = parameter([3, 4], orthogonal(2)) * parameter([3, 4])\n"
            "  q = bias(6)\n"
            "  output h\n"
            "  goodness f(linear(concat(z, v, q, action), 9))\n"
            "}\n"
            "stack { l1 = A(10, layer) { below: obs, self: prev(l1) } l2 = A(4) { below: l1 } b = "
            "end_to_end { l2 } }\n"
            "def layer(x) = mean(x) * sum(parameter([2], ones))\n");
  const CellModule *m = b.module;
  has_parameter(m, "l1/h/linear/weight", "l1", 2, 10, 410);
  has_parameter(m, "l1/h/linear/bias", "l1", 1, 10, 0);
  has_parameter(m, "l1/h/layer_norm/scale", "l1", 1, 10, 0);
  has_parameter(m, "l1/h/layer_norm/offset", "l1", 1, 10, 0);
  has_parameter(m, "l1/y/linear/weight", "l1", 2, 7, 10);
  has_parameter(m, "l1/y/linear_2/weight", "l1", 2, 8, 7);
  has_parameter(m, "l1/y/linear_3/weight", "l1", 2, 8, 10);
  has_parameter(m, "l1/z/block/a/linear/weight", "l1", 2, 5, 8);
  has_parameter(m, "l1/z/block/a/linear_2/weight", "l1", 2, 5, 5);
  has_parameter(m, "l1/z/block/output/linear/weight", "l1", 2, 5, 8);
  has_parameter(m, "l1/z/block_2/a/linear/bias", "l1", 1, 5, 0);
  has_parameter(m, "l1/v", "l1", 2, 3, 4);
  has_parameter(m, "l1/v_2", "l1", 2, 3, 4);
  has_parameter(m, "l1/q/bias", "l1", 1, 6, 0);
  has_parameter(m, "l1/goodness/linear/weight", "l1", 2, 9, 5 + 12 + 6 + 6);
  has_parameter(m, "l1/goodness/layer", "l1", 1, 2, 0);
  has_parameter(m, "l2/h/linear/weight", "b", 2, 4, 10);
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    if (strcmp(p->name, "l1/v") == 0) {
      assert_int_equal(p->init, CELL_INIT_ORTHOGONAL);
      assert_true(p->init_arg == 2);
    }
    if (strcmp(p->name, "l1/h/linear/weight") == 0) assert_int_equal(p->init, CELL_INIT_LECUN);
    for (int k = 0; k < i; k++) assert_string_not_equal(p->name, m->params[k].name);
  }
  done(&b);
}

/* ---- what is evaluated where ---- */

#define SCALAR_CELL                                                                                \
  "cell A(n)(below, skip?, self?, top?) {\n"                                                       \
  "  h = relu(linear(concat(below, skip, self, top), n))\n"                                        \
  "  output h\n  goodness mean(tanh(linear(concat(h, action), n)))\n}\n"
#define VECTOR_CELL                                                                                \
  "cell V(n)(below) {\n  h = relu(linear(below, n))\n  output h\n  goodness linear(h, "            \
  "actions)\n}\n"

static int candidate_takes(const CellGraph *g) {
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    count += n->op == CELL_OP_TAKE && n->dim == -1;
  }
  return count;
}

static void test_instances(void **state) {
  (void)state;
  /* the goodness is evaluated at the taken action, at all of the next step's, at the best one */
  Build b = build(SCALAR_CELL "stack { l1 = A(8) { below: obs, self: prev(l1) } }\n");
  const CellGraph *g = cell_program(b.module, "update");
  assert_int_equal(readers(g, "params/l1/h/linear/weight"), 2);
  assert_int_equal(readers(g, "target/l1/h/linear/weight"), 2);
  assert_int_equal(readers(g, "params/l1/goodness/linear/weight"), 2);
  assert_int_equal(readers(g, "target/l1/goodness/linear/weight"), 1);
  assert_int_equal(candidate_takes(g), 0);
  assert_int_equal(count_ops(g, CELL_OP_SCAN), 2);
  assert_int_equal(g->minimize_count, 1);
  assert_int_equal(g->axes[CELL_AXIS_TIME].extent, 10);
  assert_int_equal(g->axes[CELL_AXIS_BATCH].extent, 512);
  assert_int_equal(g->axes[CELL_AXIS_CANDIDATE].extent, 6);
  /* bodies of the context hold the hidden layer alone */
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellGraph *body = cell_node(g, v)->body;
    if (body) assert_int_equal(count_ops(body, CELL_OP_CONTRACT), 1);
  }
  done(&b);

  /* all candidates of the target are read: the best one is taken from them */
  b = build(SCALAR_CELL "stack { l1 = A(8) { below: obs } }\nlearn td(double = false)\n");
  g = cell_program(b.module, "update");
  assert_int_equal(readers(g, "params/l1/goodness/linear/weight"), 1);
  assert_int_equal(readers(g, "target/l1/goodness/linear/weight"), 1);
  assert_int_equal(candidate_takes(g), 1);
  /* nothing is carried: no context */
  assert_int_equal(count_ops(g, CELL_OP_SCAN), 0);
  assert_int_equal(cell_find_input(g, "context"), CELL_NONE);
  done(&b);

  /* a vector of actions: entries are picked, nothing varies over candidates */
  b = build(VECTOR_CELL "stack { l1 = V(8) { below: obs } }\n");
  g = cell_program(b.module, "update");
  for (CellValue v = 0; v < g->node_count; v++)
    assert_false(cell_node(g, v)->axes & CELL_AXIS(CELL_AXIS_CANDIDATE));
  done(&b);
}

static void test_forms(void **state) {
  (void)state;
  same_programs(SCALAR_CELL "stack A [8, 7, 6] with skip(obs), self, top_down\n",
                SCALAR_CELL "stack {\n"
                            "l1 = A(8) { below: obs, self: prev(l1), top: prev(l2) }\n"
                            "l2 = A(7) { below: l1, skip: obs, self: prev(l2), top: prev(l3) }\n"
                            "l3 = A(6) { below: l2, skip: obs, self: prev(l3) } }\n");
  same_programs(SCALAR_CELL "stack A [8, 7] with self(0.5), top_down(2)\n",
                SCALAR_CELL "stack {\n"
                            "l1 = A(8) { below: obs, self: 0.5 * prev(l1), top: 2 * prev(l2) }\n"
                            "l2 = A(7) { below: l1, self: 0.5 * prev(l2) } }\n");
  /* defaults of a file that does not say how it learns */
  same_programs(VECTOR_CELL "stack { l1 = V(8) { below: obs } }\n",
                VECTOR_CELL "stack { l1 = V(8) { below: obs } }\n"
                            "learn td(gamma = 0.99, double = true, loss = squared)\npolicy mean\n");
  /* an unconnected port is as if it were not there */
  same_programs(SCALAR_CELL "stack { l1 = A(8) { below: obs, top: none, self: prev(l1) } }\n",
                SCALAR_CELL "param t = false\nstack { l1 = A(8) { below: obs, self: prev(l1), "
                            "top: if t then prev(l1) else none } }\n");
}

static void test_blocks(void **state) {
  (void)state;
  Build b = build(SCALAR_CELL VECTOR_CELL
                  "cell P(n)(below) { output linear(below, n) }\n"
                  "stack { l0 = P(5) { below: obs } l1 = A(8) { below: l0 } l2 = V(8) { below: l1 }"
                  " l3 = V(8) { below: l2 } all = end_to_end { l0, l1, l2 } }\n");
  const CellGraph *g = cell_program(b.module, "update");
  assert_int_equal(g->minimize_count, 2);
  assert_string_equal(g->minimize[0].group, "all");
  assert_string_equal(g->minimize[1].group, "l3");
  assert_int_not_equal(cell_find_output(g, "metric/l1/loss"), CELL_NONE);
  assert_int_not_equal(cell_find_output(g, "metric/l2/loss"), CELL_NONE);
  done(&b);
}

static void test_carries(void **state) {
  (void)state;
  Build b = build("cell A(n)(below, back, far) {\n"
                  "  h = relu(linear(concat(below, back, far), n))\n  m = reshape(h, [2, 4])\n"
                  "  output h\n  goodness linear(h, actions)\n}\n"
                  "stack { l1 = A(8) { below: prev(l2.m, 2)[1, :], back: 0.5 * prev(l1)[0:3], far: "
                  "prev(obs) } l2 = A(8) { below: l1, back: l1.m, far: l1 } }\n"
                  "train { context = 3 context_alpha = 0.25 }\n");
  static const char *const names[] = {"l2.m", "l2.m@2", "l1", "obs"};
  const CellCarry *carries;
  assert_int_equal(cell_spec_carries(b.spec, &carries), 4);
  const CellGraph *act = cell_program(b.module, "act");
  for (int i = 0; i < 4; i++) {
    assert_string_equal(carries[i].name, names[i]);
    char name[32];
    snprintf(name, sizeof name, "state/%s", names[i]);
    assert_int_not_equal(cell_find_output(act, name), CELL_NONE);
  }
  assert_int_equal(carries[0].rank, 2);
  assert_int_equal(carries[3].rank, 3);
  assert_string_equal(carries[3].cell, "");
  has_parameter(b.module, "l1/h/linear/weight", "l1", 2, 8, 4 + 3 + 400);
  done(&b);
}

/* ---- settings ---- */

static const char *setting(const CellSpec *spec, const char *path, const char **origin) {
  const CellResolved *list;
  int count = cell_spec_settings(spec, &list);
  for (int i = 0; i < count; i++)
    if (strcmp(list[i].path, path) == 0) {
      *origin = list[i].origin;
      return list[i].value;
    }
  fail_msg("no setting %s", path);
  return NULL;
}

static void expect_setting(const CellSpec *spec, const char *path, const char *value,
                           const char *origin) {
  const char *from = "";
  assert_string_equal(setting(spec, path, &from), value);
  assert_string_equal(from, origin);
}

static void test_settings(void **state) {
  (void)state;
  static const char text[] =
      "network n\nparam width = 8\nparam other = 2 * width\n" VECTOR_CELL
      "stack { l1 = V(other) { below: obs } }\nlearn td(gamma = 0.9)\n"
      "train { batch = 32  steps = 4e6  advance_on_random = true  compat = arq2026\n"
      "  optimizer = adam(lr = 1e-3, clip = 2)  epsilon = ramp(0.5, 0.1, over = 1/4) }\n"
      "variant small { width = 4  train.batch = 16  train.steps = 100e3 }\n"
      "variant large { width = 40 }\n";
  const char *sets[] = {"train.batch=8", "learn.gamma=1/2", "train.optimizer=adam(lr = 0.5)"};
  CellSpecOptions load = {.variant = "small", .sets = sets, .set_count = 3};
  CellBuildOptions options = {.update = true};
  Build b = build_with("t.cell", text, &load, &usual, &options);
  assert_non_null(b.module);
  const CellTrain *t = cell_spec_train(b.spec);
  assert_int_equal(t->batch, 8);
  assert_int_equal(t->steps, 100000);
  assert_true(t->init_shared && t->episode_terminated && t->advance_on_random);
  assert_true(t->optimizer.lr == 0.5 && t->optimizer.clip == 2 && t->optimizer.b2 == 0.999);
  assert_true(t->epsilon_from == 0.5 && t->epsilon_to == 0.1 && t->epsilon_over == 0.25);
  expect_setting(b.spec, "train.batch", "8", "--set");
  expect_setting(b.spec, "train.steps", "100000", "variant small");
  expect_setting(b.spec, "train.warmup", "50000", "default");
  expect_setting(b.spec, "train.init", "shared", "file");
  expect_setting(b.spec, "width", "4", "variant small");
  expect_setting(b.spec, "l1.n", "other", "file");
  expect_setting(b.spec, "learn.gamma", "(1 / 2)", "--set");
  has_parameter(b.module, "l1/h/linear/bias", "l1", 1, 8, 0);
  const char *const *variants;
  assert_int_equal(cell_spec_variants(b.spec, &variants), 2);
  assert_string_equal(variants[1], "large");
  assert_string_equal(cell_spec_name(b.spec), "n");
  done(&b);

  const char *more[] = {"l1.n=5", "train.compat=arq2026", "l1.below=concat(obs, prev(obs))"};
  load = (CellSpecOptions){.sets = more, .set_count = 3};
  b = build_with("t.cell", text, &load, &usual, &options);
  assert_non_null(b.module);
  has_parameter(b.module, "l1/h/linear/weight", "l1", 2, 5, 800);
  done(&b);
}

/* ---- values ---- */

/* A small network whose parameters and data come from a counter; its records and values. */
typedef struct {
  Build build;
  const CellGraph *g;
  CellTensor *outputs;
} Run;

static double noise(uint64_t i) {
  uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (double)((z ^ (z >> 31)) >> 40) / (1 << 24) * 2 - 1;
}

static Run evaluate(const char *text, const char *program, const char *const *wanted, int count) {
  static const CellShapes shapes = {.obs_rank = 1, .obs_shape = {5}, .actions = 4};
  CellBuildOptions options = {.act_batch = 6, .inspect = wanted, .inspect_count = count};
  Run r = {.build = build_with("t.cell", text, NULL, &shapes, &options)};
  if (!r.build.module) {
    cell_diag_print(r.build.diag, stderr, false);
    fail_msg("does not build:\n%s", text);
  }
  for (int i = 0; i < r.build.module->program_count; i++)
    r.build.module->programs[i]->minimize_count = 0;
  assert_true(cell_pass_dce(r.build.module, r.build.diag));
  const CellGraph *g = r.g = cell_program(r.build.module, program);
  CellArena *arena = r.build.arena;
  CellTensor *inputs = CELL_NEW_ARRAY(arena, CellTensor, g->node_count + 1);
  int input_count = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op != CELL_OP_INPUT) continue;
    CellTensor *t = &inputs[input_count++];
    t->name = n->name;
    t->count = cell_count(g, v) * cell_extent(g, n->axes);
    t->data = CELL_NEW_ARRAY(arena, double, t->count);
    for (int64_t i = 0; i < t->count; i++)
      t->data[i] = n->dtype == CELL_I ? (double)(i % 4) : noise((uint64_t)(i + 100 * v));
  }
  r.outputs = CELL_NEW_ARRAY(arena, CellTensor, g->output_count + 1);
  assert_true(cell_eval(g, inputs, input_count, r.outputs, arena, r.build.diag));
  return r;
}

static const CellTensor *result(const Run *r, const char *name) {
  for (int i = 0; i < r->g->output_count; i++)
    if (strcmp(r->outputs[i].name, name) == 0) return &r->outputs[i];
  fail_msg("no output %s", name);
  return NULL;
}

static void near(double a, double b) {
  if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g is not %.17g", a, b);
}

/* expressions of the language and their entries */
static const struct {
  const char *expr;
  double entries[9]; /* up to the first NAN */
} values[] = {
    {"1/2 + 2^3 - -1", {9.5, NAN}},
    {"-3^2", {-9, NAN}},
    {"7 % 4 + (-1) % 4", {6, NAN}},
    {"range(4) * 2 + 1", {1, 3, 5, 7, NAN}},
    {"range(4) % 3", {0, 1, 2, 0, NAN}},
    {"(range(3) - 5) % 3", {1, 2, 0, NAN}},
    {"range(3) > 1", {0, 0, 1, NAN}},
    {"where(range(3) >= 1, range(3), 7)", {7, 1, 2, NAN}},
    {"reshape(range(6), [2, 3]).T", {0, 3, 1, 4, 2, 5, NAN}},
    {"reshape(range(6), [2, 3]) @ range(3)", {5, 14, NAN}},
    {"range(2) @ reshape(range(6), [2, 3])", {3, 4, 5, NAN}},
    {"range(3) @ range(3)", {5, NAN}},
    {"reshape(range(4), [2, 2]) @ reshape(range(4), [2, 2])", {2, 3, 6, 11, NAN}},
    {"reshape(range(4), [2, 1, 2]) @ reshape(range(4), [2, 2, 1])", {1, 13, NAN}},
    {"concat(range(2), 5, reshape(range(4), [2, 2]))", {0, 1, 5, 0, 1, 2, 3, NAN}},
    {"concat(reshape(range(4), [2, 2]), reshape(range(2), [2, 1]), axis = 1)",
     {0, 1, 0, 2, 3, 1, NAN}},
    {"reshape(range(6), [2, 3])[1]", {3, 4, 5, NAN}},
    {"reshape(range(6), [2, 3])[:, 1:]", {1, 2, 4, 5, NAN}},
    {"reshape(range(6), [2, 3])[1, 2]", {5, NAN}},
    {"range(5)[argmax([3, 4][1] - range(5))]", {0, NAN}},
    {"size(reshape(range(6), [2, 3]))", {3, NAN}},
    {"size(reshape(range(6), [2, 3]), axis = 0)", {2, NAN}},
    {"sum(reshape(range(6), [2, 3]))", {3, 12, NAN}},
    {"sum(reshape(range(6), [2, 3]), axis = 0)", {3, 5, 7, NAN}},
    {"sum(reshape(range(6), [2, 3]), axis = -2, keep = true) + reshape(range(2), [2, 1])",
     {3, 5, 7, 4, 6, 8, NAN}},
    {"max(reshape(range(6), [2, 3]), axis = 0)", {3, 4, 5, NAN}},
    {"min(reshape(range(6), [2, 3]))", {0, 3, NAN}},
    {"max(range(3), 1, 0.5)", {1, 1, 2, NAN}},
    {"min(3, 2)", {2, NAN}},
    {"argmax(-(range(4) - 2)^2)", {2, NAN}},
    {"one_hot(argmax(range(3)), 4)", {0, 0, 1, 0, NAN}},
    {"one_hot(2, 3)", {0, 0, 1, NAN}},
    {"constant([2, 2], 3)", {3, 3, 3, 3, NAN}},
    {"flatten(constant([2, 1], pi))", {3.14159265358979323846, 3.14159265358979323846, NAN}},
    {"abs(range(3) - 1)", {1, 0, 1, NAN}},
    {"sign(range(3) - 1) + floor(range(3) / 2)", {-1, 0, 2, NAN}},
    {"relu(1 - range(3))", {1, 0, 0, NAN}},
    {"sqrt(range(3)^2)", {0, 1, 2, NAN}},
    {"exp(0) + log(1) + tanh(0) + sigmoid(0) + cos(0) + sin(0)", {2.5, NAN}},
    {"mean(range(5))", {2, NAN}},
    {"var(range(4)) + std(constant([3], 1))", {1.25, NAN}},
    {"std(range(4) * 2)", {2.2360679774997896964, NAN}},
    {"rms(range(3) + 1)", {2.1602468994692867437, NAN}},
    {"ms(range(3)) + ss(range(3))", {5 / 3.0 + 5, NAN}},
    {"standardize(range(2))", {-0.5 / (0.5 + 1e-6), 0.5 / (0.5 + 1e-6), NAN}},
    {"softmax(constant([4], 2))", {0.25, 0.25, 0.25, 0.25, NAN}},
    {"log_softmax(constant([2], 2))", {-0.69314718055994530942, -0.69314718055994530942, NAN}},
    {"softplus(0)", {0.69314718055994530942, NAN}},
    {"squared(range(3))", {0, 1, 4, NAN}},
    {"huber(range(3))", {0, 0.5, 1.5, NAN}},
    {"huber(range(3), delta = 2)", {0, 0.5, 2, NAN}},
    {"clip(range(4), 1, 2)", {1, 1, 2, 2, NAN}},
    {"dot(range(3), range(3))", {5, NAN}},
    {"outer(range(2), range(3) + 1)", {0, 0, 0, 1, 2, 3, NAN}},
    {"l2_normalize(range(2) * 3)", {0, 1, NAN}},
    {"simnorm(constant([4], 1), group = 2)", {0.5, 0.5, 0.5, 0.5, NAN}},
    {"elu(0 - range(2)) + leaky_relu(range(2)) + silu(0) + gelu(0)",
     {0, 1 + 0.36787944117144232160 - 1, NAN}},
    {"if 3 > 2 then 1 else nothing", {1, NAN}},
    {"if std == std then 1 else 2", {1, NAN}},
    {"sum([range(2), 3, constant([2], 1)], axis = 0)", {4, 5, NAN}},
    {"mean([1, 2, 6], axis = 0)", {3, NAN}},
    {"size([1, 2, 6], axis = 0)", {3, NAN}},
    {"argmax([1, 7, 2], axis = 0)", {1, NAN}},
    {"sum([k * k for k in [1, 2, 3]], axis = 0)", {14, NAN}},
    {"twice(x = 2)", {5, NAN}},
    {"twice(3, k = 3)", {10, NAN}},
    {"half", {4, NAN}},
};

static void test_values(void **state) {
  (void)state;
  static const char *const wanted[] = {"v"};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    char text[1024];
    snprintf(text, sizeof text,
             "param half = full / 2\nparam full = 8\n"
             "def twice(x, k = 2) { a = k * x  output a + 1 }\n" VECTOR_CELL
             "stack { l1 = V(3) { below: obs } }\n"
             "rule r() { for c in cells { minimize c.goodness[taken]^2 over c }\n"
             "  record v = %s }\nlearn r\n",
             values[i].expr);
    Run r = evaluate(text, "inspect", wanted, 1);
    const CellTensor *v = result(&r, "v");
    int64_t k = 0;
    for (; !isnan(values[i].entries[k]); k++)
      if (k >= v->count || !(fabs(v->data[k] - values[i].entries[k]) <= 1e-12))
        fail_msg("%s: entry %d is %.17g, not %.17g", values[i].expr, (int)k,
                 k < v->count ? v->data[k] : NAN, values[i].entries[k]);
    if (v->count != k) fail_msg("%s has %d entries", values[i].expr, (int)v->count);
    done(&r.build);
  }
}

/* what rules see of values that depend on the action, for cells of both kinds */
static void test_rule_views(void **state) {
  (void)state;
  static const char *const kinds[] = {SCALAR_CELL "stack { l1 = A(3) { below: obs } }\n",
                                      VECTOR_CELL "stack { l1 = V(3) { below: obs } }\n"};
  static const char *const wanted[] = {"l1/"};
  for (int kind = 0; kind < 2; kind++) {
    char text[2048];
    snprintf(text, sizeof text,
             "train { batch = 6 }\n%s"
             "rule r() { for c in cells {\n"
             "  minimize c.goodness[taken]^2 over c\n"
             "  record taken_q = c.goodness[taken]\n"
             "  record first = c.goodness[0]\n"
             "  record mean_q = mean(c.goodness)\n"
             "  record advantage = c.goodness - mean(c.goodness, keep = true)\n"
             "  record soft = sum(softmax(c.goodness) * c.goodness)\n"
             "  record ranked = sum(c.goodness * range(actions))\n"
             "  record count = size(c.goodness)\n"
             "  record margin = (c.goodness - max(c.goodness))[taken]\n"
             "  record best = one_hot(argmax(c.goodness), actions) @ range(actions)\n"
             "} }\nlearn r\n",
             kinds[kind]);
    Run r = evaluate(text, "inspect", wanted, 1);
    const CellTensor *q = result(&r, "l1/q");
    assert_int_equal(q->count, 24);
    for (int b = 0; b < 6; b++) {
      const double *row = q->data + 4 * b;
      double mean = 0, most = row[0], total = 0, soft = 0, ranked = 0;
      int best = 0, taken = b % 4;
      for (int a = 0; a < 4; a++) {
        mean += row[a] / 4, ranked += a * row[a];
        if (row[a] > most) most = row[a], best = a;
      }
      for (int a = 0; a < 4; a++) total += exp(row[a] - most);
      for (int a = 0; a < 4; a++) soft += exp(row[a] - most) / total * row[a];
      near(result(&r, "l1/taken_q")->data[b], row[taken]);
      near(result(&r, "l1/first")->data[b], row[0]);
      near(result(&r, "l1/mean_q")->data[b], mean);
      for (int a = 0; a < 4; a++) near(result(&r, "l1/advantage")->data[4 * b + a], row[a] - mean);
      near(result(&r, "l1/soft")->data[b], soft);
      near(result(&r, "l1/ranked")->data[b], ranked);
      near(result(&r, "l1/margin")->data[b], row[taken] - most);
      near(result(&r, "l1/best")->data[b], best);
    }
    near(result(&r, "l1/count")->data[0], 4);
    done(&r.build);
  }
}

/* the policies of the prelude, over cells of both kinds together */
static void test_policies(void **state) {
  (void)state;
  static const char *const uses[] = {"mean", "sum", "last", "vote", "mean(l1, l3)", "last(l2)"};
  for (int p = 0; p < 6; p++) {
    char text[1024];
    snprintf(
        text, sizeof text,
        SCALAR_CELL VECTOR_CELL
        "stack { l1 = A(3) { below: obs } l2 = V(4) { below: obs } l3 = A(5) { below: obs } }\n"
        "policy %s\n",
        uses[p]);
    Run r = evaluate(text, "act", NULL, 0);
    const CellTensor *q[3] = {result(&r, "l1/q"), result(&r, "l2/q"), result(&r, "l3/q")};
    for (int b = 0; b < 6; b++) {
      double score[4] = {0}, mean[4] = {0};
      for (int a = 0; a < 4; a++)
        for (int i = 0; i < 3; i++) mean[a] += q[i]->data[4 * b + a];
      for (int i = 0; i < 3; i++) {
        const double *row = q[i]->data + 4 * b;
        int best = 0;
        for (int a = 1; a < 4; a++) best = row[a] > row[best] ? a : best;
        for (int a = 0; a < 4; a++) {
          if (p < 2 || (p == 2 && i == 2) || (p == 4 && i != 1) || (p == 5 && i == 1))
            score[a] += row[a];
          if (p == 3) score[a] += (a == best) * 100 + mean[a] / 1000;
        }
      }
      int best = 0;
      for (int a = 1; a < 4; a++) best = score[a] > score[best] ? a : best;
      if (result(&r, "action")->data[b] != best) fail_msg("policy %s, row %d", uses[p], b);
    }
    assert_int_equal(result(&r, "q")->count, 24);
    done(&r.build);
  }
}

/* every example with each of its variants */
static void test_examples(void **state) {
  (void)state;
  DIR *dir = opendir(CELLC_SOURCE_DIR "/examples");
  assert_non_null(dir);
  for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    const char *dot = strrchr(e->d_name, '.');
    if (!dot || strcmp(dot, ".cell") != 0) continue;
    char path[4096];
    snprintf(path, sizeof path, CELLC_SOURCE_DIR "/examples/%s", e->d_name);
    char *text = cell_test_read(path, NULL);
    CellBuildOptions options = {.act_batch = 1, .update = true, .sync = true};
    CellSpecOptions load = {0};
    const char *const *variants = NULL;
    for (int i = 0, count = 1; i < count; i++) {
      Build b = build_with(e->d_name, text, &load, &usual, &options);
      if (!b.module) {
        cell_diag_print(b.diag, stderr, false);
        fail_msg("%s, variant %s", e->d_name, load.variant ? load.variant : "none");
      }
      int found = cell_spec_variants(b.spec, &variants);
      count = found + 1;
      free((char *)load.variant);
      load.variant = i < found ? strdup(variants[i]) : NULL;
      done(&b);
    }
    free((char *)load.variant);
    free(text);
  }
  closedir(dir);
}

/* the first example of docs/language.md builds, and its table has every setting with its default */
static void test_docs(void **state) {
  (void)state;
  char *text = cell_test_read(CELLC_SOURCE_DIR "/docs/language.md", NULL);
  assert_non_null(text);
  char *from = strstr(text, "```\n") + 4;
  char *example = strndup(from, (size_t)(strstr(from, "```") - from));
  Build b = build(example);
  const CellResolved *list;
  int count = cell_spec_settings(b.spec, &list);
  for (int i = 0; i < count; i++) {
    if (strncmp(list[i].path, "train.", 6) != 0) continue;
    char row[64];
    snprintf(row, sizeof row, "\n| `%s` |", list[i].path + 6);
    if (!strstr(text, row)) fail_msg("docs/language.md has no row for %s", list[i].path);
  }
  done(&b);
  free(example);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_messages),   cmocka_unit_test(test_parameters),
      cmocka_unit_test(test_instances),  cmocka_unit_test(test_forms),
      cmocka_unit_test(test_blocks),     cmocka_unit_test(test_carries),
      cmocka_unit_test(test_settings),   cmocka_unit_test(test_values),
      cmocka_unit_test(test_rule_views), cmocka_unit_test(test_policies),
      cmocka_unit_test(test_examples),   cmocka_unit_test(test_docs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
