/* frontend.h - from a .cell file to a module of tensor-IR programs.
 *
 * Two steps. cell_spec_load parses the file and the prelude, applies variants and --set entries, and
 * resolves the settings: everything that does not need an environment. cell_spec_build checks the
 * network for given observation and action shapes and instantiates its programs:
 *
 *   act      one step of a batch of environments.
 *            in:  "obs" [S]{batch}, "state/<carry>" {batch} (zero at an episode's start), params/...
 *            out: "q" [A]{batch} (what the policy takes its argmax of), "action" i32 {batch},
 *                 "state/<carry>" (next), "<cell>/q" [A]{batch} for every cell with a goodness
 *   update   one update on a batch of transitions.
 *            in:  "context" [S]{time,batch} (time = C observations before s_t, oldest first; absent
 *                 if C = 0), "obs" [S]{batch} (s_t), "next_obs" [S]{batch}, "action" i32 {batch},
 *                 "reward", "terminated" {batch}, params/..., target/..., moment1/..., moment2/..., step
 *            out: the states' next values; "metric/<name>" rank 0, no axes (batch means of records,
 *                 losses, gradient norms)
 *   sync     target parameters <- tau * params + (1 - tau) * target. out: "target/..."
 *   inspect  the update's other values, on request: "<cell>/q", "<cell>/next_q", "<cell>/target_next_q"
 *            [A]{batch}, "<cell>/td_target" {batch} and other records, "<cell>/loss",
 *            "<cell>/grad_norm", "<cell>/hidden", "<cell>/state_before|state_now|target_state_now",
 *            "grad/<parameter>". It writes no state: asking changes nothing.
 *
 * A carry is a value that some prev(...) reads: "l1" for prev(l1), "l1.c" for prev(l1.c), "l1@2" for
 * what is two steps back. The programs hold stop_gradient marks, minimize entries and whole
 * parameters: the passes of ir.h take it from there. */
#ifndef CELL_FRONTEND_H
#define CELL_FRONTEND_H

#include "ir/ir.h"

typedef enum {
  CELL_ACTION_AUTO,
  CELL_ACTION_ONEHOT,
  CELL_ACTION_BITS,
  CELL_ACTION_REAL
} CellActionCode;

/* What the environment says of itself (or --obs and --actions). */
typedef struct {
  int obs_rank;
  int32_t obs_shape[3];
  bool obs_bits; /* entries are 0 or 1 */
  CellActionCode code;
  int32_t actions; /* number of actions; code BITS: a power of two */
  bool assumed;    /* nothing was given: [10, 10, 4] and 6 actions; check says so */
} CellShapes;

/* Every number a run depends on (language.md section 6); docs/language.md has units and defaults. */
typedef struct {
  int64_t steps, warmup, every, target_every, replay; /* environment steps; replay in transitions */
  int32_t batch, context, n_step;
  double context_alpha, target_tau;
  /* ramp over a fraction of steps after the warm-up */
  double epsilon_from, epsilon_to, epsilon_over;
  CellOptimizer optimizer;
  CellActionCode action;
  /* the four switches of compat = arq2026 | fixed */
  bool init_shared;        /* draws ignore the cell's name */
  bool advance_on_random;  /* the carried state advances on exploring steps too */
  bool episode_terminated; /* contexts cross time limits: only `terminated` starts an episode */
  int64_t env_seed;        /* or one of: */
} CellTrain;
enum {
  CELL_ENV_SEED_RUN = -1,    /* from the run's seed */
  CELL_ENV_SEED_AUTHORS = -2 /* 1 in the control suite, elsewhere from the run's seed */
};

/* A resolved setting and where its value came from, for run.json and `info`. */
typedef struct {
  const char *path, *value, *origin; /* origin: "default", "file", "variant small", "--set" */
} CellResolved;

typedef struct CellSpec CellSpec; /* private: syntax trees, names, resolved settings */

/* A carried value: "state/<name>" of act; its shape is known after a build. */
typedef struct {
  const char *name; /* "l1", "l1.c", "l1@2" */
  const char *cell;
  int8_t rank;
  int32_t shape[CELL_MAX_RANK];
} CellCarry;

typedef struct {
  const char *variant;     /* NULL: none */
  const char *const *sets; /* "path=value" or "@FILE" */
  int set_count;
  bool
      go_on; /* a spec even after errors in names and settings (not in syntax), to check the rest */
} CellSpecOptions;

/* Parses and resolves source number `source` of diag. NULL if there were errors (all are in diag). */
CellSpec *cell_spec_load(CellArena *arena, CellDiag *diag, int source,
                         const CellSpecOptions *options);
const char *cell_spec_name(const CellSpec *spec);
const CellTrain *cell_spec_train(const CellSpec *spec);
/* Variant names of the file, for --variant all and messages. */
int cell_spec_variants(const CellSpec *spec, const char *const **names);
int cell_spec_settings(const CellSpec *spec, const CellResolved **settings);

typedef struct {
  int32_t act_batch; /* environments of act; 0: no act program */
  bool update, sync;
  const char *const *inspect; /* wanted outputs of inspect; NULL: no inspect program */
  int inspect_count;
} CellBuildOptions;

/* Checks the network for these shapes and makes its programs. NULL on errors (all are in diag).
 * Locations of errors inside a cell name the first instance. */
CellModule *cell_spec_build(CellSpec *spec, const CellShapes *shapes,
                            const CellBuildOptions *options, CellDiag *diag);
/* After a build: the carries of act, in order; the cells with a goodness, bottom to top. */
int cell_spec_carries(const CellSpec *spec, const CellCarry **carries);
int cell_spec_cells(const CellSpec *spec, const char *const **cells);

#endif
