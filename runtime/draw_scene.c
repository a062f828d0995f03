/* draw_scene.c - solids as silhouettes, by cairo.
 *
 * Without perspective the shadow of a convex solid is the convex hull of the shadows of a few of its
 * parts: of the corners of a box, of the two rims of a cylinder, of the two spheres of a capsule. So
 * every solid becomes points on its outline and their hull is filled. Round outlines have CORNERS
 * points: a circle of 100 pixels is off by a twentieth of one. */
#include "runtime/draw.h"

#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CORNERS = 96, MOST_POINTS = 2 * CORNERS };
static const double pi = 3.14159265358979323846;

typedef struct {
  double x, y;
} Point;

typedef struct {
  Point points[MOST_POINTS + 1];
  int count;
} Outline;

// from the world to the picture
typedef struct {
  double scale, x, y;       // pixels a metre; pixel of the view's centre
  double centre[2];         // right and up
  int right, up, near_axis; // of the world's axes
  double near_sign;
} View;

static View view_of(const CellScene *scene, const CellPicture *picture) {
  bool above = scene->axis == 'z';
  View v = {.scale = picture->width / (scene->width > 0 ? scene->width : 1),
            .x = picture->width / 2.0,
            .y = picture->height / 2.0,
            .right = 0,
            .up = above ? 1 : 2,
            .near_axis = above ? 2 : 1,
            .near_sign = above ? 1 : -1};
  v.centre[0] = scene->centre[v.right], v.centre[1] = scene->centre[v.up];
  return v;
}

static Point project(const View *v, const double position[3]) {
  return (Point){v->x + (position[v->right] - v->centre[0]) * v->scale,
                 v->y - (position[v->up] - v->centre[1]) * v->scale};
}

static double nearness(const View *v, const CellSceneGeom *geom) {
  return v->near_sign * geom->position[v->near_axis];
}

/* ---- outlines ---- */

static void add(Outline *o, double x, double y) {
  CELL_ASSERT(o->count < MOST_POINTS);
  o->points[o->count++] = (Point){x, y};
}

// a point given in the solid's own axes
static void add_local(Outline *o, const View *v, const CellSceneGeom *g, double a, double b,
                      double c) {
  double world[3];
  for (int i = 0; i < 3; i++) {
    const double *row = &g->rotation[3 * i];
    world[i] = g->position[i] + row[0] * a + row[1] * b + row[2] * c;
  }
  Point p = project(v, world);
  add(o, p.x, p.y);
}

// the shadow of a sphere whose centre lies on local z
static void add_ball(Outline *o, const View *v, const CellSceneGeom *g, double z) {
  Outline centre = {.count = 0};
  add_local(&centre, v, g, 0, 0, z);
  for (int i = 0; i < CORNERS; i++) {
    double angle = 2 * pi * i / CORNERS;
    add(o, centre.points[0].x + g->size[0] * v->scale * cos(angle),
        centre.points[0].y + g->size[0] * v->scale * sin(angle));
  }
}

static void add_rim(Outline *o, const View *v, const CellSceneGeom *g, double z) {
  for (int i = 0; i < CORNERS; i++) {
    double angle = 2 * pi * i / CORNERS;
    add_local(o, v, g, g->size[0] * cos(angle), g->size[0] * sin(angle), z);
  }
}

// in direction d the farthest point of the shadow is M M' d / |M' d|, M = rotation times radii
static void add_ellipsoid(Outline *o, const View *v, const CellSceneGeom *g) {
  Point centre = project(v, g->position);
  for (int i = 0; i < CORNERS; i++) {
    double dx = cos(2 * pi * i / CORNERS), dy = sin(2 * pi * i / CORNERS), x = 0, y = 0, norm = 0;
    for (int k = 0; k < 3; k++) {
      double mx = g->rotation[3 * v->right + k] * g->size[k];
      double my = g->rotation[3 * v->up + k] * g->size[k], along = mx * dx + my * dy;
      x += mx * along, y += my * along, norm += along * along;
    }
    norm = sqrt(norm);
    if (norm > 0) add(o, centre.x + x / norm * v->scale, centre.y - y / norm * v->scale);
  }
}

static int by_place(const void *a, const void *b) {
  const Point *p = a, *q = b;
  if (p->x != q->x) return p->x < q->x ? -1 : 1;
  return (p->y > q->y) - (p->y < q->y);
}

static double turn(Point a, Point b, Point c) {
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

// Andrew's chain: the lower side from left to right, then the upper one back
static void make_hull(Outline *o) {
  Point sorted[MOST_POINTS], hull[2 * MOST_POINTS];
  int n = o->count, count = 0;
  memcpy(sorted, o->points, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, by_place);
  for (int side = 0; side < 2; side++) {
    int first = count;
    for (int i = 0; i < n; i++) {
      Point p = sorted[side == 0 ? i : n - 1 - i];
      while (count >= first + 2 && turn(hull[count - 2], hull[count - 1], p) <= 0) count--;
      hull[count++] = p;
    }
    count--; // the other side begins with it
  }
  o->count = count;
  memcpy(o->points, hull, (size_t)count * sizeof *hull);
}

static void find_outline(Outline *o, const View *v, const CellSceneGeom *g) {
  o->count = 0;
  switch (g->kind) {
  case CELL_GEOM_PLANE: return;
  case CELL_GEOM_SPHERE: add_ball(o, v, g, 0); break;
  case CELL_GEOM_CAPSULE:
    add_ball(o, v, g, -g->size[1]);
    add_ball(o, v, g, g->size[1]);
    break;
  case CELL_GEOM_ELLIPSOID: add_ellipsoid(o, v, g); break;
  case CELL_GEOM_CYLINDER:
    add_rim(o, v, g, -g->size[1]);
    add_rim(o, v, g, g->size[1]);
    break;
  case CELL_GEOM_BOX:
    for (int i = 0; i < 8; i++) {
      add_local(o, v, g, i & 1 ? g->size[0] : -g->size[0], i & 2 ? g->size[1] : -g->size[1],
                i & 4 ? g->size[2] : -g->size[2]);
    }
    break;
  }
  if (o->count > 2) make_hull(o);
}

// twice the area over the perimeter: of a rod its thickness, of a disc its radius
static double thickness(const Outline *o) {
  double area = 0, perimeter = 0;
  for (int i = 0; i < o->count; i++) {
    Point a = o->points[i], b = o->points[(i + 1) % o->count];
    area += a.x * b.y - a.y * b.x;
    perimeter += hypot(b.x - a.x, b.y - a.y);
  }
  return perimeter > 0 ? fabs(area) / perimeter : 0;
}

/* ---- painting ---- */

static void set_colour(cairo_t *c, const float rgba[4], double shade) {
  cairo_set_source_rgba(c, (double)rgba[0] * shade, (double)rgba[1] * shade,
                        (double)rgba[2] * shade, (double)rgba[3]);
}

static void paint_solid(cairo_t *c, const View *v, const CellSceneGeom *g, double line) {
  Outline o;
  find_outline(&o, v, g);
  if (o.count < 3) return;
  cairo_new_path(c);
  for (int i = 0; i < o.count; i++) cairo_line_to(c, o.points[i].x, o.points[i].y);
  cairo_close_path(c);
  set_colour(c, g->rgba, 1);
  cairo_fill_preserve(c);
  // a solid that is hardly thicker than its edge has none
  if (thickness(&o) > 3 * line) {
    set_colour(c, g->rgba, 0.6);
    cairo_set_line_width(c, line);
    cairo_stroke(c);
  }
  cairo_new_path(c);
}

// 1, 2 or 5 times a power of ten, at most `length`
static double round_length(double length) {
  double power = pow(10, floor(log10(length))), first = length / power;
  return power * (first >= 5 ? 5 : first >= 2 ? 2 : 1);
}

// a plane seen from its edge: the ground, in tiles that show how the view moves over it
static void paint_ground(cairo_t *c, const View *v, const CellSceneGeom *g, const CellScene *scene,
                         const CellPicture *picture, double line) {
  double nx = g->rotation[3 * v->right + 2], ny = g->rotation[3 * v->up + 2];
  double far = 2 * (picture->width + picture->height);
  Point at = project(v, g->position);
  cairo_save(c);
  cairo_translate(c, at.x, at.y);
  cairo_rotate(c, atan2(nx, ny));                                   // now y points into the ground
  double along = v->scale * (v->centre[0] - g->position[v->right]); // of the view's centre
  set_colour(c, g->rgba, 1);
  cairo_rectangle(c, along - far, 0, 2 * far, far);
  cairo_fill(c);
  double tile = round_length(scene->width / 6) * v->scale, depth = 0.12 * picture->height;
  set_colour(c, g->rgba, 0.94);
  for (int64_t i = (int64_t)floor((along - far / 2) / (2 * tile));
       2 * (double)i * tile < along + far / 2; i++) {
    cairo_rectangle(c, 2 * (double)i * tile, 0, tile, depth);
  }
  cairo_fill(c);
  set_colour(c, g->rgba, 0.55);
  cairo_rectangle(c, along - far, -line / 2, 2 * far, 1.5 * line);
  cairo_fill(c);
  cairo_restore(c);
}

// a plane seen from above: all of it, or a rectangle of its size
static void paint_floor(cairo_t *c, const View *v, const CellSceneGeom *g, double line) {
  set_colour(c, g->rgba, 1);
  if (g->size[0] <= 0 || g->size[1] <= 0) {
    cairo_paint(c);
    return;
  }
  CellSceneGeom slab = *g;
  slab.kind = CELL_GEOM_BOX, slab.size[2] = 0;
  paint_solid(c, v, &slab, line);
}

typedef struct {
  double nearness;
  int index;
} Order;

// planes first, then from far to near; of equals the one that was added first
static int by_order(const void *a, const void *b) {
  const Order *x = a, *y = b;
  if (x->nearness != y->nearness) return x->nearness < y->nearness ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

void cell_draw_scene(const CellScene *scene, CellPicture *picture) {
  View view = view_of(scene, picture);
  double line = picture->width / 400.0;
  line = line > 2 ? 2 : line < 0.4 ? 0.4 : line;
  cairo_surface_t *surface =
      cairo_image_surface_create_for_data((unsigned char *)picture->pixels, CAIRO_FORMAT_RGB24,
                                          picture->width, picture->height, 4 * picture->width);
  cairo_t *c = cairo_create(surface);
  cairo_set_source_rgb(c, 0xE9 / 255.0, 0xEF / 255.0, 0xF5 / 255.0);
  cairo_paint(c);
  cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);

  Order *order = cell_malloc((size_t)scene->count * sizeof *order + 1);
  for (int i = 0; i < scene->count; i++) {
    const CellSceneGeom *g = &scene->geoms[i];
    order[i] = (Order){g->kind == CELL_GEOM_PLANE ? -INFINITY : nearness(&view, g), i};
  }
  qsort(order, (size_t)scene->count, sizeof *order, by_order);
  for (int i = 0; i < scene->count; i++) {
    const CellSceneGeom *g = &scene->geoms[order[i].index];
    if (g->kind != CELL_GEOM_PLANE) {
      paint_solid(c, &view, g, line);
    } else if (fabs(g->rotation[3 * view.near_axis + 2]) > 0.5) {
      paint_floor(c, &view, g, line);
    } else {
      paint_ground(c, &view, g, scene, picture, line);
    }
  }
  free(order);
  cairo_destroy(c);
  cairo_surface_flush(surface);
  cairo_surface_destroy(surface);
  // the byte that the format does not use
  for (size_t i = 0; i < (size_t)picture->width * (size_t)picture->height; i++) {
    picture->pixels[i] &= 0xFFFFFF;
  }
}
