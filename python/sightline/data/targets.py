"""What a network is to find in an image, as a `Change` leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.data.augment import Change
from sightline.formats.records import Record

__all__ = ["COLUMNS", "Objects", "Target", "as_tensors", "joined", "objects_of", "soft_label"]

# "boxes" float64 [N, 4] and the columns [N, ...] of as many objects.
Objects = dict[str, NDArray[Any]]
# A dict for boxes; for classes an int64 scalar, or float32 [num_classes] where labels are soft.
Target = dict[str, torch.Tensor] | torch.Tensor

COLUMNS = ("labels", "iscrowd", "difficult")  # of a record, besides its boxes


def objects_of(
    record: Record,
    change: Change,
    *,
    keep_crowd: bool = True,
    with_shapes: bool = False,
    mirror: Sequence[int] = (),
) -> Objects:
    """Return the objects of a record that remain in the network's input.

    Args:
        record: boxes beyond its image are clipped to it first.
        change: that of its image.
        keep_crowd: whether crowd regions are among the objects.
        with_shapes: adds, where the record has them, `masks` bool [N, h, w] (the box of an object
            without an outline), `points` [N, K, 3] and `boxes_rotated` [N, 5].
        mirror: see `Change.points`.
    """
    inside = record.boxes.clip(0, [record.width, record.height, record.width, record.height])
    boxes, rows = change.boxes(inside, record.shapes, record.boxes_rotated)
    if not keep_crowd:
        single = ~record.iscrowd[rows]
        boxes, rows = boxes[single], rows[single]
    objects = {"boxes": boxes, **{name: getattr(record, name)[rows] for name in COLUMNS}}
    if with_shapes and record.shapes is not None:
        objects["masks"] = _masks(boxes, [record.shapes[row] for row in rows], change)
    if with_shapes and record.points is not None:
        objects["points"] = change.points(record.points[rows], mirror=mirror)
    if with_shapes and record.boxes_rotated is not None:
        objects["boxes_rotated"] = change.boxes_rotated(record.boxes_rotated[rows])
    return objects


def _masks(boxes: NDArray[np.float64], shapes: Sequence[Any], change: Change) -> NDArray[np.bool_]:
    masks = _box_masks(boxes, change.size)
    outlined = [row for row, shape in enumerate(shapes) if shape is not None]
    masks[outlined] = change.masks([shapes[row] for row in outlined])
    return masks


def _box_masks(boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie in each box, bool [N, h, w]."""
    x1, y1, x2, y2 = boxes.T[:, :, None]
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    columns, rows = (x >= x1) & (x < x2), (y >= y1) & (y < y2)
    return rows[:, :, None] & columns[:, None, :]


def joined(parts: Sequence[Objects], size: tuple[int, int]) -> Objects:
    """Return the objects of several images that became one of `size` (height, width).

    What only some of the images have is filled up: with the boxes as masks, with points that are
    not labelled (also where images differ in the number of points), and with rotated boxes of NaN.
    """
    names = list(dict.fromkeys(name for part in parts for name in part))
    most = max((part["points"].shape[1] for part in parts if "points" in part), default=0)
    parts = [_with_points(part, most) if "points" in part else part for part in parts]
    columns = {}
    for name in names:
        like = next(part[name] for part in parts if name in part)
        columns[name] = np.concatenate(
            [part[name] if name in part else _filler(name, part, like, size) for part in parts]
        )
    return columns


def _with_points(part: Objects, count: int) -> Objects:
    """Return objects whose keypoints are filled up to `count`."""
    missing = count - part["points"].shape[1]
    return {**part, "points": np.pad(part["points"], ((0, 0), (0, missing), (0, 0)))}


def _filler(name: str, part: Objects, like: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if name == "masks":
        return _box_masks(part["boxes"], size)
    value = np.nan if name == "boxes_rotated" else 0.0
    return np.full((len(part["boxes"]), *like.shape[1:]), value)


def moved(objects: Objects, window: tuple[int, int, int, int], size: tuple[int, int]) -> Objects:
    """Return the objects of an image that became the xyxy `window` of one of `size`."""
    x1, y1, x2, y2 = window
    found = {**objects, "boxes": objects["boxes"] + np.array([x1, y1, x1, y1])}
    if "masks" in objects:
        found["masks"] = np.zeros((len(objects["masks"]), *size), bool)
        found["masks"][:, y1:y2, x1:x2] = objects["masks"]
    if "points" in objects:
        seen = objects["points"][..., 2:] > 0
        found["points"] = objects["points"] + np.where(seen, [x1, y1, 0], 0)
    if "boxes_rotated" in objects:
        found["boxes_rotated"] = objects["boxes_rotated"] + np.array([x1, y1, 0, 0, 0])
    return found


def soft_label(
    shares: Sequence[tuple[int, float]], num_classes: int, smoothing: float = 0.0
) -> NDArray[np.float32]:
    """Return class probabilities [num_classes] from (label, share of the image).

    `smoothing` is the share that is spread evenly over all classes.

    >>> soft_label([(1, 0.75), (0, 0.25)], 4, smoothing=0.2).round(3).tolist()
    [0.25, 0.65, 0.05, 0.05]
    """
    found = np.full(num_classes, smoothing / num_classes, np.float32)
    for label, share in shares:
        found[label] += (1 - smoothing) * share
    return found


def as_tensors(target: Objects | NDArray[np.float32] | int) -> Target:
    """Return a target for a batch: coordinates in float32, labels as they are."""
    if not isinstance(target, dict):
        return torch.as_tensor(target)
    return {
        name: torch.from_numpy(value.astype(np.float32) if value.dtype == np.float64 else value)
        for name, value in target.items()
    }
