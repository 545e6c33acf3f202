#include "common/box.h"
#include "common/cuda.h"
#include "iou/topk/topk.h"

namespace sightline::iou::topk {
namespace {

// An entry of a row; the best one comes first in the order of iou_topk.h. IoU 0 stands for none.
template <class T>
struct Entry {
  T value;
  int64_t index;
};
template <class T>
__device__ bool comes_before(const Entry<T>& a, const Entry<T>& b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}
template <class T>
__device__ Entry<T> best_of_warp(Entry<T> best) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Entry<T> other{__shfl_xor_sync(kFullWarp, best.value, offset),
                         __shfl_xor_sync(kFullWarp, best.index, offset)};
    if (comes_before(other, best)) best = other;
  }
  return best;
}

// One block per row. Each of k rounds takes the best entry that comes after the last one: threads
// stride over the columns, and warps agree through shared memory.
template <class T>
__global__ void iou_topk_kernel(const T* __restrict__ boxes1,   // [n, 4]
                                const T* __restrict__ boxes2,   // [m, 4]
                                T* __restrict__ values,         // [n, k]
                                int64_t* __restrict__ indices,  // [n, k]
                                int64_t n, int64_t m, int64_t k) {
  __shared__ Entry<T> of_warps[kThreads / kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int64_t i = blockIdx.x; i < n; i += gridDim.x) {
    const Box<T> row = load_box(boxes1 + 4 * i);
    Entry<T> last{std::numeric_limits<T>::infinity(), -1};
    for (int64_t r = 0; r < k; ++r) {
      Entry<T> best{T(0), INT64_MAX};
      // After an empty round nothing is left.
      for (int64_t j = threadIdx.x; last.value > T(0) && j < m; j += kThreads) {
        const Entry<T> entry{iou_of(row, load_box(boxes2 + 4 * j)), j};
        if (entry.value > best.value && comes_before(last, entry)) best = entry;
      }
      best = best_of_warp(best);
      __syncthreads();  // the warps' entries of the last round have been read by all
      if (lane == 0) of_warps[warp] = best;
      __syncthreads();
      last = of_warps[0];
      for (int w = 1; w < kThreads / kWarp; ++w)
        if (comes_before(of_warps[w], last)) last = of_warps[w];
      if (threadIdx.x == 0) {
        values[i * k + r] = last.value;
        indices[i * k + r] = last.value > T(0) ? last.index : -1;
      }
    }
  }
}

}  // namespace

template <class T>
void box_iou_topk_cuda(const T* boxes1, const T* boxes2, T* values, int64_t* indices, int64_t n,
                       int64_t m, int64_t k, CudaStream stream) {
  if (n == 0 || k == 0) return;
  iou_topk_kernel<<<blocks_for(n, 1), kThreads, 0, native(stream)>>>(boxes1, boxes2, values,
                                                                     indices, n, m, k);
  check_launch("iou_topk_kernel");
}

template void box_iou_topk_cuda(const float*, const float*, float*, int64_t*, int64_t, int64_t,
                                int64_t, CudaStream);
template void box_iou_topk_cuda(const double*, const double*, double*, int64_t*, int64_t, int64_t,
                                int64_t, CudaStream);

}  // namespace sightline::iou::topk
