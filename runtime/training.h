/* training.h - one run from its start to its end: the loop, the folder, the progress line, the
 * saves.
 *
 * Parameters are saved at the start, every ten minutes and at the end, so there is always a good
 * file. A run ends when its steps are done, when it is asked to stop (it finishes the step and
 * saves), when it diverges (the last good parameters stay), or when something cannot be written. */
#ifndef CELL_TRAINING_H
#define CELL_TRAINING_H

#include "runtime/run_folder.h"
#include "runtime/trainer.h"

#include <jansson.h>
#include <signal.h>

typedef enum { CELL_RUN_FINISHED, CELL_RUN_STOPPED, CELL_RUN_DIVERGED, CELL_RUN_FAILED } CellRunEnd;

typedef struct {
  CellTrainer *trainer;
  CellRunFolder *folder;
  const char *name, *env; /* of the network and the environment, for progress and metadata */
  json_t *description;    /* what run.json says besides status and figures; borrowed */
  /* Writes the parameters as cell_network_save does. */
  bool (*save)(void *context, const char *path, const char *const *metadata, bool *finite,
               CellDiag *diag);
  void *save_context;
  double expected_seconds;     /* of the whole run, for the progress line; negative: not known */
  double save_seconds;         /* between two saves: 600 */
  int64_t log_steps;           /* between two lines of metrics: 1000 */
  FILE *progress;              /* NULL: none */
  FILE *json;                  /* NULL: none; a stream of lines (schema cellc.train.1) */
  volatile sig_atomic_t *stop; /* set from outside: stop after this step; NULL: never */
} CellTrainingOptions;

/* Runs to the end; errors are in diag. The caller closes folder and trainer. */
CellRunEnd cell_training_run(const CellTrainingOptions *options, CellDiag *diag);

/* "finished", "stopped", "diverged", "failed" */
const char *cell_run_end_name(CellRunEnd end);

/* Seconds of a clock that never goes back. */
double cell_now(void);

#endif
