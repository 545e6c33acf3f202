"""A COCO file as Python objects: every spelling that tools give it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.formats.coco.entries import (
    Classes,
    Object,
    image_key,
    issue_of,
    parse_object,
    side,
)
from sightline.formats.finder import ImageFinder
from sightline.formats.paths import shortened_path
from sightline.formats.pictures import image_size
from sightline.formats.record import DataError, Issue, Record
from sightline.formats.source import Labelled, Notes, Pair
from sightline.formats.text import read_json, whole_number

__all__ = ["content_of", "filled_points", "read_content"]


def content_of(path: Path) -> dict[str, Any]:
    """Return a COCO file, whose three lists are there."""
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: a COCO file must hold a list `{key}`")
    return content


def read_content(
    path: Path, content: dict[str, Any], finder: ImageFinder, classes: Classes, notes: Notes
) -> Labelled:
    """Return the records of a COCO file, and the issues of its annotations."""
    items = _items(path, content, finder, notes)
    sized = ((item, _size(item, notes)) for item in items)
    parsed = [_parsed(path, item, size, classes, notes) for item, size in sized if size is not None]
    counts = [len(o.points) for _, objects, _ in parsed for o in objects if o.points is not None]
    most = max(counts, default=0)
    return Labelled.of(_pairs(parsed, most))


@dataclass
class _Item:
    """An image of a COCO file with its annotations."""

    file: Path
    image_id: str | int
    image: dict[str, Any]
    annotations: list[Any]


def _items(path: Path, content: dict[str, Any], finder: ImageFinder, notes: Notes) -> list[_Item]:
    by_image: dict[str | int, list[Any]] = {}
    images = []
    for place, image in enumerate(content["images"]):
        key = image_key(image.get("id")) if isinstance(image, dict) else None
        rule = _rule_of_image(key, image, place, by_image)
        if rule is None and key is not None:
            by_image[key] = []
            images.append(image)
        else:
            notes.refuse(DataError(f"{path}: {rule}"))
    _assign(path, content["annotations"], by_image, notes)
    files = finder.find_all([image["file_name"] for image in images])
    found: dict[str, _Item] = {}
    entries = zip(files, by_image.items(), images, strict=True)
    for file, (image_id, mine), image in entries:
        if file not in found:
            found[file] = _Item(Path(file), image_id, image, mine)
            continue
        # As two records, it could be in both training and validation.
        rule = "two entries of `images` have the same file"
        what = f"image {shortened_path(image['file_name'])}"
        notes.add(path, None, what, rule, "read once, with the annotations of both")
        known = {_box_key(entry) for entry in found[file].annotations}
        found[file].annotations += [entry for entry in mine if _box_key(entry) not in known]
    return [*found.values()]


def _rule_of_image(
    key: str | int | None, image: Any, place: int, known: Mapping[str | int, Any]
) -> str | None:
    """The rule that an entry of `images` breaks, with its fix."""
    if key is None or not isinstance(image.get("file_name"), str):
        return f"images[{place}] must hold id and file_name, got {quoted(image)}"
    if isinstance(key, int) and not -(2**63) <= key < 2**63:
        fix = "give it a smaller one"
        return f"images[{place}] has id {quoted(key)}, which has more than 64 bits; {fix}"
    if key in known:
        return f"image id {quoted(image['id'])} occurs twice; give each image its own"
    return None


def _assign(
    path: Path, annotations: list[Any], by_image: dict[str | int, list[Any]], notes: Notes
) -> None:
    """Add each annotation to its image; 7 and "7" are the same unless both occur."""
    by_number: dict[int | None, list[str | int]] = {}
    for name in by_image:
        by_number.setdefault(whole_number(name), []).append(name)
    key: str | int | None
    for place, annotation in enumerate(annotations):
        stated = annotation.get("image_id") if isinstance(annotation, dict) else None
        key = image_key(stated)
        if key not in by_image:
            same = by_number.get(whole_number(key), [])
            key = same[0] if len(same) == 1 and whole_number(key) is not None else None
        if key is not None:
            by_image[key].append(annotation)
            continue
        notes.refuse(
            DataError(
                f"{path}: annotations[{place}] has image_id {quoted(stated)}, which is not "
                "among the images; add the image or remove the annotation"
            )
        )


def _box_key(annotation: dict[str, Any]) -> str:
    return repr((annotation.get("category_id"), annotation.get("bbox")))


_Parsed = tuple[Record, list[Object], list[Issue]]  # a record without its objects


def _size(item: _Item, notes: Notes) -> tuple[int, int] | None:
    """Width and height of an image; None where it cannot be read and errors are collected."""
    width, height = side(item.image.get("width")), side(item.image.get("height"))
    if width and height:
        return width, height
    try:
        return image_size(item.file, max_pixels=None)
    except DataError as error:
        if notes.errors is None or item.file.exists():  # a missing one is known already
            notes.refuse(error)
        return None


def _parsed(
    path: Path, item: _Item, size: tuple[int, int], classes: Classes, notes: Notes
) -> _Parsed:
    objects, issues = [], []
    for annotation in item.annotations:
        found = parse_object(path, annotation, size, classes, notes)
        if isinstance(found, str):
            issues.append(issue_of(path, annotation, item.image["file_name"], found))
        else:
            objects.append(found)
    return Record(item.file, item.image_id, *size, labels=_NONE), objects, issues


_NONE = np.zeros(0, np.int64)


def _pairs(parsed: Sequence[_Parsed], most: int) -> Iterator[Pair]:
    for bare, objects, issues in parsed:
        xywh = np.array([found.xywh for found in objects], np.float64).reshape(-1, 4)
        points = [found.points for found in objects]
        record = Record(
            *(bare.image, bare.image_id, bare.width, bare.height),
            labels=np.array([found.label for found in objects], np.int64),
            boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            iscrowd=np.array([found.crowd for found in objects], bool),
            area=np.array([found.area for found in objects], np.float64),
            boxes_xywh=xywh,
            shapes=[found.shape for found in objects],
            points=filled_points(points, most) if any(p is not None for p in points) else None,
        )
        yield record, issues


def filled_points(points: Sequence[NDArray[np.float64] | None], most: int) -> NDArray[np.float64]:
    """Return keypoints [N, most, 3], where those that are missing are not labelled."""
    filled = np.zeros((len(points), most, 3))
    for row, found in zip(filled, points, strict=True):
        if found is not None:
            row[: len(found)] = found
    return filled
