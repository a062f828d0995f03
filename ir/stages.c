/* stages.c - the order of a program's launches, and between which of them each buffer lives.
 *
 * A stage holds launches none of which touches what another of them writes. A launch gets the stage behind the
 * last one that it depends on, so there are as many stages as the longest chain of launches is long. Where
 * stages merge, launches are put in their order; else every launch is a stage of its own. A temporary lives
 * as long as the stages of its first and last use run: launches of one stage may run in any order. */
#include <stdlib.h>

#include "ir/fuse.h"

// launches of one stage stay in their old order
static void sort_by_stage(CellLaunch *launches, int n) {
  for (int i = 1; i < n; i++) {
    CellLaunch l = launches[i];
    int j = i;
    while (j > 0 && launches[j - 1].stage > l.stage) launches[j] = launches[j - 1], j--;
    launches[j] = l;
  }
}

// the buffer whose memory it is
static int whole_of(const CellPlan *plan, int buffer) {
  const CellBuffer *b = &plan->buffers[buffer];
  return b->kind == CELL_BUFFER_PIECE ? b->whole : buffer;
}

void cell_plan_stages(CellPlan *plan, CellPlanProgram *program, bool merge) {
  int n = program->launch_count;
  // the last stages that write a buffer, and that read it. Launches that write one buffer write different parts of
  // it, so they need not wait for each other.
  int *written = cell_malloc((size_t)(plan->buffer_count + 1) * sizeof *written);
  int *seen = cell_malloc((size_t)(plan->buffer_count + 1) * sizeof *seen);
  for (int b = 0; b < plan->buffer_count; b++) written[b] = seen[b] = -1;
  for (int i = 0; i < n; i++) {
    CellLaunch *l = &program->launches[i];
    const CellKernel *k = plan->kernels[l->kernel];
    int stage = merge ? 0 : i;
    for (int a = 0; a < k->arg_count; a++) {
      int b = whole_of(plan, l->buffers[a]);
      if (l->reads[a] && written[b] + 1 > stage) stage = written[b] + 1;
      if (k->written[a] && seen[b] + 1 > stage) stage = seen[b] + 1;
    }
    l->stage = stage;
    for (int a = 0; a < k->arg_count; a++) {
      int b = whole_of(plan, l->buffers[a]);
      if (k->written[a] && stage > written[b]) written[b] = stage;
      if (l->reads[a] && stage > seen[b]) seen[b] = stage;
    }
  }
  free(written);
  free(seen);
  sort_by_stage(program->launches, n);

  for (int i = 0; i < n; i++) {
    const CellLaunch *l = &program->launches[i];
    int first = i, last = i;
    while (first > 0 && program->launches[first - 1].stage == l->stage) first--;
    while (last + 1 < n && program->launches[last + 1].stage == l->stage) last++;
    for (int a = 0; a < plan->kernels[l->kernel]->arg_count; a++) {
      CellBuffer *b = &plan->buffers[whole_of(plan, l->buffers[a])];
      if (b->first < 0 || first < b->first) b->first = first;
      if (last > b->last) b->last = last;
    }
  }
}
