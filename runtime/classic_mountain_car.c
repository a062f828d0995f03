/* classic_mountain_car.c - a car in a valley that is too weak to drive up to the flag at once.
 *
 *   v <- v + 0.001 (action - 1) - 0.0025 cos 3x,  within 0.07;   x <- x + v
 * The wall at the left stops the car. The valley's height is that of the picture only. */
#include "runtime/classic.h"

#include <math.h>

static const double left_end = -1.2, right_end = 0.6, goal = 0.5, most_speed = 0.07, force = 0.001,
                    gravity = 0.0025;

enum { X, VELOCITY };

static void start(double *x, const double *unit) {
  x[X] = -0.6 + 0.2 * unit[0];
}

static double within(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

static double step(double *x, int action, bool *over) {
  x[VELOCITY] += (action - 1) * force + cos(3 * x[X]) * -gravity;
  x[VELOCITY] = within(x[VELOCITY], -most_speed, most_speed);
  x[X] = within(x[X] + x[VELOCITY], left_end, right_end);
  if (x[X] == left_end && x[VELOCITY] < 0) x[VELOCITY] = 0;
  *over = x[X] >= goal && x[VELOCITY] >= 0;
  return -1;
}

static void observe(const double *x, float *values) {
  values[0] = (float)x[X], values[1] = (float)x[VELOCITY];
}

// ---- the picture ----

static double height(double x) {
  return 0.45 * sin(3 * x);
}

// turns local x to (cosine, 0, sine)
static void turn(CellSceneGeom *geom, double cosine, double sine) {
  const double rotation[9] = {cosine, 0, -sine, 0, 1, 0, sine, 0, cosine};
  for (int i = 0; i < 9; i++) geom->rotation[i] = rotation[i];
}

static void colour(CellSceneGeom *geom, float red, float green, float blue) {
  geom->rgba[0] = red, geom->rgba[1] = green, geom->rgba[2] = blue;
}

// thin rods along the curve
static void add_hill(CellScene *scene) {
  enum { PIECES = 60 };
  for (int i = 0; i < PIECES; i++) {
    double step = (right_end - left_end) / PIECES, x = left_end + i * step;
    double rise = height(x + step) - height(x), length = hypot(step, rise);
    CellSceneGeom *rod = cell_scene_add(scene, CELL_GEOM_CAPSULE);
    rod->position[0] = x + step / 2, rod->position[1] = 0.2;
    rod->position[2] = height(x) + rise / 2;
    turn(rod, rise / length, -step / length); // local z along the curve
    rod->size[0] = 0.006, rod->size[1] = length / 2;
    colour(rod, 0.36F, 0.46F, 0.36F);
  }
}

static void add_flag(CellScene *scene) {
  CellSceneGeom *pole = cell_scene_add(scene, CELL_GEOM_CYLINDER);
  pole->position[0] = goal, pole->position[1] = 0.1, pole->position[2] = height(goal) + 0.12;
  pole->size[0] = 0.005, pole->size[1] = 0.12;
  colour(pole, 0.35F, 0.38F, 0.42F);
  CellSceneGeom *flag = cell_scene_add(scene, CELL_GEOM_BOX);
  flag->position[0] = goal - 0.055, flag->position[1] = 0.1;
  flag->position[2] = height(goal) + 0.21;
  flag->size[0] = 0.05, flag->size[1] = 0.01, flag->size[2] = 0.03;
  colour(flag, 0.85F, 0.30F, 0.28F);
}

// body and wheels, on the slope
static void add_car(CellScene *scene, double x) {
  double slope = 1.35 * cos(3 * x), length = hypot(1, slope);
  double cosine = 1 / length, sine = slope / length;
  const double wheel = 0.022, parts[3][2] = {{0, 0.05}, {-0.04, wheel}, {0.04, wheel}};
  for (int i = 0; i < 3; i++) {
    CellSceneGeom *part = cell_scene_add(scene, i == 0 ? CELL_GEOM_BOX : CELL_GEOM_SPHERE);
    part->position[0] = x + parts[i][0] * cosine - parts[i][1] * sine;
    part->position[1] = i == 0 ? 0 : -0.1;
    part->position[2] = height(x) + parts[i][0] * sine + parts[i][1] * cosine;
    turn(part, cosine, sine);
    part->size[0] = i == 0 ? 0.075 : wheel, part->size[1] = 0.03, part->size[2] = 0.026;
    colour(part, i == 0 ? 0.20F : 0.25F, i == 0 ? 0.36F : 0.27F, i == 0 ? 0.58F : 0.30F);
  }
}

static void scene(const double *x, CellScene *scene) {
  scene->width = right_end - left_end + 0.2;
  scene->centre[0] = (left_end + right_end) / 2, scene->centre[2] = 0.12;
  add_hill(scene);
  add_flag(scene);
  add_car(scene, x[X]);
}

const CellClassicTask cell_mountain_car = {start, step, observe, scene};
