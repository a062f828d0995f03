/* minatar_asterix.c - Asterix: entities cross rows 1 to 8, one a row; gold is good, enemies end. */
#include "runtime/minatar_state.h"

enum { PLAYER, ENEMY, TRAIL, GOLD, CHANNELS };
enum { RAMP_WAIT = 100, SPAWN_INTERVAL = 10, MOVE_INTERVAL = 5 };

static void reset(CellMinatar *state) {
  state->game.asterix = (CellAsterix){.px = 5,
                                      .py = 5,
                                      .spawn_interval = SPAWN_INTERVAL,
                                      .spawn_wait = SPAWN_INTERVAL,
                                      .move_interval = MOVE_INTERVAL,
                                      .move_wait = MOVE_INTERVAL,
                                      .ramp_wait = RAMP_WAIT};
}

static void clear_slot(CellAsterix *g, int slot) {
  uint8_t others = (uint8_t) ~(1U << slot);
  g->occupied &= others;
  g->right &= others;
  g->gold &= others;
  g->x[slot] = 0;
}

// direction, kind and row are drawn in this order; a row only when one is free
static void spawn(CellAsterix *g, CellMt19937 *random) {
  bool right = cell_mt19937_double(random) < 0.5;
  bool gold = cell_mt19937_double(random) < 1.0 / 3.0;
  int empty[ASTERIX_SLOTS], count = 0;
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    if (!(g->occupied >> slot & 1)) empty[count++] = slot;
  }
  if (count == 0) return;
  int slot = empty[cell_mt19937_between(random, 0, count)];
  g->occupied |= (uint8_t)(1U << slot);
  g->right |= (uint8_t)((unsigned)right << slot);
  g->gold |= (uint8_t)((unsigned)gold << slot);
  g->x[slot] = right ? 0 : CELL_GRID - 1;
}

// only the entity in the player's row can be at the player's cell; returns the reward
static int contact(CellMinatar *state) {
  CellAsterix *g = &state->game.asterix;
  int slot = g->py - 1;
  if (!(g->occupied >> slot & 1) || g->x[slot] != g->px) return 0;
  if (g->gold >> slot & 1) {
    clear_slot(g, slot);
    return 1;
  }
  state->over = true;
  return 0;
}

static void move_entities(CellAsterix *g) {
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    if (!(g->occupied >> slot & 1)) continue;
    g->x[slot] = (int8_t)(g->x[slot] + (g->right >> slot & 1 ? 1 : -1));
    if (g->x[slot] < 0 || g->x[slot] >= CELL_GRID) clear_slot(g, slot);
  }
}

// every 102 steps; the movement only every second time
static void ramp(CellAsterix *g) {
  if (g->spawn_interval <= 1 && g->move_interval <= 1) return;
  if (g->ramp_wait >= 0) {
    g->ramp_wait--;
    return;
  }
  if (g->move_interval > 1 && g->ramp_level % 2 == 1) g->move_interval--;
  if (g->spawn_interval > 1) g->spawn_interval--;
  g->ramp_level++;
  g->ramp_wait = RAMP_WAIT;
}

static int step(CellMinatar *state, int action) {
  CellAsterix *g = &state->game.asterix;
  if (g->spawn_wait == 0) {
    spawn(g, &state->random);
    g->spawn_wait = g->spawn_interval;
  }
  if (action == CELL_LEFT && g->px > 0) g->px--;
  if (action == CELL_RIGHT && g->px < CELL_GRID - 1) g->px++;
  if (action == CELL_UP && g->py > 1) g->py--;
  if (action == CELL_DOWN && g->py < CELL_GRID - 2) g->py++;
  int reward = contact(state);
  if (g->move_wait == 0) {
    g->move_wait = g->move_interval;
    move_entities(g);
    reward += contact(state);
  }
  g->spawn_wait--;
  g->move_wait--;
  if (state->ramping) ramp(g);
  return reward;
}

static void draw(const CellMinatar *state, uint32_t *words) {
  const CellAsterix *g = &state->game.asterix;
  cell_draw(words, CHANNELS, PLAYER, g->px, g->py);
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    if (!(g->occupied >> slot & 1)) continue;
    int behind = g->x[slot] + (g->right >> slot & 1 ? -1 : 1);
    cell_draw(words, CHANNELS, g->gold >> slot & 1 ? GOLD : ENEMY, g->x[slot], slot + 1);
    cell_draw_inside(words, CHANNELS, TRAIL, behind, slot + 1);
  }
}

static int ramp_level(const CellMinatar *state) {
  return state->game.asterix.ramp_level;
}

static void io_flag(CellStateIo *io, uint8_t *flags, int slot) {
  int flag = cell_io_number(io, *flags >> slot & 1, 0, 1);
  *flags = (uint8_t)((*flags & ~(1U << slot)) | (unsigned)flag << slot);
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellAsterix *g = &state->game.asterix;
  g->px = (int8_t)cell_io_number(io, g->px, 0, 9);
  g->py = (int8_t)cell_io_number(io, g->py, 1, 8);
  g->spawn_interval = (int16_t)cell_io_number(io, g->spawn_interval, 1, 1000);
  g->spawn_wait = (int16_t)cell_io_number(io, g->spawn_wait, 0, 1000);
  g->move_interval = (int16_t)cell_io_number(io, g->move_interval, 1, 1000);
  g->move_wait = (int16_t)cell_io_number(io, g->move_wait, 0, 1000);
  g->ramp_wait = (int16_t)cell_io_number(io, g->ramp_wait, -1, 1000);
  g->ramp_level = (int16_t)cell_io_number(io, g->ramp_level, 0, 1000);
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    io_flag(io, &g->occupied, slot);
    g->x[slot] = (int8_t)cell_io_number(io, g->x[slot], 0, 9);
    io_flag(io, &g->right, slot);
    io_flag(io, &g->gold, slot);
  }
}

const CellMinatarGame cell_asterix = {
    "asterix", {CELL_NOOP, CELL_LEFT, CELL_UP, CELL_RIGHT, CELL_DOWN},
    reset,     step,
    draw,      ramp_level,
    io};
