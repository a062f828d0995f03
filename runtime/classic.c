/* classic.c - the layer around the tasks: start states, time limits, descriptions. */
#include "runtime/classic.h"

#include "ir/support.h"
#include "runtime/random.h"

#include <string.h>

static const CellClassicTask *task_of(const CellEnvKind *kind) {
  return kind->data;
}

static void reset(const CellEnvKind *kind, void *block) {
  CellClassic *s = block;
  uint32_t words[4];
  double unit[CELL_CLASSIC_VARIABLES];
  cell_random(s->seed, CELL_STREAM_CLASSIC, s->episode++, 0, words);
  for (int i = 0; i < CELL_CLASSIC_VARIABLES; i++) {
    s->x[i] = 0;
    unit[i] = cell_random_unit(words[i]);
  }
  s->length = 0;
  s->terminated = s->truncated = false;
  task_of(kind)->start(s->x, unit);
}

static void init(const CellEnvKind *kind, void *block, const double *settings) {
  (void)settings;
  memset(block, 0, sizeof(CellClassic));
  reset(kind, block);
}

static void seed(const CellEnvKind *kind, void *block, uint32_t number) {
  (void)kind;
  CellClassic *s = block;
  s->seed = number, s->episode = 0;
}

static CellEnvStep step(const CellEnvKind *kind, void *block, CellEnvAction action) {
  CellClassic *s = block;
  CELL_ASSERT(action.index >= 0 && action.index < kind->actions.count);
  double reward = 0;
  if (!s->terminated && !s->truncated) {
    reward = task_of(kind)->step(s->x, action.index, &s->terminated);
    s->truncated = ++s->length >= kind->time_limit && !s->terminated;
  }
  return (CellEnvStep){.reward = reward, .terminated = s->terminated, .truncated = s->truncated};
}

static void observe(const CellEnvKind *kind, const void *block, void *observation) {
  task_of(kind)->observe(((const CellClassic *)block)->x, observation);
}

static bool scene(const CellEnvKind *kind, const void *block, CellScene *out) {
  cell_scene_clear(out);
  task_of(kind)->scene(((const CellClassic *)block)->x, out);
  return true;
}

static const char *const acrobot_channels[] = {"cos_upper", "sin_upper",      "cos_lower",
                                               "sin_lower", "upper_velocity", "lower_velocity"};
static const char *const cartpole_channels[] = {"position", "velocity", "angle",
                                                "angular_velocity"};
static const char *const mountain_car_channels[] = {"position", "velocity"};

static const char *const acrobot_actions[] = {"left", "noop", "right"};
static const char *const cartpole_actions[] = {"left", "right"};
static const char *const mountain_car_actions[] = {"left", "noop", "right"};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define KIND(task, what, limit)                                                                    \
  {                                                                                                \
    .name = "classic/" #task, .summary = what,                                                     \
    .observation = {.representation = CELL_ENV_REAL,                                               \
                    .rank = 1,                                                                     \
                    .shape = {COUNT(task##_channels)},                                             \
                    .count = COUNT(task##_channels),                                               \
                    .density = 1,                                                                  \
                    .channels = task##_channels},                                                  \
    .actions = {.count = COUNT(task##_actions), .names = task##_actions},                          \
    .state_bytes = sizeof(CellClassic), .time_limit = (limit), .data = &cell_##task, .init = init, \
    .seed = seed, .reset = reset, .step = step, .observe = observe, .scene = scene                 \
  }

const CellEnvKind cell_classic_kinds[CELL_CLASSIC_TASKS] = {
    KIND(acrobot, "swing the tip of two links above the line", 500),
    KIND(cartpole, "keep a pole upright on a cart", 500),
    KIND(mountain_car, "rock a weak car up a hill", 200),
};
