// Rotated boxes as the CPU kernels read them, one array per field: consecutive boxes or pairs
// fill the lanes of a vector; and the pairs that are worth computing, collected from a sparse
// matrix.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "common/rotated.h"
#include "common/working_memory.h"

namespace sightline {

inline constexpr int64_t kRotatedTile = 256;  // columns looked at together

template <class T>
struct RotatedColumns {
  static constexpr int64_t kFields = 9;
  T *cx, *cy, *half_w, *half_h, *cos, *sin, *area, *reach_x, *reach_y;

  RotatedColumns(T* memory /* [kFields, stride] */, int64_t stride)
      : cx(memory),
        cy(cx + stride),
        half_w(cy + stride),
        half_h(half_w + stride),
        cos(half_h + stride),
        sin(cos + stride),
        area(sin + stride),
        reach_x(area + stride),
        reach_y(reach_x + stride) {}
  SIGHTLINE_INLINE RotatedColumns from(int64_t i) const {
    RotatedColumns c = *this;
    c.cx += i, c.cy += i, c.half_w += i, c.half_h += i, c.cos += i, c.sin += i, c.area += i;
    c.reach_x += i, c.reach_y += i;
    return c;
  }
  SIGHTLINE_INLINE RotatedBox<T> operator[](int64_t i) const {
    return {cx[i], cy[i], half_w[i], half_h[i], cos[i], sin[i], area[i], reach_x[i], reach_y[i]};
  }
  SIGHTLINE_INLINE void set(int64_t i, const RotatedBox<T>& b) const {
    cx[i] = b.cx, cy[i] = b.cy, half_w[i] = b.half_w, half_h[i] = b.half_h;
    cos[i] = b.cos, sin[i] = b.sin, area[i] = b.area;
    reach_x[i] = b.reach_x, reach_y[i] = b.reach_y;
  }
};

// The columns and the memory they lie in.
template <class T>
struct RotatedArray {
  std::unique_ptr<T[]> memory;
  RotatedColumns<T> columns;

  explicit RotatedArray(int64_t n)
      : memory(working_memory<T>(RotatedColumns<T>::kFields * n)), columns(memory.get(), n) {}
};

// Which of `count` columns have hulls that overlap a's: found[k] is 1 or 0, and 0 from count to the
// next multiple of 8. Returns how many.
template <class T>
SIGHTLINE_INLINE int64_t find_near(const RotatedBox<T>& a, const RotatedColumns<T>& columns,
                                   int64_t count, uint8_t* found /* [kRotatedTile] */) {
  for (int64_t k = count; k < ((count + 7) & -8); ++k) found[k] = 0;
  // Whole lanes of the loop below are compares of one width: vectors of bytes come out of them.
  for (int64_t k = 0; k < count; ++k) {
    const bool x = std::fabs(a.cx - columns.cx[k]) < a.reach_x + columns.reach_x[k];
    const bool y = std::fabs(a.cy - columns.cy[k]) < a.reach_y + columns.reach_y[k];
    found[k] = x & y;
  }
  int64_t total = 0;
  for (int64_t k = 0; k < count; k += 8) {
    uint64_t eight;
    std::memcpy(&eight, found + k, 8);
    total += __builtin_popcountll(eight);
  }
  return total;
}

// Calls f(k) for each k with found[k], ascending.
template <class F>
SIGHTLINE_INLINE void for_each_found(const uint8_t* found, int64_t count, F f) {
  for (int64_t k = 0; k < count; k += 8) {
    uint64_t eight;
    std::memcpy(&eight, found + k, 8);
    for (; eight != 0; eight &= eight - 1) f(k + __builtin_ctzll(eight) / 8);
  }
}

// Pairs of boxes that wait for their IoU.
template <class T>
struct RotatedPairs {
  static constexpr int64_t kCapacity = 128;
  static constexpr int64_t kLanes = 16;  // computed whole: the widest vector of floats
  T first[RotatedColumns<T>::kFields * kCapacity] = {};
  T second[RotatedColumns<T>::kFields * kCapacity] = {};
  T iou[kCapacity];
  int64_t slot[kCapacity];  // the caller's word for each pair
  int64_t count = 0;

  SIGHTLINE_INLINE bool full() const { return count == kCapacity; }
  SIGHTLINE_INLINE void push(const RotatedBox<T>& a, const RotatedBox<T>& b, int64_t where) {
    RotatedColumns<T>(first, kCapacity).set(count, a);
    RotatedColumns<T>(second, kCapacity).set(count, b);
    slot[count++] = where;
  }
  // Calls f(slot, iou) for each pair and forgets them.
  template <class F>
  SIGHTLINE_INLINE void flush(F f) {
    const RotatedColumns<T> a(first, kCapacity), b(second, kCapacity);
    const int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
    SIGHTLINE_INDEPENDENT
    for (int64_t k = 0; k < whole; ++k) iou[k] = rotated_iou(a[k], b[k]);
    for (int64_t k = 0; k < count; ++k) f(slot[k], iou[k]);
    count = 0;
  }
};

}  // namespace sightline
