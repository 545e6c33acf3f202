// Boxes as deltas against anchors, and back. See coder.h for the formula and for boxes without
// size.
//
// Row i of the n rows goes with anchor i % m, so that one set of anchors serves a batch: m divides
// n. Boxes and anchors are xyxy. T is float or double. Every function runs on the CPU with
// parallel_for, or on a CUDA stream; the forward bits are the same.
#pragma once

#include <cstdint>

#include "boxes/coder/formulas.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::boxes::coder {

template <class T>
void encode_boxes_cpu(const T* boxes,    // [n, 4]
                      const T* anchors,  // [m, 4]
                      T* deltas,         // [n, 4]
                      int64_t n, int64_t m, const BoxCoding<T>& coding, ParallelFor parallel_for);
template <class T>
void encode_boxes_cuda(const T* boxes, const T* anchors, T* deltas, int64_t n, int64_t m,
                       const BoxCoding<T>& coding, CudaStream stream);

template <class T>
void decode_boxes_cpu(const T* deltas,   // [n, 4]
                      const T* anchors,  // [m, 4]
                      T* boxes,          // [n, 4]
                      int64_t n, int64_t m, const BoxCoding<T>& coding, ParallelFor parallel_for);
template <class T>
void decode_boxes_cuda(const T* deltas, const T* anchors, T* boxes, int64_t n, int64_t m,
                       const BoxCoding<T>& coding, CudaStream stream);

// The gradients of a row by its two inputs. grad_anchors is the row's own part, not yet summed over
// the rows that share an anchor.
template <class T>
void encode_boxes_backward_cpu(const T* grad,     // [n, 4]
                               const T* boxes,    // [n, 4]
                               const T* anchors,  // [m, 4]
                               T* grad_boxes,     // [n, 4]
                               T* grad_anchors,   // [n, 4]
                               int64_t n, int64_t m, const BoxCoding<T>& coding,
                               ParallelFor parallel_for);
template <class T>
void encode_boxes_backward_cuda(const T* grad, const T* boxes, const T* anchors, T* grad_boxes,
                                T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                                CudaStream stream);

template <class T>
void decode_boxes_backward_cpu(const T* grad,     // [n, 4]
                               const T* deltas,   // [n, 4]
                               const T* anchors,  // [m, 4]
                               T* grad_deltas,    // [n, 4]
                               T* grad_anchors,   // [n, 4]
                               int64_t n, int64_t m, const BoxCoding<T>& coding,
                               ParallelFor parallel_for);
template <class T>
void decode_boxes_backward_cuda(const T* grad, const T* deltas, const T* anchors, T* grad_deltas,
                                T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                                CudaStream stream);

}  // namespace sightline::boxes::coder
