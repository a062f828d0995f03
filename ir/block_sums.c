/* block_sums.c - sums over rows into long rows are added to for a block of rows at once:
 *
 *     loop v1 = [0, 128)                          loop v3 = [0, 32)
 *       %0 = load s0[v1]                            loop v1 = 4 v3 + [0, 4)
 *       lanes v2 = [0, 128)                           lanes v2 = [0, 128)
 *         ... %1 = ...                                  ... %1 = ...
 *         %2 = mul %1 %0                                store s4[-512 v3 + 128 v1 + v2] %1
 *         add s1[v2] %2                   ->        lanes v4 = [0, 128)
 *         ... more such rows                          %5 = acc sum
 *                                                     unroll v5 = 4 v3 + [0, 4)
 *                                                       %6 = load s4[-512 v3 + 128 v5 + v4]
 *                                                       %7 = load s0[v5]
 *                                                       %8 = mul %6 %7
 *                                                       update %5 %8
 *                                                     add s1[v4] %5
 *
 * What is added to many rows, a row's share of a product's gradient, is limited by stores: each vector of each of them
 * is loaded and stored for every row. Where all that they take is one value, that is kept for a block of rows, and every
 * sum is loaded and stored once a block. Short rows stay in registers all the time (turn_sums.c). */
#include "ir/fuse.h"

enum {
  MOST_ROWS = 4,  /* of a block */
  WORTH = 2,      /* rows that are added to for each that is kept */
  MOST_ADDS = 12, /* registers */
  MOST_KEPT = 4
};

typedef struct {
  CellKernel *k;
  const CellTarget *target;
  CellStmt *rows, *lanes;
  CellStmt **defined; /* by value: what gives it, in the rows' body or the lanes'; NULL: outside */
  CellStmt *adds[MOST_ADDS];
  int add_count;
  int kept[MOST_KEPT], kept_count; /* values that are kept for the block's rows: of lanes */
  int held[MOST_ADDS], held_count; /* and of rows, a number each */
} Block;

static bool is_in(const CellStmt *list, const CellStmt *s) {
  for (; list; list = list->next)
    if (list == s) return true;
  return false;
}

// whether the buffer is stored to, or also loaded, by anything but adds that stand in the list `but`
static bool is_touched(const CellStmt *s, const CellStmt *but, CellBufferRef buffer, bool loads) {
  bool all = s == but;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && is_touched(s->body, but, buffer, loads)) return true;
    if (s->kind == CELL_K_CONTRACT) return true;
    bool store = s->kind == CELL_K_STORE && !(all && s->add);
    if ((store || (loads && s->kind == CELL_K_LOAD)) && cell_same_buffer(s->buffer, buffer))
      return true;
  }
  return false;
}

static void define(Block *b, CellStmt *list) {
  for (CellStmt *s = list; s; s = s->next)
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) b->defined[s->value] = s;
}

// whether a value can be made again elsewhere: nothing that it is loaded from is written here
static bool again(const Block *b, int value) {
  const CellStmt *s = b->defined[value];
  if (!s || s->kind == CELL_K_CONST) return true;
  return s->kind == CELL_K_LOAD && s->index.loaded < 0 &&
         !is_touched(b->rows->body, NULL, s->buffer, false);
}

static int find(const int *list, int count, int value) {
  for (int i = 0; i < count; i++)
    if (list[i] == value) return i;
  return -1;
}

// takes note of a value that is handed on to the sums; false: it cannot be
static bool keep(Block *b, int value) {
  if (again(b, value)) return true;
  if (find(b->kept, b->kept_count, value) >= 0 || find(b->held, b->held_count, value) >= 0)
    return true;
  const CellStmt *s = b->defined[value];
  if (s->dtype != CELL_F || s->kind == CELL_K_ACC) return false;
  if (is_in(b->lanes->body, s)) {
    if (b->kept_count == MOST_KEPT) return false;
    b->kept[b->kept_count++] = value;
  } else {
    if (b->held_count == MOST_ADDS) return false;
    b->held[b->held_count++] = value;
  }
  return true;
}

// the factors of what is added, if one of them can be made again; else NULL
static const CellStmt *product(const Block *b, int value) {
  const CellStmt *s = b->defined[value];
  bool is = s && s->kind == CELL_K_LET && s->op == CELL_OP_MUL &&
            (again(b, s->args[0]) || again(b, s->args[1]));
  return is ? s : NULL;
}

// the adds of the rows' body that may wait for the block's end
static bool fits(Block *b) {
  b->add_count = b->kept_count = b->held_count = 0;
  const CellStmt *lanes = b->lanes;
  if (cell_affine_coef(&lanes->begin, b->rows->var) != 0 || lanes->begin.loaded >= 0 ||
      lanes->extent < b->target->lanes)
    return false;
  for (CellStmt *s = lanes->body; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) return false;
    if (s->kind != CELL_K_STORE || !s->add || s->index.loaded >= 0 ||
        cell_affine_coef(&s->index, b->rows->var) != 0)
      continue;
    // nothing else may read or write what the adds leave for later
    if (is_touched(b->rows->body, lanes->body, s->buffer, true)) continue;
    const CellStmt *factors = product(b, s->args[0]);
    int kept_before = b->kept_count, held_before = b->held_count;
    bool kept = b->add_count < MOST_ADDS;
    if (factors)
      kept = kept && keep(b, factors->args[0]) && keep(b, factors->args[1]);
    else
      kept = kept && keep(b, s->args[0]);
    if (kept)
      b->adds[b->add_count++] = s;
    else
      b->kept_count = kept_before, b->held_count = held_before;
  }
  return b->add_count > 0 && b->add_count >= WORTH * b->kept_count;
}

// rows of a block: as many as leave none over, or else a short one at the end; 1: none
static int64_t block_of(const CellStmt *rows) {
  if (rows->extent < 2 * MOST_ROWS) return 1;
  for (int64_t n = MOST_ROWS; n > MOST_ROWS / 2; n--)
    if (rows->extent % n == 0) return n;
  return rows->begin.term_count == 0 ? MOST_ROWS : rows->extent % 2 == 0 ? 2 : 1;
}

// ---- the new loops ----

typedef struct {
  Block *b;
  CellStmt *block, *lanes, *each; /* over blocks; of the sums: lanes, and the block's rows */
  int64_t count, pitch;           /* rows of a block; elements between rows that are kept */
  int64_t limit;                  /* of rows, where the last block is short */
  int slot, held_slot;            /* scratch of the first value kept, of all held */
  int *made;                      /* by value: what stands for it in the sums, -1 */
} Sums;

// a row's number in its block
static CellAffine number_of(const Sums *m, int row) {
  CellAffine at = cell_affine_add(cell_affine_var(row, 1), cell_affine_scale(m->block->begin, -1));
  return cell_affine_add(at, cell_affine_var(m->block->var, -m->count));
}

// element of a kept row; columns are counted from where the lanes begin
static CellAffine place(const Sums *m, int row, int column) {
  CellAffine at = cell_affine_scale(number_of(m, row), m->pitch);
  at = cell_affine_add(at, cell_affine_var(column, 1));
  return cell_affine_add(at, cell_affine_scale(m->b->lanes->begin, -1));
}

static CellAffine held_place(const Sums *m, int i, int row) {
  CellAffine at = number_of(m, row);
  at.base += i * m->count;
  return at;
}

static int take(Sums *m, CellStmt ***tail, int value) {
  if (m->made[value] >= 0) return m->made[value];
  Block *b = m->b;
  const CellStmt *s = b->defined[value];
  if (!s) return value;
  CellStmt *made = NULL;
  if (again(b, value)) {
    made = cell_stmt(b->k, tail, s->kind);
    made->dtype = s->dtype, made->number = s->number, made->buffer = s->buffer;
    made->index = cell_affine_put(s->index, b->lanes->var, cell_affine_var(m->lanes->var, 1));
    made->index = cell_affine_put(made->index, b->rows->var, cell_affine_var(m->each->var, 1));
  } else {
    int i = find(b->kept, b->kept_count, value), h = find(b->held, b->held_count, value);
    made = cell_stmt(b->k, tail, CELL_K_LOAD);
    made->buffer = (CellBufferRef){true, i >= 0 ? m->slot + i : m->held_slot};
    made->index = i >= 0 ? place(m, m->each->var, m->lanes->var) : held_place(m, h, m->each->var);
  }
  made->span = s->span;
  return m->made[value] = made->value;
}

static CellStmt *new_loop(CellKernel *k, CellLoopKind kind, CellAffine begin, int64_t extent) {
  CellStmt *loop, *list = NULL, **tail = &list;
  loop = cell_stmt(k, &tail, CELL_K_LOOP);
  loop->loop = kind, loop->begin = begin, loop->extent = extent;
  return loop;
}

// behind the block's rows: a sum for each add, over the block's rows
static CellStmt *sums_of(Sums *m) {
  Block *b = m->b;
  CellAffine first = cell_affine_add(m->block->begin, cell_affine_var(m->block->var, m->count));
  m->lanes = new_loop(b->k, CELL_LOOP_LANES, b->lanes->begin, b->lanes->extent);
  m->lanes->limit = b->lanes->limit;
  m->each = new_loop(b->k, CELL_LOOP_UNROLL, first, m->count);
  m->each->limit = m->limit;
  CellStmt **outer = &m->lanes->body, **inner = &m->each->body;
  CellStmt *sums[MOST_ADDS];
  for (int i = 0; i < b->add_count; i++) {
    sums[i] = cell_stmt(b->k, &outer, CELL_K_ACC);
    sums[i]->reduce = CELL_SUM;
  }
  *outer = m->each, outer = &m->each->next;
  for (int i = 0; i < b->add_count; i++) {
    CellStmt *add = b->adds[i];
    const CellStmt *factors = product(b, add->args[0]);
    int value;
    if (factors) {
      int x = take(m, &inner, factors->args[0]), y = take(m, &inner, factors->args[1]);
      CellStmt *times = cell_stmt(b->k, &inner, CELL_K_LET);
      times->op = CELL_OP_MUL, times->span = factors->span;
      times->args[0] = x, times->args[1] = y;
      value = times->value;
    } else {
      value = take(m, &inner, add->args[0]);
    }
    CellStmt *update = cell_stmt(b->k, &inner, CELL_K_UPDATE);
    update->value = sums[i]->value, update->reduce = CELL_SUM, update->args[0] = value;
    update->span = add->span;
  }
  for (int i = 0; i < b->add_count; i++) {
    CellStmt *add = b->adds[i];
    add->args[0] = sums[i]->value, add->next = NULL;
    add->index = cell_affine_put(add->index, b->lanes->var, cell_affine_var(m->lanes->var, 1));
    *outer = add, outer = &add->next;
  }
  return m->lanes;
}

static void unlink_adds(const Block *b) {
  for (CellStmt **link = &b->lanes->body; *link;) {
    bool is = false;
    for (int i = 0; i < b->add_count; i++) is = is || *link == b->adds[i];
    if (is)
      *link = (*link)->next;
    else
      link = &(*link)->next;
  }
}

static bool is_read(const CellStmt *s, int value) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && (s->begin.loaded == value || is_read(s->body, value)))
      return true;
    if (s->index.loaded == value) return true;
    int n = s->kind == CELL_K_LET ? cell_op_info[s->op].arity
                                  : s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE;
    for (int i = 0; i < n; i++)
      if (s->args[i] == value) return true;
  }
  return false;
}

// what only the adds have read; the last statement first, for what it reads
static void unlink_dead(const Block *b, CellStmt **link) {
  CellStmt *s = *link;
  if (!s) return;
  unlink_dead(b, &s->next);
  if ((s->kind == CELL_K_LOAD || s->kind == CELL_K_LET || s->kind == CELL_K_CONST) &&
      !is_read(b->rows->body, s->value))
    *link = s->next;
}

static void store_kept(const Sums *m) {
  Block *b = m->b;
  CellStmt **end = &b->lanes->body;
  while (*end) end = &(*end)->next;
  for (int i = 0; i < b->kept_count; i++) {
    CellStmt *store = cell_stmt(b->k, &end, CELL_K_STORE);
    store->buffer = (CellBufferRef){true, m->slot + i};
    store->index = place(m, b->rows->var, b->lanes->var);
    store->args[0] = b->kept[i];
  }
  end = &b->rows->body;
  while (*end) end = &(*end)->next;
  for (int i = 0; i < b->held_count; i++) {
    CellStmt *store = cell_stmt(b->k, &end, CELL_K_STORE);
    store->buffer = (CellBufferRef){true, m->held_slot};
    store->index = held_place(m, i, b->rows->var);
    store->args[0] = b->held[i];
  }
}

static CellStmt *blocked(Block *b) {
  CellKernel *k = b->k;
  CellStmt *rows = b->rows, *lanes = b->lanes;
  Sums m = {.b = b, .count = block_of(rows), .pitch = (lanes->extent + 15) / 16 * 16};
  if (rows->extent % m.count != 0) m.limit = rows->begin.base + rows->extent;
  int values = k->value_count;
  m.made = CELL_NEW_ARRAY(k->arena, int, (size_t)values + 1);
  for (int i = 0; i < values; i++) m.made[i] = -1;
  m.block = new_loop(k, CELL_LOOP_SERIAL, rows->begin, (rows->extent + m.count - 1) / m.count);
  m.block->span = rows->span;
  for (int i = 0; i < b->kept_count; i++) {
    int slot = cell_scratch_add(k, CELL_F, m.count * m.pitch, "rows of a block");
    if (i == 0) m.slot = slot;
  }
  if (b->held_count > 0)
    m.held_slot = cell_scratch_add(k, CELL_F, b->held_count * m.count, "numbers of a block");
  unlink_adds(b);
  CellStmt *sums = sums_of(&m);
  store_kept(&m);
  unlink_dead(b, &lanes->body);
  for (CellStmt **link = &rows->body; *link && !lanes->body; link = &(*link)->next)
    if (*link == lanes) {
      *link = lanes->next;
      break;
    }
  unlink_dead(b, &rows->body);
  m.block->next = rows->next, m.block->body = rows->body ? rows : sums;
  rows->next = sums;
  rows->begin = cell_affine_add(rows->begin, cell_affine_var(m.block->var, m.count));
  rows->extent = m.count, rows->limit = m.limit;
  m.block->begin = cell_affine(0);
  return m.block;
}

static void walk(Block *b, CellStmt **link) {
  for (; *link; link = &(*link)->next) {
    CellStmt *s = *link;
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    walk(b, &s->body);
    if (s->loop != CELL_LOOP_SERIAL || s->limit > 0 || s->begin.loaded >= 0 || block_of(s) == 1)
      continue;
    b->rows = s;
    b->defined = CELL_NEW_ARRAY(b->k->arena, CellStmt *, (size_t)b->k->value_count + 1);
    define(b, s->body);
    for (CellStmt *lanes = s->body; lanes; lanes = lanes->next) {
      if (lanes->kind != CELL_K_LOOP || lanes->loop != CELL_LOOP_LANES) continue;
      define(b, lanes->body);
      b->lanes = lanes;
      if (!fits(b)) continue;
      *link = blocked(b);
      break;
    }
  }
}

void fuse_block_sums(CellKernel *k, const CellTarget *target) {
  Block b = {.k = k, .target = target};
  if (target->tune_lanes) walk(&b, &k->body);
}
