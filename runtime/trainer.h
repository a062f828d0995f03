/* trainer.h - the loop: act, step, remember, learn.
 *
 * Steps are environment steps and are numbered from 0. In the step of number i the agent acts with
 * epsilon(i), the environment answers, the transition is stored; then
 *   - an update runs if i is a multiple of `every` and greater than `warmup`,
 *   - the target parameters are copied if i is a multiple of `target_every` and greater than
 * `warmup`. With N environments one sweep takes steps i .. i + N - 1, environment k taking step i +
 * k; what falls due in a sweep runs after it, in order.
 *
 * The carried state is zero at an episode's start. On an exploring step it advances only if
 * `advance_on_random` is set. Everything random is a function of (seed, purpose, step). */
#ifndef CELL_TRAINER_H
#define CELL_TRAINER_H

#include "frontend/frontend.h"
#include "runtime/agent.h"
#include "runtime/env.h"
#include "runtime/replay.h"

enum { CELL_RECENT_EPISODES = 100 };

typedef struct {
  CellTrain train;
  uint64_t seed;
  const CellEnvKind *env;
  const double *env_settings; /* NULL: initial ones */
  CellAgent *agent;           /* agent->envs environments; outlives the trainer */
  int threads;                /* at most so many step environments at once; 0: all cores */
  bool drop_state; /* act from the zero state at every step: to see what the state is worth */
} CellTrainerOptions;

typedef struct {
  int64_t step;  /* number of steps at its end, counted from 1 */
  double reward; /* sum of its rewards: the return */
  int64_t length;
} CellEpisode;

typedef enum { CELL_TRAIN_OK, CELL_TRAIN_FAILED, CELL_TRAIN_DIVERGED } CellTrainStatus;

/* All state of a run, with the agent's states and the replay: plain numbers, so that a run can be
 * saved and continued. Read it; only trainer.c changes it. */
typedef struct {
  CellTrainerOptions options;
  int64_t step, updates, copies; /* done so far */
  int64_t episodes;
  double recent[CELL_RECENT_EPISODES]; /* returns; episode n is at n % CELL_RECENT_EPISODES */
  CellEpisode *running;                /* of each environment: return and length so far */
  void **env_states; /* of cell_env_create; cell_env_save copies what is in them */
  CellReplay *replay;
  char no_mirror[512]; /* why the replay has no copy on the GPU, where there is one; else empty */
  /* what the last sweep brought */
  CellEpisode *finished;
  int finished_count;
  int updates_done;
  /* sums of the update's metrics since they were last taken, in the agent's order */
  double *metric_sums;
  int64_t metric_updates;
  /* tensors of the agent, looked up once */
  CellTensorData act_obs, act_action;
  CellTensorData *carries, *metrics;
  CellBatch batch;
  uint32_t *observations,
      *finals;          /* of each environment: the current one; what an episode ended with */
  CellEnvStep *results; /* of each environment's last step */
  unsigned char *saved; /* carried rows of environments that must not advance */
  int32_t *actions;
  bool *explores;
} CellTrainer;

/* Starts the environments and the first episodes. NULL on errors, reported to diag. */
CellTrainer *cell_trainer_create(const CellTrainerOptions *options, CellDiag *diag);
void cell_trainer_destroy(CellTrainer *trainer);

/* One sweep and what falls due after it. DIVERGED: a metric of an update is not finite. */
CellTrainStatus cell_trainer_step(CellTrainer *trainer, CellDiag *diag);

/* epsilon in step number `step`. */
double cell_trainer_epsilon(const CellTrain *train, int64_t step);

/* One sweep of random actions that no network sees: the replay fills, carried states stay. For measuring. */
CellTrainStatus cell_trainer_fill(CellTrainer *trainer, CellDiag *diag);

/* How many updates a whole run makes (sweeps of one environment). */
int64_t cell_trainer_updates(const CellTrain *train);

/* Mean return of the last 100 episodes (or fewer; 0 if there was none yet). */
double cell_trainer_return(const CellTrainer *trainer);

/* Means of the metrics since the last call, in the agent's order; false if no update ran since. */
bool cell_trainer_take_metrics(CellTrainer *trainer, double *means);

#endif
