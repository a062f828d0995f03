/* llvm_build.c - small emitters: constants, masks, loops, folds. */
#include "codegen/llvm_build.h"

#include <stdio.h>
#include <string.h>

// ---- types and constants ----

bool cell_ll_is_vector(LLVMValueRef v) {
  return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

LLVMTypeRef cell_ll_vector(CellBuild *g, LLVMTypeRef element, int lanes) {
  (void)g;
  return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

static int lanes_of(LLVMValueRef v) {
  return cell_ll_is_vector(v) ? (int)LLVMGetVectorSize(LLVMTypeOf(v)) : 1;
}

static LLVMValueRef const_splat(LLVMValueRef scalar, int lanes) {
  LLVMValueRef all[64];
  if (lanes == 1) return scalar;
  for (int i = 0; i < lanes; i++) all[i] = scalar;
  return LLVMConstVector(all, (unsigned)lanes);
}

LLVMValueRef cell_ll_float(CellBuild *g, LLVMValueRef like, double x) {
  LLVMTypeRef type = LLVMTypeOf(like);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) type = LLVMGetElementType(type);
  if (LLVMGetTypeKind(type) != LLVMDoubleTypeKind) type = g->f32; // like an i32
  return const_splat(LLVMConstReal(type, x), lanes_of(like));
}

LLVMValueRef cell_ll_int(CellBuild *g, LLVMValueRef like, int64_t x) {
  return const_splat(LLVMConstInt(g->i32, (unsigned long long)x, true), lanes_of(like));
}

LLVMValueRef cell_ll_i64(CellBuild *g, int64_t x) {
  return LLVMConstInt(g->i64, (unsigned long long)x, true);
}

LLVMValueRef cell_ll_splat(CellBuild *g, LLVMValueRef scalar, int lanes) {
  if (lanes == 1) return scalar;
  if (LLVMIsConstant(scalar)) return const_splat(scalar, lanes);
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)lanes);
  LLVMValueRef one =
      LLVMBuildInsertElement(g->b, LLVMGetPoison(type), scalar, LLVMConstInt(g->i32, 0, false), "");
  LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(g->i32, (unsigned)lanes));
  return LLVMBuildShuffleVector(g->b, one, LLVMGetPoison(type), zeros, "");
}

LLVMValueRef cell_ll_iota(CellBuild *g, int lanes, int64_t step) {
  LLVMValueRef all[64];
  for (int i = 0; i < lanes; i++)
    all[i] = LLVMConstInt(g->i32, (unsigned long long)(i * step), true);
  return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
}

// ---- arithmetic ----

LLVMValueRef cell_ll_call(CellBuild *g, const char *intrinsic, LLVMTypeRef *types,
                          unsigned type_count, LLVMValueRef *args, unsigned arg_count) {
  unsigned id = LLVMLookupIntrinsicID(intrinsic, strlen(intrinsic));
  CELL_ASSERT(id != 0);
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(g->module, id, types, type_count);
  LLVMTypeRef type = LLVMIntrinsicGetType(g->context, id, types, type_count);
  return LLVMBuildCall2(g->b, type, function, args, arg_count, "");
}

LLVMValueRef cell_ll_unary(CellBuild *g, const char *intrinsic, LLVMValueRef a) {
  LLVMTypeRef type = LLVMTypeOf(a);
  return cell_ll_call(g, intrinsic, &type, 1, &a, 1);
}

void cell_ll_prefetch(CellBuild *g, LLVMValueRef pointer) {
  // to read, to every level, data
  LLVMValueRef i[3] = {LLVMConstInt(g->i32, 0, false), LLVMConstInt(g->i32, 3, false),
                       LLVMConstInt(g->i32, 1, false)};
  LLVMValueRef args[4] = {pointer, i[0], i[1], i[2]};
  cell_ll_call(g, "llvm.prefetch", &g->ptr, 1, args, 4);
}

LLVMValueRef cell_ll_fma(CellBuild *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  // without the instruction it would be a call of the C library
  if (g->isa == CELL_ISA_SCALAR) return LLVMBuildFAdd(g->b, LLVMBuildFMul(g->b, a, b, ""), c, "");
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef args[3] = {a, b, c};
  return cell_ll_call(g, "llvm.fma", &type, 1, args, 3);
}

// numbers as whole vectors in memory
static LLVMValueRef vectors_of(CellBuild *g, const double *c, int count) {
  char name[48];
  CellKey key = cell_key((CellKey){{5, 11}}, c, sizeof *c * (size_t)count);
  snprintf(name, sizeof name, "vectors_%016llx", (unsigned long long)key.words[0]);
  LLVMValueRef table = LLVMGetNamedGlobal(g->module, name);
  if (table) return table;
  LLVMValueRef *rows = CELL_NEW_ARRAY(g->arena, LLVMValueRef, (size_t)count);
  for (int i = 0; i < count; i++) rows[i] = const_splat(LLVMConstReal(g->f32, c[i]), g->lanes);
  table = LLVMAddGlobal(g->module, LLVMArrayType2(g->vf, (uint64_t)count), name);
  LLVMSetInitializer(table, LLVMConstArray2(g->vf, rows, (uint64_t)count));
  LLVMSetLinkage(table, LLVMInternalLinkage);
  LLVMSetGlobalConstant(table, true);
  return table;
}

LLVMValueRef cell_ll_opaque(CellBuild *g, LLVMValueRef pointer, LLVMValueRef x) {
  const char *constraints = x ? "=r,0,x" : "=r,0";
  unsigned count = x ? 2 : 1;
  LLVMTypeRef types[2] = {g->ptr, x ? LLVMTypeOf(x) : NULL};
  LLVMTypeRef type = LLVMFunctionType(g->ptr, types, count, false);
  LLVMValueRef nothing = LLVMGetInlineAsm(type, "", 0, constraints, strlen(constraints), false,
                                          false, LLVMInlineAsmDialectATT, false);
  LLVMValueRef args[2] = {pointer, x};
  LLVMValueRef call = LLVMBuildCall2(g->b, type, nothing, args, count, "");
  // memory(none) is 0
  static const char *const names[] = {"memory", "nounwind", "willreturn"};
  for (int i = 0; i < 3; i++) {
    unsigned kind = LLVMGetEnumAttributeKindForName(names[i], strlen(names[i]));
    LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                             LLVMCreateEnumAttribute(g->context, kind, 0));
  }
  return call;
}

/* Where a loop has 16 registers, the terms of a polynomial would take them all, and what the loop itself needs would go to
 * the stack and back. They stay in memory, an operand each of the instruction that adds them. (Volatile loads would do
 * that too; but they keep their order among all others.) */
LLVMValueRef cell_ll_poly(CellBuild *g, LLVMValueRef x, const double *c, int count) {
  LLVMValueRef sum = cell_ll_float(g, x, c[count - 1]);
  if (g->isa == CELL_ISA_AVX2 && LLVMTypeOf(x) == g->vf) {
    LLVMValueRef terms = cell_ll_opaque(g, vectors_of(g, c, count - 1), x);
    for (int i = count - 2; i >= 0; i--) {
      LLVMValueRef term = cell_ll_at(g, terms, cell_ll_i64(g, (int64_t)i * g->lanes));
      sum = cell_ll_fma(g, sum, x, cell_ll_load(g, g->vf, term));
    }
    return sum;
  }
  for (int i = count - 2; i >= 0; i--) sum = cell_ll_fma(g, sum, x, cell_ll_float(g, x, c[i]));
  return sum;
}

// ---- memory ----

LLVMValueRef cell_ll_at(CellBuild *g, LLVMValueRef pointer, LLVMValueRef index) {
  return LLVMBuildInBoundsGEP2(g->b, g->f32, pointer, &index, 1, "");
}

LLVMValueRef cell_ll_load(CellBuild *g, LLVMTypeRef type, LLVMValueRef pointer) {
  LLVMValueRef v = LLVMBuildLoad2(g->b, type, pointer, "");
  LLVMSetAlignment(v, 4);
  return v;
}

void cell_ll_store(CellBuild *g, LLVMValueRef value, LLVMValueRef pointer) {
  LLVMSetAlignment(LLVMBuildStore(g->b, value, pointer), 4);
}

// result lane i is lane picks[i] of a and b side by side
static LLVMValueRef shuffle(CellBuild *g, LLVMValueRef a, LLVMValueRef b, const int *picks,
                            int count) {
  LLVMValueRef lanes[64];
  for (int i = 0; i < count; i++)
    lanes[i] = LLVMConstInt(g->i32, (unsigned long long)picks[i], false);
  return LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(lanes, (unsigned)count), "");
}

// lanes of a constant mask that are set, from the first; -1: not known here
static int lanes_set(LLVMValueRef mask) {
  if (!LLVMIsConstant(mask)) return -1;
  int count = 0, lanes = (int)LLVMGetVectorSize(LLVMTypeOf(mask));
  while (count < lanes &&
         LLVMConstIntGetZExtValue(LLVMGetAggregateElement(mask, (unsigned)count)) != 0)
    count++;
  return count;
}

LLVMValueRef cell_ll_masked_load(CellBuild *g, LLVMTypeRef type, LLVMValueRef pointer,
                                 LLVMValueRef mask) {
  if (!mask) return cell_ll_load(g, type, pointer);
  // half a vector needs no mask
  if (g->lanes > 2 && lanes_of(LLVMGetUndef(type)) == g->lanes && 2 * lanes_set(mask) == g->lanes) {
    LLVMValueRef half =
        cell_ll_load(g, cell_ll_vector(g, LLVMGetElementType(type), g->lanes / 2), pointer);
    int picks[64];
    for (int i = 0; i < g->lanes; i++) picks[i] = i;
    return shuffle(g, half, LLVMConstNull(LLVMTypeOf(half)), picks, g->lanes);
  }
  LLVMTypeRef types[2] = {type, g->ptr};
  LLVMValueRef args[4] = {pointer, LLVMConstInt(g->i32, 4, false), mask, LLVMConstNull(type)};
  return cell_ll_call(g, "llvm.masked.load", types, 2, args, 4);
}

void cell_ll_masked_store(CellBuild *g, LLVMValueRef value, LLVMValueRef pointer,
                          LLVMValueRef mask) {
  if (!mask) {
    cell_ll_store(g, value, pointer);
    return;
  }
  // AVX2's masked store is slow (a dozen cycles on some cores) and no later load is served from it
  // before it has left the core: where the count is known, parts of 4, 2 and 1 lanes are stored instead
  int count = g->isa == CELL_ISA_AVX2 ? lanes_set(mask) : -1;
  if (count >= 0) {
    for (int part = g->lanes, at = 0; part > 0; part /= 2) {
      if (count - at < part) continue;
      LLVMValueRef picks[16], x;
      for (int i = 0; i < part; i++) picks[i] = LLVMConstInt(g->i32, (unsigned)(at + i), false);
      x = part == 1 ? LLVMBuildExtractElement(g->b, value, picks[0], "")
                    : LLVMBuildShuffleVector(g->b, value, LLVMGetPoison(LLVMTypeOf(value)),
                                             LLVMConstVector(picks, (unsigned)part), "");
      cell_ll_store(g, x, cell_ll_at(g, pointer, cell_ll_i64(g, at)));
      at += part;
    }
    return;
  }
  LLVMTypeRef types[2] = {LLVMTypeOf(value), g->ptr};
  LLVMValueRef args[4] = {value, pointer, LLVMConstInt(g->i32, 4, false), mask};
  cell_ll_call(g, "llvm.masked.store", types, 2, args, 4);
}

LLVMValueRef cell_ll_mask(CellBuild *g, int lanes, LLVMValueRef count) {
  if (LLVMIsAConstantInt(count)) {
    LLVMValueRef all[64];
    for (int i = 0; i < lanes; i++)
      all[i] = LLVMConstInt(g->i1, i < LLVMConstIntGetSExtValue(count), false);
    return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
  }
  LLVMValueRef n = cell_ll_splat(g, LLVMBuildTrunc(g->b, count, g->i32, ""), lanes);
  return LLVMBuildICmp(g->b, LLVMIntSLT, cell_ll_iota(g, lanes, 1), n, "");
}

LLVMValueRef cell_ll_alloca(CellBuild *g, LLVMTypeRef type) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
  LLVMValueRef first = LLVMGetFirstInstruction(g->entry);
  if (first)
    LLVMPositionBuilderBefore(g->b, first);
  else
    LLVMPositionBuilderAtEnd(g->b, g->entry);
  LLVMValueRef slot = LLVMBuildAlloca(g->b, type, "");
  LLVMPositionBuilderAtEnd(g->b, here);
  return slot;
}

// the two words around the first bit hold up to 33 bits from it on; the second is read only if
// wanted
LLVMValueRef cell_ll_bits(CellBuild *g, int lanes, LLVMValueRef words, LLVMValueRef index,
                          LLVMValueRef count) {
  LLVMValueRef five = cell_ll_i64(g, 5);
  LLVMValueRef last = cell_ll_add(
      g, index, count ? cell_ll_sub(g, count, cell_ll_i64(g, 1)) : cell_ll_i64(g, lanes - 1));
  LLVMValueRef low =
      cell_ll_load(g, g->i32, cell_ll_at(g, words, LLVMBuildAShr(g->b, index, five, "")));
  LLVMValueRef shift = LLVMBuildAnd(g->b, index, cell_ll_i64(g, 31), "");
  LLVMValueRef bits = LLVMBuildZExt(g->b, low, g->i64, "");
  if (lanes > 1) {
    LLVMValueRef high =
        cell_ll_load(g, g->i32, cell_ll_at(g, words, LLVMBuildAShr(g->b, last, five, "")));
    high = LLVMBuildShl(g->b, LLVMBuildZExt(g->b, high, g->i64, ""), cell_ll_i64(g, 32), "");
    bits = LLVMBuildOr(g->b, bits, high, "");
  }
  bits = LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, bits, shift, ""), g->i32, "");
  LLVMValueRef all[64];
  for (int i = 0; i < lanes; i++) all[i] = LLVMConstInt(g->i32, 1ull << i, false);
  LLVMValueRef select = lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
  LLVMValueRef set = LLVMBuildAnd(g->b, cell_ll_splat(g, bits, lanes), select, "");
  set = LLVMBuildICmp(g->b, LLVMIntNE, set, cell_ll_int(g, set, 0), "");
  LLVMValueRef one = cell_ll_splat(g, LLVMConstReal(g->f32, 1), lanes);
  return LLVMBuildSelect(g->b, set, one, LLVMConstNull(LLVMTypeOf(one)), "");
}

// ---- i64 ----

LLVMValueRef cell_ll_min(CellBuild *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef cell_ll_add(CellBuild *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWAdd(g->b, a, b, "");
}

LLVMValueRef cell_ll_sub(CellBuild *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWSub(g->b, a, b, "");
}

LLVMValueRef cell_ll_mul(CellBuild *g, LLVMValueRef a, int64_t by) {
  if (by == 1) return a;
  return LLVMBuildNSWMul(g->b, a, cell_ll_i64(g, by), "");
}

// ---- control flow ----

static LLVMBasicBlockRef block(CellBuild *g) {
  return LLVMAppendBasicBlockInContext(g->context, g->function, "");
}

LLVMValueRef cell_ll_for_begin(CellBuild *g, CellFor *loop, LLVMValueRef begin, LLVMValueRef end,
                               int64_t step, bool sure) {
  LLVMBasicBlockRef before = loop->before = LLVMGetInsertBlock(g->b);
  loop->body = block(g);
  loop->after = block(g);
  loop->begin = begin, loop->end = end;
  loop->step = step;
  if (sure)
    LLVMBuildBr(g->b, loop->body);
  else
    LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, begin, end, ""), loop->body, loop->after);
  LLVMPositionBuilderAtEnd(g->b, loop->body);
  loop->i = LLVMBuildPhi(g->b, g->i64, "");
  LLVMAddIncoming(loop->i, &begin, &before, 1);
  return loop->i;
}

void cell_ll_for_end(CellBuild *g, CellFor *loop) {
  LLVMValueRef next = cell_ll_add(g, loop->i, cell_ll_i64(g, loop->step));
  LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
  LLVMAddIncoming(loop->i, &next, &here, 1);
  LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, next, loop->end, ""), loop->body,
                  loop->after);
  LLVMPositionBuilderAtEnd(g->b, loop->after);
}

LLVMBasicBlockRef cell_ll_before(CellBuild *g, const CellFor *loop) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
  LLVMPositionBuilderBefore(g->b, LLVMGetBasicBlockTerminator(loop->before));
  return here;
}

LLVMValueRef cell_ll_cursor_begin(CellBuild *g, const CellFor *loop, LLVMValueRef from,
                                  LLVMBasicBlockRef here) {
  LLVMPositionBuilderBefore(g->b, LLVMGetFirstInstruction(loop->body));
  LLVMValueRef cursor = LLVMBuildPhi(g->b, g->ptr, "");
  LLVMBasicBlockRef before = loop->before;
  LLVMAddIncoming(cursor, &from, &before, 1);
  LLVMPositionBuilderAtEnd(g->b, here);
  return cursor;
}

void cell_ll_cursor_end(CellBuild *g, const CellFor *loop, LLVMValueRef cursor) {
  LLVMValueRef next = cell_ll_at(g, cursor, cell_ll_i64(g, loop->step));
  LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
  LLVMAddIncoming(cursor, &next, &here, 1);
}

void cell_ll_if_begin(CellBuild *g, CellIf *state, LLVMValueRef condition) {
  LLVMBasicBlockRef then = block(g);
  state->after = block(g);
  LLVMBuildCondBr(g->b, condition, then, state->after);
  LLVMPositionBuilderAtEnd(g->b, then);
}

void cell_ll_if_end(CellBuild *g, CellIf *state) {
  LLVMBuildBr(g->b, state->after);
  LLVMPositionBuilderAtEnd(g->b, state->after);
}

// ---- folds ----

LLVMValueRef cell_ll_combine(CellBuild *g, CellReduce reduce, LLVMValueRef a, LLVMValueRef b) {
  if (reduce == CELL_SUM) return LLVMBuildFAdd(g->b, a, b, "");
  return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, a, b, ""), a, b, "");
}

// neighbours combined: a run of 4 lanes [a0 a1 a2 a3], [b0 b1 b2 b3] -> [a0a1 a2a3 b0b1 b2b3]; each
// shuffle is one instruction
static LLVMValueRef fold_pair(CellBuild *g, CellReduce reduce, LLVMValueRef a, LLVMValueRef b,
                              int lanes) {
  int low[64], high[64];
  for (int i = 0; i < lanes; i++) {
    low[i] = i / 4 * 4 + 2 * (i % 2) + (i % 4 >= 2 ? lanes : 0);
    high[i] = low[i] + 1;
  }
  return cell_ll_combine(g, reduce, shuffle(g, a, b, low, lanes), shuffle(g, a, b, high, lanes));
}

// the lower and the upper half
static LLVMValueRef fold_halves(CellBuild *g, CellReduce reduce, LLVMValueRef v, int lanes) {
  int low[64], high[64];
  for (int i = 0; i < lanes / 2; i++) low[i] = i, high[i] = i + lanes / 2;
  return cell_ll_combine(g, reduce, shuffle(g, v, LLVMGetPoison(LLVMTypeOf(v)), low, lanes / 2),
                         shuffle(g, v, LLVMGetPoison(LLVMTypeOf(v)), high, lanes / 2));
}

// runs of 4 lanes become [a a b b] and [c c d d], then [a b c d]; then the runs are added
LLVMValueRef cell_ll_fold4(CellBuild *g, CellReduce reduce, const LLVMValueRef *vectors) {
  int lanes = lanes_of(vectors[0]);
  LLVMValueRef ab = fold_pair(g, reduce, vectors[0], vectors[1], lanes);
  LLVMValueRef cd = fold_pair(g, reduce, vectors[2], vectors[3], lanes);
  LLVMValueRef all = fold_pair(g, reduce, ab, cd, lanes);
  for (; lanes > 4; lanes /= 2) all = fold_halves(g, reduce, all, lanes);
  return all;
}

void cell_ll_fold(CellBuild *g, CellReduce reduce, int n, const LLVMValueRef *vectors,
                  LLVMValueRef *scalars) {
  int i = 0;
  for (; n - i >= 3 && lanes_of(vectors[0]) >= 4; i += 4) {
    LLVMValueRef four[4];
    for (int j = 0; j < 4; j++) four[j] = vectors[i + j < n ? i + j : i];
    LLVMValueRef all = cell_ll_fold4(g, reduce, four);
    for (int j = 0; j < 4 && i + j < n; j++)
      scalars[i + j] =
          LLVMBuildExtractElement(g->b, all, LLVMConstInt(g->i32, (unsigned)j, false), "");
  }
  for (; i < n; i++) {
    LLVMValueRef v = vectors[i];
    for (int lanes = lanes_of(v); lanes > 2; lanes /= 2) v = fold_halves(g, reduce, v, lanes);
    if (cell_ll_is_vector(v)) {
      LLVMValueRef zero = LLVMConstInt(g->i32, 0, false), one = LLVMConstInt(g->i32, 1, false);
      v = cell_ll_combine(g, reduce, LLVMBuildExtractElement(g->b, v, zero, ""),
                          LLVMBuildExtractElement(g->b, v, one, ""));
    }
    scalars[i] = v;
  }
}

// ---- transposition ----

// 4 vectors -> 4: within run h of 4 lanes, result j holds lane 4 h + j of each
void cell_ll_transpose4(CellBuild *g, const LLVMValueRef *rows, LLVMValueRef *out) {
  static const int first[2][4] = {{0, 1, 0, 1}, {2, 3, 2, 3}};
  int lanes = lanes_of(rows[0]), interleave[2][64], join[2][64];
  for (int half = 0; half < 2; half++)
    for (int i = 0; i < lanes; i++) {
      int run = i / 4 * 4, at = i % 4;
      interleave[half][i] = run + 2 * half + at / 2 + (at % 2 ? lanes : 0);
      join[half][i] = run + first[half][at] + (at >= 2 ? lanes : 0);
    }
  for (int half = 0; half < 2; half++) {
    LLVMValueRef a = shuffle(g, rows[0], rows[1], interleave[half], lanes);
    LLVMValueRef b = shuffle(g, rows[2], rows[3], interleave[half], lanes);
    for (int j = 0; j < 2; j++) out[2 * half + j] = shuffle(g, a, b, join[j], lanes);
  }
}

// run `h` of 4 lanes, the first `count` of it
LLVMValueRef cell_ll_run(CellBuild *g, LLVMValueRef v, int h, int count) {
  int picks[4] = {4 * h, 4 * h + 1, 4 * h + 2, 4 * h + 3};
  return shuffle(g, v, LLVMGetPoison(LLVMTypeOf(v)), picks, count);
}

// lanes x lanes
void cell_ll_transpose(CellBuild *g, const LLVMValueRef *rows, LLVMValueRef *out) {
  int lanes = lanes_of(rows[0]), runs = lanes / 4, picks[64];
  LLVMValueRef part[16][4];
  for (int q = 0; q < runs; q++) cell_ll_transpose4(g, &rows[4 * q], part[q]);
  for (int j = 0; j < 4; j++)
    for (int h = 0; h < runs; h++) {
      // run h of each part, side by side: pairs of parts, then pairs of pairs
      LLVMValueRef v[16];
      for (int q = 0; q < runs; q += 2) {
        for (int i = 0; i < 8; i++) picks[i] = 4 * h + i % 4 + (i >= 4 ? lanes : 0);
        v[q / 2] = shuffle(g, part[q][j], part[q + 1][j], picks, 8);
      }
      for (int n = runs / 2, width = 8; n > 1; n /= 2, width *= 2)
        for (int q = 0; q < n; q += 2) {
          for (int i = 0; i < 2 * width; i++) picks[i] = i;
          v[q / 2] = shuffle(g, v[q], v[q + 1], picks, 2 * width);
        }
      out[4 * h + j] = v[0];
    }
}

// ---- functions ----

LLVMValueRef cell_ll_function(CellBuild *g, const char *name, LLVMTypeRef type, CellPlace *saved) {
  *saved = (CellPlace){g->function, g->entry, g->b ? LLVMGetInsertBlock(g->b) : NULL};
  char text[64];
  snprintf(text, sizeof text, "%s_%d", name, g->function_count++);
  g->function = LLVMAddFunction(g->module, text, type);
  LLVMSetLinkage(g->function, LLVMInternalLinkage);
  g->entry = block(g);
  LLVMBasicBlockRef first = block(g);
  LLVMPositionBuilderAtEnd(g->b, g->entry);
  LLVMBuildBr(g->b, first);
  LLVMPositionBuilderAtEnd(g->b, first);
  return g->function;
}

void cell_ll_return(CellBuild *g, const CellPlace *saved) {
  LLVMBuildRetVoid(g->b);
  g->function = saved->function;
  g->entry = saved->entry;
  if (saved->block) LLVMPositionBuilderAtEnd(g->b, saved->block);
}
