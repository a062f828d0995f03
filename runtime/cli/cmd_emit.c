/* cmd_emit.c - `cellc emit FILE --stage S`: what the compiler made of a file, as text. */
#include <stdlib.h>
#include <string.h>

#include "codegen/codegen.h"
#include "runtime/cli/cli_network.h"
#include "runtime/cli/emit_ast.h"
#include "runtime/env.h"

static const char *const stages[] = {"ast", "ir",   "grad", "kernels", "llvm",
                                     "asm", "cuda", "ptx",  "cubin",   "resources"};
enum { STAGES = sizeof stages / sizeof stages[0], FIRST_CUDA = 6 };

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

/* --disable, --stop-after and --print-after: the passes as the user wants them */
typedef struct {
  char *disable, *stop_after, *print_after; /* disable: names between commas */
  const char **disabled;                    /* these names */
  int disabled_count;
  const char *program;
  CellDiag *diag;
} Passes;

/* the name of a pass, or, where it may be left out, of any rewrite */
static bool known_pass(const char *name, bool must_be_optional, CellDiag *diag) {
  CellText list = {0};
  CellRewrite rewrite;
  bool known = false;
  for (int i = 0; must_be_optional && cell_rewrite_at(i, &rewrite); i++) {
    cell_text_printf(&list, "%s%s", i ? ", " : "", rewrite.name);
    known |= strcmp(rewrite.name, name) == 0;
  }
  for (int i = 0; !must_be_optional && i < cell_pass_count; i++) {
    cell_text_printf(&list, "%s%s", i ? ", " : "", cell_passes[i].name);
    known |= strcmp(cell_passes[i].name, name) == 0;
  }
  if (!known) {
    CellRecord *record = cell_error(diag, NULL, CELL_NOWHERE, "there is no %s `%s`",
                                    must_be_optional ? "optional pass or rule" : "pass", name);
    cell_help(diag, record, "there are %s", list.data);
  }
  cell_text_free(&list);
  return known;
}

static void print_after(const CellPass *pass, const CellModule *m, void *context) {
  const Passes *passes = context;
  if (!passes->print_after || strcmp(passes->print_after, pass->name) != 0) return;
  for (int i = 0; i < m->program_count; i++) {
    if (passes->program && strcmp(passes->program, m->programs[i]->name) != 0) continue;
    CellText text = {0};
    cell_print(m->programs[i], passes->diag, &text);
    printf("# after %s\n%s\n", pass->name, text.data);
    cell_text_free(&text);
  }
}

/* splits --disable and looks at all names: also those of a stage that comes before the passes */
static bool read_passes(CellArena *arena, Passes *passes, CellDiag *diag) {
  size_t most = passes->disable ? strlen(passes->disable) / 2 + 1 : 0;
  passes->disabled = CELL_NEW_ARRAY(arena, const char *, most + 1);
  char *rest = passes->disable ? cell_arena_strdup(arena, passes->disable) : NULL;
  for (char *name = rest ? strtok(rest, ",") : NULL; name; name = strtok(NULL, ",")) {
    if (!known_pass(name, true, diag)) return false;
    passes->disabled[passes->disabled_count++] = name;
  }
  return (!passes->stop_after || known_pass(passes->stop_after, false, diag)) &&
         (!passes->print_after || known_pass(passes->print_after, false, diag));
}

static bool run_passes(CellModule *m, Passes *passes, bool verify, CellDiag *diag) {
  CellPassOptions options = {.disabled = passes->disabled,
                             .disabled_count = passes->disabled_count,
                             .stop_after = passes->stop_after,
                             .after = print_after,
                             .context = passes,
                             .verify = verify};
  return cell_run_passes(m, &options, diag);
}

/* kernels as text, or what the code generator makes of them; gpu: planned for that architecture */
static void emit_plan(const CellCli *cli, const char *stage, const char *program,
                      const CellCudaArch *gpu, CellPrecision precision, Passes *passes,
                      CellDiag *diag) {
  CellModule *m = programs(cli, diag);
  if (!m || !known_program(m, program, diag)) return;
  if (!run_passes(m, passes, false, diag)) return;
  CellTarget target = gpu ? cell_cuda_target(gpu) : cell_target(CELL_ISA_HOST);
  CellPlan *plan = cell_plan_create(m->arena, only(m, program), &target, NULL, diag);
  if (!plan) return;
  CellText text = {0};
  bool fine = true;
  const CellEnvKind *env = cli->env ? cell_env_find(cli->env, NULL) : NULL;
  CellEngineOptions options = {
      .gpu = gpu, .precision = precision, .density = env ? env->observation.density : 0};
  if (strcmp(stage, "kernels") == 0)
    cell_plan_print(plan, &text);
  else
    fine = cell_emit(plan, stage, &options, &text, diag);
  if (fine) fwrite(text.data, 1, text.length, stdout);
  cell_text_free(&text);
}

/* the programs before the passes, or behind all passes over graphs */
static void emit_graphs(const CellCli *cli, Passes *passes, const char *program, CellDiag *diag) {
  CellModule *m = programs(cli, diag);
  if (!m || !known_program(m, program, diag)) return;
  if (passes && !run_passes(m, passes, true, diag)) return;
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
  char *stage = NULL, *program = NULL, *arch = NULL, *products = NULL;
  CellPrecision precision = CELL_FP32;
  Passes passes = {0};
  struct poptOption options[] = {
      {"stage", 0, POPT_ARG_STRING, &stage, 0,
       "ast: the syntax tree; ir: the tensor programs as traced; grad: behind all passes over "
       "graphs; kernels: the plan; llvm, asm: its code on this machine; cuda, ptx, cubin: its code "
       "on "
       "a GPU; resources: what that code takes of one",
       "STAGE"},
      {"arch", 0, POPT_ARG_STRING, &arch, 0,
       "the GPU that cuda, ptx, cubin and resources are for, and kernels if it is given: sm_80, "
       "sm_90, "
       "sm_100 (sm_90)",
       "ARCH"},
      {"precision", 0, POPT_ARG_STRING, &products, 0,
       "of products on that GPU: fp32, tf32 or bf16 (fp32)", "NAME"},
      {"program", 0, POPT_ARG_STRING, &program, 0, "only this one: act, update, sync", "NAME"},
      {"disable", 0, POPT_ARG_STRING, &passes.disable, 0,
       "leave out these optional passes over graphs, or rules of algebra", "PASS,..."},
      {"stop-after", 0, POPT_ARG_STRING, &passes.stop_after, 0,
       "run passes over graphs up to this one", "PASS"},
      {"print-after", 0, POPT_ARG_STRING, &passes.print_after, 0,
       "print the programs as they are after a pass too", "PASS"},
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
  const CellCudaArch *gpu = arch                  ? cell_cuda_arch(arch)
                            : which >= FIRST_CUDA ? cell_cuda_arch("sm_90")
                                                  : NULL;
  if (arch && !gpu) {
    code = cell_cli_usage(&cli, "there is no architecture `%s`: sm_80, sm_90, sm_100", arch);
  } else if (products && !cell_precision_parse(products, &precision)) {
    code = cell_cli_usage(&cli, "`--precision %s` is none of fp32, tf32, bf16", products);
  } else if (which < 0) {
    const char *near = cell_nearest(stage, stages, STAGES);
    code = cell_cli_usage(&cli, "there is no stage `%s`%s%s", stage, near ? ": did you mean " : "",
                          near ? near : "");
  } else {
    CellDiag *diag = cell_diag_create();
    passes.program = program, passes.diag = diag;
    bool ok = read_passes(cli.arena, &passes, diag);
    if (ok && which == 0)
      cell_cli_emit_ast(&cli, diag);
    else if (ok && which <= 2)
      emit_graphs(&cli, which == 2 ? &passes : NULL, program, diag);
    else if (ok)
      emit_plan(&cli, stages[which], program, gpu, precision, &passes, diag);
    code = cell_cli_end(&cli, cell_cli_report(&cli, diag));
    cell_diag_destroy(diag);
  }
  free(stage);
  free(arch);
  free(products);
  free(program);
  free(passes.disable);
  free(passes.stop_after);
  free(passes.print_after);
  return code;
}
