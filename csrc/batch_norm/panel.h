// How the CPU kernels cut x into work: tasks of panels, a function of the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "batch_norm/batch_norm.h"

namespace sightline {

inline constexpr int64_t kMaxWidth = 512;   // columns of a panel; bounds the buffers of a task
inline constexpr int64_t kMinWidth = 128;   // columns that narrow data are gathered to; at most
                                            // half of kMaxWidth
inline constexpr int64_t kBlockRows = 128;  // rows summed in type Compute<T>, then merged in double
inline constexpr int64_t kOriginRows = 8;   // averaged to what a block's moments are shifted by
inline constexpr int64_t kChunk = 2048;     // elements of a buffer: a few fit the nearest cache
inline constexpr int64_t kMaxGroups = 64;   // tasks of channels-last data: enough for 64 threads
inline constexpr int64_t kMinGroup = 1 << 15;  // elements of such a task, fewer are not worth one

// A matrix of elements in `planes` equal parts: rows of `width` elements, `stride` apart, the parts
// `plane_stride` apart. Column j belongs to channel first + j % period, of which the task has seen
// `before` elements in earlier panels.
struct Panel {
  int64_t offset, planes, plane_stride, rows, stride, width, first, period, before;
};

// Evenly spaced rows of a panel, as many as fit a buffer.
struct Chunk {
  int64_t offset, rows, stride, width;
};

template <class F>
void for_each_chunk(const Panel& panel, F f) {
  // Planes of one row each are evenly spaced rows, too.
  const bool flat = panel.rows == 1;
  const int64_t planes = flat ? 1 : panel.planes, rows = flat ? panel.planes : panel.rows;
  const int64_t stride = flat ? panel.plane_stride : panel.stride;
  const int64_t most = std::clamp<int64_t>(kChunk / panel.width, 1, kBlockRows);
  for (int64_t plane = 0; plane < planes; ++plane) {
    const int64_t offset = panel.offset + plane * panel.plane_stride;
    for (int64_t r = 0; r < rows; r += most)
      f(Chunk{offset + r * stride, std::min(most, rows - r), stride, panel.width});
  }
}

// [batch, channels, length]: a task is a channel, so that the second pass finds it in the cache.
// Its columns are positions.
class ChannelTasks {
 public:
  static constexpr int kStep = 0;  // one coefficient serves all columns
  explicit ChannelTasks(const BatchNormShape& shape) : shape_(shape) {}
  int64_t tasks() const { return shape_.channels; }
  int64_t elements_per_task() const { return shape_.count(); }
  int64_t fold() const { return 1; }
  int64_t first_channel(int64_t channel) const { return channel; }

  template <class F>
  void for_each_panel(int64_t channel, F f) const {
    const auto [batch, channels, length, channels_last] = shape_;
    const int64_t plane = channels * length, offset = channel * length;
    const int64_t width = length <= 2 * kMinWidth ? length : kMinWidth;
    const int64_t rows = length / width, tail = length % width, end = length - tail;
    f(Panel{offset, batch, plane, rows, width, width, channel, 1, 0});
    if (tail > 0) f(Panel{offset + end, batch, plane, 1, tail, tail, channel, 1, batch * end});
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
      : channels_(shape.channels), count_(shape.count()), fold_(fold_of(shape.channels)) {
    const int64_t least = std::max((count_ + kMaxGroups - 1) / kMaxGroups, kMinGroup / channels_);
    group_ = (std::max<int64_t>(least, 1) + fold_ - 1) / fold_ * fold_;
  }
  int64_t tasks() const { return (count_ + group_ - 1) / group_; }
  int64_t elements_per_task() const { return group_ * channels_; }
  int64_t positions(int64_t group) const { return std::min(group_, count_ - group * group_); }
  int64_t fold() const { return fold_; }  // coefficients are repeated so many times
  int64_t first_channel(int64_t) const { return 0; }

  template <class F>
  void for_each_panel(int64_t group, F f) const {
    const int64_t positions = this->positions(group), offset = group * group_ * channels_;
    if (channels_ > kMaxWidth) {
      for (int64_t c = 0; c < channels_; c += kMaxWidth) {
        const int64_t width = std::min(kMaxWidth, channels_ - c);
        f(Panel{offset + c, 1, 0, positions, channels_, width, c, width, 0});
      }
      return;
    }
    const int64_t width = fold_ * channels_, rows = positions / fold_;
    const int64_t tail = positions % fold_ * channels_;
    if (rows > 0) f(Panel{offset, 1, 0, rows, width, width, 0, channels_, 0});
    if (tail > 0) f(Panel{offset + rows * width, 1, 0, 1, tail, tail, 0, channels_, rows * fold_});
  }

 private:
  // Positions in a row, so that it has at least kMinWidth columns and is whole cache lines.
  static int64_t fold_of(int64_t channels) {
    constexpr int64_t kLineFloats = 16;
    const int64_t unit = kLineFloats / std::gcd(channels, kLineFloats);
    const int64_t columns = unit * channels;
    if (columns > kMaxWidth) return 1;
    return unit * std::max<int64_t>((kMinWidth + columns - 1) / columns, 1);
  }

  int64_t channels_, count_, fold_, group_;
};

}  // namespace sightline
