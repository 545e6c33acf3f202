// NMS of every image of a batch with outputs of a fixed size: what nms/greedy/greedy.h keeps of
// each image, best first, cut to the max_detections best.
#pragma once

#include <cstdint>
#include <optional>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::nms::padded {

struct PaddedShape {
  int64_t images, boxes;  // boxes of an image
  int64_t max_detections;
};

// With a score threshold only boxes with scores > it take part, so that NaN is none; without one
// all do. T and S are float or double, each on its own.
template <class T, class S>
void nms_padded_cpu(const T* boxes,       // [images, boxes, 4]
                    const S* scores,      // [images, boxes]
                    const int64_t* idxs,  // [images, boxes], or null: one segment per image
                    int64_t* indices,     // [images, max_detections]; -1 past the count
                    int64_t* counts,      // [images]
                    PaddedShape shape, T iou_threshold, std::optional<S> score_threshold,
                    ParallelFor parallel_for);

// The same. Does not synchronise, and can be captured in a CUDA graph. workspace:
// nms_padded_workspace_bytes<S>(shape) bytes on the device, aligned to 256, linear in the boxes.
template <class T, class S>
void nms_padded_cuda(const T* boxes, const S* scores, const int64_t* idxs, int64_t* indices,
                     int64_t* counts, PaddedShape shape, T iou_threshold,
                     std::optional<S> score_threshold, void* workspace, CudaStream stream);
template <class S>
int64_t nms_padded_workspace_bytes(PaddedShape shape);

}  // namespace sightline::nms::padded
