/* fuse.h - private to the kernels pass: from a tensor graph to loop trees.
 *
 * The pass works in five steps, one file each:
 *   prepare.c     brings a graph into the form that the others expect (still a graph)
 *   fuse_ops.c    graph -> ops: every op has named loops and reads its operands through index maps
 *                 (fuse_access.c); views disappear into those maps
 *   fuse_group.c  ops -> kernels: which ops share a launch, and over which loop its tasks are cut; fuse_tails.c:
 *                 what a product's kernel does to its entries; fuse_sums.c: sums to one number
 *   fuse_tree.c   the ops of a kernel -> a loop tree, in an order that keeps little alive (fuse_order.c)
 *   fuse_emit.c   loop tree -> kernel IR, with fuse_body.c, fuse_contract.c and fuse_place.c; a value lives in a register, in scratch with the extent of
 *                 the loops that its definition and uses do not share, or in a buffer of the plan
 * fuse.c runs them and makes the plan; buffers.c lays out the arena. */
#ifndef CELL_FUSE_H
#define CELL_FUSE_H

#include "ir/kernel.h"

enum { FUSE_MAX_LOOPS = CELL_MAX_AXES + 2 * CELL_MAX_RANK, FUSE_UNROLL = 16 };

typedef struct FuseOp FuseOp;
typedef struct FuseVal FuseVal;
typedef struct FuseRegion FuseRegion;
typedef struct FuseNode FuseNode;
typedef struct FuseKernel FuseKernel;

/* An index over the loops of one op: base + sum of coef * loop, or an operand's i32 value, or the
 * position of an enclosing scan. */
typedef struct {
  int64_t base;
  int64_t coef[CELL_MAX_RANK];
  FuseOp *scan;   /* the scan whose step it is, or NULL */
  int16_t loaded; /* number of the op's operand that holds it, or -1 */
  int8_t loop[CELL_MAX_RANK];
  int8_t count; /* of the terms */
} FuseIndex;    /* kept small: an access has one for each axis and dimension */

typedef enum { FUSE_CONSTANT, FUSE_RANGE, FUSE_POSITION, FUSE_VALUE } FuseAccessKind;

/* How an op reads an operand: a number, the index of a dimension (float) or axis (i32), or a value. */
typedef struct {
  FuseAccessKind kind;
  double number;
  FuseVal *val;
  FuseIndex axis[CELL_MAX_AXES], dim[CELL_MAX_RANK]; /* RANGE: dim[0]; POSITION: axis[0] */
} FuseAccess;

typedef enum { FUSE_NOWHERE, FUSE_SCRATCH, FUSE_GLOBAL } FusePlace;

/* A value that an op computes or that comes from outside. */
struct FuseVal {
  CellDtype dtype;
  int rank;
  int32_t shape[CELL_MAX_RANK];
  uint32_t axes;
  int32_t extent[CELL_MAX_AXES];
  const char *name;
  FuseOp **producers; /* none: an input */
  int producer_count, producer_capacity;
  FuseOp **consumers;
  int consumer_count, consumer_capacity;
  bool global;    /* read outside its kernel, or an input or output */
  bool pinned;    /* a scan's carry: scratch at the top of the kernel */
  bool from_zero; /* a carry that starts as zeros */
  bool sparse;    /* many entries are exactly 0, and the target leaves them out of products */
  int buffer;     /* of the plan, or -1 */
  /* while its kernel is emitted */
  FusePlace place;
  int scratch;
  int64_t axis_stride[CELL_MAX_AXES], dim_stride[CELL_MAX_RANK]; /* 0 where a loop is shared */
  uint32_t tile_axes, tile_dims; /* scratch that holds only the task's tile of these */
  int reg[FUSE_UNROLL]; /* value numbers while in scope, else -1; one for each unrolled entry */
  bool array_sum;       /* accumulated in storage: a register never holds it */
};

typedef enum {
  FUSE_SCALAR,   /* an elementwise op, or a copy when node is NULL */
  FUSE_ONE_HOT,  /* 1 where the last loop equals the operand */
  FUSE_BIT,      /* one entry of sign_bits */
  FUSE_REDUCE,   /* sum, max, argmax of the operand, or of the product of two (contract) */
  FUSE_CONTRACT, /* a CONTRACT statement: reads its operands whole, over the task's tile */
  FUSE_SCAN
} FuseKind;

typedef struct {
  int32_t extent;
  int axis; /* or -1: a dimension */
  bool reduced;
  int cls; /* loops of one class run together; see fuse_tree.c */
} FuseLoop;

/* One product of a FUSE_CONTRACT: a sum of segments, because operands may be concats. */
typedef struct {
  FuseAccess a, b; /* indexed by the op's loops; loop k has this segment's extent */
  int32_t k_extent, m_extent, n_extent;
  int32_t m_offset, n_offset; /* in the result */
  bool add;
} FuseSegment;

struct FuseOp {
  FuseKind kind;
  const CellNode *node;
  FuseRegion *region;
  CellOp scalar; /* FUSE_SCALAR: CELL_OP_COUNT is a copy */
  CellReduce reduce;
  FuseLoop loops[FUSE_MAX_LOOPS];
  int loop_count;
  FuseAccess *args;
  int arg_count;
  FuseVal *out;
  int out_axis[CELL_MAX_AXES], out_dim[CELL_MAX_RANK]; /* the loop of each, or -1: extent 1 */
  int32_t out_offset[CELL_MAX_RANK];                   /* of a piece of a concat */
  int bit;                                             /* FUSE_BIT */
  /* FUSE_CONTRACT: loops m, n, k are loop_m, ... ; further loops run around the statement */
  int loop_m, loop_n, loop_k;
  FuseSegment *segments;
  int segment_count;
  /* FUSE_SCAN */
  FuseRegion *body;
  FuseVal **carries; /* current values; the body's copies write them at a step's end */
  int carry_count;
  int axis;
  int time_var; /* of the kernel, while the body is emitted */
  /* schedule */
  uint32_t outer, inner; /* masks of loops */
  int lane;              /* loop, or -1 */
  int order;             /* topological */
  int task;              /* loop that tasks are cut from, or -1 */
  bool partial;          /* reduces the task loop: leaves one number a task */
  FuseOp *tiles;         /* ... one a tile of this product, whose entries it reads; NULL */
  bool fold;             /* adds up partials */
  bool repeated;         /* a copy in the kernel of its only reader; every task does it */
  bool dead;             /* belongs to no kernel: another op does it */
  int level;
  FuseKernel *kernel;
  FuseNode *leaf;
};

/* A graph being lowered: a program, or the body of a scan. */
struct FuseRegion {
  const CellGraph *g;
  FuseRegion *parent;
  FuseOp *scan; /* whose body this is */
  /* a step of a scan that is written out (fuse_steps.c): a body whose ops belong to a region around it */
  const CellNode *step_of; /* the scan, a node of `parent`; NULL: none */
  int32_t step;
  FuseRegion *before; /* the step before it, NULL at the first */
  FuseRegion *into;   /* where its ops go */
  FuseRegion **steps; /* of the scans of this region: the last step of each */
  int step_count, step_capacity;
  FuseVal **vals;
  FuseVal **floats; /* bits that products read, expanded */
  int *uses;        /* how often each node is read */
  bool *sparse;     /* nodes with many zeros; NULL: not looked for */
  FuseOp **ops;
  int op_count, op_capacity;
  FuseOp **after; /* a body's copies of its results into the carries */
  int after_count, after_capacity;
};

/* A loop among those that run together. */
typedef struct {
  int parent; /* itself: this one stands for all */
  int next;   /* a ring of all */
  int size;   /* of the one that stands for all: how many they are */
  FuseOp *op; /* whose loop it is */
} FuseClass;

typedef struct Fuse {
  CellArena *arena;
  const CellModule *m;
  const CellTarget *target;
  CellPlan *plan;
  int program;
  CellDiag *diag;
  int order;
  FuseClass *class_of; /* union-find over loops */
  int classes, class_capacity;
  FuseOp **all;
  int all_count, all_capacity;
} Fuse;

/* What a kernel's tasks are cut from. */
typedef enum {
  FUSE_TASK_NONE,
  FUSE_TASK_BATCH,
  FUSE_TASK_ROWS,       /* of the result: its first dimension */
  FUSE_TASK_CANDIDATES, /* of a single sample */
  FUSE_TASK_COLUMNS     /* of a product whose batch is a single sample */
} FuseTask;

typedef struct {
  FuseTask task;
  int32_t extent;
} FuseCut;

/* An op that is being given a kernel. */
typedef struct {
  FuseOp *op; /* number op->order of the list */
  FuseCut cut;
  int alap; /* of a tail: its product's counts */
  int tail; /* the product in whose kernel it is, its own number for a product; -1: none */
} FuseItem;

struct FuseKernel {
  FuseTask task;
  int32_t extent, tile;
  bool apart;  /* a product and its tail, or products alone */
  bool ranges; /* its tasks become ranges of rows (row_ranges.c) */
  int part;    /* of the level's ops: those that hang together */
  int64_t tasks;
  int level;
  FuseOp **ops;
  int op_count, op_capacity;
};

/* A loop of the tree (op NULL) or an op in a body. The root has neither. */
struct FuseNode {
  FuseOp *op;
  int cls;
  CellLoopKind kind;
  int32_t extent;
  FuseNode *parent, *child, *next;
  int depth, var;
  int place; /* number in the order of emission */
};

/* sparse.c: which values have many entries of exactly 0: one flag a node, or a carry; `carries`: of the scan whose
 * body g is, or NULL. */
bool fuse_makes_zeros(CellOp op);
bool fuse_is_zero(const CellGraph *g, CellValue v); /* everywhere */
bool *fuse_sparse_values(CellArena *arena, const CellGraph *g, const bool *carries);
bool *fuse_sparse_carries(CellArena *arena, const CellGraph *g, const CellNode *scan);
/* sparse_terms.c: whether a program has so much to multiply that leaving out zeros pays at all. */
bool fuse_sparse_pays(const CellGraph *g);
/* A graph without minimize entries, in which products read such values where a count says so,
 * or wherever they can. */
const CellGraph *fuse_sparse_terms(const CellGraph *g,
                                   bool always); /* g itself where there are none */

/* prepare.c: a copy of g in the form that the pass expects. */
CellGraph *fuse_prepare(const CellGraph *g);
/* whether v is an addition of two or more products over the same axes of the batch, or a gradient's sum */
bool fuse_is_product_sum(const CellGraph *g, CellValue v);
/* whether v is a matrix's gradient, a sum over the batch, and a product of two matrices, its terms */
bool fuse_is_gradient_sum(const CellGraph *g, CellValue v);

/* fuse_access.c */
FuseIndex fuse_index_const(int64_t base);
FuseIndex fuse_index_loop(int loop); /* that loop; 0 for -1 */
bool fuse_index_add(FuseIndex *a, const FuseIndex *b,
                    int64_t by);                 /* a + by * b; false: not affine, or no room */
bool fuse_is_loop(const FuseIndex *x, int loop); /* exactly that loop, from 0 */
bool fuse_is_view(CellOp op);
/* Node v of region r, read at an index for each axis and dimension. */
FuseAccess fuse_follow(Fuse *f, FuseRegion *r, CellValue v, const FuseIndex *axis,
                       const FuseIndex *dim);
/* The same, read at loops; -1 is index 0. */
FuseAccess fuse_read(Fuse *f, FuseRegion *r, CellValue v, const int *axis_loop,
                     const int *dim_loop);

/* fuse_steps.c: scans that are written out, for targets whose kernels hold one product each */
bool fuse_in_steps(const Fuse *f);
/* The value behind result node v of region r: in the last step of its scan. */
FuseRegion *fuse_last_step(Fuse *f, FuseRegion *r, CellValue *v);
/* For an input of a step's body that stands for a value outside it: where that is, and *axis, *at: which
 * entry of the scanned axis it is read at (axis -1: none). NULL: an input like any other. */
FuseRegion *fuse_step_input(FuseRegion *r, CellValue *v, int *axis, int32_t *at);

/* fuse_ops.c */
FuseVal *fuse_node_val(Fuse *f, FuseRegion *r, CellValue v, const char *name);
FuseRegion *fuse_region(Fuse *f, const CellGraph *g, FuseRegion *parent, FuseOp *scan);
FuseVal *fuse_val(Fuse *f, FuseRegion *r, CellValue v); /* the value of a node, made on demand */
FuseOp *fuse_copy_op(Fuse *f, FuseRegion *r, CellValue v, FuseVal *out); /* out = value of node v */
int64_t fuse_val_count(const FuseVal *val); /* entries, of all axes and dimensions */
FuseVal *fuse_new_val(Fuse *f, CellDtype dtype, int rank, const int32_t *shape, uint32_t axes,
                      const CellGraph *g, const char *name);
/* out[0] = sum over a [tasks] value of partial sums; the same as what an op does from now on */
FuseOp *fuse_fold_op(Fuse *f, FuseRegion *r, FuseVal *partials, FuseVal *out);
void fuse_make_fold(Fuse *f, FuseOp *op, FuseVal *partials);
typedef void (*FuseVisit)(FuseOp *op, FuseAccess *access, void *context);
void fuse_each_access(FuseOp *op, FuseVisit visit, void *context);

/* fuse_group.c: kernels in launch order. */
/* Whether `reader` (of whose accesses inner's are meant) may share a kernel with the producer of val. */
bool fuse_may_join(const FuseItem *producer, const FuseItem *reader, FuseOp *inner,
                   const FuseVal *val);
int fuse_group(Fuse *f, FuseRegion *r, FuseKernel ***kernels);

/* fuse_sums.c */
typedef struct {
  FuseOp **ops;
  FuseCut *cuts;
  int count, op_capacity, cut_capacity;
} FuseSums;
/* The product of which a sum takes whole tiles, or NULL; *row: its loop over that product's rows. */
FuseOp *fuse_sums_tiles(const Fuse *f, const FuseOp *op, int *row);
int32_t fuse_tile_partials(const Fuse *f, const FuseOp *op); /* how many numbers it leaves */
void fuse_merge_sums(Fuse *f, FuseSums *s);
void fuse_repeat_sums(Fuse *f, FuseSums *s);

/* fuse_tails.c: sets the items' tails. */
void fuse_tails(const Fuse *f, FuseItem *items, int n);

/* fuse_tree.c */
int fuse_class(Fuse *f, int cls); /* representative */
int fuse_new_class(Fuse *f, FuseOp *op);
void fuse_unify(Fuse *f, FuseOp **ops, int count);
bool fuse_aligned(Fuse *f, const FuseOp *producer, const FuseOp *consumer, int cls);
FuseNode *fuse_tree(Fuse *f, FuseOp **ops, int count);

/* fuse_order.c */
/* Cuts the ops inside a loop of class cls, in order, into groups; component[i] is the group of ops[i], groups
 * are numbered in an order in which they can run. Returns their number. */
int fuse_components(Fuse *f, FuseOp **ops, int count, int cls, int *component);
/* Brings the children of a body into an order in which what each needs runs right before it. */
void fuse_reorder(Fuse *f, FuseOp **ops, int count, FuseNode *body);

/* fuse_emit.c: emits one kernel and its launch. */
void fuse_emit(Fuse *f, FuseKernel *k, const char *name, CellPlanProgram *program);

/* Of finished kernels, in this order and where the target wants it. turn_sums.c: keeps sums over rows into short
 * rows in registers; flatten_lanes.c: makes short rows into long ones; turn_lanes.c: lets lanes go across short rows;
 * gather_once.c: writes out what they would gather again and again; block_sums.c: adds up several rows before sums over
 * rows are stored; cut_lanes.c: cuts long lane loops; split_sums.c: takes long sums of few lanes in parts; jam_rows.c: sums
 * several short rows at once, and does several iterations within lanes at once. */
void fuse_turn_sums(CellKernel *k, const CellTarget *target);
void fuse_flatten_lanes(CellKernel *k, const CellTarget *target);
void fuse_turn_lanes(CellKernel *k, const CellTarget *target);
void fuse_gather_once(CellKernel *k, const CellTarget *target);
void fuse_block_sums(CellKernel *k, const CellTarget *target);
void fuse_cut_lanes(CellKernel *k, const CellTarget *target);
void fuse_split_sums(CellKernel *k, const CellTarget *target);
void fuse_jam_rows(CellKernel *k, const CellTarget *target);
/* Whether statements of a body, those of loops in it apart, work out an elementary function. */
bool fuse_has_function(const CellStmt *body);
void fuse_whole_vectors(CellKernel *k, const CellTarget *target);
/* row_ranges.c: last of all, if the target wants it. Tasks are tiles of so many of the rows, and none is taken to be
 * whole. */
void fuse_row_ranges(CellKernel *k, const CellTarget *target, int64_t rows, int64_t tile);

/* stages.c: the order of launches by stages (each alone where they do not merge), and the launches between
 * which each buffer lives. */
void cell_plan_stages(CellPlan *plan, CellPlanProgram *program, bool merge);

/* buffers.c: offsets of all buffers of the plan. */
bool cell_plan_layout(CellPlan *plan, const CellPlanOptions *options, CellDiag *diag);

#endif
