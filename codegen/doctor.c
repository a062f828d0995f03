/* doctor.c - what this machine has to run kernels with, and what it lacks. */
#include "codegen/cuda.h"
#include "codegen/cuda_driver.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static CellCheck *add(CellCheck *list, int *count, const char *name, bool good, const char *help) {
  CellCheck *c = &list[(*count)++];
  *c = (CellCheck){.name = name, .good = good, .help = good ? NULL : help};
  return c;
}

static void check_cpu(CellCheck *list, int *count) {
  static const char *const vectors[] = {"", "AVX-512", "AVX2", "no vectors"};
  char message[512] = "";
  bool good = cell_load_provider(message, sizeof message) != NULL;
  CellCheck *c = add(list, count, "cpu", good, "Install llvm-19-dev and build again.");
  if (good)
    snprintf(c->text, sizeof c->text, "%s, %d cores, kernels by LLVM", vectors[cell_isa_host()],
             omp_get_num_procs());
  else
    snprintf(c->text, sizeof c->text, "%s", message);
}

static void check_gpu(CellCheck *list, int *count) {
  CellGpuInfo info;
  char message[512] = "";
  int devices = cell_gpu_info(0, &info, message, sizeof message);
  if (devices <= 0) {
    CellCheck *c =
        add(list, count, "gpu", false,
            devices < 0 ? "A GPU of NVIDIA needs the package nvidia-driver, for CUDA 12 or later."
                        : "Is the device visible here (nvidia-smi, CUDA_VISIBLE_DEVICES)?");
    snprintf(c->text, sizeof c->text, "%s", message);
    return;
  }
  const CellCudaArch *arch = cell_cuda_arch_of(info.major, info.minor);
  CellCheck *c = add(list, count, "gpu", arch != NULL,
                     "There are kernels for sm_80, sm_90 and sm_100: use --backend cpu.");
  snprintf(c->text, sizeof c->text,
           "%s, sm_%d%d, %d multiprocessors, %.0f GiB, driver for CUDA %d.%d", info.name,
           info.major, info.minor, info.multiprocessors, (double)info.memory / 1073741824.0,
           info.driver / 1000, info.driver % 1000 / 10);
}

static void check_nvrtc(CellCheck *list, int *count) {
  char path[400] = "", message[512] = "";
  int major = 0, minor = 0;
  bool good = cell_nvrtc_find(path, sizeof path, &major, &minor, message, sizeof message);
  CellCheck *c = add(list, count, "nvrtc", good, "CELLC_GPU=1 ./bootstrap build installs it.");
  if (good)
    snprintf(c->text, sizeof c->text, "%d.%d, %s", major, minor, path);
  else
    snprintf(c->text, sizeof c->text, "%s", message);
}

static void check_cache(CellCheck *list, int *count) {
  char *folder = cell_cache_folder(NULL);
  // the nearest folder above that is there says whether it could be made: by trying, since to root all
  // permissions look well
  char *above = folder ? cell_malloc(strlen(folder) + 32) : NULL;
  if (above) strcpy(above, folder);
  while (above && access(above, F_OK) != 0 && strrchr(above, '/') > above) *strrchr(above, '/') = 0;
  if (above) strcat(above, "/cellc-doctor-XXXXXX");
  bool good = above && mkdtemp(above) != NULL;
  if (good) rmdir(above);
  CellCheck *c = add(list, count, "cache", good,
                     "Kernels are compiled anew in every run; set XDG_CACHE_HOME.");
  snprintf(c->text, sizeof c->text, "%s%.400s",
           good     ? ""
           : folder ? "cannot write "
                    : "no folder: HOME is not set",
           folder ? folder : "");
  free(folder);
  free(above);
}

int cell_doctor(CellCheck *list) {
  int count = 0;
  check_cpu(list, &count);
  check_gpu(list, &count);
  check_nvrtc(list, &count);
  check_cache(list, &count);
  return count;
}
