/* terminal.h - the terminal as a screen and a keyboard.
 *
 * While it is open, stdout shows a screen of its own and keys come one by one, unseen. However the
 * program ends - return, exit, a signal, an abort - the terminal is as it was before. */
#ifndef CELL_TERMINAL_H
#define CELL_TERMINAL_H

#include "ir/support.h"

/* Keys that are no characters. */
enum { CELL_KEY_NONE, CELL_KEY_UP = 256, CELL_KEY_DOWN, CELL_KEY_LEFT, CELL_KEY_RIGHT };

/* Whether stdout, and with `keys` also stdin, is a terminal. */
bool cell_terminal_there(bool keys);

/* Takes over the screen of stdout, and the keys of stdin where that is a terminal too. False if stdout
 * is no terminal. */
bool cell_terminal_open(void);
/* Gives everything back; without an open terminal nothing. */
void cell_terminal_close(void);

/* Size in characters; 80 x 24 where that is unknown. */
void cell_terminal_size(int *columns, int *rows);

/* Draws a frame over the one before: lines of text, each at most the terminal's width. */
void cell_terminal_show(const CellText *frame);

/* Waits for a key until `seconds` of a monotonic clock (cell_terminal_now); CELL_KEY_NONE when none
 * came, or a signal did. */
int cell_terminal_key(double until);
double cell_terminal_now(void);

/* The signal that asks to stop (SIGINT, SIGTERM, SIGHUP: also when the terminal went away), or 0. */
int cell_terminal_signal(void);

#endif
