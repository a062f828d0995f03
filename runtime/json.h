/* json.h - how cellc writes JSON, on top of jansson. */
#ifndef CELL_JSON_H
#define CELL_JSON_H

#include "ir/support.h"

#include <jansson.h>

/* keys in insertion order; 17 digits tell every double from its neighbours */
#define CELL_JSON_LINE (JSON_COMPACT | JSON_REAL_PRECISION(17))
#define CELL_JSON_DOCUMENT (JSON_INDENT(2) | JSON_REAL_PRECISION(17))

/* A number; null where JSON has none (NaN and the infinities). New reference. */
json_t *cell_json_real(double value);

/* Prints `document` indented and with a line end, and takes over the reference to it. The stream's
 * error flag tells whether that worked. */
void cell_json_print(json_t *document, FILE *out);

/* All records of `diag` as an array of objects in the order they were found: severity, code or
 * null, message, file, line, column, end_line, end_column (from 1, in characters, the end
 * exclusive; all null where a record has no place), related (text or null, the same place keys),
 * help or null. New reference. */
json_t *cell_json_diagnostics(const CellDiag *diag);

#endif
