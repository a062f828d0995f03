/* watch.c - what `play` and `render` share. */
#include "runtime/cli/watch.h"

#include "runtime/cli/network_args.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void cell_watch_options(CellWatchWords *words, struct poptOption table[CELL_WATCH_OPTIONS]) {
  const struct poptOption options[CELL_WATCH_OPTIONS] = {
      {"env", 0, POPT_ARG_STRING, &words->env, 0,
       "instead of a run: an environment, with random actions", "NAME"},
      {"seed", 0, POPT_ARG_STRING, &words->seed, 0,
       "of the episodes, the same as of `cellc eval` (0)", "N"},
      {"epsilon", 0, POPT_ARG_STRING, &words->epsilon, 0,
       "a run's share of random actions (0: greedy)", "P"},
      {"episodes", 0, POPT_ARG_STRING, &words->episodes, 0, "how many (1)", "N"},
      {"max-steps", 0, POPT_ARG_STRING, &words->max_steps, 0,
       "cut an episode after so many steps (0: never)", "N"},
      {"threads", 0, POPT_ARG_STRING, &words->threads, 0, "threads of a run's network (1)", "N"},
      {"backend", 0, POPT_ARG_STRING, &words->backend, 0, "cpu, interp or interp-kernels (cpu)",
       "NAME"},
      POPT_TABLEEND};
  memcpy(table, options, sizeof options);
}

const char *cell_watch_action(const CellEnvKind *env, int action, char room[16]) {
  const CellEnvActions *a = &env->actions;
  if (a->names) return a->names[action];
  if (a->dimension > 0 && a->dimension < 16) {
    for (int j = 0; j < a->dimension; j++)
      room[j] = action >> (a->dimension - 1 - j) & 1 ? '+' : '-';
    room[a->dimension] = 0;
  } else {
    snprintf(room, 16, "%d", action);
  }
  return room;
}

static bool is_folder(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

// an error that says what a word may be
static bool unknown(const char *name, const char *near, CellDiag *diag) {
  CellRecord *r = cell_error(diag, NULL, CELL_NOWHERE,
                             "`%s` is neither a run's folder nor an environment", name);
  if (near) {
    cell_help(diag, r, "did you mean `%s`? `cellc env ls` lists all", near);
  } else {
    cell_help(diag, r,
              "`cellc train` names the folder that it writes, `cellc env ls` lists all "
              "environments");
  }
  return false;
}

static bool open_env(const char *name, CellPlayOptions *options, CellWatch *watch, CellDiag *diag) {
  const char *near = NULL;
  watch->env = cell_env_find(name, &near);
  if (!watch->env) return unknown(name, near, diag);
  watch->who = "random actions";
  options->env = watch->env, options->cell = -1;
  return true;
}

static bool open_run(CellCli *cli, const CellPolicyOptions *policy, CellPlayOptions *options,
                     CellWatch *watch, CellDiag *diag) {
  if (!cell_policy_open(cli->words[0], policy, &watch->policy, diag)) return false;
  CellPlayOptions of_run = cell_policy_play(&watch->policy);
  options->agent = of_run.agent, options->env = watch->env = of_run.env;
  options->cell = of_run.cell, options->advance_on_random = of_run.advance_on_random;
  const char *slash = strrchr(watch->policy.run.path, '/');
  watch->who = slash ? slash + 1 : watch->policy.run.path;
  return true;
}

// after the words are understood
static bool open_watch(CellCli *cli, const char *env, const CellPolicyOptions *policy,
                       CellPlayOptions *options, CellWatch *watch, CellDiag *diag) {
  // a folder's name that is also an environment's is a folder
  bool run = !env && is_folder(cli->words[0]);
  if (run ? !open_run(cli, policy, options, watch, diag)
          : !open_env(env ? env : cli->words[0], options, watch, diag)) {
    return false;
  }
  if (watch->env->actions.count < 1) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` has no list of actions to choose from",
               watch->env->name);
    return false;
  }
  if (!cell_draw_can(watch->env)) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` has nothing to be drawn", watch->env->name);
    return false;
  }
  watch->play = cell_play_create(options, diag);
  return watch->play != NULL;
}

void cell_watch_claim(CellCli *cli, CellWatchWords *words) {
  const char **all[] = {&words->env,       &words->seed,    &words->epsilon, &words->episodes,
                        &words->max_steps, &words->threads, &words->backend};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = cell_cli_string(cli, *all[i]);
}

int cell_watch_open(CellCli *cli, const CellWatchWords *words, int64_t max_steps,
                    CellWatch *watch) {
  *watch = (CellWatch){.episodes = 1};
  CellPlayOptions options = {.max_steps = max_steps};
  int64_t seed = 0;
  if ((words->env != NULL) + cli->word_count != 1) {
    return cell_cli_usage(cli, words->env ? "either a run or --env, not both"
                                          : "which run, or which environment?");
  }
  if (words->seed && !cell_cli_count(words->seed, &seed)) {
    return cell_cli_usage(cli, "`--seed %s` is no whole number from 0 to 2^53", words->seed);
  }
  options.seed = (uint64_t)seed;
  if (words->episodes &&
      (!cell_cli_count(words->episodes, &watch->episodes) || watch->episodes > 1000000)) {
    return cell_cli_usage(cli, "`--episodes %s` is no number up to 1000000", words->episodes);
  }
  if (words->max_steps && !cell_cli_count(words->max_steps, &options.max_steps)) {
    return cell_cli_usage(cli, "`--max-steps %s` is no whole number", words->max_steps);
  }
  if (words->epsilon) {
    char *end;
    options.epsilon = strtod(words->epsilon, &end);
    if (end == words->epsilon || *end || !(options.epsilon >= 0 && options.epsilon <= 1)) {
      return cell_cli_usage(cli, "`--epsilon %s` is not between 0 and 1", words->epsilon);
    }
    if (words->env || !is_folder(cli->words[0])) {
      return cell_cli_usage(cli, "`--epsilon` is for runs: without one all actions are random");
    }
  }
  CellNetworkOptions network = {0};
  int code =
      cell_cli_backend(cli, words->backend, words->threads ? words->threads : "1", NULL, &network);
  if (code >= 0) return code;

  CellPolicyOptions policy = {
      .envs = 1, .cell_values = true, .backend = network.backend, .engine = network.engine};
  CellDiag *diag = cell_diag_create();
  bool ok = open_watch(cli, words->env, &policy, &options, watch, diag);
  code = cell_cli_report(cli, diag);
  cell_diag_destroy(diag);
  if (ok) return -1;
  cell_watch_close(watch);
  return cell_cli_end(cli, code);
}

void cell_watch_close(CellWatch *watch) {
  cell_play_destroy(watch->play);
  if (watch->policy.run.arena) cell_policy_close(&watch->policy);
  *watch = (CellWatch){0};
}
