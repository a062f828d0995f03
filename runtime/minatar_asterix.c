/* minatar_asterix.c - Asterix: entities cross rows 1 to 8, one a row; gold is good, enemies end. */
#include "runtime/minatar_state.h"

#include <string.h>

enum { PLAYER, ENEMY, TRAIL, GOLD, CHANNELS };
enum { ROW = CELL_GRID * CHANNELS };
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

/* ---- the entities' picture: redrawn when they change, which most steps leave to be ---- */

// what is in a slot's row: an entity and the trail behind it, unless that is outside the grid, or nothing
static uint64_t row_of(const CellAsterix *g, int slot) {
  int x = g->x[slot], way = g->way[slot], channel = ENEMY + (GOLD - ENEMY) * g->gold[slot];
  uint64_t there = way != 0;
  // shifted by a column for the trail that would be at -1
  uint64_t row =
      there << ((x + 1) * CHANNELS + channel) | there << ((x + 1 - way) * CHANNELS + TRAIL);
  return row >> CHANNELS & (((uint64_t)1 << ROW) - 1);
}

static void draw_entities(CellAsterix *g) {
  CellPen pen = {.words = g->picture};
  cell_write(&pen, 0, ROW);
#pragma GCC unroll 8 // so that each slot's place is a constant
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) cell_write(&pen, row_of(g, slot), ROW);
  cell_write(&pen, 0, ROW);
  cell_write_end(&pen);
}

/* ---- rules ---- */

// direction, kind and row are drawn in this order; a row only when one is free
static void spawn(CellAsterix *g, CellMt19937 *random) {
  bool right = cell_mt19937_below(random, CELL_MT19937_LIMIT(0.5));
  bool gold = cell_mt19937_below(random, CELL_MT19937_LIMIT(1.0 / 3.0));
  int empty[ASTERIX_SLOTS + 1], count = 0;
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    empty[count] = slot;
    count += !g->way[slot];
  }
  if (count == 0) return;
  int slot = empty[cell_mt19937_between(random, 0, count)];
  g->way[slot] = right ? 1 : -1;
  g->gold[slot] = gold;
  g->x[slot] = right ? 0 : CELL_GRID - 1;
}

// only the entity in the player's row can be at the player's cell; returns the reward
static int contact(CellMinatar *state) {
  CellAsterix *g = &state->game.asterix;
  int slot = g->py - 1;
  if (g->x[slot] != g->px || !g->way[slot]) return 0;
  if (!g->gold[slot]) {
    state->over = true;
    return 0;
  }
  g->x[slot] = g->way[slot] = g->gold[slot] = 0;
  return 1;
}

static void move_entities(CellAsterix *g) {
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    int8_t x = (int8_t)(g->x[slot] + g->way[slot]);
    bool gone = x < 0 || x >= CELL_GRID;
    g->x[slot] = gone ? 0 : x;
    g->way[slot] = gone ? 0 : g->way[slot];
    g->gold[slot] = gone ? 0 : g->gold[slot];
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

static int rules(CellMinatar *state, int action) {
  CellAsterix *g = &state->game.asterix;
  bool changed = false;
  if (g->spawn_wait == 0) {
    spawn(g, &state->random);
    g->spawn_wait = g->spawn_interval;
    changed = true;
  }
  g->px = cell_across(g->px, action);
  g->py = cell_down(g->py, action, 1, CELL_GRID - 2);
  int reward = contact(state);
  if (g->move_wait == 0) {
    g->move_wait = g->move_interval;
    move_entities(g);
    reward += contact(state);
    changed = true;
  }
  g->spawn_wait--;
  g->move_wait--;
  if (state->ramping) ramp(g);
  if (changed || reward) draw_entities(g);
  return reward;
}

static void observe(const CellMinatar *state, uint32_t *words) {
  const CellAsterix *g = &state->game.asterix;
  memcpy(words, g->picture, sizeof g->picture);
  cell_draw(words, CHANNELS, PLAYER, g->px, g->py);
}

static int ramp_level(const CellMinatar *state) {
  return state->game.asterix.ramp_level;
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellAsterix *g = &state->game.asterix;
  g->px = cell_io_number(io, g->px, 0, 9);
  g->py = cell_io_number(io, g->py, 1, 8);
  g->spawn_interval = cell_io_number(io, g->spawn_interval, 1, 1000);
  g->spawn_wait = cell_io_number(io, g->spawn_wait, 0, 1000);
  g->move_interval = cell_io_number(io, g->move_interval, 1, 1000);
  g->move_wait = cell_io_number(io, g->move_wait, 0, 1000);
  g->ramp_wait = cell_io_number(io, g->ramp_wait, -1, 1000);
  g->ramp_level = cell_io_number(io, g->ramp_level, 0, 1000);
  for (int slot = 0; slot < ASTERIX_SLOTS; slot++) {
    int occupied = cell_io_number(io, g->way[slot] != 0, 0, 1);
    g->x[slot] = (int8_t)cell_io_number(io, g->x[slot], 0, 9);
    int right = cell_io_number(io, g->way[slot] > 0, 0, 1);
    g->way[slot] = (int8_t)(occupied ? 2 * right - 1 : 0);
    g->gold[slot] = (int8_t)cell_io_number(io, g->gold[slot], 0, 1);
  }
  draw_entities(g);
}

static CellEnvStep step(CellMinatar *state, int action) {
  return cell_minatar_do(state, action, rules);
}

const CellMinatarGame cell_asterix = {
    "asterix", {CELL_NOOP, CELL_LEFT, CELL_UP, CELL_RIGHT, CELL_DOWN},
    reset,     step,
    observe,   ramp_level,
    io};
