// Assignment of anchors to objects by SSD: first each object gets an anchor of its own, then every
// other anchor takes its best object where they overlap enough.
//
// kBipartite, as in the paper: the best pair of all is made, anchor and object leave, and so on. Of
// equal IoUs the lowest anchor goes first, then the first object; an IoU of 0 makes no pair.
// kOverwrite, as torchvision: every object takes its best anchor (the first one where it overlaps
// none), so that of objects that want the same anchor the last one has it.
//
// A box that lies nowhere is no object. T is float or double; memory is linear.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::assign::ssd {

enum class SsdRule { kBipartite, kOverwrite };

// A pair that may be made next; the order is total.
template <class T>
struct SsdPair {
  T iou;
  int64_t anchor, object;

  SIGHTLINE_HD bool before(const SsdPair& other) const {
    if (iou != other.iou) return iou > other.iou;
    return anchor != other.anchor ? anchor < other.anchor : object < other.object;
  }
};

template <class T>
SIGHTLINE_HD bool is_object(const T* gt_box) {
  return load_box(gt_box).x1 <= std::numeric_limits<T>::max();
}

// What an anchor takes that no object took: best is its highest IoU, with best_object or -1. At a
// threshold of 0 kOverwrite lets it take the first object of the image without overlap.
template <class T>
SIGHTLINE_HD int64_t ssd_outcome(T best, int64_t best_object, T threshold, SsdRule rule,
                                 const T* gt_boxes, int64_t objects) {
  if (!(best >= threshold)) return -1;
  if (best_object >= 0 || rule == SsdRule::kBipartite) return best_object;
  for (int64_t g = 0; g < objects; ++g)
    if (is_object(gt_boxes + 4 * g)) return g;
  return -1;
}

// out[b, a]: the index of the object that anchor a takes in image b, or -1.
template <class T>
void assign_ssd_cpu(const T* anchors,   // [num_anchors, 4]
                    const T* gt_boxes,  // [images, objects, 4]
                    int64_t* out,       // [images, num_anchors]
                    int64_t num_anchors, int64_t images, int64_t objects, T threshold, SsdRule rule,
                    ParallelFor parallel_for);

// The same, without synchronising. workspace: assign_ssd_workspace_bytes<T>(...) bytes on the
// device, aligned to 256.
template <class T>
void assign_ssd_cuda(const T* anchors, const T* gt_boxes, int64_t* out, int64_t num_anchors,
                     int64_t images, int64_t objects, T threshold, SsdRule rule, void* workspace,
                     CudaStream stream);
template <class T>
int64_t assign_ssd_workspace_bytes(int64_t num_anchors, int64_t images, int64_t objects);

}  // namespace sightline::assign::ssd
