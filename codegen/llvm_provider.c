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

// the optimised module of a kernel; scratch_bytes: what a thread needs for it in all
static LLVMModuleRef build_module(CellArena *arena, LLVMContextRef context, const CellKernel *k,
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
  cell_ll_kernel(&g, k, symbol);
  LLVMDisposeBuilder(g.b);
  *scratch_bytes = (k->scratch_bytes + 63) / 64 * 64 + g.extra_scratch;

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
    snprintf(message, size, "kernel \"%s\": %s", k->name, error);
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
    snprintf(message, size, "kernel \"%s\": %s", k->name, text);
    LLVMDisposeErrorMessage(text);
    LLVMDisposeModule(g.module);
    return NULL;
  }
  return g.module;
}

static void kernel_text(const CellKernel *k, CellText *text) {
  CellKernel copy = *k;
  copy.name = "f";
  cell_kernel_print(&copy, text);
}

static CellKey kernel_key(const CellKernel *k, CellIsa isa) {
  CellText text = {0};
  cell_text_printf(&text, "%s %s %s %d\n", CELL_GENERATOR, CELL_LLVM_VERSION, features_of(isa),
                   lanes_of(isa));
  kernel_text(k, &text);
  CellKey key = cell_key((CellKey){{17, 29}}, text.data, text.length);
  cell_text_free(&text);
  return key;
}

static void symbol_of(CellKey key, char symbol[48]) {
  snprintf(symbol, 48, "cell_%016llx%016llx", (unsigned long long)key.words[0],
           (unsigned long long)key.words[1]);
}

// ---- compiling all ----

typedef struct {
  const CellKernel *k;
  CellKey key;
  int same;     /* an earlier kernel with the same code, or -1 */
  void *object; /* as cached: 8 bytes of scratch, then the object file */
  size_t length;
  char message[512];
} Job;

static void compile_job(Job *job, CellIsa isa, const char *folder) {
  job->object = cell_cache_read(folder, job->key, &job->length);
  if (job->object && job->length > sizeof(int64_t)) return;
  free(job->object);
  job->object = NULL;

  snprintf(job->message, sizeof job->message, "kernel \"%s\" did not compile", job->k->name);
  LLVMTargetMachineRef machine = machine_of(isa, job->message, sizeof job->message);
  if (!machine) return;
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  char symbol[48];
  symbol_of(job->key, symbol);
  int64_t scratch = 0;
  LLVMModuleRef module = build_module(arena, context, job->k, isa, symbol, machine, &scratch,
                                      job->message, sizeof job->message);
  LLVMMemoryBufferRef buffer = NULL;
  char *error = NULL;
  if (module &&
      LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &error, &buffer)) {
    snprintf(job->message, sizeof job->message, "kernel \"%s\": %s", job->k->name, error);
    LLVMDisposeMessage(error);
  }
  if (buffer) {
    size_t length = LLVMGetBufferSize(buffer);
    job->length = length + sizeof scratch;
    job->object = cell_malloc(job->length);
    memcpy(job->object, &scratch, sizeof scratch);
    memcpy((char *)job->object + sizeof scratch, LLVMGetBufferStart(buffer), length);
    LLVMDisposeMemoryBuffer(buffer);
    cell_cache_write(folder, job->key, job->object, job->length);
  }
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  LLVMDisposeTargetMachine(machine);
  cell_arena_destroy(arena);
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

static bool link_jobs(CellJit *jit, Job *jobs, int count, CellKernelFunction *functions,
                      int64_t *scratch_bytes, char *message, size_t size) {
  LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->jit);
  for (int i = 0; i < count; i++) {
    if (jobs[i].same >= 0) continue;
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
        (char *)jobs[i].object + sizeof(int64_t), jobs[i].length - sizeof(int64_t), "kernel");
    // the buffer is LLJIT's from here, error or not
    if (failed(LLVMOrcLLJITAddObjectFile(jit->jit, library, buffer), message, size)) return false;
  }
  for (int i = 0; i < count; i++) {
    char symbol[48];
    symbol_of(jobs[i].key, symbol);
    LLVMOrcExecutorAddress address = 0;
    if (failed(LLVMOrcLLJITLookup(jit->jit, &address, symbol), message, size)) return false;
    void *pointer = (void *)(uintptr_t)address;
    memcpy(&functions[i], &pointer, sizeof pointer);
    memcpy(&scratch_bytes[i], jobs[jobs[i].same >= 0 ? jobs[i].same : i].object, sizeof(int64_t));
  }
  return true;
}

static CellJit *compile(CellKernel *const *kernels, int count, CellIsa isa, const char *cache_dir,
                        CellKernelFunction *functions, int64_t *scratch_bytes, char *message,
                        size_t size) {
  initialize_once();
  if (isa == CELL_ISA_HOST) isa = cell_isa_host();
  Job *jobs = cell_malloc(((size_t)count + 1) * sizeof *jobs);
  for (int i = 0; i < count; i++) {
    jobs[i].k = kernels[i];
    jobs[i].key = kernel_key(kernels[i], isa);
    jobs[i].same = -1;
    for (int j = 0; j < i && jobs[i].same < 0; j++)
      if (memcmp(&jobs[j].key, &jobs[i].key, sizeof(CellKey)) == 0) jobs[i].same = j;
  }

#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < count; i++)
    if (jobs[i].same < 0) compile_job(&jobs[i], isa, cache_dir);

  CellJit *jit = cell_malloc(sizeof *jit);
  bool good = true;
  for (int i = 0; i < count && good; i++)
    if (jobs[i].same < 0 && !jobs[i].object) {
      snprintf(message, size, "%s", jobs[i].message);
      good = false;
    }
  good = good && !failed(LLVMOrcCreateLLJIT(&jit->jit, NULL), message, size);
  good = good && link_jobs(jit, jobs, count, functions, scratch_bytes, message, size);
  for (int i = 0; i < count; i++) free(jobs[i].object);
  free(jobs);
  if (good) return jit;
  destroy(jit);
  return NULL;
}

// ---- text ----

static bool emit_kernel(const CellKernel *k, CellIsa isa, bool assembly, CellText *out,
                        char *message, size_t size) {
  LLVMTargetMachineRef machine = machine_of(isa, message, size);
  if (!machine) return false;
  CellArena *arena = cell_arena_create();
  LLVMContextRef context = LLVMContextCreate();
  int64_t scratch;
  LLVMModuleRef module =
      build_module(arena, context, k, isa, k->name, machine, &scratch, message, size);
  bool good = module != NULL;
  if (module && !assembly) {
    char *text = LLVMPrintModuleToString(module);
    cell_text_printf(out, "; kernel %s\n%s\n", k->name, text);
    LLVMDisposeMessage(text);
  } else if (module) {
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &error, &buffer)) {
      snprintf(message, size, "kernel \"%s\": %s", k->name, error);
      LLVMDisposeMessage(error);
      good = false;
    } else {
      cell_text_printf(out, "# kernel %s\n", k->name);
      cell_text_append(out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
      LLVMDisposeMemoryBuffer(buffer);
    }
  }
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  LLVMDisposeTargetMachine(machine);
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
  for (int i = 0; i < count; i++)
    if (!emit_kernel(kernels[i], isa, assembly, out, message, size)) return false;
  return true;
}

__attribute__((visibility("default"))) const CellProvider *cell_provider(void);

const CellProvider *cell_provider(void) {
  static const CellProvider provider = {CELL_PROVIDER_VERSION, compile, destroy, emit};
  return &provider;
}
