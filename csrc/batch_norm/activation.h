// The activations that batch norm is fused with, for host and device.
#pragma once

#include "common/math.h"

namespace sightline {

// In the order of ACTIVATIONS in python/sightline/ops/batch_norm.py.
enum class Activation { kNone, kRelu, kLeakyRelu, kSilu };

// value(u) and gradient(grad, u) = grad * value'(u). NaN stays NaN; at 0 the derivative of the
// kinked ones is the left one, as in torch. Of those, masked(grad, u > 0) is the gradient, too.
struct Identity {
  static constexpr bool kKinked = false;
  template <class S>
  SIGHTLINE_HD static S value(S u, S) {
    return u;
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S, S) {
    return grad;
  }
};

struct Relu {
  static constexpr bool kKinked = true;
  template <class S>
  SIGHTLINE_HD static S value(S u, S) {
    return u <= S(0) ? S(0) : u;
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S) {
    return u <= S(0) ? S(0) : grad;
  }
  template <class S>
  SIGHTLINE_HD static S masked(S grad, bool positive, S) {
    return positive ? grad : S(0);
  }
};

struct LeakyRelu {
  static constexpr bool kKinked = true;
  template <class S>
  SIGHTLINE_HD static S value(S u, S slope) {
    return u > S(0) ? u : u * slope;
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S slope) {
    return u > S(0) ? grad : grad * slope;
  }
  template <class S>
  SIGHTLINE_HD static S masked(S grad, bool positive, S slope) {
    return positive ? grad : grad * slope;
  }
};

// 1 / (1 + e^-x), NaN included, within 2 ulp where it is above 2^-126 (float) or 2^-1022 (double),
// and 0 soon below: half the work of math::exponential(), which keeps subnormal numbers.
template <class T>
SIGHTLINE_HD T sigmoid(T x) {
  using Format = math::ExponentialFormat<T>;
  using Bits = typename Format::Bits;
  constexpr T kLog2E = T(1.44269504088896340735992468100189214L);
  // From 2^(1 - bias), beside 1 nothing, to 2^(bias + 1), whose bits are those of infinity.
  constexpr T kLow = T(1 - Format::kBias) / kLog2E, kHigh = T(Format::kBias + 1) / kLog2E;
  const T y = -x < kLow ? kLow : (-x > kHigh ? kHigh : -x);
  const T rounded = y * kLog2E + Format::kRound;
  const T n = rounded - Format::kRound;
  const T r = (y - n * Format::kLog2High) - n * Format::kLog2Low;
  const Bits exponent =
      __builtin_bit_cast(Bits, rounded) - __builtin_bit_cast(Bits, Format::kRound) + Format::kBias;
  return T(1) / (T(1) + math::exponential_near_0(r) *
                            __builtin_bit_cast(T, Bits(exponent << Format::kMantissa)));
}

// u * sigmoid(u); Elfwing et al. 2018, Hendrycks and Gimpel 2016.
struct Silu {
  static constexpr bool kKinked = false;
  template <class S>
  SIGHTLINE_HD static S value(S u, S) {
    return u * sightline::sigmoid(u);
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S) {
    const S sigmoid = sightline::sigmoid(u);
    return grad * sigmoid * (S(1) + u * (S(1) - sigmoid));
  }
};

// Calls f(Act{}) with the type of `activation`; on the device, a branch that a whole launch agrees
// on.
template <class F>
SIGHTLINE_HD void dispatch_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::kNone:
      return f(Identity{});
    case Activation::kRelu:
      return f(Relu{});
    case Activation::kLeakyRelu:
      return f(LeakyRelu{});
    case Activation::kSilu:
      return f(Silu{});
  }
}

}  // namespace sightline
