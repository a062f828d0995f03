/* run_read.c - reading the folder of a run. */
#include "runtime/files.h"
#include "runtime/run_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *cell_run_file(const CellRun *run, const char *name) {
  return cell_arena_printf(run->arena, "%s/%s", run->path, name);
}

static const char *text_of(const CellRun *run, const char *key) {
  return json_string_value(json_object_get(run->description, key));
}

bool cell_run_open(const char *path, CellRun *run, CellDiag *diag) {
  *run = (CellRun){.arena = cell_arena_create()};
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') length--;
  run->path = cell_arena_strndup(run->arena, path, length);
  const char *file = cell_run_file(run, "run.json");
  char *text = cell_read_file(file, 16 << 20, &length, diag);
  if (!text) {
    CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE, "`%s` is no run's folder", path);
    cell_help(diag, record, "`cellc train` names the folder that it writes");
    return false;
  }
  json_error_t error;
  run->description = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
  free(text);
  if (!run->description) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` is broken: %s, line %d", file, error.text,
               error.line);
    return false;
  }
  const char *schema = text_of(run, "schema");
  if (!schema || strcmp(schema, "cellc.run.1") != 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` is not of the kind cellc.run.1", file);
    return false;
  }
  run->name = text_of(run, "name");
  run->env = text_of(run, "env");
  run->variant = text_of(run, "variant");
  run->suite_dir = text_of(run, "suite_dir");
  json_t *seed = json_object_get(run->description, "seed");
  json_t *sets = json_object_get(run->description, "sets");
  if (!run->name || !run->env || !json_is_integer(seed) || !json_is_array(sets)) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` lacks name, env, seed or sets", file);
    return false;
  }
  run->seed = (uint64_t)json_integer_value(seed);
  run->set_count = (int)json_array_size(sets);
  run->sets = CELL_NEW_ARRAY(run->arena, const char *, run->set_count + 1);
  for (int i = 0; i < run->set_count; i++) {
    const char *set = json_string_value(json_array_get(sets, (size_t)i));
    run->sets[i] = set ? set : "";
  }
  return true;
}

void cell_run_close(CellRun *run) {
  json_decref(run->description);
  cell_arena_destroy(run->arena);
  *run = (CellRun){0};
}

// step,return,length[,seconds]; what follows the last line end is not there yet
bool cell_run_episodes(CellRun *run, CellRunEpisode **episodes, int *count, CellDiag *diag) {
  size_t length;
  int capacity = 0, line = 1;
  *episodes = NULL, *count = 0;
  const char *file = cell_run_file(run, "episodes.csv");
  char *text = cell_read_file(file, (size_t)1 << 30, &length, diag);
  if (!text) return false;
  bool ok = true;
  char *at = strchr(text, '\n');
  for (char *end; ok && at && (end = strchr(at + 1, '\n')); at = end) {
    long long step, steps;
    double reward;
    line++;
    ok = sscanf(at + 1, "%lld,%lf,%lld", &step, &reward, &steps) == 3 && step > 0;
    CellRunEpisode episode = {step, steps, reward};
    if (ok) CELL_PUSH(run->arena, *episodes, *count, capacity, episode);
  }
  free(text);
  if (!ok) cell_error(diag, NULL, CELL_NOWHERE, "`%s` is broken in line %d", file, line);
  return ok;
}
