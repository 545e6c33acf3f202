#include "common/torch.h"

#include <algorithm>

#include "batch_norm/batch_norm.h"
#include "batch_norm/ghost_batches.h"
#include "common/memory.h"

namespace sightline::batch_norm {
namespace {

using OptionalTensor = std::optional<Tensor>;

template <class F>
void dispatch_types(const Tensor& x, F f) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(Float16{});
    case ScalarType::BFloat16:
      return f(BFloat16{});
    default:
      STD_TORCH_CHECK(false, "x must be float16, bfloat16, float32 or float64");
  }
}

ScalarType computing_type(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Whether x, read as [batch, positions..., channels], is contiguous.
bool is_channels_last(const Tensor& x) {
  int64_t packed = 1;
  const auto lies_packed = [&](int64_t dim) {
    const bool is = x.size(dim) == 1 || x.stride(dim) == packed;
    packed *= x.size(dim);
    return is;
  };
  if (!lies_packed(1)) return false;
  for (int64_t dim = x.dim() - 1; dim >= 2; --dim)
    if (!lies_packed(dim)) return false;
  return lies_packed(0);
}

// x as it lies where one of the two layouts fits it, otherwise a contiguous copy.
Tensor as_either_layout(const Tensor& x) {
  return x.is_contiguous() || is_channels_last(x) ? x : as_contiguous(x);
}

// t in the layout of x, which is one of the two.
Tensor in_layout_of(const Tensor& x, const Tensor& t) {
  if (x.is_contiguous() ? t.is_contiguous() : is_channels_last(t)) return t;
  Tensor copy = allocate_as(x);
  torch::stable::copy_(copy, t);
  return copy;
}

// Of each of so many ghost batches.
BatchNormShape shape_of(const Tensor& x, int64_t ghost_batches = 1) {
  BatchNormShape shape{x.size(0) / ghost_batches, x.size(1), 1, false};
  for (int64_t dim = 2; dim < x.dim(); ++dim) shape.length *= x.size(dim);
  shape.channels_last = shape.length == 1 || !x.is_contiguous();
  return shape;
}

BatchNormOptions options_of(int64_t activation, double negative_slope, bool training, double eps) {
  STD_TORCH_CHECK(0 <= activation && activation <= int64_t(Activation::kSilu),
                  "activation must be 0, 1, 2 or 3");
  return {static_cast<Activation>(activation), negative_slope, eps, training};
}

void check_x(const Tensor& x, int64_t ghost_batches = 1) {
  STD_TORCH_CHECK(x.dim() >= 2, "x must have shape [N, C, ...]");
  STD_TORCH_CHECK(ghost_batches >= 1 && x.size(0) % ghost_batches == 0,
                  "x must hold a multiple of ghost_batches samples");
}
void check_as_x(const Tensor& x, const Tensor& t, const char* names) {
  check_alike(x, t, names);
  bool same = t.dim() == x.dim();
  for (int64_t dim = 0; same && dim < x.dim(); ++dim) same = t.size(dim) == x.size(dim);
  STD_TORCH_CHECK(same, names, " must have one shape");
}
void check_per_channel(const Tensor& x, const OptionalTensor& t, ScalarType type,
                       const char* name) {
  if (!t.has_value()) return;
  STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == x.size(1) && t->is_contiguous() &&
                      t->scalar_type() == type && t->get_device_index() == x.get_device_index(),
                  name, " must be contiguous, [C], and of the computing type and device of x");
}

// [C] of each ghost batch; zero where x is empty, and no kernel will write it.
Tensor new_per_channel(const Tensor& x, int64_t ghost_batches, ScalarType type) {
  Tensor t = allocate(x, {ghost_batches * x.size(1)}, type);
  return x.numel() == 0 ? torch::stable::fill_(t, 0) : t;
}
Tensor none_like(const Tensor& x) { return allocate(x, {0}, x.scalar_type()); }

// As x, which is in one of the two layouts.
Tensor new_output(const Tensor& x) {
  Tensor y = allocate_as(x);
  // A training step gives back to the system what it frees, and so meets new pages again and again.
  constexpr int64_t kWorthwhile = int64_t(4) << 20;
  if (!x.is_cuda())
    advise_huge_pages(y.mutable_data_ptr(), y.numel() * y.element_size(), kWorthwhile);
  return y;
}

// Device memory of a call; torch gives it to nobody else before the stream is past the call.
template <class Shape>
Tensor new_workspace(const Tensor& x, const Shape& shape) {
  return allocate(x, {batch_norm_workspace_cuda(shape)}, ScalarType::Double);
}

template <class T>
const T* data_of(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
const T* data_of(const OptionalTensor& t) {
  return t.has_value() ? data_of<T>(*t) : nullptr;
}
template <class T>
T* mutable_data_of(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

// [2, ghost batches * C]: what a call adds up, or was made with: mean and biased variance.
double* row_of(const Tensor& pairs, int64_t row) {
  return mutable_data_of<double>(pairs) + row * pairs.size(1);
}
Tensor new_pairs(const Tensor& x, int64_t ghost_batches = 1) {
  Tensor pairs = allocate(x, {2, ghost_batches * x.size(1)}, ScalarType::Double);
  return x.numel() == 0 ? torch::stable::fill_(pairs, 0) : pairs;
}
void check_pairs(const Tensor& x, int64_t ghost_batches, const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() == 2 && t.size(0) == 2 && t.size(1) == ghost_batches * x.size(1) &&
                      t.is_contiguous() && t.scalar_type() == ScalarType::Double &&
                      t.get_device_index() == x.get_device_index(),
                  name,
                  " must be contiguous, [2, ghost_batches * C], float64 and on the device of x");
}

Tensor new_mask(const Tensor& x, int64_t ghost_batches, const BatchNormShape& shape, bool wanted) {
  const int64_t bytes = wanted ? ghost_batches * batch_norm_mask_bytes(shape) : 0;
  return allocate(x, {bytes}, ScalarType::Byte);
}
void check_mask(const Tensor& x, int64_t ghost_batches, const OptionalTensor& mask,
                const BatchNormShape& shape) {
  if (!mask.has_value()) return;
  STD_TORCH_CHECK(mask->scalar_type() == ScalarType::Byte && mask->is_contiguous() &&
                      mask->numel() == ghost_batches * batch_norm_mask_bytes(shape) &&
                      mask->get_device_index() == x.get_device_index(),
                  "mask must be what the forward pass of x gave");
}

// What the backward pass will start from; python/sightline/ops/batch_norm_torch.py has the names,
// too.
enum class Keep { kInput, kMask, kOutput, kSign };

// The Python function says the same in its docstring; CUDA gives NaN gradients instead of waiting.
template <class T>
void check_invertible(const Compute<T>* weight, const Compute<T>* bias, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    const double w = weight == nullptr ? 1 : weight[c], b = bias == nullptr ? 0 : bias[c];
    STD_TORCH_CHECK(batch_norm_invertible<T>(w, b),
                    "save=\"output\" needs weights that lead back from the output: `weight[", c,
                    "]` is ", w, " where `bias[", c, "]` is ", b,
                    "; use save=\"input\", or another initial value");
  }
}

// In training statistics are written, otherwise they are read.
std::tuple<Tensor, Tensor> forward(const Tensor& input, const OptionalTensor& weight,
                                   const OptionalTensor& bias, const Tensor& statistics,
                                   const OptionalTensor& residual, const BatchNormOptions& options,
                                   Keep keep, int64_t ghost_batches, const DeviceScope& scope) {
  const ScalarType computing = computing_type(input);
  check_per_channel(input, weight, computing, "weight");
  check_per_channel(input, bias, computing, "bias");
  if (residual.has_value()) check_as_x(input, *residual, "x and residual");
  const Tensor x = as_either_layout(input);
  OptionalTensor z;
  if (residual.has_value()) z = in_layout_of(x, *residual);
  const BatchNormShape shape = shape_of(x, ghost_batches);
  Tensor y = new_output(x);
  Tensor mask = new_mask(x, ghost_batches, shape, keep == Keep::kMask);
  dispatch_types(x, [&]<class T>(T) {
    using S = Compute<T>;
    const BatchNormForward<T> tensors{
        data_of<T>(x),         data_of<T>(z),
        data_of<S>(weight),    data_of<S>(bias),
        row_of(statistics, 0), row_of(statistics, 1),
        mutable_data_of<T>(y), keep == Keep::kMask ? mutable_data_of<uint8_t>(mask) : nullptr};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const Tensor workspace = new_workspace(x, shape);
        for (int64_t run = 0; run < ghost_batches; ++run)
          batch_norm_act_cuda(ghost_batch(tensors, shape, run), shape, options,
                              mutable_data_of<double>(workspace), scope.stream());
        return;
      }
    }
    if (keep == Keep::kOutput) check_invertible<T>(tensors.weight, tensors.bias, shape.channels);
    for_each_ghost_batch(ghost_batches, shape, torch::stable::get_num_threads(), TorchThreads(),
                         [&](int64_t run, ParallelFor parallel_for) {
                           batch_norm_act_cpu(ghost_batch(tensors, shape, run), shape, options,
                                              parallel_for);
                         });
  });
  return {y, mask};
}

Keep keep_of(int64_t keep) {
  STD_TORCH_CHECK(0 <= keep && keep <= int64_t(Keep::kSign), "keep must be 0, 1, 2 or 3");
  return static_cast<Keep>(keep);
}

// -> y, the statistics it was made with, and a mask, which is empty unless it is kept.
std::tuple<Tensor, Tensor, Tensor> batch_norm_act(const Tensor& x, const OptionalTensor& weight,
                                                  const OptionalTensor& bias,
                                                  const OptionalTensor& residual,
                                                  int64_t activation, double negative_slope,
                                                  double eps, int64_t keep, int64_t ghost_batches) {
  check_x(x, ghost_batches);
  const DeviceScope scope(x);
  Tensor statistics = new_pairs(x, ghost_batches);
  const auto [y, mask] = forward(x, weight, bias, statistics, residual,
                                 options_of(activation, negative_slope, true, eps), keep_of(keep),
                                 ghost_batches, scope);
  return {y, statistics, mask};
}

// With given mean and variance, [C], float32 or float64 -> y, these as statistics, and the mask.
std::tuple<Tensor, Tensor, Tensor> batch_norm_apply(const Tensor& x, const OptionalTensor& weight,
                                                    const OptionalTensor& bias, const Tensor& mean,
                                                    const Tensor& var,
                                                    const OptionalTensor& residual,
                                                    int64_t activation, double negative_slope,
                                                    double eps, int64_t keep) {
  check_x(x);
  const DeviceScope scope(x);
  Tensor statistics = new_pairs(x);
  for (const int64_t row : {0, 1}) {
    const Tensor& from = row == 0 ? mean : var;
    check_per_channel(x, from, from.scalar_type(), "mean and var");
    if (scope.on_cuda()) {
      Tensor to = torch::stable::select(statistics, 0, row);
      torch::stable::copy_(to, from);
    } else {
      dispatch_float(from, [&]<class S>(S) {
        std::copy_n(data_of<S>(from), x.size(1), row_of(statistics, row));
      });
    }
  }
  const auto [y, mask] =
      forward(x, weight, bias, statistics, residual,
              options_of(activation, negative_slope, false, eps), keep_of(keep), 1, scope);
  return {y, statistics, mask};
}

// -> mean and sum of squared differences from it.
Tensor batch_norm_moments(const Tensor& input) {
  check_x(input);
  const DeviceScope scope(input);
  const Tensor x = as_either_layout(input);
  Tensor moments = new_pairs(x);
  const BatchNormShape shape = shape_of(x);
  dispatch_types(x, [&]<class T>(T) {
    double *const mean = row_of(moments, 0), *const m2 = row_of(moments, 1);
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const Tensor workspace = new_workspace(x, shape);
        return batch_norm_moments_cuda(data_of<T>(x), shape, mean, m2,
                                       mutable_data_of<double>(workspace), scope.stream());
      }
    }
    batch_norm_moments_cpu(data_of<T>(x), shape, mean, m2, TorchThreads());
  });
  return moments;
}

struct Gradients {
  OptionalTensor sums;  // of kSums alone, which makes nothing else
  Tensor x, weight, bias, residual;
};

// What a backward pass of any kind starts from.
struct Given {
  const Tensor& grad;
  const OptionalTensor &x, &y, &weight, &bias;
  const Tensor& statistics;
  const OptionalTensor &residual, &mask;
};

// [ghost batches * C] -> [C], added in their order.
Tensor sum_over_ghost_batches(const Tensor& each, int64_t ghost_batches) {
  if (ghost_batches == 1 || each.numel() == 0) return each;
  const int64_t channels = each.numel() / ghost_batches;
  if (each.is_cuda()) {
    const int64_t first = 0, sizes[] = {ghost_batches, channels};
    return torch::stable::sum(torch::stable::view(each, {sizes, 2}),
                              torch::headeronly::IntHeaderOnlyArrayRef(&first, 1));
  }
  Tensor all = allocate(each, {channels}, each.scalar_type());
  dispatch_float(each, [&]<class S>(S) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t run = 0; run < ghost_batches; ++run) sum += data_of<S>(each)[run * channels + c];
      mutable_data_of<S>(all)[c] = static_cast<S>(sum);
    }
  });
  return all;
}

Gradients backward(const Given& given, const OptionalTensor& sums, const BatchNormOptions& options,
                   BatchNormPasses passes, bool parameters, bool to_residual,
                   int64_t ghost_batches) {
  STD_TORCH_CHECK(given.x.has_value() != given.y.has_value(), "x or y must be given");
  const Tensor& input = given.x.has_value() ? *given.x : *given.y;
  const Activation activation = options.activation;
  const bool kinked = activation == Activation::kRelu || activation == Activation::kLeakyRelu;
  check_x(input, ghost_batches);
  check_as_x(input, given.grad, "x and grad");
  const ScalarType computing = computing_type(input);
  check_per_channel(input, given.weight, computing, "weight");
  check_per_channel(input, given.bias, computing, "bias");
  check_pairs(input, ghost_batches, given.statistics, "statistics");
  if (given.residual.has_value()) check_as_x(input, *given.residual, "x and residual");
  STD_TORCH_CHECK(!given.residual.has_value() || activation == Activation::kSilu,
                  "residual is read with SiLU alone, mask or y otherwise");
  STD_TORCH_CHECK(!given.mask.has_value() || (kinked && given.x.has_value()),
                  "mask is of x and of an activation with a kink");
  STD_TORCH_CHECK(!given.y.has_value() ||
                      (options.training ? activation == Activation::kNone ||
                                              (activation == Activation::kLeakyRelu &&
                                               options.negative_slope > 0)
                                        : kinked && !parameters && options.negative_slope >= 0),
                  "y does not lead back to what these gradients need");
  const DeviceScope scope(input);
  const Tensor from = as_either_layout(input), g = in_layout_of(from, given.grad);
  OptionalTensor z;
  if (given.residual.has_value()) z = in_layout_of(from, *given.residual);
  const BatchNormShape shape = shape_of(from, ghost_batches);
  check_mask(from, ghost_batches, given.mask, shape);
  const bool applies = passes != BatchNormPasses::kSums;
  Gradients made{std::nullopt, applies ? new_output(from) : none_like(from),
                 parameters ? new_per_channel(from, ghost_batches, computing) : none_like(from),
                 parameters ? new_per_channel(from, ghost_batches, computing) : none_like(from),
                 to_residual ? new_output(from) : none_like(from)};
  if (!applies) made.sums = new_pairs(from);
  if (sums.has_value()) check_pairs(from, 1, *sums, "sums");
  const OptionalTensor& pairs = applies ? sums : made.sums;
  dispatch_types(from, [&]<class T>(T) {
    using S = Compute<T>;
    const BatchNormBackward<T> tensors{data_of<T>(g),
                                       given.x.has_value() ? data_of<T>(from) : nullptr,
                                       given.y.has_value() ? data_of<T>(from) : nullptr,
                                       data_of<T>(z),
                                       data_of<uint8_t>(given.mask),
                                       data_of<S>(given.weight),
                                       data_of<S>(given.bias),
                                       row_of(given.statistics, 0),
                                       row_of(given.statistics, 1),
                                       pairs.has_value() ? row_of(*pairs, 0) : nullptr,
                                       pairs.has_value() ? row_of(*pairs, 1) : nullptr,
                                       applies ? mutable_data_of<T>(made.x) : nullptr,
                                       to_residual ? mutable_data_of<T>(made.residual) : nullptr,
                                       parameters ? mutable_data_of<S>(made.weight) : nullptr,
                                       parameters ? mutable_data_of<S>(made.bias) : nullptr};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const Tensor workspace = new_workspace(from, shape);
        for (int64_t run = 0; run < ghost_batches; ++run)
          batch_norm_act_backward_cuda(ghost_batch(tensors, shape, run), shape, options, passes,
                                       mutable_data_of<double>(workspace), scope.stream());
        return;
      }
    }
    for_each_ghost_batch(ghost_batches, shape, torch::stable::get_num_threads(), TorchThreads(),
                         [&](int64_t run, ParallelFor parallel_for) {
                           batch_norm_act_backward_cpu(ghost_batch(tensors, shape, run), shape,
                                                       options, passes, parallel_for);
                         });
  });
  made.weight = sum_over_ghost_batches(made.weight, ghost_batches);
  made.bias = sum_over_ghost_batches(made.bias, ghost_batches);
  return made;
}

// -> gradients of x, weight, bias and residual, each of which may be empty but the first.
std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_act_backward(
    const Tensor& grad, const OptionalTensor& x, const OptionalTensor& y,
    const OptionalTensor& weight, const OptionalTensor& bias, const Tensor& statistics,
    const OptionalTensor& residual, const OptionalTensor& mask, int64_t activation,
    double negative_slope, bool training, double eps, bool parameters, bool to_residual,
    int64_t ghost_batches) {
  const Gradients made =
      backward({grad, x, y, weight, bias, statistics, residual, mask}, std::nullopt,
               options_of(activation, negative_slope, training, eps), BatchNormPasses::kBoth,
               training || parameters, to_residual, ghost_batches);
  return {made.x, made.weight, made.bias, made.residual};
}

// -> sums of g and of g * (x - mean).
Tensor batch_norm_backward_sums(const Tensor& grad, const Tensor& x, const OptionalTensor& weight,
                                const OptionalTensor& bias, const Tensor& statistics,
                                const OptionalTensor& residual, const OptionalTensor& mask,
                                int64_t activation, double negative_slope, double eps) {
  return backward({grad, x, std::nullopt, weight, bias, statistics, residual, mask}, std::nullopt,
                  options_of(activation, negative_slope, true, eps), BatchNormPasses::kSums, false,
                  false, 1)
      .sums.value();
}

// From those sums, divided by the count -> gradients of x and residual.
std::tuple<Tensor, Tensor> batch_norm_backward_apply(
    const Tensor& grad, const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias,
    const Tensor& statistics, const Tensor& sums, const OptionalTensor& residual,
    const OptionalTensor& mask, int64_t activation, double negative_slope, double eps,
    bool to_residual) {
  const Gradients made = backward({grad, x, std::nullopt, weight, bias, statistics, residual, mask},
                                  sums, options_of(activation, negative_slope, true, eps),
                                  BatchNormPasses::kInput, false, to_residual, 1);
  return {made.x, made.residual};
}

// statistics: [2, ghost batches * C], which are taken in one after the other; count: of each.
void batch_norm_track(const Tensor& statistics, int64_t count, std::optional<double> momentum,
                      Tensor running_mean, Tensor running_var, OptionalTensor num_batches_tracked) {
  const ScalarType type = running_mean.scalar_type();
  const int64_t channels = running_mean.numel();
  STD_TORCH_CHECK(
      statistics.dim() == 2 && statistics.size(0) == 2 && statistics.is_contiguous() &&
          statistics.scalar_type() == ScalarType::Double &&
          (channels == 0 ? statistics.size(1) == 0 : statistics.size(1) % channels == 0),
      "statistics must be contiguous, [2, ghost_batches * C] and float64");
  for (const Tensor* t : {&running_mean, &running_var})
    STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == channels && t->is_contiguous() &&
                        t->scalar_type() == type &&
                        t->get_device_index() == statistics.get_device_index(),
                    "running statistics must be contiguous, [C], alike, and on the device of "
                    "statistics");
  if (num_batches_tracked.has_value())
    STD_TORCH_CHECK(num_batches_tracked->scalar_type() == ScalarType::Long &&
                        num_batches_tracked->numel() == 1 &&
                        num_batches_tracked->get_device_index() == statistics.get_device_index(),
                    "num_batches_tracked must be one int64 on the device of statistics");
  STD_TORCH_CHECK(momentum.has_value() ? *momentum >= 0 : num_batches_tracked.has_value(),
                  "momentum must be given and not negative, or num_batches_tracked");
  if (count < 2) return;  // no unbiased variance
  const DeviceScope scope(statistics);
  dispatch_float(running_mean, [&]<class S>(S) {
    BatchNormTracking<S> tracking{
        row_of(statistics, 0),
        row_of(statistics, 1),
        mutable_data_of<S>(running_mean),
        mutable_data_of<S>(running_var),
        num_batches_tracked.has_value() ? mutable_data_of<int64_t>(*num_batches_tracked) : nullptr,
        momentum.value_or(-1),
        channels,
        count};
    const double* const end = tracking.mean + statistics.size(1);
    for (; tracking.mean != end; tracking.mean += channels, tracking.var += channels) {
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          batch_norm_track_cuda(tracking, scope.stream());
          continue;
        }
      }
      batch_norm_track_cpu(tracking);
    }
  });
}

// batch_norm_act and, with running statistics, batch_norm_track in one call.
std::tuple<Tensor, Tensor, Tensor> batch_norm_act_(
    const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias,
    OptionalTensor running_mean, OptionalTensor running_var, OptionalTensor num_batches_tracked,
    const OptionalTensor& residual, int64_t activation, double negative_slope,
    std::optional<double> momentum, double eps, int64_t keep, int64_t ghost_batches) {
  STD_TORCH_CHECK(running_mean.has_value() == running_var.has_value(),
                  "running_mean and running_var must be given together");
  auto made = batch_norm_act(x, weight, bias, residual, activation, negative_slope, eps, keep,
                             ghost_batches);
  if (running_mean.has_value() && x.numel() > 0)
    batch_norm_track(std::get<1>(made), shape_of(x, ghost_batches).count(), momentum, *running_mean,
                     *running_var, num_batches_tracked);
  return made;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "batch_norm_act(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, int activation, "
      "float negative_slope, float eps, int keep, int ghost_batches=1) "
      "-> (Tensor, Tensor, Tensor)");
  m.def(
      "batch_norm_act_(Tensor x, Tensor? weight, Tensor? bias, Tensor(a!)? running_mean, "
      "Tensor(b!)? running_var, Tensor(c!)? num_batches_tracked, Tensor? residual, int activation, "
      "float negative_slope, float? momentum, float eps, int keep, int ghost_batches=1) "
      "-> (Tensor, Tensor, Tensor)");
  m.def(
      "batch_norm_act_backward(Tensor grad, Tensor? x, Tensor? y, Tensor? weight, Tensor? bias, "
      "Tensor statistics, Tensor? residual, Tensor? mask, int activation, float negative_slope, "
      "bool training, float eps, bool parameters, bool to_residual, int ghost_batches=1) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def("batch_norm_moments(Tensor x) -> Tensor");
  m.def(
      "batch_norm_apply(Tensor x, Tensor? weight, Tensor? bias, Tensor mean, Tensor var, "
      "Tensor? residual, int activation, float negative_slope, float eps, int keep) "
      "-> (Tensor, Tensor, Tensor)");
  m.def(
      "batch_norm_backward_sums(Tensor grad, Tensor x, Tensor? weight, Tensor? bias, "
      "Tensor statistics, Tensor? residual, Tensor? mask, int activation, float negative_slope, "
      "float eps) -> Tensor");
  m.def(
      "batch_norm_backward_apply(Tensor grad, Tensor x, Tensor? weight, Tensor? bias, "
      "Tensor statistics, Tensor sums, Tensor? residual, Tensor? mask, int activation, "
      "float negative_slope, float eps, bool to_residual) -> (Tensor, Tensor)");
  m.def(
      "batch_norm_track(Tensor statistics, int count, float? momentum, Tensor(a!) running_mean, "
      "Tensor(b!) running_var, Tensor(c!)? num_batches_tracked) -> ()");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("batch_norm_act", TORCH_BOX(&batch_norm_act));
  m.impl("batch_norm_act_", TORCH_BOX(&batch_norm_act_));
  m.impl("batch_norm_act_backward", TORCH_BOX(&batch_norm_act_backward));
  m.impl("batch_norm_moments", TORCH_BOX(&batch_norm_moments));
  m.impl("batch_norm_apply", TORCH_BOX(&batch_norm_apply));
  m.impl("batch_norm_backward_sums", TORCH_BOX(&batch_norm_backward_sums));
  m.impl("batch_norm_backward_apply", TORCH_BOX(&batch_norm_backward_apply));
  m.impl("batch_norm_track", TORCH_BOX(&batch_norm_track));
}

}  // namespace sightline::batch_norm
