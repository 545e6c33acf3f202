"""Matrix NMS: all scores are lowered at once by the overlaps with better boxes."""

import math
from typing import Any

from ._rules import register_rules
from .arguments import (
    as_floats,
    as_indices,
    backend,
    check_boxes,
    check_choice,
    check_length,
    check_number,
    detached,
)

Array = Any  # a torch.Tensor or a numpy.ndarray


def matrix_nms(
    boxes: Array,
    scores: Array,
    *,
    idxs: Array | None = None,
    method: str = "gaussian",
    sigma: float = 2.0,
) -> Array:
    """Scores, each lowered by the better box that suppresses it most.

    With m_i the largest IoU of box i with a better box, the score of box j is multiplied by the
    minimum over better boxes i of f(IoU_ij) / f(m_i), or by 1 where that is larger. No box is
    removed: keep those whose lowered score is above a threshold, as in the example.

    Args:
        boxes: [N, 4] xyxy. float16, bfloat16 and integers are computed in float32; boxes and scores
            in float64 if one of them is.
        scores: [N], any real dtype, tensor or array as `boxes` is.
        idxs: integers [N]: boxes with different `idxs` do not affect each other. None: one group.
        method: "gaussian", f(u) = exp(-sigma u^2), as in the authors' code (the paper divides by
            sigma), or "linear", f(u) = 1 - u.
        sigma: more than 0 and finite, for the gaussian method only.

    Returns:
        [N], float32 or float64, in the order of the input; without gradient.

    Raises:
        ValueError: a wrong shape, device or number.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    A box is better with a higher score, among equals with a lower index; NaN comes last. In the
    linear method a box that equals a better one (m_i = 1) suppresses nothing; the authors' code
    divides zero by zero. Invalid boxes overlap nothing, as in `box_iou`, and keep their scores.
    Memory is O(N); time is O(N log N + N^2 / 4096 + pairs that overlap) on the CPU. CUDA compares
    all pairs and does not synchronise. The result has the same bits for any number of threads and
    instruction set.

    Source: Wang et al., SOLOv2: dynamic and fast instance segmentation, 2020, equations 3 and 4.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    >>> scores = np.array([0.9, 0.8, 0.7])
    >>> candidates = np.flatnonzero(scores > 0.1)  # fewer boxes, before the call
    >>> lowered = matrix_nms(boxes[candidates], scores[candidates], method="linear")
    >>> lowered
    array([0.9, 0.4, 0.7])
    >>> candidates[lowered > 0.5]
    array([0, 2])
    """
    native = backend(boxes=boxes, scores=scores, idxs=idxs, optional=("idxs",))
    check_boxes("boxes", boxes)
    check_length("scores", scores, boxes.shape[0], "boxes")
    check_choice("method", method, ("linear", "gaussian"))
    sigma = check_number("sigma", sigma)
    if not 0 < sigma < math.inf:
        raise ValueError(f"`sigma` must be more than 0 and finite, got {sigma}")
    if idxs is not None:
        check_length("idxs", idxs, boxes.shape[0], "boxes")
        (idxs,) = as_indices(idxs=idxs)
    boxes, scores = as_floats(boxes=detached(boxes), scores=detached(scores))
    return native.matrix_nms(boxes, scores, idxs, method == "gaussian", sigma)


register_rules("matrix_nms", lambda _boxes, scores, *_: scores.new_empty(scores.shape))
