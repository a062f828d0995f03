/* run_program.c - one program of a network, run on the tensors of a file. */
#include "runtime/run_program.h"

#include "runtime/init.h"
#include "runtime/network.h"

#include <stdlib.h>
#include <string.h>

// ---- names ----

enum { PARAMS, TARGET, MOMENT1, MOMENT2, KINDS };
static const char *const kinds[KINDS] = {"params/", "target/", "moment1/", "moment2/"};

static const char *const data_names[] = {"obs", "next_obs", "action", "reward", "terminated"};
enum { OBS, NEXT_OBS, ACTION, REWARD, TERMINATED, DATA };

// values of a cell: those with an entry for every action, those of every sample, those of a batch
static const char *const action_values[] = {"q", "next_q", "target_next_q"};
static const char *const sample_values[] = {"td_target",    "hidden",    "state",
                                            "state_before", "state_now", "target_state_now"};
static const char *const batch_values[] = {"loss", "grad_norm"};
#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static bool one_of(const char *name, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

static bool starts(const char *name, const char *prefix) {
  return strncmp(name, prefix, strlen(prefix)) == 0;
}

// ---- a run ----

// a module with one program, compiled
typedef struct {
  const char *program;
  CellSpec *spec;
  CellModule *module;
  CellPlan *plan;
  CellEngine *engine;
} Machine;

typedef struct {
  const CellRunProgram *o;
  CellBackend backend; // o's, or the CPU instead of a GPU that will not do
  CellArena *arena;
  CellDiag *diag;
  CellTensorWriter *out;
  int source;
  bool act, update;
  // what the network is, from a first build
  const CellTrain *train;
  const CellParam *params;
  int param_count;
  const CellCarry *carries;
  int carry_count;
  const char **cells; // all that a name may begin with
  int cell_count, cell_capacity;
  const char **records; // outputs of inspect that are always there
  int record_count;
  // the data
  int64_t batch, context, steps; // steps: T of act
  double *data[DATA];            // NULL: not given
  const CellFileTensor *given[DATA];
  // states: [kind][parameter]; NULL: not given and not yet read from an engine
  double **values[KINDS];
  double step;
  bool has_step;
  Machine main, inspect;
} Run;

static double *room(Run *r, int64_t count) {
  return CELL_NEW_ARRAY(r->arena, double, count + 1);
}

static const char *join(Run *r, const char *prefix, const char *name) {
  return cell_arena_printf(r->arena, "%s%s", prefix, name);
}

static void add_cell(Run *r, const char *name, size_t length) {
  for (int i = 0; i < r->cell_count; i++)
    if (strlen(r->cells[i]) == length && memcmp(r->cells[i], name, length) == 0) return;
  const char *copy = cell_arena_strndup(r->arena, name, length);
  CELL_PUSH(r->arena, r->cells, r->cell_count, r->cell_capacity, copy);
}

// ---- what the network is ----

static void find_records(Run *r, const CellModule *m) {
  const CellGraph *g = cell_program(m, "inspect");
  r->records = CELL_NEW_ARRAY(r->arena, const char *, g->output_count + 1);
  for (int i = 0; i < g->output_count; i++) r->records[r->record_count++] = g->outputs[i].name;
}

// a first build for the batch that the file names: parameters, carries, cells
static bool look_at_network(Run *r) {
  CellSpec *spec = cell_spec_load(r->arena, r->diag, r->source, &r->o->spec);
  if (!spec) return false;
  static const char *const nothing[1] = {NULL};
  CellBuildOptions build = {.act_batch = r->act, .inspect = r->update ? nothing : NULL};
  CellModule *m = cell_spec_build(spec, &r->o->shapes, &build, r->diag);
  if (!m) return false;
  r->train = cell_spec_train(spec);
  r->params = m->params, r->param_count = m->param_count;
  r->carry_count = cell_spec_carries(spec, &r->carries);
  const char *const *cells;
  int count = cell_spec_cells(spec, &cells);
  for (int i = 0; i < count; i++) add_cell(r, cells[i], strlen(cells[i]));
  for (int i = 0; i < r->carry_count; i++) {
    add_cell(r, r->carries[i].cell, strlen(r->carries[i].cell));
    add_cell(r, r->carries[i].name, strlen(r->carries[i].name));
  }
  for (int i = 0; i < r->param_count; i++) {
    const char *name = r->params[i].name, *group = r->params[i].group;
    add_cell(r, name, strcspn(name, "/"));
    add_cell(r, group, strlen(group));
  }
  if (r->update) find_records(r, m);
  // an input may come from another program: its records are known names, if they can be built
  if (!r->update) {
    CellDiag *scratch = cell_diag_create();
    int source = cell_diag_source(scratch, r->o->name, r->o->text, r->o->length);
    spec = cell_spec_load(r->arena, scratch, source, &r->o->spec);
    build = (CellBuildOptions){.inspect = nothing};
    m = spec ? cell_spec_build(spec, &r->o->shapes, &build, scratch) : NULL;
    if (m) find_records(r, m);
    cell_diag_destroy(scratch);
  }
  return true;
}

static int find_param(const Run *r, const char *name) {
  for (int i = 0; i < r->param_count; i++)
    if (strcmp(r->params[i].name, name) == 0) return i;
  return -1;
}

// "l1/" of "l1/q" is a cell's or a carry's
static bool of_a_cell(const Run *r, const char *name) {
  for (int i = 0; i < r->cell_count; i++) {
    size_t length = strlen(r->cells[i]);
    if (length > 0 && strncmp(name, r->cells[i], length) == 0 && name[length] == '/') return true;
  }
  return false;
}

static bool is_known(const Run *r, const char *name) {
  if (one_of(name, data_names, DATA) || strcmp(name, "step") == 0 || strcmp(name, "q") == 0)
    return true;
  for (int k = 0; k < KINDS; k++)
    if (starts(name, kinds[k])) return find_param(r, name + strlen(kinds[k])) >= 0;
  if (starts(name, "grad/")) return find_param(r, name + 5) >= 0;
  return of_a_cell(r, name) || one_of(name, r->records, r->record_count);
}

// every name there could be, to find the nearest
static const char *nearest(Run *r, const char *name) {
  int own = COUNT(action_values) + COUNT(sample_values) + COUNT(batch_values), count = 0;
  int most = (KINDS + 1) * r->param_count + r->cell_count * own + r->record_count + DATA + 2;
  const char **all = CELL_NEW_ARRAY(r->arena, const char *, most);
  for (int i = 0; i < r->param_count; i++) {
    for (int k = 0; k < KINDS; k++) all[count++] = join(r, kinds[k], r->params[i].name);
    all[count++] = join(r, "grad/", r->params[i].name);
  }
  for (int i = 0; i < r->cell_count; i++) {
    const char *cell = join(r, r->cells[i], "/");
    for (int k = 0; k < COUNT(action_values); k++) all[count++] = join(r, cell, action_values[k]);
    for (int k = 0; k < COUNT(sample_values); k++) all[count++] = join(r, cell, sample_values[k]);
    for (int k = 0; k < COUNT(batch_values); k++) all[count++] = join(r, cell, batch_values[k]);
  }
  for (int i = 0; i < r->record_count; i++) all[count++] = r->records[i];
  for (int i = 0; i < DATA; i++) all[count++] = data_names[i];
  all[count++] = "step", all[count++] = "q";
  return cell_nearest(name, all, count);
}

static bool unknown(Run *r, const char *what, const char *name, const char *where) {
  CellRecord *record = cell_error(r->diag, NULL, CELL_NOWHERE, "%s `%s`%s%s", what, name,
                                  where ? " in " : "", where ? where : "");
  const char *near = nearest(r, name);
  if (near) cell_help(r->diag, record, "did you mean `%s`?", near);
  return false;
}

// ---- reading ----

static const char *shape_text(Run *r, int rank, const int64_t *shape) {
  CellText t = {0};
  for (int i = 0; i < rank; i++) cell_text_printf(&t, "%s%lld", i ? ", " : "", (long long)shape[i]);
  const char *text = cell_arena_printf(r->arena, "[%s]", rank ? t.data : "");
  cell_text_free(&t);
  return text;
}

static CellRecord *wrong_shape(Run *r, const CellFileTensor *t, const char *wanted) {
  return cell_error(r->diag, NULL, CELL_NOWHERE, "`%s` of `%s` has the shape %s, and %s is wanted",
                    t->name, r->o->in_name, shape_text(r, t->rank, t->shape), wanted);
}

static bool wrong_type(Run *r, const CellFileTensor *t, const char *wanted) {
  cell_error(r->diag, NULL, CELL_NOWHERE, "`%s` of `%s` is of type %s, and %s is wanted", t->name,
             r->o->in_name, cell_tensor_type_name(t->type), wanted);
  return false;
}

static double *doubles(Run *r, const CellFileTensor *t) {
  double *values = room(r, t->count);
  cell_tensor_doubles(t, values);
  return values;
}

// a tensor of `lead` dimensions and an observation behind them, or the observation made flat
static bool has_obs_shape(Run *r, const CellFileTensor *t, int lead, const int64_t *leading) {
  const CellShapes *s = &r->o->shapes;
  int64_t whole[8], flat[8], size = 1;
  for (int i = 0; i < lead; i++) whole[i] = flat[i] = leading[i];
  for (int i = 0; i < s->obs_rank; i++) {
    whole[lead + i] = s->obs_shape[i];
    size *= s->obs_shape[i];
  }
  flat[lead] = size;
  if (cell_tensor_has_shape(t, lead + s->obs_rank, whole)) return true;
  if (cell_tensor_has_shape(t, lead + 1, flat)) return true;
  wrong_shape(r, t, shape_text(r, lead + s->obs_rank, whole));
  return false;
}

static bool check_bits(Run *r, int which) {
  const CellFileTensor *t = r->given[which];
  for (int64_t i = 0; r->o->shapes.obs_bits && i < t->count; i++)
    if (r->data[which][i] != 0 && r->data[which][i] != 1) {
      CellRecord *record = cell_error(r->diag, NULL, CELL_NOWHERE,
                                      "`%s` of `%s` holds %g, and observations are bits: 0 or 1",
                                      t->name, r->o->in_name, r->data[which][i]);
      cell_help(r->diag, record, "without `:bits` in --obs they are real numbers");
      return false;
    }
  return true;
}

static bool need(Run *r, int which) {
  r->given[which] = cell_tensors_need(r->o->in, data_names[which], r->diag);
  return r->given[which] != NULL;
}

// [C+1, B, ...] or, for act, [T, B, ...]: where the batch comes from
static bool read_obs(Run *r) {
  if (!need(r, OBS)) return false;
  const CellFileTensor *t = r->given[OBS];
  int64_t lead[2] = {t->shape[0], t->shape[1]};
  if (t->rank < 3) {
    const char *sizes = shape_text(r, r->o->shapes.obs_rank,
                                   (int64_t[]){r->o->shapes.obs_shape[0], r->o->shapes.obs_shape[1],
                                               r->o->shapes.obs_shape[2]});
    wrong_shape(
        r, t,
        cell_arena_printf(r->arena, "[%s, batch, %s", r->act ? "steps" : "context + 1", sizes + 1));
    return false;
  }
  if (!has_obs_shape(r, t, 2, lead)) return false;
  if (lead[0] < 1 || lead[1] < 1) {
    wrong_shape(r, t, "at least one of each");
    return false;
  }
  r->batch = lead[1];
  r->context = lead[0] - 1, r->steps = lead[0];
  if (r->update && r->carry_count > 0 && r->context != r->train->context) {
    lead[0] = r->train->context + 1;
    int64_t shape[CELL_TENSOR_MAX_RANK];
    for (int i = 0; i < t->rank; i++) shape[i] = i < 2 ? lead[i] : t->shape[i];
    CellRecord *record = wrong_shape(r, t, shape_text(r, t->rank, shape));
    cell_help(r->diag, record,
              "the context is %d observations before the last; --set train.context=%lld",
              (int)r->train->context, (long long)r->context);
    return false;
  }
  r->data[OBS] = doubles(r, t);
  return check_bits(r, OBS);
}

static bool read_next_obs(Run *r) {
  if (!need(r, NEXT_OBS) || !has_obs_shape(r, r->given[NEXT_OBS], 1, &r->batch)) return false;
  r->data[NEXT_OBS] = doubles(r, r->given[NEXT_OBS]);
  return check_bits(r, NEXT_OBS);
}

static bool read_samples(Run *r, int which) {
  if (!need(r, which)) return false;
  const CellFileTensor *t = r->given[which];
  if (!cell_tensor_has_shape(t, 1, &r->batch)) {
    wrong_shape(r, t, shape_text(r, 1, &r->batch));
    return false;
  }
  bool real = t->type == CELL_TENSOR_F32 || t->type == CELL_TENSOR_F64;
  if (which == ACTION && (real || t->type == CELL_TENSOR_BOOL))
    return wrong_type(r, t, "I32 or I64");
  r->data[which] = doubles(r, t);
  for (int64_t i = 0; which == ACTION && i < t->count; i++)
    if (!(r->data[which][i] >= 0 && r->data[which][i] < r->o->shapes.actions)) {
      cell_error(r->diag, NULL, CELL_NOWHERE,
                 "`action` of `%s` holds %.0f, and the actions are 0 to %d", r->o->in_name,
                 r->data[which][i], (int)r->o->shapes.actions - 1);
      return false;
    }
  return true;
}

static bool read_data(Run *r) {
  if (!r->act && !r->update) return true;
  if (!read_obs(r)) return false;
  if (r->act) return true;
  bool ok = read_next_obs(r);
  for (int i = ACTION; i <= TERMINATED; i++) ok = read_samples(r, i) && ok;
  return ok;
}

// a parameter's values of one kind, where the file has them
static bool read_values(Run *r, int kind, int param) {
  const CellParam *p = &r->params[param];
  const CellFileTensor *t = cell_tensors_find(r->o->in, join(r, kinds[kind], p->name));
  if (!t) return true;
  int64_t shape[CELL_MAX_RANK];
  for (int i = 0; i < p->rank; i++) shape[i] = p->shape[i];
  if (!cell_tensor_has_shape(t, p->rank, shape)) {
    CellRecord *record = wrong_shape(r, t, shape_text(r, p->rank, shape));
    cell_relate(r->diag, record, p->span, "%s, from here", p->name);
    return false;
  }
  if (t->type != CELL_TENSOR_F32 && t->type != CELL_TENSOR_F64)
    return wrong_type(r, t, "F32 or F64");
  r->values[kind][param] = doubles(r, t);
  return true;
}

static bool read_states(Run *r) {
  bool ok = true;
  for (int k = 0; k < KINDS; k++) {
    r->values[k] = CELL_NEW_ARRAY(r->arena, double *, r->param_count + 1);
    for (int i = 0; i < r->param_count; i++) ok = read_values(r, k, i) && ok;
  }
  for (int i = 0; ok && i < r->param_count; i++) {
    const CellParam *p = &r->params[i];
    double **online = &r->values[PARAMS][i], **target = &r->values[TARGET][i];
    if (!*online) {
      *online = room(r, cell_param_count(p));
      cell_init_param(p, r->o->seed, r->train->init_shared, *online);
    }
    if (!*target) *target = *online; // never changed in place
  }
  const CellFileTensor *t = cell_tensors_find(r->o->in, "step");
  r->has_step = t != NULL;
  if (t && t->count != 1) {
    wrong_shape(r, t, "[1]");
    return false;
  }
  if (t) cell_tensor_doubles(t, &r->step);
  return ok;
}

static bool check_names(Run *r) {
  bool ok = true;
  for (int i = 0; i < cell_tensors_count(r->o->in); i++) {
    const char *name = cell_tensors_at(r->o->in, i)->name;
    if (is_known(r, name)) continue;
    ok = unknown(r, "unknown tensor", name, cell_arena_printf(r->arena, "`%s`", r->o->in_name));
  }
  return ok;
}

// ---- machines ----

// whether a name is to be written: where nothing is asked for, everything is
static bool asked(const Run *r, const char *name) {
  for (int i = 0; i < r->o->output_count; i++) {
    const char *wanted = r->o->outputs[i];
    size_t length = strlen(wanted);
    bool below = length > 0 && wanted[length - 1] == '/';
    if (strcmp(wanted, name) == 0 || (below && starts(name, wanted))) return true;
  }
  return r->o->outputs == NULL;
}

static bool trace(Run *r, Machine *m, const char *program, const CellBuildOptions *build,
                  const char *const *wanted, int wanted_count) {
  const CellRunProgram *o = r->o;
  m->program = program;
  CellSpecOptions options = o->spec;
  const char **sets = CELL_NEW_ARRAY(r->arena, const char *, options.set_count + 2);
  for (int i = 0; i < options.set_count; i++) sets[i] = options.sets[i];
  if (r->update) {
    sets[options.set_count++] =
        cell_arena_printf(r->arena, "train.batch=%lld", (long long)r->batch);
    sets[options.set_count++] =
        cell_arena_printf(r->arena, "train.context=%lld", (long long)r->context);
  }
  options.sets = sets;
  m->spec = cell_spec_load(r->arena, r->diag, r->source, &options);
  m->module = m->spec ? cell_spec_build(m->spec, &o->shapes, build, r->diag) : NULL;
  if (!m->module) return false;
  CellGraph *g = cell_program(m->module, program);
  if (wanted) g->wanted = wanted, g->wanted_count = wanted_count;
  return cell_run_passes(m->module, &(CellPassOptions){0}, r->diag);
}

// from graphs to something that runs
static bool start(Run *r, Machine *m) {
  const CellEngineOptions *engine = &r->o->engine;
  if (r->backend != CELL_BACKEND_INTERP) {
    CellTarget target = cell_engine_target(r->backend, engine);
    m->plan = cell_plan_create(r->arena, m->module, &target, NULL, r->diag);
    if (!m->plan) return false;
  }
  m->engine = cell_engine_create(m->module, m->plan, r->backend, engine, r->diag);
  return m->engine != NULL;
}

static void stop(Machine *m) {
  cell_engine_destroy(m->engine);
  m->engine = NULL;
}

static bool start_both(Run *r) {
  return start(r, &r->main) && (!r->inspect.module || start(r, &r->inspect));
}

// both on one back end: on the CPU where the GPU will not do for one of them
static bool start_all(Run *r) {
  CellDiagMark mark = cell_diag_mark(r->diag);
  if (start_both(r)) return true;
  const char *why = cell_cpu_instead(&r->o->engine, mark, r->diag);
  if (!why) return false;
  if (r->o->cpu_because) *r->o->cpu_because = why;
  stop(&r->main), stop(&r->inspect);
  r->backend = CELL_BACKEND_CPU;
  return start_both(r);
}

// what inspect has to compute; none if only states are asked for
static const char **inspected(Run *r, int *count) {
  const CellRunProgram *o = r->o;
  int most = o->output_count + r->cell_count + r->record_count + 1;
  const char **wanted = CELL_NEW_ARRAY(r->arena, const char *, most);
  *count = 0;
  if (!o->outputs) {
    for (int i = 0; i < r->cell_count; i++) wanted[(*count)++] = join(r, r->cells[i], "/");
    for (int i = 0; i < r->record_count; i++) wanted[(*count)++] = r->records[i];
    wanted[(*count)++] = "grad/";
  }
  for (int i = 0; i < o->output_count; i++) {
    const char *name = o->outputs[i];
    bool state = strcmp(name, "step") == 0 || one_of(name, data_names, DATA);
    for (int k = 0; k < KINDS; k++) state = state || starts(name, kinds[k]);
    if (!state) wanted[(*count)++] = name;
  }
  return wanted;
}

static bool trace_all(Run *r) {
  const char *program = r->o->program;
  CellBuildOptions build = {.update = r->update, .sync = !r->update && !r->act};
  if (r->act) {
    // the states go on from step to step whatever is asked for
    build.act_batch = (int32_t)r->batch;
    const char **wanted = CELL_NEW_ARRAY(r->arena, const char *, r->o->output_count + 3);
    int count = 0;
    wanted[count++] = "action", wanted[count++] = "state/";
    if (!r->o->outputs) wanted[count++] = "q";
    for (int i = 0; i < r->o->output_count; i++) wanted[count++] = r->o->outputs[i];
    return trace(r, &r->main, program, &build, wanted, count);
  }
  if (!trace(r, &r->main, program, &build, NULL, 0)) return false;
  if (!r->update) return true;
  int count;
  const char **wanted = inspected(r, &count);
  if (count == 0) return true;
  build = (CellBuildOptions){.inspect = wanted, .inspect_count = count};
  return trace(r, &r->inspect, "inspect", &build, NULL, 0);
}

// a name that was asked for and that no program gives
static bool check_outputs(Run *r) {
  bool ok = true;
  const Machine *m = r->update ? &r->inspect : &r->main;
  const CellGraph *g = m->module ? cell_program(m->module, m->program) : NULL;
  for (int i = 0; i < r->o->output_count; i++) {
    const char *name = r->o->outputs[i];
    size_t length = strlen(name);
    if (length == 0) continue;
    bool found = strcmp(name, "step") == 0 || one_of(name, data_names, DATA);
    for (int k = 0; k < KINDS; k++) {
      if (!starts(name, kinds[k])) continue;
      found = name[length - 1] == '/' ? length == strlen(kinds[k])
                                      : find_param(r, name + strlen(kinds[k])) >= 0;
    }
    for (int k = 0; r->act && k < r->carry_count; k++)
      found =
          found || strcmp(name, cell_arena_printf(r->arena, "%s/state", r->carries[k].name)) == 0;
    for (int k = 0; g && !found && k < g->output_count; k++) {
      const char *there = g->outputs[k].name;
      found = strncmp(there, name, length) == 0 &&
              (there[length] == 0 || there[length] == '#' || name[length - 1] == '/');
    }
    if (!found)
      ok = unknown(r, cell_arena_printf(r->arena, "%s has no result", r->o->program), name, NULL);
  }
  return ok;
}

// ---- running ----

// the cuts of parameters are each module's own; a program need not read all of them
static void push_states(Run *r, const Machine *m) {
  for (int k = 0; k < KINDS; k++)
    for (int i = 0; i < r->param_count; i++) {
      const CellParam *p = &m->module->params[i];
      CELL_ASSERT(strcmp(p->name, r->params[i].name) == 0);
      if (r->values[k][i])
        cell_engine_param_set(m->engine, kinds[k], p, r->values[k][i], cell_param_count(p));
    }
  cell_engine_set(m->engine, NULL, "step", &r->step, 1);
}

// the program's name finds what it writes, whether it is a state of the module or only an output
static void pull_states(Run *r, const Machine *m) {
  for (int k = 0; k < KINDS; k++)
    for (int i = 0; i < r->param_count; i++) {
      const CellParam *p = &m->module->params[i];
      int64_t count = cell_param_count(p);
      double *values = room(r, count);
      if (cell_engine_param_get(m->engine, m->program, kinds[k], p, values, count))
        r->values[k][i] = values;
    }
  if (cell_engine_get(m->engine, NULL, "step", &r->step, 1)) r->has_step = true;
}

// a program's inputs; without memory there is no context
static void push_data(Run *r, const Machine *m) {
  int64_t one = r->given[NEXT_OBS]->count;
  cell_engine_set(m->engine, m->program, "context", r->data[OBS], r->context * one);
  cell_engine_set(m->engine, m->program, "obs", r->data[OBS] + r->context * one, one);
  cell_engine_set(m->engine, m->program, "next_obs", r->data[NEXT_OBS], one);
  for (int i = ACTION; i < DATA; i++)
    cell_engine_set(m->engine, m->program, data_names[i], r->data[i], r->batch);
}

// ---- results ----

// a result in its full shape: (batch, candidate, own), whatever it was found not to vary over
typedef struct {
  const char *name;
  int rank;
  int64_t shape[CELL_TENSOR_MAX_RANK];
  int64_t count, stored;   // entries; those of the engine's tensor
  int64_t repeat, stretch; // the stored entries come so often, each of them so often
  bool whole;
} Result;

static const char *last_word(const char *name) {
  const char *slash = strrchr(name, '/');
  return slash ? slash + 1 : name;
}

static Result result_of(const Run *r, const CellGraph *g, const CellOutput *o) {
  const CellNode *n = cell_node(g, o->value);
  Result result = {.name = o->name, .repeat = 1, .stretch = 1, .whole = n->dtype == CELL_I};
  const char *word = last_word(o->name);
  bool by_action = one_of(word, action_values, COUNT(action_values));
  bool by_sample =
      by_action || one_of(word, sample_values, COUNT(sample_values)) || strcmp(word, "action") == 0;
  if (n->axes & CELL_AXIS(CELL_AXIS_BATCH)) {
    result.shape[result.rank++] = r->batch;
  } else if (by_sample) {
    result.shape[result.rank++] = result.repeat = r->batch;
  }
  int64_t actions = r->o->shapes.actions;
  if (n->axes & CELL_AXIS(CELL_AXIS_CANDIDATE)) {
    result.shape[result.rank++] = actions;
  } else if (by_action && n->rank == 0) {
    result.shape[result.rank++] = result.stretch = actions;
  }
  for (int i = 0; i < n->rank; i++) result.shape[result.rank++] = n->shape[i];
  if (result.rank == 0) result.shape[result.rank++] = 1;
  result.count = 1;
  for (int i = 0; i < result.rank; i++) result.count *= result.shape[i];
  result.stored = result.count / result.repeat / result.stretch;
  return result;
}

static void read_result(const Machine *m, const Result *result, double *out) {
  bool there = cell_engine_get(m->engine, m->program, result->name, out, result->stored);
  CELL_ASSERT(there);
  // backwards, so that an entry is read before it is written over
  int64_t once = result->stored * result->stretch;
  for (int64_t i = once - 1; i >= 0; i--) out[i] = out[i / result->stretch];
  for (int64_t i = once; i < result->count; i++) out[i] = out[i - once];
}

static void write(Run *r, const char *name, int rank, const int64_t *shape, bool whole,
                  const double *values) {
  CellTensorType type = r->backend == CELL_BACKEND_CPU || r->backend == CELL_BACKEND_CUDA
                            ? CELL_TENSOR_F32
                            : CELL_TENSOR_F64;
  if (whole) type = CELL_TENSOR_I32;
  cell_tensor_writer_add_doubles(r->out, name, type, rank, shape, values);
}

static void write_param(Run *r, const char *prefix, const CellParam *p, const double *values) {
  const char *name = join(r, prefix, p->name);
  int64_t shape[CELL_MAX_RANK];
  for (int i = 0; i < p->rank; i++) shape[i] = p->shape[i];
  if (asked(r, name)) write(r, name, p->rank, shape, false, values);
}

// states as they are now, with those that only pass through
static void write_states(Run *r) {
  for (int k = 0; k < KINDS; k++)
    for (int i = 0; i < r->param_count; i++) {
      // what act neither reads nor was given is left out
      bool copy = k == TARGET && r->values[k][i] == r->values[PARAMS][i];
      if (r->values[k][i] && !(r->act && copy))
        write_param(r, kinds[k], &r->params[i], r->values[k][i]);
    }
  int64_t one = 1;
  if (r->has_step && asked(r, "step"))
    cell_tensor_writer_add_doubles(r->out, "step", CELL_TENSOR_I64, 1, &one, &r->step);
}

static void write_data(Run *r) {
  for (int i = 0; i < DATA; i++) {
    const CellFileTensor *t = r->given[i];
    if (t && asked(r, t->name))
      cell_tensor_writer_add(r->out, t->name, t->type, t->rank, t->shape, t->data);
  }
}

// ---- the programs ----

static void write_inspected(Run *r) {
  const Machine *m = &r->inspect;
  const CellGraph *g = cell_program(m->module, m->program);
  for (int i = 0; i < g->output_count; i++) {
    if (starts(g->outputs[i].name, "grad/") || !asked(r, g->outputs[i].name)) continue;
    Result result = result_of(r, g, &g->outputs[i]);
    double *values = room(r, result.count);
    read_result(m, &result, values);
    write(r, result.name, result.rank, result.shape, result.whole, values);
  }
  for (int i = 0; i < r->param_count; i++) {
    const CellParam *p = &m->module->params[i];
    double *values = room(r, cell_param_count(p));
    if (cell_engine_param_get(m->engine, m->program, "grad/", p, values, cell_param_count(p)))
      write_param(r, "grad/", p, values);
  }
}

static bool run_update(Run *r) {
  push_states(r, &r->main);
  push_data(r, &r->main);
  for (int64_t i = 0; i < r->o->repeat; i++) {
    if (i == r->o->repeat - 1 && r->inspect.engine) {
      if (i > 0) pull_states(r, &r->main);
      push_states(r, &r->inspect);
      push_data(r, &r->inspect);
      if (!cell_engine_run(r->inspect.engine, "inspect", r->diag)) return false;
      write_inspected(r);
    }
    if (!cell_engine_run(r->main.engine, "update", r->diag)) return false;
  }
  pull_states(r, &r->main);
  write_states(r);
  write_data(r);
  return true;
}

static bool run_sync(Run *r) {
  push_states(r, &r->main);
  for (int64_t i = 0; i < r->o->repeat; i++)
    if (!cell_engine_run(r->main.engine, "sync", r->diag)) return false;
  pull_states(r, &r->main);
  write_states(r);
  return true;
}

// "l1/state" of the file into "state/l1": [B, ...]
static bool push_carries(Run *r) {
  bool ok = true;
  for (int i = 0; i < r->carry_count; i++) {
    const CellCarry *c = &r->carries[i];
    const CellFileTensor *t =
        cell_tensors_find(r->o->in, cell_arena_printf(r->arena, "%s/state", c->name));
    if (!t) continue;
    int64_t shape[CELL_MAX_RANK + 1] = {r->batch};
    for (int k = 0; k < c->rank; k++) shape[k + 1] = c->shape[k];
    if (!cell_tensor_has_shape(t, c->rank + 1, shape)) {
      wrong_shape(r, t, shape_text(r, c->rank + 1, shape));
      ok = false;
      continue;
    }
    cell_engine_set(r->main.engine, NULL, join(r, "state/", c->name), doubles(r, t), t->count);
  }
  return ok;
}

static void write_carries(Run *r) {
  for (int i = 0; i < r->carry_count; i++) {
    const CellCarry *c = &r->carries[i];
    const char *name = cell_arena_printf(r->arena, "%s/state", c->name);
    int64_t shape[CELL_MAX_RANK + 1] = {r->batch}, count = r->batch;
    for (int k = 0; k < c->rank; k++) count *= shape[k + 1] = c->shape[k];
    double *values = room(r, count);
    bool there = cell_engine_get(r->main.engine, "act", join(r, "state/", c->name), values, count);
    CELL_ASSERT(there);
    if (asked(r, name)) write(r, name, c->rank + 1, shape, false, values);
  }
}

static bool run_act(Run *r) {
  const Machine *m = &r->main;
  push_states(r, m);
  if (!push_carries(r)) return false;
  const CellGraph *g = cell_program(m->module, "act");
  // every result, step below step
  double **all = CELL_NEW_ARRAY(r->arena, double *, g->output_count + 1);
  for (int i = 0; i < g->output_count; i++) {
    if (starts(g->outputs[i].name, "state/")) continue;
    all[i] = room(r, result_of(r, g, &g->outputs[i]).count * r->steps);
  }
  int64_t one = r->given[OBS]->count / r->steps;
  for (int64_t step = 0; step < r->o->repeat * r->steps; step++) {
    int64_t row = step % r->steps;
    cell_engine_set(m->engine, "act", "obs", r->data[OBS] + row * one, one);
    if (!cell_engine_run(m->engine, "act", r->diag)) return false;
    for (int i = 0; i < g->output_count; i++) {
      if (!all[i]) continue;
      Result result = result_of(r, g, &g->outputs[i]);
      read_result(m, &result, all[i] + row * result.count);
    }
  }
  for (int i = 0; i < g->output_count; i++) {
    if (!all[i] || !asked(r, g->outputs[i].name)) continue;
    Result result = result_of(r, g, &g->outputs[i]);
    int64_t shape[CELL_TENSOR_MAX_RANK + 1] = {r->steps};
    for (int d = 0; d < result.rank; d++) shape[d + 1] = result.shape[d];
    write(r, result.name, result.rank + 1, shape, result.whole, all[i]);
  }
  write_carries(r);
  write_states(r);
  write_data(r);
  return true;
}

bool cell_run_program(const CellRunProgram *options, CellTensorWriter *out, CellDiag *diag) {
  Run r = {.o = options, .backend = options->backend, .out = out, .diag = diag};
  r.arena = cell_arena_create();
  r.act = strcmp(options->program, "act") == 0;
  r.update = strcmp(options->program, "update") == 0;
  r.source = cell_diag_source(diag, options->name, options->text, options->length);
  bool ok = look_at_network(&r);
  if (ok) {
    // every complaint about the file in one run
    ok = check_names(&r);
    ok = read_states(&r) && ok;
    ok = read_data(&r) && ok;
  }
  ok = ok && trace_all(&r) && check_outputs(&r) && start_all(&r) &&
       (r.act      ? run_act(&r)
        : r.update ? run_update(&r)
                   : run_sync(&r));
  stop(&r.main), stop(&r.inspect);
  cell_arena_destroy(r.arena);
  return ok;
}
