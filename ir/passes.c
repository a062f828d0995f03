/* passes.c - the passes over tensor graphs, in the order they run, and what runs them. */
#include "ir/rewrite.h"

#include <string.h>

static bool run_algebra_again(CellModule *m, CellDiag *diag) {
  return cell_pass_algebra(m, diag);
}

// what it allows is done when a plan is made, for targets that have a use for it (sparse_terms.c)
static bool allow_sparse(CellModule *m, CellDiag *diag) {
  (void)diag;
  m->sparse = true;
  return true;
}

const CellPass cell_passes[] = {
    {"parts", "cuts parameters that read a concat where its pieces differ", true, cell_pass_parts},
    {"algebra", "rewrites graphs by a table of rules", true, cell_pass_algebra},
    {"gradient", "turns minimize into derivatives, clip and optimiser", false, cell_pass_gradient},
    {"algebra2", "the rules once more, over the derivatives", true, run_algebra_again},
    {"sparse", "lets plans leave out what exact zeros multiply, such as those of relu", true,
     allow_sparse},
    {"dce", "drops what nobody reads", false, cell_pass_dce},
};
const int cell_pass_count = (int)(sizeof cell_passes / sizeof *cell_passes);

typedef struct {
  CellReplace replace;
  void *context;
} Deep;

/* asks the caller first; a scan that stays gets its body rewritten too */
static CellValue replace_deep(CellGraph *to, const CellGraph *from, CellValue v,
                              const CellValue *args, void *context) {
  const Deep *deep = context;
  CellValue done = deep->replace ? deep->replace(to, from, v, args, deep->context) : CELL_NONE;
  const CellNode *n = cell_node(from, v);
  if (done != CELL_NONE || n->op != CELL_OP_SCAN) return done;
  int axis = 0;
  while (!(n->over >> axis & 1)) axis++;
  CellGraph *body = cell_rewrite_deep(n->body, deep->replace, deep->context);
  return cell_scan(to, axis, body, n->carry_count, args, n->arg_count - n->carry_count,
                   args + n->carry_count);
}

CellGraph *cell_rewrite_deep(const CellGraph *g, CellReplace replace, void *context) {
  Deep deep = {replace, context};
  return cell_rewrite(g, replace_deep, &deep);
}

void cell_rewrite_module(CellModule *m, CellReplace replace, void *context) {
  for (int i = 0; i < m->program_count; i++)
    m->programs[i] = cell_rewrite_deep(m->programs[i], replace, context);
}

static bool disabled(const CellPass *pass, const CellPassOptions *options) {
  for (int i = 0; i < options->disabled_count; i++)
    if (pass->optional && strcmp(options->disabled[i], pass->name) == 0) return true;
  return false;
}

/* a pass that leaves a broken graph is a bug: its name and the marked graph are shown */
static void verify(const CellPass *pass, const CellModule *m) {
  for (int i = 0; i < m->program_count; i++) {
    CellText text = {0};
    if (!cell_verify(m->programs[i], &text))
      cell_internal_error(__FILE__, __LINE__, "after pass %s:\n%s", pass->name, text.data);
    cell_text_free(&text);
  }
}

static bool run_all(CellModule *m, const CellPassOptions *options, CellDiag *diag) {
  for (int i = 0; i < cell_pass_count; i++) {
    const CellPass *pass = &cell_passes[i];
    if (!disabled(pass, options)) {
      if (!pass->run(m, diag)) return false;
      if (options->verify) verify(pass, m);
    }
    if (options->after) options->after(pass, m, options->context);
    if (options->stop_after && strcmp(options->stop_after, pass->name) == 0) break;
  }
  return true;
}

bool cell_run_passes(CellModule *m, const CellPassOptions *options, CellDiag *diag) {
  m->disabled = options->disabled, m->disabled_count = options->disabled_count;
  bool good = run_all(m, options, diag);
  m->disabled = NULL, m->disabled_count = 0;
  return good;
}
