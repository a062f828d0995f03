/* test_many_cells.c - networks unlike the examples, through everything: the graph as written against the
 * graph behind the passes (both by the evaluator), against the plan's kernels, against machine code,
 * with one, two and three threads; and derivatives against differences of the loss.
 *
 * Every file of tests/cells, with the shapes that its lines `# test obs 4,3,2 bits actions 3 ...`
 * name, and texts made by the generator of tests/support/random_cell.h: CELLC_CELLS sets how many from CELLC_FROM on
 * (and has every case compiled, not the first of a file alone), CELLC_WIDE with CELLC_EMULATE compiles for vectors of 16,
 * CELLC_SEED runs one alone and prints it, CELLC_FILE runs one file alone, CELLC_PRINT
 * prints kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "runtime/files.h"
#include "runtime/init.h"
#include "tests/support/random_cell.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* one compilation serves all numbers of threads */
static char cache[] = "/tmp/cellc-test-XXXXXX";

enum { MAX_SETS = 16, ACT_BATCH = 3, CPU_RUNS = 3 };

typedef struct {
  const char *name;
  CellShapes shapes;
  const char *variant;
  const char *sets[MAX_SETS];
  int set_count;
} Case;

typedef struct {
  CellSpec *spec;
  CellModule *module;
  CellPlan *plan;
} Built;

/* what a run of everything left behind */
typedef struct {
  CellTensor *items;
  int count, capacity;
} Results;

static uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* exact as a float, so that all back ends begin with the same numbers */
static double next_unit(uint64_t *state) {
  return (double)(next_random(state) >> 41) / (1 << 23);
}

// CELLC_WIDE: vectors of 16, which CELLC_EMULATE lets machines without them run
static CellIsa isa(void) {
  return getenv("CELLC_WIDE") ? CELL_ISA_AVX512 : CELL_ISA_HOST;
}

/* ---- building ---- */

typedef enum { PLAIN, FULL, INSPECT, UPDATE } What;

/* PLAIN: without the passes that may be left out; INSPECT, UPDATE: but one of the large programs */
static bool build(Built *b, const Case *c, const CellSource *text, What what, CellArena *arena,
                  CellDiag *diag) {
  static const char *const optional[] = {"parts", "algebra", "algebra2"};
  int source = cell_diag_source(diag, text->name, text->text, text->length);
  CellSpecOptions spec = {.variant = c->variant, .sets = c->sets, .set_count = c->set_count};
  b->spec = cell_spec_load(arena, diag, source, &spec);
  if (!b->spec) return false;
  /* names of cells are known after a build: the first one is for them alone */
  CellBuildOptions first = {.act_batch = 1};
  if (!cell_spec_build(b->spec, &c->shapes, &first, diag)) return false;
  const char *const *cells;
  int count = cell_spec_cells(b->spec, &cells);
  const char **wanted = CELL_NEW_ARRAY(arena, const char *, count + 1);
  for (int i = 0; i < count; i++) wanted[i] = cell_arena_printf(arena, "%s/", cells[i]);
  wanted[count] = "grad/";
  CellBuildOptions options = {.act_batch = ACT_BATCH,
                              .update = what != INSPECT,
                              .sync = what != INSPECT,
                              .inspect = what != UPDATE ? wanted : NULL,
                              .inspect_count = what != UPDATE ? count + 1 : 0};
  b->module = cell_spec_build(b->spec, &c->shapes, &options, diag);
  CellPassOptions pass = {.verify = true};
  if (what == PLAIN) pass.disabled = optional, pass.disabled_count = 3;
  if (!b->module || !cell_run_passes(b->module, &pass, diag)) return false;
  if (what == PLAIN) return true;
  CellTarget target = cell_target(isa());
  b->plan =
      cell_plan_create(arena, b->module, &target, &(CellPlanOptions){.guard_bytes = 64}, diag);
  return b->plan != NULL;
}

/* ---- inputs ---- */

static bool is_parameter(const char *name) {
  return strncmp(name, "params/", 7) == 0 || strncmp(name, "target/", 7) == 0 ||
         strncmp(name, "moment", 6) == 0 || strcmp(name, "step") == 0;
}

static void set(CellEngine *e, const char *program, const char *name, const double *data,
                int64_t count) {
  /* what a program does not read is not there */
  if (!cell_engine_set(e, program, name, data, count)) cell_engine_set(e, NULL, name, data, count);
}

/* the inputs of a program as the graph `g` names them */
static void set_inputs(CellEngine *e, const CellGraph *g, const Case *c, uint64_t seed) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op != CELL_OP_INPUT || is_parameter(n->name)) continue;
    int64_t count = cell_count(g, v) * cell_extent(g, n->axes);
    double *data = cell_malloc((size_t)(count + 1) * sizeof *data);
    uint64_t state = seed ^ (uint64_t)count;
    for (const char *p = n->name; *p; p++) state = state * 31 + (unsigned char)*p;
    bool observation = strstr(n->name, "obs") || strcmp(n->name, "context") == 0;
    for (int64_t i = 0; i < count; i++) {
      double u = next_unit(&state);
      data[i] = n->dtype == CELL_I                   ? floor(u * c->shapes.actions)
                : n->dtype == CELL_BITS              ? u < 0.3
                : observation && c->shapes.obs_bits  ? u < 0.3
                : strcmp(n->name, "terminated") == 0 ? u < 0.2
                                                     : 2 * u - 1;
    }
    set(e, g->name, n->name, data, count);
    free(data);
  }
}

/* Parameters as they are drawn, each moved a little (so that no zeros or ones stay); targets a
 * little further. `along`: the group whose parameters are moved by `step` times a direction, for
 * differences. */
static void set_params(CellEngine *e, const CellModule *m, uint64_t seed, const char *along,
                       double step) {
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    int64_t count = cell_param_count(p);
    double *data = cell_malloc((size_t)(count + 1) * sizeof *data);
    uint64_t state = seed + 1000u * (unsigned)i, direction = state ^ 77;
    cell_init_param(p, seed, false, data);
    double *near = cell_malloc((size_t)(count + 1) * sizeof *near);
    for (int64_t k = 0; k < count; k++) {
      data[k] = (double)(float)(data[k] + 0.2 * (next_unit(&state) - 0.5));
      near[k] = (double)(float)(data[k] + 0.1 * (next_unit(&state) - 0.5));
      double d = next_unit(&direction) - 0.5;
      if (along && strcmp(along, p->group) == 0) data[k] += step * d;
    }
    cell_engine_param_set(e, "params/", p, data, count);
    cell_engine_param_set(e, "target/", p, near, count);
    free(data);
    free(near);
  }
}

/* ---- running ---- */

static void keep(Results *r, CellArena *arena, const char *name, const double *data,
                 int64_t count) {
  CellTensor t = {.name = name, .count = count, .data = CELL_NEW_ARRAY(arena, double, count + 1)};
  memcpy(t.data, data, (size_t)count * sizeof *data);
  CELL_PUSH(arena, r->items, r->count, r->capacity, t);
}

/* outputs by the names of the plain graph `g` */
static void collect(CellEngine *e, const CellModule *m, const CellGraph *g, CellArena *arena,
                    Results *r) {
  static const char *const prefixes[] = {"grad/", "params/", "target/", "moment1/", "moment2/"};
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    int64_t count = cell_param_count(p);
    double *data = CELL_NEW_ARRAY(arena, double, count + 1);
    for (int k = 0; k < 5; k++) {
      const char *name = cell_arena_printf(arena, "%s%s", prefixes[k], p->name);
      if (cell_find_output(g, name) == CELL_NONE) continue;
      if (cell_engine_param_get(e, g->name, prefixes[k], p, data, count))
        keep(r, arena, cell_arena_printf(arena, "%s %s", g->name, name), data, count);
      else
        printf("%s: no %s\n", g->name, name);
    }
  }
  for (int i = 0; i < g->output_count; i++) {
    const char *name = g->outputs[i].name;
    if (is_parameter(name) || strncmp(name, "grad/", 5) == 0) continue;
    CellValue v = g->outputs[i].value;
    int64_t count = cell_count(g, v) * cell_extent(g, cell_node(g, v)->axes);
    double *data = CELL_NEW_ARRAY(arena, double, count + 1);
    if (cell_engine_get(e, g->name, name, data, count) ||
        cell_engine_get(e, NULL, name, data, count))
      keep(r, arena, cell_arena_printf(arena, "%s %s", g->name, name), data, count);
    else
      printf("%s: no %s of %lld entries\n", g->name, name, (long long)count);
  }
}

/* inspect, act and two updates with a copy to the target in between; names as in `plain` */
static bool run_all(CellEngine *e, const CellModule *m, const CellModule *plain, const Case *c,
                    uint64_t seed, CellArena *arena, Results *r, CellDiag *diag) {
  static const char *const order[] = {"inspect", "act", "update", "sync", "update"};
  set_params(e, m, seed, NULL, 0);
  for (int i = 0; i < 5; i++) {
    const CellGraph *g = cell_program(plain, order[i]);
    if (!g || !cell_program(m, order[i])) continue;
    set_inputs(e, g, c, seed + (uint64_t)i);
    if (!cell_engine_run(e, order[i], diag)) return false;
    collect(e, m, g, arena, r);
  }
  return true;
}

/* ---- comparing ---- */

static bool is_loose(const char *name) {
  /* Adam divides small by small: only its direction is sure */
  return strstr(name, " params/") || strstr(name, " target/");
}

/* the largest entry of all tensors that belong to the same: gradients of one cell, or one tensor */
static double size_of(const Results *r, int at) {
  const char *name = r->items[at].name, *cell = strchr(name, '/');
  bool gradient = strstr(name, " grad/") || strstr(name, " moment");
  const char *end = gradient ? strchr(cell + 1, '/') : NULL;
  double largest = 0;
  for (int i = 0; i < r->count; i++) {
    if (i != at && !(end && strncmp(r->items[i].name, name, (size_t)(end - name) + 1) == 0))
      continue;
    for (int64_t k = 0; k < r->items[i].count; k++)
      if (isfinite(r->items[i].data[k])) largest = fmax(largest, fabs(r->items[i].data[k]));
  }
  return largest;
}

static int differs(const Results *got, const Results *want, double bound, double floor,
                   const char *what, const char *name) {
  if (got->count != want->count) {
    printf("%s: %s: %d tensors, not %d\n", name, what, got->count, want->count);
    return 1;
  }
  for (int i = 0; i < want->count; i++) {
    const CellTensor *a = &got->items[i], *b = &want->items[i];
    if (strcmp(a->name, b->name) != 0 || a->count != b->count) {
      printf("%s: %s: %s (%lld), not %s (%lld)\n", name, what, a->name, (long long)a->count,
             b->name, (long long)b->count);
      return 1;
    }
    if (floor > 0 && is_loose(a->name)) continue;
    double size = fmax(size_of(want, i), floor > 0 ? floor : 1e-3);
    for (int64_t k = 0; k < a->count; k++) {
      if (a->data[k] == b->data[k] || (isnan(a->data[k]) && isnan(b->data[k]))) continue;
      if (bound > 0 && fabs(a->data[k] - b->data[k]) <= bound * size) continue;
      printf("%s: %s: %s[%lld] is %.17g, not %.17g (largest %.3g)\n", name, what, a->name,
             (long long)k, a->data[k], b->data[k], size);
      return 1;
    }
  }
  return 0;
}

/* the graph of doubles must be finite, or the rest compares nothing; a vote leaves out losers */
static int infinite(const Results *r, const char *name) {
  for (int i = 0; i < r->count; i++)
    for (int64_t k = 0; k < r->items[i].count; k++)
      if (!isfinite(r->items[i].data[k]) && strcmp(r->items[i].name, "act q") != 0) {
        printf("%s: %s[%lld] is %g\n", name, r->items[i].name, (long long)k, r->items[i].data[k]);
        return 1;
      }
  return 0;
}

/* ---- derivatives ---- */

/* the sum of the losses that reach a group */
static bool losses(CellEngine *e, const CellModule *m, const CellCertificate *c, const Case *test,
                   double step, uint64_t seed, CellDiag *diag, double *sum) {
  set_params(e, m, seed, c->group, step);
  const CellGraph *g = cell_program(m, "inspect");
  set_inputs(e, g, test, seed);
  if (!cell_engine_run(e, "inspect", diag)) return false;
  *sum = 0;
  for (int i = 0; i < c->loss_count; i++) {
    char name[256];
    double loss;
    snprintf(name, sizeof name, "%s/loss", c->losses[i]);
    if (!cell_engine_get(e, "inspect", name, &loss, 1)) return false;
    *sum += loss;
  }
  return true;
}

/* Sums of gradient times direction against differences, for networks without memory: there the
 * derivative of the loss is the gradient. Targets stay as they are, so only the values at s_t move. */
static int derivatives(CellEngine *e, const CellModule *m, const Case *test, uint64_t seed,
                       CellArena *arena, CellDiag *diag) {
  for (int i = 0; i < m->certificate_count; i++) {
    const CellCertificate *c = &m->certificates[i];
    double sum = 0, up = 0, down = 0, along = 0, size = 0;
    if (!losses(e, m, c, test, 0, seed, diag, &sum)) return 0;
    for (int k = 0; k < m->param_count; k++) {
      const CellParam *p = &m->params[k];
      if (strcmp(p->group, c->group) != 0) continue;
      int64_t count = cell_param_count(p);
      double *grad = CELL_NEW_ARRAY(arena, double, count + 1);
      uint64_t direction = (seed + 1000u * (unsigned)k) ^ 77;
      if (!cell_engine_param_get(e, "inspect", "grad/", p, grad, count)) continue;
      for (int64_t j = 0; j < count; j++) {
        double d = grad[j] * (next_unit(&direction) - 0.5);
        along += d, size += fabs(d);
      }
    }
    const double step = 1e-6;
    (void)losses(e, m, c, test, step, seed, diag, &up);
    (void)losses(e, m, c, test, -step, seed, diag, &down);
    double slope = (up - down) / (2 * step);
    if (fabs(slope - along) <= 1e-4 * (size + 1e-3)) continue;
    printf("%s: derivative of %s along a direction is %.9g, by differences %.9g\n", test->name,
           c->group, along, slope);
    return 1;
  }
  return 0;
}

/* ---- one case ---- */

// several threads cut samples as they like, which they don't where guards are checked
static CellEngine *engine(const Built *b, CellBackend backend, int threads, CellDiag *diag) {
  CellEngineOptions options = {
      .isa = isa(), .threads = threads, .cache_dir = cache, .check_guards = threads == 1};
  return cell_engine_create(b->module, backend == CELL_BACKEND_INTERP ? NULL : b->plan, backend,
                            &options, diag);
}

static int one_run(const Built *b, const Built *plain, CellBackend backend, int threads,
                   const Case *c, uint64_t seed, CellArena *arena, Results *r, CellDiag *diag) {
  CellEngine *e = engine(b, backend, threads, diag);
  int bad = !e || !run_all(e, b->module, plain->module, c, seed, arena, r, diag);
  if (e) cell_engine_destroy(e);
  return bad;
}

/* the plan's kernels, and what they are compiled to; one large program is enough for that */
static int compare_cpu(const Case *c, const CellSource *text, uint64_t seed, const Built *plain,
                       CellArena *arena, CellDiag *diag) {
  Built some = {0};
  Results kernels = {0}, cpu[CPU_RUNS] = {{0}};
  if (!build(&some, c, text, seed % 2 ? INSPECT : UPDATE, arena, diag)) return 1;
  int bad = one_run(&some, plain, CELL_BACKEND_INTERP_KERNELS, 1, c, seed, arena, &kernels, diag);
  for (int i = 0; i < CPU_RUNS && !bad; i++) {
    bad = one_run(&some, plain, CELL_BACKEND_CPU, i + 1, c, seed, arena, &cpu[i], diag) ||
          (i == 0 ? differs(&cpu[0], &kernels, 1e-3, 1e-2, "cpu", c->name)
                  : differs(&cpu[i], &cpu[0], 0, 0, "threads", c->name));
  }
  return bad;
}

static int compare_all(const Case *c, const CellSource *text, uint64_t seed, bool smooth,
                       bool compiled, CellArena *arena, CellDiag *diag) {
  Built plain = {0}, full = {0};
  Results want = {0}, graph = {0}, kernels = {0};
  if (!build(&plain, c, text, PLAIN, arena, diag) || !build(&full, c, text, FULL, arena, diag))
    return 1;
  if (getenv("CELLC_PRINT")) {
    CellText out = {0};
    cell_plan_print(full.plan, &out);
    printf("%s\n", out.data);
    cell_text_free(&out);
  }
  CellEngine *judge = engine(&plain, CELL_BACKEND_INTERP, 1, diag);
  if (!judge) return 1;
  const CellCarry *carries;
  int bad = !run_all(judge, plain.module, plain.module, c, seed, arena, &want, diag);
  bad = bad || infinite(&want, c->name);
  if (!bad && smooth && cell_spec_carries(plain.spec, &carries) == 0)
    bad = derivatives(judge, plain.module, c, seed, arena, diag);
  cell_engine_destroy(judge);
  bad = bad || one_run(&full, &plain, CELL_BACKEND_INTERP, 1, c, seed, arena, &graph, diag) ||
        differs(&graph, &want, 1e-7, 0, "graph behind the passes", c->name) ||
        one_run(&full, &plain, CELL_BACKEND_INTERP_KERNELS, 1, c, seed, arena, &kernels, diag) ||
        differs(&kernels, &graph, 1e-9, 0, "kernels", c->name);
  if (bad || !compiled || getenv("CELLC_NO_LLVM")) return bad;
  return compare_cpu(c, text, seed, &plain, arena, diag);
}

/* a random body may lose its gradient on the way: then this is said, and well */
static bool refused(const CellDiag *diag) {
  for (int i = 0; i < diag->record_count; i++) {
    const char *code = diag->records[i].code;
    if (code && strcmp(code, "E0702") == 0) return true;
  }
  return false;
}

static int check_case(const Case *c, const CellSource *text, uint64_t seed, bool smooth,
                      bool compiled, bool random) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  int bad = compare_all(c, text, seed, smooth, compiled, arena, diag);
  if (random && refused(diag)) {
    bad = 0;
  } else if (bad || diag->error_count) {
    printf("%s failed\n", c->name);
    cell_diag_print(diag, stdout, false);
    bad = 1;
  }
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return bad;
}

/* ---- files ---- */

/* `# test obs 4,3,2 bits actions 3 [onehot|bits] [variant v] [set a=b]...` */
static void parse_case(Case *c, char *line) {
  bool actions = false;
  c->shapes = (CellShapes){.obs_rank = 1, .obs_shape = {9}, .actions = 3};
  c->shapes.code = CELL_ACTION_ONEHOT;
  for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
    if (strcmp(word, "bits") == 0) {
      if (actions)
        c->shapes.code = CELL_ACTION_BITS;
      else
        c->shapes.obs_bits = true;
      continue;
    }
    char *value = strtok(NULL, " ");
    if (!value) fail_msg("%s: `%s` wants a value", c->name, word);
    if (strcmp(word, "obs") == 0) {
      c->shapes.obs_rank = 0;
      for (char *p = value; *p && c->shapes.obs_rank < 3; p += *p == ',')
        c->shapes.obs_shape[c->shapes.obs_rank++] = (int32_t)strtol(p, &p, 10);
    } else if (strcmp(word, "actions") == 0) {
      c->shapes.actions = (int32_t)strtol(value, NULL, 10), actions = true;
    } else if (strcmp(word, "variant") == 0) {
      c->variant = value;
    } else if (strcmp(word, "set") == 0 && c->set_count < MAX_SETS) {
      c->sets[c->set_count++] = value;
    } else {
      fail_msg("%s: unknown word `%s`", c->name, word);
    }
  }
}

static int check_file(const char *path, int *cases) {
  CellDiag *diag = cell_diag_create();
  CellSource text = {.name = strrchr(path, '/') + 1};
  char *bytes = cell_read_file(path, (size_t)1 << 20, &text.length, diag);
  assert_non_null(bytes);
  text.text = bytes;
  int bad = 0;
  /* machine code takes longest to make: one case a file, unless somebody has the time */
  bool first = true, all = getenv("CELLC_CELLS") != NULL;
  bool smooth = strstr(bytes, "# smooth") != NULL;
  for (const char *p = bytes; p && !bad; p = strchr(p + 1, '\n')) {
    if (p != bytes) p++;
    if (strncmp(p, "# test ", 7) != 0) continue;
    Case c = {.name = text.name};
    char *line = cell_malloc(strcspn(p, "\n") + 1);
    memcpy(line, p + 7, strcspn(p, "\n") - 7);
    parse_case(&c, line);
    bad += check_case(&c, &text, 1234 + (uint64_t)*cases, smooth, first || all, false);
    ++*cases;
    first = false;
    free(line);
  }
  free(bytes);
  cell_diag_destroy(diag);
  return bad;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void files(void **state) {
  (void)state;
  const char *alone = getenv("CELLC_FILE");
  struct dirent **list;
  int count = scandir(CELLC_SOURCE_DIR "/tests/cells", &list, NULL, by_name), failed = 0, cases = 0;
  assert_true(count > 0);
  for (int i = 0; i < count; i++) {
    char path[4096];
    snprintf(path, sizeof path, CELLC_SOURCE_DIR "/tests/cells/%s", list[i]->d_name);
    if (strstr(list[i]->d_name, ".cell") && (!alone || strstr(path, alone)))
      failed += check_file(path, &cases);
    free(list[i]);
  }
  free(list);
  print_message("%d cases, %d files failed\n", cases, failed);
  assert_true(cases > 0);
  assert_int_equal(failed, 0);
}

/* ---- generated texts ---- */

/* batch: NULL, or what is set instead of the text's own few samples */
static int generated(uint64_t seed, const char *batch, bool loud) {
  CellText text = {0};
  char name[64];
  Case c = {.name = name};
  snprintf(name, sizeof name, "seed %llu%s%s", (unsigned long long)seed, batch ? " " : "",
           batch ? batch : "");
  bool smooth = cell_random_cell(seed, &text, &c.shapes) && !batch;
  if (batch) c.sets[c.set_count++] = batch;
  if (loud) printf("%s\n", text.data);
  CellSource source = {.name = name, .text = text.data, .length = text.length};
  int bad = check_case(&c, &source, seed, smooth, true, true);
  cell_text_free(&text);
  return bad;
}

static void all_generated(const char *batch, uint64_t first, uint64_t count) {
  const char *alone = getenv("CELLC_SEED"), *number = getenv("CELLC_CELLS");
  const char *from = getenv("CELLC_FROM");
  if (alone) {
    assert_int_equal(generated(strtoull(alone, NULL, 10), batch, true), 0);
    return;
  }
  if (number) count = strtoull(number, NULL, 10);
  if (from) first = strtoull(from, NULL, 10);
  int failed = 0;
  for (uint64_t seed = first; seed < first + count; seed++) failed += generated(seed, batch, false);
  if (failed) printf("%d of %llu texts failed\n", failed, (unsigned long long)count);
  assert_int_equal(failed, 0);
}

static void texts(void **state) {
  (void)state;
  all_generated(NULL, 1, getenv("CELLC_SANITIZED") ? 4 : 12);
}

// in a batch of several tiles lanes go across samples, and loops are cut; of text 16 one whose sums loops inside feed
static void texts_in_tiles(void **state) {
  (void)state;
  all_generated("train.batch=256", 16, getenv("CELLC_SANITIZED") ? 1 : 3);
}

static void remove_folder(const char *path) {
  DIR *folder = opendir(path);
  for (struct dirent *e = folder ? readdir(folder) : NULL; e; e = readdir(folder)) {
    char file[512];
    snprintf(file, sizeof file, "%s/%s", path, e->d_name);
    if (e->d_name[0] != '.') remove(file);
  }
  if (folder) closedir(folder);
  remove(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(files), cmocka_unit_test(texts),
                                     cmocka_unit_test(texts_in_tiles)};
  if (!mkdtemp(cache)) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_folder(cache);
  return failed;
}
