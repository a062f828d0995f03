/* llvm_select.c - contractions whose first operand is bits: sums of selected rows.
 *
 * out[m, :] (+)= the rows b[:, k] whose bit a[m, k] is set, in ascending k. The set bits are listed
 * first: one list of row numbers for each m, from whole words, whichever way round the bits are
 * packed. Then, for a block of columns that the registers hold, every list is summed: the block's
 * part of b stays in the second-level cache while all m pass. The work goes with the number of set
 * bits; a dense product of the same shape costs more as long as fewer than about two thirds are
 * set.
 *
 * Observations have much in common: walls, what has not been hit yet. The bits that most of a few rows of a
 * have are summed once, and a list then names the bits in which its row differs, each with the sign of its
 * row of b. */
#include "codegen/llvm_build.h"

enum {
  BITS_AT_ONCE = 4,
  PLANES = 4,  /* binary digits of a count of votes */
  VOTERS = 15, /* rows of a that say what is common: their majority is the count's highest digit */
  COMMON_ROWS = 32 /* rows from which on it pays */
};

typedef struct {
  CellBuild *g;
  const CellSelect *s;
  bool common;
  int entry;                  /* i32 an entry of a list: the row of b, and its sign's float */
  LLVMValueRef lists, counts; /* i32; the list of m has room for all k */
  LLVMValueRef words;         /* i32: what is common */
  LLVMValueRef base_list, base_size; /* its list, without signs */
  LLVMValueRef base;                 /* a block of its sum */
} Select;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

static int64_t list_room(const CellSelect *s) {
  return s->k + BITS_AT_ONCE - 1;
}

// whether bits are looked for that rows have in common: their words must lie alike
static bool looks_for_common(const CellSelect *s) {
  return s->ks == 1 && s->rs % 32 == 0 && s->m_fixed && s->m_most >= COMMON_ROWS;
}

static int64_t common_words(const CellSelect *s) {
  return s->k / 32 + 2;
}

// lane vectors of a block of columns
static int64_t block_vectors(const CellBuild *g, const CellSelect *s) {
  int64_t registers = g->isa == CELL_ISA_AVX512 ? 24 : 12, total = ceil_div(s->n_most, g->lanes);
  return ceil_div(total, ceil_div(total, registers));
}

int64_t cell_ll_select_scratch(const CellBuild *g, const CellSelect *s) {
  int64_t common = common_words(s) + list_room(s) + 1 + block_vectors(g, s) * g->lanes;
  return looks_for_common(s) ? s->m_most * (2 * list_room(s) + 1) + common
                             : s->m_most * (list_room(s) + 1);
}

static LLVMValueRef load_i32(CellBuild *g, LLVMValueRef p) {
  return cell_ll_load(g, g->i32, p);
}

static LLVMValueRef widened(CellBuild *g, LLVMValueRef x) {
  return LLVMBuildZExt(g->b, x, g->i64, "");
}

static LLVMValueRef most(CellBuild *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, a, b, ""), a, b, "");
}

static LLVMValueRef narrowed(CellBuild *g, LLVMValueRef x) {
  return LLVMBuildTrunc(g->b, x, g->i32, "");
}

// the bits of word number w that are in [first, end)
static LLVMValueRef within(CellBuild *g, LLVMValueRef w, LLVMValueRef first, LLVMValueRef end) {
  LLVMValueRef begin = cell_ll_mul(g, w, 32), all = LLVMConstInt(g->i32, 0xffffffffU, false);
  LLVMValueRef low = most(g, cell_ll_sub(g, first, begin), cell_ll_i64(g, 0));
  LLVMValueRef past = cell_ll_sub(g, cell_ll_add(g, begin, cell_ll_i64(g, 32)), end);
  LLVMValueRef high = most(g, past, cell_ll_i64(g, 0));
  return LLVMBuildAnd(g->b, LLVMBuildShl(g->b, all, narrowed(g, low), ""),
                      LLVMBuildLShr(g->b, all, narrowed(g, high), ""), "");
}

static LLVMValueRef word_within(Select *l, LLVMValueRef w, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef word = load_i32(g, cell_ll_at(g, l->s->words, w));
  return LLVMBuildAnd(g->b, word, within(g, w, first, end), "");
}

// the number of the lowest set bit, and `rest` without it; 32 if there is none
static LLVMValueRef take_bit(CellBuild *g, LLVMValueRef rest) {
  LLVMValueRef left = LLVMBuildLoad2(g->b, g->i32, rest, "");
  LLVMValueRef args[2] = {left, LLVMConstInt(g->i1, 0, false)};
  LLVMValueRef place = cell_ll_call(g, "llvm.cttz", &g->i32, 1, args, 2);
  LLVMValueRef less = LLVMBuildSub(g->b, left, LLVMConstInt(g->i32, 1, false), "");
  LLVMBuildStore(g->b, LLVMBuildAnd(g->b, left, less, ""), rest);
  return place;
}

static LLVMValueRef first_word(CellBuild *g, LLVMValueRef bit) {
  return LLVMBuildAShr(g->b, bit, cell_ll_i64(g, 5), "");
}

static LLVMValueRef past_word(CellBuild *g, LLVMValueRef end) {
  return first_word(g, cell_ll_add(g, end, cell_ll_i64(g, 31)));
}

// the float whose sign says whether bit `place` of the word is set: 1, or -1
static LLVMValueRef sign_of(CellBuild *g, LLVMValueRef word, LLVMValueRef place) {
  LLVMValueRef bit = LLVMBuildAnd(g->b, place, LLVMConstInt(g->i32, 31, false), "");
  bit = LLVMBuildLShr(g->b, word, bit, "");
  bit = LLVMBuildShl(g->b, bit, LLVMConstInt(g->i32, 31, false), "");
  return LLVMBuildXor(g->b, bit, LLVMConstInt(g->i32, 0xbf800000U, false), "");
}

// Appends the bits that are set in `rest` to a list, as what they are from bit `first` on; `word`: where they
// get a sign. Several are taken at a time, whether they are there or not: what is written past the end is
// written over next, and few words end the loop in another way.
static void append_bits(Select *l, LLVMValueRef list, LLVMValueRef size, LLVMValueRef w,
                        LLVMValueRef first, LLVMValueRef bits, LLVMValueRef word) {
  CellBuild *g = l->g;
  LLVMValueRef rest = cell_ll_alloca(g, g->i32);
  LLVMBuildStore(g->b, bits, rest);
  LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", bits));
  LLVMValueRef base = narrowed(g, cell_ll_sub(g, cell_ll_mul(g, w, 32), first));
  LLVMValueRef n = LLVMBuildLoad2(g->b, g->i64, size, "");
  CellFor bit;
  int entry = word ? l->entry : 1;
  cell_ll_for_begin(g, &bit, cell_ll_i64(g, 0), set, BITS_AT_ONCE, false);
  LLVMValueRef at = cell_ll_at(g, list, cell_ll_mul(g, cell_ll_add(g, n, bit.i), entry));
  for (int i = 0; i < BITS_AT_ONCE; i++) {
    LLVMValueRef place = take_bit(g, rest);
    cell_ll_store(g, LLVMBuildAdd(g->b, base, place, ""),
                  cell_ll_at(g, at, cell_ll_i64(g, (int64_t)i * entry)));
    if (entry > 1)
      cell_ll_store(g, sign_of(g, word, place),
                    cell_ll_at(g, at, cell_ll_i64(g, (int64_t)i * entry + 1)));
  }
  cell_ll_for_end(g, &bit);
  LLVMBuildStore(g->b, cell_ll_add(g, n, set), size);
}

// the list of a row of a
static void list_row(Select *l, LLVMValueRef m, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef size = cell_ll_alloca(g, g->i64), from = first_word(g, first);
  LLVMBuildStore(g->b, cell_ll_i64(g, 0), size);
  LLVMValueRef list = cell_ll_at(g, l->lists, cell_ll_mul(g, m, l->entry * list_room(l->s)));
  CellFor w;
  cell_ll_for_begin(g, &w, from, past_word(g, end), 1, false);
  LLVMValueRef word = word_within(l, w.i, first, end), bits = word;
  if (l->common) {
    LLVMValueRef same = load_i32(g, cell_ll_at(g, l->words, cell_ll_sub(g, w.i, from)));
    bits = LLVMBuildXor(g->b, word, same, "");
  }
  append_bits(l, list, size, w.i, first, bits, word);
  cell_ll_for_end(g, &w);
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, size, "")),
                cell_ll_at(g, l->counts, m));
}

// the bits that most of VOTERS rows have, word by word, and their list
static void list_common(Select *l) {
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  LLVMValueRef first = s->bit, end = cell_ll_add(g, first, cell_ll_i64(g, s->k));
  LLVMValueRef plane[PLANES], size = cell_ll_alloca(g, g->i64), from = first_word(g, first);
  for (int p = 0; p < PLANES; p++) plane[p] = cell_ll_alloca(g, g->i32);
  LLVMBuildStore(g->b, cell_ll_i64(g, 0), size);
  CellFor w, vote;
  cell_ll_for_begin(g, &w, from, past_word(g, end), 1, false);
  for (int p = 0; p < PLANES; p++) LLVMBuildStore(g->b, LLVMConstNull(g->i32), plane[p]);
  int64_t step = s->m_most / VOTERS * (s->rs / 32);
  cell_ll_for_begin(g, &vote, cell_ll_i64(g, 0), cell_ll_i64(g, VOTERS), 1, true);
  LLVMValueRef at = cell_ll_add(g, w.i, cell_ll_mul(g, vote.i, step));
  LLVMValueRef carry = load_i32(g, cell_ll_at(g, s->words, at));
  for (int p = 0; p < PLANES; p++) {
    LLVMValueRef old = LLVMBuildLoad2(g->b, g->i32, plane[p], "");
    LLVMBuildStore(g->b, LLVMBuildXor(g->b, old, carry, ""), plane[p]);
    carry = LLVMBuildAnd(g->b, old, carry, "");
  }
  cell_ll_for_end(g, &vote);
  LLVMValueRef same = LLVMBuildLoad2(g->b, g->i32, plane[PLANES - 1], "");
  same = LLVMBuildAnd(g->b, same, within(g, w.i, first, end), "");
  cell_ll_store(g, same, cell_ll_at(g, l->words, cell_ll_sub(g, w.i, from)));
  append_bits(l, l->base_list, size, w.i, first, same, NULL);
  cell_ll_for_end(g, &w);
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, size, "")), l->base_size);
}

// Appends k to the lists of the rows whose bits are set in this line.
static void list_column(Select *l, LLVMValueRef k, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef rest = cell_ll_alloca(g, g->i32);
  CellFor w, bit;
  cell_ll_for_begin(g, &w, first_word(g, first), past_word(g, end), 1, false);
  LLVMValueRef word = word_within(l, w.i, first, end);
  LLVMBuildStore(g->b, word, rest);
  LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", word));
  LLVMValueRef base = cell_ll_sub(g, cell_ll_mul(g, w.i, 32), first);
  cell_ll_for_begin(g, &bit, cell_ll_i64(g, 0), set, 1, false);
  LLVMValueRef m = cell_ll_add(g, base, widened(g, take_bit(g, rest)));
  LLVMValueRef count = cell_ll_at(g, l->counts, m);
  LLVMValueRef n = load_i32(g, count);
  LLVMValueRef at = cell_ll_add(g, cell_ll_mul(g, m, list_room(l->s)), widened(g, n));
  cell_ll_store(g, narrowed(g, k), cell_ll_at(g, l->lists, at));
  cell_ll_store(g, LLVMBuildAdd(g->b, n, LLVMConstInt(g->i32, 1, false), ""), count);
  cell_ll_for_end(g, &bit);
  cell_ll_for_end(g, &w);
}

static void list_all(Select *l) {
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  bool along_rows = s->ks != 1;
  LLVMValueRef zero = cell_ll_i64(g, 0), k = cell_ll_i64(g, s->k);
  CellFor clear, line;
  if (l->common) list_common(l);
  if (along_rows) {
    cell_ll_for_begin(g, &clear, zero, s->m, 1, false);
    cell_ll_store(g, LLVMConstNull(g->i32), cell_ll_at(g, l->counts, clear.i));
    cell_ll_for_end(g, &clear);
  }
  cell_ll_for_begin(g, &line, zero, along_rows ? k : s->m, 1, false);
  int64_t stride = along_rows ? s->ks : s->rs;
  LLVMValueRef first = cell_ll_add(g, s->bit, cell_ll_mul(g, line.i, stride));
  if (along_rows)
    list_column(l, line.i, first, cell_ll_add(g, first, s->m));
  else
    list_row(l, line.i, first, cell_ll_add(g, first, k));
  cell_ll_for_end(g, &line);
}

// adds the rows of b that a list names, `vectors` lane vectors from column n on, to the accumulators
static void sum_list(Select *l, LLVMValueRef n, int vectors, LLVMValueRef mask, LLVMValueRef list,
                     LLVMValueRef count, int entry, const LLVMValueRef *acc) {
  CellBuild *g = l->g;
  LLVMValueRef columns = cell_ll_at(g, l->s->b, n), sign = NULL;
  CellFor each;
  cell_ll_for_begin(g, &each, cell_ll_i64(g, 0), count, 1, false);
  LLVMValueRef at = cell_ll_at(g, list, cell_ll_mul(g, each.i, entry));
  if (entry > 1) {
    sign = cell_ll_load(g, g->f32, cell_ll_at(g, at, cell_ll_i64(g, 1)));
    sign = cell_ll_splat(g, sign, g->lanes);
  }
  LLVMValueRef from =
      cell_ll_at(g, columns, cell_ll_mul(g, widened(g, load_i32(g, at)), l->s->b_ks));
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef here = cell_ll_at(g, from, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMValueRef x = cell_ll_masked_load(g, g->vf, here, v == vectors - 1 ? mask : NULL);
    LLVMValueRef sum = LLVMBuildLoad2(g->b, g->vf, acc[v], "");
    LLVMBuildStore(g->b, sign ? cell_ll_fma(g, sign, x, sum) : LLVMBuildFAdd(g->b, sum, x, ""),
                   acc[v]);
  }
  cell_ll_for_end(g, &each);
}

// columns [n, n + vectors * lanes) of every row; of the last vector those of the mask, NULL: all
static void sum_block(Select *l, LLVMValueRef n, int vectors, LLVMValueRef mask) {
  enum { MOST = 32 };
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  LLVMValueRef acc[MOST] = {NULL}, zero = cell_ll_i64(g, 0);
  for (int v = 0; v < vectors; v++) acc[v] = cell_ll_alloca(g, g->vf);

  if (l->common) {
    for (int v = 0; v < vectors; v++) LLVMBuildStore(g->b, LLVMConstNull(g->vf), acc[v]);
    sum_list(l, n, vectors, mask, l->base_list, widened(g, load_i32(g, l->base_size)), 1, acc);
    for (int v = 0; v < vectors; v++)
      cell_ll_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""),
                    cell_ll_at(g, l->base, cell_ll_i64(g, (int64_t)v * g->lanes)));
  }
  CellFor row;
  CellIf start;
  cell_ll_for_begin(g, &row, zero, s->m, 1, false);
  LLVMValueRef out = cell_ll_at(g, s->out, cell_ll_add(g, cell_ll_mul(g, row.i, s->out_rs), n));
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, l->base, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMBuildStore(g->b, l->common ? cell_ll_load(g, g->vf, at) : LLVMConstNull(g->vf), acc[v]);
  }
  cell_ll_if_begin(g, &start, s->add);
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMValueRef old = cell_ll_masked_load(g, g->vf, at, v == vectors - 1 ? mask : NULL);
    if (l->common) old = LLVMBuildFAdd(g->b, old, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), "");
    LLVMBuildStore(g->b, old, acc[v]);
  }
  cell_ll_if_end(g, &start);
  LLVMValueRef list = cell_ll_at(g, l->lists, cell_ll_mul(g, row.i, l->entry * list_room(s)));
  sum_list(l, n, vectors, mask, list, widened(g, load_i32(g, cell_ll_at(g, l->counts, row.i))),
           l->entry, acc);
  for (int v = 0; v < vectors; v++)
    cell_ll_masked_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""),
                         cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes)),
                         v == vectors - 1 ? mask : NULL);
  cell_ll_for_end(g, &row);
}

void cell_ll_select(CellBuild *g, const CellSelect *s) {
  Select l = {.g = g, .s = s, .common = looks_for_common(s), .lists = s->scratch};
  l.entry = l.common ? 2 : 1;
  l.counts = cell_ll_at(g, l.lists, cell_ll_i64(g, s->m_most * l.entry * list_room(s)));
  l.words = cell_ll_at(g, l.counts, cell_ll_i64(g, s->m_most));
  l.base_list = cell_ll_at(g, l.words, cell_ll_i64(g, common_words(s)));
  l.base_size = cell_ll_at(g, l.base_list, cell_ll_i64(g, list_room(s)));
  l.base = cell_ll_at(g, l.base_size, cell_ll_i64(g, 1));
  list_all(&l);

  // blocks of equal width that the registers hold, then what is left: one shorter block where its width is
  // known, else vector by vector
  int64_t vectors = block_vectors(g, s), width = vectors * g->lanes;
  LLVMValueRef wide = cell_ll_i64(g, width);
  LLVMValueRef whole = cell_ll_sub(g, s->n, LLVMBuildSRem(g->b, s->n, wide, ""));
  CellFor n;
  if (s->n_most >= width) {
    cell_ll_for_begin(g, &n, cell_ll_i64(g, 0), whole, width, false);
    sum_block(&l, n.i, (int)vectors, NULL);
    cell_ll_for_end(g, &n);
  }
  int64_t rest = s->n_most % width;
  if (s->n_fixed && rest > 0) {
    int64_t last = ceil_div(rest, g->lanes), there = rest - (last - 1) * g->lanes;
    sum_block(&l, whole, (int)last,
              there < g->lanes ? cell_ll_mask(g, g->lanes, cell_ll_i64(g, there)) : NULL);
  } else if (!s->n_fixed) {
    cell_ll_for_begin(g, &n, whole, s->n, g->lanes, false);
    LLVMValueRef left = cell_ll_sub(g, s->n, n.i);
    sum_block(&l, n.i, 1, g->lanes > 1 ? cell_ll_mask(g, g->lanes, left) : NULL);
    cell_ll_for_end(g, &n);
  }
}
