"""AP averaged over IoU thresholds with weights."""

from collections.abc import Sequence

import numpy as np

__all__ = ["threshold_weighted_ap"]


def threshold_weighted_ap(
    ap: Sequence[float] | np.ndarray, iou_thresholds: Sequence[float] | np.ndarray | None = None
) -> float:
    """AP averaged over IoU thresholds with the threshold as the weight.

    It is sum(t * AP_t) / sum(t), a definition of AP[.5:.05:.95] found in course notes; the plain
    mean is `DetectionResults.ap`.

    Args:
        ap: AP at each threshold, [T].
        iou_thresholds: [T], positive; by default .50, .55 ... .95, whose sum is 7.25.

    Returns:
        The weighted mean; NaN if an AP is NaN.

    Example:
        >>> round(threshold_weighted_ap([0.6, 0.3], [0.5, 0.75]), 6)
        0.42
    """
    values = np.asarray(ap, np.float64)
    weights = np.linspace(0.5, 0.95, 10) if iou_thresholds is None else np.asarray(iou_thresholds)
    if values.shape != weights.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"`ap` must have one value for each of {list(weights.shape)} thresholds, "
            f"got shape {list(values.shape)}"
        )
    if not np.all(weights > 0):
        raise ValueError(f"`iou_thresholds` must be positive, got {weights.tolist()}")
    return float((weights * values).sum() / weights.sum())
