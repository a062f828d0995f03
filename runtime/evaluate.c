/* evaluate.c - how good a frozen policy is. */
#include "runtime/evaluate.h"

#include "runtime/random.h"
#include "runtime/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// one of the environments that play at once
typedef struct {
  void *state;
  int episode; /* -1: there is none left */
  int64_t length;
  double reward;
  bool explores;
  int32_t action;
} Player;

typedef struct {
  const CellEvaluation *e;
  CellEvaluationResult *result;
  Player *players;
  int next; // episode to begin
  CellTensorData obs, action, values, *carries;
  void *observation;
} Play;

static size_t carry_bytes(const Play *p, int c) {
  if (!p->carries[c].data) return 0;
  size_t bytes = p->carries[c].wide ? sizeof(double) : sizeof(float);
  return (size_t)p->e->agent->carries[c].count * bytes;
}

static void begin_episode(Play *p, int slot) {
  Player *player = &p->players[slot];
  const CellAgent *agent = p->e->agent;
  player->length = 0, player->reward = 0;
  player->episode = p->next < p->e->episodes ? p->next++ : -1;
  if (player->episode < 0) return;
  uint32_t words[4];
  cell_random(p->e->seed, CELL_STREAM_EVAL_ENV, (uint64_t)player->episode, 0, words);
  cell_env_start(p->e->env, player->state, NULL, words[0]);
  for (int c = 0; c < agent->carry_count; c++) {
    size_t bytes = carry_bytes(p, c);
    if (bytes > 0) memset((char *)p->carries[c].data + (size_t)slot * bytes, 0, bytes);
  }
}

// who explores, and how
static void choose_randomly(Play *p) {
  for (int i = 0; i < p->e->agent->envs; i++) {
    Player *player = &p->players[i];
    if (player->episode < 0) continue;
    uint32_t words[4];
    cell_random(p->e->seed, CELL_STREAM_EVAL, (uint64_t)player->episode, (uint32_t)player->length,
                words);
    player->explores = cell_random_unit(words[0]) < p->e->epsilon;
    player->action = (int32_t)cell_random_below(words[1], words[2], p->e->env->actions.count);
  }
}

// the action of the policy, or the best by one cell's values; the first of equals
static int32_t best_action(const Play *p, int slot) {
  if (p->e->cell < 0) return (int32_t)cell_get_number(&p->action, slot);
  int count = p->e->env->actions.count, best = 0;
  double most = -INFINITY;
  for (int a = 0; a < count; a++) {
    double value = cell_get_number(&p->values, (int64_t)slot * count + a);
    if (value > most) most = value, best = a;
  }
  return best;
}

// room for the carried rows of those who explore, which do not advance
static void keep_carries(Play *p, unsigned char *room, bool restore) {
  for (int c = 0; c < p->e->agent->carry_count; c++) {
    size_t bytes = carry_bytes(p, c);
    for (int i = 0; i < p->e->agent->envs && bytes > 0; i++) {
      if (!p->players[i].explores) continue;
      unsigned char *row = (unsigned char *)p->carries[c].data + (size_t)i * bytes;
      memcpy(restore ? row : room, restore ? room : row, bytes);
      room += bytes;
    }
  }
}

static bool act(Play *p, unsigned char *room, CellDiag *diag) {
  const CellEvaluation *e = p->e;
  for (int i = 0; i < e->agent->envs && p->obs.data; i++) {
    if (p->players[i].episode < 0) continue;
    e->env->observe(e->env, p->players[i].state, p->observation);
    cell_put_observation(&p->obs, i, p->observation, e->env->observation.count,
                         e->env->observation.representation == CELL_ENV_BITS);
  }
  choose_randomly(p);
  if (!e->advance_on_random) keep_carries(p, room, false);
  if (!e->agent->run(e->agent->context, "act", diag)) return false;
  if (!e->advance_on_random) keep_carries(p, room, true);
  for (int i = 0; i < e->agent->envs; i++) {
    Player *player = &p->players[i];
    if (player->episode >= 0 && !player->explores) player->action = best_action(p, i);
  }
  return true;
}

static int step(Play *p) {
  int finished = 0;
  for (int i = 0; i < p->e->agent->envs; i++) {
    Player *player = &p->players[i];
    if (player->episode < 0) continue;
    CellEnvStep result = cell_env_act(p->e->env, player->state, player->action);
    player->reward += result.reward, player->length++;
    bool ended = result.terminated || result.truncated;
    bool cut = !ended && p->e->max_steps > 0 && player->length >= p->e->max_steps;
    if (!ended && !cut) continue;
    p->result->returns[player->episode] = player->reward;
    p->result->lengths[player->episode] = player->length;
    p->result->cut += cut;
    finished++;
    begin_episode(p, i);
  }
  return finished;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void summarise(CellEvaluationResult *r) {
  int n = r->episodes;
  double sum = 0, squares = 0, length = 0;
  double *sorted = cell_malloc((size_t)n * sizeof *sorted);
  memcpy(sorted, r->returns, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, by_value);
  for (int i = 0; i < n; i++) sum += r->returns[i], length += (double)r->lengths[i];
  r->mean = sum / n, r->mean_length = length / n;
  for (int i = 0; i < n; i++) squares += (r->returns[i] - r->mean) * (r->returns[i] - r->mean);
  r->deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
  r->median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  r->worst = sorted[0], r->best = sorted[n - 1];
  free(sorted);
}

static bool find_tensors(Play *p, CellDiag *diag) {
  CellAgent *agent = p->e->agent;
  bool found = true;
  agent->tensor(agent->context, "act", "obs", &p->obs);
  for (int c = 0; c < agent->carry_count; c++) {
    agent->tensor(agent->context, "act", agent->carries[c].name, &p->carries[c]);
  }
  if (p->e->cell < 0) {
    found = agent->tensor(agent->context, "act", "action", &p->action);
  } else {
    char name[512];
    snprintf(name, sizeof name, "%s/q", agent->cells[p->e->cell]);
    found = agent->tensor(agent->context, "act", name, &p->values);
  }
  if (!found) cell_error(diag, NULL, CELL_NOWHERE, "the compiled network has no values to act on");
  return found;
}

bool cell_evaluate_policy(const CellEvaluation *e, CellEvaluationResult *result, CellDiag *diag) {
  CELL_ASSERT(e->episodes > 0 && e->cell < e->agent->cell_count);
  size_t envs = (size_t)e->agent->envs, carried = 0;
  *result = (CellEvaluationResult){.episodes = e->episodes};
  result->returns = cell_malloc((size_t)e->episodes * sizeof *result->returns);
  result->lengths = cell_malloc((size_t)e->episodes * sizeof *result->lengths);
  Play play = {.e = e, .result = result};
  play.players = cell_malloc(envs * sizeof *play.players);
  play.carries = cell_malloc((size_t)e->agent->carry_count * sizeof *play.carries + 1);
  play.observation = cell_malloc((size_t)cell_env_words(e->env) * 4);
  bool ok = find_tensors(&play, diag);
  for (int c = 0; c < e->agent->carry_count; c++) carried += carry_bytes(&play, c);
  unsigned char *room = cell_malloc(carried * envs + 1);
  for (size_t i = 0; i < envs; i++) {
    play.players[i] = (Player){.state = cell_malloc(e->env->state_bytes), .episode = -1};
    if (ok) begin_episode(&play, (int)i);
  }
  for (int left = e->episodes; ok && left > 0;) {
    ok = act(&play, room, diag);
    if (ok) left -= step(&play);
  }
  if (ok)
    summarise(result);
  else
    cell_evaluation_free(result);
  for (size_t i = 0; i < envs; i++) free(play.players[i].state);
  free(room);
  free(play.observation);
  free(play.carries);
  free(play.players);
  return ok;
}

void cell_evaluation_free(CellEvaluationResult *result) {
  free(result->returns);
  free(result->lengths);
  *result = (CellEvaluationResult){0};
}
