/* a run's folder, from outside: what is in it at every kind of end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/progress.h"
#include "runtime/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- the smallest agent: it never looks, and may break ----

typedef struct {
  CellAgent agent;
  int32_t action;
  float loss;
  int updates, diverge_at, stop_at;
  bool bad_params;
  int saves;
  volatile sig_atomic_t *stop;
} Stub;

static bool stub_run(void *context, const char *program, CellDiag *diag) {
  (void)diag;
  Stub *s = context;
  if (strcmp(program, "update") != 0) return true;
  s->loss = ++s->updates == s->diverge_at ? INFINITY : 0.5F;
  if (s->updates == s->stop_at) *s->stop = 1;
  return true;
}

static bool stub_tensor(void *context, const char *program, const char *name, CellTensorData *out) {
  Stub *s = context;
  if (strcmp(program, "act") == 0 && strcmp(name, "action") == 0) {
    *out = (CellTensorData){.data = &s->action, .dtype = CELL_I};
  } else if (strcmp(name, "metric/l1/loss") == 0) {
    *out = (CellTensorData){.data = &s->loss, .dtype = CELL_F};
  } else {
    return false;
  }
  return true;
}

static bool stub_save(void *context, const char *path, const char *const *metadata, bool *finite,
                      CellDiag *diag) {
  Stub *s = context;
  s->saves++;
  *finite = !s->bad_params || s->updates == 0;
  if (!*finite) return false;
  char text[64];
  snprintf(text, sizeof text, "%s %s\n", metadata[8], metadata[9]);
  return cell_write_file(path, text, strlen(text), diag);
}

// ---- a run in a fresh place ----

typedef struct {
  char root[64];
  char folder[512];
  Stub stub;
  volatile sig_atomic_t stop;
  CellDiag *diag;
  CellRunEnd end;
  const char *runs; // below root; NULL: "runs"
  int64_t steps;
} Case;

static Case *make_case(void) {
  Case *c = cell_malloc(sizeof *c);
  strcpy(c->root, "/tmp/cellc-test-run-XXXXXX");
  assert_non_null(mkdtemp(c->root));
  c->diag = cell_diag_create();
  static const char *const metric = "l1/loss";
  c->stub.agent = (CellAgent){.context = &c->stub,
                              .run = stub_run,
                              .tensor = stub_tensor,
                              .envs = 1,
                              .batch = 1,
                              .metrics = &metric,
                              .metric_count = 1};
  c->stub.stop = &c->stop;
  c->steps = 3000;
  return c;
}

static void free_case(Case *c) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", c->root);
  assert_int_equal(system(command), 0);
  cell_diag_destroy(c->diag);
  free(c);
}

static bool start(Case *c, FILE *json) {
  char root[128];
  snprintf(root, sizeof root, "%s/%s", c->root, c->runs ? c->runs : "a/runs");
  CellRunFolderOptions folder_options = {.root = root,
                                         .name = "net",
                                         .env = "minatar/space_invaders",
                                         .seed = 0,
                                         .source = "network net\n",
                                         .source_length = 12};
  CellRunFolder *folder = cell_run_folder_create(&folder_options, c->diag);
  if (!folder) return false;
  snprintf(c->folder, sizeof c->folder, "%s", cell_run_folder_path(folder));
  CellTrainerOptions trainer_options = {
      .train = {.steps = c->steps, .warmup = 100, .every = 4, .replay = 1000, .env_seed = -1},
      .env = cell_env_find("minatar/space_invaders", NULL),
      .agent = &c->stub.agent};
  CellTrainer *trainer = cell_trainer_create(&trainer_options, c->diag);
  assert_non_null(trainer);
  json_t *description =
      json_pack("{s:s, s:s, s:s, s:i, s:[s]}", "schema", "cellc.run.1", "name", "net", "env",
                "minatar/space_invaders", "seed", 0, "sets", "train.batch=1");
  CellTrainingOptions options = {.trainer = trainer,
                                 .folder = folder,
                                 .name = "net",
                                 .env = "minatar/space_invaders",
                                 .description = description,
                                 .save = stub_save,
                                 .save_context = &c->stub,
                                 .expected_seconds = -1,
                                 .save_seconds = 600,
                                 .log_steps = 1000,
                                 .json = json,
                                 .stop = &c->stop};
  c->end = cell_training_run(&options, c->diag);
  json_decref(description);
  cell_trainer_destroy(trainer);
  cell_run_folder_close(folder, c->diag);
  return true;
}

static char *read_text(const Case *c, const char *name) {
  char path[768];
  size_t length;
  snprintf(path, sizeof path, "%s/%s", c->folder, name);
  char *text = cell_read_file(path, 1 << 20, &length, c->diag);
  assert_non_null(text);
  return text;
}

static void expect_text(const Case *c, const char *name, const char *expected) {
  char *text = read_text(c, name);
  assert_string_equal(text, expected);
  free(text);
}

static void expect_status(const Case *c, const char *status, int64_t step) {
  CellRun run;
  assert_true(cell_run_open(c->folder, &run, c->diag));
  assert_string_equal(json_string_value(json_object_get(run.description, "status")), status);
  assert_int_equal(json_integer_value(json_object_get(run.description, "step")), step);
  assert_string_equal(run.env, "minatar/space_invaders");
  assert_int_equal(run.set_count, 1);
  assert_string_equal(run.sets[0], "train.batch=1");
  cell_run_close(&run);
}

static int lines(const char *text) {
  int count = 0;
  for (; *text; text++) count += *text == '\n';
  return count;
}

// ---- tests ----

static void test_a_whole_run(void **state) {
  (void)state;
  Case *c = make_case();
  FILE *json = tmpfile();
  assert_true(start(c, json));
  assert_int_equal(c->end, CELL_RUN_FINISHED);
  assert_int_equal(c->diag->error_count, 0);
  assert_non_null(strstr(c->folder, "/a/runs/net-space_invaders-s0-2"));
  expect_status(c, "finished", 3000);
  expect_text(c, "spec.cell", "network net\n");
  expect_text(c, "params.safetensors", "step 3000\n");
  assert_int_equal(c->stub.saves, 2);
  char *metrics = read_text(c, "metrics.jsonl");
  assert_int_equal(lines(metrics), 3);
  assert_non_null(strstr(metrics, "\"l1/loss\":0.5"));
  free(metrics);
  // start, three lines of metrics, end
  char line[4096];
  rewind(json);
  int count = 0;
  for (; fgets(line, sizeof line, json); count++) {
    json_t *value = json_loads(line, 0, NULL);
    assert_non_null(value);
    const char *event = json_string_value(json_object_get(value, "event"));
    assert_string_equal(event, count == 0 ? "start" : count == 4 ? "end" : "metrics");
    json_decref(value);
  }
  assert_int_equal(count, 5);
  fclose(json);
  // episodes.csv says what the run says
  CellRun run;
  CellRunEpisode *episodes;
  int episode_count;
  assert_true(cell_run_open(c->folder, &run, c->diag));
  assert_true(cell_run_episodes(&run, &episodes, &episode_count, c->diag));
  assert_int_equal(episode_count, json_integer_value(json_object_get(run.description, "episodes")));
  assert_true(episode_count > 10);
  int64_t step = 0;
  for (int i = 0; i < episode_count; i++) {
    step += episodes[i].length;
    assert_int_equal(episodes[i].step, step);
  }
  cell_run_close(&run);
  // a second run of the same second has a folder of its own
  char first[512];
  strcpy(first, c->folder);
  assert_true(start(c, NULL));
  assert_string_not_equal(first, c->folder);
  free_case(c);
}

static void test_stop(void **state) {
  (void)state;
  Case *c = make_case();
  c->stub.stop_at = 100;
  assert_true(start(c, NULL));
  assert_int_equal(c->end, CELL_RUN_STOPPED);
  // update 100 is in step 500, which is finished
  expect_status(c, "stopped", 501);
  expect_text(c, "params.safetensors", "step 501\n");
  assert_int_equal(c->diag->error_count, 0);
  free_case(c);
}

static void test_divergence_keeps_the_last_good_parameters(void **state) {
  (void)state;
  Case *c = make_case();
  c->stub.diverge_at = 10;
  assert_true(start(c, NULL));
  assert_int_equal(c->end, CELL_RUN_DIVERGED);
  expect_text(c, "params.safetensors", "step 0\n");
  assert_non_null(strstr(c->diag->records[0].message, "diverged"));
  assert_non_null(strstr(c->diag->records[0].help, "params.safetensors"));
  free_case(c);
  // finite losses, but a parameter is not
  c = make_case();
  c->stub.bad_params = true;
  assert_true(start(c, NULL));
  assert_int_equal(c->end, CELL_RUN_DIVERGED);
  expect_text(c, "params.safetensors", "step 0\n");
  expect_status(c, "diverged", 3000);
  free_case(c);
}

static void test_a_place_that_cannot_be_written(void **state) {
  (void)state;
  Case *c = make_case();
  char path[128];
  snprintf(path, sizeof path, "%s/file", c->root);
  assert_true(cell_write_file(path, "x", 1, c->diag));
  c->runs = "file";
  assert_false(start(c, NULL));
  c->runs = "file/below";
  assert_false(start(c, NULL));
  assert_int_equal(c->diag->error_count, 2);
  assert_non_null(strstr(c->diag->records[0].message, "/file"));
  free_case(c);
}

// a disk that fills up while the run goes on: what was written stays whole
static void test_a_full_disk(void **state) {
  (void)state;
  Case *c = make_case();
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit before, limit;
  getrlimit(RLIMIT_FSIZE, &before);
  limit = before, limit.rlim_cur = 1000;
  c->steps = 100000;
  setrlimit(RLIMIT_FSIZE, &limit);
  bool started = start(c, NULL);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_true(started);
  assert_int_equal(c->end, CELL_RUN_FAILED);
  assert_true(c->diag->error_count >= 1);
  assert_non_null(strstr(c->diag->records[0].message, "cannot write"));
  char *episodes = read_text(c, "episodes.csv");
  size_t length = strlen(episodes);
  assert_true(length <= 1000 && length > 900 && episodes[length - 1] == '\n');
  free(episodes);
  // parameters are saved on the way out: they fit
  char *params = read_text(c, "params.safetensors");
  assert_string_not_equal(params, "step 0\n");
  free(params);
  free_case(c);
}

static void test_broken_runs(void **state) {
  (void)state;
  Case *c = make_case();
  CellRun run;
  assert_false(cell_run_open(c->root, &run, c->diag));
  cell_run_close(&run);
  assert_true(start(c, NULL));
  char path[768];
  snprintf(path, sizeof path, "%s/run.json", c->folder);
  const char *const broken[] = {"", "{", "[]", "{\"schema\": \"other\"}",
                                "{\"schema\": \"cellc.run.1\"}"};
  for (int i = 0; i < 5; i++) {
    assert_true(cell_write_file(path, broken[i], strlen(broken[i]), c->diag));
    CellDiag *diag = cell_diag_create();
    assert_false(cell_run_open(c->folder, &run, diag));
    cell_run_close(&run);
    assert_int_equal(diag->error_count, 1);
    cell_diag_destroy(diag);
  }
  free_case(c);
}

static void test_progress_line(void **state) {
  (void)state;
  CellProgressView view = {.name = "arq",
                           .env = "breakout",
                           .seed = 1,
                           .step = 1800000,
                           .steps = 4000000,
                           .episodes = 400,
                           .mean_return = 21.4,
                           .updates_per_second = 3.1,
                           .seconds_left = 2472};
  CellText text = {0};
  cell_progress_line(&view, 8, &text);
  assert_string_equal(text.data, "arq breakout s1 [###.....] 45 %  1.80M/4.00M  return 21.4 (100)  "
                                 "3.1 upd/s  left 0:41:12");
  cell_text_free(&text);
  view =
      (CellProgressView){.name = "a", .env = "b", .step = 999, .steps = 50000, .seconds_left = -1};
  cell_progress_line(&view, 0, &text);
  assert_string_equal(text.data, "a b s0 1 %  999/50.0k  warm-up  ");
  cell_text_free(&text);
  char out[32];
  const struct {
    double count;
    const char *text;
  } counts[] = {{0, "0"},         {999, "999"},      {1000, "1.00k"},
                {99949, "99.9k"}, {99999, "100k"},   {999999, "1.00M"},
                {4e6, "4.00M"},   {1.77e11, "177G"}, {7.2e13, "72.0T"}};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    cell_format_count(counts[i].count, out);
    assert_string_equal(out, counts[i].text);
  }
  cell_format_seconds(59.6, out);
  assert_string_equal(out, "0:01:00");
  cell_format_seconds(180000, out);
  assert_string_equal(out, "2 d 02:00");
  cell_format_seconds(NAN, out);
  assert_string_equal(out, "?");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_whole_run),
      cmocka_unit_test(test_stop),
      cmocka_unit_test(test_divergence_keeps_the_last_good_parameters),
      cmocka_unit_test(test_a_place_that_cannot_be_written),
      cmocka_unit_test(test_a_full_disk),
      cmocka_unit_test(test_broken_runs),
      cmocka_unit_test(test_progress_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
