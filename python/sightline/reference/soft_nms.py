"""Soft-NMS in plain NumPy: the specification of the kernel.

Computed in float64 where boxes or scores are, otherwise in float32; thresholds and sigma are
rounded to that type. NumPy's exponential may differ from the kernel's in the last two places.
"""

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def soft_nms(
    boxes: Floats,
    scores: Floats,
    *,
    method: str = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
    idxs: Integers | None = None,
    max_detections: int | None = None,
) -> tuple[Integers, Floats]:
    """Indices [K] of the kept boxes, best first, and their scores [K] at that time."""
    dtype = np.result_type(np.float32, *(a.dtype for a in (boxes, scores) if a.dtype.kind == "f"))
    boxes, current = boxes.astype(dtype), scores.astype(dtype) + dtype.type(0)
    same = np.ones(len(boxes), bool)
    alive = current >= dtype.type(score_threshold)
    keep: list[int] = []
    kept_scores: list[float] = []
    while alive.any() and len(keep) != max_detections:
        best = int(np.argmax(np.where(alive, current, -1)))  # the first of equal ones
        keep.append(best)
        kept_scores.append(current[best])
        alive[best] = False
        if idxs is not None:
            same = idxs == idxs[best]
        overlap = box_iou(boxes[best : best + 1], boxes)[0]
        with np.errstate(all="ignore"):
            if method == "linear":
                factor = np.where(overlap > dtype.type(iou_threshold), 1 - overlap, dtype.type(1))
            else:
                decay = np.exp(-(overlap * overlap) / dtype.type(sigma))
                factor = np.where(overlap > 0, decay, dtype.type(1))
            current = np.where(same & alive, current * factor, current)
        alive &= current >= dtype.type(score_threshold)
    return np.array(keep, np.int64), np.array(kept_scores, dtype)
