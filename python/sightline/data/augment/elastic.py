"""Smooth random displacements of an image's pixels, and their inverse for points.

A grid [h, w, 2] of displacements (dx, dy) covers an output of height x width pixels, its outermost
nodes on the borders, and is bilinear between its nodes. The output's point p shows what lay at
p + d(p).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["displaced", "draw_displacements", "undisplaced"]

_NODES = 17  # along each side
_SMOOTHNESS = 2.0  # standard deviation of the Gaussian that smooths the nodes, in nodes
# The largest sum |d dx / dx| + |d dx / dy|, and the same of dy. So p + d(p) is one-to-one, with a
# Jacobian determinant of at least (1 - slope) ** 2 = 1 / 4, and each step of the iteration for its
# inverse at least halves the error.
_MAX_SLOPE = 0.5
_MAX_STEPS = 30
_TOLERANCE = 1e-3  # pixels


def _smoothing() -> NDArray[np.float64]:
    at = np.arange(_NODES)
    weights = np.exp(-((at[:, None] - at) ** 2) / (2 * _SMOOTHNESS**2))
    return weights / weights.sum(axis=1, keepdims=True)


_SMOOTHING = _smoothing()


def draw_displacements(
    amplitude: float, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a smooth random grid, float32 [17, 17, 2], whose longest component is `amplitude`.

    All of it is made shorter where neighbouring pixels would otherwise move by amounts that differ
    by more than half a pixel, so that the map stays invertible, with a Jacobian determinant of at
    least 1 / 4.
    """
    noise = rng.standard_normal((2, _NODES, _NODES))
    smooth = _SMOOTHING @ noise @ _SMOOTHING.T
    unit = smooth / np.abs(smooth).max()
    slopes_x = np.abs(np.diff(unit, axis=2)) * ((_NODES - 1) / width)
    slopes_y = np.abs(np.diff(unit, axis=1)) * ((_NODES - 1) / height)
    steepest = (slopes_x.max(axis=(1, 2)) + slopes_y.max(axis=(1, 2))).max()
    grid = unit * min(amplitude, _MAX_SLOPE / steepest)
    return np.ascontiguousarray(grid.transpose(1, 2, 0), np.float32)


def displaced(
    points: NDArray[np.float64], grid: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float64]:
    """Return p + d(p) for points [M, 2]; beyond the output's borders d is that of the border."""
    rows, columns = grid.shape[:2]
    x = np.clip(points[:, 0] * ((columns - 1) / width), 0, columns - 1)
    y = np.clip(points[:, 1] * ((rows - 1) / height), 0, rows - 1)
    left = np.minimum(x.astype(np.int64), columns - 2)
    top = np.minimum(y.astype(np.int64), rows - 2)
    right_share, bottom_share = (x - left)[:, None], (y - top)[:, None]
    nodes = grid.reshape(-1, 2)
    at = top * columns + left
    above = nodes[at] * (1 - right_share) + nodes[at + 1] * right_share
    below = nodes[at + columns] * (1 - right_share) + nodes[at + columns + 1] * right_share
    return points + above * (1 - bottom_share) + below * bottom_share


def undisplaced(
    points: NDArray[np.float64], grid: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float64]:
    """Return where points [M, 2] appear in the output: the p with p + d(p) = point.

    By p <- point - d(p), to about a thousandth of a pixel.
    """
    found = points
    for _ in range(_MAX_STEPS if len(points) else 0):
        miss = displaced(found, grid, height, width) - points
        found = found - miss
        if np.abs(miss).max() < _TOLERANCE:
            break
    return found
