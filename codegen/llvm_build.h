/* llvm_build.h - what the emitters of LLVM IR share: types, constants, loops, folds.
 *
 * A "lane vector" is `lanes` floats or i32 wide, or a scalar where lanes is 1; helpers take their
 * types from their operands, so that one emitter serves both. */
#ifndef CELL_LLVM_BUILD_H
#define CELL_LLVM_BUILD_H

#include "codegen/llvm_split.h"

#include <llvm-c/Core.h>

typedef struct {
  CellIsa isa;
  CellIsa instructions; /* those there are: fewer than isa's where it is emulated */
  int lanes;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef b;
  LLVMValueRef function;   /* the one being built */
  LLVMBasicBlockRef entry; /* its first block, for allocas */
  LLVMTypeRef f32, i1, i32, i64, ptr, none;
  LLVMTypeRef vf, vi, vmask; /* lane vectors */
  CellArena *arena;
  int64_t extra_scratch; /* bytes that contractions need beyond the kernel's scratch */
  /* contractions emitted so far: equal ones, but for where their operands begin, share a function */
  struct CellContractFunction *contracts;
  int contract_count, contract_capacity;
  int function_count;             /* for names */
  struct CellTileFunction *tiles; /* made so far */
} CellBuild;

/* constants and types */
bool cell_ll_is_vector(LLVMValueRef v);
LLVMTypeRef cell_ll_vector(CellBuild *g, LLVMTypeRef element,
                           int lanes); /* the element itself for 1 */
LLVMValueRef cell_ll_float(CellBuild *g, LLVMValueRef like, double x); /* of the shape of `like` */
LLVMValueRef cell_ll_int(CellBuild *g, LLVMValueRef like, int64_t x);  /* i32s of its shape */
LLVMValueRef cell_ll_i64(CellBuild *g, int64_t x);
LLVMValueRef cell_ll_splat(CellBuild *g, LLVMValueRef scalar, int lanes);
LLVMValueRef cell_ll_iota(CellBuild *g, int lanes, int64_t step); /* i32: 0, step, 2 step ... */

/* arithmetic */
LLVMValueRef cell_ll_call(CellBuild *g, const char *intrinsic, LLVMTypeRef *types,
                          unsigned type_count, LLVMValueRef *args, unsigned arg_count);
LLVMValueRef cell_ll_unary(CellBuild *g, const char *intrinsic, LLVMValueRef a);
/* fetches the cache line of an address, which need not be one */
void cell_ll_prefetch(CellBuild *g, LLVMValueRef pointer);
/* a * b + c, in one rounding where the machine has it */
LLVMValueRef cell_ll_fma(CellBuild *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
/* p(x) = c[0] + c[1] x + ...; Horner's rule */
LLVMValueRef cell_ll_poly(CellBuild *g, LLVMValueRef x, const double *c, int count);
/* The same pointer, of which nothing is known any more: it is kept in a register, and what is read through it is not read
 * ahead of time; x, a vector or NULL: nor before x is there. */
LLVMValueRef cell_ll_opaque(CellBuild *g, LLVMValueRef pointer, LLVMValueRef x);
/* An elementwise op on floats (llvm_math.c). */
LLVMValueRef cell_ll_scalar_op(CellBuild *g, CellOp op, LLVMValueRef a, LLVMValueRef b,
                               LLVMValueRef c);
/* Where x's type is a whole vector of AVX-512 (llvm_wide.c): tanh from a table in registers; x 2^n for whole n, 0
 * below and infinity beyond the range. */
bool cell_ll_has_wide(const CellBuild *g, LLVMValueRef x);
LLVMValueRef cell_ll_table_tanh(CellBuild *g, LLVMValueRef x);
LLVMValueRef cell_ll_scale(CellBuild *g, LLVMValueRef x, LLVMValueRef n);

/* memory; indices are in elements of 4 bytes */
LLVMValueRef cell_ll_at(CellBuild *g, LLVMValueRef pointer, LLVMValueRef index);
LLVMValueRef cell_ll_load(CellBuild *g, LLVMTypeRef type, LLVMValueRef pointer);
void cell_ll_store(CellBuild *g, LLVMValueRef value, LLVMValueRef pointer);
LLVMValueRef
cell_ll_masked_load(CellBuild *g, LLVMTypeRef type, LLVMValueRef pointer,
                    LLVMValueRef mask); /* mask NULL: a plain one; masked lanes are 0 */
void cell_ll_masked_store(CellBuild *g, LLVMValueRef value, LLVMValueRef pointer,
                          LLVMValueRef mask);
/* lanes below `count` (i64) */
LLVMValueRef cell_ll_mask(CellBuild *g, int lanes, LLVMValueRef count);
LLVMValueRef cell_ll_alloca(CellBuild *g, LLVMTypeRef type);
/* `lanes` floats 0 or 1 from bits index, index + 1, ...; only those below `count` (i64, or NULL for
 * all) are touched */
LLVMValueRef cell_ll_bits(CellBuild *g, int lanes, LLVMValueRef words, LLVMValueRef index,
                          LLVMValueRef count);

/* i64 helpers */
LLVMValueRef cell_ll_min(CellBuild *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cell_ll_add(CellBuild *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cell_ll_sub(CellBuild *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cell_ll_mul(CellBuild *g, LLVMValueRef a, int64_t by);

/* for (i = begin; i < end; i += step) { between begin and end }. `sure`: the body runs at least
 * once. */
typedef struct {
  LLVMBasicBlockRef before, body, after;
  LLVMValueRef i, begin, end;
  int64_t step;
} CellFor;
LLVMValueRef cell_ll_for_begin(CellBuild *g, CellFor *loop, LLVMValueRef begin, LLVMValueRef end,
                               int64_t step, bool sure);
void cell_ll_for_end(CellBuild *g, CellFor *loop);
/* A pointer into floats that goes on by the loop's step with every iteration: cell_ll_before puts the builder before
 * the loop and returns where it was; what is built there goes to cell_ll_cursor_begin, which puts it back. Each is
 * closed before cell_ll_for_end. */
LLVMBasicBlockRef cell_ll_before(CellBuild *g, const CellFor *loop);
LLVMValueRef cell_ll_cursor_begin(CellBuild *g, const CellFor *loop, LLVMValueRef from,
                                  LLVMBasicBlockRef here);
void cell_ll_cursor_end(CellBuild *g, const CellFor *loop, LLVMValueRef cursor);

/* if (condition) { between begin and end } */
typedef struct {
  LLVMBasicBlockRef after;
} CellIf;
void cell_ll_if_begin(CellBuild *g, CellIf *state, LLVMValueRef condition);
void cell_ll_if_end(CellBuild *g, CellIf *state);

/* Folds each of n lane vectors over its lanes, by sum or maximum, several together where that saves
 * shuffles; results are scalars. The order of summation is fixed by lanes and n. */
void cell_ll_fold(CellBuild *g, CellReduce reduce, int n, const LLVMValueRef *vectors,
                  LLVMValueRef *scalars);
/* Four sums as one vector of 4; lanes is 4 or more. */
LLVMValueRef cell_ll_fold4(CellBuild *g, CellReduce reduce, const LLVMValueRef *vectors);
LLVMValueRef cell_ll_combine(CellBuild *g, CellReduce reduce, LLVMValueRef a, LLVMValueRef b);

/* 4 vectors -> 4: within run h of 4 lanes, result j holds lane 4 h + j of each. */
void cell_ll_transpose4(CellBuild *g, const LLVMValueRef *rows, LLVMValueRef *out);
/* The first `count` lanes of run h of 4. */
LLVMValueRef cell_ll_run(CellBuild *g, LLVMValueRef v, int h, int count);
/* As many vectors as lanes, 8 or more. */
void cell_ll_transpose(CellBuild *g, const LLVMValueRef *rows, LLVMValueRef *out);

/* Lanes that lie `step` elements apart (llvm_strided.c), up to CELL_MAX_STEP. A load reads nothing before its first lane or
 * behind its last one. A store is of `count` vectors, at most as many as lanes, of which lane i of vector j goes to
 * to[count i + j]; x is overwritten. */
bool cell_ll_can_stride(const CellBuild *g, int64_t step);
LLVMValueRef cell_ll_strided_load(CellBuild *g, LLVMTypeRef element, LLVMValueRef from,
                                  int64_t step);
void cell_ll_interleaved_store(CellBuild *g, int count, LLVMValueRef *x, LLVMValueRef to);

/* A function of its own, of this module alone; the builder is left in it. */
typedef struct {
  LLVMValueRef function;
  LLVMBasicBlockRef entry, block;
} CellPlace;
LLVMValueRef cell_ll_function(CellBuild *g, const char *name, LLVMTypeRef type, CellPlace *saved);
void cell_ll_return(CellBuild *g, const CellPlace *saved);

/* ---- llvm_kernel.c ---- */

/* A kernel's entry, which calls the pieces that `split` names. */
void cell_ll_kernel(CellBuild *g, const CellKernel *k, const CellSplit *split,
                    const CellPieces *pieces, const char *symbol);
/* A piece: void f(pointers of its arguments..., parameters i64..., scratch beyond the kernel's). */
void cell_ll_piece(CellBuild *g, const CellPiece *piece, const char *symbol);

enum { CELL_SYMBOL_SIZE = 48 };
void cell_ll_symbol(CellKey key, char symbol[CELL_SYMBOL_SIZE]);

/* ---- llvm_tile.c ---- */

enum { CELL_LINE = 16 /* floats of a cache line */ };
enum { CELL_TILE_ROWS = 16, CELL_TILE_COLUMNS = 8, CELL_DOT_COLUMNS = 4 };

typedef enum { CELL_STORE_ALONG, CELL_STORE_TURNED, CELL_STORE_SCATTERED } CellTileStore;

/* What makes two tiles the same code. */
typedef struct {
  bool dot;
  int rows, columns; /* registers of out: rows x columns lane vectors; dot: rows x 4 */
  bool pack_a, pack_b;
  bool short_rows, short_columns; /* fewer rows, or fewer lanes of the columns, may be there */
  int left;                       /* short columns: how many there are, where that is known; 0 */
  CellTileStore store;
  bool together;      /* dot: out is contiguous along n */
  int k;              /* where it is known and short: written out, without a loop; 0: an argument */
  int64_t a_ks, b_ks; /* of a short k: the strides, which are no arguments then */
  int64_t b_rs;       /* without vectors: stride between columns of b that is not packed */
  int fetch_lines; /* cache lines of a row of what is packed next, to be fetched meanwhile; 0: nothing */
} CellTile;

/* Arguments of a call: pointers to the first tile's first elements, counts and strides (i64). A tile of whole rows
 * is repeated for all of rows_left, a multiple of its rows; one of short rows, and the dot form, for what is
 * left. Of packed a, a_rs is what lies between its rows in the panel: the block of k. */
typedef struct {
  LLVMValueRef a, b, out, k, rows_left, columns_left, from_out; /* from_out: i1, add to out */
  LLVMValueRef a_rs, a_ks, b_ks, out_rs, out_ks; /* dot: b_ks is the stride of b's rows */
  /* where fetch_lines: each whole tile fetches the next fetch_rows of fetch_left rows, fetch_ks floats apart */
  LLVMValueRef fetch, fetch_ks, fetch_rows, fetch_left;
} CellTileArgs;

/* Emit a call of a tile's function, made at first use: out tile (+)= sum over k. */
void cell_ll_tile(CellBuild *g, const CellTile *tile, const CellTileArgs *args);
void cell_ll_dot_tile(CellBuild *g, const CellTile *tile, const CellTileArgs *args);
/* Copies columns of b that are contiguous along k into one panel of `columns` lane vectors: arguments to,
 * from, stride between the columns, columns left (at least 1; past them the last is repeated), k. */
void cell_ll_pack_turned(CellBuild *g, int columns, LLVMValueRef args[5]);

/* ---- llvm_lists.c ---- */

/* An operand of bits: element (m, k) is bit number bit + m rs + k ks of the words; one of rs, ks is 1. */
typedef struct {
  LLVMValueRef words, bit;
  int64_t rs, ks;
  LLVMValueRef m; /* at most m_most; fixed: exactly as many */
  int64_t m_most, k;
  bool m_fixed;
  /* rows among which is looked for what they have in common, the same for every part of them; 0: none */
  LLVMValueRef all_bit; /* of the first of them */
  int64_t all_rows;
} CellBits;

typedef enum {
  CELL_LISTS_PLAIN, /* the list of m names the k whose bits are set */
  CELL_LISTS_SIGNED, /* in which k the row differs from what most have, each with a float: 1, or -1 if it is not set;
                        the first base_size entries, without floats, are what most have */
  CELL_LISTS_FLIPPED /* of a row that is flipped, the k whose bits are not set; base_size rows are flipped */
} CellListForm;

typedef struct {
  CellListForm form;
  int entry;                   /* elements an entry takes */
  LLVMValueRef spans, entries; /* i32: the list of m is entries spans[2 m] to spans[2 m + 1] */
  LLVMValueRef base_size;      /* pointer to an i32 */
  LLVMValueRef common;         /* FLIPPED: words */
} CellLists;

/* Whether a contraction is a sum of rows that bits of its operand `a` select. */
bool cell_ll_selects(const CellStmt *s, bool a_bits, bool b_bits);
/* How many rows its operand `a` has in all, as far as that is known: of a range, more than it multiplies; 0: unknown. */
int64_t cell_ll_all_rows(const CellStmt *s);
/* Bytes, a multiple of 64, that the lists of one task of a kernel take before the scratch of its contractions. */
int64_t cell_ll_lists_bytes(const CellKernel *k);
/* At the start of a task: there are none yet. `scratch`: that of contractions. */
void cell_ll_lists_begin(CellBuild *g, LLVMValueRef scratch, int64_t bytes);
/* The lists of an operand, made if the task has not made them before. */
void cell_ll_lists(CellBuild *g, const CellBits *bits, LLVMValueRef scratch, CellLists *lists);
LLVMValueRef cell_ll_lists_flipped(CellBuild *g, const CellBits *bits, const CellLists *lists,
                                   LLVMValueRef m); /* i1 */

/* ---- llvm_select.c ---- */

/* out[m, n] (+)= sum over k of a[m, k] b[n, k] where a is bits and b and out are contiguous along n. */
typedef struct {
  CellBits bits;       /* a */
  LLVMValueRef b, out; /* pointers to floats; k and m are strides b_ks and out_rs apart */
  int64_t b_ks, out_rs;
  LLVMValueRef n; /* at most n_most columns; fixed: exactly as many */
  int64_t n_most;
  bool n_fixed;
  LLVMValueRef add;  /* i1 */
  LLVMValueRef kept; /* the scratch of contractions, before which lists are kept */
  LLVMValueRef
      scratch; /* room for cell_ll_select_scratch, or _subsets_scratch, elements of 4 bytes */
} CellSelect;
int64_t cell_ll_select_scratch(const CellBuild *g, const CellSelect *s);
void cell_ll_select(CellBuild *g, const CellSelect *s);

/* ---- llvm_subsets.c ---- */

/* Whether such a product is done without lists, by tables of the sums of every four rows of b. */
bool cell_ll_takes_subsets(const CellBuild *g, const CellSelect *s);
int64_t cell_ll_subsets_scratch(const CellBuild *g, const CellSelect *s);
void cell_ll_subsets(CellBuild *g, const CellSelect *s);

/* ---- llvm_sparse.c ---- */

/* out[m, n] (+)= sum over k of a[m, k] b[n, k] where many entries of a are 0: a is contiguous along k or along m, b
 * and out along n. */
typedef struct {
  LLVMValueRef a, b,
      out; /* pointers to floats; m and k are strides a_rs, a_ks, b_ks and out_rs apart */
  int64_t a_rs, a_ks, b_ks, out_rs;
  LLVMValueRef m; /* at most m_most */
  int64_t m_most, n, k;
  LLVMValueRef add;     /* i1 */
  LLVMValueRef scratch; /* room for cell_ll_sparse_scratch elements of 4 bytes */
  /* and += sum over t < terms of u[m, t] v[n, t], v contiguous along n */
  LLVMValueRef u, v;
  int64_t terms, u_rs, u_ts, v_ts;
} CellSparse;
int64_t cell_ll_sparse_scratch(CellBuild *g, const CellSparse *s);
/* about, if half of a is 0 */
double cell_ll_sparse_cycles(CellBuild *g, const CellSparse *s);
void cell_ll_sparse(CellBuild *g, const CellSparse *s);

/* ---- llvm_contract.c ---- */

/* Emits one contraction: pointers to the elements at the views' bases (bits: to the words, and the
 * bit's index), counts of rows and columns (i64), scratch of the thread beyond the kernel's. */
typedef struct {
  const CellStmt *stmt;
  bool a_bits, b_bits;
  LLVMValueRef a, b, out; /* pointers */
  LLVMValueRef u, v;      /* the same; null without terms */
  LLVMValueRef a_bit, b_bit;
  LLVMValueRef a_all; /* bit of the first of all rows, of which these are a range; else anything */
  LLVMValueRef m, n;
  LLVMValueRef scratch;
} CellContract;
void cell_ll_contract(CellBuild *g, const CellContract *c);

#endif
