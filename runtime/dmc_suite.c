/* dmc_suite.c - the suite's own quadruped.xml, changed as its task `run` changes it when it loads. */
#include "runtime/dmc_state.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

// what is left out: an element of that kind and name; without a name all of that kind
static const struct {
  const char *element, *name;
} left_out[] = {
    {"geom", "wall_px"}, {"geom", "wall_py"}, {"geom", "wall_nx"}, {"geom", "wall_ny"},
    {"geom", "terrain"}, {"body", "ball"},    {"site", "target"},  {"rangefinder", NULL},
};

static bool has_name(xmlNode *node, const char *name) {
  xmlChar *value = xmlGetProp(node, BAD_CAST "name");
  bool same = value && strcmp((const char *)value, name) == 0;
  xmlFree(value);
  return same;
}

static bool is_left_out(xmlNode *node) {
  for (int i = 0; i < CELL_DMC_COUNT(left_out); i++) {
    if (strcmp((const char *)node->name, left_out[i].element) != 0) continue;
    if (!left_out[i].name || has_name(node, left_out[i].name)) return true;
  }
  return false;
}

static void change(xmlNode *parent) {
  for (xmlNode *node = parent->children, *next; node; node = next) {
    next = node->next;
    if (node->type != XML_ELEMENT_NODE) continue;
    if (is_left_out(node)) {
      xmlUnlinkNode(node);
      xmlFreeNode(node);
      continue;
    }
    if (strcmp((const char *)node->name, "geom") == 0 && has_name(node, "floor")) {
      xmlSetProp(node, BAD_CAST "size", BAD_CAST "100 100 .5");
    }
    change(node);
  }
}

char *cell_dmc_suite_quadruped(const char *path, size_t *length, CellDiag *diag) {
  xmlDoc *document =
      xmlReadFile(path, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  xmlNode *root = document ? xmlDocGetRootElement(document) : NULL;
  if (!root) {
    const xmlError *error = xmlGetLastError();
    char reason[200];
    snprintf(reason, sizeof reason, "%s", error && error->message ? error->message : "no XML");
    reason[strcspn(reason, "\n")] = 0;
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read \"%s\": %s", path, reason);
    xmlFreeDoc(document);
    return NULL;
  }
  change(root);
  xmlChar *bytes;
  int count;
  xmlDocDumpMemory(document, &bytes, &count);
  xmlFreeDoc(document);
  char *text = cell_malloc((size_t)count + 1);
  memcpy(text, bytes, (size_t)count);
  *length = (size_t)count;
  xmlFree(bytes);
  return text;
}
