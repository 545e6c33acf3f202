// When one box suppresses another. See common/box.h for bad boxes, which overlap nothing.
#pragma once

#include <limits>

#include "common/box.h"

namespace sightline::nms {

template <class T>
SIGHTLINE_HD bool suppresses(const Box<T>& kept, const Box<T>& box, T threshold) {
  return iou_of(kept, box) > threshold;
}

// A test without a division that fails no pair that suppresses: share is suppression_share() of the
// threshold. iou > t implies inter >= t / (1 + t) * (a.area + b.area), but for the rounding that
// the slack allows for; and where a product is too small for that, inter is one of the numbers that
// the right-hand side is rounded to.
template <class T>
SIGHTLINE_HD bool may_suppress(const Box<T>& a, const Box<T>& b, T share) {
  const T inter = intersection(a, b);
  return (inter > T(0)) & (inter >= share * (a.area + b.area));
}
template <class T>
SIGHTLINE_HD T suppression_share(T threshold) {
  return threshold / (T(1) + threshold) * (T(1) - 16 * std::numeric_limits<T>::epsilon());
}

}  // namespace sightline::nms
