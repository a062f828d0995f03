/* cuda_product_emit.c - a kernel that is one product: a chain of contracts into one output, every block one
 * tile of it. The text is a few calls of cuda_product.h; what is decided here is the tile, how operands lie,
 * and whether they can be copied 16 bytes at a time. */
#include "codegen/cuda.h"

static bool same_affine(const CellAffine *a, const CellAffine *b) {
  if (a->base != b->base || a->term_count != b->term_count || a->loaded != b->loaded) return false;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var != b->terms[i].var || a->terms[i].coef != b->terms[i].coef) return false;
  return true;
}

static bool same_output(const CellStmt *a, const CellStmt *b) {
  return a->out.buffer.index == b->out.buffer.index && same_affine(&a->out.base, &b->out.base) &&
         a->out.row_stride == b->out.row_stride && a->out.k_stride == b->out.k_stride &&
         a->m == b->m && a->n == b->n && a->m_limit == b->m_limit && a->n_limit == b->n_limit &&
         same_affine(&a->m_begin, &b->m_begin) && same_affine(&a->n_begin, &b->n_begin);
}

CellCudaProduct cell_cuda_product(const CellKernel *k) {
  CellCudaProduct p = {0};
  for (const CellStmt *s = k->body; s; s = s->next) {
    if (s->kind != CELL_K_CONTRACT || s->a.buffer.scratch || s->b.buffer.scratch ||
        s->out.buffer.scratch)
      return p;
    if (s->a.base.loaded >= 0 || s->b.base.loaded >= 0 || s->out.base.loaded >= 0) return p;
    if (s != k->body && (!s->add || !same_output(s, k->body))) return p;
    if (s->k > INT32_MAX || s->m > INT32_MAX || s->n > INT32_MAX) return p;
  }
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
  int64_t words = 0;
  const int sides[2] = {p.rows, p.columns};
  for (int i = 0; i < 2; i++) {
    int64_t along_k = sides[i] * 20, along_rows = 16 * (sides[i] + 8);
    words += along_k > along_rows ? along_k : along_rows;
  }
  p.shared_bytes = CELL_CUDA_FOLD_BYTES + 3 * words * 4;
  return p;
}

static bool by4(const CellAffine *a) {
  if (a->base % 4 != 0) return false;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].coef % 4 != 0) return false;
  return true;
}

static bool along_k(const CellView *v) {
  return v->k_stride == 1 || v->row_stride != 1;
}

// floats a copy: 4 where every run of 4 lies on 16 bytes and is there as a whole or not at all
static int together(const CellView *v, const CellStmt *s, int64_t count, int64_t limit,
                    const CellAffine *begin) {
  if (!by4(&v->base)) return 1;
  if (along_k(v)) return v->k_stride == 1 && v->row_stride % 4 == 0 && s->k % 4 == 0 ? 4 : 1;
  bool whole = count % 4 == 0 && (limit <= 0 || (limit % 4 == 0 && by4(begin)));
  return v->k_stride % 4 == 0 && whole ? 4 : 1;
}

static void operand(const CellKernel *k, const CellStmt *s, bool is_b, const char *const *args,
                    const char *index, CellText *out) {
  const CellView *v = is_b ? &s->b : &s->a;
  const char *name = args[v->buffer.index];
  if (k->args[v->buffer.index] == CELL_BITS)
    cell_text_printf(out, "CellBitOperand<%s, %s>{%s, ", along_k(v) ? "true" : "false", index,
                     name);
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

void cell_cuda_product_body(const CellKernel *k, const CellCudaProduct *p, const char *name,
                            const char *const *args, CellPrecision precision, bool wide,
                            CellText *out) {
  const char *index = wide ? "CellWide" : "int";
  static const char *const precisions[] = {"CELL_FP32", "CELL_TF32", "CELL_BF16"};
  const CellStmt *first = k->body;
  cell_text_printf(out, "CELL_FUNCTION void %s(const int task, const int tile", name);
  for (int i = 0; i < k->arg_count; i++) {
    if (k->args[i] == CELL_BITS)
      cell_text_printf(out, ", CellBits %s", args[i]);
    else
      cell_text_printf(out, ", %s<float> %s", k->written[i] ? "CellOut" : "CellIn", args[i]);
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
  for (const CellStmt *s = first; s; s = s->next) {
    cell_text_printf(out, "  sum.add(");
    operand(k, s, false, args, index, out);
    cell_text_printf(out, ",\n          ");
    operand(k, s, true, args, index, out);
    cell_text_printf(out, ", %lld);\n", (long long)s->k);
  }
  cell_text_printf(out, "  sum.store<%s>(%s, ", index, args[first->out.buffer.index]);
  cell_cuda_affine(&first->out.base, out);
  cell_text_printf(out, " + m * %lld + n * %lld, %lld, %lld, rows, columns, %s);\n}\n\n",
                   (long long)first->out.row_stride, (long long)first->out.k_stride,
                   (long long)first->out.row_stride, (long long)first->out.k_stride,
                   first->add ? "true" : "false");
}
