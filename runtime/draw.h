/* draw.h - what an environment looks like, as a picture or as letters. Needs no screen.
 *
 * Environments with a scene (scene.h) are drawn as silhouettes of their solids, seen along an axis
 * without perspective, nearer ones over farther ones. Environments whose observation is a grid of
 * bits are drawn as a board of coloured cells: what a channel stands for is known by its name. */
#ifndef CELL_DRAW_H
#define CELL_DRAW_H

#include "runtime/env.h"
#include "runtime/picture.h"

/* Whether there is something to draw. */
bool cell_draw_can(const CellEnvKind *kind);

/* The height that suits a width. */
int cell_draw_height(const CellEnvKind *kind, int width);

/* Whether it is a board of cells, and its size. */
bool cell_draw_is_board(const CellEnvKind *kind, int *columns, int *rows);

/* Draws the current state over the whole picture; false when there is nothing to see. */
bool cell_draw_env(const CellEnvKind *kind, const void *state, CellPicture *picture);

/* Draws a scene over the whole picture. */
void cell_draw_scene(const CellScene *scene, CellPicture *picture);

/* Appends a board as lines of letters, one a cell with a blank between, and `.` where it is empty. */
void cell_draw_letters(const CellEnvKind *kind, const void *state, CellText *out);

/* Appends what the letters or colours of a board stand for, "P paddle  o ball", in lines of at most
 * `columns`; returns how many. */
int cell_draw_legend(const CellEnvKind *kind, CellColours colours, int columns, CellText *out);

#endif
