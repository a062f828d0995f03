/* dmc_absent.c - the control suite of a program that was built without MuJoCo's header: listed, with
 * sizes to check networks against, but not to be opened. */
#include "runtime/dmc.h"

static bool open_environment(const CellEnvKind *kind, void *state, CellDiag *diag) {
  (void)state;
  CellRecord *record =
      cell_error(diag, CELL_E_MUJOCO, CELL_NOWHERE,
                 "`%s` needs MuJoCo, and this program was built without its header", kind->name);
  cell_help(diag, record, "`apt-get install libmujoco-dev`, then configure and build cellc again");
  return false;
}

static void close_environment(const CellEnvKind *kind, void *state) {
  (void)kind, (void)state;
}

#define TASK(domain, index, task, size, actuators, what)                                           \
  {DESCRIPTION(domain, task, size, actuators, what), .state_bytes = 1, .open = open_environment,   \
   .close = close_environment},
const CellEnvKind cell_dmc_kinds[CELL_DMC_TASKS] = {
#include "runtime/dmc_kinds.def"
};
#undef TASK

bool cell_dmc_is(const CellEnvKind *kind) {
  return kind->open == open_environment;
}

void cell_dmc_suite_folder(const char *folder) {
  (void)folder;
}

const char *cell_dmc_suite_in_use(void) {
  return NULL;
}

// what follows takes an environment that was opened

void cell_dmc_observe(const CellEnvKind *kind, const void *state, double *values) {
  (void)state, (void)values;
  CELL_ASSERT(!kind);
}

CellDmcPhysics cell_dmc_physics(const void *state) {
  CELL_ASSERT(!state);
  return (CellDmcPhysics){0};
}

const char *cell_dmc_domain(const CellEnvKind *kind) {
  CELL_ASSERT(!kind);
  return "";
}

const char *cell_dmc_task(const CellEnvKind *kind) {
  CELL_ASSERT(!kind);
  return "";
}

const char *cell_dmc_version(void) {
  return "";
}
