// Stands in for CUDA's header of this name, so that g++ compiles .cu files and runs their kernels
// on the CPU: every CUDA thread is a fiber, and fibers change where threads of a GPU wait for each
// other. translate.py turns what is no C++ (launches, __shared__) into calls of what is below.
//
// What it shows: the arithmetic of indices, what is read before it is written (shared memory holds
// garbage when a block starts), barriers that not all threads reach, missing barriers (fibers run
// in random order between two of them, and several blocks take turns), the number of launches and
// synchronisations. What it cannot show: the memory model of a GPU, speed, registers, and what only
// nvcc refuses.
//
// To add a family: a file <family>.cpp beside this one with extern "C" functions that call the
// *_cuda functions on host memory, a line in SOURCES of build.py that names the .cu files, and
// tests/native/test_<family>_cuda_on_cpu.py. CUB is replaced by radix_sort.cpp, which keeps the
// contract of common/radix_sort.h: what is added there is added here. What is not here yet (a type,
// an intrinsic, an atomic) belongs in this file, one line each. Clusters, cooperative launches,
// textures and asynchronous copies are not supported; textual limits are in translate.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __host__
#define __device__
#define __global__
#define __forceinline__ __attribute__((always_inline)) inline
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

using cudaStream_t = void*;
using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

namespace cuda_on_cpu {

// What the library under test asked of the device; set to zero by the test.
struct Counters {
  int64_t kernels, library_calls, fills, copies_to_host, synchronisations;
  int64_t barriers;  // that blocks passed: a measure of how far kernels went
};
extern Counters counters;

inline constexpr unsigned kWarpLanes = 32;
struct WarpValues {
  uint64_t of_lane[kWarpLanes];
};

struct ThreadIndices {
  uint3 thread;
  uint3 block;
  dim3 block_size;
  dim3 grid_size;
};
extern const ThreadIndices* current;  // of the fiber that runs

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);
// Each returns once all threads have called it: of the block, or those of the warp in mask.
int block_barrier(int vote, const char* file, int line);  // how many voted with non-zero
WarpValues exchange(unsigned mask, uint64_t own);
void pause();  // lets other fibers, of any block, run
void* shared_memory(const char* name, int line, size_t bytes, size_t alignment);
void* dynamic_shared_memory();
unsigned lane();

template <class T>
T& shared(const char* name, int line) {
  return *static_cast<T*>(shared_memory(name, line, sizeof(T), alignof(T)));
}

// kernel<<<grid, block, bytes, stream>>>(arguments) becomes Launch(...).of(kernel)(arguments).
class Launch {
 public:
  Launch(dim3 grid, dim3 block, size_t shared_bytes = 0, cudaStream_t = nullptr)
      : grid_(grid), block_(block), shared_bytes_(shared_bytes) {}
  template <class Kernel>
  auto of(Kernel kernel) const {
    return [*this, kernel](auto... arguments) {
      ++counters.kernels;
      run_grid(grid_, block_, shared_bytes_, [&] { kernel(arguments...); });
    };
  }

 private:
  dim3 grid_, block_;
  size_t shared_bytes_;
};

template <class T>
uint64_t bits(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t out = 0;
  std::memcpy(&out, &value, sizeof(T));
  return out;
}
template <class T>
T value(uint64_t bits) {
  T out;
  std::memcpy(&out, &bits, sizeof(T));
  return out;
}
template <class To, class From>
To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return value<To>(bits(from));
}

}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::current->thread)
#define blockIdx (cuda_on_cpu::current->block)
#define blockDim (cuda_on_cpu::current->block_size)
#define gridDim (cuda_on_cpu::current->grid_size)
inline constexpr int warpSize = cuda_on_cpu::kWarpLanes;

#define __syncthreads() static_cast<void>(cuda_on_cpu::block_barrier(0, __FILE__, __LINE__))
#define __syncthreads_count(vote) cuda_on_cpu::block_barrier((vote) ? 1 : 0, __FILE__, __LINE__)
#define __syncthreads_or(vote) \
  (cuda_on_cpu::block_barrier((vote) ? 1 : 0, __FILE__, __LINE__) > 0 ? 1 : 0)
#define __syncthreads_and(vote) \
  (cuda_on_cpu::block_barrier((vote) ? 0 : 1, __FILE__, __LINE__) == 0 ? 1 : 0)

// --- warps ---------------------------------------------------------------------------------------
inline void __syncwarp(unsigned mask = ~0u) { cuda_on_cpu::exchange(mask, 0); }
inline unsigned __ballot_sync(unsigned mask, int vote) {
  const cuda_on_cpu::WarpValues votes = cuda_on_cpu::exchange(mask, vote != 0);
  unsigned out = 0;
  for (unsigned l = 0; l < cuda_on_cpu::kWarpLanes; ++l)
    out |= (mask >> l & 1u & unsigned(votes.of_lane[l])) << l;
  return out;
}
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }
template <class T>
unsigned __match_any_sync(unsigned mask, T own) {
  const uint64_t key = cuda_on_cpu::bits(own);
  const cuda_on_cpu::WarpValues all = cuda_on_cpu::exchange(mask, key);
  unsigned out = 0;
  for (unsigned l = 0; l < cuda_on_cpu::kWarpLanes; ++l)
    out |= (mask >> l & 1u & unsigned(all.of_lane[l] == key)) << l;
  return out;
}
namespace cuda_on_cpu {
// The value of lane `from` where that lies in the group of `width` lanes, otherwise the own one.
template <class T, class F>
T shuffle(unsigned mask, T own, int width, F from) {
  const WarpValues all = exchange(mask, bits(own));
  const int l = static_cast<int>(lane()), first = l / width * width, source = from(l, first);
  return source < first || source >= first + width ? own : value<T>(all.of_lane[source]);
}
}  // namespace cuda_on_cpu
template <class T>
T __shfl_sync(unsigned mask, T own, int source, int width = 32) {
  return cuda_on_cpu::shuffle(mask, own, width,
                              [=](int, int first) { return first + (source & (width - 1)); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T own, unsigned by, int width = 32) {
  return cuda_on_cpu::shuffle(mask, own, width, [=](int l, int) { return l + int(by); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T own, unsigned by, int width = 32) {
  return cuda_on_cpu::shuffle(mask, own, width, [=](int l, int) { return l - int(by); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T own, int with, int width = 32) {
  return cuda_on_cpu::shuffle(mask, own, width, [=](int l, int) { return l ^ with; });
}

// --- memory --------------------------------------------------------------------------------------
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { cuda_on_cpu::pause(); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
  *p = v;
}
template <class T, class F>
T atomic_update(T* p, F f) {
  const T old = *p;
  *p = f(old);
  return old;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return T(old + v); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return T(old - v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return std::max(old, v); });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return std::min(old, v); });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return T(old | v); });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return T(old & v); });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return atomic_update(p, [=](T old) { return old == expected ? v : old; });
}

// --- bits ----------------------------------------------------------------------------------------
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(v); }
inline int __clzll(long long v) { return v == 0 ? 64 : __builtin_clzll(v); }
inline unsigned __float_as_uint(float v) { return cuda_on_cpu::reinterpret<unsigned>(v); }
inline int __float_as_int(float v) { return cuda_on_cpu::reinterpret<int>(v); }
inline float __uint_as_float(unsigned v) { return cuda_on_cpu::reinterpret<float>(v); }
inline float __int_as_float(int v) { return cuda_on_cpu::reinterpret<float>(v); }
inline long long __double_as_longlong(double v) { return cuda_on_cpu::reinterpret<long long>(v); }
inline double __longlong_as_double(long long v) { return cuda_on_cpu::reinterpret<double>(v); }
using std::max;
using std::min;

// --- runtime -------------------------------------------------------------------------------------
inline const char* cudaGetErrorString(cudaError_t) { return "error of the emulator"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void* p, int byte, size_t bytes, cudaStream_t = nullptr) {
  ++cuda_on_cpu::counters.fills;
  if (bytes > 0) std::memset(p, byte, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t = nullptr) {
  if (kind == cudaMemcpyDeviceToHost) ++cuda_on_cpu::counters.copies_to_host;
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ++cuda_on_cpu::counters.synchronisations;
  return cudaSuccess;
}
