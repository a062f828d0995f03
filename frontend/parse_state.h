/* parse_state.h - what the scanner, the grammar and the messages share while one text is parsed.
 * Internal to frontend/.
 *
 * Three layers: lexer.l cuts bytes into raw tokens; token.c decides what a word is where it stands
 * and tracks brackets; parser.y builds nodes. A statement ends where the next begins, so the one
 * question of the language that a grammar with one token of lookahead cannot answer is whether a
 * name starts a statement. token.c answers it by looking at the bytes behind the name. */
#ifndef CELL_PARSE_STATE_H
#define CELL_PARSE_STATE_H

#include "frontend/ast.h"
#include "frontend/parser.h"

/* Reserved words: token suffix, text, class. */
#define CELL_WORDS(X)                                                                              \
  X(NETWORK, "network", FILE)                                                                      \
  X(PARAM, "param", FILE)                                                                          \
  X(IMPORT, "import", FILE)                                                                        \
  X(DEF, "def", FILE)                                                                              \
  X(CELL, "cell", FILE)                                                                            \
  X(STACK, "stack", FILE)                                                                          \
  X(POLICY, "policy", FILE)                                                                        \
  X(LEARN, "learn", FILE)                                                                          \
  X(RULE, "rule", FILE)                                                                            \
  X(TRAIN, "train", FILE)                                                                          \
  X(VARIANT, "variant", FILE)                                                                      \
  X(OUTPUT, "output", STATEMENT)                                                                   \
  X(GOODNESS, "goodness", STATEMENT)                                                               \
  X(LOSS, "loss", STATEMENT)                                                                       \
  X(RECORD, "record", STATEMENT)                                                                   \
  X(MINIMIZE, "minimize", STATEMENT)                                                               \
  X(ACT, "act", STATEMENT)                                                                         \
  X(FOR, "for", STATEMENT)                                                                         \
  X(END_TO_END, "end_to_end", STATEMENT)                                                           \
  X(THEN, "then", INNER)                                                                           \
  X(ELSE, "else", INNER)                                                                           \
  X(IN, "in", INNER)                                                                               \
  X(OVER, "over", INNER)                                                                           \
  X(WITH, "with", INNER)                                                                           \
  X(IF, "if", OPERAND)                                                                             \
  X(TRUE, "true", OPERAND)                                                                         \
  X(FALSE, "false", OPERAND)                                                                       \
  X(NONE, "none", OPERAND)

typedef enum {
  CELL_WORD_ORDINARY,
  CELL_WORD_FILE,      /* starts an item of the file */
  CELL_WORD_STATEMENT, /* starts a statement */
  CELL_WORD_INNER,     /* stands between expressions */
  CELL_WORD_OPERAND    /* starts an expression */
} CellWordClass;

typedef struct {
  char bracket; /* one of ( [ { */
  CellSpan span;
} CellOpen;

struct CellParser {
  CellArena *arena;
  CellDiag *diag;
  int source;
  const char *text; /* the source's bytes, terminated */
  int32_t length;
  int32_t at; /* scanner: where the next raw token begins */
  void *scanner;
  int start;  /* token that chooses what is parsed; given once, then 0 */
  bool whole; /* a file is parsed, not a setting or an expression */

  /* scanner with brackets */
  CellOpen open[CELL_MAX_NESTING];
  int depth;    /* brackets open in the text */
  int before;   /* the same before the last token, which is what messages mean */
  int previous; /* last token given out, and where */
  CellSpan previous_span;
  int before_token; /* the token before that one, which messages mean by "after" */
  CellSpan before_span;
  bool settings; /* inside `train`, `variant` or --set: any word may start a path */
  bool stop;     /* a limit was passed: only the end follows, no more messages */

  /* recovery */
  int blocks;  /* `{` that the parser has entered */
  int closers; /* `}` to hand out before `held` */
  bool holding;
  int held;
  CELL_PARSER_STYPE held_value;
  CellSpan held_span;
  bool skipping;        /* between an error and the place where the parser goes on */
  int32_t recovered_at; /* where the parser last went on, -1 at first */

  /* results */
  CellAst *ast;
  CellSettingList list;
  CellExpr *expr;
};

/* ---- lexer.l ---- */

/* What is no token was reported already: the parser recovers without a message of its own. */
#define CELL_T_BAD CELL_T_CELL_PARSER_error

/* The next raw token: words are all NAME. */
int cell_raw_lex(CELL_PARSER_STYPE *value, CellSpan *span, CellParser *parser, void *scanner);
void *cell_scanner_create(CellParser *parser);
void cell_scanner_destroy(void *scanner);

/* ---- token.c ---- */

int cell_parser_lex(CELL_PARSER_STYPE *value, CellSpan *span, CellParser *parser);

/* After an error at `token`: skips to where a statement starts and returns the token there. */
int cell_parser_recover(CellParser *parser, int token, CELL_PARSER_STYPE *value, CellSpan *span);

CellWordClass cell_word_class(int token);
CellSpan cell_span_join(CellSpan first, CellSpan last);

/* True if only spaces stand before the byte on its line. */
bool cell_starts_line(const CellParser *parser, int32_t at);

/* ---- parse_error.c ---- */

/* What the grammar would take where it met something else. */
typedef struct {
  int found; /* token */
  CellSpan span;
  bool expression, operators, comparison, statement, item, port, bind, name, close;
  const char *names[5]; /* of single tokens that do not fall under these; at most 4 are used */
  int count;
} CellExpected;

void cell_parser_syntax_error(CellParser *parser, const CellExpected *expected);

#define CELL_RESERVED_HELP                                                                         \
  "it may name an argument or a port, and follow a dot; choose another name here"

/* Adds an error unless a limit was passed; marks the tree as broken. Never NULL. */
CellRecord *cell_parse_fail(CellParser *parser, const char *code, CellSpan span, const char *format,
                            ...) CELL_PRINTF(4, 5);

/* The same, and nothing more is read. */
CellRecord *cell_parse_stop(CellParser *parser, const char *code, CellSpan span, const char *format,
                            ...) CELL_PRINTF(4, 5);

/* The source text of a span, shortened for a message. */
const char *cell_parse_excerpt(CellParser *parser, CellSpan span);

/* ---- parse_build.c ---- */

CellExpr *cell_build_leaf(CellParser *parser, CellExprKind kind, CellSpan span);
CellExpr *cell_build_number(CellParser *parser, CellSpan span);
CellExpr *cell_build_name(CellParser *parser, CellName name);
CellExpr *cell_build_bool(CellParser *parser, bool truth, CellSpan span);
CellExpr *cell_build_negate(CellParser *parser, CellExpr *operand, CellSpan op, CellSpan span);
CellExpr *cell_build_binary(CellParser *parser, CellBinary op, CellExpr *left, CellExpr *right,
                            CellSpan at, CellSpan span);
CellExpr *cell_build_if(CellParser *parser, CellExpr *condition, CellExpr *then,
                        CellExpr *otherwise, CellSpan at, CellSpan span);
CellExpr *cell_build_call(CellParser *parser, CellExpr *callee, CellArgList args, CellSpan at,
                          CellSpan span);
CellExpr *cell_build_member(CellParser *parser, CellExpr *object, CellName name, CellSpan span);
CellExpr *cell_build_index(CellParser *parser, CellExpr *object, CellIndexList at, CellSpan op,
                           CellSpan span);
CellExpr *cell_build_list(CellParser *parser, CellExprList list, CellSpan at, CellSpan span);
CellExpr *cell_build_comprehension(CellParser *parser, CellExpr *element, CellName variable,
                                   CellExpr *over, CellSpan at, CellSpan span);

CellArgList cell_build_arg(CellParser *parser, CellArgList list, CellArg arg);

CellStmt *cell_build_stmt(CellParser *parser, CellStmtKind kind, CellExpr *value, CellSpan word,
                          CellSpan span);
CellItem *cell_build_item(CellParser *parser, CellItemKind kind, CellSpan word, CellSpan span);
CellItem *cell_build_cell(CellParser *parser, CellName name, CellDeclList first,
                          CellDeclList *second, CellStmtList body, CellSpan word, CellSpan span);
CellItem *cell_build_policy(CellParser *parser, CellName name, CellArgList args, CellStmtList *body,
                            CellSpan word, CellSpan span);
CellDeclList cell_build_params(CellParser *parser, CellDeclList list);
CellStmtList cell_build_block(CellParser *parser, CellBlockKind kind, CellStmtList list);

#endif
