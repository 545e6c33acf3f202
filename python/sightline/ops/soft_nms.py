"""Soft non-maximum suppression: overlap lowers scores instead of removing boxes."""

import math
from typing import Any

from ._rules import indices, register_rules, some_number
from .arguments import (
    MAX_COUNT,
    as_floats,
    as_indices,
    backend,
    check_boxes,
    check_choice,
    check_count,
    check_fraction,
    check_length,
    check_number,
    detached,
)

Array = Any  # a torch.Tensor or a numpy.ndarray


def soft_nms(
    boxes: Array,
    scores: Array,
    *,
    method: str = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
    idxs: Array | None = None,
    max_detections: int | None = None,
) -> tuple[Array, Array]:
    """Kept boxes and their scores, after each kept box has lowered the scores of overlapping ones.

    The best box is kept, and the scores of the others are multiplied by a factor that depends on
    their IoU with it; then the best of these is kept, and so on. A box is removed once its score
    is below `score_threshold`.

    Args:
        boxes: [N, 4] xyxy. float16, bfloat16 and integers are computed in float32; boxes and scores
            in float64 if one of them is.
        scores: [N], any real dtype, tensor or array as `boxes` is. Boxes with negative or NaN
            scores are removed at once.
        method: "linear" multiplies by 1 - IoU where that is more than `iou_threshold`, "gaussian"
            by exp(-IoU^2 / sigma).
        iou_threshold: in [0, 1], for the linear method only.
        sigma: more than 0 and finite, for the gaussian method only.
        score_threshold: at least 0. A box whose score equals it is kept, as in the authors' code,
            which always keeps the best box; this op does not.
        idxs: integers [N]: boxes with different `idxs` do not affect each other. None: one group.
        max_detections: the largest number of boxes to keep, over all groups together.

    Returns:
        int64 [K], indices in the order in which boxes were kept, which is by descending lowered
        score, equal ones by ascending index; and these lowered scores [K]. Neither has a gradient;
        for scores with a gradient, index `scores` with the first result.

    Raises:
        ValueError: a wrong shape, device or number.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Invalid boxes overlap nothing, as in `box_iou`, and keep their scores. Memory is O(N); time is
    O(N K / 4096 + pairs that overlap). The result has the same bits for any number of threads and
    instruction set; the exponential is within 2 ulp. On CUDA there is one synchronisation, for the
    size of the result.

    Source: Bodla et al., Soft-NMS: improving object detection with one line of code, 2017.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    >>> keep, scores = soft_nms(boxes, np.array([0.9, 0.8, 0.7]))
    >>> keep, scores
    (array([0, 2, 1]), array([0.9, 0.7, 0.4]))
    """
    native = backend(boxes=boxes, scores=scores, idxs=idxs, optional=("idxs",))
    check_boxes("boxes", boxes)
    check_length("scores", scores, boxes.shape[0], "boxes")
    check_choice("method", method, ("linear", "gaussian"))
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    sigma = check_number("sigma", sigma)
    if not 0 < sigma < math.inf:
        raise ValueError(f"`sigma` must be more than 0 and finite, got {sigma}")
    score_threshold = check_number("score_threshold", score_threshold)
    if not score_threshold >= 0:
        raise ValueError(
            f"`score_threshold` must be at least 0, got {score_threshold}: "
            "the decay would raise negative scores"
        )
    limit = MAX_COUNT
    if max_detections is not None:
        limit = check_count("max_detections", max_detections, at_least=0)
    if idxs is not None:
        check_length("idxs", idxs, boxes.shape[0], "boxes")
        (idxs,) = as_indices(idxs=idxs)
    boxes, scores = as_floats(boxes=detached(boxes), scores=detached(scores))
    return native.soft_nms(
        boxes, scores, idxs, method == "gaussian", iou_threshold, sigma, score_threshold, limit
    )


def _outputs(boxes, scores, *_rest):
    count = some_number()
    return indices(boxes, count), scores.new_empty(count)


register_rules("soft_nms", _outputs)
