/* replay on the GPU: batches that it draws and gathers, on a device of fibers, against those of the host */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/random.h"
#include "runtime/replay.h"
#include "tests/support/ir_text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBS = 52, WORDS = 2, BATCH = 5, CONTEXT = 3, ACTIONS = 6 };

// gives every input back, doubled; %s: the form of observations. Index inputs are read by what they select.
static const char program[] = "graph update\n"
                              "axis time 3\n"
                              "axis batch 5\n"
                              "axis candidate 2\n"
                              "%%0 = input \"context\" : %s[52] {time,batch}\n"
                              "%%1 = input \"obs\" : %s[52] {batch}\n"
                              "%%2 = input \"next_obs\" : %s[52] {batch}\n"
                              "%%3 = input \"action\" : i {batch}\n"
                              "%%4 = input \"reward\" : f {batch}\n"
                              "%%5 = input \"terminated\" : f {batch}\n"
                              "%%6 = input \"params/table\" : f[6] {}\n"
                              "%%7 = const 2 : f {}\n"
                              "%%8 = mul %%0, %%7 : f[52] {time,batch}\n"
                              "%%9 = mul %%1, %%7 : f[52] {batch}\n"
                              "%%10 = mul %%2, %%7 : f[52] {batch}\n"
                              "%%11 = take %%6 dim 0, %%3 : f {batch}\n"
                              "%%12 = mul %%4, %%7 : f {batch}\n"
                              "%%13 = mul %%5, %%7 : f {batch}\n"
                              "output \"context2\" %%8\n"
                              "output \"obs2\" %%9\n"
                              "output \"next_obs2\" %%10\n"
                              "output \"action2\" %%11\n"
                              "output \"reward2\" %%12\n"
                              "output \"terminated2\" %%13\n";

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  CellEngine *engine;
} Device;

static Device open_device(const char *form) {
  Device d = {.arena = cell_arena_create(), .diag = cell_diag_create()};
  char text[4096];
  snprintf(text, sizeof text, program, form, form, form);
  CellModule *m = CELL_NEW(d.arena, CellModule);
  m->arena = d.arena, m->name = "m";
  CellGraph *g = cell_test_parse(d.arena, text);
  CELL_PUSH(d.arena, m->programs, m->program_count, m->program_capacity, g);
  const CellCudaArch *arch = cell_cuda_arch("sm_90");
  CellTarget target = cell_cuda_target(arch);
  CellPlan *plan = cell_plan_create(d.arena, m, &target, NULL, d.diag);
  assert_non_null(plan);
  CellEngineOptions options = {.cache_dir = "", .gpu = arch};
  d.engine = cell_engine_create(m, plan, CELL_BACKEND_CUDA, &options, d.diag);
  if (!d.engine) cell_diag_print(d.diag, stdout, false);
  assert_non_null(d.engine);
  double table[ACTIONS];
  for (int i = 0; i < ACTIONS; i++) table[i] = 2 * i;
  assert_true(cell_engine_set(d.engine, NULL, "params/table", table, ACTIONS));
  return d;
}

static void close_device(Device *d) {
  cell_engine_destroy(d->engine);
  cell_diag_destroy(d->diag);
  cell_arena_destroy(d->arena);
}

static CellTensorData make_tensor(int64_t count, CellDtype dtype) {
  return (CellTensorData){.data = cell_malloc((size_t)count * 4), .count = count, .dtype = dtype};
}

static CellBatch make_batch(void) {
  return (CellBatch){.batch = BATCH,
                     .context = make_tensor(CONTEXT * BATCH * OBS, CELL_F),
                     .obs = make_tensor(BATCH * OBS, CELL_F),
                     .next_obs = make_tensor(BATCH * OBS, CELL_F),
                     .action = make_tensor(BATCH, CELL_F),
                     .reward = make_tensor(BATCH, CELL_F),
                     .terminated = make_tensor(BATCH, CELL_F)};
}

// the engine's batch, out of the program's outputs, is the expected one
static void expect_batch(Device *d, const CellBatch *expected) {
  const CellTensorData *tensors[] = {&expected->context, &expected->obs,    &expected->next_obs,
                                     &expected->action,  &expected->reward, &expected->terminated};
  static const char *const names[] = {"context2", "obs2",    "next_obs2",
                                      "action2",  "reward2", "terminated2"};
  static double got[CONTEXT * BATCH * OBS];
  bool good = cell_engine_run(d->engine, "update", d->diag);
  if (!good) cell_diag_print(d->diag, stdout, false);
  assert_true(good);
  for (int i = 0; i < 6; i++) {
    int64_t count = tensors[i]->count;
    assert_true(cell_engine_get(d->engine, "update", names[i], got, count));
    for (int64_t k = 0; k < count; k++)
      if (got[k] != 2 * (double)((const float *)tensors[i]->data)[k])
        fail_msg("%s[%d] is %g, want 2 * %g", names[i], (int)k, got[k],
                 (double)((const float *)tensors[i]->data)[k]);
  }
}

static void make_observation(int number, bool bits, void *out) {
  uint32_t words[4];
  cell_random(99, CELL_STREAM_SYNTHETIC, (uint64_t)number, 0, words);
  float *floats = out;
  if (bits)
    memcpy(out, (uint32_t[]){words[0], words[1] & 0xff}, 8);
  else
    for (int i = 0; i < OBS; i++) floats[i] = (float)(number * 100 + i);
}

typedef struct {
  int envs;
  int64_t capacity;
  bool bits, terminated_only;
  const char *form;  /* of the program's observations */
  int ends;          /* one transition in so many ends an episode */
  int steps, every;  /* sweeps; a batch after so many */
  int full_at;       /* from this sweep on the GPU has no memory left; 0: never */
  bool host_program; /* the first batch comes from the host, before there is a mirror */
} Play;

// two replays with the same content, one of them with a copy on the GPU
static void play(const Play *p, uint64_t seed) {
  Device d = open_device(p->form);
  CellReplayOptions options = {.capacity = p->capacity,
                               .envs = p->envs,
                               .context = CONTEXT,
                               .observation = OBS,
                               .actions = seed % 2 ? 6 : 0, // six fit behind 52 bits
                               .bits = p->bits,
                               .terminated_only = p->terminated_only};
  CellReplay *plain = cell_replay_create(&options, d.diag),
             *mirrored = cell_replay_create(&options, d.diag);
  char message[512];
  if (p->host_program) assert_true(cell_engine_run(d.engine, "update", d.diag));
  bool there = cell_replay_mirror(mirrored, d.engine, "update", BATCH, message, sizeof message);
  if (!there) fail_msg("no mirror: %s", message);
  assert_true(cell_replay_mirror_bytes(mirrored) > 0);
  CellBatch batch = make_batch(), in_engine = {.batch = BATCH};
  assert_true(cell_engine_tensor(d.engine, "update", "context", &in_engine.context));
  assert_true(cell_engine_tensor(d.engine, "update", "obs", &in_engine.obs));
  assert_true(cell_engine_tensor(d.engine, "update", "next_obs", &in_engine.next_obs));
  assert_true(cell_engine_tensor(d.engine, "update", "action", &in_engine.action));
  assert_true(cell_engine_tensor(d.engine, "update", "reward", &in_engine.reward));
  assert_true(cell_engine_tensor(d.engine, "update", "terminated", &in_engine.terminated));
  uint32_t observation[OBS], words[4];
  int number = 0;
  CellReplay *both[] = {plain, mirrored};
  for (int e = 0; e < p->envs; e++) {
    make_observation(number++, p->bits, observation);
    for (int i = 0; i < 2; i++) cell_replay_begin(both[i], e, observation);
  }
  for (int n = 1; n <= p->steps; n++) {
    for (int e = 0; e < p->envs; e++) {
      cell_random(seed, CELL_STREAM_SYNTHETIC, (uint64_t)n, (uint32_t)e, words);
      bool terminated = words[0] % (uint32_t)p->ends == 0;
      bool truncated = !terminated && words[1] % 11 == 0;
      make_observation(number++, p->bits, observation);
      for (int i = 0; i < 2; i++)
        cell_replay_add(both[i], e, (int)(words[2] % ACTIONS), (float)(words[3] % 7) - 3,
                        terminated, truncated, observation);
      if (!terminated && !truncated) continue;
      make_observation(number++, p->bits, observation);
      for (int i = 0; i < 2; i++) cell_replay_begin(both[i], e, observation);
    }
    if (p->full_at && n == p->full_at) setenv("CELLC_FAKE_CUDA_MEMORY", "1", 1);
    if (n % p->every != 0) continue;
    cell_replay_sample(plain, seed << 33 | 5, (uint64_t)n << 31, &batch, NULL);
    cell_replay_sample(mirrored, seed << 33 | 5, (uint64_t)n << 31, &in_engine, d.diag);
    expect_batch(&d, &batch);
  }
  unsetenv("CELLC_FAKE_CUDA_MEMORY");
  if (p->full_at) {
    // the host's memory from there on, said once
    assert_int_equal(cell_replay_mirror_bytes(mirrored), 0);
    assert_int_equal(d.diag->warning_count, 1);
    assert_non_null(strstr(d.diag->records[0].message, "goes on in the host's memory"));
    assert_non_null(strstr(d.diag->records[0].message, "out of memory"));
  } else {
    assert_true(cell_replay_mirror_bytes(mirrored) > 0);
    assert_int_equal(d.diag->record_count, 0);
  }
  CellTensorData *tensors[] = {&batch.context, &batch.obs,    &batch.next_obs,
                               &batch.action,  &batch.reward, &batch.terminated};
  for (int i = 0; i < 6; i++) free(tensors[i]->data);
  cell_replay_destroy(plain);
  cell_replay_destroy(mirrored);
  close_device(&d);
}

static void bits(void **state) {
  (void)state;
  const Play one = {
      .envs = 1, .capacity = 50, .bits = true, .form = "bits", .ends = 9, .steps = 120, .every = 4};
  play(&one, 1);
  // many more rows than one upload holds, overwritten more than once between two batches
  const Play rare = {.envs = 1,
                     .capacity = 1500,
                     .bits = true,
                     .terminated_only = true,
                     .form = "bits",
                     .ends = 30,
                     .steps = 4000,
                     .every = 2000};
  play(&rare, 2);
}

static void floats(void **state) {
  (void)state;
  const Play one = {.envs = 1, .capacity = 37, .form = "f", .ends = 9, .steps = 90, .every = 3};
  play(&one, 3);
  const Play spread = {.envs = 1,
                       .capacity = 64,
                       .bits = true,
                       .form = "f",
                       .ends = 5,
                       .steps = 80,
                       .every = 5,
                       .host_program = true};
  play(&spread, 4);
}

// final observations outgrow their room, in several rings
static void several_environments(void **state) {
  (void)state;
  const Play three = {.envs = 3,
                      .capacity = 300,
                      .bits = true,
                      .form = "bits",
                      .ends = 2,
                      .steps = 140,
                      .every = 7};
  play(&three, 6);
}

static void memory_runs_out(void **state) {
  (void)state;
  const Play full = {.envs = 2,
                     .capacity = 200,
                     .bits = true,
                     .form = "bits",
                     .ends = 2,
                     .steps = 80,
                     .every = 2,
                     .full_at = 10};
  play(&full, 7);
}

// lines of the fake driver's log that begin so, and the bytes that they name
static int logged(const char *path, const char *what, long *bytes) {
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  char line[256];
  int count = 0;
  *bytes = 0;
  while (fgets(line, sizeof line, f))
    if (strncmp(line, what, strlen(what)) == 0) count++, *bytes += atol(line + strlen(what));
  fclose(f);
  return count;
}

// an update takes to the device what is new, and nine words
static void little_is_sent(void **state) {
  (void)state;
  Device d = open_device("bits");
  CellReplayOptions options = {.capacity = 100,
                               .envs = 1,
                               .context = CONTEXT,
                               .observation = OBS,
                               .actions = ACTIONS,
                               .bits = true};
  CellReplay *replay = cell_replay_create(&options, d.diag);
  char message[512], log[] = "/tmp/cellc-test-log-XXXXXX";
  int file = mkstemp(log);
  assert_true(file >= 0);
  close(file);
  assert_true(cell_replay_mirror(replay, d.engine, "update", BATCH, message, sizeof message));
  uint32_t observation[OBS];
  make_observation(0, true, observation);
  cell_replay_begin(replay, 0, observation);
  CellBatch nothing = {.batch = BATCH};
  long bytes;
  for (int n = 0; n < 20; n++) {
    for (int i = 0; i < 4; i++) cell_replay_add(replay, 0, 1, 1, false, false, observation);
    if (n == 10) setenv("CELLC_FAKE_CUDA_LOG", log, 1);
    cell_replay_sample(replay, 1, (uint64_t)n, &nothing, d.diag);
    assert_true(cell_engine_run(d.engine, "update", d.diag));
  }
  unsetenv("CELLC_FAKE_CUDA_LOG");
  // ten updates: four transitions and the waiting row each, the row and a head of five
  assert_int_equal(logged(log, "up ", &bytes), 10);
  assert_int_equal(bytes, 10 * 5 * (5 + WORDS + 1) * 4);
  assert_int_equal(logged(log, "graph", &bytes), 10);
  unlink(log);
  cell_replay_destroy(replay);
  close_device(&d);
}

// other forms of input, other back ends: no mirror, and why
static void refused(void **state) {
  (void)state;
  Device d = open_device("bits");
  CellReplayOptions options = {.capacity = 10, .envs = 1, .context = CONTEXT, .observation = OBS};
  CellReplay *replay = cell_replay_create(&options, d.diag);
  char message[512];
  assert_false(cell_replay_mirror(replay, d.engine, "update", BATCH, message, sizeof message));
  assert_string_equal(message, "`context` of update has a form of its own");
  setenv("CELLC_FAKE_CUDA_MEMORY", "40000000", 1);
  cell_replay_destroy(replay);
  options.bits = true;
  replay = cell_replay_create(&options, d.diag);
  assert_false(cell_replay_mirror(replay, d.engine, "update", BATCH, message, sizeof message));
  unsetenv("CELLC_FAKE_CUDA_MEMORY");
  assert_string_equal(message, "the GPU could not give memory to the replay: out of memory");
  cell_replay_destroy(replay);
  close_device(&d);
}

int main(void) {
  setenv("CELLC_CUDA_DRIVER", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  setenv("CELLC_NVRTC", CELLC_BINARY_DIR "/tests/fake_cuda.so", 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(bits),
                                     cmocka_unit_test(floats),
                                     cmocka_unit_test(several_environments),
                                     cmocka_unit_test(memory_runs_out),
                                     cmocka_unit_test(little_is_sent),
                                     cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
