/* certificate.c - which losses reach the parameters of a group, and through whose values.
 *
 * A loss reaches a group if a path leads from one of the group's parameters to it without crossing
 * stop_gradient. The gradient of a group crosses another cell if a value on such a path of the
 * group's own loss is multiplied by what that cell's parameters made, its weights first of all. A
 * sum of two losses crosses nothing, nor does a parameter's own product with its input, whatever
 * made the input. A parameter's cell is the first component of its name. */
#include "ir/rewrite.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const CellModule *m;
  const CellGraph *g;
  const char **cells; /* distinct cells of the module's parameters */
  int cell_count, words;
  uint64_t *depends; /* node_count rows of `words`: cells whose parameters a value depends on */
  bool *data;        /* node_count: depends on an input that is no parameter */
  bool *path;        /* scratch: nodes on a path from the parameters in question to the loss */
} Certifier;

static const CellParam *param_of(const CellModule *m, const CellNode *n) {
  if (n->op != CELL_OP_INPUT || strncmp(n->name, "params/", 7) != 0) return NULL;
  const char *name = n->name + 7;
  size_t length = strcspn(name, "#");
  for (int i = 0; i < m->param_count; i++)
    if (strlen(m->params[i].name) == length && strncmp(m->params[i].name, name, length) == 0)
      return &m->params[i];
  return NULL;
}

static int cell_number(Certifier *c, const CellParam *p) {
  size_t length = strcspn(p->name, "/");
  for (int i = 0; i < c->cell_count; i++)
    if (strlen(c->cells[i]) == length && strncmp(c->cells[i], p->name, length) == 0) return i;
  c->cells[c->cell_count] = cell_arena_strndup(c->m->arena, p->name, length);
  return c->cell_count++;
}

static uint64_t *row(Certifier *c, CellValue v) {
  return c->depends + (size_t)v * (size_t)c->words;
}

static bool opaque(const CellNode *n) {
  return n->op == CELL_OP_STOP_GRADIENT || n->op == CELL_OP_SCAN || n->op == CELL_OP_RESULT ||
         n->dtype != CELL_F;
}

static void find_dependences(Certifier *c) {
  for (CellValue v = 0; v < c->g->node_count; v++) {
    const CellNode *n = cell_node(c->g, v);
    const CellParam *p = param_of(c->m, n);
    if (p) {
      int cell = cell_number(c, p);
      row(c, v)[cell / 64] |= UINT64_C(1) << cell % 64;
    }
    c->data[v] = n->op == CELL_OP_INPUT && !p;
    for (int k = 0; k < n->arg_count; k++) c->data[v] |= c->data[n->args[k]];
    if (opaque(n)) continue;
    for (int k = 0; k < n->arg_count; k++)
      for (int w = 0; w < c->words; w++) row(c, v)[w] |= row(c, n->args[k])[w];
  }
}

/* marks what lies between the parameters of the group (of one cell: cell >= 0) and the loss */
static bool find_path(Certifier *c, CellValue loss, const char *group, int cell) {
  memset(c->path, 0, (size_t)c->g->node_count * sizeof *c->path);
  for (CellValue v = 0; v <= loss; v++) {
    const CellNode *n = cell_node(c->g, v);
    const CellParam *p = param_of(c->m, n);
    if (p && strcmp(p->group, group) == 0 && (cell < 0 || cell_number(c, p) == cell))
      c->path[v] = true;
    for (int k = 0; k < n->arg_count && !opaque(n); k++) c->path[v] |= c->path[n->args[k]];
  }
  return c->path[loss];
}

/* whether the derivative in operand k, which is data on the path, is a product with the other one,
 * which is not on it */
static bool multiplied(const Certifier *c, const CellNode *n, int k) {
  bool product = n->op == CELL_OP_MUL || n->op == CELL_OP_CONTRACT || n->op == CELL_OP_DIV ||
                 n->op == CELL_OP_POW;
  return product && c->path[n->args[k]] && c->data[n->args[k]] && !c->path[n->args[1 - k]];
}

/* adds to `crossed` the cells other than `cell` that the marked paths cross */
static void find_crossed(Certifier *c, CellValue loss, int cell, uint64_t *crossed) {
  bool *on = cell_malloc((size_t)c->g->node_count * sizeof *on);
  on[loss] = true;
  for (CellValue v = loss; v >= 0; v--) {
    const CellNode *n = cell_node(c->g, v);
    if (!on[v] || !c->path[v] || opaque(n)) continue;
    for (int k = 0; k < n->arg_count; k++) {
      on[n->args[k]] = true;
      if (!multiplied(c, n, k)) continue;
      for (int w = 0; w < c->words; w++) crossed[w] |= row(c, n->args[1 - k])[w];
    }
  }
  crossed[cell / 64] &= ~(UINT64_C(1) << cell % 64);
  free(on);
}

static void certify_group(Certifier *c, const CellMinimize *e, CellCertificate *certificate) {
  CellArena *arena = c->m->arena;
  *certificate = (CellCertificate){.group = e->group};
  certificate->moments = e->optimizer.kind != CELL_SGD || e->optimizer.b1 != 0;
  certificate->losses = CELL_NEW_ARRAY(arena, const char *, c->g->minimize_count);
  certificate->crossed = CELL_NEW_ARRAY(arena, const char *, c->cell_count + 1);
  for (int i = 0; i < c->g->minimize_count; i++)
    if (find_path(c, c->g->minimize[i].loss, e->group, -1))
      certificate->losses[certificate->loss_count++] = c->g->minimize[i].group;

  uint64_t *all = cell_malloc((size_t)c->words * sizeof *all);
  uint64_t *crossed = cell_malloc((size_t)c->words * sizeof *crossed);
  for (int cell = 0; cell < c->cell_count; cell++) {
    memset(crossed, 0, (size_t)c->words * sizeof *crossed);
    if (find_path(c, e->loss, e->group, cell)) find_crossed(c, e->loss, cell, crossed);
    for (int w = 0; w < c->words; w++) all[w] |= crossed[w];
  }
  for (int cell = 0; cell < c->cell_count; cell++)
    if (all[cell / 64] >> cell % 64 & 1)
      certificate->crossed[certificate->crossed_count++] = c->cells[cell];
  free(all);
  free(crossed);
}

void cell_certify(CellModule *m, const CellGraph *g) {
  if (g->minimize_count == 0 || m->certificate_count > 0) return;
  Certifier c = {.m = m, .g = g};
  c.cells = CELL_NEW_ARRAY(m->arena, const char *, m->param_count + 1);
  c.words = m->param_count / 64 + 1;
  c.depends = cell_malloc((size_t)g->node_count * (size_t)c.words * sizeof *c.depends);
  c.data = cell_malloc((size_t)g->node_count * sizeof *c.data);
  c.path = cell_malloc((size_t)g->node_count * sizeof *c.path);
  find_dependences(&c);
  m->certificates = CELL_NEW_ARRAY(m->arena, CellCertificate, g->minimize_count);
  for (int i = 0; i < g->minimize_count; i++)
    certify_group(&c, &g->minimize[i], &m->certificates[m->certificate_count++]);
  free(c.depends);
  free(c.data);
  free(c.path);
}
