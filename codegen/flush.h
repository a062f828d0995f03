/* flush.h - flushing of subnormals to zero, for the calling thread: set while a plan runs and put
 * back after it. Adam's moments of columns that are rarely set decay into subnormals, and
 * arithmetic on them costs tens of times more. */
#ifndef CELL_FLUSH_H
#define CELL_FLUSH_H

#if defined(__x86_64__)
#include <xmmintrin.h>

static inline unsigned cell_flush_begin(void) {
  unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040u); /* flush to zero, denormals are zero */
  return saved;
}

static inline void cell_flush_end(unsigned saved) {
  _mm_setcsr(saved);
}
#else
static inline unsigned cell_flush_begin(void) {
  return 0;
}

static inline void cell_flush_end(unsigned saved) {
  (void)saved;
}
#endif

#endif
