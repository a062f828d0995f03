/* The control suite's tasks as environments: descriptions, starts, ends, saving, threads, actions by
 * components, returns of random actions. */
#include "dmc_data.h"

#include "runtime/dmc_state.h"
#include "runtime/random.h"

#include <math.h>

static void begin(const CellEnvKind *kind, void *state, uint32_t seed) {
  cell_env_start(kind, state, NULL, seed);
  CellDiag *diag = cell_diag_create();
  if (!cell_env_check(kind, state, diag)) cell_diag_print(diag, stderr, false);
  assert_int_equal(diag->record_count, 0);
  cell_diag_destroy(diag);
}

static void descriptions(void **unused) {
  (void)unused;
  int seen = 0;
  for (int i = 0; i < cell_env_count(); i++) seen += cell_dmc_is(cell_env_at(i));
  assert_int_equal(seen, CELL_DMC_TASKS);
  assert_ptr_equal(find_task("dmc/walker_walk"), find_task("dmc/walker-walk"));
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    const CellEnvKind *kind = &cell_dmc_kinds[i];
    char name[64];
    snprintf(name, sizeof name, "dmc/%s-%s", cell_dmc_domain(kind), cell_dmc_task(kind));
    assert_string_equal(kind->name, name);
    if (i > 0) assert_true(strcmp(cell_dmc_kinds[i - 1].name, kind->name) < 0);
    assert_int_equal(kind->actions.count, 1 << kind->actions.dimension);
    assert_true(kind->actions.bits);
    assert_true(kind->observation.count <= CELL_DMC_MAX_OBSERVATION);
    // the task fills what the description says, no more and no less
    CellDmc *s = open_env(kind);
    begin(kind, s, 1);
    double values[CELL_DMC_MAX_OBSERVATION + 1];
    for (int k = 0; k <= CELL_DMC_MAX_OBSERVATION; k++) values[k] = 12345;
    cell_dmc_observe(kind, s, values);
    for (int k = 0; k < kind->observation.count; k++) assert_true(values[k] != 12345);
    assert_true(values[kind->observation.count] == 12345);
    float rounded[CELL_DMC_MAX_OBSERVATION];
    kind->observe(kind, s, rounded);
    for (int k = 0; k < kind->observation.count; k++) assert_true(rounded[k] == (float)values[k]);
    cell_env_destroy(kind, s);
  }
}

// NumPy's RandomState(1)
static void draws(void **unused) {
  (void)unused;
  const double normals[] = {1.6243453636632417, -0.6117564136500754, -0.5281717522634557,
                            -1.0729686221561705};
  const CellEnvKind *kind = find_task("dmc/reacher-easy");
  CellDmc *s = open_env(kind);
  kind->seed(kind, s, 1);
  for (int i = 0; i < 4; i++) assert_true(cell_dmc_normal(s) == normals[i]);
  kind->seed(kind, s, 1);
  assert_true(cell_dmc_uniform(s, -3.14159265358979323846, 3.14159265358979323846) ==
              -0.521366120872004);
  // seeding forgets the second normal of a pair
  cell_dmc_normal(s);
  kind->seed(kind, s, 1);
  assert_true(cell_dmc_normal(s) == normals[0]);
  cell_env_destroy(kind, s);
}

static void starts(void **unused) {
  (void)unused;
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    const CellEnvKind *kind = &cell_dmc_kinds[i];
    CellDmc *a = open_env(kind), *b = open_env(kind);
    float first[CELL_DMC_MAX_OBSERVATION], again[CELL_DMC_MAX_OBSERVATION];
    size_t bytes = (size_t)kind->observation.count * sizeof(float);
    begin(kind, a, 5);
    kind->observe(kind, a, first);
    // an equal seed, whatever came before; then another one, then the next episode
    begin(kind, b, 8);
    for (int k = 0; k < 3; k++) cell_env_act(kind, b, 0);
    begin(kind, b, 5);
    kind->observe(kind, b, again);
    assert_memory_equal(first, again, bytes);
    // quadruped's is seen only in the forces that hold it
    begin(kind, b, 6);
    kind->observe(kind, b, again);
    assert_memory_not_equal(first, again, bytes);
    kind->reset(kind, a);
    kind->observe(kind, a, again);
    assert_memory_not_equal(first, again, bytes);
    cell_env_destroy(kind, a);
    cell_env_destroy(kind, b);
  }
}

static void ends(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find_task("dmc/cartpole-swingup");
  void *state = open_env(kind);
  kind->init(kind, state, NULL);
  CellEnvStep step = cell_env_act(kind, state, 1); // no episode has begun
  assert_true(step.truncated && step.reward == 0);
  begin(kind, state, 1);
  for (int i = 1; i <= CELL_DMC_STEPS; i++) {
    step = cell_env_act(kind, state, i % 2);
    assert_int_equal(step.truncated, i == CELL_DMC_STEPS);
    assert_false(step.terminated);
  }
  float last[8], now[8];
  kind->observe(kind, state, last);
  step = cell_env_act(kind, state, 0);
  assert_true(step.truncated && step.reward == 0);
  kind->observe(kind, state, now);
  assert_memory_equal(last, now, 5 * sizeof(float));
  kind->reset(kind, state);
  assert_false(cell_env_act(kind, state, 0).truncated);
  cell_env_destroy(kind, state);
}

// ---- saving ----

typedef struct {
  double rewards[60];
  float observations[60][CELL_DMC_MAX_OBSERVATION];
} Piece;

// sixty steps across an episode's end, if there is one
static void play(const CellEnvKind *kind, void *state, unsigned from, Piece *piece) {
  memset(piece, 0, sizeof *piece);
  for (unsigned i = 0; i < 60; i++) {
    CellEnvStep step = cell_env_act(kind, state, some_action(kind, from + i));
    piece->rewards[i] = step.reward;
    if (step.truncated) kind->reset(kind, state);
    kind->observe(kind, state, piece->observations[i]);
  }
}

static void saving(void **unused) {
  (void)unused;
  // at the start, within an episode, and so that the next one begins soon
  const int moments[] = {0, 1, 137, 970};
  Piece *expected = cell_malloc(sizeof *expected), *got = cell_malloc(sizeof *got);
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    const CellEnvKind *kind = &cell_dmc_kinds[i];
    size_t bytes = cell_env_saved_bytes(kind);
    void *a = open_env(kind), *b = open_env(kind), *saved = cell_malloc(bytes),
         *again = cell_malloc(bytes);
    for (size_t m = 0; m < sizeof moments / sizeof *moments; m++) {
      begin(kind, a, 3);
      for (int k = 0; k < moments[m]; k++) {
        cell_env_act(kind, a, some_action(kind, (unsigned)k));
      }
      cell_env_save(kind, a, saved);
      play(kind, a, 7, expected);
      // into another environment, which was somewhere else, and back into the first
      if (m % 2) begin(kind, b, 9);
      cell_env_restore(kind, b, saved);
      cell_env_save(kind, b, again);
      assert_memory_equal(saved, again, bytes);
      play(kind, b, 7, got);
      assert_memory_equal(expected, got, sizeof *got);
      cell_env_restore(kind, a, saved);
      play(kind, a, 7, got);
      assert_memory_equal(expected, got, sizeof *got);
    }
    free(saved);
    free(again);
    cell_env_destroy(kind, a);
    cell_env_destroy(kind, b);
  }
  free(expected);
  free(got);
}

// ---- threads ----

enum { COPIES = 6 };

static void run_copies(const CellEnvKind *kind, int threads, Piece *pieces) {
  void *states[COPIES];
  for (int e = 0; e < COPIES; e++) states[e] = open_env(kind);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int e = 0; e < COPIES; e++) {
    // resets too happen beside each other
    cell_env_start(kind, states[e], NULL, (uint32_t)(e / 2));
    kind->reset(kind, states[e]);
    play(kind, states[e], 11, &pieces[e]);
  }
  for (int e = 0; e < COPIES; e++) cell_env_destroy(kind, states[e]);
}

static void threads(void **unused) {
  (void)unused;
  Piece *alone = cell_malloc(COPIES * sizeof *alone),
        *together = cell_malloc(COPIES * sizeof *alone);
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    const CellEnvKind *kind = &cell_dmc_kinds[i];
    run_copies(kind, 1, alone);
    // equal seeds are equal, different ones are not
    assert_memory_equal(&alone[0], &alone[1], sizeof *alone);
    assert_memory_not_equal(&alone[0], &alone[2], sizeof *alone);
    for (int n = 2; n <= 4; n++) {
      run_copies(kind, n, together);
      assert_memory_equal(alone, together, COPIES * sizeof *alone);
    }
  }
  free(alone);
  free(together);
}

// ---- actions ----

// the ends by components are the bang-bang actions; a quadruped's ends are its actuators' own
static void components(void **unused) {
  (void)unused;
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    const CellEnvKind *kind = &cell_dmc_kinds[i];
    int n = kind->actions.dimension;
    CellDmc *a = open_env(kind), *b = open_env(kind);
    begin(kind, a, 2);
    begin(kind, b, 2);
    for (unsigned k = 0; k < 20; k++) {
      int action = some_action(kind, k);
      float ends[CELL_DMC_MAX_ACTUATORS];
      for (int j = 0; j < n; j++) ends[j] = action >> (n - 1 - j) & 1 ? 1 : -1;
      CellEnvStep x = cell_env_act(kind, a, action), y = kind->move(kind, b, ends);
      for (int j = 0; j < n; j++) {
        double low = b->model->actuator_ctrlrange[2 * j],
               high = b->model->actuator_ctrlrange[2 * j + 1];
        assert_true(b->data->ctrl[j] == (float)(ends[j] > 0 ? high : low));
      }
      // MuJoCo clamps what is beyond an actuator's end
      if (strcmp(cell_dmc_domain(kind), "quadruped") != 0) assert_true(x.reward == y.reward);
    }
    float middle[CELL_DMC_MAX_ACTUATORS] = {0};
    kind->move(kind, b, middle);
    for (int j = 0; j < n; j++) {
      double low = b->model->actuator_ctrlrange[2 * j],
             high = b->model->actuator_ctrlrange[2 * j + 1];
      assert_true(b->data->ctrl[j] == (float)((high - low) / 2 + low));
    }
    cell_env_destroy(kind, a);
    cell_env_destroy(kind, b);
  }
}

// ---- models ----

static void models(void **unused) {
  (void)unused;
  // one for all environments of a domain, except where the task changes it
  static const struct {
    const char *one, *other;
    bool shared;
  } pairs[] = {{"dmc/walker-walk", "dmc/walker-run", true},
               {"dmc/hopper-hop", "dmc/hopper-stand", true},
               {"dmc/cheetah-run", "dmc/cheetah-run", true},
               {"dmc/reacher-easy", "dmc/reacher-hard", false},
               {"dmc/fish-swim", "dmc/fish-swim", false},
               {"dmc/finger-spin", "dmc/finger-spin", false},
               {"dmc/walker-walk", "dmc/hopper-stand", false}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const CellEnvKind *one = find_task(pairs[i].one), *other = find_task(pairs[i].other);
    CellDmc *a = open_env(one), *b = open_env(other);
    assert_int_equal(a->model == b->model, pairs[i].shared);
    cell_env_destroy(one, a);
    begin(other, b, 1); // the other still has it
    cell_env_destroy(other, b);
  }
  // masses of the tables
  CellDmc *walker = open_env(find_task("dmc/walker-walk"));
  double mass = 0;
  for (int i = 1; i < walker->model->nbody; i++) mass += walker->model->body_mass[i];
  assert_true(fabs(mass - 28.54032206031208) < 1e-12);
  cell_env_destroy(find_task("dmc/walker-walk"), walker);
}

// ---- the random policy ----

// mean and standard deviation of an episode's return, of 200 episodes of the suite
static const struct {
  const char *name;
  double mean, deviation;
} returns[] = {
    {"dmc/walker-walk", 56.4, 15.1},       {"dmc/walker-run", 30.1, 4.1},
    {"dmc/walker-stand", 156.3, 22.1},     {"dmc/hopper-hop", 0.05, 0.3},
    {"dmc/hopper-stand", 1.6, 4.2},        {"dmc/cheetah-run", 7.2, 3.3},
    {"dmc/reacher-hard", 7.4, 14.1},       {"dmc/reacher-easy", 47.8, 66.0},
    {"dmc/cartpole-swingup", 65.6, 42.1},  {"dmc/acrobot-swingup", 3.9, 11.3},
    {"dmc/fish-swim", 72.7, 45.2},         {"dmc/finger-spin", 11.0, 9.8},
    {"dmc/ball_in_cup-catch", 13.3, 42.7}, {"dmc/quadruped-run", 101.7, 189.6},
};

// CELLC_EPISODES=200 takes a minute or two and is what docs/measurements.md reports
static void random_policy(void **unused) {
  (void)unused;
  const char *wanted = getenv("CELLC_EPISODES");
  int episodes = wanted ? atoi(wanted) : getenv("CELLC_SANITIZED") ? 2 : 8;
  assert_true(episodes > 1);
  for (size_t i = 0; i < sizeof returns / sizeof *returns; i++) {
    const CellEnvKind *kind = find_task(returns[i].name);
    double *sums = cell_malloc((size_t)episodes * sizeof *sums), sum = 0, squares = 0;
#pragma omp parallel for schedule(dynamic)
    for (int e = 0; e < episodes; e++) {
      void *state = open_env(kind);
      cell_env_start(kind, state, NULL, (uint32_t)e);
      CellEnvStep step = {0};
      for (uint32_t n = 0; !step.truncated; n++) {
        uint32_t words[4];
        cell_random(20, CELL_STREAM_SYNTHETIC, (uint64_t)e, n, words);
        step = cell_env_act(kind, state,
                            (int)cell_random_below(words[0], words[1], kind->actions.count));
        sums[e] += step.reward;
      }
      cell_env_destroy(kind, state);
    }
    for (int e = 0; e < episodes; e++) sum += sums[e], squares += sums[e] * sums[e];
    double mean = sum / episodes, error = returns[i].deviation / sqrt(episodes);
    if (wanted) {
      print_message("%-22s %8.2f +- %7.2f   %8.2f +- %7.2f   %5.2f standard errors\n", kind->name,
                    mean, sqrt((squares - sum * mean) / (episodes - 1)), returns[i].mean,
                    returns[i].deviation, (mean - returns[i].mean) / error);
    }
    if (fabs(mean - returns[i].mean) > 4 * error) {
      fail_msg("%s: mean %g of %d episodes, want %g +- %g", kind->name, mean, episodes,
               returns[i].mean, 4 * error);
    }
    free(sums);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(descriptions), cmocka_unit_test(draws),  cmocka_unit_test(starts),
      cmocka_unit_test(ends),         cmocka_unit_test(saving), cmocka_unit_test(threads),
      cmocka_unit_test(components),   cmocka_unit_test(models), cmocka_unit_test(random_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
