// What a function must be so that host, device and every ISA level can share it. The one macro that
// is not here registers kernels: SIGHTLINE_TORCH_KERNELS in common/torch.h.
#pragma once

#define SIGHTLINE_INLINE __attribute__((always_inline)) inline
#define SIGHTLINE_LAMBDA __attribute__((always_inline))

#if defined(__CUDACC__)
#define SIGHTLINE_HD __host__ __device__ __forceinline__
#else
#define SIGHTLINE_HD SIGHTLINE_INLINE
#endif

// Before a loop whose iterations do not touch each other's data: the compiler need not prove it.
#if defined(__clang__)
#define SIGHTLINE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define SIGHTLINE_INDEPENDENT _Pragma("GCC ivdep")
#endif
