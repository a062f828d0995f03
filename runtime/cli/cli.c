/* cli.c - see cli.h */
#include "runtime/cli/cli.h"
#include "codegen/codegen.h"
#include "runtime/dmc.h"
#include "runtime/files.h"
#include "runtime/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* what popt's callbacks-free parsing leaves for us to look at */
typedef struct {
  int help, json;
  const char *colour, *error_format;
  const char **sets, **variants, **import_paths;
  const char *env, *obs, *actions;
} Raw;

/* ---- the tables ---- */

enum { MOST_TABLES = 5 };

/* The tables of one command, built from its own options and the groups that it takes. */
typedef struct {
  struct poptOption help[3], json[2], network[8], own[1], all[MOST_TABLES];
} Tables;

static void build_tables(Tables *tables, Raw *raw, const CellCommand *command) {
  const struct poptOption end = POPT_TABLEEND;
  const struct poptOption help[] = {
      {"help", 'h', POPT_ARG_NONE, &raw->help, 0, "show this", NULL},
      {"color", 0, POPT_ARG_STRING, &raw->colour, 0,
       "colour messages: always, never, or auto: on a terminal, unless NO_COLOR is set", "WHEN"},
      end};
  const struct poptOption json[] = {
      {"json", 0, POPT_ARG_NONE, &raw->json, 0, "print one JSON document", NULL}, end};
  const struct poptOption network[] = {
      {"set", 0, POPT_ARG_ARGV, &raw->sets, 0,
       "set what a dotted path names, such as train.batch=64; @FILE: one per line", "PATH=VALUE"},
      {"variant", 0, POPT_ARG_ARGV, &raw->variants, 0, "apply a variant of the file", "NAME"},
      {"env", 0, POPT_ARG_STRING, &raw->env, 0, "the environment to fit, such as minatar/breakout",
       "NAME"},
      {"obs", 0, POPT_ARG_STRING, &raw->obs, 0,
       "instead of --env: the observation's shape, such as 20 or 10x10x4:bits", "SHAPE"},
      {"actions", 0, POPT_ARG_STRING, &raw->actions, 0,
       "instead of --env: the number of actions, such as 6 or 64:bits", "N"},
      {"import-path", 0, POPT_ARG_ARGV, &raw->import_paths, 0, "allow imports from this folder too",
       "FOLDER"},
      {"error-format", 0, POPT_ARG_STRING, &raw->error_format, 0, "print errors as text or json",
       "FORMAT"},
      end};
  memcpy(tables->help, help, sizeof help);
  memcpy(tables->json, json, sizeof json);
  memcpy(tables->network, network, sizeof network);
  tables->own[0] = end;

  const struct poptOption *own = command->options ? command->options : tables->own;
  const struct poptOption *groups[MOST_TABLES - 1] = {own, NULL, NULL, tables->help};
  if (command->common & CELL_WITH_NETWORK) groups[1] = tables->network;
  if (command->common & CELL_WITH_JSON) groups[2] = tables->json;
  int count = 0;
  for (int i = 0; i < MOST_TABLES - 1; i++)
    if (groups[i])
      tables->all[count++] = (struct poptOption){
          NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)groups[i], 0, NULL, NULL};
  tables->all[count] = end;
}

static bool is_end(const struct poptOption *option) {
  return !option->longName && !option->shortName && !option->arg;
}

/* ---- help ---- */

/* prints `text` from `column` on, broken at spaces before column 100 */
static void put_wrapped(FILE *out, const char *text, int column) {
  int at = column;
  while (*text) {
    int length = (int)strcspn(text, " \n");
    if (at > column && at + 1 + length > 100) {
      fprintf(out, "\n%*s", column, "");
      at = column;
    } else if (at > column) {
      fputc(' ', out);
      at++;
    }
    fprintf(out, "%.*s", length, text);
    at += length;
    text += length;
    if (*text) text++;
  }
  fputc('\n', out);
}

static void put_options(FILE *out, const struct poptOption *table) {
  for (const struct poptOption *o = table; !is_end(o); o++) {
    unsigned kind = o->argInfo & POPT_ARG_MASK;
    if (kind == POPT_ARG_INCLUDE_TABLE) {
      put_options(out, o->arg);
      continue;
    }
    if (o->argInfo & POPT_ARGFLAG_DOC_HIDDEN) continue;
    char name[80] = "";
    int length = o->shortName ? snprintf(name, sizeof name, "  -%c", o->shortName)
                              : snprintf(name, sizeof name, "    ");
    if (o->longName)
      length += snprintf(name + length, sizeof name - (size_t)length, "%s--%s",
                         o->shortName ? ", " : "  ", o->longName);
    if (o->argDescrip && length < (int)sizeof name)
      snprintf(name + length, sizeof name - (size_t)length, " %s", o->argDescrip);
    fprintf(out, "%-32s", name);
    if (strlen(name) > 30) fprintf(out, "\n%32s", "");
    put_wrapped(out, o->descrip ? o->descrip : "", 32);
  }
}

static void print_help(FILE *out, const char *verb, const CellCommand *command,
                       const struct poptOption *table) {
  fprintf(out, "usage: cellc %s%s%s [options]\n\n", verb, *command->usage ? " " : "",
          command->usage);
  put_wrapped(out, command->about, 0);
  fputc('\n', out);
  put_options(out, table);
}

/* ---- words ---- */

/* which of the given words `text` is, `otherwise` where it is NULL, -1 if none of them */
static int which(const char *text, const char *const *words, int count, int otherwise) {
  if (!text) return otherwise;
  for (int i = 0; i < count; i++)
    if (strcmp(text, words[i]) == 0) return i;
  return -1;
}

/* ---- messages ---- */

static void put_message(const char *verb, const char *format, va_list arguments) {
  fprintf(stderr, "cellc %s: ", verb);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
}

int cell_cli_usage(CellCli *cli, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  put_message(cli->verb, format, arguments);
  va_end(arguments);
  fprintf(stderr, "`cellc help %s` shows what it takes\n", cli->verb);
  return cell_cli_end(cli, CELL_EXIT_USAGE);
}

int cell_cli_fail(CellCli *cli, int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  put_message(cli->verb, format, arguments);
  va_end(arguments);
  return cell_cli_end(cli, code);
}

/* what runs kernels or physics is not there: no fault of the program that was to run */
static bool is_missing(const CellRecord *r) {
  static const char *const codes[] = {CELL_E_PROVIDER, CELL_E_ISA, CELL_E_MUJOCO, CELL_E_NVRTC,
                                      CELL_E_DRIVER};
  return which(r->code, codes, 5, -1) >= 0;
}

int cell_cli_report(const CellCli *cli, const CellDiag *diag) {
  if (cli->errors_as_json)
    cell_json_print(json_pack("{s:s, s:i, s:i, s:o}", "schema", "cellc.diagnostics.1", "errors",
                              diag->error_count, "warnings", diag->warning_count, "diagnostics",
                              cell_json_diagnostics(diag)),
                    stderr);
  else
    cell_diag_print(diag, stderr, cli->colour);
  for (int i = 0; i < diag->record_count; i++)
    if (is_missing(&diag->records[i])) return CELL_EXIT_MISSING;
  return diag->error_count ? CELL_EXIT_FAILED : CELL_EXIT_OK;
}

/* ---- parsing ---- */

static int collect_names(const struct poptOption *table, const char **names, int count, int room) {
  for (const struct poptOption *o = table; !is_end(o); o++) {
    if ((o->argInfo & POPT_ARG_MASK) == POPT_ARG_INCLUDE_TABLE)
      count = collect_names(o->arg, names, count, room);
    else if (o->longName && !(o->argInfo & POPT_ARGFLAG_DOC_HIDDEN) && count < room)
      names[count++] = o->longName;
  }
  return count;
}

static int report_bad_option(CellCli *cli, const struct poptOption *table, int error) {
  const char *option = poptBadOption(cli->context, POPT_BADOPTION_NOALIAS);
  const char *name = option + strspn(option, "-");
  char bare[64];
  snprintf(bare, sizeof bare, "%.*s", (int)strcspn(name, "="), name);
  if (error == POPT_ERROR_BADOPT) {
    const char *names[128];
    const char *nearest = cell_nearest(bare, names, collect_names(table, names, 0, 128));
    if (nearest && strncmp(option, "--", 2) == 0)
      return cell_cli_usage(cli, "there is no option `%s`; did you mean `--%s`?", option, nearest);
    return cell_cli_usage(cli, "there is no option `%s`", option);
  }
  if (error == POPT_ERROR_NOARG) return cell_cli_usage(cli, "`%s` needs a value", option);
  if (error == POPT_ERROR_UNWANTEDARG) return cell_cli_usage(cli, "`%s` takes no value", option);
  if (error == POPT_ERROR_BADNUMBER)
    return cell_cli_usage(cli, "`%s` is no number that fits here", option);
  return cell_cli_usage(cli, "`%s`: %s", option, poptStrerror(error));
}

/* takes over popt's heap list: the strings move into the arena */
static const char **take_list(CellCli *cli, const char **list, int *count) {
  const char **items = NULL;
  int capacity = 0;
  *count = 0;
  for (int i = 0; list && list[i]; i++) {
    CELL_PUSH(cli->arena, items, *count, capacity, cell_arena_strdup(cli->arena, list[i]));
    free((void *)(uintptr_t)list[i]);
  }
  CELL_PUSH(cli->arena, items, *count, capacity, NULL);
  --*count;
  free((void *)list);
  return items;
}

/* the lines `path = value` of a file, as `path=value`; empty ones and comments are left out */
static bool read_settings(CellCli *cli, const char *path, int *capacity) {
  CellDiag *diag = cell_diag_create();
  size_t length;
  char *text = cell_read_file(path, CELL_SOURCE_LIMIT, &length, diag);
  if (!text) cell_diag_print(diag, stderr, cli->colour);
  cell_diag_destroy(diag);
  if (!text) return false;
  for (char *line = text; *line;) {
    size_t whole = strcspn(line, "\n");
    char *next = line + whole + (line[whole] ? 1 : 0);
    char *end = line + whole;
    while (line < end && isspace((unsigned char)*line)) line++;
    while (end > line && isspace((unsigned char)end[-1])) end--;
    char *equals = memchr(line, '=', (size_t)(end - line));
    if (end > line && *line != '#') {
      char *left = equals ? equals : end, *right = equals ? equals + 1 : end;
      while (left > line && isspace((unsigned char)left[-1])) left--;
      while (right < end && isspace((unsigned char)*right)) right++;
      const char *setting = cell_arena_printf(cli->arena, "%.*s%s%.*s", (int)(left - line), line,
                                              equals ? "=" : "", (int)(end - right), right);
      CELL_PUSH(cli->arena, cli->sets, cli->set_count, *capacity, setting);
    }
    line = next;
  }
  free(text);
  return true;
}

/* expands `@FILE`; false after a message */
static bool expand_sets(CellCli *cli, const char **given, int count) {
  int capacity = 0;
  for (int i = 0; i < count; i++) {
    if (given[i][0] == '@') {
      if (!read_settings(cli, given[i] + 1, &capacity)) return false;
    } else {
      CELL_PUSH(cli->arena, cli->sets, cli->set_count, capacity, given[i]);
    }
  }
  for (int i = 0; i < cli->set_count; i++)
    if (!strchr(cli->sets[i], '=')) {
      cell_cli_usage(cli, "`--set %s` wants PATH=VALUE", cli->sets[i]);
      return false;
    }
  CELL_PUSH(cli->arena, cli->sets, cli->set_count, capacity, NULL);
  cli->set_count--;
  return true;
}

/* a copy of one of popt's heap strings, in the arena; NULL stays NULL */
static const char *take_string(CellCli *cli, const char *text) {
  const char *copy = text ? cell_arena_strdup(cli->arena, text) : NULL;
  free((void *)(uintptr_t)text);
  return copy;
}

int cell_cli_begin(CellCli *cli, const CellCommand *command, int argc, const char **argv) {
  Raw raw = {0};
  Tables tables;
  build_tables(&tables, &raw, command);
  *cli = (CellCli){.verb = argv[0], .arena = cell_arena_create()};
  cli->context = poptGetContext("cellc", argc, argv, tables.all, 0);
  cli->unclaimed = command->options;

  int error = poptGetNextOpt(cli->context);
  // popt hands back the value of options that have one in their table
  while (error > 0) error = poptGetNextOpt(cli->context);

  // what popt gave us is ours now, also after an error; a command's own strings are its to free
  const char *colour = take_string(cli, raw.colour);
  const char *error_format = take_string(cli, raw.error_format);
  cli->env = take_string(cli, raw.env);
  cli->obs = take_string(cli, raw.obs);
  cli->actions = take_string(cli, raw.actions);
  cli->variants = take_list(cli, raw.variants, &cli->variant_count);
  cli->import_paths = take_list(cli, raw.import_paths, &cli->import_path_count);
  cli->json = raw.json;

  int given_count;
  const char **given = take_list(cli, raw.sets, &given_count);

  if (error < -1) return report_bad_option(cli, tables.all, error);
  if (raw.help) {
    print_help(stdout, cli->verb, command, tables.all);
    return cell_cli_end(cli, CELL_EXIT_OK);
  }

  static const char *const colours[] = {"never", "always", "auto"};
  static const char *const formats[] = {"text", "json"};
  int colour_choice = which(colour, colours, 3, 2);
  if (colour_choice < 0)
    return cell_cli_usage(cli, "`--color %s` is none of auto, always, never", colour);
  const char *no_colour = getenv("NO_COLOR");
  cli->colour =
      colour_choice == 2 ? isatty(STDERR_FILENO) && !(no_colour && *no_colour) : colour_choice;
  int format = which(error_format, formats, 2, 0);
  if (format < 0)
    return cell_cli_usage(cli, "`--error-format %s` is neither text nor json", error_format);
  cli->errors_as_json = format == 1;
  if (cli->env && (cli->obs || cli->actions))
    return cell_cli_usage(cli, "`--env` already gives the observation and the actions: it goes "
                               "without --obs and --actions");
  if (!expand_sets(cli, given, given_count)) {
    if (cli->context) cell_cli_end(cli, CELL_EXIT_USAGE);
    return CELL_EXIT_USAGE;
  }

  static const char *none[] = {NULL};
  cli->words = poptGetArgs(cli->context);
  if (!cli->words) cli->words = none;
  while (cli->words[cli->word_count]) cli->word_count++;
  if (cli->word_count < command->least)
    return cell_cli_usage(cli, "something is missing: cellc %s %s", cli->verb, command->usage);
  if (command->most >= 0 && cli->word_count > command->most)
    return cell_cli_usage(cli, "`%s` is one word too many", cli->words[command->most]);
  cli->unclaimed = NULL;
  return -1;
}

/* the strings of a command that will not see them */
static void free_strings(const struct poptOption *table) {
  for (const struct poptOption *o = table; !is_end(o); o++) {
    unsigned kind = o->argInfo & POPT_ARG_MASK;
    if (kind == POPT_ARG_INCLUDE_TABLE) free_strings(o->arg);
    if (kind != POPT_ARG_STRING) continue;
    free(*(char **)o->arg);
    *(char **)o->arg = NULL;
  }
}

int cell_cli_end(CellCli *cli, int code) {
  if (cli->unclaimed) free_strings(cli->unclaimed);
  if (cli->context) poptFreeContext(cli->context);
  cell_arena_destroy(cli->arena);
  cli->context = NULL;
  cli->arena = NULL;
  cli->unclaimed = NULL;
  return code;
}

bool cell_cli_count(const char *text, int64_t *count) {
  // strtod would also take blanks, signs, hexadecimal and "inf"
  char digits[64];
  size_t length = 0;
  for (const char *p = text; *p; p++) {
    if (*p == '_' && p > text && isdigit((unsigned char)p[-1])) continue;
    if (!isdigit((unsigned char)*p) && !strchr(".eE+", *p)) return false;
    if (length + 1 >= sizeof digits) return false;
    digits[length++] = *p;
  }
  digits[length] = 0;
  if (!isdigit((unsigned char)digits[0])) return false;
  char *end;
  double value = strtod(digits, &end);
  if (*end || value > 9007199254740992.0 || value != (double)(int64_t)value) return false;
  *count = (int64_t)value;
  return true;
}
