// How the CPU kernels cut [batch, channels, length]: bands of neighbouring channels, whose second
// pass finds them in the cache. What is added in which order is a function of the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch_norm/batch_norm.h"
#include "batch_norm/chunks.h"
#include "batch_norm/sums.h"

namespace sightline::batch_norm {

inline constexpr int64_t kSmallTask = 1 << 15;    // elements of a task, fewer are not worth one
inline constexpr int64_t kMostChannels = 64;      // of a band; bounds the buffers of a task
inline constexpr int64_t kFewBands = 32;          // no fewer are made by widening them
inline constexpr int64_t kMostParts = 64;         // of all channels: enough for 64 threads
inline constexpr int64_t kLongRow = 16384;        // elements of a long row
inline constexpr int64_t kNearCache = 768 << 10;  // bytes that stay near a core
inline constexpr int64_t kFarCache = 2400 << 10;  // and bytes that stay not too far from it
// Elements that lie side by side in a band of one sample. Fewer at a time are slow to read, so that
// bands of so many may leave the nearest cache: at 32 x 64 x 56 x 56 two channels per band take 3 /
// 4 of the time of one.
inline constexpr int64_t kGoodRun = 8192;

// A channel is a sequence of units: planes that are summed up together, or a long row.
class Bands {
 public:
  // `bytes` are those of one element in everything that is read twice.
  Bands(const BatchNormShape& shape, int64_t bytes) : shape_(shape) {
    const auto [batch, channels, length, last] = shape;
    if (length <= kBlock) {
      planes_ = kBlock / length;
      units_ = (batch + planes_ - 1) / planes_;
    } else {
      cuts_ = (length + kLongRow - 1) / kLongRow;
      cut_ = ((length + cuts_ - 1) / cuts_ + kBlock - 1) / kBlock * kBlock;
      cuts_ = (length + cut_ - 1) / cut_;
      units_ = batch * cuts_;
    }
    constexpr int64_t kFewChannels = 16;
    if (channels < kFewChannels) {
      const int64_t tasks = shape.count() / kSmallTask;
      parts_ = std::clamp<int64_t>(std::min(tasks, kMostParts / channels), 1, units_);
    } else {
      const int64_t slab = shape.count() * bytes, run = (kGoodRun + length - 1) / length;
      const int64_t fit = std::max(kNearCache / slab, std::min(kFarCache / slab, run));
      width_ = std::clamp<int64_t>(std::min(fit, channels / kFewBands), 1, kMostChannels);
    }
  }

  int64_t bands() const { return (shape_.channels + width_ - 1) / width_; }
  int64_t parts() const { return parts_; }  // of a band; more than one only where it is one channel
  int64_t tasks() const { return bands() * parts_; }
  int64_t elements() const { return shape_.count() * width_ / parts_; }  // of a task
  int64_t first(int64_t band) const { return band * width_; }
  int64_t channels(int64_t band) const { return std::min(width_, shape_.channels - first(band)); }
  bool long_rows() const { return cuts_ > 0; }

  // Calls f(chunk, last) in order for the units of a part; last: of its unit.
  template <class F>
  void for_each_chunk(int64_t task, F f) const {
    const int64_t band = task / parts_, part = task % parts_;
    for (int64_t u = units_ * part / parts_; u < units_ * (part + 1) / parts_; ++u) {
      if (cuts_ > 0) {
        f(row_chunk(band, u), true);
      } else {
        const int64_t end = std::min((u + 1) * planes_, shape_.batch);
        for (int64_t n = u * planes_; n < end; ++n) f(plane_chunk(band, n), n + 1 == end);
      }
    }
  }
  // The same chunks, the last one first: it is still in the nearest cache.
  template <class F>
  void for_each_chunk_backwards(int64_t task, F f) const {
    const int64_t band = task / parts_, part = task % parts_;
    for (int64_t u = units_ * (part + 1) / parts_; u-- > units_ * part / parts_;) {
      if (cuts_ > 0) {
        f(row_chunk(band, u));
      } else {
        for (int64_t n = std::min((u + 1) * planes_, shape_.batch); n-- > u * planes_;)
          f(plane_chunk(band, n));
      }
    }
  }

 private:
  Chunk plane_chunk(int64_t band, int64_t n) const {
    const int64_t c = first(band), plane = n * shape_.channels + c, bytes = (shape_.length + 7) / 8;
    return {plane * shape_.length, channels(band), shape_.length, shape_.length, c,
            plane * bytes,         bytes};
  }
  Chunk row_chunk(int64_t band, int64_t u) const {
    const int64_t begin = u % cuts_ * cut_;
    Chunk chunk = plane_chunk(band, u / cuts_);
    chunk.offset += begin;
    chunk.bits += begin / 8;
    chunk.width = std::min(cut_, shape_.length - begin);
    return chunk;
  }

  BatchNormShape shape_;
  int64_t width_ = 1, parts_ = 1, units_ = 0;
  int64_t planes_ = 0;          // of a unit, where they are short
  int64_t cuts_ = 0, cut_ = 0;  // rows of a plane and their length, where it is long
};

// The moments of a band's channels, or of a part of one.
template <class T>
class BandMoments {
 public:
  using S = Compute<T>;

  void find(const T* x, const Bands& bands, int64_t task) {
    const int64_t base = bands.first(task / bands.parts());
    int64_t pending = 0;
    bands.for_each_chunk(task, [&](const Chunk& chunk, bool last) {
      if (bands.long_rows()) {
        split<Per::kRow>(chunk, kMostElements<T>, [&](const Chunk& part) {
          ChunkBuffer<T> buffer;
          const Rows<const S> rows = load(x, part, buffer);
          for (int64_t r = 0; r < part.rows; ++r)
            run_for_isa<MergeLongRow>(rows.row(r), part.width, &moments_[part.first - base + r]);
        });
        return;
      }
      split<Per::kRow>(chunk, kMostElements<T>, [&](const Chunk& part) {
        ChunkBuffer<T> buffer;
        const Rows<const S> rows = load(x, part, buffer);
        const int64_t first = part.first - base;
        if (pending == 0) {
          for (int64_t r = 0; r < part.rows; ++r) {
            const Moments& m = moments_[first + r];
            origin_[first + r] =
                m.count == 0 ? Origin<S>::of_first(rows.row(r), part.width) : Origin<S>::of(m.mean);
          }
        }
        run_for_isa<AddMomentRows>(rows, static_cast<const Origin<S>*>(origin_ + first),
                                   sums_ + first * kLanes, squares_ + first * kLanes, part.rows,
                                   part.width);
      });
      pending += chunk.width;
      if (!last) return;
      run_for_isa<MergeMomentRows>(static_cast<const Origin<S>*>(origin_), static_cast<S*>(sums_),
                                   static_cast<S*>(squares_), double(pending),
                                   static_cast<Moments*>(moments_), chunk.rows);
      pending = 0;
    });
  }
  const Moments& operator[](int64_t r) const { return moments_[r]; }

 private:
  Moments moments_[kMostChannels];
  Origin<S> origin_[kMostChannels];
  alignas(kLineBytes) S sums_[kMostChannels * kLanes] = {};
  alignas(kLineBytes) S squares_[kMostChannels * kLanes] = {};
};

}  // namespace sightline::batch_norm
