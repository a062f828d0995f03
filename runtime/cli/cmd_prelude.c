/* cmd_prelude.c - `cellc prelude`: the library that every file may use. */
#include "frontend/parse.h"
#include "runtime/cli/cli.h"

int cell_cmd_prelude(int argc, const char **argv) {
  const CellCommand command = {.usage = "",
                               .about = "Prints the prelude: the functions, learning rules and "
                                        "policies that every cell file may use, in the language "
                                        "itself."};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  size_t length;
  const char *text = cell_prelude_text(&length);
  fwrite(text, 1, length, stdout);
  return cell_cli_end(&cli, CELL_EXIT_OK);
}
