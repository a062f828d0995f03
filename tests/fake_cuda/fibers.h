/* fibers.h - threads that take turns when they say so: the threads of a block of generated CUDA. */
#ifndef CELL_FIBERS_H
#define CELL_FIBERS_H

#include <stddef.h>

typedef struct Fiber Fiber;

/* A fiber with a stack of its own that will run function(argument) from its start at the first switch; the
 * function must not return. */
Fiber *fiber_create(size_t stack_bytes, void (*function)(void *), void *argument);
/* Begins again at the function's start, whatever it was doing. */
void fiber_restart(Fiber *f);
void fiber_destroy(Fiber *f);

/* From the caller's own stack into f, until it leaves. */
void fiber_enter(Fiber *f);
/* From a fiber to another, and back to whoever entered. */
void fiber_switch(Fiber *from, Fiber *to);
void fiber_leave(Fiber *from);

#endif
