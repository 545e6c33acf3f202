"""Matching of anchors to objects in plain NumPy: the specification of the kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .iou import box_ioa, box_iou

Boxes = NDArray[np.floating]
Index = NDArray[np.int64]

BACKGROUND, NEITHER = -1, -2


def match_anchors(
    anchors: Boxes,
    gt_boxes: Boxes | Sequence[Boxes],
    *,
    ignore_boxes: Boxes | Sequence[Boxes] | None = None,
    **rule: Any,
) -> Index:
    """[A], or [B, A] for a list of objects: index of the object, -1 background, -2 in between."""
    if isinstance(gt_boxes, np.ndarray) and gt_boxes.ndim == 2:
        return match_image(anchors, gt_boxes, ignore_boxes=ignore_boxes, **rule)[0]
    regions: Any = [None] * len(gt_boxes) if ignore_boxes is None else ignore_boxes
    images = [
        match_image(anchors, objects, ignore_boxes=ignore, **rule)[0]
        for objects, ignore in zip(gt_boxes, regions, strict=True)
    ]
    return np.array(images, np.int64).reshape(len(gt_boxes), len(anchors))


def match_image(
    anchors: Boxes,
    gt_boxes: Boxes,
    *,
    high_threshold: float,
    low_threshold: float,
    allow_low_quality: bool = True,
    min_positive_iou: float = 0.0,
    first_anchor_only: bool = False,
    rule: str = "default",
    ignore_boxes: Any = None,
    ignore_threshold: float = 0.5,
) -> tuple[Index, Boxes, Index]:
    """For one image: the index [A], the highest IoU of each anchor [A], the best anchor [G]."""
    rows = np.flatnonzero(_lies_somewhere(gt_boxes))
    regions = np.zeros((0, 4), np.float32) if ignore_boxes is None else ignore_boxes
    ioa = box_ioa(anchors, regions)
    ignored = np.any(ioa > ioa.dtype.type(ignore_threshold), axis=1)
    index = np.where(ignored, NEITHER, BACKGROUND)
    of_anchor = np.zeros(len(anchors), np.result_type(anchors, np.float32))
    of_object = np.full(len(gt_boxes), -1)
    free = np.flatnonzero(~ignored)
    if len(rows) == 0 or len(free) == 0:
        return index, of_anchor, of_object

    iou = box_iou(gt_boxes[rows], anchors[free])  # [objects, anchors that are not ignored]
    number = iou.dtype.type
    high, low, least = number(high_threshold), number(low_threshold), number(min_positive_iou)
    best, own = iou.max(0), iou.argmax(0)  # the first of equal overlaps
    zero_matches = rule != "default"
    object_of = np.where((best >= low) & (best < high), NEITHER, BACKGROUND)
    matched = (best >= high) & (zero_matches | (best > 0))
    object_of[matched] = rows[own[matched]]
    for g, overlaps in enumerate(iou):
        highest = overlaps.max()
        if highest > 0:
            of_object[rows[g]] = free[overlaps.argmax()]
        if allow_low_quality and highest >= least and (zero_matches or highest > 0):
            takes = np.flatnonzero(overlaps == highest)
            if first_anchor_only:
                takes = takes[:1]
            object_of[takes] = rows[g] if rule == "mmdetection" else rows[own[takes]]
    index[free], of_anchor[free] = object_of, best
    return index, of_anchor, of_object


def _lies_somewhere(boxes: Boxes) -> NDArray[np.bool_]:
    boxes = boxes.astype(np.result_type(boxes, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        side = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        return np.isfinite(boxes).all(1) & np.isfinite(side[:, 0] * side[:, 1])
