"""SimOTA assignment in plain NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Boxes = NDArray[np.floating]


def assign_sim_ota(
    scores: Boxes,
    boxes: Boxes,
    points: Boxes,
    strides: Boxes,
    gt_boxes: Sequence[Boxes],
    gt_labels: Sequence[NDArray[np.integer]],
    *,
    center_radius: float = 2.5,
    top_k: int = 10,
    iou_weight: float = 3.0,
    class_weight: float = 1.0,
) -> tuple[NDArray[np.int64], Boxes]:
    """Index and IoU of each anchor, [B, A] each.

    `scores` are [B, A, C], `boxes` [B, A, 4]; `gt_boxes` and `gt_labels` have one array per image.
    """
    index = np.full(scores.shape[:2], -1)
    matched = np.zeros(scores.shape[:2], scores.dtype)
    for b, (objects, labels) in enumerate(zip(gt_boxes, gt_labels)):
        exists = _finite(objects)
        inside, near = (
            np.array([test(points, strides, box, center_radius) for box in objects], bool).reshape(
                len(objects), len(points)
            )
            & exists[:, None]
            for test in (_inside, _near)
        )  # [objects, anchors]
        usable = ((scores[b] >= 0) & (scores[b] <= 1)).all(1) & _finite(boxes[b])
        valid = np.flatnonzero((inside | near).any(0) & usable)
        iou = box_iou(objects, boxes[b])
        first: dict[int, tuple[bool, float]] = {}  # anchor -> key of its object
        for g in np.flatnonzero(exists):
            best = np.sort(iou[g, valid])[::-1][:top_k]
            k = max(int(best.cumsum()[-1]) if len(best) else 0, 1)
            onehot = np.arange(scores.shape[2]) == labels[g]
            cost = class_weight * _cross_entropy(scores[b, valid], onehot)
            cost = cost + iou_weight * np.maximum(-np.log(iou[g, valid] + iou.dtype.type(1e-7)), 0)
            outside = ~(inside & near)[g, valid]
            order = sorted(zip(outside.tolist(), cost.tolist(), valid.tolist()))
            for outer, value, a in order[:k]:
                if a not in first or (outer, value) < first[a]:
                    first[a] = (outer, value)
                    index[b, a], matched[b, a] = g, iou[g, a]
    return index, matched


def _finite(boxes: Boxes) -> NDArray[np.bool_]:
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
    return np.asarray(np.isfinite(boxes).all(1) & np.isfinite(area))


def _inside(points: Boxes, _strides: Boxes, box: Boxes, _radius: float) -> NDArray[np.bool_]:
    return np.asarray(((points > box[:2]) & (points < box[2:])).all(1))


def _near(points: Boxes, strides: Boxes, box: Boxes, radius: float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        offset = np.abs(points - (box[:2] / 2 + box[2:] / 2))
    return np.asarray((offset < strides.dtype.type(radius) * strides[:, None]).all(1))


def _cross_entropy(scores: Boxes, onehot: NDArray[np.bool_]) -> Boxes:
    """[anchors]: the sum over all classes; logarithms end at -100, as in torch."""
    with np.errstate(divide="ignore"):
        return -np.maximum(np.log(np.where(onehot, scores, 1 - scores)), -100).sum(1)
