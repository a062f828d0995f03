/* cuda_mirror.c - a replay on the device: what codegen.h says of CellMirror, by the kernels of cuda_replay.h.
 *
 * Rows are collected in pinned memory and go up together: one copy, one launch of replay_add. The draw is the
 * first kernel of the program's graph (cell_mirror_launch): it reads a few words that travel with the graph, so
 * an update brings to the device what was added since the last one and those words, and nothing else. */
#include "codegen/cuda_device.h"

#include <stdlib.h>
#include <string.h>

enum {
  HEAD = 5,        /* words of a staged record before the row: see cuda_replay.h */
  DRAW = 9,        /* words of a draw, and four more for each ring */
  STAGED = 1024,   /* records that wait at most */
  FINALS = 16,     /* room for final observations at first */
  SPARE = 64 << 20 /* bytes that must be left for what the driver makes later */
};

enum { CONTEXT, OBS, NEXT_OBS, ACTION, REWARD, TERMINATED, INPUTS };
static const char *const names[INPUTS] = {"context", "obs",    "next_obs",
                                          "action",  "reward", "terminated"};

// replay_arguments of cuda_replay.h
typedef struct {
  CUdeviceptr rows, finals, numbers, staged, draw, inputs[INPUTS];
  int64_t rings, slots, room, words, entries, stride, note, shift, action_bits, age_bits, batch,
      steps, spread, whole, count;
} Arguments;

struct CellMirror {
  CellEngine *e;
  CellGpu *g;
  int program;
  int inputs[INPUTS]; // slots of the engine; -1: the program has it not
  Arguments a;        // count is set for each launch
  CUmodule module;
  CUfunction add, draw;
  uint32_t *pinned; // the draw, and behind it the staged records
  int64_t bytes;
  bool flying; // the device may still read the staged records
};

static int64_t draw_words(const CellMirror *m) {
  return DRAW + 4 * m->a.rings;
}

static int64_t record_words(const CellMirror *m) {
  return HEAD + m->a.stride;
}

// ---- opening ----

static bool failed(CellMirror *m, CUresult result, const char *what, char *message, size_t size) {
  if (result == 0) return false;
  cell_gpu_note(m->g, result);
  snprintf(message, size, "the GPU could not %s: %s", what, cell_gpu_text(m->g, result));
  return true;
}

static bool take(CellMirror *m, CUdeviceptr *at, int64_t words, char *message, size_t size) {
  CUresult result = m->g->d->alloc(at, (size_t)words * 4);
  m->bytes += words * 4;
  return !failed(m, result, "give memory to the replay", message, size);
}

// whether an input has the form that the kernel writes, and which
static bool fits(CellMirror *m, int which, const CellSlot *slot, const CellMirrorOptions *o) {
  if (which >= ACTION) {
    if (slot->dtype == CELL_I) m->a.whole |= 1 << (which - ACTION);
    return (slot->dtype == CELL_I || slot->dtype == CELL_F) && slot->count == o->batch;
  }
  int64_t rows = (which == CONTEXT ? o->context : 1) * (int64_t)o->batch;
  bool spread = o->bits && slot->dtype == CELL_F;
  if (spread) m->a.spread = 1;
  return (spread || slot->dtype == (o->bits ? CELL_BITS : CELL_F)) &&
         slot->count == rows * (spread ? o->observation : m->a.words);
}

static bool find_inputs(CellMirror *m, const CellMirrorOptions *o, char *message, size_t size) {
  bool spread = false, first = true;
  for (int i = 0; i < INPUTS; i++) {
    CellSlot *slot = cell_engine_slot(m->e, o->program, names[i]);
    m->inputs[i] = -1;
    if (!slot || slot->kind != CELL_BUFFER_INPUT || slot->count == 0) continue;
    bool good = fits(m, i, slot, o);
    // all observations are read in one form
    if (i <= NEXT_OBS && first) spread = m->a.spread, first = false;
    if (!good || (i <= NEXT_OBS && spread != (o->bits && slot->dtype == CELL_F))) {
      snprintf(message, size, "`%s` of %s has a form of its own", names[i], o->program);
      return false;
    }
    m->inputs[i] = (int)(slot - m->e->slots);
    m->a.inputs[i] = cell_gpu_address(m->e, m->inputs[i]);
  }
  return true;
}

// compiled and cached like a program's kernels
static bool load(CellMirror *m, char *message, size_t size) {
  CellCudaUnit unit = {
      .symbol = "replay_draw", .source = cell_cuda_replay, .length = strlen(cell_cuda_replay)};
  CellCudaCode code = {.units = &unit, .unit_count = 1};
  CellCubin cubin = {0};
  char *folder = cell_cache_folder(m->e->options.cache_dir);
  bool good = cell_nvrtc_compile(&code, m->e->options.gpu, folder, NULL, &cubin, message, size);
  free(folder);
  if (!good) return false;
  const CellDriver *d = m->g->d;
  CUresult result = d->load(&m->module, cubin.bytes);
  if (result == 0) result = d->function(&m->add, m->module, "replay_add");
  if (result == 0) result = d->function(&m->draw, m->module, "replay_draw");
  cell_cubin_free(&cubin);
  return !failed(m, result, "load the replay's kernels", message, size);
}

static bool give_memory(CellMirror *m, char *message, size_t size) {
  Arguments *a = &m->a;
  int64_t rows = a->rings * a->slots;
  CUdeviceptr spare = 0;
  bool good = take(m, &a->rows, rows * a->stride, message, size) &&
              take(m, &a->finals, a->rings * a->room * a->words, message, size) &&
              take(m, &a->numbers, a->rings * a->room * 2, message, size) &&
              take(m, &a->staged, STAGED * record_words(m), message, size) &&
              take(m, &a->draw, draw_words(m), message, size) &&
              !failed(m, m->g->d->alloc(&spare, SPARE), "give memory to the replay", message, size);
  if (spare) m->g->d->free(spare);
  if (!good) return false;
  void *pinned = NULL;
  size_t bytes = (size_t)(draw_words(m) + STAGED * record_words(m)) * 4;
  if (failed(m, m->g->d->alloc_host(&pinned, bytes), "pin memory for the replay", message, size))
    return false;
  m->pinned = pinned;
  memset(m->pinned, 0, bytes);
  return true;
}

CellMirror *cell_mirror_open(CellEngine *e, const CellMirrorOptions *o, char *message,
                             size_t size) {
  message[0] = 0;
  if (!e->gpu) return NULL;
  int program = 0;
  while (program < e->plan->program_count &&
         strcmp(e->plan->programs[program].name, o->program) != 0)
    program++;
  if (program == e->plan->program_count || e->gpu->mirror) return NULL;
  CellMirror *m = cell_malloc(sizeof *m);
  m->e = e, m->g = e->gpu, m->program = program;
  m->a = (Arguments){.rings = o->rings,
                     .slots = o->slots,
                     .room = FINALS,
                     .words = o->row.words,
                     .entries = o->observation,
                     .stride = o->row.stride,
                     .note = o->row.note,
                     .shift = o->row.shift,
                     .action_bits = o->row.action_bits,
                     .age_bits = o->row.age_bits,
                     .batch = o->batch,
                     .steps = o->context};
  if (failed(m, m->g->d->set_current(m->g->context), "be used", message, size) ||
      !find_inputs(m, o, message, size) || !load(m, message, size) ||
      !give_memory(m, message, size)) {
    cell_mirror_close(m);
    return NULL;
  }
  e->gpu->mirror = m;
  cell_gpu_forget(e, program);
  return m;
}

void cell_mirror_close(CellMirror *m) {
  if (!m) return;
  const CellDriver *d = m->g->d;
  d->set_current(m->g->context);
  d->synchronize(m->g->stream);
  const CUdeviceptr memory[] = {m->a.rows, m->a.finals, m->a.numbers, m->a.staged, m->a.draw};
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
    if (memory[i]) d->free(memory[i]);
  if (m->pinned) d->free_host(m->pinned);
  if (m->module) d->unload(m->module);
  if (m->g->mirror == m) {
    m->g->mirror = NULL;
    cell_gpu_forget(m->e, m->program);
  }
  free(m);
}

int64_t cell_mirror_bytes(const CellMirror *m) {
  return m->bytes;
}

// ---- rows ----

static CUresult start(CellMirror *m, CUfunction function, int64_t blocks, int64_t count) {
  union {
    Arguments a;
    unsigned char room[CELL_CUDA_PARAMETERS + 96];
  } arguments = {.a = m->a};
  arguments.a.count = count;
  void *parameters[] = {&arguments};
  return m->g->d->launch(function, (unsigned)blocks, 1, 1, CELL_CUDA_THREADS, 1, 1, 0, m->g->stream,
                         parameters, NULL);
}

static uint32_t *staging(CellMirror *m) {
  return m->pinned + draw_words(m);
}

static bool flush(CellMirror *m, char *message, size_t size) {
  int64_t count = m->a.count, words = count * record_words(m);
  if (count == 0) return true;
  CUresult result = m->g->d->upload(m->a.staged, staging(m), (size_t)words * 4, m->g->stream);
  if (result == 0)
    result = start(m, m->add, (words + CELL_CUDA_THREADS - 1) / CELL_CUDA_THREADS, count);
  m->a.count = 0, m->flying = true;
  return !failed(m, result, "take transitions", message, size);
}

// room for one more record, or NULL
static uint32_t *stage(CellMirror *m, int64_t row, bool is_final, char *message, size_t size) {
  if (failed(m, m->g->d->set_current(m->g->context), "be used", message, size)) return NULL;
  if (m->a.count == STAGED && !flush(m, message, size)) return NULL;
  if (m->flying && failed(m, m->g->d->synchronize(m->g->stream), "take transitions", message, size))
    return NULL;
  m->flying = false;
  uint32_t *record = staging(m) + m->a.count++ * record_words(m);
  record[0] = (uint32_t)row, record[1] = (uint32_t)((uint64_t)row >> 32), record[2] = is_final;
  return record;
}

bool cell_mirror_row(CellMirror *m, int64_t ring, int64_t slot, const uint32_t *row, char *message,
                     size_t size) {
  uint32_t *record = stage(m, ring * m->a.slots + slot, false, message, size);
  if (!record) return false;
  record[3] = record[4] = 0;
  memcpy(record + HEAD, row, (size_t)m->a.stride * 4);
  return true;
}

bool cell_mirror_final(CellMirror *m, int64_t ring, int64_t k, int64_t number,
                       const uint32_t *observation, char *message, size_t size) {
  uint32_t *record = stage(m, ring * m->a.room + (k & (m->a.room - 1)), true, message, size);
  if (!record) return false;
  record[3] = (uint32_t)number, record[4] = (uint32_t)((uint64_t)number >> 32);
  memset(record + HEAD, 0, (size_t)m->a.stride * 4);
  memcpy(record + HEAD, observation, (size_t)m->a.words * 4);
  return true;
}

int64_t cell_mirror_finals(const CellMirror *m) {
  return m->a.room;
}

bool cell_mirror_grow(CellMirror *m, int64_t count, char *message, size_t size) {
  CELL_ASSERT(count >= m->a.room && (count & (count - 1)) == 0);
  const CellDriver *d = m->g->d;
  if (failed(m, d->set_current(m->g->context), "be used", message, size) ||
      !flush(m, message, size) ||
      failed(m, d->synchronize(m->g->stream), "take transitions", message, size))
    return false;
  d->free(m->a.finals);
  d->free(m->a.numbers);
  m->bytes -= m->a.rings * m->a.room * (m->a.words + 2) * 4;
  m->a.finals = m->a.numbers = 0, m->a.room = count;
  cell_gpu_forget(m->e, m->program);
  return take(m, &m->a.finals, m->a.rings * count * m->a.words, message, size) &&
         take(m, &m->a.numbers, m->a.rings * count * 2, message, size);
}

// ---- the draw ----

static void put_wide(uint32_t *words, int64_t number) {
  words[0] = (uint32_t)number, words[1] = (uint32_t)((uint64_t)number >> 32);
}

bool cell_mirror_draw(CellMirror *m, const uint32_t key[2], const uint32_t counter[3],
                      int64_t added, int64_t filled, const CellMirrorFinals *finals, char *message,
                      size_t size) {
  if (failed(m, m->g->d->set_current(m->g->context), "be used", message, size) ||
      !flush(m, message, size))
    return false;
  memcpy(m->pinned, key, 8);
  memcpy(m->pinned + 2, counter, 12);
  put_wide(m->pinned + 5, filled);
  put_wide(m->pinned + 7, added);
  for (int64_t e = 0; e < m->a.rings; e++) {
    put_wide(m->pinned + DRAW + 4 * e, finals[e].first);
    put_wide(m->pinned + DRAW + 4 * e + 2, finals[e].count);
  }
  return true;
}

bool cell_mirror_fills(const CellMirror *m, int slot) {
  for (int i = 0; i < INPUTS; i++)
    if (m->inputs[i] == slot) return true;
  return false;
}

bool cell_mirror_launch(CellMirror *m, int program, CellDiag *diag) {
  if (program != m->program) return true;
  CUresult result = m->g->d->upload(m->a.draw, m->pinned, (size_t)draw_words(m) * 4, m->g->stream);
  if (result == 0) result = start(m, m->draw, m->a.batch, 0);
  return cell_gpu_check(m->g, result, "draw a batch", diag);
}
