/* network.c - from the text of a .cell file to an agent. */
#include "runtime/network.h"

#include "runtime/init.h"
#include "runtime/safetensors.h"
#include "runtime/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

CellShapes cell_env_shapes(const CellEnvKind *kind) {
  CellShapes shapes = {.obs_rank = kind->observation.rank,
                       .obs_bits = kind->observation.representation == CELL_ENV_BITS,
                       .code = kind->actions.bits ? CELL_ACTION_BITS : CELL_ACTION_AUTO,
                       .actions = kind->actions.count};
  for (int i = 0; i < shapes.obs_rank; i++) shapes.obs_shape[i] = kind->observation.shape[i];
  return shapes;
}

// ---- the agent's two functions ----

static bool run(void *context, const char *program, CellDiag *diag) {
  return cell_engine_run(((CellNetwork *)context)->engine, program, diag);
}

static bool tensor(void *context, const char *program, const char *name, CellTensorData *out) {
  CellEngine *engine = ((CellNetwork *)context)->engine;
  // a carried state is changed in place and may belong to all programs
  return cell_engine_tensor(engine, program, name, out) ||
         cell_engine_tensor(engine, NULL, name, out);
}

// names of update's outputs "metric/...", without that word; of the plan, where there is one
static void find_metrics(CellNetwork *n) {
  const CellGraph *g = cell_program(n->module, "update");
  if (!g) return;
  const char **names = CELL_NEW_ARRAY(n->arena, const char *, g->output_count + 1);
  int count = 0;
  for (int i = 0; i < g->output_count; i++) {
    if (strncmp(g->outputs[i].name, "metric/", 7) == 0) names[count++] = g->outputs[i].name + 7;
  }
  n->agent.metrics = names, n->agent.metric_count = count;
}

static void find_carries(CellNetwork *n) {
  const CellCarry *carries;
  int count = cell_spec_carries(n->spec, &carries);
  CellAgentCarry *list = CELL_NEW_ARRAY(n->arena, CellAgentCarry, count + 1);
  for (int i = 0; i < count; i++) {
    list[i].name = cell_arena_printf(n->arena, "state/%s", carries[i].name);
    list[i].count = 1;
    for (int d = 0; d < carries[i].rank; d++) list[i].count *= carries[i].shape[d];
  }
  n->agent.carries = list, n->agent.carry_count = count;
}

static void make_agent(CellNetwork *n, const CellNetworkOptions *options) {
  const CellGraph *sync = cell_program(n->module, "sync");
  n->agent.context = n, n->agent.run = run, n->agent.tensor = tensor;
  n->agent.engine = n->engine;
  n->agent.envs = options->envs;
  n->agent.batch = cell_spec_train(n->spec)->batch;
  n->agent.syncs = sync && sync->output_count > 0;
  n->agent.cell_count = cell_spec_cells(n->spec, &n->agent.cells);
  if (options->envs > 0) find_carries(n);
  find_metrics(n);
}

// ---- opening ----

// what is kept of the acting program
static const char *const acting[] = {"action", "state/"};

// the time since *since, as a phase's
static void end_phase(const CellNetworkOptions *o, int phase, double *since) {
  double now = cell_now();
  if (o->phase_seconds) o->phase_seconds[phase] = now - *since;
  *since = now;
}

static bool compile(CellNetwork *n, const CellNetworkOptions *o, CellDiag *diag) {
  double since = cell_now();
  int source = cell_diag_source(diag, o->name, o->text, o->length);
  n->spec = cell_spec_load(n->arena, diag, source, &o->spec);
  if (!n->spec) return false;
  if (!o->plan_only) cell_engine_prepare(o->backend);
  CellBuildOptions build = {.act_batch = o->envs, .update = o->learn, .sync = o->learn};
  n->module = cell_spec_build(n->spec, &o->shapes, &build, diag);
  if (!n->module) return false;
  n->shapes = o->shapes;
  CellGraph *act = cell_program(n->module, "act");
  if (act && !o->cell_values) {
    act->wanted = acting, act->wanted_count = (int)(sizeof acting / sizeof *acting);
  }
  end_phase(o, 0, &since);
  CellPassOptions passes = {.disabled = o->disabled, .disabled_count = o->disabled_count};
  if (!cell_run_passes(n->module, &passes, diag)) return false;
  end_phase(o, 1, &since);
  if (o->backend == CELL_BACKEND_INTERP) return true;
  CellTarget target = cell_engine_target(o->backend, &o->engine);
  n->plan = cell_plan_create(n->arena, n->module, &target, &(CellPlanOptions){0}, diag);
  end_phase(o, 2, &since);
  return n->plan != NULL;
}

static CellNetwork *open_on(const CellNetworkOptions *options, CellDiag *diag) {
  CellNetwork *n = cell_malloc(sizeof *n);
  n->arena = cell_arena_create_for((size_t)1 << 20);
  n->backend = options->backend;
  if (!compile(n, options, diag)) goto fail;
  if (options->plan_only) return n;
  double since = cell_now();
  n->engine = cell_engine_create(n->module, n->plan, options->backend, &options->engine, diag);
  if (!n->engine) goto fail;
  end_phase(options, 3, &since);
  make_agent(n, options);
  return n;
fail:
  cell_network_close(n);
  return NULL;
}

CellDiagMark cell_diag_mark(const CellDiag *diag) {
  return (CellDiagMark){diag->record_count, diag->error_count, diag->warning_count};
}

// what the GPU lacks, if that is the first thing that went wrong behind record `first`
static const char *gpu_lacks(const CellDiag *diag, int first) {
  for (int i = first; i < diag->record_count; i++) {
    const CellRecord *r = &diag->records[i];
    if (r->severity != CELL_ERROR) continue;
    bool lacks =
        r->code && (strcmp(r->code, CELL_E_DRIVER) == 0 || strcmp(r->code, CELL_E_NVRTC) == 0);
    return lacks ? r->message : NULL;
  }
  return NULL;
}

const char *cell_cpu_instead(const CellEngineOptions *engine, CellDiagMark since, CellDiag *diag) {
  const char *why = engine->cpu_will_do ? gpu_lacks(diag, since.records) : NULL;
  if (!why) return NULL;
  // what of it concerns the network will be said again
  diag->record_count = since.records;
  diag->error_count = since.errors, diag->warning_count = since.warnings;
  return why;
}

CellNetwork *cell_network_open(const CellNetworkOptions *options, CellDiag *diag) {
  CellDiagMark mark = cell_diag_mark(diag);
  CellNetwork *n = open_on(options, diag);
  const char *why = n ? NULL : cell_cpu_instead(&options->engine, mark, diag);
  if (!why) return n;
  CellNetworkOptions cpu = *options;
  cpu.backend = CELL_BACKEND_CPU;
  n = open_on(&cpu, diag);
  if (n) n->cpu_because = cell_arena_strdup(n->arena, why);
  return n;
}

void cell_network_close(CellNetwork *n) {
  if (!n) return;
  if (n->engine) cell_engine_destroy(n->engine);
  cell_arena_destroy(n->arena);
  free(n);
}

// ---- counts ----

// what a program has to give when nothing is left out
static const char **everything(CellArena *arena, const CellNetwork *n, int *count) {
  const char *const *cells;
  int cell_count = cell_spec_cells(n->spec, &cells);
  static const char *const values[] = {"q", "next_q", "target_next_q"};
  const char **names =
      CELL_NEW_ARRAY(arena, const char *, 3 * cell_count + n->module->param_count + 1);
  *count = 0;
  for (int i = 0; i < cell_count; i++) {
    for (int k = 0; k < 3; k++) {
      names[(*count)++] = cell_arena_printf(arena, "%s/%s", cells[i], values[k]);
    }
  }
  for (int i = 0; i < n->module->param_count; i++) {
    names[(*count)++] = cell_arena_printf(arena, "grad/%s", n->module->params[i].name);
  }
  return names;
}

bool cell_network_written_counts(const CellNetworkOptions *o, const CellNetwork *n,
                                 CellCounts *counts) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  // every pass that may be left out is
  const char **disabled = CELL_NEW_ARRAY(arena, const char *, cell_pass_count);
  CellPassOptions passes = {.disabled = disabled};
  for (int i = 0; i < cell_pass_count; i++) {
    if (cell_passes[i].optional) disabled[passes.disabled_count++] = cell_passes[i].name;
  }
  CellBuildOptions build = {0};
  build.inspect = everything(arena, n, &build.inspect_count);
  int source = cell_diag_source(diag, o->name, o->text, o->length);
  CellSpec *spec = cell_spec_load(arena, diag, source, &o->spec);
  CellModule *module = spec ? cell_spec_build(spec, &o->shapes, &build, diag) : NULL;
  bool ok = module && cell_run_passes(module, &passes, diag) && cell_program(module, "inspect");
  if (ok) *counts = cell_counts(cell_program(module, "inspect"));
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return ok;
}

// ---- parameters ----

int64_t cell_network_param_count(const CellNetwork *n) {
  int64_t count = 0;
  for (int i = 0; i < n->module->param_count; i++) count += cell_param_count(&n->module->params[i]);
  return count;
}

// room for the largest parameter, in an arena of its own, which the caller destroys
static double *param_room(const CellNetwork *n, CellArena **arena) {
  int64_t most = 1;
  for (int i = 0; i < n->module->param_count; i++) {
    int64_t count = cell_param_count(&n->module->params[i]);
    if (count > most) most = count;
  }
  *arena = cell_arena_create_for((size_t)most * sizeof(double));
  return CELL_NEW_ARRAY(*arena, double, most);
}

// some networks do not read a parameter's target, or a parameter at all
static void set_param(CellNetwork *n, const CellParam *param, const double *values) {
  int64_t count = cell_param_count(param);
  cell_engine_param_set(n->engine, "params/", param, values, count);
  cell_engine_param_set(n->engine, "target/", param, values, count);
}

void cell_network_init(CellNetwork *n, uint64_t seed, bool shared) {
  cell_engine_clear(n->engine);
  CellArena *room;
  double *values = param_room(n, &room);
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *param = &n->module->params[i];
    cell_init_param(param, seed, shared, values);
    set_param(n, param, values);
  }
  cell_arena_destroy(room);
}

bool cell_network_save(CellNetwork *n, const char *path, const char *const *metadata, bool *finite,
                       CellDiag *diag) {
  CellTensorWriter *writer = cell_tensor_writer_create();
  CellArena *room;
  double *values = param_room(n, &room);
  *finite = true;
  for (; metadata && *metadata; metadata += 2) {
    cell_tensor_writer_metadata(writer, metadata[0], metadata[1]);
  }
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *param = &n->module->params[i];
    int64_t count = cell_param_count(param), shape[CELL_MAX_RANK];
    if (!cell_engine_param_get(n->engine, NULL, "params/", param, values, count)) continue;
    for (int64_t k = 0; k < count; k++) *finite &= isfinite(values[k]);
    for (int d = 0; d < param->rank; d++) shape[d] = param->shape[d];
    char name[512];
    snprintf(name, sizeof name, "params/%s", param->name);
    cell_tensor_writer_add_doubles(writer, name, CELL_TENSOR_F32, param->rank, shape, values);
  }
  bool lost = cell_engine_lost(n->engine);
  if (lost)
    cell_error(diag, NULL, CELL_NOWHERE,
               "the parameters were on the GPU, which is lost: nothing was written to `%s`", path);
  bool ok = !lost && *finite && cell_tensor_writer_write(writer, path, diag);
  cell_tensor_writer_destroy(writer);
  cell_arena_destroy(room);
  return ok;
}

bool cell_network_load(CellNetwork *n, const char *path, CellDiag *diag) {
  CellTensors *file = cell_tensors_read(path, diag);
  if (!file) return false;
  CellArena *room;
  double *values = param_room(n, &room);
  bool ok = true;
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *param = &n->module->params[i];
    int64_t shape[CELL_MAX_RANK];
    for (int d = 0; d < param->rank; d++) shape[d] = param->shape[d];
    char name[512];
    snprintf(name, sizeof name, "params/%s", param->name);
    const CellFileTensor *t = cell_tensors_need(file, name, diag);
    if (t && !cell_tensor_has_shape(t, param->rank, shape)) {
      cell_error(diag, NULL, CELL_NOWHERE, "`%s` of `%s` has another shape than in the network",
                 name, path);
      t = NULL;
    }
    ok &= t != NULL;
    if (!t) continue;
    cell_tensor_doubles(t, values);
    set_param(n, param, values);
  }
  cell_arena_destroy(room);
  cell_tensors_destroy(file);
  return ok;
}
