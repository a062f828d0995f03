/* ast.h - the syntax tree of a .cell file, and what the parser promises about it.
 *
 * The tree says what was written, nothing about what it means: names are not looked up, numbers are
 * not folded, no shape is known. All nodes lie in the arena given to the parser, are plain data and
 * are never changed by later stages. Text is terminated and lies in the same arena.
 *
 * Every node has a span. An expression has two: `span` covers all of it (`~~~~` in messages), `op`
 * is the place that stands for it (`^`): the operator, the opening bracket of a call or an index,
 * the name after a dot; for a leaf both are the same.
 *
 * The parser promises (with a message where the text breaks it; the node then never reaches the
 * tree):
 *   - in a call, positional arguments come before named ones, and no name is given twice;
 *   - the statements of a block are of the kinds that the block may hold (CELL_BLOCKS below);
 *   - only ports are marked `?`, and ports have no defaults;
 *   - no expression is deeper than CELL_MAX_DEPTH, so that recursion over the tree is safe.
 * It does not check that a file has one network, one stack and so on, or that names are bound once.
 */
#ifndef CELL_AST_H
#define CELL_AST_H

#include "ir/support.h"

/* Nesting of brackets in the text, and depth of an expression's tree. */
#define CELL_MAX_NESTING 200
#define CELL_MAX_DEPTH 1000
/* Largest file that is read, in bytes. */
#define CELL_MAX_FILE (1 << 20)

typedef struct CellExpr CellExpr;
typedef struct CellStmt CellStmt;

/* A name and where it stands; text is NULL where an optional name was left out. */
typedef struct {
  const char *text;
  CellSpan span;
} CellName;

typedef struct {
  CellName *items;
  int count, capacity;
} CellNameList;

typedef struct {
  CellExpr **items;
  int count, capacity;
} CellExprList;

typedef struct {
  CellStmt **items;
  int count, capacity;
  CellSpan span; /* from `{` to `}` */
} CellStmtList;

/* One argument of a call: `value`, or `name = value` (any word may be the name). */
typedef struct {
  CellName name; /* text NULL: positional */
  CellExpr *value;
  CellSpan span;
} CellArg;

typedef struct {
  CellArg *items;
  int count, capacity;
} CellArgList;

/* One parameter of a cell, def, rule or policy, or one port of a cell. */
typedef struct {
  CellName name;
  CellExpr *value; /* the default; NULL: must be given */
  bool optional;   /* a port marked `?` */
  CellSpan span;
} CellDecl;

typedef struct {
  CellDecl *items;
  int count, capacity;
} CellDeclList;

/* One place of an index: `i`, or the slice `first : last` where either side may be NULL. */
typedef struct {
  bool slice;
  CellExpr *first, *last; /* an index: first alone */
  CellSpan span;
} CellIndex;

typedef struct {
  CellIndex *items;
  int count, capacity;
} CellIndexList;

/* ---- expressions ---- */

/* Binary operators: enum suffix, text, name. */
#define CELL_BINARY_OPS(X)                                                                         \
  X(ADD, "+", "add")                                                                               \
  X(SUB, "-", "subtract")                                                                          \
  X(MUL, "*", "multiply")                                                                          \
  X(DIV, "/", "divide")                                                                            \
  X(MOD, "%", "take the remainder of")                                                             \
  X(MATMUL, "@", "multiply")                                                                       \
  X(POW, "^", "raise")                                                                             \
  X(EQ, "==", "compare")                                                                           \
  X(NE, "!=", "compare")                                                                           \
  X(LT, "<", "compare")                                                                            \
  X(LE, "<=", "compare")                                                                           \
  X(GT, ">", "compare")                                                                            \
  X(GE, ">=", "compare")

typedef enum {
#define CELL_ROW(id, text, verb) CELL_BINARY_##id,
  CELL_BINARY_OPS(CELL_ROW)
#undef CELL_ROW
      CELL_BINARY_COUNT
} CellBinary;

typedef enum {
  CELL_EXPR_NUMBER,    /* 400, 0.5, 4e6 */
  CELL_EXPR_NAME,      /* obs */
  CELL_EXPR_BOOL,      /* true, false */
  CELL_EXPR_NONE,      /* none */
  CELL_EXPR_NEGATE,    /* -x */
  CELL_EXPR_BINARY,    /* x + y */
  CELL_EXPR_IF,        /* if c then a else b */
  CELL_EXPR_CALL,      /* f(x, axis = 0); the callee is any expression: c.goodness(action = a) */
  CELL_EXPR_MEMBER,    /* l1.c */
  CELL_EXPR_TRANSPOSE, /* x.T */
  CELL_EXPR_INDEX,     /* x[i], x[a:], x[:, a:b] */
  CELL_EXPR_LIST,      /* [heads, n] */
  CELL_EXPR_COMPREHENSION, /* [c.goodness for c in who] */
  CELL_EXPR_KINDS
} CellExprKind;

struct CellExpr {
  CellExprKind kind;
  int depth; /* of the tree below, 1 for a leaf */
  CellSpan span, op;
  union {
    struct {
      double value;
      const char *text; /* as written, for exact constants */
    } number;
    const char *name;
    bool truth;
    CellExpr *operand; /* NEGATE, TRANSPOSE */
    struct {
      CellBinary op;
      CellExpr *left, *right;
    } binary;
    struct {
      CellExpr *condition, *then, *otherwise;
    } branch;
    struct {
      CellExpr *callee;
      CellArgList args;
    } call;
    struct {
      CellExpr *object;
      CellName name; /* never "T" */
    } member;
    struct {
      CellExpr *object;
      CellIndexList at; /* at least one */
    } index;
    CellExprList list; /* may be empty */
    struct {
      CellExpr *element;
      CellName variable;
      CellExpr *over;
    } comprehension;
  };
};

/* ---- statements ---- */

/* Statements: enum suffix, the word that starts it (NULL: a name). */
#define CELL_STATEMENTS(X)                                                                         \
  X(BIND, NULL)                                                                                    \
  X(OUTPUT, "output")                                                                              \
  X(GOODNESS, "goodness")                                                                          \
  X(LOSS, "loss")                                                                                  \
  X(RECORD, "record")                                                                              \
  X(MINIMIZE, "minimize")                                                                          \
  X(FOR, "for")                                                                                    \
  X(IF, "if")                                                                                      \
  X(ACT, "act")

typedef enum {
#define CELL_ROW(id, word) CELL_STMT_##id,
  CELL_STATEMENTS(CELL_ROW)
#undef CELL_ROW
      CELL_STMT_KINDS
} CellStmtKind;

/* Blocks of statements: enum suffix, what messages call it, statements that it may hold. */
#define CELL_STMT_BIT(id) (1u << CELL_STMT_##id)
#define CELL_BLOCKS(X)                                                                             \
  X(CELL, "a cell",                                                                                \
    CELL_STMT_BIT(BIND) | CELL_STMT_BIT(OUTPUT) | CELL_STMT_BIT(GOODNESS) | CELL_STMT_BIT(LOSS))   \
  X(DEF, "a function", CELL_STMT_BIT(BIND) | CELL_STMT_BIT(OUTPUT))                                \
  X(RULE, "a rule",                                                                                \
    CELL_STMT_BIT(BIND) | CELL_STMT_BIT(RECORD) | CELL_STMT_BIT(MINIMIZE) | CELL_STMT_BIT(FOR) |   \
        CELL_STMT_BIT(IF))                                                                         \
  X(POLICY, "a policy",                                                                            \
    CELL_STMT_BIT(BIND) | CELL_STMT_BIT(RECORD) | CELL_STMT_BIT(FOR) | CELL_STMT_BIT(IF) |         \
        CELL_STMT_BIT(ACT))

typedef enum {
#define CELL_ROW(id, name, holds) CELL_BLOCK_##id,
  CELL_BLOCKS(CELL_ROW)
#undef CELL_ROW
      CELL_BLOCK_KINDS
} CellBlockKind;

struct CellStmt {
  CellStmtKind kind;
  CellSpan span; /* the whole statement */
  CellSpan word; /* the word or name that starts it */
  CellName name; /* BIND, RECORD: the name bound; FOR: the variable */
  CellExpr
      *value; /* the expression; FOR: what is iterated, or the range's first end; IF: condition */
  CellExpr *last;         /* FOR over `value:last`: the end (not reached), else NULL */
  CellExpr *over;         /* MINIMIZE: the group; NULL where it was left out */
  CellExpr *with;         /* MINIMIZE: the optimiser; NULL: train.optimizer */
  CellStmtList body;      /* FOR; IF: when true */
  CellStmtList otherwise; /* IF: when false, may be empty */
};

/* ---- what a file holds ---- */

/* `port: value` in braces after a cell of the stack; `none` leaves the port unconnected. */
typedef struct {
  CellName port;
  CellExpr *value;
  CellSpan span;
} CellLink;

typedef struct {
  CellLink *items;
  int count, capacity;
} CellLinkList;

typedef enum {
  CELL_PLACE_CELL,  /* l1 = Attention(400) { below: obs } */
  CELL_PLACE_VALUE, /* alpha = parameter([1], zeros): no braces; a cell without links looks alike */
  CELL_PLACE_BLOCK  /* end_to_end { l1, l2 }, or b = end_to_end { l1, l2 } */
} CellPlaceKind;

/* One entry of `stack { ... }`. */
typedef struct {
  CellPlaceKind kind;
  CellName name; /* text NULL: a block without a name */
  CellSpan span;
  CellExpr
      *value; /* CELL, VALUE: what was written after `=`: `Attention(400)`, or just `Attention` */
  CellLinkList links;   /* CELL */
  CellNameList members; /* BLOCK */
} CellPlace;

typedef struct {
  CellPlace *items;
  int count, capacity;
} CellPlaceList;

/* `skip(obs)`, `self`, `top_down` after `with` in the short form of a stack. */
typedef struct {
  CellName name;
  CellArgList args;
  CellSpan span;
} CellWith;

typedef struct {
  CellWith *items;
  int count, capacity;
} CellWithList;

/* `path = value`, in `train`, in a variant and on the command line. In `train { }` the path has one
 * part and does not start with `train`. */
typedef struct {
  CellNameList path; /* at least one */
  CellExpr *value;
  CellSpan span;
} CellSetting;

typedef struct {
  CellSetting *items;
  int count, capacity;
} CellSettingList;

/* Items: enum suffix, the word that starts it. */
#define CELL_ITEMS(X)                                                                              \
  X(NETWORK, "network")                                                                            \
  X(IMPORT, "import")                                                                              \
  X(PARAM, "param")                                                                                \
  X(DEF, "def")                                                                                    \
  X(CELL, "cell")                                                                                  \
  X(STACK, "stack")                                                                                \
  X(POLICY, "policy")                                                                              \
  X(LEARN, "learn")                                                                                \
  X(RULE, "rule")                                                                                  \
  X(TRAIN, "train")                                                                                \
  X(VARIANT, "variant")

typedef enum {
#define CELL_ROW(id, word) CELL_ITEM_##id,
  CELL_ITEMS(CELL_ROW)
#undef CELL_ROW
      CELL_ITEM_KINDS
} CellItemKind;

typedef struct {
  CellItemKind kind;
  CellSpan span; /* the whole item */
  CellSpan word; /* the word that starts it */
  CellName name; /* NETWORK, PARAM, DEF, CELL, POLICY, LEARN, RULE, VARIANT; IMPORT: the path's
                    text; STACK: the cell of the short form, text NULL in the long form */

  CellExpr *value; /* PARAM: its value; DEF: the expression, or NULL if it has a body */

  CellDeclList params; /* DEF, CELL, RULE, POLICY where defined */
  CellDeclList ports;  /* CELL */
  CellStmtList body;   /* DEF without value, CELL, RULE, POLICY where defined */
  bool defined;        /* POLICY: `policy p(...) { ... }` defines, `policy p(...)` uses */

  CellArgList args; /* LEARN, POLICY in use, STACK short form: what stands in parentheses */

  CellPlaceList places; /* STACK: long form; blocks may also follow the short form in braces */
  CellExprList sizes;   /* STACK short form: the list that fills the first argument */
  CellWithList with;    /* STACK short form */

  CellSettingList settings; /* TRAIN, VARIANT */
} CellItem;

typedef struct {
  int source;       /* its number in the diagnostics */
  CellItem **items; /* in the order of the file */
  int count, capacity;
  bool broken; /* the text had errors: what could be read is here, the rest is missing */
} CellAst;

/* Texts of the tables above: "+", "multiply"; "output"; "a cell"; "param". */
const char *cell_binary_text(CellBinary op);
const char *cell_binary_verb(CellBinary op);
const char *cell_stmt_word(CellStmtKind kind); /* "name =" for BIND */
const char *cell_block_name(CellBlockKind kind);
const char *cell_item_word(CellItemKind kind);

/* Prints the tree as stable, indented text, one node a line (`cellc emit --stage ast`). */
void cell_ast_print(const CellAst *ast, FILE *out);
void cell_ast_print_settings(const CellSettingList *settings, FILE *out);

/* Prints an expression on one line, fully parenthesised; it parses back to the same tree. */
void cell_expr_print(const CellExpr *expr, FILE *out);

#endif
