"""Evaluation of COCO files: ground truth and detections in, pycocotools' numbers out."""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.metrics._evaluate import FlatDetections, FlatTargets
from sightline.metrics.detection import DetectionEvaluator, results_of
from sightline.metrics.detection_results import DetectionResults


def evaluate_coco(
    gt_json: str | os.PathLike[str] | dict[str, Any],
    dt_json: str | os.PathLike[str] | list[dict[str, Any]],
    *,
    use_classes: bool = True,
    max_detections: Sequence[int] = (1, 10, 100),
    strict: bool = False,
) -> DetectionResults:
    """COCO box evaluation of files, equal to pycocotools 2.0.11 bit for bit.

    Args:
        gt_json: path of (or the loaded) ground truth with `images`, `categories` and
            `annotations`; `area` defaults to w * h and `iscrowd` to 0, `ignore` is not read.
        dt_json: path of (or the loaded) list of `image_id, category_id, bbox, score`.
        use_classes: False scores boxes alone, as for proposals.
        max_detections: best detections kept in an image and class.
        strict: pycocotools marks "unmatched" with annotation id 0, so a detection that finds the
            object whose id is 0 counts as false. By default it counts as found; True repeats
            the fault.

    Ties of score, and of overlap (the later object wins), follow the order of the files within
    an image, and the order of image ids between images. Detections of an image without
    ground truth count; objects and detections of an unknown category, and objects
    of an unknown image, are left out with a warning (pycocotools does so silently).

    Raises:
        ValueError: a missing key, a box or score that is not finite, a negative side, an
            annotation id twice, a detection of an unknown image.
        FileNotFoundError: no such file.
    """
    truth, found = _load(gt_json, "gt_json"), _load(dt_json, "dt_json")
    if not isinstance(truth, dict) or not {"images", "annotations", "categories"} <= set(truth):
        raise ValueError("`gt_json` must be an object with images, annotations and categories")
    if not isinstance(found, list):
        raise ValueError(f"`dt_json` must be a list of detections, got {type(found).__name__}")
    images = np.unique(np.array([image["id"] for image in truth["images"]]))
    categories = {c["id"]: str(c.get("name", c["id"])) for c in truth["categories"]}
    category_ids = np.array(sorted(categories), np.int64)

    annotations = truth["annotations"]
    ids = [a["id"] for a in annotations if "id" in a]
    if len(set(ids)) != len(ids):
        raise ValueError("`gt_json` has an annotation id twice; ids must be unique")
    gt_image, gt_label, gt_keep = _rows(annotations, images, category_ids, "gt_json", True)
    gt_boxes = _boxes(annotations, "gt_json")
    sides = gt_boxes[:, 2] * gt_boxes[:, 3]
    area = np.array([a.get("area", side) for a, side in zip(annotations, sides)], np.float64)
    crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool)
    id_zero = np.array([a.get("id") == 0 for a in annotations], bool)
    _check_finite(area, "gt_json", "area")

    dt_image, dt_label, dt_keep = _rows(found, images, category_ids, "dt_json", False)
    scores = np.array([_get(d, "score", "dt_json", i) for i, d in enumerate(found)], np.float64)
    _check_finite(scores, "dt_json", "score")

    detections = FlatDetections(
        dt_image[dt_keep], dt_label[dt_keep], _boxes(found, "dt_json")[dt_keep], scores[dt_keep]
    )
    targets = FlatTargets(
        gt_image[gt_keep],
        gt_label[gt_keep],
        gt_boxes[gt_keep],
        area[gt_keep],
        crowd[gt_keep],
        np.zeros(int(gt_keep.sum()), bool),
        void=id_zero[gt_keep] if strict and id_zero.any() else None,
    )
    evaluator = DetectionEvaluator("coco", use_classes=use_classes, max_detections=max_detections)
    return results_of(
        evaluator,
        detections,
        targets,
        num_images=len(images),
        class_ids=tuple(category_ids.tolist()),
        class_names=tuple(categories[c] for c in category_ids.tolist()),
    )


def _load(source: Any, name: str) -> Any:
    if not isinstance(source, str | os.PathLike):
        return source
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`{name}` is not JSON: {os.fspath(source)}: {error}") from error


def _get(row: dict[str, Any], key: str, name: str, index: int) -> Any:
    if key not in row:
        raise ValueError(f"`{name}`: entry {index} lacks {key!r}, it has {sorted(row)}")
    return row[key]


def _rows(
    entries: list[dict[str, Any]],
    images: np.ndarray,
    categories: np.ndarray,
    name: str,
    allow_unknown_image: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row of image [N], row of category [N], and which entries are known [N]."""
    image_ids = [_get(entry, "image_id", name, i) for i, entry in enumerate(entries)]
    category_ids = [_get(entry, "category_id", name, i) for i, entry in enumerate(entries)]
    image, known_image = _lookup(np.array(image_ids, images.dtype), images)
    label, known_category = _lookup(np.array(category_ids, np.int64), categories)
    if not known_image.all():
        example = image_ids[int(np.argmin(known_image))]
        count = int((~known_image).sum())
        if not allow_unknown_image:
            raise ValueError(
                f"`{name}` has {count} detections of images that the ground truth lacks, "
                f"such as {example!r}"
            )
        _warn(f"`{name}`: {count} entries of unknown images left out, such as {example!r}")
    if not known_category.all():
        example = category_ids[int(np.argmin(known_category))]
        count = int((~known_category).sum())
        _warn(f"`{name}`: {count} entries of unknown categories left out, such as {example!r}")
    return image, label, known_image & known_category


def _lookup(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(table) or not len(values):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    rows = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return rows, table[rows] == values


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def _boxes(entries: list[dict[str, Any]], name: str) -> np.ndarray:
    boxes = [_get(entry, "bbox", name, i) for i, entry in enumerate(entries)]
    for i, box in enumerate(boxes):
        if len(box) != 4:
            raise ValueError(f"`{name}`: entry {i} has bbox {box}, need [x, y, w, h]")
    array = np.array(boxes, np.float64).reshape(-1, 4)
    _check_finite(array, name, "bbox")
    bad = (array[:, 2:] < 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"`{name}`: entry {row} has a negative side, bbox {boxes[row]}")
    return array


def _check_finite(values: np.ndarray, name: str, key: str) -> None:
    bad = ~np.isfinite(values)
    if bad.ndim == 2:
        bad = bad.any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"`{name}`: entry {row} has {key} {values[row]}, need finite numbers")
