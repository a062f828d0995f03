/* parse_error.c - messages for text that does not parse: one function for each kind of mistake,
 * tried from the most particular to the most general. A function returns false if it does not
 * apply. */
#include "frontend/parse_state.h"

#include <string.h>

/* ---- records ---- */

static CellRecord *record_add(CellParser *parser, const char *code, CellSpan span,
                              const char *format, va_list args) {
  parser->ast->broken = true;
  if (parser->stop) return &parser->diag->scratch;
  return cell_error(parser->diag, code, span, "%s",
                    cell_arena_vprintf(parser->arena, format, args));
}

CellRecord *cell_parse_fail(CellParser *parser, const char *code, CellSpan span, const char *format,
                            ...) {
  va_list args;
  va_start(args, format);
  CellRecord *record = record_add(parser, code, span, format, args);
  va_end(args);
  return record;
}

CellRecord *cell_parse_stop(CellParser *parser, const char *code, CellSpan span, const char *format,
                            ...) {
  va_list args;
  va_start(args, format);
  CellRecord *record = record_add(parser, code, span, format, args);
  va_end(args);
  parser->stop = true;
  return record;
}

/* ---- texts ---- */

const char *cell_parse_excerpt(CellParser *parser, CellSpan span) {
  enum { LONGEST = 40 };
  int32_t end = span.end;

  if (end - span.begin <= LONGEST)
    return cell_arena_strndup(parser->arena, parser->text + span.begin, (size_t)(end - span.begin));

  // cut between characters, never inside one
  end = span.begin + LONGEST;
  while (end > span.begin && ((unsigned char)parser->text[end] & 0xc0) == 0x80) end--;
  return cell_arena_printf(parser->arena, "%.*s...", (int)(end - span.begin),
                           parser->text + span.begin);
}

static const char *found_text(CellParser *parser, const CellExpected *expected) {
  const char *text = cell_parse_excerpt(parser, expected->span);

  if (expected->found == CELL_T_YYEOF) return parser->whole ? "the end of the file" : "the end";
  if (expected->found == CELL_T_BIND) return cell_arena_printf(parser->arena, "`%s =`", text);
  if (expected->found == CELL_T_PORT) return cell_arena_printf(parser->arena, "`%s:`", text);
  if (expected->found == CELL_T_STRING) return cell_arena_printf(parser->arena, "%s", text);
  return cell_arena_printf(parser->arena, "`%s`", text);
}

static bool is_reserved(int token) {
  return cell_word_class(token) != CELL_WORD_ORDINARY;
}

static bool is_closer(int token) {
  return token == ')' || token == ']' || token == '}';
}

static char closer_of(char bracket) {
  return bracket == '(' ? ')' : bracket == '[' ? ']' : '}';
}

/* the innermost bracket that was open before the token found, or NULL */
static const CellOpen *innermost(const CellParser *parser) {
  return parser->before > 0 ? &parser->open[parser->before - 1] : NULL;
}

/* the innermost `{`, or NULL */
static const CellOpen *innermost_brace(const CellParser *parser) {
  for (int i = parser->before - 1; i >= 0; i--)
    if (parser->open[i].bracket == '{') return &parser->open[i];
  return NULL;
}

/* false at the beginning, where there is no token to say "after" of */
static bool has_before(const CellParser *parser) {
  return parser->before_span.end > parser->before_span.begin;
}

/* ---- brackets ---- */

/* a statement, a `}` or another closing bracket stands where `(` or `[` is still open */
static bool unclosed_bracket(CellParser *parser, const CellExpected *expected) {
  const CellOpen *open = innermost(parser);
  CellWordClass class = cell_word_class(expected->found);
  CellRecord *record;

  if (!open || open->bracket == '{' || expected->expression) return false;
  if (is_closer(expected->found)) {
    if (expected->found == closer_of(open->bracket)) return false;
  } else if (expected->found != '{' && expected->found != CELL_T_BIND &&
             expected->found != CELL_T_YYEOF && class != CELL_WORD_FILE &&
             class != CELL_WORD_STATEMENT) {
    return false;
  }
  record = cell_parse_fail(parser, "E0103", expected->span, "expected `%c` before %s",
                           closer_of(open->bracket), found_text(parser, expected));
  cell_relate(parser->diag, record, open->span, "this `%c` is not closed", open->bracket);
  return true;
}

static bool unopened_bracket(CellParser *parser, const CellExpected *expected) {
  const CellOpen *open = innermost(parser);

  if (!is_closer(expected->found)) return false;
  if (expected->found == '}' ? innermost_brace(parser) != NULL : open && open->bracket != '{')
    return false;
  cell_parse_fail(parser, "E0103", expected->span, "`%c` closes nothing", expected->found);
  return true;
}

/* a new item or the end of the file, inside a block */
static bool unclosed_block(CellParser *parser, const CellExpected *expected) {
  const CellOpen *open = innermost_brace(parser);
  bool item = cell_word_class(expected->found) == CELL_WORD_FILE;
  CellRecord *record;

  if (!open || expected->expression || !(item || expected->found == CELL_T_YYEOF)) return false;
  if (!expected->close && !expected->operators) return false;
  record = cell_parse_fail(parser, "E0104", expected->span, "expected `}` before %s",
                           found_text(parser, expected));
  cell_relate(parser->diag, record, open->span, "this `{` is not closed");
  return true;
}

/* ---- names ---- */

/* `network train`, `cell stack(a)`: a reserved word on the line where a name is due */
static bool reserved_name(CellParser *parser, const CellExpected *expected) {
  CellSpan word = expected->span;
  bool only_bind = expected->count == 1 && expected->bind;
  CellRecord *record;

  if (!is_reserved(expected->found) || expected->expression || !(expected->name || only_bind))
    return false;
  if (cell_starts_line(parser, word.begin)) return false;
  record =
      cell_parse_fail(parser, "E0105", word, "`%s` is a reserved word and cannot be a name here",
                      cell_parse_excerpt(parser, word));
  cell_help(parser->diag, record, CELL_RESERVED_HELP);
  return true;
}

static bool dotted_name(CellParser *parser, const CellExpected *expected) {
  CellRecord *record;

  if (expected->found != '.' || parser->before_token != CELL_T_BIND) return false;
  record = cell_parse_fail(parser, "E0105", parser->before_span,
                           "a name with a dot cannot be bound here");
  cell_help(parser->diag, record, "paths like l1.n stand in variants and after --set");
  return true;
}

/* a word on a line of its own that looks like a reserved one: `ouput h` */
static bool misspelt_word(CellParser *parser, const CellExpected *expected) {
  static const char *const items[] = {
#define CELL_ROW(id, word) word,
      CELL_ITEMS(CELL_ROW)
#undef CELL_ROW
  };
  const char *const statements[] = {"output", "goodness", "loss",    "record",
                                    "for",    "act",      "minimize"};
  const char *text = cell_parse_excerpt(parser, expected->span);
  const char *near = NULL;

  if (expected->found != CELL_T_NAME || !cell_starts_line(parser, expected->span.begin))
    return false;
  if (expected->item) near = cell_nearest(text, items, (int)(sizeof items / sizeof items[0]));
  if (expected->statement)
    near = cell_nearest(text, statements, (int)(sizeof statements / sizeof statements[0]));
  if (!near) return false;
  CellRecord *record = cell_parse_fail(parser, "E0101", expected->span, "unexpected `%s`", text);
  cell_help(parser->diag, record, "did you mean `%s`?", near);
  return true;
}

/* `below = obs` between links, `batch 32` between settings, `x: 3` between statements */
static bool link_or_bind(CellParser *parser, const CellExpected *expected) {
  const char *text = cell_parse_excerpt(parser, expected->span);
  CellRecord *record;

  if (expected->port && expected->found == CELL_T_BIND) {
    record = cell_parse_fail(parser, "E0107", expected->span, "a link is written with a colon");
    cell_help(parser->diag, record, "write %s: value", text);
    return true;
  }
  if (expected->bind && expected->found == CELL_T_NAME && parser->settings && !expected->item &&
      !expected->operators) {
    cell_parse_fail(parser, "E0107", expected->span, "a setting is written path = value");
    return true;
  }
  if (expected->bind && expected->found == CELL_T_PORT) {
    record = cell_parse_fail(parser, "E0107", expected->span, "a name is bound with `=`");
    cell_help(parser->diag, record, "write %s = value", text);
    return true;
  }
  return false;
}

/* a statement outside of any block */
static bool stray_statement(CellParser *parser, const CellExpected *expected) {
  CellWordClass class = cell_word_class(expected->found);
  CellRecord *record;

  if (!expected->item) return false;
  if (expected->found == CELL_T_BIND) {
    record = cell_parse_fail(parser, "E0101", expected->span, "%s stands outside of any block",
                             found_text(parser, expected));
    cell_help(parser->diag, record, "a value of the file is written param %s = ...",
              cell_parse_excerpt(parser, expected->span));
    return true;
  }
  if (class != CELL_WORD_STATEMENT) return false;
  record = cell_parse_fail(parser, "E0101", expected->span, "%s stands outside of any block",
                           found_text(parser, expected));
  if (expected->found == CELL_T_END_TO_END)
    cell_help(parser->diag, record, "it stands in the braces of the stack, after its cells");
  else
    cell_help(parser->diag, record, "was a `}` too many before it?");
  return true;
}

/* ---- expressions ---- */

static bool comparison_chain(CellParser *parser, const CellExpected *expected) {
  int found = expected->found;
  CellRecord *record;

  if (found != '<' && found != '>' && found != CELL_T_EQ && found != CELL_T_NE &&
      found != CELL_T_LE && found != CELL_T_GE)
    return false;
  if (!expected->operators || expected->comparison) return false;
  record = cell_parse_fail(parser, "E0106", expected->span, "comparisons cannot be chained");
  cell_help(parser->diag, record,
            "put one of them in parentheses, or multiply two: "
            "(a < b) * (b < c)");
  return true;
}

/* where something is missing at the end of a line, the line is shown, not the next one */
static CellSpan missing_at(const CellParser *parser, const CellExpected *expected) {
  bool next_line = has_before(parser) && cell_starts_line(parser, expected->span.begin);

  return next_line || expected->found == CELL_T_YYEOF ? parser->before_span : expected->span;
}

static bool missing_expression(CellParser *parser, const CellExpected *expected) {
  const CellOpen *open = innermost(parser);
  CellSpan at = missing_at(parser, expected);
  CellRecord *record;

  if (!expected->expression || expected->operators) return false;
  if (has_before(parser))
    record = cell_parse_fail(parser, "E0102", at, "expected an expression after `%s`, found %s",
                             cell_parse_excerpt(parser, parser->before_span),
                             found_text(parser, expected));
  else
    record = cell_parse_fail(parser, "E0102", expected->span, "expected an expression, found %s",
                             found_text(parser, expected));
  if (expected->found == CELL_T_BIND && parser->before_token == CELL_T_IF)
    cell_help(parser->diag, record, "equality is tested by `==`");
  if (expected->found == '=' && parser->before_token == '=')
    cell_help(parser->diag, record, "equality is tested by `==`, written without a space");
  if (open && open->bracket != '{' && (expected->found == CELL_T_YYEOF || expected->found == '}'))
    cell_relate(parser->diag, record, open->span, "this `%c` is not closed", open->bracket);
  return true;
}

/* something behind a complete expression that neither continues it nor starts a statement */
static bool after_expression(CellParser *parser, const CellExpected *expected) {
  const CellOpen *open = innermost(parser);
  int32_t end = expected->span.end;
  CellRecord *record;

  if (!expected->operators) return false;
  record = cell_parse_fail(parser, "E0101", expected->span, "unexpected %s after an expression",
                           found_text(parser, expected));
  if (expected->found == ',' && parser->before_token == CELL_T_NUMBER && end < parser->length &&
      parser->text[end] >= '0' && parser->text[end] <= '9')
    cell_help(parser->diag, record, "digits are not grouped by commas: write 100000 or 1e5");
  else if (expected->found == '=')
    cell_help(parser->diag, record, "equality is tested by `==`");
  else if (expected->found == '{' && !expected->close)
    cell_help(parser->diag, record, "braces follow cells of the stack, `for` and `if ... then`");
  else if (open && open->bracket != '{' && expected->found == ',')
    cell_help(parser->diag, record, "a list stands in brackets: [a, b]");
  else if (open && open->bracket != '{')
    cell_help(parser->diag, record, "arguments and entries are separated by commas");
  else if (expected->statement || expected->bind)
    cell_help(parser->diag, record, "a statement starts with `name =` or a reserved word");
  else if (expected->item)
    cell_help(parser->diag, record, "an item of a file starts with a word like `param` or `cell`");
  return true;
}

/* ---- the rest ---- */

static void general(CellParser *parser, const CellExpected *expected) {
  const char *found = found_text(parser, expected);
  const char *list = expected->names[0];

  if (expected->item || expected->statement || (expected->bind && expected->close)) {
    cell_parse_fail(parser, "E0101", expected->span, "expected %s, found %s",
                    expected->item        ? "an item such as `cell` or `train`"
                    : expected->statement ? "a statement or `}`"
                                          : "`name =` or `}`",
                    found);
    return;
  }
  if (expected->count == 0 || expected->count > 4 || !has_before(parser)) {
    cell_parse_fail(parser, "E0101", expected->span, "unexpected %s", found);
    return;
  }
  for (int i = 1; i < expected->count; i++)
    list = cell_arena_printf(parser->arena, "%s%s%s", list,
                             i == expected->count - 1 ? " or " : ", ", expected->names[i]);
  cell_parse_fail(parser, "E0101", missing_at(parser, expected), "expected %s after `%s`, found %s",
                  list, cell_parse_excerpt(parser, parser->before_span), found);
}

void cell_parser_syntax_error(CellParser *parser, const CellExpected *expected) {
  CellExpected at = *expected;

  parser->ast->broken = true;
  // where the parser went on after an error it may meet a word that does not fit: not a new mistake
  if (parser->stop || at.span.begin == parser->recovered_at) return;

  // the end is shown behind the last token, not on an empty line below it
  if (at.found == CELL_T_YYEOF)
    at.span.begin = at.span.end = has_before(parser) ? parser->before_span.end : 0;

  if (unclosed_bracket(parser, &at) || unopened_bracket(parser, &at) ||
      unclosed_block(parser, &at) || reserved_name(parser, &at) || dotted_name(parser, &at) ||
      misspelt_word(parser, &at) || link_or_bind(parser, &at) || stray_statement(parser, &at) ||
      comparison_chain(parser, &at) || missing_expression(parser, &at) ||
      after_expression(parser, &at))
    return;
  general(parser, &at);
}
