// The derivative of the IoU of rotated boxes. As a box changes, the area it shares with another
// changes by what the sides of its outline sweep, each as far as it lies within the other: the
// integral of the outward speed along the side.
#pragma once

#include "common/rotated.h"

namespace sightline::iou::rotated {

template <class T>
struct RotatedGradient {
  T cx = 0, cy = 0, w = 0, h = 0, angle = 0;
};

namespace gradient {

// The part of a line (x, y) + t (dx, dy) with low <= t <= high. Where it runs along a side of the
// box it is within by half: at ties each box gets half of the gradient.
template <class T>
struct Part {
  T low, high, share;
};

// Cuts the part to |x + t dx| <= limit.
template <class T>
SIGHTLINE_HD void cut(T x, T dx, T limit, Part<T>& part) {
  if (std::fabs(dx) < kParallel<T>) {
    const T distance = std::fabs(x);
    part.share *= distance < limit ? T(1) : (distance == limit ? T(0.5) : T(0));
    return;
  }
  const T at_low = (-limit - x) / dx, at_high = (limit - x) / dx;
  part.low = larger(part.low, smaller(at_low, at_high));
  part.high = smaller(part.high, larger(at_low, at_high));
}

// Adds g times the derivatives of intersection(own, other) by own, with the angle clockwise in
// radians: the direction of (cos, sin).
template <class T>
SIGHTLINE_HD void add_intersection(const RotatedBox<T>& own, const RotatedBox<T>& other, T g,
                                   RotatedGradient<T>& out) {
  const RelativePose<T> pose = relative_pose(own, other);
  const T c = pose.cos, s = pose.sin;
  T nx = 0, ny = 0;  // summed outward force, in the frame of other
  // Sides at the ends of the first axis (cos, sin), then of the second (-sin, cos).
  for (int axis = 0; axis < 2; ++axis) {
    const T ux = axis == 0 ? c : -s, uy = axis == 0 ? s : c;  // across the side
    const T vx = axis == 0 ? -s : c, vy = axis == 0 ? c : s;  // along it
    const T across = axis == 0 ? own.half_w : own.half_h;
    const T along = axis == 0 ? own.half_h : own.half_w;
    const T turn = axis == 0 ? T(-1) : T(1);  // speed at t, outward, as the box turns: turn * t
    for (int side = -1; side <= 1; side += 2) {
      const T k = T(side);
      Part<T> part{-along, along, T(1)};
      cut(pose.x + k * across * ux, vx, other.half_w, part);
      cut(pose.y + k * across * uy, vy, other.half_h, part);
      if (!(part.high > part.low)) continue;
      const T length = (part.high - part.low) * part.share;
      const T moment = length * (T(0.5) * (part.high + part.low));
      nx += k * length * ux;
      ny += k * length * uy;
      (axis == 0 ? out.w : out.h) += g * (T(0.5) * length);
      out.angle += g * (k * turn * moment);
    }
  }
  out.cx += g * (nx * other.cos - ny * other.sin);
  out.cy += g * (nx * other.sin + ny * other.cos);
}

}  // namespace gradient

// Adds g times the derivatives of rotated_iou(own, other) by own, as its form of at most 45 degrees
// has them. Boxes that do not overlap have none.
template <class T>
SIGHTLINE_HD void add_rotated_gradient(const RotatedBox<T>& own, const RotatedBox<T>& other, T g,
                                       RotatedGradient<T>& out) {
  if (g == T(0) || !hulls_overlap(own, other)) return;
  const T inter = rotated_intersection(own, other);
  if (!(inter > T(0))) return;
  const T both = own.area + other.area - inter;
  const T by_both = g * (inter / both / both);
  gradient::add_intersection(own, other, g / both + by_both, out);
  out.w -= by_both * (T(2) * own.half_h);
  out.h -= by_both * (T(2) * own.half_w);
}

// Writes the sums to p[0..4], by the numbers that own was loaded from, q[0..4].
template <class T>
SIGHTLINE_HD void store_rotated_gradient(T* p, const T* q, AngleUnit unit,
                                         const RotatedGradient<T>& g) {
  // Angles of boxes that lie nowhere may be anything, but their gradients are all 0.
  const bool finite = q[4] - q[4] == T(0);
  const bool exchanged = finite && quarter_turns(double{q[4]}, unit).odd;
  constexpr double kRadians = math::kPi<double> / 180.0;
  p[0] = g.cx;
  p[1] = g.cy;
  p[2] = exchanged ? g.h : g.w;
  p[3] = exchanged ? g.w : g.h;
  p[4] = unit == AngleUnit::kDegrees ? -g.angle * T(kRadians) : -g.angle;
}

}  // namespace sightline::iou::rotated
