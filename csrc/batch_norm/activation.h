// The activations that batch norm is fused with, for host and device.
#pragma once

#include "common/math.h"

namespace sightline {

// In the order of ACTIVATIONS in python/sightline/ops/batch_norm.py.
enum class Activation { kNone, kRelu, kLeakyRelu, kSilu };

// value(u) and gradient(grad, u) = grad * value'(u). NaN stays NaN; at 0 the derivative of the
// kinked ones is the left one, as in torch.
struct Identity {
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
  template <class S>
  SIGHTLINE_HD static S value(S u, S) {
    return u <= S(0) ? S(0) : u;
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S) {
    return u <= S(0) ? S(0) : grad;
  }
};

struct LeakyRelu {
  template <class S>
  SIGHTLINE_HD static S value(S u, S slope) {
    return u > S(0) ? u : u * slope;
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S slope) {
    return u > S(0) ? grad : grad * slope;
  }
};

// u * sigmoid(u); Elfwing et al. 2018, Hendrycks and Gimpel 2016.
struct Silu {
  template <class S>
  SIGHTLINE_HD static S value(S u, S) {
    return u / (S(1) + math::exponential(-u));
  }
  template <class S>
  SIGHTLINE_HD static S gradient(S grad, S u, S) {
    const S sigmoid = S(1) / (S(1) + math::exponential(-u));
    return grad * sigmoid * (S(1) + u * (S(1) - sigmoid));
  }
};

// Calls f(Act{}) with the type of `activation`.
template <class F>
void dispatch_activation(Activation activation, F f) {
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
