"""Confusion matrix of a detector, with missed objects and false alarms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics.detection._inputs import read_detections, read_targets
from sightline.metrics.detection.pairs import Pairs, overlapping_pairs

SCORE_THRESHOLD = 0.25  # the default: detections with a lower score are left out


def detection_confusion_matrix(
    detections: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    *,
    num_classes: int,
    iou_threshold: float = 0.5,
    score_threshold: float = SCORE_THRESHOLD,
) -> np.ndarray:
    """Counts of (true class, detected class), with background in the last row and column.

    In each image, detections with a score of at least `score_threshold` and objects are paired one
    to one regardless of class, in the order of decreasing IoU, down to `iou_threshold`; equal IoUs
    go by score, then as given. A pair counts in [true class, detected class], an unpaired object in
    [true class, K] (missed), and an unpaired detection in [K, detected class] (false alarm).
    Crowds and difficult objects are in no row, and an unpaired detection that overlaps one by at
    least `iou_threshold` (IoU; for crowds, the share of the detection) is not counted.
    `DetectionResults.confusion_matrix` gives the same for an evaluation.

    Args:
        detections: for each image `boxes` (xyxy) or `boxes_xywh` [N, 4], `scores` [N] and
            `labels` [N].
        targets: for each image `boxes` or `boxes_xywh` [M, 4], `labels` [M], optional `iscrowd` [M]
            and `difficult` [M].
        num_classes: K; labels are 0 ... K - 1.
        iou_threshold: in (0, 1].
        score_threshold: detections with a lower score are left out.

    Returns:
        int64 [K + 1, K + 1]; rows are the truth.

    Raises:
        ValueError: different numbers of images, a threshold outside its range, or for the reasons
            of `DetectionEvaluator.update`.

    Time grows with the number of detections times objects per image; memory is linear.

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
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
    check_threshold(iou_threshold)
    places = [f"image {i}" for i in range(len(targets))]
    dt = [read_detections(d, num_classes, place) for d, place in zip(detections, places)]
    gt = [read_targets(t, num_classes, place) for t, place in zip(targets, places)]
    dt_boxes, scores, dt_labels = _concatenate(dt, [(0, 4), (0,), (0,)])
    gt_boxes, gt_labels, _, crowd, difficult = _concatenate(gt, [(0, 4), *[(0,)] * 4])
    crowd, difficult = crowd.astype(bool), difficult.astype(bool)
    dt_image = np.repeat(np.arange(len(dt)), [len(image[0]) for image in dt])
    gt_image = np.repeat(np.arange(len(gt)), [len(image[0]) for image in gt])
    kept = np.flatnonzero(scores >= score_threshold)
    pairs = overlapping_pairs(
        dt_image[kept], dt_boxes[kept], gt_image, gt_boxes, crowd, at_least=iou_threshold
    )
    return confusion_of_pairs(
        pairs,
        dt_scores=scores[kept],
        dt_labels=dt_labels.astype(np.int64)[kept],
        gt_labels=gt_labels.astype(np.int64),
        gt_counts=~(crowd | difficult),
        num_classes=num_classes,
    )


def confusion_of_pairs(
    pairs: Pairs,  # of sufficient overlap
    *,
    dt_scores: np.ndarray,  # [N]
    dt_labels: np.ndarray,  # [N]
    gt_labels: np.ndarray,  # [M]
    gt_counts: np.ndarray,  # [M]
    num_classes: int,
) -> np.ndarray:
    """The matrix [K + 1, K + 1], counting all detections given."""
    counts = gt_counts[pairs.gt_row]
    excused = np.zeros(len(dt_labels), bool)
    excused[pairs.dt_row[~counts]] = True
    pairs = pairs.where(np.flatnonzero(counts))
    scores = dt_scores[pairs.dt_row]
    best_first = np.lexsort((pairs.gt_row, pairs.dt_row, 0.0 - scores, 0.0 - pairs.overlap))
    paired_dt, paired_gt = _pair(pairs.where(best_first))

    alone, missed = ~excused, gt_counts.copy()
    alone[paired_dt] = missed[paired_gt] = False
    truth = np.concatenate(
        [gt_labels[paired_gt], gt_labels[missed], np.full(int(alone.sum()), num_classes)]
    )
    seen = np.concatenate(
        [dt_labels[paired_dt], np.full(int(missed.sum()), num_classes), dt_labels[alone]]
    )
    size = num_classes + 1
    return np.bincount(truth * size + seen, minlength=size * size).reshape(size, size)


def check_threshold(iou_threshold: float) -> None:
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"`iou_threshold` must lie in (0, 1], got {iou_threshold}")


def _pair(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of detections and objects, paired one to one in the order of `pairs`.

    A pair that is the first remaining one for both its detection and its object is certain to be
    taken, so each round takes all of those at once.
    """
    taken_dt, taken_gt = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while len(pairs.dt_row):
        first = _is_first(pairs.dt_row) & _is_first(pairs.gt_row)
        d, g = pairs.dt_row[first], pairs.gt_row[first]
        taken_dt.append(d)
        taken_gt.append(g)
        free_dt, free_gt = (np.ones(rows.max() + 1, bool) for rows in (pairs.dt_row, pairs.gt_row))
        free_dt[d] = free_gt[g] = False
        pairs = pairs.where(np.flatnonzero(free_dt[pairs.dt_row] & free_gt[pairs.gt_row]))
    return np.concatenate(taken_dt), np.concatenate(taken_gt)


def _is_first(rows: np.ndarray) -> np.ndarray:
    """Whether each entry is the first with its value."""
    place = np.arange(len(rows))
    first = np.empty(rows.max() + 1, np.int64)
    first[rows[::-1]] = place[::-1]  # where several are written to one place, the last remains
    return first[rows] == place


def _concatenate(
    images: Sequence[tuple[np.ndarray, ...]], empty: list[tuple[int, ...]]
) -> list[np.ndarray]:
    columns = zip(*images) if images else [()] * len(empty)
    return [np.concatenate([np.zeros(shape), *column]) for column, shape in zip(columns, empty)]
