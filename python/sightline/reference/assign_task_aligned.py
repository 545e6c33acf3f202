"""Task-aligned assignment in plain NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou, complete_box_iou

Boxes = NDArray[np.floating]


def assign_task_aligned(
    scores: Boxes,
    boxes: Boxes,
    points: Boxes,
    gt_boxes: Sequence[Boxes],
    gt_labels: Sequence[NDArray[np.integer]],
    *,
    top_k: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    one_to_one_top_k: int | None = None,
    overlap: str = "iou",
) -> tuple[NDArray[np.int64], Boxes, Boxes, Boxes]:
    """Index, metric, overlap and target score of each anchor, [B, A] each.

    `scores` are [B, A, C], `boxes` [B, A, 4]; `gt_boxes` and `gt_labels` have one array per image.
    """
    form = {"iou": box_iou, "ciou": complete_box_iou}[overlap]
    kept = top_k if one_to_one_top_k is None else one_to_one_top_k
    shape = scores.shape[:2]
    index = np.full(shape, -1)
    metric, matched_overlap, target = (np.zeros(shape, scores.dtype) for _ in range(3))
    for b, (objects, labels) in enumerate(zip(gt_boxes, gt_labels)):
        overlaps = form(objects, boxes[b])  # [objects, anchors]
        of_object = [
            _metrics(scores[b][:, label], own, points, box, alpha, beta)
            for label, own, box in zip(labels, overlaps, objects)
        ]
        for g, own in enumerate(of_object):
            for a in _best(own, np.flatnonzero(own > 0), top_k):
                if index[b, a] < 0 or overlaps[g, a] > overlaps[index[b, a], a]:
                    index[b, a] = g
        for g, own in enumerate(of_object):
            anchors = _best(own, np.flatnonzero(index[b] == g), top_k)
            index[b, anchors[kept:]] = -1
            anchors = anchors[:kept]
            if len(anchors) == 0:
                continue
            metric[b, anchors] = own[anchors]
            matched_overlap[b, anchors] = overlaps[g, anchors]
            share = own[anchors] / own[anchors].max()
            target[b, anchors] = share * overlaps[g, anchors].max()
    return index, metric, matched_overlap, target


def _metrics(
    scores: Boxes, overlaps: Boxes, points: Boxes, box: Boxes, alpha: float, beta: float
) -> Boxes:
    """Alignment of each anchor with one object, 0 where the anchor is not a candidate."""
    x, y = points.T
    inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    allowed = inside & (scores >= 0) & (overlaps > 0)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        metric = _power(np.where(allowed, scores, 0), alpha)
        metric = metric * _power(np.where(allowed, overlaps, 0), beta)
    return np.where(allowed & np.isfinite(metric), metric, 0)


def _best(metric: Boxes, anchors: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The anchors with the highest metric, best first, among equals the lower one."""
    return anchors[np.argsort(-metric[anchors], kind="stable")][:count]


def _power(x: Boxes, y: float) -> Boxes:
    """x^y rounded as in the kernels: exponents up to 64 by multiplication, 1/2 by the root."""
    if y == 0.5:
        return np.sqrt(x)
    if y != int(y) or y > 64:
        with np.errstate(divide="ignore"):
            return np.power(x.astype(np.float64), y).astype(x.dtype)
    power, square = np.ones_like(x), x
    for bit in range(int(y).bit_length()):
        if int(y) >> bit & 1:
            power = power * square
        square = square * square
    return power
