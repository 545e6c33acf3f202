"""What torch must know of the matching op beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _matches(anchors, gt_boxes, offsets, *_rule):
    return anchors.new_empty(offsets.shape[0] - 1, anchors.shape[0], dtype=torch.int64)


register_fake("match_anchors", _matches)
register_float32("match_anchors")
