/* picture.h - a picture: pixels in memory, as a PNG, as text for a terminal. */
#ifndef CELL_PICTURE_H
#define CELL_PICTURE_H

#include "ir/support.h"

typedef struct {
  int width, height;
  uint32_t *pixels; /* 0x00RRGGBB, rows from the top */
} CellPicture;

/* A black picture; release with cell_picture_free. */
CellPicture cell_picture_create(int width, int height);
void cell_picture_free(CellPicture *picture);

/* Fills a rectangle; what lies outside of the picture is left out. */
void cell_picture_fill(CellPicture *picture, int x, int y, int width, int height, uint32_t colour);

/* Writes a PNG; the same picture gives the same bytes. false after an error. */
bool cell_picture_write_png(const CellPicture *picture, FILE *out);

typedef enum {
  CELL_COLOURS_NONE, /* characters, darker ones for what differs more from the upper left corner */
  CELL_COLOURS_256,
  CELL_COLOURS_ALL /* 24 bits */
} CellColours;

/* Appends the SGR sequence that sets a character's colour, or with `behind` that of what is behind it;
 * nothing without colours. */
void cell_text_colour(CellText *out, bool behind, uint32_t colour, CellColours colours);

/* Appends lines of text that show the picture, two pixels above each other a character: half blocks
 * in colours (SGR sequences, reset at each line's end), or plain characters. */
void cell_picture_text(const CellPicture *picture, CellColours colours, CellText *out);

#endif
