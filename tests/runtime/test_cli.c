/* the program from outside: exit codes, messages, output that cannot be written */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/program.h"

#include <jansson.h>
#include <string.h>

static void test_help(void **state) {
  (void)state;
  expect("help", 0, "usage: cellc COMMAND");
  expect("--help", 0, "usage: cellc COMMAND");
  expect("-h", 0, "usage: cellc COMMAND");
  expect("help version", 0, "usage: cellc version [options]\n");
  expect("version -h", 0, "--json");
  expect("", 2, "usage: cellc COMMAND");
}

static void test_usage_errors(void **state) {
  (void)state;
  expect("versoin", 2, "there is no command `versoin`; did you mean `version`?\n");
  expect("help versoin", 2, "did you mean `version`?\n");
  expect("qqq", 2, "there is no command `qqq`\n`cellc help` lists the commands\n");
  expect("version --jsno", 2, "there is no option `--jsno`; did you mean `--json`?\n");
  expect("version --json=1", 2, "`--json=1` takes no value\n");
  expect("version --color", 2, "`--color` needs a value\n");
  expect("version --color=pink", 2, "`--color pink` is none of auto, always, never\n");
  expect("version extra", 2, "`extra` is one word too many\n");
}

static void test_version(void **state) {
  (void)state;
  CellText text = {0};
  assert_int_equal(run("version", &text), 0);
  assert_int_equal(strncmp(text.data, "cellc ", 6), 0);
  text.length = 0;
  assert_int_equal(run("version --json", &text), 0);
  json_t *document = json_loads(text.data, 0, NULL);
  cell_text_free(&text);
  assert_non_null(document);
  assert_string_equal(json_string_value(json_object_get(document, "schema")), "cellc.version.1");
  assert_non_null(json_object_get(document, "version"));
  json_decref(document);
  // as users start it: tests say how threads wait, and then the program need not start itself again
  expect_line("env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT cellc version 2>&-", 0, "cellc ");
  expect_line("env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT cellc versoin", 2, "did you mean");
}

static void test_output_that_does_not_arrive(void **state) {
  (void)state;
  expect("version >/dev/full", 1, "cannot write to standard output: No space left on device");
  expect("version >&-", 1, "cannot write to standard output: Bad file descriptor");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_help),
      cmocka_unit_test(test_usage_errors),
      cmocka_unit_test(test_version),
      cmocka_unit_test(test_output_that_does_not_arrive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
