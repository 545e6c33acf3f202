"""VGG Image Annotator: its projects and annotations in JSON, of version 1 and 2, and its CSV.

The class is the attribute of a region: the only one, or that called class, label, type or name; a
set without attributes has the one class "object". Other attributes are kept in `Record.extra`.
Polygons, circles and ellipses keep their outline (the latter as polygons of 32 sides), and the box
is the one around them. Points and lines have no box and are left out. Without any region, a file
attribute is the class of the whole image.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.finder import ImageFinder, label_files
from sightline.formats.image_set import Entry, add_object, chosen_attribute, open_image_set
from sightline.formats.objects import Objects
from sightline.formats.outline import Outline, ellipse, polygon
from sightline.formats.records import DataError
from sightline.formats.source import Notes, Source
from sightline.formats.text import (
    MOST_BYTES_OF_ALL,
    ends_of,
    has_json_keys,
    number,
    parse_json,
    read_json,
    read_text,
)

__all__ = ["LOOKED_FOR", "open_via", "via_files"]

LOOKED_FOR = (
    "VGG Image Annotator: a json file with `filename`, `regions` and `file_attributes`, or a csv "
    "file with region_shape_attributes"
)
_KEYS = ("filename", "regions", "file_attributes")
_COLUMNS = ("region_shape_attributes", "region_attributes")
_HEAD_BYTES = 4096
_ONLY_CLASS = "object"  # where regions have no attribute at all
_NO_BOX = ("point", "polyline", "line")
_CHOICES = ("dropdown", "radio", "checkbox")


def via_files(root: Path) -> list[Path]:
    """Return the label files of a data set, or `root` itself; a csv only where there is no json."""
    return label_files(root, ".json", _is_json) or label_files(root, ".csv", _is_csv)


def _is_json(path: Path) -> bool:
    return has_json_keys(path, _KEYS, fewest=3)


def _is_csv(path: Path) -> bool:
    head = ends_of(path, _HEAD_BYTES).split("\n", 1)[0]
    return all(column in head for column in _COLUMNS)


def open_via(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a data set by its label files, or one such file.

    The classes are `class_names`, or the options of the attribute in the order of the project and
    after them all others that are used, sorted.
    """
    paths = via_files(root)
    if not paths:
        raise DataError(f"{root}: no label file of VGG Image Annotator; looked for {LOOKED_FOR}")
    notes = Notes() if notes is None else notes
    base = root if root.is_dir() else root.parent
    entries: list[Entry] = []
    stated: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        images, attributes = _content(path)
        stated |= attributes
        find = ImageFinder(path, base, notes, "remove it from the file").find
        for place, image in enumerate(images, start=1):
            name, regions = image.get("filename"), image.get("regions", [])
            regions = [*regions.values()] if isinstance(regions, dict) else regions
            if not isinstance(name, str) or not isinstance(regions, list):
                raise DataError(
                    f"{path}: image {place} must hold `filename` and `regions`, got {quoted(image)}"
                )
            entries.append(Entry(path, find(name), None, regions, state=image))
    regions = [region for entry in entries for region in entry.regions]
    values = [_attributes(region) for region in regions]
    used = [name for attributes in values for name, value in attributes.items() if _names(value)]
    attribute = chosen_attribute(used, paths[0], "regions")
    if not regions:
        attribute = _name_images(entries, paths[0])
    elif attribute is None:
        rule = "no region has an attribute"
        notes.add(paths[0], None, "classes", rule, f"all of one class, {_ONLY_CLASS!r}")
    if regions:
        found = {name for it in values for name in _classes(it, attribute)}
    else:
        found = {name for entry in entries for name in entry.labels}
    options = _options(stated.get(attribute or "", {}))
    names = class_names or [*options, *sorted(found - set(options))]
    add = partial(_add, attribute=attribute, notes=notes)
    return open_image_set("via", root, entries, add, names, notes)


def _content(path: Path) -> tuple[list[dict[str, Any]], dict[str, Mapping[str, Any]]]:
    """The images of a file, and the attributes of regions that it states, by name."""
    if path.suffix.lower() == ".csv":
        return _csv_images(path), {}
    content = read_json(path)
    stated: dict[str, Mapping[str, Any]] = {}
    if isinstance(content, dict) and "_via_img_metadata" in content:
        attributes = content.get("_via_attributes")
        attributes = attributes.get("region") if isinstance(attributes, dict) else None
        if isinstance(attributes, dict):
            stated = {name: it for name, it in attributes.items() if isinstance(it, dict)}
        content = content["_via_img_metadata"]
    if not isinstance(content, dict) or not all(isinstance(it, dict) for it in content.values()):
        raise DataError(f"{path}: must hold an object for each image, got {quoted(content)}")
    return [*content.values()], stated


def _csv_images(path: Path) -> list[dict[str, Any]]:
    """The images of a csv file, in the form of the json file."""
    reader = csv.reader(io.StringIO(read_text(path, MOST_BYTES_OF_ALL), newline=""))
    images: dict[str, dict[str, Any]] = {}
    try:
        header = [word.strip().lstrip("#") for word in next(reader, [])]
        if not {"filename", *_COLUMNS} <= set(header):
            raise DataError(f"{path}:1: not the header of a csv file of VGG Image Annotator")
        for words in reader:
            if not any(words):
                continue
            if len(words) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: a row must have {len(header)} columns, got "
                    f"{len(words)}"
                )
            row = dict(zip(header, words, strict=True))
            parsed = partial(_parsed, row, path, reader.line_num)
            image = images.setdefault(
                row["filename"],
                {
                    "filename": row["filename"],
                    "regions": [],
                    "file_attributes": parsed("file_attributes"),
                },
            )
            shape, attributes = (parsed(column) for column in _COLUMNS)
            if shape or attributes:
                region = {
                    "shape_attributes": shape,
                    "region_attributes": attributes,
                    "line": reader.line_num,
                }
                image["regions"].append(region)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not csv ({error}); correct it") from error
    return [*images.values()]


def _parsed(row: Mapping[str, str], path: Path, line: int, column: str) -> Any:
    text = row.get(column, "").strip()
    return parse_json(text, path, line) if text else {}


def _attributes(region: Any) -> Mapping[str, Any]:
    found = region.get("region_attributes") if isinstance(region, dict) else None
    return found if isinstance(found, dict) else {}


def _names(value: Any) -> list[str]:
    """The classes in the value of an attribute: a text, or the options of checkboxes."""
    if isinstance(value, dict):
        return [name.strip() for name, checked in value.items() if checked and name.strip()]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return []
    return [str(value).strip()] if str(value).strip() else []


def _classes(attributes: Mapping[str, Any], attribute: str | None) -> list[str]:
    return [_ONLY_CLASS] if attribute is None else _names(attributes.get(attribute))


def _options(attribute: Mapping[str, Any]) -> list[str]:
    options = attribute.get("options")
    if attribute.get("type") not in _CHOICES or not isinstance(options, dict):
        return []
    return [name.strip() for name in options if name.strip()]


def _name_images(entries: Iterable[Entry], file: Path) -> str | None:
    """Take the classes of whole images from their attributes; return the attribute."""
    attributes = [(entry, entry.state.get("file_attributes")) for entry in entries]
    known = [(entry, found) for entry, found in attributes if isinstance(found, dict)]
    used = [name for _, found in known for name, value in found.items() if _names(value)]
    # VIA itself adds these to describe an image.
    used = [name for name in used if name not in ("caption", "public_domain", "image_url")]
    attribute = chosen_attribute(used, file, "images")
    for entry, found in known if attribute is not None else ():
        entry.labels = tuple(_names(found.get(attribute)))
    return attribute


def _add(entry: Entry, found: Objects, *, attribute: str | None, notes: Notes) -> None:
    for place, region in enumerate(entry.regions, start=1):
        what = f"region {place} of {shortened(entry.image.name)}"
        shape = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(region, dict) or not isinstance(shape, dict):
            found.bad(what, f"must hold `shape_attributes`, got {quoted(region)}")
            continue
        kind = str(shape.get("name", ""))
        if kind in _NO_BOX:
            notes.add(entry.file, None, f"a region of shape {kind}", "it has no box", "left out")
            continue
        attributes = _attributes(region)
        extra = {
            name: ", ".join(_names(value))
            for name, value in attributes.items()
            if name != attribute and _names(value)
        }
        add_object(
            found,
            _classes(attributes, attribute),
            _outline(kind, shape),
            notes,
            what,
            line=region.get("line") if isinstance(region.get("line"), int) else None,
            extra=extra,
        )


def _outline(kind: str, shape: Mapping[str, Any]) -> Outline | str:
    if kind == "polygon":
        axes = [shape.get(f"all_points_{axis}") for axis in "xy"]
        xs, ys = ([*map(number, axis)] if isinstance(axis, list) else [] for axis in axes)
        points = [it for it in (*xs, *ys) if it is not None and math.isfinite(it)]
        if len(xs) < 3 or len(xs) != len(ys) or len(points) < 2 * len(xs):
            return f"a polygon needs x and y of 3 or more points, got {quoted(axes)}"
        return polygon(np.array(points).reshape(2, -1).T)
    needed = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }.get(kind)
    if needed is None:
        return f"unknown shape {quoted(kind)}"
    values = [number(shape.get(name)) for name in needed]
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < len(needed):
        return f"a {kind} must have the numbers {', '.join(needed)}, got {quoted(dict(shape))}"
    if kind == "rect":
        x, y, width, height = numbers
        return Outline((x, y, x + width, y + height))
    cx, cy, *radii = numbers
    theta = number(shape.get("theta", 0)) or 0.0
    if min(radii) <= 0 or not math.isfinite(theta):
        return f"the radius of a {kind} must be positive, got {quoted(dict(shape))}"
    return ellipse((cx, cy), (radii[0], radii[-1]), math.degrees(theta))
