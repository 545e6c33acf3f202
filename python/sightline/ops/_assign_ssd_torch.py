"""What torch must know of the SSD assignment beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _index(anchors, gt_boxes, *_rule):
    return anchors.new_empty(gt_boxes.shape[0], anchors.shape[0], dtype=torch.int64)


register_fake("assign_ssd", _index)
register_float32("assign_ssd")
