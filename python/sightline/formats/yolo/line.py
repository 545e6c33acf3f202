"""One line of a YOLO label file: a box, a box with keypoints, or a polygon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline._text import shortened
from sightline.formats.text import number, whole_number
from sightline.formats.yolo.config import Keypoints

__all__ = ["GOT", "Line", "is_polygon", "parse_line"]

GOT = ", got "  # ends a rule to which the line itself is to be added
_SLACK = 1e-6  # files have six decimals, so that a side may end just beyond 1
_VISIBILITIES = (0, 1, 2)


@dataclass(frozen=True)
class Line:
    """The class of an object and its place, in shares of the image's sides.

    `box` is xyxy. `polygon` [P, 2] is None for a line of a box; `points` [K, 3] have x, y and
    visibility.
    """

    name: str
    box: tuple[float, float, float, float]
    polygon: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None


def is_polygon(numbers: int) -> bool:
    """Whether a line with that many numbers after the class holds points alone."""
    return numbers >= 6 and numbers % 2 == 0


def parse_line(line: str, names: Sequence[str], keypoints: Keypoints | None) -> Line | str:
    """Return what a line holds, or the rule that it breaks.

    `names` are the classes, `keypoints` those that the lines of the set have after the box.
    """
    first, *others = line.split()
    extra = keypoints.numbers if keypoints is not None else 0
    posed = extra > 0 and len(others) == 4 + extra
    polygon = not extra and is_polygon(len(others))
    if len(others) != 4 and not posed and not polygon:
        or_else = "or a class and 3 or more points, x and y of each"
        if keypoints is not None:
            or_else = f"or these and {keypoints.count} keypoints, {5 + extra} numbers"
        return f"a line is `class x y w h`, 5 numbers, got {len(others) + 1}; {or_else}"
    label = whole_number(first)
    values = [value for word in others if (value := number(word)) is not None]
    if label is None or len(values) < len(others):
        rest = f"a line is `class x y w h`, an integer and 4 numbers{GOT}"
        return f"the class number is not an integer; {rest}" if label is None else rest
    if not 0 <= label < len(names):
        return f"unknown class {shortened(label)}; the classes are 0 to {len(names) - 1}"
    rule: str | None
    if not all(map(math.isfinite, values)):
        return f"coordinates must be finite{GOT}"
    if polygon:
        rule = _shares_rule("x and y of points", values)
        xs, ys = values[::2], values[1::2]
        box = min(xs), min(ys), max(xs), max(ys)
        return rule or Line(names[label], box, np.array(values).reshape(-1, 2))
    if min(values[2:4]) <= 0:
        return f"width and height must be positive, got {values[2]:g} and {values[3]:g}"
    x, y, w, h = values[:4]
    rule = _shares_rule("x y w h", values[:4])
    points = None
    if posed and keypoints is not None:
        points = _with_visibility(np.array(values[4:]).reshape(keypoints.count, -1))
        rule = rule or _points_rule(points)
    return rule or Line(names[label], (x - w / 2, y - h / 2, x + w / 2, y + h / 2), None, points)


def _shares_rule(what: str, values: Sequence[float]) -> str | None:
    if min(values) < -_SLACK or max(values) > 1 + _SLACK:
        return f"{what} are shares of the image's sides, in 0 to 1{GOT}"
    return None


def _with_visibility(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keypoints [K, 3] of [K, 2] or [K, 3]; a point at 0, 0 that has no visibility is not there."""
    if points.shape[1] == 3:
        return points
    visible = np.where(points.any(axis=1), 2.0, 0.0)
    return np.concatenate([points, visible[:, None]], axis=1)


def _points_rule(points: NDArray[np.float64]) -> str | None:
    """The rule that keypoints [K, 3] break; those that are not labelled may be anywhere."""
    if not np.isin(points[:, 2], _VISIBILITIES).all():
        return f"the visibility of a keypoint is 0, 1 or 2{GOT}"
    labelled = points[points[:, 2] > 0, :2]
    return _shares_rule("x and y of keypoints", labelled.ravel().tolist() or [0.0])
