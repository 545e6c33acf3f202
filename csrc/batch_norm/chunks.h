// Pieces of x that the CPU kernels take at once, in either layout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "batch_norm/convert.h"
#include "batch_norm/rows.h"
#include "common/isa.h"

namespace sightline {

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

// What a chunk may hold: halves are widened to a buffer, other types are read where they lie.
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

// Where a chunk of `to` is computed: in its place, or in buffer until store() narrows it.
template <class T>
Rows<Compute<T>> place(T* to, const Chunk& chunk, [[maybe_unused]] ChunkBuffer<T>& buffer) {
  if (to == nullptr) return {};
  if constexpr (kIsHalf<T>)
    return {buffer.data, chunk.width};
  else
    return {to + chunk.offset, chunk.stride};
}

template <class T>
void store([[maybe_unused]] const ChunkBuffer<T>& buffer, [[maybe_unused]] T* to,
           [[maybe_unused]] const Chunk& chunk) {
  if constexpr (kIsHalf<T>) {
    if (to == nullptr) return;
    const bool dense = chunk.stride == chunk.width;
    const int64_t rows = dense ? 1 : chunk.rows, width = chunk.width * chunk.rows / rows;
    for (int64_t r = 0; r < rows; ++r)
      run_for_isa<NarrowRow>(static_cast<const float*>(buffer.data + r * width),
                             to + chunk.offset + r * chunk.stride, width);
  }
}

inline BitRows bits_of(const uint8_t* mask, const Chunk& chunk) {
  if (mask == nullptr) return {};
  return {const_cast<uint8_t*>(mask) + chunk.bits, chunk.bits_stride};
}

// Outputs of more bytes are written around the caches: what is read twice stays in them.
inline constexpr int64_t kStreamedOutput = int64_t(8) << 20;

// Whether every row of a chunk begins a line, as streaming needs.
template <class S>
bool begin_lines(const Rows<S>& rows, const Chunk& chunk) {
  const auto begins = [](const S* p) { return reinterpret_cast<uintptr_t>(p) % kLineBytes == 0; };
  return rows.data == nullptr || (begins(rows.data) && (chunk.rows == 1 || begins(rows.row(1))));
}

}  // namespace sightline
