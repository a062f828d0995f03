/* The generic interface of environments, on the games there are. */
#include "minatar_data.h"

#include "ir/support.h"
#include "runtime/env.h"

#include <math.h>

static void names(void **unused) {
  (void)unused;
  const char *near;
  int games = 0;
  for (int i = 0; i < cell_env_count(); i++) games += cell_minatar_is(cell_env_at(i));
  assert_int_equal(games, CELL_MINATAR_GAMES);
  for (int i = 0; i < cell_env_count(); i++) {
    assert_ptr_equal(cell_env_find(cell_env_at(i)->name, NULL), cell_env_at(i));
    if (i > 0) assert_true(strcmp(cell_env_at(i - 1)->name, cell_env_at(i)->name) < 0);
  }
  const CellEnvKind *invaders = cell_env_find("minatar/space_invaders", NULL);
  assert_non_null(invaders);
  assert_ptr_equal(cell_env_find("minatar/space-invaders", NULL), invaders);

  static const struct {
    const char *given, *near;
  } unknown[] = {
      {"minatar/brekout", "minatar/breakout"},
      {"space-invaders", "minatar/space_invaders"},
      {"minatari/seaquest", "minatar/seaquest"},
      {"minatar/space", NULL},
      {"minatar/", NULL},
      {"", NULL},
      {"/", NULL},
      {"minatar/breakout/", NULL},
  };
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    assert_null(cell_env_find(unknown[i].given, &near));
    if (unknown[i].near) {
      assert_non_null(near);
      assert_string_equal(near, unknown[i].near);
    }
  }
  char endless[5000];
  memset(endless, 'x', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_null(cell_env_find(endless, &near));
  assert_null(near);
}

static void descriptions(void **unused) {
  (void)unused;
  static const struct {
    const char *game;
    int channels, actions;
  } expected[] = {
      {"asterix", 4, 5},   {"breakout", 4, 3},       {"freeway", 7, 3},
      {"seaquest", 10, 6}, {"space_invaders", 6, 4},
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    const CellEnvKind *kind = find_game(expected[i].game);
    assert_int_equal(kind->observation.rank, 3);
    assert_int_equal(kind->observation.shape[0], 10);
    assert_int_equal(kind->observation.shape[1], 10);
    assert_int_equal(kind->observation.shape[2], expected[i].channels);
    assert_int_equal(kind->observation.count, 100 * expected[i].channels);
    assert_int_equal(kind->observation.representation, CELL_ENV_BITS);
    assert_int_equal(kind->actions.count, expected[i].actions);
    for (int c = 0; c < expected[i].channels; c++) assert_non_null(kind->observation.channels[c]);
    for (int a = 0; a < expected[i].actions; a++) assert_non_null(kind->actions.names[a]);
    assert_int_equal(cell_env_setting(kind, "sticky"), CELL_MINATAR_STICKY);
    assert_int_equal(cell_env_setting(kind, "ramping"), CELL_MINATAR_RAMPING);
    assert_int_equal(cell_env_setting(kind, "colour"), -1);
  }
}

// plays `steps` steps on a pattern of actions and returns the sum of what was seen
static uint64_t play(const CellEnvKind *kind, void *state, int steps) {
  uint32_t words[64];
  uint64_t sum = 0;
  for (int i = 0; i < steps; i++) {
    CellEnvStep step = cell_env_act(kind, state, i * i % 7 % kind->actions.count);
    kind->observe(kind, state, words);
    for (int w = 0; w < cell_env_words(kind); w++) sum = sum * 31 + words[w];
    sum = sum * 31 + (uint64_t)step.reward;
    if (step.terminated) kind->reset(kind, state);
  }
  return sum;
}

// copying the block is saving, restoring and forking
static void copies(void **unused) {
  (void)unused;
  for (int i = 0; i < CELL_MINATAR_GAMES; i++) {
    const CellEnvKind *kind = &cell_minatar_kinds[i];
    void *state = cell_malloc(kind->state_bytes), *fork = cell_malloc(kind->state_bytes);
    memset(fork, 0xA5, kind->state_bytes);
    cell_env_start(kind, state, NULL, 11);
    play(kind, state, 777);
    assert_int_equal(cell_env_saved_bytes(kind), kind->state_bytes);
    cell_env_save(kind, state, fork);
    assert_memory_equal(state, fork, kind->state_bytes);
    assert_true(cell_env_check(kind, state, NULL));
    uint64_t sum = play(kind, state, 3000);
    assert_true(sum == play(kind, fork, 3000));
    assert_memory_equal(state, fork, kind->state_bytes);

    // the start does not depend on what was in the block
    memset(fork, 0xA5, kind->state_bytes);
    cell_env_start(kind, state, NULL, 12);
    cell_env_start(kind, fork, NULL, 12);
    assert_memory_equal(state, fork, kind->state_bytes);
    free(state);
    free(fork);
  }
}

static void floats(void **unused) {
  (void)unused;
  for (int i = 0; i < CELL_MINATAR_GAMES; i++) {
    const CellEnvKind *kind = &cell_minatar_kinds[i];
    void *state = cell_malloc(kind->state_bytes);
    int words = cell_env_words(kind), count = kind->observation.count;
    uint32_t *bits = cell_malloc((size_t)words * sizeof *bits);
    float *values = cell_malloc((size_t)count * sizeof *values);
    cell_env_start(kind, state, NULL, 5);
    for (int t = 0; t < 200; t++) {
      play(kind, state, 1);
      memset(bits, 0xFF, (size_t)words * sizeof *bits);
      kind->observe(kind, state, bits);
      cell_env_observe_floats(kind, state, values);
      for (int e = 0; e < count; e++) {
        assert_true(values[e] == (float)(bits[e / 32] >> (e % 32) & 1U));
      }
      for (int e = count; e < 32 * words; e++) assert_int_equal(bits[e / 32] >> (e % 32) & 1U, 0);
    }
    free(state);
    free(bits);
    free(values);
  }
}

// the stated density is that of random play
static void density(void **unused) {
  (void)unused;
  enum { STEPS = 100000 };
  for (int i = 0; i < CELL_MINATAR_GAMES; i++) {
    const CellEnvKind *kind = &cell_minatar_kinds[i];
    void *state = cell_malloc(kind->state_bytes);
    uint32_t words[64];
    uint64_t generator = 1, set = 0;
    cell_env_start(kind, state, NULL, 1);
    for (int t = 0; t < STEPS; t++) {
      generator = UINT64_C(6364136223846793005) * generator + UINT64_C(1442695040888963407);
      unsigned number = (unsigned)(generator >> 33);
      CellEnvStep step = cell_env_act(kind, state, (int)(number % (unsigned)kind->actions.count));
      if (step.terminated) kind->reset(kind, state);
      kind->observe(kind, state, words);
      for (int w = 0; w < cell_env_words(kind); w++) {
        for (uint32_t rest = words[w]; rest; rest &= rest - 1) set++;
      }
    }
    double measured = (double)set / STEPS / kind->observation.count;
    if (fabs(measured / kind->observation.density - 1) > 0.03) {
      fail_msg("%s: density %.5f, not %.5f", kind->name, measured, kind->observation.density);
    }
    free(state);
  }
}

// after the end nothing changes but the generator and the sticky action
static void after_the_end(void **unused) {
  (void)unused;
  for (int i = 0; i < CELL_MINATAR_GAMES; i++) {
    const CellEnvKind *kind = &cell_minatar_kinds[i];
    void *state = cell_malloc(kind->state_bytes);
    uint32_t last[64], now[64];
    cell_env_start(kind, state, NULL, 1);
    int t = 0;
    while (!cell_env_act(kind, state, t % kind->actions.count).terminated) assert_true(t++ < 10000);
    kind->observe(kind, state, last);
    for (t = 0; t < 20; t++) {
      CellEnvStep step = cell_env_act(kind, state, t % kind->actions.count);
      assert_true(step.terminated && !step.truncated && step.reward == 0);
      kind->observe(kind, state, now);
      assert_memory_equal(now, last, (size_t)cell_env_words(kind) * sizeof *now);
    }
    kind->reset(kind, state);
    assert_false(cell_env_act(kind, state, 0).terminated);
    free(state);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names),  cmocka_unit_test(descriptions), cmocka_unit_test(copies),
      cmocka_unit_test(floats), cmocka_unit_test(density),      cmocka_unit_test(after_the_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
