/* llvm_select.c - contractions whose first operand is bits: sums of selected rows.
 *
 * out[m, :] (+)= the rows b[:, k] whose bit a[m, k] is set, in ascending k. The set bits are listed
 * first: one list of row numbers for each m, from whole words, whichever way round the bits are
 * packed. Then, for a block of columns that the registers hold, every list is summed: the block's
 * part of b stays in the second-level cache while all m pass. The work goes with the number of set
 * bits; a dense product of the same shape costs more as long as fewer than about two thirds are
 * set. */
#include "codegen/llvm_build.h"

typedef struct {
  CellBuild *g;
  const CellSelect *s;
  LLVMValueRef lists, counts; /* i32; the list of m has room for all k */
} Select;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

enum { BITS_AT_ONCE = 4 };

static int64_t list_room(const CellSelect *s) {
  return s->k + BITS_AT_ONCE - 1;
}

int64_t cell_ll_select_scratch(const CellSelect *s) {
  return s->m_most * list_room(s) + s->m_most;
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

// word number w less the bits outside [first, end)
static LLVMValueRef word_within(Select *l, LLVMValueRef w, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef word = load_i32(g, cell_ll_at(g, l->s->words, w)), zero = cell_ll_i64(g, 0);
  LLVMValueRef begin = cell_ll_mul(g, w, 32), all = LLVMConstInt(g->i32, 0xffffffffU, false);
  LLVMValueRef low = most(g, cell_ll_sub(g, first, begin), zero);
  LLVMValueRef past = cell_ll_sub(g, cell_ll_add(g, begin, cell_ll_i64(g, 32)), end);
  LLVMValueRef high = most(g, past, zero);
  word = LLVMBuildAnd(g->b, word, LLVMBuildShl(g->b, all, narrowed(g, low), ""), "");
  return LLVMBuildAnd(g->b, word, LLVMBuildLShr(g->b, all, narrowed(g, high), ""), "");
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

// Appends the set bits of a row of a to its list. Several are taken at a time, whether they are there or
// not: what is written past the end is written over next, and few words end the loop in another way.
static void list_row(Select *l, LLVMValueRef m, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef size = cell_ll_alloca(g, g->i64), rest = cell_ll_alloca(g, g->i32);
  LLVMBuildStore(g->b, cell_ll_i64(g, 0), size);
  LLVMValueRef list = cell_ll_at(g, l->lists, cell_ll_mul(g, m, list_room(l->s)));
  LLVMValueRef from = LLVMBuildAShr(g->b, first, cell_ll_i64(g, 5), "");
  LLVMValueRef to =
      LLVMBuildAShr(g->b, cell_ll_add(g, end, cell_ll_i64(g, 31)), cell_ll_i64(g, 5), "");
  CellFor w, bit;
  cell_ll_for_begin(g, &w, from, to, 1, false);
  LLVMValueRef word = word_within(l, w.i, first, end);
  LLVMBuildStore(g->b, word, rest);
  LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", word));
  LLVMValueRef base = narrowed(g, cell_ll_sub(g, cell_ll_mul(g, w.i, 32), first));
  LLVMValueRef n = LLVMBuildLoad2(g->b, g->i64, size, "");
  cell_ll_for_begin(g, &bit, cell_ll_i64(g, 0), set, BITS_AT_ONCE, false);
  LLVMValueRef at = cell_ll_at(g, list, cell_ll_add(g, n, bit.i));
  for (int i = 0; i < BITS_AT_ONCE; i++)
    cell_ll_store(g, LLVMBuildAdd(g->b, base, take_bit(g, rest), ""),
                  cell_ll_at(g, at, cell_ll_i64(g, i)));
  cell_ll_for_end(g, &bit);
  LLVMBuildStore(g->b, cell_ll_add(g, n, set), size);
  cell_ll_for_end(g, &w);
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, size, "")),
                cell_ll_at(g, l->counts, m));
}

// Appends k to the lists of the rows whose bits are set in this line.
static void list_column(Select *l, LLVMValueRef k, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef rest = cell_ll_alloca(g, g->i32);
  LLVMValueRef from = LLVMBuildAShr(g->b, first, cell_ll_i64(g, 5), "");
  LLVMValueRef to =
      LLVMBuildAShr(g->b, cell_ll_add(g, end, cell_ll_i64(g, 31)), cell_ll_i64(g, 5), "");
  CellFor w, bit;
  cell_ll_for_begin(g, &w, from, to, 1, false);
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

// columns [n, n + vectors * lanes) of every row; of the last vector those of the mask, NULL: all
static void sum_block(Select *l, LLVMValueRef n, int vectors, LLVMValueRef mask) {
  enum { MOST = 32 };
  CellBuild *g = l->g;
  const CellSelect *s = l->s;
  LLVMValueRef acc[MOST], zero = cell_ll_i64(g, 0);
  for (int v = 0; v < vectors; v++) acc[v] = cell_ll_alloca(g, g->vf);

  CellFor row, each;
  CellIf start;
  cell_ll_for_begin(g, &row, zero, s->m, 1, false);
  LLVMValueRef out = cell_ll_at(g, s->out, cell_ll_add(g, cell_ll_mul(g, row.i, s->out_rs), n));
  for (int v = 0; v < vectors; v++) LLVMBuildStore(g->b, LLVMConstNull(g->vf), acc[v]);
  cell_ll_if_begin(g, &start, s->add);
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMBuildStore(g->b, cell_ll_masked_load(g, g->vf, at, v == vectors - 1 ? mask : NULL), acc[v]);
  }
  cell_ll_if_end(g, &start);
  LLVMValueRef list = cell_ll_at(g, l->lists, cell_ll_mul(g, row.i, list_room(s)));
  LLVMValueRef count = widened(g, load_i32(g, cell_ll_at(g, l->counts, row.i)));
  LLVMValueRef columns = cell_ll_at(g, s->b, n);
  cell_ll_for_begin(g, &each, zero, count, 1, false);
  LLVMValueRef k = widened(g, load_i32(g, cell_ll_at(g, list, each.i)));
  LLVMValueRef from = cell_ll_at(g, columns, cell_ll_mul(g, k, s->b_ks));
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef at = cell_ll_at(g, from, cell_ll_i64(g, (int64_t)v * g->lanes));
    LLVMValueRef x = cell_ll_masked_load(g, g->vf, at, v == vectors - 1 ? mask : NULL);
    LLVMBuildStore(g->b, LLVMBuildFAdd(g->b, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), x, ""),
                   acc[v]);
  }
  cell_ll_for_end(g, &each);
  for (int v = 0; v < vectors; v++)
    cell_ll_masked_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""),
                         cell_ll_at(g, out, cell_ll_i64(g, (int64_t)v * g->lanes)),
                         v == vectors - 1 ? mask : NULL);
  cell_ll_for_end(g, &row);
}

void cell_ll_select(CellBuild *g, const CellSelect *s) {
  Select l = {.g = g, .s = s, .lists = s->scratch};
  l.counts = cell_ll_at(g, s->scratch, cell_ll_i64(g, s->m_most * list_room(s)));
  list_all(&l);

  // blocks of equal width that the registers hold, then what is left: one shorter block where its width is
  // known, else vector by vector
  int64_t registers = g->isa == CELL_ISA_AVX512 ? 24 : 12, total = ceil_div(s->n_most, g->lanes);
  int64_t vectors = ceil_div(total, ceil_div(total, registers)), width = vectors * g->lanes;
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
