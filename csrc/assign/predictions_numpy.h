// What the adapters of the assigners by predictions check alike.
#pragma once

#include "common/numpy.h"

namespace sightline::assign {

// scores [B, A, C], boxes [B, A, 4], points [A, 2], gt_boxes [B, G, 4] and gt_labels [B, G].
template <class T>
void check_predictions(const Array<T>& scores, const Array<T>& boxes, const Array<T>& points,
                       const Array<T>& gt_boxes, const Array<int64_t>& gt_labels) {
  require(scores.ndim() == 3, "scores must have shape [B, A, C]");
  const int64_t images = scores.shape(0), anchors = scores.shape(1);
  require(boxes.ndim() == 3 && boxes.shape(0) == images && boxes.shape(1) == anchors &&
              boxes.shape(2) == 4,
          "boxes must have shape [B, A, 4]");
  require(points.ndim() == 2 && points.shape(0) == anchors && points.shape(1) == 2,
          "points must have shape [A, 2]");
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(0) == images && gt_boxes.shape(2) == 4,
          "gt_boxes must have shape [B, G, 4]");
  const int64_t objects = gt_boxes.shape(1);
  require(gt_labels.ndim() == 2 && gt_labels.shape(0) == images && gt_labels.shape(1) == objects,
          "gt_labels must have shape [B, G]");
}

}  // namespace sightline::assign
