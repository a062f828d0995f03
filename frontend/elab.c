/* elab.c - messages of elaboration, in the words of the file, and the limits on sizes and work. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/value.h"

/* ---- messages ---- */

int cell_line(const CellDiag *diag, CellSpan span) {
  int line = 0, column = 0;
  if (span.file >= 0) cell_diag_position(diag, span, &line, &column);
  return line;
}

/* whether this place in a cell's body has this message already, from another instance */
static bool was_reported(CellElab *elab, const char *code, CellSpan span) {
  for (int i = 0; i < elab->reported_count; i++) {
    CellSpan old = elab->reported[i];
    if (old.file == span.file && old.begin == span.begin && old.end == span.end &&
        strcmp(elab->reported_codes[i], code) == 0)
      return true;
  }
  int capacity = elab->reported_capacity;
  CELL_PUSH(elab->arena, elab->reported_codes, elab->reported_count, capacity, code);
  elab->reported_count--;
  CELL_PUSH(elab->arena, elab->reported, elab->reported_count, elab->reported_capacity, span);
  return false;
}

static CellRecord *complain(const CellContext *c, const char *code, CellSpan span,
                            const char *message) {
  CellElab *elab = c->elab;
  elab->failed = true;
  elab->scratch = (CellRecord){0};
  if (elab->muted) return &elab->scratch;

  /* inside the prelude the file's own call is what the user can change */
  const char *inside = NULL;
  int prelude = elab->spec->prelude ? elab->spec->prelude->source : -1;
  for (const CellCallSite *call = c->calls; call && span.file == prelude; call = call->up) {
    inside = call->name;
    span = call->span;
  }
  if (c->cell >= 0 && was_reported(elab, code, span)) return &elab->scratch;
  CellRecord *record = cell_error(elab->diag, code, span, "%s", message);
  if (inside) cell_relate(elab->diag, record, CELL_NOWHERE, "inside %s of the prelude", inside);
  if (c->cell >= 0 && c->where == CELL_IN_BODY) {
    const CellPlaced *cell = &elab->cells[c->cell];
    cell_relate(elab->diag, record, CELL_NOWHERE, "in %s, line %d", cell->name,
                cell_line(elab->diag, cell->span));
  }
  return record;
}

CellRecord *cell_complain(const CellContext *c, const char *code, CellSpan span, const char *format,
                          ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *message = cell_arena_vprintf(c->elab->arena, format, arguments);
  va_end(arguments);
  return complain(c, code, span, message);
}

CellRecord *cell_not_supported(const CellContext *c, const char *code, CellSpan span,
                               const char *what) {
  return complain(c, code, span, cell_arena_printf(c->elab->arena, "not supported yet: %s", what));
}

void cell_help_nearest(CellDiag *diag, CellRecord *record, const char *name,
                       const char *const *names, int count) {
  const char *near = cell_nearest(name, names, count);
  if (near) cell_help(diag, record, "did you mean `%s`?", near);
}

void cell_point(const CellContext *c, CellRecord *record, CellSpan span, const char *format, ...) {
  CellElab *elab = c->elab;
  if (record == &elab->scratch) return;
  int before = record->related_count;
  if (format) {
    va_list arguments;
    va_start(arguments, format);
    const char *text = cell_arena_vprintf(elab->arena, format, arguments);
    va_end(arguments);
    cell_relate(elab->diag, record, span, "%s", text);
  } else {
    cell_relate(elab->diag, record, span, NULL);
  }
  if (record->related_count == before) return;
  /* places come before "in l1, line 18" */
  CellRelated added = record->related[before];
  int at = before;
  for (; at > 0 && record->related[at - 1].span.file < 0; at--)
    record->related[at] = record->related[at - 1];
  record->related[at] = added;
}

void cell_explain_operand(const CellContext *c, CellRecord *record, const CellExpr *expr,
                          CellDatum value) {
  if (record == &c->elab->scratch) return;
  while (expr->kind == CELL_EXPR_TRANSPOSE || expr->kind == CELL_EXPR_NEGATE) expr = expr->operand;
  if (expr->kind != CELL_EXPR_NAME) return;
  CellDatum bound;
  CellSpan span;
  if (!cell_find_binding(c, expr->name, &bound, &span) || span.file < 0) return;
  if (c->elab->spec->prelude && span.file == c->elab->spec->prelude->source) return;
  if (bound.kind == CELL_IS_ERROR) bound = value;
  cell_point(c, record, span, "%s is %s, from here", expr->name, cell_describe(c, bound));
}

const char *cell_shape_text(CellArena *arena, int rank, const int32_t *shape) {
  if (rank == 0) return "a scalar";
  char text[80];
  int length = snprintf(text, sizeof text, "[");
  for (int i = 0; i < rank; i++)
    length +=
        snprintf(text + length, sizeof text - (size_t)length, "%s%d", i ? ", " : "", (int)shape[i]);
  snprintf(text + length, sizeof text - (size_t)length, "]");
  return cell_arena_strdup(arena, text);
}

const char *cell_describe(const CellContext *c, CellDatum d) {
  CellArena *arena = c->elab->arena;
  switch (d.kind) {
  case CELL_IS_ERROR: return "in error";
  case CELL_IS_ABSENT: return "not connected";
  case CELL_IS_NONE: return "none";
  case CELL_IS_NUMBER: return cell_arena_printf(arena, "the number %.10g", d.number);
  case CELL_IS_BOOL: return d.truth ? "true" : "false";
  case CELL_IS_UNKNOWN: return "of a shape not known yet";
  case CELL_IS_FUNCTION: return cell_arena_printf(arena, "the function %s", d.function.name);
  case CELL_IS_INIT: return "an initialisation";
  case CELL_IS_LIST: return cell_arena_printf(arena, "a list of %d", d.list.count);
  case CELL_IS_CELL: return cell_arena_printf(arena, "the cell %s", c->elab->cells[d.index].name);
  case CELL_IS_BLOCK:
    return cell_arena_printf(arena, "the block %s", c->elab->blocks[d.index].name);
  case CELL_IS_TENSOR: {
    int32_t shape[CELL_MAX_RANK + 1];
    int rank = cell_view_shape(c, d.tensor, shape);
    return cell_shape_text(arena, rank, shape);
  }
  }
  return "";
}

/* ---- limits ---- */

bool cell_size_ok(const CellContext *c, CellSpan span, int rank, const int32_t *shape) {
  CellElab *elab = c->elab;
  int64_t entries = 1;
  for (int i = 0; i < rank; i++) {
    entries *= shape[i];
    if (entries <= elab->largest) continue;
    CellRecord *r = cell_complain(c, "E0308", span, "a value of shape %s is too large",
                                  cell_shape_text(elab->arena, rank, shape));
    if (elab->largest == CELL_MAX_SAMPLE)
      cell_help(elab->diag, r, "a value of one sample may have %lld entries",
                (long long)CELL_MAX_SAMPLE);
    else
      cell_help(elab->diag, r,
                "with batch %d, %d actions and context %d a value of one sample may have %lld "
                "entries",
                (int)elab->spec->train.batch, (int)elab->shapes->actions,
                (int)elab->spec->train.context, (long long)elab->largest);
    return false;
  }
  return true;
}

bool cell_work_ok(const CellContext *c, CellSpan span) {
  CellElab *elab = c->elab;
  bool many =
      ++elab->work > CELL_MAX_WORK || (c->stage && c->stage->g->node_count > CELL_MAX_VALUES);
  if (!many) return true;
  /* once: everything behind it fails the same way */
  if (elab->work < 2 * CELL_MAX_WORK) {
    elab->work = 2 * (int64_t)CELL_MAX_WORK;
    CellRecord *r = cell_complain(c, "E0206", span, "the network is too large to be compiled");
    cell_help(elab->diag, r,
              "a program may have %d values, and functions are written out where they are called",
              CELL_MAX_VALUES);
  }
  elab->failed = true;
  return false;
}
