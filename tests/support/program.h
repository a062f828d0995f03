/* program.h - cellc from outside, for tests: shell lines, their exit codes and what they print. */
#ifndef CELL_TESTS_PROGRAM_H
#define CELL_TESTS_PROGRAM_H

#include "ir/support.h"

/* An example small enough to be trained in a second, without `train.warmup`: a part of a line. */
#define SMALL_NETWORK                                                                              \
  "'" CELLC_SOURCE_DIR "/examples/arq.cell' --set l1.n=4 --set l2.n=3 --set l3.n=3 "               \
  "--set l1.heads=2 --set l2.heads=2 --set l3.heads=2 --set train.batch=2 --set train.context=2 "  \
  "--set train.replay=100 "

/* Fixtures of a group of tests: a new folder where lines then run, and its removal. */
int make_folder(void **state);
int remove_folder(void **state);

/* That folder; "." without the fixture. */
const char *folder(void);

/* Runs a line in a shell in the folder, where `cellc` is the program and nothing is to be read. Appends what
 * both streams held (*output is a string then, even an empty one) and returns the exit code: 124 if the line
 * took minutes, above 128 after a signal. */
int shell(const char *line, CellText *output);

/* The same of `cellc ARGUMENTS`. */
int run(const char *arguments, CellText *output);

/* Fails the test unless the line, or `cellc ARGUMENTS`, ends with that code and prints `part`. */
void expect_line(const char *line, int code, const char *part);
void expect(const char *arguments, int code, const char *part);

/* The same of a line that prints `part` at least and at most so many times. */
void expect_count(const char *line, int code, const char *part, int least, int most);

#endif
