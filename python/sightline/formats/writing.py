"""What all writers share: the sets to write, their objects as boxes, numbers as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline._text import listed, quoted, shortened
from sightline.formats.losses import Losses
from sightline.formats.pictures import image_name
from sightline.formats.records import Annotations, DataError, LabelType, Record
from sightline.formats.shapes import (
    Polygons,
    RunLengths,
    Shape,
    corners_of_rotated,
    rotated_of_corners,
)
from sightline.formats.source import split_name
from sightline.formats.tracing import runs_to_polygons
from sightline.formats.written_pictures import Placed

__all__ = [
    "Sets",
    "Writer",
    "as_polygons",
    "as_shown",
    "checked_sets",
    "json_numbers",
    "known_splits",
    "note_hull",
    "number_text",
    "numbers_of",
    "records_of",
]

_SAME = 1e-6  # pixels, up to which a hull is the box

Sets = Mapping[str | None, Annotations]


class Writer(Protocol):
    """What writes a data set in one format."""

    def __call__(self, sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
        """Write a data set; return what is lost, one sentence per kind.

        Args:
            sets: split -> its annotations; None for images of no split.
            folder: the new data set; it must not exist, or be empty.
            images: "copy", "link" or "none" (label files alone).

        Raises:
            DataError: the folder is in use, the format cannot hold the set, or an image cannot be
                read, or is not of the stated size where the format needs it.
            ValueError: the sets have different classes, or `images` is none of these.
        """


def number_text(value: Any) -> str:
    """Return a number as the shortest text from which exactly the same float64 is read.

    >>> number_text(12.0), number_text(0.1), number_text(1e-7)
    ('12', '0.1', '1e-07')
    """
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def json_numbers(values: Iterable[Any]) -> list[int | float]:
    """Return numbers for JSON, which writes them as `number_text` does."""
    floats = [float(value) for value in values]
    return [int(v) if v.is_integer() and abs(v) < 2**53 else v for v in floats]


def as_polygons(shape: Shape | None, losses: Losses) -> Polygons | None:
    """Return an outline as polygons, those of a mask along the edges of its pixels."""
    if isinstance(shape, RunLengths):
        why = f"{losses.format_name} has polygons; written as those that draw the same mask"
        losses.add("the run lengths", "mask", 1, why)
        shape = runs_to_polygons(shape)
    rings = tuple(ring for ring in shape.rings if len(ring) >= 3) if shape is not None else ()
    return Polygons(rings) if rings else None


def note_hull(box: NDArray[np.float64], hull: ArrayLike, losses: Losses) -> None:
    """Note a box that is lost where a format has the outline alone, and its box is the hull."""
    if not np.allclose(hull, box, rtol=0, atol=_SAME):
        why = f"{losses.format_name} has the outline alone, and the box is the one around it"
        losses.add("boxes that are not around their outline", "object", 1, why)


def checked_sets(sets: Sets, losses: Losses, *, keeps_ids: bool = False) -> Sets:
    """Return the sets, which must be of one kind with the same classes.

    The ids of their categories are noted as lost, unless the format `keeps_ids`.

    Raises:
        ValueError: there is none, they differ, or the name of a split is no name of a folder.
    """
    if not sets:
        raise ValueError("`annotations` holds no set to write")
    first = next(iter(sets.values()))
    for split, data in sets.items():
        if data.class_names != first.class_names:
            raise ValueError(
                f"all splits must have the same classes: {split} has "
                f"{listed(data.class_names)}, another {listed(first.class_names)}; read them with "
                "the same `class_names`"
            )
        if data.label_type != first.label_type:
            raise ValueError(
                f"all splits must have the same kind of labels: {split} has "
                f"{data.label_type}, another {first.label_type}"
            )
        if split is not None and (not split or split.startswith(".") or set(split) & set("/\\\n")):
            raise ValueError(f"{quoted(split)} is no name of a split: it becomes that of a file")
    ids = first.category_ids
    mirrored = len(first.keypoint_mirror)
    if losses.format_name != "YOLO":
        losses.add("the mirror pairs", "keypoint", mirrored, f"{losses.format_name} has none")
    if losses.format_name != "COCO":
        joined = len({point for pair in first.skeleton for point in pair})
        losses.add("the skeleton", "keypoint", joined, f"{losses.format_name} has none")
    if not keeps_ids and ids and list(ids) != [*range(1, len(ids) + 1)]:
        losses.add("the category ids", "class", len(ids), f"{losses.format_name} has none")
    return sets


def known_splits(sets: Sets, losses: Losses, *, rest: bool) -> Sets:
    """Return the splits that every format can name: train, val, test and trainval.

    Another one is left out where all its images are in these. `trainval` is left out where it is
    what train and val have together. Images of no split (None beside others) are kept where
    `rest`, and otherwise left out.

    Raises:
        DataError: another split has images of its own.
    """
    known = {s: found for s, found in sets.items() if s is None or split_name(s) == s}
    inside = {_key(record) for found in known.values() for record in found.records}
    for split, data in sets.items():
        if split in known:
            continue
        if not {_key(record) for record in data.records} <= inside:
            raise DataError(
                f"split {quoted(split)}: {losses.format_name} knows train, val, test and trainval; "
                "choose among the splits with splits=train,val (or write VOC, which knows any)"
            )
        why = f"{losses.format_name} knows train, val, test and trainval; they are in those"
        losses.add(f"the split {shortened(split)}", "image", len(data), why)
    if {"train", "val", "trainval"} <= known.keys():
        halves = {_key(record) for half in ("train", "val") for record in known[half].records}
        if halves == {_key(record) for record in known["trainval"].records}:
            del known["trainval"]
    if None in known and len(known) > 1 and not rest:
        why = f"{losses.format_name} has no place for them; left out"
        losses.add("the labels", "image in no split", len(known.pop(None)), why)
    return known


def _key(record: Record) -> Path | tuple[str, str | int]:
    is_array = isinstance(record.image, np.ndarray)
    return ("", record.image_id) if is_array else record.image  # type: ignore[return-value]


def records_of(sets: Sets, losses: Losses) -> Iterator[tuple[str | None, Record]]:
    """Yield each split and record; an image with one class gets a box around all of it."""
    for split, data in sets.items():
        of_class = data.label_type == LabelType.CLASS
        for record in data.records:
            if of_class and len(record.labels):
                why = f"{losses.format_name} has boxes; written as a box around the whole image"
                losses.add("the class", "image", 1, why)
                box = np.array([[0, 0, record.width, record.height]], np.float64)
                record = Record(
                    record.image,
                    record.image_id,
                    record.width,
                    record.height,
                    labels=record.labels,
                    boxes=box,
                )
            yield split, record


def numbers_of(record: Record, name: str, width: int = 1) -> NDArray[np.float64]:
    """Return a column of `Record.extra` as [N, width], NaN where it is absent or something else."""
    column = (record.extra or {}).get(name)
    if column is None or column.dtype.kind != "f" or column.size != len(record.boxes) * width:
        return np.full((len(record.boxes), width), np.nan)
    return column.reshape(-1, width)


def as_shown(record: Record, placed: Placed, losses: Losses) -> Record:
    """Return a record in pixels of the image as shown, for formats that do not state the size.

    A label file may state the size of the image as stored, before its EXIF orientation; then boxes
    are turned with the image.

    Raises:
        DataError: the stated size is neither.
    """
    stated, shown = (record.width, record.height), placed.shown_size
    if stated == shown:
        return record
    if stated != placed.size:
        raise DataError(
            f"{image_name(record.image)}: the image is {shown[0]} x {shown[1]}, but its label file "
            f"says {stated[0]} x {stated[1]}; the boxes may belong to another image. "
            "Correct the label file"
        )
    why = f"{losses.format_name} refers to the image as shown, so they are turned with it"
    losses.add("the coordinates as stored", "image", 1, why, shortened(placed.name))
    width, height = stated

    def turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points[..., 0], points[..., 1]
        across = height - y if placed.turn in (6, 7) else y
        down = width - x if placed.turn in (7, 8) else x
        return np.stack([across, down], axis=-1)

    def turn_boxes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = turn(boxes.reshape(-1, 2, 2))
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    shapes, points, rotated = record.shapes, record.points, record.boxes_rotated
    if shapes is not None:
        shapes = [
            Polygons(tuple(map(turn, shape.rings))) if isinstance(shape, Polygons) else shape
            for shape in shapes
        ]
    if points is not None:
        labelled = points[:, :, 2:] > 0
        turned = np.where(labelled, turn(points[:, :, :2]), points[:, :, :2])
        points = np.concatenate([turned, points[:, :, 2:]], axis=2)
    if rotated is not None:
        rotated = rotated_of_corners(turn(corners_of_rotated(rotated)))
    return replace(
        record,
        width=height,
        height=width,
        boxes=turn_boxes(record.boxes),
        boxes_xywh=None,
        shapes=shapes,
        points=points,
        boxes_rotated=rotated,
        ignored=None if record.ignored is None else turn_boxes(record.ignored),
    )
