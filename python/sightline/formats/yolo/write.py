"""Writes YOLO: data.yaml, and images and labels in images/<split> and labels/<split>.

A line holds what the set has: boxes, otherwise polygons (of a set with outlines), the corners of
rotated boxes, or boxes with keypoints. Numbers are shares of the sides of the image as shown, with
as many digits as float64 needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline._text import shortened
from sightline.formats.losses import Losses, Rounding, cleaned_names, note_columns
from sightline.formats.new_folder import new_folder, write_lines
from sightline.formats.records import Annotations, Record
from sightline.formats.rotated import rotated_corners
from sightline.formats.shapes import Shape
from sightline.formats.writing import (
    Sets,
    as_polygons,
    as_shown,
    checked_sets,
    known_splits,
    note_hull,
    records_of,
)
from sightline.formats.written_pictures import WrittenPictures
from sightline.formats.yolo.shares import pixels_of_shares

__all__ = ["write_yolo"]

# What lines of each kind keep of a record, beside boxes.
_KEEPS: dict[str, tuple[str, ...]] = {
    "boxes": (),
    "polygons": ("polygons", "run lengths"),
    "rotated": ("boxes_rotated",),
    "keypoints": ("points",),
}
# The key `task` of data.yaml, where lines alone do not say what they hold.
_TASKS = {"polygons": "segment", "rotated": "obb", "keypoints": "pose"}
# Label files of images with these names would be lists of classes.
_RESERVED = ("classes", "predefined_classes")


def write_yolo(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as YOLO text; return what is lost, one sentence per kind.

    Without splits, data.yaml names none, and images and labels are right in their folders.
    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("YOLO")
    sets = known_splits(checked_sets(sets, losses), losses, rest=False)
    first = next(iter(sets.values()))
    names = cleaned_names(first.class_names, str, losses, "a name is one line of text")
    kind, points = _kind(sets)
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses, _RESERVED)
        lines = _Lines(kind, points, losses)
        for split, record in records_of(sets, losses):
            placed = pictures.place(record, new / "images" / (split or ""), split)
            if placed.new:
                note_columns(record, losses, _KEEPS[kind])
                text = lines.of(as_shown(record, placed, losses), placed.name)
                write_lines(new / "labels" / (split or "") / f"{placed.stem}.txt", text)
        lines.rounding.note(losses, "shares of the sides have about 16 digits")
        write_lines(new / "data.yaml", _config(sets, names, first, kind, points))
    return losses.sentences()


def _kind(sets: Sets) -> tuple[str, int]:
    """What the lines hold, and the number of keypoints."""
    records = [record for data in sets.values() for record in data.records]
    points = [record.points.shape[1] for record in records if record.points is not None]
    if points:
        return "keypoints", max(points)
    if any(record.boxes_rotated is not None for record in records):
        return "rotated", 0
    outlined = any(shape is not None for record in records for shape in record.shapes or ())
    return ("polygons" if outlined else "boxes"), 0


def _config(
    sets: Sets, names: Sequence[str], first: Annotations, kind: str, points: int
) -> list[str]:
    """The lines of data.yaml; JSON's quotes are YAML's, for a class may be called `no`."""
    lines = [f"{split}: images/{split}" for split in sets if split]
    if kind in _TASKS:
        lines.append(f"task: {_TASKS[kind]}")
    if points:
        lines.append(f"kpt_shape: [{points}, 3]")
    if points and first.keypoint_mirror:
        lines.append(f"flip_idx: {list(first.keypoint_mirror)}")
    if points and first.keypoint_names:
        named = json.dumps(list(first.keypoint_names), ensure_ascii=False)
        lines += ["kpt_names:", *(f"  {number}: {named}" for number in range(len(names)))]
    quoted = [f"  {n}: {json.dumps(name, ensure_ascii=False)}" for n, name in enumerate(names)]
    return [*lines, f"nc: {len(names)}", "names:", *quoted]


class _Lines:
    """Turns records into lines, and counts what the numbers of a line cannot give back."""

    def __init__(self, kind: str, points: int, losses: Losses) -> None:
        self._kind, self._points, self._losses = kind, points, losses
        self.rounding = Rounding()

    def of(self, record: Record, name: str) -> list[str]:
        size = record.width, record.height
        shapes = self._shapes(record)
        lines = []
        for row, label in enumerate(record.labels.tolist()):
            box, shape = record.boxes[row], shapes[row]
            if shape is None:
                numbers = self._box(box, size, name)
            else:
                numbers = self._outline(shape, box, size, name)
            if self._kind == "keypoints":
                numbers += self._keypoints(record, row, size, name)
            lines.append(" ".join([str(label), *map(_share, numbers)]))
        return lines

    def _shapes(self, record: Record) -> Sequence[NDArray[np.float64] | None]:
        """The points of each line, None for a plain box."""
        if self._kind in ("boxes", "keypoints"):
            return [None] * len(record.boxes)
        found: list[NDArray[np.float64] | None] = []
        for row, box in enumerate(record.boxes):
            if self._kind == "rotated":
                points = rotated_corners(record, row)
            else:
                points = self._joined(record.shapes[row]) if record.shapes is not None else None
            if points is not None and not self._is_inside(points, record):
                points = None
            if points is None:
                # Tools take a line of four numbers among polygons for two points.
                what = "the corners of rotated boxes" if self._kind == "rotated" else "polygons"
                why = f"beside {what} a box is written as its four corners"
                self._losses.add("the kind", "object", 1, why)
                points = box[[[0, 1], [2, 1], [2, 3], [0, 3]]]
            found.append(points)
        return found

    def _is_inside(self, points: NDArray[np.float64], record: Record) -> bool:
        """Whether something of an outline is left once it is cut at the sides of the image."""
        cut = np.clip(points, 0, (record.width, record.height))
        inside = bool((cut.max(axis=0) > cut.min(axis=0)).all())
        self._losses.add("the outlines", "object", not inside, "they lie outside their image")
        return inside

    def _joined(self, shape: Shape | None) -> NDArray[np.float64] | None:
        """The points of an outline; several rings are joined at their nearest points."""
        polygons = as_polygons(shape, self._losses)
        if polygons is None:
            return None
        if len(polygons.rings) > 1:
            why = "a line has one, so they are joined by a seam without area"
            self._losses.add("the separate polygons", "object", 1, why)
        return joined_rings(polygons.rings)

    def _box(self, box: NDArray[np.float64], size: tuple[int, int], name: str) -> list[float]:
        corners, sides = box.reshape(2, 2), np.array(size, np.float64)
        centre, extent = corners.sum(axis=0) / 2 / sides, (corners[1] - corners[0]) / sides
        if centre.min() < 0 or max(centre.max(), extent.max()) > 1:
            corners = self._cut(corners, size, name)
            centre, extent = corners.sum(axis=0) / 2 / sides, (corners[1] - corners[0]) / sides
        shares = np.stack([centre - extent / 2, centre + extent / 2])
        self.rounding.compare(pixels_of_shares(shares, *size), corners)
        return [*centre.tolist(), *extent.tolist()]

    def _outline(
        self,
        points: NDArray[np.float64],
        box: NDArray[np.float64],
        size: tuple[int, int],
        name: str,
    ) -> list[float]:
        if points.min() < 0 or (points > size).any():
            points = self._cut(points, size, name)
        hull = np.concatenate([points.min(axis=0), points.max(axis=0)])
        note_hull(box, hull, self._losses)
        shares = points / np.array(size, np.float64)
        self.rounding.compare(pixels_of_shares(shares, *size), points)
        return shares.reshape(-1).tolist()

    def _keypoints(self, record: Record, row: int, size: tuple[int, int], name: str) -> list[float]:
        found = np.zeros((self._points, 3))
        if record.points is not None:
            found[: record.points.shape[1]] = record.points[row]
        found[found[:, 2] == 0] = 0  # of a point that is not labelled, nothing is known
        if found[:, :2].min() < 0 or (found[:, :2] > size).any():
            found[:, :2] = self._cut(found[:, :2], size, name)
        shares = found[:, :2] / np.array(size, np.float64)
        self.rounding.compare(pixels_of_shares(shares, *size), found[:, :2])
        return np.concatenate([shares, found[:, 2:]], axis=1).reshape(-1).tolist()

    def _cut(
        self, points: NDArray[np.float64], size: tuple[int, int], name: str
    ) -> NDArray[np.float64]:
        why = "shares end at the sides of the image, so they are cut off"
        self._losses.add("the parts outside the image", "object", 1, why, shortened(name))
        return np.clip(points, 0, np.array(size, np.float64))


def joined_rings(rings: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return polygons [P, 2] as one, in which seams without area lead to each and back.

    All turn the same way, so that the area is the sum of theirs.

    >>> from sightline.formats.shapes import polygon_area
    >>> squares = [np.array([[x, 0], [x + 2, 0], [x + 2, 2], [x, 2.0]]) for x in (0, 5)]
    >>> joined = joined_rings(squares)
    >>> joined.shape, polygon_area(joined)
    ((10, 2), 8.0)
    """
    joined, *others = [ring if _signed_area(ring) >= 0 else ring[::-1] for ring in rings]
    for ring in others:
        distances = np.hypot(*(joined[:, None] - ring[None]).transpose(2, 0, 1))
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.roll(ring, -int(there), axis=0)
        parts = [joined[: here + 1], around, around[:1], joined[here:]]
        joined = np.concatenate(parts)
    return joined


def _signed_area(ring: NDArray[np.float64]) -> float:
    closed = [*ring.tolist(), ring[0].tolist()]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(closed))


def _share(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
