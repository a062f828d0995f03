/* training.c - one run from its start to its end. */
#include "runtime/training.h"

#include "runtime/json.h"
#include "runtime/progress.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double cell_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *cell_run_end_name(CellRunEnd end) {
  static const char *const names[] = {"finished", "stopped", "diverged", "failed"};
  return names[end];
}

// when a count of steps and updates was taken, for rates
typedef struct {
  double at;
  int64_t step, updates;
} Mark;

typedef struct {
  const CellTrainingOptions *o;
  CellDiag *diag;
  double began, saved;
  int64_t saved_step, next_log;
  Mark mark[2], logged; // two marks of the learning phase, half a minute or more apart
  bool learning;
  CellProgress progress;
} Training;

static Mark mark_now(const Training *r, double now) {
  const CellTrainer *t = r->o->trainer;
  return (Mark){now, t->step, t->updates};
}

// ---- what is written ----

static bool describe(Training *r, const char *status) {
  const CellTrainer *t = r->o->trainer;
  json_t *all = json_deep_copy(r->o->description);
  char stamp[32];
  time_t now = time(NULL);
  struct tm utc;
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  json_object_set_new(all, "status", json_string(status));
  json_object_set_new(all, "step", json_integer(t->step));
  json_object_set_new(all, "updates", json_integer(t->updates));
  json_object_set_new(all, "episodes", json_integer(t->episodes));
  json_object_set_new(all, "return_100",
                      t->episodes > 0 ? cell_json_real(cell_trainer_return(t)) : json_null());
  json_object_set_new(all, "params_step", json_integer(r->saved_step));
  json_object_set_new(all, "seconds", cell_json_real(cell_now() - r->began));
  json_object_set_new(all, "written", json_string(stamp));
  return cell_run_folder_describe(r->o->folder, all, r->diag);
}

static void stream(const Training *r, json_t *line) {
  if (r->o->json) {
    json_dumpf(line, r->o->json, CELL_JSON_LINE);
    fputc('\n', r->o->json);
    fflush(r->o->json);
  }
  json_decref(line);
}

static bool save(Training *r, bool *finite) {
  const CellTrainer *t = r->o->trainer;
  char step[32], seed[32];
  snprintf(step, sizeof step, "%lld", (long long)t->step);
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->options.seed);
  const char *const metadata[] = {"schema",  "cellc.params.1", "name", r->o->name, "env",
                                  r->o->env, "seed",           seed,   "step",     step,
                                  NULL};
  const char *path = cell_run_folder_file(r->o->folder, "params.safetensors");
  if (!r->o->save(r->o->save_context, path, metadata, finite, r->diag)) return false;
  r->saved = cell_now();
  r->saved_step = t->step;
  return true;
}

static bool log_metrics(Training *r, double now) {
  CellTrainer *t = r->o->trainer;
  const CellAgent *agent = t->options.agent;
  double *means = cell_malloc((size_t)agent->metric_count * sizeof *means + 1);
  json_t *metrics = json_object();
  if (cell_trainer_take_metrics(t, means)) {
    for (int i = 0; i < agent->metric_count; i++) {
      json_object_set_new(metrics, agent->metrics[i], cell_json_real(means[i]));
    }
  }
  free(means);
  double span = now - r->logged.at > 1e-9 ? now - r->logged.at : 1e-9;
  json_t *line = json_pack(
      "{s:I, s:I, s:I, s:f, s:f, s:o, s:f, s:f, s:o}", "step", (json_int_t)t->step, "updates",
      (json_int_t)t->updates, "episodes", (json_int_t)t->episodes, "seconds", now - r->began,
      "epsilon", cell_trainer_epsilon(&t->options.train, t->step), "return_100",
      t->episodes > 0 ? cell_json_real(cell_trainer_return(t)) : json_null(), "updates_per_s",
      (double)(t->updates - r->logged.updates) / span, "env_steps_per_s",
      (double)(t->step - r->logged.step) / span, "metrics", metrics);
  CELL_ASSERT(line);
  r->logged = mark_now(r, now);
  if (r->o->json) {
    json_t *event = json_pack("{s:s}", "event", "metrics");
    json_object_update(event, line);
    stream(r, event);
  }
  return cell_run_folder_metrics(r->o->folder, line, r->diag);
}

static bool write_episodes(Training *r, double now) {
  const CellTrainer *t = r->o->trainer;
  for (int i = 0; i < t->finished_count; i++) {
    const CellEpisode *e = &t->finished[i];
    if (!cell_run_folder_episode(r->o->folder, e->step, e->reward, e->length, now - r->began,
                                 r->diag)) {
      return false;
    }
  }
  return true;
}

// ---- progress ----

static void update_marks(Training *r, double now) {
  const CellTrainer *t = r->o->trainer;
  if (!r->learning && t->updates > 0) {
    r->learning = true;
    r->mark[0] = r->mark[1] = mark_now(r, now);
  }
  if (now - r->mark[1].at > 30) {
    r->mark[0] = r->mark[1];
    r->mark[1] = mark_now(r, now);
  }
}

static void draw(Training *r, double now) {
  const CellTrainer *t = r->o->trainer;
  const char *env = strrchr(r->o->env, '/');
  CellProgressView view = {.name = r->o->name,
                           .env = env ? env + 1 : r->o->env,
                           .seed = t->options.seed,
                           .step = t->step,
                           .steps = t->options.train.steps,
                           .episodes = t->episodes,
                           .mean_return = cell_trainer_return(t),
                           .seconds_left = -1};
  double span = now - r->mark[0].at;
  int64_t updates = t->updates - r->mark[0].updates, steps = t->step - r->mark[0].step;
  if (r->learning && span > 0.5 && updates > 0) {
    view.updates_per_second = (double)updates / span;
    view.seconds_left = (double)(view.steps - t->step) * span / (double)steps;
  } else if (r->o->expected_seconds >= 0) {
    double left = r->o->expected_seconds - (now - r->began);
    view.seconds_left = left > 0 ? left : 0;
  }
  cell_progress_draw(&r->progress, &view, now);
}

// ---- the run ----

static CellRunEnd loop(Training *r) {
  CellTrainer *t = r->o->trainer;
  bool finite = true;
  while (t->step < t->options.train.steps) {
    if (r->o->stop && *r->o->stop) return CELL_RUN_STOPPED;
    CellTrainStatus status = cell_trainer_step(t, r->diag);
    double now = cell_now();
    if (!write_episodes(r, now) || status == CELL_TRAIN_FAILED) return CELL_RUN_FAILED;
    if (status == CELL_TRAIN_DIVERGED) return CELL_RUN_DIVERGED;
    update_marks(r, now);
    if (t->step >= r->next_log) {
      r->next_log = (t->step / r->o->log_steps + 1) * r->o->log_steps;
      if (!log_metrics(r, now)) return CELL_RUN_FAILED;
    }
    if (r->o->progress && cell_progress_due(&r->progress, now)) draw(r, now);
    if (now - r->saved >= r->o->save_seconds) {
      if (!save(r, &finite)) return finite ? CELL_RUN_FAILED : CELL_RUN_DIVERGED;
      if (!describe(r, "running")) return CELL_RUN_FAILED;
    }
  }
  return CELL_RUN_FINISHED;
}

static CellRunEnd finish(Training *r, CellRunEnd end) {
  bool finite = true;
  const CellTrainer *t = r->o->trainer;
  double now = cell_now();
  if (r->logged.step < t->step && !log_metrics(r, now) && end != CELL_RUN_DIVERGED) {
    end = CELL_RUN_FAILED;
  }
  // a run that failed may still have good parameters, better than those of ten minutes ago
  if (end != CELL_RUN_DIVERGED && !save(r, &finite))
    end = finite ? CELL_RUN_FAILED : CELL_RUN_DIVERGED;
  if (end == CELL_RUN_DIVERGED) {
    CellRecord *record = cell_error(
        r->diag, NULL, CELL_NOWHERE,
        "the run diverged: a loss or a parameter is not finite at step %lld", (long long)t->step);
    cell_help(r->diag, record, "the last good parameters, of step %lld, are in %s",
              (long long)r->saved_step, cell_run_folder_file(r->o->folder, "params.safetensors"));
  }
  if (!describe(r, cell_run_end_name(end)) && end != CELL_RUN_DIVERGED) end = CELL_RUN_FAILED;
  return end;
}

CellRunEnd cell_training_run(const CellTrainingOptions *options, CellDiag *diag) {
  Training run = {.o = options, .diag = diag, .began = cell_now()};
  Training *r = &run;
  CellTrainer *t = options->trainer;
  r->next_log = (t->step / options->log_steps + 1) * options->log_steps;
  r->logged = mark_now(r, r->began);
  r->progress.out = options->progress;
  // the first line is drawn after a second, or after the usual time
  r->progress.terminal = options->progress && isatty(fileno(options->progress));
  r->progress.last = r->began;
  bool finite = true;
  CellRunEnd end = CELL_RUN_FAILED;
  if (describe(r, "running") && save(r, &finite)) {
    stream(r, json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "schema", "cellc.train.1", "event",
                        "start", "run", cell_run_folder_path(options->folder), "steps",
                        (json_int_t)t->options.train.steps, "updates",
                        (json_int_t)cell_trainer_updates(&t->options.train), "expected_seconds",
                        options->expected_seconds >= 0 ? cell_json_real(options->expected_seconds)
                                                       : json_null()));
    end = loop(r);
  }
  if (options->progress) {
    if (r->progress.terminal || t->step > 0) draw(r, cell_now());
    cell_progress_end(&r->progress);
  }
  end = finish(r, end);
  stream(r, json_pack("{s:s, s:s, s:s, s:I, s:o}", "event", "end", "status", cell_run_end_name(end),
                      "run", cell_run_folder_path(options->folder), "step", (json_int_t)t->step,
                      "return_100",
                      t->episodes > 0 ? cell_json_real(cell_trainer_return(t)) : json_null()));
  return end;
}
