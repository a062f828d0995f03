/* progress.h - how far a run is: one redrawn line on a terminal, a plain line each 30 s otherwise.
 *
 *   arq breakout s1 [####....] 45 %  1.80M/4.00M  return 21.4 (100)  3.1 upd/s  left 0:41:12 */
#ifndef CELL_PROGRESS_H
#define CELL_PROGRESS_H

#include "ir/support.h"

/* What there is to say. */
typedef struct {
  const char *name, *env; /* "arq", "breakout" */
  uint64_t seed;
  int64_t step, steps;
  int64_t episodes; /* finished; the return is over the last 100 of them */
  double mean_return;
  double updates_per_second; /* lately; 0 before the first update */
  double seconds_left;       /* negative: not known yet */
} CellProgressView;

typedef struct {
  FILE *out;
  bool terminal; /* out is one: redraw */
  bool colour;
  double last; /* when something was drawn */
  int drawn;   /* characters of the line on the terminal */
} CellProgress;

/* The line, without an end; `bar` characters of bar (0: none). */
void cell_progress_line(const CellProgressView *view, int bar, CellText *out);

/* Whether it is time to draw again: 0.1 s on a terminal, 30 s otherwise. `now` in seconds. */
bool cell_progress_due(const CellProgress *progress, double now);
void cell_progress_draw(CellProgress *progress, const CellProgressView *view, double now);
/* Leaves the line on the terminal behind, so that other text may follow. */
void cell_progress_end(CellProgress *progress);

/* 1234567 as "1.23M", 0:41:12, 2 d 03:04 */
void cell_format_count(double count, char out[16]);
void cell_format_seconds(double seconds, char out[32]);

#endif
