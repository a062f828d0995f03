/* cuda_driver.h - the functions of the CUDA driver that a device uses, opened at run time.
 *
 * Types and numbers are those of the driver's stable interface; its header is not needed to build. */
#ifndef CELL_CUDA_DRIVER_H
#define CELL_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult; /* 0: done */
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUevent_st *CUevent;

enum {
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC = 214,
  CUDA_ERROR_ILLEGAL_ADDRESS =
      700, /* with what lies between them: faults that the context dies of */
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_UNKNOWN = 999,
  CU_ATTRIBUTE_MULTIPROCESSORS = 16,
  CU_ATTRIBUTE_MAJOR = 75,
  CU_ATTRIBUTE_MINOR = 76,
  CU_ATTRIBUTE_SHARED_OPTIN = 97,
  CU_FUNCTION_SHARED = 8, /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
  CU_STREAM_NON_BLOCKING = 1,
  CU_CAPTURE_RELAXED = 2
};

/* field, symbol, arguments */
#define CELL_DRIVER_FUNCTIONS(F)                                                                   \
  F(init, cuInit, (unsigned flags))                                                                \
  F(version, cuDriverGetVersion, (int *version))                                                   \
  F(device_count, cuDeviceGetCount, (int *count))                                                  \
  F(device, cuDeviceGet, (CUdevice * device, int number))                                          \
  F(device_name, cuDeviceGetName, (char *name, int length, CUdevice device))                       \
  F(attribute, cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                 \
  F(total_memory, cuDeviceTotalMem_v2, (size_t * bytes, CUdevice device))                          \
  F(retain, cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                      \
  F(release, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                      \
  F(set_current, cuCtxSetCurrent, (CUcontext context))                                             \
  F(load, cuModuleLoadData, (CUmodule * module, const void *image))                                \
  F(unload, cuModuleUnload, (CUmodule module))                                                     \
  F(function, cuModuleGetFunction, (CUfunction * function, CUmodule module, const char *name))     \
  F(function_attribute, cuFuncSetAttribute, (CUfunction function, int attribute, int value))       \
  F(alloc, cuMemAlloc_v2, (CUdeviceptr * address, size_t bytes))                                   \
  F(free, cuMemFree_v2, (CUdeviceptr address))                                                     \
  F(alloc_host, cuMemAllocHost_v2, (void **address, size_t bytes))                                 \
  F(free_host, cuMemFreeHost, (void *address))                                                     \
  F(fill, cuMemsetD8Async, (CUdeviceptr to, unsigned char byte, size_t count, CUstream stream))    \
  F(upload, cuMemcpyHtoDAsync_v2,                                                                  \
    (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                             \
  F(download, cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream))   \
  F(stream, cuStreamCreate, (CUstream * stream, unsigned flags))                                   \
  F(stream_destroy, cuStreamDestroy_v2, (CUstream stream))                                         \
  F(synchronize, cuStreamSynchronize, (CUstream stream))                                           \
  F(capture, cuStreamBeginCapture_v2, (CUstream stream, int mode))                                 \
  F(end_capture, cuStreamEndCapture, (CUstream stream, CUgraph * graph))                           \
  F(instantiate, cuGraphInstantiateWithFlags,                                                      \
    (CUgraphExec * exec, CUgraph graph, unsigned long long flags))                                 \
  F(graph_launch, cuGraphLaunch, (CUgraphExec exec, CUstream stream))                              \
  F(graph_destroy, cuGraphDestroy, (CUgraph graph))                                                \
  F(exec_destroy, cuGraphExecDestroy, (CUgraphExec exec))                                          \
  F(launch, cuLaunchKernel,                                                                        \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,     \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream, void **arguments, \
     void **extra))                                                                                \
  F(event, cuEventCreate, (CUevent * event, unsigned flags))                                       \
  F(event_destroy, cuEventDestroy_v2, (CUevent event))                                             \
  F(record, cuEventRecord, (CUevent event, CUstream stream))                                       \
  F(elapsed, cuEventElapsedTime, (float *milliseconds, CUevent from, CUevent to))                  \
  F(error_text, cuGetErrorString, (CUresult result, const char **text))

typedef struct {
#define CELL_FIELD(field, symbol, arguments) CUresult(*field) arguments;
  CELL_DRIVER_FUNCTIONS(CELL_FIELD)
#undef CELL_FIELD
} CellDriver;

/* The driver, or NULL and a message. It stays open until the program ends. */
const CellDriver *cell_driver_open(char *message, size_t size);

/* What `cellc doctor` says of a device. */
typedef struct {
  char name[128];
  int major, minor, multiprocessors, shared_bytes, driver; /* driver: 13000 is 13.0 */
  size_t memory;
} CellGpuInfo;
/* The number of devices, and `info` of device `number`; 0 if that is not there, -1 if there is no driver, with a
 * message. */
int cell_gpu_info(int number, CellGpuInfo *info, char *message, size_t size);

#endif
