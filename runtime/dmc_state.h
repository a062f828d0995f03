/* dmc_state.h - what the tasks of the control suite share: the state of one environment, the
 * description of a task, random draws, rewards. For the dmc_*.c files alone. */
#ifndef CELL_DMC_STATE_H
#define CELL_DMC_STATE_H

#include "runtime/dmc.h"
#include "runtime/mt19937.h"
#include "runtime/mujoco_library.h"

#include <math.h>

enum {
  CELL_DMC_MAX_NAMES = 12,
  CELL_DMC_MAX_ACTUATORS = 12,
  CELL_DMC_MAX_POSITIONS = 24,
  CELL_DMC_MAX_SENSORS = 64
};

typedef struct CellDmc CellDmc;

/* What a task refers to by name. The number kept is a body's, geom's, site's or actuator's id, a
 * joint's address in qpos, a sensor's in sensordata. */
typedef struct {
  mjtObj type; /* mjOBJ_... */
  const char *name;
} CellDmcName;

typedef struct {
  const char *domain, *name;
  double control_step;      /* seconds; 0: one physics step */
  double parameter;         /* what the tasks of a domain differ in: a speed, a size */
  double seconds;           /* time limit */
  int nq, nv, nu, na;       /* sizes that the model must have */
  bool places_geom;         /* `begin` moves the first of the names, a geom */
  const CellDmcName *names; /* their numbers are in CellDmc.at, in this order */
  int name_count;
  /* Changes for good to the environment's own model; NULL: none. */
  void (*adapt)(CellDmc *s);
  /* What follows a reset of the physics and precedes a forward: positions, draws. */
  void (*begin)(CellDmc *s);
  void (*observe)(const CellDmc *s, double *values);
  double (*reward)(const CellDmc *s);
} CellDmcTask;

/* NumPy's RandomState with its normals, drawn in pairs. */
typedef struct {
  CellMt19937 words;
  double normal;
  int32_t has_normal;
} CellDmcRandom;

/* One environment: the block of CellEnvKind.state_bytes. */
struct CellDmc {
  const CellDmcTask *task;
  const CellMujoco *mujoco;
  mjModel *model; /* shared with the domain's other environments unless the task changes it */
  mjModel still;  /* the same arrays, with actuation off */
  mjData *data;   /* NULL after an error of the library, until the next reset */
  /* Positions that the current ones were normalized from: a pass normalizes quaternions in place, and
   * doing it again would change their last bits. Only of models with quaternions. */
  double raw[CELL_DMC_MAX_POSITIONS];
  bool has_quaternions;
  int at[CELL_DMC_MAX_NAMES];
  int substeps;
  bool runge_kutta;

  CellDmcRandom random;
  uint32_t seed;
  int32_t episode, step; /* of this seed; both begin with 0 */
  int32_t warnings;      /* of MuJoCo, that are known and allowed */
  bool failed;
  bool bang_bang; /* every action of this episode was an index: `actions` has them */
  char message[CELL_MUJOCO_MESSAGE];
  uint16_t actions[CELL_DMC_STEPS];
};

/* ---- models (dmc_model.c) ---- */

/* The model of a domain from the suite's folder or from the program, loaded once and shared until
 * the last release. NULL on errors, reported to diag. */
mjModel *cell_dmc_model_acquire(const CellMujoco *mujoco, const char *domain, CellDiag *diag);
void cell_dmc_model_release(const CellMujoco *mujoco, mjModel *model);

/* The XML of a domain that travels with the program. */
typedef struct {
  const char *domain, *text;
  size_t length;
} CellDmcModelText;
extern const CellDmcModelText cell_dmc_model_texts[];
extern const int cell_dmc_model_text_count;

/* The suite's own file, changed as its task `run` does it; NULL on errors. Free with free(). */
char *cell_dmc_suite_quadruped(const char *path, size_t *length, CellDiag *diag);

/* ---- the physics (dmc.c) ---- */

/* n physics steps in the suite's order: what depends on positions and velocities is current
 * afterwards, what depends on accelerations is a physics step old. */
void cell_dmc_advance(CellDmc *s, int n);

/* A forward pass with actuation off. */
void cell_dmc_still(CellDmc *s);

/* Resets the physics to the model's initial state, a still forward pass included. */
void cell_dmc_rest(CellDmc *s);

/* CellEnvKind.scene (dmc_scene.c). */
bool cell_dmc_scene(const CellEnvKind *kind, const void *state, CellScene *scene);

/* ---- draws ---- */

static inline double cell_dmc_uniform(CellDmc *s, double low, double high) {
  return low + (high - low) * cell_mt19937_double(&s->random.words);
}

/* Marsaglia's polar method; the other value of a pair waits for the next call. */
double cell_dmc_normal(CellDmc *s);

/* n numbers of norm 1 from n normals. */
void cell_dmc_direction(CellDmc *s, double *values, int n);

/* Draws every joint's position: uniformly within limits, an unlimited angle from -pi to pi; slides
 * without limits stay. Only slides and hinges. */
void cell_dmc_randomize_joints(CellDmc *s);

/* ---- rewards: 1 within [low, high], falling to `value` at `margin` outside ---- */

/* Distance from [low, high] in margins; 0 within. */
static inline double cell_dmc_outside(double x, double low, double high, double margin) {
  return x < low ? (low - x) / margin : x > high ? (x - high) / margin : 0;
}

/* Gaussian, a tenth at the margin. */
double cell_dmc_gaussian(double x, double low, double high, double margin);

/* The same around 0, as the suite's arithmetic does it where the quantity is an array of one. */
double cell_dmc_gaussian_array(double x, double margin);

/* Linear, `value` at the margin, 0 from where it would be negative. */
static inline double cell_dmc_linear(double x, double low, double margin, double value) {
  double d = cell_dmc_outside(x, low, HUGE_VAL, margin) * (1 - value);
  return fabs(d) < 1 ? 1 - d : 0;
}

/* Quadratic around 0, 0 at the margin 1. */
static inline double cell_dmc_quadratic(double x) {
  return fabs(x) < 1 ? 1 - x * x : 0;
}

/* ---- reading ---- */

static inline double cell_dmc_upright(const CellDmc *s, int body) {
  return s->data->xmat[9 * body + 8];
}

/* Position of the geom that the task places. */
static inline double *cell_dmc_placed(const CellDmc *s) {
  return s->model->geom_pos + 3 * (size_t)s->at[0];
}

/* Copies n doubles; returns where the next ones go. */
static inline double *cell_dmc_put(double *to, const double *from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i];
  return to + n;
}

#define CELL_DMC_COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* ---- the tasks, by domain ---- */

extern const CellDmcTask cell_dmc_walker[3], cell_dmc_hopper[2], cell_dmc_cheetah[1],
    cell_dmc_quadruped[1], cell_dmc_reacher[2], cell_dmc_finger[1], cell_dmc_ball_in_cup[1],
    cell_dmc_cartpole[1], cell_dmc_acrobot[1], cell_dmc_fish[1];

#endif
