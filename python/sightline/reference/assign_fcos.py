"""FCOS assignment in plain NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def assign_fcos(
    points: Sequence[Boxes],
    gt_boxes: Sequence[Boxes],
    *,
    strides: Sequence[float],
    size_ranges: Sequence[tuple[float, float]],
    center_radius: float = 1.5,
) -> NDArray[np.int64]:
    """[B, A]: the object of each point, all levels in order, or -1; one of `gt_boxes` per image."""
    return np.array(
        [
            np.concatenate(
                [
                    _assign_level(level, boxes, center_radius * stride, *size_range)
                    for level, stride, size_range in zip(points, strides, size_ranges)
                ]
            )
            for boxes in gt_boxes
        ]
    )


def _assign_level(
    points: Boxes, boxes: Boxes, radius: float, low: float, high: float
) -> NDArray[np.int64]:
    dtype = points.dtype.type
    index = np.full(len(points), -1)
    for a, (x, y) in enumerate(points):
        smallest = np.inf
        for g, (x1, y1, x2, y2) in enumerate(boxes):
            with np.errstate(over="ignore", invalid="ignore"):
                area = (x2 - x1) * (y2 - y1)
                sides = [x - x1, y - y1, x2 - x, y2 - y]
                dx, dy = abs(x - (x1 / 2 + x2 / 2)), abs(y - (y1 / 2 + y2 / 2))
            inside = all(side > 0 for side in sides) and max(dx, dy) < dtype(radius)
            of_level = dtype(low) <= max(sides) <= dtype(high)
            exists = np.isfinite([x1, y1, x2, y2, area]).all()
            if exists and inside and of_level and area < smallest:
                index[a], smallest = g, area
    return index
