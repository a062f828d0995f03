/* llvm_wide.c - what only vectors of AVX-512 can do: a permutation that reads 32 entries of a table in registers,
 * and 2^n with its special cases. */
#include "codegen/llvm_build.h"

enum { LANES = 16, ENTRIES = 32, TERMS = 5 };

/* tanh |x|, a polynomial for each eighth of an octave of y = 1/2 + 7.5 / 9.02 |x|: from 1/2, where x is 0, to 8,
 * where tanh is 1. Least relative error (Lawson's weights), coefficients rounded one after the other from the
 * highest; that of x = 0 is x + ... The entry of y is the last two bits of its exponent and the first three of its
 * mantissa, so the octave [2, 4) comes first. */
static const double SCALE = 7.5 / 9.02, OFFSET = 0.5, TOP = 9.0199995;
enum { INDEX_SHIFT = 20 };
static const float tanh_terms[TERMS][ENTRIES] = {
    {-0.0905857384,
     0.04114962,
     0.204532966,
     0.369298369,
     0.517302096,
     0.640819848,
     0.738796949,
     0.813663542,
     0.889500499,
     0.948406219,
     0.976927698,
     0.990041018,
     0.99582684,
     0.99829483,
     0.999318182,
     0.999732494,
     0,
     1.82985991e-06,
     2.32470156e-05,
     0.000102158308,
     0.000252375234,
     0.000378051569,
     0.000189018712,
     -0.000830403238,
     -0.00533763878,
     -0.0206091367,
     -0.0483743995,
     -0.0850048289,
     -0.121893995,
     -0.149104342,
     -0.158847615,
     -0.147106826},
    {1.45631778,
     1.2061702,
     0.933971167,
     0.689755261,
     0.49226743,
     0.34243086,
     0.2334892,
     0.156656027,
     0.085273765,
     0.0358095579,
     0.0145387789,
     0.00574355619,
     0.00221797149,
     0.000840170309,
     0.000313040859,
     0.000114976086,
     1,
     0.999912441,
     0.999355912,
     0.997962594,
     0.995953918,
     0.994583249,
     0.996203721,
     1.00388062,
     1.03282917,
     1.11363328,
     1.2366817,
     1.37621427,
     1.49942601,
     1.58043754,
     1.60685158,
     1.57880962},
    {-0.776628256,    -0.598318279,   -0.428122431,    -0.292293638,    -0.193423599,
     -0.125233218,    -0.0797919184,  -0.0502136163,   -0.0250040703,   -0.00941603072,
     -0.00346366852,  -0.00125044526, -0.000444500678, -0.000155960341, -5.41136505e-05,
     -1.85952213e-05, 1.03161183e-05, 0.00165443937,   0.00714572659,   0.0164244212,
     0.0265299585,    0.0321447961,   0.0269345753,    0.0052342522,    -0.0645811334,
     -0.225235686,    -0.430024534,   -0.62955153,     -0.784000695,    -0.874502242,
     -0.901361167,    -0.876239061},
    {0.194033876,    0.137484565,    0.0901498273,   0.0565525219,   0.0345419869,   0.0207435284,
     0.0123163927,   0.0072541018,   0.00329503324,  0.00111009693,  0.000369346817, 0.000121701574,
     3.97855692e-05, 1.29204818e-05, 4.17232332e-06, 1.34077993e-06, -0.334167272,   -0.348787814,
     -0.37318927,    -0.400812924,   -0.423482239,   -0.433720261,   -0.426273406,   -0.398984343,
     -0.324045748,   -0.181794077,   -0.0300960541,  0.0968456939,   0.182961509,    0.227923334,
     0.240064204,    0.230058923},
    {-0.0189862661,   -0.0122539485,   -0.00731321424,  -0.00419487339,  -0.00235643052,
     -0.0013089336,   -0.000722668017, -0.000397668075, -0.00016438149,  -4.9449849e-05,
     -1.48607487e-05, -4.46462946e-06, -1.34119136e-06, -4.02887878e-07, -1.21024584e-07,
     -3.63548729e-08, 0.0191775002,    0.0716461167,    0.112859622,     0.143879995,
     0.163010672,     0.170021117,     0.166028962,     0.153147265,     0.122938171,
     0.0756071433,    0.0334074497,    0.00308987405,   -0.0149301197,   -0.0233115889,
     -0.0253699869,   -0.0238753203}};

// where wide vectors are emulated by pairs of narrow ones there are no such instructions
bool cell_ll_has_wide(const CellBuild *g, LLVMValueRef x) {
  return g->isa == CELL_ISA_AVX512 && cell_isa_host() == CELL_ISA_AVX512 && g->lanes == LANES &&
         cell_ll_is_vector(x) && LLVMGetVectorSize(LLVMTypeOf(x)) == LANES &&
         LLVMGetElementType(LLVMTypeOf(x)) == g->f32;
}

static LLVMValueRef entries(CellBuild *g, const float *from) {
  LLVMValueRef lanes[LANES];
  for (int i = 0; i < LANES; i++) lanes[i] = LLVMConstReal(g->f32, (double)from[i]);
  return LLVMConstVector(lanes, LANES);
}

// terms[last five bits of the index]
static LLVMValueRef look_up(CellBuild *g, const float *terms, LLVMValueRef index) {
  LLVMValueRef args[3] = {entries(g, terms), index, entries(g, terms + LANES)};
  return cell_ll_call(g, "llvm.x86.avx512.vpermi2var.ps.512", NULL, 0, args, 3);
}

LLVMValueRef cell_ll_table_tanh(CellBuild *g, LLVMValueRef x) {
  LLVMValueRef size = cell_ll_unary(g, "llvm.fabs", x), top = cell_ll_float(g, x, TOP);
  // NaN passes: the comparison with it is false
  LLVMValueRef beyond = LLVMBuildFCmp(g->b, LLVMRealOLT, top, size, "");
  size = LLVMBuildSelect(g->b, beyond, top, size, "");
  LLVMValueRef y = cell_ll_fma(g, size, cell_ll_float(g, x, SCALE), cell_ll_float(g, x, OFFSET));
  LLVMTypeRef ints = cell_ll_vector(g, g->i32, LANES);
  LLVMValueRef index =
      LLVMBuildLShr(g->b, LLVMBuildBitCast(g->b, y, ints, ""), cell_ll_int(g, x, INDEX_SHIFT), "");
  LLVMValueRef sum = look_up(g, tanh_terms[TERMS - 1], index);
  for (int t = TERMS - 2; t >= 0; t--)
    sum = cell_ll_fma(g, sum, size, look_up(g, tanh_terms[t], index));
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
