"""Weighted boxes fusion: merges the boxes of several models into one set."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._rules import register_rules, some_number
from .arguments import (
    as_floats,
    as_indices,
    backend,
    check_boxes,
    check_choice,
    check_fraction,
    check_length,
    check_number,
    check_numbers,
    detached,
    is_tensor,
    sequence,
    torch,
)

Array = Any  # a torch.Tensor or a numpy.ndarray

_CONF_TYPES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")  # as FusedScore


def weighted_boxes_fusion(
    boxes: Sequence[Array],
    scores: Sequence[Array],
    labels: Sequence[Array],
    *,
    weights: Sequence[float] | None = None,
    iou_threshold: float = 0.55,
    score_threshold: float = 0.0,
    conf_type: str = "avg",
    allows_overflow: bool = False,
) -> tuple[Array, Array, Array]:
    """Score-weighted means of overlapping boxes from several models.

    The boxes of each label are clustered, best first: a box joins the cluster whose mean box it
    overlaps most, where that IoU is more than `iou_threshold`, and otherwise starts a new one.

    Args:
        boxes: for each of M models [N_m, 4] xyxy in pixels or any other unit. float16, bfloat16 and
            integers are computed in float32; all in float64 if a box or a score is.
        scores: for each model [N_m]; fused scores are in [0, 1] where these are.
        labels: for each model integers [N_m].
        weights: M numbers, at least 0 and not all 0, that multiply the scores. None for all 1.
        iou_threshold: in [0, 1], rounded to the computing type.
        score_threshold: at least 0; boxes with a lower score, before weighting, are left out.
        conf_type: the score of a cluster of n boxes. "avg": the mean of their scores, times
            min(n, M) / M; "max": the largest; "box_and_model_avg": the mean, times the share of
            models with a box in the cluster; "absent_model_aware_avg": the mean, in which each
            model without a box counts as 0. M and the means count models by their weights.
        allows_overflow: for "avg" only: n / M instead of min(n, M) / M; scores may exceed 1.

    Returns:
        boxes [K, 4], scores [K], labels int64 [K], best first; equal scores by the position of the
        cluster's best box in the input. Without gradient.

    Raises:
        ValueError: a wrong length, shape, device or number.
        TypeError: a mixture of tensors and arrays, or a wrong dtype.

    Equal weighted scores are processed in the order of the input, model by model. Boxes without
    area and boxes with scores that are not finite are left out. A cluster whose scores are all 0
    has the box of its first member. Memory is O(N ceil(M / 64)); time is O(N log N + N^2 / 4096 +
    pairs that overlap) on the CPU. The result is the same for any number of threads. On CUDA there
    is one synchronisation, for the size of the result, and all boxes of a label are compared with
    all its clusters.

    The package of the authors, `ensemble_boxes`, differs: it clips boxes to [0, 1], swaps inverted
    corners, sums in float32, processes equal scores in no fixed order, and gives NaN where all
    scores of a cluster are 0.

    Source: Solovyev et al., Weighted boxes fusion: ensembling boxes from different object detection
    models, 2021.

    >>> import numpy as np
    >>> boxes = [np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 8], [20, 20, 30, 30]])]
    >>> scores = [np.array([0.6]), np.array([0.2, 0.5])]
    >>> labels = [np.array([1]), np.array([1, 1])]
    >>> fused, score, label = weighted_boxes_fusion(boxes, scores, labels)
    >>> fused, score
    (array([[ 0. ,  0. , 10. ,  9.5],
           [20. , 20. , 30. , 30. ]]), array([0.4 , 0.25]))
    """
    boxes, scores, labels = (
        sequence(name, value, "arrays, one for each model")
        for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels))
    )
    models = len(boxes)
    if models == 0:
        raise ValueError("`boxes` must hold the boxes of at least one model, got none")
    numbers = [1.0] * models if weights is None else check_numbers("weights", weights)
    for name, value in (("scores", scores), ("labels", labels), ("weights", numbers)):
        if len(value) != models:
            raise ValueError(
                f"`{name}` must have one entry for each of the {models} models, got {len(value)}"
            )
    named = {
        f"{name}[{m}]": value[m]
        for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels))
        for m in range(models)
    }
    native = backend(**named)
    for m in range(models):
        check_boxes(f"boxes[{m}]", boxes[m])
        check_length(f"scores[{m}]", scores[m], boxes[m].shape[0], f"boxes[{m}]")
        check_length(f"labels[{m}]", labels[m], boxes[m].shape[0], f"boxes[{m}]")
    if not all(0 <= w < math.inf for w in numbers) or max(numbers) == 0:
        raise ValueError(f"`weights` must be finite, at least 0 and not all 0, got {numbers}")
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    score_threshold = check_number("score_threshold", score_threshold)
    if not score_threshold >= 0:
        raise ValueError(f"`score_threshold` must be at least 0, got {score_threshold}")
    check_choice("conf_type", conf_type, _CONF_TYPES)

    def named_floats(name: str, values: Sequence[Array]) -> dict[str, Array]:
        return {f"{name}[{m}]": detached(values[m]) for m in range(models)}

    floats = as_floats(**named_floats("boxes", boxes), **named_floats("scores", scores))
    integers = as_indices(**{f"labels[{m}]": labels[m] for m in range(models)})
    join: Any
    if is_tensor(boxes[0]):
        join = torch.cat
        model_of = [torch.full_like(part, m) for m, part in enumerate(integers)]
    else:
        join = np.concatenate
        model_of = [np.full_like(part, m) for m, part in enumerate(integers)]
    return native.weighted_boxes_fusion(
        join(floats[:models]),
        join(floats[models:]),
        join(integers),
        join(model_of),
        numbers,
        iou_threshold,
        score_threshold,
        _CONF_TYPES.index(conf_type),
        bool(allows_overflow),
    )


def _outputs(boxes, scores, labels, *_rest):
    count = some_number()
    return boxes.new_empty(count, 4), scores.new_empty(count), labels.new_empty(count)


register_rules("weighted_boxes_fusion", _outputs)
