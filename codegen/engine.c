/* engine.c - an engine: memory for all tensors, and one of three ways to run a program. */
#include "codegen/engine.h"

#include "codegen/cuda.h"
#include "codegen/flush.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- memory ----

// the whole block at once, zero
static bool map_block(CellEngine *e, int64_t bytes, CellDiag *diag) {
  e->block_bytes = (size_t)(bytes > 0 ? bytes : 64);
  e->block = cell_map(e->block_bytes);
  if (e->block) return true;
  cell_error(diag, NULL, CELL_NOWHERE, "no memory for tensors: %lld bytes", (long long)bytes);
  return false;
}

static int64_t entries_of(CellDtype dtype, int64_t count, int64_t bit_row) {
  if (dtype != CELL_BITS || bit_row <= 0) return count;
  return count / cell_bit_words(bit_row) * bit_row;
}

static void add_slot(CellEngine *e, const char *name, CellBufferKind kind, int program,
                     const CellGraph *g, CellValue v) {
  for (int i = 0; i < e->slot_count; i++)
    if (e->slots[i].program == program && strcmp(e->slots[i].name, name) == 0) return;
  const CellNode *n = cell_node(g, v);
  CellSlot slot = {.name = name, .kind = kind, .program = program, .dtype = n->dtype};
  slot.entries = slot.count = cell_count(g, v) * cell_extent(g, n->axes);
  slot.bit_row = n->dtype == CELL_BITS ? cell_count(g, v) : 0;
  CELL_PUSH(e->arena, e->slots, e->slot_count, e->slot_capacity, slot);
}

// inputs of a graph, and the states that bodies of scans read
static void slots_of_inputs(CellEngine *e, const CellGraph *g, int program, bool body) {
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    if (n->body) slots_of_inputs(e, n->body, program, true);
    if (n->op != CELL_OP_INPUT) continue;
    bool state = cell_is_state(e->m, n->name);
    if (state)
      add_slot(e, n->name, CELL_BUFFER_STATE, -1, g, v);
    else if (!body)
      add_slot(e, n->name, CELL_BUFFER_INPUT, program, g, v);
  }
}

// the graph evaluator has no plan: its tensors are the inputs and outputs of the programs
static void slots_of_graphs(CellEngine *e) {
  for (int p = 0; p < e->m->program_count; p++) slots_of_inputs(e, e->m->programs[p], p, false);
  for (int p = 0; p < e->m->program_count; p++) {
    const CellGraph *g = e->m->programs[p];
    for (int i = 0; i < g->output_count; i++) {
      const CellOutput *o = &g->outputs[i];
      bool state = cell_is_state(e->m, o->name);
      add_slot(e, o->name, state ? CELL_BUFFER_STATE : CELL_BUFFER_OUTPUT, state ? -1 : p, g,
               o->value);
    }
  }
}

static void slots_of_plan(CellEngine *e) {
  for (int i = 0; i < e->plan->buffer_count; i++) {
    const CellBuffer *b = &e->plan->buffers[i];
    CellSlot slot = {.name = b->name,
                     .kind = b->kind,
                     .program = b->program,
                     .dtype = b->dtype,
                     .count = b->count,
                     .bit_row = b->bit_row};
    slot.entries = entries_of(b->dtype, b->count, b->bit_row);
    if (cell_engine_wide(e)) slot.count = slot.entries;
    CELL_PUSH(e->arena, e->slots, e->slot_count, e->slot_capacity, slot);
  }
}

// The numbers of constant buffers, in a block of zeros.
static void fill_constants(CellEngine *e) {
  for (int i = 0; i < e->slot_count; i++) {
    if (e->slots[i].kind != CELL_BUFFER_CONSTANT || e->plan->buffers[i].number == 0) continue;
    double number = e->plan->buffers[i].number, *wide = e->slots[i].data;
    float *narrow = (float *)((unsigned char *)e->block + e->plan->buffers[i].offset);
    for (int64_t j = 0; j < e->slots[i].count; j++) {
      if (cell_engine_wide(e))
        wide[j] = number;
      else
        narrow[j] = (float)number;
    }
  }
}

// doubles side by side: interpreters share nothing
static bool place_wide(CellEngine *e, CellDiag *diag) {
  int64_t total = 0;
  for (int i = 0; i < e->slot_count; i++)
    if (e->slots[i].kind != CELL_BUFFER_PIECE) total += e->slots[i].entries;
  if (!map_block(e, total * (int64_t)sizeof(double), diag)) return false;
  double *next = e->block;
  for (int i = 0; i < e->slot_count; i++) {
    if (e->slots[i].kind == CELL_BUFFER_PIECE) {
      const CellBuffer *b = &e->plan->buffers[i];
      e->slots[i].data = (double *)e->slots[b->whole].data + b->begin; // the whole comes first
      continue;
    }
    e->slots[i].data = next;
    next += e->slots[i].entries;
  }
  if (e->plan) fill_constants(e);
  return true;
}

static bool place_in_arena(CellEngine *e, CellDiag *diag) {
  if (!map_block(e, e->plan->arena_bytes, diag)) return false;
  for (int i = 0; i < e->slot_count; i++)
    e->slots[i].data = (unsigned char *)e->block + e->plan->buffers[i].offset;
  fill_constants(e);
  return true;
}

// ---- the CPU ----

// Cycles of one core that all tasks of a kernel take, about.
static double cycles_of(const CellKernel *k) {
  CellKernelCounts c = cell_kernel_counts(k);
  return c.contract_flops / 8 + c.vector_ops + c.bytes / 8;
}

enum {
  /* Less is not worth waking a second thread: that takes microseconds, and a slice of the scheduler's time
   * where the machine is busy. */
  SMALL_CYCLES = 20000,
  SMALL_GAIN = 4000 /* less is not worth the wait for threads that are awake */
};

/* A stage's items in order, cut into a share for each thread, of about the same cycles. A thread takes its own
 * share first, the same in every run, because that is what it has in its cache; then what others left. */
static void add_stage(CellEngine *e, CellAgenda *agenda, int begin, const double *cycles) {
  int threads = e->options.threads, item = begin;
  CellStage *stage = &agenda->stages[agenda->stage_count++];
  double all = 0, longest = 0, seen = 0;
  for (int i = begin; i < agenda->item_count; i++) {
    all += cycles[i];
    if (cycles[i] > longest) longest = cycles[i];
  }
  stage->alone = threads == 1 || all - longest < SMALL_GAIN;
  stage->shares = CELL_NEW_ARRAY(e->arena, int, (size_t)threads + 1);
  for (int t = 0; t < threads; t++) {
    stage->shares[t] = item;
    // an item goes to the thread in whose part of the sum its middle lies
    while (item < agenda->item_count && (seen + cycles[item] / 2) * threads < all * (t + 1))
      seen += cycles[item++];
  }
  stage->shares[threads] = agenda->item_count;
}

enum { LEAST_ROWS = 8 /* of a range: fewer are not worth reading the parameters again */ };

// threads that get rows
static int ranged_threads(const CellEngine *e, const CellKernel *k) {
  int64_t most = k->rows / (k->grain > LEAST_ROWS ? k->grain : LEAST_ROWS);
  return most < 1 ? 1 : most < e->options.threads ? (int)most : e->options.threads;
}

/* The rows of a launch in proportion to the threads' rates, in whole grains; no thread gets more than its items can
 * hold. Where a range begins changes no number. */
static void cut_ranges(CellEngine *e, CellAgenda *agenda, const CellRanges *r,
                       const CellKernel *k) {
  int threads = ranged_threads(e, k);
  double left = 0;
  int64_t grain = k->grain;
  bool known = true;
  for (int t = 0; t < threads; t++) left += r->rates[t], known = known && r->rates[t] > 0;
  int64_t first = 0, most = r->pieces * k->tile;
  for (int t = 0; t < threads; t++) {
    double part = known ? r->rates[t] / left : 1.0 / (threads - t);
    int64_t rest = k->rows - first, behind = (threads - t - 1) * most;
    int64_t n = (int64_t)(part * (double)rest / grain + 0.5) * grain;
    if (n < grain) n = grain; // whose rate would else not be known again
    if (n > most) n = most;
    if (n < rest - behind) n = rest - behind;
    if (n > rest || t == threads - 1) n = rest;
    int64_t end = first + n;
    for (int left_over = r->pieces, p = 0; p < r->pieces; p++, left_over--) {
      CellItem *item = &agenda->items[r->item + t * r->pieces + p];
      item->first = first;
      first = left_over == 1 ? end : first + (end - first) / left_over / grain * grain;
      item->last = first;
    }
    left -= r->rates[t];
  }
}

static void note_rates(CellEngine *e, const CellRanges *r) {
  const double NEW = 0.25; // what is measured once counts less than what was before
  for (int t = 0; t < e->options.threads; t++) {
    double seconds = e->threads[t].seconds[r->launch];
    int64_t rows = e->threads[t].rows[r->launch];
    if (rows <= 0 || seconds <= 0) continue;
    double rate = (double)rows / seconds;
    r->rates[t] += (r->rates[t] > 0 ? NEW : 1) * (rate - r->rates[t]);
  }
}

// the items of a launch whose rows are cut later
static int add_ranges(CellEngine *e, CellAgenda *agenda, int launch, const CellKernel *k) {
  int threads = ranged_threads(e, k);
  // tiles are a quarter larger than an equal share
  int64_t usual = k->tile - k->tile / 5, each = (k->rows + threads - 1) / threads;
  CellRanges r = {.launch = launch, .item = agenda->item_count};
  r.pieces = (int)((each + usual - 1) / usual);
  r.rates = CELL_NEW_ARRAY(e->arena, double, (size_t)e->options.threads);
  CELL_PUSH(e->arena, agenda->ranges, agenda->range_count, agenda->range_capacity, r);
  return threads * r.pieces;
}

static void fill_agenda(CellEngine *e, int program, const double *kernel_cycles) {
  const CellPlan *plan = e->plan;
  const CellPlanProgram *p = &plan->programs[program];
  CellAgenda *agenda = &e->agendas[program];
  int capacity = 0, cycle_count = 0, cycle_capacity = 0, begin = 0;
  double *cycles = NULL; // of each item
  agenda->args = CELL_NEW_ARRAY(e->arena, void **, (size_t)p->launch_count + 1);
  agenda->stages = CELL_NEW_ARRAY(e->arena, CellStage, (size_t)p->launch_count + 1);
  for (int l = 0; l < p->launch_count; l++) {
    const CellKernel *k = plan->kernels[p->launches[l].kernel];
    agenda->args[l] = CELL_NEW_ARRAY(e->arena, void *, (size_t)k->arg_count + 1);
    for (int a = 0; a < k->arg_count; a++)
      agenda->args[l][a] = e->slots[p->launches[l].buffers[a]].data;
    double sum = kernel_cycles[p->launches[l].kernel];
    bool small = !e->options.check_guards && sum < SMALL_CYCLES;
    int64_t tasks = k->tasks;
    if (k->rows > 0 && !small && !e->options.check_guards) tasks = add_ranges(e, agenda, l, k);
    int64_t step = small ? tasks : 1;
    agenda->team = agenda->team || (!small && tasks > 1);
    for (int64_t t = 0; t < tasks; t += step) {
      CellItem item = {l, t, t + step};
      if (k->rows > 0) item.first = k->rows * t / tasks, item.last = k->rows * (t + step) / tasks;
      CELL_PUSH(e->arena, agenda->items, agenda->item_count, capacity, item);
      CELL_PUSH(e->arena, cycles, cycle_count, cycle_capacity, sum * (double)step / (double)tasks);
    }
    if (l + 1 < p->launch_count && p->launches[l + 1].stage == p->launches[l].stage) continue;
    add_stage(e, agenda, begin, cycles);
    begin = agenda->item_count;
  }
  // a team for the stages from the first to the last that is worth one, if there is one
  agenda->team_end = agenda->team ? agenda->stage_count : 0;
  while (agenda->team_end > 0 && agenda->stages[agenda->team_end - 1].alone) agenda->team_end--;
  while (agenda->team_begin < agenda->team_end && agenda->stages[agenda->team_begin].alone)
    agenda->team_begin++;

  agenda->shared = CELL_NEW_ARRAY(e->arena, bool, (size_t)p->launch_count + 1);
  for (int s = agenda->team_begin; s < agenda->team_end; s++)
    for (int i = agenda->stages[s].shares[0]; i < agenda->stages[s].shares[e->options.threads]; i++)
      agenda->shared[agenda->items[i].launch] = !agenda->stages[s].alone;
}

// bytes before and behind a thread's scratch, for guards
static int64_t scratch_guard(const CellEngine *e) {
  return (e->plan->guard_bytes + 63) / 64 * 64;
}

// zeros on lines of the cache that hold nothing else
static void *line_array(CellArena *arena, size_t bytes) {
  enum { LINE = 64 };
  bytes = (bytes + LINE - 1) / LINE * LINE;
  unsigned char *p = CELL_NEW_ARRAY(arena, unsigned char, bytes + LINE);
  return p + (LINE - (uintptr_t)p % LINE) % LINE;
}

static bool open_cpu(CellEngine *e, CellDiag *diag) {
  const CellPlan *plan = e->plan;
  char message[1024] = "";
  e->provider = cell_load_provider(message, sizeof message);
  if (!e->provider) {
    CellRecord *r = cell_error(diag, CELL_E_PROVIDER, CELL_NOWHERE, "%s", message);
    cell_help(diag, r, "Build with LLVM 19, or run with the interpreter (--backend interp).");
    return false;
  }

  // compile; the provider says how much scratch its blocking takes
  size_t n = (size_t)plan->kernel_count;
  int64_t *scratch = CELL_NEW_ARRAY(e->arena, int64_t, n + 1);
  e->functions = CELL_NEW_ARRAY(e->arena, CellKernelFunction, n + 1);
  char *folder = cell_cache_folder(e->options.cache_dir);
  e->jit = e->provider->compile(plan->kernels, plan->kernel_count, e->options.isa, folder,
                                e->functions, scratch, message, sizeof message);
  free(folder);
  if (!e->jit) {
    cell_error(diag, CELL_E_COMPILE, CELL_NOWHERE, "%s", message);
    return false;
  }

  // scratch of the neediest kernel for every thread, which touches its own when it first runs
  for (int i = 0; i < plan->kernel_count; i++)
    if (scratch[i] > e->scratch_bytes) e->scratch_bytes = scratch[i];
  e->scratch_bytes = (e->scratch_bytes + 127) / 64 * 64;
  int64_t guard = scratch_guard(e);
  e->scratch = CELL_NEW_ARRAY(e->arena, unsigned char *, (size_t)e->options.threads);
  for (int t = 0; t < e->options.threads; t++) {
    e->scratch[t] = cell_map((size_t)(e->scratch_bytes + 2 * guard));
    if (!e->scratch[t]) {
      cell_error(diag, NULL, CELL_NOWHERE, "no memory for scratch: %lld bytes",
                 (long long)e->scratch_bytes);
      return false;
    }
  }
  cell_guards_fill(e);

  e->agendas = CELL_NEW_ARRAY(e->arena, CellAgenda, (size_t)plan->program_count + 1);
  double *cycles = CELL_NEW_ARRAY(e->arena, double, n + 1);
  for (int i = 0; i < plan->kernel_count; i++) cycles[i] = cycles_of(plan->kernels[i]);
  int most = 0;
  for (int p = 0; p < plan->program_count; p++) {
    fill_agenda(e, p, cycles);
    if (plan->programs[p].launch_count > most) most = plan->programs[p].launch_count;
  }
  e->threads = CELL_NEW_ARRAY(e->arena, CellThread, (size_t)e->options.threads + 1);
  for (int t = 0; t < e->options.threads; t++) {
    e->threads[t].taken = line_array(e->arena, sizeof(atomic_int) * (size_t)most);
    e->threads[t].seconds = line_array(e->arena, sizeof(double) * (size_t)most);
    e->threads[t].rows = line_array(e->arena, sizeof(int64_t) * (size_t)most);
  }
  return true;
}

// runs tasks that a thread began to look for at *time
static void run_item(CellEngine *e, int program, int item, int thread, double *time) {
  const CellPlanProgram *p = &e->plan->programs[program];
  const CellAgenda *agenda = &e->agendas[program];
  const CellItem *i = &agenda->items[item];
  e->functions[p->launches[i->launch].kernel](agenda->args[i->launch], i->first, i->last,
                                              e->scratch[thread] + e->plan->guard_bytes);
  double end = now();
  e->threads[thread].seconds[i->launch] += end - *time;
  e->threads[thread].rows[i->launch] += i->last - i->first;
  *time = end;
}

static void run_alone(CellEngine *e, int program, int stage) {
  const CellStage *s = &e->agendas[program].stages[stage];
  double time = now();
  for (int i = s->shares[0]; i < s->shares[e->options.threads]; i++)
    run_item(e, program, i, 0, &time);
}

// the thread's share, then what is left of the others'
static void run_share(CellEngine *e, int program, int stage, int thread) {
  const CellStage *s = &e->agendas[program].stages[stage];
  int threads = e->options.threads;
  double time = now();
  for (int k = 0; k < threads; k++) {
    int from = (thread + k) % threads, end = s->shares[from + 1];
    atomic_int *taken = &e->threads[from].taken[stage];
    for (;;) {
      int i = s->shares[from];
      // first a look, which leaves the number where it is
      if (i + atomic_load_explicit(taken, memory_order_relaxed) >= end) break;
      i += atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
      if (i >= end) break;
      run_item(e, program, i, thread, &time);
    }
  }
}

static void run_team(CellEngine *e, int program) {
  const CellAgenda *agenda = &e->agendas[program];
  for (int t = 0; t < e->options.threads; t++)
    for (int s = agenda->team_begin; s < agenda->team_end; s++)
      atomic_store_explicit(&e->threads[t].taken[s], 0, memory_order_relaxed);
#pragma omp parallel num_threads(e->options.threads)
  {
    unsigned saved = cell_flush_begin();
    int thread = omp_get_thread_num();
    for (int s = agenda->team_begin; s < agenda->team_end; s++) {
      bool alone = agenda->stages[s].alone;
      if (!alone)
        run_share(e, program, s, thread);
      else if (thread == 0)
        run_alone(e, program, s);
      // what the first thread does alone needs nobody in between
      if (s + 1 < agenda->team_end && !(alone && agenda->stages[s + 1].alone)) {
#pragma omp barrier
      }
    }
    cell_flush_end(saved);
  }
}

// any thread may take any item of a stage; between stages all wait for each other
static void run_stages(CellEngine *e, int program) {
  const CellAgenda *agenda = &e->agendas[program];
  unsigned saved = cell_flush_begin();
  for (int s = 0; s < agenda->team_begin; s++) run_alone(e, program, s);
  if (agenda->team_begin < agenda->team_end) run_team(e, program);
  for (int s = agenda->team_end; s < agenda->stage_count; s++) run_alone(e, program, s);
  cell_flush_end(saved);
}

// one launch after the other, each followed by a look at the zones around all buffers
static bool run_guarded(CellEngine *e, int program, CellDiag *diag) {
  const CellAgenda *agenda = &e->agendas[program];
  const CellPlanProgram *p = &e->plan->programs[program];
  int count = agenda->item_count;
  for (int l = 0, begin = 0; l < p->launch_count; l++) {
    int end = begin;
    while (end < count && agenda->items[end].launch == l) end++;
#pragma omp parallel num_threads(e->options.threads)
    {
      unsigned saved = cell_flush_begin();
      double time = now();
#pragma omp for schedule(dynamic)
      for (int i = begin; i < end; i++) run_item(e, program, i, omp_get_thread_num(), &time);
      cell_flush_end(saved);
    }
    begin = end;
    if (!cell_guards_check(e, e->plan->kernels[p->launches[l].kernel]->name, diag)) return false;
  }
  return true;
}

static bool run_cpu(CellEngine *e, int program, CellDiag *diag) {
  const CellPlanProgram *p = &e->plan->programs[program];
  int threads = e->options.threads, launches = p->launch_count;
  CellAgenda *agenda = &e->agendas[program];
  for (int t = 0; t < threads; t++) {
    memset(e->threads[t].seconds, 0, (size_t)launches * sizeof(double));
    memset(e->threads[t].rows, 0, (size_t)launches * sizeof(int64_t));
  }
  for (int r = 0; r < agenda->range_count; r++)
    cut_ranges(e, agenda, &agenda->ranges[r],
               e->plan->kernels[p->launches[agenda->ranges[r].launch].kernel]);
  bool good = true;
  if (e->options.check_guards)
    good = run_guarded(e, program, diag);
  else
    run_stages(e, program);
  for (int r = 0; r < agenda->range_count; r++) note_rates(e, &agenda->ranges[r]);
  for (int l = 0; l < launches; l++) {
    e->seconds[l] = 0;
    for (int t = 0; t < threads; t++) e->seconds[l] += e->threads[t].seconds[l];
    // what all share takes a part of the time of each
    if (e->agendas[program].shared[l]) e->seconds[l] /= threads;
  }
  return good;
}

// ---- the interpreters ----

static bool run_kernels(CellEngine *e, int program, CellDiag *diag) {
  const CellPlanProgram *p = &e->plan->programs[program];
  // what is read before it is written shows as NaN
  for (int i = 0; i < e->slot_count; i++)
    if (e->slots[i].kind == CELL_BUFFER_TEMP && e->slots[i].program == program)
      for (int64_t j = 0; j < e->slots[i].entries; j++)
        ((double *)e->slots[i].data)[j] = e->slots[i].dtype == CELL_F ? (double)NAN : 0;

  for (int l = 0; l < p->launch_count; l++) {
    const CellKernel *k = e->plan->kernels[p->launches[l].kernel];
    CellInterpBuffer *args = cell_malloc(((size_t)k->arg_count + 1) * sizeof *args);
    for (int a = 0; a < k->arg_count; a++) {
      const CellSlot *slot = &e->slots[p->launches[l].buffers[a]];
      args[a] = (CellInterpBuffer){slot->data, slot->entries, slot->bit_row};
    }
    char message[256];
    double before = now();
    bool good =
        cell_interp_kernel(k, args, (CellPrecision)e->options.precision, message, sizeof message);
    e->seconds[l] = now() - before;
    free(args);
    if (!good) {
      cell_error(diag, NULL, k->span, "%s", message);
      return false;
    }
  }
  return true;
}

static bool run_graph(CellEngine *e, int program, CellDiag *diag) {
  const CellGraph *g = e->m->programs[program];
  CellArena *arena = cell_arena_create();
  CellTensor *inputs = CELL_NEW_ARRAY(arena, CellTensor, (size_t)e->slot_count + 1);
  CellTensor *outputs = CELL_NEW_ARRAY(arena, CellTensor, (size_t)g->output_count + 1);
  int count = 0;
  for (int i = 0; i < e->slot_count; i++)
    if (e->slots[i].program < 0 || e->slots[i].program == program)
      inputs[count++] =
          (CellTensor){e->slots[i].name, (double *)e->slots[i].data, e->slots[i].entries};

  // results are arrays of their own, so states may change one after the other
  bool good = cell_eval(g, inputs, count, outputs, arena, diag);
  for (int i = 0; i < g->output_count && good; i++) {
    CellSlot *slot = cell_engine_slot(e, g->name, g->outputs[i].name);
    CELL_ASSERT(slot && slot->entries == outputs[i].count);
    memcpy(slot->data, outputs[i].data, (size_t)slot->entries * sizeof(double));
  }
  cell_arena_destroy(arena);
  return good;
}

// ---- the engine ----

CellEngine *cell_engine_create(const CellModule *m, const CellPlan *plan, CellBackend backend,
                               const CellEngineOptions *options, CellDiag *diag) {
  CellArena *arena = cell_arena_create();
  CellEngine *e = CELL_NEW(arena, CellEngine);
  e->arena = arena;
  e->m = m, e->plan = plan, e->backend = backend;
  if (options) e->options = *options;
  if (e->options.threads <= 0) e->options.threads = omp_get_num_procs();
  if (e->options.isa == CELL_ISA_HOST) e->options.isa = cell_isa_host();
  CELL_ASSERT(plan || backend == CELL_BACKEND_INTERP);

  bool good;
  if (backend == CELL_BACKEND_INTERP) {
    slots_of_graphs(e);
    good = place_wide(e, diag);
  } else {
    slots_of_plan(e);
    int most = 0;
    for (int p = 0; p < plan->program_count; p++)
      if (plan->programs[p].launch_count > most) most = plan->programs[p].launch_count;
    e->seconds = CELL_NEW_ARRAY(arena, double, (size_t)most + 1);
    if (backend == CELL_BACKEND_INTERP_KERNELS) {
      good = place_wide(e, diag);
    } else if (backend == CELL_BACKEND_CUDA) {
      // untouched pages of the block cost nothing: only states have a copy on the host
      good = map_block(e, plan->arena_bytes, diag);
      if (good) fill_constants(e);
      good = good && cell_gpu_open(e, diag);
    } else if (!cell_isa_runs(e->options.isa)) {
      cell_error(diag, CELL_E_ISA, CELL_NOWHERE, "this machine has not the vectors asked for");
      good = false;
    } else {
      good = place_in_arena(e, diag) && open_cpu(e, diag);
    }
  }
  if (good) return e;
  cell_engine_destroy(e);
  return NULL;
}

void cell_engine_destroy(CellEngine *e) {
  if (!e) return;
  if (e->gpu) cell_gpu_close(e);
  if (e->jit) e->provider->destroy(e->jit);
  if (e->scratch)
    for (int t = 0; t < e->options.threads; t++)
      cell_unmap(e->scratch[t], (size_t)(e->scratch_bytes + 2 * scratch_guard(e)));
  cell_unmap(e->block, e->block_bytes);
  cell_arena_destroy(e->arena);
}

bool cell_engine_run(CellEngine *e, const char *program, CellDiag *diag) {
  e->touched = true;
  int count = e->backend == CELL_BACKEND_INTERP ? e->m->program_count : e->plan->program_count;
  for (int p = 0; p < count; p++) {
    const char *name =
        e->backend == CELL_BACKEND_INTERP ? e->m->programs[p]->name : e->plan->programs[p].name;
    if (strcmp(name, program) != 0) continue;
    e->seconds_count =
        e->plan && e->backend != CELL_BACKEND_INTERP && e->backend != CELL_BACKEND_CUDA
            ? e->plan->programs[p].launch_count
            : 0;
    switch (e->backend) {
    case CELL_BACKEND_INTERP: return run_graph(e, p, diag);
    case CELL_BACKEND_INTERP_KERNELS: return run_kernels(e, p, diag);
    case CELL_BACKEND_CPU: return run_cpu(e, p, diag);
    case CELL_BACKEND_CUDA: return cell_gpu_run(e, p, diag);
    }
  }
  cell_error(diag, NULL, CELL_NOWHERE, "no program \"%s\"", program);
  return false;
}

bool cell_engine_lost(const CellEngine *e) {
  return e->gpu && cell_gpu_lost(e);
}

int cell_engine_times(const CellEngine *e, const double **seconds) {
  *seconds = e->seconds;
  return e->seconds_count;
}

bool cell_emit(const CellPlan *plan, const char *stage, const CellEngineOptions *options,
               CellText *out, CellDiag *diag) {
  if (options && options->gpu && strcmp(stage, "llvm") != 0 && strcmp(stage, "asm") != 0)
    return cell_cuda_emit(plan, stage, options, out, diag);
  char message[1024] = "";
  const CellProvider *provider = cell_load_provider(message, sizeof message);
  if (!provider) {
    cell_error(diag, CELL_E_PROVIDER, CELL_NOWHERE, "%s", message);
    return false;
  }
  CellIsa isa = options && options->isa != CELL_ISA_HOST ? options->isa : cell_isa_host();
  if (provider->emit(plan->kernels, plan->kernel_count, isa, stage, out, message, sizeof message))
    return true;
  cell_error(diag, CELL_E_COMPILE, CELL_NOWHERE, "%s", message);
  return false;
}
