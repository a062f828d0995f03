/* cuda_product.h - a tile of a product: out[m, n] (+)= sum over k of a[m, k] * b[n, k].
 *
 * A block makes TM x TN entries. Slices of CELL_SLICE along k of both operands travel to shared memory, STAGES
 * of them under way at a time, by asynchronous copies of 16 bytes where the operand's bytes allow it (V = 4),
 * else of 4. An operand whose k is contiguous lies there [row][k], else [k][row], padded so that no two
 * threads of an instruction want the same bank. Sums stay in registers: 4 columns and TM * TN / 512 rows a
 * thread, or, for TF32 and BF16, tiles of the matrix instruction (of 64 x 64 a warp makes 2 x 4 of them). k
 * ascends, so the order of summation is that of the text, but for what the matrix instruction sums at once.
 * Where a holds bits, float sums add rows of b: those whose bit is set, by select().
 * What works on the result entry by entry does so on the registers: each(). */
#ifndef CELL_CUDA_PRODUCT_H
#define CELL_CUDA_PRODUCT_H

enum { CELL_SLICE = 16, CELL_STAGES = 3, CELL_ALONG_K = CELL_SLICE + 4 };
enum { CELL_MASKS = 16 }; /* words of bits of a row that are listed at once */
enum CellPrecision { CELL_FP32, CELL_TF32, CELL_BF16 };

/* words of one slice of an operand with T rows, whichever way it lies */
template <int T> struct CellSlice {
  enum { ALONG_K = T * CELL_ALONG_K, ALONG_ROWS = CELL_SLICE * (T + 8) };
  enum { WORDS = (int)ALONG_K > (int)ALONG_ROWS ? (int)ALONG_K : (int)ALONG_ROWS };
};

/* An operand: element (row, k) is at base + row * rs + k * ks. K: k is contiguous (or rows are not); V: floats
 * a copy; Index: int where the operand is small enough. */
template <bool K, int V, class Index> struct CellOperand {
  CellIn<float> p;
  Index base, rs, ks;
  int rows;

  /* bit i of used: whether step k0 + i is wanted; what is not is zero (K: all are) */
  template <int T>
  CELL_METHOD void stage(CellShared<float> to, int at, int k0, int k, CellWord used = ~0u) const {
    CELL_UNROLL
    for (int c = cell_thread(); c < T * CELL_SLICE / V; c += CELL_THREADS) {
      int row = K ? c / (CELL_SLICE / V) : c % (T / V) * V;
      int kk = K ? c % (CELL_SLICE / V) * V : c / (T / V);
      cell_copy<V>(to, at + (K ? row * CELL_ALONG_K + kk : kk * (T + 8) + row), p,
                   base + row * rs + (k0 + kk) * ks,
                   row < rows && k0 + kk < k && (K || (used >> kk & 1u)));
    }
  }
};

/* Bits. V: how many a thread takes from one word, 4 where no run of 4 lies in two, 32 where a run is a word. */
template <bool K, int V, class Index> struct CellBitOperand {
  CellBits p;
  Index base, rs, ks;
  int rows;

  /* The bits of up to 32 * CELL_MASKS steps from k0 on: bit i of mask (w, row) is that of step k0 + 32 w + i, and
   * where w has no steps or the row is not there, all are 0. Mask (w, T) are the steps that any row has set.
   * count: how many are set. Every thread of the block calls it. */
  template <int T>
  CELL_METHOD void list(CellShared<CellWord> masks, int k0, int k, float (&count)[1]) const {
    enum { GROUPS = (T + 31) / 32 }; /* of rows that a warp turns round at once */
    CELL_ONCE
    for (int c = cell_warp(); c < CELL_MASKS * GROUPS; c += CELL_WARPS) {
      int w = c / GROUPS, r = c % GROUPS * 32 + cell_lane(), first = k0 + 32 * w;
      CellWord mine = 0;
      if (K && V == 32) {
        /* the word as it lies; its last steps may be beyond k */
        if (r < rows && first < k) mine = cell_bits_at(p, base + r * rs + first);
        if (first < k && k - first < 32) mine &= (1u << (k - first)) - 1u;
      } else if (V == 32) {
        /* a step's word holds a bit of 32 rows: lanes take a step each, ballots turn the square round */
        int step = first + cell_lane(), r0 = r - cell_lane();
        CellWord bits = r0 < rows && step < k ? cell_bits_at(p, base + r0 * rs + step * ks) : 0u;
        CELL_UNROLL
        for (int i = 0; i < 32; i++) {
          CellWord row = cell_ballot(bits >> i & 1u);
          if (cell_lane() == i && r < rows) mine = row;
        }
      } else {
        /* however they lie */
        CELL_ONCE
        for (int i = 0; i < 32; i++) {
          int step = first + cell_lane(), row = r - cell_lane() + i;
          CellWord all = cell_ballot(row < rows && step < k &&
                                     (cell_bits_at(p, base + row * rs + step * ks) & 1u));
          if (cell_lane() == i) mine = all;
        }
      }
      if (r < T) masks[w * (T + 1) + r] = mine;
    }
    cell_barrier();
    count[0] = 0.0f;
    CELL_ONCE
    for (int w = cell_warp(); w < CELL_MASKS; w += CELL_WARPS) {
      CellWord any = 0;
      CELL_UNROLL
      for (int r = cell_lane(); r < T; r += 32) {
        CellWord row = masks[w * (T + 1) + r];
        any |= row, count[0] += (float)cell_popcount(row);
      }
      CELL_UNROLL
      for (int lane = 16; lane > 0; lane >>= 1) any |= (CellWord)cell_shuffle_xor((int)any, lane);
      if (cell_lane() == 0) masks[w * (T + 1) + T] = any;
    }
    cell_block_sum(count, 0);
  }

  /* as floats; there is nothing to copy asynchronously */
  template <int T> CELL_METHOD void stage(CellShared<float> to, int at, int k0, int k) const {
    enum { RUN = V == 1 ? 1 : 4 };
    CELL_UNROLL
    for (int c = cell_thread(); c < T * CELL_SLICE / RUN; c += CELL_THREADS) {
      int row = K ? c / (CELL_SLICE / RUN) : c % (T / RUN) * RUN;
      int kk = K ? c % (CELL_SLICE / RUN) * RUN : c / (T / RUN);
      int there = K ? (row < rows ? k - k0 - kk : 0) : (k0 + kk < k ? rows - row : 0);
      CellWord bits = there > 0 ? cell_bits_at(p, base + row * rs + (k0 + kk) * ks) : 0u;
      float x[4];
      CELL_UNROLL
      for (int i = 0; i < RUN; i++) x[i] = i < there ? (float)(bits >> i & 1u) : 0.0f;
      int place = at + (K ? row * CELL_ALONG_K + kk : kk * (T + 8) + row);
      if (RUN == 4)
        cell_store4(to, place, x);
      else
        to[place] = x[0];
    }
  }
};

template <bool K> struct CellIsAlongK {};
template <bool K, int V, class Index>
CELL_DEVICE CellIsAlongK<K> cell_along(const CellOperand<K, V, Index> &) {
  return {};
}
template <bool K, int V, class Index>
CELL_DEVICE CellIsAlongK<K> cell_along(const CellBitOperand<K, V, Index> &) {
  return {};
}

/* four steps of k for one row of a slice */
template <int T>
CELL_DEVICE void cell_read_row(CellShared<float> s, int at, int row, int kk, float (&x)[4],
                               CellIsAlongK<true>) {
  cell_load4(s, at + row * CELL_ALONG_K + kk, x);
}
template <int T>
CELL_DEVICE void cell_read_row(CellShared<float> s, int at, int row, int kk, float (&x)[4],
                               CellIsAlongK<false>) {
  CELL_UNROLL
  for (int q = 0; q < 4; q++) x[q] = s[at + (kk + q) * (T + 8) + row];
}
template <int T>
CELL_DEVICE float cell_read(CellShared<float> s, int at, int row, int kk, CellIsAlongK<true>) {
  return s[at + row * CELL_ALONG_K + kk];
}
template <int T>
CELL_DEVICE float cell_read(CellShared<float> s, int at, int row, int kk, CellIsAlongK<false>) {
  return s[at + kk * (T + 8) + row];
}
/* four rows from 4 r on, for four steps of k */
template <int T>
CELL_DEVICE void cell_read_rows(CellShared<float> s, int at, int row, int kk, float (&x)[4][4],
                                CellIsAlongK<true> along) {
  CELL_UNROLL
  for (int i = 0; i < 4; i++) cell_read_row<T>(s, at, row + i, kk, x[i], along);
}
template <int T>
CELL_DEVICE void cell_read_rows(CellShared<float> s, int at, int row, int kk, float (&x)[4][4],
                                CellIsAlongK<false>) {
  CELL_UNROLL
  for (int q = 0; q < 4; q++) {
    float four[4];
    cell_load4(s, at + (kk + q) * (T + 8) + row, four);
    CELL_UNROLL
    for (int i = 0; i < 4; i++) x[i][q] = four[i];
  }
}

/* Words of shared memory that products use, behind the folds. */
template <int TM, int TN> struct CellStaging {
  enum { WORDS = CELL_STAGES * (CellSlice<TM>::WORDS + CellSlice<TN>::WORDS) };
  /* of select(): slices of 32 steps of b; then the masks */
  enum { SELECTED = CELL_STAGES * 2 * CellSlice<TN>::WORDS, MASKS = CELL_MASKS * (TM + 1) };
};

/* BLOCKED: a thread's 4 columns are neighbours (b's rows are contiguous), else they are TN / 4 apart. */
template <int TM, int TN, bool BLOCKED, int PRECISION> struct CellProduct {
  enum {
    ACROSS = TN / 4,                  /* threads along n */
    DOWN = CELL_THREADS / ACROSS,     /* along m */
    ROWS = TM / DOWN,                 /* of a thread */
    TOGETHER = ROWS % 4 == 0 ? 4 : 1, /* of them neighbours */
    MATRIX = PRECISION != CELL_FP32,
    WARPS_DOWN = TM == 64 && TN == 64 ? 2 : TM / 16,
    WARPS_ACROSS = CELL_WARPS / WARPS_DOWN,
    WM = TM / WARPS_DOWN, /* a warp's part, in tiles of 16 x 8 */
    WN = TN / WARPS_ACROSS,
    TILES_DOWN = WM / 16,
    TILES_ACROSS = WN / 8
  };
  float sum[ROWS][4]; /* MATRIX: [matrix tiles][4] */

  CELL_METHOD void clear() {
    CELL_UNROLL
    for (int i = 0; i < ROWS; i++) CELL_UNROLL
    for (int j = 0; j < 4; j++) sum[i][j] = 0.0f;
  }

  static CELL_METHOD int row(int i) {
    int t = cell_thread() / ACROSS;
    return TOGETHER * t + i % TOGETHER + i / TOGETHER * TOGETHER * DOWN;
  }
  static CELL_METHOD int column(int j) {
    int t = cell_thread() % ACROSS;
    return BLOCKED ? 4 * t + j : t + ACROSS * j;
  }

  template <class AlongA, class AlongB>
  CELL_METHOD void slice(CellShared<float> s, int a, int b, AlongA along_a, AlongB along_b) {
    CELL_ONCE
    for (int kk = 0; kk < CELL_SLICE; kk += 4) {
      float y[4][4];
      if (BLOCKED)
        cell_read_rows<TN>(s, b, column(0), kk, y, along_b);
      else
        CELL_UNROLL
      for (int j = 0; j < 4; j++) cell_read_row<TN>(s, b, column(j), kk, y[j], along_b);
      CELL_UNROLL
      for (int i = 0; i < ROWS; i += TOGETHER) {
        float x[4][4];
        if (TOGETHER == 4)
          cell_read_rows<TM>(s, a, row(i), kk, x, along_a);
        else
          cell_read_row<TM>(s, a, row(i), kk, x[0], along_a);
        CELL_UNROLL
        for (int r = 0; r < TOGETHER; r++) CELL_UNROLL
        for (int j = 0; j < 4; j++) CELL_UNROLL
        for (int q = 0; q < 4; q++) sum[i + r][j] = cell_fma(x[r][q], y[j][q], sum[i + r][j]);
      }
    }
  }

  /* a warp's part of the tile, in matrix tiles */
  template <class AlongA, class AlongB>
  CELL_METHOD void matrix_slice(CellShared<float> s, int a, int b, AlongA along_a, AlongB along_b) {
    int m0 = cell_warp() / WARPS_ACROSS * WM + cell_lane() / 4;
    int n0 = cell_warp() % WARPS_ACROSS * WN + cell_lane() / 4;
    int t = cell_lane() % 4;
    CELL_UNROLL
    for (int kk = 0; kk < CELL_SLICE; kk += PRECISION == CELL_BF16 ? 16 : 8) {
      CellWord y[TILES_ACROSS][2];
      CELL_UNROLL
      for (int j = 0; j < TILES_ACROSS; j++) CELL_UNROLL
      for (int h = 0; h < 2; h++)
        y[j][h] =
            PRECISION == CELL_BF16
                ? cell_to_bf16(cell_read<TN>(s, b, n0 + 8 * j, kk + 2 * t + 8 * h, along_b),
                               cell_read<TN>(s, b, n0 + 8 * j, kk + 2 * t + 8 * h + 1, along_b))
                : cell_to_tf32(cell_read<TN>(s, b, n0 + 8 * j, kk + t + 4 * h, along_b));
      CELL_UNROLL
      for (int i = 0; i < TILES_DOWN; i++) {
        CellWord x[4];
        CELL_UNROLL
        for (int h = 0; h < 4; h++) {
          int r = m0 + 16 * i + h % 2 * 8;
          x[h] = PRECISION == CELL_BF16
                     ? cell_to_bf16(cell_read<TM>(s, a, r, kk + 2 * t + h / 2 * 8, along_a),
                                    cell_read<TM>(s, a, r, kk + 2 * t + h / 2 * 8 + 1, along_a))
                     : cell_to_tf32(cell_read<TM>(s, a, r, kk + t + h / 2 * 4, along_a));
        }
        CELL_UNROLL
        for (int j = 0; j < TILES_ACROSS; j++) {
          if (PRECISION == CELL_BF16)
            cell_mma_bf16(sum[TILES_ACROSS * i + j], x, y[j]);
          else
            cell_mma_tf32(sum[TILES_ACROSS * i + j], x, y[j]);
        }
      }
    }
  }

  /* sum += a b' over k; every thread of the block calls it */
  template <class A, class B> CELL_METHOD void add(const A &a, const B &b, int k) {
    enum { SA = CellSlice<TM>::WORDS, SB = CellSlice<TN>::WORDS, STAGE = SA + SB };
    CellShared<float> s = cell_shared<float>(CELL_FOLD_BYTES, CELL_STAGES * STAGE);
    int slices = (k + CELL_SLICE - 1) / CELL_SLICE;
    /* the first turns only fill the stages */
    CELL_ONCE
    for (int t = 1 - CELL_STAGES; t < slices; t++) {
      if (t >= 0) {
        cell_copy_wait<CELL_STAGES - 2>();
        cell_barrier(); /* the slice is there for all, and all are done with the one before */
      }
      int next = t + CELL_STAGES - 1, at = next % CELL_STAGES * STAGE;
      if (next < slices) {
        a.template stage<TM>(s, at, next * CELL_SLICE, k);
        b.template stage<TN>(s, at + SA, next * CELL_SLICE, k);
      }
      cell_copy_commit();
      if (t < 0) continue;
      int here = t % CELL_STAGES * STAGE;
      if (MATRIX)
        matrix_slice(s, here, here + SA, cell_along(a), cell_along(b));
      else
        slice(s, here, here + SA, cell_along(a), cell_along(b));
    }
    cell_copy_wait<0>();
    cell_barrier(); /* before the stages are filled again */
  }

  /* 32 steps of k, whose bits are masks[row]: sums of the rows of b that are selected. A set bit costs a thread
   * one read of shared memory; where many are set, all are read, once for all of its rows. */
  template <class AlongB>
  CELL_METHOD void selected_slice(CellShared<float> s, int b, CellShared<CellWord> masks, int at,
                                  bool many, AlongB along_b) {
    enum { HALF = CellSlice<TN>::WORDS };
    if (many) {
      CellWord left[ROWS];
      CELL_UNROLL
      for (int i = 0; i < ROWS; i++) left[i] = masks[at + row(i)];
      CELL_ONCE
      for (int kk = 0; kk < 32; kk++) {
        float y[4];
        selected_row(s, b + kk / CELL_SLICE * HALF, kk % CELL_SLICE, y, along_b);
        CELL_UNROLL
        for (int i = 0; i < ROWS; i++) {
          CELL_UNROLL
          for (int j = 0; j < 4; j++) sum[i][j] += left[i] & 1u ? y[j] : 0.0f;
          left[i] >>= 1;
        }
      }
      return;
    }
    CELL_UNROLL
    for (int i = 0; i < ROWS; i++) {
      CELL_ONCE
      for (CellWord left = masks[at + row(i)]; left; left &= left - 1u) {
        int kk = cell_popcount(~left & (left - 1u)); /* of its lowest bit */
        float y[4];
        selected_row(s, b + kk / CELL_SLICE * HALF, kk % CELL_SLICE, y, along_b);
        CELL_UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] += y[j];
      }
    }
  }
  template <class AlongB>
  static CELL_METHOD void selected_row(CellShared<float> s, int b, int kk, float (&y)[4],
                                       AlongB along_b) {
    if (BLOCKED)
      cell_load4(s, b + kk * (TN + 8) + column(0), y);
    else
      CELL_UNROLL
    for (int j = 0; j < 4; j++) y[j] = cell_read<TN>(s, b, column(j), kk, along_b);
  }

  /* sum += a b' over k, a of bits: what add() gives but for zeros times what is no number. b's rows of columns
   * are contiguous; of them only those travel that a row of the tile selects. */
  template <class A, class B> CELL_METHOD void select(const A &a, const B &b, int k) {
    enum { HALF = CellSlice<TN>::WORDS, STAGE = 2 * HALF };
    CellShared<float> s = cell_shared<float>(CELL_FOLD_BYTES, CELL_STAGES * STAGE);
    CellShared<CellWord> masks = cell_shared<CellWord>(
        CELL_FOLD_BYTES + 4 * CellStaging<TM, TN>::SELECTED, CellStaging<TM, TN>::MASKS);
    CELL_ONCE
    for (int k0 = 0; k0 < k; k0 += 32 * CELL_MASKS) {
      int steps = k - k0 < 32 * CELL_MASKS ? k - k0 : 32 * CELL_MASKS, slices = (steps + 31) / 32;
      float count[1];
      a.template list<TM>(masks, k0, k, count);
      /* a read of shared memory takes as long as four multiply-adds of its words */
      bool many = 4.0f * count[0] > (float)a.rows * (float)steps;
      CELL_ONCE
      for (int t = 1 - CELL_STAGES; t < slices; t++) {
        if (t >= 0) {
          cell_copy_wait<CELL_STAGES - 2>();
          cell_barrier(); /* as in add() */
        }
        int next = t + CELL_STAGES - 1, at = next % CELL_STAGES * STAGE, from = k0 + 32 * next;
        if (next < slices) {
          CellWord used = masks[next * (TM + 1) + TM];
          b.template stage<TN>(s, at, from, k, used);
          b.template stage<TN>(s, at + HALF, from + CELL_SLICE, k, used >> CELL_SLICE);
        }
        cell_copy_commit();
        if (t < 0) continue;
        selected_slice(s, t % CELL_STAGES * STAGE, masks, t * (TM + 1), many, cell_along(b));
      }
      cell_copy_wait<0>();
      cell_barrier(); /* before masks and stages are filled again */
    }
  }

  /* f(row, column, sum) for the entries of the tile that are there and this thread's */
  template <class F> CELL_METHOD void each(int rows, int columns, const F &f) const {
    CELL_UNROLL
    for (int i = 0; i < ROWS; i++) CELL_UNROLL
    for (int j = 0; j < 4; j++) {
      int m = row(i), n = column(j);
      if (MATRIX) {
        m = cell_warp() / WARPS_ACROSS * WM + i / TILES_ACROSS * 16 + cell_lane() / 4 + j / 2 * 8;
        n = cell_warp() % WARPS_ACROSS * WN + i % TILES_ACROSS * 8 + cell_lane() % 4 * 2 + j % 2;
      }
      if (m < rows && n < columns) f(m, n, sum[i][j]);
    }
  }

  template <class Index>
  CELL_METHOD void store(CellOut<float> out, Index base, Index rs, Index cs, int rows, int columns,
                         bool onto) const {
    each(rows, columns, [&](int m, int n, float x) {
      Index at = base + m * rs + n * cs;
      out[at] = onto ? out[at] + x : x;
    });
  }
};

#endif
