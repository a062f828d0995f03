/* plot.h - training curves by gnuplot: the mean return of the last 100 episodes against steps.
 *
 * Runs of one network, environment, variant and settings that differ in the seed are drawn as one
 * curve if there are three or more: mean and sample standard deviation. The script (FIGURE.gp) and
 * the data (FIGURE.dat) stay beside the figure. */
#ifndef CELL_PLOT_H
#define CELL_PLOT_H

#include "runtime/run_folder.h"

typedef struct {
  const char *figure; /* "fig4.png", ".pdf" or ".svg"; NULL: text on `out` */
  FILE *out;          /* for text */
  int columns, rows;  /* of the text; 0: the terminal's, or 79 x 24 */
  int window;         /* episodes a point averages */
} CellPlotOptions;

/* One point of a smoothed curve on a common grid of steps. */
typedef struct {
  double step, mean, deviation; /* deviation: NAN with fewer than three runs */
} CellPlotPoint;

/* Mean and deviation over runs of the mean return of the last `window` episodes, at `points` equally
 * spaced steps up to the last step that every run has reached. Where a run has had no episode yet
 * the mean is NAN. Writes `points` entries. */
void cell_plot_curve(const CellRunEpisode *const *episodes, const int *counts, int runs, int window,
                     int points, CellPlotPoint *out);

/* Draws; gnuplot must be installed. false on errors, reported to diag; *missing tells whether it is
 * gnuplot that lacks. */
bool cell_plot_runs(const char *const *folders, int count, const CellPlotOptions *options,
                    bool *missing, CellDiag *diag);

#endif
