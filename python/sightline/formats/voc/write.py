"""Writes Pascal VOC: Annotations/*.xml, JPEGImages/ and ImageSets/Main/<split>.txt.

classes.txt at the root has the classes in their order; the format itself has no list of them.
Corners are written as they are, in continuous pixels, without the 1 that the VOC devkit adds.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from sightline.formats.losses import Losses, cleaned_names, note_columns
from sightline.formats.new_folder import new_folder, write_lines, write_text
from sightline.formats.records import Record
from sightline.formats.writing import (
    Sets,
    as_polygons,
    checked_sets,
    number_text,
    numbers_of,
    records_of,
)
from sightline.formats.written_pictures import Placed, WrittenPictures

__all__ = ["write_voc"]

_KEEPS = (
    "difficult",
    "polygons",
    "run lengths",
    "boxes_rotated",
    "extra.truncated",
    "extra.occluded",
    "extra.pose:text",
)


def write_voc(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as VOC xml; return what is lost, one sentence per kind.

    An image that is in several splits is written once and listed in each; images of no split are
    in no list.
    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("VOC")
    first = next(iter(checked_sets(sets, losses).values()))
    names = cleaned_names(first.class_names, str, losses, "a name is one line of text")
    lists: dict[str | None, list[str]] = {split: [] for split in sets}
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses)
        for split, record in records_of(sets, losses):
            placed = pictures.place(record, new / "JPEGImages", split)
            lists[split].append(placed.stem)
            if placed.new:
                note_columns(record, losses, _KEEPS)
                text = _label_text(record, placed, names, losses)
                write_text(new / "Annotations" / f"{placed.stem}.xml", text)
        for split, stems in lists.items():
            if split is not None:
                write_lines(new / "ImageSets" / "Main" / f"{split}.txt", stems)
        write_lines(new / "classes.txt", names)
    return losses.sentences()


def _label_text(record: Record, placed: Placed, names: list[str], losses: Losses) -> str:
    root = Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", placed.name)
    size = SubElement(root, "size")
    _add(size, "width", record.width)
    _add(size, "height", record.height)
    _add(size, "depth", placed.channels)
    _add(root, "segmented", 0)
    rotated = record.boxes_rotated
    poses = (record.extra or {}).get("pose")
    truncated, occluded = (numbers_of(record, name)[:, 0] for name in ("truncated", "occluded"))
    for row, label in enumerate(record.labels.tolist()):
        element = SubElement(root, "object")
        if rotated is not None and not np.isnan(rotated[row]).any():
            _add(element, "type", "robndbox")
        _add(element, "name", names[label])
        pose = "" if poses is None or poses.dtype.kind == "f" else poses[row]
        _add(element, "pose", pose or "Unspecified")
        _add(element, "truncated", number_text(max(0, np.nan_to_num(truncated[row]))))
        _add(element, "difficult", int(record.difficult[row]))
        if occluded[row] >= 0:
            _add(element, "occluded", number_text(occluded[row]))
        box = SubElement(element, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), record.boxes[row]):
            _add(box, side, number_text(value))
        if rotated is not None and not np.isnan(rotated[row]).any():
            _add_rotated(element, rotated[row], losses)
        shape = record.shapes[row] if record.shapes is not None else None
        polygons = as_polygons(shape, losses)
        for ring in polygons.rings if polygons is not None else ():
            _add_polygon(element, ring)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_rotated(element: Element, box: NDArray[np.float64], losses: Losses) -> None:
    """Add the element of roLabelImg, whose angles are radians and turn with the clock."""
    *rest, degrees = box.tolist()
    near = math.radians(-degrees)
    candidates = (near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf))
    radians = next((angle for angle in candidates if -math.degrees(angle) == degrees), near)
    losses.add("the last digits", "angle", -math.degrees(radians) != degrees, "VOC has radians")
    place = SubElement(element, "robndbox")
    for name, value in zip(("cx", "cy", "w", "h", "angle"), (*rest, radians), strict=True):
        _add(place, name, number_text(value))


def _add_polygon(element: Element, ring: NDArray[np.float64]) -> None:
    """Add one of the polygons of an object, with <x1> <y1> <x2> ... as Roboflow writes them."""
    place = SubElement(element, "polygon")
    for number, (x, y) in enumerate(ring.tolist(), start=1):
        _add(place, f"x{number}", number_text(x))
        _add(place, f"y{number}", number_text(y))


def _add(parent: Element, name: str, value: object) -> None:
    SubElement(parent, name).text = str(value)
