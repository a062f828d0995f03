/* replay.c - rings of observations, contexts by index. */
#include "runtime/replay_rings.h"

#include "runtime/random.h"

#include <stdlib.h>
#include <string.h>

// how many bits hold the numbers 0 to most
static int32_t bits_for(int64_t most) {
  int32_t bits = 0;
  while (most >> bits) bits++;
  return bits;
}

static CellReplayRow row_of(const CellReplayOptions *o) {
  CellReplayRow row = {.words = o->bits ? (o->observation + 31) / 32 : o->observation};
  row.action_bits = bits_for((o->actions > 0 ? o->actions : CELL_REPLAY_MOST_ACTIONS) - 1);
  row.age_bits = bits_for(o->context);
  int32_t left = o->bits ? row.words * 32 - o->observation : 0;
  bool behind = row.action_bits + row.age_bits + 2 > left;
  row.note = behind ? row.words : row.words - 1;
  row.shift = behind ? 0 : 32 - left;
  row.stride = row.words + behind + 1;
  return row;
}

static int64_t ring_capacity(const CellReplayOptions *o) {
  int64_t capacity = o->capacity / o->envs;
  return capacity > 0 ? capacity : 1;
}

int64_t cell_replay_bytes(const CellReplayOptions *o) {
  int64_t slots = ring_capacity(o) + o->context + 1;
  return o->envs * slots * row_of(o).stride * 4;
}

CellReplay *cell_replay_create(const CellReplayOptions *options, CellDiag *diag) {
  CELL_ASSERT(options->envs > 0 && options->context >= 0 && options->observation > 0);
  CELL_ASSERT(options->actions >= 0 && options->actions <= CELL_REPLAY_MOST_ACTIONS);
  if (options->context > CELL_REPLAY_MOST_CONTEXT) {
    cell_error(diag, NULL, CELL_NOWHERE,
               "a context of %d observations is too long: the limit is %d", (int)options->context,
               (int)CELL_REPLAY_MOST_CONTEXT);
    return NULL;
  }
  CellReplay *r = cell_malloc(sizeof *r);
  r->options = *options;
  r->row = row_of(options);
  r->capacity = ring_capacity(options);
  r->slots = r->capacity + options->context + 1;
  r->rings = cell_malloc((size_t)options->envs * sizeof(Ring));
  // sizes are checked in floating point before they can overflow
  double bytes = (double)options->envs * (double)r->slots * (double)r->row.stride * 4;
  bool fits = bytes < 0x1p46;
  for (int e = 0; fits && e < options->envs; e++) {
    r->rings[e].rows = calloc((size_t)(r->slots * r->row.stride), 4);
    fits = r->rings[e].rows != NULL;
  }
  if (!fits) {
    CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE,
                                    "not enough memory for a replay of %lld transitions (%.1f GB)",
                                    (long long)options->capacity, bytes / 1e9);
    cell_help(diag, record, "a smaller one: --set train.replay=N");
    cell_replay_destroy(r);
    return NULL;
  }
  return r;
}

void cell_replay_destroy(CellReplay *r) {
  if (!r) return;
  cell_mirror_close(r->mirror);
  for (int e = 0; e < r->options.envs; e++) {
    free(r->rings[e].rows);
    free(r->rings[e].finals);
    free(r->rings[e].final_numbers);
  }
  free(r->rings);
  free(r);
}

int64_t cell_replay_filled(const CellReplay *r) {
  return cell_replay_filled_of(r, &r->rings[0]) * r->options.envs;
}

int64_t cell_replay_added(const CellReplay *r) {
  int64_t added = 0;
  for (int e = 0; e < r->options.envs; e++) added += r->rings[e].added;
  return added;
}

uint32_t *cell_replay_row(const CellReplay *r, const Ring *ring, int64_t number) {
  return ring->rows + number % r->slots * r->row.stride;
}

Transition cell_replay_transition(const CellReplay *r, const Ring *ring, int64_t number) {
  const CellReplayRow *f = &r->row;
  const uint32_t *row = cell_replay_row(r, ring, number);
  // of up to 32 bits
  uint64_t note = (uint64_t)row[f->note] >> f->shift, ends = note >> (f->action_bits + f->age_bits);
  Transition t = {.action = (uint32_t)(note & (((uint64_t)1 << f->action_bits) - 1)),
                  .age = (uint32_t)(note >> f->action_bits & (((uint64_t)1 << f->age_bits) - 1)),
                  .terminated = ends & 1,
                  .ended = ends >> 1 & 1};
  memcpy(&t.reward, row + f->stride - 1, sizeof t.reward);
  return t;
}

static void put_transition(const CellReplay *r, const Ring *ring, int64_t number,
                           const Transition *t) {
  const CellReplayRow *f = &r->row;
  uint32_t *row = cell_replay_row(r, ring, number), note = t->action;
  const uint32_t ends = (t->terminated ? 1u : 0u) + (t->ended ? 2u : 0u);
  note |= t->age << f->action_bits;
  note |= ends << (f->action_bits + f->age_bits);
  uint32_t observed = f->shift ? row[f->note] & (((uint32_t)1 << f->shift) - 1) : 0;
  row[f->note] = observed | note << f->shift;
  memcpy(row + f->stride - 1, &t->reward, sizeof t->reward);
}

void cell_replay_begin(CellReplay *r, int env, const void *observation) {
  Ring *ring = &r->rings[env];
  memcpy(cell_replay_row(r, ring, ring->added), observation, (size_t)r->row.words * 4);
}

// twice the room for final observations, oldest first again
static void grow_finals(CellReplay *r, Ring *ring) {
  int64_t room = ring->final_room ? 2 * ring->final_room : 16;
  uint32_t *finals = cell_malloc((size_t)(room * r->row.words) * 4);
  int64_t *numbers = cell_malloc((size_t)room * sizeof *numbers);
  for (int64_t i = 0; i < ring->final_count; i++) {
    int64_t at = (ring->final_first + i) & (ring->final_room - 1);
    memcpy(finals + i * r->row.words, ring->finals + at * r->row.words, (size_t)r->row.words * 4);
    numbers[i] = ring->final_numbers[at];
  }
  free(ring->finals);
  free(ring->final_numbers);
  ring->finals = finals, ring->final_numbers = numbers;
  ring->final_first = 0, ring->final_room = room;
}

static void keep_final(CellReplay *r, Ring *ring, const void *observation) {
  // those of transitions that can no longer be sampled go
  int64_t oldest = ring->added + 1 - r->capacity;
  while (ring->final_count > 0 && ring->final_numbers[ring->final_first] < oldest) {
    ring->final_first = (ring->final_first + 1) & (ring->final_room - 1);
    ring->final_count--, ring->final_dropped++;
  }
  if (ring->final_count == ring->final_room) grow_finals(r, ring);
  int64_t at = (ring->final_first + ring->final_count++) & (ring->final_room - 1);
  ring->final_numbers[at] = ring->added;
  memcpy(ring->finals + at * r->row.words, observation, (size_t)r->row.words * 4);
}

int64_t cell_replay_final(const Ring *ring, int64_t number) {
  int64_t low = 0, high = ring->final_count;
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    int64_t at = (ring->final_first + middle) & (ring->final_room - 1);
    if (ring->final_numbers[at] <= number)
      low = middle;
    else
      high = middle;
  }
  CELL_ASSERT(ring->final_count > 0);
  CELL_ASSERT(ring->final_numbers[(ring->final_first + low) & (ring->final_room - 1)] == number);
  return low;
}

int64_t cell_replay_final_number(const Ring *ring, int64_t place) {
  return ring->final_numbers[(ring->final_first + place) & (ring->final_room - 1)];
}

const uint32_t *cell_replay_final_row(const CellReplay *r, const Ring *ring, int64_t place) {
  int64_t at = (ring->final_first + place) & (ring->final_room - 1);
  return ring->finals + at * r->row.words;
}

void cell_replay_add(CellReplay *r, int env, int32_t action, float reward, bool terminated,
                     bool truncated, const void *next) {
  CELL_ASSERT(action >= 0 &&
              action < (r->options.actions > 0 ? r->options.actions : CELL_REPLAY_MOST_ACTIONS));
  Ring *ring = &r->rings[env];
  bool ended = terminated || truncated;
  if (ended) keep_final(r, ring, next);
  put_transition(r, ring, ring->added,
                 &(Transition){.reward = reward,
                               .action = (uint32_t)action,
                               .age = ring->age,
                               .terminated = terminated,
                               .ended = ended});
  ring->added++;
  uint32_t older = ring->age < (uint32_t)r->options.context ? ring->age + 1 : ring->age;
  ring->age = ended && (terminated || !r->options.terminated_only) ? 0 : older;
  if (!ended) memcpy(cell_replay_row(r, ring, ring->added), next, (size_t)r->row.words * 4);
}

// ---- batches ----

void cell_put_observation(const CellTensorData *t, int64_t row, const void *observation,
                          int32_t count, bool bits) {
  const uint32_t *words = observation;
  const float *floats = observation;
  if (t->wide) {
    double *out = (double *)t->data + row * count;
    for (int32_t i = 0; i < count; i++) out[i] = bits ? words[i / 32] >> (i % 32) & 1 : floats[i];
  } else if (t->dtype == CELL_BITS) {
    CELL_ASSERT(bits && t->bit_row == count);
    int64_t n = (count + 31) / 32;
    uint32_t *out = (uint32_t *)t->data + row * n;
    memcpy(out, words, (size_t)n * 4);
    // behind the last bit may stand what else is known of the transition
    if (count % 32) out[n - 1] &= ((uint32_t)1 << count % 32) - 1;
  } else if (bits) {
    float *out = (float *)t->data + row * count;
    for (int32_t i = 0; i < count; i++) out[i] = (float)(words[i / 32] >> (i % 32) & 1);
  } else {
    memcpy((float *)t->data + row * count, floats, (size_t)count * sizeof(float));
  }
}

void cell_put_number(const CellTensorData *t, int64_t index, double value) {
  if (t->wide)
    ((double *)t->data)[index] = value;
  else if (t->dtype == CELL_I)
    ((int32_t *)t->data)[index] = (int32_t)value;
  else
    ((float *)t->data)[index] = (float)value;
}

double cell_get_number(const CellTensorData *t, int64_t index) {
  if (t->wide) return ((const double *)t->data)[index];
  if (t->dtype == CELL_I) return ((const int32_t *)t->data)[index];
  return ((const float *)t->data)[index];
}

void cell_replay_gather(const CellReplay *r, int64_t index, int32_t b, CellBatch *batch) {
  const Ring *ring = &r->rings[index % r->options.envs];
  int64_t number = ring->added - cell_replay_filled_of(r, ring) + index / r->options.envs;
  CELL_ASSERT(number < ring->added);
  const Transition own = cell_replay_transition(r, ring, number), *t = &own;
  int32_t count = r->options.observation;
  bool bits = r->options.bits;
  if (batch->context.data) {
    // rows max(n - C, e) .. max(n - 1, e): a young episode repeats its first observation
    for (int32_t i = 0; i < r->options.context; i++) {
      int64_t back = r->options.context - i;
      if (back > t->age) back = t->age;
      cell_put_observation(&batch->context, (int64_t)i * batch->batch + b,
                           cell_replay_row(r, ring, number - back), count, bits);
    }
  }
  if (batch->obs.data) {
    cell_put_observation(&batch->obs, b, cell_replay_row(r, ring, number), count, bits);
  }
  if (batch->next_obs.data) {
    const uint32_t *next = t->ended
                               ? cell_replay_final_row(r, ring, cell_replay_final(ring, number))
                               : cell_replay_row(r, ring, number + 1);
    cell_put_observation(&batch->next_obs, b, next, count, bits);
  }
  if (batch->action.data) cell_put_number(&batch->action, b, t->action);
  if (batch->reward.data) cell_put_number(&batch->reward, b, (double)t->reward);
  if (batch->terminated.data) cell_put_number(&batch->terminated, b, t->terminated);
}

void cell_replay_sample(CellReplay *r, uint64_t seed, uint64_t update, CellBatch *batch,
                        CellDiag *diag) {
  int64_t n = cell_replay_filled(r);
  CELL_ASSERT(n > 0);
  if (r->mirror && cell_replay_mirror_sample(r, seed, update, diag)) return;
  for (int32_t b = 0; b < batch->batch; b++) {
    uint32_t words[4];
    cell_random(seed, CELL_STREAM_REPLAY, update, (uint32_t)b, words);
    cell_replay_gather(r, cell_random_below(words[0], words[1], n), b, batch);
  }
}
