// The IoU matrix of many boxes (lanes) with a list of boxes (objects), entry by entry and never
// held. Boxes lie in tiles with hulls; what lies apart from a tile's hull overlaps none of its
// boxes and is passed over, which is exact: where boxes lie apart IoU is 0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "common/box_lanes.h"
#include "common/parallel.h"

namespace sightline {

inline constexpr int64_t kTilesOfBlock = 16;
inline constexpr int64_t kBlockLanes = kTileLanes * kTilesOfBlock;

// An integer as wide as a lane of T.
template <class T>
using LaneInt = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
struct BoxTile {
  BoxLanes<T, kTileLanes> boxes;
  LaneInt<T> index[kTileLanes];  // of the box; set where an order is given
  int64_t begin, size;           // position of the first lane, and how many lanes hold boxes
  Hull<T> hull;

  SIGHTLINE_INLINE Box<T> operator[](int64_t j) const { return boxes[j]; }

  // order: [n] or null.
  SIGHTLINE_INLINE void load(const T* from /* [n, 4] */, const int32_t* order, int64_t first,
                             int64_t last) {
    begin = first;
    size = std::min(kTileLanes, last - first);
    for (int64_t j = 0; j < kTileLanes; ++j) {
      // The tile is filled up with its last box, which changes no maximum.
      const int64_t position = first + std::min(j, size - 1);
      const int64_t i = order == nullptr ? position : order[position];
      const T* const p = from + 4 * i;
      boxes.x1[j] = p[0], boxes.y1[j] = p[1], boxes.x2[j] = p[2], boxes.y2[j] = p[3];
      index[j] = static_cast<LaneInt<T>>(i);
    }
    for (int64_t j = 0; j < kTileLanes; ++j)
      boxes.set(j, make_box(boxes.x1[j], boxes.y1[j], boxes.x2[j], boxes.y2[j]));
    constexpr int64_t kWidth = 16;
    T low_x[kWidth], low_y[kWidth], high_x[kWidth], high_y[kWidth];
    for (int64_t l = 0; l < kWidth; ++l)
      low_x[l] = boxes.x1[l], low_y[l] = boxes.y1[l], high_x[l] = boxes.x2[l],
      high_y[l] = boxes.y2[l];
    for (int64_t j = kWidth; j < kTileLanes; j += kWidth)
      for (int64_t l = 0; l < kWidth; ++l) {
        const Box<T> b = boxes[j + l];
        low_x[l] = smaller(b.x1, low_x[l]), low_y[l] = smaller(b.y1, low_y[l]);
        high_x[l] = larger(b.x2, high_x[l]), high_y[l] = larger(b.y2, high_y[l]);
      }
    hull = {};
    for (int64_t l = 0; l < kWidth; ++l) hull.add(low_x[l], low_y[l], high_x[l], high_y[l]);
  }

  SIGHTLINE_INLINE bool overlaps(const Box<T>& object) const {
    LaneInt<T> any = 0;
    for (int64_t j = 0; j < kTileLanes; ++j) any |= intersection((*this)[j], object) > T(0) ? 1 : 0;
    return any != 0;
  }
};

// Objects to hold boxes against.
template <class T>
struct ObjectList {
  const Box<T>* boxes;
  const int32_t* chosen;  // [count] indices into boxes, ascending, or null: all are meant
  int64_t count;

  SIGHTLINE_INLINE int32_t operator[](int64_t k) const {
    return chosen == nullptr ? static_cast<int32_t>(k) : chosen[k];
  }
};

// Consecutive tiles, which share a look at what objects lie near.
template <class T>
struct BoxBlock {
  BoxTile<T> tiles[kTilesOfBlock];
  int64_t count;
  Hull<T> hull;

  SIGHTLINE_INLINE void load(const T* boxes, const int32_t* order, int64_t first, int64_t last) {
    count = (last - first + kTileLanes - 1) / kTileLanes;
    hull = {};
    for (int64_t t = 0; t < count; ++t) {
      tiles[t].load(boxes, order, first + t * kTileLanes, last);
      hull.add(tiles[t].hull);
    }
  }
};

// Calls visitor.begin(tile), visitor.visit(tile, g, object) for every object g, in ascending order,
// that some box of the tile overlaps, and visitor.end(tile), for the tiles of a block. begin() may
// turn boxes of the tile into boxes that lie nowhere.
template <class T, class Visitor>
SIGHTLINE_INLINE void visit_overlaps(BoxBlock<T>& block, ObjectList<T> objects,
                                     int32_t* nearby,  // [objects.count], scratch
                                     Visitor& visitor) {
  int64_t found = 0;
  for (int64_t k = 0; k < objects.count; ++k) {
    const int32_t g = objects[k];
    nearby[found] = g;
    found += block.hull.meets(objects.boxes[g]);
  }
  for (int64_t t = 0; t < block.count; ++t) {
    BoxTile<T>& tile = block.tiles[t];
    visitor.begin(tile);
    for (int64_t k = 0; k < found; ++k) {
      const Box<T> object = objects.boxes[nearby[k]];
      if (tile.hull.meets(object) && tile.overlaps(object)) visitor.visit(tile, nearby[k], object);
    }
    visitor.end(tile);
  }
}

// The same for the boxes begin <= position < end.
template <class T, class Visitor>
SIGHTLINE_INLINE void visit_overlaps(const T* boxes,        // [n, 4]
                                     const int32_t* order,  // [n], or null: as they come
                                     int64_t begin, int64_t end, ObjectList<T> objects,
                                     int32_t* nearby,  // [objects.count], scratch
                                     Visitor& visitor) {
  BoxBlock<T> block;
  for (int64_t start = begin; start < end; start += kBlockLanes) {
    block.load(boxes, order, start, std::min(start + kBlockLanes, end));
    visit_overlaps(block, objects, nearby, visitor);
  }
}

// Calls run(first, last) for parts of begin <= position < end, whole blocks but the last, between
// which the call may stop. A look within run() would cost the loops there a tenth.
template <class Run>
void in_blocks(int64_t begin, int64_t end, int64_t objects, ParallelFor parallel_for, Run run) {
  constexpr int64_t kPairsBetweenLooks = int64_t{1} << 22;
  const int64_t step = (kPairsBetweenLooks / (kBlockLanes * (objects + 1)) + 1) * kBlockLanes;
  for (int64_t first = begin; first < end; first += step) {
    if (first > begin) parallel_for.throw_if_stopped();
    run(first, std::min(first + step, end));
  }
}

}  // namespace sightline
