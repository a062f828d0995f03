/* env.h - environments: what an agent acts in.
 *
 * An environment kind is a constant description and a handful of functions. One environment is a
 * block of `state_bytes` bytes (16-byte aligned, from malloc or an arena).
 *
 *   const CellEnvKind *kind = cell_env_find("minatar/breakout", NULL);
 *   void *state = cell_env_create(kind, diag);        // NULL: something is missing; diag says what
 *   cell_env_start(kind, state, NULL, 7);             // default settings, seed 7, first episode
 *   while (cell_env_check(kind, state, diag)) {
 *     kind->observe(kind, state, words);
 *     CellEnvStep step = cell_env_act(kind, state, choose(words));
 *     if (step.terminated || step.truncated) kind->reset(kind, state);
 *   }
 *   cell_env_destroy(kind, state);
 *
 * Of a kind without `open` the block holds ALL state, settings and random generator included, as
 * plain data without pointers; its functions never fail, allocate or print, and any block will do.
 * A kind with `open` is a simulation of some library: its block refers to what that works on, and
 * its steps and resets may fail. cell_env_save and cell_env_restore copy the state of either, to
 * keep it, to go back or to fork it. Environments in different blocks may be used by different
 * threads at once. */
#ifndef CELL_ENV_H
#define CELL_ENV_H

#include "ir/support.h"
#include "runtime/scene.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CELL_ENV_MAX_RANK = 3, CELL_ENV_MAX_BITS = 1 << 14 };

/* How an observation is represented. */
typedef enum {
  CELL_ENV_BITS, /* packed: element i is bit i % 32 of 32-bit word i / 32, unused bits 0 */
  CELL_ENV_REAL  /* one float an element */
} CellEnvRepresentation;

typedef struct {
  CellEnvRepresentation representation;
  int rank;
  int shape[CELL_ENV_MAX_RANK]; /* row-major, the last index fastest */
  int count;                    /* number of elements, the product of the shape */
  double density;               /* bits: mean share of set bits under random play; real: 1 */
  const char *const *channels;  /* names along the last axis, or NULL */
} CellEnvObservation;

/* With a count and a dimension an environment takes either: an action's number is a choice of an end
 * for each component, that of component j being its bit dimension - 1 - j (set: 1, else -1). */
typedef struct {
  int count;                /* discrete: number of actions; 0 for continuous */
  int dimension;            /* continuous: number of components, each in [-1, 1]; 0 for discrete */
  bool bits;                /* a network sees the bits of an action's number */
  const char *const *names; /* of actions (of components, if there is no count), or NULL */
} CellEnvActions;

/* A number that the user may choose; part of the state block once set. */
typedef struct {
  const char *name;
  const char *meaning;
  double initial, low, high;
  bool integer; /* only whole numbers; 0 and 1 stand for off and on */
} CellEnvSetting;

/* A discrete action's number, or the components of a continuous one. */
typedef union {
  int32_t index;
  const float *components;
} CellEnvAction;

typedef struct {
  double reward;
  bool terminated; /* the episode ended: nothing follows, do not bootstrap */
  bool truncated;  /* the episode was cut: something would have followed */
} CellEnvStep;

typedef struct CellEnvKind CellEnvKind;
struct CellEnvKind {
  const char *name; /* "minatar/space_invaders" */
  const char *summary;
  CellEnvObservation observation;
  CellEnvActions actions;
  const CellEnvSetting *settings;
  int setting_count;
  size_t state_bytes;
  bool heavy;       /* a step takes long enough to be worth a thread */
  int authors_seed; /* of every environment of the published runs; 0: theirs came from the run's */
  int time_limit;   /* steps after which an episode is truncated; 0: there is no such limit */
  const void *data; /* the kind's own constant data */

  /* Prepares a block with any content for all that follows, and releases what it refers to. false on
   * errors, reported to diag; there is nothing to close then. Both NULL: not needed. */
  bool (*open)(const CellEnvKind *kind, void *state, CellDiag *diag);
  void (*close)(const CellEnvKind *kind, void *state);

  /* Makes a valid environment of a block with any content (opened, where there is `open`). `settings`
   * has setting_count numbers within their limits, or is NULL for the initial ones. */
  void (*init)(const CellEnvKind *kind, void *state, const double *settings);

  /* Restarts the random generator; the current episode goes on. */
  void (*seed)(const CellEnvKind *kind, void *state, uint32_t seed);

  /* Begins an episode; the generator goes on. Allowed at any time. */
  void (*reset)(const CellEnvKind *kind, void *state);

  /* Acts once. After the end of an episode nothing changes until reset. */
  CellEnvStep (*step)(const CellEnvKind *kind, void *state, CellEnvAction action);

  /* The same by components, where actions have a count and a dimension; else NULL. */
  CellEnvStep (*move)(const CellEnvKind *kind, void *state, const float *components);

  /* Writes the current observation: cell_env_words(kind) words, or `count` floats. */
  void (*observe)(const CellEnvKind *kind, const void *state, void *observation);

  /* Whether the last reset or a step since has failed; if so it is reported to diag (unless NULL), with
   * what repeats it. Nothing changes then until the next reset. NULL: they never fail. */
  bool (*failure)(const CellEnvKind *kind, const void *state, CellDiag *diag);

  /* Copies the state to and from `saved_bytes` bytes of plain data without pointers. 0 and NULL: the
   * block is that. */
  size_t saved_bytes;
  void (*save)(const CellEnvKind *kind, const void *state, void *saved);
  void (*restore)(const CellEnvKind *kind, void *state, const void *saved);

  /* Describes what the environment looks like now: clears `scene` and fills it (scene.h), the one
   * function that may allocate. False when there is nothing to see. NULL where there are no solids;
   * environments of bits are drawn from their observation. */
  bool (*scene)(const CellEnvKind *kind, const void *state, CellScene *scene);
};

/* Number of 32-bit words that an observation takes in its own representation. */
static inline int cell_env_words(const CellEnvKind *kind) {
  int count = kind->observation.count;
  return kind->observation.representation == CELL_ENV_BITS ? (count + 31) / 32 : count;
}

/* Does one discrete action, 0 <= action < actions.count. */
static inline CellEnvStep cell_env_act(const CellEnvKind *kind, void *state, int action) {
  return kind->step(kind, state, (CellEnvAction){.index = action});
}

/* A block of its own, zero and opened; NULL on errors, reported to diag. */
void *cell_env_create(const CellEnvKind *kind, CellDiag *diag);
void cell_env_destroy(const CellEnvKind *kind, void *state); /* NULL is fine */

/* True while all is well; false after a reset or step that failed, reported to diag. */
static inline bool cell_env_check(const CellEnvKind *kind, const void *state, CellDiag *diag) {
  return !kind->failure || !kind->failure(kind, state, diag);
}

/* Copies an environment's state to cell_env_saved_bytes(kind) bytes, and back into the same or
 * another environment of that kind, whose future is then the same to the bit. A restored simulation
 * can fail: cell_env_check. */
size_t cell_env_saved_bytes(const CellEnvKind *kind);
void cell_env_save(const CellEnvKind *kind, const void *state, void *saved);
void cell_env_restore(const CellEnvKind *kind, void *state, const void *saved);

/* Initialises, seeds and begins the first episode; check it. */
void cell_env_start(const CellEnvKind *kind, void *state, const double *settings, uint32_t seed);

/* Writes the current observation as `count` floats, bits as 0 and 1. */
void cell_env_observe_floats(const CellEnvKind *kind, const void *state, float *values);

/* Finds an environment by name; hyphens are as good as underscores. NULL when there is none; then
 * *nearest (where given) is the name that may have been meant, or NULL. */
const CellEnvKind *cell_env_find(const char *name, const char **nearest);

/* All environments, 0 <= index < cell_env_count(), in alphabetical order. */
int cell_env_count(void);
const CellEnvKind *cell_env_at(int index);

/* The number of a kind's setting by name, or -1. */
int cell_env_setting(const CellEnvKind *kind, const char *name);

#endif
