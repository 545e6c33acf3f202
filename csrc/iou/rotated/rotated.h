// IoU of rotated boxes, of every pair or of aligned pairs, and its gradient.
//
// boxes are (cx, cy, w, h, angle); see common/rotated.h for the geometry and for bad boxes. T is
// float or double. Every function runs on the CPU with parallel_for, or on a CUDA stream; the
// forward bits are the same.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "common/rotated.h"

namespace sightline::iou::rotated {

// out[i, j] = IoU(boxes1[i], boxes2[j]).
template <class T>
void box_iou_rotated_cpu(const T* boxes1,  // [n, 5]
                         const T* boxes2,  // [m, 5]
                         T* out,           // [n, m]
                         int64_t n, int64_t m, AngleUnit unit, ParallelFor parallel_for);
template <class T>
void box_iou_rotated_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m,
                          AngleUnit unit, CudaStream stream);

// grad1[i] = sum over j of grad[i, j] * d out[i, j] / d boxes1[i], and grad2 likewise; summed in a
// fixed order.
template <class T>
void box_iou_rotated_backward_cpu(const T* grad,    // [n, m]
                                  const T* boxes1,  // [n, 5]
                                  const T* boxes2,  // [m, 5]
                                  T* grad1,         // [n, 5]
                                  T* grad2,         // [m, 5]
                                  int64_t n, int64_t m, AngleUnit unit, ParallelFor parallel_for);
template <class T>
void box_iou_rotated_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1,
                                   T* grad2, int64_t n, int64_t m, AngleUnit unit,
                                   CudaStream stream);

// out[i] = IoU(boxes1[i], boxes2[i]).
template <class T>
void aligned_box_iou_rotated_cpu(const T* boxes1,  // [n, 5]
                                 const T* boxes2,  // [n, 5]
                                 T* out,           // [n]
                                 int64_t n, AngleUnit unit, ParallelFor parallel_for);
template <class T>
void aligned_box_iou_rotated_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n,
                                  AngleUnit unit, CudaStream stream);

template <class T>
void aligned_box_iou_rotated_backward_cpu(const T* grad,    // [n]
                                          const T* boxes1,  // [n, 5]
                                          const T* boxes2,  // [n, 5]
                                          T* grad1,         // [n, 5]
                                          T* grad2,         // [n, 5]
                                          int64_t n, AngleUnit unit, ParallelFor parallel_for);
template <class T>
void aligned_box_iou_rotated_backward_cuda(const T* grad, const T* boxes1, const T* boxes2,
                                           T* grad1, T* grad2, int64_t n, AngleUnit unit,
                                           CudaStream stream);

}  // namespace sightline::iou::rotated
