/* dmc_scene.c - what a task of the control suite looks like: the model's geoms where they are now. */
#include "runtime/dmc_state.h"
#include "runtime/scene.h"

#include <string.h>

// from where a domain is seen
typedef struct {
  const char *domain;
  char axis;
  double width;            // metres
  const char *follow;      // the body at the picture's centre; NULL: a fixed one
  double centre[3], above; // the fixed one; how far above the body's height the centre is fixed
} View;

static const View views[] = {
    {"acrobot", 'y', 5.6, NULL, {0, 0, 2}, 0},  {"ball_in_cup", 'y', 1.4, NULL, {0, 0, 0.45}, 0},
    {"cartpole", 'y', 4.6, NULL, {0, 0, 1}, 0}, {"cheetah", 'y', 4, "torso", {0}, 0.7},
    {"finger", 'y', 1.4, NULL, {0, 0, 0.4}, 0}, {"fish", 'z', 1.2, NULL, {0, 0, 0.2}, 0},
    {"hopper", 'y', 3, "torso", {0}, 0.7},      {"quadruped", 'y', 4, "torso", {0}, 0.7},
    {"reacher", 'z', 0.7, NULL, {0, 0, 0}, 0},  {"walker", 'y', 4, "torso", {0}, 0.9},
};

static CellGeomKind kind_of(int type) {
  switch (type) {
  case mjGEOM_PLANE: return CELL_GEOM_PLANE;
  case mjGEOM_CAPSULE: return CELL_GEOM_CAPSULE;
  case mjGEOM_ELLIPSOID: return CELL_GEOM_ELLIPSOID;
  case mjGEOM_CYLINDER: return CELL_GEOM_CYLINDER;
  case mjGEOM_BOX: return CELL_GEOM_BOX;
  default: return CELL_GEOM_SPHERE;
  }
}

static void look(const CellDmc *s, CellScene *scene) {
  const View *view = views;
  while (strcmp(view->domain, s->task->domain) != 0) view++;
  scene->axis = view->axis, scene->width = view->width;
  cell_dmc_put(scene->centre, view->centre, 3);
  int body = view->follow ? s->mujoco->mj_name2id(s->model, mjOBJ_BODY, view->follow) : -1;
  if (body < 0) return;
  cell_dmc_put(scene->centre, s->data->xpos + 3 * (size_t)body, 2);
  scene->centre[2] = view->above;
}

bool cell_dmc_scene(const CellEnvKind *kind, const void *state, CellScene *scene) {
  (void)kind;
  const CellDmc *s = state;
  cell_scene_clear(scene);
  if (!s->data) return false;
  look(s, scene);
  // walls would hide what they surround
  bool from_above = scene->axis == 'z';
  for (int i = 0; i < s->model->ngeom; i++) {
    const double *rotation = s->data->geom_xmat + 9 * (size_t)i;
    bool upright = rotation[8] > 0.99;
    if (s->model->geom_type[i] == mjGEOM_PLANE && from_above && !upright) continue;
    CellSceneGeom *geom = cell_scene_add(scene, kind_of(s->model->geom_type[i]));
    cell_dmc_put(geom->position, s->data->geom_xpos + 3 * (size_t)i, 3);
    cell_dmc_put(geom->rotation, rotation, 9);
    cell_dmc_put(geom->size, s->model->geom_size + 3 * (size_t)i, 3);
    // the suite's own files colour by material
    int material = s->model->geom_matid[i];
    const float *rgba = material < 0 ? s->model->geom_rgba + 4 * (size_t)i
                                     : s->model->mat_rgba + 4 * (size_t)material;
    memcpy(geom->rgba, rgba, sizeof geom->rgba);
  }
  return true;
}
