// What the adapters of the assigners by predictions check alike.
#pragma once

#include "common/torch.h"

namespace sightline::assign {

// scores [B, A, C], boxes [B, A, 4], points [A, 2] and gt_boxes [B, G, 4] of one type, gt_labels
// int64 [B, G], all on one device.
inline void check_predictions(const Tensor& scores, const Tensor& boxes, const Tensor& points,
                              const Tensor& gt_boxes, const Tensor& gt_labels) {
  STD_TORCH_CHECK(scores.dim() == 3, "scores must have shape [B, A, C]");
  const int64_t images = scores.size(0), anchors = scores.size(1);
  STD_TORCH_CHECK(
      boxes.dim() == 3 && boxes.size(0) == images && boxes.size(1) == anchors && boxes.size(2) == 4,
      "boxes must have shape [B, A, 4]");
  STD_TORCH_CHECK(points.dim() == 2 && points.size(0) == anchors && points.size(1) == 2,
                  "points must have shape [A, 2]");
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(0) == images && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  const int64_t objects = gt_boxes.size(1);
  STD_TORCH_CHECK(
      gt_labels.dim() == 2 && gt_labels.size(0) == images && gt_labels.size(1) == objects,
      "gt_labels must have shape [B, G]");
  STD_TORCH_CHECK(gt_labels.scalar_type() == ScalarType::Long &&
                      gt_labels.get_device_index() == scores.get_device_index(),
                  "gt_labels must hold int64 on the device of scores");
  check_alike(scores, boxes, "scores and boxes");
  check_alike(scores, points, "scores and points");
  check_alike(scores, gt_boxes, "scores and gt_boxes");
}

}  // namespace sightline::assign
