/* cache.c - compiled kernels, kept between runs: one file a kernel, named by the key of all that
 * its code depends on.
 *
 *     magic  key (16 bytes)  length (8)  checksum (8)  object
 *
 * A file is written beside its place and renamed, so that a reader sees a whole one or none; one
 * that is cut short, changed or made for another key is ignored. A folder that cannot be written is
 * no error. */
#include "codegen/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "cellobj1";

typedef struct {
  char magic[8];
  CellKey key;
  uint64_t length, checksum;
} Header;

char *cell_cache_folder(const char *cache_dir) {
  if (cache_dir && cache_dir[0] == 0) return NULL;
  const char *base = cache_dir, *below = "";
  if (!base) {
    base = getenv("XDG_CACHE_HOME"), below = "/cellc";
    if (!base || base[0] != '/') base = getenv("HOME"), below = "/.cache/cellc";
    if (!base || base[0] == 0) return NULL;
  }
  size_t size = strlen(base) + strlen(below) + 1;
  char *folder = cell_malloc(size);
  snprintf(folder, size, "%s%s", base, below);
  return folder;
}

static char *path_of(const char *folder, CellKey key, const char *end) {
  size_t size = strlen(folder) + strlen(end) + 48;
  char *path = cell_malloc(size);
  snprintf(path, size, "%s/%016llx%016llx%s", folder, (unsigned long long)key.words[0],
           (unsigned long long)key.words[1], end);
  return path;
}

static uint64_t checksum(const void *data, size_t length) {
  return cell_key((CellKey){{1, 2}}, data, length).words[0];
}

void *cell_cache_read(const char *folder, CellKey key, size_t *length) {
  if (!folder) return NULL;
  char *path = path_of(folder, key, ".o");
  FILE *file = fopen(path, "rb");
  free(path);
  if (!file) return NULL;

  // the length must be that of the file before memory is taken for it
  void *data = NULL;
  Header h;
  struct stat info;
  if (fstat(fileno(file), &info) == 0 && fread(&h, sizeof h, 1, file) == 1 &&
      memcmp(h.magic, magic, sizeof magic) == 0 && memcmp(&h.key, &key, sizeof key) == 0 &&
      info.st_size >= (off_t)sizeof h && h.length == (uint64_t)info.st_size - sizeof h &&
      h.length > 0) {
    data = cell_malloc((size_t)h.length);
    if (fread(data, 1, (size_t)h.length, file) != h.length ||
        checksum(data, (size_t)h.length) != h.checksum) {
      free(data);
      data = NULL;
    }
    *length = (size_t)h.length;
  }
  fclose(file);
  return data;
}

// mkdir -p
static void make_folders(const char *folder) {
  size_t length = strlen(folder);
  char *path = cell_malloc(length + 1);
  for (size_t i = 1; i <= length; i++) {
    if (folder[i] != '/' && folder[i] != 0) continue;
    memcpy(path, folder, i);
    path[i] = 0;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) break;
  }
  free(path);
}

bool cell_cache_write(const char *folder, CellKey key, const void *data, size_t length) {
  if (!folder) return false;
  make_folders(folder);
  char *path = path_of(folder, key, ".o"), *temporary = path_of(folder, key, ".XXXXXX");
  int descriptor = mkstemp(temporary);
  FILE *file = descriptor >= 0 ? fdopen(descriptor, "wb") : NULL;
  bool stored = false;
  if (file) {
    Header h = {.key = key, .length = length, .checksum = checksum(data, length)};
    memcpy(h.magic, magic, sizeof magic);
    bool good = fwrite(&h, sizeof h, 1, file) == 1 && fwrite(data, 1, length, file) == length;
    good = fclose(file) == 0 && good;
    stored = good && rename(temporary, path) == 0;
    if (!stored) unlink(temporary);
  } else if (descriptor >= 0) {
    close(descriptor);
    unlink(temporary);
  }
  free(path);
  free(temporary);
  return stored;
}
