/* From text to programs: messages against golden files, and what the programs hold.
 *
 * check/NAME.cell is an input, NAME.err the messages expected for it, for observations [10, 10, 4]
 * and 6 actions. Its first line may say how it is loaded: `#: variant=v set=l1.n=3`. Run with
 * CELLC_UPDATE_GOLDEN=1 to write the messages anew, then review the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/frontend.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN CELLC_SOURCE_DIR "/tests/frontend/check/"

/* ---- helpers ---- */

typedef struct {
  CellArena *arena;
  CellDiag *diag;
  CellSpec *spec;
  CellModule *module;
} Build;

static const CellShapes usual = {.obs_rank = 3, .obs_shape = {10, 10, 4}, .actions = 6};

static Build build_with(const char *name, const char *text, const CellSpecOptions *load,
                        const CellShapes *shapes, const CellBuildOptions *options) {
  Build b = {.arena = cell_arena_create(), .diag = cell_diag_create()};
  int source = cell_diag_source(b.diag, name, text, strlen(text));
  b.spec = cell_spec_load(b.arena, b.diag, source, load);
  if (b.spec) b.module = cell_spec_build(b.spec, shapes, options, b.diag);
  for (int i = 0; b.module && i < b.module->program_count; i++) {
    CellText why = {0};
    if (!cell_verify(b.module->programs[i], &why)) fail_msg("%s", why.data);
    cell_text_free(&why);
  }
  return b;
}

static void done(Build *b) {
  cell_diag_destroy(b->diag);
  cell_arena_destroy(b->arena);
}

static Build build(const char *text) {
  CellBuildOptions options = {.act_batch = 2, .update = true, .sync = true};
  Build b = build_with("test.cell", text, NULL, &usual, &options);
  if (b.module) return b;
  cell_diag_print(b.diag, stderr, false);
  fail_msg("does not build:\n%s", text);
  return b;
}

static char *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  size_t length = (size_t)ftell(file);
  rewind(file);
  char *text = cell_malloc(length + 1);
  if (fread(text, 1, length, file) != length) text[0] = 0;
  fclose(file);
  return text;
}

static int count_ops(const CellGraph *g, CellOp op) {
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++) count += cell_node(g, v)->op == op;
  return count;
}

/* contracts that read a parameter of this name, in the graph but not in scans' bodies */
static int readers(const CellGraph *g, const char *input) {
  CellValue p = cell_find_input(g, input);
  int count = 0;
  for (CellValue v = 0; v < g->node_count; v++)
    for (int i = 0; i < cell_node(g, v)->arg_count; i++)
      count += cell_node(g, v)->op == CELL_OP_CONTRACT && cell_node(g, v)->args[i] == p;
  return count;
}

static char *printed(const CellModule *m) {
  CellText text = {0};
  for (int i = 0; i < m->program_count; i++) cell_print(m->programs[i], NULL, &text);
  return text.data;
}

/* two texts that mean the same */
static void same_programs(const char *a, const char *b) {
  Build x = build(a), y = build(b);
  char *p = printed(x.module), *q = printed(y.module);
  assert_string_equal(p, q);
  free(p);
  free(q);
  done(&x);
  done(&y);
}

/* ---- messages ---- */

/* `#: variant=v set=l1.n=3` in the first line */
static void read_options(char *text, CellSpecOptions *options, const char **sets) {
  options->sets = sets;
  options->go_on = true;
  if (strncmp(text, "#:", 2) != 0) return;
  char *end = strchr(text, '\n'), *line = strndup(text + 2, (size_t)(end - text - 2)), *save;
  for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
    if (strncmp(w, "variant=", 8) == 0) options->variant = strdup(w + 8);
    if (strncmp(w, "set=", 4) == 0) sets[options->set_count++] = strdup(w + 4);
  }
  free(line);
}

static void check_messages(const char *name) {
  char path[4096];
  snprintf(path, sizeof path, GOLDEN "%s", name);
  char *text = read_file(path);
  const char *sets[8];
  CellSpecOptions load = {0};
  read_options(text, &load, sets);
  CellBuildOptions options = {.act_batch = 1, .update = true, .sync = true};
  Build b = build_with(name, text, &load, &usual, &options);
  char *messages = NULL;
  size_t length;
  FILE *out = open_memstream(&messages, &length);
  cell_diag_print(b.diag, out, false);
  fclose(out);
  assert_true(b.diag->error_count > 0);

  snprintf(path + strlen(path) - 5, 6, ".err");
  const char *update = getenv("CELLC_UPDATE_GOLDEN");
  if (update && strcmp(update, "1") == 0) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(messages, 1, length, file);
    fclose(file);
  } else {
    char *expected = read_file(path);
    if (!expected || strcmp(expected, messages) != 0)
      fail_msg("%s: expected\n%s\ngot\n%s", path, expected ? expected : "(no file)", messages);
    free(expected);
  }
  for (int i = 0; i < load.set_count; i++) free((char *)sets[i]);
  free((char *)load.variant);
  free(messages);
  free(text);
  done(&b);
}

static void test_messages(void **state) {
  (void)state;
  DIR *dir = opendir(GOLDEN);
  assert_non_null(dir);
  int count = 0;
  for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    const char *dot = strrchr(e->d_name, '.');
    if (!dot || strcmp(dot, ".cell") != 0) continue;
    check_messages(e->d_name);
    count++;
  }
  closedir(dir);
  assert_true(count > 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages)};
  (void)count_ops, (void)readers, (void)same_programs;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
