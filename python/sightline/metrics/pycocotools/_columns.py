"""Detections and objects as columns, from annotation dicts or from the columns of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.metrics.coco.reader import rows_of
from sightline.metrics.detection.rows import FlatDetections, FlatTargets
from sightline.metrics.pycocotools._files import ResultsFile, TruthFile

Record = dict[str, Any]

# Areas of boxes with sides in this range neither underflow nor overflow.
_SMALLEST_SIDE, _LARGEST = 1e-100, 1e100


@dataclass(frozen=True)
class Detections:
    flat: FlatDetections
    ids: np.ndarray | list[Any]  # [N]
    scores: np.ndarray | list[Any]  # [N] as they are in the file
    records: list[Record] | None = None  # [N]


@dataclass(frozen=True)
class Objects:
    flat: FlatTargets
    ids: np.ndarray | list[Any]  # [M]
    records: list[Record] | None = None  # [M]


class Places:
    """The index of image and category ids in the settings."""

    def __init__(self, image_ids: Sequence[Any], category_ids: Sequence[Any]) -> None:
        self.images = {image: row for row, image in enumerate(image_ids)}
        self.labels = {category: row for row, category in enumerate(category_ids)}
        # where an id is given twice, pycocotools evaluates it twice
        self.unique = len(self.labels) == len(category_ids)
        self.image_ids, self.category_ids = np.array(image_ids), np.array(category_ids)

    def of_columns(self, file: TruthFile | ResultsFile) -> tuple[Any, Any, Any] | None:
        """The rows to evaluate, their images and labels; None where ids are not integers."""
        if self.image_ids.dtype.kind != "i" or self.category_ids.dtype.kind != "i":
            return None
        image = rows_of(file.columns["image_id"], self.image_ids)
        order = np.argsort(self.category_ids)
        label = rows_of(file.columns["category_id"], self.category_ids[order])
        known = (image >= 0) & (label >= 0)
        if known.all():
            return slice(None), image, order[label]
        return known, image[known], order[label[known]]

    def of_records(self, records: list[Record]) -> tuple[list[Record], np.ndarray, np.ndarray]:
        """The records to evaluate, their images and their labels."""
        images, labels = self.images, self.labels
        kept = [r for r in records if r["image_id"] in images and r["category_id"] in labels]
        image = np.array([images[r["image_id"]] for r in kept], np.int64)
        return kept, image, np.array([labels[r["category_id"]] for r in kept], np.int64)


def detections_of_file(file: ResultsFile, places: Places) -> Detections | None:
    """Columns of a file; None where its boxes or ids have to be evaluated one by one."""
    found = places.of_columns(file)
    if found is None:
        return None
    rows, image, label = found
    boxes, scores = file.columns["bbox"][rows], file.columns["score"][rows]
    if not _are_ordinary(boxes):
        return None
    ids = np.arange(1, len(file.columns["score"]) + 1)[rows]
    return Detections(FlatDetections(image, label, boxes, scores), ids, scores)


def objects_of_file(file: TruthFile, places: Places) -> Objects | None:
    """Columns of a file; None where its boxes or ids have to be evaluated one by one."""
    found = places.of_columns(file)
    if found is None:
        return None
    rows, image, label = found
    columns = {name: column[rows] for name, column in file.columns.items()}
    if not _are_ordinary(columns["bbox"]):
        return None
    ids, crowd = columns["id"], columns["iscrowd"]
    return Objects(
        FlatTargets(image, label, columns["bbox"], columns["area"], crowd, crowd, _void(ids)),
        ids,
    )


def detections_of_records(
    records: list[Record], places: Places, iou_type: str = "bbox"
) -> Detections | None:
    """None where an id is not a positive number, or a box not four numbers of ordinary size."""
    found, image, label = places.of_records(records)
    ids, scores = [d["id"] for d in found], [d["score"] for d in found]
    numbers, values = _numbers(ids), _numbers(scores)
    boxes, area = _boxes(found, iou_type), _numbers([d["area"] for d in found])
    if any(x is None for x in (numbers, values, boxes, area)) or (numbers <= 0).any():
        return None
    if (area == boxes[:, 2] * boxes[:, 3]).all():
        area = None
    return Detections(FlatDetections(image, label, boxes, values, area), ids, scores, found)


def objects_of_records(
    records: list[Record], places: Places, iou_type: str = "bbox"
) -> Objects | None:
    """None where an id is not a number, or a box not four numbers of ordinary size."""
    found, image, label = places.of_records(records)
    ids = [g["id"] for g in found]
    boxes, area = _boxes(found, iou_type), _numbers([g["area"] for g in found])
    numbers = _numbers(ids)
    if any(x is None for x in (numbers, boxes, area)):
        return None
    # pycocotools uses the number of a text flag such as "0" in one place, its truth in another
    crowd = np.array([int(g["iscrowd"]) for g in found], bool)
    ignore = np.array([bool(g["iscrowd"]) for g in found], bool)
    if iou_type == "keypoints":
        ignore = ignore | np.array([g["num_keypoints"] == 0 for g in found], bool)
    flat = FlatTargets(image, label, boxes, area, crowd, ignore, _void(numbers))
    return Objects(flat, ids, found)


def _void(ids: np.ndarray) -> np.ndarray | None:
    """Objects with id 0: matches are marked by the object's id, and 0 means no match."""
    void = ids == 0
    return void if void.any() else None


def _numbers(values: list[Any]) -> Any:
    """float64 [N], or None where a value is not a number."""
    try:
        column = np.array(values)
    except ValueError:
        return None
    usable = column.ndim == 1 and column.dtype.kind in "iuf"
    return column.astype(np.float64) if usable else None


def _boxes(records: list[Record], iou_type: str) -> Any:
    """Boxes xywh [N, 4], or None where one is not four numbers of ordinary size."""
    if iou_type == "segm":  # masks may do without
        return np.zeros((len(records), 4))
    try:
        boxes = np.array([r["bbox"] for r in records], np.float64)
    except (TypeError, ValueError):
        return None
    if not len(records):
        return boxes.reshape(0, 4)
    return boxes if boxes.ndim == 2 and boxes.shape[1] == 4 and _are_ordinary(boxes) else None


def _are_ordinary(boxes: np.ndarray) -> bool:
    size = np.abs(boxes)
    sides = size[:, 2:]
    return bool((size <= _LARGEST).all() and ((sides == 0) | (sides >= _SMALLEST_SIDE)).all())
