// Points in tiles with hulls: what an object must be held against to find the points near it.
#pragma once

#include <cstdint>
#include <memory>

#include "common/box_tiles.h"
#include "common/working_memory.h"

namespace sightline::assign {

// Points, one array per coordinate, filled up to whole tiles with points that lie nowhere (NaN).
template <class T>
struct PointTiles {
  int64_t tiles;
  std::unique_ptr<T[]> memory;
  std::unique_ptr<Hull<T>[]> hulls;  // [tiles]
  T *x, *y;                          // [tiles * kTileLanes]

  PointTiles(const T* points, int64_t n)
      : tiles((n + kTileLanes - 1) / kTileLanes),
        memory(working_memory<T>(2 * tiles * kTileLanes)),
        hulls(std::make_unique<Hull<T>[]>(tiles)),
        x(memory.get()),
        y(x + tiles * kTileLanes) {
    for (int64_t a = 0; a < tiles * kTileLanes; ++a) {
      x[a] = a < n ? points[2 * a] : std::numeric_limits<T>::quiet_NaN();
      y[a] = a < n ? points[2 * a + 1] : std::numeric_limits<T>::quiet_NaN();
      hulls[a / kTileLanes].add(x[a], y[a], x[a], y[a]);
    }
  }
};

// Whether a point lies strictly inside.
template <class T>
SIGHTLINE_HD bool holds(const Box<T>& box, T x, T y) {
  return (x > box.x1) & (x < box.x2) & (y > box.y1) & (y < box.y2);
}

}  // namespace sightline::assign
