/* diag.c - diagnostics: records in a list, printed sorted, with the source line and a caret.
 *
 *   arq.cell:12:30: error: cannot multiply [400, 8] by [400, 8] [E0123]
 *      12 |   w  = tanh(standardize(z2.T @ z1))
 *         |                         ~~~~ ^ ~~
 *      10 |   z1 = reshape(linear(xa, heads * n), [n, heads])
 *         |        ------------------------------------------ z1 is [400, 8], from here
 *      in l1, line 18
 *      help: the inner sizes must agree (8 and 400); did you mean z1.T? */
#include "ir/support.h"

#include <stdlib.h>
#include <string.h>

enum {
  MOST = 50,         /* errors, and warnings, that are kept */
  TAB = 8,           /* columns between tab stops */
  WIDEST_LINE = 160, /* columns of a source line that are shown */
  LEAD = 40          /* columns shown before the caret of a longer line */
};

static const struct {
  const char *name, *colour;
} severities[] = {
    [CELL_ERROR] = {"error", "\033[1;31m"},
    [CELL_WARNING] = {"warning", "\033[1;35m"},
    [CELL_NOTE] = {"note", "\033[1;36m"},
    [CELL_HELP] = {"help", "\033[1;32m"},
};

/* ---- collecting ---- */

CellDiag *cell_diag_create(void) {
  CellDiag *diag = cell_malloc(sizeof *diag);
  diag->arena = cell_arena_create();
  diag->records = CELL_NEW_ARRAY(diag->arena, CellRecord, 2 * MOST);
  return diag;
}

void cell_diag_destroy(CellDiag *diag) {
  if (!diag) return;
  cell_arena_destroy(diag->arena);
  free(diag);
}

int cell_diag_source(CellDiag *diag, const char *name, const char *text, size_t length) {
  CELL_ASSERT(length < INT32_MAX);
  CellSource source = {cell_arena_strdup(diag->arena, name),
                       cell_arena_strndup(diag->arena, text, length), length};
  CELL_PUSH(diag->arena, diag->sources, diag->source_count, diag->source_capacity, source);
  return diag->source_count - 1;
}

static bool same_span(CellSpan a, CellSpan b) {
  return a.file == b.file && a.begin == b.begin && a.end == b.end;
}

static CellRecord *add(CellDiag *diag, CellSeverity severity, const char *code, CellSpan span,
                       const char *format, va_list arguments) {
  int *count = severity == CELL_ERROR ? &diag->error_count : &diag->warning_count;
  diag->scratch = (CellRecord){.severity = severity, .code = code, .span = span, .message = ""};
  if (*count >= MOST) {
    (*count)++;
    return &diag->scratch;
  }
  const char *message = cell_arena_vprintf(diag->arena, format, arguments);
  for (int i = 0; i < diag->record_count; i++) {
    const CellRecord *other = &diag->records[i];
    if (other->severity == severity && same_span(other->span, span) &&
        strcmp(other->message, message) == 0)
      return &diag->scratch;
  }
  (*count)++;
  CellRecord *record = &diag->records[diag->record_count++];
  *record = diag->scratch;
  record->message = message;
  return record;
}

CellRecord *cell_error(CellDiag *diag, const char *code, CellSpan span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  CellRecord *record = add(diag, CELL_ERROR, code, span, format, arguments);
  va_end(arguments);
  return record;
}

CellRecord *cell_warning(CellDiag *diag, const char *code, CellSpan span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  CellRecord *record = add(diag, CELL_WARNING, code, span, format, arguments);
  va_end(arguments);
  return record;
}

void cell_relate(CellDiag *diag, CellRecord *record, CellSpan span, const char *format, ...) {
  int room = (int)(sizeof record->related / sizeof record->related[0]);
  if (record == &diag->scratch || record->related_count >= room) return;
  const char *text = NULL;
  if (format) {
    va_list arguments;
    va_start(arguments, format);
    text = cell_arena_vprintf(diag->arena, format, arguments);
    va_end(arguments);
  }
  record->related[record->related_count++] = (CellRelated){span, text};
}

void cell_help(CellDiag *diag, CellRecord *record, const char *format, ...) {
  if (record == &diag->scratch) return;
  va_list arguments;
  va_start(arguments, format);
  record->help = cell_arena_vprintf(diag->arena, format, arguments);
  va_end(arguments);
}

/* ---- characters ---- */

/* One character of UTF-8 at `at`; a broken byte counts as one replacement character. Returns its
 * length in bytes. */
static int decode(const char *at, const char *end, uint32_t *character) {
  const unsigned char *b = (const unsigned char *)at;
  int length = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
  if (length == 1) {
    *character = b[0];
    return 1;
  }
  *character = 0xfffd;
  if (length == 0 || b[0] > 0xf4 || end - at < length) return 1;
  uint32_t value = b[0] & (0x7fu >> length);
  for (int i = 1; i < length; i++) {
    if ((b[i] & 0xc0) != 0x80) return 1;
    value = value << 6 | (b[i] & 0x3fu);
  }
  *character = value;
  return length;
}

/* Columns a character takes on a terminal: combining marks 0, East Asian wide and emoji 2. */
static int width_of(uint32_t character) {
  static const struct {
    uint32_t first, last;
    int width;
  } ranges[] = {{0x0300, 0x036f, 0},   {0x200b, 0x200f, 0},   {0x20d0, 0x20ff, 0},
                {0xfe00, 0xfe0f, 0},   {0x1100, 0x115f, 2},   {0x2e80, 0xa4cf, 2},
                {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},
                {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},   {0x1f300, 0x1f64f, 2},
                {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2}};
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    if (character >= ranges[i].first && character <= ranges[i].last) return ranges[i].width;
  return 1;
}

/* C0 and C1 controls, and the marks that reorder what a reader sees */
static bool is_control(uint32_t character) {
  return character < 0x20 || (character >= 0x7f && character < 0xa0) ||
         (character >= 0x202a && character <= 0x202e) ||
         (character >= 0x2066 && character <= 0x2069);
}

static void put_character(FILE *out, const char *at, int length, uint32_t character) {
  if (is_control(character))
    fputc('?', out);
  else if (character == 0xfffd)
    fputs("\xef\xbf\xbd", out);
  else
    fwrite(at, 1, (size_t)length, out);
}

/* text from users: no terminal escapes get through; line ends stay */
static void put_text(FILE *out, const char *text) {
  const char *end = text + strlen(text);
  while (text < end) {
    uint32_t character;
    int length = decode(text, end, &character);
    if (character == '\n')
      fputc('\n', out);
    else
      put_character(out, text, length, character);
    text += length;
  }
}

/* ---- lines ---- */

typedef struct {
  const char *begin, *end; /* without the line end */
  int number;              /* from 1 */
} Line;

static bool somewhere(const CellDiag *diag, CellSpan span) {
  return span.file >= 0 && span.file < diag->source_count;
}

static const char *clamp(const CellSource *source, int32_t offset) {
  size_t at = offset < 0 ? 0 : (size_t)offset;
  return source->text + (at < source->length ? at : source->length);
}

static Line line_of(const CellDiag *diag, CellSpan span) {
  const CellSource *source = &diag->sources[span.file];
  const char *at = clamp(source, span.begin), *end = source->text + source->length;
  Line line = {source->text, NULL, 1};
  for (const char *p = source->text; p < at; p++)
    if (*p == '\n') {
      line.begin = p + 1;
      line.number++;
    }
  line.end = at;
  while (line.end < end && *line.end != '\n') line.end++;
  if (line.end > line.begin && line.end[-1] == '\r') line.end--;
  return line;
}

void cell_diag_position(const CellDiag *diag, CellSpan span, int *line, int *column) {
  *line = *column = 0;
  if (!somewhere(diag, span)) return;
  Line found = line_of(diag, span);
  const char *at = clamp(&diag->sources[span.file], span.begin);
  *line = found.number;
  *column = 1;
  uint32_t character;
  for (const char *p = found.begin; p < at;) {
    p += decode(p, p < found.end ? found.end : at, &character);
    ++*column;
  }
}

/* display columns after the character at column `column` */
static int next_column(int column, uint32_t character) {
  if (character == '\t') return column / TAB * TAB + TAB;
  return column + (is_control(character) ? 1 : width_of(character));
}

/* the display column, from 0, at which `at` stands */
static int column_of(Line line, const char *at) {
  int column = 0;
  uint32_t character;
  for (const char *p = line.begin; p < at && p < line.end;) {
    p += decode(p, line.end, &character);
    column = next_column(column, character);
  }
  return column;
}

/* half-open display columns of a span on its first line, at least one wide */
typedef struct {
  int begin, end;
} Columns;

static Columns columns_of(const CellDiag *diag, CellSpan span, Line line) {
  const CellSource *source = &diag->sources[span.file];
  Columns columns = {column_of(line, clamp(source, span.begin)),
                     column_of(line, clamp(source, span.end))};
  if (columns.end <= columns.begin) columns.end = columns.begin + 1;
  return columns;
}

/* the part of a line that is shown: all of it, unless it is very long */
static Columns window_of(Line line, Columns mark) {
  int width = column_of(line, line.end);
  if (width <= WIDEST_LINE) return (Columns){0, width};
  int begin = mark.begin > LEAD ? mark.begin - LEAD : 0;
  return (Columns){begin, begin + WIDEST_LINE};
}

static void put_line(FILE *out, Line line, Columns window) {
  fprintf(out, "%5d | ", line.number);
  uint32_t character;
  int column = 0;
  for (const char *p = line.begin; p < line.end && column < window.end;) {
    int length = decode(p, line.end, &character), next = next_column(column, character);
    if (column >= window.begin) {
      if (character == '\t')
        fprintf(out, "%*s", next - column, "");
      else
        put_character(out, p, length, character);
    }
    column = next;
    p += length;
  }
  fputc('\n', out);
}

/* writes `mark` (and `first` at its beginning) into a row of marks */
static void draw(char *row, Columns window, Columns mark, char first, char other) {
  for (int c = mark.begin; c < mark.end; c++) {
    int at = c - window.begin;
    if (at >= 0 && at <= WIDEST_LINE) row[at] = c == mark.begin ? first : other;
  }
}

static void put_row(FILE *out, const char *row, const char *colour, const char *text) {
  int length = WIDEST_LINE + 1;
  while (length > 0 && row[length - 1] == ' ') length--;
  fprintf(out, "      | %s%.*s%s", colour ? colour : "", length, row, colour ? "\033[0m" : "");
  if (text) {
    fputc(' ', out);
    put_text(out, text);
  }
  fputc('\n', out);
}

/* ---- printing ---- */

static void put_related(const CellDiag *diag, const CellRelated *related, Line *shown, FILE *out,
                        bool colour) {
  if (!somewhere(diag, related->span)) {
    fputs("   ", out);
    put_text(out, related->text ? related->text : "");
    fputc('\n', out);
    return;
  }
  Line line = line_of(diag, related->span);
  Columns mark = columns_of(diag, related->span, line), window = window_of(line, mark);
  // the line just above needs no repetition, unless it was cut elsewhere
  if (line.begin != shown->begin || window.begin > 0) put_line(out, line, window);
  *shown = line;
  if (!related->text) return;
  char row[WIDEST_LINE + 1];
  memset(row, ' ', sizeof row);
  draw(row, window, mark, '-', '-');
  put_row(out, row, colour ? severities[CELL_NOTE].colour : NULL, related->text);
}

static void put_record(const CellDiag *diag, const CellRecord *record, FILE *out, bool colour) {
  const char *shade = colour ? severities[record->severity].colour : "";
  const char *bold = colour ? "\033[1m" : "", *plain = colour ? "\033[0m" : "";
  fputs(bold, out);
  if (somewhere(diag, record->span)) {
    int line, column;
    cell_diag_position(diag, record->span, &line, &column);
    put_text(out, diag->sources[record->span.file].name);
    fprintf(out, ":%d:%d: ", line, column);
  }
  fprintf(out, "%s%s:%s%s ", shade, severities[record->severity].name, plain, bold);
  put_text(out, record->message);
  if (record->code) fprintf(out, " [%s]", record->code);
  fprintf(out, "%s\n", plain);

  Line shown = {0};
  bool beside[sizeof record->related / sizeof record->related[0]] = {false};
  if (somewhere(diag, record->span)) {
    shown = line_of(diag, record->span);
    Columns mark = columns_of(diag, record->span, shown), window = window_of(shown, mark);
    char row[WIDEST_LINE + 1];
    memset(row, ' ', sizeof row);
    // spans without a text on this line stand beside the caret: `~~~~ ^ ~~`
    for (int i = 0; i < record->related_count; i++) {
      const CellRelated *related = &record->related[i];
      if (related->text || related->span.file != record->span.file) continue;
      Line line = line_of(diag, related->span);
      if (line.begin != shown.begin) continue;
      beside[i] = true;
      draw(row, window, columns_of(diag, related->span, line), '~', '~');
    }
    draw(row, window, mark, '^', '~');
    put_line(out, shown, window);
    put_row(out, row, colour ? severities[CELL_HELP].colour : NULL, NULL);
  }
  for (int i = 0; i < record->related_count; i++)
    if (!beside[i]) put_related(diag, &record->related[i], &shown, out, colour);
  if (record->help) {
    fputs("   help: ", out);
    put_text(out, record->help);
    fputc('\n', out);
  }
}

/* by file and position; equal ones stay in the order in which they were added */
static int by_position(const void *a, const void *b) {
  const CellRecord *x = *(const CellRecord *const *)a, *y = *(const CellRecord *const *)b;
  if (x->span.file != y->span.file) return x->span.file < y->span.file ? -1 : 1;
  if (x->span.begin != y->span.begin) return x->span.begin < y->span.begin ? -1 : 1;
  return x < y ? -1 : x > y;
}

static void put_dropped(FILE *out, int count, const char *name) {
  if (count > MOST)
    fprintf(out, "and %d more %s%s; the first %d found are shown\n", count - MOST, name,
            count - MOST == 1 ? "" : "s", MOST);
}

void cell_diag_print(const CellDiag *diag, FILE *out, bool colour) {
  const CellRecord *order[2 * MOST];
  for (int i = 0; i < diag->record_count; i++) order[i] = &diag->records[i];
  qsort(order, (size_t)diag->record_count, sizeof order[0], by_position);
  for (int i = 0; i < diag->record_count; i++) put_record(diag, order[i], out, colour);
  put_dropped(out, diag->error_count, "error");
  put_dropped(out, diag->warning_count, "warning");
}
