/* bench_compile.c - `cellc bench compile FILE`: from text to the end of the first update, with an
 * empty cache of kernels and with a filled one.
 *
 * Every measurement is a process of its own, forked before LLVM is opened, so that opening it counts.
 * The cache is a new folder, removed at the end. */
#include "runtime/cli/cmd_bench.h"
#include "runtime/training.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* the phases of network.h, then two of this file, and all together */
enum { PARAMETERS = CELL_NETWORK_PHASES, UPDATE, TOTAL, COUNT };
static const char *const names[COUNT] = {"text",       "passes", "plan", "engine",
                                         "parameters", "update", "total"};

typedef struct {
  double seconds[COUNT];
} Phases;

// removes the files of a folder, and the folder
static void remove_folder(const char *folder) {
  DIR *dir = opendir(folder);
  struct dirent *entry;
  while (dir && (entry = readdir(dir))) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
      (void)unlink(path);
  }
  if (dir) closedir(dir);
  (void)rmdir(folder);
}

static bool run_once(const CellBenchOptions *o, const char *folder, Phases *p, CellDiag *diag) {
  CellNetworkOptions options = o->network;
  options.engine.cache_dir = folder;
  options.engine.cpu_will_do = false; // it is the GPU's compiling that is measured
  options.phase_seconds = p->seconds;
  double began = cell_now();
  CellNetwork *n = cell_network_open(&options, diag);
  if (!n) return false;
  double opened = cell_now();
  cell_network_init(n, 0, cell_spec_train(n->spec)->init_shared);
  p->seconds[PARAMETERS] = cell_now() - opened;
  cell_bench_fill(n, o->density, 0); // not counted: a run has its batch from the replay
  double before = cell_now();
  bool ok = cell_engine_run(n->engine, "update", diag);
  p->seconds[UPDATE] = cell_now() - before;
  p->seconds[TOTAL] = opened - began + p->seconds[PARAMETERS] + p->seconds[UPDATE];
  cell_network_close(n);
  return ok;
}

// in a child, which prints its own errors
static bool run_apart(const CellCli *cli, const CellBenchOptions *o, const char *folder, Phases *p,
                      CellDiag *diag) {
  int ends[2];
  if (pipe(ends) != 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "no pipe to a process that measures");
    return false;
  }
  (void)fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    CellDiag *own = cell_diag_create();
    bool ok = run_once(o, folder, p, own);
    int code = cell_cli_report(cli, own);
    if (ok) ok = write(ends[1], p, sizeof *p) == (ssize_t)sizeof *p;
    _exit(ok ? CELL_EXIT_OK : code ? code : CELL_EXIT_FAILED);
  }
  close(ends[1]);
  bool got = child > 0 && read(ends[0], p, sizeof *p) == (ssize_t)sizeof *p;
  close(ends[0]);
  int status = 0;
  if (child > 0) (void)waitpid(child, &status, 0);
  if (child < 0 || (WIFSIGNALED(status) && !got))
    cell_error(diag, NULL, CELL_NOWHERE, "the process that measures did not end well");
  else if (!got) // its messages are printed: the code says which kind they were
    cell_error(diag, WEXITSTATUS(status) == CELL_EXIT_MISSING ? CELL_E_PROVIDER : NULL,
               CELL_NOWHERE, "nothing was measured");
  return got;
}

static json_t *phase_json(const Phases *runs, int count) {
  json_t *all = json_object();
  double *times = cell_malloc((size_t)count * sizeof *times);
  for (int k = 0; k < COUNT; k++) {
    for (int i = 0; i < count; i++) times[i] = runs[i].seconds[k];
    json_t *spread = cell_bench_spread(times, count);
    json_object_set(all, names[k], json_object_get(spread, "median"));
    if (k == TOTAL) json_object_set(all, "seconds", spread);
    json_decref(spread);
  }
  free(times);
  return all;
}

static void print_text(const json_t *cold, const json_t *warm) {
  printf("%-12s %12s %12s\n", "seconds", "empty cache", "filled cache");
  for (int k = 0; k < COUNT; k++)
    printf("%-12s %12.4f %12.4f\n", names[k], json_number_value(json_object_get(cold, names[k])),
           json_number_value(json_object_get(warm, names[k])));
}

bool cell_bench_compile(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag) {
  const char *base = getenv("TMPDIR");
  char *folder =
      cell_arena_printf(cli->arena, "%s/cellc-bench-XXXXXX", base && *base ? base : "/tmp");
  int count = (int)o->repeat;
  Phases *cold = cell_malloc((size_t)count * sizeof *cold),
         *warm = cell_malloc((size_t)count * sizeof *warm);
  bool ok = true;
  for (int i = 0; i < count && ok; i++) {
    char *own = cell_arena_strdup(cli->arena, folder);
    if (!mkdtemp(own)) {
      cell_error(diag, NULL, CELL_NOWHERE, "cannot make a folder like `%s`", folder);
      ok = false;
      break;
    }
    ok = run_apart(cli, o, own, &cold[i], diag) && run_apart(cli, o, own, &warm[i], diag);
    remove_folder(own);
  }
  if (ok) {
    json_t *first = phase_json(cold, count), *second = phase_json(warm, count);
    if (cli->json) {
      cell_json_print(json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o}", "schema", CELL_BENCH_SCHEMA,
                                "program", "compile", "file", o->network.name, "threads",
                                o->threads, "repeats", count, "cold", first, "warm", second),
                      stdout);
    } else {
      print_text(first, second);
      json_decref(first);
      json_decref(second);
    }
  }
  free(cold);
  free(warm);
  return ok;
}
