/* network.h - a .cell file, compiled for an environment: from text to an agent.
 *
 * Parses, checks, instantiates, runs the passes, plans and makes an engine. What a network reads
 * and writes is reached through `agent` (agent.h); parameters by the names that checkpoints use. */
#ifndef CELL_NETWORK_H
#define CELL_NETWORK_H

#include "frontend/frontend.h"
#include "runtime/agent.h"
#include "runtime/env.h"

typedef struct {
  const char *name; /* of the source, for messages */
  const char *text; /* the source; need not outlive the call */
  size_t length;
  CellSpecOptions spec;
  CellShapes shapes; /* see cell_env_shapes */
  CellBackend backend;
  CellEngineOptions engine;
  int32_t envs;                /* environments of act; 0: no act program */
  bool learn;                  /* with update and sync */
  bool cell_values;            /* act gives "q" and "<cell>/q" too */
  bool plan_only;              /* stop before the engine: network->engine and agent stay empty */
  const char *const *disabled; /* optional passes over graphs to leave out */
  int disabled_count;
  double *phase_seconds; /* NULL, or room for the time that each phase took */
} CellNetworkOptions;

/* Phases of opening: text to traced programs, passes, plan, engine (compiling or reading the cache). */
enum { CELL_NETWORK_PHASES = 4 };

typedef struct {
  CellArena *arena;
  CellSpec *spec;
  CellModule *module;
  CellPlan *plan; /* NULL with CELL_BACKEND_INTERP */
  CellEngine *engine;
  CellBackend backend;
  const char *cpu_because; /* NULL, or why it is not on the GPU: see engine.cpu_will_do */
  CellShapes shapes;
  CellAgent agent;
} CellNetwork;

/* The shapes that an environment's description gives. */
CellShapes cell_env_shapes(const CellEnvKind *kind);

/* NULL on errors, all of which are in diag. The parameters are zero. With engine.cpu_will_do, a GPU that is asked
 * for and will not do (memory, shared memory, its compiler) is no error: the network is on the CPU. */
CellNetwork *cell_network_open(const CellNetworkOptions *options, CellDiag *diag);
/* How much was said so far. */
typedef struct {
  int records, errors, warnings;
} CellDiagMark;
CellDiagMark cell_diag_mark(const CellDiag *diag);
/* For who could not make an engine: why the GPU will not do, if that was the first error since the mark and
 * engine.cpu_will_do (all that was said since is then forgotten; the text lives as long as diag). Else NULL. */
const char *cell_cpu_instead(const CellEngineOptions *engine, CellDiagMark since, CellDiag *diag);
void cell_network_close(CellNetwork *network); /* NULL is fine */

/* Zeroes every state, then draws the parameters; target parameters become equal to them. */
void cell_network_init(CellNetwork *network, uint64_t seed, bool shared);

/* Arithmetic of one update in the form in which the network is written: every cell's values for every
 * candidate action in each of the three passes (now, next, next by the target) and their gradients,
 * no rewrites. false if the learning rule has no such passes. */
bool cell_network_written_counts(const CellNetworkOptions *options, const CellNetwork *network,
                                 CellCounts *counts);

/* Number of parameters, all entries. */
int64_t cell_network_param_count(const CellNetwork *network);

/* Writes "params/<parameter>" as float32 with the metadata (pairs key, text; NULL ends), at once.
 * false on errors; NOT written (and *finite false) when a parameter is not finite. */
bool cell_network_save(CellNetwork *network, const char *path, const char *const *metadata,
                       bool *finite, CellDiag *diag);
/* Reads what cell_network_save wrote, into "params/" and, where there are any, "target/". */
bool cell_network_load(CellNetwork *network, const char *path, CellDiag *diag);

#endif
