#include "common/cuda.h"
#include "iou/rotated/gradient.h"
#include "iou/rotated/rotated.h"

namespace sightline::iou::rotated {
namespace {

constexpr int kRows = 8;  // rows of a tile, each thread of a block's column goes through them

// One thread per column of a tile of kRows x kThreads pairs; the tile's rows are loaded once, in
// shared memory.
template <class T>
__global__ void pairwise_kernel(const T* __restrict__ boxes1,  // [n, 5]
                                const T* __restrict__ boxes2,  // [m, 5]
                                T* __restrict__ out,           // [n, m]
                                int64_t n, int64_t m, AngleUnit unit) {
  __shared__ RotatedBox<T> rows[kRows];
  const int64_t column_tiles = (m + kThreads - 1) / kThreads, row_tiles = (n + kRows - 1) / kRows;
  for (int64_t tile = blockIdx.x; tile < column_tiles * row_tiles; tile += gridDim.x) {
    const int64_t first_row = tile / column_tiles * kRows;
    const int64_t j = tile % column_tiles * kThreads + threadIdx.x;
    const int count = static_cast<int>(n - first_row < kRows ? n - first_row : kRows);
    __syncthreads();  // the rows of the last tile have been read by all
    if (threadIdx.x < count)
      rows[threadIdx.x] = load_rotated_box(boxes1 + 5 * (first_row + threadIdx.x), unit);
    __syncthreads();
    if (j >= m) continue;
    const RotatedBox<T> b = load_rotated_box(boxes2 + 5 * j, unit);
    for (int r = 0; r < count; ++r)
      out[(first_row + r) * m + j] = hulls_overlap(rows[r], b) ? rotated_iou(rows[r], b) : T(0);
  }
}

// One warp per box of own_boxes: its lanes stride over the others and add up in a fixed tree. The
// gradients of its pairs lie at grad[k * own_step + other * step].
template <class T>
__global__ void pairwise_backward_kernel(const T* __restrict__ grad,  // [n, m] or transposed
                                         int64_t own_step, int64_t step,
                                         const T* __restrict__ own_boxes,  // [owns, 5]
                                         const T* __restrict__ others,     // [count, 5]
                                         T* __restrict__ own_grad,         // [owns, 5]
                                         int64_t owns, int64_t count, AngleUnit unit) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t k = first_item() / kWarp; k < owns; k += item_stride() / kWarp) {
    const RotatedBox<T> own = load_rotated_box(own_boxes + 5 * k, unit);
    RotatedGradient<T> sum;
    for (int64_t j = lane; j < count; j += kWarp)
      add_rotated_gradient(own, load_rotated_box(others + 5 * j, unit),
                           grad[k * own_step + j * step], sum);
    sum = {warp_sum(sum.cx), warp_sum(sum.cy), warp_sum(sum.w), warp_sum(sum.h),
           warp_sum(sum.angle)};
    if (lane == 0) store_rotated_gradient(own_grad + 5 * k, own_boxes + 5 * k, unit, sum);
  }
}

// One thread per pair.
template <class T>
__global__ void aligned_kernel(const T* __restrict__ boxes1,  // [n, 5]
                               const T* __restrict__ boxes2,  // [n, 5]
                               T* __restrict__ out,           // [n]
                               int64_t n, AngleUnit unit) {
  for (int64_t i = first_item(); i < n; i += item_stride())
    out[i] =
        rotated_iou(load_rotated_box(boxes1 + 5 * i, unit), load_rotated_box(boxes2 + 5 * i, unit));
}

// One thread per pair.
template <class T>
__global__ void aligned_backward_kernel(const T* __restrict__ grad,    // [n]
                                        const T* __restrict__ boxes1,  // [n, 5]
                                        const T* __restrict__ boxes2,  // [n, 5]
                                        T* __restrict__ grad1,         // [n, 5]
                                        T* __restrict__ grad2,         // [n, 5]
                                        int64_t n, AngleUnit unit) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    const T *p = boxes1 + 5 * i, *q = boxes2 + 5 * i;
    const RotatedBox<T> a = load_rotated_box(p, unit), b = load_rotated_box(q, unit);
    RotatedGradient<T> ga, gb;
    add_rotated_gradient(a, b, grad[i], ga);
    add_rotated_gradient(b, a, grad[i], gb);
    store_rotated_gradient(grad1 + 5 * i, p, unit, ga);
    store_rotated_gradient(grad2 + 5 * i, q, unit, gb);
  }
}

}  // namespace

template <class T>
void box_iou_rotated_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m,
                          AngleUnit unit, CudaStream stream) {
  if (n == 0 || m == 0) return;
  const int64_t tiles = ((m + kThreads - 1) / kThreads) * ((n + kRows - 1) / kRows);
  pairwise_kernel<<<blocks_for(tiles, 1), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, n, m,
                                                                         unit);
  check_launch("pairwise_kernel");
}

template <class T>
void box_iou_rotated_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1,
                                   T* grad2, int64_t n, int64_t m, AngleUnit unit,
                                   CudaStream stream) {
  constexpr int kWarpsPerBlock = kThreads / kWarp;
  if (n > 0) {
    pairwise_backward_kernel<<<blocks_for(n, kWarpsPerBlock), kThreads, 0, native(stream)>>>(
        grad, m, 1, boxes1, boxes2, grad1, n, m, unit);
    check_launch("pairwise_backward_kernel");
  }
  if (m > 0) {
    pairwise_backward_kernel<<<blocks_for(m, kWarpsPerBlock), kThreads, 0, native(stream)>>>(
        grad, 1, m, boxes2, boxes1, grad2, m, n, unit);
    check_launch("pairwise_backward_kernel");
  }
}

template <class T>
void aligned_box_iou_rotated_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n,
                                  AngleUnit unit, CudaStream stream) {
  if (n == 0) return;
  aligned_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, n, unit);
  check_launch("aligned_kernel");
}

template <class T>
void aligned_box_iou_rotated_backward_cuda(const T* grad, const T* boxes1, const T* boxes2,
                                           T* grad1, T* grad2, int64_t n, AngleUnit unit,
                                           CudaStream stream) {
  if (n == 0) return;
  aligned_backward_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(grad, boxes1, boxes2,
                                                                          grad1, grad2, n, unit);
  check_launch("aligned_backward_kernel");
}

#define INSTANTIATE(T)                                                                       \
  template void box_iou_rotated_cuda(const T*, const T*, T*, int64_t, int64_t, AngleUnit,    \
                                     CudaStream);                                            \
  template void box_iou_rotated_backward_cuda(const T*, const T*, const T*, T*, T*, int64_t, \
                                              int64_t, AngleUnit, CudaStream);               \
  template void aligned_box_iou_rotated_cuda(const T*, const T*, T*, int64_t, AngleUnit,     \
                                             CudaStream);                                    \
  template void aligned_box_iou_rotated_backward_cuda(const T*, const T*, const T*, T*, T*,  \
                                                      int64_t, AngleUnit, CudaStream);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::iou::rotated
