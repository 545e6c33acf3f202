// What nms and nms_padded ask of their lists in tiles.cuh.
#pragma once

#include <cstdint>

#include "common/box.h"

namespace sightline::nms {

template <class T>
struct ScoredBoxes {
  const T* boxes;       // [lists, n, 4]
  const int64_t* idxs;  // [lists, n], or null: all are of one segment
  int64_t n;

  SIGHTLINE_HD bool segmented() const { return idxs != nullptr; }
  SIGHTLINE_HD Box<T> box(int64_t list, int64_t index) const {
    return load_box(boxes + 4 * (list * n + index));
  }
  SIGHTLINE_HD int64_t segment(int64_t list, int64_t index) const { return idxs[list * n + index]; }
};

}  // namespace sightline::nms
