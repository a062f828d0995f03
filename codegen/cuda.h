/* cuda.h - the CUDA back end: a plan for a GPU as CUDA C, compiled by NVRTC, run by the driver.
 *
 * Which plan. The same fusion makes it, for another target (cell_cuda_target): contracts stand in kernels of
 * their own whose tasks are tiles of 64 rows; every other kernel's task is one sample, or one run of rows;
 * scans are written out step by step; launches that do not depend on each other share a stage.
 *
 * What a stage becomes (cuda_emit.c): one CUDA kernel. Its blocks are handed out in order to its *parts*:
 *   - a sweep part is a kernel's loop tree; a block runs one task. LANES loops go over the block's threads;
 *     what is outside them every thread computes, and thread 0 stores. A serial loop whose iterations do not
 *     depend on each other goes over the block's warps, LANES loops inside it over a warp's threads.
 *     An accumulator that lanes update is a partial a thread, folded by shuffles and one exchange between
 *     warps, in a fixed order, before the first statement that reads it; several at once.
 *     Scratch lies in shared memory while it fits, the largest pieces else in a workspace, a slice a block.
 *     Barriers stand where a statement touches what other threads touched before (cuda_hazard.c).
 *   - a product part is a chain of contracts into one output; a block makes one tile of it, sums in registers
 *     (cuda_product.h), reading through shared memory by asynchronous copies. Loops over the output behind them
 *     that work entry by entry or sum up tiles, the part's tail, are done on those registers.
 *
 * What a kernel's text is made of: C++ with the functions of cuda_prelude.h and no others. That header has two
 * sides. On the device its functions are the instructions. On the host, tests run the same text: blocks one
 * after another, threads as fibers, every access checked (tests/support/cuda_host.h).
 *
 * Determinism: no floating-point atomics; the order of every sum follows from the text alone. */
#ifndef CELL_CUDA_H
#define CELL_CUDA_H

#include "codegen/internal.h"

enum {
  CELL_CUDA_THREADS = 128, /* of every block */
  CELL_CUDA_ROWS = 64,     /* of a product's tile */
  CELL_CUDA_COLUMNS = 64,
  CELL_CUDA_SHARED = 48 << 10, /* bytes of scratch that a sweep keeps in shared memory */
  CELL_CUDA_PARAMETERS = 4000, /* bytes of a launch's arguments */
  CELL_CUDA_FOLD_BYTES = 512   /* of shared memory, for folds: CELL_FOLD_BYTES of the prelude */
};

/* ---- cuda_schedule.c: how a kernel's loop tree is spread over a block ---- */

typedef enum {
  CELL_SPREAD_NONE,    /* every thread runs every iteration */
  CELL_SPREAD_WARPS,   /* an iteration is a warp's; LANES loops inside go over its lanes */
  CELL_SPREAD_THREADS, /* an iteration is a thread's, LANES loops inside too */
  CELL_SPREAD_TURNED /* ends in its LANES loop: a thread takes a lane and runs all iterations for it */
} CellSpread;

/* What was decided about a statement. */
typedef struct {
  const CellStmt *stmt;
  CellSpread spread;
  bool
      barrier; /* of the block, or inside a loop over warps of the warp, before it (and its folds) */
  int *folds;  /* accumulators that are folded before it */
  int fold_count, fold_capacity;
  int area; /* which half of the exchange area the folds use */
  int kept; /* STORE with add in a turned loop: summed in register number .., from 1; 0: it is not */
} CellCudaNote;

/* An accumulator that lanes update has partials; one may be updated outside of lanes too. */
typedef struct {
  const CellStmt *def; /* of any value */
  const CellStmt
      *unit; /* the LANES loop, or loop over threads, that it is defined in; NULL: none */
  bool partial, scalar;
  int uses;
  bool fused; /* a multiplication that its reader does, in one rounding */
} CellCudaValue;

typedef struct {
  CellArena *arena;
  const CellKernel *k;
  const CellStmt **loops; /* by variable */
  CellCudaValue *values;
  CellCudaNote *notes; /* a hash table by statement */
  int note_count, note_room, kept_count;
  int64_t *shared; /* bytes of each scratch from the start of shared memory, -1: in the workspace */
  int64_t *workspace; /* words of the others from the start of a block's slice */
  int64_t shared_bytes, workspace_words;
  bool wide;               /* indices beyond 2^31 */
  const CellDiag *sources; /* for the lines of the .cell file in comments, or NULL */
} CellCudaSchedule;

CellCudaSchedule *cell_cuda_schedule(CellArena *arena, const CellKernel *k);
CellCudaNote *cell_cuda_note(CellCudaSchedule *c, const CellStmt *s);
/* Whether it only loads or computes. */
bool cell_cuda_is_plain(const CellStmt *s);
/* The LANES loop that a serial loop may change places with: it ends the body, and what stands before it only
 * loads and computes. NULL: none. */
const CellStmt *cell_cuda_turned(const CellStmt *loop);

/* ---- cuda_hazard.c ---- */

typedef enum { CELL_BY_ALL, CELL_BY_ONE, CELL_BY_LANES, CELL_BY_ANY } CellBy;

/* An element that a statement touches, and which threads do. */
typedef struct {
  CellBufferRef buffer;
  const CellAffine *index; /* NULL: any */
  bool write;
  CellBy by;
  const CellStmt *lanes; /* LANES: the loop over lanes */
  const CellStmt *unit;  /* LANES: it, or the turned loop around it */
  const CellStmt *loop;  /* it happened in an earlier iteration of this loop; NULL: it did not */
} CellTouch;

typedef struct {
  CellTouch *list;
  int count, capacity;
} CellTouches;

/* All that statement s (with its body) touches of memory that the kernel writes. */
void cell_cuda_touches(CellCudaSchedule *c, const CellStmt *s, CellTouches *out);
/* Whether two threads may touch one word by a and b, one of them writing. */
bool cell_cuda_conflict(const CellCudaSchedule *c, const CellTouch *a, const CellTouch *b);
/* Whether a and b, in different iterations of a loop around both, touch different words for sure. */
bool cell_cuda_apart(const CellCudaSchedule *c, const CellStmt *loop, const CellTouch *a,
                     const CellTouch *b);
/* Whether a and b, in LANES loops, touch a word only by one thread. */
bool cell_cuda_same_thread(const CellCudaSchedule *c, const CellTouch *a, const CellTouch *b);
/* Sets the notes' barriers and areas. */
void cell_cuda_barriers(CellCudaSchedule *c);

/* ---- cuda_body.c, cuda_product_emit.c: one kernel as a device function ---- */

/* The tiles of a product kernel. */
typedef struct {
  bool product; /* the kernel is a chain of contracts into one output, and perhaps a tail */
  /* Loop nests that work on every entry of the output by itself, and what is loaded for all of them, behind the
   * contracts; NULL: none. */
  const CellStmt *tail;
  int rows, columns;    /* of a tile */
  int64_t down, across; /* tiles of a task */
  int64_t shared_bytes;
} CellCudaProduct;
CellCudaProduct cell_cuda_product(const CellKernel *k);
/* For a loop of a tail that sums up each tile: its loop over columns, and the one over rows around that. Else NULL. */
const CellStmt *cell_cuda_tile_sum(const CellStmt *loop, const CellStmt **rows);

/* Names of a kernel's arguments; the function is `name`. */
void cell_cuda_body(CellCudaSchedule *c, const char *name, const char *const *args, CellText *out);
void cell_cuda_product_body(CellCudaSchedule *c, const CellCudaProduct *p, const char *name,
                            const char *const *args, CellPrecision precision, CellText *out);
/* What a tail does with the sums of a tile, entry by entry and over all of it. */
void cell_cuda_tail(CellCudaSchedule *c, const CellCudaProduct *p, const char *const *args,
                    CellText *out);
/* An index, its variables and values by the names they have in the text. */
void cell_cuda_affine(const CellAffine *a, CellText *out);

/* ---- cuda_code.c: a plan as CUDA kernels ---- */

/* One CUDA kernel: all parts of a stage. */
typedef struct {
  const char *symbol, *source; /* source: the whole text that NVRTC gets */
  size_t length;
  int64_t grid;            /* blocks of CELL_CUDA_THREADS */
  int64_t shared_bytes;    /* dynamic shared memory of a block */
  int64_t workspace_bytes; /* of the launch */
  int *kernels;            /* of the plan, one a part */
  int kernel_count, kernel_capacity;
  int buffer_count;
} CellCudaUnit;

typedef struct {
  int unit;
  const int *buffers; /* what the argument block points to, in order; the workspace follows */
  int stage;
} CellCudaLaunch;

typedef struct {
  const char *name;
  CellCudaLaunch *launches;
  int launch_count, launch_capacity;
} CellCudaProgram;

typedef struct {
  CellArena *arena;
  CellCudaUnit *units;
  int unit_count, unit_capacity;
  CellCudaProgram *programs; /* as the plan's */
  int program_count;
  int64_t workspace_bytes; /* of the neediest launch */
} CellCudaCode;

/* sources: for the lines of the .cell file in comments, or NULL. */
CellCudaCode *cell_cuda_code(CellArena *arena, const CellPlan *plan, CellPrecision precision,
                             const CellDiag *sources);
/* "net.cell:9", or NULL where that is not known. */
const char *cell_cuda_place(CellArena *arena, const CellDiag *sources, CellSpan span);
/* One stage of it as text, or the bytes of the cubins one after another: cuda, ptx, cubin, resources. */
bool cell_cuda_emit(const CellPlan *plan, const char *stage, const CellEngineOptions *options,
                    CellText *out, CellDiag *diag);
/* Why each node of a program is one (cuda_nodes.c), as lines. */
void cell_cuda_nodes(const CellPlan *plan, const CellCudaCode *code, int program,
                     const CellDiag *sources, CellText *out);
/* Seconds that a unit should take (cuda_predict.c), with the options' GPU, precision and density. */
double cell_cuda_predict(const CellPlan *plan, const CellCudaUnit *unit,
                         const CellEngineOptions *options, int registers);
/* How many blocks a multiprocessor holds at once. */
int cell_cuda_resident(const CellCudaArch *arch, int registers, int64_t shared_bytes);
/* The text behind `#include "cell_prelude.h"`. */
extern const char cell_cuda_prelude[];
/* The kernels of cuda_mirror.c: a whole text, with its #include. */
extern const char cell_cuda_replay[];

/* ---- cuda_nvrtc.c ---- */

typedef struct {
  char *bytes; /* inside `entry` */
  size_t size;
  char *log;         /* what the compiler said */
  char *entry;       /* heap */
  int registers;     /* of a thread */
  int stack, spills; /* bytes of a thread */
  bool cached, kept; /* it came from the cache; it went there */
} CellCubin;

/* Compiles every unit, through the cache in `folder` (NULL: none), into cubins[unit]; with `ptx` the text of
 * all goes there instead. false: a message. */
bool cell_nvrtc_compile(const CellCudaCode *code, const CellCudaArch *arch, const char *folder,
                        CellText *ptx, CellCubin *cubins, char *message, size_t size);
void cell_cubin_free(CellCubin *c);
/* Where NVRTC is and of which version, for `cellc doctor`. */
bool cell_nvrtc_find(char *path, size_t path_size, int *major, int *minor, char *message,
                     size_t size);

#endif
