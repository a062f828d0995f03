/* iterations.h - whether the iterations of a loop depend on each other, and where each of them writes. */
#ifndef CELL_ITERATIONS_H
#define CELL_ITERATIONS_H

#include "ir/kernel.h"

enum { FUSE_MOST_WRITTEN = 128 /* buffers that an iteration writes */ };

/* A buffer that an iteration writes: elements `low` to `high` beyond step * (the loop's variable) + around. */
typedef struct {
  CellBufferRef buffer;
  bool own;  /* scratch that nothing outside of the loop touches */
  int made;  /* free for the user */
  bool seen; /* below is valid */
  int64_t step, low, high;
  CellAffine around; /* what is the same within the loop */
} FuseWritten;

/* Of an argmax within an iteration: from where to where it may lie; 0 is among that, as what it starts with. */
typedef struct {
  bool some, unknown;
  int64_t least, most;
} FusePlaces;

typedef struct {
  CellKernel *k;
  CellStmt *loop;
  bool may_sum;          /* set by the user: sums that begin outside may go on in every iteration */
  bool *inside;          /* by variable: of a loop in it */
  bool *declared;        /* by value: an accumulator of it */
  FusePlaces *places;    /* by value */
  int64_t *least, *most; /* by variable inside: its values */
  FuseWritten written[FUSE_MOST_WRITTEN];
  int written_count;
} FuseIterations;

/* For the loops of a kernel to which up to as many variables as it has, and three times as many values, are added
 * meanwhile. */
void fuse_iterations_begin(FuseIterations *it, CellKernel *k);
/* Whether iterations of a loop are independent: sums begin and end within one (but see may_sum), and what is written is
 * `own`, or written where no other iteration reads or writes. (What is own with step 0 is written by each before it
 * reads it: nobody else writes it.) Contractions and loops whose ranges vary are not understood: false. */
bool fuse_iterations_independent(FuseIterations *it, CellStmt *loop);
FuseWritten *fuse_iterations_written(FuseIterations *it, CellBufferRef buffer);

#endif
