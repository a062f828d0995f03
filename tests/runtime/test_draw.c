/* Pictures: silhouettes against a search along every pixel's line of sight, boards at known places,
 * PNG, GIF and text read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/draw.h"
#include "runtime/gif.h"
#include "runtime/random.h"

#include <cairo.h>
#include <gif_lib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 120, HEIGHT = 90 };
static const uint32_t sky = 0xE9EFF5;

static uint32_t pixel(const CellPicture *picture, int x, int y) {
  return picture->pixels[y * picture->width + x];
}

/* ---- silhouettes ---- */

// whether a point in the solid's own axes is in it
static bool inside(const CellSceneGeom *g, const double p[3]) {
  double flat = hypot(p[0], p[1]), z = fabs(p[2]);
  switch (g->kind) {
  case CELL_GEOM_SPHERE: return hypot(flat, z) <= g->size[0];
  case CELL_GEOM_CAPSULE: return hypot(flat, fmax(0, z - g->size[1])) <= g->size[0];
  case CELL_GEOM_CYLINDER: return flat <= g->size[0] && z <= g->size[1];
  case CELL_GEOM_ELLIPSOID:
    return hypot(hypot(p[0] / g->size[0], p[1] / g->size[1]), z / g->size[2]) <= 1;
  case CELL_GEOM_BOX:
    return fabs(p[0]) <= g->size[0] && fabs(p[1]) <= g->size[1] && z <= g->size[2];
  default: return false;
  }
}

// whether the line of sight through (right, up) meets the solid, by steps along it
static bool meets(const CellSceneGeom *g, char axis, double right, double up) {
  for (int step = -75; step <= 75; step++) {
    double depth = 0.02 * step, world[3] = {right, depth, up}, local[3];
    if (axis == 'z') world[1] = up, world[2] = depth;
    for (int i = 0; i < 3; i++) {
      local[i] = 0;
      for (int k = 0; k < 3; k++) local[i] += g->rotation[3 * k + i] * (world[k] - g->position[k]);
    }
    if (inside(g, local)) return true;
  }
  return false;
}

static double draw_unit(uint32_t index) {
  uint32_t words[4];
  cell_random(3, CELL_STREAM_SYNTHETIC, 0, index, words);
  return cell_random_unit(words[0]);
}

// a rotation from a quaternion
static void rotate(CellSceneGeom *g, const double q[4]) {
  double n = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  double w = q[0] / n, x = q[1] / n, y = q[2] / n, z = q[3] / n;
  const double rotation[9] = {
      1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
      2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
      2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
  memcpy(g->rotation, rotation, sizeof rotation);
}

static void check_silhouette(const CellScene *scene, const CellPicture *picture) {
  static bool hit[HEIGHT][WIDTH];
  double metre = WIDTH / scene->width;
  int hits = 0;
  for (int y = 0; y < HEIGHT; y++) {
    for (int x = 0; x < WIDTH; x++) {
      double up = scene->centre[scene->axis == 'z' ? 1 : 2] - (y + 0.5 - HEIGHT / 2.0) / metre;
      hit[y][x] = meets(&scene->geoms[0], scene->axis,
                        scene->centre[0] + (x + 0.5 - WIDTH / 2.0) / metre, up);
      hits += hit[y][x];
    }
  }
  assert_true(hits > 150);
  int sure = 0;
  for (int y = 2; y + 2 < HEIGHT; y++) {
    for (int x = 2; x + 2 < WIDTH; x++) {
      // where all around agree the pixel is not at the edge
      int agree = 0;
      for (int k = 0; k < 25; k++) agree += hit[y + k / 5 - 2][x + k % 5 - 2];
      if (agree != 0 && agree != 25) continue;
      sure++;
      uint32_t wanted = agree ? 0xFF0000 : sky;
      uint32_t got = pixel(picture, x, y);
      if (got != wanted) {
        fail_msg("solid %d, axis %c: %06x at %d, %d, want %06x", (int)scene->geoms[0].kind,
                 scene->axis, got, x, y, wanted);
      }
    }
  }
  assert_true(sure > WIDTH * HEIGHT * 7 / 10);
}

static void silhouettes(void **unused) {
  (void)unused;
  CellPicture picture = cell_picture_create(WIDTH, HEIGHT);
  CellScene scene = {0};
  uint32_t draws = 0;
  for (int kind = CELL_GEOM_SPHERE; kind <= CELL_GEOM_BOX; kind++) {
    for (int k = 0; k < 4; k++) {
      cell_scene_clear(&scene);
      scene.axis = k % 2 ? 'z' : 'y';
      scene.width = 2.2;
      scene.centre[0] = 5, scene.centre[1] = -7, scene.centre[2] = 3;
      CellSceneGeom *g = cell_scene_add(&scene, (CellGeomKind)kind);
      double q[4];
      for (int i = 0; i < 4; i++) q[i] = draw_unit(draws++) - 0.5;
      rotate(g, q);
      for (int i = 0; i < 3; i++) {
        // along the line of sight near 0, where `meets` looks
        bool sight = i == (scene.axis == 'z' ? 2 : 1);
        g->position[i] = (sight ? 0 : scene.centre[i]) + 0.3 * (draw_unit(draws++) - 0.5);
        g->size[i] = 0.15 + 0.3 * draw_unit(draws++);
      }
      g->rgba[0] = 1, g->rgba[1] = g->rgba[2] = 0;
      cell_draw_scene(&scene, &picture);
      check_silhouette(&scene, &picture);
    }
  }
  cell_scene_free(&scene);
  cell_picture_free(&picture);
}

static CellSceneGeom *add_block(CellScene *scene, double y, double z, int colour) {
  CellSceneGeom *block = cell_scene_add(scene, CELL_GEOM_BOX);
  block->position[1] = y, block->position[2] = z;
  for (int i = 0; i < 3; i++) block->size[i] = 0.3, block->rgba[i] = i == colour;
  return block;
}

static void order(void **unused) {
  (void)unused;
  CellPicture picture = cell_picture_create(WIDTH, HEIGHT);
  CellScene scene = {0};
  // seen along y the smaller y is nearer, from above the larger z; of equals the later is seen
  static const struct {
    char axis;
    double y[2], z[2];
    uint32_t seen;
  } cases[] = {{'y', {-1, 1}, {0, 0}, 0xFF0000},
               {'y', {1, -1}, {0, 0}, 0x00FF00},
               {'z', {0, 0}, {1, -1}, 0xFF0000},
               {'z', {0, 0}, {-1, 1}, 0x00FF00},
               {'y', {0, 0}, {0, 0}, 0x00FF00}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cell_scene_clear(&scene);
    scene.axis = cases[i].axis;
    for (int k = 0; k < 2; k++) add_block(&scene, cases[i].y[k], cases[i].z[k], k);
    cell_draw_scene(&scene, &picture);
    assert_int_equal(pixel(&picture, WIDTH / 2, HEIGHT / 2), cases[i].seen);
  }
  // half of what is behind is seen through what is half transparent
  cell_scene_clear(&scene);
  add_block(&scene, 1, 0, 0);
  add_block(&scene, -1, 0, 1)->rgba[3] = 0.5F;
  cell_draw_scene(&scene, &picture);
  uint32_t mixed = pixel(&picture, WIDTH / 2, HEIGHT / 2);
  assert_true(abs((int)(mixed >> 16) - 128) <= 1 && abs((int)(mixed >> 8 & 255) - 128) <= 1);
  cell_scene_free(&scene);
  cell_picture_free(&picture);
}

static void ground(void **unused) {
  (void)unused;
  CellPicture picture = cell_picture_create(WIDTH, HEIGHT);
  CellScene scene = {0};
  for (int k = 0; k < 3; k++) {
    cell_scene_clear(&scene);
    scene.width = 4, scene.axis = k == 2 ? 'z' : 'y';
    // 0.5 m below the centre is 15 pixels; a moved centre moves the picture, not the ground
    CellSceneGeom *plane = cell_scene_add(&scene, CELL_GEOM_PLANE);
    plane->position[2] = -0.5;
    plane->rgba[0] = 0, plane->rgba[1] = 1, plane->rgba[2] = 0;
    if (k == 1) scene.centre[0] = 100, scene.centre[2] = 0.5;
    if (k == 2) plane->size[0] = 1, plane->size[1] = 0.5;
    cell_draw_scene(&scene, &picture);
    int top = HEIGHT / 2 + (k == 1 ? 30 : 15);
    if (k < 2) {
      assert_int_equal(pixel(&picture, 3, top - 2), sky);
      assert_int_equal(pixel(&picture, WIDTH - 3, top - 2), sky);
      assert_int_equal(pixel(&picture, 3, HEIGHT - 1), 0x00FF00);
      // tiles: both shades along the line below the edge
      int plain = 0, shaded = 0;
      for (int x = 0; x < WIDTH; x++) {
        plain += pixel(&picture, x, top + 3) == 0x00FF00;
        shaded += pixel(&picture, x, top + 3) == 0x00F000;
      }
      assert_true(plain > 35 && shaded > 35 && plain + shaded > 110);
    } else {
      // from above: a rectangle of 60 x 30 pixels
      assert_int_equal(pixel(&picture, WIDTH / 2 - 28, HEIGHT / 2), 0x00FF00);
      assert_int_equal(pixel(&picture, WIDTH / 2 + 28, HEIGHT / 2 + 12), 0x00FF00);
      assert_int_equal(pixel(&picture, WIDTH / 2 - 32, HEIGHT / 2), sky);
      assert_int_equal(pixel(&picture, WIDTH / 2, HEIGHT / 2 + 17), sky);
    }
  }
  cell_scene_free(&scene);
  cell_picture_free(&picture);
}

// every environment can be drawn at any size, always the same, and looks different elsewhere
static void environments(void **unused) {
  (void)unused;
  for (int i = 0; i < cell_env_count(); i++) {
    const CellEnvKind *kind = cell_env_at(i);
    if (!cell_draw_can(kind)) continue;
    CellDiag *diag = cell_diag_create();
    void *state = cell_env_create(kind, diag);
    cell_diag_destroy(diag);
    if (!state) continue; // its library is not there
    enum { STEPS = 8 };
    static const int widths[] = {1, 2, 17, 64, 203};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
      CellPicture one = cell_picture_create(widths[w], cell_draw_height(kind, widths[w]));
      CellPicture two = cell_picture_create(one.width, one.height);
      cell_picture_fill(&two, 0, 0, two.width, two.height, 0x123456);
      size_t bytes = (size_t)one.width * (size_t)one.height * 4;
      cell_env_start(kind, state, NULL, 4);
      assert_true(cell_draw_env(kind, state, &one) && cell_draw_env(kind, state, &two));
      assert_memory_equal(one.pixels, two.pixels, bytes);
      for (int step = 0; step < STEPS; step++)
        cell_env_act(kind, state, step % kind->actions.count);
      assert_true(cell_draw_env(kind, state, &two));
      assert_true(widths[w] < 60 || memcmp(one.pixels, two.pixels, bytes) != 0);
      cell_picture_free(&one);
      cell_picture_free(&two);
    }
    cell_env_destroy(kind, state);
  }
}

/* ---- boards ---- */

static void board(void **unused) {
  (void)unused;
  const CellEnvKind *kind = cell_env_find("minatar/breakout", NULL);
  void *state = cell_malloc(kind->state_bytes);
  cell_env_start(kind, state, NULL, 0);
  CellPicture picture = cell_picture_create(240, 200); // cells of 20 pixels, 20 free at both sides
  assert_true(cell_draw_env(kind, state, &picture));
  uint32_t words[13];
  kind->observe(kind, state, words);
  int seen[4] = {0};
  for (int y = 0; y < 10; y++) {
    for (int x = 0; x < 10; x++) {
      int first = (10 * y + x) * 4;
      unsigned bits = 0;
      for (int c = 0; c < 4; c++) bits |= (words[(first + c) / 32] >> ((first + c) % 32) & 1U) << c;
      // paddle, ball, trail, brick: the ball is in front of its trail and of a brick
      static const uint32_t colours[] = {0x4FC3F7, 0xFFF3C4, 0x5A6372, 0xE0803A};
      int c = bits & 1 ? 0 : bits & 2 ? 1 : bits & 8 ? 3 : bits & 4 ? 2 : -1;
      uint32_t wanted = c >= 0 ? colours[c] : 0x1C222C;
      if (c >= 0) seen[c]++;
      assert_int_equal(pixel(&picture, 20 + 20 * x + 10, 20 * y + 10), wanted);
      assert_int_equal(pixel(&picture, 20 + 20 * x, 20 * y + 10), 0x11151C);
    }
  }
  assert_true(seen[0] == 1 && seen[1] == 1 && seen[3] == 29);
  CellText text = {0};
  cell_draw_letters(kind, state, &text);
  assert_int_equal(text.length, 200);
  assert_memory_equal(text.data + 20, "# # # # # # # # # #\n", 20);
  assert_non_null(strstr(text.data, ". . . . P . . . . .\n"));
  text.length = 0;
  assert_int_equal(cell_draw_legend(kind, CELL_COLOURS_NONE, 20, &text), 2);
  assert_string_equal(text.data, "P paddle  o ball\n, trail  # brick\n");
  cell_text_free(&text);
  cell_picture_free(&picture);
  free(state);
}

/* ---- PNG ---- */

static cairo_status_t read_bytes(void *in, unsigned char *data, unsigned length) {
  return fread(data, 1, length, in) == length ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_READ_ERROR;
}

static CellPicture noise(int width, int height, uint32_t mask, uint32_t seed) {
  CellPicture picture = cell_picture_create(width, height);
  for (int i = 0; i < width * height; i++) {
    uint32_t words[4];
    cell_random(seed, CELL_STREAM_SYNTHETIC, 1, (uint32_t)i, words);
    picture.pixels[i] = words[0] & mask;
  }
  return picture;
}

static void png(void **unused) {
  (void)unused;
  CellPicture picture = noise(37, 21, 0xFFFFFF, 1);
  FILE *file = tmpfile();
  assert_non_null(file);
  assert_true(cell_picture_write_png(&picture, file));
  rewind(file);
  cairo_surface_t *surface = cairo_image_surface_create_from_png_stream(read_bytes, file);
  assert_int_equal(cairo_surface_status(surface), CAIRO_STATUS_SUCCESS);
  assert_int_equal(cairo_image_surface_get_width(surface), 37);
  assert_int_equal(cairo_image_surface_get_height(surface), 21);
  const unsigned char *data = cairo_image_surface_get_data(surface);
  int stride = cairo_image_surface_get_stride(surface);
  for (int i = 0; i < 37 * 21; i++) {
    uint32_t value;
    memcpy(&value, data + (size_t)(i / 37 * stride) + (size_t)(i % 37) * 4, 4);
    assert_int_equal(value & 0xFFFFFF, picture.pixels[i]);
  }
  cairo_surface_destroy(surface);
  fclose(file);
  file = fopen("/dev/full", "w");
  assert_false(cell_picture_write_png(&picture, file) && fflush(file) == 0);
  fclose(file);
  cell_picture_free(&picture);
}

/* ---- GIF ---- */

static int gif_read(GifFileType *file, GifByteType *data, int length) {
  return (int)fread(data, 1, (size_t)length, file->UserData);
}

// puts image i over `shown`; its delay
static int put_image(const GifFileType *file, int i, CellPicture *shown) {
  const SavedImage *image = &file->SavedImages[i];
  const GifImageDesc *d = &image->ImageDesc;
  assert_non_null(d->ColorMap);
  assert_true(d->Left >= 0 && d->Top >= 0 && d->Left + d->Width <= shown->width &&
              d->Top + d->Height <= shown->height);
  for (int k = 0; k < d->Width * d->Height; k++) {
    assert_true(image->RasterBits[k] < d->ColorMap->ColorCount);
    GifColorType c = d->ColorMap->Colors[image->RasterBits[k]];
    shown->pixels[(d->Top + k / d->Width) * shown->width + d->Left + k % d->Width] =
        (uint32_t)(c.Red << 16 | c.Green << 8 | c.Blue);
  }
  GraphicsControlBlock control;
  assert_int_equal(DGifSavedExtensionToGCB((GifFileType *)(uintptr_t)file, i, &control), GIF_OK);
  assert_int_equal(control.DisposalMode, DISPOSE_DO_NOT);
  return control.DelayTime;
}

static FILE *write_gif(CellPicture *const *frames, const int *hold, int count, double fps) {
  FILE *out = tmpfile();
  assert_non_null(out);
  CellGif *gif = cell_gif_create(out, frames[0]->width, frames[0]->height, fps);
  assert_non_null(gif);
  for (int i = 0; i < count; i++) assert_true(cell_gif_add(gif, frames[i], hold[i]));
  assert_true(cell_gif_finish(gif));
  rewind(out);
  return out;
}

static void gif(void **unused) {
  (void)unused;
  CellPicture a = noise(40, 30, 0xC0C080, 2), b = noise(40, 30, 0, 0);
  memcpy(b.pixels, a.pixels, 40 * 30 * 4);
  cell_picture_fill(&b, 10, 5, 7, 3, 0xABCDEF);
  // b again: nothing changes; then the first one
  CellPicture *frames[] = {&a, &b, &b, &a};
  const int hold[] = {1, 2, 1, 7};
  FILE *in = write_gif(frames, hold, 4, 30);
  int error, delays = 0;
  GifFileType *file = DGifOpen(in, gif_read, &error);
  assert_non_null(file);
  assert_int_equal(DGifSlurp(file), GIF_OK);
  assert_int_equal(file->ImageCount, 4);
  assert_true(file->SWidth == 40 && file->SHeight == 30);
  CellPicture shown = cell_picture_create(40, 30);
  for (int i = 0; i < 4; i++) {
    delays += put_image(file, i, &shown);
    assert_memory_equal(shown.pixels, frames[i]->pixels, 40 * 30 * 4);
  }
  // 11 frames at 30 a second, whatever the rounding
  assert_int_equal(delays, 37);
  const GifImageDesc *second = &file->SavedImages[1].ImageDesc;
  assert_true(second->Left == 10 && second->Top == 5 && second->Width == 7 && second->Height == 3);
  assert_true(file->SavedImages[2].ImageDesc.Width == 1);
  // it starts again at its end
  const ExtensionBlock *first = file->SavedImages[0].ExtensionBlocks;
  assert_true(first->Function == APPLICATION_EXT_FUNC_CODE && first->ByteCount == 11);
  assert_memory_equal(first->Bytes, "NETSCAPE2.0", 11);
  assert_int_equal(DGifCloseFile(file, &error), GIF_OK);
  // the same frames give the same bytes
  FILE *again = write_gif(frames, hold, 4, 30);
  rewind(in);
  for (int c; (c = getc(in)) != EOF;) assert_int_equal(c, getc(again));
  assert_int_equal(getc(again), EOF);
  fclose(in);
  fclose(again);
  cell_picture_free(&a);
  cell_picture_free(&b);
  cell_picture_free(&shown);
}

// more colours than a palette, and more than are counted: still near
static void gif_of_many_colours(void **unused) {
  (void)unused;
  static const int sizes[] = {60, 300};
  for (int k = 0; k < 2; k++) {
    CellPicture picture = noise(sizes[k], sizes[k], 0xFFFFFF, 3);
    // what is frequent stays exact
    cell_picture_fill(&picture, 0, 0, 20, 20, 0xF0F0F0);
    CellPicture *frames[] = {&picture}, shown = cell_picture_create(sizes[k], sizes[k]);
    const int hold[] = {1};
    FILE *in = write_gif(frames, hold, 1, 1);
    int error;
    GifFileType *file = DGifOpen(in, gif_read, &error);
    assert_int_equal(DGifSlurp(file), GIF_OK);
    assert_int_equal(put_image(file, 0, &shown), 100);
    int64_t sum = 0;
    for (int i = 0; i < sizes[k] * sizes[k]; i++) {
      for (int shift = 0; shift < 24; shift += 8) {
        sum += abs((int)(shown.pixels[i] >> shift & 255) - (int)(picture.pixels[i] >> shift & 255));
      }
    }
    assert_int_equal(shown.pixels[sizes[k] * 7 + 7], 0xF0F0F0);
    // colours at random would be off by 85
    int64_t mean = sum / (3 * sizes[k] * sizes[k]);
    assert_in_range(mean, 1, 40);
    DGifCloseFile(file, &error);
    fclose(in);
    cell_picture_free(&picture);
    cell_picture_free(&shown);
  }
}

static void gif_that_cannot_be_written(void **unused) {
  (void)unused;
  CellPicture picture = noise(100, 100, 0xFFFFFF, 4);
  FILE *out = fopen("/dev/full", "w");
  setvbuf(out, NULL, _IONBF, 0);
  assert_null(cell_gif_create(out, 100, 100, 10));
  fclose(out);
  // a disk that fills up meanwhile: a buffer holds the head, not the frame
  static char buffer[256];
  out = fopen("/dev/full", "w");
  setvbuf(out, buffer, _IOFBF, sizeof buffer);
  CellGif *gif = cell_gif_create(out, 100, 100, 10);
  assert_non_null(gif);
  assert_false(cell_gif_add(gif, &picture, 1));
  assert_false(cell_gif_add(gif, &picture, 1));
  assert_false(cell_gif_finish(gif));
  fclose(out);
  assert_true(cell_gif_finish(NULL));
  cell_picture_free(&picture);
}

/* ---- text ---- */

static void text(void **unused) {
  (void)unused;
  CellPicture picture = cell_picture_create(3, 3);
  static const uint32_t pixels[] = {0, 0, 0xFF0000, 0, 0xFFFFFF, 0xFF0000, 0x808080, 0, 0};
  memcpy(picture.pixels, pixels, sizeof pixels);
  CellText out = {0};
  cell_picture_text(&picture, CELL_COLOURS_ALL, &out);
  assert_string_equal(out.data, "\x1b[48;2;0;0;0m \x1b[48;2;255;255;255m\x1b[38;2;0;0;0m\u2580"
                                "\x1b[48;2;255;0;0m \x1b[0m\n"
                                "\x1b[48;2;0;0;0m\x1b[38;2;128;128;128m\u2580  \x1b[0m\n");
  out.length = 0;
  cell_picture_text(&picture, CELL_COLOURS_256, &out);
  assert_string_equal(out.data,
                      "\x1b[48;5;16m \x1b[48;5;231m\x1b[38;5;16m\u2580\x1b[48;5;196m \x1b[0m\n"
                      "\x1b[48;5;16m\x1b[38;5;244m\u2580  \x1b[0m\n");
  out.length = 0;
  cell_picture_text(&picture, CELL_COLOURS_NONE, &out);
  assert_string_equal(out.data, " @@\n+\n");
  cell_text_free(&out);
  cell_picture_free(&picture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(silhouettes),
      cmocka_unit_test(order),
      cmocka_unit_test(ground),
      cmocka_unit_test(environments),
      cmocka_unit_test(board),
      cmocka_unit_test(png),
      cmocka_unit_test(gif),
      cmocka_unit_test(gif_of_many_colours),
      cmocka_unit_test(gif_that_cannot_be_written),
      cmocka_unit_test(text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
