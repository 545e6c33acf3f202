"""Overlap of rotated boxes in plain Python: the specification of the kernels.

A box is (cx, cy, w, h, angle), rotated counter-clockwise as seen in an image, whose y axis points
down. Computed in float64 one pair at a time, as the area of one box after clipping it along the
four sides of the other; returned in float32 or float64 as by `sightline.ops`.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]
Point = tuple[float, float]


def box_iou_rotated(
    boxes1: Boxes, boxes2: Boxes, *, unit: str = "degrees", aligned: bool = False
) -> Boxes:
    """[N, M], or [N] where aligned: 0 for a box that is not finite or has no area."""
    wide = any(x.dtype.kind == "f" and x.dtype.itemsize > 4 for x in (boxes1, boxes2))
    dtype = np.dtype(np.float64 if wide else np.float32)
    first, second = (x.astype(dtype).astype(np.float64).tolist() for x in (boxes1, boxes2))
    if aligned:
        return np.array([_iou(a, b, unit, dtype) for a, b in zip(first, second)], dtype)
    rows = [[_iou(a, b, unit, dtype) for b in second] for a in first]
    return np.array(rows, dtype).reshape(len(first), len(second))


def corners_of(box: list[float], unit: str, origin: Point = (0.0, 0.0)) -> list[Point]:
    """The corners, clockwise as seen in the image, relative to `origin`."""
    cx, cy, w, h, angle = box
    if unit == "degrees":
        angle = math.radians(math.fmod(angle, 360))
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = cx - origin[0], cy - origin[1]
    return [
        (x + (i * w * cos + j * h * sin) / 2, y + (j * h * cos - i * w * sin) / 2)
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def cut(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    """The part of a convex polygon on the right of the line from `start` to `end`."""
    inside: list[Point] = []
    for p, q in zip(polygon, polygon[1:] + polygon[:1]):
        at_p, at_q = _side(start, end, p), _side(start, end, q)
        if at_p >= 0:
            inside.append(p)
        if at_p * at_q < 0:
            t = at_p / (at_p - at_q)
            inside.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return inside


def area_of(polygon: list[Point]) -> float:
    """The shoelace formula, from the first corner."""
    return sum(_side(polygon[0], p, q) for p, q in pairwise(polygon[1:])) / 2


def _side(start: Point, end: Point, p: Point) -> float:
    return (end[0] - start[0]) * (p[1] - start[1]) - (end[1] - start[1]) * (p[0] - start[0])


def _area(box: list[float], dtype: np.dtype) -> float:
    """0 where a number is not finite, a side not positive, or the area overflows `dtype`."""
    with np.errstate(all="ignore"):
        rounded = float(dtype.type(box[2]) * dtype.type(box[3]))
    good = all(map(math.isfinite, [*box, rounded])) and min(box[2], box[3], rounded) > 0
    return box[2] * box[3] if good else 0.0


def _iou(a: list[float], b: list[float], unit: str, dtype: np.dtype) -> float:
    area_a, area_b = _area(a, dtype), _area(b, dtype)
    if area_a == 0 or area_b == 0:
        return 0.0
    # Relative to the centre of one of them, so that large coordinates cost no precision.
    polygon = corners_of(a, unit, (b[0], b[1]))
    sides = corners_of(b, unit, (b[0], b[1]))
    for start, end in zip(sides, sides[1:] + sides[:1]):
        polygon = cut(polygon, start, end)
    intersection = min(max(area_of(polygon), 0.0), area_a, area_b) if polygon else 0.0
    return intersection / (area_a + area_b - intersection)
