#include "common/cuda.h"
#include "iou/gradient.h"
#include "iou/iou.h"

namespace sightline {
namespace {

constexpr int kRows = 8;  // rows of a tile, each thread of a block's column goes through them
constexpr int kWarp = 32;

// One thread a column of a tile of kRows x kThreads pairs; the tile's rows are prepared once, in
// shared memory.
template <class Form, class T>
__global__ void pairwise_kernel(const T* __restrict__ boxes1,  // [n, 4]
                                const T* __restrict__ boxes2,  // [m, 4]
                                T* __restrict__ out,           // [n, m]
                                int64_t n, int64_t m, T eps) {
  __shared__ Box<T> rows[kRows];
  const int64_t column_tiles = (m + kThreads - 1) / kThreads, row_tiles = (n + kRows - 1) / kRows;
  for (int64_t tile = blockIdx.x; tile < column_tiles * row_tiles; tile += gridDim.x) {
    const int64_t first_row = tile / column_tiles * kRows;
    const int64_t j = tile % column_tiles * kThreads + threadIdx.x;
    const int count = static_cast<int>(n - first_row < kRows ? n - first_row : kRows);
    __syncthreads();  // the rows of the last tile have been read by all
    if (threadIdx.x < count)
      rows[threadIdx.x] = prepare_box<Form>(boxes1 + 4 * (first_row + threadIdx.x));
    __syncthreads();
    if (j >= m) continue;
    const Box<T> b = prepare_box<Form>(boxes2 + 4 * j);
    for (int r = 0; r < count; ++r) out[(first_row + r) * m + j] = Form::value(rows[r], b, eps);
  }
}

template <class T>
__device__ void store(T* p, const BoxGradient<T>& g) {
  p[0] = g.x1;
  p[1] = g.y1;
  p[2] = g.x2;
  p[3] = g.y2;
}

template <class T>
__device__ T warp_sum(T v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v += __shfl_down_sync(kFullWarp, v, offset);
  return v;
}

// One warp an owner box: its lanes stride over the other boxes and add up in a fixed tree.
// kOfFirst: owners are boxes1 (rows of grad), otherwise boxes2 (columns).
template <class Form, bool kOfFirst, class T>
__global__ void pairwise_backward_kernel(const T* __restrict__ grad,    // [n, m]
                                         const T* __restrict__ boxes1,  // [n, 4]
                                         const T* __restrict__ boxes2,  // [m, 4]
                                         T* __restrict__ owner_grad,    // [n, 4] or [m, 4]
                                         int64_t n, int64_t m, T eps) {
  const int lane = threadIdx.x % kWarp;
  const int64_t owners = kOfFirst ? n : m, others = kOfFirst ? m : n;
  for (int64_t k = first_item() / kWarp; k < owners; k += item_stride() / kWarp) {
    const Box<T> owner = prepare_box<Form>((kOfFirst ? boxes1 : boxes2) + 4 * k);
    BoxGradient<T> mine, unused;
    for (int64_t other = lane; other < others; other += kWarp) {
      const Box<T> box = prepare_box<Form>((kOfFirst ? boxes2 : boxes1) + 4 * other);
      if constexpr (kOfFirst) {
        add_gradient<Form>(owner, box, eps, grad[k * m + other], mine, unused);
      } else {
        add_gradient<Form>(box, owner, eps, grad[other * m + k], unused, mine);
      }
    }
    mine = {warp_sum(mine.x1), warp_sum(mine.y1), warp_sum(mine.x2), warp_sum(mine.y2)};
    if (lane == 0) store(owner_grad + 4 * k, mine);
  }
}

// One thread a pair.
template <class Form, class T>
__global__ void aligned_loss_kernel(const T* __restrict__ boxes1,  // [n, 4]
                                    const T* __restrict__ boxes2,  // [n, 4]
                                    T* __restrict__ out,           // [n]
                                    int64_t n, T eps) {
  for (int64_t i = first_item(); i < n; i += item_stride())
    out[i] = T(1) -
             Form::value(prepare_box<Form>(boxes1 + 4 * i), prepare_box<Form>(boxes2 + 4 * i), eps);
}

// One thread a pair.
template <class Form, class T>
__global__ void aligned_loss_backward_kernel(const T* __restrict__ grad,    // [n]
                                             const T* __restrict__ boxes1,  // [n, 4]
                                             const T* __restrict__ boxes2,  // [n, 4]
                                             T* __restrict__ grad1,         // [n, 4]
                                             T* __restrict__ grad2,         // [n, 4]
                                             int64_t n, T eps) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    BoxGradient<T> ga, gb;
    add_gradient<Form>(prepare_box<Form>(boxes1 + 4 * i), prepare_box<Form>(boxes2 + 4 * i), eps,
                       -grad[i], ga, gb);
    store(grad1 + 4 * i, ga);
    store(grad2 + 4 * i, gb);
  }
}

}  // namespace

template <class Form, class T>
void pairwise_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m, T eps,
                   CudaStream stream) {
  if (n == 0 || m == 0) return;
  const int64_t tiles = ((m + kThreads - 1) / kThreads) * ((n + kRows - 1) / kRows);
  pairwise_kernel<Form>
      <<<blocks_for(tiles, 1), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, n, m, eps);
  check_launch("pairwise_kernel");
}

template <class Form, class T>
void pairwise_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                            int64_t n, int64_t m, T eps, CudaStream stream) {
  constexpr int kWarpsPerBlock = kThreads / kWarp;
  if (n > 0) {
    pairwise_backward_kernel<Form, true>
        <<<blocks_for(n, kWarpsPerBlock), kThreads, 0, native(stream)>>>(grad, boxes1, boxes2,
                                                                         grad1, n, m, eps);
    check_launch("pairwise_backward_kernel");
  }
  if (m > 0) {
    pairwise_backward_kernel<Form, false>
        <<<blocks_for(m, kWarpsPerBlock), kThreads, 0, native(stream)>>>(grad, boxes1, boxes2,
                                                                         grad2, n, m, eps);
    check_launch("pairwise_backward_kernel");
  }
}

template <class Form, class T>
void aligned_loss_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps,
                       CudaStream stream) {
  if (n == 0) return;
  aligned_loss_kernel<Form>
      <<<blocks_for(n), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, n, eps);
  check_launch("aligned_loss_kernel");
}

template <class Form, class T>
void aligned_loss_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                                int64_t n, T eps, CudaStream stream) {
  if (n == 0) return;
  aligned_loss_backward_kernel<Form>
      <<<blocks_for(n), kThreads, 0, native(stream)>>>(grad, boxes1, boxes2, grad1, grad2, n, eps);
  check_launch("aligned_loss_backward_kernel");
}

#define INSTANTIATE(Form, T)                                                                  \
  template void pairwise_cuda<Form>(const T*, const T*, T*, int64_t, int64_t, T, CudaStream); \
  template void pairwise_backward_cuda<Form>(const T*, const T*, const T*, T*, T*, int64_t,   \
                                             int64_t, T, CudaStream);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
#undef INSTANTIATE
#define INSTANTIATE(Form, T)                                                                       \
  template void aligned_loss_cuda<Form>(const T*, const T*, T*, int64_t, T, CudaStream);           \
  template void aligned_loss_backward_cuda<Form>(const T*, const T*, const T*, T*, T*, int64_t, T, \
                                                 CudaStream);
SIGHTLINE_LOSS_FORMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline
