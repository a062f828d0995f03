/* mujoco_library.h - MuJoCo's library, opened at first use and never linked.
 *
 * Everything of cellc but the control suite works without it. The functions are members of a table;
 * what they take and do is in MuJoCo's own header. The library ends the process after an error
 * unless a handler leaves, and writes MUJOCO_LOG.TXT unless handlers are set: both are set here, so
 * every call that can go wrong runs under cell_mujoco_guard. */
#ifndef CELL_MUJOCO_LIBRARY_H
#define CELL_MUJOCO_LIBRARY_H

#include "ir/support.h"

#include <mujoco/mujoco.h>

/* name, result, arguments */
#define CELL_MUJOCO_FUNCTIONS(F)                                                                   \
  F(mj_version, int, (void))                                                                       \
  F(mj_versionString, const char *, (void))                                                        \
  F(mj_defaultVFS, void, (mjVFS * files))                                                          \
  F(mj_deleteVFS, void, (mjVFS * files))                                                           \
  F(mj_makeEmptyFileVFS, int, (mjVFS * files, const char *name, int size))                         \
  F(mj_findFileVFS, int, (const mjVFS *files, const char *name))                                   \
  F(mj_loadXML, mjModel *, (const char *name, const mjVFS *files, char *error, int size))          \
  F(mj_copyModel, mjModel *, (mjModel * to, const mjModel *from))                                  \
  F(mj_deleteModel, void, (mjModel * model))                                                       \
  F(mj_makeData, mjData *, (const mjModel *model))                                                 \
  F(mj_deleteData, void, (mjData * data))                                                          \
  F(mj_resetData, void, (const mjModel *model, mjData *data))                                      \
  F(mj_forward, void, (const mjModel *model, mjData *data))                                        \
  F(mj_kinematics, void, (const mjModel *model, mjData *data))                                     \
  F(mj_step, void, (const mjModel *model, mjData *data))                                           \
  F(mj_step1, void, (const mjModel *model, mjData *data))                                          \
  F(mj_step2, void, (const mjModel *model, mjData *data))                                          \
  F(mj_name2id, int, (const mjModel *model, int type, const char *name))

typedef struct {
#define CELL_MEMBER(name, result, arguments) result(*name) arguments;
  CELL_MUJOCO_FUNCTIONS(CELL_MEMBER)
#undef CELL_MEMBER
} CellMujoco;

/* The table; NULL when the library is not there or is of another version than the header that this
 * program was built with: reported to diag (where given) with the code CELL_E_MUJOCO of dmc.h. The
 * environment variable CELLC_LIBMUJOCO names another file than Debian's. Safe on any thread. */
const CellMujoco *cell_mujoco(CellDiag *diag);

enum { CELL_MUJOCO_MESSAGE = 256 };

/* Calls body(context). False if the library reported an error inside: the call was left in the
 * middle, `message` says why, and the mjData it worked on must not be used any more, only deleted.
 * A warning is no error; its text is in `message` too, otherwise that is empty. Not nested. */
bool cell_mujoco_guard(void (*body)(void *context), void *context,
                       char message[CELL_MUJOCO_MESSAGE]);

#endif
