"""Reads and checks the detections and targets of one image.

The native store checks the same and reports only which image it refuses; the messages are here.
"""

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np

from sightline.metrics._arrays import as_labels, check_label_range, read_numbers

# Keys that dicts may hold besides those that are read: shapes of another `iou_type`, what loaders
# (ours and torchvision's) write into targets, and torchvision's models into detections.
_OTHER_SHAPES = {"masks", "image_size", "keypoints", "num_keypoints"}
PASSED_OVER = {
    "detections": _OTHER_SHAPES | {"keypoints_scores"},
    "targets": _OTHER_SHAPES | {"image_id", "orig_size", "index"},
}
MAX_LABELS = 2**31


def check_image(
    image_id: Any,
    detections: Any,
    targets: Any,
    num_classes: int | None,
    *,
    any_score: bool = False,
) -> None:
    """Raise the error of an image that the store refused, where the image alone is the reason."""
    check_image_id(image_id)
    place = f"image {image_id!r}"
    read_detections(detections, num_classes, place, any_score=any_score)
    read_targets(targets, num_classes, place)


def check_image_id(image_id: Any) -> None:
    if isinstance(image_id, str):
        try:
            image_id.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"`image_id` must be text that UTF-8 can encode: {error}") from error
        return
    if isinstance(image_id, bool | np.bool_) or not hasattr(image_id, "__index__"):
        raise TypeError(f"`image_id` must be an int or a str, got {type(image_id).__name__}")
    try:
        number = index(image_id)
    except TypeError as error:  # an array has `__index__` whatever its shape
        raise TypeError(f"`image_id` must be an int or a str, got {image_id!r}") from error
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"`image_id` must be an integer of 64 bits, got {number}")


def as_list(values: Sequence[Any], name: str) -> list[Any]:
    """A batch as a list; an array or tensor of ids as ints."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        raise TypeError(
            f"`{name}` of a batch must be a list with one entry per image, "
            f"got {type(values).__name__}"
        )
    return list(values)


def read_detections(
    detections: Mapping[str, Any],
    num_classes: int | None,
    place: str,
    *,
    any_score: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xywh [N, 4] float64, scores [N] float64, labels [N] int64."""
    _check_keys(detections, {"boxes", "boxes_xywh", "scores", "labels"}, "detections", place)
    boxes = _boxes_xywh(detections, "detections", place)
    scores = _column(detections, "scores", len(boxes), "detections", place, finite=not any_score)
    labels = _labels(detections, len(boxes), num_classes, "detections", place)
    return boxes, scores, labels


def read_targets(
    targets: Mapping[str, Any], num_classes: int | None, place: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xywh [M, 4], labels [M] int64, area [M], crowd [M] bool, ignore [M] bool."""
    known = {"boxes", "boxes_xywh", "labels", "iscrowd", "area", "difficult"}
    _check_keys(targets, known, "targets", place)
    boxes = _boxes_xywh(targets, "targets", place)
    labels = _labels(targets, len(boxes), num_classes, "targets", place)
    area = boxes[:, 2] * boxes[:, 3]
    if targets.get("area") is not None:
        area = _column(targets, "area", len(boxes), "targets", place)
    crowd, ignore = (
        np.zeros(len(boxes), bool)
        if targets.get(name) is None
        else _column(targets, name, len(boxes), "targets", place) != 0
        for name in ("iscrowd", "difficult")
    )
    return boxes, labels, area, crowd, ignore


def _check_keys(values: Mapping[str, Any], known: set[str], name: str, place: str) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"{place}: `{name}` must be a dict, got {type(values).__name__}")
    if ("boxes" in values) == ("boxes_xywh" in values):
        raise ValueError(
            f"{place}: `{name}` needs either 'boxes' (xyxy) or 'boxes_xywh', got {sorted(values)}"
        )
    unknown = [key for key in values if key not in known | PASSED_OVER[name]]
    if unknown:
        raise ValueError(f"{place}: `{name}` has unknown keys {unknown}; known are {sorted(known)}")


def _boxes_xywh(values: Mapping[str, Any], name: str, place: str) -> np.ndarray:
    key = "boxes" if "boxes" in values else "boxes_xywh"
    what = f"{place}: `{name}['{key}']`"
    given = read_numbers(values[key], what)
    boxes = given.astype(np.float64)
    if boxes.size == 0 and boxes.ndim <= 2:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{what} must have shape [N, 4], got {list(boxes.shape)}")
    if key == "boxes":
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            boxes[:, 2:] -= boxes[:, :2]
    bad = ~np.isfinite(boxes).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{what} must be finite, got {given[row]} in row {row}")
    bad = (boxes[:, 2:] < 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        rule = "x1 <= x2 and y1 <= y2" if key == "boxes" else "w >= 0 and h >= 0"
        raise ValueError(f"{what} must have {rule}, got {given[row]} in row {row}")
    return boxes


def _column(
    values: Mapping[str, Any],
    key: str,
    length: int,
    name: str,
    place: str,
    *,
    finite: bool = True,
) -> np.ndarray:
    """A float64 copy [N] of one column."""
    what = f"{place}: `{name}['{key}']`"
    if key not in values:
        raise ValueError(f"{place}: `{name}` lacks {key!r}, got {sorted(values)}")
    column = read_numbers(values[key], what).astype(np.float64)
    if column.shape != (length,):
        raise ValueError(
            f"{what} must have shape [{length}] as its boxes, got {list(column.shape)}"
        )
    bad = ~np.isfinite(column)
    if finite and bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{what} must be finite, got {column[row]} in row {row}")
    return column


def _labels(
    values: Mapping[str, Any], length: int, num_classes: int | None, name: str, place: str
) -> np.ndarray:
    what = f"{place}: `{name}['labels']`"
    if "labels" not in values:
        raise ValueError(f"{place}: `{name}` lacks 'labels', got {sorted(values)}")
    labels = as_labels(values["labels"], what)
    if len(labels) != length:
        raise ValueError(f"{what} must have shape [{length}] as its boxes, got [{len(labels)}]")
    check_label_range(labels, num_classes, what)
    check_label_range(labels, MAX_LABELS, what)
    return labels
