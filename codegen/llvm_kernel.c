/* llvm_kernel.c - the generic lowering of loop trees.
 *
 * A lanes loop runs over full vectors, then once more under a mask. A value is a scalar, or one or
 * more lane vectors if it depends on the lane variable: short bodies take `unroll` vectors an
 * iteration, each with its own partials of the accumulators, so that no chain of additions bounds
 * the loop. An accumulator that lanes update stays a vector of partials until the first statement
 * that reads it and does not update it; all that are due there are folded together.
 *
 * A multiplication whose only use is an addition, subtraction, update or adding store of the same
 * body becomes one with it (fma). That is decided from the kernel's text alone. */
#include "codegen/llvm_lower.h"

#include <string.h>

// ---- what the text says ----

static bool reads(const CellStmt *s, int value, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->index.loaded == value || s->begin.loaded == value) return true;
    if (s->kind == CELL_K_CONTRACT &&
        (s->a.base.loaded == value || s->b.base.loaded == value || s->out.base.loaded == value ||
         s->u.base.loaded == value || s->v.base.loaded == value || s->m_begin.loaded == value ||
         s->n_begin.loaded == value))
      return true;
    if (s->kind == CELL_K_LET || s->kind == CELL_K_STORE || s->kind == CELL_K_UPDATE)
      for (int i = 0; i < 3; i++)
        if (s->args[i] == value) return true;
    if (s->kind == CELL_K_LOOP && reads(s->body, value, true)) return true;
  }
  return false;
}

static bool updates(const CellStmt *s, int value, bool list) {
  for (; s; s = list ? s->next : NULL) {
    if (s->kind == CELL_K_UPDATE && s->value == value) return true;
    if (s->kind == CELL_K_LOOP && updates(s->body, value, true)) return true;
  }
  return false;
}

static int arity(const CellStmt *s) {
  return s->kind == CELL_K_LET ? cell_op_info[s->op].arity : 1;
}

static void count_use(CellLower *l, int value) {
  if (value >= 0) l->values[value].uses++;
}

// definitions, uses, and which accumulators lanes update. `lane_depth` is the number of values
// defined before the lanes loop around, or -1 outside
static void survey(CellLower *l, const CellStmt *s, bool in_lanes) {
  for (; s; s = s->next) {
    if (s->value >= 0 && s->kind != CELL_K_UPDATE) {
      l->values[s->value].def = s;
      l->values[s->value].lanes = in_lanes; // of an accumulator: each lane has its own
    }
    count_use(l, s->index.loaded);
    switch (s->kind) {
    case CELL_K_LOOP:
      count_use(l, s->begin.loaded);
      survey(l, s->body, in_lanes || s->loop == CELL_LOOP_LANES);
      break;
    case CELL_K_UPDATE:
      count_use(l, s->args[0]);
      if (in_lanes && !l->values[s->value].lanes)
        l->values[s->value].partial = true;
      else
        l->values[s->value].scalar_updates = true;
      break;
    case CELL_K_LET:
    case CELL_K_STORE:
      for (int i = 0; i < arity(s); i++) count_use(l, s->args[i]);
      break;
    default: break;
    }
  }
}

// the multiplication of this body that a statement may take over: its argument `i`, or -1
static int fusable(const CellLower *l, const CellStmt *body, const CellStmt *s) {
  int first = 0, count = 0;
  if (s->kind == CELL_K_LET && s->dtype == CELL_F && (s->op == CELL_OP_ADD || s->op == CELL_OP_SUB))
    count = 2;
  if (s->kind == CELL_K_UPDATE && s->reduce == CELL_SUM) count = 1;
  if (s->kind == CELL_K_STORE && s->add) count = 1;
  for (int i = first; i < count; i++) {
    const CellLowerValue *v = &l->values[s->args[i]];
    if (!v->def || v->uses != 1 || v->fused || v->def->kind != CELL_K_LET ||
        v->def->op != CELL_OP_MUL || v->def->dtype != CELL_F)
      continue;
    // an accumulator that it reads must not change in between
    const CellStmt *d = body;
    while (d != s && d != v->def) d = d->next;
    bool safe = d == v->def;
    for (; safe && d != s; d = d->next)
      for (int j = 0; j < 2; j++) safe = safe && !updates(d, v->def->args[j], false);
    if (safe) return i;
  }
  return -1;
}

static void choose_fused(CellLower *l, const CellStmt *body) {
  for (const CellStmt *s = body; s; s = s->next) {
    int i = fusable(l, body, s);
    if (i >= 0) l->values[s->args[i]].fused = true;
    if (s->kind == CELL_K_LOOP) choose_fused(l, s->body);
  }
}

// instructions that one lane of a body takes, about
static int cost(const CellStmt *s) {
  int sum = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LET)
      sum += cell_op_info[s->op].flops;
    else if (s->kind == CELL_K_LOOP)
      sum += (s->loop == CELL_LOOP_UNROLL ? (int)s->extent : 8) * cost(s->body);
    else
      sum++;
    if (sum > 1000) return 1000;
  }
  return sum;
}

// sums that a body feeds
static int sums(const CellStmt *s) {
  int n = 0;
  for (; s; s = s->next) n += s->kind == CELL_K_UPDATE || (s->kind == CELL_K_LOOP && sums(s->body));
  return n;
}

// a function in as many vectors as its argument has: those in double would need too many registers side by side
static bool is_chain(CellOp op) {
  return op == CELL_OP_TANH || op == CELL_OP_EXP || op == CELL_OP_SIGMOID || op == CELL_OP_LOG;
}

static bool has_chain(const CellStmt *s) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LET && is_chain(s->op)) return true;
  return false;
}

// vectors an iteration: enough to hide the chain through an accumulator of a short body, but no more than
// there are registers for the copies of all accumulators
static int choose_unroll(const CellBuild *g, const CellStmt *loop) {
  int n = cost(loop->body);
  int unroll = n <= 60 ? 4 : 1, registers = g->isa == CELL_ISA_AVX512 ? 16 : 8;
  if (g->lanes == 1) unroll = n <= 8 ? 2 : 1;
  if (unroll > 2 && has_chain(loop->body)) unroll = 2; // a pair, see pair_functions
  while (unroll > 1 && unroll * sums(loop->body) > registers) unroll /= 2;
  while (unroll > 1 && loop->extent < unroll * g->lanes) unroll /= 2;
  // what is left behind the last whole iteration waits for its own chain: rather one vector more an iteration
  int64_t vectors = loop->extent / g->lanes;
  if (unroll == 4 && loop->limit <= 0 && vectors % 4 != 0 && vectors % 5 == 0 &&
      5 * sums(loop->body) <= registers)
    unroll = 5;
  return unroll;
}

// ---- accumulators ----

static LLVMValueRef identity(CellBuild *g, CellReduce reduce, LLVMTypeRef type) {
  if (reduce == CELL_SUM) return LLVMConstNull(type);
  return cell_ll_float(g, LLVMConstNull(type), -(double)__builtin_inff());
}

static void init_slots(CellBuild *g, CellReduce reduce, LLVMValueRef slot, LLVMValueRef where) {
  LLVMBuildStore(g->b, identity(g, reduce, LLVMGetAllocatedType(slot)), slot);
  if (where) LLVMBuildStore(g->b, LLVMConstNull(LLVMGetAllocatedType(where)), where);
}

static void emit_acc(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  CellLowerValue *v = &l->values[s->value];
  bool wide = v->lanes || v->partial, argmax = s->reduce == CELL_ARGMAX;
  int copies = v->partial ? v->copies : v->lanes ? l->unroll : 1;
  for (int u = 0; u < copies; u++) {
    v->slot[u] = cell_ll_alloca(g, wide ? g->vf : g->f32);
    v->where[u] = argmax ? cell_ll_alloca(g, wide ? g->vi : g->i32) : NULL;
    init_slots(g, s->reduce, v->slot[u], v->where[u]);
  }
  if (!v->partial) return;
  v->scalar = cell_ll_alloca(g, g->f32);
  v->scalar_where = argmax ? cell_ll_alloca(g, g->i32) : NULL;
  v->folded = cell_ll_alloca(g, argmax ? g->i32 : g->f32);
  init_slots(g, s->reduce, v->scalar, v->scalar_where);
  v->due = true;
}

// whether (x, at) comes before (best, where): larger, or as large and earlier. The value itself is the larger one
// either way, and taken by a comparison of its own: a choice between floats by this condition would be a jump
static LLVMValueRef better(CellBuild *g, LLVMValueRef x, LLVMValueRef at, LLVMValueRef best,
                           LLVMValueRef where) {
  LLVMValueRef larger = LLVMBuildFCmp(g->b, LLVMRealOGT, x, best, "");
  LLVMValueRef equal = LLVMBuildFCmp(g->b, LLVMRealOEQ, x, best, "");
  LLVMValueRef earlier = LLVMBuildICmp(g->b, LLVMIntSLT, at, where, "");
  return LLVMBuildOr(g->b, larger, LLVMBuildAnd(g->b, equal, earlier, ""), "");
}

// an affine index as i32, over the lanes if `wide`
static LLVMValueRef index_value(CellLower *l, const CellAffine *a, int u, bool wide) {
  CellBuild *g = l->g;
  LLVMValueRef x = LLVMBuildTrunc(g->b, cell_lower_affine(l, a, u), g->i32, "");
  if (!wide) return x;
  x = cell_ll_splat(g, x, g->lanes);
  if (cell_affine_coef(a, l->lane) != 0)
    x = LLVMBuildAdd(g->b, x, cell_ll_iota(g, g->lanes, cell_affine_coef(a, l->lane)), "");
  if (a->loaded >= 0 && l->values[a->loaded].lanes) {
    LLVMValueRef loaded = cell_lower_get(l, a->loaded, u, true);
    loaded = LLVMBuildMul(g->b, loaded, cell_ll_int(g, loaded, a->loaded_coef), "");
    x = LLVMBuildAdd(g->b, x, loaded, "");
  }
  return x;
}

static void emit_update(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  CellLowerValue *v = &l->values[s->value];
  const CellLowerValue *arg = &l->values[s->args[0]];
  bool wide = l->lane >= 0;
  for (int u = 0; u < (wide ? l->unroll : 1); u++) {
    bool scalar = v->partial && !wide;
    LLVMValueRef slot = scalar ? v->scalar : v->slot[u];
    LLVMValueRef where = scalar ? v->scalar_where : v->where[u];
    LLVMValueRef old = LLVMBuildLoad2(g->b, LLVMGetAllocatedType(slot), slot, ""), x;
    LLVMValueRef take = l->mask; // NULL: in every lane
    if (s->reduce == CELL_SUM) {
      x = arg->fused ? cell_ll_fma(g, cell_lower_get(l, arg->def->args[0], u, wide),
                                   cell_lower_get(l, arg->def->args[1], u, wide), old)
                     : LLVMBuildFAdd(g->b, old, cell_lower_get(l, s->args[0], u, wide), "");
    } else if (s->reduce == CELL_REDUCE_MAX) {
      x = cell_ll_combine(g, s->reduce, cell_lower_get(l, s->args[0], u, wide), old);
    } else {
      x = cell_lower_get(l, s->args[0], u, wide);
      LLVMValueRef at = index_value(l, &s->index, u, wide);
      LLVMValueRef old_at = LLVMBuildLoad2(g->b, LLVMGetAllocatedType(where), where, "");
      LLVMValueRef wins = better(g, x, at, old, old_at);
      if (take) wins = LLVMBuildAnd(g->b, wins, take, "");
      LLVMBuildStore(g->b, LLVMBuildSelect(g->b, wins, at, old_at, ""), where);
      x = cell_ll_combine(g, CELL_REDUCE_MAX, x, old);
    }
    if (take) x = LLVMBuildSelect(g->b, take, x, old, "");
    LLVMBuildStore(g->b, x, slot);
  }
}

// the partials of one accumulator as one vector (and its indices)
static LLVMValueRef join_copies(CellLower *l, const CellLowerValue *v, LLVMValueRef *where) {
  CellBuild *g = l->g;
  LLVMValueRef x = LLVMBuildLoad2(g->b, g->vf, v->slot[0], "");
  if (v->where[0]) *where = LLVMBuildLoad2(g->b, g->vi, v->where[0], "");
  for (int u = 1; u < v->copies; u++) {
    LLVMValueRef y = LLVMBuildLoad2(g->b, g->vf, v->slot[u], "");
    if (v->where[0]) {
      LLVMValueRef at = LLVMBuildLoad2(g->b, g->vi, v->where[u], "");
      LLVMValueRef wins = better(g, y, at, x, *where);
      x = cell_ll_combine(g, CELL_REDUCE_MAX, y, x);
      *where = LLVMBuildSelect(g->b, wins, at, *where, "");
    } else {
      x = cell_ll_combine(g, v->def->reduce, x, y);
    }
  }
  return x;
}

static void fold_argmax(CellLower *l, CellLowerValue *v) {
  CellBuild *g = l->g;
  LLVMValueRef where = NULL, x = join_copies(l, v, &where);
  LLVMValueRef best = LLVMBuildLoad2(g->b, g->f32, v->scalar, "");
  LLVMValueRef best_at = LLVMBuildLoad2(g->b, g->i32, v->scalar_where, "");
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef lane = LLVMConstInt(g->i32, (unsigned)i, false);
    LLVMValueRef y = g->lanes == 1 ? x : LLVMBuildExtractElement(g->b, x, lane, "");
    LLVMValueRef at = g->lanes == 1 ? where : LLVMBuildExtractElement(g->b, where, lane, "");
    LLVMValueRef wins = better(g, y, at, best, best_at);
    best = cell_ll_combine(g, CELL_REDUCE_MAX, y, best);
    best_at = LLVMBuildSelect(g->b, wins, at, best_at, "");
  }
  LLVMBuildStore(g->b, best_at, v->folded);
}

// folds all that are due and that `s` reads without updating them
static void fold_before(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  for (int reduce = CELL_SUM; reduce <= CELL_REDUCE_MAX; reduce++) {
    enum { AT_ONCE = 16 };
    int which[AT_ONCE], n = 0;
    LLVMValueRef vectors[AT_ONCE], scalars[AT_ONCE];
    for (int i = 0; i < l->k->value_count && n < AT_ONCE; i++) {
      const CellLowerValue *v = &l->values[i];
      if (v->partial && v->due && v->slot[0] && (int)v->def->reduce == reduce &&
          reads(s, i, false) && !updates(s, i, false))
        which[n++] = i;
    }
    for (int i = 0; i < n; i++) vectors[i] = join_copies(l, &l->values[which[i]], NULL);
    cell_ll_fold(g, (CellReduce)reduce, n, vectors, scalars);
    for (int i = 0; i < n; i++) {
      CellLowerValue *v = &l->values[which[i]];
      if (v->scalar_updates)
        scalars[i] = cell_ll_combine(g, (CellReduce)reduce, scalars[i],
                                     LLVMBuildLoad2(g->b, g->f32, v->scalar, ""));
      LLVMBuildStore(g->b, scalars[i], v->folded);
      v->due = false;
    }
    if (n == AT_ONCE) reduce--; // more of the same kind
  }
  for (int i = 0; i < l->k->value_count; i++) {
    CellLowerValue *v = &l->values[i];
    if (v->partial && v->due && v->slot[0] && v->def->reduce == CELL_ARGMAX && reads(s, i, false) &&
        !updates(s, i, false)) {
      fold_argmax(l, v);
      v->due = false;
    }
  }
}

// ---- statements ----

static LLVMValueRef integer_op(CellBuild *g, CellOp op, LLVMValueRef a, LLVMValueRef b,
                               LLVMValueRef c) {
  LLVMIntPredicate predicate = LLVMIntSLT;
  switch ((int)op) {
  case CELL_OP_ADD: return LLVMBuildAdd(g->b, a, b, "");
  case CELL_OP_SUB: return LLVMBuildSub(g->b, a, b, "");
  case CELL_OP_MUL: return LLVMBuildMul(g->b, a, b, "");
  case CELL_OP_MIN:
    return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, b, a, ""), b, a, "");
  case CELL_OP_MAX:
    return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, b, a, ""), b, a, "");
  case CELL_OP_FLOAT: return LLVMBuildSIToFP(g->b, a, LLVMTypeOf(cell_ll_float(g, a, 0)), "");
  case CELL_OP_WHERE: {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
    bool real = LLVMTypeOf(zero) != LLVMTypeOf(b);
    LLVMValueRef set = real ? LLVMBuildFCmp(g->b, LLVMRealUNE, a, zero, "")
                            : LLVMBuildICmp(g->b, LLVMIntNE, a, zero, "");
    return LLVMBuildSelect(g->b, set, b, c, "");
  }
  case CELL_OP_LE: predicate = LLVMIntSLE; break;
  case CELL_OP_EQ: predicate = LLVMIntEQ; break;
  case CELL_OP_NE: predicate = LLVMIntNE; break;
  default: break;
  }
  LLVMValueRef set = LLVMBuildICmp(g->b, predicate, a, b, "");
  return LLVMBuildSelect(g->b, set, cell_ll_float(g, a, 1), cell_ll_float(g, a, 0), "");
}

// moves what follows `last` to the block's end between the instructions from the one after `before` (NULL: the first) on
static void interleave(CellBuild *g, LLVMValueRef before, LLVMValueRef last) {
  LLVMBasicBlockRef block = LLVMGetInsertBlock(g->b);
  LLVMValueRef a = before ? LLVMGetNextInstruction(before) : LLVMGetFirstInstruction(block);
  for (LLVMValueRef b = LLVMGetNextInstruction(last), next; a != last && b; b = next) {
    next = LLVMGetNextInstruction(b), a = LLVMGetNextInstruction(a);
    LLVMInstructionRemoveFromParent(b);
    LLVMPositionBuilderBefore(g->b, a);
    LLVMInsertIntoBuilder(g->b, b);
  }
  LLVMPositionBuilderAtEnd(g->b, block);
}

// whether a statement reads a value, or a product that reads it
static bool needs(const CellLower *l, const CellStmt *s, int value) {
  for (int i = 0; i < arity(s); i++)
    if (s->args[i] == value ||
        (l->values[s->args[i]].fused && needs(l, l->values[s->args[i]].def, value)))
      return true;
  return false;
}

/* An elementary function is one long chain, which a core would have to read to its end before it comes to the next one's: two
 * of them that follow each other are done step by step together. `before`: the instruction before this one's. */
static void pair_functions(CellLower *l, const CellStmt *s, LLVMValueRef before) {
  CellLowerFunction *f = &l->function;
  LLVMBasicBlockRef block = LLVMGetInsertBlock(l->g->b);
  bool follows = f->stmt && f->block == block && f->last == before;
  if (follows && (f->stmt == s || !needs(l, s, f->stmt->value))) {
    interleave(l->g, f->before, f->last);
    f->stmt = NULL;
    return;
  }
  *f = (CellLowerFunction){s, block, before, LLVMGetLastInstruction(block)};
}

static void emit_let(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  CellLowerValue *v = &l->values[s->value];
  if (v->fused) return;
  int n = arity(s);
  v->lanes = false;
  for (int i = 0; i < n; i++) {
    const CellLowerValue *arg = &l->values[s->args[i]];
    v->lanes = v->lanes || arg->lanes;
    if (arg->fused)
      for (int j = 0; j < 2; j++) v->lanes = v->lanes || l->values[arg->def->args[j]].lanes;
  }

  for (int u = 0; u < (v->lanes ? l->unroll : 1); u++) {
    LLVMValueRef before = LLVMGetLastInstruction(LLVMGetInsertBlock(g->b));
    LLVMValueRef args[3] = {NULL, NULL, NULL};
    const CellStmt *product = NULL;
    int at = 0;
    for (int i = 0; i < n; i++) {
      if (l->values[s->args[i]].fused)
        product = l->values[s->args[i]].def, at = i;
      else
        args[i] = cell_lower_get(l, s->args[i], u, v->lanes);
    }
    if (product) {
      // x y + c, x y - c, c - x y
      LLVMValueRef x = cell_lower_get(l, product->args[0], u, v->lanes);
      LLVMValueRef y = cell_lower_get(l, product->args[1], u, v->lanes), c = args[1 - at];
      if (s->op == CELL_OP_SUB && at == 0) c = LLVMBuildFNeg(g->b, c, "");
      if (s->op == CELL_OP_SUB && at == 1) x = LLVMBuildFNeg(g->b, x, "");
      v->v[u] = cell_ll_fma(g, x, y, c);
      continue;
    }
    bool integers = l->values[s->args[n - 1]].def->dtype == CELL_I;
    v->v[u] = integers ? integer_op(g, s->op, args[0], args[1], args[2])
                       : cell_ll_scalar_op(g, s->op, args[0], args[1], args[2]);
    if (is_chain(s->op)) pair_functions(l, s, before);
  }
}

static void emit_load(CellLower *l, const CellStmt *s) {
  CellLowerValue *v = &l->values[s->value];
  v->lanes = cell_lower_varies(l, &s->index);
  if (!v->lanes) v->v[0] = cell_lower_load_scalar(l, s->buffer, &s->index);
  for (int u = 0; v->lanes && u < l->unroll; u++)
    v->v[u] = cell_lower_load(l, s->buffer, &s->index, u);
}

static void emit_var(CellLower *l, const CellStmt *s) {
  CellLowerValue *v = &l->values[s->value];
  v->lanes = cell_lower_varies(l, &s->index);
  for (int u = 0; u < (v->lanes ? l->unroll : 1); u++)
    v->v[u] = index_value(l, &s->index, u, v->lanes);
}

// ends: the statement, if its range may end before the limit
static LLVMValueRef clipped(CellLower *l, LLVMValueRef begin, int64_t extent, int64_t limit,
                            const CellStmt *ends) {
  LLVMValueRef end = cell_ll_add(l->g, begin, cell_ll_i64(l->g, extent));
  if (ends && ends->end_var >= 0)
    return cell_ll_min(l->g, end, cell_ll_mul(l->g, l->vars[ends->end_var], ends->end_scale));
  return limit > 0 ? cell_ll_min(l->g, end, cell_ll_i64(l->g, limit)) : end;
}

static void emit_contract(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  CellContract c = {.stmt = s};
  c.a_bits = cell_lower_dtype(l, s->a.buffer) == CELL_BITS;
  c.b_bits = cell_lower_dtype(l, s->b.buffer) == CELL_BITS;
  c.a = cell_lower_pointer(l, s->a.buffer), c.b = cell_lower_pointer(l, s->b.buffer);
  c.a_bit = cell_lower_affine(l, &s->a.base, 0), c.b_bit = cell_lower_affine(l, &s->b.base, 0);
  if (!c.a_bits) c.a = cell_ll_at(g, c.a, c.a_bit);
  if (!c.b_bits) c.b = cell_ll_at(g, c.b, c.b_bit);
  c.out =
      cell_ll_at(g, cell_lower_pointer(l, s->out.buffer), cell_lower_affine(l, &s->out.base, 0));
  c.u = c.v = LLVMConstNull(g->ptr);
  if (s->terms > 0) {
    c.u = cell_ll_at(g, cell_lower_pointer(l, s->u.buffer), cell_lower_affine(l, &s->u.base, 0));
    c.v = cell_ll_at(g, cell_lower_pointer(l, s->v.buffer), cell_lower_affine(l, &s->v.base, 0));
  }
  LLVMValueRef m = cell_lower_affine(l, &s->m_begin, 0), n = cell_lower_affine(l, &s->n_begin, 0);
  c.m = cell_ll_i64(g, s->m), c.n = cell_ll_i64(g, s->n);
  if (s->m_limit > 0) c.m = cell_ll_sub(g, clipped(l, m, s->m, s->m_limit, s), m);
  if (s->n_limit > 0) c.n = cell_ll_sub(g, clipped(l, n, s->n, s->n_limit, NULL), n);
  c.a_all = s->end_var >= 0 ? cell_lower_affine(l, &s->a_all, 0) : cell_ll_i64(g, 0);
  c.scratch = l->scratch_end;
  cell_ll_contract(g, &c);
}

static void emit_body(CellLower *l, const CellStmt *s);

// accumulators that lanes inside a loop update must be folded again after it, and, where the loop
// itself reads them, in every iteration
static void mark_due(CellLower *l, const CellStmt *loop) {
  for (int i = 0; i < l->k->value_count; i++)
    if (l->values[i].partial && updates(loop, i, false)) l->values[i].due = true;
}

static void emit_lanes(CellLower *l, const CellStmt *s, LLVMValueRef begin, LLVMValueRef end) {
  CellBuild *g = l->g;
  int lanes = g->lanes, widest = choose_unroll(g, s);
  bool constant = s->limit <= 0;
  l->lane = s->var;

  // full vectors: several an iteration, then what is left of those, then one under a mask if there may be one
  LLVMValueRef at = begin;
  int64_t left = s->extent;
  const int unrolls[2] = {widest, 1};
  for (int i = widest > 1 ? 0 : 1; i < 2; i++) {
    int64_t step = (int64_t)unrolls[i] * lanes, whole = left / step * step;
    if (constant && whole == 0) continue;
    l->unroll = unrolls[i];
    l->mask = NULL;
    LLVMValueRef stop;
    if (constant) {
      stop = cell_ll_add(g, at, cell_ll_i64(g, whole));
      left -= whole;
    } else {
      LLVMValueRef count = cell_ll_sub(g, end, at);
      LLVMValueRef extra = LLVMBuildAnd(g->b, count, cell_ll_i64(g, step - 1), "");
      stop = cell_ll_sub(g, end, extra);
      // nothing at all: the range may be empty, and below it
      stop = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, count, cell_ll_i64(g, 0), ""),
                             stop, at, "");
    }
    CellFor loop;
    l->vars[s->var] = cell_ll_for_begin(g, &loop, at, stop, step, constant);
    l->lanes_loop = &loop, l->cursor_count = 0;
    emit_body(l, s->body);
    cell_lower_flush(l, NULL);
    for (int c = 0; c < l->cursor_count; c++) cell_ll_cursor_end(g, &loop, l->cursors[c].pointer);
    cell_ll_for_end(g, &loop);
    l->lanes_loop = NULL;
    at = stop;
  }

  l->unroll = 1;
  if (lanes > 1 && !s->whole && (!constant || left > 0)) {
    CellIf some;
    l->left = constant ? cell_ll_i64(g, left) : cell_ll_sub(g, end, at);
    if (!constant)
      cell_ll_if_begin(g, &some, LLVMBuildICmp(g->b, LLVMIntSGT, l->left, cell_ll_i64(g, 0), ""));
    l->mask = cell_ll_mask(g, lanes, l->left);
    l->vars[s->var] = at;
    emit_body(l, s->body);
    if (!constant) cell_ll_if_end(g, &some);
  }
  l->lane = -1;
  l->mask = l->left = NULL;
}

static void emit_loop(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  LLVMValueRef begin = cell_lower_affine(l, &s->begin, 0);
  LLVMValueRef end = clipped(l, begin, s->extent, s->limit, s);
  if (s->loop == CELL_LOOP_LANES) {
    emit_lanes(l, s, begin, end);
    mark_due(l, s);
    return;
  }
  if (s->loop == CELL_LOOP_UNROLL && s->limit <= 0 && s->extent <= 64) {
    l->inside[s->var] = l->lane >= 0;
    for (int64_t i = 0; i < s->extent; i++) {
      l->vars[s->var] = cell_ll_add(g, begin, cell_ll_i64(g, i));
      emit_body(l, s->body);
      mark_due(l, s);
    }
    return;
  }
  CellFor loop;
  cell_lower_flush(l, NULL);
  l->vars[s->var] = cell_ll_for_begin(g, &loop, begin, end, 1, s->limit <= 0);
  l->inside[s->var] = l->lane >= 0;
  mark_due(l, s);
  emit_body(l, s->body);
  cell_lower_flush(l, NULL);
  cell_ll_for_end(g, &loop);
  mark_due(l, s);
}

// partials of an accumulator: as many as the widest lanes loop that updates it has vectors
static void choose_copies(CellLower *l, const CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    choose_copies(l, s->body);
    if (s->loop != CELL_LOOP_LANES) continue;
    int unroll = choose_unroll(l->g, s);
    for (int i = 0; i < l->k->value_count; i++)
      if (l->values[i].partial && updates(s, i, false) && unroll > l->values[i].copies)
        l->values[i].copies = unroll;
  }
}

// a piece's function in this module
static LLVMTypeRef piece_type(CellBuild *g, int args, int params) {
  int count = args + params + 1;
  LLVMTypeRef *types = CELL_NEW_ARRAY(g->arena, LLVMTypeRef, (size_t)count);
  for (int i = 0; i < count; i++) types[i] = i < args || i == count - 1 ? g->ptr : g->i64;
  return LLVMFunctionType(g->none, types, (unsigned)count, false);
}

void cell_ll_symbol(CellKey key, char symbol[CELL_SYMBOL_SIZE]) {
  snprintf(symbol, CELL_SYMBOL_SIZE, "cell_%016llx%016llx", (unsigned long long)key.words[0],
           (unsigned long long)key.words[1]);
}

static void emit_call(CellLower *l, const CellPieceCall *call) {
  CellBuild *g = l->g;
  const CellPiece *piece = &l->pieces->pieces[call->piece];
  int count = call->bind_count + call->param_count + 1, at = 0;
  LLVMValueRef *args = CELL_NEW_ARRAY(g->arena, LLVMValueRef, (size_t)count);
  for (int i = 0; i < call->bind_count; i++) {
    const CellBind *bind = &call->binds[i];
    if (bind->kind == CELL_BIND_BUFFER) {
      LLVMValueRef base = cell_lower_affine(l, &bind->base, 0);
      args[at] = cell_lower_pointer(l, bind->buffer);
      if (!LLVMIsAConstantInt(base) || LLVMConstIntGetSExtValue(base) != 0)
        args[at] = cell_ll_at(g, args[at], base);
    } else {
      args[at] = cell_ll_alloca(g, piece->kernel.args[i] == CELL_I ? g->i32 : g->f32);
      if (bind->kind == CELL_BIND_VALUE)
        LLVMBuildStore(g->b, cell_lower_get(l, bind->value, 0, false), args[at]);
    }
    at++;
  }
  for (int i = 0; i < call->param_count; i++)
    args[at++] = cell_lower_affine(l, &call->params[i], 0);
  args[at] = l->scratch_end;

  char symbol[CELL_SYMBOL_SIZE];
  cell_ll_symbol(piece->key, symbol);
  LLVMTypeRef type = piece_type(g, call->bind_count, call->param_count);
  LLVMValueRef f = LLVMGetNamedFunction(g->module, symbol);
  if (!f) f = LLVMAddFunction(g->module, symbol, type);
  LLVMBuildCall2(g->b, type, f, args, (unsigned)count, "");

  // accumulators that the piece declared are plain values here
  for (int i = 0; i < call->bind_count; i++) {
    if (call->binds[i].kind != CELL_BIND_RESULT) continue;
    CellLowerValue *v = &l->values[call->binds[i].value];
    CellStmt *def = CELL_NEW(g->arena, CellStmt);
    def->kind = CELL_K_LOAD, def->value = v->def->value, def->dtype = v->def->dtype;
    v->def = def;
    v->partial = v->lanes = false;
    v->v[0] = LLVMBuildLoad2(g->b, LLVMGetAllocatedType(args[i]), args[i], "");
  }
}

static void emit_body(CellLower *l, const CellStmt *s) {
  CellBuild *g = l->g;
  for (; s; s = s->next) {
    if (l->lane < 0) fold_before(l, s);
    const CellPieceCall *call = l->split && (s->kind == CELL_K_LOOP || s->kind == CELL_K_CONTRACT)
                                    ? cell_split_call(l->split, s)
                                    : NULL;
    if (call) {
      emit_call(l, call);
      continue;
    }
    switch (s->kind) {
    case CELL_K_LOOP: emit_loop(l, s); break;
    case CELL_K_CONST: {
      CellLowerValue *v = &l->values[s->value];
      v->lanes = false;
      v->v[0] = s->dtype == CELL_I
                    ? LLVMConstInt(g->i32, (unsigned long long)(int64_t)s->number, true)
                    : LLVMConstReal(g->f32, s->number);
      break;
    }
    case CELL_K_VAR: emit_var(l, s); break;
    case CELL_K_LOAD: emit_load(l, s); break;
    case CELL_K_LET: emit_let(l, s); break;
    case CELL_K_ACC:
      if (!l->split || !l->split->absorbed[s->value]) emit_acc(l, s);
      break;
    case CELL_K_UPDATE: emit_update(l, s); break;
    case CELL_K_STORE: cell_lower_store(l, s); break;
    case CELL_K_CONTRACT: emit_contract(l, s); break;
    }
  }
}

static void prepare(CellLower *l) {
  CellArena *arena = l->g->arena;
  const CellKernel *k = l->k;
  l->values = CELL_NEW_ARRAY(arena, CellLowerValue, (size_t)k->value_count + 1);
  l->vars = CELL_NEW_ARRAY(arena, LLVMValueRef, (size_t)k->var_count + 1);
  l->inside = CELL_NEW_ARRAY(arena, bool, (size_t)k->var_count + 1);
  l->args = CELL_NEW_ARRAY(arena, LLVMValueRef, (size_t)k->arg_count + 1);
  l->scratch = CELL_NEW_ARRAY(arena, LLVMValueRef, (size_t)k->scratch_count + 1);
  survey(l, k->body, false);
  choose_fused(l, k->body);
  for (int i = 0; i < k->value_count; i++) l->values[i].copies = 1;
  choose_copies(l, k->body);
}

static LLVMValueRef new_function(CellBuild *g, LLVMTypeRef type, const char *symbol,
                                 CellPlace *saved) {
  LLVMValueRef f = cell_ll_function(g, "kernel", type, saved);
  // a caller in the same module may have declared it
  LLVMValueRef declared = LLVMGetNamedFunction(g->module, symbol);
  if (declared) {
    LLVMReplaceAllUsesWith(declared, f);
    LLVMDeleteFunction(declared);
  }
  LLVMSetValueName2(f, symbol, strlen(symbol));
  LLVMSetLinkage(f, LLVMExternalLinkage);
  return f;
}

void cell_ll_piece(CellBuild *g, const CellPiece *piece, const char *symbol) {
  const CellKernel *k = &piece->kernel;
  CellPlace saved;
  LLVMValueRef f = new_function(g, piece_type(g, k->arg_count, piece->params), symbol, &saved);
  CellLower l = {.g = g, .k = k, .lane = -1, .unroll = 1};
  prepare(&l);
  for (int i = 0; i < k->arg_count; i++) l.args[i] = LLVMGetParam(f, (unsigned)i);
  for (int i = 0; i < piece->params; i++) l.vars[i] = LLVMGetParam(f, (unsigned)(k->arg_count + i));
  l.scratch_end = LLVMGetParam(f, (unsigned)(k->arg_count + piece->params));
  emit_body(&l, k->body);
  cell_ll_return(g, &saved);
}

void cell_ll_kernel(CellBuild *g, const CellKernel *k, const CellSplit *split,
                    const CellPieces *pieces, const char *symbol) {
  // void f(void *const *buffers, int64_t first, int64_t last, void *scratch): tasks, or rows
  LLVMTypeRef types[4] = {g->ptr, g->i64, g->i64, g->ptr};
  CellPlace saved;
  LLVMValueRef f = new_function(g, LLVMFunctionType(g->none, types, 4, false), symbol, &saved);
  CellLower l = {.g = g, .k = k, .split = split, .pieces = pieces, .lane = -1, .unroll = 1};
  prepare(&l);
  for (int i = 0; i < k->arg_count; i++) {
    LLVMValueRef at = cell_ll_i64(g, i);
    at = LLVMBuildInBoundsGEP2(g->b, g->ptr, LLVMGetParam(f, 0), &at, 1, "");
    l.args[i] = LLVMBuildLoad2(g->b, g->ptr, at, "");
  }
  for (int i = 0; i < k->scratch_count; i++)
    l.scratch[i] = cell_ll_at(g, LLVMGetParam(f, 3), cell_ll_i64(g, k->scratch[i].offset / 4));
  int64_t lists = cell_ll_lists_bytes(k), bytes = (k->scratch_bytes + 63) / 64 * 64 + lists;
  l.scratch_end = cell_ll_at(g, LLVMGetParam(f, 3), cell_ll_i64(g, bytes / 4));

  CellFor tasks;
  int64_t step = k->rows > 0 ? k->tile : 1;
  l.vars[0] = cell_ll_for_begin(g, &tasks, LLVMGetParam(f, 1), LLVMGetParam(f, 2), step, false);
  if (k->rows > 0) {
    LLVMValueRef end = cell_ll_add(g, l.vars[0], cell_ll_i64(g, k->tile));
    l.vars[k->end_var] = cell_ll_min(g, end, LLVMGetParam(f, 2));
  }
  if (lists > 0) cell_ll_lists_begin(g, l.scratch_end, lists);
  emit_body(&l, k->body);
  cell_ll_for_end(g, &tasks);
  cell_ll_return(g, &saved);
}
