"""Non-maximum suppression of rotated boxes in plain Python: the specification of `nms_rotated`.

The overlap of a kept box and a later one is `box_iou_rotated` of the two, in that order; it and the
threshold are in float64 where the boxes are, otherwise in float32.
"""

import numpy as np
from numpy.typing import NDArray

from .iou_rotated import box_iou_rotated
from .nms import best_first

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def nms_rotated(
    boxes: Floats,
    scores: Floats,
    iou_threshold: float,
    *,
    idxs: Integers | None = None,
    unit: str = "degrees",
) -> Integers:
    """[K]: indices of the boxes that no better kept box of their group overlaps by more than
    `iou_threshold`, best first."""
    return suppress(box_iou_rotated(boxes, boxes, unit=unit), scores, iou_threshold, idxs)


def suppress(
    iou: Floats, scores: Floats, iou_threshold: float, idxs: Integers | None = None
) -> Integers:
    """[K]: indices of the boxes to keep, given their overlaps `iou` [N, N]."""
    threshold = iou.dtype.type(iou_threshold)
    keep: list[int] = []
    for i in best_first(scores):
        rivals = keep if idxs is None else [k for k in keep if idxs[k] == idxs[i]]
        if not (iou[rivals, i] > threshold).any():
            keep.append(i)
    return np.array(keep, np.int64)
