/* minatar_breakout.c - Breakout: a ball of one cell, a paddle of one cell, three rows of bricks. */
#include "runtime/minatar_state.h"

#include <string.h>

enum { PADDLE, BALL, TRAIL, BRICK, CHANNELS };
enum { LAST = CELL_GRID - 1 };

// rows 1, 2, 3, each column's bit in the place that the observation has for it
static const uint32_t whole_wall[CELL_PICTURE_WORDS(CHANNELS)] = {0, 0x88888800, 0x88888888,
                                                                  0x88888888, 0x88888888};

static void build_wall(CellBreakout *g) {
  memcpy(g->wall, whole_wall, sizeof whole_wall);
}

// the ball starts on a brick, at the left going right or at the right going left
static void reset(CellMinatar *state) {
  int from_right = cell_mt19937_between(&state->random, 0, 2);
  int x = from_right * LAST;
  CellBreakout *g = &state->game.breakout;
  *g = (CellBreakout){.paddle_x = 4,
                      .ball_x = x,
                      .ball_y = 3,
                      .dx = 1 - 2 * from_right,
                      .dy = 1,
                      .old_x = x,
                      .old_y = 3};
  build_wall(g);
}

static bool wall_is_empty(const CellBreakout *g) {
  uint32_t any = 0;
  for (int i = 0; i < CELL_PICTURE_WORDS(CHANNELS); i++) any |= g->wall[i];
  return any == 0;
}

static int rules(CellMinatar *state, int action) {
  CellBreakout *g = &state->game.breakout;
  g->paddle_x = cell_across(g->paddle_x, action);

  g->old_x = g->ball_x;
  g->old_y = g->ball_y;
  int x = g->ball_x + g->dx, y = g->ball_y + g->dy;
  int reward = 0;
  bool brick_met = false;

  // at a side wall or the ceiling the ball slides for one step
  if (x < 0 || x > LAST) {
    x = x < 0 ? 0 : LAST;
    g->dx = -g->dx;
  }
  if (y < 0) {
    y = 0;
    g->dy = -g->dy;
  } else if (cell_drawn(g->wall, CHANNELS, BRICK, x, y)) {
    // only the first of several bricks in a row of steps is struck; the ball passes the others
    brick_met = true;
    if (!g->striking) {
      reward = 1;
      g->striking = true;
      cell_erase(g->wall, CHANNELS, BRICK, x, y);
      y = g->old_y;
      g->dy = -g->dy;
    }
  } else if (y == LAST) {
    if (wall_is_empty(g)) build_wall(g);
    if (g->paddle_x == g->ball_x) {
      g->dy = -g->dy;
      y = g->old_y;
    } else if (g->paddle_x == x) {
      g->dx = -g->dx;
      g->dy = -g->dy;
      y = g->old_y;
    } else {
      state->over = true;
    }
  }
  if (!brick_met) g->striking = false;
  g->ball_x = x;
  g->ball_y = y;
  return reward;
}

static void observe(const CellMinatar *state, uint32_t *words) {
  const CellBreakout *g = &state->game.breakout;
  memcpy(words, g->wall, sizeof g->wall);
  cell_draw(words, CHANNELS, BALL, g->ball_x, g->ball_y);
  cell_draw(words, CHANNELS, PADDLE, g->paddle_x, LAST);
  cell_draw(words, CHANNELS, TRAIL, g->old_x, g->old_y);
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellBreakout *g = &state->game.breakout;
  g->paddle_x = cell_io_number(io, g->paddle_x, 0, LAST);
  g->ball_x = cell_io_number(io, g->ball_x, 0, LAST);
  g->ball_y = cell_io_number(io, g->ball_y, 0, state->over ? LAST : LAST - 1);
  g->dx = cell_io_number(io, g->dx, -1, 1);
  g->dy = cell_io_number(io, g->dy, -1, 1);
  g->old_x = cell_io_number(io, g->old_x, 0, LAST);
  g->old_y = cell_io_number(io, g->old_y, 0, LAST);
  cell_io_drawn(io, g->wall, CHANNELS, BRICK);
  g->striking = cell_io_number(io, g->striking, 0, 1);
}

static CellEnvStep step(CellMinatar *state, int action) {
  return cell_minatar_do(state, action, rules);
}

const CellMinatarGame cell_breakout = {
    "breakout", {CELL_NOOP, CELL_LEFT, CELL_RIGHT}, reset, step, observe, NULL, io};
