/* minatar_state.h - the inside of MinAtar's state, for the files of the games and for tests.
 *
 * A row of a grid is a word of 10 bits, bit x for column x. Columns x and rows y run 0..9.
 *
 * A step takes less time than a few wrongly predicted branches, and nobody can predict what depends on
 * random actions and spawns. Where the rules allow it they are written as expressions in place of
 * branches, and observations are put together from whole rows. */
#ifndef CELL_MINATAR_STATE_H
#define CELL_MINATAR_STATE_H

#include "ir/support.h"
#include "runtime/minatar.h"
#include "runtime/mt19937.h"

enum { CELL_GRID = 10 };

// full action indices
enum { CELL_NOOP, CELL_LEFT, CELL_UP, CELL_RIGHT, CELL_DOWN, CELL_FIRE };

enum { ASTERIX_SLOTS = 8, FREEWAY_CARS = 8 };

/* Words of an observation of so many channels. */
#define CELL_PICTURE_WORDS(channels) ((CELL_GRID * CELL_GRID * (channels) + 31) / 32)

typedef struct {
  int px, py;
  /* slot k is row k + 1; all 0 where it is empty, else the way is 1 or -1 */
  int8_t x[ASTERIX_SLOTS], way[ASTERIX_SLOTS], gold[ASTERIX_SLOTS];
  uint32_t picture[CELL_PICTURE_WORDS(4)]; /* of the entities */
  int spawn_interval, spawn_wait, move_interval, move_wait, ramp_wait, ramp_level;
} CellAsterix;

typedef struct {
  int paddle_x, ball_x, ball_y, dx, dy, old_x, old_y;
  bool striking;
  uint32_t wall[CELL_PICTURE_WORDS(4)]; /* the bricks, where an observation has them */
} CellBreakout;

typedef struct {
  int py, move_wait, time_left;
  /* car i is in row i + 1; its way is 1 or -1, its size 1 to 5 the steps that it waits */
  int8_t x[FREEWAY_CARS], way[FREEWAY_CARS], size[FREEWAY_CARS], wait[FREEWAY_CARS];
} CellFreeway;

/* A member of one of Seaquest's lists. Its way is 1 or -1; `wait` and `gun` are 0 in lists that have none. */
typedef struct {
  int8_t x, y, way, wait, gun;
} CellSwimmer;

/* Play needs at most 2 in the player's lists, and in the others less than 40: an enemy comes every
 * step at most, and is gone after 30. */
enum { SEAQUEST_ROOM = 64 };
typedef struct {
  int32_t count;
  CellSwimmer member[SEAQUEST_ROOM];
} CellShoal;

typedef struct {
  int px, py;
  bool facing_right, at_surface;
  int carried; /* may sink without bound */
  int oxygen, shot_wait, spawn_interval, spawn_wait, diver_wait, move_interval, ramp_level;
  CellShoal bullets, divers, subs, enemy_bullets, fish;
} CellSeaquest;

typedef struct {
  int px, dir, move_cap, move_wait, gun_wait, shot_wait, ramp_level;
  uint16_t alien[CELL_GRID], up[CELL_GRID], down[CELL_GRID];
} CellSpaceInvaders;

/* The whole state block. */
typedef struct {
  uint64_t sticky; /* CELL_MT19937_LIMIT of the probability */
  bool ramping, over;
  int previous; /* full index of the action executed last; resets keep it */
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
  CellEnvStep (*step)(CellMinatar *state, int action); /* cell_minatar_do with the game's rules */
  void (*observe)(const CellMinatar *state, uint32_t *words);
  int (*ramp_level)(const CellMinatar *state);
  void (*io)(CellMinatar *state, CellStateIo *io);
} CellMinatarGame;

extern const CellMinatarGame cell_asterix, cell_breakout, cell_freeway, cell_seaquest,
    cell_space_invaders;

/* One step by a game's rules, which return the reward and set `over`. Inlined into the game's step, with
 * them. */
static inline CellEnvStep cell_minatar_do(CellMinatar *s, int action,
                                          int (*rules)(CellMinatar *, int)) {
  // the draw is made in every step, also after the end and when nothing sticks
  int stuck = cell_mt19937_below(&s->random, s->sticky);
  action ^= (action ^ s->previous) & -stuck; // no branch: it could not be predicted
  s->previous = action;

  int reward = s->over ? 0 : rules(s, action);
  // Copied from a table since the two flags are returned in one register: written one by one they would
  // go through memory, where a load of eight bytes waits for stores of one.
  static const CellEnvStep outcomes[] = {[false] = {0}, [true] = {.terminated = true}};
  CellEnvStep result = outcomes[s->over];
  result.reward = reward;
  return result;
}

/* Where an action leads, within limits. No branch depends on the action: that of an agent that explores
 * cannot be predicted. */
static inline int cell_across(int x, int action) {
  static const int8_t change[CELL_MINATAR_ACTIONS] = {[CELL_LEFT] = -1, [CELL_RIGHT] = 1};
  x += change[action];
  return x < 0 ? 0 : x >= CELL_GRID ? CELL_GRID - 1 : x;
}

static inline int cell_down(int y, int action, int low, int high) {
  static const int8_t change[CELL_MINATAR_ACTIONS] = {[CELL_UP] = -1, [CELL_DOWN] = 1};
  y += change[action];
  return y < low ? low : y > high ? high : y;
}

/* ---- drawing: element (y, x, c) has index (10 y + x) channels + c ---- */

static inline unsigned cell_element(int channels, int channel, int x, int y) {
  return (unsigned)((CELL_GRID * y + x) * channels + channel);
}

static inline void cell_draw(uint32_t *words, int channels, int channel, int x, int y) {
  unsigned index = cell_element(channels, channel, x, y);
  words[index / 32] |= 1U << (index % 32);
}

static inline void cell_erase(uint32_t *words, int channels, int channel, int x, int y) {
  unsigned index = cell_element(channels, channel, x, y);
  words[index / 32] &= ~(1U << (index % 32));
}

static inline bool cell_drawn(const uint32_t *words, int channels, int channel, int x, int y) {
  unsigned index = cell_element(channels, channel, x, y);
  return words[index / 32] >> (index % 32) & 1;
}

/* The cell behind something that moves; nothing where that is outside the grid. No branch: half of all
 * things enter from the left. */
static inline void cell_draw_inside(uint32_t *words, int channels, int channel, int x, int y) {
  bool inside = x >= 0 && x < CELL_GRID;
  unsigned index = cell_element(channels, channel, inside ? x : 0, y);
  words[index / 32] |= (uint32_t)inside << (index % 32);
}

/* Writes an observation from its first element to its last. Where the counts are constants and the loop
 * over them is unrolled, no place is computed when it runs. */
typedef struct {
  uint32_t *words;
  uint64_t pending; /* `count` elements, fewer than 64, that no word has yet */
  int count;
} CellPen;

/* The next `count` elements, 1 to 64; bits above are 0. */
static inline void cell_write(CellPen *pen, uint64_t elements, int count) {
  pen->pending |= elements << pen->count;
  int total = pen->count + count;
  if (total >= 64) {
    *pen->words++ = (uint32_t)pen->pending;
    *pen->words++ = (uint32_t)(pen->pending >> 32);
    total -= 64;
    pen->pending = total ? elements >> (count - total) : 0;
  }
  pen->count = total;
}

/* The elements that are left, of an observation's last one or two words. */
static inline void cell_write_end(CellPen *pen) {
  if (pen->count > 0) *pen->words++ = (uint32_t)pen->pending;
  if (pen->count > 32) *pen->words++ = (uint32_t)(pen->pending >> 32);
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

/* The same of a grid that is kept as one channel of an observation. */
void cell_io_drawn(CellStateIo *io, uint32_t *words, int channels, int channel);

/* Writes `over` and the game's variables, separated by blanks. */
void cell_minatar_state_write(const CellEnvKind *kind, const CellMinatar *state, CellText *out);

/* The reverse; false when the text is not such a state (the state is then unspecified). Settings,
 * previous action and generator stay. */
bool cell_minatar_state_read(const CellEnvKind *kind, CellMinatar *state, const char *text);

#endif
