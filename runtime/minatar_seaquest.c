/* minatar_seaquest.c - Seaquest: a submarine rescues divers among fish and enemy submarines.
 *
 * Lists keep their order. They are walked from the last member to the first, so that deleting the
 * visited member moves none that is still to be visited. */
#include "runtime/minatar_state.h"

#include <string.h>

enum {
  SUB_FRONT,
  SUB_BACK,
  FRIENDLY_BULLET,
  TRAIL,
  ENEMY_BULLET,
  ENEMY_FISH,
  ENEMY_SUB,
  OXYGEN_GAUGE,
  DIVER_GAUGE,
  DIVER,
  CHANNELS
};
enum { LAST = CELL_GRID - 1, LOWEST_ROW = 8, FULL_OXYGEN = 200, FULL_CREW = 6 };
enum { SPAWN_INTERVAL = 20, MOVE_INTERVAL = 5, FASTEST_MOVE = 2 };
enum { DIVER_SPAWN = 30, DIVER_MOVE = 5, SHOT_WAIT = 5, GUN_WAIT = 10 };

static void reset(CellMinatar *state) {
  state->game.seaquest = (CellSeaquest){.px = 5,
                                        .at_surface = true,
                                        .oxygen = FULL_OXYGEN,
                                        .spawn_interval = SPAWN_INTERVAL,
                                        .spawn_wait = SPAWN_INTERVAL,
                                        .diver_wait = DIVER_SPAWN,
                                        .move_interval = MOVE_INTERVAL};
}

/* ---- lists ---- */

static void append(CellShoal *list, CellSwimmer member) {
  CELL_ASSERT(list->count < SEAQUEST_ROOM);
  list->member[list->count++] = member;
}

static void drop(CellShoal *list, int index) {
  list->count--;
  memmove(list->member + index, list->member + index + 1,
          (size_t)(list->count - index) * sizeof *list->member);
}

// lowest position of a member at a cell, or -1
static int find(const CellShoal *list, int x, int y) {
  for (int i = 0; i < list->count; i++) {
    if (list->member[i].x == x && list->member[i].y == y) return i;
  }
  return -1;
}

static bool inside(const CellSwimmer *m) {
  return m->x >= 0 && m->x < CELL_GRID;
}

// one column in its direction; true while still inside the grid
static bool advance(CellSwimmer *m) {
  m->x = (int8_t)(m->x + m->way);
  return inside(m);
}

static bool at_player(const CellSeaquest *g, const CellSwimmer *m) {
  return (m->x == g->px) & (m->y == g->py);
}

/* ---- rules ---- */

static bool row_is_blocked(const CellShoal *list, int row, int way) {
  for (int i = 0; i < list->count; i++) {
    if (list->member[i].y == row && list->member[i].way != way) return true;
  }
  return false;
}

// where something that goes this way comes in
static int8_t entrance(int way) {
  return way > 0 ? 0 : LAST;
}

static int draw_way(CellMt19937 *random) {
  return cell_mt19937_below(random, CELL_MT19937_LIMIT(0.5)) ? 1 : -1;
}

// direction, kind and row are always drawn, also when the row turns out to be blocked
static void spawn_enemy(CellSeaquest *g, CellMt19937 *random) {
  int way = draw_way(random);
  bool submarine = cell_mt19937_below(random, CELL_MT19937_LIMIT(1.0 / 3.0));
  int row = cell_mt19937_between(random, 1, 9);
  if (row_is_blocked(&g->subs, row, way) || row_is_blocked(&g->fish, row, way)) return;
  CellSwimmer enemy = {.x = entrance(way),
                       .y = (int8_t)row,
                       .way = (int8_t)way,
                       .wait = (int8_t)g->move_interval,
                       .gun = submarine ? GUN_WAIT : 0};
  append(submarine ? &g->subs : &g->fish, enemy);
}

static void spawn_diver(CellSeaquest *g, CellMt19937 *random) {
  int way = draw_way(random);
  int row = cell_mt19937_between(random, 1, 9);
  append(
      &g->divers,
      (CellSwimmer){.x = entrance(way), .y = (int8_t)row, .way = (int8_t)way, .wait = DIVER_MOVE});
}

static void move_player(CellSeaquest *g, int action) {
  // written in any case, so that no branch depends on the action, and counted if fired
  bool fires = (action == CELL_FIRE) & (g->shot_wait == 0);
  CELL_ASSERT(g->bullets.count < SEAQUEST_ROOM);
  g->bullets.member[g->bullets.count] =
      (CellSwimmer){.x = g->px, .y = g->py, .way = g->facing_right ? 1 : -1};
  g->bullets.count += fires;
  g->shot_wait = fires ? SHOT_WAIT : g->shot_wait;
  g->px = cell_across(g->px, action);
  g->py = cell_down(g->py, action, 0, LOWEST_ROW);
  g->facing_right = (g->facing_right & (action != CELL_LEFT)) | (action == CELL_RIGHT);
}

// a bullet kills one fish or, where there is none, one submarine
static int move_bullets(CellSeaquest *g) {
  int reward = 0;
  for (int i = g->bullets.count - 1; i >= 0; i--) {
    CellSwimmer *bullet = &g->bullets.member[i];
    if (!advance(bullet)) {
      drop(&g->bullets, i);
      continue;
    }
    CellShoal *enemies = &g->fish;
    int hit = find(enemies, bullet->x, bullet->y);
    if (hit < 0) {
      enemies = &g->subs;
      hit = find(enemies, bullet->x, bullet->y);
    }
    if (hit < 0) continue;
    drop(enemies, hit);
    drop(&g->bullets, i);
    reward++;
  }
  return reward;
}

static void move_divers(CellSeaquest *g) {
  for (int i = g->divers.count - 1; i >= 0; i--) {
    CellSwimmer *diver = &g->divers.member[i];
    bool gone = false, met = at_player(g, diver);
    if (!(met && g->carried < FULL_CREW)) {
      met = false;
      if (diver->wait == 0) {
        diver->wait = DIVER_MOVE;
        gone = !advance(diver);
        met = !gone && at_player(g, diver) && g->carried < FULL_CREW;
      } else {
        diver->wait--;
      }
    }
    if (met) g->carried++;
    if (met || gone) drop(&g->divers, i);
  }
}

// what fish and submarines have in common: moving, meeting the player, meeting a bullet. Sets
// *deleted when the enemy is to go; returns the reward
static inline int move_enemy(CellMinatar *state, CellSwimmer *enemy, bool *deleted) {
  CellSeaquest *g = &state->game.seaquest;
  bool moves = enemy->wait == 0;
  bool met = at_player(g, enemy);
  enemy->wait = (int8_t)(moves ? g->move_interval : enemy->wait - 1);
  enemy->x = (int8_t)(enemy->x + (moves ? enemy->way : 0));
  bool meets = at_player(g, enemy);
  state->over |= met | meets;
  *deleted = !inside(enemy);
  if (!moves || *deleted || meets) return 0;

  int bullet = find(&g->bullets, enemy->x, enemy->y);
  if (bullet < 0) return 0;
  drop(&g->bullets, bullet);
  *deleted = true;
  return 1;
}

// a submarine fires when its gun is due, also from where it was just hit or left the grid
static int move_subs(CellMinatar *state) {
  CellSeaquest *g = &state->game.seaquest;
  int reward = 0;
  for (int i = g->subs.count - 1; i >= 0; i--) {
    CellSwimmer *sub = &g->subs.member[i];
    bool deleted;
    reward += move_enemy(state, sub, &deleted);
    if (sub->gun == 0) {
      sub->gun = GUN_WAIT;
      append(&g->enemy_bullets, (CellSwimmer){.x = sub->x, .y = sub->y, .way = sub->way});
    } else {
      sub->gun--;
    }
    if (deleted) drop(&g->subs, i);
  }
  return reward;
}

// a bullet that hits the player stays
static void move_enemy_bullets(CellMinatar *state) {
  CellSeaquest *g = &state->game.seaquest;
  for (int i = g->enemy_bullets.count - 1; i >= 0; i--) {
    CellSwimmer *bullet = &g->enemy_bullets.member[i];
    if (at_player(g, bullet)) state->over = true;
    if (!advance(bullet)) {
      drop(&g->enemy_bullets, i);
    } else if (at_player(g, bullet)) {
      state->over = true;
    }
  }
}

static int move_fish(CellMinatar *state) {
  CellSeaquest *g = &state->game.seaquest;
  int reward = 0;
  for (int i = g->fish.count - 1; i >= 0; i--) {
    bool deleted;
    reward += move_enemy(state, &g->fish.member[i], &deleted);
    if (deleted) drop(&g->fish, i);
  }
  return reward;
}

// delivers six divers, refills, always gives up one diver (-1 after a delivery), becomes harder
static int surface(CellMinatar *state) {
  CellSeaquest *g = &state->game.seaquest;
  int reward = 0;
  g->at_surface = true;
  if (g->carried == FULL_CREW) {
    g->carried = 0;
    reward = g->oxygen * 10 / FULL_OXYGEN;
  }
  g->oxygen = FULL_OXYGEN;
  g->carried--;
  if (state->ramping && (g->spawn_interval > 1 || g->move_interval > FASTEST_MOVE)) {
    if (g->move_interval > FASTEST_MOVE && g->ramp_level % 2 == 1) g->move_interval--;
    if (g->spawn_interval > 1) g->spawn_interval--;
    g->ramp_level++;
  }
  return reward;
}

static int rules(CellMinatar *state, int action) {
  CellSeaquest *g = &state->game.seaquest;
  if (g->spawn_wait == 0) {
    spawn_enemy(g, &state->random);
    g->spawn_wait = g->spawn_interval;
  }
  if (g->diver_wait == 0) {
    spawn_diver(g, &state->random);
    g->diver_wait = DIVER_SPAWN;
  }
  move_player(g, action);
  int reward = move_bullets(g);
  move_divers(g);
  reward += move_subs(state);
  move_enemy_bullets(state);
  reward += move_fish(state);

  g->spawn_wait = (g->spawn_wait - (g->spawn_wait > 0));
  g->diver_wait = (g->diver_wait - (g->diver_wait > 0));
  g->shot_wait = (g->shot_wait - (g->shot_wait > 0));

  // the oxygen is looked at before it is used, and before surfacing refills it
  if (g->oxygen <= 0) state->over = true;
  if (g->py > 0) {
    g->oxygen--;
    g->at_surface = false;
  } else if (!g->at_surface) {
    if (g->carried == 0) {
      state->over = true;
    } else {
      reward += surface(state);
    }
  }
  return reward;
}

/* ---- observation ---- */

// one channel of columns 0 to n - 1, in each half of a row
#define UP_TO_1 0x1
#define UP_TO_2 0x401
#define UP_TO_3 0x100401
#define UP_TO_4 0x40100401
#define UP_TO_5 0x10040100401
static const uint64_t columns[2][CELL_GRID + 1] = {
    {0, UP_TO_1, UP_TO_2, UP_TO_3, UP_TO_4, UP_TO_5, UP_TO_5, UP_TO_5, UP_TO_5, UP_TO_5, UP_TO_5},
    {0, 0, 0, 0, 0, 0, UP_TO_1, UP_TO_2, UP_TO_3, UP_TO_4, UP_TO_5}};

// half of the lowest row: nothing comes there, it is for the gauges
static uint64_t gauges(const CellSeaquest *g, int half) {
  uint64_t bits = columns[half][g->oxygen * CELL_GRID / FULL_OXYGEN] << OXYGEN_GAUGE;
  if (g->carried > 0) {
    bits |= (columns[half][LAST] & ~columns[half][LAST - g->carried]) << DIVER_GAUGE;
  }
  return bits;
}

static inline void draw_list(uint32_t *words, int channel, const CellShoal *list, bool trail) {
  for (int i = 0; i < list->count; i++) {
    const CellSwimmer *m = &list->member[i];
    cell_draw(words, CHANNELS, channel, m->x, m->y);
    if (trail) cell_draw_inside(words, CHANNELS, TRAIL, m->x - m->way, m->y);
  }
}

static void observe(const CellMinatar *state, uint32_t *words) {
  const CellSeaquest *g = &state->game.seaquest;
  enum { HALF = CELL_GRID * CHANNELS / 2 };
  CellPen pen = {.words = words};
#pragma GCC unroll 18 // so that the places are constants
  for (int i = 0; i < 2 * LAST; i++) cell_write(&pen, 0, HALF);
  cell_write(&pen, gauges(g, 0), HALF);
  cell_write(&pen, gauges(g, 1), HALF);
  cell_write_end(&pen);

  cell_draw(words, CHANNELS, SUB_FRONT, g->px, g->py);
  cell_draw_inside(words, CHANNELS, SUB_BACK, g->px + (g->facing_right ? -1 : 1), g->py);
  draw_list(words, FRIENDLY_BULLET, &g->bullets, false);
  draw_list(words, ENEMY_BULLET, &g->enemy_bullets, false);
  draw_list(words, ENEMY_FISH, &g->fish, true);
  draw_list(words, ENEMY_SUB, &g->subs, true);
  draw_list(words, DIVER, &g->divers, true);
}

static int ramp_level(const CellMinatar *state) {
  return state->game.seaquest.ramp_level;
}

/* ---- state as text ---- */

static void io_list(CellStateIo *io, CellShoal *list, bool wait, bool gun) {
  list->count = cell_io_number(io, list->count, 0, SEAQUEST_ROOM / 2);
  for (int i = 0; i < list->count; i++) {
    CellSwimmer *m = &list->member[i];
    m->x = (int8_t)cell_io_number(io, m->x, 0, LAST);
    m->y = (int8_t)cell_io_number(io, m->y, 0, LAST);
    m->way = (int8_t)(2 * cell_io_number(io, m->way > 0, 0, 1) - 1);
    m->wait = (int8_t)(wait ? cell_io_number(io, m->wait, 0, 100) : 0);
    m->gun = (int8_t)(gun ? cell_io_number(io, m->gun, 0, 100) : 0);
  }
}

static void io(CellMinatar *state, CellStateIo *io) {
  CellSeaquest *g = &state->game.seaquest;
  g->px = cell_io_number(io, g->px, 0, LAST);
  g->py = cell_io_number(io, g->py, 0, LOWEST_ROW);
  g->facing_right = cell_io_number(io, g->facing_right, 0, 1);
  g->oxygen = cell_io_number(io, g->oxygen, -1, FULL_OXYGEN);
  g->carried = cell_io_number(io, g->carried, INT32_MIN + 1, FULL_CREW);
  g->at_surface = cell_io_number(io, g->at_surface, 0, 1);
  g->shot_wait = cell_io_number(io, g->shot_wait, 0, SHOT_WAIT);
  g->spawn_interval = cell_io_number(io, g->spawn_interval, 1, SPAWN_INTERVAL);
  g->spawn_wait = cell_io_number(io, g->spawn_wait, 0, SPAWN_INTERVAL);
  g->diver_wait = cell_io_number(io, g->diver_wait, 0, DIVER_SPAWN);
  g->move_interval = cell_io_number(io, g->move_interval, FASTEST_MOVE, MOVE_INTERVAL);
  g->ramp_level = cell_io_number(io, g->ramp_level, 0, 1000);
  io_list(io, &g->bullets, false, false);
  io_list(io, &g->divers, true, false);
  io_list(io, &g->subs, true, true);
  io_list(io, &g->enemy_bullets, false, false);
  io_list(io, &g->fish, true, false);
}

static CellEnvStep step(CellMinatar *state, int action) {
  return cell_minatar_do(state, action, rules);
}

const CellMinatarGame cell_seaquest = {
    "seaquest", {CELL_NOOP, CELL_LEFT, CELL_UP, CELL_RIGHT, CELL_DOWN, CELL_FIRE},
    reset,      step,
    observe,    ramp_level,
    io};
