// From raw scores of every anchor and class to the detections of every image, in fixed-size
// outputs.
//
// Candidates have a score > score_threshold, so NaN is none; of an image's candidates the pre_top_k
// best stay; each class, or with `agnostic` each image, is suppressed for itself as in
// greedy/greedy.h; the max_detections best of what is kept come out, best first. Ties go by
// ascending flat index, which is anchor * classes + label. Rows past counts[image] hold 0, 0 and
// -1.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/macros.h"
#include "common/parallel.h"

namespace sightline::nms::multiclass {

struct MulticlassShape {
  int64_t images, anchors, classes;
  bool boxes_per_class;  // boxes are [images, anchors, classes, 4], not [images, anchors, 4]
  int64_t max_detections;
  int64_t pre_top_k;      // at least 1
  bool agnostic = false;  // boxes of different classes suppress each other

  // Of an image: its scores by flat % segments() are suppressed each for themselves.
  SIGHTLINE_HD int64_t segments() const { return agnostic ? 1 : classes; }
  SIGHTLINE_HD int64_t segment_size() const { return agnostic ? scores_per_image() : anchors; }
  SIGHTLINE_HD int64_t scores_per_image() const { return anchors * classes; }
  SIGHTLINE_HD int64_t box_offset(int64_t image, int64_t flat) const {
    return 4 *
           (boxes_per_class ? image * scores_per_image() + flat : image * anchors + flat / classes);
  }
};

// T and S are float or double, each on its own. Memory is linear in max_detections, and in the
// number of candidates that are looked at before an image has as many.
template <class T, class S>
void multiclass_nms_cpu(const T* boxes,       // [images, anchors, (classes,) 4]
                        const S* scores,      // [images, anchors, classes]
                        T* out_boxes,         // [images, max_detections, 4]
                        S* out_scores,        // [images, max_detections]
                        int64_t* out_labels,  // [images, max_detections]
                        int64_t* out_counts,  // [images]
                        MulticlassShape shape, S score_threshold, T iou_threshold,
                        ParallelFor parallel_for);

// The same bits, without synchronising. Memory is linear in the number of scores, and where
// pre_top_k is smaller than anchors in images * classes * pre_top_k. workspace:
// multiclass_nms_workspace_bytes<S>(shape) bytes on the device, aligned to 256.
template <class T, class S>
void multiclass_nms_cuda(const T* boxes, const S* scores, T* out_boxes, S* out_scores,
                         int64_t* out_labels, int64_t* out_counts, MulticlassShape shape,
                         S score_threshold, T iou_threshold, void* workspace, CudaStream stream);
template <class S>
int64_t multiclass_nms_workspace_bytes(MulticlassShape shape);

}  // namespace sightline::nms::multiclass
