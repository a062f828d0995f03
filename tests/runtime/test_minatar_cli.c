/* `cellc env` from outside: the recorded traces by bytes, and what bad input gets. */
#include "minatar_data.h"

#include "tests/support/program.h"

#include <jansson.h>
#include <unistd.h>

// the whole output equals the file
static void expect_file(const char *arguments, const char *name) {
  CellText printed = {0}, recorded = {0};
  assert_int_equal(run(arguments, &printed), 0);
  FILE *file = open_data(name);
  char part[4096];
  for (size_t length; (length = fread(part, 1, sizeof part, file)) > 0;) {
    cell_text_append(&recorded, part, length);
  }
  fclose(file);
  assert_string_equal(printed.data, recorded.data);
  cell_text_free(&printed);
  cell_text_free(&recorded);
}

static void traces(void **unused) {
  (void)unused;
  expect_file("env trace minatar/space-invaders --seed 0 --steps 5000", "space_invaders-0.csv");
  expect_file("env trace minatar/breakout", "breakout-0.csv");
  expect("env trace minatar/seaquest -s 204 -n 20000 --action-set minimal --digest", 0,
         "seaquest,204,");
  if (!all_data()) {
    print_message("left out without CELLC_REFERENCE: recorded actions\n");
    return;
  }
  char path[4096];
  CellText arguments = {0};
  data_path(path, "seaquest-deep-77.csv");
  cell_text_printf(&arguments, "env trace minatar/seaquest --seed 77 --actions '%s'", path);
  expect_file(arguments.data, "seaquest-deep-77.csv");
  cell_text_printf(&arguments, " -n 5001");
  expect(arguments.data, 1, "holds 5000 actions, --steps asks for 5001\n");
  cell_text_free(&arguments);
}

static void list(void **unused) {
  (void)unused;
  expect("env ls", 0, "minatar/space_invaders   10x10x6:bits");
  expect("env ls", 0,
         "classic/cartpole         4                2                500          keep");
  expect("env trace classic/mountain-car -n 1", 0,
         "step,action,reward,terminated,truncated,position,velocity\n0,,,,,-0.");
  CellText text = {0};
  assert_int_equal(run("env ls --json", &text), 0);
  json_t *document = json_loads(text.data, 0, NULL);
  assert_non_null(document);
  const json_t *environments = json_object_get(document, "environments");
  assert_int_equal(json_array_size(environments), cell_env_count());
  const json_t *breakout = NULL;
  size_t index;
  json_t *one;
  json_array_foreach(environments, index, one) {
    const char *name = json_string_value(json_object_get(one, "name"));
    if (strcmp(name, "minatar/breakout") == 0) breakout = one;
  }
  const json_t *actions = json_object_get(breakout, "actions");
  assert_int_equal(json_integer_value(json_object_get(actions, "count")), 3);
  json_decref(document);
  cell_text_free(&text);
}

static void bad_usage(void **unused) {
  (void)unused;
  static const char *const cases[][2] = {
      {"env", "something is missing: cellc env ls | trace ENV\n"},
      {"env lost", "there is no `lost`, only ls and trace\n"},
      {"env ls more", "`ls` takes no `more`\n"},
      {"env ls --seed 1", "`ls` takes no option but --json\n"},
      {"env trace", "`trace` wants an environment; `cellc env ls` lists all\n"},
      {"env trace minatar/breakout more", "`more`"},
      {"env trace --json minatar/breakout", "`trace` prints no JSON\n"},
      {"env trace minatar/brekout",
       "there is no environment `minatar/brekout`; did you mean `minatar/breakout`?\n"},
      {"env trace space-invaders", "did you mean `minatar/space_invaders`?\n"},
      {"env trace minatar/tetris",
       "there is no environment `minatar/tetris`; `cellc env ls` lists all\n"},
      {"env trace minatar/breakout --seed 4294967296",
       "`--seed 4294967296` wants a whole number from 0 to 4294967295\n"},
      {"env trace minatar/breakout --seed=-1", "wants a whole number from 0"},
      {"env trace minatar/breakout --seed 99999999999999999999999", "wants a whole number from 0"},
      {"env trace minatar/breakout --seed ''", "wants a whole number from 0"},
      {"env trace minatar/breakout --steps 1.5", "`--steps 1.5` wants a whole number\n"},
      {"env trace minatar/breakout --sticky nan", "`--sticky nan` wants a number from 0 to 1\n"},
      {"env trace minatar/breakout --sticky 1.01", "wants a number from 0 to 1\n"},
      {"env trace minatar/breakout --action-set half",
       "`--action-set half` wants full or minimal\n"},
      {"env trace minatar/breakout --action-set full --actions x", "is for generated actions"},
      {"env trace minatar/breakout --sed 1", "did you mean `--seed`?\n"},
      {"env trace classic/cartpole --sticky 0", "it takes only --seed, --steps, --actions\n"},
      {"env trace classic/cartpole --digest", "`classic/cartpole` is no game of MinAtar"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(cases[i][0], 2, cases[i][1]);
}

// writes `text` as a file of actions and traces with it
static void expect_actions(const char *text, size_t length, int code, const char *part) {
  char path[] = "/tmp/cellc-actions-XXXXXX", arguments[256];
  int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  assert_int_equal(write(descriptor, text, length), length);
  close(descriptor);
  snprintf(arguments, sizeof arguments, "env trace minatar/freeway --actions %s", path);
  expect(arguments, code, part);
  unlink(path);
}

static void bad_actions(void **unused) {
  (void)unused;
  expect("env trace minatar/freeway --actions /nowhere/at/all", 1,
         "cannot open \"/nowhere/at/all\": No such file or directory");
  expect("env trace minatar/freeway --actions /", 1, "cannot read \"/\": Is a directory");
  expect_actions("", 0, 1, "holds no actions");
  expect_actions("# nothing\nO,0,00\n", 17, 1, "holds no actions");
  expect_actions("1,0\n6,0\n", 8, 1, ":2: expected an action from 0 to 5 at the start of the line");
  expect_actions("1,0\n\n", 5, 1, ":2: expected an action");
  expect_actions("1\n12,0\n", 7, 1, ":2: expected an action");
  expect_actions("\0\377\0\1", 4, 1, ":1: expected an action");
  expect_actions("1\n2", 3, 0, "# end episodes=0 total_reward=0");
  expect_actions("1,0\r\n2\r\n", 8, 0, "steps=2 actions=recorded\n");
}

static void output_that_does_not_arrive(void **unused) {
  (void)unused;
  expect("env ls >/dev/full", 1, "cannot write to standard output");
  expect("env trace minatar/freeway >/dev/full", 1, "cannot write to standard output");
  expect("env trace minatar/freeway --digest >/dev/full", 1, "cannot write to standard output");
  // ends at once, not after 10^15 steps
  expect("env trace minatar/freeway -n 1000000000000000 | head -1", 0,
         "cannot write to standard output");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(traces),
      cmocka_unit_test(list),
      cmocka_unit_test(bad_usage),
      cmocka_unit_test(bad_actions),
      cmocka_unit_test(output_that_does_not_arrive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
