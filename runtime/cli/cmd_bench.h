/* cmd_bench.h - what the kinds of `cellc bench` share: one file bench_KIND.c each. */
#ifndef CELL_CMD_BENCH_H
#define CELL_CMD_BENCH_H

#include "runtime/bench.h"
#include "runtime/cli/network_args.h"
#include "runtime/json.h"

#define CELL_BENCH_SCHEMA "cellc.bench.1"

typedef struct {
  CellNetworkOptions network;
  const CellEnvKind *env; /* NULL: not given */
  double seconds, warmup, density;
  int threads;
  int64_t repeat, steps, warmup_steps;
} CellBenchOptions;

/* Each measures, prints text or JSON and returns false after errors, which are in diag. */
bool cell_bench_update(const CellCli *cli, const CellBenchOptions *o, const char *program,
                       CellDiag *diag);
bool cell_bench_env(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag);
bool cell_bench_compile(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag);
bool cell_bench_run(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag);
bool cell_bench_sgemm_and_copy(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag);

/* {"repeats", "median", "quarter", "three_quarters", "least"} of times, which are sorted. */
json_t *cell_bench_spread(double *times, int count);

#endif
