/* test_text.c - the text form: print, parse, print gives the same bytes; bad text gives an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/ir_text.h"
#include "tests/support/random_graph.h"

static CellGraph *parse(CellArena *arena, const char *text, size_t length, char *message,
                        size_t room) {
  CellDiag *diag = cell_diag_create();
  int source = cell_diag_source(diag, "test.ir", text, length);
  CellGraph *g = cell_parse_ir(arena, diag, source);
  assert_int_equal(g == NULL, diag->error_count > 0);
  if (message) snprintf(message, room, "%s", g ? "" : diag->records[0].message);
  cell_diag_destroy(diag);
  return g;
}

static void prints_and_parses(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 300; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = seed % 2, .params = seed % 3 > 0, .large = seed % 5 == 0};
    options.loss = seed % 4 == 0;
    CellGraph *g = cell_random_graph(arena, seed, &options);
    cell_test_verify(g);
    char *first = cell_test_print(arena, g);
    CellGraph *h = cell_test_parse(arena, first);
    cell_test_verify(h);
    assert_string_equal(first, cell_test_print(arena, h));
    /* and the builder makes nothing simpler of what it made */
    assert_string_equal(first, cell_test_print(arena, cell_rewrite(h, NULL, NULL)));
    cell_arena_destroy(arena);
  }
}

/* every op of the table stands in some random graph, in the body of a scan too */
static void count_ops(const CellGraph *g, int *counts) {
  for (CellValue v = 0; v < g->node_count; v++) {
    counts[g->nodes[v].op]++;
    if (g->nodes[v].body) count_ops(g->nodes[v].body, counts);
  }
}

static void random_graphs_cover_the_table(void **state) {
  (void)state;
  int counts[CELL_OP_COUNT] = {0};
  for (uint64_t seed = 0; seed < 100; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = true, .params = true};
    count_ops(cell_random_graph(arena, seed, &options), counts);
    cell_arena_destroy(arena);
  }
  for (int op = 0; op < CELL_OP_COUNT; op++)
    if (counts[op] < 5) fail_msg("%s stands %d times", cell_op_info[op].name, counts[op]);
}

static void whole_text(void **state) {
  (void)state;
  static const char text[] = "graph update\n"
                             "axis time 10\n"
                             "axis batch 512\n"
                             "axis candidate 3\n"
                             "axis \"my axis\" 2\n"
                             "%0 = input \"odd \\\"name\\\\ \\x0a\" : bits[10,10,4] {batch}\n"
                             "%1 = input \"w\" : f[8,400] {}\n"
                             "%2 = reshape %0 : bits[400] {batch}\n"
                             "%3 = contract %1, %2 \"ij,j->i\" : f[8] {batch}\n"
                             "%4 = const 0.1 : f {}\n"
                             "%5 = const -inf : f {}\n"
                             "%6 = const nan : f {}\n"
                             "%7 = const 1.0000000000000002 : f {}\n"
                             "%8 = const -0 : f {}\n"
                             "%9 = range : f[8] {}\n"
                             "%10 = axis_index \"my axis\" : i {\"my axis\"}\n"
                             "%11 = reduce sum %3 dims [0] over {batch} : f {}\n"
                             "%12 = reduce argmax %3 dims [0] : i {batch}\n"
                             "%13 = take %3 dim 0, %12 : f {batch}\n"
                             "%14 = take %3 axis batch, %10 : f[8] {\"my axis\"}\n"
                             "%15 = slice %3 dim 0 [2:5] : f[3] {batch}\n"
                             "%16 = pad %15 dim 0 (2, 1) : f[6] {batch}\n"
                             "%17 = broadcast %15 map [1] : f[2,3] {batch}\n"
                             "%18 = input \"sequence\" : f[8] {time, batch}\n"
                             "%19 = scan over time carries (%3, %9) inputs (%18) {\n"
                             "  %0 = input \"carry0\" : f[8] {batch}\n"
                             "  %1 = input \"step0\" : f[8] {batch}\n"
                             "  %2 = add %0, %1 : f[8] {batch}\n"
                             "  output \"carry0\" %2\n"
                             "  output \"carry1\" %1\n"
                             "}\n"
                             "%20 = result 1 %19 : f[8] {batch}\n"
                             "output \"l1/q\" %11\n"
                             "output \"h\" %20\n"
                             "minimize %11 over \"l1\" adam(lr = 0.0001, b1 = 0.9, b2 = 0.99, eps "
                             "= 1e-08, clip = 1, decay "
                             "= 0)\n"
                             "wanted \"l1/\"\n";
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_test_parse(arena, text);
  cell_test_verify(g);
  assert_string_equal(text, cell_test_print(arena, g));
  assert_true(g->minimize[0].optimizer.lr == 1e-4);
  cell_arena_destroy(arena);
}

/* numbers may have gaps, comments and line ends mean nothing, equal lines are one value */
static void loose_text(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g =
      cell_test_parse(arena, "graph g axis batch 2 ; a comment\n%3 = input\n\"x\" : f {batch}"
                             "%7 = neg %3 : f {batch} %9 = neg %3 : f {batch}\n"
                             "%10 = mul %7, %9 : f {batch} output \"y\" %10");
  assert_string_equal(cell_test_print(arena, g), "graph g\n"
                                                 "axis time 1\n"
                                                 "axis batch 2\n"
                                                 "axis candidate 1\n"
                                                 "%0 = input \"x\" : f {batch}\n"
                                                 "%1 = neg %0 : f {batch}\n"
                                                 "%2 = mul %1, %1 : f {batch}\n"
                                                 "output \"y\" %2\n");
  cell_arena_destroy(arena);
}

static void bad_text(void **state) {
  (void)state;
  static const struct {
    const char *body, *message;
  } cases[] = {
      {"%0 = frob : f {}", "unknown op"},
      {"%0 = const : f {}", "a number expected"},
      {"%0 = input \"x\" : f[0] {}", "input: extent 0"},
      {"%0 = input \"x\" : f[1,1,1,1,1] {}", "more than 4 entries"},
      {"%0 = input \"x\" : f[2000000000,2000000000] {}", "input: too many entries"},
      {"%0 = input \"x\" : f {nowhere}", "unknown axis"},
      {"%0 = input \"x : f {}", "string without an end"},
      {"%0 = input \"\\q\" : f {}", "unknown escape in a string"},
      {"%0 = input \"\" : f {}", "input: no name"},
      {"%0 = neg %0 : f {}", "no value of this number before"},
      {"%0 = const 1 : f {} %0 = const 2 : f {}", "numbers of values must ascend"},
      {"%0 = const 1 : f[2] {}", "declared f[2] {}, but const gives f {}"},
      {"%0 = const 1 : f {} %1 = add %0 : f {}", "add: 1 operands, add takes 2"},
      {"%0 = input \"x\" : f {} %1 = input \"x\" : f[2] {}", "input of a name that stands above"},
      {"%0 = const 1 : f {} output \"y\" %0 output \"y\" %0", "output of a name that stands above"},
      {"%0 = input \"x\" : f[2] {} %1 = input \"y\" : f[3] {} %2 = add %0, %1 : f[2] {}",
       "add: operands differ in shape"},
      {"%0 = input \"x\" : f[2] {} %1 = contract %0, %0 \"ij\" : f {}",
       "labels are written as \"ij,jk->ik\""},
      {"%0 = input \"x\" : f[2] {} %1 = contract %0, %0 \"i,j->i\" : f[2] {}",
       "contract: a summed letter must be in both operands"},
      {"%0 = scan over time carries () inputs () { }", "scan: 0 carries of 0 operands"},
      {"%0 = const 1 : f {} %1 = scan over time carries (%0) inputs () { }",
       "scan: the body has no output carry0"},
      {"%0 = const 1 : f {} %1 = scan over time carries (%0) inputs () {", "'}' expected"},
      {"}", "'}' without a '{'"},
      {"%0 = const 1 : f {} minimize %0 over \"l1\" newton()", "adam, rmsprop or sgd expected"},
      {"%0 = const 1 : f {} minimize %0 over \"l1\" sgd(rate = 1)", "unknown setting"},
      {"\x01", "unknown character"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CellArena *arena = cell_arena_create();
    char text[512], message[256];
    snprintf(text, sizeof text, "graph g\naxis time 3\n%s\n", cases[i].body);
    assert_null(parse(arena, text, strlen(text), message, sizeof message));
    assert_string_equal(message, cases[i].message);
    cell_arena_destroy(arena);
  }
}

/* random damage to good text: an error or another graph, never a crash; what parses, verifies */
static void damaged_text(void **state) {
  (void)state;
  const char *rounds = getenv("CELLC_FUZZ");
  uint64_t random = 1;
  for (uint64_t seed = 0; seed < (rounds ? strtoull(rounds, NULL, 10) : 60); seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.scan = true, .params = true, .size = 20};
    char *good = cell_test_print(arena, cell_random_graph(arena, seed, &options));
    size_t length = strlen(good);
    char *text = cell_arena_alloc(arena, 2 * length);
    for (int round = 0; round < 50; round++) {
      CellArena *scratch = cell_arena_create();
      size_t n = length;
      memcpy(text, good, length);
      for (int hits = 1 + (int)(cell_random_bits(&random) % 3); hits > 0 && n > 1; hits--) {
        size_t at = cell_random_bits(&random) % n, from = cell_random_bits(&random) % n;
        size_t run = 1 + cell_random_bits(&random) % 12;
        if (at + run > n) run = n - at;
        switch (cell_random_bits(&random) % 5) {
        case 0: text[at] = (char)cell_random_bits(&random); break;
        case 1: text[at] = "0123456789%{}[]()\",:=-> ;\n"[cell_random_bits(&random) % 26]; break;
        case 2: /* cut a run out */
          memmove(text + at, text + at + run, n - at - run);
          n -= run;
          break;
        case 3: /* copy one over another */
          if (from + run <= n) memmove(text + at, text + from, run);
          break;
        default: n = at + 1; break; /* end here */
        }
      }
      CellGraph *g = parse(scratch, text, n, NULL, 0);
      if (g) cell_test_verify(g);
      cell_arena_destroy(scratch);
    }
    cell_arena_destroy(arena);
  }
}

static void deep_nesting(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellText text = {0};
  cell_text_printf(&text, "graph g\n");
  for (int i = 0; i < 10000; i++)
    cell_text_printf(&text, "%%0 = const 1 : f {} %%1 = scan over time carries (%%0) inputs () {");
  char message[128];
  assert_null(parse(arena, text.data, text.length, message, sizeof message));
  assert_string_equal(message, "scans are nested too deeply");
  cell_text_free(&text);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prints_and_parses), cmocka_unit_test(random_graphs_cover_the_table),
      cmocka_unit_test(whole_text),        cmocka_unit_test(loose_text),
      cmocka_unit_test(bad_text),          cmocka_unit_test(damaged_text),
      cmocka_unit_test(deep_nesting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
