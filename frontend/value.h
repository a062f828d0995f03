/* value.h - what the files that give a .cell file its meaning share with each other.
 *
 * Elaboration is tracing: an interpreter walks a cell's body at one time with one set of parameters
 * (a stage) and makes tensor IR through the builder, whose numbering joins what is common. Nothing
 * is evaluated before somebody asks for it: an instance of a cell evaluates a statement of its body
 * at the first use of the name and remembers it.
 *
 *     spec.c       names, variants, --set          eval_expr.c    expressions
 *     settings.c   the table of train settings     eval_call.c    calls, functions, parameters' names
 *     elab.c       messages, limits                eval_tensor.c  shapes, elementwise, products
 *     cells.c      the stack, instances, ports     eval_ops.c     the table of operations
 *     rules.c      rules and policies              programs.c     act, update, sync, inspect
 *
 * Everything lies in the arena of the spec. */
#ifndef CELL_VALUE_H
#define CELL_VALUE_H

#include "frontend/ast.h"
#include "frontend/frontend.h"

typedef struct CellElab CellElab;
typedef struct CellStage CellStage;
typedef struct CellTrace CellTrace;
typedef struct CellInstance CellInstance;
typedef struct CellFrame CellFrame;

/* ---- limits (language.md section 9) ---- */

#define CELL_MAX_SAMPLE ((int64_t)1 << 24)     /* entries of a value of one sample ... */
#define CELL_MAX_ALL ((int64_t)1 << 39)        /* ... times batch and actions or context */
#define CELL_MAX_PARAMETER ((int64_t)1 << 28)  /* entries of one parameter */
#define CELL_MAX_PARAMETERS ((int64_t)1 << 31) /* entries of all */
#define CELL_MAX_VALUES 1000000                /* values of one program */
#define CELL_MAX_CALLS 64                      /* functions inside functions */
#define CELL_MAX_WORK 2000000                  /* expressions evaluated in one build */
#define CELL_MAX_NESTED 2000    /* expressions inside expressions, all calls written out */
#define CELL_MAX_STATEMENTS 900 /* of a cell's body */
#define CELL_MAX_CELLS 256      /* cells of a stack */
#define CELL_MAX_UNROLL 4096    /* rounds of a for, items of a list */

/* ---- the spec ---- */

/* Where names that no frame binds are looked up: file, then prelude; or the prelude alone. */
typedef enum { CELL_HOME_FILE, CELL_HOME_PRELUDE } CellHome;

/* `path = value` of a variant or of --set, the later one counts. */
typedef struct {
  const char *path; /* "l1.n" */
  const CellExpr *value;
  CellSpan span, path_span;
  const char *origin; /* "variant small", "--set" */
  bool used;
} CellOverride;

struct CellSpec {
  CellArena *arena;
  CellDiag *diag; /* of the build that is running, or of the load */
  CellAst *file, *prelude;
  const char *name;
  const CellItem *stack, *learn, *policy, *train_item; /* NULL: the file has none */
  CellOverride *sets;
  int set_count, set_capacity;
  CellTrain train;
  CellResolved *settings;
  int setting_count, setting_capacity;
  const char **variants;
  int variant_count, variant_capacity;
  CellCarry *carries;
  int carry_count;
  const char **cells;
  int cell_count;
};

/* The last override of a path, or NULL; it is then marked as used. */
CellOverride *cell_override(CellSpec *spec, const char *path);
/* An item by kind and name. PARAM and DEF share one namespace: ask for either. */
const CellItem *cell_find_item(const CellSpec *spec, CellHome home, CellItemKind kind,
                               const char *name);
const CellItem *cell_find_value(const CellSpec *spec, CellHome home, const char *name,
                                CellHome *where);
/* Reports overrides of paths that do not exist, once the stack is placed. */
void cell_check_overrides(CellElab *elab);
/* Notes a resolved setting for run.json and `info`. */
void cell_note_setting(CellSpec *spec, const char *path, const char *value, const char *origin);
const char *cell_expr_text(CellArena *arena, const CellExpr *expr);
/* Resolves spec->train from the defaults, the file and the overrides (settings.c). */
bool cell_resolve_train(CellSpec *spec);
/* `adam(lr = 1e-4, ...)`, on top of the values that *optimizer has. */
bool cell_read_optimizer(CellSpec *spec, const CellExpr *expr, CellOptimizer *optimizer);

/* ---- what an expression means ---- */

typedef enum {
  CELL_IS_ERROR,  /* reported already: whatever reads it is an error too, without a message */
  CELL_IS_ABSENT, /* an optional port that is not connected */
  CELL_IS_NONE,
  CELL_IS_NUMBER, /* known to the compiler, exact */
  CELL_IS_BOOL,
  CELL_IS_TENSOR,  /* a value of the stage's graph */
  CELL_IS_UNKNOWN, /* a tensor whose shape is being looked for */
  CELL_IS_FUNCTION,
  CELL_IS_INIT, /* lecun, normal(0.1), ... */
  CELL_IS_LIST,
  CELL_IS_CELL, /* a cell of the stack, in a rule */
  CELL_IS_BLOCK /* an end_to_end block, in a rule */
} CellDatumKind;

typedef struct CellBuiltin CellBuiltin;

typedef struct {
  const char *name;
  const CellItem *def;        /* NULL: an operation of the compiler */
  CellHome home;              /* of def */
  const CellBuiltin *builtin; /* NULL: a def */
} CellFunction;

typedef struct CellDatum CellDatum;
struct CellDatum {
  CellDatumKind kind;
  union {
    double number;
    bool truth;
    CellValue tensor;
    CellFunction function;
    struct {
      CellInitKind kind;
      double arg;
    } init;
    struct {
      CellDatum *items;
      int count;
    } list;
    int index; /* CELL, BLOCK */
  };
};

static inline CellDatum cell_number(double number) {
  return (CellDatum){.kind = CELL_IS_NUMBER, .number = number};
}
static inline CellDatum cell_truth(bool truth) {
  return (CellDatum){.kind = CELL_IS_BOOL, .truth = truth};
}
static inline CellDatum cell_tensor(CellValue v) {
  return (CellDatum){.kind = CELL_IS_TENSOR, .tensor = v};
}
static inline CellDatum cell_datum(CellDatumKind kind) {
  return (CellDatum){.kind = kind};
}
#define CELL_FAILED cell_datum(CELL_IS_ERROR)

/* ---- names ---- */

typedef struct CellBinding {
  const char *name;
  CellDatum value;
  CellSpan span; /* of the expression, for messages */
  struct CellBinding *older;
} CellBinding;

/* The names that an expression sees before those of the file. */
struct CellFrame {
  CellFrame *up;
  CellHome home;          /* of the outermost frame: where to go on */
  CellBinding *bindings;  /* newest first */
  CellInstance *instance; /* a cell's body: its statements before `visible`, ports, arguments */
  int visible;
};

void cell_bind(CellElab *elab, CellFrame *frame, const char *name, CellDatum value, CellSpan span);

/* Names of parameters: "l1/h", and how often each operation was met below it. */
typedef struct CellScope {
  const char *prefix;
  const char **names;
  int *counts;
  int count, capacity;
} CellScope;

/* The name of the next part "l1/h/linear_2" of this scope. */
const char *cell_scope_next(CellElab *elab, CellScope *scope, const char *operation);

/* One function call inside another, for messages and the depth limit. */
typedef struct CellCallSite {
  const struct CellCallSite *up;
  CellSpan span;
  const char *name;
  int depth;
} CellCallSite;

typedef enum { CELL_IN_BODY, CELL_IN_PORT, CELL_IN_RULE, CELL_IN_SETTING } CellPlaceOf;

/* All that the meaning of an expression depends on. */
typedef struct {
  CellElab *elab;
  CellStage *stage; /* NULL: only what the compiler knows (settings, arguments of cells) */
  CellFrame *frame;
  CellPlaceOf where;
  int cell;         /* whose body or ports these are, for messages and parameters; -1: none */
  CellScope *scope; /* NULL: no parameters may be made here */
  const CellCallSite *calls;
  CellTrace *trace; /* in rules: the program, and at which time and with which parameters */
  int time;
  bool target;
} CellContext;

/* ---- the network ---- */

typedef enum { CELL_NO_GOODNESS, CELL_PER_ACTION, CELL_VECTOR } CellGoodness;

/* A cell of the stack. */
typedef struct {
  const char *name;
  const CellItem *cell;
  CellHome home;
  CellSpan span;          /* where it stands in the stack */
  CellDatum *args;        /* by parameter of the cell */
  const CellExpr **links; /* by port; NULL: not connected */
  int output, goodness;   /* statements of the body; -1: none */
  int block;              /* -1: none */
  CellGoodness kind;      /* known after the check */
  bool broken;            /* reported already: whoever reads it is not */
  bool *reads;            /* by cell: whether a link reads its output of the same step */
} CellPlaced;

typedef struct {
  const char *name; /* of the group */
  CellSpan span;
} CellBlock;

/* A value that some prev(...) reads. */
typedef struct {
  const char *name;  /* "l1", "l1.c", "l1@2" */
  int cell;          /* -1: obs */
  const char *value; /* NULL: the output */
  int back;          /* 1, 2, ... steps */
  bool known;        /* the shape */
  bool asked;        /* only an output of inspect wants it */
  int rank;
  int32_t shape[CELL_MAX_RANK];
  CellSpan span; /* the first prev that reads it */
} CellCarried;

/* One build. */
struct CellElab {
  CellSpec *spec;
  CellArena *arena;
  CellDiag *diag;
  CellModule *module;
  const CellShapes *shapes; /* NULL while settings are resolved */
  CellPlaced *cells;
  int cell_count;
  CellBlock *blocks;
  int block_count;
  CellCarried *carries;
  int carry_count, carry_capacity;
  bool muted;         /* shapes are being looked for: errors come later */
  bool failed;        /* an error since this was last cleared, muted ones too */
  bool loose;         /* prev may be of unknown shape; weights that depend on it are left out */
  int64_t largest;    /* entries that a value of one sample may have */
  int depth;          /* of evaluation */
  int64_t work;       /* expressions evaluated */
  int64_t parameters; /* entries of all parameters */
  CellRecord scratch;
  CellSpan *reported; /* places in cells' bodies that have their message */
  const char **reported_codes;
  int reported_count, reported_capacity;
  const CellItem **params_open; /* params being evaluated, for loops */
  int params_open_count, params_open_capacity;
  int32_t context; /* settings.context, 0 without any prev */
};

/* A time with a set of parameters in one graph. */
struct CellStage {
  CellElab *elab;
  CellGraph *g;
  const char *parameters; /* "params" or "target" */
  CellValue obs;
  CellDatum *states;        /* by carry */
  CellInstance **instances; /* by cell; NULL: not yet */
  bool stops;               /* something is differentiated here: mark what comes through ports */
};

/* A cell at a stage. */
struct CellInstance {
  CellStage *stage;
  int cell;
  CellDatum *ports, *values;         /* by port, by statement */
  uint8_t *port_state, *value_state; /* 0 not yet, 1 being evaluated, 2 known */
};

/* ---- messages and limits (elab.c) ---- */

/* An error of the file, with "in l1, line 18" behind it. In the prelude it is reported where the
 * file calls it. Once a place and code inside cells' bodies. Never NULL. */
CellRecord *cell_complain(const CellContext *c, const char *code, CellSpan span, const char *format,
                          ...) CELL_PRINTF(4, 5);
/* Adds a place to a record, before what has none; see cell_relate. */
void cell_point(const CellContext *c, CellRecord *record, CellSpan span, const char *format, ...)
    CELL_PRINTF(4, 5);
CellRecord *cell_not_supported(const CellContext *c, const char *code, CellSpan span,
                               const char *what);
/* "z1 is [400, 8], from here" where the operand is a name that the body binds. */
void cell_explain_operand(const CellContext *c, CellRecord *record, const CellExpr *expr,
                          CellDatum value);
/* "did you mean ...?" where one of the names is near. */
void cell_help_nearest(CellDiag *diag, CellRecord *record, const char *name,
                       const char *const *names, int count);
/* "[400, 8]", "a scalar", "a function", "the number 4", for messages; in the arena. */
const char *cell_describe(const CellContext *c, CellDatum d);
const char *cell_shape_text(CellArena *arena, int rank, const int32_t *shape);
/* false, with an error, where a value of this shape would be too large. */
bool cell_size_ok(const CellContext *c, CellSpan span, int rank, const int32_t *shape);
/* false, with an error, once the build has grown too large. */
bool cell_work_ok(const CellContext *c, CellSpan span);
int cell_line(const CellDiag *diag, CellSpan span);

/* ---- expressions (eval_expr.c, eval_call.c) ---- */

CellDatum cell_evaluate(const CellContext *c, const CellExpr *expr);
/* The datum that a name stands for; an error where there is none. */
CellDatum cell_lookup(const CellContext *c, const char *name, CellSpan span);
/* Where a name is bound in the frames; false: nowhere there. */
bool cell_find_binding(const CellContext *c, const char *name, CellDatum *value, CellSpan *span);
CellDatum cell_call(const CellContext *c, const CellExpr *call);
/* The value of a param of the file, overrides applied. */
CellDatum cell_param(const CellContext *c, const CellItem *param, CellHome home);
CellContext cell_home_context(CellElab *elab, CellPlaceOf where);

/* Coercions; on failure an error at `span` unless the datum is one already. */
bool cell_want_number(const CellContext *c, CellDatum d, CellSpan span, const char *what,
                      double *number);
bool cell_want_whole(const CellContext *c, CellDatum d, CellSpan span, const char *what,
                     int32_t *number);
bool cell_want_truth(const CellContext *c, CellDatum d, CellSpan span, bool *truth);
bool cell_want_shape(const CellContext *c, CellDatum d, CellSpan span, int *rank, int32_t *shape);
/* A tensor of the stage's graph (a number is a constant, an index a float); UNKNOWN stays as it is.
 * false: an error. */
bool cell_want_tensor(const CellContext *c, CellDatum d, CellSpan span, CellDatum *tensor);

/* ---- tensors (eval_tensor.c) ---- */

CellDatum cell_binary(const CellContext *c, const CellExpr *expr, CellDatum a, CellDatum b);
CellDatum cell_unary(const CellContext *c, CellOp op, CellDatum a, CellSpan span);
/* min, max, where: elementwise ops by name */
CellDatum cell_elementwise(const CellContext *c, const CellExpr *expr, CellOp op, int count,
                           const CellDatum *args, const CellExpr *const *exprs);
CellDatum cell_transposed(const CellContext *c, const CellExpr *expr, CellDatum a);
CellDatum cell_indexed(const CellContext *c, const CellExpr *expr, CellDatum a);
CellDatum cell_reduced(const CellContext *c, const CellExpr *expr, const char *name, CellDatum a,
                       CellDatum axis, bool keep);
/* A vector of all entries; numbers are [1]. */
CellDatum cell_flat(const CellContext *c, CellDatum a, CellSpan span);
/* An axis counted from 0 or from the end. */
bool cell_want_axis(const CellContext *c, CellDatum d, CellSpan span, CellDatum of, int *axis);
/* Rank and shape as the expression sees them: in a rule what varies over the action has the actions
 * as its first axis. */
int cell_view_shape(const CellContext *c, CellValue v, int32_t *shape);
bool cell_over_actions(const CellContext *c, CellValue v);
static inline CellGraph *cell_graph_of(const CellContext *c) {
  return c->stage->g;
}

/* ---- operations (eval_ops.c) ---- */

/* Arguments of a call of an operation, matched with its parameters. */
typedef struct {
  const CellExpr *call;
  CellDatum *values;      /* by parameter; kind ERROR and given = false: left out */
  const CellExpr **exprs; /* by parameter; NULL: left out */
  CellDatum *rest;        /* all positional ones */
  const CellExpr **rest_exprs;
  int rest_count;
} CellArguments;

struct CellBuiltin {
  const char *name;
  const char *params; /* "x n; bias init bias_init axis": before `;` by position, behind by name */
  int least, most;    /* positional arguments; most -1: any number */
  CellDatum (*apply)(const CellContext *c, const CellArguments *args);
  const char *sentence;
};

const CellBuiltin *cell_find_builtin(const char *name);
const char *cell_builtin_name(int which); /* NULL behind the last */
CellDatum cell_make_parameter(const CellContext *c, CellSpan span, const char *name, int rank,
                              const int32_t *shape, CellDatum init);

/* ---- cells (cells.c) ---- */

bool cell_place_stack(CellElab *elab);
/* Finds all shapes, makes the parameters, reports what is wrong with the cells. */
bool cell_check_network(CellElab *elab);
int cell_find_placed(const CellElab *elab, const char *name); /* -1: none */
CellStage *cell_stage_create(CellElab *elab, CellGraph *g, const char *parameters, CellValue obs);
CellInstance *cell_instance(CellStage *stage, int cell);
/* Statement, port, output or named value of a cell at a stage. */
CellDatum cell_statement_value(CellInstance *instance, int statement);
CellDatum cell_port_value(CellInstance *instance, int port, CellSpan use);
/* `name` NULL: the output. Errors at `span` of context c. */
CellDatum cell_value_of(const CellContext *c, CellStage *stage, int cell, const char *name,
                        CellSpan span);
/* prev(l), prev(l.c, 2), prev(obs) in a port. */
CellDatum cell_prev(const CellContext *c, const CellExpr *call);
/* The state behind this stage: what the next one starts from. */
CellDatum cell_next_state(CellStage *stage, int carry);
int cell_add_carry(CellElab *elab, int cell, const char *value, int back, CellSpan span);
const char *cell_group(const CellElab *elab, int cell);

/* ---- rules (rules.c) ---- */

/* A program being made: its graph, data and stages. */
struct CellTrace {
  CellElab *elab;
  CellGraph *g;
  CellStage *stages[2][2];             /* [steps on][target] */
  CellValue taken, reward, terminated; /* CELL_NONE in act */
  CellValue action, q;                 /* act: what the policy chose, and over what */
  struct {
    CellValue loss;
    CellSpan span;
    CellOptimizer optimizer;
    bool has_optimizer;
  } * losses;          /* by cell, then by block */
  CellOutput *records; /* "<cell>/<name>", whole tensors */
  int record_count, record_capacity;
  int loop_cell; /* the cell of the innermost `for c in cells`, for records; -1: none */
};

CellStage *cell_trace_stage(CellTrace *trace, int time, bool target); /* programs.c */
/* Whether the rule and the policy that the file names are there. */
bool cell_check_rules(CellElab *elab);
bool cell_run_rule(CellTrace *trace);
bool cell_run_policy(CellTrace *trace);
/* `name` where it is a word of rules: cells, taken, reward, terminated. */
bool cell_rule_word(const CellContext *c, const char *name, CellSpan span, CellDatum *value);
CellDatum cell_stop(const CellContext *c, CellDatum d);

/* ---- programs (programs.c) ---- */

/* e[a] of what varies over the candidates is e at that action: nothing is evaluated at candidates
 * that nobody reads. Rewrites the graph so, but for values that `roots` read at all candidates. */
CellGraph *cell_sink_choices(const CellGraph *g, int root_count, const CellValue *roots);

#endif
