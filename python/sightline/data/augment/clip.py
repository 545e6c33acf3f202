"""Clips boxes and outlines to an image, and drops boxes of which too little remains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_SIDE", "clip_boxes", "clip_ring"]

MIN_SIDE = 1.0  # network pixels; thinner boxes are dropped after clipping


def clip_boxes(
    boxes: NDArray[np.float64], height: int, width: int, *, min_visibility: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clip xyxy boxes [N, 4] to an image.

    Returns the boxes that remain [K, 4] and their rows, int64 [K]: those with at least
    `min_visibility` of their area and at least MIN_SIDE of each side inside.
    """
    limit = np.array([width, height, width, height], np.float64)
    clipped = np.clip(boxes, 0, limit)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    visible = sides[:, 0] * sides[:, 1] >= min_visibility * area
    keep = np.flatnonzero(visible & (sides >= MIN_SIDE).all(axis=1))
    return clipped[keep], keep


def clip_ring(ring: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the part of a polygon [P, 2] that lies in an image, as [Q, 2].

    Edge by edge of the image (Sutherland and Hodgman, "Reentrant Polygon Clipping", CACM 1974), so
    that parts which the image separates stay connected along its border.
    """
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        inside_by = sign * (ring[:, axis] - limit)
        if inside_by.min() >= 0:  # most outlines leave by one edge
            continue
        next_by = np.roll(inside_by, -1)
        crosses = (inside_by >= 0) != (next_by >= 0)
        share = inside_by / np.where(crosses, inside_by - next_by, 1)
        crossings = ring + share[:, None] * (np.roll(ring, -1, axis=0) - ring)
        both = np.stack([ring, crossings], axis=1).reshape(-1, 2)
        ring = both[np.stack([inside_by >= 0, crosses], axis=1).reshape(-1)]
        if len(ring) == 0:
            break
    return ring
