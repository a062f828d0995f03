/* cmd_emit.c - `cellc emit FILE --stage S`: what the compiler made of a file, as text. */
#include <stdlib.h>
#include <string.h>

#include "codegen/codegen.h"
#include "runtime/cli/cli_network.h"
#include "runtime/cli/emit_ast.h"

static const char *const stages[] = {"ast", "ir", "grad", "kernels", "llvm", "asm"};
enum { STAGES = sizeof stages / sizeof stages[0] };

static int find_stage(const char *name) {
  for (int i = 0; i < STAGES; i++)
    if (strcmp(stages[i], name) == 0) return i;
  return -1;
}

/* the programs before the passes (NULL on errors) */
static CellModule *programs(const CellCli *cli, CellDiag *diag) {
  CellShapes shapes;
  const char *variant = cli->variant_count ? cli->variants[0] : NULL;
  if (!cell_cli_shapes(cli, &shapes, diag)) return NULL;
  CellSpec *spec = cell_cli_spec(cli, cli->words[0], variant, false, diag);
  if (!spec) return NULL;
  CellBuildOptions build = {.act_batch = 1, .update = true, .sync = true};
  return cell_spec_build(spec, &shapes, &build, diag);
}

static bool known_program(const CellModule *m, const char *program, CellDiag *diag) {
  if (!program || cell_program(m, program)) return true;
  cell_error(diag, NULL, CELL_NOWHERE, "there is no program `%s`: act, update, sync", program);
  return false;
}

/* a module that holds one program of m alone, or m */
static CellModule *only(CellModule *m, const char *program) {
  if (!program) return m;
  CellGraph *g = cell_program(m, program);
  m->programs[0] = g, m->program_count = 1;
  return m;
}

/* kernels as text, or what the code generator makes of them */
static void emit_plan(const CellCli *cli, const char *stage, const char *program, CellDiag *diag) {
  CellModule *m = programs(cli, diag);
  if (!m || !known_program(m, program, diag)) return;
  if (!cell_run_passes(m, &(CellPassOptions){.verify = false}, diag)) return;
  CellTarget target = cell_target(CELL_ISA_HOST);
  CellPlan *plan = cell_plan_create(m->arena, only(m, program), &target, NULL, diag);
  if (!plan) return;
  CellText text = {0};
  bool fine = true;
  if (strcmp(stage, "kernels") == 0)
    cell_plan_print(plan, &text);
  else
    fine = cell_emit(plan, stage, &(CellEngineOptions){0}, &text, diag);
  if (fine) fwrite(text.data, 1, text.length, stdout);
  cell_text_free(&text);
}

/* the programs before the passes, or behind all passes over graphs */
static void emit_graphs(const CellCli *cli, bool passes, const char *program, CellDiag *diag) {
  CellModule *m = programs(cli, diag);
  if (!m || !known_program(m, program, diag)) return;
  if (passes && !cell_run_passes(m, &(CellPassOptions){.verify = true}, diag)) return;
  CellText text = {0};
  bool found = false;
  for (int i = 0; i < m->program_count; i++) {
    if (program && strcmp(program, m->programs[i]->name) != 0) continue;
    if (found) cell_text_printf(&text, "\n");
    cell_print(m->programs[i], diag, &text);
    found = true;
  }
  if (found) fwrite(text.data, 1, text.length, stdout);
  cell_text_free(&text);
}

int cell_cmd_emit(int argc, const char **argv) {
  char *stage = NULL, *program = NULL;
  struct poptOption options[] = {
      {"stage", 0, POPT_ARG_STRING, &stage, 0,
       "ast: the syntax tree; ir: the tensor programs as traced; grad: behind all passes over "
       "graphs; kernels: the plan; llvm, asm: its code on this machine",
       "STAGE"},
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
      cell_cli_emit_ast(&cli, diag);
    else if (which <= 2)
      emit_graphs(&cli, which == 2, program, diag);
    else
      emit_plan(&cli, stages[which], program, diag);
    code = cell_cli_end(&cli, cell_cli_report(&cli, diag));
    cell_diag_destroy(diag);
  }
  free(stage);
  free(program);
  return code;
}
