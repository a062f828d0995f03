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

void cell_plan_stages(CellPlan *plan, CellPlanProgram *program, bool merge) {
  int n = program->launch_count;
  // the stages after which a buffer may be read, and written again
  int *written = cell_malloc((size_t)(plan->buffer_count + 1) * sizeof *written);
  int *touched = cell_malloc((size_t)(plan->buffer_count + 1) * sizeof *touched);
  for (int b = 0; b < plan->buffer_count; b++) written[b] = touched[b] = -1;
  for (int i = 0; i < n; i++) {
    CellLaunch *l = &program->launches[i];
    const CellKernel *k = plan->kernels[l->kernel];
    int stage = merge ? 0 : i;
    for (int a = 0; a < k->arg_count; a++) {
      int b = l->buffers[a], after = k->written[a] ? touched[b] : written[b];
      if (after + 1 > stage) stage = after + 1;
    }
    l->stage = stage;
    for (int a = 0; a < k->arg_count; a++) {
      int b = l->buffers[a];
      if (k->written[a] && stage > written[b]) written[b] = stage;
      if (stage > touched[b]) touched[b] = stage;
    }
  }
  free(written);
  free(touched);
  sort_by_stage(program->launches, n);

  for (int i = 0; i < n; i++) {
    const CellLaunch *l = &program->launches[i];
    int first = i, last = i;
    while (first > 0 && program->launches[first - 1].stage == l->stage) first--;
    while (last + 1 < n && program->launches[last + 1].stage == l->stage) last++;
    for (int a = 0; a < plan->kernels[l->kernel]->arg_count; a++) {
      CellBuffer *b = &plan->buffers[l->buffers[a]];
      if (b->first < 0 || first < b->first) b->first = first;
      if (last > b->last) b->last = last;
    }
  }
}
