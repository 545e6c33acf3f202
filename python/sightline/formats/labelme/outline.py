"""The outline and box of one shape of LabelMe, and of several that are parts of one object."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.formats.outline import Outline, ellipse_points
from sightline.formats.pictures import opened_image
from sightline.formats.records import DataError
from sightline.formats.shapes import (
    Polygons,
    RunLengths,
    mask_to_runs,
    rotated_of_corners,
    shape_hull,
    union_of,
)
from sightline.formats.text import number

__all__ = ["OUTLINED", "Outline", "joined", "read_outline", "read_points"]

_ROTATED = ("oriented_rectangle", "rotation")  # of LabelMe, and of X-AnyLabeling
OUTLINED = ("polygon", "circle", "mask", *_ROTATED)  # the kinds with more than a box
_FEWEST = {"rectangle": 2, "circle": 2, "mask": 2, "point": 1}  # points; 3 for a polygon


def read_points(kind: str, points: Any) -> NDArray[np.float64] | str:
    """Return the points [P, 2] of a shape, or the rule that they break."""
    fewest = _FEWEST.get(kind, 3)
    pairs = points if isinstance(points, list) else []
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        pairs = []
    values = [number(value) for pair in pairs for value in pair]
    numbers = [value for value in values if value is not None]
    if len(pairs) < fewest or len(numbers) < len(values):
        s = "" if fewest == 1 else "s"
        return f"a {kind} needs {fewest} point{s} [x, y] or more, got {quoted(points)}"
    return np.array(numbers).reshape(-1, 2)


def read_outline(
    kind: str, shape: Mapping[str, Any], width: int, height: int
) -> tuple[Outline | None, str | None]:
    """Return the outline of a shape in an image of a size, or None and the rule that it breaks."""
    points = read_points(kind, shape.get("points"))
    if isinstance(points, str):
        return None, points
    if not np.isfinite(points).all():
        return None, f"coordinates must be finite, got {quoted(shape.get('points'))}"
    if kind == "rectangle":
        return Outline(Polygons((points,)).hull()), None
    if kind == "mask":
        found = _mask(shape.get("mask"), points, width, height)
        return (
            (None, found) if isinstance(found, str) else (Outline(shape_hull(found), found), None)
        )
    if kind == "circle":
        # The second point lies on it; the radius is infinite, without a warning, where too large.
        radius = math.dist(*points[:2].tolist())
        points = ellipse_points(points[0], (radius, radius))
    polygon = Polygons((points,))
    rotated = None
    if kind in _ROTATED and len(points) == 4:
        rotated = rotated_of_corners(points)[0].tolist()
    return Outline(polygon.hull(), polygon, rotated), None


def joined(parts: Sequence[Outline], size: tuple[int, int]) -> Outline:
    """Return the union of the parts of one object in an image of `size` (height, width)."""
    if len(parts) == 1:
        return parts[0]
    boxes = np.array([part.box for part in parts])
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = boxes[:, 2:].max(axis=0).tolist()
    shapes = [part.shape or _rectangle(part.box) for part in parts]
    polygons = [shape for shape in shapes if isinstance(shape, Polygons)]
    if len(polygons) == len(shapes):
        rings = tuple(ring for shape in polygons for ring in shape.rings)
        return Outline((x1, y1, x2, y2), Polygons(rings))
    return Outline((x1, y1, x2, y2), union_of(shapes, size))


def _rectangle(box: Sequence[float]) -> Polygons:
    x1, y1, x2, y2 = box
    return Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]),))


def _mask(text: Any, points: NDArray[np.float64], width: int, height: int) -> RunLengths | str:
    """The run lengths of a mask, which is a PNG in base64 of the pixels between two points."""
    low, high = np.rint(points.min(axis=0)), np.rint(points.max(axis=0))
    if low.min() < 0 or (high >= (width, height)).any():
        got = quoted(points.tolist())
        return f"the points of a mask are pixels of the image of {width} x {height}, got {got}"
    (x1, y1), (x2, y2) = low.astype(int).tolist(), high.astype(int).tolist()
    try:
        data = base64.b64decode(text, validate=True)
        with opened_image(data) as image:
            if image.size != (x2 - x1 + 1, y2 - y1 + 1):
                return (
                    f"a mask has the size of the pixels between its points, {x2 - x1 + 1} x "
                    f"{y2 - y1 + 1}, got {image.size[0]} x {image.size[1]}"
                )
            part = np.asarray(image.convert("L")) != 0
    except (TypeError, ValueError, binascii.Error, DataError):
        return f"a mask is a PNG in base64, got {quoted(text)}"
    if not part.any():
        return "a mask must have a pixel of the object, got none"
    try:
        return mask_to_runs(part, (height, width), (x1, y1))
    except ValueError as error:  # an image of too many pixels
        return str(error)
