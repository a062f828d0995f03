/* cmd_check.c - `cellc check FILE`: every error of a file, without compiling anything. */
#include <string.h>

#include "runtime/cli/cli_network.h"

/* the spec, checked once for itself and once for each variant asked for */
static void check(const CellCli *cli, const char *path, const char *variant, CellDiag *diag) {
  CellShapes shapes;
  if (!cell_cli_shapes(cli, &shapes, diag)) return;
  CellSpec *spec = cell_cli_spec(cli, path, variant, true, diag);
  if (!spec) return;
  CellBuildOptions options = {.act_batch = 1, .update = true};
  cell_spec_build(spec, &shapes, &options, diag);
}

static void check_variants(const CellCli *cli, const char *path, CellDiag *diag) {
  if (cli->variant_count == 0) {
    check(cli, path, NULL, diag);
    return;
  }
  for (int i = 0; i < cli->variant_count; i++) {
    if (strcmp(cli->variants[i], "all") != 0) {
      check(cli, path, cli->variants[i], diag);
      continue;
    }
    CellDiag *quiet = cell_diag_create();
    CellSpec *spec = cell_cli_spec(cli, path, NULL, true, quiet);
    const char *const *names;
    int count = spec ? cell_spec_variants(spec, &names) : 0;
    check(cli, path, NULL, diag);
    for (int k = 0; k < count; k++) check(cli, path, names[k], diag);
    cell_diag_destroy(quiet);
  }
}

int cell_cmd_check(int argc, const char **argv) {
  const CellCommand command = {
      .usage = "FILE",
      .about = "Reports every error of a cell file: syntax, names, shapes, links, settings. With "
               "--env (or --obs and --actions) shapes are those of the environment, else [10, 10, "
               "4] and 6 actions. `--variant all` checks the file and each of its variants.",
      .common = CELL_WITH_NETWORK,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  CellDiag *diag = cell_diag_create();
  check_variants(&cli, cli.words[0], diag);
  code = cell_cli_report(&cli, diag);
  bool assumed = !cli.env && (!cli.obs || !cli.actions);
  if (code == CELL_EXIT_OK && assumed && !cli.errors_as_json)
    fprintf(stderr, "%s: fine, checked for %s%s%s (--env checks for an environment)\n",
            cli.words[0], cli.obs ? "" : "observations [10, 10, 4]",
            cli.obs || cli.actions ? "" : " and ", cli.actions ? "" : "6 actions");
  cell_diag_destroy(diag);
  return cell_cli_end(&cli, code);
}
