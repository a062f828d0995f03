/* trace.c - runs an environment on generated or recorded actions and prints or digests the run. */
#include "runtime/trace.h"

#include "runtime/minatar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OBSERVATION_EVERY = 500 };

/* ---- FNV-1a, 64 bits ---- */

#define FNV_START UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

static uint64_t fnv_byte(uint64_t hash, uint8_t byte) {
  return (hash ^ byte) * FNV_PRIME;
}

// one byte 0 or 1 an element; a zero only multiplies, so eight zeros multiply by the eighth power
static uint64_t fnv_bits(uint64_t hash, const uint32_t *words, int count) {
  const uint64_t square = FNV_PRIME * FNV_PRIME, eighth = square * square * square * square;
  for (int begin = 0; begin < count; begin += 8) {
    int length = count - begin < 8 ? count - begin : 8;
    unsigned bits = words[begin / 32] >> (begin % 32) & 0xFFU;
    if (bits == 0 && length == 8) {
      hash *= eighth;
      continue;
    }
    for (int i = 0; i < length; i++) hash = fnv_byte(hash, bits >> i & 1U);
  }
  return hash;
}

/* ---- the run ---- */

typedef struct {
  const CellTrace *trace;
  void *state;
  uint32_t *words, *last; /* the current observation; that of the last frame before a reset */
  uint64_t generator;     /* of actions */
  int64_t step;           /* number of steps done */
  CellTraceSum sum;
} Run;

static void observe(Run *run) {
  run->trace->kind->observe(run->trace->kind, run->state, run->words);
}

static uint64_t hash_observation(const Run *run, uint64_t hash) {
  return fnv_bits(hash, run->words, run->trace->kind->observation.count);
}

static Run run_begin(const CellTrace *trace) {
  const CellEnvKind *kind = trace->kind;
  CELL_ASSERT(cell_minatar_is(kind));
  Run run = {.trace = trace, .generator = trace->seed, .sum.digest = FNV_START};
  run.state = cell_malloc(kind->state_bytes);
  run.words = cell_malloc((size_t)cell_env_words(kind) * sizeof *run.words);
  cell_env_start(kind, run.state, trace->settings, trace->seed);
  run.last = cell_malloc((size_t)cell_env_words(kind) * sizeof *run.last);
  observe(&run);
  return run;
}

static void run_end(Run *run) {
  free(run->state);
  free(run->words);
  free(run->last);
}

static uint64_t next_number(uint64_t *generator) {
  *generator = UINT64_C(6364136223846793005) * *generator + UINT64_C(1442695040888963407);
  return *generator >> 33;
}

static int next_action(Run *run) {
  const CellTrace *trace = run->trace;
  if (trace->actions) return trace->actions[run->step];
  uint64_t number = next_number(&run->generator);
  if (!trace->minimal) return (int)(number % CELL_MINATAR_ACTIONS);
  return cell_minatar_minimal_set(trace->kind)[number % (uint64_t)trace->kind->actions.count];
}

// acts and observes, without the reset that may have to follow
static CellEnvStep run_step(Run *run, int action) {
  CellEnvStep step = cell_minatar_step(run->trace->kind, run->state, action);
  observe(run);
  run->step++;
  run->sum.steps++;
  run->sum.reward += (int64_t)step.reward;
  run->sum.episodes += step.terminated;
  return step;
}

static void run_reset(Run *run) {
  run->trace->kind->reset(run->trace->kind, run->state);
  observe(run);
}

CellTraceSum cell_trace_sum(const CellTrace *trace) {
  Run run = run_begin(trace);
  uint64_t hash = hash_observation(&run, FNV_START);
  while (run.step < trace->steps) {
    int action = next_action(&run);
    CellEnvStep step = run_step(&run, action);
    hash = fnv_byte(hash, (uint8_t)action);
    hash = fnv_byte(hash, (uint8_t)step.reward);
    hash = fnv_byte(hash, step.terminated);
    hash = hash_observation(&run, hash);
    if (!step.terminated) continue;
    run_reset(&run);
    hash = hash_observation(&run, hash);
  }
  run.sum.digest = hash;
  run_end(&run);
  return run.sum;
}

/* ---- printing ---- */

// the shortest decimal that reads back as the same double, with a point: 0.0, 0.1, 0.25
static void print_decimal(char text[32], double value) {
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, 32, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  if (!strpbrk(text, ".e")) snprintf(text, 32, "%.1f", value);
}

static double setting(const CellTrace *trace, int index) {
  return trace->settings ? trace->settings[index] : trace->kind->settings[index].initial;
}

static const char *on_or_off(const CellTrace *trace) {
  return setting(trace, CELL_MINATAR_RAMPING) != 0 ? "on" : "off";
}

// elements 8 to a byte, the first in the highest bit
static bool print_observation(const Run *run, const uint32_t *words, FILE *out) {
  int count = run->trace->kind->observation.count;
  if (fprintf(out, "O,%" PRId64 ",", run->step) < 0) return false;
  for (int begin = 0; begin < count; begin += 8) {
    unsigned byte = 0;
    for (int i = begin; i < begin + 8 && i < count; i++) {
      byte |= (words[i / 32] >> (i % 32) & 1U) << (7 - (i - begin));
    }
    if (fprintf(out, "%02x", byte) < 0) return false;
  }
  return fputc('\n', out) != EOF;
}

static bool print_head(const CellTrace *trace, FILE *out) {
  char sticky[32];
  print_decimal(sticky, setting(trace, CELL_MINATAR_STICKY));
  return fprintf(out,
                 "# MinAtar reference trace, format 1\n"
                 "# game=%s seed=%" PRIu32 " sticky=%s ramping=%s steps=%" PRId64 " actions=%s%s\n"
                 "# columns: action,reward,terminal,hash,executed[,reset_hash]; "
                 "O rows: O,step,packed_observation\n",
                 cell_minatar_game_name(trace->kind), trace->seed, sticky, on_or_off(trace),
                 trace->steps, trace->actions ? "recorded" : "lcg",
                 trace->minimal && !trace->actions ? " action_set=minimal" : "") >= 0;
}

// the step's line ends with what follows a reset; the observation's line shows what came before
static bool print_step(Run *run, FILE *out) {
  int action = next_action(run);
  CellEnvStep step = run_step(run, action);
  if (fprintf(out, "%d,%.0f,%d,%016" PRIx64 ",%d", action, step.reward, step.terminated,
              hash_observation(run, FNV_START), cell_minatar_executed(run->state)) < 0) {
    return false;
  }
  bool shown = run->step % OBSERVATION_EVERY == 0;
  if (!step.terminated)
    return fputc('\n', out) != EOF && (!shown || print_observation(run, run->words, out));

  memcpy(run->last, run->words, (size_t)cell_env_words(run->trace->kind) * sizeof *run->words);
  run_reset(run);
  if (fprintf(out, ",%016" PRIx64 "\n", hash_observation(run, FNV_START)) < 0) return false;
  return !shown || print_observation(run, run->last, out);
}

bool cell_trace_print(const CellTrace *trace, FILE *out) {
  Run run = run_begin(trace);
  bool fine = print_head(trace, out) && print_observation(&run, run.words, out);
  while (fine && run.step < trace->steps) fine = print_step(&run, out);
  fine = fine && fprintf(out, "# end episodes=%" PRId64 " total_reward=%" PRId64 "\n",
                         run.sum.episodes, run.sum.reward) >= 0;
  int reason = errno;
  run_end(&run);
  errno = reason;
  return fine;
}

bool cell_trace_print_digest(const CellTrace *trace, FILE *out) {
  CellTraceSum sum = cell_trace_sum(trace);
  char sticky[32];
  print_decimal(sticky, setting(trace, CELL_MINATAR_STICKY));
  return fprintf(out,
                 "%s,%" PRIu32 ",%s,%s,%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%016" PRIx64 "\n",
                 cell_minatar_game_name(trace->kind), trace->seed, sticky, on_or_off(trace),
                 trace->minimal ? "minimal" : "full", sum.steps, sum.episodes, sum.reward,
                 sum.digest) >= 0;
}

/* ---- a table ---- */

static bool print_table_head(const CellEnvKind *kind, FILE *out) {
  const CellEnvObservation *o = &kind->observation;
  fprintf(out, "step,action,reward,terminated,truncated");
  for (int i = 0; i < o->count; i++) {
    if (o->channels && o->rank == 1) {
      fprintf(out, ",%s", o->channels[i]);
    } else {
      fprintf(out, ",o%d", i);
    }
  }
  return fputc('\n', out) != EOF;
}

static bool print_values(const CellEnvKind *kind, const void *state, float *values, FILE *out) {
  cell_env_observe_floats(kind, state, values);
  for (int i = 0; i < kind->observation.count; i++) fprintf(out, ",%.17g", (double)values[i]);
  return fputc('\n', out) != EOF;
}

bool cell_trace_print_table(const CellTrace *trace, FILE *out) {
  const CellEnvKind *kind = trace->kind;
  CELL_ASSERT(kind->actions.count > 0);
  void *state = cell_malloc(kind->state_bytes);
  float *values = cell_malloc((size_t)kind->observation.count * sizeof *values);
  uint64_t generator = trace->seed;
  cell_env_start(kind, state, trace->settings, trace->seed);
  bool start = true, fine = print_table_head(kind, out);
  for (int64_t i = 0; fine && i <= trace->steps; i++) {
    if (start) {
      fprintf(out, "%" PRId64 ",,,,", i);
      fine = print_values(kind, state, values, out);
    }
    if (!fine || i == trace->steps) break;
    int action = trace->actions ? trace->actions[i]
                                : (int)(next_number(&generator) % (uint64_t)kind->actions.count);
    CellEnvStep step = cell_env_act(kind, state, action);
    fprintf(out, "%" PRId64 ",%d,%.17g,%d,%d", i + 1, action, step.reward, step.terminated,
            step.truncated);
    fine = print_values(kind, state, values, out);
    start = step.terminated || step.truncated;
    if (start) kind->reset(kind, state);
  }
  int reason = errno;
  free(values);
  free(state);
  errno = reason;
  return fine && !ferror(out);
}

/* ---- recorded actions ---- */

typedef struct {
  FILE *file;
  const char *path;
  int64_t line;
  int most; // how many actions there are, at most 10
  CellDiag *diag;
} Reader;

static int skip_line(FILE *file) {
  int c;
  do c = getc(file);
  while (c != '\n' && c != EOF);
  return c;
}

// the action of one line into *action, -1 for a line that is no step; false at an error
static bool read_line(Reader *reader, int first, int *action) {
  *action = -1;
  if (first == '#' || first == 'O') {
    skip_line(reader->file);
    return true;
  }
  int second = getc(reader->file);
  if (second == '\r') second = getc(reader->file);
  if (first < '0' || first >= '0' + reader->most ||
      (second != ',' && second != '\n' && second != EOF)) {
    cell_error(reader->diag, NULL, CELL_NOWHERE,
               "%s:%" PRId64 ": expected an action from 0 to %d at the start of the line",
               reader->path, reader->line, reader->most - 1);
    return false;
  }
  *action = first - '0';
  if (second == ',') skip_line(reader->file);
  return true;
}

bool cell_trace_read_actions(const char *path, int most, uint8_t **actions, int64_t *count,
                             CellDiag *diag) {
  *actions = NULL;
  *count = 0;
  int64_t capacity = 0;
  Reader reader = {.path = path, .line = 1, .most = most, .diag = diag, .file = fopen(path, "rb")};
  if (!reader.file) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot open \"%s\": %s", path, strerror(errno));
    return false;
  }
  for (int first; (first = getc(reader.file)) != EOF; reader.line++) {
    int action;
    if (!read_line(&reader, first, &action)) goto fail;
    if (action < 0) continue;
    if (*count == capacity) {
      uint8_t *larger = cell_malloc((size_t)(capacity = capacity ? 2 * capacity : 8192));
      if (*count) memcpy(larger, *actions, (size_t)*count);
      free(*actions);
      *actions = larger;
    }
    (*actions)[(*count)++] = (uint8_t)action;
  }
  if (ferror(reader.file)) {
    cell_error(diag, NULL, CELL_NOWHERE, "cannot read \"%s\": %s", path, strerror(errno));
    goto fail;
  }
  if (*count == 0) {
    cell_error(diag, NULL, CELL_NOWHERE, "\"%s\" holds no actions", path);
    goto fail;
  }
  fclose(reader.file);
  return true;

fail:
  fclose(reader.file);
  free(*actions);
  *actions = NULL;
  *count = 0;
  return false;
}
