"""What torch must know of the linear assignment op beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _columns(cost):
    return cost.new_empty(cost.shape[:2], dtype=torch.int64)


register_fake("linear_assignment", _columns)
register_float32("linear_assignment")
