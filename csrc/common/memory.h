// How large outputs reach memory: stores around the caches, and huge pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/isa.h"
#include "common/macros.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sightline {

inline constexpr int64_t kLineBytes = 64;  // a cache line

// Above this many bytes an output that is in memory already is written around the caches. Measured
// where 32 MiB of cache are a core's own or shared: below, ordinary stores take a third of the time
// and leave the output where its reader finds it; above, streaming ones take 3 / 4.
inline constexpr int64_t kStreamBytes = int64_t(32) << 20;

// Numbers from p to the next cache line.
template <class T>
SIGHTLINE_INLINE int64_t numbers_to_line(const T* p) {
  return (-reinterpret_cast<uintptr_t>(p) % kLineBytes) / sizeof(T);
}

// Copies one cache line to p, which begins one, without reading what was there; end_stream() must
// follow the last of them. For kernels that know their level: not SIGHTLINE_INLINE, since gcc
// refuses to inline what is wider than its caller, and small enough to be inlined all the same.
template <Isa level>
struct LineStream {
  static void store(float* p, const float* line) { copy<float>(p, line); }
  static void store(double* p, const double* line) { copy<double>(p, line); }

 private:
  template <class T>
  SIGHTLINE_INLINE static void copy(T* p, const T* line) {
    for (size_t k = 0; k < kLineBytes / sizeof(T); ++k) p[k] = line[k];
  }
};
inline void end_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

#if defined(__x86_64__)
template <>
struct LineStream<Isa::kAvx2> {
  [[gnu::target("avx2")]] static void store(float* p, const float* line) {
    _mm256_stream_ps(p, _mm256_loadu_ps(line));
    _mm256_stream_ps(p + 8, _mm256_loadu_ps(line + 8));
  }
  [[gnu::target("avx2")]] static void store(double* p, const double* line) {
    _mm256_stream_pd(p, _mm256_loadu_pd(line));
    _mm256_stream_pd(p + 4, _mm256_loadu_pd(line + 4));
  }
};
template <>
struct LineStream<Isa::kAvx512> {
  [[gnu::target("avx512f")]] static void store(float* p, const float* line) {
    _mm512_stream_ps(p, _mm512_loadu_ps(line));
  }
  [[gnu::target("avx512f")]] static void store(double* p, const double* line) {
    _mm512_stream_pd(p, _mm512_loadu_pd(line));
  }
};
#endif

inline constexpr int64_t kHugePageBytes = int64_t(2) << 20;
inline constexpr int64_t kHugePagesFrom = int64_t(32) << 20;  // malloc maps anew what is larger

// Before a new output is first written: page faults take most of the time of one that is large, and
// with huge pages there are 512 times fewer. Does nothing where the system does not let us ask.
inline void advise_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] int64_t bytes,
                              [[maybe_unused]] int64_t from = kHugePagesFrom) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes <= from) return;
  constexpr uintptr_t kHugePage = uintptr_t(kHugePageBytes);
  const uintptr_t first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (first + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (first + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace sightline
