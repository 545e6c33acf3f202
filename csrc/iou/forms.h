// The five overlap measures as types, so that one kernel serves them all: value, and what it needs
// of a box.
#pragma once

#include "common/box.h"

namespace sightline {

struct BoxIou {
  static constexpr bool kNeedsAngle = false;
  template <class T>
  SIGHTLINE_HD static T value(const Box<T>& a, const Box<T>& b, T eps) {
    return iou(a, b, eps);
  }
};

struct BoxIoa {
  static constexpr bool kNeedsAngle = false;
  template <class T>
  SIGHTLINE_HD static T value(const Box<T>& a, const Box<T>& b, T) {
    return ioa(a, b);
  }
};

// The losses give eps to the union as well; the matrix forms give their eps to the penalty alone.
template <bool kLoss>
struct Generalized {
  static constexpr bool kNeedsAngle = false;
  template <class T>
  SIGHTLINE_HD static T value(const Box<T>& a, const Box<T>& b, T eps) {
    return iou(a, b, kLoss ? eps : T(0)) - hull_penalty(a, b, eps);
  }
};

template <bool kLoss>
struct Distance {
  static constexpr bool kNeedsAngle = false;
  template <class T>
  SIGHTLINE_HD static T value(const Box<T>& a, const Box<T>& b, T eps) {
    return iou(a, b, kLoss ? eps : T(0)) - centre_penalty(a, b, eps);
  }
};

template <bool kLoss>
struct Complete {
  static constexpr bool kNeedsAngle = true;
  template <class T>
  SIGHTLINE_HD static T value(const Box<T>& a, const Box<T>& b, T eps) {
    const T overlap = iou(a, b, kLoss ? eps : T(0));
    return overlap - centre_penalty(a, b, eps) -
           aspect_penalty(aspect_difference(a, b), overlap, eps);
  }
};

using GeneralizedBoxIou = Generalized<false>;
using DistanceBoxIou = Distance<false>;
using CompleteBoxIou = Complete<false>;
using GeneralizedBoxIouLoss = Generalized<true>;
using DistanceBoxIouLoss = Distance<true>;
using CompleteBoxIouLoss = Complete<true>;

template <class Form, class T>
SIGHTLINE_HD Box<T> prepare_box(const T* p) {
  Box<T> b = load_box(p);
  if constexpr (Form::kNeedsAngle) b.angle = box_angle(b);
  return b;
}

}  // namespace sightline
