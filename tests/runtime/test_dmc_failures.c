/* What goes wrong in the control suite: physics that fail, models that do not fit, a library that is
 * not there. Failures are made with suite folders whose files are the program's own, changed. */
#include "dmc_data.h"

#include "runtime/dmc_state.h"
#include "runtime/dmc_trace.h"
#include "tests/support/program.h"

#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *name, const char *text) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder(), name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

// the domain's model with one piece of text replaced, in the suite folder
static void write_model(const char *domain, const char *from, const char *to) {
  const char *text = NULL;
  for (int i = 0; i < cell_dmc_model_text_count; i++) {
    if (strcmp(cell_dmc_model_texts[i].domain, domain) == 0) text = cell_dmc_model_texts[i].text;
  }
  const char *at = text ? strstr(text, from) : NULL;
  if (!at) fail_msg("%s has no `%s`", domain, from);
  CellText changed = {0};
  cell_text_append(&changed, text, (size_t)(at - text));
  cell_text_printf(&changed, "%s%s", to, at + strlen(from));
  char name[64];
  snprintf(name, sizeof name, "%s.xml", domain);
  write_file(name, changed.data);
  cell_text_free(&changed);
}

static bool report_has(const CellDiag *diag, const char *part) {
  char *text;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  cell_diag_print(diag, out, false);
  fclose(out);
  bool found = strstr(text, part) != NULL;
  if (!found) print_message("want `%s` in\n%s", part, text);
  free(text);
  return found;
}

// the library leaves no log behind
static void no_log(void) {
  assert_int_equal(access("MUJOCO_LOG.TXT", F_OK), -1);
}

// ---- failing physics ----

// plays until it fails; returns the step, counted from 1
static int play_to_failure(const CellEnvKind *kind, void *state, CellDiag *diag) {
  for (int n = 1; n <= CELL_DMC_STEPS; n++) {
    CellEnvStep step = cell_env_act(kind, state, some_action(kind, (unsigned)n));
    if (cell_env_check(kind, state, diag)) continue;
    assert_true(step.truncated);
    return n;
  }
  fail_msg("%s does not fail", kind->name);
  return 0;
}

// a failure by a warning (`what` says which) or an error of the library
static void expect_failure(const char *name, const char *domain, const char *from, const char *to,
                           const char *what) {
  const CellEnvKind *kind = find_task(name);
  write_model(domain, from, to);
  CellDiag *diag = cell_diag_create();
  void *state = open_env(kind);
  cell_env_start(kind, state, NULL, 5);
  kind->reset(kind, state);
  kind->reset(kind, state);
  if (!cell_env_check(kind, state, diag)) {
    assert_true(report_has(diag, "at the start of episode 2, seed 5"));
    assert_true(report_has(diag, what));
  } else {
    int n = play_to_failure(kind, state, diag);
    char when[64];
    snprintf(when, sizeof when, "in step %d of episode 2, seed 5", n);
    assert_true(report_has(diag, when));
    assert_true(report_has(diag, what));
    assert_true(report_has(diag, "to see it again: cellc env trace"));
    assert_true(report_has(diag, "--seed 5 --episode 2 --actions hex:"));

    // what it says repeats it
    char *text, *actions;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    cell_diag_print(diag, out, false);
    fclose(out);
    actions = strstr(text, "hex:") + 4;
    actions[strcspn(actions, "\n")] = 0;
    uint16_t list[CELL_DMC_STEPS];
    CellDmcTrace trace = {.kind = kind, .seed = 5, .first = 2, .episodes = 1, .actions = list};
    trace.action_count = cell_dmc_trace_actions(kind, actions, list);
    assert_int_equal(trace.action_count, n);
    CellDiag *again = cell_diag_create();
    FILE *nowhere = fopen("/dev/null", "w");
    assert_false(cell_dmc_trace_print(&trace, nowhere, again));
    fclose(nowhere);
    assert_true(report_has(again, when));
    cell_diag_destroy(again);
    free(text);
  }

  // nothing changes until a reset, and an observation is there to be read
  float observation[CELL_DMC_MAX_OBSERVATION];
  kind->observe(kind, state, observation);
  assert_true(cell_env_act(kind, state, 0).truncated);
  assert_false(cell_env_check(kind, state, NULL));

  // a failure is saved and restored like any other state
  void *saved = cell_malloc(cell_env_saved_bytes(kind)), *other = open_env(kind);
  cell_env_save(kind, state, saved);
  cell_env_start(kind, other, NULL, 1);
  cell_env_restore(kind, other, saved);
  assert_false(cell_env_check(kind, other, NULL));
  cell_env_destroy(kind, other);
  free(saved);

  // the next episode begins as it would have without the failure
  kind->reset(kind, state);
  cell_env_destroy(kind, state);
  cell_diag_destroy(diag);
  no_log();
}

static void physics(void **unused) {
  (void)unused;
  cell_dmc_suite_folder(folder());
  // warnings: accelerations out of range; a step so long that the state explodes is the same
  expect_failure("dmc/walker-walk", "walker", "joint=\"right_hip\" gear=\"100\"",
                 "joint=\"right_hip\" gear=\"1e12\"", "an acceleration that is no number or huge");
  expect_failure("dmc/cheetah-run", "cheetah", "<option timestep=\"0.01\"/>",
                 "<option timestep=\"0.01\"/><size njmax=\"1\"/>",
                 "more constraints than it has room for");
  expect_failure("dmc/hopper-hop", "hopper", "<option timestep=\"0.005\"/>",
                 "<option timestep=\"0.005\"/><size nconmax=\"1\"/>",
                 "more contacts than it has room for");
  // errors: left from the middle of the library
  expect_failure("dmc/walker-run", "walker", "<option timestep=\"0.0025\"/>",
                 "<option timestep=\"0.0025\"/><size nstack=\"300\"/>", "Stack overflow");
  cell_dmc_suite_folder(NULL);
}

// other environments go on while one fails, on the same thread and on others
static void neighbours(void **unused) {
  (void)unused;
  enum { COPIES = 4 };
  cell_dmc_suite_folder(folder());
  write_model("hopper", "<option timestep=\"0.005\"/>",
              "<option timestep=\"0.005\"/><size nconmax=\"1\"/>");
  const CellEnvKind *kind = find_task("dmc/hopper-stand");
  int failed_at[2][COPIES];
  for (int round = 0; round < 2; round++) {
#pragma omp parallel for num_threads(round ? 4 : 1) schedule(static, 1)
    for (int e = 0; e < COPIES; e++) {
      void *state = open_env(kind);
      cell_env_start(kind, state, NULL, (uint32_t)e);
      failed_at[round][e] = play_to_failure(kind, state, NULL);
      cell_env_destroy(kind, state);
    }
  }
  assert_memory_equal(failed_at[0], failed_at[1], sizeof failed_at[0]);
  cell_dmc_suite_folder(NULL);
}

// the model that travels with the program is back, and nothing is left of what failed
static void afterwards(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find_task("dmc/walker-walk");
  void *state = open_env(kind);
  cell_env_start(kind, state, NULL, 5);
  for (unsigned n = 0; n < CELL_DMC_STEPS; n++) {
    cell_env_act(kind, state, some_action(kind, n));
    assert_true(cell_env_check(kind, state, NULL));
  }
  cell_env_destroy(kind, state);
}

// ---- models that do not fit ----

static void expect_refused(const char *name, const char *part) {
  CellDiag *diag = cell_diag_create();
  assert_null(cell_env_create(find_task(name), diag));
  assert_int_equal(diag->error_count, 1);
  assert_true(report_has(diag, part));
  cell_diag_destroy(diag);
  no_log();
}

static void bad_models(void **unused) {
  (void)unused;
  cell_dmc_suite_folder(folder());
  expect_refused("dmc/acrobot-swingup", "acrobot.xml");
  write_model("acrobot", "<mujoco model=\"acrobot\">", "<mujoco model=\"acrobot\"");
  expect_refused("dmc/acrobot-swingup", "acrobot.xml: XML parse error");
  write_model("acrobot", "<geom name=\"upper_arm\"", "<geom nome=\"upper_arm\"");
  expect_refused("dmc/acrobot-swingup", "unrecognized attribute: 'nome'");
  write_model("acrobot", "<mujoco model=\"acrobot\">",
              "<mujoco model=\"acrobot\"><include file=\"./common/skybox.xml\"/>");
  expect_refused("dmc/acrobot-swingup", "skybox.xml");
  write_model("acrobot", "name=\"tip\"", "name=\"top\"");
  expect_refused("dmc/acrobot-swingup", "the model of `acrobot` lacks a site named `tip`");
  write_model("acrobot", "<motor name=\"elbow\"",
              "<motor name=\"more\" joint=\"elbow\"/><motor name=\"elbow\"");
  expect_refused("dmc/acrobot-swingup",
                 "the model of `acrobot` has 2 actuators, and the task wants 1");
  write_model("acrobot", "timestep=\"0.01\"", "timestep=\"0.02\"");
  expect_refused("dmc/acrobot-swingup",
                 "steps of 0.02 s: they do not make an episode of 1000 steps");
  write_model("walker", "timestep=\"0.0025\"", "timestep=\"0.003\"");
  expect_refused("dmc/walker-walk", "steps of 0.003 s");
  write_model("reacher", "name=\"target\"", "name=\"goal\"");
  expect_refused("dmc/reacher-easy", "lacks a geom named `target`");
  write_file("quadruped.xml", "<mujoco");
  expect_refused("dmc/quadruped-run", "cannot read");
  write_file("quadruped.xml", "");
  expect_refused("dmc/quadruped-run", "cannot read");
  write_file("quadruped.xml", "<nothing/>");
  expect_refused("dmc/quadruped-run", "quadruped.xml");
  cell_dmc_suite_folder("/nonexistent");
  expect_refused("dmc/fish-swim", "/nonexistent/fish.xml");
  cell_dmc_suite_folder(NULL);
}

// includes are found beside the file, and what the suite's quadruped has more is left out
static void suite_files(void **unused) {
  (void)unused;
  char path[4096];
  snprintf(path, sizeof path, "%s/common", folder());
  mkdir(path, 0755);
  write_file("common/visual.xml", "<mujoco><visual/></mujoco>");
  write_file("common/skybox.xml", "<mujoco><asset/></mujoco>");
  write_file("common/materials.xml", "<mujoco><asset/></mujoco>");
  write_model("acrobot", "<mujoco model=\"acrobot\">",
              "<mujoco model=\"acrobot\"><include file=\"./common/visual.xml\"/>"
              "<include file=\"./common/skybox.xml\"/><include file=\"./common/materials.xml\"/>");
  write_model("quadruped", "<body name=\"torso\"",
              "<geom name=\"wall_px\" type=\"plane\" size=\"1 1 1\"/>"
              "<geom name=\"terrain\" type=\"plane\" size=\"1 1 1\"/>"
              "<body name=\"ball\"><freejoint/><geom size=\".1\"/></body>"
              "<site name=\"target\"/><body name=\"torso\"");
  static const char *const names[] = {"dmc/acrobot-swingup", "dmc/quadruped-run"};
  for (int i = 0; i < 2; i++) {
    const CellEnvKind *kind = find_task(names[i]);
    double own[CELL_DMC_MAX_OBSERVATION], suite[CELL_DMC_MAX_OBSERVATION];
    for (int k = 0; k < 2; k++) {
      cell_dmc_suite_folder(k ? folder() : NULL);
      void *state = open_env(kind);
      cell_env_start(kind, state, NULL, 4);
      for (unsigned n = 0; n < 30; n++) cell_env_act(kind, state, some_action(kind, n));
      cell_dmc_observe(kind, state, k ? suite : own);
      cell_env_destroy(kind, state);
    }
    assert_memory_equal(own, suite, (size_t)kind->observation.count * sizeof *own);
  }
  cell_dmc_suite_folder(NULL);
}

// ---- the command line ----

#define ARQ "'" CELLC_SOURCE_DIR "/examples/arq_dmc.cell' "
#define TINY                                                                                       \
  "--set l1.n=4 --set l2.n=3 --set l3.n=3 --set l1.heads=2 --set l2.heads=2 --set l3.heads=2 "     \
  "--set train.batch=2 --set train.context=2 --set train.warmup=50 --set train.replay=100 "        \
  "--backend interp --quiet "

static void commands(void **unused) {
  (void)unused;
  // without the library: one error, its own exit code, nothing written; what needs no physics works
  static const char *const without[] = {"cellc env trace dmc/walker-walk",
                                        "cellc train " ARQ TINY
                                        "--env dmc/walker-walk --runs left"};
  for (int i = 0; i < 2; i++) {
    CellText line = {0};
    cell_text_printf(&line, "CELLC_LIBMUJOCO=/nonexistent.so; export CELLC_LIBMUJOCO; %s",
                     without[i]);
    expect_line(line.data, 3, "apt-get install libmujoco-dev");
    cell_text_free(&line);
  }
  expect_line("test ! -e left", 0, "");
  expect_line("CELLC_LIBMUJOCO=/nonexistent.so cellc env ls", 0, "dmc/walker-walk");
  expect_line("export CELLC_LIBMUJOCO=/nonexistent.so; cellc check " ARQ "--env dmc/walker-walk", 0,
              "");
  // another library
  expect_line("export CELLC_LIBMUJOCO=libm.so.6; cellc env trace dmc/walker-walk", 3,
              "it lacks `mj_");
  // words
  expect_line("cellc env trace dmc/walker-wolk", 2, "did you mean `dmc/walker-walk`?");
  expect_line("cellc env trace dmc/walker-walk --steps 5", 2, "takes only --seed");
  expect_line("cellc env trace dmc/walker-walk --actions lcg:x", 2, "wants lcg:STATE");
  expect_line("cellc env trace dmc/walker-walk --actions hex:7f", 2, "wants lcg:STATE");
  expect_line("cellc env trace dmc/walker-walk --actions file.csv", 2, "wants lcg:STATE");
  expect_line("cellc env trace dmc/walker-walk --episodes -1", 2, "--episodes -1");
  expect_line("cellc env trace dmc/walker-walk --episode 1e9", 2, "--episode 1e9");
  expect_line("cellc env trace dmc/walker-walk --actions hex:00 --episodes 2", 2, "of one episode");
  expect_line("cellc env trace minatar/breakout --episodes 2", 2, "no task of the control suite");
  expect_line("cellc env trace dmc/walker-walk --suite-dir /nonexistent", 1,
              "/nonexistent/walker.xml");
  expect_line("CELLC_SUITE_DIR=/nonexistent cellc env trace dmc/walker-walk", 1,
              "/nonexistent/walker.xml");
  expect_line("cellc train " ARQ TINY "--env dmc/walker-walk --suite-dir /nonexistent", 1,
              "/nonexistent/walker.xml");
  // a run that fails says what of, keeps its folder, and leaves no log of the library's
  write_model("hopper", "<option timestep=\"0.005\"/>",
              "<option timestep=\"0.005\"/><size nconmax=\"1\"/>");
  expect_line("cellc train " ARQ TINY
              "--env dmc/hopper-hop --suite-dir . --steps 400 --runs failed",
              1, "the physics of `dmc/hopper-hop` failed in step");
  expect_line("grep -l '\"status\": \"failed\"' failed/*/run.json", 0, "run.json");
  expect_line("test -s failed/*/params.safetensors", 0, "");
  expect_line("test ! -e MUJOCO_LOG.TXT", 0, "");
  // one that does not is evaluated
  expect_line("cellc train " ARQ TINY "--env dmc/cartpole-swingup --envs 2 --steps 300 --runs runs",
              0, "runs/arq_dmc-cartpole-swingup");
  // a run is the same on any number of threads, and environments are seeded apart from it
#define WALK "cellc train " ARQ TINY "--env dmc/walker-walk --envs 3 --steps 600 --seed 2 --runs "
  expect_line(WALK "one --threads 1 && " WALK "two --threads 2 && " WALK "seeded --set env_seed=5",
              0, "");
  expect_line("cmp one/*/params.safetensors two/*/params.safetensors", 0, "");
  expect_line("cmp one/*/params.safetensors seeded/*/params.safetensors", 1, "differ");
  // a run remembers the folder of its models; another may be named
  write_model("cartpole", "cartpole", "cartpole");
  expect_line("mkdir suite && cp cartpole.xml suite && cd suite && cellc train " ARQ TINY
              "--env dmc/cartpole-swingup --suite-dir . --steps 60 --runs ../suited",
              0, "suited/");
  expect_line("grep -c '\"suite_dir\": \"/.*/suite\"' suited/*/run.json", 0, "1");
  expect_line("grep -c '\"suite_dir\": null' runs/*/run.json", 0, "1");
#define EVAL "cellc eval suited/* --episodes 1 --max-steps 5 --backend interp "
  expect_line(EVAL, 0, "policy");
  expect_line("rm -r suite && " EVAL, 1, "/suite/cartpole.xml");
  expect_line(EVAL "--suite-dir .", 0, "policy");
  expect_line("CELLC_SUITE_DIR=. " EVAL, 0, "policy");
  // an action is shown as what it does with each actuator
  expect_line("cellc play dmc/cheetah-run --max-steps 2 | grep -c 'action [-+]\\{6\\}$'", 0, "2");
  expect_line("cellc eval runs/* --episodes 2 --max-steps 50 --backend interp", 0, "policy");
}

static int prepare(void **state) {
  return make_folder(state) || chdir(folder());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(physics),    cmocka_unit_test(neighbours),  cmocka_unit_test(afterwards),
      cmocka_unit_test(bad_models), cmocka_unit_test(suite_files), cmocka_unit_test(commands),
  };
  return cmocka_run_group_tests(tests, prepare, remove_folder);
}
