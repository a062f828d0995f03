/* network_args.c - from the words of a command line to what network.h wants. */
#include "runtime/cli/network_args.h"

#include "runtime/cli/cli_network.h"
#include "runtime/files.h"

#include <stdlib.h>
#include <string.h>

const char *cell_cli_string(CellCli *cli, const char *text) {
  const char *copy = text ? cell_arena_strdup(cli->arena, text) : NULL;
  free((void *)(uintptr_t)text);
  return copy;
}

int cell_cli_network(CellCli *cli, const char *path, CellNetworkOptions *options,
                     const CellEnvKind **env) {
  if (cli->variant_count > 1) return cell_cli_usage(cli, "one --variant at a time");
  options->spec.variant = cli->variant_count == 1 ? cli->variants[0] : NULL;
  options->spec.sets = cli->sets, options->spec.set_count = cli->set_count;
  CellDiag *diag = cell_diag_create();
  options->name = path;
  *env = NULL;
  if (cell_cli_shapes(cli, &options->shapes, diag)) {
    options->text = cell_read_file(path, CELL_SOURCE_LIMIT, &options->length, diag);
    *env = cli->env ? cell_env_find(cli->env, NULL) : NULL;
  }
  int code = options->text ? -1 : cell_cli_end(cli, cell_cli_report(cli, diag));
  cell_diag_destroy(diag);
  return code;
}

static void say_cpu(const CellCli *cli, const char *why) {
  fprintf(stderr, "cellc %s: runs on the CPU: %s\n", cli->verb, why);
}

// the GPU here, or none where `automatic` says that the CPU will do
static int find_gpu(CellCli *cli, bool automatic, CellNetworkOptions *options) {
  char message[512] = "";
  options->engine.gpu = cell_cuda_here(message, sizeof message);
  if (options->engine.gpu) {
    options->backend = CELL_BACKEND_CUDA;
    options->engine.cpu_will_do = automatic;
    return -1;
  }
  if (!automatic)
    return cell_cli_fail(cli, CELL_EXIT_MISSING,
                         "%s; `cellc doctor` says more, --backend cpu needs no GPU", message);
  say_cpu(cli, message);
  options->backend = CELL_BACKEND_CPU;
  return -1;
}

void cell_cli_say_backend(const CellCli *cli, const char *cpu_because) {
  if (cpu_because) say_cpu(cli, cpu_because);
}

int cell_cli_backend(CellCli *cli, const char *backend, const char *threads, const char *precision,
                     CellNetworkOptions *options) {
  int64_t count = 0;
  CellPrecision products = CELL_FP32;
  bool automatic = backend && strcmp(backend, "auto") == 0;
  options->backend = CELL_BACKEND_CPU;
  if (backend && !automatic && !cell_backend_parse(backend, &options->backend)) {
    return cell_cli_usage(cli, "`--backend %s` is none of cpu, cuda, auto, interp, interp-kernels",
                          backend);
  }
  if (threads && (!cell_cli_count(threads, &count) || count < 1 || count > 1024)) {
    return cell_cli_usage(cli, "`--threads %s` is no number from 1 to 1024", threads);
  }
  if (precision && !cell_precision_parse(precision, &products)) {
    return cell_cli_usage(cli, "`--precision %s` is none of fp32, tf32, bf16", precision);
  }
  if (products != CELL_FP32 && !automatic && options->backend != CELL_BACKEND_CUDA) {
    return cell_cli_usage(cli, "--precision %s needs --backend cuda", precision);
  }
  options->engine.threads = (int)count;
  options->engine.precision = products;
  if (!automatic && options->backend != CELL_BACKEND_CUDA) return -1;
  return find_gpu(cli, automatic, options);
}
