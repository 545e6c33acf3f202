#include "common/cuda.h"
#include "iou/gradient.h"
#include "iou/pairwise/pairwise.h"

namespace sightline::iou::pairwise {
namespace {

constexpr int kRows = 8;     // rows of a tile, each thread of a block goes through them
constexpr int kColumns = 4;  // neighbouring columns of a thread
constexpr int kTileColumns = kColumns * kThreads;

template <class T>
struct alignas(16) Quad {
  T values[kColumns];
};

// One thread four columns of a tile of kRows x kTileColumns pairs; the tile's rows are prepared
// once, in shared memory. kWide: every row of out begins at 16 bytes.
template <class Form, bool kWide, class T>
__global__ void pairwise_kernel(const T* __restrict__ boxes1,  // [batch, n, 4] or [n, 4]
                                const T* __restrict__ boxes2,  // [batch, m, 4] or [m, 4]
                                T* __restrict__ out,           // [batch, n, m]
                                PairShape shape, T eps) {
  __shared__ PreparedBox<T> rows[kRows];
  const int64_t n = shape.n, m = shape.m;
  const int64_t column_tiles = (m + kTileColumns - 1) / kTileColumns;
  const int64_t row_tiles = (n + kRows - 1) / kRows;
  const int64_t tiles = shape.batch * row_tiles * column_tiles;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t b = tile / (row_tiles * column_tiles);
    const int64_t first_row = tile / column_tiles % row_tiles * kRows;
    const int64_t j = tile % column_tiles * kTileColumns + threadIdx.x * kColumns;
    const int count = static_cast<int>(n - first_row < kRows ? n - first_row : kRows);
    __syncthreads();  // the rows of the last tile have been read by all
    if (threadIdx.x < count)
      rows[threadIdx.x] =
          prepare_box<Form>(boxes1 + 4 * (shape.first_box1(b) + first_row + threadIdx.x));
    __syncthreads();
    if (j >= m) continue;
    PreparedBox<T> columns[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; ++c)  // past the end: the last column again, never written
      columns[c] =
          prepare_box<Form>(boxes2 + 4 * (shape.first_box2(b) + (j + c < m ? j + c : m - 1)));
    for (int r = 0; r < count; ++r) {
      T* const p = out + (b * n + first_row + r) * m + j;
      Quad<T> quad;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) quad.values[c] = Form::value(rows[r], columns[c], eps);
      if (kWide && j + kColumns <= m) {
        *reinterpret_cast<Quad<T>*>(p) = quad;
        continue;
      }
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        if (j + c < m) p[c] = quad.values[c];
    }
  }
}

template <class T>
__device__ void store(T* p, const BoxGradient<T>& g) {
  p[0] = g.x1;
  p[1] = g.y1;
  p[2] = g.x2;
  p[3] = g.y2;
}

// One warp per owner box: its lanes stride over the other boxes and add up in a fixed tree.
// kOfFirst: owners are boxes1 (rows of grad), otherwise boxes2 (columns).
template <class Form, bool kOfFirst, class T>
__global__ void pairwise_backward_kernel(const T* __restrict__ grad,    // [batch, n, m]
                                         const T* __restrict__ boxes1,  // [batch, n, 4] or [n, 4]
                                         const T* __restrict__ boxes2,  // [batch, m, 4] or [m, 4]
                                         T* __restrict__ owner_grad,  // [batch, n, 4] or [.., m, 4]
                                         PairShape shape, T eps) {
  const int lane = threadIdx.x % kWarp;
  const int64_t m = shape.m;
  const int64_t owners = kOfFirst ? shape.n : m, others = kOfFirst ? m : shape.n;
  for (int64_t w = first_item() / kWarp; w < shape.batch * owners; w += item_stride() / kWarp) {
    const int64_t b = w / owners, k = w % owners;
    const T* const first = boxes1 + 4 * shape.first_box1(b);
    const T* const second = boxes2 + 4 * shape.first_box2(b);
    const T* const g = grad + b * shape.n * m;
    const PreparedBox<T> owner = prepare_box<Form>((kOfFirst ? first : second) + 4 * k);
    BoxGradient<T> mine, unused;
    for (int64_t other = lane; other < others; other += kWarp) {
      const PreparedBox<T> box = prepare_box<Form>((kOfFirst ? second : first) + 4 * other);
      if constexpr (kOfFirst) {
        add_gradient<Form>(owner, box, eps, g[k * m + other], mine, unused);
      } else {
        add_gradient<Form>(box, owner, eps, g[other * m + k], unused, mine);
      }
    }
    mine = {warp_sum(mine.x1), warp_sum(mine.y1), warp_sum(mine.x2), warp_sum(mine.y2)};
    if (lane == 0) store(owner_grad + 4 * w, mine);
  }
}

// One thread per pair.
template <class Form, class T>
__global__ void aligned_kernel(const T* __restrict__ boxes1,  // [n, 4]
                               const T* __restrict__ boxes2,  // [n, 4]
                               T* __restrict__ out,           // [n]
                               int64_t n, T eps) {
  for (int64_t i = first_item(); i < n; i += item_stride())
    out[i] = aligned_value<Form>(prepare_box<Form>(boxes1 + 4 * i),
                                 prepare_box<Form>(boxes2 + 4 * i), eps);
}

// One thread per pair.
template <class Form, class T>
__global__ void aligned_backward_kernel(const T* __restrict__ grad,    // [n]
                                        const T* __restrict__ boxes1,  // [n, 4]
                                        const T* __restrict__ boxes2,  // [n, 4]
                                        T* __restrict__ grad1,         // [n, 4]
                                        T* __restrict__ grad2,         // [n, 4]
                                        int64_t n, T eps) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    BoxGradient<T> ga, gb;
    add_gradient<Form>(prepare_box<Form>(boxes1 + 4 * i), prepare_box<Form>(boxes2 + 4 * i), eps,
                       Form::kIsLoss ? -grad[i] : grad[i], ga, gb);
    store(grad1 + 4 * i, ga);
    store(grad2 + 4 * i, gb);
  }
}

}  // namespace

template <class Form, class T>
void pairwise_cuda(const T* boxes1, const T* boxes2, T* out, PairShape shape, T eps,
                   CudaStream stream) {
  if (shape.batch == 0 || shape.n == 0 || shape.m == 0) return;
  const int64_t tiles =
      shape.batch * ((shape.m + kTileColumns - 1) / kTileColumns) * ((shape.n + kRows - 1) / kRows);
  const bool wide = shape.m % kColumns == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  const auto kernel = wide ? pairwise_kernel<Form, true, T> : pairwise_kernel<Form, false, T>;
  kernel<<<blocks_for(tiles, 1), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, shape, eps);
  check_launch("pairwise_kernel");
}

template <class Form, class T>
void pairwise_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                            PairShape shape, T eps, CudaStream stream) {
  constexpr int kWarpsPerBlock = kThreads / kWarp;
  if (shape.batch * shape.n > 0) {
    pairwise_backward_kernel<Form, true>
        <<<blocks_for(shape.batch * shape.n, kWarpsPerBlock), kThreads, 0, native(stream)>>>(
            grad, boxes1, boxes2, grad1, shape, eps);
    check_launch("pairwise_backward_kernel");
  }
  if (shape.batch * shape.m > 0) {
    pairwise_backward_kernel<Form, false>
        <<<blocks_for(shape.batch * shape.m, kWarpsPerBlock), kThreads, 0, native(stream)>>>(
            grad, boxes1, boxes2, grad2, shape, eps);
    check_launch("pairwise_backward_kernel");
  }
}

template <class Form, class T>
void aligned_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps, CudaStream stream) {
  if (n == 0) return;
  aligned_kernel<Form><<<blocks_for(n), kThreads, 0, native(stream)>>>(boxes1, boxes2, out, n, eps);
  check_launch("aligned_kernel");
}

template <class Form, class T>
void aligned_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                           int64_t n, T eps, CudaStream stream) {
  if (n == 0) return;
  aligned_backward_kernel<Form>
      <<<blocks_for(n), kThreads, 0, native(stream)>>>(grad, boxes1, boxes2, grad1, grad2, n, eps);
  check_launch("aligned_backward_kernel");
}

#define INSTANTIATE(Form, T)                                                                     \
  template void pairwise_cuda<Form>(const T*, const T*, T*, PairShape, T, CudaStream);           \
  template void pairwise_backward_cuda<Form>(const T*, const T*, const T*, T*, T*, PairShape, T, \
                                             CudaStream);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
#undef INSTANTIATE
#define INSTANTIATE(Form, T)                                                                  \
  template void aligned_cuda<Form>(const T*, const T*, T*, int64_t, T, CudaStream);           \
  template void aligned_backward_cuda<Form>(const T*, const T*, const T*, T*, T*, int64_t, T, \
                                            CudaStream);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
SIGHTLINE_LOSS_FORMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::iou::pairwise
