/* nvrtc.c - stands in for NVRTC: its cubin is the text behind a mark, which driver.c compiles when it is first
 * run, together with all others that wait. $CELLC_FAKE_CUDA=broken: nothing compiles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake_cuda/image.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct Program {
  char *source, *header, *log;
} Program;

static char *copy_text(const char *s) {
  char *copy = strdup(s);
  if (!copy) abort();
  return copy;
}

EXPORT int nvrtcVersion(int *major, int *minor) {
  // a version of its own: the cache never takes its code for a device's
  *major = 0, *minor = getenv("CELLC_FAKE_CUDA_UNCHECKED") ? 2 : 1;
  return 0;
}

EXPORT int nvrtcGetNumSupportedArchs(int *count) {
  *count = 3;
  return 0;
}

EXPORT int nvrtcGetSupportedArchs(int *archs) {
  archs[0] = 80, archs[1] = 90, archs[2] = 100;
  return 0;
}

EXPORT const char *nvrtcGetErrorString(int result) {
  return result ? "compilation failed" : "done";
}

EXPORT int nvrtcCreateProgram(Program **program, const char *source, const char *name, int headers,
                              const char *const *header_sources, const char *const *header_names) {
  (void)name;
  if (headers != 1 || strcmp(header_names[0], "cell_prelude.h") != 0) return 1;
  *program = calloc(1, sizeof **program);
  if (!*program) abort();
  (*program)->source = copy_text(source);
  (*program)->header = copy_text(header_sources[0]);
  (*program)->log = copy_text("");
  return 0;
}

EXPORT int nvrtcDestroyProgram(Program **program) {
  Program *p = *program;
  free(p->source);
  free(p->header);
  free(p->log);
  free(p);
  *program = NULL;
  return 0;
}

EXPORT int nvrtcCompileProgram(Program *p, int count, const char *const *options) {
  (void)p;
  for (int i = 0; i < count; i++)
    if (strcmp(options[i], "--fmad=true") == 0) return 6;
  const char *is = getenv("CELLC_FAKE_CUDA");
  if (!is || strcmp(is, "broken") != 0) return 0;
  free(p->log);
  p->log = copy_text("k.cu(1): error: broken on purpose");
  return 6;
}

EXPORT int nvrtcGetProgramLogSize(Program *p, size_t *size) {
  *size = strlen(p->log) + 1;
  return 0;
}
EXPORT int nvrtcGetProgramLog(Program *p, char *log) {
  memcpy(log, p->log, strlen(p->log) + 1);
  return 0;
}
EXPORT int nvrtcGetPTXSize(Program *p, size_t *size) {
  *size = strlen(p->source) + 1;
  return 0;
}
EXPORT int nvrtcGetPTX(Program *p, char *ptx) {
  memcpy(ptx, p->source, strlen(p->source) + 1);
  return 0;
}
EXPORT int nvrtcGetCUBINSize(Program *p, size_t *size) {
  *size = sizeof(Image) + strlen(p->header) + strlen(p->source) + 2;
  return 0;
}
EXPORT int nvrtcGetCUBIN(Program *p, char *cubin) {
  Image image = {
      .magic = "\177ELFcell", .header = strlen(p->header) + 1, .source = strlen(p->source) + 1};
  memcpy(cubin, &image, sizeof image);
  memcpy(cubin + sizeof image, p->header, image.header);
  memcpy(cubin + sizeof image + image.header, p->source, image.source);
  return 0;
}
