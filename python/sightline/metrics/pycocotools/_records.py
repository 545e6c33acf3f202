"""Columns from annotation dicts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.metrics.pycocotools._matched import Columns

# Sides within these neither vanish nor overflow when areas are taken of them.
_SMALLEST_SIDE, _LARGEST = 1e-100, 1e100


def columns_of(
    found: list[dict[str, Any]],
    truth: list[dict[str, Any]],
    image_ids: Sequence[Any],
    category_ids: Sequence[Any],
) -> Columns | None:
    """Columns of the annotations; None where these need pycocotools' own steps one by one.

    That is where ids are no numbers or a detection's is not above 0, where a box is not four
    finite numbers, and where a category is evaluated twice.
    """
    images = {image: row for row, image in enumerate(image_ids)}
    labels = {category: row for row, category in enumerate(category_ids)}
    if len(labels) != len(category_ids):
        return None
    found = [d for d in found if d["image_id"] in images and d["category_id"] in labels]
    truth = [g for g in truth if g["image_id"] in images and g["category_id"] in labels]
    dt_ids, gt_ids = [d["id"] for d in found], [g["id"] for g in truth]
    scores = [d["score"] for d in found]
    boxes = [_boxes(records) for records in (found, truth)]
    arrays = [_numbers(values) for values in (dt_ids, gt_ids, scores)]
    areas = [_numbers([r["area"] for r in records]) for records in (found, truth)]
    if any(column is None for column in (*boxes, *arrays, *areas)) or (arrays[0] <= 0).any():
        return None
    crowd = np.array([bool(g["iscrowd"]) for g in truth], bool)
    return Columns(
        dt_image=np.array([images[d["image_id"]] for d in found], np.int64),
        dt_label=np.array([labels[d["category_id"]] for d in found], np.int64),
        dt_boxes=boxes[0],
        dt_scores=arrays[2],
        dt_area=areas[0],
        dt_ids=dt_ids,
        dt_score_values=scores,
        gt_image=np.array([images[g["image_id"]] for g in truth], np.int64),
        gt_label=np.array([labels[g["category_id"]] for g in truth], np.int64),
        gt_boxes=boxes[1],
        gt_area=areas[1],
        gt_crowd=crowd,
        gt_ignore=crowd,
        gt_ids=gt_ids,
    )


def _numbers(values: list[Any]) -> Any:
    """float64 [N], or None where values are no numbers."""
    try:
        column = np.array(values)
    except ValueError:
        return None
    usable = column.ndim == 1 and column.dtype.kind in "iuf"
    return column.astype(np.float64) if usable else None


def _boxes(records: list[dict[str, Any]]) -> Any:
    """Boxes xywh [N, 4], or None where one is not four numbers of ordinary size."""
    try:
        boxes = np.array([r["bbox"] for r in records], np.float64)
    except (TypeError, ValueError):
        return None
    if not len(records):
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        return None
    size = np.abs(boxes)
    sides = size[:, 2:]
    ordinary = (size <= _LARGEST).all() and ((sides == 0) | (sides >= _SMALLEST_SIDE)).all()
    return boxes if ordinary else None
