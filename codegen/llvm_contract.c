/* llvm_contract.c - contractions: out[m, n] (+)= sum over k of a[m, k] b[n, k], from tiles
 * (llvm_tile.c).
 *
 * Three forms, chosen by the strides:
 *
 * outer  Lanes along n. Operands whose strides do not allow this, or whose rows lie so far apart that
 *        they would fight for the same cache sets, are copied into panels first: b as
 *        [n / tile][k][tile], a as [m / rows][k][rows]. Where out or a is contiguous along m instead,
 *        or where m is what is read more often, the roles of a and b (and m and n) change.
 * dot    Lanes along k, for few rows or columns of operands that are both contiguous there; few columns of
 *        b that are not are turned first, where a's rows are long and many.
 * stream Lanes along n, for a single row of a and long rows of b.
 *
 * Where many entries of a are 0 and may be left out, the product is made from lists of the others (llvm_sparse.c), if a
 * count says that this takes fewer cycles.
 *
 * k is cut into blocks whose panels stay in the first-level cache, m into blocks for the second level.
 * Products of bits are sums of selected rows (llvm_select.c) where the strides allow; else bits are written
 * out as floats first. Nothing depends on which task or thread runs it. */
#include <string.h>

#include "codegen/llvm_build.h"

enum {
  OUTER_K = 320,          /* longest block of k: a panel of 16 floats is then 20 KB, */
  PANEL_BYTES = 26 << 10, /* and wider ones are at most as large */
  DOT_K = 640,            /* the same for rows of k */
  BLOCK_M = 96,           /* rows of a that stay in the second level */
  BLOCK_N = 256,          /* columns packed at a time */
  NEAR_BYTES = 22 << 10,  /* of a panel that stays in the first level */
  TILE_ENDS = 20,         /* cycles of a tile beside its products and sums */
  PANEL_GAP = 16,         /* floats between panels */
  STREAMS = 8,            /* rows of b that are read side by side */
  FAR_ROW = 256,          /* floats between rows of b from which on reading across them is slow */
  AHEAD = 4,              /* rows of b that are fetched ahead of the one that is copied */
  SPARSE_M = 8,           /* rows and k from which on zeros may be left out */
  SPARSE_K = 16,
  SHORT_K = 8,   /* written out in the outer form */
  SHORT_DOT = 8, /* vectors of k that are written out in the dot form */
};

// an operand of the function being emitted: element (row, k) at pointer + row * rs + k * ks
typedef struct {
  LLVMValueRef pointer;
  int64_t rs, ks;
} Operand;

typedef struct {
  CellBuild *g;
  Operand a, b, out; /* of out: ks is the stride of n */
  LLVMValueRef m, n;
  int64_t m_most, n_most, k; /* m and n are at most these; equal if they are constants */
  bool m_fixed, n_fixed;
  LLVMValueRef add; /* i1 */
  LLVMValueRef scratch;
  int64_t scratch_used; /* floats */
  /* outer */
  int rows, columns;
  bool pack_a, pack_b;
  int64_t block_k, block_m, block_n;
  LLVMValueRef a_panel, b_panel;
  /* what is packed next (CellTileArgs), or NULL */
  LLVMValueRef fetch, fetch_left;
  int64_t fetch_stride, fetch_rows, fetch_lines;
} Contract;

/* All that a contraction's function depends on; where its operands begin, and whether it adds to what is
 * there, are arguments. */
typedef struct {
  int64_t m, n, k, strides[6], terms, term_strides[4]; /* of u, then v */
  int64_t all_rows; /* of bits that select: how many there are in all */
  bool a_bits, b_bits, selects, sparse, m_fixed, n_fixed;
} Shape;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

static LLVMValueRef take_scratch(Contract *c, int64_t floats) {
  LLVMValueRef p = cell_ll_at(c->g, c->scratch, cell_ll_i64(c->g, c->scratch_used));
  c->scratch_used += (floats + 15) / 16 * 16;
  return p;
}

static LLVMValueRef element(Contract *c, const Operand *o, LLVMValueRef row, LLVMValueRef k) {
  CellBuild *g = c->g;
  LLVMValueRef index = cell_ll_add(g, cell_ll_mul(g, row, o->rs), cell_ll_mul(g, k, o->ks));
  return cell_ll_at(g, o->pointer, index);
}

// the last block: min(step, count - at)
static LLVMValueRef block_size(Contract *c, LLVMValueRef at, int64_t step, LLVMValueRef count) {
  return cell_ll_min(c->g, cell_ll_i64(c->g, step), cell_ll_sub(c->g, count, at));
}

// ---- bits ----

// writes a bit operand out as floats, contiguous along the dimension in which the bits are
static Operand expand_bits(Contract *c, LLVMValueRef words, LLVMValueRef bit, int64_t rs,
                           int64_t ks, LLVMValueRef rows, int64_t rows_most) {
  CellBuild *g = c->g;
  bool along_rows = rs == 1 && ks != 1;
  int64_t inner_most = along_rows ? rows_most : c->k, outer_most = along_rows ? c->k : rows_most;
  int64_t pitch = (inner_most + 15) / 16 * 16, inner_stride = along_rows ? rs : ks;
  LLVMValueRef to = take_scratch(c, pitch * outer_most);
  LLVMValueRef inner = along_rows ? rows : cell_ll_i64(g, c->k);
  LLVMValueRef outer = along_rows ? cell_ll_i64(g, c->k) : rows, zero = cell_ll_i64(g, 0);

  CellFor o, i;
  cell_ll_for_begin(g, &o, zero, outer, 1, false);
  LLVMValueRef from = cell_ll_add(g, bit, cell_ll_mul(g, o.i, along_rows ? ks : rs));
  LLVMValueRef line = cell_ll_at(g, to, cell_ll_mul(g, o.i, pitch));
  int lanes = inner_stride == 1 ? g->lanes : 1;
  cell_ll_for_begin(g, &i, zero, inner, lanes, false);
  LLVMValueRef index = cell_ll_add(g, from, cell_ll_mul(g, i.i, inner_stride));
  LLVMValueRef count = block_size(c, i.i, lanes, inner);
  cell_ll_store(g, cell_ll_bits(g, lanes, words, index, count), cell_ll_at(g, line, i.i));
  cell_ll_for_end(g, &i);
  cell_ll_for_end(g, &o);
  return along_rows ? (Operand){to, 1, pitch} : (Operand){to, pitch, 1};
}

// a product of which the bits of `a` select rows of b
static void select_rows(Contract *c, LLVMValueRef bit, LLVMValueRef all_bit, int64_t all_rows) {
  CellSelect select = {.bits = {.words = c->a.pointer,
                                .bit = bit,
                                .rs = c->a.rs,
                                .ks = c->a.ks,
                                .m = c->m,
                                .m_most = c->m_most,
                                .m_fixed = c->m_fixed,
                                .k = c->k,
                                .all_bit = all_bit,
                                .all_rows = all_rows},
                       .b = c->b.pointer,
                       .out = c->out.pointer,
                       .b_ks = c->b.ks,
                       .out_rs = c->out.rs,
                       .n = c->n,
                       .n_most = c->n_most,
                       .n_fixed = c->n_fixed,
                       .add = c->add,
                       .kept = c->scratch};
  if (cell_ll_takes_subsets(c->g, &select)) {
    select.scratch = take_scratch(c, cell_ll_subsets_scratch(c->g, &select));
    cell_ll_subsets(c->g, &select);
    return;
  }
  select.scratch = take_scratch(c, cell_ll_select_scratch(c->g, &select));
  cell_ll_select(c->g, &select);
}

// ---- outer form ----

/* Cycles of a tile for each k, about: multiply-adds, loads, or the latency of the chain; and what does not stay in the
 * first level: vectors of b where the panel is long, and, where vectors are so wide that a tile is done sooner than its
 * rows of a have come, these. */
static double tile_cycles(const Contract *c, int rows, int columns, int64_t panel_bytes) {
  double fma = rows * columns / 2.0, loads = (rows + columns) / 2.0,
         most = fma > loads ? fma : loads;
  double far = panel_bytes > NEAR_BYTES ? 0.5 * columns : 0;
  if (c->g->isa == CELL_ISA_AVX512) far += 0.06 * rows;
  return (most > 4.4 ? most : 4.4) + 0.3 + far;
}

// the block of k for panels so wide
static int64_t block_of_k(const Contract *c, int64_t width) {
  int64_t most = PANEL_BYTES / 4 / width;
  return ceil_div(c->k, ceil_div(c->k, most < OUTER_K ? most : OUTER_K));
}

// the tile of m rows and n columns that takes the fewest cycles for each k: its rows and columns, and how many
static double choose_tile(Contract *c, int64_t m, int64_t n) {
  int registers = c->g->isa == CELL_ISA_AVX512 ? 32 : 16, lanes = c->g->lanes;
  int most = c->g->isa == CELL_ISA_AVX512 ? 14 : 6;
  double best = 0;
  for (int rows = 1; rows <= most; rows++)
    for (int columns = 1; columns <= CELL_TILE_COLUMNS; columns++) {
      if (rows * columns + columns + 1 > registers) continue;
      int64_t whole = n / (columns * lanes), rest = n % (columns * lanes);
      int64_t width = (int64_t)columns * lanes, panel = block_of_k(c, width) * width * 4;
      // a tile's begin and end: its sums are read and written once for each block of k
      double ends = (double)(TILE_ENDS + rows * columns) / (double)block_of_k(c, width);
      double cycles = (double)whole * (tile_cycles(c, rows, columns, panel) + ends);
      if (rest > 0) cycles += tile_cycles(c, rows, (int)ceil_div(rest, lanes), 0) + ends + 1;
      cycles *= (double)ceil_div(m, rows);
      if (best == 0 || cycles < best * 0.999) best = cycles, c->rows = rows, c->columns = columns;
    }
  return best;
}

// one lane vector of b at (n, k): columns [n, n + lanes) below `count`
static LLVMValueRef gather_b(Contract *c, LLVMValueRef n, LLVMValueRef k, LLVMValueRef count) {
  CellBuild *g = c->g;
  LLVMValueRef last = cell_ll_sub(g, count, cell_ll_i64(g, 1));
  LLVMValueRef all = LLVMGetPoison(g->vf);
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef row = cell_ll_min(g, cell_ll_add(g, n, cell_ll_i64(g, i)), last);
    LLVMValueRef x = cell_ll_load(g, g->f32, element(c, &c->b, row, k));
    if (g->lanes == 1) return x;
    all = LLVMBuildInsertElement(g->b, all, x, LLVMConstInt(g->i32, (unsigned)i, false), "");
  }
  return all;
}

// Where the panel of the block's columns from n on begins: a line beyond the last one's end, that the same row
// of all panels does not fall into one set of a cache.
static LLVMValueRef panel_at(Contract *c, LLVMValueRef n) {
  CellBuild *g = c->g;
  LLVMValueRef width = cell_ll_i64(g, (int64_t)c->columns * g->lanes);
  LLVMValueRef panel = LLVMBuildExactSDiv(g->b, n, width, "");
  return cell_ll_add(g, cell_ll_mul(g, n, c->block_k), cell_ll_mul(g, panel, PANEL_GAP));
}

// the lane vectors of one panel of columns from n on, at one k
static void pack_line(Contract *c, LLVMValueRef to, LLVMValueRef n, LLVMValueRef end,
                      LLVMValueRef k) {
  CellBuild *g = c->g;
  bool fits = c->n_fixed && c->n_most % ((int64_t)c->columns * g->lanes) == 0;
  for (int v = 0; v < c->columns; v++) {
    // lanes beyond the end hold anything finite
    LLVMValueRef at = cell_ll_add(g, n, cell_ll_i64(g, v * g->lanes)), x;
    if (c->b.rs == 1 && g->lanes > 1) {
      LLVMValueRef mask = fits ? NULL : cell_ll_mask(g, g->lanes, cell_ll_sub(g, end, at));
      x = cell_ll_masked_load(g, g->vf, element(c, &c->b, at, k), mask);
    } else {
      x = gather_b(c, at, k, end);
    }
    cell_ll_store(g, x, cell_ll_at(g, to, cell_ll_i64(g, v * g->lanes)));
  }
}

// b[n0 .. n0 + columns, k0 .. k0 + kc] -> panels
static void pack_b(Contract *c, LLVMValueRef n0, LLVMValueRef columns, LLVMValueRef k0,
                   LLVMValueRef kc) {
  CellBuild *g = c->g;
  int64_t width = (int64_t)c->columns * g->lanes;
  LLVMValueRef zero = cell_ll_i64(g, 0), end = cell_ll_add(g, n0, columns);
  bool turned = c->b.ks == 1 && c->b.rs != 1 && g->lanes >= 8;
  CellFor panel, k;
  // a row of b from end to end: caches read ahead then, and not where each line is in another page
  if (!turned) cell_ll_for_begin(g, &k, zero, kc, 1, false);
  cell_ll_for_begin(g, &panel, zero, columns, width, false);
  LLVMValueRef to = cell_ll_at(g, c->b_panel, panel_at(c, panel.i));
  LLVMValueRef n = cell_ll_add(g, n0, panel.i);
  if (turned) {
    LLVMValueRef args[5] = {to, element(c, &c->b, n, k0), cell_ll_i64(g, c->b.rs),
                            cell_ll_sub(g, end, n), kc};
    cell_ll_pack_turned(g, c->columns, args);
  } else {
    cell_ll_prefetch(
        g, element(c, &c->b, n, cell_ll_add(g, k0, cell_ll_add(g, k.i, cell_ll_i64(g, AHEAD)))));
    pack_line(c, cell_ll_at(g, to, cell_ll_mul(g, k.i, width)), n, end, cell_ll_add(g, k0, k.i));
  }
  cell_ll_for_end(g, &panel);
  if (!turned) cell_ll_for_end(g, &k);
}

// the rows of one panel of a from m on, below `end`; whole: all of them are there
static void pack_rows(Contract *c, LLVMValueRef to, LLVMValueRef m, LLVMValueRef end,
                      LLVMValueRef k0, LLVMValueRef kc, bool whole) {
  CellBuild *g = c->g;
  LLVMValueRef last = cell_ll_sub(g, end, cell_ll_i64(g, 1)), row[CELL_TILE_ROWS];
  LLVMTypeRef line_type = cell_ll_vector(g, g->f32, c->rows);
  bool together = whole && c->a.rs == 1 && g->lanes > 1;
  for (int r = 0; r < (together ? 1 : c->rows); r++) {
    LLVMValueRef at = cell_ll_add(g, m, cell_ll_i64(g, r));
    row[r] = element(c, &c->a, whole ? at : cell_ll_min(g, at, last), k0);
  }
  CellFor k;
  cell_ll_for_begin(g, &k, cell_ll_i64(g, 0), kc, 1, false);
  LLVMValueRef line = cell_ll_at(g, to, cell_ll_mul(g, k.i, c->rows));
  LLVMValueRef skip = cell_ll_mul(g, k.i, c->a.ks);
  for (int r = 0; r < (together ? 1 : c->rows); r++) {
    LLVMValueRef x = cell_ll_load(g, together ? line_type : g->f32, cell_ll_at(g, row[r], skip));
    cell_ll_store(g, x, cell_ll_at(g, line, cell_ll_i64(g, r)));
  }
  cell_ll_for_end(g, &k);
}

static void pack_a(Contract *c, LLVMValueRef m0, LLVMValueRef rows, LLVMValueRef k0,
                   LLVMValueRef kc) {
  CellBuild *g = c->g;
  bool fits = c->m_fixed && c->m_most % c->rows == 0 && c->block_m % c->rows == 0;
  LLVMValueRef whole = rows, end = cell_ll_add(g, m0, rows);
  if (!fits) whole = cell_ll_sub(g, rows, LLVMBuildSRem(g->b, rows, cell_ll_i64(g, c->rows), ""));
  CellFor panel;
  cell_ll_for_begin(g, &panel, cell_ll_i64(g, 0), whole, c->rows, false);
  LLVMValueRef to = cell_ll_at(g, c->a_panel, cell_ll_mul(g, panel.i, c->block_k));
  pack_rows(c, to, cell_ll_add(g, m0, panel.i), end, k0, kc, true);
  cell_ll_for_end(g, &panel);
  if (fits) return;
  CellIf some;
  cell_ll_if_begin(g, &some, LLVMBuildICmp(g->b, LLVMIntSLT, whole, rows, ""));
  to = cell_ll_at(g, c->a_panel, cell_ll_mul(g, whole, c->block_k));
  pack_rows(c, to, cell_ll_add(g, m0, whole), end, k0, kc, false);
  cell_ll_if_end(g, &some);
}

// one panel of columns against a block of rows
static void outer_panel(Contract *c, LLVMValueRef m0, LLVMValueRef rows, LLVMValueRef n0,
                        LLVMValueRef n, LLVMValueRef columns_left, LLVMValueRef k0, LLVMValueRef kc,
                        LLVMValueRef from_out, bool short_columns) {
  CellBuild *g = c->g;
  LLVMValueRef b = c->pack_b ? cell_ll_at(g, c->b_panel, panel_at(c, n))
                             : element(c, &c->b, cell_ll_add(g, n0, n), k0);
  LLVMValueRef column = cell_ll_add(g, n0, n), zero = cell_ll_i64(g, 0);
  int64_t width = (int64_t)c->columns * g->lanes;
  CellTile tile = {
      .rows = c->rows, .columns = c->columns, .pack_a = c->pack_a, .pack_b = c->pack_b};
  tile.short_columns = short_columns;
  if (short_columns && c->n_fixed) {
    tile.left = (int)(c->n_most % width);
    tile.columns = (int)ceil_div(tile.left, g->lanes);
  }
  tile.store = c->out.ks == 1   ? CELL_STORE_ALONG
               : c->out.rs == 1 ? CELL_STORE_TURNED
                                : CELL_STORE_SCATTERED;
  LLVMValueRef a_rs = cell_ll_i64(g, c->pack_a ? c->block_k : c->a.rs);
  LLVMValueRef a_ks = cell_ll_i64(g, c->pack_a ? c->rows : c->a.ks);
  LLVMValueRef b_ks = cell_ll_i64(g, c->pack_b ? width : c->b.ks);
  if (g->lanes == 1 && !c->pack_b) tile.b_rs = c->b.rs;
  if (c->k <= SHORT_K) {
    tile.k = (int)c->k;
    tile.a_ks = c->pack_a ? c->rows : c->a.ks;
    tile.b_ks = c->pack_b ? width : c->b.ks;
  }
  bool fits = c->m_fixed && c->m_most % c->rows == 0 && c->block_m % c->rows == 0;
  LLVMValueRef whole = LLVMBuildSRem(g->b, rows, cell_ll_i64(g, c->rows), "");
  whole = fits ? rows : cell_ll_sub(g, rows, whole);
  // whole tiles, one below the other in one call; then what is left
  for (int part = 0; part < (fits ? 1 : 2); part++) {
    LLVMValueRef row = part == 0 ? zero : whole;
    LLVMValueRef left = part == 0 ? whole : cell_ll_sub(g, rows, whole);
    CellIf some;
    cell_ll_if_begin(g, &some, LLVMBuildICmp(g->b, LLVMIntSGT, left, zero, ""));
    LLVMValueRef a = c->pack_a ? cell_ll_at(g, c->a_panel, cell_ll_mul(g, row, c->block_k))
                               : element(c, &c->a, cell_ll_add(g, m0, row), k0);
    tile.short_rows = part == 1;
    tile.fetch_lines = c->fetch && part == 0 ? (int)c->fetch_lines : 0;
    CellTileArgs args = {a,
                         b,
                         element(c, &c->out, cell_ll_add(g, m0, row), column),
                         kc,
                         left,
                         columns_left,
                         from_out,
                         a_rs,
                         a_ks,
                         b_ks,
                         cell_ll_i64(g, c->out.rs),
                         cell_ll_i64(g, c->out.ks),
                         c->fetch,
                         cell_ll_i64(g, c->fetch_stride),
                         cell_ll_i64(g, c->fetch_rows),
                         c->fetch_left};
    cell_ll_tile(g, &tile, &args);
    cell_ll_if_end(g, &some);
  }
}

// While a panel is multiplied its tiles fetch the next one, which may lie in memory: the columns behind it, or
// the first ones of the next block of k.
static void fetch_next(Contract *c, LLVMValueRef n, LLVMValueRef k, LLVMValueRef kc) {
  CellBuild *g = c->g;
  LLVMValueRef next = cell_ll_add(g, n, cell_ll_i64(g, c->block_n)), zero = cell_ll_i64(g, 0);
  LLVMValueRef next_k = cell_ll_add(g, k, cell_ll_i64(g, c->block_k));
  LLVMValueRef inside = LLVMBuildICmp(g->b, LLVMIntSLT, next, c->n, "");
  bool turned = c->b.rs != 1;
  LLVMValueRef here = turned ? block_size(c, next, c->block_n, c->n) : kc;
  LLVMValueRef left = turned ? block_size(c, zero, c->block_n, c->n)
                             : block_size(c, next_k, c->block_k, cell_ll_i64(g, c->k));
  if (turned) {
    LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSLT, next_k, cell_ll_i64(g, c->k), "");
    left = LLVMBuildSelect(g->b, more, left, zero, "");
  }
  c->fetch = LLVMBuildSelect(g->b, inside, element(c, &c->b, next, k),
                             element(c, &c->b, zero, next_k), "");
  c->fetch_left = LLVMBuildSelect(g->b, inside, here, left, "");
  c->fetch_stride = turned ? c->b.rs : c->b.ks;
  c->fetch_lines = ceil_div(turned ? c->block_k : c->block_n, CELL_LINE);
  int64_t tiles = c->m_most / c->rows, rows = turned ? c->block_n : c->block_k;
  c->fetch_rows = ceil_div(rows, tiles > 0 ? tiles : 1);
}

static void outer(Contract *c) {
  CellBuild *g = c->g;
  choose_tile(c, c->m_most, c->n_most);
  int64_t width = (int64_t)c->columns * g->lanes;
  c->block_k = block_of_k(c, width);
  c->block_m = c->m_most <= BLOCK_M + BLOCK_M / 2 ? ceil_div(c->m_most, c->rows) * c->rows
                                                  : BLOCK_M / c->rows * c->rows;

  // what must be copied, and what is worth it: far rows that are read often
  c->pack_b =
      g->lanes > 1 && (c->b.rs != 1 || (c->b.ks >= 256 && c->k >= 16 && c->m_most >= 4 * c->rows));
  c->pack_a = c->a.ks >= 64 && c->k >= 16 && c->n_most >= 3 * width;
  // all rows of a at once: then a panel of b is packed right before it is read, and never again
  bool at_once = c->m_most <= c->block_m;
  c->block_n = c->pack_b && at_once   ? width
               : c->n_most <= BLOCK_N ? ceil_div(c->n_most, width) * width
                                      : BLOCK_N / width * width;
  if (c->pack_b)
    c->b_panel = take_scratch(c, c->block_k * c->block_n + c->block_n / width * PANEL_GAP);
  if (c->pack_a) c->a_panel = take_scratch(c, c->block_k * c->block_m);
  LLVMValueRef zero = cell_ll_i64(g, 0), k_all = cell_ll_i64(g, c->k);
  CellFor k, n, m;
  cell_ll_for_begin(g, &k, zero, k_all, c->block_k, true);
  LLVMValueRef kc =
      c->k % c->block_k == 0 ? cell_ll_i64(g, c->block_k) : block_size(c, k.i, c->block_k, k_all);
  LLVMValueRef from_out =
      LLVMBuildOr(g->b, c->add, LLVMBuildICmp(g->b, LLVMIntSGT, k.i, zero, ""), "");
  if (c->pack_a && at_once) pack_a(c, zero, c->m, k.i, kc);
  cell_ll_for_begin(g, &n, zero, c->n, c->block_n, false);
  LLVMValueRef columns = block_size(c, n.i, c->block_n, c->n);
  if (c->pack_b) pack_b(c, n.i, columns, k.i, kc);
  if (c->pack_b && at_once && (c->b.rs == 1 || c->b.ks == 1)) fetch_next(c, n.i, k.i, kc);
  cell_ll_for_begin(g, &m, zero, c->m, c->block_m, false);
  LLVMValueRef rows = block_size(c, m.i, c->block_m, c->m);
  if (c->pack_a && !at_once) pack_a(c, m.i, rows, k.i, kc);

  // full panels, then what is left
  bool fits = c->n_fixed && c->n_most % width == 0;
  LLVMValueRef whole = columns;
  if (!fits)
    whole = cell_ll_sub(g, columns, LLVMBuildSRem(g->b, columns, cell_ll_i64(g, width), ""));
  CellFor panel;
  cell_ll_for_begin(g, &panel, zero, whole, width, false);
  outer_panel(c, m.i, rows, n.i, panel.i, cell_ll_i64(g, width), k.i, kc, from_out, false);
  cell_ll_for_end(g, &panel);
  if (!fits) {
    CellIf some;
    LLVMValueRef left = cell_ll_sub(g, columns, whole);
    cell_ll_if_begin(g, &some, LLVMBuildICmp(g->b, LLVMIntSGT, left, zero, ""));
    outer_panel(c, m.i, rows, n.i, whole, left, k.i, kc, from_out, true);
    cell_ll_if_end(g, &some);
  }
  cell_ll_for_end(g, &m);
  cell_ll_for_end(g, &n);
  cell_ll_for_end(g, &k);
}

// ---- zeros ----

// Whether a product without the zeros of `a` is expected to be faster than the dense one, and is made; terms: the short
// one beside it, or NULL
static bool leave_out(Contract *c, const Contract *terms) {
  CellBuild *g = c->g;
  CellSparse s = {.a = c->a.pointer,
                  .b = c->b.pointer,
                  .out = c->out.pointer,
                  .a_rs = c->a.rs,
                  .a_ks = c->a.ks,
                  .b_ks = c->b.ks,
                  .out_rs = c->out.rs,
                  .m = c->m,
                  .m_most = c->m_most,
                  .n = c->n_most,
                  .k = c->k,
                  .add = c->add};
  double dense = choose_tile(c, c->m_most, c->n_most) * (double)c->k;
  if (c->n_most < g->lanes || cell_ll_sparse_cycles(g, &s) >= dense) return false;
  if (terms) {
    s.u = terms->a.pointer, s.v = terms->b.pointer, s.terms = terms->k;
    s.u_rs = terms->a.rs, s.u_ts = terms->a.ks, s.v_ts = terms->b.ks;
  }
  s.scratch = take_scratch(c, cell_ll_sparse_scratch(g, &s));
  cell_ll_sparse(g, &s);
  return true;
}

// ---- stream form ----

static bool streams(const Contract *c) {
  return c->m_most == 1 && c->m_fixed && c->g->lanes > 1 && c->b.rs == 1 && c->out.ks == 1 &&
         c->b.ks >= FAR_ROW && c->k >= STREAMS && c->n_most >= 4 * (int64_t)c->g->lanes;
}

// out[n .. n + lanes] += the products of `rows` rows of b from k on, k ascending
static void stream_vector(Contract *c, const LLVMValueRef *x, int rows, LLVMValueRef n,
                          LLVMValueRef k, LLVMValueRef mask) {
  CellBuild *g = c->g;
  LLVMValueRef to = cell_ll_at(g, c->out.pointer, n), sum = cell_ll_masked_load(g, g->vf, to, mask);
  for (int r = 0; r < rows; r++) {
    LLVMValueRef from = element(c, &c->b, n, cell_ll_add(g, k, cell_ll_i64(g, r)));
    sum = cell_ll_fma(g, x[r], cell_ll_masked_load(g, g->vf, from, mask), sum);
  }
  cell_ll_masked_store(g, sum, to, mask);
}

static void stream_rows(Contract *c, int rows, LLVMValueRef k) {
  CellBuild *g = c->g;
  LLVMValueRef x[STREAMS], zero = cell_ll_i64(g, 0), rest = cell_ll_i64(g, 0), whole = c->n;
  for (int r = 0; r < rows; r++) {
    LLVMValueRef at = element(c, &c->a, zero, cell_ll_add(g, k, cell_ll_i64(g, r)));
    x[r] = cell_ll_splat(g, cell_ll_load(g, g->f32, at), g->lanes);
  }
  bool fits = c->n_fixed && c->n_most % g->lanes == 0;
  if (!fits) {
    rest = LLVMBuildSRem(g->b, c->n, cell_ll_i64(g, g->lanes), "");
    whole = cell_ll_sub(g, c->n, rest);
  }
  CellFor n;
  cell_ll_for_begin(g, &n, zero, whole, g->lanes, false);
  stream_vector(c, x, rows, n.i, k, NULL);
  cell_ll_for_end(g, &n);
  if (fits) return;
  CellIf some;
  cell_ll_if_begin(g, &some, LLVMBuildICmp(g->b, LLVMIntSGT, rest, zero, ""));
  stream_vector(c, x, rows, whole, k, cell_ll_mask(g, g->lanes, rest));
  cell_ll_if_end(g, &some);
}

// One row, whose time is that of reading b: a few rows of b at a time from end to end, as memory gives them, and
// the result in the first-level cache.
static void stream(Contract *c) {
  CellBuild *g = c->g;
  CellFor n, k;
  CellIf fresh;
  cell_ll_if_begin(g, &fresh, LLVMBuildNot(g->b, c->add, ""));
  cell_ll_for_begin(g, &n, cell_ll_i64(g, 0), c->n, g->lanes, false);
  LLVMValueRef mask = cell_ll_mask(g, g->lanes, cell_ll_sub(g, c->n, n.i));
  cell_ll_masked_store(g, LLVMConstNull(g->vf), cell_ll_at(g, c->out.pointer, n.i), mask);
  cell_ll_for_end(g, &n);
  cell_ll_if_end(g, &fresh);
  int64_t whole = c->k / STREAMS * STREAMS;
  cell_ll_for_begin(g, &k, cell_ll_i64(g, 0), cell_ll_i64(g, whole), STREAMS, true);
  stream_rows(c, STREAMS, k.i);
  cell_ll_for_end(g, &k);
  if (c->k > whole) stream_rows(c, (int)(c->k - whole), cell_ll_i64(g, whole));
}

// ---- dot form ----

// rows of a tile of so many columns, and its cycles for each vector of k
static int dot_rows(const Contract *c, int columns, double *tile) {
  // what registers hold beside the columns
  int most = c->g->isa == CELL_ISA_AVX512 ? 6 : columns == 3 ? 4 : 8 / columns, rows = 1;
  double best = 0;
  for (int r = 1; r <= most; r++) {
    double cycles = tile_cycles(c, r, columns, 0);
    if (best == 0 || cycles * (double)ceil_div(c->m_most, r) < best)
      best = cycles * (double)ceil_div(c->m_most, r), rows = r, *tile = cycles;
  }
  return rows;
}

// columns beside the tiles of CELL_DOT_COLUMNS, where that is known; else, and if there are none, 0
static int dot_left(const Contract *c) {
  return c->n_fixed ? (int)(c->n_most % CELL_DOT_COLUMNS) : 0;
}

// whether to turn the few columns of b and then add up along k: the outer form would use a part of each vector
static bool worth_turning(Contract *c) {
  // cycles of a tile beside its products; of an element that is turned
  enum { OUTER_TILE = 30, DOT_TILE = 25, TURN = 4 };
  int lanes = c->g->lanes;
  if (lanes < 4 || c->a.ks != 1 || c->b.rs != 1 || c->n_most >= lanes || c->k < lanes) return false;
  double outer = choose_tile(c, c->m_most, c->n_most) * (double)c->k;
  outer += (double)ceil_div(c->m_most, c->rows) * OUTER_TILE;
  double dot = 0, vectors = (double)ceil_div(c->k, lanes);
  for (int64_t n = 0; n < c->n_most; n += CELL_DOT_COLUMNS) {
    int left = n + CELL_DOT_COLUMNS > c->n_most ? dot_left(c) : 0;
    double tile = 0;
    int rows = dot_rows(c, left ? left : CELL_DOT_COLUMNS, &tile);
    dot += (double)ceil_div(c->m_most, rows) * (vectors * tile + DOT_TILE);
  }
  return dot + (double)(c->n_most * c->k * TURN) < outer;
}

// squares of 4 x 4 where the rows are long enough, then one by one
static void turn_b(Contract *c) {
  CellBuild *g = c->g;
  int64_t pitch = ceil_div(c->k, g->lanes) * g->lanes;
  LLVMValueRef to = take_scratch(c, pitch * c->n_most), zero = cell_ll_i64(g, 0);
  int64_t squares = c->n_fixed && c->n_most % 4 == 0 ? c->k / 4 * 4 : 0;
  CellFor k, n;
  for (int part = squares > 0 ? 0 : 1; part < 2; part++) {
    int64_t begin = part == 0 ? 0 : squares, end = part == 0 ? squares : c->k;
    if (begin == end) continue;
    int side = part == 0 ? 4 : 1;
    cell_ll_for_begin(g, &k, cell_ll_i64(g, begin), cell_ll_i64(g, end), side, true);
    cell_ll_for_begin(g, &n, zero, c->n, side, false);
    LLVMTypeRef type = cell_ll_vector(g, g->f32, side);
    LLVMValueRef line = cell_ll_at(g, to, cell_ll_add(g, cell_ll_mul(g, n.i, pitch), k.i));
    LLVMValueRef rows[4], turned[4];
    for (int i = 0; i < side; i++)
      rows[i] =
          cell_ll_load(g, type, element(c, &c->b, n.i, cell_ll_add(g, k.i, cell_ll_i64(g, i))));
    if (side == 4)
      cell_ll_transpose4(g, rows, turned);
    else
      turned[0] = rows[0];
    for (int i = 0; i < side; i++)
      cell_ll_store(g, turned[i], cell_ll_at(g, line, cell_ll_i64(g, i * pitch)));
    cell_ll_for_end(g, &n);
    cell_ll_for_end(g, &k);
  }
  c->b = (Operand){to, pitch, 1};
}

static void dot(Contract *c) {
  CellBuild *g = c->g;
  double cycles;
  int64_t k_blocks = ceil_div(c->k, DOT_K);
  int64_t block_k = ceil_div(ceil_div(c->k, k_blocks), g->lanes) * g->lanes;
  LLVMValueRef zero = cell_ll_i64(g, 0), k_all = cell_ll_i64(g, c->k);
  CellFor k;
  cell_ll_for_begin(g, &k, zero, k_all, block_k, true);
  LLVMValueRef kc = block_size(c, k.i, block_k, k_all);
  LLVMValueRef from_out =
      LLVMBuildOr(g->b, c->add, LLVMBuildICmp(g->b, LLVMIntSGT, k.i, zero, ""), "");
  LLVMValueRef whole =
      LLVMBuildAnd(g->b, c->n, cell_ll_i64(g, ~(int64_t)(CELL_DOT_COLUMNS - 1)), "");
  for (int part = 0; part < 2; part++) {
    if (part == 1 && c->n_fixed && c->n_most % CELL_DOT_COLUMNS == 0) break;
    CellFor v;
    cell_ll_for_begin(g, &v, part == 0 ? zero : whole, part == 0 ? whole : c->n, CELL_DOT_COLUMNS,
                      false);
    CellTile tile = {.short_columns = part == 1, .together = c->out.ks == 1};
    if (part == 1) tile.left = dot_left(c);
    tile.rows = dot_rows(c, tile.left ? tile.left : CELL_DOT_COLUMNS, &cycles);
    if (c->k <= SHORT_DOT * g->lanes) tile.k = (int)c->k, tile.b_ks = c->b.rs;
    CellTileArgs args = {element(c, &c->a, zero, k.i),
                         element(c, &c->b, v.i, k.i),
                         element(c, &c->out, zero, v.i),
                         kc,
                         c->m,
                         cell_ll_sub(g, c->n, v.i),
                         from_out,
                         cell_ll_i64(g, c->a.rs),
                         zero,
                         cell_ll_i64(g, c->b.rs),
                         cell_ll_i64(g, c->out.rs),
                         cell_ll_i64(g, c->out.ks),
                         NULL,
                         NULL,
                         NULL,
                         NULL};
    cell_ll_dot_tile(g, &tile, &args);
    cell_ll_for_end(g, &v);
  }
  cell_ll_for_end(g, &k);
}

// ---- choice ----

static void swap_roles(Contract *c) {
  Operand a = c->a;
  c->a = c->b, c->b = a;
  LLVMValueRef m = c->m;
  c->m = c->n, c->n = m;
  int64_t most = c->m_most;
  c->m_most = c->n_most, c->n_most = most;
  bool fixed = c->m_fixed;
  c->m_fixed = c->n_fixed, c->n_fixed = fixed;
  c->out = (Operand){c->out.pointer, c->out.ks, c->out.rs};
}

struct CellContractFunction {
  Shape shape;
  LLVMValueRef function;
};

static Shape shape_of(const CellContract *in) {
  const CellStmt *s = in->stmt;
  Shape shape;
  memset(&shape, 0, sizeof shape); /* compared as bytes */
  shape.m = s->m, shape.n = s->n, shape.k = s->k;
  shape.strides[0] = s->a.row_stride, shape.strides[1] = s->a.k_stride;
  shape.strides[2] = s->b.row_stride, shape.strides[3] = s->b.k_stride;
  shape.strides[4] = s->out.row_stride, shape.strides[5] = s->out.k_stride;
  shape.a_bits = in->a_bits, shape.b_bits = in->b_bits;
  shape.terms = s->terms;
  if (s->terms > 0) {
    shape.term_strides[0] = s->u.row_stride, shape.term_strides[1] = s->u.k_stride;
    shape.term_strides[2] = s->v.row_stride, shape.term_strides[3] = s->v.k_stride;
  }
  shape.selects = cell_ll_selects(s, in->a_bits, in->b_bits);
  if (shape.selects) shape.all_rows = cell_ll_all_rows(s);
  shape.m_fixed = s->m_limit <= 0, shape.n_fixed = s->n_limit <= 0;
  shape.sparse = s->sparse && !in->a_bits && !in->b_bits && shape.n_fixed && s->b.row_stride == 1 &&
                 s->out.k_stride == 1 && (s->a.k_stride == 1 || s->a.row_stride == 1) &&
                 s->m >= SPARSE_M && s->k >= SPARSE_K;
  return shape;
}

static void dense(Contract *c) {
  CellBuild *g = c->g;
  if (streams(c)) {
    stream(c);
    return;
  }
  bool both = c->a.ks == 1 && c->b.ks == 1 && c->k >= g->lanes && g->lanes >= 4;
  bool by_n = c->out.ks == 1 && c->b.rs == 1 && c->n_most >= g->lanes;
  bool by_m = c->out.rs == 1 && c->a.rs == 1 && c->m_most >= g->lanes;
  if (c->a.rs == 1 && c->b.rs == 1 && c->k > 1 && g->lanes > 1) {
    // lanes fit either way: along what wastes fewer; sums that are not contiguous then cost a cycle each
    double by_columns = choose_tile(c, c->m_most, c->n_most),
           by_rows = choose_tile(c, c->n_most, c->m_most);
    double apart = (double)(c->m_most * c->n_most) / (double)c->k;
    if (c->out.ks != 1) by_columns += apart;
    if (c->out.rs != 1) by_rows += apart;
    if (by_rows < by_columns) swap_roles(c);
    outer(c);
  } else if (by_n) {
    outer(c);
  } else if (by_m) {
    swap_roles(c);
    outer(c);
  } else if (both && (c->m_most < g->lanes || c->n_most < g->lanes)) {
    dot(c);
  } else if (worth_turning(c)) {
    turn_b(c);
    dot(c);
  } else {
    // the operand that is read more often is copied into panels
    if (both ? c->n_most > 2 * c->m_most : c->out.ks != 1 && c->out.rs == 1) swap_roles(c);
    outer(c);
  }
}

// strides of extents of 1 mean nothing
static void drop_strides(Contract *c) {
  if (c->m_most == 1) c->a.rs = c->out.rs = 1;
  if (c->n_most == 1) c->b.rs = c->out.ks = 1;
  if (c->k == 1) c->a.ks = c->b.ks = 1;
}

static void emit_body(Contract *c, const Shape *s, LLVMValueRef f) {
  CellBuild *g = c->g;
  c->m = c->m_fixed ? cell_ll_i64(g, s->m) : LLVMGetParam(f, 5);
  c->n = c->n_fixed ? cell_ll_i64(g, s->n) : LLVMGetParam(f, 6);
  c->scratch = LLVMGetParam(f, 7);
  c->add = LLVMGetParam(f, 8);
  c->a = (Operand){LLVMGetParam(f, 0), s->strides[0], s->strides[1]};
  c->b = (Operand){LLVMGetParam(f, 2), s->strides[2], s->strides[3]};
  c->out = (Operand){LLVMGetParam(f, 4), s->strides[4], s->strides[5]};
  Contract terms = *c;
  if (s->terms > 0) {
    terms.a = (Operand){LLVMGetParam(f, 9), s->term_strides[0], s->term_strides[1]};
    terms.b = (Operand){LLVMGetParam(f, 10), s->term_strides[2], s->term_strides[3]};
    terms.k = s->terms, terms.add = LLVMConstInt(g->i1, 1, false);
    drop_strides(&terms);
  }
  if (s->selects) {
    // a whole is all that there is
    LLVMValueRef all = s->m_fixed ? LLVMGetParam(f, 1) : LLVMGetParam(f, 11);
    select_rows(c, LLVMGetParam(f, 1), all, s->all_rows);
  } else {
    if (s->a_bits)
      c->a = expand_bits(c, c->a.pointer, LLVMGetParam(f, 1), c->a.rs, c->a.ks, c->m, c->m_most);
    if (s->b_bits)
      c->b = expand_bits(c, c->b.pointer, LLVMGetParam(f, 3), c->b.rs, c->b.ks, c->n, c->n_most);
    drop_strides(c);
    bool near = s->terms == 0 || s->term_strides[2] == 1;
    if (s->sparse && near && leave_out(c, s->terms > 0 ? &terms : NULL)) return;
    dense(c);
  }
  if (s->terms == 0) return;
  dense(&terms);
  if (terms.scratch_used > c->scratch_used) c->scratch_used = terms.scratch_used;
}

void cell_ll_contract(CellBuild *g, const CellContract *in) {
  LLVMTypeRef types[12] = {g->ptr, g->i64, g->ptr, g->i64, g->ptr, g->i64,
                           g->i64, g->ptr, g->i1,  g->ptr, g->ptr, g->i64};
  LLVMTypeRef type = LLVMFunctionType(g->none, types, 12, false);
  Shape shape = shape_of(in);
  LLVMValueRef f = NULL;
  for (int i = 0; i < g->contract_count && !f; i++)
    if (memcmp(&g->contracts[i].shape, &shape, sizeof shape) == 0) f = g->contracts[i].function;
  if (!f) {
    // a function of its own: registers are then given out for this alone
    CellPlace saved;
    f = cell_ll_function(g, "contract", type, &saved);
    Contract c = {.g = g, .k = shape.k, .m_most = shape.m, .n_most = shape.n};
    c.m_fixed = shape.m_fixed, c.n_fixed = shape.n_fixed;
    emit_body(&c, &shape, f);
    cell_ll_return(g, &saved);
    if (4 * c.scratch_used > g->extra_scratch) g->extra_scratch = 4 * c.scratch_used;
    struct CellContractFunction made = {shape, f};
    CELL_PUSH(g->arena, g->contracts, g->contract_count, g->contract_capacity, made);
  }
  LLVMValueRef add = LLVMConstInt(g->i1, in->stmt->add, false);
  LLVMValueRef args[12] = {in->a, in->a_bit,   in->b, in->b_bit, in->out, in->m,
                           in->n, in->scratch, add,   in->u,     in->v,   in->a_all};
  LLVMBuildCall2(g->b, type, f, args, 12, "");
}
