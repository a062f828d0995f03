/* llvm_subsets.c - contractions whose first operand is bits, where few columns and few bits are at stake: what a list of
 * the set bits costs to make and to follow, mostly in branches that no one can foresee, is then more than the sums.
 *
 * All sixteen sums of four rows of b are worked out once, for every four rows; a row of the result takes one of them for each
 * four of its bits, without a branch (the method of the four Russians). Of k = 6, for one row whose bits are 1101 01:
 *
 *     sums of b's rows 0 to 3     0, b0, b1, b0 + b1, b2, ...      entry 1011 (b0 + b1 + b3)
 *     sums of b's rows 4 and 5    0, b4, b5, b4 + b5               entry 10   (b5)
 *
 * Where a word holds a bit of each of several rows, as of a gradient, blocks of k are turned first: lanes hold one word of as many
 * k, and their signs, after a shift for each bit, are that many bits of a row. */
#include "codegen/llvm_build.h"

enum {
  FOUR = 4, /* bits that choose a sum */
  SUMS = 1 << FOUR,
  WORD = 32,
  MOST_VECTORS = 4,      /* of columns */
  MOST_BYTES = 24 << 10, /* of sums: they stay in the first level */
  LEAST_ROWS = 16,       /* for which it pays to work them out */
  TURNED = 128           /* k that are turned at a time, of one vector of columns */
};

typedef struct {
  CellBuild *g;
  const CellSelect *s;
  int vectors;
  LLVMValueRef mask;  /* of the last one; NULL: it is whole */
  LLVMValueRef table; /* sums: for each four rows SUMS times vectors */
} Subsets;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

static int64_t vectors_of(const CellBuild *g, const CellSelect *s) {
  return ceil_div(s->n_most, g->lanes);
}

static int64_t table_elements(const CellBuild *g, const CellSelect *s, int64_t k) {
  return ceil_div(k, FOUR) * SUMS * vectors_of(g, s) * g->lanes;
}

static bool turns(const CellSelect *s) {
  return s->bits.ks != 1;
}

// k that are turned at a time: a whole number of words, of which there is a whole number in k; 0: there is none
static int64_t block_of(const CellBuild *g, const CellSelect *s) {
  int64_t block = TURNED / vectors_of(g, s) / WORD * WORD;
  for (; block > 0; block -= WORD)
    if (s->bits.k % block == 0) break;
  return block;
}

bool cell_ll_takes_subsets(const CellBuild *g, const CellSelect *s) {
  const CellBits *b = &s->bits;
  if (g->lanes == 1 || !s->n_fixed || vectors_of(g, s) > MOST_VECTORS) return false;
  if (!turns(s))
    return b->rs % WORD == 0 && b->m_most >= LEAST_ROWS &&
           4 * table_elements(g, s, b->k) <= MOST_BYTES;
  return b->ks % WORD == 0 && (b->ks == WORD || cell_ll_can_stride(g, b->ks / WORD)) &&
         block_of(g, s) > 0;
}

int64_t cell_ll_subsets_scratch(const CellBuild *g, const CellSelect *s) {
  if (!turns(s)) return table_elements(g, s, s->bits.k);
  return table_elements(g, s, block_of(g, s)) + s->bits.m_most * (block_of(g, s) / WORD);
}

// ---- sums of four rows ----

static void fill_four(const Subsets *l, LLVMValueRef from, LLVMValueRef to, int rows) {
  CellBuild *g = l->g;
  for (int v = 0; v < l->vectors; v++) {
    LLVMValueRef sums[SUMS] = {LLVMConstNull(g->vf)};
    for (int j = 0; j < rows; j++) {
      LLVMValueRef at = cell_ll_at(g, from, cell_ll_i64(g, j * l->s->b_ks + (int64_t)v * g->lanes));
      LLVMValueRef row = cell_ll_masked_load(g, g->vf, at, v == l->vectors - 1 ? l->mask : NULL);
      for (int e = 0; e < 1 << j; e++)
        sums[(1 << j) + e] = e == 0 ? row : LLVMBuildFAdd(g->b, sums[e], row, "");
    }
    for (int e = 0; e < 1 << rows; e++)
      cell_ll_store(g, sums[e],
                    cell_ll_at(g, to, cell_ll_i64(g, ((int64_t)e * l->vectors + v) * g->lanes)));
  }
}

// of k rows of b from `from` on
static void fill(const Subsets *l, LLVMValueRef from, int64_t k) {
  CellBuild *g = l->g;
  int64_t fours = k / FOUR, size = (int64_t)SUMS * l->vectors * g->lanes;
  CellFor four;
  if (fours > 0) {
    cell_ll_for_begin(g, &four, cell_ll_i64(g, 0), cell_ll_i64(g, fours), 1, true);
    fill_four(l, cell_ll_at(g, from, cell_ll_mul(g, four.i, FOUR * l->s->b_ks)),
              cell_ll_at(g, l->table, cell_ll_mul(g, four.i, size)), FOUR);
    cell_ll_for_end(g, &four);
  }
  if (k % FOUR > 0)
    fill_four(l, cell_ll_at(g, from, cell_ll_i64(g, fours * FOUR * l->s->b_ks)),
              cell_ll_at(g, l->table, cell_ll_i64(g, fours * size)), (int)(k % FOUR));
}

// ---- rows of the result ----

static LLVMValueRef word_at(CellBuild *g, LLVMValueRef words, LLVMValueRef i) {
  return LLVMBuildZExt(g->b, cell_ll_load(g, g->i32, cell_ll_at(g, words, i)), g->i64, "");
}

/* WORD bits from bit number WORD w + shift on; `last`: the last word that is there. Higher bits are anything. */
static LLVMValueRef bits_at(CellBuild *g, LLVMValueRef words, int64_t w, LLVMValueRef shift,
                            LLVMValueRef last) {
  LLVMValueRef low = word_at(g, words, cell_ll_i64(g, w));
  if (!shift) return low;
  LLVMValueRef high = word_at(g, words, cell_ll_min(g, cell_ll_i64(g, w + 1), last));
  high = LLVMBuildShl(g->b, high, cell_ll_i64(g, WORD), "");
  return LLVMBuildLShr(g->b, LLVMBuildOr(g->b, low, high, ""), shift, "");
}

// out (+)= the sums that k bits choose
static void sum_row(const Subsets *l, LLVMValueRef words, LLVMValueRef shift, LLVMValueRef last,
                    int64_t k, LLVMValueRef out, LLVMValueRef add) {
  CellBuild *g = l->g;
  // two chains of additions
  LLVMValueRef acc[2][MOST_VECTORS] = {{NULL}}, bits = NULL, old[MOST_VECTORS];
  for (int64_t four = 0; four < ceil_div(k, FOUR); four++) {
    int64_t place = four * FOUR % WORD, left = k - four * FOUR;
    if (place == 0) bits = bits_at(g, words, four * FOUR / WORD, shift, last);
    LLVMValueRef which = LLVMBuildLShr(g->b, bits, cell_ll_i64(g, place), "");
    which = LLVMBuildAnd(g->b, which, cell_ll_i64(g, left < FOUR ? (1 << left) - 1 : SUMS - 1), "");
    LLVMValueRef at = cell_ll_mul(g, which, (int64_t)l->vectors * g->lanes);
    LLVMValueRef of = cell_ll_at(g, l->table, cell_ll_i64(g, four * SUMS * l->vectors * g->lanes));
    for (int v = 0; v < l->vectors; v++) {
      LLVMValueRef sum =
          cell_ll_at(g, cell_ll_at(g, of, at), cell_ll_i64(g, (int64_t)v * g->lanes));
      LLVMValueRef *to = &acc[four % 2][v], x = cell_ll_load(g, g->vf, sum);
      *to = *to ? LLVMBuildFAdd(g->b, *to, x, "") : x;
    }
  }
  for (int v = 0; v < l->vectors; v++) {
    old[v] = cell_ll_alloca(g, g->vf);
    LLVMBuildStore(g->b, LLVMConstNull(g->vf), old[v]);
  }
  CellIf there;
  cell_ll_if_begin(g, &there, add);
  for (int v = 0; v < l->vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMBuildStore(g->b, cell_ll_masked_load(g, g->vf, at, v == l->vectors - 1 ? l->mask : NULL),
                   old[v]);
  }
  cell_ll_if_end(g, &there);
  for (int v = 0; v < l->vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes)), sum = acc[0][v];
    if (acc[1][v]) sum = LLVMBuildFAdd(g->b, sum, acc[1][v], "");
    sum = LLVMBuildFAdd(g->b, sum, LLVMBuildLoad2(g->b, g->vf, old[v], ""), "");
    cell_ll_masked_store(g, sum, at, v == l->vectors - 1 ? l->mask : NULL);
  }
}

static LLVMValueRef word_of(CellBuild *g, LLVMValueRef bit) {
  return LLVMBuildAShr(g->b, bit, cell_ll_i64(g, 5), "");
}

static LLVMValueRef place_of(CellBuild *g, LLVMValueRef bit) {
  return LLVMBuildAnd(g->b, bit, cell_ll_i64(g, WORD - 1), "");
}

static void sum_rows(const Subsets *l) {
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  const CellBits *b = &s->bits;
  fill(l, s->b, b->k);
  LLVMValueRef first = word_of(g, b->bit), end = cell_ll_add(g, b->bit, cell_ll_i64(g, b->k - 1));
  LLVMValueRef last = cell_ll_sub(g, word_of(g, end), first);
  CellFor row;
  cell_ll_for_begin(g, &row, cell_ll_i64(g, 0), b->m, 1, false);
  LLVMValueRef at = cell_ll_add(g, first, cell_ll_mul(g, row.i, b->rs / WORD));
  sum_row(l, cell_ll_at(g, b->words, at), place_of(g, b->bit), last, b->k,
          cell_ll_at(g, s->out, cell_ll_mul(g, row.i, s->out_rs)), s->add);
  cell_ll_for_end(g, &row);
}

// ---- blocks that are turned ----

// bits of the block that begins at k, of all rows: `words` a row
static void turn(const Subsets *l, LLVMValueRef k, int64_t block, LLVMValueRef turned) {
  CellBuild *g = l->g;
  const CellBits *b = &l->s->bits;
  int64_t apart = b->ks / WORD;
  LLVMTypeRef byte = LLVMInt8TypeInContext(g->context),
              signs = LLVMIntTypeInContext(g->context, (unsigned)g->lanes);
  LLVMValueRef end = cell_ll_add(g, b->bit, b->m);
  LLVMValueRef past = word_of(g, cell_ll_add(g, end, cell_ll_i64(g, WORD - 1)));
  CellFor w, i, bit;
  cell_ll_for_begin(g, &w, word_of(g, b->bit), past, 1, false);
  LLVMValueRef low = cell_ll_mul(g, w.i, WORD), high = cell_ll_add(g, low, cell_ll_i64(g, WORD));
  LLVMValueRef above = LLVMBuildICmp(g->b, LLVMIntSGT, b->bit, low, "");
  low = LLVMBuildSelect(g->b, above, b->bit, low, ""), high = cell_ll_min(g, end, high);
  cell_ll_for_begin(g, &i, cell_ll_i64(g, 0), cell_ll_i64(g, block), g->lanes, true);
  LLVMValueRef at = cell_ll_add(g, cell_ll_mul(g, cell_ll_add(g, k, i.i), apart), w.i);
  at = cell_ll_at(g, b->words, at);
  LLVMValueRef x =
      apart == 1 ? cell_ll_load(g, g->vi, at) : cell_ll_strided_load(g, g->i32, at, apart);
  LLVMValueRef eighth = LLVMBuildLShr(g->b, i.i, cell_ll_i64(g, 3), "");
  LLVMValueRef to = LLVMBuildInBoundsGEP2(g->b, byte, turned, &eighth, 1, "");
  cell_ll_for_begin(g, &bit, low, high, 1, false);
  LLVMValueRef up = cell_ll_sub(g, cell_ll_i64(g, WORD - 1), place_of(g, bit.i));
  up = cell_ll_splat(g, LLVMBuildTrunc(g->b, up, g->i32, ""), g->lanes);
  LLVMValueRef y = LLVMBuildShl(g->b, x, up, "");
  LLVMValueRef set = LLVMBuildICmp(g->b, LLVMIntSLT, y, LLVMConstNull(g->vi), "");
  LLVMValueRef row = cell_ll_mul(g, cell_ll_sub(g, bit.i, b->bit), block / WORD);
  LLVMValueRef store =
      LLVMBuildStore(g->b, LLVMBuildBitCast(g->b, set, signs, ""), cell_ll_at(g, to, row));
  LLVMSetAlignment(store, 1);
  cell_ll_for_end(g, &bit);
  cell_ll_for_end(g, &i);
  cell_ll_for_end(g, &w);
}

static void sum_turned(const Subsets *l) {
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  int64_t block = block_of(g, s), words = block / WORD;
  LLVMValueRef turned = cell_ll_at(g, l->table, cell_ll_i64(g, table_elements(g, s, block)));
  CellFor k, row;
  cell_ll_for_begin(g, &k, cell_ll_i64(g, 0), cell_ll_i64(g, s->bits.k), block, true);
  turn(l, k.i, block, turned);
  fill(l, cell_ll_at(g, s->b, cell_ll_mul(g, k.i, s->b_ks)), block);
  LLVMValueRef later = LLVMBuildICmp(g->b, LLVMIntSGT, k.i, cell_ll_i64(g, 0), "");
  later = LLVMBuildOr(g->b, later, s->add, "");
  cell_ll_for_begin(g, &row, cell_ll_i64(g, 0), s->bits.m, 1, false);
  sum_row(l, cell_ll_at(g, turned, cell_ll_mul(g, row.i, words)), NULL, NULL, block,
          cell_ll_at(g, s->out, cell_ll_mul(g, row.i, s->out_rs)), later);
  cell_ll_for_end(g, &row);
  cell_ll_for_end(g, &k);
}

void cell_ll_subsets(CellBuild *g, const CellSelect *s) {
  int64_t left = s->n_most % g->lanes;
  Subsets l = {.g = g, .s = s, .vectors = (int)vectors_of(g, s), .table = s->scratch};
  l.mask = left > 0 ? cell_ll_mask(g, g->lanes, cell_ll_i64(g, left)) : NULL;
  if (turns(s))
    sum_turned(&l);
  else
    sum_rows(&l);
}
