#include <atomic>

#include "bandwidth/bandwidth.h"
#include "common/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sightline::bandwidth {
namespace {

constexpr int64_t kLine = 16;          // floats in a cache line
constexpr int64_t kGrainLines = 4096;  // 256 KiB a task at least

struct Read {
  // Integers: their sum may be reordered, and so is as wide as the vectors.
  SIGHTLINE_INLINE static void run(const uint32_t* in, int64_t n, uint32_t* sum) {
    uint32_t total = 0;
    for (int64_t i = 0; i < n; ++i) total += in[i];
    *sum = total;
  }
};

struct Fill {
  SIGHTLINE_INLINE static void run(float* out, int64_t n, float value) {
    for (int64_t i = 0; i < n; ++i) out[i] = value;
  }
};

struct Copy {
  SIGHTLINE_INLINE static void run(const float* in, float* out, int64_t n) {
    SIGHTLINE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) out[i] = in[i];
  }
};

#if defined(__x86_64__)
// The two streaming passes at one width; each is run by the variant of its instruction set alone.
#define SIGHTLINE_STREAMING(Name, kTarget, Vector, kWidth, set1, loadu, stream)                 \
  struct Fill##Name {                                                                           \
    [[gnu::target(kTarget)]] SIGHTLINE_INLINE static void run(float* out, int64_t n, float v) { \
      const Vector wide = set1(v);                                                              \
      for (int64_t i = 0; i < n; i += kWidth) stream(out + i, wide);                            \
      _mm_sfence();                                                                             \
    }                                                                                           \
  };                                                                                            \
  struct Copy##Name {                                                                           \
    [[gnu::target(kTarget)]] SIGHTLINE_INLINE static void run(const float* in, float* out,      \
                                                              int64_t n) {                      \
      for (int64_t i = 0; i < n; i += kWidth) stream(out + i, loadu(in + i));                   \
      _mm_sfence();                                                                             \
    }                                                                                           \
  };
SIGHTLINE_STREAMING(Streaming512, "avx512f", __m512, 16, _mm512_set1_ps, _mm512_loadu_ps,
                    _mm512_stream_ps)
SIGHTLINE_STREAMING(Streaming256, "avx", __m256, 8, _mm256_set1_ps, _mm256_loadu_ps,
                    _mm256_stream_ps)
SIGHTLINE_STREAMING(Streaming128, "sse", __m128, 4, _mm_set1_ps, _mm_loadu_ps, _mm_stream_ps)
#undef SIGHTLINE_STREAMING

template <class Wide, class Middle, class Narrow, class... Args>
void run_streaming(Args... args) {
  switch (isa()) {
    case Isa::kAvx512:
      return run_avx512<Wide>(args...);
    case Isa::kAvx2:
      return run_avx2<Middle>(args...);
    case Isa::kBaseline:
      return Narrow::run(args...);
  }
}
#endif

}  // namespace

uint32_t read_cpu(const uint32_t* in, int64_t n, ParallelFor parallel_for) {
  std::atomic<uint32_t> total = 0;
  parallel_for(n / kLine, kGrainLines, [&](int64_t begin, int64_t end) {
    uint32_t sum = 0;
    run_for_isa<Read>(in + begin * kLine, (end - begin) * kLine, &sum);
    total += sum;
  });
  return total;
}

void fill_cpu(float* out, int64_t n, float value, bool streaming, ParallelFor parallel_for) {
  parallel_for(n / kLine, kGrainLines, [&](int64_t begin, int64_t end) {
    float* to = out + begin * kLine;
    const int64_t count = (end - begin) * kLine;
#if defined(__x86_64__)
    if (streaming)
      return run_streaming<FillStreaming512, FillStreaming256, FillStreaming128>(to, count, value);
#endif
    run_for_isa<Fill>(to, count, value);
  });
}

void copy_cpu(const float* in, float* out, int64_t n, bool streaming, ParallelFor parallel_for) {
  parallel_for(n / kLine, kGrainLines, [&](int64_t begin, int64_t end) {
    const float* from = in + begin * kLine;
    float* to = out + begin * kLine;
    const int64_t count = (end - begin) * kLine;
#if defined(__x86_64__)
    if (streaming)
      return run_streaming<CopyStreaming512, CopyStreaming256, CopyStreaming128>(from, to, count);
#endif
    run_for_isa<Copy>(from, to, count);
  });
}

}  // namespace sightline::bandwidth
