"""The outline of an object, as label files hold it: polygons or run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Polygons", "RunLengths", "Shape"]


@dataclass(frozen=True, eq=False)
class Polygons:
    """One object as the union of polygons.

    `rings` are float64 [P, 2] each, x and y in pixels of the image as shown; a ring closes from its
    last point to its first.
    """

    rings: tuple[NDArray[np.float64], ...]

    def __post_init__(self) -> None:
        rings = tuple(np.asarray(ring, np.float64).reshape(-1, 2) for ring in self.rings)
        object.__setattr__(self, "rings", rings)

    def hull(self) -> tuple[float, float, float, float]:
        """Return the xyxy box around all points."""
        points = np.concatenate(self.rings)
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x1, y1, x2, y2


@dataclass(frozen=True)
class RunLengths:
    """One object as COCO's run lengths over an image of `size` (height, width).

    `counts` are the lengths of runs of zeros and ones in turn, down the columns, in COCO's
    compressed form.
    """

    size: tuple[int, int]
    counts: bytes


Shape = Polygons | RunLengths
