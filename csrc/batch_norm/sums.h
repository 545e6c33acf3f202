// The inner loops of batch norm on the CPU that add up: along rows (a channel's elements lie side
// by side) and in columns (channels do). Each is a kernel for run_for_isa.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "batch_norm/rows.h"

namespace sightline::batch_norm {

// Elements whose sums are formed in computing type, in kLanes parts, before they are merged in
// double.
inline constexpr int64_t kBlock = 2048;

// Count, mean and sum of squared differences from it.
struct Moments {
  double count = 0, mean = 0, m2 = 0;

  // Chan's merge, of n numbers.
  SIGHTLINE_INLINE void merge(double n, double mean_b, double m2_b) {
    const double total = count + n, share = n / total, delta = mean_b - mean;
    mean += delta * share;
    m2 += m2_b + delta * delta * (count * share);
    count = total;
  }
};

// Sums of g and of g * t.
struct Sums {
  double sum = 0, dot = 0;
};

// In one fixed tree, by vectors of eight: gcc leaves loops over a tree as scalars.
template <class S>
SIGHTLINE_INLINE double add_lanes(const S* lanes) {
  typedef S Narrow __attribute__((vector_size(8 * sizeof(S)), aligned(alignof(S)), may_alias));
  typedef double Wide __attribute__((vector_size(8 * sizeof(double))));
  const Narrow* const p = reinterpret_cast<const Narrow*>(lanes);
  const Wide low = __builtin_convertvector(p[0], Wide) + __builtin_convertvector(p[1], Wide);
  const Wide high = __builtin_convertvector(p[2], Wide) + __builtin_convertvector(p[3], Wide);
  const Wide all = low + high;
  return ((all[0] + all[4]) + (all[2] + all[6])) + ((all[1] + all[5]) + (all[3] + all[7]));
}

// Lanes of computing type that have taken in kBlock elements go to lanes of double.
template <class S>
SIGHTLINE_INLINE void move_lanes(S* lanes, double* to) {
  for (int64_t j = 0; j < kLanes; ++j) {
    to[j] += double(lanes[j]);
    lanes[j] = 0;
  }
}

// What the moments of a block are shifted by, in two parts: a number of type S beside a large mean
// lies on the grid of x itself, and the squares of whole steps of a grid all round to one side.
template <class S>
struct Origin {
  S high, low;
  SIGHTLINE_INLINE double sum() const { return double(high) + double(low); }
  SIGHTLINE_INLINE static Origin of(double mean) {
    const S high = S(mean);
    return {high, S(mean - double(high))};
  }
  // The mean of the first numbers of a row, for its first block.
  SIGHTLINE_INLINE static Origin of_first(const S* x, int64_t n) {
    const int64_t few = n < kLanes ? n : kLanes;
    double sum = 0;
    for (int64_t j = 0; j < few; ++j) sum += double(x[j] - x[0]);
    return of(double(x[0]) + sum / double(few));
  }
};

// Adds to the lanes of sums and squares those of x - origin and of its square.
template <Isa level, class S>
SIGHTLINE_INLINE void add_moments(const S* x, int64_t n, Origin<S> origin, S* sums, S* squares) {
  using V = Vectors<level, S>;
  typename V::Type sum[V::kCount], square[V::kCount];
  for (int64_t k = 0; k < V::kCount; ++k) {
    sum[k] = V::load(sums + k * V::kWidth);
    square[k] = V::load(squares + k * V::kWidth);
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < V::kCount; ++k) {
      const auto d = (V::load(x + i + k * V::kWidth) - origin.high) - origin.low;
      sum[k] += d;
      square[k] += d * d;
    }
  }
  if (i < n) {
    alignas(kLineBytes) S end[kLanes];
    Lanes<level>::load(x + i, n - i, end);
    const uint32_t word = (uint32_t(1) << (n - i)) - 1;
    for (int64_t k = 0; k < V::kCount; ++k) {
      const auto all = (V::load(end + k * V::kWidth) - origin.high) - origin.low;
      const auto d = V::chosen(word, k) ? all : typename V::Type{};
      sum[k] += d;
      square[k] += d * d;
    }
  }
  for (int64_t k = 0; k < V::kCount; ++k) {
    V::store(sum[k], sums + k * V::kWidth);
    V::store(square[k], squares + k * V::kWidth);
  }
}

struct AddMomentRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(Rows<const S> x, const Origin<S>* origin, S* sums, S* squares,
                                      int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r)
      add_moments<level>(x.row(r), width, origin[r], sums + r * kLanes, squares + r * kLanes);
  }
};

// Merges what the lanes of each row have taken in, n elements a row, and empties them.
struct MergeMomentRows {
  template <class S>
  SIGHTLINE_INLINE static void run(const Origin<S>* origin, S* sums, S* squares, double n,
                                   Moments* to, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r) {
      const double sum = add_lanes(sums + r * kLanes), offset = sum / n;
      to[r].merge(n, origin[r].sum() + offset, add_lanes(squares + r * kLanes) - sum * offset);
      for (int64_t j = 0; j < kLanes; ++j) sums[r * kLanes + j] = squares[r * kLanes + j] = 0;
    }
  }
};

// Merges the n numbers of a long row into `to`, shifted by the mean so far.
struct MergeLongRow {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(const S* x, int64_t n, Moments* to) {
    const Origin<S> origin = to->count == 0 ? Origin<S>::of_first(x, n) : Origin<S>::of(to->mean);
    double wide_sum[kLanes] = {}, wide_square[kLanes] = {};
    S sum[kLanes] = {}, square[kLanes] = {};
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      add_moments<level>(x + begin, std::min(kBlock, n - begin), origin, sum, square);
      move_lanes(sum, wide_sum);
      move_lanes(square, wide_square);
    }
    const double total = add_lanes(wide_sum), offset = total / double(n);
    to->merge(double(n), origin.sum() + offset, add_lanes(wide_square) - total * offset);
  }
};

// Adds to a row's lanes those of g and of g * t. Keeps g of a costly Recipe, unless kept is null.
template <class Recipe, Isa level, class S>
SIGHTLINE_INLINE void add_gradients(const GradientRow<Recipe, Per::kRow, S>& row, int64_t begin,
                                    int64_t end, S* sums, S* dots, S* kept) {
  using V = Vectors<level, S>;
  typename V::Type sum[V::kCount], dot[V::kCount], g[V::kCount];
  for (int64_t k = 0; k < V::kCount; ++k) {
    sum[k] = V::load(sums + k * V::kWidth);
    dot[k] = V::load(dots + k * V::kWidth);
  }
  const auto add = [&](int64_t i, int64_t n) SIGHTLINE_LAMBDA {
    row.template for_each_vector<level>(
        i, n, [&](int64_t k, const Gradient<typename V::Type>& e) SIGHTLINE_LAMBDA {
          sum[k] += e.g;
          dot[k] += e.g * e.t;
          g[k] = e.g;
        });
    if constexpr (Recipe::kCostly)
      if (kept != nullptr) put_lanes<level>(g, kept + i, n, false);
  };
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) add(i, kLanes);
  if (i < end) add(i, end - i);
  for (int64_t k = 0; k < V::kCount; ++k) {
    V::store(sum[k], sums + k * V::kWidth);
    V::store(dot[k], dots + k * V::kWidth);
  }
}

template <class Recipe>
struct AddGradientRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(GradientRows<S> from, Affine<S> affine, S slope, S* sums,
                                      S* dots, Rows<S> kept, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const GradientRow<Recipe, Per::kRow, S> row(from, r, affine, slope);
      add_gradients<Recipe, level>(row, 0, width, sums + r * kLanes, dots + r * kLanes,
                                   kept.row(r));
    }
  }
};

// Adds what the lanes of each row have taken in to its sums, and empties them.
struct MergeSumRows {
  template <class S>
  SIGHTLINE_INLINE static void run(S* sums, S* dots, Sums* to, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r) {
      to[r].sum += add_lanes(sums + r * kLanes);
      to[r].dot += add_lanes(dots + r * kLanes);
      for (int64_t j = 0; j < kLanes; ++j) sums[r * kLanes + j] = dots[r * kLanes + j] = 0;
    }
  }
};

// Adds the sums of long rows to those of `to`.
template <class Recipe>
struct AddLongRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(GradientRows<S> from, Affine<S> affine, S slope, Sums* to,
                                      Rows<S> kept, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const GradientRow<Recipe, Per::kRow, S> row(from, r, affine, slope);
      double wide_sum[kLanes] = {}, wide_dot[kLanes] = {};
      S sum[kLanes] = {}, dot[kLanes] = {};
      for (int64_t begin = 0; begin < width; begin += kBlock) {
        add_gradients<Recipe, level>(row, begin, std::min(begin + kBlock, width), sum, dot,
                                     kept.row(r));
        move_lanes(sum, wide_sum);
        move_lanes(dot, wide_dot);
      }
      to[r].sum += add_lanes(wide_sum);
      to[r].dot += add_lanes(wide_dot);
    }
  }
};

// The mean of each column.
struct AverageRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, S* mean, int64_t rows, int64_t width) {
    for (int64_t j = 0; j < width; ++j) mean[j] = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = x.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) mean[j] += p[j];
    }
    const S share = S(1) / static_cast<S>(rows);
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) mean[j] *= share;
  }
};

// Adds to each column's sums of x - origin and of its square. Row by row, with the sums in the
// first-level cache: visiting several rows at a time halves the speed of reading, since the
// prefetchers of the hardware do not follow it (measured on Zen 4).
struct AddMoments {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, const S* origin, S* sum, S* square,
                                   int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = x.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) {
        const S d = p[j] - origin[j];
        sum[j] += d;
        square[j] += d * d;
      }
    }
  }
};

// Adds to each column's sums of g and of g * t; there are whole kLanes of them. Keeps g as
// add_gradients() does.
template <class Recipe>
struct AddColumns {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(GradientRows<S> from, Affine<S> affine, S slope, S* sums,
                                      S* dots, Rows<S> kept, int64_t rows, int64_t width) {
    using V = Vectors<level, S>;
    for (int64_t r = 0; r < rows; ++r) {
      const GradientRow<Recipe, Per::kColumn, S> row(from, r, affine, slope);
      for (int64_t i = 0; i < width; i += kLanes) {
        const int64_t n = width - i < kLanes ? width - i : kLanes;
        typename V::Type g[V::kCount];
        row.template for_each_vector<level>(
            i, n, [&](int64_t k, const Gradient<typename V::Type>& e) SIGHTLINE_LAMBDA {
              S *const sum = sums + i + k * V::kWidth, *const dot = dots + i + k * V::kWidth;
              V::store(V::load(sum) + e.g, sum);
              V::store(V::load(dot) + e.g * e.t, dot);
              g[k] = e.g;
            });
        if constexpr (Recipe::kCostly)
          if (kept.data != nullptr) put_lanes<level>(g, kept.row(r) + i, n, false);
      }
    }
  }
};

// Chan's merge, in columns: {n_a, mean, m2} takes in n_b numbers whose sums about origin are given.
struct MergeSums {
  template <class S>
  SIGHTLINE_INLINE static void run(double n_a, double* mean, double* m2, double n_b,
                                   const S* origin, const S* sum, const S* square, int64_t width) {
    if (n_b == 0) return;
    const double share = n_b / (n_a + n_b), spread = n_a * share, inverse = 1 / n_b;
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const double offset = sum[j] * inverse;
      const double delta = origin[j] + offset - mean[j];
      mean[j] += delta * share;
      m2[j] += (square[j] - sum[j] * offset) + delta * delta * spread;
    }
  }
};

struct MergeMoments {
  SIGHTLINE_INLINE static void run(double n_a, double* mean, double* m2, double n_b,
                                   const double* mean_b, const double* m2_b, int64_t width) {
    const double share = n_b / (n_a + n_b), spread = n_a * share;
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const double delta = mean_b[j] - mean[j];
      mean[j] += delta * share;
      m2[j] += m2_b[j] + delta * delta * spread;
    }
  }
};

}  // namespace sightline::batch_norm
