/* terminal.c - the terminal as a screen and a keyboard. */
#include "runtime/cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

// what signal handlers need is here; they only call what POSIX lets them
static struct termios saved;
static volatile sig_atomic_t is_open, has_keys, asked;

static const char enter[] = "\x1b[?1049h\x1b[?25l\x1b[2J";
static const char leave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

static void write_all(const char *data, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, data, length);
    if (written < 0 && errno != EINTR) return;
    if (written > 0) data += written, length -= (size_t)written;
  }
}

bool cell_terminal_there(bool keys) {
  return isatty(STDOUT_FILENO) && (!keys || isatty(STDIN_FILENO));
}

void cell_terminal_close(void) {
  if (!is_open) return;
  is_open = 0;
  write_all(leave, sizeof leave - 1);
  if (has_keys) tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static void on_stop(int number) {
  asked = number;
}

// the program dies of it, but not before the terminal is given back
static void on_crash(int number) {
  cell_terminal_close();
  signal(number, SIG_DFL);
  raise(number);
}

bool cell_terminal_open(void) {
  static bool registered;
  if (!isatty(STDOUT_FILENO)) return false;
  if (!registered) atexit(cell_terminal_close);
  registered = true;
  has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
  const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  const int crashes[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
  struct sigaction action = {.sa_handler = on_stop}; // no SA_RESTART: waiting ends
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) sigaction(stops[i], &action, NULL);
  action.sa_handler = on_crash;
  for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
    sigaction(crashes[i], &action, NULL);
  }
  fflush(stdout);
  is_open = 1;
  if (has_keys) {
    struct termios raw = saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0, raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] =
        _POSIX_VDISABLE; // stopped in this state the shell would get a broken terminal
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  write_all(enter, sizeof enter - 1);
  return true;
}

void cell_terminal_size(int *columns, int *rows) {
  struct winsize size;
  *columns = 80, *rows = 24;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 1 || size.ws_row < 1) return;
  *columns = size.ws_col, *rows = size.ws_row;
}

// every line is cleared behind its end, and the screen behind the last one; one write, so that no
// half of a frame is seen
void cell_terminal_show(const CellText *frame) {
  CellText out = {0};
  cell_text_append(&out, "\x1b[H", 3);
  for (size_t at = 0; at < frame->length;) {
    size_t length = strcspn(frame->data + at, "\n");
    cell_text_append(&out, frame->data + at, length);
    at += length + 1;
    cell_text_printf(&out, at < frame->length ? "\x1b[K\r\n" : "\x1b[K\x1b[J");
  }
  write_all(out.data, out.length);
  cell_text_free(&out);
}

double cell_terminal_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// waits for input until then; false when none came
static bool wait_for_input(double until) {
  double left = until - cell_terminal_now();
  if (left < 0) left = 0;
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&input, has_keys ? 1 : 0, (int)(1000 * left + 0.999)) > 0;
}

static int read_byte(void) {
  unsigned char byte;
  ssize_t got = read(STDIN_FILENO, &byte, 1);
  if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) asked = SIGHUP;
  return got == 1 ? byte : CELL_KEY_NONE;
}

int cell_terminal_key(double until) {
  if (asked || !wait_for_input(until) || asked) return CELL_KEY_NONE;
  int key = read_byte();
  if (key != 27) return key;
  // what an arrow sends comes at once: ESC [ A, or ESC O A
  double soon = cell_terminal_now() + 0.01;
  if (!wait_for_input(soon)) return CELL_KEY_NONE;
  key = read_byte();
  if ((key != '[' && key != 'O') || !wait_for_input(soon)) return CELL_KEY_NONE;
  switch (read_byte()) {
  case 'A': return CELL_KEY_UP;
  case 'B': return CELL_KEY_DOWN;
  case 'C': return CELL_KEY_RIGHT;
  case 'D': return CELL_KEY_LEFT;
  default: return CELL_KEY_NONE;
  }
}

int cell_terminal_signal(void) {
  return asked == SIGQUIT ? SIGINT : asked;
}
