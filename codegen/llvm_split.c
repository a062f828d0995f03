/* llvm_split.c - cuts a kernel into pieces: contractions, and loops that are not too long.
 *
 *     loop v8 = [0, 10)                             loop v8 = [0, 10)
 *       contract s1[...] arg6[...] -> s2[...]         call piece 0 (s1 + ..., arg6, s2)
 *       %4 = acc sum                           ->     call piece 1 (s2, result %4) v8
 *       lanes v9 = [0, 400)                           %6 = div %4 %5
 *         ... update %4 %3
 *       %6 = div %4 %5
 *
 * A fused kernel may have thousands of statements; compiled as one function it would take one core a long
 * time. Pieces are compiled on all cores, and those with equal texts once: the same cell on another batch,
 * with other parameters or in another program. An accumulator whose updates all lie in one loop moves into
 * that loop's piece and comes back as a result; a loop that updates others stays where it is. */
#include "codegen/llvm_split.h"

#include <stdlib.h>

enum { LONGEST = 160 }; // statements of a piece; longer serial loops are entered instead

typedef struct {
  CellPieces *pieces;
  const CellKernel *k;
  CellSplit *split;
  CellKey seed;
  /* of the piece being made */
  CellPieceCall *call;
  CellKernel *mini;
  int *vars, *values; /* old number -> new, where it has one */
  /* What holds for the piece or loop at hand has its number here: nothing is cleared from one to the next. */
  int now;
  int *made_var, *made_value; /* it has a new number */
  int *own_var, *own_value;   /* it belongs to the loop */
  const CellStmt **defs;      /* by value number */
  int *updates, *here; /* by value number: how often the kernel, the loop at hand, updates it */
  int *updated, updated_count; /* values that the loop at hand updates */
  int arg_capacity;
} Split;

// ---- what the text says ----

static int length(const CellStmt *s, bool list) {
  int sum = 0;
  for (; s; s = list ? s->next : NULL) {
    sum++;
    if (s->kind == CELL_K_LOOP)
      sum += length(s->body, true) * (s->loop == CELL_LOOP_UNROLL ? (int)s->extent : 1);
    if (sum > 1000000) return sum;
  }
  return sum;
}

static bool contracts(const CellStmt *s) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_CONTRACT || (s->kind == CELL_K_LOOP && contracts(s->body))) return true;
  return false;
}

static void count_updates(const CellStmt *s, int *counts, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->kind == CELL_K_UPDATE) counts[s->value]++;
    if (s->kind == CELL_K_LOOP) count_updates(s->body, counts, true);
  }
}

static bool reads(const CellStmt *s, int value, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->index.loaded == value || s->begin.loaded == value) return true;
    if (s->kind == CELL_K_CONTRACT) {
      const CellAffine *affines[] = {&s->a.base,  &s->b.base, &s->out.base, &s->m_begin,
                                     &s->n_begin, &s->u.base, &s->v.base};
      for (size_t i = 0; i < sizeof affines / sizeof *affines; i++)
        if (affines[i]->loaded == value) return true;
    }
    if (s->kind == CELL_K_LET || s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE)
      for (int i = 0; i < 3; i++)
        if (s->args[i] == value) return true;
    if (s->kind == CELL_K_LOOP && reads(s->body, value, true)) return true;
  }
  return false;
}

// the same of the loop at hand, with a list of the values
static void count_here(Split *x, const CellStmt *s, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->kind == CELL_K_UPDATE && x->here[s->value]++ == 0)
      x->updated[x->updated_count++] = s->value;
    if (s->kind == CELL_K_LOOP) count_here(x, s->body, true);
  }
}

static void mark_own(Split *x, const CellStmt *s, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) x->own_value[s->value] = x->now;
    if (s->kind == CELL_K_LOOP) {
      x->own_var[s->var] = x->now;
      mark_own(x, s->body, true);
    }
  }
}

// ---- arguments ----

static int new_arg(Split *x, CellDtype dtype, bool written) {
  CellKernel *m = x->mini;
  int i = m->arg_count, capacity = x->arg_capacity;
  m->written = cell_arena_grow(x->pieces->arena, m->written, i, &capacity, sizeof *m->written);
  capacity = x->arg_capacity;
  m->args = cell_arena_grow(x->pieces->arena, m->args, i, &capacity, sizeof *m->args);
  x->arg_capacity = capacity;
  m->args[i] = dtype, m->written[i] = written;
  return m->arg_count++;
}

static CellBufferRef copy_buffer(Split *x, CellBufferRef ref, bool written,
                                 const CellAffine *base) {
  CellPieceCall *call = x->call;
  CellBind bind = {.kind = CELL_BIND_BUFFER, .buffer = ref, .base = base ? *base : cell_affine(0)};
  // a place of a contraction is an argument of its own
  for (int i = 0; i < call->bind_count && !base; i++)
    if (call->binds[i].kind == CELL_BIND_BUFFER && call->binds[i].buffer.scratch == ref.scratch &&
        call->binds[i].buffer.index == ref.index) {
      x->mini->written[i] = x->mini->written[i] || written;
      return (CellBufferRef){false, i};
    }
  CellDtype dtype = ref.scratch ? x->k->scratch[ref.index].dtype : x->k->args[ref.index];
  CELL_PUSH(x->pieces->arena, call->binds, call->bind_count, call->bind_capacity, bind);
  return (CellBufferRef){false, new_arg(x, dtype, written)};
}

static void number_value(Split *x, int value, int number) {
  x->values[value] = number;
  x->made_value[value] = x->now;
}

static void number_var(Split *x, int var, int number) {
  x->vars[var] = number;
  x->made_var[var] = x->now;
}

static int new_param(Split *x, CellAffine value) {
  CellPieceCall *call = x->call;
  CELL_PUSH(x->pieces->arena, call->params, call->param_count, call->param_capacity, value);
  return x->mini->var_count++;
}

// ---- what comes from outside: numbered first ----

static void outer_value(Split *x, CellStmt ***tail, int value) {
  if (value < 0 || x->own_value[value] == x->now || x->made_value[value] == x->now) return;
  CellBind bind = {.kind = CELL_BIND_VALUE, .base = cell_affine(0), .value = value};
  CellPieceCall *call = x->call;
  CELL_PUSH(x->pieces->arena, call->binds, call->bind_count, call->bind_capacity, bind);
  CellStmt *load = cell_stmt(x->mini, tail, CELL_K_LOAD);
  load->dtype = x->defs[value]->dtype;
  load->buffer = (CellBufferRef){false, new_arg(x, load->dtype, false)};
  number_value(x, value, load->value);
}

static void outer_affine(Split *x, CellStmt ***tail, const CellAffine *a) {
  for (int i = 0; i < a->term_count; i++) {
    int var = a->terms[i].var;
    if (x->own_var[var] != x->now && x->made_var[var] != x->now)
      number_var(x, var, new_param(x, cell_affine_var(var, 1)));
  }
  outer_value(x, tail, a->loaded);
}

static void collect(Split *x, CellStmt ***tail, const CellStmt *s, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->kind == CELL_K_LET || s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE)
      for (int i = 0; i < 3; i++) outer_value(x, tail, s->args[i]);
    outer_affine(x, tail, &s->index);
    outer_affine(x, tail, &s->begin);
    if (s->end_var >= 0) {
      CellAffine end = cell_affine_var(s->end_var, 1);
      outer_affine(x, tail, &end);
    }
    if (s->kind == CELL_K_LOOP) collect(x, tail, s->body, true);
  }
}

// ---- the canonical copy ----

static CellAffine copy_affine(const Split *x, const CellAffine *a) {
  CellAffine copy = cell_affine(a->base);
  for (int i = 0; i < a->term_count; i++)
    copy = cell_affine_add(copy, cell_affine_var(x->vars[a->terms[i].var], a->terms[i].coef));
  if (a->loaded >= 0) copy.loaded = x->values[a->loaded], copy.loaded_coef = a->loaded_coef;
  return copy;
}

static void copy_stmt(Split *x, CellStmt ***tail, const CellStmt *s) {
  CellStmt *to = cell_stmt(x->mini, tail, s->kind);
  if (s->kind == CELL_K_UPDATE)
    to->value = x->values[s->value];
  else if (s->value >= 0)
    number_value(x, s->value, to->value);
  if (s->kind == CELL_K_LOOP) number_var(x, s->var, to->var);
  to->dtype = s->dtype, to->op = s->op, to->number = s->number, to->reduce = s->reduce;
  to->add = s->add, to->loop = s->loop, to->extent = s->extent, to->limit = s->limit;
  to->whole = s->whole;
  if (s->end_var >= 0) to->end_var = x->vars[s->end_var], to->end_scale = s->end_scale;
  for (int i = 0; i < 3; i++)
    if (s->args[i] >= 0) to->args[i] = x->values[s->args[i]];
  to->index = copy_affine(x, &s->index);
  to->begin = copy_affine(x, &s->begin);
  if (s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE)
    to->buffer = copy_buffer(x, s->buffer, s->kind == CELL_K_STORE, NULL);
  CellStmt **body = &to->body;
  for (const CellStmt *inner = s->body; inner; inner = inner->next) copy_stmt(x, &body, inner);
}

// bits are found by their number, so their place is a parameter; of floats it is the argument itself
static CellView copy_view(Split *x, const CellView *v, bool written) {
  CellDtype dtype =
      v->buffer.scratch ? x->k->scratch[v->buffer.index].dtype : x->k->args[v->buffer.index];
  CellAffine zero = cell_affine(0);
  CellView copy = {.row_stride = v->row_stride, .k_stride = v->k_stride, .base = zero};
  copy.buffer = copy_buffer(x, v->buffer, written, dtype == CELL_BITS ? &zero : &v->base);
  if (dtype == CELL_BITS) copy.base = cell_affine_var(new_param(x, v->base), 1);
  return copy;
}

static void copy_contract(Split *x, CellStmt ***tail, const CellStmt *s) {
  CellStmt *to = cell_stmt(x->mini, tail, CELL_K_CONTRACT);
  to->a = copy_view(x, &s->a, false);
  to->b = copy_view(x, &s->b, false);
  to->out = copy_view(x, &s->out, true);
  to->m = s->m, to->n = s->n, to->k = s->k, to->add = s->add, to->sparse = s->sparse;
  to->terms = s->terms;
  if (s->terms > 0) to->u = copy_view(x, &s->u, false), to->v = copy_view(x, &s->v, false);
  to->m_limit = s->m_limit, to->n_limit = s->n_limit;
  if (s->m_limit > 0) to->m_begin = cell_affine_var(new_param(x, s->m_begin), 1);
  if (s->end_var >= 0) {
    to->end_var = new_param(x, cell_affine_var(s->end_var, s->end_scale)), to->end_scale = 1;
    if (cell_is_bits(x->k, s->a.buffer)) to->a_all = cell_affine_var(new_param(x, s->a_all), 1);
  }
  if (s->n_limit > 0) to->n_begin = cell_affine_var(new_param(x, s->n_begin), 1);
}

static void finish(Split *x, CellPieceCall *call, const CellPiece *made) {
  CellPieces *all = x->pieces;
  CellKey key = cell_kernel_key(&made->kernel, x->seed);
  key = cell_key(key, &made->params, sizeof made->params);
  call->piece = 0;
  while (call->piece < all->count && !cell_key_equal(all->pieces[call->piece].key, key))
    call->piece++;
  if (call->piece == all->count) {
    CellPiece piece = *made;
    piece.key = key;
    CELL_PUSH(all->arena, all->pieces, all->count, all->capacity, piece);
  }
  CELL_PUSH(all->arena, x->split->calls, x->split->call_count, x->split->call_capacity, *call);
}

// `accs`: the accumulators that come with the loop
static void make_piece(Split *x, const CellStmt *s, const int *accs, int acc_count) {
  CellPiece made = {.kernel = {.arena = x->pieces->arena, .name = "piece", .tasks = 1}};
  CellPieceCall call = {.stmt = s};
  x->mini = &made.kernel, x->call = &call, x->arg_capacity = 0;
  x->now++;
  CellStmt **tail = &made.kernel.body;

  if (s->kind == CELL_K_CONTRACT) {
    // parameters as variables must not become loops: this has none
    copy_contract(x, &tail, s);
    made.params = made.kernel.var_count;
    if (made.kernel.var_count == 0) made.kernel.var_count = 1;
    finish(x, &call, &made);
    x->call = NULL, x->mini = NULL;
    return;
  }

  mark_own(x, s, false);
  for (int i = 0; i < acc_count; i++) x->own_value[accs[i]] = x->now;
  collect(x, &tail, s, false);
  made.params = made.kernel.var_count;
  if (made.kernel.var_count == 0) made.kernel.var_count = 1;
  for (int i = 0; i < acc_count; i++) copy_stmt(x, &tail, x->defs[accs[i]]);
  copy_stmt(x, &tail, s);
  for (int i = 0; i < acc_count; i++) {
    CellBind bind = {.kind = CELL_BIND_RESULT, .base = cell_affine(0), .value = accs[i]};
    CELL_PUSH(x->pieces->arena, call.binds, call.bind_count, call.bind_capacity, bind);
    CellStmt *store = cell_stmt(x->mini, &tail, CELL_K_STORE);
    store->args[0] = x->values[accs[i]];
    store->buffer = (CellBufferRef){false, new_arg(x, x->defs[accs[i]]->dtype, true)};
    x->split->absorbed[accs[i]] = true;
  }
  finish(x, &call, &made);
  x->call = NULL, x->mini = NULL;
}

// ---- the walk ----

static int by_number(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return (x > y) - (x < y);
}

static void walk(Split *x, const CellStmt *body) {
  enum { MOST = 24 };
  for (const CellStmt *s = body; s; s = s->next) {
    if (s->kind == CELL_K_CONTRACT) make_piece(x, s, NULL, 0);
    if (s->kind != CELL_K_LOOP) continue;
    if (contracts(s->body) || (length(s, false) > LONGEST && s->loop == CELL_LOOP_SERIAL)) {
      walk(x, s->body);
      continue;
    }

    // accumulators from outside that the loop updates: all of this body, and no one else's
    int accs[MOST], count = 0;
    bool good = true;
    x->now++;
    mark_own(x, s, false);
    x->updated_count = 0;
    count_here(x, s, false);
    qsort(x->updated, (size_t)x->updated_count, sizeof *x->updated, by_number);
    for (int u = 0; u < x->updated_count && good; u++) {
      int i = x->updated[u];
      if (x->own_value[i] == x->now) continue;
      bool beside = false;
      for (const CellStmt *d = body; d != s; d = d->next) {
        if (beside && reads(d, i, false)) good = false; // its value before the loop
        beside = beside || d == x->defs[i];
      }
      good = good && beside;
      good = good && count < MOST && x->here[i] == x->updates[i];
      if (good) accs[count++] = i;
    }
    for (int u = 0; u < x->updated_count; u++) x->here[x->updated[u]] = 0;
    if (good) make_piece(x, s, accs, count);
  }
}

static void find_defs(Split *x, const CellStmt *s) {
  for (; s; s = s->next) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) x->defs[s->value] = s;
    if (s->kind == CELL_K_LOOP) find_defs(x, s->body);
  }
}

CellSplit *cell_split(CellPieces *pieces, const CellKernel *k, CellKey seed) {
  CellArena *arena = pieces->arena;
  Split x = {.pieces = pieces, .k = k, .seed = seed, .split = CELL_NEW(arena, CellSplit)};
  size_t values = (size_t)k->value_count + 1, vars = (size_t)k->var_count + 1;
  x.split->absorbed = CELL_NEW_ARRAY(arena, bool, values);
  int **tables[] = {&x.values, &x.made_value, &x.own_value, &x.updates, &x.here, &x.updated};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    *tables[i] = CELL_NEW_ARRAY(arena, int, values);
  x.defs = CELL_NEW_ARRAY(arena, const CellStmt *, values);
  x.vars = CELL_NEW_ARRAY(arena, int, vars);
  x.made_var = CELL_NEW_ARRAY(arena, int, vars);
  x.own_var = CELL_NEW_ARRAY(arena, int, vars);
  find_defs(&x, k->body);
  count_updates(k->body, x.updates, true);
  walk(&x, k->body);
  return x.split;
}

const CellPieceCall *cell_split_call(const CellSplit *split, const CellStmt *stmt) {
  for (int i = 0; i < split->call_count; i++)
    if (split->calls[i].stmt == stmt) return &split->calls[i];
  return NULL;
}
