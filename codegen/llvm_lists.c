/* llvm_lists.c - the set bits of a contraction's operand as lists, one for each row.
 *
 * Lists are made from whole words, whichever way round the bits are packed. Observations have much in
 * common: walls, what has not been hit yet. Before anything is listed, a few lines of words vote on what most
 * of them have set, and only what differs is listed. Where a word holds bits of one row, the lines are rows:
 * what is common is a list of its own, and an entry says whether its bit is set or missing. Where it holds a bit of
 * each of several rows, the common bits name rows of which most is set: their lists name what is not.
 *
 * Lists depend on nothing but the bits, which no kernel writes. So a task keeps the lists that it has made, and all
 * its products of the same bits share them: several layers that see an observation, two networks, steps. They
 * lie before the scratch of contractions; a header behind them says what there is. */
#include "codegen/llvm_build.h"

enum {
  BITS_AT_ONCE = 4,
  PLANES = 4,  /* binary digits of a count of votes */
  VOTERS = 15, /* lines that say what is common: their majority is the count's highest digit */
  COMMON_LINES = 32, /* lines from which on it pays */
  /* the header: i64s */
  KEPT = 0,  /* lists there are */
  USED = 1,  /* elements of 4 bytes that they take */
  ROOM = 2,  /* elements there are before the header */
  SLOTS = 3, /* of each list: its words, first bit, shape, where it begins */
  SLOT = 4,
  MOST_KEPT = 32,
  HEADER = (2 * (SLOTS + SLOT * MOST_KEPT) + 15) / 16 * 16 /* elements */
};

typedef struct {
  CellBuild *g;
  const CellBits *s;
  CellLists *lists;
  LLVMValueRef masks; /* which bits of a line's words count; beside lists->common */
  LLVMValueRef size;  /* i64: elements of entries so far */
} List;

static bool along_rows(const CellBits *s) {
  return s->ks != 1;
}

static int64_t list_room(const CellBits *s) {
  return s->k + BITS_AT_ONCE - 1;
}

static int64_t line_words(const CellBits *s) {
  return (along_rows(s) ? s->m_most : s->k) / 32 + 2;
}

// what lines have in common is looked for where there are many and their words lie alike
static CellListForm form_of(const CellBits *s) {
  if (along_rows(s))
    return s->ks % 32 == 0 && s->k >= COMMON_LINES ? CELL_LISTS_FLIPPED : CELL_LISTS_PLAIN;
  return s->rs % 32 == 0 && s->all_rows >= COMMON_LINES ? CELL_LISTS_SIGNED : CELL_LISTS_PLAIN;
}

// elements of 4 bytes before the entries
static int64_t fixed_elements(const CellBits *s) {
  int64_t words = form_of(s) == CELL_LISTS_PLAIN ? 0 : 2 * line_words(s) + 1;
  return 2 * s->m_most + words;
}

static int64_t most_elements(const CellBits *s) {
  int64_t all = fixed_elements(s) + s->m_most * list_room(s);
  if (form_of(s) == CELL_LISTS_SIGNED) all += (s->m_most + 1) * list_room(s);
  return (all + 15) / 16 * 16;
}

bool cell_ll_selects(const CellStmt *s, bool a_bits, bool b_bits) {
  return a_bits && !b_bits && s->b.row_stride == 1 && s->out.k_stride == 1 &&
         (s->a.row_stride == 1 || s->a.k_stride == 1);
}

int64_t cell_ll_all_rows(const CellStmt *s) {
  return s->end_var >= 0 ? s->m_limit : s->m_limit > 0 ? 0 : s->m;
}

static int64_t most_of_any(const CellKernel *k, const CellStmt *s) {
  int64_t most = 0;
  for (; s; s = s->next) {
    int64_t here = 0;
    if (s->kind == CELL_K_LOOP) here = most_of_any(k, s->body);
    if (s->kind == CELL_K_CONTRACT &&
        cell_ll_selects(s, cell_is_bits(k, s->a.buffer), cell_is_bits(k, s->b.buffer))) {
      CellBits bits = {.rs = s->a.row_stride,
                       .ks = s->a.k_stride,
                       .m_most = s->m,
                       .k = s->k,
                       .all_rows = cell_ll_all_rows(s)};
      here = most_elements(&bits);
    }
    if (here > most) most = here;
  }
  return most;
}

int64_t cell_ll_lists_bytes(const CellKernel *k) {
  int64_t most = most_of_any(k, k->body);
  return most > 0 ? 4 * (2 * most + HEADER) : 0; // few lists are as long as they might be
}

static LLVMValueRef header_field(CellBuild *g, LLVMValueRef header, int64_t field) {
  return cell_ll_at(g, header, cell_ll_i64(g, 2 * field));
}

static LLVMValueRef header_of(CellBuild *g, LLVMValueRef scratch) {
  return cell_ll_at(g, scratch, cell_ll_i64(g, -HEADER));
}

void cell_ll_lists_begin(CellBuild *g, LLVMValueRef scratch, int64_t bytes) {
  LLVMValueRef header = header_of(g, scratch);
  cell_ll_store(g, cell_ll_i64(g, 0), header_field(g, header, KEPT));
  cell_ll_store(g, cell_ll_i64(g, 0), header_field(g, header, USED));
  cell_ll_store(g, cell_ll_i64(g, bytes / 4 - HEADER), header_field(g, header, ROOM));
}

// ---- words and bits ----

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

LLVMValueRef cell_ll_lists_flipped(CellBuild *g, const CellBits *s, const CellLists *lists,
                                   LLVMValueRef m) {
  LLVMValueRef bit = cell_ll_add(g, s->bit, m);
  LLVMValueRef w = cell_ll_sub(g, first_word(g, bit), first_word(g, s->bit));
  LLVMValueRef place = LLVMBuildAnd(g->b, narrowed(g, bit), LLVMConstInt(g->i32, 31, false), "");
  LLVMValueRef word = load_i32(g, cell_ll_at(g, lists->common, w));
  return LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, word, place, ""), g->i1, "");
}

// ---- what is common ----

// Appends the bits that are set in `rest` to the entries, as what they are from bit `first` on; `word`: where they
// get a sign. Several are taken at a time, whether they are there or not: what is written past the end is
// written over next, and few words end the loop in another way.
static void append_bits(List *l, LLVMValueRef w, LLVMValueRef first, LLVMValueRef bits,
                        LLVMValueRef word) {
  CellBuild *g = l->g;
  LLVMValueRef rest = cell_ll_alloca(g, g->i32);
  LLVMBuildStore(g->b, bits, rest);
  LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", bits));
  LLVMValueRef base = narrowed(g, cell_ll_sub(g, cell_ll_mul(g, w, 32), first));
  LLVMValueRef n = LLVMBuildLoad2(g->b, g->i64, l->size, "");
  LLVMValueRef list = cell_ll_at(g, l->lists->entries, n);
  CellFor bit;
  int entry = word ? 2 : 1;
  cell_ll_for_begin(g, &bit, cell_ll_i64(g, 0), set, BITS_AT_ONCE, false);
  LLVMValueRef at = cell_ll_at(g, list, cell_ll_mul(g, bit.i, entry));
  for (int i = 0; i < BITS_AT_ONCE; i++) {
    LLVMValueRef place = take_bit(g, rest);
    cell_ll_store(g, LLVMBuildAdd(g->b, base, place, ""),
                  cell_ll_at(g, at, cell_ll_i64(g, (int64_t)i * entry)));
    if (word)
      cell_ll_store(g, sign_of(g, word, place),
                    cell_ll_at(g, at, cell_ll_i64(g, (int64_t)i * entry + 1)));
  }
  cell_ll_for_end(g, &bit);
  LLVMBuildStore(g->b, cell_ll_add(g, n, cell_ll_mul(g, set, entry)), l->size);
}

// The bits that most of VOTERS lines have, word by word: their list, or how many there are.
static void list_common(List *l) {
  CellBuild *g = l->g;
  const CellBits *s = l->s;
  int64_t lines = along_rows(s) ? s->k : s->all_rows, stride = along_rows(s) ? s->ks : s->rs;
  LLVMValueRef first = s->bit, from = first_word(g, first), vote_from = from;
  if (!along_rows(s)) vote_from = first_word(g, s->all_bit);
  LLVMValueRef ahead = cell_ll_sub(g, vote_from, from);
  LLVMValueRef end = cell_ll_add(g, first, along_rows(s) ? s->m : cell_ll_i64(g, s->k));
  LLVMValueRef plane[PLANES];
  for (int p = 0; p < PLANES; p++) plane[p] = cell_ll_alloca(g, g->i32);
  CellFor w, vote;
  cell_ll_for_begin(g, &w, from, past_word(g, end), 1, false);
  for (int p = 0; p < PLANES; p++) LLVMBuildStore(g->b, LLVMConstNull(g->i32), plane[p]);
  int64_t step = lines / VOTERS * (stride / 32);
  cell_ll_for_begin(g, &vote, cell_ll_i64(g, 0), cell_ll_i64(g, VOTERS), 1, true);
  LLVMValueRef at = cell_ll_add(g, cell_ll_add(g, w.i, ahead), cell_ll_mul(g, vote.i, step));
  LLVMValueRef carry = load_i32(g, cell_ll_at(g, s->words, at));
  for (int p = 0; p < PLANES; p++) {
    LLVMValueRef old = LLVMBuildLoad2(g->b, g->i32, plane[p], "");
    LLVMBuildStore(g->b, LLVMBuildXor(g->b, old, carry, ""), plane[p]);
    carry = LLVMBuildAnd(g->b, old, carry, "");
  }
  cell_ll_for_end(g, &vote);
  LLVMValueRef same = LLVMBuildLoad2(g->b, g->i32, plane[PLANES - 1], "");
  LLVMValueRef mask = within(g, w.i, first, end), to = cell_ll_sub(g, w.i, from);
  same = LLVMBuildAnd(g->b, same, mask, "");
  cell_ll_store(g, same, cell_ll_at(g, l->lists->common, to));
  cell_ll_store(g, mask, cell_ll_at(g, l->masks, to));
  if (along_rows(s)) {
    LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", same));
    LLVMValueRef sum = cell_ll_add(g, LLVMBuildLoad2(g->b, g->i64, l->size, ""), set);
    LLVMBuildStore(g->b, sum, l->size);
  } else {
    append_bits(l, w.i, first, same, NULL);
  }
  cell_ll_for_end(g, &w);
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, l->size, "")), l->lists->base_size);
}

// ---- lines ----

// The bits of a word of the line [first, end) that are to be listed; *word: those that are set.
static LLVMValueRef bits_of(List *l, LLVMValueRef w, LLVMValueRef first, LLVMValueRef end,
                            LLVMValueRef *word) {
  CellBuild *g = l->g;
  *word = load_i32(g, cell_ll_at(g, l->s->words, w));
  if (l->lists->form == CELL_LISTS_PLAIN)
    return *word = LLVMBuildAnd(g->b, *word, within(g, w, first, end), "");
  LLVMValueRef at = cell_ll_sub(g, w, first_word(g, first));
  *word = LLVMBuildAnd(g->b, *word, load_i32(g, cell_ll_at(g, l->masks, at)), "");
  return LLVMBuildXor(g->b, *word, load_i32(g, cell_ll_at(g, l->lists->common, at)), "");
}

static LLVMValueRef span(List *l, LLVMValueRef m, int end) {
  CellBuild *g = l->g;
  LLVMValueRef at = cell_ll_add(g, cell_ll_mul(g, m, 2), cell_ll_i64(g, end));
  return cell_ll_at(g, l->lists->spans, at);
}

// the list of a row
static void list_row(List *l, LLVMValueRef m, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef word;
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, l->size, "")), span(l, m, 0));
  CellFor w;
  cell_ll_for_begin(g, &w, first_word(g, first), past_word(g, end), 1, false);
  LLVMValueRef bits = bits_of(l, w.i, first, end, &word);
  append_bits(l, w.i, first, bits, l->lists->entry > 1 ? word : NULL);
  cell_ll_for_end(g, &w);
  cell_ll_store(g, narrowed(g, LLVMBuildLoad2(g->b, g->i64, l->size, "")), span(l, m, 1));
}

// appends k to the lists of the rows whose bits this line names
static void list_column(List *l, LLVMValueRef k, LLVMValueRef first, LLVMValueRef end) {
  CellBuild *g = l->g;
  LLVMValueRef rest = cell_ll_alloca(g, g->i32), word;
  CellFor w, bit;
  cell_ll_for_begin(g, &w, first_word(g, first), past_word(g, end), 1, false);
  LLVMValueRef bits = bits_of(l, w.i, first, end, &word);
  LLVMBuildStore(g->b, bits, rest);
  LLVMValueRef set = widened(g, cell_ll_unary(g, "llvm.ctpop", bits));
  LLVMValueRef base = cell_ll_sub(g, cell_ll_mul(g, w.i, 32), first);
  cell_ll_for_begin(g, &bit, cell_ll_i64(g, 0), set, 1, false);
  LLVMValueRef list_end = span(l, cell_ll_add(g, base, widened(g, take_bit(g, rest))), 1);
  LLVMValueRef n = load_i32(g, list_end);
  cell_ll_store(g, narrowed(g, k), cell_ll_at(g, l->lists->entries, widened(g, n)));
  cell_ll_store(g, LLVMBuildAdd(g->b, n, LLVMConstInt(g->i32, 1, false), ""), list_end);
  cell_ll_for_end(g, &bit);
  cell_ll_for_end(g, &w);
}

static void list_all(List *l) {
  CellBuild *g = l->g;
  const CellBits *s = l->s;
  LLVMValueRef zero = cell_ll_i64(g, 0), k = cell_ll_i64(g, s->k);
  CellFor row, line;
  l->size = cell_ll_alloca(g, g->i64);
  LLVMBuildStore(g->b, zero, l->size);
  if (l->lists->form != CELL_LISTS_PLAIN) list_common(l);
  if (along_rows(s)) {
    cell_ll_for_begin(g, &row, zero, s->m, 1, false);
    LLVMValueRef begin = narrowed(g, cell_ll_mul(g, row.i, list_room(s)));
    cell_ll_store(g, begin, span(l, row.i, 0));
    cell_ll_store(g, begin, span(l, row.i, 1));
    cell_ll_for_end(g, &row);
  }
  cell_ll_for_begin(g, &line, zero, along_rows(s) ? k : s->m, 1, false);
  LLVMValueRef first =
      cell_ll_add(g, s->bit, cell_ll_mul(g, line.i, along_rows(s) ? s->ks : s->rs));
  if (along_rows(s))
    list_column(l, line.i, first, cell_ll_add(g, first, s->m));
  else
    list_row(l, line.i, first, cell_ll_add(g, first, k));
  cell_ll_for_end(g, &line);
  if (along_rows(s)) LLVMBuildStore(g->b, cell_ll_i64(g, s->m_most * list_room(s)), l->size);
}

// ---- lists that are kept ----

// where the parts of lists are that begin at an element before the header
static void place(List *l, LLVMValueRef header, LLVMValueRef begin) {
  CellBuild *g = l->g;
  CellLists *lists = l->lists;
  LLVMValueRef room = cell_ll_load(g, g->i64, header_field(g, header, ROOM));
  int64_t words = line_words(l->s);
  lists->spans = cell_ll_at(g, header, cell_ll_sub(g, begin, room));
  lists->common = cell_ll_at(g, lists->spans, cell_ll_i64(g, 2 * l->s->m_most));
  l->masks = cell_ll_at(g, lists->common, cell_ll_i64(g, words));
  lists->base_size = cell_ll_at(g, l->masks, cell_ll_i64(g, words));
  lists->entries = cell_ll_at(g, lists->spans, cell_ll_i64(g, fixed_elements(l->s)));
}

// what lists depend on beside the words and the first bit
static LLVMValueRef shape(CellBuild *g, const CellBits *s) {
  const int64_t parts[6] = {s->rs, s->ks, s->m_most, s->k, s->m_fixed, s->all_rows};
  CellKey key = cell_key((CellKey){{5, 8}}, parts, sizeof parts);
  LLVMValueRef fixed = LLVMConstInt(g->i64, key.words[0], false);
  return s->m_fixed ? fixed : cell_ll_add(g, fixed, s->m);
}

void cell_ll_lists(CellBuild *g, const CellBits *s, LLVMValueRef scratch, CellLists *lists) {
  List l = {.g = g, .s = s, .lists = lists};
  lists->form = form_of(s);
  lists->entry = lists->form == CELL_LISTS_SIGNED ? 2 : 1;
  LLVMValueRef header = header_of(g, scratch), begin = cell_ll_alloca(g, g->i64);
  LLVMValueRef kept = cell_ll_load(g, g->i64, header_field(g, header, KEPT));
  LLVMValueRef first = header_field(g, header, SLOTS), none = cell_ll_i64(g, -1);
  LLVMValueRef is[3] = {LLVMBuildPtrToInt(g->b, s->words, g->i64, ""), s->bit, shape(g, s)};
  LLVMBuildStore(g->b, none, begin);

  CellFor each;
  cell_ll_for_begin(g, &each, cell_ll_i64(g, 0), kept, 1, false);
  LLVMValueRef slot = cell_ll_at(g, first, cell_ll_mul(g, each.i, 2 * SLOT));
  LLVMValueRef differs = NULL;
  for (int i = 0; i < 3; i++) {
    LLVMValueRef x = cell_ll_load(g, g->i64, header_field(g, slot, i));
    x = LLVMBuildXor(g->b, x, is[i], "");
    differs = differs ? LLVMBuildOr(g->b, differs, x, "") : x;
  }
  LLVMValueRef here = cell_ll_load(g, g->i64, header_field(g, slot, 3));
  LLVMValueRef equal = LLVMBuildICmp(g->b, LLVMIntEQ, differs, cell_ll_i64(g, 0), "");
  LLVMValueRef old = LLVMBuildLoad2(g->b, g->i64, begin, "");
  LLVMBuildStore(g->b, LLVMBuildSelect(g->b, equal, here, old, ""), begin);
  cell_ll_for_end(g, &each);

  CellIf missing, full;
  old = LLVMBuildLoad2(g->b, g->i64, begin, "");
  cell_ll_if_begin(g, &missing, LLVMBuildICmp(g->b, LLVMIntEQ, old, none, ""));
  // where there is no room all are given up
  LLVMValueRef used = cell_ll_load(g, g->i64, header_field(g, header, USED));
  LLVMValueRef room = cell_ll_load(g, g->i64, header_field(g, header, ROOM));
  LLVMValueRef past = cell_ll_add(g, used, cell_ll_i64(g, most_elements(s)));
  LLVMValueRef no_slot = LLVMBuildICmp(g->b, LLVMIntEQ, kept, cell_ll_i64(g, MOST_KEPT), "");
  LLVMValueRef no_room = LLVMBuildICmp(g->b, LLVMIntSGT, past, room, "");
  cell_ll_if_begin(g, &full, LLVMBuildOr(g->b, no_slot, no_room, ""));
  cell_ll_store(g, cell_ll_i64(g, 0), header_field(g, header, KEPT));
  cell_ll_store(g, cell_ll_i64(g, 0), header_field(g, header, USED));
  cell_ll_if_end(g, &full);
  kept = cell_ll_load(g, g->i64, header_field(g, header, KEPT));
  used = cell_ll_load(g, g->i64, header_field(g, header, USED));
  LLVMBuildStore(g->b, used, begin);
  place(&l, header, used);
  list_all(&l);
  slot = cell_ll_at(g, first, cell_ll_mul(g, kept, 2 * SLOT));
  for (int i = 0; i < 3; i++) cell_ll_store(g, is[i], header_field(g, slot, i));
  cell_ll_store(g, used, header_field(g, slot, 3));
  cell_ll_store(g, cell_ll_add(g, kept, cell_ll_i64(g, 1)), header_field(g, header, KEPT));
  LLVMValueRef size = LLVMBuildLoad2(g->b, g->i64, l.size, "");
  size = cell_ll_add(g, size, cell_ll_i64(g, fixed_elements(s) + BITS_AT_ONCE + 15));
  size = LLVMBuildAnd(g->b, size, cell_ll_i64(g, ~(int64_t)15), "");
  cell_ll_store(g, cell_ll_add(g, used, size), header_field(g, header, USED));
  cell_ll_if_end(g, &missing);
  place(&l, header, LLVMBuildLoad2(g->b, g->i64, begin, ""));
}
