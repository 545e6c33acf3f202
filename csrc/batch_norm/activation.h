// The activations that batch norm is fused with, for host and device.
#pragma once

#include <type_traits>

#include "common/math.h"

namespace sightline::batch_norm {

// In the order of ACTIVATIONS in python/sightline/ops/batch_norm.py.
enum class Activation { kNone, kRelu, kLeakyRelu, kSilu };

// value(u) and gradient(grad, u) = grad * value'(u), of a number or a vector. NaN stays NaN; at 0
// the derivative of the kinked ones is the left one, as in torch. Of those, masked(grad, u > 0) is
// the gradient, too. What is costly is computed once, where memory is to be had.
struct Identity {
  static constexpr bool kKinked = false, kCostly = false;
  template <class V, class S>
  SIGHTLINE_HD static V value(V u, S) {
    return u;
  }
  template <class V, class S>
  SIGHTLINE_HD static V gradient(V grad, V, S) {
    return grad;
  }
};

struct Relu {
  static constexpr bool kKinked = true, kCostly = false;
  template <class V, class S>
  SIGHTLINE_HD static V value(V u, S) {
    return u <= V{} ? V{} : u;
  }
  template <class V, class S>
  SIGHTLINE_HD static V gradient(V grad, V u, S) {
    return u <= V{} ? V{} : grad;
  }
  template <class V, class B, class S>
  SIGHTLINE_HD static V masked(V grad, B positive, S) {
    return positive ? grad : V{};
  }
};

struct LeakyRelu {
  static constexpr bool kKinked = true, kCostly = false;
  template <class V, class S>
  SIGHTLINE_HD static V value(V u, S slope) {
    return u > V{} ? u : u * slope;
  }
  template <class V, class S>
  SIGHTLINE_HD static V gradient(V grad, V u, S slope) {
    return u > V{} ? grad : grad * slope;
  }
  template <class V, class B, class S>
  SIGHTLINE_HD static V masked(V grad, B positive, S slope) {
    return positive ? grad : grad * slope;
  }
};

// Unsigned integers as wide as the elements of V.
template <class V>
struct BitsOf {
  using Type = typename math::ExponentialFormat<V>::Bits;
};
template <class V>
  requires(!std::is_same_v<V, Element<V>>)
struct BitsOf<V> {
  typedef typename BitsOf<Element<V>>::Type Type __attribute__((vector_size(sizeof(V))));
};

// 1 / (1 + e^-x), NaN included, within 2 ulp where it is above 2^-126 (float) or 2^-1022 (double),
// and 0 soon below: half the work of math::exponential(), which keeps subnormal numbers. CUDA in
// float takes the device's approximations, within 2^-21 + |x| 2^-23: the work above, with a rounded
// division, is more than memory waits for (1,044 instructions for 16 elements of the backward
// pass).
template <class V>
SIGHTLINE_HD V sigmoid(V x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<V, float>) {
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -1.44269504f));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1 + power));
    return inverse;
  }
#endif
  using T = Element<V>;
  using Format = math::ExponentialFormat<T>;
  using Bits = typename BitsOf<V>::Type;
  constexpr T kLog2E = T(1.44269504088896340735992468100189214L);
  // From 2^(1 - bias), beside 1 nothing, to 2^(bias + 1), whose bits are those of infinity.
  constexpr T kLow = T(1 - Format::kBias) / kLog2E, kHigh = T(Format::kBias + 1) / kLog2E;
  constexpr auto kRoundBits = __builtin_bit_cast(typename BitsOf<T>::Type, Format::kRound);
  const V y = -x < kLow ? kLow : (-x > kHigh ? kHigh : -x);
  const V rounded = y * kLog2E + Format::kRound;
  const V n = rounded - Format::kRound;
  const V r = (y - n * Format::kLog2High) - n * Format::kLog2Low;
  const Bits exponent = __builtin_bit_cast(Bits, rounded) - kRoundBits + Format::kBias;
  const V power = __builtin_bit_cast(V, exponent << Format::kMantissa);
  return T(1) / (T(1) + math::exponential_near_0(r) * power);
}

// u * sigmoid(u); Elfwing et al. 2018, Hendrycks and Gimpel 2016.
struct Silu {
  static constexpr bool kKinked = false, kCostly = true;
  template <class V, class S>
  SIGHTLINE_HD static V value(V u, S) {
    return u * batch_norm::sigmoid(u);
  }
  template <class V, class S>
  SIGHTLINE_HD static V gradient(V grad, V u, S) {
    const V sigmoid = batch_norm::sigmoid(u);
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

}  // namespace sightline::batch_norm
