// What every torch.cpp adapter needs of the stable ABI.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <optional>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// torch's own threads. An exception in a body would lose its message on the way: bodies do not
// throw.
inline constexpr auto torch_parallel_for = [](int64_t n, int64_t grain, Range body) {
  if (n > 0) torch::stable::parallel_for(0, n, grain, body);
};

CudaStream current_cuda_stream(int32_t device);

// Where a call runs: the device of its first tensor, made current until the call ends.
class DeviceScope {
 public:
  explicit DeviceScope(const Tensor& t) {
    if (!t.is_cuda()) return;
    guard_.emplace(t.get_device_index());
    stream_ = current_cuda_stream(t.get_device_index());
  }
  bool on_cuda() const { return guard_.has_value(); }
  CudaStream stream() const { return stream_; }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  CudaStream stream_;
};

// torch::stable::contiguous, new_empty and empty_like go through the boxed dispatcher, 1 us each:
// as much as everything else in a call on a few boxes.
inline Tensor as_contiguous(const Tensor& t) {
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

// sizes, strides: [dims].
inline Tensor allocate_strided(const Tensor& like, int64_t dims, const int64_t* sizes,
                               const int64_t* strides, ScalarType dtype) {
  int32_t device = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  AtenTensorHandle out;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      dims, sizes, strides, torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype)),
      device, like.get_device_index(), &out));
  return Tensor(out);
}

template <size_t kDims>
Tensor allocate(const Tensor& like, const int64_t (&sizes)[kDims], ScalarType dtype) {
  std::array<int64_t, kDims> strides;
  int64_t stride = 1;
  for (size_t d = kDims; d-- > 0; stride *= sizes[d]) strides[d] = stride;
  return allocate_strided(like, kDims, sizes, strides.data(), dtype);
}

// As t, which has an element at every place from its first to its last, and each at one place.
inline Tensor allocate_as(const Tensor& t) {
  return allocate_strided(t, t.dim(), t.sizes().data(), t.strides().data(), t.scalar_type());
}

// Backstops of memory safety; the public functions check first, with better words.
inline void check_boxes(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() == 2 && t.size(1) == 4, name, " must have shape [N, 4]");
}
inline void check_alike(const Tensor& a, const Tensor& b, const char* names) {
  STD_TORCH_CHECK(
      a.scalar_type() == b.scalar_type() && a.get_device_index() == b.get_device_index(), names,
      " must have one dtype and one device");
}

// Calls f(T{}) with the C++ type of a float32 or float64 tensor: the types that geometry computes
// in.
template <class F>
void dispatch_float(const Tensor& t, F f) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    default:
      STD_TORCH_CHECK(false,
                      "sightline computes boxes in float32 or float64: convert the tensor first");
  }
}

}  // namespace sightline
