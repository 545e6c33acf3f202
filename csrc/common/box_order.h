// An order of boxes in which neighbours lie close together and are of like size, so that the hulls
// of box_tiles.h are small, and whether it is worth its time.
#pragma once

#include "common/box_tiles.h"
#include "common/z_order.h"

namespace sightline {

inline constexpr int kCellBits = 6;  // cells along one side of the grid, as a power of two
inline constexpr int kSizeClasses = 8;

// Sorting n boxes costs about as much as this many comparisons of each with an object.
inline constexpr int64_t kSortCost = 100;
inline constexpr int64_t kSampledTiles = 64, kSampledObjects = 256;

// Whether tiles of the boxes as they come meet so many more of the objects than tiles in order
// would that sorting pays. Looks at a sample of both.
template <class T>
bool order_pays(const T* boxes, int64_t n, const Box<T>* objects, int64_t num_objects,
                const Hull<T>& region) {
  const int64_t tiles = n / kTileLanes;
  if (tiles < kSampledTiles || num_objects < kSortCost || n > INT32_MAX) return false;
  // Tiles in order share the region out among them.
  int64_t cells = 1;
  while (cells * cells < tiles && cells < (1 << kCellBits)) cells *= 2;
  const T dx = (region.x2 - region.x1) / T(cells), dy = (region.y2 - region.y1) / T(cells);
  const int64_t step = (num_objects + kSampledObjects - 1) / kSampledObjects;
  int64_t met = 0, met_in_order = 0, objects_seen = 0;
  for (int64_t s = 0; s < kSampledTiles; ++s) {
    const T* const first = boxes + 4 * (tiles * s / kSampledTiles * kTileLanes);
    Hull<T> hull, grown;
    for (int64_t j = 0; j < kTileLanes; ++j) hull.add(load_box(first + 4 * j));
    const Box<T> b = load_box(first);
    grown.add(b.x1 - dx, b.y1 - dy, b.x2 + dx, b.y2 + dy);
    for (int64_t g = 0; g < num_objects; g += step) {
      met += hull.meets(objects[g]);
      met_in_order += grown.meets(objects[g]);
      ++objects_seen;
    }
  }
  return (met - met_in_order) * num_objects > kSortCost * objects_seen;
}

// The order: by class of size, then along the Z curve through the region, then by index.
template <class T>
Column<int32_t> spatial_order(const T* boxes, int64_t n, const Hull<T>& region) {
  const T side = larger(region.x2 - region.x1, region.y2 - region.y1);
  const ZGrid<T> grid(region, kCellBits);
  Column<uint16_t> keys(n);
  for (int64_t i = 0; i < n; ++i) {
    const T* const p = boxes + 4 * i;
    const T size = larger(p[2] - p[0], p[3] - p[1]);
    uint32_t size_class = 0;
    T limit = side;
    for (int k = 0; k < kSizeClasses - 1; ++k) {
      limit *= T(0.5);
      size_class += size < limit;
    }
    const T x = p[0] * T(0.5) + p[2] * T(0.5), y = p[1] * T(0.5) + p[3] * T(0.5);
    keys[i] = static_cast<uint16_t>(size_class << (2 * kCellBits) | grid.cell(x, y));
  }
  return order_by_key<int32_t>(keys.data(), n, kSizeClasses << (2 * kCellBits));
}

// The objects' own hull is the region: what lies beyond it overlaps none of them.
template <class T>
Hull<T> region_of(const Box<T>* objects, int64_t num_objects) {
  Hull<T> region;
  for (int64_t g = 0; g < num_objects; ++g) region.add(objects[g]);
  return region;
}

// spatial_order where it pays, otherwise empty.
template <class T>
Column<int32_t> order_for(const T* boxes, int64_t n, const Box<T>* objects, int64_t num_objects) {
  const Hull<T> region = region_of(objects, num_objects);
  if (!order_pays(boxes, n, objects, num_objects, region)) return {};
  return spatial_order(boxes, n, region);
}

}  // namespace sightline
