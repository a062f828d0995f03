/* cuda_replay.h - the kernels of a replay on the device: what cuda_mirror.c starts.
 *
 *   rows     an observation a row, as the environment gives it: words of bits, or floats; with it the transition's
 *            note and reward (CellReplayRow in codegen.h)
 *   finals   what episodes ended with
 *   numbers  of which transition, two words, for each of the finals
 *
 * Ring e has the rows e * slots and on; the transition of number n is in row n % slots of it. */
#include "cell_prelude.h"

/* as Arguments in cuda_mirror.c: eight bytes each */
struct replay_arguments {
  CellWord *rows, *finals, *numbers;
  const CellWord *staged, *draw;
  CellWord *context, *obs, *next_obs, *action, *reward, *terminated; /* null: nobody reads it */
  CellWide rings, slots, room; /* room: final observations of a ring, a power of two */
  CellWide words, entries;     /* of an observation */
  CellWide stride, note, shift, action_bits, age_bits; /* of a row */
  CellWide batch, steps;                               /* steps: observations of a context */
  CellWide spread; /* bits become floats, for a network that reads them so */
  CellWide whole;  /* bits 0 to 2: action, reward, terminated are integers */
  CellWide count;  /* of staged records */
};

/* A staged record: row (two words), 1 for a final observation, its transition's number (two words); a row, or the
 * final observation. */
enum { REPLAY_HEAD = 5 };

CELL_KERNEL(replay_add, replay_arguments) {
  const CellWide length = REPLAY_HEAD + p.stride;
  const CellWide i = (CellWide)cell_block() * CELL_THREADS + cell_thread();
  if (i >= p.count * length) return;
  const CellBits staged = cell_in(p.staged, p.count * length);
  const CellWide first = i / length * length, word = i - first - REPLAY_HEAD;
  const CellWide row = (CellWide)staged[first] | (CellWide)staged[first + 1] << 32;
  const bool is_final = staged[first + 2] != 0;
  if (!is_final && word >= 0) {
    CellOut<CellWord> rows = cell_out(p.rows, p.rings * p.slots * p.stride);
    rows[row * p.stride + word] = staged[i];
  } else if (is_final && word >= 0 && word < p.words) {
    CellOut<CellWord> finals = cell_out(p.finals, p.rings * p.room * p.words);
    finals[row * p.words + word] = staged[i];
  } else if (is_final && (word == -2 || word == -1)) {
    CellOut<CellWord> numbers = cell_out(p.numbers, p.rings * p.room * 2);
    numbers[row * 2 + word + 2] = staged[i];
  }
}

/* Philox4x32-10: ten rounds of x under the key */
CELL_FUNCTION void replay_random(CellWord (&x)[4], CellWord k0, CellWord k1) {
  for (int round = 0; round < 10; round++) {
    const unsigned long long a = 0xD2511F53ull * x[0], b = 0xCD9E8D57ull * x[2];
    const CellWord y0 = (CellWord)(b >> 32) ^ x[1] ^ k0, y2 = (CellWord)(a >> 32) ^ x[3] ^ k1;
    x[1] = (CellWord)b, x[3] = (CellWord)a, x[0] = y0, x[2] = y2;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
}

/* 0 <= result < n, as cell_random_below has it */
CELL_FUNCTION CellWide replay_below(CellWord high, CellWord low, CellWide n) {
  const unsigned long long below = (unsigned long long)n & 0xffffffffull,
                           above = (unsigned long long)n >> 32;
  const unsigned long long middle = high * below + (low * below >> 32);
  const unsigned long long cross = low * above + (middle & 0xffffffffull);
  return (CellWide)(high * above + (middle >> 32) + (cross >> 32));
}

/* entry or word i of the observation from word `at` on, as an input has it: without the note behind its bits */
CELL_FUNCTION CellWord replay_entry(const replay_arguments &p, CellBits rows, CellWide at,
                                    CellWide i) {
  if (p.spread) return cell_bits_of(cell_bit(rows, at * 32 + i));
  const CellWord word = rows[at + i];
  return i == p.note && p.shift > 0 ? word & ((1u << p.shift) - 1u) : word;
}

CELL_FUNCTION CellWide replay_wide(CellBits words, CellWide at) {
  return (CellWide)words[at] | (CellWide)words[at + 1] << 32;
}

/* where what a transition of a ring ended with lies among the finals, oldest first; it is there */
CELL_FUNCTION CellWide replay_final(const replay_arguments &p, CellBits draw, CellWide ring,
                                    CellWide number) {
  const CellBits numbers = cell_in((const CellWord *)p.numbers, p.rings * p.room * 2);
  const CellWide first = replay_wide(draw, 9 + 4 * ring);
  CellWide low = 0, high = replay_wide(draw, 11 + 4 * ring);
  while (high - low > 1) {
    const CellWide middle = (low + high) / 2,
                   at = ring * p.room + ((first + middle) & (p.room - 1));
    if (replay_wide(numbers, 2 * at) <= number)
      low = middle;
    else
      high = middle;
  }
  return ring * p.room + ((first + low) & (p.room - 1));
}

CELL_FUNCTION CellWord replay_number(const replay_arguments &p, int which, CellWord number) {
  return p.whole >> which & 1 ? number : cell_bits_of((float)number);
}

/* A block draws one transition and writes it as its sample of the batch. */
CELL_KERNEL(replay_draw, replay_arguments) {
  const CellWide b = cell_block();
  /* key (2), counter behind the sample (3), transitions to draw from and all so far, of a ring; of each ring the first
   * of its finals and how many there are */
  const CellBits draw = cell_in(p.draw, 9 + 4 * p.rings);
  CellWord x[4] = {(CellWord)b, draw[2], draw[3], draw[4]};
  replay_random(x, draw[0], draw[1]);
  const CellWide filled = replay_wide(draw, 5), added = replay_wide(draw, 7);
  const CellWide index = replay_below(x[0], x[1], filled * p.rings);
  const CellWide ring = index % p.rings, number = added - filled + index / p.rings;
  const CellWide base = ring * p.slots;

  const CellBits rows = cell_in((const CellWord *)p.rows, p.rings * p.slots * p.stride);
  const CellWide own = (base + number % p.slots) * p.stride;
  const CellWord what = rows[own + p.note] >> p.shift;
  const CellWord ends = what >> (p.action_bits + p.age_bits); /* terminated, ended */
  const CellWide width = p.spread ? p.entries : p.words;
  if (p.context) {
    // a young episode repeats its first observation
    const CellWide age = what >> p.action_bits & ((1u << p.age_bits) - 1u);
    CellOut<CellWord> context = cell_out(p.context, p.steps * p.batch * width);
    for (CellWide i = cell_thread(); i < p.steps * width; i += CELL_THREADS) {
      const CellWide t = i / width, back = p.steps - t < age ? p.steps - t : age;
      context[(t * p.batch + b) * width + i % width] =
          replay_entry(p, rows, (base + (number - back) % p.slots) * p.stride, i % width);
    }
  }
  if (p.obs) {
    CellOut<CellWord> obs = cell_out(p.obs, p.batch * width);
    for (CellWide i = cell_thread(); i < width; i += CELL_THREADS)
      obs[b * width + i] = replay_entry(p, rows, own, i);
  }
  if (p.next_obs) {
    CellOut<CellWord> next_obs = cell_out(p.next_obs, p.batch * width);
    const CellBits finals = cell_in((const CellWord *)p.finals, p.rings * p.room * p.words);
    const CellWide next = (base + (number + 1) % p.slots) * p.stride;
    const CellWide final = ends >> 1 & 1u ? replay_final(p, draw, ring, number) * p.words : 0;
    for (CellWide i = cell_thread(); i < width; i += CELL_THREADS)
      next_obs[b * width + i] =
          ends >> 1 & 1u ? replay_entry(p, finals, final, i) : replay_entry(p, rows, next, i);
  }
  if (cell_thread() != 0) return;
  if (p.action) {
    CellOut<CellWord> action = cell_out(p.action, p.batch);
    action[b] = replay_number(p, 0, what & ((1u << p.action_bits) - 1u));
  }
  if (p.reward) {
    CellOut<CellWord> reward = cell_out(p.reward, p.batch);
    const CellWord bits = rows[own + p.stride - 1];
    reward[b] = p.whole >> 1 & 1 ? (CellWord)(int)cell_float_of(bits) : bits;
  }
  if (p.terminated) {
    CellOut<CellWord> terminated = cell_out(p.terminated, p.batch);
    terminated[b] = replay_number(p, 2, ends & 1u);
  }
}
