/* test_lower.c - loop trees: LLVM against the kernel interpreter, on kernels written by hand and on
 * random ones. */
#include "kernels.h"

static void each_isa(void (*test)(CellIsa isa)) {
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas);
  for (int i = 0; i < n; i++) test(isas[i]);
}

/* rows of 37: maximum, its place, sum of exponentials, normalised; ragged tasks */
static void softmax_rows(CellIsa isa) {
  CellArena *arena = cell_arena_create();
  Arg args[4] = {{CELL_F, 50 * 37, 0, false},
                 {CELL_F, 50 * 37, 0, true},
                 {CELL_I, 50, 0, true},
                 {CELL_F, 50, 0, true}};
  CellKernel *k = new_kernel(arena, "softmax", 4, 4, args);
  CellStmt **tail = &k->body, **row, **lane;
  int r = loop(k, &tail, CELL_LOOP_SERIAL, cell_affine_var(0, 16), 16, 50, &row)->var;
  int top = acc(k, &row, CELL_REDUCE_MAX), where = acc(k, &row, CELL_ARGMAX);
  int sum = acc(k, &row, CELL_SUM);
  int v = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), 37, 0, &lane)->var;
  int x = load(k, &lane, arg(0), index2(0, 37, r, 1, v));
  update(k, &lane, CELL_REDUCE_MAX, top, x, cell_affine(0));
  update(k, &lane, CELL_ARGMAX, where, x, cell_affine_var(v, 1));
  v = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), 37, 0, &lane)->var;
  x = load(k, &lane, arg(0), index2(0, 37, r, 1, v));
  int e = let(k, &lane, CELL_OP_EXP, let(k, &lane, CELL_OP_SUB, x, top, -1), -1, -1);
  update(k, &lane, CELL_SUM, sum, e, cell_affine(0));
  store(k, &lane, arg(1), index2(0, 37, r, 1, v), e, false);
  int scale = let(k, &row, CELL_OP_DIV, number(k, &row, 1), sum, -1);
  v = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), 37, 0, &lane)->var;
  x = load(k, &lane, arg(1), index2(0, 37, r, 1, v));
  store(k, &lane, arg(1), index2(0, 37, r, 1, v), let(k, &lane, CELL_OP_MUL, x, scale, -1), false);
  store(k, &row, arg(2), cell_affine_var(r, 1), where, false);
  store(k, &row, arg(3), cell_affine_var(r, 1), sum, false);
  assert_valid(k);
  compare(plan_of(arena, k, args, 128), args, isa, 1e-6, 3, NULL);
  cell_arena_destroy(arena);
}

static void softmax(void **state) {
  (void)state;
  each_isa(softmax_rows);
}

/* the rank-8 fused product: T = tanh(sum_k z[k, i] c[k, j]), y_i = sum_j T h_j; a running total
 * over i that is read inside the loop that lanes update; a column sum in scratch that is added to
 */
static void fused_product(CellIsa isa) {
  CellArena *arena = cell_arena_create();
  enum { D = 45 };
  Arg args[5] = {{CELL_F, 8 * D, 0, false},
                 {CELL_F, 8 * D, 0, false},
                 {CELL_F, D, 0, false},
                 {CELL_F, 2 * D, 0, true},
                 {CELL_F, D, 0, true}};
  CellKernel *k = new_kernel(arena, "product", 1, 5, args);
  CellBufferRef s = new_scratch(k, D);
  CellStmt **tail = &k->body, **row, **lane, **inner;
  int zero = number(k, &tail, 0);
  int j = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), D, 0, &lane)->var;
  store(k, &lane, s, cell_affine_var(j, 1), zero, false);
  int total = acc(k, &tail, CELL_SUM);
  int i = loop(k, &tail, CELL_LOOP_SERIAL, cell_affine(0), D, 0, &row)->var;
  int y = acc(k, &row, CELL_SUM);
  j = loop(k, &row, CELL_LOOP_LANES, cell_affine(0), D, 0, &lane)->var;
  int m = acc(k, &lane, CELL_SUM);
  int n = loop(k, &lane, CELL_LOOP_UNROLL, cell_affine(0), 8, 0, &inner)->var;
  int z = load(k, &inner, arg(0), index2(0, D, n, 1, i));
  int c = load(k, &inner, arg(1), index2(0, D, n, 1, j));
  update(k, &inner, CELL_SUM, m, let(k, &inner, CELL_OP_MUL, z, c, -1), cell_affine(0));
  int t = let(k, &lane, CELL_OP_TANH, m, -1, -1);
  int h = load(k, &lane, arg(2), cell_affine_var(j, 1));
  update(k, &lane, CELL_SUM, y, let(k, &lane, CELL_OP_MUL, t, h, -1), cell_affine(0));
  update(k, &lane, CELL_SUM, total, t, cell_affine(0));
  store(k, &lane, s, cell_affine_var(j, 1), let(k, &lane, CELL_OP_MUL, t, t, -1), true);
  store(k, &row, arg(3), cell_affine_var(i, 1), y, false);
  store(k, &row, arg(3), index2(D, 1, i, 0, -1), total, false);
  update(k, &row, CELL_SUM, total, y, cell_affine(0));
  j = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), D, 0, &lane)->var;
  int w = load(k, &lane, s, cell_affine_var(j, 1));
  store(k, &lane, arg(4), cell_affine_var(j, 1), let(k, &lane, CELL_OP_SUB, w, total, -1), false);
  assert_valid(k);
  compare(plan_of(arena, k, args, 128), args, isa, 2e-5, 5, NULL);
  cell_arena_destroy(arena);
}

static void fused(void **state) {
  (void)state;
  each_isa(fused_product);
}

/* bits along the lanes and across, gathers and scatters by a loaded index, integers */
static void indirect_accesses(CellIsa isa) {
  CellArena *arena = cell_arena_create();
  enum { N = 29 };
  Arg args[6] = {{CELL_BITS, 5 * 45, 45, false}, {CELL_I, N, 0, false}, {CELL_F, 200, 0, false},
                 {CELL_F, 4 * N, 0, true},       {CELL_I, N, 0, true},  {CELL_F, 7, 0, true}};
  CellKernel *k = new_kernel(arena, "indirect", 1, 6, args);
  CellStmt **tail = &k->body, **lane;
  int v = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), N, 0, &lane)->var;
  int at = load(k, &lane, arg(1), cell_affine_var(v, 1));
  CellAffine gathered = cell_affine_var(v, 3);
  gathered.loaded = at, gathered.loaded_coef = 5;
  int x = load(k, &lane, arg(2), gathered);
  int along = load(k, &lane, arg(0), index2(64 + 9, 1, v, 0, -1));
  int sum = let(k, &lane, CELL_OP_ADD, x, let(k, &lane, CELL_OP_MUL, along, along, -1), -1);
  store(k, &lane, arg(3), cell_affine_var(v, 1), sum, false);
  store(k, &lane, arg(3), index2(N, 2, v, 0, -1), sum, true);
  int index = let(k, &lane, CELL_OP_ADD, at, at, -1);
  for (CellStmt *s = k->body->body; s; s = s->next)
    if (s->value == index) s->dtype = CELL_I;
  store(k, &lane, arg(4), cell_affine_var(v, 1), index, false);
  int real = let(k, &lane, CELL_OP_FLOAT, index, -1, -1);
  CellAffine scattered = cell_affine(0);
  scattered.loaded = at, scattered.loaded_coef = 1;
  store(k, &lane, arg(5), scattered, real, true);
  assert_valid(k);
  compare(plan_of(arena, k, args, 128), args, isa, 1e-6, 9, NULL);
  cell_arena_destroy(arena);
}

static void indirect(void **state) {
  (void)state;
  each_isa(indirect_accesses);
}

/* Lanes across rows of `step` entries: all entries of a row, in order and the other way round, one that is read again
 * before the row is whole, integers, and only some entries; whole vectors and a rest. */
static void apart_by(CellIsa isa, int step) {
  CellArena *arena = cell_arena_create();
  enum { ROWS = 85, OTHERS = 2 };
  int64_t all = (int64_t)ROWS * step;
  Arg args[8] = {{CELL_F, all, 0, false}, {CELL_F, step, 0, false}, {CELL_I, all, 0, false},
                 {CELL_F, all, 0, true},  {CELL_F, all, 0, true},   {CELL_F, ROWS, 0, true},
                 {CELL_I, all, 0, true},  {CELL_F, all, 0, true}};
  CellKernel *k = new_kernel(arena, "apart", 1, 8, args);
  CellStmt **tail = &k->body, **lane, **entry;
  int v = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), ROWS, 0, &lane)->var;
  int last = load(k, &lane, arg(0), index2(step - 1, step, v, 0, -1));
  store(k, &lane, arg(3), index2(0, step, v, 0, -1), last, false);
  int u = loop(k, &lane, CELL_LOOP_UNROLL, cell_affine(0), step, 0, &entry)->var;
  int x = load(k, &entry, arg(0), index2(0, step, v, 1, u));
  int y = let(k, &entry, CELL_OP_MUL, x, load(k, &entry, arg(1), cell_affine_var(u, 1)), -1);
  int again = load(k, &entry, arg(3), index2(0, step, v, 0, -1));
  store(k, &entry, arg(3), index2(0, step, v, 1, u), let(k, &entry, CELL_OP_ADD, y, again, -1),
        false);
  store(k, &entry, arg(4), index2(step - 1, step, v, -1, u), y, false);
  store(k, &entry, arg(6), index2(0, step, v, 1, u),
        load(k, &entry, arg(2), index2(step - 1, step, v, -1, u)), false);
  store(k, &lane, arg(5), cell_affine_var(v, 1),
        load(k, &lane, arg(4), index2(step - 1, step, v, 0, -1)), false);
  for (int i = 0; i < OTHERS; i++)
    store(k, &lane, arg(7), index2(i * (step - 1), step, v, 0, -1), last, false);
  assert_valid(k);
  compare(plan_of(arena, k, args, 128), args, isa, 1e-6, (uint64_t)step, NULL);
  cell_arena_destroy(arena);
}

static void apart_by_any(CellIsa isa) {
  static const int steps[] = {2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 32};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) apart_by(isa, steps[i]);
}

static void apart(void **state) {
  (void)state;
  each_isa(apart_by_any);
}

/* ---- random kernels ---- */

typedef struct {
  CellKernel *k;
  uint64_t random;
  int floats[256]; /* visible float values, and ints */
  int float_count;
  int accs[32];
  CellReduce acc_kinds[32];
  int acc_count;
  int vars[8], var_count; /* visible variables, by depth */
  int64_t extents[8];
  int depth;
  bool lanes;
  int lane_var;
} Maker;

enum { EXTENT = 40, ARGS = 4, SIZE = 40 * 40 * 3 };

static int pick(Maker *m, const int *items, int count) {
  return items[next_below(&m->random, count)];
}

/* an index of at most two of the visible variables, inside the buffer */
static CellAffine some_index(Maker *m) {
  CellAffine a = cell_affine(next_below(&m->random, 20));
  int64_t room = SIZE - 64 - a.base;
  for (int i = 0; i < m->var_count; i++) {
    if (next_below(&m->random, 3) == 0 && m->vars[i] != m->lane_var) continue;
    static const int64_t coefs[] = {1, 1, 1, 2, 3, 40, 45};
    int64_t coef = coefs[next_below(&m->random, 7)];
    if (m->vars[i] == m->lane_var && next_below(&m->random, 3) > 0) coef = 1;
    if (coef * (m->extents[i] - 1) > room) continue;
    room -= coef * (m->extents[i] - 1);
    a = cell_affine_add(a, cell_affine_var(m->vars[i], coef));
  }
  return a;
}

/* what is stored must be disjoint for the lanes: the whole of this store's own range */
static CellAffine own_index(Maker *m) {
  CellAffine a = cell_affine(0);
  int64_t coef = 1;
  for (int i = m->var_count - 1; i >= 0; i--) {
    a = cell_affine_add(a, cell_affine_var(m->vars[i], coef));
    coef *= m->extents[i];
  }
  return a;
}

static void make_body(Maker *m, CellStmt ***tail, int *stores);

static void make_loop(Maker *m, CellStmt ***tail, int *stores) {
  static const CellLoopKind kinds[] = {CELL_LOOP_SERIAL, CELL_LOOP_LANES, CELL_LOOP_LANES,
                                       CELL_LOOP_UNROLL};
  CellLoopKind kind = kinds[next_below(&m->random, 4)];
  if (kind == CELL_LOOP_LANES && m->lanes) kind = CELL_LOOP_SERIAL;
  int64_t extent =
      kind == CELL_LOOP_LANES ? 1 + next_below(&m->random, EXTENT) : 1 + next_below(&m->random, 5);
  int64_t total = 1;
  for (int i = 0; i < m->var_count; i++) total *= m->extents[i];
  if (total * extent > SIZE) return;
  Maker saved = *m;
  CellStmt **body;
  int64_t limit = next_below(&m->random, 4) == 0 ? 1 + next_below(&m->random, extent) : 0;
  CellStmt *s = loop(m->k, tail, kind, cell_affine(0), extent, limit, &body);
  m->vars[m->var_count] = s->var;
  m->extents[m->var_count++] = extent;
  m->depth++;
  if (kind == CELL_LOOP_LANES) m->lanes = true, m->lane_var = s->var;
  make_body(m, &body, stores);
  uint64_t random = m->random;
  *m = saved;
  m->random = random;
}

static void make_stmt(Maker *m, CellStmt ***tail, int *stores) {
  static const CellOp ops[] = {CELL_OP_ADD,  CELL_OP_SUB,    CELL_OP_MUL,  CELL_OP_MUL,
                               CELL_OP_MIN,  CELL_OP_MAX,    CELL_OP_RELU, CELL_OP_WHERE,
                               CELL_OP_ABS,  CELL_OP_TANH,   CELL_OP_LT,   CELL_OP_ADD,
                               CELL_OP_SIGN, CELL_OP_SIGMOID};
  CellKernel *k = m->k;
  switch (next_below(&m->random, 8)) {
  case 0:
  case 1:
    if (m->depth < 3) make_loop(m, tail, stores);
    break;
  case 2:
    if (m->float_count < 250)
      m->floats[m->float_count++] =
          load(k, tail, arg((int)next_below(&m->random, 2)), some_index(m));
    break;
  case 3:
    if (m->acc_count < 30) {
      CellReduce kind = next_below(&m->random, 3) == 0 ? CELL_REDUCE_MAX : CELL_SUM;
      m->acc_kinds[m->acc_count] = kind;
      m->accs[m->acc_count++] = acc(k, tail, kind);
    }
    break;
  case 4:
    if (m->acc_count > 0) {
      int i = (int)next_below(&m->random, m->acc_count);
      update(k, tail, m->acc_kinds[i], m->accs[i], pick(m, m->floats, m->float_count),
             cell_affine(0));
    }
    break;
  case 5:
    // each store has a buffer of its own, so that lanes stay independent
    if (*stores < ARGS - 2 && (m->var_count > 1 || !m->lanes)) {
      store(k, tail, arg(2 + (*stores)++), own_index(m), pick(m, m->floats, m->float_count),
            next_below(&m->random, 2));
    }
    break;
  default: {
    if (m->float_count >= 250) break;
    CellOp op = ops[next_below(&m->random, sizeof ops / sizeof *ops)];
    int a = pick(m, m->floats, m->float_count), b = pick(m, m->floats, m->float_count);
    int c = pick(m, m->floats, m->float_count);
    // values stay small, so that errors do
    int value = let(k, tail, op, a, b, c);
    if (next_below(&m->random, 3) == 0) value = let(k, tail, CELL_OP_TANH, value, -1, -1);
    m->floats[m->float_count++] = value;
  }
  }
}

/* accumulators are read only where no loop around updates them */
static void make_body(Maker *m, CellStmt ***tail, int *stores) {
  int count = 3 + (int)next_below(&m->random, 7), first_acc = m->acc_count;
  for (int i = 0; i < count; i++) make_stmt(m, tail, stores);
  for (int i = first_acc; i < m->acc_count && m->float_count < 250; i++)
    m->floats[m->float_count++] = m->accs[i];
  m->acc_count = first_acc;
  for (int i = 0; i < 2; i++) make_stmt(m, tail, stores);
}

static void random_kernels(void **state) {
  (void)state;
  CellIsa isas[3] = {CELL_ISA_SCALAR};
  int n = all_isas(isas), count = getenv("CELLC_SANITIZED") ? 20 : 150;
  if (getenv("CELLC_FUZZ")) count = atoi(getenv("CELLC_FUZZ"));
  for (int i = 0; i < count; i++) {
    CellArena *arena = cell_arena_create();
    Arg args[ARGS] = {{CELL_F, SIZE, 0, false},
                      {CELL_F, SIZE, 0, false},
                      {CELL_F, SIZE, 0, true},
                      {CELL_F, SIZE, 0, true}};
    CellKernel *k = new_kernel(arena, "random", 1 + i % 3, ARGS, args);
    Maker m = {.k = k, .random = (uint64_t)i, .lane_var = -1};
    m.vars[0] = 0, m.extents[0] = k->tasks, m.var_count = 1;
    CellStmt **tail = &k->body;
    m.floats[m.float_count++] = number(k, &tail, next_uniform(&m.random));
    m.floats[m.float_count++] = load(k, &tail, arg(0), some_index(&m));
    int stores = 0;
    make_body(&m, &tail, &stores);
    while (stores < ARGS - 2)
      store(k, &tail, arg(2 + stores++), cell_affine_var(0, 1), pick(&m, m.floats, m.float_count),
            false);
    CellText text = {0};
    if (cell_kernel_verify(k, &text)) {
      compare(plan_of(arena, k, args, 128), args, isas[n > 0 ? i % n : 0], 3e-4, (uint64_t)i, NULL);
    } else {
      cell_kernel_print(k, &text);
      fail_msg("%d: %s", i, text.data);
    }
    cell_text_free(&text);
    cell_arena_destroy(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(softmax), cmocka_unit_test(fused),          cmocka_unit_test(indirect),
      cmocka_unit_test(apart),   cmocka_unit_test(random_kernels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
