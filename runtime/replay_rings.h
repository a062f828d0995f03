/* replay_rings.h - the inside of a replay, for replay.c and replay_mirror.c. */
#ifndef CELL_REPLAY_RINGS_H
#define CELL_REPLAY_RINGS_H

#include "runtime/replay.h"

/* What is known of a transition besides its observation. */
typedef struct {
  float reward;
  uint32_t action;
  uint32_t
      age; /* rows that its context may reach back: steps since the episode's start, at most `context` */
  bool terminated;
  bool ended; /* the next observation is in the queue of final ones */
} Transition;

/* Transition n of an environment (counted from its start) is in slot n % slots; the observation that waits for
 * its action is row `added`. */
typedef struct {
  uint32_t *rows; /* slots rows (floats are words too) */
  int64_t added;
  uint32_t age; /* of the waiting observation */
  /* final observations, oldest first: a ring that grows, numbered by their transition */
  uint32_t *finals;
  int64_t *final_numbers;
  int64_t final_first, final_count, final_room; /* room: a power of two */
  int64_t final_dropped;                        /* so many were there before the first */
  /* what the GPU has: rows below this number, whole; final observations, those before counted */
  int64_t sent, finals_sent;
} Ring;

struct CellReplay {
  CellReplayOptions options;
  CellReplayRow row;
  int64_t capacity; /* of a ring */
  int64_t slots;
  Ring *rings;
  CellMirror *mirror; /* NULL: batches are made here */
};

static inline int64_t cell_replay_filled_of(const CellReplay *r, const Ring *ring) {
  return ring->added < r->capacity ? ring->added : r->capacity;
}

/* The row of transition `number`, which begins with its observation; what its note and reward say. */
uint32_t *cell_replay_row(const CellReplay *r, const Ring *ring, int64_t number);
Transition cell_replay_transition(const CellReplay *r, const Ring *ring, int64_t number);
/* The place in the queue (0: the oldest) of what transition `number` ended with; the observation there. */
int64_t cell_replay_final(const Ring *ring, int64_t number);
int64_t cell_replay_final_number(const Ring *ring, int64_t place); /* and whose it is */
const uint32_t *cell_replay_final_row(const CellReplay *r, const Ring *ring, int64_t place);

/* Lets the GPU draw the batch. false: it cannot any more, which is said once; the mirror is gone. */
bool cell_replay_mirror_sample(CellReplay *r, uint64_t seed, uint64_t update, CellDiag *diag);

#endif
