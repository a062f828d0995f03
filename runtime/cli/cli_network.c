/* cli_network.c - from a command line to a spec and its shapes. */
#include "runtime/cli/cli_network.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/env.h"
#include "runtime/files.h"

int cell_cli_source(const char *path, CellDiag *diag) {
  size_t length;
  char *text = cell_read_file(path, CELL_SOURCE_LIMIT, &length, diag);
  if (!text) return -1;
  int source = cell_diag_source(diag, path, text, length);
  free(text);
  return source;
}

/* "10x10x4:bits" */
static bool parse_obs(const char *text, CellShapes *shapes) {
  const char *p = text;
  shapes->obs_rank = 0;
  for (;;) {
    char *end;
    if (*p < '0' || *p > '9' || shapes->obs_rank == 3) return false;
    long size = strtol(p, &end, 10);
    if (size < 1 || size > 1 << 20) return false;
    shapes->obs_shape[shapes->obs_rank++] = (int32_t)size;
    p = end;
    if (*p != 'x') break;
    p++;
  }
  int64_t entries = 1;
  for (int i = 0; i < shapes->obs_rank; i++) entries *= shapes->obs_shape[i];
  shapes->obs_bits = strcmp(p, ":bits") == 0;
  return entries <= 1 << 20 && (*p == 0 || shapes->obs_bits);
}

/* "3", "64:bits" */
static bool parse_actions(const char *text, CellShapes *shapes) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  long count = strtol(text, &end, 10);
  if (count < 1 || count > 65536) return false;
  shapes->actions = (int32_t)count;
  shapes->code = CELL_ACTION_AUTO;
  if (strcmp(end, ":bits") == 0) {
    shapes->code = CELL_ACTION_BITS;
    return (count & (count - 1)) == 0;
  }
  return *end == 0;
}

bool cell_cli_shapes(const CellCli *cli, CellShapes *shapes, CellDiag *diag) {
  *shapes = (CellShapes){.obs_rank = 3, .obs_shape = {10, 10, 4}, .actions = 6, .assumed = true};
  if (cli->env) {
    const char *nearest;
    const CellEnvKind *kind = cell_env_find(cli->env, &nearest);
    if (!kind) {
      CellRecord *r =
          cell_error(diag, NULL, CELL_NOWHERE, "there is no environment `%s`", cli->env);
      if (nearest)
        cell_help(diag, r, "did you mean `%s`? `cellc env ls` lists them", nearest);
      else
        cell_help(diag, r, "`cellc env ls` lists them");
      return false;
    }
    /* like cell_env_shapes of network.h, without the compiler behind it: check never loads that */
    *shapes = (CellShapes){.obs_rank = kind->observation.rank,
                           .obs_bits = kind->observation.representation == CELL_ENV_BITS,
                           .code = kind->actions.bits ? CELL_ACTION_BITS : CELL_ACTION_AUTO,
                           .actions = kind->actions.count};
    for (int i = 0; i < shapes->obs_rank; i++) shapes->obs_shape[i] = kind->observation.shape[i];
    return true;
  }
  if (cli->obs) {
    shapes->assumed = false;
    if (!parse_obs(cli->obs, shapes)) {
      CellRecord *r = cell_error(diag, NULL, CELL_NOWHERE, "`%s` is no shape", cli->obs);
      cell_help(diag, r, "one to three sizes, such as 20, 10x10x4 or 10x10x4:bits");
      return false;
    }
  }
  if (cli->actions) {
    shapes->assumed = false;
    if (!parse_actions(cli->actions, shapes)) {
      CellRecord *r =
          cell_error(diag, NULL, CELL_NOWHERE, "`%s` is no number of actions", cli->actions);
      cell_help(diag, r, "such as 6, or a power of two with bits: 64:bits");
      return false;
    }
  }
  return true;
}

CellSpec *cell_cli_spec(const CellCli *cli, const char *path, const char *variant, bool go_on,
                        CellDiag *diag) {
  int source = cell_cli_source(path, diag);
  if (source < 0) return NULL;
  CellSpecOptions options = {
      .variant = variant, .sets = cli->sets, .set_count = cli->set_count, .go_on = go_on};
  return cell_spec_load(cli->arena, diag, source, &options);
}
