"""NMS with outputs of a fixed size, in plain NumPy."""

import numpy as np

from .nms import Floats, Integers, _floats, batched_nms


def nms_padded(
    boxes: Floats,
    scores: Floats,
    iou_threshold: float,
    *,
    max_detections: int,
    idxs: Integers | None = None,
    score_threshold: float | None = None,
) -> tuple[Integers, Integers]:
    """Indices [B, D], -1 past the kept ones, and count [B] of boxes [B, N, 4].

    Without the leading B where boxes are [N, 4].
    """
    if boxes.ndim == 2:
        indices, count = nms_padded(
            boxes[None],
            scores[None],
            iou_threshold,
            max_detections=max_detections,
            idxs=None if idxs is None else idxs[None],
            score_threshold=score_threshold,
        )
        return indices[0], count[0]
    scores = _floats(scores)
    indices = np.full((len(boxes), max_detections), -1, np.int64)
    count = np.zeros(len(boxes), np.int64)
    for b in range(len(boxes)):
        candidates = np.arange(scores.shape[1])
        if score_threshold is not None:
            candidates = np.flatnonzero(scores[b] > scores.dtype.type(score_threshold))
        segments = np.zeros(len(candidates), np.int64) if idxs is None else idxs[b][candidates]
        keep = batched_nms(boxes[b][candidates], scores[b][candidates], segments, iou_threshold)
        keep = candidates[keep[:max_detections]]
        count[b] = len(keep)
        indices[b, : len(keep)] = keep
    return indices, count
