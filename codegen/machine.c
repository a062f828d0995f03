/* machine.c - what this machine can do, measured by generated loops. */
#include "codegen/machine.h"

#include "codegen/flush.h"
#include "codegen/internal.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  LENGTH = 2048, /* floats that the arithmetic loop runs over: they stay in the first-level cache */
  CHAINS = 2,
  STEPS = 16,     /* multiplications in a chain; short enough that several rows overlap */
  CHUNK = 1 << 16 /* floats of a task of the copy */
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- kernels ----

static CellKernel *make_kernel(CellArena *arena, const char *name, int arg_count) {
  CellKernel *k = CELL_NEW(arena, CellKernel);
  k->arena = arena, k->name = name, k->arg_count = arg_count, k->tasks = 1, k->var_count = 1;
  k->args = CELL_NEW_ARRAY(arena, CellDtype, (size_t)arg_count);
  k->written = CELL_NEW_ARRAY(arena, bool, (size_t)arg_count);
  for (int i = 0; i < arg_count; i++) k->args[i] = CELL_F;
  k->written[arg_count - 1] = true;
  return k;
}

static int add_constant(CellKernel *k, CellStmt ***tail, double number) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_CONST);
  s->number = number;
  return s->value;
}

static CellStmt *add_lanes(CellKernel *k, CellStmt ***tail, int64_t extent) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LOOP);
  s->loop = CELL_LOOP_LANES, s->extent = extent;
  return s;
}

static int add_load(CellKernel *k, CellStmt ***tail, int arg, CellAffine index) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LOAD);
  s->buffer.index = arg, s->index = index;
  return s->value;
}

static int add_let(CellKernel *k, CellStmt ***tail, CellOp op, int a, int b, int c) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_LET);
  s->op = op, s->args[0] = a, s->args[1] = b, s->args[2] = c;
  return s->value;
}

static void add_store(CellKernel *k, CellStmt ***tail, int arg, CellAffine index, int value) {
  CellStmt *s = cell_stmt(k, tail, CELL_K_STORE);
  s->buffer.index = arg, s->index = index, s->args[0] = value;
}

/* out[i] = x[i] c d c d ... times x[i] d c d c ...: multiplications only, which no compiler may reorder.
 * They are issued as fused multiply-adds are, and need no third operand. */
static CellKernel *arithmetic_kernel(CellArena *arena) {
  CellKernel *k = make_kernel(arena, "arithmetic", 2);
  CellStmt **tail = &k->body;
  int factors[2] = {add_constant(k, &tail, 1.0009765625), add_constant(k, &tail, 0.9990234375)};
  CellStmt *loop = add_lanes(k, &tail, LENGTH);
  CellStmt **body = &loop->body;
  CellAffine at = cell_affine_var(loop->var, 1);
  int x = add_load(k, &body, 0, at), chain[CHAINS];
  for (int c = 0; c < CHAINS; c++) {
    chain[c] = x;
    for (int i = 0; i < STEPS; i++)
      chain[c] = add_let(k, &body, CELL_OP_MUL, chain[c], factors[(i + c) % 2], -1);
  }
  add_store(k, &body, 1, at, add_let(k, &body, CELL_OP_MUL, chain[0], chain[1], -1));
  return k;
}

static double arithmetic_instructions(int lanes) {
  return (double)LENGTH / lanes * (CHAINS * STEPS + 1);
}

static CellKernel *copy_kernel(CellArena *arena) {
  CellKernel *k = make_kernel(arena, "copy", 2);
  k->tasks = CELL_MACHINE_COPY_BYTES / 4 / CHUNK;
  CellStmt **tail = &k->body;
  CellStmt *loop = add_lanes(k, &tail, CHUNK);
  CellStmt **body = &loop->body;
  CellAffine at = cell_affine_add(cell_affine_var(0, CHUNK), cell_affine_var(loop->var, 1));
  add_store(k, &body, 1, at, add_load(k, &body, 0, at));
  return k;
}

// every element read, changed and written back: what goes to memory is what was read
static CellKernel *stream_kernel(CellArena *arena) {
  CellKernel *k = make_kernel(arena, "stream", 1);
  k->tasks = CELL_MACHINE_COPY_BYTES / 4 / CHUNK;
  CellStmt **tail = &k->body;
  int factor = add_constant(k, &tail, 1.0009765625);
  CellStmt *loop = add_lanes(k, &tail, CHUNK);
  CellStmt **body = &loop->body;
  CellAffine at = cell_affine_add(cell_affine_var(0, CHUNK), cell_affine_var(loop->var, 1));
  int x = add_load(k, &body, 0, at);
  add_store(k, &body, 0, at, add_let(k, &body, CELL_OP_MUL, x, factor, -1));
  return k;
}

// one op, 64 vectors long
static CellKernel *op_kernel(CellArena *arena, CellOp op, int lanes) {
  int arity = cell_op_info[op].arity;
  CellKernel *k = make_kernel(arena, cell_op_info[op].name, arity + 1);
  CellStmt **tail = &k->body;
  CellStmt *loop = add_lanes(k, &tail, (int64_t)64 * lanes);
  CellStmt **body = &loop->body;
  CellAffine at = cell_affine_var(loop->var, 1);
  int args[3] = {-1, -1, -1};
  for (int i = 0; i < arity; i++) args[i] = add_load(k, &body, i, at);
  add_store(k, &body, arity, at, add_let(k, &body, op, args[0], args[1], args[2]));
  return k;
}

// ---- running them ----

typedef struct {
  const CellProvider *provider;
  CellArena *arena;
  CellKernel *kernel;
  CellJit *jit;
  CellKernelFunction function;
} Loop;

static bool loop_open(Loop *l, CellKernel *(*make)(CellArena *arena), CellIsa isa, char *message,
                      size_t size) {
  *l = (Loop){.provider = cell_load_provider(message, size)};
  if (!l->provider) return false;
  l->arena = cell_arena_create();
  l->kernel = make(l->arena);
  int64_t scratch;
  l->jit = l->provider->compile(&l->kernel, 1, isa, NULL, &l->function, &scratch, message, size);
  if (l->jit) return true;
  cell_arena_destroy(l->arena);
  return false;
}

static void loop_close(Loop *l) {
  l->provider->destroy(l->jit);
  cell_arena_destroy(l->arena);
}

/* the fastest: what is measured is a limit, and another program on the machine only hides it */
enum { REPEATS = 15 };

static double least(const double *times) {
  double best = times[0];
  for (int i = 1; i < REPEATS; i++) best = fmin(best, times[i]);
  return best;
}

static float *floats(size_t count) {
  float *p = NULL;
  if (posix_memalign((void **)&p, 64, count * sizeof *p) != 0) return NULL;
  for (size_t i = 0; i < count; i++) p[i] = 1 + (float)(i % 7) / 8;
  return p;
}

// instructions a second of all threads together
static double measure_arithmetic(const Loop *l, int threads, int lanes) {
  enum { CALLS = 1000 };
  double times[REPEATS];
  float *room = floats((size_t)threads * 2 * LENGTH);
  if (!room) return 0;
  for (int r = -1; r < REPEATS; r++) {
    double before = now();
#pragma omp parallel num_threads(threads)
    {
      float *mine = room + (size_t)omp_get_thread_num() * 2 * LENGTH;
      void *buffers[2] = {mine, mine + LENGTH};
      for (int i = 0; i < CALLS; i++) l->function(buffers, 0, 1, NULL);
    }
    if (r >= 0) times[r] = now() - before;
  }
  free(room);
  return CALLS * threads * arithmetic_instructions(lanes) / least(times);
}

// seconds of a kernel over one or two large arrays; -1 without memory for them
static double measure_memory(const Loop *l, int threads) {
  double times[REPEATS];
  size_t count = CELL_MACHINE_COPY_BYTES / sizeof(float);
  float *from = floats(count), *to = floats(count);
  void *buffers[2] = {from, to};
  int64_t tasks = l->kernel->tasks;
  for (int r = -1; from && to && r < REPEATS; r++) {
    double before = now();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < tasks; task++) l->function(buffers, task, task + 1, NULL);
    if (r >= 0) times[r] = now() - before;
  }
  bool measured = from && to;
  free(from);
  free(to);
  return measured ? least(times) : -1;
}

static double memory_seconds(CellKernel *(*make)(CellArena *arena), CellIsa isa, int threads,
                             char *message, size_t size) {
  Loop l;
  if (!loop_open(&l, make, isa, message, size)) return -1;
  double seconds = measure_memory(&l, threads);
  loop_close(&l);
  if (seconds < 0)
    snprintf(message, size, "no memory for arrays of %d MiB", CELL_MACHINE_COPY_BYTES >> 20);
  return seconds;
}

double cell_machine_copy_seconds(CellIsa isa, int threads, char *message, size_t size) {
  return memory_seconds(copy_kernel, isa, threads, message, size);
}

bool cell_machine_measure(CellIsa isa, int threads, CellMachine *machine, char *message,
                          size_t size) {
  Loop l;
  if (!loop_open(&l, arithmetic_kernel, isa, message, size)) return false;
  machine->instructions = measure_arithmetic(&l, threads, cell_target(isa).lanes);
  loop_close(&l);
  double seconds = memory_seconds(stream_kernel, isa, threads, message, size);
  machine->bytes = 2.0 * CELL_MACHINE_COPY_BYTES / seconds;
  return seconds > 0 && machine->instructions > 0;
}

// ---- instructions of an op ----

#if defined(__x86_64__)

typedef struct {
  int arithmetic, stores;
} Tally;

static bool begins(const char *text, const char *with) {
  return strncmp(text, with, strlen(with)) == 0;
}

// adds one line of AT&T assembly: what works on vector registers, but for loads, stores and moves
static void tally_line(Tally *t, const char *line) {
  line += strspn(line, " \t");
  size_t end = strcspn(line, "\n");
  const char *reg = strstr(line, "mm");
  if (!reg || reg > line + end || !strchr("xyz", reg[-1])) return;
  const char *op = line + (*line == 'v');
  bool memory = memchr(line, '(', end) != NULL;
  // the last operand is where the result goes; what is spilled to the stack is no result
  bool to_memory = line[end - 1] == ')' && !(end > 6 && begins(line + end - 6, "(%rsp)"));
  if (begins(op, "mov") || (begins(op, "broadcast") && memory) || begins(op, "zero"))
    t->stores += to_memory;
  else
    t->arithmetic++;
}

// the innermost loop with the most stores: from a label to a jump back to it
static Tally busiest_loop(const char *text) {
  Tally best = {0};
  for (const char *label = text; label && *label; label = strchr(label, '\n')) {
    if (*label == '\n') label++;
    size_t length = strcspn(label, ":\n");
    if (!begins(label, ".L") || label[length] != ':') continue;
    Tally t = {0};
    for (const char *line = strchr(label, '\n'); line; line = strchr(line, '\n')) {
      line++;
      // another label inside: this is no innermost loop
      if (begins(line, ".L")) break;
      const char *word = line + strspn(line, " \t");
      const char *target = *word == 'j' ? strstr(word, ".L") : NULL;
      if (target && (size_t)(strchr(word, '\n') - target) >= length &&
          strncmp(target, label, length) == 0) {
        if (t.stores > best.stores) best = t;
        break;
      }
      tally_line(&t, line);
    }
  }
  return best;
}

static bool op_cost(const CellProvider *provider, CellIsa isa, CellOp op, int lanes, double *cost,
                    char *message, size_t size) {
  CellArena *arena = cell_arena_create();
  CellKernel *k = op_kernel(arena, op, lanes);
  CellText text = {0};
  bool good = provider->emit(&k, 1, isa, "asm", &text, message, size);
  Tally t = good ? busiest_loop(text.data) : (Tally){0};
  // a loop that was not understood: what ops.def says
  *cost = t.stores > 0 ? (double)t.arithmetic / t.stores : cell_op_info[op].flops;
  cell_text_free(&text);
  cell_arena_destroy(arena);
  return good;
}

#else

static bool op_cost(const CellProvider *provider, CellIsa isa, CellOp op, int lanes, double *cost,
                    char *message, size_t size) {
  (void)provider, (void)isa, (void)lanes, (void)message, (void)size;
  *cost = cell_op_info[op].flops;
  return true;
}

#endif

static void mark_ops(const CellStmt *s, bool *used) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LET && s->dtype == CELL_F) used[s->op] = true;
    if (s->kind == CELL_K_LOOP) mark_ops(s->body, used);
  }
}

bool cell_machine_costs(CellIsa isa, const CellPlan *plan, CellCosts *costs, char *message,
                        size_t size) {
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  bool used[CELL_OP_COUNT] = {false}, good = true;
  const CellProvider *provider = cell_load_provider(message, size);
  if (!provider) return false;
  costs->lanes = cell_target(isa).lanes;
  for (int k = 0; k < plan->kernel_count; k++) mark_ops(plan->kernels[k]->body, used);
  for (int op = 0; op < CELL_OP_COUNT && good; op++) {
    costs->op[op] = cell_op_info[op].flops;
    // an index as a float takes one conversion
    if (op == CELL_OP_FLOAT)
      costs->op[op] = 1;
    else if (used[op] && cell_op_info[op].scalar)
      good = op_cost(provider, isa, (CellOp)op, costs->lanes, &costs->op[op], message, size);
  }
  return good;
}
