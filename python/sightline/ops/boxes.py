"""Conversions and codings of boxes: plain tensor and array code, differentiable on tensors."""

import math
from typing import Any

import numpy as np

from ._arguments import as_floats, backend, check_boxes, check_choice, is_tensor, torch

Array = Any  # a torch.Tensor or a numpy.ndarray

FORMATS = ("xyxy", "xywh", "cxcywh")

# A width or height grows at most by this factor in one decoding: 1000 / 16, as in Detectron.
MAX_LOG_SCALE = math.log(1000 / 16)


def _stack(columns: list[Array]) -> Array:
    return torch.stack(columns, -1) if is_tensor(columns[0]) else np.stack(columns, -1)


def _columns(boxes: Array) -> tuple[Array, Array, Array, Array]:
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _check_last_is_4(name: str, boxes: Array) -> None:
    if len(boxes.shape) == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"`{name}` must have shape [..., 4], got {list(boxes.shape)}")


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Boxes in another format.

    Args:
        boxes: [..., 4].
        in_fmt: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and size).
        out_fmt: one of the same.

    Returns:
        [..., 4] in the same dtype; the halves of integer sizes are rounded towards zero.

    >>> import numpy as np
    >>> box_convert(np.array([[1.0, 2, 4, 6]]), "xywh", "cxcywh")
    array([[3., 5., 4., 6.]])
    """
    backend(boxes=boxes)
    _check_last_is_4("boxes", boxes)
    check_choice("in_fmt", in_fmt, FORMATS)
    check_choice("out_fmt", out_fmt, FORMATS)
    if in_fmt == out_fmt:
        return boxes
    a, b, c, d = _columns(boxes)
    if in_fmt == "xywh":
        c, d = a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - _half(c), b - _half(d), a - _half(c) + c, b - _half(d) + d
    if out_fmt == "xywh":
        c, d = c - a, d - b
    elif out_fmt == "cxcywh":
        w, h = c - a, d - b
        a, b, c, d = a + _half(w), b + _half(h), w, h
    return _stack([a, b, c, d])


def _half(size: Array) -> Array:
    floating = size.dtype.is_floating_point if is_tensor(size) else size.dtype.kind == "f"
    return size / 2 if floating else size // 2


def box_area(boxes: Array) -> Array:
    """Area of each xyxy box, [...]; 0 where a side is negative.

    float16, bfloat16 and integers give float32, so that large boxes do not overflow.
    """
    backend(boxes=boxes)
    _check_last_is_4("boxes", boxes)
    x1, y1, x2, y2 = _columns(as_floats(boxes=boxes)[0])
    if is_tensor(boxes):
        return (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
    return np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)


def clip_boxes_to_image(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes [..., 4] xyxy cut to an image of `size` (height, width), in the same dtype."""
    backend(boxes=boxes)
    _check_last_is_4("boxes", boxes)
    height, width = size
    x1, y1, x2, y2 = _columns(boxes)
    if is_tensor(boxes):
        xs, ys = (lambda v: v.clamp(0, width)), (lambda v: v.clamp(0, height))
    else:
        xs, ys = (lambda v: np.clip(v, 0, width)), (lambda v: np.clip(v, 0, height))
    return _stack([xs(x1), ys(y1), xs(x2), ys(y2)])


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """Indices, int64 [K], of the xyxy boxes [N, 4] whose sides are both at least `min_size`."""
    backend(boxes=boxes)
    check_boxes("boxes", boxes)
    x1, y1, x2, y2 = _columns(boxes)
    keep = (x2 - x1 >= min_size) & (y2 - y1 >= min_size)
    return torch.where(keep)[0] if is_tensor(boxes) else np.flatnonzero(keep)


def encode_boxes(
    boxes: Array, anchors: Array, weights: tuple[float, float, float, float] = (1, 1, 1, 1)
) -> Array:
    """Deltas that `decode_boxes` turns back into `boxes`.

    Args:
        boxes: [N, 4] xyxy with positive sides.
        anchors: [N, 4] xyxy with positive sides.
        weights: factors of dx, dy, dw, dh.

    Returns:
        [N, 4]: the offset of the centres in anchor sizes, and the logarithms of the size ratios.

    Source: Girshick et al., "Rich feature hierarchies", CVPR 2014, appendix C.
    """
    backend(boxes=boxes, anchors=anchors)
    check_boxes("boxes", boxes)
    check_boxes("anchors", anchors)
    boxes, anchors = as_floats(boxes=boxes, anchors=anchors)
    log = torch.log if is_tensor(boxes) else np.log
    cx, cy, w, h = _columns(box_convert(boxes, "xyxy", "cxcywh"))
    ax, ay, aw, ah = _columns(box_convert(anchors, "xyxy", "cxcywh"))
    wx, wy, ww, wh = weights
    return _stack([wx * (cx - ax) / aw, wy * (cy - ay) / ah, ww * log(w / aw), wh * log(h / ah)])


def decode_boxes(
    deltas: Array, anchors: Array, weights: tuple[float, float, float, float] = (1, 1, 1, 1)
) -> Array:
    """Boxes xyxy [..., 4] from deltas [..., 4] of `encode_boxes` and anchors that broadcast.

    A size grows at most 62.5 times, so that no exponential overflows.
    """
    backend(deltas=deltas, anchors=anchors)
    _check_last_is_4("deltas", deltas)
    _check_last_is_4("anchors", anchors)
    deltas, anchors = as_floats(deltas=deltas, anchors=anchors)
    dx, dy, dw, dh = (column / weight for column, weight in zip(_columns(deltas), weights))
    ax, ay, aw, ah = _columns(box_convert(anchors, "xyxy", "cxcywh"))
    if is_tensor(deltas):
        w, h = aw * dw.clamp(max=MAX_LOG_SCALE).exp(), ah * dh.clamp(max=MAX_LOG_SCALE).exp()
    else:
        w = aw * np.exp(np.minimum(dw, MAX_LOG_SCALE))
        h = ah * np.exp(np.minimum(dh, MAX_LOG_SCALE))
    return box_convert(_stack([ax + dx * aw, ay + dy * ah, w, h]), "cxcywh", "xyxy")
