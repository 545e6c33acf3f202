// Rows of float16 and bfloat16 to float and back, by the instructions of the level where it has
// them. The bits are those of common/half.h.
#pragma once

#include <cstdint>

#include "common/half.h"
#include "common/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sightline::batch_norm {

// Eight or sixteen numbers at a time; for kernels that know their level, as LineStream.
template <Isa level>
struct Float16Vector {
  static constexpr int64_t kWidth = 0;  // none
};
#if defined(__x86_64__)
template <>
struct Float16Vector<Isa::kAvx2> {
  static constexpr int64_t kWidth = 8;
  [[gnu::target("avx2,f16c")]] static void widen(const Float16* from, float* to) {
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  [[gnu::target("avx2,f16c")]] static void narrow(const float* from, Float16* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
  }
};
template <>
struct Float16Vector<Isa::kAvx512> {
  static constexpr int64_t kWidth = 16;
  // The forms without a mask start from an undefined vector, of which gcc 12 warns.
  static constexpr __mmask16 kAll = 0xffff;
  [[gnu::target("avx512f")]] static void widen(const Float16* from, float* to) {
    _mm512_storeu_ps(to, _mm512_maskz_cvtph_ps(
                             kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }
  [[gnu::target("avx512f")]] static void narrow(const float* from, Float16* to) {
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to),
        _mm512_maskz_cvtps_ph(kAll, _mm512_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
  }
};
#endif

struct WidenRow {
  template <Isa level, class T>
  SIGHTLINE_INLINE static void run_at(const T* from, float* to, int64_t n) {
    int64_t j = 0;
    if constexpr (std::is_same_v<T, Float16> && Float16Vector<level>::kWidth > 0)
      for (; j + Float16Vector<level>::kWidth <= n; j += Float16Vector<level>::kWidth)
        Float16Vector<level>::widen(from + j, to + j);
    SIGHTLINE_INDEPENDENT
    for (int64_t i = j; i < n; ++i) to[i] = widen(from[i]);
  }
};

struct NarrowRow {
  template <Isa level, class T>
  SIGHTLINE_INLINE static void run_at(const float* from, T* to, int64_t n) {
    int64_t j = 0;
    if constexpr (std::is_same_v<T, Float16> && Float16Vector<level>::kWidth > 0)
      for (; j + Float16Vector<level>::kWidth <= n; j += Float16Vector<level>::kWidth)
        Float16Vector<level>::narrow(from + j, to + j);
    SIGHTLINE_INDEPENDENT
    for (int64_t i = j; i < n; ++i) to[i] = narrow<T>(from[i]);
  }
};

}  // namespace sightline::batch_norm
