// Overlap of boxes: matrices of every pair, and values of aligned pairs. Form is a type of forms.h.
//
// boxes are xyxy; see common/box.h for bad boxes. T is float or double.
// Every function runs on the CPU with parallel_for, or on a CUDA stream; the forward bits are the
// same.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "iou/forms.h"

namespace sightline::iou::pairwise {

// Matrices of a batch. Boxes that are shared are given once for all elements.
struct PairShape {
  int64_t batch, n, m;
  bool shared1 = false, shared2 = false;

  SIGHTLINE_HD int64_t first_box1(int64_t b) const { return shared1 ? 0 : b * n; }
  SIGHTLINE_HD int64_t first_box2(int64_t b) const { return shared2 ? 0 : b * m; }
};

// out[b, i, j] = Form(boxes1[b, i], boxes2[b, j]).
template <class Form, class T>
void pairwise_cpu(const T* boxes1,  // [batch, n, 4], or [n, 4] where shared
                  const T* boxes2,  // [batch, m, 4], or [m, 4] where shared
                  T* out,           // [batch, n, m]
                  PairShape shape, T eps,
                  bool fresh,  // out was never written: its pages pass through the caches anyway
                  ParallelFor parallel_for);
template <class Form, class T>
void pairwise_cuda(const T* boxes1, const T* boxes2, T* out, PairShape shape, T eps,
                   CudaStream stream);

// grad1[b, i] = sum over j of grad[b, i, j] * d out[b, i, j] / d boxes1[b, i], and grad2 likewise;
// summed in a fixed order. Shared boxes get a gradient for each element.
template <class Form, class T>
void pairwise_backward_cpu(const T* grad,    // [batch, n, m]
                           const T* boxes1,  // [batch, n, 4], or [n, 4] where shared
                           const T* boxes2,  // [batch, m, 4], or [m, 4] where shared
                           T* grad1,         // [batch, n, 4]
                           T* grad2,         // [batch, m, 4]
                           PairShape shape, T eps, ParallelFor parallel_for);
template <class Form, class T>
void pairwise_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                            PairShape shape, T eps, CudaStream stream);

// out[i] = Form(boxes1[i], boxes2[i]), and 1 less that where Form is of a loss.
template <class Form, class T>
void aligned_cpu(const T* boxes1,  // [n, 4]
                 const T* boxes2,  // [n, 4]
                 T* out,           // [n]
                 int64_t n, T eps, ParallelFor parallel_for);
template <class Form, class T>
void aligned_cuda(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps, CudaStream stream);

template <class Form, class T>
void aligned_backward_cpu(const T* grad,    // [n]
                          const T* boxes1,  // [n, 4]
                          const T* boxes2,  // [n, 4]
                          T* grad1,         // [n, 4]
                          T* grad2,         // [n, 4]
                          int64_t n, T eps, ParallelFor parallel_for);
template <class Form, class T>
void aligned_backward_cuda(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                           int64_t n, T eps, CudaStream stream);

// Every instance that cpu.cpp, cpu_backward.cpp and cuda.cu hold.
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

}  // namespace sightline::iou::pairwise
