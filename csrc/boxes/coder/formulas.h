// The box coding of R-CNN along one axis, for host and device: values and derivatives.
// Girshick et al., "Rich feature hierarchies", CVPR 2014, appendix C.
#pragma once

#include "common/math.h"

namespace sightline::boxes::coder {

// log(1000 / 16): a size grows at most 62.5 times in one decoding, as in Detectron.
inline constexpr double kMaxLogGrowth = 4.135166556742356;

template <class T>
struct Span {
  T low, high;
};
template <class T>
struct Delta {
  T shift, scale;  // of the centre in sizes of the anchor, and the logarithm of the sizes' ratio
};

// What every box of a call shares.
template <class T>
struct BoxCoding {
  T weights[4];  // of dx, dy, dw, dh
  bool clip;
  T width, height;  // of the image, where boxes are clipped to it

  SIGHTLINE_HD Delta<T> weight(int axis) const { return {weights[axis], weights[2 + axis]}; }
  SIGHTLINE_HD T limit(int axis) const { return axis == 0 ? width : height; }
};

namespace box_coder {

// v from 0 to limit; NaN stays.
template <class T>
SIGHTLINE_HD T clipped(T v, T limit) {
  const T low = v < T(0) ? T(0) : v;
  return low > limit ? limit : low;
}
// Whether a clipped v still moves with v.
template <class T>
SIGHTLINE_HD bool moves(T v, T limit) {
  return v >= T(0) && v <= limit;
}

// The distance from the anchor's centre to the box's, by way of the edges: the differences of edges
// that lie near each other are exact, while a centre is rounded at the size of its coordinate,
// which may be thousands of times a thin anchor. Halved first, so that the sum overflows only with
// the distance.
template <class T>
SIGHTLINE_HD T distance_of_centres(Span<T> box, Span<T> anchor) {
  return T(0.5) * (box.low - anchor.low) + T(0.5) * (box.high - anchor.high);
}

// An anchor without size says nothing: deltas 0. A box without size has the scale -inf.
template <class T>
SIGHTLINE_HD Delta<T> encode(Span<T> box, Span<T> anchor, Delta<T> weight) {
  const T size = box.high - box.low, unit = anchor.high - anchor.low;
  const T distance = distance_of_centres(box, anchor);
  const T ratio = (size < T(0) ? T(0) : size) / unit;
  const bool usable = !(unit <= T(0));  // NaN passes
  return {usable ? weight.shift * distance / unit : T(0),
          usable ? weight.scale * math::logarithm(ratio) : T(0)};
}

template <class T>
SIGHTLINE_HD void encode_backward(Delta<T> grad, Span<T> box, Span<T> anchor, Delta<T> weight,
                                  Span<T>& grad_box, Span<T>& grad_anchor) {
  const T size = box.high - box.low, unit = anchor.high - anchor.low;
  const T distance = distance_of_centres(box, anchor);
  const bool usable = unit > T(0), sized = size > T(0);
  const T by_centre = usable ? grad.shift * weight.shift / unit : T(0);
  const T by_log = usable && sized ? grad.scale * weight.scale : T(0);
  const T by_size = sized ? by_log / size : T(0);
  const T by_unit = usable ? -(by_centre * distance + by_log) / unit : T(0);
  grad_box = {T(0.5) * by_centre - by_size, T(0.5) * by_centre + by_size};
  grad_anchor = {T(-0.5) * by_centre - by_unit, T(-0.5) * by_centre + by_unit};
}

template <class T>
SIGHTLINE_HD T growth(T scale) {
  return math::exponential(scale > T(kMaxLogGrowth) ? T(kMaxLogGrowth) : scale);
}

template <class T>
SIGHTLINE_HD Span<T> decode(Delta<T> delta, Span<T> anchor, Delta<T> weight) {
  const T unit = anchor.high - anchor.low;
  const T centre = delta.shift / weight.shift * unit + (anchor.low + unit * T(0.5));
  const T half = growth(delta.scale / weight.scale) * unit * T(0.5);
  return {centre - half, centre + half};
}

template <class T>
SIGHTLINE_HD void decode_backward(Span<T> grad, Delta<T> delta, Span<T> anchor, Delta<T> weight,
                                  bool clip, T limit, Delta<T>& grad_delta, Span<T>& grad_anchor) {
  const Span<T> box = decode(delta, anchor, weight);
  const T low = !clip || moves(box.low, limit) ? grad.low : T(0);
  const T high = !clip || moves(box.high, limit) ? grad.high : T(0);
  const T unit = anchor.high - anchor.low;
  const T shift = delta.shift / weight.shift, scale = delta.scale / weight.scale;
  const T factor = growth(scale);
  const T by_centre = low + high, by_size = (high - low) * T(0.5);
  const T by_unit = by_centre * shift + by_size * factor;
  grad_delta = {by_centre * unit / weight.shift,
                scale > T(kMaxLogGrowth) ? T(0) : by_size * unit * factor / weight.scale};
  grad_anchor = {T(0.5) * by_centre - by_unit, T(0.5) * by_centre + by_unit};
}

}  // namespace box_coder
}  // namespace sightline::boxes::coder
