"""Outlines and keypoints of annotations, and those that stay in their file until they are read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.formats.record import DataError
from sightline.formats.shapes import Polygons, RunLengths, Shape, compress_runs, run_lengths
from sightline.formats.text import number, whole_number

__all__ = ["FileOutlines", "file_state", "parse_keypoints", "parse_segmentation", "read_objects"]

_FORMS = (
    "segmentation must be polygons [[x, y, x, y, ...], ...] or run lengths "
    '{"size": [height, width], "counts": ...}'
)


def parse_segmentation(value: Any, noted: Callable[[str], None]) -> Shape | None:
    """Return the outline that a segmentation spells, or None where it is empty.

    Args:
        value: polygons, a single polygon without the list around it, or run lengths.
        noted: called with the rule where a polygon of fewer than three points is left out.

    Raises:
        ValueError: it is none of these; the message is the rule.
    """
    if isinstance(value, dict) and value:
        return _parse_runs(value)
    if value in (None, "") or (isinstance(value, list | dict) and not value):
        return None
    if not isinstance(value, list):
        raise ValueError(f"{_FORMS}, got {quoted(value)}")
    rings = []
    for ring in value if any(isinstance(ring, list) for ring in value) else [value]:
        numbers = [number(x) for x in ring] if isinstance(ring, list) else [None]
        known = [x for x in numbers if x is not None and math.isfinite(x)]
        if len(known) < len(numbers) or len(numbers) % 2:
            raise ValueError(f"{_FORMS}, got {quoted(value)}")
        if len(known) >= 6:
            rings.append(np.array(known).reshape(-1, 2))
        elif known:
            noted("a polygon of its segmentation needs three points or more")
    return Polygons(tuple(rings)) if rings else None


def _parse_runs(value: dict[str, Any]) -> RunLengths:
    size, counts = value.get("size"), value.get("counts")
    sides = [whole_number(side) for side in size] if isinstance(size, list) else []
    if len(sides) != 2 or not all(side is not None and 0 <= side < 2**32 for side in sides):
        raise ValueError(f"{_FORMS}, got size {quoted(size)}")
    height, width = (side or 0 for side in sides)
    try:
        if isinstance(counts, list):
            runs = [run for run in map(whole_number, counts) if run is not None]
            if len(runs) < len(counts):
                raise ValueError(f"run lengths must be whole numbers, got {quoted(counts)}")
            return RunLengths((height, width), compress_runs(runs, (height, width)))
        if isinstance(counts, str):
            shape = RunLengths((height, width), counts.encode("utf-8", "replace"))
            run_lengths(shape)  # raises where they do not fill the image
            return shape
    except (ValueError, OverflowError) as error:
        raise ValueError(f"segmentation has broken run lengths ({error})") from error
    raise ValueError(f"{_FORMS}, got counts {quoted(counts)}")


def parse_keypoints(value: Any) -> NDArray[np.float64] | None:
    """Return keypoints [K, 3], or None without any; ValueError whose message is the rule."""
    if value in (None, "", []):
        return None
    numbers = [number(x) for x in value] if isinstance(value, list) else [None]
    known = [x for x in numbers if x is not None and math.isfinite(x)]
    if len(known) < len(numbers) or len(numbers) % 3:
        raise ValueError(
            f"keypoints must be finite numbers [x, y, visibility, ...], got {quoted(value)}"
        )
    return np.array(known).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class FileOutlines:
    """Outlines that are read from their file at each access."""

    path: Path
    state: tuple[int, int]  # size and time of change when the file was opened
    objects: NDArray[np.int64]  # [S, 2] where the annotations begin and end in the file

    def shape(self, row: int) -> Shape:
        try:
            with self.path.open("rb", buffering=0) as file:
                if file_state(file) == self.state:
                    (text,) = read_objects(file, self.objects[row : row + 1])
                    shape = parse_segmentation(json.loads(text)["segmentation"], lambda _: None)
                    if shape is not None:
                        return shape
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            pass
        raise DataError(
            f"{self.path}: the annotation at byte {self.objects[row, 0]:,} cannot be read as when "
            "the file was opened; open the data set again"
        )


def read_objects(file: Any, objects: NDArray[np.int64]) -> list[str]:
    """Return the text between offsets [N, 2] of an open file."""
    texts = []
    for begin, end in objects.tolist():
        file.seek(begin)
        texts.append(file.read(end - begin).decode())
    return texts


def file_state(file: Any) -> tuple[int, int]:
    """Return what differs where an open file was written again."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
