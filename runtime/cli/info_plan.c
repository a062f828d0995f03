/* info_plan.c - the plan of an update, explained from the counts that bench measures against. */
#include "runtime/cli/info_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const CellPlanProgram *update_of(const CellPlan *plan) {
  for (int p = 0; p < plan->program_count; p++)
    if (strcmp(plan->programs[p].name, "update") == 0) return &plan->programs[p];
  return NULL;
}

/* ---- kernels ---- */

enum { MOST_REASONS = 3 };

typedef struct {
  const char *buffer;
  const CellKernel *maker;
} Reason;

typedef struct {
  const CellKernel *kernel;
  int launches;
  CellKernelCounts counts;
  Reason reasons[MOST_REASONS]; /* the largest of what it waits for */
  int64_t sizes[MOST_REASONS];
  int reason_count;   /* of all */
  const char *writes; /* the largest of what others or the caller read */
  int64_t written_size;
} Row;

// keeps the largest few; one buffer once
static void add_reason(Row *row, const CellBuffer *b, const CellKernel *maker) {
  for (int i = 0; i < row->reason_count && i < MOST_REASONS; i++)
    if (row->reasons[i].maker == maker && strcmp(row->reasons[i].buffer, b->name) == 0) return;
  int at = row->reason_count < MOST_REASONS ? row->reason_count : MOST_REASONS - 1;
  row->reason_count++;
  if (row->reason_count > MOST_REASONS && row->sizes[at] >= b->count) return;
  for (; at > 0 && row->sizes[at - 1] < b->count; at--)
    row->reasons[at] = row->reasons[at - 1], row->sizes[at] = row->sizes[at - 1];
  row->reasons[at] = (Reason){b->name, maker}, row->sizes[at] = b->count;
}

static bool reads(const CellStmt *s, int arg) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOAD && !s->buffer.scratch && s->buffer.index == arg) return true;
    if (s->kind == CELL_K_CONTRACT && ((!s->a.buffer.scratch && s->a.buffer.index == arg) ||
                                       (!s->b.buffer.scratch && s->b.buffer.index == arg)))
      return true;
    if (s->kind == CELL_K_LOOP && reads(s->body, arg)) return true;
  }
  return false;
}

static Row *kernel_rows(const CellPlan *plan, int *count) {
  const CellPlanProgram *program = update_of(plan);
  int launches = program ? program->launch_count : 0;
  Row *rows = cell_malloc((size_t)launches * sizeof *rows + 1);
  const CellKernel **makers = cell_malloc((size_t)plan->buffer_count * sizeof(CellKernel *) + 1);
  *count = 0;
  for (int l = 0; l < launches; l++) {
    const CellLaunch *launch = &program->launches[l];
    const CellKernel *k = plan->kernels[launch->kernel];
    int at = 0;
    while (at < *count && rows[at].kernel != k) at++;
    Row *row = &rows[at];
    if (at == *count) {
      *row = (Row){.kernel = k, .counts = cell_kernel_counts(k)};
      ++*count;
    }
    row->launches++;
    for (int a = 0; a < k->arg_count; a++) {
      const CellBuffer *b = &plan->buffers[launch->buffers[a]];
      if (makers[launch->buffers[a]] && reads(k->body, a))
        add_reason(row, b, makers[launch->buffers[a]]);
    }
    for (int a = 0; a < k->arg_count; a++) {
      const CellBuffer *b = &plan->buffers[launch->buffers[a]];
      if (!k->written[a]) continue;
      makers[launch->buffers[a]] = k;
      if (b->count > row->written_size) row->writes = b->name, row->written_size = b->count;
    }
  }
  free(makers);
  return rows;
}

void cell_info_print_kernels(const CellNetwork *n) {
  int count;
  Row *rows = kernel_rows(n->plan, &count);
  printf("\nkernels of an update, and what each waits for: a result of all tasks of another\n");
  printf("  %-12s %8s %6s %9s %9s %9s\n", "", "launches", "tasks", "GFLOP", "M ops", "MB");
  for (int i = 0; i < count; i++) {
    const Row *r = &rows[i];
    printf("  %-12s %8d %6lld %9.3f %9.3f %9.3f", r->kernel->name, r->launches,
           (long long)r->kernel->tasks, r->counts.contract_flops * r->launches / 1e9,
           r->counts.vector_ops * r->launches / 1e6, r->counts.bytes * r->launches / 1e6);
    for (int k = 0; k < r->reason_count && k < MOST_REASONS; k++)
      printf("%s %s of %s", k ? "," : "  after", r->reasons[k].buffer, r->reasons[k].maker->name);
    if (r->reason_count > MOST_REASONS) printf(" and %d more", r->reason_count - MOST_REASONS);
    if (r->writes) printf("; makes %s", r->writes);
    printf("\n");
  }
  free(rows);
}

json_t *cell_info_kernels(const CellNetwork *n) {
  int count;
  Row *rows = kernel_rows(n->plan, &count);
  json_t *all = json_array();
  for (int i = 0; i < count; i++) {
    const Row *r = &rows[i];
    json_t *after = json_array();
    for (int k = 0; k < r->reason_count && k < MOST_REASONS; k++)
      json_array_append_new(after, json_pack("{s:s, s:s}", "tensor", r->reasons[k].buffer, "kernel",
                                             r->reasons[k].maker->name));
    json_array_append_new(
        all, json_pack("{s:s, s:i, s:I, s:f, s:f, s:f, s:o, s:s}", "kernel", r->kernel->name,
                       "launches", r->launches, "tasks", (json_int_t)r->kernel->tasks,
                       "contract_flops", r->counts.contract_flops * r->launches, "vector_ops",
                       r->counts.vector_ops * r->launches, "bytes", r->counts.bytes * r->launches,
                       "after", after, "makes", r->writes ? r->writes : ""));
  }
  free(rows);
  return all;
}

/* ---- rewrites ---- */

typedef struct {
  double flops, ops, bytes, temporaries; /* of an update */
  int launches;
} Cost;

static Cost cost_of(const CellPlan *plan) {
  Cost c = {0};
  const CellPlanProgram *update = update_of(plan);
  for (int l = 0; update && l < update->launch_count; l++) {
    CellKernelCounts counts = cell_kernel_counts(plan->kernels[update->launches[l].kernel]);
    c.flops += counts.contract_flops, c.ops += counts.vector_ops, c.bytes += counts.bytes;
    c.launches++;
  }
  for (int i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind == CELL_BUFFER_TEMP &&
        strcmp(plan->programs[plan->buffers[i].program].name, "update") == 0)
      c.temporaries += 4.0 * (double)plan->buffers[i].count;
  return c;
}

// the update alone, planned without one rewrite
static bool cost_without(const CellNetworkOptions *o, const char *rewrite, Cost *cost) {
  CellNetworkOptions options = *o;
  options.envs = 0, options.plan_only = true, options.backend = CELL_BACKEND_CPU;
  options.phase_seconds = NULL;
  options.disabled = rewrite ? &rewrite : NULL, options.disabled_count = rewrite ? 1 : 0;
  CellDiag *diag = cell_diag_create();
  CellNetwork *n = cell_network_open(&options, diag);
  if (n) *cost = cost_of(n->plan);
  cell_network_close(n);
  cell_diag_destroy(diag);
  return n != NULL;
}

typedef void (*Visit)(const CellRewrite *rewrite, const Cost *more, void *context);

// those whose absence changes the counts; without them where the network cannot be planned
static void visit_rewrites(const CellNetworkOptions *o, Visit visit, void *context) {
  Cost all, one;
  if (!cost_without(o, NULL, &all)) return;
  CellRewrite rewrite;
  for (int i = 0; cell_rewrite_at(i, &rewrite); i++) {
    if (!cost_without(o, rewrite.name, &one)) continue;
    Cost more = {one.flops - all.flops, one.ops - all.ops, one.bytes - all.bytes,
                 one.temporaries - all.temporaries, one.launches - all.launches};
    bool changes = fabs(more.flops) > 1e-4 * all.flops || fabs(more.ops) > 1e-4 * all.ops ||
                   fabs(more.bytes) > 1e-4 * all.bytes ||
                   fabs(more.temporaries) > 1e-4 * all.temporaries || more.launches != 0;
    if (changes) visit(&rewrite, &more, context);
  }
}

static void print_rewrite(const CellRewrite *r, const Cost *more, void *context) {
  (void)context;
  printf("  %-18s %+9.3f %+10.1f %+9.1f %+9.1f %+9d  %s\n", r->name, more->flops / 1e9,
         more->ops / 1e6, more->bytes / 1e6, more->temporaries / 1e6, more->launches, r->sentence);
}

void cell_info_print_rewrites(const CellNetworkOptions *o) {
  printf("\nwhat an update would take more without one rewrite (--disable of `cellc emit`)\n");
  printf("  %-18s %9s %10s %9s %9s %9s\n", "", "GFLOP", "M ops", "MB moved", "MB stored",
         "launches");
  visit_rewrites(o, print_rewrite, NULL);
}

static void add_rewrite(const CellRewrite *r, const Cost *more, void *context) {
  json_array_append_new(context,
                        json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:i}", "rewrite", r->name,
                                  "statement", r->sentence, "contract_flops", more->flops,
                                  "vector_ops", more->ops, "bytes", more->bytes, "stored_bytes",
                                  more->temporaries, "launches", more->launches));
}

json_t *cell_info_rewrites(const CellNetworkOptions *o) {
  json_t *all = json_array();
  visit_rewrites(o, add_rewrite, all);
  return all;
}
