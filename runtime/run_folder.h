/* run_folder.h - the folder that a run leaves behind.
 *
 *   ROOT/arq-breakout-s1-20261123T073612/
 *     run.json            what ran, how, on what, how far; replaced whole at every change
 *     spec.cell           the source, byte for byte
 *     metrics.jsonl       one JSON document a line
 *     episodes.csv        step,return,length,seconds
 *     params.safetensors  "params/<parameter>", the last good ones
 *
 * Every file is either whole or as it was before: a full disk or a crash tears nothing. Errors go
 * to a CellDiag. */
#ifndef CELL_RUN_FOLDER_H
#define CELL_RUN_FOLDER_H

#include "ir/support.h"

#include <jansson.h>

typedef struct CellRunFolder CellRunFolder;

typedef struct {
  const char *root;    /* made if it is not there */
  const char *name;    /* of the network */
  const char *env;     /* "minatar/breakout" */
  const char *variant; /* NULL: none */
  uint64_t seed;
  const char *source; /* of the network */
  size_t source_length;
} CellRunFolderOptions;

/* Makes the folder with spec.cell and the two logs; NULL on errors. */
CellRunFolder *cell_run_folder_create(const CellRunFolderOptions *options, CellDiag *diag);
/* Closes the logs (errors count) and frees; NULL is fine. */
bool cell_run_folder_close(CellRunFolder *folder, CellDiag *diag);

/* Path of the folder, and of a file in it (valid until the folder is closed). */
const char *cell_run_folder_path(const CellRunFolder *folder);
const char *cell_run_folder_file(CellRunFolder *folder, const char *name);

/* Replaces run.json; takes over the reference. */
bool cell_run_folder_describe(CellRunFolder *folder, json_t *description, CellDiag *diag);
/* Appends a line of metrics.jsonl; takes over the reference. */
bool cell_run_folder_metrics(CellRunFolder *folder, json_t *line, CellDiag *diag);
/* Appends a row of episodes.csv. */
bool cell_run_folder_episode(CellRunFolder *folder, int64_t step, double reward, int64_t length,
                             double seconds, CellDiag *diag);

/* ---- reading a run ---- */

/* An episode of a run, as episodes.csv has it. */
typedef struct {
  int64_t step, length;
  double reward;
} CellRunEpisode;

typedef struct {
  CellArena *arena;
  const char *path;
  json_t *description;              /* run.json */
  const char *name, *env, *variant; /* variant: NULL for none */
  const char *suite_dir;            /* where the control suite's models came from, or NULL */
  const char **sets;                /* entries of --set, in order; NULL at the end */
  int set_count;
  uint64_t seed;
} CellRun;

/* Reads run.json of a folder; false on errors. Release with cell_run_close also after an error. */
bool cell_run_open(const char *path, CellRun *run, CellDiag *diag);
void cell_run_close(CellRun *run);
/* Path of a file in the folder, in the run's arena. */
const char *cell_run_file(const CellRun *run, const char *name);
/* Reads episodes.csv, also of a run that goes on; the result is in the run's arena. */
bool cell_run_episodes(CellRun *run, CellRunEpisode **episodes, int *count, CellDiag *diag);

#endif
