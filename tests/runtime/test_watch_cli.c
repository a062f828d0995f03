/* play and render from outside: files, frames, a terminal that is given back, what bad input gets */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "tests/support/program.h"

#include <gif_lib.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void path_of(char path[512], const char *name) {
  snprintf(path, 512, "%s/%s", folder(), name);
}

// a file of the root, which is there
static char *file_text(const char *name, size_t *length) {
  char path[512];
  path_of(path, name);
  CellDiag *diag = cell_diag_create();
  char *text = cell_read_file(path, 1 << 26, length, diag);
  if (!text) cell_diag_print(diag, stderr, false);
  assert_non_null(text);
  cell_diag_destroy(diag);
  return text;
}

static bool exists(const char *name) {
  char path[512];
  struct stat status;
  path_of(path, name);
  return stat(path, &status) == 0;
}

static void same_files(const char *a, const char *b, bool same) {
  size_t m, n;
  char *x = file_text(a, &m), *y = file_text(b, &n);
  assert_true((m == n && memcmp(x, y, m) == 0) == same);
  free(x);
  free(y);
}

/* ---- without a terminal ---- */

static void plain_frames(void **unused) {
  (void)unused;
  CellText printed = {0};
  assert_int_equal(run("play minatar/breakout --seed 3 --episodes 2", &printed), 0);
  CellDiag *diag = cell_diag_create();
  size_t length;
  char *golden =
      cell_read_file(CELLC_SOURCE_DIR "/tests/data/play/breakout.txt", 1 << 20, &length, diag);
  assert_non_null(golden);
  assert_string_equal(printed.data, golden);
  free(golden);
  cell_diag_destroy(diag);
  cell_text_free(&printed);
  expect("play --env classic/acrobot --max-steps 3", 0, "step 3  reward -1  return -3  cut\n");
  expect("play classic/mountain-car | tail -n 2", 0, "\nepisode 0: return -200 after 200 steps\n");
  expect("play minatar/seaquest", 0, "sub_front  s sub_back");
}

/* ---- a run: it learned, and what is shown is what is counted ---- */

static void runs(void **unused) {
  (void)unused;
  expect("train '" CELLC_SOURCE_DIR "/examples/dqn_dense.cell' --env classic/cartpole "
         "--variant small --seed 1 --threads 1 --set train.steps=15e3 --set train.warmup=1e3 "
         "--set train.batch=64 --set train.every=2 --set train.target_every=500 "
         "--set 'train.epsilon=ramp(1.0, 0.05, over = 0.5)' --runs runs --quiet > folder",
         0, "");
  CellText text = {0};
  assert_int_equal(run("eval $(cat folder) --seed 4 --episodes 20 --json", &text), 0);
  json_t *document = json_loads(text.data, 0, NULL), *drawn;
  const json_t *policy = json_array_get(json_object_get(document, "results"), 0);
  // random actions: 22
  assert_true(json_real_value(json_object_get(policy, "mean")) > 80);

  text.length = 0;
  assert_int_equal(run("render $(cat folder) --seed 4 --episodes 3 --size 64 --max-steps 0 "
                       "--json -o run.gif",
                       &text),
                   0);
  drawn = json_loads(text.data, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(drawn, "schema")), "cellc.picture.1");
  json_int_t frames = 0;
  for (size_t i = 0; i < 3; i++) {
    const json_t *episode = json_array_get(json_object_get(drawn, "episodes"), i);
    assert_true(json_real_value(json_object_get(episode, "return")) ==
                json_real_value(json_array_get(json_object_get(policy, "returns"), i)));
    frames += json_integer_value(json_object_get(episode, "length")) + 1;
  }
  assert_int_equal(json_integer_value(json_object_get(drawn, "frames")), frames);
  json_decref(drawn);
  json_decref(document);
  cell_text_free(&text);
  expect("play $(cat folder) --max-steps 1", 0, "net       left ");
  expect("play $(cat folder) --epsilon 1 --max-steps 20", 0, " (random)\n");
  expect("render $(cat folder) --epsilon 0.5 --step 3 -o run.png", 0, "run.png\n");
  // a broken run
  expect("play $(cat folder)/..", 1, "is no run's folder");
}

/* ---- pictures ---- */

static int gif_read(GifFileType *file, GifByteType *data, int length) {
  return (int)fread(data, 1, (size_t)length, file->UserData);
}

static int gif_frames(const char *name, int *width, int *height) {
  char path[512];
  path_of(path, name);
  FILE *in = fopen(path, "rb");
  assert_non_null(in);
  int error;
  GifFileType *file = DGifOpen(in, gif_read, &error);
  assert_non_null(file);
  assert_int_equal(DGifSlurp(file), GIF_OK);
  int count = file->ImageCount;
  *width = file->SWidth, *height = file->SHeight;
  DGifCloseFile(file, &error);
  fclose(in);
  return count;
}

static void pictures(void **unused) {
  (void)unused;
  int width, height;
  expect("render minatar/space-invaders --seed 2 -o a.gif", 0, "a.gif\n");
  expect("render --env minatar/space_invaders --seed 2 -o b.gif", 0, "b.gif\n");
  expect("render minatar/space-invaders --seed 3 -o c.gif", 0, "c.gif\n");
  same_files("a.gif", "b.gif", true);
  same_files("a.gif", "c.gif", false);
  gif_frames("a.gif", &width, &height);
  assert_true(width == 320 && height == 320);
  // 200 steps and the start; every 7th, the start and the end
  expect("render classic/mountain-car -o m.gif --size 96", 0, "return -200 after 200 steps\n");
  assert_int_equal(gif_frames("m.gif", &width, &height), 201);
  assert_true(width == 96 && height == 72);
  expect("render classic/mountain-car -o m.gif --size 96x50 --every 7 --fps 50", 0, "m.gif");
  assert_int_equal(gif_frames("m.gif", &width, &height), 30);
  assert_true(width == 96 && height == 50);
  expect("render classic/acrobot -o c.gif --max-steps 5", 0, "after 5 steps, cut here");
  assert_int_equal(gif_frames("c.gif", &width, &height), 6);

  expect("render classic/cartpole -o a.png --step 3", 0, "a.png\n");
  expect("render classic/cartpole -o b.png --step 3", 0, "b.png\n");
  expect("render classic/cartpole -o c.png", 0, "after 0 steps\n");
  same_files("a.png", "b.png", true);
  same_files("a.png", "c.png", false);
  size_t length;
  char *png = file_text("a.png", &length);
  assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
  free(png);
}

static void bad_input(void **unused) {
  (void)unused;
  static const struct {
    const char *arguments;
    int code;
    const char *part;
  } cases[] = {
      {"render minatar/breakout", 2, "where to? `-o FILE.gif` or `-o FILE.png`\n"},
      {"render minatar/breakout -o x.jpg", 2, "`x.jpg` ends neither in .gif nor in .png\n"},
      {"render minatar/breakout -o .gif", 2, "`.gif` ends neither"},
      {"render -o x.gif", 2, "which run, or which environment?\n"},
      {"render --env minatar/breakout minatar/freeway -o x.gif", 2, "either a run or --env"},
      {"render minatar/brekout -o x.gif", 1, "`minatar/brekout` is neither a run's folder nor"},
      {"render minatar/brekout -o x.gif", 1, "did you mean `minatar/breakout`?"},
      {"render nowhere/at/all -o x.gif", 1, "`cellc train` names the folder"},
      {"render . -o x.gif", 1, "`.` is no run's folder"},
      {"render minatar/breakout -o x.gif --fps 51", 2, "`--fps 51` is not between 0.1 and 50\n"},
      {"render minatar/breakout -o x.gif --fps nan", 2, "`--fps nan`"},
      {"render minatar/breakout -o x.gif --size 15", 2, "`--size 15` is no width"},
      {"render minatar/breakout -o x.gif --size 100x", 2, "`--size 100x` is no width"},
      {"render minatar/breakout -o x.gif --size -3x20", 2, "`--size -3x20` is no width"},
      {"render minatar/breakout -o x.gif --size 100x5000", 2, "from 16 to 4096\n"},
      {"render minatar/breakout -o x.gif --step 3", 2, "`--step 3` is for a .png"},
      {"render minatar/breakout -o x.gif --every 0", 2, "`--every 0` is no number from 1 on\n"},
      {"render minatar/breakout -o x.gif --episodes 0", 2, "`--episodes 0` would never end\n"},
      {"render minatar/breakout -o x.gif --episodes -1", 2, "`--episodes -1`"},
      {"render minatar/breakout -o x.gif --epsilon 0.5", 2, "without one all actions are random"},
      {"render minatar/breakout -o x.gif --epsilon 2", 2, "`--epsilon 2` is not between 0 and 1"},
      {"render minatar/breakout -o x.png --fps 3", 2, "are for a .gif\n"},
      {"render minatar/breakout -o x.png --step 1.5", 2, "`--step 1.5` is no whole number\n"},
      {"render minatar/breakout -o x.png --step 5000", 1,
       "there is no step 5000: the episode ends"},
      {"render minatar/breakout -o no/such/x.png", 1, "cannot write `no/such/x.png`: No such file"},
      {"render minatar/breakout -o /proc/x.gif", 1, "cannot write `/proc/x.gif`"},
      {"render minatar/breakout -o x.png --sede 3", 2, "did you mean `--seed`?"},
      {"play", 2, "which run, or which environment?\n"},
      {"play minatar/breakout --human", 1, "--human wants a terminal for keys and frames\n"},
      {"play minatar/breakout --human --epsilon 0.1", 2, "--human goes without --epsilon\n"},
      {"play minatar/breakout --fps 0.01", 2, "`--fps 0.01` is not between 0.1 and 1000\n"},
      {"play minatar/breakout --threads 0", 2, "`--threads 0` is no number from 1"},
      {"play minatar/breakout --backend gpu", 2, "`--backend gpu` is none of"},
      {"play minatar/breakout > /dev/full", 1, "cannot write to standard output"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    expect(cases[i].arguments, cases[i].code, cases[i].part);
  }
  assert_false(exists("x.gif") || exists("x.png") || exists("x.gif.tmp") || exists("x.png.tmp"));
  // what is there stays when something goes wrong
  expect("render classic/cartpole -o keep.png", 0, "keep.png");
  expect("render classic/acrobot -o keep.gif --max-steps 3", 0, "keep.gif");
  expect("render classic/cartpole -o first.png", 0, "first.png");
  expect("render minatar/breakout -o keep.png --step 5000", 1, "there is no step 5000");
  expect("version > /dev/null; ulimit -f 8; '" CELLC_BINARY_DIR
         "/cellc' render classic/acrobot -o keep.gif",
         1, "cannot write `keep.gif`");
  same_files("keep.png", "first.png", true);
  int width, height;
  assert_int_equal(gif_frames("keep.gif", &width, &height), 4);
  assert_false(exists("keep.gif.tmp") || exists("keep.png.tmp"));
  // without end, until nobody reads any more
  expect("play minatar/breakout --episodes 0 | head -n 1", 0,
         "minatar/breakout   random actions\n");
}

/* ---- on a terminal ---- */

typedef struct {
  pid_t child;
  int master;
  CellText shown;
} Terminal;

static bool is_raw(const Terminal *t) {
  struct termios settings;
  assert_int_equal(tcgetattr(t->master, &settings), 0);
  assert_true(((settings.c_lflag & ICANON) == 0) == ((settings.c_lflag & ECHO) == 0));
  return (settings.c_lflag & ICANON) == 0;
}

static Terminal begin(const char *const *arguments, const char *colours) {
  Terminal t = {0};
  struct winsize size = {.ws_row = 24, .ws_col = 80};
  t.child = forkpty(&t.master, NULL, NULL, &size);
  assert_true(t.child >= 0);
  if (t.child == 0) {
    unsetenv("NO_COLOR");
    setenv("COLORTERM", colours ? colours : "", 1);
    if (!colours) setenv("NO_COLOR", "1", 1);
    execv(CELLC_BINARY_DIR "/cellc", (char *const *)(uintptr_t)arguments);
    _exit(99);
  }
  return t;
}

// reads what is shown until `part` is there `times` times, or the program has ended
static bool wait_for(Terminal *t, const char *part, int times) {
  for (int i = 0; i < 3000; i++) {
    int found = 0;
    for (const char *at = t->shown.data; at && (at = strstr(at, part)); at++) found++;
    if (found >= times) return true;
    struct pollfd input = {.fd = t->master, .events = POLLIN};
    if (poll(&input, 1, 10) <= 0) continue;
    char data[4096];
    ssize_t got = read(t->master, data, sizeof data);
    if (got <= 0) return false;
    cell_text_append(&t->shown, data, (size_t)got);
  }
  return false;
}

static void press(const Terminal *t, const char *keys) {
  assert_int_equal(write(t->master, keys, strlen(keys)), strlen(keys));
}

// waits for the end; the exit code. The settings of the terminal are looked at before it goes away
static int finish(Terminal *t, const char *last) {
  if (!wait_for(t, last, 1)) fail_msg("no `%s` in:\n%.4000s", last, t->shown.data);
  int status;
  assert_int_equal(waitpid(t->child, &status, 0), t->child);
  assert_false(is_raw(t));
  // the cursor is there again, and the screen of before
  assert_non_null(strstr(t->shown.data, "\x1b[0m\x1b[?25h\x1b[?1049l"));
  close(t->master);
  cell_text_free(&t->shown);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char *const endless[] = {
    "cellc", "play", "minatar/breakout", "--episodes", "0", "--fps", "100", NULL};

static void terminal_is_given_back(void **unused) {
  (void)unused;
  static const struct {
    const char *keys;
    int signal, code;
  } ends[] = {{"q", 0, 0},          {"\x03", 0, 130},    {NULL, SIGINT, 130},
              {NULL, SIGTERM, 143}, {NULL, SIGHUP, 143}, {NULL, SIGABRT, 134}};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    Terminal t = begin(endless, "truecolor");
    assert_true(wait_for(&t, "step 2", 1));
    assert_true(is_raw(&t));
    assert_non_null(strstr(t.shown.data, "\x1b[?1049h\x1b[?25l"));
    assert_non_null(strstr(t.shown.data, "\x1b[48;2;224;128;58m")); // bricks
    if (ends[i].keys) {
      press(&t, ends[i].keys);
    } else {
      kill(t.child, ends[i].signal);
    }
    int code = finish(&t, ends[i].signal == SIGABRT ? "\x1b[?1049l" : "\x1b[?1049lepisode 0: ");
    assert_int_equal(code, ends[i].code);
  }
}

// reads until nothing is shown for a tenth of a second
static void wait_for_silence(Terminal *t) {
  for (int i = 0; i < 100; i++) {
    struct pollfd input = {.fd = t->master, .events = POLLIN};
    if (poll(&input, 1, 100) == 0) return;
    char data[4096];
    ssize_t got = read(t->master, data, sizeof data);
    assert_true(got > 0);
    cell_text_append(&t->shown, data, (size_t)got);
  }
  fail_msg("it goes on");
}

// frames begin at the upper left
static int frames_shown(const Terminal *t) {
  int count = 0;
  for (const char *at = t->shown.data; (at = strstr(at, "\x1b[H")); at++) count++;
  return count;
}

static void keys(void **unused) {
  (void)unused;
  Terminal t = begin(endless, "");
  assert_true(wait_for(&t, "step 1 ", 1));
  assert_non_null(strstr(t.shown.data, "\x1b[48;5;")); // 256 colours
  // paused nothing moves, but one step at a time
  press(&t, " ");
  wait_for_silence(&t);
  for (int i = 0; i < 3; i++) {
    int before = frames_shown(&t);
    press(&t, ".");
    assert_true(wait_for(&t, "\x1b[H", before + 1));
    wait_for_silence(&t);
    assert_int_equal(frames_shown(&t), before + 1);
  }
  // slower, which one hears while it goes on; the next episode
  press(&t, "----- ");
  assert_true(wait_for(&t, "\x1b[H", frames_shown(&t) + 2));
  press(&t, "n");
  assert_true(wait_for(&t, "episode 1  step 0", 1));
  press(&t, "q");
  assert_int_equal(finish(&t, "not to its end"), 0);
}

static void by_hand(void **unused) {
  (void)unused;
  static const char *const arguments[] = {"cellc", "play", "minatar/freeway", "--human", "--fps",
                                          "20",    NULL};
  Terminal t = begin(arguments, NULL);
  assert_true(wait_for(&t, "action noop", 3));
  assert_non_null(strstr(t.shown.data, "minatar/freeway   you"));
  assert_non_null(strstr(t.shown.data, "C chicken"));
  assert_null(strstr(t.shown.data, "\x1b[48;")); // NO_COLOR
  assert_null(strstr(t.shown.data, "action up"));
  // an arrow, a letter, a number; what is no action here does nothing
  press(&t, "\x1b[A");
  assert_true(wait_for(&t, "action up", 1));
  press(&t, "s");
  assert_true(wait_for(&t, "action down", 1));
  press(&t, "1");
  assert_true(wait_for(&t, "action up", 2));
  press(&t, "\x1b[C9 x");
  press(&t, "q");
  assert_int_equal(finish(&t, "not to its end"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_frames),
      cmocka_unit_test(runs),
      cmocka_unit_test(pictures),
      cmocka_unit_test(bad_input),
      cmocka_unit_test(terminal_is_given_back),
      cmocka_unit_test(keys),
      cmocka_unit_test(by_hand),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
