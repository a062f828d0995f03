/* support.c - arenas, checked heap blocks, growing text, the internal error. */
#include "ir/support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks grow from a page to a large page, which the system gives and takes back at once: page by page that is a
 * quarter of the time of compiling. Under a sanitizer every allocation gets a block of its own, so that an
 * overrun is seen. */
#define LARGE_PAGE ((size_t)2 << 20)
#if defined(__SANITIZE_ADDRESS__)
enum { OWN_BLOCKS = 1, FIRST_BLOCK = 1, GROWTH = 1 };
#else
enum { OWN_BLOCKS = 0, FIRST_BLOCK = 4096, GROWTH = 8 };
#endif
enum { ALIGNMENT = 16 };

typedef struct Block Block;
struct Block {
  Block *next;
  size_t used, size; /* bytes behind the header */
  size_t mapped;     /* bytes that come from the system, 0: from the heap */
};

struct CellArena {
  Block *blocks; /* the newest first; only it has room */
  size_t next_size;
};

/* the header's size, rounded up so that what follows it is aligned */
static const size_t header_bytes = (sizeof(Block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

CELL_NORETURN static void out_of_memory(size_t bytes) {
  fprintf(stderr, "cellc: out of memory (%zu bytes wanted)\n", bytes);
  exit(1);
}

/* ---- memory from the system ---- */

// what is mapped for so many bytes; a large page takes as long as fifty small ones
static size_t mapped_bytes(size_t bytes) {
  size_t page = bytes >= LARGE_PAGE / 8 ? LARGE_PAGE : 4096;
  return (bytes + page - 1) / page * page;
}

void *cell_map(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return NULL;
  size_t whole = mapped_bytes(bytes), more = whole >= LARGE_PAGE ? LARGE_PAGE : 0;
  char *p = mmap(NULL, whole + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (more == 0) return p;
  // of a large page more than that, what lies around the first whole one is given back
  size_t before = LARGE_PAGE - (uintptr_t)p % LARGE_PAGE;
  munmap(p, before);
  if (before < LARGE_PAGE) munmap(p + before + whole, LARGE_PAGE - before);
#if defined(MADV_HUGEPAGE)
  (void)madvise(p + before, whole, MADV_HUGEPAGE);
#endif
  return p + before;
}

void cell_unmap(void *block, size_t bytes) {
  if (block) munmap(block, mapped_bytes(bytes));
}

/* ---- blocks of arenas ---- */

// Large pages of arenas that are gone, for the next ones: a used page costs what was used of it, a new one all.
static _Atomic(Block *) kept[4];
enum { KEPT = sizeof kept / sizeof *kept };

static bool keep(Block *block) {
  for (int i = 0; i < KEPT; i++) {
    Block *none = NULL;
    if (atomic_compare_exchange_strong(&kept[i], &none, block)) return true;
  }
  return false;
}

static Block *take_kept(void) {
  for (int i = 0; i < KEPT; i++) {
    Block *block = atomic_exchange(&kept[i], NULL);
    if (!block) continue;
    memset((char *)block + header_bytes, 0, block->used);
    block->used = 0;
    return block;
  }
  return NULL;
}

// with room for at least so many bytes
static Block *new_block(size_t bytes) {
  size_t whole = header_bytes + bytes;
  Block *old = whole == LARGE_PAGE ? take_kept() : NULL;
  if (old) return old;
  bool maps = !OWN_BLOCKS && whole > LARGE_PAGE / 2;
  if (maps) whole = (whole + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
  Block *block = maps ? cell_map(whole) : calloc(1, whole);
  if (!block) out_of_memory(bytes);
  block->size = whole - header_bytes;
  block->mapped = maps ? whole : 0;
  return block;
}

static void free_block(Block *block) {
  if (block->mapped == LARGE_PAGE && keep(block)) return;
  if (block->mapped)
    cell_unmap(block, block->mapped);
  else
    free(block);
}

/* ---- arena ---- */

static void grow_blocks(CellArena *arena) {
  arena->next_size *= GROWTH;
  if (arena->next_size > LARGE_PAGE / 2) arena->next_size = LARGE_PAGE - header_bytes;
}

CellArena *cell_arena_create(void) {
  return cell_arena_create_for(0);
}

CellArena *cell_arena_create_for(size_t bytes) {
  CellArena *arena = cell_malloc(sizeof *arena);
  arena->next_size = FIRST_BLOCK;
  while (!OWN_BLOCKS && arena->next_size < bytes && arena->next_size < LARGE_PAGE / 2)
    grow_blocks(arena);
  return arena;
}

void cell_arena_destroy(CellArena *arena) {
  if (!arena) return;
  for (Block *block = arena->blocks, *next; block; block = next) {
    next = block->next;
    free_block(block);
  }
  free(arena);
}

void *cell_arena_alloc(CellArena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 2) out_of_memory(bytes);
  size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (rounded == 0) rounded = ALIGNMENT;

  Block *block = arena->blocks;
  if (!block || block->size - block->used < rounded) {
    // the sanitizer's blocks end where the request ends, not at the next multiple of 16
    size_t size = OWN_BLOCKS ? bytes : rounded;
    bool large = size > arena->next_size / 4;
    Block *fresh = new_block(large ? size : arena->next_size);
    if (large && block) {
      // a large request gets a block of its own behind the current one, which keeps its room
      fresh->used = fresh->size;
      fresh->next = block->next;
      block->next = fresh;
      return (char *)fresh + header_bytes;
    }
    grow_blocks(arena);
    fresh->next = block;
    arena->blocks = block = fresh;
    if (block->size < rounded) rounded = block->size;
  }
  void *result = (char *)block + header_bytes + block->used;
  block->used += rounded;
  return result;
}

char *cell_arena_strndup(CellArena *arena, const char *text, size_t length) {
  char *copy = cell_arena_alloc(arena, length + 1);
  if (length) memcpy(copy, text, length);
  return copy;
}

char *cell_arena_strdup(CellArena *arena, const char *text) {
  return cell_arena_strndup(arena, text, strlen(text));
}

char *cell_arena_printf(CellArena *arena, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *text = cell_arena_vprintf(arena, format, arguments);
  va_end(arguments);
  return text;
}

char *cell_arena_vprintf(CellArena *arena, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  CELL_ASSERT(length >= 0);
  char *text = cell_arena_alloc(arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

void *cell_arena_grow(CellArena *arena, void *items, int count, int *capacity, size_t item_bytes) {
  if (count < *capacity) return items;
  if (count > INT32_MAX / 2) out_of_memory((size_t)count * item_bytes);
  int wanted = count < 4 ? 8 : count * 2;
  void *fresh = cell_arena_alloc(arena, (size_t)wanted * item_bytes);
  if (count > 0) memcpy(fresh, items, (size_t)count * item_bytes);
  *capacity = wanted;
  return fresh;
}

/* ---- heap ---- */

void *cell_malloc(size_t bytes) {
  void *block = calloc(1, bytes ? bytes : 1);
  if (!block) out_of_memory(bytes);
  return block;
}

/* ---- growing text ---- */

/* room for `more` bytes and the terminator */
static void text_reserve(CellText *text, size_t more) {
  if (more > SIZE_MAX / 4 || text->length > SIZE_MAX / 4) out_of_memory(more);
  size_t wanted = text->length + more + 1;
  if (wanted <= text->capacity) return;
  size_t capacity = text->capacity * 2 > wanted ? text->capacity * 2 : wanted + 64;
  char *data = realloc(text->data, capacity);
  if (!data) out_of_memory(capacity);
  text->data = data;
  text->capacity = capacity;
}

void cell_text_append(CellText *text, const char *data, size_t length) {
  text_reserve(text, length);
  if (length) memcpy(text->data + text->length, data, length);
  text->length += length;
  text->data[text->length] = 0;
}

void cell_text_printf(CellText *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  CELL_ASSERT(length >= 0);
  text_reserve(text, (size_t)length);
  va_start(arguments, format);
  vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
  va_end(arguments);
  text->length += (size_t)length;
}

void cell_text_free(CellText *text) {
  free(text->data);
  *text = (CellText){0};
}

/* ---- the door for bugs ---- */

void cell_internal_error(const char *file, int line, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "cellc: internal error at %s:%d: ", file, line);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\nThis is a bug in cellc, not in your file. Please report it with the command "
                  "and the file that led here.\n");
  va_end(arguments);
  abort();
}
