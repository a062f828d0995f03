/* dmc_poles.c - what swings: cartpole and acrobot; and the fish, that swims. */
#include "runtime/dmc_state.h"

// ---- cartpole ----

enum { CARTPOLE_SLIDER, CARTPOLE_HINGE, CARTPOLE_POLE };
static const CellDmcName cartpole_names[] = {
    [CARTPOLE_SLIDER] = {mjOBJ_JOINT, "slider"},
    [CARTPOLE_HINGE] = {mjOBJ_JOINT, "hinge_1"},
    [CARTPOLE_POLE] = {mjOBJ_BODY, "pole_1"},
};

// hanging down, nearly at rest
static void cartpole_begin(CellDmc *s) {
  const double pi = 3.14159265358979323846;
  s->data->qpos[s->at[CARTPOLE_SLIDER]] = 0.01 * cell_dmc_normal(s);
  s->data->qpos[s->at[CARTPOLE_HINGE]] = pi + 0.01 * cell_dmc_normal(s);
  s->data->qvel[0] = 0.01 * cell_dmc_normal(s);
  s->data->qvel[1] = 0.01 * cell_dmc_normal(s);
}

static void cartpole_observe(const CellDmc *s, double *values) {
  const double *rotation = s->data->xmat + 9 * (size_t)s->at[CARTPOLE_POLE];
  values[0] = s->data->qpos[s->at[CARTPOLE_SLIDER]];
  values[1] = rotation[8];
  values[2] = rotation[2];
  cell_dmc_put(values + 3, s->data->qvel, s->model->nv);
}

static double cartpole_reward(const CellDmc *s) {
  const mjData *d = s->data;
  double upright = (cell_dmc_upright(s, s->at[CARTPOLE_POLE]) + 1) / 2;
  double centered = (1 + cell_dmc_gaussian(d->qpos[s->at[CARTPOLE_SLIDER]], 0, 0, 2)) / 2;
  double control = (4 + cell_dmc_quadratic(d->ctrl[0])) / 5;
  double velocity = (1 + cell_dmc_gaussian_array(d->qvel[1], 5)) / 2;
  return upright * control * velocity * centered;
}

const CellDmcTask cell_dmc_cartpole[1] = {{.domain = "cartpole",
                                           .name = "swingup",
                                           .seconds = 10,
                                           .nq = 2,
                                           .nv = 2,
                                           .nu = 1,
                                           .names = cartpole_names,
                                           .name_count = CELL_DMC_COUNT(cartpole_names),
                                           .begin = cartpole_begin,
                                           .observe = cartpole_observe,
                                           .reward = cartpole_reward}};

// ---- acrobot ----

enum { ACROBOT_SHOULDER, ACROBOT_ELBOW, ACROBOT_UPPER, ACROBOT_LOWER, ACROBOT_TIP, ACROBOT_TARGET };
static const CellDmcName acrobot_names[] = {
    [ACROBOT_SHOULDER] = {mjOBJ_JOINT, "shoulder"},
    [ACROBOT_ELBOW] = {mjOBJ_JOINT, "elbow"},
    [ACROBOT_UPPER] = {mjOBJ_BODY, "upper_arm"},
    [ACROBOT_LOWER] = {mjOBJ_BODY, "lower_arm"},
    [ACROBOT_TIP] = {mjOBJ_SITE, "tip"},
    [ACROBOT_TARGET] = {mjOBJ_SITE, "target"},
};

static void acrobot_begin(CellDmc *s) {
  const double pi = 3.14159265358979323846;
  s->data->qpos[s->at[ACROBOT_SHOULDER]] = cell_dmc_uniform(s, -pi, pi);
  s->data->qpos[s->at[ACROBOT_ELBOW]] = cell_dmc_uniform(s, -pi, pi);
}

static void acrobot_observe(const CellDmc *s, double *values) {
  const double *upper = s->data->xmat + 9 * (size_t)s->at[ACROBOT_UPPER];
  const double *lower = s->data->xmat + 9 * (size_t)s->at[ACROBOT_LOWER];
  values[0] = upper[2], values[1] = lower[2];
  values[2] = upper[8], values[3] = lower[8];
  cell_dmc_put(values + 4, s->data->qvel, s->model->nv);
}

static double acrobot_reward(const CellDmc *s) {
  const double *tip = s->data->site_xpos + 3 * (size_t)s->at[ACROBOT_TIP];
  const double *target = s->data->site_xpos + 3 * (size_t)s->at[ACROBOT_TARGET];
  double x = target[0] - tip[0], y = target[1] - tip[1], z = target[2] - tip[2];
  double radius = s->model->site_size[3 * s->at[ACROBOT_TARGET]];
  return cell_dmc_gaussian(sqrt(x * x + y * y + z * z), 0, radius, 1);
}

const CellDmcTask cell_dmc_acrobot[1] = {{.domain = "acrobot",
                                          .name = "swingup",
                                          .seconds = 10,
                                          .nq = 2,
                                          .nv = 2,
                                          .nu = 1,
                                          .names = acrobot_names,
                                          .name_count = CELL_DMC_COUNT(acrobot_names),
                                          .begin = acrobot_begin,
                                          .observe = acrobot_observe,
                                          .reward = acrobot_reward}};

// ---- fish ----

enum { FISH_TARGET, FISH_MOUTH, FISH_TORSO, FISH_HINGE, FISH_HINGES = 7 };
static const CellDmcName fish_names[] = {
    [FISH_TARGET] = {mjOBJ_GEOM, "target"},
    [FISH_MOUTH] = {mjOBJ_GEOM, "mouth"},
    [FISH_TORSO] = {mjOBJ_BODY, "torso"},
    [FISH_HINGE] = {mjOBJ_JOINT, "tail1"},
    {mjOBJ_JOINT, "tail_twist"},
    {mjOBJ_JOINT, "tail2"},
    {mjOBJ_JOINT, "finright_roll"},
    {mjOBJ_JOINT, "finright_pitch"},
    {mjOBJ_JOINT, "finleft_roll"},
    {mjOBJ_JOINT, "finleft_pitch"},
};

static void fish_begin(CellDmc *s) {
  cell_dmc_direction(s, s->data->qpos + 3, 4);
  for (int i = 0; i < FISH_HINGES; i++) {
    s->data->qpos[s->at[FISH_HINGE + i]] = cell_dmc_uniform(s, -0.2, 0.2);
  }
  double *target = cell_dmc_placed(s);
  target[0] = cell_dmc_uniform(s, -0.4, 0.4);
  target[1] = cell_dmc_uniform(s, -0.4, 0.4);
  target[2] = cell_dmc_uniform(s, 0.1, 0.3);
}

// from the mouth to the target, as the mouth sees it
static void mouth_to_target(const CellDmc *s, double offset[3]) {
  const mjData *d = s->data;
  const double *mouth = d->geom_xpos + 3 * (size_t)s->at[FISH_MOUTH];
  const double *target = d->geom_xpos + 3 * (size_t)s->at[FISH_TARGET];
  const double *rotation = d->geom_xmat + 9 * (size_t)s->at[FISH_MOUTH];
  double x = target[0] - mouth[0], y = target[1] - mouth[1], z = target[2] - mouth[2];
  for (int i = 0; i < 3; i++) {
    offset[i] = x * rotation[i] + y * rotation[3 + i] + z * rotation[6 + i];
  }
}

static void fish_observe(const CellDmc *s, double *values) {
  for (int i = 0; i < FISH_HINGES; i++) *values++ = s->data->qpos[s->at[FISH_HINGE + i]];
  *values++ = cell_dmc_upright(s, s->at[FISH_TORSO]);
  mouth_to_target(s, values);
  cell_dmc_put(values + 3, s->data->qvel, s->model->nv);
}

static double fish_reward(const CellDmc *s) {
  const double *size = s->model->geom_size;
  double radii = size[3 * s->at[FISH_MOUTH]] + size[3 * s->at[FISH_TARGET]], o[3];
  mouth_to_target(s, o);
  double distance = sqrt(o[0] * o[0] + o[1] * o[1] + o[2] * o[2]);
  double in_target = cell_dmc_gaussian(distance, 0, radii, 2 * radii);
  double upright = 0.5 * (cell_dmc_upright(s, s->at[FISH_TORSO]) + 1);
  return (7 * in_target + upright) / 8;
}

const CellDmcTask cell_dmc_fish[1] = {{.domain = "fish",
                                       .name = "swim",
                                       .control_step = 0.04,
                                       .seconds = 40,
                                       .nq = 14,
                                       .nv = 13,
                                       .nu = 5,
                                       .places_geom = true,
                                       .names = fish_names,
                                       .name_count = CELL_DMC_COUNT(fish_names),
                                       .begin = fish_begin,
                                       .observe = fish_observe,
                                       .reward = fish_reward}};
