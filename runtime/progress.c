/* progress.c - how far a run is. */
#include "runtime/progress.h"

#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void cell_format_count(double count, char out[16]) {
  const struct {
    double unit;
    const char *letter;
  } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (int i = 0; i < 4; i++) {
    if (count < 0.9995 * units[i].unit) continue;
    double value = count / units[i].unit;
    // three digits
    int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, 16, "%.*f%s", digits, value < 1e6 ? value : 1e6, units[i].letter);
    return;
  }
  snprintf(out, 16, "%.0f", count);
}

void cell_format_seconds(double seconds, char out[32]) {
  if (!(seconds >= 0 && seconds < 1e10)) {
    snprintf(out, 32, "?");
    return;
  }
  long long s = llround(seconds);
  if (s < 86400)
    snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else
    snprintf(out, 32, "%lld d %02lld:%02lld", s / 86400, s / 3600 % 24, s / 60 % 60);
}

void cell_progress_line(const CellProgressView *v, int bar, CellText *out) {
  double share = v->steps > 0 ? (double)v->step / (double)v->steps : 1;
  if (share > 1) share = 1;
  cell_text_printf(out, "%s %s s%llu ", v->name, v->env, (unsigned long long)v->seed);
  if (bar > 0) {
    int full = (int)(share * bar);
    cell_text_append(out, "[", 1);
    for (int i = 0; i < bar; i++) cell_text_append(out, i < full ? "#" : ".", 1);
    cell_text_append(out, "] ", 2);
  }
  char step[16], steps[16], left[32];
  cell_format_count((double)v->step, step);
  cell_format_count((double)v->steps, steps);
  cell_text_printf(out, "%d %%  %s/%s  ", (int)(100 * share), step, steps);
  if (v->episodes > 0) {
    cell_text_printf(out, "return %.*f (%d)  ", fabs(v->mean_return) < 9.995 ? 2 : 1,
                     v->mean_return, v->episodes < 100 ? (int)v->episodes : 100);
  }
  if (v->updates_per_second > 0) {
    int digits = v->updates_per_second < 9.95 ? 1 : 0;
    cell_text_printf(out, "%.*f upd/s  ", digits, v->updates_per_second);
  } else {
    cell_text_printf(out, "warm-up  ");
  }
  if (v->seconds_left < 0) return;
  cell_format_seconds(v->seconds_left, left);
  cell_text_printf(out, "left %s", left);
}

bool cell_progress_due(const CellProgress *p, double now) {
  return now - p->last >= (p->terminal ? 0.1 : 30);
}

static int terminal_width(FILE *out) {
  struct winsize size;
  if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void cell_progress_draw(CellProgress *p, const CellProgressView *view, double now) {
  CellText line = {0};
  p->last = now;
  if (!p->terminal) {
    cell_progress_line(view, 0, &line);
    fprintf(p->out, "%s\n", line.data);
  } else {
    // the bar takes what is left of the line, up to 30 characters
    cell_progress_line(view, 0, &line);
    int width = terminal_width(p->out) - 1, bar = width - (int)line.length - 3;
    cell_text_free(&line);
    cell_progress_line(view, bar < 4 ? 0 : bar > 30 ? 30 : bar, &line);
    int length = (int)line.length < width ? (int)line.length : width;
    fprintf(p->out, "\r%.*s%*s", length, line.data, p->drawn > length ? p->drawn - length : 0, "");
    p->drawn = length;
  }
  fflush(p->out);
  cell_text_free(&line);
}

void cell_progress_end(CellProgress *p) {
  if (p->terminal && p->drawn > 0) fprintf(p->out, "\n");
  p->drawn = 0;
  fflush(p->out);
}
