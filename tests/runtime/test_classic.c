/* Classic control: recorded steps, mechanics that must hold, ends, start states, the table of a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/classic.h"
#include "runtime/trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static const CellEnvKind *find(const char *name) {
  const CellEnvKind *kind = cell_env_find(name, NULL);
  assert_non_null(kind);
  return kind;
}

static CellClassic started(const CellEnvKind *kind, uint32_t seed) {
  CellClassic state;
  assert_true(kind->state_bytes == sizeof state);
  cell_env_start(kind, &state, NULL, seed);
  return state;
}

static CellClassic at(const CellEnvKind *kind, double a, double b, double c, double d) {
  CellClassic state = started(kind, 0);
  const double x[CELL_CLASSIC_VARIABLES] = {a, b, c, d};
  memcpy(state.x, x, sizeof x);
  return state;
}

/* ---- recorded steps ---- */

static void expect_near(double value, double wanted, double tolerance, const char *where) {
  if (!(fabs(value - wanted) <= tolerance * (1 + fabs(wanted)))) {
    fail_msg("%s: %.17g, want %.17g", where, value, wanted);
  }
}

static void check_row(const CellEnvKind *kind, int variables, const double *row,
                      const char *where) {
  CellClassic state = started(kind, 0);
  memcpy(state.x, row, (size_t)variables * sizeof *row);
  const double *after = row + variables + 1, *rest = after + variables;
  CellEnvStep step = cell_env_act(kind, &state, (int)row[variables]);
  // sines may differ in their last bit from one library to the next
  for (int i = 0; i < variables; i++) expect_near(state.x[i], after[i], 1e-14, where);
  assert_true(step.reward == rest[0]);
  assert_true(step.terminated == (rest[1] != 0));
  assert_false(step.truncated);
  float values[8];
  kind->observe(kind, &state, values);
  for (int i = 0; i < kind->observation.count; i++) {
    expect_near((double)values[i], rest[2 + i], 1.3e-7, where);
  }
}

static void check_file(const char *task, int variables, int rows_wanted) {
  char path[512], name[64], line[1024];
  snprintf(path, sizeof path, CELLC_SOURCE_DIR "/tests/data/classic/%s.csv", task);
  snprintf(name, sizeof name, "classic/%s", task);
  const CellEnvKind *kind = find(name);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  int rows = 0, columns = 2 * variables + 3 + kind->observation.count;
  for (; fgets(line, sizeof line, file); rows++) {
    double row[32] = {0};
    int count = 0;
    for (char *text = strtok(line, ","); text && count < 32; text = strtok(NULL, ",")) {
      row[count++] = strtod(text, NULL);
    }
    assert_int_equal(count, columns);
    snprintf(path, sizeof path, "%s, row %d", task, rows + 1);
    check_row(kind, variables, row, path);
  }
  fclose(file);
  assert_int_equal(rows, rows_wanted);
}

static void recorded_steps(void **unused) {
  (void)unused;
  check_file("acrobot", 4, 93);
  check_file("cartpole", 4, 79);
  check_file("mountain_car", 2, 102);
}

/* ---- mechanics ---- */

// without friction only the push changes the horizontal momentum of cart and pole
static void momentum(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find("classic/cartpole");
  for (int action = 0; action < 2; action++) {
    CellClassic before = at(kind, 0.3, 0.15, -0.4, 1.2), after = before;
    cell_env_act(kind, &after, action);
    double acceleration = (after.x[2] - before.x[2]) / 0.02;
    double turn = (after.x[3] - before.x[3]) / 0.02, angle = 0.15, speed = 1.2;
    double force =
        1.1 * acceleration + 0.1 * 0.5 * (turn * cos(angle) - speed * speed * sin(angle));
    assert_true(fabs(force - (action ? 10 : -10)) < 1e-11);
    // about the hinge: (4/3) m l^2 t'' + m l x'' cos t = m g l sin t
    double torque = 4.0 / 3 * 0.1 * 0.25 * turn + 0.1 * 0.5 * acceleration * cos(angle);
    assert_true(fabs(torque - 0.1 * 9.8 * 0.5 * sin(angle)) < 1e-12);
    // explicit Euler
    assert_true(fabs(after.x[0] - (0.3 + 0.02 * -0.4)) < 1e-15);
    assert_true(fabs(after.x[1] - (0.15 + 0.02 * 1.2)) < 1e-15);
  }
}

// two rods of mass and inertia 1, half length 1/2, hinged at the end of the first
static double acrobot_energy(const double *x) {
  double upper = x[0], both = x[0] + x[1], v = x[2], w = x[2] + x[3];
  double vx = cos(upper) * v + 0.5 * cos(both) * w, vy = sin(upper) * v + 0.5 * sin(both) * w;
  double kinetic = 0.5 * (1 + 0.25) * v * v + 0.5 * w * w + 0.5 * (vx * vx + vy * vy);
  return kinetic - 9.8 * (0.5 * cos(upper) + cos(upper) + 0.5 * cos(both));
}

static void energy(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find("classic/acrobot");
  CellClassic state = at(kind, 1, -0.5, 0, 0);
  double first = acrobot_energy(state.x), least = first, most = first;
  for (int i = 0; i < 30; i++) {
    cell_env_act(kind, &state, 1);
    double now = acrobot_energy(state.x);
    least = fmin(least, now), most = fmax(most, now);
  }
  assert_true(most - least < 0.01 * fabs(first));
  assert_true(state.x[0] < 0.9); // it does swing
  // the motor adds what it does along the angle that it turns
  state = at(kind, 0, 0, 0, 0);
  first = acrobot_energy(state.x);
  cell_env_act(kind, &state, 2);
  assert_true(state.x[1] > 0);
  assert_true(fabs(acrobot_energy(state.x) - first - state.x[1]) < 1e-4);
}

/* ---- ends ---- */

static void same_state(const CellClassic *a, const CellClassic *b) {
  assert_memory_equal(a, b, sizeof *a);
}

// steps until the end with one action; then nothing changes any more
static CellEnvStep run_out(const CellEnvKind *kind, CellClassic *state, int action, int *steps) {
  CellEnvStep step = {0};
  for (*steps = 0; !step.terminated && !step.truncated; ++*steps) {
    assert_true(*steps < 1000);
    step = cell_env_act(kind, state, action);
  }
  CellClassic end = *state;
  CellEnvStep again = cell_env_act(kind, state, 0);
  same_state(state, &end);
  assert_true(again.terminated == step.terminated && again.truncated == step.truncated);
  assert_true(again.reward == 0);
  return step;
}

static void time_limits(void **unused) {
  (void)unused;
  int steps;
  const CellEnvKind *car = find("classic/mountain-car"), *acrobot = find("classic/acrobot");
  CellClassic state = started(car, 1);
  CellEnvStep step = run_out(car, &state, 1, &steps);
  assert_true(step.truncated && !step.terminated && step.reward == -1);
  assert_int_equal(steps, 200);
  car->reset(car, &state);
  assert_false(cell_env_act(car, &state, 0).truncated);
  state = started(acrobot, 1);
  step = run_out(acrobot, &state, 1, &steps);
  assert_true(step.truncated && steps == 500);
  // in the last step an end is an end
  state = at(car, 0.49, 0.05, 0, 0);
  state.length = 199;
  step = cell_env_act(car, &state, 2);
  assert_true(step.terminated && !step.truncated);
}

static void balance(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find("classic/cartpole");
  CellClassic state = started(kind, 3);
  int steps;
  CellEnvStep step = run_out(kind, &state, 1, &steps);
  assert_true(step.terminated && !step.truncated && step.reward == 1 && steps < 15);
  kind->reset(kind, &state);
  double sum = 0;
  step = (CellEnvStep){0};
  for (steps = 0; !step.terminated && !step.truncated; steps++) {
    // towards where the pole falls
    double fall = state.x[1] + 0.3 * state.x[3] + 0.05 * state.x[0] + 0.1 * state.x[2];
    step = cell_env_act(kind, &state, fall > 0);
    sum += step.reward;
  }
  assert_true(step.truncated && steps == 500 && sum == 500);
}

static void limits_of_variables(void **unused) {
  (void)unused;
  const CellEnvKind *car = find("classic/mountain_car"), *acrobot = find("classic/acrobot");
  CellClassic state = at(car, -1.15, -0.07, 0, 0);
  cell_env_act(car, &state, 0);
  assert_true(state.x[0] == -1.2 && state.x[1] == 0);
  state = at(acrobot, 3.1, 3.1, 12.5, 28.2);
  for (int i = 0; i < 20; i++) {
    cell_env_act(acrobot, &state, i % 3);
    assert_true(fabs(state.x[0]) <= pi && fabs(state.x[1]) <= pi);
    assert_true(fabs(state.x[2]) <= 4 * pi && fabs(state.x[3]) <= 9 * pi);
    state.terminated = false;
  }
}

/* ---- start states ---- */

static void starts(void **unused) {
  (void)unused;
  static const struct {
    const char *name;
    int variables;
    double low, high;
  } tasks[] = {{"classic/acrobot", 4, -0.1, 0.1},
               {"classic/cartpole", 4, -0.05, 0.05},
               {"classic/mountain_car", 1, -0.6, -0.4}};
  for (int t = 0; t < 3; t++) {
    const CellEnvKind *kind = find(tasks[t].name);
    double middle = (tasks[t].low + tasks[t].high) / 2, sum = 0;
    double least = 1, most = -1;
    CellClassic state = started(kind, 5), same = started(kind, 5), other = started(kind, 6);
    same_state(&state, &same);
    assert_true(state.x[0] != other.x[0]);
    for (int episode = 0; episode < 1000; episode++) {
      double first = state.x[0];
      for (int i = 0; i < CELL_CLASSIC_VARIABLES; i++) {
        if (i >= tasks[t].variables) {
          assert_true(state.x[i] == 0);
          continue;
        }
        least = fmin(least, state.x[i]), most = fmax(most, state.x[i]);
        sum += state.x[i];
      }
      kind->reset(kind, &state);
      assert_true(state.x[0] != first);
    }
    double width = tasks[t].high - tasks[t].low;
    assert_true(least >= tasks[t].low && least < tasks[t].low + 0.01 * width);
    assert_true(most <= tasks[t].high && most > tasks[t].high - 0.01 * width);
    assert_true(fabs(sum / (1000 * tasks[t].variables) - middle) < 0.04 * width);
    // seeding again goes back to the first episode
    kind->seed(kind, &state, 5);
    kind->reset(kind, &state);
    same_state(&state, &same);
  }
}

/* ---- the table of a run ---- */

static void table(void **unused) {
  (void)unused;
  const uint8_t actions[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  CellTrace trace = {.kind = find("classic/cartpole"), .seed = 2, .steps = 12, .actions = actions};
  FILE *out = tmpfile();
  assert_non_null(out);
  assert_true(cell_trace_print_table(&trace, out));
  rewind(out);
  char line[512];
  assert_non_null(fgets(line, sizeof line, out));
  assert_string_equal(
      line, "step,action,reward,terminated,truncated,position,velocity,angle,angular_velocity\n");
  CellClassic state = started(trace.kind, 2);
  int step = 0, starts = 0;
  while (fgets(line, sizeof line, out)) {
    int number, action, terminated, truncated;
    float values[4];
    trace.kind->observe(trace.kind, &state, values);
    char wanted[512];
    if (sscanf(line, "%d,%d,1,%d,%d,", &number, &action, &terminated, &truncated) == 4) {
      step++;
      CellEnvStep result = cell_env_act(trace.kind, &state, 1);
      trace.kind->observe(trace.kind, &state, values);
      snprintf(wanted, sizeof wanted, "%d,1,1,%d,0", step, result.terminated);
    } else {
      if (starts++ > 0) trace.kind->reset(trace.kind, &state);
      trace.kind->observe(trace.kind, &state, values);
      snprintf(wanted, sizeof wanted, "%d,,,,", step);
    }
    for (int i = 0; i < 4; i++) {
      size_t length = strlen(wanted);
      snprintf(wanted + length, sizeof wanted - length, ",%.17g", (double)values[i]);
    }
    line[strcspn(line, "\n")] = 0;
    assert_string_equal(line, wanted);
  }
  assert_int_equal(step, 12);
  assert_int_equal(starts, 2);
  fclose(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(recorded_steps), cmocka_unit_test(momentum),
      cmocka_unit_test(energy),         cmocka_unit_test(time_limits),
      cmocka_unit_test(balance),        cmocka_unit_test(limits_of_variables),
      cmocka_unit_test(starts),         cmocka_unit_test(table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
