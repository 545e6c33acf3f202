"""A COCO file as columns, read by the compiled reader; only what is unusual is looked at singly.

Of a file that is written otherwise than COCO's own, nothing is returned: `lenient` reads it then,
with the same result for what both read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import _numpy
from sightline.formats.coco.entries import (
    Classes,
    Object,
    issue_of,
    note_of_area,
    parse_object,
    side,
)
from sightline.formats.coco.lenient import filled_points
from sightline.formats.coco.outlines import FileOutlines, file_state, read_objects
from sightline.formats.columns import Ids, Ragged, Texts, decoded, encoded, offsets_of
from sightline.formats.finder import ImageFinder
from sightline.formats.pictures import image_size
from sightline.formats.record import Issue
from sightline.formats.shape_table import Shapes, StoredShapes
from sightline.formats.source import Labelled, Notes
from sightline.formats.table import RecordTable

__all__ = ["categories_of", "category_ids_of", "read_columns", "read_sections"]

_native: Any = _numpy  # compiled, without type stubs
_FIELDS = ("image_id", "category_id", "bbox", "area", "iscrowd", "keypoints", "object", "outline")
# The bits of `present`: of fields in the reader's own order, and of what may be wrong.
_IMAGE, _CATEGORY, _BBOX, _AREA = 1 << 1, 1 << 2, 1 << 3, 1 << 5
_ODD_FLAG, _NOT_FINITE = 1 << 13, 1 << 14
_RIGHT, _ODD = 1, 2  # of `outline`
_DENSE_SPAN = 8  # a lookup table is used where ids span at most this times their number


class Unusual(Exception):
    """The file is not one that is read here."""


def read_sections(path: Path) -> dict[str, Any] | None:
    """Return the columns of a COCO file, or None where the lenient reader is needed."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            sections = _native.read_coco_ground_truth(
                file.fileno(), size, None, str(path), True, _FIELDS
            )
            sections["state"] = file_state(file)
    except (OSError, _native.CocoFileError):  # which the lenient reader reports
        return None
    there = {"images", "annotations", "categories"} <= sections.keys()
    return sections if there else None


def categories_of(path: Path, sections: Mapping[str, Any]) -> list[Any] | None:
    """Return the categories, or None where they are no list."""
    begin, end = sections["categories"]["object"]
    try:
        with path.open("rb") as file:
            file.seek(begin)
            found = json.loads(file.read(end - begin).decode())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def category_ids_of(sections: Mapping[str, Any]) -> set[int | None]:
    """Return the category ids that annotations have."""
    return {*np.unique(sections["annotations"]["category_id"]).tolist()}


def read_columns(
    path: Path,
    sections: dict[str, Any],
    finder: ImageFinder,
    classes: Classes,
    notes: Notes,
) -> Labelled | None:
    """Return the records of a COCO file and the issues of its annotations.

    None where the lenient reader is needed. `sections` are emptied.
    """
    try:
        return _Columns(path, sections, finder, classes, notes).labelled()
    except Unusual:
        return None


class _Columns:
    """The columns of a file, on the way to a table."""

    def __init__(
        self,
        path: Path,
        sections: dict[str, Any],
        finder: ImageFinder,
        classes: Classes,
        notes: Notes,
    ) -> None:
        self.path, self.classes, self.notes = path, classes, notes
        self.state = sections.pop("state")
        images, self.rows = sections.pop("images"), sections.pop("annotations")
        sections.clear()
        self.ids = _image_ids(images["id"])
        self.image = _image_of(self.rows, images["id"])
        self.names = _file_names(images)
        self.files = finder.find_all(self.names)
        if len(set(self.files)) < len(self.files):
            raise Unusual  # two entries of one file
        self.sizes = self._sizes(images)
        self.order = np.argsort(self.image, kind="stable")

    def _sizes(self, images: dict[str, Any]) -> NDArray[np.int64]:
        sizes = np.stack([images["width"], images["height"]], axis=1).reshape(-1, 2)
        unknown = np.flatnonzero(((sizes <= 0) | (sizes >= 2**31)).any(axis=1))
        for row, image in zip(unknown, self._parsed(images["object"][unknown]), strict=True):
            width, height = side(image.get("width")), side(image.get("height"))
            if not width or not height:
                if self.notes.errors is not None:
                    raise Unusual  # an image that cannot be read is kept among the errors there
                width, height = image_size(self.files[row], max_pixels=None)
            sizes[row] = width, height
        return sizes

    def _parsed(self, objects: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The entries at these places of the file, as Python has them."""
        if not len(objects):
            return []
        try:
            with self.path.open("rb") as file:
                return [json.loads(text) for text in read_objects(file, objects)]
        except (OSError, ValueError, RecursionError) as error:
            raise Unusual from error

    def labelled(self) -> Labelled:
        rows = self.rows
        labels = self._labels()
        plain = self._plain(labels)
        odd = self.order[~plain[self.order]]
        found: dict[int, Object] = {}
        issues: list[Issue] = []
        of_issues: list[int] = []
        for row, annotation in zip(odd.tolist(), self._parsed(rows["object"][odd]), strict=True):
            image = int(self.image[row])
            width, height = self.sizes[image].tolist()
            parsed = parse_object(self.path, annotation, (width, height), self.classes, self.notes)
            if isinstance(parsed, str):
                issues.append(issue_of(self.path, annotation, self.names[image], parsed))
                of_issues.append(image)
            else:
                found[row] = parsed
        stays = plain.copy()
        stays[[*found]] = True
        area = self._area(plain)
        self._amend(labels, area, found)
        chosen = self.order[stays[self.order]]
        table = self._table(chosen, labels, area, found)
        return Labelled(table, tuple(issues), np.array(of_issues, np.int64))

    def _labels(self) -> NDArray[np.int64]:
        """The label of each annotation, -1 where its category is none that is wanted."""
        ids, place = np.unique(self.rows["category_id"], return_inverse=True)
        labels = np.array([self.classes.label_of.get(i, -1) for i in ids.tolist()], np.int64)
        found = labels[place.reshape(-1)]
        found[self.rows["present"] & _CATEGORY == 0] = -1
        return found

    def _plain(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which annotations are right without a closer look."""
        rows, present = self.rows, self.rows["present"]
        x, y, width, height = rows["bbox"].T
        plain = (labels >= 0) & (present & (_BBOX | _ODD_FLAG | _NOT_FINITE) == _BBOX)
        plain &= (width > 0) & (height > 0) & (rows["outline"] != _ODD)
        image_width, image_height = self.sizes[self.image].T
        with np.errstate(over="ignore"):
            x2, y2 = x + width, y + height
        plain &= (x2 > x) & (y2 > y) & np.isfinite(x2) & np.isfinite(y2)
        plain &= (x2 > 0) & (y2 > 0) & (x < image_width) & (y < image_height)
        counts, points = rows["keypoints"]
        if len(points):
            owner = np.repeat(np.arange(len(plain)), counts)
            plain[owner[~np.isfinite(points)]] = False
        return plain

    def _area(self, plain: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = self.rows
        area, stated = rows["area"], rows["present"] & _AREA != 0
        if (plain & stated & (area < 0)).any():
            note_of_area(self.path, self.notes)
        computed = np.flatnonzero(plain & (~stated | (area < 0)))
        area[computed] = rows["bbox"][computed, 2] * rows["bbox"][computed, 3]
        return area

    def _amend(
        self, labels: NDArray[np.int64], area: NDArray[np.float64], found: dict[int, Object]
    ) -> None:
        for row, parsed in found.items():
            labels[row], area[row] = parsed.label, parsed.area
            self.rows["bbox"][row] = parsed.xywh
            self.rows["iscrowd"][row] = parsed.crowd

    def _table(
        self,
        chosen: NDArray[np.int64],
        labels: NDArray[np.int64],
        area: NDArray[np.float64],
        found: dict[int, Object],
    ) -> RecordTable:
        rows = self.rows
        image = self.image[chosen]
        offsets = offsets_of(np.bincount(image, minlength=len(self.sizes)))
        xywh = rows.pop("bbox")[chosen]
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        return RecordTable(
            paths=Texts.of([os.fsencode(file) for file in self.files]),
            ids=self.ids,
            sizes=self.sizes,
            labels=Ragged(labels[chosen], offsets),
            boxes=Ragged(boxes, offsets),
            iscrowd=Ragged(rows.pop("iscrowd")[chosen], offsets),
            difficult=Ragged(np.zeros(len(chosen), bool), offsets),
            area=Ragged(area[chosen], offsets),
            boxes_xywh=Ragged(xywh, offsets),
            points=self._points(chosen, image, found),
            shapes=self._shapes(chosen, offsets, found),
        )

    def _shapes(
        self, chosen: NDArray[np.int64], offsets: NDArray[np.int64], found: dict[int, Object]
    ) -> Ragged | None:
        """Outlines, which stay in the file but for those that were parsed already."""
        outline = self.rows.pop("outline")
        lazy = outline[chosen] == _RIGHT
        objects = self.rows.pop("object")[chosen[lazy]]
        source = np.where(lazy, 0, -1).astype(np.int32)
        row = np.cumsum(lazy) - 1
        odd = {row: o.shape for row, o in found.items() if outline[row] == _ODD}
        parsed = {row: shape for row, shape in odd.items() if shape is not None}
        if parsed:
            place = np.full(len(outline), -1)
            place[[*parsed]] = np.arange(len(parsed))
            mine = np.flatnonzero(place[chosen] >= 0)
            source[mine], row[mine] = 1, place[chosen[mine]]
        if not (source >= 0).any():
            return None
        sources = (
            FileOutlines(self.path, self.state, objects),
            StoredShapes.of([*parsed.values()]),
        )
        return Ragged(Shapes(sources, source, row), offsets)

    def _points(
        self, chosen: NDArray[np.int64], image: NDArray[np.int64], found: dict[int, Object]
    ) -> Ragged | None:
        """Keypoints of the images that have any."""
        counts, numbers = self.rows.pop("keypoints")
        first = offsets_of(counts)
        points: list[NDArray[np.float64] | None] = [None] * len(chosen)
        for place in np.flatnonzero(counts[chosen] > 0).tolist():
            row = chosen[place]
            points[place] = numbers[first[row] : first[row + 1]].reshape(-1, 3)
        for place in np.flatnonzero(np.isin(chosen, [*found])).tolist() if found else ():
            points[place] = found[int(chosen[place])].points
        has = np.array([p is not None for p in points], bool)
        if not has.any():
            return None
        images = np.zeros(len(self.sizes), bool)
        images[image[has]] = True
        kept = images[image]
        most = max(len(p) for p in points if p is not None)
        values = filled_points([points[i] for i in np.flatnonzero(kept).tolist()], most)
        return Ragged(values, offsets_of(np.bincount(image[kept], minlength=len(images))))


def _image_ids(ids: tuple[NDArray[np.int64], list[str] | None]) -> Ids:
    values, names = ids
    if len(np.unique(values)) < len(values):
        raise Unusual  # an id that occurs twice
    if names is None:
        return Ids(values)
    texts = [encoded(names[place]) for place in values.tolist()]
    return Ids(np.zeros(len(values), np.int64), Texts.of(texts), np.ones(len(values), bool))


def _image_of(
    rows: Mapping[str, Any], ids: tuple[NDArray[np.int64], list[str] | None]
) -> NDArray[np.int64]:
    """The row of the image of each annotation."""
    values, names = ids
    wanted, wanted_names = rows["image_id"]
    if not len(wanted):
        return np.zeros(0, np.int64)
    if (names is None) != (wanted_names is None) or not (rows["present"] & _IMAGE).all():
        raise Unusual
    if names is not None and wanted_names is not None:
        place = {name: number for number, name in enumerate(names)}
        known = np.array([place.get(name, -1) for name in wanted_names], np.int64)
        wanted = known[wanted]
    image = _places(values, wanted)
    if (image < 0).any():
        raise Unusual  # of no image
    return image


def _places(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` is among different values, or -1."""
    if not len(values):
        return np.full(len(wanted), -1)
    least, most = int(values.min()), int(values.max())
    if most - least < _DENSE_SPAN * (len(values) + len(wanted)):
        place = np.full(most - least + 2, -1)  # the last for what lies outside
        place[values - least] = np.arange(len(values))
        inside = (wanted >= least) & (wanted <= most)
        return place[np.where(inside, wanted - least, most - least + 1)]
    order = np.argsort(values)
    at = np.searchsorted(values, wanted, sorter=order).clip(max=len(values) - 1)
    return np.where(values[order[at]] == wanted, order[at], -1)


def _file_names(images: Mapping[str, Any]) -> list[str]:
    blob, ends = images["file_name"]
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    return [decoded(name) for name in Texts(blob, offsets).tolist()]
