"""What torch must know of soft-NMS beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _kept(boxes, scores, *_others):
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(count, dtype=torch.int64), scores.new_empty(count)


register_fake("soft_nms", _kept)
register_float32("soft_nms")
