/* replay: every sampled tensor against a plain list of all that ever happened */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/random.h"
#include "runtime/replay.h"

#include <stdlib.h>
#include <string.h>

enum { OBS = 52, WORDS = 2, MOST = 600, MOST_CONTEXT = 12, MOST_ENVS = 3 };

// the plain list: observation numbers stand for observations
typedef struct {
  int obs, next, first; // first: index of the episode's first transition, as contexts see it
  int action;
  float reward;
  bool terminated;
} Entry;

// a bit pattern and floats that belong to a number, all different
static void make_observation(int number, bool bits, void *out) {
  uint32_t words[4];
  cell_random(99, CELL_STREAM_SYNTHETIC, (uint64_t)number, 0, words);
  if (bits) {
    uint32_t *to = out;
    to[0] = words[0], to[1] = words[1] & 0xff;
  } else {
    float *to = out;
    for (int i = 0; i < OBS; i++) to[i] = (float)(number * 100 + i);
  }
}

static void expect_row(const CellTensorData *tensor, int64_t row, int number, bool bits) {
  uint32_t plain[OBS];
  make_observation(number, bits, plain);
  for (int i = 0; i < OBS; i++) {
    float value;
    if (bits)
      value = (float)(plain[i / 32] >> (i % 32) & 1);
    else
      memcpy(&value, &plain[i], 4);
    double stored;
    if (tensor->wide) {
      stored = ((const double *)tensor->data)[row * OBS + i];
    } else if (tensor->dtype == CELL_BITS) {
      stored = ((const uint32_t *)tensor->data)[row * WORDS + i / 32] >> (i % 32) & 1;
    } else {
      stored = (double)((const float *)tensor->data)[row * OBS + i];
    }
    assert_true(stored == (double)value);
  }
}

static CellTensorData make_tensor(int64_t rows, int entries, CellDtype dtype, bool wide) {
  CellTensorData t = {.dtype = dtype, .wide = wide, .bit_row = dtype == CELL_BITS ? entries : 0};
  t.count = rows * (dtype == CELL_BITS && !wide ? (entries + 31) / 32 : entries);
  t.data = cell_malloc((size_t)t.count * (wide ? 8 : 4));
  return t;
}

// plays random episodes and, again and again, compares all that can be sampled with the list
static void play(int envs, int64_t capacity, int context, bool bits, bool wide,
                 bool terminated_only, uint64_t seed) {
  static Entry list[MOST_ENVS][MOST];
  int first[MOST_ENVS] = {0}, current[MOST_ENVS], next_number = 0;
  CellDiag *diag = cell_diag_create();
  CellReplayOptions options = {.capacity = capacity,
                               .envs = envs,
                               .context = context,
                               .observation = OBS,
                               .actions = seed % 2 ? 6 : 0, // six fit behind 52 bits
                               .bits = bits,
                               .terminated_only = terminated_only};
  CellReplay *replay = cell_replay_create(&options, diag);
  CellDtype form = bits ? CELL_BITS : CELL_F;
  CellBatch batch = {.batch = 2,
                     .context = make_tensor((int64_t)2 * context, OBS, form, wide),
                     .obs = make_tensor(2, OBS, form, wide),
                     .next_obs = make_tensor(2, OBS, form, wide),
                     .action = make_tensor(2, 1, CELL_I, wide),
                     .reward = make_tensor(2, 1, CELL_F, wide),
                     .terminated = make_tensor(2, 1, CELL_F, wide)};
  uint32_t observation[OBS];
  for (int e = 0; e < envs; e++) {
    current[e] = next_number;
    make_observation(next_number++, bits, observation);
    cell_replay_begin(replay, e, observation);
  }
  for (int n = 0; n < MOST; n++) {
    for (int e = 0; e < envs; e++) {
      uint32_t words[4];
      cell_random(seed, CELL_STREAM_SYNTHETIC, (uint64_t)n, (uint32_t)e, words);
      bool terminated = words[0] % 9 == 0, truncated = !terminated && words[1] % 11 == 0;
      Entry entry = {.obs = current[e],
                     .next = next_number,
                     .first = first[e],
                     .action = (int)(words[2] % 6),
                     .reward = (float)(words[3] % 5),
                     .terminated = terminated};
      make_observation(next_number++, bits, observation);
      cell_replay_add(replay, e, entry.action, entry.reward, terminated, truncated, observation);
      current[e] = entry.next;
      list[e][n] = entry;
      if (terminated || truncated) {
        current[e] = next_number;
        make_observation(next_number++, bits, observation);
        cell_replay_begin(replay, e, observation);
        if (terminated || !terminated_only) first[e] = n + 1;
      }
    }
    if (n % 7 != 3 && n > 40) continue;
    int64_t per = n + 1 < capacity / envs ? n + 1 : capacity / envs;
    assert_int_equal(cell_replay_filled(replay), per * envs);
    assert_int_equal(cell_replay_added(replay), (n + 1) * envs);
    for (int64_t index = 0; index < per * envs; index++) {
      int e = (int)(index % envs), at = (int)(n + 1 - per + index / envs);
      const Entry *entry = &list[e][at];
      int b = (int)(index % 2);
      cell_replay_gather(replay, index, b, &batch);
      for (int c = 0; c < context; c++) {
        int of = at - context + c;
        if (of < entry->first) of = entry->first;
        expect_row(&batch.context, (int64_t)c * 2 + b, list[e][of].obs, bits);
      }
      expect_row(&batch.obs, b, entry->obs, bits);
      expect_row(&batch.next_obs, b, entry->next, bits);
      assert_true(cell_get_number(&batch.action, b) == entry->action);
      assert_true(cell_get_number(&batch.reward, b) == (double)entry->reward);
      assert_true(cell_get_number(&batch.terminated, b) == entry->terminated);
    }
  }
  CellTensorData *tensors[] = {&batch.context, &batch.obs,    &batch.next_obs,
                               &batch.action,  &batch.reward, &batch.terminated};
  for (int i = 0; i < 6; i++) free(tensors[i]->data);
  cell_replay_destroy(replay);
  cell_diag_destroy(diag);
}

static void test_bits(void **state) {
  (void)state;
  play(1, 50, 10, true, false, false, 1);
  play(1, 50, 10, true, false, true, 2);
}

static void test_floats_and_doubles(void **state) {
  (void)state;
  play(1, 64, 5, false, false, false, 3);
  play(1, 64, 5, false, true, true, 4);
  play(1, 37, 3, true, true, false, 5);
}

static void test_several_environments(void **state) {
  (void)state;
  play(3, 90, 4, true, false, false, 6);
  play(2, 41, 12, false, false, true, 7);
}

static void test_edges(void **state) {
  (void)state;
  play(1, 1, 0, true, false, false, 8);
  play(1, 1, 12, true, false, false, 9);
  play(1, 10000, 10, true, false, true, 10);
}

// uniform with replacement; a function of seed and update alone
static void test_sampling(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  CellReplayOptions options = {.capacity = 10, .envs = 1, .observation = 1};
  CellReplay *replay = cell_replay_create(&options, diag);
  float value = 0;
  cell_replay_begin(replay, 0, &value);
  for (int i = 0; i < 25; i++) cell_replay_add(replay, 0, i, 0, false, false, &value);
  CellBatch batch = {.batch = 1000, .action = make_tensor(1000, 1, CELL_I, false)};
  int counts[25] = {0};
  int32_t before[1000];
  for (uint64_t update = 0; update < 20; update++) {
    cell_replay_sample(replay, 0, update, &batch, NULL);
    const int32_t *actions = batch.action.data;
    for (int b = 0; b < 1000; b++) counts[actions[b]]++;
    if (update > 0) assert_memory_not_equal(actions, before, sizeof before);
    memcpy(before, actions, sizeof before);
  }
  for (int i = 0; i < 15; i++) assert_int_equal(counts[i], 0);
  for (int i = 15; i < 25; i++) assert_in_range(counts[i], 2000 - 260, 2000 + 260);
  cell_replay_sample(replay, 0, 19, &batch, NULL);
  assert_memory_equal(batch.action.data, before, sizeof before);
  cell_replay_sample(replay, 1, 19, &batch, NULL);
  assert_memory_not_equal(batch.action.data, before, sizeof before);
  free(batch.action.data);
  cell_replay_destroy(replay);
  cell_diag_destroy(diag);
}

static void test_limits(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  CellReplayOptions options = {.capacity = 1LL << 60, .envs = 1, .observation = 400, .bits = true};
  assert_null(cell_replay_create(&options, diag));
  options.capacity = 100, options.context = 1 << 20;
  assert_null(cell_replay_create(&options, diag));
  assert_int_equal(diag->error_count, 2);
  assert_non_null(strstr(diag->records[0].message, "not enough memory"));
  assert_non_null(strstr(diag->records[1].message, "too long"));
  // a MinAtar transition: 13 words of bits, the last one's rest taken by action and marks, and the reward
  options = (CellReplayOptions){.capacity = 5000000,
                                .envs = 1,
                                .context = 10,
                                .observation = 400,
                                .actions = 6,
                                .bits = true};
  assert_int_equal(cell_replay_bytes(&options), 5000011LL * 56);
  // no room behind the bits: a word more; floats too
  options.observation = 416;
  assert_int_equal(cell_replay_bytes(&options), 5000011LL * 60);
  options.bits = false, options.observation = 5;
  assert_int_equal(cell_replay_bytes(&options), 5000011LL * 28);
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bits),
      cmocka_unit_test(test_floats_and_doubles),
      cmocka_unit_test(test_several_environments),
      cmocka_unit_test(test_edges),
      cmocka_unit_test(test_sampling),
      cmocka_unit_test(test_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
