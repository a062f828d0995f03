/* cuda_device.h - an engine's device, for the files that use it: cuda_device.c (programs), cuda_mirror.c (the
 * replay), cuda_times.c (what each launch takes). */
#ifndef CELL_CUDA_DEVICE_H
#define CELL_CUDA_DEVICE_H

#include "codegen/cuda.h"
#include "codegen/cuda_driver.h"
#include "codegen/engine.h"

struct CellGpu {
  const CellDriver *d;
  CUdevice device;
  CUcontext context;
  bool retained;
  bool lost; /* nothing that was on it can be had any more */
  CUstream stream;
  CUdeviceptr arena, workspace;
  unsigned char *pinned; /* inputs and outputs of all programs */
  CellArena *memory;     /* of the code */
  CellCudaCode *code;
  int *registers;    /* of a thread, by unit */
  CUmodule *modules; /* by unit */
  CUfunction *functions;
  CUgraphExec *graphs;                      /* by program */
  bool *host_newer, *device_newer, *shared; /* by slot: see cuda_device.c */
  void **travelling;                        /* by slot: pinned memory of a shared state */
  CellMirror *mirror;                       /* NULL: all inputs come from the host */
};

/* Whether a call went well. If not, an error: "the GPU could not WHAT: ...", and `lost` where that is so. */
bool cell_gpu_check(CellGpu *g, CUresult result, const char *what, CellDiag *diag);
/* What a result that is not 0 means; never NULL. */
const char *cell_gpu_text(const CellGpu *g, CUresult result);
/* Notes that the device is lost, where `result` says so; returns `result`. */
CUresult cell_gpu_note(CellGpu *g, CUresult result);
/* Where a buffer of the plan is. */
CUdeviceptr cell_gpu_address(const CellEngine *e, int buffer);

/* The parts of a run, in order: states that the host changed; a program's inputs; one launch after the other;
 * what is different behind it. Nothing is waited for. */
bool cell_gpu_send(CellEngine *e, int program, CellDiag *diag);
bool cell_gpu_inputs(CellEngine *e, int program, CellDiag *diag);
bool cell_gpu_launch(CellEngine *e, const CellCudaLaunch *l, CellDiag *diag);
bool cell_gpu_outputs(CellEngine *e, int program, CellDiag *diag);
bool cell_gpu_changed(CellEngine *e, int program, CellDiag *diag);

/* The program is recorded anew when it runs next: its inputs come from elsewhere. */
void cell_gpu_forget(CellEngine *e, int program);

/* ---- cuda_mirror.c ---- */

/* Whether the mirror fills this input; starts the kernel that does, for its program. */
bool cell_mirror_fills(const CellMirror *m, int slot);
bool cell_mirror_launch(CellMirror *m, int program, CellDiag *diag);

#endif
