/* Whole runs against recorded ones: traces byte for byte, digests, returns of the random policy. */
#include "minatar_data.h"

#include "runtime/trace.h"

#include <inttypes.h>
#include <math.h>

static const char *const games[] = {"asterix", "breakout", "freeway", "seaquest", "space_invaders"};
enum { GAMES = sizeof games / sizeof *games };

// prints the trace into a temporary file and compares it with the recorded one line by line
static void compare(const CellTrace *trace, const char *name) {
  FILE *recorded = open_data(name), *printed = tmpfile();
  assert_non_null(printed);
  assert_true(cell_trace_print(trace, printed));
  rewind(printed);
  char expected[1024], got[1024];
  for (int line = 1;; line++) {
    bool more = fgets(expected, sizeof expected, recorded);
    assert_int_equal(more, fgets(got, sizeof got, printed) != NULL);
    if (!more) break;
    if (strcmp(expected, got) != 0) {
      fail_msg("%s, line %d\nrecorded %sprinted  %s", name, line, expected, got);
    }
  }
  fclose(recorded);
  fclose(printed);
}

static void generated(const char *game, uint32_t seed) {
  char name[128];
  snprintf(name, sizeof name, "%s-%" PRIu32 ".csv", game, seed);
  compare(&(CellTrace){.kind = find_game(game), .seed = seed, .steps = 5000}, name);
}

static void deep(const char *game) {
  char name[128], path[4096];
  snprintf(name, sizeof name, "%s-deep-77.csv", game);
  data_path(path, name);
  CellDiag *diag = cell_diag_create();
  uint8_t *actions;
  int64_t count;
  if (!cell_trace_read_actions(path, CELL_MINATAR_ACTIONS, &actions, &count, diag))
    fail_msg("cannot read %s", path);
  compare(&(CellTrace){.kind = find_game(game), .seed = 77, .steps = count, .actions = actions},
          name);
  free(actions);
  cell_diag_destroy(diag);
}

static void traces(void **unused) {
  (void)unused;
  for (int g = 0; g < GAMES; g++) generated(games[g], 0);
  if (!all_data()) {
    print_message("left out without CELLC_REFERENCE: the traces of seeds 12345, 4294967295 and "
                  "the deep ones\n");
    return;
  }
  for (int g = 0; g < GAMES; g++) {
    generated(games[g], 12345);
    generated(games[g], 4294967295U);
    deep(games[g]);
  }
}

static void digests(void **unused) {
  (void)unused;
  FILE *file = open_data("digests.csv");
  char line[512], expected[512], got[512];
  int rows = 0;
  assert_non_null(fgets(line, sizeof line, file));
  for (; fgets(line, sizeof line, file); rows++) {
    snprintf(expected, sizeof expected, "%s", line);
    char *field[9];
    assert_int_equal(split(line, ',', field, 9), 9);
    double settings[CELL_MINATAR_SETTINGS] = {[CELL_MINATAR_STICKY] = strtod(field[2], NULL),
                                              [CELL_MINATAR_RAMPING] = strcmp(field[3], "on") == 0};
    CellTrace trace = {.kind = find_game(field[0]),
                       .seed = (uint32_t)strtoul(field[1], NULL, 10),
                       .settings = settings,
                       .minimal = strcmp(field[4], "minimal") == 0,
                       .steps = strtol(field[5], NULL, 10)};
    FILE *printed = tmpfile();
    assert_non_null(printed);
    assert_true(cell_trace_print_digest(&trace, printed));
    rewind(printed);
    assert_non_null(fgets(got, sizeof got, printed));
    fclose(printed);
    assert_string_equal(got, expected);
  }
  assert_int_equal(rows, 155);
  fclose(file);
}

// plays the row's episodes and prints the row
static void play(CellText *row, const char *game, bool minimal, uint32_t seed, int episodes) {
  const CellEnvKind *kind = find_game(game);
  void *state = cell_malloc(kind->state_bytes);
  cell_env_start(kind, state, NULL, seed);
  const int8_t *set = cell_minatar_minimal_set(kind);
  uint64_t generator = seed;
  int64_t steps = 0, sum = 0, squares = 0;
  for (int episode = 0; episode < episodes; episode++) {
    if (episode > 0) kind->reset(kind, state);
    int64_t total = 0;
    CellEnvStep step;
    do {
      generator = UINT64_C(6364136223846793005) * generator + UINT64_C(1442695040888963407);
      unsigned number = (unsigned)(generator >> 33);
      unsigned count = (unsigned)kind->actions.count;
      step = minimal ? cell_minatar_step(kind, state, set[number % count])
                     : cell_minatar_step(kind, state, (int)(number % CELL_MINATAR_ACTIONS));
      total += (int64_t)step.reward;
      steps++;
    } while (!step.terminated);
    sum += total;
    squares += total * total;
  }
  free(state);
  double mean = (double)sum / episodes;
  double deviation = sqrt((double)squares / episodes - mean * mean);
  cell_text_printf(row, "%s,%s,%" PRIu32 ",%d,%" PRId64 ",%" PRId64 ",%" PRId64, game,
                   minimal ? "minimal" : "full", seed, episodes, steps, sum, squares);
  cell_text_printf(row, ",%.3f,%.4f,%.4f,%.2f", mean, deviation, deviation / sqrt(episodes),
                   (double)steps / episodes);
}

// all integer columns; the rounded ones may differ in the last digit
static void random_policy(void **unused) {
  (void)unused;
  FILE *file = open_data("random-policy.csv");
  char line[512];
  int rows = 0;
  assert_non_null(fgets(line, sizeof line, file));
  for (; fgets(line, sizeof line, file); rows++) {
    CellText got = {0};
    char *expected[11], *printed[11];
    assert_int_equal(split(line, ',', expected, 11), 11);
    play(&got, expected[0], strcmp(expected[1], "minimal") == 0,
         (uint32_t)strtoul(expected[2], NULL, 10), atoi(expected[3]));
    assert_int_equal(split(got.data, ',', printed, 11), 11);
    for (int i = 0; i < 7; i++) assert_string_equal(printed[i], expected[i]);
    for (int i = 7; i < 11; i++) {
      assert_true(fabs(strtod(printed[i], NULL) - strtod(expected[i], NULL)) < 0.0101);
    }
    cell_text_free(&got);
  }
  assert_int_equal(rows, 10);
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(traces),
      cmocka_unit_test(digests),
      cmocka_unit_test(random_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
