/* minatar_freeway.c - Freeway: from row 9 to row 0 past eight cars, as often as 2,501 steps allow.
 */
#include "runtime/minatar_state.h"

#include <stdlib.h>

enum { CHICKEN, CAR, SPEED, CHANNELS = SPEED + 5 }; /* speed class s: channel SPEED + s - 1 */
enum { ROW = CELL_GRID * CHANNELS };
enum { COLUMN = 4, LAST = CELL_GRID - 1, PLAYER_WAIT = 3, TIME = 2500 };

// first all sizes, then all directions
static void randomise(CellMinatar *state) {
  CellFreeway *g = &state->game.freeway;
  for (int i = 0; i < FREEWAY_CARS; i++) {
    g->size[i] = g->wait[i] = (int8_t)cell_mt19937_between(&state->random, 1, 6);
  }
  for (int i = 0; i < FREEWAY_CARS; i++) {
    bool left = cell_mt19937_below(&state->random, CELL_MT19937_LIMIT(0.5) + 1);
    g->way[i] = left ? -1 : 1;
  }
}

static void reset(CellMinatar *state) {
  CellFreeway *g = &state->game.freeway;
  *g = (CellFreeway){.py = LAST, .move_wait = PLAYER_WAIT, .time_left = TIME};
  randomise(state);
}

// All at once: a mask of those that move in place of a branch for each lets the compiler use vectors.
static void move_cars(CellFreeway *g) {
  for (int i = 0; i < FREEWAY_CARS; i++) {
    int8_t moves = g->wait[i] == 0 ? -1 : 0;
    int8_t x = (int8_t)(g->x[i] + (g->way[i] & moves));
    g->x[i] = x < 0 ? LAST : x > LAST ? 0 : x;
    g->wait[i] = (int8_t)(g->wait[i] - 1 + ((g->size[i] + 1) & moves));
  }
}

static int rules(CellMinatar *state, int action) {
  CellFreeway *g = &state->game.freeway;
  int reward = 0;
  if ((action == CELL_UP || action == CELL_DOWN) && g->move_wait == 0) {
    g->move_wait = PLAYER_WAIT;
    if (action == CELL_UP && g->py > 0) g->py--;
    if (action == CELL_DOWN && g->py < LAST) g->py++;
  }
  if (g->py == 0) {
    reward = 1;
    randomise(state);
    g->py = LAST;
  }
  // a car hits before it moves and after; only one is in the player's row, and none is in row 9
  int car = g->py == LAST ? 0 : g->py - 1;
  bool hit = g->x[car] == COLUMN;
  move_cars(g);
  hit |= g->x[car] == COLUMN;
  g->py = hit ? LAST : g->py;
  if (g->move_wait > 0) g->move_wait--;
  if (--g->time_left < 0) state->over = true;
  return reward;
}

/* ---- observation ---- */

// A car in its row, and the channel of its speed behind it: 70 elements in two words, for each size, way
// and column.
#define AT(element, word) ((uint64_t)((element) / 64 == (word)) << (element) % 64)
#define LOOK_IN(word, size, x, behind)                                                             \
  AT((x)*CHANNELS + CAR, word) | AT((behind)*CHANNELS + SPEED + (size)-1, word)
#define LOOK(size, x, behind)                                                                      \
  { LOOK_IN(0, size, x, behind), LOOK_IN(1, size, x, behind) }
#define LEFT_GOING(size)                                                                           \
  LOOK(size, 0, 1), LOOK(size, 1, 2), LOOK(size, 2, 3), LOOK(size, 3, 4), LOOK(size, 4, 5),        \
      LOOK(size, 5, 6), LOOK(size, 6, 7), LOOK(size, 7, 8), LOOK(size, 8, 9), LOOK(size, 9, 0)
#define RIGHT_GOING(size)                                                                          \
  LOOK(size, 0, 9), LOOK(size, 1, 0), LOOK(size, 2, 1), LOOK(size, 3, 2), LOOK(size, 4, 3),        \
      LOOK(size, 5, 4), LOOK(size, 6, 5), LOOK(size, 7, 6), LOOK(size, 8, 7), LOOK(size, 9, 8)
static const uint64_t looks[2][5][CELL_GRID][2] = {
    {{LEFT_GOING(1)}, {LEFT_GOING(2)}, {LEFT_GOING(3)}, {LEFT_GOING(4)}, {LEFT_GOING(5)}},
    {{RIGHT_GOING(1)}, {RIGHT_GOING(2)}, {RIGHT_GOING(3)}, {RIGHT_GOING(4)}, {RIGHT_GOING(5)}}};

static void observe(const CellMinatar *state, uint32_t *words) {
  const CellFreeway *g = &state->game.freeway;
  CellPen pen = {.words = words};
  cell_write(&pen, 0, 64), cell_write(&pen, 0, ROW - 64);
#pragma GCC unroll 8 // so that each car's place is a constant
  for (int i = 0; i < FREEWAY_CARS; i++) {
    const uint64_t *look = looks[g->way[i] > 0][g->size[i] - 1][g->x[i]];
    cell_write(&pen, look[0], 64), cell_write(&pen, look[1], ROW - 64);
  }
  cell_write(&pen, 0, 64), cell_write(&pen, 0, ROW - 64);
  cell_write_end(&pen);
  cell_draw(words, CHANNELS, CHICKEN, COLUMN, g->py);
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellFreeway *g = &state->game.freeway;
  g->py = cell_io_number(io, g->py, 0, LAST);
  g->move_wait = cell_io_number(io, g->move_wait, 0, PLAYER_WAIT);
  g->time_left = cell_io_number(io, g->time_left, -1, TIME);
  for (int i = 0; i < FREEWAY_CARS; i++) g->x[i] = (int8_t)cell_io_number(io, g->x[i], 0, LAST);
  for (int i = 0; i < FREEWAY_CARS; i++) {
    int speed = cell_io_number(io, g->size[i] * g->way[i], -5, 5);
    io->failed |= speed == 0;
    g->size[i] = (int8_t)abs(speed);
    g->way[i] = speed < 0 ? -1 : 1;
  }
  for (int i = 0; i < FREEWAY_CARS; i++) g->wait[i] = (int8_t)cell_io_number(io, g->wait[i], 0, 5);
}

static CellEnvStep step(CellMinatar *state, int action) {
  return cell_minatar_do(state, action, rules);
}

const CellMinatarGame cell_freeway = {
    "freeway", {CELL_NOOP, CELL_UP, CELL_DOWN}, reset, step, observe, NULL, io};
