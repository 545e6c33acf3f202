// How the CPU kernels cut [positions, channels]: groups of positions, a function of the shape
// alone; and sums of columns that become sums of channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "batch_norm/batch_norm.h"
#include "batch_norm/chunks.h"
#include "batch_norm/sums.h"

namespace sightline::batch_norm {

inline constexpr int64_t kMaxWidth = 1024;  // columns of a panel; bounds the buffers of a task
inline constexpr int64_t kMinWidth = 128;   // columns that narrow data are gathered to
inline constexpr int64_t kBlockRows = 128;  // rows summed in type Compute<T>, then merged in double
inline constexpr int64_t kOriginRows = 8;   // averaged to what a block's moments are shifted by
inline constexpr int64_t kMaxGroups = 64;   // tasks of channels-last data: enough for 64 threads
inline constexpr int64_t kMinGroup =
    1 << 17;  // elements of such a task: fewer drown in merging channels

// A chunk whose column j belongs to channel chunk.first + j % period, of which the group has
// `before` elements in earlier panels.
struct Panel {
  Chunk chunk;
  int64_t period, before;
};

// A task is a group of positions. Its columns are channels, or where those are few, several
// positions side by side.
class Groups {
 public:
  explicit Groups(const BatchNormShape& shape)
      : channels_(shape.channels), count_(shape.count()), fold_(fold_of(shape.channels)) {
    const int64_t least = std::max((count_ + kMaxGroups - 1) / kMaxGroups, kMinGroup / channels_);
    group_ = (std::max<int64_t>(least, 1) + fold_ - 1) / fold_ * fold_;
  }
  int64_t size() const { return (count_ + group_ - 1) / group_; }
  int64_t elements() const { return group_ * channels_; }  // of a group
  int64_t positions(int64_t group) const { return std::min(group_, count_ - group * group_); }
  int64_t fold() const { return fold_; }  // coefficients are repeated so many times

  template <class F>
  void for_each_panel(int64_t group, F f) const {
    const int64_t positions = this->positions(group), first = group * group_;
    const int64_t offset = first * channels_;
    if (channels_ > kMaxWidth) {
      const int64_t bytes = (channels_ + 7) / 8;
      for (int64_t c = 0; c < channels_; c += kMaxWidth) {
        const int64_t width = std::min(kMaxWidth, channels_ - c);
        f(Panel{
            {offset + c, positions, channels_, width, c, first * bytes + c / 8, bytes}, width, 0});
      }
      return;
    }
    const int64_t width = fold_ * channels_, rows = positions / fold_;
    const int64_t tail = positions % fold_ * channels_, bytes = (width + 7) / 8;
    const int64_t bits = first / fold_ * bytes;
    if (rows > 0) f(Panel{{offset, rows, width, width, 0, bits, bytes}, channels_, 0});
    if (tail > 0)
      f(Panel{{offset + rows * width, 1, tail, tail, 0, bits + rows * bytes, 0},
              channels_,
              rows * fold_});
  }

 private:
  // Positions in a row, so that it has at least kMinWidth columns where they lie in whole cache
  // lines, and whole bytes of a mask (batch_norm_mask_bytes).
  static int64_t fold_of(int64_t channels) {
    constexpr int64_t kLineFloats = 16;
    static_assert(kNarrowRow * kLineFloats <= kMaxWidth);
    const int64_t unit = kLineFloats / std::gcd(channels, kLineFloats);
    if (channels >= kNarrowRow && unit > 1) return 1;
    const int64_t columns = unit * channels;
    return unit * std::max<int64_t>((kMinWidth + columns - 1) / columns, 1);
  }

  int64_t channels_, count_, fold_, group_;
};

// Chunks of a panel that fit a buffer and a block.
template <class F>
void for_each_chunk(const Panel& panel, F f) {
  const int64_t rows = std::clamp<int64_t>(kBuffered / panel.chunk.width, 1, kBlockRows);
  split<Per::kColumn>(panel.chunk, rows * panel.chunk.width, f);
}

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
  explicit ColumnMoments(const Panel& panel) : width_(panel.chunk.width), period_(panel.period) {
    std::fill_n(mean_, width_, 0.0);
    std::fill_n(m2_, width_, 0.0);
  }

  void add(const T* x, const Chunk& chunk) {
    if (block_ + chunk.rows > kBlockRows) merge_block();
    ChunkBuffer<T> buffer;
    const Rows<const S> rows = load(x, chunk, buffer);
    if (block_ == 0) {
      run_for_isa<AverageRows>(rows, static_cast<S*>(origin_), std::min(kOriginRows, chunk.rows),
                               width_);
      std::fill_n(sum_, width_, S(0));
      std::fill_n(square_, width_, S(0));
    }
    run_for_isa<AddMoments>(rows, static_cast<const S*>(origin_), static_cast<S*>(sum_),
                            static_cast<S*>(square_), chunk.rows, width_);
    block_ += chunk.rows;
  }

  // The moments of the panel's channels are merged into mean and m2, [period], of `before`
  // elements.
  void merge_into(double* mean, double* m2, int64_t before) {
    merge_block();
    // Columns of one channel hold equally many elements: their means average.
    const int64_t fold = width_ / period_;
    double centre[kMaxWidth];
    std::copy_n(mean_, width_, centre);
    fold_columns(centre, width_, period_);
    for (int64_t c = 0; c < period_; ++c) centre[c] /= double(fold);
    for (int64_t k = 0; k < width_; k += period_) {
      for (int64_t c = 0; c < period_; ++c) {
        const double delta = mean_[k + c] - centre[c];
        m2_[k + c] += delta * delta * double(rows_);
      }
    }
    fold_columns(m2_, width_, period_);
    run_for_isa<MergeMoments>(double(before), mean, m2, double(rows_ * fold),
                              static_cast<const double*>(centre), static_cast<const double*>(m2_),
                              period_);
  }

 private:
  void merge_block() {
    run_for_isa<MergeSums>(double(rows_), static_cast<double*>(mean_), static_cast<double*>(m2_),
                           double(block_), static_cast<const S*>(origin_),
                           static_cast<const S*>(sum_), static_cast<const S*>(square_), width_);
    rows_ += block_;
    block_ = 0;
  }

  int64_t width_, period_, rows_ = 0, block_ = 0;
  alignas(kLineBytes) double mean_[kMaxWidth], m2_[kMaxWidth];
  alignas(kLineBytes) S origin_[kMaxWidth], sum_[kMaxWidth], square_[kMaxWidth];
};

// Sums of g and g * t of each column of a panel, block by block.
template <class S>
class ColumnSums {
 public:
  explicit ColumnSums(const Panel& panel) : width_(panel.chunk.width), period_(panel.period) {
    std::fill_n(sum_, width_, 0.0);
    std::fill_n(dot_, width_, 0.0);
    std::fill_n(block_sum_, width_, S(0));
    std::fill_n(block_dot_, width_, S(0));
  }

  template <class Recipe>
  void add(const GradientRows<S>& from, const Affine<S>& affine, S slope, Rows<S> kept,
           int64_t rows) {
    if (block_ + rows > kBlockRows) merge_block();
    run_for_isa<AddColumns<Recipe>>(from, affine, slope, static_cast<S*>(block_sum_),
                                    static_cast<S*>(block_dot_), kept, rows, width_);
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
  alignas(kLineBytes) double sum_[kMaxWidth], dot_[kMaxWidth];
  alignas(kLineBytes) S block_sum_[kMaxWidth], block_dot_[kMaxWidth];
};

}  // namespace sightline::batch_norm
