// How the threads of a launch share a tensor: groups of elements, loaded and stored together, and
// results merged over a block in a fixed order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch_norm/batch_norm.h"
#include "batch_norm/recipes.h"
#include "common/cuda.h"

namespace sightline {
namespace {

// A thread takes groups of kGroup elements that lie side by side, which share a byte of a mask: of
// one channel, or with channels_last of as many channels.
constexpr int kGroup = 8;
constexpr int kMostLanes = 32;       // threads of a block side by side, with channels_last
constexpr int kBlockElements = 128;  // summed in Compute<T>, then merged in double
constexpr int64_t kGroupsPerThread = 8;
constexpr int64_t kMaxSlices = 512;  // one thread a channel merges as many partial results

struct Vector {  // what one instruction loads or stores
  alignas(16) unsigned char bytes[16];
};

// Every pass cuts the groups of a channel into `slices` of neighbours, a function of the shape
// alone. A block takes one slice of one channel; with channels_last, of lanes * kGroup of them:
// thread t then has group t % lanes of a position.
struct Geometry {
  int64_t batch, channels, length, count, slices;
  int64_t groups;  // of a plane, or with channels_last of a position
  int lanes;
  bool last;

  // What slices cut: groups of a channel, or positions.
  __host__ __device__ int64_t units() const { return last ? count : batch * groups; }
  __host__ __device__ int64_t first(int64_t slice) const { return units() * slice / slices; }
  // Elements a channel in a slice.
  __host__ __device__ int64_t elements(int64_t slice) const {
    return last ? first(slice + 1) - first(slice) : before(first(slice + 1)) - before(first(slice));
  }
  // Whether the bits of positions begin at bytes.
  __host__ __device__ bool bytewise() const {
    return !last || channels % 8 == 0 || channels >= kNarrowRow;
  }

 private:
  __host__ __device__ int64_t before(int64_t unit) const {
    return unit / groups * length + unit % groups * kGroup;
  }
};

Geometry geometry_of(const BatchNormShape& shape) {
  Geometry g{shape.batch, shape.channels,     shape.length, shape.count(), 1, 1,
             1,           shape.channels_last};
  g.groups = ((g.last ? g.channels : g.length) + kGroup - 1) / kGroup;
  if (g.last)
    while (g.lanes < kMostLanes && g.lanes < g.groups) g.lanes *= 2;
  const int64_t slices = g.units() / (kThreads / g.lanes * kGroupsPerThread);
  g.slices = std::clamp<int64_t>(slices, 1, kMaxSlices);
  return g;
}

dim3 grid_of(const Geometry& g) {
  const int64_t blocks = g.last ? (g.groups + g.lanes - 1) / g.lanes : g.channels;
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(g.slices));
}

// Up to kGroup elements from `offset` on; channel is that of the first one.
struct Group {
  int64_t offset, channel, byte;
  int size;
};

// Calls f(group) for those of this thread in its block's slice.
template <bool kLast, class F>
__device__ void for_each_group(const Geometry& g, F f) {
  const int64_t end = g.first(blockIdx.y + 1);
  if constexpr (kLast) {
    const int64_t group = int64_t(blockIdx.x) * g.lanes + threadIdx.x % g.lanes;
    if (group >= g.groups) return;
    const int64_t channel = group * kGroup, left = g.channels - channel;
    const int size = static_cast<int>(left < kGroup ? left : kGroup);
    const int members = kThreads / g.lanes;
    for (int64_t p = g.first(blockIdx.y) + threadIdx.x / g.lanes; p < end; p += members)
      f(Group{p * g.channels + channel, channel, p * g.groups + group, size});
  } else {
    const int64_t channel = blockIdx.x;
    int64_t unit = g.first(blockIdx.y) + threadIdx.x;
    int64_t n = unit / g.groups, k = unit % g.groups;  // the only division of the walk
    for (; unit < end; unit += kThreads) {
      const int64_t plane = n * g.channels + channel, left = g.length - k * kGroup;
      const int size = static_cast<int>(left < kGroup ? left : kGroup);
      f(Group{plane * g.length + k * kGroup, channel, plane * g.groups + k, size});
      for (k += kThreads; k >= g.groups; k -= g.groups) ++n;
    }
  }
}

// Whole groups whose first element is aligned to Vector are read in one or a few instructions.
template <class T>
__device__ bool is_vector(const T* p, int size) {
  return size == kGroup && reinterpret_cast<uintptr_t>(p) % sizeof(Vector) == 0;
}
template <class T>
__device__ void load(const T* __restrict__ from, const Group& group, Compute<T>* to) {
  const T* const p = from + group.offset;
  if (is_vector(p, group.size)) {
    constexpr int kVectors = kGroup * sizeof(T) / sizeof(Vector);
    union {
      Vector vectors[kVectors];
      T values[kGroup];
    } all;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) all.vectors[k] = reinterpret_cast<const Vector*>(p)[k];
#pragma unroll
    for (int j = 0; j < kGroup; ++j) to[j] = widen(all.values[j]);
  } else {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) to[j] = j < group.size ? widen(p[j]) : Compute<T>(0);
  }
}
template <class T>
__device__ void store(const Compute<T>* from, T* to, const Group& group) {
  T* const p = to + group.offset;
  if (is_vector(p, group.size)) {
    constexpr int kVectors = kGroup * sizeof(T) / sizeof(Vector);
    union {
      Vector vectors[kVectors];
      T values[kGroup];
    } all;
#pragma unroll
    for (int j = 0; j < kGroup; ++j) all.values[j] = narrow<T>(from[j]);
#pragma unroll
    for (int k = 0; k < kVectors; ++k) reinterpret_cast<Vector*>(p)[k] = all.vectors[k];
  } else {
#pragma unroll
    for (int j = 0; j < kGroup; ++j)
      if (j < group.size) p[j] = narrow<T>(from[j]);
  }
}

// The bits of a group; where positions share bytes, from the number of its first element.
__device__ unsigned load_bits(const uint8_t* mask, const Geometry& g, const Group& group) {
  if (g.bytewise()) return mask[group.byte];
  unsigned bits = 0;
  for (int j = 0; j < group.size; ++j) {
    const int64_t i = group.offset + j;
    bits |= (mask[i / 8] >> i % 8 & 1u) << j;
  }
  return bits;
}

struct Moments {
  double count, mean, m2;

  // Chan's merge.
  __device__ void add(const Moments& other) {
    if (other.count == 0) return;
    const double delta = other.mean - mean, total = count + other.count;
    const double share = other.count / total;
    mean += delta * share;
    m2 += other.m2 + delta * delta * count * share;
    count = total;
  }
};

struct Sums {
  double sum, dot;
  __device__ void add(const Sums& other) {
    sum += other.sum;
    dot += other.dot;
  }
};

// The threads of each of `lanes` columns add up in a fixed tree; the result is in the first row.
template <class Part>
__device__ Part add_over_block(Part mine, int lanes) {
  __shared__ Part parts[kThreads];
  __syncthreads();  // the parts of an earlier call have been read
  parts[threadIdx.x] = mine;
  for (int half = kThreads / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x].add(parts[threadIdx.x + half]);
  }
  __syncthreads();
  return parts[threadIdx.x];
}

// Where a call keeps its partial results and coefficients: device memory that the caller lends.
template <class S>
struct Workspace {
  double *first, *second;  // [slices, channels]: mean and m2, or sum and dot
  S *mean, *scale, *shift, *unscale, *factor, *offset;  // [channels], as on the CPU

  Workspace(double* memory, const Geometry& g)
      : first(memory), second(memory + g.slices * g.channels) {
    S* p = reinterpret_cast<S*>(second + g.slices * g.channels);
    for (S** array : {&mean, &scale, &shift, &unscale, &factor, &offset}) {
      *array = p;
      p += g.channels;
    }
  }
  __device__ Channel<S> at(int64_t c) const { return {mean[c], scale[c], shift[c], unscale[c]}; }
};

template <bool kLast>
constexpr int kChannelsOfThread = kLast ? kGroup : 1;

// Channels that this thread has, from the first on: fewer at the end of them.
template <bool kLast>
__device__ int64_t first_channel_of_thread(const Geometry& g) {
  if constexpr (kLast) return (int64_t(blockIdx.x) * g.lanes + threadIdx.x % g.lanes) * kGroup;
  return blockIdx.x;
}

// One result a channel of the block to [slice, channels].
template <bool kLast, class Part, class F>
__device__ void merge_block(const Geometry& g, Part* parts, F store_part) {
  const int64_t channel = first_channel_of_thread<kLast>(g);
  for (int j = 0; j < kChannelsOfThread<kLast>; ++j) {
    const Part all = add_over_block(parts[j], g.lanes);
    if (threadIdx.x < g.lanes && channel + j < g.channels)
      store_part(blockIdx.y * g.channels + channel + j, all);
  }
}

}  // namespace
}  // namespace sightline
