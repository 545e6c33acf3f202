#include "batch_norm/batch_norm.h"

#include <cmath>

#include "check.h"

namespace sightline::native {
namespace {

template <class T>
constexpr double kTolerance = kIsHalf<T>                 ? 3e-2
                              : std::is_same_v<T, float> ? 1e-4
                                                         : 1e-9;

template <class T>
constexpr double kMoments = std::is_same_v<T, double> ? 1e-10 : 1e-5;

template <class T>
void fill_values(const Buffer<T>& values, Random& random, double mean) {
  for (int64_t i = 0; i < values.size(); ++i)
    values[i] = narrow<T>(Compute<T>(mean + random.uniform(-2, 2)));
}

void require_close(double got, double expected, double tolerance, const char* what, int64_t i) {
  require(std::abs(got - expected) <= tolerance * (1 + std::abs(expected)), what, "[", i, "]: got ",
          got, ", expected ", expected);
}

template <class T>
void check_batch_norm(Random& random) {
  using C = Compute<T>;
  const BatchNormShape shape{random.below(5), 1 + random.below(40), 1 + random.below(150),
                             random.chance(0.5)};
  const BatchNormOptions options{random.pick({Activation::kNone, Activation::kRelu,
                                              Activation::kLeakyRelu, Activation::kSilu}),
                                 0.1, 1e-3, random.chance(0.7)};
  if (shape.count() < 2) return;
  const int64_t n = shape.count() * shape.channels;
  const Buffer<T> x(n), residual(n), y(n), grad(n), grad_x(n), grad_residual(n);
  const Buffer<C> weight(shape.channels), bias(shape.channels);
  const Buffer<C> grad_weight(shape.channels), grad_bias(shape.channels);
  const Buffer<double> mean(shape.channels), var(shape.channels);
  fill_values(x, random, random.pick({0.0, 3.0}));
  fill_values(residual, random, 0);
  fill_values(grad, random, 0);
  fill_values(weight, random, 1);
  fill_values(bias, random, 0);
  fill(mean, [&] { return random.uniform(-1, 1); });
  fill(var, [&] { return random.uniform(0.5, 2); });
  const bool adds = random.chance(0.5), scales = random.chance(0.8);
  const T* added = adds ? residual.data() : nullptr;
  const C *w = scales ? weight.data() : nullptr, *b = scales ? bias.data() : nullptr;

  batch_norm_act_cpu<T>({x.data(), added, w, b, mean.data(), var.data(), y.data()}, shape, options,
                        Parallel(random));
  // The backward pass needs the residual only to find where the activation bends.
  const bool kept = adds && options.activation != Activation::kNone;
  batch_norm_act_backward_cpu<T>(
      {grad.data(), x.data(), kept ? added : nullptr, w, b, mean.data(), var.data(), grad_x.data(),
       grad_weight.data(), grad_bias.data(), kept ? grad_residual.data() : nullptr},
      shape, options, Parallel(random));

  for (int64_t c = 0; c < shape.channels; ++c) {
    const auto at = [&](int64_t i) {  // element i of the channel
      return shape.channels_last
                 ? i * shape.channels + c
                 : (i / shape.length * shape.channels + c) * shape.length + i % shape.length;
    };
    const int64_t m = shape.count();
    if (options.training) {
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < m; ++i) sum += double(widen(x[at(i)]));
      for (int64_t i = 0; i < m; ++i) squares += std::pow(double(widen(x[at(i)])) - sum / m, 2);
      require_close(mean[c], sum / m, kMoments<T>, "mean", c);
      require_close(var[c], squares / m, kMoments<T>, "var", c);
    }
    const double inverse = 1 / std::sqrt(var[c] + options.eps);
    const double scale = scales ? double(weight[c]) : 1, shift = scales ? double(bias[c]) : 0;
    double sum = 0, product = 0, total = 0;
    bool bent = false;  // an element at the kink may fall to either side
    std::vector<double> inner(m), normal(m);
    for (int64_t i = 0; i < m; ++i) {
      normal[i] = (double(widen(x[at(i)])) - mean[c]) * inverse;
      const double u = scale * normal[i] + shift + (adds ? double(widen(residual[at(i)])) : 0);
      require_close(widen(y[at(i)]), activate(options.activation, u, options.negative_slope),
                    kTolerance<T>, "y", at(i));
      const double g = double(widen(grad[at(i)]));
      inner[i] = activation_gradient(options.activation, g, u, options.negative_slope);
      bent |= std::abs(u) < 1e-4;
      sum += inner[i], product += inner[i] * normal[i], total += std::abs(g);
    }
    if (bent) continue;
    require(std::abs(grad_bias[c] - sum) <= kTolerance<C> * (1 + total), "grad_bias[", c, "]: got ",
            grad_bias[c], ", expected ", sum);
    require(std::abs(grad_weight[c] - product) <= 3 * kTolerance<C> * (1 + total), "grad_weight[",
            c, "]: got ", grad_weight[c], ", expected ", product);
    for (int64_t i = 0; i < m; ++i) {
      const double drift = options.training ? (sum + normal[i] * product) / double(m) : 0;
      require_close(widen(grad_x[at(i)]), scale * inverse * (inner[i] - drift), 3 * kTolerance<T>,
                    "grad_x", at(i));
      if (kept)
        require_close(widen(grad_residual[at(i)]), inner[i], kTolerance<T>, "grad_residual", at(i));
    }
  }
}

const Check check("batch_norm", 60, [](Random& random) {
#define CHECK_TYPE(T) check_batch_norm<T>(random);
  SIGHTLINE_BATCH_NORM_TYPES(CHECK_TYPE)
#undef CHECK_TYPE
});

}  // namespace
}  // namespace sightline::native
