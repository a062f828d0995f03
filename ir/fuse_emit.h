/* fuse_emit.h - what the files that write a kernel share: fuse_body.c (statements, indices, loads), fuse_place.c
 * (where values live), fuse_contract.c (products), fuse_emit.c (ops, loops, the kernel). */
#ifndef CELL_FUSE_EMIT_H
#define CELL_FUSE_EMIT_H

#include "ir/fuse.h"

typedef struct {
  CellBufferRef ref;
  CellAffine index;
  int value;
} FuseLoaded;

typedef struct FuseBody FuseBody; /* the statements of a loop that is being written */
struct FuseBody {
  FuseBody *up;
  CellStmt **tail;
  CellStmt **ahead; /* the link to the loop whose body this is: what is put here runs before it */
  FuseNode *node;   /* the loop of the tree, or NULL */
  int var;
  CellLoopKind kind;
  FuseVal **defined;
  int defined_count, defined_capacity;
  FuseLoaded *loads;
  int load_count, load_capacity;
};

typedef struct {
  Fuse *f;
  FuseKernel *k;
  CellKernel *out;
  CellPlanProgram *program;
  FuseBody *body;
  CellSpan span;  /* of the op that is being written */
  int *class_var; /* variable of an open class, or -1 */
  int classes;
  int fixed[FUSE_MAX_LOOPS]; /* of the op being written: constants of its unrolled loops, or -1 */
  int loop_var[FUSE_MAX_LOOPS]; /* ... variables of loops that it opens itself, or -1 */
  int *buffers;                 /* plan buffer of each argument */
  int buffer_capacity;
  int *written_buffers;
  int task_class;
  int *scratch_first,
      *scratch_last; /* of each scratch: statements of the kernel between which it lives */
  int first_capacity, last_capacity;
} FuseEmit;

/* ---- fuse_body.c ---- */

CellStmt *fuse_stmt(FuseEmit *e, CellStmtKind kind); /* appended to the current body */
/* Opens a loop and returns its variable; the class form runs over the task's part of a class, or the whole
 * extent of another. */
int fuse_open_loop(FuseEmit *e, FuseBody *b, CellLoopKind kind, CellAffine begin, int64_t extent,
                   int64_t limit);
int fuse_open_class(FuseEmit *e, FuseBody *b, CellLoopKind kind, bool task, int64_t extent);
void fuse_close(FuseEmit *e);
void fuse_begin_op(FuseEmit *e); /* forgets constants and variables of the op before */
void fuse_define(FuseEmit *e, FuseVal *val, int which,
                 int value); /* a register, until the body closes */
void fuse_global_strides(FuseVal *val);
CellBufferRef fuse_place_of(FuseEmit *e, FuseVal *val, bool write);
bool fuse_in_task(FuseEmit *e, const FuseOp *op, int loop);
CellAffine fuse_loop_affine(FuseEmit *e, const FuseOp *op, int loop);
CellAffine fuse_out_affine(FuseEmit *e, FuseOp *op); /* where the op stores its entry */
int fuse_constant(FuseEmit *e, double number);
int fuse_let(FuseEmit *e, CellOp op, int a, int b, int c);
int fuse_position(FuseEmit *e, CellAffine index);
int fuse_operand(FuseEmit *e, FuseOp *op, FuseAccess *x); /* its value, from a register or loaded */
void fuse_store(FuseEmit *e, CellBufferRef ref, CellAffine index, int value, bool add);
bool fuse_is_ancestor(const FuseNode *a, const FuseNode *n);

/* ---- fuse_place.c ---- */

/* the outermost loop that the op sums over */
FuseNode *fuse_reduce_node(FuseEmit *e, const FuseOp *op);
/* The outermost summed loop with no loop of the result inside: a register sums up to its end, and then is the
 * result, or is added to storage where the result has loops inside further summed ones. */
FuseNode *fuse_register_node(FuseEmit *e, const FuseOp *op);
bool fuse_stored(const FuseVal *val);
void fuse_place_value(FuseEmit *e, FuseVal *val, FuseRegion *region);
void fuse_place_carries(FuseEmit *e, FuseOp *scan); /* in scratch, at the top of the kernel */
void fuse_layout_scratch(FuseEmit *e);

/* ---- fuse_contract.c ---- */

void fuse_emit_contract(FuseEmit *e, FuseOp *op);

#endif
