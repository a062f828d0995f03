/* golden.h - texts that are compared with files. */
#ifndef CELL_TESTS_GOLDEN_H
#define CELL_TESTS_GOLDEN_H

#include <stddef.h>

/* The bytes of a file and a 0 behind them, on the heap, their number in *length unless that is NULL; NULL without such
 * a file. */
char *cell_test_read(const char *path, size_t *length);

/* Fails the test unless the file holds the text; an empty text means that there is no such file. With
 * CELLC_UPDATE_GOLDEN=1 the file is written anew instead: review the difference. */
void cell_test_golden(const char *path, const char *text);

#endif
