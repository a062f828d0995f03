/* dmc_runners.c - what stands, walks and runs: walker, hopper, cheetah, quadruped. */
#include "runtime/dmc_state.h"

// ---- walker ----

enum { WALKER_TORSO, WALKER_SPEED };
static const CellDmcName walker_names[] = {
    [WALKER_TORSO] = {mjOBJ_BODY, "torso"},
    [WALKER_SPEED] = {mjOBJ_SENSOR, "torso_subtreelinvel"},
};

static void walker_observe(const CellDmc *s, double *values) {
  const mjData *d = s->data;
  for (int body = 1; body < s->model->nbody; body++) {
    *values++ = d->xmat[9 * body];
    *values++ = d->xmat[9 * body + 2];
  }
  *values++ = d->xpos[3 * s->at[WALKER_TORSO] + 2];
  cell_dmc_put(values, d->qvel, s->model->nv);
}

// the parameter is the speed that is wanted; 0: standing is enough
static double walker_reward(const CellDmc *s) {
  const double speed = s->task->parameter;
  int torso = s->at[WALKER_TORSO];
  double standing = cell_dmc_gaussian(s->data->xpos[3 * torso + 2], 1.2, HUGE_VAL, 0.6);
  double upright = (1 + cell_dmc_upright(s, torso)) / 2;
  double stand = (3 * standing + upright) / 4;
  if (speed == 0) return stand;
  double move = cell_dmc_linear(s->data->sensordata[s->at[WALKER_SPEED]], speed, speed / 2, 0.5);
  return stand * (5 * move + 1) / 6;
}

#define WALKER(task, speed)                                                                        \
  {                                                                                                \
    .domain = "walker", .name = task, .control_step = 0.025, .parameter = (speed), .seconds = 25,  \
    .nq = 9, .nv = 9, .nu = 6, .names = walker_names, .name_count = CELL_DMC_COUNT(walker_names),  \
    .begin = cell_dmc_randomize_joints, .observe = walker_observe, .reward = walker_reward         \
  }
const CellDmcTask cell_dmc_walker[3] = {WALKER("run", 8), WALKER("stand", 0), WALKER("walk", 1)};

// ---- hopper ----

enum { HOPPER_TORSO, HOPPER_FOOT, HOPPER_SPEED, HOPPER_TOE, HOPPER_HEEL };
static const CellDmcName hopper_names[] = {
    [HOPPER_TORSO] = {mjOBJ_BODY, "torso"},
    [HOPPER_FOOT] = {mjOBJ_BODY, "foot"},
    [HOPPER_SPEED] = {mjOBJ_SENSOR, "torso_subtreelinvel"},
    [HOPPER_TOE] = {mjOBJ_SENSOR, "touch_toe"},
    [HOPPER_HEEL] = {mjOBJ_SENSOR, "touch_heel"},
};

static void hopper_observe(const CellDmc *s, double *values) {
  const mjData *d = s->data;
  values = cell_dmc_put(values, d->qpos + 1, s->model->nq - 1);
  values = cell_dmc_put(values, d->qvel, s->model->nv);
  values[0] = log1p(d->sensordata[s->at[HOPPER_TOE]]);
  values[1] = log1p(d->sensordata[s->at[HOPPER_HEEL]]);
}

// heights are those of centres of mass
static double hopper_reward(const CellDmc *s) {
  const mjData *d = s->data;
  double height = d->xipos[3 * s->at[HOPPER_TORSO] + 2] - d->xipos[3 * s->at[HOPPER_FOOT] + 2];
  double standing = height >= 0.6 && height <= 2;
  if (s->task->parameter > 0) {
    const double speed = s->task->parameter;
    return standing * cell_dmc_linear(d->sensordata[s->at[HOPPER_SPEED]], speed, speed / 2, 0.5);
  }
  double calm = 0;
  for (int i = 0; i < s->model->nu; i++) calm += cell_dmc_quadratic(d->ctrl[i]);
  calm /= s->model->nu;
  return standing * ((calm + 4) / 5);
}

#define HOPPER(task, speed)                                                                        \
  {                                                                                                \
    .domain = "hopper", .name = task, .control_step = 0.02, .parameter = (speed), .seconds = 20,   \
    .nq = 7, .nv = 7, .nu = 4, .names = hopper_names, .name_count = CELL_DMC_COUNT(hopper_names),  \
    .begin = cell_dmc_randomize_joints, .observe = hopper_observe, .reward = hopper_reward         \
  }
const CellDmcTask cell_dmc_hopper[2] = {HOPPER("hop", 2), HOPPER("stand", 0)};

// ---- cheetah ----

static const CellDmcName cheetah_names[] = {{mjOBJ_SENSOR, "torso_subtreelinvel"}};

// settles for 200 steps. They begin without a forward pass: the first is integrated with what
// the rest position gave, as the suite does it
static void cheetah_begin(CellDmc *s) {
  const mjModel *m = s->model;
  for (int j = 0; j < m->njnt; j++) {
    if (!m->jnt_limited[j]) continue;
    s->data->qpos[m->jnt_qposadr[j]] =
        cell_dmc_uniform(s, m->jnt_range[2 * j], m->jnt_range[2 * j + 1]);
  }
  cell_dmc_advance(s, 200);
  s->data->time = 0;
}

static void cheetah_observe(const CellDmc *s, double *values) {
  values = cell_dmc_put(values, s->data->qpos + 1, s->model->nq - 1);
  cell_dmc_put(values, s->data->qvel, s->model->nv);
}

static double cheetah_reward(const CellDmc *s) {
  return cell_dmc_linear(s->data->sensordata[s->at[0]], 10, 10, 0);
}

const CellDmcTask cell_dmc_cheetah[1] = {{.domain = "cheetah",
                                          .name = "run",
                                          .seconds = 10,
                                          .nq = 9,
                                          .nv = 9,
                                          .nu = 6,
                                          .names = cheetah_names,
                                          .name_count = CELL_DMC_COUNT(cheetah_names),
                                          .begin = cheetah_begin,
                                          .observe = cheetah_observe,
                                          .reward = cheetah_reward}};

// ---- quadruped ----

enum { QUADRUPED_TORSO, QUADRUPED_VELOCITY };
static const CellDmcName quadruped_names[] = {
    [QUADRUPED_TORSO] = {mjOBJ_BODY, "torso"},
    [QUADRUPED_VELOCITY] = {mjOBJ_SENSOR, "velocimeter"},
};

// a random orientation, lifted until nothing touches; a full buffer of contacts is one more attempt
static void quadruped_begin(CellDmc *s) {
  enum { MOST_ATTEMPTS = 10000 };
  double orientation[4], z = 0;
  cell_dmc_direction(s, orientation, 4);
  for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    cell_dmc_rest(s);
    s->data->qpos[0] = 0, s->data->qpos[1] = 0, s->data->qpos[2] = z;
    cell_dmc_put(s->data->qpos + 3, orientation, 4);
    cell_dmc_still(s);
    z += 0.01;
    bool full = s->data->warning[mjWARN_CONTACTFULL].number > 0 ||
                s->data->warning[mjWARN_CNSTRFULL].number > 0;
    if (s->data->ncon == 0 && !full) return;
  }
}

static double *put_sensors(const CellDmc *s, mjtSensor first, mjtSensor second, double *values) {
  const mjModel *m = s->model;
  for (int i = 0; i < m->nsensor; i++) {
    if (m->sensor_type[i] != (int)first && m->sensor_type[i] != (int)second) continue;
    values = cell_dmc_put(values, s->data->sensordata + m->sensor_adr[i], m->sensor_dim[i]);
  }
  return values;
}

static void quadruped_observe(const CellDmc *s, double *values) {
  const mjModel *m = s->model;
  const mjData *d = s->data;
  // the free joint comes first, all others are hinges
  values = cell_dmc_put(values, d->qpos + 7, m->nq - 7);
  values = cell_dmc_put(values, d->qvel + 6, m->nv - 6);
  values = cell_dmc_put(values, d->act, m->na);
  values = cell_dmc_put(values, d->sensordata + s->at[QUADRUPED_VELOCITY], 3);
  *values++ = cell_dmc_upright(s, s->at[QUADRUPED_TORSO]);
  values = put_sensors(s, mjSENS_ACCELEROMETER, mjSENS_GYRO, values);
  double *forces = values, *end = put_sensors(s, mjSENS_FORCE, mjSENS_TORQUE, values);
  for (; forces < end; forces++) *forces = asinh(*forces);
}

static double quadruped_reward(const CellDmc *s) {
  double upright = cell_dmc_linear(cell_dmc_upright(s, s->at[QUADRUPED_TORSO]), 1, 2, 0);
  double speed = s->task->parameter;
  return upright *
         cell_dmc_linear(s->data->sensordata[s->at[QUADRUPED_VELOCITY]], speed, speed, 0.5);
}

const CellDmcTask cell_dmc_quadruped[1] = {{.domain = "quadruped",
                                            .name = "run",
                                            .control_step = 0.02,
                                            .parameter = 5,
                                            .seconds = 20,
                                            .nq = 23,
                                            .nv = 22,
                                            .nu = 12,
                                            .na = 12,
                                            .names = quadruped_names,
                                            .name_count = CELL_DMC_COUNT(quadruped_names),
                                            .begin = quadruped_begin,
                                            .observe = quadruped_observe,
                                            .reward = quadruped_reward}};
