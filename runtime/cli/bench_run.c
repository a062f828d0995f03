/* bench_run.c - `cellc bench run FILE --env NAME`: how long a whole training run takes, from a part.
 *
 * The steps of the warm-up are measured first; then random play, not measured, fills the replay; then
 * steps at the last epsilon are measured, since most steps of a run are such. Their rates, times the numbers
 * of steps in the file's settings, are the run. */
#include "runtime/cli/cmd_bench.h"
#include "runtime/progress.h"
#include "runtime/trainer.h"
#include "runtime/training.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct {
  double warmup_seconds, fill_seconds, train_seconds;
  int64_t updates, filled;
} Figures;

typedef CellTrainStatus Step(CellTrainer *t, CellDiag *diag);

static bool steps(CellTrainer *t, Step *step, int64_t count, const char *what, double *seconds,
                  CellDiag *diag) {
  double began = cell_now(), told = began;
  for (int64_t i = 0; i < count; i++) {
    CellTrainStatus status = step(t, diag);
    if (status == CELL_TRAIN_DIVERGED)
      cell_error(diag, NULL, CELL_NOWHERE, "the run diverged in step %lld", (long long)t->step);
    if (status != CELL_TRAIN_OK) return false;
    if ((i & 1023) == 0 && isatty(STDERR_FILENO) && cell_now() - told > 1) {
      told = cell_now();
      fprintf(stderr, "\r%s: %.0f %%, %.0f s left  ", what, 100.0 * (double)i / (double)count,
              (told - began) * (double)(count - i) / (double)(i > 0 ? i : 1));
    }
  }
  if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
  *seconds = cell_now() - began;
  return true;
}

static bool measure(const CellBenchOptions *o, CellNetwork *n, CellTrain *train, Figures *f,
                    CellDiag *diag) {
  // a run never stores more transitions than it takes steps
  int64_t capacity = train->replay < train->steps ? train->replay : train->steps;
  CellTrainerOptions options = {.train = *train, .env = o->env, .agent = &n->agent};
  int64_t before = o->warmup_steps > capacity ? o->warmup_steps : capacity;
  options.train.replay = capacity;
  options.train.warmup = before, options.train.steps = before + o->steps;
  options.train.epsilon_over = 0; // at its last value from the first step of training on
  CellTrainer *t = cell_trainer_create(&options, diag);
  if (!t) return false;
  if (t->no_mirror[0])
    cell_warning(diag, NULL, CELL_NOWHERE, "the replay stays in the host's memory: %s",
                 t->no_mirror);
  bool ok = steps(t, cell_trainer_step, o->warmup_steps, "warm-up", &f->warmup_seconds, diag) &&
            steps(t, cell_trainer_fill, before - o->warmup_steps, "filling the replay",
                  &f->fill_seconds, diag);
  f->filled = cell_replay_filled(t->replay);
  ok = ok && steps(t, cell_trainer_step, o->steps, "training", &f->train_seconds, diag);
  f->updates = t->updates;
  cell_trainer_destroy(t);
  return ok;
}

bool cell_bench_run(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag) {
  CellNetwork *n = cell_network_open(&o->network, diag);
  if (!n) return false;
  cell_cli_say_backend(cli, n->cpu_because);
  CellTrain train = *cell_spec_train(n->spec);
  cell_network_init(n, 0, train.init_shared);
  Figures f = {0};
  bool ok = measure(o, n, &train, &f, diag);
  if (ok) {
    int64_t warmup = train.warmup < train.steps ? train.warmup : train.steps;
    double seconds = f.warmup_seconds / (double)o->warmup_steps * (double)warmup +
                     f.train_seconds / (double)o->steps * (double)(train.steps - warmup);
    if (cli->json) {
      cell_json_print(json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:I, s:f, s:I, s:I, s:f, s:I}",
                                "schema", CELL_BENCH_SCHEMA, "program", "run", "network",
                                cell_spec_name(n->spec), "env", o->env->name, "threads", o->threads,
                                "hours", seconds / 3600, "warmup_seconds", f.warmup_seconds,
                                "warmup_steps", (json_int_t)o->warmup_steps, "train_seconds",
                                f.train_seconds, "train_steps", (json_int_t)o->steps, "updates",
                                (json_int_t)f.updates, "fill_seconds", f.fill_seconds,
                                "replay_filled", (json_int_t)f.filled),
                      stdout);
    } else {
      char whole[32];
      cell_format_seconds(seconds, whole);
      printf("%lld steps of warm-up %.2f s; %lld of training with %lld updates %.2f s, from a "
             "replay of %lld transitions\n",
             (long long)o->warmup_steps, f.warmup_seconds, (long long)o->steps,
             (long long)f.updates, f.train_seconds, (long long)f.filled);
      printf("a run of %lld steps on %s: %s (%.2f hours)\n", (long long)train.steps, o->env->name,
             whole, seconds / 3600);
    }
  }
  cell_network_close(n);
  return ok;
}
