// Launch helpers of the .cu files; no link to libtorch_cuda.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/cuda_stream.h"

namespace sightline {

inline constexpr int kThreads = 256;  // a block
inline constexpr int kWarp = 32;      // the threads of a warp
inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int64_t kMaxBlocks = 1 << 20;  // grid-stride loops take what is beyond

inline cudaStream_t native(CudaStream stream) { return static_cast<cudaStream_t>(stream.handle); }

inline void cuda_check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// After a launch: the error of the launch itself; errors inside the kernel surface at the next
// synchronisation.
inline void check_launch(const char* kernel) { cuda_check(cudaGetLastError(), kernel); }

inline unsigned blocks_for(int64_t items, int64_t per_block = kThreads) {
  return static_cast<unsigned>(
      std::clamp<int64_t>((items + per_block - 1) / per_block, 1, kMaxBlocks));
}

// Synchronises the stream, and returns a number that its kernels left on the device.
template <class Number>
int64_t read_count(const Number* count, CudaStream stream, const char* op) {
  Number value = 0;
  const cudaStream_t s = native(stream);
  cuda_check(cudaMemcpyAsync(&value, count, sizeof(value), cudaMemcpyDeviceToHost, s), op);
  cuda_check(cudaStreamSynchronize(s), op);
  return static_cast<int64_t>(value);
}

#if defined(__CUDACC__)
__device__ __forceinline__ int64_t first_item() {
  return int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t item_stride() { return int64_t(gridDim.x) * blockDim.x; }

// The sum over a warp, in lane 0, always added in one order.
template <class T>
__device__ T warp_sum(T v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v += __shfl_down_sync(kFullWarp, v, offset);
  return v;
}
#endif

}  // namespace sightline
