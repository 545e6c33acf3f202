// The five overlap measures as types, so that one kernel serves them all: value, and what it needs
// of a box. kSolid as in common/box.h: a has an area.
#pragma once

#include "common/box.h"

namespace sightline::iou {

// A box with what the forms ask of it alone, computed once a box rather than once a pair.
template <class T>
struct PreparedBox : Box<T> {
  T cx, cy;  // centre; 0 where the form needs none
};

struct BoxIou {
  static constexpr bool kNeedsCentre = false, kNeedsAngle = false, kIsLoss = false;
  template <bool kSolid = false, class T>
  SIGHTLINE_HD static T value(const PreparedBox<T>& a, const PreparedBox<T>& b, T) {
    return iou_of<kSolid>(a, b);
  }
};

struct BoxIoa {
  static constexpr bool kNeedsCentre = false, kNeedsAngle = false, kIsLoss = false;
  template <bool kSolid = false, class T>
  SIGHTLINE_HD static T value(const PreparedBox<T>& a, const PreparedBox<T>& b, T) {
    return ioa<kSolid>(a, b);
  }
};

// The losses give eps to the union as well; the matrix forms give their eps to the penalty alone.
template <bool kSolid, bool kLoss, class T>
SIGHTLINE_HD T form_iou(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps) {
  return kLoss ? iou_of<kSolid>(a, b, eps) : iou_of<kSolid>(a, b);
}

template <bool kLoss>
struct Generalized {
  static constexpr bool kNeedsCentre = false, kNeedsAngle = false, kIsLoss = kLoss;
  template <bool kSolid = false, class T>
  SIGHTLINE_HD static T value(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps) {
    return form_iou<kSolid, kLoss>(a, b, eps) - hull_penalty<kSolid>(a, b, eps);
  }
};

template <bool kLoss>
struct Distance {
  static constexpr bool kNeedsCentre = true, kNeedsAngle = false, kIsLoss = kLoss;
  template <bool kSolid = false, class T>
  SIGHTLINE_HD static T value(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps) {
    return form_iou<kSolid, kLoss>(a, b, eps) -
           centre_penalty<kSolid>(a, b, a.cx - b.cx, a.cy - b.cy, eps);
  }
};

template <bool kLoss>
struct Complete {
  static constexpr bool kNeedsCentre = true, kNeedsAngle = true, kIsLoss = kLoss;
  template <bool kSolid = false, class T>
  SIGHTLINE_HD static T value(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps) {
    const T overlap = form_iou<kSolid, kLoss>(a, b, eps);
    return overlap - centre_penalty<kSolid>(a, b, a.cx - b.cx, a.cy - b.cy, eps) -
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
SIGHTLINE_HD PreparedBox<T> prepare_box(T x1, T y1, T x2, T y2) {
  PreparedBox<T> b{make_box(x1, y1, x2, y2), T(0), T(0)};
  if constexpr (Form::kNeedsCentre) {
    b.cx = centre_x(b);
    b.cy = centre_y(b);
  }
  if constexpr (Form::kNeedsAngle) b.angle = box_angle(b);
  return b;
}
template <class Form, class T>
SIGHTLINE_HD PreparedBox<T> prepare_box(const T* p) {
  return prepare_box<Form>(p[0], p[1], p[2], p[3]);
}

// What an aligned form gives for a pair.
template <class Form, class T>
SIGHTLINE_HD T aligned_value(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps) {
  const T value = Form::value(a, b, eps);
  return Form::kIsLoss ? T(1) - value : value;
}

}  // namespace sightline::iou
