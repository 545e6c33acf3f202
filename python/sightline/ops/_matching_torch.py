"""What torch must know of the matching op beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _matches(anchors, gt_boxes, ignore_boxes, *rule):
    with_iou, with_best_anchor = rule[-2:]
    (images, objects, _), num_anchors = gt_boxes.shape, anchors.shape[0]
    return (
        anchors.new_empty(images, num_anchors, dtype=torch.int64),
        anchors.new_empty(images, num_anchors if with_iou else 0),
        anchors.new_empty(images, objects if with_best_anchor else 0, dtype=torch.int64),
    )


register_fake("match_anchors", _matches)
register_float32("match_anchors")
