// Derivatives of the forms in forms.h, added to four numbers a box. Where two edges tie, each box
// gets half.
#pragma once

#include "iou/forms.h"

namespace sightline {

template <class T>
struct BoxGradient {
  T x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

namespace gradient {

// How much of max(a, b) is a.
template <class T>
SIGHTLINE_HD T share_of_larger(T a, T b) {
  return a > b ? T(1) : (a < b ? T(0) : T(0.5));
}

// Adds d(min(x2) - max(x1)) * g along one axis.
template <class T>
SIGHTLINE_HD void add_overlap(T a1, T a2, T b1, T b2, T g, T& ga1, T& ga2, T& gb1, T& gb2) {
  const T low = share_of_larger(a1, b1), high = share_of_larger(b2, a2);
  ga1 -= g * low;
  gb1 -= g * (T(1) - low);
  ga2 += g * high;
  gb2 += g * (T(1) - high);
}

template <class T>
SIGHTLINE_HD void add_intersection(const Box<T>& a, const Box<T>& b, T g, BoxGradient<T>& ga,
                                   BoxGradient<T>& gb) {
  const T w = smaller(a.x2, b.x2) - larger(a.x1, b.x1);
  const T h = smaller(a.y2, b.y2) - larger(a.y1, b.y1);
  if (!(w > T(0) && h > T(0))) return;
  add_overlap(a.x1, a.x2, b.x1, b.x2, g * h, ga.x1, ga.x2, gb.x1, gb.x2);
  add_overlap(a.y1, a.y2, b.y1, b.y2, g * w, ga.y1, ga.y2, gb.y1, gb.y2);
}

template <class T>
SIGHTLINE_HD void add_area(const Box<T>& b, T g, BoxGradient<T>& gb) {
  const T w = b.x2 - b.x1, h = b.y2 - b.y1;
  if (!(w >= T(0) && h >= T(0))) return;
  gb.x1 -= g * h;
  gb.x2 += g * h;
  gb.y1 -= g * w;
  gb.y2 += g * w;
}

// gw and gh are the derivatives by the sides of the hull, whose edges are the outer ones.
template <class T>
SIGHTLINE_HD void add_hull(const Box<T>& a, const Box<T>& b, T gw, T gh, BoxGradient<T>& ga,
                           BoxGradient<T>& gb) {
  // An outer edge is a's where b's lies further in.
  const T left = share_of_larger(b.x1, a.x1), right = share_of_larger(a.x2, b.x2);
  const T top = share_of_larger(b.y1, a.y1), bottom = share_of_larger(a.y2, b.y2);
  ga.x1 -= gw * left;
  gb.x1 -= gw * (T(1) - left);
  ga.x2 += gw * right;
  gb.x2 += gw * (T(1) - right);
  ga.y1 -= gh * top;
  gb.y1 -= gh * (T(1) - top);
  ga.y2 += gh * bottom;
  gb.y2 += gh * (T(1) - bottom);
}

template <class T>
SIGHTLINE_HD void add_angle(const Box<T>& b, T g, BoxGradient<T>& gb) {
  const T w = width(b), h = height(b), squares = w * w + h * h;
  if (!(squares > T(0))) return;
  const T gw = g * (h / squares), gh = -g * (w / squares);
  gb.x1 -= gw;
  gb.x2 += gw;
  gb.y1 -= gh;
  gb.y2 += gh;
}

template <class T>
SIGHTLINE_HD void add_iou(const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                          BoxGradient<T>& gb) {
  const T inter = intersection(a, b), both = a.area + b.area - inter;
  if (!(both > T(0))) return;
  const T by_both = inter / (both + eps) / (both + eps);
  add_intersection(a, b, g * (T(1) / (both + eps) + by_both), ga, gb);
  add_area(a, -g * by_both, ga);
  add_area(b, -g * by_both, gb);
}

template <class T>
SIGHTLINE_HD void add_ioa(const Box<T>& a, const Box<T>& b, T g, BoxGradient<T>& ga,
                          BoxGradient<T>& gb) {
  if (!(a.area > T(0))) return;
  add_intersection(a, b, g / a.area, ga, gb);
  add_area(a, -g * (intersection(a, b) / a.area / a.area), ga);
}

template <class T>
SIGHTLINE_HD void add_hull_penalty(const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                                   BoxGradient<T>& gb) {
  const T hw = hull_width(a, b), hh = hull_height(a, b), hull = hw * hh;
  if (!(hull > T(0))) return;
  const T both = a.area + b.area - intersection(a, b);
  const T by_hull = g * ((both + eps) / (hull + eps) / (hull + eps)), by_both = -g / (hull + eps);
  add_hull(a, b, by_hull * hh, by_hull * hw, ga, gb);
  add_area(a, by_both, ga);
  add_area(b, by_both, gb);
  add_intersection(a, b, -by_both, ga, gb);
}

template <class T>
SIGHTLINE_HD void add_centre_penalty(const Box<T>& a, const Box<T>& b, T eps, T g,
                                     BoxGradient<T>& ga, BoxGradient<T>& gb) {
  const T dx = centre_dx(a, b), dy = centre_dy(a, b), hw = hull_width(a, b), hh = hull_height(a, b);
  const T diagonal = hw * hw + hh * hh + eps, distance = dx * dx + dy * dy;
  if (!(diagonal > T(0) && distance <= diagonal)) return;
  const T gx = g * (dx / diagonal),
          gy = g * (dy / diagonal);  // d(dx^2) / d(x1) = dx: a half of each corner
  ga.x1 += gx;
  ga.x2 += gx;
  gb.x1 -= gx;
  gb.x2 -= gx;
  ga.y1 += gy;
  ga.y2 += gy;
  gb.y1 -= gy;
  gb.y2 -= gy;
  const T by_diagonal = T(-2) * g * (distance / diagonal / diagonal);
  add_hull(a, b, by_diagonal * hw, by_diagonal * hh, ga, gb);
}

// The penalty is v^2 / (1 - IoU + v + eps): alpha is differentiated too.
template <class T>
SIGHTLINE_HD void add_aspect_penalty(const Box<T>& a, const Box<T>& b, T union_eps, T eps, T g,
                                     BoxGradient<T>& ga, BoxGradient<T>& gb) {
  const T v = aspect_difference(a, b), scale = T(1) - iou(a, b, union_eps) + v + eps;
  if (!(scale > T(0))) return;
  const T alpha = v / scale;
  constexpr T kScale = T(4) / (math::kPi<T> * math::kPi<T>);
  const T by_angle = g * (T(2) * alpha - alpha * alpha) * (T(2) * kScale * (a.angle - b.angle));
  add_angle(a, by_angle, ga);
  add_angle(b, -by_angle, gb);
  add_iou(a, b, union_eps, g * alpha * alpha, ga, gb);
}

template <class T>
SIGHTLINE_HD void add(BoxIou, const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                      BoxGradient<T>& gb) {
  add_iou(a, b, eps, g, ga, gb);
}
template <class T>
SIGHTLINE_HD void add(BoxIoa, const Box<T>& a, const Box<T>& b, T, T g, BoxGradient<T>& ga,
                      BoxGradient<T>& gb) {
  add_ioa(a, b, g, ga, gb);
}
template <bool kLoss, class T>
SIGHTLINE_HD void add(Generalized<kLoss>, const Box<T>& a, const Box<T>& b, T eps, T g,
                      BoxGradient<T>& ga, BoxGradient<T>& gb) {
  add_iou(a, b, kLoss ? eps : T(0), g, ga, gb);
  add_hull_penalty(a, b, eps, -g, ga, gb);
}
template <bool kLoss, class T>
SIGHTLINE_HD void add(Distance<kLoss>, const Box<T>& a, const Box<T>& b, T eps, T g,
                      BoxGradient<T>& ga, BoxGradient<T>& gb) {
  add_iou(a, b, kLoss ? eps : T(0), g, ga, gb);
  add_centre_penalty(a, b, eps, -g, ga, gb);
}
template <bool kLoss, class T>
SIGHTLINE_HD void add(Complete<kLoss>, const Box<T>& a, const Box<T>& b, T eps, T g,
                      BoxGradient<T>& ga, BoxGradient<T>& gb) {
  add_iou(a, b, kLoss ? eps : T(0), g, ga, gb);
  add_centre_penalty(a, b, eps, -g, ga, gb);
  add_aspect_penalty(a, b, kLoss ? eps : T(0), eps, -g, ga, gb);
}

}  // namespace gradient

// Adds g times the derivatives of Form::value(a, b, eps). A box that lies nowhere has none and
// gives none.
template <class Form, class T>
SIGHTLINE_HD void add_gradient(const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                               BoxGradient<T>& gb) {
  constexpr T kMax = std::numeric_limits<T>::max();
  if (a.x1 <= kMax && b.x1 <= kMax) gradient::add(Form{}, a, b, eps, g, ga, gb);
}

}  // namespace sightline
