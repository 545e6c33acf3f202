"""What torch must know of the YOLO assignment beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _index(gt_boxes, shapes, level_shapes, heights, widths, strides, rule, ratio):
    anchors = sum(k * h * w for k, h, w in zip(level_shapes, heights, widths))
    return gt_boxes.new_empty(gt_boxes.shape[0], anchors, dtype=torch.int64)


register_fake("assign_yolo", _index)
register_float32("assign_yolo")
