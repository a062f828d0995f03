/* gradient.c - reverse mode, and the pass that turns "minimize" into an update.
 *
 * cell_gradient walks the nodes between the loss and the parameters from the last to the first and
 * builds the derivative of each (ops_vjp.c). It stops at stop_gradient and never enters a scan.
 *
 * The pass, for each entry `minimize L over "G"` of each program:
 *
 *     d[p]  = dL / d(params/p) for every parameter p of the group G   output "grad/p"
 *     norm  = sqrt(sum of squares of all d)                           "G/grad_norm",
 * "metric/G/grad_norm" d     = d * clip / max(norm, clip)                              if there is
 * a clip t     = step + 1                                                "step" counts updates done
 *
 *     adam:    m = b1 m + (1 - b1) d,  v = b2 v + (1 - b2) d^2
 *              p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *     rmsprop: v = decay v + (1 - decay) d^2,  p = p - lr d / (sqrt(v) + eps)     (not centred)
 *     sgd:     m = b1 m + d,  p = p - lr m                            (no m where b1 = 0)
 *
 * with m = "moment1/p", v = "moment2/p": inputs (the values before) and outputs (those after), like
 * "params/p" and "step". All derivatives read the parameters as they stood before. A parameter of
 * the group that L does not reach has derivative 0; a group with none that is reached is an error.
 * The pass then writes the locality certificates and deletes the minimize list and all
 * stop_gradient marks. Optional: no. Keeps every other output as it is. */
#include "ir/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* ---- reverse mode ---- */

static bool differentiable(const CellNode *n) {
  return n->op != CELL_OP_STOP_GRADIENT && n->op != CELL_OP_SCAN && n->op != CELL_OP_RESULT &&
         n->dtype == CELL_F;
}

void cell_gradient(CellGraph *g, CellValue loss, int count, const CellValue *wrt,
                   CellValue *grads) {
  CELL_ASSERT(cell_node(g, loss)->rank == 0 && cell_node(g, loss)->axes == 0);
  int n = loss + 1;
  bool *needed = cell_malloc((size_t)n * sizeof *needed);
  CellValue *adjoint = cell_malloc((size_t)n * sizeof *adjoint);
  for (int i = 0; i < n; i++) adjoint[i] = CELL_NONE;
  for (int i = 0; i < count; i++)
    if (wrt[i] < n) needed[wrt[i]] = true;
  for (CellValue v = 0; v < n; v++) {
    const CellNode *node = cell_node(g, v);
    if (!differentiable(node)) continue;
    for (int k = 0; k < node->arg_count; k++) needed[v] |= needed[node->args[k]];
  }

  CellSpan span = g->span;
  if (needed[loss]) adjoint[loss] = cell_const(g, 1);
  for (CellValue v = loss; v >= 0; v--) {
    CellNode node = *cell_node(g, v);
    if (adjoint[v] == CELL_NONE || node.arg_count == 0) continue;
    bool *needs = cell_malloc((size_t)node.arg_count * sizeof *needs);
    CellValue *out = cell_malloc((size_t)node.arg_count * sizeof *out);
    for (int k = 0; k < node.arg_count; k++) needs[k] = needed[node.args[k]];
    cell_vjp(g, v, adjoint[v], needs, out);
    for (int k = 0; k < node.arg_count; k++) {
      CellValue *sum = &adjoint[node.args[k]];
      if (out[k] == CELL_NONE) continue;
      *sum = *sum == CELL_NONE ? out[k] : cell_op2(g, CELL_OP_ADD, *sum, out[k]);
    }
    free(needs);
    free(out);
  }

  g->span = span;
  for (int i = 0; i < count; i++) {
    grads[i] = wrt[i] < n ? adjoint[wrt[i]] : CELL_NONE;
    if (grads[i] == CELL_NONE) continue;
    CellNode like = *cell_node(g, wrt[i]);
    grads[i] = cell_full(g, grads[i], like.rank, like.shape);
  }
  free(needed);
  free(adjoint);
}

/* ---- one group's update ---- */

typedef struct {
  CellArena *arena;
  CellGraph *g;
  const CellOptimizer *optimizer;
  CellValue t, c1, c2; /* adam: updates after this one, lr / (1 - b1^t), 1 / (1 - b2^t) */
} Update;

static CellValue number(Update *u, double x) {
  return cell_const(u->g, x);
}

static CellValue mul(Update *u, CellValue a, CellValue b) {
  return cell_op2(u->g, CELL_OP_MUL, a, b);
}

static CellValue add(Update *u, CellValue a, CellValue b) {
  return cell_op2(u->g, CELL_OP_ADD, a, b);
}

/* 1 - base^t */
static CellValue bias(Update *u, double base) {
  CellValue power = cell_op2(u->g, CELL_OP_POW, number(u, base), u->t);
  return cell_op2(u->g, CELL_OP_SUB, number(u, 1), power);
}

/* the state "KIND/NAME" beside the parameter */
static CellValue state(Update *u, const char *kind, const char *name, CellValue param) {
  CellNode p = *cell_node(u->g, param);
  const char *full = cell_arena_printf(u->arena, "%s/%s", kind, name);
  return cell_input(u->g, full, CELL_F, p.rank, p.shape, p.axes);
}

static void next(Update *u, const char *kind, const char *name, CellValue v) {
  cell_output(u->g, cell_arena_printf(u->arena, "%s/%s", kind, name), v);
}

/* keep old + (1 - keep) x */
static CellValue average(Update *u, double keep, CellValue old, CellValue x) {
  return add(u, mul(u, number(u, keep), old), mul(u, number(u, 1 - keep), x));
}

static void update_parameter(Update *u, const char *name, CellValue param, CellValue d) {
  const CellOptimizer *o = u->optimizer;
  CellGraph *g = u->g;
  CellValue change = d, root, m, v;
  switch (o->kind) {
  case CELL_ADAM:
    m = average(u, o->b1, state(u, "moment1", name, param), d);
    v = average(u, o->b2, state(u, "moment2", name, param), mul(u, d, d));
    root = cell_op1(g, CELL_OP_SQRT, mul(u, v, u->c2));
    change = cell_op2(g, CELL_OP_DIV, mul(u, m, u->c1), add(u, root, number(u, o->eps)));
    next(u, "moment1", name, m);
    next(u, "moment2", name, v);
    break;
  case CELL_RMSPROP:
    v = average(u, o->decay, state(u, "moment2", name, param), mul(u, d, d));
    root = add(u, cell_op1(g, CELL_OP_SQRT, v), number(u, o->eps));
    change = cell_op2(g, CELL_OP_DIV, mul(u, number(u, o->lr), d), root);
    next(u, "moment2", name, v);
    break;
  case CELL_SGD:
    if (o->b1 != 0) {
      change = add(u, mul(u, number(u, o->b1), state(u, "moment1", name, param)), d);
      next(u, "moment1", name, change);
    }
    change = mul(u, number(u, o->lr), change);
    break;
  }
  next(u, "params", name, cell_op2(g, CELL_OP_SUB, param, change));
}

/* ---- the group's parameters ---- */

typedef struct {
  const char **names; /* without "params/"; "NAME#p" where the parameter is in parts */
  CellValue *values, *grads;
  int count, capacity;
} Group;

static void add_member(CellGraph *g, Group *group, const char *name, int rank,
                       const int32_t *shape) {
  int capacity = group->capacity;
  group->names = cell_arena_grow(g->arena, group->names, group->count, &capacity, sizeof(char *));
  group->values =
      cell_arena_grow(g->arena, group->values, group->count, &group->capacity, sizeof(CellValue));
  const char *full = cell_arena_printf(g->arena, "params/%s", name);
  group->names[group->count] = name;
  group->values[group->count++] = cell_input(g, full, CELL_F, rank, shape, 0);
}

static Group group_members(const CellModule *m, CellGraph *g, const char *group) {
  Group members = {0};
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    if (strcmp(p->group, group) != 0) continue;
    if (p->part_count == 0) add_member(g, &members, p->name, p->rank, p->shape);
    for (int k = 0; k < p->part_count; k++) {
      int32_t shape[CELL_MAX_RANK];
      cell_part_shape(p, k, shape);
      add_member(g, &members, cell_arena_printf(g->arena, "%s#%d", p->name, k), p->rank, shape);
    }
  }
  members.grads = CELL_NEW_ARRAY(g->arena, CellValue, members.count + 1);
  return members;
}

/* sqrt of the sum of the squares of all entries */
static CellValue global_norm(CellGraph *g, const Group *group) {
  CellValue sum = CELL_NONE;
  for (int i = 0; i < group->count; i++) {
    CellNode d = *cell_node(g, group->grads[i]);
    uint8_t dims = (uint8_t)((1u << d.rank) - 1);
    CellValue squares =
        cell_sum_product(g, group->grads[i], group->grads[i], d.rank, d.shape, dims, d.axes);
    sum = sum == CELL_NONE ? squares : cell_op2(g, CELL_OP_ADD, sum, squares);
  }
  return cell_op1(g, CELL_OP_SQRT, sum);
}

static bool update_group(CellModule *m, CellGraph *g, const CellMinimize *e, CellDiag *diag) {
  Group group = group_members(m, g, e->group);
  cell_gradient(g, e->loss, group.count, group.values, group.grads);
  g->span = e->span;
  int reached = 0;
  for (int i = 0; i < group.count; i++) reached += group.grads[i] != CELL_NONE;
  if (reached == 0) {
    CellRecord *r =
        cell_error(diag, "E0702", e->span,
                   "`%s` would never learn: the loss reaches none of its parameters", e->group);
    cell_help(diag, r, "a gradient stops at ports, `prev`, `next`, `target` and `stop_gradient`");
    return false;
  }

  Update u = {.arena = m->arena, .g = g, .optimizer = &e->optimizer};
  for (int i = 0; i < group.count; i++) {
    CellNode p = *cell_node(g, group.values[i]);
    if (group.grads[i] == CELL_NONE) group.grads[i] = cell_full(g, number(&u, 0), p.rank, p.shape);
    next(&u, "grad", group.names[i], group.grads[i]);
  }
  CellValue norm = global_norm(g, &group);
  cell_output(g, cell_arena_printf(m->arena, "%s/grad_norm", e->group), norm);
  cell_output(g, cell_arena_printf(m->arena, "metric/%s/grad_norm", e->group), norm);
  CellValue scale = CELL_NONE;
  if (e->optimizer.clip > 0) {
    CellValue clip = number(&u, e->optimizer.clip);
    scale = cell_op2(g, CELL_OP_DIV, clip, cell_op2(g, CELL_OP_MAX, norm, clip));
  }

  u.t = add(&u, cell_input(g, "step", CELL_F, 0, NULL, 0), number(&u, 1));
  if (cell_find_output(g, "step") == CELL_NONE) cell_output(g, "step", u.t);
  if (e->optimizer.kind == CELL_ADAM) {
    u.c1 = cell_op2(g, CELL_OP_DIV, number(&u, e->optimizer.lr), bias(&u, e->optimizer.b1));
    u.c2 = cell_op2(g, CELL_OP_DIV, number(&u, 1), bias(&u, e->optimizer.b2));
  }
  for (int i = 0; i < group.count; i++) {
    CellValue d = group.grads[i];
    if (scale != CELL_NONE) d = mul(&u, d, scale);
    update_parameter(&u, group.names[i], group.values[i], d);
  }
  return true;
}

/* ---- the pass ---- */

static CellValue drop_stop(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                           void *context) {
  (void)to, (void)context;
  return cell_node(from, v)->op == CELL_OP_STOP_GRADIENT ? args[0] : CELL_NONE;
}

/* any group is minimised once: two losses over the same parameters would be two updates */
static bool check_groups(const CellGraph *g, CellDiag *diag) {
  bool ok = true;
  for (int i = 0; i < g->minimize_count; i++)
    for (int k = 0; k < i; k++) {
      if (strcmp(g->minimize[i].group, g->minimize[k].group) != 0) continue;
      CellRecord *r = cell_error(diag, "E0701", g->minimize[i].span,
                                 "a second `minimize` over `%s`", g->minimize[i].group);
      cell_relate(diag, r, g->minimize[k].span, "the first");
      cell_help(diag, r, "add the two losses, or put the cells into an `end_to_end` block");
      ok = false;
      break;
    }
  return ok;
}

bool cell_pass_gradient(CellModule *m, CellDiag *diag) {
  bool ok = true;
  for (int i = 0; i < m->program_count; i++) {
    CellGraph *g = m->programs[i];
    if (!check_groups(g, diag)) {
      ok = false;
      continue;
    }
    cell_certify(m, g);
    for (int k = 0; k < g->minimize_count; k++) {
      CellMinimize e = g->minimize[k];
      ok &= update_group(m, g, &e, diag);
    }
    g->minimize_count = 0;
  }
  if (ok) cell_rewrite_module(m, drop_stop, NULL);
  return ok;
}
