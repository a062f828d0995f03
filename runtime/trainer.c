/* trainer.c - the loop: act, step, remember, learn. */
#include "runtime/trainer.h"

#include "runtime/random.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// rows of observations, in the environment's own form
static size_t row_words(const CellTrainer *t) {
  return (size_t)cell_env_words(t->options.env);
}
static uint32_t *observation_of(const CellTrainer *t, int env) {
  return t->observations + (size_t)env * row_words(t);
}
static uint32_t *final_of(const CellTrainer *t, int env) {
  return t->finals + (size_t)env * row_words(t);
}

static bool is_bits(const CellTrainer *t) {
  return t->options.env->observation.representation == CELL_ENV_BITS;
}

static size_t element_bytes(const CellTensorData *tensor) {
  return tensor->wide ? sizeof(double) : sizeof(float);
}

// bytes of one environment's row of a carried state (0 if nobody reads it), and where it is
static size_t carry_bytes(const CellTrainer *t, int c) {
  if (!t->carries[c].data) return 0;
  return (size_t)t->options.agent->carries[c].count * element_bytes(&t->carries[c]);
}
static unsigned char *carry_row(const CellTrainer *t, int c, int env) {
  return (unsigned char *)t->carries[c].data + (size_t)env * carry_bytes(t, c);
}

// ---- creation ----

static bool find_tensor(CellAgent *agent, const char *program, const char *name,
                        CellTensorData *out) {
  if (agent->tensor(agent->context, program, name, out)) return true;
  *out = (CellTensorData){0};
  return false;
}

static bool find_tensors(CellTrainer *t, CellDiag *diag) {
  CellAgent *agent = t->options.agent;
  CellBatch *batch = &t->batch;
  batch->batch = agent->batch;
  // what the network does not read is not there, and is not filled
  find_tensor(agent, "update", "context", &batch->context);
  find_tensor(agent, "update", "obs", &batch->obs);
  find_tensor(agent, "update", "next_obs", &batch->next_obs);
  find_tensor(agent, "update", "action", &batch->action);
  find_tensor(agent, "update", "reward", &batch->reward);
  find_tensor(agent, "update", "terminated", &batch->terminated);
  find_tensor(agent, "act", "obs", &t->act_obs);
  bool found = find_tensor(agent, "act", "action", &t->act_action);
  for (int c = 0; c < agent->carry_count; c++) {
    find_tensor(agent, "act", agent->carries[c].name, &t->carries[c]);
  }
  for (int i = 0; i < agent->metric_count; i++) {
    char name[512];
    snprintf(name, sizeof name, "metric/%s", agent->metrics[i]);
    found &= find_tensor(agent, "update", name, &t->metrics[i]);
  }
  if (!found)
    cell_error(diag, NULL, CELL_NOWHERE, "the compiled network lacks a tensor to train it");
  return found;
}

static uint32_t environment_seed(const CellTrainerOptions *o, int env) {
  if (o->train.env_seed == CELL_ENV_SEED_AUTHORS && o->env->authors_seed > 0) {
    return (uint32_t)o->env->authors_seed;
  }
  if (o->train.env_seed >= 0) return (uint32_t)o->train.env_seed + (uint32_t)env;
  uint32_t words[4];
  cell_random(o->seed, CELL_STREAM_ENV, (uint64_t)env, 0, words);
  return words[0];
}

static void clear_carries(CellTrainer *t, int env) {
  for (int c = 0; c < t->options.agent->carry_count; c++) {
    if (t->carries[c].data) memset(carry_row(t, c, env), 0, carry_bytes(t, c));
  }
}

// of an environment that has begun an episode and was observed
static void begin_episode(CellTrainer *t, int env) {
  clear_carries(t, env);
  t->running[env] = (CellEpisode){0};
  cell_replay_begin(t->replay, env, observation_of(t, env));
}

CellTrainer *cell_trainer_create(const CellTrainerOptions *options, CellDiag *diag) {
  CellAgent *agent = options->agent;
  const CellEnvKind *kind = options->env;
  size_t envs = (size_t)agent->envs;
  CellTrainer *t = cell_malloc(sizeof *t);
  t->options = *options;
  t->running = cell_malloc(envs * sizeof *t->running);
  t->finished = cell_malloc(envs * sizeof *t->finished);
  t->env_states = cell_malloc(envs * sizeof *t->env_states);
  t->metric_sums = cell_malloc((size_t)agent->metric_count * sizeof(double) + 1);
  t->carries = cell_malloc((size_t)agent->carry_count * sizeof *t->carries + 1);
  t->metrics = cell_malloc((size_t)agent->metric_count * sizeof *t->metrics + 1);
  t->observations = cell_malloc(envs * row_words(t) * sizeof *t->observations);
  t->finals = cell_malloc(envs * row_words(t) * sizeof *t->finals);
  t->results = cell_malloc(envs * sizeof *t->results);
  t->actions = cell_malloc(envs * sizeof *t->actions);
  t->explores = cell_malloc(envs * sizeof *t->explores);
  if (kind->actions.count < 1 || kind->actions.count > CELL_REPLAY_MOST_ACTIONS) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` has no list of actions to choose from", kind->name);
    goto fail;
  }
  if (!find_tensors(t, diag)) goto fail;
  // a run never stores more transitions than it takes steps
  const CellTrain *train = &options->train;
  int64_t steps = train->steps > 0 ? train->steps : 1;
  CellReplayOptions replay = {.capacity = train->replay < steps ? train->replay : steps,
                              .envs = agent->envs,
                              .context = t->batch.context.data ? train->context : 0,
                              .observation = kind->observation.count,
                              .actions = kind->actions.count,
                              .bits = is_bits(t),
                              .terminated_only = train->episode_terminated};
  t->replay = cell_replay_create(&replay, diag);
  if (!t->replay) goto fail;
  if (agent->engine && agent->batch > 0)
    cell_replay_mirror(t->replay, agent->engine, "update", agent->batch, t->no_mirror,
                       sizeof t->no_mirror);
  size_t saved = 0;
  for (int c = 0; c < agent->carry_count; c++) saved += carry_bytes(t, c);
  t->saved = cell_malloc(saved * envs + 1);
  for (int e = 0; e < agent->envs; e++) {
    t->env_states[e] = cell_env_create(kind, diag);
    if (!t->env_states[e]) goto fail;
    cell_env_start(kind, t->env_states[e], options->env_settings, environment_seed(options, e));
    if (!cell_env_check(kind, t->env_states[e], diag)) goto fail;
    kind->observe(kind, t->env_states[e], observation_of(t, e));
    begin_episode(t, e);
  }
  return t;
fail:
  cell_trainer_destroy(t);
  return NULL;
}

void cell_trainer_destroy(CellTrainer *t) {
  if (!t) return;
  for (int e = 0; e < t->options.agent->envs; e++) {
    cell_env_destroy(t->options.env, t->env_states[e]);
  }
  cell_replay_destroy(t->replay);
  void *blocks[] = {t->running,      t->finished, t->env_states, t->metric_sums,
                    t->carries,      t->metrics,  t->finals,     t->results,
                    t->observations, t->saved,    t->actions,    t->explores};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
  free(t);
}

// ---- acting ----

double cell_trainer_epsilon(const CellTrain *train, int64_t step) {
  double over = train->epsilon_over * (double)train->steps;
  if (step <= train->warmup) return train->epsilon_from;
  double share = (double)(step - train->warmup) / over;
  // not below 1 also when the ramp has no length (0/0 cannot occur: the numerator is positive)
  if (!(share < 1)) return train->epsilon_to;
  return train->epsilon_from + share * (train->epsilon_to - train->epsilon_from);
}

// who explores, and with which action; returns whether the network is needed at all
static bool choose_randomly(CellTrainer *t) {
  bool needed = t->options.train.advance_on_random && t->options.agent->carry_count > 0;
  for (int e = 0; e < t->options.agent->envs; e++) {
    int64_t step = t->step + e;
    uint32_t words[4];
    cell_random(t->options.seed, CELL_STREAM_EXPLORATION, (uint64_t)step, 0, words);
    double epsilon = cell_trainer_epsilon(&t->options.train, step);
    t->explores[e] = cell_random_unit(words[0]) < epsilon;
    t->actions[e] = (int32_t)cell_random_below(words[1], words[2], t->options.env->actions.count);
    needed |= !t->explores[e];
  }
  return needed;
}

// the carried rows of exploring environments, kept over a run of the network and put back
static void keep_carries(CellTrainer *t, bool restore) {
  unsigned char *at = t->saved;
  for (int c = 0; c < t->options.agent->carry_count; c++) {
    size_t bytes = carry_bytes(t, c);
    for (int e = 0; e < t->options.agent->envs; e++) {
      if (!t->explores[e] || bytes == 0) continue;
      memcpy(restore ? carry_row(t, c, e) : at, restore ? at : carry_row(t, c, e), bytes);
      at += bytes;
    }
  }
}

static bool act(CellTrainer *t, CellDiag *diag) {
  if (!choose_randomly(t)) return true;
  CellAgent *agent = t->options.agent;
  const CellEnvKind *kind = t->options.env;
  bool keep = !t->options.train.advance_on_random;
  if (t->act_obs.data) {
    for (int e = 0; e < agent->envs; e++) {
      cell_put_observation(&t->act_obs, e, observation_of(t, e), kind->observation.count,
                           is_bits(t));
    }
  }
  for (int e = 0; t->options.drop_state && e < agent->envs; e++) clear_carries(t, e);
  if (keep) keep_carries(t, false);
  if (!agent->run(agent->context, "act", diag)) return false;
  if (keep) keep_carries(t, true);
  for (int e = 0; e < agent->envs; e++) {
    if (!t->explores[e]) t->actions[e] = (int32_t)cell_get_number(&t->act_action, e);
  }
  return true;
}

static bool has_ended(const CellEnvStep *step) {
  return step->terminated || step->truncated;
}

// one environment's part of a sweep, which any thread may do: step, observe, begin the next episode
static void step_environment(CellTrainer *t, int e) {
  const CellEnvKind *kind = t->options.env;
  void *state = t->env_states[e];
  t->results[e] = cell_env_act(kind, state, t->actions[e]);
  if (!cell_env_check(kind, state, NULL)) return;
  kind->observe(kind, state, observation_of(t, e));
  if (!has_ended(&t->results[e])) return;
  memcpy(final_of(t, e), observation_of(t, e), row_words(t) * sizeof *t->finals);
  kind->reset(kind, state);
  kind->observe(kind, state, observation_of(t, e));
}

// what follows in the order of the environments, whoever stepped them
static bool step_environments(CellTrainer *t, CellDiag *diag) {
  int envs = t->options.agent->envs;
  if (t->options.env->heavy && envs > 1 && t->options.threads != 1) {
    int threads = t->options.threads > 0 ? t->options.threads : omp_get_num_procs();
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int e = 0; e < envs; e++) step_environment(t, e);
  } else {
    // a team of one would cost more than a step of a light environment
    for (int e = 0; e < envs; e++) step_environment(t, e);
  }
  for (int e = 0; e < envs; e++) {
    if (!cell_env_check(t->options.env, t->env_states[e], diag)) return false;
    CellEnvStep result = t->results[e];
    bool ended = has_ended(&result);
    cell_replay_add(t->replay, e, t->actions[e], (float)result.reward, result.terminated,
                    result.truncated, ended ? final_of(t, e) : observation_of(t, e));
    CellEpisode *running = &t->running[e];
    running->reward += result.reward, running->length++;
    if (!ended) continue;
    running->step = t->step + e + 1;
    t->finished[t->finished_count++] = *running;
    t->recent[t->episodes++ % CELL_RECENT_EPISODES] = running->reward;
    begin_episode(t, e);
  }
  return true;
}

// ---- learning ----

static CellTrainStatus update(CellTrainer *t, CellDiag *diag) {
  CellAgent *agent = t->options.agent;
  cell_replay_sample(t->replay, t->options.seed, (uint64_t)t->updates, &t->batch, diag);
  if (!agent->run(agent->context, "update", diag)) return CELL_TRAIN_FAILED;
  t->updates++, t->updates_done++, t->metric_updates++;
  bool finite = true;
  for (int i = 0; i < agent->metric_count; i++) {
    double value = cell_get_number(&t->metrics[i], 0);
    finite &= isfinite(value);
    t->metric_sums[i] += value;
  }
  return finite ? CELL_TRAIN_OK : CELL_TRAIN_DIVERGED;
}

CellTrainStatus cell_trainer_step(CellTrainer *t, CellDiag *diag) {
  const CellTrain *train = &t->options.train;
  CellAgent *agent = t->options.agent;
  t->finished_count = 0, t->updates_done = 0;
  if (!act(t, diag)) return CELL_TRAIN_FAILED;
  if (!step_environments(t, diag)) return CELL_TRAIN_FAILED;
  for (int64_t i = t->step; i < t->step + agent->envs; i++) {
    if (i <= train->warmup) continue;
    if (train->every > 0 && i % train->every == 0) {
      CellTrainStatus status = update(t, diag);
      if (status != CELL_TRAIN_OK) return status;
    }
    if (agent->syncs && train->target_every > 0 && i % train->target_every == 0) {
      if (!agent->run(agent->context, "sync", diag)) return CELL_TRAIN_FAILED;
      t->copies++;
    }
  }
  t->step += agent->envs;
  return CELL_TRAIN_OK;
}

CellTrainStatus cell_trainer_fill(CellTrainer *t, CellDiag *diag) {
  t->finished_count = 0, t->updates_done = 0;
  choose_randomly(t);
  if (!step_environments(t, diag)) return CELL_TRAIN_FAILED;
  t->step += t->options.agent->envs;
  return CELL_TRAIN_OK;
}

int64_t cell_trainer_updates(const CellTrain *train) {
  if (train->every < 1 || train->steps < 1) return 0;
  // multiples of `every` in warmup + 1 .. steps - 1
  int64_t last = (train->steps - 1) / train->every;
  int64_t before = train->warmup < train->steps ? train->warmup / train->every : last;
  return last - before;
}

double cell_trainer_return(const CellTrainer *t) {
  int64_t count = t->episodes < CELL_RECENT_EPISODES ? t->episodes : CELL_RECENT_EPISODES;
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += t->recent[i];
  return count > 0 ? sum / (double)count : 0;
}

bool cell_trainer_take_metrics(CellTrainer *t, double *means) {
  int64_t n = t->metric_updates;
  for (int i = 0; i < t->options.agent->metric_count; i++) {
    means[i] = n > 0 ? t->metric_sums[i] / (double)n : 0;
    t->metric_sums[i] = 0;
  }
  t->metric_updates = 0;
  return n > 0;
}
