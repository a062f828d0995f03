/* jam_rows.c - short rows that a loop sums one by one are summed several at once:
 *
 *     loop v1 = [0, 200)                       loop v1 = [0, 50)
 *       %0 = acc sum                             %0 = acc sum
 *       %1 = load s0[v1]                         %10 = acc sum
 *       lanes v2 = [0, 200)                      %1 = load s0[4 v1]
 *         %2 = load s1[v2]                       %11 = load s0[4 v1 + 1]
 *         %3 = mul %1 %2              ->         lanes v2 = [0, 200)
 *         update %0 %3                             %2 = load s1[v2]
 *       store s2[v1] %0                            %3 = mul %1 %2
 *                                                  update %0 %3
 *                                                  %13 = mul %11 %2
 *                                                  update %10 %13
 *                                                ...
 *
 * A sum over lanes ends with a fold, and begins with a chain that nothing hides: with 13 vectors a row that is a third
 * of the work. Several rows hide each other's chains, are folded together, and read what they have in common once.
 *
 * Within lanes, an iteration of a loop with an elementary function is as much one chain, and several are done at once. */
#include "ir/fuse.h"
#include "ir/iterations.h"

enum {
  ROWS = 4,          /* at once, at most */
  MOST_VECTORS = 16, /* of a row: longer ones have little to gain */
  MOST_SUMS = 2,     /* of a row: registers */
  MOST_STMTS = 40    /* of a row */
};

typedef struct {
  int of[ROWS];
} Values;

typedef struct {
  const CellTarget *target;
  FuseIterations it;
  CellStmt *loop;
  int rows; /* at once */
  /* by value of the row: those of all rows; the same where they have it in common */
  Values *made;
} Jam;

bool fuse_has_function(const CellStmt *body) {
  enum { FUNCTION = 10 }; // operations at least
  for (; body; body = body->next)
    if (body->kind == CELL_K_LET && cell_op_info[body->op].flops >= FUNCTION) return true;
  return false;
}

static CellStmt *lanes_of(const CellStmt *loop) {
  CellStmt *lanes = NULL;
  for (CellStmt *s = loop->body; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    if (lanes || s->loop != CELL_LOOP_LANES) return NULL;
    lanes = s;
  }
  return lanes;
}

// whether the iterations of a loop may be done statement by statement together
static bool may_mix(Jam *j, CellStmt *loop) {
  if (!fuse_iterations_independent(&j->it, loop)) return false;
  for (int i = 0; i < j->it.written_count; i++)
    if (j->it.written[i].step == 0) return false; // each one's own: it would need as many
  return true;
}

static bool fits(Jam *j, CellStmt *loop) {
  CellStmt *lanes = lanes_of(loop);
  if (loop->loop != CELL_LOOP_SERIAL || loop->limit > 0 || !lanes || loop->extent % ROWS != 0 ||
      loop->extent < 2 * ROWS)
    return false;
  if (lanes->extent > (int64_t)MOST_VECTORS * j->target->lanes ||
      lanes->extent < j->target->lanes || lanes->begin.term_count > 0)
    return false;
  int sums = 0, statements = 0;
  for (const CellStmt *s = loop->body; s; s = s->next) statements++;
  for (const CellStmt *s = lanes->body; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) return false;
    sums += s->kind == CELL_K_UPDATE, statements++;
  }
  if (sums < 1 || sums > MOST_SUMS || statements > MOST_STMTS) return false;
  return may_mix(j, loop);
}

// iterations at once of a loop within lanes
static int rows_within(const CellStmt *loop) {
  int rows = ROWS;
  while (rows > 1 && (loop->extent % rows != 0 || loop->extent < 2 * rows)) rows /= 2;
  return rows;
}

static bool fits_within(Jam *j, CellStmt *loop) {
  if (loop->loop != CELL_LOOP_SERIAL || loop->limit > 0 || rows_within(loop) < 2) return false;
  int sums = 0, statements = 0;
  for (const CellStmt *s = loop->body; s; s = s->next) {
    if (s->kind == CELL_K_LOOP || s->kind == CELL_K_ACC) return false;
    sums += s->kind == CELL_K_UPDATE;
    statements++;
  }
  return fuse_has_function(loop->body) && sums <= MOST_SUMS && statements <= MOST_STMTS &&
         may_mix(j, loop);
}

// with begin + rows v + row for the loop's variable v
static CellAffine moved(const Jam *j, CellAffine a, int row) {
  CellAffine at = cell_affine_add(j->loop->begin, cell_affine_var(j->loop->var, j->rows));
  at.base += row;
  a = cell_affine_put(a, j->loop->var, at);
  if (a.loaded >= 0) a.loaded = j->made[a.loaded].of[row];
  return a;
}

static bool differs(const Jam *j, int value) {
  return value >= 0 && j->made[value].of[0] != j->made[value].of[1];
}

// whether a statement is another one for every row
static bool is_of_row(Jam *j, const CellStmt *s) {
  if (s->kind == CELL_K_ACC || s->kind == CELL_K_UPDATE || s->kind == CELL_K_STORE) return true;
  bool of_row = differs(j, s->index.loaded);
  if (s->kind == CELL_K_LOAD || s->kind == CELL_K_VAR)
    of_row = of_row || cell_affine_coef(&s->index, j->loop->var) != 0;
  // what rows store may be what they load
  if (s->kind == CELL_K_LOAD) of_row = of_row || fuse_iterations_written(&j->it, s->buffer) != NULL;
  if (s->kind == CELL_K_LET)
    for (int i = 0; i < cell_op_info[s->op].arity; i++) of_row = of_row || differs(j, s->args[i]);
  return of_row;
}

static void move_reads(const Jam *j, CellStmt *s, int row) {
  for (int i = 0; i < cell_stmt_arg_count(s); i++) s->args[i] = j->made[s->args[i]].of[row];
  if (s->kind == CELL_K_UPDATE) s->value = j->made[s->value].of[row];
  s->index = moved(j, s->index, row);
}

static void jam(Jam *j, CellStmt *list) {
  for (CellStmt *s = list, *next; s; s = next) {
    next = s->next;
    if (s->kind == CELL_K_LOOP) {
      jam(j, s->body);
      continue;
    }
    bool of_row = is_of_row(j, s), gives = s->value >= 0 && s->kind != CELL_K_UPDATE;
    CellStmt *last = s;
    for (int r = 1; r < j->rows && of_row; r++) {
      CellStmt *copy = cell_stmt_copy(j->it.k, s);
      if (gives) j->made[s->value].of[r] = copy->value;
      move_reads(j, copy, r);
      copy->next = last->next, last->next = copy, last = copy;
    }
    move_reads(j, s, 0);
  }
}

static void walk(Jam *j, CellStmt *s, bool within) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    walk(j, s->body, within || s->loop == CELL_LOOP_LANES);
    j->it.may_sum = within;
    if (s->loop == CELL_LOOP_LANES || !(within ? fits_within(j, s) : fits(j, s))) continue;
    int values = j->it.k->value_count;
    j->made = CELL_NEW_ARRAY(j->it.k->arena, Values, (size_t)values + 1);
    for (int v = 0; v < values; v++)
      for (int r = 0; r < ROWS; r++) j->made[v].of[r] = v;
    j->loop = s, j->rows = within ? rows_within(s) : ROWS;
    jam(j, s->body);
    s->extent /= j->rows, s->begin = cell_affine(0);
  }
}

void fuse_jam_rows(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Jam j = {.target = target};
  fuse_iterations_begin(&j.it, k);
  walk(&j, k->body, false);
}
