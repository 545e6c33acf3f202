// Assignment of anchors to objects by their IoU, without the anchors x objects matrix.
//
// An anchor of which more than a share of its own area lies in one ignore region is ignored (-2)
// and held against no object. The best object of any other anchor is the first of the highest IoU.
// At or above the high threshold the anchor takes it (its row in gt_boxes), below the low one it is
// background (-1), between them neither (-2). Low-quality matches: an object takes the anchors
// whose IoU with it is the highest that it has with any (with first_anchor_only the lowest of
// them), if that is at least min_positive. Such an anchor gets its own best object, or with
// takes_that_object the last object that takes it.
//
// An IoU of 0 matches nothing unless zero_matches is set, which is what torchvision, detectron2 and
// mmdetection do: an object that no anchor overlaps then takes every anchor of IoU 0 with it.
//
// A box that lies nowhere is no object. T is float or double; anchors and objects are below 2^31.
// Memory is linear: anchors + objects.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::assign::max_iou {

inline constexpr int64_t kBackground = -1;
inline constexpr int64_t kNeither = -2;  // between the thresholds, or ignored

template <class T>
struct MatchRule {
  T high, low, min_positive, ignore;
  bool allow_low_quality;
  bool first_anchor_only;
  bool zero_matches;
  bool takes_that_object;  // a low-quality match gets the object that takes it, not its own best

  // Whether an object whose highest IoU is this takes the anchors that reach it.
  SIGHTLINE_HD bool restores(T highest_of_object) const {
    return allow_low_quality & (highest_of_object >= min_positive) &
           (highest_of_object > T(0) || zero_matches);
  }
  // best is the anchor's highest IoU, or -1 in an image without objects; restoring the last object
  // that takes the anchor, or -1.
  template <class Int>
  SIGHTLINE_HD Int outcome(T best, Int object, Int restoring) const {
    const bool matched = (best >= high) & ((best > T(0)) | zero_matches);
    const bool between = (best >= low) & (best < high);
    const Int by_threshold = matched ? object : between ? Int(kNeither) : Int(kBackground);
    return restoring < 0 ? by_threshold : takes_that_object ? restoring : object;
  }
};

struct MatchShape {
  int64_t anchors, images, objects, regions;
};

template <class T>
struct MatchInput {
  const T* anchors;       // [anchors, 4]
  const T* gt_boxes;      // [images, objects, 4]
  const T* ignore_boxes;  // [images, regions, 4]
};

template <class T>
struct MatchOutput {
  int64_t* index;        // [images, anchors]
  T* iou;                // [images, anchors] or null: highest IoU, 0 where ignored
  int64_t* best_anchor;  // [images, objects] or null: the lowest of the highest IoU; -1 where 0
};

template <class T>
void match_anchors_cpu(MatchInput<T> in, MatchOutput<T> out, MatchShape shape, MatchRule<T> rule,
                       ParallelFor parallel_for);

// The same, without synchronising. workspace: match_anchors_workspace_bytes<T>(...) bytes on the
// device, aligned to 256.
template <class T>
void match_anchors_cuda(MatchInput<T> in, MatchOutput<T> out, MatchShape shape, MatchRule<T> rule,
                        void* workspace, CudaStream stream);
template <class T>
int64_t match_anchors_workspace_bytes(MatchShape shape);

}  // namespace sightline::assign::max_iou
