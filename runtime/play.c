/* play.c - a frozen policy that plays episodes, one step at a time. */
#include "runtime/play.h"

#include "runtime/random.h"
#include "runtime/replay.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static int carry_count(const CellPlay *p) {
  return p->options.agent ? p->options.agent->carry_count : 0;
}

static size_t carry_bytes(const CellPlay *p, int c) {
  if (!p->carries[c].data) return 0;
  size_t bytes = p->carries[c].wide ? sizeof(double) : sizeof(float);
  return (size_t)p->options.agent->carries[c].count * bytes;
}

static bool cell_values(const CellPlay *p, int cell, CellTensorData *out) {
  CellAgent *agent = p->options.agent;
  char name[512];
  snprintf(name, sizeof name, "%s/q", agent->cells[cell]);
  return agent->tensor(agent->context, "act", name, out);
}

static bool find_tensors(CellPlay *p, CellDiag *diag) {
  CellAgent *agent = p->options.agent;
  agent->tensor(agent->context, "act", "obs", &p->obs);
  for (int c = 0; c < agent->carry_count; c++) {
    agent->tensor(agent->context, "act", agent->carries[c].name, &p->carries[c]);
  }
  bool found = p->options.cell < 0 ? agent->tensor(agent->context, "act", "action", &p->action)
                                   : cell_values(p, p->options.cell, &p->values);
  if (!found) cell_error(diag, NULL, CELL_NOWHERE, "the compiled network has no values to act on");
  return found;
}

CellPlay *cell_play_create(const CellPlayOptions *options, CellDiag *diag) {
  CELL_ASSERT(options->env->actions.count > 0);
  CELL_ASSERT(options->cell < (options->agent ? options->agent->cell_count : 0));
  CellPlay *p = cell_malloc(sizeof *p);
  p->options = *options;
  p->count = options->agent ? options->agent->envs : 1;
  p->players = cell_malloc((size_t)p->count * sizeof *p->players);
  p->carries = cell_malloc((size_t)carry_count(p) * sizeof *p->carries + 1);
  p->observation = cell_malloc((size_t)cell_env_words(options->env) * 4);
  bool ok = !options->agent || find_tensors(p, diag);
  for (int i = 0; ok && i < p->count; i++) {
    p->players[i] = (CellPlayer){.state = cell_env_create(options->env, diag), .episode = -1};
    ok = p->players[i].state != NULL;
  }
  if (!ok) {
    cell_play_destroy(p);
    return NULL;
  }
  size_t carried = 0;
  for (int c = 0; c < carry_count(p); c++) carried += carry_bytes(p, c);
  p->kept = cell_malloc(carried * (size_t)p->count + 1);
  return p;
}

void cell_play_destroy(CellPlay *p) {
  if (!p) return;
  for (int i = 0; i < p->count; i++) cell_env_destroy(p->options.env, p->players[i].state);
  free(p->kept);
  free(p->observation);
  free(p->carries);
  free(p->players);
  free(p);
}

void cell_play_begin(CellPlay *p, int slot, int64_t episode) {
  CellPlayer *player = &p->players[slot];
  *player = (CellPlayer){.state = player->state, .episode = episode};
  uint32_t words[4];
  cell_random(p->options.seed, CELL_STREAM_EVAL_ENV, (uint64_t)episode, 0, words);
  cell_env_start(p->options.env, player->state, NULL, words[0]);
  for (int c = 0; c < carry_count(p); c++) {
    size_t bytes = carry_bytes(p, c);
    if (bytes > 0) memset((char *)p->carries[c].data + (size_t)slot * bytes, 0, bytes);
  }
}

static bool is_playing(const CellPlayer *player) {
  return player->episode >= 0 && !player->ended;
}

// who explores, and how
static void choose_randomly(CellPlay *p) {
  const CellPlayOptions *o = &p->options;
  for (int i = 0; i < p->count; i++) {
    CellPlayer *player = &p->players[i];
    if (!is_playing(player)) continue;
    uint32_t words[4];
    cell_random(o->seed, CELL_STREAM_EVAL, (uint64_t)player->episode, (uint32_t)player->length,
                words);
    player->explores = !o->agent || cell_random_unit(words[0]) < o->epsilon;
    player->action = (int32_t)cell_random_below(words[1], words[2], o->env->actions.count);
  }
}

// the action of the policy, or the best by one cell's values; the first of equals
static int32_t best_action(const CellPlay *p, int slot) {
  if (p->options.cell < 0) return (int32_t)cell_get_number(&p->action, slot);
  int count = p->options.env->actions.count, best = 0;
  double most = -INFINITY;
  for (int a = 0; a < count; a++) {
    double value = cell_get_number(&p->values, (int64_t)slot * count + a);
    if (value > most) most = value, best = a;
  }
  return best;
}

// the carried rows of those who explore do not advance: kept before, restored behind
static void keep_carries(CellPlay *p, bool restore) {
  unsigned char *room = p->kept;
  for (int c = 0; c < carry_count(p); c++) {
    size_t bytes = carry_bytes(p, c);
    for (int i = 0; i < p->count && bytes > 0; i++) {
      if (!p->players[i].explores) continue;
      unsigned char *row = (unsigned char *)p->carries[c].data + (size_t)i * bytes;
      memcpy(restore ? row : room, restore ? room : row, bytes);
      room += bytes;
    }
  }
}

bool cell_play_choose(CellPlay *p, CellDiag *diag) {
  const CellPlayOptions *o = &p->options;
  for (int i = 0; i < p->count; i++) {
    const CellPlayer *player = &p->players[i];
    if (is_playing(player) && !cell_env_check(o->env, player->state, diag)) return false;
  }
  choose_randomly(p);
  if (!o->agent) return true;
  for (int i = 0; i < p->count && p->obs.data; i++) {
    if (!is_playing(&p->players[i])) continue;
    o->env->observe(o->env, p->players[i].state, p->observation);
    cell_put_observation(&p->obs, i, p->observation, o->env->observation.count,
                         o->env->observation.representation == CELL_ENV_BITS);
  }
  if (!o->advance_on_random) keep_carries(p, false);
  if (!o->agent->run(o->agent->context, "act", diag)) return false;
  if (!o->advance_on_random) keep_carries(p, true);
  for (int i = 0; i < p->count; i++) {
    CellPlayer *player = &p->players[i];
    if (is_playing(player) && !player->explores) player->action = best_action(p, i);
  }
  return true;
}

bool cell_play_step(CellPlay *p, int slot) {
  CellPlayer *player = &p->players[slot];
  if (!is_playing(player)) return true;
  player->last = cell_env_act(p->options.env, player->state, player->action);
  // an episode that fails does not end: the next choice says what happened
  if (!cell_env_check(p->options.env, player->state, NULL)) return false;
  player->total += player->last.reward, player->length++;
  player->ended = player->last.terminated || player->last.truncated;
  player->cut =
      !player->ended && p->options.max_steps > 0 && player->length >= p->options.max_steps;
  player->ended |= player->cut;
  return player->ended;
}

void cell_play_step_all(CellPlay *p) {
  int threads = p->options.threads > 0 ? p->options.threads : omp_get_num_procs();
  bool parallel = p->options.env->heavy && p->count > 1 && threads > 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (parallel)
  for (int i = 0; i < p->count; i++) {
    if (is_playing(&p->players[i])) cell_play_step(p, i);
  }
}

bool cell_play_values(const CellPlay *p, int cell, double *values) {
  CellTensorData data;
  if (!p->options.agent || !cell_values(p, cell, &data)) return false;
  for (int a = 0; a < p->options.env->actions.count; a++) values[a] = cell_get_number(&data, a);
  return true;
}
