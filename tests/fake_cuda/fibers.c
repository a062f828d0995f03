/* fibers.c - a switch of stacks in a dozen instructions on x86-64, ucontext elsewhere. The address sanitizer is
 * told which stack is in use. */
#include "tests/fake_cuda/fibers.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#endif

#if defined(__x86_64__)

// saves what a call must keep, and the stack pointer in *from; goes on where `to` stopped
void fiber_swap(void **from, void *to);
__asm__(".text\n"
        ".globl fiber_swap\n"
        ".hidden fiber_swap\n"
        ".type fiber_swap, @function\n"
        "fiber_swap:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size fiber_swap, .-fiber_swap\n");

struct Fiber {
  void *pointer; /* where it stopped */
  unsigned char *stack;
  size_t bytes;
  void (*function)(void *);
  void *argument;
  void *fake;
};

#else

#include <ucontext.h>

struct Fiber {
  ucontext_t context;
  unsigned char *stack;
  size_t bytes;
  void (*function)(void *);
  void *argument;
  void *fake;
};

#endif

static Fiber *starting; /* whose first steps these are */
static Fiber outside;   /* whoever entered */
#ifdef FIBER_ASAN
static const void *outside_bottom;
static size_t outside_size;
#endif

static void arrived(Fiber *self) {
#ifdef FIBER_ASAN
  if (self == &outside)
    __sanitizer_finish_switch_fiber(self->fake, NULL, NULL);
  else if (!outside_bottom)
    __sanitizer_finish_switch_fiber(self->fake, &outside_bottom, &outside_size);
  else
    __sanitizer_finish_switch_fiber(self->fake, NULL, NULL);
#else
  (void)self;
#endif
}

static void begin(void) {
  Fiber *self = starting;
  self->fake = NULL;
  arrived(self);
  self->function(self->argument);
  abort();
}

void fiber_restart(Fiber *f) {
#ifdef FIBER_ASAN
  // frames that were cut off left marks on the stack
  __asan_unpoison_memory_region(f->stack, f->bytes);
#endif
#if defined(__x86_64__)
  // a return address, six registers, and the alignment that a call leaves
  void **top = (void **)(void *)(f->stack + f->bytes - 64);
  top[0] = NULL;
  void (*entry)(void) = begin;
  *--top = NULL;
  --top;
  __builtin_memcpy(top, &entry, sizeof entry);
  for (int i = 0; i < 6; i++) *--top = NULL;
  f->pointer = top;
#else
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = f->bytes;
  f->context.uc_link = NULL;
  makecontext(&f->context, begin, 0);
#endif
  f->fake = NULL;
}

Fiber *fiber_create(size_t stack_bytes, void (*function)(void *), void *argument) {
  Fiber *f = calloc(1, sizeof *f);
  if (!f) abort();
  f->bytes = stack_bytes;
  f->stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (f->stack == MAP_FAILED) abort();
  f->function = function, f->argument = argument;
  fiber_restart(f);
  return f;
}

void fiber_destroy(Fiber *f) {
  if (!f) return;
  munmap(f->stack, f->bytes);
  free(f);
}

static void move(Fiber *from, Fiber *to) {
  starting = to;
#ifdef FIBER_ASAN
  const void *bottom = to == &outside ? outside_bottom : to->stack;
  size_t size = to == &outside ? outside_size : to->bytes;
  if (from == &outside) outside_bottom = NULL; // asked for at the arrival
  __sanitizer_start_switch_fiber(&from->fake, bottom, size);
#endif
#if defined(__x86_64__)
  fiber_swap(&from->pointer, to->pointer);
#else
  swapcontext(&from->context, &to->context);
#endif
  arrived(from);
}

void fiber_enter(Fiber *f) {
  move(&outside, f);
}

void fiber_switch(Fiber *from, Fiber *to) {
  if (from != to) move(from, to);
}

void fiber_leave(Fiber *from) {
  move(from, &outside);
}
