"""From boxes and labels of all images to the arrays of a protocol: lay out, match, accumulate."""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from sightline.metrics.detection.kernels import (
    accumulate_masks,
    average_curves,
    lay_out_detections,
    match_masks,
)
from sightline.metrics.detection.rows import (
    MAX_MASK_THRESHOLDS,
    FlatDetections,
    FlatTargets,
    Layout,
    Matched,
    Overlaps,
    Rules,
)


@dataclass(frozen=True)
class EvaluatedArrays:
    # views of arrays that are laid out in memory as [K, A, M, T, R]
    precision: np.ndarray  # [T, R, K, A, M], -1 where a class has no ground truth
    recall: np.ndarray  # [T, K, A, M]
    scores: np.ndarray  # [T, R, K, A, M]
    class_ap: np.ndarray  # [T, K], NaN where a class has no ground truth
    gt_count: np.ndarray  # [K], objects that count in the first area range
    dt_count: np.ndarray  # [K]
    matched: Matched


def lay_out(
    dt: FlatDetections,
    gt: FlatTargets,
    num_classes: int,
    *,
    num_images: int,
    max_detections: int | None = None,
    use_classes: bool = True,
) -> Layout:
    """Group and sort the rows.

    `use_classes=False` puts all labels into one class, as for proposals; the rows of an image are
    then ordered by label, and as given within a label.
    """
    arrays = lay_out_detections(
        dt.image,
        dt.label if use_classes else np.zeros_like(dt.label),
        None if use_classes else dt.label,
        dt.scores,
        gt.image,
        gt.label if use_classes else np.zeros_like(gt.label),
        None if use_classes else gt.label,
        num_images=num_images,
        num_classes=num_classes if use_classes else 1,
        max_detections=max_detections,
    )
    return Layout(**dict(zip((field.name for field in fields(Layout)), arrays, strict=True)))


def evaluate(
    dt: FlatDetections,
    gt: FlatTargets,
    num_classes: int,
    rules: Rules,
    *,
    num_images: int | None = None,
    use_classes: bool = True,
    overlaps: Overlaps | None = None,
) -> EvaluatedArrays:
    """Evaluate; `overlaps` replaces the IoU of boxes.

    Memory is linear in detections and ground truth; the outcomes of up to 16 IoU thresholds take
    4 bytes per detection and area range.
    """
    if num_images is None:
        num_images = 1 + max((int(x.max()) for x in (dt.image, gt.image) if len(x)), default=-1)
    layout = lay_out(
        dt,
        gt,
        num_classes,
        num_images=num_images,
        max_detections=None if rules.max_detections is None else max(rules.max_detections),
        use_classes=use_classes,
    )
    given = None if overlaps is None else overlaps(layout)
    thresholds = [
        rules.iou_thresholds[first : first + MAX_MASK_THRESHOLDS]
        for first in range(0, len(rules.iou_thresholds), MAX_MASK_THRESHOLDS)
    ]
    outcome = tuple(match_masks(dt, gt, layout, rules, chunk, given) for chunk in thresholds)
    matched = Matched(dt, gt, rules, layout, num_images, outcome)

    gt_class = gt.label if use_classes else np.zeros_like(gt.label)
    gt_count = np.stack(
        [
            np.bincount(gt_class[counted], minlength=layout.num_classes)
            for counted in matched.gt_counted
        ]
    ).astype(np.int64)
    parts = [
        accumulate_masks(masks, layout, gt_count, matched.caps, rules.recall_thresholds, len(chunk))
        for masks, chunk in zip(outcome, thresholds)
    ]
    # one part is by far the usual case, and is not copied
    precision, recall, scores = (
        part[0] if len(part) == 1 else np.concatenate(part, axis=3) for part in zip(*parts)
    )
    positives = gt_count[0]
    if rules.average is None:
        sampled = precision[:, 0, -1]  # [K, T, R]
        class_ap = np.where(positives == 0, np.nan, sampled.mean(axis=2).T)
    else:
        class_ap = exact_class_ap(
            matched.outcome_codes(), layout.class_offsets, positives, rules.average
        )
    return EvaluatedArrays(
        precision.transpose(3, 4, 0, 1, 2),
        recall.transpose(3, 0, 1, 2),
        scores.transpose(3, 4, 0, 1, 2),
        class_ap,
        positives,
        np.bincount(dt.label, minlength=num_classes) if use_classes else np.array([len(dt.label)]),
        matched,
    )


def exact_class_ap(
    ranked: np.ndarray,  # [T, C] outcomes in the class order
    class_offsets: np.ndarray,  # [K + 1]
    positives: np.ndarray,  # [K]
    method: str,
) -> np.ndarray:
    """AP [T, K] from every point of each class's curve, not from sampled recalls."""
    class_ap = np.full((len(ranked), len(positives)), np.nan)
    for k, (begin, end) in enumerate(pairwise(class_offsets)):
        if positives[k] == 0:
            continue
        outcome = ranked[:, begin:end]
        tp, fp = np.cumsum(outcome == 1, axis=1), np.cumsum(outcome == 0, axis=1)
        precision = tp / np.maximum(tp + fp, 1)  # 0 before the first detection that counts
        class_ap[:, k] = average_curves(tp / positives[k], precision, method)
    return class_ap
