/* cmd_emit.c - `cellc emit FILE --stage S`: what the compiler made of a file, as text. */
#include <stdlib.h>
#include <string.h>

#include "frontend/parse.h"
#include "runtime/cli/cli_network.h"

static const char *const stages[] = {"ast", "ir", "grad"};
enum { STAGES = sizeof stages / sizeof stages[0] };

static int find_stage(const char *name) {
  for (int i = 0; i < STAGES; i++)
    if (strcmp(stages[i], name) == 0) return i;
  return -1;
}

static void emit_ast(const CellCli *cli, CellDiag *diag) {
  int source = cell_cli_source(cli->words[0], diag);
  if (source < 0) return;
  CellAst *ast = cell_parse(cli->arena, diag, source);
  if (ast && !ast->broken) cell_ast_print(ast, stdout);
}

/* the programs before the passes, or behind all passes over graphs */
static void emit_graphs(const CellCli *cli, bool passes, const char *program, CellDiag *diag) {
  CellShapes shapes;
  const char *variant = cli->variant_count ? cli->variants[0] : NULL;
  if (!cell_cli_shapes(cli, &shapes, diag)) return;
  CellSpec *spec = cell_cli_spec(cli, cli->words[0], variant, false, diag);
  if (!spec) return;
  CellBuildOptions build = {.act_batch = 1, .update = true, .sync = true};
  CellModule *m = cell_spec_build(spec, &shapes, &build, diag);
  if (!m) return;
  if (passes && !cell_run_passes(m, &(CellPassOptions){.verify = true}, diag)) return;
  CellText text = {0};
  bool found = false;
  for (int i = 0; i < m->program_count; i++) {
    if (program && strcmp(program, m->programs[i]->name) != 0) continue;
    if (found) cell_text_printf(&text, "\n");
    cell_print(m->programs[i], diag, &text);
    found = true;
  }
  if (found)
    fwrite(text.data, 1, text.length, stdout);
  else
    cell_error(diag, NULL, CELL_NOWHERE, "there is no program `%s`: act, update, sync", program);
  cell_text_free(&text);
}

int cell_cmd_emit(int argc, const char **argv) {
  char *stage = NULL, *program = NULL;
  struct poptOption options[] = {
      {"stage", 0, POPT_ARG_STRING, &stage, 0,
       "ast: the syntax tree; ir: the tensor programs as traced; grad: behind all passes", "STAGE"},
      {"program", 0, POPT_ARG_STRING, &program, 0, "only this one: act, update, sync", "NAME"},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "FILE --stage STAGE",
      .about = "Prints what the compiler makes of a cell file, one stage of it, as text.",
      .options = options,
      .common = CELL_WITH_NETWORK,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  int which = find_stage(stage ? stage : "ir");
  if (which < 0) {
    const char *near = cell_nearest(stage, stages, STAGES);
    code = cell_cli_usage(&cli, "there is no stage `%s`%s%s", stage, near ? ": did you mean " : "",
                          near ? near : "");
  } else {
    CellDiag *diag = cell_diag_create();
    if (which == 0)
      emit_ast(&cli, diag);
    else
      emit_graphs(&cli, which == 2, program, diag);
    code = cell_cli_end(&cli, cell_cli_report(&cli, diag));
    cell_diag_destroy(diag);
  }
  free(stage);
  free(program);
  return code;
}
