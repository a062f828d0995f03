/* bench.h - how long programs take on this machine.
 *
 * Times are of whole calls, after a warm-up; the middle one is reported, with the quarter and three
 * quarter ones as the spread. The inputs of an update are stand-ins: transitions of random play where
 * observations are bits, since the time of selected rows depends on which and how many there are. */
#ifndef CELL_BENCH_H
#define CELL_BENCH_H

#include "runtime/network.h"
#include "runtime/replay.h"

typedef struct {
  int repeats;
  double median, quarter, three_quarters, least; /* seconds */
  double *launches; /* mean seconds of each launch of the program, NULL without a plan; free() it */
  int launch_count;
} CellTiming;

typedef struct {
  double warmup_seconds,
      seconds; /* runs for so long, but at least `least` and at most `most` times */
  int least, most;
} CellTimingOptions;

/* Fills the inputs of act and update: bits with the given share set (floats are uniform in [-1, 1]),
 * uniform actions, rewards 0 or 1, one transition in ten terminated. */
void cell_bench_fill(CellNetwork *network, double density, uint64_t seed);

/* The same from 4,096 steps of random play, for environments whose observations are bits and whose shapes
 * the network has; nothing for others. Returns the share of an observation's bits in which it differs from what
 * most of them have, on average; 1 for others. */
double cell_bench_fill_play(CellNetwork *network, const CellEnvKind *env, uint64_t seed);

/* What products of a program that leave out zeros have left (CellCosts), from a few samples of the inputs that the
 * engine holds; 1 where none leaves out any. */
double cell_bench_zeros_left(CellNetwork *network, const char *program, CellDiag *diag);

/* Times a program. false on errors, reported to diag. */
bool cell_bench_program(CellNetwork *network, const char *program, const CellTimingOptions *options,
                        CellTiming *timing, CellDiag *diag);

/* Seconds of an update and of a step of acting, as a run in `env` (NULL: of observations with one bit in ten set) will
 * find them: with drawn parameters, as zeros would pass sooner, and the least of at least two, as the first one touches
 * every page. The network is to be initialised anew. false on errors, reported to diag. */
bool cell_bench_expect(CellNetwork *network, const CellEnvKind *env, double *update, double *act,
                       CellDiag *diag);

/* Multiplications and additions a second that OpenBLAS, opened at run time, reaches in the product of
 * two 1024 x 1024 matrices of floats: the median of five. 0 if there is no OpenBLAS. */
double cell_bench_sgemm(int threads);
#define CELL_BENCH_SGEMM_FLOPS (2.0 * 1024 * 1024 * 1024) /* of one product */

/* The most memory that the process has used, in bytes. */
int64_t cell_bench_peak_bytes(void);

#endif
