"""Non-maximum suppression: keeps the best of overlapping boxes.

The order is total: descending score, equal scores by ascending index, NaN scores last. A box is
suppressed where its IoU with a kept box is more than the threshold; both are in the computing type
of the boxes, float32 or, for float64 boxes, float64. Invalid boxes overlap nothing, as in
`sightline.ops.iou`, so that they are kept and suppress nothing.
"""

import math
from typing import Any, NamedTuple

from ._rules import indices, register_rules, some_number
from .arguments import (
    as_floats,
    as_indices,
    backend,
    check_boxes,
    check_count,
    check_fraction,
    check_length,
    check_number,
    detached,
)

Array = Any  # a torch.Tensor or a numpy.ndarray


class Detections(NamedTuple):
    """Detections of B images, each padded to D rows."""

    boxes: Array  # [B, D, 4] xyxy; 0 where padded
    scores: Array  # [B, D], descending; 0 where padded
    labels: Array  # int64 [B, D]; -1 where padded
    count: Array  # int64 [B]: rows that are not padding


def nms(
    boxes: Array, scores: Array, iou_threshold: float, *, return_suppressed_by: bool = False
) -> Any:
    """Indices of the boxes that no better box overlaps by more than `iou_threshold`.

    Args:
        boxes: [N, 4] xyxy. float16, bfloat16 and integers are computed in float32.
        scores: [N], any real dtype, tensor or array as `boxes` is.
        iou_threshold: in [0, 1], rounded to the computing type. At 0 any overlap suppresses, at 1
            none does.
        return_suppressed_by: also return which kept box suppressed each box.

    Returns:
        int64 [K], best first; empty without boxes. With `return_suppressed_by`, also int64 [N]: for
        each box the index of the best kept box that suppresses it, -1 where it is kept itself.

    Raises:
        ValueError: a wrong shape, device or threshold.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    On the CPU a box is tested only against kept boxes of similar size and position, which changes
    no result: time is about N log N, and K N at worst, where all boxes lie together; memory is
    linear in N. The result is the same for any number of threads. On CUDA there is one
    synchronisation, for the size of the result. torchvision's CPU op compares a float32 IoU with a
    float64 threshold, so the two differ where an IoU rounds to the threshold.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
    >>> nms(boxes, np.array([0.8, 0.9, 0.7]), 0.5)
    array([1, 2])
    >>> nms(boxes, np.array([0.8, 0.9, 0.7]), 0.5, return_suppressed_by=True)
    (array([1, 2]), array([ 1, -1, -1]))
    """
    native = backend(boxes=boxes, scores=scores)
    check_boxes("boxes", boxes)
    check_length("scores", scores, boxes.shape[0], "boxes")
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    (boxes,), (scores,) = as_floats(boxes=boxes), as_floats(scores=scores)
    if return_suppressed_by:
        return native.nms_suppressed_by(boxes, scores, None, iou_threshold)
    return native.nms(boxes, scores, iou_threshold)


def batched_nms(
    boxes: Array,
    scores: Array,
    idxs: Array,
    iou_threshold: float,
    *,
    return_suppressed_by: bool = False,
) -> Any:
    """`nms` of every group separately: boxes with different `idxs` never suppress each other.

    Args:
        boxes, scores, iou_threshold, return_suppressed_by: as in `nms`.
        idxs: integers [N] of any value: the class, or class and image, of each box.

    Returns:
        int64 [K]: the kept boxes of all groups, best first. With `return_suppressed_by` also the
        int64 [N] of `nms`: a box is suppressed by a box of its group.

    Raises:
        ValueError, TypeError: as `nms`; TypeError where `idxs` are not integers.

    Groups are exact: coordinates are not shifted apart as in torchvision, which mixes groups at
    negative coordinates and loses bits at large ones.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]])
    >>> batched_nms(boxes, np.array([0.8, 0.9, 0.7]), np.array([3, 3, 7]), 0.5)
    array([1, 2])
    """
    native = backend(boxes=boxes, scores=scores, idxs=idxs)
    check_boxes("boxes", boxes)
    check_length("scores", scores, boxes.shape[0], "boxes")
    check_length("idxs", idxs, boxes.shape[0], "boxes")
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    (boxes,), (scores,), (idxs,) = (
        as_floats(boxes=boxes),
        as_floats(scores=scores),
        as_indices(idxs=idxs),
    )
    if return_suppressed_by:
        return native.nms_suppressed_by(boxes, scores, idxs, iou_threshold)
    return native.batched_nms(boxes, scores, idxs, iou_threshold)


def multiclass_nms(
    boxes: Array,
    scores: Array,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    pre_top_k: int | None = None,
    agnostic: bool = False,
) -> Detections:
    """Detections for a batch of images from the scores of every anchor and class.

    Candidates are scores above `score_threshold`, of which the `pre_top_k` best per image are kept.
    Suppression is per class, or with `agnostic` across all classes. The result has the
    `max_detections` best of each image.

    Args:
        boxes: [B, A, 4] xyxy, one box per anchor, or [B, A, C, 4], one per anchor and class.
        scores: [B, A, C]; an anchor may be a candidate in several classes. NaN is never one.
        score_threshold: any number, rounded to the dtype of the scores; -inf accepts all but -inf.
        iou_threshold: in [0, 1], rounded to the type of the boxes.
        max_detections: D, the number of rows per image in the result, at least 0.
        pre_top_k: at least 1; None keeps all candidates.
        agnostic: whether boxes of different classes suppress each other. An anchor that is a
            candidate in several classes is then kept only in the best one, since its IoU with
            itself is 1, unless `iou_threshold` is 1 or it has no area.

    Returns:
        `Detections`: boxes [B, D, 4], scores [B, D], labels [B, D], count [B]. Images are padded
        with 0, 0 and -1, best first; equal scores by ascending anchor, then class. Not
        differentiable.

    Raises:
        ValueError, TypeError: as `nms`.

    There is no cap on the number of candidates, and no time limit. On the CPU an image is finished
    as soon as it has `max_detections`: its best scores are found and sorted in batches, mostly in
    one pass over all of them. There is no GPU synchronisation: sizes do not depend on the data.

    >>> import numpy as np
    >>> boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10]]])
    >>> scores = np.array([[[0.8, 0.3], [0.9, 0.0]]])
    >>> found = multiclass_nms(
    ...     boxes, scores, score_threshold=0.1, iou_threshold=0.5, max_detections=3
    ... )
    >>> found.labels, found.count
    (array([[ 0,  1, -1]]), array([2]))
    """
    native = backend(boxes=boxes, scores=scores)
    if len(scores.shape) != 3:
        raise ValueError(f"`scores` must have shape [B, A, C], got {list(scores.shape)}")
    b, a, c = scores.shape
    if tuple(boxes.shape) not in ((b, a, 4), (b, a, c, 4)):
        raise ValueError(
            f"`boxes` must have shape [{b}, {a}, 4] or [{b}, {a}, {c}, 4] "
            f"for `scores` {list(scores.shape)}, got {list(boxes.shape)}"
        )
    score_threshold = check_number("score_threshold", score_threshold)
    if math.isnan(score_threshold):
        raise ValueError("`score_threshold` must not be NaN")
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    max_detections = check_count("max_detections", max_detections, at_least=0)
    pre_top_k = a * c + 1 if pre_top_k is None else check_count("pre_top_k", pre_top_k, at_least=1)
    (boxes,), (scores,) = as_floats(boxes=detached(boxes)), as_floats(scores=detached(scores))
    return Detections(
        *native.multiclass_nms(
            boxes, scores, score_threshold, iou_threshold, max_detections, pre_top_k, bool(agnostic)
        )
    )


def _keep(boxes, *_rest):
    return indices(boxes, some_number())


def _detections(boxes, scores, _score_threshold, _iou_threshold, max_detections, *_rest):
    shape = (scores.shape[0], max_detections)
    return (
        boxes.new_empty(*shape, 4),
        scores.new_empty(shape),
        indices(boxes, *shape),
        indices(boxes, shape[0]),
    )


register_rules("nms", _keep)
register_rules("batched_nms", _keep)
register_rules("nms_suppressed_by", lambda b, *_: (_keep(b), indices(b, b.shape[0])))
register_rules("multiclass_nms", _detections)
