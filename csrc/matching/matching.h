// Assignment of anchors to objects by their IoU, without the anchors x objects matrix.
//
// The best object of an anchor is the first of the highest IoU. At or above the high threshold the
// anchor takes it (its index within the image), below the low one it is background (-1), between
// them neither (-2). Low-quality matches: an anchor whose IoU with some object equals that object's
// highest IoU over all anchors of the image takes its own best object whatever the thresholds.
//
// An IoU of 0 matches nothing unless zero_matches is set, which is what torchvision and detectron2
// do: an object that no anchor overlaps then makes every anchor of IoU 0 with it a match.
// T is float or double; anchors and objects are below 2^31. Memory is linear: anchors + objects.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline {

inline constexpr int64_t kBackground = -1;
inline constexpr int64_t kBetween = -2;

template <class T>
struct MatchRule {
  T high, low;
  bool allow_low_quality, zero_matches;

  // Whether an object whose highest IoU is this restores the anchors that reach it.
  SIGHTLINE_HD bool restores(T highest_of_object) const {
    return allow_low_quality && (highest_of_object > T(0) || zero_matches);
  }
  // best is the anchor's highest IoU, or -1 in an image without objects.
  SIGHTLINE_HD int64_t outcome(T best, int64_t object, bool restored) const {
    if (restored || (best >= high && (best > T(0) || zero_matches))) return object;
    return best >= low && best < high ? kBetween : kBackground;
  }
};

template <class T>
void match_anchors_cpu(const T* anchors,        // [num_anchors, 4]
                       const T* gt_boxes,       // [offsets[images], 4], of all images
                       const int64_t* offsets,  // [images + 1], ascending from 0
                       int64_t* matches,        // [images, num_anchors]
                       int64_t num_anchors, int64_t images, MatchRule<T> rule,
                       ParallelFor parallel_for);

// The same, without synchronising. offsets cannot be checked there: they are clamped to
// [0, num_objects]. workspace: match_anchors_workspace_bytes<T>(...) bytes on the device, aligned
// to 256.
template <class T>
void match_anchors_cuda(const T* anchors, const T* gt_boxes, const int64_t* offsets,
                        int64_t* matches, int64_t num_anchors, int64_t num_objects, int64_t images,
                        MatchRule<T> rule, void* workspace, CudaStream stream);
template <class T>
int64_t match_anchors_workspace_bytes(int64_t num_anchors, int64_t num_objects, int64_t images);

}  // namespace sightline
