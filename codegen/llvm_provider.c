/* llvm_provider.c - the module's entry: kernels -> objects -> code.
 *
 * What is compiled are the entries of kernels and the pieces that they call (llvm_split.c); what is equal
 * but for the name is compiled once. A few of them share a module in a context of its own, so that all
 * cores can compile and what a module costs is paid a few times; it is optimised by a short list of
 * passes, made an object in memory, kept in the cache, and linked by one LLJIT. Where a module ends
 * is decided by the keys of what is in it, so a change of one piece leaves the other modules as they are. */
#include "codegen/llvm_build.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char passes[] = "sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
                             "loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,dce";

static const char *features_of(CellIsa isa) {
  switch (isa) {
  case CELL_ISA_AVX512:
    return "+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe,+avx512f,+avx512cd,"
           "+avx512vl,+avx512dq,+avx512bw";
  case CELL_ISA_AVX2: return "+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe";
  default: return "";
  }
}

static int lanes_of(CellIsa isa) {
  return isa == CELL_ISA_AVX512 ? 16 : isa == CELL_ISA_AVX2 ? 8 : 1;
}

static void initialize(void) {
  // half of the time of code generation, for address arithmetic that the loops do not need; and a twenty-fifth, for
  // another order of instructions that come in a good one. The order that is chosen before registers are given out
  // would take several vectors' functions side by side, and spill
  static const char *const options[] = {"cellc", "-disable-lsr", "-enable-misched=false",
                                        "-pre-RA-sched=source"};
  LLVMParseCommandLineOptions(4, options, NULL);
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
}

static void initialize_once(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize);
}

// instructions for code that runs here: wide vectors may be emulated
static CellIsa instructions_of(CellIsa isa) {
  return isa < cell_isa_host() ? cell_isa_host() : isa;
}

// simple: one that compiles without care
static LLVMTargetMachineRef machine_of(CellIsa isa, bool simple, char *message, size_t size) {
  char *triple = LLVMGetDefaultTargetTriple(), *error = NULL;
  LLVMTargetRef target;
  LLVMTargetMachineRef machine = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &error)) {
    snprintf(message, size, "no code generator for %s: %s", triple, error);
    LLVMDisposeMessage(error);
  } else {
    machine = LLVMCreateTargetMachine(target, triple, "", features_of(isa),
                                      simple ? LLVMCodeGenLevelNone : LLVMCodeGenLevelDefault,
                                      LLVMRelocPIC, LLVMCodeModelJITDefault);
    if (!machine) snprintf(message, size, "no target machine for %s", triple);
  }
  LLVMDisposeMessage(triple);
  return machine;
}

// ---- one kernel ----

static void add_attribute(CellBuild *g, LLVMValueRef f, const char *key, const char *value) {
  LLVMAttributeRef a = LLVMCreateStringAttribute(g->context, key, (unsigned)strlen(key), value,
                                                 (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex, a);
}

// a function: a piece, or a kernel's entry
typedef struct {
  const CellKernel *k; /* NULL: a piece */
  const CellSplit *split;
  const CellPieces *pieces;
  int piece;
  CellKey key; /* its symbol */
  int weight;  /* about how long it takes to compile */
  bool simple; /* little but calls of pieces */
  int module;  /* -1: an earlier one is the same */
} Source;

// functions that are compiled together
typedef struct {
  const Source *const *sources;
  int count, weight;
  bool simple; /* all of them are: not optimised, and compiled without care */
  CellKey key;
  void *object; /* as cached: 8 bytes of scratch, then the object file */
  size_t length;
  char message[512];
} Module;

static const char *name_of(const Source *source) {
  return source->k ? source->k->name : "piece";
}

// its functions, optimised unless they are simple; scratch_bytes: what its contractions need
static LLVMModuleRef build_module(CellArena *arena, LLVMContextRef context, const Module *m,
                                  CellIsa isa, LLVMTargetMachineRef machine, int64_t *scratch_bytes,
                                  char *message, size_t size) {
  CellBuild g = {.isa = isa,
                 .instructions = instructions_of(isa),
                 .lanes = lanes_of(isa),
                 .context = context,
                 .arena = arena};
  const char *name = name_of(m->sources[0]);
  g.module = LLVMModuleCreateWithNameInContext(name, context);
  char *triple = LLVMGetTargetMachineTriple(machine);
  LLVMSetTarget(g.module, triple);
  LLVMDisposeMessage(triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(g.module, layout);
  LLVMDisposeTargetData(layout);

  g.b = LLVMCreateBuilderInContext(context);
  g.f32 = LLVMFloatTypeInContext(context);
  g.i1 = LLVMInt1TypeInContext(context);
  g.i32 = LLVMInt32TypeInContext(context);
  g.i64 = LLVMInt64TypeInContext(context);
  g.ptr = LLVMPointerTypeInContext(context, 0);
  g.none = LLVMVoidTypeInContext(context);
  g.vf = cell_ll_vector(&g, g.f32, g.lanes);
  g.vi = cell_ll_vector(&g, g.i32, g.lanes);
  g.vmask = cell_ll_vector(&g, g.i1, g.lanes);
  for (int i = 0; i < m->count; i++) {
    const Source *source = m->sources[i];
    char symbol[CELL_SYMBOL_SIZE];
    cell_ll_symbol(source->key, symbol);
    if (source->k)
      cell_ll_kernel(&g, source->k, source->split, source->pieces, symbol);
    else
      cell_ll_piece(&g, &source->pieces->pieces[source->piece], symbol);
  }
  LLVMDisposeBuilder(g.b);
  *scratch_bytes = g.extra_scratch;

  for (LLVMValueRef f = LLVMGetFirstFunction(g.module); f; f = LLVMGetNextFunction(f)) {
    if (LLVMCountBasicBlocks(f) == 0) continue;
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(context, nounwind, 0));
    add_attribute(&g, f, "prefer-vector-width", isa == CELL_ISA_AVX512 ? "512" : "256");
    add_attribute(&g, f, "min-legal-vector-width", isa == CELL_ISA_AVX512 ? "512" : "256");
    // no calls out of generated code: nothing is turned into one
    add_attribute(&g, f, "no-builtins", "");
  }

  char *error = NULL;
  if (LLVMVerifyModule(g.module, LLVMReturnStatusAction, &error)) {
    snprintf(message, size, "kernel \"%s\": %s", name, error);
    LLVMDisposeMessage(error);
    LLVMDisposeModule(g.module);
    return NULL;
  }
  LLVMDisposeMessage(error);
  if (m->simple) return g.module;

  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef failure = LLVMRunPasses(g.module, passes, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (failure) {
    char *text = LLVMGetErrorMessage(failure); // frees the error
    snprintf(message, size, "kernel \"%s\": %s", name, text);
    LLVMDisposeErrorMessage(text);
    LLVMDisposeModule(g.module);
    return NULL;
  }
  return g.module;
}

// what all code depends on but the kernel
static CellKey key_seed(CellIsa isa) {
  CellText text = {0};
  cell_text_printf(&text, "%s %s %s %d\n", CELL_GENERATOR, CELL_LLVM_VERSION,
                   features_of(instructions_of(isa)), lanes_of(isa));
  CellKey key = cell_key((CellKey){{17, 29}}, text.data, text.length);
  cell_text_free(&text);
  return key;
}

// of a kernel's entry: itself and the pieces that it calls
static CellKey kernel_key(const CellKernel *k, const CellSplit *split, const CellPieces *pieces,
                          CellKey seed) {
  CellKey key = cell_kernel_key(k, seed);
  for (int i = 0; i < split->call_count; i++)
    key = cell_key(key, &pieces->pieces[split->calls[i].piece].key, sizeof key);
  return key;
}

// ---- compiling all ----

typedef struct {
  Source *sources; /* the kernels' entries, then the pieces */
  int source_count;
  Module *modules;
  Module **order; /* the one that takes longest first */
  int module_count;
} Jobs;

static int64_t module_scratch(const Module *m) {
  int64_t scratch;
  memcpy(&scratch, m->object, sizeof scratch);
  return scratch;
}

static void compile_module(Module *m, CellIsa isa, LLVMTargetMachineRef machine,
                           const char *folder) {
  const char *name = name_of(m->sources[0]);
  snprintf(m->message, sizeof m->message, "kernel \"%s\" did not compile", name);
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  int64_t scratch = 0;
  LLVMModuleRef module =
      build_module(arena, context, m, isa, machine, &scratch, m->message, sizeof m->message);
  LLVMMemoryBufferRef buffer = NULL;
  char *error = NULL;
  if (module &&
      LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &error, &buffer)) {
    snprintf(m->message, sizeof m->message, "kernel \"%s\": %s", name, error);
    LLVMDisposeMessage(error);
  }
  if (buffer) {
    size_t length = LLVMGetBufferSize(buffer);
    m->length = length + sizeof scratch;
    m->object = cell_malloc(m->length);
    memcpy(m->object, &scratch, sizeof scratch);
    memcpy((char *)m->object + sizeof scratch, LLVMGetBufferStart(buffer), length);
    LLVMDisposeMemoryBuffer(buffer);
    cell_cache_write(folder, m->key, m->object, m->length);
  }
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  cell_arena_destroy(arena);
}

// takes modules one after the other; a thread makes a target machine when it first needs one
static void compile_modules(const Jobs *jobs, int *next, CellIsa isa, const char *folder) {
  LLVMTargetMachineRef machines[2] = {NULL, NULL};
  for (;;) {
    int i;
#pragma omp atomic capture
    i = (*next)++;
    if (i >= jobs->module_count) break;
    Module *m = jobs->order[i];
    m->object = cell_cache_read(folder, m->key, &m->length);
    if (m->object && m->length > sizeof(int64_t)) continue;
    free(m->object);
    m->object = NULL;
    LLVMTargetMachineRef *machine = &machines[m->simple];
    if (!*machine)
      *machine = machine_of(instructions_of(isa), m->simple, m->message, sizeof m->message);
    if (*machine) compile_module(m, isa, *machine, folder);
  }
  for (int i = 0; i < 2; i++)
    if (machines[i]) LLVMDisposeTargetMachine(machines[i]);
}

struct CellJit {
  LLVMOrcLLJITRef jit;
};

static void destroy(CellJit *jit) {
  if (!jit) return;
  if (jit->jit) {
    LLVMErrorRef error = LLVMOrcDisposeLLJIT(jit->jit);
    if (error) LLVMConsumeError(error);
  }
  free(jit);
}

// true if there was an error; its text goes to the message
static bool failed(LLVMErrorRef error, char *message, size_t size) {
  if (!error) return false;
  char *text = LLVMGetErrorMessage(error); // frees the error
  snprintf(message, size, "could not link a kernel: %s", text);
  LLVMDisposeErrorMessage(text);
  return true;
}

static bool add_objects(CellJit *jit, const Jobs *jobs, char *message, size_t size) {
  LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->jit);
  for (int i = 0; i < jobs->module_count; i++) {
    const Module *m = &jobs->modules[i];
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
        (char *)m->object + sizeof(int64_t), m->length - sizeof(int64_t), "kernel");
    // the buffer is LLJIT's from here, error or not
    if (failed(LLVMOrcLLJITAddObjectFile(jit->jit, library, buffer), message, size)) return false;
  }
  return true;
}

static bool look_up(CellJit *jit, CellKey key, CellKernelFunction *function, char *message,
                    size_t size) {
  char symbol[CELL_SYMBOL_SIZE];
  cell_ll_symbol(key, symbol);
  LLVMOrcExecutorAddress address = 0;
  if (failed(LLVMOrcLLJITLookup(jit->jit, &address, symbol), message, size)) return false;
  void *pointer = (void *)(uintptr_t)address;
  memcpy(function, &pointer, sizeof pointer);
  return true;
}

// with CELLC_PERF set: the addresses of all functions, in the file in which perf looks for them. A piece
// goes by the first kernel that calls it, its number, and what it begins with
static void write_perf_map(CellJit *jit, const Jobs *jobs, int kernel_count) {
  if (!getenv("CELLC_PERF")) return;
  enum { LONGEST = 1 << 20 };
  char path[64], message[128];
  snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
  static bool begun; // a process may compile more than once
  FILE *file = fopen(path, begun ? "a" : "w");
  begun = true;
  if (!file) return;
  uintptr_t *begin = cell_malloc(((size_t)jobs->source_count + 1) * sizeof *begin);
  for (int i = 0; i < jobs->source_count; i++) {
    CellKernelFunction function = NULL;
    if (jobs->sources[i].module >= 0 &&
        look_up(jit, jobs->sources[i].key, &function, message, sizeof message))
      memcpy(&begin[i], &function, sizeof begin[i]);
  }
  for (int i = 0; i < jobs->source_count; i++) {
    const Source *source = &jobs->sources[i];
    if (!begin[i]) continue;
    // up to the next function, with the module's own functions in between
    uintptr_t end = begin[i] + LONGEST;
    for (int j = 0; j < jobs->source_count; j++)
      if (begin[j] > begin[i] && begin[j] < end) end = begin[j];
    fprintf(file, "%llx %llx ", (unsigned long long)begin[i], (unsigned long long)(end - begin[i]));
    const CellStmt *first = NULL;
    for (int k = 0; k < kernel_count && !source->k && !first; k++)
      for (int c = 0; c < jobs->sources[k].split->call_count && !first; c++)
        if (jobs->sources[k].split->calls[c].piece == source->piece) {
          first = jobs->sources[k].split->calls[c].stmt;
          fprintf(file, "%s:", jobs->sources[k].k->name);
        }
    if (!first)
      fprintf(file, "%s\n", name_of(source));
    else if (first->kind == CELL_K_CONTRACT)
      fprintf(file, "%d contract %lld %lld %lld\n", source->piece, (long long)first->m,
              (long long)first->n, (long long)first->k);
    else
      fprintf(file, "%d loop v%d\n", source->piece, first->var);
  }
  free(begin);
  fclose(file);
}

// about how long a function takes to compile; split: NULL in a piece
static int weight(const CellSplit *split, const CellStmt *s) {
  int sum = 0;
  for (; s; s = s->next) {
    bool call = split && (s->kind == CELL_K_LOOP || s->kind == CELL_K_CONTRACT) &&
                cell_split_call(split, s);
    sum += call ? 1 : s->kind == CELL_K_CONTRACT ? 60 : 1 + weight(split, s->body);
  }
  return sum;
}

/* Whether an entry does little but call pieces, in loops or not: it may have hundreds of calls and would take longer
 * to compile with care than any piece. A number or two may be worked out around each call in a loop. */
static bool mostly_calls(const CellSplit *split, const CellStmt *s, bool in_loop) {
  enum { MOST_OPS = 6 }; // a call
  int calls = 0, ops = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LET) ops += cell_op_info[s->op].flops;
    if (s->kind != CELL_K_LOOP && s->kind != CELL_K_CONTRACT) continue;
    if (!cell_split_call(split, s) &&
        (s->kind == CELL_K_CONTRACT || !mostly_calls(split, s->body, true)))
      return false;
    calls++;
  }
  return calls > 0 && (!in_loop || ops <= MOST_OPS * calls);
}

static int heavier_first(const void *a, const void *b) {
  const Module *x = *(Module *const *)a, *y = *(Module *const *)b;
  if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
  return x < y ? -1 : x > y;
}

/* Puts the functions into modules, in order. A module ends behind a function whose key says so, or when it is
 * long; what is long by itself is alone. */
static void make_modules(Jobs *jobs, CellArena *arena) {
  enum { LONG = 1000 };
  const Source **order = CELL_NEW_ARRAY(arena, const Source *, (size_t)jobs->source_count + 1);
  jobs->modules = cell_malloc(((size_t)jobs->source_count + 1) * sizeof *jobs->modules);
  Module *m = NULL;
  int at = 0, sum = 0;
  for (int i = 0; i < jobs->source_count; i++) {
    Source *source = &jobs->sources[i];
    if (source->module < 0) continue;
    if (!m || sum + source->weight > LONG || m->simple != source->simple) {
      m = &jobs->modules[jobs->module_count++];
      *m = (Module){.sources = &order[at], .simple = source->simple, .key = {{61, 67}}};
      sum = 0;
    }
    order[at++] = source;
    source->module = jobs->module_count - 1;
    m->count++, m->weight += source->weight;
    m->key = cell_key(m->key, &source->key, sizeof source->key);
    sum += source->weight;
    if (source->key.words[0] % 16 == 0) sum = LONG + 1;
  }
  jobs->order = CELL_NEW_ARRAY(arena, Module *, (size_t)jobs->module_count + 1);
  for (int i = 0; i < jobs->module_count; i++) jobs->order[i] = &jobs->modules[i];
  qsort(jobs->order, (size_t)jobs->module_count, sizeof(Module *), heavier_first);
}

// the functions of all kernels, and in which modules they are
static void make_jobs(Jobs *jobs, CellPieces *pieces, CellKernel *const *kernels, int count,
                      CellIsa isa) {
  CellKey seed = key_seed(isa);
  CellSplit **splits = CELL_NEW_ARRAY(pieces->arena, CellSplit *, (size_t)count + 1);
  for (int i = 0; i < count; i++) splits[i] = cell_split(pieces, kernels[i], seed);
  jobs->source_count = count + pieces->count;
  jobs->sources = cell_malloc(((size_t)jobs->source_count + 1) * sizeof *jobs->sources);
  for (int i = 0; i < jobs->source_count; i++) {
    Source *source = &jobs->sources[i];
    source->pieces = pieces;
    source->piece = i - count;
    if (i >= count) {
      source->key = pieces->pieces[i - count].key;
      source->weight = weight(NULL, pieces->pieces[i - count].kernel.body);
      continue;
    }
    source->k = kernels[i];
    source->split = splits[i];
    source->key = kernel_key(kernels[i], splits[i], pieces, seed);
    source->weight = weight(splits[i], kernels[i]->body);
    source->simple = mostly_calls(splits[i], kernels[i]->body, false);
    for (int j = 0; j < i && source->module >= 0; j++)
      if (cell_key_equal(jobs->sources[j].key, source->key)) source->module = -1;
  }
  make_modules(jobs, pieces->arena);
}

static void free_jobs(Jobs *jobs) {
  for (int i = 0; i < jobs->module_count; i++) free(jobs->modules[i].object);
  free(jobs->modules);
  free(jobs->sources);
}

static CellJit *compile(CellKernel *const *kernels, int count, CellIsa isa, const char *cache_dir,
                        CellKernelFunction *functions, int64_t *scratch_bytes, char *message,
                        size_t size) {
  initialize_once();
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  CellPieces pieces = {.arena = cell_arena_create()};
  Jobs jobs = {0};
  int next = 0;
  make_jobs(&jobs, &pieces, kernels, count, isa);
#pragma omp parallel
  compile_modules(&jobs, &next, isa, cache_dir);

  CellJit *jit = cell_malloc(sizeof *jit);
  bool good = true;
  for (int i = 0; i < jobs.module_count && good; i++)
    if (!jobs.modules[i].object) {
      snprintf(message, size, "%s", jobs.modules[i].message);
      good = false;
    }
  good = good && !failed(LLVMOrcCreateLLJIT(&jit->jit, NULL), message, size);
  good = good && add_objects(jit, &jobs, message, size);
  for (int i = 0; i < count && good; i++) {
    good = look_up(jit, jobs.sources[i].key, &functions[i], message, size);
    // scratch beyond the kernel's: lists, and that of its neediest piece
    int64_t extra = 0;
    const CellSplit *split = jobs.sources[i].split;
    for (int j = 0; j < split->call_count && good; j++) {
      const Source *piece = &jobs.sources[count + split->calls[j].piece];
      int64_t needed = module_scratch(&jobs.modules[piece->module]);
      if (needed > extra) extra = needed;
    }
    extra += cell_ll_lists_bytes(kernels[i]);
    if (good) scratch_bytes[i] = (kernels[i]->scratch_bytes + 63) / 64 * 64 + extra;
  }
  if (good) write_perf_map(jit, &jobs, count);
  free_jobs(&jobs);
  cell_arena_destroy(pieces.arena);
  if (good) return jit;
  destroy(jit);
  return NULL;
}

// ---- text ----

static bool emit_module(const Module *m, CellIsa isa, LLVMTargetMachineRef machine, bool assembly,
                        CellText *out, char *message, size_t size) {
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  int64_t scratch;
  LLVMModuleRef module = build_module(arena, context, m, isa, machine, &scratch, message, size);
  bool good = module != NULL;
  for (int i = 0; i < m->count; i++) {
    char symbol[CELL_SYMBOL_SIZE];
    cell_ll_symbol(m->sources[i]->key, symbol);
    cell_text_printf(out, "%s %s %s\n", assembly ? "#" : ";", symbol, name_of(m->sources[i]));
  }
  if (module && !assembly) {
    char *text = LLVMPrintModuleToString(module);
    cell_text_printf(out, "%s\n", text);
    LLVMDisposeMessage(text);
  } else if (module) {
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &error, &buffer)) {
      snprintf(message, size, "kernel \"%s\": %s", name_of(m->sources[0]), error);
      LLVMDisposeMessage(error);
      good = false;
    } else {
      cell_text_append(out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
      LLVMDisposeMemoryBuffer(buffer);
    }
  }
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  cell_arena_destroy(arena);
  return good;
}

static bool emit(CellKernel *const *kernels, int count, CellIsa isa, const char *stage,
                 CellText *out, char *message, size_t size) {
  initialize_once();
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  bool assembly = strcmp(stage, "asm") == 0;
  if (!assembly && strcmp(stage, "llvm") != 0) {
    snprintf(message, size, "no stage \"%s\"", stage);
    return false;
  }
  CellPieces pieces = {.arena = cell_arena_create()};
  Jobs jobs = {0};
  make_jobs(&jobs, &pieces, kernels, count, isa);
  bool good = true;
  for (int i = 0; i < jobs.module_count && good; i++) {
    const Module *m = &jobs.modules[i];
    LLVMTargetMachineRef machine = machine_of(isa, m->simple, message, size);
    good = machine && emit_module(m, isa, machine, assembly, out, message, size);
    if (machine) LLVMDisposeTargetMachine(machine);
  }
  free_jobs(&jobs);
  cell_arena_destroy(pieces.arena);
  return good;
}

__attribute__((visibility("default"))) const CellProvider *cell_provider(void);
const CellProvider *cell_provider(void) {
  static const CellProvider provider = {CELL_PROVIDER_VERSION, compile, destroy, emit};
  return &provider;
}
