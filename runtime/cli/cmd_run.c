/* cmd_run.c - `cellc run FILE --program P`: one program of a network on given tensors. */
#include <stdlib.h>
#include <string.h>

#include "runtime/cli/network_args.h"
#include "runtime/run_program.h"

typedef struct {
  CellNetworkOptions network;
  CellRunProgram run;
  const char *in, *out;
} Options;

// "a,b,c" in place; NULL for NULL
static void split_names(CellCli *cli, const char *list, CellRunProgram *run) {
  if (!list) return;
  const char **names = CELL_NEW_ARRAY(cli->arena, const char *, strlen(list) + 2);
  for (const char *p = list; *p; p += *p == ',') {
    size_t length = strcspn(p, ",");
    if (length > 0) names[run->output_count++] = cell_arena_strndup(cli->arena, p, length);
    p += length;
  }
  run->outputs = names;
}

static bool run_file(const CellCli *cli, Options *o, CellDiag *diag) {
  CellTensors *in = cell_tensors_read(o->in, diag);
  if (!in) return false;
  o->run.in = in, o->run.in_name = o->in;
  CellTensorWriter *out = cell_tensor_writer_create();
  const char *cpu_because = NULL;
  o->run.cpu_because = &cpu_because;
  bool ok = cell_run_program(&o->run, out, diag);
  o->run.cpu_because = NULL;
  cell_cli_say_backend(cli, cpu_because);
  ok = ok && cell_tensor_writer_write(out, o->out, diag);
  cell_tensor_writer_destroy(out);
  cell_tensors_destroy(in);
  return ok;
}

int cell_cmd_run(int argc, const char **argv) {
  const char *program = NULL, *in = NULL, *out = NULL, *seed = NULL, *repeat = NULL,
             *outputs = NULL, *threads = NULL, *backend = NULL, *precision = NULL;
  Options o = {.run = {.repeat = 1}};
  struct poptOption table[] = {
      {"program", 0, POPT_ARG_STRING, &program, 0,
       "act: a policy's steps; update: one step of learning; sync: the target copy", "NAME"},
      {"in", 0, POPT_ARG_STRING, &in, 0, "the tensors to run on (safetensors)", "FILE"},
      {"out", 0, POPT_ARG_STRING, &out, 0, "where the results are written (safetensors)", "FILE"},
      {"outputs", 0, POPT_ARG_STRING, &outputs, 0,
       "write these alone: l1/q,loss,grad/ (a name that ends in / stands for all below it)",
       "NAME,..."},
      {"repeat", 0, POPT_ARG_STRING, &repeat, 0,
       "run it so often, each time on what the time before left (1)", "N"},
      {"seed", 0, POPT_ARG_STRING, &seed, 0, "of parameters that the input lacks (0)", "N"},
      {"threads", 0, POPT_ARG_STRING, &threads, 0, "threads (all cores)", "N"},
      CELL_CLI_BACKEND_ROWS(backend, precision),
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "FILE --program NAME --in IN.safetensors --out OUT.safetensors",
      .about =
          "Runs one program of a network on the tensors of a file and writes what it gives. IN "
          "holds params/NAME, target/NAME, moment1/NAME, moment2/NAME and step, all of which may "
          "be missing, and obs [C+1, B, ...], next_obs, action, reward, terminated for update, "
          "obs [T, B, ...] for act. OUT holds the values of every cell, the gradients and all "
          "that IN has as it is afterwards, so that it can be the next run's IN.",
      .options = table,
      .common = CELL_WITH_NETWORK,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  program = cell_cli_string(&cli, program), seed = cell_cli_string(&cli, seed);
  repeat = cell_cli_string(&cli, repeat), outputs = cell_cli_string(&cli, outputs);
  threads = cell_cli_string(&cli, threads), backend = cell_cli_string(&cli, backend);
  precision = cell_cli_string(&cli, precision);
  o.in = cell_cli_string(&cli, in), o.out = cell_cli_string(&cli, out);

  static const char *const programs[] = {"act", "update", "sync"};
  if (!program) return cell_cli_usage(&cli, "--program is missing: act, update or sync");
  bool known = false;
  for (int i = 0; i < 3; i++) known = known || strcmp(program, programs[i]) == 0;
  if (!known) return cell_cli_usage(&cli, "`--program %s` is none of act, update, sync", program);
  if (!o.in) return cell_cli_usage(&cli, "--in is missing: a safetensors file with the input");
  if (!o.out) return cell_cli_usage(&cli, "--out is missing: the file to write");
  if (!cli.env && !(cli.obs && cli.actions))
    return cell_cli_usage(&cli, "the shapes are missing: --env NAME, or --obs 20 --actions 3");
  int64_t count;
  if (seed && !cell_cli_count(seed, &count))
    return cell_cli_usage(&cli, "`--seed %s` is no whole number from 0 to 2^53", seed);
  if (seed) o.run.seed = (uint64_t)count;
  if (repeat && (!cell_cli_count(repeat, &o.run.repeat) || o.run.repeat < 1))
    return cell_cli_usage(&cli, "`--repeat %s` is no whole number from 1 on", repeat);
  split_names(&cli, outputs, &o.run);
  if (outputs && o.run.output_count == 0)
    return cell_cli_usage(&cli, "`--outputs %s` names nothing", outputs);

  code = cell_cli_backend(&cli, backend, threads, precision, &o.network);
  if (code >= 0) return code;
  const CellEnvKind *env;
  code = cell_cli_network(&cli, cli.words[0], &o.network, &env);
  if (code >= 0) return code;
  const CellNetworkOptions *n = &o.network;
  o.run.name = n->name, o.run.text = n->text, o.run.length = n->length;
  o.run.spec = n->spec, o.run.shapes = n->shapes;
  o.run.backend = n->backend, o.run.engine = n->engine;
  o.run.program = program;
  CellDiag *diag = cell_diag_create();
  bool ok = run_file(&cli, &o, diag);
  code = cell_cli_report(&cli, diag);
  if (!ok && code == CELL_EXIT_OK) code = CELL_EXIT_FAILED;
  cell_diag_destroy(diag);
  free((void *)(uintptr_t)n->text);
  return cell_cli_end(&cli, code);
}
