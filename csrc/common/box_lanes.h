// Boxes in vector lanes, and hulls of boxes.
//
// The three indexes of boxes on the CPU use them, each for another kind of search:
//   box_tiles.h       boxes that come once, against a short list of others: nothing is kept;
//   near_boxes.h      boxes that are searched again and again, and may move;
//   nms/kept_boxes.h  boxes that are added one by one, best first, until one suppresses another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "common/box.h"

namespace sightline {

inline constexpr int64_t kTileLanes = 64;  // boxes of a tile: some vectors of every level

// Boxes, one array per field, so that consecutive boxes fill the lanes of a vector.
template <class T, int64_t kCount>
struct alignas(64) BoxLanes {
  T x1[kCount], y1[kCount], x2[kCount], y2[kCount], area[kCount];

  SIGHTLINE_INLINE Box<T> operator[](int64_t j) const {
    return {x1[j], y1[j], x2[j], y2[j], area[j], T(0)};
  }
  SIGHTLINE_INLINE void set(int64_t j, const Box<T>& b) {
    x1[j] = b.x1, y1[j] = b.y1, x2[j] = b.x2, y2[j] = b.y2, area[j] = b.area;
  }
  // Sets all boxes to lie nowhere.
  SIGHTLINE_INLINE void clear() {
    constexpr T kInf = std::numeric_limits<T>::infinity();
    std::fill_n(x1, kCount, kInf), std::fill_n(y1, kCount, kInf);
    std::fill_n(x2, kCount, -kInf), std::fill_n(y2, kCount, -kInf);
    std::fill_n(area, kCount, T(0));
  }
};

// What encloses boxes; those that lie nowhere do not widen it.
template <class T>
struct Hull {
  static constexpr T kInf = std::numeric_limits<T>::infinity();
  T x1 = kInf, y1 = kInf, x2 = -kInf, y2 = -kInf;

  SIGHTLINE_INLINE void add(T bx1, T by1, T bx2, T by2) {
    x1 = smaller(bx1, x1), y1 = smaller(by1, y1), x2 = larger(bx2, x2), y2 = larger(by2, y2);
  }
  SIGHTLINE_INLINE void add(const Box<T>& b) { add(b.x1, b.y1, b.x2, b.y2); }
  SIGHTLINE_INLINE void add(const Hull& h) { add(h.x1, h.y1, h.x2, h.y2); }
  // False only where no box within can have an IoU above 0 with b: that takes edges x1 < x2 common
  // to both, and likewise y. `b` is a box or a hull.
  template <class Other>
  SIGHTLINE_INLINE bool meets(const Other& b) const {
    return (b.x1 < x2) & (x1 < b.x2) & (b.y1 < y2) & (y1 < b.y2);
  }
};

}  // namespace sightline
