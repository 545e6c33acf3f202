// How the CPU kernels cut x into work: tasks of panels, a function of the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch_norm/batch_norm.h"

namespace sightline {

inline constexpr int64_t kMaxWidth = 512;   // columns of a panel; bounds the buffers of a task
inline constexpr int64_t kMinWidth = 128;   // columns that narrow data are gathered to
inline constexpr int64_t kBlockRows = 128;  // rows summed in type Compute<T>, then merged in double
inline constexpr int64_t kMaxGroups = 64;   // tasks of channels-last data: enough for 64 threads
inline constexpr int64_t kMinGroup = 1 << 15;  // elements of such a task, fewer are not worth one

// A matrix of elements, rows `stride` apart. Column j belongs to channel first + j % period, of
// which the task has seen `before` elements in earlier panels.
struct Panel {
  int64_t offset, rows, width, stride, first, period, before;
};

// [batch, channels, length]: a task is a channel, so that the second pass finds it in the cache.
// Its columns are positions.
class ChannelTasks {
 public:
  static constexpr int kStep = 0;  // one coefficient serves all columns
  explicit ChannelTasks(const BatchNormShape& shape) : shape_(shape) {}
  int64_t tasks() const { return shape_.channels; }
  int64_t elements_per_task() const { return shape_.count(); }
  int64_t fold() const { return 1; }

  template <class F>
  void for_each_panel(int64_t channel, F f) const {
    const auto [batch, channels, length, channels_last] = shape_;
    if (length <= 2 * kMinWidth) {
      f(Panel{channel * length, batch, length, channels * length, channel, 1, 0});
      return;
    }
    const int64_t rows = length / kMinWidth, tail = length % kMinWidth;
    for (int64_t n = 0; n < batch; ++n) {
      const int64_t offset = (n * channels + channel) * length;
      f(Panel{offset, rows, kMinWidth, kMinWidth, channel, 1, n * length});
      if (tail > 0)
        f(Panel{offset + length - tail, 1, tail, tail, channel, 1, n * length + length - tail});
    }
  }

 private:
  BatchNormShape shape_;
};

// [positions, channels]: a task is a group of positions. Its columns are channels, or where those
// are few, several positions side by side.
class GroupTasks {
 public:
  static constexpr int kStep = 1;
  explicit GroupTasks(const BatchNormShape& shape)
      : channels_(shape.channels),
        count_(shape.count()),
        fold_(shape.channels <= kMaxWidth ? std::max<int64_t>(kMinWidth / shape.channels, 1) : 1) {
    const int64_t least =
        std::max((count_ + kMaxGroups - 1) / kMaxGroups, kMinGroup / channels_ + 1);
    group_ = (least + fold_ - 1) / fold_ * fold_;
  }
  int64_t tasks() const { return (count_ + group_ - 1) / group_; }
  int64_t elements_per_task() const { return group_ * channels_; }
  int64_t positions(int64_t group) const { return std::min(group_, count_ - group * group_); }
  int64_t fold() const { return fold_; }  // coefficients are repeated so many times

  template <class F>
  void for_each_panel(int64_t group, F f) const {
    const int64_t positions = this->positions(group), offset = group * group_ * channels_;
    if (channels_ > kMaxWidth) {
      for (int64_t c = 0; c < channels_; c += kMaxWidth) {
        const int64_t width = std::min(kMaxWidth, channels_ - c);
        f(Panel{offset + c, positions, width, channels_, c, width, 0});
      }
      return;
    }
    const int64_t width = fold_ * channels_, rows = positions / fold_, tail = positions % fold_;
    if (rows > 0) f(Panel{offset, rows, width, width, 0, channels_, 0});
    if (tail > 0)
      f(Panel{offset + rows * width, 1, tail * channels_, tail * channels_, 0, channels_,
              rows * fold_});
  }

 private:
  int64_t channels_, count_, fold_, group_;
};

}  // namespace sightline
