// How the threads of a block visit their item: groups of elements, loaded and stored together,
// several at once.
#pragma once

#include <cstdint>

#include "batch_norm/plan.h"
#include "common/cuda.h"

namespace sightline::batch_norm {
namespace {

constexpr int kBlockElements = 128;  // summed in Compute<T>, then in double

// How a tensor lies. kWhole: every group has kGroup elements and can be loaded as a vector.
template <bool last, bool whole>
struct Layout {
  static constexpr bool kLast = last, kWhole = whole;
  static constexpr int kChannels = last ? kGroup : 1;  // of a thread
};

// Up to kGroup elements: group k of a plane, or with channels_last of a position.
template <class L>
struct Group {
  int64_t row, k;
  int size;  // 0: none

  __device__ int64_t offset(const BatchNormPlan& plan) const {
    return row * (L::kLast ? plan.channels : plan.length) + k * kGroup;
  }
  // Of a mask, and whether the bits of this and every group begin there.
  __device__ int64_t byte(const BatchNormPlan& plan) const { return row * plan.groups + k; }
  __device__ static bool bytewise(const BatchNormPlan& plan) {
    return !L::kLast || L::kWhole || plan.bytewise();
  }
};

template <class L>
__device__ int group_size(int64_t left) {
  return L::kWhole || left >= kGroup ? kGroup : static_cast<int>(left);
}

// Calls f(groups) with kSize groups of this thread at a time; those beyond the end have size 0.
// With channels_last all have the same channels.
template <class L, int kSize, class F>
__device__ void for_each_batch(const BatchNormPlan& plan, int64_t column, int64_t slice, F f) {
  const int64_t begin = plan.first_unit(slice);
  const int units = static_cast<int>(plan.end_unit(slice) - begin);  // the plan keeps items small
  Group<L> groups[kSize];
  if constexpr (L::kLast) {
    const int members = kItemThreads / plan.lanes, lane = threadIdx.x % plan.lanes;
    const int64_t k = column * plan.lanes + lane;
    if (k >= plan.groups) return;
    const int size = group_size<L>(plan.channels - k * kGroup);
    for (int p = threadIdx.x / plan.lanes; p < units; p += members * kSize) {
#pragma unroll
      for (int u = 0; u < kSize; ++u) {
        const int member = p + u * members;
        groups[u] = {begin + member, k, member < units ? size : 0};
      }
      f(groups);
    }
  } else {
    int64_t n = (begin + threadIdx.x) / plan.groups;
    int64_t k = begin + threadIdx.x - n * plan.groups;
    const int planes = static_cast<int>(kItemThreads / plan.groups);
    const int rest = static_cast<int>(kItemThreads - planes * plan.groups);
    for (int unit = threadIdx.x; unit < units;) {
#pragma unroll
      for (int u = 0; u < kSize; ++u) {
        const int size = group_size<L>(plan.length - k * kGroup);
        groups[u] = {n * plan.channels + column, k, unit < units ? size : 0};
        unit += kItemThreads;
        n += planes;
        k += rest;
        if (k >= plan.groups) {
          k -= plan.groups;
          ++n;
        }
      }
      f(groups);
    }
  }
}

// The first channel of this thread; it may lie beyond the last one.
template <class L>
__device__ int64_t first_channel_of_thread(const BatchNormPlan& plan, int64_t column) {
  if constexpr (L::kLast) return (column * plan.lanes + threadIdx.x % plan.lanes) * kGroup;
  return column;
}

// Conversions by the instructions of the device; the bits are those of common/half.h but for NaN.
__device__ __forceinline__ float widen_on_device(Float16 value) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return widen(value);
#endif
}
template <class T>
__device__ __forceinline__ Compute<T> widen_on_device(T value) {
  return widen(value);
}
// A group as it lies in memory.
template <class T>
union Packed {
  static constexpr int kVectors = kGroup * sizeof(T) / sizeof(uint4);
  uint4 vectors[kVectors];
  uint2 halves[2 * kVectors];
  unsigned words[4 * kVectors];
  T values[kGroup];

  __device__ Compute<T> operator[](int j) const { return widen_on_device(values[j]); }
};

template <class T>
__device__ __forceinline__ Packed<T> pack(const Compute<T>* from) {
  Packed<T> all;
#pragma unroll
  for (int j = 0; j < kGroup; j += 2) {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, Float16>) {
      asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(all.words[j / 2]) : "f"(from[j + 1]), "f"(from[j]));
      continue;
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;"
          : "=r"(all.words[j / 2])
          : "f"(from[j + 1]), "f"(from[j]));
      continue;
    }
#endif
    all.values[j] = narrow<T>(from[j]);
    all.values[j + 1] = narrow<T>(from[j + 1]);
  }
  return all;
}

template <class Word, class T>
__device__ bool is_aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % sizeof(Word) == 0;
}

// Whether the data is read again: what is not leaves the caches first.
enum class Use { kAgain, kOnce };

template <Use use, class Word>
__device__ Word load_word(const Word* p) {
  if constexpr (use == Use::kOnce) return __ldcs(p);
  return *p;
}

// A whole group by one or a few instructions, as its address allows; 0 beyond the end of others.
template <Use use, class L, class T>
__device__ void load(const T* from, const BatchNormPlan& plan, const Group<L>& group,
                     Packed<T>& to) {
  if (L::kWhole && group.size == 0) return;
  const T* const p = from + (group.size > 0 ? group.offset(plan) : 0);
  if (L::kWhole || (group.size == kGroup && is_aligned<uint4>(p))) {
#pragma unroll
    for (int k = 0; k < Packed<T>::kVectors; ++k)
      to.vectors[k] = load_word<use>(reinterpret_cast<const uint4*>(p) + k);
  } else if (kIsHalf<T> && group.size == kGroup && is_aligned<uint2>(p)) {
#pragma unroll
    for (int k = 0; k < 2; ++k)
      to.halves[k] = load_word<use>(reinterpret_cast<const uint2*>(p) + k);
  } else {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) to.values[j] = j < group.size ? p[j] : T{};
  }
}

template <class L, class T>
__device__ void store(const Compute<T>* from, T* to, const BatchNormPlan& plan,
                      const Group<L>& group) {
  T* const p = to + group.offset(plan);
  const Packed<T> all = pack<T>(from);
  if (L::kWhole || (group.size == kGroup && is_aligned<uint4>(p))) {
#pragma unroll
    for (int k = 0; k < Packed<T>::kVectors; ++k) {
      uint4* const q = reinterpret_cast<uint4*>(p) + k;
      if (plan.streamed)
        __stcs(q, all.vectors[k]);
      else
        *q = all.vectors[k];
    }
  } else if (kIsHalf<T> && group.size == kGroup && is_aligned<uint2>(p)) {
#pragma unroll
    for (int k = 0; k < 2; ++k) reinterpret_cast<uint2*>(p)[k] = all.halves[k];
  } else {
#pragma unroll
    for (int j = 0; j < kGroup; ++j)
      if (j < group.size) p[j] = all.values[j];
  }
}

// The bits of a group; where positions share bytes, from the number of its first element.
template <class L>
__device__ unsigned load_bits(const uint8_t* mask, const BatchNormPlan& plan,
                              const Group<L>& group) {
  if (group.bytewise(plan)) return mask[group.byte(plan)];
  unsigned bits = 0;
  for (int j = 0; j < group.size; ++j) {
    const int64_t i = group.offset(plan) + j;
    bits |= (mask[i / 8] >> i % 8 & 1u) << j;
  }
  return bits;
}

}  // namespace
}  // namespace sightline::batch_norm
