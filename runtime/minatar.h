/* minatar.h - the five games of MinAtar (Young and Tian 2019), exact to the bit with version 1.0.15
 * for every integer seed, as environments of env.h.
 *
 * The environments take the game's minimal action set. The functions here take FULL action indices
 * (no-op, left, up, right, down, fire) instead; they serve traces and tests. */
#ifndef CELL_MINATAR_H
#define CELL_MINATAR_H

#include "runtime/env.h"

enum { CELL_MINATAR_GAMES = 5, CELL_MINATAR_ACTIONS = 6 };

/* In alphabetical order. */
extern const CellEnvKind cell_minatar_kinds[CELL_MINATAR_GAMES];

/* The settings' numbers. */
enum { CELL_MINATAR_STICKY, CELL_MINATAR_RAMPING, CELL_MINATAR_SETTINGS };

/* True for the kinds of this file. */
bool cell_minatar_is(const CellEnvKind *kind);

/* The game's name without the group: "space_invaders". */
const char *cell_minatar_game_name(const CellEnvKind *kind);

/* The full index of each action of the game's minimal set, kind->actions.count of them. */
const int8_t *cell_minatar_minimal_set(const CellEnvKind *kind);

/* One step with the full action index `action`, 0 <= action < CELL_MINATAR_ACTIONS. */
CellEnvStep cell_minatar_step(const CellEnvKind *kind, void *state, int action);

/* The full index of the action that the latest step really executed; 0 before the first. */
int cell_minatar_executed(const void *state);

/* How often the game became harder in this episode; 0 where it never does. */
int cell_minatar_ramp_level(const CellEnvKind *kind, const void *state);

#endif
