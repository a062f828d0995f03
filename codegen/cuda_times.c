/* cuda_times.c - what each launch of a program takes on the device, for `cellc bench`: outside of the graph,
 * an event before and behind each. What an event itself takes, about half a microsecond, is in the times. */
#include "codegen/cuda_device.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

// one run: milliseconds of each launch
static bool time_run(CellEngine *e, int program, const CUevent *events, float *times,
                     CellDiag *diag) {
  CellGpu *g = e->gpu;
  const CellCudaProgram *p = &g->code->programs[program];
  bool good = cell_gpu_send(e, program, diag) && cell_gpu_inputs(e, program, diag) &&
              cell_gpu_check(g, g->d->record(events[0], g->stream), "record an event", diag);
  for (int l = 0; l < p->launch_count && good; l++)
    good = cell_gpu_launch(e, &p->launches[l], diag) &&
           cell_gpu_check(g, g->d->record(events[l + 1], g->stream), "record an event", diag);
  good = good && cell_gpu_outputs(e, program, diag) && cell_gpu_changed(e, program, diag) &&
         cell_gpu_check(g, g->d->synchronize(g->stream), "run a program", diag);
  for (int l = 0; l < p->launch_count && good; l++)
    good = cell_gpu_check(g, g->d->elapsed(&times[l], events[l], events[l + 1]), "read an event",
                          diag);
  return good;
}

static void describe(const CellEngine *e, const CellCudaLaunch *l, CellGpuTime *out) {
  const CellGpu *g = e->gpu;
  const CellCudaUnit *unit = &g->code->units[l->unit];
  out->kernel = unit->symbol;
  out->blocks = unit->grid, out->shared_bytes = unit->shared_bytes;
  out->registers = g->registers[l->unit];
  out->predicted = cell_cuda_predict(e->plan, unit, &e->options, out->registers);
}

int cell_engine_gpu_times(CellEngine *e, const char *program, int repeats, CellGpuTime **times,
                          CellDiag *diag) {
  *times = NULL;
  if (!e->gpu) return 0;
  int number = 0;
  while (number < e->plan->program_count && strcmp(e->plan->programs[number].name, program) != 0)
    number++;
  if (number == e->plan->program_count) return 0;
  CellGpu *g = e->gpu;
  const CellCudaProgram *p = &g->code->programs[number];
  size_t count = (size_t)p->launch_count, runs = (size_t)(repeats > 0 ? repeats : 1);
  CUevent *events = cell_malloc((count + 1) * sizeof *events);
  float *all = cell_malloc(runs * (count + 1) * sizeof *all),
        *one = cell_malloc(runs * sizeof *one);
  bool good = cell_gpu_check(g, g->d->set_current(g->context), "be used", diag);
  for (size_t l = 0; l <= count && good; l++)
    good = cell_gpu_check(g, g->d->event(&events[l], 0), "make an event", diag);
  for (size_t r = 0; r < runs && good; r++)
    good = time_run(e, number, events, all + r * count, diag);
  for (size_t l = 0; l <= count; l++)
    if (events[l]) g->d->event_destroy(events[l]);
  if (good) {
    *times = cell_malloc((count + 1) * sizeof **times);
    for (size_t l = 0; l < count; l++) {
      for (size_t r = 0; r < runs; r++) one[r] = all[r * count + l];
      qsort(one, runs, sizeof *one, by_value);
      describe(e, &p->launches[l], &(*times)[l]);
      (*times)[l].seconds = 1e-3 * (double)one[runs / 2];
    }
  }
  free(events);
  free(all);
  free(one);
  return good ? (int)count : -1;
}
