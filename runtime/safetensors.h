/* safetensors.h - reading and writing named tensors in the safetensors format:
 *
 *   8 bytes     N, the length of the header, little-endian
 *   N bytes     JSON: {"__metadata__": {"key": "text", ...},
 *                      "name": {"dtype": "F32", "shape": [400, 1000], "data_offsets": [0,
 * 1600000]},
 *                      ...}, padded with spaces
 *   the rest    the data, row-major, little-endian; offsets count from here, end exclusive
 *
 * A file is read whole and checked whole: whatever is wrong with it is an error that names the file
 * and the tensor, never a wrong number. Errors go to a CellDiag, with CELL_NOWHERE. */
#ifndef CELL_SAFETENSORS_H
#define CELL_SAFETENSORS_H

#include "ir/support.h"

/* The types that are read and written. Files with others (F16, BF16, F8...) are refused by name. */
typedef enum {
  CELL_TENSOR_F64,
  CELL_TENSOR_F32,
  CELL_TENSOR_I64,
  CELL_TENSOR_I32,
  CELL_TENSOR_U8,
  CELL_TENSOR_BOOL, /* one byte, 0 or 1 */
  CELL_TENSOR_TYPES
} CellTensorType;

enum { CELL_TENSOR_MAX_RANK = 8 };

typedef struct {
  const char *name;
  CellTensorType type;
  int rank;                            /* 0: a scalar */
  int64_t shape[CELL_TENSOR_MAX_RANK]; /* entries beyond the rank are 0 */
  int64_t count;                       /* product of the shape: 1 for a scalar, may be 0 */
  const void *data;                    /* row-major, aligned to 64 bytes */
} CellFileTensor;

/* "F32" and so on */
const char *cell_tensor_type_name(CellTensorType type);
/* bytes of one entry */
size_t cell_tensor_type_bytes(CellTensorType type);

/* All entries of a tensor as doubles (true is 1; 64-bit integers round), into out[count]. */
void cell_tensor_doubles(const CellFileTensor *tensor, double *out);

/* Whether the tensor has this shape. */
bool cell_tensor_has_shape(const CellFileTensor *tensor, int rank, const int64_t *shape);

/* ---- reading ---- */

/* A file that was read. Everything below lives until cell_tensors_destroy. */
typedef struct CellTensors CellTensors;

/* Reads and checks a file; NULL after an error. */
CellTensors *cell_tensors_read(const char *path, CellDiag *diag);
void cell_tensors_destroy(CellTensors *tensors); /* NULL is fine */

/* The tensor with this name, or NULL. */
const CellFileTensor *cell_tensors_find(const CellTensors *tensors, const char *name);
/* The same, with an error that names the file (and the nearest name) when it is not there. */
const CellFileTensor *cell_tensors_need(const CellTensors *tensors, const char *name,
                                        CellDiag *diag);
/* All tensors, in the order of their data. */
int cell_tensors_count(const CellTensors *tensors);
const CellFileTensor *cell_tensors_at(const CellTensors *tensors, int index);
/* The text of a `__metadata__` key, or NULL. */
const char *cell_tensors_metadata(const CellTensors *tensors, const char *key);

/* ---- writing ---- */

/* Tensors to be written. Names are copied, data is not: it must live until the write. */
typedef struct CellTensorWriter CellTensorWriter;

CellTensorWriter *cell_tensor_writer_create(void);
void cell_tensor_writer_destroy(CellTensorWriter *writer); /* NULL is fine */

void cell_tensor_writer_metadata(CellTensorWriter *writer, const char *key, const char *text);
/* `data` is row-major, of the product of shape[0..rank) entries of the type. */
void cell_tensor_writer_add(CellTensorWriter *writer, const char *name, CellTensorType type,
                            int rank, const int64_t *shape, const void *data);
/* The same from doubles, which are converted (rounded to nearest, integers truncated and clamped, a
 * bool is whether it is not 0) and copied: `values` may go at once. */
void cell_tensor_writer_add_doubles(CellTensorWriter *writer, const char *name, CellTensorType type,
                                    int rank, const int64_t *shape, const double *values);

/* Writes all of it to `path` by way of PATH.tmp (see files.h); false after an error (two tensors of
 * one name, a name that is no UTF-8, a full disk), and an old file is then as it was. The header's
 * keys and the data are in the order they were added, but larger entries first (so all data is
 * aligned to its type); the same calls give the same bytes. The writer stays as it is. */
bool cell_tensor_writer_write(const CellTensorWriter *writer, const char *path, CellDiag *diag);

#endif
