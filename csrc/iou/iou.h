// Overlap of boxes: matrices of every pair, and losses of aligned pairs. Form is a type of forms.h.
//
// boxes are xyxy; see common/box.h for bad boxes. T is float or double.
// Every function runs on the CPU with parallel_for, or on a CUDA stream; the forward bits are the
// same.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "iou/forms.h"

namespace sightline {

// out[i, j] = Form(boxes1[i], boxes2[j]).
template <class Form, class T>
void pairwise_cpu(const T* boxes1,  // [n, 4]
                  const T* boxes2,  // [m, 4]
                  T* out,           // [n, m]
                  int64_t n, int64_t m, T eps, ParallelFor parallel_for);
template <class Form, class T>
void pairwise_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m, T eps,
                   CudaStream stream);

// grad1[i] = sum over j of grad[i, j] * d out[i, j] / d boxes1[i], and grad2 likewise; summed in a
// fixed order.
template <class Form, class T>
void pairwise_backward_cpu(const T* grad,    // [n, m]
                           const T* boxes1,  // [n, 4]
                           const T* boxes2,  // [m, 4]
                           T* grad1,         // [n, 4]
                           T* grad2,         // [m, 4]
                           int64_t n, int64_t m, T eps, ParallelFor parallel_for);
template <class Form, class T>
void pairwise_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                            int64_t n, int64_t m, T eps, CudaStream stream);

// out[i] = 1 - Form(boxes1[i], boxes2[i]).
template <class Form, class T>
void aligned_loss_cpu(const T* boxes1,  // [n, 4]
                      const T* boxes2,  // [n, 4]
                      T* out,           // [n]
                      int64_t n, T eps, ParallelFor parallel_for);
template <class Form, class T>
void aligned_loss_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps,
                       CudaStream stream);

template <class Form, class T>
void aligned_loss_backward_cpu(const T* grad,    // [n]
                               const T* boxes1,  // [n, 4]
                               const T* boxes2,  // [n, 4]
                               T* grad1,         // [n, 4]
                               T* grad2,         // [n, 4]
                               int64_t n, T eps, ParallelFor parallel_for);
template <class Form, class T>
void aligned_loss_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                                int64_t n, T eps, CudaStream stream);

// Every instance that cpu.cpp and cuda.cu hold.
#define SIGHTLINE_MATRIX_FORMS(X) \
  X(BoxIou, float)                \
  X(BoxIou, double)               \
  X(BoxIoa, float)                \
  X(BoxIoa, double)               \
  X(GeneralizedBoxIou, float)     \
  X(GeneralizedBoxIou, double)    \
  X(DistanceBoxIou, float)        \
  X(DistanceBoxIou, double)       \
  X(CompleteBoxIou, float)        \
  X(CompleteBoxIou, double)
#define SIGHTLINE_LOSS_FORMS(X)    \
  X(GeneralizedBoxIouLoss, float)  \
  X(GeneralizedBoxIouLoss, double) \
  X(DistanceBoxIouLoss, float)     \
  X(DistanceBoxIouLoss, double)    \
  X(CompleteBoxIouLoss, float)     \
  X(CompleteBoxIouLoss, double)

}  // namespace sightline
