/* gif.c - an animation as GIF, by giflib. */
#include "runtime/gif.h"

#include <gif_lib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct CellGif {
  GifFileType *file;
  CellPicture shown; // what a viewer shows after the frames so far
  GifByteType *indices;
  double fps;
  int64_t frames; // frames' time so far
  bool begun, failed;
};

typedef struct {
  int x, y, width, height;
} Rectangle;

static int write_bytes(GifFileType *file, const GifByteType *data, int length) {
  return (int)fwrite(data, 1, (size_t)length, file->UserData);
}

static bool loop_forever(GifFileType *file) {
  static const GifByteType name[] = "NETSCAPE2.0", endless[] = {1, 0, 0};
  return EGifPutExtensionLeader(file, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
         EGifPutExtensionBlock(file, 11, name) == GIF_OK &&
         EGifPutExtensionBlock(file, 3, endless) == GIF_OK &&
         EGifPutExtensionTrailer(file) == GIF_OK;
}

CellGif *cell_gif_create(FILE *out, int width, int height, double fps) {
  CELL_ASSERT(fps > 0 && fps <= CELL_GIF_MOST_FPS);
  CellGif *gif = cell_malloc(sizeof *gif);
  gif->shown = cell_picture_create(width, height);
  gif->indices = cell_malloc((size_t)width * (size_t)height);
  gif->fps = fps;
  int error;
  gif->file = EGifOpen(out, write_bytes, &error);
  if (gif->file) {
    EGifSetGifVersion(gif->file, true);
    gif->failed = EGifPutScreenDesc(gif->file, width, height, 8, 0, NULL) != GIF_OK ||
                  !loop_forever(gif->file);
  }
  if (gif->file && !gif->failed) return gif;
  cell_gif_finish(gif);
  return NULL;
}

bool cell_gif_finish(CellGif *gif) {
  if (!gif) return true;
  int error;
  bool ok = !gif->failed;
  if (gif->file && EGifCloseFile(gif->file, &error) != GIF_OK) ok = false;
  cell_picture_free(&gif->shown);
  free(gif->indices);
  free(gif);
  return ok;
}

/* ---- what changed ---- */

static size_t row_of(const CellPicture *picture, int y) {
  return (size_t)y * (size_t)picture->width;
}

// the smallest rectangle with every changed pixel; one pixel where nothing did
static Rectangle changed(const CellGif *gif, const CellPicture *picture) {
  if (!gif->begun) return (Rectangle){0, 0, picture->width, picture->height};
  int left = picture->width, right = -1, top = -1, bottom = -1;
  for (int y = 0; y < picture->height; y++) {
    const uint32_t *now = picture->pixels + row_of(picture, y);
    const uint32_t *before = gif->shown.pixels + row_of(picture, y);
    for (int x = 0; x < picture->width; x++) {
      if (now[x] == before[x]) continue;
      if (top < 0) top = y;
      bottom = y;
      if (x < left) left = x;
      if (x > right) right = x;
    }
  }
  if (top < 0) return (Rectangle){0, 0, 1, 1};
  return (Rectangle){left, top, right - left + 1, bottom - top + 1};
}

/* ---- the palette ---- */

// an open-addressed table: colour + 1 (0: empty), how often it occurs, its number in the palette
enum { SLOTS = 1 << 16, MOST = 256 };
typedef struct {
  uint32_t key, count;
  int index;
} Slot;

static Slot *slot_of(Slot *slots, uint32_t colour) {
  uint32_t at = colour * 2654435761U >> 16;
  while (slots[at].key && slots[at].key != colour + 1) at = (at + 1) % SLOTS;
  return &slots[at];
}

// frequent ones first; the colour itself decides between equals
static int by_count(const void *a, const void *b) {
  const Slot *x = a, *y = b;
  if (x->count != y->count) return x->count > y->count ? -1 : 1;
  return (x->key > y->key) - (x->key < y->key);
}

static int distance(uint32_t a, uint32_t b) {
  int sum = 0;
  for (int shift = 0; shift < 24; shift += 8) {
    int difference = (int)(a >> shift & 0xFF) - (int)(b >> shift & 0xFF);
    sum += difference * difference;
  }
  return sum;
}

static int nearest(const Slot *palette, int count, uint32_t colour) {
  int best = 0;
  for (int i = 1; i < count; i++) {
    if (distance(palette[i].key - 1, colour) < distance(palette[best].key - 1, colour)) best = i;
  }
  return best;
}

// counts the colours, of which only the bits in `mask` matter; how many there are, -1: too many
static int count_colours(const CellPicture *picture, Rectangle r, uint32_t mask, Slot *slots) {
  int used = 0;
  memset(slots, 0, SLOTS * sizeof *slots);
  for (int y = r.y; y < r.y + r.height; y++) {
    const uint32_t *row = picture->pixels + row_of(picture, y);
    for (int x = r.x; x < r.x + r.width; x++) {
      Slot *slot = slot_of(slots, row[x] & mask);
      slot->count++;
      if (slot->key) continue;
      slot->key = (row[x] & mask) + 1;
      if (++used > SLOTS / 2) return -1;
    }
  }
  return used;
}

// gif->indices of the rectangle's pixels, and the palette; NULL when memory is out
static ColorMapObject *find_palette(CellGif *gif, const CellPicture *picture, Rectangle r) {
  Slot *slots = cell_malloc(SLOTS * sizeof *slots);
  // what has tens of thousands of colours is no drawing: the low bits go
  uint32_t mask = 0xFFFFFF;
  int count = count_colours(picture, r, mask, slots), kept, size = 2, listed = 0;
  if (count < 0) count = count_colours(picture, r, mask = 0xF0F0F0, slots);

  Slot *list = cell_malloc((size_t)count * sizeof *list);
  for (int i = 0; i < SLOTS; i++) {
    if (slots[i].key) list[listed++] = slots[i];
  }
  qsort(list, (size_t)count, sizeof *list, by_count);
  kept = count < MOST ? count : MOST;
  for (int i = 0; i < count; i++) {
    slot_of(slots, list[i].key - 1)->index = i < kept ? i : nearest(list, kept, list[i].key - 1);
  }
  GifByteType *at = gif->indices;
  for (int y = r.y; y < r.y + r.height; y++) {
    const uint32_t *row = picture->pixels + row_of(picture, y);
    for (int x = r.x; x < r.x + r.width; x++) {
      *at++ = (GifByteType)slot_of(slots, row[x] & mask)->index;
    }
  }

  while (size < kept) size *= 2;
  ColorMapObject *map = GifMakeMapObject(size, NULL);
  for (int i = 0; map && i < kept; i++) {
    uint32_t colour = list[i].key - 1;
    map->Colors[i] = (GifColorType){(GifByteType)(colour >> 16), (GifByteType)(colour >> 8),
                                    (GifByteType)colour};
  }
  free(slots);
  free(list);
  return map;
}

/* ---- a frame ---- */

// hundredths of a second up to a frame's time: rounded sums, so that long animations keep the speed
static int64_t hundredths(const CellGif *gif, int64_t frames) {
  return llround(100 * (double)frames / gif->fps);
}

static bool put_delay(CellGif *gif, int frames) {
  int64_t delay = hundredths(gif, gif->frames + frames) - hundredths(gif, gif->frames);
  gif->frames += frames;
  GraphicsControlBlock control = {.DisposalMode = DISPOSE_DO_NOT,
                                  .DelayTime = delay > 65535 ? 65535 : (int)delay,
                                  .TransparentColor = NO_TRANSPARENT_COLOR};
  GifByteType bytes[4];
  size_t length = EGifGCBToExtension(&control, bytes);
  return EGifPutExtension(gif->file, GRAPHICS_EXT_FUNC_CODE, (int)length, bytes) == GIF_OK;
}

bool cell_gif_add(CellGif *gif, const CellPicture *picture, int frames) {
  CELL_ASSERT(picture->width == gif->shown.width && picture->height == gif->shown.height);
  if (gif->failed) return false;
  Rectangle r = changed(gif, picture);
  ColorMapObject *map = find_palette(gif, picture, r);
  bool ok = map && put_delay(gif, frames) &&
            EGifPutImageDesc(gif->file, r.x, r.y, r.width, r.height, false, map) == GIF_OK;
  for (int y = 0; ok && y < r.height; y++) {
    ok = EGifPutLine(gif->file, gif->indices + (size_t)y * (size_t)r.width, r.width) == GIF_OK;
  }
  GifFreeMapObject(map);
  memcpy(gif->shown.pixels, picture->pixels, row_of(picture, picture->height) * 4);
  gif->begun = true;
  gif->failed = !ok;
  return ok;
}
