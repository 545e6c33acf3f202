"""Overlap of boxes: matrices over all pairs, values and losses over aligned pairs.

Invalid boxes have defined results: a box with a non-finite coordinate overlaps nothing (all its
measures are 0), an inverted box has area zero, and where a union, a hull or an area is empty, or an
area overflows, IoU is 0. No result is NaN.
"""

import math
from typing import Any

import numpy as np

from .arguments import (
    as_floats,
    backend,
    check_boxes,
    check_choice,
    check_number,
    check_out,
    has_torch_ops,
    is_tensor,
)
from .boxes import ALIGNED_FORMATS, box_convert

if has_torch_ops():
    from . import _iou_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray


def box_iou(
    boxes1: Array,
    boxes2: Array,
    fmt: str = "xyxy",
    *,
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """Intersection over union of all pairs, or of aligned pairs.

    Args:
        boxes1: [..., N, 4], in pixels. float16, bfloat16 and integers are computed in float32,
            which rounds integers beyond 2^24: pass such boxes as float64.
        boxes2: [..., M, 4], tensor or array as `boxes1` is; leading dimensions broadcast.
        fmt: "xyxy", "xywh" or "cxcywh", for both.
        aligned: pair box i of `boxes1` only with box i of `boxes2`; N and M must be equal.
        out: [..., N, M], contiguous, with the dtype of the result; it is filled and returned. Not
            differentiable, and not for aligned pairs.

    Returns:
        [..., N, M], or [..., N] where aligned; float32, or float64 where an input is.
        Differentiable with respect to both where they are tensors, to any order and in forward
        mode; where two edges are equal, each box gets half of the gradient. N = 0 gives [0, M].

    Raises:
        ValueError: a wrong shape, format, device or `out`.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Time and memory are N x M, or N where aligned. See the module's docstring for invalid boxes.

    >>> import numpy as np
    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(4)
    array([[0.3333, 0.    ]], dtype=float32)
    """
    return _overlap("box_iou", boxes1, boxes2, fmt, aligned, out)


def box_ioa(
    boxes1: Array,
    boxes2: Array,
    fmt: str = "xyxy",
    *,
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """Intersection over the area of the first box; arguments as in `box_iou`.

    This is COCO's overlap of a detection (first) with a crowd region (second), and what mmdetection
    calls "iof". detectron2's `pairwise_ioa` divides by the second area: exchange the arguments.

    >>> import numpy as np
    >>> box_ioa(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 9, 9]]))
    array([[0.5]], dtype=float32)
    """
    return _overlap("box_ioa", boxes1, boxes2, fmt, aligned, out)


def generalized_box_iou(
    boxes1: Array,
    boxes2: Array,
    fmt: str = "xyxy",
    *,
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """GIoU of all pairs, in [-1, 1]: IoU minus the share of the hull that neither box covers.

    Arguments, result and errors as in `box_iou`. Two boxes without area at the same point give 0.
    Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, section 3.
    """
    return _overlap("generalized_box_iou", boxes1, boxes2, fmt, aligned, out)


def distance_box_iou(
    boxes1: Array,
    boxes2: Array,
    eps: float = 1e-7,
    fmt: str = "xyxy",
    *,
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """DIoU of all pairs: IoU minus (distance of the centres / diagonal of the hull) squared.

    Arguments, result and errors as in `box_iou`; `eps` is added to the squared diagonal.
    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020, equation 6.
    """
    return _overlap("distance_box_iou", boxes1, boxes2, fmt, aligned, out, eps)


def complete_box_iou(
    boxes1: Array,
    boxes2: Array,
    eps: float = 1e-7,
    fmt: str = "xyxy",
    *,
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """CIoU of all pairs: DIoU minus a penalty for the difference of the aspect ratios.

    Arguments, result and errors as in `box_iou`; `eps` is added to both denominators. The angle of
    a box without width is 0, that of a box without height a right angle.
    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020, equations 8 to 11.
    """
    return _overlap("complete_box_iou", boxes1, boxes2, fmt, aligned, out, eps)


def generalized_box_iou_loss(
    boxes1: Array, boxes2: Array, reduction: str = "none", eps: float = 1e-7
) -> Array:
    """1 - GIoU of aligned pairs.

    Args:
        boxes1: [..., 4] xyxy.
        boxes2: of the same shape.
        reduction: "none", "mean" or "sum". Without boxes the mean is 0.
        eps: added to the union and the hull, which keeps gradients finite.

    Returns:
        [...], or a scalar where reduced. Differentiable with respect to both where they are
        tensors, to any order and in forward mode; where two edges are equal, each box gets half of
        the gradient.

    Raises:
        ValueError: wrong or different shapes, or an unknown reduction. TypeError: as `box_iou`.
    """
    return _loss("generalized_box_iou_loss", boxes1, boxes2, reduction, eps)


def distance_box_iou_loss(
    boxes1: Array, boxes2: Array, reduction: str = "none", eps: float = 1e-7
) -> Array:
    """1 - DIoU of aligned pairs; arguments as in `generalized_box_iou_loss`."""
    return _loss("distance_box_iou_loss", boxes1, boxes2, reduction, eps)


def complete_box_iou_loss(
    boxes1: Array, boxes2: Array, reduction: str = "none", eps: float = 1e-7
) -> Array:
    """1 - CIoU of aligned pairs; arguments as in `generalized_box_iou_loss`.

    The weight alpha of the aspect term is differentiated too, so that the gradient is that of the
    value. torchvision treats alpha as a constant, as does `complete_box_iou_loss` of
    `sightline.compat.torchvision` with `constant_alpha=True`.
    """
    return _loss("complete_box_iou_loss", boxes1, boxes2, reduction, eps)


def _overlap(
    name: str,
    boxes1: Array,
    boxes2: Array,
    fmt: str,
    aligned: bool,
    out: Array | None,
    *eps: float,
) -> Array:
    native = backend(boxes1=boxes1, boxes2=boxes2, out=out, optional=("out",))
    for number in eps:
        check_number("eps", number)
    plain = len(boxes1.shape) == len(boxes2.shape) == 2
    if plain:
        check_boxes("boxes1", boxes1)
        check_boxes("boxes2", boxes2)
    else:
        _check_batch("boxes1", boxes1)
        _check_batch("boxes2", boxes2)
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    if fmt != "xyxy":
        check_choice("fmt", fmt, ALIGNED_FORMATS)
        boxes1, boxes2 = box_convert(boxes1, fmt, "xyxy"), box_convert(boxes2, fmt, "xyxy")
    if aligned:
        if out is not None:
            raise ValueError("`out` is for the matrix of all pairs: leave it out where aligned")
        return _aligned(getattr(native, f"{name}_aligned"), boxes1, boxes2, eps)
    lead: tuple[int, ...] = ()
    if not plain:
        lead = _broadcast_lead(boxes1, boxes2)
        boxes1, boxes2 = _one_batch(boxes1, lead), _one_batch(boxes2, lead)
    if out is not None:
        check_out(out, (*lead, boxes1.shape[-2], boxes2.shape[-2]), boxes1, boxes2)
        flat = out if plain else out.reshape(math.prod(lead), *out.shape[-2:])
        getattr(native, f"{name}_out")(boxes1, boxes2, *eps, flat)
        return out
    matrix = getattr(native, name)(boxes1, boxes2, *eps)
    return matrix if plain else matrix.reshape(*lead, *matrix.shape[-2:])


def _check_batch(name: str, boxes: Array) -> None:
    if len(boxes.shape) < 2 or boxes.shape[-1] != 4:
        raise ValueError(f"`{name}` must have shape [..., N, 4], got {list(boxes.shape)}")


def _broadcast_lead(boxes1: Array, boxes2: Array) -> tuple[int, ...]:
    """The shape that all dimensions but the last two broadcast to."""
    first, second = tuple(boxes1.shape[:-2]), tuple(boxes2.shape[:-2])
    long, short = (first, second) if len(first) >= len(second) else (second, first)
    lead = list(long)
    for k, size in enumerate(short, len(long) - len(short)):
        if lead[k] == 1:
            lead[k] = size
        elif size not in (1, lead[k]):
            raise ValueError(
                "the leading dimensions of `boxes1` and `boxes2` must broadcast, "
                f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
            )
    return tuple(lead)


def _one_batch(boxes: Array, lead: tuple[int, ...]) -> Array:
    """Boxes [..., N, 4] as [B, N, 4], where B is the product of `lead`, or stays 1."""
    own = boxes.shape[:-2]
    if math.prod(own) != 1 and tuple(own) != lead:
        boxes = _expand(boxes, (*lead, *boxes.shape[-2:]))
    return boxes.reshape(math.prod(boxes.shape[:-2]), *boxes.shape[-2:])


def _expand(boxes: Array, shape: tuple[int, ...]) -> Array:
    if is_tensor(boxes):
        return boxes.expand(shape)
    return np.ascontiguousarray(np.broadcast_to(boxes, shape))


def _aligned(op: Any, boxes1: Array, boxes2: Array, eps: tuple[float, ...]) -> Array:
    if boxes1.shape[-2] != boxes2.shape[-2]:
        raise ValueError(
            "`boxes1` and `boxes2` must hold the same number of boxes where aligned, "
            f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
        )
    if len(boxes1.shape) == len(boxes2.shape) == 2:
        return op(boxes1, boxes2, *eps)
    shape = (*_broadcast_lead(boxes1, boxes2), boxes1.shape[-2], 4)
    boxes1, boxes2 = (_expand(boxes, shape).reshape(-1, 4) for boxes in (boxes1, boxes2))
    return op(boxes1, boxes2, *eps).reshape(shape[:-1])


def _loss(name: str, boxes1: Array, boxes2: Array, reduction: str, eps: float) -> Array:
    native = backend(boxes1=boxes1, boxes2=boxes2)
    eps = check_number("eps", eps)
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    shape = boxes1.shape
    if shape != boxes2.shape:
        raise ValueError(
            "`boxes1` and `boxes2` must have the same shape, "
            f"got {list(shape)} and {list(boxes2.shape)}"
        )
    if len(shape) == 0 or shape[-1] != 4:
        raise ValueError(f"`boxes1` must have shape [..., 4], got {list(shape)}")
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    if len(shape) != 2:
        boxes1, boxes2 = boxes1.reshape(-1, 4), boxes2.reshape(-1, 4)
    loss = getattr(native, name)(boxes1, boxes2, eps)
    if reduction == "sum" or (reduction == "mean" and boxes1.shape[0] == 0):
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    if len(shape) == 2:
        return loss
    return loss.reshape(shape[:-1]) if len(shape) > 1 else loss[0]
