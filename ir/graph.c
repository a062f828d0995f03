/* graph.c - graphs and the numbering of their nodes by content.
 *
 * The numbering is an open hash table over everything that makes a node what it is (its op, type,
 * operands and attributes, not its place in the source). Numbers compare by bits, so 0.0 and -0.0
 * differ and NaN equals itself; inputs are one per name; scans compare bodies node for node. */
#include <string.h>

#include "ir/internal.h"

CellGraph *cell_graph_create(CellArena *arena, const char *name) {
  CellGraph *g = CELL_NEW(arena, CellGraph);
  g->arena = arena;
  g->name = cell_arena_strdup(arena, name);
  g->span = CELL_NOWHERE;
  /* in the order of CELL_AXIS_TIME... */
  cell_graph_add_axis(g, "time", 1);
  cell_graph_add_axis(g, "batch", 1);
  cell_graph_add_axis(g, "candidate", 1);
  return g;
}

CellGraph *cell_graph_like(const CellGraph *like, const char *name) {
  CellGraph *g = CELL_NEW(like->arena, CellGraph);
  g->arena = like->arena;
  g->name = cell_arena_strdup(like->arena, name);
  g->span = like->span;
  memcpy(g->axes, like->axes, sizeof g->axes);
  g->axis_count = like->axis_count;
  // what is made like another mostly gets about as many nodes
  g->node_capacity = like->node_count + like->node_count / 4 + 8;
  g->nodes = CELL_NEW_ARRAY(g->arena, CellNode, g->node_capacity);
  return g;
}

int cell_graph_add_axis(CellGraph *g, const char *name, int32_t extent) {
  CELL_ASSERT(g->axis_count < CELL_MAX_AXES && extent >= 1);
  g->axes[g->axis_count] = (CellAxisRow){cell_arena_strdup(g->arena, name), extent};
  return g->axis_count++;
}

void cell_output(CellGraph *g, const char *name, CellValue v) {
  CELL_ASSERT(v >= 0 && v < g->node_count && g->nodes[v].op != CELL_OP_SCAN);
  CELL_ASSERT(cell_find_output(g, name) == CELL_NONE);
  CellOutput output = {cell_arena_strdup(g->arena, name), v};
  CELL_PUSH(g->arena, g->outputs, g->output_count, g->output_capacity, output);
}

CellValue cell_find_output(const CellGraph *g, const char *name) {
  for (int i = 0; i < g->output_count; i++)
    if (strcmp(g->outputs[i].name, name) == 0) return g->outputs[i].value;
  return CELL_NONE;
}

CellValue cell_find_input(const CellGraph *g, const char *name) {
  for (CellValue v = 0; v < g->node_count; v++)
    if (g->nodes[v].op == CELL_OP_INPUT && strcmp(g->nodes[v].name, name) == 0) return v;
  return CELL_NONE;
}

int64_t cell_count(const CellGraph *g, CellValue v) {
  int64_t count = 1;
  for (int i = 0; i < g->nodes[v].rank; i++) count *= g->nodes[v].shape[i];
  return count;
}

int64_t cell_extent(const CellGraph *g, uint32_t axes) {
  int64_t extent = 1;
  for (int i = 0; i < g->axis_count; i++)
    if (axes & CELL_AXIS(i)) extent *= g->axes[i].extent;
  return extent;
}

bool cell_is_const(const CellGraph *g, CellValue v, double number) {
  return g->nodes[v].op == CELL_OP_CONST && g->nodes[v].number == number;
}

CellValue cell_uniform(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  if (n->rank == 0) return v;
  if (n->op == CELL_OP_BROADCAST && cell_node(g, n->args[0])->rank == 0) return n->args[0];
  return CELL_NONE;
}

/* ---- equality and hash of content ---- */

static bool same_text(const char *a, const char *b) {
  return a == b || (a && b && strcmp(a, b) == 0);
}

static bool node_equal(const CellNode *a, const CellNode *b) {
  return a->op == b->op && a->dtype == b->dtype && a->rank == b->rank && a->axes == b->axes &&
         memcmp(a->shape, b->shape, sizeof a->shape) == 0 && a->arg_count == b->arg_count &&
         (a->arg_count == 0 ||
          memcmp(a->args, b->args, (size_t)a->arg_count * sizeof *a->args) == 0) &&
         same_text(a->name, b->name) && memcmp(&a->number, &b->number, sizeof a->number) == 0 &&
         a->reduce == b->reduce && a->dims == b->dims && a->over == b->over &&
         memcmp(a->labels, b->labels, sizeof a->labels) == 0 && a->dim == b->dim &&
         a->axis == b->axis && memcmp(a->map, b->map, sizeof a->map) == 0 && a->begin == b->begin &&
         a->end == b->end && a->carry_count == b->carry_count &&
         (a->body == b->body || (a->body && b->body && cell_graph_equal(a->body, b->body)));
}

bool cell_graph_equal(const CellGraph *a, const CellGraph *b) {
  if (a->node_count != b->node_count || a->output_count != b->output_count || a->minimize_count ||
      b->minimize_count)
    return false;
  for (int i = 0; i < a->output_count; i++)
    if (a->outputs[i].value != b->outputs[i].value ||
        strcmp(a->outputs[i].name, b->outputs[i].name) != 0)
      return false;
  for (CellValue v = 0; v < a->node_count; v++)
    if (!node_equal(&a->nodes[v], &b->nodes[v])) return false;
  return true;
}

/* the hash of nodes is much of what building a graph costs */
static inline uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

static inline uint64_t pair(int32_t high, int32_t low) {
  return (uint64_t)(uint32_t)high << 32 | (uint32_t)low;
}

static uint64_t text_hash(uint64_t hash, const char *text) {
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = 0;
    memcpy(&word, text + i, length - i < 8 ? length - i : 8);
    hash = mix(hash, word);
  }
  return hash;
}

static uint64_t node_bits(const CellNode *n) {
  uint64_t h = mix(0xcbf29ce484222325u, n->op);
  if (n->name) return text_hash(h, n->name); /* inputs: by name alone */
  for (int i = 0; i < n->rank; i++) h = mix(h, (uint32_t)n->shape[i]);
  for (int i = 0; i < n->arg_count; i++) h = mix(h, (uint32_t)n->args[i]);
  switch ((int)n->op) {
  case CELL_OP_CONST: {
    uint64_t bits;
    memcpy(&bits, &n->number, sizeof bits);
    return mix(h, bits);
  }
  case CELL_OP_CONTRACT:
    for (int i = 0; i < 3; i++) {
      uint32_t letters;
      memcpy(&letters, n->labels[i], sizeof letters);
      h = mix(h, letters);
    }
    return mix(h, n->over);
  default: break;
  }
  if (cell_op_info[n->op].scalar) return h;
  h = mix(h, pair(n->reduce, (int32_t)n->dims));
  h = mix(h, pair((int32_t)n->over, n->body ? n->body->node_count : 0));
  h = mix(h, pair(n->dim, n->axis));
  h = mix(h, pair(n->begin, n->end));
  uint32_t map;
  memcpy(&map, n->map, sizeof map);
  return mix(h, pair(n->carry_count, (int32_t)map));
}

static uint32_t node_hash(const CellNode *n) {
  return (uint32_t)(node_bits(n) >> 16);
}

/* ---- numbering ---- */

typedef struct {
  uint32_t hash;
  CellValue value; /* + 1, 0 = free */
} Slot;

typedef struct {
  Slot *slots;
  uint32_t capacity; /* a power of two */
} Numbering;

static Slot *find_slot(const CellGraph *g, const Numbering *table, const CellNode *n,
                       uint32_t hash) {
  for (uint32_t at = hash & (table->capacity - 1);; at = (at + 1) & (table->capacity - 1)) {
    Slot *slot = &table->slots[at];
    if (!slot->value) return slot;
    if (slot->hash != hash) continue;
    const CellNode *old = &g->nodes[slot->value - 1];
    if (node_equal(old, n)) return slot;
    if (n->op == CELL_OP_INPUT && old->op == CELL_OP_INPUT && strcmp(old->name, n->name) == 0)
      cell_internal_error(__FILE__, __LINE__, "input \"%s\" asked for with two types", n->name);
  }
}

static Numbering *table_with_room(CellGraph *g) {
  Numbering *table = g->numbering;
  if (!table) g->numbering = table = CELL_NEW(g->arena, Numbering);
  if (table->capacity > 2 * (uint32_t)g->node_count) return table;
  Numbering old = *table;
  table->capacity = old.capacity ? 4 * old.capacity : 64;
  table->slots = CELL_NEW_ARRAY(g->arena, Slot, table->capacity);
  for (uint32_t i = 0; i < old.capacity; i++) {
    if (!old.slots[i].value) continue;
    uint32_t at = old.slots[i].hash & (table->capacity - 1);
    while (table->slots[at].value) at = (at + 1) & (table->capacity - 1);
    table->slots[at] = old.slots[i];
  }
  return table;
}

CellValue cell_known_input(CellGraph *g, const char *name) {
  const CellNode n = {.op = CELL_OP_INPUT, .name = name};
  const Numbering *table = table_with_room(g);
  uint32_t hash = node_hash(&n);
  for (uint32_t at = hash & (table->capacity - 1); table->slots[at].value;
       at = (at + 1) & (table->capacity - 1)) {
    if (table->slots[at].hash != hash) continue;
    const CellNode *old = &g->nodes[table->slots[at].value - 1];
    if (old->op == CELL_OP_INPUT && strcmp(old->name, name) == 0) return table->slots[at].value - 1;
  }
  return CELL_NONE;
}

CellValue cell_number(CellGraph *g, const CellNode *n) {
  uint32_t hash = node_hash(n);
  Slot *slot = find_slot(g, table_with_room(g), n, hash);
  if (slot->value) return slot->value - 1;
  CellNode copy = *n;
  if (n->arg_count) {
    CellValue *args = CELL_NEW_ARRAY(g->arena, CellValue, n->arg_count);
    memcpy(args, n->args, (size_t)n->arg_count * sizeof *args);
    copy.args = args;
  } else {
    copy.args = NULL;
  }
  if (n->name) copy.name = cell_arena_strdup(g->arena, n->name);
  CELL_PUSH(g->arena, g->nodes, g->node_count, g->node_capacity, copy);
  *slot = (Slot){hash, g->node_count};
  return g->node_count - 1;
}

CellValue cell_make(CellGraph *g, CellNode *n) {
  CellText why = {0};
  if (!cell_infer(g, n, &why))
    cell_internal_error(__FILE__, __LINE__, "%s: %s", cell_op_info[n->op].name, why.data);
  n->span = g->span;
  return cell_number(g, n);
}
