/* support.h - what every layer needs: arenas, growing arrays, strings, diagnostics.
 *
 * Arenas: one per phase (parse, compile), freed at once. Memory from an arena is zeroed, aligned to
 * 16 bytes and never freed alone. Allocation failure ends the program with a message (out of memory
 * is not an input error and nothing sensible can follow it).
 *
 * Diagnostics: functions that can fail return false or NULL and add records to a CellDiag; the
 * command line prints them, sorted by position, with the source line and a caret. */
#ifndef CELL_SUPPORT_H
#define CELL_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define CELL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CELL_NORETURN __attribute__((noreturn))
#else
#define CELL_PRINTF(fmt, args)
#define CELL_NORETURN
#endif

/* ---- arena ---- */

typedef struct CellArena CellArena;

CellArena *cell_arena_create(void);
/* One that will hold about so many bytes, in blocks of that size. */
CellArena *cell_arena_create_for(size_t bytes);
void cell_arena_destroy(CellArena *arena); /* NULL is fine */
void *cell_arena_alloc(CellArena *arena, size_t bytes);
char *cell_arena_strdup(CellArena *arena, const char *text);
char *cell_arena_strndup(CellArena *arena, const char *text, size_t length);
char *cell_arena_printf(CellArena *arena, const char *format, ...) CELL_PRINTF(2, 3);
char *cell_arena_vprintf(CellArena *arena, const char *format, va_list arguments) CELL_PRINTF(2, 0);
#define CELL_NEW(arena, type) ((type *)cell_arena_alloc((arena), sizeof(type)))
#define CELL_NEW_ARRAY(arena, type, n)                                                             \
  ((type *)cell_arena_alloc((arena), (size_t)(n) * sizeof(type)))

/* Grows an array that lives in an arena: returns items with room for at least `count + 1`.
 * *capacity is 0 at first. The old block stays in the arena. */
void *cell_arena_grow(CellArena *arena, void *items, int count, int *capacity, size_t item_bytes);
#define CELL_PUSH(arena, items, count, capacity, value)                                            \
  ((items) = cell_arena_grow((arena), (items), (count), &(capacity), sizeof *(items)),             \
   (items)[(count)++] = (value))

/* Zeroed memory from the system, at least so many bytes: whole large pages where it is worth them and there are any, so
 * that each is given at once when it is first touched. NULL: there is none. Given back with the same number. */
void *cell_map(size_t bytes);
void cell_unmap(void *block, size_t bytes);

/* Heap blocks for long-lived objects; they end the program with a message when memory is out. */
void *cell_malloc(size_t bytes); /* zeroed; free() releases it */

/* ---- growing text ---- */

typedef struct {
  char *data; /* always terminated once something was added; heap, release with cell_text_free */
  size_t length, capacity;
} CellText;

void cell_text_printf(CellText *text, const char *format, ...) CELL_PRINTF(2, 3);
void cell_text_append(CellText *text, const char *data, size_t length);
void cell_text_free(CellText *text);

/* ---- diagnostics ---- */

/* Half-open byte range of one source file; {0, 0} with file < 0 is "nowhere". */
typedef struct {
  int32_t file, begin, end;
} CellSpan;
#define CELL_NOWHERE ((CellSpan){-1, 0, 0})

typedef enum { CELL_ERROR, CELL_WARNING, CELL_NOTE, CELL_HELP } CellSeverity;

typedef struct {
  CellSpan span;
  const char *text;
} CellRelated; /* printed as a line with `---- text`; see cell_relate for the other two forms */

typedef struct {
  CellSeverity severity;
  const char *code; /* "E0123", or NULL */
  CellSpan span;
  const char *message;
  CellRelated related[6]; /* "z1 is [400, 8], from here", "in l1" */
  int related_count;
  const char *help; /* NULL or one sentence */
} CellRecord;

typedef struct {
  const char *name;
  const char *text;
  size_t length;
} CellSource;

typedef struct {
  CellArena *arena;
  CellSource *sources;
  int source_count, source_capacity;
  CellRecord *records; /* room for all from the start, so a record never moves */
  int record_count;
  int error_count, warning_count; /* repeated ones do not count, dropped ones do */
  CellRecord scratch;             /* what stands in for a record that was dropped */
} CellDiag;

CellDiag *cell_diag_create(void);
void cell_diag_destroy(CellDiag *diag);

/* Adds a source (name and text are copied) and returns its number, for spans. */
int cell_diag_source(CellDiag *diag, const char *name, const char *text, size_t length);

/* Adds an error and returns it, so that the caller may add related spans and help. Never NULL.
 * Repeated (same span, same message) and excess (over 50 errors, over 50 warnings) records are
 * dropped: the returned record is then a scratch one. */
CellRecord *cell_error(CellDiag *diag, const char *code, CellSpan span, const char *format, ...)
    CELL_PRINTF(4, 5);
CellRecord *cell_warning(CellDiag *diag, const char *code, CellSpan span, const char *format, ...)
    CELL_PRINTF(4, 5);
/* Adds what belongs to a record: a span with a text is shown as a line of its own, CELL_NOWHERE
 * with a text ("in l1, line 18") as that text alone, and a span with a NULL format as its line, or,
 * on the record's own line, as `~~~` beside the caret (the operands of an operator). Past six the
 * call does nothing. */
void cell_relate(CellDiag *diag, CellRecord *record, CellSpan span, const char *format, ...)
    CELL_PRINTF(4, 5);
void cell_help(CellDiag *diag, CellRecord *record, const char *format, ...) CELL_PRINTF(3, 4);

/* Prints all records to `out`, sorted by file and position: `file:line:column: error: message`
 * (with ` [E0123]` behind it where there is a code), the source line, `^~~~` under the span
 * (display width, tabs stop at multiples of 8), related lines, help; at the end how many were
 * dropped. Control characters of user text are printed as `?`. */
void cell_diag_print(const CellDiag *diag, FILE *out, bool colour);

/* Line and column, both from 1; the column counts characters (UTF-8), not bytes. */
void cell_diag_position(const CellDiag *diag, CellSpan span, int *line, int *column);

/* The nearest of `count` names by edit distance, or NULL when none is near. */
const char *cell_nearest(const char *name, const char *const *names, int count);

/* An internal error: prints file, line and message with the request to report it, then aborts.
 * For broken invariants only, never for input. */
CELL_NORETURN void cell_internal_error(const char *file, int line, const char *format, ...)
    CELL_PRINTF(3, 4);
#define CELL_ASSERT(condition)                                                                     \
  ((condition) ? (void)0                                                                           \
               : cell_internal_error(__FILE__, __LINE__, "assertion failed: %s", #condition))

#endif
