/* reading and writing tensors: what comes back, and every way a file can be wrong */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/safetensors.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char folder[] = "/tmp/cellc-tensors-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? chdir(folder) : -1;
}

static int remove_folder(void **state) {
  (void)state;
  unlink("a");
  return chdir("/") || rmdir(folder);
}

/* ---- round trips ---- */

static void test_round_trip(void **state) {
  (void)state;
  const double reals[] = {0.1, -INFINITY, 3e-310};
  const float floats[] = {1, 2, 3, 4, 5, 6};
  const int64_t longs[] = {INT64_MIN, INT64_MAX};
  const int32_t ints[] = {-7};
  const uint8_t bytes[] = {0, 255, 7}, truths[] = {1, 0};
  CellTensorWriter *writer = cell_tensor_writer_create();
  cell_tensor_writer_metadata(writer, "widths", "[400, 200]");
  cell_tensor_writer_metadata(writer, "name", "\"\xc3\xa9\"");
  cell_tensor_writer_add(writer, "u8", CELL_TENSOR_U8, 1, (int64_t[]){3}, bytes);
  cell_tensor_writer_add(writer, "f32", CELL_TENSOR_F32, 2, (int64_t[]){2, 3}, floats);
  cell_tensor_writer_add(writer, "f64", CELL_TENSOR_F64, 1, (int64_t[]){3}, reals);
  cell_tensor_writer_add(writer, "scalar", CELL_TENSOR_I32, 0, NULL, ints);
  cell_tensor_writer_add(writer, "i64", CELL_TENSOR_I64, 1, (int64_t[]){2}, longs);
  cell_tensor_writer_add(writer, "truths", CELL_TENSOR_BOOL, 1, (int64_t[]){2}, truths);
  cell_tensor_writer_add(writer, "empty", CELL_TENSOR_F32, 2, (int64_t[]){4, 0}, NULL);
  CellDiag *diag = cell_diag_create();
  assert_true(cell_tensor_writer_write(writer, "a", diag));
  cell_tensor_writer_destroy(writer);

  CellTensors *file = cell_tensors_read("a", diag);
  assert_int_equal(diag->error_count, 0);
  assert_string_equal(cell_tensors_metadata(file, "widths"), "[400, 200]");
  assert_string_equal(cell_tensors_metadata(file, "name"), "\"\xc3\xa9\"");
  assert_null(cell_tensors_metadata(file, "none"));

  // larger entries come first, so that all data is aligned in the file; where two tensors begin at
  // the same byte the empty one comes first
  const char *const order[] = {"f64", "i64", "f32", "scalar", "empty", "u8", "truths"};
  assert_int_equal(cell_tensors_count(file), 7);
  for (int i = 0; i < 7; i++) {
    const CellFileTensor *tensor = cell_tensors_at(file, i);
    assert_string_equal(tensor->name, order[i]);
    assert_int_equal((uintptr_t)tensor->data % 64, 0);
    assert_ptr_equal(tensor, cell_tensors_find(file, tensor->name));
  }

  const CellFileTensor *f32 = cell_tensors_find(file, "f32");
  assert_int_equal(f32->type, CELL_TENSOR_F32);
  assert_true(cell_tensor_has_shape(f32, 2, (int64_t[]){2, 3}));
  assert_false(cell_tensor_has_shape(f32, 2, (int64_t[]){3, 2}));
  assert_false(cell_tensor_has_shape(f32, 1, (int64_t[]){2}));
  assert_memory_equal(f32->data, floats, sizeof floats);
  assert_memory_equal(cell_tensors_find(file, "f64")->data, reals, sizeof reals);
  assert_memory_equal(cell_tensors_find(file, "i64")->data, longs, sizeof longs);
  assert_memory_equal(cell_tensors_find(file, "u8")->data, bytes, sizeof bytes);
  assert_memory_equal(cell_tensors_find(file, "truths")->data, truths, sizeof truths);
  assert_int_equal(cell_tensors_find(file, "scalar")->rank, 0);
  assert_int_equal(cell_tensors_find(file, "scalar")->count, 1);
  double out[6];
  cell_tensor_doubles(f32, out);
  for (int i = 0; i < 6; i++) assert_true(out[i] == i + 1);

  assert_null(cell_tensors_find(file, "f3"));
  assert_null(cell_tensors_need(file, "f33", diag));
  assert_string_equal(diag->records[0].message, "`a`: it holds no tensor `f33`");
  assert_string_equal(diag->records[0].help, "it holds `f32`");
  cell_tensors_destroy(file);
  cell_tensors_destroy(NULL);
  cell_diag_destroy(diag);
}

static void test_doubles_are_converted(void **state) {
  (void)state;
  const double values[] = {0.1, -1.9, 1e300, NAN};
  CellTensorWriter *writer = cell_tensor_writer_create();
  for (int type = 0; type < CELL_TENSOR_TYPES; type++)
    cell_tensor_writer_add_doubles(writer, cell_tensor_type_name((CellTensorType)type),
                                   (CellTensorType)type, 1, (int64_t[]){4}, values);
  CellDiag *diag = cell_diag_create();
  assert_true(cell_tensor_writer_write(writer, "a", diag));
  cell_tensor_writer_destroy(writer);
  CellTensors *file = cell_tensors_read("a", diag);
  double out[4];
  cell_tensor_doubles(cell_tensors_find(file, "F32"), out);
  assert_true(out[0] == 0.1f && out[1] == -1.9f && isinf(out[2]) && isnan(out[3]));
  cell_tensor_doubles(cell_tensors_find(file, "I32"), out);
  assert_true(out[0] == 0 && out[1] == -1 && out[2] == INT32_MAX && out[3] == 0);
  cell_tensor_doubles(cell_tensors_find(file, "U8"), out);
  assert_true(out[0] == 0 && out[1] == 0 && out[2] == 255 && out[3] == 0);
  cell_tensor_doubles(cell_tensors_find(file, "BOOL"), out);
  assert_true(out[0] == 1 && out[1] == 1 && out[2] == 1 && out[3] == 1);
  cell_tensors_destroy(file);
  cell_diag_destroy(diag);
}

static void test_same_calls_same_bytes(void **state) {
  (void)state;
  const float values[] = {1, 2};
  char *texts[2];
  size_t lengths[2];
  CellDiag *diag = cell_diag_create();
  for (int i = 0; i < 2; i++) {
    CellTensorWriter *writer = cell_tensor_writer_create();
    cell_tensor_writer_add(writer, "b", CELL_TENSOR_F32, 1, (int64_t[]){2}, values);
    cell_tensor_writer_add(writer, "a", CELL_TENSOR_F32, 1, (int64_t[]){2}, values);
    assert_true(cell_tensor_writer_write(writer, "a", diag));
    cell_tensor_writer_destroy(writer);
    texts[i] = cell_read_file("a", 10000, &lengths[i], diag);
  }
  assert_int_equal(lengths[0], lengths[1]);
  assert_memory_equal(texts[0], texts[1], lengths[0]);
  assert_int_equal((8 + (unsigned char)texts[0][0]) % 8, 0);
  free(texts[0]);
  free(texts[1]);
  cell_diag_destroy(diag);
}

/* ---- writing goes wrong ---- */

static void expect_write_error(const char *path, const char *first, const char *second,
                               const char *part) {
  const float value = 1;
  CellTensorWriter *writer = cell_tensor_writer_create();
  cell_tensor_writer_add(writer, first, CELL_TENSOR_F32, 0, NULL, &value);
  cell_tensor_writer_add(writer, second, CELL_TENSOR_F32, 0, NULL, &value);
  CellDiag *diag = cell_diag_create();
  assert_false(cell_tensor_writer_write(writer, path, diag));
  assert_int_equal(diag->error_count, 1);
  if (!strstr(diag->records[0].message, part)) fail_msg("%s", diag->records[0].message);
  cell_tensor_writer_destroy(writer);
  cell_diag_destroy(diag);
}

static void test_write_errors(void **state) {
  (void)state;
  expect_write_error("b", "x", "x", "cannot write `b`: `x` is the name of two tensors");
  expect_write_error("b", "x", "\xff", "is not UTF-8");
  expect_write_error("b", "x", "__metadata__", "cannot be a tensor's name");
  expect_write_error("/dev/full", "x", "y", "cannot write `/dev/full`: No space left on device");
  expect_write_error("no/such", "x", "y", "No such file");
  assert_int_equal(access("b", F_OK), -1);
}

/* a limit on the size of files stands in for a full disk */
static void test_full_disk_keeps_the_old_file(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_true(cell_write_file("a", "old", 3, diag));
  enum { COUNT = 1000000 };
  char *data = cell_malloc(COUNT);
  CellTensorWriter *writer = cell_tensor_writer_create();
  cell_tensor_writer_add(writer, "x", CELL_TENSOR_U8, 1, (int64_t[]){COUNT}, data);
  struct rlimit before;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit small = {10000, before.rlim_max};
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  bool written = cell_tensor_writer_write(writer, "a", diag);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  assert_false(written);
  assert_int_equal(diag->error_count, 1);
  size_t length;
  char *text = cell_read_file("a", 100, &length, diag);
  assert_string_equal(text, "old");
  free(text);
  free(data);
  cell_tensor_writer_destroy(writer);
  cell_diag_destroy(diag);
}

/* ---- malformed files ---- */

typedef struct {
  const char *header;
  int64_t claimed; /* the header's length as the file states it, -1: the true one */
  int data_bytes;
  const char *message; /* a part of it; NULL: the file is fine */
} Case;

static const Case cases[] = {
    {"{}", -1, 0, NULL},
    {"{}   ", -1, 0, NULL},
    {"{\"__metadata__\":{}}", -1, 0, NULL},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", -1, 4, NULL},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807,3],\"data_offsets\":[0,0]}}", -1,
     0, NULL},

    // the frame
    {"{}", 3, 0, "it is truncated: the header has 3 bytes, the file 10"},
    {"{}", 100000001, 0, "its header would have 100000001 bytes (at most 100000000)"},
    {"{}", INT64_MAX, 0, "its header would have 9223372036854775807 bytes"},
    {"{}", 0, 0, "its header does not begin with {"},
    {"", -1, 0, "its header does not begin with {"},
    {" {}", -1, 0, "its header does not begin with {"},
    {"[]", -1, 0, "its header does not begin with {"},
    {"{", -1, 0, "its header is not valid JSON"},
    {"{} x", -1, 0, "its header is not valid JSON"},
    {"{\"\xff\":1}", -1, 0, "its header is not valid JSON"},
    {"{\"x\":1e999}", -1, 0, "its header is not valid JSON"},
    {"{\"x\":{},\"x\":{}}", -1, 0, "duplicate object key"},

    // one tensor
    {"{\"x\":3}", -1, 0, "tensor `x`: its description is no object"},
    {"{\"x\":{}}", -1, 0, "tensor `x`: its dtype is missing or no text"},
    {"{\"x\":{\"dtype\":4}}", -1, 0, "tensor `x`: its dtype is missing or no text"},
    {"{\"x\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", -1, 4,
     "tensor `x`: its dtype F16 is not supported (only F64, F32, I64, I32, U8 and BOOL are)"},
    {"{\"x\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", -1, 4,
     "its dtype BF16 is not supported"},
    {"{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", -1, 4, "its shape is missing"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", -1, 4,
     "its shape holds something that is no extent"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[-1,-1],\"data_offsets\":[0,4]}}", -1, 4,
     "its shape holds something that is no extent"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", -1, 4,
     "its rank is 9; at most 8 is supported"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", -1, 0,
     "its shape is too large to count its bytes"},
    {"{\"x\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", -1, 0,
     "its shape is too large to count its bytes"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", -1, 4,
     "its header is not valid JSON: too big integer"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", -1, 4,
     "tensor `x`: its shape and dtype take 8 bytes, its data has 4"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 3,
     "tensor `x`: its data_offsets [0, 4] are not in the 3 bytes of data (is the file truncated?)"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", -1, 4,
     "its data_offsets [-4, 0] are not in the 4 bytes of data"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", -1, 4,
     "its data_offsets [4, 0] are not in the 4 bytes of data"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", -1, 4, "its data_offsets are missing"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", -1, 4,
     "its data_offsets are missing or not two integers"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", -1, 4,
     "its data_offsets are missing or not two integers"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"order\":\"F\"}}", -1, 4,
     "tensor `x`: unknown key `order` in its description"},

    // several
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
     "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
     -1, 4, "tensor `y`: its data overlaps that of `x`"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
     -1, 4, "tensor `y`: 1 bytes of data before it belong to no tensor"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", -1, 4,
     "the last 3 bytes of data belong to no tensor"},
    {"{}", -1, 1, "the last 1 bytes of data belong to no tensor"},
    {"{\"__metadata__\":[]}", -1, 0, "its __metadata__ is no object"},
    {"{\"__metadata__\":{\"k\":3}}", -1, 0, "the value of `k` in its __metadata__ is no text"},
};

/* the file of a case; returns its length */
static size_t build(const Case *c, char *out, size_t room) {
  size_t length = strlen(c->header);
  uint64_t claimed = c->claimed < 0 ? length : (uint64_t)c->claimed;
  assert_true(8 + length + (size_t)c->data_bytes <= room);
  for (int i = 0; i < 8; i++) out[i] = (char)(claimed >> 8 * i);
  memcpy(out + 8, c->header, length);
  memset(out + 8 + length, 0, (size_t)c->data_bytes);
  return 8 + length + (size_t)c->data_bytes;
}

static void put(const char *data, size_t length) {
  FILE *out = fopen("a", "wb");
  assert_int_equal(fwrite(data, 1, length, out), length);
  fclose(out);
}

static void test_malformed_files(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char data[512];
    put(data, build(&cases[i], data, sizeof data));
    CellDiag *diag = cell_diag_create();
    CellTensors *file = cell_tensors_read("a", diag);
    const char *message = diag->error_count ? diag->records[0].message : "no error";
    if (!cases[i].message) {
      if (!file) fail_msg("%s: %s", cases[i].header, message);
    } else {
      if (file || !strstr(message, cases[i].message))
        fail_msg("%s: %s\nwanted: %s", cases[i].header, message, cases[i].message);
      assert_int_equal(strncmp(message, "`a`: ", 5), 0);
    }
    cell_tensors_destroy(file);
    cell_diag_destroy(diag);
  }
}

static void test_not_a_file(void **state) {
  (void)state;
  const struct {
    const char *path, *message;
  } wrong[] = {{"none", "cannot read `none`: No such file or directory"},
               {".", "`.`: this is no regular file"},
               {"/dev/zero", "`/dev/zero`: this is no regular file"},
               {"a", "`a`: this is no safetensors file: it has only 5 bytes"}};
  put("12345", 5);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    CellDiag *diag = cell_diag_create();
    assert_null(cell_tensors_read(wrong[i].path, diag));
    assert_string_equal(diag->records[0].message, wrong[i].message);
    cell_diag_destroy(diag);
  }
}

/* every prefix of a good file, and every file with one byte changed, is read or refused, no more */
static void test_damaged_files(void **state) {
  (void)state;
  const Case good = {"{\"__metadata__\":{\"k\":\"v\"},"
                     "\"x\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}",
                     -1, 8, NULL};
  char data[512];
  size_t length = build(&good, data, sizeof data);
  CellDiag *diag = cell_diag_create();
  for (size_t cut = 0; cut < length; cut++) {
    put(data, cut);
    assert_null(cell_tensors_read("a", diag));
  }
  for (size_t at = 0; at < length; at++)
    for (int bit = 0; bit < 8; bit++) {
      data[at] = (char)(data[at] ^ 1 << bit);
      put(data, length);
      cell_tensors_destroy(cell_tensors_read("a", diag));
      data[at] = (char)(data[at] ^ 1 << bit);
    }
  cell_diag_destroy(diag);
}

/* ---- recorded networks ---- */

static int read_folder(const char *path) {
  int count = 0;
  DIR *dir = opendir(path);
  assert_non_null(dir);
  for (const struct dirent *entry; (entry = readdir(dir));) {
    if (!strstr(entry->d_name, ".safetensors")) continue;
    CellText name = {0};
    cell_text_printf(&name, "%s/%s", path, entry->d_name);
    CellDiag *diag = cell_diag_create();
    CellTensors *file = cell_tensors_read(name.data, diag);
    if (!file) fail_msg("%s", diag->records[0].message);
    assert_true(cell_tensors_count(file) > 10);
    const char *system = cell_tensors_metadata(file, "system");
    assert_true(strcmp(system, "\"arq\"") == 0 || strcmp(system, "\"ad\"") == 0);
    const CellFileTensor *loss = cell_tensors_need(file, "update1/cell1/loss", diag);
    assert_int_equal(diag->error_count, 0);
    double value;
    assert_int_equal(loss->count, 1);
    cell_tensor_doubles(loss, &value);
    assert_true(value > 0 && value < 100);
    cell_tensors_destroy(file);
    cell_diag_destroy(diag);
    cell_text_free(&name);
    count++;
  }
  closedir(dir);
  return count;
}

static void test_recorded_networks(void **state) {
  (void)state;
  assert_int_equal(read_folder(CELLC_SOURCE_DIR "/tests/data/arq"), 9);
  const char *reference = getenv("CELLC_REFERENCE");
  if (!reference) {
    print_message("CELLC_REFERENCE is not set: only tests/data/arq was read\n");
    return;
  }
  CellText path = {0};
  cell_text_printf(&path, "%s/arq", reference);
  assert_true(read_folder(path.data) >= 20);
  cell_text_free(&path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_doubles_are_converted),
      cmocka_unit_test(test_same_calls_same_bytes),
      cmocka_unit_test(test_write_errors),
      cmocka_unit_test(test_full_disk_keeps_the_old_file),
      cmocka_unit_test(test_malformed_files),
      cmocka_unit_test(test_not_a_file),
      cmocka_unit_test(test_damaged_files),
      cmocka_unit_test(test_recorded_networks),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
