/* kernel.h - the kernel IR: loop trees over buffers, and the plan that launches them.
 *
 * A kernel runs `tasks` times (variable 0 is the task's number); tasks may run in any order and on any
 * thread and write disjoint elements. Where `rows` is set a task is a range of them: rows may be cut into ranges of at
 * most `tile` in any way, and give the same numbers; variable 0 is a range's first row, variable end_var the first one
 * behind it. Evenly cut, there are `tasks` ranges. Its body is a list of statements in SSA form: a LET, LOAD or
 * ACC gives a value number that later statements of the same body, and of bodies inside it, may
 * read; an ACC declared before a loop and updated inside it is read after it.
 *
 * Semantics, which the interpreter defines in float64 and every back end follows in float32:
 *   LOOP  runs its body for var = begin, begin+1, ... while var < begin + extent and, if limit > 0,
 *         var < limit; over rows of a range, until its end. Kinds: SERIAL; UNROLL (a hint: short,
 *         constant); LANES (iterations are independent but for ACCs declared outside and updated inside it, whose order of summation
 *         is the back end's, fixed for a target). A LANES loop holds no LANES loop, no CONTRACT,
 *         and no STORE whose index does not depend on its variable.
 *   LOAD  element of a buffer, as float or i32 by the buffer's dtype; BITS: bit number `index`
 *         (of 32-bit words, low bit first) as 0.0 or 1.0.
 *   LET   a scalar op of ops.def on values; or CONST; or VAR: an affine index as an i32.
 *   ACC   sum (from 0), max (from -infinity), argmax (index of the first largest; UPDATE gives value
 *         and index). `update` is the statement that feeds it.
 *   STORE buffer[index] = value, or += when `add`.
 *   CONTRACT  out[m, n] (+)= sum over k of a[m, k] * b[n, k], three strided views; one micro-kernel
 *         generator a back end. Views of out overlap neither a nor b. `sparse`: many entries of a are
 *         exactly 0, and what they multiply may be left out. With `terms` it also adds the short product
 *         sum over t of u[m, t] * v[n, t].
 *
 * Text form (kernel_print.c), for tests and for --stage kernels:
 *
 *     kernel k3 (arg0: f, arg1: bits) tasks 8 scratch (s0: f 4096)
 *       loop v1 = 64 v0 + [0, 64) below 512
 *         %0 = acc sum
 *         lanes v2 = [0, 400)
 *           %1 = load arg0[400 v1 + v2]
 *           update %0 %1
 *         %2 = mul %0 %3
 *         store s0[v1 - 64 v0] %2
 *       contract s0[400 m + k] arg1[1000 n + k] -> arg2[...] m 64 n 400 k 1000 add
 */
#ifndef CELL_KERNEL_H
#define CELL_KERNEL_H

#include "ir/ir.h"

enum { CELL_MAX_TERMS = 16 };

/* 128 bits that stand for a text or a kernel. */
typedef struct {
  uint64_t words[2];
} CellKey;

/* base + sum of coef * var (+ coef * a loaded i32 value). */
typedef struct {
  int64_t base;
  int term_count;
  struct {
    int var;
    int64_t coef;
  } terms[CELL_MAX_TERMS];
  int loaded; /* value number of an i32, or -1 */
  int64_t loaded_coef;
} CellAffine;

typedef enum {
  CELL_K_LOOP,
  CELL_K_CONST,
  CELL_K_VAR,
  CELL_K_LOAD,
  CELL_K_LET,
  CELL_K_ACC,
  CELL_K_UPDATE,
  CELL_K_STORE,
  CELL_K_CONTRACT
} CellStmtKind;
typedef enum { CELL_LOOP_SERIAL, CELL_LOOP_UNROLL, CELL_LOOP_LANES } CellLoopKind;

/* Which buffer: an argument of the kernel (bound at launch) or one of its scratch buffers. */
typedef struct {
  bool scratch;
  int index;
} CellBufferRef;

/* A strided view of a matrix for CONTRACT: element (row, k) is at base + row*row_stride + k*k_stride. */
typedef struct {
  CellBufferRef buffer;
  CellAffine base;
  int64_t row_stride, k_stride; /* of out: row (m) and column (n) strides */
} CellView;

typedef struct CellStmt CellStmt;
struct CellStmt {
  CellStmtKind kind;
  CellStmt *next;
  CellSpan span;     /* of the .cell file, where it is known; no part of the kernel's text */
  int value;         /* CONST, VAR, LOAD, LET, ACC: the value number it gives; UPDATE: the ACC's */
  CellDtype dtype;   /* of that value: CELL_F or CELL_I */
  CellOp op;         /* LET: a scalar op */
  int args[3];       /* LET: value numbers; STORE, UPDATE: args[0] */
  double number;     /* CONST */
  CellReduce reduce; /* ACC, UPDATE */
  CellBufferRef buffer; /* LOAD, STORE */
  CellAffine index;     /* LOAD, STORE: element; VAR: the value; UPDATE of argmax: the index */
  bool add;             /* STORE, CONTRACT */
  /* LOOP */
  CellLoopKind loop;
  int var;
  CellAffine begin;
  int64_t extent, limit;
  bool whole; /* LANES with a limit: there are whole vectors, wherever it ends (whole_vectors.c) */
  CellStmt *body;
  /* LOOP, CONTRACT: over rows of a range: it ends at end_scale times this variable, and limit, or m_limit, says how many
   * there are in all, which is never less; -1: other ranges. */
  int end_var;
  int64_t end_scale;
  /* CONTRACT. Last, because other statements are allocated without what follows. Rows m are begin_m..
   * while below m_limit (if > 0), as for a loop of a ragged tile; row r of out and a is counted from 0,
   * and there are min(m, m_limit - m_begin) of them. The same holds for n with n_begin and n_limit. */
  CellView a, b, out;
  int64_t m, n, k;
  CellAffine m_begin, n_begin;
  int64_t m_limit, n_limit;
  CellAffine a_all; /* with end_var: base of a for the first of all rows */
  bool sparse;
  CellView u, v; /* as a and b, t for k */
  int64_t terms; /* 0: none */
};

typedef struct {
  CellDtype dtype;
  int64_t count;    /* elements; BITS are not allowed in scratch */
  int64_t offset;   /* bytes from the start of a thread's scratch, 64-byte aligned (buffers pass) */
  const char *name; /* what it holds, for info */
} CellScratch;

typedef struct {
  CellArena *arena;
  const char *name; /* "update3" */
  int arg_count;
  CellDtype *args;
  bool *written; /* whether an argument is stored to */
  CellScratch *scratch;
  int scratch_count, scratch_capacity;
  int64_t scratch_bytes;
  int64_t tasks;
  int64_t rows, tile;         /* of ranges; rows 0: tasks are numbered */
  int64_t grain;              /* ranges begin at multiples of it */
  int end_var;                /* with rows */
  int var_count, value_count; /* variable 0 is the task's number */
  CellStmt *body;
  CellSpan span;
  CellKey key; /* cell_kernel_key with seed 0 */
} CellKernel;

typedef enum {
  CELL_BUFFER_STATE,    /* keeps its content between programs: params/, target/, moments, step */
  CELL_BUFFER_INPUT,    /* data of a call, written by the caller */
  CELL_BUFFER_OUTPUT,   /* read by the caller after a call */
  CELL_BUFFER_TEMP,     /* in the arena; lives within one program */
  CELL_BUFFER_CONSTANT, /* `number` in every element, put there by the engine when it is made */
  CELL_BUFFER_PIECE /* of the temporary `whole`, from element `begin` on: written there, read there; launches that
                       write pieces of one do not wait for each other */
} CellBufferKind;

typedef struct {
  const char *name; /* the tensor's name; TEMP: "%12 l1/z1" for people */
  CellBufferKind kind;
  CellDtype dtype;
  int64_t count;   /* elements; BITS: 32-bit words */
  int64_t bit_row; /* BITS: entries of one sample; a sample takes (bit_row + 31) / 32 words */
  int64_t offset;  /* bytes in the arena, 64-byte aligned but for a PIECE; every buffer has one */
  int program;     /* INPUT, OUTPUT, TEMP: whose; -1: STATE, CONSTANT */
  int first, last; /* TEMP: launches between which it lives */
  double number;   /* CONSTANT */
  int whole;       /* PIECE */
  int64_t begin;
} CellBuffer;

typedef struct {
  int kernel;
  const int *buffers; /* one for each argument of the kernel */
  const bool *reads;  /* whether the kernel reads what others left in it */
  int stage;          /* launches of one stage do not depend on each other and stand side by side */
} CellLaunch;

typedef struct {
  const char *name;
  CellLaunch *launches;
  int launch_count, launch_capacity;
} CellPlanProgram;

/* Plain data: what a device needs to run all programs of a module. */
typedef struct {
  CellArena *arena;
  CellBuffer *buffers;
  int buffer_count, buffer_capacity;
  CellKernel **kernels;
  int kernel_count, kernel_capacity;
  CellPlanProgram *programs;
  int program_count;
  int64_t arena_bytes;   /* all buffers; TEMPs share by lifetime */
  int64_t scratch_bytes; /* the largest of any kernel, for each thread */
  int64_t guard_bytes;   /* tests: zone before and after each buffer; TEMPs then share nothing */
} CellPlan;

/* The number of a tensor's buffer, or -1. program NULL: a state; a program's name finds its inputs and
 * outputs, and the states that its outputs are the next values of. */
int cell_plan_buffer(const CellPlan *plan, const char *program, const char *name);

/* Whether a tensor is a state: parameters, their targets and moments, and whatever some program both
 * reads and outputs under one name. */
bool cell_is_state(const CellModule *m, const char *name);

/* Whether products leave out exact zeros of modules that allow it: only those that are there, or also those that
 * come to light where sums are taken apart (sparse_terms.c), if a count says so or wherever it can be done (tests). */
typedef enum { CELL_SPARSE_NEVER, CELL_SPARSE_WORTH, CELL_SPARSE_ALWAYS } CellSparsity;

/* What the kernels pass asks of a machine; the back end fills it (codegen.h). */
typedef struct {
  int lanes; /* floats a vector */
  int64_t l1_bytes, l2_bytes, l3_bytes;
  double flops_per_cycle;                            /* of one core: 2 * lanes * fma units */
  double l2_bytes_per_cycle, memory_bytes_per_cycle; /* of one core */
  double special_cost; /* vector operations that a tanh or exp stands for */
  int tasks_wanted;    /* a kernel with less work to share should still have this many tasks */
  /* > 0: a product of a single sample that reads so many bytes of parameters is cut by columns, because
   * a second core then gains more than a launch costs */
  int64_t split_bytes;
  /* A machine whose tasks are many and small, and whose launches are whole products (a GPU): */
  int anchor_rows; /* > 0: contracts stand in kernels of their own, this many rows a task, and scans are
                        written out step by step, so that each of their products is a launch */
  int anchor_columns; /* of a product's tile */
  int batch_tile;     /* > 0: samples of a task of every other kernel */
  /* lane loops are brought into a form that vectors and registers fit (turn_sums.c, flatten_lanes.c,
   * cut_lanes.c) */
  bool tune_lanes;
  CellSparsity sparse;
  bool stages; /* launches that do not depend on each other get one stage and stand together */
  /* > 0: kernels with so many entries and products a sample get rows, which are shared out while a program runs */
  int64_t range_work;
} CellTarget;

typedef struct {
  int64_t guard_bytes;
} CellPlanOptions;

/* Fusion, schedule and buffers (fuse.c and its neighbours): a plan for the module's programs, after
 * the tensor passes have run. NULL on errors (sizes over the limits), reported to diag. */
CellPlan *cell_plan_create(CellArena *arena, const CellModule *m, const CellTarget *target,
                           const CellPlanOptions *options, CellDiag *diag);

/* The seed and so many bytes. */
CellKey cell_key(CellKey seed, const void *data, size_t length);
/* The seed and all that a kernel's text says but its name: what its code depends on. Kernels are taken to be equal
 * where their keys are. */
CellKey cell_kernel_key(const CellKernel *k, CellKey seed);
static inline bool cell_key_equal(CellKey a, CellKey b) {
  return a.words[0] == b.words[0] && a.words[1] == b.words[1];
}

void cell_kernel_print(const CellKernel *k, CellText *out);
void cell_plan_print(const CellPlan *plan, CellText *out);
/* Checks every rule stated above; violations go to `out`. */
bool cell_kernel_verify(const CellKernel *k, CellText *out);

/* Builder (kernel.c): statements are appended to a list by its tail pointer. */
CellStmt *cell_stmt(CellKernel *k, CellStmt ***tail, CellStmtKind kind);
/* A copy of a statement that is no loop and no contract, in no list yet; a value that it makes is a new one. */
CellStmt *cell_stmt_copy(CellKernel *k, const CellStmt *s);
/* How many of a statement's args there are. */
int cell_stmt_arg_count(const CellStmt *s);
/* The longest step of lanes that is loaded and stored as whole vectors (codegen/llvm_strided.c). */
enum { CELL_MAX_STEP = 32 };
static inline CellAffine cell_affine(int64_t base) {
  CellAffine a = {0};
  a.base = base, a.loaded = -1;
  return a;
}
CellAffine cell_affine_add(CellAffine a, CellAffine b); /* at most one of them has a loaded term */
CellAffine cell_affine_scale(CellAffine a, int64_t by);
CellAffine cell_affine_var(int var, int64_t coef);
int64_t cell_affine_coef(const CellAffine *a, int var); /* 0: the variable is not in it */
CellAffine cell_affine_put(CellAffine a, int var,
                           CellAffine by); /* `by` for the variable, which may be in it */
/* Where in a loop an iteration is: its variable less where the loop begins. */
CellAffine cell_loop_place(const CellStmt *loop);
bool cell_affine_equal(const CellAffine *a, const CellAffine *b);
bool cell_same_buffer(CellBufferRef a, CellBufferRef b);
/* A new scratch buffer behind the others: its number. */
int cell_scratch_add(CellKernel *k, CellDtype dtype, int64_t count, const char *name);
static inline bool cell_is_bits(const CellKernel *k, CellBufferRef b) {
  return !b.scratch && k->args[b.index] == CELL_BITS;
}

/* Work that one run of a program does, counted on its kernels (for info and bench). */
typedef struct {
  double contract_flops, vector_ops, bytes;
  /* of contract_flops: products whose first operand is bits, as if all were set, or has zeros that are left out, as if
   * there were none */
  double bit_flops, sparse_flops;
} CellKernelCounts;
CellKernelCounts cell_kernel_counts(const CellKernel *k);

/* A graph with one output, "left": the share of the entries that are not 0 among those that products leave out
 * where they are, each weighed with its columns; of so many samples of the program, whose inputs it reads. No output
 * where no product leaves out any. Products inside scans do not count. */
CellGraph *cell_zeros_graph(const CellGraph *program, int32_t samples);

/* What a machine's vector instructions do at once, and how many of them an elementwise op takes. */
typedef struct {
  int lanes;
  double density; /* share of set bits in observations */
  double apart;   /* share of their bits that differ from what most observations have; 1: unknown */
  double left;    /* share of entries that are not 0 where products leave zeros out */
  double op[CELL_OP_COUNT];
} CellCosts;

/* The least that one launch has to do. Instructions: arithmetic, compares, permutes and selections on
 * vectors of `lanes`, short ones at the end of a row counted as whole; a product is counted in the
 * layout that takes the fewest, with a bit's row only where the bit is set (for all rows once, and where a bit
 * differs from most rows', if that is less), the zeros of a sparse one left out but looked for, and a multiplication
 * whose only reader is an addition is one instruction with it. Lanes that lie apart count what brings them together, or
 * apart. Loads and stores themselves, index arithmetic and the folding of sums over lanes are left out: they use
 * other units, or are few. Bytes: each argument's elements once, not more than its buffer has; twice where they are read
 * and written. */
typedef struct {
  double instructions, bytes;
} CellKernelWork;
CellKernelWork cell_kernel_work(const CellKernel *k, const CellBuffer *buffers,
                                const int *launch_buffers, const CellCosts *costs);

#endif
