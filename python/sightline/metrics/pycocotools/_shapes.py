"""Overlaps of masks and keypoints, from annotation dicts."""

from typing import Any

import numpy as np

from sightline.metrics.detection.overlaps import keypoint_overlaps_of, mask_overlaps_of
from sightline.metrics.detection.rows import Overlaps
from sightline.metrics.pycocotools._columns import Detections, Objects
from sightline.metrics.shapes.keypoints import keypoint_similarity
from sightline.metrics.shapes.mask_columns import read_masks
from sightline.metrics.shapes.segmentations import Segmentations

Record = dict[str, Any]


def mask_overlaps(dt: Detections, gt: Objects, coco_dt: Any, coco_gt: Any) -> Overlaps:
    """IoU of masks, each as polygons or run lengths."""
    return mask_overlaps_of(
        _masks(dt.records, coco_dt, "detections"),
        _masks(gt.records, coco_gt, "objects"),
        gt.flat.crowd,
    )


def keypoint_overlaps(dt: Detections, gt: Objects, sigmas: np.ndarray) -> Overlaps | None:
    """Similarity of keypoints; None where their number is not that of sigmas, or not all finite."""
    points = [_keypoints(side.records or [], len(sigmas)) for side in (dt, gt)]
    if points[0] is None or points[1] is None:
        return None
    return keypoint_overlaps_of(
        points[0], points[1], gt.flat.area, gt.flat.boxes_xywh, np.asarray(sigmas, np.float64)
    )


def keypoint_similarities(
    found: list[Record], truth: list[Record], sigmas: np.ndarray
) -> np.ndarray:
    """[D, G]."""
    dt, gt = (
        np.array([r["keypoints"] for r in side], np.float64).reshape(len(side), -1, 3)
        for side in (found, truth)
    )
    area, boxes = [g["area"] for g in truth], [g["bbox"] for g in truth]
    return keypoint_similarity(dt, gt, area, boxes, sigmas=sigmas)


def _masks(records: list[Record] | None, coco: Any, name: str) -> Segmentations:
    rows = records or []
    images = [coco.imgs[row["image_id"]] for row in rows]
    sizes = [(image["height"], image["width"]) for image in images]
    return read_masks([row["segmentation"] for row in rows], name, sizes)


def _keypoints(records: list[Record], count: int) -> np.ndarray | None:
    """[N, K, 3], or None where a record does not have K finite keypoints."""
    try:
        points = np.array([row["keypoints"] for row in records], np.float64)
        points = points.reshape(len(records), count, 3)
    except (TypeError, ValueError):
        return None
    return points if np.isfinite(points).all() else None
