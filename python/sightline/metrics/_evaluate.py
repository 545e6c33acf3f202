"""From boxes and labels of all images to the arrays of a protocol: lay out, match, accumulate."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sightline.metrics._ops import accumulate_sorted, average_curves, match_sorted


@dataclass(frozen=True)
class FlatDetections:
    """Detections of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64, row of the image in the order that breaks ties between images
    label: np.ndarray  # [N] int64, row of the class
    boxes_xywh: np.ndarray  # [N, 4] float64
    scores: np.ndarray  # [N] float64


@dataclass(frozen=True)
class FlatTargets:
    """Ground truth of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64
    label: np.ndarray  # [N] int64
    boxes_xywh: np.ndarray  # [N, 4] float64
    area: np.ndarray  # [N] float64
    crowd: np.ndarray  # [N] bool
    ignore: np.ndarray  # [N] bool
    void: np.ndarray | None = None  # [N] bool: taken by a match that is then not counted


@dataclass(frozen=True)
class Rules:
    """What distinguishes one protocol from another."""

    matching: str  # "coco" or "voc"
    iou_thresholds: np.ndarray  # [T]
    recall_thresholds: np.ndarray  # [R]
    area_ranges: np.ndarray  # [A, 2]
    max_detections: tuple[int, ...] | None  # None: all
    inclusive: bool
    average: str | None  # method of `average_precision`, None: the mean of the sampled precision


@dataclass(frozen=True)
class EvaluatedArrays:
    precision: np.ndarray  # [T, R, K, A, M], -1 where a class has no ground truth
    recall: np.ndarray  # [T, K, A, M]
    scores: np.ndarray  # [T, R, K, A, M]
    class_ap: np.ndarray  # [T, K], NaN where a class has no ground truth
    gt_count: np.ndarray  # [K], what counts in the first area range
    dt_count: np.ndarray  # [K]


def evaluate(
    dt: FlatDetections, gt: FlatTargets, num_classes: int, rules: Rules, *, use_classes: bool = True
) -> EvaluatedArrays:
    """Evaluate; `use_classes=False` puts all labels in one class, as proposals are scored.

    Memory: linear in detections and ground truth, times areas and thresholds (one byte each).
    """
    if not use_classes:
        num_classes = 1
    dt_class = dt.label if use_classes else np.zeros_like(dt.label)
    gt_class = gt.label if use_classes else np.zeros_like(gt.label)
    layout = _lay_out(dt, gt, dt_class, gt_class, num_classes)
    dt_order, gt_order, dt_offsets = layout.dt_order, layout.gt_order, layout.dt_offsets

    dt_boxes, dt_scores = dt.boxes_xywh[dt_order], dt.scores[dt_order]
    outcome, group_count, gt_index = match_sorted(
        dt_boxes,
        dt_offsets,
        gt.boxes_xywh[gt_order],
        gt.area[gt_order],
        gt.crowd[gt_order],
        gt.ignore[gt_order],
        layout.gt_offsets,
        iou_thresholds=rules.iou_thresholds,
        area_ranges=rules.area_ranges,
        max_detections=None if rules.max_detections is None else max(rules.max_detections),
        rule=rules.matching,
        inclusive=rules.inclusive,
        return_index=gt.void is not None,
    )
    if gt.void is not None:
        void = np.append(gt.void[gt_order], False)[gt_index]  # the appended row answers -1
        _unmatch(outcome, void, dt_boxes, rules.area_ranges)

    gt_count = _sum_by_class(group_count, layout.class_groups)
    class_rows = dt_offsets[layout.class_groups]
    # stable: equal scores by image, then by place in the image
    class_order = np.lexsort((0.0 - dt_scores, dt_class[dt_order]))
    precision, recall, scores = accumulate_sorted(
        outcome,
        dt_scores,
        class_order,
        np.arange(len(dt_scores)) - np.repeat(dt_offsets[:-1], np.diff(dt_offsets)),
        class_rows,
        gt_count,
        max_detections=rules.max_detections or (max(1, len(dt_scores)),),
        recall_thresholds=rules.recall_thresholds,
    )
    positives = gt_count[0]
    if rules.average is None:
        sampled = precision[:, :, :, 0, -1]
        class_ap = np.where(sampled[:, 0] < 0, np.nan, sampled.mean(axis=1))
    else:
        ranked = outcome[0][:, class_order]
        class_ap = _exact_class_ap(ranked, class_rows, positives, rules.average)
    dt_count = np.bincount(dt_class, minlength=num_classes)
    return EvaluatedArrays(precision, recall, scores, class_ap, positives, dt_count)


@dataclass(frozen=True)
class _Layout:
    """Rows sorted into groups, one for each class and image that has any, by class then image."""

    dt_order: np.ndarray  # [D] input row of each sorted row; in a group, best first
    gt_order: np.ndarray  # [G]
    dt_offsets: np.ndarray  # [S + 1] where each group begins
    gt_offsets: np.ndarray  # [S + 1]
    class_groups: np.ndarray  # [K + 1] at which group each class begins


def _lay_out(
    dt: FlatDetections,
    gt: FlatTargets,
    dt_class: np.ndarray,
    gt_class: np.ndarray,
    num_classes: int,
) -> _Layout:
    num_images = 1 + max((int(x.max()) for x in (dt.image, gt.image) if len(x)), default=0)
    dt_key, gt_key = dt_class * num_images + dt.image, gt_class * num_images + gt.image
    keys = np.union1d(dt_key, gt_key)
    # equal scores by label (where labels share a group), then as given
    dt_order = np.lexsort((dt.label, 0.0 - dt.scores, dt_key))
    gt_order = np.lexsort((gt.label, gt_key))
    return _Layout(
        dt_order,
        gt_order,
        np.append(np.searchsorted(dt_key[dt_order], keys), len(dt_key)),
        np.append(np.searchsorted(gt_key[gt_order], keys), len(gt_key)),
        np.searchsorted(keys // num_images, np.arange(num_classes + 1)),
    )


def _sum_by_class(group_count: np.ndarray, class_groups: np.ndarray) -> np.ndarray:
    """Sums [A, K] of [A, S] over the groups of each class."""
    total = np.pad(group_count.cumsum(axis=1), ((0, 0), (1, 0)))
    return np.ascontiguousarray(total[:, class_groups[1:]] - total[:, class_groups[:-1]])


def _unmatch(
    outcome: np.ndarray, void: np.ndarray, dt_boxes: np.ndarray, area_ranges: np.ndarray
) -> None:
    """Count matches with void ground truth as unmatched: false, or ignored outside the range."""
    area = dt_boxes[:, 2] * dt_boxes[:, 3]
    low, high = area_ranges[:, :1], area_ranges[:, 1:]
    unmatched = np.where((area < low) | (area > high), -1, 0).astype(np.int8)[:, None, :]
    outcome[...] = np.where(void & (outcome == 1), unmatched, outcome)


def _exact_class_ap(
    ranked: np.ndarray,  # [T, D] outcomes by class, best first
    class_rows: np.ndarray,  # [K + 1]
    positives: np.ndarray,  # [K]
    method: str,
) -> np.ndarray:
    """AP [T, K] from every point of each class's curve, not from sampled recalls."""
    class_ap = np.full((len(ranked), len(positives)), np.nan)
    for k, (begin, end) in enumerate(pairwise(class_rows)):
        if positives[k] == 0:
            continue
        outcome = ranked[:, begin:end]
        tp, fp = np.cumsum(outcome == 1, axis=1), np.cumsum(outcome == 0, axis=1)
        precision = tp / np.maximum(tp + fp, 1)  # 0 before the first detection that counts
        class_ap[:, k] = average_curves(tp / positives[k], precision, method)
    return class_ap
