// The formulas of boxes, for host and device. Boxes are xyxy in continuous pixels. Only evaluation
// has an IoU of its own, that of pycocotools: evaluation/average_precision/rules.h.
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

// load_box reads p[0..3]. A box that lies nowhere has x1 = y1 = +inf and x2 = y2 = -inf.
template <class T>
SIGHTLINE_HD Box<T> make_box(T x1, T y1, T x2, T y2) {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  Box<T> b{x1, y1, x2, y2, T(0), T(0)};
  b.area = width(b) * height(b);
  // x - x is 0 for a finite x and NaN for the others.
  const T zero = ((x1 - x1) + (y1 - y1)) + ((x2 - x2) + (y2 - y2)) + (b.area - b.area);
  const bool usable = zero == T(0);
  return {usable ? b.x1 : kInf,  usable ? b.y1 : kInf,   usable ? b.x2 : -kInf,
          usable ? b.y2 : -kInf, usable ? b.area : T(0), T(0)};
}
template <class T>
SIGHTLINE_HD Box<T> load_box(const T* p) {
  return make_box(p[0], p[1], p[2], p[3]);
}

// 0 where a box has no width; NaN where it lies nowhere, which aspect_penalty turns into 0.
template <class T>
SIGHTLINE_HD T box_angle(const Box<T>& b) {
  const T w = width(b), h = height(b);
  if (b.x1 > std::numeric_limits<T>::max()) return std::numeric_limits<T>::quiet_NaN();
  return w > T(0) ? math::arctangent(w / h) : T(0);
}

// kSolid promises, here and below, that a has an area: then the union and the hull have one too and
// need no test.
//
// What the sides are cut off at: 0, which gcc must not know of, or it makes two instructions of one
// maximum.
template <bool kSolid, class T>
SIGHTLINE_HD T zero_beside(const Box<T>& a) {
  return kSolid ? a.area - a.area : T(0);
}

template <bool kSolid = false, class T>
SIGHTLINE_HD T intersection(const Box<T>& a, const Box<T>& b) {
  const T zero = zero_beside<kSolid>(a);
  const T w = larger(smaller(a.x2, b.x2) - larger(a.x1, b.x1), zero);
  const T h = larger(smaller(a.y2, b.y2) - larger(a.y1, b.y1), zero);
  return w * h;
}

template <bool kSolid = false, class T>
SIGHTLINE_HD T iou_of(const Box<T>& a, const Box<T>& b) {
  const T inter = intersection<kSolid>(a, b);
  const T both = a.area + b.area - inter;
  return kSolid || both > T(0) ? inter / both : T(0);
}

// The losses add a small eps to the union, which keeps gradients finite.
template <bool kSolid = false, class T>
SIGHTLINE_HD T iou_of(const Box<T>& a, const Box<T>& b, T eps) {
  const T inter = intersection<kSolid>(a, b);
  const T both = a.area + b.area - inter;
  return kSolid || both > T(0) ? inter / (both + eps) : T(0);
}

// Intersection over the area of a.
template <bool kSolid = false, class T>
SIGHTLINE_HD T ioa(const Box<T>& a, const Box<T>& b) {
  const T inter = intersection<kSolid>(a, b);
  return kSolid || a.area > T(0) ? inter / a.area : T(0);
}

template <bool kSolid = false, class T>
SIGHTLINE_HD T hull_width(const Box<T>& a, const Box<T>& b) {
  const T w = larger(a.x2, b.x2) - smaller(a.x1, b.x1);
  return kSolid ? w : larger(w, T(0));
}
template <bool kSolid = false, class T>
SIGHTLINE_HD T hull_height(const Box<T>& a, const Box<T>& b) {
  const T h = larger(a.y2, b.y2) - smaller(a.y1, b.y1);
  return kSolid ? h : larger(h, T(0));
}

// Share of the hull that neither box covers, in [0, 1]; Rezatofighi et al. 2019, eq. 5.
template <bool kSolid = false, class T>
SIGHTLINE_HD T hull_penalty(const Box<T>& a, const Box<T>& b, T eps) {
  const T hull = hull_width<kSolid>(a, b) * hull_height<kSolid>(a, b);
  const T both = a.area + b.area - intersection<kSolid>(a, b);
  // NaN comes of an infinite hull, where smaller() gives 1, or of an empty one.
  const T share = larger(smaller((hull - both) / (hull + eps), T(1)), zero_beside<kSolid>(a));
  return kSolid || hull > T(0) ? share : T(0);
}

// Half-sums first: the centre of a box with large coordinates must not overflow.
template <class T>
SIGHTLINE_HD T centre_x(const Box<T>& b) {
  return b.x1 * T(0.5) + b.x2 * T(0.5);
}
template <class T>
SIGHTLINE_HD T centre_y(const Box<T>& b) {
  return b.y1 * T(0.5) + b.y2 * T(0.5);
}

// Squared distance of the centres, dx and dy apart, over the squared diagonal of the hull, in
// [0, 1]; Zheng et al. 2020, eq. 6.
template <bool kSolid = false, class T>
SIGHTLINE_HD T centre_penalty(const Box<T>& a, const Box<T>& b, T dx, T dy, T eps) {
  const T hw = hull_width<kSolid>(a, b), hh = hull_height<kSolid>(a, b);
  const T distance = dx * dx + dy * dy;
  // NaN after an overflow, where smaller() gives 1; the distance of a box that lies nowhere is NaN.
  const T ratio = smaller(distance / (hw * hw + hh * hh + eps), T(1));
  return distance > T(0) ? ratio : T(0);
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
