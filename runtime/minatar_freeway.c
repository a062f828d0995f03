/* minatar_freeway.c - Freeway: from row 9 to row 0 past eight cars, as often as 2,501 steps allow.
 */
#include "runtime/minatar_state.h"

enum { CHICKEN, CAR, SPEED, CHANNELS = SPEED + 5 }; /* speed class s: channel SPEED + s - 1 */
enum { COLUMN = 4, LAST = CELL_GRID - 1, PLAYER_WAIT = 3, TIME = 2500 };

static int8_t size_of(int8_t speed) {
  return (int8_t)(speed < 0 ? -speed : speed);
}

// first all sizes, then all directions
static void randomise(CellMinatar *state) {
  CellFreeway *g = &state->game.freeway;
  for (int i = 0; i < FREEWAY_CARS; i++) {
    g->wait[i] = (int8_t)cell_mt19937_between(&state->random, 1, 6);
  }
  for (int i = 0; i < FREEWAY_CARS; i++) {
    bool right = cell_mt19937_double(&state->random) > 0.5;
    g->v[i] = (int8_t)(right ? g->wait[i] : -g->wait[i]);
  }
}

static void reset(CellMinatar *state) {
  CellFreeway *g = &state->game.freeway;
  *g = (CellFreeway){.py = LAST, .move_wait = PLAYER_WAIT, .time_left = TIME};
  randomise(state);
}

static int step(CellMinatar *state, int action) {
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
  // a car hits before it moves and after; there is no car in row 9
  for (int i = 0; i < FREEWAY_CARS; i++) {
    int row = i + 1;
    if (g->x[i] == COLUMN && g->py == row) g->py = LAST;
    if (g->wait[i] != 0) {
      g->wait[i]--;
      continue;
    }
    g->wait[i] = size_of(g->v[i]);
    int x = g->x[i] + (g->v[i] > 0 ? 1 : -1);
    g->x[i] = (int8_t)(x > LAST ? 0 : x < 0 ? LAST : x);
    if (g->x[i] == COLUMN && g->py == row) g->py = LAST;
  }
  if (g->move_wait > 0) g->move_wait--;
  if (--g->time_left < 0) state->over = true;
  return reward;
}

static void draw(const CellMinatar *state, uint32_t *words) {
  const CellFreeway *g = &state->game.freeway;
  cell_draw(words, CHANNELS, CHICKEN, COLUMN, g->py);
  for (int i = 0; i < FREEWAY_CARS; i++) {
    int behind = g->x[i] + (g->v[i] > 0 ? -1 : 1);
    behind = behind < 0 ? LAST : behind > LAST ? 0 : behind;
    cell_draw(words, CHANNELS, CAR, g->x[i], i + 1);
    cell_draw(words, CHANNELS, SPEED + size_of(g->v[i]) - 1, behind, i + 1);
  }
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellFreeway *g = &state->game.freeway;
  g->py = (int8_t)cell_io_number(io, g->py, 0, LAST);
  g->move_wait = (int8_t)cell_io_number(io, g->move_wait, 0, PLAYER_WAIT);
  g->time_left = (int16_t)cell_io_number(io, g->time_left, -1, TIME);
  for (int i = 0; i < FREEWAY_CARS; i++) g->x[i] = (int8_t)cell_io_number(io, g->x[i], 0, LAST);
  for (int i = 0; i < FREEWAY_CARS; i++) {
    g->v[i] = (int8_t)cell_io_number(io, g->v[i], -5, 5);
    io->failed |= g->v[i] == 0;
  }
  for (int i = 0; i < FREEWAY_CARS; i++) g->wait[i] = (int8_t)cell_io_number(io, g->wait[i], 0, 5);
}

const CellMinatarGame cell_freeway = {
    "freeway", {CELL_NOOP, CELL_UP, CELL_DOWN}, reset, step, draw, NULL, io};
