"""Finds boxes that are usable but suspicious: duplicate, tiny, or partly outside their image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.formats.table import RecordTable

__all__ = ["TINY_PIXELS", "duplicate_boxes", "partly_outside", "tiny_boxes"]

NEARLY_THE_SAME = 0.95  # IoU of two boxes of one class
OUTSIDE_PIXELS = 1.0  # what rounding, and counting pixels from 1, put beyond the image
TINY_PIXELS = 1.5  # shorter side
_MOST_NEIGHBOURS = 64


def duplicate_boxes(table: RecordTable) -> list[tuple[int, int, float]]:
    """Return (first, second, IoU) of boxes of one image and class that are (nearly) the same.

    Boxes are numbered as in `table.boxes.values`; each second one is reported once, with the first
    that it repeats.
    """
    boxes, rows, labels = table.boxes.values, table.boxes.rows, table.labels.values
    if len(labels) != len(boxes):  # one class per image, and no boxes
        return []
    order = np.lexsort([np.arange(len(boxes)), boxes[:, 0], labels, rows])
    sorted_boxes, group = boxes[order], np.stack([rows[order], labels[order]], axis=1)
    reach = (1 - NEARLY_THE_SAME) * (sorted_boxes[:, 2] - sorted_boxes[:, 0])
    first_of: dict[int, tuple[int, float]] = {}
    for step in range(1, min(_MOST_NEIGHBOURS, len(boxes) - 1) + 1):
        near = (group[:-step] == group[step:]).all(axis=1)
        near &= sorted_boxes[step:, 0] - sorted_boxes[:-step, 0] <= reach[:-step]
        if not near.any():
            break
        left = np.flatnonzero(near)
        overlap = _iou(sorted_boxes[left], sorted_boxes[left + step])
        for place in np.flatnonzero(overlap > NEARLY_THE_SAME).tolist():
            pair = sorted((int(order[left[place]]), int(order[left[place] + step])))
            value = float(overlap[place])
            known = first_of.get(pair[1])
            if known is None or (value, -pair[0]) > (known[1], -known[0]):
                first_of[pair[1]] = (pair[0], value)
    return [(first, second, value) for second, (first, value) in sorted(first_of.items())]


def _iou(boxes1: NDArray[np.float64], boxes2: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of box i of the one and box i of the other, of positive areas; 1 exactly where equal."""
    low = np.maximum(boxes1[:, :2], boxes2[:, :2])
    high = np.minimum(boxes1[:, 2:], boxes2[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (boxes1, boxes2)]
    iou = both / (areas[0] + areas[1] - both)
    return np.where((boxes1 == boxes2).all(axis=1), 1.0, np.minimum(iou, 1 - 1e-9))


def partly_outside(table: RecordTable) -> NDArray[np.int64]:
    """Return the boxes that extend beyond their image by more than a pixel."""
    boxes, sizes = table.boxes.values, np.repeat(table.sizes, table.boxes.counts, axis=0)
    beyond = np.maximum(-boxes[:, :2], boxes[:, 2:] - sizes).max(axis=1, initial=0)
    return np.flatnonzero(beyond > OUTSIDE_PIXELS)


def tiny_boxes(table: RecordTable, size: tuple[int, int] | None) -> NDArray[np.int64]:
    """Return the boxes whose shorter side is tiny.

    Args:
        size: height and width to which images are resized; None for the sizes that they have.
    """
    boxes = table.boxes.values
    sides = boxes[:, 2:] - boxes[:, :2]
    if size is not None:
        sizes = np.maximum(np.repeat(table.sizes, table.boxes.counts, axis=0), 1)
        sides = sides * (np.array(size[::-1]) / sizes)
    return np.flatnonzero(sides.min(axis=1, initial=np.inf) < TINY_PIXELS)
