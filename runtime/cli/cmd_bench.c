/* cmd_bench.c - `cellc bench`: what programs cost on this machine, beside what it can do. */
#include "runtime/bench.h"
#include "runtime/cli/network_args.h"
#include "runtime/json.h"
#include "runtime/progress.h"
#include "runtime/training.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  CellNetworkOptions network;
  const CellEnvKind *env;
  double seconds, warmup, density;
  int sgemm_threads;
} Options;

static json_t *timing_json(const CellTiming *t) {
  return json_pack("{s:i, s:f, s:f, s:f, s:f}", "repeats", t->repeats, "median", t->median,
                   "quarter", t->quarter, "three_quarters", t->three_quarters, "least", t->least);
}

/* launches of a program with their share, the longest first */
typedef struct {
  const CellKernel *kernel;
  double seconds;
} Launch;

static int by_seconds(const void *a, const void *b) {
  double x = ((const Launch *)a)->seconds, y = ((const Launch *)b)->seconds;
  return (x < y) - (x > y);
}

static Launch *sort_launches(const CellNetwork *n, const char *program, const CellTiming *timing) {
  Launch *launches = cell_malloc((size_t)timing->launch_count * sizeof *launches + 1);
  for (int p = 0; n->plan && p < n->plan->program_count; p++) {
    const CellPlanProgram *of = &n->plan->programs[p];
    if (strcmp(of->name, program) != 0) continue;
    for (int i = 0; i < timing->launch_count; i++) {
      launches[i] = (Launch){n->plan->kernels[of->launches[i].kernel], timing->launches[i]};
    }
  }
  qsort(launches, (size_t)timing->launch_count, sizeof *launches, by_seconds);
  return launches;
}

typedef struct {
  double open_seconds, init_seconds, sgemm;
  int64_t open_peak, peak; /* after opening, when no tensor was touched; in all */
  CellTiming timing;
  Launch *launches;
} Figures;

static void print_json(const Options *o, const char *program, const CellNetwork *n,
                       const Figures *f) {
  json_t *launches = json_array();
  for (int i = 0; i < f->timing.launch_count; i++) {
    CellKernelCounts counts = cell_kernel_counts(f->launches[i].kernel);
    json_array_append_new(launches,
                          json_pack("{s:s, s:f, s:I, s:f, s:f, s:f}", "kernel",
                                    f->launches[i].kernel->name, "seconds", f->launches[i].seconds,
                                    "tasks", (json_int_t)f->launches[i].kernel->tasks,
                                    "contract_flops", counts.contract_flops, "vector_ops",
                                    counts.vector_ops, "bytes", counts.bytes));
  }
  json_t *document = json_pack(
      "{s:s, s:s, s:s, s:o, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:i, s:o}", "schema",
      "cellc.bench.1", "program", program, "network", cell_spec_name(n->spec), "seconds",
      timing_json(&f->timing), "open_seconds", f->open_seconds, "init_seconds", f->init_seconds,
      "sgemm_flops", f->sgemm, "gflop_equivalents", f->sgemm * f->timing.median / 1e9,
      "open_peak_bytes", (json_int_t)f->open_peak, "peak_bytes", (json_int_t)f->peak, "arena_bytes",
      (json_int_t)(n->plan ? n->plan->arena_bytes : 0), "threads", o->network.engine.threads,
      "launches", launches);
  cell_json_print(document, stdout);
}

static void print_text(const char *program, const CellNetwork *n, const Figures *f) {
  char arena[16], peak[16], open_peak[16];
  const CellTiming *t = &f->timing;
  cell_format_count((double)(n->plan ? n->plan->arena_bytes : 0), arena);
  cell_format_count((double)f->peak, peak);
  printf("%s of %s: %.6f s, the middle half of %d runs from %.6f to %.6f\n", program,
         cell_spec_name(n->spec), t->median, t->repeats, t->quarter, t->three_quarters);
  if (f->sgemm > 0) {
    printf("sgemm of OpenBLAS: %.1f GFLOP/s; the %s takes what %.2f GFLOP would\n", f->sgemm / 1e9,
           program, f->sgemm * t->median / 1e9);
  } else {
    printf("sgemm: no OpenBLAS here (on Debian: apt-get install libopenblas0)\n");
  }
  cell_format_count((double)f->open_peak, open_peak);
  printf("from text to engine %.3f s, parameters %.3f s\n", f->open_seconds, f->init_seconds);
  printf("arena %sB, peak memory %sB, %sB of it before tensors were used\n", arena, peak,
         open_peak);
  double sum = 0;
  for (int i = 0; i < t->launch_count; i++) sum += f->launches[i].seconds;
  if (t->launch_count > 0) {
    printf("\n%-16s %10s %7s %7s %12s %12s\n", "kernel", "seconds", "share", "tasks", "GFLOP/s",
           "GB/s");
  }
  for (int i = 0; i < t->launch_count; i++) {
    const Launch *l = &f->launches[i];
    CellKernelCounts counts = cell_kernel_counts(l->kernel);
    printf("%-16s %10.6f %6.1f%% %7lld %12.2f %12.2f\n", l->kernel->name, l->seconds,
           sum > 0 ? 100 * l->seconds / sum : 0, (long long)l->kernel->tasks,
           counts.contract_flops / l->seconds / 1e9, counts.bytes / l->seconds / 1e9);
  }
}

static bool bench_program(const CellCli *cli, Options *o, const char *program, CellDiag *diag) {
  Figures f = {0};
  double before = cell_now();
  CellNetwork *n = cell_network_open(&o->network, diag);
  if (!n) return false;
  f.open_seconds = cell_now() - before;
  f.open_peak = cell_bench_peak_bytes();
  before = cell_now();
  cell_network_init(n, 0, cell_spec_train(n->spec)->init_shared);
  f.init_seconds = cell_now() - before;
  double density = o->env ? o->env->observation.density : o->density;
  cell_bench_fill(n, density, 0);
  if (o->env) cell_bench_fill_play(n, o->env, 0);
  CellTimingOptions timing = {
      .warmup_seconds = o->warmup, .seconds = o->seconds, .least = 3, .most = 100000};
  bool ok = cell_bench_program(n, program, &timing, &f.timing, diag);
  if (ok) {
    // memory before OpenBLAS is opened: it is ours
    f.peak = cell_bench_peak_bytes();
    f.launches = sort_launches(n, program, &f.timing);
    f.sgemm = cell_bench_sgemm(o->sgemm_threads);
    if (cli->json)
      print_json(o, program, n, &f);
    else
      print_text(program, n, &f);
  }
  free(f.launches);
  free(f.timing.launches);
  cell_network_close(n);
  return ok;
}

static int bench_sgemm(CellCli *cli, int threads) {
  double rate = cell_bench_sgemm(threads);
  if (rate == 0) return cell_cli_fail(cli, CELL_EXIT_MISSING, "there is no OpenBLAS here");
  if (cli->json) {
    cell_json_print(json_pack("{s:s, s:s, s:i, s:f}", "schema", "cellc.bench.1", "program", "sgemm",
                              "threads", threads, "sgemm_flops", rate),
                    stdout);
  } else {
    printf("sgemm of OpenBLAS, 1024 cubed, %d threads: %.1f GFLOP/s\n", threads, rate / 1e9);
  }
  return cell_cli_end(cli, CELL_EXIT_OK);
}

int cell_cmd_bench(int argc, const char **argv) {
  const char *threads = NULL, *backend = NULL, *envs = NULL;
  Options o = {.seconds = 3, .warmup = 0.5, .density = 0.1};
  struct poptOption table[] = {
      {"threads", 0, POPT_ARG_STRING, &threads, 0, "threads, of sgemm too (2)", "N"},
      {"backend", 0, POPT_ARG_STRING, &backend, 0, "cpu, interp or interp-kernels (cpu)", "NAME"},
      {"seconds", 0, POPT_ARG_DOUBLE, &o.seconds, 0, "how long to measure (3)", "T"},
      {"warm-up", 0, POPT_ARG_DOUBLE, &o.warmup, 0, "how long to run before that (0.5)", "T"},
      {"density", 0, POPT_ARG_DOUBLE, &o.density, 0,
       "share of set bits in observations, where there is no --env (0.1)", "P"},
      {"envs", 0, POPT_ARG_STRING, &envs, 0, "environments that `act` steps at once (1)", "N"},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "update | act | sync FILE [--env NAME] | sgemm",
      .about =
          "Times a program of a network on stand-in data, kernel by kernel, and in the same run "
          "the product of two matrices by OpenBLAS, so that figures of different machines can "
          "be compared: a time times that rate.",
      .options = table,
      .common = CELL_WITH_JSON | CELL_WITH_NETWORK,
      .least = 1,
      .most = 2};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  threads = cell_cli_string(&cli, threads), backend = cell_cli_string(&cli, backend);
  envs = cell_cli_string(&cli, envs);
  code = cell_cli_backend(&cli, backend, threads ? threads : "2", &o.network);
  if (code >= 0) return code;
  o.sgemm_threads = o.network.engine.threads;
  const char *what = cli.words[0];
  if (strcmp(what, "sgemm") == 0) return bench_sgemm(&cli, o.sgemm_threads);
  if (strcmp(what, "update") != 0 && strcmp(what, "act") != 0 && strcmp(what, "sync") != 0) {
    return cell_cli_usage(&cli, "there is no bench `%s`; there are update, act, sync and sgemm",
                          what);
  }
  if (cli.word_count < 2)
    return cell_cli_usage(&cli, "a network is missing: cellc bench %s FILE", what);
  int64_t count = 1;
  if (envs && (!cell_cli_count(envs, &count) || count < 1 || count > 4096)) {
    return cell_cli_usage(&cli, "`--envs %s` is no number from 1 to 4096", envs);
  }
  code = cell_cli_network(&cli, cli.words[1], &o.network, &o.env);
  if (code >= 0) return code;
  // only the program that is asked for: its memory is reported too
  o.network.learn = strcmp(what, "act") != 0;
  o.network.envs = o.network.learn ? 0 : (int32_t)count;
  CellDiag *diag = cell_diag_create();
  bool ok = bench_program(&cli, &o, what, diag);
  code = cell_cli_report(&cli, diag);
  cell_diag_destroy(diag);
  free((void *)(uintptr_t)o.network.text);
  return cell_cli_end(&cli, ok ? CELL_EXIT_OK : code ? code : CELL_EXIT_FAILED);
}
