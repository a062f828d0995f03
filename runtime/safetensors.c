/* safetensors.c - see safetensors.h */
#include "runtime/safetensors.h"
#include "runtime/files.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the format is little-endian and nothing here swaps bytes"
#endif

enum {
  HEADER_LIMIT = 100000000, /* the format's own limit */
  ALIGNMENT = 64
};

static const struct {
  const char *name;
  size_t bytes;
} types[CELL_TENSOR_TYPES] = {
    [CELL_TENSOR_F64] = {"F64", 8}, [CELL_TENSOR_F32] = {"F32", 4},
    [CELL_TENSOR_I64] = {"I64", 8}, [CELL_TENSOR_I32] = {"I32", 4},
    [CELL_TENSOR_U8] = {"U8", 1},   [CELL_TENSOR_BOOL] = {"BOOL", 1},
};

/* ---- tensors ---- */

const char *cell_tensor_type_name(CellTensorType type) {
  return types[type].name;
}

size_t cell_tensor_type_bytes(CellTensorType type) {
  return types[type].bytes;
}

void cell_tensor_doubles(const CellFileTensor *tensor, double *out) {
  for (int64_t i = 0; i < tensor->count; i++) {
    switch (tensor->type) {
    case CELL_TENSOR_F64: out[i] = ((const double *)tensor->data)[i]; break;
    case CELL_TENSOR_F32: out[i] = ((const float *)tensor->data)[i]; break;
    case CELL_TENSOR_I64: out[i] = (double)((const int64_t *)tensor->data)[i]; break;
    case CELL_TENSOR_I32: out[i] = ((const int32_t *)tensor->data)[i]; break;
    case CELL_TENSOR_U8: out[i] = ((const uint8_t *)tensor->data)[i]; break;
    case CELL_TENSOR_BOOL: out[i] = ((const uint8_t *)tensor->data)[i] != 0; break;
    case CELL_TENSOR_TYPES: CELL_ASSERT(!"a type");
    }
  }
}

bool cell_tensor_has_shape(const CellFileTensor *tensor, int rank, const int64_t *shape) {
  if (tensor->rank != rank) return false;
  for (int i = 0; i < rank; i++)
    if (tensor->shape[i] != shape[i]) return false;
  return true;
}

/* ---- reading ---- */

/* a tensor and where its data stands in the file */
typedef struct {
  CellFileTensor tensor;
  int64_t begin, end; /* from the end of the header */
} Entry;

struct CellTensors {
  CellArena *arena;
  const char *path;
  Entry *entries;       /* by position in the file */
  const Entry **sorted; /* by name */
  int count, capacity;
  json_t *header; /* owns names and metadata */
  void *block, *data;
};

/* "`net.safetensors`: tensor `l1/h`: " and what follows */
CELL_PRINTF(4, 5)
static bool report(const CellTensors *file, CellDiag *diag, const char *name, const char *format,
                   ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = cell_arena_vprintf(diag->arena, format, arguments);
  va_end(arguments);
  if (name)
    cell_error(diag, NULL, CELL_NOWHERE, "`%s`: tensor `%s`: %s", file->path, name, text);
  else
    cell_error(diag, NULL, CELL_NOWHERE, "`%s`: %s", file->path, text);
  return false;
}

static bool read_type(const CellTensors *file, const char *name, const json_t *json,
                      CellTensorType *type, CellDiag *diag) {
  const char *text = json_string_value(json);
  if (!text) return report(file, diag, name, "its dtype is missing or no text");
  for (int i = 0; i < CELL_TENSOR_TYPES; i++)
    if (strcmp(types[i].name, text) == 0) {
      *type = (CellTensorType)i;
      return true;
    }
  return report(file, diag, name,
                "its dtype %.20s is not supported (only F64, F32, I64, I32, U8 and BOOL are)",
                text);
}

/* the shape, the number of entries and of bytes, each checked for overflow */
static bool read_shape(const CellTensors *file, const json_t *json, CellFileTensor *tensor,
                       int64_t *bytes, CellDiag *diag) {
  if (!json_is_array(json))
    return report(file, diag, tensor->name, "its shape is missing or no list");
  size_t rank = json_array_size(json);
  if (rank > CELL_TENSOR_MAX_RANK)
    return report(file, diag, tensor->name, "its rank is %zu; at most %d is supported", rank,
                  CELL_TENSOR_MAX_RANK);
  tensor->rank = (int)rank;
  tensor->count = 1;
  // a 0 among huge extents is no overflow, so zeros decide first
  for (size_t i = 0; i < rank; i++) {
    const json_t *extent = json_array_get(json, i);
    if (!json_is_integer(extent) || json_integer_value(extent) < 0)
      return report(file, diag, tensor->name, "its shape holds something that is no extent");
    tensor->shape[i] = json_integer_value(extent);
    if (tensor->shape[i] == 0) tensor->count = 0;
  }
  int64_t most = INT64_MAX / (int64_t)types[tensor->type].bytes;
  for (size_t i = 0; i < rank && tensor->count > 0; i++) {
    if (tensor->shape[i] > most / tensor->count)
      return report(file, diag, tensor->name, "its shape is too large to count its bytes");
    tensor->count *= tensor->shape[i];
  }
  *bytes = tensor->count * (int64_t)types[tensor->type].bytes;
  return true;
}

static bool read_entry(CellTensors *file, const char *name, const json_t *json, int64_t data_bytes,
                       CellDiag *diag) {
  Entry entry = {.tensor = {.name = name}};
  if (!json_is_object(json)) return report(file, diag, name, "its description is no object");
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
      return report(file, diag, name, "unknown key `%s` in its description", key);
  }
  int64_t bytes = 0;
  if (!read_type(file, name, json_object_get(json, "dtype"), &entry.tensor.type, diag) ||
      !read_shape(file, json_object_get(json, "shape"), &entry.tensor, &bytes, diag))
    return false;

  const json_t *offsets = json_object_get(json, "data_offsets");
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
    return report(file, diag, name, "its data_offsets are missing or not two integers");
  entry.begin = json_integer_value(begin);
  entry.end = json_integer_value(end);
  if (entry.begin < 0 || entry.end < entry.begin || entry.end > data_bytes)
    return report(file, diag, name,
                  "its data_offsets [%jd, %jd] are not in the %jd bytes of data (is the file "
                  "truncated?)",
                  (intmax_t)entry.begin, (intmax_t)entry.end, (intmax_t)data_bytes);
  if (entry.end - entry.begin != bytes)
    return report(file, diag, name, "its shape and dtype take %jd bytes, its data has %jd",
                  (intmax_t)bytes, (intmax_t)(entry.end - entry.begin));
  CELL_PUSH(file->arena, file->entries, file->count, file->capacity, entry);
  return true;
}

static int by_place(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  return strcmp(x->tensor.name, y->tensor.name);
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(const Entry *const *)a)->tensor.name, (*(const Entry *const *)b)->tensor.name);
}

/* the data belongs to exactly one tensor each, without holes */
static bool check_cover(const CellTensors *file, int64_t data_bytes, CellDiag *diag) {
  int64_t at = 0;
  for (int i = 0; i < file->count; i++) {
    const Entry *entry = &file->entries[i];
    if (entry->begin < at)
      return report(file, diag, entry->tensor.name, "its data overlaps that of `%s`",
                    file->entries[i - 1].tensor.name);
    if (entry->begin > at)
      return report(file, diag, entry->tensor.name,
                    "%jd bytes of data before it belong to no tensor",
                    (intmax_t)(entry->begin - at));
    at = entry->end;
  }
  if (at != data_bytes)
    return report(file, diag, NULL, "the last %jd bytes of data belong to no tensor",
                  (intmax_t)(data_bytes - at));
  return true;
}

static bool read_header(CellTensors *file, const char *text, size_t length, int64_t data_bytes,
                        CellDiag *diag) {
  json_error_t error;
  if (length == 0 || text[0] != '{')
    return report(file, diag, NULL,
                  "this is no safetensors file: its header does not begin with {");
  file->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
  if (!file->header)
    return report(file, diag, NULL, "its header is not valid JSON: %s, at byte %d", error.text,
                  error.position);
  const char *name;
  json_t *value;
  json_object_foreach(file->header, name, value) {
    if (strcmp(name, "__metadata__") != 0) {
      if (!read_entry(file, name, value, data_bytes, diag)) return false;
      continue;
    }
    if (!json_is_object(value)) return report(file, diag, NULL, "its __metadata__ is no object");
    const char *key;
    json_t *item;
    json_object_foreach(value, key, item) {
      if (!json_is_string(item))
        return report(file, diag, NULL, "the value of `%s` in its __metadata__ is no text", key);
    }
  }
  if (file->count) qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_place);
  return check_cover(file, data_bytes, diag);
}

static int64_t aligned(int64_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool read_data(CellTensors *file, FILE *in, CellDiag *diag) {
  // in the file a tensor stands anywhere; in memory each begins at a multiple of 64
  int64_t bytes = 0;
  for (int i = 0; i < file->count; i++)
    bytes += aligned(file->entries[i].end - file->entries[i].begin);
  file->block = calloc(1, (size_t)bytes + ALIGNMENT);
  if (!file->block)
    return report(file, diag, NULL, "out of memory: its tensors take %jd bytes", (intmax_t)bytes);
  char *at = (char *)file->block + (ALIGNMENT - (uintptr_t)file->block % ALIGNMENT);

  for (int i = 0; i < file->count; i++) {
    Entry *entry = &file->entries[i];
    size_t size = (size_t)(entry->end - entry->begin);
    entry->tensor.data = at;
    if (fread(at, 1, size, in) != size)
      return report(file, diag, entry->tensor.name, "cannot read its data: %s",
                    ferror(in) ? strerror(errno) : "the file became shorter");
    at += aligned((int64_t)size);
  }
  return true;
}

static bool read_file(CellTensors *file, FILE *in, CellDiag *diag) {
  struct stat status;
  unsigned char prefix[8];
  if (fstat(fileno(in), &status) != 0 || !S_ISREG(status.st_mode))
    return report(file, diag, NULL, "this is no regular file");
  if (status.st_size < 8 || fread(prefix, 1, 8, in) != 8)
    return report(file, diag, NULL, "this is no safetensors file: it has only %jd bytes",
                  (intmax_t)status.st_size);
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | prefix[i];
  if (length > HEADER_LIMIT)
    return report(file, diag, NULL,
                  "this is no safetensors file: its header would have %ju bytes (at most %d)",
                  (uintmax_t)length, HEADER_LIMIT);
  if ((int64_t)length > status.st_size - 8)
    return report(file, diag, NULL, "it is truncated: the header has %ju bytes, the file %jd",
                  (uintmax_t)length, (intmax_t)status.st_size);

  char *text = cell_malloc((size_t)length + 1);
  bool ok = fread(text, 1, (size_t)length, in) == length;
  if (!ok)
    report(file, diag, NULL, "cannot read its header: %s",
           ferror(in) ? strerror(errno) : "the file became shorter");
  int64_t data_bytes = status.st_size - 8 - (int64_t)length;
  ok = ok && read_header(file, text, (size_t)length, data_bytes, diag);
  free(text);
  if (!ok || !read_data(file, in, diag)) return false;

  file->sorted = CELL_NEW_ARRAY(file->arena, const Entry *, file->count);
  for (int i = 0; i < file->count; i++) file->sorted[i] = &file->entries[i];
  qsort((void *)file->sorted, (size_t)file->count, sizeof(const Entry *), by_name);
  return true;
}

CellTensors *cell_tensors_read(const char *path, CellDiag *diag) {
  CellTensors *file = cell_malloc(sizeof *file);
  file->arena = cell_arena_create();
  file->path = cell_arena_strdup(file->arena, path);
  FILE *in = fopen(path, "rb");
  if (!in) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read `%s`: %s", path, strerror(errno));
    cell_tensors_destroy(file);
    return NULL;
  }
  bool ok = read_file(file, in, diag);
  fclose(in);
  if (ok) return file;
  cell_tensors_destroy(file);
  return NULL;
}

void cell_tensors_destroy(CellTensors *tensors) {
  if (!tensors) return;
  json_decref(tensors->header);
  free(tensors->block);
  cell_arena_destroy(tensors->arena);
  free(tensors);
}

const CellFileTensor *cell_tensors_find(const CellTensors *tensors, const char *name) {
  int low = 0, high = tensors->count;
  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(name, tensors->sorted[middle]->tensor.name);
    if (order == 0) return &tensors->sorted[middle]->tensor;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

const CellFileTensor *cell_tensors_need(const CellTensors *tensors, const char *name,
                                        CellDiag *diag) {
  const CellFileTensor *found = cell_tensors_find(tensors, name);
  if (found) return found;
  const char **names = cell_malloc((size_t)tensors->count * sizeof *names);
  for (int i = 0; i < tensors->count; i++) names[i] = tensors->entries[i].tensor.name;
  const char *nearest = cell_nearest(name, names, tensors->count);
  CellRecord *record =
      cell_error(diag, NULL, CELL_NOWHERE, "`%s`: it holds no tensor `%s`", tensors->path, name);
  if (nearest) cell_help(diag, record, "it holds `%s`", nearest);
  free((void *)names);
  return NULL;
}

int cell_tensors_count(const CellTensors *tensors) {
  return tensors->count;
}

const CellFileTensor *cell_tensors_at(const CellTensors *tensors, int index) {
  CELL_ASSERT(index >= 0 && index < tensors->count);
  return &tensors->entries[index].tensor;
}

const char *cell_tensors_metadata(const CellTensors *tensors, const char *key) {
  return json_string_value(json_object_get(json_object_get(tensors->header, "__metadata__"), key));
}

/* ---- writing ---- */

typedef struct {
  const char *key, *text;
} Pair;

struct CellTensorWriter {
  CellArena *arena;
  CellFileTensor *tensors;
  int count, capacity;
  Pair *metadata;
  int metadata_count, metadata_capacity;
  void **owned; /* converted copies */
  int owned_count, owned_capacity;
};

CellTensorWriter *cell_tensor_writer_create(void) {
  CellTensorWriter *writer = cell_malloc(sizeof *writer);
  writer->arena = cell_arena_create();
  return writer;
}

void cell_tensor_writer_destroy(CellTensorWriter *writer) {
  if (!writer) return;
  for (int i = 0; i < writer->owned_count; i++) free(writer->owned[i]);
  cell_arena_destroy(writer->arena);
  free(writer);
}

void cell_tensor_writer_metadata(CellTensorWriter *writer, const char *key, const char *text) {
  Pair pair = {cell_arena_strdup(writer->arena, key), cell_arena_strdup(writer->arena, text)};
  CELL_PUSH(writer->arena, writer->metadata, writer->metadata_count, writer->metadata_capacity,
            pair);
}

void cell_tensor_writer_add(CellTensorWriter *writer, const char *name, CellTensorType type,
                            int rank, const int64_t *shape, const void *data) {
  CELL_ASSERT(rank >= 0 && rank <= CELL_TENSOR_MAX_RANK && type < CELL_TENSOR_TYPES);
  CellFileTensor tensor = {
      .name = cell_arena_strdup(writer->arena, name), .type = type, .rank = rank, .count = 1};
  for (int i = 0; i < rank; i++) {
    CELL_ASSERT(shape[i] >= 0);
    tensor.shape[i] = shape[i];
    tensor.count *= shape[i];
  }
  tensor.data = data;
  CELL_PUSH(writer->arena, writer->tensors, writer->count, writer->capacity, tensor);
}

/* towards zero, into [low, high]; NaN is 0 */
static double whole(double value, double low, double high) {
  if (isnan(value)) return 0;
  value = trunc(value);
  return value < low ? low : value > high ? high : value;
}

static void convert(CellTensorType type, const double *values, int64_t count, void *out) {
  // the largest double below 2^63 stands for the largest int64_t
  const double most = 9223372036854774784.0;
  for (int64_t i = 0; i < count; i++) {
    double v = values[i];
    switch (type) {
    case CELL_TENSOR_F64: ((double *)out)[i] = v; break;
    case CELL_TENSOR_F32: ((float *)out)[i] = (float)v; break;
    case CELL_TENSOR_I64: ((int64_t *)out)[i] = (int64_t)whole(v, -most, most); break;
    case CELL_TENSOR_I32: ((int32_t *)out)[i] = (int32_t)whole(v, INT32_MIN, INT32_MAX); break;
    case CELL_TENSOR_U8: ((uint8_t *)out)[i] = (uint8_t)whole(v, 0, 255); break;
    case CELL_TENSOR_BOOL: ((uint8_t *)out)[i] = v != 0; break;
    case CELL_TENSOR_TYPES: CELL_ASSERT(!"a type");
    }
  }
}

void cell_tensor_writer_add_doubles(CellTensorWriter *writer, const char *name, CellTensorType type,
                                    int rank, const int64_t *shape, const double *values) {
  cell_tensor_writer_add(writer, name, type, rank, shape, NULL);
  CellFileTensor *tensor = &writer->tensors[writer->count - 1];
  void *copy = cell_malloc((size_t)tensor->count * types[type].bytes);
  convert(type, values, tensor->count, copy);
  tensor->data = copy;
  CELL_PUSH(writer->arena, writer->owned, writer->owned_count, writer->owned_capacity, copy);
}

static int64_t bytes_of(const CellFileTensor *tensor) {
  return tensor->count * (int64_t)types[tensor->type].bytes;
}

/* the tensors with entries of 8 bytes, then 4, then 1, each in the order they were added */
static const CellFileTensor **order(const CellTensorWriter *writer) {
  const CellFileTensor **list = cell_malloc((size_t)writer->count * sizeof *list);
  int count = 0;
  for (size_t bytes = 8; bytes > 0; bytes /= 2)
    for (int i = 0; i < writer->count; i++)
      if (types[writer->tensors[i].type].bytes == bytes) list[count++] = &writer->tensors[i];
  return list;
}

static json_t *describe(const CellFileTensor *tensor, int64_t begin) {
  json_t *shape = json_array();
  for (int i = 0; i < tensor->rank; i++)
    json_array_append_new(shape, json_integer(tensor->shape[i]));
  json_int_t end = begin + bytes_of(tensor);
  return json_pack("{s:s, s:o, s:[I, I]}", "dtype", types[tensor->type].name, "shape", shape,
                   "data_offsets", (json_int_t)begin, end);
}

static json_t *build_header(const CellTensorWriter *writer, const CellFileTensor *const *list,
                            const char *path, CellDiag *diag) {
  json_t *header = json_object();
  if (writer->metadata_count) {
    json_t *metadata = json_object();
    json_object_set_new(header, "__metadata__", metadata);
    for (int i = 0; i < writer->metadata_count; i++) {
      const Pair *pair = &writer->metadata[i];
      if (json_object_set_new(metadata, pair->key, json_string(pair->text)) == 0) continue;
      cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: its metadata is not UTF-8", path);
      goto fail;
    }
  }
  int64_t at = 0;
  for (int i = 0; i < writer->count; i++) {
    const char *name = list[i]->name;
    const char *problem = strcmp(name, "__metadata__") == 0 ? "cannot be a tensor's name"
                          : json_object_get(header, name)   ? "is the name of two tensors"
                                                            : NULL;
    if (!problem && json_object_set_new(header, name, describe(list[i], at)) != 0)
      problem = "is not UTF-8";
    if (problem) {
      cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: `%s` %s", path, name, problem);
      goto fail;
    }
    at += bytes_of(list[i]);
  }
  return header;
fail:
  json_decref(header);
  return NULL;
}

bool cell_tensor_writer_write(const CellTensorWriter *writer, const char *path, CellDiag *diag) {
  bool ok = false;
  char *text = NULL;
  CellNewFile *file = NULL;
  const CellFileTensor **list = order(writer);
  json_t *header = build_header(writer, list, path, diag);
  if (!header) goto done;
  text = json_dumps(header, JSON_COMPACT);
  file = cell_new_file(path, diag);
  if (!text || !file) goto done;

  // the length and the header, padded so that the data begins at a multiple of 8
  FILE *out = cell_new_file_stream(file);
  size_t length = strlen(text), padded = (length + 7) / 8 * 8;
  unsigned char prefix[8];
  for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((uint64_t)padded >> 8 * i);
  fwrite(prefix, 1, 8, out);
  fprintf(out, "%s%*s", text, (int)(padded - length), "");
  for (int i = 0; i < writer->count && !ferror(out); i++)
    if (list[i]->count) fwrite(list[i]->data, 1, (size_t)bytes_of(list[i]), out);
  ok = cell_new_file_commit(file, diag);
  file = NULL;

done:
  cell_new_file_abandon(file);
  free(text);
  json_decref(header);
  free((void *)list);
  return ok;
}
