// Which object has an anchor: what the assigners by predictions share on CUDA.
#pragma once

#include <limits>

#include "common/cuda.h"

namespace sightline::assign {
namespace {

// Numbers that are not negative in the order of their bits, for atomics.
using OrderedBits = unsigned long long;
__device__ OrderedBits ordered_bits(float v) { return __float_as_uint(v); }
__device__ OrderedBits ordered_bits(double v) {
  return static_cast<OrderedBits>(__double_as_longlong(v));
}

// After every object, so that the least of those that ask is the owner.
constexpr int32_t kNoOwner = std::numeric_limits<int32_t>::max();

// One thread per anchor of an image.
__global__ void index_kernel(const int32_t* __restrict__ owner,  // [total]
                             int64_t* __restrict__ index,        // [total], -1 for no owner
                             int64_t total) {
  for (int64_t i = first_item(); i < total; i += item_stride())
    index[i] = owner[i] == kNoOwner ? -1 : owner[i];
}

}  // namespace
}  // namespace sightline::assign
