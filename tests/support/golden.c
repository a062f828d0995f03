#include "tests/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/support.h"

char *cell_test_read(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  CellText text = {0};
  char block[4096];
  size_t n;
  while ((n = fread(block, 1, sizeof block, file)) > 0) cell_text_append(&text, block, n);
  fclose(file);
  if (length) *length = text.length;
  char *bytes = cell_malloc(text.length + 1);
  if (text.length) memcpy(bytes, text.data, text.length);
  bytes[text.length] = 0;
  cell_text_free(&text);
  return bytes;
}

void cell_test_golden(const char *path, const char *text) {
  const char *update = getenv("CELLC_UPDATE_GOLDEN");
  if (update && strcmp(update, "1") == 0) {
    if (*text == 0) {
      remove(path);
      return;
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return;
  }
  char *expected = cell_test_read(path, NULL);
  if (strcmp(expected ? expected : "", text) != 0)
    fail_msg("%s differs; run with CELLC_UPDATE_GOLDEN=1 and review. Now:\n%s", path, text);
  free(expected);
}
