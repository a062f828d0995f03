/* files.h - reading a file whole, replacing a file at once, appending JSON lines.
 *
 * Errors go to a CellDiag, with CELL_NOWHERE and the file's name in the message. */
#ifndef CELL_FILES_H
#define CELL_FILES_H

#include "ir/support.h"

#include <jansson.h>

/* the largest .cell file that is read; a network of a thousand lines has some 50 kB */
#define CELL_SOURCE_LIMIT ((size_t)4 << 20)

/* Reads a whole file, at most `limit` bytes of it. Returns a heap block (free() it) with a 0 behind
 * the last byte and stores the length without it; NULL after an error: no such file, a folder, more
 * than `limit` bytes. */
char *cell_read_file(const char *path, size_t limit, size_t *length, CellDiag *diag);

/* A file that is written beside its target and takes its place only when it is whole: PATH.tmp,
 * synced, renamed. A program that dies or a disk that fills up leaves the old file as it was. A
 * target that is no regular file (a pipe, a device) is written directly. */
typedef struct CellNewFile CellNewFile;

/* Opens PATH.tmp; NULL after an error. */
CellNewFile *cell_new_file(const char *path, CellDiag *diag);
/* Where to write; errors need not be looked at, the commit finds them. Owned by `file`. */
FILE *cell_new_file_stream(CellNewFile *file);
/* Flushes, syncs, renames and frees `file`; false (and the old file intact, PATH.tmp removed) if
 * anything could not be written. */
bool cell_new_file_commit(CellNewFile *file, CellDiag *diag);
/* Removes PATH.tmp and frees `file`; NULL is fine. */
void cell_new_file_abandon(CellNewFile *file);

/* The three calls above in one. */
bool cell_write_file(const char *path, const void *data, size_t length, CellDiag *diag);

/* An append-only file of one JSON document a line. Each line is one write, so a reader never sees a
 * part of one, and a line that a crash tore is removed on opening. */
typedef struct CellLog CellLog;

/* Opens or creates a log. With `keep` >= 0 only that many bytes of what is there stay (a run that
 * resumes at a checkpoint); with -1 all whole lines do. NULL after an error. */
CellLog *cell_log_open(const char *path, int64_t keep, CellDiag *diag);
/* Appends `line` as compact JSON with its keys in insertion order; takes over the reference to
 * `line`. False after an error: nothing of the line stays. */
bool cell_log_add(CellLog *log, json_t *line, CellDiag *diag);
/* The file's length in bytes: what `keep` wants. */
int64_t cell_log_bytes(const CellLog *log);
/* Syncs, closes, frees; NULL is fine. */
bool cell_log_close(CellLog *log, CellDiag *diag);

#endif
