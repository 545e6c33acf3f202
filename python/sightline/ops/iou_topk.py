"""The largest entries of each row of the IoU matrix, without the matrix."""

from math import prod
from typing import Any, NamedTuple

from ._rules import indices, register_rules, register_vmap_as_batch
from .arguments import as_floats, backend, check_count, detached
from .iou_max import check_batches

Array = Any  # a torch.Tensor or a numpy.ndarray


class BoxIouTopk(NamedTuple):
    """Result of `box_iou_topk`."""

    values: Array
    indices: Array


def box_iou_topk(boxes1: Array, boxes2: Array, k: int) -> BoxIouTopk:
    """For each of `boxes1`, the k of `boxes2` with the largest IoU.

    Args:
        boxes1: [..., N, 4] xyxy, in pixels. float16, bfloat16 and integers are computed in float32.
        boxes2: [..., M, 4] with the same leading dimensions, tensor or array as `boxes1` is.
        k: 0 or more; it may exceed M.

    Returns:
        values [..., N, k]: the largest IoUs above 0, in descending order, equal to those of
            `box_iou` bit for bit; then zeros. Not differentiable.
        indices int64 [..., N, k]: into `boxes2`, equal IoUs in ascending order; then -1.

    Raises:
        ValueError: a wrong shape or device, different leading dimensions, or a negative k.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Invalid boxes overlap nothing, as in `box_iou`. Memory is N x k + M, with N and M below 2^31.
    Time is at most N x M on the CPU, where groups of boxes that do not meet are skipped, and
    N x M x k on CUDA.

    >>> import numpy as np
    >>> boxes1 = np.array([[0, 0, 2, 2]])
    >>> boxes2 = np.array([[9, 9, 10, 10], [0, 0, 1, 1], [0, 0, 2, 1]])
    >>> box_iou_topk(boxes1, boxes2, k=3)
    BoxIouTopk(values=array([[0.5 , 0.25, 0.  ]], dtype=float32), indices=array([[ 2,  1, -1]]))
    """
    native = backend(boxes1=boxes1, boxes2=boxes2)
    batch = check_batches(boxes1, boxes2)
    k = check_count("k", k, at_least=0)
    boxes1, boxes2 = as_floats(boxes1=detached(boxes1), boxes2=detached(boxes2))
    values, indices = native.box_iou_topk(
        *(boxes.reshape(prod(batch), boxes.shape[-2], 4) for boxes in (boxes1, boxes2)), k
    )
    shape = (*batch, boxes1.shape[-2], k)
    return BoxIouTopk(values.reshape(shape), indices.reshape(shape))


def _outputs(boxes1, _boxes2, k):
    shape = (*boxes1.shape[:2], k)
    return boxes1.new_empty(shape), indices(boxes1, *shape)


register_rules("box_iou_topk", _outputs)
register_vmap_as_batch("box_iou_topk")
