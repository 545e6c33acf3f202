"""ATSS assignment in plain NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Boxes = NDArray[np.floating]


def assign_atss(
    anchors: Sequence[Boxes], gt_boxes: Sequence[Boxes], *, top_k: int = 9
) -> NDArray[np.int64]:
    """[B, A]: the object of each anchor, or -1; `gt_boxes` has one [G, 4] per image."""
    boxes = np.concatenate(anchors)
    images = [_assign(boxes, [len(level) for level in anchors], o, top_k) for o in gt_boxes]
    return np.array(images, np.int64).reshape(len(gt_boxes), len(boxes))


def _assign(
    anchors: Boxes, level_sizes: list[int], objects: Boxes, top_k: int
) -> NDArray[np.int64]:
    index = np.full(len(anchors), -1)
    best = np.zeros(len(anchors), anchors.dtype)
    x, y = _centres(anchors)
    for g, (overlap, gt_box) in enumerate(zip(box_iou(objects, anchors), objects)):
        if not overlap.any():
            continue
        candidates = _nearest(anchors, level_sizes, gt_box, top_k)
        threshold = _mean_plus_deviation(overlap[candidates].astype(np.float64))
        for a in candidates:
            inside = gt_box[0] < x[a] < gt_box[2] and gt_box[1] < y[a] < gt_box[3]
            if inside and overlap[a] >= threshold and overlap[a] > best[a]:
                index[a], best[a] = g, overlap[a]
    return index


def _nearest(
    anchors: Boxes, level_sizes: list[int], gt_box: Boxes, top_k: int
) -> NDArray[np.int64]:
    """On each level the anchors whose centres are nearest, all in ascending order."""
    (x, y), (object_x, object_y) = _centres(anchors), _centres(gt_box[None])
    with np.errstate(over="ignore"):
        distance = (x - object_x) ** 2 + (y - object_y) ** 2
    candidates = []
    start = 0
    for size in level_sizes:
        level = start + np.argsort(distance[start : start + size], kind="stable")
        candidates += level[~np.isnan(distance[level])][:top_k].tolist()
        start += size
    return np.array(sorted(candidates), np.int64)


def _mean_plus_deviation(overlaps: NDArray[np.float64]) -> float:
    """Summed in order; the deviation of a single number is 0."""
    mean = np.add.accumulate(overlaps)[-1] / len(overlaps)
    if len(overlaps) == 1:
        return mean
    squares = np.add.accumulate((overlaps - mean) ** 2)[-1]
    return mean + np.sqrt(squares / (len(overlaps) - 1))


def _centres(boxes: Boxes) -> tuple[Boxes, Boxes]:
    """NaN where a box has a coordinate or an area that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
        bad = ~np.isfinite(boxes).all(1) | ~np.isfinite(area)
        half = boxes.dtype.type(0.5)
        centres = boxes[:, :2] * half + boxes[:, 2:] * half
    centres[bad] = np.nan
    return centres[:, 0], centres[:, 1]
