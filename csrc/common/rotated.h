// The only copy of the formulas of rotated boxes, for host and device. A box is (cx, cy, w, h,
// angle): w by h around (cx, cy), turned by the angle counter-clockwise as one sees it, y down.
// Bad boxes: one with a non-finite number, a side that is not positive, or an area that overflows
// or underflows lies nowhere and overlaps nothing. Nothing here returns NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "common/math.h"

namespace sightline {

// In the form of an angle of at most 45 degrees: a box turned by 90 is one with its sides
// exchanged.
template <class T>
struct RotatedBox {
  T cx, cy;
  T half_w, half_h;
  T cos, sin;          // its first axis is (cos, sin), its second (-sin, cos), in pixels, y down
  T area;              // 0 where it lies nowhere
  T reach_x, reach_y;  // half of its upright hull; -inf where it lies nowhere
};

enum class AngleUnit { kDegrees, kRadians };

SIGHTLINE_HD math::QuarterTurns quarter_turns(double angle, AngleUnit unit) {
  return unit == AngleUnit::kDegrees ? math::quarter_turns_of_degrees(angle)
                                     : math::quarter_turns_of_radians(angle);
}

// Loads p[0..4].
template <class T>
SIGHTLINE_HD RotatedBox<T> load_rotated_box(const T* p, AngleUnit unit) {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  const T area = p[2] * p[3];
  // x - x is 0 for a finite x and NaN for the others.
  const T zero = ((p[0] - p[0]) + (p[1] - p[1])) + ((p[2] - p[2]) + (p[3] - p[3])) +
                 ((p[4] - p[4]) + (area - area));
  if (!(zero == T(0) && p[2] > T(0) && p[3] > T(0) && area > T(0)))
    return {T(0), T(0), T(0), T(0), T(1), T(0), T(0), -kInf, -kInf};
  const math::QuarterTurns turns = quarter_turns(double{p[4]}, unit);
  const auto [sine, cosine] = math::sine_cosine_near_0(turns.rest);
  const T c = T(cosine), s = T(-sine);
  const T w = T(0.5) * (turns.odd ? p[3] : p[2]), h = T(0.5) * (turns.odd ? p[2] : p[3]);
  const T abs_s = std::fabs(s);
  return {p[0], p[1], w, h, c, s, area, w * c + h * abs_s, w * abs_s + h * c};
}

// Whether the upright hulls overlap: what has to hold before anything else is worth computing.
template <class T>
SIGHTLINE_HD bool hulls_overlap(const RotatedBox<T>& a, const RotatedBox<T>& b) {
  const bool x = std::fabs(a.cx - b.cx) < a.reach_x + b.reach_x;
  const bool y = std::fabs(a.cy - b.cy) < a.reach_y + b.reach_y;
  return x & y;
}

// One box as the other sees it.
template <class T>
struct RelativePose {
  T x, y;      // centre
  T cos, sin;  // of the angle between them, cos >= 0; exactly 1 and 0 where they are parallel
};

// Tilts below this turn no side by as much as rounding does.
template <class T>
inline constexpr T kParallel =
    std::numeric_limits<T>::epsilon() * std::numeric_limits<T>::epsilon();

// a in the frame of b. Everything starts from differences: large coordinates cost no accuracy.
template <class T>
SIGHTLINE_HD RelativePose<T> relative_pose(const RotatedBox<T>& a, const RotatedBox<T>& b) {
  const T dx = a.cx - b.cx, dy = a.cy - b.cy;
  const T s = a.sin * b.cos - a.cos * b.sin;
  const T c = a.cos * b.cos + a.sin * b.sin;
  const bool parallel = std::fabs(s) < kParallel<T>;
  return {dx * b.cos + dy * b.sin, dy * b.cos - dx * b.sin, parallel ? T(1) : c,
          parallel ? T(0) : s};
}

template <class T>
SIGHTLINE_HD T clamp_to(T x, T limit) {
  return smaller(larger(x, -limit), limit);
}

// Twice the integral of clamp(x) dy along the straight way from (x0, y0) to (x1, y1), as far as
// |y| <= the limit that gave inside0 and inside1, the clamped y0 and y1. slope: dx / dy.
// Wherever rounding moves an end of the part inside, it moves along the edge: an edge that is
// nearly level loses in dy what it gains in x. Means are between ends, so nothing can blow up.
template <class T>
SIGHTLINE_HD T edge_integral(T x0, T y0, T inside0, T x1, T y1, T inside1, T slope, T limit) {
  const T from = x0 + (inside0 - y0) * slope, to = x1 + (inside1 - y1) * slope;
  const T from_in = clamp_to(from, limit), to_in = clamp_to(to, limit);
  const T span = to - from;
  // In [-1, 1]: how much more of the way lies beyond the end than before the start.
  const T beyond = ((from - from_in) + (to - to_in)) / (span != T(0) ? span : T(1));
  return (inside1 - inside0) * ((from_in + to_in) + (to_in - from_in) * beyond);
}

// Area of the intersection, in [0, smaller area], and exactly the area for a box with itself.
//
// In b's frame b is |x| <= p, |y| <= q, and by Green's theorem the area that a shares with it is
// the integral of clamp(x, -p, p) dy around the part of a's outline with |y| <= q: four edges, no
// polygon, and no case but where to clamp.
template <class T>
SIGHTLINE_HD T rotated_intersection(const RotatedBox<T>& a, const RotatedBox<T>& b) {
  const RelativePose<T> pose = relative_pose(a, b);
  const T c = pose.cos, s = pose.sin, abs_s = std::fabs(s);
  const T p = b.half_w, q = b.half_h;

  // A line along a side of one of the two separates them, or they overlap.
  const bool apart_b = (std::fabs(pose.x) >= p + (a.half_w * c + a.half_h * abs_s)) |
                       (std::fabs(pose.y) >= q + (a.half_w * abs_s + a.half_h * c));
  const bool apart_a = (std::fabs(pose.x * c + pose.y * s) >= a.half_w + (p * c + q * abs_s)) |
                       (std::fabs(pose.y * c - pose.x * s) >= a.half_h + (p * abs_s + q * c));

  // Corners of a, counter-clockwise where y is up.
  const T ex = a.half_w * c, ey = a.half_w * s, fx = -a.half_h * s, fy = a.half_h * c;
  const T x0 = pose.x + ex + fx, y0 = pose.y + ey + fy;
  const T x1 = pose.x - ex + fx, y1 = pose.y - ey + fy;
  const T x2 = pose.x - ex - fx, y2 = pose.y - ey - fy;
  const T x3 = pose.x + ex - fx, y3 = pose.y + ey - fy;
  const T in0 = clamp_to(y0, q), in1 = clamp_to(y1, q);
  const T in2 = clamp_to(y2, q), in3 = clamp_to(y3, q);
  const T slope_e = s != T(0) ? c / s : T(0);
  const T slope_f = c > kParallel<T> ? -s / c : T(0);
  const T twice = (edge_integral(x0, y0, in0, x1, y1, in1, slope_e, p) +
                   edge_integral(x2, y2, in2, x3, y3, in3, slope_e, p)) +
                  (edge_integral(x1, y1, in1, x2, y2, in2, slope_f, p) +
                   edge_integral(x3, y3, in3, x0, y0, in0, slope_f, p));
  const T area = smaller(T(0.5) * twice, smaller(a.area, b.area));
  return (area > T(0)) & !apart_a & !apart_b & hulls_overlap(a, b) ? area : T(0);
}

// In [0, 1].
template <class T>
SIGHTLINE_HD T rotated_iou(const RotatedBox<T>& a, const RotatedBox<T>& b) {
  const T inter = rotated_intersection(a, b);
  const T both = a.area + b.area - inter;
  return inter > T(0) ? inter / both : T(0);
}

}  // namespace sightline
