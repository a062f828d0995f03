/* split_sums.c - a long sum of few lanes is taken in four parts:
 *
 *     lanes v1 = [0, 12)                       lanes v1 = [0, 12)
 *       %0 = acc sum                             %0 = acc sum
 *       loop v2 = [0, 512)                       %10 = acc sum
 *         %1 = load arg1[12 v2 + v1]      ->     ...
 *         update %0 %1                           loop v2 = [0, 128)
 *       store arg0[v1] %0                          %1 = load arg1[48 v2 + v1]
 *                                                  update %0 %1
 *                                                  %11 = load arg1[48 v2 + v1 + 12]
 *                                                  update %10 %11
 *                                                  ...
 *                                                %13 = add %0 %10
 *                                                ...
 *                                                store arg0[v1] %15
 *
 * Each addition waits for the one before. Many lanes hide that, being several chains side by side; few do not, as of the
 * gradient of a bias. */
#include "ir/fuse.h"

enum {
  PARTS = 4,
  LEAST = 32,       /* terms of a sum */
  MOST_VECTORS = 4, /* of lanes: more are chains enough */
  MOST_SUMS = 2,
  MOST_STMTS = 24 /* of a term */
};

typedef struct {
  CellKernel *k;
  const CellTarget *target;
  const CellStmt *loop; /* the sum at hand */
  CellStmt *accs[MOST_SUMS];
  int acc_count;
  int *made[PARTS]; /* by value of a term: that of each part */
} Sums;

// how many statements update a value
static int updates(const CellStmt *s, int value) {
  int n = 0;
  for (; s; s = s->next) {
    n += s->kind == CELL_K_UPDATE && s->value == value;
    if (s->kind == CELL_K_LOOP) n += updates(s->body, value);
  }
  return n;
}

static CellStmt *acc_in(CellStmt *list, int value) {
  for (; list; list = list->next)
    if (list->kind == CELL_K_ACC && list->value == value) return list;
  return NULL;
}

// whether a loop in the body of a lane loop does nothing but add up terms for accumulators of that body
static bool fits(Sums *x, CellStmt *body, const CellStmt *loop) {
  if (loop->kind != CELL_K_LOOP || loop->loop != CELL_LOOP_SERIAL || loop->limit > 0 ||
      loop->extent < LEAST || loop->extent % PARTS != 0 || loop->begin.loaded >= 0)
    return false;
  int statements = 0;
  x->loop = loop, x->acc_count = 0;
  for (const CellStmt *s = loop->body; s; s = s->next, statements++) {
    switch (s->kind) {
    case CELL_K_CONST:
    case CELL_K_VAR:
    case CELL_K_LOAD:
    case CELL_K_LET: break;
    case CELL_K_UPDATE: {
      CellStmt *acc = acc_in(body, s->value);
      if (!acc || acc->reduce != CELL_SUM || acc->dtype != CELL_F || x->acc_count == MOST_SUMS ||
          updates(body, s->value) != 1)
        return false;
      x->accs[x->acc_count++] = acc;
      break;
    }
    default: return false;
    }
  }
  return x->acc_count > 0 && statements <= MOST_STMTS;
}

// of the part's terms: begin + PARTS v + part for the loop's variable v, and the part's values
static void move(const Sums *x, CellStmt *s, int part) {
  CellAffine at = cell_affine_add(x->loop->begin, cell_affine_var(x->loop->var, PARTS));
  at.base += part;
  s->index = cell_affine_put(s->index, x->loop->var, at);
  const int *made = x->made[part];
  if (s->index.loaded >= 0) s->index.loaded = made[s->index.loaded];
  for (int i = 0; i < cell_stmt_arg_count(s); i++) s->args[i] = made[s->args[i]];
  if (s->kind == CELL_K_UPDATE) s->value = made[s->value];
}

static void replace(CellStmt *s, int value, int by) {
  for (; s; s = s->next) {
    for (int i = 0; i < cell_stmt_arg_count(s); i++)
      if (s->args[i] == value) s->args[i] = by;
    if (s->kind == CELL_K_LOOP) replace(s->body, value, by);
  }
}

static CellStmt *sum_after(Sums *x, CellStmt *s, int a, int b) {
  CellStmt *list = NULL, **tail = &list, *sum = cell_stmt(x->k, &tail, CELL_K_LET);
  sum->op = CELL_OP_ADD, sum->dtype = CELL_F, sum->args[0] = a, sum->args[1] = b;
  sum->next = s->next, s->next = sum;
  return sum;
}

static void split(Sums *x, CellStmt *loop) {
  int values = x->k->value_count, parts[MOST_SUMS][PARTS] = {{0}};
  for (int part = 0; part < PARTS; part++) {
    x->made[part] = CELL_NEW_ARRAY(x->k->arena, int, (size_t)values + 1);
    for (int v = 0; v < values; v++) x->made[part][v] = v;
  }
  for (int i = 0; i < x->acc_count; i++) {
    CellStmt *last = x->accs[i];
    parts[i][0] = last->value;
    for (int part = 1; part < PARTS; part++) {
      CellStmt *acc = cell_stmt_copy(x->k, x->accs[i]);
      acc->next = last->next, last->next = acc, last = acc;
      x->made[part][parts[i][0]] = parts[i][part] = acc->value;
    }
  }
  for (CellStmt *s = loop->body, *next; s; s = next) {
    next = s->next;
    CellStmt *last = s;
    for (int part = 1; part < PARTS; part++) {
      CellStmt *copy = cell_stmt_copy(x->k, s);
      if (s->kind != CELL_K_UPDATE) x->made[part][s->value] = copy->value;
      move(x, copy, part);
      copy->next = last->next, last->next = copy, last = copy;
    }
    move(x, s, 0);
  }
  loop->extent /= PARTS, loop->begin = cell_affine(0);

  for (int i = 0; i < x->acc_count; i++) {
    CellStmt *low = sum_after(x, loop, parts[i][0], parts[i][1]),
             *high = sum_after(x, low, parts[i][2], parts[i][3]),
             *all = sum_after(x, high, low->value, high->value);
    replace(all->next, parts[i][0], all->value);
  }
}

static void walk(Sums *x, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    if (s->loop == CELL_LOOP_LANES && s->extent <= (int64_t)MOST_VECTORS * x->target->lanes)
      for (CellStmt *i = s->body; i; i = i->next)
        if (fits(x, s->body, i)) split(x, i);
    walk(x, s->body);
  }
}

void fuse_split_sums(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Sums x = {.k = k, .target = target};
  walk(&x, k->body);
}
