// What the backward pass starts from, for host and device: how g = grad * act'(u) and t = x - mean
// follow from an element of what was kept. u = scale * t + shift (+ residual).
#pragma once

#include <cmath>

#include "batch_norm/activation.h"
#include "batch_norm/batch_norm.h"
#include "common/macros.h"

namespace sightline::batch_norm {

// Of one channel, or vectors of as many.
template <class C>
struct Channel {
  C mean, scale, shift;
  C unscale;  // 1 / scale, for FromOutput alone
};

SIGHTLINE_HD double inverse_std(double var, double eps) { return 1 / std::sqrt(var + eps); }

// What rounding a mean to S leaves off.
template <class S>
SIGHTLINE_HD double rounded_off(double mean) {
  return mean - double(S(mean));
}

// What rounding the mean leaves off goes to the shift, where it costs nothing.
template <class S>
SIGHTLINE_HD S shift_of(double mean, double scale, double bias) {
  return S(bias - scale * rounded_off<S>(mean));
}

// grad_x = scale * g + factor * t + offset, t = x - rounded mean, from the means of g and of
// g * (x - mean).
template <class S>
SIGHTLINE_HD void set_input_gradient(double scale, double invstd, double mean, double sum,
                                     double dot, S& factor, S& offset) {
  const double f = -scale * invstd * invstd * dot;
  factor = S(f);
  offset = S(-scale * sum - f * rounded_off<S>(mean));
}

template <class V>
struct Gradient {
  V g, t;
};

// at() takes numbers, or vectors V and a channel C of vectors or numbers; B is a condition.

// From x.
template <class Act>
struct FromInput {
  static constexpr bool kResidual = false, kMask = false, kCostly = Act::kCostly;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V x, V, B, const Channel<C>& c, S slope) {
    const V t = x - c.mean;
    return {Act::gradient(grad, V(c.scale * t + c.shift), slope), t};
  }
};

// From x and the residual.
template <class Act>
struct FromInputAndResidual {
  static constexpr bool kResidual = true, kMask = false, kCostly = Act::kCostly;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V x, V residual, B, const Channel<C>& c, S slope) {
    const V t = x - c.mean;
    return {Act::gradient(grad, V(c.scale * t + c.shift + residual), slope), t};
  }
};

// From x and one bit, u > 0, of an activation with a kink.
template <class Act>
struct FromInputAndMask {
  static constexpr bool kResidual = false, kMask = true, kCostly = false;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V x, V, B positive, const Channel<C>& c, S slope) {
    return {Act::masked(grad, positive, slope), x - c.mean};
  }
};

// From y alone, which has the sign of u: of an activation with a kink that keeps signs.
template <class Act>
struct FromOutputSign {
  static constexpr bool kResidual = false, kMask = false, kCostly = false;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V y, V, B, const Channel<C>&, S slope) {
    return {Act::masked(grad, !(y <= V{}), slope), V{}};
  }
};

// From y alone, whose activation has an inverse.
template <class Act>
struct FromOutput;
template <>
struct FromOutput<Identity> {
  static constexpr bool kResidual = false, kMask = false, kCostly = false;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V y, V, B, const Channel<C>& c, S) {
    return {grad, (y - c.shift) * c.unscale};
  }
};
template <>
struct FromOutput<LeakyRelu> {
  static constexpr bool kResidual = false, kMask = false, kCostly = false;
  template <class V, class B, class C, class S>
  SIGHTLINE_HD static Gradient<V> at(V grad, V y, V, B, const Channel<C>& c, S slope) {
    const V u = y > V{} ? y : y / slope;
    return {LeakyRelu::gradient(grad, y, slope), (u - c.shift) * c.unscale};
  }
};

// Calls f(Recipe{}) with what these tensors ask for.
template <class T, class F>
SIGHTLINE_HD void dispatch_recipe(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                                  F f) {
  const bool leaky = options.activation == Activation::kLeakyRelu;
  if (t.y != nullptr && options.training)
    return leaky ? f(FromOutput<LeakyRelu>{}) : f(FromOutput<Identity>{});
  if (t.y != nullptr) return leaky ? f(FromOutputSign<LeakyRelu>{}) : f(FromOutputSign<Relu>{});
  if (t.mask != nullptr)
    return leaky ? f(FromInputAndMask<LeakyRelu>{}) : f(FromInputAndMask<Relu>{});
  if (t.residual != nullptr) return f(FromInputAndResidual<Silu>{});
  dispatch_activation(options.activation, [&]<class Act>(Act) { f(FromInput<Act>{}); });
}

}  // namespace sightline::batch_norm
