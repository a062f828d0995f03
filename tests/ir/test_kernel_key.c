/* kernels of generated programs, and each with one thing changed: keys differ where texts do, and nowhere else */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/kernel.h"
#include "tests/support/random_graph.h"

#include <string.h>

typedef struct {
  CellKernel *k;
  CellText before, now;
  CellKey key;
  int changes; /* that show in the text */
} Case;

static void print(const CellKernel *k, CellText *text) {
  text->length = 0;
  cell_kernel_print(k, text);
}

static void compare(Case *c) {
  print(c->k, &c->now);
  bool same =
      c->now.length == c->before.length && memcmp(c->now.data, c->before.data, c->now.length) == 0;
  bool equal = cell_key_equal(cell_kernel_key(c->k, (CellKey){{0, 0}}), c->key);
  if (same != equal)
    print_message("%s\n-> %s key\n%s\n", c->before.data, equal ? "the same" : "another",
                  c->now.data);
  assert_int_equal(same, equal);
  c->changes += !same;
}

static void change(Case *c, int64_t *field) {
  static const int64_t by[] = {1, (int64_t)1 << 32};
  for (size_t i = 0; i < 2; i++) {
    *field += by[i];
    compare(c);
    *field -= by[i];
  }
}

static void change_int(Case *c, int *field) {
  *field += 1;
  compare(c);
  *field -= 1;
}

static void change_flag(Case *c, bool *field) {
  *field = !*field;
  compare(c);
  *field = !*field;
}

static void change_affine(Case *c, CellAffine *a) {
  change(c, &a->base);
  for (int i = 0; i < a->term_count; i++) {
    change_int(c, &a->terms[i].var);
    a->terms[i].coef++;
    if (a->terms[i].coef != 0) compare(c);
    a->terms[i].coef--;
  }
  CellAffine kept = *a;
  if (a->term_count > 0) {
    a->term_count--;
    compare(c);
  }
  *a = kept;
  if (a->loaded < 0)
    a->loaded = 0, a->loaded_coef = 3;
  else
    a->loaded++;
  compare(c);
  *a = kept;
}

static void change_buffer(Case *c, CellBufferRef *buffer) {
  change_flag(c, &buffer->scratch);
  change_int(c, &buffer->index);
}

static void change_view(Case *c, CellView *v) {
  change_buffer(c, &v->buffer);
  change_affine(c, &v->base);
  change(c, &v->row_stride);
  change(c, &v->k_stride);
}

static void change_stmts(Case *c, CellStmt *s);

static void change_stmt(Case *c, CellStmt *s) {
  if (s->value >= 0) change_int(c, &s->value);
  switch (s->kind) {
  case CELL_K_LOOP:
    change_int(c, &s->var);
    s->loop = (CellLoopKind)((s->loop + 1) % 3);
    compare(c);
    s->loop = (CellLoopKind)((s->loop + 2) % 3);
    change_affine(c, &s->begin);
    change(c, &s->extent);
    change(c, &s->limit);
    change_stmts(c, s->body);
    break;
  case CELL_K_CONST:
    s->number += 0.5;
    compare(c);
    s->number -= 0.5;
    break;
  case CELL_K_VAR: change_affine(c, &s->index); break;
  case CELL_K_LOAD:
    change_buffer(c, &s->buffer);
    change_affine(c, &s->index);
    break;
  case CELL_K_LET: {
    CellOp op = s->op;
    s->op = op == CELL_OP_ADD ? CELL_OP_SUB : CELL_OP_ADD;
    if (cell_op_info[op].arity == 2) compare(c);
    s->op = op;
    for (int i = 0; i < cell_op_info[op].arity; i++) change_int(c, &s->args[i]);
    break;
  }
  case CELL_K_ACC:
  case CELL_K_UPDATE: {
    CellReduce reduce = s->reduce;
    s->reduce = reduce == CELL_ARGMAX ? CELL_SUM : CELL_ARGMAX;
    compare(c);
    s->reduce = reduce;
    if (s->kind == CELL_K_UPDATE) change_int(c, &s->args[0]);
    break;
  }
  case CELL_K_STORE:
    change_flag(c, &s->add);
    change_int(c, &s->args[0]);
    change_buffer(c, &s->buffer);
    change_affine(c, &s->index);
    break;
  case CELL_K_CONTRACT:
    change_view(c, &s->a);
    change_view(c, &s->b);
    change_view(c, &s->out);
    change(c, &s->m);
    change(c, &s->n);
    change(c, &s->k);
    change(c, &s->m_limit);
    change(c, &s->n_limit);
    change_affine(c, &s->m_begin);
    change_affine(c, &s->n_begin);
    change_flag(c, &s->add);
    break;
  }
}

static void change_stmts(Case *c, CellStmt *s) {
  for (; s; s = s->next) {
    change_stmt(c, s);
    // the last one of a body may end behind it
    CellStmt *next = s->next;
    if (!next) continue;
    s->next = next->next;
    compare(c);
    s->next = next;
    if (s->kind != CELL_K_LOOP || s->body == NULL) continue;
    CellStmt *last = s->body;
    while (last->next) last = last->next;
    s->next = NULL, last->next = next;
    compare(c);
    s->next = next, last->next = NULL;
  }
}

static void change_kernel(Case *c) {
  CellKernel *k = c->k;
  change(c, &k->tasks);
  for (int i = 0; i < k->arg_count; i++) change_flag(c, &k->written[i]);
  for (int i = 0; i < k->scratch_count; i++) {
    change(c, &k->scratch[i].count);
    change(c, &k->scratch[i].offset);
  }
  if (k->scratch_count > 0) change(c, &k->scratch_bytes);
  change_stmts(c, k->body);
}

static void keys_follow_texts(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int changes = 0, kernels = 0;
  for (uint64_t seed = 0; seed < 12; seed++) {
    CellArena *arena = cell_arena_create();
    CellRandomOptions options = {.size = 16, .scan = seed % 3 == 1, .params = true};
    CellGraph *g = cell_random_graph(arena, seed, &options);
    CellModule m = {.arena = arena, .programs = &g, .program_count = 1};
    CellTarget target = {.lanes = 8,
                         .l1_bytes = 32 << 10,
                         .l2_bytes = 512 << 10,
                         .l3_bytes = 32 << 20,
                         .flops_per_cycle = 32,
                         .tasks_wanted = 4,
                         .tune_lanes = true,
                         .stages = true};
    CellPlan *plan = cell_plan_create(arena, &m, &target, NULL, diag);
    assert_non_null(plan);
    for (int i = 0; i < plan->kernel_count; i++) {
      Case c = {.k = plan->kernels[i]};
      c.k->name = "";
      print(c.k, &c.before);
      c.key = cell_kernel_key(c.k, (CellKey){{0, 0}});
      assert_true(cell_key_equal(c.key, c.k->key));
      change_kernel(&c);
      changes += c.changes, kernels++;
      cell_text_free(&c.before);
      cell_text_free(&c.now);
    }
    cell_arena_destroy(arena);
  }
  // that much was compared
  assert_true(kernels > 12 && changes > 100 * kernels / 2);
  cell_diag_destroy(diag);
}

static void seeds_and_lengths_count(void **state) {
  (void)state;
  CellKey a = cell_key((CellKey){{1, 2}}, "text", 4);
  assert_true(cell_key_equal(a, cell_key((CellKey){{1, 2}}, "text", 4)));
  assert_false(cell_key_equal(a, cell_key((CellKey){{1, 3}}, "text", 4)));
  assert_false(cell_key_equal(a, cell_key((CellKey){{1, 2}}, "text\0", 5)));
  assert_false(cell_key_equal(a, cell_key((CellKey){{1, 2}}, "texu", 4)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_follow_texts),
      cmocka_unit_test(seeds_and_lengths_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
