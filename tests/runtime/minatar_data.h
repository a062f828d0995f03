/* minatar_data.h - where the tests find recorded data: all of it in $CELLC_REFERENCE/minatar, else
 * the part that the repository ships. */
#ifndef CELL_TEST_MINATAR_DATA_H
#define CELL_TEST_MINATAR_DATA_H

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

#include "runtime/minatar.h"

static inline bool all_data(void) {
  const char *folder = getenv("CELLC_REFERENCE");
  return folder && *folder;
}

static inline void data_path(char path[4096], const char *name) {
  if (all_data()) {
    snprintf(path, 4096, "%s/minatar/%s", getenv("CELLC_REFERENCE"), name);
  } else {
    snprintf(path, 4096, "%s/tests/data/minatar/%s", CELLC_SOURCE_DIR, name);
  }
}

static inline FILE *open_data(const char *name) {
  char path[4096];
  data_path(path, name);
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("cannot open %s", path);
  return file;
}

// splits a line at `separator` in place; returns the number of fields, the others are empty
static inline int split(char *line, char separator, char **fields, int most) {
  int count = 0;
  char *end = line + strcspn(line, "\r\n");
  *end = '\0';
  for (int i = 0; i < most; i++) fields[i] = end;
  while (count < most) {
    fields[count++] = line;
    line = strchr(line, separator);
    if (!line) break;
    *line++ = '\0';
  }
  return count;
}

static inline const CellEnvKind *find_game(const char *game) {
  for (int i = 0; i < CELL_MINATAR_GAMES; i++) {
    const CellEnvKind *kind = &cell_minatar_kinds[i];
    if (strcmp(cell_minatar_game_name(kind), game) == 0) return kind;
  }
  fail_msg("no game %s", game);
  return NULL;
}

#endif
