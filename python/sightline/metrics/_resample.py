"""The arrays of an evaluation with each image in the data set as often as it was drawn."""

import numpy as np

from sightline.metrics._evaluate import Rules, exact_class_ap
from sightline.metrics._evidence import Groups
from sightline.metrics._ops import accumulate_sorted


def resample(
    groups: Groups,
    rules: Rules,
    weights: np.ndarray,  # [I] how often each image was drawn
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """precision [T, R, K, A, M], recall [T, K, A, M] and class AP [T, K].

    Equal to evaluating the data set in which the copies of an image stand next to each other.
    """
    copies = weights[groups.image]
    drawn = np.repeat(np.arange(len(copies)), copies)
    sizes = np.diff(groups.dt_offsets)[drawn]
    ends = np.cumsum(sizes)
    rank = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    rows = np.repeat(groups.dt_offsets[drawn], sizes) + rank
    class_groups = np.append(0, np.cumsum(copies))[groups.class_offsets]
    class_rows = np.append(0, ends)[class_groups]
    gt_count = _sum_by_class(groups.gt_count[:, drawn], class_groups)
    label = np.repeat(np.arange(len(class_rows) - 1), np.diff(class_rows))
    outcome, scores = np.ascontiguousarray(groups.outcome[:, :, rows]), groups.scores[rows]
    order = np.lexsort((0.0 - scores, label))
    precision, recall, _ = accumulate_sorted(
        outcome,
        scores,
        order,
        rank,
        class_rows,
        gt_count,
        max_detections=rules.max_detections or (max(1, len(scores)),),
        recall_thresholds=rules.recall_thresholds,
    )
    if rules.average is not None:
        ranked = outcome[0][:, order]
        return precision, recall, exact_class_ap(ranked, class_rows, gt_count[0], rules.average)
    sampled = precision[:, :, :, 0, -1]
    return precision, recall, np.where(sampled[:, 0] < 0, np.nan, sampled.mean(axis=1))


def _sum_by_class(group_count: np.ndarray, class_groups: np.ndarray) -> np.ndarray:
    """Sums [A, K] of [A, S] over the groups of each class."""
    total = np.pad(group_count.cumsum(axis=1), ((0, 0), (1, 0)))
    return np.ascontiguousarray(total[:, class_groups[1:]] - total[:, class_groups[:-1]])
