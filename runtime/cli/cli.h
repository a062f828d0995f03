/* cli.h - what the commands of cellc share: options, help, messages, exit codes.
 *
 * A command is a row of verbs.def and a file cli/cmd_NAME.c:
 *
 *   int cell_cmd_check(int argc, const char **argv) {
 *     int strict = 0;
 *     struct poptOption options[] = {
 *         {"strict", 0, POPT_ARG_NONE, &strict, 0, "warnings are errors", NULL}, POPT_TABLEEND};
 *     const CellCommand command = {.usage = "FILE",
 *                                  .about = "Reports every error of a cell file.",
 *                                  .options = options,
 *                                  .common = CELL_WITH_JSON | CELL_WITH_NETWORK,
 *                                  .least = 1, .most = 1};
 *     CellCli cli;
 *     int code = cell_cli_begin(&cli, &command, argc, argv);
 *     if (code >= 0) return code; // --help was asked for, or the usage is wrong
 *     ... cli.words[0] is FILE ...
 *     return cell_cli_end(&cli, CELL_EXIT_OK);
 *   }
 *
 * A POPT_ARG_STRING of a command's own table is a heap string, NULL at first, that the command frees
 * once cell_cli_begin has let it go on.
 *
 * Data goes to stdout, everything else to stderr. main() finds out whether stdout could be written;
 * a command only looks if it would otherwise go on for long (cell_cli_stdout_failed). */
#ifndef CELL_CLI_H
#define CELL_CLI_H

#include "ir/support.h"

#include <popt.h>

/* What cellc ends with. */
typedef enum {
  CELL_EXIT_OK = 0,
  CELL_EXIT_FAILED = 1,        /* the program or the run failed */
  CELL_EXIT_USAGE = 2,         /* the command line makes no sense */
  CELL_EXIT_MISSING = 3,       /* a device or a library is not there */
  CELL_EXIT_DIVERGED = 4,      /* the run diverged; the last good checkpoint was named */
  CELL_EXIT_MISMATCH = 5,      /* a comparison or a verification failed */
  CELL_EXIT_STOPPED = 75,      /* stopped on request after a checkpoint: put it back in the queue */
  CELL_EXIT_INTERRUPTED = 130, /* SIGINT before a checkpoint */
  CELL_EXIT_TERMINATED = 143   /* SIGTERM before a checkpoint */
} CellExit;

/* Groups of options that several commands take; every command takes --help and --color. */
enum {
  CELL_WITH_JSON = 1,   /* --json */
  CELL_WITH_NETWORK = 2 /* --set, --variant, --env, --obs, --actions, --import-path,
                           --error-format */
};

typedef struct {
  const char *usage;                /* what follows the verb: "FILE [--env NAME]"; "" for nothing */
  const char *about;                /* sentences for `cellc help VERB` */
  const struct poptOption *options; /* the command's own, may be NULL */
  unsigned common;                  /* CELL_WITH_... */
  int least, most;                  /* words besides options; most < 0: any number */
} CellCommand;

/* A parsed command line. All strings live until cell_cli_end. */
typedef struct {
  const char *verb;
  const char **words; /* what is no option, in order; NULL behind the last */
  int word_count;
  bool json;
  bool colour; /* whether stderr should be coloured */
  bool errors_as_json;
  const char **sets; /* "path=value", in order, lines of `--set @FILE` included; NULL at the end */
  int set_count;
  const char **variants, **import_paths; /* in order; NULL at the end */
  int variant_count, import_path_count;
  const char *env, *obs, *actions; /* NULL where not given */
  CellArena *arena;
  poptContext context;
  const struct poptOption *unclaimed; /* the command's own, until it goes on */
} CellCli;

/* Parses argv (argv[0] is the verb). Returns -1 to go on, otherwise the code to end with: 0 after
 * --help, 2 after a message about the usage; `cli` then holds nothing. */
int cell_cli_begin(CellCli *cli, const CellCommand *command, int argc, const char **argv);
/* Releases what `cli` holds and returns `code`. */
int cell_cli_end(CellCli *cli, int code);

/* Prints `cellc VERB: message` and where to read on; releases `cli` and returns CELL_EXIT_USAGE. */
int cell_cli_usage(CellCli *cli, const char *format, ...) CELL_PRINTF(2, 3);
/* Prints `cellc VERB: message`, releases `cli` and returns `code`. */
int cell_cli_fail(CellCli *cli, int code, const char *format, ...) CELL_PRINTF(3, 4);
/* Prints the records of `diag` to stderr: as text, or, with --error-format=json, as one document
 * {"schema": "cellc.diagnostics.1", "errors": N, "warnings": N, "diagnostics": [...]}, which is
 * there even when it is empty. Returns CELL_EXIT_FAILED if there are errors, CELL_EXIT_MISSING if what
 * runs kernels is not there, else CELL_EXIT_OK. */
int cell_cli_report(const CellCli *cli, const CellDiag *diag);

/* Whether a write to stdout has failed (a closed pipe, a full disk); main() prints the message. */
bool cell_cli_stdout_failed(void);

/* A count as people write it: 512, 4e6, 0.5e6, 50_000. False unless `text` is a whole number from 0
 * to 2^53. For options of type POPT_ARG_STRING. */
bool cell_cli_count(const char *text, int64_t *count);

/* The verbs. */
#define VERB(name, summary) int cell_cmd_##name(int argc, const char **argv);
#include "runtime/cli/verbs.def"
#undef VERB

#endif
