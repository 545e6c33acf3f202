"""YOLO assignment in plain Python."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Boxes = NDArray[np.floating]
Anchor = tuple[int, int, int, int]  # level, row, column, shape


def assign_yolo(
    gt_boxes: Sequence[Boxes],
    anchor_sizes: Sequence[Boxes],
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    *,
    rule: str = "v3",
    ratio_threshold: float = 4.0,
) -> NDArray[np.int64]:
    """[B, A]: the object of each anchor, or -1; `gt_boxes` has one [G, 4] per image."""
    maps = [(*size, len(sizes)) for size, sizes in zip(feature_sizes, anchor_sizes)]
    out = []
    for boxes in gt_boxes:
        index = [np.full(size, -1) for size in maps]
        held = [np.zeros(size, boxes.dtype) for size in maps]
        for g, box in enumerate(boxes):
            overlaps = [_shape_iou(box, sizes) for sizes in anchor_sizes]
            for level, *place in _wanted(
                box, overlaps, anchor_sizes, feature_sizes, strides, rule, ratio_threshold
            ):
                overlap = overlaps[level][place[2]]
                if overlap > held[level][*place] or index[level][*place] < 0:
                    index[level][*place], held[level][*place] = g, overlap
        out.append(np.concatenate([level.ravel() for level in index]))
    return np.array(out, np.int64).reshape(len(gt_boxes), sum(map(math.prod, maps)))


def _wanted(
    box: Boxes,
    overlaps: Sequence[Boxes],
    anchor_sizes: Sequence[Boxes],
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: str,
    ratio_threshold: float,
) -> Iterator[Anchor]:
    with np.errstate(all="ignore"):
        sides = np.maximum(box[2:] - box[:2], 0)
        if not np.isfinite([*box, sides.prod()]).all() or sides.prod() == 0:
            return
    highest = max((overlap.max(initial=0) for overlap in overlaps), default=0)
    done = False
    for level, (overlap, sizes) in enumerate(zip(overlaps, anchor_sizes)):
        cells = _cells(box, feature_sizes[level], strides[level])
        if rule == "v5":
            for row, column in cells:
                for k, size in enumerate(sizes):
                    if _within(sides, size, ratio_threshold):
                        yield level, row, column, k
            continue
        top = highest if rule == "v3" else overlap.max(initial=0)
        if top > 0 and top in overlap and not done:
            done = rule == "v3"  # of equal levels the first
            for row, column in cells[:1]:
                yield level, row, column, int(overlap.argmax())


def _cells(box: Boxes, size: tuple[int, int], stride: float) -> list[tuple[int, int]]:
    """(row, column) of the cell that contains the centre, then nearest neighbours in the map."""
    half = box.dtype.type(0.5)
    x, y = (box[:2] * half + box[2:] * half) / box.dtype.type(stride)
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        return []
    row, column = int(y), int(x)
    near = [(row + _side(y - row), column), (row, column + _side(x - column))]
    return [
        (row, column),
        *(
            (r, c)
            for r, c in near
            if (r, c) != (row, column) and 0 <= r < height and 0 <= c < width
        ),
    ]


def _side(within: float) -> int:
    """Which neighbour is nearer to a position within a cell: -1, +1, or 0 where both are equal."""
    return int(within > 0.5) - int(within < 0.5)


def _within(sides: Boxes, size: Boxes, factor: float) -> bool:
    if not (size > 0).all():
        return False
    return bool(max((sides / size).max(), (size / sides).max()) < sides.dtype.type(factor))


def _shape_iou(box: Boxes, sizes: Boxes) -> Boxes:
    """IoU of boxes with the same centre, which equals that of boxes with the same corner."""
    with np.errstate(all="ignore"):
        own = np.concatenate([np.zeros(2, box.dtype), np.maximum(box[2:] - box[:2], 0)])
        corners = np.concatenate([np.zeros_like(sizes), sizes], 1)
        return box_iou(corners, own[None])[:, 0]
