// What every torch.cpp adapter needs of the stable ABI.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>
#include <utility>

#include "common/call.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "common/sizes.h"

namespace sightline {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The ParallelFor of one call on torch's own threads, passed as `TorchThreads()`.
class TorchThreads {
 public:
  void run(ParallelFor::How how, int64_t n, int64_t grain, Range body);
  bool should_stop() { return call_.should_stop(); }

 private:
  Call call_;
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

// What memory is for, in the words of an error.
inline constexpr const char* kResult = "the result";
inline constexpr const char* kWorkingMemory = "working memory";

// torch::stable::contiguous, new_empty and empty_like go through the boxed dispatcher, 1 us each:
// as much as everything else in a call on a few boxes. And where there is no memory, they do not
// say so: this throws what Python sees as torch's own exception, with the bytes and what they were
// for. sizes, strides: [dims].
Tensor allocate_strided(const Tensor& like, int64_t dims, const int64_t* sizes,
                        const int64_t* strides, ScalarType dtype, const char* what = kResult);
// Throws length_error where the sizes wrap around.
Tensor allocate_contiguous(const Tensor& like, int64_t dims, const int64_t* sizes, ScalarType dtype,
                           const char* what = kResult);

template <size_t kDims>
Tensor allocate(const Tensor& like, const int64_t (&sizes)[kDims], ScalarType dtype,
                const char* what = kResult) {
  return allocate_contiguous(like, kDims, sizes, dtype, what);
}

// As t, which has an element at every place from its first to its last, and each at one place.
inline Tensor allocate_as(const Tensor& t) {
  return allocate_strided(t, t.dim(), t.sizes().data(), t.strides().data(), t.scalar_type());
}

// So many bytes on the device of `like`.
inline Tensor allocate_workspace(const Tensor& like, int64_t bytes) {
  return allocate(like, {bytes}, ScalarType::Byte, kWorkingMemory);
}

inline Tensor as_contiguous(const Tensor& t) {
  if (t.is_contiguous()) return t;
  Tensor copy = allocate_contiguous(t, t.dim(), t.sizes().data(), t.scalar_type(),
                                    "a contiguous copy of an argument");
  torch::stable::copy_(copy, t);
  return copy;
}

// Backstops of memory safety; the public functions check first, with better words.
inline void check_boxes(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() == 2 && t.size(1) == 4, name, " must have shape [N, 4]");
}
// An output that the caller gives must lie in one piece, and apart from what is read meanwhile.
inline void check_out(const Tensor& out, const Tensor& boxes1, const Tensor& boxes2) {
  STD_TORCH_CHECK(out.is_contiguous(), "out must be contiguous");
  const auto bytes = [](const Tensor& t) {
    return t.numel() * int64_t(aoti_torch_dtype_element_size(torch::stable::detail::to<int32_t>(
                           torch::stable::detail::from(t.scalar_type()))));
  };
  for (const auto& [boxes, name] : {std::pair{&boxes1, "boxes1"}, std::pair{&boxes2, "boxes2"}})
    check_apart(out.const_data_ptr(), bytes(out), boxes->const_data_ptr(), bytes(*boxes), name);
}
inline void check_alike(const Tensor& a, const Tensor& b, const char* names) {
  STD_TORCH_CHECK(
      a.scalar_type() == b.scalar_type() && a.get_device_index() == b.get_device_index(), names,
      " must have one dtype and one device");
}

// SIGHTLINE_TORCH_KERNELS(m) { m.impl("op", TORCH_BOX(&op)); } registers the kernels of ops for
// every device of this build; use it once per file.
#ifdef SIGHTLINE_CUDA
#define SIGHTLINE_TORCH_KERNELS(m)                                              \
  static void add_kernels(torch::stable::detail::StableLibrary& m);             \
  STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, library) { add_kernels(library); }  \
  STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, library) { add_kernels(library); } \
  static void add_kernels(torch::stable::detail::StableLibrary& m)
#else
#define SIGHTLINE_TORCH_KERNELS(m)                                             \
  static void add_kernels(torch::stable::detail::StableLibrary& m);            \
  STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, library) { add_kernels(library); } \
  static void add_kernels(torch::stable::detail::StableLibrary& m)
#endif

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
