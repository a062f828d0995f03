/* cmd_plot.c - `cellc plot curve`. */
#include "runtime/cli/network_args.h"
#include "runtime/plot.h"

#include <string.h>

int cell_cmd_plot(int argc, const char **argv) {
  const char *figure = NULL;
  int window = 100, columns = 0, rows = 0;
  struct poptOption table[] = {
      {"output", 'o', POPT_ARG_STRING, &figure, 0, "a .png, .svg or .pdf instead of text", "FILE"},
      {"window", 0, POPT_ARG_INT, &window, 0, "episodes that a point averages (100)", "N"},
      {"columns", 0, POPT_ARG_INT, &columns, 0, "width of the text", "N"},
      {"rows", 0, POPT_ARG_INT, &rows, 0, "height of the text", "N"},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "curve RUN...",
      .about =
          "Draws the mean return of the last episodes against steps, in the terminal or as a "
          "figure whose gnuplot script and data stay beside it. Three or more runs that differ "
          "only in the seed are one curve: mean and standard deviation.",
      .options = table,
      .least = 2,
      .most = -1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  figure = cell_cli_string(&cli, figure);
  if (strcmp(cli.words[0], "curve") != 0) {
    return cell_cli_usage(&cli, "there is no plot `%s`; there is `curve`", cli.words[0]);
  }
  if (window < 1) return cell_cli_usage(&cli, "`--window %d` is no number from 1 on", window);
  CellDiag *diag = cell_diag_create();
  CellPlotOptions options = {
      .figure = figure, .out = stdout, .columns = columns, .rows = rows, .window = window};
  bool missing;
  bool ok = cell_plot_runs(cli.words + 1, cli.word_count - 1, &options, &missing, diag);
  code = cell_cli_report(&cli, diag);
  cell_diag_destroy(diag);
  if (ok && figure) printf("%s\n", figure);
  return cell_cli_end(&cli, ok ? CELL_EXIT_OK : missing ? CELL_EXIT_MISSING : code);
}
