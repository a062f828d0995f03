/* bench_play.c - inputs of an update as training would give them: transitions of random play, sampled
 * from a replay. Which bits are set, not only how many, decides which parameters are read. */
#include "runtime/bench.h"
#include "runtime/random.h"

#include <stdlib.h>

enum { PLAY_STEPS = 4096 };

static CellTensorData tensor(CellNetwork *n, const char *program, const char *name) {
  CellTensorData t;
  return cell_engine_tensor(n->engine, program, name, &t) ? t : (CellTensorData){0};
}

// adds an observation's bits to how often each was set
static void count_bits(const uint32_t *observation, int64_t *set, int32_t count) {
  for (int32_t i = 0; i < count; i++) set[i] += observation[i / 32] >> (i % 32) & 1;
}

static double share_apart(const int64_t *set, int32_t count, int64_t observations) {
  int64_t apart = 0;
  for (int32_t i = 0; i < count; i++)
    apart += set[i] < observations - set[i] ? set[i] : observations - set[i];
  return (double)apart / (double)count / (double)observations;
}

double cell_bench_fill_play(CellNetwork *n, const CellEnvKind *env, uint64_t seed) {
  if (env->observation.representation != CELL_ENV_BITS || env->actions.count < 1) return 1;
  CellBatch batch = {.batch = n->agent.batch,
                     .context = tensor(n, "update", "context"),
                     .obs = tensor(n, "update", "obs"),
                     .next_obs = tensor(n, "update", "next_obs"),
                     .action = tensor(n, "update", "action"),
                     .reward = tensor(n, "update", "reward"),
                     .terminated = tensor(n, "update", "terminated")};
  int words = cell_env_words(env);
  CellReplayOptions options = {.capacity = PLAY_STEPS,
                               .envs = 1,
                               .observation = env->observation.count,
                               .actions = env->actions.count,
                               .bits = true};
  if (batch.context.data && batch.batch > 0)
    options.context = (int32_t)(batch.context.count / batch.batch /
                                (batch.context.wide ? env->observation.count : words));
  CellDiag *diag = cell_diag_create();
  CellReplay *replay = cell_replay_create(&options, diag);
  void *state = cell_malloc(env->state_bytes);
  uint32_t *observation = cell_malloc((size_t)words * 4), draw[4];
  int64_t *set = cell_malloc((size_t)env->observation.count * sizeof *set);
  cell_env_start(env, state, NULL, (uint32_t)seed);
  env->observe(env, state, observation);
  if (replay) cell_replay_begin(replay, 0, observation);
  for (uint64_t step = 0; replay && step < PLAY_STEPS; step++) {
    cell_random(seed, CELL_STREAM_SYNTHETIC, step, 0, draw);
    int action = (int)(cell_random_unit(draw[0]) * env->actions.count);
    CellEnvStep s = cell_env_act(env, state, action);
    env->observe(env, state, observation);
    count_bits(observation, set, env->observation.count);
    cell_replay_add(replay, 0, action, (float)s.reward, s.terminated, s.truncated, observation);
    if (!s.terminated && !s.truncated) continue;
    env->reset(env, state);
    env->observe(env, state, observation);
    cell_replay_begin(replay, 0, observation);
  }
  if (replay && batch.batch > 0) cell_replay_sample(replay, seed, 0, &batch, diag);
  CellTensorData acting = tensor(n, "act", "obs");
  for (int e = 0; acting.data && e < n->agent.envs; e++)
    cell_put_observation(&acting, e, observation, env->observation.count, true);
  double apart = replay ? share_apart(set, env->observation.count, PLAY_STEPS) : 1;
  free(set);
  free(observation);
  free(state);
  cell_replay_destroy(replay);
  cell_diag_destroy(diag);
  return apart;
}
