/* env.c - the list of environments and what they share. */
#include "runtime/env.h"

#include "ir/support.h"
#include "runtime/classic.h"
#include "runtime/dmc.h"
#include "runtime/minatar.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST_NAME = 64, MOST_NAMES = 128 };

void *cell_env_create(const CellEnvKind *kind, CellDiag *diag) {
  void *state = cell_malloc(kind->state_bytes);
  if (!kind->open || kind->open(kind, state, diag)) return state;
  free(state);
  return NULL;
}

void cell_env_destroy(const CellEnvKind *kind, void *state) {
  if (!state) return;
  if (kind->close) kind->close(kind, state);
  free(state);
}

size_t cell_env_saved_bytes(const CellEnvKind *kind) {
  return kind->save ? kind->saved_bytes : kind->state_bytes;
}

void cell_env_save(const CellEnvKind *kind, const void *state, void *saved) {
  if (kind->save)
    kind->save(kind, state, saved);
  else
    memcpy(saved, state, kind->state_bytes);
}

void cell_env_restore(const CellEnvKind *kind, void *state, const void *saved) {
  if (kind->restore)
    kind->restore(kind, state, saved);
  else
    memcpy(state, saved, kind->state_bytes);
}

void cell_env_start(const CellEnvKind *kind, void *state, const double *settings, uint32_t seed) {
  kind->init(kind, state, settings);
  kind->seed(kind, state, seed);
  kind->reset(kind, state);
}

void cell_env_observe_floats(const CellEnvKind *kind, const void *state, float *values) {
  if (kind->observation.representation == CELL_ENV_REAL) {
    kind->observe(kind, state, values);
    return;
  }
  uint32_t words[CELL_ENV_MAX_BITS / 32];
  CELL_ASSERT(kind->observation.count <= CELL_ENV_MAX_BITS);
  kind->observe(kind, state, words);
  for (int i = 0; i < kind->observation.count; i++) {
    values[i] = (float)(words[i / 32] >> (i % 32) & 1U);
  }
}

// every group of environments is a constant array; this is the one list of them
typedef struct {
  const CellEnvKind *kinds;
  int count;
} Group;

static const Group groups[] = {
    {cell_classic_kinds, CELL_CLASSIC_TASKS},
    {cell_dmc_kinds, CELL_DMC_TASKS},
    {cell_minatar_kinds, CELL_MINATAR_GAMES},
};
enum { GROUPS = sizeof groups / sizeof *groups };

int cell_env_count(void) {
  int count = 0;
  for (int g = 0; g < GROUPS; g++) count += groups[g].count;
  return count;
}

const CellEnvKind *cell_env_at(int index) {
  for (int g = 0; g < GROUPS; g++) {
    if (index < groups[g].count) return &groups[g].kinds[index];
    index -= groups[g].count;
  }
  CELL_ASSERT(!"an environment's number within the list");
  return NULL;
}

// hyphens and underscores are the same
static bool same_name(const char *a, const char *b) {
  for (; *a && *b; a++, b++) {
    if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b)) return false;
  }
  return *a == *b;
}

static const char *after_slash(const char *name) {
  const char *slash = strrchr(name, '/');
  return slash ? slash + 1 : name;
}

// the name that may have been meant: the nearest by letters, also when the group is left out
static const char *nearest_name(const char *name) {
  if (strlen(name) > LONGEST_NAME) return NULL;
  const char *full[MOST_NAMES], *last[MOST_NAMES];
  int count = 0;
  for (; count < cell_env_count() && count < MOST_NAMES; count++) {
    full[count] = cell_env_at(count)->name;
    last[count] = after_slash(full[count]);
  }
  for (int i = 0; i < count; i++) {
    if (same_name(last[i], after_slash(name))) return full[i];
  }
  const char *near = cell_nearest(after_slash(name), last, count);
  for (int i = 0; near && i < count; i++) {
    if (strcmp(near, last[i]) == 0) return full[i];
  }
  // a right group would make every name look near
  bool group_is_known = false;
  for (int i = 0; i < count; i++) {
    size_t group = (size_t)(last[i] - full[i]);
    group_is_known |= group > 0 && strncmp(name, full[i], group) == 0;
  }
  return group_is_known ? NULL : cell_nearest(name, full, count);
}

const CellEnvKind *cell_env_find(const char *name, const char **nearest) {
  for (int i = 0; i < cell_env_count(); i++) {
    if (same_name(cell_env_at(i)->name, name)) return cell_env_at(i);
  }
  if (nearest) *nearest = nearest_name(name);
  return NULL;
}

int cell_env_setting(const CellEnvKind *kind, const char *name) {
  for (int i = 0; i < kind->setting_count; i++) {
    if (strcmp(kind->settings[i].name, name) == 0) return i;
  }
  return -1;
}
