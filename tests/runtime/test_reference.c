/* The whole front end, the passes and the evaluator against recorded networks: values, losses and
 * gradients of three updates, the parameters behind them, and acting. Every file of tests/data/arq,
 * and of CELLC_REFERENCE/arq where that is set (but for the full sizes, which hold no parameters).
 * The text of each network is written here from the file's description. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/frontend.h"
#include "runtime/safetensors.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *path;
  CellTensors *file;
  CellArena *arena;
  CellDiag *diag;
  int cells, widths[8];
  int heads, actions, size, batch, context, rows; /* rows: of z2 for one head, 0: not fixed */
  bool arq, input, bits;
  CellText text;
  CellTensor
      *state; /* params/, target/, moment1/, moment2/, step: doubles, in the program's names */
  int state_count, state_capacity;
  double worst;
} Network;

/* ---- the description ---- */

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

static const CellFileTensor *need(const Network *n, const char *format, ...) CELL_PRINTF(2, 3);
static const CellFileTensor *need(const Network *n, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *name = cell_arena_vprintf(n->arena, format, arguments);
  va_end(arguments);
  const CellFileTensor *t = cell_tensors_find(n->file, name);
  if (!t) fail_msg("%s: no %s", n->path, name);
  return t;
}

static void describe(Network *n) {
  for (const char *p = word(n, "widths"); *p; p++)
    if (*p >= '1' && *p <= '9') n->widths[n->cells++] = (int)strtol(p, (char **)&p, 10), p--;
  n->heads = (int)real(n, "K"), n->actions = (int)real(n, "A"), n->size = (int)real(n, "S");
  n->batch = (int)real(n, "B"), n->context = (int)real(n, "context");
  n->arq = strcmp(word(n, "system"), "\"arq\"") == 0;
  n->bits = strcmp(word(n, "encoding"), "\"bits\"") == 0;
  const CellFileTensor *z = need(n, "params/cell1/W_1"), *h = need(n, "params/cell1/W_h");
  n->input = z->shape[1] > h->shape[1];
  n->rows = n->arq ? 0 : (int)need(n, "params/cell1/W_2")->shape[0] / n->heads;
}

static const char *goodness(const Network *n) {
  static const char *const names[][2] = {{"\"std\"", "std"},
                                         {"\"mean\"", "mean"},
                                         {"\"msq\"", "ms"},
                                         {"\"variance\"", "var"},
                                         {"\"rms\"", "rms"}};
  if (!n->arq) return "w @ h";
  for (int i = 0; i < 5; i++)
    if (strcmp(names[i][0], word(n, "goodness")) == 0)
      return cell_arena_printf(
          n->arena, n->input ? "%s(w @ h)" : "%s(reshape(w @ h, [actions, n]))", names[i][1]);
  fail();
  return NULL;
}

static void write_text(Network *n) {
  CellText *t = &n->text;
  cell_text_printf(t, "network recorded\ncell Attention(n)(below, skip?, self?, top?) {\n");
  cell_text_printf(t, "  x = concat(below, skip, self, top)\n");
  cell_text_printf(t, "  h = layer_norm(relu(linear(x, n)))\n");
  cell_text_printf(t, "  xa = %s\n", n->input ? "concat(x, action)" : "x");
  cell_text_printf(t, "  z1 = reshape(linear(xa, %d * n, bias = false), [%d, n])\n", n->heads,
                   n->heads);
  const char *rows = n->rows    ? cell_arena_printf(n->arena, "%d", n->rows)
                     : n->input ? "n"
                                : "(actions * n)";
  cell_text_printf(t, "  z2 = reshape(linear(xa, %d * %s, bias = false), [%d, %s])\n", n->heads,
                   rows, n->heads, rows);
  cell_text_printf(t, "  w = tanh(standardize(z2.T @ z1))\n  output h\n  goodness %s\n}\nstack {\n",
                   goodness(n));
  for (int i = 1; i <= n->cells; i++) {
    cell_text_printf(t, "  l%d = Attention(%d) { below: ", i, n->widths[i - 1]);
    cell_text_printf(t, i > 1 ? "l%d" : "obs", i - 1);
    if (i > 1 && truth(n, "skip")) cell_text_printf(t, ", skip: obs");
    if (truth(n, "self"))
      cell_text_printf(t, ", self: %.17g * prev(l%d)", real(n, "self_weight"), i);
    if (truth(n, "top") && i < n->cells)
      cell_text_printf(t, ", top: %.17g * prev(l%d)", real(n, "top_weight"), i + 1);
    cell_text_printf(t, " }\n");
  }
  cell_text_printf(t, "}\npolicy mean\nlearn td(gamma = %.17g, double = %s, loss = %s)\n",
                   real(n, "gamma"), word(n, "double"), truth(n, "huber") ? "huber" : "squared");
  cell_text_printf(t, "train { batch = %d context = %d context_alpha = %.17g target_tau = %.17g\n",
                   n->batch, n->context, real(n, "alpha"), real(n, "tau"));
  cell_text_printf(t, "  optimizer = adam(lr = %.17g, b1 = 0.9, b2 = 0.99, clip = %.17g) }\n",
                   real(n, "lr"), real(n, "clip"));
}

/* ---- tensors by name ---- */

static CellTensor *find(CellTensor *list, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(list[i].name, name) == 0) return &list[i];
  return NULL;
}

static CellTensor *put(Network *n, const char *name, int64_t count) {
  CellTensor *old = find(n->state, n->state_count, name);
  if (old) return old;
  CellTensor t = {.name = name, .count = count};
  t.data = CELL_NEW_ARRAY(n->arena, double, count);
  CELL_PUSH(n->arena, n->state, n->state_count, n->state_capacity, t);
  return &n->state[n->state_count - 1];
}

static const struct {
  const char *recorded, *name;
} parts[] = {{"W_h", "h/linear/weight"},         {"b_h", "h/linear/bias"},
             {"ln_scale", "h/layer_norm/scale"}, {"ln_offset", "h/layer_norm/offset"},
             {"W_1", "z1/linear/weight"},        {"W_2", "z2/linear/weight"}};
enum { PARTS = sizeof parts / sizeof parts[0] };

static void load_state(Network *n) {
  for (int set = 0; set < 2; set++)
    for (int i = 1; i <= n->cells; i++)
      for (int k = 0; k < PARTS; k++) {
        const CellFileTensor *from =
            need(n, "%s/cell%d/%s", set ? "target_params" : "params", i, parts[k].recorded);
        CellTensor *to = put(
            n,
            cell_arena_printf(n->arena, "%s/l%d/%s", set ? "target" : "params", i, parts[k].name),
            from->count);
        cell_tensor_doubles(from, to->data);
        if (set) continue;
        for (int m = 1; m <= 2; m++)
          put(n, cell_arena_printf(n->arena, "moment%d/l%d/%s", m, i, parts[k].name), from->count);
      }
  put(n, "step", 1);
}

/* "params/l1/x#1": the part of a parameter that a program reads */
static CellTensor part_of(const Network *n, const CellModule *m, const char *name) {
  const char *hash = strchr(name, '#'), *slash = strchr(name, '/');
  CellTensor part = {.name = name};
  const char *whole = cell_arena_strndup(n->arena, name, (size_t)(hash - name));
  CellTensor *from = find(n->state, n->state_count, whole);
  if (!from) fail_msg("no %s", whole);
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    if (strcmp(p->name, whole + (slash - name) + 1) != 0) continue;
    int number = (int)strtol(hash + 1, NULL, 10);
    int32_t shape[CELL_MAX_RANK];
    cell_part_shape(p, number, shape);
    part.count = 1;
    for (int d = 0; d < p->rank; d++) part.count *= shape[d];
    part.data = CELL_NEW_ARRAY(n->arena, double, part.count);
    for (int64_t k = 0; k < part.count; k++)
      part.data[k] = from->data[cell_part_entry(p, number, k)];
  }
  return part;
}

/* the other way: an output "params/l1/x#1" into the whole tensor */
static void join_part(const Network *n, const CellModule *m, const CellTensor *part,
                      CellTensor *to) {
  const char *hash = strchr(part->name, '#'), *slash = strchr(part->name, '/');
  const char *name = cell_arena_strndup(n->arena, slash + 1, (size_t)(hash - slash - 1));
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    if (strcmp(p->name, name) != 0) continue;
    int number = (int)strtol(hash + 1, NULL, 10);
    for (int64_t k = 0; k < part->count; k++)
      to->data[cell_part_entry(p, number, k)] = part->data[k];
  }
}

/* ---- running ---- */

static CellTensor *run(Network *n, const CellModule *m, const CellGraph *g, const CellTensor *data,
                       int data_count) {
  CellTensor *inputs = CELL_NEW_ARRAY(n->arena, CellTensor, g->node_count + 1);
  int count = 0;
  for (int pass = 0; pass < 2; pass++) {
    /* parameters are read in the bodies of scans as well */
    for (CellValue v = 0; v < g->node_count; v++) {
      const CellGraph *in = pass ? cell_node(g, v)->body : g;
      for (CellValue u = pass ? 0 : v; in && u < (pass ? in->node_count : v + 1); u++) {
        const CellNode *node = cell_node(in, u);
        if (node->op != CELL_OP_INPUT || find(inputs, count, node->name)) continue;
        CellTensor *t = find((CellTensor *)data, data_count, node->name);
        if (!t) t = find(n->state, n->state_count, node->name);
        if (t)
          inputs[count++] = *t;
        else if (strchr(node->name, '#'))
          inputs[count++] = part_of(n, m, node->name);
        else
          assert_int_equal(pass, 1); /* carries and step inputs of a body */
      }
    }
  }
  CellTensor *outputs = CELL_NEW_ARRAY(n->arena, CellTensor, g->output_count + 1);
  if (!cell_eval(g, inputs, count, outputs, n->arena, n->diag)) {
    cell_diag_print(n->diag, stderr, false);
    fail_msg("%s: %s cannot be evaluated", n->path, g->name);
  }
  return outputs;
}

/* an output by name, put together from its parts where it has any */
static CellTensor gather(Network *n, const CellModule *m, const CellGraph *g, CellTensor *outputs,
                         const char *name, int64_t count) {
  CellTensor *whole = find(outputs, g->output_count, name);
  if (whole) return *whole;
  CellTensor t = {.name = name, .count = count, .data = CELL_NEW_ARRAY(n->arena, double, count)};
  size_t length = strlen(name);
  bool found = false;
  for (int i = 0; i < g->output_count; i++)
    if (strncmp(outputs[i].name, name, length) == 0 && outputs[i].name[length] == '#') {
      join_part(n, m, &outputs[i], &t);
      found = true;
    }
  if (!found) fail_msg("%s: %s has no output %s", n->path, g->name, name);
  return t;
}

static void compare(Network *n, const char *what, const double *got, const CellFileTensor *expected,
                    int64_t count, double bound) {
  assert_int_equal(expected->count % count, 0);
  double *e = CELL_NEW_ARRAY(n->arena, double, expected->count), largest = 0;
  cell_tensor_doubles(expected, e);
  for (int64_t i = 0; i < expected->count; i++) largest = fmax(largest, fabs(e[i]));
  for (int64_t i = 0; i < expected->count; i++) {
    double off = fabs(got[i % count] - e[i]) / (largest > 0 ? largest : 1);
    if (!(off <= bound))
      fail_msg("%s: %s[%lld] is %.15g, recorded %.15g", n->path, what, (long long)i, got[i % count],
               e[i]);
    if (bound < 1e-8) n->worst = fmax(n->worst, off);
  }
}

static CellTensor tensor_of(const Network *n, const char *name, const CellFileTensor *from) {
  CellTensor t = {.name = name, .count = from->count};
  t.data = CELL_NEW_ARRAY(n->arena, double, from->count + 1);
  cell_tensor_doubles(from, t.data);
  return t;
}

static void check_update(Network *n, const CellModule *m, int u) {
  const CellFileTensor *obs = need(n, "update%d/obs", u);
  int64_t one = (int64_t)n->batch * n->size;
  CellTensor all = tensor_of(n, "context", obs), data[6];
  int count = 0;
  data[count] = all, data[count].name = "obs", data[count].data += n->context * one;
  data[count++].count = one;
  all.count = n->context * one;
  data[count++] = all;
  data[count++] = tensor_of(n, "next_obs", need(n, "update%d/next_obs", u));
  data[count++] = tensor_of(n, "action", need(n, "update%d/action", u));
  data[count++] = tensor_of(n, "reward", need(n, "update%d/reward", u));
  data[count++] = tensor_of(n, "terminated", need(n, "update%d/terminated", u));

  const CellGraph *inspect = cell_program(m, "inspect");
  CellTensor *values = run(n, m, inspect, data, count);
  static const char *const names[] = {"q",         "next_q",          "target_next_q", "td_target",
                                      "loss",      "hidden",          "state_before",  "state_now",
                                      "grad_norm", "target_state_now"};
  for (int i = 1; i <= n->cells; i++) {
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
      const CellFileTensor *e = need(n, "update%d/cell%d/%s", u, i, names[k]);
      const char *name = cell_arena_printf(n->arena, "l%d/%s", i, names[k]);
      CellTensor t = gather(n, m, inspect, values, name, e->count);
      compare(n, name, t.data, e, t.count, 1e-9);
    }
    for (int k = 0; k < PARTS && u == 1; k++) {
      const CellFileTensor *e = need(n, "update1/grad/cell%d/%s", i, parts[k].recorded);
      const char *name = cell_arena_printf(n->arena, "grad/l%d/%s", i, parts[k].name);
      compare(n, name, gather(n, m, inspect, values, name, e->count).data, e, e->count, 1e-9);
    }
  }

  const CellGraph *update = cell_program(m, "update");
  CellTensor *after = run(n, m, update, data, count);
  for (int i = 0; i < n->state_count; i++) {
    CellTensor *s = &n->state[i];
    if (strncmp(s->name, "target/", 7) == 0) continue;
    s->data = gather(n, m, update, after, s->name, s->count).data;
  }
  for (int i = 1; i <= n->cells && u != 2; i++)
    for (int k = 0; k < PARTS; k++) {
      const CellFileTensor *e = need(n, "update%d/params_after/cell%d/%s", u, i, parts[k].recorded);
      const char *name = cell_arena_printf(n->arena, "params/l%d/%s", i, parts[k].name);
      compare(n, name, find(n->state, n->state_count, name)->data, e, e->count, 1e-7);
    }
}

/* the target copy, behind the second update */
static void sync_target(Network *n, const CellModule *m) {
  const CellGraph *sync = cell_program(m, "sync");
  CellTensor *out = run(n, m, sync, NULL, 0);
  for (int i = 0; i < n->state_count; i++) {
    CellTensor *s = &n->state[i];
    if (strncmp(s->name, "target/", 7) == 0)
      s->data = gather(n, m, sync, out, s->name, s->count).data;
  }
}

static void check_act(Network *n, const CellModule *m) {
  const CellGraph *act = cell_program(m, "act");
  CellTensor obs = tensor_of(n, "obs", need(n, "act/obs")), q = tensor_of(n, "q", need(n, "act/q"));
  CellTensor action = tensor_of(n, "action", need(n, "act/action"));
  CellTensor *data = CELL_NEW_ARRAY(n->arena, CellTensor, n->cells + 2);
  int count = 1;
  for (int i = 1; i <= n->cells; i++) {
    const char *name = cell_arena_printf(n->arena, "state/l%d", i);
    if (cell_find_output(act, name) == CELL_NONE) continue;
    data[count].name = name, data[count].count = n->widths[i - 1];
    data[count++].data = CELL_NEW_ARRAY(n->arena, double, n->widths[i - 1]);
  }
  for (int64_t step = 0; step < q.count / n->actions; step++) {
    data[0] = (CellTensor){.name = "obs", .data = obs.data + step * n->size, .count = n->size};
    CellTensor *out = run(n, m, act, data, count);
    CellTensor *values = find(out, act->output_count, "q");
    assert_int_equal(values->count, n->actions);
    for (int a = 0; a < n->actions; a++) {
      double e = q.data[step * n->actions + a];
      if (!(fabs(values->data[a] - e) <= 1e-6 * fmax(1, fabs(e))))
        fail_msg("%s: act q[%d] is %.15g, recorded %.15g", n->path, a, values->data[a], e);
    }
    assert_true(find(out, act->output_count, "action")->data[0] == action.data[step]);
    for (int i = 1; i < count; i++) data[i].data = find(out, act->output_count, data[i].name)->data;
  }
  for (int i = 1; i < count; i++) {
    const char *cell = strrchr(data[i].name, 'l') + 1;
    compare(n, data[i].name, data[i].data, need(n, "act/cell%s/last_state", cell), data[i].count,
            1e-6);
  }
}

static CellModule *build(Network *n, bool passes) {
  int source = cell_diag_source(n->diag, "recorded.cell", n->text.data, n->text.length);
  CellSpec *spec = cell_spec_load(n->arena, n->diag, source, NULL);
  CellShapes shapes = {.obs_rank = 1,
                       .obs_shape = {n->size},
                       .obs_bits = strcmp(word(n, "obs"), "\"bits\"") == 0,
                       .code = n->bits ? CELL_ACTION_BITS : CELL_ACTION_ONEHOT,
                       .actions = n->actions};
  const char **wanted = CELL_NEW_ARRAY(n->arena, const char *, n->cells + 1);
  for (int i = 0; i < n->cells; i++) wanted[i] = cell_arena_printf(n->arena, "l%d/", i + 1);
  wanted[n->cells] = "grad/";
  CellBuildOptions options = {.act_batch = 1,
                              .update = true,
                              .sync = true,
                              .inspect = wanted,
                              .inspect_count = n->cells + 1};
  CellModule *m = spec ? cell_spec_build(spec, &shapes, &options, n->diag) : NULL;
  static const char *const optional[] = {"parts", "algebra", "algebra2"};
  CellPassOptions pass = {.verify = true};
  if (!passes) pass.disabled = optional, pass.disabled_count = 3;
  if (!m || !cell_run_passes(m, &pass, n->diag)) {
    cell_diag_print(n->diag, stderr, false);
    fail_msg("%s does not build:\n%s", n->path, n->text.data);
  }
  return m;
}

static void check_file(const char *path, bool passes) {
  Network n = {.path = path, .arena = cell_arena_create(), .diag = cell_diag_create()};
  n.file = cell_tensors_read(path, n.diag);
  assert_non_null(n.file);
  describe(&n);
  write_text(&n);
  CellModule *m = build(&n, passes);
  load_state(&n);
  for (int u = 1; u <= 3; u++) {
    check_update(&n, m, u);
    if (u == 2) sync_target(&n, m);
  }
  check_act(&n, m);
  print_message("%s: %s, worst relative difference %.1e\n", strrchr(path, '/') + 1,
                passes ? "all passes" : "gradient alone", n.worst);
  cell_text_free(&n.text);
  cell_tensors_destroy(n.file);
  cell_diag_destroy(n.diag);
  cell_arena_destroy(n.arena);
}

static int check_folder(const char *folder, bool passes) {
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  int count = 0;
  for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    if (!strstr(e->d_name, ".safetensors") || strstr(e->d_name, "full")) continue;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    check_file(path, passes);
    count++;
  }
  closedir(dir);
  return count;
}

static const char *folder(void) {
  static char path[4000];
  const char *reference = getenv("CELLC_REFERENCE");
  if (reference)
    snprintf(path, sizeof path, "%s/arq", reference);
  else
    snprintf(path, sizeof path, "%s/tests/data/arq", CELLC_SOURCE_DIR);
  if (!reference) print_message("CELLC_REFERENCE is not set: only the files of tests/data/arq\n");
  return path;
}

static void test_gradient_alone(void **state) {
  (void)state;
  assert_true(check_folder(folder(), false) > 0);
}

static void test_all_passes(void **state) {
  (void)state;
  assert_true(check_folder(folder(), true) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradient_alone),
                                     cmocka_unit_test(test_all_passes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
