/* llvm_split.h - cutting kernels into pieces that are compiled on their own. */
#ifndef CELL_LLVM_SPLIT_H
#define CELL_LLVM_SPLIT_H

#include "codegen/internal.h"

/* A loop or a contraction as a function of its own. Its text is that of a kernel whose arguments are all
 * the buffers it touches, values it reads and accumulators it gives (one element each), and whose first
 * variables are parameters; numbers are given in order of appearance, so equal pieces have equal texts. */
typedef struct {
  CellKernel kernel;
  int params; /* variables 0 .. params - 1 */
  CellKey key;
} CellPiece;

typedef enum { CELL_BIND_BUFFER, CELL_BIND_VALUE, CELL_BIND_RESULT } CellBindKind;

typedef struct {
  CellBindKind kind;
  CellBufferRef buffer; /* BUFFER: at element `base` */
  CellAffine base;
  int value; /* VALUE: read; RESULT: the accumulator that is given */
} CellBind;

/* What a kernel does in place of a statement: call a piece. */
typedef struct {
  const CellStmt *stmt;
  int piece; /* in CellPieces */
  CellBind *binds;
  int bind_count, bind_capacity;
  CellAffine *params;
  int param_count, param_capacity;
} CellPieceCall;

typedef struct {
  CellPieceCall *calls;
  int call_count, call_capacity;
  bool *absorbed; /* by value number: an accumulator that a piece declares */
} CellSplit;

typedef struct {
  CellArena *arena;
  CellPiece *pieces;
  int count, capacity;
} CellPieces;

/* The calls that stand for parts of a kernel; new pieces are added to `pieces`. `seed` enters the keys. */
CellSplit *cell_split(CellPieces *pieces, const CellKernel *k, CellKey seed);
const CellPieceCall *cell_split_call(const CellSplit *split, const CellStmt *stmt); /* NULL: none */

#endif
