"""What torch must know of the NMS of rotated boxes beyond its kernel."""

import torch

from ._rules_torch import register_fake, register_float32


def _keep(boxes, *_others):
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(kept, dtype=torch.int64)


register_fake("nms_rotated", _keep)
register_float32("nms_rotated")
