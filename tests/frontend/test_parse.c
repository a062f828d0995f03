/* The parser against golden files, limits and noise.
 *
 * parse/NAME.cell is an input; NAME.err holds the messages expected for it, NAME.ast the tree. The
 * trees of the examples and of the prelude are parse/example-NAME.ast and parse/prelude.ast. Run
 * with CELLC_UPDATE_GOLDEN=1 to write them anew, then review the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "frontend/parse.h"
#include "tests/support/golden.h"

#define GOLDEN CELLC_SOURCE_DIR "/tests/frontend/parse/"
#define EXAMPLES CELLC_SOURCE_DIR "/examples/"

/* ---- helpers ---- */

typedef enum { PARSE_FILE, PARSE_SETTINGS, PARSE_EXPRESSION } Mode;

/* what parsing a text gives; heap, released by outcome_free */
typedef struct {
  char *tree, *messages;
  int errors;
  bool read;    /* there was a tree at all */
  char code[8]; /* of the first message */
} Outcome;

static Outcome parse(Mode mode, const char *name, const char *text, size_t length) {
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  int source = cell_diag_source(diag, name, text, length);
  Outcome out = {0};
  size_t size;
  FILE *tree = open_memstream(&out.tree, &size);
  FILE *messages = open_memstream(&out.messages, &size);

  if (mode == PARSE_FILE) {
    CellAst *ast = cell_parse(arena, diag, source);

    out.read = ast != NULL;
    if (ast) {
      cell_ast_print(ast, tree);
      assert_int_equal(ast->broken, diag->error_count > 0);
    }
  } else if (mode == PARSE_SETTINGS) {
    CellSettingList settings;

    out.read = cell_parse_settings(arena, diag, source, &settings);
    assert_int_equal(out.read, diag->error_count == 0);
    cell_ast_print_settings(&settings, tree);
  } else {
    CellExpr *expr = cell_parse_expression(arena, diag, source);

    out.read = expr != NULL;
    assert_int_equal(out.read, diag->error_count == 0);
    if (expr) cell_expr_print(expr, tree);
  }
  cell_diag_print(diag, messages, false);
  out.errors = diag->error_count;
  if (diag->record_count > 0) snprintf(out.code, sizeof out.code, "%s", diag->records[0].code);
  fclose(tree);
  fclose(messages);
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
  return out;
}

static void outcome_free(Outcome *out) {
  free(out->tree);
  free(out->messages);
}

static int is_cell(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 5 && strcmp(entry->d_name + length - 5, ".cell") == 0;
}

/* calls `check` for each .cell file of a folder, in the order of names */
static int each_file(const char *folder,
                     void (*check)(const char *base, const char *text, size_t length)) {
  struct dirent **entries;
  int count = scandir(folder, &entries, is_cell, alphasort);

  assert_true(count > 0);
  for (int i = 0; i < count; i++) {
    char path[512], base[256];
    size_t length = 0;
    char *text;

    snprintf(path, sizeof path, "%s%s", folder, entries[i]->d_name);
    snprintf(base, sizeof base, "%.*s", (int)strlen(entries[i]->d_name) - 5, entries[i]->d_name);
    text = cell_test_read(path, &length);
    assert_non_null(text);
    check(base, text, length);
    free(text);
    free(entries[i]);
  }
  free(entries);
  return count;
}

/* ---- golden files ---- */

static void check_case(const char *base, const char *text, size_t length) {
  char name[300], path[512];
  struct stat status;
  Outcome out;

  snprintf(name, sizeof name, "%s.cell", base);
  out = parse(PARSE_FILE, name, text, length);
  snprintf(path, sizeof path, GOLDEN "%s.err", base);
  cell_test_golden(path, out.messages);

  // after errors a tree is only compared where a golden file asks for it
  snprintf(path, sizeof path, GOLDEN "%s.ast", base);
  if (out.errors == 0 || stat(path, &status) == 0) cell_test_golden(path, out.tree);
  outcome_free(&out);
}

static void test_golden(void **state) {
  (void)state;
  each_file(GOLDEN, check_case);
}

static void check_example(const char *base, const char *text, size_t length) {
  char path[512];
  Outcome out = parse(PARSE_FILE, base, text, length);

  assert_string_equal(out.messages, "");
  snprintf(path, sizeof path, GOLDEN "example-%s.ast", base);
  cell_test_golden(path, out.tree);
  outcome_free(&out);
}

static void test_examples(void **state) {
  (void)state;
  each_file(EXAMPLES, check_example);
}

static void test_prelude(void **state) {
  size_t length;
  const char *text = cell_prelude_text(&length);
  Outcome out = parse(PARSE_FILE, "<prelude>", text, length);

  (void)state;
  assert_int_equal(strlen(text), length);
  assert_string_equal(out.messages, "");
  cell_test_golden(GOLDEN "prelude.ast", out.tree);
  outcome_free(&out);
}

/* ---- expressions and settings ---- */

static void test_expressions(void **state) {
  // how operators bind, shown by the printer's parentheses
  static const struct {
    const char *text, *tree;
  } cases[] = {
      {"-x^2", "(-(x ^ 2))"},
      {"2^3^2", "(2 ^ (3 ^ 2))"},
      {"2^-1", "(2 ^ (-1))"},
      {"-2^-x^2", "(-(2 ^ (-(x ^ 2))))"},
      {"a - b - c", "((a - b) - c)"},
      {"a / b * c @ d % e", "((((a / b) * c) @ d) % e)"},
      {"a * -b", "(a * (-b))"},
      {"--a", "(-(-a))"},
      {"a + b < c * d", "((a + b) < (c * d))"},
      {"a == b", "(a == b)"},
      {"if a < b then 1 else if c then 2 else 3 + 4",
       "(if (a < b) then 1 else (if c then 2 else (3 + 4)))"},
      {"1 + (if a then b else c)", "(1 + (if a then b else c))"},
      {"z2.T @ z1", "(z2.T @ z1)"},
      {"-x.T[0]", "(-x.T[0])"},
      {"x[i] [a:] [:, a:b]", "x[i][a:][:, a:b]"},
      {"x[:]", "x[:]"},
      {"x[:-1]", "x[:(-1)]"},
      {"[a, [b], f(x)[2]]", "[a, [b], f(x)[2]]"},
      {"[]", "[]"},
      {"[c.goodness for c in who]", "[c.goodness for c in who]"},
      {"[a, b,]", "[a, b]"},
      {"f(a, axis = -1, keep = true,)", "f(a, axis = (-1), keep = true)"},
      {"f()(g)", "f()(g)"},
      {"ramp(1.0, 0.01, over = 0.1)", "ramp(1.0, 0.01, over = 0.1)"},
      {"f(if = 1, in = 2, output = 3, none = 4)", "f(if = 1, in = 2, output = 3, none = 4)"},
      {"l1.goodness + c.loss - x.if", "((l1.goodness + c.loss) - x.if)"},
      {"loss(e) + over * in", "(loss(e) + (over * in))"},
      {"f(in, over)", "f(in, over)"},
      {"c.goodness(action = a, below = e)", "c.goodness(action = a, below = e)"},
      {"4e6 + 50E3 + 1.5e-3", "((4e6 + 50E3) + 1.5e-3)"},
      {"a # comment\n + b", "(a + b)"},
      {"true", "true"},
      {"none", "none"},
      {"((a))", "a"},
      {"a>=b", "(a >= b)"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    Outcome out = parse(PARSE_EXPRESSION, "<--set>", cases[i].text, strlen(cases[i].text));

    assert_string_equal(out.messages, "");
    assert_string_equal(out.tree, cases[i].tree);

    // what is printed parses back to the same tree
    Outcome again = parse(PARSE_EXPRESSION, "<--set>", out.tree, strlen(out.tree));
    assert_string_equal(again.tree, out.tree);
    outcome_free(&again);
    outcome_free(&out);
  }
}

static void test_settings(void **state) {
  static const char text[] = "# a file of settings\n"
                             "train.batch=64\n"
                             "learn.gamma = 0.9 l1.n=128\n"
                             "goodness_fn=rms\n"
                             "l1.top=none\n"
                             "l1.self=0.5 * prev(l1)\n"
                             "end_to_end=all policy = vote\n"
                             "train.optimizer = adam(lr = 1e-3,\n"
                             "  clip = 1.0)\n"
                             "train.epsilon = ramp(1, 0, over = 0.1)";
  Outcome out = parse(PARSE_SETTINGS, "<--set>", text, sizeof text - 1);

  (void)state;
  assert_string_equal(out.messages, "");
  assert_string_equal(out.tree, "set train.batch = 64\n"
                                "set learn.gamma = 0.9\n"
                                "set l1.n = 128\n"
                                "set goodness_fn = rms\n"
                                "set l1.top = none\n"
                                "set l1.self = (0.5 * prev(l1))\n"
                                "set end_to_end = all\n"
                                "set policy = vote\n"
                                "set train.optimizer = adam(lr = 1e-3, clip = 1.0)\n"
                                "set train.epsilon = ramp(1, 0, over = 0.1)\n");
  outcome_free(&out);
}

static void test_bad_settings(void **state) {
  static const struct {
    const char *text, *messages;
  } cases[] = {
      {"l1.n", "<--set>:1:1: error: a setting is written path = value [E0107]\n"
               "    1 | l1.n\n"
               "      | ^~\n"},
      {"l1.n=", "<--set>:1:5: error: expected an expression after `=`, found the end [E0102]\n"
                "    1 | l1.n=\n"
                "      |     ^\n"},
      {"=3", ""},
      {"a=f(1", ""},
      {"a=1}", ""},
      {"a=1 2", ""},
      {"l1.self=prev(l1", ""},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    Outcome out = parse(PARSE_SETTINGS, "<--set>", cases[i].text, strlen(cases[i].text));

    assert_false(out.read);
    if (*cases[i].messages) assert_string_equal(out.messages, cases[i].messages);
    outcome_free(&out);

    // as an expression only the first is right
    out = parse(PARSE_EXPRESSION, "<--set>", cases[i].text, strlen(cases[i].text));
    assert_int_equal(out.read, i == 0);
    outcome_free(&out);
  }

  // errors on several lines are all reported, and what is right in between is kept
  static const char lines[] = "a = 1\nb = \nc = 3\nd = 3 4\ne.f = 5\n";
  Outcome out = parse(PARSE_SETTINGS, "set.txt", lines, sizeof lines - 1);
  assert_int_equal(out.errors, 2);
  assert_string_equal(out.tree, "set a = 1\nset c = 3\nset e.f = 5\n");
  outcome_free(&out);
}

/* ---- spans ---- */

static void test_spans(void **state) {
  static const char text[] = "cell C(n)(below?) {\n  y = (a + b) * f(x).T[0]\n}\n";
  CellArena *arena = cell_arena_create();
  CellDiag *diag = cell_diag_create();
  CellAst *ast = cell_parse(arena, diag, cell_diag_source(diag, "t", text, sizeof text - 1));
  const CellItem *item = ast->items[0];
  const CellStmt *stmt = item->body.items[0];
  const CellExpr *product = stmt->value;
  const CellExpr *index = product->binary.right;
  const struct {
    CellSpan span;
    const char *text;
  } spans[] = {
      {item->word, "cell"},
      {item->name.span, "C"},
      {item->ports.items[0].span, "below?"},
      {item->body.span, "{\n  y = (a + b) * f(x).T[0]\n}"},
      {stmt->span, "y = (a + b) * f(x).T[0]"},
      {stmt->word, "y"},
      {product->span, "(a + b) * f(x).T[0]"},
      {product->op, "*"},
      {product->binary.left->span, "(a + b)"},
      {product->binary.left->op, "+"},
      {index->op, "[0]"},
      {index->index.object->op, "T"},
      {index->index.object->operand->op, "(x)"},
      {index->index.object->operand->span, "f(x)"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
    int length = spans[i].span.end - spans[i].span.begin;

    assert_int_equal(length, (int)strlen(spans[i].text));
    assert_memory_equal(text + spans[i].span.begin, spans[i].text, (size_t)length);
  }
  cell_diag_destroy(diag);
  cell_arena_destroy(arena);
}

/* ---- limits ---- */

/* `count` times `piece` behind `head`; heap */
static char *repeated(const char *head, const char *piece, size_t count, size_t *length) {
  size_t size = strlen(piece), start = strlen(head);
  char *text = cell_malloc(start + size * count + 1);

  memcpy(text, head, start);
  for (size_t i = 0; i < count; i++) memcpy(text + start + i * size, piece, size);
  *length = start + size * count;
  return text;
}

static void check_limit(const char *head, const char *piece, size_t count, const char *code) {
  size_t length;
  char *text = repeated(head, piece, count, &length);
  Outcome out = parse(PARSE_FILE, "t.cell", text, length);

  if (code) {
    if (strcmp(out.code, code) != 0 || out.errors != 1)
      print_error("%s x %zu: %.2000s", piece, count, out.messages);
    assert_string_equal(out.code, code);
    assert_int_equal(out.errors, 1);
  } else {
    assert_string_equal(out.messages, "");
  }
  outcome_free(&out);
  free(text);
}

static void test_limits(void **state) {
  (void)state;
  check_limit("param x = ", "(", 10000, "E0111");
  check_limit("param x = ", "[", 10000, "E0111");
  check_limit("param x = ", "f(", 10000, "E0111");
  check_limit("param x = ", "a[", 10000, "E0111");
  check_limit("", "{", 10000, "E0101");
  check_limit("rule r { ", "for c in d { ", 10000, "E0111");
  check_limit("param x = 1", "+1", 900, NULL);
  check_limit("param x = 1", "+1", 100000, "E0112");
  check_limit("param x = ", "-", 100000, "E0111");
  check_limit("param x = ", "1^", 100000, "E0111");
  check_limit("param x = ", "if a then b else ", 50000, "E0111");
  check_limit("param x = ", "if ", 100000, "E0111");
  check_limit("param x = y", ".z", 100000, "E0112");
  check_limit("param x = y", "()", 100000, "E0112");
  check_limit("param x = y", "[0]", 100000, "E0112");
  check_limit("param x = f(1", ",1", 100000, "E0112");
  check_limit("param x = [1", ",1", 1000, "E0103");
  check_limit("param x = 3", "#", 1000000, NULL);
  check_limit("param x = 3", "\n", 1000000, NULL);
  check_limit("param x = ", "y", 1000000, "E0108");
  check_limit("param x = ", "1", 1000000, "E0108");
  check_limit("import \"", "y", 1000000, "E0109");
  check_limit("", "param x = 3\n", 80000, NULL);
  check_limit("cell C(a", ", a", 100000, "E0103");
  check_limit("", "# 100 MB\n", 12000000, "E0116");
}

static void test_noise(void **state) {
  static const struct {
    const char *text;
    size_t length;
    const char *messages;
  } cases[] = {
      {"param\0x", 7, "t.cell:1:6: error: this is not UTF-8 text: byte 5 is 0x00 [E0116]\n"},
      {"a\xff", 2, "t.cell:1:2: error: this is not UTF-8 text: byte 1 is 0xff [E0116]\n"},
      {"# \xc3", 3, "t.cell:1:3: error: this is not UTF-8 text: byte 2 is 0xc3 [E0116]\n"},
      {"\xed\xa0\x80", 3, "t.cell:1:1: error: this is not UTF-8 text: byte 0 is 0xed [E0116]\n"},
      {"\x7f"
       "ELF\x02\x01\x01\0",
       8,
       "t.cell:1:8: error: this is not UTF-8 text: byte 7 is 0x00 "
       "[E0116]\n"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    Outcome out = parse(PARSE_FILE, "t.cell", cases[i].text, cases[i].length);

    assert_false(out.read);
    assert_int_equal(out.errors, 1);
    assert_memory_equal(out.messages, cases[i].messages, strlen(cases[i].messages));
    outcome_free(&out);
  }

  // a byte order mark, Windows line ends and letters of any kind in comments are fine
  static const char fine[] = "\xef\xbb\xbf# gr\xc3\xbc\xc3\x9f\r\nparam x = 3\r\n\tparam y = 4 \f";
  Outcome out = parse(PARSE_FILE, "t.cell", fine, sizeof fine - 1);
  assert_string_equal(out.messages, "");
  assert_string_equal(out.tree, "param x = 3\nparam y = 4\n");
  outcome_free(&out);

  // nothing at all is a file without items
  out = parse(PARSE_FILE, "t.cell", "", 0);
  assert_string_equal(out.messages, "");
  assert_string_equal(out.tree, "");
  outcome_free(&out);
}

/* ---- any text ends with a tree and messages, never otherwise ---- */

static void check_prefixes(const char *base, const char *text, size_t length) {
  for (size_t i = 0; i < length; i += 2) {
    Outcome out = parse(PARSE_FILE, base, text, i);
    outcome_free(&out);
  }
}

static uint64_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

/* a few bytes changed, pieces cut out, moved or doubled */
static void check_mutations(const char *base, const char *text, size_t length) {
  static const char marks[] = "(){}[]=:,.?+-*/%@^<>!\"#\n 0aT;\\'`\t\r\x01";
  uint64_t seed = 1;

  if (length < 8) return;
  for (int round = 0; round < 40; round++) {
    char *copy = cell_malloc(2 * length + 1);
    size_t size = length;
    int changes = 1 + (int)(next_random(&seed) % 6);

    memcpy(copy, text, length);
    for (int i = 0; i < changes; i++) {
      size_t at = next_random(&seed) % size, count = next_random(&seed) % 30;

      if (at + count > size) count = size - at;
      switch (next_random(&seed) % 4) {
      case 0: copy[at] = marks[next_random(&seed) % (sizeof marks - 1)]; break;
      case 1:
        if (size - count < 2) break;
        memmove(copy + at, copy + at + count, size - at - count);
        size -= count;
        break;
      case 2:
        if (size + count > 2 * length) break;
        memmove(copy + at + count, copy + at, size - at);
        size += count;
        break;
      default: {
        size_t from = next_random(&seed) % (size - count + 1);
        memmove(copy + at, copy + from, count);
      }
      }
    }
    Outcome out = parse(PARSE_FILE, base, copy, size);
    outcome_free(&out);
    out = parse(PARSE_SETTINGS, base, copy, size);
    outcome_free(&out);
    free(copy);
  }
}

static void test_any_text(void **state) {
  size_t length;
  const char *prelude = cell_prelude_text(&length);

  (void)state;
  each_file(EXAMPLES, check_prefixes);
  check_prefixes("<prelude>", prelude, length);
  each_file(EXAMPLES, check_mutations);
  each_file(GOLDEN, check_prefixes);
  each_file(GOLDEN, check_mutations);
  check_mutations("<prelude>", prelude, length);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),   cmocka_unit_test(test_examples),
      cmocka_unit_test(test_prelude),  cmocka_unit_test(test_expressions),
      cmocka_unit_test(test_settings), cmocka_unit_test(test_bad_settings),
      cmocka_unit_test(test_spans),    cmocka_unit_test(test_limits),
      cmocka_unit_test(test_noise),    cmocka_unit_test(test_any_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
