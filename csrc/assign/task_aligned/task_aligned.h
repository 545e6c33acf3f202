// Task-aligned assignment: each object asks for the anchors of highest score^alpha * overlap^beta
// among those whose point lies strictly inside it, each anchor goes to the object that it overlaps
// most of those that ask for it.
//
// Of equal metrics the lower anchor comes first, of equal overlaps the lower object. An anchor
// whose score is negative or NaN, whose overlap is not above 0 or whose metric is 0 or not finite
// is asked for by none. A box that lies nowhere is no object, nor is a label outside [0, classes).
// T is float or double; memory is linear in anchors and objects x top_k.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "common/power.h"

namespace sightline::assign::task_aligned {

inline constexpr int64_t kMaxTopK = 512;

template <class T>
struct TaskAlignedRule {
  math::Exponent<T> alpha, beta;
  int64_t top_k;  // from 1 to kMaxTopK
  int64_t kept;   // of each object's anchors, after each anchor has gone to one object
  bool complete;  // the overlap is CIoU instead of IoU
};

inline constexpr double kCompleteEps = 1e-7;  // as complete_box_iou

template <class T>
struct TaskAlignedInputs {
  const T* scores;        // [images, anchors, classes]
  const T* boxes;         // [images, anchors, 4]
  const T* points;        // [anchors, 2] xy
  const T* gt_boxes;      // [images, objects, 4]
  const int64_t* labels;  // [images, objects]
  int64_t images, anchors, objects, classes;

  SIGHTLINE_HD bool has_label(int64_t object) const {
    return labels[object] >= 0 && labels[object] < classes;
  }
};

// [images, anchors] each; -1 and 0 where an anchor has no object.
template <class T>
struct TaskAlignedOutputs {
  int64_t* index;
  T* metric;
  T* overlap;
  T* target;  // metric / largest metric of the object * largest overlap of the object
};

// An anchor that an object asks for.
template <class T>
struct TaskAlignedPick {
  T metric, overlap;
  int32_t anchor;

  SIGHTLINE_HD bool before(const TaskAlignedPick& other) const {
    return metric > other.metric || (metric == other.metric && anchor < other.anchor);
  }
};

template <class T>
SIGHTLINE_HD bool is_metric(T metric) {
  return metric > T(0) && metric <= std::numeric_limits<T>::max();
}

// The last step of an object: of its picks, best first, those whose anchor went to it. Those beyond
// `kept` lose it again.
template <class T>
SIGHTLINE_HD void finish_object(const TaskAlignedPick<T>* picks, int64_t count, int64_t object,
                                int64_t kept, const TaskAlignedOutputs<T>& image) {
  int64_t taken = 0;
  T best_metric = T(0), best_overlap = T(0);
  for (int64_t k = 0; k < count; ++k) {
    const TaskAlignedPick<T>& pick = picks[k];
    if (image.index[pick.anchor] != object) continue;
    if (taken == kept) {
      image.index[pick.anchor] = -1;
      continue;
    }
    best_metric = taken++ == 0 ? pick.metric : best_metric;
    best_overlap = larger(pick.overlap, best_overlap);
  }
  for (int64_t k = 0; k < count; ++k) {
    const TaskAlignedPick<T>& pick = picks[k];
    if (image.index[pick.anchor] != object) continue;
    image.metric[pick.anchor] = pick.metric;
    image.overlap[pick.anchor] = pick.overlap;
    image.target[pick.anchor] = pick.metric / best_metric * best_overlap;
  }
}

template <class T>
void assign_task_aligned_cpu(const TaskAlignedInputs<T>& in, const TaskAlignedRule<T>& rule,
                             const TaskAlignedOutputs<T>& out, ParallelFor parallel_for);

// The same, without synchronising. workspace: that many bytes on the device, aligned to 256.
template <class T>
void assign_task_aligned_cuda(const TaskAlignedInputs<T>& in, const TaskAlignedRule<T>& rule,
                              const TaskAlignedOutputs<T>& out, void* workspace, CudaStream stream);
template <class T>
int64_t assign_task_aligned_workspace_bytes(int64_t images, int64_t anchors, int64_t objects,
                                            int64_t top_k);

}  // namespace sightline::assign::task_aligned
