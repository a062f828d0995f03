/* plot.c - training curves by gnuplot. */
#include "runtime/plot.h"

#include "runtime/files.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POINTS = 400, LEAST_SEEDS = 3 };

// ---- curves ----

void cell_plot_curve(const CellRunEpisode *const *episodes, const int *counts, int runs, int window,
                     int points, CellPlotPoint *out) {
  int64_t last = INT64_MAX;
  for (int r = 0; r < runs; r++) {
    int64_t reached = counts[r] > 0 ? episodes[r][counts[r] - 1].step : 0;
    if (reached < last) last = reached;
  }
  int *at = cell_malloc((size_t)runs * sizeof *at);
  double *sums = cell_malloc((size_t)runs * sizeof *sums);
  for (int i = 0; i < points; i++) {
    double step = (double)last * (i + 1) / points, sum = 0, squares = 0;
    bool known = true;
    for (int r = 0; r < runs; r++) {
      // episodes that ended by this step; the sum of the last `window` of them
      for (; at[r] < counts[r] && (double)episodes[r][at[r]].step <= step; at[r]++) {
        sums[r] += episodes[r][at[r]].reward;
        if (at[r] >= window) sums[r] -= episodes[r][at[r] - window].reward;
      }
      int held = at[r] < window ? at[r] : window;
      known &= held > 0;
      double value = held > 0 ? sums[r] / held : 0;
      sum += value, squares += value * value;
    }
    double mean = sum / runs, variance = (squares - sum * mean) / (runs > 1 ? runs - 1 : 1);
    out[i].step = step;
    out[i].mean = known ? mean : (double)NAN;
    out[i].deviation = runs >= LEAST_SEEDS && known ? sqrt(fmax(variance, 0)) : (double)NAN;
  }
  free(at);
  free(sums);
}

// ---- which runs are one curve ----

typedef struct {
  CellRun run;
  CellRunEpisode *episodes;
  int count;
  int curve;
} Item;

static bool same_text(const char *a, const char *b) {
  return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool same_but_for_the_seed(const CellRun *a, const CellRun *b) {
  bool same = strcmp(a->name, b->name) == 0 && strcmp(a->env, b->env) == 0 &&
              same_text(a->variant, b->variant) && a->set_count == b->set_count &&
              a->seed != b->seed;
  for (int i = 0; same && i < a->set_count; i++) same = strcmp(a->sets[i], b->sets[i]) == 0;
  return same && json_equal(json_object_get(a->description, "spec_hash"),
                            json_object_get(b->description, "spec_hash"));
}

// numbers the curves; a group of one or two runs is drawn run by run
static int group(Item *items, int count) {
  int curves = 0;
  for (int i = 0; i < count; i++) items[i].curve = -1;
  for (int i = 0; i < count; i++) {
    if (items[i].curve >= 0) continue;
    int members = 1;
    for (int j = i + 1; j < count; j++) {
      members += items[j].curve < 0 && same_but_for_the_seed(&items[i].run, &items[j].run);
    }
    items[i].curve = curves;
    for (int j = i + 1; members >= LEAST_SEEDS && j < count; j++) {
      if (items[j].curve < 0 && same_but_for_the_seed(&items[i].run, &items[j].run)) {
        items[j].curve = curves;
      }
    }
    curves++;
  }
  return curves;
}

// ---- files for gnuplot ----

// inside double quotes of a script; gnuplot's markup letters are switched off by `noenhanced`
static void quote(CellText *out, const char *text) {
  cell_text_append(out, "\"", 1);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') cell_text_append(out, "\\", 1);
    cell_text_append(out, (unsigned char)*text < 32 ? "?" : text, 1);
  }
  cell_text_append(out, "\"", 1);
}

static void label(CellText *out, const Item *first, int members) {
  CellText text = {0};
  const char *env = strrchr(first->run.env, '/');
  cell_text_printf(&text, "%s %s", first->run.name, env ? env + 1 : first->run.env);
  if (first->run.variant) cell_text_printf(&text, " %s", first->run.variant);
  for (int i = 0; i < first->run.set_count; i++) {
    cell_text_printf(&text, " %s", first->run.sets[i]);
  }
  if (members > 1)
    cell_text_printf(&text, " (%d seeds)", members);
  else
    cell_text_printf(&text, " s%llu", (unsigned long long)first->run.seed);
  quote(out, text.data);
  cell_text_free(&text);
}

// one block of lines `step mean low high` a curve
static void write_data(CellText *data, const Item *items, int count, int curve, int window,
                       int *members) {
  const CellRunEpisode **episodes = cell_malloc((size_t)count * sizeof *episodes);
  int *counts = cell_malloc((size_t)count * sizeof *counts);
  *members = 0;
  for (int i = 0; i < count; i++) {
    if (items[i].curve != curve) continue;
    episodes[*members] = items[i].episodes, counts[(*members)++] = items[i].count;
  }
  CellPlotPoint *points = cell_malloc(POINTS * sizeof *points);
  cell_plot_curve(episodes, counts, *members, window, POINTS, points);
  for (int i = 0; i < POINTS; i++) {
    if (isnan(points[i].mean)) continue;
    double deviation = isnan(points[i].deviation) ? 0 : points[i].deviation;
    cell_text_printf(data, "%.9g %.9g %.9g %.9g\n", points[i].step, points[i].mean,
                     points[i].mean - deviation, points[i].mean + deviation);
  }
  cell_text_printf(data, "\n\n");
  free(points);
  free(counts);
  free(episodes);
}

static const char *terminal_of(const char *figure) {
  const char *dot = strrchr(figure, '.');
  if (dot && strcmp(dot, ".png") == 0) return "png size 960,600";
  if (dot && strcmp(dot, ".svg") == 0) return "svg size 800,500";
  if (dot && strcmp(dot, ".pdf") == 0) return "pdfcairo size 16cm,10cm";
  return NULL;
}

static void text_size(const CellPlotOptions *o, int *columns, int *rows) {
  struct winsize size;
  *columns = o->columns > 0 ? o->columns : 79, *rows = o->rows > 0 ? o->rows : 24;
  if (o->columns > 0 || o->rows > 0 || ioctl(fileno(o->out), TIOCGWINSZ, &size) != 0) return;
  if (size.ws_col > 20) *columns = size.ws_col - 1;
  if (size.ws_row > 10) *rows = size.ws_row - 2;
}

static void write_script(CellText *script, const CellPlotOptions *o, const char *data,
                         const CellText *labels, const int *members, int curves) {
  if (o->figure) {
    cell_text_printf(script, "set terminal %s noenhanced\nset output ", terminal_of(o->figure));
    quote(script, o->figure);
  } else {
    int columns, rows;
    text_size(o, &columns, &rows);
    cell_text_printf(script, "set terminal dumb size %d,%d noenhanced", columns, rows);
  }
  cell_text_printf(script,
                   "\nset key below\nset xlabel \"steps\"\n"
                   "set ylabel \"return over %d episodes\"%s\nset format x \"%%.1s%%c\"\n"
                   "set style fill transparent solid 0.2 noborder\ndata = ",
                   o->window, o->figure ? "" : " norotate offset 0,0");
  quote(script, data);
  cell_text_printf(script, "\nplot \\\n");
  for (int i = 0; i < curves; i++) {
    // the band of a curve below its line; text has no room for bands
    if (members[i] >= LEAST_SEEDS && o->figure) {
      cell_text_printf(script,
                       "  data index %d using 1:3:4 with filledcurves notitle linecolor %d, \\\n",
                       i, i + 1);
    }
    cell_text_printf(script, "  data index %d using 1:2 with lines linecolor %d title %s%s", i,
                     i + 1, labels[i].data, i + 1 < curves ? ", \\\n" : "\n");
  }
}

extern char **environ;

static bool run_gnuplot(const char *script, FILE *out, bool *missing, CellDiag *diag) {
  char program[] = "gnuplot";
  char *arguments[] = {program, strdup(script), NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (out) {
    fflush(out);
    posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO);
  }
  pid_t child;
  int status = 0, error = posix_spawnp(&child, program, &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  free(arguments[1]);
  if (error == 0) {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  *missing = error == ENOENT;
  if (error != 0) {
    CellRecord *record =
        cell_error(diag, NULL, CELL_NOWHERE, "cannot start gnuplot: %s", strerror(error));
    if (*missing) cell_help(diag, record, "on Debian: apt-get install gnuplot-nox");
  } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    error = 1;
    cell_error(diag, NULL, CELL_NOWHERE, "gnuplot failed on `%s`", script);
  }
  return error == 0;
}

// the figure, its script and its data; text goes by way of a temporary folder
static bool draw(const Item *items, int count, const CellPlotOptions *o, bool *missing,
                 CellDiag *diag) {
  CellArena *arena = cell_arena_create();
  char folder[] = "/tmp/cellc-plot-XXXXXX";
  const char *base = o->figure;
  if (!base) {
    if (!mkdtemp(folder)) {
      cell_error(diag, NULL, CELL_NOWHERE, "cannot make a folder in /tmp: %s", strerror(errno));
      cell_arena_destroy(arena);
      return false;
    }
    base = cell_arena_printf(arena, "%s/plot.txt", folder);
  }
  size_t stem = (size_t)(strrchr(base, '.') - base);
  const char *data_path = cell_arena_printf(arena, "%.*s.dat", (int)stem, base);
  const char *script_path = cell_arena_printf(arena, "%.*s.gp", (int)stem, base);

  int curves = 0;
  for (int i = 0; i < count; i++)
    curves = items[i].curve + 1 > curves ? items[i].curve + 1 : curves;
  CellText data = {0}, script = {0};
  CellText *labels = CELL_NEW_ARRAY(arena, CellText, curves);
  int *members = CELL_NEW_ARRAY(arena, int, curves);
  for (int i = 0; i < curves; i++) {
    const Item *first = items;
    while (first->curve != i) first++;
    write_data(&data, items, count, i, o->window, &members[i]);
    label(&labels[i], first, members[i]);
  }
  write_script(&script, o, data_path, labels, members, curves);
  bool ok = cell_write_file(data_path, data.data, data.length, diag) &&
            cell_write_file(script_path, script.data, script.length, diag) &&
            run_gnuplot(script_path, o->figure ? NULL : o->out, missing, diag);
  for (int i = 0; i < curves; i++) cell_text_free(&labels[i]);
  cell_text_free(&data);
  cell_text_free(&script);
  if (!o->figure) {
    unlink(data_path);
    unlink(script_path);
    rmdir(folder);
  }
  cell_arena_destroy(arena);
  return ok;
}

bool cell_plot_runs(const char *const *folders, int count, const CellPlotOptions *o, bool *missing,
                    CellDiag *diag) {
  *missing = false;
  if (o->figure && !terminal_of(o->figure)) {
    cell_error(diag, NULL, CELL_NOWHERE, "`%s` should end in .png, .svg or .pdf", o->figure);
    return false;
  }
  Item *items = cell_malloc((size_t)count * sizeof *items);
  bool ok = true;
  for (int i = 0; i < count; i++) {
    bool opened = cell_run_open(folders[i], &items[i].run, diag) &&
                  cell_run_episodes(&items[i].run, &items[i].episodes, &items[i].count, diag);
    if (opened && items[i].count == 0) {
      cell_error(diag, NULL, CELL_NOWHERE, "no episode of `%s` has ended yet", folders[i]);
      opened = false;
    }
    ok &= opened;
  }
  if (ok) {
    group(items, count);
    ok = draw(items, count, o, missing, diag);
  }
  for (int i = 0; i < count; i++) cell_run_close(&items[i].run);
  free(items);
  return ok;
}
