"""Writes LabelMe: one json file beside each image, in the folder of its split."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.formats.losses import Losses, cleaned_names, note_class_list, note_columns
from sightline.formats.new_folder import new_folder, write_text
from sightline.formats.pictures import pillow
from sightline.formats.records import Annotations, Record, box_rule
from sightline.formats.rotated import outline_is_corners, rotated_corners
from sightline.formats.shapes import (
    Polygons,
    RunLengths,
    rotated_of_corners,
    runs_to_mask,
    shape_hull,
)
from sightline.formats.writing import (
    Sets,
    as_polygons,
    checked_sets,
    json_numbers,
    known_splits,
    note_hull,
    records_of,
)
from sightline.formats.written_pictures import WrittenPictures

__all__ = ["write_labelme"]

_KEEPS = ("difficult", "polygons", "run lengths", "points", "boxes_rotated")
_VERSION = "5.5.0"  # of LabelMe, whose files these are like
_HIDDEN = 1  # visibility of a keypoint


def write_labelme(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as LabelMe json; return what is lost, one sentence per kind.

    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("LabelMe")
    sets = known_splits(checked_sets(sets, losses), losses, rest=True)
    first = next(iter(sets.values()))
    names = cleaned_names(first.class_names, str, losses, "a label has no blanks at its ends")
    note_class_list(sets, names, losses)
    point_names = _point_names(sets, first, losses)
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses)
        for split, record in records_of(sets, losses):
            place = new / (split or ("" if len(sets) == 1 else "default"))
            placed = pictures.place(record, place, split)
            note_columns(record, losses, _KEEPS)
            content: dict[str, Any] = {
                "version": _VERSION,
                "flags": {},
                "shapes": _shapes(record, names, point_names, losses),
                "imagePath": placed.name,
                "imageData": None,
                "imageHeight": record.height,
                "imageWidth": record.width,
            }
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            write_text(place / f"{placed.stem}.json", text)
    return losses.sentences()


def _point_names(sets: Sets, first: Annotations, losses: Losses) -> list[str]:
    """The labels of the keypoints, which readers sort."""
    points = [r.points for data in sets.values() for r in data.records if r.points is not None]
    count = max((found.shape[1] for found in points), default=0)
    names = [*first.keypoint_names]
    if len(names) != count:
        names = [f"{number:02}" for number in range(count)]
    used = np.zeros(count, bool)
    for found in points:
        used[: found.shape[1]] |= (found[:, :, 2] > 0).any(axis=0)
    if names != sorted(names) or not used.all():
        why = "LabelMe has no list of them; readers sort those that any object has by name"
        losses.add("the order", "keypoint", count, why)
    return names


def _shapes(
    record: Record, names: Sequence[str], point_names: Sequence[str], losses: Losses
) -> list[dict[str, Any]]:
    """The shapes of all objects; those of one object have a group."""
    shapes = []
    for row, label in enumerate(record.labels.tolist()):
        parts = _outline(record, row, losses)
        if record.points is not None:
            parts += [
                {"label": name, **_points("point", [point[:2]])}
                | ({"difficult": True} if point[2] == _HIDDEN else {})
                for name, point in zip(point_names, record.points[row])
                if point[2] > 0
            ]
        group = row + 1 if len(parts) > 1 else None
        for part in parts:
            shape = {"label": names[label], "group_id": group, "description": "", "flags": {}}
            if record.difficult[row] and "label" not in part:
                shape["difficult"] = True
            shapes.append(shape | part)
    return shapes


def _outline(record: Record, row: int, losses: Losses) -> list[dict[str, Any]]:
    """The parts of an object; its box where it has no outline, or one outside the image."""
    parts, hull = _parts(record, row, losses)
    if hull is not None and box_rule(hull, record.width, record.height) is not None:
        losses.add("the outlines", "object", 1, "they lie outside their image")
        hull = None
    if hull is None:
        return [_points("rectangle", record.boxes[row].reshape(2, 2))]
    note_hull(record.boxes[row], hull, losses)
    return parts


def _parts(
    record: Record, row: int, losses: Losses
) -> tuple[list[dict[str, Any]], Sequence[float] | None]:
    """The outline of an object and the box around it, None without an outline."""
    shape = record.shapes[row] if record.shapes is not None else None
    corners = rotated_corners(record, row)
    if corners is not None:
        again = rotated_of_corners(corners) != np.asarray(record.boxes_rotated)[row]
        losses.add("the last digits", "rotated box", bool(again.any()), "LabelMe has their corners")
        other = shape is not None and not outline_is_corners(record, row)
        losses.add("the outlines", "object", other, "they have a rotated box, which is written")
        return [_points("oriented_rectangle", corners)], Polygons((corners,)).hull()
    if isinstance(shape, RunLengths):
        mask = runs_to_mask(shape)
        return ([_mask(mask)], shape_hull(shape)) if mask.any() else ([], None)
    polygons = as_polygons(shape, losses)
    if polygons is None:
        return [], None
    return [_points("polygon", ring) for ring in polygons.rings], polygons.hull()


def _points(kind: str, points: Sequence[Any] | NDArray[np.float64]) -> dict[str, Any]:
    return {"points": [json_numbers(point) for point in points], "shape_type": kind}


def _mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A PNG in base64 of the pixels between two points, both included."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    near, far = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    buffer = io.BytesIO()
    pillow().fromarray(np.ascontiguousarray(part)).save(buffer, format="PNG")
    found = _points("mask", np.stack([near, far]))
    return found | {"mask": base64.b64encode(buffer.getvalue()).decode("ascii")}
