/* host.c - see host.h. One launch at a time, on one thread of the process. */
#include "tests/fake_cuda/host.h"

#include "codegen/flush.h"
#include "tests/fake_cuda/fibers.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_THREADS = 1024,
  WARP = 32,
  STACK = 1 << 20, /* of code that nothing optimised */
  MOST_WORDS = 8,
  MOST_MEMORIES = 1024,
  MOST_SHARED = 1 << 20
};

typedef enum { READY, AT_BARRIER, AT_WARP, DONE } Status;

// who touched a word last
typedef struct {
  uint32_t launch;
  int32_t block;  /* -1: several, reading */
  uint32_t epoch; /* the block's barriers so far */
  bool written;   /* in this launch, by this block */
  bool pending;   /* a copy to it is under way */
  int16_t writer; /* since the barrier; -1: nobody */
  int16_t reader; /* -1: nobody, -2: several of one warp, -3: of several warps */
  int16_t reader_warp;
  uint32_t writer_step, reader_step; /* the warp's barriers at that time */
} Shadow;

typedef struct {
  unsigned char *memory;
  size_t bytes;
  Shadow *shadow;
} Memory;

typedef struct {
  void *to;
  const void *from;
  int bytes, group;
  size_t size;
} Copy;

typedef struct {
  Fiber *fiber;
  Status status;
  const char *waits; /* what for */
  Copy *copies;
  int copy_count, copy_capacity;
  int groups; /* committed */
} Thread;

typedef struct {
  int arrived, phase, kind; /* kind: words given, 0: the barrier */
  uint32_t step;
  unsigned words[2][WARP * MOST_WORDS];
} Warp;

static struct {
  const char *name;
  HostKernel kernel;
  const void *arguments;
  int threads, block;
  uint32_t launch, epoch;
  Thread thread[MOST_THREADS];
  Warp warp[MOST_THREADS / WARP];
  int made, current, at_barrier, done;
  bool failed;
  char message[512];
  Memory memory[MOST_MEMORIES];
  int memory_count;
  Memory shared;
} h;

struct CellHost host_table;
bool host_unchecked;

// ---- faults ----

static void fault(const char *format, ...) {
  if (!h.failed) {
    int n = snprintf(h.message, sizeof h.message, "%s, block %d, thread %d: ", h.name, h.block,
                     h.current);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(h.message + n, sizeof h.message - (size_t)n, format, arguments);
    va_end(arguments);
  }
  h.failed = true;
  fiber_leave(h.thread[h.current].fiber);
  abort(); // fibers are begun again after a fault
}

// ---- taking turns ----

static void resume(int thread) {
  int from = h.current;
  h.current = thread;
  host_table.thread = thread;
  fiber_switch(h.thread[from].fiber, h.thread[thread].fiber);
  h.current = from;
  host_table.thread = from;
}

// lets the others run until this thread may go on
static void give_way(void) {
  int me = h.current;
  while (h.thread[me].status != READY) {
    int next = me;
    for (int i = 1; i <= h.threads; i++) {
      int t = (me + i) % h.threads;
      if (h.thread[t].status == READY) {
        next = t;
        break;
      }
    }
    if (next == me && h.thread[me].status != READY) {
      int other = 0;
      while (other < h.threads && (h.thread[other].status == DONE || other == me ||
                                   h.thread[other].waits == h.thread[me].waits))
        other++;
      if (other < h.threads)
        fault("waits at %s while thread %d waits at %s", h.thread[me].waits, other,
              h.thread[other].waits);
      fault("waits at %s for threads that have left", h.thread[me].waits);
    }
    resume(next);
  }
}

static void barrier(void) {
  Thread *me = &h.thread[h.current];
  if (++h.at_barrier < h.threads) {
    me->status = AT_BARRIER, me->waits = "a barrier";
    give_way();
    return;
  }
  h.at_barrier = 0;
  h.epoch++;
  for (int t = 0; t < h.threads; t++)
    if (h.thread[t].status == AT_BARRIER) h.thread[t].status = READY;
}

static const unsigned *meet(const unsigned *mine, int count) {
  int lane = h.current % WARP, first = h.current - lane;
  Warp *w = &h.warp[h.current / WARP];
  Thread *me = &h.thread[h.current];
  if (w->arrived > 0 && w->kind != count) fault("a warp's threads meet at different functions");
  w->kind = count;
  int phase = w->phase & 1;
  if (count > 0) memcpy(&w->words[phase][lane * count], mine, (size_t)count * sizeof *mine);
  int lanes = h.threads - first < WARP ? h.threads - first : WARP;
  if (++w->arrived < lanes) {
    me->status = AT_WARP, me->waits = count ? "an exchange of its warp" : "a barrier of its warp";
    give_way();
  } else {
    w->arrived = 0, w->phase++;
    if (count == 0) w->step++;
    for (int i = 0; i < lanes; i++)
      if (h.thread[first + i].status == AT_WARP) h.thread[first + i].status = READY;
  }
  return w->words[phase];
}

static void warp_barrier(void) {
  meet(NULL, 0);
}
static unsigned exchange(unsigned x, int lane) {
  return meet(&x, 1)[lane & (WARP - 1)];
}
static const unsigned *gather(const unsigned *mine, int count) {
  return meet(mine, count);
}

// ---- memory ----

void *host_alloc(size_t bytes) {
  Memory *m = NULL;
  for (int i = 0; i < h.memory_count && !m; i++)
    if (!h.memory[i].memory) m = &h.memory[i];
  if (!m && h.memory_count < MOST_MEMORIES) m = &h.memory[h.memory_count++];
  if (!m) return NULL;
  size_t rounded = (bytes + 255) / 256 * 256;
  m->memory = aligned_alloc(256, rounded);
  m->shadow = m->memory ? calloc(host_unchecked ? 1 : rounded / 4, sizeof *m->shadow) : NULL;
  if (!m->shadow) {
    free(m->memory);
    m->memory = NULL;
    return NULL;
  }
  memset(m->memory, 0xff, rounded); // NaN: a device's memory holds anything
  m->bytes = bytes;
  return m->memory;
}

void host_free(void *memory) {
  for (int i = 0; i < h.memory_count; i++)
    if (memory && h.memory[i].memory == memory) {
      free(h.memory[i].memory);
      free(h.memory[i].shadow);
      h.memory[i] = (Memory){0};
    }
}

size_t host_allocated(void) {
  size_t bytes = 0;
  for (int i = 0; i < h.memory_count; i++) bytes += h.memory[i].bytes;
  return bytes;
}

static Shadow *shadow_of(const void *address, bool *shared) {
  const unsigned char *p = address;
  *shared = true;
  if (p >= h.shared.memory && p < h.shared.memory + h.shared.bytes)
    return &h.shared.shadow[(p - h.shared.memory) / 4];
  *shared = false;
  for (int i = 0; i < h.memory_count; i++) {
    const Memory *m = &h.memory[i];
    if (m->memory && p >= m->memory && p < m->memory + m->bytes)
      return &m->shadow[(p - m->memory) / 4];
  }
  fault("an address outside of the device's memory");
  return NULL;
}

static void touch(const void *address, int bytes, int write) {
  (void)bytes;
  if (host_unchecked) return;
  bool shared;
  Shadow *s = shadow_of(address, &shared);
  const char *where = shared ? "shared memory" : "memory";
  int me = h.current;
  uint32_t step = h.warp[me / WARP].step;
  if (s->launch != h.launch)
    *s = (Shadow){
        .launch = h.launch, .block = h.block, .epoch = h.epoch, .writer = -1, .reader = -1};
  if (s->pending) fault("touches a word of %s to which a copy is under way", where);
  if (s->block != h.block) {
    if (write || s->written)
      fault("blocks %d and %d touch one word of memory, one of them writing", s->block, h.block);
    s->block = s->block == h.block ? h.block : -1;
    return;
  }
  if (s->epoch != h.epoch) s->epoch = h.epoch, s->writer = s->reader = -1;

  // within a warp its own barriers count too
  bool writer_there = s->writer >= 0 && s->writer != me &&
                      !(s->writer / WARP == me / WARP && s->writer_step != step);
  if (writer_there)
    fault("threads %d and %d touch one word of %s between barriers, the first writing", s->writer,
          me, where);
  bool reader_there = s->reader == -3 || (s->reader != -1 && s->reader_warp != me / WARP) ||
                      (s->reader != -1 && s->reader != me && s->reader_step == step);
  if (write) {
    if (reader_there)
      fault("writes a word of %s that another thread read since the last barrier", where);
    s->writer = (int16_t)me, s->writer_step = step, s->written = true;
    s->reader = -1;
    return;
  }
  if (s->reader == -1 || (s->reader_warp == me / WARP && s->reader_step != step))
    s->reader = (int16_t)me; // what a warp read before its barrier is in order
  else if (s->reader_warp != me / WARP)
    s->reader = -3;
  else if (s->reader != me)
    s->reader = -2;
  s->reader_warp = (int16_t)(me / WARP), s->reader_step = step;
}

static void outside(long long index, long long count) {
  if (count < 0)
    fault("a copy or load of 16 bytes that do not begin at a multiple of 16 (at %lld)", index);
  fault("index %lld of a buffer that has %lld entries", index, count);
}

// ---- copies ----

static void set_pending(const Copy *c, bool pending) {
  bool shared;
  if (host_unchecked) return;
  for (int i = 0; i < c->bytes; i += 4)
    shadow_of((unsigned char *)c->to + i, &shared)->pending = pending;
}

static void copy(void *to, const void *from, int bytes) {
  Thread *me = &h.thread[h.current];
  if (me->copy_count == me->copy_capacity) {
    me->copy_capacity = me->copy_capacity ? 2 * me->copy_capacity : 64;
    me->copies = realloc(me->copies, (size_t)me->copy_capacity * sizeof *me->copies);
    if (!me->copies) abort();
  }
  size_t size = bytes == 16 ? 16 : 4;
  Copy c = {to, from, bytes, me->groups, size};
  for (int i = 0; i < bytes; i += 4) touch((unsigned char *)to + i, 4, 1);
  memset(to, 0xff, size);
  set_pending(&c, true);
  me->copies[me->copy_count++] = c;
}

static void commit(void) {
  h.thread[h.current].groups++;
}

// the oldest groups land until `groups` are left
static void wait(int groups) {
  Thread *me = &h.thread[h.current];
  int kept = 0;
  for (int i = 0; i < me->copy_count; i++) {
    Copy c = me->copies[i];
    if (c.group >= me->groups - groups) {
      me->copies[kept++] = c;
      continue;
    }
    set_pending(&c, false);
    if (c.from)
      memcpy(c.to, c.from, c.size);
    else
      memset(c.to, 0, c.size);
    for (int b = 0; b < c.bytes; b += 4) touch((unsigned char *)c.to + b, 4, 1);
  }
  me->copy_count = kept;
}

// ---- blocks ----

static void run_thread(void *argument) {
  int me = (int)(intptr_t)argument;
  for (;;) {
    h.kernel(h.arguments);
    if (h.thread[me].copy_count > 0) fault("leaves with copies under way");
    h.thread[me].status = DONE;
    h.done++;
    if (h.done == h.threads) {
      fiber_leave(h.thread[me].fiber);
    } else {
      // the others, or whoever began the next block, go on
      int next = -1;
      for (int i = 1; i < h.threads && next < 0; i++)
        if (h.thread[(me + i) % h.threads].status == READY) next = (me + i) % h.threads;
      if (next < 0) {
        for (int t = 0; t < h.threads; t++)
          if (h.thread[t].status != DONE) {
            fault("left while thread %d waits at %s", t, h.thread[t].waits);
          }
      }
      resume(next);
    }
  }
}

static void make_threads(int threads) {
  for (; h.made < threads; h.made++)
    h.thread[h.made].fiber = fiber_create(STACK, run_thread, (void *)(intptr_t)h.made);
}

static void begin_block(size_t shared_bytes) {
  h.at_barrier = h.done = 0;
  h.epoch++;
  for (int t = 0; t < h.threads; t++) {
    h.thread[t].status = READY;
    h.thread[t].copy_count = h.thread[t].groups = 0;
  }
  for (int w = 0; w <= (h.threads - 1) / WARP; w++) h.warp[w].arrived = 0;
  // shared memory holds anything when a block begins
  memset(h.shared.memory, 0xff, shared_bytes);
  if (!host_unchecked) memset(h.shared.shadow, 0, shared_bytes / 4 * sizeof *h.shared.shadow);
}

bool host_launch(const char *name, HostKernel kernel, const void *arguments, int blocks,
                 int threads, int shared_bytes) {
  if (threads > MOST_THREADS || threads % WARP != 0 || shared_bytes < 0 ||
      shared_bytes > MOST_SHARED)
    return false;
  h.name = name, h.kernel = kernel, h.arguments = arguments, h.threads = threads;
  h.launch++;
  make_threads(threads);
  size_t bytes = (size_t)(shared_bytes + 15) / 16 * 16 + 16;
  if (h.shared.bytes < bytes) {
    free(h.shared.memory);
    free(h.shared.shadow);
    h.shared.memory = aligned_alloc(16, bytes);
    h.shared.shadow = calloc(bytes / 4, sizeof *h.shared.shadow);
    if (!h.shared.memory || !h.shared.shadow) abort();
    h.shared.bytes = bytes;
  }
  host_table = (struct CellHost){.shared = h.shared.memory,
                                 .shared_bytes = shared_bytes,
                                 .barrier = barrier,
                                 .warp_barrier = warp_barrier,
                                 .exchange = exchange,
                                 .gather = gather,
                                 .touch = touch,
                                 .outside = outside,
                                 .copy = copy,
                                 .commit = commit,
                                 .wait = wait};
  unsigned saved = cell_flush_begin();
  for (int b = 0; b < blocks && !h.failed; b++) {
    h.block = host_table.block = b;
    h.current = host_table.thread = 0;
    begin_block(bytes);
    fiber_enter(h.thread[0].fiber);
  }
  cell_flush_end(saved);
  if (!h.failed) return true;
  // what was cut off begins anew
  for (int t = 0; t < h.made; t++) fiber_restart(h.thread[t].fiber);
  h.failed = false;
  return false;
}

const char *host_message(void) {
  return h.message;
}
