/* dmc_suite.c - the suite's own quadruped.xml, changed as its task `run` changes it when it loads:
 * read element by element and written again, without what the task leaves out. */
#include "runtime/dmc_state.h"
#include "runtime/files.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

// what is left out: elements of that kind and name; without a name all of that kind
static const struct {
  const char *element, *name;
} left_out[] = {
    {"geom", "wall_px"}, {"geom", "wall_py"}, {"geom", "wall_nx"}, {"geom", "wall_ny"},
    {"geom", "terrain"}, {"body", "ball"},    {"site", "target"},  {"rangefinder", NULL},
};

typedef struct {
  CellText out;
  int skipping; // how deep in an element that is left out
} Change;

static bool has_name(const char **attributes, const char *name) {
  for (; *attributes; attributes += 2) {
    if (strcmp(attributes[0], "name") == 0) return strcmp(attributes[1], name) == 0;
  }
  return false;
}

static bool is_left_out(const char *element, const char **attributes) {
  for (int i = 0; i < CELL_DMC_COUNT(left_out); i++) {
    if (strcmp(element, left_out[i].element) != 0) continue;
    if (!left_out[i].name || has_name(attributes, left_out[i].name)) return true;
  }
  return false;
}

static void write_attribute(CellText *out, const char *name, const char *value) {
  cell_text_printf(out, " %s=\"", name);
  for (; *value; value++) {
    if (strchr("&<\"", *value))
      cell_text_printf(out, "&#%d;", *value);
    else
      cell_text_append(out, value, 1);
  }
  cell_text_append(out, "\"", 1);
}

static void begin_element(void *context, const char *element, const char **attributes) {
  Change *c = context;
  if (c->skipping > 0 || is_left_out(element, attributes)) {
    c->skipping++;
    return;
  }
  bool floor = strcmp(element, "geom") == 0 && has_name(attributes, "floor");
  cell_text_printf(&c->out, "<%s", element);
  for (const char **a = attributes; *a; a += 2) {
    bool size = floor && strcmp(a[0], "size") == 0;
    write_attribute(&c->out, a[0], size ? "100 100 .5" : a[1]);
  }
  cell_text_append(&c->out, ">", 1);
}

static void end_element(void *context, const char *element) {
  Change *c = context;
  if (c->skipping > 0)
    c->skipping--;
  else
    cell_text_printf(&c->out, "</%s>", element);
}

char *cell_dmc_suite_quadruped(const char *path, size_t *length, CellDiag *diag) {
  char *text = cell_read_file(path, 1 << 24, length, diag);
  if (!text) return NULL;
  Change change = {0};
  XML_Parser parser = XML_ParserCreate(NULL);
  XML_SetUserData(parser, &change);
  XML_SetElementHandler(parser, begin_element, end_element);
  bool ok = XML_Parse(parser, text, (int)*length, true) == XML_STATUS_OK;
  if (!ok) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read \"%s\": line %lu: %s", path,
               XML_GetCurrentLineNumber(parser), XML_ErrorString(XML_GetErrorCode(parser)));
    cell_text_free(&change.out);
  }
  XML_ParserFree(parser);
  free(text);
  *length = change.out.length;
  return change.out.data; // NULL after an error
}
