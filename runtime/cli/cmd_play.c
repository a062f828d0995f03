/* cmd_play.c - `cellc play`: episodes in the terminal, by a policy, at random or by hand.
 *
 * On a terminal one frame is drawn over the other, and keys control it. Elsewhere the same frames are
 * printed one below the other, as letters and at once: something to read, compare or pipe. */
#include "runtime/cli/network_args.h"
#include "runtime/cli/terminal.h"
#include "runtime/cli/watch.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// where there is no terminal to fit: a picture's size, and lines as long as they are
enum { PLAIN_COLUMNS = 64, PLAIN_ROWS = 24, PLAIN_LINE = 1024 };
enum { MOST_VALUES = 8, MOST_CELLS = 8 };

typedef struct {
  CellWatch watch;
  CellColours colours;
  bool screen; // frames over each other on a terminal
  bool human, paused, quit, skip;
  double fps;
  int32_t action; // of the human
} Show;

static const CellPlayer *player_of(const Show *s) {
  return &s->watch.play->players[0];
}

// ---- a frame ----

static const char *bold(const Show *s, bool on) {
  if (s->colours == CELL_COLOURS_NONE) return "";
  return on ? "\x1b[1m" : "\x1b[0m";
}

// a line that fits the terminal; the text holds no control sequences
static void put_line(CellText *out, int columns, const char *text) {
  cell_text_printf(out, "%.*s\n", columns, text);
}

static void put_head(const Show *s, int columns, CellText *out) {
  const CellPlayer *p = player_of(s);
  char line[512], room[16];
  snprintf(line, sizeof line, "%s   %s", s->watch.env->name, s->human ? "you" : s->watch.who);
  if (s->screen) {
    cell_text_append(out, bold(s, true), strlen(bold(s, true)));
    put_line(out, columns, line);
    cell_text_append(out, bold(s, false), strlen(bold(s, false)));
  }
  int length = snprintf(line, sizeof line, "episode %lld  step %lld", (long long)p->episode,
                        (long long)p->length);
  if (p->length > 0) {
    length += snprintf(line + length, sizeof line - (size_t)length, "  reward %g", p->last.reward);
  }
  length += snprintf(line + length, sizeof line - (size_t)length, "  return %g  ", p->total);
  if (p->ended) {
    snprintf(line + length, sizeof line - (size_t)length, "%s",
             p->last.terminated ? "the end"
             : p->cut           ? "cut"
                                : "time is up");
  } else {
    snprintf(line + length, sizeof line - (size_t)length, "action %s%s",
             cell_watch_action(s->watch.env, p->action, room),
             p->explores && s->watch.play->options.agent && !s->human ? " (random)" : "");
  }
  put_line(out, columns, line);
}

// a board in letters, or a picture in characters of half its height
static void put_picture(const Show *s, int columns, int rows, CellText *out) {
  const CellEnvKind *env = s->watch.env;
  const void *state = player_of(s)->state;
  int across, down, width, height;
  bool board = cell_draw_is_board(env, &across, &down);
  if (board && s->colours == CELL_COLOURS_NONE) {
    cell_draw_letters(env, state, out);
    return;
  }
  if (board) {
    // whole characters: a cell is 2n wide and n high
    int n = columns / (2 * across) < rows / down ? columns / (2 * across) : rows / down;
    n = n < 1 ? 1 : n > 3 ? 3 : n;
    width = 2 * n * across, height = 2 * n * down;
  } else {
    width = columns < 160 ? columns : 160;
    if (cell_draw_height(env, width) > 2 * rows)
      width = 2 * rows * width / cell_draw_height(env, width);
    if (width < 2) width = 2;
    height = cell_draw_height(env, width);
  }
  CellPicture picture = cell_picture_create(width, height);
  if (cell_draw_env(env, state, &picture)) cell_picture_text(&picture, s->colours, out);
  cell_picture_free(&picture);
}

// what each cell thinks of the actions, its best marked; of many actions only the best
static int put_values(const Show *s, int columns, CellText *out) {
  const CellPlay *play = s->watch.play;
  int cells = play->options.agent ? play->options.agent->cell_count : 0;
  int count = s->watch.env->actions.count, lines = 0;
  double *values = cell_malloc((size_t)count * sizeof *values);
  for (int c = 0; c < cells && c < MOST_CELLS; c++) {
    if (!cell_play_values(play, c, values)) continue;
    if (player_of(s)->ended) {
      // nothing is chosen any more; the screen keeps its layout
      if (s->screen) put_line(out, columns, ""), lines++;
      continue;
    }
    CellText line = {0};
    char room[16];
    int best = 0;
    for (int a = 1; a < count; a++) {
      if (values[a] > values[best]) best = a;
    }
    cell_text_printf(&line, "%-8s", play->options.agent->cells[c]);
    for (int a = 0; a < count; a++) {
      if (count > MOST_VALUES && a != best) continue;
      cell_text_printf(&line, "  %s %.3f%s", cell_watch_action(s->watch.env, a, room), values[a],
                       a == best ? "*" : " ");
    }
    put_line(out, columns, line.data);
    cell_text_free(&line);
    lines++;
  }
  free(values);
  return lines;
}

static void put_keys(const Show *s, int columns, CellText *out) {
  put_line(out, columns,
           s->human
               ? "arrows or wasd, space: fire, 0-9: an action by number   p pause  n next  q quit"
               : "space pause  . one step  + - speed  n next episode  q quit");
}

// what a board's colours or letters mean; returns the number of lines
static int put_legend(const Show *s, int columns, CellText *out) {
  int across, down;
  if (!cell_draw_is_board(s->watch.env, &across, &down)) return 0;
  return cell_draw_legend(s->watch.env, s->colours, columns, out);
}

static void put_plain_frame(const Show *s) {
  CellText frame = {0};
  put_head(s, PLAIN_LINE, &frame);
  put_picture(s, PLAIN_COLUMNS, PLAIN_ROWS, &frame);
  put_values(s, PLAIN_LINE, &frame);
  printf("%s\n", frame.data);
  cell_text_free(&frame);
}

static void put_frame(const Show *s) {
  if (!s->screen) {
    put_plain_frame(s);
    return;
  }
  CellText frame = {0}, below = {0};
  int columns, rows;
  cell_terminal_size(&columns, &rows);
  int lines = put_values(s, columns, &below) + put_legend(s, columns, &below);
  put_keys(s, columns, &below);
  put_head(s, columns, &frame);
  // around the picture: two lines of head, an empty one before and behind, the keys
  cell_text_append(&frame, "\n", 1);
  put_picture(s, columns, rows - 5 - lines, &frame);
  cell_text_printf(&frame, "\n%s", below.data);
  cell_terminal_show(&frame);
  cell_text_free(&frame);
  cell_text_free(&below);
}

// ---- keys ----

static int action_named(const CellEnvKind *env, const char *name) {
  for (int a = 0; name && env->actions.names && a < env->actions.count; a++) {
    if (strcmp(env->actions.names[a], name) == 0) return a;
  }
  return -1;
}

// the action that a key stands for, or -1
static int action_of(const CellEnvKind *env, int key) {
  if (key >= '0' && key <= '9') return key - '0' < env->actions.count ? key - '0' : -1;
  static const struct {
    int keys[2];
    const char *name;
  } bound[] = {{{CELL_KEY_LEFT, 'a'}, "left"},
               {{CELL_KEY_RIGHT, 'd'}, "right"},
               {{CELL_KEY_UP, 'w'}, "up"},
               {{CELL_KEY_DOWN, 's'}, "down"},
               {{' ', ' '}, "fire"}};
  for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
    if (key == bound[i].keys[0] || key == bound[i].keys[1]) return action_named(env, bound[i].name);
  }
  return -1;
}

static void press(Show *s, int key, double *until) {
  int action = s->human ? action_of(s->watch.env, key) : -1;
  if (action >= 0) {
    s->action = action;
  } else if (key == 'q' || key == 3 || key == 4) {
    s->quit = true;
  } else if (key == 'n') {
    s->skip = true;
  } else if (key == 'p' || (key == ' ' && !s->human)) {
    s->paused = !s->paused;
  } else if (key == '.' && s->paused) {
    *until = 0;
  } else if (key == '+' || key == '=') {
    s->fps = fmin(s->fps * 1.5, 1000);
  } else if (key == '-') {
    s->fps = fmax(s->fps / 1.5, 0.1);
  }
}

// whether to go on watching this episode
static bool going_on(const Show *s) {
  return !s->quit && !s->skip && !cell_terminal_signal() && !cell_cli_stdout_failed();
}

// until the next frame is due; keys are heard meanwhile
static void wait_frame(Show *s, double *due) {
  if (!s->screen) return;
  double now = cell_terminal_now();
  *due += 1 / s->fps;
  if (*due < now) *due = now; // too slow: no frames to catch up with
  double until = *due;
  while (going_on(s) && (s->paused || cell_terminal_now() < until)) {
    double wake = s->paused ? cell_terminal_now() + 1 : until;
    press(s, cell_terminal_key(wake), &until);
    if (s->paused && until == 0) break; // one step
    if (s->paused) *due = cell_terminal_now();
  }
}

// ---- episodes ----

// where nothing is pressed: nothing is done, or, where that is no action, the same as before
static void let_go(Show *s) {
  int noop = action_named(s->watch.env, "noop");
  if (noop >= 0) s->action = noop;
}

static bool show_episode(Show *s, int64_t number, double *due, CellDiag *diag) {
  CellPlay *play = s->watch.play;
  CellPlayer *p = &play->players[0];
  cell_play_begin(play, 0, number);
  while (going_on(s)) {
    if (!p->ended && !cell_play_choose(play, diag)) return false;
    if (s->human) p->action = s->action;
    put_frame(s);
    if (s->human) let_go(s);
    wait_frame(s, due);
    if (p->ended) break;
    if (s->human) p->action = s->action;
    if (going_on(s)) cell_play_step(play, 0);
  }
  // a moment to see how it ended
  for (int i = 0; s->screen && p->ended && i < (int)s->fps; i++) wait_frame(s, due);
  s->skip = false;
  return true;
}

static bool show_all(Show *s, CellText *summary, CellDiag *diag) {
  const CellPlayer *p = player_of(s);
  double due = cell_terminal_now();
  bool ok = true;
  if (!s->screen) {
    printf("%s   %s\n", s->watch.env->name, s->watch.who);
    CellText legend = {0};
    put_legend(s, PLAIN_COLUMNS, &legend);
    printf("%s\n", legend.data ? legend.data : "");
    cell_text_free(&legend);
  }
  for (int64_t i = 0; ok && (i < s->watch.episodes || s->watch.episodes == 0); i++) {
    ok = show_episode(s, i, &due, diag);
    if (ok) {
      cell_text_printf(summary, "episode %lld: return %g after %lld step%s%s\n", (long long)i,
                       p->total, (long long)p->length, p->length == 1 ? "" : "s",
                       p->ended ? "" : ", not to its end");
    }
    if (!s->screen && ok) {
      fwrite(summary->data, 1, summary->length, stdout);
      summary->length = 0;
    }
    if (s->quit || cell_terminal_signal() || cell_cli_stdout_failed()) break;
  }
  return ok;
}

static CellColours colours_of(bool letters, bool screen) {
  const char *none = getenv("NO_COLOR"), *all = getenv("COLORTERM");
  if (letters || !screen || (none && *none)) return CELL_COLOURS_NONE;
  bool every = all && (strcmp(all, "truecolor") == 0 || strcmp(all, "24bit") == 0);
  return every ? CELL_COLOURS_ALL : CELL_COLOURS_256;
}

static int show(CellCli *cli, Show *s) {
  CellDiag *diag = cell_diag_create();
  CellText summary = {0};
  if (s->human) {
    s->action = 0;
    let_go(s);
  }
  if (s->screen) cell_terminal_open();
  bool ok = show_all(s, &summary, diag);
  cell_terminal_close();
  if (summary.length > 0) fwrite(summary.data, 1, summary.length, stdout);
  cell_text_free(&summary);
  int code = cell_cli_report(cli, diag), number = cell_terminal_signal();
  cell_diag_destroy(diag);
  cell_watch_close(&s->watch);
  if (number) code = number == SIGINT ? CELL_EXIT_INTERRUPTED : CELL_EXIT_TERMINATED;
  return cell_cli_end(cli, ok && !number ? CELL_EXIT_OK : code);
}

int cell_cmd_play(int argc, const char **argv) {
  int human = 0, letters = 0;
  Show s = {0};
  CellWatchWords words = {0};
  struct poptOption shared[CELL_WATCH_OPTIONS];
  cell_watch_options(&words, shared);
  struct poptOption table[] = {
      {"human", 0, POPT_ARG_NONE, &human, 0, "you choose the actions, by the keyboard", NULL},
      {"fps", 0, POPT_ARG_DOUBLE, &s.fps, 0, "frames a second (10; scenes 30; by hand 6 and 20)",
       "N"},
      {"letters", 0, POPT_ARG_NONE, &letters, 0, "letters instead of colours, as with NO_COLOR set",
       NULL},
      {NULL, 0, POPT_ARG_INCLUDE_TABLE, shared, 0, NULL, NULL},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "RUN|ENV [--human]",
      .about =
          "Shows episodes in the terminal: those that `cellc eval` counts, by the policy that a "
          "run saved last and with what each cell thinks of every action, or those of an "
          "environment with random actions. Keys: space pause, . one step, + and - speed, n next "
          "episode, q quit. By hand: arrows or w a s d, space to fire, 0 to 9 for an action by "
          "its number, p pause; what is not pressed is no action, or the one before where there "
          "is none. Without a terminal all frames are printed as letters, at once. "
          "`--episodes 0` goes on until it is stopped.",
      .options = table,
      .least = 0,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  cell_watch_claim(&cli, &words);
  if (s.fps != 0 && !(s.fps >= 0.1 && s.fps <= 1000)) {
    return cell_cli_usage(&cli, "`--fps %g` is not between 0.1 and 1000", s.fps);
  }
  if (human && words.epsilon) return cell_cli_usage(&cli, "--human goes without --epsilon");
  if (human && !cell_terminal_there(true)) {
    return cell_cli_fail(&cli, CELL_EXIT_FAILED, "--human wants a terminal for keys and frames");
  }
  s.human = human;
  s.screen = cell_terminal_there(false);
  s.colours = colours_of(letters, s.screen);
  code = cell_watch_open(&cli, &words, 0, &s.watch);
  if (code >= 0) return code;
  bool scene = s.watch.env->scene != NULL;
  if (s.fps == 0) s.fps = human ? (scene ? 20 : 6) : (scene ? 30 : 10);
  return show(&cli, &s);
}
