/* turn_sums.c - sums over rows into one short row are kept in registers:
 *
 *     loop v1 = [0, 512)                          lanes v2 = [0, 16)
 *       %0 = load arg1[v1]                          %3 = acc sum
 *       lanes v2 = [0, 16)                          loop v1 = [0, 512)
 *         %1 = load arg2[16 v1 + v2]         ->       %0 = load arg1[v1]
 *         %2 = mul %0 %1                              %1 = load arg2[16 v1 + v2]
 *         add arg0[v2] %2                             %2 = mul %0 %1
 *                                                     update %3 %2
 *                                                   add arg0[v2] %3
 *
 * Instead of a load and a store of the sum for each row, which must wait for each other. Long rows stay as they
 * are: they would be read in strips. */
#include "ir/fuse.h"

enum { VECTORS = 8 }; /* of sums, at most */

static bool is_scalar(const CellStmt *s) {
  return s->kind == CELL_K_CONST || s->kind == CELL_K_LOAD || s->kind == CELL_K_LET ||
         s->kind == CELL_K_VAR;
}

static bool loads_from(const CellStmt *s, CellBufferRef buffer) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOAD && cell_same_buffer(s->buffer, buffer)) return true;
  return false;
}

// the lane loop that ends the rows' body, if all that it does is to add to rows that stay
static CellStmt *sums_of(const CellStmt *rows, const CellTarget *target) {
  CellStmt *lanes = rows->body;
  while (lanes && is_scalar(lanes)) lanes = lanes->next;
  if (!lanes || lanes->next || lanes->kind != CELL_K_LOOP || lanes->loop != CELL_LOOP_LANES)
    return NULL;
  if (cell_affine_coef(&lanes->begin, rows->var) != 0 || lanes->begin.loaded >= 0) return NULL;
  int64_t vectors = (lanes->extent + target->lanes - 1) / target->lanes;
  int sums = 0;
  for (const CellStmt *s = lanes->body; s; s = s->next) {
    if (is_scalar(s)) continue;
    if (s->kind != CELL_K_STORE || !s->add || s->index.loaded >= 0) return NULL;
    if (cell_affine_coef(&s->index, rows->var) != 0) return NULL;
    if (loads_from(rows->body, s->buffer) || loads_from(lanes->body, s->buffer)) return NULL;
    for (const CellStmt *t = lanes->body; t != s; t = t->next)
      if (t->kind == CELL_K_STORE && cell_same_buffer(t->buffer, s->buffer)) return NULL;
    sums++;
  }
  return sums > 0 && sums * vectors <= VECTORS ? lanes : NULL;
}

static CellStmt *turned(CellKernel *k, CellStmt *rows, CellStmt *lanes) {
  CellStmt *after = rows->next, *body = lanes->body;
  CellStmt **link = &rows->body;
  while (*link != lanes) link = &(*link)->next;
  *link = body;

  // a sum for each store: declared before the rows, stored behind them
  CellStmt *sums = NULL, **sum_tail = &sums, *stores = NULL, **store_tail = &stores;
  for (link = &rows->body; *link; link = &(*link)->next) {
    CellStmt *s = *link;
    if (s->kind != CELL_K_STORE) continue;
    CellStmt *sum = cell_stmt(k, &sum_tail, CELL_K_ACC);
    sum->reduce = CELL_SUM;
    CellStmt *update = NULL, **update_tail = &update;
    cell_stmt(k, &update_tail, CELL_K_UPDATE);
    update->value = sum->value, update->reduce = CELL_SUM, update->args[0] = s->args[0];
    update->span = s->span, update->next = s->next;
    *link = update;
    s->args[0] = sum->value, s->next = NULL;
    *store_tail = s;
    store_tail = &s->next;
  }
  *sum_tail = rows;
  rows->next = stores;
  lanes->body = sums;
  lanes->next = after;
  return lanes;
}

static void walk(CellKernel *k, const CellTarget *target, CellStmt **link) {
  for (; *link; link = &(*link)->next) {
    CellStmt *s = *link;
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    walk(k, target, &s->body);
    CellStmt *lanes = s->loop == CELL_LOOP_SERIAL ? sums_of(s, target) : NULL;
    if (lanes) *link = turned(k, s, lanes);
  }
}

void fuse_turn_sums(CellKernel *k, const CellTarget *target) {
  if (target->tune_lanes) walk(k, target, &k->body);
}
