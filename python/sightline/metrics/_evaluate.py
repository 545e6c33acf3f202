"""From boxes and labels of all images to the arrays of a protocol: lay out, match, accumulate."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sightline.metrics._ops import accumulate_precision, average_precision, match_detections


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
    num_images = 1 + max((int(x.max()) for x in (dt.image, gt.image) if len(x)), default=0)
    dt_class = dt.label if use_classes else np.zeros_like(dt.label)
    gt_class = gt.label if use_classes else np.zeros_like(gt.label)
    num_classes = num_classes if use_classes else 1
    dt_key, gt_key = dt_class * num_images + dt.image, gt_class * num_images + gt.image
    keys = np.union1d(dt_key, gt_key)
    dt_order, dt_offsets = _group(dt_key, dt.label, keys)
    gt_order, gt_offsets = _group(gt_key, gt.label, keys)
    class_offsets = np.searchsorted(keys // num_images, np.arange(num_classes + 1))

    dt_boxes, dt_scores = dt.boxes_xywh[dt_order], dt.scores[dt_order]
    cap = None if rules.max_detections is None else max(rules.max_detections)
    outcome, gt_count, *gt_index = match_detections(
        dt_boxes,
        dt_scores,
        dt_offsets,
        gt.boxes_xywh[gt_order],
        gt_offsets,
        gt_area=gt.area[gt_order],
        gt_crowd=gt.crowd[gt_order],
        gt_ignore=gt.ignore[gt_order],
        iou_thresholds=rules.iou_thresholds,
        area_ranges=rules.area_ranges,
        max_detections=cap,
        rule=rules.matching,
        inclusive=rules.inclusive,
        return_index=gt.void is not None,
    )
    if gt.void is not None:
        void = np.append(gt.void[gt_order], False)[gt_index[0]]  # the appended row answers -1
        _unmatch(outcome, void, dt_boxes, rules.area_ranges)

    caps = rules.max_detections or (max(1, len(dt_scores)),)
    precision, recall, scores = accumulate_precision(
        outcome,
        dt_scores,
        dt_offsets,
        class_offsets,
        gt_count,
        max_detections=caps,
        recall_thresholds=rules.recall_thresholds,
    )
    total = np.concatenate([[0], np.cumsum(gt_count[0])])
    positives = total[class_offsets[1:]] - total[class_offsets[:-1]]
    if rules.average is None:
        sampled = precision[:, :, :, 0, -1]
        class_ap = np.where(sampled[:, 0] < 0, np.nan, sampled.mean(axis=1))
    else:
        class_ap = _exact_class_ap(
            outcome[0], dt_scores, dt_offsets[class_offsets], positives, rules
        )
    dt_count = np.bincount(dt_class, minlength=num_classes)
    return EvaluatedArrays(precision, recall, scores, class_ap, positives, dt_count)


def _group(key: np.ndarray, label: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order that sorts rows by key, then label, then input order; offsets [S + 1] of each key."""
    order = np.lexsort((label, key))
    return order, np.append(np.searchsorted(key[order], keys), len(key)).astype(np.int64)


def _unmatch(
    outcome: np.ndarray, void: np.ndarray, dt_boxes: np.ndarray, area_ranges: np.ndarray
) -> None:
    """Count matches with void ground truth as unmatched: false, or ignored outside the range."""
    area = dt_boxes[:, 2] * dt_boxes[:, 3]
    low, high = area_ranges[:, :1], area_ranges[:, 1:]
    unmatched = np.where((area < low) | (area > high), -1, 0).astype(np.int8)[:, None, :]
    outcome[...] = np.where(void & (outcome == 1), unmatched, outcome)


def _exact_class_ap(
    outcome: np.ndarray,  # [T, D]
    scores: np.ndarray,  # [D]
    class_offsets: np.ndarray,  # [K + 1], rows of detections
    positives: np.ndarray,  # [K]
    rules: Rules,
) -> np.ndarray:
    """AP [T, K] from every point of each class's curve, not from sampled recalls."""
    class_ap = np.full((len(outcome), len(positives)), np.nan)
    for k, (begin, end) in enumerate(pairwise(class_offsets)):
        if positives[k] == 0:
            continue
        ranked = outcome[:, begin:end][:, np.argsort(-scores[begin:end], kind="stable")]
        tp, fp = np.cumsum(ranked == 1, axis=1), np.cumsum(ranked == 0, axis=1)
        recall = tp / positives[k]
        precision = tp / np.maximum(tp + fp, 1)  # 0 before the first detection that counts
        class_ap[:, k] = average_precision(recall, precision, method=rules.average)
    return class_ap
