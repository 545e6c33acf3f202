"""Matrix NMS in plain NumPy: the specification of the kernel.

Computed in float64 where boxes or scores are, otherwise in float32. NumPy's exponential may differ
from the kernel's in the last two places.
"""

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou
from .nms import best_first

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def matrix_nms(
    boxes: Floats,
    scores: Floats,
    *,
    idxs: Integers | None = None,
    method: str = "gaussian",
    sigma: float = 2.0,
) -> Floats:
    """[N]: the scores, lowered, in the order of the input."""
    dtype = np.result_type(np.float32, *(a.dtype for a in (boxes, scores) if a.dtype.kind == "f"))
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    one = dtype.type(1)
    order = best_first(scores)
    rank = np.argsort(order)
    better = rank[:, None] < rank  # [i, j]: i comes before j
    if idxs is not None:
        better &= idxs[:, None] == idxs
    iou = np.where(better, box_iou(boxes, boxes), dtype.type(0))
    most = iou.max(0, initial=0)[:, None]  # of box i with better ones
    with np.errstate(all="ignore"):
        if method == "linear":
            left = np.where(most < 1, (one - iou) / (one - most), one)
        else:
            left = np.exp(-(dtype.type(sigma) * (iou * iou - most * most)))
        least = np.where(better & (iou > 0), left, one).min(0, initial=one)
        return np.asarray(scores * least, dtype)
