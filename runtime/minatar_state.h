/* minatar_state.h - the inside of MinAtar's state, for the files of the games and for tests.
 *
 * A row of a grid is a word of 10 bits, bit x for column x. Columns x and rows y run 0..9. */
#ifndef CELL_MINATAR_STATE_H
#define CELL_MINATAR_STATE_H

#include "ir/support.h"
#include "runtime/minatar.h"
#include "runtime/mt19937.h"

enum { CELL_GRID = 10, CELL_GRID_ROW = (1 << CELL_GRID) - 1 };

// full action indices
enum { CELL_NOOP, CELL_LEFT, CELL_UP, CELL_RIGHT, CELL_DOWN, CELL_FIRE };

enum { ASTERIX_SLOTS = 8, FREEWAY_CARS = 8 };

typedef struct {
  int8_t px, py;
  uint8_t occupied, right, gold; /* bit k: slot k, which is row k + 1; 0 where not occupied */
  int8_t x[ASTERIX_SLOTS];
  int16_t spawn_interval, spawn_wait, move_interval, move_wait, ramp_wait, ramp_level;
} CellAsterix;

typedef struct {
  int16_t paddle_x, ball_x, ball_y, dx, dy, old_x, old_y;
  bool striking;
  uint16_t brick[CELL_GRID];
} CellBreakout;

typedef struct {
  int8_t py, move_wait;
  int8_t x[FREEWAY_CARS], v[FREEWAY_CARS], wait[FREEWAY_CARS]; /* car i is in row i + 1 */
  int16_t time_left;
} CellFreeway;

/* A member of one of Seaquest's lists; `wait` and `gun` are 0 in lists that have none. */
typedef struct {
  int8_t x, y, right, wait, gun;
} CellSwimmer;

/* Play needs at most 2 in the player's lists, and in the others less than 40: an enemy comes every
 * step at most, and is gone after 30. */
enum { SEAQUEST_ROOM = 64 };
typedef struct {
  int32_t count;
  CellSwimmer member[SEAQUEST_ROOM];
} CellShoal;

typedef struct {
  int8_t px, py, facing_right, at_surface;
  int32_t carried; /* may sink without bound */
  int16_t oxygen, shot_wait, spawn_interval, spawn_wait, diver_wait, move_interval, ramp_level;
  CellShoal bullets, divers, subs, enemy_bullets, fish;
} CellSeaquest;

typedef struct {
  int16_t px, dir, move_cap, move_wait, gun_wait, shot_wait, ramp_level;
  uint16_t alien[CELL_GRID], up[CELL_GRID], down[CELL_GRID];
} CellSpaceInvaders;

/* The whole state block. */
typedef struct {
  double sticky;
  bool ramping, over;
  int16_t previous; /* full index of the action executed last; resets keep it */
  union {
    CellAsterix asterix;
    CellBreakout breakout;
    CellFreeway freeway;
    CellSeaquest seaquest;
    CellSpaceInvaders space_invaders;
  } game;
  CellMt19937 random;
} CellMinatar;

/* ---- what a game is ---- */

/* Reads or writes a game's variables as text, in the order of the recorded data. */
typedef struct CellStateIo CellStateIo;

typedef struct {
  const char *name;
  int8_t minimal[CELL_MINATAR_ACTIONS]; /* full index of each action of the minimal set */
  void (*reset)(CellMinatar *state);
  int (*step)(CellMinatar *state, int action); /* returns the reward, sets over */
  void (*draw)(const CellMinatar *state, uint32_t *words);
  int (*ramp_level)(const CellMinatar *state);
  void (*io)(CellMinatar *state, CellStateIo *io);
} CellMinatarGame;

extern const CellMinatarGame cell_asterix, cell_breakout, cell_freeway, cell_seaquest,
    cell_space_invaders;

/* ---- drawing: element (y, x, c) has index (10 y + x) channels + c ---- */

static inline void cell_draw(uint32_t *words, int channels, int channel, int x, int y) {
  int index = (CELL_GRID * y + x) * channels + channel;
  words[index / 32] |= 1U << (index % 32);
}

/* The cell behind something that moves; nothing where that is outside the grid. */
static inline void cell_draw_inside(uint32_t *words, int channels, int channel, int x, int y) {
  if (x >= 0 && x < CELL_GRID) cell_draw(words, channels, channel, x, y);
}

/* Half a row's bits, spread to the places of one of `channels` (at most 6): a table of all of them. */
#define CELL_SPREAD_BIT(bits, x, channels) ((uint64_t)((bits) >> (x)&1) << ((x) * (channels)))
#define CELL_SPREAD_1(bits, c)                                                                     \
  CELL_SPREAD_BIT(bits, 0, c) | CELL_SPREAD_BIT(bits, 1, c) | CELL_SPREAD_BIT(bits, 2, c) |        \
      CELL_SPREAD_BIT(bits, 3, c) | CELL_SPREAD_BIT(bits, 4, c)
#define CELL_SPREAD_4(bits, c)                                                                     \
  CELL_SPREAD_1(bits, c), CELL_SPREAD_1(bits + 1, c), CELL_SPREAD_1(bits + 2, c),                  \
      CELL_SPREAD_1(bits + 3, c)
#define CELL_SPREAD_TABLE(c)                                                                       \
  {                                                                                                \
    CELL_SPREAD_4(0, c), CELL_SPREAD_4(4, c), CELL_SPREAD_4(8, c), CELL_SPREAD_4(12, c),           \
        CELL_SPREAD_4(16, c), CELL_SPREAD_4(20, c), CELL_SPREAD_4(24, c), CELL_SPREAD_4(28, c)     \
  }

/* A whole grid. A row's bits are spread to their channel's places, then put into the words at
 * once: without a branch for each cell, as bricks and aliens cannot be predicted. */
static inline void cell_draw_grid(uint32_t *words, const uint64_t table[32], int channels,
                                  int channel, const uint16_t rows[CELL_GRID]) {
  for (int y = 0; y < CELL_GRID; y++) {
    if (!rows[y]) continue;
    uint64_t spread = table[rows[y] & 31] | table[rows[y] >> 5] << (5 * channels);
    int index = CELL_GRID * y * channels + channel;
    int shift = index % 32;
    for (uint32_t *word = words + index / 32; spread; word++) {
      *word |= (uint32_t)(spread << shift);
      spread >>= 32 - shift;
      shift = 0;
    }
  }
}

/* ---- state as text ---- */

struct CellStateIo {
  const char *text; /* reading: what is left; NULL when writing */
  CellText *out;    /* writing */
  bool failed;      /* reading: malformed or out of range */
};

/* Reads and returns a number from low to high, or writes `value` and returns it. */
int cell_io_number(CellStateIo *io, int value, int low, int high);

/* Reads or writes 100 characters 0 or 1, row by row. */
void cell_io_grid(CellStateIo *io, uint16_t rows[CELL_GRID]);

/* Writes `over` and the game's variables, separated by blanks. */
void cell_minatar_state_write(const CellEnvKind *kind, const CellMinatar *state, CellText *out);

/* The reverse; false when the text is not such a state (the state is then unspecified). Settings,
 * previous action and generator stay. */
bool cell_minatar_state_read(const CellEnvKind *kind, CellMinatar *state, const char *text);

#endif
