"""What the modules share: overlaps that have no kernel."""

from typing import Any

import numpy as np

from sightline import ops
from sightline.ops._arguments import as_floats, backend, is_tensor, torch

Array = Any  # a torch.Tensor or a numpy.ndarray


def aligned_overlap(boxes1: Array, boxes2: Array, mode: str) -> Array:
    """[N], of pairs of [N, 4] xyxy: "iou", or "iof", the intersection over the first area."""
    backend(boxes1=boxes1, boxes2=boxes2)
    if boxes1.shape != boxes2.shape:
        raise ValueError(
            "aligned boxes must have the same shape, "
            f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
        )
    a, b = as_floats(boxes1=boxes1, boxes2=boxes2)
    inter, area = _intersection(a, b), ops.box_area(a)
    whole = area if mode == "iof" else area + ops.box_area(b) - inter
    where = torch.where if is_tensor(a) else np.where
    usable = whole > 0  # not where a coordinate is NaN
    return where(usable, inter / where(usable, whole, 1), 0)


def pairwise_intersection_of(boxes1: Array, boxes2: Array) -> Array:
    """[N, M], area of the intersection of every pair of [N, 4] and [M, 4] xyxy."""
    backend(boxes1=boxes1, boxes2=boxes2)
    a, b = as_floats(boxes1=boxes1, boxes2=boxes2)
    return _intersection(a[:, None], b[None])


def _intersection(a: Array, b: Array) -> Array:
    larger, smaller = (torch.maximum, torch.minimum) if is_tensor(a) else (np.maximum, np.minimum)
    sides = smaller(a[..., 2:], b[..., 2:]) - larger(a[..., :2], b[..., :2])
    sides = sides.clamp(min=0) if is_tensor(a) else np.maximum(sides, 0)
    return sides[..., 0] * sides[..., 1]
