#include <bit>

#include "common/cuda.h"
#include "common/radix_sort.h"
#include "nms/order_cuda.h"

namespace sightline::nms {
namespace {

constexpr int kSortThreads = 1024;

// Scores and what makes one of them a candidate.
template <class S>
struct Candidates {
  const S* scores;  // [lists, n]
  bool all;
  S threshold;

  __device__ bool has(int64_t i) const { return all || scores[i] > threshold; }
  // Only NaN shares the key of those that are no candidates, and is none where there is a
  // threshold.
  __device__ ScoreKey<S> key(int64_t i) const {
    return has(i) ? score_key(scores[i]) : ~ScoreKey<S>(0);
  }
};

__device__ void set_to_zero(unsigned long long* zeros, int64_t count) {
  for (int64_t i = first_item(); i < count; i += item_stride()) zeros[i] = 0;
}

// One block per list: a bitonic sort in shared memory. `size` is the power of two that holds n;
// what is past n comes last, having the largest key and index.
template <class S>
__global__ void __launch_bounds__(kSortThreads, 1)
    sort_lists_kernel(Candidates<S> candidates, int64_t* __restrict__ order,  // [lists, n]
                      int64_t lists, int n, int size, unsigned long long* __restrict__ zeros,
                      int64_t num_zeros) {
  using Key = ScoreKey<S>;
  __shared__ Key keys[kShortList<S>];
  __shared__ uint32_t places[kShortList<S>];
  set_to_zero(zeros, num_zeros);
  for (int64_t list = blockIdx.x; list < lists; list += gridDim.x) {
    const int64_t first = list * n;
    __syncthreads();  // the last list has been read by all
    for (int i = threadIdx.x; i < size; i += kSortThreads) {
      keys[i] = i < n ? candidates.key(first + i) : ~Key(0);
      places[i] = i;
    }
    __syncthreads();
    for (int run = 2; run <= size; run *= 2) {
      for (int distance = run / 2; distance > 0; distance /= 2) {
        for (int pair = threadIdx.x; pair < size / 2; pair += kSortThreads) {
          const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
          const Key a = keys[i], b = keys[j];
          const uint32_t p = places[i], q = places[j];
          const bool after = a > b || (a == b && p > q);
          if (after == ((i & run) == 0)) {
            keys[i] = b;
            keys[j] = a;
            places[i] = q;
            places[j] = p;
          }
        }
        __syncthreads();
      }
    }
    for (int i = threadIdx.x; i < n; i += kSortThreads) {
      const int64_t index = places[i];
      order[first + i] = candidates.has(first + index) ? index : -1;
    }
  }
}

// One thread per score of any list.
template <class S>
__global__ void score_keys_kernel(Candidates<S> candidates, ScoreKey<S>* __restrict__ keys,  // [m]
                                  int64_t* __restrict__ items,                               // [m]
                                  int64_t m, unsigned long long* __restrict__ zeros,
                                  int64_t num_zeros) {
  set_to_zero(zeros, num_zeros);
  for (int64_t i = first_item(); i < m; i += item_stride()) {
    keys[i] = candidates.key(i);
    items[i] = i;
  }
}

// One thread per place in the order by score of all lists together.
template <class Key>
__global__ void list_keys_kernel(const int64_t* __restrict__ items,  // [m]
                                 Key* __restrict__ keys,             // [m]
                                 int64_t m, int64_t n) {
  for (int64_t p = first_item(); p < m; p += item_stride())
    keys[p] = static_cast<Key>(items[p] / n);
}

// One thread per position of a list: items become indices of their list.
template <class S>
__global__ void order_kernel(Candidates<S> candidates, int64_t* order,  // [m]
                             int64_t m, int64_t n) {
  for (int64_t p = first_item(); p < m; p += item_stride()) {
    const int64_t item = order[p];
    order[p] = candidates.has(item) ? item - p / n * n : -1;
  }
}

}  // namespace

template <class S>
OrderBuffers<S>::OrderBuffers(Workspace& space, int64_t lists, int64_t n)
    : order(space.take<int64_t>(lists * n)), spare(nullptr), keys(nullptr), spare_keys(nullptr) {
  const bool is_short = n <= kShortList<S>;
  const int64_t m = is_short ? 0 : lists * n;
  spare = space.take<int64_t>(m);
  keys = space.take<ScoreKey<S>>(m);
  spare_keys = space.take<ScoreKey<S>>(m);
  scratch_bytes = is_short ? 0 : radix_sort_in_place_workspace_bytes<ScoreKey<S>>(m);
  scratch = space.take<char>(scratch_bytes);
}

template <class S>
void order_lists_cuda(const S* scores, OrderBuffers<S>& buffer, int64_t lists, int64_t n,
                      std::optional<S> threshold, unsigned long long* zeros, int64_t num_zeros,
                      CudaStream stream) {
  const cudaStream_t s = native(stream);
  const Candidates<S> candidates{scores, !threshold.has_value(), threshold.value_or(S(0))};
  if (n <= kShortList<S>) {
    const int size = std::bit_ceil(static_cast<unsigned>(n));
    sort_lists_kernel<<<blocks_for(lists, 1), kSortThreads, 0, s>>>(
        candidates, buffer.order, lists, static_cast<int>(n), size, zeros, num_zeros);
    check_launch("sort_lists_kernel");
    return;
  }
  const int64_t m = lists * n;
  score_keys_kernel<<<blocks_for(m), kThreads, 0, s>>>(candidates, buffer.keys, buffer.order, m,
                                                       zeros, num_zeros);
  check_launch("score_keys_kernel");
  radix_sort_in_place_cuda(buffer.keys, buffer.spare_keys, buffer.order, buffer.spare, m,
                           8 * static_cast<int>(sizeof(ScoreKey<S>)), buffer.scratch,
                           buffer.scratch_bytes, stream);
  if (lists > 1) {
    // Stable: within a list the order by score stays.
    list_keys_kernel<<<blocks_for(m), kThreads, 0, s>>>(buffer.order, buffer.keys, m, n);
    check_launch("list_keys_kernel");
    radix_sort_in_place_cuda(buffer.keys, buffer.spare_keys, buffer.order, buffer.spare, m,
                             std::bit_width(static_cast<uint64_t>(lists - 1)), buffer.scratch,
                             buffer.scratch_bytes, stream);
  }
  order_kernel<<<blocks_for(m), kThreads, 0, s>>>(candidates, buffer.order, m, n);
  check_launch("order_kernel");
}

#define INSTANTIATE(S)                                                                           \
  template struct OrderBuffers<S>;                                                               \
  template void order_lists_cuda(const S*, OrderBuffers<S>&, int64_t, int64_t, std::optional<S>, \
                                 unsigned long long*, int64_t, CudaStream);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms
