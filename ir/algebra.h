/* algebra.h - the rules of the algebra pass (algebra.c), and what they are written with.
 *
 * A rule looks at one node of the graph before (`from`) and what lies below it, and builds the same
 * value in the graph after (`to`), where everything below has been built already: map[v]. It names
 * the nodes between that the new form does without (cell_match_inside); the driver compares the
 * arithmetic of both forms and drops a new one that is not cheaper.
 *
 * To add a rule: write the function, declare it here, add its row in algebra.c. The random-graph
 * test takes it from the table; give it a case of its own in tests/ir/test_algebra.c. */
#ifndef CELL_ALGEBRA_H
#define CELL_ALGEBRA_H

#include "ir/rewrite.h"

enum { CELL_MAX_INSIDE = 8, CELL_LETTERS = 26 };

/* A contract that sums no more than this is computed again where it is read, not stored. */
enum { CELL_SHORT_SUM = 32 };

typedef struct {
  const CellGraph *from;
  CellGraph *to;
  const CellValue *map;              /* from -> to */
  const int *uses;                   /* of from's values: how many nodes and outputs read each */
  CellValue inside[CELL_MAX_INSIDE]; /* counted as part of the old form */
  int inside_count;
} CellMatch;

typedef enum {
  CELL_CHEAPER, /* applied where the arithmetic falls */
  CELL_ALWAYS   /* applied wherever it fits */
} CellRuleKind;

typedef struct {
  const char *name;
  const char *statement; /* of what equals what, and how exactly */
  CellRuleKind kind;
  CellValue (*apply)(CellMatch *m, CellValue v); /* CELL_NONE: does not fit */
} CellRule;
extern const CellRule cell_rules[];
extern const int cell_rule_count;

/* Applies one rule (or all: NULL) until nothing changes; returns how often one was applied. */
CellGraph *cell_apply_rules(const CellGraph *g, const CellRule *rule, int *applied);

/* ---- for rules ---- */

static inline const CellNode *cell_match_node(const CellMatch *m, CellValue v) {
  return &m->from->nodes[v];
}

/* Counts v as part of the old form if the new one makes it dead: its reader here goes
 * (reader_goes) and it has no other. With `again`, also where it is a contract with a short sum,
 * which costs as much each time it is read. Returns whether it goes. */
bool cell_match_inside(CellMatch *m, CellValue v, bool reader_goes, bool again);

/* The sum of products that labels and axes state, in general form: letters of one operand alone
 * that are not in the result, and axes of one alone, are summed before; axes that nobody varies over
 * count with their extent. Each label string is of the operand's rank. */
CellValue cell_einsum(CellGraph *g, CellValue a, CellValue b, const char *la, const char *lb,
                      const char *lr, uint32_t over);

/* v with dimensions named by `letters`, repeated and turned to fit the dimensions `to_letters` of
 * `like` (all of v's letters are among them); rank 0 stays. */
CellValue cell_lay(CellGraph *g, CellValue v, const char *letters, const char *to_letters,
                   const int32_t *shape);

/* A value of rank 0, or a broadcast: what is repeated, and which dimensions of v it has. */
typedef struct {
  CellValue v; /* in from */
  int rank;
  int8_t map[CELL_MAX_RANK];
} CellSpread;
bool cell_as_spread(const CellMatch *m, CellValue v, CellSpread *s);
/* The letters of a spread's own dimensions, where the whole has `letters`. */
void cell_spread_letters(const CellSpread *s, const char *letters, char *out);

/* v = u op s with op MUL or DIV and s a spread, u of v's rank; false: it is not. */
bool cell_as_scaled(const CellMatch *m, CellValue v, CellValue *u, CellSpread *s);

bool cell_all_among(const char *letters, const char *set);

/* algebra_sums.c */
CellValue cell_rule_scale_leaves_sum(CellMatch *m, CellValue v);
CellValue cell_rule_sum_of_product(CellMatch *m, CellValue v);
CellValue cell_rule_sum_of_contract(CellMatch *m, CellValue v);
CellValue cell_rule_sum_of_repeated(CellMatch *m, CellValue v);
CellValue cell_rule_sum_of_sum(CellMatch *m, CellValue v);
CellValue cell_rule_sum_of_terms(CellMatch *m, CellValue v);

/* algebra_products.c */
CellValue cell_rule_turned_factor(CellMatch *m, CellValue v);
CellValue cell_rule_turned_product(CellMatch *m, CellValue v);
CellValue cell_rule_repeated_factor(CellMatch *m, CellValue v);
CellValue cell_rule_scale_leaves_product(CellMatch *m, CellValue v);
CellValue cell_rule_scale_changes_factor(CellMatch *m, CellValue v);
CellValue cell_rule_scale_enters_factor(CellMatch *m, CellValue v);
CellValue cell_rule_product_of_terms(CellMatch *m, CellValue v);
CellValue cell_rule_common_factor(CellMatch *m, CellValue v);

/* algebra_order.c */
CellValue cell_rule_order_left(CellMatch *m, CellValue v);
CellValue cell_rule_order_right(CellMatch *m, CellValue v);
CellValue cell_rule_order_both(CellMatch *m, CellValue v);

/* algebra_views.c */
CellValue cell_rule_unit_reshape(CellMatch *m, CellValue v);
CellValue cell_rule_repeated_operands(CellMatch *m, CellValue v);
CellValue cell_rule_pads_side_by_side(CellMatch *m, CellValue v);
CellValue cell_rule_take_of_axis(CellMatch *m, CellValue v);
CellValue cell_rule_take_of_dim(CellMatch *m, CellValue v);

#endif
