/* main.c - the program: finds the command, and sees that what it printed arrived. */
#include "runtime/cli/cli.h"
#include "runtime/json.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  const char *name, *summary;
  int (*run)(int argc, const char **argv);
} Verb;

static const Verb verbs[] = {
#define VERB(name, summary) {#name, summary, cell_cmd_##name},
#include "runtime/cli/verbs.def"
#undef VERB
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static const Verb *find_verb(const char *name) {
  for (int i = 0; i < VERBS; i++)
    if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
  return NULL;
}

static int unknown_verb(const char *name) {
  const char *names[VERBS];
  for (int i = 0; i < VERBS; i++) names[i] = verbs[i].name;
  const char *nearest = cell_nearest(name, names, VERBS);
  fprintf(stderr, "cellc: there is no command `%s`", name);
  if (nearest) fprintf(stderr, "; did you mean `%s`?", nearest);
  fprintf(stderr, "\n`cellc help` lists the commands\n");
  return CELL_EXIT_USAGE;
}

static void print_overview(FILE *out) {
  fprintf(out, "cellc compiles and trains networks of cells that learn locally.\n\n"
               "usage: cellc COMMAND [FILE | RUN] [options]\n\n");
  for (int i = 0; i < VERBS; i++) fprintf(out, "  %-12s%s\n", verbs[i].name, verbs[i].summary);
  fprintf(out, "\n`cellc help COMMAND` shows what a command takes.\n");
}

/* ---- the two commands that are about cellc itself ---- */

int cell_cmd_help(int argc, const char **argv) {
  const CellCommand command = {
      .usage = "[COMMAND]", .about = "Lists the commands, or shows what one takes.", .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  if (cli.word_count == 0) {
    print_overview(stdout);
  } else {
    const Verb *verb = find_verb(cli.words[0]);
    const char *arguments[] = {cli.words[0], "--help", NULL};
    code = verb ? verb->run(2, arguments) : unknown_verb(cli.words[0]);
  }
  return cell_cli_end(&cli, code < 0 ? CELL_EXIT_OK : code);
}

int cell_cmd_version(int argc, const char **argv) {
  const CellCommand command = {.usage = "",
                               .about = "Prints the version of cellc and of its compiler.",
                               .common = CELL_WITH_JSON};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  if (cli.json)
    cell_json_print(json_pack("{s:s, s:s, s:s}", "schema", "cellc.version.1", "version",
                              CELLC_VERSION, "compiler", CELLC_COMPILER),
                    stdout);
  else
    printf("cellc %s (%s)\n", CELLC_VERSION, CELLC_COMPILER);
  return cell_cli_end(&cli, CELL_EXIT_OK);
}

/* ---- main ---- */

/* A descriptor that the caller has closed must not become a file that a command opens: hold it with
 * one that cannot be used in its direction. */
static void hold_descriptors(void) {
  for (int descriptor = 0; descriptor < 3; descriptor++)
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
      // the lowest free descriptor is this one
      if (open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) < 0) return;
}

bool cell_cli_stdout_failed(void) {
  return ferror(stdout) != 0;
}

/* output that did not arrive is a failure, whatever the command thought */
static int finish(int code) {
  errno = 0;
  bool failed = ferror(stdout) != 0;
  if (fflush(stdout) != 0) failed = true;
  if (!failed) return code;
  fprintf(stderr, "cellc: cannot write to standard output%s%s\n", errno ? ": " : "",
          errno ? strerror(errno) : "");
  return code == CELL_EXIT_OK ? CELL_EXIT_FAILED : code;
}

/* A thread that waits for another spins for a moment, then sleeps. libgomp would spin for milliseconds, which
 * takes the cores from a second run beside this one: a small update then takes ten times as long. libgomp reads
 * its settings before main begins, so the program starts itself again, once; without /proc it goes on as it is. */
static void wait_briefly(char **argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  // by its own path, under whose name the process is then listed
  char *path = realpath("/proc/self/exe", NULL);
  if (path && setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv(path, argv);
  free(path);
}

int main(int argc, char **argv) {
  wait_briefly(argv);
  hold_descriptors();
  signal(SIGPIPE, SIG_IGN); // a closed pipe is a failed write, not a death
  signal(SIGXFSZ, SIG_IGN); // so is a file that may not grow
  setlocale(LC_CTYPE, "");  // popt measures its help with it; numbers stay as in C

  if (argc < 2) {
    print_overview(stderr);
    return CELL_EXIT_USAGE;
  }
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
  if (strcmp(name, "--version") == 0) name = "version";
  const Verb *verb = find_verb(name);
  if (!verb) return unknown_verb(name);
  argv[1] = (char *)(uintptr_t)name;
  return finish(verb->run(argc - 1, (const char **)(argv + 1)));
}
