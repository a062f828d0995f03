/* mujoco_library.c - opens libmujoco and stands between its error handling and ours. */
#include "runtime/mujoco_library.h"

#include "runtime/dmc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// ---- errors and warnings: the handlers are the process's, what they act on is the thread's ----

typedef struct {
  jmp_buf leave;
  char *message;
} Guard;
static _Thread_local Guard *guard;

static void note(const char *text) {
  if (guard) snprintf(guard->message, CELL_MUJOCO_MESSAGE, "%s", text);
}

static void on_error(const char *text) {
  if (!guard) cell_internal_error(__FILE__, __LINE__, "unguarded error of MuJoCo: %s", text);
  note(text);
  longjmp(guard->leave, 1);
}

bool cell_mujoco_guard(void (*body)(void *context), void *context,
                       char message[CELL_MUJOCO_MESSAGE]) {
  CELL_ASSERT(!guard);
  // the place to leave to is some hundred bytes, which setjmp fills
  Guard here;
  here.message = message;
  message[0] = 0;
  guard = &here;
  if (setjmp(here.leave) != 0) {
    guard = NULL;
    return false;
  }
  body(context);
  guard = NULL;
  return true;
}

// ---- opening ----

static CellMujoco table;
static bool opened;
static char reason[600];

static void *symbol_of(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  if (!symbol && !reason[0]) snprintf(reason, sizeof reason, "it lacks `%s`", name);
  return symbol;
}

static bool find_functions(void *library) {
  void *symbol;
  bool all = true;
#define FIND(name, result, arguments)                                                              \
  symbol = symbol_of(library, #name);                                                              \
  memcpy(&table.name, &symbol, sizeof symbol);                                                     \
  all &= symbol != NULL;
  CELL_MUJOCO_FUNCTIONS(FIND)
#undef FIND
  return all;
}

static bool set_handler(void *library, const char *name, void (*handler)(const char *text)) {
  void *symbol = symbol_of(library, name);
  if (symbol) memcpy(symbol, &handler, sizeof handler);
  return symbol != NULL;
}

static void open_library(void) {
  char version[32];
  snprintf(version, sizeof version, "libmujoco.so.%d.%d.%d", mjVERSION_HEADER / 100,
           mjVERSION_HEADER / 10 % 10, mjVERSION_HEADER % 10);
  const char *forced = getenv("CELLC_LIBMUJOCO");
  void *library = dlopen(forced ? forced : version, RTLD_NOW | RTLD_LOCAL);
  if (!library && !forced) library = dlopen("libmujoco.so", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(reason, sizeof reason, "%s", dlerror());
    return;
  }
  // never closed: the table lives as long as the program
  if (!find_functions(library) || !set_handler(library, "mju_user_error", on_error) ||
      !set_handler(library, "mju_user_warning", note)) {
    return;
  }
  if (table.mj_version() != mjVERSION_HEADER) {
    snprintf(reason, sizeof reason, "it is version %s and this program was built for %d.%d.%d",
             table.mj_versionString(), mjVERSION_HEADER / 100, mjVERSION_HEADER / 10 % 10,
             mjVERSION_HEADER % 10);
    return;
  }
  opened = true;
}

const CellMujoco *cell_mujoco(CellDiag *diag) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  if (opened) return &table;
  if (diag) {
    CellRecord *record =
        cell_error(diag, CELL_E_MUJOCO, CELL_NOWHERE, "cannot use MuJoCo's library: %s", reason);
    cell_help(diag, record,
              "it comes with Debian's package libmujoco-dev: `apt-get install libmujoco-dev`");
  }
  return NULL;
}
