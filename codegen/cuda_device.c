/* cuda_device.c - an engine on a GPU.
 *
 * The device holds the plan's arena as it is, and one workspace. A program is captured once as a graph: its
 * inputs go up from pinned memory, its launches run one after the other, its outputs come down; running it is
 * one call and one wait. States live on the device. The host has a copy, which is brought up to date when
 * somebody asks and sent up before the next run if somebody wrote; one whose address was handed out
 * (cell_engine_tensor) travels with every run of a program that touches it. A program whose batch lies on the
 * device already (cuda_mirror.c) takes it there: a kernel more in its graph, and no inputs from the host. */
#include "codegen/cuda_device.h"

#include <stdlib.h>
#include <string.h>

// ---- errors ----

CUresult cell_gpu_note(CellGpu *g, CUresult result) {
  // after these every later call fails too
  bool is_fault = result >= CUDA_ERROR_ILLEGAL_ADDRESS && result <= CUDA_ERROR_LAUNCH_FAILED;
  if (is_fault || result == CUDA_ERROR_DEVICE_UNAVAILABLE || result == CUDA_ERROR_ECC ||
      result == CUDA_ERROR_UNKNOWN)
    g->lost = true;
  return result;
}

const char *cell_gpu_text(const CellGpu *g, CUresult result) {
  const char *text = NULL;
  g->d->error_text(result, &text);
  return text ? text : "unknown error";
}

bool cell_gpu_check(CellGpu *g, CUresult result, const char *what, CellDiag *diag) {
  if (result == 0) return true;
  cell_gpu_note(g, result);
  CellRecord *r = cell_error(diag, CELL_E_DRIVER, CELL_NOWHERE, "the GPU could not %s: %s", what,
                             cell_gpu_text(g, result));
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    cell_help(diag, r, "A smaller train.batch needs less; --backend cpu needs no GPU.");
  else if (g->lost)
    cell_help(diag, r, "The device is lost to this process; what the run has written is whole.");
  return false;
}

bool cell_gpu_lost(const CellEngine *e) {
  return e->gpu->lost;
}

CUdeviceptr cell_gpu_address(const CellEngine *e, int buffer) {
  return e->gpu->arena + (CUdeviceptr)e->plan->buffers[buffer].offset;
}

static size_t bytes_of(const CellSlot *slot) {
  return (size_t)slot->count * 4;
}

// ---- opening ----

static bool open_device(CellEngine *e, CellGpu *g, CellDiag *diag) {
  char message[512] = "";
  CellGpuInfo info;
  int count = cell_gpu_info(0, &info, message, sizeof message);
  if (count <= 0) {
    CellRecord *r = cell_error(diag, CELL_E_DRIVER, CELL_NOWHERE, "%s", message);
    cell_help(diag, r, "`cellc doctor` says what is missing; --backend cpu needs no GPU.");
    return false;
  }
  g->d = cell_driver_open(message, sizeof message);
  int number = 10 * info.major + info.minor;
  const CellCudaArch *arch = e->options.gpu;
  // code for one version of an architecture runs on later ones with the same first number
  if (arch->number / 10 != info.major || arch->number > number) {
    cell_error(diag, CELL_E_DRIVER, CELL_NOWHERE,
               "the GPU here, %s, is of sm_%d: code for %s does not run on it", info.name, number,
               arch->name);
    return false;
  }
  for (int u = 0; u < g->code->unit_count; u++)
    if (g->code->units[u].shared_bytes > info.shared_bytes) {
      cell_error(diag, CELL_E_DRIVER, CELL_NOWHERE,
                 "kernel %s needs %lld bytes of shared memory; a block on %s may have %d",
                 g->code->units[u].symbol, (long long)g->code->units[u].shared_bytes, info.name,
                 info.shared_bytes);
      return false;
    }
  if (!cell_gpu_check(g, g->d->device(&g->device, 0), "be opened", diag)) return false;
  if (!cell_gpu_check(g, g->d->retain(&g->context, g->device), "be opened", diag)) return false;
  g->retained = true;
  return cell_gpu_check(g, g->d->set_current(g->context), "be opened", diag) &&
         cell_gpu_check(g, g->d->stream(&g->stream, CU_STREAM_NON_BLOCKING), "make a stream", diag);
}

static bool load_code(CellEngine *e, CellGpu *g, CellDiag *diag) {
  char message[1024] = "", *folder = cell_cache_folder(e->options.cache_dir);
  CellCubin *cubins = CELL_NEW_ARRAY(g->memory, CellCubin, (size_t)g->code->unit_count + 1);
  bool good =
      cell_nvrtc_compile(g->code, e->options.gpu, folder, NULL, cubins, message, sizeof message);
  if (!good) {
    CellRecord *r = cell_error(diag, CELL_E_NVRTC, CELL_NOWHERE, "%s", message);
    cell_help(diag, r, "`cellc doctor` says what is missing; --backend cpu needs no GPU.");
  }
  bool kept = true;
  for (int u = 0; u < g->code->unit_count; u++) kept &= cubins[u].cached || cubins[u].kept;
  if (good && folder && !kept) {
    CellRecord *r =
        cell_warning(diag, NULL, CELL_NOWHERE,
                     "compiled kernels cannot be kept in `%s`: every run compiles anew", folder);
    cell_help(diag, r, "XDG_CACHE_HOME names a folder that can be written.");
  }
  free(folder);
  for (int u = 0; u < g->code->unit_count && good; u++) {
    const CellCudaUnit *unit = &g->code->units[u];
    good = cell_gpu_check(g, g->d->load(&g->modules[u], cubins[u].bytes), "load a kernel", diag) &&
           cell_gpu_check(g, g->d->function(&g->functions[u], g->modules[u], unit->symbol),
                          "find a kernel", diag) &&
           cell_gpu_check(g,
                          g->d->function_attribute(g->functions[u], CU_FUNCTION_SHARED,
                                                   (int)unit->shared_bytes),
                          "give a kernel its shared memory", diag);
  }
  for (int u = 0; u < g->code->unit_count; u++) {
    g->registers[u] = cubins[u].registers;
    cell_cubin_free(&cubins[u]);
  }
  return good;
}

// inputs and outputs lie in pinned memory, states in the engine's block
static bool place(CellEngine *e, CellGpu *g, CellDiag *diag) {
  size_t bytes = 64;
  for (int i = 0; i < e->slot_count; i++) {
    const CellSlot *slot = &e->slots[i];
    if (slot->kind == CELL_BUFFER_INPUT || slot->kind == CELL_BUFFER_OUTPUT)
      bytes += (bytes_of(slot) + 63) / 64 * 64;
  }
  void *pinned = NULL;
  if (!cell_gpu_check(g, g->d->alloc_host(&pinned, bytes), "pin memory", diag)) return false;
  g->pinned = pinned;
  memset(g->pinned, 0, bytes);
  size_t at = 0;
  for (int i = 0; i < e->slot_count; i++) {
    CellSlot *slot = &e->slots[i];
    slot->data = NULL;
    if (slot->kind == CELL_BUFFER_STATE)
      slot->data = (unsigned char *)e->block + e->plan->buffers[i].offset;
    if (slot->kind != CELL_BUFFER_INPUT && slot->kind != CELL_BUFFER_OUTPUT) continue;
    slot->data = g->pinned + at;
    at += (bytes_of(slot) + 63) / 64 * 64;
  }
  size_t arena = (size_t)(e->plan->arena_bytes > 0 ? e->plan->arena_bytes : 64);
  size_t workspace = (size_t)(g->code->workspace_bytes > 0 ? g->code->workspace_bytes : 64);
  bool good =
      cell_gpu_check(g, g->d->alloc(&g->arena, arena), "give memory to tensors", diag) &&
      cell_gpu_check(g, g->d->alloc(&g->workspace, workspace), "give memory to scratch", diag) &&
      cell_gpu_check(g, g->d->fill(g->arena, 0, arena, g->stream), "clear memory", diag);
  for (int i = 0; i < e->slot_count && good; i++) {
    const CellBuffer *b = &e->plan->buffers[i];
    if (b->kind != CELL_BUFFER_CONSTANT || b->number == 0) continue;
    const void *data = (unsigned char *)e->block + b->offset;
    good = cell_gpu_check(
        g, g->d->upload(cell_gpu_address(e, i), data, bytes_of(&e->slots[i]), g->stream),
        "take a constant", diag);
  }
  return good && cell_gpu_check(g, g->d->synchronize(g->stream), "clear memory", diag);
}

bool cell_gpu_open(CellEngine *e, CellDiag *diag) {
  CellArena *arena = e->arena;
  CellGpu *g = e->gpu = CELL_NEW(arena, CellGpu);
  g->memory = arena;
  g->code = cell_cuda_code(arena, e->plan, (CellPrecision)e->options.precision, NULL);
  g->registers = CELL_NEW_ARRAY(arena, int, (size_t)g->code->unit_count + 1);
  g->modules = CELL_NEW_ARRAY(arena, CUmodule, (size_t)g->code->unit_count + 1);
  g->functions = CELL_NEW_ARRAY(arena, CUfunction, (size_t)g->code->unit_count + 1);
  g->graphs = CELL_NEW_ARRAY(arena, CUgraphExec, (size_t)g->code->program_count + 1);
  g->host_newer = CELL_NEW_ARRAY(arena, bool, (size_t)e->slot_count + 1);
  g->device_newer = CELL_NEW_ARRAY(arena, bool, (size_t)e->slot_count + 1);
  g->travelling = CELL_NEW_ARRAY(arena, void *, (size_t)e->slot_count + 1);
  g->shared = CELL_NEW_ARRAY(arena, bool, (size_t)e->slot_count + 1);
  return open_device(e, g, diag) && load_code(e, g, diag) && place(e, g, diag);
}

void cell_gpu_close(CellEngine *e) {
  CellGpu *g = e->gpu;
  if (!g || !g->d) return;
  if (g->retained) g->d->set_current(g->context);
  for (int p = 0; p < g->code->program_count; p++)
    if (g->graphs[p]) g->d->exec_destroy(g->graphs[p]);
  for (int u = 0; u < g->code->unit_count; u++)
    if (g->modules[u]) g->d->unload(g->modules[u]);
  if (g->arena) g->d->free(g->arena);
  if (g->workspace) g->d->free(g->workspace);
  if (g->pinned) g->d->free_host(g->pinned);
  for (int i = 0; i < e->slot_count; i++)
    if (g->travelling[i]) g->d->free_host(g->travelling[i]);
  if (g->stream) g->d->stream_destroy(g->stream);
  if (g->retained) g->d->release(g->device);
  e->gpu = NULL;
}

// ---- running ----

bool cell_gpu_launch(CellEngine *e, const CellCudaLaunch *l, CellDiag *diag) {
  CellGpu *g = e->gpu;
  const CellCudaUnit *unit = &g->code->units[l->unit];
  CUdeviceptr arguments[512] = {0};
  for (int i = 0; i < unit->buffer_count; i++) arguments[i] = cell_gpu_address(e, l->buffers[i]);
  arguments[unit->buffer_count] = g->workspace;
  void *parameters[] = {arguments};
  return cell_gpu_check(g,
                        g->d->launch(g->functions[l->unit], (unsigned)unit->grid, 1, 1,
                                     CELL_CUDA_THREADS, 1, 1, (unsigned)unit->shared_bytes,
                                     g->stream, parameters, NULL),
                        "start a kernel", diag);
}

static bool is_of(const CellSlot *slot, CellBufferKind kind, int program) {
  return slot->kind == kind && slot->program == program && slot->count > 0;
}

bool cell_gpu_inputs(CellEngine *e, int program, CellDiag *diag) {
  CellGpu *g = e->gpu;
  for (int i = 0; i < e->slot_count; i++) {
    const CellSlot *slot = &e->slots[i];
    if (!is_of(slot, CELL_BUFFER_INPUT, program)) continue;
    if (g->mirror && cell_mirror_fills(g->mirror, i)) continue;
    CUresult result = g->d->upload(cell_gpu_address(e, i), slot->data, bytes_of(slot), g->stream);
    if (!cell_gpu_check(g, result, "take its inputs", diag)) return false;
  }
  return !g->mirror || cell_mirror_launch(g->mirror, program, diag);
}

bool cell_gpu_outputs(CellEngine *e, int program, CellDiag *diag) {
  CellGpu *g = e->gpu;
  for (int i = 0; i < e->slot_count; i++) {
    const CellSlot *slot = &e->slots[i];
    if (!is_of(slot, CELL_BUFFER_OUTPUT, program)) continue;
    CUresult result = g->d->download(slot->data, cell_gpu_address(e, i), bytes_of(slot), g->stream);
    if (!cell_gpu_check(g, result, "give its outputs", diag)) return false;
  }
  return true;
}

static bool capture(CellEngine *e, CellGpu *g, int program, CellDiag *diag) {
  const CellCudaProgram *p = &g->code->programs[program];
  if (!cell_gpu_check(g, g->d->capture(g->stream, CU_CAPTURE_RELAXED), "record a program", diag))
    return false;
  bool good = cell_gpu_inputs(e, program, diag);
  for (int l = 0; l < p->launch_count && good; l++)
    good = cell_gpu_launch(e, &p->launches[l], diag);
  good = good && cell_gpu_outputs(e, program, diag);
  CUgraph graph = NULL;
  good = cell_gpu_check(g, g->d->end_capture(g->stream, &graph), "record a program", diag) && good;
  good = good &&
         cell_gpu_check(g, g->d->instantiate(&g->graphs[program], graph, 0), "make a graph", diag);
  if (graph) g->d->graph_destroy(graph);
  return good;
}

void cell_gpu_forget(CellEngine *e, int program) {
  CellGpu *g = e->gpu;
  if (g->graphs[program]) g->d->exec_destroy(g->graphs[program]);
  g->graphs[program] = NULL;
}

// whether a program's launches read or write a buffer
static bool touches(const CellEngine *e, int program, int buffer, bool write) {
  const CellPlanProgram *p = &e->plan->programs[program];
  for (int l = 0; l < p->launch_count; l++) {
    const CellKernel *k = e->plan->kernels[p->launches[l].kernel];
    for (int a = 0; a < k->arg_count; a++)
      if (p->launches[l].buffers[a] == buffer && (!write || k->written[a])) return true;
  }
  return false;
}

bool cell_gpu_send(CellEngine *e, int program, CellDiag *diag) {
  CellGpu *g = e->gpu;
  for (int i = 0; i < e->slot_count; i++) {
    CellSlot *slot = &e->slots[i];
    if (slot->kind != CELL_BUFFER_STATE) continue;
    if (!g->host_newer[i] && !(g->shared[i] && touches(e, program, i, false))) continue;
    if (!cell_gpu_check(g,
                        g->d->upload(cell_gpu_address(e, i), slot->data, bytes_of(slot), g->stream),
                        "take a state", diag))
      return false;
    g->host_newer[i] = false;
  }
  return true;
}

static bool fetch(CellEngine *e, CellGpu *g, int i, CellDiag *diag) {
  CellSlot *slot = &e->slots[i];
  g->device_newer[i] = false;
  return cell_gpu_check(
      g, g->d->download(slot->data, cell_gpu_address(e, i), bytes_of(slot), g->stream),
      "give a state", diag);
}

bool cell_gpu_changed(CellEngine *e, int program, CellDiag *diag) {
  CellGpu *g = e->gpu;
  for (int i = 0; i < e->slot_count; i++) {
    if (e->slots[i].kind != CELL_BUFFER_STATE || !touches(e, program, i, true)) continue;
    g->device_newer[i] = true;
    if (g->shared[i] && !fetch(e, g, i, diag)) return false;
  }
  return true;
}

bool cell_gpu_run(CellEngine *e, int program, CellDiag *diag) {
  CellGpu *g = e->gpu;
  if (!cell_gpu_check(g, g->d->set_current(g->context), "be used", diag)) return false;
  if (!g->graphs[program] && !capture(e, g, program, diag)) return false;
  return cell_gpu_send(e, program, diag) &&
         cell_gpu_check(g, g->d->graph_launch(g->graphs[program], g->stream), "start a program",
                        diag) &&
         cell_gpu_changed(e, program, diag) &&
         cell_gpu_check(g, g->d->synchronize(g->stream), "run a program", diag);
}

// ---- states between host and device ----

bool cell_gpu_before(CellEngine *e, const CellSlot *slot, bool write) {
  CellGpu *g = e->gpu;
  int i = (int)(slot - e->slots);
  if (slot->kind != CELL_BUFFER_STATE) return true;
  if (g->device_newer[i] && !g->lost) {
    CellDiag *diag = cell_diag_create();
    if (cell_gpu_check(g, g->d->set_current(g->context), "be used", diag) && fetch(e, g, i, diag))
      cell_gpu_check(g, g->d->synchronize(g->stream), "give a state", diag);
    cell_diag_destroy(diag); // cell_engine_lost tells, and the next run
  }
  if (write) g->host_newer[i] = true;
  return !g->lost;
}

void cell_gpu_share(CellEngine *e, CellSlot *slot) {
  CellGpu *g = e->gpu;
  int i = (int)(slot - e->slots);
  if (slot->kind != CELL_BUFFER_STATE) return;
  cell_gpu_before(e, slot, true);
  if (g->shared[i]) return;
  g->shared[i] = true;
  // what travels often does so from pinned memory, if there is any
  void *pinned = NULL;
  if (g->d->set_current(g->context) != 0 || slot->count == 0 ||
      g->d->alloc_host(&pinned, bytes_of(slot)) != 0)
    return;
  memcpy(pinned, slot->data, bytes_of(slot));
  slot->data = g->travelling[i] = pinned;
}
