/* cmd_render.c - `cellc render`: an episode as an animation, or one moment of it as a picture. */
#include "runtime/cli/network_args.h"
#include "runtime/cli/watch.h"
#include "runtime/files.h"
#include "runtime/gif.h"
#include "runtime/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_SIZE = 16, MOST_SIZE = 4096, MOST_STEPS = 1000 };

typedef struct {
  const char *path;
  bool gif;
  int width, height;
  int64_t step, every;
  double fps;
} Options;

// what was drawn, for the report
typedef struct {
  int64_t frames;
  json_t *episodes; // return, length, cut of each
} Drawn;

// "480" or "480x360"
static bool parse_size(const char *text, int *width, int *height) {
  char *end;
  long w = strtol(text, &end, 10), h = 0;
  if (end == text || *text < '0' || *text > '9') return false;
  if (*end == 'x') {
    const char *rest = end + 1;
    h = strtol(rest, &end, 10);
    if (end == rest || *rest < '0' || *rest > '9' || h < LEAST_SIZE || h > MOST_SIZE) return false;
  }
  *width = (int)w, *height = (int)h;
  return !*end && w >= LEAST_SIZE && w <= MOST_SIZE;
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length > tail && strcmp(text + length - tail, end) == 0;
}

static bool draw(const CellWatch *watch, CellPicture *picture, CellDiag *diag) {
  if (cell_draw_env(watch->env, watch->play->players[0].state, picture)) return true;
  cell_error(diag, NULL, CELL_NOWHERE, "`%s` has nothing to be seen at step %lld", watch->env->name,
             (long long)watch->play->players[0].length);
  return false;
}

static void note_episode(const CellPlayer *player, Drawn *drawn) {
  json_array_append_new(drawn->episodes,
                        json_pack("{s:f, s:I, s:b}", "return", player->total, "length",
                                  (json_int_t)player->length, "cut", player->cut));
}

static bool cannot_write(const char *path, CellDiag *diag) {
  cell_error(diag, NULL, CELL_NOWHERE, "cannot write `%s`", path);
  return false;
}

// ---- one moment ----

static bool render_moment(const Options *o, CellWatch *watch, FILE *out, CellPicture *picture,
                          Drawn *drawn, CellDiag *diag) {
  CellPlay *play = watch->play;
  const CellPlayer *player = &play->players[0];
  cell_play_begin(play, 0, 0);
  while (player->length < o->step && !player->ended) {
    if (!cell_play_choose(play, diag)) return false;
    cell_play_step(play, 0);
  }
  if (player->length < o->step) {
    cell_error(diag, NULL, CELL_NOWHERE, "there is no step %lld: the episode ends after %lld",
               (long long)o->step, (long long)player->length);
    return false;
  }
  if (!draw(watch, picture, diag)) return false;
  drawn->frames = 1;
  note_episode(player, drawn);
  return cell_picture_write_png(picture, out) || cannot_write(o->path, diag);
}

// ---- an animation ----

static bool render_episode(const Options *o, CellWatch *watch, int64_t number, CellGif *gif,
                           CellPicture *picture, Drawn *drawn, CellDiag *diag) {
  CellPlay *play = watch->play;
  const CellPlayer *player = &play->players[0];
  cell_play_begin(play, 0, number);
  for (;;) {
    // the end is always shown, and for half a second
    if (player->length % o->every == 0 || player->ended) {
      int hold = player->ended ? 1 + (int)(o->fps / 2) : 1;
      if (!draw(watch, picture, diag)) return false;
      if (!cell_gif_add(gif, picture, hold)) return cannot_write(o->path, diag);
      drawn->frames++;
      if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\repisode %lld, step %lld ", (long long)number, (long long)player->length);
      }
    }
    if (player->ended) break;
    if (!cell_play_choose(play, diag)) return false;
    cell_play_step(play, 0);
  }
  if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\x1b[K");
  note_episode(player, drawn);
  return true;
}

static bool render_animation(const Options *o, CellWatch *watch, FILE *out, CellPicture *picture,
                             Drawn *drawn, CellDiag *diag) {
  CellGif *gif = cell_gif_create(out, picture->width, picture->height, o->fps);
  bool ok = gif != NULL;
  for (int64_t i = 0; ok && i < watch->episodes; i++) {
    ok = render_episode(o, watch, i, gif, picture, drawn, diag);
  }
  if (!cell_gif_finish(gif)) ok = false;
  // the first error says why
  return ok || (diag->error_count > 0 ? false : cannot_write(o->path, diag));
}

static bool render(const Options *o, CellWatch *watch, Drawn *drawn, CellDiag *diag) {
  CellNewFile *file = cell_new_file(o->path, diag);
  if (!file) return false;
  CellPicture picture = cell_picture_create(o->width, o->height);
  FILE *out = cell_new_file_stream(file);
  bool ok = o->gif ? render_animation(o, watch, out, &picture, drawn, diag)
                   : render_moment(o, watch, out, &picture, drawn, diag);
  cell_picture_free(&picture);
  if (ok) return cell_new_file_commit(file, diag);
  cell_new_file_abandon(file);
  return false;
}

// ---- the report ----

static void report(const CellCli *cli, const Options *o, const CellWatch *watch, Drawn *drawn) {
  if (cli->json) {
    cell_json_print(json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:O}", "schema",
                              "cellc.picture.1", "file", o->path, "env", watch->env->name, "who",
                              watch->who, "width", o->width, "height", o->height, "frames",
                              (json_int_t)drawn->frames, "episodes", drawn->episodes),
                    stdout);
    return;
  }
  for (size_t i = 0; i < json_array_size(drawn->episodes); i++) {
    const json_t *e = json_array_get(drawn->episodes, i);
    bool cut = json_boolean_value(json_object_get(e, "cut"));
    fprintf(stderr, "episode %zu of %s: return %g after %lld steps%s\n", i, watch->env->name,
            json_real_value(json_object_get(e, "return")),
            (long long)json_integer_value(json_object_get(e, "length")),
            cut ? ", cut here (--max-steps)" : "");
  }
  printf("%s\n", o->path);
}

int cell_cmd_render(int argc, const char **argv) {
  const char *output = NULL, *size = NULL, *step = NULL, *every = NULL;
  Options o = {.every = 1};
  CellWatchWords words = {0};
  struct poptOption shared[CELL_WATCH_OPTIONS];
  cell_watch_options(&words, shared);
  struct poptOption table[] = {
      {"output", 'o', POPT_ARG_STRING, &output, 0,
       "a .gif of whole episodes, or a .png of one step", "FILE"},
      {"step", 0, POPT_ARG_STRING, &step, 0, ".png: after how many steps (0: the start)", "N"},
      {"every", 0, POPT_ARG_STRING, &every, 0, ".gif: draw only every Nth step (1)", "N"},
      {"fps", 0, POPT_ARG_DOUBLE, &o.fps, 0,
       ".gif: frames a second, up to 50 (10 of boards, 30 of scenes)", "N"},
      {"size", 0, POPT_ARG_STRING, &size, 0, "width in pixels, or both sizes (320; scenes 480)",
       "W[xH]"},
      {NULL, 0, POPT_ARG_INCLUDE_TABLE, shared, 0, NULL, NULL},
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "RUN|ENV -o FILE",
      .about = "Draws episodes: those that `cellc eval` counts, by the policy that a run saved "
               "last, or those of an environment with random actions. Animations of long episodes "
               "end after 1000 steps unless --max-steps says otherwise.",
      .options = table,
      .common = CELL_WITH_JSON,
      .least = 0,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  cell_watch_claim(&cli, &words);
  o.path = cell_cli_string(&cli, output), size = cell_cli_string(&cli, size);
  step = cell_cli_string(&cli, step), every = cell_cli_string(&cli, every);
  if (!o.path) return cell_cli_usage(&cli, "where to? `-o FILE.gif` or `-o FILE.png`");
  o.gif = ends_with(o.path, ".gif");
  if (!o.gif && !ends_with(o.path, ".png")) {
    return cell_cli_usage(&cli, "`%s` ends neither in .gif nor in .png", o.path);
  }
  if (step && (o.gif || !cell_cli_count(step, &o.step))) {
    return cell_cli_usage(&cli,
                          o.gif ? "`--step %s` is for a .png; a .gif shows all steps"
                                : "`--step %s` is no whole number",
                          step);
  }
  if (!o.gif && (every || words.episodes || words.max_steps || o.fps != 0)) {
    return cell_cli_usage(&cli, "--every, --fps, --episodes and --max-steps are for a .gif");
  }
  if (every && (!cell_cli_count(every, &o.every) || o.every < 1)) {
    return cell_cli_usage(&cli, "`--every %s` is no number from 1 on", every);
  }
  if (o.fps != 0 && !(o.fps >= 0.1 && o.fps <= CELL_GIF_MOST_FPS)) {
    return cell_cli_usage(&cli, "`--fps %g` is not between 0.1 and %d", o.fps, CELL_GIF_MOST_FPS);
  }
  if (size && !parse_size(size, &o.width, &o.height)) {
    return cell_cli_usage(&cli, "`--size %s` is no width, or width x height, from %d to %d", size,
                          LEAST_SIZE, MOST_SIZE);
  }
  CellWatch watch;
  code = cell_watch_open(&cli, &words, o.gif ? MOST_STEPS : 0, &watch);
  if (code >= 0) return code;
  if (watch.episodes == 0) {
    cell_watch_close(&watch);
    return cell_cli_usage(&cli, "`--episodes 0` would never end");
  }
  if (o.width == 0) o.width = watch.env->scene ? 480 : 320;
  if (o.height == 0) o.height = cell_draw_height(watch.env, o.width);
  if (o.fps == 0) o.fps = watch.env->scene ? 30 : 10;

  CellDiag *diag = cell_diag_create();
  Drawn drawn = {.episodes = json_array()};
  bool ok = render(&o, &watch, &drawn, diag);
  if (ok) report(&cli, &o, &watch, &drawn);
  code = cell_cli_report(&cli, diag);
  json_decref(drawn.episodes);
  cell_watch_close(&watch);
  cell_diag_destroy(diag);
  return cell_cli_end(&cli, ok ? CELL_EXIT_OK : code);
}
