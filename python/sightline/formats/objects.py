"""Collects the objects of one image as a reader finds them, into the columns of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import listed, quoted
from sightline.formats.records import DataError, Issue, Record, box_rule
from sightline.formats.shapes import Shape
from sightline.formats.source import Pair

__all__ = ["Objects"]

_MOST_BAD = 100_000  # labels of one image: a damaged file may have millions


class Objects:
    """The objects of one image and its bad labels, added one by one.

    Args:
        file: the file that the labels are in, which issues name.
        width, height: size of the image as shown.
        label_of: label of each class that is known, by name.
    """

    def __init__(self, file: Path, width: int, height: int, label_of: Mapping[str, int]) -> None:
        self.file, self.width, self.height = file, width, height
        self.issues: list[Issue] = []
        self._label_of = label_of
        self._labels: list[int] = []
        self._boxes: list[Sequence[float]] = []
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("difficult", "shapes", "points", "boxes_rotated", "extra")
        }

    def add(
        self,
        name: str,
        box: Sequence[float],
        rule: str | None = None,
        *,
        what: str,
        line: int | Callable[[], int] | None = None,
        difficult: bool = False,
        shape: Shape | None = None,
        points: Any = None,
        rotated: Sequence[float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bool:
        """Add an object, or the issue where it breaks a rule; return whether it was added.

        Args:
            name: its class.
            box: xyxy in pixels of the image; not looked at where `rule` is given.
            rule: the rule that the reader found broken.
            what: what the object is called in an issue, such as "object 3 (cat)".
            line: its line in the file, or a function that finds it, called for an issue only.
            points: its keypoints [K, 3].
            rotated: its rotated box, (cx, cy, w, h, angle in degrees).
            extra: numbers, sequences of them, or texts, by name; None or "" where it has none.
        """
        if rule is None and name not in self._label_of:
            rule = f"unknown class {quoted(name)}; the classes are {listed([*self._label_of])}"
        rule = rule or box_rule(box, self.width, self.height)
        if rule is not None:
            self.bad(what, rule, line)
            return False
        self._labels.append(self._label_of[name])
        self._boxes.append(box)
        values = (difficult, shape, points, rotated, extra or {})
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        return True

    def bad(self, what: str, rule: str, line: int | Callable[[], int] | None = None) -> None:
        """Add the issue of a bad label; DataError where an image has too many to keep."""
        place = line() if callable(line) else line
        self.issues.append(Issue(self.file, place, what, rule))
        if len(self.issues) > _MOST_BAD:
            said = f"more than {_MOST_BAD:,} bad labels of one image; correct it, or remove it"
            raise DataError(f"{self.issues[0]}; {said}")

    def pair(
        self,
        image: Path,
        image_id: str,
        ignored: Sequence[Sequence[float]] = (),
    ) -> Pair:
        """Return the record of the image, and the issues."""
        columns = self._columns
        outlined = any(shape is not None for shape in columns["shapes"])
        record = Record(
            image,
            image_id,
            self.width,
            self.height,
            labels=np.array(self._labels, np.int64),
            boxes=np.array(self._boxes, np.float64).reshape(-1, 4),
            difficult=np.array(columns["difficult"], bool),
            shapes=tuple(columns["shapes"]) if outlined else None,
            points=_filled(columns["points"], 0.0),
            boxes_rotated=_filled(columns["boxes_rotated"], np.nan),
            extra=_extra(columns["extra"]),
            ignored=np.array(ignored, np.float64).reshape(-1, 4),
        )
        return record, self.issues


def _filled(values: Sequence[Any], nothing: float) -> NDArray[np.float64] | None:
    """One row for each object, of `nothing` where it has none; None where no object has any."""
    known = next((np.asarray(value) for value in values if value is not None), None)
    if known is None:
        return None
    missing = np.full(known.shape, nothing)
    rows = [missing if value is None else np.asarray(value, np.float64) for value in values]
    return np.stack(rows)


def _extra(objects: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    names = dict.fromkeys(name for values in objects for name in values)
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        values = [found.get(name) for found in objects]
        if any(isinstance(value, str) for value in values):
            texts = ["" if value is None else str(value) for value in values]
            if any(texts):
                columns[name] = np.array(texts)
        elif (column := _filled(values, np.nan)) is not None:
            columns[name] = column
    return columns
