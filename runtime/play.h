/* play.h - a frozen policy that plays episodes, one step at a time: what `eval` counts and what
 * `play` and `render` show.
 *
 * Episode k is a function of (seed, k, who decides): its environment has a seed of its own and its
 * exploration a stream of its own, so an episode does not depend on how many are played at once,
 * and nothing here touches the random numbers of training.
 *
 *   CellPlay *play = cell_play_create(&options, diag);
 *   cell_play_begin(play, 0, 7);                       // episode 7 in slot 0
 *   while (!play->players[0].ended) {
 *     if (!cell_play_choose(play, diag)) break;        // for all slots at once
 *     cell_play_step(play, 0);
 *   }
 *   cell_play_destroy(play); */
#ifndef CELL_PLAY_H
#define CELL_PLAY_H

#include "runtime/agent.h"
#include "runtime/env.h"

typedef struct {
  CellAgent
      *agent; /* with "act"; for cells' decisions and values with "<cell>/q"; NULL: all actions
                       are random, and there is one slot */
  const CellEnvKind *env;
  uint64_t seed;
  double epsilon;    /* share of random actions; 0: greedy */
  int64_t max_steps; /* an episode is cut after so many; 0: never */
  int cell;          /* -1: the policy decides; else the cell of this number, by its own values */
  bool advance_on_random;
  int threads; /* at most so many step environments at once; 0: all cores */
} CellPlayOptions;

/* A slot: an environment and the episode in it. */
typedef struct {
  void *state;     /* of the environment */
  int64_t episode; /* -1: none, the slot is idle */
  int64_t length;  /* steps done */
  double total;    /* the sum of rewards */
  CellEnvStep last;
  bool ended, cut; /* cut: by max_steps, not by the environment */
  bool explores;   /* the action is a random one */
  int32_t action;  /* the latest that was chosen; a caller may change it before the step */
} CellPlayer;

typedef struct {
  CellPlayOptions options;
  CellPlayer *players;
  int count; /* slots: the agent's environments, or 1 */
  /* the rest belongs to play.c */
  CellTensorData obs, action, values, *carries;
  void *observation;
  unsigned char *kept;
} CellPlay;

/* All slots idle; NULL after an error. */
CellPlay *cell_play_create(const CellPlayOptions *options, CellDiag *diag);
void cell_play_destroy(CellPlay *play); /* NULL is fine */

/* Begins an episode in a slot. An environment that fails in it is reported by the next choice. */
void cell_play_begin(CellPlay *play, int slot, int64_t episode);

/* Chooses the action of every slot that has an episode; false after an error, also of an environment in
 * what came before. */
bool cell_play_choose(CellPlay *play, CellDiag *diag);

/* Does a slot's action; true when that ended the episode. The slot keeps the last state. */
bool cell_play_step(CellPlay *play, int slot);

/* The same for every slot that has an episode, on threads where a step is long. */
void cell_play_step_all(CellPlay *play);

/* The values that a cell gave the actions of slot 0 in the latest choice, actions.count numbers;
 * false where there is no agent, or one that tells no values. */
bool cell_play_values(const CellPlay *play, int cell, double *values);

#endif
