/* cmd_doctor.c - `cellc doctor`: what this machine has to run networks with, and what is missing. */
#include "codegen/codegen.h"
#include "runtime/cli/cli.h"
#include "runtime/json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

int cell_cmd_doctor(int argc, const char **argv) {
  const CellCommand command = {
      .usage = "",
      .about = "Says what this machine has to run networks with: its processor, a GPU and what "
               "compiles for it, the folder that keeps compiled kernels; and what to do about what "
               "is missing. Ends with status 3 if nothing here can run kernels.",
      .common = CELL_WITH_JSON};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  CellCheck list[CELL_MOST_CHECKS];
  int count = cell_doctor(list);
  bool cpu = false, gpu = true;
  json_t *checks = json_array();
  for (int i = 0; i < count; i++) {
    const CellCheck *c = &list[i];
    if (strcmp(c->name, "cpu") == 0) cpu = c->good;
    if (strcmp(c->name, "gpu") == 0 || strcmp(c->name, "nvrtc") == 0) gpu = gpu && c->good;
    if (cli.json) {
      json_array_append_new(checks, json_pack("{s:s, s:b, s:s, s:s?}", "name", c->name, "good",
                                              c->good, "text", c->text, "help", c->help));
      continue;
    }
    printf("%-6s %-8s %s\n", c->name, c->good ? "yes" : "no", c->text);
    if (c->help) printf("%15s %s\n", "", c->help);
  }
  if (cli.json)
    cell_json_print(json_pack("{s:s, s:o, s:b, s:b}", "schema", "cellc.doctor.1", "checks", checks,
                              "cpu", cpu, "cuda", gpu),
                    stdout);
  else
    json_decref(checks);
  return cell_cli_end(&cli, cpu || gpu ? CELL_EXIT_OK : CELL_EXIT_MISSING);
}
