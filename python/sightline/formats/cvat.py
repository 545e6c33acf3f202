"""CVAT's own XML, "CVAT for images 1.1": one file with all images of a task.

Boxes (also rotated ones), polygons, ellipses and masks become objects; a skeleton becomes one with
its points as keypoints and the box around them. Points, lines and cuboids have no box and are left
out. Attributes are kept in `Record.extra`. Without any of them, the tag of an image is its class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.finder import ImageFinder, label_files
from sightline.formats.image_set import Entry, add_object, open_image_set
from sightline.formats.objects import Objects
from sightline.formats.outline import Outline, ellipse, polygon, rotated_rectangle
from sightline.formats.pictures import MAX_PIXELS
from sightline.formats.records import DataError
from sightline.formats.shapes import mask_to_runs, shape_hull
from sightline.formats.source import Notes, Source, split_name
from sightline.formats.text import (
    MOST_BYTES_OF_ALL,
    ends_of,
    number,
    stated_size,
    truth,
    whole_number,
)
from sightline.formats.xml_file import element_lines, parse_xml

__all__ = ["LOOKED_FOR", "cvat_files", "open_cvat"]

LOOKED_FOR = "CVAT: an xml file with <annotations> of <image> (CVAT for images 1.1)"
_ROOT = re.compile(r"<annotations[\s>]")
_HEAD_BYTES = 4096
_SHAPES = ("box", "polygon", "ellipse", "mask", "skeleton", "points", "polyline", "cuboid")
_NO_BOX = ("points", "polyline", "cuboid")
_HIDDEN, _VISIBLE = 1, 2


def cvat_files(root: Path) -> list[Path]:
    """Return the label files of a data set, or `root` itself."""
    return label_files(root, ".xml", _is_cvat)


def _is_cvat(path: Path) -> bool:
    return _ROOT.search(ends_of(path, _HEAD_BYTES)) is not None


def open_cvat(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a data set by its label files, or one of these.

    The classes are `class_names`, or the labels of the task in their order and after them all
    others that are used, sorted. Splits are the subsets of the images, where they are named train,
    val and test.
    """
    paths = cvat_files(root)
    if not paths:
        raise DataError(f"{root}: no xml file of CVAT; looked for {LOOKED_FOR}")
    notes = Notes() if notes is None else notes
    base = root if root.is_dir() else root.parent
    entries: list[Entry] = []
    stated: dict[str, None] = {}
    parts: set[str] = set()  # labels of the points of skeletons
    for path in paths:
        content = parse_xml(path, notes, most=MOST_BYTES_OF_ALL)
        if content.find("track") is not None:
            raise DataError(
                f"{path}: tracks of a video (CVAT for video); export it as CVAT for images 1.1"
            )
        for label in content.iter("label"):
            name = (label.findtext("name") or "").strip()
            if name and not (label.findtext("parent") or "").strip():
                stated[name] = None
        entries += _entries(path, content, base, notes)
    shapes = [shape for entry in entries for shape in entry.regions]
    used = {_label(shape) for shape in shapes if shape.tag not in _NO_BOX} - {""}
    used |= {name for entry in entries for name in entry.labels}
    for shape in shapes:
        parts |= {_label(point) for point in shape.findall("points")}
    names = class_names or [*stated, *sorted(used - set(stated))]
    add = partial(_add, point_names=sorted(parts), notes=notes)
    return open_image_set("cvat", root, entries, add, names, notes, sorted(parts))


def _entries(path: Path, content: Element, base: Path, notes: Notes) -> Iterator[Entry]:
    find = ImageFinder(path, base, notes, "remove its <image>").find
    lines: list[int] = []

    def line_of(place: int) -> int:
        lines[:] = lines or element_lines(path, "image", most=MOST_BYTES_OF_ALL)
        return lines[place]

    for place, image in enumerate(content.findall("image")):
        name = image.get("name")
        if not name:
            raise DataError(f"{path}:{line_of(place)}: <image> must have a name")
        subset = split_name((image.get("subset") or "").strip())
        yield Entry(
            path,
            find(name),
            stated_size(image.get("width"), image.get("height")),
            [shape for shape in image if shape.tag in _SHAPES],
            labels=tuple(filter(None, map(_label, image.findall("tag")))),
            split=subset,
            line=partial(line_of, place),
        )


def _label(element: Element) -> str:
    return (element.get("label") or "").strip()


def _add(entry: Entry, found: Objects, *, point_names: Sequence[str], notes: Notes) -> None:
    for place, shape in enumerate(entry.regions, start=1):
        if shape.tag in _NO_BOX:
            rule = "it has no box"
            notes.add(entry.file, None, f"a shape of type {shape.tag}", rule, "left out")
            continue
        outline = _OUTLINES[shape.tag](shape, found)
        points = None
        if shape.tag == "skeleton" and not isinstance(outline, str):
            points = _keypoints(shape, point_names)
        name = _label(shape)
        what = f"{shape.tag} {place} of {shortened(entry.image.name)}"
        add_object(
            found,
            [name] if name else [],
            outline,
            notes,
            what,
            line=entry.line,
            points=points,
            extra=_extra(shape),
        )


def _extra(shape: Element) -> dict[str, float | str | None]:
    extra: dict[str, float | str | None] = {}
    occluded = truth(shape.get("occluded"))
    if occluded:
        extra["occluded"] = 1.0
    for attribute in shape.findall("attribute"):
        name, text = attribute.get("name"), (attribute.text or "").strip()
        if name and text and name != "occluded":
            extra[name] = text
    return extra


def _numbers(shape: Element, names: Sequence[str]) -> list[float] | str:
    """The numbers in some attributes, or the rule that they break."""
    values = [number(shape.get(name)) for name in names]
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < len(names):
        got = quoted([shape.get(name) for name in names])
        return f"{', '.join(names)} must be numbers, got {got}"
    return numbers


def _degrees(shape: Element) -> float | str:
    degrees = number(shape.get("rotation") or 0)
    if degrees is None or not math.isfinite(degrees):
        return f"rotation must be a number, got {quoted(shape.get('rotation'))}"
    return degrees


def _box(shape: Element, _: Objects) -> Outline | str:
    corners, degrees = _numbers(shape, ("xtl", "ytl", "xbr", "ybr")), _degrees(shape)
    if isinstance(corners, str):
        return corners
    if isinstance(degrees, str):
        return degrees
    x1, y1, x2, y2 = corners
    if degrees % 360 == 0 or x2 <= x1 or y2 <= y1:
        return Outline((x1, y1, x2, y2))
    pivot = (x1 + x2) / 2, (y1 + y2) / 2
    return rotated_rectangle(x1, y1, x2 - x1, y2 - y1, degrees, pivot)


def _ellipse(shape: Element, _: Objects) -> Outline | str:
    values, degrees = _numbers(shape, ("cx", "cy", "rx", "ry")), _degrees(shape)
    if isinstance(values, str):
        return values
    if isinstance(degrees, str):
        return degrees
    if min(values[2:]) <= 0:
        return f"rx and ry must be positive, got {values[2]:g} and {values[3]:g}"
    return ellipse(values[:2], values[2:], degrees)


def _points(text: str | None) -> list[list[float]] | None:
    """The points of `x,y;x,y`; None where that is not the form."""
    pairs = [[number(word) for word in pair.split(",")] for pair in (text or "").split(";")]
    points = [
        [value for value in pair if value is not None and math.isfinite(value)] for pair in pairs
    ]
    return (
        points if all(len(pair) == len(point) == 2 for pair, point in zip(pairs, points)) else None
    )


def _polygon(shape: Element, _: Objects) -> Outline | str:
    points = _points(shape.get("points"))
    if points is None or len(points) < 3:
        return f"a polygon needs 3 or more points x,y;x,y;..., got {quoted(shape.get('points'))}"
    return polygon(points)


def _mask(shape: Element, found: Objects) -> Outline | str:
    """A mask has runs of zeros and ones in turn, along the rows of its box."""
    names = ("left", "top", "width", "height")
    sides = [whole_number(shape.get(name)) for name in names]
    counts = [whole_number(word) for word in (shape.get("rle") or "").split(",")]
    left, top, width, height = (side if side is not None else -1 for side in sides)
    if min(left, top) < 0 or width <= 0 or height <= 0:
        got = quoted([shape.get(name) for name in names])
        return f"a mask must have the integers {', '.join(names)}, got {got}"
    if left + width > found.width or top + height > found.height:
        return f"a mask must lie in its image of {found.width} x {found.height}"
    runs = [count for count in counts if count is not None and count >= 0]
    if len(runs) < len(counts) or sum(runs) != width * height:
        return (
            f"rle of a mask must be {width * height} pixels in runs, got {quoted(shape.get('rle'))}"
        )
    if width * height > MAX_PIXELS:
        return f"a mask may have {MAX_PIXELS:,} pixels, got {width * height:,}"
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    if not part.any():
        return "a mask must have a pixel of the object, got none"
    try:
        run_lengths = mask_to_runs(part, (found.height, found.width), (left, top))
    except ValueError as error:  # an image of too many pixels
        return str(error)
    return Outline(shape_hull(run_lengths), run_lengths)


def _skeleton(shape: Element, _: Objects) -> Outline | str:
    points = [_points(point.get("points")) for point in shape.findall("points") if _inside(point)]
    if not points or any(point is None or len(point) != 1 for point in points):
        return "a skeleton must have points with x,y each"
    xy = np.array([point[0] for point in points if point])
    (x1, y1), (x2, y2) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return Outline((x1, y1, x2, y2))


def _inside(point: Element) -> bool:
    return not truth(point.get("outside"))


def _keypoints(shape: Element, point_names: Sequence[str]) -> np.ndarray:
    rows = np.zeros((len(point_names), 3))
    for point in filter(_inside, shape.findall("points")):
        hidden = truth(point.get("occluded"))
        place = _points(point.get("points"))
        if place and _label(point) in point_names:
            row = point_names.index(_label(point))
            rows[row] = *place[0], _HIDDEN if hidden else _VISIBLE
    return rows


_OUTLINES: dict[str, Callable[[Element, Objects], Outline | str]] = {
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "mask": _mask,
    "skeleton": _skeleton,
}
