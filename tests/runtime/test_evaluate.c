/* evaluation: its own random numbers, the same results for any number of environments at once */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/evaluate.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 8, ACTIONS = 3 };

// always moves as its carried state says: left, stay, right by turns; cell "b" wants to stay
typedef struct {
  CellAgent agent;
  int32_t action[MOST];
  float carry[MOST], values[MOST * ACTIONS];
} Stub;

static bool stub_run(void *context, const char *program, CellDiag *diag) {
  (void)program, (void)diag;
  Stub *s = context;
  for (int e = 0; e < s->agent.envs; e++) {
    s->action[e] = (int)s->carry[e] / 4 % ACTIONS;
    s->carry[e] += 1;
    // the first of equals wins: action 0
    for (int a = 0; a < ACTIONS; a++) s->values[e * ACTIONS + a] = a < 2 ? 1.0F : 0.5F;
  }
  return true;
}

static bool stub_tensor(void *context, const char *program, const char *name, CellTensorData *out) {
  (void)program;
  Stub *s = context;
  *out = (CellTensorData){.dtype = CELL_F};
  if (strcmp(name, "action") == 0) out->data = s->action, out->dtype = CELL_I;
  if (strcmp(name, "state/c") == 0) out->data = s->carry;
  if (strcmp(name, "b/q") == 0) out->data = s->values;
  return out->data != NULL;
}

static CellEvaluationResult evaluate(int envs, uint64_t seed, double epsilon, int cell,
                                     int64_t max_steps) {
  static const CellAgentCarry carry = {"state/c", 1};
  static const char *const cells[] = {"a", "b"};
  Stub stub = {.agent = {.run = stub_run,
                         .tensor = stub_tensor,
                         .envs = envs,
                         .carries = &carry,
                         .carry_count = 1,
                         .cells = cells,
                         .cell_count = 2}};
  stub.agent.context = &stub;
  CellDiag *diag = cell_diag_create();
  CellPlayOptions options = {.agent = &stub.agent,
                             .env = cell_env_find("minatar/breakout", NULL),
                             .seed = seed,
                             .epsilon = epsilon,
                             .max_steps = max_steps,
                             .cell = cell};
  CellEvaluationResult result;
  assert_true(cell_evaluate_policy(&options, 20, &result, diag));
  cell_diag_destroy(diag);
  return result;
}

static bool same(const CellEvaluationResult *a, const CellEvaluationResult *b) {
  return memcmp(a->returns, b->returns, 20 * sizeof(double)) == 0 &&
         memcmp(a->lengths, b->lengths, 20 * sizeof(int64_t)) == 0;
}

static void test_the_number_at_once_does_not_matter(void **state) {
  (void)state;
  CellEvaluationResult one = evaluate(1, 0, 0.3, -1, 0), many = evaluate(7, 0, 0.3, -1, 0);
  CellEvaluationResult other = evaluate(7, 1, 0.3, -1, 0);
  assert_true(same(&one, &many));
  assert_false(same(&one, &other));
  double sum = 0;
  for (int i = 0; i < 20; i++) sum += one.returns[i];
  assert_true(one.mean == sum / 20 && one.mean > 0);
  assert_true(one.worst <= one.median && one.median <= one.best);
  assert_int_equal(one.cut, 0);
  cell_evaluation_free(&one);
  cell_evaluation_free(&many);
  cell_evaluation_free(&other);
}

static void test_who_decides(void **state) {
  (void)state;
  // cell b never moves: nothing like the policy, and nothing like random actions
  CellEvaluationResult policy = evaluate(3, 0, 0, -1, 0), cell = evaluate(3, 0, 0, 1, 0);
  CellEvaluationResult random = evaluate(3, 0, 1, -1, 0), again = evaluate(2, 0, 1, 1, 0);
  assert_false(same(&policy, &cell));
  assert_false(same(&policy, &random));
  // with all actions random it does not matter who decides
  assert_true(same(&random, &again));
  CellEvaluationResult *all[] = {&policy, &cell, &random, &again};
  for (int i = 0; i < 4; i++) cell_evaluation_free(all[i]);
}

static void test_cutting(void **state) {
  (void)state;
  CellEvaluationResult r = evaluate(4, 0, 0, -1, 5);
  assert_int_equal(r.cut, 20);
  for (int i = 0; i < 20; i++) assert_int_equal(r.lengths[i], 5);
  assert_true(r.mean_length == 5);
  cell_evaluation_free(&r);
}

// random play needs no agent, and is the play of an agent that always explores
static void test_without_an_agent(void **state) {
  (void)state;
  CellEvaluationResult random = evaluate(3, 4, 1, -1, 0), alone;
  CellDiag *diag = cell_diag_create();
  CellPlayOptions options = {.env = cell_env_find("minatar/breakout", NULL), .seed = 4, .cell = -1};
  assert_true(cell_evaluate_policy(&options, 20, &alone, diag));
  assert_true(same(&random, &alone));
  CellPlay *play = cell_play_create(&options, diag);
  double values[ACTIONS];
  cell_play_begin(play, 0, 3);
  assert_false(cell_play_values(play, 0, values));
  while (!play->players[0].ended) {
    assert_true(cell_play_choose(play, diag));
    cell_play_step(play, 0);
  }
  assert_true(play->players[0].length == alone.lengths[3]);
  assert_true(play->players[0].total == alone.returns[3]);
  cell_play_destroy(play);
  cell_evaluation_free(&random);
  cell_evaluation_free(&alone);
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_number_at_once_does_not_matter),
      cmocka_unit_test(test_who_decides),
      cmocka_unit_test(test_cutting),
      cmocka_unit_test(test_without_an_agent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
