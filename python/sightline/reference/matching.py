"""Matching of anchors to objects in plain NumPy: the definition that the kernels are held to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Boxes = NDArray[np.floating]
Matches = NDArray[np.int64]
Number = np.floating

BACKGROUND, BETWEEN = -1, -2


def match_anchors(
    anchors: Boxes,
    gt_boxes: Boxes | Sequence[Boxes],
    *,
    high_threshold: float,
    low_threshold: float,
    allow_low_quality: bool = True,
    rule: str = "default",
) -> Matches:
    """[A], or [B, A] for a list of objects: index of the object, -1 background, -2 between."""
    match = {"default": _default, "torchvision": _torchvision, "detectron2": _detectron2}[rule]

    def match_image(objects: Boxes) -> Matches:
        if len(anchors) == 0 or len(objects) == 0:
            return np.full(len(anchors), BACKGROUND)
        iou = box_iou(objects, anchors)
        high, low = iou.dtype.type(high_threshold), iou.dtype.type(low_threshold)
        return match(iou, high, low, allow_low_quality)

    if isinstance(gt_boxes, np.ndarray):
        return match_image(gt_boxes)
    matches = [match_image(objects) for objects in gt_boxes]
    return np.array(matches, np.int64).reshape(len(gt_boxes), len(anchors))


def _default(iou: Boxes, high: Number, low: Number, allow_low_quality: bool) -> Matches:
    """As the peers below, but an IoU of 0 matches nothing. `iou` is [objects, anchors]."""
    best_object, best = iou.argmax(0), iou.max(0)  # the first of equal overlaps
    matches = np.where((best >= low) & (best < high), BETWEEN, BACKGROUND)
    matched = (best >= high) & (best > 0)
    if allow_low_quality:
        highest = iou.max(1, keepdims=True)
        matched |= ((iou == highest) & (highest > 0)).any(0)
    return np.where(matched, best_object, matches)


def _torchvision(iou: Boxes, high: Number, low: Number, allow_low_quality: bool) -> Matches:
    """The outcome of torchvision's Matcher: thresholds first, then the restored anchors."""
    best_object, best = iou.argmax(0), iou.max(0)
    matches = best_object.copy()
    matches[best < low] = BACKGROUND
    matches[(best >= low) & (best < high)] = BETWEEN
    if allow_low_quality:
        for row in iou:
            restored = row == row.max()
            matches[restored] = best_object[restored]
    return matches


def _detectron2(iou: Boxes, high: Number, low: Number, allow_low_quality: bool) -> Matches:
    """The outcome of detectron2's Matcher, which labels bands of IoU: 0 up to the low threshold, -1
    up to the high one, 1 above; restored anchors are labelled 1. The object is always the best."""
    labels = np.array([0, -1, 1])[np.searchsorted([low, high], iou.max(0), side="right")]
    if allow_low_quality:
        labels[(iou == iou.max(1, keepdims=True)).any(0)] = 1
    return np.select([labels == 1, labels == 0], [iou.argmax(0), BACKGROUND], BETWEEN)
