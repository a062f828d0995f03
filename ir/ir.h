/* ir.h - the tensor IR: a graph whose values know the axes they vary over.
 *
 * A CellGraph is one program in SSA form. A value has
 *   - a dtype: CELL_F (float: f32 in generated code, f64 in the evaluator), CELL_I (i32 index) or
 *     CELL_BITS (an input whose entries are 0 or 1, packed 32 to a word; read as floats),
 *   - a per-sample shape, rank 0 to 4,
 *   - the set of axes it varies over (bits of a mask). An axis is a row of the graph's table.
 * The axes of a result are the union of its operands' axes; only reduce, contract, take and the
 * end of a scan remove one. In memory axes come first, in table order, then the shape, row-major.
 *
 * Values are made by the builder functions below. They check shapes (a mismatch is an internal
 * error: the front end has reported it before), find equal values made before (so a common
 * subexpression never exists twice), fold constants and apply the simplifications that are always
 * right (x+0, x*1, reshape of reshape, ...). A value's operands have smaller numbers than itself.
 *
 * Text form, one line a value; print, parse, print gives the same bytes:
 *
 *     graph update
 *     axis time 10
 *     axis batch 512
 *     axis candidate 3
 *     %0 = input "obs" : bits[10,10,4] {batch}
 *     %1 = input "params/l1/h/linear/weight" : f[400,1000] {}
 *     %2 = reshape %0 : f[400] {batch}
 *     %9 = contract %1, %8 "ij,j->i" : f[400] {batch}            ; arq.cell:9
 *     %12 = contract %10, %11 "i,j->ij" over {batch} : f[400,1000] {}
 *     %13 = reduce sum %9 dims [0] over {batch} : f {}
 *     %14 = take %9 dim 0, %3 : f {batch}         %15 = take %9 axis candidate, %3 : f[8] {batch}
 *     %16 = slice %9 dim 0 [2:5] : f[3] {batch}   %17 = pad %16 dim 0 (2, 1) : f[6] {batch}
 *     %18 = broadcast %9 map [1] : f[3,400] {batch}
 *     %20 = scan over time carries (%4, %5) inputs (%6) {
 *       %0 = input "carry0" : f[400] {batch}      ... the body: a graph of its own, with outputs
 *       output "carry0" %7
 *     }
 *     %21 = result 0 %20 : f[400] {batch}
 *     output "l1/q" %33
 *     minimize %40 over "l1" adam(lr = 0.0001, ...)
 *     wanted "l1/q"
 *
 * Everything lives in the module's arena. Nothing here knows the language or a back end. */
#ifndef CELL_IR_H
#define CELL_IR_H

#include "ir/support.h"

enum { CELL_MAX_RANK = 4, CELL_MAX_AXES = 8 };

/* The axes that every graph starts with; more may be added to a graph's table. ORDER AXIS */
enum { CELL_AXIS_TIME = 0, CELL_AXIS_BATCH = 1, CELL_AXIS_CANDIDATE = 2 };
#define CELL_AXIS(a) (1u << (a))

typedef enum {
#define SCALAR(ENUM, text, arity, flops, sentence) CELL_OP_##ENUM,
#define OP(ENUM, text, arity, sentence) CELL_OP_##ENUM,
#include "ir/ops.def"
  CELL_OP_COUNT
} CellOp;

typedef enum { CELL_F, CELL_I, CELL_BITS } CellDtype;
typedef enum { CELL_SUM, CELL_REDUCE_MAX, CELL_ARGMAX } CellReduce;

/* One row of the op table (ops.c), made from ops.def. */
typedef struct {
  const char *name, *sentence;
  int arity;   /* -1: any */
  bool scalar; /* elementwise */
  int flops;   /* of one entry, elementwise ops only */
} CellOpInfo;
extern const CellOpInfo cell_op_info[CELL_OP_COUNT];

/* float64 value of an elementwise op. */
double cell_scalar_eval(CellOp op, double a, double b, double c);

typedef int32_t CellValue; /* number of a node in its graph */
#define CELL_NONE ((CellValue)-1)

typedef struct CellGraph CellGraph;

typedef struct {
  CellOp op;
  CellDtype dtype;
  int8_t rank;
  int32_t shape[CELL_MAX_RANK];
  uint32_t axes;
  int arg_count;
  const CellValue *args;
  CellSpan span; /* where in the source it comes from */
  /* attributes; unused ones are zero, so that nodes compare by content */
  const char *name;  /* INPUT */
  double number;     /* CONST */
  CellReduce reduce; /* REDUCE */
  uint8_t dims;      /* REDUCE: mask of the dimensions that go */
  uint32_t over;     /* REDUCE, CONTRACT: mask of the axes that go; SCAN: its axis */
  char labels[3][CELL_MAX_RANK + 1]; /* CONTRACT: letters of a's, b's and the result's dimensions */
  int8_t dim;                /* TAKE, SLICE, PAD, CONCAT: the dimension; TAKE: -1 = an axis */
  int8_t axis;               /* TAKE (dim = -1), AXIS_INDEX: the axis */
  int8_t map[CELL_MAX_RANK]; /* TRANSPOSE: result dim i is operand dim map[i]; BROADCAST */
  int32_t begin, end;        /* SLICE: range; PAD: zeros before, after; RESULT: begin = which */
  CellGraph *body;           /* SCAN */
  int carry_count;           /* SCAN: args are carries, then per-step inputs */
} CellNode;

typedef struct {
  const char *name;
  int32_t extent;
} CellAxisRow;

/* How a group's parameters are updated. All numbers are floats of the settings. */
typedef enum { CELL_ADAM, CELL_RMSPROP, CELL_SGD } CellOptimizerKind;
typedef struct {
  CellOptimizerKind kind;
  double lr, b1, b2, eps; /* b1: momentum of sgd */
  double clip;            /* largest global gradient norm, 0 = none */
  double decay;           /* rmsprop */
} CellOptimizer;

/* "minimize loss over group": consumed by the gradient pass. */
typedef struct {
  CellValue loss; /* rank 0, no axes: already the mean over the batch */
  const char *group;
  CellOptimizer optimizer;
  CellSpan span;
} CellMinimize;

typedef struct {
  const char *name;
  CellValue value;
} CellOutput;

struct CellGraph {
  CellArena *arena;
  const char *name;
  CellAxisRow axes[CELL_MAX_AXES];
  int axis_count;
  CellNode *nodes;
  int node_count, node_capacity;
  CellOutput *outputs; /* an output named as an input (params/...) is that state's next value */
  int output_count, output_capacity;
  CellMinimize *minimize;
  int minimize_count, minimize_capacity;
  /* Names of the outputs that the dce pass keeps; NULL keeps all. One that ends in '/' keeps every
   * output that begins with it. */
  const char *const *wanted;
  int wanted_count;
  CellSpan span;   /* given to the nodes made next */
  void *numbering; /* hash table of the builder; private */
};

/* ---- graphs and the builder (graph.c) ---- */

CellGraph *cell_graph_create(CellArena *arena, const char *name);
/* An empty graph with the axes of `like`. */
CellGraph *cell_graph_like(const CellGraph *like, const char *name);
int cell_graph_add_axis(CellGraph *g, const char *name, int32_t extent);
static inline const CellNode *cell_node(const CellGraph *g, CellValue v) {
  return &g->nodes[v];
}
void cell_output(CellGraph *g, const char *name, CellValue v);
CellValue cell_find_output(const CellGraph *g, const char *name); /* CELL_NONE if there is none */
CellValue cell_find_input(const CellGraph *g, const char *name);
int64_t cell_count(const CellGraph *g, CellValue v);    /* entries of one sample */
int64_t cell_extent(const CellGraph *g, uint32_t axes); /* product of the extents */
bool cell_is_const(const CellGraph *g, CellValue v, double number);

CellValue cell_input(CellGraph *g, const char *name, CellDtype dtype, int rank,
                     const int32_t *shape, uint32_t axes);
CellValue cell_const(CellGraph *g, double number);
CellValue cell_range(CellGraph *g, int32_t n);
CellValue cell_axis_index(CellGraph *g, int axis);
CellValue cell_op1(CellGraph *g, CellOp op, CellValue a);
CellValue cell_op2(CellGraph *g, CellOp op, CellValue a, CellValue b);
CellValue cell_op3(CellGraph *g, CellOp op, CellValue a, CellValue b, CellValue c);
CellValue cell_one_hot(CellGraph *g, CellValue index, int32_t n);
CellValue cell_sign_bits(CellGraph *g, CellValue index, int32_t n);
/* dims: mask of dimensions, over: mask of axes, each one that a varies over. max and argmax go over
 * exactly one of either; they start at -infinity and compare with >, so NaN never wins and the
 * lower index does. */
CellValue cell_reduce(CellGraph *g, CellReduce kind, CellValue a, uint8_t dims, uint32_t over);
/* labels as in "ij,jk->ik"; a letter in both operands and the result is matched; one that is not in
 * the result is summed and must be in both. `over`: axes summed; each is in a's or b's axes. */
CellValue cell_contract(CellGraph *g, CellValue a, CellValue b, const char *labels, uint32_t over);
/* index: rank 0; for an axis, one that does not vary over that axis. An index out of range is an
 * error in the evaluator and undefined in generated code. */
CellValue cell_take_dim(CellGraph *g, CellValue a, int dim, CellValue index);
CellValue cell_take_axis(CellGraph *g, CellValue a, int axis, CellValue index);
CellValue cell_reshape(CellGraph *g, CellValue a, int rank, const int32_t *shape);
CellValue cell_transpose(CellGraph *g, CellValue a, const int8_t *map);
CellValue cell_slice(CellGraph *g, CellValue a, int dim, int32_t begin, int32_t end);
CellValue cell_pad(CellGraph *g, CellValue a, int dim, int32_t before, int32_t after);
CellValue cell_concat(CellGraph *g, int count, const CellValue *args, int dim);
/* Result has the given shape; dimension i of a becomes dimension map[i] (ascending) and has its size or 1. */
CellValue cell_broadcast(CellGraph *g, CellValue a, int rank, const int32_t *shape,
                         const int8_t *map);
CellValue cell_stop_gradient(CellGraph *g, CellValue a);
/* body: inputs "carry0".., "step0".. (as cell_input; a step input has the outer axes less `axis`),
 * outputs "carry0"..; it may also read named INPUT state (params/...), under their own names. A
 * carry has the type of the body's input of that name (of its output, where the body does not read
 * it); the first value and the output must have its shape and no axis more, bits fit floats. */
CellValue cell_scan(CellGraph *g, int axis, CellGraph *body, int carry_count,
                    const CellValue *carries, int input_count, const CellValue *inputs);
CellValue cell_result(CellGraph *g, CellValue scan, int which);
/* Rebuilds node `n` of another graph (same axes) in g, with its operands replaced by `args`. They
 * may vary over fewer axes than before: a sum over a lost axis becomes a multiple. */
CellValue cell_rebuild(CellGraph *g, const CellNode *n, const CellValue *args);

/* Copies what `roots` need from one graph into another; map[old] = new (CELL_NONE: not copied yet).
 * `replace` may be NULL; else it is asked first for each node, with operands already copied, and
 * returns the new value or CELL_NONE to copy the node as it is. The way all rewrites are written. */
typedef CellValue (*CellReplace)(CellGraph *to, const CellGraph *from, CellValue v,
                                 const CellValue *args, void *context);
CellValue cell_copy(CellGraph *to, const CellGraph *from, CellValue v, CellValue *map,
                    CellReplace replace, void *context);
/* A graph with the same name, axes, outputs and minimize list, each node passed through `replace`.
 * Nodes that nobody needs are not copied (this is dead-code elimination when replace is NULL).
 * Bodies of scans stay as they are: a `replace` that wants to enter one calls cell_rewrite on it. */
CellGraph *cell_rewrite(const CellGraph *g, CellReplace replace, void *context);

/* ---- text (print.c, parse_ir.c), verifier (verify.c), evaluator (eval.c) ---- */

/* sources may be NULL */
void cell_print(const CellGraph *g, const CellDiag *sources, CellText *out);
CellGraph *cell_parse_ir(CellArena *arena, CellDiag *diag, int source); /* NULL on errors */

/* Checks shapes, axes, order, labels, scan bodies, outputs. All violations are written to `out`
 * as the printed graph with "^ error" lines; returns whether there were none. */
bool cell_verify(const CellGraph *g, CellText *out);

/* A tensor by name, float64 whatever the dtype (indices and bits too), canonical order. */
typedef struct {
  const char *name;
  double *data;
  int64_t count;
} CellTensor;
/* Evaluates in float64, op by op, obvious and slow. Every INPUT must be in `inputs` (by name, right
 * count); results (in the arena) are written to outputs[i] for the i-th output. Errors to diag. */
bool cell_eval(const CellGraph *g, const CellTensor *inputs, int input_count, CellTensor *outputs,
               CellArena *arena, CellDiag *diag);

/* ---- modules: all programs of one network, and its parameters ---- */

typedef enum {
  CELL_INIT_ZEROS,
  CELL_INIT_ONES,
  CELL_INIT_LECUN,
  CELL_INIT_TORCH,
  CELL_INIT_ORTHOGONAL,
  CELL_INIT_NORMAL,
  CELL_INIT_UNIFORM
} CellInitKind;

typedef struct {
  int32_t begin, end; /* columns (last dimension) of the whole */
} CellPart;

typedef struct {
  const char *name;  /* "l1/h/linear/weight" */
  const char *group; /* "l1": the cell it belongs to */
  int8_t rank;
  int32_t shape[CELL_MAX_RANK];
  CellInitKind init;
  double init_arg; /* gain, std or a */
  CellSpan span;
  /* filled by the parts pass: 0 = whole. Part p of "params/NAME" is the INPUT "params/NAME#p". */
  CellPart *parts;
  int part_count;
  bool turned; /* a matrix whose parts are stored [columns, rows] */
} CellParam;

/* Shape of a part as stored; p->part_count > 0. */
void cell_part_shape(const CellParam *p, int part, int32_t shape[CELL_MAX_RANK]);
/* Where entry i of a part, as stored, stands in the whole (row-major). */
int64_t cell_part_entry(const CellParam *p, int part, int64_t i);

/* What the gradient of one group reached: the locality certificate. */
typedef struct {
  const char *group;
  const char **losses; /* names of the groups whose loss reaches its parameters */
  int loss_count;
  const char **crossed; /* cells whose values the gradient passed through */
  int crossed_count;
  bool moments; /* has moment1, moment2 */
} CellCertificate;

typedef struct {
  CellArena *arena;
  const char *name;
  CellParam *params;
  int param_count, param_capacity;
  CellGraph **programs; /* "act", "update", "sync", "inspect" ... */
  int program_count, program_capacity;
  CellCertificate *certificates;
  int certificate_count;
  bool sparse;                 /* plans may take zeros out of products (sparse pass) */
  const char *const *disabled; /* rules of algebra to leave out, while passes run */
  int disabled_count;
} CellModule;

CellGraph *cell_program(const CellModule *m, const char *name); /* NULL if there is none */

/* ---- passes (passes.c): each a function of the whole module, in one array, in order ---- */

typedef struct {
  const char *name, *sentence;
  bool optional; /* may be switched off by --disable=NAME */
  bool (*run)(CellModule *m, CellDiag *diag);
} CellPass;
extern const CellPass cell_passes[];
extern const int cell_pass_count;

typedef struct {
  const char *const *disabled; /* optional passes, and rules of the algebra passes, by name */
  int disabled_count;
  const char *stop_after; /* NULL: run all */
  /* --print-after; may be NULL */
  void (*after)(const CellPass *pass, const CellModule *m, void *context);
  void *context;
  bool verify; /* verify every graph after every pass */
} CellPassOptions;
bool cell_run_passes(CellModule *m, const CellPassOptions *options, CellDiag *diag);

/* Everything that may be left out by name, 0 <= index: optional passes, then rules of algebra. false
 * behind the last. */
typedef struct {
  const char *name, *sentence;
} CellRewrite;
bool cell_rewrite_at(int index, CellRewrite *out);

/* The passes over tensor graphs, in order; see the file of each. */
bool cell_pass_parts(CellModule *m, CellDiag *diag);    /* parts.c */
bool cell_pass_algebra(CellModule *m, CellDiag *diag);  /* algebra.c */
bool cell_pass_gradient(CellModule *m, CellDiag *diag); /* gradient.c */
bool cell_pass_dce(CellModule *m, CellDiag *diag);      /* dce.c */

/* Reverse mode (gradient.c): adds to g the derivatives of `loss` (rank 0, no axes) with respect to
 * each of `wrt`, into grads (CELL_NONE where it does not reach). Stops at stop_gradient. */
void cell_gradient(CellGraph *g, CellValue loss, int count, const CellValue *wrt, CellValue *grads);

/* Arithmetic and traffic of a value as its op states it (counts.c): one evaluation of the program. */
typedef struct {
  double contract_flops; /* 2 a multiply-add */
  double other_flops;
  /* of contract_flops: products with what all samples share, and sums over them */
  double shared_flops;
} CellCounts;
CellCounts cell_counts(const CellGraph *g);

#endif
