/* the loop, with an agent and an environment of a few lines that write down what happens */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- an environment that counts: ends after 7 steps, or is cut after 5 if its seed is odd ----

typedef struct {
  uint32_t seed;
  int episode, at;
} Counter;

static void counter_init(const CellEnvKind *kind, void *state, const double *settings) {
  (void)kind, (void)settings;
  memset(state, 0, sizeof(Counter));
}
static void counter_seed(const CellEnvKind *kind, void *state, uint32_t seed) {
  (void)kind;
  ((Counter *)state)->seed = seed;
}
static void counter_reset(const CellEnvKind *kind, void *state) {
  (void)kind;
  Counter *c = state;
  c->episode++, c->at = 0;
}
static CellEnvStep counter_step(const CellEnvKind *kind, void *state, CellEnvAction action) {
  (void)kind;
  Counter *c = state;
  c->at++;
  return (CellEnvStep){.reward = action.index == 2,
                       .terminated = c->at == 7,
                       .truncated = c->at == 5 && c->seed % 2 == 1};
}
static void counter_observe(const CellEnvKind *kind, const void *state, void *observation) {
  (void)kind;
  const Counter *c = state;
  float *out = observation;
  out[0] = (float)c->episode, out[1] = (float)c->at;
}
static const CellEnvKind counter = {
    .name = "test/counter",
    .observation = {.representation = CELL_ENV_REAL, .rank = 1, .shape = {2}, .count = 2},
    .actions = {.count = 3},
    .state_bytes = sizeof(Counter),
    .init = counter_init,
    .seed = counter_seed,
    .reset = counter_reset,
    .step = counter_step,
    .observe = counter_observe,
};

// ---- an agent that writes down what it is asked; its state counts its steps in an episode ----

enum { BATCH = 4, CONTEXT = 3, MOST_ENVS = 3, MOST = 4000 };

typedef struct {
  CellTrainer *trainer;
  CellAgent agent;
  float obs[MOST_ENVS * 2], carry[MOST_ENVS], metric;
  int32_t action[MOST_ENVS];
  float context[CONTEXT * BATCH * 2], s[BATCH * 2], next[BATCH * 2], reward[BATCH], end[BATCH];
  int32_t taken[BATCH];
  int64_t update_steps[MOST], sync_steps[MOST];
  int updates, syncs, acts;
  int diverge_at;
  bool fail_update;
} Stub;

static bool stub_run(void *context, const char *program, CellDiag *diag) {
  Stub *s = context;
  if (strcmp(program, "act") == 0) {
    s->acts++;
    for (int e = 0; e < s->agent.envs; e++) {
      s->carry[e] += 1;
      s->action[e] = 2;
    }
  } else if (strcmp(program, "update") == 0) {
    if (s->fail_update) {
      cell_error(diag, NULL, CELL_NOWHERE, "update refused");
      return false;
    }
    s->update_steps[s->updates++] = s->trainer->step;
    s->metric = s->updates == s->diverge_at ? NAN : (float)s->updates;
    for (int b = 0; b < BATCH; b++) {
      // s_{t+1} follows s_t in its episode, and so does the last of the context
      assert_true(s->s[2 * b] == s->next[2 * b]);
      assert_true(s->s[2 * b + 1] + 1 == s->next[2 * b + 1]);
      assert_true(s->end[b] == (s->next[2 * b + 1] == 7));
      const float *before = &s->context[2 * ((CONTEXT - 1) * BATCH + b)];
      assert_true(before[1] == fmaxf(s->s[2 * b + 1] - 1, 0) || before[0] != s->s[2 * b]);
      assert_true(s->reward[b] == (s->taken[b] == 2));
    }
  } else {
    s->sync_steps[s->syncs++] = s->trainer->step;
  }
  return true;
}

static bool stub_tensor(void *context, const char *program, const char *name, CellTensorData *out) {
  Stub *s = context;
  const struct {
    const char *program, *name;
    void *data;
    CellDtype dtype;
  } tensors[] = {
      {"act", "obs", s->obs, CELL_F},           {"act", "action", s->action, CELL_I},
      {"act", "state/c", s->carry, CELL_F},     {"update", "context", s->context, CELL_F},
      {"update", "obs", s->s, CELL_F},          {"update", "next_obs", s->next, CELL_F},
      {"update", "action", s->taken, CELL_I},   {"update", "reward", s->reward, CELL_F},
      {"update", "terminated", s->end, CELL_F}, {"update", "metric/c/loss", &s->metric, CELL_F},
  };
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
    if (strcmp(tensors[i].program, program) != 0 || strcmp(tensors[i].name, name) != 0) continue;
    *out = (CellTensorData){.data = tensors[i].data, .dtype = tensors[i].dtype};
    return true;
  }
  return false;
}

static const CellAgentCarry stub_carry = {"state/c", 1};
static const char *const stub_metric = "c/loss";

static Stub *make_stub(int envs) {
  Stub *s = cell_malloc(sizeof *s);
  s->agent = (CellAgent){.context = s,
                         .run = stub_run,
                         .tensor = stub_tensor,
                         .envs = envs,
                         .batch = BATCH,
                         .syncs = true,
                         .carries = &stub_carry,
                         .carry_count = 1,
                         .metrics = &stub_metric,
                         .metric_count = 1};
  return s;
}

static const CellTrain settings = {.steps = 1000,
                                   .warmup = 100,
                                   .every = 4,
                                   .target_every = 50,
                                   .replay = 200,
                                   .batch = BATCH,
                                   .context = CONTEXT,
                                   .epsilon_from = 1,
                                   .epsilon_to = 0.1,
                                   .epsilon_over = 0.2,
                                   .env_seed = -1};

static void open_trainer(Stub *s, const CellTrain *train, uint64_t seed, CellDiag *diag) {
  CellTrainerOptions options = {.train = *train, .seed = seed, .env = &counter, .agent = &s->agent};
  s->trainer = cell_trainer_create(&options, diag);
  assert_non_null(s->trainer);
}
static void close_trainer(Stub *s) {
  cell_trainer_destroy(s->trainer);
  free(s);
}

// ---- tests ----

static void test_when_updates_and_copies_happen(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(1);
  open_trainer(s, &settings, 0, diag);
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(cell_trainer_step(s->trainer, diag), CELL_TRAIN_OK);
  }
  assert_int_equal(s->updates, 224);
  assert_int_equal(cell_trainer_updates(&settings), 224);
  for (int i = 0; i < s->updates; i++) assert_int_equal(s->update_steps[i], 104 + 4 * i);
  assert_int_equal(s->syncs, 17);
  for (int i = 0; i < s->syncs; i++) assert_int_equal(s->sync_steps[i], 150 + 50 * i);
  assert_int_equal(s->trainer->updates, 224);
  assert_int_equal(s->trainer->copies, 17);
  assert_int_equal(s->trainer->step, 1000);
  double mean;
  assert_true(cell_trainer_take_metrics(s->trainer, &mean));
  assert_true(mean == 112.5);
  assert_false(cell_trainer_take_metrics(s->trainer, &mean));
  close_trainer(s);
  cell_diag_destroy(diag);
  // the published setting and the small one
  CellTrain published = {.steps = 4000000, .warmup = 50000, .every = 4};
  assert_int_equal(cell_trainer_updates(&published), 987499);
  CellTrain small = {.steps = 100000, .warmup = 5000, .every = 4};
  assert_int_equal(cell_trainer_updates(&small), 23749);
  CellTrain none = {.steps = 100, .warmup = 5000, .every = 4};
  assert_int_equal(cell_trainer_updates(&none), 0);
}

static void test_epsilon(void **state) {
  (void)state;
  assert_true(cell_trainer_epsilon(&settings, 0) == 1);
  assert_true(cell_trainer_epsilon(&settings, 100) == 1);
  assert_true(fabs(cell_trainer_epsilon(&settings, 101) - (1 - 0.9 / 200)) < 1e-12);
  assert_true(fabs(cell_trainer_epsilon(&settings, 200) - 0.55) < 1e-12);
  assert_true(cell_trainer_epsilon(&settings, 300) == 0.1);
  assert_true(cell_trainer_epsilon(&settings, 999) == 0.1);
  CellTrain flat = settings;
  flat.epsilon_over = 0;
  assert_true(cell_trainer_epsilon(&flat, 101) == 0.1);
}

// the state counts the steps that it advanced on: all of them, or the greedy ones
static void run_carry(bool advance) {
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(1);
  CellTrain train = settings;
  train.advance_on_random = advance, train.epsilon_from = 0.5, train.epsilon_to = 0.5;
  open_trainer(s, &train, 3, diag);
  int greedy = 0, steps = 0, all_greedy = 0, explored = 0;
  for (int i = 0; i < 500; i++) {
    assert_int_equal(cell_trainer_step(s->trainer, diag), CELL_TRAIN_OK);
    steps++;
    greedy += !s->trainer->explores[0], all_greedy += !s->trainer->explores[0];
    explored += s->trainer->explores[0];
    if (!s->trainer->explores[0]) assert_int_equal(s->trainer->actions[0], 2);
    if (s->trainer->finished_count > 0) {
      assert_int_equal(s->trainer->finished[0].length, steps);
      assert_int_equal(s->trainer->finished[0].step, i + 1);
      greedy = 0, steps = 0;
    }
    assert_true(s->carry[0] == (float)(advance ? steps : greedy));
  }
  assert_int_equal(s->acts, advance ? 500 : all_greedy);
  assert_in_range(explored, 180, 320);
  close_trainer(s);
  cell_diag_destroy(diag);
}
// with drop_state every step begins at zero
static void test_dropped_state(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(2);
  CellTrainerOptions options = {
      .train = settings, .env = &counter, .agent = &s->agent, .drop_state = true};
  options.train.epsilon_from = options.train.epsilon_to = 0, options.train.env_seed = 2;
  s->trainer = cell_trainer_create(&options, diag);
  for (int i = 1; i < 50; i++) {
    assert_int_equal(cell_trainer_step(s->trainer, diag), CELL_TRAIN_OK);
    // env 0 has an even seed: it ends after 7 steps
    assert_true(s->carry[0] == (i % 7 == 0 ? 0.0F : 1.0F));
  }
  close_trainer(s);
  cell_diag_destroy(diag);
}

static void test_carried_state(void **state) {
  (void)state;
  run_carry(false);
  run_carry(true);
}

// three environments: one sweep is three steps, each environment's state is its own
static void test_several_environments(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(3);
  CellTrain train = settings;
  train.epsilon_from = 0.5, train.epsilon_to = 0.5;
  open_trainer(s, &train, 4, diag);
  float expected[3] = {0};
  int64_t episodes = 0;
  for (int i = 0; i < 300; i++) {
    assert_int_equal(cell_trainer_step(s->trainer, diag), CELL_TRAIN_OK);
    assert_int_equal(s->trainer->step, 3 * (i + 1));
    for (int e = 0; e < 3; e++) {
      expected[e] += !s->trainer->explores[e];
      if (s->trainer->running[e].length == 0) expected[e] = 0, episodes++;
      assert_true(s->carry[e] == expected[e]);
    }
  }
  assert_int_equal(s->trainer->episodes, episodes);
  // the same steps fall due: multiples of 4 in 101 .. 899, and of 50
  assert_int_equal(s->updates, 199);
  assert_int_equal(s->syncs, 15);
  close_trainer(s);
  cell_diag_destroy(diag);
}

// a run is a function of its seed
static void test_seeds(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  static int32_t actions[3][300];
  static int32_t batches[3][BATCH];
  const uint64_t seeds[3] = {0, 0, 1};
  for (int run = 0; run < 3; run++) {
    Stub *s = make_stub(1);
    open_trainer(s, &settings, seeds[run], diag);
    for (int i = 0; i < 300; i++) {
      cell_trainer_step(s->trainer, diag);
      actions[run][i] = s->trainer->actions[0];
    }
    for (int b = 0; b < BATCH; b++)
      batches[run][b] = (int32_t)(100 * s->s[2 * b] + s->s[2 * b + 1]);
    close_trainer(s);
  }
  assert_memory_equal(actions[0], actions[1], sizeof actions[0]);
  assert_memory_equal(batches[0], batches[1], sizeof batches[0]);
  assert_memory_not_equal(actions[0], actions[2], sizeof actions[0]);
  assert_memory_not_equal(batches[0], batches[2], sizeof batches[0]);
  // train.env_seed replaces what the run's seed would give
  CellTrain train = settings;
  train.env_seed = 41;
  Stub *s = make_stub(2);
  open_trainer(s, &train, 0, diag);
  assert_int_equal(((Counter *)s->trainer->env_states[0])->seed, 41);
  assert_int_equal(((Counter *)s->trainer->env_states[1])->seed, 42);
  close_trainer(s);
  cell_diag_destroy(diag);
}

static void test_returns(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(1);
  CellTrain train = settings;
  train.epsilon_from = train.epsilon_to = 0, train.env_seed = 2, train.warmup = -1;
  open_trainer(s, &train, 0, diag);
  assert_true(cell_trainer_return(s->trainer) == 0);
  int ended = 0;
  for (int i = 0; i < 1000; i++) {
    cell_trainer_step(s->trainer, diag);
    ended += s->trainer->finished_count;
  }
  assert_int_equal(ended, 142);
  assert_int_equal(s->trainer->episodes, 142);
  assert_true(cell_trainer_return(s->trainer) == 7);
  close_trainer(s);
  cell_diag_destroy(diag);
}

static void test_divergence_and_failure(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  Stub *s = make_stub(1);
  s->diverge_at = 3;
  open_trainer(s, &settings, 0, diag);
  CellTrainStatus status = CELL_TRAIN_OK;
  int steps = 0;
  for (; status == CELL_TRAIN_OK; steps++) status = cell_trainer_step(s->trainer, diag);
  assert_int_equal(status, CELL_TRAIN_DIVERGED);
  assert_int_equal(steps, 113);
  close_trainer(s);
  s = make_stub(1);
  s->fail_update = true;
  open_trainer(s, &settings, 0, diag);
  for (status = CELL_TRAIN_OK; status == CELL_TRAIN_OK;)
    status = cell_trainer_step(s->trainer, diag);
  assert_int_equal(status, CELL_TRAIN_FAILED);
  assert_int_equal(diag->error_count, 1);
  close_trainer(s);
  cell_diag_destroy(diag);
}

// ---- simulations: steps that are worth a thread, that may fail, that the authors seeded ----

static bool counter_failure(const CellEnvKind *kind, const void *state, CellDiag *diag) {
  (void)kind;
  const Counter *c = state;
  // the start of its third episode, of one environment
  bool failed = c->seed == 12 && c->episode == 3;
  if (failed && diag) cell_error(diag, NULL, CELL_NOWHERE, "the third episode does not begin");
  return failed;
}

static Stub *make_simulation(const CellEnvKind *kind, const CellTrain *train, int threads,
                             CellDiag *diag) {
  Stub *s = make_stub(3);
  CellTrainerOptions options = {
      .train = *train, .env = kind, .agent = &s->agent, .threads = threads};
  s->trainer = cell_trainer_create(&options, diag);
  assert_non_null(s->trainer);
  return s;
}

static void test_failing_environment(void **state) {
  (void)state;
  CellEnvKind kind = counter;
  kind.failure = counter_failure;
  CellTrain train = settings;
  train.env_seed = 11, train.warmup = 900;
  for (int heavy = 0; heavy < 2; heavy++) {
    kind.heavy = heavy;
    CellDiag *diag = cell_diag_create();
    Stub *s = make_simulation(&kind, &train, 3, diag);
    int steps = 0;
    while (cell_trainer_step(s->trainer, diag) == CELL_TRAIN_OK) steps++;
    // seed 12: two episodes of 7 steps
    assert_int_equal(steps, 13);
    assert_int_equal(diag->error_count, 1);
    close_trainer(s);
    cell_diag_destroy(diag);
  }
}

// the same run on any number of threads
static void test_threads(void **state) {
  (void)state;
  CellEnvKind kind = counter;
  kind.heavy = true;
  CellDiag *diag = cell_diag_create();
  static float seen[4][300 * 2 * BATCH];
  for (int threads = 1; threads <= 4; threads++) {
    Stub *s = make_simulation(&kind, &settings, threads, diag);
    for (int i = 0; i < 300; i++) {
      cell_trainer_step(s->trainer, diag);
      memcpy(seen[threads - 1] + (size_t)i * 2 * BATCH, s->s, 2 * BATCH * sizeof(float));
    }
    close_trainer(s);
    assert_memory_equal(seen[0], seen[threads - 1], sizeof seen[0]);
  }
  assert_true(seen[0][300 * 2 * BATCH - 1] > 0);
  cell_diag_destroy(diag);
}

static void test_authors_seed(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  CellEnvKind kind = counter;
  CellTrain train = settings;
  uint32_t from_run[3];
  Stub *s = make_simulation(&kind, &train, 1, diag);
  for (int e = 0; e < 3; e++) from_run[e] = ((Counter *)s->trainer->env_states[e])->seed;
  close_trainer(s);
  train.env_seed = CELL_ENV_SEED_AUTHORS;
  for (kind.authors_seed = 0; kind.authors_seed < 2; kind.authors_seed++) {
    s = make_simulation(&kind, &train, 1, diag);
    for (int e = 0; e < 3; e++) {
      uint32_t seed = ((Counter *)s->trainer->env_states[e])->seed;
      assert_int_equal(seed, kind.authors_seed > 0 ? 1 : from_run[e]);
    }
    close_trainer(s);
  }
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_when_updates_and_copies_happen),
      cmocka_unit_test(test_epsilon),
      cmocka_unit_test(test_carried_state),
      cmocka_unit_test(test_dropped_state),
      cmocka_unit_test(test_several_environments),
      cmocka_unit_test(test_seeds),
      cmocka_unit_test(test_returns),
      cmocka_unit_test(test_divergence_and_failure),
      cmocka_unit_test(test_failing_environment),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_authors_seed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
