/* classic.h - three tasks of classic control as environments of env.h: balancing a pole on a cart,
 * driving a weak car up a hill, swinging up a double pendulum.
 *
 * Equations, constants, rewards and ends are those that Gymnasium documents for CartPole-v1,
 * MountainCar-v0 and Acrobot-v1, in float64; observations are floats. A time limit truncates; an
 * episode that ends by itself in its last step terminates.
 *
 * Start states are a function of (seed, number of the episode): one Philox draw each (random.h). No
 * recorded runs start from given seeds, so no reference's generator has to be followed, and a draw
 * without a generator keeps the state small: 64 bytes, where MinAtar's takes 2.5 kB for MT19937. */
#ifndef CELL_CLASSIC_H
#define CELL_CLASSIC_H

#include "runtime/env.h"

enum { CELL_CLASSIC_TASKS = 3, CELL_CLASSIC_VARIABLES = 4 };

/* In alphabetical order. */
extern const CellEnvKind cell_classic_kinds[CELL_CLASSIC_TASKS];

/* The whole state block. */
typedef struct {
  double x[CELL_CLASSIC_VARIABLES]; /* positions, then velocities; unused ones 0 */
  uint64_t episode;                 /* number of the next one since the seed */
  uint32_t seed;
  int32_t length; /* steps of this episode */
  bool terminated, truncated;
} CellClassic;

/* ---- what a task is, for the files of the tasks ---- */

typedef struct {
  /* The start state from four numbers in [0, 1). */
  void (*start)(double *x, const double *unit);
  /* One step; returns the reward and sets *over when the task ends. */
  double (*step)(double *x, int action, bool *over);
  void (*observe)(const double *x, float *values);
  void (*scene)(const double *x, CellScene *scene);
} CellClassicTask;

extern const CellClassicTask cell_acrobot, cell_cartpole, cell_mountain_car;

#endif
