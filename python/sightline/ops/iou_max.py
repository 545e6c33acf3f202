"""The largest entries of the IoU matrix, without the matrix."""

from math import prod
from typing import Any, NamedTuple

from .arguments import as_floats, backend, has_torch_ops

if has_torch_ops():
    from . import _iou_max_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray


class BoxIouMax(NamedTuple):
    """Result of `box_iou_max`."""

    row_max: Array
    row_argmax: Array
    column_max: Array


def box_iou_max(boxes1: Array, boxes2: Array) -> BoxIouMax:
    """The largest IoU of every box with the boxes of the other argument.

    Args:
        boxes1: [..., N, 4] xyxy, in pixels. float16, bfloat16 and integers are computed in float32.
        boxes2: [..., M, 4] with the same leading dimensions, tensor or array as `boxes1` is.

    Returns:
        row_max [..., N]: for each of `boxes1` the largest IoU with any of `boxes2`, equal to that
            of `box_iou` bit for bit; 0 where nothing overlaps it or M is 0.
        row_argmax int64 [..., N]: the lowest index that attains it, -1 where it is 0.
        column_max [..., M]: the same as `row_max`, for each of `boxes2`.
        The values are differentiable with respect to both, to any order and in forward mode, each
        through the first pair that attains it.

    Raises:
        ValueError: a wrong shape or device, or different leading dimensions.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Invalid boxes overlap nothing, as in `box_iou`. Memory is N + M, each of which must be below
    2^31. Time is at most N x M; on the CPU groups of boxes that do not meet are skipped.

    >>> import numpy as np
    >>> boxes1 = np.array([[0, 0, 2, 2], [5, 5, 6, 6]])
    >>> boxes2 = np.array([[9, 9, 10, 10], [1, 0, 3, 2], [0, 0, 2, 1]])
    >>> found = box_iou_max(boxes1, boxes2)
    >>> found.row_max, found.row_argmax
    (array([0.5, 0. ], dtype=float32), array([ 2, -1]))
    >>> found.column_max.round(4)
    array([0.    , 0.3333, 0.5   ], dtype=float32)
    """
    native = backend(boxes1=boxes1, boxes2=boxes2)
    batch = check_batches(boxes1, boxes2)
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    row_max, row_argmax, column_max, _ = native.box_iou_max(
        *(boxes.reshape(prod(batch), boxes.shape[-2], 4) for boxes in (boxes1, boxes2))
    )
    rows, columns = (*batch, boxes1.shape[-2]), (*batch, boxes2.shape[-2])
    return BoxIouMax(row_max.reshape(rows), row_argmax.reshape(rows), column_max.reshape(columns))


def check_batches(boxes1: Array, boxes2: Array) -> tuple[int, ...]:
    """The leading dimensions; raises ValueError unless both have the same, then [N, 4], [M, 4]."""
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if len(boxes.shape) < 2 or boxes.shape[-1] != 4:
            raise ValueError(f"`{name}` must have shape [..., N, 4], got {list(boxes.shape)}")
    if boxes1.shape[:-2] != boxes2.shape[:-2]:
        raise ValueError(
            "`boxes1` and `boxes2` must have the same leading dimensions, "
            f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
        )
    return tuple(boxes1.shape[:-2])
