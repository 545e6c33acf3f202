"""Non-maximum suppression of rotated boxes, which `sightline.ops.iou_rotated` defines."""

from typing import Any

from ._rules import indices, register_rules, some_number
from .arguments import (
    as_floats,
    as_indices,
    backend,
    check_choice,
    check_fraction,
    check_length,
    detached,
)
from .iou_rotated import UNITS, check_rotated_boxes

Array = Any  # a torch.Tensor or a numpy.ndarray


def nms_rotated(
    boxes: Array,
    scores: Array,
    iou_threshold: float,
    *,
    idxs: Array | None = None,
    unit: str = "degrees",
) -> Array:
    """Indices of the rotated boxes that no better box overlaps by more than `iou_threshold`.

    Args:
        boxes: [N, 5] as (cx, cy, w, h, angle). float16, bfloat16 and integers are computed in
            float32.
        scores: [N], any real dtype, tensor or array as `boxes` is.
        iou_threshold: in [0, 1], rounded to the computing type. At 0 any overlap suppresses, at 1
            none does.
        idxs: integers [N] of any value, the class, or class and image, of each box: boxes with
            different `idxs` never suppress each other. None for one group.
        unit: "degrees" or "radians", for the angles.

    Returns:
        int64 [K], best first: by descending score, equal scores by ascending index, NaN last.
        Empty boxes give an empty result. Not differentiable.

    Raises:
        ValueError: a wrong shape, device, unit or threshold.
        TypeError: a mixture of tensors and arrays, a dtype that is not a real number, or `idxs`
            that are not integers.

    A box is suppressed where its IoU with a kept box is more than the threshold, on every device;
    detectron2 and mmcv also suppress at the threshold on the CPU, but not on CUDA. Invalid boxes
    overlap nothing: they are kept and suppress nothing. Memory is linear in N; pairs of boxes that
    are far apart cost little. On CUDA there is one synchronisation, for the size of the result.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 2, 0], [0, 0, 10, 2, 5], [0, 0, 10, 2, 90]])
    >>> nms_rotated(boxes, np.array([0.8, 0.9, 0.7]), 0.5)
    array([1, 2])
    """
    native = backend(boxes=boxes, scores=scores, idxs=idxs, optional=("idxs",))
    check_rotated_boxes("boxes", boxes)
    check_length("scores", scores, boxes.shape[0], "boxes")
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    check_choice("unit", unit, UNITS)
    if idxs is not None:
        check_length("idxs", idxs, boxes.shape[0], "boxes")
        (idxs,) = as_indices(idxs=idxs)
    (boxes,), (scores,) = as_floats(boxes=detached(boxes)), as_floats(scores=detached(scores))
    return native.nms_rotated(boxes, scores, idxs, iou_threshold, unit == "degrees")


register_rules("nms_rotated", lambda boxes, *_: indices(boxes, some_number()))
