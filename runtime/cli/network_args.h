/* network_args.h - from the words of a command line to what network.h wants. */
#ifndef CELL_NETWORK_ARGS_H
#define CELL_NETWORK_ARGS_H

#include "runtime/cli/cli.h"
#include "runtime/network.h"

/* Reads FILE, --variant, --set and the shapes into options->name, text, length, spec, shapes; the
 * text is a heap block that the caller frees. Returns -1, or the code to end with; `cli` is then
 * released and messages are printed. */
int cell_cli_network(CellCli *cli, const char *path, CellNetworkOptions *options,
                     const CellEnvKind **env);

/* --backend, --threads and --precision (NULL: not given) into options. As above. "auto" is the GPU where one can
 * be used, else the CPU, which it says on stderr. */
int cell_cli_backend(CellCli *cli, const char *backend, const char *threads, const char *precision,
                     CellNetworkOptions *options);
/* Says the same where it was found out only when the network was opened (NULL: it was not). */
void cell_cli_say_backend(const CellCli *cli, const char *cpu_because);
/* Their rows in a table of options. */
#define CELL_CLI_BACKEND_ROWS(backend, precision)                                                  \
  {"backend",  0, POPT_ARG_STRING,                                                                 \
   &(backend), 0, "cpu, cuda, auto (a GPU if there is one), interp or interp-kernels (cpu)",       \
   "NAME"},                                                                                        \
  {                                                                                                \
    "precision", 0, POPT_ARG_STRING, &(precision), 0,                                              \
        "of products on a GPU: fp32, tf32 or bf16 (fp32)", "NAME"                                  \
  }

/* An option's string from popt, moved to the arena of `cli`; NULL stays NULL. */
const char *cell_cli_string(CellCli *cli, const char *text);

#endif
