#include "common/torch.h"

#include <cmath>

#include "batch_norm/batch_norm.h"

namespace sightline {
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
  return x.is_contiguous() || is_channels_last(x) ? x : torch::stable::contiguous(x);
}

// t in the layout of x, which is one of the two.
Tensor in_layout_of(const Tensor& x, const Tensor& t) {
  if (x.is_contiguous() ? t.is_contiguous() : is_channels_last(t)) return t;
  Tensor copy = torch::stable::empty_like(x);
  torch::stable::copy_(copy, t);
  return copy;
}

BatchNormShape shape_of(const Tensor& x) {
  BatchNormShape shape{x.size(0), x.size(1), 1, false};
  for (int64_t dim = 2; dim < x.dim(); ++dim) shape.length *= x.size(dim);
  shape.channels_last = shape.length == 1 || !x.is_contiguous();
  return shape;
}

BatchNormOptions options_of(int64_t activation, double negative_slope, bool training, double eps) {
  STD_TORCH_CHECK(0 <= activation && activation <= int64_t(Activation::kSilu),
                  "activation must be 0, 1, 2 or 3");
  return {static_cast<Activation>(activation), negative_slope, eps, training};
}

void check_x(const Tensor& x) { STD_TORCH_CHECK(x.dim() >= 2, "x must have shape [N, C, ...]"); }
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

// [C]; zero where x is empty, and no kernel will write it.
Tensor new_per_channel(const Tensor& x, ScalarType type) {
  if (x.numel() == 0) return torch::stable::new_zeros(x, {x.size(1)}, type);
  return torch::stable::new_empty(x, {x.size(1)}, type);
}

// Device memory of a call; torch gives it to nobody else before the stream is past the call.
template <class Shape>
Tensor new_workspace(const Tensor& x, const Shape& shape) {
  return torch::stable::new_empty(x, {batch_norm_workspace_cuda(shape)}, ScalarType::Double);
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

// -> y, and the mean and biased variance it was made with, float64 [C].
std::tuple<Tensor, Tensor, Tensor> batch_norm_act(const Tensor& input, const OptionalTensor& weight,
                                                  const OptionalTensor& bias,
                                                  const OptionalTensor& running_mean,
                                                  const OptionalTensor& running_var,
                                                  const OptionalTensor& residual,
                                                  int64_t activation, double negative_slope,
                                                  bool training, double eps) {
  check_x(input);
  const ScalarType computing = computing_type(input);
  check_per_channel(input, weight, computing, "weight");
  check_per_channel(input, bias, computing, "bias");
  if (residual.has_value()) check_as_x(input, *residual, "x and residual");
  const BatchNormOptions options = options_of(activation, negative_slope, training, eps);
  const DeviceScope scope(input);
  const Tensor x = as_either_layout(input);
  OptionalTensor z;
  if (residual.has_value()) z = in_layout_of(x, *residual);
  Tensor mean = new_per_channel(x, ScalarType::Double),
         var = new_per_channel(x, ScalarType::Double);
  if (!training) {
    STD_TORCH_CHECK(running_mean.has_value() && running_var.has_value(),
                    "inference needs running_mean and running_var");
    check_per_channel(x, running_mean, running_mean->scalar_type(), "running_mean");
    check_per_channel(x, running_var, running_var->scalar_type(), "running_var");
    torch::stable::copy_(mean, *running_mean);
    torch::stable::copy_(var, *running_var);
  }
  Tensor y = torch::stable::empty_like(x);
  const BatchNormShape shape = shape_of(x);
  dispatch_types(x, [&]<class T>(T) {
    using S = Compute<T>;
    const BatchNormForward<T> tensors{data_of<T>(x),
                                      data_of<T>(z),
                                      data_of<S>(weight),
                                      data_of<S>(bias),
                                      mutable_data_of<double>(mean),
                                      mutable_data_of<double>(var),
                                      mutable_data_of<T>(y)};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const Tensor workspace = new_workspace(x, shape);
        return batch_norm_act_cuda(tensors, shape, options, mutable_data_of<double>(workspace),
                                   scope.stream());
      }
    }
    batch_norm_act_cpu(tensors, shape, options, torch_parallel_for);
  });
  return {y, mean, var};
}

// -> gradients of x, weight, bias and residual; without a residual the last is empty.
std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_act_backward(
    const Tensor& grad, const Tensor& input, const OptionalTensor& weight,
    const OptionalTensor& bias, const Tensor& mean, const Tensor& var,
    const OptionalTensor& residual, int64_t activation, double negative_slope, bool training,
    double eps) {
  check_x(input);
  check_as_x(input, grad, "x and grad");
  const ScalarType computing = computing_type(input);
  check_per_channel(input, weight, computing, "weight");
  check_per_channel(input, bias, computing, "bias");
  check_per_channel(input, mean, ScalarType::Double, "mean");
  check_per_channel(input, var, ScalarType::Double, "var");
  if (residual.has_value()) check_as_x(input, *residual, "x and residual");
  const BatchNormOptions options = options_of(activation, negative_slope, training, eps);
  const DeviceScope scope(input);
  const Tensor x = as_either_layout(input), g = in_layout_of(x, grad);
  OptionalTensor z;
  if (residual.has_value()) z = in_layout_of(x, *residual);
  Tensor grad_x = torch::stable::empty_like(x);
  Tensor grad_residual =
      residual.has_value() ? torch::stable::empty_like(x) : torch::stable::new_empty(x, {0});
  Tensor grad_weight = new_per_channel(x, computing), grad_bias = new_per_channel(x, computing);
  const BatchNormShape shape = shape_of(x);
  dispatch_types(x, [&]<class T>(T) {
    using S = Compute<T>;
    const BatchNormBackward<T> tensors{
        data_of<T>(g),
        data_of<T>(x),
        data_of<T>(z),
        data_of<S>(weight),
        data_of<S>(bias),
        data_of<double>(mean),
        data_of<double>(var),
        mutable_data_of<T>(grad_x),
        mutable_data_of<S>(grad_weight),
        mutable_data_of<S>(grad_bias),
        residual.has_value() ? mutable_data_of<T>(grad_residual) : nullptr};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const Tensor workspace = new_workspace(x, shape);
        return batch_norm_act_backward_cuda(tensors, shape, options,
                                            mutable_data_of<double>(workspace), scope.stream());
      }
    }
    batch_norm_act_backward_cpu(tensors, shape, options, torch_parallel_for);
  });
  return {grad_x, grad_weight, grad_bias, grad_residual};
}

void batch_norm_track(const Tensor& mean, const Tensor& var, int64_t count,
                      std::optional<double> momentum, Tensor running_mean, Tensor running_var,
                      OptionalTensor num_batches_tracked) {
  const ScalarType type = running_mean.scalar_type();
  STD_TORCH_CHECK(mean.dim() == 1 && count >= 2, "mean must be [C], and count at least 2");
  const int64_t channels = mean.size(0);
  for (const Tensor* t : {&mean, &var, static_cast<const Tensor*>(&running_mean),
                          static_cast<const Tensor*>(&running_var)})
    STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == channels && t->is_contiguous() &&
                        t->get_device_index() == mean.get_device_index(),
                    "statistics must be contiguous, [C], and on one device");
  STD_TORCH_CHECK(mean.scalar_type() == ScalarType::Double &&
                      var.scalar_type() == ScalarType::Double && running_var.scalar_type() == type,
                  "mean and var must be float64, running_mean and running_var alike");
  if (num_batches_tracked.has_value())
    STD_TORCH_CHECK(num_batches_tracked->scalar_type() == ScalarType::Long &&
                        num_batches_tracked->numel() == 1 &&
                        num_batches_tracked->get_device_index() == mean.get_device_index(),
                    "num_batches_tracked must be one int64 on the device of mean");
  STD_TORCH_CHECK(momentum.has_value() ? *momentum >= 0 : num_batches_tracked.has_value(),
                  "momentum must be given and not negative, or num_batches_tracked");
  const DeviceScope scope(mean);
  const auto track = [&]<class S>(S) {
    const BatchNormTracking<S> tracking{
        data_of<double>(mean),
        data_of<double>(var),
        mutable_data_of<S>(running_mean),
        mutable_data_of<S>(running_var),
        num_batches_tracked.has_value() ? mutable_data_of<int64_t>(*num_batches_tracked) : nullptr,
        momentum.value_or(-1),
        channels,
        count};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return batch_norm_track_cuda(tracking, scope.stream());
    }
    batch_norm_track_cpu(tracking);
  };
  dispatch_float(running_mean, track);
}

void add_kernels(torch::stable::detail::StableLibrary& m) {
  m.impl("batch_norm_act", TORCH_BOX(&batch_norm_act));
  m.impl("batch_norm_act_backward", TORCH_BOX(&batch_norm_act_backward));
  m.impl("batch_norm_track", TORCH_BOX(&batch_norm_track));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "batch_norm_act(Tensor x, Tensor? weight, Tensor? bias, Tensor? running_mean, "
      "Tensor? running_var, Tensor? residual, int activation, float negative_slope, "
      "bool training, float eps) -> (Tensor, Tensor, Tensor)");
  m.def(
      "batch_norm_act_backward(Tensor grad, Tensor x, Tensor? weight, Tensor? bias, Tensor mean, "
      "Tensor var, Tensor? residual, int activation, float negative_slope, bool training, "
      "float eps) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "batch_norm_track(Tensor mean, Tensor var, int count, float? momentum, "
      "Tensor(a!) running_mean, Tensor(b!) running_var, Tensor(c!)? num_batches_tracked) -> ()");
}
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { add_kernels(m); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { add_kernels(m); }
#endif

}  // namespace sightline
