/* picture.c - a picture: pixels, PNG by cairo, text for a terminal. */
#include "runtime/picture.h"

#include <cairo.h>
#include <stdlib.h>
#include <string.h>

CellPicture cell_picture_create(int width, int height) {
  CELL_ASSERT(width > 0 && height > 0);
  return (CellPicture){width, height, cell_malloc((size_t)width * (size_t)height * 4)};
}

void cell_picture_free(CellPicture *picture) {
  free(picture->pixels);
  *picture = (CellPicture){0};
}

void cell_picture_fill(CellPicture *picture, int x, int y, int width, int height, uint32_t colour) {
  int right = x + width < picture->width ? x + width : picture->width;
  int bottom = y + height < picture->height ? y + height : picture->height;
  for (int row = y < 0 ? 0 : y; row < bottom; row++) {
    for (int column = x < 0 ? 0 : x; column < right; column++) {
      picture->pixels[(size_t)row * (size_t)picture->width + (size_t)column] = colour;
    }
  }
}

/* ---- PNG ---- */

static cairo_status_t write_bytes(void *out, const unsigned char *data, unsigned length) {
  return fwrite(data, 1, length, out) == length ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

bool cell_picture_write_png(const CellPicture *picture, FILE *out) {
  cairo_surface_t *surface =
      cairo_image_surface_create_for_data((unsigned char *)picture->pixels, CAIRO_FORMAT_RGB24,
                                          picture->width, picture->height, 4 * picture->width);
  cairo_status_t status = cairo_surface_write_to_png_stream(surface, write_bytes, out);
  cairo_surface_destroy(surface);
  return status == CAIRO_STATUS_SUCCESS;
}

/* ---- text ---- */

static int channel(uint32_t colour, int shift) {
  return (int)(colour >> shift & 0xFF);
}

// pixels below the last row are black
static uint32_t pixel(const CellPicture *picture, int x, int y) {
  if (y >= picture->height) return 0;
  return picture->pixels[(size_t)y * (size_t)picture->width + (size_t)x];
}

static int distance(uint32_t a, uint32_t b) {
  int sum = 0;
  for (int shift = 0; shift < 24; shift += 8) {
    int difference = channel(a, shift) - channel(b, shift);
    sum += difference * difference;
  }
  return sum;
}

// the nearest of a terminal's 6 x 6 x 6 cube (16 to 231) and its greys (232 to 255)
static int palette_index(uint32_t colour) {
  static const int level[6] = {0, 95, 135, 175, 215, 255};
  int place[3], grey = 0;
  uint32_t cube = 0;
  for (int i = 0; i < 3; i++) {
    int value = channel(colour, 16 - 8 * i);
    place[i] = 0;
    for (int k = 1; k < 6; k++) {
      if (abs(level[k] - value) < abs(level[place[i]] - value)) place[i] = k;
    }
    cube |= (uint32_t)level[place[i]] << (16 - 8 * i);
    grey += value;
  }
  grey = (grey / 3 - 3) / 10;
  grey = grey < 0 ? 0 : grey > 23 ? 23 : grey;
  if (distance(colour, (uint32_t)(8 + 10 * grey) * 0x010101U) < distance(colour, cube)) {
    return 232 + grey;
  }
  return 16 + 36 * place[0] + 6 * place[1] + place[2];
}

void cell_text_colour(CellText *out, bool behind, uint32_t colour, CellColours colours) {
  int what = behind ? 48 : 38;
  if (colours == CELL_COLOURS_256) {
    cell_text_printf(out, "\x1b[%d;5;%dm", what, palette_index(colour));
  } else if (colours == CELL_COLOURS_ALL) {
    cell_text_printf(out, "\x1b[%d;2;%d;%d;%dm", what, channel(colour, 16), channel(colour, 8),
                     channel(colour, 0));
  }
}

static void put_blocks(const CellPicture *picture, int y, CellColours colours, CellText *out) {
  int64_t behind = -1, front = -1; // colours that are set; -1: none
  for (int x = 0; x < picture->width; x++) {
    uint32_t upper = pixel(picture, x, y), lower = pixel(picture, x, y + 1);
    if (lower != behind) cell_text_colour(out, true, lower, colours), behind = lower;
    if (upper == lower) {
      cell_text_append(out, " ", 1);
      continue;
    }
    if (upper != front) cell_text_colour(out, false, upper, colours), front = upper;
    cell_text_append(out, "\u2580", 3);
  }
  cell_text_append(out, "\x1b[0m\n", 5);
}

static void put_shades(const CellPicture *picture, int y, CellText *out) {
  static const char shades[] = " .:-=+*#%@";
  size_t begin = out->length;
  for (int x = 0; x < picture->width; x++) {
    uint32_t corner = picture->pixels[0];
    int most = 0;
    for (int i = 0; i < 2 && y + i < picture->height; i++) {
      for (int shift = 0; shift < 24; shift += 8) {
        int difference = abs(channel(pixel(picture, x, y + i), shift) - channel(corner, shift));
        if (difference > most) most = difference;
      }
    }
    cell_text_append(out, &shades[most * 10 / 256], 1);
  }
  while (out->length > begin && out->data[out->length - 1] == ' ') out->length--;
  cell_text_append(out, "\n", 1);
}

void cell_picture_text(const CellPicture *picture, CellColours colours, CellText *out) {
  for (int y = 0; y < picture->height; y += 2) {
    if (colours == CELL_COLOURS_NONE) {
      put_shades(picture, y, out);
    } else {
      put_blocks(picture, y, colours, out);
    }
  }
}
