/* cuda_body.c - a kernel's loop tree as the text of a device function.
 *
 * Variable i is `v<i>`, value i `x<i>`; an accumulator's partial is `p<i>` and what is added to it outside of
 * lanes `q<i>` (of an argmax, where the largest was: `w<i>`). Scratch i is `s<i>`; arguments have the names
 * of their buffers. */
#include "codegen/cuda.h"

#include <math.h>
#include <string.h>

typedef enum { TEAM_BLOCK, TEAM_WARP, TEAM_THREAD } Team;

typedef struct {
  CellCudaSchedule *c;
  const CellKernel *k;
  const char *const *args;
  CellText *out;
  int depth;
  Team team;                /* who runs a statement: all threads, a warp's, or one */
  const char *place;        /* the line of the .cell file that the text is at, or NULL */
  const CellBufferRef *sum; /* a tail: its product's output, whose entry is the variable sum */
} Body;

static void line(Body *b, const char *format, ...) CELL_PRINTF(2, 3);
static void line(Body *b, const char *format, ...) {
  cell_text_printf(b->out, "%*s", 2 * b->depth, "");
  va_list arguments;
  va_start(arguments, format);
  cell_text_printf(b->out, "%s", cell_arena_vprintf(b->c->arena, format, arguments));
  va_end(arguments);
}

// ---- indices and names ----

static void term(CellText *out, bool *first, int64_t coef, const char *letter, int number) {
  if (!*first) cell_text_printf(out, coef < 0 ? " - " : " + ");
  if (*first && coef < 0) cell_text_printf(out, "-");
  uint64_t size = coef < 0 ? 0 - (uint64_t)coef : (uint64_t)coef;
  *first = false;
  if (!letter)
    cell_text_printf(out, "%llu", (unsigned long long)size);
  else if (size == 1)
    cell_text_printf(out, "%s%d", letter, number);
  else
    cell_text_printf(out, "%llu * %s%d", (unsigned long long)size, letter, number);
}

void cell_cuda_affine(const CellAffine *a, CellText *out) {
  bool first = true;
  for (int i = 0; i < a->term_count; i++) term(out, &first, a->terms[i].coef, "v", a->terms[i].var);
  if (a->loaded >= 0) term(out, &first, a->loaded_coef, "x", a->loaded);
  if (a->base != 0 || first) term(out, &first, a->base, NULL, 0);
}

static const char *affine(Body *b, const CellAffine *a) {
  CellText text = {0};
  cell_cuda_affine(a, &text);
  char *copy = cell_arena_strdup(b->c->arena, text.data);
  cell_text_free(&text);
  return copy;
}

static const char *name_of(Body *b, CellBufferRef r) {
  return r.scratch ? cell_arena_printf(b->c->arena, "s%d", r.index) : b->args[r.index];
}

static CellDtype dtype_of(const Body *b, CellBufferRef r) {
  return r.scratch ? b->k->scratch[r.index].dtype : b->k->args[r.index];
}

static const char *index_type(const Body *b) {
  return b->c->wide ? "CellWide" : "int";
}

static const char *number(Body *b, double x) {
  float f = (float)x;
  if (isnan(f)) return "CELL_NAN";
  if (isinf(f)) return f < 0 ? "-CELL_INFINITY" : "CELL_INFINITY";
  char text[40];
  snprintf(text, sizeof text, "%.9g", (double)f);
  bool plain = !strpbrk(text, ".e");
  return cell_arena_printf(b->c->arena, "%s%sf", text, plain ? ".0" : "");
}

// ---- expressions ----

static const CellCudaValue *value(const Body *b, int i) {
  return &b->c->values[i];
}

static const char *of_integers(Body *b, const CellStmt *s, const char *x, const char *y,
                               const char *z) {
  CellArena *arena = b->c->arena;
  switch ((int)s->op) {
  case CELL_OP_ADD: return cell_arena_printf(arena, "%s + %s", x, y);
  case CELL_OP_SUB: return cell_arena_printf(arena, "%s - %s", x, y);
  case CELL_OP_MUL: return cell_arena_printf(arena, "%s * %s", x, y);
  case CELL_OP_MIN: return cell_arena_printf(arena, "%s < %s ? %s : %s", y, x, y, x);
  case CELL_OP_MAX: return cell_arena_printf(arena, "%s < %s ? %s : %s", x, y, y, x);
  case CELL_OP_FLOAT: return cell_arena_printf(arena, "(float)%s", x);
  case CELL_OP_LT: return cell_arena_printf(arena, "%s < %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_LE: return cell_arena_printf(arena, "%s <= %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_EQ: return cell_arena_printf(arena, "%s == %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_NE: return cell_arena_printf(arena, "%s != %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_WHERE: return cell_arena_printf(arena, "%s != 0 ? %s : %s", x, y, z);
  default: cell_internal_error(__FILE__, __LINE__, "no code for op %d of integers", (int)s->op);
  }
}

static const char *of_floats(Body *b, CellOp op, const char *x, const char *y, const char *z) {
  CellArena *arena = b->c->arena;
  switch ((int)op) {
  case CELL_OP_ADD: return cell_arena_printf(arena, "%s + %s", x, y);
  case CELL_OP_SUB: return cell_arena_printf(arena, "%s - %s", x, y);
  case CELL_OP_MUL: return cell_arena_printf(arena, "%s * %s", x, y);
  case CELL_OP_DIV: return cell_arena_printf(arena, "cell_div(%s, %s)", x, y);
  case CELL_OP_POW: return cell_arena_printf(arena, "cell_pow(%s, %s)", x, y);
  case CELL_OP_MIN: return cell_arena_printf(arena, "cell_min(%s, %s)", x, y);
  case CELL_OP_MAX: return cell_arena_printf(arena, "cell_max(%s, %s)", x, y);
  case CELL_OP_LT: return cell_arena_printf(arena, "%s < %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_LE: return cell_arena_printf(arena, "%s <= %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_EQ: return cell_arena_printf(arena, "%s == %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_NE: return cell_arena_printf(arena, "%s != %s ? 1.0f : 0.0f", x, y);
  case CELL_OP_NEG: return cell_arena_printf(arena, "-%s", x);
  case CELL_OP_ABS: return cell_arena_printf(arena, "cell_abs(%s)", x);
  case CELL_OP_SIGN: return cell_arena_printf(arena, "cell_sign(%s)", x);
  case CELL_OP_FLOOR: return cell_arena_printf(arena, "cell_floor(%s)", x);
  case CELL_OP_SQRT: return cell_arena_printf(arena, "cell_sqrt(%s)", x);
  case CELL_OP_EXP: return cell_arena_printf(arena, "cell_exp(%s)", x);
  case CELL_OP_LOG: return cell_arena_printf(arena, "cell_log(%s)", x);
  case CELL_OP_TANH: return cell_arena_printf(arena, "cell_tanh(%s)", x);
  case CELL_OP_SIGMOID: return cell_arena_printf(arena, "cell_sigmoid(%s)", x);
  case CELL_OP_SIN: return cell_arena_printf(arena, "cell_sin(%s)", x);
  case CELL_OP_COS: return cell_arena_printf(arena, "cell_cos(%s)", x);
  case CELL_OP_RELU: return cell_arena_printf(arena, "cell_relu(%s)", x);
  case CELL_OP_WHERE: return cell_arena_printf(arena, "%s != 0.0f ? %s : %s", x, y, z);
  default: cell_internal_error(__FILE__, __LINE__, "no code for op %d", (int)op);
  }
}

// x y + c, with y's factors in the text: `sign` is that of the product
static const char *fused(Body *b, int product, const char *sign, const char *c) {
  const CellStmt *d = value(b, product)->def;
  return cell_arena_printf(b->c->arena, "cell_fma(%sx%d, x%d, %s)", sign, d->args[0], d->args[1],
                           c);
}

static void emit_let(Body *b, const CellStmt *s) {
  if (value(b, s->value)->fused) return;
  const char *type = s->dtype == CELL_I ? "int" : "float", *text = NULL;
  const char *x[3] = {"", "", ""};
  int n = cell_op_info[s->op].arity;
  for (int i = 0; i < n; i++) x[i] = cell_arena_printf(b->c->arena, "x%d", s->args[i]);
  for (int i = 0; i < 2 && i < n && !text; i++) {
    if (!value(b, s->args[i])->fused || (s->op != CELL_OP_ADD && s->op != CELL_OP_SUB)) continue;
    const char *other = x[1 - i];
    if (s->op == CELL_OP_SUB && i == 0) other = cell_arena_printf(b->c->arena, "-%s", other);
    text = fused(b, s->args[i], s->op == CELL_OP_SUB && i == 1 ? "-" : "", other);
  }
  if (!text)
    text = value(b, s->args[n - 1])->def->dtype == CELL_I ? of_integers(b, s, x[0], x[1], x[2])
                                                          : of_floats(b, s->op, x[0], x[1], x[2]);
  line(b, "const %s x%d = %s;\n", type, s->value, text);
}

// ---- accumulators ----

static void emit_acc(Body *b, const CellStmt *s) {
  const CellCudaValue *v = value(b, s->value);
  bool argmax = s->reduce == CELL_ARGMAX;
  const char *zero = s->reduce == CELL_SUM ? "0.0f" : "-CELL_INFINITY";
  int i = s->value;
  if (argmax)
    line(b, "int x%d = 0;\n", i);
  else
    line(b, "float x%d = %s;\n", i, zero);
  if (v->partial) line(b, "float p%d = %s;\n", i, zero);
  if (v->partial && argmax) line(b, "int w%d = 0;\n", i);
  if (argmax || (v->partial && v->scalar)) line(b, "float q%d = %s;\n", i, zero);
  if (argmax && v->partial && v->scalar) line(b, "int y%d = 0;\n", i);
}

static void emit_update(Body *b, const CellStmt *s, bool own) {
  const CellCudaValue *v = value(b, s->value);
  int i = s->value, x = s->args[0];
  // which of the accumulator's variables this feeds
  const char *to = v->partial ? (own ? "p" : "q") : "x";
  if (s->reduce == CELL_SUM) {
    if (value(b, x)->fused)
      line(b, "%s%d = %s;\n", to, i,
           fused(b, x, "", cell_arena_printf(b->c->arena, "%s%d", to, i)));
    else
      line(b, "%s%d += x%d;\n", to, i, x);
  } else if (s->reduce == CELL_REDUCE_MAX) {
    line(b, "%s%d = cell_max(%s%d, x%d);\n", to, i, to, i, x);
  } else {
    const char *best = v->partial && own ? "p" : "q";
    const char *where = v->partial ? (own ? "w" : "y") : "x";
    line(b, "cell_better(x%d, (int)(%s), %s%d, %s%d);\n", x, affine(b, &s->index), best, i, where,
         i);
  }
}

// all that are due before a statement: sums together, maxima together
static void emit_folds(Body *b, const CellCudaNote *note) {
  bool warp = b->team == TEAM_WARP;
  int groups = 0;
  for (int reduce = CELL_SUM; reduce <= CELL_REDUCE_MAX; reduce++) {
    const char *kind = reduce == CELL_SUM ? "sum" : "max";
    int which[16], n = 0;
    for (int f = 0; f <= note->fold_count; f++) {
      bool mine = f < note->fold_count && (int)value(b, note->folds[f])->def->reduce == reduce;
      if (mine) which[n++] = note->folds[f];
      if (n == 0 || (n < 16 && f < note->fold_count)) continue;
      // several folds before one statement use the same half
      if (!warp && groups++ > 0) line(b, "cell_barrier();\n");
      line(b, "{\n");
      b->depth++;
      line(b, "float fold[%d] = {", n);
      for (int i = 0; i < n; i++) cell_text_printf(b->out, "%sp%d", i ? ", " : "", which[i]);
      cell_text_printf(b->out, "};\n");
      if (warp)
        line(b, "cell_warp_%s(fold);\n", kind);
      else
        line(b, "cell_block_%s(fold, %d);\n", kind, note->area);
      for (int i = 0; i < n; i++) line(b, "x%d = fold[%d];\n", which[i], i);
      b->depth--;
      line(b, "}\n");
      for (int i = 0; i < n; i++) {
        if (!value(b, which[i])->scalar) continue;
        if (reduce == CELL_SUM)
          line(b, "x%d += q%d;\n", which[i], which[i]);
        else
          line(b, "x%d = cell_max(x%d, q%d);\n", which[i], which[i], which[i]);
      }
      n = 0;
    }
  }
  for (int f = 0; f < note->fold_count; f++) {
    int i = note->folds[f];
    const CellCudaValue *v = value(b, i);
    if (v->def->reduce != CELL_ARGMAX) continue;
    if (!warp && groups++ > 0) line(b, "cell_barrier();\n");
    line(b, "{\n");
    b->depth++;
    line(b, "float best = p%d;\n", i);
    line(b, "int where = w%d;\n", i);
    if (warp)
      line(b, "cell_warp_argmax(best, where);\n");
    else
      line(b, "cell_block_argmax(best, where, %d);\n", note->area);
    if (v->scalar) line(b, "cell_better(q%d, y%d, best, where);\n", i, i);
    line(b, "x%d = where;\n", i);
    b->depth--;
    line(b, "}\n");
  }
}

// ---- memory ----

static void emit_load(Body *b, const CellStmt *s) {
  if (b->sum && s->buffer.scratch == b->sum->scratch && s->buffer.index == b->sum->index) {
    line(b, "const float x%d = sum;\n", s->value);
    return;
  }
  const char *name = name_of(b, s->buffer), *at = affine(b, &s->index);
  CellDtype dtype = dtype_of(b, s->buffer);
  if (dtype == CELL_BITS)
    line(b, "const float x%d = cell_bit(%s, %s);\n", s->value, name, at);
  else
    line(b, "const %s x%d = %s[%s];\n", dtype == CELL_I ? "int" : "float", s->value, name, at);
}

static void emit_store(Body *b, const CellStmt *s, bool own) {
  const char *name = name_of(b, s->buffer), *at = affine(b, &s->index);
  const char *guard = own                    ? ""
                      : b->team == TEAM_WARP ? "if (cell_lane() == 0) "
                                             : "if (cell_thread() == 0) ";
  const char *place = cell_arena_printf(b->c->arena, "%s[%s]", name, at);
  CellCudaNote *note = cell_cuda_note(b->c, s);
  if (note->kept) {
    // the word stays in a register until the turned loop ends
    place = cell_arena_printf(b->c->arena, "kept%d", note->kept);
    guard = "";
  }
  if (!s->add)
    line(b, "%s%s = x%d;\n", guard, place, s->args[0]);
  else if (value(b, s->args[0])->fused)
    line(b, "%s%s = %s;\n", guard, place, fused(b, s->args[0], "", place));
  else
    line(b, "%s%s = %s + x%d;\n", guard, place, place, s->args[0]);
}

// the slow way, for products that share a kernel with sweeps
static void emit_contract(Body *b, const CellStmt *s) {
  const char *type = index_type(b);
  line(b, "{\n");
  b->depth++;
  const int64_t extent[2] = {s->m, s->n}, limit[2] = {s->m_limit, s->n_limit};
  const CellAffine *begin[2] = {&s->m_begin, &s->n_begin};
  for (int i = 0; i < 2; i++) {
    line(b, "%s %s = %lld;\n", type, i ? "columns" : "rows", (long long)extent[i]);
    if (limit[i] > 0)
      line(b, "if (%lld - (%s) < %s) %s = %lld - (%s);\n", (long long)limit[i], affine(b, begin[i]),
           i ? "columns" : "rows", i ? "columns" : "rows", (long long)limit[i],
           affine(b, begin[i]));
  }
  line(b, "for (%s e = cell_thread(); e < rows * columns; e += CELL_THREADS) {\n", type);
  b->depth++;
  line(b, "const %s m = e / columns, n = e %% columns;\n", type);
  line(b, "float sum = 0.0f;\n");
  line(b, "for (%s k = 0; k < %lld; k++) {\n", type, (long long)s->k);
  b->depth++;
  const CellView *views[2] = {&s->a, &s->b};
  for (int i = 0; i < 2; i++) {
    const CellView *v = views[i];
    const char *at =
        cell_arena_printf(b->c->arena, "%s + %lld * %s + %lld * k", affine(b, &v->base),
                          (long long)v->row_stride, i ? "n" : "m", (long long)v->k_stride);
    if (dtype_of(b, v->buffer) == CELL_BITS)
      line(b, "const float %s = cell_bit(%s, %s);\n", i ? "y" : "x", name_of(b, v->buffer), at);
    else
      line(b, "const float %s = %s[%s];\n", i ? "y" : "x", name_of(b, v->buffer), at);
  }
  line(b, "sum = cell_fma(x, y, sum);\n");
  b->depth--;
  line(b, "}\n");
  const char *place = cell_arena_printf(b->c->arena, "%s[%s + %lld * m + %lld * n]",
                                        name_of(b, s->out.buffer), affine(b, &s->out.base),
                                        (long long)s->out.row_stride, (long long)s->out.k_stride);
  if (s->add)
    line(b, "%s = %s + sum;\n", place, place);
  else
    line(b, "%s = sum;\n", place);
  b->depth--;
  line(b, "}\n");
  b->depth--;
  line(b, "}\n");
}

// ---- loops ----

static void emit_stmt(Body *b, const CellStmt *s, bool own);
static void emit_list(Body *b, const CellStmt *s, bool own);

static void open_loop(Body *b, const CellStmt *s, const char *first, const char *step) {
  const char *type = index_type(b), *begin = affine(b, &s->begin);
  CellAffine last = s->begin;
  last.base += s->extent;
  if (s->limit <= 0 && s->extent == 1 && !first) {
    line(b, "{\n");
    b->depth++;
    line(b, "const %s v%d = %s;\n", type, s->var, begin);
    return;
  }
  const char *end = affine(b, &last);
  if (s->limit > 0) {
    line(b, "const %s e%d = %s < %lld ? %s : %lld;\n", type, s->var, end, (long long)s->limit, end,
         (long long)s->limit);
    end = cell_arena_printf(b->c->arena, "e%d", s->var);
  }
  if (first)
    line(b, "for (%s v%d = %s%s%s; v%d < %s; v%d += %s) {\n", type, s->var,
         strcmp(begin, "0") == 0 ? "" : begin, strcmp(begin, "0") == 0 ? "" : " + ", first, s->var,
         end, s->var, step);
  else
    line(b, "for (%s v%d = %s; v%d < %s; v%d++) {\n", type, s->var, begin, s->var, end, s->var);
  b->depth++;
}

static void close_loop(Body *b) {
  b->depth--;
  line(b, "}\n");
}

static void open_spread(Body *b, const CellStmt *s, bool own) {
  if (own || b->team == TEAM_THREAD)
    open_loop(b, s, NULL, NULL);
  else if (b->team == TEAM_WARP)
    open_loop(b, s, "cell_lane()", "32");
  else
    open_loop(b, s, "cell_thread()", "CELL_THREADS");
}

static void emit_turned(Body *b, const CellStmt *s) {
  const CellStmt *lanes = cell_cuda_turned(s);
  open_spread(b, lanes, false);
  for (const CellStmt *t = lanes->body; t; t = t->next) {
    CellCudaNote *note = cell_cuda_note(b->c, t);
    if (note->kept)
      line(b, "float kept%d = %s[%s];\n", note->kept, name_of(b, t->buffer), affine(b, &t->index));
  }
  open_loop(b, s, NULL, NULL);
  for (const CellStmt *t = s->body; t != lanes; t = t->next) emit_stmt(b, t, true);
  emit_list(b, lanes->body, true);
  close_loop(b);
  for (const CellStmt *t = lanes->body; t; t = t->next) {
    CellCudaNote *note = cell_cuda_note(b->c, t);
    if (note->kept)
      line(b, "%s[%s] = kept%d;\n", name_of(b, t->buffer), affine(b, &t->index), note->kept);
  }
  close_loop(b);
}

static void emit_loop(Body *b, const CellStmt *s, bool own) {
  CellSpread spread = own ? CELL_SPREAD_NONE : cell_cuda_note(b->c, s)->spread;
  Team team = b->team;
  switch (spread) {
  case CELL_SPREAD_WARPS:
    open_loop(b, s, "cell_warp()", "CELL_WARPS");
    b->team = TEAM_WARP;
    emit_list(b, s->body, false);
    b->team = team;
    close_loop(b);
    break;
  case CELL_SPREAD_THREADS:
    open_spread(b, s, false);
    emit_list(b, s->body, true);
    close_loop(b);
    break;
  case CELL_SPREAD_TURNED: emit_turned(b, s); break;
  case CELL_SPREAD_NONE:
    if (s->loop == CELL_LOOP_UNROLL && s->extent > 1 && s->limit <= 0) line(b, "CELL_UNROLL\n");
    if (s->loop == CELL_LOOP_LANES)
      open_spread(b, s, own);
    else
      open_loop(b, s, NULL, NULL);
    emit_list(b, s->body, own || s->loop == CELL_LOOP_LANES);
    close_loop(b);
    break;
  }
}

// a comment where the .cell file's line changes
static void note_place(Body *b, const CellStmt *s) {
  const char *place = cell_cuda_place(b->c->arena, b->c->sources, s->span);
  if (!place || s->kind == CELL_K_CONST || (b->place && strcmp(place, b->place) == 0)) return;
  line(b, "// %s\n", place);
  b->place = place;
}

// own: the statement is one thread's
static void emit_stmt(Body *b, const CellStmt *s, bool own) {
  note_place(b, s);
  switch (s->kind) {
  case CELL_K_LOOP: emit_loop(b, s, own); break;
  case CELL_K_CONST:
    if (s->dtype == CELL_I)
      line(b, "const int x%d = %lld;\n", s->value, (long long)s->number);
    else
      line(b, "const float x%d = %s;\n", s->value, number(b, s->number));
    break;
  case CELL_K_VAR: line(b, "const int x%d = (int)(%s);\n", s->value, affine(b, &s->index)); break;
  case CELL_K_LOAD: emit_load(b, s); break;
  case CELL_K_LET: emit_let(b, s); break;
  case CELL_K_ACC: emit_acc(b, s); break;
  case CELL_K_UPDATE: emit_update(b, s, own); break;
  case CELL_K_STORE: emit_store(b, s, own); break;
  case CELL_K_CONTRACT: emit_contract(b, s); break;
  }
}

static void emit_list(Body *b, const CellStmt *s, bool own) {
  for (; s; s = s->next) {
    const CellCudaNote *note = cell_cuda_note(b->c, s);
    if (!own && note->barrier)
      line(b, b->team == TEAM_WARP ? "cell_warp_barrier();\n" : "cell_barrier();\n");
    if (!own && note->fold_count > 0) emit_folds(b, note);
    emit_stmt(b, s, own);
  }
}

void cell_cuda_body(CellCudaSchedule *c, const char *name, const char *const *args, CellText *out) {
  const CellKernel *k = c->k;
  Body b = {.c = c, .k = k, .args = args, .out = out, .depth = 1, .team = TEAM_BLOCK};
  cell_text_printf(out, "CELL_FUNCTION void %s(const int task", name);
  if (c->workspace_words > 0) cell_text_printf(out, ", float *workspace");
  for (int i = 0; i < k->arg_count; i++) {
    static const char *const types[] = {[CELL_F] = "float", [CELL_I] = "int"};
    if (k->args[i] == CELL_BITS)
      cell_text_printf(out, ", CellBits %s", args[i]);
    else
      cell_text_printf(out, ", %s<%s> %s", k->written[i] ? "CellOut" : "CellIn", types[k->args[i]],
                       args[i]);
  }
  cell_text_printf(out, ") {\n");
  for (int i = 0; i < k->scratch_count; i++) {
    const CellScratch *s = &k->scratch[i];
    const char *type = s->dtype == CELL_I ? "int" : "float";
    if (c->shared[i] >= 0)
      line(&b, "CellShared<%s> s%d = cell_shared<%s>(%lld, %lld);", type, i, type,
           (long long)c->shared[i], (long long)s->count);
    else
      line(&b, "CellOut<%s> s%d = cell_workspace<%s>(workspace, task * %lldLL + %lld, %lld);", type,
           i, type, (long long)c->workspace_words, (long long)c->workspace[i], (long long)s->count);
    cell_text_printf(out, "%s%s\n", s->name && *s->name ? " // " : "", s->name ? s->name : "");
  }
  line(&b, "const %s v0 = task;\n", index_type(&b));
  emit_list(&b, k->body, false);
  cell_text_printf(out, "}\n\n");
}

// ---- a product's tail ----

// what stands before a nest's lanes, and in them, for the entry (m + row, n + column)
static void emit_entry(Body *b, const CellStmt *rows, const CellStmt *lanes) {
  const char *type = index_type(b);
  if (rows != lanes)
    line(b, "const %s v%d = %s + m + row;\n", type, rows->var, affine(b, &rows->begin));
  line(b, "const %s v%d = n + column;\n", type, lanes->var);
  for (const CellStmt *t = rows == lanes ? lanes : rows->body; t != lanes; t = t->next)
    emit_stmt(b, t, true);
  emit_list(b, lanes->body, true);
}

static void open_entries(Body *b) {
  line(b, "sum.each(rows, columns, [&](int row, int column, const float sum) {\n");
  b->depth++;
}

static void close_entries(Body *b) {
  b->depth--;
  line(b, "});\n");
}

// what every thread made of its entries, folded; `area` alternates, so that folds need no barrier between them
static void emit_tile_sum(Body *b, const CellCudaProduct *p, const CellStmt *s, int area) {
  const CellStmt *rows, *lanes = cell_cuda_tile_sum(s, &rows), *acc = s->body;
  line(b, "{\n");
  b->depth++;
  line(b, "const %s v%d = n / %d;\n", index_type(b), s->var, p->columns);
  emit_acc(b, acc);
  for (const CellStmt *t = p->tail; t != s; t = t->next)
    if (cell_cuda_is_plain(t)) emit_stmt(b, t, true);
  open_entries(b);
  emit_entry(b, rows, lanes);
  close_entries(b);
  const char *part = value(b, acc->value)->partial ? "p" : "x";
  line(b, "float fold[1] = {%s%d};\n", part, acc->value);
  line(b, "cell_block_sum(fold, %d);\n", area);
  line(b, "if (cell_thread() == 0) %s[%s] = fold[0];\n", name_of(b, rows->next->buffer),
       affine(b, &rows->next->index));
  b->depth--;
  line(b, "}\n");
}

void cell_cuda_tail(CellCudaSchedule *c, const CellCudaProduct *p, const char *const *args,
                    CellText *out) {
  Body b = {.c = c, .k = c->k, .args = args, .out = out, .depth = 1, .team = TEAM_THREAD};
  b.sum = &c->k->body->out.buffer;
  const CellStmt *rows;
  bool entries = false;
  for (const CellStmt *s = p->tail; s; s = s->next)
    entries |= s->kind == CELL_K_LOOP && !cell_cuda_tile_sum(s, &rows);
  if (entries) open_entries(&b);
  for (const CellStmt *s = p->tail; s && entries; s = s->next) {
    if (cell_cuda_is_plain(s)) {
      emit_stmt(&b, s, true);
      continue;
    }
    if (cell_cuda_tile_sum(s, &rows)) continue;
    line(&b, "{\n");
    b.depth++;
    emit_entry(&b, s, s->loop == CELL_LOOP_LANES ? s : cell_cuda_turned(s));
    b.depth--;
    line(&b, "}\n");
  }
  if (entries) close_entries(&b);
  int sums = 0;
  for (const CellStmt *s = p->tail; s; s = s->next)
    if (s->kind == CELL_K_LOOP && cell_cuda_tile_sum(s, &rows)) emit_tile_sum(&b, p, s, sums++ % 2);
}
