/* parts.c - the pass that decides how parameters are stored: cut where the pieces of what they multiply
 * differ, and matrices turned.
 *
 * A product with a concat is the sum of products with its pieces. A parameter that multiplies one
 * over its last dimension becomes parts, ranges of its columns, cut wherever two neighbouring
 * pieces differ in the axes they vary over or in representation (bits, index code, floats), in any
 * program, for params/ and target/ alike, since all share one storage. So what does not vary over
 * an axis is computed once along it, bits are summed as bits, and no concat of unlike pieces is
 * stored. A product of a part with a one-hot code is one of its columns:
 *
 *     %3 = one_hot %2 : f[3] {batch}
 *     %4 = concat %0, %3 dim 0 : f[403] {batch}          %0: bits[400]
 *     %5 = contract %1, %4 "ij,j->i" : f[8] {batch}      %1: input "params/w"
 *  becomes
 *     %5 = contract %1, %0 "ij,i->j" : f[8] {batch}      %1: input "params/w#0", [400,8]
 *     %6 = take %4 dim 0, %2 : f[8] {batch}              %4: input "params/w#1", [3,8]
 *     %7 = add %5, %6 : f[8] {batch}
 *
 * Every matrix that multiplies over its last dimension is turned, cut or not: what a product makes side by
 * side then lies side by side, so that vectors need no transposition, and a column that a bit or an
 * index selects is one row. Gradient, moments and target follow, being made from the parts entry by entry.
 *
 * A parameter may also be read by elementwise ops on itself (a target that follows it) and by sums
 * over the last dimension; where it is read in any other way it stays whole. Fills CellParam.parts.
 * Exact up to the order of summation. Requires: programs before the gradient. Optional. */
#include "ir/rewrite.h"

#include <stdlib.h>
#include <string.h>

typedef enum { DENSE, BIT_ROW, INDEX_CODE } Representation;

/* columns of one parameter, over all programs */
typedef struct {
  bool whole;    /* is read in a way that needs all of it */
  bool product;  /* multiplies over its last dimension */
  int32_t width; /* of the last dimension */
  bool *cut;     /* cut[c]: a part begins at column c */
} Columns;

typedef struct {
  CellModule *m;
  Columns *columns; /* one a parameter */
} Splitter;

/* ---- what multiplies a parameter ---- */

static Representation representation(const CellGraph *g, CellValue v) {
  for (;; v = cell_node(g, v)->args[0]) {
    const CellNode *n = cell_node(g, v);
    if (n->dtype == CELL_BITS) return BIT_ROW;
    switch ((int)n->op) {
    case CELL_OP_ONE_HOT:
    case CELL_OP_SIGN_BITS: return INDEX_CODE;
    case CELL_OP_RESHAPE:
    case CELL_OP_TRANSPOSE:
    case CELL_OP_SLICE:
    case CELL_OP_STOP_GRADIENT: break;
    default: return DENSE;
    }
  }
}

/* the concat that x is, itself or behind a stop_gradient, along `dim`; NULL: none */
static const CellNode *concat_of(const CellGraph *g, CellValue x, int dim, bool *stopped) {
  const CellNode *n = cell_node(g, x);
  *stopped = n->op == CELL_OP_STOP_GRADIENT;
  if (*stopped) n = cell_node(g, n->args[0]);
  return n->op == CELL_OP_CONCAT && n->dim == dim ? n : NULL;
}

static void mark_cuts(Columns *columns, const CellGraph *g, CellValue x, int dim) {
  bool stopped;
  const CellNode *n = concat_of(g, x, dim, &stopped);
  int32_t at = 0;
  for (int i = 0; n && i < n->arg_count; i++) {
    CellValue piece = n->args[i];
    if (i > 0) {
      Representation a = representation(g, n->args[i - 1]), b = representation(g, piece);
      bool alike = cell_node(g, n->args[i - 1])->axes == cell_node(g, piece)->axes;
      if (!alike || a != DENSE || b != DENSE) columns->cut[at] = true;
    }
    at += cell_node(g, piece)->shape[dim];
  }
}

/* ---- which values are columns of a parameter ---- */

/* the parameter named by an input or output "params/NAME", "target/NAME", or -1 */
static int param_number(const CellModule *m, const char *name) {
  if (strncmp(name, "params/", 7) != 0 && strncmp(name, "target/", 7) != 0) return -1;
  for (int i = 0; i < m->param_count; i++)
    if (strcmp(m->params[i].name, name + 7) == 0) return i;
  return -1;
}

static bool keeps_columns(const CellNode *n) {
  return (cell_op_info[n->op].scalar || n->op == CELL_OP_STOP_GRADIENT) && n->rank > 0;
}

/* owner[v]: the parameter whose columns are those of v, -1: none. An elementwise op of columns of
 * one parameter and of scalars gives such columns. */
static void find_owners(const Splitter *s, const CellGraph *g, int *owner) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    owner[v] = -1;
    if (n->op == CELL_OP_INPUT && n->rank > 0) owner[v] = param_number(s->m, n->name);
    if (!keeps_columns(n)) continue;
    int found = -1;
    bool same = true;
    for (int k = 0; k < n->arg_count; k++) {
      if (cell_node(g, n->args[k])->rank == 0) continue;
      if (found >= 0 && owner[n->args[k]] != found) same = false;
      found = owner[n->args[k]];
      if (found < 0) same = false;
    }
    if (same) owner[v] = found;
  }
}

static bool needs_all(const CellNode *user, int k) {
  size_t last;
  switch ((int)user->op) {
  case CELL_OP_CONTRACT:
    /* a letter that is not in the result is summed, and in both operands */
    last = strlen(user->labels[k]);
    return last == 0 || strchr(user->labels[2], user->labels[k][last - 1]) != NULL;
  case CELL_OP_REDUCE: return user->reduce != CELL_SUM;
  default: return true;
  }
}

/* position of the letter of operand k's last dimension in the other operand */
static int other_dim(const CellNode *n, int k) {
  const char *mine = n->labels[k], *others = n->labels[1 - k];
  return (int)(strchr(others, mine[strlen(mine) - 1]) - others);
}

static void note_uses(Splitter *s, const CellGraph *g) {
  int *owner = cell_malloc(((size_t)g->node_count + 1) * sizeof *owner);
  find_owners(s, g, owner);
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN) note_uses(s, n->body);
    for (int k = 0; k < n->arg_count; k++) {
      int p = owner[n->args[k]];
      if (p < 0 || owner[v] == p) continue;
      int rank = cell_node(g, n->args[k])->rank;
      if (needs_all(n, k) || (n->op == CELL_OP_REDUCE && !(n->dims >> (rank - 1) & 1)))
        s->columns[p].whole = true;
      else if (n->op == CELL_OP_CONTRACT && owner[n->args[1 - k]] < 0) {
        s->columns[p].product = true;
        mark_cuts(&s->columns[p], g, n->args[1 - k], other_dim(n, k));
      }
      /* columns of two parameters, or of one along another dimension */
      else if (n->op == CELL_OP_CONTRACT &&
               (owner[n->args[1 - k]] != p ||
                other_dim(n, k) != cell_node(g, n->args[1 - k])->rank - 1))
        s->columns[p].whole = true;
    }
  }
  for (int i = 0; i < g->output_count; i++) {
    int p = owner[g->outputs[i].value];
    if (p >= 0 && param_number(s->m, g->outputs[i].name) != p) s->columns[p].whole = true;
    /* a next state that is not made of columns */
    int state = param_number(s->m, g->outputs[i].name);
    if (state >= 0 && p != state) s->columns[state].whole = true;
  }
  free(owner);
}

/* ---- cutting ---- */

static void fill_parts(CellModule *m, CellParam *p, const Columns *columns) {
  int count = 1, made = 0;
  for (int32_t c = 1; c < columns->width; c++) count += columns->cut[c];
  bool turned = p->rank == 2 && columns->product;
  if (columns->whole || (count == 1 && !turned)) return;
  p->turned = turned;
  p->parts = CELL_NEW_ARRAY(m->arena, CellPart, count);
  for (int32_t c = 1, begin = 0; c <= columns->width; c++) {
    if (c < columns->width && !columns->cut[c]) continue;
    p->parts[made++] = (CellPart){begin, c};
    begin = c;
  }
  p->part_count = made;
}

/* one graph being rebuilt */
typedef struct {
  const Splitter *s;
  const CellGraph *from;
  CellGraph *to;
  const int *owner;  /* of from's values */
  CellValue *map;    /* from -> to, for what is no parameter in parts */
  CellValue **parts; /* from -> its parts in `to` */
} Rebuild;

static const CellParam *split_owner(const Rebuild *r, CellValue v) {
  if (r->owner[v] < 0) return NULL;
  const CellParam *p = &r->s->m->params[r->owner[v]];
  return p->part_count > 0 ? p : NULL;
}

static void rebuild_columns(Rebuild *r, CellValue v, const CellParam *p) {
  CellNode n = *cell_node(r->from, v);
  CellArena *arena = r->to->arena;
  r->parts[v] = CELL_NEW_ARRAY(arena, CellValue, p->part_count);
  CellValue args[3];
  for (int i = 0; i < p->part_count; i++) {
    if (n.op == CELL_OP_INPUT) {
      CellNode part = n;
      part.name = cell_arena_printf(arena, "%s#%d", n.name, i);
      cell_part_shape(p, i, part.shape);
      r->parts[v][i] = cell_rebuild(r->to, &part, NULL);
      continue;
    }
    for (int k = 0; k < n.arg_count; k++)
      args[k] = r->parts[n.args[k]] ? r->parts[n.args[k]][i] : r->map[n.args[k]];
    r->parts[v][i] = cell_rebuild(r->to, &n, args);
  }
}

/* entries begin..end-1 of x along `dim`, from the pieces that it is made of */
static CellValue columns_of(Rebuild *r, CellValue x, int dim, CellPart part) {
  bool stopped;
  const CellNode *n = concat_of(r->from, x, dim, &stopped);
  if (!n) return cell_slice(r->to, r->map[x], dim, part.begin, part.end);
  CellValue *pieces = CELL_NEW_ARRAY(r->to->arena, CellValue, n->arg_count);
  int count = 0;
  int32_t at = 0;
  for (int i = 0; i < n->arg_count; i++) {
    int32_t width = cell_node(r->from, n->args[i])->shape[dim];
    int32_t begin = part.begin > at ? part.begin : at;
    int32_t end = part.end < at + width ? part.end : at + width;
    if (begin < end) {
      CellValue piece = r->map[n->args[i]];
      if (stopped) piece = cell_stop_gradient(r->to, piece);
      pieces[count++] = cell_slice(r->to, piece, dim, begin - at, end - at);
    }
    at += width;
  }
  return cell_concat(r->to, count, pieces, dim);
}

/* whether an index is below n: a position, the place of a maximum, or given from outside (callers
 * give indices that fit); the code of any other is zeros where it is not */
static bool in_range(const CellGraph *g, CellValue index, int32_t n) {
  const CellNode *i = cell_node(g, index);
  if (i->op == CELL_OP_INPUT) return true;
  if (i->op == CELL_OP_AXIS_INDEX) return g->axes[i->axis].extent <= n;
  if (i->op != CELL_OP_REDUCE) return false;
  int64_t extent = cell_extent(g, i->over);
  const CellNode *x = cell_node(g, i->args[0]);
  for (int d = 0; d < x->rank; d++)
    if (i->dims >> d & 1) extent *= x->shape[d];
  return extent <= n;
}

/* the index of a one-hot code, CELL_NONE: x is none */
static CellValue one_hot_index(const CellGraph *g, CellValue x) {
  const CellNode *n = cell_node(g, x);
  if (n->op == CELL_OP_STOP_GRADIENT) n = cell_node(g, n->args[0]);
  if (n->op != CELL_OP_ONE_HOT || n->rank != 1) return CELL_NONE;
  return in_range(g, n->args[0], n->shape[0]) ? n->args[0] : CELL_NONE;
}

static void turn_labels(CellNode *n, int k) {
  char first = n->labels[k][0];
  n->labels[k][0] = n->labels[k][1], n->labels[k][1] = first;
}

/* product of one part (operand k of contract n) with x, which may be the same columns of p */
static CellValue part_product(Rebuild *r, const CellNode *n, int k, const CellParam *p,
                              CellValue part, CellValue x, bool own) {
  CellValue index = one_hot_index(r->to, x), args[2];
  size_t kept = strlen(n->labels[k]) - 1;
  if (index != CELL_NONE && !n->over && strlen(n->labels[2]) == kept &&
      strncmp(n->labels[k], n->labels[2], kept) == 0)
    return cell_take_dim(r->to, part, p->turned ? 0 : (int)kept, index);
  CellNode product = *n;
  if (p->turned) turn_labels(&product, k);
  if (p->turned && own) turn_labels(&product, 1 - k);
  args[k] = part;
  args[1 - k] = x;
  return cell_rebuild(r->to, &product, args);
}

/* sum of `count` terms; those that vary over the same axes are added first */
static CellValue sum_by_axes(CellGraph *g, CellValue *terms, int count) {
  CellValue all = CELL_NONE;
  for (int i = 0; i < count; i++) {
    if (terms[i] == CELL_NONE) continue;
    CellValue alike = terms[i];
    for (int k = i + 1; k < count; k++) {
      if (terms[k] == CELL_NONE || cell_node(g, terms[k])->axes != cell_node(g, alike)->axes)
        continue;
      alike = cell_op2(g, CELL_OP_ADD, alike, terms[k]);
      terms[k] = CELL_NONE;
    }
    all = all == CELL_NONE ? alike : cell_op2(g, CELL_OP_ADD, all, alike);
  }
  return all;
}

/* a contract or a sum that reads a parameter in parts */
static CellValue rebuild_use(Rebuild *r, const CellNode *n, int k, const CellParam *p) {
  CellValue *terms = CELL_NEW_ARRAY(r->to->arena, CellValue, p->part_count);
  for (int i = 0; i < p->part_count; i++) {
    CellValue part = r->parts[n->args[k]][i];
    if (n->op == CELL_OP_REDUCE) {
      CellNode sum = *n;
      if (p->turned) sum.dims = (uint8_t)((sum.dims & 1) << 1 | sum.dims >> 1);
      terms[i] = cell_rebuild(r->to, &sum, &part);
      continue;
    }
    CellValue x = n->args[1 - k];
    bool own = r->parts[x] != NULL;
    x = own ? r->parts[x][i] : columns_of(r, x, other_dim(n, k), p->parts[i]);
    terms[i] = part_product(r, n, k, p, part, x, own);
  }
  return sum_by_axes(r->to, terms, p->part_count);
}

static CellGraph *split_graph(const Splitter *s, const CellGraph *g);

static CellValue rebuild_other(Rebuild *r, CellValue v) {
  CellNode n = *cell_node(r->from, v);
  for (int k = 0; k < n.arg_count; k++) {
    const CellParam *p = split_owner(r, n.args[k]);
    if (p) return rebuild_use(r, &n, k, p);
  }
  CellValue *args = CELL_NEW_ARRAY(r->to->arena, CellValue, n.arg_count + 1);
  for (int k = 0; k < n.arg_count; k++) args[k] = r->map[n.args[k]];
  if (n.op == CELL_OP_SCAN) n.body = split_graph(r->s, n.body);
  return cell_rebuild(r->to, &n, args);
}

static void rebuild_outputs(Rebuild *r) {
  for (int i = 0; i < r->from->output_count; i++) {
    CellOutput o = r->from->outputs[i];
    const CellParam *p = split_owner(r, o.value);
    for (int k = 0; p && k < p->part_count; k++)
      cell_output(r->to, cell_arena_printf(r->to->arena, "%s#%d", o.name, k), r->parts[o.value][k]);
    if (!p) cell_output(r->to, o.name, r->map[o.value]);
  }
  for (int i = 0; i < r->from->minimize_count; i++) {
    CellMinimize e = r->from->minimize[i];
    e.loss = r->map[e.loss];
    CELL_PUSH(r->to->arena, r->to->minimize, r->to->minimize_count, r->to->minimize_capacity, e);
  }
}

static CellGraph *split_graph(const Splitter *s, const CellGraph *g) {
  int *owner = cell_malloc(((size_t)g->node_count + 1) * sizeof *owner);
  find_owners(s, g, owner);
  Rebuild r = {.s = s, .from = g, .to = cell_graph_like(g, g->name), .owner = owner};
  r.map = cell_malloc(((size_t)g->node_count + 1) * sizeof *r.map);
  r.parts = cell_malloc(((size_t)g->node_count + 1) * sizeof *r.parts);
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellParam *p = split_owner(&r, v);
    r.to->span = cell_node(g, v)->span;
    r.map[v] = CELL_NONE;
    if (p)
      rebuild_columns(&r, v, p);
    else
      r.map[v] = rebuild_other(&r, v);
  }
  rebuild_outputs(&r);
  r.to->wanted = g->wanted;
  r.to->wanted_count = g->wanted_count;
  free(owner);
  free(r.map);
  free(r.parts);
  return cell_rewrite(r.to, NULL, NULL); /* less the concats that nobody reads now */
}

bool cell_pass_parts(CellModule *m, CellDiag *diag) {
  (void)diag;
  Splitter s = {.m = m, .columns = CELL_NEW_ARRAY(m->arena, Columns, m->param_count + 1)};
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    Columns *columns = &s.columns[i];
    columns->whole = p->rank == 0 || p->part_count > 0;
    columns->width = p->rank ? p->shape[p->rank - 1] : 1;
    columns->cut = CELL_NEW_ARRAY(m->arena, bool, columns->width);
  }
  for (int i = 0; i < m->program_count; i++) note_uses(&s, m->programs[i]);
  bool any = false;
  for (int i = 0; i < m->param_count; i++) {
    if (m->params[i].part_count > 0) continue;
    fill_parts(m, &m->params[i], &s.columns[i]);
    any |= m->params[i].part_count > 0;
  }
  for (int i = 0; any && i < m->program_count; i++)
    m->programs[i] = split_graph(&s, m->programs[i]);
  return true;
}
