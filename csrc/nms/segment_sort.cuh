// Sorting boxes on CUDA by score, and then by segment.
//
// An op fills the keys with score_keys_kernel, or with a kernel of its own where some boxes are to
// come last; both write the indices 0, 1, 2, ... beside them.
#pragma once

#include <algorithm>

#include "common/cuda.h"
#include "common/radix_sort.h"
#include "common/sort_keys.h"
#include "common/workspace.h"

namespace sightline::nms {
namespace {

// One thread per box.
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

// One thread per rank.
__global__ void segment_keys_kernel(const int64_t* __restrict__ idxs,   // [n]
                                    const int64_t* __restrict__ order,  // [n]
                                    uint64_t* __restrict__ keys,        // [n]
                                    int64_t n) {
  for (int64_t r = first_item(); r < n; r += item_stride()) keys[r] = integer_key(idxs[order[r]]);
}

}  // namespace

// Whether a segment starts at position p. Without segments all boxes are of one.
__device__ inline bool starts_segment(const uint64_t* segments /* [n], or null */, int64_t p) {
  return p == 0 || (segments != nullptr && segments[p] != segments[p - 1]);
}

template <class Key>
struct SegmentSort {
  Key *keys, *sorted_keys;                   // [n]
  int64_t *indices, *order;                  // [n] of the boxes as they come, and by ascending key
  uint64_t *segment_keys, *sorted_segments;  // [n] by rank, and by segment
  int64_t* by_segment;                       // [n] what was sorted by segment
  int64_t scratch_bytes;
  void* scratch;

  SegmentSort(Workspace& space, int64_t n)
      : keys(space.take<Key>(n)),
        sorted_keys(space.take<Key>(n)),
        indices(space.take<int64_t>(n)),
        order(space.take<int64_t>(n)),
        segment_keys(space.take<uint64_t>(n)),
        sorted_segments(space.take<uint64_t>(n)),
        by_segment(space.take<int64_t>(n)),
        scratch_bytes(
            std::max({radix_sort_workspace_bytes<Key>(n), radix_sort_workspace_bytes<uint64_t>(n),
                      select_flagged_workspace_bytes(n)})),
        scratch(space.take<char>(scratch_bytes)) {}

  // Fills `order`, or `sorted` in its place; equal keys keep the order of their indices.
  void sort_by_key(int64_t n, CudaStream stream) const { sort_by_key(order, n, stream); }
  void sort_by_key(int64_t* sorted /* [n] */, int64_t n, CudaStream stream) const {
    radix_sort_cuda(keys, sorted_keys, indices, sorted, n, scratch, scratch_bytes, stream);
  }
  template <class S>
  void sort_by_score(const S* scores /* [n] */, int64_t n, CudaStream stream) const {
    score_keys_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(scores, keys, indices, n);
    check_launch("score_keys_kernel");
    sort_by_key(n, stream);
  }

  // Fills `sorted_segments` and `by_segment` with the values of the ranks: `order` gives boxes,
  // `indices` ranks. Within a segment ranks ascend.
  void sort_by_segment(const int64_t* idxs /* [n] */, const int64_t* values /* [n] */, int64_t n,
                       CudaStream stream) const {
    segment_keys_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(idxs, order, segment_keys,
                                                                        n);
    check_launch("segment_keys_kernel");
    radix_sort_cuda(segment_keys, sorted_segments, values, by_segment, n, scratch, scratch_bytes,
                    stream);
  }

  // Writes the values whose flag is 1, in order, and how many they are.
  void select(const int64_t* values /* [n] */, const uint8_t* flags /* [n] */,
              int64_t* selected /* [n] */, int64_t* count /* [1] */, int64_t n,
              CudaStream stream) const {
    select_flagged_cuda(values, flags, selected, count, n, scratch, scratch_bytes, stream);
  }
};

}  // namespace sightline::nms
