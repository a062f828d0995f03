/* llvm_math.c - elementwise ops on floats, scalars or vectors alike: arithmetic, comparisons, and
 * the elementary functions from polynomials, with no call out of generated code. Errors in units in
 * the last place are bounded by tests/codegen/test_functions.c. Results and arguments below the
 * normal range count as 0: plans run with subnormals flushed. */
#include "codegen/llvm_build.h"

typedef LLVMValueRef V;

static V add(CellBuild *g, V a, V b) {
  return LLVMBuildFAdd(g->b, a, b, "");
}

static V sub(CellBuild *g, V a, V b) {
  return LLVMBuildFSub(g->b, a, b, "");
}

static V mul(CellBuild *g, V a, V b) {
  return LLVMBuildFMul(g->b, a, b, "");
}

static V num(CellBuild *g, V like, double x) {
  return cell_ll_float(g, like, x);
}

static V compare(CellBuild *g, LLVMRealPredicate predicate, V a, V b) {
  return LLVMBuildFCmp(g->b, predicate, a, b, "");
}

static V choose(CellBuild *g, V condition, V a, V b) {
  return LLVMBuildSelect(g->b, condition, a, b, "");
}

static V truth(CellBuild *g, LLVMRealPredicate predicate, V a, V b) {
  return choose(g, compare(g, predicate, a, b), num(g, a, 1), num(g, a, 0));
}

static bool is_double(V v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) type = LLVMGetElementType(type);
  return LLVMGetTypeKind(type) == LLVMDoubleTypeKind;
}

// the type of v's shape with other elements
static LLVMTypeRef with_element(CellBuild *g, V v, LLVMTypeRef element) {
  return cell_ll_vector(g, element,
                        cell_ll_is_vector(v) ? (int)LLVMGetVectorSize(LLVMTypeOf(v)) : 1);
}

static V as_int(CellBuild *g, V v) {
  LLVMTypeRef element = is_double(v) ? g->i64 : g->i32;
  return LLVMBuildBitCast(g->b, v, with_element(g, v, element), "");
}

static V as_float(CellBuild *g, V bits, V like) {
  return LLVMBuildBitCast(g->b, bits, LLVMTypeOf(like), "");
}

// integer constant of the shape of v
static V whole(V v, int64_t x) {
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
    return LLVMConstInt(type, (unsigned long long)x, true);
  V all[64];
  unsigned lanes = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < lanes; i++)
    all[i] = LLVMConstInt(LLVMGetElementType(type), (unsigned long long)x, true);
  return LLVMConstVector(all, lanes);
}

// sign bit of `sign` on the size of `size`
static V copy_sign(CellBuild *g, V size, V sign) {
  V s = as_int(g, sign), top = whole(s, is_double(sign) ? INT64_MIN : INT32_MIN);
  V bits = LLVMBuildOr(g->b, as_int(g, size), LLVMBuildAnd(g->b, s, top, ""), "");
  return as_float(g, bits, size);
}

static V absolute(CellBuild *g, V a) {
  return cell_ll_unary(g, "llvm.fabs", a);
}

// n = the whole number nearest to x k, as the low bits of n + magic; small |n| only
static V round_scaled(CellBuild *g, V x, double k, V *shifted) {
  V magic = num(g, x, is_double(x) ? 6755399441055744.0 : 12582912.0);
  *shifted = cell_ll_fma(g, x, num(g, x, k), magic);
  return sub(g, *shifted, magic);
}

// e^x = 2^n e^r, |r| <= ln 2 / 2
static V emit_exp(CellBuild *g, V x) {
  static const double c[] = {1,
                             1,
                             0.49999988079071045,
                             0.166665181517601,
                             0.04166954383254051,
                             0.00836898759007454,
                             0.0013751150108873844};
  // beyond these the result is 0, or not finite
  const double low = -87.3365447505531, high = 88.72283905206835;
  bool scales = cell_ll_has_wide(g, x);
  // NaN passes both: comparisons with it are false
  V bottom = num(g, x, scales ? low - 1 : low), top = num(g, x, scales ? high + 1 : high);
  V clamped = choose(g, compare(g, LLVMRealOLT, x, bottom), bottom, x);
  clamped = choose(g, compare(g, LLVMRealOGT, clamped, top), top, clamped);
  V shifted, n = round_scaled(g, clamped, 1.4426950408889634, &shifted);
  // ln 2 in two pieces, the first with few bits
  V r = cell_ll_fma(g, n, num(g, x, -0.693145751953125), clamped);
  r = cell_ll_fma(g, n, num(g, x, -1.42860682030941723212e-6), r);
  V p = cell_ll_poly(g, r, c, 7);
  if (scales) return cell_ll_scale(g, p, n);

  // n added to the exponent; p < 1 where n is 128
  V bits = LLVMBuildShl(g->b, as_int(g, shifted), cell_ll_int(g, x, 23), "");
  V result = as_float(g, LLVMBuildAdd(g->b, as_int(g, p), bits, ""), x);
  result = choose(g, compare(g, LLVMRealOLT, x, num(g, x, low)), num(g, x, 0), result);
  // infinity above, NaN for NaN
  V beyond = add(g, x, num(g, x, __builtin_inff()));
  return choose(g, compare(g, LLVMRealOLE, x, num(g, x, high)), result, beyond);
}

// exponent and mantissa: x = 2^e m, m in [sqrt 1/2, sqrt 2)
static V split(CellBuild *g, V x, V *m) {
  V bits = as_int(g, x);
  V offset = LLVMBuildSub(g->b, bits, whole(bits, 0x3f3504f3), "");
  V e = LLVMBuildAShr(g->b, offset, whole(bits, 23), "");
  V rest = LLVMBuildSub(g->b, bits, LLVMBuildShl(g->b, e, whole(bits, 23), ""), "");
  *m = as_float(g, rest, x);
  return e;
}

// log x = e ln 2 + log m
static V emit_log(CellBuild *g, V x) {
  static const double c[] = {0.3333331048488617,   -0.25000014901161194, 0.20002204179763794,
                             -0.16667643189430237, 0.14217890799045563,  -0.12411268800497055,
                             0.1190471202135086,   -0.11646434664726257, 0.06675271689891815};
  V m, e = LLVMBuildSIToFP(g->b, split(g, x, &m), LLVMTypeOf(x), "");
  V f = sub(g, m, num(g, x, 1)), square = mul(g, f, f);
  V tail = mul(g, mul(g, square, f), cell_ll_poly(g, f, c, 9));
  tail = cell_ll_fma(g, e, num(g, x, -2.12194440054690583e-4), tail);
  tail = cell_ll_fma(g, square, num(g, x, -0.5), tail);
  V result = cell_ll_fma(g, e, num(g, x, 0.693359375), add(g, f, tail));

  // log 0 is -infinity; of a negative number, NaN; infinity and NaN stay
  double infinity = __builtin_inff();
  result = choose(g, compare(g, LLVMRealOLT, x, num(g, x, infinity)), result, x);
  result =
      choose(g, compare(g, LLVMRealOLT, x, num(g, x, 0)), num(g, x, __builtin_nanf("")), result);
  return choose(g, compare(g, LLVMRealOEQ, x, num(g, x, 0)), num(g, x, -infinity), result);
}

// x p(x^2) / q(x^2), fitted with p(0) = q(0) = 1, so that small x are exact; 1 from 9.02 on
static V emit_tanh(CellBuild *g, V x) {
  if (cell_ll_has_wide(g, x)) return cell_ll_table_tanh(g, x);
  static const double p[] = {1, 0.13382674753665924, 0.003497442929074168, 2.063557258225046e-05,
                             1.3383929520216498e-08};
  static const double q[] = {1, 0.4671599566936493, 0.02588430419564247, 0.00032884927350096405,
                             7.790104632476869e-07};
  V top = num(g, x, 9.02), bottom = num(g, x, -9.02);
  // NaN passes both: comparisons with it are false
  V c = choose(g, compare(g, LLVMRealOLT, top, x), top, x);
  c = choose(g, compare(g, LLVMRealOGT, bottom, c), bottom, c);
  V square = mul(g, c, c);
  return LLVMBuildFDiv(g->b, mul(g, c, cell_ll_poly(g, square, p, 5)),
                       cell_ll_poly(g, square, q, 5), "");
}

// 1 / (1 + exp -x): as exact relative to itself on either side, and 0 where exp is infinite
static V emit_sigmoid(CellBuild *g, V x) {
  V one = num(g, x, 1);
  return LLVMBuildFDiv(g->b, one, add(g, one, emit_exp(g, LLVMBuildFNeg(g->b, x, ""))), "");
}

// ---- in double: functions whose reduction needs more bits than a float has ----

static V widen(CellBuild *g, V x) {
  LLVMTypeRef element = LLVMDoubleTypeInContext(g->context);
  return LLVMBuildFPExt(g->b, x, with_element(g, x, element), "");
}

static V narrow(CellBuild *g, V x, V like) {
  return LLVMBuildFPTrunc(g->b, x, LLVMTypeOf(like), "");
}

// x = n pi/2 + r: sine or cosine of r, by n mod 4
static V emit_circular(CellBuild *g, V x, int quarter) {
  static const double s[] = {1, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800};
  static const double c[] = {1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800};
  V wide = widen(g, x), shifted;
  V n = round_scaled(g, wide, 0.63661977236758134308, &shifted);
  V r = cell_ll_fma(g, n, num(g, wide, -1.5707963267341256142), wide);
  r = cell_ll_fma(g, n, num(g, wide, -6.0771005065061922e-11), r);
  V square = mul(g, r, r);
  V sine = mul(g, r, cell_ll_poly(g, square, s, 6)), cosine = cell_ll_poly(g, square, c, 6);

  V k = LLVMBuildAdd(g->b, as_int(g, shifted), whole(as_int(g, shifted), quarter), "");
  V odd = LLVMBuildAnd(g->b, k, whole(k, 1), ""), two = LLVMBuildAnd(g->b, k, whole(k, 2), "");
  V result = choose(g, LLVMBuildICmp(g->b, LLVMIntNE, odd, whole(k, 0), ""), cosine, sine);
  V negative = LLVMBuildFNeg(g->b, result, "");
  result = choose(g, LLVMBuildICmp(g->b, LLVMIntNE, two, whole(k, 0), ""), negative, result);
  return narrow(g, result, x);
}

// |x|^y = 2^(y log2 |x|); log2 m = 2 / ln 2 atanh((m - 1) / (m + 1))
static V emit_pow(CellBuild *g, V x, V y) {
  static const double at[] = {1, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15};
  static const double ex[] = {
      1,         1,          1.0 / 2,     1.0 / 6,      1.0 / 24,     1.0 / 120,
      1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800};
  double infinity = __builtin_inf();
  V size = absolute(g, x), m, zero = num(g, x, 0), one = num(g, x, 1);
  V exponent = split(g, size, &m), wide = widen(g, m);
  V e = LLVMBuildSIToFP(g->b, exponent, LLVMTypeOf(wide), "");
  V t = LLVMBuildFDiv(g->b, sub(g, wide, num(g, wide, 1)), add(g, wide, num(g, wide, 1)), "");
  V log = mul(g, t, cell_ll_poly(g, mul(g, t, t), at, 8));
  log = cell_ll_fma(g, log, num(g, wide, 2.8853900817779268147), e);
  log = choose(g, compare(g, LLVMRealOEQ, size, zero), num(g, wide, -infinity), log);
  log = choose(g, compare(g, LLVMRealULT, size, num(g, x, infinity)), log, widen(g, size));
  log = choose(g, compare(g, LLVMRealUNO, x, x), widen(g, x), log);

  // 2^z; NaN of z comes back at the end
  V z = mul(g, log, widen(g, y)), c = z;
  c = choose(g, compare(g, LLVMRealOGT, c, num(g, z, -160)), c, num(g, z, -160));
  c = choose(g, compare(g, LLVMRealOLT, c, num(g, z, 160)), c, num(g, z, 160));
  V shifted, n = round_scaled(g, c, 1, &shifted);
  V r = mul(g, sub(g, c, n), num(g, z, 0.69314718055994530942));
  V p = cell_ll_poly(g, r, ex, 11);
  V bits = LLVMBuildShl(g->b, as_int(g, shifted), whole(as_int(g, p), 52), "");
  V power = as_float(g, LLVMBuildAdd(g->b, as_int(g, p), bits, ""), p);
  V result = narrow(g, choose(g, compare(g, LLVMRealUNO, z, z), z, power), x);

  // negative x: whole y only, and odd ones keep the sign
  V y_whole = cell_ll_scalar_op(g, CELL_OP_FLOOR, y, NULL, NULL);
  V half = mul(g, y, num(g, y, 0.5)),
    half_whole = cell_ll_scalar_op(g, CELL_OP_FLOOR, half, NULL, NULL);
  V odd = LLVMBuildAnd(g->b, compare(g, LLVMRealOEQ, y_whole, y),
                       compare(g, LLVMRealONE, half_whole, half), "");
  V signed_result = choose(g, odd, copy_sign(g, result, x), result);
  signed_result =
      choose(g, compare(g, LLVMRealUNE, y_whole, y), num(g, x, __builtin_nanf("")), signed_result);
  result = choose(g, compare(g, LLVMRealOLT, x, zero), signed_result, result);
  V certain =
      LLVMBuildOr(g->b, compare(g, LLVMRealOEQ, y, zero), compare(g, LLVMRealOEQ, x, one), "");
  return choose(g, certain, one, result);
}

// without the instruction: through integers, where there are any
static V emit_floor(CellBuild *g, V a) {
  if (g->isa != CELL_ISA_SCALAR) return cell_ll_unary(g, "llvm.floor", a);
  V small = compare(g, LLVMRealOLT, absolute(g, a), num(g, a, 8388608));
  V safe = choose(g, small, a, num(g, a, 0));
  V t = LLVMBuildSIToFP(g->b, LLVMBuildFPToSI(g->b, safe, g->i32, ""), LLVMTypeOf(a), "");
  t = choose(g, compare(g, LLVMRealOGT, t, safe), sub(g, t, num(g, a, 1)), t);
  return choose(g, small, t, a);
}

LLVMValueRef cell_ll_scalar_op(CellBuild *g, CellOp op, V a, V b, V c) {
  switch ((int)op) {
  case CELL_OP_ADD: return add(g, a, b);
  case CELL_OP_SUB: return sub(g, a, b);
  case CELL_OP_MUL: return mul(g, a, b);
  case CELL_OP_DIV: return LLVMBuildFDiv(g->b, a, b, "");
  case CELL_OP_POW: return emit_pow(g, a, b);
  case CELL_OP_MIN: return choose(g, compare(g, LLVMRealOLT, b, a), b, a);
  case CELL_OP_MAX: return choose(g, compare(g, LLVMRealOGT, b, a), b, a);
  case CELL_OP_LT: return truth(g, LLVMRealOLT, a, b);
  case CELL_OP_LE: return truth(g, LLVMRealOLE, a, b);
  case CELL_OP_EQ: return truth(g, LLVMRealOEQ, a, b);
  case CELL_OP_NE: return truth(g, LLVMRealUNE, a, b);
  case CELL_OP_NEG: return LLVMBuildFNeg(g->b, a, "");
  case CELL_OP_ABS: return absolute(g, a);
  case CELL_OP_SIGN:
    return sub(g, truth(g, LLVMRealOGT, a, num(g, a, 0)), truth(g, LLVMRealOLT, a, num(g, a, 0)));
  case CELL_OP_FLOOR: return emit_floor(g, a);
  case CELL_OP_SQRT: return cell_ll_unary(g, "llvm.sqrt", a);
  case CELL_OP_EXP: return emit_exp(g, a);
  case CELL_OP_LOG: return emit_log(g, a);
  case CELL_OP_TANH: return emit_tanh(g, a);
  case CELL_OP_SIGMOID: return emit_sigmoid(g, a);
  case CELL_OP_SIN: return emit_circular(g, a, 0);
  case CELL_OP_COS: return emit_circular(g, a, 1);
  case CELL_OP_RELU: return choose(g, compare(g, LLVMRealOLT, a, num(g, a, 0)), num(g, a, 0), a);
  case CELL_OP_WHERE: return choose(g, compare(g, LLVMRealUNE, a, num(g, a, 0)), b, c);
  default: cell_internal_error(__FILE__, __LINE__, "no code for op %d", (int)op);
  }
}
