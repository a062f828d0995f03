/* cuda_nodes.c - why a program has the graph nodes that it has, for `emit --stage resources`.
 *
 * A node is a stage of the plan, and there are as many as the longest chain of launches that wait for each other.
 * So for every node a launch in it waits for one in the node before. The data flow forces that where it needs
 * what many blocks make: a product sums over a value, a sum adds up what tasks left, or what is written was
 * still read. Otherwise the two could have been one kernel, and it is said why they are not. */
#include "codegen/cuda.h"

enum { FORCED = 4 };

typedef struct {
  int rank;                   /* 0: none found; from FORCED on the data flow needs the node */
  const char *before, *after; /* the buffer's name */
  int buffer;
  const CellKernel *kernel;
} Reason;

static bool is_operand(const CellKernel *k, int arg) {
  for (const CellStmt *s = k->body; s; s = s->next)
    if (s->kind == CELL_K_CONTRACT && ((!s->a.buffer.scratch && s->a.buffer.index == arg) ||
                                       (!s->b.buffer.scratch && s->b.buffer.index == arg)))
      return true;
  return false;
}

static bool has_sums(const CellStmt *s) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_ACC || (s->kind == CELL_K_LOOP && has_sums(s->body))) return true;
  return false;
}

// a reader that waits for a writer, in the stage before, of its argument `arg`
static Reason waits(const CellKernel *reader, int arg, const CellKernel *writer, bool written) {
  CellCudaProduct from = cell_cuda_product(writer), to = cell_cuda_product(reader);
  Reason r = {.kernel = reader};
  if (!written)
    r.rank = 4, r.before = "writes ", r.after = ", which the node before reads";
  else if (to.product && is_operand(reader, arg))
    r.rank = 6, r.before = "a product sums over ", r.after = ", which many blocks make";
  else if (to.product)
    r.rank = 5, r.before = "a product's tail reads ", r.after = ", which other blocks make";
  else if (from.product && !has_sums(reader->body))
    r.rank = 2, r.before = "not forced: reads the product ",
    r.after = " otherwise than entry by entry";
  else if (from.product)
    r.rank = 3, r.before = "not forced: needs whole rows of ",
    r.after = ", of which a block of the product makes parts";
  else if (writer->tasks == 1)
    r.rank = 1, r.before = "not forced: one block makes ",
    r.after = ", which each of those that read it could";
  else if (reader->tasks != writer->tasks)
    r.rank = 5, r.before = "reads all of ", r.after = ", which many blocks make";
  else
    r.rank = 1, r.before = "not forced: reads ", r.after = " a launch after it was made";
  return r;
}

static bool touches(const CellPlan *plan, const CellLaunch *l, int buffer, bool *written) {
  const CellKernel *k = plan->kernels[l->kernel];
  *written = false;
  bool found = false;
  for (int a = 0; a < k->arg_count; a++)
    if (l->buffers[a] == buffer || (plan->buffers[l->buffers[a]].kind == CELL_BUFFER_PIECE &&
                                    plan->buffers[l->buffers[a]].whole == buffer))
      found = true, *written |= k->written[a];
  return found;
}

static Reason reason_of(const CellPlan *plan, const CellPlanProgram *program, int stage) {
  Reason best = {0};
  for (int i = 0; i < program->launch_count; i++) {
    const CellLaunch *l = &program->launches[i];
    if (l->stage != stage) continue;
    const CellKernel *k = plan->kernels[l->kernel];
    for (int j = 0; j < i; j++) {
      const CellLaunch *w = &program->launches[j];
      for (int a = 0; w->stage == stage - 1 && a < k->arg_count; a++) {
        bool written;
        if (!touches(plan, w, l->buffers[a], &written) || (!written && !k->written[a])) continue;
        Reason r = waits(k, a, plan->kernels[w->kernel], written);
        r.buffer = l->buffers[a];
        if (r.rank > best.rank) best = r;
      }
    }
  }
  return best;
}

void cell_cuda_nodes(const CellPlan *plan, const CellCudaCode *code, int program,
                     const CellDiag *sources, CellText *out) {
  const CellCudaProgram *p = &code->programs[program];
  int forced = 0;
  cell_text_printf(out, "\n%s: why each node is there\n", p->name);
  for (int l = 0; l < p->launch_count; l++) {
    const CellCudaLaunch *launch = &p->launches[l];
    cell_text_printf(out, "%4d %-12s ", l, code->units[launch->unit].symbol);
    if (l > 0 && p->launches[l - 1].stage == launch->stage) {
      cell_text_printf(out, "not forced: arguments beyond what one launch takes\n");
      continue;
    }
    if (launch->stage == 0) {
      forced++;
      cell_text_printf(out, "reads inputs and states alone\n");
      continue;
    }
    Reason r = reason_of(plan, &plan->programs[program], launch->stage);
    if (r.rank == 0) continue;
    forced += r.rank >= FORCED;
    const char *name = plan->buffers[r.buffer].name;
    const char *place = cell_cuda_place(code->arena, sources, r.kernel->span);
    cell_text_printf(out, "%s%s%s%s%s%s\n", r.before, *name ? name : "a value", r.after,
                     place ? " (" : "", place ? place : "", place ? ")" : "");
  }
  cell_text_printf(out, "%s: %d nodes, %d of them forced by the data flow\n", p->name,
                   p->launch_count, forced);
}
