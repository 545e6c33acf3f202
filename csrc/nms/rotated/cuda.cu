#include "nms/rotated/rotated.h"
#include "nms/segment_sort.cuh"

namespace sightline::nms::rotated {
namespace {

constexpr int kWordBits = 64;
constexpr int kTile = kThreads;            // boxes of a tile: one thread each
constexpr int kWords = kTile / kWordBits;  // of a row of a tile's bitmask

// Boxes sorted by (segment, rank), where the rank is the position in the order by score.
template <class T>
struct Sorted {
  const RotatedBox<T>* boxes;  // [n]
  const uint64_t* segments;    // [n] ascending keys, or null: all are of one segment
  const int64_t* ranks;        // [n], or null: rank is position
  int64_t n;

  __device__ bool same_segment(int64_t i, int64_t j) const {
    return segments == nullptr || segments[i] == segments[j];
  }
};

// Most pairs end at their hulls.
template <class T>
__device__ bool suppresses(const RotatedBox<T>& kept, const RotatedBox<T>& box, T threshold) {
  return hulls_overlap(kept, box) && rotated_iou(kept, box) > threshold;
}

// One thread per sorted position.
template <class T>
__global__ void gather_kernel(const T* __restrict__ boxes,         // [n, 5]
                              const int64_t* __restrict__ order,   // [n]
                              const int64_t* __restrict__ ranks,   // [n] or null
                              RotatedBox<T>* __restrict__ sorted,  // [n]
                              uint8_t* __restrict__ suppressed,    // [n]
                              uint8_t* __restrict__ kept,          // [n]
                              int64_t n, AngleUnit unit) {
  for (int64_t p = first_item(); p < n; p += item_stride()) {
    sorted[p] = load_rotated_box(boxes + 5 * order[ranks == nullptr ? p : ranks[p]], unit);
    suppressed[p] = 0;
    kept[p] = 0;
  }
}

// One block per tile of kTile boxes, one thread per box: bit k of its row says that it suppresses
// the tile's box k, which comes after it.
template <class T>
__global__ void tile_masks_kernel(Sorted<T> sorted,
                                  uint64_t* __restrict__ masks,  // [n, kWords]
                                  T threshold) {
  __shared__ RotatedBox<T> tile[kTile];
  for (int64_t start = int64_t(blockIdx.x) * kTile; start < sorted.n;
       start += int64_t(gridDim.x) * kTile) {
    const int64_t i = start + threadIdx.x;
    const int count = static_cast<int>(sorted.n - start < kTile ? sorted.n - start : kTile);
    __syncthreads();  // the last tile has been read by all
    if (i < sorted.n) tile[threadIdx.x] = sorted.boxes[i];
    __syncthreads();
    if (i >= sorted.n) continue;
    const RotatedBox<T> own = tile[threadIdx.x];
    for (int w = 0; w < kWords; ++w) {
      uint64_t bits = 0;
      for (int b = 0; b < kWordBits; ++b) {
        const int k = w * kWordBits + b;
        if (k <= static_cast<int>(threadIdx.x) || k >= count) continue;
        if (suppresses(own, tile[k], threshold) && sorted.same_segment(i, start + k))
          bits |= uint64_t(1) << b;
      }
      masks[i * kWords + w] = bits;
    }
  }
}

// Each block resolves the tile at `start` for itself, then strikes out later boxes, one thread a
// box; block 0 notes what the tile keeps. Blocks agree: they read flags of the tile and write
// later ones. Only boxes of the tile's last segment can lie beyond the tile.
//
// Shared memory: the tile's masks [kTile][kWords], the words of struck-out boxes [kWords], and the
// kept boxes of the last segment [kTile] with their number.
template <class T>
__global__ void resolve_tile_kernel(Sorted<T> sorted,
                                    const uint64_t* __restrict__ masks,  // [n, kWords]
                                    uint8_t* suppressed,                 // [n]
                                    uint8_t* __restrict__ kept,          // [n], by rank
                                    int64_t start, T threshold) {
  __shared__ uint64_t rows[kTile][kWords];
  __shared__ uint32_t flags[kTile / kWarp];
  __shared__ uint64_t keeps[kWords];
  __shared__ RotatedBox<T> survivors[kTile];
  __shared__ int num_survivors;
  const int t = threadIdx.x;
  const int64_t end = start + kTile < sorted.n ? start + kTile : sorted.n;
  const int64_t first = end + first_item();
  const int64_t first_of_block = end + int64_t(blockIdx.x) * blockDim.x;
  if (blockIdx.x > 0 &&
      (first_of_block >= sorted.n || !sorted.same_segment(end - 1, first_of_block)))
    return;

  const int64_t own = start + t;
  for (int w = 0; w < kWords; ++w) rows[t][w] = own < end ? masks[own * kWords + w] : 0;
  // A place past the end counts as struck out.
  const unsigned votes = __ballot_sync(kFullWarp, own >= end || suppressed[own]);
  if (t % kWarp == 0) flags[t / kWarp] = votes;
  __syncthreads();
  if (t == 0) {
    uint64_t gone[kWords];
    for (int w = 0; w < kWords; ++w) gone[w] = flags[2 * w] | uint64_t(flags[2 * w + 1]) << kWarp;
    for (int w = 0; w < kWords; ++w) {
      uint64_t kept_bits = 0;
      for (int b = 0; b < kWordBits; ++b) {
        if (gone[w] >> b & 1) continue;
        kept_bits |= uint64_t(1) << b;
        for (int v = w; v < kWords; ++v) gone[v] |= rows[w * kWordBits + b][v];
      }
      keeps[w] = kept_bits;
    }
    num_survivors = 0;
  }
  __syncthreads();
  const bool is_kept = keeps[t / kWordBits] >> (t % kWordBits) & 1;
  if (is_kept && blockIdx.x == 0) kept[sorted.ranks == nullptr ? own : sorted.ranks[own]] = 1;
  if (is_kept && sorted.same_segment(own, end - 1))
    survivors[atomicAdd(&num_survivors, 1)] = sorted.boxes[own];  // their order does not matter
  __syncthreads();

  const int count = num_survivors;
  for (int64_t j = first; j < sorted.n; j += item_stride()) {
    if (!sorted.same_segment(end - 1, j)) return;
    if (suppressed[j]) continue;
    const RotatedBox<T> box = sorted.boxes[j];
    bool struck = false;
    for (int k = 0; k < count && !struck; ++k) struck = suppresses(survivors[k], box, threshold);
    if (struck) suppressed[j] = 1;
  }
}

template <class T, class S>
struct Buffers {
  SegmentSort<ScoreKey<S>> sort;
  RotatedBox<T>* boxes;
  uint64_t* masks;
  uint8_t *suppressed, *kept;
  int64_t* count;

  Buffers(Workspace& space, int64_t n)
      : sort(space, n),
        boxes(space.take<RotatedBox<T>>(n)),
        masks(space.take<uint64_t>(n * kWords)),
        suppressed(space.take<uint8_t>(n)),
        kept(space.take<uint8_t>(n)),
        count(space.take<int64_t>(1)) {}
};

}  // namespace

template <class T, class S>
int64_t nms_rotated_workspace_bytes(int64_t n) {
  return workspace_bytes<Buffers<T, S>>(n);
}

template <class T, class S>
int64_t nms_rotated_cuda(const T* boxes, const S* scores, const int64_t* idxs, int64_t* keep,
                         int64_t n, T threshold, AngleUnit unit, void* workspace,
                         CudaStream stream) {
  if (n == 0) return 0;
  Workspace space(workspace);
  const Buffers<T, S> buffer(space, n);
  const SegmentSort<ScoreKey<S>>& sort = buffer.sort;
  const cudaStream_t s = native(stream);
  const unsigned blocks = blocks_for(n);

  sort.sort_by_score(scores, n, stream);
  Sorted<T> sorted{buffer.boxes, nullptr, nullptr, n};
  if (idxs != nullptr) {
    sort.sort_by_segment(idxs, sort.indices, n, stream);
    sorted.segments = sort.sorted_segments;
    sorted.ranks = sort.by_segment;
  }
  gather_kernel<<<blocks, kThreads, 0, s>>>(boxes, sort.order, sorted.ranks, buffer.boxes,
                                            buffer.suppressed, buffer.kept, n, unit);
  check_launch("gather_kernel");
  tile_masks_kernel<<<blocks_for(n, kTile), kTile, 0, s>>>(sorted, buffer.masks, threshold);
  check_launch("tile_masks_kernel");
  for (int64_t start = 0; start < n; start += kTile) {
    const int64_t later = std::max<int64_t>(n - start - kTile, 1);
    resolve_tile_kernel<<<blocks_for(later), kTile, 0, s>>>(sorted, buffer.masks, buffer.suppressed,
                                                            buffer.kept, start, threshold);
    check_launch("resolve_tile_kernel");
  }
  sort.select(sort.order, buffer.kept, keep, buffer.count, n, stream);
  return read_count(buffer.count, stream, "nms_rotated");
}

#define INSTANTIATE(T, S)                                                                     \
  template int64_t nms_rotated_cuda(const T*, const S*, const int64_t*, int64_t*, int64_t, T, \
                                    AngleUnit, void*, CudaStream);                            \
  template int64_t nms_rotated_workspace_bytes<T, S>(int64_t);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::rotated
