// An order in which neighbours in the plane lie near each other: along a Z curve (Morton) through
// the cells of a grid. Which order comes out is a matter of speed alone; no result depends on it.
#pragma once

#include <cstdint>
#include <utility>

#include "common/box_lanes.h"
#include "common/column.h"

namespace sightline {

template <class T>
class ZGrid {
 public:
  // 2^bits cells along each side of the region, at most 2^16.
  ZGrid(const Hull<T>& region, int bits)
      : x_(region.x1),
        y_(region.y1),
        per_x_(cells_per_unit(region.x2 - region.x1, bits)),
        per_y_(cells_per_unit(region.y2 - region.y1, bits)),
        last_(T((1 << bits) - 1)) {}

  // The number of a point's cell on the curve; points outside are of the cells at the edge.
  uint32_t cell(T x, T y) const {
    return spread((x - x_) * per_x_) | spread((y - y_) * per_y_) << 1;
  }

 private:
  static T cells_per_unit(T side, int bits) { return side > T(0) ? T(1 << bits) / side : T(0); }

  // Bits 0, 1, 2, .. of a column's or a row's number to 0, 2, 4, ..; of a NaN 0.
  uint32_t spread(T at) const {
    uint32_t v = at > T(0) ? static_cast<uint32_t>(smaller(at, last_)) : 0;
    v = (v | v << 8) & 0x00ff00ff;
    v = (v | v << 4) & 0x0f0f0f0f;
    v = (v | v << 2) & 0x33333333;
    return (v | v << 1) & 0x55555555;
  }

  T x_, y_, per_x_, per_y_, last_;
};

// 0 <= i < n by ascending keys[i] < num_keys, equal keys by ascending i.
template <class Index, class Key>
Column<Index> order_by_key(const Key* keys, int64_t n, int64_t num_keys) {
  Column<Index> order(n);
  std::vector<Index> next(num_keys);
  for (int64_t i = 0; i < n; ++i) ++next[keys[i]];
  Index start = 0;
  for (Index& slot : next) start += std::exchange(slot, start);
  for (int64_t i = 0; i < n; ++i) order[next[keys[i]]++] = static_cast<Index>(i);
  return order;
}

}  // namespace sightline
