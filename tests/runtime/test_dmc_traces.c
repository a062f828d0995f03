/* Three episodes of each task against the recorded ones: every number equal to the last bit, except
 * where the recording went through a function of NumPy that rounds otherwise than the C library's:
 *
 *   exp              rewards of walker, cartpole, acrobot, fish, and their sums
 *   log1p, asinh     touch of hopper and finger, forces of quadruped
 *   sin, cos         the place of reacher's target
 *
 * Of those one unit in the last place of the function's value. The recording is of a CPU with fused
 * multiply-add, which the C library uses where it is. On another one MuJoCo's own results differ:
 * then the functions that round otherwise are named, and numbers are compared with the bounds that
 * hold across CPUs: 1e-9 up to step 20, 1e-6 up to step 100, finite afterwards. */
#include "dmc_data.h"

#include "runtime/dmc_trace.h"

#include <float.h>
#include <math.h>

// ---- the C library that the recording was made with ----

static bool same_library(void) {
  static const struct {
    const char *name;
    double (*function)(double);
    double x, value;
  } points[] = {
      {"sin", sin, 0x1.580fcb5b271f4p-3, 0x1.56720e8d5e247p-3},
      {"cos", cos, 0x1.05c9155e74461p-1, 0x1.be851a9b3c9bp-1},
      {"exp", exp, 0x1.cab44eba8bfbdp-1, 0x1.398b0f303436bp+1},
      {"log", log, 0x1.5ddc9f146fbcbp-1, -0x1.85ecdea863e64p-2},
      {"atan", atan, 0x1.75b6d34881aa8p-3, 0x1.71a5a9ea434a3p-3},
      {"asin", asin, 0x1.c7c935d8fa252p-1, 0x1.19096081d632cp+0},
      {"acos", acos, 0x1.dbd0163fe1288p-1, 0x1.834d221da82ccp-2},
  };
  bool same = true;
  for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
    // not at compile time
    volatile double x = points[i].x;
    if (points[i].function(x) == points[i].value) continue;
    print_message("%s of this machine's C library rounds otherwise than the recording's\n",
                  points[i].name);
    same = false;
  }
  return same;
}

// ---- which numbers went through which function ----

typedef struct {
  const char *domain;
  bool reward;     /* exp */
  int first, last; /* entries of an observation, counted from 0; last < first: none */
  double absolute; /* bound of these entries where it is no relative one */
} Exception;

// two factors of cartpole's reward have an exp of their own; of a target within 0.2 of the centre one
// unit in the last place is at most 2^-55, the entry is a difference with it, below 1/2
static const Exception exceptions[] = {
    {"walker", true, 0, -1, 0},      {"cartpole", true, 0, -1, 0},      {"acrobot", true, 0, -1, 0},
    {"fish", true, 0, -1, 0},        {"hopper", false, 13, 14, 0},      {"finger", false, 7, 8, 0},
    {"quadruped", false, 54, 77, 0}, {"reacher", false, 2, 3, 0x1p-54},
};

static const Exception *exception_of(const CellEnvKind *kind) {
  static const Exception none = {"", false, 0, -1, 0};
  for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++) {
    if (strcmp(exceptions[i].domain, cell_dmc_domain(kind)) == 0) return &exceptions[i];
  }
  return &none;
}

typedef struct {
  const Exception *exception;
  bool same_library;
  int step; // of the line
  int64_t compared, excepted;
} Comparison;

// whether two numbers of a line of some kind, at some place, are as good as equal
static bool agree(Comparison *c, const char *word, int entry, double recorded, double got) {
  bool is_reward = strcmp(word, "step") == 0 || strcmp(word, "end") == 0;
  bool excepted = is_reward ? c->exception->reward
                            : strcmp(word, "obs") == 0 && entry >= c->exception->first &&
                                  entry <= c->exception->last;
  c->compared++;
  if (recorded == got && signbit(recorded) == signbit(got)) return true;
  c->excepted++;
  if (!c->same_library) {
    double bound = c->step <= 20 ? 1e-9 : c->step <= 100 ? 1e-6 : INFINITY;
    return isfinite(got) && fabs(got - recorded) <= bound * fmax(1, fabs(recorded));
  }
  if (!excepted) return false;
  if (c->exception->absolute > 0) return fabs(got - recorded) <= c->exception->absolute;
  // one unit of a factor is at most two of a product
  return fabs(got - recorded) <= (is_reward ? 2 : 1) * DBL_EPSILON * fabs(recorded);
}

static bool same_line(Comparison *c, char *recorded, char *got) {
  char *rest_a, *rest_b, *a = strtok_r(recorded, " \n", &rest_a);
  char *b = strtok_r(got, " \n", &rest_b);
  const char *word = a;
  for (int i = 0; a && b; i++) {
    char *end_a, *end_b;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    // the number of the step is a word like any other
    bool number = *end_a == 0 && *end_b == 0 && i > 0 && *word != '#';
    bool plain = i == 1 && strcmp(word, "qpos") != 0 && strcmp(word, "qvel") != 0;
    if (i == 1 && (strcmp(word, "step") == 0 || strcmp(word, "obs") == 0)) c->step = (int)x;
    if (strcmp(word, "end") == 0) c->step = CELL_DMC_STEPS;
    if (number && !plain ? !agree(c, word, i - 2, x, y) : strcmp(a, b) != 0) return false;
    a = strtok_r(NULL, " \n", &rest_a), b = strtok_r(NULL, " \n", &rest_b);
  }
  return !a && !b;
}

static void compare(const CellEnvKind *kind, FILE *recorded, bool library, Comparison *total) {
  FILE *printed = tmpfile();
  CellDiag *diag = cell_diag_create();
  CellDmcTrace trace = {.kind = kind, .seed = 1, .episodes = 3, .generator = 12345};
  assert_true(cell_dmc_trace_print(&trace, printed, diag));
  cell_diag_destroy(diag);
  rewind(printed);
  Comparison c = {.exception = exception_of(kind), .same_library = library};
  char a[8192], b[8192], shown_a[8192], shown_b[8192];
  for (int line = 1;; line++) {
    bool more = fgets(a, sizeof a, recorded);
    assert_int_equal(more, fgets(b, sizeof b, printed) != NULL);
    if (!more) break;
    memcpy(shown_a, a, sizeof a), memcpy(shown_b, b, sizeof b);
    if (strncmp(a, "reset", 5) == 0) c.step = 0;
    if (!same_line(&c, a, b)) {
      fail_msg("%s, line %d\nrecorded %sprinted  %s", kind->name, line, shown_a, shown_b);
    }
  }
  // what is excepted is few: a mistake would be everywhere
  if (library) assert_true(c.excepted * 10 < c.compared);
  print_message("%-22s %lld numbers, %lld of them not to the last bit\n", kind->name,
                (long long)c.compared, (long long)c.excepted);
  total->compared += c.compared, total->excepted += c.excepted;
  fclose(printed);
}

static void traces(void **unused) {
  (void)unused;
  bool library = same_library();
  int files = 0;
  Comparison total = {0};
  for (int i = 0; i < CELL_DMC_TASKS; i++) {
    FILE *recorded = open_recorded(&cell_dmc_kinds[i]);
    if (!recorded && all_data()) fail_msg("no recording of %s", cell_dmc_kinds[i].name);
    if (!recorded) continue;
    compare(&cell_dmc_kinds[i], recorded, library, &total);
    fclose(recorded);
    files++;
  }
  assert_int_equal(files, all_data() ? CELL_DMC_TASKS : 2);
  print_message("%lld numbers, %lld of them not to the last bit\n", (long long)total.compared,
                (long long)total.excepted);
  if (!all_data()) print_message("left out without CELLC_REFERENCE: 12 of 14 tasks\n");
}

// an episode by its number, and one with its actions given, are what the whole run shows
static void parts(void **unused) {
  (void)unused;
  const CellEnvKind *kind = find_task("dmc/ball_in_cup-catch");
  CellDiag *diag = cell_diag_create();
  char *whole, *part;
  size_t length, part_length;
  FILE *out = open_memstream(&whole, &length);
  CellDmcTrace trace = {.kind = kind, .seed = 3, .episodes = 3, .generator = 7};
  assert_true(cell_dmc_trace_print(&trace, out, diag));
  fclose(out);
  uint16_t actions[CELL_DMC_STEPS];
  uint32_t s = 7;
  for (int i = 0; i < 3 * CELL_DMC_STEPS; i++) {
    s = (UINT32_C(1103515245) * s + 12345) & 0x7FFFFFFF;
    actions[i % CELL_DMC_STEPS] = (uint16_t)((s >> 16) % 4);
  }
  out = open_memstream(&part, &part_length);
  trace = (CellDmcTrace){.kind = kind,
                         .seed = 3,
                         .first = 2,
                         .episodes = 1,
                         .actions = actions,
                         .action_count = CELL_DMC_STEPS};
  assert_true(cell_dmc_trace_print(&trace, out, diag));
  fclose(out);
  assert_string_equal(strstr(part, "reset 2"), strstr(whole, "reset 2"));
  free(whole);
  free(part);
  cell_diag_destroy(diag);
}

static void action_texts(void **unused) {
  (void)unused;
  const CellEnvKind *walker = find_task("dmc/walker-walk"),
                    *cart = find_task("dmc/cartpole-swingup");
  uint16_t actions[CELL_DMC_STEPS];
  assert_int_equal(cell_dmc_trace_actions(walker, "003f1c", actions), 3);
  assert_int_equal(actions[0], 0);
  assert_int_equal(actions[1], 63);
  assert_int_equal(actions[2], 28);
  assert_int_equal(cell_dmc_trace_actions(cart, "0110", actions), 4);
  assert_int_equal(cell_dmc_trace_actions(find_task("dmc/quadruped-run"), "fff", actions), 1);
  assert_int_equal(actions[0], 4095);
  const char *const bad[] = {"", "0", "40", "0x", "003", "0g", "-1", " 1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(cell_dmc_trace_actions(walker, bad[i], actions), -1);
  }
  char long_text[CELL_DMC_STEPS + 2];
  memset(long_text, '1', CELL_DMC_STEPS + 1);
  long_text[CELL_DMC_STEPS + 1] = 0;
  assert_int_equal(cell_dmc_trace_actions(cart, long_text, actions), -1);
  long_text[CELL_DMC_STEPS] = 0;
  assert_int_equal(cell_dmc_trace_actions(cart, long_text, actions), CELL_DMC_STEPS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(traces),
      cmocka_unit_test(parts),
      cmocka_unit_test(action_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
