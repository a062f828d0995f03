/* dmc_model.c - models of the control suite: from the program or from the suite's folder, loaded once
 * and shared. */
#include "runtime/dmc_state.h"
#include "runtime/files.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// ---- where models come from ----

static char *suite_folder;
static bool suite_is_set;

void cell_dmc_suite_folder(const char *folder) {
  free(suite_folder);
  suite_folder = NULL;
  suite_is_set = true;
  if (!folder) return;
  size_t length = strlen(folder) + 1;
  suite_folder = cell_malloc(length);
  memcpy(suite_folder, folder, length);
}

const char *cell_dmc_suite_in_use(void) {
  const char *variable = getenv("CELLC_SUITE_DIR");
  if (!suite_is_set && variable && *variable) return variable;
  return suite_folder;
}

// ---- one model's files, handed to the library in memory ----

typedef struct {
  const CellMujoco *mujoco;
  mjVFS *files;
  char name[64];
  char error[1000];
  mjModel *model;
} Load;

static void add_file(Load *load, const char *name, const char *text, size_t length) {
  load->mujoco->mj_makeEmptyFileVFS(load->files, name, (int)length);
  int index = load->mujoco->mj_findFileVFS(load->files, name);
  if (index >= 0) memcpy(load->files->filedata[index], text, length);
}

// the suite's own files, with those of them that it includes
static bool add_suite(Load *load, const char *folder, const char *domain, CellDiag *diag) {
  static const char *const shared[] = {"visual.xml", "skybox.xml", "materials.xml"};
  char path[4096];
  size_t length;
  snprintf(path, sizeof path, "%s/%s.xml", folder, domain);
  char *text = strcmp(domain, "quadruped") == 0 ? cell_dmc_suite_quadruped(path, &length, diag)
                                                : cell_read_file(path, 1 << 24, &length, diag);
  bool ok = text != NULL;
  if (ok) add_file(load, load->name, text, length);
  for (int i = 0; ok && i < CELL_DMC_COUNT(shared); i++) {
    if (!strstr(text, shared[i])) continue;
    snprintf(path, sizeof path, "%s/common/%s", folder, shared[i]);
    char *include = cell_read_file(path, 1 << 24, &length, diag);
    ok = include != NULL;
    if (ok) add_file(load, shared[i], include, length);
    free(include);
  }
  free(text);
  return ok;
}

static void add_own(Load *load, const char *domain) {
  for (int i = 0; i < cell_dmc_model_text_count; i++) {
    const CellDmcModelText *text = &cell_dmc_model_texts[i];
    if (strcmp(text->domain, domain) == 0) add_file(load, load->name, text->text, text->length);
  }
}

static void compile(void *context) {
  Load *load = context;
  load->model =
      load->mujoco->mj_loadXML(load->name, load->files, load->error, (int)sizeof load->error);
}

static mjModel *load_model(const CellMujoco *mujoco, const char *domain, CellDiag *diag) {
  Load load = {.mujoco = mujoco, .files = cell_malloc(sizeof(mjVFS))};
  char message[CELL_MUJOCO_MESSAGE];
  const char *folder = cell_dmc_suite_in_use();
  snprintf(load.name, sizeof load.name, "%s.xml", domain);
  mujoco->mj_defaultVFS(load.files);
  bool ok = true;
  if (folder)
    ok = add_suite(&load, folder, domain, diag);
  else
    add_own(&load, domain);
  if (ok && (!cell_mujoco_guard(compile, &load, message) || !load.model)) {
    load.model = NULL;
    for (char *p = load.error; *p; p++) *p = *p == '\n' ? ' ' : *p;
    cell_error(diag, NULL, CELL_NOWHERE, "MuJoCo cannot load the model %s%s%s.xml: %s",
               folder ? folder : "", folder ? "/" : "", domain,
               load.error[0] ? load.error : message);
  }
  mujoco->mj_deleteVFS(load.files);
  free(load.files);
  return load.model;
}

// ---- sharing ----

enum { MOST_MODELS = 16 };
typedef struct {
  const char *domain;
  mjModel *model;
  int users;
} Shared;
static Shared models[MOST_MODELS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

mjModel *cell_dmc_model_acquire(const CellMujoco *mujoco, const char *domain, CellDiag *diag) {
  pthread_mutex_lock(&lock);
  Shared *slot = NULL;
  for (int i = 0; i < MOST_MODELS; i++) {
    bool used = models[i].users > 0;
    if (used && strcmp(models[i].domain, domain) == 0) {
      slot = &models[i];
      break;
    }
    if (!used && !slot) slot = &models[i];
  }
  CELL_ASSERT(slot);
  if (slot->users == 0) *slot = (Shared){domain, load_model(mujoco, domain, diag), 0};
  if (slot->model) slot->users++;
  mjModel *model = slot->model;
  pthread_mutex_unlock(&lock);
  return model;
}

void cell_dmc_model_release(const CellMujoco *mujoco, mjModel *model) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST_MODELS; i++) {
    if (models[i].users == 0 || models[i].model != model) continue;
    if (--models[i].users == 0) mujoco->mj_deleteModel(model);
    break;
  }
  pthread_mutex_unlock(&lock);
}
