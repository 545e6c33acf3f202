// What a block of threads decides about a tile of boxes, as functions of host and device: which
// boxes are rivals, and which of a tile survive.
#pragma once

#include <cstdint>

#include "nms/pair.h"

namespace sightline::nms {

inline constexpr int kTileBoxes = 256;  // a block's: one thread each
inline constexpr int kWordBits = 64;
inline constexpr int kTileWords = kTileBoxes / kWordBits;

SIGHTLINE_HD int bit_count(uint64_t word) {
#if defined(__CUDA_ARCH__)
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}
SIGHTLINE_HD int lowest_bit(uint64_t word) {  // of a word that is not 0
#if defined(__CUDA_ARCH__)
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

// A loaded box without what follows from its corners: one wide load from shared memory. A box
// without an area overlaps nothing, and so becomes one that lies nowhere.
template <class T>
struct alignas(4 * sizeof(T)) Corners {
  T x1, y1, x2, y2;

  SIGHTLINE_HD static Corners of(const Box<T>& b) {
    return b.area > T(0) ? Corners{b.x1, b.y1, b.x2, b.y2} : nowhere();
  }
  SIGHTLINE_HD static Corners nowhere() {
    constexpr T kInf = std::numeric_limits<T>::infinity();
    return {kInf, kInf, -kInf, -kInf};
  }
  SIGHTLINE_HD Box<T> box() const {
    Box<T> b{x1, y1, x2, y2, T(0), T(0)};
    b.area = width(b) * height(b);
    return b;
  }
};

// Whether the sides of the intersection are positive; where not, the IoU is 0. Exact: both boxes
// have positive sides or lie nowhere, and a difference is positive where the first is larger.
template <class T>
SIGHTLINE_HD bool intersects(const Corners<T>& a, const Corners<T>& b) {
  return (a.x2 > b.x1) & (b.x2 > a.x1) & (a.y2 > b.y1) & (b.y2 > a.y1);
}

// Bit k says that box k of the 64 suppresses `own` if it is kept. Most boxes lie apart: they are
// told by four comparisons, and what is left takes the division.
template <class T>
SIGHTLINE_HD uint64_t rivals_among(const Corners<T>* boxes,  // [64]
                                   const int64_t* segments,  // [64], or null: all are of one
                                   uint64_t candidates,      // bits of the boxes in question
                                   const Corners<T>& own, int64_t segment, T threshold) {
  constexpr int kGroup = 8;  // bits whose places are constants once the inner loop is unrolled
  uint64_t near = 0;
  for (int first = 0; first < kWordBits; first += kGroup) {
    unsigned group = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int k = 0; k < kGroup; ++k) group |= intersects(boxes[first + k], own) ? 1u << k : 0u;
    near |= static_cast<uint64_t>(group) << first;
  }
  uint64_t rivals = 0;
  const Box<T> box = own.box();
  for (near &= candidates; near != 0; near &= near - 1) {
    const int k = lowest_bit(near);
    if (segments != nullptr && segments[k] != segment) continue;
    if (suppresses(boxes[k].box(), box, threshold)) rivals |= uint64_t(1) << k;
  }
  return rivals;
}

enum class Fate { kOpen, kKept, kSuppressed };

// The fate of a box whose rivals of higher rank are given, as far as it follows from what is known
// of the tile. The best open box of a tile always gets one.
SIGHTLINE_HD Fate fate_of(const uint64_t* rivals,  // [kTileWords]
                          const uint64_t* kept,    // [kTileWords]
                          const uint64_t* open) {  // [kTileWords]
  uint64_t hit = 0, waits = 0;
  for (int w = 0; w < kTileWords; ++w) {
    hit |= rivals[w] & kept[w];
    waits |= rivals[w] & open[w];
  }
  return hit != 0 ? Fate::kSuppressed : (waits != 0 ? Fate::kOpen : Fate::kKept);
}

// The bits of a tile's word w that belong to places before `place`.
SIGHTLINE_HD uint64_t places_before(int place, int w) {
  const int count = place - w * kWordBits;
  if (count <= 0) return 0;
  return count >= kWordBits ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
}

// How many bits are set before `place`.
SIGHTLINE_HD int bits_before(const uint64_t* words, int place) {  // [kTileWords]
  int count = 0;
  for (int w = 0; w < kTileWords; ++w) count += bit_count(words[w] & places_before(place, w));
  return count;
}

// First position of the run of equal keys that holds `position`; keys are sorted.
SIGHTLINE_HD int64_t start_of_run(const uint64_t* keys, int64_t position) {
  int64_t low = 0, high = position;  // the start lies in [low, high]
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (keys[middle] == keys[position])
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

}  // namespace sightline::nms
