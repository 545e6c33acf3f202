#include "batch_norm/batch_norm.h"

#include <cmath>

#include "check.h"

namespace sightline::native {

using namespace batch_norm;
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

double activate(const BatchNormOptions& options, double u) {
  double y = 0;
  dispatch_activation(options.activation,
                      [&]<class Act>(Act) { y = Act::value(u, options.negative_slope); });
  return y;
}
double activation_gradient(const BatchNormOptions& options, double grad, double u) {
  double g = 0;
  dispatch_activation(options.activation,
                      [&]<class Act>(Act) { g = Act::gradient(grad, u, options.negative_slope); });
  return g;
}

template <class T>
void check_batch_norm(Random& random) {
  using C = Compute<T>;
  const bool streams = random.chance(0.03);  // results past 2 MiB
  const BatchNormShape shape{
      streams ? 4 + random.below(4) : random.below(5), (streams ? 60 : 1) + random.below(40),
      streams ? 1000 + random.below(2000) : 1 + random.below(150), random.chance(0.5)};
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

  // The backward pass needs the residual only to find where the activation bends: SiLU everywhere,
  // those with a kink by a bit.
  const bool kept = adds && options.activation != Activation::kNone;
  const bool masks = kept && options.activation != Activation::kSilu;
  const Buffer<uint8_t> mask(masks ? batch_norm_mask_bytes(shape) : 0);
  uint8_t* const bits = masks ? mask.data() : nullptr;
  batch_norm_act_cpu<T>({x.data(), added, w, b, mean.data(), var.data(), y.data(), bits}, shape,
                        options, Parallel(random));
  batch_norm_act_backward_cpu<T>(
      {grad.data(), x.data(), nullptr, kept && !masks ? added : nullptr, bits, w, b, mean.data(),
       var.data(), nullptr, nullptr, grad_x.data(), kept ? grad_residual.data() : nullptr,
       grad_weight.data(), grad_bias.data()},
      shape, options, BatchNormPasses::kBoth, Parallel(random));
  // In two steps, as the synchronised form does.
  const Buffer<double> moments(2 * shape.channels), sums(2 * shape.channels);
  const Buffer<T> again(n);
  if (options.training) {
    double* const m2 = moments.data() + shape.channels;
    batch_norm_moments_cpu<T>(x.data(), shape, moments.data(), m2, Parallel(random));
    for (int64_t c = 0; c < shape.channels; ++c) {
      require_close(moments[c], mean[c], 1e-12, "mean alone", c);
      require_close(m2[c] / double(shape.count()), var[c], 1e-9, "m2 alone", c);
    }
  }
  const BatchNormBackward<T> alone{grad.data(),
                                   x.data(),
                                   nullptr,
                                   kept && !masks ? added : nullptr,
                                   bits,
                                   w,
                                   b,
                                   mean.data(),
                                   var.data(),
                                   sums.data(),
                                   sums.data() + shape.channels,
                                   again.data(),
                                   nullptr,
                                   nullptr,
                                   nullptr};
  batch_norm_act_backward_cpu<T>(alone, shape, options, BatchNormPasses::kSums, Parallel(random));
  for (int64_t i = 0; i < 2 * shape.channels; ++i) sums[i] /= double(shape.count());
  batch_norm_act_backward_cpu<T>(alone, shape, options, BatchNormPasses::kInput, Parallel(random));
  for (int64_t i = 0; i < n; ++i)
    require_close(double(widen(again[i])), double(widen(grad_x[i])), kTolerance<T>, "two steps", i);

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
      require_close(widen(y[at(i)]), activate(options, u), kTolerance<T>, "y", at(i));
      const double g = double(widen(grad[at(i)]));
      inner[i] = activation_gradient(options, g, u);
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
