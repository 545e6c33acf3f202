"""Overlap of boxes: matrices over every pair, and losses over aligned pairs.

Boxes that are bad have defined results: a box with a non-finite coordinate overlaps nothing (every
form is 0 for it), an inverted box has area zero, and where a union, a hull or an area is empty, or
an area overflows, IoU is 0. No result is NaN.
"""

from typing import Any

from ._arguments import as_floats, backend, check_boxes, check_choice, has_torch_ops
from .boxes import ALIGNED_FORMATS, box_convert

if has_torch_ops():
    from . import _iou_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray


def box_iou(boxes1: Array, boxes2: Array, fmt: str = "xyxy", *, out: Array | None = None) -> Array:
    """Intersection over union of every pair.

    Args:
        boxes1: [N, 4], in pixels. float16, bfloat16 and integers are computed in float32.
        boxes2: [M, 4], tensor or array as `boxes1` is.
        fmt: "xyxy", "xywh" or "cxcywh", of both.
        out: [N, M], contiguous, float32 or float64 as the result would be; filled and returned.
            Not differentiable.

    Returns:
        [N, M], float32, or float64 where an input is. `boxes1` of N = 0 gives [0, M].

    Raises:
        ValueError: a wrong shape, format, device or `out`.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Time and memory are N x M. See the module for boxes that are bad.

    >>> import numpy as np
    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(4)
    array([[0.3333, 0.    ]], dtype=float32)
    """
    return _matrix("box_iou", boxes1, boxes2, out, fmt=fmt)


def box_ioa(boxes1: Array, boxes2: Array, fmt: str = "xyxy", *, out: Array | None = None) -> Array:
    """Intersection over the area of the first box, for every pair; arguments as in `box_iou`.

    This is COCO's overlap of a detection (first) with a crowd region (second), and what mmdetection
    calls "iof". detectron2's `pairwise_ioa` divides by the second area: exchange the arguments.

    >>> import numpy as np
    >>> box_ioa(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 9, 9]]))
    array([[0.5]], dtype=float32)
    """
    return _matrix("box_ioa", boxes1, boxes2, out, fmt=fmt)


def generalized_box_iou(boxes1: Array, boxes2: Array, *, out: Array | None = None) -> Array:
    """GIoU of every pair, in [-1, 1]: IoU less the share of the hull that neither box covers.

    Arguments, result and errors as in `box_iou`. Two boxes without area in one point give 0.
    Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, section 3.
    """
    return _matrix("generalized_box_iou", boxes1, boxes2, out)


def distance_box_iou(
    boxes1: Array, boxes2: Array, eps: float = 1e-7, *, out: Array | None = None
) -> Array:
    """DIoU of every pair: IoU less (distance of the centres / diagonal of the hull) squared.

    Arguments, result and errors as in `box_iou`; `eps` is added to the squared diagonal.
    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020, equation 6.
    """
    return _matrix("distance_box_iou", boxes1, boxes2, out, eps)


def complete_box_iou(
    boxes1: Array, boxes2: Array, eps: float = 1e-7, *, out: Array | None = None
) -> Array:
    """CIoU of every pair: DIoU less a penalty on the difference of the aspect ratios.

    Arguments, result and errors as in `box_iou`; `eps` is added to both denominators. A box without
    width has the angle 0, one without height a right angle.
    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020, equations 8 to 11.
    """
    return _matrix("complete_box_iou", boxes1, boxes2, out, eps)


def generalized_box_iou_loss(
    boxes1: Array, boxes2: Array, reduction: str = "none", eps: float = 1e-7
) -> Array:
    """1 - GIoU of aligned pairs.

    Args:
        boxes1: [N, 4] xyxy, or [4].
        boxes2: as `boxes1`.
        reduction: "none", "mean" or "sum". The mean of nothing is 0.
        eps: added to the union and the hull, which keeps gradients finite.

    Returns:
        [N], or a scalar where reduced (or where the boxes are [4]). Differentiable by both boxes
        where they are tensors; at ties of two edges each box gets half of the gradient.

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
    value; torchvision holds it constant.
    """
    return _loss("complete_box_iou_loss", boxes1, boxes2, reduction, eps)


def _matrix(
    name: str, boxes1: Array, boxes2: Array, out: Array | None, *eps: float, fmt: str = "xyxy"
) -> Array:
    native = backend(boxes1=boxes1, boxes2=boxes2, out=out)
    check_boxes("boxes1", boxes1)
    check_boxes("boxes2", boxes2)
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    if fmt != "xyxy":
        check_choice("fmt", fmt, ALIGNED_FORMATS)
        boxes1, boxes2 = box_convert(boxes1, fmt, "xyxy"), box_convert(boxes2, fmt, "xyxy")
    if out is None:
        return getattr(native, name)(boxes1, boxes2, *eps)
    _check_out(out, boxes1, boxes2)
    getattr(native, f"{name}_out")(boxes1, boxes2, *eps, out)
    return out


def _check_out(out: Array, boxes1: Array, boxes2: Array) -> None:
    shape = (boxes1.shape[0], boxes2.shape[0])
    contiguous = out.flags.c_contiguous if hasattr(out, "flags") else out.is_contiguous()
    if tuple(out.shape) != shape or out.dtype != boxes1.dtype or not contiguous:
        raise ValueError(
            f"`out` must be a contiguous {boxes1.dtype} of shape {list(shape)}, "
            f"got {'' if contiguous else 'non-contiguous '}{out.dtype} of shape {list(out.shape)}"
        )
    if getattr(out, "requires_grad", False) or any(
        getattr(boxes, "requires_grad", False) for boxes in (boxes1, boxes2)
    ):
        raise ValueError("`out` takes no gradients: leave it out, or detach the boxes")


def _loss(name: str, boxes1: Array, boxes2: Array, reduction: str, eps: float) -> Array:
    native = backend(boxes1=boxes1, boxes2=boxes2)
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    if boxes1.shape != boxes2.shape:
        raise ValueError(
            "`boxes1` and `boxes2` must have the same shape, "
            f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
        )
    single = len(boxes1.shape) == 1
    if single:
        boxes1, boxes2 = boxes1[None], boxes2[None]
    check_boxes("boxes1", boxes1)
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    loss = getattr(native, name)(boxes1, boxes2, eps)
    if reduction == "sum" or (reduction == "mean" and boxes1.shape[0] == 0):
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    return loss[0] if single else loss
