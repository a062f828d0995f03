/* json.c - see json.h */
#include "runtime/json.h"

#include <math.h>
#include <stdlib.h>

json_t *cell_json_real(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

void cell_json_print(json_t *document, FILE *out) {
  json_dumpf(document, out, CELL_JSON_DOCUMENT);
  fputc('\n', out);
  json_decref(document);
}

/* ---- diagnostics ---- */

static const char *const severities[] = {
    [CELL_ERROR] = "error",
    [CELL_WARNING] = "warning",
    [CELL_NOTE] = "note",
    [CELL_HELP] = "help",
};

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

/* messages quote files, whose bytes need not be UTF-8: then jansson refuses and `?` stands in */
static json_t *user_text(const char *text) {
  if (!text) return json_null();
  json_t *string = json_string(text);
  if (string) return string;
  CellText ascii = {0};
  for (; *text; text++) cell_text_append(&ascii, (unsigned char)*text < 0x80 ? text : "?", 1);
  string = json_string(ascii.data);
  cell_text_free(&ascii);
  return string;
}

static void set_place(json_t *object, const CellDiag *diag, CellSpan span) {
  bool known = span.file >= 0 && span.file < diag->source_count;
  int line = 0, column = 0, end_line = 0, end_column = 0;
  cell_diag_position(diag, span, &line, &column);
  cell_diag_position(diag, (CellSpan){span.file, span.end, span.end}, &end_line, &end_column);
  json_object_set_new(object, "file",
                      known ? user_text(diag->sources[span.file].name) : json_null());
  json_object_set_new(object, "line", known ? json_integer(line) : json_null());
  json_object_set_new(object, "column", known ? json_integer(column) : json_null());
  json_object_set_new(object, "end_line", known ? json_integer(end_line) : json_null());
  json_object_set_new(object, "end_column", known ? json_integer(end_column) : json_null());
}

json_t *cell_json_diagnostics(const CellDiag *diag) {
  json_t *array = json_array();
  for (int i = 0; i < diag->record_count; i++) {
    const CellRecord *record = &diag->records[i];
    json_t *object = json_object(), *related = json_array();
    json_object_set_new(object, "severity", json_string(severities[record->severity]));
    json_object_set_new(object, "code", text_or_null(record->code));
    json_object_set_new(object, "message", user_text(record->message));
    set_place(object, diag, record->span);
    for (int k = 0; k < record->related_count; k++) {
      json_t *place = json_object();
      json_object_set_new(place, "text", user_text(record->related[k].text));
      set_place(place, diag, record->related[k].span);
      json_array_append_new(related, place);
    }
    json_object_set_new(object, "related", related);
    json_object_set_new(object, "help", user_text(record->help));
    json_array_append_new(array, object);
  }
  return array;
}
