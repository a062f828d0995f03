/* fuse_order.c - what of a kernel runs next to what, so that little is alive at once.
 *
 *   fuse_components   the ops of a loop over the task's samples, cut into groups that share no more than a
 *                     few numbers a sample: each group then runs over all samples by itself
 *   fuse_reorder      the loops and products of a body, each right before who needs it
 *
 * Groups that wait for a sum over a short row get loops of their own, too: several samples are then under way
 * at once, instead of one whose operations wait for each other.
 *
 * A tile's products are large: what the first group needs is made, read and gone before the second's is
 * made, in the same memory. */
#include <string.h>

#include "ir/fuse.h"

enum {
  SMALL_VALUE = 64, /* entries a sample that may be handed on through storage */
  /* entries of sums for which a sample waits longer than it computes; fewer are no vector, more are work enough */
  SHORTEST_SUM = 8,
  LONGEST_SUM = 32
};

static FuseOp *lift(FuseOp *op, const FuseRegion *r) {
  while (op && op->region != r) op = op->region->scan;
  return op;
}

static int index_of(FuseOp *const *ops, int count, const FuseOp *op) {
  for (int i = 0; i < count; i++)
    if (ops[i] == op) return i;
  return -1;
}

static int root_of(int *parent, int i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

/* iterations of an op in one of the loop of class cls: entries that it makes, or with what it sums over */
static int64_t iterations(Fuse *f, const FuseOp *op, int cls, bool reduced) {
  int64_t n = 1;
  for (int l = 0; l < op->loop_count; l++)
    if ((reduced || !op->loops[l].reduced) && fuse_class(f, op->loops[l].cls) != cls)
      n *= op->loops[l].extent;
  return n;
}

/* what an op makes: its result, or a scan's carries */
static int results(FuseOp *op, FuseVal ***vals) {
  *vals = op->kind == FUSE_SCAN ? op->carries : &op->out;
  return op->kind == FUSE_SCAN ? op->carry_count : 1;
}

/* Groups of ops; a group that became part of another has `group` of that one. */
typedef struct {
  int count;
  int *group;
  /* tables of bits, each row of so many words: bit j of row i */
  size_t words;
  uint64_t *feeds; /* j reads a value of i */
  uint64_t *reach; /* the same, through others */
  bool *light;     /* works on a few numbers a sample */
  int *depth;      /* how many sums over a row it waits for, one after the other */
} Groups;

static bool has(const Groups *g, const uint64_t *table, int i, int j) {
  return table[(size_t)i * g->words + (size_t)(j / 64)] >> (j % 64) & 1;
}

static void set(const Groups *g, uint64_t *table, int i, int j) {
  table[(size_t)i * g->words + (size_t)(j / 64)] |= (uint64_t)1 << (j % 64);
}

/* row i gets what row j has */
static void add_row(const Groups *g, uint64_t *table, int i, int j) {
  uint64_t *to = table + (size_t)i * g->words, *from = table + (size_t)j * g->words;
  for (size_t w = 0; w < g->words; w++) to[w] |= from[w];
}

/* i takes j in; both are groups of their own */
static void merge(Groups *g, int i, int j) {
  add_row(g, g->feeds, i, j);
  add_row(g, g->reach, i, j);
  for (int k = 0; k < g->count; k++) {
    if (g->group[k] == j) g->group[k] = i;
    if (has(g, g->feeds, k, j)) set(g, g->feeds, k, i);
    if (has(g, g->reach, k, j)) set(g, g->reach, k, i);
  }
  for (int k = 0; k < g->count; k++)
    if (has(g, g->reach, k, i)) add_row(g, g->reach, k, i);
  g->light[i] = g->light[i] && g->light[j];
  if (g->depth[j] > g->depth[i]) g->depth[i] = g->depth[j];
}

static bool between(const Groups *g, int i, int j) {
  for (int k = 0; k < g->count; k++)
    if (g->group[k] == k && k != i && k != j && has(g, g->reach, i, k) && has(g, g->reach, k, j))
      return true;
  return false;
}

/* few numbers are no reason for a loop of their own: such a group joins one that it hands values to or has
 * values from, if both wait for as many sums and nobody must run between the two */
static bool join_light(Groups *g, int i) {
  for (int from = 0; from < 2; from++)
    for (int k = g->count - 1; k >= 0; k--) {
      bool linked = from ? has(g, g->feeds, i, k) : has(g, g->feeds, k, i);
      if (!linked || g->group[k] != k || k == i || g->depth[k] != g->depth[i]) continue;
      if (between(g, i, k) || between(g, k, i)) continue;
      merge(g, k, i);
      return true;
    }
  return false;
}

/* in an order in which they can run: first those that need none of the rest */
static int number_groups(const Groups *g, Fuse *f, int *number) {
  bool *done = CELL_NEW_ARRAY(f->arena, bool, g->count);
  int made = 0;
  for (bool progress = true; progress;) {
    progress = false;
    for (int i = 0; i < g->count && !progress; i++) {
      if (g->group[i] != i || done[i]) continue;
      bool ready = true;
      for (int j = 0; j < g->count; j++)
        if (g->group[j] == j && j != i && !done[j] && has(g, g->reach, j, i)) ready = false;
      if (!ready) continue;
      done[i] = progress = true;
      number[i] = made++;
    }
  }
  return made;
}

/* how many sums over a row an op waits for, one after the other */
static int *depths(Fuse *f, FuseOp **ops, int count, int cls) {
  int *depth = CELL_NEW_ARRAY(f->arena, int, count);
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < count; i++) {
      FuseVal **vals;
      int outs = results(ops[i], &vals);
      int64_t made = iterations(f, ops[i], cls, false), done = iterations(f, ops[i], cls, true);
      int next = depth[i] + (done >= made * SHORTEST_SUM && done <= made * LONGEST_SUM);
      for (int o = 0; o < outs; o++)
        for (int c = 0; c < vals[o]->consumer_count; c++) {
          int j = index_of(ops, count, lift(vals[o]->consumers[c], ops[0]->region));
          if (j >= 0 && j != i && depth[j] < next && next <= count) depth[j] = next, changed = true;
        }
    }
  }
  return depth;
}

int fuse_components(Fuse *f, FuseOp **ops, int count, int cls, int *component) {
  int *parent = CELL_NEW_ARRAY(f->arena, int, count);
  for (int i = 0; i < count; i++) parent[i] = i;
  const FuseRegion *r = ops[0]->region;
  int *depth = depths(f, ops, count, cls);
  for (int i = 0; i < count; i++) {
    FuseVal **vals;
    int outs = results(ops[i], &vals);
    bool large = outs > 1 || iterations(f, ops[i], cls, false) > SMALL_VALUE;
    for (int o = 0; o < outs; o++) {
      for (int c = 0; large && c < vals[o]->consumer_count; c++) {
        int j = index_of(ops, count, lift(vals[o]->consumers[c], r));
        if (j >= 0) parent[root_of(parent, j)] = root_of(parent, i);
      }
      /* several writers of one value stay together */
      for (int p = 0; p < vals[o]->producer_count; p++) {
        int j = index_of(ops, count, vals[o]->producers[p]);
        if (j >= 0) parent[root_of(parent, j)] = root_of(parent, i);
      }
    }
  }

  Groups g = {0};
  for (int i = 0; i < count; i++)
    if (root_of(parent, i) == i) component[i] = g.count++;
  for (int i = 0; i < count; i++) component[i] = component[root_of(parent, i)];
  g.words = ((size_t)g.count + 63) / 64;
  size_t cells = (size_t)g.count * g.words;
  g.group = CELL_NEW_ARRAY(f->arena, int, g.count);
  g.light = CELL_NEW_ARRAY(f->arena, bool, g.count);
  g.depth = CELL_NEW_ARRAY(f->arena, int, g.count);
  g.feeds = CELL_NEW_ARRAY(f->arena, uint64_t, cells);
  g.reach = CELL_NEW_ARRAY(f->arena, uint64_t, cells);
  for (int i = 0; i < g.count; i++) g.group[i] = i, g.light[i] = true;
  for (int i = 0; i < count; i++) {
    if (iterations(f, ops[i], cls, true) > SMALL_VALUE) g.light[component[i]] = false;
    FuseVal **vals;
    int outs = results(ops[i], &vals);
    if (depth[i] > g.depth[component[i]]) g.depth[component[i]] = depth[i];
    for (int o = 0; o < outs; o++)
      for (int c = 0; c < vals[o]->consumer_count; c++) {
        int j = index_of(ops, count, lift(vals[o]->consumers[c], r));
        if (j >= 0 && component[j] != component[i]) set(&g, g.feeds, component[i], component[j]);
      }
  }
  memcpy(g.reach, g.feeds, cells * sizeof *g.reach);
  for (int k = 0; k < g.count; k++)
    for (int i = 0; i < g.count; i++)
      if (has(&g, g.reach, i, k)) add_row(&g, g.reach, i, k);

  /* groups that need each other are one */
  for (int i = 0; i < g.count; i++)
    for (int j = 0; j < i && g.group[i] == i; j++)
      if (g.group[j] == j && has(&g, g.reach, i, j) && has(&g, g.reach, j, i)) merge(&g, j, i);
  for (bool progress = true; progress;) {
    progress = false;
    for (int i = 0; i < g.count; i++)
      if (g.group[i] == i && g.light[i]) progress |= join_light(&g, i);
  }
  int *number = CELL_NEW_ARRAY(f->arena, int, g.count);
  int made = number_groups(&g, f, number);
  for (int i = 0; i < count; i++) component[i] = number[g.group[component[i]]];
  return made;
}

/* ---- the order of a body ---- */

typedef struct {
  FuseNode **nodes;
  int count;
  bool *before; /* before[i * count + j]: node i must run before node j */
  bool *placed;
  FuseNode **tail_node;
} Reorder;

/* node of the body that holds an op */
static int node_of(const Reorder *o, const FuseNode *body, const FuseOp *op) {
  FuseNode *n = op ? op->leaf : NULL;
  while (n && n->parent != body) n = n->parent;
  for (int i = 0; n && i < o->count; i++)
    if (o->nodes[i] == n) return i;
  return -1;
}

static void place(Reorder *o, int node, FuseNode ***tail) {
  if (o->placed[node]) return;
  o->placed[node] = true;
  for (int i = 0; i < o->count; i++)
    if (o->before[i * o->count + node]) place(o, i, tail);
  **tail = o->nodes[node];
  *tail = &o->nodes[node]->next;
  **tail = NULL;
}

void fuse_reorder(Fuse *f, FuseOp **ops, int count, FuseNode *body) {
  Reorder o = {0};
  for (FuseNode *n = body->child; n; n = n->next) o.count++;
  if (o.count < 3) return;
  o.nodes = CELL_NEW_ARRAY(f->arena, FuseNode *, o.count);
  o.placed = CELL_NEW_ARRAY(f->arena, bool, o.count);
  o.before = CELL_NEW_ARRAY(f->arena, bool, (size_t)o.count *(size_t)o.count);
  int at = 0;
  for (FuseNode *n = body->child; n; n = n->next) o.nodes[at++] = n;

  const FuseRegion *r = ops[0]->region;
  bool *feeds = CELL_NEW_ARRAY(f->arena, bool, o.count);
  for (int i = 0; i < count; i++) {
    int mine = node_of(&o, body, ops[i]);
    FuseVal **vals;
    int outs = results(ops[i], &vals);
    for (int v = 0; mine >= 0 && v < outs; v++) {
      for (int c = 0; c < vals[v]->consumer_count; c++) {
        int theirs = node_of(&o, body, lift(vals[v]->consumers[c], r));
        if (theirs >= 0 && theirs != mine) {
          /* who shares a value keeps its place */
          o.before[(mine < theirs ? mine : theirs) * o.count + (mine < theirs ? theirs : mine)] =
              true;
          feeds[mine < theirs ? mine : theirs] = true;
        }
      }
      for (int p = 0; p < vals[v]->producer_count; p++) {
        int theirs = node_of(&o, body, lift(vals[v]->producers[p], r));
        if (theirs < 0 || theirs == mine) continue;
        o.before[(mine < theirs ? mine : theirs) * o.count + (mine < theirs ? theirs : mine)] =
            true;
        feeds[mine < theirs ? mine : theirs] = true;
      }
      /* readers of what is written twice, a carry, keep their places among its writers */
      for (int c = 0; vals[v]->producer_count > 1 && c < vals[v]->consumer_count; c++)
        for (int p = 0; p < vals[v]->producer_count; p++) {
          int a = node_of(&o, body, lift(vals[v]->consumers[c], r));
          int b = node_of(&o, body, lift(vals[v]->producers[p], r));
          if (a < 0 || b < 0 || a == b) continue;
          o.before[(a < b ? a : b) * o.count + (a < b ? b : a)] = true;
        }
    }
  }

  /* who feeds nobody, in order; before each, what it needs */
  FuseNode **tail = &body->child;
  *tail = NULL;
  for (int i = 0; i < o.count; i++)
    if (!feeds[i]) place(&o, i, &tail);
  for (int i = 0; i < o.count; i++) place(&o, i, &tail);
}
