/* test_sparse.c - zeros that come to light where sums are taken apart: random chains behind a relu, alone, side by
 * side and round a scan, against the same graph as it was written. */
#include "ir/fuse.h"
#include "ir/internal.h"
#include "tests/support/ir_text.h"
#include "tests/support/random_chain.h"
#include "tests/support/random_graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PROGRAMS = 400 };

static int sparse_products(CellArena *arena, const CellGraph *g, const bool *carries) {
  bool *sparse = fuse_sparse_values(arena, g, carries);
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->op == CELL_OP_SCAN)
      count += sparse_products(arena, n->body, fuse_sparse_carries(arena, g, n));
    for (int i = 0; n->op == CELL_OP_CONTRACT && i < 2; i++) {
      // alone, or a piece beside others
      const CellNode *x = cell_node(g, n->args[i]);
      bool is = sparse[n->args[i]];
      for (int p = 0; x->op == CELL_OP_CONCAT && p < x->arg_count; p++) is |= sparse[x->args[p]];
      count += is;
    }
  }
  return count;
}

static void chains(void **state) {
  (void)state;
  int before = 0, after = 0, scans = 0;
  for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
    CellArena *arena = cell_arena_create();
    CellDiag *diag = cell_diag_create();
    CellGraph *g = cell_random_chain(arena, seed, 1);
    const CellGraph *apart = fuse_sparse_terms(g, true);
    CellText text = {0};
    if (!cell_verify(apart, &text)) fail_msg("seed %llu\n%s", (unsigned long long)seed, text.data);
    cell_text_free(&text);
    int count = 0;
    CellTensor *inputs = cell_random_inputs(arena, g, seed, &count);
    CellTensor *want = CELL_NEW_ARRAY(arena, CellTensor, g->output_count),
               *got = CELL_NEW_ARRAY(arena, CellTensor, g->output_count);
    assert_true(cell_eval(g, inputs, count, want, arena, diag));
    assert_true(cell_eval(apart, inputs, count, got, arena, diag));
    for (int o = 0; o < g->output_count; o++)
      for (int64_t i = 0; i < want[o].count; i++)
        if (fabs(got[o].data[i] - want[o].data[i]) > 1e-9 * (1 + fabs(want[o].data[i])))
          fail_msg("seed %llu: %s[%lld] is %.17g, not %.17g", (unsigned long long)seed,
                   g->outputs[o].name, (long long)i, got[o].data[i], want[o].data[i]);
    before += sparse_products(arena, g, NULL), after += sparse_products(arena, apart, NULL);
    for (CellValue v = 0; v < apart->node_count; v++) {
      const CellNode *n = cell_node(apart, v);
      scans += n->op == CELL_OP_SCAN && n->carry_count > 2;
    }
    cell_diag_destroy(diag);
    cell_arena_destroy(arena);
  }
  // most chains have terms, and carries go apart
  assert_true(2 * after > 3 * before);
  assert_true(scans > PROGRAMS / 2);
}

/* a layer norm behind a relu, as text: what becomes of it */
static void layer_norm(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g = cell_test_parse(arena, "graph norm\n"
                                        "axis time 1\n"
                                        "axis batch 64\n"
                                        "axis candidate 1\n"
                                        "%0 = input \"x\" : f[128] {batch}\n"
                                        "%1 = relu %0 : f[128] {batch}\n"
                                        "%2 = reduce sum %1 dims [0] : f {batch}\n"
                                        "%3 = const 128 : f {}\n"
                                        "%4 = div %2, %3 : f {batch}\n"
                                        "%5 = sub %1, %4 : f[128] {batch}\n"
                                        "%6 = input \"params/g\" : f[128] {}\n"
                                        "%7 = mul %5, %6 : f[128] {batch}\n"
                                        "%8 = input \"params/w\" : f[128,256] {}\n"
                                        "%9 = contract %8, %7 \"ij,i->j\" : f[256] {batch}\n"
                                        "output \"y\" %9\n");
  assert_int_equal(sparse_products(arena, g, NULL), 0);
  assert_int_equal(sparse_products(arena, fuse_sparse_terms(g, false), NULL), 1);
  // a single sample would read the matrix twice
  g->axes[CELL_AXIS_BATCH].extent = 1;
  assert_int_equal(sparse_products(arena, fuse_sparse_terms(g, false), NULL), 0);
  cell_arena_destroy(arena);
}

/* The gradient of a matrix behind it: the samples' numbers are summed beside the product. */
static void gradient(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  CellGraph *g =
      cell_test_parse(arena, "graph norm\n"
                             "axis time 1\n"
                             "axis batch 512\n"
                             "axis candidate 1\n"
                             "%0 = input \"x\" : f[128] {batch}\n"
                             "%1 = relu %0 : f[128] {batch}\n"
                             "%2 = reduce sum %1 dims [0] : f {batch}\n"
                             "%3 = sub %1, %2 : f[128] {batch}\n"
                             "%4 = input \"dy\" : f[1024] {batch}\n"
                             "%5 = contract %4, %3 \"i,j->ji\" over {batch} : f[128,1024] {}\n"
                             "output \"dw\" %5\n");
  const CellGraph *apart = fuse_sparse_terms(g, false);
  assert_int_equal(sparse_products(arena, g, NULL), 0);
  assert_int_equal(sparse_products(arena, apart, NULL), 1);
  assert_true(fuse_is_gradient_sum(apart, apart->outputs[0].value));
  // of few samples the terms would be as much as what is left out
  g->axes[CELL_AXIS_BATCH].extent = 4;
  assert_ptr_equal(fuse_sparse_terms(g, false), g);
  cell_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(chains), cmocka_unit_test(layer_norm),
                                     cmocka_unit_test(gradient)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
