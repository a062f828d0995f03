/* spec.c - a file's items by name, variants and --set, and what the outside may ask of a spec. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/parse.h"
#include "frontend/value.h"

/* ---- names ---- */

const CellItem *cell_find_item(const CellSpec *spec, CellHome home, CellItemKind kind,
                               const char *name) {
  const CellAst *ast = home == CELL_HOME_FILE ? spec->file : spec->prelude;
  for (int i = 0; ast && i < ast->count; i++) {
    const CellItem *item = ast->items[i];
    if (item->kind != kind || !item->name.text || strcmp(item->name.text, name) != 0) continue;
    if (kind == CELL_ITEM_POLICY && !item->defined) continue;
    return item;
  }
  return NULL;
}

const CellItem *cell_find_value(const CellSpec *spec, CellHome home, const char *name,
                                CellHome *where) {
  for (int h = home; h <= CELL_HOME_PRELUDE; h++) {
    *where = (CellHome)h;
    const CellItem *item = cell_find_item(spec, *where, CELL_ITEM_PARAM, name);
    if (!item) item = cell_find_item(spec, *where, CELL_ITEM_DEF, name);
    if (item) return item;
  }
  return NULL;
}

static bool names_something(const CellItem *item) {
  switch (item->kind) {
  case CELL_ITEM_PARAM:
  case CELL_ITEM_DEF:
  case CELL_ITEM_CELL:
  case CELL_ITEM_RULE:
  case CELL_ITEM_VARIANT: return true;
  case CELL_ITEM_POLICY: return item->defined;
  default: return false;
  }
}

/* params and functions are one namespace; cells, rules, policies and variants one each */
static CellItemKind space_of(const CellItem *item) {
  return item->kind == CELL_ITEM_DEF ? CELL_ITEM_PARAM : item->kind;
}

static void check_once(CellSpec *spec, const CellItem **slot, const CellItem *item) {
  if (!*slot) {
    *slot = item;
    return;
  }
  CellRecord *r = cell_error(spec->diag, "E0202", item->word, "a file has one `%s`",
                             cell_item_word(item->kind));
  cell_relate(spec->diag, r, (*slot)->word, "first here");
}

static void collect_items(CellSpec *spec) {
  const CellAst *ast = spec->file;
  const CellItem *network = NULL;
  for (int i = 0; i < ast->count; i++) {
    const CellItem *item = ast->items[i];
    switch (item->kind) {
    case CELL_ITEM_NETWORK: check_once(spec, &network, item); break;
    case CELL_ITEM_STACK: check_once(spec, &spec->stack, item); break;
    case CELL_ITEM_LEARN: check_once(spec, &spec->learn, item); break;
    case CELL_ITEM_TRAIN: check_once(spec, &spec->train_item, item); break;
    case CELL_ITEM_POLICY:
      if (!item->defined) check_once(spec, &spec->policy, item);
      break;
    case CELL_ITEM_IMPORT:
      cell_error(spec->diag, "E0901", item->span, "not supported yet: imports");
      break;
    case CELL_ITEM_VARIANT:
      CELL_PUSH(spec->arena, spec->variants, spec->variant_count, spec->variant_capacity,
                item->name.text);
      break;
    default: break;
    }
    if (!names_something(item)) continue;
    bool value = space_of(item) == CELL_ITEM_PARAM;
    if (value && (strcmp(item->name.text, "train") == 0 || strcmp(item->name.text, "learn") == 0))
      cell_error(spec->diag, "E0414", item->name.span,
                 "a param may not be called `%s`: settings begin so", item->name.text);
    for (int k = 0; k < i; k++) {
      const CellItem *old = ast->items[k];
      if (!names_something(old) || space_of(old) != space_of(item)) continue;
      if (strcmp(old->name.text, item->name.text) != 0) continue;
      CellRecord *r =
          cell_error(spec->diag, "E0202", item->name.span, "`%s` is bound twice", item->name.text);
      cell_relate(spec->diag, r, old->name.span, "first here");
      break;
    }
  }
  spec->name = network ? network->name.text : "network";
}

/* ---- variants and --set ---- */

static void add_override(CellSpec *spec, const CellSetting *setting, const char *origin) {
  CellText path = {0};
  CellSpan span = setting->path.items[0].span;
  for (int i = 0; i < setting->path.count; i++) {
    cell_text_printf(&path, "%s%s", i ? "." : "", setting->path.items[i].text);
    span.end = setting->path.items[i].span.end;
  }
  CellOverride o = {.path = cell_arena_strdup(spec->arena, path.data),
                    .value = setting->value,
                    .span = setting->span,
                    .path_span = span,
                    .origin = origin};
  /* `compat` and `env_seed` alone are short for those of train */
  if (strcmp(o.path, "compat") == 0) o.path = "train.compat";
  if (strcmp(o.path, "env_seed") == 0) o.path = "train.env_seed";
  cell_text_free(&path);
  CELL_PUSH(spec->arena, spec->sets, spec->set_count, spec->set_capacity, o);
}

static void add_variant(CellSpec *spec, const char *name) {
  const CellItem *variant = cell_find_item(spec, CELL_HOME_FILE, CELL_ITEM_VARIANT, name);
  if (!variant) {
    CellRecord *r =
        cell_error(spec->diag, "E0603", CELL_NOWHERE, "%s has no variant `%s`", spec->name, name);
    const char *near = cell_nearest(name, spec->variants, spec->variant_count);
    CellText all = {0};
    for (int i = 0; i < spec->variant_count; i++)
      cell_text_printf(&all, "%s%s", i ? ", " : "", spec->variants[i]);
    if (near)
      cell_help(spec->diag, r, "did you mean `%s`?", near);
    else if (all.data)
      cell_help(spec->diag, r, "it has %s", all.data);
    cell_text_free(&all);
    return;
  }
  const char *origin = cell_arena_printf(spec->arena, "variant %s", name);
  for (int i = 0; i < variant->settings.count; i++)
    add_override(spec, &variant->settings.items[i], origin);
}

/* `@FILE` holds lines of `path = value` */
static char *read_settings_file(CellSpec *spec, const char *path, size_t *length) {
  FILE *in = fopen(path, "rb");
  if (!in) {
    cell_error(spec->diag, "E0604", CELL_NOWHERE, "cannot read `%s`: %s", path, strerror(errno));
    return NULL;
  }
  char *text = cell_arena_alloc(spec->arena, CELL_MAX_FILE + 1);
  *length = fread(text, 1, CELL_MAX_FILE, in);
  bool failed = ferror(in), more = !failed && fgetc(in) != EOF;
  fclose(in);
  if (!failed && !more) return text;
  cell_error(spec->diag, "E0604", CELL_NOWHERE, "cannot read `%s`: %s", path,
             more ? "it is too large" : "the read failed");
  return NULL;
}

static void add_set(CellSpec *spec, const char *set) {
  const char *name = "<--set>", *text = set;
  size_t length = strlen(set);
  if (set[0] == '@') {
    name = set + 1;
    text = read_settings_file(spec, name, &length);
    if (!text) return;
  }
  int source = cell_diag_source(spec->diag, name, text, length);
  CellSettingList list = {0};
  if (!cell_parse_settings(spec->arena, spec->diag, source, &list)) return;
  for (int i = 0; i < list.count; i++) add_override(spec, &list.items[i], "--set");
}

CellOverride *cell_override(CellSpec *spec, const char *path) {
  CellOverride *last = NULL;
  for (int i = 0; i < spec->set_count; i++)
    if (strcmp(spec->sets[i].path, path) == 0) {
      last = &spec->sets[i];
      last->used = true;
    }
  return last;
}

static void unknown_path(CellSpec *spec, const CellOverride *o, const char *message,
                         const char *const *names, int count) {
  CellRecord *r = cell_error(spec->diag, "E0604", o->path_span, "%s", message);
  const char *near = cell_nearest(o->path, names, count);
  if (near) cell_help(spec->diag, r, "did you mean `%s`?", near);
}

/* `learn.` and the rule's arguments */
static void learn_paths(CellElab *elab, const char ***names, int *count, int *capacity) {
  CellSpec *spec = elab->spec;
  const char *rule = spec->learn ? spec->learn->name.text : "td";
  const CellItem *item = cell_find_item(spec, CELL_HOME_FILE, CELL_ITEM_RULE, rule);
  if (!item) item = cell_find_item(spec, CELL_HOME_PRELUDE, CELL_ITEM_RULE, rule);
  for (int i = 0; item && i < item->params.count; i++)
    CELL_PUSH(elab->arena, *names, *count, *capacity,
              cell_arena_printf(elab->arena, "learn.%s", item->params.items[i].name.text));
}

void cell_check_overrides(CellElab *elab) {
  CellSpec *spec = elab->spec;
  const char **names = NULL;
  int count = 0, capacity = 0;
  CELL_PUSH(elab->arena, names, count, capacity, "end_to_end");
  for (int i = 0; i < spec->file->count; i++)
    if (spec->file->items[i]->kind == CELL_ITEM_PARAM)
      CELL_PUSH(elab->arena, names, count, capacity, spec->file->items[i]->name.text);
  learn_paths(elab, &names, &count, &capacity);
  for (int i = 0; i < elab->cell_count; i++) {
    const CellPlaced *p = &elab->cells[i];
    if (!p->cell) continue;
    for (int k = 0; k < p->cell->params.count + p->cell->ports.count; k++) {
      const char *part = k < p->cell->params.count
                             ? p->cell->params.items[k].name.text
                             : p->cell->ports.items[k - p->cell->params.count].name.text;
      CELL_PUSH(elab->arena, names, count, capacity,
                cell_arena_printf(elab->arena, "%s.%s", p->name, part));
    }
  }
  for (int i = 0; i < spec->set_count; i++) {
    CellOverride *o = &spec->sets[i];
    if (strncmp(o->path, "train.", 6) == 0) continue; /* settings.c */
    int at = 0;
    while (at < count && strcmp(names[at], o->path) != 0) at++;
    if (at < count) continue;
    unknown_path(spec, o,
                 cell_arena_printf(elab->arena, "there is nothing called `%s` to set", o->path),
                 names, count);
  }
}

/* ---- settings, for run.json and info ---- */

void cell_note_setting(CellSpec *spec, const char *path, const char *value, const char *origin) {
  for (int i = 0; i < spec->setting_count; i++)
    if (strcmp(spec->settings[i].path, path) == 0) {
      spec->settings[i].value = value;
      spec->settings[i].origin = origin;
      return;
    }
  CellResolved s = {.path = path, .value = value, .origin = origin};
  CELL_PUSH(spec->arena, spec->settings, spec->setting_count, spec->setting_capacity, s);
}

const char *cell_expr_text(CellArena *arena, const CellExpr *expr) {
  char *data = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&data, &length);
  if (!out) return "";
  cell_expr_print(expr, out);
  fclose(out);
  const char *text = cell_arena_strndup(arena, data, length);
  free(data);
  return text;
}

static void note_params(CellSpec *spec) {
  for (int i = 0; i < spec->file->count; i++) {
    const CellItem *item = spec->file->items[i];
    if (item->kind != CELL_ITEM_PARAM) continue;
    CellOverride *set = cell_override(spec, item->name.text);
    cell_note_setting(spec, item->name.text,
                      cell_expr_text(spec->arena, set ? set->value : item->value),
                      set ? set->origin : "file");
  }
}

/* ---- the outside ---- */

CellSpec *cell_spec_load(CellArena *arena, CellDiag *diag, int source,
                         const CellSpecOptions *options) {
  int errors = diag->error_count;
  CellSpec *spec = CELL_NEW(arena, CellSpec);
  spec->arena = arena;
  spec->diag = diag;
  spec->file = cell_parse(arena, diag, source);
  size_t length;
  const char *text = cell_prelude_text(&length);
  spec->prelude = cell_parse(arena, diag, cell_diag_source(diag, "<prelude>", text, length));
  if (!spec->file || spec->file->broken || !spec->prelude) return NULL;
  collect_items(spec);
  if (options && options->variant) add_variant(spec, options->variant);
  for (int i = 0; options && i < options->set_count; i++) add_set(spec, options->sets[i]);
  bool settings = cell_resolve_train(spec);
  note_params(spec);
  bool go_on = options && options->go_on;
  return go_on || (settings && diag->error_count == errors) ? spec : NULL;
}

const char *cell_spec_name(const CellSpec *spec) {
  return spec->name;
}

const CellTrain *cell_spec_train(const CellSpec *spec) {
  return &spec->train;
}

int cell_spec_variants(const CellSpec *spec, const char *const **names) {
  *names = spec->variants;
  return spec->variant_count;
}

int cell_spec_settings(const CellSpec *spec, const CellResolved **settings) {
  *settings = spec->settings;
  return spec->setting_count;
}

int cell_spec_carries(const CellSpec *spec, const CellCarry **carries) {
  *carries = spec->carries;
  return spec->carry_count;
}

int cell_spec_cells(const CellSpec *spec, const char *const **cells) {
  *cells = spec->cells;
  return spec->cell_count;
}
