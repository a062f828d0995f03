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

/* --backend and --threads (NULL: not given) into options. As above. */
int cell_cli_backend(CellCli *cli, const char *backend, const char *threads,
                     CellNetworkOptions *options);

/* An option's string from popt, moved to the arena of `cli`; NULL stays NULL. */
const char *cell_cli_string(CellCli *cli, const char *text);

#endif
