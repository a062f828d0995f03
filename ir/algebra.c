/* algebra.c - the rewrite pass over graphs: a table of rules, and what applies them.
 *
 * Each round builds the graph again; at every node the rules are tried in the order of the table
 * and the first that fits and is worth it makes the node's value. Rounds follow until nothing
 * changes. What is worth it: the arithmetic of the new form, of all axes (nodes that stand already
 * are free), is less than that of the node and of the nodes inside that the rule does without. So a
 * rule may be stated in both directions. For example, with k = 8, i = j = 400:
 *
 *     %2 = contract %0, %1 "ki,kj->ij"
 *     %3 = reduce sum %2 dims [1]
 *   becomes
 *     %2 = reduce sum %1 dims [1]
 *     %3 = contract %0, %2 "ki,k->i"
 *
 * No rule looks through stop_gradient, and each holds for all inputs, so derivatives are kept. All
 * are exact in real arithmetic; in floats sums are done in another order. Optional. */
#include "ir/algebra.h"

#include <stdlib.h>
#include <string.h>

const CellRule cell_rules[] = {
    {"unit-reshape",
     "a reshape that adds or drops dimensions of 1 goes below an elementwise op: exact",
     CELL_ALWAYS, cell_rule_unit_reshape},
    {"repeated-operands", "op(repeat x, repeat y) = repeat op(x, y): exact", CELL_ALWAYS,
     cell_rule_repeated_operands},
    {"turned-factor", "a product with a transpose is one with other labels: exact", CELL_ALWAYS,
     cell_rule_turned_factor},
    {"turned-product", "the transpose of a product is one with other labels: exact", CELL_ALWAYS,
     cell_rule_turned_product},
    {"pads-side-by-side", "pad x + pad y = concat(x, y), where their entries meet: exact",
     CELL_CHEAPER, cell_rule_pads_side_by_side},
    {"take-of-axis", "take(op(x, y)) = op(take x, take y), along an axis: exact", CELL_CHEAPER,
     cell_rule_take_of_axis},
    {"take-of-dim", "the same along a dimension, not into a product with a parameter: exact",
     CELL_CHEAPER, cell_rule_take_of_dim},
    {"sum-of-repeated", "the sum of n equal entries is n times one: to rounding", CELL_ALWAYS,
     cell_rule_sum_of_repeated},
    {"sum-of-sum", "two sums in a row are one: to rounding", CELL_ALWAYS, cell_rule_sum_of_sum},
    {"scale-leaves-sum", "sum_j s_i x_ij = s_i sum_j x_ij: to rounding", CELL_CHEAPER,
     cell_rule_scale_leaves_sum},
    {"sum-of-contract", "sum_j (sum_k a_ki b_kj) = sum_k a_ki (sum_j b_kj): to rounding",
     CELL_CHEAPER, cell_rule_sum_of_contract},
    {"sum-of-terms", "sum (x + y) = sum x + sum y, where they vary over unlike axes: to rounding",
     CELL_CHEAPER, cell_rule_sum_of_terms},
    {"sum-of-product", "a product that is summed is a contract: exact", CELL_ALWAYS,
     cell_rule_sum_of_product},
    {"repeated-factor", "what a factor repeats is summed in the other: to rounding", CELL_ALWAYS,
     cell_rule_repeated_factor},
    {"order-left", "(a b) c = a (b c), whichever is cheapest: to rounding", CELL_CHEAPER,
     cell_rule_order_left},
    {"order-right", "a (b c) = (a b) c, whichever is cheapest: to rounding", CELL_CHEAPER,
     cell_rule_order_right},
    {"order-both",
     "sum_j (sum_k a_ki b_kj)^2 = sum_kl a_ki a_li (sum_j b_kj b_lj), clamped at 0: to rounding",
     CELL_CHEAPER, cell_rule_order_both},
    {"common-factor", "a b + a c = a (b + c): to rounding", CELL_CHEAPER, cell_rule_common_factor},
    {"scale-enters-factor",
     "s_i sum_k a_ki b_kj = sum_k (s_i a_ki) b_kj; a divisor by its reciprocal: to rounding",
     CELL_CHEAPER, cell_rule_scale_enters_factor},
    {"scale-leaves-product", "sum_j (s_i x_ij) y_j = s_i sum_j x_ij y_j: to rounding", CELL_CHEAPER,
     cell_rule_scale_leaves_product},
    {"scale-changes-factor", "sum_j (s_j x_ij) y_j = sum_j x_ij (s_j y_j): to rounding",
     CELL_CHEAPER, cell_rule_scale_changes_factor},
    {"product-of-terms", "a (x + y) = a x + a y, where they vary over unlike axes: to rounding",
     CELL_CHEAPER, cell_rule_product_of_terms},
};
const int cell_rule_count = (int)(sizeof cell_rules / sizeof *cell_rules);

/* ---- arithmetic ---- */

static double entries(const CellGraph *g, CellValue v) {
  return (double)cell_count(g, v) * (double)cell_extent(g, cell_node(g, v)->axes);
}

/* extents of the dimensions that a contract sums */
static double summed_dims(const CellGraph *g, const CellNode *n) {
  double summed = 1;
  const CellNode *a = cell_node(g, n->args[0]);
  for (int i = 0; i < a->rank; i++)
    if (!strchr(n->labels[2], n->labels[0][i])) summed *= a->shape[i];
  return summed;
}

static double cost(const CellGraph *g, CellValue v) {
  const CellNode *n = cell_node(g, v);
  if (cell_op_info[n->op].scalar) return entries(g, v) * cell_op_info[n->op].flops;
  switch ((int)n->op) {
  case CELL_OP_REDUCE: return entries(g, n->args[0]);
  case CELL_OP_CONTRACT:
    return 2 * entries(g, v) * summed_dims(g, n) * (double)cell_extent(g, n->over);
  case CELL_OP_TAKE:
  case CELL_OP_PAD:
  case CELL_OP_CONCAT: return entries(g, v);
  default: return 0;
  }
}

/* ---- matching ---- */

bool cell_match_inside(CellMatch *m, CellValue v, bool reader_goes, bool again) {
  const CellNode *n = cell_match_node(m, v);
  bool goes = reader_goes && m->uses[v] == 1;
  bool counts = goes;
  if (again && n->op == CELL_OP_CONTRACT && n->over == 0)
    counts |= summed_dims(m->from, n) <= CELL_SHORT_SUM;
  if (counts) {
    CELL_ASSERT(m->inside_count < CELL_MAX_INSIDE);
    m->inside[m->inside_count++] = v;
  }
  return goes;
}

/* one round over one graph */
typedef struct {
  const CellGraph *from;
  CellGraph *to;
  CellValue *map;
  int *uses;
  bool *stands; /* of to's values: part of the graph that is being built, so free to read */
  int stands_capacity;
  CellValue *seen; /* scratch of new_cost, in the graph's arena */
  int seen_count, seen_capacity;
  const CellRule *rules;
  int rule_count; /* 0: a copy */
  int applied;
} Round;

static bool *stands(Round *r) {
  if (r->stands_capacity < r->to->node_count) {
    int capacity = 2 * r->to->node_count + 64;
    bool *grown = cell_malloc((size_t)capacity * sizeof *grown);
    if (r->stands) memcpy(grown, r->stands, (size_t)r->stands_capacity * sizeof *grown);
    free(r->stands);
    r->stands = grown;
    r->stands_capacity = capacity;
  }
  return r->stands;
}

static void push_seen(Round *r, CellValue v) {
  CELL_PUSH(r->to->arena, r->seen, r->seen_count, r->seen_capacity, v);
}

/* arithmetic of what v needs and does not stand yet; `mark` makes it stand. There is room for all
 * nodes in `standing` */
static double new_cost(Round *r, bool *standing, CellValue v, bool mark) {
  double total = 0;
  int first = r->seen_count;
  if (!standing[v]) push_seen(r, v);
  for (int at = first; at < r->seen_count; at++) {
    CellValue w = r->seen[at];
    const CellNode *n = cell_node(r->to, w);
    total += cost(r->to, w);
    standing[w] = true;
    for (int k = 0; k < n->arg_count; k++)
      if (!standing[n->args[k]]) {
        standing[n->args[k]] = true;
        push_seen(r, n->args[k]);
      }
  }
  for (int at = first; at < r->seen_count && !mark; at++) standing[r->seen[at]] = false;
  r->seen_count = first;
  return total;
}

/* the value of node v by one rule, or CELL_NONE */
static CellValue try_rule(Round *r, const CellRule *rule, CellValue v, CellValue plain) {
  CellMatch m = {.from = r->from, .to = r->to, .map = r->map, .uses = r->uses};
  CellValue made = rule->apply(&m, v);
  if (made == CELL_NONE || made == plain) return CELL_NONE;
  if (rule->kind == CELL_ALWAYS) return made;
  double before = cost(r->from, v);
  bool was[CELL_MAX_INSIDE];
  bool *standing = stands(r);
  for (int i = 0; i < m.inside_count; i++) {
    before += cost(r->from, m.inside[i]);
    was[i] = standing[r->map[m.inside[i]]];
    standing[r->map[m.inside[i]]] = false;
  }
  bool plain_stood = standing[plain];
  standing[plain] = false;
  double after = new_cost(r, standing, made, false);
  for (int i = 0; i < m.inside_count; i++) standing[r->map[m.inside[i]]] = was[i];
  standing[plain] = plain_stood;
  return after < before * (1 - 1e-9) ? made : CELL_NONE;
}

static CellGraph *all_rounds(const CellGraph *g, const CellRule *rules, int rule_count,
                             int *applied);

static CellValue plain_copy(Round *r, CellValue v) {
  CellNode n = *cell_node(r->from, v);
  CellValue few[8], *args = few;
  if (n.arg_count > 8) args = cell_malloc((size_t)n.arg_count * sizeof *args);
  for (int k = 0; k < n.arg_count; k++) args[k] = r->map[n.args[k]];
  if (n.op == CELL_OP_SCAN && r->rule_count > 0)
    n.body = all_rounds(n.body, r->rules, r->rule_count, &r->applied);
  CellValue made = cell_rebuild(r->to, &n, args);
  if (args != few) free(args);
  return made;
}

static CellValue rewrite_node(Round *r, CellValue v) {
  CellSpan span = r->to->span;
  r->to->span = cell_node(r->from, v)->span;
  CellValue made = plain_copy(r, v), better = CELL_NONE;
  for (int i = 0; i < r->rule_count && better == CELL_NONE; i++)
    better = try_rule(r, &r->rules[i], v, made);
  if (better != CELL_NONE) {
    made = better;
    r->applied++;
  }
  r->to->span = span;
  new_cost(r, stands(r), made, true);
  return made;
}

static void count_uses(const CellGraph *g, bool *needed, int *uses) {
  for (int i = 0; i < g->output_count; i++) {
    needed[g->outputs[i].value] = true;
    uses[g->outputs[i].value]++;
  }
  for (int i = 0; i < g->minimize_count; i++) {
    needed[g->minimize[i].loss] = true;
    uses[g->minimize[i].loss]++;
  }
  for (CellValue v = g->node_count - 1; v >= 0; v--) {
    const CellNode *n = cell_node(g, v);
    for (int k = 0; needed[v] && k < n->arg_count; k++) {
      bool repeated = false;
      for (int i = 0; i < k; i++) repeated |= n->args[i] == n->args[k];
      needed[n->args[k]] = true;
      uses[n->args[k]] += !repeated;
    }
  }
}

/* g through the rules once (with r->rules off: a copy) into a graph of `arena`, less what nobody
 * reads */
static CellGraph *one_round(const CellGraph *g, CellArena *arena, Round *r) {
  size_t n = (size_t)g->node_count + 1;
  CellGraph like = *g;
  like.arena = arena;
  bool *needed = cell_malloc(n * sizeof *needed);
  r->from = g;
  r->to = cell_graph_like(&like, g->name);
  r->uses = cell_malloc(n * sizeof *r->uses);
  r->map = cell_malloc(n * sizeof *r->map);
  r->seen = NULL;
  r->seen_capacity = 0;
  if (r->stands) memset(r->stands, 0, (size_t)r->stands_capacity * sizeof *r->stands);
  count_uses(g, needed, r->uses);
  for (CellValue v = 0; v < g->node_count; v++)
    r->map[v] = needed[v] ? rewrite_node(r, v) : CELL_NONE;
  for (int i = 0; i < g->output_count; i++)
    cell_output(r->to, g->outputs[i].name, r->map[g->outputs[i].value]);
  for (int i = 0; i < g->minimize_count; i++) {
    CellMinimize e = g->minimize[i];
    e.loss = r->map[e.loss];
    CELL_PUSH(arena, r->to->minimize, r->to->minimize_count, r->to->minimize_capacity, e);
  }
  r->to->wanted = g->wanted;
  r->to->wanted_count = g->wanted_count;
  free(needed);
  free(r->uses);
  free(r->map);
  return r->to;
}

static CellGraph *all_rounds(const CellGraph *g, const CellRule *rules, int rule_count,
                             int *applied) {
  enum { MAX_ROUNDS = 100 }; /* costs fall, so it ends; a bound for what is always applied */
  Round r = {.rules = rules, .rule_count = rule_count};
  CellArena *before = NULL, *after = NULL; /* one graph each */
  const CellGraph *now = g;
  for (int round = 0; round < MAX_ROUNDS; round++) {
    int count = r.applied;
    after = cell_arena_create_for(4 * (size_t)now->node_count * sizeof(CellNode));
    now = one_round(now, after, &r);
    cell_arena_destroy(before);
    before = after;
    if (r.applied == count) break;
  }
  *applied += r.applied;
  r.rule_count = 0;
  CellGraph *kept = one_round(now, g->arena, &r);
  cell_arena_destroy(before);
  free(r.stands);
  return kept;
}

CellGraph *cell_apply_rules(const CellGraph *g, const CellRule *rule, int *applied) {
  int ignored = 0;
  return all_rounds(g, rule ? rule : cell_rules, rule ? 1 : cell_rule_count,
                    applied ? applied : &ignored);
}

bool cell_pass_algebra(CellModule *m, CellDiag *diag) {
  (void)diag;
  CellRule *rules = cell_malloc((size_t)cell_rule_count * sizeof *rules);
  int count = 0, ignored = 0;
  for (int i = 0; i < cell_rule_count; i++) {
    bool disabled = false;
    for (int k = 0; k < m->disabled_count; k++)
      disabled |= strcmp(m->disabled[k], cell_rules[i].name) == 0;
    if (!disabled) rules[count++] = cell_rules[i];
  }
  for (int i = 0; i < m->program_count; i++)
    m->programs[i] = all_rounds(m->programs[i], rules, count, &ignored);
  free(rules);
  return true;
}

// optional passes first, then the rules
bool cell_rewrite_at(int index, CellRewrite *out) {
  for (int i = 0; i < cell_pass_count; i++) {
    if (!cell_passes[i].optional || index-- > 0) continue;
    *out = (CellRewrite){cell_passes[i].name, cell_passes[i].sentence};
    return true;
  }
  if (index >= cell_rule_count) return false;
  *out = (CellRewrite){cell_rules[index].name, cell_rules[index].statement};
  return true;
}
