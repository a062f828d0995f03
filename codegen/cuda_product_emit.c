/* cuda_product_emit.c - a kernel that is one product: a chain of contracts into one output, every block one
 * tile of it, and perhaps a tail, loop nests that work on the output entry by entry (ir/fuse_tails.c) or sum up a
 * tile of it (ir/fuse_sums.c). The text is a
 * few calls of cuda_product.h; what is decided here is the tile, how operands lie, and whether they can be
 * copied 16 bytes at a time. */
#include "codegen/cuda.h"

static bool same_output(const CellStmt *a, const CellStmt *b) {
  return a->out.buffer.index == b->out.buffer.index &&
         cell_affine_equal(&a->out.base, &b->out.base) && a->out.row_stride == b->out.row_stride &&
         a->out.k_stride == b->out.k_stride && a->m == b->m && a->n == b->n &&
         a->m_limit == b->m_limit && a->n_limit == b->n_limit &&
         cell_affine_equal(&a->m_begin, &b->m_begin) && cell_affine_equal(&a->n_begin, &b->n_begin);
}

// ---- the tail ----

static int64_t take_term(CellAffine *a, int var) {
  for (int i = 0; i < a->term_count; i++) {
    if (a->terms[i].var != var) continue;
    int64_t coef = a->terms[i].coef;
    a->terms[i] = a->terms[--a->term_count];
    return coef;
  }
  return 0;
}

// an index in a nest, by the entry (m, n) of the output that the nest is at
typedef struct {
  int64_t m, n;
  CellAffine rest;
} Place;

static Place place_of(const CellStmt *nest, const CellStmt *lanes, const CellAffine *index) {
  Place p = {.rest = *index};
  p.n = take_term(&p.rest, lanes->var);
  if (nest == lanes) return p;
  p.m = take_term(&p.rest, nest->var);
  p.rest = cell_affine_add(p.rest, cell_affine_scale(nest->begin, p.m));
  return p;
}

static bool same_place(const Place *a, const Place *b, bool rows) {
  if (a->rest.loaded >= 0 || b->rest.loaded >= 0 || a->n != b->n || (rows && a->m != b->m))
    return false;
  CellAffine off = cell_affine_add(a->rest, cell_affine_scale(b->rest, -1));
  for (int i = 0; i < off.term_count; i++)
    if (off.terms[i].coef != 0) return false;
  return off.base == 0;
}

static const CellStmt *lanes_of(const CellStmt *nest) {
  return nest->loop == CELL_LOOP_LANES ? nest : cell_cuda_turned(nest);
}

// The loop over a tile's columns in a sum of tiles; *rows: the one around it. NULL: the statement is none.
//     loop tiles { acc; loop rows { ...; lanes columns { ...; update } }; store }
const CellStmt *cell_cuda_tile_sum(const CellStmt *s, const CellStmt **rows) {
  if (s->kind != CELL_K_LOOP || s->loop != CELL_LOOP_SERIAL || s->body->kind != CELL_K_ACC)
    return NULL;
  *rows = s->body->next;
  if (!*rows || (*rows)->kind != CELL_K_LOOP || s->body->reduce != CELL_SUM) return NULL;
  const CellStmt *store = (*rows)->next, *lanes = (*rows)->body;
  if (!store || store->kind != CELL_K_STORE || store->next || store->args[0] != s->body->value)
    return NULL;
  while (lanes && cell_cuda_is_plain(lanes)) lanes = lanes->next;
  bool found =
      lanes && lanes->kind == CELL_K_LOOP && lanes->loop == CELL_LOOP_LANES && !lanes->next;
  return found ? lanes : NULL;
}

// whether all that the tail stores to the buffer lies at this place of an entry
static bool stored_there(const CellStmt *tail, const CellBufferRef *buffer, const Place *at,
                         bool rows) {
  for (const CellStmt *nest = tail; nest; nest = nest->next) {
    const CellStmt *around;
    if (nest->kind != CELL_K_LOOP || cell_cuda_tile_sum(nest, &around)) continue;
    const CellStmt *lanes = lanes_of(nest);
    for (const CellStmt *s = lanes->body; s; s = s->next) {
      if (s->kind != CELL_K_STORE || !cell_same_buffer(s->buffer, *buffer)) continue;
      Place to = place_of(nest, lanes, &s->index);
      if (to.n == 0 || (rows && to.m == 0) || !same_place(&to, at, rows)) return false;
    }
  }
  return true;
}

// a load of what the kernel writes is of the entry's own
static bool may_load(const CellKernel *k, const CellStmt *tail, const CellStmt *nest,
                     const CellStmt *lanes, const CellStmt *s) {
  const CellStmt *first = k->body;
  bool output = cell_same_buffer(s->buffer, first->out.buffer);
  if (!output && (s->buffer.scratch || !k->written[s->buffer.index])) return !s->buffer.scratch;
  if (!nest) return false;
  Place at = place_of(nest, lanes, &s->index);
  bool rows = first->m != 1;
  if (!output) return stored_there(tail, &s->buffer, &at, rows);
  Place entry = {first->out.row_stride, first->out.k_stride, first->out.base};
  return same_place(&at, &entry, rows);
}

static bool entrywise(const CellKernel *k, const CellStmt *tail, const CellStmt *nest,
                      const CellStmt *lanes, const CellStmt *s) {
  bool inside = s == lanes->body;
  for (; s && s != lanes; s = s->next) {
    if (s->kind == CELL_K_STORE) {
      if (!inside || s->add || s->buffer.scratch ||
          cell_same_buffer(s->buffer, k->body->out.buffer))
        return false;
    } else if (!cell_cuda_is_plain(s) ||
               (s->kind == CELL_K_LOAD && !may_load(k, tail, nest, lanes, s))) {
      return false;
    }
  }
  return true;
}

// a number for each of a product's tiles: nothing is read but entries of the tile, and no other tile's
static bool sums_tiles(const CellKernel *k, const CellStmt *tail, const CellStmt *s) {
  const CellStmt *first = k->body, *rows, *lanes = cell_cuda_tile_sum(s, &rows);
  if (!lanes || s->begin.term_count || s->begin.base || s->begin.loaded >= 0 || s->limit > 0)
    return false;
  // tiles as cell_cuda_product has them
  if (first->m > CELL_CUDA_ROWS || first->m <= 16 || first->n_limit > 0) return false;
  int64_t wide = lanes->extent, count = (first->n + wide - 1) / wide;
  if (wide != CELL_CUDA_COLUMNS || s->extent != count) return false;
  if (rows->extent != first->m || rows->limit != first->m_limit) return false;
  if (lanes->limit > 0 ? lanes->limit != first->n : first->n % wide != 0) return false;
  CellAffine begin = lanes->begin;
  if (take_term(&begin, s->var) != wide || begin.term_count || begin.base || begin.loaded >= 0)
    return false;
  for (const CellStmt *t = rows->body; t != lanes; t = t->next)
    if (t->kind == CELL_K_LOAD && !may_load(k, tail, rows, lanes, t)) return false;
  for (const CellStmt *t = lanes->body; t; t = t->next) {
    if (t->kind == CELL_K_UPDATE && t->value == s->body->value) continue;
    if (!cell_cuda_is_plain(t)) return false;
    if (t->kind == CELL_K_LOAD && !may_load(k, tail, rows, lanes, t)) return false;
  }
  return true;
}

// rows of columns, no statement of which meets another entry, and what is loaded for all of them
static bool is_tail(const CellKernel *k, const CellStmt *tail) {
  const CellStmt *first = k->body;
  if (first->add || first->n_limit > 0) return false;
  // loops of the right shape first: what they store is looked up
  for (const CellStmt *s = tail; s; s = s->next) {
    const CellStmt *rows;
    if (cell_cuda_is_plain(s) || (s->kind == CELL_K_LOOP && cell_cuda_tile_sum(s, &rows))) continue;
    const CellStmt *lanes = s->kind == CELL_K_LOOP ? lanes_of(s) : NULL;
    if (!lanes || lanes->extent != first->n || lanes->limit > 0 || lanes->begin.term_count ||
        lanes->begin.base || lanes->begin.loaded >= 0)
      return false;
    if (s == lanes ? first->m != 1 : s->extent != first->m || s->limit != first->m_limit)
      return false;
  }
  for (const CellStmt *s = tail; s; s = s->next) {
    if (s->kind == CELL_K_LOAD && !may_load(k, tail, NULL, NULL, s)) return false;
    if (s->kind != CELL_K_LOOP) continue;
    const CellStmt *rows, *lanes = cell_cuda_tile_sum(s, &rows);
    if (lanes && !sums_tiles(k, tail, s)) return false;
    if (lanes) continue;
    lanes = lanes_of(s);
    if (s != lanes && !entrywise(k, tail, s, lanes, s->body)) return false;
    if (!entrywise(k, tail, s, lanes, lanes->body)) return false;
  }
  return true;
}

static bool along_k(const CellView *v) {
  return v->k_stride == 1 || v->row_stride != 1;
}

// float sums of rows of b that bits of a select, where b's rows of columns are contiguous
static bool selects(const CellKernel *k, const CellStmt *s) {
  return cell_is_bits(k, s->a.buffer) && !cell_is_bits(k, s->b.buffer) && !along_k(&s->b);
}

static int64_t slice_words(int side) {
  int64_t along_k = (int64_t)side * 20, along_rows = 16 * ((int64_t)side + 8);
  return along_k > along_rows ? along_k : along_rows;
}

CellCudaProduct cell_cuda_product(const CellKernel *k) {
  CellCudaProduct p = {0};
  for (const CellStmt *s = k->body; s; s = s->next) {
    if (s != k->body && s->kind != CELL_K_CONTRACT && k->body->kind == CELL_K_CONTRACT) {
      if (!is_tail(k, s)) return p;
      p.tail = s;
      break;
    }
    if (s->kind != CELL_K_CONTRACT || s->a.buffer.scratch || s->b.buffer.scratch) return p;
    if (s->a.base.loaded >= 0 || s->b.base.loaded >= 0 || s->out.base.loaded >= 0) return p;
    if (s != k->body && (!s->add || !same_output(s, k->body))) return p;
    if (s->k > INT32_MAX || s->m > INT32_MAX || s->n > INT32_MAX) return p;
  }
  if (k->body && k->body->out.buffer.scratch && !p.tail) return p;
  const CellStmt *s = k->body;
  if (!s) return p;
  p.product = true;
  p.rows = p.columns = 64;
  if (s->n <= 16)
    p.columns = 16, p.rows = s->m <= 32 ? 32 : 64;
  else if (s->m <= 16)
    p.rows = 16;
  p.down = (s->m + p.rows - 1) / p.rows, p.across = (s->n + p.columns - 1) / p.columns;
  // CellStaging of cuda_product.h
  int64_t words = 3 * (slice_words(p.rows) + slice_words(p.columns));
  int64_t selected = 3 * 2 * slice_words(p.columns) + 16 * ((int64_t)p.rows + 1);
  for (; s != p.tail; s = s->next)
    if (selects(k, s) && selected > words) words = selected;
  p.shared_bytes = CELL_CUDA_FOLD_BYTES + words * 4;
  return p;
}

static bool multiple(const CellAffine *a, int of) {
  if (a->base % of != 0) return false;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].coef % of != 0) return false;
  return true;
}

// floats a copy: 4 where every run of 4 lies on 16 bytes and is there as a whole or not at all
static int together(const CellView *v, const CellStmt *s, int64_t count, int64_t limit,
                    const CellAffine *begin) {
  if (!multiple(&v->base, 4)) return 1;
  if (along_k(v)) return v->k_stride == 1 && v->row_stride % 4 == 0 && s->k % 4 == 0 ? 4 : 1;
  bool whole = count % 4 == 0 && (limit <= 0 || (limit % 4 == 0 && multiple(begin, 4)));
  return v->k_stride % 4 == 0 && whole ? 4 : 1;
}

// bits a load: 32 or 4 where every run of as many that begins at a multiple of it lies in one word
static int bits_together(const CellView *v) {
  int64_t one = along_k(v) ? v->k_stride : v->row_stride;
  int64_t other = along_k(v) ? v->row_stride : v->k_stride;
  if (one != 1) return 1;
  if (multiple(&v->base, 32) && other % 32 == 0) return 32;
  return multiple(&v->base, 4) && other % 4 == 0 ? 4 : 1;
}

static void operand(const CellKernel *k, const CellStmt *s, bool is_b, const char *const *args,
                    const char *index, CellText *out) {
  const CellView *v = is_b ? &s->b : &s->a;
  const char *name = args[v->buffer.index];
  if (cell_is_bits(k, v->buffer))
    cell_text_printf(out, "CellBitOperand<%s, %d, %s>{%s, ", along_k(v) ? "true" : "false",
                     bits_together(v), index, name);
  else
    cell_text_printf(out, "CellOperand<%s, %d, %s>{%s, ", along_k(v) ? "true" : "false",
                     is_b ? together(v, s, s->n, s->n_limit, &s->n_begin)
                          : together(v, s, s->m, s->m_limit, &s->m_begin),
                     index, name);
  cell_cuda_affine(&v->base, out);
  cell_text_printf(out, " + %s * %lld, %lld, %lld, %s}", is_b ? "n" : "m", (long long)v->row_stride,
                   (long long)v->row_stride, (long long)v->k_stride, is_b ? "columns" : "rows");
}

static void extent(const char *name, const char *from, int64_t count, int64_t limit,
                   const CellAffine *begin, const char *index, CellText *out) {
  cell_text_printf(out, "  %s %s = %lld", index, name, (long long)count);
  cell_text_printf(out, " - %s;\n", from);
  if (limit <= 0) return;
  cell_text_printf(out, "  if (%lld - (", (long long)limit);
  cell_cuda_affine(begin, out);
  cell_text_printf(out, ") - %s < %s) %s = %lld - (", from, name, name, (long long)limit);
  cell_cuda_affine(begin, out);
  cell_text_printf(out, ") - %s;\n", from);
}

static void store(const CellStmt *s, const char *const *args, const char *index, CellText *out) {
  cell_text_printf(out, "  sum.store<%s>(%s, ", index, args[s->out.buffer.index]);
  cell_cuda_affine(&s->out.base, out);
  cell_text_printf(out, " + m * %lld + n * %lld, %lld, %lld, rows, columns, %s);\n",
                   (long long)s->out.row_stride, (long long)s->out.k_stride,
                   (long long)s->out.row_stride, (long long)s->out.k_stride,
                   s->add ? "true" : "false");
}

void cell_cuda_product_body(CellCudaSchedule *c, const CellCudaProduct *p, const char *name,
                            const char *const *args, CellPrecision precision, CellText *out) {
  const CellKernel *k = c->k;
  const char *index = c->wide ? "CellWide" : "int";
  static const char *const precisions[] = {"CELL_FP32", "CELL_TF32", "CELL_BF16"};
  const CellStmt *first = k->body;
  cell_text_printf(out, "CELL_FUNCTION void %s(const int task, const int tile", name);
  for (int i = 0; i < k->arg_count; i++) {
    if (k->args[i] == CELL_BITS)
      cell_text_printf(out, ", CellBits %s", args[i]);
    else
      cell_text_printf(out, ", %s<%s> %s", k->written[i] ? "CellOut" : "CellIn",
                       k->args[i] == CELL_I ? "int" : "float", args[i]);
  }
  cell_text_printf(out, ") {\n  const %s v0 = task;\n", index);
  cell_text_printf(out, "  const %s m = tile / %lld * %d, n = tile %% %lld * %d;\n", index,
                   (long long)p->across, p->rows, (long long)p->across, p->columns);
  extent("down", "m", first->m, first->m_limit, &first->m_begin, index, out);
  extent("across", "n", first->n, first->n_limit, &first->n_begin, index, out);
  cell_text_printf(out, "  if (down <= 0 || across <= 0) return;\n");
  cell_text_printf(out, "  const int rows = down < %d ? (int)down : %d;\n", p->rows, p->rows);
  cell_text_printf(out, "  const int columns = across < %d ? (int)across : %d;\n", p->columns,
                   p->columns);
  cell_text_printf(out, "  CellProduct<%d, %d, %s, %s> sum;\n  sum.clear();\n", p->rows, p->columns,
                   along_k(&first->b) ? "false" : "true", precisions[precision]);
  for (const CellStmt *s = first; s != p->tail; s = s->next) {
    cell_text_printf(out, "  sum.%s(", precision == CELL_FP32 && selects(k, s) ? "select" : "add");
    operand(k, s, false, args, index, out);
    cell_text_printf(out, ",\n             ");
    operand(k, s, true, args, index, out);
    cell_text_printf(out, ", %lld);\n", (long long)s->k);
  }
  if (!first->out.buffer.scratch) store(first, args, index, out);
  cell_cuda_tail(c, p, args, out);
  cell_text_printf(out, "}\n\n");
}
