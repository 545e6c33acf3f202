"""Checks of gaussian soft-NMS that hold for any rounding of its exponential."""

import numpy as np

from sightline import reference


def assert_gaussian_rules(
    boxes,
    scores,
    result,
    *,
    sigma=0.5,
    score_threshold=0.001,
    idxs=None,
    max_detections=None,
):
    """Each kept box had the best score, to rounding, and none that stays above the threshold is
    missing.

    `reference.soft_nms` cannot tell that alone: where two scores tie to the last bits, another
    exponential takes the other box first, and what overlaps the two gets other scores from there
    on. So the decays are followed here in the order of `result`, with bounds on each score: for
    every factor 2 ulp of the exponential and half an ulp of the product.
    """
    keep, kept = result
    dtype = kept.dtype.type
    info = np.finfo(dtype)
    exact = scores.astype(dtype).astype(np.longdouble)
    factors = np.zeros(len(scores))  # that each score was multiplied by

    def bounds():
        relative, absolute = 3 * info.eps * factors, factors * float(info.smallest_subnormal)
        return exact * (1 - relative) - absolute, exact * (1 + relative) + absolute

    threshold = dtype(score_threshold)
    left = exact >= threshold  # neither kept nor surely below the threshold
    for i, score in zip(keep, kept, strict=True):
        low, high = bounds()
        assert left[i] and low[i] <= score <= high[i], (i, score, exact[i])
        sure = left & (low >= threshold)
        assert high[i] >= low[sure].max(initial=-1), (i, score)
        left[i] = False
        overlap = reference.box_iou(boxes[i : i + 1].astype(dtype), boxes.astype(dtype))[0]
        lowered = left & (overlap > 0) & (True if idxs is None else idxs == idxs[i])
        exponent = -(overlap[lowered] * overlap[lowered]) / dtype(sigma)
        exact[lowered] *= np.exp(exponent.astype(np.longdouble))
        factors[lowered] += 1
        left &= bounds()[1] >= threshold
    if len(keep) != max_detections:
        assert not (left & (bounds()[0] >= threshold)).any()
    assert (kept[1:] <= kept[:-1]).all()
    assert (np.diff(keep)[kept[1:] == kept[:-1]] > 0).all(), "equal scores by ascending index"
