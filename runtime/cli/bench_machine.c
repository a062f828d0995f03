/* bench_machine.c - `cellc bench sgemm`: OpenBLAS's product of matrices and a copy of memory, on one
 * thread and on all that are asked for: what the machine gains by more of them. */
#include "codegen/machine.h"
#include "runtime/cli/cmd_bench.h"

typedef struct {
  int threads;
  double sgemm, copy; /* flops, bytes a second */
  double seconds;     /* of one product and one copy */
} Row;

static bool measure(Row *row, CellIsa isa, CellDiag *diag) {
  char message[512];
  row->sgemm = cell_bench_sgemm(row->threads);
  if (row->sgemm == 0) {
    CellRecord *r = cell_error(diag, CELL_E_PROVIDER, CELL_NOWHERE, "there is no OpenBLAS here");
    cell_help(diag, r, "On Debian: apt-get install libopenblas0.");
    return false;
  }
  double copy = cell_machine_copy_seconds(isa, row->threads, message, sizeof message);
  if (copy < 0) {
    // the product's rate alone is worth something too
    cell_warning(diag, NULL, CELL_NOWHERE, "no copy: %s", message);
    copy = 0;
  }
  row->copy = copy > 0 ? 2.0 * CELL_MACHINE_COPY_BYTES / copy : 0;
  row->seconds = CELL_BENCH_SGEMM_FLOPS / row->sgemm + copy;
  return true;
}

bool cell_bench_sgemm_and_copy(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag) {
  Row rows[2] = {{.threads = 1}, {.threads = o->threads}};
  int first = o->threads > 1 ? 0 : 1;
  for (int i = first; i < 2; i++)
    if (!measure(&rows[i], o->network.engine.isa, diag)) return false;
  const Row *all = &rows[1];
  double speedup = rows[first].seconds / all->seconds;
  if (cli->json) {
    json_t *list = json_array();
    for (int i = first; i < 2; i++)
      json_array_append_new(list, json_pack("{s:i, s:f, s:f, s:f}", "threads", rows[i].threads,
                                            "sgemm_flops", rows[i].sgemm, "copy_bytes_per_second",
                                            rows[i].copy, "seconds", rows[i].seconds));
    cell_json_print(json_pack("{s:s, s:s, s:i, s:f, s:f, s:{s:f, s:o}}", "schema",
                              CELL_BENCH_SCHEMA, "program", "sgemm", "threads", all->threads,
                              "sgemm_flops", all->sgemm, "copy_bytes_per_second", all->copy,
                              "scaling", "speedup", speedup, "runs", list),
                    stdout);
    return true;
  }
  for (int i = first; i < 2; i++)
    printf(
        "%d thread%s: sgemm of OpenBLAS, 1024 cubed, %.1f GFLOP/s; a copy of 64 MiB, %.1f GB/s\n",
        rows[i].threads, rows[i].threads == 1 ? "" : "s", rows[i].sgemm / 1e9, rows[i].copy / 1e9);
  if (first == 0)
    printf("one product and one copy: %.2f times as fast on %d threads as on one\n", speedup,
           all->threads);
  return true;
}
