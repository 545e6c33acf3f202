"""The outline of one object, with its box: of points, ellipses and rotated rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.formats.shapes import Polygons, Shape

__all__ = ["Outline", "ellipse", "ellipse_points", "polygon", "rotated_rectangle", "turned"]

_SIDES_OF_ELLIPSE = 32
_DECIMALS = 9  # so that coordinates made of shares and angles are again those that were shown


@dataclass(frozen=True)
class Outline:
    """The xyxy box of an object, its outline where it has one, and its rotated box likewise."""

    box: tuple[float, float, float, float]
    shape: Shape | None = None
    rotated: Sequence[float] | None = None


def polygon(points: ArrayLike) -> Outline:
    """Return the polygon of points [P, 2]."""
    shape = Polygons((np.asarray(points, np.float64),))
    return Outline(shape.hull(), shape)


def ellipse(centre: ArrayLike, radii: Sequence[float], degrees: float = 0.0) -> Outline:
    """Return an ellipse as a polygon; a positive angle turns with the clock."""
    return polygon(ellipse_points(centre, radii, degrees))


def ellipse_points(
    centre: ArrayLike, radii: Sequence[float], degrees: float = 0.0
) -> NDArray[np.float64]:
    """Return 32 points [32, 2] on an ellipse; its outermost ones are exact where it is upright."""
    quarter = np.arange(_SIDES_OF_ELLIPSE // 4) * 2 * np.pi / _SIDES_OF_ELLIPSE
    # The quarters are turned copies, so that the four outermost points are exact.
    x, y = np.cos(quarter), np.sin(quarter)
    turns = [np.stack(pair, axis=1) for pair in ((x, y), (-y, x), (-x, -y), (y, -x))]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(centre) + turned(np.asarray(radii) * np.concatenate(turns), degrees)


def rotated_rectangle(
    x: float, y: float, width: float, height: float, degrees: float, pivot: Sequence[float]
) -> Outline:
    """Return the rectangle with the top left corner x, y, turned with the clock around a pivot."""
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if degrees % 360 == 0:
        return Outline((x, y, x + width, y + height))
    at = np.asarray(pivot)
    corners = np.round(at + turned(corners - at, degrees), _DECIMALS)
    centre = corners.mean(axis=0).tolist()
    shape = Polygons((corners,))
    return Outline(shape.hull(), shape, (*centre, width, height, -degrees))


def turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Return points [P, 2] turned around 0, 0, with the clock as seen in an image."""
    if degrees % 360 == 0:
        return points
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cos, sin], [-sin, cos]])
