/* run_folder.c - writing the folder of a run. */
#include "runtime/run_folder.h"

#include "runtime/files.h"
#include "runtime/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct CellRunFolder {
  CellArena *arena;
  const char *path;
  CellLog *metrics;
  int episodes; /* descriptor */
  off_t episodes_bytes;
};

static const char episodes_head[] = "step,return,length,seconds\n";

const char *cell_run_folder_path(const CellRunFolder *folder) {
  return folder->path;
}

const char *cell_run_folder_file(CellRunFolder *folder, const char *name) {
  return cell_arena_printf(folder->arena, "%s/%s", folder->path, name);
}

// ---- making the folder ----

static bool make_folders(const char *path, CellDiag *diag) {
  char *copy = strdup(path);
  bool ok = copy != NULL;
  for (char *at = copy ? copy + 1 : NULL; ok && at; at = strchr(at, '/'), at = at ? at + 1 : NULL) {
    // every prefix that ends before a slash, and the whole
    char *slash = strchr(at, '/');
    if (slash) *slash = 0;
    ok = mkdir(copy, 0777) == 0 || errno == EEXIST;
    if (slash) *slash = '/';
  }
  int error = errno;
  struct stat info;
  if (ok && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))) ok = false, error = ENOTDIR;
  if (!ok) cell_error(diag, NULL, CELL_NOWHERE, "cannot make `%s`: %s", path, strerror(error));
  free(copy);
  return ok;
}

// letters, digits, `.`, `-` and `_` of a name; anything else becomes `_`
static const char *plain(CellArena *arena, const char *name) {
  char *copy = cell_arena_strdup(arena, name);
  for (char *c = copy; *c; c++) {
    bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                *c == '.' || *c == '-' || *c == '_';
    if (!fine) *c = '_';
  }
  return copy;
}

static bool make_run_folder(CellRunFolder *folder, const CellRunFolderOptions *o, CellDiag *diag) {
  if (!make_folders(o->root, diag)) return false;
  char stamp[32];
  time_t now = time(NULL);
  struct tm utc;
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", gmtime_r(&now, &utc));
  const char *env = strrchr(o->env, '/');
  env = env ? env + 1 : o->env;
  const char *variant = o->variant ? o->variant : "", *dash = o->variant ? "-" : "";
  const char *base = cell_arena_printf(folder->arena, "%s-%s%s%s-s%llu-%s", o->name, env, dash,
                                       variant, (unsigned long long)o->seed, stamp);
  base = plain(folder->arena, base);
  // two runs may start in the same second
  for (int again = 1; again < 1000; again++) {
    folder->path = again == 1 ? cell_arena_printf(folder->arena, "%s/%s", o->root, base)
                              : cell_arena_printf(folder->arena, "%s/%s-%d", o->root, base, again);
    if (mkdir(folder->path, 0777) == 0) return true;
    if (errno != EEXIST) break;
  }
  CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE, "cannot make the run folder `%s`: %s",
                                  folder->path, strerror(errno));
  cell_help(diag, record, "choose another place with --runs DIR");
  return false;
}

// ---- episodes.csv ----

// one write a row; what a full disk leaves of a row is taken away again
static bool append(CellRunFolder *folder, const char *row, size_t length, CellDiag *diag) {
  size_t done = 0;
  int error = 0;
  while (done < length && error == 0) {
    ssize_t n = write(folder->episodes, row + done, length - done);
    if (n >= 0)
      done += (size_t)n;
    else if (errno != EINTR)
      error = errno;
  }
  if (error == 0) {
    folder->episodes_bytes += (off_t)length;
    return true;
  }
  if (ftruncate(folder->episodes, folder->episodes_bytes) == 0) {
    (void)lseek(folder->episodes, folder->episodes_bytes, SEEK_SET);
  }
  cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s/episodes.csv`: %s", folder->path,
             strerror(error));
  return false;
}

bool cell_run_folder_episode(CellRunFolder *folder, int64_t step, double reward, int64_t length,
                             double seconds, CellDiag *diag) {
  char row[128];
  int n = snprintf(row, sizeof row, "%lld,%.9g,%lld,%.3f\n", (long long)step, reward,
                   (long long)length, seconds);
  return append(folder, row, (size_t)n, diag);
}

// ---- the whole ----

CellRunFolder *cell_run_folder_create(const CellRunFolderOptions *options, CellDiag *diag) {
  CellRunFolder *folder = cell_malloc(sizeof *folder);
  folder->arena = cell_arena_create();
  folder->episodes = -1;
  if (!make_run_folder(folder, options, diag)) goto fail;
  const char *spec = cell_run_folder_file(folder, "spec.cell");
  if (!cell_write_file(spec, options->source, options->source_length, diag)) goto fail;
  folder->metrics = cell_log_open(cell_run_folder_file(folder, "metrics.jsonl"), 0, diag);
  if (!folder->metrics) goto fail;
  const char *episodes = cell_run_folder_file(folder, "episodes.csv");
  folder->episodes = open(episodes, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (folder->episodes < 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: %s", episodes, strerror(errno));
    goto fail;
  }
  if (!append(folder, episodes_head, sizeof episodes_head - 1, diag)) goto fail;
  return folder;
fail:
  cell_run_folder_close(folder, diag);
  return NULL;
}

bool cell_run_folder_close(CellRunFolder *folder, CellDiag *diag) {
  if (!folder) return true;
  bool ok = cell_log_close(folder->metrics, diag);
  if (folder->episodes >= 0 && close(folder->episodes) != 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s/episodes.csv`: %s", folder->path,
               strerror(errno));
    ok = false;
  }
  cell_arena_destroy(folder->arena);
  free(folder);
  return ok;
}

bool cell_run_folder_describe(CellRunFolder *folder, json_t *description, CellDiag *diag) {
  char *text = json_dumps(description, CELL_JSON_DOCUMENT);
  json_decref(description);
  CELL_ASSERT(text);
  CellText whole = {0};
  cell_text_printf(&whole, "%s\n", text);
  bool ok =
      cell_write_file(cell_run_folder_file(folder, "run.json"), whole.data, whole.length, diag);
  cell_text_free(&whole);
  free(text);
  return ok;
}

bool cell_run_folder_metrics(CellRunFolder *folder, json_t *line, CellDiag *diag) {
  return cell_log_add(folder->metrics, line, diag);
}
