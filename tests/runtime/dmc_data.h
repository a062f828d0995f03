/* dmc_data.h - what the tests of the control suite share: the recorded data (all of it in
 * $CELLC_REFERENCE/dmc, else the part that the repository ships), environments by name. */
#ifndef CELL_TEST_DMC_DATA_H
#define CELL_TEST_DMC_DATA_H

// cmocka.h needs these before it
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/dmc.h"

static inline bool all_data(void) {
  const char *folder = getenv("CELLC_REFERENCE");
  return folder && *folder;
}

// "walker_walk.txt" of "dmc/walker-walk"; NULL when it is not there
static inline FILE *open_recorded(const CellEnvKind *kind) {
  char path[4096], name[64];
  snprintf(name, sizeof name, "%s", strchr(kind->name, '/') + 1);
  for (char *p = name; *p; p++) *p = *p == '-' ? '_' : *p;
  if (all_data()) {
    snprintf(path, sizeof path, "%s/dmc/%s.txt", getenv("CELLC_REFERENCE"), name);
  } else {
    snprintf(path, sizeof path, "%s/tests/data/dmc/%s.txt", CELLC_SOURCE_DIR, name);
  }
  return fopen(path, "r");
}

// an environment that must open
static inline void *open_env(const CellEnvKind *kind) {
  CellDiag *diag = cell_diag_create();
  void *state = cell_env_create(kind, diag);
  if (!state) {
    cell_diag_print(diag, stderr, false);
    fail_msg("%s does not open", kind->name);
  }
  cell_diag_destroy(diag);
  return state;
}

static inline const CellEnvKind *find_task(const char *name) {
  const CellEnvKind *kind = cell_env_find(name, NULL);
  if (!kind) fail_msg("no task %s", name);
  return kind;
}

// a bang-bang action that looks random
static inline int some_action(const CellEnvKind *kind, unsigned number) {
  uint64_t mixed = (number + 1) * UINT64_C(0x9E3779B97F4A7C15);
  mixed = (mixed ^ mixed >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
  return (int)((mixed >> 32) % (uint64_t)kind->actions.count);
}

#endif
