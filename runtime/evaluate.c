/* evaluate.c - how good a frozen policy is. */
#include "runtime/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

bool cell_evaluate_policy(const CellPlayOptions *options, int episodes,
                          CellEvaluationResult *result, CellDiag *diag) {
  CELL_ASSERT(episodes > 0);
  CellPlay *play = cell_play_create(options, diag);
  if (!play) return false;
  *result = (CellEvaluationResult){.episodes = episodes};
  result->returns = cell_malloc((size_t)episodes * sizeof *result->returns);
  result->lengths = cell_malloc((size_t)episodes * sizeof *result->lengths);
  int next = 0, left = episodes;
  for (int i = 0; i < play->count && next < episodes; i++) cell_play_begin(play, i, next++);
  bool ok = true;
  while (ok && left > 0) {
    ok = cell_play_choose(play, diag);
    if (ok) cell_play_step_all(play);
    for (int i = 0; ok && i < play->count; i++) {
      CellPlayer *player = &play->players[i];
      if (player->episode < 0 || !player->ended) continue;
      result->returns[player->episode] = player->total;
      result->lengths[player->episode] = player->length;
      result->cut += player->cut;
      left--;
      if (next < episodes)
        cell_play_begin(play, i, next++);
      else
        player->episode = -1; // counted
    }
  }
  if (ok)
    summarise(result);
  else
    cell_evaluation_free(result);
  cell_play_destroy(play);
  return ok;
}

void cell_evaluation_free(CellEvaluationResult *result) {
  free(result->returns);
  free(result->lengths);
  *result = (CellEvaluationResult){0};
}
