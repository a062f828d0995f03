/* The random generator against the vectors of the written specification. */
#include "minatar_data.h"

#include "runtime/mt19937.h"

#include <math.h>

static void seeds(void **unused) {
  (void)unused;
  static const struct {
    uint32_t seed, words[4];
    double doubles[3];
  } vectors[] = {
      {0,
       {2357136044U, 2546248239U, 3071714933U, 3626093760U},
       {0.54881350392732475, 0.71518936637241948, 0.60276337607164387}},
      {1,
       {1791095845U, 4282876139U, 3093770124U, 4005303368U},
       {0.417022004702574, 0.7203244934421581, 0.00011437481734488664}},
      {42,
       {1608637542U, 3421126067U, 4083286876U, 787846414U},
       {0.37454011884736249, 0.95071430640991617, 0.73199394181140509}},
      {5489,
       {3499211612U, 581869302U, 3890346734U, 3586334585U},
       {0.81472368639317894, 0.90579193707561922, 0.12698681629350606}},
      {4294967295U,
       {419326371U, 479346978U, 3918654476U, 2416749639U},
       {0.097632028994013798, 0.91238284530262181, 0.78903530185163995}},
  };
  for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
    CellMt19937 random;
    cell_mt19937_seed(&random, vectors[v].seed);
    for (int i = 0; i < 4; i++) assert_int_equal(cell_mt19937_word(&random), vectors[v].words[i]);
    cell_mt19937_seed(&random, vectors[v].seed);
    for (int i = 0; i < 3; i++) {
      assert_true(cell_mt19937_double(&random) == vectors[v].doubles[i]);
    }
  }
}

// a draw compared as integers is the draw compared as doubles, at and beside every limit too
static void below(void **unused) {
  (void)unused;
  CellMt19937 a, b;
  cell_mt19937_seed(&a, 11);
  cell_mt19937_seed(&b, 11);
  static const double limits[] = {0, 0x1p-53, 0.1, 1.0 / 3, 0.5, 0.9, 1 - 0x1p-53, 1};
  for (int i = 0; i < 8000; i++) {
    double limit = limits[i % 8], drawn = cell_mt19937_double(&a);
    if (i % 16 >= 8) limit = drawn;
    if (i % 32 >= 24) limit = nextafter(drawn, 2);
    assert_int_equal(cell_mt19937_below(&b, CELL_MT19937_LIMIT(limit)), drawn < limit);
    // pairs of words then begin at odd places
    if (i % 1000 == 0) assert_int_equal(cell_mt19937_word(&a), cell_mt19937_word(&b));
  }
}

static void expect_between(CellMt19937 *random, int low, int high, const int *expected, int count) {
  for (int i = 0; i < count; i++) {
    assert_int_equal(cell_mt19937_between(random, low, high), expected[i]);
  }
}

static void mixed(void **unused) {
  (void)unused;
  CellMt19937 random;
  cell_mt19937_seed(&random, 7);
  assert_true(cell_mt19937_double(&random) == 0.076308289373957172);
  expect_between(&random, 0, 5, (int[]){1, 3, 3, 4, 1, 0}, 6);
  expect_between(&random, 0, 1, (int[]){0}, 1);
  assert_true(cell_mt19937_double(&random) == 0.086743429839991948);
  expect_between(&random, 1, 6, (int[]){3, 3, 1, 5, 1, 5, 1, 4}, 8);
  static const double doubles[] = {0.67433042293895473, 0.67231727324123325, 0.69403157542187977,
                                   0.34597293624374237, 0.92952819117312147, 0.26258377004339706,
                                   0.75076272786072573, 0.25489406250513713};
  for (int i = 0; i < 8; i++) assert_true(cell_mt19937_double(&random) == doubles[i]);
  expect_between(&random, 1, 9, (int[]){3, 1, 2, 7, 7, 5}, 6);
  expect_between(&random, 0, 2, (int[]){0, 1, 1, 1, 1, 0, 1, 0}, 8);
  assert_int_equal(cell_mt19937_word(&random), 830456065U);
  assert_int_equal(random.position, 58);
}

static void millionth(void **unused) {
  (void)unused;
  CellMt19937 random;
  cell_mt19937_seed(&random, 7);
  for (int i = 1; i < 1000000; i++) cell_mt19937_word(&random);
  assert_int_equal(cell_mt19937_word(&random), 944049564U);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(seeds),
      cmocka_unit_test(below),
      cmocka_unit_test(mixed),
      cmocka_unit_test(millionth),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
