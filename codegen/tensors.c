/* tensors.c - reading and writing an engine's tensors, and parameters that the parts pass cut up.
 */
#include "codegen/engine.h"

#include <stdlib.h>
#include <string.h>

static int program_number(const CellEngine *e, const char *program) {
  if (!program) return -1;
  if (e->backend == CELL_BACKEND_INTERP) {
    for (int i = 0; i < e->m->program_count; i++)
      if (strcmp(e->m->programs[i]->name, program) == 0) return i;
  } else {
    for (int i = 0; i < e->plan->program_count; i++)
      if (strcmp(e->plan->programs[i].name, program) == 0) return i;
  }
  return -1;
}

// a program's own tensor, else the state of that name
CellSlot *cell_engine_slot(CellEngine *e, const char *program, const char *name) {
  int number = program_number(e, program);
  CellSlot *state = NULL;
  for (int i = 0; i < e->slot_count; i++) {
    CellSlot *slot = &e->slots[i];
    if (slot->kind >= CELL_BUFFER_TEMP || strcmp(slot->name, name) != 0) continue;
    if (slot->program >= 0 && slot->program == number) return slot;
    if (slot->program < 0) state = slot;
  }
  return state;
}

bool cell_engine_tensor(CellEngine *e, const char *program, const char *name, CellTensorData *out) {
  CellSlot *slot = cell_engine_slot(e, program, name);
  if (!slot) return false;
  if (e->gpu) cell_gpu_share(e, slot);
  e->touched = true;
  *out = (CellTensorData){slot->data, slot->count, slot->dtype, slot->bit_row, cell_engine_wide(e)};
  return true;
}

static double read_entry(const CellEngine *e, const CellSlot *slot, int64_t i) {
  if (cell_engine_wide(e)) return ((const double *)slot->data)[i];
  switch (slot->dtype) {
  case CELL_I: return ((const int32_t *)slot->data)[i];
  case CELL_BITS: {
    int64_t row = i / slot->bit_row, bit = i % slot->bit_row;
    const uint32_t *words = (const uint32_t *)slot->data + row * cell_bit_words(slot->bit_row);
    return words[bit / 32] >> (bit % 32) & 1;
  }
  default: return (double)((const float *)slot->data)[i];
  }
}

static void write_entry(const CellEngine *e, CellSlot *slot, int64_t i, double value) {
  if (cell_engine_wide(e)) {
    ((double *)slot->data)[i] = value;
    return;
  }
  switch (slot->dtype) {
  case CELL_I: ((int32_t *)slot->data)[i] = (int32_t)value; break;
  case CELL_BITS: {
    int64_t row = i / slot->bit_row, bit = i % slot->bit_row;
    uint32_t *word = (uint32_t *)slot->data + row * cell_bit_words(slot->bit_row) + bit / 32;
    uint32_t mask = (uint32_t)1 << (bit % 32);
    *word = value != 0 ? *word | mask : *word & ~mask;
    break;
  }
  default: ((float *)slot->data)[i] = (float)value; break;
  }
}

bool cell_engine_get(CellEngine *e, const char *program, const char *name, double *out,
                     int64_t count) {
  const CellSlot *slot = cell_engine_slot(e, program, name);
  if (!slot || slot->entries != count) return false;
  if (e->gpu && !cell_gpu_before(e, slot, false)) return false;
  for (int64_t i = 0; i < count; i++) out[i] = read_entry(e, slot, i);
  return true;
}

bool cell_engine_set(CellEngine *e, const char *program, const char *name, const double *in,
                     int64_t count) {
  CellSlot *slot = cell_engine_slot(e, program, name);
  if (!slot || slot->entries != count) return false;
  if (e->gpu && !cell_gpu_before(e, slot, true)) return false;
  e->touched = true;
  for (int64_t i = 0; i < count; i++) write_entry(e, slot, i, in[i]);
  return true;
}

// Rows [first, last) of a part, `width` entries each, from or to the parameter, where row `first` begins at `at`, the
// next rows `row_step` behind it each, and what is side by side in a row `step` apart. Whichever way entries lie
// side by side in the parameter is the inner loop.
static void copy_rows(const CellEngine *e, CellSlot *slot, int64_t first, int64_t last,
                      int64_t width, int64_t at, int64_t row_step, int64_t step, double *out,
                      const double *in) {
  float *floats = slot->dtype == CELL_F && !cell_engine_wide(e) ? slot->data : NULL;
  bool across = row_step < step;
  int64_t outer = across ? width : last - first, inner = across ? last - first : width;
  for (int64_t i = 0; i < outer; i++) {
    int64_t from = at + i * (across ? step : row_step), by = across ? row_step : step;
    int64_t to = first * width + i * (across ? 1 : width), to_by = across ? width : 1;
    if (out)
      for (int64_t j = 0; j < inner; j++) out[from + j * by] = read_entry(e, slot, to + j * to_by);
    else if (floats)
      for (int64_t j = 0; j < inner; j++) floats[to + j * to_by] = (float)in[from + j * by];
    else
      for (int64_t j = 0; j < inner; j++) write_entry(e, slot, to + j * to_by, in[from + j * by]);
  }
}

// every entry of a parameter, through its parts
static bool each_part(CellEngine *e, const char *program, const char *prefix,
                      const CellParam *param, double *out, const double *in, int64_t count) {
  int64_t total = 1;
  for (int i = 0; i < param->rank; i++) total *= param->shape[i];
  if (count != total) return false;
  int parts = param->part_count > 0 ? param->part_count : 1;

  size_t size = strlen(prefix) + strlen(param->name) + 16;
  char *name = cell_malloc(size);
  bool good = true;
  for (int p = 0; p < parts && good; p++) {
    int64_t entries = total, width = total;
    if (param->part_count > 0) {
      int32_t shape[CELL_MAX_RANK];
      cell_part_shape(param, p, shape);
      entries = 1;
      for (int i = 0; i < param->rank; i++) entries *= shape[i];
      width = param->rank > 0 ? shape[param->rank - 1] : 1;
      snprintf(name, size, "%s%s#%d", prefix, param->name, p);
    } else {
      snprintf(name, size, "%s%s", prefix, param->name);
    }
    CellSlot *slot = cell_engine_slot(e, program, name);
    good = slot && slot->entries == entries;
    if (good && e->gpu) good = cell_gpu_before(e, slot, in != NULL);
    // a part is a slice, perhaps turned: its entries are the parameter's, a step apart
    int64_t rows = good && width > 0 ? entries / width : 0, row_step = width, step = 1;
    if (param->part_count > 0 && rows > 0) {
      int64_t origin = cell_part_entry(param, p, 0);
      if (rows > 1) row_step = cell_part_entry(param, p, width) - origin;
      if (width > 1) step = cell_part_entry(param, p, 1) - origin;
    }
    enum { TOGETHER = 16 };
#pragma omp parallel for schedule(static) if (entries > 1 << 14)
    for (int64_t row = 0; row < rows; row += TOGETHER) {
      int64_t last = row + TOGETHER < rows ? row + TOGETHER : rows;
      int64_t at = param->part_count > 0 ? cell_part_entry(param, p, row * width) : row * width;
      copy_rows(e, slot, row, last, width, at, row_step, step, out, in);
    }
  }
  free(name);
  return good;
}

void cell_engine_clear(CellEngine *e) {
  if (!e->touched && !e->gpu) return; // and pages that nobody touched stay so
  for (int i = 0; i < e->slot_count; i++) {
    CellSlot *slot = &e->slots[i];
    if (slot->kind != CELL_BUFFER_STATE) continue;
    if (e->gpu) cell_gpu_before(e, slot, true);
    memset(slot->data, 0, (size_t)slot->count * (cell_engine_wide(e) ? sizeof(double) : 4));
  }
}

bool cell_engine_param_get(CellEngine *e, const char *program, const char *prefix,
                           const CellParam *param, double *out, int64_t count) {
  return each_part(e, program, prefix, param, out, NULL, count);
}

bool cell_engine_param_set(CellEngine *e, const char *prefix, const CellParam *param,
                           const double *in, int64_t count) {
  e->touched = true;
  return each_part(e, NULL, prefix, param, NULL, in, count);
}
