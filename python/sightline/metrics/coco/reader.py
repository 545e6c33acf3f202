"""COCO ground truth and results as columns, from files, JSON text or loaded objects.

The native reader fills the columns and refuses what is not JSON or has a wrong type; relations
between records are checked here.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sightline.metrics._native import native
from sightline.metrics._warn import warn
from sightline.metrics.shapes.segmentations import KIND_POLYGONS, Segmentations

# The bits of `present`: one per native field, in order, and two for invalid values.
_FIELDS = (
    *("id", "image_id", "category_id", "bbox", "score", "area", "iscrowd", "ignore"),
    *("num_keypoints", "keypoints", "segmentation"),
)
FIELD_BITS = {name: 1 << i for i, name in enumerate(_FIELDS)}
_NOT_FINITE, _NEGATIVE_SIDE = 1 << 14, 1 << 15
_SHAPE = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
_PACKAGE = os.path.join(os.path.dirname(__file__), "")  # not a folder that begins as it does
# A lookup table by id is used only where ids span at most this times their number.
_DENSE_SPAN = 8


@dataclass(frozen=True)
class GroundTruth:
    """Images and classes by ascending id, and the objects of both in the order of the file."""

    name: str  # its name in errors
    image_ids: np.ndarray  # [I] int64 or str, ascending
    image_size: np.ndarray  # [I, 2] int64, height and width, 0 where unknown
    category_ids: np.ndarray  # [K] int64, ascending
    category_names: tuple[str, ...]
    id: np.ndarray | None  # [N] int64; None where they are strings or missing
    image: np.ndarray  # [N] int64, row of the image
    label: np.ndarray  # [N] int64, row of the class
    boxes_xywh: np.ndarray  # [N, 4] float64
    area: np.ndarray  # [N] float64
    crowd: np.ndarray  # [N] bool
    segmentation: Segmentations | None
    keypoints: np.ndarray | None  # [N, K, 3] float64
    num_keypoints: np.ndarray | None  # [N] int64


@dataclass(frozen=True)
class Results:
    """Detections in the order of the file."""

    name: str
    image: np.ndarray  # [N] int64, row of the image
    label: np.ndarray  # [N] int64, row of the class
    boxes_xywh: np.ndarray  # [N, 4] float64, 0 where `has_boxes` is False
    scores: np.ndarray  # [N] float64
    has_boxes: bool  # the first result has one: areas are then those of boxes, as in pycocotools
    segmentation: Segmentations | None
    keypoints: np.ndarray | None  # [N, K, 3] float64


def read_ground_truth(
    source: Any,
    *,
    name: str = "gt",
    iou_type: str = "bbox",
    parity: str = "corrected",
    protocol: str | None = None,
) -> GroundTruth:
    """Columns of a ground truth file; objects of unknown images and classes are left out.

    A file of LVIS is refused unless `protocol` is "coco".
    """
    fields = ["id", "image_id", "category_id", "bbox", "area", "iscrowd"]
    if iou_type == "segm":
        fields.append("segmentation")
    elif iou_type == "keypoints":
        fields += ["keypoints", "num_keypoints"]
    name, sections = _read(native.read_coco_ground_truth, source, name, fields)
    for section in ("images", "annotations", "categories"):
        if section not in sections:
            raise ValueError(f"{name}: lacks `{section}`, a list that may be empty")
    marks = lvis_marks(sections)
    if marks and protocol is None:
        raise ValueError(
            f"{name}: is an LVIS file: {marks}. LVIS's own rules are not implemented, and COCO's "
            "count detections as false in images where nobody looked for all objects of their "
            'class; protocol="coco" (--protocol coco) applies COCO\'s rules anyway'
        )
    images = sections["images"]
    image_ids, first = np.unique(_ids(*images["id"]), return_index=True)
    size = np.stack([images["height"], images["width"]], axis=1)[first]
    categories = sections["categories"]
    category_ids, last = np.unique(categories["id"][::-1], return_index=True)
    names = categories["name"][::-1]
    labels = tuple(
        str(category_ids[k]) if names[row] is None else names[row] for k, row in enumerate(last)
    )

    rows = _Rows(sections["annotations"], name, "annotations", parity)
    need_box = iou_type != "segm"
    rows.require("image_id", "category_id", *(["bbox"] if need_box else []), _SHAPE[iou_type])
    if not need_box:  # a missing area cannot be computed without a box
        rows.require_one_of("area", "bbox")
    rows.check_values("bbox", "area")
    ids = rows.check_unique_ids()
    image = rows.images(image_ids)
    label = rows.labels(category_ids)
    rows.warn_of_unknown(image, "images", "image_id")
    rows.warn_of_unknown(label, "categories", "category_id")
    columns = rows.columns
    boxes = columns["bbox"]
    if not rows.strict:
        rows.warn_of_missing("area", "w * h taken, where pycocotools raises KeyError")
    area = rows.or_else("area", boxes[:, 2] * boxes[:, 3])
    segmentation, keypoints = rows.segmentation(), rows.keypoints()
    if segmentation is not None:
        segmentation = _with_image_size(segmentation, size, image, rows)
    counted = columns.get("num_keypoints")
    if keypoints is not None and counted is not None:
        counted = rows.or_else("num_keypoints", (keypoints[:, :, 2] > 0).sum(axis=1))
    known = (image >= 0) & (label >= 0)
    keep = slice(None) if known.all() else known

    def taken(column: np.ndarray | None) -> Any:
        return None if column is None else column[keep]

    return GroundTruth(
        name=name,
        image_ids=image_ids,
        image_size=size,
        category_ids=category_ids,
        category_names=labels,
        id=taken(ids),
        image=image[keep],
        label=label[keep],
        boxes_xywh=boxes[keep],
        area=area[keep],
        crowd=columns["iscrowd"][keep],
        segmentation=segmentation
        if segmentation is None or isinstance(keep, slice)
        else segmentation.take(keep),
        keypoints=taken(keypoints),
        num_keypoints=taken(counted),
    )


def lvis_marks(sections: Mapping[str, Any]) -> str:
    """What in the sections of a file is specific to LVIS, in words; "" where nothing is."""
    marks = []
    if sections["images"]["are_lvis"]:
        marks.append("images have `neg_category_ids` or `not_exhaustive_category_ids`")
    if sections["categories"]["are_lvis"]:
        marks.append("categories have a `frequency` of r, c or f")
    return ", ".join(marks)


def read_results(
    source: Any,
    truth: GroundTruth,
    *,
    name: str = "dt",
    iou_type: str = "bbox",
    parity: str = "corrected",
) -> Results:
    """Columns of a results file for the given ground truth; unknown classes are left out."""
    fields = ["image_id", "category_id", "bbox", "score"]
    if iou_type != "bbox":
        fields.append(_SHAPE[iou_type])
    name, columns = _read(native.read_coco_results, source, name, fields)
    rows = _Rows(columns, name, "results", parity)
    has_boxes = bool(len(rows)) and bool(rows.present[0] & FIELD_BITS["bbox"])
    segmentation = rows.segmentation()
    if segmentation is not None and has_boxes:
        segmentation = _boxes_for_masks(segmentation, rows)
    rows.require("image_id", "category_id", "score", _SHAPE[iou_type])
    rows.check_values("bbox", "score")
    image = rows.images(truth.image_ids)
    _check_known_images(rows, image, truth)
    label = rows.labels(truth.category_ids)
    rows.warn_of_unknown(label, "categories", "category_id")
    keypoints = rows.keypoints()
    if segmentation is not None:
        segmentation = _with_image_size(segmentation, truth.image_size, image, rows)
    known = label >= 0
    keep = slice(None) if known.all() else known
    return Results(
        name=name,
        image=image[keep],
        label=label[keep],
        boxes_xywh=columns["bbox"][keep],
        scores=columns["score"][keep],
        has_boxes=has_boxes,
        segmentation=segmentation
        if segmentation is None or isinstance(keep, slice)
        else segmentation.take(keep),
        keypoints=None if keypoints is None else keypoints[keep],
    )


def _read(read: Any, source: Any, name: str, fields: Sequence[str]) -> tuple[str, Any]:
    """The name of the source for errors, and its columns."""
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                return path, read(file.fileno(), status.st_size, None, path, True, fields)
            return path, read(-1, 0, file.read(), path, True, fields)
    name = f"`{name}`"
    if isinstance(source, bytes | bytearray | memoryview):
        return name, read(-1, 0, bytes(source), name, True, fields)
    if not isinstance(source, Mapping | Sequence):
        kind = type(source).__name__
        raise ValueError(f"{name}: must be a path, JSON as bytes, or loaded JSON, got {kind}")
    text = json.dumps(source, default=_plain, separators=(",", ":"))
    return name, read(-1, 0, text.encode(), name, False, fields)


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists of plain numbers, and bytes of run lengths as text."""
    if isinstance(value, bytes):
        return value.decode("latin-1")  # invalid run lengths are then refused by the reader
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot be JSON: {value!r}")


def _ids(values: np.ndarray, names: list[str] | None) -> np.ndarray:
    return values if names is None else np.array(names, object)[values]


class _Rows:
    """The columns of annotations or results, with errors that name the record."""

    def __init__(self, columns: dict[str, Any], name: str, section: str, parity: str) -> None:
        self.columns, self.name, self.section = columns, name, section
        self.present = columns["present"]
        self.strict = parity == "corrected"
        self.faults = int(np.bitwise_or.reduce(self.present)) if len(self.present) else 0

    def __len__(self) -> int:
        return len(self.present)

    def error(self, row: int, problem: str) -> ValueError:
        return ValueError(f"{self.name}: {self.section}[{row}] {problem}")

    def require(self, *fields: str) -> None:
        need = sum(FIELD_BITS[field] for field in set(fields))
        if not len(self) or int(np.bitwise_and.reduce(self.present)) & need == need:
            return
        row = int(np.argmax((self.present & need) != need))
        lacks = [f"`{f}`" for f in fields if not self.present[row] & FIELD_BITS[f]]
        raise self.error(row, f"lacks {' and '.join(dict.fromkeys(lacks))}")

    def require_one_of(self, *fields: str) -> None:
        lacking = np.flatnonzero((self.present & sum(FIELD_BITS[field] for field in fields)) == 0)
        if len(lacking):
            lacks = " and ".join(f"`{field}`" for field in fields)
            raise self.error(int(lacking[0]), f"lacks {lacks}, and one of them is needed")

    def or_else(self, field: str, values: np.ndarray) -> np.ndarray:
        """A column, with `values` where the file lacks them."""
        if len(self) and int(np.bitwise_and.reduce(self.present)) & FIELD_BITS[field]:
            return self.columns[field]
        return np.where(self.present & FIELD_BITS[field], self.columns[field], values)

    def warn_of_missing(self, field: str, answer: str) -> None:
        lacking = np.flatnonzero((self.present & FIELD_BITS[field]) == 0)
        if len(lacking):
            self.warn(len(lacking), int(lacking[0]), f"without `{field}`", answer)

    def check_values(self, *fields: str) -> None:
        """Refuse numbers that are not finite and negative sides, or warn of them."""
        if self.faults & _NOT_FINITE:
            for field in fields:
                self._check_finite(field)
        if self.faults & _NEGATIVE_SIDE:
            sides = self.columns["bbox"][:, 2:]
            bad = (sides < 0).any(axis=1)
            if bad.any():
                row = int(np.argmax(bad))
                box = self.columns["bbox"][row].tolist()
                problem = f"has a negative side, bbox {box} (x, y, width, height)"
                if self.strict:
                    raise self.error(row, f"{problem}; is it x1, y1, x2, y2?")
                self.warn(int(bad.sum()), row, problem, "taken as they are, as in pycocotools")

    def _check_finite(self, field: str) -> None:
        values = self.columns[field]
        bad = ~np.isfinite(values if values.ndim == 1 else values.sum(axis=1))
        if values.ndim == 2 and bad.any():  # a sum may overflow although no term does
            bad = ~np.isfinite(values).all(axis=1)
        if not bad.any():
            return
        row = int(np.argmax(bad))
        problem = f"has {field} {values[row].tolist()}"
        if self.strict or field != "score":
            raise self.error(row, f"{problem}, need finite numbers")
        self.warn(int(bad.sum()), row, problem, "kept, and NaN sorted last, as in pycocotools")

    def warn(self, count: int, row: int, problem: str, answer: str) -> None:
        others = f" and {count - 1} more" if count > 1 else ""
        warn(f"{self.name}: {self.section}[{row}]{others} {problem}: {answer}")

    def check_unique_ids(self) -> np.ndarray | None:
        """The ids as integers; None where some are missing or they are strings."""
        values, names = self.columns["id"]
        have = (self.present & FIELD_BITS["id"]) != 0
        rows = None if have.all() else np.flatnonzero(have)
        ids = values if rows is None else values[rows]
        if not (ids[1:] > ids[:-1]).all():
            order = np.argsort(ids, kind="stable")
            same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
            if len(same):
                first, second = order[same[0]], order[same[0] + 1]
                shown = ids[first] if names is None else repr(names[ids[first]])
                if rows is not None:
                    first, second = rows[first], rows[second]
                raise self.error(
                    int(second),
                    f"has annotation id {shown}, which {self.section}[{first}] has; "
                    "ids must be unique",
                )
        if names is not None or (rows is not None and not len(rows)):
            return None
        return values if rows is None else np.where(have, values, -1)

    def images(self, image_ids: np.ndarray) -> np.ndarray:
        """Row of each record's image, -1 where there is none."""
        values, names = self.columns["image_id"]
        if not len(self) or not len(image_ids):
            return np.full(len(self), -1)
        if (names is not None) != (image_ids.dtype == object):
            kinds = ("integers", "strings") if names is None else ("strings", "integers")
            raise ValueError(
                f"{self.name}: the image ids of {self.section} are {kinds[0]}, "
                f"those of the ground truth's images {kinds[1]}"
            )
        if names is None:
            return rows_of(values, image_ids)
        place = {image_id: row for row, image_id in enumerate(image_ids)}
        return np.array([place.get(name, -1) for name in names], np.int64)[values]

    def image_id(self, row: int) -> Any:
        values, names = self.columns["image_id"]
        return int(values[row]) if names is None else names[values[row]]

    def labels(self, category_ids: np.ndarray) -> np.ndarray:
        return rows_of(self.columns["category_id"], category_ids)

    def warn_of_unknown(self, rows: np.ndarray, what: str, field: str) -> None:
        unknown = np.flatnonzero(rows < 0)
        if not len(unknown):
            return
        row = int(unknown[0])
        shown = self.image_id(row) if field == "image_id" else int(self.columns[field][row])
        warn(
            f"{self.name}: {len(unknown)} {self.section} of unknown {what} left out, "
            f"such as {self.section}[{row}] with {field} {shown!r}"
        )

    def segmentation(self) -> Segmentations | None:
        parts = self.columns.get("segmentation")
        return None if parts is None else Segmentations(*parts)

    def keypoints(self) -> np.ndarray | None:
        """[N, K, 3], with K from the first record that has keypoints; zeros for those without."""
        if "keypoints" not in self.columns:
            return None
        counts, values = self.columns["keypoints"]
        given = np.flatnonzero(counts)
        most = int(counts[given[0]]) if len(given) else 0
        other = given[counts[given] != most]
        if len(other):
            raise self.error(
                int(other[0]),
                f"has {counts[other[0]]} numbers in `keypoints`, "
                f"{self.section}[{given[0]}] has {most}",
            )
        if not np.isfinite(values).all():
            row = int(given[np.argmin(np.isfinite(values)) // most])
            raise self.error(row, "has `keypoints` that are not finite")
        points = np.zeros((len(self), most // 3, 3))
        points[given] = values.reshape(-1, most // 3, 3) if most else 0
        return points


def rows_of(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Index of each id in the ascending table, -1 where it is missing."""
    if not len(ids) or not len(table):
        return np.full(len(ids), -1)
    low, high = int(table[0]), int(table[-1])
    if high - low > max(1 << 16, _DENSE_SPAN * len(ids)):
        rows = np.minimum(np.searchsorted(table, ids), len(table) - 1)
        return np.where(table[rows] == ids, rows, -1)
    places = np.full(high - low + 1, -1)
    places[table - low] = np.arange(len(table))
    if low <= ids.min() and ids.max() <= high:
        return places[ids - low]
    inside = (ids >= low) & (ids <= high)
    return np.where(inside, places[np.where(inside, ids, low) - low], -1)


def _check_known_images(rows: _Rows, image: np.ndarray, truth: GroundTruth) -> None:
    unknown = np.flatnonzero(image < 0)
    if not len(unknown):
        return
    row = int(unknown[0])
    problem = f"is of image {rows.image_id(row)!r}, which {truth.name} lacks"
    if len(unknown) == len(rows):
        why = "none of the results' images is there: are they of another data set?"
    else:
        why = f"{len(unknown)} of {len(rows)} results are of such images"
        if 2 * len(unknown) > len(rows):
            why += ": are they of another data set?"
    raise rows.error(row, f"{problem} ({why})")


def _boxes_for_masks(masks: Segmentations, rows: _Rows) -> Segmentations:
    """Polygons around the boxes of records without a mask, as in pycocotools.

    Raises:
        ValueError: there is such a record and parity is "corrected".
    """
    box, mask = FIELD_BITS["bbox"], FIELD_BITS["segmentation"]
    bare = np.flatnonzero((rows.present & (box | mask)) == box)
    if not len(bare):
        return masks
    first = int(bare[0])
    if rows.strict:
        raise rows.error(first, 'lacks `segmentation`; parity="pycocotools" uses boxes as masks')
    answer = "boxes used as masks, as in pycocotools"
    rows.warn(len(bare), first, "without `segmentation`", answer)
    x, y, w, h = rows.columns["bbox"][bare].T
    rings = np.stack([x, y, x, y + h, x + w, y + h, x + w, y], axis=1)
    masks.kind[bare], masks.count[bare] = KIND_POLYGONS, 1
    masks.first[bare] = len(masks.ring_offsets) - 1 + np.arange(len(bare))
    ends = masks.ring_offsets[-1] + rings.shape[1] * np.arange(1, len(bare) + 1)
    rows.present[bare] |= mask
    return replace(
        masks,
        ring_offsets=np.concatenate([masks.ring_offsets, ends]),
        coordinates=np.concatenate([masks.coordinates, rings.ravel()]),
    )


def _with_image_size(
    segmentation: Segmentations, size: np.ndarray, image: np.ndarray, rows: _Rows
) -> Segmentations:
    """Polygons have the size of their image."""
    polygons = np.flatnonzero((segmentation.kind == KIND_POLYGONS) & (image >= 0))
    if len(polygons):
        sizes = size[image[polygons]]
        bad = np.flatnonzero((sizes <= 0).any(axis=1))
        if len(bad):
            row = int(polygons[bad[0]])
            raise rows.error(
                row, f"has polygons, but image {rows.image_id(row)!r} has no height and width"
            )
        segmentation.size[polygons] = sizes
    return segmentation
