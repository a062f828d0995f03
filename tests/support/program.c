/* program.c - cellc from outside. */
#include "tests/support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char made[] = "/tmp/cellc-test-XXXXXX";
static bool is_made;

int make_folder(void **state) {
  (void)state;
  is_made = mkdtemp(made) != NULL;
  return is_made ? 0 : -1;
}

int remove_folder(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", made);
  return system(command); // NOLINT(bugprone-command-processor,cert-env33-c)
}

const char *folder(void) {
  return is_made ? made : ".";
}

int shell(const char *line, CellText *output) {
  // through a variable: the line may hold quotes of any kind
  setenv("CELLC_TEST_LINE", line, 1);
  CellText command = {0};
  cell_text_printf(
      &command,
      "cd %s && PATH='%s':\"$PATH\" timeout 300 sh -c \"$CELLC_TEST_LINE\" 2>&1 </dev/null",
      folder(), CELLC_BINARY_DIR);
  FILE *pipe = popen(command.data, "r"); // NOLINT(bugprone-command-processor,cert-env33-c)
  assert_non_null(pipe);
  char part[4096];
  size_t length;
  while ((length = fread(part, 1, sizeof part, pipe)) > 0) cell_text_append(output, part, length);
  cell_text_append(output, "", 0);
  int status = pclose(pipe);
  cell_text_free(&command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int run(const char *arguments, CellText *output) {
  CellText line = {0};
  cell_text_printf(&line, "cellc %s", arguments);
  int code = shell(line.data, output);
  cell_text_free(&line);
  return code;
}

void expect_count(const char *line, int code, const char *part, int least, int most) {
  CellText output = {0};
  int got = shell(line, &output), count = 0;
  for (const char *at = output.data; *part && (at = strstr(at, part)); at += strlen(part)) count++;
  if (got != code || count < least || count > most || strstr(output.data, "internal error")) {
    // cmocka would cut it, and what a sanitizer says comes last
    fprintf(stderr, "%s\n%s\n", line, output.data);
    cell_text_free(&output);
    fail_msg("code %d, want %d and `%s`, which is there %d times", got, code, part, count);
  }
  cell_text_free(&output);
}

void expect_line(const char *line, int code, const char *part) {
  expect_count(line, code, part, *part ? 1 : 0, INT_MAX);
}

void expect(const char *arguments, int code, const char *part) {
  CellText line = {0};
  cell_text_printf(&line, "cellc %s", arguments);
  expect_line(line.data, code, part);
  cell_text_free(&line);
}
