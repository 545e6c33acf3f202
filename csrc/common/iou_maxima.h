// Running maxima over the overlaps that box_tiles.h visits: of each lane over the objects, of each
// object over the lanes, each with the lowest index that reaches it.
#pragma once

#include "common/box_tiles.h"

namespace sightline {

template <class T>
struct ObjectMaxima {
  T* value;           // [num_objects]
  LaneInt<T>* index;  // [num_objects]: the box that reaches it; unspecified where value is 0
};

// kOrdered: the boxes come in an order of their own, so that ties are decided by their indices.
template <class T, bool kOrdered, class Store>
struct MaximaVisitor {
  ObjectMaxima<T> of_object;
  Store store;  // called with (index of the box, its largest IoU, its object or -1)
  T best[kTileLanes], overlap[kTileLanes];
  LaneInt<T> object_of[kTileLanes];

  SIGHTLINE_INLINE void begin(const BoxTile<T>&) {
    for (int64_t j = 0; j < kTileLanes; ++j) best[j] = T(0), object_of[j] = -1;
  }
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t g, const Box<T>& object) {
    using Int = LaneInt<T>;
    const T highest = of_object.value[g];
    const Int holder = of_object.index[g], own = static_cast<Int>(g);
    Int any = 0;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      const T value = iou_of(tile[j], object);
      overlap[j] = value;
      object_of[j] = value > best[j] ? own : object_of[j];
      best[j] = value > best[j] ? value : best[j];
      any |= value > highest ? 1 : 0;
      if constexpr (kOrdered) any |= (value == highest) & (tile.index[j] < holder) ? 1 : 0;
    }
    if (any == 0) return;
    T top = highest;
    Int top_index = holder;
    for (int64_t j = 0; j < tile.size; ++j) {
      const bool better = overlap[j] > top || (overlap[j] == top && tile.index[j] < top_index);
      top = better ? overlap[j] : top;
      top_index = better ? tile.index[j] : top_index;
    }
    of_object.value[g] = top;
    of_object.index[g] = top_index;
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>& tile) {
    for (int64_t j = 0; j < tile.size; ++j) store(tile.index[j], best[j], object_of[j]);
  }
};

}  // namespace sightline
