"""Overlap of rotated boxes.

A box is (cx, cy, w, h, angle): `w` by `h` around the centre, rotated by `angle` counter-clockwise
as seen in an image, whose y axis points down. That is torchvision's "cxcywhr", detectron2's
rotated boxes, and in mmcv `clockwise=False` in radians.

Invalid boxes have defined results: one with a number that is not finite, with a side that is not
positive, or with an area that overflows or underflows, overlaps nothing. No result is NaN, and all
lie in [0, 1].
"""

from typing import Any

from .arguments import as_floats, backend, check_choice, check_out, has_torch_ops

if has_torch_ops():
    from . import _iou_rotated_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray
UNITS = ("degrees", "radians")


def box_iou_rotated(
    boxes1: Array,
    boxes2: Array,
    *,
    unit: str = "degrees",
    aligned: bool = False,
    out: Array | None = None,
) -> Array:
    """Intersection over union of rotated boxes, of all pairs or of aligned pairs.

    Args:
        boxes1: [N, 5] as (cx, cy, w, h, angle), centre and sides in pixels. float16, bfloat16 and
            integers are computed in float32.
        boxes2: [M, 5], tensor or array as `boxes1` is; M = N where aligned.
        unit: "degrees" or "radians", for the angles of both. Angles may have any size; whole turns
            in degrees change nothing, not even the last bit, nor do 90 degrees with the sides
            swapped.
        aligned: compute only the IoU of `boxes1[i]` and `boxes2[i]`.
        out: contiguous, with the shape and dtype of the result; it is filled and returned. Not
            differentiable.

    Returns:
        [N, M], or [N] where aligned; float32, or float64 where an input is. A box has an IoU of
        exactly 1 with itself; boxes that only touch have 0. Differentiable with respect to all five
        numbers of both boxes, to any order and in forward mode; where two sides coincide, each box
        gets half of the gradient, and boxes that do not overlap get none.

    Raises:
        ValueError: a wrong shape, unit, device or `out`.
        TypeError: a mixture of tensors and arrays, or a dtype that is not a real number.

    Time is N x M; pairs whose axis-aligned hulls do not overlap cost little. For sides from 5 to
    100 pixels the result is within 1e-6 of the exact one in float32 and 4e-15 in float64. The error
    grows with the ratio of the sides, since the last bit of the angle moves the end of a long box
    further. Source: Green's theorem on the outline of one box within the other.

    >>> import numpy as np
    >>> square, diamond = np.array([[0, 0, 2, 2, 0]]), np.array([[0, 0, 2, 2, 45]])
    >>> box_iou_rotated(square, diamond).round(4)
    array([[0.7071]], dtype=float32)
    """
    native = backend(boxes1=boxes1, boxes2=boxes2, out=out, optional=("out",))
    check_rotated_boxes("boxes1", boxes1)
    check_rotated_boxes("boxes2", boxes2)
    check_choice("unit", unit, UNITS)
    if aligned and boxes1.shape[0] != boxes2.shape[0]:
        raise ValueError(
            "`boxes1` and `boxes2` must have the same length where `aligned`, "
            f"got {boxes1.shape[0]} and {boxes2.shape[0]}"
        )
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    name = "aligned_box_iou_rotated" if aligned else "box_iou_rotated"
    if out is None:
        return getattr(native, name)(boxes1, boxes2, unit == "degrees")
    shape = boxes1.shape[:1] if aligned else (boxes1.shape[0], boxes2.shape[0])
    check_out(out, tuple(shape), boxes1, boxes2)
    getattr(native, f"{name}_out")(boxes1, boxes2, unit == "degrees", out)
    return out


def check_rotated_boxes(name: str, boxes: Array) -> None:
    """Raises ValueError unless `boxes` has shape [N, 5]."""
    if len(boxes.shape) != 2 or boxes.shape[1] != 5:
        raise ValueError(
            f"`{name}` must have shape [N, 5], of cx, cy, w, h and angle, got {list(boxes.shape)}"
        )
