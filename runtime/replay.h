/* replay.h - the transitions a network learns from.
 *
 * One ring of observations for each environment, each observation stored once: bits in 32-bit words
 * or floats, as the environment gives them. s_{t+1} is the next row of the ring; only what an
 * episode ended with is kept apart, in a queue. A transition's context is found by its index: the
 * ring has `context` rows more than it has transitions to sample, so that the contexts of the
 * oldest ones are whole too. With each row stand the transition's action, ends and reward (CellReplayRow): a
 * transition of 400 bits takes 56 bytes.
 *
 *   cell_replay_begin(r, 0, first);                        // an episode's first observation
 *   cell_replay_add(r, 0, action, reward, false, false, next);
 *   cell_replay_add(r, 0, action, reward, true, false, last);  // it ended
 *   cell_replay_begin(r, 0, first);                        // of the next one
 *   cell_replay_sample(r, seed, update, &batch);           // fills the tensors of `update`
 *
 * All environments are advanced equally often between two samples.
 *
 * On a GPU the rings may have a copy (cell_replay_mirror), from which batches are drawn and gathered without the
 * host: the same ones, byte for byte. The rings here stay complete. */
#ifndef CELL_REPLAY_H
#define CELL_REPLAY_H

#include "codegen/codegen.h"

enum { CELL_REPLAY_MOST_ACTIONS = 1 << 16, CELL_REPLAY_MOST_CONTEXT = (1 << 14) - 2 };

typedef struct {
  int64_t capacity; /* transitions of all environments together */
  int32_t envs;
  int32_t context;      /* observations before s_t in a context */
  int32_t observation;  /* entries of an observation */
  int32_t actions;      /* that there are; 0: CELL_REPLAY_MOST_ACTIONS */
  bool bits;            /* entries are bits, in words of 32, low bit first; else floats */
  bool terminated_only; /* only `terminated` starts an episode: contexts cross time limits */
} CellReplayOptions;

typedef struct CellReplay CellReplay;

/* NULL when there is not enough memory or a limit is passed; reported to diag. Pages are taken from
 * the system as they are filled. */
CellReplay *cell_replay_create(const CellReplayOptions *options, CellDiag *diag);
void cell_replay_destroy(CellReplay *replay);

/* Bytes that a full replay takes, final observations not counted. */
int64_t cell_replay_bytes(const CellReplayOptions *options);

/* Observations are in the form that the options name; they are copied. */
void cell_replay_begin(CellReplay *replay, int env, const void *observation);
void cell_replay_add(CellReplay *replay, int env, int32_t action, float reward, bool terminated,
                     bool truncated, const void *next);

/* Transitions that can be sampled; and all that were ever added. */
int64_t cell_replay_filled(const CellReplay *replay);
int64_t cell_replay_added(const CellReplay *replay);

/* Where a batch goes: the input tensors of an update, rows of an observation each; a tensor without
 * data is left out. context: row t * batch + b holds the t-th oldest of sample b. */
typedef struct {
  int32_t batch;
  CellTensorData context, obs, next_obs, action, reward, terminated;
} CellBatch;

/* Writes transition `index` (0: the oldest that can be sampled; environments interleaved) as sample
 * b of the batch. */
void cell_replay_gather(const CellReplay *replay, int64_t index, int32_t b, CellBatch *batch);

/* Fills the batch with transitions drawn uniformly with replacement, a function of (seed, update)
 * and the content. There must be at least one transition. With a mirror the batch's tensors are left alone: the
 * program's next run fills its inputs on the GPU, with the same. A mirror that fails is dropped with a
 * warning. */
void cell_replay_sample(CellReplay *replay, uint64_t seed, uint64_t update, CellBatch *batch,
                        CellDiag *diag);

/* Keeps a copy on the engine's GPU, for batches of `program`. false: the engine has no GPU (the message is then
 * empty), or the message says why it cannot be; the replay goes on from the host's memory. The engine must
 * outlive the replay. */
bool cell_replay_mirror(CellReplay *replay, CellEngine *engine, const char *program, int32_t batch,
                        char *message, size_t size);
/* Bytes that the copy takes on the GPU; 0: there is none. */
int64_t cell_replay_mirror_bytes(const CellReplay *replay);

/* Writes one observation (bits or floats, `count` entries) as row `row` of a tensor, converting to
 * what the tensor holds. */
void cell_put_observation(const CellTensorData *tensor, int64_t row, const void *observation,
                          int32_t count, bool bits);
void cell_put_number(const CellTensorData *tensor, int64_t index, double value);
double cell_get_number(const CellTensorData *tensor, int64_t index);

#endif
