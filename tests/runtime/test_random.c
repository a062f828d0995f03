/* the counter-based generator: known answers, ranges, independence of streams */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/random.h"

#include <math.h>

// the known answers that the authors of Philox publish
static void test_known_answers(void **state) {
  (void)state;
  const struct {
    uint32_t counter[4], key[2], out[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    cell_philox(cases[i].counter, cases[i].key, out);
    for (int j = 0; j < 4; j++) assert_int_equal(out[j], cases[i].out[j]);
  }
}

static void test_below_is_in_range_and_even(void **state) {
  (void)state;
  assert_int_equal(cell_random_below(0xffffffff, 0xffffffff, 7), 6);
  assert_int_equal(cell_random_below(0, 0xffffffff, 7), 0);
  assert_int_equal(cell_random_below(0x80000000, 0, 1LL << 40), 1LL << 39);
  assert_int_equal(cell_random_below(0xffffffff, 0xffffffff, (1LL << 40) - 3), (1LL << 40) - 4);
  int counts[7] = {0};
  for (uint32_t i = 0; i < 70000; i++) {
    uint32_t words[4];
    cell_random(0, CELL_STREAM_REPLAY, 5, i, words);
    int64_t k = cell_random_below(words[0], words[1], 7);
    assert_in_range(k, 0, 6);
    counts[k]++;
  }
  // six standard deviations of a binomial count
  for (int k = 0; k < 7; k++) assert_in_range(counts[k], 10000 - 560, 10000 + 560);
}

// seed, stream, step and index all matter, and 0 is a seed like any other
static void test_every_part_of_the_key_matters(void **state) {
  (void)state;
  uint32_t base[4], other[4];
  cell_random(0, 0, 0, 0, base);
  for (int part = 0; part < 5; part++) {
    cell_random(part == 0 ? 1 : part == 4 ? 1ULL << 32 : 0, part == 1, part == 2, part == 3, other);
    assert_int_not_equal(base[0], other[0]);
  }
  assert_true(cell_random_hash("l1/h") != cell_random_hash("l2/h"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known_answers),
      cmocka_unit_test(test_below_is_in_range_and_even),
      cmocka_unit_test(test_every_part_of_the_key_matters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
