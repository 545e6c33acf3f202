#include "common/cuda.h"
#include "common/radix_sort.h"
#include "common/sort_keys.h"
#include "nms/order_cuda.h"
#include "nms/scored_boxes.h"
#include "nms/tiles.cuh"

namespace sightline::nms::greedy {
namespace {

// One thread per rank.
__global__ void segment_keys_kernel(const int64_t* __restrict__ idxs,   // [n]
                                    const int64_t* __restrict__ order,  // [n]
                                    uint64_t* __restrict__ keys,        // [n]
                                    int64_t* __restrict__ ranks,        // [n]
                                    uint8_t* __restrict__ flags,        // [n]
                                    int64_t n) {
  for (int64_t r = first_item(); r < n; r += item_stride()) {
    keys[r] = integer_key(idxs[order[r]]);
    ranks[r] = r;
    flags[r] = 0;
  }
}

// One thread per position in the order by segment.
__global__ void compose_kernel(const int64_t* __restrict__ order,  // [n]
                               const int64_t* __restrict__ ranks,  // [n]
                               int64_t* __restrict__ composed,     // [n]
                               int64_t n) {
  for (int64_t p = first_item(); p < n; p += item_stride()) composed[p] = order[ranks[p]];
}

// Long lists with segments are sorted by them; short ones stay as they are and compare.
template <class S>
bool is_grouped(const int64_t* idxs, int64_t n) {
  return idxs != nullptr && n > kShortList<S>;
}

template <class S>
struct Buffers {
  OrderBuffers<S> order;
  TileBoard board;
  int64_t* count;
  uint64_t *segments, *spare_segments;
  int64_t *ranks, *spare_ranks;
  uint8_t* flags;
  int64_t scratch_bytes;
  void* scratch;

  Buffers(Workspace& space, int64_t n, bool grouped)
      : order(space, 1, n),
        board(space, tiles_of_list(n)),
        count(space.take<int64_t>(1)),
        segments(space.take<uint64_t>(grouped ? n : 0)),
        spare_segments(space.take<uint64_t>(grouped ? n : 0)),
        ranks(space.take<int64_t>(grouped ? n : 0)),
        spare_ranks(space.take<int64_t>(grouped ? n : 0)),
        flags(space.take<uint8_t>(grouped ? n : 0)),
        scratch_bytes(grouped ? std::max(radix_sort_in_place_workspace_bytes<uint64_t>(n),
                                         select_flagged_workspace_bytes(n))
                              : 0),
        scratch(space.take<char>(scratch_bytes)) {}
};

// Sorts by segment and suppresses, so that only the boxes of one segment are compared.
template <class T, class S>
void suppress_grouped(const ScoredBoxes<T>& source, Buffers<S>& buffer, int64_t* keep, int64_t n,
                      T threshold, CudaStream stream) {
  const cudaStream_t s = native(stream);
  const int64_t* const order = buffer.order.order;
  segment_keys_kernel<<<blocks_for(n), kThreads, 0, s>>>(source.idxs, order, buffer.segments,
                                                         buffer.ranks, buffer.flags, n);
  check_launch("segment_keys_kernel");
  radix_sort_in_place_cuda(buffer.segments, buffer.spare_segments, buffer.ranks, buffer.spare_ranks,
                           n, 64, buffer.scratch, buffer.scratch_bytes, stream);
  int64_t* const by_segment = buffer.order.spare;
  compose_kernel<<<blocks_for(n), kThreads, 0, s>>>(order, buffer.ranks, by_segment, n);
  check_launch("compose_kernel");
  const TileInput<T> in{by_segment, 1, n, n, buffer.segments, threshold};
  TileOutput out;
  out.flags = buffer.flags;
  out.ranks = buffer.ranks;
  suppress_tiles(in, source, buffer.board, out, s);
  select_flagged_cuda(order, buffer.flags, keep, buffer.count, n, buffer.scratch,
                      buffer.scratch_bytes, stream);
}

}  // namespace

template <class T, class S>
int64_t nms_workspace_bytes(int64_t n) {
  return workspace_bytes<Buffers<S>>(n, n > kShortList<S>);
}

template <class T, class S>
int64_t nms_cuda(const T* boxes, const S* scores, const int64_t* idxs, int64_t* keep, int64_t n,
                 T threshold, void* workspace, CudaStream stream) {
  if (n == 0) return 0;
  Workspace space(workspace);
  Buffers<S> buffer(space, n, is_grouped<S>(idxs, n));
  const cudaStream_t s = native(stream);
  order_lists_cuda(scores, buffer.order, 1, n, std::optional<S>(), buffer.board.drawn,
                   buffer.board.zeros, stream);
  const ScoredBoxes<T> source{boxes, idxs, n};
  if (is_grouped<S>(idxs, n)) {
    suppress_grouped(source, buffer, keep, n, threshold, stream);
  } else {
    TileOutput out;
    out.indices = keep;
    out.counts = buffer.count;
    out.max_kept = n;
    const TileInput<T> in{buffer.order.order, 1, n, n, nullptr, threshold};
    suppress_tiles(in, source, buffer.board, out, s);
  }
  return read_count(buffer.count, stream, "nms");
}

#define INSTANTIATE(T, S)                                                                    \
  template int64_t nms_cuda(const T*, const S*, const int64_t*, int64_t*, int64_t, T, void*, \
                            CudaStream);                                                     \
  template int64_t nms_workspace_bytes<T, S>(int64_t);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::greedy
