/* scene.c - a growing list of solids. */
#include "runtime/scene.h"

#include "ir/support.h"

#include <stdlib.h>
#include <string.h>

void cell_scene_clear(CellScene *scene) {
  *scene = (CellScene){.geoms = scene->geoms, .capacity = scene->capacity, .width = 1, .axis = 'y'};
}

CellSceneGeom *cell_scene_add(CellScene *scene, CellGeomKind kind) {
  if (scene->count == scene->capacity) {
    int capacity = scene->capacity ? 2 * scene->capacity : 16;
    CellSceneGeom *larger = cell_malloc((size_t)capacity * sizeof *larger);
    if (scene->count > 0) memcpy(larger, scene->geoms, (size_t)scene->count * sizeof *larger);
    free(scene->geoms);
    scene->geoms = larger, scene->capacity = capacity;
  }
  CellSceneGeom *geom = &scene->geoms[scene->count++];
  *geom = (CellSceneGeom){
      .kind = kind, .rotation = {1, 0, 0, 0, 1, 0, 0, 0, 1}, .rgba = {0.5F, 0.5F, 0.5F, 1}};
  return geom;
}

void cell_scene_free(CellScene *scene) {
  free(scene->geoms);
  *scene = (CellScene){0};
}
