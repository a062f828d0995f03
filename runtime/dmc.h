/* dmc.h - fourteen tasks of the DeepMind Control Suite (Tassa et al. 2018) on MuJoCo 2.2.2, as
 * environments of env.h: "dmc/walker-walk" and so on.
 *
 * Trajectories are those of the suite to the last bit. An action is one of 2^m, m the number of
 * actuators: each is driven to one of its ends (bang-bang), action a's actuator j forward if bit
 * m - 1 - j of a is set. `move` of the kind takes m numbers from -1 to 1 instead. An episode takes
 * 1000 steps and is truncated then; none ends before.
 *
 * MuJoCo's library is opened when the first environment is (see mujoco_library.h): opening is what
 * can fail, and says what to install. An environment belongs to one thread at a time; different
 * ones may be used at once. */
#ifndef CELL_DMC_H
#define CELL_DMC_H

#include "ir/support.h"
#include "runtime/env.h"

enum { CELL_DMC_TASKS = 14, CELL_DMC_MAX_OBSERVATION = 80, CELL_DMC_STEPS = 1000 };

/* MuJoCo's library cannot be used. */
#define CELL_E_MUJOCO "E1007"

/* In alphabetical order. */
extern const CellEnvKind cell_dmc_kinds[CELL_DMC_TASKS];

/* True for the kinds of this file. */
bool cell_dmc_is(const CellEnvKind *kind);

/* Models of environments opened from now on come from the suite's original files in this folder
 * (walker.xml and so on, with its folder `common`); NULL: from those that travel with the program,
 * which is how it begins unless CELLC_SUITE_DIR is set. Only while no environment of the suite is
 * open: they share models. */
void cell_dmc_suite_folder(const char *folder);

/* That folder, or CELLC_SUITE_DIR's; NULL where models are the program's. */
const char *cell_dmc_suite_in_use(void);

/* The current observation in double precision, kind->observation.count numbers. */
void cell_dmc_observe(const CellEnvKind *kind, const void *state, double *values);

/* Positions and velocities, as MuJoCo has them; both belong to the environment. */
typedef struct {
  const double *qpos, *qvel;
  int nq, nv;
} CellDmcPhysics;
CellDmcPhysics cell_dmc_physics(const void *state);

/* The task's domain and name, "walker" and "walk". */
const char *cell_dmc_domain(const CellEnvKind *kind);
const char *cell_dmc_task(const CellEnvKind *kind);

/* Version of MuJoCo's library, "2.2.2". Only after an environment was opened. */
const char *cell_dmc_version(void);

#endif
