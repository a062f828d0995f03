/* engine.h - the inside of an engine, for engine.c, tensors.c and guards.c. */
#ifndef CELL_ENGINE_H
#define CELL_ENGINE_H

#include "codegen/internal.h"

#include <stdatomic.h>

/* A named tensor, or a temporary of the plan. */
typedef struct {
  const char *name;
  CellBufferKind kind;
  int program; /* -1: a state */
  CellDtype dtype;
  int64_t count;   /* elements as stored; BITS on the CPU: words */
  int64_t entries; /* one a bit */
  int64_t bit_row;
  void *data; /* doubles, or on the CPU float, int32_t, uint32_t */
} CellSlot;

/* What one thread does at a time: tasks, or rows, [first, last) of a launch. */
typedef struct {
  int launch;
  int64_t first, last;
} CellItem;

/* Launches that may run at once. */
typedef struct {
  int *shares; /* thread t's items are those from shares[t] to shares[t + 1] */
  bool alone;  /* not worth a second thread */
} CellStage;

/* A launch whose rows are cut before every run, by how fast threads have been. */
typedef struct {
  int launch, item; /* its first item */
  int pieces;       /* items of a thread */
  double *rates;    /* rows a second of each thread, smoothed; 0: not known yet */
} CellRanges;

/* The launches of a program as items, stage by stage. */
typedef struct {
  CellItem *items;
  int item_count;
  CellStage *stages;
  int stage_count;
  bool team;                /* some kernel is worth waking threads for */
  int team_begin, team_end; /* the stages that a team runs; the caller's thread runs the others */
  bool *shared;             /* of each launch: whether a team shares its stage */
  void ***args;             /* of each launch */
  CellRanges *ranges;
  int range_count, range_capacity;
} CellAgenda;

/* What a thread writes while a program runs, on lines of the cache of its own. */
typedef struct {
  atomic_int *taken; /* of each stage: items of this thread's share that are under way or done */
  double *seconds;   /* that the thread spent on each launch of the run that is under way */
  int64_t *rows;     /* of each launch with ranges: those it ran */
} CellThread;

struct CellEngine {
  CellArena *arena;
  const CellModule *m;
  const CellPlan *plan;
  CellBackend backend;
  CellEngineOptions options; /* threads and isa resolved */
  CellSlot *slots;           /* of a plan: one a buffer, in its order */
  int slot_count, slot_capacity;
  void *block; /* all buffers */
  size_t block_bytes;
  bool touched; /* states may be other than zero, as the block is at first */
  double *seconds;
  int seconds_count;
  /* CPU */
  const CellProvider *provider;
  CellJit *jit;
  CellKernelFunction *functions;
  CellAgenda *agendas; /* one a program */
  CellThread *threads;
  unsigned char **scratch; /* one a thread, guards around it */
  int64_t scratch_bytes;
  /* CUDA */
  struct CellGpu *gpu;
};

/* Whether elements are doubles. */
static inline bool cell_engine_wide(const CellEngine *e) {
  return e->backend == CELL_BACKEND_INTERP || e->backend == CELL_BACKEND_INTERP_KERNELS;
}

/* The device of an engine (cuda_device.c). */
typedef struct CellGpu CellGpu;
bool cell_gpu_open(CellEngine *e, CellDiag *diag);
void cell_gpu_close(CellEngine *e);
bool cell_gpu_run(CellEngine *e, int program, CellDiag *diag);
bool cell_gpu_lost(const CellEngine *e);
/* Before the host reads or writes a state through the engine (false: the device is lost, and the state with
 * it); before it keeps a state's address. */
bool cell_gpu_before(CellEngine *e, const CellSlot *slot, bool write);
void cell_gpu_share(CellEngine *e, CellSlot *slot);

enum { CELL_GUARD_BYTE = 0xa5 };

/* Zones around buffers and scratch (guards.c). */
void cell_guards_fill(CellEngine *e);
/* false: something was written there; reported as the fault of `kernel`. */
bool cell_guards_check(const CellEngine *e, const char *kernel, CellDiag *diag);

CellSlot *cell_engine_slot(CellEngine *e, const char *program, const char *name);

#endif
