// The k largest entries of every row of the IoU matrix of boxes1 (rows) and boxes2 (columns), which
// is never held.
//
// Order: IoU descending, equal ones by ascending column. Only IoUs above 0 count; a row with fewer
// than k is filled up with 0 and -1. Values have the bits of iou_of() in common/box.h; see there
// for bad boxes, which overlap nothing. T is float or double; n and m are below 2^31.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::iou::topk {

// Memory is linear in n * k + m.
template <class T>
void box_iou_topk_cpu(const T* boxes1,   // [n, 4]
                      const T* boxes2,   // [m, 4]
                      T* values,         // [n, k]
                      int64_t* indices,  // [n, k]
                      int64_t n, int64_t m, int64_t k, ParallelFor parallel_for);

// The same, without synchronising or a workspace; time is n * m * k.
template <class T>
void box_iou_topk_cuda(const T* boxes1, const T* boxes2, T* values, int64_t* indices, int64_t n,
                       int64_t m, int64_t k, CudaStream stream);

}  // namespace sightline::iou::topk
