/* dmc.c - the control suite's common layer: opening, episodes, steps, failures, saving. */
#include "runtime/dmc.h"

#include "runtime/dmc_state.h"

#include <stdlib.h>
#include <string.h>

static const CellDmcTask *task_of(const CellEnvKind *kind) {
  return kind->data;
}

// ---- physics ----

static void keep_positions(CellDmc *s) {
  if (s->has_quaternions) memcpy(s->raw, s->data->qpos, (size_t)s->model->nq * sizeof *s->raw);
}

void cell_dmc_advance(CellDmc *s, int n) {
  const CellMujoco *m = s->mujoco;
  if (!s->runge_kutta) {
    m->mj_step2(s->model, s->data);
    n--;
  }
  for (int i = 0; i < n; i++) m->mj_step(s->model, s->data);
  keep_positions(s);
  m->mj_step1(s->model, s->data);
}

void cell_dmc_still(CellDmc *s) {
  keep_positions(s);
  s->mujoco->mj_forward(&s->still, s->data);
}

static int32_t count_warnings(const CellDmc *s) {
  int32_t count = 0;
  for (int i = 0; i < mjNWARNING; i++) count += s->data->warning[i].number;
  return count;
}

// warnings of this pass are no failure: the suite ignores them too
void cell_dmc_rest(CellDmc *s) {
  s->mujoco->mj_resetData(s->model, s->data);
  cell_dmc_still(s);
  s->warnings = count_warnings(s);
}

// ---- draws ----

double cell_dmc_normal(CellDmc *s) {
  CellDmcRandom *r = &s->random;
  if (r->has_normal) {
    r->has_normal = false;
    return r->normal;
  }
  double x1, x2, square;
  do {
    x1 = 2 * cell_mt19937_double(&r->words) - 1;
    x2 = 2 * cell_mt19937_double(&r->words) - 1;
    square = x1 * x1 + x2 * x2;
  } while (square >= 1 || square == 0);
  double factor = sqrt(-2 * log(square) / square);
  r->normal = factor * x1;
  r->has_normal = true;
  return factor * x2;
}

void cell_dmc_direction(CellDmc *s, double *values, int n) {
  double square = 0;
  for (int i = 0; i < n; i++) {
    values[i] = cell_dmc_normal(s);
    square += values[i] * values[i];
  }
  for (int i = 0; i < n; i++) values[i] /= sqrt(square);
}

void cell_dmc_randomize_joints(CellDmc *s) {
  const double pi = 3.14159265358979323846;
  const mjModel *m = s->model;
  for (int j = 0; j < m->njnt; j++) {
    bool limited = m->jnt_limited[j];
    if (!limited && m->jnt_type[j] != mjJNT_HINGE) continue;
    double low = limited ? m->jnt_range[2 * j] : -pi, high = limited ? m->jnt_range[2 * j + 1] : pi;
    s->data->qpos[m->jnt_qposadr[j]] = cell_dmc_uniform(s, low, high);
  }
}

static double gaussian_scale(void) {
  return sqrt(-2 * log(0.1));
}

double cell_dmc_gaussian(double x, double low, double high, double margin) {
  // NumPy squares a number with pow(), which now and then rounds otherwise than a product; a compiler
  // that saw the exponent would make a product of it
  static const volatile double two = 2;
  double d = cell_dmc_outside(x, low, high, margin);
  return d == 0 ? 1 : exp(-0.5 * pow(d * gaussian_scale(), two));
}

double cell_dmc_gaussian_array(double x, double margin) {
  double d = fabs(x) / margin * gaussian_scale();
  return exp(-0.5 * (d * d));
}

// ---- failures ----

// what is wrong is in s->message; the data are not worth keeping
static void fail(CellDmc *s) {
  if (s->data) s->mujoco->mj_deleteData(s->data);
  s->data = NULL;
  s->failed = true;
}

static const char *warning_name(const CellDmc *s) {
  static const char *const names[mjNWARNING] = {
      [mjWARN_INERTIA] = "a (nearly) singular inertia matrix",
      [mjWARN_CONTACTFULL] = "more contacts than it has room for",
      [mjWARN_CNSTRFULL] = "more constraints than it has room for",
      [mjWARN_VGEOMFULL] = "more visual geoms than it has room for",
      [mjWARN_BADQPOS] = "a position that is no number or huge",
      [mjWARN_BADQVEL] = "a velocity that is no number or huge",
      [mjWARN_BADQACC] = "an acceleration that is no number or huge",
      [mjWARN_BADCTRL] = "a control that is no number or huge",
  };
  for (int i = 0; i < mjNWARNING; i++) {
    if (s->data->warning[i].number > 0) return names[i];
  }
  return "a warning";
}

// runs a piece of simulation; false, and the environment has failed, at an error or a warning
static bool simulate(CellDmc *s, void (*body)(void *context)) {
  char message[CELL_MUJOCO_MESSAGE];
  if (!cell_mujoco_guard(body, s, message)) {
    snprintf(s->message, sizeof s->message, "%s", message);
    fail(s);
    return false;
  }
  if (count_warnings(s) <= s->warnings) return true;
  snprintf(s->message, sizeof s->message, "%s", warning_name(s));
  fail(s);
  return false;
}

// the actions of the episode so far, as `cellc env trace --actions` takes them
static void write_actions(const CellDmc *s, CellText *text) {
  int digits = (s->task->nu + 3) / 4;
  for (int i = 0; i <= s->step && i < CELL_DMC_STEPS; i++) {
    cell_text_printf(text, "%0*x", digits, (unsigned)s->actions[i]);
  }
}

static bool failure(const CellEnvKind *kind, const void *state, CellDiag *diag) {
  const CellDmc *s = state;
  if (!s->failed || !diag) return s->failed;
  char when[64] = "at the start";
  if (s->step >= 0) snprintf(when, sizeof when, "in step %d", (int)s->step + 1);
  CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE,
                                  "the physics of `%s` failed %s of episode %d, seed %u: %s",
                                  kind->name, when, (int)s->episode, (unsigned)s->seed, s->message);
  if (s->step < 0) {
    cell_help(diag, record, "to see it again: cellc env trace %s --seed %u --episode %d",
              kind->name, (unsigned)s->seed, (int)s->episode);
  } else if (s->bang_bang) {
    CellText actions = {0};
    write_actions(s, &actions);
    cell_help(diag, record,
              "to see it again: cellc env trace %s --seed %u --episode %d --actions hex:%s",
              kind->name, (unsigned)s->seed, (int)s->episode, actions.data);
    cell_text_free(&actions);
  }
  return true;
}

// ---- opening ----

static bool find_names(CellDmc *s, CellDiag *diag) {
  const mjModel *m = s->model;
  CELL_ASSERT(s->task->name_count <= CELL_DMC_MAX_NAMES);
  for (int i = 0; i < s->task->name_count; i++) {
    const CellDmcName *name = &s->task->names[i];
    int id = s->mujoco->mj_name2id(m, name->type, name->name);
    if (id < 0) {
      cell_error(diag, NULL, CELL_NOWHERE, "the model of `%s` lacks a %s named `%s`",
                 s->task->domain,
                 name->type == mjOBJ_BODY    ? "body"
                 : name->type == mjOBJ_GEOM  ? "geom"
                 : name->type == mjOBJ_SITE  ? "site"
                 : name->type == mjOBJ_JOINT ? "joint"
                                             : "sensor",
                 name->name);
      return false;
    }
    s->at[i] = name->type == mjOBJ_JOINT    ? m->jnt_qposadr[id]
               : name->type == mjOBJ_SENSOR ? m->sensor_adr[id]
                                            : id;
  }
  return true;
}

static bool check_model(CellDmc *s, CellDiag *diag) {
  const CellDmcTask *t = s->task;
  const mjModel *m = s->model;
  const struct {
    const char *what;
    int is, wanted;
  } sizes[] = {{"positions", m->nq, t->nq},
               {"velocities", m->nv, t->nv},
               {"actuators", m->nu, t->nu},
               {"activations", m->na, t->na}};
  for (int i = 0; i < CELL_DMC_COUNT(sizes); i++) {
    if (sizes[i].is == sizes[i].wanted) continue;
    cell_error(diag, NULL, CELL_NOWHERE, "the model of `%s` has %d %s, and the task wants %d",
               t->domain, sizes[i].is, sizes[i].what, sizes[i].wanted);
    return false;
  }
  // the suite's own files have some sensors more than ours
  if (m->nsensordata > CELL_DMC_MAX_SENSORS) {
    cell_error(diag, NULL, CELL_NOWHERE,
               "the model of `%s` has %d sensor values, and %d are room for", t->domain,
               m->nsensordata, CELL_DMC_MAX_SENSORS);
    return false;
  }
  double step = m->opt.timestep, substeps = t->control_step > 0 ? t->control_step / step : 1;
  s->substeps = (int)(substeps + 0.5);
  s->runge_kutta = m->opt.integrator == mjINT_RK4;
  s->has_quaternions = m->nq != m->nv;
  if (s->substeps < 1 || fabs(substeps - s->substeps) > 1e-8 ||
      t->seconds / (step * s->substeps) != CELL_DMC_STEPS) {
    cell_error(diag, NULL, CELL_NOWHERE,
               "the model of `%s` has steps of %g s: they do not make an episode of %d steps",
               t->domain, step, CELL_DMC_STEPS);
    return false;
  }
  return find_names(s, diag);
}

static void own_model(void *context) {
  CellDmc *s = context;
  s->model = s->mujoco->mj_copyModel(NULL, s->model);
}

static void make_data(void *context) {
  CellDmc *s = context;
  s->data = s->mujoco->mj_makeData(s->model);
}

static bool has_own_model(const CellDmcTask *task) {
  return task->adapt || task->places_geom;
}

static void close_environment(const CellEnvKind *kind, void *state) {
  CellDmc *s = state;
  if (s->data) s->mujoco->mj_deleteData(s->data);
  if (s->model && has_own_model(task_of(kind)))
    s->mujoco->mj_deleteModel(s->model);
  else if (s->model)
    cell_dmc_model_release(s->mujoco, s->model);
  memset(s, 0, sizeof *s);
}

static bool open_environment(const CellEnvKind *kind, void *state, CellDiag *diag) {
  CellDmc *s = state;
  memset(s, 0, sizeof *s);
  s->task = task_of(kind);
  s->mujoco = cell_mujoco(diag);
  if (!s->mujoco) return false;
  mjModel *shared = cell_dmc_model_acquire(s->mujoco, s->task->domain, diag);
  if (!shared) return false;
  s->model = shared;
  bool ok = check_model(s, diag);
  char message[CELL_MUJOCO_MESSAGE];
  if (ok && has_own_model(s->task) && (!cell_mujoco_guard(own_model, s, message) || !s->model)) {
    cell_error(diag, NULL, CELL_NOWHERE, "MuJoCo cannot copy a model: %s", message);
    ok = false;
  }
  // a copy is no user of what it was copied from
  if (!ok || has_own_model(s->task)) cell_dmc_model_release(s->mujoco, shared);
  if (!ok) return false;
  if (s->task->adapt) s->task->adapt(s);
  s->still = *s->model;
  s->still.opt.disableflags |= mjDSBL_ACTUATION;
  return true;
}

// ---- episodes ----

static void seed(const CellEnvKind *kind, void *state, uint32_t number) {
  (void)kind;
  CellDmc *s = state;
  cell_mt19937_seed(&s->random.words, number);
  s->random.has_normal = false;
  s->seed = number;
  s->episode = -1;
}

// no episode runs: nothing changes until a reset
static void init(const CellEnvKind *kind, void *state, const double *settings) {
  (void)settings;
  CellDmc *s = state;
  seed(kind, state, 0);
  s->step = CELL_DMC_STEPS;
}

static void begin(void *context) {
  CellDmc *s = context;
  cell_dmc_rest(s);
  s->task->begin(s);
  cell_dmc_still(s);
}

// makes them where they are missing; false, and the environment has failed, if that fails
static bool has_data(CellDmc *s) {
  if (s->data) return true;
  s->failed = !cell_mujoco_guard(make_data, s, s->message) || !s->data;
  if (s->failed) s->data = NULL;
  return !s->failed;
}

static void reset(const CellEnvKind *kind, void *state) {
  (void)kind;
  CellDmc *s = state;
  s->episode++;
  s->step = -1, s->failed = false, s->bang_bang = true;
  if (!has_data(s)) return;
  if (simulate(s, begin)) s->step = 0;
}

static void control_step(void *context) {
  CellDmc *s = context;
  cell_dmc_advance(s, s->substeps);
}

// after the controls were set
static CellEnvStep take_step(CellDmc *s) {
  if (!simulate(s, control_step)) return (CellEnvStep){.truncated = true};
  double reward = s->task->reward(s);
  return (CellEnvStep){.reward = reward, .truncated = ++s->step >= CELL_DMC_STEPS};
}

static bool is_running(const CellDmc *s) {
  return !s->failed && s->step >= 0 && s->step < CELL_DMC_STEPS;
}

static CellEnvStep step(const CellEnvKind *kind, void *state, CellEnvAction action) {
  CellDmc *s = state;
  CELL_ASSERT(action.index >= 0 && action.index < kind->actions.count);
  if (!is_running(s)) return (CellEnvStep){.truncated = true};
  int n = kind->actions.dimension;
  for (int j = 0; j < n; j++) s->data->ctrl[j] = action.index >> (n - 1 - j) & 1 ? 1 : -1;
  s->actions[s->step] = (uint16_t)action.index;
  return take_step(s);
}

// -1 and 1 are the actuator's ends; in float32 as the suite's wrapper does it
static CellEnvStep move(const CellEnvKind *kind, void *state, const float *components) {
  CellDmc *s = state;
  if (!is_running(s)) return (CellEnvStep){.truncated = true};
  for (int j = 0; j < kind->actions.dimension; j++) {
    double low = s->model->actuator_ctrlrange[2 * j],
           high = s->model->actuator_ctrlrange[2 * j + 1];
    s->data->ctrl[j] = (float)(((double)components[j] + 1) / 2 * (high - low) + low);
  }
  s->bang_bang = false;
  return take_step(s);
}

void cell_dmc_observe(const CellEnvKind *kind, const void *state, double *values) {
  const CellDmc *s = state;
  if (s->data)
    s->task->observe(s, values);
  else
    memset(values, 0, (size_t)kind->observation.count * sizeof *values);
}

static void observe(const CellEnvKind *kind, const void *state, void *observation) {
  double values[CELL_DMC_MAX_OBSERVATION];
  float *out = observation;
  cell_dmc_observe(kind, state, values);
  for (int i = 0; i < kind->observation.count; i++) out[i] = (float)values[i];
}

// ---- saving ----

// everything that the future of an environment depends on, and what it shows: the rest of mjData
// follows from it by mj_step1
enum { MOST_Q = CELL_DMC_MAX_POSITIONS, MOST_SENSORS = CELL_DMC_MAX_SENSORS };
typedef struct {
  CellDmcRandom random;
  uint32_t seed;
  int32_t episode, step, warnings;
  int32_t failed, bang_bang;
  double time, qpos[MOST_Q], qvel[MOST_Q], warmstart[MOST_Q];
  double act[CELL_DMC_MAX_ACTUATORS], ctrl[CELL_DMC_MAX_ACTUATORS];
  double sensors[MOST_SENSORS], placed[3];
  char message[CELL_MUJOCO_MESSAGE];
  uint16_t actions[CELL_DMC_STEPS];
} Saved;

static void save(const CellEnvKind *kind, const void *state, void *bytes) {
  (void)kind;
  const CellDmc *s = state;
  Saved *to = bytes;
  memset(to, 0, sizeof *to);
  to->random = s->random;
  to->seed = s->seed;
  to->episode = s->episode, to->step = s->step, to->warnings = s->warnings;
  to->failed = s->failed, to->bang_bang = s->bang_bang;
  memcpy(to->message, s->message, sizeof to->message);
  memcpy(to->actions, s->actions, sizeof to->actions);
  if (s->task->places_geom) cell_dmc_put(to->placed, cell_dmc_placed(s), 3);
  if (!s->data) return;
  const mjModel *m = s->model;
  to->time = s->data->time;
  cell_dmc_put(to->qpos, s->has_quaternions ? s->raw : s->data->qpos, m->nq);
  cell_dmc_put(to->qvel, s->data->qvel, m->nv);
  cell_dmc_put(to->warmstart, s->data->qacc_warmstart, m->nv);
  cell_dmc_put(to->act, s->data->act, m->na);
  cell_dmc_put(to->ctrl, s->data->ctrl, m->nu);
  cell_dmc_put(to->sensors, s->data->sensordata, m->nsensordata);
}

static void load_physics(void *context) {
  CellDmc *s = context;
  keep_positions(s);
  s->mujoco->mj_step1(s->model, s->data);
}

static void restore(const CellEnvKind *kind, void *state, const void *bytes) {
  (void)kind;
  CellDmc *s = state;
  const Saved *from = bytes;
  s->random = from->random;
  s->seed = from->seed;
  s->episode = from->episode, s->step = from->step, s->warnings = from->warnings;
  s->failed = from->failed, s->bang_bang = from->bang_bang;
  memcpy(s->message, from->message, sizeof s->message);
  memcpy(s->actions, from->actions, sizeof s->actions);
  if (s->task->places_geom) cell_dmc_put(cell_dmc_placed(s), from->placed, 3);
  if (s->failed) {
    fail(s);
    return;
  }
  if (s->episode < 0) return; // before the first episode
  if (!has_data(s)) return;
  const mjModel *m = s->model;
  s->mujoco->mj_resetData(m, s->data);
  s->data->time = from->time;
  cell_dmc_put(s->data->qpos, from->qpos, m->nq);
  cell_dmc_put(s->data->qvel, from->qvel, m->nv);
  cell_dmc_put(s->data->qacc_warmstart, from->warmstart, m->nv);
  cell_dmc_put(s->data->act, from->act, m->na);
  cell_dmc_put(s->data->ctrl, from->ctrl, m->nu);
  if (simulate(s, load_physics)) cell_dmc_put(s->data->sensordata, from->sensors, m->nsensordata);
}

// ---- descriptions ----

#define TASK(domain, index, task, size, actuators, what)                                           \
  {DESCRIPTION(domain, task, size, actuators, what),                                               \
   .state_bytes = sizeof(CellDmc),                                                                 \
   .saved_bytes = sizeof(Saved),                                                                   \
   .data = &cell_dmc_##domain[index],                                                              \
   .open = open_environment,                                                                       \
   .close = close_environment,                                                                     \
   .init = init,                                                                                   \
   .seed = seed,                                                                                   \
   .reset = reset,                                                                                 \
   .step = step,                                                                                   \
   .move = move,                                                                                   \
   .observe = observe,                                                                             \
   .failure = failure,                                                                             \
   .save = save,                                                                                   \
   .restore = restore,                                                                             \
   .scene = cell_dmc_scene},

const CellEnvKind cell_dmc_kinds[CELL_DMC_TASKS] = {
#include "runtime/dmc_kinds.def"
};
#undef TASK

bool cell_dmc_is(const CellEnvKind *kind) {
  return kind->step == step;
}

CellDmcPhysics cell_dmc_physics(const void *state) {
  const CellDmc *s = state;
  CellDmcPhysics physics = {.nq = s->model->nq, .nv = s->model->nv};
  if (s->data) physics.qpos = s->data->qpos, physics.qvel = s->data->qvel;
  return physics;
}

const char *cell_dmc_domain(const CellEnvKind *kind) {
  return task_of(kind)->domain;
}

const char *cell_dmc_task(const CellEnvKind *kind) {
  return task_of(kind)->name;
}

const char *cell_dmc_version(void) {
  return cell_mujoco(NULL)->mj_versionString();
}
