/* kernel_print.c - the text form of a kernel, as kernel.h shows it. It says everything that the
 * generated code depends on; kernel_key.c hashes the same. */
#include "ir/kernel.h"

static const char *dtype_text(CellDtype dtype) {
  static const char *const texts[] = {[CELL_F] = "f", [CELL_I] = "i", [CELL_BITS] = "bits"};
  return texts[dtype];
}

static const char *reduce_text(CellReduce reduce) {
  static const char *const texts[] = {
      [CELL_SUM] = "sum", [CELL_REDUCE_MAX] = "max", [CELL_ARGMAX] = "argmax"};
  return texts[reduce];
}

// one signed term of a sum: "64 v0", " + v2", " - 3 %7", " + 5"; "400 m" with a negative number
static void print_term(CellText *out, bool *first, int64_t coef, char letter, int number) {
  uint64_t size = coef < 0 ? 0 - (uint64_t)coef : (uint64_t)coef;
  const char *sign = coef < 0 ? "- " : "+ ";
  if (*first) sign = coef < 0 ? "-" : "";
  cell_text_printf(out, "%s%s", *first ? "" : " ", sign);
  *first = false;
  if (letter == 0) {
    cell_text_printf(out, "%llu", (unsigned long long)size);
  } else {
    if (size != 1) cell_text_printf(out, "%llu ", (unsigned long long)size);
    cell_text_printf(out, "%c", letter);
    if (number >= 0) cell_text_printf(out, "%d", number);
  }
}

static void print_affine_terms(CellText *out, const CellAffine *a, bool *first) {
  for (int i = 0; i < a->term_count; i++)
    print_term(out, first, a->terms[i].coef, 'v', a->terms[i].var);
  if (a->loaded >= 0) print_term(out, first, a->loaded_coef, '%', a->loaded);
  if (a->base != 0) print_term(out, first, a->base, 0, 0);
}

static void print_affine(CellText *out, const CellAffine *a) {
  bool first = true;
  print_affine_terms(out, a, &first);
  if (first) cell_text_printf(out, "0");
}

static void print_buffer(CellText *out, CellBufferRef buffer) {
  cell_text_printf(out, "%s%d", buffer.scratch ? "s" : "arg", buffer.index);
}

static void print_view(CellText *out, const CellView *v, char row, char column) {
  print_buffer(out, v->buffer);
  cell_text_printf(out, "[");
  bool first = true;
  print_affine_terms(out, &v->base, &first);
  const int64_t strides[2] = {v->row_stride, v->k_stride};
  const char letters[2] = {row, column};
  for (int i = 0; i < 2; i++)
    if (strides[i] != 0) print_term(out, &first, strides[i], letters[i], -1);
  if (first) cell_text_printf(out, "0");
  cell_text_printf(out, "]");
}

// "[0, 64)", "64 v0 + [0, 64) below 512" or, over rows of a range, "v0 + [0, 64) below v9"
static void print_range(CellText *out, const CellAffine *begin, int64_t extent, int64_t limit,
                        const CellStmt *end) {
  CellAffine constant = cell_affine(begin->base);
  CellAffine rest = *begin;
  rest.base = 0;
  if (rest.term_count > 0 || rest.loaded >= 0) {
    print_affine(out, &rest);
    cell_text_printf(out, " + ");
  }
  cell_text_printf(out, "[");
  print_affine(out, &constant);
  cell_text_printf(out, ", %lld)", (long long)(begin->base + extent));
  if (end && end->end_var >= 0) {
    CellAffine last = cell_affine_var(end->end_var, end->end_scale);
    cell_text_printf(out, " below ");
    print_affine(out, &last);
  } else if (limit > 0) {
    cell_text_printf(out, " below %lld", (long long)limit);
  }
}

static void print_body(CellText *out, const CellStmt *s, int depth);

static void print_contract(CellText *out, const CellStmt *s) {
  cell_text_printf(out, "contract ");
  print_view(out, &s->a, 'm', 'k');
  cell_text_printf(out, " ");
  print_view(out, &s->b, 'n', 'k');
  cell_text_printf(out, " -> ");
  print_view(out, &s->out, 'm', 'n');
  cell_text_printf(out, " m ");
  if (s->m_limit > 0)
    print_range(out, &s->m_begin, s->m, s->m_limit, s);
  else
    cell_text_printf(out, "%lld", (long long)s->m);
  cell_text_printf(out, " n ");
  if (s->n_limit > 0)
    print_range(out, &s->n_begin, s->n, s->n_limit, NULL);
  else
    cell_text_printf(out, "%lld", (long long)s->n);
  cell_text_printf(out, " k %lld%s%s", (long long)s->k, s->sparse ? " sparse" : "",
                   s->add ? " add" : "");
  if (s->terms > 0) {
    cell_text_printf(out, " and ");
    print_view(out, &s->u, 'm', 't');
    cell_text_printf(out, " ");
    print_view(out, &s->v, 'n', 't');
    cell_text_printf(out, " t %lld", (long long)s->terms);
  }
  cell_text_printf(out, "\n");
}

static void print_stmt(CellText *out, const CellStmt *s, int depth) {
  cell_text_printf(out, "%*s", 2 * depth, "");
  switch (s->kind) {
  case CELL_K_LOOP: {
    static const char *const kinds[] = {
        [CELL_LOOP_SERIAL] = "loop", [CELL_LOOP_UNROLL] = "unroll", [CELL_LOOP_LANES] = "lanes"};
    cell_text_printf(out, "%s v%d = ", kinds[s->loop], s->var);
    print_range(out, &s->begin, s->extent, s->limit, s);
    cell_text_printf(out, s->whole ? " whole\n" : "\n");
    print_body(out, s->body, depth + 1);
    break;
  }
  case CELL_K_CONST:
    cell_text_printf(out, "%%%d = const %s%.17g\n", s->value, s->dtype == CELL_I ? "i " : "",
                     s->number);
    break;
  case CELL_K_VAR:
    cell_text_printf(out, "%%%d = var ", s->value);
    print_affine(out, &s->index);
    cell_text_printf(out, "\n");
    break;
  case CELL_K_LOAD:
    cell_text_printf(out, "%%%d = load ", s->value);
    print_buffer(out, s->buffer);
    cell_text_printf(out, "[");
    print_affine(out, &s->index);
    cell_text_printf(out, "]\n");
    break;
  case CELL_K_LET:
    cell_text_printf(out, "%%%d = %s%s", s->value, cell_op_info[s->op].name,
                     s->dtype == CELL_I ? " i" : "");
    for (int i = 0; i < cell_op_info[s->op].arity; i++) cell_text_printf(out, " %%%d", s->args[i]);
    cell_text_printf(out, "\n");
    break;
  case CELL_K_ACC:
    cell_text_printf(out, "%%%d = acc %s\n", s->value, reduce_text(s->reduce));
    break;
  case CELL_K_UPDATE:
    cell_text_printf(out, "update %%%d %%%d", s->value, s->args[0]);
    if (s->reduce == CELL_ARGMAX) {
      cell_text_printf(out, " at ");
      print_affine(out, &s->index);
    }
    cell_text_printf(out, "\n");
    break;
  case CELL_K_STORE:
    cell_text_printf(out, "%s ", s->add ? "add" : "store");
    print_buffer(out, s->buffer);
    cell_text_printf(out, "[");
    print_affine(out, &s->index);
    cell_text_printf(out, "] %%%d\n", s->args[0]);
    break;
  case CELL_K_CONTRACT: print_contract(out, s); break;
  }
}

static void print_body(CellText *out, const CellStmt *s, int depth) {
  for (; s; s = s->next) print_stmt(out, s, depth);
}

void cell_kernel_print(const CellKernel *k, CellText *out) {
  cell_text_printf(out, "kernel %s (", k->name);
  for (int i = 0; i < k->arg_count; i++)
    cell_text_printf(out, "%sarg%d: %s%s", i > 0 ? ", " : "", i, dtype_text(k->args[i]),
                     k->written && k->written[i] ? " written" : "");
  cell_text_printf(out, ") tasks %lld", (long long)k->tasks);
  if (k->rows > 0)
    cell_text_printf(out, " of %lld rows, v0 to v%d, %lld at most", (long long)k->rows, k->end_var,
                     (long long)k->tile);
  if (k->scratch_count > 0) {
    cell_text_printf(out, " scratch (");
    for (int i = 0; i < k->scratch_count; i++)
      cell_text_printf(out, "%ss%d: %s %lld at %lld", i > 0 ? ", " : "", i,
                       dtype_text(k->scratch[i].dtype), (long long)k->scratch[i].count,
                       (long long)k->scratch[i].offset);
    cell_text_printf(out, ") of %lld", (long long)k->scratch_bytes);
  }
  cell_text_printf(out, "\n");
  print_body(out, k->body, 1);
}

void cell_plan_print(const CellPlan *plan, CellText *out) {
  static const char *const kinds[] = {
      [CELL_BUFFER_STATE] = "state",       [CELL_BUFFER_INPUT] = "input",
      [CELL_BUFFER_OUTPUT] = "output",     [CELL_BUFFER_TEMP] = "temp",
      [CELL_BUFFER_CONSTANT] = "constant", [CELL_BUFFER_PIECE] = "piece"};
  cell_text_printf(out, "plan arena %lld scratch %lld", (long long)plan->arena_bytes,
                   (long long)plan->scratch_bytes);
  if (plan->guard_bytes > 0) cell_text_printf(out, " guard %lld", (long long)plan->guard_bytes);
  cell_text_printf(out, "\n");

  for (int i = 0; i < plan->buffer_count; i++) {
    const CellBuffer *b = &plan->buffers[i];
    cell_text_printf(out, "buffer %d \"%s\" %s : %s %lld at %lld", i, b->name, kinds[b->kind],
                     dtype_text(b->dtype), (long long)b->count, (long long)b->offset);
    if (b->dtype == CELL_BITS) cell_text_printf(out, " row %lld", (long long)b->bit_row);
    if (b->program >= 0 && b->program < plan->program_count)
      cell_text_printf(out, " of %s", plan->programs[b->program].name);
    if (b->kind == CELL_BUFFER_TEMP) cell_text_printf(out, " live %d to %d", b->first, b->last);
    if (b->kind == CELL_BUFFER_CONSTANT) cell_text_printf(out, " of %g", b->number);
    if (b->kind == CELL_BUFFER_PIECE)
      cell_text_printf(out, " in %d from %lld", b->whole, (long long)b->begin);
    cell_text_printf(out, "\n");
  }

  for (int i = 0; i < plan->kernel_count; i++) {
    cell_text_printf(out, "\n");
    cell_kernel_print(plan->kernels[i], out);
  }

  for (int i = 0; i < plan->program_count; i++) {
    const CellPlanProgram *p = &plan->programs[i];
    cell_text_printf(out, "\nprogram %s\n", p->name);
    for (int j = 0; j < p->launch_count; j++) {
      const CellKernel *k = plan->kernels[p->launches[j].kernel];
      cell_text_printf(out, "  launch %s (", k->name);
      for (int a = 0; a < k->arg_count; a++)
        cell_text_printf(out, "%s%d", a > 0 ? ", " : "", p->launches[j].buffers[a]);
      cell_text_printf(out, ")\n");
    }
  }
}
