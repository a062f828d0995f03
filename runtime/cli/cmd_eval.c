/* cmd_eval.c - `cellc eval`: what a trained policy is worth when nothing moves any more. */
#include "runtime/cli/network_args.h"
#include "runtime/dmc.h"
#include "runtime/evaluate.h"
#include "runtime/json.h"
#include "runtime/policy.h"

typedef struct {
  int64_t seed, episodes, max_steps;
  double epsilon;
  int per_cell, threads;
} Options;

enum { MOST_AT_ONCE = 16 };

static json_t *to_json(const char *who, const CellEvaluationResult *r) {
  json_t *returns = json_array(), *lengths = json_array();
  for (int i = 0; i < r->episodes; i++) {
    json_array_append_new(returns, cell_json_real(r->returns[i]));
    json_array_append_new(lengths, json_integer(r->lengths[i]));
  }
  return json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:o, s:o}", "who", who,
                   "episodes", r->episodes, "mean", r->mean, "deviation", r->deviation, "median",
                   r->median, "worst", r->worst, "best", r->best, "mean_length", r->mean_length,
                   "cut", r->cut, "returns", returns, "lengths", lengths);
}

static void print_row(const char *who, const CellEvaluationResult *r) {
  printf("%-12s %9.3f %9.3f %9.3f %9g %9g %9.1f", who, r->mean, r->deviation, r->median, r->worst,
         r->best, r->mean_length);
  if (r->cut > 0) printf("  %d cut", r->cut);
  printf("\n");
}

/* the policy first, then, if asked, each cell by its own values */
static bool evaluate_all(const CellCli *cli, const Options *o, const CellPolicy *policy,
                         CellDiag *diag) {
  json_t *results = json_array();
  if (!cli->json) {
    printf("%-12s %9s %9s %9s %9s %9s %9s   %lld episodes, epsilon %g\n", "who decides", "mean",
           "deviation", "median", "worst", "best", "length", (long long)o->episodes, o->epsilon);
  }
  bool ok = true;
  const CellAgent *agent = &policy->network->agent;
  for (int cell = -1; ok && cell < (o->per_cell ? agent->cell_count : 0); cell++) {
    const char *who = cell < 0 ? "policy" : agent->cells[cell];
    CellPlayOptions play = cell_policy_play(policy);
    play.seed = (uint64_t)o->seed, play.epsilon = o->epsilon;
    play.max_steps = o->max_steps, play.cell = cell, play.threads = o->threads;
    CellEvaluationResult result;
    ok = cell_evaluate_policy(&play, (int)o->episodes, &result, diag);
    if (!ok) break;
    if (cli->json) {
      json_array_append_new(results, to_json(who, &result));
    } else {
      print_row(who, &result);
      fflush(stdout);
    }
    cell_evaluation_free(&result);
  }
  if (ok && cli->json) {
    cell_json_print(json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:O}", "schema", "cellc.evaluation.1",
                              "run", policy->run.path, "env", policy->run.env, "seed",
                              (json_int_t)o->seed, "epsilon", o->epsilon, "max_steps",
                              (json_int_t)o->max_steps, "results", results),
                    stdout);
  }
  json_decref(results);
  return ok;
}

int cell_cmd_eval(int argc, const char **argv) {
  const char *seed = NULL, *episodes = NULL, *max_steps = NULL, *threads = NULL, *backend = NULL,
             *precision = NULL, *suite = NULL;
  Options o = {.episodes = 100, .max_steps = 100000};
  struct poptOption table[] = {
      {"episodes", 0, POPT_ARG_STRING, &episodes, 0, "how many (100)", "N"},
      {"epsilon", 0, POPT_ARG_DOUBLE, &o.epsilon, 0, "share of random actions (0: greedy)", "P"},
      {"per-cell", 0, POPT_ARG_NONE, &o.per_cell, 0,
       "also let each cell decide by its own values alone", NULL},
      {"max-steps", 0, POPT_ARG_STRING, &max_steps, 0,
       "cut an episode after so many steps (100000; 0: never)", "N"},
      {"seed", 0, POPT_ARG_STRING, &seed, 0, "of the episodes (0)", "N"},
      {"threads", 0, POPT_ARG_STRING, &threads, 0, "threads (all cores)", "N"},
      CELL_CLI_BACKEND_ROWS(backend, precision),
      {"suite-dir", 0, POPT_ARG_STRING, &suite, 0,
       "dmc: take models from the suite's original files (CELLC_SUITE_DIR, or as the run did)",
       "FOLDER"},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "RUN [--episodes N] [--per-cell]",
      .about =
          "Plays episodes with the parameters that a run saved last. The seeds of the episodes "
          "are evaluation's own: training never saw them.",
      .options = table,
      .common = CELL_WITH_JSON,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  seed = cell_cli_string(&cli, seed), episodes = cell_cli_string(&cli, episodes);
  max_steps = cell_cli_string(&cli, max_steps), threads = cell_cli_string(&cli, threads);
  backend = cell_cli_string(&cli, backend), precision = cell_cli_string(&cli, precision);
  suite = cell_cli_string(&cli, suite);
  if (suite) cell_dmc_suite_folder(suite);
  if (seed && !cell_cli_count(seed, &o.seed)) {
    return cell_cli_usage(&cli, "`--seed %s` is no whole number from 0 to 2^53", seed);
  }
  if (episodes &&
      (!cell_cli_count(episodes, &o.episodes) || o.episodes < 1 || o.episodes > 1000000)) {
    return cell_cli_usage(&cli, "`--episodes %s` is no number from 1 to 1000000", episodes);
  }
  if (max_steps && !cell_cli_count(max_steps, &o.max_steps)) {
    return cell_cli_usage(&cli, "`--max-steps %s` is no whole number", max_steps);
  }
  if (!(o.epsilon >= 0 && o.epsilon <= 1)) {
    return cell_cli_usage(&cli, "`--epsilon %g` is not between 0 and 1", o.epsilon);
  }
  CellNetworkOptions network = {0};
  code = cell_cli_backend(&cli, backend, threads, precision, &network);
  if (code >= 0) return code;
  o.threads = network.engine.threads;
  CellPolicyOptions options = {.envs =
                                   o.episodes < MOST_AT_ONCE ? (int32_t)o.episodes : MOST_AT_ONCE,
                               .cell_values = o.per_cell,
                               .backend = network.backend,
                               .engine = network.engine};
  CellDiag *diag = cell_diag_create();
  CellPolicy policy;
  bool ok = cell_policy_open(cli.words[0], &options, &policy, diag);
  if (ok) cell_cli_say_backend(&cli, policy.network->cpu_because);
  ok = ok && evaluate_all(&cli, &o, &policy, diag);
  cell_policy_close(&policy);
  code = cell_cli_report(&cli, diag);
  cell_diag_destroy(diag);
  return cell_cli_end(&cli, ok ? CELL_EXIT_OK : code ? code : CELL_EXIT_FAILED);
}
