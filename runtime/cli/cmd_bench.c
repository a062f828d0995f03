/* cmd_bench.c - `cellc bench`: what programs cost on this machine, beside what it can do. */
#include "runtime/cli/cmd_bench.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

json_t *cell_bench_spread(double *times, int count) {
  qsort(times, (size_t)count, sizeof *times, by_value);
  return json_pack("{s:i, s:f, s:f, s:f, s:f}", "repeats", count, "median", times[count / 2],
                   "quarter", times[count / 4], "three_quarters", times[3 * count / 4], "least",
                   times[0]);
}

/* What there is to measure. A new kind: a row here and a file bench_KIND.c. */
typedef enum { WANTS_NOTHING, WANTS_ENV, WANTS_FILE } Wants;
typedef struct {
  const char *name;
  Wants wants;
  bool learn,
      act; /* the programs that are compiled: no other, since memory and time are reported */
  bool (*run)(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag);
} Kind;

static bool update(const CellCli *cli, const CellBenchOptions *o, CellDiag *diag) {
  return cell_bench_update(cli, o, cli->words[0], diag);
}

static const Kind kinds[] = {
    {"update", WANTS_FILE, true, false, update},
    {"sync", WANTS_FILE, true, false, update},
    {"act", WANTS_FILE, false, true, update},
    {"compile", WANTS_FILE, true, true, cell_bench_compile},
    {"run", WANTS_FILE, true, true, cell_bench_run},
    {"env", WANTS_ENV, false, false, cell_bench_env},
    {"sgemm", WANTS_NOTHING, false, false, cell_bench_sgemm_and_copy},
};

static const Kind *find_kind(const char *name) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  return NULL;
}

// `--NAME TEXT` into *value, which keeps what it is where the option is not given; -1 to go on
static int take_count(CellCli *cli, const char *name, const char *text, int64_t least, int64_t most,
                      int64_t *value) {
  if (!text) return -1;
  if (cell_cli_count(text, value) && *value >= least && *value <= most) return -1;
  return cell_cli_usage(cli, "`--%s %s` is no number from %lld to %lld", name, text,
                        (long long)least, (long long)most);
}

static int find_env(CellCli *cli, CellBenchOptions *o) {
  const char *near, *name = cli->words[1];
  o->env = cell_env_find(name, &near);
  if (o->env) return -1;
  if (near)
    return cell_cli_usage(cli, "there is no environment `%s`; did you mean `%s`?", name, near);
  return cell_cli_usage(cli, "there is no environment `%s`; `cellc env ls` lists all", name);
}

static int open_file(CellCli *cli, const Kind *kind, CellBenchOptions *o, int64_t envs) {
  int code = cell_cli_network(cli, cli->words[1], &o->network, &o->env);
  if (code >= 0) return code;
  if (kind->run == cell_bench_run && !o->env) {
    free((void *)(uintptr_t)o->network.text);
    return cell_cli_usage(cli, "an environment is missing: --env NAME; `cellc env ls` lists all");
  }
  if (o->env) o->density = o->env->observation.density;
  o->network.engine.density = o->density;
  o->network.learn = kind->learn;
  o->network.envs = kind->act ? (int32_t)envs : 0;
  return -1;
}

static int measure(CellCli *cli, const Kind *kind, CellBenchOptions *o, int64_t envs) {
  if (kind->wants != WANTS_NOTHING && cli->word_count < 2)
    return cell_cli_usage(cli, "%s is missing: cellc bench %s %s",
                          kind->wants == WANTS_ENV ? "an environment" : "a network", kind->name,
                          kind->wants == WANTS_ENV ? "NAME" : "FILE");
  if (kind->wants == WANTS_NOTHING && cli->word_count > 1)
    return cell_cli_usage(cli, "`%s` takes no `%s`", kind->name, cli->words[1]);
  int code = kind->wants == WANTS_ENV    ? find_env(cli, o)
             : kind->wants == WANTS_FILE ? open_file(cli, kind, o, envs)
                                         : -1;
  if (code >= 0) return code;
  CellDiag *diag = cell_diag_create();
  bool ok = kind->run(cli, o, diag);
  code = cell_cli_report(cli, diag);
  cell_diag_destroy(diag);
  free((void *)(uintptr_t)o->network.text);
  return cell_cli_end(cli, ok ? CELL_EXIT_OK : code ? code : CELL_EXIT_FAILED);
}

int cell_cmd_bench(int argc, const char **argv) {
  const char *threads = NULL, *backend = NULL, *precision = NULL, *envs = NULL, *repeat = NULL,
             *steps = NULL, *warmup_steps = NULL;
  CellBenchOptions o = {.seconds = 3,
                        .warmup = 0.5,
                        .density = 0.1,
                        .repeat = 5,
                        .steps = 40000,
                        .warmup_steps = 50000};
  struct poptOption table[] = {
      {"threads", 0, POPT_ARG_STRING, &threads, 0, "threads, of sgemm too (2)", "N"},
      CELL_CLI_BACKEND_ROWS(backend, precision),
      {"seconds", 0, POPT_ARG_DOUBLE, &o.seconds, 0, "how long to measure (3)", "T"},
      {"warm-up", 0, POPT_ARG_DOUBLE, &o.warmup, 0, "how long to run before that (0.5)", "T"},
      {"density", 0, POPT_ARG_DOUBLE, &o.density, 0,
       "share of set bits in observations, where there is no --env (0.1)", "P"},
      {"envs", 0, POPT_ARG_STRING, &envs, 0, "environments that `act` steps at once (1)", "N"},
      {"repeat", 0, POPT_ARG_STRING, &repeat, 0, "how often `compile` compiles (5)", "N"},
      {"steps", 0, POPT_ARG_STRING, &steps, 0, "training steps that `run` measures (40000)", "N"},
      {"warm-up-steps", 0, POPT_ARG_STRING, &warmup_steps, 0,
       "steps before training that `run` measures (50000)", "N"},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "update | act | sync | compile | run FILE [--env NAME] | env NAME | sgemm",
      .about =
          "Times a program of a network on stand-in data, kernel by kernel, beside the least that "
          "this machine could take for the same instructions and bytes, and in the same run "
          "the product of two matrices by OpenBLAS, so that figures of different machines can "
          "be compared: a time times that rate. compile: from text to the first update, with "
          "an empty and a filled cache. run: what a whole training run takes, from a part of it. "
          "env: an environment's steps. sgemm: the product and a copy, on one thread and on all.",
      .options = table,
      .common = CELL_WITH_JSON | CELL_WITH_NETWORK,
      .least = 1,
      .most = 2};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  threads = cell_cli_string(&cli, threads), backend = cell_cli_string(&cli, backend);
  precision = cell_cli_string(&cli, precision);
  envs = cell_cli_string(&cli, envs), repeat = cell_cli_string(&cli, repeat);
  steps = cell_cli_string(&cli, steps), warmup_steps = cell_cli_string(&cli, warmup_steps);
  code = cell_cli_backend(&cli, backend, threads ? threads : "2", precision, &o.network);
  if (code >= 0) return code;
  o.threads = o.network.engine.threads;
  const Kind *kind = find_kind(cli.words[0]);
  if (!kind)
    return cell_cli_usage(&cli,
                          "there is no bench `%s`; there are update, act, sync, compile, run, env "
                          "and sgemm",
                          cli.words[0]);
  if (!(o.density >= 0 && o.density <= 1))
    return cell_cli_usage(&cli, "`--density %g` is no share from 0 to 1", o.density);
  int64_t count = 1;
  const int64_t most = (int64_t)1 << 40;
  if ((code = take_count(&cli, "envs", envs, 1, 4096, &count)) >= 0 ||
      (code = take_count(&cli, "repeat", repeat, 1, 1000, &o.repeat)) >= 0 ||
      (code = take_count(&cli, "steps", steps, 1, most, &o.steps)) >= 0 ||
      (code = take_count(&cli, "warm-up-steps", warmup_steps, 1, most, &o.warmup_steps)) >= 0)
    return code;
  return measure(&cli, kind, &o, count);
}
