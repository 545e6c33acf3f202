"""Precision over resampled images, in plain NumPy: the data set is written out again and again.

This file is the specification of resampling: an image drawn `w` times stands in the data set `w`
times, the copies next to each other. Everything else is `accumulate_precision`.
"""

import numpy as np

from sightline.reference.average_precision import accumulate_precision


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
        What `accumulate_precision` returns for the written-out data set.
    """
    copies = weights[group_image]
    groups = np.repeat(np.arange(len(copies)), copies)
    sizes = np.diff(dt_offsets)[groups]
    ranges = [np.arange(dt_offsets[s], dt_offsets[s + 1]) for s in groups]
    rows = np.concatenate([np.zeros(0, np.int64), *ranges])
    return accumulate_precision(
        outcome[:, :, rows],
        dt_scores[rows],
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([[0], np.cumsum(copies)])[class_offsets],
        gt_count[:, groups],
        max_detections=max_detections,
        recall_thresholds=recall_thresholds,
    )
