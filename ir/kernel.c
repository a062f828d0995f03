/* kernel.c - the builder of kernels: statements and affine indices. */
#include "ir/kernel.h"

#include <string.h>

#include <stddef.h>

CellStmt *cell_stmt(CellKernel *k, CellStmt ***tail, CellStmtKind kind) {
  // most statements are no products, whose part is three quarters of the struct
  size_t size = kind == CELL_K_CONTRACT ? sizeof(CellStmt) : offsetof(CellStmt, a);
  CellStmt *s = cell_arena_alloc(k->arena, size);
  s->kind = kind;
  s->value = s->var = s->end_var = -1;
  s->span = CELL_NOWHERE;
  for (int i = 0; i < 3; i++) s->args[i] = -1;
  s->index.loaded = s->begin.loaded = -1;
  if (kind == CELL_K_CONTRACT) {
    s->m_begin.loaded = s->n_begin.loaded = -1;
    s->a.base.loaded = s->b.base.loaded = s->out.base.loaded = -1;
    s->u.base.loaded = s->v.base.loaded = s->a_all.loaded = -1;
  }

  // what gives a value or a variable gets the next number
  switch (kind) {
  case CELL_K_CONST:
  case CELL_K_VAR:
  case CELL_K_LOAD:
  case CELL_K_LET:
  case CELL_K_ACC: s->value = k->value_count++; break;
  case CELL_K_LOOP:
    if (k->var_count == 0) k->var_count = 1; // variable 0 is the task's number
    s->var = k->var_count++;
    break;
  default: break;
  }
  if (kind == CELL_K_VAR) s->dtype = CELL_I;

  **tail = s;
  *tail = &s->next;
  return s;
}

CellStmt *cell_stmt_copy(CellKernel *k, const CellStmt *s) {
  CellStmt *list = NULL, **tail = &list, *copy = cell_stmt(k, &tail, s->kind);
  copy->span = s->span, copy->dtype = s->dtype, copy->op = s->op, copy->number = s->number;
  copy->reduce = s->reduce, copy->buffer = s->buffer, copy->index = s->index, copy->add = s->add;
  memcpy(copy->args, s->args, sizeof copy->args);
  if (s->kind == CELL_K_UPDATE) copy->value = s->value;
  return copy;
}

int cell_stmt_arg_count(const CellStmt *s) {
  return s->kind == CELL_K_LET                                 ? cell_op_info[s->op].arity
         : s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE ? 1
                                                               : 0;
}

CellAffine cell_affine_var(int var, int64_t coef) {
  CellAffine a = cell_affine(0);
  if (coef != 0) {
    a.term_count = 1;
    a.terms[0].var = var;
    a.terms[0].coef = coef;
  }
  return a;
}

// terms are kept in ascending order of their variables and are never 0, so equal indices look equal
CellAffine cell_affine_add(CellAffine a, CellAffine b) {
  CellAffine sum = cell_affine(a.base + b.base);
  int i = 0, j = 0;
  while (i < a.term_count || j < b.term_count) {
    bool from_a = j >= b.term_count || (i < a.term_count && a.terms[i].var <= b.terms[j].var);
    bool from_b = i >= a.term_count || (j < b.term_count && b.terms[j].var <= a.terms[i].var);
    int var = from_a ? a.terms[i].var : b.terms[j].var;
    int64_t coef = 0;
    if (from_a) coef += a.terms[i++].coef;
    if (from_b) coef += b.terms[j++].coef;
    if (coef == 0) continue;
    CELL_ASSERT(sum.term_count < CELL_MAX_TERMS);
    sum.terms[sum.term_count].var = var;
    sum.terms[sum.term_count].coef = coef;
    sum.term_count++;
  }

  CELL_ASSERT(a.loaded < 0 || b.loaded < 0 || a.loaded == b.loaded);
  sum.loaded = a.loaded >= 0 ? a.loaded : b.loaded;
  sum.loaded_coef = (a.loaded >= 0 ? a.loaded_coef : 0) + (b.loaded >= 0 ? b.loaded_coef : 0);
  if (sum.loaded_coef == 0) sum.loaded = -1;
  return sum;
}

CellAffine cell_affine_scale(CellAffine a, int64_t by) {
  if (by == 0) return cell_affine(0);
  a.base *= by;
  for (int i = 0; i < a.term_count; i++) a.terms[i].coef *= by;
  if (a.loaded >= 0) a.loaded_coef *= by;
  return a;
}

int64_t cell_affine_coef(const CellAffine *a, int var) {
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var == var) return a->terms[i].coef;
  return 0;
}

CellAffine cell_affine_put(CellAffine a, int var, CellAffine by) {
  int64_t coef = cell_affine_coef(&a, var);
  if (coef == 0) return a;
  a = cell_affine_add(a, cell_affine_var(var, -coef));
  return cell_affine_add(a, cell_affine_scale(by, coef));
}

CellAffine cell_loop_place(const CellStmt *loop) {
  return cell_affine_add(cell_affine_var(loop->var, 1), cell_affine_scale(loop->begin, -1));
}

int cell_scratch_add(CellKernel *k, CellDtype dtype, int64_t count, const char *name) {
  CellScratch s = {.dtype = dtype, .count = count, .offset = k->scratch_bytes, .name = name};
  k->scratch_bytes += (count * 4 + 63) / 64 * 64;
  CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
  return k->scratch_count - 1;
}

bool cell_affine_equal(const CellAffine *a, const CellAffine *b) {
  if (a->base != b->base || a->term_count != b->term_count || a->loaded != b->loaded) return false;
  if (a->loaded >= 0 && a->loaded_coef != b->loaded_coef) return false;
  for (int i = 0; i < a->term_count; i++)
    if (a->terms[i].var != b->terms[i].var || a->terms[i].coef != b->terms[i].coef) return false;
  return true;
}

bool cell_same_buffer(CellBufferRef a, CellBufferRef b) {
  return a.scratch == b.scratch && a.index == b.index;
}
