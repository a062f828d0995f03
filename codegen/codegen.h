/* codegen.h - engines: a module's programs on a back end, with their tensors.
 *
 *   interp          the graph's float64 evaluator (the judge)
 *   interp-kernels  the plan's kernels in float64, statement by statement
 *   cpu             the plan's kernels compiled by LLVM (float32, opened at first use), OpenMP over tasks
 *   cuda            the plan's kernels as CUDA C, compiled by NVRTC, on a GPU; both opened at first use
 *
 * An engine owns one block of memory for all buffers of its plan, zeroed at the start. Tensors are
 * found by name: "params/l1/h/linear/weight#0", "update:obs" (inputs and outputs belong to a program;
 * states to all). Whole parameters are read and written with cell_engine_param_*, which join the parts.
 * One thread at a time may use an engine; cell_engine_run uses `threads` threads inside. The result
 * bytes do not depend on their number. */
#ifndef CELL_CODEGEN_H
#define CELL_CODEGEN_H

#include "ir/kernel.h"

typedef enum {
  CELL_BACKEND_INTERP,
  CELL_BACKEND_INTERP_KERNELS,
  CELL_BACKEND_CPU,
  CELL_BACKEND_CUDA
} CellBackend;
bool cell_backend_parse(const char *name, CellBackend *backend);

typedef enum { CELL_ISA_HOST, CELL_ISA_AVX512, CELL_ISA_AVX2, CELL_ISA_SCALAR } CellIsa;

typedef struct {
  CellIsa isa;                    /* CPU: vectors to use; forced in tests */
  int threads;                    /* 0: as many as there are cores */
  const char *cache_dir;          /* NULL: $XDG_CACHE_HOME/cellc or ~/.cache/cellc; "": no cache */
  bool check_guards;              /* the plan has guard zones: check them after every launch */
  const struct CellCudaArch *gpu; /* CUDA: what the plan was made for */
  int precision;                  /* CUDA, interpreted kernels: a CellPrecision, of products */
  double density;   /* of set bits, for predicted times; 0: unknown, as if all were set */
  bool cpu_will_do; /* CUDA: who opens the engine takes the CPU where the GPU will not */
} CellEngineOptions;

/* Describes the machine to the kernels pass, without loading LLVM. */
CellTarget cell_target(CellIsa isa);

/* The widest that this machine has: never CELL_ISA_HOST. */
CellIsa cell_isa_host(void);
/* Whether kernels for these vectors run here. With CELLC_EMULATE set (tests), wide vectors run on AVX2 too,
 * each as two. */
bool cell_isa_runs(CellIsa isa);

/* Codes of errors for which the command line ends with status 3: what runs kernels is missing here. */
#define CELL_E_PROVIDER "E1001" /* the LLVM module could not be opened */
#define CELL_E_ISA "E1002"      /* the machine has not the vectors asked for */
/* A kernel did not compile, or wrote outside its buffers: faults of cellc. */
#define CELL_E_COMPILE "E1003"
#define CELL_E_GUARD "E1004"
/* What runs kernels on a GPU is missing: its compiler, its driver, a device. */
#define CELL_E_NVRTC "E1005"
#define CELL_E_DRIVER "E1006"

/* ---- GPUs ---- */

typedef enum { CELL_FP32, CELL_TF32, CELL_BF16 } CellPrecision; /* of products' operands */

/* An architecture of GPUs, by the device that its figures are of. */
typedef struct CellCudaArch {
  const char *name, *device; /* "sm_90", "H100" */
  int number;                /* 90 */
  int multiprocessors;
  int64_t shared_bytes, shared_block_bytes; /* of a multiprocessor; at most of one block */
  int blocks, threads, registers;           /* at most on a multiprocessor */
  double clock;                             /* Hz */
  double fp32, tf32, bf16;                  /* floating-point operations a second */
  double memory, l2;                        /* bytes a second */
} CellCudaArch;

/* NULL: unknown. */
const CellCudaArch *cell_cuda_arch(const char *name);
/* The newest whose code runs on a device of this compute capability; NULL: there is none. */
const CellCudaArch *cell_cuda_arch_of(int major, int minor);
/* What the kernels pass is told of it. */
CellTarget cell_cuda_target(const CellCudaArch *arch);
/* What code for the GPU in this machine is planned for; NULL and a message if there is none, or no driver or
 * compiler for it. */
const CellCudaArch *cell_cuda_here(char *message, size_t size);
/* The precision of that name: fp32, tf32, bf16. */
bool cell_precision_parse(const char *name, CellPrecision *precision);

/* One thing that kernels are run with, for `cellc doctor`. */
typedef struct {
  const char *name; /* cpu, gpu, nvrtc, cache */
  bool good;
  char text[512];   /* what there is, or why not */
  const char *help; /* a sentence, where something can be done */
} CellCheck;
enum { CELL_MOST_CHECKS = 8 };
/* Fills `list` and returns how many there are. */
int cell_doctor(CellCheck *list);

typedef struct CellEngine CellEngine;

/* Begins to open what an engine of the back end will need, beside the caller (loading LLVM takes about as
 * long as planning a network). Only a head start: whatever is wrong is reported when the engine is made. */
void cell_engine_prepare(CellBackend backend);

/* `plan` may be NULL for CELL_BACKEND_INTERP. Module and plan must outlive the engine. NULL on errors
 * (LLVM missing, out of memory, a kernel that did not compile), reported to diag. */
CellEngine *cell_engine_create(const CellModule *m, const CellPlan *plan, CellBackend backend,
                               const CellEngineOptions *options, CellDiag *diag);
void cell_engine_destroy(CellEngine *engine);

/* Runs one program ("update"): reads its inputs and the states, writes its outputs and the states.
 * On the CPU, subnormals are flushed while it runs. false: the program is unknown, or (interpreters)
 * an index was out of range, or a guard zone was written to; reported to diag. */
bool cell_engine_run(CellEngine *engine, const char *program, CellDiag *diag);

typedef struct {
  /* CPU: float, int32_t or uint32_t words; interpreters: double, one per entry, bits too */
  void *data;
  int64_t count; /* elements as stored; BITS on the CPU: words */
  CellDtype dtype;
  int64_t bit_row; /* BITS: entries a sample */
  bool wide;       /* elements are doubles (interpreters) */
} CellTensorData;
/* The storage of a tensor, valid for the engine's life. program NULL: a state. false if there is none. */
bool cell_engine_tensor(CellEngine *engine, const char *program, const char *name,
                        CellTensorData *out);

/* Zeroes every state. */
void cell_engine_clear(CellEngine *engine);

/* Conversions for people who are not in a hurry: canonical order, doubles, one per entry. */
bool cell_engine_get(CellEngine *engine, const char *program, const char *name, double *out,
                     int64_t count);
bool cell_engine_set(CellEngine *engine, const char *program, const char *name, const double *in,
                     int64_t count);
/* Whole parameters, joined from parts; prefix "params/", "target/", "moment1/", "moment2/", or "grad/"
 * (an output of `program`). count must be the product of param->shape. */
bool cell_engine_param_get(CellEngine *engine, const char *program, const char *prefix,
                           const CellParam *param, double *out, int64_t count);
bool cell_engine_param_set(CellEngine *engine, const char *prefix, const CellParam *param,
                           const double *in, int64_t count);

/* Whether the device that holds the states is lost, and they with it: a state can then be neither read nor
 * written, and programs do not run. */
bool cell_engine_lost(const CellEngine *engine);

/* For bench: seconds that each launch of the last run took, of all threads together over their number;
 * count = launches of that program. */
int cell_engine_times(const CellEngine *engine, const double **seconds);

/* For bench, on a GPU: a kernel's launch, timed by events around it. */
typedef struct {
  const char *kernel;
  double seconds, predicted;
  int64_t blocks, shared_bytes; /* of shared memory, of a block */
  int registers;                /* of a thread */
} CellGpuTime;
/* Runs a program `repeats` times launch by launch, outside of its graph, and gives the middle time of each
 * launch, in order; as many runs of it as repeats change the states. *times is heap; the return value is how
 * many there are, 0 on other back ends, -1 after an error, reported to diag. */
int cell_engine_gpu_times(CellEngine *engine, const char *program, int repeats, CellGpuTime **times,
                          CellDiag *diag);

/* ---- a replay on the engine's GPU ---- */

/* Rings of observations on the GPU, a copy of those on the host (runtime/replay.h), from which a program's
 * batch is drawn there: its inputs "context", "obs", "next_obs", "action", "reward" and "terminated", those that
 * it has. Which transitions are drawn is a function of key and counter, the same as on the host. */
typedef struct CellMirror CellMirror;

/* A row of a ring: an observation and what is known of the transition that begins with it. The note is a number of
 * bits, low to high: the action; how many rows the context may reach back; whether it terminated; whether it ended,
 * when the next observation is a final one. It stands in the last word of the observation if that has bits left
 * over, else in a word behind it; the reward, a float, is the last word. */
typedef struct {
  int32_t words, stride; /* of an observation, of a row */
  int32_t note, shift;   /* word of the row, and bit */
  int32_t action_bits, age_bits;
} CellReplayRow;

typedef struct {
  const char *program; /* outlives the mirror */
  int32_t batch;
  int64_t rings, slots; /* rows of a ring */
  int32_t context;      /* observations before s_t */
  int32_t observation;  /* entries */
  bool bits;            /* entries are bits in words of 32, else floats */
  CellReplayRow row;
} CellMirrorOptions;

/* NULL with an empty message where the engine has no GPU; with a message where the GPU has not the memory, or
 * the program reads its batch in another form. Without a mirror, inputs come from the host as ever. */
CellMirror *cell_mirror_open(CellEngine *engine, const CellMirrorOptions *options, char *message,
                             size_t size);
/* The program's inputs come from the host again. NULL is fine; before the engine is destroyed. */
void cell_mirror_close(CellMirror *mirror);
/* Bytes that it takes of the GPU's memory. */
int64_t cell_mirror_bytes(const CellMirror *mirror);

/* Writes a row of a ring, and what transition `number` of a ring ended with: the k-th that is kept, k modulo
 * cell_mirror_finals in its place. Rows may wait until the next draw. false and a message after an error: the
 * mirror is of no use any more. */
bool cell_mirror_row(CellMirror *mirror, int64_t ring, int64_t slot, const uint32_t *row,
                     char *message, size_t size);
bool cell_mirror_final(CellMirror *mirror, int64_t ring, int64_t k, int64_t number,
                       const uint32_t *observation, char *message, size_t size);
/* Final observations of a ring that there is room for; makes room for `count` (a power of two), after which
 * all that are still wanted must be written again. */
int64_t cell_mirror_finals(const CellMirror *mirror);
bool cell_mirror_grow(CellMirror *mirror, int64_t count, char *message, size_t size);

/* The final observations of a ring that may be drawn: k from `first` on. */
typedef struct {
  int64_t first, count;
} CellMirrorFinals;

/* The program's next run takes a batch of transitions: sample b is transition number added - filled + i / rings
 * of ring i % rings, where i < filled * rings follows from Philox of (b, counter) under key. finals: of each
 * ring. */
bool cell_mirror_draw(CellMirror *mirror, const uint32_t key[2], const uint32_t counter[3],
                      int64_t added, int64_t filled, const CellMirrorFinals *finals, char *message,
                      size_t size);

/* What plans for an engine are made for. CUDA: options->gpu must be set (cell_cuda_here). */
CellTarget cell_engine_target(CellBackend backend, const CellEngineOptions *options);

/* Text of a stage for one program: "llvm" or "asm". Appends to out; false with a record in diag. */
bool cell_emit(const CellPlan *plan, const char *stage, const CellEngineOptions *options,
               CellText *out, CellDiag *diag);

/* ---- the provider line: what codegen/llvm_*.c exports from the module cellc opens at first use ---- */

typedef void (*CellKernelFunction)(void *const *buffers, int64_t first, int64_t last,
                                   void *scratch);

typedef struct CellJit CellJit;
typedef struct {
  int version; /* CELL_PROVIDER_VERSION; another one is refused */
  /* Compiles every kernel (in parallel), through the cache; functions[i] is kernels[i]'s entry. The
   * scratch it needs for each kernel (blocking, packing) beyond kernel->scratch_bytes is added to
   * scratch_bytes[i]; it starts at kernel->scratch_bytes, 64-byte aligned. NULL + message on failure. */
  CellJit *(*compile)(CellKernel *const *kernels, int count, CellIsa isa, const char *cache_dir,
                      CellKernelFunction *functions, int64_t *scratch_bytes, char *message,
                      size_t size);
  void (*destroy)(CellJit *jit);
  bool (*emit)(CellKernel *const *kernels, int count, CellIsa isa, const char *stage, CellText *out,
               char *message, size_t size);
} CellProvider;
/* Follows the layout of what is passed, so that a module of another build is refused. */
enum { CELL_PROVIDER_VERSION = (int)(sizeof(CellStmt) * 4096 + sizeof(CellKernel) * 8 + 1) };
/* Symbol of the module: `const CellProvider *cell_provider(void)`. */

#endif
