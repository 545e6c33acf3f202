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

// The same by value, for kernels where a uniform branch costs nothing.
template <class S>
SIGHTLINE_HD S activate(Activation activation, S u, S slope) {
  switch (activation) {
    case Activation::kRelu:
      return Relu::value(u, slope);
    case Activation::kLeakyRelu:
      return LeakyRelu::value(u, slope);
    case Activation::kSilu:
      return Silu::value(u, slope);
    case Activation::kNone:
      break;
  }
  return u;
}
template <class S>
SIGHTLINE_HD S activation_gradient(Activation activation, S grad, S u, S slope) {
  switch (activation) {
    case Activation::kRelu:
      return Relu::gradient(grad, u, slope);
    case Activation::kLeakyRelu:
      return LeakyRelu::gradient(grad, u, slope);
    case Activation::kSilu:
      return Silu::gradient(grad, u, slope);
    case Activation::kNone:
      break;
  }
  return grad;
}

}  // namespace sightline
