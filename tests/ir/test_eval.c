/* test_eval.c - the float64 evaluator: each op against numbers worked out by hand, then properties
 * on random graphs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

/* One case: the nodes of a graph (axes: time 3, batch 2, candidate 2) whose last line is the value
 * under test, as output "y". The inputs that every case may declare are those below. */
typedef struct {
  const char *nodes;
  int count;
  double expected[24];
} Case;

static double a_data[] = {1, 2, 3, 4, 5, 6};           /* f[2,3] {} */
static double x_data[] = {1, 0, 2, 0, 1, 0};           /* f[3] {batch} */
static double s_data[] = {1, -2, 3, 4, 5, 6};          /* f {time, batch} */
static double c_data[] = {10, 20};                     /* f {candidate} */
static double b_data[] = {1, 0, 0, 1, 1, 1};           /* bits[3] {batch} */
static double i_data[] = {2, 0};                       /* i {batch} */
static double m_data[] = {-1.5, 0, 2.5};               /* f[3] {} */
static double n_data[] = {1, 2, 2, 7, (double)NAN, 7}; /* f[2,3] {} */
static double z_data[] = {(double)NAN, (double)NAN};   /* f[2] {} */
static const CellTensor inputs[] = {{"a", a_data, 6}, {"x", x_data, 6}, {"s", s_data, 6},
                                    {"c", c_data, 2}, {"b", b_data, 6}, {"i", i_data, 2},
                                    {"m", m_data, 3}, {"n", n_data, 6}, {"z", z_data, 2}};

#define A "%0 = input \"a\" : f[2,3] {} "
#define X "%1 = input \"x\" : f[3] {batch} "
#define S "%2 = input \"s\" : f {time, batch} "
#define C "%3 = input \"c\" : f {candidate} "
#define B "%4 = input \"b\" : bits[3] {batch} "
#define I "%5 = input \"i\" : i {batch} "
#define M "%6 = input \"m\" : f[3] {} "
#define N "%7 = input \"n\" : f[2,3] {} "
#define Z "%8 = input \"z\" : f[2] {} "

static const Case cases[] = {
    {"%0 = const 0.5 : f {}", 1, {0.5}},
    {"%0 = range : f[4] {}", 4, {0, 1, 2, 3}},
    {"%0 = axis_index time : i {time}", 3, {0, 1, 2}},
    /* elementwise: rank 0 stretches, axes unite */
    {X M "%9 = add %1, %6 : f[3] {batch}", 6, {-0.5, 0, 4.5, -1.5, 1, 2.5}},
    {X C "%9 = mul %1, %3 : f[3] {batch, candidate}",
     12,
     {10, 0, 20, 20, 0, 40, 0, 10, 0, 0, 20, 0}},
    {X B "%9 = sub %1, %4 : f[3] {batch}", 6, {0, 0, 2, -1, 0, -1}},
    {M "%9 = const 2 : f {} %10 = div %6, %9 : f[3] {}", 3, {-0.75, 0, 1.25}},
    {A "%9 = const 2 : f {} %10 = pow %0, %9 : f[2,3] {}", 6, {1, 4, 9, 16, 25, 36}},
    {X M "%9 = min %1, %6 : f[3] {batch}", 6, {-1.5, 0, 2, -1.5, 0, 0}},
    {X M "%9 = max %1, %6 : f[3] {batch}", 6, {1, 0, 2.5, 0, 1, 2.5}},
    {X M "%9 = lt %1, %6 : f[3] {batch}", 6, {0, 0, 1, 0, 0, 1}},
    {X M "%9 = le %1, %6 : f[3] {batch}", 6, {0, 1, 1, 0, 0, 1}},
    {X M "%9 = eq %1, %6 : f[3] {batch}", 6, {0, 1, 0, 0, 0, 0}},
    {X M "%9 = ne %1, %6 : f[3] {batch}", 6, {1, 0, 1, 1, 1, 1}},
    {M "%9 = neg %6 : f[3] {}", 3, {1.5, -0.0, -2.5}},
    {M "%9 = abs %6 : f[3] {}", 3, {1.5, 0, 2.5}},
    {M "%9 = sign %6 : f[3] {}", 3, {-1, 0, 1}},
    {M "%9 = floor %6 : f[3] {}", 3, {-2, 0, 2}},
    {A "%9 = sqrt %0 : f[2,3] {}",
     6,
     {1, 1.4142135623730951, 1.7320508075688772, 2, 2.23606797749979, 2.449489742783178}},
    {M "%9 = exp %6 : f[3] {}", 3, {0.22313016014842982, 1, 12.182493960703473}},
    {A "%9 = log %0 : f[2,3] {}",
     6,
     {0, 0.6931471805599453, 1.0986122886681098, 1.3862943611198906, 1.6094379124341003,
      1.791759469228055}},
    {M "%9 = tanh %6 : f[3] {}", 3, {-0.9051482536448664, 0, 0.9866142981514303}},
    {M "%9 = sigmoid %6 : f[3] {}", 3, {0.18242552380635635, 0.5, 0.9241418199787566}},
    {M "%9 = sin %6 : f[3] {}", 3, {-0.9974949866040544, 0, 0.5984721441039564}},
    {M "%9 = cos %6 : f[3] {}", 3, {0.0707372016677029, 1, -0.8011436155469337}},
    {M "%9 = relu %6 : f[3] {}", 3, {0, 0, 2.5}},
    {X B M "%9 = where %4, %6, %1 : f[3] {batch}", 6, {-1.5, 0, 2, -1.5, 0, 2.5}},
    {I "%9 = float %5 : f {batch}", 2, {2, 0}},
    {I "%9 = one_hot %5 : f[3] {batch}", 6, {0, 0, 1, 1, 0, 0}},
    {I "%9 = one_hot %5 : f[2] {batch}", 4, {0, 0, 1, 0}},
    {I "%9 = sign_bits %5 : f[3] {batch}", 6, {-1, 1, -1, -1, -1, -1}},
    /* reductions; NaN never wins, the lower index does */
    {A "%9 = reduce sum %0 dims [0] : f[3] {}", 3, {5, 7, 9}},
    {A "%9 = reduce sum %0 dims [0,1] : f {}", 1, {21}},
    {X "%9 = reduce sum %1 over {batch} : f[3] {}", 3, {1, 1, 2}},
    {X "%9 = reduce sum %1 dims [0] over {batch} : f {}", 1, {4}},
    {S "%9 = reduce sum %2 over {time} : f {batch}", 2, {9, 8}},
    {S "%9 = reduce max %2 over {batch} : f {time}", 3, {1, 4, 6}},
    {N "%9 = reduce max %7 dims [1] : f[2] {}", 2, {2, 7}},
    {N "%9 = reduce argmax %7 dims [1] : i[2] {}", 2, {1, 0}},
    {Z "%9 = reduce max %8 dims [0] : f {}", 1, {-(double)INFINITY}},
    {Z "%9 = reduce argmax %8 dims [0] : i {}", 1, {0}},
    {S "%9 = reduce argmax %2 over {time} : i {batch}", 2, {2, 2}},
    /* products */
    {A X "%9 = contract %0, %1 \"ij,j->i\" : f[2] {batch}", 4, {7, 16, 2, 5}},
    {A B "%9 = contract %0, %4 \"ij,j->i\" : f[2] {batch}", 4, {1, 4, 6, 15}},
    {A M "%9 = contract %6, %0 \"j,ij->i\" : f[2] {}", 2, {6, 9}},
    {X M "%9 = contract %6, %1 \"i,j->ji\" over {batch} : f[3,3] {}",
     9,
     {-1.5, 0, 2.5, -1.5, 0, 2.5, -3, 0, 5}},
    {A "%9 = contract %0, %0 \"ij,kj->ik\" : f[2,2] {}", 4, {14, 32, 32, 77}},
    {A "%9 = contract %0, %0 \"ij,ij->\" : f {}", 1, {91}},
    {A M "%9 = contract %0, %6 \"ij,j->ij\" : f[2,3] {}", 6, {-1.5, 0, 7.5, -6, 0, 15}},
    {S C "%9 = contract %2, %3 \",->\" over {time} : f {batch, candidate}", 4, {90, 180, 80, 160}},
    {S C "%9 = contract %2, %3 \",->\" over {time, candidate} : f {batch}", 2, {270, 240}},
    /* take */
    {X I "%9 = take %1 dim 0, %5 : f {batch}", 2, {2, 0}},
    {A I "%9 = take %0 dim 1, %5 : f[2] {batch}", 4, {3, 6, 1, 4}},
    {S I "%9 = take %2 axis time, %5 : f {batch}", 2, {5, -2}},
    {B I "%9 = take %4 dim 0, %5 : bits {batch}", 2, {0, 1}},
    /* views */
    {A "%9 = reshape %0 : f[3,2] {}", 6, {1, 2, 3, 4, 5, 6}},
    {A "%9 = transpose %0 map [1,0] : f[3,2] {}", 6, {1, 4, 2, 5, 3, 6}},
    {A "%9 = slice %0 dim 1 [1:3] : f[2,2] {}", 4, {2, 3, 5, 6}},
    {X "%9 = slice %1 dim 0 [2:3] : f[1] {batch}", 2, {2, 0}},
    {X "%9 = pad %1 dim 0 (1, 2) : f[6] {batch}", 12, {0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0}},
    {X M "%9 = concat %6, %1 dim 0 : f[6] {batch}",
     12,
     {-1.5, 0, 2.5, 1, 0, 2, -1.5, 0, 2.5, 0, 1, 0}},
    {A "%9 = concat %0, %0 dim 1 : f[2,6] {}", 12, {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}},
    {M "%9 = broadcast %6 map [1] : f[2,3] {}", 6, {-1.5, 0, 2.5, -1.5, 0, 2.5}},
    {M "%9 = broadcast %6 map [0] : f[3,2] {}", 6, {-1.5, -1.5, 0, 0, 2.5, 2.5}},
    {C "%9 = broadcast %3 map [] : f[2] {candidate}", 4, {10, 10, 20, 20}},
    {A "%9 = slice %0 dim 0 [1:2] : f[1,3] {} %10 = broadcast %9 map [0,1] : f[2,3] {}",
     6,
     {4, 5, 6, 4, 5, 6}},
    {X "%9 = stop_gradient %1 : f[3] {batch}", 6, {1, 0, 2, 0, 1, 0}},
    /* scan: h = 10 h + s, from x */
    {X S "%9 = scan over time carries (%1) inputs (%2) { %0 = input \"carry0\" : f[3] {batch} "
         "%1 = input \"step0\" : f {batch} %2 = const 10 : f {} %3 = mul %0, %2 : f[3] {batch} "
         "%4 = add %3, %1 : f[3] {batch} output \"carry0\" %4 } %10 = result 0 %9 : f[3] {batch}",
     6,
     {1135, 135, 2135, -154, 846, -154}},
    /* a carry that starts as a constant, state read by name, a carry that the body does not read */
    {S C "%9 = const 1 : f {} %10 = scan over time carries (%9, %9) inputs (%2) { "
         "%0 = input \"carry0\" : f {batch, candidate} %1 = input \"c\" : f {candidate} "
         "%2 = input \"step0\" : f {batch} %3 = add %0, %1 : f {batch, candidate} "
         "output \"carry0\" %3 output \"carry1\" %2 } %11 = result 0 %10 : f {batch, candidate}",
     4,
     {31, 61, 31, 61}},
    {S C "%9 = const 1 : f {} %10 = scan over time carries (%9, %9) inputs (%2) { "
         "%0 = input \"carry0\" : f {batch, candidate} %1 = input \"c\" : f {candidate} "
         "%2 = input \"step0\" : f {batch} %3 = add %0, %1 : f {batch, candidate} "
         "output \"carry0\" %3 output \"carry1\" %2 } %11 = result 1 %10 : f {batch}",
     2,
     {5, 6}},
};

static void check_case(const Case *c, bool *ops) {
  CellArena *arena = cell_arena_create();
  char text[2048];
  snprintf(text, sizeof text, "graph g axis time 3 axis batch 2 axis candidate 2\n%s", c->nodes);
  CellGraph *g = cell_test_parse(arena, text);
  cell_output(g, "y", g->node_count - 1);
  cell_test_verify(g);
  CellTensor y = cell_test_eval(arena, g, inputs, sizeof inputs / sizeof *inputs)[0];
  assert_int_equal(y.count, c->count);
  for (int i = 0; i < c->count; i++)
    if (!(fabs(y.data[i] - c->expected[i]) <= 1e-15 * fabs(c->expected[i])) &&
        y.data[i] != c->expected[i])
      fail_msg("%s: entry %d is %.17g, not %.17g", c->nodes, i, y.data[i], c->expected[i]);
  for (CellValue v = 0; v < g->node_count; v++) ops[g->nodes[v].op] = true;
  cell_arena_destroy(arena);
}

static void each_op(void **state) {
  (void)state;
  bool ops[CELL_OP_COUNT] = {false};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i], ops);
  for (int op = 0; op < CELL_OP_COUNT; op++)
    if (!ops[op]) fail_msg("no case of %s", cell_op_info[op].name);
}

/* where a text is wrong only for the data it is given */
static void errors(void **state) {
  (void)state;
  static const struct {
    const char *nodes, *message;
  } bad[] = {
      {"%0 = input \"nowhere\" : f {}", "input \"nowhere\" is not given"},
      {"%0 = input \"a\" : f[3] {}", "input \"a\" has 6 entries, not 3"},
      {"%0 = input \"m\" : i[3] {}", "input \"m\" holds -1.5, which is no index"},
      {"%0 = input \"a\" : bits[2,3] {}", "input \"a\" holds 2, which is no bit"},
      {"%0 = input \"c\" : f[2] {} %1 = input \"i\" : i {batch} %2 = take %0 dim 0, %1 : f {batch}",
       "take of entry 2 of 2"},
      {"%0 = range : f[2000000000] {}", "value %0 has 2000000000 entries, too many to evaluate"},
      {"%0 = input \"s\" : f {time, batch} %1 = const 0 : f {} "
       "%2 = scan over time carries (%1) inputs (%0) { %0 = input \"step0\" : f {batch} "
       "%1 = input \"lost\" : f {} output \"carry0\" %1 } %3 = result 0 %2 : f {}",
       "input \"lost\" is not given"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    CellArena *arena = cell_arena_create();
    char text[1024];
    snprintf(text, sizeof text, "graph g axis time 3 axis batch 2\n%s", bad[i].nodes);
    CellGraph *g = cell_test_parse(arena, text);
    cell_output(g, "y", g->node_count - 1);
    CellDiag *diag = cell_diag_create();
    CellTensor y;
    assert_false(cell_eval(g, inputs, sizeof inputs / sizeof *inputs, &y, arena, diag));
    assert_int_equal(diag->error_count, 1);
    assert_string_equal(diag->records[0].message, bad[i].message);
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
}

/* random graphs evaluate, stay tame, and a value that nobody needs asks for no input */
static void random_graphs(void **state) {
  (void)state;
  double largest = 0;
  for (uint64_t seed = 0; seed < 200; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = seed % 2, .params = seed % 3 > 0, .large = seed % 5 == 0};
    options.differentiable = seed % 7 == 0;
    options.loss = seed % 4 == 0;
    CellGraph *g = cell_random_graph(arena, seed, &options);
    int count;
    CellTensor *data = cell_random_inputs(arena, g, seed, &count);
    cell_input(g, "unused", CELL_F, 0, NULL, 0);
    CellTensor *y = cell_test_eval(arena, g, data, count);
    for (int i = 0; i < g->output_count; i++)
      for (int64_t k = 0; k < y[i].count; k++) {
        assert_true(isfinite(y[i].data[k]));
        largest = fmax(largest, fabs(y[i].data[k]));
      }
    cell_arena_destroy(arena);
  }
  assert_true(largest < 1e6);
}

/* a contract is its loops, whatever order the evaluator takes them in */
static void counts(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_test_parse(
      arena, "graph g axis time 10 axis batch 4 axis candidate 3\n"
             "%0 = input \"w\" : f[6,20] {} %1 = input \"x\" : f[20] {batch}\n"
             "%2 = contract %0, %1 \"ij,j->i\" : f[6] {batch}\n"
             "%3 = tanh %2 : f[6] {batch}\n"
             "%4 = contract %3, %1 \"i,j->ij\" over {batch} : f[6,20] {}\n"
             "%5 = reduce sum %4 dims [0,1] : f {}\n"
             "%6 = scan over time carries (%3) inputs () { %0 = input \"carry0\" : f[6] {batch} "
             "%1 = input \"v\" : f[6,6] {} %2 = contract %1, %0 \"ij,j->i\" : f[6] {batch} "
             "output \"carry0\" %2 }\n");
  CellCounts c = cell_counts(g);
  assert_true(c.contract_flops == 2 * (6 * 20 * 4 + 6 * 20 * 4 + 10 * 6 * 6 * 4));
  assert_true(c.other_flops == 6 * 4 * cell_op_info[CELL_OP_TANH].flops + 6 * 20);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_op),
      cmocka_unit_test(errors),
      cmocka_unit_test(random_graphs),
      cmocka_unit_test(counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
