// Lists of scores into their order on CUDA: score descending, equal scores by ascending index, NaN
// last.
#pragma once

#include <cstdint>
#include <optional>

#include "common/cuda_stream.h"
#include "common/sort_keys.h"
#include "common/workspace.h"

namespace sightline::nms {

// Lists of at most this many are sorted by one block each, in shared memory.
template <class S>
inline constexpr int64_t kShortList = sizeof(S) == sizeof(float) ? 4096 : 2048;

template <class S>
struct OrderBuffers {
  int64_t *order, *spare;  // [lists, n]
  ScoreKey<S>*keys, *spare_keys;
  int64_t scratch_bytes;
  void* scratch;

  OrderBuffers(Workspace& space, int64_t lists, int64_t n);
};

// Fills buffers.order [lists, n] with indices within each list; with a threshold only scores >
// threshold are candidates, and -1 stands past them. Sets zeros[0, num_zeros) to 0 on the way. One
// launch for short lists. Does not synchronise; order and spare may change places.
template <class S>
void order_lists_cuda(const S* scores,  // [lists, n]
                      OrderBuffers<S>& buffers, int64_t lists, int64_t n,
                      std::optional<S> threshold, unsigned long long* zeros, int64_t num_zeros,
                      CudaStream stream);

}  // namespace sightline::nms
