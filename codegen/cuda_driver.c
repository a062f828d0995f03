/* cuda_driver.c - opens the driver of the GPU: $CELLC_CUDA_DRIVER alone if that is set, else libcuda.so.1. */
#include "codegen/cuda_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const CellDriver *cell_driver_open(char *message, size_t size) {
  static CellDriver driver;
  static void *module;
  if (module) return &driver;
  const char *forced = getenv("CELLC_CUDA_DRIVER");
  void *opened = dlopen(forced ? forced : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!opened) {
    if (forced)
      snprintf(message, size, "could not open the driver of the GPU at %s: %s", forced, dlerror());
    else
      snprintf(message, size,
               "there is no GPU here, or no driver for it: libcuda.so.1 was not found");
    return NULL;
  }
  const struct {
    const char *name;
    void *to;
  } rows[] = {
#define CELL_ROW(field, symbol, arguments) {#symbol, &driver.field},
      CELL_DRIVER_FUNCTIONS(CELL_ROW)
#undef CELL_ROW
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    void *symbol = dlsym(opened, rows[i].name);
    if (!symbol) {
      snprintf(message, size, "the driver of the GPU has no `%s`: it is too old", rows[i].name);
      dlclose(opened);
      return NULL;
    }
    memcpy(rows[i].to, &symbol, sizeof symbol);
  }
  module = opened;
  return &driver;
}

int cell_gpu_info(int number, CellGpuInfo *info, char *message, size_t size) {
  const CellDriver *d = cell_driver_open(message, size);
  if (!d) return -1;
  int count = 0;
  CUresult result = d->init(0);
  if (result == 0) result = d->device_count(&count);
  if (result != 0) {
    const char *text = NULL;
    d->error_text(result, &text);
    snprintf(message, size, "the driver of the GPU does not start: %s",
             text ? text : "unknown error");
    return -1;
  }
  if (number >= count) {
    snprintf(message, size, count == 0 ? "the driver sees no GPU" : "there is no GPU number %d",
             number);
    return 0;
  }
  CUdevice device;
  if (d->device(&device, number) != 0) {
    snprintf(message, size, "the driver does not open GPU number %d", number);
    return 0;
  }
  memset(info, 0, sizeof *info);
  d->version(&info->driver);
  d->device_name(info->name, (int)sizeof info->name, device);
  d->attribute(&info->major, CU_ATTRIBUTE_MAJOR, device);
  d->attribute(&info->minor, CU_ATTRIBUTE_MINOR, device);
  d->attribute(&info->multiprocessors, CU_ATTRIBUTE_MULTIPROCESSORS, device);
  d->attribute(&info->shared_bytes, CU_ATTRIBUTE_SHARED_OPTIN, device);
  d->total_memory(&info->memory, device);
  return count;
}
