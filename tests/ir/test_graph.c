/* test_graph.c - the builder: numbering, simplifications, copies; the shape rules; the verifier. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

#define HEAD "graph g\naxis time 3\naxis batch 2\naxis candidate 4\n"
#define X "%0 = input \"x\" : f[3] {batch}\n"
#define Y "%1 = input \"y\" : f {batch}\n"
#define A "%2 = input \"a\" : f[2,6] {}\n"
#define I "%3 = input \"i\" : i {batch}\n"
#define OUT "output \"out\" "

/* ---- numbering ---- */

static void equal_values_are_one(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_graph_create(arena, "g");
  const int32_t shape[] = {3, 4};
  CellValue x = cell_input(g, "x", CELL_F, 2, shape, CELL_AXIS(CELL_AXIS_BATCH));
  CellValue y = cell_input(g, "y", CELL_F, 2, shape, 0);
  assert_int_equal(x, cell_input(g, "x", CELL_F, 2, shape, CELL_AXIS(CELL_AXIS_BATCH)));
  assert_int_not_equal(x, y);
  assert_int_equal(cell_op2(g, CELL_OP_ADD, x, y), cell_op2(g, CELL_OP_ADD, y, x));
  assert_int_not_equal(cell_op2(g, CELL_OP_SUB, x, y), cell_op2(g, CELL_OP_SUB, y, x));
  assert_int_not_equal(cell_op2(g, CELL_OP_MIN, x, y), cell_op2(g, CELL_OP_MIN, y, x));
  assert_int_equal(cell_contract(g, x, y, "ab,cb->ac", 0), cell_contract(g, x, y, "kj,mj->km", 0));
  assert_int_not_equal(cell_contract(g, x, y, "ab,cb->ac", 0),
                       cell_contract(g, x, y, "ab,cb->ca", 0));
  assert_int_not_equal(cell_reduce(g, CELL_SUM, x, 1, 0), cell_reduce(g, CELL_SUM, x, 2, 0));
  assert_int_not_equal(cell_reduce(g, CELL_SUM, x, 1, 0), cell_reduce(g, CELL_REDUCE_MAX, x, 1, 0));
  assert_int_not_equal(cell_slice(g, x, 1, 0, 2), cell_slice(g, x, 1, 1, 3));
  /* numbers by their bits */
  assert_int_not_equal(cell_const(g, 0.0), cell_const(g, -0.0));
  assert_int_equal(cell_const(g, (double)NAN), cell_const(g, -(double)NAN));
  cell_arena_destroy(arena);
}

static CellGraph *count_up(CellGraph *g, double by) {
  CellGraph *body = cell_graph_like(g, "body");
  CellValue c = cell_input(body, "carry0", CELL_F, 0, NULL, 0);
  cell_output(body, "carry0", cell_op2(body, CELL_OP_ADD, c, cell_const(body, by)));
  return body;
}

static void scans_compare_their_bodies(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create(), *other = cell_arena_create();
  CellGraph *g = cell_graph_create(arena, "g");
  CellValue zero = cell_const(g, 0);
  CellValue one = cell_scan(g, 0, count_up(g, 1), 1, &zero, 0, NULL);
  assert_int_equal(one, cell_scan(g, 0, count_up(g, 1), 1, &zero, 0, NULL));
  assert_int_not_equal(one, cell_scan(g, 0, count_up(g, 2), 1, &zero, 0, NULL));
  /* a body from elsewhere is copied */
  CellGraph *far = cell_graph_create(other, "far");
  CellValue copy = cell_scan(g, 0, count_up(far, 7), 1, &zero, 0, NULL);
  cell_arena_destroy(other);
  cell_output(g, "out", cell_result(g, copy, 0));
  assert_true(cell_test_eval(arena, g, NULL, 0)[0].data[0] == 7);
  cell_arena_destroy(arena);
}

/* many values: the table grows, the numbers stay */
static void many_values(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_graph_create(arena, "g");
  CellValue x = cell_input(g, "x", CELL_F, 0, NULL, 0), chain = x;
  for (int round = 0; round < 2; round++, chain = x)
    for (int i = 0; i < 20000; i++)
      chain = cell_op1(g, CELL_OP_SIN, cell_op2(g, CELL_OP_ADD, chain, cell_const(g, i + 1)));
  assert_int_equal(g->node_count, 1 + 3 * 20000);
  /* deep graphs copy without recursion */
  cell_output(g, "out", g->node_count - 1);
  CellGraph *copy = cell_graph_like(g, "copy");
  CellValue *map = cell_malloc((size_t)g->node_count * sizeof *map);
  for (int i = 0; i < g->node_count; i++) map[i] = CELL_NONE;
  cell_copy(copy, g, g->node_count - 1, map, NULL, NULL);
  free(map);
  assert_int_equal(copy->node_count, g->node_count);
  cell_arena_destroy(arena);
}

/* ---- simplifications: a text taken as it stands, then rebuilt ---- */

static const struct {
  const char *before, *after; /* behind HEAD */
} rewrites[] = {
    {X "%4 = const 0 : f {} %5 = add %0, %4 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 0 : f {} %5 = add %4, %0 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 0 : f {} %5 = sub %0, %4 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 1 : f {} %5 = mul %4, %0 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 1 : f {} %5 = div %0, %4 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 1 : f {} %5 = pow %0, %4 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = const 2 : f {} %5 = pow %0, %4 : f[3] {batch} " OUT "%5",
     X "%1 = mul %0, %0 : f[3] {batch}\n" OUT "%1\n"},
    {X "%4 = neg %0 : f[3] {batch} %5 = neg %4 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X "%4 = float %0 : f[3] {batch} " OUT "%4", X OUT "%0\n"},
    {X Y "%4 = const 1 : f {} %5 = where %4, %0, %1 : f[3] {batch} " OUT "%5", X OUT "%0\n"},
    {X Y "%4 = const 0 : f {} %5 = where %4, %0, %1 : f[3] {batch} " OUT "%5",
     "%0 = input \"y\" : f {batch}\n%1 = broadcast %0 map [] : f[3] {batch}\n" OUT "%1\n"},
    {"%4 = const 2 : f {} %5 = const 3 : f {} %6 = pow %4, %5 : f {} " OUT "%6",
     "%0 = const 8 : f {}\n" OUT "%0\n"},
    /* 0 x stays: it is NaN where x is not finite */
    {X "%4 = const 0 : f {} %5 = mul %0, %4 : f[3] {batch} " OUT "%5",
     X "%1 = const 0 : f {}\n%2 = mul %0, %1 : f[3] {batch}\n" OUT "%2\n"},
    /* a repeated scalar is read as a scalar */
    {X Y "%4 = broadcast %1 map [] : f[3] {batch} %5 = mul %0, %4 : f[3] {batch} " OUT "%5",
     X Y "%2 = mul %0, %1 : f[3] {batch}\n" OUT "%2\n"},
    {Y "%4 = broadcast %1 map [] : f[3] {batch} %5 = tanh %4 : f[3] {batch} " OUT "%5",
     "%0 = input \"y\" : f {batch}\n%1 = tanh %0 : f {batch}\n"
     "%2 = broadcast %1 map [] : f[3] {batch}\n" OUT "%2\n"},
    {Y "%4 = broadcast %1 map [] : f[2,3] {batch} %5 = transpose %4 map [1,0] : f[3,2] {batch} "
       "%6 = reshape %5 : f[6] {batch} %7 = slice %6 dim 0 [1:3] : f[2] {batch} " OUT "%7",
     "%0 = input \"y\" : f {batch}\n%1 = broadcast %0 map [] : f[2] {batch}\n" OUT "%1\n"},
    /* views of views */
    {A "%4 = reshape %2 : f[12] {} %5 = reshape %4 : f[2,6] {} " OUT "%5",
     "%0 = input \"a\" : f[2,6] {}\n" OUT "%0\n"},
    {A "%4 = transpose %2 map [1,0] : f[6,2] {} %5 = transpose %4 map [1,0] : f[2,6] {} " OUT "%5",
     "%0 = input \"a\" : f[2,6] {}\n" OUT "%0\n"},
    {A "%4 = transpose %2 map [0,1] : f[2,6] {} " OUT "%4",
     "%0 = input \"a\" : f[2,6] {}\n" OUT "%0\n"},
    {A "%4 = slice %2 dim 1 [1:5] : f[2,4] {} %5 = slice %4 dim 1 [1:3] : f[2,2] {} " OUT "%5",
     "%0 = input \"a\" : f[2,6] {}\n%1 = slice %0 dim 1 [2:4] : f[2,2] {}\n" OUT "%1\n"},
    {A "%4 = slice %2 dim 1 [0:6] : f[2,6] {} " OUT "%4",
     "%0 = input \"a\" : f[2,6] {}\n" OUT "%0\n"},
    {A "%4 = pad %2 dim 1 (2, 1) : f[2,9] {} %5 = slice %4 dim 1 [2:8] : f[2,6] {} " OUT "%5",
     "%0 = input \"a\" : f[2,6] {}\n" OUT "%0\n"},
    {X "%4 = pad %0 dim 0 (1, 0) : f[4] {batch} %5 = pad %4 dim 0 (1, 2) : f[7] {batch} " OUT "%5",
     X "%1 = pad %0 dim 0 (2, 2) : f[7] {batch}\n" OUT "%1\n"},
    {X "%4 = concat %0, %0 dim 0 : f[6] {batch} %5 = concat %4, %0 dim 0 : f[9] {batch} " OUT "%5",
     X "%1 = concat %0, %0, %0 dim 0 : f[9] {batch}\n" OUT "%1\n"},
    {X "%4 = concat %0, %0 dim 0 : f[6] {batch} %5 = slice %4 dim 0 [3:6] : f[3] {batch} " OUT "%5",
     X OUT "%0\n"},
    {X "%4 = slice %0 dim 0 [0:1] : f[1] {batch} %5 = slice %0 dim 0 [1:3] : f[2] {batch} "
       "%6 = concat %4, %5 dim 0 : f[3] {batch} " OUT "%6",
     X OUT "%0\n"},
    {X "%4 = broadcast %0 map [1] : f[2,3] {batch} "
       "%5 = broadcast %4 map [0,2] : f[2,5,3] {batch} " OUT "%5",
     X "%1 = broadcast %0 map [2] : f[2,5,3] {batch}\n" OUT "%1\n"},
    {X "%4 = reshape %0 : f[1,3] {batch} %5 = broadcast %4 map [0,1] : f[2,3] {batch} " OUT "%5",
     X "%1 = broadcast %0 map [1] : f[2,3] {batch}\n" OUT "%1\n"},
    {X "%4 = stop_gradient %0 : f[3] {batch} %5 = stop_gradient %4 : f[3] {batch} " OUT "%5",
     X "%1 = stop_gradient %0 : f[3] {batch}\n" OUT "%1\n"},
    {"%4 = const 5 : f {} %5 = stop_gradient %4 : f {} " OUT "%5",
     "%0 = const 5 : f {}\n" OUT "%0\n"},
    {I "%4 = stop_gradient %3 : i {batch} " OUT "%4", "%0 = input \"i\" : i {batch}\n" OUT "%0\n"},
    /* sums of one, products of entries, labels */
    {X "%4 = reshape %0 : f[1,3] {batch} %5 = reduce sum %4 dims [0] : f[3] {batch} " OUT "%5",
     X OUT "%0\n"},
    {X "%4 = reshape %0 : f[1,3] {batch} %5 = reduce max %4 dims [0] : f[3] {batch} " OUT "%5",
     X OUT "%0\n"},
    {X Y "%4 = contract %0, %1 \"k,->k\" : f[3] {batch} " OUT "%4",
     X Y "%2 = mul %0, %1 : f[3] {batch}\n" OUT "%2\n"},
    {X A "%4 = contract %2, %2 \"pq,rq->rp\" : f[2,2] {} " OUT "%4",
     "%0 = input \"a\" : f[2,6] {}\n%1 = contract %0, %0 \"ij,kj->ki\" : f[2,2] {}\n" OUT "%1\n"},
};

static void simplifications(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rewrites / sizeof *rewrites; i++) {
    CellArena *arena = cell_arena_create();
    char text[1024], after[1024];
    snprintf(text, sizeof text, HEAD "%s\n", rewrites[i].before);
    snprintf(after, sizeof after, HEAD "%s", rewrites[i].after);
    CellGraph *g = cell_test_parse(arena, text);
    cell_test_verify(g);
    /* twice: nodes that only the old form read are gone behind the second */
    CellGraph *h = cell_rewrite(cell_rewrite(g, NULL, NULL), NULL, NULL);
    cell_test_verify(h);
    char *printed = cell_test_print(arena, h);
    assert_string_equal(printed, after);

    /* and it computes the same */
    int count;
    CellTensor *data = cell_random_inputs(arena, g, i, &count);
    CellTensor y = cell_test_eval(arena, g, data, count)[0];
    CellTensor z = cell_test_eval(arena, h, data, count)[0];
    assert_int_equal(y.count, z.count);
    for (int64_t k = 0; k < y.count; k++) assert_true(y.data[k] == z.data[k]);
    cell_arena_destroy(arena);
  }
}

/* a rewrite that takes an axis away from an operand leaves sums over it right */
static CellValue flatten_x(CellGraph *to, const CellGraph *from, CellValue v, const CellValue *args,
                           void *context) {
  (void)args, (void)context;
  return from->nodes[v].op == CELL_OP_INPUT ? cell_const(to, 3) : CELL_NONE;
}

static void lost_axes(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_test_parse(
      arena, HEAD "%0 = input \"x\" : f {batch, candidate}\n"
                  "%1 = reduce sum %0 over {batch} : f {candidate}\n"
                  "%2 = reduce max %0 over {batch} : f {candidate}\n"
                  "%3 = contract %0, %0 \",->\" over {batch, candidate} : f {}\n"
                  "%4 = axis_index candidate : i {candidate}\n"
                  "%5 = take %0 axis batch, %4 : f {candidate}\n"
                  "output \"sum\" %1 output \"max\" %2 output \"squares\" %3 output \"take\" %5");
  CellGraph *h = cell_rewrite(g, flatten_x, NULL);
  cell_test_verify(h);
  CellTensor *y = cell_test_eval(arena, h, NULL, 0);
  assert_true(y[0].data[0] == 6 && y[1].data[0] == 3 && y[2].data[0] == 72 && y[3].data[0] == 3);
  cell_arena_destroy(arena);
}

static void copies_compute_the_same(void **state) {
  (void)state;
  for (uint64_t seed = 1000; seed < 1060; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = true, .params = true};
    CellGraph *g = cell_random_graph(arena, seed, &options);
    CellGraph *h = cell_rewrite(g, NULL, NULL);
    int count;
    CellTensor *data = cell_random_inputs(arena, g, seed, &count);
    CellTensor *y = cell_test_eval(arena, g, data, count),
               *z = cell_test_eval(arena, h, data, count);
    for (int i = 0; i < g->output_count; i++) {
      assert_string_equal(y[i].name, z[i].name);
      assert_memory_equal(y[i].data, z[i].data, (size_t)y[i].count * sizeof(double));
    }
    cell_arena_destroy(arena);
  }
}

/* ---- shape rules: what each op gives, or why not ---- */

#define P                                                                                          \
  "%0 = input \"p\" : f[2,3] {batch} %1 = input \"q\" : f[3,4] {candidate} "                       \
  "%2 = input \"s\" : f {time} %3 = input \"i\" : i {batch} %4 = input \"b\" : bits[2,3] {} "

/* good: the type as text; bad: the message */
static const struct {
  const char *node, *result;
} shapes[] = {
    {"range : f[7]", "f[7] {}"},
    {"range : f[2,2]", "range: a range has rank 1"},
    {"axis_index time : i", "i {time}"},
    {"add %0, %2 : f", "f[2,3] {time, batch}"},
    {"add %0, %4 : f", "f[2,3] {batch}"},
    {"mul %4, %4 : f", "f[2,3] {}"},
    {"add %0, %1 : f", "add: operands differ in shape"},
    {"add %0, %3 : f", "add: operand 1 is an index; only float takes one"},
    {"where %4, %0, %2 : f", "f[2,3] {time, batch}"},
    {"where %4, %0 : f", "where: 2 operands, where takes 3"},
    {"float %3 : f", "f {batch}"},
    {"one_hot %3 : f[5]", "f[5] {batch}"},
    {"one_hot %3 : f", "one_hot: the result has one dimension more"},
    {"one_hot %0 : f[5]", "one_hot: the operand is not an index"},
    {"sign_bits %3 : f[6]", "f[6] {batch}"},
    {"sign_bits %3 : f[32]", "sign_bits: an index has 31 bits"},
    {"reduce sum %0 dims [1] : f", "f[2] {batch}"},
    {"reduce sum %0 dims [0,1] over {batch} : f", "f {}"},
    {"reduce sum %4 dims [0] : f", "f[3] {}"},
    {"reduce argmax %0 dims [0] : f", "i[3] {batch}"},
    {"reduce sum %0 : f", "reduce: nothing to reduce"},
    {"reduce sum %0 dims [2] : f", "reduce: no such dimension in rank 2"},
    {"reduce sum %0 over {time} : f",
     "reduce: the operand does not vary over every axis that goes"},
    {"reduce sum %3 over {batch} : f", "reduce: the operand is an index"},
    {"reduce max %0 dims [0,1] : f", "reduce: max and argmax go over one dimension or one axis"},
    {"reduce max %0 dims [0] over {batch} : f",
     "reduce: max and argmax go over one dimension or one axis"},
    {"contract %0, %1 \"ij,jk->ik\" : f", "f[2,4] {batch, candidate}"},
    {"contract %0, %1 \"ij,jk->kji\" over {batch} : f", "f[4,3,2] {candidate}"},
    {"contract %0, %0 \"ij,ij->j\" over {batch} : f", "f[3] {}"},
    {"contract %0, %2 \"ij,->ij\" over {time} : f", "f[2,3] {batch}"},
    {"contract %0, %1 \"ij,ik->jk\" : f", "contract: letter i is 2 and 3"},
    {"contract %0, %1 \"ij,j->i\" : f", "contract: operand 1 has rank 2 and 1 letters"},
    {"contract %0, %1 \"ij,jk->i\" : f", "contract: a summed letter must be in both operands"},
    {"contract %0, %1 \"ij,jk->im\" : f", "contract: a letter only in the result"},
    {"contract %0, %1 \"ii,jk->ij\" : f", "contract: letter i twice"},
    {"contract %0, %1 \"ij,jk->ii\" : f", "contract: letter i twice"},
    {"contract %0, %1 \"ij,jk->ik\" over {time} : f",
     "contract: no operand varies over an axis that is summed"},
    {"contract %0, %3 \"ij,->ij\" : f", "contract: operand 1 is an index"},
    {"take %0 dim 0, %3 : f", "f[3] {batch}"},
    {"take %4 dim 1, %3 : f", "bits[2] {batch}"},
    {"take %1 axis candidate, %3 : f", "f[3,4] {batch}"},
    {"take %0 dim 2, %3 : f", "take: no dimension 2 in rank 2"},
    {"take %0 dim 0, %2 : f", "take: operand 1 is not an index of rank 0"},
    {"take %1 axis time, %3 : f", "take: the operand does not vary over the axis"},
    {"take %0 axis batch, %3 : f", "take: the index varies over the axis that it picks from"},
    {"reshape %0 : f[6]", "f[6] {batch}"},
    {"reshape %4 : f[3,1,2]", "bits[3,1,2] {}"},
    {"reshape %0 : f[5]", "reshape: 6 entries into 5"},
    {"transpose %0 map [1,0] : f", "f[3,2] {batch}"},
    {"transpose %0 map [1,1] : f", "transpose: the map is not a permutation"},
    {"slice %0 dim 1 [1:3] : f", "f[2,2] {batch}"},
    {"slice %0 dim 1 [1:4] : f", "slice: 1:4 of 3"},
    {"slice %0 dim 1 [1:1] : f", "slice: 1:1 of 3"},
    {"pad %0 dim 0 (1, 2) : f", "f[5,3] {batch}"},
    {"pad %0 dim 0 (2147483647, 2) : f", "pad: a wrong amount"},
    {"concat %0, %4 dim 1 : f", "f[2,6] {batch}"},
    {"concat %4, %4 dim 0 : f", "bits[4,3] {}"},
    {"concat %0, %1 dim 1 : f", "concat: operands differ in dimension 0"},
    {"concat %0, %2 dim 0 : f", "concat: operands differ in rank"},
    {"concat %3, %2 dim 0 : f", "concat: no dimension 0 in rank 0"},
    {"broadcast %0 map [1,2] : f[5,2,3]", "f[5,2,3] {batch}"},
    {"broadcast %0 map [2,1] : f[5,3,2]", "broadcast: the map does not ascend within rank 3"},
    {"broadcast %0 map [0,1] : f[3,3]", "broadcast: 2 does not stretch to 3"},
    {"stop_gradient %4 : f", "bits[2,3] {}"},
    {"result 0 %0 : f", "result: the operand is not a scan"},
};

/* the parser gives the declared type and the one that the rule gives; here the declared one is
 * always wrong by an axis ("draw"), so that one message holds the result */
static void shape_rules(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    char text[1024], expected[256];
    const char *op_end = strchr(shapes[i].node, ' ');
    snprintf(text, sizeof text, "%s%%5 = %s {draw}", HEAD "axis draw 2\n" P, shapes[i].node);
    CellDiag *diag = cell_diag_create();
    CellArena *arena = cell_arena_create();
    assert_null(cell_parse_ir(arena, diag, cell_diag_source(diag, "t", text, strlen(text))));
    const char *message = diag->records[0].message;
    const char *gives = strstr(message, " gives ");
    snprintf(expected, sizeof expected, "%.*s gives %s", (int)(op_end - shapes[i].node),
             shapes[i].node, shapes[i].result);
    if (gives && !strstr(message, expected)) fail_msg("%s: %s", shapes[i].node, message);
    if (!gives) assert_string_equal(message, shapes[i].result);
    cell_arena_destroy(arena);
    cell_diag_destroy(diag);
  }
}

/* scans: what the body must agree on with the outside */
static const struct {
  const char *text, *message;
} scans[] = {
    {"(%0) inputs () { output \"carry0\" %0 }", "no value of this number before"},
    {"(%0) inputs () { %0 = input \"carry0\" : f[3] {batch} output \"carry0\" %0 }",
     "scan: carry0 has another type in the body"},
    {"(%0) inputs () { %0 = input \"carry0\" : f[2] {} output \"carry0\" %0 }",
     "scan: carry0 gains an axis"},
    {"(%0) inputs () { %0 = input \"carry0\" : f[2] {batch} %1 = reduce sum %0 dims [0] : f "
     "{batch} "
     "output \"carry0\" %1 }",
     "scan: carry0 leaves with another type"},
    {"(%0) inputs () { %0 = input \"carry0\" : f[2] {time, batch} output \"carry0\" %0 }",
     "scan: %0 of the body varies over the scanned axis"},
    {"(%0) inputs (%1) { %0 = input \"step0\" : f[3] {batch} output \"carry0\" %0 }",
     "scan: carry0 changes shape"},
    {"(%0) inputs (%1) { %0 = input \"carry0\" : f[2] {batch} %1 = input \"step0\" : f[3] {} "
     "output \"carry0\" %0 }",
     "scan: step0 has other axes in the body"},
};

static void scan_rules(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s",
             HEAD "%0 = input \"h\" : f[2] {batch} %1 = input \"x\" : f[3] {time, batch} "
                  "%2 = scan over time carries ",
             scans[i].text);
    CellDiag *diag = cell_diag_create();
    CellArena *arena = cell_arena_create();
    assert_null(cell_parse_ir(arena, diag, cell_diag_source(diag, "t", text, strlen(text))));
    assert_string_equal(diag->records[0].message, scans[i].message);
    cell_arena_destroy(arena);
    cell_diag_destroy(diag);
  }
}

/* ---- verifier: graphs broken by hand ---- */

static CellGraph *healthy(CellArena *arena) {
  return cell_test_parse(arena, HEAD "%0 = input \"x\" : f[3] {batch}\n"
                                     "%1 = input \"y\" : f[3] {batch}\n"
                                     "%2 = add %0, %1 : f[3] {batch}\n"
                                     "%3 = contract %2, %1 \"i,i->\" : f {batch}\n"
                                     "%4 = reduce sum %3 over {batch} : f {}\n"
                                     "%5 = const 2 : f {}\n"
                                     "%6 = scan over time carries (%5) inputs () {\n"
                                     "  %0 = input \"carry0\" : f {}\n"
                                     "  %1 = neg %0 : f {}\n"
                                     "  output \"carry0\" %1\n"
                                     "}\n"
                                     "%7 = result 0 %6 : f {}\n"
                                     "output \"a\" %4\n"
                                     "output \"b\" %7\n"
                                     "minimize %4 over \"l1\" sgd(lr = 1)");
}

static void break_shape(CellGraph *g) {
  g->nodes[2].shape[0] = 4;
}
static void break_axes(CellGraph *g) {
  g->nodes[3].axes = 0;
}
static void break_axis_bit(CellGraph *g) {
  g->nodes[0].axes = 1u << 7;
}
static void break_dtype(CellGraph *g) {
  g->nodes[2].dtype = CELL_BITS;
}
static void break_op(CellGraph *g) {
  g->nodes[2].op = CELL_OP_COUNT;
}
static void break_arity(CellGraph *g) {
  g->nodes[2].arg_count = 1;
}
static void break_order(CellGraph *g) {
  ((CellValue *)(uintptr_t)g->nodes[2].args)[0] = 3;
}
static void break_self(CellGraph *g) {
  ((CellValue *)(uintptr_t)g->nodes[2].args)[1] = 2;
}
static void break_missing(CellGraph *g) {
  ((CellValue *)(uintptr_t)g->nodes[2].args)[0] = -1;
}
static void break_label(CellGraph *g) {
  g->nodes[3].labels[0][0] = 'z';
}
static void break_letters(CellGraph *g) {
  memset(g->nodes[3].labels[0], 'a', 5);
}
static void break_over(CellGraph *g) {
  g->nodes[4].over = CELL_AXIS(CELL_AXIS_TIME);
}
static void break_name(CellGraph *g) {
  g->nodes[1].name = "x";
}
static void break_no_name(CellGraph *g) {
  g->nodes[1].name = NULL;
}
static void break_output(CellGraph *g) {
  g->outputs[0].value = 99;
}
static void break_output_scan(CellGraph *g) {
  g->outputs[0].value = 6;
}
static void break_output_twice(CellGraph *g) {
  g->outputs[1].name = "a";
}
static void break_loss(CellGraph *g) {
  g->minimize[0].loss = 3;
}
static void break_body(CellGraph *g) {
  g->nodes[6].body = NULL;
}
static void break_in_body(CellGraph *g) {
  g->nodes[6].body->nodes[1].rank = 1;
}
static void break_body_output(CellGraph *g) {
  g->nodes[6].body->outputs[0].value = 5;
}
static void break_body_axes(CellGraph *g) {
  g->nodes[6].body->axes[1].extent = 9;
}
static void break_carries(CellGraph *g) {
  g->nodes[6].carry_count = 2;
}
static void break_result(CellGraph *g) {
  g->nodes[7].begin = 1;
}
static void break_extent(CellGraph *g) {
  g->axes[1].extent = 0;
}
static void break_rank(CellGraph *g) {
  g->nodes[0].rank = 9;
}

static const struct {
  void (*damage)(CellGraph *);
  const char *message;
} damages[] = {
    {break_shape, "^ error: should be f[3] {batch}"},
    {break_axes, "^ error: should be f {batch}"},
    {break_axis_bit, "^ error: an axis that the graph does not have"},
    {break_dtype, "^ error: should be f[3] {batch}"},
    {break_op, "^ error: no such op"},
    {break_arity, "^ error: 1 operands, add takes 2"},
    {break_order, "^ error: operand 0, %3, does not stand above"},
    {break_self, "^ error: operand 1, %2, does not stand above"},
    {break_missing, "^ error: operand 0, %-1, does not stand above"},
    {break_label, "^ error: a summed letter must be in both operands"},
    {break_letters, "^ error: more than 4 letters"},
    {break_over, "^ error: the operand does not vary over every axis that goes"},
    {break_name, "^ error: an input of this name stands above"},
    {break_no_name, "^ error: no name"},
    {break_output, "^ error: output \"a\" is no value"},
    {break_output_scan, "^ error: output \"a\" is a scan"},
    {break_output_twice, "^ error: output \"a\" stands twice"},
    {break_loss, "^ error: the loss of \"l1\" has not rank 0 and no axes"},
    {break_body, "^ error: no body"},
    {break_in_body, "^ error: should be f {}"},
    {break_body_output, "^ error: output \"carry0\" is no value"},
    {break_body_axes, "^ error: the body has other axes"},
    {break_carries, "^ error: 2 carries of 1 operands"},
    {break_result, "^ error: no carry 1"},
    {break_extent, "^ error: axis batch has extent 0"},
    {break_rank, "^ error: rank 9"},
};

static void verifier(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    CellArena *arena = cell_arena_create();
    CellText text = {0};
    CellGraph *g = healthy(arena);
    cell_test_verify(g);
    damages[i].damage(g);
    assert_false(cell_verify(g, &text));
    if (!strstr(text.data, damages[i].message))
      fail_msg("case %zu: no \"%s\" in\n%s", i, damages[i].message, text.data);
    cell_text_free(&text);
    cell_arena_destroy(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_values_are_one),
      cmocka_unit_test(scans_compare_their_bodies),
      cmocka_unit_test(many_values),
      cmocka_unit_test(simplifications),
      cmocka_unit_test(lost_axes),
      cmocka_unit_test(copies_compute_the_same),
      cmocka_unit_test(shape_rules),
      cmocka_unit_test(scan_rules),
      cmocka_unit_test(verifier),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
