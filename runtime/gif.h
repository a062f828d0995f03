/* gif.h - an animation as GIF, frame by frame.
 *
 * A frame stores only the rectangle that changed, in a palette of its own: exact up to 256 colours,
 * beyond that the rarest take the nearest of the others. The same frames give the same bytes. */
#ifndef CELL_GIF_H
#define CELL_GIF_H

#include "runtime/picture.h"

/* What viewers still play at the speed that was asked for. */
enum { CELL_GIF_MOST_FPS = 50 };

typedef struct CellGif CellGif;

/* Begins an endless animation of `fps` (at most CELL_GIF_MOST_FPS) frames a second; NULL when it
 * cannot be written. */
CellGif *cell_gif_create(FILE *out, int width, int height, double fps);

/* Adds a frame of that size, shown for `frames` frames' time, at least 1. */
bool cell_gif_add(CellGif *gif, const CellPicture *picture, int frames);

/* Ends the animation and frees; false when something could not be written. NULL is fine. `out` stays
 * open. */
bool cell_gif_finish(CellGif *gif);

#endif
