/* draw.c - boards of coloured cells, and which drawing an environment gets. */
#include "runtime/draw.h"

#include <string.h>

static const uint32_t between = 0x11151C, empty = 0x1C222C;

// what channels of boards stand for; of several in one cell the first of this list is seen
typedef struct {
  const char *name;
  uint32_t colour;
  char letter;
} Look;

static const Look looks[] = {
    {"player", 0x4FC3F7, 'P'},       {"chicken", 0xFFE082, 'C'},
    {"cannon", 0x4FC3F7, 'C'},       {"paddle", 0x4FC3F7, 'P'},
    {"ball", 0xFFF3C4, 'o'},         {"sub_front", 0xFFD54F, 'S'},
    {"sub_back", 0xC79A2B, 's'},     {"friendly_bullet", 0xFFF3C4, '*'},
    {"enemy_bullet", 0xFF8A65, '!'}, {"enemy_sub", 0xBA68C8, 'U'},
    {"enemy_fish", 0x66BB6A, 'F'},   {"diver", 0xF48FB1, 'D'},
    {"gold", 0xFFD54F, 'G'},         {"enemy", 0xEF5350, 'E'},
    {"car", 0xEF5350, 'c'},          {"alien", 0x66BB6A, 'A'},
    {"brick", 0xE0803A, '#'},        {"oxygen_guage", 0x3F7FD0, '='},
    {"diver_guage", 0xB0607F, 'd'},  {"trail", 0x5A6372, ','},
    {"alien_left", 0x66BB6A, 'A'},   {"alien_right", 0x66BB6A, 'A'},
    {"speed1", 0x4A3238, '1'},       {"speed2", 0x573438, '2'},
    {"speed3", 0x643638, '3'},       {"speed4", 0x713838, '4'},
    {"speed5", 0x7E3A38, '5'},
};
enum { LOOKS = sizeof looks / sizeof *looks };

// for channels that have no name, or one that is not known
static const uint32_t other_colours[] = {0x4FC3F7, 0xFFD54F, 0xEF5350, 0x66BB6A,
                                         0xBA68C8, 0xFF8A65, 0xF48FB1, 0x90A4AE};
enum { OTHER_COLOURS = sizeof other_colours / sizeof *other_colours };

// how channel c looks; *rank: the lower is seen
static Look look_of(const CellEnvKind *kind, int c, int *rank) {
  const char *const *channels = kind->observation.channels;
  for (int i = 0; channels && i < LOOKS; i++) {
    if (strcmp(channels[c], looks[i].name) == 0) {
      *rank = i;
      return looks[i];
    }
  }
  *rank = LOOKS + c;
  return (Look){channels ? channels[c] : "", other_colours[c % OTHER_COLOURS],
                (char)('a' + c % 26)};
}

bool cell_draw_is_board(const CellEnvKind *kind, int *columns, int *rows) {
  const CellEnvObservation *o = &kind->observation;
  if (kind->scene || o->representation != CELL_ENV_BITS || o->rank != 3) return false;
  *rows = o->shape[0], *columns = o->shape[1];
  return true;
}

bool cell_draw_can(const CellEnvKind *kind) {
  int columns, rows;
  return kind->scene || cell_draw_is_board(kind, &columns, &rows);
}

int cell_draw_height(const CellEnvKind *kind, int width) {
  int columns, rows, height = width * 3 / 4;
  if (cell_draw_is_board(kind, &columns, &rows)) height = width * rows / columns;
  return height > 1 ? height : 1;
}

/* ---- boards ---- */

// calls `put` for every cell, row by row, with the look of what is seen there, or NULL
typedef void Put(void *context, int x, int y, const Look *look);

static void each_cell(const CellEnvKind *kind, const void *state, Put *put, void *context) {
  uint32_t words[CELL_ENV_MAX_BITS / 32];
  const CellEnvObservation *o = &kind->observation;
  kind->observe(kind, state, words);
  int channels = o->shape[2], index = 0;
  for (int y = 0; y < o->shape[0]; y++) {
    for (int x = 0; x < o->shape[1]; x++) {
      int best = INT32_MAX;
      Look seen = {0};
      for (int c = 0; c < channels; c++, index++) {
        if (!(words[index / 32] >> (index % 32) & 1U)) continue;
        int rank;
        Look look = look_of(kind, c, &rank);
        if (rank < best) best = rank, seen = look;
      }
      put(context, x, y, best < INT32_MAX ? &seen : NULL);
    }
  }
}

typedef struct {
  CellPicture *picture;
  int x, y, size, gap; // of the board's corner; of a cell
} Board;

static void put_square(void *context, int x, int y, const Look *look) {
  const Board *b = context;
  cell_picture_fill(b->picture, b->x + x * b->size + b->gap / 2, b->y + y * b->size + b->gap / 2,
                    b->size - b->gap, b->size - b->gap, look ? look->colour : empty);
}

static void draw_board(const CellEnvKind *kind, const void *state, int columns, int rows,
                       CellPicture *picture) {
  int across = picture->width / columns, down = picture->height / rows;
  int size = across < down ? across : down;
  if (size < 1) size = 1;
  Board board = {.picture = picture,
                 .x = (picture->width - columns * size) / 2,
                 .y = (picture->height - rows * size) / 2,
                 .size = size,
                 .gap = size < 8 ? 0 : size / 12 + 1};
  cell_picture_fill(picture, 0, 0, picture->width, picture->height, between);
  each_cell(kind, state, put_square, &board);
}

static void put_letter(void *context, int x, int y, const Look *look) {
  (void)y;
  CellText *out = context;
  if (x > 0) {
    cell_text_append(out, " ", 1);
  } else if (y > 0) {
    cell_text_append(out, "\n", 1);
  }
  cell_text_append(out, look ? &look->letter : ".", 1);
}

void cell_draw_letters(const CellEnvKind *kind, const void *state, CellText *out) {
  each_cell(kind, state, put_letter, out);
  cell_text_append(out, "\n", 1);
}

int cell_draw_legend(const CellEnvKind *kind, CellColours colours, int columns, CellText *out) {
  int lines = 1, used = 0;
  for (int c = 0; c < kind->observation.shape[2]; c++) {
    int rank;
    Look look = look_of(kind, c, &rank);
    int length = 2 + (int)strlen(look.name);
    if (used > 0 && used + 2 + length > columns) {
      cell_text_append(out, "\n", 1);
      lines++, used = 0;
    } else if (used > 0) {
      cell_text_append(out, "  ", 2);
      used += 2;
    }
    if (colours == CELL_COLOURS_NONE) {
      cell_text_printf(out, "%c %s", look.letter, look.name);
    } else {
      cell_text_colour(out, false, look.colour, colours);
      cell_text_printf(out, "\u25a0\x1b[0m %s", look.name);
    }
    used += length;
  }
  cell_text_append(out, "\n", 1);
  return lines;
}

bool cell_draw_env(const CellEnvKind *kind, const void *state, CellPicture *picture) {
  int columns, rows;
  if (cell_draw_is_board(kind, &columns, &rows)) {
    draw_board(kind, state, columns, rows, picture);
    return true;
  }
  if (!kind->scene) return false;
  CellScene scene = {0};
  bool seen = kind->scene(kind, state, &scene);
  if (seen) cell_draw_scene(&scene, picture);
  cell_scene_free(&scene);
  return seen;
}
