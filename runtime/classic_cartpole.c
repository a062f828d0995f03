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

static void colour(CellSceneGeom *geom, float red, float green, float blue) {
  geom->rgba[0] = red, geom->rgba[1] = green, geom->rgba[2] = blue;
}

static void scene(const double *x, CellScene *scene) {
  const double bottom = -0.14;
  scene->width = 2 * most_x + 0.8;
  scene->centre[2] = 0.55;

  CellSceneGeom *ground = cell_scene_add(scene, CELL_GEOM_PLANE);
  ground->position[2] = bottom;
  colour(ground, 0.72F, 0.77F, 0.82F);
  // how far the cart may go
  for (int side = -1; side <= 1; side += 2) {
    CellSceneGeom *post = cell_scene_add(scene, CELL_GEOM_BOX);
    post->position[0] = side * most_x, post->position[1] = 0.2, post->position[2] = bottom + 0.1;
    post->size[0] = 0.025, post->size[1] = 0.02, post->size[2] = 0.1;
    colour(post, 0.85F, 0.30F, 0.28F);
  }
  CellSceneGeom *cart = cell_scene_add(scene, CELL_GEOM_BOX);
  cart->position[0] = x[X];
  cart->size[0] = 0.25, cart->size[1] = 0.1, cart->size[2] = -bottom;
  colour(cart, 0.20F, 0.36F, 0.58F);

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
  axle->size[0] = 0.03;
  colour(axle, 0.95F, 0.95F, 0.95F);
}

const CellClassicTask cell_cartpole = {start, step, observe, scene};
