/* ops.c - the op table, made from ops.def. */
#include <assert.h>

#include "ir/ir.h"

const CellOpInfo cell_op_info[CELL_OP_COUNT] = {
#define SCALAR(ENUM, text, arity, flops, sentence)                                                 \
  [CELL_OP_##ENUM] = {text, sentence, arity, true, flops},
#define OP(ENUM, text, arity, sentence) [CELL_OP_##ENUM] = {text, sentence, arity, false, 0},
#include "ir/ops.def"
};

/* a row more or less shows here: then shape.c, eval.c, the derivative rules and counts.c follow */
static const char *const names[] = {
#define SCALAR(ENUM, text, arity, flops, sentence) text,
#define OP(ENUM, text, arity, sentence) text,
#include "ir/ops.def"
};
static_assert(sizeof names / sizeof *names == CELL_OP_COUNT, "one row an op");
static_assert(CELL_OP_COUNT == 43, "ops.def changed: visit every place that its head names");
