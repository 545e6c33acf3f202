// Prepared boxes as one array per field: consecutive boxes fill the lanes of a vector.
#pragma once

#include <algorithm>

#include "iou/forms.h"

namespace sightline::iou::pairwise {

template <class T, int64_t kTile>
struct BoxTile {
  // Fields a power of two apart would meet in the same few sets of the first-level cache.
  static constexpr int64_t kStride = kTile + 80;
  alignas(64) T x1[kStride], y1[kStride], x2[kStride], y2[kStride], area[kStride], angle[kStride],
      cx[kStride], cy[kStride];

  // Loads and computes in two passes: gcc 12 does not vectorise a loop that reads [n, 4].
  template <class Form>
  SIGHTLINE_INLINE void fill(const T* boxes,  // [count, 4]
                             int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      x1[k] = boxes[4 * k];
      y1[k] = boxes[4 * k + 1];
      x2[k] = boxes[4 * k + 2];
      y2[k] = boxes[4 * k + 3];
    }
    for (int64_t k = 0; k < count; ++k) {
      const PreparedBox<T> b = prepare_box<Form>(x1[k], y1[k], x2[k], y2[k]);
      x1[k] = b.x1;
      y1[k] = b.y1;
      x2[k] = b.x2;
      y2[k] = b.y2;
      area[k] = b.area;
      if constexpr (Form::kNeedsAngle) angle[k] = b.angle;
      if constexpr (Form::kNeedsCentre) cx[k] = b.cx;
      if constexpr (Form::kNeedsCentre) cy[k] = b.cy;
    }
  }
  template <class Form>
  SIGHTLINE_INLINE PreparedBox<T> at(int64_t k) const {
    PreparedBox<T> b{{x1[k], y1[k], x2[k], y2[k], area[k], T(0)}, T(0), T(0)};
    if constexpr (Form::kNeedsAngle) b.angle = angle[k];
    if constexpr (Form::kNeedsCentre) b.cx = cx[k];
    if constexpr (Form::kNeedsCentre) b.cy = cy[k];
    return b;
  }
};

}  // namespace sightline::iou::pairwise
