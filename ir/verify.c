/* verify.c - checks that a graph is one: what every pass must leave behind.
 *
 * Of each node: its op, that its operands stand above it, its type by the shape rule of its op, a
 * const without NaN payload, one input a name, the body of a scan (a graph of its own, with the
 * types of what the outer one gives it). Of the graph: outputs and losses. Every violation is
 * written below its line in the printed graph. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "ir/internal.h"

typedef struct {
  const CellGraph *g;
  CellValue v; /* CELL_NONE: of the whole graph */
  const char *text;
} Violation;

typedef struct {
  CellArena *arena;
  Violation *items;
  int count, capacity;
} Violations;

static void complain(Violations *list, const CellGraph *g, CellValue v, const char *format, ...)
    CELL_PRINTF(4, 5);

static void complain(Violations *list, const CellGraph *g, CellValue v, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Violation found = {g, v, cell_arena_vprintf(list->arena, format, arguments)};
  va_end(arguments);
  CELL_PUSH(list->arena, list->items, list->count, list->capacity, found);
}

static void check_type(Violations *list, const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  CellNode again = *n;
  CellText why = {0};
  if (!cell_infer(g, &again, &why)) {
    complain(list, g, v, "%s", why.data);
  } else if (again.dtype != n->dtype || again.rank != n->rank || again.axes != n->axes ||
             memcmp(again.shape, n->shape, sizeof n->shape) != 0) {
    cell_text_printf(&why, "should be ");
    cell_print_type(g, &again, &why);
    complain(list, g, v, "%s", why.data);
  }
  cell_text_free(&why);
}

static void check_graph(Violations *list, const CellGraph *g) {
  for (int i = 0; i < g->axis_count; i++)
    if (g->axes[i].extent < 1)
      complain(list, g, CELL_NONE, "axis %s has extent %d", g->axes[i].name,
               (int)g->axes[i].extent);

  bool sound = true; /* operands and bodies exist, so that the shape rules may look at them */
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    int before = list->count;
    if ((unsigned)n->op >= CELL_OP_COUNT)
      complain(list, g, v, "no such op");
    else if (n->op == CELL_OP_SCAN && n->body)
      check_graph(list, n->body);
    for (int i = 0; i < n->arg_count; i++)
      if (n->args[i] < 0 || n->args[i] >= v)
        complain(list, g, v, "operand %d, %%%d, does not stand above", i, (int)n->args[i]);
    if (n->op == CELL_OP_CONST && isnan(n->number) &&
        memcmp(&n->number, &(double){(double)NAN}, sizeof n->number) != 0)
      complain(list, g, v, "a NaN of another kind");
    if (n->op == CELL_OP_INPUT && n->name && cell_find_input(g, n->name) != v)
      complain(list, g, v, "an input of this name stands above");
    if (list->count != before) sound = false;
  }
  for (int i = 0; i < g->output_count; i++) {
    const CellOutput *output = &g->outputs[i];
    if (output->value < 0 || output->value >= g->node_count)
      complain(list, g, CELL_NONE, "output \"%s\" is no value", output->name), sound = false;
    else if (g->nodes[output->value].op == CELL_OP_SCAN)
      complain(list, g, CELL_NONE, "output \"%s\" is a scan", output->name);
    for (int k = 0; k < i; k++)
      if (strcmp(g->outputs[k].name, output->name) == 0)
        complain(list, g, CELL_NONE, "output \"%s\" stands twice", output->name);
  }
  for (CellValue v = 0; v < g->node_count && sound; v++) check_type(list, g, v);
  for (int i = 0; i < g->minimize_count; i++) {
    CellValue loss = g->minimize[i].loss;
    if (loss < 0 || loss >= g->node_count || g->nodes[loss].rank != 0 || g->nodes[loss].axes != 0)
      complain(list, g, CELL_NONE, "the loss of \"%s\" has not rank 0 and no axes",
               g->minimize[i].group);
  }
}

static void write_errors(const CellGraph *g, CellValue v, CellText *out, void *context) {
  const Violations *list = context;
  for (int i = 0; i < list->count; i++)
    if (list->items[i].g == g && list->items[i].v == v)
      cell_text_printf(out, "^ error: %s\n", list->items[i].text);
}

bool cell_verify(const CellGraph *g, CellText *out) {
  Violations list = {.arena = cell_arena_create()};
  check_graph(&list, g);
  if (list.count) cell_print_with(g, NULL, out, write_errors, &list);
  bool good = list.count == 0;
  cell_arena_destroy(list.arena);
  return good;
}
