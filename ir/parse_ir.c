/* parse_ir.c - reads the text form of a graph: a recursive parser by hand that stops at its first
 * error and never crashes on any bytes.
 *
 * Nodes are taken as they stand, without simplification (equal ones become one), so that what
 * print.c wrote comes back byte for byte. Line ends mean nothing; `;` starts a comment. Numbers of
 * values ascend; a type that disagrees with the op's shape rule is an error. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/internal.h"

enum { MAX_DEPTH = 16 };

/* ---- tokens ---- */

typedef enum { END, WORD, NUMBER, VALUE, STRING, MARK } TokenKind;

typedef struct {
  TokenKind kind;
  int32_t begin, end;
  char mark;        /* MARK */
  int64_t value;    /* VALUE */
  const char *text; /* WORD, STRING (decoded), NUMBER */
} Token;

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  int source;
  const char *text;
  int32_t at, length, last_end;
  Token token;
  bool failed;
} Parser;

static bool error_at(Parser *p, int32_t begin, int32_t end, const char *what) {
  if (!p->failed) cell_error(p->diag, NULL, (CellSpan){p->source, begin, end}, "%s", what);
  p->failed = true;
  p->token = (Token){.kind = END, .begin = p->length, .end = p->length};
  p->at = p->length;
  return false;
}

static bool error_here(Parser *p, const char *what) {
  return error_at(p, p->token.begin, p->token.end, what);
}

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static int hex(char c) {
  if (is_digit(c)) return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* the character `ahead` places on; 0 behind the end */
static char peek(const Parser *p, int32_t ahead) {
  return p->at + ahead < p->length ? p->text[p->at + ahead] : 0;
}

static void lex_string(Parser *p, Token *t) {
  int32_t end = p->at + 1;
  while (end < p->length && p->text[end] != '"' && p->text[end] != '\n')
    end += p->text[end] == '\\' && end + 1 < p->length ? 2 : 1;
  if (end >= p->length || p->text[end] != '"') {
    error_at(p, p->at, p->at + 1, "string without an end");
    return;
  }
  char *out = cell_arena_alloc(p->arena, (size_t)(end - p->at)), *o = out;
  for (int32_t i = p->at + 1; i < end; i++) {
    char c = p->text[i];
    if (c == '\\' && (p->text[i + 1] == '"' || p->text[i + 1] == '\\')) {
      c = p->text[++i];
    } else if (c == '\\') {
      int high = p->text[i + 1] == 'x' && i + 3 < end ? hex(p->text[i + 2]) : -1;
      int low = high >= 0 ? hex(p->text[i + 3]) : -1;
      if (low < 0) {
        error_at(p, i, i + 2 <= end ? i + 2 : end, "unknown escape in a string");
        return;
      }
      c = (char)(16 * high + low);
      i += 3;
    }
    if (!c) {
      error_at(p, p->at, end + 1, "zero byte in a string");
      return;
    }
    *o++ = c;
  }
  t->kind = STRING;
  t->text = out;
  p->at = end + 1;
}

static void lex_number(Parser *p, Token *t) {
  p->at++; /* a digit or a sign */
  while (is_digit(peek(p, 0)) || peek(p, 0) == '.') p->at++;
  if (peek(p, 0) == 'e') {
    p->at++;
    if (peek(p, 0) == '-' || peek(p, 0) == '+') p->at++;
    while (is_digit(peek(p, 0))) p->at++;
  } else if (peek(p, 0) == 'i' && peek(p, 1) == 'n' && peek(p, 2) == 'f') {
    p->at += 3;
  }
  t->kind = NUMBER;
}

static void next(Parser *p) {
  if (p->failed) return;
  p->last_end = p->token.end;
  for (; p->at < p->length; p->at++) {
    char c = p->text[p->at];
    if (c == ';')
      while (p->at < p->length && p->text[p->at] != '\n') p->at++;
    else if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
      break;
  }
  if (p->at > p->length) p->at = p->length;
  Token t = {.kind = END, .begin = p->at};
  char c = peek(p, 0);
  if (p->at >= p->length) {
    t.kind = END;
  } else if (is_letter(c)) {
    while (is_letter(peek(p, 0)) || is_digit(peek(p, 0))) p->at++;
    t.kind = WORD;
  } else if (is_digit(c) || (c == '-' && (is_digit(peek(p, 1)) || peek(p, 1) == 'i'))) {
    lex_number(p, &t);
  } else if (c == '%' && is_digit(peek(p, 1))) {
    for (p->at++; is_digit(peek(p, 0)); p->at++)
      if (t.value <= INT32_MAX) t.value = 10 * t.value + (peek(p, 0) - '0');
    t.kind = VALUE;
  } else if (c == '"') {
    lex_string(p, &t);
  } else if (c && strchr("=:,()[]{}", c)) {
    t.kind = MARK;
    t.mark = c;
    p->at++;
  } else {
    error_at(p, p->at, p->at + 1, "unknown character");
  }
  if (p->failed) return;
  t.end = p->at;
  if (t.kind == WORD || t.kind == NUMBER)
    t.text = cell_arena_strndup(p->arena, p->text + t.begin, (size_t)(t.end - t.begin));
  p->token = t;
}

/* ---- small pieces; each returns false behind an error ---- */

static bool is_mark(const Parser *p, char mark) {
  return p->token.kind == MARK && p->token.mark == mark;
}

static bool is_word(const Parser *p, const char *word) {
  return p->token.kind == WORD && strcmp(p->token.text, word) == 0;
}

static bool accept(Parser *p, char mark) {
  if (!is_mark(p, mark)) return false;
  next(p);
  return true;
}

static bool accept_word(Parser *p, const char *word) {
  if (!is_word(p, word)) return false;
  next(p);
  return true;
}

static bool expect(Parser *p, char mark) {
  if (accept(p, mark)) return !p->failed;
  char what[] = "'?' expected";
  what[1] = mark;
  return error_here(p, what);
}

static bool expect_word(Parser *p, const char *word) {
  if (accept_word(p, word)) return !p->failed;
  char what[64];
  snprintf(what, sizeof what, "'%s' expected", word);
  return error_here(p, what);
}

/* a whole number from 0 to INT32_MAX */
static bool whole(Parser *p, int32_t *number) {
  if (p->token.kind != NUMBER) return error_here(p, "a whole number expected");
  char *end;
  double x = strtod(p->token.text, &end);
  if (*end || !(x >= 0 && x <= INT32_MAX) || x != floor(x))
    return error_here(p, "a whole number from 0 to 2147483647 expected");
  *number = (int32_t)x;
  next(p);
  return !p->failed;
}

static bool real(Parser *p, double *number) {
  bool word = is_word(p, "inf") || is_word(p, "nan");
  if (p->token.kind != NUMBER && !word) return error_here(p, "a number expected");
  char *end;
  *number = is_word(p, "nan") ? (double)NAN : strtod(p->token.text, &end);
  if (!is_word(p, "nan") && *end) return error_here(p, "not a number");
  next(p);
  return !p->failed;
}

static bool name(Parser *p, const char **text) {
  if (p->token.kind != WORD && p->token.kind != STRING) return error_here(p, "a name expected");
  *text = p->token.text;
  next(p);
  return !p->failed;
}

static bool string(Parser *p, const char **text) {
  if (p->token.kind != STRING) return error_here(p, "a name in quotes expected");
  return name(p, text);
}

static bool axis_name(Parser *p, const CellGraph *g, int8_t *axis) {
  int32_t begin = p->token.begin, end = p->token.end;
  const char *text;
  if (!name(p, &text)) return false;
  for (int i = 0; i < g->axis_count; i++)
    if (strcmp(g->axes[i].name, text) == 0) {
      *axis = (int8_t)i;
      return true;
    }
  return error_at(p, begin, end, "unknown axis");
}

/* {batch, candidate} */
static bool axis_set(Parser *p, const CellGraph *g, uint32_t *axes) {
  if (!expect(p, '{')) return false;
  *axes = 0;
  while (!is_mark(p, '}')) {
    int8_t axis = 0;
    if (*axes && !expect(p, ',')) return false;
    if (!axis_name(p, g, &axis)) return false;
    *axes |= CELL_AXIS(axis);
  }
  return expect(p, '}');
}

/* [2,0,1], at most CELL_MAX_RANK of them */
static bool list(Parser *p, int32_t items[CELL_MAX_RANK], int *count) {
  *count = 0;
  if (!expect(p, '[')) return false;
  while (!is_mark(p, ']')) {
    if (*count == CELL_MAX_RANK) return error_here(p, "more than 4 entries");
    if (*count && !expect(p, ',')) return false;
    if (!whole(p, &items[*count])) return false;
    ++*count;
  }
  return expect(p, ']');
}

/* f[8,400] {batch} */
static bool type(Parser *p, const CellGraph *g, CellNode *n) {
  if (!expect(p, ':')) return false;
  n->dtype = CELL_F;
  if (is_word(p, "i"))
    n->dtype = CELL_I;
  else if (is_word(p, "bits"))
    n->dtype = CELL_BITS;
  else if (!is_word(p, "f"))
    return error_here(p, "a type expected: f, i or bits");
  next(p);
  int rank = 0;
  if (is_mark(p, '[') && !list(p, n->shape, &rank)) return false;
  n->rank = (int8_t)rank;
  return axis_set(p, g, &n->axes);
}

/* ---- values ---- */

/* a graph in the making: the number in the text of each value so far, ascending */
typedef struct {
  int32_t number;
  CellValue value;
} Known;

typedef struct {
  CellGraph *g;
  Known *known;
  int count, capacity;
} Scope;

static bool value(Parser *p, const Scope *s, CellValue *v) {
  if (p->token.kind != VALUE) return error_here(p, "a value expected, as %3");
  int low = 0, high = s->count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (s->known[middle].number < p->token.value)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == s->count || s->known[low].number != p->token.value)
    return error_here(p, "no value of this number before");
  *v = s->known[low].value;
  next(p);
  return !p->failed;
}

typedef struct {
  CellValue *items;
  int count, capacity;
} Values;

static bool add_value(Parser *p, const Scope *s, Values *list) {
  CellValue v = CELL_NONE;
  if (!value(p, s, &v)) return false;
  CELL_PUSH(p->arena, list->items, list->count, list->capacity, v);
  return true;
}

/* %1, %2, ... possibly none */
static bool values(Parser *p, const Scope *s, Values *list) {
  if (p->token.kind != VALUE) return true;
  do {
    if (!add_value(p, s, list)) return false;
  } while (accept(p, ','));
  return !p->failed;
}

/* "ij,jk->ik" */
static bool labels(Parser *p, CellNode *n) {
  int32_t begin = p->token.begin, end = p->token.end;
  const char *text;
  if (!string(p, &text)) return false;
  int side = 0, at = 0;
  for (const char *l = text; *l; l++) {
    if ((*l == ',' && side == 0) || (*l == '-' && l[1] == '>' && side == 1)) {
      l += *l == '-';
      side++;
      at = 0;
    } else if (*l >= 'a' && *l <= 'z' && at < CELL_MAX_RANK) {
      n->labels[side][at++] = *l;
    } else {
      return error_at(p, begin, end, "labels are written as \"ij,jk->ik\"");
    }
  }
  return side == 2 || error_at(p, begin, end, "labels are written as \"ij,jk->ik\"");
}

static bool over_axes(Parser *p, const CellGraph *g, CellNode *n) {
  return !accept_word(p, "over") || axis_set(p, g, &n->over);
}

static bool dimension(Parser *p, CellNode *n) {
  int32_t dim = 0;
  int32_t begin = p->token.begin, end = p->token.end;
  if (!expect_word(p, "dim") || !whole(p, &dim)) return false;
  if (dim >= CELL_MAX_RANK) return error_at(p, begin, end, "no such dimension");
  n->dim = (int8_t)dim;
  return true;
}

static bool map(Parser *p, CellNode *n) {
  int32_t items[CELL_MAX_RANK];
  int count = 0;
  if (!expect_word(p, "map") || !list(p, items, &count)) return false;
  for (int i = 0; i < count; i++) {
    if (items[i] >= CELL_MAX_RANK) return error_here(p, "no such dimension in the map");
    n->map[i] = (int8_t)items[i];
  }
  return true;
}

static bool reduce(Parser *p, const Scope *s, CellNode *n, Values *args) {
  if (accept_word(p, "sum"))
    n->reduce = CELL_SUM;
  else if (accept_word(p, "max"))
    n->reduce = CELL_REDUCE_MAX;
  else if (accept_word(p, "argmax"))
    n->reduce = CELL_ARGMAX;
  else
    return error_here(p, "sum, max or argmax expected");
  if (!add_value(p, s, args)) return false;
  if (accept_word(p, "dims")) {
    int32_t items[CELL_MAX_RANK];
    int count = 0;
    if (!list(p, items, &count)) return false;
    for (int i = 0; i < count; i++) {
      if (items[i] >= CELL_MAX_RANK) return error_here(p, "no such dimension");
      n->dims |= (uint8_t)(1u << items[i]);
    }
  }
  return over_axes(p, s->g, n);
}

static bool take(Parser *p, const Scope *s, CellNode *n, Values *args) {
  if (!add_value(p, s, args)) return false;
  if (accept_word(p, "axis")) {
    n->dim = -1;
    if (!axis_name(p, s->g, &n->axis)) return false;
  } else if (!dimension(p, n)) {
    return false;
  }
  return expect(p, ',') && add_value(p, s, args);
}

static bool statements(Parser *p, CellGraph *g, int depth);

static bool scan(Parser *p, const Scope *s, CellNode *n, Values *args, int depth) {
  int8_t axis = 0;
  if (depth == MAX_DEPTH) return error_here(p, "scans are nested too deeply");
  if (!expect_word(p, "over") || !axis_name(p, s->g, &axis)) return false;
  n->over = CELL_AXIS(axis);
  if (!expect_word(p, "carries") || !expect(p, '(') || !values(p, s, args)) return false;
  n->carry_count = args->count;
  if (!expect(p, ')') || !expect_word(p, "inputs") || !expect(p, '(') || !values(p, s, args) ||
      !expect(p, ')') || !expect(p, '{'))
    return false;
  n->body = cell_graph_like(s->g, "body");
  return statements(p, n->body, depth + 1) && expect(p, '}');
}

/* what stands behind the op's name, up to the type */
static bool operands(Parser *p, const Scope *s, CellNode *n, Values *args, int depth) {
  int32_t which = 0;
  switch ((int)n->op) {
  case CELL_OP_INPUT: return string(p, &n->name);
  case CELL_OP_CONST: return real(p, &n->number);
  case CELL_OP_AXIS_INDEX: return axis_name(p, s->g, &n->axis);
  case CELL_OP_REDUCE: return reduce(p, s, n, args);
  case CELL_OP_CONTRACT: return values(p, s, args) && labels(p, n) && over_axes(p, s->g, n);
  case CELL_OP_TAKE: return take(p, s, n, args);
  case CELL_OP_TRANSPOSE:
  case CELL_OP_BROADCAST: return values(p, s, args) && map(p, n);
  case CELL_OP_SLICE: /* dim 0 [2:5] */
    return values(p, s, args) && dimension(p, n) && expect(p, '[') && whole(p, &n->begin) &&
           expect(p, ':') && whole(p, &n->end) && expect(p, ']');
  case CELL_OP_PAD: /* dim 0 (2, 1) */
    return values(p, s, args) && dimension(p, n) && expect(p, '(') && whole(p, &n->begin) &&
           expect(p, ',') && whole(p, &n->end) && expect(p, ')');
  case CELL_OP_CONCAT: return values(p, s, args) && dimension(p, n);
  case CELL_OP_SCAN: return scan(p, s, n, args, depth);
  case CELL_OP_RESULT:
    if (!whole(p, &which)) return false;
    n->begin = which;
    return values(p, s, args);
  default: return values(p, s, args);
  }
}

/* the declared type against the one that the rule gives; a rule's complaint is an error */
static bool check_node(Parser *p, const CellGraph *g, CellNode *n, CellSpan span) {
  CellNode declared = *n;
  CellText why = {0}, message = {0};
  bool ok = cell_infer(g, n, &why);
  if (!ok) {
    cell_text_printf(&message, "%s: %s", cell_op_info[n->op].name, why.data);
  } else if (n->op != CELL_OP_SCAN &&
             (n->dtype != declared.dtype || n->rank != declared.rank || n->axes != declared.axes ||
              memcmp(n->shape, declared.shape, sizeof n->shape) != 0)) {
    ok = false;
    cell_text_printf(&message, "declared ");
    cell_print_type(g, &declared, &message);
    cell_text_printf(&message, ", but %s gives ", cell_op_info[n->op].name);
    cell_print_type(g, n, &message);
  }
  if (!ok) error_at(p, span.begin, span.end, message.data);
  cell_text_free(&why);
  cell_text_free(&message);
  return ok;
}

/* %3 = op ... : type */
static bool definition(Parser *p, Scope *s, int depth) {
  CellSpan span = {p->source, p->token.begin, p->token.end};
  int64_t number = p->token.value;
  if (number >= INT32_MAX) return error_here(p, "number too large");
  if (s->count && number <= s->known[s->count - 1].number)
    return error_here(p, "numbers of values must ascend");
  next(p);
  if (!expect(p, '=')) return false;
  CellNode n = {0};
  int op = 0;
  while (op < CELL_OP_COUNT && !is_word(p, cell_op_info[op].name)) op++;
  if (op == CELL_OP_COUNT) return error_here(p, "unknown op");
  next(p);
  n.op = (CellOp)op;
  Values args = {0};
  if (!operands(p, s, &n, &args, depth)) return false;
  n.args = args.items;
  n.arg_count = args.count;
  if (n.op != CELL_OP_SCAN && !type(p, s->g, &n)) return false;
  if (n.op == CELL_OP_CONST && isnan(n.number)) n.number = (double)NAN;
  span.end = p->failed ? p->length : p->last_end;
  n.span = span;
  if (!check_node(p, s->g, &n, span)) return false;
  if (n.op == CELL_OP_INPUT) {
    CellValue before = cell_known_input(s->g, n.name);
    if (before != CELL_NONE)
      return error_at(p, span.begin, span.end, "input of a name that stands above");
  }
  Known known = {(int32_t)number, cell_number(s->g, &n)};
  CELL_PUSH(p->arena, s->known, s->count, s->capacity, known);
  return true;
}

/* ---- statements ---- */

static bool optimizer(Parser *p, CellOptimizer *o) {
  if (accept_word(p, "adam"))
    o->kind = CELL_ADAM;
  else if (accept_word(p, "rmsprop"))
    o->kind = CELL_RMSPROP;
  else if (accept_word(p, "sgd"))
    o->kind = CELL_SGD;
  else
    return error_here(p, "adam, rmsprop or sgd expected");
  const struct {
    const char *name;
    double *number;
  } settings[] = {{"lr", &o->lr},   {"b1", &o->b1},     {"b2", &o->b2},
                  {"eps", &o->eps}, {"clip", &o->clip}, {"decay", &o->decay}};
  const size_t count = sizeof settings / sizeof *settings;
  if (!expect(p, '(')) return false;
  for (bool first = true; !is_mark(p, ')'); first = false) {
    if (!first && !expect(p, ',')) return false;
    size_t i = 0;
    while (i < count && !is_word(p, settings[i].name)) i++;
    if (i == count) return error_here(p, "unknown setting");
    next(p);
    if (!expect(p, '=') || !real(p, settings[i].number)) return false;
  }
  return expect(p, ')');
}

static bool minimize(Parser *p, Scope *s) {
  CellMinimize m = {.loss = CELL_NONE, .span = {p->source, p->last_end, p->last_end}};
  m.span.begin = p->token.begin;
  if (!value(p, s, &m.loss) || !expect_word(p, "over") || !string(p, &m.group) ||
      !optimizer(p, &m.optimizer))
    return false;
  m.span.end = p->last_end;
  const CellNode *loss = cell_node(s->g, m.loss);
  if (loss->rank != 0 || loss->axes != 0 || loss->op == CELL_OP_SCAN)
    return error_at(p, m.span.begin, m.span.end, "a loss has rank 0 and no axes");
  CELL_PUSH(p->arena, s->g->minimize, s->g->minimize_count, s->g->minimize_capacity, m);
  return true;
}

static bool output(Parser *p, Scope *s) {
  int32_t begin = p->token.begin, end = p->token.end;
  const char *text;
  CellValue v = CELL_NONE;
  if (!string(p, &text)) return false;
  if (!*text) return error_at(p, begin, end, "an output needs a name");
  if (cell_find_output(s->g, text) != CELL_NONE)
    return error_at(p, begin, end, "output of a name that stands above");
  begin = p->token.begin, end = p->token.end;
  if (!value(p, s, &v)) return false;
  if (cell_node(s->g, v)->op == CELL_OP_SCAN)
    return error_at(p, begin, end, "a scan is read by result only");
  cell_output(s->g, text, v);
  return true;
}

typedef struct {
  const char **items;
  int count, capacity;
} Names;

/* up to the end or a '}' that closes the body */
static bool statements(Parser *p, CellGraph *g, int depth) {
  Scope s = {.g = g};
  Names wanted = {0};
  while (!p->failed && p->token.kind != END && !is_mark(p, '}')) {
    if (p->token.kind == VALUE) {
      definition(p, &s, depth);
    } else if (accept_word(p, "output")) {
      output(p, &s);
    } else if (depth == 0 && accept_word(p, "minimize")) {
      minimize(p, &s);
    } else if (depth == 0 && accept_word(p, "wanted")) {
      const char *text = NULL;
      if (string(p, &text)) CELL_PUSH(p->arena, wanted.items, wanted.count, wanted.capacity, text);
    } else {
      error_here(p, "a value or an output expected");
    }
  }
  g->wanted = wanted.items;
  g->wanted_count = wanted.count;
  return !p->failed;
}

static bool axis(Parser *p, CellGraph *g, uint32_t *seen) {
  int32_t begin = p->token.begin, end = p->token.end, extent = 0;
  const char *text;
  if (!name(p, &text)) return false;
  int i = 0;
  while (i < g->axis_count && strcmp(g->axes[i].name, text) != 0) i++;
  if (!*text || i == CELL_MAX_AXES || (*seen & CELL_AXIS(i)))
    return error_at(p, begin, end, *text ? "an axis too many" : "an axis needs a name");
  begin = p->token.begin, end = p->token.end;
  if (!whole(p, &extent)) return false;
  if (extent < 1) return error_at(p, begin, end, "an extent is at least 1");
  if (i == g->axis_count) cell_graph_add_axis(g, text, extent);
  g->axes[i].extent = extent;
  *seen |= CELL_AXIS(i);
  return true;
}

CellGraph *cell_parse_ir(CellArena *arena, CellDiag *diag, int source) {
  const CellSource *text = &diag->sources[source];
  Parser p = {.arena = arena, .diag = diag, .source = source, .text = text->text};
  if (text->length >= INT32_MAX / 2) {
    cell_error(diag, NULL, (CellSpan){source, 0, 0}, "the text is too long");
    return NULL;
  }
  p.length = (int32_t)text->length;
  next(&p);
  const char *graph_name = "";
  if (!expect_word(&p, "graph") || !name(&p, &graph_name)) return NULL;
  CellGraph *g = cell_graph_create(arena, graph_name);
  uint32_t seen = 0;
  while (accept_word(&p, "axis"))
    if (!axis(&p, g, &seen)) return NULL;
  if (!statements(&p, g, 0)) return NULL;
  if (p.token.kind != END) {
    error_here(&p, "'}' without a '{'");
    return NULL;
  }
  return g;
}
