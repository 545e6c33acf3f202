// kLanes numbers at once: part of a row's end to them and back, bits of their signs, and stores
// around the caches.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/isa.h"
#include "common/macros.h"
#include "common/memory.h"

namespace sightline::batch_norm {

// Numbers that a pass takes at once: as many as a word has bits. Loops of this fixed length fill
// the vectors of every instruction set, and their sums stay in registers.
inline constexpr int64_t kLanes = 32;

// The vectors of a level, which kLanes numbers fill kCount of. Kernels that know their level take
// them; they never cross a call that is not inlined.
template <Isa level>
inline constexpr int64_t kVectorBytes = level == Isa::kAvx512 ? 64
                                        : level == Isa::kAvx2 ? 32
                                                              : 16;

template <Isa level, class S>
struct Vectors {
  typedef S Type __attribute__((vector_size(kVectorBytes<level>)));
  static constexpr int64_t kWidth = kVectorBytes<level> / int64_t(sizeof(S));
  static constexpr int64_t kCount = kLanes / kWidth;

  SIGHTLINE_INLINE static Type load(const S* p) { return *reinterpret_cast<const Anywhere*>(p); }
  SIGHTLINE_INLINE static void store(const Type& v, S* p) { *reinterpret_cast<Anywhere*>(p) = v; }

  // Those of the k-th vector whose bits are set in a word of kLanes.
  SIGHTLINE_INLINE static auto chosen(uint32_t word, int64_t k) {
    Bits bits;
    for (int64_t j = 0; j < kWidth; ++j) bits[j] = Integer(1) << (j + k * kWidth);
    return (bits & Integer(word)) != 0;
  }

 private:
  typedef S Anywhere
      __attribute__((vector_size(kVectorBytes<level>), aligned(alignof(S)), may_alias));
  using Integer = std::conditional_t<sizeof(S) == 4, uint32_t, uint64_t>;
  typedef Integer Bits __attribute__((vector_size(kVectorBytes<level>)));
};

// For kernels that know their level, as LineStream. n < kLanes.
template <Isa level>
struct Lanes {
  // Zero after the first n.
  template <class S>
  SIGHTLINE_INLINE static void load(const S* from, int64_t n, S* lanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] = 0;
    for (int64_t j = 0; j < n; ++j) lanes[j] = from[j];
  }
  template <class S>
  SIGHTLINE_INLINE static void store(const S* lanes, int64_t n, S* to) {
    for (int64_t j = 0; j < n; ++j) to[j] = lanes[j];
  }
  // Which of them are above zero, or NaN.
  template <class S>
  SIGHTLINE_INLINE static uint32_t positive(const S* lanes) {
    uint32_t bits = 0;
    for (int64_t j = 0; j < kLanes; ++j) bits |= uint32_t(!(lanes[j] <= S(0))) << j;
    return bits;
  }
};

#if defined(__x86_64__)
template <>
struct Lanes<Isa::kAvx2> {
  [[gnu::target("avx2")]] static void load(const float* from, int64_t n, float* lanes) {
    for (int j = 0; j < kLanes; j += 8)
      _mm256_storeu_ps(lanes + j, _mm256_maskload_ps(from + j, below32(n - j)));
  }
  [[gnu::target("avx2")]] static void load(const double* from, int64_t n, double* lanes) {
    for (int j = 0; j < kLanes; j += 4)
      _mm256_storeu_pd(lanes + j, _mm256_maskload_pd(from + j, below64(n - j)));
  }
  [[gnu::target("avx2")]] static void store(const float* lanes, int64_t n, float* to) {
    for (int j = 0; j < kLanes; j += 8)
      _mm256_maskstore_ps(to + j, below32(n - j), _mm256_loadu_ps(lanes + j));
  }
  [[gnu::target("avx2")]] static void store(const double* lanes, int64_t n, double* to) {
    for (int j = 0; j < kLanes; j += 4)
      _mm256_maskstore_pd(to + j, below64(n - j), _mm256_loadu_pd(lanes + j));
  }
  [[gnu::target("avx2")]] static uint32_t positive(const float* lanes) {
    uint32_t bits = 0;
    for (int j = 0; j < kLanes; j += 8)
      bits |= uint32_t(_mm256_movemask_ps(
                  _mm256_cmp_ps(_mm256_loadu_ps(lanes + j), _mm256_setzero_ps(), _CMP_NLE_UQ)))
              << j;
    return bits;
  }
  [[gnu::target("avx2")]] static uint32_t positive(const double* lanes) {
    uint32_t bits = 0;
    for (int j = 0; j < kLanes; j += 4)
      bits |= uint32_t(_mm256_movemask_pd(
                  _mm256_cmp_pd(_mm256_loadu_pd(lanes + j), _mm256_setzero_pd(), _CMP_NLE_UQ)))
              << j;
    return bits;
  }

 private:
  // All ones in the lanes before n.
  [[gnu::target("avx2")]] static __m256i below32(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  [[gnu::target("avx2")]] static __m256i below64(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  }
};

template <>
struct Lanes<Isa::kAvx512> {
  [[gnu::target("avx512f")]] static void load(const float* from, int64_t n, float* lanes) {
    const uint32_t mask = below(n);
    for (int j = 0; j < kLanes; j += 16)
      _mm512_storeu_ps(lanes + j, _mm512_maskz_loadu_ps(__mmask16(mask >> j), from + j));
  }
  [[gnu::target("avx512f")]] static void load(const double* from, int64_t n, double* lanes) {
    const uint32_t mask = below(n);
    for (int j = 0; j < kLanes; j += 8)
      _mm512_storeu_pd(lanes + j, _mm512_maskz_loadu_pd(__mmask8(mask >> j), from + j));
  }
  [[gnu::target("avx512f")]] static void store(const float* lanes, int64_t n, float* to) {
    const uint32_t mask = below(n);
    for (int j = 0; j < kLanes; j += 16)
      _mm512_mask_storeu_ps(to + j, __mmask16(mask >> j), _mm512_loadu_ps(lanes + j));
  }
  [[gnu::target("avx512f")]] static void store(const double* lanes, int64_t n, double* to) {
    const uint32_t mask = below(n);
    for (int j = 0; j < kLanes; j += 8)
      _mm512_mask_storeu_pd(to + j, __mmask8(mask >> j), _mm512_loadu_pd(lanes + j));
  }
  [[gnu::target("avx512f")]] static uint32_t positive(const float* lanes) {
    uint32_t bits = 0;
    for (int j = 0; j < kLanes; j += 16)
      bits |=
          uint32_t(_mm512_cmp_ps_mask(_mm512_loadu_ps(lanes + j), _mm512_setzero_ps(), _CMP_NLE_UQ))
          << j;
    return bits;
  }
  [[gnu::target("avx512f")]] static uint32_t positive(const double* lanes) {
    uint32_t bits = 0;
    for (int j = 0; j < kLanes; j += 8)
      bits |=
          uint32_t(_mm512_cmp_pd_mask(_mm512_loadu_pd(lanes + j), _mm512_setzero_pd(), _CMP_NLE_UQ))
          << j;
    return bits;
  }

 private:
  static uint32_t below(int64_t n) { return (uint32_t(1) << n) - 1; }
};
#endif

// kLanes numbers to memory around the caches; p begins a line.
template <Isa level, class S>
SIGHTLINE_INLINE void stream_lanes(const S* lanes, S* p) {
  for (int64_t j = 0; j < kLanes; j += kLineBytes / int64_t(sizeof(S)))
    LineStream<level>::store(p + j, lanes + j);
}

// Bits of the first n lanes, from and to a byte on.
SIGHTLINE_INLINE uint32_t load_bits(const uint8_t* from, int64_t n) {
  uint32_t word = 0;
  if (n == kLanes)
    std::memcpy(&word, from, sizeof(word));
  else
    for (int64_t k = 0; k < (n + 7) / 8; ++k) word |= uint32_t(from[k]) << 8 * k;
  return word;
}
SIGHTLINE_INLINE void store_bits(uint32_t word, uint8_t* to, int64_t n) {
  if (n == kLanes) {
    std::memcpy(to, &word, sizeof(word));
  } else {
    word &= (uint32_t(1) << n) - 1;
    for (int64_t k = 0; k < (n + 7) / 8; ++k) to[k] = uint8_t(word >> 8 * k);
  }
}

}  // namespace sightline::batch_norm
