/* llvm_sparse.c - contractions of floats whose first operand is mostly zeros, as after a relu: what is multiplied by 0
 * is left out.
 *
 * k is cut into blocks. For each block and each row of a, a list names what is not 0: the value, and where the row of b
 * begins in a panel of the block, in bytes. With panels of 8 columns the row [0 2 0 0 -1 3] gives
 *
 *     2 at 32   -1 at 128   3 at 160
 *
 * Lists lie end to end, in the order in which they are read; a list ends where the next begins. Then, for as many columns
 * as the registers hold and a block of k, b's part is copied into a panel that stays in the first level, and every row
 * runs through its list: a broadcast, and a product with a row of the panel for each vector. The sums go through out
 * between the blocks.
 *
 * Where rows of a are not contiguous, as in a gradient, which sums over the batch, they are turned first.
 *
 * Whether an element is 0 is not guessed but looked up: the compare of a vector selects a permutation that brings what
 * is listed to the front, all is written, and the next vector is written over what was not. */
#include "codegen/llvm_build.h"

enum {
  MOST_VECTORS = 13, /* of a block of columns */
  LEAST_VECTORS = 6,
  GRAIN = 8,             /* blocks of k begin at multiples of this */
  MOST_K = 256,          /* longest block of k */
  LISTS_BYTES = 1 << 20, /* of all rows that pass a panel before the next ones */
  AHEAD = 8,             /* rows of b that are fetched ahead of the one that is copied */
  FAR_BYTES = 1 << 20,   /* of b, from which on it does not stay in the second level */
  WIDE = 16,             /* lanes, where an entry's value comes from a register */
  GAP = 32               /* elements that may be written past the end of lists */
};

typedef struct {
  CellBuild *g;
  const CellSparse *s;
  int vectors;              /* of a block of columns */
  int step;                 /* elements of a that are compared at once */
  int64_t most_k, k_blocks; /* longest block of k */
  int64_t rows;             /* of a block of rows */
  bool in_place;            /* b is read where it is */
  int64_t pitch;            /* floats between rows of a panel */
  int64_t turned_pitch;     /* and between those of a, turned; 0: a is read where it is */
  int64_t room;             /* entries */
  LLVMValueRef entries;     /* value and offset of each */
  LLVMValueRef ends;        /* i32 for each list */
  LLVMValueRef panel, table, turned;
  LLVMValueRef at; /* i64: where the next entry goes, or the next list begins */
} Sparse;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// with so many lane vectors in a block of columns
static Sparse plan_of(CellBuild *g, const CellSparse *s, int vectors) {
  Sparse l = {.g = g, .s = s, .vectors = vectors};
  int64_t near = g->isa == CELL_ISA_AVX512 ? 34 << 10 : 27 << 10;
  l.step = g->instructions == CELL_ISA_AVX512 ? 16 : g->lanes > 1 ? 8 : 1;
  l.pitch = (int64_t)l.vectors * g->lanes;
  int64_t most = near / 4 / l.pitch / GRAIN * GRAIN, grains = ceil_div(s->k, GRAIN);
  if (most > MOST_K) most = MOST_K;
  l.k_blocks = ceil_div(grains, most / GRAIN);
  l.most_k = ceil_div(grains, l.k_blocks) * GRAIN;
  l.in_place = s->n % g->lanes == 0 && l.most_k * s->b_ks * 4 <= near;
  if (l.in_place) l.pitch = s->b_ks;
  int64_t fit = LISTS_BYTES / (8 * s->k);
  l.rows =
      fit >= s->m_most ? s->m_most : ceil_div(s->m_most, ceil_div(s->m_most, fit > 1 ? fit : 1));
  l.room = (l.rows * s->k + GAP + 15) / 16 * 16;
  if (s->a_ks != 1) l.turned_pitch = ceil_div(s->k, l.step) * l.step;
  return l;
}

static int64_t panel_floats(const Sparse *l) {
  return l->in_place ? 0 : l->most_k * l->pitch;
}

static int64_t turned_floats(const Sparse *l) {
  return ceil_div(l->rows, l->step) * l->step * l->turned_pitch;
}

// about, for cores that begin two multiplications of vectors a cycle
static double cycles_of(const Sparse *l) {
  // of an element of a, and to turn it; of an entry at least, whose sums wait for the one before; of a vector that is
  // copied
  const double ELEMENT = 0.7, TURN = 0.6, CHAIN = 3.5, COPY = 1.75;
  // of an entry beside its vectors; of a list, whose end is guessed wrong, and of each of its vectors; of a row that is
  // copied
  bool wide = l->g->lanes == WIDE;
  double each = wide ? 0.25 : 0.5, list = wide ? 12 : 20, sum = wide ? 3 : 2, row = wide ? 6 : 0;
  const CellSparse *s = l->s;
  double listed = (double)s->m_most * (double)s->k, cycles = listed * ELEMENT;
  if (l->turned_pitch) cycles += listed * TURN;
  for (int64_t left = ceil_div(s->n, l->g->lanes); left > 0; left -= l->vectors) {
    double vectors = (double)(left < l->vectors ? left : l->vectors), entry = vectors / 2 + each;
    cycles += listed / 2 * (entry > CHAIN ? entry : CHAIN);
    cycles += (double)(s->m_most * l->k_blocks) * (list + sum * vectors);
    if (!l->in_place) cycles += (double)s->k * (row + COPY * vectors);
  }
  return cycles;
}

// Wide blocks broadcast each entry less often; of narrow ones the panel holds more of k, so that lists are longer and
// sums go to out and back less often.
static Sparse plan(CellBuild *g, const CellSparse *s) {
  int64_t total = ceil_div(s->n, g->lanes);
  Sparse best = {0};
  double least = 0;
  for (int most = MOST_VECTORS; most >= LEAST_VECTORS; most--) {
    Sparse l = plan_of(g, s, (int)ceil_div(total, ceil_div(total, most)));
    double cycles = cycles_of(&l);
    if (best.g && cycles >= least) continue;
    best = l, least = cycles;
  }
  return best;
}

int64_t cell_ll_sparse_scratch(CellBuild *g, const CellSparse *s) {
  Sparse l = plan(g, s);
  return panel_floats(&l) + turned_floats(&l) + 2 * l.room + l.rows * l.k_blocks;
}

double cell_ll_sparse_cycles(CellBuild *g, const CellSparse *s) {
  Sparse l = plan(g, s);
  return cycles_of(&l);
}

// ---- lists ----

static LLVMValueRef load_size(Sparse *l) {
  return LLVMBuildLoad2(l->g->b, l->g->i64, l->at, "");
}

// where block number i begins: blocks differ by a grain at most
static LLVMValueRef block_begin(Sparse *l, LLVMValueRef i) {
  CellBuild *g = l->g;
  int64_t grains = ceil_div(l->s->k, GRAIN);
  LLVMValueRef at = LLVMBuildUDiv(g->b, cell_ll_mul(g, i, grains), cell_ll_i64(g, l->k_blocks), "");
  return cell_ll_min(g, cell_ll_mul(g, at, GRAIN), cell_ll_i64(g, l->s->k));
}

// for every byte the numbers of its set bits, then those of the others; a byte each
static LLVMValueRef permutations(CellBuild *g) {
  LLVMValueRef f = LLVMGetNamedGlobal(g->module, "permutations");
  if (f) return f;
  LLVMValueRef rows[256];
  for (unsigned bits = 0; bits < 256; bits++) {
    uint64_t row = 0;
    int at = 0;
    for (unsigned set = 1; set + 1 > 0; set--)
      for (uint64_t i = 0; i < 8; i++)
        if ((bits >> i & 1) == set) row |= i << 8 * at++;
    rows[bits] = LLVMConstInt(g->i64, row, false);
  }
  LLVMTypeRef type = LLVMArrayType2(g->i64, 256);
  f = LLVMAddGlobal(g->module, type, "permutations");
  LLVMSetInitializer(f, LLVMConstArray2(g->i64, rows, 256));
  LLVMSetLinkage(f, LLVMInternalLinkage);
  LLVMSetGlobalConstant(f, true);
  return f;
}

// value, offset, value, offset ...
static LLVMValueRef pairs_of(Sparse *l, LLVMValueRef x, LLVMValueRef offsets) {
  CellBuild *g = l->g;
  LLVMValueRef values = LLVMBuildBitCast(g->b, x, LLVMTypeOf(offsets), ""), picks[32];
  if (l->step == 1) {
    LLVMValueRef pair = LLVMGetUndef(LLVMVectorType(g->i32, 2));
    pair = LLVMBuildInsertElement(g->b, pair, values, LLVMConstInt(g->i32, 0, false), "");
    return LLVMBuildInsertElement(g->b, pair, offsets, LLVMConstInt(g->i32, 1, false), "");
  }
  for (int i = 0; i < 2 * l->step; i++)
    picks[i] = LLVMConstInt(g->i32, (unsigned)(i / 2 + i % 2 * l->step), false);
  LLVMValueRef order = LLVMConstVector(picks, (unsigned)(2 * l->step));
  return LLVMBuildShuffleVector(g->b, values, offsets, order, "");
}

// appends what of x is not 0; offsets: of the rows of the panel
static void append(Sparse *l, LLVMValueRef x, LLVMValueRef offsets) {
  CellBuild *g = l->g;
  // what is not a number is listed
  LLVMValueRef there = LLVMBuildFCmp(g->b, LLVMRealUNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
  LLVMValueRef size = load_size(l), count;
  if (l->step == 1) {
    count = LLVMBuildZExt(g->b, there, g->i64, "");
  } else {
    LLVMTypeRef bits_type = LLVMIntTypeInContext(g->context, (unsigned)l->step);
    LLVMValueRef bits = LLVMBuildBitCast(g->b, there, bits_type, "");
    LLVMValueRef wide = LLVMBuildZExt(g->b, bits, g->i64, "");
    count = cell_ll_unary(g, "llvm.ctpop", wide);
    if (l->step == 16) {
      LLVMTypeRef types[2] = {LLVMTypeOf(x), LLVMTypeOf(offsets)};
      LLVMValueRef args[3] = {x, LLVMConstNull(types[0]), there};
      x = cell_ll_call(g, "llvm.x86.avx512.mask.compress", &types[0], 1, args, 3);
      args[0] = offsets, args[1] = LLVMConstNull(types[1]);
      offsets = cell_ll_call(g, "llvm.x86.avx512.mask.compress", &types[1], 1, args, 3);
    } else {
      LLVMValueRef row = LLVMBuildInBoundsGEP2(g->b, g->i64, l->table, &wide, 1, "");
      row = LLVMBuildLoad2(g->b, g->i64, row, "");
      LLVMTypeRef bytes = LLVMVectorType(LLVMInt8TypeInContext(g->context), 8);
      row = LLVMBuildZExt(g->b, LLVMBuildBitCast(g->b, row, bytes, ""), LLVMTypeOf(offsets), "");
      LLVMValueRef args[2] = {x, row};
      x = cell_ll_call(g, "llvm.x86.avx2.permps", NULL, 0, args, 2);
      args[0] = offsets;
      offsets = cell_ll_call(g, "llvm.x86.avx2.permd", NULL, 0, args, 2);
    }
  }
  LLVMValueRef to = cell_ll_at(g, l->entries, cell_ll_mul(g, size, 2));
  cell_ll_store(g, pairs_of(l, x, offsets), to);
  LLVMBuildStore(g->b, cell_ll_add(g, size, count), l->at);
}

// rows [first, first + rows) of a, and up to a square's end what nobody reads
static void turn(Sparse *l, LLVMValueRef first, LLVMValueRef rows) {
  CellBuild *g = l->g;
  const CellSparse *s = l->s;
  int side = l->step;
  LLVMTypeRef type = cell_ll_vector(g, g->f32, side);
  LLVMValueRef from = cell_ll_at(g, s->a, first), zero = cell_ll_i64(g, 0);
  int64_t whole = s->k / side * side;
  CellFor k, m;
  for (int part = 0; part < 2; part++) {
    int64_t begin = part == 0 ? 0 : whole, end = part == 0 ? whole : s->k;
    if (begin == end) continue;
    cell_ll_for_begin(g, &k, cell_ll_i64(g, begin), cell_ll_i64(g, end), side, true);
    cell_ll_for_begin(g, &m, zero, rows, side, false);
    LLVMValueRef line[16], out[16];
    LLVMValueRef mask = side > 1 ? cell_ll_mask(g, side, cell_ll_sub(g, rows, m.i)) : NULL;
    for (int i = 0; i < side; i++) {
      line[i] = out[i] = LLVMConstNull(type);
      if (part == 1 && i >= end - begin) continue;
      LLVMValueRef at = cell_ll_add(g, k.i, cell_ll_i64(g, i));
      at = cell_ll_at(g, from, cell_ll_add(g, cell_ll_mul(g, at, s->a_ks), m.i));
      line[i] = out[i] = cell_ll_masked_load(g, type, at, mask);
    }
    if (side > 1) cell_ll_transpose(g, line, out);
    LLVMValueRef to =
        cell_ll_at(g, l->turned, cell_ll_add(g, cell_ll_mul(g, m.i, l->turned_pitch), k.i));
    for (int i = 0; i < side; i++)
      cell_ll_store(g, out[i], cell_ll_at(g, to, cell_ll_i64(g, i * l->turned_pitch)));
    cell_ll_for_end(g, &m);
    cell_ll_for_end(g, &k);
  }
}

// the lists of rows [first, first + rows)
static void make_lists(Sparse *l, LLVMValueRef first, LLVMValueRef rows) {
  CellBuild *g = l->g;
  const CellSparse *s = l->s;
  LLVMTypeRef floats = cell_ll_vector(g, g->f32, l->step),
              ints = cell_ll_vector(g, g->i32, l->step);
  LLVMValueRef zero = cell_ll_i64(g, 0), offsets = cell_ll_alloca(g, ints);
  bool masked = l->step > GRAIN || s->k % GRAIN != 0;
  LLVMBuildStore(g->b, zero, l->at);
  if (l->turned_pitch) turn(l, first, rows);
  CellFor block, row, k;
  cell_ll_for_begin(g, &block, zero, cell_ll_i64(g, l->k_blocks), 1, true);
  LLVMValueRef k0 = block_begin(l, block.i);
  LLVMValueRef end = block_begin(l, cell_ll_add(g, block.i, cell_ll_i64(g, 1)));
  LLVMValueRef kc = cell_ll_sub(g, end, k0);
  cell_ll_for_begin(g, &row, zero, rows, 1, false);
  LLVMValueRef index = l->turned_pitch ? cell_ll_mul(g, row.i, l->turned_pitch)
                                       : cell_ll_mul(g, cell_ll_add(g, first, row.i), s->a_rs);
  LLVMValueRef from = cell_ll_at(g, l->turned_pitch ? l->turned : s->a, cell_ll_add(g, index, k0));
  LLVMBuildStore(g->b, cell_ll_iota(g, l->step, 4 * l->pitch), offsets);
  cell_ll_for_begin(g, &k, zero, kc, l->step, true);
  LLVMValueRef mask =
      masked && l->step > 1 ? cell_ll_mask(g, l->step, cell_ll_sub(g, kc, k.i)) : NULL;
  LLVMValueRef here = LLVMBuildLoad2(g->b, ints, offsets, "");
  append(l, cell_ll_masked_load(g, floats, cell_ll_at(g, from, k.i), mask), here);
  LLVMValueRef step = cell_ll_int(g, here, 4 * l->pitch * l->step);
  LLVMBuildStore(g->b, LLVMBuildAdd(g->b, here, step, ""), offsets);
  cell_ll_for_end(g, &k);
  LLVMValueRef list = cell_ll_add(g, cell_ll_mul(g, block.i, l->rows), row.i);
  LLVMValueRef size = LLVMBuildTrunc(g->b, load_size(l), g->i32, "");
  cell_ll_store(g, size, cell_ll_at(g, l->ends, list));
  cell_ll_for_end(g, &row);
  cell_ll_for_end(g, &block);
}

// ---- sums ----

static LLVMValueRef vector_at(CellBuild *g, LLVMValueRef p, int v) {
  return cell_ll_at(g, p, cell_ll_i64(g, (int64_t)v * g->lanes));
}

// rows [k0, end) of b, from column n on
static void pack(Sparse *l, LLVMValueRef n, int vectors, LLVMValueRef mask, LLVMValueRef k0,
                 LLVMValueRef end) {
  CellBuild *g = l->g;
  CellFor k;
  cell_ll_for_begin(g, &k, k0, end, 1, true);
  LLVMValueRef from = cell_ll_at(g, l->s->b, cell_ll_add(g, cell_ll_mul(g, k.i, l->s->b_ks), n));
  LLVMValueRef to = cell_ll_at(g, l->panel, cell_ll_mul(g, cell_ll_sub(g, k.i, k0), l->pitch));
  for (int64_t i = 0; i < (int64_t)vectors * g->lanes; i += CELL_LINE)
    cell_ll_prefetch(g, cell_ll_at(g, from, cell_ll_i64(g, AHEAD * l->s->b_ks + i)));
  for (int v = 0; v < vectors; v++)
    cell_ll_store(
        g, cell_ll_masked_load(g, g->vf, vector_at(g, from, v), v == vectors - 1 ? mask : NULL),
        vector_at(g, to, v));
  cell_ll_for_end(g, &k);
}

// While rows run through their lists each fetches a part of the panel that is copied next: of the next block of k, behind
// the last one of the next columns.
static void fetch_next(Sparse *l, LLVMValueRef next, LLVMValueRef row, int vectors) {
  CellBuild *g = l->g;
  int64_t each = ceil_div(l->most_k, l->s->m_most);
  for (int64_t r = 0; r < each; r++) {
    LLVMValueRef at = cell_ll_add(g, cell_ll_mul(g, row, each), cell_ll_i64(g, r));
    at = cell_ll_min(g, at, cell_ll_i64(g, l->most_k - 1));
    at = cell_ll_at(g, next, cell_ll_mul(g, at, l->s->b_ks));
    for (int64_t i = 0; i < (int64_t)vectors * g->lanes; i += CELL_LINE)
      cell_ll_prefetch(g, cell_ll_at(g, at, cell_ll_i64(g, i)));
  }
}

// what a row's short product needs, in the first block of k
typedef struct {
  LLVMValueRef is_first, u, v; /* i1; the row's u, the columns' v */
} Terms;

static void add_terms(Sparse *l, const Terms *terms, int vectors, LLVMValueRef mask,
                      const LLVMValueRef *acc) {
  CellBuild *g = l->g;
  CellIf first;
  cell_ll_if_begin(g, &first, terms->is_first);
  for (int64_t t = 0; t < l->s->terms; t++) {
    LLVMValueRef u =
        cell_ll_load(g, g->f32, cell_ll_at(g, terms->u, cell_ll_i64(g, t * l->s->u_ts)));
    LLVMValueRef v = cell_ll_at(g, terms->v, cell_ll_i64(g, t * l->s->v_ts));
    u = cell_ll_splat(g, u, g->lanes);
    for (int i = 0; i < vectors; i++) {
      LLVMValueRef y =
          cell_ll_masked_load(g, g->vf, vector_at(g, v, i), i == vectors - 1 ? mask : NULL);
      LLVMValueRef sum = LLVMBuildLoad2(g->b, g->vf, acc[i], "");
      LLVMBuildStore(g->b, cell_ll_fma(g, u, y, sum), acc[i]);
    }
  }
  cell_ll_if_end(g, &first);
}

// The value of an entry in all lanes, and its row of the panel. With wide vectors an instruction that brings a number
// from memory to all lanes takes as long as one that loads a row's vector, and part of what multiplies: there it comes
// from a register.
static LLVMValueRef read_entry(Sparse *l, LLVMValueRef at, LLVMValueRef b, LLVMValueRef *row) {
  CellBuild *g = l->g;
  LLVMTypeRef byte = LLVMInt8TypeInContext(g->context);
  LLVMValueRef x, offset;
  if (g->lanes == WIDE) {
    LLVMValueRef entry = cell_ll_opaque(g, cell_ll_load(g, g->ptr, at), NULL);
    entry = LLVMBuildPtrToInt(g->b, entry, g->i64, "");
    x = cell_ll_splat(g, LLVMBuildTrunc(g->b, entry, g->i32, ""), g->lanes);
    x = LLVMBuildBitCast(g->b, x, g->vf, "");
    offset = LLVMBuildLShr(g->b, entry, cell_ll_i64(g, 32), "");
  } else {
    x = cell_ll_splat(g, cell_ll_load(g, g->f32, at), g->lanes);
    offset = cell_ll_load(g, g->i32, cell_ll_at(g, at, cell_ll_i64(g, 1)));
    offset = LLVMBuildZExt(g->b, offset, g->i64, "");
  }
  *row = LLVMBuildInBoundsGEP2(g->b, byte, b, &offset, 1, "");
  // in a register: else every load of a row would add base and index, which costs some cores an instruction each
  *row = cell_ll_opaque(g, *row, NULL);
  return x;
}

// One row of a block: the list that begins at l->at, which goes on to the next. b: the panel
static void sum_row(Sparse *l, LLVMValueRef out, int vectors, LLVMValueRef mask,
                    LLVMValueRef from_out, LLVMValueRef b, LLVMValueRef list, const Terms *terms) {
  CellBuild *g = l->g;
  LLVMValueRef acc[MOST_VECTORS], zero = LLVMConstNull(g->vf);
  for (int v = 0; v < vectors; v++) LLVMBuildStore(g->b, zero, acc[v] = cell_ll_alloca(g, g->vf));
  CellIf start;
  cell_ll_if_begin(g, &start, from_out);
  for (int v = 0; v < vectors; v++)
    LLVMBuildStore(
        g->b, cell_ll_masked_load(g, g->vf, vector_at(g, out, v), v == vectors - 1 ? mask : NULL),
        acc[v]);
  cell_ll_if_end(g, &start);
  if (l->s->terms > 0) add_terms(l, terms, vectors, mask, acc);

  CellFor entry;
  LLVMValueRef begin = load_size(l);
  LLVMValueRef end = cell_ll_load(g, g->i32, cell_ll_at(g, l->ends, list));
  end = LLVMBuildZExt(g->b, end, g->i64, "");
  LLVMBuildStore(g->b, end, l->at);
  cell_ll_for_begin(g, &entry, begin, end, 1, false);
  LLVMValueRef at = cell_ll_at(g, l->entries, cell_ll_mul(g, entry.i, 2)), row;
  LLVMValueRef x = read_entry(l, at, b, &row);
  for (int v = 0; v < vectors; v++) {
    LLVMValueRef y = cell_ll_load(g, g->vf, vector_at(g, row, v));
    LLVMBuildStore(g->b, cell_ll_fma(g, x, y, LLVMBuildLoad2(g->b, g->vf, acc[v], "")), acc[v]);
  }
  cell_ll_for_end(g, &entry);
  for (int v = 0; v < vectors; v++)
    cell_ll_masked_store(g, LLVMBuildLoad2(g->b, g->vf, acc[v], ""), vector_at(g, out, v),
                         v == vectors - 1 ? mask : NULL);
}

// Every row of a block of them, `vectors` lane vectors from column n on; of the last those of the mask, NULL: all.
static void sum_columns(Sparse *l, LLVMValueRef first, LLVMValueRef rows, LLVMValueRef n,
                        int vectors, LLVMValueRef mask) {
  CellBuild *g = l->g;
  const CellSparse *s = l->s;
  bool far = !l->in_place && 4 * s->k * s->n >= FAR_BYTES;
  LLVMValueRef zero = cell_ll_i64(g, 0);
  LLVMBuildStore(g->b, zero, l->at);
  CellFor block, row;
  cell_ll_for_begin(g, &block, zero, cell_ll_i64(g, l->k_blocks), 1, true);
  LLVMValueRef k0 = block_begin(l, block.i), b = l->panel;
  if (l->in_place)
    b = cell_ll_at(g, s->b, cell_ll_add(g, cell_ll_mul(g, k0, s->b_ks), n));
  else
    pack(l, n, vectors, mask, k0, block_begin(l, cell_ll_add(g, block.i, cell_ll_i64(g, 1))));
  LLVMValueRef after = block_begin(l, cell_ll_add(g, block.i, cell_ll_i64(g, 1)));
  LLVMValueRef is_last = LLVMBuildICmp(g->b, LLVMIntSGE, after, cell_ll_i64(g, s->k), "");
  LLVMValueRef next_n = cell_ll_add(g, n, cell_ll_i64(g, (int64_t)vectors * g->lanes));
  LLVMValueRef next = cell_ll_add(g, cell_ll_mul(g, after, s->b_ks), n);
  next = cell_ll_at(g, s->b, LLVMBuildSelect(g->b, is_last, next_n, next, ""));
  LLVMValueRef from_out = LLVMBuildICmp(g->b, LLVMIntSGT, block.i, zero, "");
  from_out = LLVMBuildOr(g->b, s->add, from_out, "");
  cell_ll_for_begin(g, &row, zero, rows, 1, false);
  LLVMValueRef index = cell_ll_mul(g, cell_ll_add(g, first, row.i), s->out_rs);
  LLVMValueRef list = cell_ll_add(g, cell_ll_mul(g, block.i, l->rows), row.i);
  if (far) fetch_next(l, next, row.i, vectors);
  Terms terms = {0};
  if (s->terms > 0) {
    LLVMValueRef at = cell_ll_mul(g, cell_ll_add(g, first, row.i), s->u_rs);
    terms.is_first = LLVMBuildICmp(g->b, LLVMIntEQ, block.i, zero, "");
    terms.u = cell_ll_at(g, s->u, at), terms.v = cell_ll_at(g, s->v, n);
  }
  sum_row(l, cell_ll_at(g, s->out, cell_ll_add(g, index, n)), vectors, mask, from_out, b, list,
          &terms);
  cell_ll_for_end(g, &row);
  cell_ll_for_end(g, &block);
}

void cell_ll_sparse(CellBuild *g, const CellSparse *s) {
  Sparse l = plan(g, s);
  l.panel = s->scratch;
  l.turned = cell_ll_at(g, l.panel, cell_ll_i64(g, panel_floats(&l)));
  l.entries = cell_ll_at(g, l.turned, cell_ll_i64(g, turned_floats(&l)));
  l.ends = cell_ll_at(g, l.entries, cell_ll_i64(g, 2 * l.room));
  l.at = cell_ll_alloca(g, g->i64);
  if (l.step == 8) l.table = permutations(g);
  LLVMValueRef zero = cell_ll_i64(g, 0);
  int64_t width = (int64_t)l.vectors * g->lanes, whole = s->n / width * width, rest = s->n - whole;
  CellFor m, n;
  cell_ll_for_begin(g, &m, zero, s->m, l.rows, false);
  LLVMValueRef rows = cell_ll_min(g, cell_ll_i64(g, l.rows), cell_ll_sub(g, s->m, m.i));
  make_lists(&l, m.i, rows);
  if (whole > 0) {
    cell_ll_for_begin(g, &n, zero, cell_ll_i64(g, whole), width, true);
    sum_columns(&l, m.i, rows, n.i, l.vectors, NULL);
    cell_ll_for_end(g, &n);
  }
  if (rest > 0) {
    int64_t last = ceil_div(rest, g->lanes), there = rest - (last - 1) * g->lanes;
    sum_columns(&l, m.i, rows, cell_ll_i64(g, whole), (int)last,
                there < g->lanes ? cell_ll_mask(g, g->lanes, cell_ll_i64(g, there)) : NULL);
  }
  cell_ll_for_end(g, &m);
}
