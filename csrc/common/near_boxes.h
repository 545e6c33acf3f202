// Boxes in tiles that lie near each other, and tiles in chunks of as many, each with its hull: to
// find what a box overlaps, most boxes need not be looked at.
//
// Which boxes share a tile is a matter of speed alone; no result may depend on it. Within a tile
// boxes keep the order they came in. Memory is linear in the number of boxes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/box_lanes.h"
#include "common/working_memory.h"
#include "common/z_order.h"

namespace sightline {

// Views, to hand to a kernel by value. Lanes that hold no box lie nowhere.
template <class T>
struct NearBoxesView {
  int64_t num_tiles, num_chunks;
  BoxLanes<T, kTileLanes>* tiles;  // [num_tiles]
  BoxLanes<T, kTileLanes>* hulls;  // [num_chunks]: those of the chunk's tiles
  Hull<T>* chunks;                 // [num_chunks]
  int64_t* places;  // [num_tiles, kTileLanes], ascending in a tile; INT64_MAX: no box
  int64_t* slots;   // [n]: where the box of each place lies

  SIGHTLINE_INLINE Box<T> box(int64_t slot) const {
    return tiles[slot / kTileLanes][slot % kTileLanes];
  }
  SIGHTLINE_INLINE void set(int64_t slot, const Box<T>& b) const {
    tiles[slot / kTileLanes].set(slot % kTileLanes, b);
  }
  SIGHTLINE_INLINE Hull<T> hull(int64_t tile) const {
    const Box<T> h = hulls[tile / kTileLanes][tile % kTileLanes];
    return {h.x1, h.y1, h.x2, h.y2};
  }
  SIGHTLINE_INLINE void grow(int64_t slot, const Box<T>& b) const {
    const int64_t tile = slot / kTileLanes, chunk = tile / kTileLanes;
    Hull<T> grown = hull(tile);
    grown.add(b);
    hulls[chunk].set(tile % kTileLanes, {grown.x1, grown.y1, grown.x2, grown.y2, T(0), T(0)});
    chunks[chunk].add(b);
  }
};

// Writes the tiles of a chunk that may hold a box with an intersection with `box`, which may be a
// hull, ascending; returns how many.
template <class T, class BoxOrHull>
SIGHTLINE_INLINE int64_t tiles_that_meet(const NearBoxesView<T>& view, int64_t chunk,
                                         const BoxOrHull& box, int32_t* out /* [kTileLanes] */) {
  if (!view.chunks[chunk].meets(box)) return 0;
  const BoxLanes<T, kTileLanes>& hulls = view.hulls[chunk];
  T meets[kTileLanes];  // 0 or 1, as wide as a lane
  for (int64_t k = 0; k < kTileLanes; ++k) {
    const Hull<T> hull{hulls.x1[k], hulls.y1[k], hulls.x2[k], hulls.y2[k]};
    meets[k] = hull.meets(box) ? T(1) : T(0);
  }
  const int64_t count = smaller(kTileLanes, view.num_tiles - chunk * kTileLanes);
  int64_t found = 0;
  for (int64_t k = 0; k < count; ++k) {
    out[found] = static_cast<int32_t>(k);
    found += meets[k] != T(0);
  }
  return found;
}

template <class T>
class NearBoxes {
 public:
  // Box `place` is boxes[items[place]], for 0 <= place < n. With `filled` false every lane has its
  // place, but lies nowhere as yet.
  NearBoxes(const T* boxes /* [.., 4] */, const int64_t* items /* [n] */, int64_t n,
            bool filled = true) {
    allocate(n);
    const Column<int32_t> tile_of = assign_tiles(boxes, items, n);
    std::vector<int64_t> next(view_.num_tiles);
    for (int64_t place = 0; place < n; ++place) {
      const int64_t tile = tile_of[place], slot = tile * kTileLanes + next[tile]++;
      view_.places[slot] = place;
      view_.slots[place] = slot;
      if (!filled) continue;
      const Box<T> b = load_box(boxes + 4 * items[place]);
      view_.set(slot, b);
      view_.grow(slot, b);
    }
  }
  const NearBoxesView<T>& view() const { return view_; }

 private:
  void allocate(int64_t n) {
    view_.num_tiles = (n + kTileLanes - 1) / kTileLanes;
    view_.num_chunks = (view_.num_tiles + kTileLanes - 1) / kTileLanes;
    const int64_t slots = view_.num_tiles * kTileLanes;
    lanes_ = working_memory<BoxLanes<T, kTileLanes>>(view_.num_tiles + view_.num_chunks);
    chunks_ = std::make_unique<Hull<T>[]>(view_.num_chunks);
    places_ = working_memory<int64_t>(slots + n);
    view_.tiles = lanes_.get();
    view_.hulls = view_.tiles + view_.num_tiles;
    view_.chunks = chunks_.get();
    view_.places = places_.get();
    view_.slots = view_.places + slots;
    for (int64_t i = 0; i < view_.num_tiles + view_.num_chunks; ++i) lanes_[i].clear();
    std::fill_n(view_.places, slots, INT64_MAX);
  }

  // Tiles are runs of boxes along the Z curve.
  static Column<int32_t> assign_tiles(const T* boxes, const int64_t* items, int64_t n) {
    Column<int32_t> tile_of(n);
    if (n <= kTileLanes) {
      std::fill(tile_of.begin(), tile_of.end(), 0);
      return tile_of;
    }
    int bits = 1;  // of a cell along an axis: about four boxes per cell
    while (bits < kMaxGridBits && (int64_t(4) << (2 * bits)) < n) ++bits;
    Hull<T> region;  // of the centres
    Column<T> xs(n), ys(n);
    for (int64_t place = 0; place < n; ++place) {
      const Box<T> b = load_box(boxes + 4 * items[place]);
      const T x = centre_x(b), y = centre_y(b);  // NaN where the box lies nowhere
      xs[place] = x, ys[place] = y;
      region.add(x, y, x, y);
    }
    const ZGrid<T> grid(region, bits);
    Column<uint32_t> cells(n);
    for (int64_t place = 0; place < n; ++place) cells[place] = grid.cell(xs[place], ys[place]);
    const Column<int64_t> order = order_by_key<int64_t>(cells.data(), n, int64_t(1) << (2 * bits));
    for (int64_t p = 0; p < n; ++p) tile_of[order[p]] = static_cast<int32_t>(p / kTileLanes);
    return tile_of;
  }

  static constexpr int kMaxGridBits = 10;

  NearBoxesView<T> view_{};
  std::unique_ptr<BoxLanes<T, kTileLanes>[]> lanes_;  // tiles, then hulls
  std::unique_ptr<Hull<T>[]> chunks_;
  std::unique_ptr<int64_t[]> places_;  // and slots
};

}  // namespace sightline
