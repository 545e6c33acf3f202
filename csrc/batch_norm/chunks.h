// Pieces of x that the CPU kernels take at once, in either layout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "batch_norm/convert.h"
#include "batch_norm/rows.h"
#include "common/isa.h"

namespace sightline::batch_norm {

inline constexpr int64_t kBuffered = 2048;  // numbers of a buffer: a few fit the nearest cache

// Rows of `width` elements, `stride` apart; those of a mask `bits_stride` bytes. The first row or
// column is of channel `first`.
struct Chunk {
  int64_t offset, rows, stride, width, first, bits, bits_stride;
};

// Calls f with parts of the chunk of at most `most` elements. `per` is what a channel is.
template <Per per, class F>
void split(const Chunk& chunk, int64_t most, F f) {
  const int64_t widest = std::min(most, chunk.width);
  for (int64_t j = 0; j < chunk.width; j += widest) {
    const int64_t width = std::min(widest, chunk.width - j);
    const int64_t rows = std::max<int64_t>(most / width, 1);
    for (int64_t r = 0; r < chunk.rows; r += rows) {
      Chunk part = chunk;
      part.offset += r * chunk.stride + j;
      part.rows = std::min(rows, chunk.rows - r);
      part.width = width;
      part.first += per == Per::kRow ? r : j;
      part.bits += r * chunk.bits_stride + j / 8;
      f(part);
    }
  }
}

// What a chunk may hold: half precision is widened to a buffer, the others are read in place,
// unless their results go through one.
template <class T>
inline constexpr int64_t kMostElements =
    kIsHalf<T> ? kBuffered : std::numeric_limits<int64_t>::max();

template <class T>
struct ChunkBuffer {};
template <class T>
  requires kIsHalf<T>
struct ChunkBuffer<T> {
  alignas(kLineBytes) float data[kBuffered];
};

// A chunk of `from` in computing type: where it lies, or widened into buffer. None of a null one.
template <class T>
Rows<const Compute<T>> load(const T* from, const Chunk& chunk,
                            [[maybe_unused]] ChunkBuffer<T>& buffer) {
  if (from == nullptr) return {};
  const T* const first = from + chunk.offset;
  if constexpr (kIsHalf<T>) {
    const bool dense = chunk.stride == chunk.width;
    const int64_t rows = dense ? 1 : chunk.rows, width = chunk.width * chunk.rows / rows;
    for (int64_t r = 0; r < rows; ++r)
      run_for_isa<WidenRow>(first + r * chunk.stride, buffer.data + r * width, width);
    return {buffer.data, chunk.width};
  } else {
    return {first, chunk.stride};
  }
}

// Outputs of more bytes are written around the caches: they are past the nearest one by the time
// that anybody reads them, and what is read twice stays there.
inline constexpr int64_t kStreamedOutput = int64_t(2) << 20;

// Numbers to memory around the caches, but for those beside the first and the last whole line.
struct StreamRow {
  template <Isa level, class T>
  SIGHTLINE_INLINE static void run_at(const T* from, T* to, int64_t n) {
    constexpr int64_t kPerLine = kLineBytes / int64_t(sizeof(T));
    const int64_t head = numbers_to_line(to) < n ? numbers_to_line(to) : n;
    int64_t j = 0;
    for (; j < head; ++j) to[j] = from[j];
    for (; j + kPerLine <= n; j += kPerLine) {
      if constexpr (level == Isa::kBaseline)
        std::memcpy(to + j, from + j, kLineBytes);
      else  // by instructions that take bytes of any type
        LineStream<level>::store(reinterpret_cast<float*>(to + j),
                                 reinterpret_cast<const float*>(from + j));
    }
    for (; j < n; ++j) to[j] = from[j];
  }
};

// How a chunk of a result reaches memory: computed in its place, by ordinary or by streaming
// stores, or in a buffer first. Half precision is narrowed from there, rows that do not begin lines
// are streamed from there together, if they lie side by side.
template <class T>
class Output {
 public:
  using S = Compute<T>;

  // `large`: the whole result is past kStreamedOutput.
  Output(T* to, const Chunk& chunk, bool large) : to_(to) {
    if (to == nullptr) return;
    const auto begins = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % kLineBytes == 0; };
    const T* const first = to + chunk.offset;
    const bool lines = begins(first) && (chunk.rows == 1 || begins(first + chunk.stride));
    const bool dense = chunk.stride == chunk.width;
    streams_ = large && (lines || dense);
    buffered_ = kIsHalf<T> || (streams_ && !lines);
  }
  bool is_buffered() const { return buffered_; }
  bool is_streamed_in_place() const { return streams_ && !buffered_; }

  Rows<S> place(const Chunk& chunk) {
    if (to_ == nullptr) return {};
    if (buffered_) return {buffer_, chunk.width};
    if constexpr (kIsHalf<T>)
      return {};
    else
      return {to_ + chunk.offset, chunk.stride};
  }

  // After the chunk has been computed in its place.
  void finish(const Chunk& chunk) const {
    if (!buffered_) return;
    const bool dense = chunk.stride == chunk.width;
    const int64_t rows = dense ? 1 : chunk.rows, width = chunk.width * chunk.rows / rows;
    for (int64_t r = 0; r < rows; ++r) {
      const S* const from = buffer_ + r * width;
      T* const to = to_ + chunk.offset + r * chunk.stride;
      if constexpr (!kIsHalf<T>) {
        run_for_isa<StreamRow>(from, to, width);
      } else if (!streams_) {
        run_for_isa<NarrowRow>(from, to, width);
      } else {
        alignas(kLineBytes) T narrowed[kBuffered];
        run_for_isa<NarrowRow>(from, narrowed + 0, width);
        run_for_isa<StreamRow>(static_cast<const T*>(narrowed), to, width);
      }
    }
  }

 private:
  T* to_;
  bool buffered_ = false, streams_ = false;
  alignas(kLineBytes) S buffer_[kBuffered];
};

inline BitRows bits_of(const uint8_t* mask, const Chunk& chunk) {
  if (mask == nullptr) return {};
  return {const_cast<uint8_t*>(mask) + chunk.bits, chunk.bits_stride};
}

}  // namespace sightline::batch_norm
