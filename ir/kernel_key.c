/* kernel_key.c - keys: 128 bits that stand for all that a kernel's text (kernel_print.c) says but its name.
 * Hashing the statements themselves takes a twentieth of the time of printing them. */
#include "ir/kernel.h"

#include <string.h>

// the finisher of splitmix64: every bit of x reaches every bit of the result
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

// two 64-bit hashes with different constants
static void add(CellKey *key, uint64_t word) {
  key->words[0] = mix(key->words[0] ^ word) + 0x9e3779b97f4a7c15u;
  key->words[1] = mix(key->words[1] + word * 0xd6e8feb86659fd93u) ^ 0xc2b2ae3d27d4eb4fu;
}

static void add_end(CellKey *key, uint64_t length) {
  key->words[0] = mix(key->words[0] ^ length);
  key->words[1] = mix(key->words[1] + length);
}

CellKey cell_key(CellKey seed, const void *data, size_t length) {
  const unsigned char *bytes = data;
  CellKey key = seed;
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = 0;
    memcpy(&word, bytes + i, length - i < 8 ? length - i : 8);
    add(&key, word);
  }
  add_end(&key, length);
  return key;
}

// ---- kernels: a word that says what follows, then that ----

static uint64_t pair(int64_t high, int64_t low) {
  return (uint64_t)high << 32 ^ (uint64_t)(uint32_t)low;
}

static void add_affine(CellKey *key, const CellAffine *a) {
  add(key, pair(a->term_count, a->loaded));
  for (int i = 0; i < a->term_count; i++) {
    add(key, (uint64_t)a->terms[i].var);
    add(key, (uint64_t)a->terms[i].coef);
  }
  if (a->loaded >= 0) add(key, (uint64_t)a->loaded_coef);
  add(key, (uint64_t)a->base);
}

static void add_buffer(CellKey *key, CellBufferRef buffer) {
  add(key, pair(buffer.scratch, buffer.index));
}

static void add_view(CellKey *key, const CellView *v) {
  add_buffer(key, v->buffer);
  add_affine(key, &v->base);
  add(key, (uint64_t)v->row_stride);
  add(key, (uint64_t)v->k_stride);
}

// where a ragged tile begins matters only with a limit
static void add_side(CellKey *key, const CellAffine *begin, int64_t extent, int64_t limit) {
  add(key, (uint64_t)extent);
  add(key, (uint64_t)(limit > 0 ? limit : 0));
  if (limit > 0) add_affine(key, begin);
}

// where the rows of a range end
static void add_end_of(CellKey *key, const CellStmt *s) {
  add(key, (uint64_t)s->end_var);
  if (s->end_var >= 0) add(key, (uint64_t)s->end_scale);
}

static void add_body(CellKey *key, const CellStmt *s);

static void add_stmt(CellKey *key, const CellStmt *s) {
  add(key, pair(s->kind, s->value));
  switch (s->kind) {
  case CELL_K_LOOP:
    add(key, pair(s->loop, s->var));
    add_affine(key, &s->begin);
    add(key, (uint64_t)s->extent);
    add(key, (uint64_t)(s->limit > 0 ? s->limit : 0));
    add(key, s->whole);
    add_end_of(key, s);
    add_body(key, s->body);
    break;
  case CELL_K_CONST: {
    uint64_t bits;
    memcpy(&bits, &s->number, sizeof bits);
    add(key, s->dtype == CELL_I);
    add(key, bits);
    break;
  }
  case CELL_K_VAR: add_affine(key, &s->index); break;
  case CELL_K_LOAD:
    add_buffer(key, s->buffer);
    add_affine(key, &s->index);
    break;
  case CELL_K_LET:
    add(key, pair(s->op, s->dtype == CELL_I));
    for (int i = 0; i < cell_op_info[s->op].arity; i++) add(key, (uint64_t)s->args[i]);
    break;
  case CELL_K_ACC: add(key, s->reduce); break;
  case CELL_K_UPDATE:
    add(key, pair(s->reduce == CELL_ARGMAX, s->args[0]));
    if (s->reduce == CELL_ARGMAX) add_affine(key, &s->index);
    break;
  case CELL_K_STORE:
    add(key, pair(s->add, s->args[0]));
    add_buffer(key, s->buffer);
    add_affine(key, &s->index);
    break;
  case CELL_K_CONTRACT:
    add_view(key, &s->a);
    add_view(key, &s->b);
    add_view(key, &s->out);
    add_side(key, &s->m_begin, s->m, s->m_limit);
    add_side(key, &s->n_begin, s->n, s->n_limit);
    add(key, (uint64_t)s->k);
    add(key, pair(s->add, s->sparse));
    add_end_of(key, s);
    if (s->end_var >= 0) add_affine(key, &s->a_all);
    add(key, (uint64_t)s->terms);
    if (s->terms > 0) {
      add_view(key, &s->u);
      add_view(key, &s->v);
    }
    break;
  }
}

static void add_body(CellKey *key, const CellStmt *s) {
  uint64_t count = 0;
  for (; s; s = s->next, count++) add_stmt(key, s);
  add_end(key, count);
}

CellKey cell_kernel_key(const CellKernel *k, CellKey seed) {
  CellKey key = seed;
  add(&key, pair(k->arg_count, k->scratch_count));
  for (int i = 0; i < k->arg_count; i++) add(&key, pair(k->args[i], k->written && k->written[i]));
  for (int i = 0; i < k->scratch_count; i++) {
    add(&key, k->scratch[i].dtype);
    add(&key, (uint64_t)k->scratch[i].count);
    add(&key, (uint64_t)k->scratch[i].offset);
  }
  add(&key, (uint64_t)k->scratch_bytes);
  add(&key, (uint64_t)k->tasks);
  add(&key, (uint64_t)k->rows);
  add(&key, (uint64_t)k->grain);
  add(&key, pair(k->tile, k->rows > 0 ? k->end_var : -1));
  add_body(&key, k->body);
  return key;
}
