"""Precision over resampled images, in plain NumPy.

This file is the specification of resampling: an image that was drawn `w` times is in the data set
`w` times in succession. Among equal scores in an image, the copies of each detection follow each
other.
"""

import numpy as np

from sightline.reference.average_precision import rank_in_group, sample_curve


def resampled_precision(
    outcome,
    dt_scores,
    dt_offsets,
    class_offsets,
    gt_count,
    group_image,
    weights,
    *,
    max_detections=(1, 10, 100),
    recall_thresholds=None,
):
    """Precision, recall and scores with each image `weights` times in the data set.

    Args:
        outcome: int8 [A, T, D] of `match_detections`, the groups sorted by class, then by image.
        dt_scores: float64 [D].
        dt_offsets: int64 [S + 1], where the detections of each group begin.
        class_offsets: int64 [K + 1], at which group each class begins.
        gt_count: int64 [A, S], objects that count.
        group_image: int64 [S], image of each group.
        weights: int64 [I], how often each image was drawn.

    Returns:
        What `accumulate_precision` returns for that data set.
    """
    scores = np.asarray(dt_scores, np.float64)
    grid = np.linspace(0.0, 1.0, 101) if recall_thresholds is None else recall_thresholds
    shape = (outcome.shape[1], len(grid), len(class_offsets) - 1, len(outcome), len(max_detections))
    precision_at, score_at = np.full(shape, -1.0), np.full(shape, -1.0)
    final_recall = np.full((shape[0], *shape[2:]), -1.0)
    rank = rank_in_group(scores, dt_offsets)
    copies = np.repeat(weights[group_image], np.diff(dt_offsets))  # of each detection
    for k, a, m in np.ndindex(shape[2:]):
        first, last = class_offsets[k], class_offsets[k + 1]
        positives = (gt_count[a, first:last] * weights[group_image[first:last]]).sum()
        if positives == 0:
            continue
        dt = np.arange(dt_offsets[first], dt_offsets[last])
        dt = dt[rank[dt] < max_detections[m]]
        dt = dt[np.argsort(-scores[dt], kind="stable")]
        dt = np.repeat(dt, copies[dt])
        for t in range(shape[0]):
            precision_at[t, :, k, a, m], final_recall[t, k, a, m], score_at[t, :, k, a, m] = (
                sample_curve(outcome[a, t, dt], scores[dt], positives, grid)
            )
    return precision_at, final_recall, score_at
