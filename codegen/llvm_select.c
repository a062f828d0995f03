/* llvm_select.c - contractions whose first operand is bits: sums of selected rows.
 *
 * out[m, :] (+)= the rows b[:, k] whose bit a[m, k] is set, in ascending k, from one list of k for each m
 * (llvm_lists.c). For a block of columns that the registers hold, every list is summed: the block's
 * part of b stays in the second-level cache while all m pass. The work goes with the number of set
 * bits; a dense product of the same shape costs more as long as fewer than about two thirds are
 * set.
 *
 * Where lists say in what rows differ from what they have in common, that is summed once for a block: the bits that
 * most rows have, or, for rows of which most bits are set, all rows of b. */
#include "codegen/llvm_build.h"

enum {
  MOST_VECTORS = 32,
  NEAR_BYTES = 256 << 10, /* of b that all rows go through before the next columns */
  FAR_BYTES = 64 << 10,   /* from which on what is written is not near */
  AHEAD = 4               /* rows that are then fetched ahead of the one that is written */
};

typedef struct {
  CellBuild *g;
  const CellSelect *s;
  CellLists lists;
  LLVMValueRef base;  /* what rows begin with */
  LLVMValueRef zeros; /* FLIPPED: what those begin with that are not flipped: a block */
} Select;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// lane vectors of a block of columns
static int64_t block_vectors(const CellBuild *g, const CellSelect *s) {
  int64_t registers = g->isa == CELL_ISA_AVX512 ? 24 : 12, total = ceil_div(s->n_most, g->lanes);
  return ceil_div(total, ceil_div(total, registers));
}

// blocks that all rows take together: as many as leave their part of b in the second-level cache
static int64_t blocks_at_once(const CellBuild *g, const CellSelect *s) {
  int64_t width = block_vectors(g, s) * g->lanes, near = NEAR_BYTES / (4 * s->bits.k * width),
          there = s->n_most / width;
  near = near < there ? near : there;
  return near > 1 ? near : 1;
}

int64_t cell_ll_select_scratch(const CellBuild *g, const CellSelect *s) {
  return (1 + blocks_at_once(g, s)) * block_vectors(g, s) * g->lanes;
}

// where vector v of a block is
static LLVMValueRef vector_at(CellBuild *g, LLVMValueRef block, int v) {
  return cell_ll_at(g, block, cell_ll_i64(g, (int64_t)v * g->lanes));
}

// Adds the rows of b that entries [begin, end) name, `vectors` lane vectors from column n on, to the accumulators;
// each with its own sign, or all with one, or none. No entries: the rows from `begin` to `end`.
typedef struct {
  LLVMValueRef entries, begin, end;
  int entry;
  LLVMValueRef sign; /* a lane vector; NULL: 1 */
} List;

static void sum_list(Select *l, LLVMValueRef n, int vectors, LLVMValueRef mask, const List *list,
                     const LLVMValueRef *acc) {
  CellBuild *g = l->g;
  LLVMValueRef columns = cell_ll_at(g, l->s->b, n), sign = list->sign;
  CellFor each;
  cell_ll_for_begin(g, &each, list->begin, list->end, list->entry, false);
  LLVMValueRef k = each.i;
  if (list->entries) {
    LLVMValueRef at = cell_ll_at(g, list->entries, each.i);
    if (list->entry > 1) {
      sign = cell_ll_load(g, g->f32, cell_ll_at(g, at, cell_ll_i64(g, 1)));
      sign = cell_ll_splat(g, sign, g->lanes);
    }
    k = LLVMBuildZExt(g->b, cell_ll_load(g, g->i32, at), g->i64, "");
  }
  LLVMValueRef from = cell_ll_at(g, columns, cell_ll_mul(g, k, l->s->b_ks));
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef x =
        cell_ll_masked_load(g, g->vf, vector_at(g, from, v), v == vectors - 1 ? mask : NULL);
    LLVMValueRef sum = LLVMBuildLoad2(g->b, g->vf, acc[v], "");
    LLVMBuildStore(g->b, sign ? cell_ll_fma(g, sign, x, sum) : LLVMBuildFAdd(g->b, sum, x, ""),
                   acc[v]);
  }
  cell_ll_for_end(g, &each);
}

static LLVMValueRef load_wide(CellBuild *g, LLVMValueRef i32s, LLVMValueRef at) {
  return LLVMBuildZExt(g->b, cell_ll_load(g, g->i32, cell_ll_at(g, i32s, at)), g->i64, "");
}

// What rows begin with in a block: the sum of what they have in common, of all k where some row lacks less than it
// has.
static void sum_base(Select *l, LLVMValueRef n, int vectors, LLVMValueRef mask, LLVMValueRef base) {
  CellBuild *g = l->g;
  LLVMValueRef zero = cell_ll_i64(g, 0), acc[MOST_VECTORS] = {NULL};
  List list = {l->lists.entries, zero, load_wide(g, l->lists.base_size, zero), 1, NULL};
  if (l->lists.form == CELL_LISTS_FLIPPED) {
    LLVMValueRef any = LLVMBuildICmp(g->b, LLVMIntSGT, list.end, zero, "");
    list.entries = NULL;
    list.end = LLVMBuildSelect(g->b, any, cell_ll_i64(g, l->s->bits.k), zero, "");
  }
  for (int v = 0; v < vectors; v++) {
    acc[v] = cell_ll_alloca(g, g->vf);
    LLVMBuildStore(g->b, LLVMConstNull(g->vf), acc[v]);
  }
  sum_list(l, n, vectors, mask, &list, acc);
  for (int v = 0; v < vectors; v++)
    cell_ll_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), vector_at(g, base, v));
}

// one row of a block; base: what it begins with, if not zeros, as rows that are not flipped among FLIPPED lists do
static void sum_row(Select *l, LLVMValueRef row, LLVMValueRef n, int vectors, LLVMValueRef mask,
                    LLVMValueRef base) {
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  bool plain = l->lists.form == CELL_LISTS_PLAIN;
  LLVMValueRef acc[MOST_VECTORS] = {NULL};
  LLVMValueRef out = cell_ll_at(g, s->out, cell_ll_add(g, cell_ll_mul(g, row, s->out_rs), n));
  LLVMValueRef span = cell_ll_mul(g, row, 2);
  List list = {.entries = l->lists.entries, .entry = l->lists.entry};
  list.begin = load_wide(g, l->lists.spans, span);
  list.end = load_wide(g, l->lists.spans, cell_ll_add(g, span, cell_ll_i64(g, 1)));
  if (l->lists.form == CELL_LISTS_FLIPPED) {
    LLVMValueRef flipped = cell_ll_lists_flipped(g, &s->bits, &l->lists, row);
    LLVMValueRef sign = cell_ll_float(g, LLVMConstNull(g->f32), 1);
    sign = LLVMBuildSelect(g->b, flipped, LLVMBuildFNeg(g->b, sign, ""), sign, "");
    list.sign = cell_ll_splat(g, sign, g->lanes);
    base = LLVMBuildSelect(g->b, flipped, base, l->zeros, "");
  }
  for (int v = 0; v < vectors; v++) {
    acc[v] = cell_ll_alloca(g, g->vf);
    LLVMBuildStore(
        g->b, plain ? LLVMConstNull(g->vf) : cell_ll_load(g, g->vf, vector_at(g, base, v)), acc[v]);
  }
  CellIf start;
  cell_ll_if_begin(g, &start, s->add);
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef old =
        cell_ll_masked_load(g, g->vf, vector_at(g, out, v), v == vectors - 1 ? mask : NULL);
    if (!plain) old = LLVMBuildFAdd(g->b, old, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), "");
    LLVMBuildStore(g->b, old, acc[v]);
  }
  cell_ll_if_end(g, &start);
  if (4 * s->bits.m_most * s->n_most >= FAR_BYTES)
    for (int64_t i = 0; i < vectors * g->lanes; i += CELL_LINE)
      cell_ll_prefetch(g, cell_ll_at(g, out, cell_ll_i64(g, AHEAD * s->out_rs + i)));
  sum_list(l, n, vectors, mask, &list, acc);
  for (int v = 0; v < vectors; v++)
    cell_ll_masked_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), vector_at(g, out, v),
                         v == vectors - 1 ? mask : NULL);
}

// Every row of columns [first, end), which are blocks of `vectors` lane vectors; of the last vector those of the
// mask, NULL: all. A row is written from end to end.
static void sum_blocks(Select *l, LLVMValueRef first, LLVMValueRef end, int vectors,
                       LLVMValueRef mask) {
  CellBuild *g = l->g;
  int64_t width = (int64_t)vectors * g->lanes;
  CellFor n, row;
  if (l->lists.form != CELL_LISTS_PLAIN) {
    cell_ll_for_begin(g, &n, first, end, width, true);
    sum_base(l, n.i, vectors, mask, cell_ll_at(g, l->base, cell_ll_sub(g, n.i, first)));
    cell_ll_for_end(g, &n);
  }
  cell_ll_for_begin(g, &row, cell_ll_i64(g, 0), l->s->bits.m, 1, false);
  cell_ll_for_begin(g, &n, first, end, width, true);
  sum_row(l, row.i, n.i, vectors, mask, cell_ll_at(g, l->base, cell_ll_sub(g, n.i, first)));
  cell_ll_for_end(g, &n);
  cell_ll_for_end(g, &row);
}

void cell_ll_select(CellBuild *g, const CellSelect *s) {
  // blocks of equal width that the registers hold, several of them side by side as long as their part of b stays near;
  // then what is left: one shorter block where its width is known, else vector by vector
  int64_t vectors = block_vectors(g, s), width = vectors * g->lanes,
          several = width * blocks_at_once(g, s);
  Select l = {.g = g, .s = s, .zeros = s->scratch};
  l.base = cell_ll_at(g, l.zeros, cell_ll_i64(g, width));
  cell_ll_lists(g, &s->bits, s->kept, &l.lists);
  if (l.lists.form == CELL_LISTS_FLIPPED)
    for (int v = 0; v < vectors; v++)
      cell_ll_store(g, LLVMConstNull(g->vf), vector_at(g, l.zeros, v));

  LLVMValueRef wide = cell_ll_i64(g, width);
  LLVMValueRef whole = cell_ll_sub(g, s->n, LLVMBuildSRem(g->b, s->n, wide, ""));
  CellFor n;
  if (s->n_most >= width) {
    cell_ll_for_begin(g, &n, cell_ll_i64(g, 0), whole, several, false);
    LLVMValueRef end = cell_ll_add(g, n.i, cell_ll_i64(g, several));
    sum_blocks(&l, n.i, cell_ll_min(g, end, whole), (int)vectors, NULL);
    cell_ll_for_end(g, &n);
  }
  int64_t rest = s->n_most % width;
  if (s->n_fixed && rest > 0) {
    int64_t last = ceil_div(rest, g->lanes), there = rest - (last - 1) * g->lanes;
    sum_blocks(&l, whole, s->n, (int)last,
               there < g->lanes ? cell_ll_mask(g, g->lanes, cell_ll_i64(g, there)) : NULL);
  } else if (!s->n_fixed) {
    cell_ll_for_begin(g, &n, whole, s->n, g->lanes, false);
    LLVMValueRef left = cell_ll_sub(g, s->n, n.i);
    LLVMValueRef end = cell_ll_add(g, n.i, cell_ll_i64(g, g->lanes));
    sum_blocks(&l, n.i, end, 1, g->lanes > 1 ? cell_ll_mask(g, g->lanes, left) : NULL);
    cell_ll_for_end(g, &n);
  }
}
