/* cuda_nvrtc.c - the compiler of CUDA C, opened at first use, and the cache in front of it.
 *
 * It is looked for at $CELLC_NVRTC alone if that is set, else in nvrtc/ beside the running program, where the
 * system's linker looks, and in the usual place of a toolkit. A compiled kernel is cached under the hash of
 * everything that its bytes depend on: the text, the prelude, the architecture, the options, the compiler's
 * version. Beside the cubin the entry holds the compiler's log, which says what the kernel takes. */
#include "codegen/cuda.h"

#include <dlfcn.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct _nvrtcProgram *nvrtcProgram;
typedef int nvrtcResult; /* 0: done */

typedef struct {
  void *module;
  nvrtcResult (*version)(int *major, int *minor);
  nvrtcResult (*arch_count)(int *count);
  nvrtcResult (*archs)(int *numbers);
  nvrtcResult (*create)(nvrtcProgram *program, const char *source, const char *name, int headers,
                        const char *const *header_sources, const char *const *header_names);
  nvrtcResult (*destroy)(nvrtcProgram *program);
  nvrtcResult (*compile)(nvrtcProgram program, int count, const char *const *options);
  nvrtcResult (*log_size)(nvrtcProgram program, size_t *size);
  nvrtcResult (*log)(nvrtcProgram program, char *log);
  nvrtcResult (*ptx_size)(nvrtcProgram program, size_t *size);
  nvrtcResult (*ptx)(nvrtcProgram program, char *ptx);
  nvrtcResult (*cubin_size)(nvrtcProgram program, size_t *size);
  nvrtcResult (*cubin)(nvrtcProgram program, char *cubin);
  const char *(*error)(nvrtcResult result);
} Nvrtc;

static bool symbols(Nvrtc *n, char *message, size_t size) {
  const struct {
    const char *name;
    void *to;
  } rows[] = {{"nvrtcVersion", &n->version},
              {"nvrtcGetNumSupportedArchs", &n->arch_count},
              {"nvrtcGetSupportedArchs", &n->archs},
              {"nvrtcCreateProgram", &n->create},
              {"nvrtcDestroyProgram", &n->destroy},
              {"nvrtcCompileProgram", &n->compile},
              {"nvrtcGetProgramLogSize", &n->log_size},
              {"nvrtcGetProgramLog", &n->log},
              {"nvrtcGetPTXSize", &n->ptx_size},
              {"nvrtcGetPTX", &n->ptx},
              {"nvrtcGetCUBINSize", &n->cubin_size},
              {"nvrtcGetCUBIN", &n->cubin},
              {"nvrtcGetErrorString", &n->error}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    void *symbol = dlsym(n->module, rows[i].name);
    if (!symbol) {
      snprintf(message, size, "the NVRTC that was found has no `%s`: it is too old", rows[i].name);
      return false;
    }
    memcpy(rows[i].to, &symbol, sizeof symbol);
  }
  return true;
}

static bool open_nvrtc(Nvrtc *n, char *path, size_t path_size, char *message, size_t size) {
  const char *forced = getenv("CELLC_NVRTC");
  char beside[4096] = "";
  ssize_t length = readlink("/proc/self/exe", beside, sizeof beside - 1);
  char *slash = length > 0 ? strrchr(beside, '/') : NULL;
  if (slash) snprintf(slash, sizeof beside - (size_t)(slash - beside), "/nvrtc/libnvrtc.so.13");
  const char *const places[] = {beside, "libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.13",
                                "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so.12"};
  for (size_t i = 0; i < (forced ? 1 : sizeof places / sizeof *places) && !n->module; i++) {
    snprintf(path, path_size, "%s", forced ? forced : places[i]);
    if (path[0]) n->module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  if (!n->module) {
    if (forced)
      snprintf(message, size, "could not open NVRTC at %s: %s", forced, dlerror());
    else
      snprintf(message, size, "NVRTC, which compiles kernels for GPUs, was not found");
    return false;
  }
  return symbols(n, message, size);
}

bool cell_nvrtc_find(char *path, size_t path_size, int *major, int *minor, char *message,
                     size_t size) {
  Nvrtc n = {0};
  if (!open_nvrtc(&n, path, path_size, message, size)) return false;
  return n.version(major, minor) == 0;
}

static bool supports(const Nvrtc *n, int number) {
  int count = 0, numbers[256];
  if (n->arch_count(&count) != 0 || count > 256 || n->archs(numbers) != 0) return false;
  for (int i = 0; i < count; i++)
    if (numbers[i] == number) return true;
  return false;
}

// ---- one kernel ----

enum { OPTIONS = 5 };

/* what the compiler's log says: "Used 40 registers", "0 bytes stack frame, 0 bytes spill stores, ..." */
static void read_log(CellCubin *c) {
  const char *used = strstr(c->log, "Used "), *frame = strstr(c->log, " bytes stack frame");
  if (used) c->registers = atoi(used + 5);
  const char *number = frame;
  while (number && number > c->log && strchr("0123456789", number[-1])) number--;
  if (number) {
    int stack, stores, loads;
    if (sscanf(number, "%d bytes stack frame, %d bytes spill stores, %d bytes spill loads", &stack,
               &stores, &loads) == 3)
      c->stack = stack, c->spills = stores + loads;
  }
}

static bool is_cubin(const char *bytes, size_t size) {
  return size > 64 && memcmp(bytes, "\177ELF", 4) == 0;
}

// entry: length of the log, log with its 0, cubin
static bool from_entry(CellCubin *c, char *entry, size_t size) {
  uint64_t log;
  if (size < sizeof log) return false;
  memcpy(&log, entry, sizeof log);
  if (log == 0 || log > size - sizeof log || entry[sizeof log + log - 1] != 0) return false;
  c->entry = entry, c->log = entry + sizeof log;
  c->bytes = c->log + log, c->size = size - sizeof log - (size_t)log;
  read_log(c);
  return is_cubin(c->bytes, c->size);
}

static void remember(char *message, size_t size, bool *failed, const char *text, const char *log) {
#pragma omp critical(cell_nvrtc_message)
  {
    if (!*failed) snprintf(message, size, "%s%s%.700s", text, log ? ":\n" : "", log ? log : "");
    *failed = true;
  }
}

static void compile_one(const Nvrtc *n, const CellCudaUnit *unit, const char *const *options,
                        CellText *ptx, CellCubin *c, char *message, size_t size, bool *failed) {
  const char *const headers[] = {cell_cuda_prelude}, *const names[] = {"cell_prelude.h"};
  nvrtcProgram program = NULL;
  char file[80];
  snprintf(file, sizeof file, "%.60s.cu", unit->symbol);
  nvrtcResult result = n->create(&program, unit->source, file, 1, headers, names);
  if (result == 0) result = n->compile(program, OPTIONS, options);
  size_t log_size = 0, cubin_size = 0;
  if (program) n->log_size(program, &log_size);
  char *log = cell_malloc(log_size + 1);
  log[0] = log[log_size] = 0;
  if (log_size > 0) n->log(program, log);
  if (result != 0) {
    char text[200];
    snprintf(text, sizeof text, "NVRTC could not compile %.60s: %s", unit->symbol,
             n->error(result));
    remember(message, size, failed, text, log);
  } else if (ptx) {
    size_t ptx_size = 0;
    n->ptx_size(program, &ptx_size);
    char *text = cell_malloc(ptx_size + 1);
    n->ptx(program, text);
    cell_text_append(ptx, text, ptx_size > 0 ? ptx_size - 1 : 0);
    free(text);
  } else if (n->cubin_size(program, &cubin_size) == 0 && cubin_size > 0) {
    uint64_t length = strlen(log) + 1;
    char *entry = cell_malloc(sizeof length + (size_t)length + cubin_size);
    memcpy(entry, &length, sizeof length);
    memcpy(entry + sizeof length, log, (size_t)length);
    n->cubin(program, entry + sizeof length + length);
    if (!from_entry(c, entry, sizeof length + (size_t)length + cubin_size))
      remember(message, size, failed, "NVRTC made no cubin", NULL);
  } else {
    remember(message, size, failed, "NVRTC made no cubin", NULL);
  }
  free(log);
  if (program) n->destroy(&program);
}

bool cell_nvrtc_compile(const CellCudaCode *code, const CellCudaArch *arch, const char *folder,
                        CellText *ptx, CellCubin *cubins, char *message, size_t size) {
  char path[4200], target[64];
  Nvrtc n = {0};
  if (!open_nvrtc(&n, path, sizeof path, message, size)) return false;
  int version[2] = {0, 0};
  n.version(&version[0], &version[1]);
  if (!supports(&n, arch->number)) {
    snprintf(message, size, "NVRTC %d.%d at %s does not compile for %s", version[0], version[1],
             path, arch->name);
    return false;
  }
  snprintf(target, sizeof target, "--gpu-architecture=%s", arch->name);
  const char *const options[OPTIONS] = {target, "--std=c++17", "--fmad=false", "--ftz=true",
                                        "--ptxas-options=-v"};
  CellKey seed = cell_key((CellKey){{3, 4}}, version, sizeof version);
  for (int i = 0; i < OPTIONS; i++) seed = cell_key(seed, options[i], strlen(options[i]));
  seed = cell_key(seed, cell_cuda_prelude, strlen(cell_cuda_prelude));

  bool failed = false;
#pragma omp parallel for schedule(dynamic) num_threads(ptx ? 1 : omp_get_num_procs())
  for (int u = 0; u < code->unit_count; u++) {
    const CellCudaUnit *unit = &code->units[u];
    CellKey key = cell_key(seed, unit->source, unit->length);
    if (!ptx) {
      size_t length = 0;
      char *entry = cell_cache_read(folder, key, &length);
      if (entry && from_entry(&cubins[u], entry, length)) {
        cubins[u].cached = true;
        continue;
      }
      free(entry);
      cubins[u] = (CellCubin){0};
    }
    compile_one(&n, unit, options, ptx, ptx ? NULL : &cubins[u], message, size, &failed);
    if (!ptx && cubins[u].entry)
      cubins[u].kept =
          cell_cache_write(folder, key, cubins[u].entry,
                           (size_t)(cubins[u].bytes - cubins[u].entry) + cubins[u].size);
  }
  if (failed && !ptx)
    for (int u = 0; u < code->unit_count; u++) cell_cubin_free(&cubins[u]);
  return !failed;
}

void cell_cubin_free(CellCubin *c) {
  free(c->entry);
  *c = (CellCubin){0};
}
