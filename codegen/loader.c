/* loader.c - opens the module that compiles kernels, at first use: nothing else needs LLVM, and a
 * command that compiles nothing does not pay for loading it.
 *
 * It is looked for in the folder of $CELLC_PROVIDER (tests), beside the running program, in
 * ../lib/cellc from there, and where this build put it. */
#include "codegen/internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef CELL_PROVIDER_FOLDER
#define CELL_PROVIDER_FOLDER ""
#endif

typedef const CellProvider *(*ProviderFunction)(void);

static const CellProvider *open_module(const char *path, char *message, size_t size) {
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!module) {
    snprintf(message, size, "%s", dlerror());
    return NULL;
  }
  // never closed: LLVM does not like to be unloaded
  void *symbol = dlsym(module, "cell_provider");
  if (!symbol) {
    snprintf(message, size, "%s is not a module of cellc", path);
    return NULL;
  }
  ProviderFunction function;
  memcpy(&function, &symbol, sizeof function);
  const CellProvider *provider = function();
  if (provider->version == CELL_PROVIDER_VERSION) return provider;
  snprintf(message, size, "%s is of another version of cellc", path);
  return NULL;
}

const CellProvider *cell_load_provider(char *message, size_t size) {
  static const char *const module = "cell_llvm.so";
  char beside[4096] = "", path[4400];
  ssize_t length = readlink("/proc/self/exe", beside, sizeof beside - 1);
  if (length < 0) length = 0;
  beside[length] = 0;
  char *slash = strrchr(beside, '/');
  if (slash) *slash = 0;

  const char *forced = getenv("CELLC_PROVIDER");
  if (forced) {
    snprintf(path, sizeof path, "%s/%s", forced, module);
    char reason[600] = "";
    const CellProvider *provider = open_module(path, reason, sizeof reason);
    if (!provider) snprintf(message, size, "could not open the compiler of kernels: %s", reason);
    return provider;
  }

  char reason[600] = "";
  for (int i = 0; i < 3; i++) {
    if (i < 2)
      snprintf(path, sizeof path, i == 0 ? "%s/%s" : "%s/../lib/cellc/%s", beside, module);
    else
      snprintf(path, sizeof path, "%s/%s", CELL_PROVIDER_FOLDER, module);
    if (access(path, R_OK) != 0) continue;
    const CellProvider *provider = open_module(path, reason, sizeof reason);
    if (provider) return provider;
  }
  if (reason[0] == 0)
    snprintf(reason, sizeof reason, "%s was not found beside the program or in %s", module,
             CELL_PROVIDER_FOLDER);
  snprintf(message, size, "could not open the compiler of kernels: %s", reason);
  return NULL;
}

static void *open_ahead(void *unused) {
  char message[600];
  (void)unused;
  (void)cell_load_provider(message, sizeof message);
  return NULL;
}

void cell_engine_prepare(CellBackend backend) {
  pthread_t thread;
  if (backend != CELL_BACKEND_CPU || pthread_create(&thread, NULL, open_ahead, NULL) != 0) return;
  (void)pthread_detach(thread);
}
