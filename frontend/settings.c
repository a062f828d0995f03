/* settings.c - `train { ... }`: every number that a run depends on, one row a setting with its unit
 * and default (docs/language.md prints them). The file's values come over the defaults, variants
 * and --set over the file's. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "frontend/value.h"

typedef enum {
  SET_WHOLE, /* int64_t */
  SET_COUNT, /* int32_t */
  SET_REAL,
  SET_TRUTH,
  SET_RAMP,
  SET_OPTIMIZER,
  SET_ACTION, /* a word of `words` */
  SET_WORD,   /* one of two words: bool, the second is true */
  SET_SEED,   /* a whole number, `seed` or `authors` */
  SET_COMPAT
} Kind;

typedef struct {
  const char *name;
  Kind kind;
  size_t offset;
  double least, most; /* of numbers */
  const char *unit, *otherwise, *words, *sentence;
} Row;

#define AT(member) offsetof(CellTrain, member)
static const Row rows[] = {
    {"steps", SET_WHOLE, AT(steps), 1, 1e15, "environment steps", "4e6", NULL, "length of the run"},
    {"warmup", SET_WHOLE, AT(warmup), 0, 1e15, "environment steps", "50e3", NULL,
     "random actions, no updates"},
    {"every", SET_WHOLE, AT(every), 1, 1e15, "environment steps", "4", NULL,
     "from one update to the next"},
    {"target_every", SET_WHOLE, AT(target_every), 1, 1e15, "environment steps", "1000", NULL,
     "from one target copy to the next"},
    {"replay", SET_WHOLE, AT(replay), 1, 1e12, "transitions", "1e6", NULL,
     "the oldest are forgotten"},
    {"batch", SET_COUNT, AT(batch), 1, 65536, "transitions", "512", NULL, "of one update"},
    {"context", SET_COUNT, AT(context), 0, 1000, "steps", "10", NULL,
     "observations before s_t that the state is replayed over"},
    {"n_step", SET_COUNT, AT(n_step), 1, 1000, "steps", "1", NULL, "from s_t to next"},
    {"context_alpha", SET_REAL, AT(context_alpha), 0, 1, "", "1", NULL,
     "state <- alpha output + (1 - alpha) state"},
    {"target_tau", SET_REAL, AT(target_tau), 0, 1, "", "1", NULL,
     "target <- tau params + (1 - tau) target"},
    {"epsilon", SET_RAMP, AT(epsilon_from), 0, 1, "probability", "ramp(1, 0.01, over = 0.1)", NULL,
     "of a random action; over: fraction of steps, from the end of the warm-up"},
    {"optimizer", SET_OPTIMIZER, AT(optimizer), 0, 0, "",
     "adam(lr = 0.0001, b1 = 0.9, b2 = 0.999, eps = 1e-08, clip = 0)", NULL,
     "adam, rmsprop or sgd; clip: largest gradient norm of a group, 0: none"},
    {"action", SET_ACTION, AT(action), 0, 0, "", "auto", "auto onehot bits real",
     "code of an action"},
    {"compat", SET_COMPAT, 0, 0, 0, "", "fixed", "fixed arq2026", "sets the next four"},
    {"init", SET_WORD, AT(init_shared), 0, 0, "", "own", "own shared",
     "shared: draws ignore the cell's name"},
    {"advance_on_random", SET_TRUTH, AT(advance_on_random), 0, 0, "", "true", NULL,
     "exploring steps advance the state as well"},
    {"episode_start", SET_WORD, AT(episode_terminated), 0, 0, "", "any_end", "any_end terminated",
     "terminated: a context reaches across a time limit"},
    {"env_seed", SET_SEED, AT(env_seed), 0, 2147483647, "", "seed", NULL,
     "seed of the environments; seed: from the run's; authors: 1 in the control suite, else seed"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const Row *find_row(const char *name) {
  for (int i = 0; i < ROWS; i++)
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  return NULL;
}

/* the number of a word in "auto onehot bits", or -1 */
static int word_number(const char *words, const char *word) {
  int number = 0;
  size_t length = strlen(word);
  for (const char *p = words; *p; number++) {
    size_t n = strcspn(p, " ");
    if (n == length && memcmp(p, word, n) == 0) return number;
    p += n + (p[n] == ' ');
  }
  return -1;
}

static CellContext settings_context(CellElab *elab, CellSpec *spec) {
  *elab = (CellElab){
      .spec = spec, .arena = spec->arena, .diag = spec->diag, .largest = CELL_MAX_SAMPLE};
  return cell_home_context(elab, CELL_IN_SETTING);
}

static bool number_of(const CellContext *c, const CellExpr *expr, const char *what, double least,
                      double most, bool whole, double *number) {
  if (!cell_want_number(c, cell_evaluate(c, expr), expr->span, what, number)) return false;
  if (whole && *number != floor(*number)) {
    cell_complain(c, "E0602", expr->span, "`%s` is a whole number, and this is %.10g", what,
                  *number);
    return false;
  }
  if (*number >= least && *number <= most) return true;
  cell_complain(c, "E0602", expr->span, "`%s` lies between %.10g and %.10g, and this is %.10g",
                what, least, most, *number);
  return false;
}

static bool bad_word(const CellContext *c, const CellExpr *expr, const Row *row) {
  CellText all = {0};
  for (const char *p = row->words; *p; p++)
    cell_text_printf(&all, "%s", *p == ' ' ? ", " : (char[]){*p, 0});
  CellRecord *r = cell_complain(c, "E0602", expr->span, "`%s` is one of %s", row->name, all.data);
  (void)r;
  cell_text_free(&all);
  return false;
}

/* ---- optimisers ---- */

typedef struct {
  const char *name;
  CellOptimizerKind kind;
  struct {
    const char *name;
    size_t offset;
    double otherwise, most;
  } args[6];
} OptimizerRow;

#define OPT(member) offsetof(CellOptimizer, member)
static const OptimizerRow optimizers[] = {
    {"adam",
     CELL_ADAM,
     {{"lr", OPT(lr), 1e-4, 1e6},
      {"b1", OPT(b1), 0.9, 1},
      {"b2", OPT(b2), 0.999, 1},
      {"eps", OPT(eps), 1e-8, 1e6},
      {"clip", OPT(clip), 0, 1e30}}},
    {"rmsprop",
     CELL_RMSPROP,
     {{"lr", OPT(lr), 1e-4, 1e6},
      {"decay", OPT(decay), 0.99, 1},
      {"eps", OPT(eps), 1e-8, 1e6},
      {"clip", OPT(clip), 0, 1e30}}},
    {"sgd",
     CELL_SGD,
     {{"lr", OPT(lr), 1e-2, 1e6}, {"momentum", OPT(b1), 0, 1}, {"clip", OPT(clip), 0, 1e30}}},
};

static double *field(CellOptimizer *o, size_t offset) {
  return (double *)((char *)o + offset);
}

bool cell_read_optimizer(CellSpec *spec, const CellExpr *expr, CellOptimizer *o) {
  CellElab elab;
  CellContext c = settings_context(&elab, spec);
  const CellExpr *callee = expr->kind == CELL_EXPR_CALL ? expr->call.callee : expr;
  const char *name = callee->kind == CELL_EXPR_NAME ? callee->name : NULL;
  const OptimizerRow *row = NULL;
  for (size_t i = 0; name && i < sizeof optimizers / sizeof optimizers[0]; i++)
    if (strcmp(optimizers[i].name, name) == 0) row = &optimizers[i];
  if (!row) {
    CellRecord *r = cell_complain(&c, "E0602", expr->span, "an optimiser is wanted here");
    cell_help(spec->diag, r,
              "one of adam(lr, b1, b2, eps, clip), rmsprop(lr, decay, eps, clip), "
              "sgd(lr, momentum, clip)");
    return false;
  }
  /* another kind starts from its own defaults, and keeps the clip */
  if (row->kind != o->kind || o->lr == 0) {
    double clip = o->clip;
    *o = (CellOptimizer){.kind = row->kind};
    for (int i = 0; row->args[i].name; i++) *field(o, row->args[i].offset) = row->args[i].otherwise;
    o->clip = clip;
  }
  bool ok = true;
  const CellArgList *args = expr->kind == CELL_EXPR_CALL ? &expr->call.args : NULL;
  for (int i = 0; args && i < args->count; i++) {
    const CellArg *arg = &args->items[i];
    const char *names[6];
    int count = 0, at = 0;
    while (row->args[count].name) names[count] = row->args[count].name, count++;
    if (arg->name.text) {
      while (at < count && strcmp(names[at], arg->name.text) != 0) at++;
    } else {
      at = i;
    }
    if (at >= count) {
      CellRecord *r = cell_complain(&c, "E0601", arg->span, "`%s` has no such argument", name);
      if (arg->name.text) cell_help_nearest(spec->diag, r, arg->name.text, names, count);
      ok = false;
      continue;
    }
    ok = number_of(&c, arg->value, names[at], 0, row->args[at].most, false,
                   field(o, row->args[at].offset)) &&
         ok;
  }
  return ok;
}

static const char *optimizer_text(CellArena *arena, CellOptimizer *o) {
  CellText text = {0};
  for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0]; i++) {
    if (optimizers[i].kind != o->kind) continue;
    cell_text_printf(&text, "%s(", optimizers[i].name);
    for (int k = 0; optimizers[i].args[k].name; k++)
      cell_text_printf(&text, "%s%s = %.10g", k ? ", " : "", optimizers[i].args[k].name,
                       *field(o, optimizers[i].args[k].offset));
    cell_text_printf(&text, ")");
  }
  const char *copy = cell_arena_strdup(arena, text.data ? text.data : "");
  cell_text_free(&text);
  return copy;
}

/* ---- one setting ---- */

/* ramp(a, b, over = x), or one number for the whole run */
static bool read_ramp(const CellContext *c, const Row *row, const CellExpr *expr, CellTrain *t) {
  bool call = expr->kind == CELL_EXPR_CALL && expr->call.callee->kind == CELL_EXPR_NAME &&
              strcmp(expr->call.callee->name, "ramp") == 0;
  if (!call) {
    if (!number_of(c, expr, row->name, 0, 1, false, &t->epsilon_from)) return false;
    t->epsilon_to = t->epsilon_from;
    t->epsilon_over = 0;
    return true;
  }
  static const char *const names[] = {"from", "to", "over"};
  double *fields[] = {&t->epsilon_from, &t->epsilon_to, &t->epsilon_over};
  bool given[3] = {false};
  const CellArgList *args = &expr->call.args;
  for (int i = 0; i < args->count; i++) {
    int at = i;
    if (args->items[i].name.text)
      for (at = 0; at < 3 && strcmp(names[at], args->items[i].name.text) != 0;) at++;
    if (at > 2) {
      cell_complain(c, "E0602", args->items[i].span, "`ramp` takes two values and `over`");
      return false;
    }
    given[at] = true;
    if (!number_of(c, args->items[i].value, names[at], 0, 1, false, fields[at])) return false;
  }
  if (given[0] && given[1] && given[2]) return true;
  CellRecord *r = cell_complain(c, "E0602", expr->span, "`ramp` takes two values and `over`");
  cell_help(c->elab->diag, r, "`ramp(1.0, 0.01, over = 0.1)`");
  return false;
}

static void set_compat(CellSpec *spec, bool arq, const char *origin) {
  CellTrain *t = &spec->train;
  t->init_shared = t->episode_terminated = arq;
  t->advance_on_random = !arq;
  t->env_seed = arq ? CELL_ENV_SEED_AUTHORS : CELL_ENV_SEED_RUN;
  static const char *const names[] = {"init", "advance_on_random", "episode_start", "env_seed"};
  for (int i = 0; i < 4; i++)
    cell_note_setting(spec, cell_arena_printf(spec->arena, "train.%s", names[i]), "", origin);
}

static bool read_setting(const CellContext *c, const Row *row, const CellExpr *expr,
                         const char *origin) {
  CellSpec *spec = c->elab->spec;
  void *at = (char *)&spec->train + row->offset;
  const char *word = expr->kind == CELL_EXPR_NAME ? expr->name : "";
  double number;
  int which;
  switch (row->kind) {
  case SET_WHOLE:
  case SET_COUNT:
    if (!number_of(c, expr, row->name, row->least, row->most, true, &number)) return false;
    if (row->kind == SET_WHOLE)
      *(int64_t *)at = (int64_t)number;
    else
      *(int32_t *)at = (int32_t)number;
    if (strcmp(row->name, "n_step") == 0 && number != 1) {
      cell_not_supported(c, "E0904", expr->span, "n_step other than 1");
      return false;
    }
    return true;
  case SET_REAL:
    if (!number_of(c, expr, row->name, row->least, row->most, false, &number)) return false;
    *(double *)at = number;
    return true;
  case SET_TRUTH: return cell_want_truth(c, cell_evaluate(c, expr), expr->span, (bool *)at);
  case SET_RAMP: return read_ramp(c, row, expr, &spec->train);
  case SET_OPTIMIZER: return cell_read_optimizer(spec, expr, at);
  case SET_ACTION:
    which = word_number(row->words, word);
    if (which < 0) return bad_word(c, expr, row);
    *(CellActionCode *)at = (CellActionCode)which;
    return true;
  case SET_WORD:
    which = word_number(row->words, word);
    if (which < 0) return bad_word(c, expr, row);
    *(bool *)at = which == 1;
    return true;
  case SET_SEED:
    if (strcmp(word, "seed") == 0 || strcmp(word, "authors") == 0) {
      *(int64_t *)at = *word == 's' ? CELL_ENV_SEED_RUN : CELL_ENV_SEED_AUTHORS;
      return true;
    }
    if (!number_of(c, expr, row->name, row->least, row->most, true, &number)) return false;
    *(int64_t *)at = (int64_t)number;
    return true;
  case SET_COMPAT:
    which = word_number(row->words, word);
    if (which < 0) return bad_word(c, expr, row);
    set_compat(spec, which == 1, origin);
    return true;
  }
  return false;
}

static const char *setting_text(CellSpec *spec, const Row *row, const char *compat) {
  CellTrain *t = &spec->train;
  const void *at = (const char *)t + row->offset;
  CellArena *arena = spec->arena;
  static const char *const actions[] = {"auto", "onehot", "bits", "real"};
  switch (row->kind) {
  case SET_WHOLE: return cell_arena_printf(arena, "%lld", (long long)*(const int64_t *)at);
  case SET_COUNT: return cell_arena_printf(arena, "%d", (int)*(const int32_t *)at);
  case SET_REAL: return cell_arena_printf(arena, "%.10g", *(const double *)at);
  case SET_TRUTH: return *(const bool *)at ? "true" : "false";
  case SET_RAMP:
    return cell_arena_printf(arena, "ramp(%.10g, %.10g, over = %.10g)", t->epsilon_from,
                             t->epsilon_to, t->epsilon_over);
  case SET_OPTIMIZER: return optimizer_text(arena, &t->optimizer);
  case SET_ACTION: return actions[t->action];
  case SET_WORD: {
    const char *space = strchr(row->words, ' ');
    return *(const bool *)at ? space + 1
                             : cell_arena_strndup(arena, row->words, (size_t)(space - row->words));
  }
  case SET_SEED:
    if (*(const int64_t *)at == CELL_ENV_SEED_RUN) return "seed";
    if (*(const int64_t *)at == CELL_ENV_SEED_AUTHORS) return "authors";
    return cell_arena_printf(arena, "%lld", (long long)*(const int64_t *)at);
  case SET_COMPAT: return compat;
  }
  return "";
}

static void unknown_setting(const CellContext *c, const char *name, CellSpan span) {
  const char *names[ROWS];
  for (int i = 0; i < ROWS; i++) names[i] = rows[i].name;
  CellRecord *r = cell_complain(c, "E0601", span, "unknown setting `%s`", name);
  cell_help_nearest(c->elab->diag, r, name, names, ROWS);
}

/* ---- all settings ---- */

static void set_defaults(CellSpec *spec) {
  spec->train = (CellTrain){.steps = 4000000,
                            .warmup = 50000,
                            .every = 4,
                            .target_every = 1000,
                            .replay = 1000000,
                            .batch = 512,
                            .context = 10,
                            .n_step = 1,
                            .context_alpha = 1,
                            .target_tau = 1,
                            .epsilon_from = 1,
                            .epsilon_to = 0.01,
                            .epsilon_over = 0.1};
  CellOptimizer *o = &spec->train.optimizer;
  for (int i = 0; optimizers[0].args[i].name; i++)
    *field(o, optimizers[0].args[i].offset) = optimizers[0].args[i].otherwise;
  for (int i = 0; i < ROWS; i++)
    cell_note_setting(spec, cell_arena_printf(spec->arena, "train.%s", rows[i].name), "",
                      "default");
  set_compat(spec, false, "default");
}

bool cell_resolve_train(CellSpec *spec) {
  CellElab elab;
  CellContext c = settings_context(&elab, spec);
  const char *compat = "fixed";
  bool ok = true;
  set_defaults(spec);

  /* the file's: compat first, wherever it stands */
  const CellSettingList *list = spec->train_item ? &spec->train_item->settings : NULL;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; list && i < list->count; i++) {
      const CellSetting *s = &list->items[i];
      const char *name = s->path.items[0].text;
      bool is_compat = strcmp(name, "compat") == 0;
      if (is_compat != (pass == 0)) continue;
      const Row *row = find_row(name);
      for (int k = 0; k < i; k++)
        if (strcmp(list->items[k].path.items[0].text, name) == 0) {
          CellRecord *r =
              cell_complain(&c, "E0202", s->path.items[0].span, "`%s` is set twice", name);
          cell_relate(spec->diag, r, list->items[k].path.items[0].span, "first here");
          ok = false;
        }
      if (!row) {
        unknown_setting(&c, name, s->path.items[0].span);
        ok = false;
        continue;
      }
      ok = read_setting(&c, row, s->value, "file") && ok;
      if (is_compat && s->value->kind == CELL_EXPR_NAME) compat = s->value->name;
      cell_note_setting(spec, cell_arena_printf(spec->arena, "train.%s", name), "", "file");
    }

  for (int i = 0; i < spec->set_count; i++) {
    CellOverride *o = &spec->sets[i];
    if (strncmp(o->path, "train.", 6) != 0) continue;
    const Row *row = find_row(o->path + 6);
    o->used = true;
    if (!row) {
      unknown_setting(&c, o->path + 6, o->path_span);
      ok = false;
      continue;
    }
    ok = read_setting(&c, row, o->value, o->origin) && ok;
    if (row->kind == SET_COMPAT && o->value->kind == CELL_EXPR_NAME) compat = o->value->name;
    cell_note_setting(spec, o->path, "", o->origin);
  }
  for (int i = 0; i < ROWS; i++) {
    const char *path = cell_arena_printf(spec->arena, "train.%s", rows[i].name);
    for (int k = 0; k < spec->setting_count; k++)
      if (strcmp(spec->settings[k].path, path) == 0)
        spec->settings[k].value = setting_text(spec, &rows[i], compat);
  }
  return ok;
}
