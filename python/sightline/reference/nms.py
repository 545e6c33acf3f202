"""Non-maximum suppression in plain NumPy: the specification of the kernels.

Boxes [N, 4] xyxy and scores are compared in float64 where they are float64, otherwise in float32;
a threshold is rounded to the dtype of what it is compared with.
"""

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def nms(
    boxes: Floats, scores: Floats, iou_threshold: float, *, return_suppressed_by: bool = False
) -> Integers | tuple[Integers, Integers]:
    """[K]: indices of the boxes that no kept better box overlaps by more than `iou_threshold`.

    With `return_suppressed_by` also [N]: the best kept box that suppresses each, or -1.
    """
    boxes = _floats(boxes)
    keep: list[int] = []
    suppressed_by = np.full(len(boxes), -1, np.int64)
    for i in best_first(scores):
        overlap = box_iou(boxes[keep], boxes[i : i + 1])[:, 0]
        suppressors = np.flatnonzero(overlap > boxes.dtype.type(iou_threshold))
        if len(suppressors) == 0:
            keep.append(i)
        else:
            suppressed_by[i] = keep[suppressors[0]]
    kept = np.array(keep, np.int64)
    return (kept, suppressed_by) if return_suppressed_by else kept


def batched_nms(
    boxes: Floats,
    scores: Floats,
    idxs: Integers,
    iou_threshold: float,
    *,
    return_suppressed_by: bool = False,
) -> Integers | tuple[Integers, Integers]:
    """The boxes that `nms` keeps within each group of equal `idxs`, best first."""
    kept = np.zeros(len(boxes), bool)
    suppressed_by = np.full(len(boxes), -1, np.int64)
    for idx in np.unique(idxs):
        segment = np.flatnonzero(idxs == idx)
        keep, by = nms(boxes[segment], scores[segment], iou_threshold, return_suppressed_by=True)
        kept[segment[keep]] = True
        suppressed_by[segment] = np.where(by < 0, -1, segment[by])
    order = best_first(scores)
    keep = order[kept[order]]
    return (keep, suppressed_by) if return_suppressed_by else keep


def multiclass_nms(
    boxes: Floats,
    scores: Floats,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    pre_top_k: int | None = None,
    agnostic: bool = False,
) -> tuple[Floats, Floats, Integers, Integers]:
    """Boxes [B, D, 4], scores [B, D], labels [B, D] and count [B] of the best detections."""
    boxes, scores = _floats(boxes), _floats(scores)
    images, _, classes = scores.shape
    out_boxes = np.zeros((images, max_detections, 4), boxes.dtype)
    out_scores = np.zeros((images, max_detections), scores.dtype)
    out_labels = np.full((images, max_detections), -1, np.int64)
    count = np.zeros(images, np.int64)
    for b in range(images):
        candidates = np.flatnonzero(scores[b].ravel() > scores.dtype.type(score_threshold))
        score = scores[b].ravel()[candidates]
        best = best_first(score)[:pre_top_k]
        candidates, score = candidates[best], score[best]
        anchor, label = candidates // classes, candidates % classes
        box = boxes[b, anchor] if boxes.ndim == 3 else boxes[b, anchor, label]
        # Sorted as they are, their positions break ties as the flat indices would.
        segment = np.zeros_like(label) if agnostic else label
        keep = batched_nms(box, score, segment, iou_threshold)[:max_detections]
        count[b] = len(keep)
        out_boxes[b, : len(keep)] = box[keep]
        out_scores[b, : len(keep)] = score[keep]
        out_labels[b, : len(keep)] = label[keep]
    return out_boxes, out_scores, out_labels, count


def best_first(scores: Floats) -> Integers:
    """Indices by descending score; equal scores by ascending index, NaN last."""
    return np.argsort(-_floats(scores), kind="stable")  # NumPy sorts NaN last


def _floats(values: np.ndarray) -> Floats:
    wide = values.dtype.kind == "f" and values.dtype.itemsize > 4
    return values.astype(np.float64 if wide else np.float32)
