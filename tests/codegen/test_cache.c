/* test_cache.c - the cache of compiled kernels: what it gives back is whole, made for the same key, or
 * nothing; and what happens without the module that compiles. */
#include "codegen/internal.h"
#include "kernels.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/cellc-test-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/cellc-test-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state) {
  (void)state;
  chmod(folder, 0700);
  remove_folder(folder);
  return 0;
}

/* calls f on each file of the folder; returns their number */
static int each_file(void (*f)(const char *path)) {
  DIR *all = opendir(folder);
  assert_non_null(all);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.') continue;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    count++;
    if (f) f(path);
  }
  closedir(all);
  return count;
}

static void cut_short(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(truncate(path, info.st_size - 7), 0);
}

static void empty(const char *path) {
  assert_int_equal(truncate(path, 0), 0);
}

static void change_at(const char *path, long at, int whence) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  fseek(file, at, whence);
  int c = fgetc(file);
  fseek(file, at, whence);
  fputc(c ^ 0x10, file);
  fclose(file);
}

static void change_code(const char *path) {
  change_at(path, -100, SEEK_END);
}

static void change_key(const char *path) {
  change_at(path, 9, SEEK_SET);
}

static void claim_length(const char *path) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  fseek(file, 24, SEEK_SET);
  for (int i = 0; i < 8; i++) fputc(0x7f, file);
  fclose(file);
}

/* doubles 100 numbers with the cache in `cache`; false: no engine */
static bool doubles(const char *cache, CellDiag *diag) {
  CellArena *arena = cell_arena_create();
  Arg args[2] = {{CELL_F, 100, 0, false}, {CELL_F, 100, 0, true}};
  CellKernel *k = new_kernel(arena, "double", 1, 2, args);
  CellStmt **tail = &k->body, **lane;
  int v = loop(k, &tail, CELL_LOOP_LANES, cell_affine(0), 100, 0, &lane)->var;
  int x = load(k, &lane, arg(0), cell_affine_var(v, 1));
  store(k, &lane, arg(1), cell_affine_var(v, 1), let(k, &lane, CELL_OP_ADD, x, x, -1), false);
  CellEngineOptions options = {.threads = 1, .cache_dir = cache};
  CellEngine *e =
      cell_engine_create(NULL, plan_of(arena, k, args, 0), CELL_BACKEND_CPU, &options, diag);
  if (e) {
    double in[100], out[100];
    for (int i = 0; i < 100; i++) in[i] = i - 50;
    assert_true(cell_engine_set(e, "run", "a0", in, 100));
    assert_true(cell_engine_run(e, "run", diag));
    assert_true(cell_engine_get(e, "run", "a1", out, 100));
    for (int i = 0; i < 100; i++) assert_float_equal(out[i], 2 * in[i], 0);
  }
  cell_engine_destroy(e);
  cell_arena_destroy(arena);
  return e != NULL;
}

static void damaged_entries(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_true(doubles(folder, diag));
  int count = each_file(NULL);
  assert_true(count > 0);
  assert_true(doubles(folder, diag));
  assert_int_equal(each_file(NULL), count);
  void (*const damages[])(const char *) = {cut_short, empty, change_code, change_key, claim_length};
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    each_file(damages[i]);
    assert_true(doubles(folder, diag)); // compiled again, and the entry put right
    assert_true(doubles(folder, diag));
    assert_int_equal(each_file(NULL), count);
  }
  assert_int_equal(diag->record_count, 0);
  cell_diag_destroy(diag);
}

static void entries(void **state) {
  (void)state;
  CellKey key = cell_key((CellKey){{1, 2}}, "text", 4);
  CellKey other = cell_key((CellKey){{1, 2}}, "texu", 4);
  assert_true(memcmp(&key, &other, sizeof key) != 0);
  size_t length = 0;
  assert_null(cell_cache_read(folder, key, &length));
  assert_null(cell_cache_read(NULL, key, &length));
  cell_cache_write(folder, key, "object", 6);
  char *data = cell_cache_read(folder, key, &length);
  assert_non_null(data);
  assert_int_equal(length, 6);
  assert_memory_equal(data, "object", 6);
  free(data);
  assert_null(cell_cache_read(folder, other, &length));
  // an entry under another's name was made for another key
  char from[512], to[512];
  snprintf(from, sizeof from, "%s/%016llx%016llx.o", folder, (unsigned long long)key.words[0],
           (unsigned long long)key.words[1]);
  snprintf(to, sizeof to, "%s/%016llx%016llx.o", folder, (unsigned long long)other.words[0],
           (unsigned long long)other.words[1]);
  assert_int_equal(rename(from, to), 0);
  assert_null(cell_cache_read(folder, other, &length));
}

static void folders(void **state) {
  (void)state;
  setenv("XDG_CACHE_HOME", "/tmp/there", 1);
  char *path = cell_cache_folder(NULL);
  assert_string_equal(path, "/tmp/there/cellc");
  free(path);
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/me", 1);
  path = cell_cache_folder(NULL);
  assert_string_equal(path, "/home/me/.cache/cellc");
  free(path);
  assert_null(cell_cache_folder(""));
}

/* a cache that cannot be written, or is a file, is no cache */
static void unwritable(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  assert_true(doubles("/proc/cellc-test", diag));
  char path[64];
  snprintf(path, sizeof path, "%s/file", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fclose(file);
  assert_true(doubles(path, diag));
  assert_int_equal(diag->record_count, 0);
  cell_diag_destroy(diag);
}

static void missing_module(void **state) {
  (void)state;
  CellDiag *diag = cell_diag_create();
  setenv("CELLC_PROVIDER", folder, 1);
  assert_false(doubles("", diag));
  assert_int_equal(diag->error_count, 1);
  assert_string_equal(diag->records[0].code, CELL_E_PROVIDER);
  assert_non_null(strstr(diag->records[0].message, "could not open the compiler of kernels"));
  unsetenv("CELLC_PROVIDER");
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(entries, make_folder, drop_folder),
      cmocka_unit_test(folders),
      cmocka_unit_test_setup_teardown(damaged_entries, make_folder, drop_folder),
      cmocka_unit_test_setup_teardown(unwritable, make_folder, drop_folder),
      cmocka_unit_test_setup_teardown(missing_module, make_folder, drop_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
