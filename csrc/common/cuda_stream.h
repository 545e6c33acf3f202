// A CUDA stream as host code without the CUDA headers sees it.
#pragma once

namespace sightline {

struct CudaStream {
  void* handle = nullptr;  // a cudaStream_t
};

// Whether this build holds CUDA kernels. Calls of *_cuda functions stand under `if constexpr
// (kHasCuda)` in generic code, so that a build without them never asks the linker for one.
#ifdef SIGHTLINE_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

}  // namespace sightline
