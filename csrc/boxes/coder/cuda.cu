#include "boxes/coder/coder.h"
#include "common/cuda.h"

namespace sightline::boxes::coder {
namespace {

template <class T>
__device__ Span<T> span(const T* row, int axis) {
  return {row[axis], row[2 + axis]};
}
template <class T>
__device__ Delta<T> delta(const T* row, int axis) {
  return {row[axis], row[2 + axis]};
}

// One thread per row.
template <class T>
__global__ void encode_kernel(const T* __restrict__ boxes,    // [n, 4]
                              const T* __restrict__ anchors,  // [m, 4]
                              T* __restrict__ deltas,         // [n, 4]
                              int64_t n, int64_t m, BoxCoding<T> coding) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    for (int axis = 0; axis < 2; ++axis) {
      const Delta<T> d = box_coder::encode(span(boxes + 4 * i, axis),
                                           span(anchors + 4 * (i % m), axis), coding.weight(axis));
      deltas[4 * i + axis] = d.shift;
      deltas[4 * i + 2 + axis] = d.scale;
    }
  }
}

// One thread per row.
template <class T>
__global__ void decode_kernel(const T* __restrict__ deltas,   // [n, 4]
                              const T* __restrict__ anchors,  // [m, 4]
                              T* __restrict__ boxes,          // [n, 4]
                              int64_t n, int64_t m, BoxCoding<T> coding) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    for (int axis = 0; axis < 2; ++axis) {
      const Span<T> b = box_coder::decode(delta(deltas + 4 * i, axis),
                                          span(anchors + 4 * (i % m), axis), coding.weight(axis));
      const T limit = coding.limit(axis);
      boxes[4 * i + axis] = coding.clip ? box_coder::clipped(b.low, limit) : b.low;
      boxes[4 * i + 2 + axis] = coding.clip ? box_coder::clipped(b.high, limit) : b.high;
    }
  }
}

// One thread per row.
template <class T>
__global__ void encode_backward_kernel(const T* __restrict__ grad,     // [n, 4]
                                       const T* __restrict__ boxes,    // [n, 4]
                                       const T* __restrict__ anchors,  // [m, 4]
                                       T* __restrict__ grad_boxes,     // [n, 4]
                                       T* __restrict__ grad_anchors,   // [n, 4]
                                       int64_t n, int64_t m, BoxCoding<T> coding) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    for (int axis = 0; axis < 2; ++axis) {
      Span<T> gb, ga;
      box_coder::encode_backward(delta(grad + 4 * i, axis), span(boxes + 4 * i, axis),
                                 span(anchors + 4 * (i % m), axis), coding.weight(axis), gb, ga);
      grad_boxes[4 * i + axis] = gb.low;
      grad_boxes[4 * i + 2 + axis] = gb.high;
      grad_anchors[4 * i + axis] = ga.low;
      grad_anchors[4 * i + 2 + axis] = ga.high;
    }
  }
}

// One thread per row.
template <class T>
__global__ void decode_backward_kernel(const T* __restrict__ grad,     // [n, 4]
                                       const T* __restrict__ deltas,   // [n, 4]
                                       const T* __restrict__ anchors,  // [m, 4]
                                       T* __restrict__ grad_deltas,    // [n, 4]
                                       T* __restrict__ grad_anchors,   // [n, 4]
                                       int64_t n, int64_t m, BoxCoding<T> coding) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    for (int axis = 0; axis < 2; ++axis) {
      Delta<T> gd;
      Span<T> ga;
      box_coder::decode_backward(span(grad + 4 * i, axis), delta(deltas + 4 * i, axis),
                                 span(anchors + 4 * (i % m), axis), coding.weight(axis),
                                 coding.clip, coding.limit(axis), gd, ga);
      grad_deltas[4 * i + axis] = gd.shift;
      grad_deltas[4 * i + 2 + axis] = gd.scale;
      grad_anchors[4 * i + axis] = ga.low;
      grad_anchors[4 * i + 2 + axis] = ga.high;
    }
  }
}

}  // namespace

template <class T>
void encode_boxes_cuda(const T* boxes, const T* anchors, T* deltas, int64_t n, int64_t m,
                       const BoxCoding<T>& coding, CudaStream stream) {
  if (n == 0) return;
  encode_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(boxes, anchors, deltas, n, m,
                                                                coding);
  check_launch("encode_kernel");
}

template <class T>
void decode_boxes_cuda(const T* deltas, const T* anchors, T* boxes, int64_t n, int64_t m,
                       const BoxCoding<T>& coding, CudaStream stream) {
  if (n == 0) return;
  decode_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(deltas, anchors, boxes, n, m,
                                                                coding);
  check_launch("decode_kernel");
}

template <class T>
void encode_boxes_backward_cuda(const T* grad, const T* boxes, const T* anchors, T* grad_boxes,
                                T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                                CudaStream stream) {
  if (n == 0) return;
  encode_backward_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(
      grad, boxes, anchors, grad_boxes, grad_anchors, n, m, coding);
  check_launch("encode_backward_kernel");
}

template <class T>
void decode_boxes_backward_cuda(const T* grad, const T* deltas, const T* anchors, T* grad_deltas,
                                T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                                CudaStream stream) {
  if (n == 0) return;
  decode_backward_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(
      grad, deltas, anchors, grad_deltas, grad_anchors, n, m, coding);
  check_launch("decode_backward_kernel");
}

#define INSTANTIATE(T)                                                                             \
  template void encode_boxes_cuda(const T*, const T*, T*, int64_t, int64_t, const BoxCoding<T>&,   \
                                  CudaStream);                                                     \
  template void decode_boxes_cuda(const T*, const T*, T*, int64_t, int64_t, const BoxCoding<T>&,   \
                                  CudaStream);                                                     \
  template void encode_boxes_backward_cuda(const T*, const T*, const T*, T*, T*, int64_t, int64_t, \
                                           const BoxCoding<T>&, CudaStream);                       \
  template void decode_boxes_backward_cuda(const T*, const T*, const T*, T*, T*, int64_t, int64_t, \
                                           const BoxCoding<T>&, CudaStream);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::boxes::coder
