/* instance.c - a cell at a stage: its ports and statements, evaluated at first use; what prev reads
 * and what a step leaves behind; the check of the whole network. */
#include <string.h>

#include "frontend/value.h"

CellStage *cell_stage_create(CellElab *elab, CellGraph *g, const char *parameters, CellValue obs) {
  CellStage *stage = CELL_NEW(elab->arena, CellStage);
  *stage = (CellStage){.elab = elab, .g = g, .parameters = parameters, .obs = obs};
  stage->instances = CELL_NEW_ARRAY(elab->arena, CellInstance *, elab->cell_count + 1);
  return stage;
}

CellInstance *cell_instance(CellStage *stage, int cell) {
  if (stage->instances[cell]) return stage->instances[cell];
  CellArena *arena = stage->elab->arena;
  const CellItem *item = stage->elab->cells[cell].cell;
  CellInstance *in = CELL_NEW(arena, CellInstance);
  *in = (CellInstance){.stage = stage, .cell = cell};
  in->ports = CELL_NEW_ARRAY(arena, CellDatum, item->ports.count + 1);
  in->port_state = CELL_NEW_ARRAY(arena, uint8_t, item->ports.count + 1);
  in->values = CELL_NEW_ARRAY(arena, CellDatum, item->body.count + 1);
  in->value_state = CELL_NEW_ARRAY(arena, uint8_t, item->body.count + 1);
  return stage->instances[cell] = in;
}

enum { NOT_YET, OPEN, KNOWN };

CellDatum cell_port_value(CellInstance *in, int port, CellSpan use) {
  (void)use;
  CellElab *elab = in->stage->elab;
  const CellPlaced *p = &elab->cells[in->cell];
  if (!p->links[port]) return cell_datum(CELL_IS_ABSENT);
  if (in->port_state[port] == KNOWN) return in->ports[port];
  CELL_ASSERT(in->port_state[port] == NOT_YET); /* links lead down the stack only */
  in->port_state[port] = OPEN;
  CellContext c = {.elab = elab, .stage = in->stage, .where = CELL_IN_PORT, .cell = in->cell};
  CellDatum d = cell_evaluate(&c, p->links[port]);
  if (d.kind == CELL_IS_NONE || d.kind == CELL_IS_ABSENT) {
    const CellDecl *decl = &p->cell->ports.items[port];
    d = cell_datum(CELL_IS_ABSENT);
    if (!decl->optional) {
      cell_complain(&c, "E0402", p->links[port]->span, "the port `%s` of %s is not connected",
                    decl->name.text, p->name);
      d = CELL_FAILED;
    }
  } else if (d.kind != CELL_IS_ERROR && !cell_want_tensor(&c, d, p->links[port]->span, &d)) {
    d = CELL_FAILED;
  }
  in->ports[port] = d;
  in->port_state[port] = KNOWN;
  return d;
}

CellDatum cell_statement_value(CellInstance *in, int statement) {
  if (in->value_state[statement] == KNOWN) return in->values[statement];
  CELL_ASSERT(in->value_state[statement] == NOT_YET); /* a statement sees those before it */
  in->value_state[statement] = OPEN;
  CellElab *elab = in->stage->elab;
  const CellPlaced *p = &elab->cells[in->cell];
  const CellStmt *stmt = p->cell->body.items[statement];
  const char *name = stmt->kind == CELL_STMT_BIND ? stmt->name.text : cell_stmt_word(stmt->kind);
  CellScope scope = {.prefix = cell_arena_printf(elab->arena, "%s/%s", p->name, name)};
  CellFrame frame = {.home = p->home, .instance = in, .visible = statement};
  CellContext c = {.elab = elab,
                   .stage = in->stage,
                   .frame = &frame,
                   .where = CELL_IN_BODY,
                   .cell = in->cell,
                   .scope = &scope};
  CellDatum d = cell_evaluate(&c, stmt->value);
  bool tensor = stmt->kind == CELL_STMT_OUTPUT || stmt->kind == CELL_STMT_GOODNESS;
  if (tensor && d.kind != CELL_IS_ERROR && !cell_want_tensor(&c, d, stmt->value->span, &d))
    d = CELL_FAILED;
  in->values[statement] = d;
  in->value_state[statement] = KNOWN;
  return d;
}

/* ---- reading a cell from outside ---- */

static int find_statement(const CellItem *cell, const char *name) {
  for (int i = 0; i < cell->body.count; i++)
    if (cell->body.items[i]->kind == CELL_STMT_BIND &&
        strcmp(cell->body.items[i]->name.text, name) == 0)
      return i;
  return -1;
}

static int find_decl(const CellDeclList *decls, const char *name) {
  for (int i = 0; i < decls->count; i++)
    if (strcmp(decls->items[i].name.text, name) == 0) return i;
  return -1;
}

static CellDatum unknown_part(const CellContext *c, int cell, const char *name, CellSpan span) {
  CellElab *elab = c->elab;
  const CellPlaced *p = &elab->cells[cell];
  if (strcmp(name, "output") == 0 || strcmp(name, "goodness") == 0) {
    CellRecord *r = cell_complain(c, "E0410", span, "%s has no %s", p->name, name);
    cell_point(c, r, p->cell->name.span, "its cell");
    return CELL_FAILED;
  }
  const char **names = NULL;
  int count = 0, capacity = 0;
  CELL_PUSH(elab->arena, names, count, capacity, "output");
  CELL_PUSH(elab->arena, names, count, capacity, "goodness");
  for (int i = 0; i < p->cell->body.count; i++)
    if (p->cell->body.items[i]->kind == CELL_STMT_BIND)
      CELL_PUSH(elab->arena, names, count, capacity, p->cell->body.items[i]->name.text);
  CellRecord *r = cell_complain(c, "E0410", span, "%s has no value `%s`", p->name, name);
  cell_point(c, r, p->cell->name.span, "its cell");
  cell_help_nearest(elab->diag, r, name, names, count);
  return CELL_FAILED;
}

/* a value per action is a scalar: [1] counts as one */
static CellDatum as_scalar(CellStage *stage, CellDatum d) {
  if (d.kind != CELL_IS_TENSOR) return d;
  const CellNode *n = cell_node(stage->g, d.tensor);
  bool varies = n->axes & CELL_AXIS(CELL_AXIS_CANDIDATE);
  if (!varies || n->rank == 0 || cell_count(stage->g, d.tensor) != 1) return d;
  return cell_tensor(cell_reshape(stage->g, d.tensor, 0, NULL));
}

/* the value whether or not a gradient may pass */
static CellDatum part_of(const CellContext *c, CellStage *stage, int cell, const char *name,
                         CellSpan span) {
  const CellPlaced *p = &c->elab->cells[cell];
  if (p->broken) {
    c->elab->failed = true;
    return CELL_FAILED;
  }
  CellInstance *in = cell_instance(stage, cell);
  if (!name || strcmp(name, "output") == 0) {
    if (p->output >= 0) return cell_statement_value(in, p->output);
    return unknown_part(c, cell, "output", span);
  }
  if (strcmp(name, "goodness") == 0) {
    if (p->goodness >= 0) return as_scalar(stage, cell_statement_value(in, p->goodness));
    return unknown_part(c, cell, name, span);
  }
  int at = find_statement(p->cell, name);
  if (at >= 0) return cell_statement_value(in, at);
  at = find_decl(&p->cell->ports, name);
  if (at >= 0 && c->where == CELL_IN_RULE) return cell_port_value(in, at, span);
  at = find_decl(&p->cell->params, name);
  if (at >= 0 && c->where == CELL_IN_RULE) return p->args[at];
  return unknown_part(c, cell, name, span);
}

/* The outputs that a cell's links lead to, from the bottom up: without this a tall stack would be as
 * deep a recursion. What nobody needs of them is dropped with the rest. */
static void evaluate_below(CellStage *stage, int cell) {
  CellElab *elab = stage->elab;
  bool *wanted = CELL_NEW_ARRAY(elab->arena, bool, cell + 1);
  wanted[cell] = true;
  for (int i = cell; i >= 0; i--)
    for (int k = 0; k < i; k++) wanted[k] = wanted[k] || (wanted[i] && elab->cells[i].reads[k]);
  for (int i = 0; i < cell; i++) {
    const CellPlaced *p = &elab->cells[i];
    if (wanted[i] && p->output >= 0 && !p->broken)
      cell_statement_value(cell_instance(stage, i), p->output);
  }
}

CellDatum cell_value_of(const CellContext *c, CellStage *stage, int cell, const char *name,
                        CellSpan span) {
  CellElab *elab = c->elab;
  bool port = c->where == CELL_IN_PORT;
  if (port && cell >= c->cell) {
    const char *what = elab->cells[cell].name;
    CellRecord *r;
    if (cell == c->cell)
      r = cell_complain(c, "E0404", span, "%s cannot read its own value of the same step", what);
    else
      r = cell_complain(c, "E0404", span, "%s reads %s, which comes later in the stack: a cycle",
                        elab->cells[c->cell].name, what);
    cell_help(elab->diag, r, "`prev(%s%s%s)` is its value of the last step", what, name ? "." : "",
              name ? name : "");
    return CELL_FAILED;
  }
  if (port)
    elab->cells[c->cell].reads[cell] = true;
  else
    evaluate_below(stage, cell);
  CellDatum d = part_of(c, stage, cell, name, span);
  if (!port || !stage->stops || d.kind != CELL_IS_TENSOR) return d;
  /* gradients stop at ports, but inside a block */
  int block = elab->cells[cell].block;
  if (block >= 0 && block == elab->cells[c->cell].block) return d;
  return cell_tensor(cell_stop_gradient(stage->g, d.tensor));
}

/* ---- prev ---- */

static const char *carry_name(CellElab *elab, int cell, const char *value, int back) {
  const char *base = cell < 0 ? "obs" : elab->cells[cell].name;
  const char *name = value ? cell_arena_printf(elab->arena, "%s.%s", base, value) : base;
  return back > 1 ? cell_arena_printf(elab->arena, "%s@%d", name, back) : name;
}

int cell_add_carry(CellElab *elab, int cell, const char *value, int back, CellSpan span) {
  const char *name = carry_name(elab, cell, value, back);
  for (int i = 0; i < elab->carry_count; i++)
    if (strcmp(elab->carries[i].name, name) == 0) return i;
  /* what is two steps back comes out of what is one step back */
  if (back > 1) cell_add_carry(elab, cell, value, back - 1, span);
  CellCarried carry = {.name = name, .cell = cell, .value = value, .back = back, .span = span};
  if (cell < 0) {
    carry.known = true;
    carry.rank = elab->shapes->obs_rank;
    memcpy(carry.shape, elab->shapes->obs_shape, sizeof elab->shapes->obs_shape);
  }
  CELL_PUSH(elab->arena, elab->carries, elab->carry_count, elab->carry_capacity, carry);
  return elab->carry_count - 1;
}

static CellDatum state_of(CellStage *stage, int carry) {
  if (stage->states) return stage->states[carry];
  /* while shapes are looked for */
  const CellCarried *s = &stage->elab->carries[carry];
  if (!s->known) return cell_datum(CELL_IS_UNKNOWN);
  const char *name = cell_arena_printf(stage->elab->arena, "state/%s", s->name);
  return cell_tensor(
      cell_input(stage->g, name, CELL_F, s->rank, s->shape, CELL_AXIS(CELL_AXIS_BATCH)));
}

static CellDatum misplaced_prev(const CellContext *c, const CellExpr *call) {
  CellRecord *r =
      cell_complain(c, "E0408", call->span, "`prev` belongs into the links of the stack");
  if (c->where == CELL_IN_BODY)
    cell_help(c->elab->diag, r, "add a port and connect it: `self: prev(l1)`");
  return CELL_FAILED;
}

static CellDatum bad_prev(const CellContext *c, CellSpan span) {
  CellRecord *r = cell_complain(c, "E0412", span, "`prev` takes a cell, a cell's value, or obs");
  cell_help(c->elab->diag, r, "compute outside of it: `0.5 * prev(l1)`, `prev(l1)[0:64]`");
  return CELL_FAILED;
}

CellDatum cell_prev(const CellContext *c, const CellExpr *call) {
  CellElab *elab = c->elab;
  const CellArgList *args = &call->call.args;
  if (c->where != CELL_IN_PORT) return misplaced_prev(c, call);
  if (args->count < 1 || args->count > 2 || args->items[0].name.text) {
    cell_complain(c, "E0205", call->span, "`prev` takes 1 to 2 arguments");
    return CELL_FAILED;
  }
  const CellExpr *what = args->items[0].value;
  const CellExpr *owner = what->kind == CELL_EXPR_MEMBER ? what->member.object : what;
  const char *value = what->kind == CELL_EXPR_MEMBER ? what->member.name.text : NULL;
  if (owner->kind != CELL_EXPR_NAME) return bad_prev(c, what->span);
  int cell = cell_find_placed(elab, owner->name);
  if (cell < 0 && !value &&
      (strcmp(owner->name, "action") == 0 || strcmp(owner->name, "reward") == 0)) {
    cell_not_supported(c, "E0908", call->span,
                       cell_arena_printf(elab->arena, "prev(%s)", owner->name));
    return CELL_FAILED;
  }
  if (cell < 0 && (value || strcmp(owner->name, "obs") != 0)) {
    CellDatum d = cell_lookup(c, owner->name, owner->span); /* the message for unknown names */
    return d.kind == CELL_IS_ERROR ? d : bad_prev(c, what->span);
  }
  if (value && strcmp(value, "output") == 0) value = NULL;

  int32_t back = 1;
  if (args->count == 2) {
    CellDatum d = cell_evaluate(c, args->items[1].value);
    if (!cell_want_whole(c, d, args->items[1].span, "a number of steps", &back)) return CELL_FAILED;
  }
  int32_t context = elab->spec->train.context;
  if (back < 1 || back > context) {
    CellRecord *r =
        cell_complain(c, "E0413", call->span, "prev reaches %d steps back, and the context is %d",
                      (int)back, (int)context);
    cell_help(elab->diag, r, "`train { context = %d }` or more", back < 1 ? 1 : (int)back);
    return CELL_FAILED;
  }
  if (cell >= 0) {
    /* the value must be there */
    const CellPlaced *p = &elab->cells[cell];
    if (p->broken) return CELL_FAILED;
    bool there = value ? find_statement(p->cell, value) >= 0 || strcmp(value, "goodness") == 0
                       : p->output >= 0;
    if (!there) return unknown_part(c, cell, value ? value : "output", what->span);
  }
  int carry = cell_add_carry(elab, cell, value, back, call->span);
  return state_of(c->stage, carry);
}

/* the output, or alpha * output + (1 - alpha) * state */
CellDatum cell_next_state(CellStage *stage, int carry) {
  CellElab *elab = stage->elab;
  const CellCarried *s = &elab->carries[carry];
  if (s->back > 1) {
    int newer = cell_add_carry(elab, s->cell, s->value, s->back - 1, s->span);
    return state_of(stage, newer);
  }
  CellGraph *g = stage->g;
  if (s->cell < 0) return cell_tensor(stage->obs);
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  c.stage = stage;
  CellDatum d = cell_value_of(&c, stage, s->cell, s->value, s->span);
  if (d.kind != CELL_IS_ERROR && !cell_want_tensor(&c, d, s->span, &d)) return CELL_FAILED;
  double alpha = elab->spec->train.context_alpha;
  if (d.kind != CELL_IS_TENSOR || alpha == 1) return d;
  CellDatum old = state_of(stage, carry);
  if (old.kind != CELL_IS_TENSOR) return d;
  CellValue a = cell_op2(g, CELL_OP_MUL, d.tensor, cell_const(g, alpha));
  CellValue b = cell_op2(g, CELL_OP_MUL, old.tensor, cell_const(g, 1 - alpha));
  return cell_tensor(cell_op2(g, CELL_OP_ADD, a, b));
}

/* ---- the check ---- */

static CellStage *scratch_stage(CellElab *elab) {
  const CellShapes *shapes = elab->shapes;
  CellGraph *g = cell_graph_create(elab->arena, "check");
  g->axes[CELL_AXIS_CANDIDATE].extent = shapes->actions;
  CellValue obs = cell_input(g, "obs", shapes->obs_bits ? CELL_BITS : CELL_F, shapes->obs_rank,
                             shapes->obs_shape, CELL_AXIS(CELL_AXIS_BATCH));
  return cell_stage_create(elab, g, "params", obs);
}

/* everything that the file says is evaluated once, in its order */
static void evaluate_all(CellStage *stage) {
  CellElab *elab = stage->elab;
  for (int i = 0; i < elab->cell_count; i++) {
    if (elab->cells[i].broken) continue;
    CellInstance *in = cell_instance(stage, i);
    const CellItem *cell = elab->cells[i].cell;
    for (int k = 0; k < cell->ports.count; k++) cell_port_value(in, k, CELL_NOWHERE);
    for (int k = 0; k < cell->body.count; k++)
      if (cell->body.items[k]->kind != CELL_STMT_LOSS) cell_statement_value(in, k);
  }
}

/* takes the shapes that this stage found; whether there were new ones */
static bool take_shapes(CellStage *stage) {
  CellElab *elab = stage->elab;
  bool found = false;
  for (int i = 0; i < elab->carry_count; i++) {
    CellCarried *s = &elab->carries[i];
    if (s->known) continue;
    CellContext c = cell_home_context(elab, CELL_IN_SETTING);
    c.stage = stage;
    CellDatum d = cell_value_of(&c, stage, s->cell, s->value, s->span);
    if (d.kind != CELL_IS_ERROR && !cell_want_tensor(&c, d, s->span, &d)) continue;
    if (d.kind != CELL_IS_TENSOR) continue;
    const CellNode *n = cell_node(stage->g, d.tensor);
    s = &elab->carries[i];
    s->known = found = true;
    s->rank = n->rank;
    memcpy(s->shape, n->shape, sizeof s->shape);
  }
  return found;
}

static void check_goodness(CellStage *stage, int cell) {
  CellElab *elab = stage->elab;
  CellPlaced *p = &elab->cells[cell];
  if (p->goodness < 0 || p->broken) return;
  CellDatum d = cell_statement_value(cell_instance(stage, cell), p->goodness);
  if (d.kind != CELL_IS_TENSOR) return;
  const CellNode *n = cell_node(stage->g, d.tensor);
  bool varies = n->axes & CELL_AXIS(CELL_AXIS_CANDIDATE);
  bool scalar = cell_count(stage->g, d.tensor) == 1 && n->rank <= 1;
  int32_t actions = elab->shapes->actions;
  if (varies && scalar) {
    p->kind = CELL_PER_ACTION;
    return;
  }
  if (!varies && n->rank == 1 && n->shape[0] == actions) {
    p->kind = CELL_VECTOR;
    return;
  }
  CellContext c = {.elab = elab, .stage = stage, .where = CELL_IN_BODY, .cell = cell};
  const CellStmt *stmt = p->cell->body.items[p->goodness];
  const char *shape = cell_shape_text(elab->arena, n->rank, n->shape);
  CellRecord *r;
  if (varies) {
    r = cell_complain(&c, "E0405", stmt->value->span,
                      "this goodness depends on the action, so it must be a scalar, and it is %s",
                      shape);
    cell_help(elab->diag, r,
              "reduce it (`mean(...)`), or do not read `action` and give a vector of %d values",
              (int)actions);
    return;
  }
  r = cell_complain(&c, "E0405", stmt->value->span,
                    "this goodness does not depend on the action, so it must be a vector of %d "
                    "values, and it is %s",
                    (int)actions, shape);
  if (scalar)
    cell_help(elab->diag, r, "let the body read the action: `concat(x, action)`");
  else
    cell_help(elab->diag, r, "`actions` is their number: reshape(..., [actions, n]), for instance");
}

/* a carried value may not depend on the action */
static void check_carries(CellStage *stage) {
  CellElab *elab = stage->elab;
  for (int i = 0; i < elab->carry_count; i++) {
    const CellCarried *s = &elab->carries[i];
    if (s->cell < 0 || s->back > 1) continue;
    CellContext c = cell_home_context(elab, CELL_IN_SETTING);
    c.stage = stage;
    CellDatum d = cell_value_of(&c, stage, s->cell, s->value, s->span);
    if (d.kind != CELL_IS_TENSOR) continue;
    if (cell_node(stage->g, d.tensor)->axes & CELL_AXIS(CELL_AXIS_CANDIDATE))
      cell_not_supported(&c, "E0914", s->span, "prev of a value that depends on the action");
  }
}

static void report_loops(CellElab *elab) {
  CellContext c = cell_home_context(elab, CELL_IN_SETTING);
  for (int i = 0; i < elab->carry_count; i++) {
    const CellCarried *s = &elab->carries[i];
    if (s->known || s->back > 1) continue;
    CellRecord *r = cell_complain(&c, "E0311", s->span,
                                  "the shape of `%s` cannot be found: it depends on prev(%s)",
                                  s->name, s->name);
    const CellPlaced *p = &elab->cells[s->cell];
    int at = s->value ? find_statement(p->cell, s->value) : p->output;
    if (at >= 0)
      cell_point(&c, r, p->cell->body.items[at]->value->span, "the value whose shape is wanted");
    cell_help(elab->diag, r,
              "a layer of a width that is written down ends the loop: linear(concat(x, self), n)");
  }
}

bool cell_check_network(CellElab *elab) {
  /* shapes of carried values: each round can find some, what nobody finds is a loop */
  int errors = elab->diag->error_count;
  elab->muted = elab->loose = true;
  CellStage *stage;
  do {
    stage = scratch_stage(elab);
    evaluate_all(stage);
  } while (take_shapes(stage));
  bool loop = false;
  for (int i = 0; i < elab->carry_count; i++) loop = loop || !elab->carries[i].known;

  /* the true pass: parameters and messages */
  elab->muted = elab->failed = false;
  elab->loose = loop;
  elab->work = 0;
  stage = scratch_stage(elab);
  evaluate_all(stage);
  elab->loose = false;
  /* what depends on an unknown shape has lost its axes */
  for (int i = 0; i < elab->cell_count && !loop; i++) check_goodness(stage, i);
  bool broken = false;
  for (int i = 0; i < elab->cell_count; i++) broken = broken || elab->cells[i].broken;
  if (elab->diag->error_count == errors && loop && !broken) report_loops(elab);
  if (elab->diag->error_count == errors && !broken) check_carries(stage);
  return elab->diag->error_count == errors && !elab->failed;
}
