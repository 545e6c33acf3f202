// Greedy non-maximum suppression of rotated boxes: of all boxes, best first, one is kept unless a
// kept box before it overlaps it by more than the threshold.
//
// Order: score descending, equal scores by ascending index, NaN last. A box is suppressed where
// rotated_iou(kept, box) > threshold, both in T; see common/rotated.h for the geometry and for bad
// boxes, which overlap nothing. T is the type of boxes, S that of scores: float or double.
#pragma once

#include <cstdint>
#include <vector>

#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "common/rotated.h"

namespace sightline::nms::rotated {

// The indices of the boxes that are kept, best first. Boxes with different idxs never suppress each
// other; without idxs all are of one segment. Memory is linear in n.
template <class T, class S>
std::vector<int64_t> nms_rotated_cpu(const T* boxes,       // [n, 5]
                                     const S* scores,      // [n]
                                     const int64_t* idxs,  // [n], or null
                                     int64_t n, T threshold, AngleUnit unit,
                                     ParallelFor parallel_for);

// Writes the same to keep and returns how many they are. Synchronises the stream once, at the end,
// to know that. workspace: nms_rotated_workspace_bytes<T, S>(n) bytes on the device, aligned to
// 256.
template <class T, class S>
int64_t nms_rotated_cuda(const T* boxes, const S* scores, const int64_t* idxs,
                         int64_t* keep,  // [n]
                         int64_t n, T threshold, AngleUnit unit, void* workspace,
                         CudaStream stream);
template <class T, class S>
int64_t nms_rotated_workspace_bytes(int64_t n);

}  // namespace sightline::nms::rotated
