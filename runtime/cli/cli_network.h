/* cli_network.h - from a command line with CELL_WITH_NETWORK to a spec and its shapes. */
#ifndef CELL_CLI_NETWORK_H
#define CELL_CLI_NETWORK_H

#include "frontend/frontend.h"
#include "runtime/cli/cli.h"

/* Reads a .cell file and adds it to the diagnostics as a source; -1 after an error. */
int cell_cli_source(const char *path, CellDiag *diag);

/* The shapes of --env, or of --obs and --actions, or, with neither, [10, 10, 4] and 6 actions
 * (`assumed` is then set). False after an error. */
bool cell_cli_shapes(const CellCli *cli, CellShapes *shapes, CellDiag *diag);

/* Reads, parses and resolves the file with --set and the variant (NULL: none). NULL after errors;
 * with `go_on` only where nothing is left to check. */
CellSpec *cell_cli_spec(const CellCli *cli, const char *path, const char *variant, bool go_on,
                        CellDiag *diag);

#endif
