"""Confusion matrix of a detector: which class was seen as which, missed, or seen in nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics._inputs import read_detections, read_targets
from sightline.metrics._ops import box_overlap


def detection_confusion_matrix(
    detections: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    *,
    num_classes: int,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.25,
) -> np.ndarray:
    """Counts of (true class, detected class), with background in the last row and column.

    In each image, detections of at least `score_threshold` and objects are paired one to one
    whatever their class, the largest IoU first, down to `iou_threshold`; equal IoUs by score, then
    as given. A pair counts in [true class, detected class], an object without a partner in
    [true class, K] (missed), a detection without one in [K, detected class] (false alarm).
    Crowds and difficult objects are in no row, and a detection without a partner that covers one
    (IoU, for crowds the share of the detection, at least `iou_threshold`) counts nowhere.

    Args:
        detections: for each image `boxes` (xyxy) or `boxes_xywh` [N, 4], `scores` [N] and
            `labels` [N].
        targets: for each image `boxes` or `boxes_xywh` [M, 4], `labels` [M], optional `iscrowd` [M]
            and `difficult` [M].
        num_classes: K; labels are 0 ... K - 1.
        iou_threshold: in (0, 1].
        score_threshold: detections below it take no part.

    Returns:
        int64 [K + 1, K + 1]; rows are the truth.

    Raises:
        ValueError: different numbers of images, a threshold outside its range, and what
            `DetectionEvaluator.update` refuses.

    Time and memory in an image are objects times detections.

    Example:
        >>> detection_confusion_matrix(
        ...     [{"boxes": [[0, 0, 9, 9], [50, 0, 59, 9]], "scores": [0.9, 0.8], "labels": [1, 0]}],
        ...     [{"boxes": [[0, 0, 9, 9]], "labels": [0]}],
        ...     num_classes=2,
        ... )
        array([[0, 1, 0],
               [0, 0, 0],
               [1, 0, 0]])
    """
    if len(detections) != len(targets):
        raise ValueError(
            "`detections` and `targets` must have one entry for each image, "
            f"got {len(detections)} and {len(targets)}"
        )
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"`iou_threshold` must lie in (0, 1], got {iou_threshold}")
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for i, (dt, gt) in enumerate(zip(detections, targets)):
        place = f"image {i}"
        dt_boxes, scores, dt_labels = read_detections(dt, num_classes, place)
        gt_boxes, gt_labels, _, crowd, difficult = read_targets(gt, num_classes, place)
        kept = np.flatnonzero(scores >= score_threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        overlap = box_overlap(dt_boxes[kept], gt_boxes, crowd)
        counts = ~(crowd | difficult)
        pairs = _pair(overlap[:, counts], iou_threshold)
        excused = np.any(overlap[:, ~counts] >= iou_threshold, axis=1)
        _count(matrix, dt_labels[kept], gt_labels[counts], pairs, excused)
    return matrix


def _pair(overlap: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """One-to-one pairs (detection, object) of the matrix [D, G], the largest overlap first."""
    rows, columns = np.nonzero(overlap >= threshold)
    free_rows, free_columns = np.ones(overlap.shape[0], bool), np.ones(overlap.shape[1], bool)
    pairs = []
    for i in np.argsort(-overlap[rows, columns], kind="stable"):
        d, g = rows[i], columns[i]
        if free_rows[d] and free_columns[g]:
            free_rows[d] = free_columns[g] = False
            pairs.append((int(d), int(g)))
    return pairs


def _count(
    matrix: np.ndarray,  # [K + 1, K + 1], added to
    dt_labels: np.ndarray,  # [D]
    gt_labels: np.ndarray,  # [G]
    pairs: list[tuple[int, int]],
    excused: np.ndarray,  # [D]
) -> None:
    background = len(matrix) - 1
    paired_dt, paired_gt = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    missed = np.delete(np.arange(len(gt_labels)), paired_gt)
    alone = np.setdiff1d(np.flatnonzero(~excused), paired_dt)
    np.add.at(matrix, (gt_labels[paired_gt], dt_labels[paired_dt]), 1)
    matrix[:background, background] += np.bincount(gt_labels[missed], minlength=background)
    matrix[background, :background] += np.bincount(dt_labels[alone], minlength=background)
