"""SSD assignment in plain NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Boxes = NDArray[np.floating]


def assign_ssd(
    anchors: Boxes, gt_boxes: Sequence[Boxes], *, threshold: float = 0.5, rule: str = "default"
) -> NDArray[np.int64]:
    """[B, A]: the object of each anchor, or -1; `gt_boxes` has one [G, 4] per image."""
    assign = {"default": _bipartite, "torchvision": _overwrite}[rule]
    images = [assign(box_iou(boxes, anchors), boxes, threshold) for boxes in gt_boxes]
    return np.array(images, np.int64).reshape(len(gt_boxes), len(anchors))


def _bipartite(iou: Boxes, boxes: Boxes, threshold: float) -> NDArray[np.int64]:
    """`iou` is [objects, anchors]."""
    index = np.full(iou.shape[1], -1)
    if len(iou):
        best = iou.max(0)
        matched = (best >= iou.dtype.type(threshold)) & (best > 0)
        index[matched] = iou.argmax(0)[matched]
    left = iou.copy()
    while left.size and left.max() > 0:
        # Of equal pairs the lowest anchor, then the first object: the order of the transpose.
        anchor, g = np.unravel_index(left.T.argmax(), left.T.shape)
        index[anchor] = g
        left[g], left[:, anchor] = 0, 0
    return index


def _overwrite(iou: Boxes, boxes: Boxes, threshold: float) -> NDArray[np.int64]:
    """The rule of torchvision's SSDMatcher, with rows that are not finite left out."""
    with np.errstate(over="ignore", invalid="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
        exists = np.isfinite(boxes).all(1) & np.isfinite(np.maximum(sides, 0).prod(1))
    index = np.full(iou.shape[1], -1)
    if iou.size == 0 or not exists.any():
        return index
    best = iou.max(0)
    best_object = np.where(best > 0, iou.argmax(0), exists.argmax())
    matched = best >= iou.dtype.type(threshold)
    index[matched] = best_object[matched]
    for g in np.flatnonzero(exists):
        index[iou[g].argmax()] = g
    return index
