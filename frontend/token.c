/* token.c - what a word is where it stands, which brackets are open, where to go on after an error.
 *
 * A word is
 *   a name        after a dot; as the name of an argument (`f(over = 1)`); as an operand
 *   BIND          where `name =` or `path.to.name =` stands outside ( and [: a statement starts
 *   PORT          where `name :` stands outside ( and [, and no operand is wanted
 *   a reserved word otherwise, if it is one
 * A reserved word where an operand is wanted is a name (a port may be called `in`), unless what
 * follows it could not follow a name: then an expression is missing, and the message should say so.
 */
#include "frontend/parse_state.h"

#include <string.h>

/* ---- words ---- */

static const struct {
  const char *text;
  int token;
  CellWordClass class;
} words[] = {
#define CELL_ROW(id, text, class) {text, CELL_T_##id, CELL_WORD_##class},
    CELL_WORDS(CELL_ROW)
#undef CELL_ROW
};

enum { WORD_COUNT = sizeof words / sizeof words[0] };

static int word_token(const char *text, size_t length) {
  for (int i = 0; i < WORD_COUNT; i++)
    if (strncmp(words[i].text, text, length) == 0 && words[i].text[length] == '\0')
      return words[i].token;
  return CELL_T_NAME;
}

CellWordClass cell_word_class(int token) {
  for (int i = 0; i < WORD_COUNT; i++)
    if (words[i].token == token) return words[i].class;
  return CELL_WORD_ORDINARY;
}

/* ---- looking ahead in the bytes ---- */

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static int32_t skip_space(const CellParser *parser, int32_t at) {
  while (at < parser->length) {
    char c = parser->text[at];

    if (c == '#') {
      while (at < parser->length && parser->text[at] != '\n') at++;
    } else if (c == ' ' || (c >= '\t' && c <= '\r')) {
      at++;
    } else {
      break;
    }
  }
  return at;
}

static int32_t skip_word(const CellParser *parser, int32_t at) {
  while (at < parser->length && (is_letter(parser->text[at]) || is_digit(parser->text[at]))) at++;
  return at;
}

/* true at `=` but not at `==`, and at the `:=` of other languages, which the scanner then refuses;
 * the text is terminated, so one byte more can be read */
static bool is_bind_sign(const CellParser *parser, int32_t at) {
  if (parser->text[at] == ':') return parser->text[at + 1] == '=';
  return parser->text[at] == '=' && parser->text[at + 1] != '=';
}

/* `at` is behind a word: is this `word =` or `word.word =`? *dotted tells which */
static bool starts_binding(const CellParser *parser, int32_t at, bool *dotted) {
  *dotted = false;
  at = skip_space(parser, at);
  while (parser->text[at] == '.') {
    int32_t word = skip_space(parser, at + 1);
    int32_t end = skip_word(parser, word);

    if (end == word) return false;
    *dotted = true;
    at = skip_space(parser, end);
  }
  return is_bind_sign(parser, at);
}

bool cell_starts_line(const CellParser *parser, int32_t at) {
  while (at > 0 && (parser->text[at - 1] == ' ' || parser->text[at - 1] == '\t')) at--;
  return at == 0 || parser->text[at - 1] == '\n' || parser->text[at - 1] == '\r';
}

static bool at_margin(const CellParser *parser, int32_t at) {
  return at == 0 || parser->text[at - 1] == '\n';
}

CellSpan cell_span_join(CellSpan first, CellSpan last) {
  return (CellSpan){first.file, first.begin, last.end > first.end ? last.end : first.end};
}

/* ---- classification ---- */

/* true behind a token that wants an operand next */
static bool wants_operand(int token) {
  switch (token) {
  case '=':
  case '(':
  case '[':
  case ',':
  case ':':
  case '+':
  case '-':
  case '*':
  case '/':
  case '%':
  case '@':
  case '^':
  case '<':
  case '>':
  case CELL_T_EQ:
  case CELL_T_NE:
  case CELL_T_LE:
  case CELL_T_GE:
  case CELL_T_IF:
  case CELL_T_THEN:
  case CELL_T_ELSE:
  case CELL_T_IN:
  case CELL_T_OVER:
  case CELL_T_WITH:
  case CELL_T_OUTPUT:
  case CELL_T_GOODNESS:
  case CELL_T_LOSS:
  case CELL_T_ACT:
  case CELL_T_MINIMIZE:
  case CELL_T_START_EXPRESSION: return true;
  default: return false;
  }
}

/* a reserved word where an operand is wanted, `at` is behind it: could it be a name, going by what
 * follows? A name is never followed by another name, a number, a string or `{`, unless a statement
 * starts there */
static bool can_be_operand(const CellParser *parser, int token, int32_t at) {
  int32_t next = skip_space(parser, at);
  char c = next < parser->length ? parser->text[next] : '\0';

  if (is_digit(c) || c == '"' || c == '{') return false;
  if (is_letter(c)) {
    int32_t end = skip_word(parser, next);
    int word = word_token(parser->text + next, (size_t)(end - next));
    bool dotted;

    if (starts_binding(parser, end, &dotted))
      return token != CELL_T_PARAM && token != CELL_T_RECORD;
    return word != CELL_T_NAME && cell_word_class(word) != CELL_WORD_OPERAND;
  }
  return true;
}

static int classify(CellParser *parser, const CellName *name, CellSpan span) {
  int word = word_token(name->text, strlen(name->text));
  bool reserved = word != CELL_T_NAME;
  int previous = parser->previous;
  bool inner = parser->depth > 0 && parser->open[parser->depth - 1].bracket != '{';
  bool dotted;
  bool binding;

  // any word may follow a dot, unless a new item starts at the margin: then the dot was a mistake
  if (previous == '.')
    return cell_word_class(word) == CELL_WORD_FILE && at_margin(parser, span.begin) ? word
                                                                                    : CELL_T_NAME;
  binding = starts_binding(parser, span.end, &dotted);
  if (inner) {
    if (binding && !dotted && (previous == '(' || previous == ',')) return CELL_T_NAME;

    // a binding on a line of its own, where no argument can start: the bracket was never closed
    if (binding && !reserved && !wants_operand(previous) && cell_starts_line(parser, span.begin))
      return CELL_T_BIND;
  } else {
    int32_t next = skip_space(parser, span.end);

    if (parser->text[next] == ':' && parser->text[next + 1] != '=' &&
        (!wants_operand(previous) || previous == ','))
      return CELL_T_PORT;
    if (binding && (!reserved || dotted || parser->settings || previous == CELL_T_RECORD))
      return CELL_T_BIND;
    if (binding) {
      CellRecord *record = cell_parse_fail(
          parser, "E0105", span, "`%s` is a reserved word and cannot be bound", name->text);
      cell_help(parser->diag, record, CELL_RESERVED_HELP);
      return CELL_T_BAD;
    }
  }
  if (!reserved) return CELL_T_NAME;
  if (cell_word_class(word) != CELL_WORD_OPERAND && wants_operand(previous) &&
      can_be_operand(parser, word, span.end))
    return CELL_T_NAME;
  return word;
}

/* ---- brackets ---- */

static int braces(const CellParser *parser) {
  int count = 0;

  for (int i = 0; i < parser->depth; i++) count += parser->open[i].bracket == '{';
  return count;
}

static void open_bracket(CellParser *parser, char bracket, CellSpan span) {
  if (parser->depth == CELL_MAX_NESTING && parser->skipping) {
    parser->stop = true;
    return;
  }
  if (parser->depth == CELL_MAX_NESTING) {
    CellRecord *record = cell_parse_stop(parser, "E0111", span,
                                         "brackets are nested more than %d deep", CELL_MAX_NESTING);
    cell_help(parser->diag, record, "give inner parts names of their own");
    return;
  }
  parser->open[parser->depth++] = (CellOpen){bracket, span};
}

/* a closing bracket also closes what was left open inside it, but ) and ] never close a { */
static void close_bracket(CellParser *parser, char bracket) {
  if (bracket == '}') {
    while (parser->depth > 0 && parser->open[parser->depth - 1].bracket != '{') parser->depth--;
    if (parser->depth > 0) parser->depth--;
  } else if (parser->depth > 0 && parser->open[parser->depth - 1].bracket != '{') {
    parser->depth--;
  }
}

/* ---- tokens ---- */

/* the next token of the text, with brackets tracked */
static int next_token(CELL_PARSER_STYPE *value, CellSpan *span, CellParser *parser) {
  int token = cell_raw_lex(value, span, parser, parser->scanner);

  parser->before = parser->depth;
  if (token == CELL_T_NAME) token = classify(parser, &value->name, *span);
  if (token == '(' || token == '[' || token == '{') open_bracket(parser, (char)token, *span);
  if (parser->stop) token = CELL_T_YYEOF;
  if (token == CELL_T_TRAIN || token == CELL_T_VARIANT) parser->settings = true;
  if (cell_word_class(token) == CELL_WORD_FILE && token != CELL_T_TRAIN && token != CELL_T_VARIANT)
    parser->settings = false;
  if (token == CELL_T_YYEOF) *span = (CellSpan){parser->source, parser->length, parser->length};
  return token;
}

int cell_parser_lex(CELL_PARSER_STYPE *value, CellSpan *span, CellParser *parser) {
  int token;

  if (parser->start) {
    token = parser->start;
    parser->start = 0;
    *span = (CellSpan){parser->source, 0, 0};
    parser->previous = token;
    parser->previous_span = *span;
    return token;
  }

  // what a recovery left to be handed out
  if (parser->closers > 0) {
    parser->closers--;
    *span = (CellSpan){parser->source, parser->previous_span.end, parser->previous_span.end};
    return '}';
  }
  if (parser->holding) {
    parser->holding = false;
    *value = parser->held_value;
    *span = parser->held_span;
    token = parser->held;
  } else {
    token = next_token(value, span, parser);

    if (token == ')' || token == ']' || token == '}') close_bracket(parser, (char)token);
  }
  parser->before_token = parser->previous;
  parser->before_span = parser->previous_span;
  parser->previous = token;
  parser->previous_span = *span;
  return token;
}

/* ---- recovery ---- */

/* drops round and square brackets that were left open in the innermost block */
static void drop_inner(CellParser *parser) {
  while (parser->depth > 0 && parser->open[parser->depth - 1].bracket != '{') parser->depth--;
}

int cell_parser_recover(CellParser *parser, int token, CELL_PARSER_STYPE *value, CellSpan *span) {
  parser->skipping = true;
  for (bool first = true;; first = false) {
    bool fresh = span->begin != parser->recovered_at;
    bool line = cell_starts_line(parser, span->begin);
    bool margin = at_margin(parser, span->begin);
    CellWordClass class = cell_word_class(token);
    int depth = braces(parser);
    bool item = class == CELL_WORD_FILE && fresh && (margin || (line && (first || depth == 0)));

    // the end, or a new item: close the blocks that the parser is in, then give out the token
    if (token == CELL_T_YYEOF || item) {
      parser->depth = 0;
      parser->recovered_at = span->begin;
      parser->skipping = false;
      if (parser->blocks == 0) return token;
      parser->closers = parser->blocks - 1;
      parser->holding = true;
      parser->held = token;
      parser->held_value = *value;
      parser->held_span = *span;
      return '}';
    }

    // the end of the innermost block, or a statement of it on a line of its own
    if (parser->blocks > 0 && token == '}' && depth < parser->blocks) break;
    if (line && fresh && depth == parser->blocks && (parser->blocks > 0 || parser->settings) &&
        (token == CELL_T_BIND || token == CELL_T_PORT || class == CELL_WORD_STATEMENT ||
         (token == CELL_T_IF && !wants_operand(parser->before_token)))) {
      drop_inner(parser);
      break;
    }
    token = cell_parser_lex(value, span, parser);
  }
  parser->recovered_at = span->begin;
  parser->skipping = false;
  return token;
}
