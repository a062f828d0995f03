/* watch.h - what `play` and `render` share: what is watched, and for how long. */
#ifndef CELL_WATCH_H
#define CELL_WATCH_H

#include "runtime/cli/cli.h"
#include "runtime/draw.h"
#include "runtime/policy.h"

/* As given on the command line; zero where not given. */
typedef struct {
  const char *env, *seed, *epsilon, *episodes, *max_steps, *threads, *backend;
} CellWatchWords;

enum { CELL_WATCH_OPTIONS = 8 };

/* The options of both commands, for a table to include (POPT_ARG_INCLUDE_TABLE). */
void cell_watch_options(CellWatchWords *words, struct poptOption table[CELL_WATCH_OPTIONS]);

/* Moves popt's strings to the arena of `cli`; the first thing to do with them. */
void cell_watch_claim(CellCli *cli, CellWatchWords *words);

typedef struct {
  const char *who; /* the run's folder without what leads to it, or "random actions" */
  const CellEnvKind *env;
  CellPolicy policy; /* of a run; else empty */
  CellPlay *play;    /* one slot */
  int64_t episodes;  /* 0: without end */
} CellWatch;

/* Opens what the one word of `cli` or --env names: the folder of a run, whose policy then acts, or an
 * environment, with random actions. `max_steps` holds where --max-steps is not given, 0: never cut.
 * Returns -1, or the code to end with; `cli` is then released and messages are printed. */
int cell_watch_open(CellCli *cli, const CellWatchWords *words, int64_t max_steps, CellWatch *watch);
void cell_watch_close(CellWatch *watch);

/* The name of an action; where it is a choice of an end for each component, their signs in order (`+-+`);
 * else its number. `room` may hold the text. */
const char *cell_watch_action(const CellEnvKind *env, int action, char room[16]);

#endif
