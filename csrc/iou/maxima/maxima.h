// The largest entries of the IoU matrix of boxes1 (rows) and boxes2 (columns), which is never held.
//
// row_argmax[i] is the lowest column that reaches row_max[i], column_argmax[j] the lowest row that
// reaches column_max[j]; -1 where the largest IoU is 0. Values have the bits of iou_of() in
// common/box.h; see there for bad boxes, which overlap nothing. T is float or double; n and m are
// below 2^31.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::iou::maxima {

template <class T>
struct IouMaxima {
  T* row_max;              // [n]
  int64_t* row_argmax;     // [n]
  T* column_max;           // [m]
  int64_t* column_argmax;  // [m]

  // Of matrix i of a batch.
  IouMaxima at(int64_t i, int64_t n, int64_t m) const {
    return {row_max + n * i, row_argmax + n * i, column_max + m * i, column_argmax + m * i};
  }
};

// Memory is linear in n + m.
template <class T>
void box_iou_max_cpu(const T* boxes1,  // [n, 4]
                     const T* boxes2,  // [m, 4]
                     IouMaxima<T> out, int64_t n, int64_t m, ParallelFor parallel_for);

// The same, without synchronising.
template <class T>
void box_iou_max_cuda(const T* boxes1, const T* boxes2, IouMaxima<T> out, int64_t n, int64_t m,
                      CudaStream stream);

// The gradient of the values by the boxes: of each largest entry at its argument; nothing where
// that is -1. Sums have one owner and one order.
template <class T>
void box_iou_max_backward_cpu(const T* grad_row,             // [n]
                              const T* grad_column,          // [m]
                              const T* boxes1,               // [n, 4]
                              const T* boxes2,               // [m, 4]
                              const int64_t* row_argmax,     // [n], -1 <= . < m
                              const int64_t* column_argmax,  // [m], -1 <= . < n
                              T* grad1,                      // [n, 4]
                              T* grad2,                      // [m, 4]
                              int64_t n, int64_t m);
template <class T>
void box_iou_max_backward_cuda(const T* grad_row, const T* grad_column, const T* boxes1,
                               const T* boxes2, const int64_t* row_argmax,
                               const int64_t* column_argmax, T* grad1, T* grad2, int64_t n,
                               int64_t m, CudaStream stream);

}  // namespace sightline::iou::maxima
