// Derivatives of the forms in forms.h, added to four numbers a box. Where two edges tie, each box
// gets half. What is undefined is chosen away with ? : at the end, never branched around, so that
// loops over pairs fill vectors; and by one comparison, not by two joined with &.
#pragma once

#include "iou/forms.h"

namespace sightline::iou {

template <class T>
struct BoxGradient {
  T x1 = 0, y1 = 0, x2 = 0, y2 = 0;

  SIGHTLINE_HD void add(T dx1, T dy1, T dx2, T dy2) {
    x1 += dx1;
    y1 += dy1;
    x2 += dx2;
    y2 += dy2;
  }
};

namespace gradient {

// How much of max(a, b) is a.
template <class T>
SIGHTLINE_HD T share_of_larger(T a, T b) {
  return a > b ? T(1) : (a < b ? T(0) : T(0.5));
}

template <class T>
SIGHTLINE_HD T finite_or_zero(T v) {
  return v <= std::numeric_limits<T>::max() ? v : T(0);
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
  const bool overlap = smaller(w, h) > T(0);
  add_overlap(a.x1, a.x2, b.x1, b.x2, overlap ? g * h : T(0), ga.x1, ga.x2, gb.x1, gb.x2);
  add_overlap(a.y1, a.y2, b.y1, b.y2, overlap ? g * w : T(0), ga.y1, ga.y2, gb.y1, gb.y2);
}

template <class T>
SIGHTLINE_HD void add_area(const Box<T>& b, T g, BoxGradient<T>& gb) {
  const T w = b.x2 - b.x1, h = b.y2 - b.y1;
  const bool upright = smaller(w, h) >= T(0);
  const T gw = upright ? g * h : T(0), gh = upright ? g * w : T(0);
  gb.x1 -= gw;
  gb.x2 += gw;
  gb.y1 -= gh;
  gb.y2 += gh;
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
  const bool defined = squares > T(0);
  const T gw = defined ? g * (h / squares) : T(0), gh = defined ? -g * (w / squares) : T(0);
  gb.x1 -= gw;
  gb.x2 += gw;
  gb.y1 -= gh;
  gb.y2 += gh;
}

template <class T>
SIGHTLINE_HD void add_iou(const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                          BoxGradient<T>& gb) {
  const T inter = intersection(a, b), both = a.area + b.area - inter;
  const bool defined = both > T(0);
  const T by_both = inter / (both + eps) / (both + eps);
  const T by_inter = g * (T(1) / (both + eps) + by_both), by_area = -g * by_both;
  add_intersection(a, b, defined ? by_inter : T(0), ga, gb);
  add_area(a, defined ? by_area : T(0), ga);
  add_area(b, defined ? by_area : T(0), gb);
}

template <class T>
SIGHTLINE_HD void add_ioa(const Box<T>& a, const Box<T>& b, T g, BoxGradient<T>& ga,
                          BoxGradient<T>& gb) {
  const bool defined = a.area > T(0);
  const T by_area = -g * (intersection(a, b) / a.area / a.area);
  add_intersection(a, b, defined ? g / a.area : T(0), ga, gb);
  add_area(a, defined ? by_area : T(0), ga);
}

template <class T>
SIGHTLINE_HD void add_hull_penalty(const Box<T>& a, const Box<T>& b, T eps, T g, BoxGradient<T>& ga,
                                   BoxGradient<T>& gb) {
  const T hw = hull_width(a, b), hh = hull_height(a, b), hull = hw * hh;
  const bool defined = finite_or_zero(hull) > T(0);  // beyond, the penalty is 1 or 0
  const T both = a.area + b.area - intersection(a, b);
  const T by_hull = g * ((both + eps) / (hull + eps) / (hull + eps));
  const T by_both = defined ? -g / (hull + eps) : T(0);
  add_hull(a, b, defined ? by_hull * hh : T(0), defined ? by_hull * hw : T(0), ga, gb);
  add_area(a, by_both, ga);
  add_area(b, by_both, gb);
  add_intersection(a, b, -by_both, ga, gb);
}

template <class T>
SIGHTLINE_HD void add_centre_penalty(const PreparedBox<T>& a, const PreparedBox<T>& b, T eps, T g,
                                     BoxGradient<T>& ga, BoxGradient<T>& gb) {
  const T dx = a.cx - b.cx, dy = a.cy - b.cy, hw = hull_width(a, b), hh = hull_height(a, b);
  const T diagonal = hw * hw + hh * hh + eps, distance = dx * dx + dy * dy;
  const bool defined = (distance <= diagonal ? finite_or_zero(diagonal) : T(0)) > T(0);
  // d(dx^2) / d(x1) = dx: a half of each corner.
  const T gx = defined ? g * (dx / diagonal) : T(0), gy = defined ? g * (dy / diagonal) : T(0);
  ga.x1 += gx;
  ga.x2 += gx;
  gb.x1 -= gx;
  gb.x2 -= gx;
  ga.y1 += gy;
  ga.y2 += gy;
  gb.y1 -= gy;
  gb.y2 -= gy;
  const T by_diagonal = T(-2) * g * (distance / diagonal / diagonal);
  add_hull(a, b, defined ? by_diagonal * hw : T(0), defined ? by_diagonal * hh : T(0), ga, gb);
}

// The penalty is v^2 / (1 - IoU + v + eps): alpha is differentiated too.
template <class T>
SIGHTLINE_HD void add_aspect_penalty(const Box<T>& a, const Box<T>& b, T union_eps, T eps, T g,
                                     BoxGradient<T>& ga, BoxGradient<T>& gb) {
  const T v = aspect_difference(a, b), scale = T(1) - iou_of(a, b, union_eps) + v + eps;
  const bool defined = scale > T(0);
  const T alpha = v / scale;
  constexpr T kScale = T(4) / (math::kPi<T> * math::kPi<T>);
  const T by_angle = g * (T(2) * alpha - alpha * alpha) * (T(2) * kScale * (a.angle - b.angle));
  add_angle(a, defined ? by_angle : T(0), ga);
  add_angle(b, defined ? -by_angle : T(0), gb);
  add_iou(a, b, union_eps, defined ? g * alpha * alpha : T(0), ga, gb);
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
SIGHTLINE_HD void add(Distance<kLoss>, const PreparedBox<T>& a, const PreparedBox<T>& b, T eps, T g,
                      BoxGradient<T>& ga, BoxGradient<T>& gb) {
  add_iou(a, b, kLoss ? eps : T(0), g, ga, gb);
  add_centre_penalty(a, b, eps, -g, ga, gb);
}
template <bool kLoss, class T>
SIGHTLINE_HD void add(Complete<kLoss>, const PreparedBox<T>& a, const PreparedBox<T>& b, T eps, T g,
                      BoxGradient<T>& ga, BoxGradient<T>& gb) {
  add_iou(a, b, kLoss ? eps : T(0), g, ga, gb);
  add_centre_penalty(a, b, eps, -g, ga, gb);
  add_aspect_penalty(a, b, kLoss ? eps : T(0), eps, -g, ga, gb);
}

}  // namespace gradient

// Adds g times the derivatives of Form::value(a, b, eps). A box that lies nowhere has none and
// gives none. AnyBox is Box, or PreparedBox where Form needs a centre.
template <class Form, template <class> class AnyBox, class T>
SIGHTLINE_HD void add_gradient(const AnyBox<T>& a, const AnyBox<T>& b, T eps, T g,
                               BoxGradient<T>& ga, BoxGradient<T>& gb) {
  constexpr T kMax = std::numeric_limits<T>::max();
  BoxGradient<T> da, db;
  gradient::add(Form{}, a, b, eps, g, da, db);
  const bool somewhere = larger(a.x1, b.x1) <= kMax;
  ga.add(somewhere ? da.x1 : T(0), somewhere ? da.y1 : T(0), somewhere ? da.x2 : T(0),
         somewhere ? da.y2 : T(0));
  gb.add(somewhere ? db.x1 : T(0), somewhere ? db.y1 : T(0), somewhere ? db.x2 : T(0),
         somewhere ? db.y2 : T(0));
}

}  // namespace sightline::iou
