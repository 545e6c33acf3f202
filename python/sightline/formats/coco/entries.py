"""What one entry of `images` or `annotations` says, in every spelling that tools give it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.formats.coco.outlines import parse_keypoints, parse_segmentation
from sightline.formats.paths import shortened_path
from sightline.formats.record import Issue, box_rule
from sightline.formats.shapes import Shape, shape_hull
from sightline.formats.source import Notes
from sightline.formats.text import number, truth, whole_number

__all__ = ["Classes", "Object", "image_key", "issue_of", "note_of_area", "parse_object", "side"]

_MOST_SIDE = 2**31  # beyond, a side is a mistake and the image is asked


class Classes(NamedTuple):
    """The categories of a data set, and the labels of those that are wanted."""

    names: Mapping[int, str]  # of each category id
    label_of: Mapping[int, int]


@dataclass(frozen=True)
class Object:
    """A usable annotation."""

    label: int
    xywh: list[float]
    crowd: bool
    area: float
    shape: Shape | None
    points: NDArray[np.float64] | None  # [K, 3]


def image_key(value: object) -> str | int | None:
    """The id by which an image is looked up: a text as it is, or a whole number."""
    return value if isinstance(value, str) else whole_number(value)


def side(value: object) -> int:
    """The width or height of an image, or 0 where it is none."""
    found = whole_number(value)
    return found if found is not None and 0 < found < _MOST_SIDE else 0


def issue_of(path: Path, annotation: Mapping[str, Any], file_name: str, rule: str) -> Issue:
    """The issue of an annotation that breaks a rule."""
    what = f"annotation {quoted(annotation.get('id'))} of image {shortened_path(file_name)}"
    return Issue(path, None, what, rule)


def note_of_area(path: Path, notes: Notes) -> None:
    """Note that an area is none."""
    rule = "area must be a number that is not negative"
    notes.add(path, None, "an annotation", rule, "width * height used")


def parse_object(
    path: Path,
    annotation: Mapping[str, Any],
    size: tuple[int, int],
    classes: Classes,
    notes: Notes,
) -> Object | str:
    """Return what an annotation in an image of `size` says, or the rule that it breaks."""
    category = whole_number(annotation.get("category_id"))
    if category is None or category not in classes.names:
        stated = quoted(annotation.get("category_id"))
        return f"unknown class: category_id {stated} is not among the categories"
    if category not in classes.label_of:
        name = quoted(classes.names[category])
        return f"unknown class {name}, not one of the requested classes"

    def left_out(rule: str) -> None:
        notes.add(path, None, "an annotation", rule, "that polygon is left out")

    try:
        shape = parse_segmentation(annotation.get("segmentation"), left_out)
        points = parse_keypoints(annotation.get("keypoints"))
        xywh = _xywh(annotation.get("bbox"), shape)
    except ValueError as error:
        return str(error)
    x, y, width, height = xywh
    crowd = truth(annotation.get("iscrowd"))
    if crowd is None:
        return f"iscrowd must be 0 or 1, got {quoted(annotation['iscrowd'])}"
    rule = box_rule((x, y, x + width, y + height), *size)
    if rule is not None:
        return rule
    area = number(annotation.get("area"))
    if area is None or not math.isfinite(area) or area < 0:
        area = width * height
        if annotation.get("area") is not None:
            note_of_area(path, notes)
    return Object(classes.label_of[category], xywh, crowd, area, shape, points)


def _xywh(box: Any, shape: Shape | None) -> list[float]:
    """The four numbers of a bbox, or the hull of the outline where there is none."""
    if box in (None, "", []) and shape is not None:
        x1, y1, x2, y2 = shape_hull(shape)
        return [x1, y1, x2 - x1, y2 - y1]
    values = [number(value) for value in box] if isinstance(box, list) else []
    xywh = [value for value in values if value is not None]
    if len(values) != 4 or len(xywh) != 4:
        raise ValueError(f"bbox must be [x, y, width, height], got {quoted(box)}")
    if xywh[2] <= 0 or xywh[3] <= 0:
        raise ValueError(f"width and height of bbox must be positive, got {quoted(box)}")
    return xywh
