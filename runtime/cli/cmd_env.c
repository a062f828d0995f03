/* cmd_env.c - `cellc env ls` and `cellc env trace`. */
#include "runtime/cli/cli.h"
#include "runtime/dmc_trace.h"
#include "runtime/json.h"
#include "runtime/minatar.h"
#include "runtime/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- ls ---- */

static json_t *names(const char *const *list, int count) {
  if (!list) return json_null();
  json_t *array = json_array();
  for (int i = 0; i < count; i++) json_array_append_new(array, json_string(list[i]));
  return array;
}

static json_t *describe(const CellEnvKind *kind) {
  const CellEnvObservation *o = &kind->observation;
  json_t *shape = json_array(), *settings = json_array();
  for (int i = 0; i < o->rank; i++) json_array_append_new(shape, json_integer(o->shape[i]));
  for (int i = 0; i < kind->setting_count; i++) {
    const CellEnvSetting *s = &kind->settings[i];
    json_array_append_new(settings, json_pack("{s:s, s:s, s:f, s:f, s:f, s:b}", "name", s->name,
                                              "meaning", s->meaning, "initial", s->initial, "low",
                                              s->low, "high", s->high, "integer", s->integer));
  }
  bool bits = o->representation == CELL_ENV_BITS;
  json_t *observation =
      json_pack("{s:o, s:s, s:f, s:o}", "shape", shape, "representation", bits ? "bits" : "real",
                "density", o->density, "channels", names(o->channels, o->shape[o->rank - 1]));
  const CellEnvActions *a = &kind->actions;
  int count = a->count > 0 ? a->count : a->dimension;
  const char *how = a->bits ? "bang-bang" : a->count > 0 ? "discrete" : "continuous";
  json_t *actions = json_pack("{s:s, s:i, s:i, s:o}", "kind", how, "count", count, "components",
                              a->dimension, "names", names(a->names, count));
  return json_pack("{s:s, s:s, s:o?, s:o, s:o, s:o}", "name", kind->name, "summary", kind->summary,
                   "time_limit",
                   kind->time_limit > 0 ? json_integer(kind->time_limit) : json_null(),
                   "observation", observation, "actions", actions, "settings", settings);
}

static void list_json(void) {
  json_t *environments = json_array();
  for (int i = 0; i < cell_env_count(); i++) {
    json_array_append_new(environments, describe(cell_env_at(i)));
  }
  cell_json_print(
      json_pack("{s:s, s:o}", "schema", "cellc.environments.1", "environments", environments),
      stdout);
}

static void list_text(void) {
  printf("%-24s %-16s %-16s %-12s %s\n", "environment", "observation", "actions", "time limit",
         "what to do");
  for (int i = 0; i < cell_env_count(); i++) {
    const CellEnvKind *kind = cell_env_at(i);
    char observation[64] = "";
    int length = 0;
    for (int k = 0; k < kind->observation.rank; k++) {
      length += snprintf(observation + length, sizeof observation - (size_t)length, "%s%d",
                         k ? "x" : "", kind->observation.shape[k]);
    }
    if (kind->observation.representation == CELL_ENV_BITS) {
      snprintf(observation + length, sizeof observation - (size_t)length, ":bits");
    }
    char actions[64];
    if (kind->actions.bits) {
      snprintf(actions, sizeof actions, "%d (%d ends)", kind->actions.count,
               kind->actions.dimension);
    } else if (kind->actions.count > 0) {
      snprintf(actions, sizeof actions, "%d", kind->actions.count);
    } else {
      snprintf(actions, sizeof actions, "%d continuous", kind->actions.dimension);
    }
    char limit[16] = "-";
    if (kind->time_limit > 0) snprintf(limit, sizeof limit, "%d", kind->time_limit);
    printf("%-24s %-16s %-16s %-12s %s\n", kind->name, observation, actions, limit, kind->summary);
  }
}

/* ---- trace ---- */

// as given on the command line, NULL where not given
typedef struct {
  const char *seed, *steps, *sticky, *action_set, *actions, *episode, *episodes, *suite;
  int no_ramping, digest;
} Options;

// a whole decimal number up to `most`, nothing else
static bool parse_number(const char *text, uint64_t most, uint64_t *value) {
  if (!*text || strspn(text, "0123456789") != strlen(text)) return false;
  errno = 0;
  unsigned long long number = strtoull(text, NULL, 10);
  *value = number;
  return errno == 0 && number <= most;
}

static bool parse_probability(const char *text, double *value) {
  char *end;
  *value = strtod(text, &end);
  return end != text && !*end && *value >= 0 && *value <= 1;
}

// output that does not arrive is main()'s to report
static int print_trace(CellCli *cli, const CellTrace *trace, bool digest) {
  if (!cell_minatar_is(trace->kind)) {
    cell_trace_print_table(trace, stdout);
  } else if (digest) {
    cell_trace_print_digest(trace, stdout);
  } else {
    cell_trace_print(trace, stdout);
  }
  return cell_cli_end(cli, CELL_EXIT_OK);
}

// recorded actions give the number of steps when none was asked for
static int trace_file(CellCli *cli, CellTrace *trace, const Options *options) {
  CellDiag *diag = cell_diag_create();
  uint8_t *actions;
  int64_t count;
  int most = cell_minatar_is(trace->kind) ? CELL_MINATAR_ACTIONS : trace->kind->actions.count;
  bool fine = cell_trace_read_actions(options->actions, most, &actions, &count, diag);
  int code = cell_cli_report(cli, diag);
  cell_diag_destroy(diag);
  if (!fine) return cell_cli_end(cli, code);

  if (!options->steps) trace->steps = count;
  if (trace->steps <= count) {
    trace->actions = actions;
    code = print_trace(cli, trace, options->digest);
  } else {
    code = cell_cli_fail(cli, CELL_EXIT_FAILED, "`%s` holds %lld actions, --steps asks for %lld",
                         options->actions, (long long)count, (long long)trace->steps);
  }
  free(actions);
  return code;
}

// actions of the control suite: lcg, lcg:STATE, or hex:DIGITS as a failure reports them
static bool parse_actions(const char *text, CellDmcTrace *trace, uint16_t *room) {
  uint64_t state;
  if (strncmp(text, "hex:", 4) == 0) {
    trace->actions = room;
    trace->action_count = cell_dmc_trace_actions(trace->kind, text + 4, room);
    return trace->action_count > 0;
  }
  if (strcmp(text, "lcg") == 0) return true;
  if (strncmp(text, "lcg:", 4) != 0 || !parse_number(text + 4, INT32_MAX, &state)) return false;
  trace->generator = (uint32_t)state;
  return true;
}

static int trace_suite(CellCli *cli, const CellEnvKind *kind, const Options *options) {
  if (options->steps || options->sticky || options->no_ramping || options->action_set ||
      options->digest) {
    return cell_cli_usage(
        cli, "`%s` takes only --seed, --episode, --episodes, --actions and --suite-dir",
        kind->name);
  }
  uint64_t seed = 0, first = 0, episodes = 1;
  uint16_t actions[CELL_DMC_STEPS];
  CellDmcTrace trace = {.kind = kind, .generator = 12345};
  if (options->seed && !parse_number(options->seed, UINT32_MAX, &seed)) {
    return cell_cli_usage(cli, "`--seed %s` wants a whole number from 0 to %lu", options->seed,
                          (unsigned long)UINT32_MAX);
  }
  if (options->episode && !parse_number(options->episode, INT32_MAX, &first)) {
    return cell_cli_usage(cli, "`--episode %s` wants a whole number", options->episode);
  }
  if (options->episodes && !parse_number(options->episodes, INT32_MAX, &episodes)) {
    return cell_cli_usage(cli, "`--episodes %s` wants a whole number", options->episodes);
  }
  if (options->actions && !parse_actions(options->actions, &trace, actions)) {
    return cell_cli_usage(
        cli, "`--actions %.40s` wants lcg:STATE, or hex: and the actions of an episode",
        options->actions);
  }
  if (trace.actions && episodes != 1) {
    return cell_cli_usage(cli, "`--actions hex:` holds the actions of one episode");
  }
  trace.seed = (uint32_t)seed, trace.first = (int64_t)first, trace.episodes = (int64_t)episodes;
  if (options->suite) cell_dmc_suite_folder(options->suite);
  CellDiag *diag = cell_diag_create();
  cell_dmc_trace_print(&trace, stdout, diag);
  int code = cell_cli_report(cli, diag);
  cell_diag_destroy(diag);
  return cell_cli_end(cli, code);
}

static int trace(CellCli *cli, const char *name, const Options *options) {
  const char *near;
  const CellEnvKind *kind = cell_env_find(name, &near);
  if (!kind && near) {
    return cell_cli_usage(cli, "there is no environment `%s`; did you mean `%s`?", name, near);
  }
  if (!kind) {
    return cell_cli_usage(cli, "there is no environment `%s`; `cellc env ls` lists all", name);
  }
  if (cell_dmc_is(kind)) return trace_suite(cli, kind, options);
  if (options->episode || options->episodes || options->suite) {
    return cell_cli_usage(
        cli, "`%s` is no task of the control suite: it takes no --episode, --episodes, --suite-dir",
        kind->name);
  }
  bool of_minatar = cell_minatar_is(kind);
  if (!of_minatar &&
      (options->sticky || options->no_ramping || options->action_set || options->digest)) {
    return cell_cli_usage(
        cli, "`%s` is no game of MinAtar: it takes only --seed, --steps, --actions", kind->name);
  }

  uint64_t seed = 0, steps = 5000;
  double settings[CELL_MINATAR_SETTINGS] = {
      [CELL_MINATAR_STICKY] = of_minatar ? kind->settings[CELL_MINATAR_STICKY].initial : 0,
      [CELL_MINATAR_RAMPING] = !options->no_ramping};
  if (options->seed && !parse_number(options->seed, UINT32_MAX, &seed)) {
    return cell_cli_usage(cli, "`--seed %s` wants a whole number from 0 to %lu", options->seed,
                          (unsigned long)UINT32_MAX);
  }
  if (options->steps && !parse_number(options->steps, INT64_MAX, &steps)) {
    return cell_cli_usage(cli, "`--steps %s` wants a whole number", options->steps);
  }
  if (options->sticky && !parse_probability(options->sticky, &settings[CELL_MINATAR_STICKY])) {
    return cell_cli_usage(cli, "`--sticky %s` wants a number from 0 to 1", options->sticky);
  }
  bool minimal = options->action_set && strcmp(options->action_set, "minimal") == 0;
  if (options->action_set && !minimal && strcmp(options->action_set, "full") != 0) {
    return cell_cli_usage(cli, "`--action-set %s` wants full or minimal", options->action_set);
  }

  CellTrace trace = {.kind = kind,
                     .seed = (uint32_t)seed,
                     .settings = of_minatar ? settings : NULL,
                     .minimal = minimal,
                     .steps = (int64_t)steps};
  bool recorded = options->actions && strcmp(options->actions, "lcg") != 0;
  if (recorded && options->action_set) {
    return cell_cli_usage(cli, "`--action-set` is for generated actions, not for those of a file");
  }
  return recorded ? trace_file(cli, &trace, options) : print_trace(cli, &trace, options->digest);
}

/* ---- env ---- */

// popt's heap string becomes one of the arena
static void take(CellCli *cli, const char **text) {
  char *heap = (char *)(uintptr_t)*text;
  if (heap) *text = cell_arena_strdup(cli->arena, heap);
  free(heap);
}

int cell_cmd_env(int argc, const char **argv) {
  Options o = {0};
  struct poptOption table[] = {
      {"seed", 's', POPT_ARG_STRING, &o.seed, 0,
       "trace: starts the environment, and the generated actions (0)", "S"},
      {"steps", 'n', POPT_ARG_STRING, &o.steps, 0,
       "trace: number of steps (5000, or as many as FILE has)", "N"},
      {"sticky", 0, POPT_ARG_STRING, &o.sticky, 0,
       "trace: probability that the action before is repeated (0.1)", "P"},
      {"no-ramping", 0, POPT_ARG_NONE, &o.no_ramping, 0, "trace: the game does not become harder",
       NULL},
      {"action-set", 0, POPT_ARG_STRING, &o.action_set, 0,
       "trace: what the generated actions are taken from (full)", "full|minimal"},
      {"actions", 0, POPT_ARG_STRING, &o.actions, 0,
       "trace: generated ones, or the first column of a recorded trace (lcg)", "lcg|FILE"},
      {"episodes", 0, POPT_ARG_STRING, &o.episodes, 0, "trace, dmc: number of episodes (1)", "N"},
      {"episode", 0, POPT_ARG_STRING, &o.episode, 0,
       "trace, dmc: number of the first one, counted from 0 (0)", "N"},
      {"suite-dir", 0, POPT_ARG_STRING, &o.suite, 0,
       "trace, dmc: take models from the original files in this folder (CELLC_SUITE_DIR)",
       "FOLDER"},
      {"digest", 0, POPT_ARG_NONE, &o.digest, 0,
       "trace: print one line with a digest of the whole run", NULL},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "ls | trace ENV",
      .about =
          "Lists the environments, or prints the trajectory of one: of MinAtar in the format of "
          "recorded data, of others as a table.",
      .options = table,
      .common = CELL_WITH_JSON,
      .least = 1,
      .most = 2};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  const char **strings[] = {&o.seed,    &o.steps,   &o.sticky,   &o.action_set,
                            &o.actions, &o.episode, &o.episodes, &o.suite};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
    if (code < 0) {
      take(&cli, strings[i]);
    } else {
      free((char *)(uintptr_t)*strings[i]);
    }
  }
  if (code >= 0) return code;

  if (strcmp(cli.words[0], "trace") == 0) {
    if (cli.json) return cell_cli_usage(&cli, "`trace` prints no JSON");
    if (cli.word_count < 2) {
      return cell_cli_usage(&cli, "`trace` wants an environment; `cellc env ls` lists all");
    }
    return trace(&cli, cli.words[1], &o);
  }
  if (strcmp(cli.words[0], "ls") != 0) {
    return cell_cli_usage(&cli, "there is no `%s`, only ls and trace", cli.words[0]);
  }
  if (cli.word_count > 1) return cell_cli_usage(&cli, "`ls` takes no `%s`", cli.words[1]);
  if (o.seed || o.steps || o.sticky || o.action_set || o.actions || o.no_ramping || o.digest ||
      o.episode || o.episodes || o.suite) {
    return cell_cli_usage(&cli, "`ls` takes no option but --json");
  }
  if (cli.json) {
    list_json();
  } else {
    list_text();
  }
  return cell_cli_end(&cli, CELL_EXIT_OK);
}
