/* Networks of many kinds, from text through all passes: gradients against finite differences of the
 * recorded losses, and the optional passes against programs without them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/frontend.h"

#include <math.h>
#include <string.h>

#define DENSE                                                                                      \
  "cell Dense(n)(below) {\n"                                                                       \
  "  h = elu(linear(below, n))\n  k = gelu(linear(h, n)) + silu(h) + leaky_relu(linear(h, n))\n"   \
  "  s = simnorm(softplus(k), group = 2)\n  output s\n"                                            \
  "  goodness linear(l2_normalize(concat(k, s)), actions)\n}\n"
#define ATTENTION                                                                                  \
  "cell Att(n)(below, skip?) {\n"                                                                  \
  "  x = concat(below, skip)\n  h = layer_norm(tanh(linear(x, n)))\n"                              \
  "  xa = concat(x, action)\n"                                                                     \
  "  a = reshape(linear(xa, 2 * n, bias = false), [2, n])\n"                                       \
  "  b = reshape(linear(xa, 2 * n, bias = false), [2, n])\n"                                       \
  "  w = softmax(b.T @ a / sqrt(2))\n  output h\n  goodness std(w @ h) + mean(h)\n}\n"
#define PLAIN                                                                                      \
  "cell Plain(n)(below) {\n  h = sigmoid(linear(below, n))\n  output h\n"                          \
  "  goodness linear(h, actions)\n}\n"

static const struct {
  const char *name, *text;
  bool bits;
} networks[] = {
    {"ordinary backpropagation inside one cell", DENSE "stack { l1 = Dense(6) { below: obs } }\n",
     false},
    {"softmax attention, action at the input",
     ATTENTION "stack { l1 = Att(5) { below: obs } l2 = Att(4) { below: l1, skip: obs } }\n",
     false},
    {"action bits", ATTENTION "stack { l1 = Att(5) { below: obs } }\n", true},
    {"rank 3 and batched products",
     "cell R(n)(below) {\n  a = reshape(linear(below, 2 * 3 * n), [2, 3, n])\n"
     "  b = reshape(linear(below, 2 * n * 2), [2, n, 2])\n"
     "  c = standardize(a @ b, axis = 1) * (1 + mean(a, axis = 0, keep = true)[:, :, 0:1])\n"
     "  d = max(c, axis = 0) - min(c, axis = -1, keep = true)[0] + linear(c, 2, axis = -1)[1]\n"
     "  output flatten(c)\n  goodness linear(where(d > 0.1, d, d^2), actions)\n}\n"
     "stack { l1 = R(4) { below: obs } }\n",
     false},
    {"an output that depends on the action",
     "cell In(n)(below) {\n  h = tanh(linear(below, n))\n  output h\n  goodness rms(h)\n}\n"
     "stack { l1 = In(5) { below: concat(obs, action) } l2 = In(4) { below: l1 } }\n",
     false},
    {"a block beside a cell of its own",
     PLAIN ATTENTION
     "stack { l1 = Plain(5) { below: obs } l2 = Att(4) { below: l1 } l3 = Plain(3) { below: "
     "concat(l1, l2) } end_to_end { l1, l2 } }\n",
     false},
    {"a trunk without a goodness",
     PLAIN "cell Trunk(n)(below) { output tanh(linear(below, n)) }\n"
           "stack { l0 = Trunk(4) { below: obs } l1 = Plain(5) { below: l0 } b = end_to_end { l0, "
           "l1 } }\nlearn td(double = false, loss = huber)\n",
     false},
    {"a loss over all actions",
     ATTENTION PLAIN "stack { l1 = Att(4) { below: obs } l2 = Plain(4) { below: l1 } }\n"
                     "rule cross_entropy() { for c in cells {\n"
                     "  minimize log(sum(exp(c.goodness))) - c.goodness[taken] over c\n"
                     "} }\nlearn cross_entropy\n",
     false},
    {"values of the body in a rule",
     "cell Z(n)(below) {\n  z = linear(concat(tanh(linear(below, n)), action), 4)\n"
     "  h = linear(below, 2)\n  goodness mean(z)\n}\n"
     "stack { l1 = Z(4) { below: obs } }\n"
     "rule quantiles(gamma = 0.9) { for c in cells {\n"
     "  best = argmax(next(c.goodness))\n"
     "  goal = returns(gamma) + discount(gamma) * next(target(c.z))[best]\n"
     "  e = reshape(goal, [1, 4]) - reshape(c.z[taken], [4, 1])\n"
     "  total = 0\n  for i in 0:2 { total = total + c.h[i]^2 }\n"
     "  minimize mean(mean(huber(e))) + 0.1 * total over c with sgd(lr = 0.1)\n"
     "} }\nlearn quantiles()\n",
     false},
    {"picking by an index",
     "cell P(n)(below) {\n  m = reshape(linear(below, 3 * n), [3, n])\n"
     "  k = m[argmax(sum(m))] + one_hot(argmax(m[0]), n) * m[1] + range(n) % 2\n"
     "  goodness linear(k + k * stop_gradient(1 + floor(k)), actions)\n}\n"
     "stack { l1 = P(4) { below: obs } }\n",
     false},
};
enum { NETWORKS = sizeof networks / sizeof networks[0], BATCH = 3, ACTIONS = 4, OBS = 6 };

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  CellModule *module;
  const CellGraph *g;
  CellTensor *inputs;
  int input_count;
} Net;

static double noise(uint64_t i) {
  uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (double)((z ^ (z >> 31)) >> 40) / (1 << 24) * 2 - 1;
}

static Net make(int which, bool optional) {
  Net n = {.arena = cell_arena_create(), .diag = cell_diag_create()};
  const char *text =
      cell_arena_printf(n.arena, "%s train { batch = %d }\n", networks[which].text, BATCH);
  int source = cell_diag_source(n.diag, "t.cell", text, strlen(text));
  CellSpec *spec = cell_spec_load(n.arena, n.diag, source, NULL);
  CellShapes shapes = {.obs_rank = 2,
                       .obs_shape = {2, OBS / 2},
                       .code = networks[which].bits ? CELL_ACTION_BITS : CELL_ACTION_ONEHOT,
                       .actions = ACTIONS};
  static const char *const wanted[] = {"grad/", "l1/loss", "l2/loss", "l3/loss", "l1/q"};
  CellBuildOptions options = {.inspect = wanted, .inspect_count = optional ? 4 : 5};
  n.module = spec ? cell_spec_build(spec, &shapes, &options, n.diag) : NULL;
  static const char *const names[] = {"parts", "algebra", "algebra2"};
  CellPassOptions passes = {.verify = true};
  if (!optional) passes.disabled = names, passes.disabled_count = 3;
  if (!n.module || !cell_run_passes(n.module, &passes, n.diag)) {
    cell_diag_print(n.diag, stderr, false);
    fail_msg("%s does not build", networks[which].name);
  }
  const CellGraph *g = n.g = cell_program(n.module, "inspect");
  n.inputs = CELL_NEW_ARRAY(n.arena, CellTensor, g->node_count + 1);
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *node = cell_node(g, v);
    if (node->op != CELL_OP_INPUT) continue;
    CellTensor *t = &n.inputs[n.input_count++];
    t->name = node->name;
    t->count = cell_count(g, v) * cell_extent(g, node->axes);
    t->data = CELL_NEW_ARRAY(n.arena, double, t->count);
    uint64_t salt = 0;
    for (const char *p = t->name; *p; p++) salt = salt * 31 + (uint64_t)*p;
    for (int64_t i = 0; i < t->count; i++)
      t->data[i] = node->dtype == CELL_I                ? (double)((i * 3 + 1) % ACTIONS)
                   : strcmp(t->name, "terminated") == 0 ? (double)(i % 2)
                                                        : noise(salt + (uint64_t)i);
  }
  return n;
}

static void done(Net *n) {
  cell_diag_destroy(n->diag);
  cell_arena_destroy(n->arena);
}

static CellTensor *eval(const Net *n, CellArena *arena) {
  CellTensor *out = CELL_NEW_ARRAY(arena, CellTensor, n->g->output_count + 1);
  assert_true(cell_eval(n->g, n->inputs, n->input_count, out, arena, n->diag));
  return out;
}

static const CellTensor *find(const CellTensor *list, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(list[i].name, name) == 0) return &list[i];
  return NULL;
}

/* the loss of the group that a parameter belongs to: the sum over its cells */
static double loss_of(const Net *n, const CellTensor *out, const char *parameter) {
  const char *group = NULL;
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *p = &n->module->params[i];
    size_t length = strlen(p->name);
    bool same = strncmp(p->name, parameter, length) == 0 &&
                (parameter[length] == 0 || parameter[length] == '#');
    if (same) group = p->group;
  }
  assert_non_null(group);
  double sum = 0;
  for (int i = 0; i < n->g->output_count; i++) {
    const char *slash = strchr(out[i].name, '/');
    if (!slash || strcmp(slash, "/loss") != 0) continue;
    const char *cell = cell_arena_strndup(n->arena, out[i].name, (size_t)(slash - out[i].name));
    /* a cell's group is that of its parameters */
    for (int k = 0; k < n->module->param_count; k++) {
      const CellParam *p = &n->module->params[k];
      bool its = strncmp(p->name, cell, strlen(cell)) == 0 && p->name[strlen(cell)] == '/';
      if (!its) continue;
      if (strcmp(p->group, group) == 0) sum += out[i].data[0];
      break;
    }
  }
  return sum;
}

static void check_gradient(const Net *n, const char *name) {
  CellArena *arena = cell_arena_create();
  const CellTensor *out = eval(n, arena);
  int checked = 0;
  for (int i = 0; i < n->input_count; i++) {
    CellTensor *p = &n->inputs[i];
    if (strncmp(p->name, "params/", 7) != 0) continue;
    const CellTensor *grad =
        find(out, n->g->output_count, cell_arena_printf(arena, "grad/%s", p->name + 7));
    if (!grad) fail_msg("%s: no gradient of %s", name, p->name);
    for (int64_t k = 0; k < p->count; k += 1 + p->count / 12) {
      double was = p->data[k], loss[2];
      for (int side = 0; side < 2; side++) {
        CellArena *scratch = cell_arena_create();
        p->data[k] = was + (side ? 1e-5 : -1e-5);
        loss[side] = loss_of(n, eval(n, scratch), p->name + 7);
        cell_arena_destroy(scratch);
      }
      p->data[k] = was;
      double slope = (loss[1] - loss[0]) / 2e-5, got = grad->data[k];
      if (!(fabs(slope - got) <= 1e-6 * (1 + fabs(got))))
        fail_msg("%s: d loss / d %s[%d] is %.10g, differences say %.10g", name, p->name, (int)k,
                 got, slope);
      checked++;
    }
  }
  assert_true(checked > 5);
  cell_arena_destroy(arena);
}

static void test_gradients(void **state) {
  (void)state;
  for (int i = 0; i < NETWORKS; i++)
    for (int optional = 0; optional < 2; optional++) {
      Net n = make(i, optional);
      check_gradient(&n, networks[i].name);
      done(&n);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
