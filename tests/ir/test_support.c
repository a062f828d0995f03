/* arenas, growing text, nearest names and what diagnostics look like */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- arena and text ---- */

static void test_arena_is_zeroed_and_aligned(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  for (size_t bytes = 0; bytes < 5000; bytes += 37) {
    unsigned char *block = cell_arena_alloc(arena, bytes);
    assert_int_equal((uintptr_t)block % 16, 0);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(block[i], 0);
    memset(block, 0xff, bytes);
  }
  char *large = cell_arena_alloc(arena, 10000000);
  assert_int_equal(large[9999999], 0);
  cell_arena_destroy(arena);
  cell_arena_destroy(NULL);
}

/* several sizes of blocks, written to the end and given back; false: something was not zero */
static void *use_arenas(void *number) {
  for (size_t round = 0; round < 12; round++) {
    CellArena *arena = cell_arena_create_for(round % 3 * 300000);
    for (size_t i = 0; i < 90; i++) {
      size_t bytes = i % 7 == 3 ? 70000 : 1000 + i * 100;
      unsigned char *block = cell_arena_alloc(arena, bytes);
      for (size_t k = 0; k < bytes; k++)
        if (block[k] != 0) return NULL;
      memset(block, 0xff, bytes);
    }
    cell_arena_destroy(arena);
  }
  return number;
}

static void test_what_arenas_leave_is_zero_again(void **state) {
  (void)state;
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  int numbers[THREADS];
  assert_non_null(use_arenas(numbers));
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, use_arenas, &numbers[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    void *result = NULL;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_ptr_equal(result, &numbers[i]);
  }
}

static void test_mapped_memory_is_zero(void **state) {
  (void)state;
  const size_t sizes[] = {1, 4096, 100000, 300000, 5000000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    unsigned char *block = cell_map(sizes[i]);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 4096, 0);
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(block[k], 0);
    memset(block, 0xff, sizes[i]);
    cell_unmap(block, sizes[i]);
  }
  assert_null(cell_map(SIZE_MAX));
  cell_unmap(NULL, 0);
}

static void test_arena_strings(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  assert_string_equal(cell_arena_strdup(arena, ""), "");
  assert_string_equal(cell_arena_strndup(arena, "goodness", 4), "good");
  assert_string_equal(cell_arena_printf(arena, "%s %d", "cell", 3), "cell 3");
  cell_arena_destroy(arena);
}

static void test_push_keeps_what_was_there(void **state) {
  (void)state;
  CellArena *arena = cell_arena_create();
  int *items = NULL, count = 0, capacity = 0;
  for (int i = 0; i < 1000; i++) CELL_PUSH(arena, items, count, capacity, i * i);
  assert_int_equal(count, 1000);
  for (int i = 0; i < 1000; i++) assert_int_equal(items[i], i * i);
  cell_arena_destroy(arena);
}

static void test_text_grows(void **state) {
  (void)state;
  CellText text = {0};
  for (int i = 0; i < 1000; i++) cell_text_printf(&text, "%03d,", i);
  assert_int_equal(text.length, 4000);
  assert_int_equal(strlen(text.data), 4000);
  cell_text_append(&text, "end", 3);
  assert_string_equal(text.data + 3996, "999,end");
  cell_text_free(&text);
  assert_null(text.data);
}

/* ---- nearest ---- */

static void test_nearest(void **state) {
  (void)state;
  const char *const names[] = {"train", "eval", "plot", "bench", "run", "prelude"};
  assert_string_equal(cell_nearest("trian", names, 6), "train");
  assert_string_equal(cell_nearest("tran", names, 6), "train");
  assert_string_equal(cell_nearest("EVAL", names, 6), "eval");
  assert_string_equal(cell_nearest("prelud", names, 6), "prelude");
  assert_null(cell_nearest("goodness", names, 6));
  assert_null(cell_nearest("", names, 6));
  const char *const letters[] = {"a", "b"};
  assert_null(cell_nearest("n", letters, 2));
  assert_null(cell_nearest("train", NULL, 0));
}

/* ---- diagnostics ---- */

/* the span of the n-th (from 0) `part` of a source */
static CellSpan find(const CellDiag *diag, int file, const char *part, int n) {
  const char *text = diag->sources[file].text, *at = strstr(text, part);
  for (; n > 0; n--) at = strstr(at + 1, part);
  int32_t begin = (int32_t)(at - text);
  return (CellSpan){file, begin, begin + (int32_t)strlen(part)};
}

static int add_source(CellDiag *diag, const char *name, const char *text) {
  return cell_diag_source(diag, name, text, strlen(text));
}

static void expect_printed(const CellDiag *diag, const char *expected) {
  char *printed = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&printed, &length);
  cell_diag_print(diag, out, false);
  fclose(out);
  assert_string_equal(printed, expected);
  free(printed);
}

static void test_a_whole_error(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file = add_source(diag, "arq.cell",
                        "z1 = reshape(y, [n, heads])\n"
                        "\n"
                        "  w  = tanh(standardize(z2.T @ z1))\n");
  CellRecord *record =
      cell_error(diag, "E0123", find(diag, file, "@", 0), "cannot multiply [400, 8] by [400, 8]");
  cell_relate(diag, record, find(diag, file, "z2.T", 0), NULL);
  cell_relate(diag, record, find(diag, file, "z1", 1), NULL);
  cell_relate(diag, record, find(diag, file, "reshape(y, [n, heads])", 0),
              "%s is [400, 8], from here", "z1");
  cell_relate(diag, record, CELL_NOWHERE, "in l1, line 18");
  cell_help(diag, record, "did you mean %s.T?", "z1");
  assert_int_equal(diag->error_count, 1);
  expect_printed(diag, "arq.cell:3:30: error: cannot multiply [400, 8] by [400, 8] [E0123]\n"
                       "    3 |   w  = tanh(standardize(z2.T @ z1))\n"
                       "      |                         ~~~~ ^ ~~\n"
                       "    1 | z1 = reshape(y, [n, heads])\n"
                       "      |      ---------------------- z1 is [400, 8], from here\n"
                       "   in l1, line 18\n"
                       "   help: did you mean z1.T?\n");
  cell_diag_destroy(diag);
}

static void test_related_on_the_same_line(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file = add_source(diag, "a.cell", "x = 1 x = 2");
  CellRecord *record = cell_error(diag, NULL, find(diag, file, "x", 1), "`x` is bound twice");
  cell_relate(diag, record, find(diag, file, "x", 0), "first here");
  expect_printed(diag, "a.cell:1:7: error: `x` is bound twice\n"
                       "    1 | x = 1 x = 2\n"
                       "      |       ^\n"
                       "      | - first here\n");
  cell_diag_destroy(diag);
}

static void test_sorted_without_repeats(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file = add_source(diag, "a.cell", "one\r\ntwo\r\n");
  cell_error(diag, NULL, find(diag, file, "two", 0), "second");
  cell_warning(diag, NULL, find(diag, file, "one", 0), "first");
  CellRecord *repeated = cell_error(diag, NULL, find(diag, file, "two", 0), "second");
  cell_help(diag, repeated, "goes nowhere");
  cell_relate(diag, repeated, find(diag, file, "one", 0), "goes nowhere");
  cell_error(diag, NULL, CELL_NOWHERE, "cannot read `b.cell`");
  assert_int_equal(diag->error_count, 2);
  assert_int_equal(diag->warning_count, 1);
  expect_printed(diag, "error: cannot read `b.cell`\n"
                       "a.cell:1:1: warning: first\n"
                       "    1 | one\n"
                       "      | ^~~\n"
                       "a.cell:2:1: error: second\n"
                       "    2 | two\n"
                       "      | ^~~\n");
  cell_diag_destroy(diag);
}

static void test_carets_by_display_width(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file =
      add_source(diag, "a.cell", "\tx\t= bad\n\xe6\x97\xa5\xc3\xa9 bad\n\033[31m bad\n\xff bad");
  for (int i = 0; i < 4; i++) cell_error(diag, NULL, find(diag, file, "bad", i), "no");
  expect_printed(diag, "a.cell:1:6: error: no\n"
                       "    1 |         x       = bad\n"
                       "      |                   ^~~\n"
                       "a.cell:2:4: error: no\n"
                       "    2 | \xe6\x97\xa5\xc3\xa9 bad\n"
                       "      |     ^~~\n"
                       "a.cell:3:7: error: no\n"
                       "    3 | ?[31m bad\n"
                       "      |       ^~~\n"
                       "a.cell:4:3: error: no\n"
                       "    4 | \xef\xbf\xbd bad\n"
                       "      |   ^~~\n");
  cell_diag_destroy(diag);
}

static void test_ends_and_long_spans(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file = add_source(diag, "a.cell", "cell {\n  x\n");
  cell_error(diag, NULL, (CellSpan){file, 11, 11}, "unexpected end of file");
  cell_error(diag, NULL, (CellSpan){file, 0, 11}, "several lines");
  cell_error(diag, NULL, (CellSpan){file, 5000, 6000}, "beyond the end");
  expect_printed(diag, "a.cell:1:1: error: several lines\n"
                       "    1 | cell {\n"
                       "      | ^~~~~~\n"
                       "a.cell:3:1: error: unexpected end of file\n"
                       "    3 | \n"
                       "      | ^\n"
                       "a.cell:3:1: error: beyond the end\n"
                       "    3 | \n"
                       "      | ^\n");
  cell_diag_destroy(diag);
}

static void test_a_very_long_line_is_cut(void **state) {
  (void)state;
  CellText text = {0};
  for (int i = 0; i < 5000; i++) cell_text_append(&text, i == 3000 ? "!" : "x", 1);
  CellDiag *diag = cell_diag_create();
  int file = cell_diag_source(diag, "a.cell", text.data, text.length);
  cell_text_free(&text);
  cell_error(diag, NULL, (CellSpan){file, 3000, 5000}, "no");
  char *printed = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&printed, &length);
  cell_diag_print(diag, out, false);
  fclose(out);
  assert_true(length < 500);
  char *line = strstr(printed, " | "), *row = strstr(line + 3, " | ");
  assert_int_equal(strchr(line, '!') - line, strchr(row, '^') - row);
  free(printed);
  cell_diag_destroy(diag);
}

static void test_limit(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  for (int i = 0; i < 60; i++) {
    CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE, "error %d", i);
    assert_non_null(record);
    cell_help(diag, record, "some help");
  }
  cell_warning(diag, NULL, CELL_NOWHERE, "a warning still fits");
  assert_int_equal(diag->error_count, 60);
  assert_int_equal(diag->record_count, 51);
  char *printed = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&printed, &length);
  cell_diag_print(diag, out, false);
  fclose(out);
  assert_non_null(strstr(printed, "error: error 49\n"));
  assert_null(strstr(printed, "error: error 50\n"));
  assert_non_null(strstr(printed, "warning: a warning still fits\n"));
  assert_non_null(strstr(printed, "and 10 more errors; the first 50 found are shown\n"));
  free(printed);
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_arena_is_zeroed_and_aligned),
      cmocka_unit_test(test_what_arenas_leave_is_zero_again),
      cmocka_unit_test(test_mapped_memory_is_zero),
      cmocka_unit_test(test_arena_strings),
      cmocka_unit_test(test_push_keeps_what_was_there),
      cmocka_unit_test(test_text_grows),
      cmocka_unit_test(test_nearest),
      cmocka_unit_test(test_a_whole_error),
      cmocka_unit_test(test_related_on_the_same_line),
      cmocka_unit_test(test_sorted_without_repeats),
      cmocka_unit_test(test_carets_by_display_width),
      cmocka_unit_test(test_ends_and_long_spans),
      cmocka_unit_test(test_a_very_long_line_is_cut),
      cmocka_unit_test(test_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
