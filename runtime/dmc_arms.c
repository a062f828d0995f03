/* dmc_arms.c - what reaches, spins and catches: reacher, finger, ball_in_cup. */
#include "runtime/dmc_state.h"

// ---- reacher ----

enum { REACHER_TARGET, REACHER_FINGER };
static const CellDmcName reacher_names[] = {
    [REACHER_TARGET] = {mjOBJ_GEOM, "target"},
    [REACHER_FINGER] = {mjOBJ_GEOM, "finger"},
};

// the parameter is the target's radius
static void reacher_adapt(CellDmc *s) {
  s->model->geom_size[3 * s->at[REACHER_TARGET]] = s->task->parameter;
}

static void reacher_begin(CellDmc *s) {
  const double pi = 3.14159265358979323846;
  cell_dmc_randomize_joints(s);
  double angle = cell_dmc_uniform(s, 0, 2 * pi), radius = cell_dmc_uniform(s, 0.05, 0.20);
  double *target = cell_dmc_placed(s);
  target[0] = radius * sin(angle);
  target[1] = radius * cos(angle);
}

static void to_target(const CellDmc *s, double offset[2]) {
  const double *target = s->data->geom_xpos + 3 * (size_t)s->at[REACHER_TARGET];
  const double *finger = s->data->geom_xpos + 3 * (size_t)s->at[REACHER_FINGER];
  offset[0] = target[0] - finger[0], offset[1] = target[1] - finger[1];
}

static void reacher_observe(const CellDmc *s, double *values) {
  values = cell_dmc_put(values, s->data->qpos, s->model->nq);
  to_target(s, values);
  cell_dmc_put(values + 2, s->data->qvel, s->model->nv);
}

static double reacher_reward(const CellDmc *s) {
  const double *size = s->model->geom_size;
  double offset[2], radii = size[3 * s->at[REACHER_TARGET]] + size[3 * s->at[REACHER_FINGER]];
  to_target(s, offset);
  return sqrt(offset[0] * offset[0] + offset[1] * offset[1]) <= radii;
}

#define REACHER(task, size)                                                                        \
  {                                                                                                \
    .domain = "reacher", .name = task, .parameter = (size), .seconds = 20, .nq = 2, .nv = 2,       \
    .nu = 2, .places_geom = true, .names = reacher_names,                                          \
    .name_count = CELL_DMC_COUNT(reacher_names), .adapt = reacher_adapt, .begin = reacher_begin,   \
    .observe = reacher_observe, .reward = reacher_reward                                           \
  }
const CellDmcTask cell_dmc_reacher[2] = {REACHER("easy", 0.05), REACHER("hard", 0.015)};

// ---- finger ----

enum {
  FINGER_PROXIMAL,
  FINGER_DISTAL,
  FINGER_TIP,
  FINGER_SPINNER,
  FINGER_PROXIMAL_SPEED,
  FINGER_DISTAL_SPEED,
  FINGER_HINGE_SPEED,
  FINGER_TOP,
  FINGER_BOTTOM,
  FINGER_HINGE
};
static const CellDmcName finger_names[] = {
    [FINGER_PROXIMAL] = {mjOBJ_SENSOR, "proximal"},
    [FINGER_DISTAL] = {mjOBJ_SENSOR, "distal"},
    [FINGER_TIP] = {mjOBJ_SENSOR, "tip"},
    [FINGER_SPINNER] = {mjOBJ_SENSOR, "spinner"},
    [FINGER_PROXIMAL_SPEED] = {mjOBJ_SENSOR, "proximal_velocity"},
    [FINGER_DISTAL_SPEED] = {mjOBJ_SENSOR, "distal_velocity"},
    [FINGER_HINGE_SPEED] = {mjOBJ_SENSOR, "hinge_velocity"},
    [FINGER_TOP] = {mjOBJ_SENSOR, "touchtop"},
    [FINGER_BOTTOM] = {mjOBJ_SENSOR, "touchbottom"},
    [FINGER_HINGE] = {mjOBJ_JOINT, "hinge"},
};

static void finger_adapt(CellDmc *s) {
  // with hinges alone an address in qpos is one in qvel
  s->model->dof_damping[s->at[FINGER_HINGE]] = 0.03;
}

// a start at which nothing touches
static void finger_begin(CellDmc *s) {
  enum { MOST_ATTEMPTS = 1000 };
  for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    cell_dmc_randomize_joints(s);
    cell_dmc_still(s);
    if (s->data->ncon == 0) return;
  }
}

static void finger_observe(const CellDmc *s, double *values) {
  const double *sensor = s->data->sensordata;
  const double *tip = sensor + s->at[FINGER_TIP], *spinner = sensor + s->at[FINGER_SPINNER];
  values[0] = sensor[s->at[FINGER_PROXIMAL]];
  values[1] = sensor[s->at[FINGER_DISTAL]];
  values[2] = tip[0] - spinner[0];
  values[3] = tip[2] - spinner[2];
  values[4] = sensor[s->at[FINGER_PROXIMAL_SPEED]];
  values[5] = sensor[s->at[FINGER_DISTAL_SPEED]];
  values[6] = sensor[s->at[FINGER_HINGE_SPEED]];
  values[7] = log1p(sensor[s->at[FINGER_TOP]]);
  values[8] = log1p(sensor[s->at[FINGER_BOTTOM]]);
}

static double finger_reward(const CellDmc *s) {
  return s->data->sensordata[s->at[FINGER_HINGE_SPEED]] <= -15;
}

const CellDmcTask cell_dmc_finger[1] = {{.domain = "finger",
                                         .name = "spin",
                                         .control_step = 0.02,
                                         .seconds = 20,
                                         .nq = 3,
                                         .nv = 3,
                                         .nu = 2,
                                         .names = finger_names,
                                         .name_count = CELL_DMC_COUNT(finger_names),
                                         .adapt = finger_adapt,
                                         .begin = finger_begin,
                                         .observe = finger_observe,
                                         .reward = finger_reward}};

// ---- ball in cup ----

enum { BALL_X, BALL_Z, BALL_BODY, BALL_GEOM, BALL_TARGET };
static const CellDmcName ball_names[] = {
    [BALL_X] = {mjOBJ_JOINT, "ball_x"},     [BALL_Z] = {mjOBJ_JOINT, "ball_z"},
    [BALL_BODY] = {mjOBJ_BODY, "ball"},     [BALL_GEOM] = {mjOBJ_GEOM, "ball"},
    [BALL_TARGET] = {mjOBJ_SITE, "target"},
};

// the suite would try for ever; a model that leaves no room keeps its last start
static void ball_begin(CellDmc *s) {
  enum { MOST_ATTEMPTS = 100000 };
  for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    s->data->qpos[s->at[BALL_X]] = cell_dmc_uniform(s, -0.2, 0.2);
    s->data->qpos[s->at[BALL_Z]] = cell_dmc_uniform(s, 0.2, 0.5);
    cell_dmc_still(s);
    if (s->data->ncon == 0) return;
  }
}

static void ball_observe(const CellDmc *s, double *values) {
  values = cell_dmc_put(values, s->data->qpos, s->model->nq);
  cell_dmc_put(values, s->data->qvel, s->model->nv);
}

static double ball_reward(const CellDmc *s) {
  const double *target = s->data->site_xpos + 3 * (size_t)s->at[BALL_TARGET];
  const double *ball = s->data->xpos + 3 * (size_t)s->at[BALL_BODY];
  const double *size = s->model->site_size + 3 * (size_t)s->at[BALL_TARGET];
  double radius = s->model->geom_size[3 * s->at[BALL_GEOM]];
  return fabs(target[0] - ball[0]) < size[0] - radius &&
         fabs(target[2] - ball[2]) < size[2] - radius;
}

const CellDmcTask cell_dmc_ball_in_cup[1] = {{.domain = "ball_in_cup",
                                              .name = "catch",
                                              .control_step = 0.02,
                                              .seconds = 20,
                                              .nq = 4,
                                              .nv = 4,
                                              .nu = 2,
                                              .names = ball_names,
                                              .name_count = CELL_DMC_COUNT(ball_names),
                                              .begin = ball_begin,
                                              .observe = ball_observe,
                                              .reward = ball_reward}};
