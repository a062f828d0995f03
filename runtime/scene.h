/* scene.h - what a physical environment looks like: solids in space, and from where to look.
 *
 * An environment that has a `scene` function (env.h) describes its current state by the simple
 * solids that it is made of; draw.h makes a picture of them. The functions append:
 *
 *   CellScene scene = {0};
 *   kind->scene(kind, state, &scene);   // clears the scene, then cell_scene_add for each solid
 *   ...
 *   cell_scene_free(&scene);
 *
 * The world's z axis points up, lengths are in metres. Seen along y, x points to the right, z up, and
 * what has the smaller y is nearer; from above x points to the right, y up, and the larger z is
 * nearer. */
#ifndef CELL_SCENE_H
#define CELL_SCENE_H

#include <stdbool.h>

typedef enum {
  CELL_GEOM_PLANE,
  CELL_GEOM_SPHERE,
  CELL_GEOM_CAPSULE,
  CELL_GEOM_ELLIPSOID,
  CELL_GEOM_CYLINDER,
  CELL_GEOM_BOX
} CellGeomKind;

typedef struct {
  CellGeomKind kind;
  double position[3], rotation[9] /* row-major, local to world */,
      size[3] /* MuJoCo's half sizes */;
  float rgba[4];
} CellSceneGeom;

/* A capsule's and a cylinder's axis is local z. `size`: sphere: radius; capsule and cylinder: radius,
 * half the length (without the capsule's caps); ellipsoid: three radii; box: three half edges. A plane
 * is the ground, through `position`, its normal local z; endless, but where it is seen from above and
 * its first two sizes are not 0. */

typedef struct {
  CellSceneGeom *geoms;
  int count, capacity;
  double centre[3];
  double width; /* metres that the side view should span */
  char axis;    /* 'y': seen along y (x-z plane); 'z': from above */
} CellScene;

/* Empties a scene, keeping its memory; `axis` becomes 'y', `width` 1. */
void cell_scene_clear(CellScene *scene);

/* Appends a solid: at the origin, not rotated, opaque grey, everything else 0. The pointer is valid
 * until the next call. */
CellSceneGeom *cell_scene_add(CellScene *scene, CellGeomKind kind);

/* Releases the memory. */
void cell_scene_free(CellScene *scene);

#endif
