/* minatar_breakout.c - Breakout: a ball of one cell, a paddle of one cell, three rows of bricks. */
#include "runtime/minatar_state.h"

enum { PADDLE, BALL, TRAIL, BRICK, CHANNELS };
enum { LAST = CELL_GRID - 1 };

static void build_wall(CellBreakout *g) {
  for (int y = 1; y <= 3; y++) g->brick[y] = CELL_GRID_ROW;
}

// the ball starts on a brick, at the left going right or at the right going left
static void reset(CellMinatar *state) {
  bool from_right = cell_mt19937_between(&state->random, 0, 2) == 1;
  int16_t x = from_right ? LAST : 0;
  CellBreakout *g = &state->game.breakout;
  *g = (CellBreakout){.paddle_x = 4,
                      .ball_x = x,
                      .ball_y = 3,
                      .dx = from_right ? -1 : 1,
                      .dy = 1,
                      .old_x = x,
                      .old_y = 3};
  build_wall(g);
}

static bool wall_is_empty(const CellBreakout *g) {
  for (int y = 0; y < CELL_GRID; y++) {
    if (g->brick[y]) return false;
  }
  return true;
}

static int step(CellMinatar *state, int action) {
  CellBreakout *g = &state->game.breakout;
  if (action == CELL_LEFT && g->paddle_x > 0) g->paddle_x--;
  if (action == CELL_RIGHT && g->paddle_x < LAST) g->paddle_x++;

  g->old_x = g->ball_x;
  g->old_y = g->ball_y;
  int x = g->ball_x + g->dx, y = g->ball_y + g->dy;
  int reward = 0;
  bool brick_met = false;

  // at a side wall or the ceiling the ball slides for one step
  if (x < 0 || x > LAST) {
    x = x < 0 ? 0 : LAST;
    g->dx = (int16_t)-g->dx;
  }
  if (y < 0) {
    y = 0;
    g->dy = (int16_t)-g->dy;
  } else if (g->brick[y] >> x & 1) {
    // only the first of several bricks in a row of steps is struck; the ball passes the others
    brick_met = true;
    if (!g->striking) {
      reward = 1;
      g->striking = true;
      g->brick[y] ^= (uint16_t)(1U << x);
      y = g->old_y;
      g->dy = (int16_t)-g->dy;
    }
  } else if (y == LAST) {
    if (wall_is_empty(g)) build_wall(g);
    if (g->paddle_x == g->ball_x) {
      g->dy = (int16_t)-g->dy;
      y = g->old_y;
    } else if (g->paddle_x == x) {
      g->dx = (int16_t)-g->dx;
      g->dy = (int16_t)-g->dy;
      y = g->old_y;
    } else {
      state->over = true;
    }
  }
  if (!brick_met) g->striking = false;
  g->ball_x = (int16_t)x;
  g->ball_y = (int16_t)y;
  return reward;
}

static void draw(const CellMinatar *state, uint32_t *words) {
  const CellBreakout *g = &state->game.breakout;
  cell_draw(words, CHANNELS, BALL, g->ball_x, g->ball_y);
  cell_draw(words, CHANNELS, PADDLE, g->paddle_x, LAST);
  cell_draw(words, CHANNELS, TRAIL, g->old_x, g->old_y);
  static const uint64_t table[32] = CELL_SPREAD_TABLE(CHANNELS);
  cell_draw_grid(words, table, CHANNELS, BRICK, g->brick);
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellBreakout *g = &state->game.breakout;
  g->paddle_x = (int16_t)cell_io_number(io, g->paddle_x, 0, LAST);
  g->ball_x = (int16_t)cell_io_number(io, g->ball_x, 0, LAST);
  g->ball_y = (int16_t)cell_io_number(io, g->ball_y, 0, state->over ? LAST : LAST - 1);
  g->dx = (int16_t)cell_io_number(io, g->dx, -1, 1);
  g->dy = (int16_t)cell_io_number(io, g->dy, -1, 1);
  g->old_x = (int16_t)cell_io_number(io, g->old_x, 0, LAST);
  g->old_y = (int16_t)cell_io_number(io, g->old_y, 0, LAST);
  cell_io_grid(io, g->brick);
  g->striking = cell_io_number(io, g->striking, 0, 1);
}

const CellMinatarGame cell_breakout = {
    "breakout", {CELL_NOOP, CELL_LEFT, CELL_RIGHT}, reset, step, draw, NULL, io};
