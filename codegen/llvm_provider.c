/* llvm_provider.c - the module's entry: kernels -> objects -> code.
 *
 * Each kernel gets a module in a context of its own, so that all cores can compile; it is optimised
 * by a short list of passes, made an object in memory, kept in the cache, and linked by one LLJIT.
 * Kernels whose text is equal but for the name are compiled once. The symbol is the key of the
 * cache, so an object serves every kernel with its text. */
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
  // half of the time of code generation, for address arithmetic that the loops do not need
  static const char *const options[] = {"cellc", "-disable-lsr"};
  LLVMParseCommandLineOptions(2, options, NULL);
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

static LLVMTargetMachineRef machine_of(CellIsa isa, char *message, size_t size) {
  char *triple = LLVMGetDefaultTargetTriple(), *error = NULL;
  LLVMTargetRef target;
  LLVMTargetMachineRef machine = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &error)) {
    snprintf(message, size, "no code generator for %s: %s", triple, error);
    LLVMDisposeMessage(error);
  } else {
    machine = LLVMCreateTargetMachine(target, triple, "", features_of(isa), LLVMCodeGenLevelDefault,
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

// what one module is made from: a piece, or a kernel's entry
typedef struct {
  const CellKernel *k; /* NULL: a piece */
  const CellSplit *split;
  const CellPieces *pieces;
  int piece;
  CellKey key;
} Source;

static const char *name_of(const Source *source) {
  return source->k ? source->k->name : "piece";
}

// the optimised module; scratch_bytes: what its contractions need
static LLVMModuleRef build_module(CellArena *arena, LLVMContextRef context, const Source *source,
                                  CellIsa isa, const char *symbol, LLVMTargetMachineRef machine,
                                  int64_t *scratch_bytes, char *message, size_t size) {
  CellBuild g = {.isa = isa, .lanes = lanes_of(isa), .context = context, .arena = arena};
  g.module = LLVMModuleCreateWithNameInContext(symbol, context);
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
  if (source->k)
    cell_ll_kernel(&g, source->k, source->split, source->pieces, symbol);
  else
    cell_ll_piece(&g, &source->pieces->pieces[source->piece], symbol);
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
    snprintf(message, size, "kernel \"%s\": %s", name_of(source), error);
    LLVMDisposeMessage(error);
    LLVMDisposeModule(g.module);
    return NULL;
  }
  LLVMDisposeMessage(error);

  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef failure = LLVMRunPasses(g.module, passes, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (failure) {
    char *text = LLVMGetErrorMessage(failure); // frees the error
    snprintf(message, size, "kernel \"%s\": %s", name_of(source), text);
    LLVMDisposeErrorMessage(text);
    LLVMDisposeModule(g.module);
    return NULL;
  }
  return g.module;
}

// what all code depends on but the text of a kernel
static CellKey key_seed(CellIsa isa) {
  CellText text = {0};
  cell_text_printf(&text, "%s %s %s %d\n", CELL_GENERATOR, CELL_LLVM_VERSION,
                   features_of(instructions_of(isa)), lanes_of(isa));
  CellKey key = cell_key((CellKey){{17, 29}}, text.data, text.length);
  cell_text_free(&text);
  return key;
}

// of a kernel's entry: its text and the pieces that it calls
static CellKey kernel_key(const CellKernel *k, const CellSplit *split, const CellPieces *pieces,
                          CellKey seed) {
  CellText text = {0};
  CellKernel copy = *k;
  copy.name = "kernel";
  cell_kernel_print(&copy, &text);
  CellKey key = cell_key(seed, text.data, text.length);
  cell_text_free(&text);
  for (int i = 0; i < split->call_count; i++)
    key = cell_key(key, &pieces->pieces[split->calls[i].piece].key, sizeof key);
  return key;
}

// ---- compiling all ----

typedef struct {
  Source source;
  int same;     /* an earlier job with the same code, or -1 */
  void *object; /* as cached: 8 bytes of scratch, then the object file */
  size_t length;
  char message[512];
} Job;

static int64_t job_scratch(const Job *jobs, int i) {
  int64_t scratch;
  memcpy(&scratch, jobs[jobs[i].same >= 0 ? jobs[i].same : i].object, sizeof scratch);
  return scratch;
}

static void compile_job(Job *job, CellIsa isa, LLVMTargetMachineRef machine, const char *folder) {
  const char *name = name_of(&job->source);
  snprintf(job->message, sizeof job->message, "kernel \"%s\" did not compile", name);
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  char symbol[CELL_SYMBOL_SIZE];
  cell_ll_symbol(job->source.key, symbol);
  int64_t scratch = 0;
  LLVMModuleRef module = build_module(arena, context, &job->source, isa, symbol, machine, &scratch,
                                      job->message, sizeof job->message);
  LLVMMemoryBufferRef buffer = NULL;
  char *error = NULL;
  if (module &&
      LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &error, &buffer)) {
    snprintf(job->message, sizeof job->message, "kernel \"%s\": %s", name, error);
    LLVMDisposeMessage(error);
  }
  if (buffer) {
    size_t length = LLVMGetBufferSize(buffer);
    job->length = length + sizeof scratch;
    job->object = cell_malloc(job->length);
    memcpy(job->object, &scratch, sizeof scratch);
    memcpy((char *)job->object + sizeof scratch, LLVMGetBufferStart(buffer), length);
    LLVMDisposeMemoryBuffer(buffer);
    cell_cache_write(folder, job->source.key, job->object, job->length);
  }
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  cell_arena_destroy(arena);
}

// takes jobs one after the other; a thread makes its target machine when it first needs one
static void compile_jobs(Job *jobs, int count, int *next, CellIsa isa, const char *folder) {
  LLVMTargetMachineRef machine = NULL;
  for (;;) {
    int i;
#pragma omp atomic capture
    i = (*next)++;
    if (i >= count) break;
    Job *job = &jobs[i];
    if (job->same >= 0) continue;
    job->object = cell_cache_read(folder, job->source.key, &job->length);
    if (job->object && job->length > sizeof(int64_t)) continue;
    free(job->object);
    job->object = NULL;
    if (!machine) machine = machine_of(instructions_of(isa), job->message, sizeof job->message);
    if (machine) compile_job(job, isa, machine, folder);
  }
  if (machine) LLVMDisposeTargetMachine(machine);
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

static bool add_objects(CellJit *jit, const Job *jobs, int count, char *message, size_t size) {
  LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->jit);
  for (int i = 0; i < count; i++) {
    if (jobs[i].same >= 0) continue;
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
        (char *)jobs[i].object + sizeof(int64_t), jobs[i].length - sizeof(int64_t), "kernel");
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
static void write_perf_map(CellJit *jit, const Job *jobs, int kernel_count, int job_count) {
  if (!getenv("CELLC_PERF")) return;
  char path[64], message[128];
  snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
  FILE *file = fopen(path, "w");
  if (!file) return;
  for (int i = 0; i < job_count; i++) {
    const Job *job = &jobs[i];
    CellKernelFunction function;
    if (job->same >= 0 || !look_up(jit, job->source.key, &function, message, sizeof message))
      continue;
    void *address;
    memcpy(&address, &function, sizeof address);
    fprintf(file, "%llx %llx ", (unsigned long long)(uintptr_t)address,
            (unsigned long long)job->length);
    const CellStmt *first = NULL;
    for (int k = 0; k < kernel_count && !job->source.k && !first; k++)
      for (int j = 0; j < jobs[k].source.split->call_count && !first; j++)
        if (jobs[k].source.split->calls[j].piece == job->source.piece) {
          first = jobs[k].source.split->calls[j].stmt;
          fprintf(file, "%s:", jobs[k].source.k->name);
        }
    if (!first)
      fprintf(file, "%s\n", name_of(&job->source));
    else if (first->kind == CELL_K_CONTRACT)
      fprintf(file, "%d contract %lld %lld %lld\n", job->source.piece, (long long)first->m,
              (long long)first->n, (long long)first->k);
    else
      fprintf(file, "%d loop v%d\n", job->source.piece, first->var);
  }
  fclose(file);
}

// the jobs of all kernels and pieces: kernels first, then pieces
static Job *make_jobs(CellPieces *pieces, CellKernel *const *kernels, int count, CellIsa isa,
                      int *job_count) {
  CellKey seed = key_seed(isa);
  CellSplit **splits = CELL_NEW_ARRAY(pieces->arena, CellSplit *, (size_t)count + 1);
  for (int i = 0; i < count; i++) splits[i] = cell_split(pieces, kernels[i], seed);
  Job *jobs = cell_malloc(((size_t)(count + pieces->count) + 1) * sizeof *jobs);
  for (int i = 0; i < count + pieces->count; i++) {
    Source *source = &jobs[i].source;
    source->pieces = pieces;
    source->piece = i - count;
    jobs[i].same = -1;
    if (i >= count) {
      source->key = pieces->pieces[i - count].key;
      continue;
    }
    source->k = kernels[i];
    source->split = splits[i];
    source->key = kernel_key(kernels[i], splits[i], pieces, seed);
    for (int j = 0; j < i && jobs[i].same < 0; j++)
      if (memcmp(&jobs[j].source.key, &source->key, sizeof(CellKey)) == 0) jobs[i].same = j;
  }
  *job_count = count + pieces->count;
  return jobs;
}

static CellJit *compile(CellKernel *const *kernels, int count, CellIsa isa, const char *cache_dir,
                        CellKernelFunction *functions, int64_t *scratch_bytes, char *message,
                        size_t size) {
  initialize_once();
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  CellPieces pieces = {.arena = cell_arena_create()};
  int job_count, next = 0;
  Job *jobs = make_jobs(&pieces, kernels, count, isa, &job_count);
#pragma omp parallel
  compile_jobs(jobs, job_count, &next, isa, cache_dir);

  CellJit *jit = cell_malloc(sizeof *jit);
  bool good = true;
  for (int i = 0; i < job_count && good; i++)
    if (jobs[i].same < 0 && !jobs[i].object) {
      snprintf(message, size, "%s", jobs[i].message);
      good = false;
    }
  good = good && !failed(LLVMOrcCreateLLJIT(&jit->jit, NULL), message, size);
  good = good && add_objects(jit, jobs, job_count, message, size);
  for (int i = 0; i < count && good; i++) {
    good = look_up(jit, jobs[i].source.key, &functions[i], message, size);
    // scratch beyond the kernel's: of its neediest piece
    int64_t extra = 0;
    const CellSplit *split = jobs[i].source.split;
    for (int j = 0; j < split->call_count && good; j++) {
      int64_t needed = job_scratch(jobs, count + split->calls[j].piece);
      if (needed > extra) extra = needed;
    }
    if (good) scratch_bytes[i] = (kernels[i]->scratch_bytes + 63) / 64 * 64 + extra;
  }
  if (good) write_perf_map(jit, jobs, count, job_count);
  for (int i = 0; i < job_count; i++) free(jobs[i].object);
  free(jobs);
  cell_arena_destroy(pieces.arena);
  if (good) return jit;
  destroy(jit);
  return NULL;
}

// ---- text ----

static bool emit_source(const Source *source, CellIsa isa, LLVMTargetMachineRef machine,
                        bool assembly, CellText *out, char *message, size_t size) {
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  int64_t scratch;
  char symbol[CELL_SYMBOL_SIZE];
  cell_ll_symbol(source->key, symbol);
  LLVMModuleRef module =
      build_module(arena, context, source, isa, symbol, machine, &scratch, message, size);
  bool good = module != NULL;
  cell_text_printf(out, "%s %s\n", assembly ? "#" : ";", source->k ? "kernel" : "piece");
  if (source->k) cell_text_printf(out, "%s %s\n", assembly ? "#" : ";", source->k->name);
  if (module && !assembly) {
    char *text = LLVMPrintModuleToString(module);
    cell_text_printf(out, "%s\n", text);
    LLVMDisposeMessage(text);
  } else if (module) {
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &error, &buffer)) {
      snprintf(message, size, "kernel \"%s\": %s", name_of(source), error);
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
  LLVMTargetMachineRef machine = machine_of(isa, message, size);
  if (!machine) return false;
  CellPieces pieces = {.arena = cell_arena_create()};
  int job_count;
  Job *jobs = make_jobs(&pieces, kernels, count, isa, &job_count);
  bool good = true;
  for (int i = 0; i < job_count && good; i++)
    if (jobs[i].same < 0)
      good = emit_source(&jobs[i].source, isa, machine, assembly, out, message, size);
  free(jobs);
  cell_arena_destroy(pieces.arena);
  LLVMDisposeTargetMachine(machine);
  return good;
}

__attribute__((visibility("default"))) const CellProvider *cell_provider(void);

const CellProvider *cell_provider(void) {
  static const CellProvider provider = {CELL_PROVIDER_VERSION, compile, destroy, emit};
  return &provider;
}
