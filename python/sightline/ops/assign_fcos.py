"""FCOS: points inside objects, with one range of object sizes per level."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._objects import Objects, is_single, named, padded_boxes
from ._rules import indices, register_rules
from .arguments import (
    as_floats,
    backend,
    check_number,
    check_numbers,
    is_tensor,
    sequence,
    torch,
)

Array = Any  # a torch.Tensor or a numpy.ndarray

_RANGE_IN_STRIDES = 8  # 64 pixels at stride 8, as in the paper


def assign_fcos(
    points: Sequence[Array],
    gt_boxes: Objects,
    *,
    strides: Sequence[float],
    size_ranges: Sequence[tuple[float, float]] | None = None,
    center_radius: float = 1.5,
    mask: Array | None = None,
) -> Array:
    """Assign objects to the points of a feature pyramid by the rule of FCOS.

    An object is assigned to the points strictly inside it and less than `center_radius` strides
    from its centre along both axes, on the levels whose size range contains the distance from the
    point to the farthest side. Where several objects claim a point, it goes to the one with the
    smallest area, and among equals to the first.

    Args:
        points: a list of [A_l, 2] xy, in pixels of the image, one for each level.
        gt_boxes: [G, 4] xyxy, a list of B such arrays, one per image, or [B, G, 4].
        strides: pixels between neighbouring points, one number for each level.
        size_ranges: for each level the smallest and largest distance in pixels, both included.
            None for 8 strides per level: 0 to 64, 64 to 128 and so on for strides 8, 16 ..., the
            last one unbounded.
        center_radius: in strides; infinity uses the whole object, as the first version of FCOS.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        int64 [B, A], or [A] for one image, A over all levels in order: index of the object within
        its image, -1 for background. A box that is not finite is not an object.

    Raises:
        ValueError: a wrong shape, device, length, range or radius. TypeError: a mixture of tensors
        and arrays, or a dtype that is not a real number.

    Time is at most points x objects, memory the result. There is no GPU synchronisation.

    Source: Tian et al., "FCOS", ICCV 2019, section 3.2; centre sampling from its 2020 revision.
    torchvision accepts objects of any larger size on the last level and of any smaller size on the
    first level, as the default ranges do.

    >>> import numpy as np
    >>> points = [np.array([[4.0, 4.0], [12.0, 4.0]]), np.array([[8.0, 8.0]])]
    >>> assign_fcos(points, np.array([[0, 0, 16, 8]]), strides=[8, 16])
    array([ 0,  0, -1])
    """
    points = sequence("points", points, "arrays, one for each level")
    if not points:
        raise ValueError("`points` must hold at least one level, got none")
    levels = {f"points[{i}]": level for i, level in enumerate(points)}
    native = backend(**levels, **named("gt_boxes", gt_boxes), mask=mask, optional=("mask",))
    for name, level in levels.items():
        if len(level.shape) != 2 or level.shape[1] != 2:
            raise ValueError(f"`{name}` must have shape [A, 2], got {list(level.shape)}")
    strides = [
        _check_positive(f"strides[{i}]", stride)
        for i, stride in enumerate(sequence("strides", strides))
    ]
    if size_ranges is None:
        ranges = _default_ranges(strides)
    else:
        given = enumerate(sequence("size_ranges", size_ranges, "pairs (least, greatest)"))
        ranges = [_pair(f"size_ranges[{i}]", pair) for i, pair in given]
    for name, values in (("strides", strides), ("size_ranges", ranges)):
        if len(values) != len(points):
            raise ValueError(
                f"`{name}` must have one entry for each of the {len(points)} levels of `points`, "
                f"got {len(values)}"
            )
    radius = _check_positive("center_radius", center_radius)
    wide = as_floats(**levels, **named("gt_boxes", gt_boxes))[: len(points)]
    objects = padded_boxes(gt_boxes, mask, wide[0])
    parts = [
        native.assign_fcos(level, objects, radius * stride, low, high)
        for level, stride, (low, high) in zip(wide, strides, ranges)
    ]
    index = torch.cat(parts, 1) if is_tensor(parts[0]) else np.concatenate(parts, 1)
    return index[0] if is_single(gt_boxes) else index


def _pair(name: str, value: Any) -> tuple[float, float]:
    pair = check_numbers(name, value)
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise ValueError(f"`{name}` must be a pair (least, greatest), got {value}")
    return pair[0], pair[1]


def _check_positive(name: str, value: Any) -> float:
    number = check_number(name, value)
    if not number > 0:
        raise ValueError(f"`{name}` must be positive, got {value}")
    return number


def _default_ranges(strides: list[float]) -> list[tuple[float, float]]:
    ends = [_RANGE_IN_STRIDES * stride for stride in strides[:-1]]
    return list(zip([0.0, *ends], [*ends, math.inf]))


register_rules(
    "assign_fcos",
    lambda points, gt_boxes, *_level: indices(points, gt_boxes.shape[0], points.shape[0]),
)
