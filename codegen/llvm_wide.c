/* llvm_wide.c - what only vectors of AVX-512 can do: a permutation that reads 32 entries of a table in registers,
 * and 2^n with its special cases. */
#include "codegen/llvm_build.h"

#include <string.h>

enum { LANES = 16, ENTRIES = 32, PLAIN_TERMS = 3 };

/* tanh |x|, a polynomial of degree 4 for each eighth of an octave of y = |x| + 5/8: from 5/8, where x is 0, to 10, where
 * tanh is 1.
 * Least relative error (Lawson's weights), coefficients rounded one after the other from the highest; that of x = 0 is x + ...
 * The entry of y is the last two bits of its exponent and the first three of its mantissa: [2, 4) comes first, what is
 * left of [1/2, 1) behind [8, 10).
 *
 * A permutation costs what a multiply-add does, a shift may go beside them. So the upper two coefficients share a word:
 * that of x^4 is its last bits, brought up by PACKED, that of x^3 all of it, rounded when those were known. */
static const double OFFSET = 0.625, TOP = 9.0199995;
enum { INDEX_SHIFT = 20, PACKED = 18 };
static const float tanh_terms[PLAIN_TERMS][ENTRIES] = {
    {-0.15886566,
     -0.142968208,
     -0.076134406,
     0.0289677344,
     0.174921453,
     0.326179266,
     0.449067205,
     0.566311181,
     0.699315846,
     0.828605175,
     0.904907107,
     0.949109018,
     0.973206699,
     0.987278938,
     0.993812025,
     0.996993899,
     0.998996377,
     0.999721229,
     0,
     6.41990823e-07,
     1.08624527e-05,
     4.26064289e-05,
     0.000177430309,
     0.000158568859,
     0.00031806581,
     -0.000923999585,
     -0.00574831944,
     -0.017812917,
     -0.0411492027,
     -0.0678760484,
     -0.100503489,
     -0.129404441},
    {1.60697544,
     1.56936324,
     1.42726171,
     1.22746015,
     0.981140971,
     0.751079738,
     0.580846131,
     0.431085974,
     0.276060462,
     0.141970679,
     0.0718426332,
     0.0352885462,
     0.0171894915,
     0.00752228731,
     0.00341567257,
     0.00155414979,
     0.000472941698,
     0.000120086472,
     1,
     0.999961257,
     0.999649286,
     0.998966932,
     0.996881664,
     0.99704957,
     0.995168984,
     1.00452685,
     1.03522623,
     1.0998435,
     1.20647931,
     1.31344354,
     1.42970705,
     1.52258527},
    {-0.901548445,    -0.86815685,     -0.754731297,    -0.612257779,   -0.456291109,
     -0.324990511,    -0.236538649,    -0.164788499,    -0.0970006958,  -0.0448030457,
     -0.0206148922,   -0.00927164964,  -0.00417154375,  -0.00167991302, -0.000711519388,
     -0.000302921777, -8.38936103e-05, -1.94596996e-05, 1.25708693e-05, 0.000913630123,
     0.00454061059,   0.0100693461,    0.0222347677,    0.0217380282,   0.0300133526,
     0.00357048213,   -0.0698195472,   -0.199757829,    -0.382710695,   -0.54331392,
     -0.698775828,    -0.810773313}};
static const uint32_t tanh_upper[ENTRIES] = {
    0x3e75ef34, 0x3e686f30, 0x3e3f2f25, 0x3e10ef14, 0x3dc7ef01, 0x3d83aee8, 0x3d33aed3, 0x3cea2ebe,
    0x3c7c6e9d, 0x3bd0ae6d, 0x3b2e2e42, 0x3a8f2e13, 0x39edade7, 0x392fedb5, 0x388aed87, 0x37dd2d5a,
    0x36dead15, 0x35bcacc9, 0xbeab0f23, 0xbeb00f5d, 0xbeb9cf72, 0xbec40f80, 0xbed44f88, 0xbed40f88,
    0xbedc4f8b, 0xbecb4f87, 0xbea34f7e, 0xbe4f8f6a, 0xbd810f4b, 0x3d350f1e, 0x3e0beeed, 0x3e496f24};

// where wide vectors are emulated by pairs of narrow ones there are no such instructions
bool cell_ll_has_wide(const CellBuild *g, LLVMValueRef x) {
  return g->isa == CELL_ISA_AVX512 && cell_isa_host() == CELL_ISA_AVX512 && g->lanes == LANES &&
         cell_ll_is_vector(x) && LLVMGetVectorSize(LLVMTypeOf(x)) == LANES &&
         LLVMGetElementType(LLVMTypeOf(x)) == g->f32;
}

// 16 numbers, given by their bits
static LLVMValueRef entries(CellBuild *g, const uint32_t *from) {
  LLVMValueRef lanes[LANES];
  for (int i = 0; i < LANES; i++) lanes[i] = LLVMConstInt(g->i32, from[i], false);
  return LLVMConstBitCast(LLVMConstVector(lanes, LANES), g->vf);
}

// table[last five bits of the index]
static LLVMValueRef look_up(CellBuild *g, const uint32_t *table, LLVMValueRef index) {
  LLVMValueRef args[3] = {entries(g, table), index, entries(g, table + LANES)};
  return cell_ll_call(g, "llvm.x86.avx512.vpermi2var.ps.512", NULL, 0, args, 3);
}

LLVMValueRef cell_ll_table_tanh(CellBuild *g, LLVMValueRef x) {
  LLVMValueRef size = cell_ll_unary(g, "llvm.fabs", x), top = cell_ll_float(g, x, TOP);
  // NaN passes: the comparison with it is false
  LLVMValueRef beyond = LLVMBuildFCmp(g->b, LLVMRealOLT, top, size, "");
  size = LLVMBuildSelect(g->b, beyond, top, size, "");
  LLVMValueRef y = LLVMBuildFAdd(g->b, size, cell_ll_float(g, x, OFFSET), "");
  LLVMTypeRef ints = cell_ll_vector(g, g->i32, LANES);
  LLVMValueRef index =
      LLVMBuildLShr(g->b, LLVMBuildBitCast(g->b, y, ints, ""), cell_ll_int(g, x, INDEX_SHIFT), "");
  LLVMValueRef cubic = look_up(g, tanh_upper, index);
  LLVMValueRef upper =
      LLVMBuildShl(g->b, LLVMBuildBitCast(g->b, cubic, ints, ""), cell_ll_int(g, x, PACKED), "");
  LLVMValueRef sum = cell_ll_fma(g, LLVMBuildBitCast(g->b, upper, g->vf, ""), size, cubic);
  for (int t = PLAIN_TERMS - 1; t >= 0; t--) {
    uint32_t bits[ENTRIES];
    memcpy(bits, tanh_terms[t], sizeof bits);
    sum = cell_ll_fma(g, sum, size, look_up(g, bits, index));
  }
  LLVMValueRef sign =
      LLVMBuildAnd(g->b, LLVMBuildBitCast(g->b, x, ints, ""), cell_ll_int(g, x, INT32_MIN), "");
  sum = LLVMBuildOr(g->b, LLVMBuildBitCast(g->b, sum, ints, ""), sign, "");
  return LLVMBuildBitCast(g->b, sum, LLVMTypeOf(x), "");
}

LLVMValueRef cell_ll_scale(CellBuild *g, LLVMValueRef x, LLVMValueRef n) {
  // every lane, rounded as the thread rounds
  LLVMValueRef args[5] = {x, n, LLVMConstNull(LLVMTypeOf(x)),
                          LLVMConstInt(LLVMInt16TypeInContext(g->context), 0xffff, false),
                          LLVMConstInt(g->i32, 4, false)};
  return cell_ll_call(g, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0, args, 5);
}
