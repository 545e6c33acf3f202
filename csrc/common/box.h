// The only copy of the box formulas, for host and device. Boxes are xyxy in continuous pixels.
// Bad boxes: a box with a non-finite coordinate, or an area that overflows, lies nowhere once
// loaded: it overlaps nothing, and every form is 0 for it. An inverted box has area zero; an empty
// union gives IoU 0, an empty hull GIoU 0. Nothing here returns NaN.
#pragma once

#include <cstdint>
#include <limits>

#include "common/math.h"

namespace sightline {

template <class T>
struct Box {
  T x1, y1, x2, y2;
  T area;   // 0 where a side is negative
  T angle;  // arctangent(width / height); set by prepare_box where a form needs it
};

template <class T>
SIGHTLINE_HD T width(const Box<T>& b) {
  return larger(b.x2 - b.x1, T(0));
}
template <class T>
SIGHTLINE_HD T height(const Box<T>& b) {
  return larger(b.y2 - b.y1, T(0));
}

// Loads p[0..3]. A box that lies nowhere has x1 = y1 = +inf and x2 = y2 = -inf.
template <class T>
SIGHTLINE_HD Box<T> load_box(const T* p) {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  Box<T> b{p[0], p[1], p[2], p[3], T(0), T(0)};
  b.area = width(b) * height(b);
  // x - x is 0 for a finite x and NaN for the others.
  const T zero =
      ((p[0] - p[0]) + (p[1] - p[1])) + ((p[2] - p[2]) + (p[3] - p[3])) + (b.area - b.area);
  const bool usable = zero == T(0);
  return {usable ? b.x1 : kInf,  usable ? b.y1 : kInf,   usable ? b.x2 : -kInf,
          usable ? b.y2 : -kInf, usable ? b.area : T(0), T(0)};
}

// 0 where a box has no width; NaN where it lies nowhere, which aspect_penalty turns into 0.
template <class T>
SIGHTLINE_HD T box_angle(const Box<T>& b) {
  const T w = width(b), h = height(b);
  if (b.x1 > std::numeric_limits<T>::max()) return std::numeric_limits<T>::quiet_NaN();
  return w > T(0) ? math::arctangent(w / h) : T(0);
}

template <class T>
SIGHTLINE_HD T intersection(const Box<T>& a, const Box<T>& b) {
  const T w = larger(smaller(a.x2, b.x2) - larger(a.x1, b.x1), T(0));
  const T h = larger(smaller(a.y2, b.y2) - larger(a.y1, b.y1), T(0));
  return w * h;
}

// eps is 0 in the matrix forms and a small number in the losses, where it keeps gradients finite.
template <class T>
SIGHTLINE_HD T iou(const Box<T>& a, const Box<T>& b, T eps = T(0)) {
  const T inter = intersection(a, b);
  const T both = a.area + b.area - inter;
  return both > T(0) ? inter / (both + eps) : T(0);
}

// Intersection over the area of a.
template <class T>
SIGHTLINE_HD T ioa(const Box<T>& a, const Box<T>& b) {
  const T inter = intersection(a, b);
  return a.area > T(0) ? inter / a.area : T(0);
}

template <class T>
SIGHTLINE_HD T hull_width(const Box<T>& a, const Box<T>& b) {
  return larger(larger(a.x2, b.x2) - smaller(a.x1, b.x1), T(0));
}
template <class T>
SIGHTLINE_HD T hull_height(const Box<T>& a, const Box<T>& b) {
  return larger(larger(a.y2, b.y2) - smaller(a.y1, b.y1), T(0));
}

// Share of the hull that neither box covers, in [0, 1]; Rezatofighi et al. 2019, eq. 5.
template <class T>
SIGHTLINE_HD T hull_penalty(const Box<T>& a, const Box<T>& b, T eps) {
  const T hull = hull_width(a, b) * hull_height(a, b);
  const T both = a.area + b.area - intersection(a, b);
  const T share = (hull - both) / (hull + eps);
  const T limit = hull > T(0) ? T(1) : T(0);  // NaN comes of an infinite hull or an empty one
  return share == share ? larger(smaller(share, T(1)), T(0)) : limit;
}

// Half-sums first: the centre of a box with large coordinates must not overflow.
template <class T>
SIGHTLINE_HD T centre_dx(const Box<T>& a, const Box<T>& b) {
  return (a.x1 * T(0.5) + a.x2 * T(0.5)) - (b.x1 * T(0.5) + b.x2 * T(0.5));
}
template <class T>
SIGHTLINE_HD T centre_dy(const Box<T>& a, const Box<T>& b) {
  return (a.y1 * T(0.5) + a.y2 * T(0.5)) - (b.y1 * T(0.5) + b.y2 * T(0.5));
}

// Squared distance of the centres over the squared diagonal of the hull, in [0, 1]; Zheng et al.
// 2020, eq. 6.
template <class T>
SIGHTLINE_HD T centre_penalty(const Box<T>& a, const Box<T>& b, T eps) {
  const T dx = centre_dx(a, b), dy = centre_dy(a, b);
  const T hw = hull_width(a, b), hh = hull_height(a, b);
  const T distance = dx * dx + dy * dy;
  const T ratio = distance / (hw * hw + hh * hh + eps);
  // Where the ratio is no number: 1 after an overflow, 0 of a box that lies nowhere.
  const T limit = distance > T(0) ? T(1) : T(0);
  return ratio <= T(1) ? ratio : limit;
}

// Squared difference of the angles in units of (pi / 2)^2; Zheng et al. 2020, eq. 9.
template <class T>
SIGHTLINE_HD T aspect_difference(const Box<T>& a, const Box<T>& b) {
  constexpr T kScale = T(4) / (math::kPi<T> * math::kPi<T>);
  const T d = a.angle - b.angle;
  return kScale * (d * d);
}

// v * alpha of eq. 10 with alpha = v / (1 - IoU + v).
template <class T>
SIGHTLINE_HD T aspect_penalty(T v, T overlap, T eps) {
  const T scale = T(1) - overlap + v + eps;
  return scale > T(0) ? v * v / scale : T(0);
}

}  // namespace sightline
