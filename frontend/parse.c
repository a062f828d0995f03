/* parse.c - the entry points: checks that a source is text, then runs scanner and grammar over it.
 */
#include "frontend/parse.h"
#include "frontend/parse_state.h"

#include <string.h>

/* length of the UTF-8 character at text, 0 if it is none (overlong forms and surrogates included)
 */
static int utf8_length(const unsigned char *text, size_t left) {
  unsigned char c = text[0];
  int length = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;

  if (c >= 0x80 && (c < 0xc2 || c > 0xf4)) return 0;
  if ((size_t)length > left) return 0;
  for (int i = 1; i < length; i++)
    if ((text[i] & 0xc0) != 0x80) return 0;
  if (c == 0xe0 && text[1] < 0xa0) return 0;
  if (c == 0xed && text[1] >= 0xa0) return 0;
  if (c == 0xf0 && text[1] < 0x90) return 0;
  if (c == 0xf4 && text[1] >= 0x90) return 0;
  return length;
}

/* refuses what no editor would show as text; the scanner then sees valid UTF-8 without NUL */
static bool check_text(CellDiag *diag, int source) {
  const CellSource *from = &diag->sources[source];
  const unsigned char *text = (const unsigned char *)from->text;
  CellRecord *record;

  if (from->length > CELL_MAX_FILE) {
    record = cell_error(diag, "E0116", (CellSpan){source, 0, 0},
                        "this file has %zu bytes, more than the %d that are read", from->length,
                        CELL_MAX_FILE);
    cell_help(diag, record, "a network is a few hundred lines; is this the right file?");
    return false;
  }
  for (size_t i = 0; i < from->length;) {
    int length = text[i] == 0 ? 0 : utf8_length(text + i, from->length - i);

    if (length == 0) {
      record = cell_error(diag, "E0116", (CellSpan){source, (int32_t)i, (int32_t)i},
                          "this is not UTF-8 text: byte %zu is 0x%02x", i, text[i]);
      cell_help(diag, record, "is this the right file?");
      return false;
    }
    i += (size_t)length;
  }
  return true;
}

static void parser_run(CellParser *parser, CellArena *arena, CellDiag *diag, int source,
                       int start) {
  const CellSource *from = &diag->sources[source];

  *parser = (CellParser){.arena = arena, .diag = diag, .source = source, .start = start};
  // a copy that lives as long as the tree, so that messages never follow a moved source
  parser->text = cell_arena_strndup(arena, from->text, from->length);
  parser->length = (int32_t)from->length;
  parser->whole = start == CELL_T_START_FILE;
  parser->recovered_at = -1;
  parser->settings = start == CELL_T_START_SETTINGS;
  parser->ast = CELL_NEW(arena, CellAst);
  parser->ast->source = source;

  // a byte order mark is no token
  if (parser->length >= 3 && memcmp(parser->text, "\xef\xbb\xbf", 3) == 0) parser->at = 3;

  parser->scanner = cell_scanner_create(parser);
  if (cell_parser_parse(parser) != 0) parser->ast->broken = true;
  cell_scanner_destroy(parser->scanner);
}

CellAst *cell_parse(CellArena *arena, CellDiag *diag, int source) {
  CellParser parser;

  if (!check_text(diag, source)) return NULL;
  parser_run(&parser, arena, diag, source, CELL_T_START_FILE);
  return parser.ast;
}

bool cell_parse_settings(CellArena *arena, CellDiag *diag, int source, CellSettingList *settings) {
  CellParser parser;

  *settings = (CellSettingList){0};
  if (!check_text(diag, source)) return false;
  parser_run(&parser, arena, diag, source, CELL_T_START_SETTINGS);
  *settings = parser.list;
  return !parser.ast->broken;
}

CellExpr *cell_parse_expression(CellArena *arena, CellDiag *diag, int source) {
  CellParser parser;

  if (!check_text(diag, source)) return NULL;
  parser_run(&parser, arena, diag, source, CELL_T_START_EXPRESSION);
  return parser.ast->broken ? NULL : parser.expr;
}
