/* cut_lanes.c - lane loops whose bodies are too much for the registers and for what a core looks ahead are cut
 * into several, with a row of numbers in between:
 *
 *     lanes v2 = [0, 400)                      lanes v2 = [0, 400)
 *       ... %9 = a sum of eight products         ... %9 = ...
 *       %10 = tanh %9                  ->        store s7[v2] %9
 *       update %0 %10                          lanes v3 = [0, 400)
 *                                                %11 = load s7[v3]
 *                                                %12 = tanh %11
 *                                                update %0 %12
 *
 * Iterations of a lane loop are independent, so any order of them is right; the numbers stay what they are. A
 * chain of products and then one of a polynomial and a division keep a core waiting if every vector must pass
 * both; a row in the first-level cache costs a store and a load. Where to cut is the cheapest way by a count
 * of operations, loads, stores and registers, over all ways (dynamic programming). What is loaded or constant is
 * loaded again instead of handed on. */
#include <stdlib.h>

#include "ir/fuse.h"

enum { MOST = 128 }; /* statements of a body that is considered */

typedef struct {
  double ops, loads, stores;
  int registers;
  bool possible;
} Price;

typedef struct {
  CellKernel *k;
  const CellTarget *target;
  int *slots; /* scratch number of the i-th row handed on */
  int slot_count, slot_capacity;
  /* the loop at hand */
  CellStmt *loop;
  CellStmt *list[MOST];
  int var[MOST]; /* of the loop that a statement is in by now */
  int count;
  int *defined; /* by value: its statement's position in the list, -1: outside */
  int *last;    /* by value: the last position that reads it, -1: none */
  /* by position */
  Price own[MOST];
  bool again[MOST]; /* its value may be made again */
  /* of an accumulator: where it is fed last, also by a loop inside, -1: nowhere here */
  int fed[MOST];
  int first_fed[MOST], next_fed[MOST]; /* those that are fed there for the last time, -1 ends */
  int first_ended[MOST],
      next_ended[MOST]; /* those whose value is read there for the last time, -1 ends */
} Cut;

/* ---- what a statement reads ---- */

typedef void (*Visit)(Cut *c, int *value, void *context);

static void visit_affine(Cut *c, CellAffine *a, Visit visit, void *context) {
  if (a->loaded >= 0) visit(c, &a->loaded, context);
}

static void visit_reads(Cut *c, CellStmt *s, bool list, Visit visit, void *context) {
  for (; s; s = list ? s->next : NULL) {
    visit_affine(c, &s->index, visit, context);
    visit_affine(c, &s->begin, visit, context);
    int n = s->kind == CELL_K_LET ? cell_op_info[s->op].arity
                                  : s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE;
    for (int i = 0; i < n; i++) visit(c, &s->args[i], context);
    if (s->kind == CELL_K_UPDATE) visit(c, &s->value, context);
    if (s->kind == CELL_K_LOOP) visit_reads(c, s->body, true, visit, context);
  }
}

static void note_read(Cut *c, int *value, void *context) {
  int at = *(int *)context;
  if (*value < c->k->value_count && c->last[*value] < at) c->last[*value] = at;
}

static bool stores_to(const CellStmt *s, CellBufferRef buffer) {
  for (; s; s = s->next)
    if ((s->kind == CELL_K_STORE && cell_same_buffer(s->buffer, buffer)) ||
        (s->kind == CELL_K_LOOP && stores_to(s->body, buffer)))
      return true;
  return false;
}

/* whether the value of a statement may be made again in a later loop: nothing that it reads changes */
static bool made_again(const Cut *c, const CellStmt *s) {
  if (s->kind == CELL_K_CONST) return true;
  if (s->kind == CELL_K_VAR) return s->index.loaded < 0;
  return s->kind == CELL_K_LOAD && s->index.loaded < 0 && !stores_to(c->loop->body, s->buffer);
}

static bool again(const Cut *c, int value) {
  return c->again[c->defined[value]];
}

/* ---- the price of a loop ---- */

static bool is_fused(const Cut *c, const CellStmt *s, int at) {
  if (at < 0 || at + 1 >= c->count || s->kind != CELL_K_LET || s->op != CELL_OP_MUL ||
      c->last[s->value] != at + 1)
    return false;
  const CellStmt *next = c->list[at + 1];
  return (next->kind == CELL_K_UPDATE || (next->kind == CELL_K_STORE && next->add) ||
          (next->kind == CELL_K_LET && (next->op == CELL_OP_ADD || next->op == CELL_OP_SUB)));
}

/* A loop of the statements [begin, end), while its end moves. */
typedef struct {
  int begin;
  int *seen; /* by value: the loop that has counted it, its begin + 1 */
  Price price;
  int open; /* accumulators and what is no float, that may not be needed past the end */
} Growing;

/* what a loop reads from before */
static void price_read(Cut *c, int *value, void *context) {
  Growing *g = context;
  int at = c->defined[*value];
  if (g->seen[*value] == g->begin + 1) return;
  g->seen[*value] = g->begin + 1;
  if (at < 0) {
    g->price.registers++; // the same for all lanes, or a sum
    return;
  }
  if (at >= g->begin) return;
  const CellStmt *s = c->list[at];
  if (s->kind == CELL_K_CONST) return;
  g->price.loads++;
  if (!again(c, *value) && s->dtype != CELL_F) g->price.possible = false;
}

static void price_stmt(Cut *c, CellStmt *s, int at, Price *p) {
  switch (s->kind) {
  case CELL_K_LOAD: p->loads++; break;
  case CELL_K_STORE: p->stores++, p->loads += s->add, p->ops += s->add; break;
  case CELL_K_UPDATE: p->ops++; break;
  case CELL_K_LET:
    if (is_fused(c, s, at)) break;
    p->ops += cell_op_info[s->op].flops;
    if (s->op == CELL_OP_DIV) p->ops += 8;
    /* coefficients */
    if (cell_op_info[s->op].flops >= 10) p->registers += 10, p->ops += 5;
    break;
  case CELL_K_LOOP:
    for (CellStmt *b = s->body; b; b = b->next) {
      Price inner = {.possible = true};
      price_stmt(c, b, -2, &inner);
      p->ops += inner.ops * (double)s->extent, p->loads += inner.loads * (double)s->extent;
      p->stores += inner.stores * (double)s->extent;
    }
    break;
  default: break;
  }
}

/* a value that is made inside and read past the end is handed on; by: 1 when it is made, -1 behind its last reader */
static void hand_on(Growing *g, const CellStmt *s, int by) {
  g->price.stores += by;
  if (s->dtype != CELL_F) g->open += by;
}

/* the statement at the end comes in */
static void grow(Cut *c, Growing *g, int at) {
  CellStmt *s = c->list[at];
  const Price *own = &c->own[at];
  g->price.ops += own->ops, g->price.loads += own->loads, g->price.stores += own->stores;
  g->price.registers += own->registers;
  visit_reads(c, s, false, price_read, g);
  /* an accumulator of the body and what feeds it stay together */
  if (s->kind == CELL_K_ACC && c->fed[at] > at) g->open++;
  if (s->value >= 0 && s->kind != CELL_K_UPDATE && c->last[s->value] > at && !c->again[at])
    hand_on(g, s, 1);
  for (int i = c->first_ended[at]; i >= 0; i = c->next_ended[i])
    if (i >= g->begin && !c->again[i]) hand_on(g, c->list[i], -1);
  for (int i = c->first_fed[at]; i >= 0; i = c->next_fed[i])
    if (i >= g->begin && i < at) g->open--;
}

/* cycles for a vector, about; negative: not possible */
static double price(const Cut *c, const Growing *g) {
  const Price *p = &g->price;
  if (!p->possible || g->open > 0) return -1;
  double most = p->ops / 2;
  if (p->loads / 2 > most) most = p->loads / 2;
  if (p->stores > most) most = p->stores;
  int room = c->target->lanes == 16 ? 29 : 13;
  if (p->registers > room) most += 0.5 * (p->registers - room);
  return most + 0.5;
}

/* ---- cutting ---- */

static int slot(Cut *c, int number, int64_t count) {
  CellKernel *k = c->k;
  if (number == c->slot_count) {
    CellScratch s = {.dtype = CELL_F, .name = "row between loops"};
    int scratch = k->scratch_count;
    CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
    CELL_PUSH(k->arena, c->slots, c->slot_count, c->slot_capacity, scratch);
  }
  CellScratch *s = &k->scratch[c->slots[number]];
  if (s->count < count) s->count = count;
  return c->slots[number];
}

typedef struct {
  int from, to;
} Rename;

static void rename_value(Cut *c, int *value, void *context) {
  (void)c;
  const Rename *r = context;
  if (*value == r->from) *value = r->to;
}

static void move_var(CellStmt *s, bool list, int from, int to) {
  for (; s; s = list ? s->next : NULL) {
    s->index = cell_affine_put(s->index, from, cell_affine_var(to, 1));
    s->begin = cell_affine_put(s->begin, from, cell_affine_var(to, 1));
    if (s->kind == CELL_K_LOOP) move_var(s->body, true, from, to);
  }
}

typedef struct {
  int begin;
  CellStmt *loop; /* the new one */
  CellStmt ***tail;
  int *slot_of; /* by value: the row that holds it, -1 */
  int made[MOST], made_as[MOST], made_count;
} Hand;

/* the value as the new loop has it */
static void take_over(Cut *c, int *value, void *context) {
  Hand *h = context;
  if (*value >= c->k->value_count || c->defined[*value] < 0 || c->defined[*value] >= h->begin)
    return;
  for (int i = 0; i < h->made_count; i++)
    if (h->made[i] == *value) return;
  const CellStmt *s = c->list[c->defined[*value]];
  CellStmt *load;
  if (again(c, *value)) {
    load = cell_stmt(c->k, h->tail, s->kind);
    load->dtype = s->dtype, load->number = s->number, load->buffer = s->buffer;
    load->index =
        cell_affine_put(s->index, c->var[c->defined[*value]], cell_affine_var(h->loop->var, 1));
  } else {
    load = cell_stmt(c->k, h->tail, CELL_K_LOAD);
    load->buffer = (CellBufferRef){true, h->slot_of[*value]};
    load->index = cell_loop_place(h->loop);
  }
  h->made[h->made_count] = *value, h->made_as[h->made_count++] = load->value;
}

static void cut_loop(Cut *c, const int *ends, int parts) {
  CellKernel *k = c->k;
  int values = k->value_count;
  int *slot_of = cell_malloc(((size_t)values + 1) * sizeof *slot_of), slots = 0;
  for (int i = 0; i <= values; i++) slot_of[i] = -1;
  CellStmt *after = c->loop->next, *loop = c->loop;
  for (int p = 0; p < parts; p++) {
    int begin = p ? ends[p - 1] : 0, end = ends[p];
    CellStmt **tail = &loop->body;
    if (p > 0) {
      CellStmt *next = NULL, **link = &next;
      CellStmt *made = cell_stmt(k, &link, CELL_K_LOOP);
      made->loop = loop->loop, made->begin = loop->begin, made->extent = loop->extent;
      made->limit = loop->limit;
      loop->next = made, loop = made, tail = &loop->body;
      Hand hand = {.begin = begin, .loop = loop, .tail = &tail, .slot_of = slot_of};
      for (int i = begin; i < end; i++) visit_reads(c, c->list[i], false, take_over, &hand);
      for (int i = begin; i < end; i++) {
        for (int m = 0; m < hand.made_count; m++) {
          Rename r = {hand.made[m], hand.made_as[m]};
          visit_reads(c, c->list[i], false, rename_value, &r);
        }
        move_var(c->list[i], false, c->loop->var, loop->var);
        c->var[i] = loop->var;
      }
    }
    for (int i = begin; i < end; i++) {
      *tail = c->list[i];
      tail = &c->list[i]->next;
    }
    *tail = NULL;
    for (int i = begin; i < end; i++) {
      int value = c->list[i]->kind == CELL_K_UPDATE ? -1 : c->list[i]->value;
      if (value < 0 || c->last[value] < end || again(c, value)) continue;
      slot_of[value] = slot(c, slots++, loop->extent);
      CellStmt *store = cell_stmt(k, &tail, CELL_K_STORE);
      store->buffer = (CellBufferRef){true, slot_of[value]};
      store->index = cell_loop_place(loop);
      store->args[0] = value;
    }
  }
  loop->next = after;
  free(slot_of);
}

/* where the statement at `at` feeds the body's accumulators, itself or inside */
static void note_fed(Cut *c, const CellStmt *s, bool list, int at) {
  for (; s; s = list ? s->next : NULL) {
    if (s->kind == CELL_K_LOOP) note_fed(c, s->body, true, at);
    int sum = s->kind == CELL_K_UPDATE ? c->defined[s->value] : -1;
    if (sum >= 0) c->fed[sum] = at;
  }
}

/* a loop of lanes: the cheapest cuts, if any are cheaper than none */
static void consider(Cut *c, CellStmt *loop) {
  c->loop = loop, c->count = 0;
  for (CellStmt *s = loop->body; s; s = s->next) {
    if (c->count == MOST) return;
    c->var[c->count] = loop->var;
    c->list[c->count++] = s;
  }
  if (c->count < 12 || loop->extent < 4 * c->target->lanes) return;
  int values = c->k->value_count;
  c->defined = cell_malloc(((size_t)values + 1) * sizeof(int));
  c->last = cell_malloc(((size_t)values + 1) * sizeof(int));
  int *seen = cell_malloc(((size_t)values + 1) * sizeof(int));
  for (int i = 0; i <= values; i++) c->defined[i] = c->last[i] = -1;
  for (int i = 0; i < c->count; i++) {
    CellStmt *s = c->list[i];
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) c->defined[s->value] = i;
    visit_reads(c, s, false, note_read, &i);
  }

  for (int i = 0; i < c->count; i++) c->first_ended[i] = c->first_fed[i] = c->fed[i] = -1;
  for (int i = 0; i < c->count; i++) {
    CellStmt *s = c->list[i];
    c->own[i] = (Price){0};
    price_stmt(c, s, i, &c->own[i]);
    c->again[i] = made_again(c, s);
    note_fed(c, s, false, i);
    if (s->value < 0 || s->kind == CELL_K_UPDATE || c->last[s->value] <= i) continue;
    c->next_ended[i] = c->first_ended[c->last[s->value]], c->first_ended[c->last[s->value]] = i;
  }

  for (int i = 0; i < c->count; i++)
    if (c->fed[i] > i) c->next_fed[i] = c->first_fed[c->fed[i]], c->first_fed[c->fed[i]] = i;

  double best[MOST + 1], whole = -1;
  int from[MOST + 1];
  best[0] = 0, from[0] = 0;
  for (int i = 1; i <= c->count; i++) best[i] = -1, from[i] = 0;
  for (int begin = 0; begin < c->count; begin++) {
    if (best[begin] < 0) continue;
    Growing g = {.begin = begin, .seen = seen, .price = {.possible = true, .registers = 3}};
    for (int end = begin + 1; end <= c->count && g.price.possible; end++) {
      grow(c, &g, end - 1);
      double own = price(c, &g);
      if (own < 0) continue;
      if (begin == 0 && end == c->count) whole = own;
      /* at equal prices fewer loops: those that begin earlier come first */
      if (best[end] < 0 || best[begin] + own < best[end] - 1e-9)
        best[end] = best[begin] + own, from[end] = begin;
    }
  }
  if (best[c->count] > 0 && best[c->count] < 0.95 * whole) {
    int ends[MOST], parts = 0;
    for (int end = c->count; end > 0; end = from[end]) parts++;
    for (int end = c->count, i = parts; end > 0; end = from[end]) ends[--i] = end;
    if (parts > 1) cut_loop(c, ends, parts);
  }
  free(c->defined);
  free(c->last);
  free(seen);
}

static void walk(Cut *c, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    if (s->loop == CELL_LOOP_LANES)
      consider(c, s);
    else
      walk(c, s->body);
  }
}

void fuse_cut_lanes(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Cut *c = cell_malloc(sizeof *c);
  *c = (Cut){.k = k, .target = target};
  walk(c, k->body);
  for (int i = 0; i < c->slot_count; i++) {
    CellScratch *s = &k->scratch[c->slots[i]];
    s->offset = k->scratch_bytes;
    k->scratch_bytes += (s->count * 4 + 63) / 64 * 64;
  }
  free(c);
}
