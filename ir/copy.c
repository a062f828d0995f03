/* copy.c - copies of graphs: as they are, or with some nodes replaced. */
#include <stdlib.h>
#include <string.h>

#include "ir/internal.h"

CellGraph *cell_graph_clone(CellArena *arena, const CellGraph *g) {
  CellGraph *copy = CELL_NEW(arena, CellGraph);
  copy->arena = arena;
  copy->name = cell_arena_strdup(arena, g->name);
  copy->span = g->span;
  copy->axis_count = g->axis_count;
  for (int i = 0; i < g->axis_count; i++)
    copy->axes[i] = (CellAxisRow){cell_arena_strdup(arena, g->axes[i].name), g->axes[i].extent};
  for (CellValue v = 0; v < g->node_count; v++) {
    CellNode n = g->nodes[v];
    if (n.body) n.body = cell_graph_clone(arena, n.body);
    CellValue w = cell_number(copy, &n);
    CELL_ASSERT(w == v);
  }
  for (int i = 0; i < g->output_count; i++)
    cell_output(copy, g->outputs[i].name, g->outputs[i].value);
  return copy;
}

/* one node, its operands copied before; spans go with it */
static CellValue copy_node(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *map,
                           CellReplace replace, void *context) {
  const CellNode n = *cell_node(from, v); /* by value: `to` may be `from` */
  CellValue few[8], *args = few;
  if (n.arg_count > 8) args = cell_malloc((size_t)n.arg_count * sizeof *args);
  for (int i = 0; i < n.arg_count; i++) args[i] = map[n.args[i]];
  CellSpan before = to->span;
  to->span = n.span;
  CellValue made = replace ? replace(to, from, v, args, context) : CELL_NONE;
  if (made == CELL_NONE) made = cell_rebuild(to, &n, args);
  to->span = before;
  if (args != few) free(args);
  return made;
}

CellValue cell_copy(CellGraph *to, const CellGraph *from, CellValue v, CellValue *map,
                    CellReplace replace, void *context) {
  /* operands first, with a stack of our own: graphs may be deep */
  CellValue *stack = cell_malloc(64 * sizeof *stack);
  int count = 0, capacity = 64;
  stack[count++] = v;
  while (count > 0) {
    CellValue top = stack[count - 1];
    if (map[top] != CELL_NONE) {
      count--;
      continue;
    }
    const CellNode *n = cell_node(from, top);
    int waiting = 0;
    for (int i = n->arg_count - 1; i >= 0; i--) {
      if (map[n->args[i]] != CELL_NONE) continue;
      if (count == capacity) {
        CellValue *grown = cell_malloc(2 * (size_t)capacity * sizeof *stack);
        memcpy(grown, stack, (size_t)capacity * sizeof *stack);
        free(stack);
        stack = grown;
        capacity *= 2;
      }
      stack[count++] = n->args[i];
      waiting++;
    }
    if (waiting == 0) map[top] = copy_node(to, from, top, map, replace, context);
  }
  free(stack);
  return map[v];
}

CellGraph *cell_rewrite(const CellGraph *g, CellReplace replace, void *context) {
  CellGraph *to = cell_graph_like(g, g->name);
  CellValue *map = cell_malloc(((size_t)g->node_count + 1) * sizeof *map);
  bool *needed = cell_malloc((size_t)g->node_count + 1);
  for (int i = 0; i < g->output_count; i++) needed[g->outputs[i].value] = true;
  for (int i = 0; i < g->minimize_count; i++) needed[g->minimize[i].loss] = true;
  for (CellValue v = g->node_count - 1; v >= 0; v--)
    for (int i = 0; needed[v] && i < g->nodes[v].arg_count; i++) needed[g->nodes[v].args[i]] = true;

  /* in the old order, so that the text of a pass's result reads beside the text before */
  for (CellValue v = 0; v < g->node_count; v++)
    map[v] = needed[v] ? copy_node(to, g, v, map, replace, context) : CELL_NONE;
  for (int i = 0; i < g->output_count; i++)
    cell_output(to, g->outputs[i].name, map[g->outputs[i].value]);
  for (int i = 0; i < g->minimize_count; i++) {
    CellMinimize m = g->minimize[i];
    m.loss = map[m.loss];
    CELL_PUSH(to->arena, to->minimize, to->minimize_count, to->minimize_capacity, m);
  }
  to->wanted = g->wanted;
  to->wanted_count = g->wanted_count;
  to->span = CELL_NOWHERE;
  free(map);
  free(needed);
  return to;
}
