"""Rotated boxes that several tests share, and an exact IoU of polygons."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np


def random_rotated_boxes(rng, n, dtype=np.float32, bad=False, unit="degrees"):
    """[n, 5] that overlap often; with `bad`, upright, repeated, degenerate and infinite ones."""
    boxes = np.empty((n, 5))
    boxes[:, :2] = rng.uniform(-50, 100, (n, 2))
    boxes[:, 2:4] = rng.uniform(5, 80, (n, 2))
    boxes[:, 4] = rng.uniform(-400, 400, n)
    if bad:
        kind = rng.integers(0, 8, n)
        boxes[kind == 0, 4] = 90 * np.round(boxes[kind == 0, 4] / 90)
        boxes[kind == 1] = np.round(boxes[kind == 1])
        boxes[kind == 2] = boxes[0]
        boxes[kind == 3, 2] = rng.choice([0, -5, 1e-7], (kind == 3).sum())
        boxes[kind == 4, 4] = boxes[n - 1, 4]
        for value in (np.nan, np.inf, -np.inf, 0.9 * float(np.finfo(dtype).max)):
            boxes[rng.random(boxes.shape) < 0.01] = value
    if unit == "radians":
        with np.errstate(all="ignore"):
            boxes[:, 4] = np.radians(boxes[:, 4])
        boxes[np.isfinite(boxes[:, 4]) & (np.abs(boxes[:, 4]) > 1e6), 4] = 1  # all digits lost
    with np.errstate(all="ignore"):
        return boxes.astype(dtype)


def exact_iou(a, b, unit="degrees"):
    """IoU of two boxes in rational numbers, from sines and cosines in float64."""

    def corners(box):
        cx, cy, w, h, angle = map(float, box)
        if unit == "degrees":
            angle = math.radians(math.fmod(angle, 360))
        cos, sin = Fraction(math.cos(angle)), Fraction(math.sin(angle))
        cx, cy, w, h = map(Fraction, (cx, cy, w, h))
        return [
            (cx + x * cos + y * sin, cy + y * cos - x * sin)
            for x, y in ((-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2))
        ]

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def area(polygon):
        return sum(side(polygon[0], p, q) for p, q in pairwise(polygon[1:])) / 2

    first, second = corners(a), corners(b)
    polygon = first
    for p, q in zip(second, [*second[1:], second[0]]):
        kept = []
        for r, s in zip(polygon, [*polygon[1:], *polygon[:1]]):
            at_r, at_s = side(p, q, r), side(p, q, s)
            if at_r >= 0:
                kept.append(r)
            if at_r * at_s < 0:
                t = at_r / (at_r - at_s)
                kept.append((r[0] + t * (s[0] - r[0]), r[1] + t * (s[1] - r[1])))
        polygon = kept
    inter = area(polygon) if polygon else Fraction(0)
    return float(inter / (area(first) + area(second) - inter))


def rounding_of(a, b, aligned=False):
    """What rounding may move the IoU of each pair by: coordinates by the last bit of the longest
    side, along an outline of such sides, in relation to an area."""
    if not aligned:
        a, b = a[:, None], b[None]
    with np.errstate(all="ignore"):
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        longest = np.maximum(wide_a[..., 2:4].max(-1), wide_b[..., 2:4].max(-1))
        area = np.maximum(wide_a[..., 2] * wide_a[..., 3], wide_b[..., 2] * wide_b[..., 3])
        bound = 8 * np.finfo(a.dtype).eps * np.maximum(longest**2 / area, 1)
    return np.where(np.isnan(bound), 0, bound)
