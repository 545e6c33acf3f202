"""Clips boxes to an image, and drops those of which too little remains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_SIDE", "clip_boxes"]

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
