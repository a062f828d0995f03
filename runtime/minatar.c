/* minatar.c - the layer around the games: sticky actions, seeding, settings, descriptions. */
#include "runtime/minatar.h"

#include "runtime/minatar_state.h"

#include <stdlib.h>
#include <string.h>

static const CellEnvSetting settings[CELL_MINATAR_SETTINGS] = {
    [CELL_MINATAR_STICKY] = {"sticky", "probability that the action before is repeated", 0.1, 0, 1,
                             false},
    [CELL_MINATAR_RAMPING] = {"ramping", "whether the game becomes harder as it goes on", 1, 0, 1,
                              true},
};

static const CellMinatarGame *game_of(const CellEnvKind *kind) {
  return kind->data;
}

static void init(const CellEnvKind *kind, void *block, const double *values) {
  CellMinatar *state = block;
  memset(state, 0, sizeof *state);
  double sticky = values ? values[CELL_MINATAR_STICKY] : settings[CELL_MINATAR_STICKY].initial;
  state->sticky = CELL_MT19937_LIMIT(sticky);
  state->ramping = values ? values[CELL_MINATAR_RAMPING] != 0 : true;
  cell_mt19937_seed(&state->random, 0);
  game_of(kind)->reset(state);
}

static void seed(const CellEnvKind *kind, void *block, uint32_t number) {
  (void)kind;
  CellMinatar *state = block;
  cell_mt19937_seed(&state->random, number);
}

// keeps the previous action and the generator
static void reset(const CellEnvKind *kind, void *block) {
  CellMinatar *state = block;
  state->over = false;
  game_of(kind)->reset(state);
}

CellEnvStep cell_minatar_step(const CellEnvKind *kind, void *state, int action) {
  CELL_ASSERT(action >= 0 && action < CELL_MINATAR_ACTIONS);
  return game_of(kind)->step(state, action);
}

static CellEnvStep step_minimal(const CellEnvKind *kind, void *block, CellEnvAction action) {
  CELL_ASSERT(action.index >= 0 && action.index < kind->actions.count);
  return game_of(kind)->step(block, game_of(kind)->minimal[action.index]);
}

static void observe(const CellEnvKind *kind, const void *block, void *observation) {
  game_of(kind)->observe(block, observation);
}

// the spelling of the gauges is the reference's
static const char *const asterix_channels[] = {"player", "enemy", "trail", "gold"};
static const char *const breakout_channels[] = {"paddle", "ball", "trail", "brick"};
static const char *const freeway_channels[] = {"chicken", "car",    "speed1", "speed2",
                                               "speed3",  "speed4", "speed5"};
static const char *const seaquest_channels[] = {
    "sub_front",  "sub_back",  "friendly_bullet", "trail",       "enemy_bullet",
    "enemy_fish", "enemy_sub", "oxygen_guage",    "diver_guage", "diver"};
static const char *const space_invaders_channels[] = {
    "cannon", "alien", "alien_left", "alien_right", "friendly_bullet", "enemy_bullet"};

static const char *const asterix_actions[] = {"noop", "left", "up", "right", "down"};
static const char *const breakout_actions[] = {"noop", "left", "right"};
static const char *const freeway_actions[] = {"noop", "up", "down"};
static const char *const seaquest_actions[] = {"noop", "left", "up", "right", "down", "fire"};
static const char *const space_invaders_actions[] = {"noop", "left", "right", "fire"};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define KIND(game, what, mean)                                                                     \
  {                                                                                                \
    .name = "minatar/" #game, .summary = what,                                                     \
    .observation = {.representation = CELL_ENV_BITS,                                               \
                    .rank = 3,                                                                     \
                    .shape = {CELL_GRID, CELL_GRID, COUNT(game##_channels)},                       \
                    .count = CELL_GRID * CELL_GRID * COUNT(game##_channels),                       \
                    .density = (mean),                                                             \
                    .channels = game##_channels},                                                  \
    .actions = {.count = COUNT(game##_actions), .names = game##_actions}, .settings = settings,    \
    .setting_count = CELL_MINATAR_SETTINGS, .state_bytes = sizeof(CellMinatar),                    \
    .data = &cell_##game, .init = init, .seed = seed, .reset = reset, .step = step_minimal,        \
    .observe = observe                                                                             \
  }

// the densities were measured over four million steps of uniformly random actions
const CellEnvKind cell_minatar_kinds[CELL_MINATAR_GAMES] = {
    KIND(asterix, "collect gold, avoid enemies", 0.0152),
    KIND(breakout, "break bricks with a ball and a paddle", 0.0818),
    KIND(freeway, "cross a road with eight lanes", 0.0243),
    KIND(seaquest, "rescue divers, shoot enemies, mind the oxygen", 0.0132),
    KIND(space_invaders, "shoot a block of aliens before it lands", 0.0736),
};

bool cell_minatar_is(const CellEnvKind *kind) {
  return kind->init == init;
}

const char *cell_minatar_game_name(const CellEnvKind *kind) {
  return game_of(kind)->name;
}

const int8_t *cell_minatar_minimal_set(const CellEnvKind *kind) {
  return game_of(kind)->minimal;
}

int cell_minatar_executed(const void *state) {
  return ((const CellMinatar *)state)->previous;
}

int cell_minatar_ramp_level(const CellEnvKind *kind, const void *state) {
  const CellMinatarGame *game = game_of(kind);
  return game->ramp_level ? game->ramp_level(state) : 0;
}

/* ---- state as text ---- */

int cell_io_number(CellStateIo *io, int value, int low, int high) {
  if (io->out) {
    cell_text_printf(io->out, io->out->length ? " %d" : "%d", value);
    return value;
  }
  CELL_ASSERT(io->text);
  char *end;
  long number = strtol(io->text, &end, 10);
  if (end == io->text || number < low || number > high) {
    io->failed = true;
    return low;
  }
  io->text = end;
  return (int)number;
}

void cell_io_grid(CellStateIo *io, uint16_t rows[CELL_GRID]) {
  if (io->out) {
    cell_text_append(io->out, " ", 1);
    for (int i = 0; i < CELL_GRID * CELL_GRID; i++) {
      cell_text_append(io->out, rows[i / CELL_GRID] >> (i % CELL_GRID) & 1 ? "1" : "0", 1);
    }
    return;
  }
  while (*io->text == ' ') io->text++;
  memset(rows, 0, CELL_GRID * sizeof *rows);
  for (int i = 0; i < CELL_GRID * CELL_GRID; i++) {
    if (*io->text != '0' && *io->text != '1') {
      io->failed = true;
      return;
    }
    rows[i / CELL_GRID] |= (uint16_t)((*io->text++ - '0') << (i % CELL_GRID));
  }
}

void cell_io_drawn(CellStateIo *io, uint32_t *words, int channels, int channel) {
  uint16_t rows[CELL_GRID] = {0};
  for (int i = 0; i < CELL_GRID * CELL_GRID; i++) {
    int x = i % CELL_GRID, y = i / CELL_GRID;
    rows[y] |= (uint16_t)(cell_drawn(words, channels, channel, x, y) << x);
    cell_erase(words, channels, channel, x, y);
  }
  cell_io_grid(io, rows);
  for (int i = 0; i < CELL_GRID * CELL_GRID; i++) {
    int x = i % CELL_GRID, y = i / CELL_GRID;
    if (rows[y] >> x & 1) cell_draw(words, channels, channel, x, y);
  }
}

void cell_minatar_state_write(const CellEnvKind *kind, const CellMinatar *state, CellText *out) {
  CellMinatar copy = *state;
  CellStateIo io = {.out = out};
  cell_io_number(&io, copy.over, 0, 1);
  game_of(kind)->io(&copy, &io);
}

bool cell_minatar_state_read(const CellEnvKind *kind, CellMinatar *state, const char *text) {
  CellStateIo io = {.text = text};
  state->over = cell_io_number(&io, 0, 0, 1);
  game_of(kind)->io(state, &io);
  return !io.failed && *io.text == '\0';
}
