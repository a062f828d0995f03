/* whole files in and out, JSON lines, and what stays when a write fails */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/json.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/cellc-files-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? chdir(folder) : -1;
}

static int remove_folder(void **state) {
  (void)state;
  const char *const names[] = {"a", "a.tmp", "link", "log", "big"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(names[i]);
  return chdir("/") || rmdir(folder);
}

static void expect_content(const char *path, const char *expected) {
  CellDiag *diag = cell_diag_create();
  size_t length;
  char *text = cell_read_file(path, 1000, &length, diag);
  assert_non_null(text);
  assert_int_equal(length, strlen(expected));
  assert_string_equal(text, expected);
  free(text);
  cell_diag_destroy(diag);
}

static void expect_error(CellDiag *diag, const char *part) {
  assert_int_equal(diag->error_count, 1);
  if (!strstr(diag->records[0].message, part)) fail_msg("%s", diag->records[0].message);
  cell_diag_destroy(diag);
}

static void test_read_errors(void **state) {
  (void)state;
  size_t length;
  CellDiag *diag = cell_diag_create();
  assert_null(cell_read_file("none", 10, &length, diag));
  expect_error(diag, "cannot read `none`: No such file");
  diag = cell_diag_create();
  assert_null(cell_read_file(".", 10, &length, diag));
  expect_error(diag, "it is a folder");
  diag = cell_diag_create();
  assert_null(cell_read_file("/dev/zero", 100000, &length, diag));
  expect_error(diag, "`/dev/zero` is too large: at most 100000 bytes are read");
  // a sparse file of 100 MB is refused by its size, before anything is read
  FILE *big = fopen("big", "w");
  assert_int_equal(ftruncate(fileno(big), 100000000), 0);
  fclose(big);
  diag = cell_diag_create();
  assert_null(cell_read_file("big", CELL_SOURCE_LIMIT, &length, diag));
  expect_error(diag, "`big` is too large: 100000000 bytes, at most 4194304 are read");
}

static void test_replace(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_true(cell_write_file("a", "one", 3, diag));
  expect_content("a", "one");
  assert_int_equal(access("a.tmp", F_OK), -1);

  // an abandoned file leaves the old one
  CellNewFile *file = cell_new_file("a", diag);
  fputs("two", cell_new_file_stream(file));
  cell_new_file_abandon(file);
  cell_new_file_abandon(NULL);
  expect_content("a", "one");
  assert_int_equal(access("a.tmp", F_OK), -1);

  // modes stay, links stay links, what a crash left behind is overwritten
  assert_int_equal(chmod("a", 0600), 0);
  assert_int_equal(symlink("a", "link"), 0);
  assert_true(cell_write_file("a.tmp", "left behind by a crash", 22, diag));
  assert_int_equal(chmod("a.tmp", 0600), 0);
  assert_true(cell_write_file("link", "three", 5, diag));
  expect_content("a", "three");
  struct stat status;
  assert_int_equal(lstat("link", &status), 0);
  assert_true(S_ISLNK(status.st_mode));
  assert_int_equal(stat("a", &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  assert_int_equal(diag->error_count, 0);
  cell_diag_destroy(diag);
}

static void test_write_errors(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_false(cell_write_file("/dev/full", "text", 4, diag));
  expect_error(diag, "cannot write `/dev/full`: No space left on device");
  diag = cell_diag_create();
  assert_false(cell_write_file("no/such/folder", "text", 4, diag));
  expect_error(diag, "cannot write `no/such/folder`: No such file or directory");
  diag = cell_diag_create();
  assert_false(cell_write_file(".", "text", 4, diag));
  expect_error(diag, "Is a directory");
}

/* a limit on the size of files stands in for a full disk */
static void test_full_disk_keeps_the_old_file(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_true(cell_write_file("a", "old", 3, diag));
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = (struct rlimit){10000, before.rlim_max};
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  char *data = cell_malloc(1000000);
  bool written = cell_write_file("a", data, 1000000, diag);
  free(data);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  assert_false(written);
  expect_content("a", "old");
  assert_int_equal(access("a.tmp", F_OK), -1);
  expect_error(diag, "cannot write `");
}

static void test_log(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  CellLog *log = cell_log_open("log", -1, diag);
  assert_true(
      cell_log_add(log, json_pack("{s:i, s:o}", "step", 1, "loss", cell_json_real(0.5)), diag));
  int64_t first = cell_log_bytes(log);
  assert_true(
      cell_log_add(log, json_pack("{s:i, s:o}", "step", 2, "loss", cell_json_real(NAN)), diag));
  assert_true(cell_log_close(log, diag));
  assert_true(cell_log_close(NULL, diag));
  expect_content("log", "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n");

  // a torn line goes
  FILE *torn = fopen("log", "a");
  fputs("{\"step\":", torn);
  fclose(torn);
  log = cell_log_open("log", -1, diag);
  assert_true(cell_log_close(log, diag));
  expect_content("log", "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n");

  // a checkpoint's length is what stays
  log = cell_log_open("log", first, diag);
  assert_int_equal(cell_log_bytes(log), first);
  assert_true(cell_log_add(log, json_pack("{s:i}", "step", 7), diag));
  assert_true(cell_log_close(log, diag));
  expect_content("log", "{\"step\":1,\"loss\":0.5}\n{\"step\":7}\n");
  assert_int_equal(diag->error_count, 0);

  assert_null(cell_log_open("log", 1000, diag));
  expect_error(diag, "`log` has 33 bytes where 1000 were logged");
  diag = cell_diag_create();
  log = cell_log_open("/dev/full", -1, diag);
  assert_false(cell_log_add(log, json_pack("{s:i}", "step", 7), diag));
  assert_true(cell_log_close(log, diag));
  expect_error(diag, "cannot write `/dev/full`: No space left on device");
}

static void test_diagnostics_as_json(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  int file = cell_diag_source(diag, "a.cell", "x = 1\ny = \xff\n", 12);
  CellRecord *record = cell_error(diag, "E0123", (CellSpan){file, 10, 11}, "stray `\xff`");
  cell_relate(diag, record, CELL_NOWHERE, "in l1");
  json_t *array = cell_json_diagnostics(diag), *first = json_array_get(array, 0);
  assert_string_equal(json_string_value(json_object_get(first, "message")), "stray `?`");
  assert_string_equal(json_string_value(json_object_get(first, "file")), "a.cell");
  assert_int_equal(json_integer_value(json_object_get(first, "line")), 2);
  assert_int_equal(json_integer_value(json_object_get(first, "column")), 5);
  assert_int_equal(json_integer_value(json_object_get(first, "end_column")), 6);
  assert_true(json_is_null(json_object_get(first, "help")));
  json_t *related = json_array_get(json_object_get(first, "related"), 0);
  assert_true(json_is_null(json_object_get(related, "line")));
  json_decref(array);
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_read_errors),  cmocka_unit_test(test_replace),
      cmocka_unit_test(test_write_errors), cmocka_unit_test(test_full_disk_keeps_the_old_file),
      cmocka_unit_test(test_log),          cmocka_unit_test(test_diagnostics_as_json),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
