/* classic_acrobot.c - two links of 1 m and 1 kg, hanging, with a motor between them (Sutton 1996).
 *
 * Angles are 0 hanging, the second relative to the first, counterclockwise from the viewer. The
 * accelerations are those of Sutton and Barto's book; one step is one step of Runge-Kutta's method
 * of fourth order over 0.2 s, then angles are taken into [-pi, pi] and velocities cut. */
#include "runtime/classic.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846, gravity = 9.8, length = 1, middle = 0.5, mass = 1,
                    inertia = 1, time_step = 0.2, goal = 1;

enum { UPPER, LOWER, UPPER_TURN, LOWER_TURN, VARIABLES };

static void start(double *x, const double *unit) {
  for (int i = 0; i < VARIABLES; i++) x[i] = -0.1 + 0.2 * unit[i];
}

// d[] = the time derivative of x[] under a torque at the elbow
static void derive(const double *x, double torque, double *d) {
  double upper = x[UPPER], lower = x[LOWER], v = x[UPPER_TURN], w = x[LOWER_TURN];
  double square = middle * middle, arm = length * middle;
  double d1 = mass * square + mass * (length * length + square + 2 * length * middle * cos(lower)) +
              inertia + inertia;
  double d2 = mass * (square + arm * cos(lower)) + inertia;
  double phi2 = mass * middle * gravity * cos(upper + lower - pi / 2);
  double phi1 = -mass * arm * (w * w) * sin(lower) - 2 * mass * arm * w * v * sin(lower) +
                (mass * middle + mass * length) * gravity * cos(upper - pi / 2) + phi2;
  double lower_acceleration = (torque + d2 / d1 * phi1 - mass * arm * (v * v) * sin(lower) - phi2) /
                              (mass * square + inertia - d2 * d2 / d1);
  d[UPPER] = v, d[LOWER] = w;
  d[UPPER_TURN] = -(d2 * lower_acceleration + phi1) / d1;
  d[LOWER_TURN] = lower_acceleration;
}

static void runge_kutta(double *x, double torque) {
  const double share[4] = {0, time_step / 2, time_step / 2, time_step};
  double k[5][VARIABLES] = {{0}}, at[VARIABLES]; // k[0] stays 0: the first stage is at x itself
  for (int stage = 0; stage < 4; stage++) {
    for (int i = 0; i < VARIABLES; i++) at[i] = x[i] + share[stage] * k[stage][i];
    derive(at, torque, k[stage + 1]);
  }
  for (int i = 0; i < VARIABLES; i++) {
    x[i] += time_step / 6 * (k[1][i] + 2 * k[2][i] + 2 * k[3][i] + k[4][i]);
  }
}

static double wrapped(double angle) {
  while (angle > pi) angle -= 2 * pi;
  while (angle < -pi) angle += 2 * pi;
  return angle;
}

static double within(double value, double most) {
  return value < -most ? -most : value > most ? most : value;
}

static double step(double *x, int action, bool *over) {
  runge_kutta(x, action - 1);
  x[UPPER] = wrapped(x[UPPER]), x[LOWER] = wrapped(x[LOWER]);
  x[UPPER_TURN] = within(x[UPPER_TURN], 4 * pi), x[LOWER_TURN] = within(x[LOWER_TURN], 9 * pi);
  *over = -cos(x[UPPER]) - cos(x[LOWER] + x[UPPER]) > goal;
  return *over ? 0 : -1;
}

static void observe(const double *x, float *values) {
  for (int i = 0; i < 2; i++) {
    values[2 * i] = (float)cos(x[i]), values[2 * i + 1] = (float)sin(x[i]);
    values[4 + i] = (float)x[2 + i];
  }
}

static void scene(const double *x, CellScene *scene) {
  scene->width = 5.9;
  CellSceneGeom *line = cell_scene_add(scene, CELL_GEOM_BOX);
  line->position[1] = 1, line->position[2] = goal;
  line->size[0] = 2.6, line->size[1] = 0.01, line->size[2] = 0.012;
  line->rgba[0] = 0.85F, line->rgba[1] = 0.30F, line->rgba[2] = 0.28F;

  // each link with its joint in front of it
  double joint[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    double angle = i == 0 ? x[UPPER] : x[UPPER] + x[LOWER], cosine = cos(angle), sine = sin(angle);
    CellSceneGeom *link = cell_scene_add(scene, CELL_GEOM_CAPSULE);
    // local -z along the link
    const double rotation[9] = {cosine, 0, -sine, 0, 1, 0, sine, 0, cosine};
    memcpy(link->rotation, rotation, sizeof rotation);
    link->position[0] = joint[0] + middle * sine, link->position[1] = -0.2 * i;
    link->position[2] = joint[1] - middle * cosine;
    link->size[0] = 0.09, link->size[1] = length / 2;
    link->rgba[0] = i == 0 ? 0.20F : 0.38F, link->rgba[1] = i == 0 ? 0.36F : 0.60F;
    link->rgba[2] = i == 0 ? 0.58F : 0.80F;
    CellSceneGeom *hinge = cell_scene_add(scene, CELL_GEOM_SPHERE);
    hinge->position[0] = joint[0], hinge->position[1] = -0.2 * i - 0.1;
    hinge->position[2] = joint[1];
    hinge->size[0] = 0.05;
    hinge->rgba[0] = 0.95F, hinge->rgba[1] = 0.80F, hinge->rgba[2] = 0.35F;
    joint[0] += length * sine, joint[1] -= length * cosine;
  }
}

const CellClassicTask cell_acrobot = {start, step, observe, scene};
