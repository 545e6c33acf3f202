// What forward and backward passes on the CPU share: chunks in computing type, coefficients of
// columns, and sums of columns that become sums of channels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "batch_norm/panel.h"
#include "batch_norm/rows.h"
#include "common/isa.h"

namespace sightline {

// Everything that loops read again and again starts at a cache line: vectors that straddle two
// lines cost half the speed.
inline constexpr int64_t kLine = 64;

template <class T>
struct Buffer {
  alignas(kLine) Compute<T> data[kChunk];
};

template <class S>
class AlignedArray {
 public:
  explicit AlignedArray(int64_t n) : lines_((n + kPerLine - 1) / kPerLine) {}
  S* data() { return lines_.data()->values; }
  const S* data() const { return lines_.data()->values; }

 private:
  static constexpr int64_t kPerLine = kLine / sizeof(S);
  struct alignas(kLine) Line {
    S values[kPerLine];
  };
  std::vector<Line> lines_;
};

// A chunk of `from` in computing type: where it lies, or widened into buffer.
template <class T>
Rows<const Compute<T>> load(const T* from, const Chunk& chunk, Buffer<T>& buffer) {
  const Rows<const T> rows{from + chunk.offset, chunk.stride};
  if constexpr (kIsHalf<T>) {
    run_for_isa<WidenRows>(rows, Rows<float>{buffer.data, chunk.width}, chunk.rows, chunk.width);
    return {buffer.data, chunk.width};
  } else {
    return rows;
  }
}

// Where a chunk of `to` is computed: in its place, or in buffer until store() narrows it.
template <class T>
Rows<Compute<T>> place(T* to, const Chunk& chunk, Buffer<T>& buffer) {
  if constexpr (kIsHalf<T>)
    return {buffer.data, chunk.width};
  else
    return {to + chunk.offset, chunk.stride};
}

template <class T>
void store(Rows<const Compute<T>> from, T* to, const Chunk& chunk) {
  const Rows<T> rows{to + chunk.offset, chunk.stride};
  if constexpr (!kIsHalf<T>)
    if (from.data == rows.data) return;
  run_for_isa<NarrowRows>(from, rows, chunk.rows, chunk.width);
}

inline double inverse_std(double var, double eps) { return 1 / std::sqrt(var + eps); }

template <class S>
double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : static_cast<double>(p[i]);
}

// Per column: one a channel, repeated where a row holds several positions.
template <class S>
class Coefficients {
 public:
  Coefficients(int64_t channels, int64_t fold)
      : channels_(channels),
        columns_(channels * fold),
        mean_(columns_),
        scale_(columns_),
        shift_(columns_) {}

  // What rounding the mean to S leaves off goes to the shift, where it costs nothing.
  void set(int64_t c, double mean, double scale, double bias) {
    const S rounded = static_cast<S>(mean);
    const S shift = static_cast<S>(bias - scale * (mean - rounded));
    for (int64_t j = c; j < columns_; j += channels_) {
      mean_.data()[j] = rounded;
      scale_.data()[j] = static_cast<S>(scale);
      shift_.data()[j] = shift;
    }
  }
  Affine<S> at(int64_t first) const {
    return {mean_.data() + first, scale_.data() + first, shift_.data() + first};
  }

 private:
  int64_t channels_, columns_;
  AlignedArray<S> mean_, scale_, shift_;
};

// v[c] = sum of v[c + k * period] over k, pairwise.
inline void fold_columns(double* v, int64_t width, int64_t period) {
  for (int64_t n = width / period; n > 1; n -= n / 2) {
    const int64_t from = (n - n / 2) * period, count = n / 2 * period;
    for (int64_t j = 0; j < count; ++j) v[j] += v[from + j];
  }
}

// Mean and sum of squared differences of each column of a panel, block by block.
template <class T>
class ColumnMoments {
 public:
  using S = Compute<T>;
  explicit ColumnMoments(const Panel& panel) : width_(panel.width), period_(panel.period) {
    std::fill_n(mean_, width_, 0.0);
    std::fill_n(m2_, width_, 0.0);
  }

  void add(const T* x, const Chunk& chunk) {
    if (block_ + chunk.rows > kBlockRows) merge_block();
    Buffer<T> buffer;
    const Rows<const S> rows = load(x, chunk, buffer);
    if (block_ == 0) {
      run_for_isa<AverageRows>(rows, origin_, std::min(kOriginRows, chunk.rows), width_);
      std::fill_n(sum_, width_, S(0));
      std::fill_n(square_, width_, S(0));
    }
    run_for_isa<AddMoments>(rows, origin_, sum_, square_, chunk.rows, width_);
    block_ += chunk.rows;
  }

  // The moments of the panel's channels are merged into mean and m2, [period], of `before`
  // elements.
  void merge_into(double* mean, double* m2, int64_t before) {
    merge_block();
    // Columns of one channel hold equally many elements: their means average.
    const int64_t fold = width_ / period_;
    double centre[kMaxWidth] = {};
    std::copy_n(mean_, width_, centre);
    fold_columns(centre, width_, period_);
    for (int64_t c = 0; c < period_; ++c) centre[c] /= double(fold);
    if (period_ == 1) {
      add_spread(0, width_, [&](int64_t) { return centre[0]; });
    } else {
      for (int64_t k = 0; k < width_; k += period_)
        add_spread(k, k + period_, [&](int64_t j) { return centre[j - k]; });
    }
    fold_columns(m2_, width_, period_);
    run_for_isa<MergeMoments>(double(before), mean, m2, double(rows_ * fold), centre, m2_, period_);
  }

 private:
  void merge_block() {
    run_for_isa<MergeSums>(double(rows_), mean_, m2_, double(block_), origin_, sum_, square_,
                           width_);
    rows_ += block_;
    block_ = 0;
  }

  // To each column what its mean's distance from the channel's adds.
  template <class F>
  void add_spread(int64_t begin, int64_t end, F centre) {
    for (int64_t j = begin; j < end; ++j) {
      const double delta = mean_[j] - centre(j);
      m2_[j] += delta * delta * double(rows_);
    }
  }

  int64_t width_, period_, rows_ = 0, block_ = 0;
  alignas(kLine) double mean_[kMaxWidth], m2_[kMaxWidth];
  alignas(kLine) S origin_[kMaxWidth], sum_[kMaxWidth], square_[kMaxWidth];
};

// Sums of g and g * (x - mean) of each column of a panel, block by block.
template <class S>
class ColumnSums {
 public:
  explicit ColumnSums(const Panel& panel) : width_(panel.width), period_(panel.period) {
    std::fill_n(sum_, width_, 0.0);
    std::fill_n(dot_, width_, 0.0);
    std::fill_n(block_sum_, width_, S(0));
    std::fill_n(block_dot_, width_, S(0));
  }

  template <class Act, int kStep>
  void add(Rows<const S> grad, Rows<const S> x, const Affine<S>& affine, S slope, int64_t rows) {
    if (block_ + rows > kBlockRows) merge_block();
    run_for_isa<AddGradients<Act, kStep>>(grad, x, affine, slope, block_sum_, block_dot_, rows,
                                          width_);
    block_ += rows;
  }

  void merge_into(double* sum, double* dot) {  // [period]
    merge_block();
    fold_columns(sum_, width_, period_);
    fold_columns(dot_, width_, period_);
    for (int64_t c = 0; c < period_; ++c) {
      sum[c] += sum_[c];
      dot[c] += dot_[c];
    }
  }

 private:
  void merge_block() {
    for (int64_t j = 0; j < width_; ++j) {
      sum_[j] += double(block_sum_[j]);
      dot_[j] += double(block_dot_[j]);
      block_sum_[j] = block_dot_[j] = 0;
    }
    block_ = 0;
  }

  int64_t width_, period_, block_ = 0;
  alignas(kLine) double sum_[kMaxWidth], dot_[kMaxWidth];
  alignas(kLine) S block_sum_[kMaxWidth], block_dot_[kMaxWidth];
};

}  // namespace sightline
