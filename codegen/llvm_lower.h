/* llvm_lower.h - a kernel or a piece of one while it is lowered: what llvm_kernel.c and llvm_access.c share. */
#ifndef CELL_LLVM_LOWER_H
#define CELL_LLVM_LOWER_H

#include "codegen/llvm_build.h"

enum { CELL_MAX_UNROLL = 5, CELL_MAX_CURSORS = 8, CELL_MAX_WAITING = 32 };

// what a value is, while its body is emitted
typedef struct {
  const CellStmt *def;
  LLVMValueRef v[CELL_MAX_UNROLL]; /* copies; a value that is not over the lanes has one */
  bool lanes;                      /* a lane vector */
  int uses;
  bool fused; /* a multiplication that its reader does */
  /* ACC */
  bool partial;        /* updated by lanes: a vector of partials, or several */
  bool scalar_updates; /* also updated outside of lanes loops */
  bool due;            /* must be folded before it is read */
  int copies;
  LLVMValueRef slot[CELL_MAX_UNROLL];  /* scalar, own vector of each lane, or partials */
  LLVMValueRef where[CELL_MAX_UNROLL]; /* ARGMAX: `slot` holds the largest, `where` its index */
  LLVMValueRef scalar, scalar_where;   /* partial: what scalar code adds */
  LLVMValueRef folded;
} CellLowerValue;

/* A pointer that goes along with a lanes loop, for all accesses at constant distances from one another. An index
 * would be the same to the program; but where it is added in the instruction that computes, Intel's cores split that in two
 * as they issue it, which costs a loop of multiply-adds a quarter of its speed. */
typedef struct {
  CellBufferRef buffer;
  CellAffine at; /* without constants */
  LLVMValueRef pointer;
} CellLowerCursor;

/* A store of lanes that lie apart: it waits for those to what lies between. */
typedef struct {
  CellBufferRef buffer;
  CellAffine at; /* without constants */
  int64_t base, step;
  LLVMValueRef x[CELL_MAX_UNROLL];
} CellLowerWaiting;

/* The elementary function that was emitted last: where it begins and ends. */
typedef struct {
  const CellStmt *stmt; /* NULL: none, or it has its pair */
  LLVMBasicBlockRef block;
  LLVMValueRef before; /* the instruction before its first; NULL: it begins the block */
  LLVMValueRef last;
} CellLowerFunction;

typedef struct {
  CellBuild *g;
  const CellKernel *k;
  LLVMValueRef *args, *scratch;
  LLVMValueRef scratch_end; /* where the contractions' own begins */
  const CellSplit *split;   /* NULL in a piece */
  const CellPieces *pieces;
  CellLowerValue *values;
  LLVMValueRef *vars;
  int lane;            /* the lane variable, or -1 */
  int unroll;          /* vectors an iteration */
  LLVMValueRef mask;   /* of the last iteration, or NULL */
  LLVMValueRef left;   /* its lanes, i64 */
  CellFor *lanes_loop; /* the loop over full vectors that is being emitted, or NULL */
  bool *inside;        /* variables of loops in it */
  CellLowerCursor cursors[CELL_MAX_CURSORS];
  int cursor_count;
  CellLowerWaiting waiting[CELL_MAX_WAITING];
  int waiting_count;
  CellLowerFunction function;
} CellLower;

/* ---- llvm_access.c ---- */

/* The value for copy u, a lane vector if `wide`. */
LLVMValueRef cell_lower_get(CellLower *l, int value, int u, bool wide);
/* Whether an index differs between lanes. */
bool cell_lower_varies(const CellLower *l, const CellAffine *a);
/* An index, i64: without the loaded term if that differs between lanes; `u` offsets the lane variable. */
LLVMValueRef cell_lower_affine(CellLower *l, const CellAffine *a, int u);
LLVMValueRef cell_lower_pointer(const CellLower *l, CellBufferRef b);
CellDtype cell_lower_dtype(const CellLower *l, CellBufferRef b);

/* A lane vector, of copy u; a scalar. */
LLVMValueRef cell_lower_load(CellLower *l, CellBufferRef buffer, const CellAffine *a, int u);
LLVMValueRef cell_lower_load_scalar(CellLower *l, CellBufferRef buffer, const CellAffine *a);
void cell_lower_store(CellLower *l, const CellStmt *s);
/* Stores that wait are made: those to a buffer, NULL: all. Before what they must not wait for: a load from there,
 * and where a body that may run more or less often than this one begins or ends. */
void cell_lower_flush(CellLower *l, const CellBufferRef *buffer);

#endif
