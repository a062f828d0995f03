/* fuse_steps.c - scans that are written out: every step is a region of its own whose ops belong to the region
 * around the scan, so that they are grouped like all others. On a machine whose launches are whole products a
 * step's products want the whole machine, and those of one step that do not read each other's results go
 * beside those of the next: the levels of fuse_group.c find that order by themselves.
 *
 * Nothing is copied from step to step: the carry of a step is read where the step before it made it. */
#include <stdio.h>

#include "ir/fuse.h"

bool fuse_in_steps(const Fuse *f) {
  return f->target->anchor_rows > 0;
}

static FuseRegion *steps_of(Fuse *f, FuseRegion *r, CellValue scan) {
  const CellNode *n = cell_node(r->g, scan);
  for (int i = 0; i < r->step_count; i++)
    if (r->steps[i]->step_of == n) return r->steps[i];
  int axis = 0;
  while (n->over != CELL_AXIS(axis)) axis++;
  FuseRegion *last = NULL;
  for (int32_t t = 0; t < r->g->axes[axis].extent; t++) {
    FuseRegion *step = fuse_region(f, n->body, r, NULL);
    step->step_of = n, step->step = t, step->before = last;
    step->into = r->into ? r->into : r;
    last = step;
  }
  CELL_PUSH(f->arena, r->steps, r->step_count, r->step_capacity, last);
  return last;
}

FuseRegion *fuse_last_step(Fuse *f, FuseRegion *r, CellValue *v) {
  const CellNode *n = cell_node(r->g, *v);
  FuseRegion *last = steps_of(f, r, n->args[0]);
  char name[32];
  snprintf(name, sizeof name, "carry%d", n->begin);
  *v = cell_find_output(last->g, name);
  return last;
}

FuseRegion *fuse_step_input(FuseRegion *r, CellValue *v, int *axis, int32_t *at) {
  *axis = -1;
  if (!r->step_of) return NULL;
  const char *name = cell_node(r->g, *v)->name;
  int number;
  if (sscanf(name, "carry%d", &number) == 1) {
    *v = r->before ? cell_find_output(r->g, name) : r->step_of->args[number];
    return r->before ? r->before : r->parent;
  }
  if (sscanf(name, "step%d", &number) != 1) return NULL;
  *v = r->step_of->args[r->step_of->carry_count + number];
  for (*axis = 0; r->step_of->over != CELL_AXIS(*axis);) ++*axis;
  *at = r->step;
  return r->parent;
}
