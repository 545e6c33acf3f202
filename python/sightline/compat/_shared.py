"""Shared by the modules: arguments that only the originals take, overlaps without a kernel."""

from typing import Any

import numpy as np

from sightline import ops
from sightline.ops.arguments import as_floats, backend, is_tensor, torch

Array = Any  # a torch.Tensor or a numpy.ndarray

_NAN = 0x7FF8_0000_0000_0000  # the bits of a float64 NaN; the next patterns are NaN too


def as_classes(idxs: Array) -> Array:
    """Integers [N] that identify classes, from classes given as integers, floats or bool [N].

    The class column of a detector is often part of one float tensor, which the originals accept.
    Equal values are one class, whether integers or not. NaN equals nothing, so each NaN is a class
    of its own. (The originals keep such a box or drop it, depending on the number of boxes.)
    """
    backend(idxs=idxs)
    if is_tensor(idxs):
        if idxs.dtype == torch.bool:
            return idxs.to(torch.int64)
        if not idxs.dtype.is_floating_point:
            return idxs
        wide = idxs.detach().to(torch.float64) + 0.0  # the bits of -0 become those of 0
        own = torch.arange(idxs.numel(), device=idxs.device).reshape(idxs.shape) + _NAN
        return torch.where(wide.isnan(), own, wide.view(torch.int64))
    if idxs.dtype.kind == "b":
        return idxs.astype(np.int64)
    if idxs.dtype.kind != "f":
        return idxs
    values = idxs.astype(np.float64) + 0.0
    each = np.arange(values.size).reshape(values.shape) + _NAN
    return np.where(np.isnan(values), each, values.view(np.int64))


def batched_nms(
    boxes: Array,
    scores: Array,
    idxs: Array,
    iou_threshold: float,
    *,
    return_suppressed_by: bool = False,
) -> Any:
    """`sightline.ops.batched_nms`, extended to the arguments that the originals accept.

    `idxs` [N] may be floats: each value is a class, and each NaN its own class. `iou_threshold` may
    be a tensor with one number, and `boxes` may have shape [0], as `torch.tensor([])`.
    """
    return ops.batched_nms(
        boxes.reshape(0, 4) if getattr(boxes, "shape", None) == (0,) else boxes,
        scores,
        as_classes(idxs),
        as_number(iou_threshold),
        return_suppressed_by=return_suppressed_by,
    )


def as_number(value: Any) -> Any:
    """The number in a tensor with one element; anything else unchanged."""
    return value.item() if is_tensor(value) and value.numel() == 1 else value


def aligned_overlap(boxes1: Array, boxes2: Array, mode: str) -> Array:
    """[N], for pairs of [N, 4] xyxy: "iou", or "iof", the intersection over the first area."""
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
    """[N, M], area of the intersection of all pairs of [N, 4] and [M, 4] xyxy."""
    backend(boxes1=boxes1, boxes2=boxes2)
    a, b = as_floats(boxes1=boxes1, boxes2=boxes2)
    return _intersection(a[:, None], b[None])


def _intersection(a: Array, b: Array) -> Array:
    larger, smaller = (torch.maximum, torch.minimum) if is_tensor(a) else (np.maximum, np.minimum)
    sides = smaller(a[..., 2:], b[..., 2:]) - larger(a[..., :2], b[..., :2])
    sides = sides.clamp(min=0) if is_tensor(a) else np.maximum(sides, 0)
    return sides[..., 0] * sides[..., 1]
