/* minatar_space_invaders.c - Space Invaders: a block of aliens marches, descends and shoots. */
#include "runtime/minatar_state.h"

#include <string.h>

enum { CANNON, ALIEN, ALIEN_LEFT, ALIEN_RIGHT, FRIENDLY_BULLET, ENEMY_BULLET, CHANNELS };
enum { LAST = CELL_GRID - 1, SHOT_WAIT = 5, GUN_WAIT = 10, MOVE_CAP = 12, LOWEST_CAP = 6 };

// 24 aliens in rows 0..3, columns 2..7
static void build_block(CellSpaceInvaders *g) {
  for (int y = 0; y < 4; y++) g->alien[y] = 0xFC;
}

static void reset(CellMinatar *state) {
  CellSpaceInvaders *g = &state->game.space_invaders;
  *g = (CellSpaceInvaders){
      .px = 5, .dir = -1, .move_cap = MOVE_CAP, .move_wait = MOVE_CAP, .gun_wait = GUN_WAIT};
  build_block(g);
}

// bit x: some alien is in column x
static int columns(const CellSpaceInvaders *g) {
  int any = 0;
  for (int y = 0; y < CELL_GRID; y++) any |= g->alien[y];
  return any;
}

static int count_aliens(const CellSpaceInvaders *g) {
  int count = 0;
  for (int y = 0; y < CELL_GRID; y++) {
    for (int row = g->alien[y]; row; row &= row - 1) count++;
  }
  return count;
}

static bool holds(const uint16_t *rows, int x, int y) {
  return rows[y] >> x & 1;
}

// sideways, or down when an edge is reached: then row 9 comes back as row 0
static void move_aliens(CellMinatar *state) {
  CellSpaceInvaders *g = &state->game.space_invaders;
  int aliens = count_aliens(g);
  g->move_wait = (aliens < g->move_cap ? aliens : g->move_cap);
  int edge = g->dir < 0 ? 1 : 1 << LAST;
  if (columns(g) & edge) {
    g->dir = -g->dir;
    uint16_t lowest = g->alien[LAST];
    if (lowest) state->over = true;
    memmove(g->alien + 1, g->alien, LAST * sizeof *g->alien);
    g->alien[0] = lowest;
  } else {
    for (int y = 0; y < CELL_GRID; y++) {
      g->alien[y] = (uint16_t)(g->dir < 0 ? g->alien[y] >> 1 : g->alien[y] << 1);
    }
  }
  if (holds(g->alien, g->px, LAST)) state->over = true;
}

// the lowest alien of the occupied column nearest to the cannon, the left one of two, shoots
static void alien_shot(CellSpaceInvaders *g) {
  int occupied = columns(g);
  if (!occupied) return;
  int column = g->px;
  for (int far = 0; far < CELL_GRID; far++) {
    if (g->px >= far && (occupied >> (g->px - far) & 1)) {
      column = g->px - far;
      break;
    }
    if (occupied >> (g->px + far) & 1) {
      column = g->px + far;
      break;
    }
  }
  int y = LAST;
  while (!holds(g->alien, column, y)) y--;
  g->down[y] |= (uint16_t)(1U << column);
}

static int rules(CellMinatar *state, int action) {
  CellSpaceInvaders *g = &state->game.space_invaders;
  if (action == CELL_FIRE && g->shot_wait == 0) {
    g->up[LAST] |= (uint16_t)(1U << g->px);
    g->shot_wait = SHOT_WAIT;
  }
  g->px = cell_across(g->px, action);

  // bullets
  memmove(g->up, g->up + 1, LAST * sizeof *g->up);
  g->up[LAST] = 0;
  memmove(g->down + 1, g->down, LAST * sizeof *g->down);
  g->down[0] = 0;
  if (holds(g->down, g->px, LAST)) state->over = true;

  // aliens
  if (holds(g->alien, g->px, LAST)) state->over = true;
  if (g->move_wait == 0) move_aliens(state);
  if (g->gun_wait == 0) {
    g->gun_wait = GUN_WAIT;
    alien_shot(g);
  }

  // hits
  int reward = 0;
  for (int y = 0; y < CELL_GRID; y++) {
    uint16_t hit = g->alien[y] & g->up[y];
    g->alien[y] ^= hit;
    g->up[y] ^= hit;
    for (; hit; hit &= (uint16_t)(hit - 1)) reward++;
  }

  if (g->shot_wait > 0) g->shot_wait--;
  g->move_wait--;
  g->gun_wait--;

  // the next wave; everything but the block goes on as it is
  if (!columns(g)) {
    if (state->ramping && g->move_cap > LOWEST_CAP) {
      g->move_cap--;
      g->ramp_level++;
    }
    build_block(g);
  }
  return reward;
}

// all that half a row's bits can be, each at its column's place in an observation
#define BIT(bits, x) ((uint64_t)((bits) >> (x)&1) << ((x)*CHANNELS))
#define HALF(bits) BIT(bits, 0) | BIT(bits, 1) | BIT(bits, 2) | BIT(bits, 3) | BIT(bits, 4)
#define HALVES(bits) HALF(bits), HALF(bits + 1), HALF(bits + 2), HALF(bits + 3)
static const uint64_t half[32] = {HALVES(0),  HALVES(4),  HALVES(8),  HALVES(12),
                                  HALVES(16), HALVES(20), HALVES(24), HALVES(28)};

static uint64_t spread(uint16_t row) {
  return half[row & 31] | half[row >> 5] << (5 * CHANNELS);
}

static void observe(const CellMinatar *state, uint32_t *words) {
  const CellSpaceInvaders *g = &state->game.space_invaders;
  int way = g->dir < 0 ? ALIEN_LEFT : ALIEN_RIGHT;
  CellPen pen = {.words = words};
#pragma GCC unroll 10 // so that each row's place is a constant
  for (int y = 0; y < CELL_GRID; y++) {
    uint64_t aliens = spread(g->alien[y]);
    cell_write(&pen,
               aliens << ALIEN | aliens << way | spread(g->up[y]) << FRIENDLY_BULLET |
                   spread(g->down[y]) << ENEMY_BULLET,
               CELL_GRID * CHANNELS);
  }
  cell_write_end(&pen);
  cell_draw(words, CHANNELS, CANNON, g->px, LAST);
}

static int ramp_level(const CellMinatar *state) {
  return state->game.space_invaders.ramp_level;
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellSpaceInvaders *g = &state->game.space_invaders;
  g->px = cell_io_number(io, g->px, 0, LAST);
  cell_io_grid(io, g->alien);
  cell_io_grid(io, g->up);
  cell_io_grid(io, g->down);
  g->dir = cell_io_number(io, g->dir, -1, 1);
  g->move_cap = cell_io_number(io, g->move_cap, LOWEST_CAP, MOVE_CAP);
  g->move_wait = cell_io_number(io, g->move_wait, -1, MOVE_CAP);
  g->gun_wait = cell_io_number(io, g->gun_wait, 0, GUN_WAIT);
  g->shot_wait = cell_io_number(io, g->shot_wait, 0, SHOT_WAIT);
  g->ramp_level = cell_io_number(io, g->ramp_level, 0, 1000);
}

static CellEnvStep step(CellMinatar *state, int action) {
  return cell_minatar_do(state, action, rules);
}

const CellMinatarGame cell_space_invaders = {"space_invaders",
                                             {CELL_NOOP, CELL_LEFT, CELL_RIGHT, CELL_FIRE},
                                             reset,
                                             step,
                                             observe,
                                             ramp_level,
                                             io};
