// Boxes in tiles of 64 that lie near each other, and tiles in chunks of 64, each with its bounds:
// to find what a box overlaps, most boxes need not be looked at.
//
// Which boxes share a tile is a matter of speed alone; no result may depend on it. Within a tile
// boxes keep the order they came in. Memory is linear in the number of boxes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/box.h"
#include "common/working_memory.h"

namespace sightline {

inline constexpr int64_t kLanes = 64;  // boxes of a tile, and tiles of a chunk

// Bounds, one array a field; those of nothing have x1 = y1 = inf and x2 = y2 = -inf.
template <class T>
struct Bounds {
  T *x1, *y1, *x2, *y2;

  SIGHTLINE_INLINE void clear(int64_t i) const {
    constexpr T kInf = std::numeric_limits<T>::infinity();
    x1[i] = y1[i] = kInf;
    x2[i] = y2[i] = -kInf;
  }
  SIGHTLINE_INLINE void include(int64_t i, const Box<T>& b) const {
    x1[i] = smaller(b.x1, x1[i]), y1[i] = smaller(b.y1, y1[i]);
    x2[i] = larger(b.x2, x2[i]), y2[i] = larger(b.y2, y2[i]);
  }
  SIGHTLINE_INLINE Box<T> operator[](int64_t i) const {
    return {x1[i], y1[i], x2[i], y2[i], T(0), T(0)};
  }
};

// Views, to hand to a kernel by value. Lanes that hold no box lie nowhere.
template <class T>
struct NearBoxesView {
  int64_t num_tiles, num_chunks;
  T *x1, *y1, *x2, *y2, *area;  // [num_tiles, kLanes] each
  int64_t* places;              // [num_tiles, kLanes], ascending in a tile; INT64_MAX: no box
  int64_t* slots;               // [n]: where the box of each place lies
  Bounds<T> tiles;              // [num_chunks, kLanes]
  Bounds<T> chunks;             // [num_chunks]

  SIGHTLINE_INLINE Box<T> box(int64_t slot) const {
    return {x1[slot], y1[slot], x2[slot], y2[slot], area[slot], T(0)};
  }
  SIGHTLINE_INLINE void set(int64_t slot, const Box<T>& b) const {
    x1[slot] = b.x1, y1[slot] = b.y1, x2[slot] = b.x2, y2[slot] = b.y2, area[slot] = b.area;
  }
  SIGHTLINE_INLINE void grow(int64_t slot, const Box<T>& b) const {
    tiles.include(slot / kLanes, b);
    chunks.include(slot / (kLanes * kLanes), b);
  }
};

template <class T>
SIGHTLINE_INLINE bool bounds_meet(const Box<T>& a, const Box<T>& b) {
  // No short circuit: the loop over tiles is vectorised.
  return bool((a.x1 < b.x2) & (b.x1 < a.x2) & (a.y1 < b.y2) & (b.y1 < a.y2));
}

// Writes the tiles of a chunk that may hold a box with an intersection with `box`, ascending;
// returns how many.
template <class T>
SIGHTLINE_INLINE int64_t tiles_that_meet(const NearBoxesView<T>& view, int64_t chunk,
                                         const Box<T>& box, int32_t* out /* [kLanes] */) {
  if (!bounds_meet(view.chunks[chunk], box)) return 0;
  const int64_t first = chunk * kLanes;
  const T *const x1 = view.tiles.x1 + first, *const y1 = view.tiles.y1 + first;
  const T *const x2 = view.tiles.x2 + first, *const y2 = view.tiles.y2 + first;
  T meets[kLanes];  // 0 or 1, as wide as a lane
  for (int64_t k = 0; k < kLanes; ++k) {
    const Box<T> tile{x1[k], y1[k], x2[k], y2[k], T(0), T(0)};
    meets[k] = bounds_meet(tile, box) ? T(1) : T(0);
  }
  const int64_t count = smaller(kLanes, view.num_tiles - first);
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
    const std::vector<int32_t> tile_of = assign_tiles(boxes, items, n);
    allocate(n);
    std::vector<int64_t> next(view_.num_tiles);
    for (int64_t place = 0; place < n; ++place) {
      const int64_t tile = tile_of[place], slot = tile * kLanes + next[tile]++;
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
    view_.num_tiles = (n + kLanes - 1) / kLanes;
    view_.num_chunks = (view_.num_tiles + kLanes - 1) / kLanes;
    const int64_t slots = view_.num_tiles * kLanes, tiles = view_.num_chunks * kLanes;
    numbers_ = working_memory<T>(5 * slots + 4 * tiles + 4 * view_.num_chunks);
    places_ = working_memory<int64_t>(slots + n);
    T* memory = numbers_.get();
    const auto take = [&memory](int64_t count) {
      T* const start = memory;
      memory += count;
      return start;
    };
    for (T** field : {&view_.x1, &view_.y1, &view_.x2, &view_.y2, &view_.area})
      *field = take(slots);
    for (T** field : {&view_.tiles.x1, &view_.tiles.y1, &view_.tiles.x2, &view_.tiles.y2})
      *field = take(tiles);
    for (T** field : {&view_.chunks.x1, &view_.chunks.y1, &view_.chunks.x2, &view_.chunks.y2})
      *field = take(view_.num_chunks);
    view_.places = places_.get();
    view_.slots = places_.get() + slots;
    constexpr T kInf = std::numeric_limits<T>::infinity();
    for (int64_t slot = 0; slot < slots; ++slot) {
      view_.set(slot, {kInf, kInf, -kInf, -kInf, T(0), T(0)});
      view_.places[slot] = INT64_MAX;
    }
    for (int64_t tile = 0; tile < tiles; ++tile) view_.tiles.clear(tile);
    for (int64_t chunk = 0; chunk < view_.num_chunks; ++chunk) view_.chunks.clear(chunk);
  }

  // Tiles are runs of 64 boxes in the order of cells along a Z-curve over a grid.
  static std::vector<int32_t> assign_tiles(const T* boxes, const int64_t* items, int64_t n) {
    std::vector<int32_t> tile_of(n, 0);
    if (n <= kLanes) return tile_of;
    int bits = 1;  // of a cell along an axis: about four boxes a cell
    while (bits < kMaxGridBits && (int64_t(4) << (2 * bits)) < n) ++bits;
    const int cells_a_side = 1 << bits;
    Box<T> all{kInf, kInf, -kInf, -kInf, T(0), T(0)};  // of the centres
    std::vector<T> centres(2 * n);
    for (int64_t place = 0; place < n; ++place) {
      const Box<T> b = load_box(boxes + 4 * items[place]);
      const T x = b.x1 * T(0.5) + b.x2 * T(0.5), y = b.y1 * T(0.5) + b.y2 * T(0.5);
      centres[2 * place] = x, centres[2 * place + 1] = y;  // NaN where the box lies nowhere
      all.x1 = smaller(x, all.x1), all.x2 = larger(x, all.x2);
      all.y1 = smaller(y, all.y1), all.y2 = larger(y, all.y2);
    }
    const T scale_x = T(cells_a_side) / (all.x2 - all.x1);
    const T scale_y = T(cells_a_side) / (all.y2 - all.y1);
    const auto along = [cells_a_side](T v) -> uint32_t {
      // NaN, too, comes of a grid without width or with an infinite one.
      return v > T(0) ? static_cast<uint32_t>(smaller(v, T(cells_a_side - 1))) : 0;
    };
    std::vector<int64_t> starts(int64_t(1) << (2 * bits));
    std::vector<uint32_t> cells(n);
    for (int64_t place = 0; place < n; ++place) {
      cells[place] = spread(along((centres[2 * place] - all.x1) * scale_x)) |
                     spread(along((centres[2 * place + 1] - all.y1) * scale_y)) << 1;
      ++starts[cells[place]];
    }
    int64_t start = 0;
    for (int64_t& slot : starts) start += std::exchange(slot, start);
    for (int64_t place = 0; place < n; ++place)
      tile_of[place] = static_cast<int32_t>(starts[cells[place]]++ / kLanes);
    return tile_of;
  }

  // Bits 0, 1, 2, .. of a cell's number to 0, 2, 4, ..
  static uint32_t spread(uint32_t v) {
    v = (v | v << 8) & 0x00ff00ff;
    v = (v | v << 4) & 0x0f0f0f0f;
    v = (v | v << 2) & 0x33333333;
    return (v | v << 1) & 0x55555555;
  }

  static constexpr int kMaxGridBits = 10;
  static constexpr T kInf = std::numeric_limits<T>::infinity();

  NearBoxesView<T> view_{};
  std::unique_ptr<T[]> numbers_;
  std::unique_ptr<int64_t[]> places_;  // and slots
};

}  // namespace sightline
