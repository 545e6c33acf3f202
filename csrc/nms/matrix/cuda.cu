#include "nms/matrix/matrix.h"
#include "nms/segment_sort.cuh"
#include "nms/tile.h"

namespace sightline::nms::matrix {
namespace {

constexpr int kTile = kThreads;  // better boxes in shared memory at once

// One thread per position.
template <class T>
__global__ void gather_kernel(const T* __restrict__ boxes,        // [n, 4]
                              const int64_t* __restrict__ order,  // [n]
                              Box<T>* __restrict__ sorted,        // [n]
                              int64_t n) {
  for (int64_t p = first_item(); p < n; p += item_stride())
    sorted[p] = load_box(boxes + 4 * order[p]);
}

struct MostOverlap {
  static constexpr int kLowest = 0;
  template <class T>
  __device__ static T value(T overlap, T) {
    return overlap;
  }
};
template <bool kGaussian>
struct MostSaid {
  static constexpr int kLowest = kNoSay;
  template <class T>
  __device__ static T value(T overlap, T most_of_better) {
    return say<kGaussian>(overlap, most_of_better);
  }
};

// One block per kThreads consecutive positions, one thread per position: the largest value over the
// better boxes of its segment, which the block goes through in tiles.
//
// Shared memory: the boxes of a tile, and what better ones overlap them by.
template <class Pass, class T>
__global__ void largest_over_better_kernel(const Box<T>* __restrict__ boxes,       // [n]
                                           const uint64_t* __restrict__ segments,  // [n], or null
                                           const T* __restrict__ most_overlap,     // [n], or null
                                           T* __restrict__ largest,                // [n]
                                           int64_t n) {
  __shared__ Box<T> tile[kTile];
  __shared__ T tile_most[kTile];
  __shared__ int64_t block_start;
  for (int64_t first = int64_t(blockIdx.x) * kTile; first < n;
       first += int64_t(gridDim.x) * kTile) {
    const int64_t p = first + threadIdx.x, end = first + kTile < n ? first + kTile : n;
    const bool in_range = p < n;
    const int64_t own_start = !in_range ? n : (segments == nullptr ? 0 : start_of_run(segments, p));
    const Box<T> box = boxes[in_range ? p : n - 1];
    __syncthreads();  // block_start of the last round has been read by all
    if (threadIdx.x == 0) block_start = own_start;
    __syncthreads();
    T most = T(Pass::kLowest);
    for (int64_t start = block_start; start < end; start += kTile) {
      const int64_t mine = start + threadIdx.x;
      const int count = static_cast<int>(end - start < kTile ? end - start : kTile);
      __syncthreads();  // the last tile has been read by all
      if (mine < end) {
        tile[threadIdx.x] = boxes[mine];
        tile_most[threadIdx.x] = most_overlap == nullptr ? T(0) : most_overlap[mine];
      }
      __syncthreads();
      for (int k = 0; k < count; ++k) {
        if (start + k < own_start || start + k >= p) continue;
        const T overlap = iou_of(tile[k], box);
        if (overlap > T(0)) most = larger(Pass::value(overlap, tile_most[k]), most);
      }
    }
    if (in_range) largest[p] = most;
  }
}

// One thread per position.
template <class T>
__global__ void decay_kernel(const T* __restrict__ scores,       // [n]
                             const int64_t* __restrict__ order,  // [n]
                             const T* __restrict__ most_said,    // [n]
                             T* __restrict__ decayed,            // [n]
                             int64_t n, MatrixNmsSettings<T> settings) {
  for (int64_t p = first_item(); p < n; p += item_stride())
    decayed[order[p]] = scores[order[p]] * decay_of(most_said[p], settings);
}

template <class T>
struct Buffers {
  SegmentSort<ScoreKey<T>> sort;
  Box<T>* boxes;
  T *most_overlap, *most_said;

  Buffers(Workspace& space, int64_t n)
      : sort(space, n),
        boxes(space.take<Box<T>>(n)),
        most_overlap(space.take<T>(n)),
        most_said(space.take<T>(n)) {}
};

}  // namespace

template <class T>
int64_t matrix_nms_workspace_bytes(int64_t n) {
  return workspace_bytes<Buffers<T>>(n);
}

template <class T>
void matrix_nms_cuda(const T* boxes, const T* scores, const int64_t* idxs, T* decayed, int64_t n,
                     MatrixNmsSettings<T> settings, void* workspace, CudaStream stream) {
  if (n == 0) return;
  Workspace space(workspace);
  const Buffers<T> buffer(space, n);
  const cudaStream_t s = native(stream);
  const unsigned blocks = blocks_for(n);

  buffer.sort.sort_by_score(scores, n, stream);
  const int64_t* order = buffer.sort.order;
  const uint64_t* segments = nullptr;
  if (idxs != nullptr) {
    buffer.sort.sort_by_segment(idxs, order, n, stream);
    order = buffer.sort.by_segment;
    segments = buffer.sort.sorted_segments;
  }
  gather_kernel<<<blocks, kThreads, 0, s>>>(boxes, order, buffer.boxes, n);
  check_launch("gather_kernel");
  const T* const none = nullptr;
  largest_over_better_kernel<MostOverlap>
      <<<blocks, kThreads, 0, s>>>(buffer.boxes, segments, none, buffer.most_overlap, n);
  check_launch("largest_over_better_kernel");
  const auto most_said = settings.gaussian ? largest_over_better_kernel<MostSaid<true>, T>
                                           : largest_over_better_kernel<MostSaid<false>, T>;
  most_said<<<blocks, kThreads, 0, s>>>(buffer.boxes, segments, buffer.most_overlap,
                                        buffer.most_said, n);
  check_launch("largest_over_better_kernel");
  decay_kernel<<<blocks, kThreads, 0, s>>>(scores, order, buffer.most_said, decayed, n, settings);
  check_launch("decay_kernel");
}

#define INSTANTIATE(T)                                                           \
  template void matrix_nms_cuda(const T*, const T*, const int64_t*, T*, int64_t, \
                                MatrixNmsSettings<T>, void*, CudaStream);        \
  template int64_t matrix_nms_workspace_bytes<T>(int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::matrix
