// Keys for sorting on CUDA, and what is sorted by them.
#pragma once

#include "common/cuda.h"
#include "common/sort_keys.h"

namespace sightline {
namespace {

// One thread a box.
template <class S>
__global__ void score_keys_kernel(const S* __restrict__ scores,    // [n]
                                  ScoreKey<S>* __restrict__ keys,  // [n]
                                  int64_t* __restrict__ indices,   // [n]
                                  int64_t n) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    keys[i] = score_key(scores[i]);
    indices[i] = i;
  }
}

// One thread a rank.
__global__ void segment_keys_kernel(const int64_t* __restrict__ idxs,   // [n]
                                    const int64_t* __restrict__ order,  // [n]
                                    uint64_t* __restrict__ keys,        // [n]
                                    int64_t* __restrict__ ranks,        // [n], or null
                                    int64_t n) {
  for (int64_t r = first_item(); r < n; r += item_stride()) {
    keys[r] = integer_key(idxs[order[r]]);
    if (ranks != nullptr) ranks[r] = r;
  }
}

}  // namespace
}  // namespace sightline
