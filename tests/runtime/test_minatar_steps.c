/* Single steps from given states: reward, end, observation, generator and all state variables. */
#include "minatar_data.h"

#include "runtime/minatar_state.h"

#include <inttypes.h>

static uint64_t hash_observation(const CellEnvKind *kind, const CellMinatar *state) {
  uint32_t words[64];
  uint64_t hash = UINT64_C(14695981039346656037);
  assert_true(cell_env_words(kind) <= 64);
  kind->observe(kind, state, words);
  for (int i = 0; i < kind->observation.count; i++) {
    hash = (hash ^ (words[i / 32] >> (i % 32) & 1U)) * UINT64_C(1099511628211);
  }
  return hash;
}

// seed|prev_action|action|state before|reward|terminal|state after|hash|next_word
static void check(const CellEnvKind *kind, char **field, int line) {
  const char *game = cell_minatar_game_name(kind);
  CellMinatar *state = cell_malloc(kind->state_bytes);
  kind->init(kind, state, NULL);
  kind->seed(kind, state, (uint32_t)strtoul(field[0], NULL, 10));
  if (!cell_minatar_state_read(kind, state, field[3])) {
    fail_msg("%s, line %d: state not accepted: %s", game, line, field[3]);
  }
  CellText text = {0};
  cell_minatar_state_write(kind, state, &text);
  assert_string_equal(text.data, field[3]);

  state->previous = atoi(field[1]);
  CellEnvStep step = cell_minatar_step(kind, state, atoi(field[2]));
  char got[128], expected[128];
  snprintf(got, sizeof got, "%.0f|%d|%016" PRIx64 "|", step.reward, step.terminated,
           hash_observation(kind, state));
  snprintf(got + strlen(got), 32, "%" PRIu32, cell_mt19937_word(&state->random));
  snprintf(expected, sizeof expected, "%s|%s|%s|%s", field[4], field[5], field[7], field[8]);
  if (strcmp(got, expected) != 0) fail_msg("%s, line %d: %s, not %s", game, line, got, expected);

  // after the end play never looks at hidden variables, but they are the same here
  text.length = 0;
  cell_minatar_state_write(kind, state, &text);
  if (strcmp(text.data, field[6]) != 0) {
    fail_msg("%s, line %d\nrecorded %s\ngot      %s", game, line, field[6], text.data);
  }

  // what is kept for drawing agrees with the variables
  uint64_t hash = hash_observation(kind, state);
  bool over = state->over;
  kind->reset(kind, state);
  if (!cell_minatar_state_read(kind, state, text.data)) assert_true(over);
  assert_true(over || hash_observation(kind, state) == hash);
  cell_text_free(&text);
  free(state);
}

static void check_game(const char *game, int expected_cases) {
  const CellEnvKind *kind = find_game(game);
  char name[128], line[4096];
  snprintf(name, sizeof name, "steps-%s.csv", game);
  FILE *file = open_data(name);
  int cases = 0;
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    if (line[0] == '#' || strncmp(line, "seed|", 5) == 0) continue;
    char *field[9];
    assert_int_equal(split(line, '|', field, 9), 9);
    check(kind, field, number);
    cases++;
  }
  assert_int_equal(cases, expected_cases);
  fclose(file);
}

static void steps(void **unused) {
  (void)unused;
  check_game("asterix", 160);
  check_game("breakout", 120);
  check_game("freeway", 80);
  check_game("seaquest", 260);
  check_game("space_invaders", 110);
}

// text that is no state is refused
static void malformed(void **unused) {
  (void)unused;
  for (int g = 0; g < CELL_MINATAR_GAMES; g++) {
    const CellEnvKind *kind = &cell_minatar_kinds[g];
    CellMinatar *state = cell_malloc(kind->state_bytes);
    cell_env_start(kind, state, NULL, 3);
    CellText text = {0};
    cell_minatar_state_write(kind, state, &text);
    assert_true(cell_minatar_state_read(kind, state, text.data));
    assert_false(cell_minatar_state_read(kind, state, ""));
    assert_false(cell_minatar_state_read(kind, state, "0 x"));
    cell_text_printf(&text, " 0");
    assert_false(cell_minatar_state_read(kind, state, text.data));
    text.data[text.length / 2] = '\0';
    assert_false(cell_minatar_state_read(kind, state, text.data));
    cell_text_free(&text);
    free(state);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps),
      cmocka_unit_test(malformed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
