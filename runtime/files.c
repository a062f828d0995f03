/* files.c - see files.h */
#include "runtime/files.h"
#include "runtime/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

char *cell_read_file(const char *path, size_t limit, size_t *length, CellDiag *diag) {
  char *data = NULL;
  *length = 0;
  FILE *in = fopen(path, "rb");
  struct stat status;
  if (!in || fstat(fileno(in), &status) != 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read `%s`: %s", path, strerror(errno));
    goto fail;
  }
  if (S_ISDIR(status.st_mode)) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read `%s`: it is a folder", path);
    goto fail;
  }
  if (S_ISREG(status.st_mode) && (uintmax_t)status.st_size > limit) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` is too large: %jd bytes, at most %zu are read", path,
               (intmax_t)status.st_size, limit);
    goto fail;
  }

  // the size is a first guess only: pipes have none and files grow
  size_t capacity = S_ISREG(status.st_mode) ? (size_t)status.st_size + 2 : 4096, used = 0;
  data = cell_malloc(capacity);
  for (size_t got; (got = fread(data + used, 1, capacity - 1 - used, in)) > 0;) {
    used += got;
    if (used > limit) {
      cell_error(diag, NULL, CELL_NOWHERE, "`%s` is too large: at most %zu bytes are read", path,
                 limit);
      goto fail;
    }
    if (used < capacity - 1) continue;
    capacity *= 2;
    char *grown = realloc(data, capacity);
    if (!grown) {
      cell_error(diag, NULL, CELL_NOWHERE, "cannot read `%s`: out of memory", path);
      goto fail;
    }
    data = grown;
  }
  if (ferror(in)) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read `%s`: %s", path, strerror(errno));
    goto fail;
  }
  fclose(in);
  data[used] = 0;
  *length = used;
  return data;

fail:
  if (in) fclose(in);
  free(data);
  return NULL;
}

/* ---- replacing ---- */

struct CellNewFile {
  FILE *out;
  char *target;    /* without links */
  char *temporary; /* NULL where the target is written directly */
};

static char *join(const char *a, const char *b) {
  CellText text = {0};
  cell_text_printf(&text, "%s%s", a, b);
  return text.data;
}

/* frees what there is; the descriptors are closed already or closed here */
static void release(CellNewFile *file) {
  if (file->out) fclose(file->out);
  free(file->target);
  free(file->temporary);
  free(file);
}

CellNewFile *cell_new_file(const char *path, CellDiag *diag) {
  CellNewFile *file = cell_malloc(sizeof *file);
  struct stat status;
  bool exists = stat(path, &status) == 0;
  mode_t mode = exists && S_ISREG(status.st_mode) ? status.st_mode & 0777 : 0666;
  int descriptor;
  if (exists && S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    descriptor = -1;
  } else if (exists && !S_ISREG(status.st_mode)) {
    file->target = join(path, "");
    descriptor = open(path, O_WRONLY | O_CLOEXEC);
  } else {
    // through a link the file is replaced, not the link
    char *real = exists ? realpath(path, NULL) : NULL;
    file->target = real ? real : join(path, "");
    file->temporary = join(file->target, ".tmp");
    descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
  }
  if (descriptor >= 0) file->out = fdopen(descriptor, "wb");
  if (!file->out) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: %s", path, strerror(errno));
    if (descriptor >= 0) close(descriptor);
    release(file);
    return NULL;
  }
  return file;
}

FILE *cell_new_file_stream(CellNewFile *file) {
  return file->out;
}

/* a rename is on the disk when its folder is; file systems that cannot sync folders do not matter
 */
static void sync_folder(const char *path) {
  char *folder = join(path, "");
  char *slash = strrchr(folder, '/');
  if (slash) slash[slash == folder ? 1 : 0] = 0;
  int descriptor = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) {
    fsync(descriptor);
    close(descriptor);
  }
  free(folder);
}

bool cell_new_file_commit(CellNewFile *file, CellDiag *diag) {
  errno = 0;
  bool ok = fflush(file->out) == 0 && !ferror(file->out);
  if (ok && file->temporary) ok = fsync(fileno(file->out)) == 0;
  int reason = errno;
  if (fclose(file->out) != 0 && ok) {
    ok = false;
    reason = errno;
  }
  file->out = NULL;
  if (ok && file->temporary && rename(file->temporary, file->target) != 0) {
    ok = false;
    reason = errno;
  }
  if (ok && file->temporary) sync_folder(file->target);
  if (!ok) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: %s", file->target,
               reason ? strerror(reason) : "an earlier write failed (is the disk full?)");
    if (file->temporary) unlink(file->temporary);
  }
  release(file);
  return ok;
}

void cell_new_file_abandon(CellNewFile *file) {
  if (!file) return;
  if (file->temporary) unlink(file->temporary);
  release(file);
}

bool cell_write_file(const char *path, const void *data, size_t length, CellDiag *diag) {
  CellNewFile *file = cell_new_file(path, diag);
  if (!file) return false;
  fwrite(data, 1, length, file->out);
  return cell_new_file_commit(file, diag);
}

/* ---- JSON lines ---- */

struct CellLog {
  int descriptor;
  int64_t bytes;
  char *path;
};

/* the bytes up to the last line end; -1 after a read error */
static int64_t whole_lines(int descriptor, int64_t size) {
  char block[4096];
  for (int64_t end = size; end > 0;) {
    size_t part = end < (int64_t)sizeof block ? (size_t)end : sizeof block;
    int64_t begin = end - (int64_t)part;
    if (pread(descriptor, block, part, begin) != (ssize_t)part) return -1;
    for (size_t i = part; i > 0; i--)
      if (block[i - 1] == '\n') return begin + (int64_t)i;
    end = begin;
  }
  return 0;
}

CellLog *cell_log_open(const char *path, int64_t keep, CellDiag *diag) {
  CellLog *log = cell_malloc(sizeof *log);
  log->path = join(path, "");
  log->descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  struct stat status;
  if (log->descriptor < 0 || fstat(log->descriptor, &status) != 0) goto fail;
  if (!S_ISREG(status.st_mode)) return log; // a pipe or a device: nothing to cut

  int64_t size = status.st_size;
  if (keep > size) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` has %jd bytes where %jd were logged", path,
               (intmax_t)size, (intmax_t)keep);
    goto clean;
  }
  log->bytes = keep >= 0 ? keep : whole_lines(log->descriptor, size);
  if (log->bytes < 0) goto fail;
  if (log->bytes < size && ftruncate(log->descriptor, log->bytes) != 0) goto fail;
  return log;

fail:
  cell_error(diag, NULL, CELL_NOWHERE, "cannot open `%s`: %s", path, strerror(errno));
clean:
  if (log->descriptor >= 0) close(log->descriptor);
  free(log->path);
  free(log);
  return NULL;
}

bool cell_log_add(CellLog *log, json_t *line, CellDiag *diag) {
  char *text = json_dumps(line, CELL_JSON_LINE);
  json_decref(line);
  if (!text) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: a line is not valid JSON", log->path);
    return false;
  }
  size_t length = strlen(text);
  text[length++] = '\n'; // over the terminator, which is not needed any more
  ssize_t written;
  do written = write(log->descriptor, text, length);
  while (written < 0 && errno == EINTR);
  free(text);
  if (written == (ssize_t)length) {
    log->bytes += written;
    return true;
  }
  cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: %s", log->path,
             strerror(written < 0 ? errno : ENOSPC));
  // a part of a line would spoil the next one; where it cannot be cut, opening does
  if (written > 0 && ftruncate(log->descriptor, log->bytes) != 0) return false;
  return false;
}

int64_t cell_log_bytes(const CellLog *log) {
  return log->bytes;
}

bool cell_log_close(CellLog *log, CellDiag *diag) {
  if (!log) return true;
  // pipes and devices have nothing to sync
  bool ok = fsync(log->descriptor) == 0 || errno == EINVAL || errno == EROFS;
  if (close(log->descriptor) != 0) ok = false;
  if (!ok)
    cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`: %s", log->path, strerror(errno));
  free(log->path);
  free(log);
  return ok;
}
