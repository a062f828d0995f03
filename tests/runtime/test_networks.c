/* Recorded networks through the whole program: text in, tensors in, tensors out, on every back end.
 *
 * Every file of CELLC_REFERENCE/arq, or of tests/data/arq without it: three updates one after the
 * other, each on what the one before left, the target copy behind the second, acting behind the
 * third. The text of each small network is written here from the file's description; the two full
 * sizes are an example with settings. What must hold:
 *
 *   interp, interp-kernels  1e-9 of a tensor's largest entry on values, losses, states, gradients;
 *                           1e-7 on parameters
 *   cpu                     1e-4 on values, losses, states, 1e-3 on gradients, each update from the
 *                           interpreter's parameters; in a chain of its own, parameters within 2 lr
 *                           an update and 0.02 lr an update for 99 % of all entries
 *   cuda                    as the cpu; with CELLC_TEST_PRECISION=tf32 or bf16 (both) also what products with
 *                           rounded factors make, against kernels that are interpreted with the same
 *                           rounding: 2e-2 and 3e-2 for tf32, 1e-1 and 2e-1 for bf16. What is left are
 *                           factors that float32 moves over an edge between two roundings: one is off by
 *                           5e-4 or 4e-3, and ten steps make thirty times that of it. The norms of the full
 *                           sizes' tensors, whose largest difference is that of millions of entries
 *
 * A next action whose value is nearer than 1e-5 to the best is as right as the best on the CPU; such
 * samples are counted, and where the other one was taken, loss and gradients are not compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/run_program.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CELLS = 8, PARTS = 6 };

// how far a back end may be off
typedef struct {
  CellBackend backend;
  const char *name;
  double values, gradients;
  CellPrecision precision;
} Bound;
static const Bound bounds[] = {
    {CELL_BACKEND_INTERP, "interp", 1e-9, 1e-9, CELL_FP32},
    {CELL_BACKEND_INTERP_KERNELS, "interp-kernels", 1e-9, 1e-9, CELL_FP32},
    {CELL_BACKEND_CPU, "cpu", 1e-4, 1e-3, CELL_FP32},
    {CELL_BACKEND_CUDA, "cuda", 1e-4, 1e-3, CELL_FP32}};
static const Bound reduced[] = {
    [CELL_TF32] = {CELL_BACKEND_CUDA, "cuda tf32", 2e-2, 3e-2, CELL_TF32},
    [CELL_BF16] = {CELL_BACKEND_CUDA, "cuda bf16", 1e-1, 2e-1, CELL_BF16}};
/* the same of the norms of the full sizes' tensors, where more factors lie at an edge */
static const Bound reduced_full[] = {
    [CELL_TF32] = {CELL_BACKEND_CUDA, "cuda tf32", 5e-2, 1e-1, CELL_TF32},
    [CELL_BF16] = {CELL_BACKEND_CUDA, "cuda bf16", 2e-1, 4e-1, CELL_BF16}};
/* what is compared with the interpreter: the CPU, or with CELLC_TEST_BACKEND=cuda a GPU, which is one of fibers
 * unless CELLC_CUDA_DRIVER names another */
static CellBackend compiled = CELL_BACKEND_CPU;
static CellPrecision precision; // the coarsest of its products

// What float32 cannot reach, whatever the order of its operations:
static const struct {
  const char *name, *values, *gradient;
  double value_bound, gradient_bound;
} hard[] = {
    // The target network's memory has a sample in which ten steps amplify a rounding a thousand
    // times. Adding up products in another order moves its state by 4e-6 to 1.3e-4.
    {"ad-reals.safetensors", "target", NULL, 1e-3, 0},
    // With one head z2 gives a row of the standardised product its sign and nothing else. What is
    // left of its gradient is 1 - s / (s + 1e-6): a rounding of it is a tenth of it.
    {"arq-one-head.safetensors", NULL, "z2/linear/weight", 0, 2e-2},
};
enum { HARD = sizeof hard / sizeof hard[0] };

typedef struct {
  const char *path, *name;
  CellTensors *file;
  CellArena *arena;
  CellDiag *diag;
  int cells, widths[MOST_CELLS];
  int heads, actions, size, batch, context;
  double lr, gamma;
  bool arq, input, full, doubled;
  CellText text;
  const char *sets[8];
  int set_count;
  const Bound *bound;
  double worst_value, worst_gradient, worst_param; // relative; parameters in lr on the CPU
  double far_value, far_gradient;                  // of rounded factors, from float64
  int64_t near, taken;                             // samples with two best actions; other one taken
} Network;

static char folder[] = "/tmp/cellc-networks-XXXXXX";

// ---- the description ----

static const char *word(const Network *n, const char *key) {
  const char *text = cell_tensors_metadata(n->file, key);
  if (!text) fail_msg("%s: no %s", n->path, key);
  return text;
}

static double real(const Network *n, const char *key) {
  return strtod(word(n, key), NULL);
}

static bool truth(const Network *n, const char *key) {
  return strcmp(word(n, key), "true") == 0;
}

static bool is(const Network *n, const char *key, const char *text) {
  const char *w = word(n, key);
  size_t length = strlen(text);
  return w[0] == '"' && strncmp(w + 1, text, length) == 0 && w[length + 1] == '"';
}

static const char *print(const Network *n, const char *format, ...) CELL_PRINTF(2, 3);
static const char *print(const Network *n, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = cell_arena_vprintf(n->arena, format, arguments);
  va_end(arguments);
  return text;
}

static const CellFileTensor *need(const Network *n, const CellTensors *file, const char *name) {
  const CellFileTensor *t = cell_tensors_find(file, name);
  if (!t) fail_msg("%s, %s: no %s", n->name, n->bound ? n->bound->name : "recorded", name);
  return t;
}

static void describe(Network *n) {
  for (const char *p = word(n, "widths"); *p; p++)
    if (*p >= '1' && *p <= '9') n->widths[n->cells++] = (int)strtol(p, (char **)&p, 10), p--;
  n->heads = (int)real(n, "K"), n->actions = (int)real(n, "A"), n->size = (int)real(n, "S");
  n->batch = (int)real(n, "B"), n->context = (int)real(n, "context");
  n->lr = real(n, "lr"), n->gamma = real(n, "gamma"), n->doubled = truth(n, "double");
  n->arq = is(n, "system", "arq"), n->input = n->arq && is(n, "action", "input");
  n->full = !cell_tensors_find(n->file, "params/cell1/W_h");
}

static const char *goodness(const Network *n) {
  static const char *const names[][2] = {
      {"std", "std"}, {"mean", "mean"}, {"msq", "ms"}, {"variance", "var"}, {"rms", "rms"}};
  if (!n->arq) return "w @ h";
  for (int i = 0; i < 5; i++)
    if (is(n, "goodness", names[i][0]))
      return print(n, n->input ? "%s(w @ h)" : "%s(reshape(w @ h, [actions, n]))", names[i][1]);
  fail_msg("%s: an unknown goodness", n->name);
  return NULL;
}

static void write_text(Network *n) {
  CellText *t = &n->text;
  cell_text_printf(t, "network recorded\n\ncell Attention(n, heads)(below, skip?, self?, top?) {\n"
                      "  x  = concat(below, skip, self, top)\n"
                      "  h  = layer_norm(relu(linear(x, n)))\n");
  const char *x = n->input ? "xa" : "x";
  const char *rows = n->input ? "n" : n->arq ? "(actions * n)" : "actions";
  if (n->input) cell_text_printf(t, "  xa = concat(x, action)\n");
  cell_text_printf(t, "  z1 = reshape(linear(%s, heads * n, bias = false), [heads, n])\n", x);
  cell_text_printf(t, "  z2 = reshape(linear(%s, heads * %s, bias = false), [heads, %s])\n", x,
                   rows, rows);
  cell_text_printf(t, "  w  = tanh(standardize(z2.T @ z1))\n  output   h\n  goodness %s\n}\n\n",
                   goodness(n));
  cell_text_printf(t, "stack {\n");
  for (int i = 1; i <= n->cells; i++) {
    cell_text_printf(t, "  l%d = Attention(%d, heads = %d) { below: ", i, n->widths[i - 1],
                     n->heads);
    cell_text_printf(t, i > 1 ? "l%d" : "obs", i - 1);
    if (i > 1 && truth(n, "skip")) cell_text_printf(t, ", skip: obs");
    const char *ports[] = {"self", "top"};
    for (int k = 0; k < 2; k++) {
      double weight = real(n, k ? "top_weight" : "self_weight");
      if (!truth(n, ports[k]) || i + k > n->cells) continue;
      cell_text_printf(t, ", %s: ", ports[k]);
      if (weight != 1) cell_text_printf(t, "%.17g * ", weight);
      cell_text_printf(t, "prev(l%d)", i + k);
    }
    cell_text_printf(t, " }\n");
  }
  cell_text_printf(t, "}\n\npolicy mean\nlearn  td(gamma = %.17g, double = %s, loss = %s)\n\n",
                   n->gamma, word(n, "double"), truth(n, "huber") ? "huber" : "squared");
  cell_text_printf(t, "train {\n  context = %d  context_alpha = %.17g  target_tau = %.17g\n",
                   n->context, real(n, "alpha"), real(n, "tau"));
  cell_text_printf(t, "  optimizer = adam(lr = %.17g, b1 = 0.9, b2 = 0.99, clip = %.17g)\n}\n",
                   n->lr, real(n, "clip"));
}

// the published network, with what the file says otherwise
static void use_example(Network *n) {
  const char *path = CELLC_SOURCE_DIR "/examples/arq.cell";
  size_t length;
  char *text = cell_read_file(path, CELL_SOURCE_LIMIT, &length, n->diag);
  assert_non_null(text);
  cell_text_append(&n->text, text, length);
  free(text);
  for (int i = 1; i <= n->cells; i++)
    n->sets[n->set_count++] = print(n, "l%d.n=%d", i, n->widths[i - 1]);
  n->sets[n->set_count++] =
      print(n, "train.optimizer=adam(lr = %.17g, b1 = 0.9, b2 = 0.99, clip = %.17g)", n->lr,
            real(n, "clip"));
}

static Network open_network(const char *path) {
  Network n = {.path = path, .arena = cell_arena_create(), .diag = cell_diag_create()};
  n.name = strrchr(path, '/') + 1;
  n.file = cell_tensors_read(path, n.diag);
  if (!n.file) cell_diag_print(n.diag, stderr, false);
  assert_non_null(n.file);
  describe(&n);
  if (n.full)
    use_example(&n);
  else
    write_text(&n);
  return n;
}

static void close_network(Network *n) {
  cell_text_free(&n->text);
  cell_tensors_destroy(n->file);
  cell_diag_destroy(n->diag);
  cell_arena_destroy(n->arena);
}

static const struct {
  const char *recorded, *name;
} parts[PARTS] = {{"W_1", "z1/linear/weight"},          {"W_2", "z2/linear/weight"},
                  {"W_h", "h/linear/weight"},           {"b_h", "h/linear/bias"},
                  {"ln_offset", "h/layer_norm/offset"}, {"ln_scale", "h/layer_norm/scale"}};

// ---- inputs ----

static void add(CellTensorWriter *in, const char *name, const CellFileTensor *t) {
  cell_tensor_writer_add(in, name, t->type, t->rank, t->shape, t->data);
}

static void add_recorded_params(const Network *n, CellTensorWriter *in) {
  for (int set = 0; set < 2; set++)
    for (int i = 1; i <= n->cells; i++)
      for (int k = 0; k < PARTS; k++)
        add(in, print(n, "%s/l%d/%s", set ? "target" : "params", i, parts[k].name),
            need(n, n->file,
                 print(n, "%s/cell%d/%s", set ? "target_params" : "params", i, parts[k].recorded)));
}

static void add_recorded_batch(const Network *n, CellTensorWriter *in, int u) {
  static const char *const names[] = {"obs", "next_obs", "action", "reward", "terminated"};
  for (int i = 0; i < 5; i++)
    add(in, names[i], need(n, n->file, print(n, "update%d/%s", u, names[i])));
}

// parameters, moments, step of a result
static void add_states(CellTensorWriter *in, const CellTensors *from) {
  for (int i = 0; i < cell_tensors_count(from); i++) {
    const CellFileTensor *t = cell_tensors_at(from, i);
    static const char *const kinds[] = {"params/", "target/", "moment1/", "moment2/", "step"};
    for (int k = 0; k < 5; k++)
      if (strncmp(t->name, kinds[k], strlen(kinds[k])) == 0) add(in, t->name, t);
  }
}

// ---- running ----

// the result of a program on these tensors, which go through files as for a user; frees the writer
static CellTensors *run(Network *n, const char *program, CellTensorWriter *in) {
  const char *from = print(n, "%s/in.safetensors", folder);
  const char *to = print(n, "%s/out.safetensors", folder), *cache = print(n, "%s/cache", folder);
  CellTensorWriter *out = cell_tensor_writer_create();
  CellTensors *tensors = NULL, *result = NULL;
  if (cell_tensor_writer_write(in, from, n->diag)) tensors = cell_tensors_read(from, n->diag);
  CellRunProgram o = {
      .name = "recorded.cell",
      .text = n->text.data,
      .length = n->text.length,
      .spec = {.sets = n->sets, .set_count = n->set_count},
      .shapes = {.obs_rank = 1,
                 .obs_shape = {n->size},
                 .obs_bits = is(n, "obs", "bits"),
                 .code = is(n, "encoding", "bits") ? CELL_ACTION_BITS : CELL_ACTION_ONEHOT,
                 .actions = n->actions},
      .backend = n->bound->backend,
      .engine = {.threads = 2,
                 .cache_dir = n->bound->backend == CELL_BACKEND_CUDA ? "" : cache,
                 .gpu = cell_cuda_arch("sm_90"),
                 .precision = (int)n->bound->precision},
      .program = program,
      .in = tensors,
      .in_name = from,
      .repeat = 1};
  if (tensors && cell_run_program(&o, out, n->diag) && cell_tensor_writer_write(out, to, n->diag))
    result = cell_tensors_read(to, n->diag);
  if (!result) {
    cell_diag_print(n->diag, stderr, false);
    fail_msg("%s: %s does not run on %s:\n%s", n->name, program, n->bound->name, n->text.data);
  }
  cell_tensor_writer_destroy(in);
  cell_tensor_writer_destroy(out);
  cell_tensors_destroy(tensors);
  return result;
}

// ---- comparing ----

static double value_bound(const Network *n, const char *what) {
  for (int i = 0; i < HARD && n->bound->backend >= CELL_BACKEND_CPU; i++)
    if (hard[i].values && strcmp(n->name, hard[i].name) == 0 && strstr(what, hard[i].values))
      return hard[i].value_bound;
  return n->bound->values;
}

static double gradient_bound(const Network *n, const char *what) {
  for (int i = 0; i < HARD && n->bound->backend >= CELL_BACKEND_CPU; i++)
    if (hard[i].gradient && strcmp(n->name, hard[i].name) == 0 && strstr(what, hard[i].gradient))
      return hard[i].gradient_bound;
  return n->bound->gradients;
}

static double *doubles(const Network *n, const CellFileTensor *t) {
  double *values = CELL_NEW_ARRAY(n->arena, double, t->count + 1);
  cell_tensor_doubles(t, values);
  return values;
}

// the largest difference, in parts of the largest entry
static double compare(const Network *n, const char *what, const double *got, const double *recorded,
                      int64_t count, double bound) {
  double largest = 0, worst = 0;
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(recorded[i]));
  for (int64_t i = 0; i < count; i++) {
    double off = fabs(got[i] - recorded[i]) / (largest > 0 ? largest : 1);
    if (!(off <= bound))
      fail_msg("%s, %s: %s[%lld] is %.15g, recorded %.15g (largest %g, off by %.1e)", n->name,
               n->bound->name, what, (long long)i, got[i], recorded[i], largest, off);
    worst = fmax(worst, off);
  }
  return worst;
}

// the norm of the difference, in parts of the norm
static double compare_norms(const Network *n, const char *what, const double *got,
                            const double *recorded, int64_t count, double bound) {
  double squares = 0, apart = 0;
  for (int64_t i = 0; i < count; i++) {
    squares += recorded[i] * recorded[i];
    apart += (got[i] - recorded[i]) * (got[i] - recorded[i]);
  }
  double off = sqrt(apart / (squares > 0 ? squares : 1));
  if (!(off <= bound))
    fail_msg("%s, %s: the norm of %s is off by %.1e", n->name, n->bound->name, what, off);
  return off;
}

static void compare_tensor(const Network *n, const CellTensors *result, const char *name,
                           const char *recorded, double bound, double *worst) {
  const CellFileTensor *got = need(n, result, name), *want = need(n, n->file, recorded);
  if (!cell_tensor_has_shape(got, want->rank, want->shape))
    fail_msg("%s, %s: %s has another shape than recorded", n->name, n->bound->name, name);
  double off = compare(n, name, doubles(n, got), doubles(n, want), want->count, bound);
  *worst = fmax(*worst, off);
}

// Goals: where the recorded online values have a second action as good as the best up to rounding,
// its target is right too. Returns whether all goals are the recorded ones.
static bool compare_targets(Network *n, const CellTensors *result, const char *cell, int u, int i) {
  const char *prefix = print(n, "update%d/cell%d", u, i);
  const CellFileTensor *want = need(n, n->file, print(n, "%s/td_target", prefix));
  const double *q = doubles(n, need(n, n->file, print(n, "%s/next_q", prefix)));
  const double *goals = doubles(n, want);
  const double *got = doubles(n, need(n, result, print(n, "%s/td_target", cell)));
  const double *own_q = doubles(n, need(n, result, print(n, "%s/next_q", cell)));
  double *expected = doubles(n, want);
  bool same = true;
  for (int64_t b = 0; n->bound->backend >= CELL_BACKEND_CPU && n->doubled && b < want->count; b++) {
    int best = 0, own = 0, near = 0;
    for (int a = 1; a < n->actions; a++) {
      if (q[b * n->actions + a] > q[b * n->actions + best]) best = a;
      if (own_q[b * n->actions + a] > own_q[b * n->actions + own]) own = a;
    }
    double top = q[b * n->actions + best];
    for (int a = 0; a < n->actions; a++) near += top - q[b * n->actions + a] < 1e-5 * fabs(top);
    if (near > 1) n->near++;
    if (near < 2 || own == best || top - q[b * n->actions + own] >= 1e-5 * fabs(top)) continue;
    n->taken++;
    same = false;
    const double *target = doubles(n, need(n, n->file, print(n, "%s/target_next_q", prefix)));
    double difference = target[b * n->actions + own] - target[b * n->actions + best];
    const char *terminated = print(n, "update%d/terminated", u);
    const CellFileTensor *ends = cell_tensors_find(n->file, terminated);
    double end = ends ? doubles(n, ends)[b] : 0;
    expected[b] = goals[b] + (1 - end) * n->gamma * difference;
  }
  double off = compare(n, print(n, "%s/td_target of update %d", cell, u), got, expected,
                       want->count, value_bound(n, "td_target"));
  n->worst_value = fmax(n->worst_value, off);
  return same;
}

static void compare_update(Network *n, const CellTensors *result, int u) {
  static const char *const values[] = {
      "q", "next_q", "target_next_q", "hidden", "state_before", "state_now", "target_state_now"};
  for (int i = 1; i <= n->cells; i++) {
    const char *cell = print(n, "l%d", i), *prefix = print(n, "update%d/cell%d", u, i);
    for (int k = 0; k < (n->full ? 3 : 7); k++)
      compare_tensor(n, result, print(n, "%s/%s", cell, values[k]),
                     print(n, "%s/%s", prefix, values[k]), value_bound(n, values[k]),
                     &n->worst_value);
    if (!compare_targets(n, result, cell, u, i)) continue;
    compare_tensor(n, result, print(n, "%s/loss", cell), print(n, "%s/loss", prefix),
                   n->bound->values, &n->worst_value);
    compare_tensor(n, result, print(n, "%s/grad_norm", cell), print(n, "%s/grad_norm", prefix),
                   n->bound->gradients, &n->worst_gradient);
    for (int k = 0; k < PARTS && u == 1 && !n->full; k++)
      compare_tensor(n, result, print(n, "grad/%s/%s", cell, parts[k].name),
                     print(n, "update1/grad/cell%d/%s", i, parts[k].recorded),
                     gradient_bound(n, parts[k].name), &n->worst_gradient);
  }
}

// entries of parameters behind `updates` updates; `far` counts those over 0.02 lr an update
static void compare_param(Network *n, const char *name, const double *got, const double *recorded,
                          int64_t count, int updates, int64_t *far) {
  if (n->bound->backend < CELL_BACKEND_CPU) {
    n->worst_param = fmax(n->worst_param, compare(n, name, got, recorded, count, 1e-7));
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    double off = fabs(got[i] - recorded[i]) / n->lr;
    // what float32 can say of the parameter itself
    double rounding = 0x1p-23 * fabs(recorded[i]) / n->lr;
    if (!(off <= 2 * updates + rounding))
      fail_msg("%s, cpu: %s[%lld] is %.9g, recorded %.9g: off by %g lr behind %d updates", n->name,
               name, (long long)i, got[i], recorded[i], off, updates);
    *far += off > 0.02 * updates + rounding && gradient_bound(n, name) == n->bound->gradients;
    n->worst_param = fmax(n->worst_param, off);
  }
}

static void compare_params(Network *n, const CellTensors *result, int u) {
  int64_t far = 0, all = 0;
  for (int i = 1; i <= n->cells; i++)
    for (int k = 0; k < PARTS; k++) {
      const char *name = print(n, "params/l%d/%s", i, parts[k].name);
      const CellFileTensor *want =
          need(n, n->file, print(n, "update%d/params_after/cell%d/%s", u, i, parts[k].recorded));
      const CellFileTensor *got = need(n, result, name);
      assert_true(cell_tensor_has_shape(got, want->rank, want->shape));
      compare_param(n, name, doubles(n, got), doubles(n, want), want->count, u, &far);
      all += want->count;
    }
  if (far * 100 > all)
    fail_msg("%s, cpu: %lld of %lld entries are off by more than 0.02 lr an update", n->name,
             (long long)far, (long long)all);
}

static void compare_acting(Network *n, const CellTensors *result) {
  const CellFileTensor *q = need(n, result, "q"), *recorded_q = need(n, n->file, "act/q");
  int64_t steps = recorded_q->shape[0];
  assert_true(cell_tensor_has_shape(q, 3, (int64_t[]){steps, 1, n->actions}));
  bool cpu = n->bound->backend >= CELL_BACKEND_CPU;
  const double *want = doubles(n, recorded_q);
  // the parameters behind three updates are known to 1e-7
  double bound = cpu ? n->bound->values : 1e-7;
  n->worst_value = fmax(n->worst_value, compare(n, "q", doubles(n, q), want, q->count, bound));
  const CellFileTensor *action = need(n, result, "action");
  assert_true(cell_tensor_has_shape(action, 2, (int64_t[]){steps, 1}));
  const double *got = doubles(n, action), *best = doubles(n, need(n, n->file, "act/action"));
  for (int64_t t = 0; t < steps; t++) {
    const double *row = want + t * n->actions;
    double off = fabs(row[(int)best[t]] - row[(int)got[t]]);
    if (got[t] == best[t]) continue;
    n->near++;
    if (!cpu || off >= 1e-5 * fabs(row[(int)best[t]]))
      fail_msg("%s, %s: action %g at step %lld, recorded %g", n->name, n->bound->name, got[t],
               (long long)t, best[t]);
  }
  for (int i = 1; i <= n->cells; i++) {
    // a state that nobody reads is not carried
    const CellFileTensor *state = cell_tensors_find(result, print(n, "l%d/state", i));
    if (!state) continue;
    assert_true(cell_tensor_has_shape(state, 2, (int64_t[]){1, n->widths[i - 1]}));
    double off = compare(n, state->name, doubles(n, state),
                         doubles(n, need(n, n->file, print(n, "act/cell%d/last_state", i))),
                         state->count, bound);
    n->worst_value = fmax(n->worst_value, off);
  }
}

// ---- the small networks ----

// what there is before update u (1 to 3) and before acting (4)
typedef struct {
  CellTensors *before[5];
} Chain;

static CellTensorWriter *with_states(const Network *n, const CellTensors *from) {
  CellTensorWriter *in = cell_tensor_writer_create();
  if (from)
    add_states(in, from);
  else
    add_recorded_params(n, in);
  return in;
}

// three updates, each on the result of the one before; `compared`: values as well
static Chain run_chain(Network *n, bool compared) {
  Chain chain = {0};
  for (int u = 1; u <= 3; u++) {
    CellTensorWriter *in = with_states(n, chain.before[u]);
    add_recorded_batch(n, in, u);
    CellTensors *result = run(n, "update", in);
    if (compared) compare_update(n, result, u);
    if (u != 2) compare_params(n, result, u);
    chain.before[u + 1] = result;
    if (u != 2) continue;
    chain.before[3] = run(n, "sync", with_states(n, result));
    cell_tensors_destroy(result);
  }
  return chain;
}

static void close_chain(Chain *chain) {
  for (int i = 1; i < 5; i++) cell_tensors_destroy(chain->before[i]);
}

static void check_acting(Network *n, const CellTensors *before) {
  CellTensorWriter *in = with_states(n, before);
  const CellFileTensor *obs = need(n, n->file, "act/obs");
  int64_t shape[3] = {obs->shape[0], 1, obs->shape[1]};
  cell_tensor_writer_add(in, "obs", obs->type, 3, shape, obs->data);
  CellTensors *result = run(n, "act", in);
  compare_acting(n, result);
  cell_tensors_destroy(result);
}

static void report(Network *n, double seconds) {
  CellText note = {0};
  if (n->bound->precision == CELL_FP32)
    cell_text_printf(&note, ", parameters %.1e", n->worst_param);
  else if (n->full)
    cell_text_printf(&note, " of their norms");
  else
    cell_text_printf(&note, "; without rounding values %.1e, gradients %.1e off", n->far_value,
                     n->far_gradient);
  if (n->bound->precision == CELL_FP32 && n->bound->backend >= CELL_BACKEND_CPU)
    cell_text_printf(&note, " lr; %lld samples with two best actions, %lld chose the other",
                     (long long)n->near, (long long)n->taken);
  print_message("%-32s %-14s values %.1e, gradients %.1e%s (%.1f s)\n", n->name, n->bound->name,
                n->worst_value, n->worst_gradient, note.data, seconds);
  cell_text_free(&note);
  n->worst_value = n->worst_gradient = n->worst_param = n->far_value = n->far_gradient = 0;
  n->near = n->taken = 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check_interpreter(Network *n, const Bound *bound, Chain *keep) {
  double start = now();
  n->bound = bound;
  Chain chain = run_chain(n, true);
  check_acting(n, chain.before[4]);
  report(n, now() - start);
  if (keep)
    *keep = chain;
  else
    close_chain(&chain);
}

static CellTensorWriter *small_inputs(Network *n, const Chain *exact, int u) {
  CellTensorWriter *in = with_states(n, exact->before[u]);
  add_recorded_batch(n, in, u);
  return in;
}

static void compare_small(Network *n, const Chain *exact) {
  for (int u = 1; u <= 3; u++) {
    CellTensors *result = run(n, "update", small_inputs(n, exact, u));
    compare_update(n, result, u);
    cell_tensors_destroy(result);
  }
  check_acting(n, exact->before[4]);
  Chain own = run_chain(n, false);
  close_chain(&own);
}

// whether kernels can be compiled here
static bool has_cpu(void) {
  if (compiled == CELL_BACKEND_CUDA) return true;
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellModule m = {.arena = arena, .name = "nothing"};
  CellTarget target = cell_target(CELL_ISA_HOST);
  CellPlan *plan = cell_plan_create(arena, &m, &target, NULL, diag);
  CellEngine *engine = plan ? cell_engine_create(&m, plan, CELL_BACKEND_CPU,
                                                 &(CellEngineOptions){.cache_dir = ""}, diag)
                            : NULL;
  bool there = engine != NULL;
  cell_engine_destroy(engine);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return there;
}

// ---- the full sizes: everything is generated ----

// the splitmix64 finaliser
static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static double uniform(uint64_t seed, int64_t i) {
  return (double)(mix(seed + (uint64_t)(i + 1) * UINT64_C(0x9E3779B97F4A7C15)) >> 40) * 0x1p-24;
}

// parameter `which` of the sorted names, as the description says
static float *generated(const Network *n, uint64_t seed, int which, int64_t rows, int64_t columns) {
  float *values = CELL_NEW_ARRAY(n->arena, float, rows *columns);
  for (int64_t i = 0; i < rows * columns; i++) {
    double v = 2 * uniform(seed * 1000 + (uint64_t)which, i) - 1;
    int part = which % PARTS;
    if (part <= 2)
      v *= sqrt(3.0 / (double)columns);
    else
      v *= 0.3;
    if (part == 5) v += 1;
    values[i] = (float)v;
  }
  return values;
}

static void param_shape(const Network *n, int cell, int part, int64_t shape[2]) {
  int64_t width = n->widths[cell], codes = n->actions;
  int64_t inputs = (cell ? n->widths[cell - 1] + n->size : n->size) + width;
  if (cell + 1 < n->cells) inputs += n->widths[cell + 1];
  if (is(n, "encoding", "bits"))
    for (codes = 0; 1 << codes < n->actions;) codes++;
  shape[0] = part < 2 ? n->heads * width : width;
  shape[1] = part < 2 ? inputs + codes : part == 2 ? inputs : 1;
}

static void add_generated_params(const Network *n, CellTensorWriter *in) {
  uint64_t seed = (uint64_t)real(n, "seed");
  for (int i = 0; i < n->cells; i++)
    for (int k = 0; k < PARTS; k++) {
      int64_t shape[2];
      param_shape(n, i, k, shape);
      float *values = generated(n, seed, i * PARTS + k, shape[0], shape[1]);
      float *other = generated(n, seed + 1, i * PARTS + k, shape[0], shape[1]);
      for (int64_t e = 0; e < shape[0] * shape[1]; e++)
        other[e] = (float)(0.9 * (double)values[e] + 0.1 * (double)other[e]);
      int rank = k <= 2 ? 2 : 1;
      cell_tensor_writer_add(in, print(n, "params/l%d/%s", i + 1, parts[k].name), CELL_TENSOR_F32,
                             rank, shape, values);
      cell_tensor_writer_add(in, print(n, "target/l%d/%s", i + 1, parts[k].name), CELL_TENSOR_F32,
                             rank, shape, other);
    }
}

static void add_generated_batch(const Network *n, CellTensorWriter *in, int u) {
  uint64_t s = (uint64_t)(real(n, "seed") * 77) + (uint64_t)(u - 1) * 13;
  int64_t steps = n->context + 1, row = n->batch * (int64_t)n->size;
  float *obs = CELL_NEW_ARRAY(n->arena, float, (steps + 1) * row);
  bool bits = is(n, "obs", "bits");
  for (int64_t i = 0; i < (steps + 1) * row; i++) {
    double o = uniform(s + 1, i);
    obs[i] = bits ? (float)(o < real(n, "density")) : (float)(2 * o - 1);
  }
  // young episodes: their first observation again
  for (int64_t b = 0; b < n->batch; b += 3)
    for (int64_t k = 5 * b % steps, t = 0; t < k; t++)
      memcpy(obs + t * row + b * n->size, obs + k * row + b * n->size,
             (size_t)n->size * sizeof *obs);
  float *reward = CELL_NEW_ARRAY(n->arena, float, n->batch);
  int32_t *action = CELL_NEW_ARRAY(n->arena, int32_t, n->batch);
  uint8_t *terminated = CELL_NEW_ARRAY(n->arena, uint8_t, n->batch);
  for (int64_t b = 0; b < n->batch; b++) {
    action[b] = (int32_t)(n->actions * uniform(s + 2, b));
    reward[b] = (float)(nearbyint(3 * uniform(s + 3, b)) / 2 - 0.25);
    terminated[b] = uniform(s + 4, b) < 0.3;
  }
  int64_t shape[3] = {steps, n->batch, n->size};
  cell_tensor_writer_add(in, "obs", CELL_TENSOR_F32, 3, shape, obs);
  cell_tensor_writer_add(in, "next_obs", CELL_TENSOR_F32, 2, shape + 1, obs + steps * row);
  cell_tensor_writer_add(in, "action", CELL_TENSOR_I32, 1, shape + 1, action);
  cell_tensor_writer_add(in, "reward", CELL_TENSOR_F32, 1, shape + 1, reward);
  cell_tensor_writer_add(in, "terminated", CELL_TENSOR_U8, 1, shape + 1, terminated);
}

// 64 entries and three sums of every gradient, 64 entries of every parameter
static void compare_samples(Network *n, const CellTensors *result) {
  int64_t far = 0, all = 0;
  for (int i = 1; i <= n->cells; i++)
    for (int k = 0; k < PARTS; k++) {
      const char *name = print(n, "l%d/%s", i, parts[k].name);
      const char *recorded = print(n, "cell%d/%s", i, parts[k].recorded);
      const CellFileTensor *grad = need(n, result, print(n, "grad/%s", name));
      const CellFileTensor *param = need(n, result, print(n, "params/%s", name));
      const double *g = doubles(n, grad), *p = doubles(n, param);
      double sums[3] = {0}, largest = 0, picked[64], picked_params[64];
      for (int64_t e = 0; e < grad->count; e++) {
        sums[0] += g[e], sums[1] += fabs(g[e]), sums[2] += g[e] * g[e];
        largest = fmax(largest, fabs(g[e]));
      }
      const double *want = doubles(n, need(n, n->file, print(n, "update1/grad_sum/%s", recorded)));
      // the sum cancels: its errors are in proportion to the sum of absolute values
      for (int s = 0; s < 3; s++) {
        double scale = s < 2 ? want[1] : want[2];
        double off = fabs(sums[s] - want[s]) / (scale > 0 ? scale : 1);
        if (!(off <= n->bound->gradients))
          fail_msg("%s, %s: sum %d of grad/%s is %.12g, recorded %.12g", n->name, n->bound->name, s,
                   name, sums[s], want[s]);
      }
      const double *sample =
          doubles(n, need(n, n->file, print(n, "update1/grad_sample/%s", recorded)));
      for (int e = 0; e < 64; e++) {
        int64_t at = (int64_t)((double)grad->count * uniform(5, e));
        picked[e] = g[at], picked_params[e] = p[at];
        double off = fabs(picked[e] - sample[e]) / (largest > 0 ? largest : 1);
        if (!(off <= n->bound->gradients))
          fail_msg("%s, %s: entry %lld of grad/%s is %.12g, recorded %.12g", n->name,
                   n->bound->name, (long long)at, name, picked[e], sample[e]);
        n->worst_gradient = fmax(n->worst_gradient, off);
      }
      const char *after = print(n, "update1/params_after_sample/%s", recorded);
      compare_param(n, print(n, "params/%s", name), picked_params,
                    doubles(n, need(n, n->file, after)), 64, 1, &far);
      all += 64;
    }
  if (far * 100 > all)
    fail_msg("%s, cpu: %lld of %lld entries are off by more than 0.02 lr", n->name, (long long)far,
             (long long)all);
}

static CellTensorWriter *full_inputs(Network *n, const Chain *exact, int u) {
  (void)exact;
  CellTensorWriter *in = cell_tensor_writer_create();
  add_generated_params(n, in);
  add_generated_batch(n, in, u);
  return in;
}

static void compare_full(Network *n) {
  CellTensors *result = run(n, "update", full_inputs(n, NULL, 1));
  compare_update(n, result, 1);
  compare_samples(n, result);
  cell_tensors_destroy(result);
}

// ---- one file ----

/* What products with rounded factors make of update u, against the interpreter of kernels with the same rounding:
 * what is left is float32, and factors that it moves over the edge between two roundings. */
static void compare_rounded(Network *n,
                            CellTensorWriter *(*inputs)(Network *n, const Chain *exact, int u),
                            const Chain *exact, int u, const Bound *bound) {
  static const char *const values[] = {
      "q",         "next_q",           "target_next_q", "state_before",
      "state_now", "target_state_now", "td_target",     "loss"};
  Bound reference = {CELL_BACKEND_INTERP_KERNELS, "rounded", 0, 0, bound->precision};
  n->bound = &reference;
  CellTensors *want = run(n, "update", inputs(n, exact, u));
  n->bound = bound;
  CellTensors *got = run(n, "update", inputs(n, exact, u));
  for (int i = 0; i < cell_tensors_count(want); i++) {
    const CellFileTensor *t = cell_tensors_at(want, i), *other = need(n, got, t->name);
    const char *last = strrchr(t->name, '/');
    bool gradient = strncmp(t->name, "grad/", 5) == 0, value = false;
    for (size_t k = 0; last && k < sizeof values / sizeof *values; k++)
      value |= strcmp(last + 1, values[k]) == 0;
    if (!gradient && !value) continue;
    // what float32 does not reach stays out of reach
    double most = gradient ? fmax(bound->gradients, gradient_bound(n, t->name))
                           : fmax(bound->values, value_bound(n, t->name));
    // of millions of entries of a full size a few are off by any amount
    double off = (exact ? compare : compare_norms)(n, t->name, doubles(n, other), doubles(n, t),
                                                   t->count, most);
    double *worst = gradient ? &n->worst_gradient : &n->worst_value;
    *worst = fmax(*worst, off);
    if (!exact || u != 1) continue;
    t = need(n, exact->before[2], t->name);
    worst = gradient ? &n->far_gradient : &n->far_value;
    *worst =
        fmax(*worst, compare(n, t->name, doubles(n, other), doubles(n, t), t->count, INFINITY));
  }
  cell_tensors_destroy(want);
  cell_tensors_destroy(got);
}

// the compiled back end; exact: the interpreter's updates, NULL for the full sizes
static void check_compiled(Network *n, const Chain *exact) {
  for (int p = CELL_FP32; p <= (int)precision; p++) {
    double start = now();
    const Bound *rounded = exact ? &reduced[p] : &reduced_full[p];
    n->bound = p == CELL_FP32 ? &bounds[compiled] : rounded;
    if (p != CELL_FP32)
      for (int u = 1; u <= (exact ? 3 : 1); u++)
        compare_rounded(n, exact ? small_inputs : full_inputs, exact, u, rounded);
    else if (exact)
      compare_small(n, exact);
    else
      compare_full(n);
    report(n, now() - start);
  }
}

static void check_small(const char *path, bool cpu) {
  Network n = open_network(path);
  if (!n.full) {
    Chain exact;
    check_interpreter(&n, &bounds[CELL_BACKEND_INTERP], &exact);
    if (compiled == CELL_BACKEND_CPU)
      check_interpreter(&n, &bounds[CELL_BACKEND_INTERP_KERNELS], NULL);
    if (cpu) check_compiled(&n, &exact);
    close_chain(&exact);
  }
  close_network(&n);
}

static void check_full(const char *path, bool cpu) {
  Network n = open_network(path);
  // the interpreter of kernels would take minutes
  if (n.full && compiled == CELL_BACKEND_CPU) {
    double start = now();
    n.bound = &bounds[CELL_BACKEND_INTERP];
    compare_full(&n);
    report(&n, now() - start);
  }
  if (n.full && cpu) check_compiled(&n, NULL);
  close_network(&n);
}

// ---- tests ----

static int in_folder(const char *data, void (*check)(const char *path, bool cpu), bool cpu) {
  struct dirent **entries;
  int count = scandir(data, &entries, NULL, alphasort), files = 0;
  if (count < 0) fail_msg("cannot read %s", data);
  for (int i = 0; i < count; i++) {
    const char *only = getenv("CELLC_TEST_FILES");
    if (strstr(entries[i]->d_name, ".safetensors") && (!only || strstr(entries[i]->d_name, only))) {
      char path[4096];
      snprintf(path, sizeof path, "%s/%s", data, entries[i]->d_name);
      check(path, cpu);
      files++;
    }
    free(entries[i]);
  }
  free(entries);
  return files;
}

static const char *recorded_folder(void) {
  const char *reference = getenv("CELLC_REFERENCE");
  static char path[4096];
  if (!reference) {
    print_message("CELLC_REFERENCE is not set: only the networks of tests/data/arq\n");
    return CELLC_SOURCE_DIR "/tests/data/arq";
  }
  snprintf(path, sizeof path, "%s/arq", reference);
  return path;
}

static void test_small(void **state) {
  (void)state;
  bool cpu = has_cpu();
  if (!cpu) print_message("no LLVM here: interpreters only\n");
  assert_true(in_folder(recorded_folder(), check_small, cpu) > 0);
}

// one update each; sanitizers would make minutes of it
static void test_full(void **state) {
  (void)state;
  if (getenv("CELLC_SANITIZED")) {
    print_message("the full sizes are left out under sanitizers\n");
    return;
  }
  if (!getenv("CELLC_REFERENCE")) {
    print_message("the full sizes are left out: they are not among tests/data\n");
    return;
  }
  in_folder(recorded_folder(), check_full, has_cpu());
}

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static void remove_all(const char *path) {
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, NULL);
  for (int i = 0; i < count; i++) {
    char inside[4096];
    snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
    if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0 &&
        remove(inside) != 0)
      remove_all(inside);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  rmdir(path);
}

static int remove_folder(void **state) {
  (void)state;
  remove_all(folder);
  return 0;
}

int main(void) {
  const char *backend = getenv("CELLC_TEST_BACKEND");
  if (backend && strcmp(backend, "cuda") == 0) {
    compiled = CELL_BACKEND_CUDA;
    setenv("CELLC_CUDA_DRIVER", CELLC_BINARY_DIR "/tests/fake_cuda.so", 0);
    setenv("CELLC_NVRTC", CELLC_BINARY_DIR "/tests/fake_cuda.so", 0);
  }
  const char *name = getenv("CELLC_TEST_PRECISION");
  if (name && (compiled != CELL_BACKEND_CUDA || !cell_precision_parse(name, &precision))) {
    fprintf(
        stderr,
        "CELLC_TEST_PRECISION=%s: none of fp32, tf32, bf16, or CELLC_TEST_BACKEND is not cuda\n",
        name);
    return 1;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_small), cmocka_unit_test(test_full)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
