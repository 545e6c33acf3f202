"""3 x 3 matrices that map pixels (x, y, 1) to pixels, in continuous coordinates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Matrix",
    "about",
    "flip_matrix",
    "is_aligned",
    "map_points",
    "scaling",
    "stretching",
    "tilting",
    "turning",
]

Matrix = NDArray[np.float64]  # [3, 3]

# Points at or behind the horizon of a perspective are treated as far away in their direction.
_LEAST_DEPTH = 0.05


def scaling(x: float, y: float, left: float = 0.0, top: float = 0.0) -> Matrix:
    """Return the map (x * scale + left, y * scale + top)."""
    return np.array([[x, 0, left], [0, y, top], [0, 0, 1]], np.float64)


def stretching(
    box: tuple[float, float, float, float], size: tuple[int, int], offset: tuple[float, float]
) -> Matrix:
    """Return the map of an xyxy box to an area of (height, width) pixels at offset (x, y)."""
    x1, y1, x2, y2 = box
    x, y = size[1] / (x2 - x1), size[0] / (y2 - y1)
    return scaling(x, y, offset[0] - x1 * x, offset[1] - y1 * y)


def turning(angle: float, shear_x: float, shear_y: float, zoom: float) -> Matrix:
    """Return shear, then rotation clockwise as seen in the image, then zoom; angles in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    linear = zoom * turn @ np.array([[1, math.tan(shear_x)], [math.tan(shear_y), 1]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    return matrix


def tilting(x: float, y: float) -> Matrix:
    """Return the perspective that divides by 1 + x * column + y * row."""
    return np.array([[1, 0, 0], [0, 1, 0], [x, y, 1]], np.float64)


def about(matrix: Matrix, x: float, y: float, *, to: tuple[float, float] | None = None) -> Matrix:
    """Return a map with the origin at (x, y), which it takes to `to`, by default (x, y)."""
    there = (x, y) if to is None else to
    return scaling(1, 1, *there) @ matrix @ scaling(1, 1, -x, -y)


def flip_matrix(size: tuple[int, int], *, horizontal: bool, vertical: bool) -> Matrix:
    """Return the mirror image within (height, width) pixels."""
    height, width = size
    return scaling(
        -1 if horizontal else 1,
        -1 if vertical else 1,
        width if horizontal else 0,
        height if vertical else 0,
    )


def is_aligned(matrix: Matrix) -> bool:
    """Whether rows stay rows and columns stay columns."""
    (_, b, _), (c, _, _), (g, h, one) = matrix.tolist()
    return b == c == g == h == 0 and one == 1


def map_points(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points [..., 2]."""
    mapped = points @ matrix[:2, :2].T + matrix[:2, 2]
    if matrix[2, 0] == matrix[2, 1] == 0:
        return mapped / matrix[2, 2]
    depth = points @ matrix[2, :2] + matrix[2, 2]
    return mapped / np.maximum(depth, _LEAST_DEPTH)[..., None]
