"""The corners of rotated boxes, which files have as an outline of four points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.formats.record import Record
from sightline.formats.shapes import Polygons, corners_of_rotated, rotated_of_corners

__all__ = ["has_rotated", "outline_is_corners", "rotated_corners"]

_SAME = 1e-6  # pixels or degrees, of two rotated boxes


def has_rotated(record: Record, row: int) -> bool:
    """Whether an object has a rotated box."""
    return record.boxes_rotated is not None and not np.isnan(record.boxes_rotated[row]).any()


def outline_is_corners(record: Record, row: int) -> bool:
    """Whether the outline of an object has four points, and these lead to its rotated box."""
    shape = record.shapes[row] if record.shapes is not None else None
    if not isinstance(shape, Polygons) or [len(ring) for ring in shape.rings] != [4]:
        return False
    if record.boxes_rotated is None:
        return False
    found = rotated_of_corners(shape.rings[0])[0]
    return np.allclose(found, record.boxes_rotated[row], rtol=0, atol=_SAME)


def rotated_corners(record: Record, row: int) -> NDArray[np.float64] | None:
    """Return the corners [4, 2] of a rotated box: as a file has them, otherwise computed."""
    if not has_rotated(record, row):
        return None
    shape = record.shapes[row] if record.shapes is not None else None
    if isinstance(shape, Polygons) and outline_is_corners(record, row):
        return shape.rings[0]
    assert record.boxes_rotated is not None
    return corners_of_rotated(record.boxes_rotated[row])[0]
