/* cmd_train.c - `cellc train`: a network learns; what it was and became stays in a folder. */
#include "runtime/bench.h"
#include "runtime/cli/network_args.h"
#include "runtime/dmc.h"
#include "runtime/files.h"
#include "runtime/json.h"
#include "runtime/plot.h"
#include "runtime/progress.h"
#include "runtime/random.h"
#include "runtime/training.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- signals: the first asks for an end, the second is one ---- */

static volatile sig_atomic_t stop_signal;

static void on_signal(int number) {
  if (stop_signal) _exit(number == SIGINT ? CELL_EXIT_INTERRUPTED : CELL_EXIT_TERMINATED);
  stop_signal = number;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  // a full quota is a write that fails, not a death
  signal(SIGXFSZ, SIG_IGN);
}

/* ---- what run.json says ---- */

static json_t *strings(const char *const *list, int count) {
  json_t *array = json_array();
  for (int i = 0; i < count; i++) {
    // what is no UTF-8 is not worth a failure
    json_t *text = json_string(list[i]);
    json_array_append_new(array, text ? text : json_string("?"));
  }
  return array;
}

static json_t *resolved(const CellSpec *spec) {
  const CellResolved *settings;
  int count = cell_spec_settings(spec, &settings);
  json_t *all = json_object();
  for (int i = 0; i < count; i++) {
    json_object_set_new(
        all, settings[i].path,
        json_pack("{s:s, s:s}", "value", settings[i].value, "origin", settings[i].origin));
  }
  return all;
}

static json_t *hash(uint64_t value) {
  return json_sprintf("fnv1a:%016llx", (unsigned long long)value);
}

/* of the program that runs, byte for byte */
static json_t *program_hash(void) {
  size_t length;
  CellDiag *diag = cell_diag_create();
  char *bytes = cell_read_file("/proc/self/exe", (size_t)1 << 30, &length, diag);
  cell_diag_destroy(diag);
  uint64_t value = 0xcbf29ce484222325U;
  for (size_t i = 0; bytes && i < length; i++) {
    value = (value ^ (unsigned char)bytes[i]) * 0x100000001b3U;
  }
  json_t *result = bytes ? hash(value) : json_null();
  free(bytes);
  return result;
}

/* the processor's name as Linux has it, or the architecture's */
static json_t *processor(const struct utsname *system) {
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[512];
  json_t *name = NULL;
  while (file && !name && fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !colon) continue;
    line[strcspn(line, "\n")] = 0;
    name = json_string(colon + 2);
  }
  if (file) fclose(file);
  return name ? name : json_string(system->machine);
}

static json_t *host(int threads) {
  struct utsname system = {0};
  uname(&system);
  return json_pack("{s:s, s:s, s:o, s:I, s:i}", "name", system.nodename, "system", system.release,
                   "processor", processor(&system), "cores",
                   (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads", threads);
}

/* the folder of the control suite's models, from wherever the run is read; null: the program's own */
static json_t *suite_dir(const CellEnvKind *env) {
  const char *folder = cell_dmc_is(env) ? cell_dmc_suite_in_use() : NULL;
  char *path = folder ? realpath(folder, NULL) : NULL;
  json_t *text = path ? json_string(path) : json_null();
  free(path);
  return text ? text : json_null();
}

typedef struct {
  CellNetworkOptions network;
  const CellEnvKind *env;
  int64_t seed;
  const char *runs;
  int quiet, no_progress, drop_state;
  const char *backend_name;
  double env_seconds; // of one step of an environment, about
} Options;

static json_t *describe(const CellCli *cli, const Options *o, const CellNetwork *network, int argc,
                        const char **argv) {
  const char *variant = o->network.spec.variant;
  json_t *words = strings(argv, argc);
  json_array_insert_new(words, 0, json_string("cellc"));
  return json_pack(
      "{s:s, s:s, s:s, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:b, s:{s:s, s:s}, s:o, "
      "s:o}",
      "schema", "cellc.run.1", "name", cell_spec_name(network->spec), "env", o->env->name,
      "suite_dir", suite_dir(o->env), "seed", (json_int_t)o->seed, "envs", o->network.envs,
      "variant", variant ? json_string(variant) : json_null(), "sets",
      strings(cli->sets, cli->set_count), "argv", words, "settings", resolved(network->spec),
      "spec_hash", hash(cell_random_hash(o->network.text)), "backend", o->backend_name,
      "parameters", (json_int_t)cell_network_param_count(network), "drop_state", o->drop_state,
      "versions", "cellc", CELLC_VERSION, "compiler", CELLC_COMPILER, "program_hash",
      program_hash(), "host", host(o->network.engine.threads));
}

/* ---- how long it will take ---- */

/* Opens an environment, so that what is missing is said before anything is compiled or written, and
 * times some of its steps. */
static bool try_environment(Options *o, CellDiag *diag) {
  void *state = cell_env_create(o->env, diag);
  if (!state) return false;
  cell_env_start(o->env, state, NULL, 0);
  double began = cell_now();
  int steps = 0;
  while (cell_env_check(o->env, state, NULL) && steps < 1000 && cell_now() - began < 0.05) {
    CellEnvStep step = cell_env_act(o->env, state, steps++ % o->env->actions.count);
    if (step.terminated || step.truncated) o->env->reset(o->env, state);
  }
  if (steps > 0) o->env_seconds = (cell_now() - began) / steps;
  cell_env_destroy(o->env, state);
  return true;
}

/* From a few updates and steps on stand-in data, before the run's own parameters are drawn, which clears
 * every state again. Negative when a program fails; the failure will show again where it matters. */
static double expected_seconds(CellNetwork *network, const Options *o, double *update_seconds) {
  const CellTrain *train = cell_spec_train(network->spec);
  CellDiag *diag = cell_diag_create();
  double act, seconds = -1;
  if (cell_bench_expect(network, o->env, update_seconds, &act, diag)) {
    seconds = *update_seconds * (double)cell_trainer_updates(train) +
              act * (double)train->steps / o->network.envs + o->env_seconds * (double)train->steps;
  }
  cell_diag_destroy(diag);
  return seconds;
}

enum { A_DAY = 86400 }; /* seconds */

static void announce(const Options *o, const CellNetwork *network, double expected,
                     double update_seconds) {
  if (o->quiet) return;
  const CellTrain *train = cell_spec_train(network->spec);
  char steps[16], parameters[16], time[32];
  cell_format_count((double)train->steps, steps);
  cell_format_count((double)cell_network_param_count(network), parameters);
  cell_format_seconds(expected, time);
  fprintf(stderr, "%s on %s, seed %lld: %s parameters, %s steps", cell_spec_name(network->spec),
          o->env->name, (long long)o->seed, parameters, steps);
  if (expected >= 0) {
    fprintf(stderr, ", %lld updates of %.3g s: about %s", (long long)cell_trainer_updates(train),
            update_seconds, time);
  }
  fprintf(stderr, "\n");
  // who only wants to see it learn should know that there is less
  const char *const *variants;
  int count = cell_spec_variants(network->spec, &variants);
  if (expected < A_DAY || count == 0 || o->network.spec.variant) return;
  fprintf(stderr, "variants of the file (--variant NAME):");
  for (int i = 0; i < count; i++) fprintf(stderr, " %s", variants[i]);
  fprintf(stderr, "\n");
}

static void say_where_the_replay_is(const Options *o, const CellTrainer *t) {
  char bytes[16];
  cell_format_count((double)cell_replay_mirror_bytes(t->replay), bytes);
  if (cell_replay_mirror_bytes(t->replay) > 0 && !o->quiet)
    fprintf(stderr, "the replay is on the GPU: %sB\n", bytes);
  else if (t->no_mirror[0])
    fprintf(stderr, "the replay stays in the host's memory: %s\n", t->no_mirror);
}

/* ---- the command ---- */

static bool save(void *context, const char *path, const char *const *metadata, bool *finite,
                 CellDiag *diag) {
  return cell_network_save(context, path, metadata, finite, diag);
}

/* what a run came to, as text, if gnuplot is there to draw it */
static void show_curve(const char *folder) {
  CellDiag *diag = cell_diag_create();
  CellPlotOptions options = {.out = stderr, .columns = 79, .rows = 20, .window = 100};
  bool missing;
  cell_plot_runs(&folder, 1, &options, &missing, diag);
  cell_diag_destroy(diag);
}

static int exit_code(CellRunEnd end) {
  switch (end) {
  case CELL_RUN_FINISHED: return CELL_EXIT_OK;
  case CELL_RUN_STOPPED: return CELL_EXIT_STOPPED;
  case CELL_RUN_DIVERGED: return CELL_EXIT_DIVERGED;
  case CELL_RUN_FAILED: break;
  }
  return CELL_EXIT_FAILED;
}

static int train(CellCli *cli, Options *o, int argc, const char **argv, CellDiag *diag) {
  int code = CELL_EXIT_FAILED;
  CellRunFolder *folder = NULL;
  CellTrainer *trainer = NULL;
  json_t *description = NULL;
  CellNetwork *network = try_environment(o, diag) ? cell_network_open(&o->network, diag) : NULL;
  if (!network) goto done;
  cell_cli_say_backend(cli, network->cpu_because);
  if (network->cpu_because) o->backend_name = "cpu";
  const char *name = cell_spec_name(network->spec);
  const CellTrain *settings = cell_spec_train(network->spec);
  CellRunFolderOptions place = {.root = o->runs,
                                .name = name,
                                .env = o->env->name,
                                .variant = o->network.spec.variant,
                                .seed = (uint64_t)o->seed,
                                .source = o->network.text,
                                .source_length = o->network.length};
  folder = cell_run_folder_create(&place, diag);
  if (!folder) goto done;

  double update_seconds = 0, expected = -1;
  if (o->network.backend == CELL_BACKEND_CPU || o->network.backend == CELL_BACKEND_CUDA) {
    expected = expected_seconds(network, o, &update_seconds);
  }
  announce(o, network, expected, update_seconds);
  if (!o->quiet) fprintf(stderr, "writing %s\n", cell_run_folder_path(folder));

  cell_network_init(network, (uint64_t)o->seed, settings->init_shared);
  CellTrainerOptions trainer_options = {.train = *settings,
                                        .seed = (uint64_t)o->seed,
                                        .env = o->env,
                                        .agent = &network->agent,
                                        .threads = o->network.engine.threads,
                                        .drop_state = o->drop_state};
  trainer = cell_trainer_create(&trainer_options, diag);
  if (!trainer) goto done;
  say_where_the_replay_is(o, trainer);
  description = describe(cli, o, network, argc, argv);
  CellTrainingOptions options = {.trainer = trainer,
                                 .folder = folder,
                                 .name = name,
                                 .env = o->env->name,
                                 .description = description,
                                 .save = save,
                                 .save_context = network,
                                 .expected_seconds = expected,
                                 .save_seconds = 600,
                                 .log_steps = 1000,
                                 .progress = o->quiet || o->no_progress ? NULL : stderr,
                                 .json = cli->json ? stdout : NULL,
                                 .stop = &stop_signal};
  catch_signals();
  CellRunEnd end = cell_training_run(&options, diag);
  code = exit_code(end);
  if (!o->quiet && end != CELL_RUN_FAILED) {
    if (!o->no_progress) show_curve(cell_run_folder_path(folder));
    fprintf(stderr, "%s after %lld steps and %lld episodes, return %.3f (%d)\n",
            cell_run_end_name(end), (long long)trainer->step, (long long)trainer->episodes,
            cell_trainer_return(trainer), (int)(trainer->episodes < 100 ? trainer->episodes : 100));
  }
  if (!cli->json) printf("%s\n", cell_run_folder_path(folder));
done:
  json_decref(description);
  cell_trainer_destroy(trainer);
  if (!cell_run_folder_close(folder, diag) && code == CELL_EXIT_OK) code = CELL_EXIT_FAILED;
  cell_network_close(network);
  return code;
}

int cell_cmd_train(int argc, const char **argv) {
  const char *seed = NULL, *steps = NULL, *threads = NULL, *backend = NULL, *precision = NULL,
             *runs = NULL, *envs = NULL, *suite = NULL;
  Options o = {0};
  struct poptOption table[] = {
      {"seed", 0, POPT_ARG_STRING, &seed, 0, "of all that is random in the run (0)", "N"},
      {"steps", 0, POPT_ARG_STRING, &steps, 0, "environment steps; as --set train.steps=N", "N"},
      {"runs", 'o', POPT_ARG_STRING, &runs, 0, "where the run's folder is made (runs)", "FOLDER"},
      {"envs", 0, POPT_ARG_STRING, &envs, 0, "environments stepped at once (1)", "N"},
      {"threads", 0, POPT_ARG_STRING, &threads, 0,
       "threads of updates and environments (all cores)", "N"},
      CELL_CLI_BACKEND_ROWS(backend, precision),
      {"suite-dir", 0, POPT_ARG_STRING, &suite, 0,
       "dmc: take models from the suite's original files (CELLC_SUITE_DIR)", "FOLDER"},
      {"drop-state", 0, POPT_ARG_NONE, &o.drop_state, 0,
       "act from the zero state at every step, to see what the state is worth", NULL},
      {"no-progress", 0, POPT_ARG_NONE, &o.no_progress, 0,
       "draw neither a progress line nor, at the end, a curve", NULL},
      {"quiet", 'q', POPT_ARG_NONE, &o.quiet, 0, "say nothing but errors and the folder", NULL},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "FILE --env NAME [--seed N]",
      .about =
          "Trains a network and leaves a folder with its settings, metrics, episodes and "
          "parameters. Ctrl-C, SIGTERM and SIGUSR1 finish the step, save and end with code 75; "
          "a second Ctrl-C ends at once. With --json, stdout is a stream of one document a "
          "line; otherwise it is the folder's name.",
      .options = table,
      .common = CELL_WITH_JSON | CELL_WITH_NETWORK,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  seed = cell_cli_string(&cli, seed), steps = cell_cli_string(&cli, steps);
  threads = cell_cli_string(&cli, threads), backend = cell_cli_string(&cli, backend);
  precision = cell_cli_string(&cli, precision);
  runs = cell_cli_string(&cli, runs), envs = cell_cli_string(&cli, envs);
  suite = cell_cli_string(&cli, suite);
  if (suite) cell_dmc_suite_folder(suite);
  o.runs = runs && *runs ? runs : "runs";
  if (seed && !cell_cli_count(seed, &o.seed)) {
    return cell_cli_usage(&cli, "`--seed %s` is no whole number from 0 to 2^53", seed);
  }
  int64_t count, env_count = 1;
  if (envs && (!cell_cli_count(envs, &env_count) || env_count < 1 || env_count > 4096)) {
    return cell_cli_usage(&cli, "`--envs %s` is no number from 1 to 4096", envs);
  }
  if (steps && (!cell_cli_count(steps, &count) || count < 1)) {
    return cell_cli_usage(&cli, "`--steps %s` is no whole number from 1 on", steps);
  }
  if (!cli.env) {
    return cell_cli_usage(&cli, "an environment is missing: --env minatar/breakout; `cellc env ls` "
                                "lists them");
  }
  code = cell_cli_backend(&cli, backend, threads, precision, &o.network);
  if (code >= 0) return code;
  // what "auto" came to
  bool named = backend && strcmp(backend, "auto") != 0;
  o.backend_name = o.network.backend == CELL_BACKEND_CUDA ? "cuda" : named ? backend : "cpu";
  if (steps) {
    const char **sets = CELL_NEW_ARRAY(cli.arena, const char *, cli.set_count + 2);
    for (int i = 0; i < cli.set_count; i++) sets[i] = cli.sets[i];
    sets[cli.set_count++] = cell_arena_printf(cli.arena, "train.steps=%lld", (long long)count);
    cli.sets = sets;
  }
  code = cell_cli_network(&cli, cli.words[0], &o.network, &o.env);
  if (code >= 0) return code;
  if (o.env->actions.count < 1) {
    free((void *)(uintptr_t)o.network.text);
    return cell_cli_usage(&cli, "`%s` has no list of actions: it cannot be trained on",
                          o.env->name);
  }
  o.network.envs = (int32_t)env_count, o.network.learn = true;
  CellDiag *diag = cell_diag_create();
  code = train(&cli, &o, argc, argv, diag);
  int reported = cell_cli_report(&cli, diag);
  // a missing compiler of kernels is more than a failure
  if (code == CELL_EXIT_OK || reported == CELL_EXIT_MISSING) code = reported;
  cell_diag_destroy(diag);
  free((void *)(uintptr_t)o.network.text);
  return cell_cli_end(&cli, code);
}
