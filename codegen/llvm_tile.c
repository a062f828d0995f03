/* llvm_tile.c - the innermost part of contractions: one tile of out in registers, over a block of k.
 *
 * Outer form: for each k, `columns` lane vectors of b and `rows` broadcasts of a. Dot form: lanes along
 * k, rows x 4 accumulators, folded four at a time at the end.
 *
 * A short tile repeats its last row instead of running short: repeated rows store the same numbers to the
 * same place, after all of them have been loaded. Columns run short under a mask. Strides are arguments,
 * so that all contractions of a kernel share one function a shape. */
#include "codegen/llvm_build.h"

struct CellTileFunction {
  CellTile tile;
  LLVMValueRef function;
  struct CellTileFunction *next;
};

enum { ARGS = 16 };

static LLVMTypeRef tile_type(CellBuild *g) {
  LLVMTypeRef types[ARGS] = {g->ptr, g->ptr, g->ptr, g->i64, g->i64, g->i64, g->i1,  g->i64,
                             g->i64, g->i64, g->i64, g->i64, g->ptr, g->i64, g->i64, g->i64};
  return LLVMFunctionType(g->none, types, ARGS, false);
}

static bool same_tile(const CellTile *a, const CellTile *b) {
  return a->dot == b->dot && a->rows == b->rows && a->columns == b->columns &&
         a->pack_a == b->pack_a && a->pack_b == b->pack_b && a->short_rows == b->short_rows &&
         a->short_columns == b->short_columns && a->left == b->left && a->store == b->store &&
         a->together == b->together && a->b_rs == b->b_rs && a->k == b->k && a->a_ks == b->a_ks &&
         a->b_ks == b->b_ks && a->fetch_lines == b->fetch_lines;
}

static LLVMValueRef times(CellBuild *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWMul(g->b, a, b, "");
}

static CellTileArgs params_of(LLVMValueRef f) {
  return (CellTileArgs){
      LLVMGetParam(f, 0),  LLVMGetParam(f, 1),  LLVMGetParam(f, 2),  LLVMGetParam(f, 3),
      LLVMGetParam(f, 4),  LLVMGetParam(f, 5),  LLVMGetParam(f, 6),  LLVMGetParam(f, 7),
      LLVMGetParam(f, 8),  LLVMGetParam(f, 9),  LLVMGetParam(f, 10), LLVMGetParam(f, 11),
      LLVMGetParam(f, 12), LLVMGetParam(f, 13), LLVMGetParam(f, 14), LLVMGetParam(f, 15)};
}

// min(i, left - 1): past the end the last one is repeated
static LLVMValueRef clamped(CellBuild *g, int i, bool is_short, LLVMValueRef left) {
  LLVMValueRef at = cell_ll_i64(g, i);
  return is_short && i > 0 ? cell_ll_min(g, at, cell_ll_sub(g, left, cell_ll_i64(g, 1))) : at;
}

static LLVMValueRef more_than(CellBuild *g, LLVMValueRef left, int i) {
  return LLVMBuildICmp(g->b, LLVMIntSGT, left, cell_ll_i64(g, i), "");
}

static LLVMValueRef new_acc(CellBuild *g) {
  LLVMValueRef acc = cell_ll_alloca(g, g->vf);
  LLVMBuildStore(g->b, LLVMConstNull(g->vf), acc);
  return acc;
}

static LLVMValueRef read_acc(CellBuild *g, LLVMValueRef acc) {
  return LLVMBuildLoad2(g->b, g->vf, acc, "");
}

static void add_product(CellBuild *g, LLVMValueRef acc, LLVMValueRef x, LLVMValueRef y) {
  LLVMBuildStore(g->b, cell_ll_fma(g, x, y, read_acc(g, acc)), acc);
}

// ---- outer form ----

typedef LLVMValueRef Accs[CELL_TILE_ROWS][CELL_TILE_COLUMNS];

// up to 4 rows of a tile where the rows are contiguous in out, lane by lane; of a short tile only the
// first vector's first lane is sure to be there
static void store_turned(CellBuild *g, const CellTileArgs *p, const LLVMValueRef *rows, int count,
                         LLVMValueRef out, LLVMValueRef lanes_left, int sure) {
  LLVMValueRef turned[4];
  LLVMTypeRef type = cell_ll_vector(g, g->f32, count);
  cell_ll_transpose4(g, rows, turned);
  for (int lane = 0; lane < g->lanes; lane++) {
    CellIf there;
    if (lanes_left && lane >= sure) cell_ll_if_begin(g, &there, more_than(g, lanes_left, lane));
    LLVMValueRef at = cell_ll_at(g, out, times(g, p->out_ks, cell_ll_i64(g, lane)));
    LLVMValueRef x = cell_ll_run(g, turned[lane % 4], lane / 4, count);
    if (count == 1) x = LLVMBuildExtractElement(g->b, x, LLVMConstInt(g->i32, 0, false), "");
    LLVMValueRef old = cell_ll_load(g, type, at), sum = LLVMBuildFAdd(g->b, old, x, "");
    cell_ll_store(g, LLVMBuildSelect(g->b, p->from_out, sum, x, ""), at);
    if (lanes_left && lane >= sure) cell_ll_if_end(g, &there);
  }
}

static void store_all_turned(CellBuild *g, const CellTile *t, const CellTileArgs *p, Accs acc,
                             const LLVMValueRef *out_row) {
  for (int v = 0; v < t->columns; v++)
    for (int r = 0; r < t->rows; r += 4) {
      LLVMValueRef sums[4], skip = cell_ll_i64(g, (int64_t)v * g->lanes);
      for (int i = 0; i < 4; i++)
        sums[i] = r + i < t->rows ? read_acc(g, acc[r + i][v]) : LLVMGetPoison(g->vf);
      store_turned(g, p, sums, t->rows - r < 4 ? t->rows - r : 4,
                   cell_ll_at(g, out_row[r], times(g, p->out_ks, skip)),
                   t->short_columns ? cell_ll_sub(g, p->columns_left, skip) : NULL, v == 0);
    }
}

// through memory, one by one; rows that are repeated must not be added twice
static void store_scattered(CellBuild *g, const CellTile *t, const CellTileArgs *p, Accs acc,
                            const LLVMValueRef *out_row) {
  LLVMValueRef line = cell_ll_alloca(g, LLVMArrayType2(g->vf, CELL_TILE_COLUMNS));
  for (int r = 0; r < t->rows; r++) {
    CellIf there;
    if (t->short_rows && r > 0) cell_ll_if_begin(g, &there, more_than(g, p->rows_left, r));
    for (int v = 0; v < t->columns; v++)
      cell_ll_store(g, read_acc(g, acc[r][v]), cell_ll_at(g, line, cell_ll_i64(g, v * g->lanes)));
    CellFor each;
    LLVMValueRef all = cell_ll_i64(g, (int64_t)t->columns * g->lanes);
    cell_ll_for_begin(g, &each, cell_ll_i64(g, 0), cell_ll_min(g, p->columns_left, all), 1, false);
    LLVMValueRef at = cell_ll_at(g, out_row[r], times(g, each.i, p->out_ks));
    LLVMValueRef x = cell_ll_load(g, g->f32, cell_ll_at(g, line, each.i));
    LLVMValueRef sum = LLVMBuildFAdd(g->b, cell_ll_load(g, g->f32, at), x, "");
    cell_ll_store(g, LLVMBuildSelect(g->b, p->from_out, sum, x, ""), at);
    cell_ll_for_end(g, &each);
    if (t->short_rows && r > 0) cell_ll_if_end(g, &there);
  }
}

// one k of a tile, whose operands' rows begin at a_row and b_column
static void add_products(CellBuild *g, const CellTile *t, const CellTileArgs *p, LLVMValueRef k,
                         LLVMValueRef *a_row, LLVMValueRef *b_column, LLVMValueRef *masks,
                         Accs acc) {
  LLVMValueRef a_at = times(g, k, p->a_ks), b_at = times(g, k, p->b_ks);
  LLVMValueRef vector[CELL_TILE_COLUMNS];
  for (int v = 0; v < t->columns; v++) {
    LLVMValueRef at = cell_ll_at(g, cell_ll_at(g, p->b, b_at), b_column[v]);
    vector[v] = cell_ll_masked_load(g, g->vf, at, t->pack_b ? NULL : masks[v]);
  }
  for (int r = 0; r < t->rows; r++) {
    LLVMValueRef x = cell_ll_load(g, g->f32, cell_ll_at(g, a_row[r], a_at));
    x = cell_ll_splat(g, x, g->lanes);
    for (int v = 0; v < t->columns; v++) add_product(g, acc[r][v], x, vector[v]);
  }
}

// ---- what is packed next ----

enum { FETCH_K = 8 /* steps of k between two portions: all at once would wait for one another */ };

// Each whole tile fetches fetch_rows rows, some of them in each chunk of k.
static void fetch_portion(CellBuild *g, const CellTile *t, const CellTileArgs *p,
                          LLVMValueRef first_row, LLVMValueRef k) {
  LLVMValueRef chunk = cell_ll_i64(g, FETCH_K);
  LLVMValueRef first =
      times(g, LLVMBuildExactSDiv(g->b, first_row, cell_ll_i64(g, t->rows), ""), p->fetch_rows);
  LLVMValueRef end = cell_ll_min(g, cell_ll_add(g, first, p->fetch_rows), p->fetch_left);
  // ceil(fetch_rows / (k / chunk))
  LLVMValueRef count =
      cell_ll_add(g, times(g, p->fetch_rows, chunk), cell_ll_sub(g, p->k, cell_ll_i64(g, 1)));
  count = LLVMBuildUDiv(g->b, count, p->k, "");
  LLVMValueRef at = cell_ll_add(g, first, times(g, LLVMBuildExactSDiv(g->b, k, chunk, ""), count));
  CellFor row;
  cell_ll_for_begin(g, &row, at, cell_ll_min(g, cell_ll_add(g, at, count), end), 1, false);
  LLVMValueRef from = cell_ll_at(g, p->fetch, times(g, row.i, p->fetch_ks));
  for (int i = 0; i < t->fetch_lines; i++)
    cell_ll_prefetch(g, cell_ll_at(g, from, cell_ll_i64(g, CELL_LINE * i)));
  cell_ll_for_end(g, &row);
}

static void emit_tile(CellBuild *g, const CellTile *t, LLVMValueRef f) {
  CellTileArgs p = params_of(f);
  if (t->k) p.a_ks = cell_ll_i64(g, t->a_ks), p.b_ks = cell_ll_i64(g, t->b_ks);
  if (t->left) p.columns_left = cell_ll_i64(g, t->left);
  int lanes = g->lanes, rows = t->rows, columns = t->columns;

  // where vector v begins in a row of out and of b; without vectors the last column is repeated
  LLVMValueRef masks[CELL_TILE_COLUMNS] = {NULL};
  LLVMValueRef out_column[CELL_TILE_COLUMNS], b_column[CELL_TILE_COLUMNS];
  for (int v = 0; v < columns; v++) {
    LLVMValueRef at = clamped(g, v * lanes, t->short_columns && lanes == 1, p.columns_left);
    out_column[v] = lanes == 1 ? times(g, at, p.out_ks) : at;
    b_column[v] = cell_ll_mul(g, at, t->b_rs ? t->b_rs : 1);
    if (t->short_columns && lanes > 1)
      masks[v] = cell_ll_mask(g, lanes, cell_ll_sub(g, p.columns_left, at));
  }

  CellFor tiles;
  LLVMValueRef first_row = cell_ll_i64(g, 0);
  if (!t->short_rows) {
    first_row = cell_ll_for_begin(g, &tiles, first_row, p.rows_left, rows, true);
    p.a = cell_ll_at(g, p.a, times(g, first_row, p.a_rs));
    p.out = cell_ll_at(g, p.out, times(g, first_row, p.out_rs));
  }

  // rows of a and out
  LLVMValueRef a_row[CELL_TILE_ROWS], out_row[CELL_TILE_ROWS];
  for (int r = 0; r < rows; r++) {
    LLVMValueRef row = clamped(g, r, t->short_rows, p.rows_left);
    a_row[r] = cell_ll_at(g, p.a, t->pack_a ? cell_ll_i64(g, r) : times(g, row, p.a_rs));
    out_row[r] = cell_ll_at(g, p.out, times(g, row, p.out_rs));
  }

  // accumulators, from out or from 0
  Accs acc;
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < columns; v++) acc[r][v] = new_acc(g);
  bool along = t->store == CELL_STORE_ALONG || lanes == 1;
  if (along) {
    CellIf start;
    cell_ll_if_begin(g, &start, p.from_out);
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < columns; v++) {
        LLVMValueRef at = cell_ll_at(g, out_row[r], out_column[v]);
        LLVMBuildStore(g->b, cell_ll_masked_load(g, g->vf, at, masks[v]), acc[r][v]);
      }
    cell_ll_if_end(g, &start);
  }

  for (int i = 0; i < t->k; i++)
    add_products(g, t, &p, cell_ll_i64(g, i), a_row, b_column, masks, acc);
  if (!t->k) {
    CellFor chunk, loop;
    LLVMValueRef begin = cell_ll_i64(g, 0), end = p.k;
    if (t->fetch_lines > 0) {
      begin = cell_ll_for_begin(g, &chunk, begin, p.k, FETCH_K, true);
      end = cell_ll_min(g, cell_ll_add(g, begin, cell_ll_i64(g, FETCH_K)), p.k);
      fetch_portion(g, t, &p, first_row, begin);
    }
    cell_ll_for_begin(g, &loop, begin, end, 1, true);
    add_products(g, t, &p, loop.i, a_row, b_column, masks, acc);
    cell_ll_for_end(g, &loop);
    if (t->fetch_lines > 0) cell_ll_for_end(g, &chunk);
  }

  if (along) {
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < columns; v++)
        cell_ll_masked_store(g, read_acc(g, acc[r][v]), cell_ll_at(g, out_row[r], out_column[v]),
                             masks[v]);
  } else if (t->store == CELL_STORE_TURNED && lanes >= 4 && !t->short_rows) {
    store_all_turned(g, t, &p, acc, out_row);
  } else {
    store_scattered(g, t, &p, acc, out_row);
  }
  if (!t->short_rows) cell_ll_for_end(g, &tiles);
}

// ---- dot form ----

static int dot_columns(const CellTile *t) {
  return t->left ? t->left : CELL_DOT_COLUMNS;
}

// one vector of k of a tile, from `at` on
static void add_dots(CellBuild *g, const CellTile *t, LLVMValueRef at, LLVMValueRef mask,
                     LLVMValueRef *a_row, LLVMValueRef *b_row,
                     LLVMValueRef acc[][CELL_DOT_COLUMNS]) {
  LLVMValueRef vector[CELL_DOT_COLUMNS];
  for (int v = 0; v < dot_columns(t); v++)
    vector[v] = cell_ll_masked_load(g, g->vf, cell_ll_at(g, b_row[v], at), mask);
  for (int r = 0; r < t->rows; r++) {
    LLVMValueRef x = cell_ll_masked_load(g, g->vf, cell_ll_at(g, a_row[r], at), mask);
    for (int v = 0; v < dot_columns(t); v++) add_product(g, acc[r][v], x, vector[v]);
  }
}

static void emit_dot(CellBuild *g, const CellTile *t, LLVMValueRef f) {
  CellTileArgs p = params_of(f);
  if (t->k) p.k = cell_ll_i64(g, t->k), p.b_ks = cell_ll_i64(g, t->b_ks);
  enum { COLUMNS = CELL_DOT_COLUMNS };
  int lanes = g->lanes, rows = t->rows, columns = dot_columns(t), count = rows * columns;

  // rows and columns past the end repeat the last one
  LLVMValueRef a_row[CELL_TILE_ROWS], b_row[COLUMNS], out_at[CELL_TILE_ROWS][COLUMNS];
  LLVMValueRef column[COLUMNS], zero = cell_ll_i64(g, 0);
  for (int v = 0; v < columns; v++) {
    column[v] = clamped(g, v, t->short_columns && !t->left, p.columns_left);
    b_row[v] = cell_ll_at(g, p.b, times(g, column[v], p.b_ks));
  }
  CellFor tiles;
  cell_ll_for_begin(g, &tiles, zero, p.rows_left, rows, false);
  p.a = cell_ll_at(g, p.a, times(g, tiles.i, p.a_rs));
  p.out = cell_ll_at(g, p.out, times(g, tiles.i, p.out_rs));
  LLVMValueRef rows_left = cell_ll_sub(g, p.rows_left, tiles.i);
  for (int r = 0; r < rows; r++) {
    LLVMValueRef row = clamped(g, r, true, rows_left);
    a_row[r] = cell_ll_at(g, p.a, times(g, row, p.a_rs));
    for (int v = 0; v < columns; v++)
      out_at[r][v] = cell_ll_at(
          g, p.out, cell_ll_add(g, times(g, row, p.out_rs), times(g, column[v], p.out_ks)));
  }

  // few accumulators are doubled, to hide the latency of their chains
  int sets = count < 8 ? 2 : 1;
  LLVMValueRef acc[2][CELL_TILE_ROWS][COLUMNS];
  for (int s = 0; s < sets; s++)
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < columns; v++) acc[s][r][v] = new_acc(g);

  // vectors of k, then what is left under a mask
  LLVMValueRef begin = zero, mask = NULL;
  for (int i = 0; i < t->k; i += lanes)
    add_dots(g, t, cell_ll_i64(g, i),
             i + lanes > t->k ? cell_ll_mask(g, lanes, cell_ll_i64(g, t->k - i)) : NULL, a_row,
             b_row, acc[i / lanes % sets]);
  for (int part = sets == 2 ? 0 : 1; part < 3 && !t->k; part++) {
    CellFor loop;
    CellIf some;
    int64_t step = part == 0 ? 2 * lanes : lanes;
    LLVMValueRef end = LLVMBuildAnd(g->b, p.k, cell_ll_i64(g, ~(step - 1)), ""), at = begin;
    if (part == 2) {
      LLVMValueRef left = cell_ll_sub(g, p.k, begin);
      cell_ll_if_begin(g, &some, more_than(g, left, 0));
      mask = cell_ll_mask(g, lanes, left);
    } else {
      at = cell_ll_for_begin(g, &loop, begin, end, step, false);
    }
    for (int u = 0; u < (part == 0 ? 2 : 1); u++)
      add_dots(g, t, LLVMBuildAdd(g->b, at, cell_ll_i64(g, u * lanes), ""), mask, a_row, b_row,
               acc[u]);
    if (part == 2)
      cell_ll_if_end(g, &some);
    else
      cell_ll_for_end(g, &loop);
    begin = end;
  }

  // four sums at a time, of a row or of several short ones; all of out is read before any of it is written
  LLVMTypeRef four = cell_ll_vector(g, g->f32, 4);
  bool together = t->together && !t->short_columns;
  int fours = (count + 3) / 4;
  LLVMValueRef sums[CELL_TILE_ROWS], lane[4];
  for (int i = 0; i < 4; i++) lane[i] = LLVMConstInt(g->i32, (unsigned)i, false);
  for (int f4 = 0; f4 < fours; f4++) {
    LLVMValueRef v4[4];
    for (int i = 0; i < 4; i++) {
      int q = 4 * f4 + i < count ? 4 * f4 + i : count - 1, r = q / columns, v = q % columns;
      v4[i] = read_acc(g, acc[0][r][v]);
      if (sets == 2) v4[i] = LLVMBuildFAdd(g->b, v4[i], read_acc(g, acc[1][r][v]), "");
    }
    sums[f4] = cell_ll_alloca(g, four);
    LLVMBuildStore(g->b, cell_ll_fold4(g, CELL_SUM, v4), sums[f4]);
  }
  CellIf start;
  cell_ll_if_begin(g, &start, p.from_out);
  for (int f4 = 0; f4 < fours; f4++) {
    LLVMValueRef old = together ? cell_ll_load(g, four, out_at[f4][0]) : LLVMConstNull(four);
    for (int q = 4 * f4; q < 4 * f4 + 4 && q < count && !together; q++)
      old = LLVMBuildInsertElement(
          g->b, old, cell_ll_load(g, g->f32, out_at[q / columns][q % columns]), lane[q % 4], "");
    LLVMValueRef sum = LLVMBuildLoad2(g->b, four, sums[f4], "");
    LLVMBuildStore(g->b, LLVMBuildFAdd(g->b, old, sum, ""), sums[f4]);
  }
  cell_ll_if_end(g, &start);
  for (int f4 = 0; f4 < fours; f4++) {
    LLVMValueRef sum = LLVMBuildLoad2(g->b, four, sums[f4], "");
    if (together) cell_ll_store(g, sum, out_at[f4][0]);
    for (int q = 4 * f4; q < 4 * f4 + 4 && q < count && !together; q++)
      cell_ll_store(g, LLVMBuildExtractElement(g->b, sum, lane[q % 4], ""),
                    out_at[q / columns][q % columns]);
  }
  cell_ll_for_end(g, &tiles);
}

// ---- packing ----

// squares of lanes x lanes, then what is left of k one by one
static void emit_pack_turned(CellBuild *g, const CellTile *t, LLVMValueRef f) {
  CellTileArgs p = params_of(f); // a: to, b: from, b_ks: stride between columns
  int64_t width = (int64_t)t->columns * g->lanes;
  LLVMValueRef last = cell_ll_sub(g, p.columns_left, cell_ll_i64(g, 1)), zero = cell_ll_i64(g, 0);
  LLVMValueRef whole = LLVMBuildAnd(g->b, p.k, cell_ll_i64(g, ~((int64_t)g->lanes - 1)), "");
  CellFor v, k;
  cell_ll_for_begin(g, &v, zero, cell_ll_i64(g, width), g->lanes, true);
  LLVMValueRef row[64] = {0}, square[64], turned[64] = {0};
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef at = cell_ll_min(g, cell_ll_add(g, v.i, cell_ll_i64(g, i)), last);
    row[i] = cell_ll_at(g, p.b, times(g, at, p.b_ks));
  }
  for (int part = 0; part < 2; part++) {
    cell_ll_for_begin(g, &k, part == 0 ? zero : whole, part == 0 ? whole : p.k,
                      part == 0 ? g->lanes : 1, false);
    LLVMValueRef line = cell_ll_at(g, p.a, cell_ll_add(g, cell_ll_mul(g, k.i, width), v.i));
    for (int i = 0; i < g->lanes; i++) {
      square[i] = cell_ll_load(g, part == 0 ? g->vf : g->f32, cell_ll_at(g, row[i], k.i));
      if (part == 1) cell_ll_store(g, square[i], cell_ll_at(g, line, cell_ll_i64(g, i)));
    }
    if (part == 0) {
      cell_ll_transpose(g, square, turned);
      for (int i = 0; i < g->lanes; i++)
        cell_ll_store(g, turned[i], cell_ll_at(g, line, cell_ll_i64(g, i * width)));
    }
    cell_ll_for_end(g, &k);
  }
  cell_ll_for_end(g, &v);
}

// ---- functions ----

static void call(CellBuild *g, const CellTile *tile, const CellTileArgs *args,
                 void (*emit)(CellBuild *g, const CellTile *t, LLVMValueRef f), const char *name) {
  struct CellTileFunction *made = g->tiles;
  while (made && !same_tile(&made->tile, tile)) made = made->next;
  if (!made) {
    made = CELL_NEW(g->arena, struct CellTileFunction);
    CellPlace saved;
    made->tile = *tile;
    made->function = cell_ll_function(g, name, tile_type(g), &saved);
    made->next = g->tiles;
    g->tiles = made;
    // out overlaps neither operand
    unsigned noalias = LLVMGetEnumAttributeKindForName("noalias", 7);
    for (unsigned i = 1; i <= 3 && tile->rows > 0; i++)
      LLVMAddAttributeAtIndex(made->function, i, LLVMCreateEnumAttribute(g->context, noalias, 0));
    emit(g, tile, made->function);
    cell_ll_return(g, &saved);
  }
  LLVMValueRef all[ARGS] = {args->a,         args->b,         args->out,
                            args->k,         args->rows_left, args->columns_left,
                            args->from_out,  args->a_rs,      args->a_ks,
                            args->b_ks,      args->out_rs,    args->out_ks,
                            args->fetch,     args->fetch_ks,  args->fetch_rows,
                            args->fetch_left};
  for (int i = 0; i < ARGS; i++)
    if (!all[i]) all[i] = LLVMGetPoison(LLVMTypeOf(LLVMGetParam(made->function, (unsigned)i)));
  LLVMBuildCall2(g->b, tile_type(g), made->function, all, ARGS, "");
}

void cell_ll_tile(CellBuild *g, const CellTile *tile, const CellTileArgs *args) {
  call(g, tile, args, emit_tile, "tile");
}

void cell_ll_dot_tile(CellBuild *g, const CellTile *tile, const CellTileArgs *args) {
  CellTile dot = *tile;
  dot.dot = true;
  call(g, &dot, args, emit_dot, "dot");
}

void cell_ll_pack_turned(CellBuild *g, int columns, LLVMValueRef in[5]) {
  // no tile of 0 rows exists but this
  CellTile tile = {.columns = columns};
  LLVMValueRef zero = cell_ll_i64(g, 0);
  CellTileArgs args = {in[0], in[1], in[0], in[4], zero, in[3], LLVMConstNull(g->i1),
                       zero,  zero,  in[2], zero,  zero, NULL,  NULL,
                       NULL,  NULL};
  call(g, &tile, &args, emit_pack_turned, "pack");
}
