/* bench_update.c - `cellc bench update`, `act` and `sync`: a program's time, kernel by kernel, beside the
 * least that the machine could take for the same work. */
#include "codegen/machine.h"
#include "runtime/cli/cmd_bench.h"
#include "runtime/progress.h"
#include "runtime/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* a launch, its work, and the seconds that its instructions and its bytes would take */
typedef struct {
  const CellKernel *kernel;
  int launches; /* 1, or of a row of the text */
  double seconds;
  CellKernelCounts counts;
  CellKernelWork work;
  double arithmetic_seconds, traffic_seconds;
} Launch;

typedef struct {
  double open_seconds, init_seconds, sgemm;
  int64_t open_peak, peak; /* after opening, when no tensor was touched; in all */
  CellTiming timing;
  Launch *launches; /* the longest first */
  CellGpuTime *gpu; /* on a GPU: its launches, in order */
  int gpu_count;
  double apart, left; /* of observations' bits, of zeros: see CellCosts */
  bool limits;        /* whether the machine's were measured */
  CellMachine machine;
  double bound; /* seconds: the sum of the launches' limits */
} Figures;

static int by_seconds(const void *a, const void *b) {
  double x = ((const Launch *)a)->seconds, y = ((const Launch *)b)->seconds;
  return (x < y) - (x > y);
}

// no more than it took: a launch whose operands stayed in a cache has less traffic than is counted
static double limit_of(const Launch *l) {
  return fmin(l->seconds, fmax(l->arithmetic_seconds, l->traffic_seconds));
}

/* what the launches do, and how long the machine needs for it at best */
static void count_launches(const CellBenchOptions *o, const CellNetwork *n, const char *program,
                           Figures *f, CellDiag *diag) {
  char message[512];
  CellCosts costs = {
      .density = n->shapes.obs_bits ? o->density : 1, .apart = f->apart, .left = f->left};
  CellIsa isa = o->network.engine.isa;
  f->limits = n->backend == CELL_BACKEND_CPU &&
              cell_machine_costs(isa, n->plan, &costs, message, sizeof message) &&
              cell_machine_measure(isa, o->threads, &f->machine, message, sizeof message);
  if (n->backend == CELL_BACKEND_CPU && !f->limits)
    cell_warning(diag, NULL, CELL_NOWHERE, "no roofline: %s", message);

  f->launches = cell_malloc((size_t)f->timing.launch_count * sizeof *f->launches + 1);
  for (int p = 0; n->plan && p < n->plan->program_count; p++) {
    const CellPlanProgram *of = &n->plan->programs[p];
    if (strcmp(of->name, program) != 0) continue;
    for (int i = 0; i < f->timing.launch_count; i++) {
      Launch *l = &f->launches[i];
      *l = (Launch){.kernel = n->plan->kernels[of->launches[i].kernel],
                    .seconds = f->timing.launches[i],
                    .launches = 1};
      l->counts = cell_kernel_counts(l->kernel);
      if (!f->limits) continue;
      l->work = cell_kernel_work(l->kernel, n->plan->buffers, of->launches[i].buffers, &costs);
      l->arithmetic_seconds = l->work.instructions / f->machine.instructions;
      l->traffic_seconds = l->work.bytes / f->machine.bytes;
      f->bound += limit_of(l);
    }
  }
  qsort(f->launches, (size_t)f->timing.launch_count, sizeof *f->launches, by_seconds);
}

/* ---- launches on a GPU ---- */

enum { GPU_REPEATS = 20 };

static double gpu_sum(const Figures *f, bool predicted) {
  double sum = 0;
  for (int i = 0; i < f->gpu_count; i++) sum += predicted ? f->gpu[i].predicted : f->gpu[i].seconds;
  return sum;
}

static json_t *gpu_json(const Figures *f) {
  json_t *list = json_array();
  double sum = gpu_sum(f, false);
  for (int i = 0; i < f->gpu_count; i++) {
    const CellGpuTime *t = &f->gpu[i];
    json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:i}", "kernel",
                                          t->kernel, "seconds", t->seconds, "predicted_seconds",
                                          t->predicted, "share", sum > 0 ? t->seconds / sum : 0,
                                          "blocks", (json_int_t)t->blocks, "shared_bytes",
                                          (json_int_t)t->shared_bytes, "registers", t->registers));
  }
  return list;
}

// launches of one kernel in one row, the longest first
static int merge_gpu(const Figures *f, CellGpuTime *rows, int *launches) {
  int n = 0;
  for (int i = 0; i < f->gpu_count; i++) {
    int at = 0;
    while (at < n && rows[at].kernel != f->gpu[i].kernel) at++;
    if (at == n) {
      rows[n] = f->gpu[i], launches[n++] = 1;
      continue;
    }
    rows[at].seconds += f->gpu[i].seconds, rows[at].predicted += f->gpu[i].predicted;
    launches[at]++;
  }
  for (int i = 1; i < n; i++)
    for (int k = i; k > 0 && rows[k].seconds > rows[k - 1].seconds; k--) {
      CellGpuTime row = rows[k];
      int count = launches[k];
      rows[k] = rows[k - 1], launches[k] = launches[k - 1];
      rows[k - 1] = row, launches[k - 1] = count;
    }
  return n;
}

static void print_gpu(const CellBenchOptions *o, const Figures *f) {
  if (f->gpu_count == 0) return;
  CellGpuTime *rows = cell_malloc((size_t)f->gpu_count * sizeof *rows);
  int *launches = cell_malloc((size_t)f->gpu_count * sizeof *launches);
  int n = merge_gpu(f, rows, launches);
  double sum = gpu_sum(f, false), predicted = gpu_sum(f, true);
  printf("\n%d launches one by one %.6f s; predicted for %s (%s) %.6f s\n", f->gpu_count, sum,
         o->network.engine.gpu->name, o->network.engine.gpu->device, predicted);
  printf("%-16s %8s %8s %9s %11s %6s %11s %9s\n", "kernel", "launches", "blocks", "registers",
         "microsec", "part", "predicted", "of it");
  for (int i = 0; i < n; i++)
    printf("%-16s %8d %8lld %9d %11.2f %5.1f%% %11.2f %8.0f%%\n", rows[i].kernel, launches[i],
           (long long)rows[i].blocks, rows[i].registers, 1e6 * rows[i].seconds,
           sum > 0 ? 100 * rows[i].seconds / sum : 0, 1e6 * rows[i].predicted,
           rows[i].seconds > 0 ? 100 * rows[i].predicted / rows[i].seconds : 0);
  free(rows);
  free(launches);
}

/* ---- JSON ---- */

static json_t *launch_json(const Launch *l, bool limits) {
  json_t *j =
      json_pack("{s:s, s:f, s:I, s:f, s:f, s:f}", "kernel", l->kernel->name, "seconds", l->seconds,
                "tasks", (json_int_t)l->kernel->tasks, "contract_flops", l->counts.contract_flops,
                "vector_ops", l->counts.vector_ops, "bytes", l->counts.bytes);
  if (!limits) return j;
  json_object_set_new(j, "roofline",
                      json_pack("{s:f, s:f, s:f, s:f, s:f}", "instructions", l->work.instructions,
                                "bytes", l->work.bytes, "arithmetic_seconds", l->arithmetic_seconds,
                                "traffic_seconds", l->traffic_seconds, "share",
                                l->seconds > 0 ? limit_of(l) / l->seconds : 0));
  return j;
}

static json_t *roofline_json(const Figures *f) {
  if (!f->limits) return json_null();
  return json_pack("{s:f, s:f, s:f, s:f, s:f}", "instructions_per_second", f->machine.instructions,
                   "bytes_per_second", f->machine.bytes, "seconds", f->bound, "share",
                   f->bound / f->timing.median, "zeros_left", f->left);
}

static void print_json(const CellBenchOptions *o, const char *program, const CellNetwork *n,
                       const Figures *f) {
  const CellTiming *t = &f->timing;
  json_t *launches = json_array();
  for (int i = 0; i < t->launch_count; i++)
    json_array_append_new(launches, launch_json(&f->launches[i], f->limits));
  json_t *seconds =
      json_pack("{s:i, s:f, s:f, s:f, s:f}", "repeats", t->repeats, "median", t->median, "quarter",
                t->quarter, "three_quarters", t->three_quarters, "least", t->least);
  json_t *document = json_pack(
      "{s:s, s:s, s:s, s:o, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:i, s:o, s:o}", "schema",
      CELL_BENCH_SCHEMA, "program", program, "network", cell_spec_name(n->spec), "seconds", seconds,
      "open_seconds", f->open_seconds, "init_seconds", f->init_seconds, "sgemm_flops", f->sgemm,
      "gflop_equivalents", f->sgemm * t->median / 1e9, "open_peak_bytes", (json_int_t)f->open_peak,
      "peak_bytes", (json_int_t)f->peak, "arena_bytes",
      (json_int_t)(n->plan ? n->plan->arena_bytes : 0), "threads", o->threads, "roofline",
      roofline_json(f), "launches", launches);
  if (f->gpu_count > 0) {
    json_object_set_new(document, "gpu",
                        json_pack("{s:s, s:s, s:f, s:f}", "arch", o->network.engine.gpu->name,
                                  "predicted_for", o->network.engine.gpu->device, "seconds",
                                  gpu_sum(f, false), "predicted_seconds", gpu_sum(f, true)));
    json_object_set_new(json_object_get(document, "gpu"), "launches", gpu_json(f));
  }
  cell_json_print(document, stdout);
}

/* ---- text ---- */

// launches of one kernel in one row
static int merge_launches(const Figures *f, Launch *rows) {
  int n = 0;
  for (int i = 0; i < f->timing.launch_count; i++) {
    const Launch *l = &f->launches[i];
    int at = 0;
    while (at < n && rows[at].kernel != l->kernel) at++;
    if (at == n) {
      rows[n++] = *l;
      continue;
    }
    rows[at].launches++;
    rows[at].seconds += l->seconds;
    rows[at].counts.contract_flops += l->counts.contract_flops;
    rows[at].counts.bytes += l->counts.bytes;
    rows[at].arithmetic_seconds += l->arithmetic_seconds;
    rows[at].traffic_seconds += l->traffic_seconds;
  }
  qsort(rows, (size_t)n, sizeof *rows, by_seconds);
  return n;
}

static void print_launches(const Figures *f) {
  int launches = f->timing.launch_count;
  if (launches == 0) return;
  Launch *rows = cell_malloc((size_t)launches * sizeof *rows);
  int n = merge_launches(f, rows), small = 0;
  double sum = 0, left = 0;
  for (int i = 0; i < n; i++) sum += rows[i].seconds;
  printf("\n%-12s %8s %9s %6s %9s %8s", "kernel", "launches", "seconds", "part", "GFLOP/s", "GB/s");
  printf(f->limits ? " %11s %9s %8s\n" : "\n", "arithmetic", "traffic", "roofline");
  for (int i = 0; i < n; i++) {
    const Launch *l = &rows[i];
    if (l->seconds < 1e-3 * sum) {
      small++, left += l->seconds;
      continue;
    }
    printf("%-12s %8d %9.6f %5.1f%% %9.2f %8.2f", l->kernel->name, l->launches, l->seconds,
           100 * l->seconds / sum, l->counts.contract_flops / l->seconds / 1e9,
           l->counts.bytes / l->seconds / 1e9);
    if (f->limits)
      printf(" %11.6f %9.6f %7.1f%%", l->arithmetic_seconds, l->traffic_seconds,
             100 * limit_of(l) / l->seconds);
    printf("\n");
  }
  if (small > 0) printf("%d more %15s %9.6f %5.1f%%\n", small, "", left, 100 * left / sum);
  free(rows);
}

static void print_text(const CellBenchOptions *o, const char *program, const CellNetwork *n,
                       const Figures *f) {
  char arena[16], peak[16], open_peak[16];
  const CellTiming *t = &f->timing;
  cell_format_count((double)(n->plan ? n->plan->arena_bytes : 0), arena);
  cell_format_count((double)f->peak, peak);
  cell_format_count((double)f->open_peak, open_peak);
  printf("%s of %s: %.6f s, the middle half of %d runs from %.6f to %.6f\n", program,
         cell_spec_name(n->spec), t->median, t->repeats, t->quarter, t->three_quarters);
  if (f->sgemm > 0) {
    printf("sgemm of OpenBLAS: %.1f GFLOP/s; the %s takes what %.2f GFLOP would\n", f->sgemm / 1e9,
           program, f->sgemm * t->median / 1e9);
  } else {
    printf("sgemm: no OpenBLAS here (on Debian: apt-get install libopenblas0)\n");
  }
  if (f->limits) {
    printf("roofline: %.1f %% (%.6f s of arithmetic or traffic, at %.2f G vector instructions/s "
           "and %.1f GB/s)\n",
           100 * f->bound / t->median, f->bound, f->machine.instructions / 1e9,
           f->machine.bytes / 1e9);
  }
  printf("from text to engine %.3f s, parameters %.3f s\n", f->open_seconds, f->init_seconds);
  printf("arena %sB, peak memory %sB, %sB of it before tensors were used\n", arena, peak,
         open_peak);
  print_launches(f);
  print_gpu(o, f);
}

bool cell_bench_update(const CellCli *cli, const CellBenchOptions *o, const char *program,
                       CellDiag *diag) {
  Figures f = {0};
  double before = cell_now();
  CellNetwork *n = cell_network_open(&o->network, diag);
  if (!n) return false;
  cell_cli_say_backend(cli, n->cpu_because);
  f.open_seconds = cell_now() - before;
  f.open_peak = cell_bench_peak_bytes();
  before = cell_now();
  cell_network_init(n, 0, cell_spec_train(n->spec)->init_shared);
  f.init_seconds = cell_now() - before;
  cell_bench_fill(n, o->density, 0);
  f.apart = o->env ? cell_bench_fill_play(n, o->env, 0) : 1;
  CellTimingOptions timing = {
      .warmup_seconds = o->warmup, .seconds = o->seconds, .least = 3, .most = 100000};
  bool ok = cell_bench_program(n, program, &timing, &f.timing, diag);
  if (ok) {
    f.gpu_count =
        cell_engine_gpu_times(n->engine, program, o->seconds > 0 ? GPU_REPEATS : 1, &f.gpu, diag);
    ok = f.gpu_count >= 0;
  }
  if (ok) {
    // memory before OpenBLAS is opened: it is ours
    f.peak = cell_bench_peak_bytes();
    f.left = cell_bench_zeros_left(n, program, diag);
    count_launches(o, n, program, &f, diag);
    f.sgemm = cell_bench_sgemm(o->threads);
    if (cli->json)
      print_json(o, program, n, &f);
    else
      print_text(o, program, n, &f);
  }
  free(f.launches);
  free(f.gpu);
  free(f.timing.launches);
  cell_network_close(n);
  return ok;
}
