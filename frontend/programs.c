/* programs.c - the programs of a network: act, update, sync, inspect.
 *
 * A program is traced: the rule or policy asks for values of cells at stages, and what is asked for
 * is made. Stages of update:
 *
 *     scan over the context (params)  -> states -> t online  -> states -> t+1 online
 *     scan over the context (target)  -> states -> t target  -> states -> t+1 target
 *
 * The step at the last observation is straight code, because it is the rule's own pass at s_t. A
 * stage is made when it is first asked for. */
#include <string.h>

#include "frontend/value.h"

/* ---- e[a] ---- */

typedef struct {
  const CellGraph *from;
  bool *live;      /* read at all candidates, or not at candidates at all */
  CellValue *copy; /* from -> to */
  CellArena *arena;
} Sink;

/* marks what is read; the values that a choice picks from are not, on that account */
static void mark_live(const CellGraph *g, bool *live, CellValue root) {
  if (live[root]) return;
  live[root] = true;
  /* operands have smaller numbers: one sweep down */
  for (CellValue v = root; v >= 0; v--) {
    if (!live[v]) continue;
    const CellNode *n = cell_node(g, v);
    bool choice = n->op == CELL_OP_TAKE && n->dim == -1 && n->axis == CELL_AXIS_CANDIDATE;
    for (int i = choice ? 1 : 0; i < n->arg_count; i++) live[n->args[i]] = true;
  }
}

static CellValue sink_replace(CellGraph *to, const CellGraph *from, CellValue v,
                              const CellValue *args, void *context);

static bool over_candidates(const CellNode *n) {
  return n->axes & CELL_AXIS(CELL_AXIS_CANDIDATE);
}

/* whether a value is read at all candidates anyway, so that one is taken from them; codes of actions
 * are made again, they are cheaper than a choice */
static bool take_from_all(const Sink *s, CellValue v) {
  CellOp op = cell_node(s->from, v)->op;
  return s->live[v] && op != CELL_OP_AXIS_INDEX && op != CELL_OP_ONE_HOT && op != CELL_OP_SIGN_BITS;
}

/* the value of the new graph for an operand, at the action `index` */
static CellValue one_at_action(CellGraph *to, Sink *s, CellValue v, CellValue index,
                               const CellValue *memo) {
  const CellNode *n = cell_node(s->from, v);
  if (n->op == CELL_OP_AXIS_INDEX && over_candidates(n)) return index;
  if (!over_candidates(n) || take_from_all(s, v)) {
    CellValue all = cell_copy(to, s->from, v, s->copy, sink_replace, s);
    return over_candidates(cell_node(to, all)) ? cell_take_axis(to, all, CELL_AXIS_CANDIDATE, index)
                                               : all;
  }
  CellValue *args = CELL_NEW_ARRAY(s->arena, CellValue, n->arg_count + 1);
  for (int i = 0; i < n->arg_count; i++) args[i] = memo[n->args[i]];
  to->span = n->span;
  return cell_rebuild(to, n, args);
}

static CellValue sink_replace(CellGraph *to, const CellGraph *from, CellValue v,
                              const CellValue *args, void *context) {
  Sink *s = context;
  const CellNode *n = cell_node(from, v);
  if (n->op != CELL_OP_TAKE || n->dim != -1 || n->axis != CELL_AXIS_CANDIDATE) return CELL_NONE;
  /* what has to be made again, from the source down; then made, operands first */
  CellValue source = n->args[0];
  bool *again = CELL_NEW_ARRAY(s->arena, bool, source + 1);
  CellValue *memo = CELL_NEW_ARRAY(s->arena, CellValue, source + 1);
  again[source] = true;
  for (CellValue u = source; u >= 0; u--) {
    const CellNode *m = cell_node(from, u);
    if (!again[u] || !over_candidates(m) || take_from_all(s, u)) continue;
    for (int i = 0; i < m->arg_count; i++) again[m->args[i]] = true;
  }
  for (CellValue u = 0; u <= source; u++)
    if (again[u]) memo[u] = one_at_action(to, s, u, args[1], memo);
  return memo[source];
}

CellGraph *cell_sink_choices(const CellGraph *g, int root_count, const CellValue *roots) {
  Sink s = {.from = g, .arena = g->arena};
  s.live = CELL_NEW_ARRAY(g->arena, bool, g->node_count + 1);
  s.copy = CELL_NEW_ARRAY(g->arena, CellValue, g->node_count + 1);
  for (int i = 0; i < g->node_count; i++) s.copy[i] = CELL_NONE;
  for (int i = 0; i < root_count; i++) mark_live(g, s.live, roots[i]);
  return cell_rewrite(cell_rewrite(g, sink_replace, &s), NULL, NULL);
}

/* ---- stages ---- */

static CellValue data_input(CellTrace *t, const char *name, CellDtype dtype) {
  return cell_input(t->g, name, dtype, 0, NULL, CELL_AXIS(CELL_AXIS_BATCH));
}

static CellValue obs_input(CellElab *elab, CellGraph *g, const char *name, uint32_t axes) {
  const CellShapes *s = elab->shapes;
  return cell_input(g, name, s->obs_bits ? CELL_BITS : CELL_F, s->obs_rank, s->obs_shape, axes);
}

static CellDatum zero_state(CellElab *elab, CellGraph *g, int carry) {
  const CellCarried *s = &elab->carries[carry];
  return cell_tensor(cell_broadcast(g, cell_const(g, 0), s->rank, s->shape, NULL));
}

static CellDatum *new_states(CellElab *elab) {
  return CELL_NEW_ARRAY(elab->arena, CellDatum, elab->carry_count + 1);
}

/* the states behind the context: a scan from zero over its observations */
static CellDatum *context_states(CellElab *elab, CellGraph *g, const char *parameters) {
  CellDatum *states = new_states(elab);
  int count = elab->carry_count;
  if (count == 0) return states;
  if (elab->context == 0) {
    for (int i = 0; i < count; i++) states[i] = zero_state(elab, g, i);
    return states;
  }
  CellValue past =
      obs_input(elab, g, "context", CELL_AXIS(CELL_AXIS_TIME) | CELL_AXIS(CELL_AXIS_BATCH));
  CellGraph *body = cell_graph_like(g, "context");
  CellValue obs = obs_input(elab, body, "step0", CELL_AXIS(CELL_AXIS_BATCH));
  CellStage *stage = cell_stage_create(elab, body, parameters, obs);
  stage->states = new_states(elab);
  CellValue *starts = CELL_NEW_ARRAY(elab->arena, CellValue, count);
  for (int i = 0; i < count; i++) {
    const CellCarried *s = &elab->carries[i];
    const char *name = cell_arena_printf(elab->arena, "carry%d", i);
    stage->states[i] =
        cell_tensor(cell_input(body, name, CELL_F, s->rank, s->shape, CELL_AXIS(CELL_AXIS_BATCH)));
    starts[i] = zero_state(elab, g, i).tensor;
  }
  for (int i = 0; i < count; i++) {
    CellDatum next = cell_next_state(stage, i);
    if (next.kind != CELL_IS_TENSOR) return NULL;
    cell_output(body, cell_arena_printf(elab->arena, "carry%d", i), next.tensor);
  }
  body = cell_rewrite(body, NULL, NULL);
  CellValue scan = cell_scan(g, CELL_AXIS_TIME, body, count, starts, 1, &past);
  for (int i = 0; i < count; i++) states[i] = cell_tensor(cell_result(g, scan, i));
  return states;
}

CellStage *cell_trace_stage(CellTrace *t, int time, bool target) {
  if (t->stages[time][target]) return t->stages[time][target];
  CellElab *elab = t->elab;
  const char *parameters = target ? "target" : "params";
  CellValue obs = obs_input(elab, t->g, time ? "next_obs" : "obs", CELL_AXIS(CELL_AXIS_BATCH));
  CellStage *stage = cell_stage_create(elab, t->g, parameters, obs);
  stage->stops = time == 0 && !target && t->taken != CELL_NONE;
  if (time == 0) {
    stage->states = context_states(elab, t->g, parameters);
  } else {
    CellStage *before = cell_trace_stage(t, time - 1, target);
    stage->states = new_states(elab);
    for (int i = 0; i < elab->carry_count; i++) stage->states[i] = cell_next_state(before, i);
  }
  return t->stages[time][target] = stage;
}

static CellTrace *new_trace(CellElab *elab, const char *name, int32_t batch) {
  CellTrace *t = CELL_NEW(elab->arena, CellTrace);
  t->elab = elab;
  t->g = cell_graph_create(elab->arena, name);
  t->g->axes[CELL_AXIS_TIME].extent = elab->context > 0 ? elab->context : 1;
  t->g->axes[CELL_AXIS_BATCH].extent = batch;
  t->g->axes[CELL_AXIS_CANDIDATE].extent = elab->shapes->actions;
  t->taken = t->reward = t->terminated = t->action = t->q = CELL_NONE;
  t->loop_cell = -1;
  int groups = elab->cell_count + elab->block_count;
  t->losses = cell_arena_alloc(elab->arena, (size_t)(groups + 1) * sizeof *t->losses);
  for (int i = 0; i < groups; i++) t->losses[i].loss = CELL_NONE;
  return t;
}

static void add_program(CellModule *m, CellGraph *g) {
  g->span = CELL_NOWHERE;
  CELL_PUSH(m->arena, m->programs, m->program_count, m->program_capacity, g);
}

static void output(CellTrace *t, const char *format, const char *name, CellValue v) {
  CellArena *arena = t->elab->arena;
  if (v != CELL_NONE) cell_output(t->g, cell_arena_printf(arena, format, name), v);
}

/* what a part of a cell is worth at a stage, or CELL_NONE */
static CellValue part(CellTrace *t, CellStage *stage, int cell, const char *name) {
  CellContext c = cell_home_context(t->elab, CELL_IN_SETTING);
  c.stage = stage;
  CellDatum d = cell_value_of(&c, stage, cell, name, t->elab->cells[cell].span);
  return cell_want_tensor(&c, d, t->elab->cells[cell].span, &d) ? d.tensor : CELL_NONE;
}

/* ---- act ---- */

/* The value for every environment, where it is the same for all: v + 0 i, with i their number. An
 * index becomes one of the `n` it counts again. */
static CellValue over_batch(CellGraph *g, CellValue v, int32_t n) {
  if (v == CELL_NONE || cell_node(g, v)->axes & CELL_AXIS(CELL_AXIS_BATCH)) return v;
  CellValue i = cell_op1(g, CELL_OP_FLOAT, cell_axis_index(g, CELL_AXIS_BATCH));
  CellValue zero = cell_op2(g, CELL_OP_MUL, i, cell_const(g, 0));
  if (cell_node(g, v)->dtype != CELL_I) return cell_op2(g, CELL_OP_ADD, v, zero);
  CellValue chosen = cell_op2(g, CELL_OP_ADD, cell_one_hot(g, v, n), zero);
  return cell_reduce(g, CELL_ARGMAX, chosen, 1, 0);
}

static bool build_act(CellElab *elab, int32_t batch) {
  CellTrace *t = new_trace(elab, "act", batch);
  CellGraph *g = t->g;
  CellStage *stage =
      cell_stage_create(elab, g, "params", obs_input(elab, g, "obs", CELL_AXIS(CELL_AXIS_BATCH)));
  stage->states = new_states(elab);
  for (int i = 0; i < elab->carry_count; i++) {
    const CellCarried *s = &elab->carries[i];
    const char *name = cell_arena_printf(elab->arena, "state/%s", s->name);
    stage->states[i] =
        cell_tensor(cell_input(g, name, CELL_F, s->rank, s->shape, CELL_AXIS(CELL_AXIS_BATCH)));
  }
  t->stages[0][0] = stage;
  if (!cell_run_policy(t)) return false;
  int32_t actions = elab->shapes->actions;
  output(t, "%s", "q", over_batch(g, t->q, actions));
  output(t, "%s", "action", over_batch(g, t->action, actions));
  for (int i = 0; i < elab->carry_count; i++) {
    CellDatum next = cell_next_state(stage, i);
    if (next.kind != CELL_IS_TENSOR) return false;
    output(t, "state/%s", elab->carries[i].name, over_batch(g, next.tensor, actions));
  }
  for (int i = 0; i < elab->cell_count; i++)
    if (elab->cells[i].kind != CELL_NO_GOODNESS)
      output(t, "%s/q", elab->cells[i].name, over_batch(g, part(t, stage, i, "goodness"), actions));
  CellValue *roots = CELL_NEW_ARRAY(elab->arena, CellValue, g->output_count + 1);
  for (int i = 0; i < g->output_count; i++) roots[i] = g->outputs[i].value;
  add_program(elab->module, cell_sink_choices(g, g->output_count, roots));
  return true;
}

/* ---- update and inspect ---- */

/* the mean over the batch of every entry, for the metrics */
static CellValue batch_mean(CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  uint32_t axes = n->axes;
  double count = (double)(cell_count(g, v) * cell_extent(g, axes));
  uint8_t dims = (uint8_t)((1u << n->rank) - 1);
  if (n->dtype == CELL_I) v = cell_op1(g, CELL_OP_FLOAT, v);
  if (axes || dims) v = cell_reduce(g, CELL_SUM, v, dims, axes);
  return cell_op2(g, CELL_OP_MUL, v, cell_const(g, 1 / count));
}

/* whether the gradient of `loss` reaches any parameter of this cell */
static bool reaches(const CellElab *elab, const CellGraph *g, CellValue loss, int cell) {
  bool *seen = CELL_NEW_ARRAY(elab->arena, bool, g->node_count + 1);
  const char *prefix = cell_arena_printf(elab->arena, "params/%s/", elab->cells[cell].name);
  seen[loss] = true;
  for (CellValue v = loss; v >= 0; v--) {
    const CellNode *n = cell_node(g, v);
    if (!seen[v] || n->op == CELL_OP_STOP_GRADIENT || n->op == CELL_OP_RESULT) continue;
    if (n->op == CELL_OP_INPUT && strncmp(n->name, prefix, strlen(prefix)) == 0) return true;
    for (int i = 0; i < n->arg_count; i++) seen[n->args[i]] = true;
  }
  return false;
}

static bool has_parameters(const CellElab *elab, int cell) {
  const char *prefix = cell_arena_printf(elab->arena, "%s/", elab->cells[cell].name);
  for (int i = 0; i < elab->module->param_count; i++)
    if (strncmp(elab->module->params[i].name, prefix, strlen(prefix)) == 0) return true;
  return false;
}

/* one minimize entry a group; cells of a block add up */
static bool add_minimize(CellTrace *t) {
  CellElab *elab = t->elab;
  CellGraph *g = t->g;
  int groups = elab->cell_count + elab->block_count;
  CellMinimize *entries = CELL_NEW_ARRAY(elab->arena, CellMinimize, groups + 1);
  int count = 0;
  for (int i = 0; i < groups; i++) {
    if (t->losses[i].loss == CELL_NONE) continue;
    const char *group =
        i < elab->cell_count ? cell_group(elab, i) : elab->blocks[i - elab->cell_count].name;
    int at = 0;
    while (at < count && strcmp(entries[at].group, group) != 0) at++;
    if (at < count) {
      entries[at].loss = cell_op2(g, CELL_OP_ADD, entries[at].loss, t->losses[i].loss);
      continue;
    }
    CellMinimize m = {.loss = t->losses[i].loss, .group = group, .span = t->losses[i].span};
    m.optimizer = t->losses[i].has_optimizer ? t->losses[i].optimizer : elab->spec->train.optimizer;
    entries[count++] = m;
  }
  bool ok = true;
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  for (int i = 0; i < elab->cell_count; i++) {
    if (!has_parameters(elab, i)) continue;
    const CellPlaced *p = &elab->cells[i];
    bool reached = false;
    for (int k = 0; k < count; k++)
      if (strcmp(entries[k].group, cell_group(elab, i)) == 0)
        reached = reached || reaches(elab, g, entries[k].loss, i);
    if (reached) continue;
    CellRecord *r =
        cell_complain(&c, "E0406", p->span, "%s has parameters that nothing trains", p->name);
    cell_help(elab->diag, r,
              p->goodness < 0 && p->block < 0
                  ? "give the cell a goodness, or put it into an end_to_end block "
                    "with the cells that read it"
                  : "no loss of its group depends on them");
    ok = false;
  }
  for (int i = 0; i < count; i++)
    CELL_PUSH(g->arena, g->minimize, g->minimize_count, g->minimize_capacity, entries[i]);
  return ok;
}

static const char **update_wanted(CellElab *elab, const CellGraph *g, int *count) {
  static const char *const always[] = {"params/",  "target/", "moment1/",
                                       "moment2/", "step",    "metric/"};
  int capacity = 0;
  const char **names = NULL;
  *count = 0;
  for (int i = 0; i < 6; i++) CELL_PUSH(elab->arena, names, *count, capacity, always[i]);
  for (int i = 0; i < g->minimize_count; i++) {
    const char *norm = cell_arena_printf(elab->arena, "%s/grad_norm", g->minimize[i].group);
    CELL_PUSH(elab->arena, names, *count, capacity, norm);
  }
  return names;
}

static CellTrace *trace_update(CellElab *elab, const char *name) {
  CellTrace *t = new_trace(elab, name, elab->spec->train.batch);
  t->taken = data_input(t, "action", CELL_I);
  t->reward = data_input(t, "reward", CELL_F);
  t->terminated = data_input(t, "terminated", CELL_F);
  return cell_run_rule(t) && add_minimize(t) ? t : NULL;
}

/* what decides whether a value is read at all candidates: losses and records, in both programs */
static CellValue *rule_roots(CellTrace *t, int *count) {
  CellElab *elab = t->elab;
  int groups = elab->cell_count + elab->block_count;
  CellValue *roots =
      CELL_NEW_ARRAY(elab->arena, CellValue, groups + t->record_count + t->g->minimize_count + 1);
  *count = 0;
  for (int i = 0; i < groups; i++)
    if (t->losses[i].loss != CELL_NONE) roots[(*count)++] = t->losses[i].loss;
  for (int i = 0; i < t->g->minimize_count; i++) roots[(*count)++] = t->g->minimize[i].loss;
  for (int i = 0; i < t->record_count; i++) roots[(*count)++] = t->records[i].value;
  return roots;
}

static void output_losses(CellTrace *t, const char *format) {
  CellElab *elab = t->elab;
  for (int i = 0; i < elab->cell_count; i++)
    output(t, format, elab->cells[i].name, t->losses[i].loss);
  for (int i = 0; i < elab->block_count; i++)
    output(t, format, elab->blocks[i].name, t->losses[elab->cell_count + i].loss);
}

static bool build_update(CellElab *elab) {
  CellTrace *t = trace_update(elab, "update");
  if (!t) return false;
  output_losses(t, "metric/%s/loss");
  for (int i = 0; i < t->record_count; i++)
    output(t, "metric/%s", t->records[i].name, batch_mean(t->g, t->records[i].value));
  int count;
  CellValue *roots = rule_roots(t, &count);
  CellGraph *g = cell_sink_choices(t->g, count, roots);
  g->wanted = update_wanted(elab, g, &g->wanted_count);
  add_program(elab->module, g);
  return true;
}

/* whether an output of this name was asked for; a name that ends in '/' asks for all below it */
static bool wants(const CellBuildOptions *options, const char *name) {
  for (int i = 0; i < options->inspect_count; i++) {
    const char *w = options->inspect[i];
    size_t length = strlen(w);
    if (strcmp(w, name) == 0) return true;
    if (length > 0 && w[length - 1] == '/' && strncmp(w, name, length) == 0) return true;
  }
  return false;
}

static const char *const state_names[] = {"state_before", "state_now", "target_state_now"};

/* states of cells that no prev reads are carried in this program alone, where they are asked for */
static void carry_asked(CellElab *elab, const CellBuildOptions *options) {
  for (int i = 0; i < elab->cell_count; i++) {
    const CellPlaced *p = &elab->cells[i];
    bool asked = false;
    for (int k = 0; k < 3; k++)
      asked =
          asked || wants(options, cell_arena_printf(elab->arena, "%s/%s", p->name, state_names[k]));
    if (!asked || p->output < 0) continue;
    CellStage *stage =
        cell_stage_create(elab, cell_graph_create(elab->arena, "shape"), "params", CELL_NONE);
    stage->g->axes[CELL_AXIS_CANDIDATE].extent = elab->shapes->actions;
    stage->obs = obs_input(elab, stage->g, "obs", CELL_AXIS(CELL_AXIS_BATCH));
    CellContext c = cell_home_context(elab, CELL_IN_SETTING);
    c.stage = stage;
    CellDatum d = cell_value_of(&c, stage, i, NULL, p->span);
    if (!cell_want_tensor(&c, d, p->span, &d) || d.kind != CELL_IS_TENSOR) continue;
    const CellNode *n = cell_node(stage->g, d.tensor);
    if (n->axes & CELL_AXIS(CELL_AXIS_CANDIDATE)) continue;
    int carry = cell_add_carry(elab, i, NULL, 1, p->span); /* moves the table */
    CellCarried *s = &elab->carries[carry];
    if (s->known) continue;
    s->known = s->asked = true;
    s->rank = n->rank;
    memcpy(s->shape, n->shape, sizeof s->shape);
  }
}

static bool inspect_states(CellTrace *t, const CellBuildOptions *options) {
  CellElab *elab = t->elab;
  for (int i = 0; i < elab->carry_count; i++) {
    const char *name = elab->carries[i].name;
    for (int k = 0; k < 3; k++) {
      const char *wanted = cell_arena_printf(elab->arena, "%s/%s", name, state_names[k]);
      if (!wants(options, wanted)) continue;
      CellStage *stage = cell_trace_stage(t, 0, k == 2);
      CellDatum d = k == 0 ? stage->states[i] : cell_next_state(stage, i);
      if (d.kind != CELL_IS_TENSOR) return false;
      cell_output(t->g, wanted, d.tensor);
    }
  }
  return true;
}

static bool build_inspect(CellElab *elab, const CellBuildOptions *options) {
  int carries = elab->carry_count;
  int32_t context = elab->context;
  carry_asked(elab, options);
  if (elab->carry_count > 0) elab->context = elab->spec->train.context;
  CellTrace *t = trace_update(elab, "inspect");
  if (!t) return false;
  int count;
  CellValue *roots = rule_roots(t, &count);
  output_losses(t, "%s/loss");
  for (int i = 0; i < t->record_count; i++)
    output(t, "%s", t->records[i].name, t->records[i].value);
  for (int i = 0; i < elab->cell_count; i++) {
    const char *name = elab->cells[i].name;
    const struct {
      const char *format, *part;
      int time;
      bool target, there;
    } rows[] = {{"%s/hidden", NULL, 0, false, elab->cells[i].output >= 0},
                {"%s/q", "goodness", 0, false, elab->cells[i].kind != CELL_NO_GOODNESS},
                {"%s/next_q", "goodness", 1, false, elab->cells[i].kind != CELL_NO_GOODNESS},
                {"%s/target_next_q", "goodness", 1, true, elab->cells[i].kind != CELL_NO_GOODNESS}};
    for (int k = 0; k < 4; k++) {
      if (!rows[k].there || !wants(options, cell_arena_printf(elab->arena, rows[k].format, name)))
        continue;
      CellStage *stage = cell_trace_stage(t, rows[k].time, rows[k].target);
      output(t, rows[k].format, name, part(t, stage, i, rows[k].part));
    }
  }
  if (!inspect_states(t, options)) return false;
  CellGraph *g = cell_sink_choices(t->g, count, roots);
  g->wanted = options->inspect;
  g->wanted_count = options->inspect_count;
  add_program(elab->module, g);
  elab->carry_count = carries;
  elab->context = context;
  return true;
}

/* ---- sync ---- */

/* target <- tau params + (1 - tau) target */
static void build_sync(CellElab *elab) {
  CellModule *m = elab->module;
  CellGraph *g = cell_graph_create(elab->arena, "sync");
  double tau = elab->spec->train.target_tau;
  for (int i = 0; i < m->param_count; i++) {
    const CellParam *p = &m->params[i];
    const char *target = cell_arena_printf(elab->arena, "target/%s", p->name);
    g->span = p->span;
    CellValue v = cell_input(g, cell_arena_printf(elab->arena, "params/%s", p->name), CELL_F,
                             p->rank, p->shape, 0);
    if (tau != 1) {
      CellValue old = cell_input(g, target, CELL_F, p->rank, p->shape, 0);
      v = cell_op2(g, CELL_OP_ADD, cell_op2(g, CELL_OP_MUL, v, cell_const(g, tau)),
                   cell_op2(g, CELL_OP_MUL, old, cell_const(g, 1 - tau)));
    }
    cell_output(g, target, v);
  }
  add_program(m, g);
}

/* ---- a build ---- */

static void take_results(CellElab *elab) {
  CellSpec *spec = elab->spec;
  spec->carries = CELL_NEW_ARRAY(elab->arena, CellCarry, elab->carry_count + 1);
  spec->carry_count = elab->carry_count;
  for (int i = 0; i < elab->carry_count; i++) {
    const CellCarried *s = &elab->carries[i];
    CellCarry *to = &spec->carries[i];
    to->name = s->name;
    to->cell = s->cell < 0 ? "" : elab->cells[s->cell].name;
    to->rank = (int8_t)s->rank;
    memcpy(to->shape, s->shape, sizeof to->shape);
  }
  spec->cells = CELL_NEW_ARRAY(elab->arena, const char *, elab->cell_count + 1);
  spec->cell_count = 0;
  for (int i = 0; i < elab->cell_count; i++)
    if (elab->cells[i].kind != CELL_NO_GOODNESS)
      spec->cells[spec->cell_count++] = elab->cells[i].name;
}

/* what a value of one sample may have, so that with all axes it stays far below what an index can
 * count; false where not even the observations fit */
static bool find_largest(CellElab *elab, int32_t act_batch) {
  const CellTrain *train = &elab->spec->train;
  int32_t batch = train->batch > act_batch ? train->batch : act_batch;
  /* nothing varies over the actions and the context at once */
  int64_t times =
      train->context >= elab->shapes->actions ? train->context + 1 : elab->shapes->actions;
  elab->largest = CELL_MAX_ALL / (batch * times);
  if (elab->largest > CELL_MAX_SAMPLE) elab->largest = CELL_MAX_SAMPLE;
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  CellSpan span = elab->spec->train_item ? elab->spec->train_item->word : CELL_NOWHERE;
  return cell_size_ok(&c, span, elab->shapes->obs_rank, elab->shapes->obs_shape) &&
         cell_size_ok(&c, span, 1, &elab->shapes->actions);
}

/* the action's code: train.action, else the environment's, else one-hot */
static bool action_code(CellElab *elab) {
  CellShapes *shapes = CELL_NEW(elab->arena, CellShapes);
  *shapes = *elab->shapes;
  CellActionCode wanted = elab->spec->train.action;
  if (wanted != CELL_ACTION_AUTO) shapes->code = wanted;
  if (shapes->code == CELL_ACTION_AUTO) shapes->code = CELL_ACTION_ONEHOT;
  elab->shapes = shapes;
  bool power = shapes->actions > 0 && (shapes->actions & (shapes->actions - 1)) == 0;
  if (shapes->code != CELL_ACTION_BITS || power) return true;
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  cell_complain(&c, "E0602", CELL_NOWHERE,
                "action bits want a power of two, and there are %d "
                "actions",
                (int)shapes->actions);
  return false;
}

CellModule *cell_spec_build(CellSpec *spec, const CellShapes *shapes,
                            const CellBuildOptions *options, CellDiag *diag) {
  int errors = diag->error_count;
  CellElab *elab = CELL_NEW(spec->arena, CellElab);
  spec->diag = diag;
  *elab = (CellElab){.spec = spec, .arena = spec->arena, .diag = diag, .shapes = shapes};
  elab->module = CELL_NEW(spec->arena, CellModule);
  elab->module->arena = spec->arena;
  elab->module->name = spec->name;
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  if (!spec->stack) {
    CellSpan start = {spec->file->source, 0, 0};
    CellRecord *r = cell_complain(&c, "E0209", start, "the file has no stack");
    cell_help(diag, r, "a stack places cells: `stack { l1 = Cell(8) { below: obs } }`");
    return NULL;
  }
  if (!action_code(elab)) return NULL;
  if (elab->shapes->code == CELL_ACTION_REAL) {
    cell_not_supported(&c, "E0909", CELL_NOWHERE, "continuous actions");
    return NULL;
  }
  if (!find_largest(elab, options->act_batch)) return NULL;
  bool ok = cell_place_stack(elab);
  cell_check_overrides(elab);
  ok = cell_check_rules(elab) && ok;
  ok = (elab->cell_count == 0 || cell_check_network(elab)) && ok;
  if (ok) {
    elab->context = elab->carry_count > 0 ? spec->train.context : 0;
    take_results(elab);
    if (options->act_batch > 0) ok = build_act(elab, options->act_batch);
    if (options->update) ok = build_update(elab) && ok;
    if (options->sync && ok) build_sync(elab);
    if (options->inspect && ok) ok = build_inspect(elab, options);
  }
  return ok && diag->error_count == errors ? elab->module : NULL;
}
