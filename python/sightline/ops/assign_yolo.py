"""YOLO: anchors of the cell that contains an object's centre, chosen by their shapes."""

import math
from collections.abc import Sequence
from typing import Any

from ._objects import Objects, is_single, named, padded_boxes
from ._rules import indices, register_rules
from .arguments import (
    MAX_COUNT,
    as_floats,
    backend,
    check_choice,
    check_count,
    check_number,
    joined,
    sequence,
)

Array = Any  # a torch.Tensor or a numpy.ndarray

YOLO_RULES = ("v2", "v3", "v5")
MAX_LEVELS = 16  # kMaxYoloLevels of csrc/assign/yolo/yolo.h


def assign_yolo(
    gt_boxes: Objects,
    anchor_sizes: Sequence[Array],
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    *,
    rule: str = "v3",
    ratio_threshold: float = 4.0,
    mask: Array | None = None,
) -> Array:
    """Assign objects to anchors by the rules of YOLO.

    An object claims anchors of the cell that contains its centre, by their shapes. Rule "v2": on
    each level, the anchor with the highest shape IoU (of both boxes moved to the same centre).
    "v3": the best anchor of all levels. "v5": every anchor whose width and height differ from the
    object's by less than a factor of `ratio_threshold`, in that cell and in the nearest neighbour
    cell along each axis. Where several objects claim an anchor, it goes to the one with the highest
    shape IoU, and among equals to the first.

    Args:
        gt_boxes: [G, 4] xyxy in pixels, a list of B such arrays, one per image, or [B, G, 4].
            float16, bfloat16 and integers are computed in float32.
        anchor_sizes: for each of at most 16 levels [K, 2], widths and heights in pixels.
        feature_sizes: for each level (height, width) of its map in cells.
        strides: for each level the side of a cell in pixels.
        rule: "v2", "v3" or "v5".
        ratio_threshold: above 1, rounded to the computing type; for rule "v5" only.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        int64 [B, A], or [A] for one image: index of the object within its image, -1 for
        background. A is the sum of height * width * K, in the order of level, row, column, shape,
        which is that of `sightline.models.grid_anchors`. Among equal shape IoUs an object claims
        the first anchor. A box that is not finite, has no area, or whose centre lies outside the
        map of a level claims nothing there. Anchors without positive sides are never claimed.

    Raises:
        ValueError: a wrong shape, device, rule, threshold, stride or size, or not as many
        `anchor_sizes` as `feature_sizes` and `strides`. TypeError: a mixture of tensors and arrays,
        or a dtype that is not a real number.

    In YOLO an unassigned anchor is ignored where its prediction overlaps an object: compare
    `box_iou_max` of predictions and objects with a threshold. Memory is that of the result; time is
    A plus the anchors of each object's cell. There is no GPU synchronisation.
    docs/assignment/yolo.md says how other implementations differ.

    Source: Redmon & Farhadi, "YOLO9000", CVPR 2017, and "YOLOv3", 2018, section 2; "v5" is the rule
    known from YOLOv5.

    >>> import numpy as np
    >>> sizes = [np.array([[8, 8], [8, 16]]), np.array([[32, 32]])]
    >>> gt_boxes = np.array([[17, 2, 24, 14], [0, 0, 30, 30]])
    >>> assign_yolo(gt_boxes, sizes, [(2, 2), (1, 1)], [16, 32])
    array([-1, -1, -1,  0, -1, -1, -1, -1,  1])
    """
    shapes = named("anchor_sizes", anchor_sizes)
    count = len(shapes)
    if not 1 <= count <= MAX_LEVELS or hasattr(anchor_sizes, "shape"):
        raise ValueError(
            f"`anchor_sizes` must be a list of one array [K, 2] for each of 1 to {MAX_LEVELS} "
            f"levels, got {'an array' if hasattr(anchor_sizes, 'shape') else count}"
        )
    boxes = named("gt_boxes", gt_boxes)
    native = backend(**shapes, **boxes, mask=mask, optional=("mask",))
    for name, sizes in shapes.items():
        if len(sizes.shape) != 2 or sizes.shape[1] != 2:
            raise ValueError(f"`{name}` must have shape [K, 2], got {list(sizes.shape)}")
    feature_sizes = sequence("feature_sizes", feature_sizes, "(height, width)")
    strides = sequence("strides", strides)
    for name, value in (("feature_sizes", feature_sizes), ("strides", strides)):
        if len(value) != count:
            raise ValueError(
                f"`{name}` must have one entry for each of the {count} of `anchor_sizes`, "
                f"got {len(value)}"
            )
    heights, widths = _cells(feature_sizes)
    anchors = sum(h * w * sizes.shape[0] for h, w, sizes in zip(heights, widths, shapes.values()))
    if anchors > MAX_COUNT:
        raise ValueError(
            f"`feature_sizes` must hold fewer than 2^63 anchors, got {feature_sizes}: {anchors}"
        )
    pixels = [_above(f"strides[{i}]", stride, 0) for i, stride in enumerate(strides)]
    check_choice("rule", rule, YOLO_RULES)
    ratio = _above("ratio_threshold", ratio_threshold, 1)
    wide = as_floats(**shapes, **boxes)[:count]
    objects = padded_boxes(gt_boxes, mask, wide[0])
    index = native.assign_yolo(
        objects,
        joined(wide),
        [sizes.shape[0] for sizes in wide],
        heights,
        widths,
        pixels,
        int(rule[1:]),
        ratio,
    )
    return index[0] if is_single(gt_boxes) else index


def _cells(feature_sizes: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    for i, size in enumerate(feature_sizes):
        if len(sequence(f"feature_sizes[{i}]", size, "(height, width)")) != 2:
            raise ValueError(f"`feature_sizes[{i}]` must be (height, width), got {size}")
    heights, widths = (
        [
            check_count(f"feature_sizes[{i}]", s[axis], at_least=0)
            for i, s in enumerate(feature_sizes)
        ]
        for axis in (0, 1)
    )
    return heights, widths


def _above(name: str, value: Any, least: float) -> float:
    number = check_number(name, value)
    if not least < number < math.inf:
        raise ValueError(f"`{name}` must be finite and above {least}, got {value}")
    return number


def _index(gt_boxes, shapes, level_shapes, heights, widths, strides, rule, ratio):
    anchors = sum(k * h * w for k, h, w in zip(level_shapes, heights, widths))
    return indices(gt_boxes, gt_boxes.shape[0], anchors)


register_rules("assign_yolo", _index)
