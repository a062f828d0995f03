/* classic_cartpole.c - a pole hinged on a cart without friction; pushes to the left or right.
 *
 * With force F, cart M and pole m (together 1.1 kg), half the pole l, angle t from the upright:
 *   c   = (F + m l t'^2 sin t) / (M + m)
 *   t'' = (g sin t - c cos t) / (l (4/3 - m cos^2 t / (M + m)))
 *   x'' = c - m l t'' cos t / (M + m)
 * Explicit Euler: positions move by the velocities of before. */
#include "runtime/classic.h"

#include <math.h>

static const double gravity = 9.8, mass_pole = 0.1, mass_both = 0.1 + 1.0, half_pole = 0.5,
                    push = 10.0, time_step = 0.02, most_x = 2.4,
                    most_angle = 12 * 2 * 3.14159265358979323846 / 360;

enum { X, ANGLE, VELOCITY, TURN };

static void start(double *x, const double *unit) {
  for (int i = 0; i < CELL_CLASSIC_VARIABLES; i++) x[i] = -0.05 + 0.1 * unit[i];
}

static double step(double *x, int action, bool *over) {
  double force = action == 1 ? push : -push;
  double cosine = cos(x[ANGLE]), sine = sin(x[ANGLE]), moment = mass_pole * half_pole;
  double c = (force + moment * (x[TURN] * x[TURN]) * sine) / mass_both;
  double turn = (gravity * sine - cosine * c) /
                (half_pole * (4.0 / 3.0 - mass_pole * (cosine * cosine) / mass_both));
  double acceleration = c - moment * turn * cosine / mass_both;
  x[X] += time_step * x[VELOCITY];
  x[VELOCITY] += time_step * acceleration;
  x[ANGLE] += time_step * x[TURN];
  x[TURN] += time_step * turn;
  *over = x[X] < -most_x || x[X] > most_x || x[ANGLE] < -most_angle || x[ANGLE] > most_angle;
  return 1;
}

// the order of the observation is position, velocity, angle, angular velocity
static void observe(const double *x, float *values) {
  values[0] = (float)x[X], values[1] = (float)x[VELOCITY];
  values[2] = (float)x[ANGLE], values[3] = (float)x[TURN];
}

static void scene(const double *x, CellScene *scene) {
  scene->width = 2 * most_x + 0.6;
  scene->centre[2] = 0.45;

  CellSceneGeom *track = cell_scene_add(scene, CELL_GEOM_BOX);
  *track = (CellSceneGeom){.kind = CELL_GEOM_BOX,
                           .position = {0, 0.2, -0.15},
                           .rotation = {1, 0, 0, 0, 1, 0, 0, 0, 1},
                           .size = {most_x, 0.05, 0.012},
                           .rgba = {0.45F, 0.49F, 0.55F, 1}};
  CellSceneGeom *cart = cell_scene_add(scene, CELL_GEOM_BOX);
  cart->position[0] = x[X];
  cart->size[0] = 0.25, cart->size[1] = 0.1, cart->size[2] = 0.14;
  cart->rgba[0] = 0.20F, cart->rgba[1] = 0.36F, cart->rgba[2] = 0.58F;

  // from the axle to one metre above it; the capsule's own axis is z
  double cosine = cos(x[ANGLE]), sine = sin(x[ANGLE]);
  CellSceneGeom *pole = cell_scene_add(scene, CELL_GEOM_CAPSULE);
  *pole = (CellSceneGeom){.kind = CELL_GEOM_CAPSULE,
                          .position = {x[X] + half_pole * sine, -0.1, half_pole * cosine},
                          .rotation = {cosine, 0, sine, 0, 1, 0, -sine, 0, cosine},
                          .size = {0.045, half_pole},
                          .rgba = {0.90F, 0.62F, 0.25F, 1}};
  CellSceneGeom *axle = cell_scene_add(scene, CELL_GEOM_SPHERE);
  axle->position[0] = x[X], axle->position[1] = -0.2;
  axle->size[0] = 0.035;
  axle->rgba[0] = axle->rgba[1] = axle->rgba[2] = 0.95F;
}

const CellClassicTask cell_cartpole = {start, step, observe, scene};
