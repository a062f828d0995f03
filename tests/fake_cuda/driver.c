/* driver.c - stands in for the driver of a GPU: the functions that codegen/cuda_driver.h names, over host.h.
 *
 * What a stream is given happens at its synchronisation and not before; a captured graph happens each time that
 * it is launched. Memory holds NaN until something is written. $CELLC_FAKE_CUDA says what is wrong with the
 * device: "none" (there is none), "old" (sm_70), "small" (no memory), "lost" (launches fail), "narrow" (little
 * shared memory), "dated" (a driver from before the interface that is asked for). $CELLC_FAKE_CUDA_MEMORY: bytes
 * that it has; $CELLC_FAKE_CUDA_LOST: launches of graphs after which it is lost, for good. $CELLC_FAKE_CUDA_LOG
 * names a file that gets a line a call. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codegen/cuda_driver.h"
#include "tests/fake_cuda/host.h"
#include "tests/fake_cuda/image.h"

#define EXPORT __attribute__((visibility("default")))

enum { INVALID = 1, INSUFFICIENT = 35, NOT_READY = 600, CAPTURE_BROKEN = 901 };

struct CUmod_st {
  char *header, *source;
  int number;
  bool built;
  void *library;
  CUfunction functions;
  CUmodule next;
};
struct CUfunc_st {
  HostKernel kernel; /* once it is compiled */
  char name[128];
  int shared; /* allowed */
  CUmodule module;
  CUfunction next;
};
typedef enum { COPY, FILL, LAUNCH, EVENT } OpKind;
typedef struct {
  OpKind kind;
  void *to;
  const void *from;
  size_t bytes;
  int value;
  CUfunction function;
  void *arguments;
  unsigned grid, threads, shared;
  CUevent event;
} Op;
typedef struct {
  Op *list;
  int count, capacity;
} Ops;
struct CUstream_st {
  Ops waiting;
  CUgraph capturing;
};
struct CUgraph_st {
  Ops ops;
};
struct CUgraphExec_st {
  Ops ops;
};
struct CUctx_st {
  int references;
};
struct CUevent_st {
  bool recorded;
  struct timespec at;
};

static struct CUctx_st the_context;
static int current; /* whether it is */
static int graphs;  /* launched so far */
static CUmodule modules;
static bool find(CUfunction f);
enum { MOST_ARGUMENTS = 4096 };

static int wrong(const char *how) {
  const char *is = getenv("CELLC_FAKE_CUDA");
  return is && strcmp(is, how) == 0;
}

// a fault stays: every call after it fails
static bool is_lost(void) {
  const char *after = getenv("CELLC_FAKE_CUDA_LOST");
  return after && graphs > atoi(after);
}

static void note(const char *call, const char *name) {
  const char *path = getenv("CELLC_FAKE_CUDA_LOG");
  if (!path) return;
  FILE *f = fopen(path, "a");
  if (!f) return;
  fprintf(f, "%s%s%s\n", call, *name ? " " : "", name);
  fclose(f);
}

// ---- operations ----

static void push(Ops *ops, Op op) {
  if (ops->count == ops->capacity) {
    ops->capacity = ops->capacity ? 2 * ops->capacity : 64;
    ops->list = realloc(ops->list, (size_t)ops->capacity * sizeof *ops->list);
    if (!ops->list) abort();
  }
  ops->list[ops->count++] = op;
}

static Op copy_op(const Op *from) {
  Op op = *from;
  if (op.arguments) {
    op.arguments = malloc(MOST_ARGUMENTS);
    if (!op.arguments) abort();
    memcpy(op.arguments, from->arguments, MOST_ARGUMENTS);
  }
  return op;
}

static void clear(Ops *ops) {
  for (int i = 0; i < ops->count; i++) free(ops->list[i].arguments);
  free(ops->list);
  *ops = (Ops){0};
}

static CUresult perform(const Op *op) {
  if (is_lost()) return CUDA_ERROR_LAUNCH_FAILED;
  switch (op->kind) {
  case COPY: memcpy(op->to, op->from, op->bytes); return 0;
  case EVENT:
    op->event->recorded = true;
    clock_gettime(CLOCK_MONOTONIC, &op->event->at);
    return 0;
  case FILL: memset(op->to, op->value, op->bytes); return 0;
  case LAUNCH: break;
  }
  if (wrong("lost")) return CUDA_ERROR_LAUNCH_FAILED;
  if ((int)op->shared > 48 << 10 && (int)op->shared > op->function->shared) return INVALID;
  note("run", op->function->name);
  if (!find(op->function)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  if (host_launch(op->function->name, op->function->kernel, op->arguments, (int)op->grid,
                  (int)op->threads, (int)op->shared))
    return 0;
  fprintf(stderr, "fake_cuda: %s\n", host_message());
  return CUDA_ERROR_ILLEGAL_ADDRESS;
}

static CUresult give(CUstream stream, Op op) {
  if (!current || !stream) return INVALID;
  if (is_lost()) return CUDA_ERROR_LAUNCH_FAILED;
  push(stream->capturing ? &stream->capturing->ops : &stream->waiting, copy_op(&op));
  return 0;
}

// ---- devices ----

EXPORT CUresult cuInit(unsigned flags) {
  if (wrong("dated")) return INSUFFICIENT;
  return flags == 0 ? 0 : INVALID;
}
EXPORT CUresult cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}
EXPORT CUresult cuDeviceGetCount(int *count) {
  *count = wrong("none") ? 0 : 1;
  return 0;
}
EXPORT CUresult cuDeviceGet(CUdevice *device, int number) {
  *device = number;
  return number == 0 && !wrong("none") ? 0 : CUDA_ERROR_NO_DEVICE;
}
EXPORT CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  (void)device;
  snprintf(name, (size_t)length, "fibers");
  return 0;
}
EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  (void)device;
  switch (attribute) {
  case CU_ATTRIBUTE_MULTIPROCESSORS: *value = 132; return 0;
  case CU_ATTRIBUTE_MAJOR: *value = wrong("old") ? 7 : 9; return 0;
  case CU_ATTRIBUTE_MINOR: *value = 0; return 0;
  case CU_ATTRIBUTE_SHARED_OPTIN: *value = wrong("narrow") ? 1 << 10 : 227 << 10; return 0;
  default: return INVALID;
  }
}
EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  (void)device;
  *bytes = (size_t)80 << 30;
  return 0;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  (void)device;
  the_context.references++;
  *context = &the_context;
  return 0;
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  (void)device;
  if (--the_context.references == 0) current = 0;
  return 0;
}
EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  current = context == &the_context;
  return 0;
}
EXPORT CUresult cuGetErrorString(CUresult result, const char **text) {
  *text = result == CUDA_ERROR_OUT_OF_MEMORY     ? "out of memory"
          : result == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
          : result == CUDA_ERROR_LAUNCH_FAILED   ? "unspecified launch failure"
          : result == CUDA_ERROR_NO_DEVICE       ? "no CUDA-capable device is detected"
          : result == INSUFFICIENT ? "CUDA driver version is insufficient for CUDA runtime version"
                                   : "invalid argument";
  return 0;
}

// ---- code ----

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  Image head;
  if (!current) return INVALID;
  memcpy(&head, image, sizeof head);
  if (memcmp(head.magic, "\177ELFcell", 8) != 0) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  CUmodule m = calloc(1, sizeof *m);
  if (!m) abort();
  m->header = strdup((const char *)image + sizeof head);
  m->source = strdup((const char *)image + sizeof head + head.header);
  m->next = modules;
  modules = m;
  *module = m;
  return 0;
}

EXPORT CUresult cuModuleUnload(CUmodule module) {
  CUmodule *at = &modules;
  while (*at != module) at = &(*at)->next;
  *at = module->next;
  while (module->functions) {
    CUfunction f = module->functions;
    module->functions = f->next;
    free(f);
  }
  free(module->header);
  free(module->source);
  free(module);
  return 0;
}

EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  char kernel[200];
  snprintf(kernel, sizeof kernel, "CELL_KERNEL(%s,", name);
  if (!strstr(module->source, kernel)) return INVALID;
  CUfunction f = calloc(1, sizeof *f);
  if (!f) abort();
  snprintf(f->name, sizeof f->name, "%s", name);
  f->module = module, f->shared = 48 << 10;
  f->next = module->functions;
  module->functions = f;
  *function = f;
  return 0;
}

// what was built: the same texts again need no compiler
typedef struct {
  char *text;
  void *library;
} Built;
static Built built[256];
static int built_count;

static char *all_waiting(void) {
  char *text = NULL;
  size_t length = 0;
  FILE *f = open_memstream(&text, &length);
  if (!f) abort();
  fprintf(f, "#include \"cell_prelude.h\"\n");
  int number = 0;
  for (CUmodule m = modules; m; m = m->next) {
    if (m->built) continue;
    m->number = ++number;
    fprintf(f, "#undef CELL_PREFIX\n#define CELL_PREFIX m%d_\nnamespace m%d {\n%s\n}\n", number,
            number, m->source);
  }
  fclose(f);
  return text;
}

static void write_file(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  if (!f || fputs(text, f) < 0 || fclose(f) != 0) abort();
}

static void *compile(const char *text) {
  char folder[] = "/tmp/cellc-fake-XXXXXX", path[256], command[2048];
  if (!mkdtemp(folder)) abort();
  snprintf(path, sizeof path, "%s/cell_prelude.h", folder);
  write_file(path, modules->header);
  snprintf(path, sizeof path, "%s/k.cpp", folder);
  write_file(path, text);
  const char *edit = getenv("CELLC_FAKE_CUDA_EDIT");
  // what is checked runs for less time than its compilation takes
  const char *level = host_unchecked ? "-O3 -march=native -DCELL_HOST_UNCHECKED" : "-O0";
  snprintf(
      command, sizeof command,
      "cd %s && %s%s%s %s -std=c++17 %s %s -w -fPIC -shared -ffp-contract=off -o k.so k.cpp 1>&2",
      folder, edit ? "sed -i -E '" : "", edit ? edit : "", edit ? "' k.cpp cell_prelude.h &&" : "",
      FAKE_CXX, level, FAKE_FLAGS);
  if (system(command) != 0) fprintf(stderr, "fake_cuda: could not compile: %s\n", command);
  snprintf(path, sizeof path, "%s/k.so", folder);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "fake_cuda: %s\n", dlerror());
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (!getenv("CELLC_FAKE_CUDA_KEEP") && system(command) != 0)
    fprintf(stderr, "fake_cuda: could not remove %s\n", folder);
  return library;
}

/* All texts that wait as one, each in a namespace of its own, through the C++ compiler. The text may be spoiled
 * on purpose: $CELLC_FAKE_CUDA_EDIT is a sed script. */
static void build(void) {
  char *text = all_waiting();
  void *library = NULL;
  bool spoiled = getenv("CELLC_FAKE_CUDA_EDIT") != NULL;
  int i = spoiled ? built_count : 0;
  while (i < built_count && strcmp(built[i].text, text) != 0) i++;
  if (i < built_count) {
    library = built[i].library;
    free(text);
  } else {
    library = compile(text);
    struct CellHost **table = library ? dlsym(library, "cell_host") : NULL;
    if (table) *table = &host_table;
    if (built_count < 256 && !spoiled)
      built[built_count++] = (Built){text, library};
    else
      free(text);
  }
  for (CUmodule m = modules; m; m = m->next)
    if (!m->built) m->built = true, m->library = library;
}

static bool find(CUfunction f) {
  if (f->kernel) return true;
  if (!f->module->built) build();
  if (!f->module->library) return false;
  char name[200];
  snprintf(name, sizeof name, "m%d_%s", f->module->number, f->name);
  void *symbol = dlsym(f->module->library, name);
  if (symbol) memcpy(&f->kernel, &symbol, sizeof symbol);
  return symbol != NULL;
}

EXPORT CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  if (attribute != CU_FUNCTION_SHARED || value > 227 << 10) return INVALID;
  function->shared = value;
  return 0;
}

// ---- memory ----

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  if (!current || bytes == 0) return INVALID;
  host_unchecked = getenv("CELLC_FAKE_CUDA_UNCHECKED") != NULL;
  const char *limit = getenv("CELLC_FAKE_CUDA_MEMORY");
  bool full = limit && host_allocated() + bytes > (size_t)atoll(limit);
  if (is_lost()) return CUDA_ERROR_LAUNCH_FAILED;
  void *memory = wrong("small") || full ? NULL : host_alloc(bytes);
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = (CUdeviceptr)(uintptr_t)memory;
  return 0;
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  host_free((void *)(uintptr_t)address);
  return 0;
}
EXPORT CUresult cuMemAllocHost_v2(void **address, size_t bytes) {
  *address = malloc(bytes);
  return *address ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORT CUresult cuMemFreeHost(void *address) {
  free(address);
  return 0;
}
EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t count, CUstream stream) {
  return give(stream,
              (Op){.kind = FILL, .to = (void *)(uintptr_t)to, .value = byte, .bytes = count});
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                     CUstream stream) {
  char count[32];
  snprintf(count, sizeof count, "%zu", bytes);
  note(stream->capturing ? "record" : "up", count);
  return give(stream,
              (Op){.kind = COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes});
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return give(stream,
              (Op){.kind = COPY, .to = to, .from = (const void *)(uintptr_t)from, .bytes = bytes});
}

// ---- streams, graphs ----

EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  (void)flags;
  *stream = calloc(1, sizeof **stream);
  return *stream ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  clear(&stream->waiting);
  free(stream);
  return 0;
}
EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  if (stream->capturing) return CAPTURE_BROKEN;
  CUresult result = is_lost() ? CUDA_ERROR_LAUNCH_FAILED : 0;
  for (int i = 0; i < stream->waiting.count && result == 0; i++)
    result = perform(&stream->waiting.list[i]);
  clear(&stream->waiting);
  return result;
}
EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
  (void)mode;
  if (stream->capturing) return CAPTURE_BROKEN;
  stream->capturing = calloc(1, sizeof *stream->capturing);
  return stream->capturing ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  *graph = stream->capturing;
  stream->capturing = NULL;
  return *graph ? 0 : CAPTURE_BROKEN;
}
EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph,
                                            unsigned long long flags) {
  (void)flags;
  *exec = calloc(1, sizeof **exec);
  if (!*exec) abort();
  for (int i = 0; i < graph->ops.count; i++) push(&(*exec)->ops, copy_op(&graph->ops.list[i]));
  note("instantiate", "");
  return 0;
}
EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  note("graph", "");
  graphs++;
  for (int i = 0; i < exec->ops.count; i++) {
    CUresult result = give(stream, exec->ops.list[i]);
    if (result != 0) return result;
  }
  return 0;
}
EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  clear(&graph->ops);
  free(graph);
  return 0;
}
EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
  clear(&exec->ops);
  free(exec);
  return 0;
}
EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned shared_bytes, CUstream stream,
                               void **arguments, void **extra) {
  if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra)
    return INVALID;
  Op op = {.kind = LAUNCH,
           .function = function,
           .arguments = arguments[0],
           .grid = grid_x,
           .threads = block_x,
           .shared = shared_bytes};
  return give(stream, op);
}
// ---- events ----

EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags) {
  (void)flags;
  *event = calloc(1, sizeof **event);
  return *event ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  free(event);
  return 0;
}
EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  event->recorded = false;
  return give(stream, (Op){.kind = EVENT, .event = event});
}
EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  if (!from->recorded || !to->recorded) return NOT_READY;
  *milliseconds = (float)(1e3 * (double)(to->at.tv_sec - from->at.tv_sec) +
                          1e-6 * (double)(to->at.tv_nsec - from->at.tv_nsec));
  return 0;
}

// what the last fault was, for tests
EXPORT const char *fake_cuda_message(void) {
  return host_message();
}
