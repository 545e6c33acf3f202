"""Reading and checking what a caller gives for one image."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def read_detections(
    detections: Mapping[str, Any], num_classes: int | None, place: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xywh [N, 4] float64, scores [N] float64, labels [N] int64."""
    _check_keys(detections, {"boxes", "boxes_xywh", "scores", "labels"}, "detections", place)
    boxes = _boxes_xywh(detections, "detections", place)
    scores = _column(detections, "scores", len(boxes), "detections", place)
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


def as_labels(values: Any, name: str) -> np.ndarray:
    """Integer labels [N] as int64; TypeError for other types, ValueError for other shapes."""
    labels = np.asarray(values)
    if labels.size == 0:
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape [N], got {list(labels.shape)}")
    return labels.astype(np.int64)


def check_label_range(labels: np.ndarray, num_classes: int | None, name: str) -> None:
    """ValueError that names the first label outside [0, num_classes)."""
    bad = labels < 0
    if num_classes is not None:
        bad |= labels >= num_classes
    if bad.any():
        row = int(np.argmax(bad))
        limit = "at least 0" if num_classes is None else f"in 0 ... {num_classes - 1}"
        raise ValueError(f"{name} must be {limit}, got {labels[row]} in row {row}")


def _check_keys(values: Mapping[str, Any], known: set[str], name: str, place: str) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"{place}: `{name}` must be a dict, got {type(values).__name__}")
    if ("boxes" in values) == ("boxes_xywh" in values):
        raise ValueError(
            f"{place}: `{name}` needs either 'boxes' (xyxy) or 'boxes_xywh', got {sorted(values)}"
        )
    unknown = set(values) - known
    if unknown:
        raise ValueError(
            f"{place}: `{name}` has unknown keys {sorted(unknown)}; known are {sorted(known)}"
        )


def _boxes_xywh(values: Mapping[str, Any], name: str, place: str) -> np.ndarray:
    key = "boxes" if "boxes" in values else "boxes_xywh"
    what = f"{place}: `{name}['{key}']`"
    boxes = np.array(values[key], np.float64)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{what} must have shape [N, 4], got {list(boxes.shape)}")
    if key == "boxes":
        boxes[:, 2:] -= boxes[:, :2]
    bad = ~np.isfinite(boxes).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{what} must be finite, got {np.asarray(values[key])[row]} in row {row}")
    bad = (boxes[:, 2:] < 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        rule = "x1 <= x2 and y1 <= y2" if key == "boxes" else "w >= 0 and h >= 0"
        raise ValueError(
            f"{what} must have {rule}, got {np.asarray(values[key])[row]} in row {row}"
        )
    return boxes


def _column(values: Mapping[str, Any], key: str, length: int, name: str, place: str) -> np.ndarray:
    """A finite float64 copy [N] of one entry."""
    what = f"{place}: `{name}['{key}']`"
    if key not in values:
        raise ValueError(f"{place}: `{name}` lacks {key!r}, got {sorted(values)}")
    column = np.array(values[key], np.float64)
    if column.shape != (length,):
        raise ValueError(
            f"{what} must have shape [{length}] as its boxes, got {list(column.shape)}"
        )
    bad = ~np.isfinite(column)
    if bad.any():
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
    return labels
