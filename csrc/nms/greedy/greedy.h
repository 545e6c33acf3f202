// Greedy non-maximum suppression: of all boxes, best first, one is kept unless a kept box before it
// overlaps it by more than the threshold.
//
// Order: score descending, equal scores by ascending index, NaN last. A box is suppressed where
// iou_of(kept, box) > threshold, both in T; see common/box.h for bad boxes, which overlap nothing.
// T is the type of boxes, S that of scores: float or double, each on its own.
#pragma once

#include <cstdint>
#include <vector>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::nms::greedy {

// The indices of the boxes that are kept, best first. Boxes with different idxs never suppress each
// other; without idxs all are of one segment. Memory is linear in n.
template <class T, class S>
std::vector<int64_t> nms_cpu(const T* boxes,       // [n, 4]
                             const S* scores,      // [n]
                             const int64_t* idxs,  // [n], or null
                             int64_t n, T threshold, ParallelFor parallel_for);

// Writes the same to keep and returns how many they are. Synchronises the stream once, at the end,
// to know that. workspace: nms_workspace_bytes<T, S>(n) bytes on the device, aligned to 256.
template <class T, class S>
int64_t nms_cuda(const T* boxes, const S* scores, const int64_t* idxs,
                 int64_t* keep,  // [n]
                 int64_t n, T threshold, void* workspace, CudaStream stream);
template <class T, class S>
int64_t nms_workspace_bytes(int64_t n);

// The same, and for each box the index of the first kept box, in their order, that suppresses it;
// -1 where the box itself is kept.
template <class T, class S>
std::vector<int64_t> nms_suppressed_by_cpu(const T* boxes, const S* scores, const int64_t* idxs,
                                           int64_t* suppressed_by,  // [n]
                                           int64_t n, T threshold, ParallelFor parallel_for);
// As nms_cuda, and with its workspace.
template <class T, class S>
int64_t nms_suppressed_by_cuda(const T* boxes, const S* scores, const int64_t* idxs,
                               int64_t* keep,           // [n]
                               int64_t* suppressed_by,  // [n]
                               int64_t n, T threshold, void* workspace, CudaStream stream);

}  // namespace sightline::nms::greedy
